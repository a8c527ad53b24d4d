//! The archive: one append-only log in one SQLite file, and the only place that knows SQL.
//!
//! A directory holds `archive.db`, `attachments/` (files under the name of their hash), `checkpoints.txt` (signed checkpoints
//! outside the file they speak about), `keys/` and `lock`. One thread owns the only writing connection (`writer`); everybody else reads through [`Reader`], also
//! from an archive that no process writes, and from backups. What is acknowledged has been on stable storage before.

mod append;
pub mod attachments;
pub mod audit;
pub mod backup;
pub mod lock;
mod number;
pub mod pool;
mod projection;
pub mod reader;
pub mod schema;
mod sign;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::capture::{
    Alias, Append, Appended, EnvelopeId, Kept, Known, PortFuture, Restored, Sink, SinkError, Source, StoredEnvelope,
};
use crate::clock::Clock;
use crate::integrity::merkle::Hash;
use crate::model::Timestamp;

pub use attachments::Attachments;
pub use backup::backup;
pub use pool::Readers;
pub use reader::Reader;

use writer::{Command, Writer};

/// Appends that may wait for the writer before callers have to.
const QUEUE: usize = 256;

/// Why the archive could not do something.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another process writes this archive.
    #[error("archive {} is in use by {}: stop it first, or name another directory", dir.display(), holder(*pid))]
    Locked {
        /// The archive's directory.
        dir: PathBuf,
        /// Process id of the other, if its lock file tells.
        pid: Option<u32>,
    },
    /// The place may not be looked into.
    #[error("cannot look for an archive at {}: {source}{}", path.display(), right(source))]
    Unreadable {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no archive at this place.
    #[error("no archive at {}: check the path, or let `serve` make one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not ours.
    #[error("{} is not an archive of this program: name another directory", path.display())]
    NotAnArchive {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version.
    #[error("archive {} has layout version {found}, this program knows up to {known}: use a newer greffier", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// A file operation failed.
    #[error("cannot {doing}: {source}{}", space(source))]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot {doing}: {source}{}", hint(source))]
    Sqlite {
        /// What was being done, with the path.
        doing: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A row that this program cannot have written.
    #[error("damaged row in table {table}, id {id}: {problem}; run `greffier verify`")]
    Broken {
        /// The table.
        table: &'static str,
        /// Its key: seq for `event` and `content`.
        id: i64,
        /// What is wrong, without the row's content.
        problem: &'static str,
    },
    /// The batch contradicts itself or the archive: an error in the connector.
    #[error("append refused: {problem}")]
    Refused {
        /// What does not fit.
        problem: &'static str,
    },
    /// The system gives no random bytes.
    #[error("cannot get random bytes from the system")]
    Random,
    /// The archive is closed or closing.
    #[error("the archive is closed")]
    Closed,
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn right(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; run this as the account that records, or give yours the right to read the directory"
        }
        _ => "",
    }
}

fn space(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            " (free some space; recording goes on by itself)"
        }
        _ => "",
    }
}

fn hint(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => " (free some space; recording goes on by itself)",
        Some(ErrorCode::SystemIoFailure) => " (look at the disk and the system's log)",
        Some(ErrorCode::ReadOnly) => " (give the recorder's account write access)",
        Some(ErrorCode::CannotOpen) => " (check that the directory exists and its permissions)",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            " (the file is damaged: keep a copy, run `greffier verify`, restore a backup)"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => " (another program holds the file locked)",
        _ => "",
    }
}

impl ArchiveError {
    pub(crate) fn sqlite(doing: String, source: rusqlite::Error) -> Self {
        ArchiveError::Sqlite { doing, source }
    }

