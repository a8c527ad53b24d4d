//! The rows that an audit reads, and the audit of a whole archive: log, envelopes, attachments and projections side by side.
//!
//! Unlike the other readers this one looks at each table by itself, so that damage in one does not hide another, and
//! gives every value as it is stored. Each part of the audit has its own connection and works on the state of one moment.

mod dedupe;
mod files;
mod projections;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::number::N;
use super::{ArchiveError, Attachments, Layout, Reader};
use crate::integrity::checkpoint::VerifyingKey;
use crate::integrity::finding::{Finding, FindingKind, Report};
use crate::integrity::leaf::EnvelopeHead;
use crate::integrity::merkle::Hash;
use crate::integrity::verify::checkpoints::Checkpoints;
use crate::integrity::verify::{
    AuditRows, Bounds, CheckpointRow, ContentRow, End, EnvelopeFinding, EnvelopeRow, EventRow, Page, audit_envelopes,
    audit_log,
};
use crate::model::Timestamp;

/// Rows of a page …
const ROWS: usize = 2048;
/// … which ends earlier when it has so many bytes.
const BYTES: usize = 4 << 20;
/// A body that claims to be longer than this when unpacked is damaged.
const BODY: u64 = 1 << 30;
/// Findings that one part keeps until the end; more are counted.
const KEPT: usize = 10_000;

/// How an audit is done.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// Checkpoint file to hold the log against; `None` = `checkpoints.txt` beside the archive, if there is one.
    pub checkpoints: Option<PathBuf>,
    /// Public keys that count; `None` = `keys/checkpoint.pub` beside the archive, if there is one.
    pub keys: Option<Vec<VerifyingKey>>,
}

