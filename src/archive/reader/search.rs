//! What the search index asks: rows to index, in either direction, and what is shown with a hit.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use rusqlite::{OptionalExtension, params};

use super::events::{EVENT, event_of};
use super::{Coverage, Reader, broken};
use crate::archive::ArchiveError;
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::model::{ConversationId, Event, Kind, Seq};

/// One event as the index needs it; its content is still JSON, so that only what is indexed has to be read out of it.
#[derive(Debug)]
pub struct IndexRow<'r> {
    /// Position in the log.
    pub seq: u64,
    /// Row of the conversation, 0 = of none.
    pub number: u64,
    /// Id of the conversation.
    pub conversation: Option<Rc<str>>,
    /// Configured name of the connector.
    pub connector: Rc<str>,
    /// Kind of the connector.
    pub platform: Rc<str>,
    /// What happened.
    pub kind: Kind,
    /// The time that people ask for, µs.
    pub at: i64,
    /// Canonical content; `None` = lawfully erased.
    pub canonical: Option<&'r [u8]>,
}

/// An event with what is shown beside it in a list of hits.
#[derive(Clone, Debug, PartialEq)]
pub struct EventInContext {
    /// The event.
    pub event: Event,
    /// The newest subject of its conversation.
    pub subject: Option<String>,
    /// Whether the record of its conversation is whole.
    pub coverage: Option<Coverage>,
    /// What became of the message of which it is a version; `None` = it stands as sent, or the event is no version.
    pub change: Option<Change>,
}

/// A message that did not stay as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether it is deleted.
    pub deleted: bool,
    /// The newest edit or deletion.
    pub newest: Seq,
}

/// [`EVENT`] of one seq, then row, subject and coverage of its conversation.
static CONTEXT: LazyLock<String> = LazyLock::new(|| {
    let (columns, from) = EVENT.split_once("FROM").unwrap_or((EVENT, ""));
    format!(
        "SELECT {columns}, e.conversation, v.subject, v.recorded AND v.gaps = 0 AND (v.covered OR NOT v.live)
         FROM {from} LEFT JOIN conversation v ON v.number = e.conversation WHERE e.seq = ?1"
    )
});

impl Reader {
    /// Calls `visit` with the rows `from ≤ seq ≤ to`, the newest first, until it returns `false`.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn rows_to_index(
        &self,
        from: Seq,
        to: Seq,
        mut visit: impl FnMut(&IndexRow<'_>) -> bool,
    ) -> Result<(), ArchiveError> {
        let mut read = || -> Result<(), Trouble> {
            let mut connectors: HashMap<i64, (Rc<str>, Rc<str>)> = HashMap::new();
            let mut name = self.conn.prepare_cached("SELECT name, platform FROM connector WHERE id = ?1")?;
            let mut conversations: HashMap<u64, Rc<str>> = HashMap::new();
            let mut id = self.conn.prepare_cached("SELECT id FROM conversation_id WHERE number = ?1")?;
            let mut statement = self.conn.prepare_cached(
                "SELECT e.seq, e.connector, e.conversation, e.kind, e.at, c.canonical FROM event e
                 LEFT JOIN content c ON c.seq = e.seq WHERE e.seq BETWEEN ?1 AND ?2 ORDER BY e.seq DESC",
            )?;
            let mut rows = statement.query(params![N(from.0), N(to.0)])?;
            while let Some(row) = rows.next()? {
                let N(seq) = row.get(0)?;
                let key = i64::try_from(seq).unwrap_or(i64::MAX);
                let connector: i64 = row.get(1)?;
                let (connector, platform) = match connectors.get(&connector) {
                    Some((name, platform)) => (Rc::clone(name), Rc::clone(platform)),
                    None => {
                        let pair: (String, String) =
                            name.query_row([connector], |row| Ok((row.get(0)?, row.get(1)?)))?;
                        let pair: (Rc<str>, Rc<str>) = (pair.0.into(), pair.1.into());
                        connectors.insert(connector, pair.clone());
                        pair
                    }
                };
                let number = row.get::<_, Option<N>>(2)?.map_or(0, |N(number)| number);
                let conversation = match (number, conversations.get(&number)) {
                    (0, _) => None,
                    (_, Some(id)) => Some(Rc::clone(id)),
                    (_, None) => {
                        let text: Rc<str> = id.query_row([N(number)], |row| row.get::<_, String>(0))?.into();
                        conversations.insert(number, Rc::clone(&text));
                        Some(text)
                    }
                };
                let kind = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
                let kind = kind.parse().map_err(|_| broken("event", key, "its kind is unknown to this version"))?;
                let canonical = row.get_ref(5)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
                let row = IndexRow { seq, number, conversation, connector, platform, kind, at: row.get(4)?, canonical };
                if !visit(&row) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|e| e.told(|| format!("read archive {}", self.path.display())))
    }

    /// Hash of the leaf at this place of the log.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn leaf_hash(&self, seq: Seq) -> Result<Option<[u8; 32]>, ArchiveError> {
        let read = || {
            self.conn
                .prepare_cached("SELECT leaf FROM event WHERE seq = ?1")?
                .query_row([N(seq.0)], |row| row.get(0))
                .optional()
        };
        read().map_err(|e| self.failed("read", e))
    }

