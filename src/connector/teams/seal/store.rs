//! The folder of key pairs: one file each, `<time>-<id>.pem` with certificate and private key, the newest in use.
//!
//! Files are written whole or not at all, mode 0600 in a folder of mode 0700, and never deleted. Another process may add
//! one (`greffier rotate-keys`): [`KeyStore::reload`] finds it. A file that cannot be read is said and left alone.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::NaiveDateTime;
use zeroize::Zeroizing;

use super::Pair;
use crate::connector::secret::Secret;
use crate::model::Timestamp;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No random numbers.
    #[error("cannot make a key pair for encrypted notifications: the system gives no random numbers")]
    Random,
}

impl StoreError {
    fn io(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
        let doing = format!("{doing} {}", path.display());
        move |source| StoreError::Io { doing, source }
    }
}

/// What was noticed about a file of the folder; nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the folder.
    pub path: PathBuf,
    /// What is wrong and what to do, one clause.
    pub text: String,
}

/// All pairs of one connector.
#[derive(Debug)]
pub struct KeyStore {
    folder: PathBuf,
    shelf: Shelf,
    current: Arc<Pair>,
}

/// What was read of the folder.
#[derive(Debug, Default)]
struct Shelf {
    /// By file name.
    files: HashMap<String, Arc<Pair>>,
    by_id: HashMap<String, Arc<Pair>>,
    /// Files that could not be read, and what they were like then.
    skipped: HashMap<String, Option<(u64, SystemTime)>>,
    problems: BTreeMap<PathBuf, String>,
}

impl KeyStore {
    /// Opens the folder, which is made if it is missing; makes the first pair if there is none that can be read.
    pub fn open(folder: impl Into<PathBuf>, now: Timestamp) -> Result<KeyStore, StoreError> {
        let folder = folder.into();
        make_private(&folder)?;
        let mut shelf = Shelf::default();
        shelf.read(&folder)?;
        let current = match shelf.newest() {
            Some(pair) => pair,
            None => shelf.add(&folder, now)?,
        };
        Ok(KeyStore { folder, shelf, current })
    }

    /// Reads the folder as it is and makes nothing; `None` if it holds no pair that can be read.
    pub fn look(folder: impl Into<PathBuf>) -> Result<Option<KeyStore>, StoreError> {
        let folder = folder.into();
        let mut shelf = Shelf::default();
        shelf.read(&folder)?;
        Ok(shelf.newest().map(|current| KeyStore { folder, shelf, current }))
    }

    /// The pair that new subscriptions use.
    pub fn current(&self) -> &Arc<Pair> {
        &self.current
    }

    /// The pair of an `encryptionCertificateId`.
    pub fn by_id(&self, id: &str) -> Option<Arc<Pair>> {
        self.shelf.by_id.get(id).cloned()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.shelf.by_id.len()
    }

    /// Never: opening makes the first pair.
    pub fn is_empty(&self) -> bool {
        self.shelf.by_id.is_empty()
    }

    /// When the current pair was made, by its file name.
    pub fn current_since(&self) -> Option<Timestamp> {
        let newest = self.shelf.files.iter().filter(|(_, pair)| pair.id() == self.current.id());
        newest.filter_map(|(name, _)| time_of(name)).max()
    }

    /// Makes a new pair and a file for it; it is current from then on, whatever the clock says.
    pub fn rotate(&mut self, now: Timestamp) -> Result<Arc<Pair>, StoreError> {
        self.current = self.shelf.add(&self.folder, now)?;
        Ok(self.current.clone())
    }

    /// Looks for new files; whether another pair is current now. Reads nothing but names when nothing changed. Pairs
    /// whose file has gone stay.
    pub fn reload(&mut self) -> Result<bool, StoreError> {
        self.shelf.read(&self.folder)?;
        let newest = self.shelf.newest().filter(|newest| newest.id() != self.current.id());
        let changed = newest.is_some();
        if let Some(newest) = newest {
            self.current = newest;
        }
        Ok(changed)
    }

    /// What is wrong in the folder, by path.
    pub fn problems(&self) -> Vec<Problem> {
        let problems = self.shelf.problems.iter();
        problems.map(|(path, text)| Problem { path: path.clone(), text: text.clone() }).collect()
    }
}

