//! Exports to files: the format's file, its proofs and its manifest, whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{self, FileEntry, Proofs};
use super::{ExportError, Format, Source, Written};
use crate::integrity::hex;
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

/// A file that is being written: bytes go to `<name>.part`, and are counted and hashed on the way.
struct Draft {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Draft {
    fn new(path: &Path) -> Result<Draft, ExportError> {
        let part = with_suffix(path, ".part");
        let file = File::options().write(true).create_new(true).open(&part);
        let file = file.map_err(|source| ExportError::Io { doing: format!("make {}", part.display()), source })?;
        Ok(Draft {
            path: path.to_owned(),
            part,
            out: BufWriter::with_capacity(1 << 16, file),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    fn finish(&mut self) -> Result<FileEntry, ExportError> {
        let io = |source| ExportError::Io { doing: format!("write {}", self.part.display()), source };
        self.out.flush().map_err(io)?;
        self.out.get_ref().sync_all().map_err(io)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(FileEntry { name, bytes: self.bytes, sha256: hex(&self.hash.clone().finalize()) })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// The manifest beside an export.
pub fn manifest_path(export: &Path) -> PathBuf {
    with_suffix(export, ".manifest.json")
}

/// The proofs beside an export.
pub fn proofs_path(export: &Path) -> PathBuf {
    with_suffix(export, ".proofs.jsonl")
}

/// The names under which an export to `path` is written until it is whole.
pub fn drafts_of(path: &Path) -> [PathBuf; 3] {
    [path, &proofs_path(path), &manifest_path(path)].map(|whole| with_suffix(whole, ".part"))
}

/// Exports to `path`, or to `export.<extension>` in the directory `path`; returns the path of the format's file.
///
/// Nothing is overwritten, and all files appear together, after they are on stable storage. `progress` is told the newest
/// seq and the log's size.
///
/// # Errors
/// [`ExportError::Exists`]; the archive cannot be read or the files not be written, then none is left behind.
pub fn to_file(
    source: &Source<'_>,
    format: &dyn Format,
    path: &Path,
    made: &Made,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(PathBuf, Written), ExportError> {
    let path = if path.is_dir() { path.join(format!("export.{}", format.extension())) } else { path.to_owned() };
    let (proofs, manifest) = (proofs_path(&path), manifest_path(&path));
    for taken in [&path, &proofs, &manifest] {
        if taken.symlink_metadata().is_ok() {
            return Err(ExportError::Exists { path: taken.clone() });
        }
    }
    let mut drafts: Vec<(PathBuf, PathBuf)> = Vec::new();
    let made = write_all(source, format, &path, made, progress, &mut drafts);
    let placed = made.and_then(|written| {
        for (part, whole) in &drafts {
            fs::rename(part, whole)
                .map_err(|source| ExportError::Io { doing: format!("rename {}", part.display()), source })?;
        }
        sync_directory(&path)?;
        Ok(written)
    });
    if placed.is_err() {
        for (part, whole) in &drafts {
            // What was renamed already was ours: none of the names was taken.
            let _ = fs::remove_file(part);
            let _ = fs::remove_file(whole);
        }
    }
    placed.map(|written| (path, written))
}

fn write_all(
    source: &Source<'_>,
    format: &dyn Format,
    path: &Path,
    made: &Made,
    progress: &mut dyn FnMut(u64, u64),
    drafts: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<Written, ExportError> {
    let mut draft = |path: &Path| {
        let draft = Draft::new(path)?;
        drafts.push((draft.part.clone(), draft.path.clone()));
        Ok::<_, ExportError>(draft)
    };
    let mut main = draft(path)?;
    let mut proofs = match format.provable() {
        true => Some((Proofs::new(source.reader())?, draft(&proofs_path(path))?)),
        false => None,
    };
    let trust = manifest::Trust::of(source.reader())?;
    let mut written = Written::default();
    let size = source.size();
    format.write(source, &mut main, &mut |event| {
        written.count(event);
        progress(event.seq.0, size);
        match &mut proofs {
            Some((proofs, out)) => proofs.write(event.seq, trust.size(), out),
            None => Ok(()),
        }
    })?;
    let mut files = vec![main.finish()?];
    if let Some((_, proofs)) = &mut proofs {
        files.push(proofs.finish()?);
    }
    let mut manifest = draft(&manifest_path(path))?;
    manifest::write(&mut manifest, source, format, made, &written, &files, &trust)?;
    manifest.finish()?;
    Ok(written)
}

fn sync_directory(path: &Path) -> Result<(), ExportError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| ExportError::Io { doing: format!("sync directory {}", parent.display()), source })
}
