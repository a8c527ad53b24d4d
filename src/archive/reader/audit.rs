//! What proofs and audits need: leaves with salts, envelopes, inner nodes, checkpoints, aliases.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Reader, broken};
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::archive::{ArchiveError, Checkpoint};
use crate::capture::{Alias, Envelope, EnvelopeId};
use crate::integrity::leaf::{EnvelopeHead, Header};
use crate::integrity::merkle::{Hash, Nodes};
use crate::model::{Seq, Timestamp};

/// Everything that goes into one leaf, and what its commitments commit to.
///
/// Values are as stored, unchecked: an audit has to see what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRow {
    /// Position in the log.
    pub seq: u64,
    /// Configured name of the connector; empty if its row is missing.
    pub connector: String,
    /// Our id of the conversation, empty if there is none.
    pub conversation: String,
    /// Kind of the event.
    pub kind: String,
    /// The platform's clock, µs UTC.
    pub source_time: Option<i64>,
    /// Our clock, µs UTC.
    pub recorded_at: i64,
    /// Row of the envelope it was read from.
    pub envelope: Option<EnvelopeId>,
    /// Commitment of that envelope; `None` also when the envelope's row is missing.
    pub envelope_commitment: Option<Hash>,
    /// Stored commitment of the content.
    pub content_commitment: Hash,
    /// Stored leaf hash.
    pub leaf: Hash,
    /// Salt of the content; `None` = the content's row is missing.
    pub salt: Option<Hash>,
    /// Canonical content.
    pub canonical: Option<Vec<u8>>,
}

impl LeafRow {
    /// The header as it is hashed.
    pub fn header<'a>(&'a self, origin: &'a str) -> Header<'a> {
        Header {
            origin,
            seq: self.seq,
            connector: &self.connector,
            conversation: &self.conversation,
            kind: &self.kind,
            source_time: self.source_time,
            recorded_at: self.recorded_at,
            envelope: self.envelope_commitment,
            content: self.content_commitment,
        }
    }
}

/// An envelope with what binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeRow {
    /// Its row.
    pub id: EnvelopeId,
    /// Name of the connector it came through.
    pub connector: String,
    /// Kind of that connector.
    pub platform: String,
    /// The bytes as received, and when and how; `pending` tells whether it still has to be interpreted.
    pub envelope: Envelope,
    /// SHA-256 of the body.
    pub digest: Hash,
    /// Salt of the commitment.
    pub salt: Hash,
    /// SHA-256 of salt and head ([`crate::integrity::leaf::EnvelopeHead`]).
    pub commitment: Hash,
}

impl EnvelopeRow {
    /// What its commitment binds, made of this row.
    pub fn head(&self) -> EnvelopeHead<'_> {
        EnvelopeHead {
            connector: &self.connector,
            platform: &self.platform,
            received_at: self.envelope.received_at.micros(),
            server_date: self.envelope.server_date.map(Timestamp::micros),
            request: &self.envelope.request,
            status: self.envelope.status,
            content_type: self.envelope.content_type.as_deref().unwrap_or_default(),
            digest: self.digest,
        }
    }
}

/// An inner node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// From 1.
    pub level: u8,
    /// From 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A platform's identifier of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRow {
    /// Name of the connector.
    pub connector: String,
    /// The identifier.
    pub alias: Alias,
    /// Our id.
    pub conversation: String,
}

const LEAF: &str =
    "SELECT e.seq, n.name, i.id, e.kind, e.source_time, e.recorded_at, e.envelope, v.commitment, e.content, e.leaf,
        c.salt, c.canonical
    FROM event e LEFT JOIN connector n ON n.id = e.connector LEFT JOIN conversation_id i ON i.number = e.conversation
    LEFT JOIN envelope v ON v.id = e.envelope LEFT JOIN content c ON c.seq = e.seq";

/// The same without contents, which are most of the bytes.
const BARE_LEAF: &str =
    "SELECT e.seq, n.name, i.id, e.kind, e.source_time, e.recorded_at, e.envelope, v.commitment, e.content, e.leaf,
        c.salt, NULL
    FROM event e LEFT JOIN connector n ON n.id = e.connector LEFT JOIN conversation_id i ON i.number = e.conversation
    LEFT JOIN envelope v ON v.id = e.envelope LEFT JOIN content c ON c.seq = e.seq";

