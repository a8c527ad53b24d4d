//! URLs of the configuration: TLS everywhere but on loopback, no secrets in them.

use url::{Host, Url};

/// Reads a URL; `example` is what a right one looks like.
///
/// # Errors
/// What is wrong and what to write instead; the text itself is not quoted.
pub fn url(text: &str, example: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("not a URL; write for example \"{example}\""))?;
    if url.host().is_none() {
        return Err("the URL names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user name or password in it; secrets do not belong into this file".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http:// is accepted to loopback addresses only; write https://".to_owned()),
        _ => Err("must be an https:// URL".to_owned()),
    }
}

/// The same for an address that paths are appended to: no query and no fragment, no slash at the end.
///
/// # Errors
/// As [`url()`].
pub fn base_url(text: &str, example: &str) -> Result<String, String> {
    let url = url(text, example)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("paths are appended to this URL: write it without `?` and `#`".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether the URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_and_secrets_are_for_nobody() {
        let good = |text: &str| url(text, "x").is_ok();
        assert!(good("https://a.example/x?y") && good("http://127.0.0.1:1/") && good("http://[::1]/"));
        assert!(good("HTTP://LOCALHOST:8080"));
        for wrong in [
            "http://a.example/",
            "https://u:p@a.example/",
            "ftp://127.0.0.1/",
            "a.example",
            "http://127.1.example/",
            "",
        ] {
            assert!(!good(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_base_has_neither_query_nor_slash_at_its_end() {
        assert_eq!(base_url("https://A.example/graph/", "x").as_deref(), Ok("https://a.example/graph"));
        assert_eq!(base_url("https://a.example", "x").as_deref(), Ok("https://a.example"));
        assert!(base_url("https://a.example/?a", "x").is_err() && base_url("https://a.example/#a", "x").is_err());
    }
}
