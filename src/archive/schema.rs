//! The schema: embeds `schema.sql`, makes new archives, upgrades older ones, refuses what is newer or not ours.
//!
//! `schema.sql` always shows the newest layout. The steps lead older files there, one `user_version` at a time, each in
//! one transaction; a step that brings new projections fills them from the log in that same transaction. A reader of an
//! older file, which it may not change, sees the newer tables as views (`look_newest`): the same answers, only slower.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::writer::Trouble;
use super::{ArchiveError, projection};
use crate::model::Timestamp;

/// `application_id` of our files: the bytes `Gref`.
pub const APPLICATION_ID: i32 = 0x4772_6566;

/// The newest layout that this program knows.
pub const VERSION: i32 = 2;

pub(super) const SCHEMA: &str = include_str!("../../schema.sql");

/// `STEPS[n]` leads from version `n + 1` to `n + 2`.
const STEPS: &[Step] = &[Step { sql: include_str!("schema/v2.sql"), projections: true }];

/// What the tables of version 2 are in a file of version 1.
const VIEWS_OF_1: &str = include_str!("schema/v1_views.sql");

/// One way from a version to the next.
struct Step {
    sql: &'static str,
    /// The projections are made again from the log.
    projections: bool,
}

/// What a file is, seen from its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing in it.
    Empty,
    /// An archive of this version.
    Archive(i32),
}

/// Looks at the file's header without changing it.
///
/// # Errors
/// [`ArchiveError::NotAnArchive`] for files of others, [`ArchiveError::Newer`] for versions of the future, and what SQLite says.
pub fn inspect(conn: &Connection, path: &Path) -> Result<Found, ArchiveError> {
    inspect_for(conn, path, VERSION)
}

fn inspect_for(conn: &Connection, path: &Path, known: i32) -> Result<Found, ArchiveError> {
    let doing = || format!("read the header of {}", path.display());
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let foreign = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => ArchiveError::NotAnArchive { path: path.to_owned() },
        _ => ArchiveError::sqlite(doing(), e),
    };
    let application = number("application_id").map_err(foreign)?;
    let version = number("user_version").map_err(foreign)?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(foreign)?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Found::Empty);
    }
    if application != APPLICATION_ID || version < 1 {
        return Err(ArchiveError::NotAnArchive { path: path.to_owned() });
    }
    if version > known {
        return Err(ArchiveError::Newer { path: path.to_owned(), found: version, known });
    }
    Ok(Found::Archive(version))
}

/// Makes the tables of a new archive and names its log.
///
/// # Errors
/// What SQLite says (disk full, read-only).
pub fn create(
    conn: &mut Connection,
    path: &Path,
    origin: &str,
    salt: &[u8; 32],
    now: Timestamp,
) -> Result<(), ArchiveError> {
    let doing = || format!("create archive {}", path.display());
    let run = |conn: &mut Connection| -> rusqlite::Result<()> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(SCHEMA)?;
        tx.execute(
            "INSERT INTO meta (id, origin, created_at, dedupe_salt) VALUES (1, ?1, ?2, ?3)",
            (origin, now.micros(), salt),
        )?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", VERSION)?;
        tx.commit()
    };
    run(conn).map_err(|e| ArchiveError::sqlite(doing(), e))
}

/// Leads an older archive to [`VERSION`].
///
/// # Errors
/// What SQLite says; then the file is as the last complete step left it.
pub fn upgrade(conn: &mut Connection, path: &Path, from: i32) -> Result<(), ArchiveError> {
    upgrade_with(conn, path, from, STEPS)
}

fn upgrade_with(conn: &mut Connection, path: &Path, from: i32, steps: &[Step]) -> Result<(), ArchiveError> {
    let done = usize::try_from(from - 1).unwrap_or(0);
    for (step, to) in steps.iter().skip(done).zip(from + 1..) {
        tracing::info!(archive = %path.display(), version = to, "bringing the archive to a newer layout");
        let doing = || format!("upgrade archive {} to version {to}", path.display());
        let run = |conn: &mut Connection| -> Result<(), Trouble> {
            let mut tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(step.sql)?;
            if step.projections {
                fill(&mut tx, path)?;
            }
            tx.pragma_update(None, "user_version", to)?;
            Ok(tx.commit()?)
        };
        run(conn).map_err(|e| e.told(doing))?;
    }
    Ok(())
}

