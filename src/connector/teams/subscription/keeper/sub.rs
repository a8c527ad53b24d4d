//! One resource at work.

use crate::connector::teams::subscription::Token;
use crate::connector::teams::subscription::entry::Entry;
use crate::connector::teams::subscription::state::client_state;
use crate::model::Timestamp;

/// Where a resource stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// No subscription; one is asked for then.
    Missing { at: Timestamp },
    /// Asked for, with this certificate.
    Creating { token: Token, certificate: Option<String> },
    /// There; renewed then.
    Held { renew: Timestamp },
    /// There, and being renewed.
    Renewing(Token),
    /// There, but made with other settings.
    Unfit,
    /// Without one on purpose, until something happens.
    Resting,
    /// Being deleted, for a new one.
    Clearing(Token),
}

/// One resource: what is remembered, and what is going on.
#[derive(Clone, Debug)]
pub(super) struct Sub {
    pub entry: Entry,
    pub phase: Phase,
    /// Its client state.
    pub state: String,
    /// Tries in a row that failed.
    pub failures: u32,
    /// Wanted since, in this run.
    pub since: Timestamp,
    /// How many of them in a row were lost within a minute.
    pub short_lives: u32,
    /// When the subscription was made, in this run.
    pub made: Option<Timestamp>,
    /// To be renewed once more: something happened while a request was under way.
    pub again: bool,
    /// The last create met a subscription that is there already.
    pub conflict: bool,
    /// An alarm is raised.
    pub alarmed: bool,
    /// When the uncovered span was said last.
    pub said: Option<Timestamp>,
    /// Its place in the agenda.
    pub planned: Option<Timestamp>,
}

impl Sub {
    pub fn new(entry: Entry, phase: Phase, seed: &[u8; 32], now: Timestamp) -> Self {
        let state = client_state(seed, &entry.resource);
        Sub {
            entry,
            phase,
            state,
            failures: 0,
            since: now,
            short_lives: 0,
            made: None,
            again: false,
            conflict: false,
            alarmed: false,
            said: None,
            planned: None,
        }
    }

    /// Until when the subscription is known to have been there.
    pub fn last_known(&self, now: Timestamp) -> Timestamp {
        let confirmed = self.entry.held.as_ref().map(|held| held.confirmed());
        confirmed
            .into_iter()
            .chain(self.entry.deliveries.last().filter(|_| confirmed.is_some()))
            .max()
            .map_or(now, |t| t.min(now))
    }

    /// When the uncovered span is to be said again.
    pub fn piece_due(&self) -> Option<Timestamp> {
        let said = self.said.filter(|_| self.entry.uncovered.is_some() && self.entry.held.is_none())?;
        Some(said.plus(super::PIECE))
    }

    /// When something is to be done; nothing is made before the service's list has answered.
    pub fn next(&self, listed: bool) -> Option<Timestamp> {
        let expires = self.entry.held.as_ref().map(|held| held.expires());
        let phase = match &self.phase {
            Phase::Missing { at } => Some(*at).filter(|_| listed),
            Phase::Unfit => Some(self.since).filter(|_| listed),
            Phase::Held { renew } => Some(expires.map_or(*renew, |expires| expires.min(*renew))),
            Phase::Creating { .. } | Phase::Renewing(_) | Phase::Clearing(_) | Phase::Resting => None,
        };
        let silence = self.entry.deliveries.suspicious_at().filter(|_| self.entry.held.is_some());
        phase.into_iter().chain(silence).chain(self.piece_due()).min()
    }
}
