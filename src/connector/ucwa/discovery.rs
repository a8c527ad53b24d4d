//! Autodiscovery: from the sign-in domain to the URL where an application is created.
//!
//! Sans-IO: [`Discovery::next`] says what to ask, [`Discovery::answer`] takes what came back. Roots are asked without
//! credentials; `user` resources with them. Every redirect, by link or by HTTP, must lead to a trusted host over a
//! private connection; a root that fails gives way to the next one, a refused password ends everything.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use url::Url;

use super::courier::{CallFailure, SignInFailure};
use super::http::Answer;
use super::origin::{Origin, Trust, is_private, resolve};
use super::wire::Resource;

/// One URL that was tried and what came of it, for people (`greffier check`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The URL.
    pub url: String,
    /// For example `leads to https://…` or `no answer in time`.
    pub what: String,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// GET this and hand the result to [`Discovery::answer`].
    Ask {
        /// Where.
        url: Url,
        /// Without credentials.
        anonymous: bool,
    },
    /// Done.
    Found {
        /// Where applications are created, on the user's home pool.
        applications: Url,
        /// The way there.
        trail: Vec<Hop>,
    },
    /// Nothing found; trying later may help unless the failure is a refused sign-in.
    Failed(DiscoveryError),
}

/// No pool was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError {
    /// The sign-in domain.
    pub domain: String,
    /// Every URL tried and what happened.
    pub trail: Vec<Hop>,
    /// Signing in at a `user` resource failed, which ended the search.
    pub sign_in: Option<SignInFailure>,
    /// Hosts that were pointed to but are not trusted, for example `https://pool.example`.
    pub untrusted: Vec<String>,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot find the Skype for Business pool of {}", self.domain)?;
        for (n, hop) in self.trail.iter().enumerate() {
            write!(f, "{} {}: {}", if n == 0 { ":" } else { ";" }, hop.url, hop.what)?;
        }
        if self.sign_in.is_some() {
            // Its text already says what to do.
            return Ok(());
        }
        match self.untrusted.first() {
            Some(host) => write!(f, "; if {host} belongs to your organisation, add its host name to `trusted_hosts`"),
            None => f.write_str("; check the name resolution and certificates of these hosts, or set `autodiscover` to the URL of the pool's autodiscover service"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// Redirects followed for one root.
const MOST_HOPS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A root, or what a redirect led to: asked bare.
    Root {
        /// A `user` resource led here: if it has no `user` link, `/oauth/user` is appended.
        from_user: bool,
    },
    /// A `user` resource: asked with credentials.
    User,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Discovery {
    domain: String,
    trust: Trust,
    /// Roots not tried yet.
    roots: Vec<Url>,
    ask: Option<(Url, Kind)>,
    hops: usize,
    seen: BTreeSet<(String, Kind)>,
    trail: Vec<Hop>,
    untrusted: Vec<String>,
    end: Option<Result<Url, Option<SignInFailure>>>,
}

impl Discovery {
    /// Starts with the configured root alone if there is one, else `https://lyncdiscoverinternal.<domain>/`, then
    /// `https://lyncdiscover.<domain>/`.
    pub fn new(sign_in_domain: &str, configured: Option<Url>, trust: &Trust) -> Discovery {
        let domain = sign_in_domain.trim().trim_end_matches('.').to_ascii_lowercase();
        let roots = match configured {
            Some(root) => vec![root],
            None => ["lyncdiscover", "lyncdiscoverinternal"]
                .iter()
                .filter_map(|name| Url::parse(&format!("https://{name}.{domain}/")).ok())
                .collect(),
        };
        let mut discovery = Discovery {
            domain,
            trust: trust.clone(),
            roots,
            ask: None,
            hops: 0,
            seen: BTreeSet::new(),
            trail: Vec::new(),
            untrusted: Vec::new(),
            end: None,
        };
        discovery.next_root();
        discovery
    }

    /// What to do now; the same until [`Discovery::answer`] is called.
    pub fn next(&self) -> Next {
        match (&self.end, &self.ask) {
            (Some(Ok(applications)), _) => {
                Next::Found { applications: applications.clone(), trail: self.trail.clone() }
            }
            (None, Some((url, kind))) => Next::Ask { url: url.clone(), anonymous: *kind != Kind::User },
            (Some(Err(sign_in)), _) => Next::Failed(self.error(sign_in.clone())),
            (None, None) => Next::Failed(self.error(None)),
        }
    }

    fn error(&self, sign_in: Option<SignInFailure>) -> DiscoveryError {
        DiscoveryError {
            domain: self.domain.clone(),
            trail: self.trail.clone(),
            sign_in,
            untrusted: self.untrusted.clone(),
        }
    }

    /// Takes the result of what [`Discovery::next`] asked for. Ignored once the search is over.
    pub fn answer(&mut self, result: Result<Answer, CallFailure>) {
        if self.end.is_some() {
            return;
        }
        let Some((url, kind)) = self.ask.take() else { return };
        match result {
            Ok(answer) => self.read(url, kind, &answer),
            Err(CallFailure::SignIn(failure)) => {
                self.note(&url, failure.text());
                // Another root leads to the same account; a refused password must not be tried there as well.
                self.end = Some(Err(Some(failure)));
            }
            Err(failure) => {
                if let CallFailure::Untrusted { host } = &failure {
                    self.untrusted.push(host.clone());
                }
                self.fail(&url, failure.text());
            }
        }
    }

    fn read(&mut self, url: Url, kind: Kind, answer: &Answer) {
        match answer.status {
            200 => {}
            401 if kind == (Kind::Root { from_user: true }) => {
                // A redirect to the user resource of the other pool, not to its root.
                self.note(&url, "asks for a sign-in".to_owned());
                return self.go(&url.clone(), url, Kind::User);
            }
            301 | 302 | 303 | 307 | 308 => return self.follow_http(url, kind, answer),
            404 => return self.fail(&url, "no autodiscover service there (404)".to_owned()),
            status => return self.fail(&url, format!("answered {status}")),
        }
        let Ok(resource) = Resource::parse(&answer.body) else {
            return self.fail(
                &url,
                "the answer is not from UCWA (no JSON); a proxy or another web site answers there".to_owned(),
            );
        };
        let link = |rel: &str| resource.link(rel).map(|href| resolve(&url, href));
        if let Some(target) = link("redirect") {
            let from_user = kind == Kind::User || kind == (Kind::Root { from_user: true });
            return self.follow(url, "redirects", target, Kind::Root { from_user });
        }
        // A root never has `applications`; a redirect may lead straight to something that has.
        if let Some(target) = link("applications") {
            return match target {
                Ok(target) if self.trust.may_receive_secrets(&target) => {
                    self.note(&url, format!("applications at {}", Origin::of(&target)));
                    self.end = Some(Ok(target));
                }
                Ok(target) => self.distrust(&url, "applications", &target),
                Err(error) => self.fail(&url, format!("the applications link cannot be used: {error}")),
            };
        }
        match (kind, link("user")) {
            (Kind::Root { .. }, Some(target)) => self.follow(url, "user resource", target, Kind::User),
            (Kind::Root { from_user: true }, None) => {
                let mut target = url.clone();
                let path = format!("{}/oauth/user", url.path().trim_end_matches('/'));
                target.set_path(&path);
                self.follow(url, "no user link, so", Ok(target), Kind::User);
            }
            (Kind::Root { from_user: false }, None) => {
                self.fail(&url, "the answer names neither a user resource nor a redirect".to_owned());
            }
            (Kind::User, _) => {
                self.fail(
                    &url,
                    "the answer names no place to create applications; the account may not be enabled for UCWA"
                        .to_owned(),
                );
            }
        }
    }

    /// An HTTP redirect within the domain is a detour; to another domain it is a failure by the documents.
    fn follow_http(&mut self, url: Url, kind: Kind, answer: &Answer) {
        let target = match answer.location.as_deref().map(|location| resolve(&url, location)) {
            None => return self.fail(&url, format!("answered {} without a location", answer.status)),
            Some(Err(error)) => return self.fail(&url, format!("answered {}, but {error}", answer.status)),
            Some(Ok(target)) => target,
        };
        let same_host = Origin::of(&target).host == Origin::of(&url).host;
        if !same_host && !self.trust.is_own_domain(&target) {
            let away = format!("answered {} to another domain ({})", answer.status, Origin::of(&target));
            return self.fail(&url, away);
        }
        self.follow(url, "redirects (HTTP)", Ok(target), kind);
    }

    fn follow(&mut self, url: Url, how: &str, target: Result<Url, super::origin::LinkError>, kind: Kind) {
        match target {
            Err(error) => self.fail(&url, format!("{how} to a link that cannot be used: {error}")),
            Ok(target) if !self.trust.may_receive_secrets(&target) => self.distrust(&url, how, &target),
            Ok(target) => {
                self.note(&url, format!("{how} to {target}"));
                self.go(&url, target, kind);
            }
        }
    }

    fn go(&mut self, from: &Url, target: Url, kind: Kind) {
        self.hops += 1;
        if self.hops > MOST_HOPS {
            self.fail(from, format!("more than {MOST_HOPS} steps"));
        } else if !self.seen.insert((target.to_string(), kind)) {
            self.fail(from, "leads back to where it came from".to_owned());
        } else {
            self.ask = Some((target, kind));
        }
    }

    fn distrust(&mut self, url: &Url, how: &str, target: &Url) {
        let origin = Origin::of(target).to_string();
        if is_private(target) {
            self.fail(url, format!("{how} to {origin}, which is not trusted"));
            self.untrusted.push(origin);
        } else {
            self.fail(url, format!("{how} to {origin}, which is not https"));
        }
    }

    fn note(&mut self, url: &Url, what: String) {
        self.trail.push(Hop { url: url.to_string(), what });
    }

    /// This root came to nothing.
    fn fail(&mut self, url: &Url, what: String) {
        self.note(url, what);
        self.next_root();
    }

    fn next_root(&mut self) {
        self.hops = 0;
        self.seen.clear();
        self.ask = None;
        while let Some(root) = self.roots.pop() {
            let kind = Kind::Root { from_user: false };
            if is_private(&root) {
                self.seen.insert((root.to_string(), kind));
                self.ask = Some((root, kind));
                return;
            }
            self.note(&root, "is not https; `autodiscover` must be an https URL, except on this machine".to_owned());
        }
        self.end.get_or_insert(Err(None));
    }
}
