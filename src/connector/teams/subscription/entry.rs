//! What is remembered of one resource across restarts: one cursor entry, JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Why;
use super::silence::Deliveries;
use crate::model::Timestamp;

/// The keys of our cursor entries begin so; the canonical resource follows.
pub const PREFIX: &str = "sub/";

/// A subscription that the service has granted; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The service's id.
    pub id: String,
    /// When it ends unless renewed.
    pub expires: i64,
    /// When the service last said that it is there.
    pub confirmed: i64,
    /// Which certificate it encrypts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Which `?model=` it was made with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Tag of the seed of its client state.
    pub seed: String,
    /// `notificationUrl` and `lifecycleNotificationUrl`.
    pub urls: (String, String),
}

impl Held {
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_millis(self.expires)
    }

    pub fn confirmed(&self) -> Timestamp {
        Timestamp::from_millis(self.confirmed)
    }
}

/// One resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// Canonical.
    pub resource: String,
    scope: bool,
    call: bool,
    /// What the service granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Not covered since; a span that no gap was logged for yet. Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncovered: Option<i64>,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// There has been a subscription, or the past was asked to be read without one.
    pub begun: bool,
    /// When something was last heard of it, or it was wanted. Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lively: Option<i64>,
    /// It is quiet, has no subscription, and is read once a day.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resting: bool,
    /// How often it delivers.
    pub deliveries: Deliveries,
}

impl Entry {
    pub fn new(resource: &str) -> Self {
        Entry { resource: super::canonical(resource), ..Entry::default() }
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let entry: Entry = serde_json::from_slice(bytes).ok()?;
        (entry.resource.len() > 1).then_some(entry)
    }

    pub fn key(&self) -> String {
        format!("{PREFIX}{}", self.resource)
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn want(&mut self, why: Why, wanted: bool) {
        match why {
            Why::Scope => self.scope = wanted,
            Why::Call => self.call = wanted,
        }
    }

    /// Something happened here.
    pub fn live(&mut self, now: Timestamp) {
        self.lively = Some(now.millis());
    }

    /// Whether it is followed for calls alone and nothing was heard of it for so long.
    pub fn is_quiet(&self, now: Timestamp, for_long: Duration) -> bool {
        let since = self.lively.map(Timestamp::from_millis);
        !self.scope && self.call && since.is_some_and(|since| now.since(since) >= for_long)
    }

    pub fn wanted(&self) -> BTreeSet<Why> {
        [(self.scope, Why::Scope), (self.call, Why::Call)].into_iter().filter(|(w, _)| *w).map(|(_, why)| why).collect()
    }

    /// Marks it as not covered from then on, unless it has not been for longer.
    pub fn uncover(&mut self, from: Timestamp, cause: &str) {
        if self.uncovered.is_none_or(|since| since > from.millis()) {
            self.uncovered = Some(from.millis());
            self.cause = cause.to_owned();
        }
    }
}
