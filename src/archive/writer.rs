//! The one thread with the write connection.
//!
//! Group commit: whatever has queued while the last fsync ran becomes the next transaction; callers hear of it only
//! after COMMIT has returned. When a transaction fails, everything in it is rolled back, what the writer remembered is
//! thrown away, and it is read again from the file before the next one; so the writer recovers by itself as soon as the
//! disk does. An append that cannot be stored for reasons of its own fails alone: the others of its group are redone
//! without it, which is rare and cheaper than a savepoint around every append.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot, watch};

use super::append::{Random, State};
use super::lock::Lock;
use super::number::N;
use super::projection;
use super::{ArchiveError, Attachments, Checkpoint, CheckpointSigner, Layout, Limits, reader, schema};
use crate::capture::{Alias, Append, Appended, EnvelopeId, Known, Restored, Source, StoredEnvelope};
use crate::clock::Clock;
use crate::model::ConversationId;

/// A transaction takes no further append once it has so many events …
const GROUP_EVENTS: usize = 4096;
/// … or so many bytes of bodies.
const GROUP_BYTES: usize = 8 << 20;
/// Frames in the write-ahead log (pages of 4 kB) from which the writer moves them into the database when idle …
const WAL_IDLE: u32 = 2_000;
/// … and from which it does so even with work waiting.
const WAL_BUSY: u32 = 8_000;
/// How long closing waits for readers before it leaves the write-ahead log beside the archive.
const CLOSING: Duration = Duration::from_millis(500);

/// Enough of the end of `checkpoints.txt` to hold its newest note.
const TAIL_BYTES: u64 = 65_536;

/// Reply to a command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ArchiveError>>;

/// One append and who waits for it.
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) batch: Append,
    pub(super) reply: Reply<Appended>,
}

/// What the writer can be asked.
pub(super) enum Command {
    Append(Box<Job>),
    Find { source: Source, aliases: Vec<Alias>, reply: Reply<Option<Known>> },
    Restore { source: Source, reply: Reply<Restored> },
    Pending { source: Source, after: Option<EnvelopeId>, most: usize, reply: Reply<Vec<StoredEnvelope>> },
    Recall { source: Source, keys: Vec<String>, reply: Reply<Vec<Option<Vec<u8>>>> },
    Checkpoint { signer: Arc<dyn CheckpointSigner>, reply: Reply<Option<Checkpoint>> },
    Rebuild { reply: Reply<()> },
    Close { reply: Option<oneshot::Sender<()>> },
}

thread_local! {
    /// Frames in the write-ahead log after the newest commit of this thread.
    static WAL_FRAMES: Cell<u32> = const { Cell::new(0) };
}

pub(super) struct Writer {
    conn: Connection,
    layout: Layout,
    clock: Arc<dyn Clock>,
    random: Random,
    origin: String,
    dedupe_salt: [u8; 32],
    /// `None` after a failed transaction: to be read from the file again.
    state: Option<State>,
    /// Checkpoint that is in the archive but not yet in the outside file.
    outside: Option<String>,
    /// Frames in the write-ahead log when it was last moved into the database.
    moved_at: u32,
    // Dropped last, so that the lock goes after the connection.
    _lock: Lock,
}

