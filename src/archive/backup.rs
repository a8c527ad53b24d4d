//! A consistent copy of an archive while it is being written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{ArchiveError, Attachments, Layout, Reader, attachments};

/// Pages copied between two looks at the progress: 4 MB.
const STEP: i32 = 1024;

/// Bytes of a page of the database.
const PAGE: u64 = 4096;

/// How far a copy is, in pages of the database, and then in as many bytes of attachments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied.
    pub done: u64,
    /// Pages in all; grows if the archive does.
    pub total: u64,
}

/// Copies the archive in `source` to `target`, which must not exist; returns where the copy lies.
///
/// `target` becomes a directory with `archive.db`, `attachments/`, `checkpoints.txt` and the public keys, ready to be named in a
/// configuration or to `verify --archive`; a path ending in `.db` becomes the database file alone, which only an archive without
/// attachments fits into. Private keys are not copied. Blocks until all is on stable storage. `source` may be written by
/// another process meanwhile: the copy is the state of one moment, and has every attachment that it names (and perhaps a few
/// that are newer).
///
/// # Errors
/// [`ArchiveError::Io`] if `target` exists or cannot be written, and what SQLite says; then nothing is left at `target`.
pub fn backup(source: &Path, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, ArchiveError> {
    let from = Layout::of(source);
    let reader = Reader::open(&from.database)?;
    let as_file = target.extension().is_some_and(|e| e == "db");
    let exists = |path: &Path| ArchiveError::Io {
        doing: format!("back up to {}", path.display()),
        source: std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            "it exists already, and a backup overwrites nothing: name another path",
        ),
    };
    if target.symlink_metadata().is_ok() {
        return Err(exists(target));
    }
    let kept = Attachments::of(&from);
    if as_file {
        // Once more afterwards: the first attachment may have come while the database was copied.
        let fits = || kept.each(&mut |_, _| Err(too_much(target)));
        fits()?;
        let copied = copy_database(&reader, target, progress).and_then(|()| fits()).and_then(|()| sync_parent(target));
        if let Err(error) = copied {
            remove_database(target);
            return Err(error);
        }
        return Ok(target.to_owned());
    }
    let io = |path: &Path| {
        let doing = format!("make directory {}", path.display());
        move |source| ArchiveError::Io { doing, source }
    };
    if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    std::fs::create_dir(target).map_err(io(target))?;
    let to = Layout::of(target);
    let mut run = || -> Result<(), ArchiveError> {
        // Before the database: a checkpoint that is published while pages are copied would speak of events that the copy
        // does not have, and the copy would pass for a cut log.
        copy_file(&from.checkpoints, &to.checkpoints)?;
        let mut database_end = Progress::default();
        copy_database(&reader, &to.database, &mut |now| {
            database_end = now;
            progress(now);
        })?;
        // After it: a file is kept before an event names it, so what the copy names is there by now.
        copy_attachments(&kept, &Attachments::of(&to), database_end, progress)?;
        copy_public_keys(&from.keys, &to.keys)?;
        sync_directory(&to.dir)?;
        sync_parent(target)
    };
    if let Err(error) = run() {
        // The directory is ours: made above, and it did not exist before.
        let _ = std::fs::remove_dir_all(target);
        return Err(error);
    }
    Ok(to.database)
}

fn copy_database(reader: &Reader, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), ArchiveError> {
    let doing = || format!("back up to {}", target.display());
    let sqlite = |e| ArchiveError::sqlite(doing(), e);
    // create_new: a file that appeared meanwhile is not overwritten.
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(target)
        .map_err(|source| ArchiveError::Io { doing: doing(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(target, flags).map_err(sqlite)?;
    {
        // One read transaction around all steps: the copy is of one moment and never has to start again.
        let moment = reader.connection().unchecked_transaction().map_err(sqlite)?;
        moment.query_row("SELECT count(*) FROM meta", [], |_| Ok(())).map_err(sqlite)?;
        let copy = rusqlite::backup::Backup::new(reader.connection(), &mut conn).map_err(sqlite)?;
        loop {
            use rusqlite::backup::StepResult;
            let step = copy.step(STEP).map_err(sqlite)?;
            let now = copy.progress();
            let (total, left) = (u64::try_from(now.pagecount).unwrap_or(0), u64::try_from(now.remaining).unwrap_or(0));
            progress(Progress { done: total.saturating_sub(left), total });
            match step {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => std::thread::sleep(Duration::from_millis(20)),
                _ => {}
            }
        }
    }
    // One file without a write-ahead log beside it: can be read from read-only media.
    conn.pragma_update(None, "journal_mode", "DELETE").map_err(sqlite)?;
    conn.close().map_err(|(_, e)| sqlite(e))?;
    sync_file(target)
}

fn too_much(target: &Path) -> ArchiveError {
    ArchiveError::Io {
        doing: format!("back up to {}", target.display()),
        source: std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "the archive has attachments, which one file cannot hold: name a folder",
        ),
    }
}

fn copy_attachments(
    from: &Attachments,
    to: &Attachments,
    before: Progress,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ArchiveError> {
    let (mut total, mut done) = (0u64, 0u64);
    from.each(&mut |_, size| {
        total = total.saturating_add(size);
        Ok(())
    })?;
    let mut folders = std::collections::BTreeSet::new();
    from.each(&mut |sha256, size| {
        if let (Some(source), Some(target)) = (from.path(sha256), to.path(sha256))
            && let Some(folder) = target.parent()
        {
            attachments::make(folder)?;
            folders.insert(folder.to_owned());
            // A copy, not a hard link: damage to one must not be damage to both.
            copy_file(&source, &target)?;
        }
        done = done.saturating_add(size);
        // What was kept meanwhile was not counted.
        total = total.max(done);
        progress(Progress { done: before.done + done.div_ceil(PAGE), total: before.total + total.div_ceil(PAGE) });
        Ok(())
    })?;
    folders.iter().try_for_each(|folder| sync_directory(folder))?;
    if folders.is_empty() { Ok(()) } else { sync_directory(to.dir()) }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let io = |source| ArchiveError::Io { doing: format!("copy {} to {}", from.display(), to.display()), source };
    match std::fs::copy(from, to) {
        Ok(_) => sync_file(to),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !from.exists() => Ok(()),
        Err(e) => Err(io(e)),
    }
}

/// Everything in `keys/` that names itself public (`*.pub`).
fn copy_public_keys(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ArchiveError::Io { doing: format!("read {}", from.display()), source }),
    };
    for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "pub")) {
        std::fs::create_dir_all(to)
            .map_err(|source| ArchiveError::Io { doing: format!("make directory {}", to.display()), source })?;
        copy_file(&entry.path(), &to.join(entry.file_name()))?;
    }
    if to.exists() { sync_directory(to) } else { Ok(()) }
}

