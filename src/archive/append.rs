//! What one transaction of the writer stores: envelopes, events, content, leaves, nodes, aliases, cursors.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::number::N;
use super::projection::{Entry, Projector};
use super::writer::Trouble;
use crate::capture::{Append, Appended, Captured, Envelope, EnvelopeId, Origin, Recorded, Source};
use crate::integrity::leaf::{EnvelopeHead, Header, commitment};
use crate::integrity::merkle::{Frontier, Hash};
use crate::model::{ConversationId, Seq, Timestamp};

/// Bodies shorter than this are stored as they came.
const COMPRESS_FROM: usize = 256;
/// So many conversation numbers are remembered.
const REMEMBERED: usize = 100_000;

/// Random bytes from the system, fetched in bulk.
pub(super) struct Random {
    source: SystemRandom,
    buffer: Box<[u8; 4096]>,
    used: usize,
}

impl Random {
    pub(super) fn new() -> Self {
        Random { source: SystemRandom::new(), buffer: Box::new([0; 4096]), used: 4096 }
    }

    /// 32 bytes that nobody can guess, never given out before.
    pub(super) fn salt(&mut self) -> Result<[u8; 32], ArchiveError> {
        if self.used + 32 > self.buffer.len() {
            self.source.fill(&mut self.buffer[..]).map_err(|_| ArchiveError::Random)?;
            self.used = 0;
        }
        let mut salt = [0; 32];
        salt.copy_from_slice(&self.buffer[self.used..self.used + 32]);
        self.buffer[self.used..self.used + 32].fill(0);
        self.used += 32;
        Ok(salt)
    }
}

/// What the writer remembers of the file between transactions; thrown away when one fails.
pub(super) struct State {
    frontier: Frontier,
    newest_envelope: i64,
    connectors: HashMap<Source, i64>,
    conversations: HashMap<ConversationId, i64>,
    projector: Projector,
    compressor: zstd::bulk::Compressor<'static>,
}

impl State {
    /// Reads everything from the file.
    pub(super) fn read(conn: &Connection) -> Result<State, Trouble> {
        let N(size) = conn.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?;
        let newest_envelope = conn.query_row("SELECT coalesce(max(id), 0) FROM envelope", [], |row| row.get(0))?;
        let mut peaks = Vec::new();
        for level in (0..64u32).rev().filter(|level| size >> level & 1 == 1) {
            let index = (size >> level) - 1;
            let hash: Option<Hash> = if level == 0 {
                conn.query_row("SELECT leaf FROM event WHERE seq = ?1", [N(size)], |row| row.get(0)).optional()?
            } else {
                conn.query_row("SELECT hash FROM node WHERE level = ?1 AND idx = ?2", params![level, N(index)], |row| {
                    row.get(0)
                })
                .optional()?
            };
            let broken =
                ArchiveError::Broken { table: "node", id: i64::from(level), problem: "a node of the tree is missing" };
            peaks.push(hash.ok_or(broken)?);
        }
        let compressor = zstd::bulk::Compressor::new(1)
            .map_err(|source| ArchiveError::Io { doing: "start compression".into(), source })?;
        Ok(State {
            frontier: Frontier::from_parts(size, peaks),
            newest_envelope,
            connectors: HashMap::new(),
            conversations: HashMap::new(),
            projector: Projector::resume(conn, size)?,
            compressor,
        })
    }

    /// Events in the log.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size
    }

    /// Events in the log and the root over them.
    pub(super) fn head(&self) -> (u64, Hash) {
        (self.frontier.size, self.frontier.root())
    }

    /// Prepares the statements of a transaction.
    pub(super) fn begin<'t>(
        &'t mut self,
        conn: &'t Connection,
        origin: &'t str,
        dedupe_salt: &'t [u8; 32],
        random: &'t mut Random,
        now: Timestamp,
    ) -> rusqlite::Result<Writing<'t>> {
        if self.conversations.len() > REMEMBERED {
            self.conversations.clear();
        }
        Ok(Writing {
            insert_dedupe: conn.prepare_cached(
                "INSERT INTO dedupe (connector, key, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?,
            insert_event: conn.prepare_cached(
                "INSERT INTO event (seq, connector, conversation, kind, source_time, recorded_at, envelope, content, leaf)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            insert_content: conn.prepare_cached("INSERT INTO content (seq, salt, canonical) VALUES (?1, ?2, ?3)")?,
            state: self,
            conn,
            origin,
            dedupe_salt,
            random,
            now,
            nodes: Vec::new(),
        })
    }
}

