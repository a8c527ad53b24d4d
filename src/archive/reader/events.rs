//! Events: one, by seq, by conversation, by time; and what a connector finds when it starts.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Position, Reader, broken};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::projection::{BLOCK, Entry};
use crate::archive::writer::Trouble;
use crate::model::{Content, ConversationId, Event, Kind, Seq, Timestamp};

/// In which order a transcript comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// By the time people see (`source_time`, or `recorded_at` where absent) cut to the second, then by seq: the order of
    /// display. A platform tells some times to the second only and some to the millisecond, and our own statements have our
    /// clock; finer than a second, only the order of capture says what came first.
    #[default]
    Time,
    /// By seq: the order of capture.
    Capture,
}

/// A page of a long answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, P = Position> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; `None` = this was the end.
    pub next: Option<P>,
}

/// Columns of [`event_of`].
pub(super) const EVENT: &str =
    "e.seq, i.id, n.name, n.platform, e.kind, e.source_time, e.recorded_at, c.canonical, e.leaf, e.second
    FROM event e JOIN connector n ON n.id = e.connector LEFT JOIN conversation_id i ON i.number = e.conversation
    LEFT JOIN content c ON c.seq = e.seq";

pub(super) fn event_of(row: &Row<'_>) -> Result<(Event, i64), Trouble> {
    let N(seq) = row.get(0)?;
    let key = i64::try_from(seq).unwrap_or(i64::MAX);
    let conversation = match row.get::<_, Option<String>>(1)? {
        Some(id) => Some(
            ConversationId::parse(&id).ok_or_else(|| broken("event", key, "its conversation has a malformed id"))?,
        ),
        None => None,
    };
    let kind = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
    let kind: Kind = kind.parse().map_err(|_| broken("event", key, "its kind is unknown to this version"))?;
    let content = content_of(row.get_ref(7)?.as_blob_or_null().map_err(rusqlite::Error::from)?, key)?;
    let leaf: [u8; 32] = row.get(8)?;
    let event = Event {
        v: 1,
        seq: Seq(seq),
        conversation,
        connector: row.get(2)?,
        platform: row.get(3)?,
        kind,
        source_time: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        recorded_at: Timestamp(row.get(6)?),
        content,
        leaf_hash: hex(&leaf),
    };
    Ok((event, row.get(9)?))
}

/// Content that was lawfully erased is empty.
fn content_of(canonical: Option<&[u8]>, seq: i64) -> Result<Content, ArchiveError> {
    canonical.map_or(Ok(Content::default()), |bytes| {
        serde_json::from_slice(bytes).map_err(|_| broken("content", seq, "it is not the JSON of an event's content"))
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

impl Reader {
    /// The event at this place of the log.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn event(&self, seq: Seq) -> Result<Option<Event>, ArchiveError> {
        let rows = self.event_rows(&format!("SELECT {EVENT} WHERE e.seq = ?1"), params![N(seq.0)])?;
        Ok(rows.into_iter().next().map(|(event, _)| event))
    }

    /// Events from `from` on (inclusive) in order of seq, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events(&self, from: Seq, limit: usize) -> Result<Vec<Event>, ArchiveError> {
        let sql = format!("SELECT {EVENT} WHERE e.seq >= ?1 ORDER BY e.seq LIMIT ?2");
        Ok(self.event_rows(&sql, params![N(from.0), N::of(limit)])?.into_iter().map(|(event, _)| event).collect())
    }

    /// Events of one conversation, at most `limit`, after `after` (from the start if `None`).
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_of_conversation(
        &self,
        id: &ConversationId,
        order: Order,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        let number = "e.conversation = (SELECT number FROM conversation_id WHERE id = ?1)";
        let after = after.unwrap_or(Position { second: i64::MIN, seq: 0 });
        let sql = match order {
            Order::Time => {
                format!(
                    "SELECT {EVENT} WHERE {number} AND (e.second, e.seq) > (?2, ?3) ORDER BY e.second, e.seq LIMIT ?4"
                )
            }
            // The index is by time, and one more index would cost every append. So the few seqs of a small conversation
            // are sorted, and for a large one the log is walked, of which it is a good part anyway.
            Order::Capture if self.is_small(id)? => format!(
                "SELECT {EVENT} WHERE e.seq IN (SELECT seq FROM event e WHERE {number} AND seq > ?3 AND ?2 IS NOT NULL
                 ORDER BY seq LIMIT ?4) ORDER BY e.seq"
            ),
            Order::Capture => {
                format!("SELECT {EVENT} WHERE +{number} AND e.seq > ?3 AND ?2 IS NOT NULL ORDER BY e.seq LIMIT ?4")
            }
        };
        let rows = self.event_rows(&sql, params![id.as_str(), after.second, N(after.seq), N::of(limit)])?;
        Ok(page(rows, limit))
    }

    fn is_small(&self, id: &ConversationId) -> Result<bool, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached(
                    "SELECT c.events < 20000 FROM conversation c JOIN conversation_id i ON i.number = c.number WHERE i.id = ?1",
                )?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()
        };
        Ok(read().map_err(|e| self.failed("read", e))?.unwrap_or(true))
    }

    /// Events with a time in `since <= T < until`, in order of seq, at most `limit`, after `after`.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_between(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page<Event>, ArchiveError> {
        let since = since.map_or(i64::MIN, Timestamp::micros);
        let until = until.map_or(i64::MAX, Timestamp::micros);
        let mut from = after.map_or(0, |p| p.seq) + 1;
        let mut rows = Vec::new();
        let sql = format!(
            "SELECT {EVENT} WHERE e.seq BETWEEN ?1 AND ?2 AND e.at >= ?3 AND e.at < ?4 ORDER BY e.seq LIMIT ?5"
        );
        let size = self.log_size()?;
        // Block by block; a full block whose times lie outside is skipped unread.
        while from <= size && rows.len() < limit {
            let number = (from - 1) / BLOCK;
            let next = self.next_block(number, size, since, until)?;
            if next > number {
                from = next * BLOCK + 1;
                continue;
            }
            let last = (number + 1) * BLOCK;
            rows.extend(self.event_rows(&sql, params![N(from), N(last), since, until, N::of(limit - rows.len())])?);
            from = last + 1;
        }
        Ok(page(rows, limit))
    }

    /// The first block from `number` on that may hold times of the span.
    fn next_block(&self, number: u64, size: u64, since: i64, until: i64) -> Result<u64, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached(
                    "SELECT number FROM block WHERE number >= ?1 AND last_at >= ?2 AND first_at < ?3 ORDER BY number LIMIT 1",
                )?
                .query_row(params![N(number), since, until], |row| row.get(0).map(|N(number)| number))
                .optional()
        };
        // Events after the last full block have no row and are always looked at.
        Ok(read().map_err(|e| self.failed("read", e))?.unwrap_or(size / BLOCK).max(number))
    }

    /// All events of one conversation, fetched page by page while it is walked.
    pub fn transcript(&self, id: &ConversationId, order: Order) -> EventPages<'_> {
        let id = id.clone();
        EventPages::new(move |reader, after| reader.events_of_conversation(&id, order, after, EventPages::PAGE), self)
    }

    /// All events with a time in `since <= T < until`, by seq, fetched page by page while they are walked.
    pub fn log_between(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> EventPages<'_> {
        EventPages::new(move |reader, after| reader.events_between(since, until, after, EventPages::PAGE), self)
    }

    pub(super) fn event_rows(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<(Event, i64)>, ArchiveError> {
        let read = || -> Result<Vec<(Event, i64)>, Trouble> {
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event_of(row)?);
            }
            Ok(events)
        };
        read().map_err(|e| e.told(|| format!("read archive {}", self.path.display())))
    }
}

