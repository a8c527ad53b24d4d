//! Where a format's bytes go: files with names, each hashed while it is written.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{ExportError, LeftOut};
use crate::integrity::hex;

/// Writes the bytes of one file. Called once.
pub type Body<'a> = dyn FnMut(&mut dyn Write) -> Result<(), ExportError> + 'a;

/// Takes the files of an export, one after the other.
pub trait Files {
    /// Makes the file `name` (relative, `/` between folders; letters, digits and `._-` only) of what `body` writes.
    ///
    /// # Errors
    /// Whatever `body` returns; the file cannot be written; [`ExportError::SeveralFiles`] if there is room for one file only
    /// and this is the second.
    fn file(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError>;

    /// Tells what could not go into the files, for manifest and README. Where there are none, the files say it themselves.
    fn left_out(&mut self, what: LeftOut) {
        let _ = what;
    }
}

/// One file of an export, as its manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Its name: beside the manifest for a single file, else its path below it.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Hex SHA-256 of its bytes.
    pub sha256: String,
}

/// Makes a file of exactly this name.
pub(super) trait Place {
    fn put(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError>;
}

/// [`Files`] in some place, listed with their hashes.
pub(super) struct Packing<'p> {
    pub(super) place: &'p mut dyn Place,
    /// The name of the only file there may be.
    pub(super) only: Option<String>,
    pub(super) entries: Vec<FileEntry>,
    /// What the format told.
    pub(super) left_out: Vec<LeftOut>,
}

impl Packing<'_> {
    /// Makes a file of exactly this name and lists it.
    pub(super) fn put(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError> {
        let mut sum = None;
        self.place.put(name, &mut |out| {
            let mut hashed = Hashed { out, hash: Sha256::new(), bytes: 0 };
            body(&mut hashed)?;
            sum = Some((hashed.bytes, hex(&hashed.hash.finalize())));
            Ok(())
        })?;
        let (bytes, sha256) = sum.unwrap_or_default();
        self.entries.push(FileEntry { name: name.to_owned(), bytes, sha256 });
        Ok(())
    }
}

impl Files for Packing<'_> {
    fn file(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError> {
        match self.only.clone() {
            Some(_) if !self.entries.is_empty() => Err(ExportError::SeveralFiles),
            Some(only) => self.put(&only, body),
            None => {
                if !is_plain(name) {
                    let source = io::Error::new(io::ErrorKind::InvalidInput, "not a name for a file of an export");
                    return Err(ExportError::output(source));
                }
                self.put(name, body)
            }
        }
    }

    fn left_out(&mut self, what: LeftOut) {
        self.left_out.push(what);
    }
}

/// Names that mean the same on every system and can lead nowhere else; the names of companions are ours.
fn is_plain(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 200
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    name.len() <= 1000 && name.split('/').all(part) && !["manifest.json", "proofs.jsonl", "README.txt"].contains(&name)
}

struct Hashed<'w> {
    out: &'w mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed<'_> {
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

/// Bytes and nothing else, for a stream that holds one file.
pub(super) struct Bare<'w> {
    pub(super) out: &'w mut dyn Write,
    pub(super) used: bool,
}

impl Files for Bare<'_> {
    fn file(&mut self, _: &str, body: &mut Body<'_>) -> Result<(), ExportError> {
        if std::mem::replace(&mut self.used, true) {
            return Err(ExportError::SeveralFiles);
        }
        body(self.out)
    }
}

/// Files in a folder; each name may get a suffix.
pub(super) struct Folder<'l> {
    pub(super) dir: PathBuf,
    pub(super) suffix: &'static str,
    /// The files, in the order they were made.
    pub(super) made: &'l mut Vec<PathBuf>,
    /// The export was broken off: no further file.
    pub(super) stopped: &'l AtomicBool,
}

impl Place for Folder<'_> {
    fn put(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError> {
        let path = self.dir.join(format!("{name}{}", self.suffix));
        let io = |source| ExportError::Io { doing: format!("write {}", path.display()), source };
        if self.stopped.load(Ordering::SeqCst) {
            return Err(io(io::ErrorKind::Interrupted.into()));
        }
        if name.contains('/')
            && let Some(parent) = path.parent()
        {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| ExportError::Io { doing: format!("make {}", path.display()), source })?;
        self.made.push(path.clone());
        let mut out = BufWriter::with_capacity(1 << 16, file);
        body(&mut out)?;
        out.flush().map_err(io)
    }
}

/// Files in a ZIP archive; the same files give the same bytes.
pub(super) struct Zipped<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> Zipped<W> {
    pub(super) fn new(zip: ZipWriter<W>) -> Self {
        Zipped { zip }
    }

    pub(super) fn finish(self) -> Result<W, ExportError> {
        self.zip.finish().map_err(zip_error)
    }
}

impl<W: Write + Seek> Place for Zipped<W> {
    fn put(&mut self, name: &str, body: &mut Body<'_>) -> Result<(), ExportError> {
        // No times, one mode, one level: nothing but the files decides the bytes. Sizes are not known before.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(6))
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o644)
            .large_file(true);
        self.zip.start_file(name, options).map_err(zip_error)?;
        let mut out = BufWriter::with_capacity(1 << 15, &mut self.zip);
        body(&mut out)?;
        out.flush().map_err(ExportError::output)
    }
}

fn zip_error(error: zip::result::ZipError) -> ExportError {
    ExportError::output(match error {
        zip::result::ZipError::Io(source) => source,
        other => io::Error::other(other),
    })
}

/// `path` with `suffix` after its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["a.html", "natives/0001.eml", "c_01JD.2026-11-21.eml"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a//b", "a\\b", ".hidden", "a b", "ä", "manifest.json", "a/..", "CON:"]
        {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