/// One transaction in progress.
pub(super) struct Writing<'t> {
    state: &'t mut State,
    conn: &'t Connection,
    origin: &'t str,
    dedupe_salt: &'t [u8; 32],
    random: &'t mut Random,
    now: Timestamp,
    insert_dedupe: CachedStatement<'t>,
    insert_event: CachedStatement<'t>,
    insert_content: CachedStatement<'t>,
    /// Completed subtrees, written at the end in the order of their table.
    nodes: Vec<(u8, u64, Hash)>,
}

impl Writing<'_> {
    /// Stores one append.
    ///
    /// [`ArchiveError::Refused`] is only returned while nothing of it has been written; any other error means that the
    /// transaction must be rolled back.
    pub(super) fn append(&mut self, source: &Source, batch: &Append) -> Result<Appended, Trouble> {
        let stored = self.check(source, batch)?;
        let connector = self.connector(source)?;
        let mut here = Vec::with_capacity(batch.envelopes.len());
        for envelope in &batch.envelopes {
            here.push(self.envelope(source, connector, envelope)?);
        }
        let mut receipt = Appended {
            envelopes: here.iter().map(|(id, _)| *id).collect(),
            events: Vec::with_capacity(batch.events.len()),
        };
        for captured in &batch.events {
            let envelope = match captured.origin {
                Origin::Recorder => None,
                Origin::Here(n) => here.get(n).copied(),
                Origin::Stored(id) => stored.get(&id).map(|hash| (id, *hash)),
            };
            receipt.events.push(self.event(source, connector, envelope, captured)?);
        }
        for (conversation, alias) in &batch.aliases {
            let number = self.conversation(conversation)?;
            self.conn
                .prepare_cached(
                    "INSERT INTO alias (connector, scope, value, conversation) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?
                .execute(params![connector, alias.scope, alias.value, number])?;
        }
        for change in &batch.cursor {
            match &change.value {
                Some(value) => self
                    .conn
                    .prepare_cached(
                        "INSERT INTO cursor (connector, key, value) VALUES (?1, ?2, ?3)
                         ON CONFLICT (connector, key) DO UPDATE SET value = ?3",
                    )?
                    .execute(params![connector, change.key, value])?,
                None => self
                    .conn
                    .prepare_cached("DELETE FROM cursor WHERE connector = ?1 AND key = ?2")?
                    .execute(params![connector, change.key])?,
            };
        }
        for id in &batch.interpreted {
            self.conn.prepare_cached("DELETE FROM pending_envelope WHERE envelope = ?1")?.execute([id.0])?;
        }
        Ok(receipt)
    }

    /// Finds contradictions before anything is written; returns the commitments of the stored envelopes that events name.
    fn check(&self, source: &Source, batch: &Append) -> Result<HashMap<EnvelopeId, Hash>, Trouble> {
        if source.connector.contains(char::is_control) {
            // The lines of a leaf's header could be read in two ways.
            return Err(ArchiveError::Refused { problem: "the connector's name has control characters" }.into());
        }
        let mut stored = HashMap::new();
        for captured in &batch.events {
            match captured.origin {
                Origin::Recorder => {}
                Origin::Here(n) if n < batch.envelopes.len() => {}
                Origin::Here(_) => {
                    return Err(ArchiveError::Refused {
                        problem: "an event names an envelope that the batch does not have",
                    }
                    .into());
                }
                Origin::Stored(id) if stored.contains_key(&id) => {}
                Origin::Stored(id) => {
                    let found: Option<Hash> = self
                        .conn
                        .prepare_cached("SELECT commitment FROM envelope WHERE id = ?1")?
                        .query_row([id.0], |row| row.get(0))
                        .optional()?;
                    let unknown =
                        ArchiveError::Refused { problem: "an event names an envelope that is not in the archive" };
                    stored.insert(id, found.ok_or(unknown)?);
                }
            }
        }
        Ok(stored)
    }

    /// Writes what was collected for the end of the transaction; the commit follows.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.nodes.sort_unstable_by_key(|(level, index, _)| (*level, *index));
        let mut insert = self.conn.prepare_cached("INSERT INTO node (level, idx, hash) VALUES (?1, ?2, ?3)")?;
        for (level, index, hash) in &self.nodes {
            insert.execute(params![level, N(*index), hash])?;
        }
        self.state.projector.flush(self.conn)
    }

    fn connector(&mut self, source: &Source) -> rusqlite::Result<i64> {
        if let Some(id) = self.state.connectors.get(source) {
            return Ok(*id);
        }
        self.conn.execute(
            "INSERT INTO connector (name, platform) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![source.connector, source.platform],
        )?;
        let id = self.conn.query_row(
            "SELECT id FROM connector WHERE name = ?1 AND platform = ?2",
            params![source.connector, source.platform],
            |row| row.get(0),
        )?;
        self.state.connectors.insert(source.clone(), id);
        Ok(id)
    }

    fn conversation(&mut self, id: &ConversationId) -> rusqlite::Result<i64> {
        if let Some(number) = self.state.conversations.get(id) {
            return Ok(*number);
        }
        let known: Option<i64> = self
            .conn
            .prepare_cached("SELECT number FROM conversation_id WHERE id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(number) => number,
            None => {
                self.conn.prepare_cached("INSERT INTO conversation_id (id) VALUES (?1)")?.execute([id.as_str()])?;
                self.conn.last_insert_rowid()
            }
        };
        self.state.conversations.insert(id.clone(), number);
        Ok(number)
    }

    fn envelope(
        &mut self,
        source: &Source,
        connector: i64,
        envelope: &Envelope,
    ) -> Result<(EnvelopeId, Hash), Trouble> {
        let salt = self.random.salt()?;
        let digest: Hash = Sha256::digest(&envelope.body).into();
        let request = one_line(&envelope.request);
        let content_type = envelope.content_type.as_deref().map(one_line);
        let head = EnvelopeHead {
            connector: &source.connector,
            platform: &source.platform,
            received_at: envelope.received_at.micros(),
            server_date: envelope.server_date.map(Timestamp::micros),
            request: &request,
            status: envelope.status,
            content_type: content_type.as_deref().unwrap_or_default(),
            digest,
        };
        let commitment = commitment(&salt, &head.canonical());
        // Worth the reader's work from an eighth on. A body that cannot be compressed is no error.
        let packed = (envelope.body.len() >= COMPRESS_FROM)
            .then(|| self.state.compressor.compress(&envelope.body).ok())
            .flatten()
            .filter(|packed| packed.len() + packed.len() / 8 < envelope.body.len());
        let id = self.state.newest_envelope + 1;
        self.conn
            .prepare_cached(
                "INSERT INTO envelope (id, connector, received_at, server_date, request, status, content_type, size, encoding,
                                       digest, salt, commitment, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                id,
                connector,
                head.received_at,
                head.server_date,
                head.request,
                head.status,
                content_type,
                N::of(envelope.body.len()),
                packed.is_some(),
                digest,
                salt,
                commitment,
                packed.as_deref().unwrap_or(&envelope.body[..]),
            ])?;
        self.state.newest_envelope = id;
        if envelope.pending {
            self.conn.prepare_cached("INSERT INTO pending_envelope (envelope) VALUES (?1)")?.execute([id])?;
        }
        Ok((EnvelopeId(id), commitment))
    }

    fn event(
        &mut self,
        source: &Source,
        connector: i64,
        envelope: Option<(EnvelopeId, Hash)>,
        captured: &Captured,
    ) -> Result<Recorded, Trouble> {
        let seq = self.state.frontier.size + 1;
        let key = self.dedupe_key(&captured.dedupe.0);
        if self.insert_dedupe.execute(params![connector, key, N(seq)])? == 0 {
            let N(known) = self
                .conn
                .prepare_cached("SELECT seq FROM dedupe WHERE connector = ?1 AND key = ?2")?
                .query_row(params![connector, key], |row| row.get(0))?;
            return Ok(Recorded { seq: Seq(known), duplicate: true });
        }
        let conversation = match &captured.conversation {
            Some(id) => Some(self.conversation(id)?),
            None => None,
        };
        // Whole milliseconds: exports show no more, and what is shown must be what is hashed.
        let source_time = captured.source_time.map(|t| Timestamp::from_millis(t.millis()).micros());
        let recorded_at = Timestamp::from_millis(self.now.millis()).micros();
        let canonical = captured.content.canonical();
        let salt = self.random.salt()?;
        let content = commitment(&salt, &canonical);
        let leaf = Header {
            origin: self.origin,
            seq,
            connector: &source.connector,
            conversation: captured.conversation.as_ref().map_or("", ConversationId::as_str),
            kind: captured.kind.as_str(),
            source_time,
            recorded_at,
            envelope: envelope.map(|(_, hash)| hash),
            content,
        }
        .leaf_hash();
        self.insert_event.execute(params![
            N(seq),
            connector,
            conversation,
            captured.kind.as_str(),
            source_time,
            recorded_at,
            envelope.map(|(id, _)| id.0),
            content,
            leaf
        ])?;
        self.insert_content.execute(params![N(seq), salt, canonical])?;
        let nodes = &mut self.nodes;
        self.state.frontier.append(leaf, &mut |level, index, hash| nodes.push((level, index, hash)));
        let entry = Entry {
            seq,
            connector,
            conversation,
            kind: captured.kind,
            at: source_time.unwrap_or(recorded_at),
            content: &captured.content,
        };
        self.state.projector.apply(self.conn, &entry)?;
        Ok(Recorded { seq: Seq(seq), duplicate: false })
    }

    /// 20 bytes that stand for a dedupe key: four that keep neighbours together, then 16 of the hash of all of it.
    ///
    /// Identity rests on the hash. But bare hashes fall on random pages of the index, and a commit of a hundred events
    /// would write a hundred pages. So they follow the time that the key itself names, if it names one.
    fn dedupe_key(&self, text: &str) -> [u8; 20] {
        let whole = Sha256::new().chain_update(self.dedupe_salt).chain_update(text).finalize();
        let mut key = [0; 20];
        match seconds_named(text) {
            Some(seconds) => key[..4].copy_from_slice(&seconds.to_be_bytes()),
            // Without a time, what shares the first three fields (a conversation, mostly) stays together.
            None => {
                let end = text.match_indices('|').nth(2).map_or(0, |(at, _)| at);
                let group =
                    Sha256::new().chain_update(self.dedupe_salt).chain_update(b"group|").chain_update(&text[..end]);
                key[..4].copy_from_slice(&group.finalize()[..4]);
            }
        }
        key[4..].copy_from_slice(&whole[..16]);
        key
    }
}

