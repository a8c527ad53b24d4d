//! What happened when: days, totals, gaps, the busiest conversations. Days are UTC, as days since 1970-01-01.

use rusqlite::params;
use serde::Serialize;

use super::conversations::{COLUMNS, conversation_of};
use super::{Conversation, ConversationFilter, Reader, broken};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::projection::{BLOCK, day_of};
use crate::archive::writer::Trouble;
use crate::model::{ConversationId, Gap, Seq, Timestamp};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What happened on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Days since 1970-01-01 UTC.
    pub day: i64,
    /// Number of events.
    pub events: u64,
    /// Number of `message.sent`.
    pub messages: u64,
    /// Number of conversations that started.
    pub conversations_started: u64,
    /// Number of gaps that began.
    pub gaps: u64,
}

/// The whole archive in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Number of events: the size of the log.
    pub events: u64,
    /// Number of `message.sent`.
    pub messages: u64,
    /// Number of conversations.
    pub conversations: u64,
    /// Conversations that go on.
    pub live: u64,
    /// Conversations whose record is not whole.
    pub incomplete: u64,
    /// Number of `capture.gap`.
    pub gaps: u64,
    /// People who joined or acted.
    pub people: u64,
    /// Earliest time of an event; `None` in an empty archive.
    pub first_at: Option<Timestamp>,
    /// Latest time of an event.
    pub last_at: Option<Timestamp>,
}

/// A gap, and the conversation it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapRow {
    /// The `capture.gap`.
    pub seq: Seq,
    /// `None` = of all of the connector.
    pub conversation: Option<ConversationId>,
    /// Name of the connector.
    pub connector: String,
    /// Span and cause.
    pub gap: Gap,
}

/// What is missing of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GapDay {
    /// Days since 1970-01-01 UTC.
    pub day: i64,
    /// Gaps that touch the day.
    pub gaps: u64,
    /// Microseconds of the day in at least one gap.
    pub missing: i64,
}

/// A configured sign-in that something came through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorRow {
    /// Its name.
    pub name: String,
    /// Its kind: `ucwa`, `teams` …
    pub platform: String,
}