    /// After what time trying again can help; `None` = it cannot.
    pub fn retry(&self) -> Option<Duration> {
        use rusqlite::ErrorCode;
        match self {
            ArchiveError::Sqlite { source, .. } => match source.sqlite_error_code()? {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory => {
                    Some(Duration::from_secs(1))
                }
                ErrorCode::DiskFull => Some(Duration::from_secs(2)),
                ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen => {
                    Some(Duration::from_secs(5))
                }
                _ => None,
            },
            ArchiveError::Io { .. } => Some(Duration::from_secs(5)),
            ArchiveError::Random => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// Signs the state of the log; the archive stores what it returns.
pub trait CheckpointSigner: Send + Sync {
    /// The signed note for a log of `size` events with this Merkle root.
    fn sign(&self, origin: &str, size: u64, root: &Hash, at: Timestamp) -> String;
}

/// A signed statement of the log's size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Events in the log.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: Timestamp,
    /// The signed note.
    pub text: String,
}

/// Where the parts of an archive lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The directory.
    pub dir: PathBuf,
    /// The SQLite file.
    pub database: PathBuf,
    /// Files under the name of their hash; see [`Attachments`].
    pub attachments: PathBuf,
    /// Signed checkpoints, one after the other, an empty line between.
    pub checkpoints: PathBuf,
    /// Private keys, mode 0700.
    pub keys: PathBuf,
}

impl Layout {
    /// The layout of an archive named by its directory, or by the path of its `.db` file.
    pub fn of(path: &Path) -> Layout {
        let is_file = path.extension().is_some_and(|e| e == "db") && !path.is_dir();
        let dir = if is_file { path.parent().map(Path::to_owned).unwrap_or_default() } else { path.to_owned() };
        let database = if is_file { path.to_owned() } else { dir.join("archive.db") };
        Layout {
            database,
            attachments: dir.join("attachments"),
            checkpoints: dir.join("checkpoints.txt"),
            keys: dir.join("keys"),
            dir,
        }
    }
}

/// An archive opened for writing by this process.
pub struct Archive {
    layout: Layout,
    origin: String,
    queue: mpsc::Sender<Command>,
    durable: watch::Receiver<u64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("layout", &self.layout).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Archive {
    /// Opens the archive in `dir` for writing; makes directory and archive if they are missing.
    ///
    /// Blocks for file access; starts the writer thread.
    ///
    /// # Errors
    /// [`ArchiveError::Locked`] if a process has it open, [`ArchiveError::NotAnArchive`], [`ArchiveError::Newer`], and what the
    /// file system says (read-only, full).
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Archive, ArchiveError> {
        Archive::open_with(dir, clock, Limits::default())
    }

    /// Like [`Archive::open`], with a limit to the size of the file.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_with(dir: &Path, clock: Arc<dyn Clock>, limits: Limits) -> Result<Archive, ArchiveError> {
        let layout = Layout { database: dir.join("archive.db"), ..Layout::of(dir) };
        let writer = Writer::open(&layout, clock, limits)?;
        let origin = writer.origin().to_owned();
        let (queue, commands) = mpsc::channel(QUEUE);
        let (publish, durable) = watch::channel(writer.size());
        let thread = std::thread::Builder::new()
            .name("archive-writer".into())
            .spawn(move || writer.run(commands, publish))
            .map_err(|source| ArchiveError::Io { doing: "start the archive's writer".into(), source })?;
        Ok(Archive { layout, origin, queue, durable, thread: Some(thread) })
    }