/// The last field of a dedupe key that is a time (milliseconds of the epoch, or RFC 3339), in units of 1024 ms.
fn seconds_named(text: &str) -> Option<u32> {
    let time = |field: &str| -> Option<i64> {
        match field.as_bytes() {
            digits if (12..=14).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => field.parse().ok(),
            [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] => Timestamp::parse_rfc3339(field).map(Timestamp::millis),
            _ => None,
        }
    };
    text.rsplit('|').find_map(time).and_then(|ms| u32::try_from(ms >> 10).ok())
}

/// Control characters would make lines of their own in the canonical head; no URL and no media type has them.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedupe_keys_follow_the_time_they_name() {
        assert_eq!(seconds_named("message|app|/c/1|/m/2|1795225034123"), Some(1_753_149_447));
        assert_eq!(seconds_named("message|2026-11-21T01:37:14.123Z|tail"), Some(1_753_149_447));
        for none in ["", "message|app|/c/1", "a|17952250341234567", "a|2026-11-21Tnonsense", "a|99999999999999"] {
            assert_eq!(seconds_named(none), None, "{none}");
        }
    }

    #[test]
    fn salts_never_repeat() {
        let mut random = Random::new();
        let salts: std::collections::HashSet<[u8; 32]> = (0..1000).map(|_| random.salt().unwrap()).collect();
        assert_eq!(salts.len(), 1000);
    }
}
