//! Who may be told a secret: origins, trusted hosts, and links turned into URLs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Scheme, host and port: what a web ticket is valid for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Lower case.
    pub scheme: String,
    /// Lower case, ASCII (punycode), without a trailing dot; IPv6 in brackets.
    pub host: String,
    /// The port, also when it is the scheme's own; 0 for schemes without.
    pub port: u16,
}

impl Origin {
    /// The origin of a URL.
    pub fn of(url: &Url) -> Origin {
        Origin {
            scheme: url.scheme().to_owned(),
            host: plain_host(url),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) | (_, 0) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// Host of a URL for comparison: the `url` crate lowers case and does IDNA; the root's dot goes.
fn plain_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) => plain_host(url) == "localhost",
        None => false,
    }
}

/// Whether secrets may travel there at all, whoever it is: https, or http that does not leave the machine
/// (127.0.0.0/8, ::1, `localhost`).
pub fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// A trusted-hosts entry that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// An entry of `trusted_hosts`.
    #[error(
        "`{0}` in trusted_hosts is neither a host name, `*.suffix` nor an IP address; write the host alone, without scheme, port or path"
    )]
    Host(String),
    /// The sign-in domain.
    #[error("`{0}` is not a domain; sign_in must look like sip:recorder@contoso.com")]
    Domain(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Under(String),
}

/// The hosts that may receive credentials and tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    domain: String,
    patterns: Vec<Pattern>,
}

impl Trust {
    /// Trusts the sign-in domain and the hosts under it, the host of the configured autodiscover URL, and the entries
    /// of `trusted_hosts`: names, `*.suffix` (every host under it, not itself), IP literals; any port. Nothing else.
    ///
    /// # Errors
    /// [`TrustError`] names the entry that is no host.
    pub fn new(
        sign_in_domain: &str,
        autodiscover: Option<&Url>,
        trusted_hosts: &[String],
    ) -> Result<Trust, TrustError> {
        let domain = normal(sign_in_domain).ok_or_else(|| TrustError::Domain(sign_in_domain.to_owned()))?;
        let mut patterns = vec![Pattern::Exact(domain.clone())];
        if !is_ip(&domain) {
            patterns.push(Pattern::Under(domain.clone()));
        }
        patterns.extend(autodiscover.map(|url| Pattern::Exact(plain_host(url))));
        for entry in trusted_hosts {
            let pattern = match entry.trim().strip_prefix("*.") {
                Some(suffix) => normal(suffix).filter(|suffix| !is_ip(suffix)).map(Pattern::Under),
                None => normal(entry).map(Pattern::Exact),
            };
            patterns.push(pattern.ok_or_else(|| TrustError::Host(entry.clone()))?);
        }
        Ok(Trust { domain, patterns })
    }

    /// Whether the host is on the list.
    pub fn knows(&self, url: &Url) -> bool {
        let host = plain_host(url);
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Exact(name) => *name == host,
            Pattern::Under(suffix) => is_under(&host, suffix),
        })
    }

    /// Whether credentials or tickets may be sent to this URL: a known host, reached privately ([`is_private`]).
    pub fn may_receive_secrets(&self, url: &Url) -> bool {
        is_private(url) && self.knows(url)
    }

    /// Whether the host is the sign-in domain or under it.
    pub fn is_own_domain(&self, url: &Url) -> bool {
        let host = plain_host(url);
        host == self.domain || (!is_ip(&self.domain) && is_under(&host, &self.domain))
    }
}

fn is_under(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn is_ip(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

/// A host as users type it, in the form URLs have it. `None` for anything that is more or less than a host.
fn normal(host: &str) -> Option<String> {
    let host = host.trim();
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
        return Some(format!("[{ip}]"));
    }
    if host.is_empty()
        || host.contains(['*', '/', ':', '@', '?', '#', '\\', '%', '['])
        || host.contains(char::is_whitespace)
    {
        return None;
    }
    Host::parse(host).ok().map(|host| host.to_string()).filter(|host| !host.starts_with('.') && !host.contains(".."))
}

/// A link that cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing there.
    #[error("the link is empty")]
    Empty,
    /// Not a URL, not even a relative one.
    #[error("the link is not a URL")]
    NotUrl,
    /// Neither http nor https.
    #[error("the link is neither http nor https")]
    Scheme,
    /// `https://user:password@host/`: nobody's link may choose credentials.
    #[error("the link carries a user name or password")]
    UserInfo,
}

