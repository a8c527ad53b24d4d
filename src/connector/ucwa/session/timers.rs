//! Deadlines as data: what shall happen when, if nothing comes before.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ConversationId, Timestamp};

use super::talk::TalkKey;

/// Something that falls due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Sign in again after a fault.
    SignIn,
    /// Ask the event channel again.
    Poll,
    /// Report activity.
    Activity,
    /// Renew tickets.
    Renew,
    /// Stop waiting for a sign-in before interpreting what an earlier run stored.
    Pending,
    /// Repeat lookups that a passing fault spoiled.
    Lookup,
    /// Take the next step of stopping.
    Stop,
    /// Try addMessaging again, or look whether it worked.
    Join(TalkKey),
    /// Say that a conversation we are in is not being captured.
    NotCapturing(TalkKey),
    /// Compare the roster.
    Roster(TalkKey),
    /// Leave if still alone.
    Alone(TalkKey),
    /// Send the notice again.
    Notice(TalkKey),
    /// Close a conversation that we left if the channel does not say so.
    Left(TalkKey),
    /// Rejoin a meeting.
    Rejoin(ConversationId),
}

/// All pending deadlines; each [`Timer`] has at most one.
#[derive(Debug, Default)]
pub struct Timers {
    at: BTreeMap<Timer, Timestamp>,
    order: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    /// Sets or moves a deadline.
    pub fn set(&mut self, timer: Timer, at: Timestamp) {
        self.clear(&timer);
        self.order.insert((at, timer.clone()));
        self.at.insert(timer, at);
    }

    /// Sets a deadline unless there is one already.
    pub fn set_if_unset(&mut self, timer: Timer, at: Timestamp) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Removes a deadline.
    pub fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    /// Removes every deadline of one conversation.
    pub fn clear_talk(&mut self, key: &TalkKey) {
        for make in [Timer::Join, Timer::NotCapturing, Timer::Roster, Timer::Alone, Timer::Notice, Timer::Left] {
            self.clear(&make(key.clone()));
        }
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, timer) = self.order.first()?.clone();
        if at > now {
            return None;
        }
        self.clear(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_deadline_and_falls_due_in_order() {
        let mut timers = Timers::default();
        timers.set(Timer::Poll, Timestamp(30));
        timers.set(Timer::Activity, Timestamp(20));
        timers.set(Timer::Poll, Timestamp(10));
        timers.set_if_unset(Timer::Poll, Timestamp(5));
        assert_eq!(timers.next(), Some(Timestamp(10)));
        assert_eq!(timers.pop_due(Timestamp(9)), None);
        assert_eq!(timers.pop_due(Timestamp(25)), Some(Timer::Poll));
        assert_eq!(timers.pop_due(Timestamp(25)), Some(Timer::Activity));
        assert_eq!(timers.next(), None);
    }
}
