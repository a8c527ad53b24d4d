//! What an export says about itself, and the proofs of its events. Byte by byte in `docs/FORMATS.md`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

use serde::Serialize;

use super::file::Made;
use super::{ExportError, Format, Source, Written};
use crate::archive::reader::LeafRow;
use crate::archive::{ArchiveError, Layout, Reader};
use crate::capture::coverage::Statement as Coverage;
use crate::integrity::checkpoint::{Note, Statement, VerifyingKey};
use crate::integrity::hex;
use crate::integrity::merkle::{Hash, Nodes, inclusion_proof};
use crate::model::{ConversationId, Gap, Seq};

/// One file of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Its name, without directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Hex SHA-256 of its bytes.
    pub sha256: String,
}

/// What the proofs of an export lead to: the newest checkpoint of the archive, and the key that signed it.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    checkpoint: Option<(u64, String)>,
    public_key: Option<String>,
}

impl Trust {
    /// Of an archive as it stands.
    ///
    /// # Errors
    /// The archive cannot be read. Key files that cannot be read only mean that the manifest names no key.
    pub fn of(reader: &Reader) -> Result<Trust, ExportError> {
        let Some(checkpoint) = reader.latest_checkpoint()? else { return Ok(Trust::default()) };
        let keys = VerifyingKey::load_all(&Layout::of(reader.path()).keys).unwrap_or_default();
        let note = Note::parse(&checkpoint.text);
        let signer = keys.iter().find(|key| {
            note.as_ref().is_ok_and(|note| {
                let said: Result<Statement, _> = note.verify(std::slice::from_ref(*key));
                said.is_ok()
            })
        });
        Ok(Trust { checkpoint: Some((checkpoint.size, checkpoint.text)), public_key: signer.map(ToString::to_string) })
    }

    /// Number of events that the checkpoint covers; 0 without one.
    pub fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(size, _)| *size)
    }
}

#[derive(Serialize)]
struct ConversationEntry<'a> {
    id: &'a ConversationId,
    connector: String,
    platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(flatten)]
    coverage: Option<Coverage>,
}

#[derive(Serialize)]
struct GapEntry<'a> {
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a ConversationId>,
    #[serde(flatten)]
    gap: &'a Gap,
}

/// Writes the manifest: one JSON object, a member per line, list entries on lines of their own.
pub(super) fn write(
    out: &mut dyn Write,
    source: &Source<'_>,
    format: &dyn Format,
    made: &Made,
    written: &Written,
    files: &[FileEntry],
    trust: &Trust,
) -> Result<(), ExportError> {
    let mut members = Members { out, first: true };
    members.put("greffier_export", &1)?;
    members.put("origin", &source.reader().origin()?)?;
    members.put("format", &format.name())?;
    members.put("selection", source.selection())?;
    members.put("made", made)?;
    members.put("log_size", &source.size())?;
    members.put("events", &written.events)?;
    if let Some((first, last)) = written.span {
        members.put("first_seq", &first)?;
        members.put("last_seq", &last)?;
    }
    members.put("kinds", &written.kinds)?;
    members.put_list("files", files.iter().map(Ok))?;
    if let Some((size, note)) = &trust.checkpoint {
        members.put("checkpoint_size", size)?;
        members.put("checkpoint", note)?;
    }
    if let Some(key) = &trust.public_key {
        members.put("public_key", key)?;
    }
    let reader = source.reader();
    let conversations = written.conversations.iter().map(|id| {
        let found = reader.conversation(id)?;
        let coverage = reader.coverage_of(id)?;
        let (connector, platform, subject) = found.map(|c| (c.connector, c.platform, c.subject)).unwrap_or_default();
        Ok(ConversationEntry { id, connector, platform, subject, coverage })
    });
    members.put_list("conversations", conversations)?;
    let gaps = written.gaps.iter();
    members.put_list("gaps", gaps.map(|(seq, id, gap)| Ok(GapEntry { seq: *seq, conversation: id.as_ref(), gap })))?;
    members.finish()
}

struct Members<'w> {
    out: &'w mut dyn Write,
    first: bool,
}

