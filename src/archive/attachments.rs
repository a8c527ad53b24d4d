//! The bytes of attachments: one file for each content, named after its SHA-256, beside the database.
//!
//! `attachments/ab/abcdef…` holds the file whose hash begins with `ab`. A file gets its name only when all of it is on
//! stable storage, so what bears a name of that form is whole; `attachments/new/` holds what is being written, and what was
//! left there by a process that ended is removed when the archive is opened for writing. The log is what says that a
//! file belongs to it: the event names the hash, and `verify` reads the files and compares.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::{ArchiveError, Layout};
use crate::capture::Kept;
use crate::integrity::hex;

/// Where files are written before they get their name.
const NEW: &str = "new";

/// Numbers the files under way, so that two of the same content do not meet.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The folder with the attachments of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachments {
    dir: PathBuf,
}

impl Attachments {
    /// Those of the archive with this layout; the folder need not exist.
    pub fn of(layout: &Layout) -> Attachments {
        Attachments { dir: layout.attachments.clone() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file with this hash lies, if it is kept. `None` for anything but 64 hex digits in lower case, so that a
    /// name which came from outside leads nowhere else.
    pub fn path(&self, sha256: &str) -> Option<PathBuf> {
        is_name(sha256).then(|| self.dir.join(sha256.get(..2).unwrap_or_default()).join(sha256))
    }

    /// Opens the file with this hash; `None` if it is not kept. Its content is not checked here.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] if it is there and cannot be opened, or is no plain file.
    pub fn open(&self, sha256: &str) -> Result<Option<File>, ArchiveError> {
        let Some(path) = self.path(sha256) else { return Ok(None) };
        let io = |source| ArchiveError::Io { doing: format!("read {}", path.display()), source };
        match path.symlink_metadata() {
            Ok(found) if found.is_file() => File::open(&path).map(Some).map_err(io),
            // A link or a pipe in our folder is not of our making; following it could lead anywhere.
            Ok(_) => Err(io(std::io::Error::new(ErrorKind::InvalidInput, "it is not a plain file"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(error)),
        }
    }

    /// Tells every file that bears the name of a hash: the hash, and its size in bytes. What is being kept meanwhile may be
    /// told or not.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] if a folder cannot be read, and the first error of `take`.
    pub fn each(&self, take: &mut dyn FnMut(&str, u64) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
        for folder in listed(&self.dir)? {
            if folder.file_name().is_none_or(|name| name.len() != 2) || !folder.is_dir() {
                continue;
            }
            for file in listed(&folder)? {
                let name = file.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
                if self.path(name).as_ref() != Some(&file) {
                    continue;
                }
                let io = |source| ArchiveError::Io { doing: format!("read {}", file.display()), source };
                let found = file.symlink_metadata().map_err(io)?;
                if found.is_file() {
                    take(name, found.len())?;
                }
            }
        }
        Ok(())
    }

    /// Keeps these bytes (for [`crate::capture::Sink::keep`]; readers have no way to write); returns when file and name are on stable storage. The same bytes again change nothing; a file
    /// of that name with another size is replaced.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] when they cannot be made durable; then nothing half-written has the name.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<Kept, ArchiveError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let path = self.path(&sha256).unwrap_or_else(|| self.dir.join(&sha256));
        let folder = path.parent().unwrap_or(&self.dir);
        make(&self.dir)?;
        make(folder)?;
        let there = path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == size);
        if !there {
            let new = self.dir.join(NEW);
            make(&new)?;
            let part = new.join(format!("{sha256}.{}", NEXT.fetch_add(1, Ordering::Relaxed)));
            let written = write(&part, bytes).and_then(|()| std::fs::rename(&part, &path));
            if let Err(source) = written {
                let _ = std::fs::remove_file(&part);
                return Err(ArchiveError::Io { doing: format!("write {}", path.display()), source });
            }
        }
        // Also when it was there: whoever put it there may still be waiting for this.
        sync(folder)?;
        sync(&self.dir)?;
        self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)?;
        Ok(Kept { sha256, size })
    }

    /// Removes what a process that ended left half-written. Only for whoever has the archive open for writing.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] if it can be seen but not removed.
    pub(super) fn sweep(&self) -> Result<(), ArchiveError> {
        let new = self.dir.join(NEW);
        match std::fs::remove_dir_all(&new) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ArchiveError::Io { doing: format!("remove what is half-written in {}", new.display()), source })
            }
            _ => Ok(()),
        }
    }
}

