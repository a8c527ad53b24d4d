//! The keeper of subscriptions: asks for them, renews them, notices when one is gone, and says what may be missing
//! (digest §12 and §14, traps 14 to 17 and 20).
//!
//! One subscription per resource. It is renewed at half of the life *the service* granted; what it refuses, forgets or
//! removes becomes [`Action::Lapsed`] with the span that is not covered, and [`Action::Backfill`] after it. What must
//! survive a restart is in one cursor entry per resource, written together with what it accounts for: **the actions of one
//! call belong in one append**, so that a gap is never forgotten between its discovery and its event.

mod entry;
mod keeper;
mod resource;
mod silence;
mod state;

use serde_json::Value;

pub use entry::PREFIX;
pub use keeper::Keeper;
pub use resource::{canonical, carries_content, longest_life, same};
pub use state::{client_state, client_state_matches};

use super::ask::{Ask, Reply};
use crate::model::Timestamp;

/// Which request a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Why a resource is wanted; it is kept until nobody wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Configured in `chat_scopes`.
    Scope,
    /// The chat of a call.
    Call,
}

/// Why a resource is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its first subscription was made.
    New,
    /// It was without a subscription.
    Lapsed,
    /// The recorder was away for longer than the service repeats itself.
    Away,
    /// The service said that it missed something.
    Missed,
    /// The service refuses a subscription; reading may be allowed.
    Refused,
    /// Nothing was heard for unusually long.
    Silence,
}

/// The public half of the key pair that notifications are encrypted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Our name for it, at most 128 characters.
    pub id: String,
    /// DER, base64.
    pub base64: String,
}

/// What every subscription is made with.
#[derive(Clone)]
pub struct Terms {
    /// `notificationUrl`.
    pub notification_url: String,
    /// `lifecycleNotificationUrl`; always sent, for it cannot be added later (trap 16).
    pub lifecycle_url: String,
    /// `?model=` of `getAllMessages` resources; empty = not sent.
    pub model: String,
    /// Life asked for; never more than the resource allows.
    pub life: std::time::Duration,
    /// For encrypted notifications; `None` = ids only.
    pub certificate: Option<Certificate>,
    /// With more subscriptions than this, chats of calls that have been quiet for a month rest. The service allows 10,000 to
    /// a whole organisation.
    pub crowded: usize,
    /// What client states are derived from: secret, made once per connector, kept by the caller.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms")
            .field("notification_url", &self.notification_url)
            .field("lifecycle_url", &self.lifecycle_url)
            .field("model", &self.model)
            .field("life", &self.life)
            .field("certificate", &self.certificate.as_ref().map(|certificate| &certificate.id))
            .finish_non_exhaustive()
    }
}

/// What the keeper is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// First of all: what was remembered, what the configuration wants, and when the recorder was last alive.
    Start {
        /// Cursor entries whose key begins with [`PREFIX`]; others are ignored.
        entries: Vec<(String, Vec<u8>)>,
        /// `chat_scopes`. A remembered scope that is no longer among them is given up.
        scopes: Vec<String>,
        /// `Restored::last_seen`.
        last_seen: Option<Timestamp>,
    },
    /// Keep a subscription on this resource.
    Want(String, Why),
    /// No longer for this reason.
    Unwant(String, Why),
    /// What came of an [`Action::Ask`].
    Reply(Token, Reply),
    /// A lifecycle notification whose client state was right.
    Lifecycle {
        /// `subscriptionId`.
        subscription: String,
        /// `lifecycleEvent` as received.
        event: String,
        /// `subscriptionExpirationDateTime`, if readable.
        expires: Option<Timestamp>,
    },
    /// Notifications whose client state was right.
    Delivered {
        /// `subscriptionId`.
        subscription: String,
        /// How many.
        count: u64,
    },
    /// Something new was found in a chat by reading: if it rests, it rests no longer.
    Active(String),
    /// There is a new key pair: every subscription is moved to it.
    NewKey(Certificate),
    /// The time of [`Keeper::deadline`] has come.
    Tick,
    /// The recorder goes down. Subscriptions stay: the service repeats itself for 4 hours.
    Stop,
}

/// What is to be done, in this order, the durable parts in one append.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Perform this and hand the reply back.
    Ask(Token, Ask),
    /// Between these times notifications on the resource may be missing: `capture.gap` in the conversations concerned.
    Lapsed {
        /// Canonical, for example `/chats/19:…/messages`.
        resource: String,
        /// Last moment known to be covered.
        from: Timestamp,
        /// Covered again, or still not.
        to: Timestamp,
        /// One fragment, without content.
        cause: String,
    },
    /// Read the past of the resource.
    Backfill {
        /// Canonical.
        resource: String,
        /// Why.
        cause: Cause,
    },
    /// Write (`Some`) or remove (`None`) a cursor entry.
    Store {
        /// Begins with [`PREFIX`].
        key: String,
        /// JSON.
        value: Option<Vec<u8>>,
    },
    /// The administrator must know, until [`Action::Clear`] with the same key.
    Alarm {
        /// What the alarm is about, stable.
        key: String,
        /// A sentence or two: what, and what to do.
        text: String,
    },
    /// The matter of this alarm is settled.
    Clear {
        /// As in [`Action::Alarm`].
        key: String,
    },
    /// For the log.
    Warn(String),
    /// What became of a subscription, for the record.
    Told {
        /// Canonical.
        resource: String,
        /// Its id, if it has or had one.
        subscription: Option<String>,
        /// `created`, `made anew`, `adopted`, `renewed`, `refused`, `lost`,
        /// `silent`, `resting`, `given up`, or the lifecycle event as received.
        what: String,
        /// Until when it lives.
        expires: Option<Timestamp>,
        /// Why, if it went wrong; without content.
        trouble: Option<String>,
    },
    /// Notifications on the resource will come.
    Ready {
        /// Canonical.
        resource: String,
    },
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    let object = value.as_object()?;
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
