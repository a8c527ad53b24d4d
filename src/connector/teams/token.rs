//! Our own access tokens: one desk per authority and scope keeps one warm.
//!
//! A machine: it makes the request, reads the answer, and says when it wants to be called again. A token is renewed at
//! 80 % of its life and used until it ends, so that an outage of the login service is felt late. Fetching a token while a
//! call rings is what loses calls; nobody who needs one ever waits for it here.

pub mod answer;

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::assertion::Signer;
use super::certificate::PemProblem;
use super::config::Credential;
use super::trust::jwt::own_claims;
use crate::connector::secret::Secret;
use crate::model::Timestamp;

pub use answer::TokenFailure;

/// Pause after the first outage; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause in an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between tries with credentials that were refused: more would lock somebody out.
const REFUSED_PAUSE: Duration = Duration::from_secs(15 * 60);
/// No pause that the service asks for is longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// A token that the resource refuses is replaced no faster than this.
const REJECTED_PAUSE: Duration = Duration::from_secs(60);
/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A POST with a form to the login service; no redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// `{login_url}/{tenant}/oauth2/v2.0/token`.
    pub url: String,
    /// Names and values, to be form-encoded.
    pub form: Vec<(&'static str, Secret)>,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Which of the desk's tokens; from 1.
    pub number: u64,
    /// For the `Authorization` header.
    pub secret: Secret,
    /// When it ends.
    pub expires: Timestamp,
}

/// What happens to a desk.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The time has come ([`TokenDesk::deadline`]), or the start.
    Tick,
    /// The login service answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, if any.
        retry_after: Option<Duration>,
        /// The body.
        body: Bytes,
    },
    /// It did not. Why, without secrets.
    Unreachable(String),
    /// The resource answered 401 to the token of this number.
    Rejected(u64),
}

/// What a desk wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this and give the answer back.
    Request(TokenRequest),
    /// [`TokenDesk::current`] has a new token.
    Ready,
    /// Something that only a person can mend; the text says what to do. Comes again with each try.
    Alarm(String),
    /// An outage; the desk tries again by itself.
    Warn(String),
}

#[derive(Debug)]
enum Proof {
    Secret(Secret),
    Certificate(Signer),
}

impl Proof {
    fn of(credential: &Credential) -> Result<Proof, PemProblem> {
        Ok(match credential {
            Credential::Secret(secret) => Proof::Secret(secret.clone()),
            Credential::Certificate { certificate_pem, key_pem } => {
                Proof::Certificate(Signer::new(certificate_pem, key_pem.expose().as_bytes())?)
            }
        })
    }
}

/// Keeps one access token. See the module.
#[derive(Debug)]
pub struct TokenDesk {
    url: String,
    client_id: String,
    scope: String,
    proof: Proof,
    credential: Credential,
    random: Rng,
    current: Option<Token>,
    issued: u64,
    asked_at: Option<Timestamp>,
    rejected_at: Option<Timestamp>,
    due: Timestamp,
    outages: u32,
    failure: Option<TokenFailure>,
    /// The request under way bears credentials that are not used any more.
    outdated: bool,
}

impl TokenDesk {
    /// A desk without a token, due at once. `login_url` has no slash at its end; `tenant` is the authority, never
    /// `common`. `seed` is for pauses and for the identifiers of assertions: random, not secret, another at each start.
    pub fn new(
        login_url: &str,
        tenant: &str,
        client_id: &str,
        scope: &str,
        credential: &Credential,
        seed: u64,
    ) -> Result<TokenDesk, PemProblem> {
        let proof = Proof::of(credential)?;
        Ok(TokenDesk {
            url: format!("{login_url}/{tenant}/oauth2/v2.0/token"),
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            proof,
            credential: credential.clone(),
            random: Rng::with_seed(seed),
            current: None,
            issued: 0,
            asked_at: None,
            rejected_at: None,
            due: Timestamp(i64::MIN),
            outages: 0,
            failure: None,
            outdated: false,
        })
    }

    /// Uses these credentials from now on, so that a new secret or certificate needs no restart. Whether they are others
    /// than before; if the old ones were refused, the desk is due at once. Unusable ones change nothing.
    pub fn renew_credential(&mut self, credential: &Credential, now: Timestamp) -> Result<bool, PemProblem> {
        if self.credential == *credential {
            return Ok(false);
        }
        self.proof = Proof::of(credential)?;
        self.credential = credential.clone();
        // What is under way was asked with the old ones.
        self.outdated = self.asked_at.is_some();
        if matches!(self.failure, Some(TokenFailure::Refused { .. })) {
            self.due = self.due.min(now);
        }
        Ok(true)
    }