fn page(rows: Vec<(Event, i64)>, limit: usize) -> Page<Event> {
    let next = (rows.len() >= limit)
        .then(|| rows.last().map(|(event, second)| Position { second: *second, seq: event.seq.0 }))
        .flatten();
    Page { rows: rows.into_iter().map(|(event, _)| event).collect(), next }
}

type Fetch = Box<dyn Fn(&Reader, Option<Position>) -> Result<Page<Event>, ArchiveError> + Send>;

/// Walks a long answer; holds one page at a time and no transaction between pages.
pub struct EventPages<'r> {
    reader: &'r Reader,
    fetch: Fetch,
    page: std::vec::IntoIter<Event>,
    next: Option<Option<Position>>,
}

impl<'r> EventPages<'r> {
    const PAGE: usize = 500;

    fn new(
        fetch: impl Fn(&Reader, Option<Position>) -> Result<Page<Event>, ArchiveError> + Send + 'static,
        reader: &'r Reader,
    ) -> Self {
        EventPages { reader, fetch: Box::new(fetch), page: Vec::new().into_iter(), next: Some(None) }
    }
}

impl Iterator for EventPages<'_> {
    type Item = Result<Event, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.page.next() {
                return Some(Ok(event));
            }
            let after = self.next.take()?;
            match (self.fetch)(self.reader, after) {
                Ok(page) => {
                    self.next = page.next.map(Some);
                    self.page = page.rows.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// One event as the rebuild of projections needs it.
pub(in crate::archive) struct StoredEntry {
    pub(in crate::archive) seq: u64,
    connector: i64,
    conversation: Option<i64>,
    kind: Kind,
    at: i64,
    content: Content,
}

impl StoredEntry {
    pub(in crate::archive) fn as_entry(&self) -> Entry<'_> {
        Entry {
            seq: self.seq,
            connector: self.connector,
            conversation: self.conversation,
            kind: self.kind,
            at: self.at,
            content: &self.content,
        }
    }
}

/// Events after `after` with the numbers of their connector and conversation.
pub(in crate::archive) fn entries(conn: &Connection, after: u64, limit: usize) -> Result<Vec<StoredEntry>, Trouble> {
    let mut statement = conn.prepare_cached(
        "SELECT e.seq, e.connector, e.conversation, e.kind, e.at, c.canonical FROM event e LEFT JOIN content c ON c.seq = e.seq
         WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![N(after), N::of(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let N(seq) = row.get(0)?;
        let key = i64::try_from(seq).unwrap_or(i64::MAX);
        let kind = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
        entries.push(StoredEntry {
            seq,
            connector: row.get(1)?,
            conversation: row.get(2)?,
            kind: kind.parse().map_err(|_| broken("event", key, "its kind is unknown to this version"))?,
            at: row.get(4)?,
            content: content_of(row.get_ref(5)?.as_blob_or_null().map_err(rusqlite::Error::from)?, key)?,
        });
    }
    Ok(entries)
}