/// Makes the projections again. Where the log has a row that cannot be read they stay as they were, and the new ones
/// begin empty: an old damage must not keep the recorder from recording, and `verify` tells of it.
fn fill(tx: &mut Transaction<'_>, path: &Path) -> Result<(), Trouble> {
    let inner = tx.savepoint()?;
    match projection::rebuild(&inner) {
        Ok(()) => Ok(inner.commit()?),
        Err(Trouble::Other(error @ ArchiveError::Broken { .. })) => {
            tracing::error!(archive = %path.display(), %error, "cannot fill the new projections from the log");
            // Dropping a savepoint rolls it back.
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// Lets a connection that only reads a file of version `found` ask what the newest layout answers.
///
/// # Errors
/// What SQLite says.
pub(super) fn look_newest(conn: &Connection, found: i32) -> rusqlite::Result<()> {
    if found < 2 { conn.execute_batch(VIEWS_OF_1) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        create(&mut conn, Path::new("x"), "o", &[1; 32], Timestamp(5)).unwrap();
        conn
    }

    #[test]
    fn a_new_archive_is_recognised() {
        let conn = Connection::open_in_memory().unwrap();
        assert_eq!(inspect(&conn, Path::new("x")).unwrap(), Found::Empty);
        assert_eq!(inspect(&made(), Path::new("x")).unwrap(), Found::Archive(VERSION));
    }

    #[test]
    fn newer_and_foreign_files_are_refused() {
        let conn = made();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let error = inspect(&conn, Path::new("x")).unwrap_err();
        assert!(matches!(error, ArchiveError::Newer { found, known, .. } if found == VERSION + 1 && known == VERSION));
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE somebody_else (x)").unwrap();
        assert!(matches!(inspect(&conn, Path::new("x")), Err(ArchiveError::NotAnArchive { .. })));
    }

    #[test]
    fn steps_lead_to_the_newest_version_and_stop_at_the_one_that_fails() {
        let step = |sql| Step { sql, projections: false };
        let steps = [
            step("ALTER TABLE gap ADD COLUMN note TEXT"),
            step("CREATE TABLE later (x INTEGER) STRICT"),
            step("broken sql"),
        ];
        let mut conn = made();
        upgrade_with(&mut conn, Path::new("x"), 1, &steps[..2]).unwrap();
        assert_eq!(inspect_for(&conn, Path::new("x"), 3).unwrap(), Found::Archive(3));
        conn.execute("INSERT INTO later VALUES (1)", []).unwrap();
        assert!(upgrade_with(&mut conn, Path::new("x"), 3, &steps).is_err());
        assert_eq!(inspect_for(&conn, Path::new("x"), 4).unwrap(), Found::Archive(3));
        // From the middle only the missing steps run.
        let mut conn = made();
        upgrade_with(&mut conn, Path::new("x"), 1, &steps[..1]).unwrap();
        upgrade_with(&mut conn, Path::new("x"), 2, &steps[..2]).unwrap();
        assert_eq!(inspect_for(&conn, Path::new("x"), 3).unwrap(), Found::Archive(3));
    }

    #[test]
    fn as_many_steps_as_versions() {
        assert_eq!(STEPS.len(), usize::try_from(VERSION - 1).unwrap());
    }

    #[test]
    fn the_log_refuses_update_and_delete() {
        let conn = made();
        conn.execute_batch(
            "INSERT INTO connector VALUES (1, 'sfb', 'ucwa');
             INSERT INTO conversation_id VALUES (1, 'c_x');
             INSERT INTO envelope VALUES (1, 1, 0, NULL, 'GET', 200, NULL, 0, 0, x'', x'', x'', x'');
             INSERT INTO event (seq, connector, conversation, kind, recorded_at, content, leaf)
                 VALUES (1, 1, 1, 'message.sent', 0, x'', x'');
             INSERT INTO content VALUES (1, x'', x'');
             INSERT INTO dedupe VALUES (1, x'00', 1);
             INSERT INTO node VALUES (1, 0, x'');
             INSERT INTO checkpoint VALUES (1, 1, x'', 0, '');
             INSERT INTO alias VALUES (1, 'thread', 'x', 1);",
        )
        .unwrap();
        for (table, column) in [
            ("meta", "origin"),
            ("connector", "name"),
            ("conversation_id", "id"),
            ("envelope", "request"),
            ("event", "kind"),
            ("content", "canonical"),
            ("dedupe", "seq"),
            ("node", "hash"),
            ("checkpoint", "text"),
            ("alias", "conversation"),
        ] {
            for sql in [format!("UPDATE {table} SET {column} = {column}"), format!("DELETE FROM {table}")] {
                let error = conn.execute(&sql, []).unwrap_err().to_string();
                assert!(error.contains("append-only"), "{sql}: {error}");
            }
        }
    }
}
