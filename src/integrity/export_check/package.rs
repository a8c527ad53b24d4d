//! The files of an export: beside a file, in a folder, or in a ZIP archive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::ExportCheckError;

/// Where the files of an export are.
pub(super) enum Package {
    /// One file, its companions beside it under its name.
    File(PathBuf),
    /// All in a folder.
    Folder(PathBuf),
    /// All in a ZIP archive.
    Zip(PathBuf, ZipArchive<Shared>),
}

/// Reads a file, or is told that there is none of the name.
type Reading<'a> = dyn FnMut(Option<&mut dyn Read>) -> Result<(), ExportCheckError> + 'a;

impl Package {
    /// What lies at `path`.
    pub(super) fn at(path: &Path) -> Result<Package, ExportCheckError> {
        if path.is_dir() {
            return Ok(Package::Folder(path.to_owned()));
        }
        let io = |source| ExportCheckError::Io { path: path.to_owned(), source };
        let mut manifest = path.as_os_str().to_owned();
        manifest.push(".manifest.json");
        if Path::new(&manifest).exists() {
            // That the file itself is gone is then a finding.
            return Ok(Package::File(path.to_owned()));
        }
        let mut magic = [0; 4];
        let file = File::open(path).map_err(io)?;
        let is_zip = (&file).read_exact(&mut magic).is_ok() && magic == *b"PK\x03\x04";
        if !is_zip && !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip")) {
            return Ok(Package::File(path.to_owned()));
        }
        let shared = Shared { file: Arc::new(file), at: 0 };
        let archive = ZipArchive::new(shared).map_err(|error| io(error.into()))?;
        Ok(Package::Zip(path.to_owned(), archive))
    }

    /// The name that the manifest gives to what a single file is accompanied by, such as `proofs.jsonl`.
    pub(super) fn companion(&self, name: &str) -> String {
        match self {
            Package::File(path) => format!("{}.{name}", path.file_name().unwrap_or_default().to_string_lossy()),
            _ => name.to_owned(),
        }
    }

    /// Whether something lies here that only accompanies exports.
    pub(super) fn has_companion(&self) -> bool {
        let name = self.companion("proofs.jsonl");
        match self {
            Package::File(_) | Package::Folder(_) => self.place(&name).exists(),
            Package::Zip(_, archive) => archive.index_for_name(&name).is_some(),
        }
    }

    /// Where a file is, for messages.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        match self {
            Package::File(path) => path.with_file_name(name),
            Package::Folder(path) | Package::Zip(path, _) => path.join(name),
        }
    }

    /// Opens a file by the name that the manifest gives it, and lets `reading` have it.
    pub(super) fn with(&self, name: &str, reading: &mut Reading<'_>) -> Result<(), ExportCheckError> {
        let io = |source| ExportCheckError::Io { path: self.place(name), source };
        match self {
            Package::File(_) | Package::Folder(_) if !stays_below(name) => reading(None),
            Package::File(_) | Package::Folder(_) => match File::open(self.place(name)) {
                Ok(mut file) => reading(Some(&mut file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => reading(None),
                Err(error) => Err(io(error)),
            },
            Package::Zip(_, archive) => {
                let mut archive = archive.clone();
                match archive.by_name(name) {
                    Ok(mut file) => reading(Some(&mut file)),
                    Err(zip::result::ZipError::FileNotFound) => reading(None),
                    Err(error) => Err(io(error.into())),
                }
            }
        }
    }

    /// The names of all files there are, if the export has a place of its own.
    pub(super) fn names(&self) -> Result<Option<BTreeSet<String>>, ExportCheckError> {
        match self {
            Package::File(_) => Ok(None),
            Package::Folder(path) => {
                let mut names = BTreeSet::new();
                below(path, "", &mut names).map_err(|source| ExportCheckError::Io { path: path.clone(), source })?;
                Ok(Some(names))
            }
            Package::Zip(path, archive) => {
                let names = archive.file_names().map(|name| name.map(|name| name.into_owned()));
                let names: Result<_, zip::result::ZipError> = names.collect();
                let io =
                    |error: zip::result::ZipError| ExportCheckError::Io { path: path.clone(), source: error.into() };
                names.map(Some).map_err(io)
            }
        }
    }

    /// Whether two files have one name: readers differ in which of them they show.
    pub(super) fn has_name_twice(&self) -> bool {
        matches!(self, Package::Zip(_, archive) if archive.has_duplicate_names())
    }
}

/// A manifest must not lead the check to files of somebody else.
fn stays_below(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn below(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // A link is a file that is not listed, wherever it leads.
        if entry.file_type()?.is_dir() {
            below(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.insert(name);
        }
    }
    Ok(())
}

/// A file that several read, each at a place of its own.
#[derive(Clone)]
pub(super) struct Shared {
    file: Arc<File>,
    at: u64,
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