/// Makes a link absolute. Its bytes stay (a bare `@` in the path, the query) except what no URL can hold, such as
/// blanks, which are percent-encoded.
///
/// # Errors
/// [`LinkError`] for anything but an http or https address without user name.
pub fn resolve(base: &Url, href: &str) -> Result<Url, LinkError> {
    if href.trim().is_empty() {
        return Err(LinkError::Empty);
    }
    let url = base.join(href).map_err(|_| LinkError::NotUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(LinkError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LinkError::UserInfo);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn trust(hosts: &[&str]) -> Trust {
        let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
        Trust::new("Contoso.com", Some(&url("https://Discover.Example:4443/")), &hosts).unwrap()
    }

    #[test]
    fn only_listed_hosts_over_private_connections() {
        let t = trust(&["pool.partner.net.", "*.Bücher.example", "127.0.0.1", "::1"]);
        for yes in [
            "https://contoso.com/",
            "https://a.b.CONTOSO.com./x",
            "https://discover.example/",
            "https://discover.example:1/",
            "https://pool.partner.net:8443/",
            "https://x.xn--bcher-kva.example/",
            "https://x.bücher.example/",
            "http://127.0.0.1:8080/",
            "https://127.0.0.1/",
            "http://[::1]:80/",
        ] {
            assert!(t.may_receive_secrets(&url(yes)), "{yes}");
        }
        for no in [
            "http://contoso.com/",
            "https://evilcontoso.com/",
            "https://contoso.com.evil.net/",
            "https://contoso.com@evil.net/",
            "https://a.pool.partner.net/",
            "https://bücher.example/",
            "http://localhost/",
            "https://localhost/",
            "http://127.0.0.2/",
            "https://127.0.0.2/",
            "https://[::ffff:127.0.0.1]/",
            "ftp://contoso.com/",
            "data:text/plain,contoso.com",
        ] {
            assert!(!t.may_receive_secrets(&url(no)), "{no}");
        }
        assert!(trust(&["localhost"]).may_receive_secrets(&url("http://LOCALHOST:1/")));
    }

    #[test]
    fn entries_that_are_no_hosts_are_refused_by_name() {
        for bad in ["", "*", "*.", "https://a.b", "a.b:443", "a.b/c", "a b", "*.*.com", "u@a.b", "..", "*.127.0.0.1"] {
            let error = Trust::new("contoso.com", None, &[bad.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{bad}`")), "{error}");
        }
        assert!(matches!(Trust::new("a@b", None, &[]), Err(TrustError::Domain(_))));
    }

    #[test]
    fn links_keep_their_bytes() {
        let base = url("https://lyncweb.contoso.com/ucwa/oauth/v1/applications");
        for (href, whole) in [
            ("/ucwa/v1/people/test.user1@x.y/a", "https://lyncweb.contoso.com/ucwa/v1/people/test.user1@x.y/a"),
            (
                "events?ack=4&key=1%7Esip%3Aa%40b",
                "https://lyncweb.contoso.com/ucwa/oauth/v1/events?ack=4&key=1%7Esip%3Aa%40b",
            ),
            ("/a?endpointId=sip:m@b.c&x=%2f+'", "https://lyncweb.contoso.com/a?endpointId=sip:m@b.c&x=%2f+%27"),
            ("/a b", "https://lyncweb.contoso.com/a%20b"),
            ("https://Other.example:443/x", "https://other.example/x"),
        ] {
            assert_eq!(resolve(&base, href).unwrap().as_str(), whole);
        }
        for (href, error) in [
            ("", LinkError::Empty),
            (" ", LinkError::Empty),
            ("data:text/plain,x", LinkError::Scheme),
            ("file:///etc/passwd", LinkError::Scheme),
            ("javascript:x", LinkError::Scheme),
            ("https://u:p@contoso.com/", LinkError::UserInfo),
            ("https://[", LinkError::NotUrl),
        ] {
            assert_eq!(resolve(&base, href), Err(error), "{href}");
        }
    }

    #[test]
    fn origins_are_compared_without_accidents() {
        let a = Origin::of(&url("https://A.contoso.com./x"));
        assert_eq!(a, Origin::of(&url("https://a.contoso.com:443/y?z")));
        assert_ne!(a, Origin::of(&url("http://a.contoso.com/")));
        assert_ne!(a, Origin::of(&url("https://a.contoso.com:444/")));
        assert_eq!(a.to_string(), "https://a.contoso.com");
        assert_eq!(Origin::of(&url("http://127.0.0.1:81/")).to_string(), "http://127.0.0.1:81");
    }

    proptest! {
        #[test]
        fn resolve_never_panics_and_stays_http(href in any::<String>()) {
            if let Ok(url) = resolve(&url("https://a.b/c"), &href) {
                prop_assert!(matches!(url.scheme(), "http" | "https"));
                prop_assert!(url.username().is_empty());
            }
        }

        #[test]
        fn building_trust_never_panics(domain in any::<String>(), host in "[*.a-z:\\[\\]0-9]{0,12}") {
            if let Ok(trust) = Trust::new(&domain, None, &[host]) {
                prop_assert!(!trust.may_receive_secrets(&url("https://elsewhere.invalid/")) || domain.contains("invalid"));
            }
        }
    }
}