/// Audits the archive at `path` (its directory or `.db` file), also while it is being written.
///
/// Every finding is told, those about the log in order of seq, and counted in the report. `progress` is told how many of how many
/// rows have been looked at. Memory does not grow with the log, apart from one bit per event and 72 bytes per checkpoint.
///
/// # Errors
/// The archive cannot be opened at all, or a key or checkpoint file that was named cannot be read. Damage is no error.
pub fn audit(
    path: &Path,
    options: &AuditOptions,
    tell: &mut dyn FnMut(Finding),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ArchiveError> {
    let layout = Layout::of(path);
    // A checkpoint that is published after the log was looked at would speak of events that this audit does not see.
    let outside = Outside::open(&layout, options)?;
    let log = Rows::open(path)?;
    let mut report = Report { origin: log.origin.clone(), ..Report::default() };
    let keys = match &options.keys {
        Some(keys) => keys.clone(),
        None => match VerifyingKey::load_all(&layout.keys) {
            Ok(keys) => keys,
            Err(error) => {
                report.remarks.push(error.to_string());
                Vec::new()
            }
        },
    };
    let mut checkpoints = Checkpoints::default();
    checkpoints.read_archive(&log, &keys, &mut |finding| count(finding, &mut report, tell));
    match outside {
        Some(Outside { file, length }) => {
            let input = BufReader::new(file.take(length));
            checkpoints.read_file(input, &log.origin, &keys, &mut |finding| count(finding, &mut report, tell));
        }
        None => report.remarks.push("no checkpoint file outside the archive was held against it".into()),
    }
    checkpoints.sort();
    (report.checkpoints, report.outside_checkpoints) = (checkpoints.in_archive, checkpoints.outside);
    if checkpoints.torn_end {
        report.remarks.push("the checkpoint file ends with half a note, which the archive holds whole".into());
    }
    if checkpoints.unchecked {
        report.remarks.push("signatures of checkpoints were not checked: there is no public key at hand".into());
    }

    let (envelopes, derived, pages) = (Rows::open(path)?, Rows::open(path)?, Reader::open(path)?);
    let (naming, kept_files) = (Rows::open(path)?, Attachments::of(&layout));
    let bounds = log.bounds();
    let total = bounds.event.saturating_mul(2).saturating_add(bounds.envelope);
    let done = &[AtomicU64::new(0), AtomicU64::new(0)];
    let (bodies, drift, keyed, pages, files) = std::thread::scope(|scope| {
        let bodies = scope.spawn(move || {
            let mut kept = Kept::default();
            let seen = audit_envelopes(&envelopes, &mut |finding| kept.push(finding), &mut |n| {
                done[0].store(n, Ordering::Relaxed);
            });
            (kept, seen)
        });
        let drift = scope.spawn(move || {
            let mut kept = Kept::default();
            projections::compare(&derived, &mut |finding| kept.push(finding), &mut |n| {
                done[1].store(n, Ordering::Relaxed)
            });
            kept
        });
        let files = scope.spawn(move || {
            let mut kept = Kept::default();
            let seen = files::check(&naming, &kept_files, &mut |finding| kept.push(finding));
            (kept, seen)
        });
        let pages = scope.spawn(move || pages.file_damage());
        let others = || done[0].load(Ordering::Relaxed).saturating_add(done[1].load(Ordering::Relaxed));
        audit_log(&log, checkpoints, &mut report, tell, &mut |n| {
            progress(n.saturating_add(others()).min(total), total)
        });
        let mut keyed = Kept::default();
        dedupe::check(&log, &bounds, &mut |finding| keyed.push(finding));
        while !(bodies.is_finished() && drift.is_finished() && pages.is_finished() && files.is_finished()) {
            progress(bounds.event.saturating_add(others()).min(total), total);
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        (joined(bodies), joined(drift), keyed, joined(pages), joined(files))
    });
    let (bodies, (envelopes, bytes)) = bodies;
    report.envelopes = envelopes;
    report.bytes += bytes;
    let (files, looked) = files;
    report.attachments = looked.files;
    report.bytes += looked.bytes;
    report.remarks.extend(looked.stopped);
    for finding in files.found {
        count(finding, &mut report, tell);
    }
    if files.more > 0 {
        let what = format!("{} more attachments are missing or changed", files.more);
        count(Finding::of(FindingKind::MissingAttachment, what), &mut report, tell);
    }

    let log_is_damaged = report.findings.keys().any(|kind| {
        matches!(
            kind,
            FindingKind::ChangedContent
                | FindingKind::ChangedHeader
                | FindingKind::MissingRow
                | FindingKind::Reordered
                | FindingKind::TruncatedLog
                | FindingKind::Unreadable
        )
    });
    let seqs = log.first_events_of(&bodies.found);
    for (finding, seq) in bodies.found.into_iter().zip(seqs) {
        // A missing envelope that events were read from has been told with its event.
        if finding.kind == FindingKind::MissingRow && finding.id == finding.last && seq.is_some() && log_is_damaged {
            continue;
        }
        let last = if finding.last > finding.id { format!(" to {}", finding.last) } else { String::new() };
        let what = format!("envelope {}{last}: {}", finding.id, finding.what);
        count(Finding { seq, kind: finding.kind, what }, &mut report, tell);
    }
    if bodies.more > 0 {
        let what = format!("{} more envelopes are damaged", bodies.more);
        count(Finding::of(FindingKind::ChangedEnvelope, what), &mut report, tell);
    }
    for (kept, what) in [(keyed, "dedupe keys"), (drift, "rows of projections")] {
        let differing = kept.found.len() as u64 + kept.more;
        if log_is_damaged && differing > 0 {
            // Derived tables cannot agree with a log that was changed; whether they were changed too cannot be told.
            report.remarks.push(format!("{differing} {what} do not fit the log, which is damaged itself"));
            continue;
        }
        for finding in kept.found {
            count(finding, &mut report, tell);
        }
        if kept.more > 0 {
            let what = format!("{} more {what} differ", kept.more);
            count(Finding::of(FindingKind::ProjectionDrift, what), &mut report, tell);
        }
    }
    // What a walk over the tables does not see: an index that hides a row from questions, say.
    match pages {
        Ok(lines) => lines.into_iter().for_each(|line| {
            let what = format!("SQLite's own check: {}", line.replace('\n', " "));
            count(Finding::of(FindingKind::Unreadable, what), &mut report, tell);
        }),
        Err(error) => {
            let what = format!("SQLite's own check cannot be done: {error}");
            count(Finding::of(FindingKind::Unreadable, what), &mut report, tell);
        }
    }
    progress(total, total);
    Ok(report)
}

/// A panic in a part of the audit is a defect of this program, and goes on as one.
fn joined<T>(part: std::thread::ScopedJoinHandle<'_, T>) -> T {
    part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn count(finding: Finding, report: &mut Report, tell: &mut dyn FnMut(Finding)) {
    report.count(&finding);
    tell(finding);
}

/// The checkpoint file as long as it was at one moment.
struct Outside {
    file: File,
    length: u64,
}

impl Outside {
    fn open(layout: &Layout, options: &AuditOptions) -> Result<Option<Outside>, ArchiveError> {
        let path = options.checkpoints.as_ref().unwrap_or(&layout.checkpoints);
        let opened = File::open(path).and_then(|file| Ok(Outside { length: file.metadata()?.len(), file }));
        match opened {
            Ok(outside) => Ok(Some(outside)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && options.checkpoints.is_none() => Ok(None),
            Err(source) => Err(ArchiveError::Io { doing: format!("read {}", path.display()), source }),
        }
    }
}

/// Findings of one part, told when all parts are through.
struct Kept<T> {
    found: Vec<T>,
    more: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept { found: Vec::new(), more: 0 }
    }
}

impl<T> Kept<T> {
    fn push(&mut self, finding: T) {
        if self.found.len() < KEPT { self.found.push(finding) } else { self.more += 1 }
    }
}

/// One connection that sees the archive at one moment.
struct Rows {
    reader: Reader,
    origin: String,
    connectors: HashMap<i64, Arc<str>>,
    conversations: RefCell<HashMap<i64, Arc<str>>>,
    commitments: RefCell<HashMap<i64, Option<Hash>>>,
    nothing: Arc<str>,
}

impl Rows {
    fn open(path: &Path) -> Result<Rows, ArchiveError> {
        let reader = Reader::open(path)?;
        let origin = {
            let conn = reader.connection();
            let doing = |e| ArchiveError::sqlite(format!("read archive {}", path.display()), e);
            // Never ended: the connection is dropped with it.
            conn.execute_batch("BEGIN").map_err(doing)?;
            reader.origin()?
        };
        let mut connectors = HashMap::new();
        let read = |connectors: &mut HashMap<i64, Arc<str>>| -> rusqlite::Result<()> {
            let mut statement = reader.connection().prepare("SELECT id, name FROM connector")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                connectors.insert(row.get(0)?, row.get::<_, String>(1)?.into());
            }
            Ok(())
        };
        // What cannot be read here shows as headers that do not fit.
        let _ = read(&mut connectors);
        Ok(Rows {
            reader,
            origin,
            connectors,
            conversations: RefCell::default(),
            commitments: RefCell::default(),
            nothing: "".into(),
        })
    }

    fn conn(&self) -> &Connection {
        self.reader.connection()
    }

    fn conversation(&self, number: i64) -> rusqlite::Result<Arc<str>> {
        let mut known = self.conversations.borrow_mut();
        if let Some(id) = known.get(&number) {
            return Ok(id.clone());
        }
        let found: Option<String> = self
            .conn()
            .prepare_cached("SELECT id FROM conversation_id WHERE number = ?1")?
            .query_row([number], |row| row.get(0))
            .optional()?;
        let id: Arc<str> = found.unwrap_or_default().into();
        if known.len() > 50_000 {
            known.clear();
        }
        known.insert(number, id.clone());
        Ok(id)
    }

    fn commitment(&self, envelope: i64) -> rusqlite::Result<Option<Hash>> {
        let mut known = self.commitments.borrow_mut();
        if let Some(found) = known.get(&envelope) {
            return Ok(*found);
        }
        let found = self
            .conn()
            .prepare_cached("SELECT commitment FROM envelope WHERE id = ?1")?
            .query_row([envelope], |row| hash(row, 0))
            .optional()?;
        if known.len() > 4096 {
            known.clear();
        }
        known.insert(envelope, found);
        Ok(found)
    }

    fn event(&self, row: &Row<'_>) -> rusqlite::Result<EventRow> {
        let conversation = match row.get::<_, Option<i64>>(2)? {
            Some(number) => self.conversation(number)?,
            None => self.nothing.clone(),
        };
        let envelope = match row.get::<_, Option<i64>>(6)? {
            Some(id) => Some((id, self.commitment(id)?)),
            None => None,
        };
        Ok(EventRow {
            seq: row.get::<_, N>(0)?.0,
            connector: self.connectors.get(&row.get(1)?).unwrap_or(&self.nothing).clone(),
            conversation,
            kind: row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?.into(),
            source_time: row.get(4)?,
            recorded_at: row.get(5)?,
            envelope,
            content: hash(row, 7)?,
            leaf: hash(row, 8)?,
        })
    }

    /// Reads a page: up to [`ROWS`] rows or [`BYTES`] bytes, which `weight` tells.
    fn page<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        limit: usize,
        mut make: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        weight: impl Fn(&T) -> usize,
    ) -> Page<T> {
        let mut page = Page { rows: Vec::new(), end: End::Done };
        let mut bytes = 0;
        let read = || -> rusqlite::Result<End> {
            let mut statement = self.conn().prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                let made = make(row)?;
                bytes += weight(&made);
                page.rows.push(made);
                if page.rows.len() >= limit || bytes >= BYTES {
                    return Ok(End::More);
                }
            }
            Ok(End::Done)
        };
        page.end = read().unwrap_or_else(|e| End::Trouble(e.to_string()));
        page
    }

    /// The first event that was read from each of these envelopes.
    fn first_events_of(&self, findings: &[EnvelopeFinding]) -> Vec<Option<u64>> {
        if findings.is_empty() {
            return Vec::new();
        }
        // Spans do not overlap and rise, so the span of an envelope is found by halves.
        let mut first: Vec<Option<u64>> = vec![None; findings.len()];
        let mut scan = || -> rusqlite::Result<()> {
            let mut statement =
                self.conn().prepare("SELECT seq, envelope FROM event WHERE envelope IS NOT NULL ORDER BY seq")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (N(seq), envelope): (N, i64) = (row.get(0)?, row.get(1)?);
                let at = findings.partition_point(|finding| finding.last < envelope);
                if findings.get(at).is_some_and(|finding| finding.id <= envelope) && first[at].is_none() {
                    first[at] = Some(seq);
                }
            }
            Ok(())
        };
        // Where events cannot be read any more, the rest stays without a seq; the damage is told as such.
        let _ = scan();
        first
    }
}

