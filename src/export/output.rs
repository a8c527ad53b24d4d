//! Exports to files: one file with companions beside it, a folder, or a ZIP archive; whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zip::ZipWriter;

use super::files::{Bare, Folder, Packing, Place, Zipped, with_suffix};
use super::manifest::{self, Trust};
use super::proofs::Proofs;
use super::{Container, ExportError, Format, Source, Written, kept, readme};
use crate::model::Timestamp;

/// Who makes an export, when, and with what: the only part of an export that is not decided by the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// When.
    pub at: Timestamp,
    /// The account, for example `alice@host`.
    pub by: String,
    /// Program and version, for example `greffier 0.1.0`.
    pub program: String,
}

/// What lies beside the files of a format.
#[derive(Clone, Copy)]
enum Companion {
    Proofs,
    Readme,
    Manifest,
}

impl Companion {
    const ALL: [Companion; 3] = [Companion::Proofs, Companion::Readme, Companion::Manifest];

    /// Its name; beside a file that is called `only` it begins with that.
    fn name(self, only: Option<&str>) -> String {
        let name = match self {
            Companion::Proofs => "proofs.jsonl",
            Companion::Readme => "README.txt",
            Companion::Manifest => "manifest.json",
        };
        only.map_or_else(|| name.to_owned(), |only| format!("{only}.{name}"))
    }
}

/// Where an export goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// One file, its companions beside it.
    File(PathBuf),
    /// A folder of its own.
    Folder(PathBuf),
    /// A ZIP archive.
    Zip(PathBuf),
}

/// The place of an export, checked to be free.
#[derive(Debug)]
pub struct Output {
    target: Target,
    /// The folder, if it is to be made first; it goes again if nothing comes of the export.
    parent: Option<PathBuf>,
    /// Held while drafts get their names; a clean-up waits for it.
    placing: Arc<Mutex<()>>,
    /// Set by a clean-up: nothing is written any more.
    stopped: Arc<AtomicBool>,
}

/// Folder for drafts inside a folder that is exported to.
const DRAFTS: &str = ".part";

