//! The proofs of an export: what a stranger needs to check each event against the checkpoint.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

use serde::Serialize;

use super::ExportError;
use crate::archive::reader::LeafRow;
use crate::archive::{ArchiveError, Reader};
use crate::integrity::hex;
use crate::integrity::merkle::{Hash, Nodes, inclusion_proof};
use crate::model::Seq;

/// One line of the proofs.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ProofLine<'a> {
    /// Position in the log.
    seq: u64,
    /// Name of the log.
    origin: &'a str,
    /// The platform's clock, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_time: Option<i64>,
    /// Our clock, microseconds.
    recorded_at: i64,
    /// What the event would tell, where the export does not show it as it is.
    #[serde(flatten)]
    #[schema(ignore)]
    header: Option<HeaderLine<'a>>,
    /// Commitment to the envelope that it came in, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<String>,
    /// Salt of the commitment to the content, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    /// Only where content and salt were erased, or the export does not show the content as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Hash of the leaf, hex.
    leaf: String,
    /// Hashes that lead from the leaf to the root of the checkpoint, hex. Absent for events that are newer than the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<String>>,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    connector: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    conversation: &'a str,
    kind: &'a str,
}

/// Writes the proofs of events that come in order of seq.
pub(super) struct Proofs<'r> {
    origin: String,
    leaves: Leaves<'r>,
    nodes: Remembered<'r>,
    of_content: bool,
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
        })
    }

    /// Writes the proof that the event is in the log of the first `size` events.
    pub(super) fn write(&mut self, seq: Seq, size: u64, out: &mut dyn Write) -> Result<(), ExportError> {
        let row = self.leaves.at(seq)?;
        let path = match seq.0 <= size {
            true => Some(inclusion_proof(&self.nodes, seq.0 - 1, size)?.iter().map(|hash| hex(hash)).collect()),
            false => None,
        };
        let salt = row.salt.filter(|_| self.of_content);
        let header = (!self.of_content).then_some(HeaderLine {
            connector: &row.connector,
            conversation: &row.conversation,
            kind: &row.kind,
        });
        let line = ProofLine {
            seq: row.seq,
            origin: &self.origin,
            source_time: row.source_time,
            recorded_at: row.recorded_at,
            header,
            envelope: row.envelope_commitment.map(|hash| hex(&hash)),
            salt: salt.map(|salt| hex(&salt)),
            content: salt.is_none().then(|| hex(&row.content_commitment)),
            leaf: hex(&row.leaf),
            path,
        };
        serde_json::to_writer(&mut *out, &line).map_err(|e| ExportError::output(e.into()))?;
        out.write_all(b"\n").map_err(ExportError::output)
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