impl Shelf {
    /// Reads what is new in the folder.
    fn read(&mut self, folder: &Path) -> Result<(), StoreError> {
        let entries = fs::read_dir(folder).map_err(StoreError::io("read", folder))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.ends_with(".pem") || name.starts_with('.') || self.files.contains_key(&name) {
                continue;
            }
            let path = entry.path();
            let look = fs::metadata(&path).ok().and_then(|file| Some((file.len(), file.modified().ok()?)));
            if self.skipped.get(&name).is_some_and(|before| *before == look) {
                continue;
            }
            match read_pair(&path) {
                Ok(pair) => {
                    self.skipped.remove(&name);
                    self.problems.remove(&path);
                    self.place(name, pair);
                }
                Err(text) => {
                    self.skipped.insert(name, look);
                    self.problems.insert(path.clone(), text);
                }
            }
            self.look_at_mode(&path, 0o600);
        }
        self.look_at_mode(folder, 0o700);
        Ok(())
    }

    /// A pair that others may read is used all the same: what was sealed for it would be lost otherwise.
    fn look_at_mode(&mut self, path: &Path, wanted: u32) {
        #[cfg(unix)]
        if let Ok(found) = fs::metadata(path) {
            let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777;
            if mode & 0o077 != 0 {
                let text = format!("has mode {mode:04o}, others may get at the keys: chmod {wanted:o} it");
                self.problems.entry(path.to_owned()).or_insert(text);
            } else if path.is_dir() {
                self.problems.remove(path);
            }
        }
        #[cfg(not(unix))]
        let _ = (path, wanted);
    }

    fn place(&mut self, name: String, pair: Pair) -> Arc<Pair> {
        let pair = Arc::new(pair);
        self.by_id.insert(pair.id().to_owned(), pair.clone());
        self.files.insert(name, pair.clone());
        pair
    }

    fn newest(&self) -> Option<Arc<Pair>> {
        let newest = self.files.iter().max_by_key(|(name, _)| (time_of(name), *name));
        newest.map(|(_, pair)| pair.clone())
    }

    /// Makes a pair whose file is the newest.
    fn add(&mut self, folder: &Path, now: Timestamp) -> Result<Arc<Pair>, StoreError> {
        let newest = self.files.keys().filter_map(|name| time_of(name)).max();
        // A clock that was put back must not make the new pair an old one.
        let time = newest.map_or(now, |newest| now.max(newest.plus(Duration::from_millis(1))));
        let (pair, text) = Pair::generate(now).ok_or(StoreError::Random)?;
        let name = format!("{}-{}.pem", time.to_chrono().format(TIME), pair.id());
        write_whole(folder, &name, &text)?;
        Ok(self.place(name, pair))
    }
}

/// The time at the beginning of a file name: UTC, milliseconds.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";

/// `None` for files that somebody named otherwise: they open what was sealed for them and are never the newest.
fn time_of(name: &str) -> Option<Timestamp> {
    let (time, _) = name.split_once('-')?;
    NaiveDateTime::parse_from_str(time, TIME).ok().map(|time| Timestamp::from(time.and_utc()))
}

/// The pair in a file, or what is wrong with it.
fn read_pair(path: &Path) -> Result<Pair, String> {
    let text = fs::read(path).map(Zeroizing::new).map_err(|error| format!("cannot be read: {error}"))?;
    Pair::from_pem(&text).map_err(|problem| {
        format!("is not a key pair ({problem}): restore it from a backup, notifications sealed for it cannot be opened")
    })
}

/// Makes the folder, durable, if it is not there.
fn make_private(folder: &Path) -> Result<(), StoreError> {
    let builder = |recursive| {
        let mut builder = DirBuilder::new();
        builder.recursive(recursive);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
    };
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // Before the first `serve` these are the archive's own folders, and nobody else's business either.
        builder(true).create(parent).map_err(StoreError::io("make", parent))?;
    }
    match builder(false).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        Err(error) => return Err(StoreError::io("make", folder)(error)),
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(parent)
}

/// Writes a file that is either missing or whole, also after a power cut.
fn write_whole(folder: &Path, name: &str, text: &Secret) -> Result<(), StoreError> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}.{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&draft)
        .and_then(|mut file| file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        // What is left of a key must not lie about; it may not even be there.
        let _ = fs::remove_file(&draft);
    }
    written.map_err(StoreError::io("write", &path))?;
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    fs::File::open(folder).and_then(|opened| opened.sync_all()).map_err(StoreError::io("make durable", folder))
}

#[cfg(test)]
mod tests;