/// A hash of the wrong length or type can match nothing, and zeros match nothing either.
fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().unwrap_or_default(),
        _ => Hash::default(),
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

fn envelope_of(row: &Row<'_>, unpack: &mut zstd::bulk::Decompressor<'_>) -> rusqlite::Result<EnvelopeRow> {
    let stored = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
    let size = u64::try_from(row.get::<_, i64>(1)?).ok();
    let body = if row.get::<_, i64>(2)? == 0 {
        if size == Some(stored.len() as u64) { Ok(stored.to_vec()) } else { Err("its size is not that of its body") }
    } else {
        // A tampered size must not make us reserve the machine's memory.
        let told = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
        match (told == size, size.filter(|size| *size <= BODY).and_then(|size| usize::try_from(size).ok())) {
            (true, Some(size)) => unpack.decompress(stored, size).map_err(|_| "its body cannot be unpacked"),
            _ => Err("its body is not the compressed form of so many bytes"),
        }
    };
    let digest = hash(row, 4)?;
    let text = |column: usize| -> rusqlite::Result<String> {
        Ok(row.get_ref(column)?.as_str_or_null().ok().flatten().unwrap_or_default().to_owned())
    };
    let (connector, platform, request, content_type) = (text(7)?, text(8)?, text(11)?, text(13)?);
    let head = EnvelopeHead {
        connector: &connector,
        platform: &platform,
        received_at: number(row, 9)?.unwrap_or(i64::MIN),
        server_date: number(row, 10)?,
        request: &request,
        // Outside its range it was not written by us: any other number makes another head.
        status: number(row, 12)?.and_then(|status| u16::try_from(status).ok()).unwrap_or(u16::MAX),
        content_type: &content_type,
        digest,
    };
    Ok(EnvelopeRow {
        id: row.get(0)?,
        body,
        digest,
        head: head.canonical(),
        salt: hash(row, 5)?,
        commitment: hash(row, 6)?,
    })
}

