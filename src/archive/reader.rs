//! Read-only connections, and the questions they answer.
//!
//! Calls block for file access: use them in `spawn_blocking`, with a reader of one's own (it is `Send`, not `Sync`).
//! Each call is one short read transaction. Long answers come in pages by key, so a transcript of a million events
//! neither loads into memory nor keeps the write-ahead log from being moved into the database.

mod activity;
mod audit;
mod browse;
mod conversations;
mod events;
mod notes;
mod people;
mod places;
mod search;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::number::N;
use super::{ArchiveError, schema};
use crate::model::Timestamp;

pub use activity::{Activity, ConnectorRow, GapDay, GapRow, Totals};
pub use audit::{AliasRow, EnvelopeRow, LeafRow, NodeRow};
pub use browse::ConversationPosition;
pub use conversations::{Attendance, Conversation, ConversationFilter, ConversationState, Coverage};
pub use events::{EventPages, Order, Page};
pub use people::{NameRow, PersonRow};
pub use places::{KindSet, MalformedPosition, Position};
pub use search::{Change, EventInContext, IndexRow};

pub(super) use events::entries;
pub(super) use notes::{pending, recall, restored};

/// A read-only view of an archive: of a running recorder, at rest, or a backup.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
    version: i32,
}

impl Reader {
    /// Opens the archive at `path`: its `.db` file or its directory. Changes nothing.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`], [`ArchiveError::Unreadable`], [`ArchiveError::NotAnArchive`], [`ArchiveError::Newer`], and what
    /// SQLite says.
    pub fn open(path: &Path) -> Result<Reader, ArchiveError> {
        let path = super::Layout::of(path).database;
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(ArchiveError::Missing { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(ArchiveError::Missing { path });
            }
            Err(source) => return Err(ArchiveError::Unreadable { path, source }),
        }
        match Reader::open_plain(&path) {
            // Where nothing may be written (a mounted backup), SQLite cannot make the shared index of the write-ahead
            // log. Without such a log nobody has the file open, and it can be read as it is.
            Err(ArchiveError::Sqlite { source, .. })
                if matches!(
                    source.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
                ) && !with_suffix(&path, "-wal").exists() =>
            {
                Reader::open_immutable(&path)
            }
            other => other,
        }
    }

    fn open_plain(path: &Path) -> Result<Reader, ArchiveError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)
            .map_err(|e| ArchiveError::sqlite(format!("open archive {}", path.display()), e))?;
        Reader::over(conn, path)
    }

    fn open_immutable(path: &Path) -> Result<Reader, ArchiveError> {
        let doing = || format!("open archive {}", path.display());
        let absolute = std::path::absolute(path).map_err(|source| ArchiveError::Io { doing: doing(), source })?;
        let text = absolute.to_string_lossy();
        let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let conn = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
            .map_err(|e| ArchiveError::sqlite(doing(), e))?;
        Reader::over(conn, path)
    }

    fn over(conn: Connection, path: &Path) -> Result<Reader, ArchiveError> {
        let doing = || format!("open archive {}", path.display());
        let set = || -> rusqlite::Result<()> {
            conn.busy_timeout(std::time::Duration::from_secs(5))?;
            conn.pragma_update(None, "trusted_schema", false)?;
            conn.pragma_update(None, "temp_store", "MEMORY")?;
            conn.set_prepared_statement_cache_capacity(64);
            Ok(())
        };
        set().map_err(|e| ArchiveError::sqlite(doing(), e))?;
        let version = match schema::inspect(&conn, path)? {
            schema::Found::Empty => return Err(ArchiveError::NotAnArchive { path: path.to_owned() }),
            // Older layouts are led to the newest by whoever opens the archive for writing; every version so far can be read.
            schema::Found::Archive(version) => version,
        };
        // KiB: upper levels of the large trees, so that a page of a transcript is not read from the file anew each time. It
        // reads the file, so it comes after the look whether that is ours.
        conn.pragma_update(None, "cache_size", -8_192)
            .and_then(|()| schema::look_newest(&conn, version))
            .and_then(|()| conn.pragma_update(None, "query_only", true))
            .map_err(|e| ArchiveError::sqlite(doing(), e))?;
        Ok(Reader { conn, path: path.to_owned(), version })
    }

    /// Version of the file's layout, at most [`schema::VERSION`].
    pub fn version(&self) -> i32 {
        self.version
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    /// The file that is read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the log.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn origin(&self) -> Result<String, ArchiveError> {
        self.one("SELECT origin FROM meta")
    }

    /// When the archive was made.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn created_at(&self) -> Result<Timestamp, ArchiveError> {
        self.one("SELECT created_at FROM meta").map(Timestamp)
    }

    /// Number of events in the log.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn log_size(&self) -> Result<u64, ArchiveError> {
        self.one("SELECT coalesce(max(seq), 0) FROM event").map(|N(size)| size)
    }

    /// SQLite's own check of the file's pages and indexes; empty = sound. Slow on large files.
    ///
    /// # Errors
    /// What SQLite says when it cannot even look.
    pub fn file_damage(&self) -> Result<Vec<String>, ArchiveError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut check = self.conn.prepare("PRAGMA integrity_check(100)")?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?;
            lines.filter(|line| line.as_ref().map_or(true, |text| text != "ok")).collect()
        };
        read().map_err(|e| self.failed("check the pages of", e))
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> Result<T, ArchiveError> {
        let read = || self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0));
        read().map_err(|e| self.failed("read", e))
    }

    fn failed(&self, doing: &str, source: rusqlite::Error) -> ArchiveError {
        ArchiveError::sqlite(format!("{doing} archive {}", self.path.display()), source)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A row that SQLite could give but this program cannot have written.
pub(super) fn broken(table: &'static str, id: i64, problem: &'static str) -> ArchiveError {
    ArchiveError::Broken { table, id, problem }
}
