//! One budget: what went in the last second, and until when the service wants nothing more.

use std::collections::VecDeque;
use std::time::Duration;

use super::SECOND;
use crate::model::Timestamp;

/// A pause that ends by itself, also when the clock is set back meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    from: Timestamp,
    length: Duration,
}

impl Closed {
    /// From now until then.
    pub fn new(now: Timestamp, until: Timestamp) -> Self {
        Closed { from: now, length: until.since(now) }
    }

    /// Its end.
    pub fn until(&self) -> Timestamp {
        self.from.plus(self.length)
    }

    /// Its end, counted anew if the clock now shows a time before its beginning.
    pub fn until_seen_from(&mut self, now: Timestamp) -> Timestamp {
        self.from = self.from.min(now);
        self.until()
    }
}

/// What went in the last second.
#[derive(Debug, Default)]
pub struct Window {
    gone: VecDeque<Timestamp>,
    closed: Option<Closed>,
}

impl Window {
    /// When one more may go if at most `most` may in any second.
    pub fn opens(&mut self, most: Option<usize>, now: Timestamp) -> Timestamp {
        self.settle(now);
        let closed = self.closed.map_or(now, |closed| closed.until());
        let full = match most {
            Some(most) if self.gone.len() >= most => {
                self.gone.get(self.gone.len() - most).map_or(now, |first| first.plus(SECOND))
            }
            _ => now,
        };
        closed.max(full)
    }

    /// Counts one that goes.
    pub fn spend(&mut self, now: Timestamp) {
        self.settle(now);
        self.gone.push_back(now);
    }

    /// Nothing more before `until`.
    pub fn close(&mut self, now: Timestamp, until: Timestamp) {
        self.settle(now);
        if self.closed.is_none_or(|closed| closed.until() < until) {
            self.closed = Some(Closed::new(now, until));
        }
    }

    /// Whether the service wants nothing at the moment.
    pub fn is_closed(&self, now: Timestamp) -> bool {
        self.closed.is_some_and(|closed| closed.until() > now)
    }

    /// Whether it can be forgotten.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        !self.is_closed(now) && self.gone.back().is_none_or(|last| last.plus(SECOND) <= now)
    }

    fn settle(&mut self, now: Timestamp) {
        // A clock that was set back must not keep a budget closed until it has caught up.
        for gone in self.gone.iter_mut().rev().take_while(|gone| **gone > now) {
            *gone = now;
        }
        while self.gone.front().is_some_and(|first| first.plus(SECOND) <= now) {
            self.gone.pop_front();
        }
        if let Some(closed) = &mut self.closed
            && closed.until_seen_from(now) <= now
        {
            self.closed = None;
        }
    }
}
