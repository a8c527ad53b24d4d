//! The proofs of an export: what a stranger needs to check each event against the checkpoint.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

use super::ExportError;
use crate::archive::reader::LeafRow;
use crate::archive::{ArchiveError, Reader};
use crate::integrity::merkle::{Hash, Nodes, inclusion_proof};
use crate::model::Seq;

/// Writes the proofs of events that come in order of seq.
pub(super) struct Proofs<'r> {
    origin: String,
    leaves: Leaves<'r>,
    nodes: Remembered<'r>,
    of_content: bool,
    line: Vec<u8>,
}

impl<'r> Proofs<'r> {
    /// `of_content` = the export shows each event as it is, and its content is proven too; else each line tells what the
    /// leaf is made of, and the content stays a commitment.
    pub(super) fn new(reader: &'r Reader, of_content: bool) -> Result<Self, ExportError> {
        Ok(Proofs {
            origin: reader.origin()?,
            leaves: Leaves { reader, page: Vec::new().into_iter(), limit: 1, last: 0 },
            nodes: Remembered { reader, nodes: RefCell::new(HashMap::new()) },
            of_content,
            line: Vec::new(),
        })
    }

    /// Writes the proof that the event is in the log of the first `size` events.
    pub(super) fn write(&mut self, seq: Seq, size: u64, out: &mut dyn Write) -> Result<(), ExportError> {
        let row = self.leaves.at(seq, &self.nodes)?;
        let mut line = Line { bytes: std::mem::take(&mut self.line) };
        line.bytes.clear();
        line.bytes.push(b'{');
        line.number("seq", i128::from(row.seq));
        line.text("origin", &self.origin)?;
        if let Some(at) = row.source_time {
            line.number("source_time", at.into());
        }
        line.number("recorded_at", row.recorded_at.into());
        if !self.of_content {
            line.text("connector", &row.connector)?;
            if !row.conversation.is_empty() {
                line.text("conversation", &row.conversation)?;
            }
            line.text("kind", &row.kind)?;
        }
        if let Some(envelope) = &row.envelope_commitment {
            line.hash("envelope", envelope);
        }
        // Where the content was erased, its salt is gone too.
        match row.salt.as_ref().filter(|_| self.of_content) {
            Some(salt) => line.hash("salt", salt),
            None => line.hash("content", &row.content_commitment),
        }
        line.hash("leaf", &row.leaf);
        // Events that are newer than the checkpoint have no path to it.
        if seq.0 <= size {
            line.name("path");
            line.bytes.push(b'[');
            for (at, hash) in inclusion_proof(&self.nodes, seq.0 - 1, size)?.iter().enumerate() {
                if at > 0 {
                    line.bytes.push(b',');
                }
                line.hex(hash);
            }
            line.bytes.push(b']');
        }
        line.bytes.extend_from_slice(b"}\n");
        self.line = line.bytes;
        out.write_all(&self.line).map_err(ExportError::output)
    }
}

/// One JSON object on a line. Most of it is hexadecimal digits, so it is written by hand.
struct Line {
    bytes: Vec<u8>,
}

impl Line {
    fn name(&mut self, name: &str) {
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, value: i128) {
        self.name(name);
        // Writing to memory cannot fail.
        let _ = write!(self.bytes, "{value}");
    }

    fn text(&mut self, name: &str, value: &str) -> Result<(), ExportError> {
        self.name(name);
        serde_json::to_writer(&mut self.bytes, value).map_err(|e| ExportError::output(e.into()))
    }

    fn hash(&mut self, name: &str, hash: &Hash) {
        self.name(name);
        self.hex(hash);
    }

    fn hex(&mut self, hash: &Hash) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'"'; 66];
        for (pair, byte) in text[1..65].as_chunks_mut::<2>().0.iter_mut().zip(hash) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        self.bytes.extend_from_slice(&text);
    }
}

/// The line of one event, with its content, towards the log of the first `size` events.
///
/// # Errors
/// The archive cannot be read, or has no such event.
pub(crate) fn line(reader: &Reader, seq: Seq, size: u64) -> Result<Box<serde_json::value::RawValue>, ExportError> {
    let mut line = Vec::new();
    Proofs::new(reader, true)?.write(seq, size, &mut line)?;
    serde_json::from_slice(&line).map_err(|error| ExportError::output(error.into()))
}

/// Leaf rows by seq: read one by one while they lie apart, in growing pages while they follow each other.
struct Leaves<'r> {
    reader: &'r Reader,
    page: std::vec::IntoIter<LeafRow>,
    limit: usize,
    last: u64,
}

impl Leaves<'_> {
    fn at(&mut self, seq: Seq, nodes: &Remembered<'_>) -> Result<LeafRow, ExportError> {
        let is_next = seq.0 == self.last + 1;
        self.last = seq.0;
        if self.page.as_slice().first().is_none_or(|row| row.seq != seq.0) {
            self.limit = if is_next { (self.limit * 2).min(PAGE) } else { 1 };
            let page = self.reader.bare_leaves(seq, self.limit)?;
            if page.len() > 16 {
                nodes.prepare(&page)?;
            }
            self.page = page.into_iter();
        }
        let missing = ArchiveError::Broken {
            table: "event",
            id: i64::try_from(seq.0).unwrap_or(i64::MAX),
            problem: "its row is missing",
        };
        self.page.next().filter(|row| row.seq == seq.0).ok_or(ExportError::Archive(missing))
    }
}

/// Leaves that are read at once.
const PAGE: usize = 512;

/// Nodes of the tree, remembered: neighbours share most of their path.
struct Remembered<'r> {
    reader: &'r Reader,
    nodes: RefCell<HashMap<(u8, u64), Hash>>,
}

impl Remembered<'_> {
    /// Reads the nodes above a page of leaves level by level, instead of one by one when they are asked for.
    fn prepare(&self, page: &[LeafRow]) -> Result<(), ArchiveError> {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
        let mut nodes = self.nodes.borrow_mut();
        if nodes.len() >= 16 * PAGE {
            nodes.clear();
        }
        nodes.extend(page.iter().map(|row| ((0, row.seq - 1), row.leaf)));
        for level in 1..=PAGE.ilog2() as u8 {
            // With a neighbour on either side.
            let (from, to) = (((first.seq - 1) >> level).saturating_sub(1), ((last.seq - 1) >> level) + 1);
            let before = from.checked_sub(1).map_or((level - 1, i64::MAX as u64), |index| (level, index));
            let limit = usize::try_from(to - from + 1).unwrap_or(PAGE);
            let rows = self.reader.nodes_after(before.0, before.1, limit)?;
            nodes.extend(rows.into_iter().filter(|row| row.level == level).map(|row| ((level, row.index), row.hash)));
        }
        Ok(())
    }
}

impl Nodes for Remembered<'_> {
    type Error = ArchiveError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, ArchiveError> {
        if let Some(hash) = self.nodes.borrow().get(&(level, index)) {
            return Ok(*hash);
        }
        let hash = self.reader.node(level, index)?;
        let mut nodes = self.nodes.borrow_mut();
        if nodes.len() >= 32 * PAGE {
            nodes.clear();
        }
        nodes.insert((level, index), hash);
        Ok(hash)
    }
}