fn sync_file(path: &Path) -> Result<(), ArchiveError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| ArchiveError::Io { doing: format!("sync {}", path.display()), source })
}

fn sync_directory(path: &Path) -> Result<(), ArchiveError> {
    sync_file(path)
}

fn sync_parent(path: &Path) -> Result<(), ArchiveError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn remove_database(path: &Path) {
    let _ = std::fs::remove_file(path);
    for suffix in ["-journal", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{all, assert_tree, batch, open, put, says};
    use super::super::{Archive, CheckpointSigner};
    use super::*;
    use crate::clock::SystemClock;
    use crate::integrity::merkle::Hash;
    use crate::model::Timestamp;

    struct Plain;
    impl CheckpointSigner for Plain {
        fn sign(&self, origin: &str, size: u64, _: &Hash, _: Timestamp) -> String {
            format!("{origin}\n{size}\n")
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_backup_made_while_recording_is_a_whole_archive_that_can_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(&dir.path().join("a"));
        for n in 0..20 {
            put(&archive, batch((0..50).map(|i| says(&format!("{n}-{i}"), 1, "Alice", "a", i)).collect())).await;
        }
        archive.checkpoint(Arc::new(Plain)).await.unwrap().unwrap();
        std::fs::write(archive.layout().keys.join("log.key"), "private").unwrap();
        std::fs::write(archive.layout().keys.join("log.pub"), "public").unwrap();

        let source = dir.path().join("a");
        let target = dir.path().join("deep/copy");
        let (stop, copied) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), target.clone());
        let stopped = stop.clone();
        let copy = tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            let done = backup(&source, &copied, &mut |p| told.push(p));
            stopped.store(true, std::sync::atomic::Ordering::SeqCst);
            (done, told)
        });
        let mut n = 0;
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            put(&archive, batch(vec![says(&format!("more{n}"), 1, "Bob", "b", n)])).await;
            n += 1;
        }
        let (done, told) = copy.await.unwrap();
        assert_eq!(done.unwrap(), target.join("archive.db"));
        let end = told.last().unwrap();
        assert!(end.done == end.total && end.total > 20, "{told:?}");

        let reader = Reader::open(&target).unwrap();
        let size = reader.log_size().unwrap();
        assert!((1000..=archive.reader().unwrap().log_size().unwrap()).contains(&size));
        assert_tree(&reader);
        assert_eq!(reader.latest_checkpoint().unwrap().unwrap().size, 1000);
        let to = Layout::of(&target);
        assert_eq!(std::fs::read(&to.checkpoints).unwrap(), std::fs::read(&archive.layout().checkpoints).unwrap());
        assert!(to.keys.join("log.pub").exists() && !to.keys.join("log.key").exists());

        // Restoring = naming the copy in the configuration.
        let restored = open(&target);
        let told = put(&restored, batch(vec![says("0-0", 1, "Alice", "a", 0), says("new", 1, "Bob", "c", 60)])).await;
        assert_eq!(told.events.iter().map(|e| e.duplicate).collect::<Vec<_>>(), [true, false]);
        assert_eq!(told.events[1].seq.0, size + 1);
        restored.close().await.unwrap();
        archive.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_backup_overwrites_nothing_and_leaves_nothing_after_failure() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a");
        let archive = Archive::open(&source, Arc::new(SystemClock)).unwrap();
        put(&archive, batch(vec![says("1", 1, "Alice", "a", 1)])).await;
        let file = dir.path().join("one.db");
        assert_eq!(backup(&source, &file, &mut |_| {}).unwrap(), file);
        let before = std::fs::read(&file).unwrap();
        for target in [&file, &source] {
            let error = backup(&source, target, &mut |_| {}).unwrap_err().to_string();
            assert!(error.contains("exists already"), "{error}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(all(&Reader::open(&file).unwrap()).len(), 1);

        // checkpoints.txt that cannot be copied makes the backup fail after the database is there.
        std::fs::create_dir(&archive.layout().checkpoints).unwrap();
        let target = dir.path().join("copy");
        assert!(backup(&source, &target, &mut |_| {}).is_err());
        assert!(!target.exists());
        let missing = dir.path().join("missing");
        assert!(matches!(backup(&missing, &target, &mut |_| {}), Err(ArchiveError::Missing { .. })));
        assert!(!target.exists());
    }
}
