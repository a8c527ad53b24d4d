//! Conversations, who took part, and how complete the record is.

use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use super::{Reader, broken};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::capture::coverage::{Span, Statement, statement};
use crate::model::{ConversationId, Gap, Person, Seq, Timestamp};

/// Whether a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationState {
    /// The recorder is in it, or asked into it.
    Live,
    /// It ended for us.
    Ended,
}

/// Whether the record of a conversation is whole; [`Reader::coverage_of`] says why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Recorded, without a gap, and being recorded if live.
    Complete,
    /// Anything else.
    Incomplete,
}

/// One conversation: a row of `list --json` (INTERFACES §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Conversation {
    /// Our id.
    pub id: ConversationId,
    /// Configured name of the connector.
    pub connector: String,
    /// Kind of the connector.
    pub platform: String,
    /// The newest subject told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether it goes on.
    pub state: ConversationState,
    /// Time of `conversation.started`, until then of the first event.
    pub started_at: Timestamp,
    /// Time of the newest end; absent while live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Number of `message.sent`.
    pub messages: u64,
    /// Everybody who joined or acted, in the order they were first named; the recorder is left out.
    pub participants: Vec<Person>,
    /// Whether the record is whole.
    pub coverage: Coverage,
}

/// Which conversations are asked for; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    /// Something happened at or after this time.
    pub since: Option<Timestamp>,
    /// Something happened before this time.
    pub until: Option<Timestamp>,
    /// Somebody's id equals this, or id or name contains it; case does not count.
    pub participant: Option<String>,
    /// Name of the connector.
    pub connector: Option<String>,
    /// Kind of the connector.
    pub platform: Option<String>,
    /// The newest subject contains this; case does not count.
    pub subject: Option<String>,
    /// Somebody with exactly this address joined or acted.
    pub person: Option<String>,
    /// Whether it goes on.
    pub state: Option<ConversationState>,
    /// Whether its record is whole.
    pub coverage: Option<Coverage>,
}

/// One stay of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// Address and newest name.
    pub person: Person,
    /// When the person joined, or was admitted from the lobby.
    pub joined_at: Timestamp,
    /// When the person left, or the conversation ended; `None` = still there, as far as told.
    pub left_at: Option<Timestamp>,
}

/// Columns of [`conversation_of`].
pub(super) const COLUMNS: &str =
    "c.number, i.id, n.name, n.platform, c.subject, c.live, c.started_at, c.ended_at, c.messages,
        c.recorded AND c.gaps = 0 AND (c.covered OR NOT c.live)";

pub(super) fn conversation_of(row: &Row<'_>) -> Result<(i64, Conversation), Trouble> {
    let number: i64 = row.get(0)?;
    let id: String = row.get(1)?;
    let id = ConversationId::parse(&id).ok_or_else(|| broken("conversation_id", number, "malformed id"))?;
    let conversation = Conversation {
        id,
        connector: row.get(2)?,
        platform: row.get(3)?,
        subject: row.get(4)?,
        state: if row.get(5)? { ConversationState::Live } else { ConversationState::Ended },
        started_at: Timestamp(row.get(6)?),
        ended_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        messages: row.get::<_, N>(8)?.0,
        participants: Vec::new(),
        coverage: if row.get(9)? { Coverage::Complete } else { Coverage::Incomplete },
    };
    Ok((number, conversation))
}

