//! Projection `day`: what happened on each UTC day, per connector, counted in memory until the flush.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The UTC day of a time in µs, as days since 1970-01-01.
pub(in crate::archive) fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY)
}

/// What was counted since the last flush.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) events: i64,
    pub(super) messages: i64,
    pub(super) conversations: i64,
    pub(super) gaps: i64,
}

/// The days touched since the last flush.
#[derive(Default)]
pub(super) struct Days(BTreeMap<(i64, i64), Tally>);

impl Days {
    /// The tally of the day of `at`, in µs, for a connector.
    pub(super) fn on(&mut self, at: i64, connector: i64) -> &mut Tally {
        self.0.entry((day_of(at), connector)).or_default()
    }

    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut add = conn.prepare_cached(
            "INSERT INTO day (day, connector, events, messages, conversations, gaps) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (day, connector) DO UPDATE SET events = events + ?3, messages = messages + ?4,
                 conversations = conversations + ?5, gaps = gaps + ?6",
        )?;
        for ((day, connector), tally) in std::mem::take(&mut self.0) {
            add.execute(params![day, connector, tally.events, tally.messages, tally.conversations, tally.gaps])?;
        }
        Ok(())
    }
}