    /// Where its parts lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The port that connectors write through.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(ArchiveSink {
            queue: self.queue.clone(),
            doing: format!("append to archive {}", self.layout.database.display()),
            attachments: Attachments::of(&self.layout),
        })
    }

    /// A reader of its own connection.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn reader(&self) -> Result<Reader, ArchiveError> {
        Reader::open(&self.layout.database)
    }

    /// Follows the log: the newest durable seq, 0 for an empty log.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Signs the log as it stands, stores the checkpoint, and appends it to the file outside the archive.
    ///
    /// `None` if the log has not grown since the newest checkpoint (or is empty).
    ///
    /// # Errors
    /// What SQLite and the file system say. If only the outside file failed, the next call writes it.
    pub async fn checkpoint(&self, signer: Arc<dyn CheckpointSigner>) -> Result<Option<Checkpoint>, ArchiveError> {
        self.ask(|reply| Command::Checkpoint { signer, reply }).await
    }

    /// Empties every projection and fills it again from the log, in one transaction.
    ///
    /// # Errors
    /// What SQLite says, or a damaged row; then the projections are as before.
    pub async fn rebuild_projections(&self) -> Result<(), ArchiveError> {
        self.ask(|reply| Command::Rebuild { reply }).await
    }

    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, ArchiveError>>) -> Command,
    ) -> Result<T, ArchiveError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(make(reply)).await.map_err(|_| ArchiveError::Closed)?;
        answer.await.map_err(|_| ArchiveError::Closed)?
    }

    /// Takes no more, writes what is queued, and gives the archive free.
    ///
    /// # Errors
    /// [`ArchiveError::Closed`] if the writer had ended already.
    pub async fn close(mut self) -> Result<(), ArchiveError> {
        let (reply, done) = oneshot::channel();
        self.queue.send(Command::Close { reply: Some(reply) }).await.map_err(|_| ArchiveError::Closed)?;
        done.await.map_err(|_| ArchiveError::Closed)?;
        // The answer came from the thread's last lines; joining it makes sure that the lock is free.
        match self.thread.take().map(std::thread::JoinHandle::join) {
            Some(Err(_)) => Err(ArchiveError::Closed),
            _ => Ok(()),
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Without `close` the writer still drains its queue, but nobody waits for it.
        if self.thread.is_some() {
            let _ = self.queue.try_send(Command::Close { reply: None });
        }
    }
}

/// Limits of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest size of the database file in pages of 4096 bytes; beyond it appends fail as on a full disk.
    pub pages: Option<u32>,
}

struct ArchiveSink {
    queue: mpsc::Sender<Command>,
    doing: String,
    attachments: Attachments,
}

impl ArchiveSink {
    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, ArchiveError>>) -> Command,
    ) -> Result<T, SinkError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(make(reply)).await.map_err(|_| ArchiveError::Closed);
        let answered = match sent {
            Ok(()) => answer.await.unwrap_or(Err(ArchiveError::Closed)),
            Err(closed) => Err(closed),
        };
        answered.map_err(|error| SinkError {
            doing: self.doing.clone(),
            retry_after: error.retry(),
            cause: match error {
                ArchiveError::Sqlite { source, .. } => format!("{source}{}", hint(&source)),
                other => other.to_string(),
            },
        })
    }
}

impl Sink for ArchiveSink {
    fn append<'a>(&'a self, source: &'a Source, batch: Append) -> PortFuture<'a, Appended> {
        let source = source.clone();
        Box::pin(self.ask(|reply| Command::Append(Box::new(writer::Job { source, batch, reply }))))
    }

    fn conversation_of<'a>(&'a self, source: &'a Source, aliases: &'a [Alias]) -> PortFuture<'a, Option<Known>> {
        let (source, aliases) = (source.clone(), aliases.to_vec());
        Box::pin(self.ask(|reply| Command::Find { source, aliases, reply }))
    }

    fn restore<'a>(&'a self, source: &'a Source) -> PortFuture<'a, Restored> {
        let source = source.clone();
        Box::pin(self.ask(|reply| Command::Restore { source, reply }))
    }

    fn pending<'a>(
        &'a self,
        source: &'a Source,
        after: Option<EnvelopeId>,
        most: usize,
    ) -> PortFuture<'a, Vec<StoredEnvelope>> {
        let source = source.clone();
        Box::pin(self.ask(move |reply| Command::Pending { source, after, most, reply }))
    }

    fn recall<'a>(&'a self, source: &'a Source, keys: Vec<String>) -> PortFuture<'a, Vec<Option<Vec<u8>>>> {
        let source = source.clone();
        Box::pin(self.ask(|reply| Command::Recall { source, keys, reply }))
    }

    fn keep(&self, bytes: Bytes) -> PortFuture<'_, Kept> {
        let attachments = self.attachments.clone();
        Box::pin(async move {
            // Hashing and syncing a large file takes long; appends go on meanwhile.
            let kept = tokio::task::spawn_blocking(move || attachments.keep(&bytes)).await;
            kept.unwrap_or(Err(ArchiveError::Closed)).map_err(|error| SinkError {
                doing: format!("keep an attachment in {}", self.attachments.dir().display()),
                retry_after: error.retry(),
                cause: error.to_string(),
            })
        })
    }
}

#[cfg(test)]
mod tests;
