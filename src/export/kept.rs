//! The kept files that an export carries: read from the archive's folder, and only if they are what the log says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::ExportError;
use crate::archive::{Attachments, Layout, Reader};
use crate::integrity::hex;
use crate::model::{Attachment, Event};

/// Folder of an export with the files that its events name, each called by its SHA-256.
pub const FOLDER: &str = "attachments";

/// Bytes of kept files, by hash.
pub type Sizes = BTreeMap<String, u64>;

/// The files of an archive, each compared with its hash once.
#[derive(Debug)]
pub struct Shelf {
    attachments: Attachments,
    /// Hash → size in bytes; `None` = missing, or not what was kept.
    known: RefCell<BTreeMap<String, Option<u64>>>,
}

impl Shelf {
    /// Those of the archive that is read.
    pub(super) fn of(reader: &Reader) -> Shelf {
        Shelf { attachments: Attachments::of(&Layout::of(reader.path())), known: RefCell::default() }
    }

    /// Size of the file with this hash, if it is there and is what was kept.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn size(&self, sha256: &str) -> Result<Option<u64>, ExportError> {
        if let Some(known) = self.known.borrow().get(sha256) {
            return Ok(*known);
        }
        let size = match self.attachments.open(sha256)? {
            Some(mut file) => match sum(&mut file).map_err(read_failed)? {
                (size, hash) if hash == sha256 => Some(size),
                _ => None,
            },
            None => None,
        };
        self.known.borrow_mut().insert(sha256.to_owned(), size);
        Ok(size)
    }

    /// Writes the file with this hash; false, and nothing written, if it is missing or not what was kept.
    ///
    /// # Errors
    /// It cannot be read, or `out` not be written.
    pub fn copy(&self, sha256: &str, out: &mut dyn Write) -> Result<bool, ExportError> {
        let Some(mut file) = self.open(sha256)? else { return Ok(false) };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer).map_err(read_failed)?;
            match buffer.get(..read) {
                Some(part) if !part.is_empty() => out.write_all(part).map_err(ExportError::output)?,
                _ => return Ok(true),
            }
        }
    }

    /// The bytes of a file that a message carries; `None` if they are not kept, missing, or not what was kept.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn bytes(&self, attachment: &Attachment) -> Result<Option<Vec<u8>>, ExportError> {
        let Some(sha256) = &attachment.sha256 else { return Ok(None) };
        let mut bytes = Vec::new();
        Ok(self.copy(sha256, &mut bytes)?.then_some(bytes))
    }

    /// Bytes of the files that a message carries, as far as an export can have them.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn weight(&self, attachments: &[Attachment]) -> Result<u64, ExportError> {
        let mut weight = 0u64;
        for sha256 in attachments.iter().filter_map(|attachment| attachment.sha256.as_deref()) {
            weight = weight.saturating_add(self.size(sha256)?.unwrap_or(0));
        }
        Ok(weight)
    }

    /// The sizes of all files of these events that an export can have, by hash.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn sizes(&self, events: &[Event]) -> Result<Sizes, ExportError> {
        let messages = events.iter().filter_map(|event| event.content.message.as_ref());
        let named =
            messages.flat_map(|message| &message.attachments).filter_map(|attachment| attachment.sha256.as_ref());
        let mut sizes = Sizes::new();
        for sha256 in named {
            if let Some(size) = self.size(sha256)? {
                sizes.insert(sha256.clone(), size);
            }
        }
        Ok(sizes)
    }

    fn open(&self, sha256: &str) -> Result<Option<File>, ExportError> {
        if self.size(sha256)?.is_none() {
            return Ok(None);
        }
        let Some(mut file) = self.attachments.open(sha256)? else { return Ok(None) };
        file.seek(SeekFrom::Start(0)).map_err(read_failed)?;
        Ok(Some(file))
    }
}

fn read_failed(source: io::Error) -> ExportError {
    ExportError::Io { doing: "read an attachment of the archive".into(), source }
}

fn sum(file: &mut File) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        size += part.len() as u64;
    }
    Ok((size, hex(&hash.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_what_was_kept_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let attachments = Attachments::of(&Layout::of(dir.path()));
        let large: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let kept: Vec<String> =
            [b"one".as_slice(), &large, b"three"].iter().map(|bytes| attachments.keep(bytes).unwrap().sha256).collect();
        std::fs::write(attachments.path(&kept[2]).unwrap(), "THREE").unwrap();
        let shelf = Shelf { attachments, known: RefCell::default() };
        let told = |sha256: Option<&str>| Attachment { sha256: sha256.map(str::to_owned), ..Attachment::default() };
        for _ in 0..2 {
            assert_eq!(shelf.bytes(&told(Some(&kept[0]))).unwrap().as_deref(), Some(b"one".as_slice()));
            assert_eq!(shelf.bytes(&told(Some(&kept[1]))).unwrap().as_ref(), Some(&large));
            for none in [Some(kept[2].as_str()), Some("../archive.db"), Some(""), None] {
                assert_eq!(shelf.bytes(&told(none)).unwrap(), None, "{none:?}");
            }
        }
        assert_eq!(shelf.weight(&[told(Some(&kept[1])), told(None), told(Some(&kept[2]))]).unwrap(), 200_000);
    }
}