impl Output {
    /// The place that `path` names for this format: `x.zip` is a ZIP archive; an existing folder, or a path that ends in
    /// `/`, is a folder (for a format of one file: `export.<extension>` in it); else one file, which is a ZIP archive if the
    /// format makes several files and the name does not end in its extension.
    ///
    /// # Errors
    /// [`ExportError::Exists`], [`ExportError::NotEmpty`], or the folder cannot be looked into.
    pub fn new(path: &Path, format: &dyn Format) -> Result<Output, ExportError> {
        let ends_in = |end: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(end));
        let folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let target = match format.container() {
            Container::Many if folder => Target::Folder(path.to_owned()),
            Container::One if folder => Target::File(path.join(format!("export.{}", format.extension()))),
            _ if ends_in("zip") => Target::Zip(path.to_owned()),
            Container::Many if !ends_in(format.extension()) => Target::Zip(path.to_owned()),
            _ => Target::File(path.to_owned()),
        };
        let parent = match &target {
            Target::File(_) | Target::Folder(_) if folder && !path.exists() => Some(path.to_owned()),
            _ => None,
        };
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            let source = io::Error::new(
                io::ErrorKind::InvalidInput,
                "its name is not UTF-8, and the manifest could not tell it",
            );
            return Err(ExportError::Io { doing: format!("export to {}", path.display()), source });
        }
        let output = Output { target, parent, placing: Arc::default(), stopped: Arc::default() };
        output.check_free()?;
        Ok(output)
    }

    /// The file or folder that will hold the export.
    pub fn path(&self) -> &Path {
        let (Target::File(path) | Target::Folder(path) | Target::Zip(path)) = &self.target;
        path
    }

    fn check_free(&self) -> Result<(), ExportError> {
        let taken = match &self.target {
            Target::File(path) => {
                let only = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let companions = Companion::ALL.map(|c| path.with_file_name(c.name(Some(&only))));
                // Drafts alone are what an earlier run left.
                let beside = Some(files_beside(path)).filter(|folder| !has_only_drafts(folder));
                std::iter::once(path.clone()).chain(companions).chain(beside).collect()
            }
            Target::Zip(path) => vec![path.clone()],
            Target::Folder(path) => {
                let io = |source| ExportError::Io { doing: format!("look into {}", path.display()), source };
                let entries = match fs::read_dir(path) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(io(error)),
                };
                for entry in entries {
                    if entry.map_err(io)?.file_name() != DRAFTS {
                        return Err(ExportError::NotEmpty { path: path.clone() });
                    }
                }
                Vec::new()
            }
        };
        match taken.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(ExportError::Exists { path }),
            None => Ok(()),
        }
    }

    /// What removes the drafts when the export is broken off from outside (Ctrl-C); waits while they get their names.
    pub fn interruption(&self) -> impl FnOnce() + Send + 'static {
        let (target, placing, stopped) = (self.target.clone(), Arc::clone(&self.placing), Arc::clone(&self.stopped));
        let folder = self.parent.clone();
        move || {
            let _held = placing.lock().unwrap_or_else(PoisonError::into_inner);
            stopped.store(true, Ordering::SeqCst);
            match target {
                Target::File(path) => {
                    let only = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    let companions = Companion::ALL.map(|c| path.with_file_name(c.name(Some(&only))));
                    for whole in std::iter::once(&path).chain(&companions) {
                        let _ = fs::remove_file(with_suffix(whole, DRAFTS));
                    }
                    let _ = remove_drafts(&files_beside(&path));
                }
                Target::Zip(path) => drop(fs::remove_file(with_suffix(&path, DRAFTS))),
                Target::Folder(path) => {
                    // A file that was about to be made when writing was stopped may appear while the others go.
                    let drafts = path.join(DRAFTS);
                    for _ in 0..100 {
                        let _ = fs::remove_dir_all(&drafts);
                        if !drafts.exists() {
                            break;
                        }
                    }
                }
            }
            if let Some(folder) = folder {
                // Only if nothing is in it.
                let _ = fs::remove_dir(folder);
            }
        }
    }

    /// Writes the export. All its files get their names together, after they are on stable storage; what an earlier run
    /// that was killed left behind is removed first. `progress` is told the number of events written and of those to come.
    ///
    /// # Errors
    /// [`ExportError::Exists`], [`ExportError::Busy`], [`ExportError::SeveralFiles`]; the archive cannot be read or the files
    /// not be written, then none is left behind.
    pub fn write(
        &self,
        source: &Source<'_>,
        format: &dyn Format,
        made: &Made,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Written, ExportError> {
        self.check_free()?;
        if let Some(parent) = &self.parent {
            fs::create_dir_all(parent)
                .map_err(|source| ExportError::Io { doing: format!("make folder {}", parent.display()), source })?;
        }
        let mut drafts =
            Drafts { target: &self.target, stopped: &self.stopped, files: Vec::new(), lock: None, new_folder: false };
        let written = drafts.write(source, format, made, progress);
        let _held = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let placed = match self.stopped.load(Ordering::SeqCst) {
            true => Err(ExportError::output(io::ErrorKind::Interrupted.into())),
            false => written.and_then(|written| drafts.place().map(|()| written)),
        };
        if placed.is_err() {
            drafts.discard();
            if let Some(parent) = &self.parent {
                // Only if nothing is in it.
                let _ = fs::remove_dir(parent);
            }
        }
        placed
    }
}

struct Drafts<'t> {
    target: &'t Target,
    stopped: &'t AtomicBool,
    /// Drafts, in the order they were made.
    files: Vec<PathBuf>,
    /// Keeps a second export away from the same place.
    lock: Option<File>,
    /// The folder was made by us.
    new_folder: bool,
}