impl Writer {
    /// Takes the lock, opens or makes the file, brings it to the newest layout.
    pub(super) fn open(layout: &Layout, clock: Arc<dyn Clock>, limits: Limits) -> Result<Writer, ArchiveError> {
        make_directories(layout)?;
        let lock = Lock::take(&layout.dir)?;
        Attachments::of(layout).sweep()?;
        let path = &layout.database;
        let doing = || format!("open archive {}", path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags).map_err(|e| ArchiveError::sqlite(doing(), e))?;
        let found = schema::inspect(&conn, path)?;
        configure(&conn, limits).map_err(|e| ArchiveError::sqlite(doing(), e))?;
        let mut random = Random::new();
        match found {
            schema::Found::Empty => {
                let now = clock.now();
                let salt = random.salt()?;
                let name = random.salt()?;
                // Sortable and unique in the world; the shape of a conversation id without its prefix.
                let id = ConversationId::new(now, name.first_chunk().copied().unwrap_or_default());
                let origin = format!("greffier/{}", id.as_str().trim_start_matches("c_"));
                schema::create(&mut conn, path, &origin, &salt, now)?;
                sync_directory(layout)?;
            }
            schema::Found::Archive(version) => schema::upgrade(&mut conn, path, version)?,
        }
        let (origin, dedupe_salt) = conn
            .query_row("SELECT origin, dedupe_salt FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|e| ArchiveError::sqlite(doing(), e))?;
        conn.wal_hook(Some(|_, frames| {
            WAL_FRAMES.set(u32::try_from(frames).unwrap_or(0));
            Ok(())
        }));
        let state = State::read(&conn).map_err(|e| e.told(doing))?;
        let outside = unpublished(&conn, layout)?;
        Ok(Writer {
            conn,
            layout: layout.clone(),
            clock,
            random,
            origin,
            dedupe_salt,
            state: Some(state),
            outside,
            moved_at: 0,
            _lock: lock,
        })
    }

    /// Name of the log.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Events in the log.
    pub(super) fn size(&self) -> u64 {
        self.state.as_ref().map_or(0, State::size)
    }

    /// Serves commands until told to close, then what is still queued.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>, durable: watch::Sender<u64>) {
        let mut ahead: Option<Command> = None;
        let mut closing: Option<oneshot::Sender<()>> = None;
        loop {
            let Some(command) = ahead.take().or_else(|| commands.blocking_recv()) else { break };
            match command {
                Command::Append(job) => {
                    let mut group = vec![*job];
                    let (mut events, mut bytes) = weight(&group[0]);
                    while events < GROUP_EVENTS && bytes < GROUP_BYTES {
                        match commands.try_recv() {
                            Ok(Command::Append(job)) => {
                                let (e, b) = weight(&job);
                                (events, bytes) = (events + e, bytes + b);
                                group.push(*job);
                            }
                            // What waits in the group is not acknowledged, so a recall need not see it, nor wait for it.
                            Ok(Command::Recall { source, keys, reply }) => {
                                let _ = reply.send(self.recall(&source, &keys));
                            }
                            Ok(other) => {
                                ahead = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.store(group, &durable);
                }
                Command::Find { source, aliases, reply } => {
                    let known =
                        find(&self.conn, &source, &aliases).map_err(|e| self.sqlite("look up a conversation in", e));
                    let _ = reply.send(known);
                }
                Command::Restore { source, reply } => {
                    let _ = reply.send(self.restore(&source));
                }
                Command::Pending { source, after, most, reply } => {
                    let _ = reply.send(self.pending(&source, after, most));
                }
                Command::Recall { source, keys, reply } => {
                    let _ = reply.send(self.recall(&source, &keys));
                }
                Command::Checkpoint { signer, reply } => {
                    let made = self.checkpoint(&*signer);
                    let _ = reply.send(made);
                }
                Command::Rebuild { reply } => {
                    let done = self.rebuild();
                    let _ = reply.send(done);
                }
                Command::Close { reply } => {
                    commands.close();
                    closing = reply;
                }
            }
            self.move_wal(ahead.is_some() || !commands.is_empty());
        }
        self.empty_wal();
        drop(self);
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    fn sqlite(&self, doing: &str, source: rusqlite::Error) -> ArchiveError {
        ArchiveError::sqlite(format!("{doing} archive {}", self.layout.database.display()), source)
    }

    /// Commits a group and tells everybody in it what became of theirs.
    fn store(&mut self, group: Vec<Job>, durable: &watch::Sender<u64>) {
        let mut groups = VecDeque::from([group]);
        while let Some(mut group) = groups.pop_front() {
            match self.try_store(&group) {
                Ok(receipts) => {
                    durable.send_replace(self.size());
                    for (job, receipt) in group.into_iter().zip(receipts) {
                        let _ = job.reply.send(receipt);
                    }
                }
                Err(Failed { culprit: Some(index), error }) if error.retry().is_none() && group.len() > 1 => {
                    let job = group.remove(index);
                    let _ = job.reply.send(Err(error));
                    groups.push_front(group);
                }
                // What is too much together may fit one by one.
                Err(Failed { error, .. }) if group.len() > 1 && is_full(&error) => {
                    groups.extend(group.into_iter().map(|job| vec![job]));
                }
                Err(Failed { error, .. }) => {
                    tracing::error!(
                        archive = %self.layout.database.display(), appends = group.len(), %error, "archive cannot store"
                    );
                    for job in group {
                        let _ = job.reply.send(Err(copy(&error)));
                    }
                }
            }
        }
    }

    /// One transaction with all of the group; on failure nothing of it is stored.
    fn try_store(&mut self, group: &[Job]) -> Result<Vec<Result<Appended, ArchiveError>>, Failed> {
        let doing = || format!("append to archive {}", self.layout.database.display());
        let whole = |error: ArchiveError| Failed { culprit: None, error };
        let mut state = match self.state.take() {
            Some(state) => state,
            None => State::read(&self.conn).map_err(|e| whole(e.told(doing)))?,
        };
        // IMMEDIATE: whoever else holds the file locked is found out before any work is done.
        self.conn
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(|e| whole(ArchiveError::sqlite(doing(), e)))?;
        let now = self.clock.now();
        let mut run = || -> Result<Vec<Result<Appended, ArchiveError>>, Failed> {
            let mut writing = state
                .begin(&self.conn, &self.origin, &self.dedupe_salt, &mut self.random, now)
                .map_err(|e| whole(ArchiveError::sqlite(doing(), e)))?;
            let mut receipts = Vec::with_capacity(group.len());
            for (index, job) in group.iter().enumerate() {
                // A contradiction is found before anything of the append is written; then it alone fails, at no cost.
                match writing.append(&job.source, &job.batch) {
                    Ok(appended) => receipts.push(Ok(appended)),
                    Err(e) => match e.told(doing) {
                        error @ ArchiveError::Refused { .. } => receipts.push(Err(error)),
                        error => return Err(Failed { culprit: Some(index), error }),
                    },
                }
            }
            writing.finish().map_err(|e| whole(ArchiveError::sqlite(doing(), e)))?;
            self.conn
                .prepare_cached("COMMIT")
                .and_then(|mut commit| commit.execute([]))
                .map_err(|e| whole(ArchiveError::sqlite(doing(), e)))?;
            Ok(receipts)
        };
        let outcome = run();
        match outcome {
            Ok(receipts) => {
                self.state = Some(state);
                Ok(receipts)
            }
            Err(failed) => {
                self.roll_back();
                Err(failed)
            }
        }
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            // SQLite has rolled back by itself for some errors; then there is nothing left to do.
            tracing::debug!(%error, "rollback");
        }
    }

    /// Moves frames from the write-ahead log into the database, off the path of those who wait.
    fn move_wal(&mut self, work_waits: bool) {
        let frames = WAL_FRAMES.get();
        if frames < self.moved_at {
            // The log has been started anew.
            self.moved_at = 0;
        }
        // While a reader keeps the log from being started anew, each attempt waits until there is enough to move again.
        if frames - self.moved_at < if work_waits { WAL_BUSY } else { WAL_IDLE } {
            return;
        }
        self.moved_at = frames;
        // PASSIVE never waits for readers. If it fails (full disk) the log stays valid and it is tried again later.
        if let Err(error) = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0)) {
            tracing::warn!(%error, "cannot move the write-ahead log into the archive yet");
        }
    }

    /// At the end: moves all of the write-ahead log into the database, so that the archive is one file again.
    fn empty_wal(&self) {
        // A reader that stays holds this up; whoever stops the recorder shall not wait for it for long.
        let moved = self
            .conn
            .busy_timeout(CLOSING)
            .and_then(|()| self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        match moved {
            Ok(false) => {}
            Ok(true) => tracing::debug!("a reader is open, so the write-ahead log stays beside the archive"),
            Err(error) => tracing::warn!(%error, "the write-ahead log stays beside the archive; nothing is lost"),
        }
    }

    fn restore(&self, source: &Source) -> Result<Restored, ArchiveError> {
        let doing = || format!("read the state of a connector from archive {}", self.layout.database.display());
        reader::restored(&self.conn, source).map_err(|e| e.told(doing))
    }

    fn pending(
        &self,
        source: &Source,
        after: Option<EnvelopeId>,
        most: usize,
    ) -> Result<Vec<StoredEnvelope>, ArchiveError> {
        let doing = || format!("read the envelopes to interpret from archive {}", self.layout.database.display());
        reader::pending(&self.conn, source, after, most).map_err(|e| e.told(doing))
    }

    fn recall(&self, source: &Source, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ArchiveError> {
        reader::recall(&self.conn, source, keys).map_err(|e| self.sqlite("read the notes of a connector from", e))
    }

    fn checkpoint(&mut self, signer: &dyn CheckpointSigner) -> Result<Option<Checkpoint>, ArchiveError> {
        self.publish_outside()?;
        let doing = || format!("store a checkpoint in archive {}", self.layout.database.display());
        if self.state.is_none() {
            self.state = Some(State::read(&self.conn).map_err(|e| e.told(doing))?);
        }
        let Some((size, root)) = self.state.as_ref().map(State::head) else { return Ok(None) };
        let newest: Option<N> = self
            .conn
            .query_row("SELECT size FROM checkpoint ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(|e| ArchiveError::sqlite(doing(), e))?;
        if size == 0 || newest == Some(N(size)) {
            return Ok(None);
        }
        let at = self.clock.now();
        let text = signer.sign(&self.origin, size, &root, at);
        self.conn
            .execute(
                "INSERT INTO checkpoint (size, root, at, text) VALUES (?1, ?2, ?3, ?4)",
                params![N(size), root, at.micros(), text],
            )
            .map_err(|e| ArchiveError::sqlite(doing(), e))?;
        self.outside = Some(text.clone());
        self.publish_outside()?;
        Ok(Some(Checkpoint { size, root, at, text }))
    }

    /// Appends the newest checkpoint to the file outside the archive, if it is not there yet.
    fn publish_outside(&mut self) -> Result<(), ArchiveError> {
        let Some(text) = &self.outside else { return Ok(()) };
        let path = &self.layout.checkpoints;
        let io = |source| ArchiveError::Io { doing: format!("write {}", path.display()), source };
        crate::integrity::checkpoint::append_to_file(path, text).map_err(io)?;
        self.outside = None;
        Ok(())
    }

    fn rebuild(&mut self) -> Result<(), ArchiveError> {
        let doing = || format!("rebuild the projections of archive {}", self.layout.database.display());
        self.state = None;
        let run = || -> Result<(), Trouble> {
            let tx = self.conn.unchecked_transaction()?;
            projection::rebuild(&tx)?;
            tx.commit()?;
            Ok(())
        };
        run().map_err(|e| e.told(doing))
    }
}

/// Why a group failed, and which append of it, if one alone is to blame.
struct Failed {
    culprit: Option<usize>,
    error: ArchiveError,
}

/// What goes wrong inside, before it is said what was being done.
#[derive(Debug)]
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    Other(ArchiveError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Self {
        Trouble::Sqlite(e)
    }
}

impl From<ArchiveError> for Trouble {
    fn from(e: ArchiveError) -> Self {
        Trouble::Other(e)
    }
}

impl Trouble {
    pub(super) fn told(self, doing: impl FnOnce() -> String) -> ArchiveError {
        match self {
            Trouble::Sqlite(e) => ArchiveError::sqlite(doing(), e),
            Trouble::Other(e) => e,
        }
    }
}

/// The same error for each in the group: SQLite's code and text survive, the chain does not.
fn copy(error: &ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Sqlite { doing, source } => {
            let (code, text) = match source {
                rusqlite::Error::SqliteFailure(code, text) => (*code, text.clone()),
                other => (rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR), Some(other.to_string())),
            };
            ArchiveError::sqlite(doing.clone(), rusqlite::Error::SqliteFailure(code, text))
        }
        ArchiveError::Io { doing, source } => {
            ArchiveError::Io { doing: doing.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
        }
        ArchiveError::Random => ArchiveError::Random,
        ArchiveError::Broken { table, id, problem } => ArchiveError::Broken { table, id: *id, problem },
        ArchiveError::Refused { problem } => ArchiveError::Refused { problem },
        _ => ArchiveError::Closed,
    }
}

fn is_full(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Sqlite { source, .. }
        if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
}

fn weight(job: &Job) -> (usize, usize) {
    (job.batch.events.len(), job.batch.envelopes.iter().map(|e| e.body.len()).sum())
}

fn configure(conn: &Connection, limits: Limits) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -32_768)?;
    conn.pragma_update(None, "journal_size_limit", 67_108_864)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    if let Some(pages) = limits.pages {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

fn make_directories(layout: &Layout) -> Result<(), ArchiveError> {
    let make = |path: &PathBuf, mode: u32| {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
        #[cfg(not(unix))]
        let _ = mode;
        builder
            .create(path)
            .map_err(|source| ArchiveError::Io { doing: format!("make directory {}", path.display()), source })
    };
    make(&layout.dir, 0o750)?;
    make(&layout.keys, 0o700)
}

/// A new file is only there after a power cut if its directory is on disk too.
fn sync_directory(layout: &Layout) -> Result<(), ArchiveError> {
    std::fs::File::open(&layout.dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| ArchiveError::Io { doing: format!("sync directory {}", layout.dir.display()), source })
}

/// The newest checkpoint, if the process ended between storing it and publishing it.
fn unpublished(conn: &Connection, layout: &Layout) -> Result<Option<String>, ArchiveError> {
    let newest: Option<String> = conn
        .query_row("SELECT text FROM checkpoint ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(|e| ArchiveError::sqlite(format!("read checkpoints of {}", layout.database.display()), e))?;
    let Some(text) = newest else { return Ok(None) };
    // The newest is the last of the file; the file grows for years.
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(&layout.checkpoints)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let published = match tail() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).contains(text.trim_end_matches('\n')),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => {
            return Err(ArchiveError::Io { doing: format!("read {}", layout.checkpoints.display()), source });
        }
    };
    Ok((!published).then_some(text))
}

fn find(conn: &Connection, source: &Source, aliases: &[Alias]) -> rusqlite::Result<Option<Known>> {
    let mut search = conn.prepare_cached(
        "SELECT i.id, coalesce(c.started, 0), coalesce(c.notice_sent, 0) FROM connector n
         JOIN alias a ON a.connector = n.id JOIN conversation_id i ON i.number = a.conversation
         LEFT JOIN conversation c ON c.number = a.conversation
         WHERE n.name = ?1 AND n.platform = ?2 AND a.scope = ?3 AND a.value = ?4",
    )?;
    for alias in aliases {
        let found = search
            .query_row(params![source.connector, source.platform, alias.scope, alias.value], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        if let Some((id, started, notice_sent)) = found
            && let Some(id) = ConversationId::parse(&id)
        {
            return Ok(Some(Known { id, started, notice_sent }));
        }
    }
    Ok(None)
}
