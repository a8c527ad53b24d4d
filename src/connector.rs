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

use tokio_util::sync::CancellationToken;

use crate::capture::health::{Health, Trying};
use crate::capture::{Sink, SinkError, Source};
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

impl Context {
    /// The archive refuses for the moment. Said once until it stores again.
    pub fn refused(&self, error: &SinkError) {
        let first = self.health.refuses(error.to_string(), self.clock.now());
        self.say_refused(error, first);
    }

    /// The same by somebody who goes on trying, and holds this until it is over.
    pub fn refused_again(&self, error: &SinkError) -> Trying<'_> {
        let (trying, first) = self.health.refuses_again(error.to_string(), self.clock.now());
        self.say_refused(error, first);
        trying
    }

    fn say_refused(&self, error: &SinkError, first: bool) {
        if first {
            let name = &self.source.connector;
            tracing::error!(connector.name = %name, "{name}: {error}; nothing is acknowledged meanwhile");
        }
    }

    /// The archive has stored something.
    pub fn stored(&self) {
        if self.health.stores() {
            let name = &self.source.connector;
            tracing::info!(connector.name = %name, "{name}: the archive writes again");
        }
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
    Sink(#[from] SinkError),
}
