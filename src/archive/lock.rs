//! The advisory lock: two processes never write one archive.
//!
//! The lock is on the open file `lock`, so the system drops it with the process, however that ends. The file's text is
//! the holder's process id, for the message to whoever comes second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::ArchiveError;

/// Holds the archive for this process until dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock of the archive in `dir`.
    ///
    /// # Errors
    /// [`ArchiveError::Locked`] with the other's process id; [`ArchiveError::Io`] if the file cannot be made or locked.
    pub fn take(dir: &Path) -> Result<Lock, ArchiveError> {
        let path = dir.join("lock");
        let io = |source| ArchiveError::Io { doing: format!("lock {}", path.display()), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The text may be half written or missing; the refusal stands all the same.
                let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut text);
                return Err(ArchiveError::Locked { dir: dir.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // The number only helps people; a full disk must not keep the archive from opening for that.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Lock(file))
    }
}

/// Whether a process writes the archive in `dir` now: its id, 0 if the lock file does not tell. Makes nothing.
///
/// # Errors
/// The lock file cannot be opened or locked.
pub fn holder(dir: &Path) -> std::io::Result<Option<u32>> {
    let mut file = match File::open(dir.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        // Given back when the file is closed, at once.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut text);
            Ok(Some(text.trim().parse().unwrap_or(0)))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        let first = Lock::take(dir.path()).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(std::process::id()));
        let error = Lock::take(dir.path()).unwrap_err();
        assert!(matches!(error, ArchiveError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(first);
        assert_eq!(holder(dir.path()).unwrap(), None);
        Lock::take(dir.path()).unwrap();
    }
}