impl Reader {
    /// What happened on each day from `from_day` to `to_day`, both included; days without anything are left out.
    /// Of the filter only platform and connector count.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn activity(
        &self,
        from_day: i64,
        to_day: i64,
        filter: &ConversationFilter,
    ) -> Result<Vec<Activity>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<Activity>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT day, sum(events), sum(messages), sum(conversations), sum(gaps) FROM day
                 WHERE day BETWEEN ?1 AND ?2 AND connector IN (
                     SELECT id FROM connector WHERE name = coalesce(?3, name) AND platform = coalesce(?4, platform))
                 GROUP BY day HAVING sum(events) + sum(conversations) + sum(gaps) > 0 ORDER BY day",
            )?;
            let rows = statement.query_map(params![from_day, to_day, filter.connector, filter.platform], |row| {
                Ok(Activity {
                    day: row.get(0)?,
                    events: row.get::<_, N>(1)?.0,
                    messages: row.get::<_, N>(2)?.0,
                    conversations_started: row.get::<_, N>(3)?.0,
                    gaps: row.get::<_, N>(4)?.0,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read activity from", e))
    }

    /// The days on which something happened in a conversation, in order, with the number of messages.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn days_of(&self, id: &ConversationId) -> Result<Vec<(i64, u64)>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<(i64, u64)>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT d.day, d.messages FROM conversation_day d
                 WHERE d.conversation = (SELECT number FROM conversation_id WHERE id = ?1) ORDER BY d.day",
            )?;
            let rows = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get::<_, N>(1)?.0)))?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read days from", e))
    }

    /// The conversations with most messages among those in which something happened at or after `since`. Looks at every
    /// conversation's row, at none of their events.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn busiest(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<Conversation>, ArchiveError> {
        let since = since.map_or(i64::MIN, Timestamp::micros);
        let read = || -> Result<Vec<Conversation>, Trouble> {
            let mut statement = self.conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM (SELECT number FROM conversation WHERE last_at >= ?1 AND messages > 0
                     ORDER BY messages DESC, number LIMIT ?2) t
                 JOIN conversation c ON c.number = t.number JOIN conversation_id i ON i.number = c.number
                 JOIN connector n ON n.id = c.connector ORDER BY c.messages DESC, c.number"
            ))?;
            let mut rows = statement.query(params![since, N::of(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (number, mut conversation) = conversation_of(row)?;
                conversation.participants = self.participants(number)?;
                found.push(conversation);
            }
            Ok(found)
        };
        read().map_err(|e| e.told(|| format!("read conversations of archive {}", self.path.display())))
    }

    /// Gaps of all conversations, the newest stated first, at most `limit`, stated before the event `before` (from the
    /// newest if `None`).
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn gaps(&self, before: Option<Seq>, limit: usize) -> Result<Vec<GapRow>, ArchiveError> {
        let read = || -> Result<Vec<GapRow>, Trouble> {
            let mut statement = self.conn.prepare_cached(
                "SELECT g.seq, i.id, n.name, g.from_at, g.to_at, g.cause FROM gap g CROSS JOIN event e ON e.seq = g.seq
                 CROSS JOIN connector n ON n.id = e.connector LEFT JOIN conversation_id i ON i.number = g.conversation
                 WHERE g.seq < ?1 ORDER BY g.seq DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![N(before.map_or(u64::MAX, |seq| seq.0)), N::of(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let N(seq) = row.get(0)?;
                let malformed =
                    || broken("gap", i64::try_from(seq).unwrap_or(i64::MAX), "its conversation has a malformed id");
                let id: Option<String> = row.get(1)?;
                found.push(GapRow {
                    seq: Seq(seq),
                    conversation: id.map(|id| ConversationId::parse(&id).ok_or_else(malformed)).transpose()?,
                    connector: row.get(2)?,
                    gap: Gap { from: Timestamp(row.get(3)?), to: Timestamp(row.get(4)?), cause: row.get(5)? },
                });
            }
            Ok(found)
        };
        read().map_err(|e| e.told(|| format!("read gaps from archive {}", self.path.display())))
    }

    /// The days from `from_day` to `to_day`, both included, that gaps touch, and how much of each is missing. Reads the
    /// gaps that end on the first of these days or later.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn gap_days(&self, from_day: i64, to_day: i64) -> Result<Vec<GapDay>, ArchiveError> {
        let (from, to) = (from_day.saturating_mul(DAY), to_day.saturating_add(1).saturating_mul(DAY));
        let read = || -> rusqlite::Result<Vec<(i64, i64)>> {
            let mut statement =
                self.conn.prepare_cached("SELECT from_at, to_at FROM gap WHERE to_at >= ?1 AND from_at < ?2")?;
            statement.query_map(params![from, to], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let mut spans = read().map_err(|e| self.failed("read gaps from", e))?;
        spans.sort_unstable();
        let mut days: std::collections::BTreeMap<i64, (GapDay, i64)> = std::collections::BTreeMap::new();
        for (begin, end) in spans {
            // Cut to what was asked for, so that a clock gone mad costs no more than the page shows.
            for day in day_of(begin).max(from_day)..=day_of(end).min(to_day) {
                let (start, stop) = (day.saturating_mul(DAY), day.saturating_add(1).saturating_mul(DAY));
                let (found, counted) = days.entry(day).or_insert((GapDay { day, gaps: 0, missing: 0 }, i64::MIN));
                found.gaps += 1;
                // Spans come by their start: only what lies beyond the furthest end so far is new.
                let (begin, end) = (begin.max(start).max(*counted), end.min(stop));
                if end > begin {
                    found.missing += end - begin;
                    *counted = end;
                }
            }
        }
        Ok(days.into_values().map(|(day, _)| day).collect())
    }

    /// Every connector that something came through, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn connectors(&self) -> Result<Vec<ConnectorRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<ConnectorRow>> {
            let mut statement =
                self.conn.prepare_cached("SELECT name, platform FROM connector ORDER BY name, platform")?;
            statement.query_map([], |row| Ok(ConnectorRow { name: row.get(0)?, platform: row.get(1)? }))?.collect()
        };
        read().map_err(|e| self.failed("read connectors of", e))
    }

    /// The whole archive in numbers, from the projections.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn totals(&self) -> Result<Totals, ArchiveError> {
        let events = self.log_size()?;
        let read = || -> rusqlite::Result<Totals> {
            let mut totals = Totals { events, ..Totals::default() };
            // `INDEXED BY` would refuse older layouts; the words are those of the partial indexes.
            self.conn
                .prepare_cached(
                    "SELECT (SELECT coalesce(sum(messages), 0) FROM day), (SELECT count(*) FROM conversation),
                        (SELECT count(*) FROM conversation WHERE live = 1),
                        (SELECT count(*) FROM conversation WHERE NOT (recorded AND gaps = 0 AND (covered OR NOT live))),
                        (SELECT count(*) FROM gap), (SELECT count(*) FROM person)",
                )?
                .query_row([], |row| {
                    totals.messages = row.get::<_, N>(0)?.0;
                    totals.conversations = row.get::<_, N>(1)?.0;
                    totals.live = row.get::<_, N>(2)?.0;
                    totals.incomplete = row.get::<_, N>(3)?.0;
                    totals.gaps = row.get::<_, N>(4)?.0;
                    totals.people = row.get::<_, N>(5)?.0;
                    Ok(())
                })?;
            self.conn
                .prepare_cached(
                    "SELECT min(first_at), max(last_at) FROM (SELECT first_at, last_at FROM block
                     UNION ALL SELECT min(at), max(at) FROM event WHERE seq > ?1)",
                )?
                .query_row([N(events / BLOCK * BLOCK)], |row| {
                    totals.first_at = row.get::<_, Option<i64>>(0)?.map(Timestamp);
                    totals.last_at = row.get::<_, Option<i64>>(1)?.map(Timestamp);
                    Ok(())
                })?;
            Ok(totals)
        };
        read().map_err(|e| self.failed("read totals of", e))
    }
}