impl AuditRows for Rows {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn bounds(&self) -> Bounds {
        let mut trouble = Vec::new();
        let mut highest = |table: &str, sql: &str| -> u64 {
            match self.conn().query_row(sql, [], |row| row.get::<_, Option<i64>>(0)) {
                Ok(n) => n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                Err(error) => {
                    trouble.push(format!("the end of table {table} cannot be read ({error})"));
                    0
                }
            }
        };
        let mut bounds = Bounds {
            event: highest("event", "SELECT max(seq) FROM event"),
            content: highest("content", "SELECT max(seq) FROM content"),
            dedupe: highest("dedupe", "SELECT max(seq) FROM dedupe"),
            envelope: highest("envelope", "SELECT max(id) FROM envelope"),
            // The highest node of level 1 stands for two events; every complete pair has one.
            nodes: highest("node", "SELECT max((idx + 1) << level) FROM node WHERE level = 1"),
            below: Vec::new(),
            trouble: Vec::new(),
        };
        for (table, sql) in [
            ("event", "SELECT min(seq) FROM event"),
            ("content", "SELECT min(seq) FROM content"),
            ("envelope", "SELECT min(id) FROM envelope"),
            ("checkpoint", "SELECT min(id) FROM checkpoint"),
        ] {
            // A beginning that cannot be read shows in the walk over the table.
            let lowest = self.conn().query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
            if lowest.is_ok_and(|lowest| lowest.is_some_and(|lowest| lowest < 1)) {
                bounds.below.push(table);
            }
        }
        if bounds.event == 0 && !trouble.is_empty() {
            bounds.event = bounds.content.max(bounds.dedupe).max(bounds.nodes);
        }
        bounds.trouble = trouble;
        bounds
    }

