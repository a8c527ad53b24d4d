//! Places in a transcript: where an event or a time is, what stands around it, and pages in both directions.

use std::fmt;
use std::str::FromStr;

use rusqlite::{OptionalExtension, params};

use super::events::EVENT;
use super::{Page, Reader, broken};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::model::{ConversationId, Event, Kind, Seq, Timestamp};

/// A place between two events of a transcript: the next page starts after it. As text: two numbers with a `.` between,
/// safe in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub(super) second: i64,
    pub(super) seq: u64,
}

impl Position {
    /// The place just before the event at this position, so that a page after it begins with that event.
    pub fn just_before(self) -> Position {
        Position { seq: self.seq.saturating_sub(1), ..self }
    }

    /// The place just after the event at this position, so that a page before it ends with that event.
    pub fn just_after(self) -> Position {
        Position { seq: self.seq.saturating_add(1), ..self }
    }
}

/// The text is not a position that this program gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: take it from an earlier answer")]
pub struct MalformedPosition;

/// Two numbers with a `.` between.
pub(super) fn pair<A: FromStr, B: FromStr>(text: &str) -> Result<(A, B), MalformedPosition> {
    let (a, b) = text.split_once('.').ok_or(MalformedPosition)?;
    Ok((a.parse().map_err(|_| MalformedPosition)?, b.parse().map_err(|_| MalformedPosition)?))
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.second, self.seq)
    }
}

impl FromStr for Position {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let (second, seq) = pair(text)?;
        Ok(Position { second, seq })
    }
}

/// Which kinds of events are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KindSet(u64);

impl KindSet {
    /// No kind.
    pub const NONE: KindSet = KindSet(0);
    /// Every kind.
    pub const ALL: KindSet = KindSet(u64::MAX >> (64 - Kind::ALL.len()));

    /// These kinds.
    pub fn of(kinds: &[Kind]) -> KindSet {
        kinds.iter().fold(KindSet::NONE, |set, kind| set.with(*kind))
    }

    /// This set and one kind more.
    #[must_use]
    pub fn with(self, kind: Kind) -> KindSet {
        KindSet(self.0 | 1 << kind as u32)
    }

    /// This set without one kind.
    #[must_use]
    pub fn without(self, kind: Kind) -> KindSet {
        KindSet(self.0 & !(1 << kind as u32))
    }

    /// Whether the kind is in it.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// Its kinds in the order of the contract.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }

    /// As a condition on `e.kind`, with ` AND ` in front; nothing for every kind.
    fn condition(self) -> String {
        if self == KindSet::ALL {
            return String::new();
        }
        let names: Vec<String> = self.iter().map(|kind| format!("'{kind}'")).collect();
        format!(" AND e.kind IN ({})", names.join(", "))
    }
}

impl fmt::Debug for KindSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// `e.conversation` is that of `?1`.
const OF_CONVERSATION: &str = "e.conversation = (SELECT number FROM conversation_id WHERE id = ?1)";