impl Reader {
    /// Whether a conversation goes on, and its number of events: as long as both are the same, so is all the rest of it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn stamp_of(&self, id: &ConversationId) -> Result<Option<(ConversationState, u64)>, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached(
                    "SELECT c.live, c.events FROM conversation c JOIN conversation_id i ON i.number = c.number WHERE i.id = ?1",
                )?
                .query_row([id.as_str()], |row| {
                    let state = if row.get(0)? { ConversationState::Live } else { ConversationState::Ended };
                    Ok((state, row.get::<_, N>(1)?.0))
                })
                .optional()
        };
        read().map_err(|e| self.failed("read", e))
    }

    /// One conversation.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, ArchiveError> {
        let read = || -> Result<Option<Conversation>, Trouble> {
            let mut statement = self.conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM conversation c JOIN conversation_id i ON i.number = c.number
                 JOIN connector n ON n.id = c.connector WHERE i.id = ?1"
            ))?;
            let mut rows = statement.query([id.as_str()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let (number, mut conversation) = conversation_of(row)?;
            conversation.participants = self.participants(number)?;
            Ok(Some(conversation))
        };
        read().map_err(|e| e.told(|| format!("read conversations of archive {}", self.path.display())))
    }

    /// Ids of conversations that begin with `prefix`, in order, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn conversations_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ConversationId>, ArchiveError> {
        // `~` sorts after every character of an id.
        let sql = "SELECT i.id, i.number FROM conversation_id i JOIN conversation c ON c.number = i.number
            WHERE i.id >= ?1 AND i.id < ?1 || '~' ORDER BY i.id LIMIT ?2";
        let read = || -> Result<Vec<ConversationId>, Trouble> {
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![prefix, N::of(limit)])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, number): (String, i64) = (row.get(0)?, row.get(1)?);
                let id = ConversationId::parse(&id).ok_or_else(|| broken("conversation_id", number, "malformed id"))?;
                ids.push(id);
            }
            Ok(ids)
        };
        read().map_err(|e| e.told(|| format!("read conversations of archive {}", self.path.display())))
    }

    pub(super) fn participants(&self, number: i64) -> rusqlite::Result<Vec<Person>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT person, name FROM participant WHERE conversation = ?1 ORDER BY first_seq, person",
        )?;
        let rows = statement.query_map([number], |row| Ok(Person { id: row.get(0)?, name: row.get(1)? }))?;
        rows.collect()
    }

    /// Stays of everybody in a conversation, by time of joining.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn attendance_of(&self, id: &ConversationId) -> Result<Vec<Attendance>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<Attendance>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT a.person, p.name, a.joined_at, a.left_at FROM attendance a
                 JOIN conversation_id i ON i.number = a.conversation
                 LEFT JOIN participant p ON p.conversation = a.conversation AND p.person = a.person
                 WHERE i.id = ?1 ORDER BY a.joined_at, a.seq",
            )?;
            let rows = statement.query_map([id.as_str()], |row| {
                Ok(Attendance {
                    person: Person { id: row.get(0)?, name: row.get(1)? },
                    joined_at: Timestamp(row.get(2)?),
                    left_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read attendance from", e))
    }

    /// Gaps of a conversation with the events that state them, in order of seq.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn gaps_of(&self, id: &ConversationId) -> Result<Vec<(Seq, Gap)>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<(Seq, Gap)>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT g.seq, g.from_at, g.to_at, g.cause FROM gap g JOIN conversation_id i ON i.number = g.conversation
                 WHERE i.id = ?1 ORDER BY g.seq",
            )?;
            let rows = statement.query_map([id.as_str()], |row| {
                let gap = Gap { from: Timestamp(row.get(1)?), to: Timestamp(row.get(2)?), cause: row.get(3)? };
                Ok((Seq(row.get::<_, N>(0)?.0), gap))
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read gaps from", e))
    }

    /// How complete the record of a conversation is, and why not; `None` if there is no such conversation.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn coverage_of(&self, id: &ConversationId) -> Result<Option<Statement>, ArchiveError> {
        let read = || -> rusqlite::Result<Option<(bool, Vec<Span>)>> {
            let live: Option<(i64, bool)> = self
                .conn
                .prepare_cached(
                    "SELECT c.number, c.live FROM conversation c JOIN conversation_id i ON i.number = c.number WHERE i.id = ?1",
                )?
                .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((number, live)) = live else { return Ok(None) };
            let mut statement = self
                .conn
                .prepare_cached("SELECT from_at, to_at FROM coverage WHERE conversation = ?1 ORDER BY from_at, seq")?;
            let rows = statement.query_map([number], |row| {
                Ok(Span { from: Timestamp(row.get(0)?), to: row.get::<_, Option<i64>>(1)?.map(Timestamp) })
            })?;
            Ok(Some((live, rows.collect::<rusqlite::Result<_>>()?)))
        };
        let Some((live, spans)) = read().map_err(|e| self.failed("read coverage from", e))? else { return Ok(None) };
        let gaps: Vec<Gap> = self.gaps_of(id)?.into_iter().map(|(_, gap)| gap).collect();
        Ok(Some(statement(&spans, &gaps, live)))
    }
}
