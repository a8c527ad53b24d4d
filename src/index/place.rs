//! Where an index lies: generations beside the archive, of which one is current.
//!
//! ```text
//! index/lock      held by the process that writes, for as long as it lives
//! index/current   name of the generation that answers, replaced by renaming
//! index/g7/       a generation: the engine's files
//! ```
//!
//! A new generation is filled under its own name and becomes current in one step; whoever has the old one open goes on
//! reading it. Every commit says how far it reaches, in which log, and with which leaf, so that an index that does not
//! belong to the archive beside it is told apart.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{IndexError, schema};
use crate::archive::{Layout, Reader};
use crate::model::Seq;

/// Directory of all generations of one archive's index.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

/// Held while a process writes an index.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Place {
    /// Beside the archive; a database of another name than `archive.db` (a backup) has a place of its own.
    pub(super) fn of(layout: &Layout) -> Place {
        let name = layout.database.file_name().unwrap_or_default();
        if name == "archive.db" {
            return Place { dir: layout.dir.join("index") };
        }
        let mut own = name.to_owned();
        own.push(".index");
        Place { dir: layout.dir.join(own) }
    }

    /// In any directory.
    pub(super) fn at(dir: PathBuf) -> Place {
        Place { dir }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn io<T>(&self, doing: &str, result: io::Result<T>) -> Result<T, IndexError> {
        result.map_err(|source| IndexError::Io { doing: format!("{doing} {}", self.dir.display()), source })
    }

    /// Makes the directory and takes the lock.
    ///
    /// # Errors
    /// [`IndexError::Busy`] if another process has it; what the file system says.
    pub(super) fn lock(&self) -> Result<Lock, IndexError> {
        self.io("make", fs::create_dir_all(&self.dir))?;
        let path = self.dir.join("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = self.io("lock", opened)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(IndexError::Busy { dir: self.dir.clone() }),
            Err(TryLockError::Error(source)) => self.io("lock", Err(source)),
        }
    }

    /// Name of the current generation, if there is one.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn current(&self) -> Result<Option<String>, IndexError> {
        match fs::read_to_string(self.dir.join("current")) {
            Ok(name) => Ok(number_of(name.trim()).map(|number| format!("g{number}"))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(error) => self.io("read the index at", Err(error)),
        }
    }

    /// Path of a generation.
    pub(super) fn generation(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes an empty directory for a new generation. Needs the lock.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn fresh(&self, _lock: &Lock) -> Result<String, IndexError> {
        let newest = self.generations()?.into_iter().max().unwrap_or(0);
        let name = format!("g{}", newest + 1);
        self.io("make a generation in", fs::create_dir(self.dir.join(&name)))?;
        Ok(name)
    }

    /// Makes a generation the current one. Needs the lock.
    ///
    /// # Errors
    /// What the file system says; then the old one is current still.
    pub(super) fn publish(&self, _lock: &Lock, name: &str) -> Result<(), IndexError> {
        let draft = self.dir.join("current.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            fs::rename(&draft, self.dir.join("current"))?;
            File::open(&self.dir)?.sync_all()
        };
        self.io("publish a generation in", write())
    }

    /// Removes every generation but one. Needs the lock. What cannot be removed now is removed at another time.
    pub(super) fn sweep(&self, _lock: &Lock, keep: Option<&str>) {
        for number in self.generations().unwrap_or_default() {
            let name = format!("g{number}");
            if Some(name.as_str()) != keep {
                let _ = fs::remove_dir_all(self.dir.join(name));
            }
        }
    }

    fn generations(&self) -> Result<Vec<u64>, IndexError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return self.io("read", Err(error)),
        };
        Ok(entries.flatten().filter_map(|entry| number_of(entry.file_name().to_str()?)).collect())
    }
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix('g')?.parse().ok()
}

/// What a commit says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// [`schema::VERSION`] of its maker.
    pub(super) version: u32,
    /// Name of the log.
    pub(super) origin: String,
    /// It holds events 1 to this.
    pub(super) reached: u64,
    /// Hex hash of the leaf there; empty for an empty log.
    pub(super) leaf: String,
}

impl Stamp {
    /// For an index of the archive's first `reached` events.
    ///
    /// # Errors
    /// What the archive says.
    pub(super) fn of(reader: &Reader, reached: u64) -> Result<Stamp, IndexError> {
        let leaf = match reached {
            0 => None,
            seq => reader.leaf_hash(Seq(seq))?,
        };
        let leaf = leaf.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default();
        Ok(Stamp { version: schema::VERSION, origin: reader.origin()?, reached, leaf })
    }

    /// Why the index does not belong to this archive as it stands; `None` = it does.
    ///
    /// # Errors
    /// What the archive says.
    pub(super) fn mismatch(&self, reader: &Reader) -> Result<Option<&'static str>, IndexError> {
        if self.version != schema::VERSION {
            return Ok(Some("it was made by another version of this program"));
        }
        if self.reached > reader.log_size()? {
            return Ok(Some("it is ahead of the archive"));
        }
        let expected = Stamp::of(reader, self.reached)?;
        Ok((*self != expected).then_some("it belongs to another log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_becomes_current_and_the_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(dir.path().join("index"));
        let lock = place.lock().unwrap();
        assert!(matches!(place.lock(), Err(IndexError::Busy { .. })));
        assert_eq!(place.current().unwrap(), None);
        let first = place.fresh(&lock).unwrap();
        place.publish(&lock, &first).unwrap();
        let second = place.fresh(&lock).unwrap();
        assert_ne!(first, second);
        assert_eq!(place.current().unwrap().as_deref(), Some(first.as_str()));
        place.publish(&lock, &second).unwrap();
        place.sweep(&lock, Some(&second));
        assert_eq!(place.current().unwrap().as_deref(), Some(second.as_str()));
        assert!(!place.generation(&first).exists() && place.generation(&second).exists());
        fs::write(place.dir().join("current"), "../../etc").unwrap();
        assert_eq!(place.current().unwrap(), None);
    }

    #[test]
    fn backups_side_by_side_do_not_share_an_index() {
        let place = |path: &str| Place::of(&Layout::of(Path::new(path))).dir;
        assert_eq!(place("/a"), Path::new("/a/index"));
        assert_eq!(place("/b/mon.db"), Path::new("/b/mon.db.index"));
        assert_eq!(place("/b/tue.db"), Path::new("/b/tue.db.index"));
    }
}