impl Reader {
    /// Events of one conversation and of certain kinds in order of display, at most `limit`, after `after` (from the start
    /// if `None`). Kinds that are rare in it make a page walk over what lies between.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_of_kinds(
        &self,
        id: &ConversationId,
        kinds: KindSet,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        let after = after.unwrap_or(Position { second: i64::MIN, seq: 0 });
        let sql = format!(
            "SELECT {EVENT} WHERE {OF_CONVERSATION} AND (e.second, e.seq) > (?2, ?3){} ORDER BY e.second, e.seq LIMIT ?4",
            kinds.condition()
        );
        self.place_page(&sql, id, after, limit)
    }

    /// The last events of one conversation in order of display, at most `limit`, before `before` (up to the end if `None`).
    /// They come in order of display too; `next` is where the page before this one ends.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_before(
        &self,
        id: &ConversationId,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        self.events_of_kinds_before(id, KindSet::ALL, before, limit)
    }

    /// Like [`Reader::events_before`], of certain kinds.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_of_kinds_before(
        &self,
        id: &ConversationId,
        kinds: KindSet,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        let before = before.unwrap_or(Position { second: i64::MAX, seq: u64::MAX });
        let sql = format!(
            "SELECT {EVENT} WHERE {OF_CONVERSATION} AND (e.second, e.seq) < (?2, ?3){} ORDER BY e.second DESC, e.seq DESC
             LIMIT ?4",
            kinds.condition()
        );
        let mut page = self.place_page(&sql, id, before, limit)?;
        page.rows.reverse();
        Ok(page)
    }

    /// A page that knows whether more follows, as one row more than asked for is looked at.
    fn place_page(
        &self,
        sql: &str,
        id: &ConversationId,
        from: Position,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        if limit == 0 {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        let look = N::of(limit.saturating_add(1));
        let mut rows = self.event_rows(sql, params![id.as_str(), from.second, N(from.seq), look])?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().map(|(event, second)| Position { second: *second, seq: event.seq.0 });
        Ok(Page { next: last.filter(|_| more), rows: rows.into_iter().map(|(event, _)| event).collect() })
    }

    /// The conversation of an event and its position there; `None` if there is no such event or it is of no conversation.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn position_of(&self, seq: Seq) -> Result<Option<(ConversationId, Position)>, ArchiveError> {
        let read = || -> Result<Option<(ConversationId, Position)>, Trouble> {
            let found: Option<(String, i64)> = self
                .conn
                .prepare_cached(
                    "SELECT i.id, e.second FROM event e JOIN conversation_id i ON i.number = e.conversation WHERE e.seq = ?1",
                )?
                .query_row([N(seq.0)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, second)) = found else { return Ok(None) };
            let key = i64::try_from(seq.0).unwrap_or(i64::MAX);
            let id = ConversationId::parse(&id)
                .ok_or_else(|| broken("event", key, "its conversation has a malformed id"))?;
            Ok(Some((id, Position { second, seq: seq.0 })))
        };
        read().map_err(|e| e.told(|| format!("read archive {}", self.path.display())))
    }

    /// The place just before the first event, in order of display, at or after a time; `None` if there is none.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn position_at(&self, id: &ConversationId, time: Timestamp) -> Result<Option<Position>, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached(&format!(
                    "SELECT e.second, e.seq FROM event e WHERE {OF_CONVERSATION} AND e.second >= ?2 AND e.at >= ?3
                     ORDER BY e.second, e.seq LIMIT 1"
                ))?
                // SQL divides towards zero, and so does this.
                .query_row(params![id.as_str(), time.micros() / 1_000_000, time.micros()], |row| {
                    Ok(Position { second: row.get(0)?, seq: row.get::<_, N>(1)?.0 })
                })
                .optional()
        };
        Ok(read().map_err(|e| self.failed("read", e))?.map(Position::just_before))
    }

    /// An event with its neighbours in order of display: at most `before` earlier and `after` later ones of the same
    /// conversation. Alone if it is of no conversation; nothing if there is no such event.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn around(&self, seq: Seq, before: usize, after: usize) -> Result<Vec<Event>, ArchiveError> {
        let Some((id, position)) = self.position_of(seq)? else { return Ok(self.event(seq)?.into_iter().collect()) };
        let mut events = self.events_before(&id, Some(position), before)?.rows;
        let rest = self.events_of_kinds(&id, KindSet::ALL, Some(position.just_before()), after.saturating_add(1))?;
        events.extend(rest.rows);
        Ok(events)
    }

    /// What changed these messages of a conversation: `message.edited`, `message.deleted`, `message.undelivered`,
    /// `reaction.*`, in order of seq.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn changes_of(&self, id: &ConversationId, message_ids: &[&str]) -> Result<Vec<Event>, ArchiveError> {
        if message_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = serde_json::Value::from(message_ids.to_vec()).to_string();
        let sql = format!(
            "SELECT {EVENT} WHERE e.seq IN (SELECT m.seq FROM message_change m
                 WHERE m.conversation = (SELECT number FROM conversation_id WHERE id = ?1)
                 AND m.message IN (SELECT value FROM json_each(?2))) ORDER BY e.seq"
        );
        Ok(self.event_rows(&sql, params![id.as_str(), ids])?.into_iter().map(|(event, _)| event).collect())
    }
}
