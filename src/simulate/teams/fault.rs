//! What can be broken on purpose: notifications, answers, subscriptions, keys.

use std::collections::VecDeque;
use std::time::Duration;

use super::keys::{BadToken, Signer};
use super::ledger::Path;
use super::outbox::Letter;

/// How notifications are spoiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sent twice.
    Duplicate,
    /// Sent after the next one of the same path.
    Swap,
    /// Not sent.
    Drop,
    /// Sent in one body with the next one of the same call.
    Together,
    /// Inner objects come without their `@odata.type`.
    Untyped,
    /// Sent so much later.
    Delay(Duration),
    /// The token is wrong.
    Token(BadToken),
    /// `deleted` of a call without `state` and `resultInfo`.
    Bare,
    /// `resultInfo.code` is a string.
    CodeString,
    /// Values of enumerations in PascalCase.
    PascalCase,
    /// `clientState` is somebody else's.
    ClientState,
    /// The signature of the encrypted content is wrong.
    BadSignature,
    /// The ciphertext was changed.
    ChangedData,
    /// The certificate's id is unknown.
    UnknownCertificate,
    /// `validationTokens` is empty although the content is encrypted.
    NoTokens,
    /// The body is not JSON.
    Garbage,
}

impl Effect {
    /// Whether a notification spoiled so must have no effect on an archive.
    pub(super) fn forbids(&self) -> bool {
        matches!(self, Effect::Token(_) | Effect::ClientState | Effect::NoTokens)
    }

    /// Whether it tells nothing that can be read.
    pub(super) fn hides(&self) -> bool {
        self.forbids()
            || matches!(self, Effect::BadSignature | Effect::ChangedData | Effect::UnknownCertificate | Effect::Garbage)
    }
}

/// How answers to requests are spoiled.
#[derive(Clone, Debug, PartialEq)]
pub enum Spoiled {
    /// This status instead of the answer; with a Retry-After in seconds, which may have a fraction.
    Status(u16, Option<f64>),
    /// The answer comes so much later; it is carried out.
    Slow(Duration),
    /// 200 with a page that is no JSON.
    Html,
    /// 200 with JSON cut in the middle.
    Cut,
}

/// Something to break.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The next notifications of a path whose kind contains `what` are spoiled.
    Send {
        /// Which path.
        path: Path,
        /// Part of the kind: `incoming`, `established`, `created` …; empty: any.
        what: String,
        /// So many pass first.
        skip: u32,
        /// So many are spoiled.
        times: u32,
        /// How.
        effect: Effect,
    },
    /// Answers to requests are spoiled.
    Answers {
        /// Part of method and path: `POST /subscriptions`; empty: any.
        path: String,
        /// So many pass first.
        skip: u32,
        /// So many are spoiled.
        times: u32,
        /// How.
        spoiled: Spoiled,
    },
    /// Subscriptions whose resource contains this disappear, with or without a lifecycle notification.
    RemoveSubscription(String, bool),
    /// They stay, but nothing is sent any more, without a word.
    SilentStop(String),
    /// They have to be authorised anew.
    Reauthorize(String),
    /// A lifecycle notification of this kind for them.
    Lifecycle(String, String),
    /// A service signs with a new key; with `true` the old one is not published any more.
    RotateKeys(Signer, bool),
    /// Access tokens given out so far are not accepted any more.
    ExpireTokens,
    /// The application's secret changes.
    Secret(String),
    /// The secret has expired.
    SecretExpired,
    /// The validation of a subscription's address comes so late after the request.
    SlowHandshake(Duration),
    /// `@odata.nextLink` leads to another host.
    ForeignNextLink,
    /// `serviceUrl` of activities is another host.
    ForeignServiceUrl,
    /// A chat (by its name) is refused with 403, as if another tenant owned it.
    ForeignChat(String),
    /// An application permission is taken away; tokens issued from then on lack it.
    Revoke(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Send { path, what, times, effect, .. } => {
                write!(f, "Fault: {times} notification(s) of {path:?} {what}: {effect:?}")
            }
            Fault::Answers { path, times, spoiled, .. } => {
                let path = if path.is_empty() { "anything" } else { path };
                write!(f, "Fault: {times} answer(s) to {path}: {spoiled:?}")
            }
            Fault::Secret(_) => write!(f, "Fault: the secret changes"),
            other => write!(f, "Fault: {other:?}"),
        }
    }
}

#[derive(Clone, Debug)]
struct Armed<T> {
    what: String,
    path: Option<Path>,
    skip: u32,
    times: u32,
    effect: T,
}

impl<T: Clone> Armed<T> {
    /// Whether it strikes now.
    fn strikes(&mut self) -> Option<T> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.effect.clone())
    }
}

/// What is broken at present.
#[derive(Debug, Default)]
pub(super) struct Faults {
    sends: Vec<Armed<Effect>>,
    answers: Vec<Armed<Spoiled>>,
    /// Letters that wait to be overtaken.
    pub held: VecDeque<Letter>,
    /// Letters that wait for the next one of their call.
    pub together: Vec<Letter>,
    pub handshake: Duration,
    pub next_link: bool,
    pub service_url: Option<String>,
    pub secret_expired: bool,
}

impl Faults {
    pub fn arm_send(&mut self, path: Path, what: String, skip: u32, times: u32, effect: Effect) {
        self.sends.push(Armed { what, path: Some(path), skip, times, effect });
    }

    pub fn arm_answer(&mut self, what: String, skip: u32, times: u32, spoiled: Spoiled) {
        self.answers.push(Armed { what, path: None, skip, times, effect: spoiled });
    }

    /// How this notification is spoiled.
    pub fn meet_send(&mut self, path: Path, what: &str) -> Option<Effect> {
        let hit = self.sends.iter_mut().find(|a| a.path == Some(path) && what.contains(&a.what));
        let effect = hit.and_then(Armed::strikes);
        self.sends.retain(|a| a.times > 0);
        effect
    }

    /// How the answer to this request is spoiled; `request` is method and path.
    pub fn meet_answer(&mut self, request: &str) -> Option<Spoiled> {
        let matches = |part: &str| match part.split_once(' ') {
            Some((method, path)) => request.starts_with(&format!("{method} ")) && request.contains(path),
            None => request.contains(part),
        };
        let hit = self.answers.iter_mut().find(|a| matches(&a.what));
        let spoiled = hit.and_then(Armed::strikes);
        self.answers.retain(|a| a.times > 0);
        spoiled
    }
}