    fn events(&self, from: u64) -> Page<EventRow> {
        self.page(
            "SELECT seq, connector, conversation, kind, source_time, recorded_at, envelope, content, leaf FROM event
             WHERE seq >= ?1 ORDER BY seq",
            [N(from)],
            ROWS,
            |row| self.event(row),
            |_| 0,
        )
    }

    fn contents(&self, from: u64) -> Page<ContentRow> {
        self.page(
            "SELECT seq, salt, canonical FROM content WHERE seq >= ?1 ORDER BY seq",
            [N(from)],
            ROWS,
            |row| Ok(ContentRow { seq: row.get::<_, N>(0)?.0, salt: hash(row, 1)?, canonical: row.get(2)? }),
            |row| row.canonical.len(),
        )
    }

    fn nodes(&self, level: u8, from: u64) -> Page<(u64, Hash)> {
        self.page(
            "SELECT idx, hash FROM node WHERE level = ?1 AND idx >= ?2 ORDER BY idx",
            params![level, N(from)],
            ROWS,
            |row| Ok((row.get::<_, N>(0)?.0, hash(row, 1)?)),
            |_| 0,
        )
    }

    fn envelopes(&self, from: u64) -> Page<EnvelopeRow> {
        let mut unpack = match zstd::bulk::Decompressor::new() {
            Ok(unpack) => unpack,
            Err(error) => return Page { rows: Vec::new(), end: End::Trouble(error.to_string()) },
        };
        self.page(
            "SELECT v.id, v.size, v.encoding, v.body, v.digest, v.salt, v.commitment, n.name, n.platform, v.received_at,
                 v.server_date, v.request, v.status, v.content_type
             FROM envelope v LEFT JOIN connector n ON n.id = v.connector WHERE v.id >= ?1 ORDER BY v.id",
            [N(from)],
            ROWS,
            |row| envelope_of(row, &mut unpack),
            |row| row.body.as_ref().map_or(0, Vec::len),
        )
    }

    fn checkpoints(&self, from: u64) -> Page<CheckpointRow> {
        self.page(
            "SELECT id, size, root, at, text FROM checkpoint WHERE id >= ?1 ORDER BY id",
            [N(from)],
            ROWS,
            |row| {
                let size = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(u64::MAX);
                let (root, at) = (hash(row, 2)?, Timestamp(row.get(3)?));
                Ok(CheckpointRow { id: row.get(0)?, size, root, at, text: row.get(4)? })
            },
            |row| row.text.len(),
        )
    }
}
