//! The published keys of one issuer: its OpenID document, and the JWKS that this names.
//!
//! A machine: it says what to fetch and takes the answers. Keys that were once fetched stay good until others replace
//! them, so a login service that is down does not stop the recording. An unknown key asks for a refresh at once, but
//! strangers who make up key names cannot make it fetch without end. Many requests may wait for one refresh: give
//! [`Input::UnknownKey`], and if [`KeyRing::refreshing`] says so, wait for [`Action::Settled`] and judge again, once.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use url::Url;

use super::jwt::KeySet;
use crate::model::Timestamp;

/// Bytes of a document at most; the driver should not read further either.
pub const DOCUMENT_LIMIT: usize = 1024 * 1024;
/// Between refreshes when nothing else happens.
const REFRESH_EVERY: Duration = Duration::from_secs(12 * 3600);
/// Refreshes in a row that unknown keys may cause.
const BUCKET: u32 = 3;
/// Time for one more.
const REFILL: Duration = Duration::from_secs(30);
/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause after the first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A document to GET, without credentials and without following redirects to plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The OpenID document.
    Metadata(String),
    /// The key set.
    Keys(String),
}

impl Fetch {
    /// Its address.
    pub fn url(&self) -> &str {
        match self {
            Fetch::Metadata(url) | Fetch::Keys(url) => url,
        }
    }
}

/// What happens to a key ring.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The time has come ([`KeyRing::deadline`]), or the start.
    Tick,
    /// A token names a key that is not there ([`super::Refusal::UnknownKey`]).
    UnknownKey,
    /// What came of a fetch: the body of a 200, or why there is none, without secrets.
    Fetched(Fetch, Result<Bytes, String>),
}

/// What a key ring wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch this and give the answer back.
    Fetch(Fetch),
    /// The refresh has ended: those who wait may judge again.
    Settled {
        /// Whether a key set came. If not, the old one, if any, is still used.
        fresh: bool,
    },
    /// To be said to the operator; the refresh is tried again by itself.
    Warn(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Idle,
    Waiting { fetch: Fetch, since: Timestamp },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct KeyRing {
    openid_url: String,
    keys: Option<KeySet>,
    fetched_at: Option<Timestamp>,
    phase: Phase,
    due: Timestamp,
    failures: u32,
    bucket: u32,
    refilled_at: Timestamp,
}

impl KeyRing {
    /// A ring without keys, due at once. `openid_url` is the address of the issuer's OpenID document.
    pub fn new(openid_url: impl Into<String>) -> KeyRing {
        KeyRing {
            openid_url: openid_url.into(),
            keys: None,
            fetched_at: None,
            phase: Phase::Idle,
            due: Timestamp(i64::MIN),
            failures: 0,
            bucket: BUCKET,
            refilled_at: Timestamp(i64::MIN),
        }
    }

    /// The newest keys; `None` before the first were fetched.
    pub fn keys(&self) -> Option<&KeySet> {
        self.keys.as_ref()
    }

    /// When they were fetched.
    pub fn fetched_at(&self) -> Option<Timestamp> {
        self.fetched_at
    }

    /// Whether a refresh is under way, so that waiting for [`Action::Settled`] makes sense.
    pub fn refreshing(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether the newest try to fetch keys failed: then an unknown key says nothing about a token.
    pub fn failing(&self) -> bool {
        self.failures > 0 || self.keys.is_none()
    }

    /// When [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Timestamp {
        match &self.phase {
            Phase::Idle => self.due,
            Phase::Waiting { since, .. } => since.plus(PATIENCE),
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        match input {
            Input::Tick if self.deadline() > now => Vec::new(),
            Input::Tick => match &self.phase {
                Phase::Idle => self.start(now),
                Phase::Waiting { .. } => self.failed("no answer", now),
            },
            Input::UnknownKey if self.refreshing() || !self.take(now) => Vec::new(),
            Input::UnknownKey => self.start(now),
            Input::Fetched(fetch, answer) => match &self.phase {
                Phase::Waiting { fetch: wanted, .. } if *wanted == fetch => self.fetched(&fetch, answer, now),
                // Too late: that refresh was given up.
                _ => Vec::new(),
            },
        }
    }

    fn start(&mut self, now: Timestamp) -> Vec<Action> {
        self.ask(Fetch::Metadata(self.openid_url.clone()), now)
    }

    fn ask(&mut self, fetch: Fetch, now: Timestamp) -> Vec<Action> {
        self.phase = Phase::Waiting { fetch: fetch.clone(), since: now };
        vec![Action::Fetch(fetch)]
    }

    fn fetched(&mut self, fetch: &Fetch, answer: Result<Bytes, String>, now: Timestamp) -> Vec<Action> {
        let body = match answer {
            Ok(body) if body.len() > DOCUMENT_LIMIT => return self.failed("the document is too long", now),
            Ok(body) => body,
            Err(why) => return self.failed(&why, now),
        };
        match fetch {
            Fetch::Metadata(_) => match jwks_uri(&body) {
                Ok(uri) => self.ask(Fetch::Keys(uri), now),
                Err(why) => self.failed(why, now),
            },
            Fetch::Keys(_) => match KeySet::parse(&body).filter(|keys| !keys.is_empty()) {
                None => self.failed("the key set has no usable key", now),
                Some(keys) => {
                    self.keys = Some(keys);
                    self.fetched_at = Some(now);
                    self.failures = 0;
                    self.phase = Phase::Idle;
                    self.due = now.plus(REFRESH_EVERY);
                    vec![Action::Settled { fresh: true }]
                }
            },
        }
    }

    fn failed(&mut self, why: &str, now: Timestamp) -> Vec<Action> {
        let url = match &self.phase {
            Phase::Waiting { fetch, .. } => fetch.url().to_owned(),
            Phase::Idle => self.openid_url.clone(),
        };
        let pause = FIRST_PAUSE.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1).min(16);
        self.phase = Phase::Idle;
        self.due = now.plus(pause);
        let old = if self.keys.is_some() { "; the keys at hand stay in use" } else { "" };
        let warning = format!("cannot fetch signing keys from {url}: {why}{old}");
        vec![Action::Warn(warning), Action::Settled { fresh: false }]
    }

    /// Whether an unknown key may cause one more refresh now.
    fn take(&mut self, now: Timestamp) -> bool {
        let gained = now.since(self.refilled_at).as_secs() / REFILL.as_secs();
        if gained > 0 {
            self.bucket = self.bucket.saturating_add(u32::try_from(gained).unwrap_or(BUCKET)).min(BUCKET);
            self.refilled_at = now;
        }
        let granted = self.bucket > 0;
        self.bucket = self.bucket.saturating_sub(1);
        granted
    }
}

/// The address of the key set in an OpenID document: HTTPS, or plain HTTP on a loopback address.
fn jwks_uri(document: &[u8]) -> Result<String, &'static str> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "the OpenID document is not JSON")?;
    let uri = document.get("jwks_uri").and_then(Value::as_str).ok_or("the OpenID document has no jwks_uri")?;
    let url = Url::parse(uri).map_err(|_| "the jwks_uri is no URL")?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(uri.to_owned()),
        "http" if loopback => Ok(uri.to_owned()),
        _ => Err("the jwks_uri is not https"),
    }
}

#[cfg(test)]
mod tests;