impl Members<'_> {
    fn name(&mut self, name: &str) -> Result<(), ExportError> {
        let before = if std::mem::take(&mut self.first) { "{\n" } else { ",\n" };
        write!(self.out, "{before} \"{name}\": ").map_err(ExportError::output)
    }

    fn value(&mut self, value: &impl Serialize) -> Result<(), ExportError> {
        serde_json::to_writer(&mut *self.out, value).map_err(|e| ExportError::output(e.into()))
    }

    fn put(&mut self, name: &str, value: &impl Serialize) -> Result<(), ExportError> {
        self.name(name)?;
        self.value(value)
    }

    fn put_list<T: Serialize>(
        &mut self,
        name: &str,
        rows: impl Iterator<Item = Result<T, ExportError>>,
    ) -> Result<(), ExportError> {
        self.name(name)?;
        let mut between = "[\n  ";
        for row in rows {
            self.out.write_all(between.as_bytes()).map_err(ExportError::output)?;
            self.value(&row?)?;
            between = ",\n  ";
        }
        let end = if between == "[\n  " { "[]" } else { "]" };
        self.out.write_all(end.as_bytes()).map_err(ExportError::output)
    }

    fn finish(self) -> Result<(), ExportError> {
        self.out.write_all(b"\n}\n").map_err(ExportError::output)
    }
}

/// One line of the proofs.
#[derive(Serialize)]
struct ProofLine<'a> {
    seq: u64,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_time: Option<i64>,
    recorded_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    /// Only where content and salt were erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    leaf: String,
    /// Absent for events that are newer than the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<String>>,
}

/// Writes the proofs of events that come in order of seq.
pub(super) struct Proofs<'r> {
    origin: String,
    leaves: Leaves<'r>,
    nodes: Remembered<'r>,
}

impl<'r> Proofs<'r> {
    pub(super) fn new(reader: &'r Reader) -> Result<Self, ExportError> {
        Ok(Proofs {
            origin: reader.origin()?,
            leaves: Leaves { reader, page: Vec::new().into_iter(), limit: 1, last: 0 },
            nodes: Remembered { reader, nodes: RefCell::new(HashMap::new()) },
        })
    }

    /// Writes the proof that the event is in the log of the first `size` events.
    pub(super) fn write(&mut self, seq: Seq, size: u64, out: &mut dyn Write) -> Result<(), ExportError> {
        let row = self.leaves.at(seq)?;
        let path = match seq.0 <= size {
            true => Some(inclusion_proof(&self.nodes, seq.0 - 1, size)?.iter().map(|hash| hex(hash)).collect()),
            false => None,
        };
        let line = ProofLine {
            seq: row.seq,
            origin: &self.origin,
            source_time: row.source_time,
            recorded_at: row.recorded_at,
            envelope: row.envelope_commitment.map(|hash| hex(&hash)),
            salt: row.salt.map(|salt| hex(&salt)),
            content: row.salt.is_none().then(|| hex(&row.content_commitment)),
            leaf: hex(&row.leaf),
            path,
        };
        serde_json::to_writer(&mut *out, &line).map_err(|e| ExportError::output(e.into()))?;
        out.write_all(b"\n").map_err(ExportError::output)
    }
}

/// Leaf rows by seq: read one by one while they lie apart, in growing pages while they follow each other.
struct Leaves<'r> {
    reader: &'r Reader,
    page: std::vec::IntoIter<LeafRow>,
    limit: usize,
    last: u64,
}

impl Leaves<'_> {
    fn at(&mut self, seq: Seq) -> Result<LeafRow, ExportError> {
        self.limit = if seq.0 == self.last + 1 { (self.limit * 2).min(256) } else { 1 };
        self.last = seq.0;
        if self.page.as_slice().first().is_none_or(|row| row.seq != seq.0) {
            self.page = self.reader.leaves(seq, self.limit)?.into_iter();
        }
        let missing = ArchiveError::Broken {
            table: "event",
            id: i64::try_from(seq.0).unwrap_or(i64::MAX),
            problem: "its row is missing",
        };
        self.page.next().filter(|row| row.seq == seq.0).ok_or(ExportError::Archive(missing))
    }
}

/// Nodes of the tree, remembered: neighbours share most of their path.
struct Remembered<'r> {
    reader: &'r Reader,
    nodes: RefCell<HashMap<(u8, u64), Hash>>,
}

impl Nodes for Remembered<'_> {
    type Error = ArchiveError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, ArchiveError> {
        if let Some(hash) = self.nodes.borrow().get(&(level, index)) {
            return Ok(*hash);
        }
        let hash = self.reader.node(level, index)?;
        let mut nodes = self.nodes.borrow_mut();
        if nodes.len() >= 4096 {
            nodes.clear();
        }
        nodes.insert((level, index), hash);
        Ok(hash)
    }
}
