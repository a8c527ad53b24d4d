//! Connectors: how conversations reach the recorder.
//!
//! A connector is a sans-IO session, a thin async driver, and tolerant wire types. It sees only [`crate::capture`] and
//! [`crate::model`]. Each has `run` (record until told to stop) and `check` (sign in, say what works, sign out).

pub mod html;
pub mod secret;
pub mod teams;
pub mod ucwa;
mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use crate::capture::{Sink, Source};
use crate::clock::Clock;

/// What every connector is given to work with.
#[derive(Clone)]
pub struct Context {
    /// Name and kind.
    pub source: Source,
    /// Where captured things go.
    pub sink: Arc<dyn Sink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the connector shall leave its conversations, drain, sign out and return.
    pub stop: CancellationToken,
    /// Where the connector says how it is.
    pub health: Arc<Health>,
}

/// How a connector is doing; read by `/readyz`, logs and `demo`.
#[derive(Debug, Default)]
pub struct Health {
    state: AtomicU8,
    alarm: std::sync::Mutex<Option<String>>,
    counts: std::sync::Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

/// The states of [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Signing in or waiting to try again.
    Connecting,
    /// Signed in and listening.
    Listening,
    /// Needs a person: wrong password, refused account.
    Alarm,
    /// Stopped on request.
    Stopped,
}

impl Health {
    /// Sets the state; an alarm keeps its text until the connector is listening again.
    pub fn set(&self, state: HealthState) {
        self.state.store(state as u8, Ordering::SeqCst);
        if state == HealthState::Listening {
            *self.alarm.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        }
    }

    /// Raises an alarm with a text that holds no message content and no secret.
    pub fn alarm(&self, text: String) {
        *self.alarm.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(text);
        self.set(HealthState::Alarm);
    }

    /// The current state.
    pub fn state(&self) -> HealthState {
        match self.state.load(Ordering::SeqCst) {
            1 => HealthState::Listening,
            2 => HealthState::Alarm,
            3 => HealthState::Stopped,
            _ => HealthState::Connecting,
        }
    }

    /// Counts something under a name of lower-case words joined by `_`; returns how often it was counted.
    pub fn count(&self, what: &'static str) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = counts.entry(what).or_default();
        *count += 1;
        *count
    }

    /// What was counted since the start, by name.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|(what, count)| (*what, *count)).collect()
    }

    /// The alarm's text, if there is one.
    pub fn alarm_text(&self) -> Option<String> {
        self.alarm.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// One line of `greffier check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine {
    /// What was tried, for example `ask https://lyncdiscover.contoso.com/`.
    pub step: String,
    /// How it went.
    pub outcome: CheckOutcome,
    /// What was found, or what to do about it.
    pub note: String,
}

/// How a step of `check` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Works.
    Good,
    /// Works, but look at it.
    Warning,
    /// Does not work; `check` exits 1.
    Bad,
}

/// A connector ended other than on request.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The configuration cannot work; says key and remedy.
    #[error("connector {connector}: {problem}")]
    Configuration {
        /// Its name.
        connector: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The archive refused for good.
    #[error(transparent)]
    Sink(#[from] crate::capture::SinkError),
}