impl Drafts<'_> {
    fn write(
        &mut self,
        source: &Source<'_>,
        format: &dyn Format,
        made: &Made,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Written, ExportError> {
        let io = |doing: &str, path: &Path| {
            let doing = format!("{doing} {}", path.display());
            move |source| ExportError::Io { doing, source }
        };
        match self.target {
            Target::File(path) => {
                let only = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let dir = path.parent().map(Path::to_owned).unwrap_or_default();
                let held = with_suffix(path, DRAFTS);
                let file = File::options().append(true).create(true).open(&held).map_err(io("make", &held))?;
                self.lock = Some(locked(file, path)?);
                // Ours now: whoever left them is gone.
                for whole in std::iter::once(path.clone()).chain(Companion::ALL.map(|c| dir.join(c.name(Some(&only)))))
                {
                    remove(&with_suffix(&whole, DRAFTS))?;
                }
                let beside = files_beside(path);
                remove_drafts(&beside).map_err(io("remove drafts in", &beside))?;
                let mut folder = Folder { dir, suffix: DRAFTS, made: &mut self.files, stopped: self.stopped };
                package(source, format, &mut folder, Some(only), made, progress)
            }
            Target::Zip(path) => {
                let held = with_suffix(path, DRAFTS);
                let file = File::options().append(true).create(true).open(&held).map_err(io("make", &held))?;
                self.lock = Some(locked(file, path)?);
                remove(&held)?;
                let file = File::options().write(true).create_new(true).open(&held).map_err(io("make", &held))?;
                self.files.push(held);
                let mut zipped = Zipped::new(ZipWriter::new(BufWriter::with_capacity(1 << 16, file)));
                let written = package(source, format, &mut zipped, None, made, progress)?;
                zipped.finish()?.flush().map_err(ExportError::output)?;
                Ok(written)
            }
            Target::Folder(path) => {
                self.new_folder = !path.exists();
                fs::create_dir_all(path).map_err(io("make folder", path))?;
                let dir = path.join(DRAFTS);
                self.lock = Some(locked(File::open(path).map_err(io("open folder", path))?, path)?);
                match fs::remove_dir_all(&dir) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove", &dir)(error)),
                    _ => fs::create_dir(&dir).map_err(io("make folder", &dir))?,
                }
                let mut folder = Folder { dir, suffix: "", made: &mut self.files, stopped: self.stopped };
                package(source, format, &mut folder, None, made, progress)
            }
        }
    }

    /// Brings the drafts to stable storage and gives them their names.
    fn place(&self) -> Result<(), ExportError> {
        for part in &self.files {
            let synced = File::open(part).and_then(|file| file.sync_all());
            synced.map_err(|source| ExportError::Io { doing: format!("write {}", part.display()), source })?;
        }
        for (part, whole) in self.names()? {
            fs::rename(&part, &whole)
                .map_err(|source| ExportError::Io { doing: format!("rename {}", part.display()), source })?;
        }
        match self.target {
            Target::Folder(path) => {
                let drafts = path.join(DRAFTS);
                fs::remove_dir(&drafts)
                    .map_err(|source| ExportError::Io { doing: format!("remove {}", drafts.display()), source })?;
                let below = path.join(kept::FOLDER);
                if below.is_dir() {
                    sync_folder(&below)?
                };
                sync_folder(path)
            }
            Target::File(path) | Target::Zip(path) => {
                let beside = files_beside(path);
                if beside.is_dir() {
                    sync_folder(&beside)?
                };
                sync_folder(path.parent().unwrap_or(Path::new("")))
            }
        }
    }

    /// Each draft with the name it gets.
    fn names(&self) -> Result<Vec<(PathBuf, PathBuf)>, ExportError> {
        match self.target {
            Target::Folder(path) => {
                let drafts = path.join(DRAFTS);
                let io = |source| ExportError::Io { doing: format!("look into {}", drafts.display()), source };
                let entries = fs::read_dir(&drafts).map_err(io)?;
                let names = entries.map(|entry| {
                    let entry = entry.map_err(io)?;
                    Ok((entry.path(), path.join(entry.file_name())))
                });
                names.collect()
            }
            _ => Ok(self.files.iter().map(|part| (part.clone(), part.with_extension(""))).collect()),
        }
    }

    /// Removes everything that was made: none of the names was taken before.
    fn discard(&self) {
        match self.target {
            Target::Folder(path) => {
                for top in self.files.iter().filter_map(|part| {
                    let below = part.strip_prefix(path.join(DRAFTS)).ok()?;
                    below.components().next().map(|first| path.join(first))
                }) {
                    let _ = if top.is_dir() { fs::remove_dir_all(&top) } else { fs::remove_file(&top) };
                }
                if self.lock.is_some() {
                    let _ = fs::remove_dir_all(path.join(DRAFTS));
                }
                if self.new_folder {
                    let _ = fs::remove_dir(path);
                }
            }
            Target::File(path) | Target::Zip(path) => {
                for part in &self.files {
                    let _ = fs::remove_file(part);
                    let _ = fs::remove_file(part.with_extension(""));
                }
                // Only if nothing is in it.
                let _ = fs::remove_dir(files_beside(path));
                if self.lock.is_some() {
                    let _ = fs::remove_file(with_suffix(path, DRAFTS));
                }
            }
        }
    }
}

/// Takes the place of an export to `path` for ourselves.
fn locked(file: File, path: &Path) -> Result<File, ExportError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExportError::Busy { path: path.to_owned() }),
        // A file system without locks: then two exports at once are the user's to avoid.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ExportError::Io { doing: format!("remove {}", path.display()), source })
        }
        _ => Ok(()),
    }
}

/// The folder with the kept files that stands beside the one file of an export.
fn files_beside(path: &Path) -> PathBuf {
    with_suffix(path, &format!(".{}", kept::FOLDER))
}

fn is_draft(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(DRAFTS.as_bytes()))
}

/// Whether there is nothing at this place but a folder of drafts, or nothing at all.
fn has_only_drafts(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(entries) => entries.into_iter().all(|entry| entry.is_ok_and(|entry| is_draft(&entry.path()))),
        Err(_) => folder.symlink_metadata().is_err(),
    }
}