    /// The token, if there is one that has not ended.
    pub fn current(&self, now: Timestamp) -> Option<&Token> {
        self.current.as_ref().filter(|token| now < token.expires)
    }

    /// The application permissions in the token (`roles`), as the login service says them; a token may keep old ones
    /// until it ends. Empty also when the token cannot be read, which is the service's right.
    pub fn roles(&self) -> Vec<String> {
        let claims = self.current.as_ref().and_then(|token| own_claims(token.secret.expose()));
        claims.map(|claims| claims.roles().into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Why the newest try failed; `None` after a success.
    pub fn failure(&self) -> Option<&TokenFailure> {
        self.failure.as_ref()
    }

    /// Whether an answer is awaited.
    pub fn asking(&self) -> bool {
        self.asked_at.is_some()
    }

    /// When [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Timestamp {
        self.asked_at.map_or(self.due, |asked| asked.plus(PATIENCE))
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        match (input, self.asked_at) {
            (Input::Tick, _) if self.deadline() > now => Vec::new(),
            (Input::Tick, None) => self.ask(now),
            (Input::Tick, Some(_)) => self.failed(TokenFailure::Unreachable("no answer".into()), now),
            // The answer to a request that was given up.
            (Input::Answered { .. } | Input::Unreachable(_), None) => Vec::new(),
            (Input::Unreachable(why), Some(_)) => self.failed(TokenFailure::Unreachable(why), now),
            (Input::Answered { status, retry_after, body }, Some(asked)) => {
                match answer::read(status, retry_after, &body) {
                    Ok(granted) => self.granted(granted, asked, now),
                    Err(failure) => self.failed(failure, now),
                }
            }
            (Input::Rejected(number), asked) => {
                if self.current.as_ref().is_some_and(|token| token.number == number) && asked.is_none() {
                    // At once, because a call may ring; but who gets 401 for reasons of the resource's own must not make us
                    // ask without end.
                    let soonest = self.rejected_at.map_or(now, |last| now.max(last.plus(REJECTED_PAUSE)));
                    self.rejected_at = Some(soonest);
                    self.due = self.due.min(soonest);
                }
                Vec::new()
            }
        }
    }

    fn ask(&mut self, now: Timestamp) -> Vec<Action> {
        let mut form = vec![
            ("grant_type", Secret::new("client_credentials".to_owned())),
            ("client_id", Secret::new(self.client_id.clone())),
            ("scope", Secret::new(self.scope.clone())),
        ];
        match &self.proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.clone())),
            Proof::Certificate(signer) => {
                let id = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid().to_string();
                let Some(assertion) = signer.assertion(&self.url, &self.client_id, &id, now) else {
                    return self.failed(TokenFailure::Unreachable("the system gives no random numbers".into()), now);
                };
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", Secret::new(kind.to_owned())));
                form.push(("client_assertion", assertion));
            }
        }
        self.asked_at = Some(now);
        vec![Action::Request(TokenRequest { url: self.url.clone(), form })]
    }

    fn granted(&mut self, granted: answer::Granted, asked: Timestamp, now: Timestamp) -> Vec<Action> {
        self.asked_at = None;
        self.outdated = false;
        self.outages = 0;
        self.failure = None;
        self.issued += 1;
        // Its life began before the answer came.
        let expires = asked.plus(granted.life);
        self.current = Some(Token { number: self.issued, secret: granted.token, expires });
        self.due = asked.plus(granted.life * 4 / 5).max(now.plus(FIRST_PAUSE));
        vec![Action::Ready]
    }

    fn failed(&mut self, failure: TokenFailure, now: Timestamp) -> Vec<Action> {
        self.asked_at = None;
        let place = match self.current(now) {
            Some(token) => format!("{}; the token at hand is good until {}", self.url, token.expires),
            None => self.url.clone(),
        };
        let text = format!("no access token from {place}: {failure}");
        let (pause, action) = match &failure {
            TokenFailure::Refused { .. } => (REFUSED_PAUSE, Action::Alarm(text)),
            TokenFailure::Outage { retry_after, .. } => (self.pause(*retry_after), Action::Warn(text)),
            TokenFailure::Unreachable(_) => (self.pause(None), Action::Warn(text)),
        };
        self.due = if std::mem::take(&mut self.outdated) { now } else { now.plus(pause) };
        self.failure = Some(failure);
        vec![action]
    }

    /// The next pause of an outage: doubled each time, somewhere in its second half, and not before the service wants.
    fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1u32.checked_shl(self.outages).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
        self.outages = self.outages.saturating_add(1).min(16);
        let jittered = full.mul_f64(0.5 + self.random.f64() / 2.0);
        jittered.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests;
