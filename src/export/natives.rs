//! What load files share: every slice as a native (RSMF) and a text file, numbered, with the hashes that name them.

pub mod slipsheet;

use std::io::{self, Write};

use md5::Md5;
use sha2::{Digest, Sha256};

use super::slice::people::listed;
use super::slice::{Limits, Slice, each_slice, plain, zone_of};
use super::{ExportError, Files, Seen, Source, rsmf};
use crate::harmless::one_line;
use crate::integrity::hex;
use crate::model::ConversationId;

/// One file as a load file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Its size.
    pub bytes: u64,
    /// Its MD5, by which load files know it; nothing is trusted to it.
    pub md5: [u8; 16],
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// The two files of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// `NATIVE/<id>.rsmf`.
    pub native: Sum,
    /// `TEXT/<id>.txt`.
    pub text: Sum,
}

/// Everything that is known once the files are written. 112 bytes for a document, and some 90 for a conversation.
#[derive(Debug, Default)]
pub struct Written {
    /// In the order of the slices.
    pub documents: Vec<Document>,
    /// Conversation and the number of its documents, in the same order; `None` = events of no conversation.
    pub rooms: Vec<(Option<ConversationId>, u32)>,
}

/// The id of the n-th document, from 0: `GRF00000001`.
pub fn id_of(place: usize) -> String {
    format!("GRF{:08}", place + 1)
}

/// Writes the files and tells `seen` every event.
///
/// # Errors
/// The archive cannot be read or the files not be written.
pub fn write(source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<Written, ExportError> {
    let mut written = Written::default();
    let custodian = source.selection().participant.as_deref();
    each_slice(source, zone_of(source), Limits::default().with_files(), &mut |slice| {
        let id = id_of(written.documents.len());
        let native = summed(files, &format!("NATIVE/{id}.rsmf"), &mut |out| {
            rsmf::write_slice(slice, custodian, source.shelf(), out)
        })?;
        let text = plain::transcript(slice);
        let text = summed(files, &format!("TEXT/{id}.txt"), &mut |out| {
            out.write_all(text.as_bytes()).map_err(ExportError::output)
        })?;
        written.documents.push(Document { native, text });
        let room = slice.room.conversation.as_ref().map(|conversation| conversation.id.clone());
        match written.rooms.last_mut() {
            Some((last, count)) if *last == room => *count += 1,
            _ => written.rooms.push((room, 1)),
        }
        slice.events.iter().try_for_each(&mut *seen)
    })?;
    Ok(written)
}

/// Goes through the same slices again, each with its id and its files: the rows of a load file come after the files that
/// they name, and are too many to be kept.
///
/// # Errors
/// The archive cannot be read, or `take` fails.
pub fn again(
    source: &Source<'_>,
    written: &Written,
    take: &mut dyn FnMut(&str, &Document, &Slice) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut place = 0;
    each_slice(source, zone_of(source), Limits::default().with_files(), &mut |slice| {
        let document = written.documents.get(place).ok_or_else(|| {
            ExportError::output(io::Error::other("the archive changed between the files and their load file"))
        })?;
        take(&id_of(place), document, slice)?;
        place += 1;
        Ok(())
    })
}

/// Whom the documents come from: the person selected for, else the recorder.
pub fn custodian(source: &Source<'_>, slice: &Slice) -> String {
    match &source.selection().participant {
        Some(person) => one_line(person),
        None => rsmf::recorder(slice).name.unwrap_or_default(),
    }
}

/// Names of everybody in a slice, `;` between them.
pub fn people(slice: &Slice) -> String {
    let mut people = super::slice::People::default();
    for person in slice.roster.iter().chain(slice.acting.iter()) {
        people.add(&person.id, person.name.as_deref().map(|name| name.replace(';', ",")).as_deref());
    }
    listed(people.list.iter(), ";", 20_000)
}

fn summed(
    files: &mut dyn Files,
    name: &str,
    body: &mut dyn FnMut(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<Sum, ExportError> {
    let mut sum = Sum { bytes: 0, md5: [0; 16], sha256: [0; 32] };
    files.file(name, &mut |out| {
        let mut summing = Summing { out, bytes: 0, md5: Md5::new(), sha256: Sha256::new() };
        body(&mut summing)?;
        sum =
            Sum { bytes: summing.bytes, md5: summing.md5.finalize().into(), sha256: summing.sha256.finalize().into() };
        Ok(())
    })?;
    Ok(sum)
}

impl Sum {
    /// The MD5 in hexadecimal.
    pub fn md5_hex(&self) -> String {
        hex(&self.md5)
    }

    /// The SHA-256 in hexadecimal.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

struct Summing<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
    md5: Md5,
    sha256: Sha256,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.sha256.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