fn leaf_of(row: &Row<'_>) -> rusqlite::Result<LeafRow> {
    Ok(LeafRow {
        seq: row.get::<_, N>(0)?.0,
        connector: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        conversation: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        kind: row.get(3)?,
        source_time: row.get(4)?,
        recorded_at: row.get(5)?,
        envelope: row.get::<_, Option<i64>>(6)?.map(EnvelopeId),
        envelope_commitment: hash_or_zero(row, 7)?,
        content_commitment: hash_or_zero(row, 8)?.unwrap_or_default(),
        leaf: hash_or_zero(row, 9)?.unwrap_or_default(),
        salt: hash_or_zero(row, 10)?,
        canonical: row.get(11)?,
    })
}

/// A hash of the wrong length can match nothing, and zeros match nothing either: an audit goes on and reports it.
fn hash_or_zero(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Hash>> {
    let blob = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    Ok(blob.map(|bytes| bytes.try_into().unwrap_or_default()))
}

const ENVELOPE: &str = "SELECT v.id, n.name, v.received_at, v.server_date, v.request, v.status, v.content_type, v.size, v.encoding, v.body,
        p.envelope IS NOT NULL, v.digest, v.salt, v.commitment, n.platform
    FROM envelope v LEFT JOIN connector n ON n.id = v.connector LEFT JOIN pending_envelope p ON p.envelope = v.id";

fn envelope_of(row: &Row<'_>) -> Result<EnvelopeRow, Trouble> {
    let id: i64 = row.get(0)?;
    let N(size) = row.get(7)?;
    let stored = row.get_ref(9)?.as_blob().map_err(rusqlite::Error::from)?;
    let body = if row.get::<_, bool>(8)? {
        // The frame names its own size too; a tampered `size` must not make us reserve the machine's memory.
        let expected = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
        let fits = usize::try_from(size).ok();
        let (Some(size), true) = (fits, expected == Some(size)) else {
            return Err(broken("envelope", id, "its body is not the compressed form of so many bytes").into());
        };
        zstd::bulk::decompress(stored, size).map_err(|_| broken("envelope", id, "its body cannot be decompressed"))?
    } else {
        stored.to_vec()
    };
    Ok(EnvelopeRow {
        id: EnvelopeId(id),
        connector: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        platform: row.get::<_, Option<String>>(14)?.unwrap_or_default(),
        envelope: Envelope {
            received_at: Timestamp(row.get(2)?),
            server_date: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            request: row.get(4)?,
            status: row.get(5)?,
            content_type: row.get(6)?,
            body: Bytes::from(body),
            pending: row.get(10)?,
        },
        digest: hash_or_zero(row, 11)?.unwrap_or_default(),
        salt: hash_or_zero(row, 12)?.unwrap_or_default(),
        commitment: hash_or_zero(row, 13)?.unwrap_or_default(),
    })
}

pub(super) fn envelope(conn: &Connection, id: EnvelopeId) -> Result<Option<EnvelopeRow>, Trouble> {
    let mut statement = conn.prepare_cached(&format!("{ENVELOPE} WHERE v.id = ?1"))?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(envelope_of).transpose()
}

impl Reader {
    /// The leaf at this place of the log, with what it commits to.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn leaf(&self, seq: Seq) -> Result<Option<LeafRow>, ArchiveError> {
        Ok(self.leaves(seq, 1)?.into_iter().next().filter(|leaf| leaf.seq == seq.0))
    }

    /// Leaves from `from` on (inclusive) in order of seq, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn leaves(&self, from: Seq, limit: usize) -> Result<Vec<LeafRow>, ArchiveError> {
        self.leaf_rows(LEAF, from, limit)
    }

    /// As [`Reader::leaves`], without the contents ([`LeafRow::canonical`] is `None`): all that a proof needs.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn bare_leaves(&self, from: Seq, limit: usize) -> Result<Vec<LeafRow>, ArchiveError> {
        self.leaf_rows(BARE_LEAF, from, limit)
    }

    fn leaf_rows(&self, columns: &str, from: Seq, limit: usize) -> Result<Vec<LeafRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<LeafRow>> {
            let sql = format!("{columns} WHERE e.seq >= ?1 ORDER BY e.seq LIMIT ?2");
            let mut statement = self.conn.prepare_cached(&sql)?;
            let rows = statement.query_map(params![N(from.0), N::of(limit)], leaf_of)?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read leaves of", e))
    }

    /// The envelope with its bytes as received.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row.
    pub fn envelope(&self, id: EnvelopeId) -> Result<Option<EnvelopeRow>, ArchiveError> {
        envelope(&self.conn, id).map_err(|e| e.told(|| format!("read envelopes of archive {}", self.path.display())))
    }

    /// Ids of envelopes after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn envelope_ids(&self, after: EnvelopeId, limit: usize) -> Result<Vec<EnvelopeId>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<EnvelopeId>> {
            let mut statement =
                self.conn.prepare_cached("SELECT id FROM envelope WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let rows = statement.query_map(params![after.0, N::of(limit)], |row| Ok(EnvelopeId(row.get(0)?)))?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read envelopes of", e))
    }

    /// Number of stored envelopes.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn envelope_count(&self) -> Result<u64, ArchiveError> {
        self.one("SELECT count(*) FROM envelope").map(|N(count)| count)
    }

    /// Stored inner nodes after (level, index) in that order, at most `limit`; start with (0, 0).
    ///
    /// # Errors
    /// What SQLite says.
    pub fn nodes_after(&self, level: u8, index: u64, limit: usize) -> Result<Vec<NodeRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<NodeRow>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT level, idx, hash FROM node WHERE (level, idx) > (?1, ?2) ORDER BY level, idx LIMIT ?3",
            )?;
            let rows = statement.query_map(params![level, N(index), N::of(limit)], |row| {
                Ok(NodeRow {
                    level: row.get(0)?,
                    index: row.get::<_, N>(1)?.0,
                    hash: hash_or_zero(row, 2)?.unwrap_or_default(),
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read the tree of", e))
    }

    /// All checkpoints, oldest first, after the first `skip`, at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn checkpoints(&self, skip: usize, limit: usize) -> Result<Vec<Checkpoint>, ArchiveError> {
        self.checkpoint_rows(
            "SELECT size, root, at, text FROM checkpoint ORDER BY id LIMIT ?2 OFFSET ?1",
            params![N::of(skip), N::of(limit)],
        )
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>, ArchiveError> {
        let sql = "SELECT size, root, at, text FROM checkpoint ORDER BY id DESC LIMIT 1";
        Ok(self.checkpoint_rows(sql, [])?.pop())
    }

    fn checkpoint_rows(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Checkpoint>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<Checkpoint>> {
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows = statement.query_map(params, |row| {
                Ok(Checkpoint {
                    size: row.get::<_, N>(0)?.0,
                    root: hash_or_zero(row, 1)?.unwrap_or_default(),
                    at: Timestamp(row.get(2)?),
                    text: row.get(3)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read checkpoints of", e))
    }

    /// Every alias of one conversation.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn aliases_of(&self, conversation: &crate::model::ConversationId) -> Result<Vec<AliasRow>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<AliasRow>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT n.name, a.scope, a.value, i.id FROM alias a JOIN connector n ON n.id = a.connector
                 JOIN conversation_id i ON i.number = a.conversation WHERE i.id = ?1 ORDER BY 1, 2, 3",
            )?;
            let rows = statement.query_map([conversation.as_str()], |row| {
                Ok(AliasRow {
                    connector: row.get(0)?,
                    alias: Alias { scope: row.get(1)?, value: row.get(2)? },
                    conversation: row.get(3)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed("read aliases of", e))
    }
}

impl Nodes for Reader {
    type Error = ArchiveError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, ArchiveError> {
        let read = || -> rusqlite::Result<Option<Hash>> {
            if level == 0 {
                let mut statement = self.conn.prepare_cached("SELECT leaf FROM event WHERE seq = ?1")?;
                statement.query_row([N(index + 1)], |row| hash_or_zero(row, 0)).optional().map(Option::flatten)
            } else {
                let mut statement = self.conn.prepare_cached("SELECT hash FROM node WHERE level = ?1 AND idx = ?2")?;
                statement
                    .query_row(params![level, N(index)], |row| hash_or_zero(row, 0))
                    .optional()
                    .map(Option::flatten)
            }
        };
        let missing = || broken("node", i64::from(level), "a node of the tree is missing");
        read().map_err(|e| self.failed("read the tree of", e))?.ok_or_else(missing)
    }
}