/// Removes drafts, and their folder if nothing else is in it.
fn remove_drafts(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if is_draft(&path) {
            fs::remove_file(path)?;
        }
    }
    let _ = fs::remove_dir(folder);
    Ok(())
}

fn sync_folder(dir: &Path) -> Result<(), ExportError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| ExportError::Io { doing: format!("sync folder {}", dir.display()), source })
}

/// Writes the format's files and what accompanies them.
fn package(
    source: &Source<'_>,
    format: &dyn Format,
    place: &mut dyn Place,
    only: Option<String>,
    made: &Made,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, ExportError> {
    // The checkpoint is newer than the selection at most: proofs lead to what the manifest shows.
    let trust = Trust::of(source.reader())?;
    let name = |companion: Companion| companion.name(only.as_deref());
    let mut packing = Packing { place, only: only.clone(), entries: Vec::new(), left_out: Vec::new() };
    let mut written = counted(source, progress, &mut |seen| format.write_files(source, &mut packing, seen))?;
    written.left_out = std::mem::take(&mut packing.left_out);
    let folder = only.as_ref().map_or_else(|| kept::FOLDER.to_owned(), |only| format!("{only}.{}", kept::FOLDER));
    for sha256 in &written.kept {
        if source.shelf().size(sha256)?.is_none() {
            written.lost += 1;
        } else if !format.carries_files() {
            packing.put(&format!("{folder}/{sha256}"), &mut |out| match source.shelf().copy(sha256, out)? {
                true => Ok(()),
                false => Err(ExportError::output(io::Error::other("an attachment went during the export"))),
            })?;
        }
    }
    packing.put(&name(Companion::Proofs), &mut |out| {
        let mut proofs = Proofs::new(source.reader(), format.provable())?;
        written.seqs.iter().try_for_each(|seq| proofs.write(seq, trust.size(), out))
    })?;
    let files = packing.entries.clone();
    packing.put(&name(Companion::Readme), &mut |out| readme::write(out, source, format, &written, &files, &trust))?;
    let files = packing.entries.clone();
    packing.put(&name(Companion::Manifest), &mut |out| {
        manifest::write(out, source, format, made, &written, &files, &trust)
    })?;
    Ok(written)
}

/// Runs `write` and counts the events that it tells.
fn counted(
    source: &Source<'_>,
    progress: &mut dyn FnMut(u64, u64),
    write: &mut dyn FnMut(&mut super::Seen<'_>) -> Result<(), ExportError>,
) -> Result<Written, ExportError> {
    let mut written = Written::default();
    let total = source.total();
    write(&mut |event| {
        written.count(event);
        progress(written.events, total);
        Ok(())
    })?;
    written.seal();
    Ok(written)
}

/// Exports to the place that `path` names (see [`Output::new`]); returns the file or folder that holds the export.
///
/// # Errors
/// As [`Output::new`] and [`Output::write`].
pub fn to_file(
    source: &Source<'_>,
    format: &dyn Format,
    path: &Path,
    made: &Made,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(PathBuf, Written), ExportError> {
    let output = Output::new(path, format)?;
    let written = output.write(source, format, made, progress)?;
    Ok((output.path().to_owned(), written))
}

/// Writes only the format's bytes, for standard output and HTTP; `progress` is told the number of events written and of
/// those to come.
///
/// # Errors
/// The archive cannot be read or the output not be written; [`ExportError::SeveralFiles`] if more than one file would come
/// of it, before anything is written: [`to_zip`] holds any number.
pub fn to_writer(
    source: &Source<'_>,
    format: &dyn Format,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, ExportError> {
    if format.container() == Container::Many {
        // Whether there is a second file shows when it begins.
        let mut nowhere = io::sink();
        format.write_files(source, &mut Bare { out: &mut nowhere, used: false }, &mut |_| Ok(()))?;
    }
    let mut bare = Bare { out, used: false };
    let written = counted(source, progress, &mut |seen| format.write_files(source, &mut bare, seen))?;
    out.flush().map_err(ExportError::output)?;
    Ok(written)
}

/// Writes the whole export as one ZIP archive to a stream: the format's files, proofs, README and manifest.
///
/// # Errors
/// The archive cannot be read or the output not be written.
pub fn to_zip(
    source: &Source<'_>,
    format: &dyn Format,
    made: &Made,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, ExportError> {
    let mut zipped = Zipped::new(ZipWriter::new_stream(out));
    let written = package(source, format, &mut zipped, None, made, progress)?;
    zipped.finish()?.into_inner().flush().map_err(ExportError::output)?;
    Ok(written)
}