    /// Events with what is shown beside them, in this order, in one transaction; those that do not exist are left out.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn events_in_context(&self, seqs: &[Seq]) -> Result<Vec<EventInContext>, ArchiveError> {
        let read = || -> Result<Vec<EventInContext>, Trouble> {
            let transaction = self.conn.unchecked_transaction()?;
            let mut events = transaction.prepare_cached(&CONTEXT)?;
            let mut changes = transaction
                .prepare_cached("SELECT deleted, seq FROM message_state WHERE conversation = ?1 AND message = ?2")?;
            let mut found = Vec::with_capacity(seqs.len());
            for seq in seqs {
                let mut rows = events.query([N(seq.0)])?;
                let Some(row) = rows.next()? else { continue };
                let (event, _) = event_of(row)?;
                let number: Option<i64> = row.get(10)?;
                let subject = row.get(11)?;
                let whole: Option<bool> = row.get(12)?;
                let version = matches!(event.kind, Kind::MessageSent | Kind::MessageEdited);
                let change = match (number, event.content.message.as_ref().filter(|_| version)) {
                    (Some(number), Some(message)) => {
                        let mut rows = changes.query(params![number, message.id])?;
                        match rows.next()? {
                            Some(row) => Some(Change { deleted: row.get(0)?, newest: Seq(row.get::<_, N>(1)?.0) }),
                            None => None,
                        }
                    }
                    _ => None,
                };
                let coverage = whole.map(|whole| if whole { Coverage::Complete } else { Coverage::Incomplete });
                found.push(EventInContext { event, subject, coverage, change });
            }
            Ok(found)
        };
        read().map_err(|e| e.told(|| format!("read archive {}", self.path.display())))
    }

    /// Id and newest subject of the conversation in this row ([`IndexRow::number`]).
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn conversation_in_row(&self, number: u64) -> Result<Option<(ConversationId, Option<String>)>, ArchiveError> {
        let read = || -> Result<Option<(ConversationId, Option<String>)>, Trouble> {
            let sql = "SELECT i.id, c.subject FROM conversation_id i LEFT JOIN conversation c ON c.number = i.number
                WHERE i.number = ?1";
            let mut statement = self.conn.prepare_cached(sql)?;
            let found = statement
                .query_row([N(number)], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))
                .optional()?;
            let key = i64::try_from(number).unwrap_or(i64::MAX);
            found
                .map(|(id, subject)| {
                    let id =
                        ConversationId::parse(&id).ok_or_else(|| broken("conversation_id", key, "malformed id"))?;
                    Ok((id, subject))
                })
                .transpose()
        };
        read().map_err(|e| e.told(|| format!("read conversations of archive {}", self.path.display())))
    }
}
