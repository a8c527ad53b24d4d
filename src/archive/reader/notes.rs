//! What connectors ask of the archive about themselves: their cursor, and the envelopes that they have still to read.
//!
//! The writer asks these on its own connection, so they see every append that it has acknowledged.

use rusqlite::{Connection, OptionalExtension, params};

use super::broken;
use crate::archive::number::N;
use crate::archive::writer::Trouble;
use crate::capture::{Envelope, EnvelopeId, Restored, Source, StoredEnvelope};
use crate::model::Timestamp;

/// Bodies of pending envelopes read at a time: no further envelope once there are so many bytes.
const PAGE_BYTES: u64 = 16 << 20;

fn number(conn: &Connection, source: &Source) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM connector WHERE name = ?1 AND platform = ?2")?
        .query_row(params![source.connector, source.platform], |row| row.get(0))
        .optional()
}

/// What a connector finds when it starts.
pub(in crate::archive) fn restored(conn: &Connection, source: &Source) -> Result<Restored, Trouble> {
    let Some(connector) = number(conn, source)? else { return Ok(Restored::default()) };
    // Two ranges of the primary key: what begins with '~' is not even walked over. 127 is the byte after '~'.
    let cursor = conn
        .prepare(
            "SELECT key, value FROM cursor WHERE connector = ?1 AND key < '~'
             UNION ALL SELECT key, value FROM cursor WHERE connector = ?1 AND key >= char(127)",
        )?
        .query_map([connector], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, Vec<u8>)>>>()?;
    // Walks back from the newest row; only a connector that has been silent for long makes this slow, once at its start.
    let newest = |sql: &str| conn.query_row(sql, [connector], |row| row.get::<_, i64>(0)).optional();
    let event = newest("SELECT recorded_at FROM event WHERE connector = ?1 ORDER BY seq DESC LIMIT 1")?;
    let envelope = newest("SELECT received_at FROM envelope WHERE connector = ?1 ORDER BY id DESC LIMIT 1")?;
    Ok(Restored { cursor, last_seen: event.max(envelope).map(Timestamp) })
}

/// The next envelopes of a connector that wait for interpretation, after `after`, oldest first, at most `most` and one
/// envelope more than [`PAGE_BYTES`].
pub(in crate::archive) fn pending(
    conn: &Connection,
    source: &Source,
    after: Option<EnvelopeId>,
    most: usize,
) -> Result<Vec<StoredEnvelope>, Trouble> {
    let Some(connector) = number(conn, source)? else { return Ok(Vec::new()) };
    // CROSS: what waits is little beside what was ever stored, so it leads.
    let mut list = conn.prepare_cached(
        "SELECT p.envelope, e.size FROM pending_envelope p CROSS JOIN envelope e ON e.id = p.envelope
         WHERE p.envelope > ?2 AND e.connector = ?1 ORDER BY p.envelope LIMIT ?3",
    )?;
    let mut rows = list.query(params![connector, after.map_or(0, |id| id.0), N::of(most)])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()?
        && bytes < PAGE_BYTES
    {
        let (id, N(size)): (i64, N) = (row.get(0)?, row.get(1)?);
        bytes = size.saturating_add(bytes);
        let whole = super::audit::envelope(conn, EnvelopeId(id))?;
        let whole = whole.ok_or_else(|| broken("pending_envelope", id, "its envelope is missing"))?;
        found.push(StoredEnvelope { id: EnvelopeId(id), envelope: Envelope { pending: true, ..whole.envelope } });
    }
    Ok(found)
}

/// Entries of a connector's cursor, in the order of `keys`.
pub(in crate::archive) fn recall(
    conn: &Connection,
    source: &Source,
    keys: &[String],
) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    let Some(connector) = number(conn, source)? else { return Ok(vec![None; keys.len()]) };
    let mut entry = conn.prepare_cached("SELECT value FROM cursor WHERE connector = ?1 AND key = ?2")?;
    keys.iter().map(|key| entry.query_row(params![connector, key], |row| row.get(0)).optional()).collect()
}
