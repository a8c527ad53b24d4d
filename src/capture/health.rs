//! How a connector is, as it says itself and as the archive lets it be.
//!
//! Two things at once: the connector's own state (signing in, listening), and whether the archive takes what it brings. A
//! recorder that cannot store is in alarm whatever its connection is like, and is back where it was once it can.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::Timestamp;

/// How a connector is doing; read by `/readyz`, logs, the viewer and `demo`.
#[derive(Debug, Default)]
pub struct Health {
    state: AtomicU8,
    alarm: Mutex<Option<String>>,
    storage: watch::Sender<Storage>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// The states of [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Signing in or waiting to try again.
    Connecting,
    /// Signed in and listening.
    Listening,
    /// Needs a person: wrong password, refused account, full disk.
    Alarm,
    /// Stopped on request.
    Stopped,
}

/// Whether the archive takes what the connector brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Why it does not, and since when.
    pub refuses: Option<(Timestamp, String)>,
    /// Who tries again and again at this moment: while one of them is refused, others' successes do not count.
    trying: usize,
}

/// Somebody who was refused and tries again, until this is dropped. Then the next success ends the outage.
#[derive(Debug)]
pub struct Trying<'h>(&'h Health);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.storage.send_if_modified(|storage| {
            storage.trying = storage.trying.saturating_sub(1);
            false
        });
    }
}

impl Health {
    /// Sets the connector's own state; an alarm keeps its text until the connector is listening again.
    pub fn set(&self, state: HealthState) {
        self.state.store(state as u8, Ordering::SeqCst);
        if state == HealthState::Listening {
            *lock(&self.alarm) = None;
        }
    }

    /// Raises an alarm with a text that holds no message content and no secret.
    pub fn alarm(&self, text: String) {
        *lock(&self.alarm) = Some(text);
        self.set(HealthState::Alarm);
    }

    /// The archive has refused something for the moment. True if it took everything before.
    pub fn refuses(&self, text: String, now: Timestamp) -> bool {
        self.storage.send_if_modified(|storage| {
            let first = storage.refuses.is_none();
            storage.refuses.get_or_insert((now, text));
            first
        })
    }

    /// The same by somebody who goes on trying. Whether it took everything before.
    pub fn refuses_again(&self, text: String, now: Timestamp) -> (Trying<'_>, bool) {
        self.storage.send_modify(|storage| storage.trying += 1);
        (Trying(self), self.refuses(text, now))
    }

    /// The archive has stored something. True if it refused before, and nobody is refused any more.
    pub fn stores(&self) -> bool {
        self.storage.send_if_modified(|storage| storage.trying == 0 && storage.refuses.take().is_some())
    }

    /// Follows whether the archive stores.
    pub fn storage(&self) -> watch::Receiver<Storage> {
        self.storage.subscribe()
    }

    /// The current state.
    pub fn state(&self) -> HealthState {
        match self.own_state() {
            HealthState::Stopped => HealthState::Stopped,
            _ if self.storage.borrow().refuses.is_some() => HealthState::Alarm,
            own => own,
        }
    }

    /// The connector's own state, whatever becomes of what it brings.
    pub fn own_state(&self) -> HealthState {
        match self.state.load(Ordering::SeqCst) {
            1 => HealthState::Listening,
            2 => HealthState::Alarm,
            3 => HealthState::Stopped,
            _ => HealthState::Connecting,
        }
    }

    /// The alarm's text, if there is one.
    pub fn alarm_text(&self) -> Option<String> {
        let refuses = self.storage.borrow().refuses.as_ref().map(|(_, why)| why.clone());
        refuses.or_else(|| lock(&self.alarm).clone())
    }

    /// Counts something under a name of lower-case words joined by `_`; returns how often it was counted.
    pub fn count(&self, what: &'static str) -> u64 {
        let mut counts = lock(&self.counts);
        let count = counts.entry(what).or_default();
        *count += 1;
        *count
    }

    /// What was counted since the start, by name.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        lock(&self.counts).iter().map(|(what, count)| (*what, *count)).collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_refuses_is_an_alarm_of_its_own() {
        let health = Health::default();
        health.set(HealthState::Listening);
        assert!(health.refuses("the disk is full".into(), Timestamp(7)));
        assert!(!health.refuses("still full".into(), Timestamp(8)), "said once");
        // The connection may change meanwhile, and is what it then is when the disk has room again.
        for state in [HealthState::Connecting, HealthState::Listening] {
            health.set(state);
            assert_eq!(health.state(), HealthState::Alarm);
            assert_eq!(health.alarm_text().as_deref(), Some("the disk is full"));
        }
        assert_eq!(health.storage().borrow().refuses, Some((Timestamp(7), "the disk is full".into())));
        assert!(health.stores());
        assert!(!health.stores());
        assert_eq!((health.state(), health.alarm_text()), (HealthState::Listening, None));
        assert_eq!(*health.storage().borrow(), Storage::default());
        // One keeps being refused while others succeed: that is one outage, and it ends when the one gives up or is served.
        let (trying, first) = health.refuses_again("the disk is full".into(), Timestamp(8));
        assert!(first);
        assert!(!health.stores());
        assert_eq!((health.state(), health.own_state()), (HealthState::Alarm, HealthState::Listening));
        drop(trying);
        assert!(health.stores());
        assert_eq!(health.state(), HealthState::Listening);
        health.alarm("the password was refused".into());
        health.refuses("the disk is full".into(), Timestamp(9));
        assert!(health.stores());
        assert_eq!(health.alarm_text().as_deref(), Some("the password was refused"));
        health.refuses("the disk is full".into(), Timestamp(9));
        health.set(HealthState::Stopped);
        assert_eq!(health.state(), HealthState::Stopped);
    }
}