/// What is in a folder, by name; nothing if there is no folder.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.sort_unstable();
        Ok(paths)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|source| ArchiveError::Io { doing: format!("read {}", dir.display()), source }),
    }
}

/// 64 hex digits in lower case.
fn is_name(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn make(dir: &Path) -> Result<(), ArchiveError> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .map_err(|source| ArchiveError::Io { doing: format!("make directory {}", dir.display()), source })
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new file is only there after a power cut if its directory is on disk too.
fn sync(dir: &Path) -> Result<(), ArchiveError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| ArchiveError::Io { doing: format!("sync directory {}", dir.display()), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachments(dir: &Path) -> Attachments {
        Attachments::of(&Layout::of(dir))
    }

    fn left(dir: &Path) -> usize {
        std::fs::read_dir(dir.join("attachments/new")).map_or(0, Iterator::count)
    }

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn bytes_are_kept_once_under_their_hash_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        for _ in 0..2 {
            assert_eq!(kept.keep(b"hello").unwrap(), Kept { sha256: HELLO.into(), size: 5 });
        }
        let path = dir.path().join("attachments/2c").join(HELLO);
        assert_eq!(kept.path(HELLO), Some(path.clone()));
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        assert_eq!(left(dir.path()), 0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            for folder in [path.parent().unwrap(), &dir.path().join("attachments"), &dir.path().join("attachments/new")]
            {
                assert_eq!(mode(folder), 0o700);
            }
        }
    }

    #[test]
    fn a_file_of_another_size_is_replaced_and_one_of_the_right_size_left() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        kept.keep(b"hello").unwrap();
        let path = kept.path(HELLO).unwrap();
        for cut in ["", "hell", "hello world"] {
            std::fs::write(&path, cut).unwrap();
            kept.keep(b"hello").unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        }
        std::fs::write(&path, "HELLO").unwrap();
        kept.keep(b"hello").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"HELLO");
    }

    #[test]
    fn names_that_are_no_hash_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        let upper = HELLO.to_uppercase();
        let long = format!("{HELLO}0");
        let climbing = format!("{}{}", "../".repeat(21), "a");
        for name in ["", "new", "../archive.db", &upper, &long, &climbing, "é".repeat(32).as_str()] {
            assert_eq!(kept.path(name), None, "{name}");
            assert!(kept.open(name).unwrap().is_none());
        }
        assert!(kept.open(HELLO).unwrap().is_none());
    }

    #[test]
    fn many_at_once_with_the_same_bytes_all_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| kept.keep(&bytes).unwrap());
            }
        });
        let name = kept.keep(&bytes).unwrap().sha256;
        assert_eq!(std::fs::read(kept.path(&name).unwrap()).unwrap(), bytes);
        assert_eq!(left(dir.path()), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_folder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        kept.keep(b"hello").unwrap();
        let path = kept.path(HELLO).unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hello").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(kept.open(HELLO).unwrap_err().to_string().contains("not a plain file"));
        kept.keep(b"hello").unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_was_left_half_written_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let kept = attachments(dir.path());
        kept.sweep().unwrap();
        kept.keep(b"hello").unwrap();
        std::fs::write(dir.path().join("attachments/new/half.1"), "hel").unwrap();
        kept.sweep().unwrap();
        assert_eq!(left(dir.path()), 0);
        assert!(kept.open(HELLO).unwrap().is_some());
    }
}
