//! What an audit reports.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Text, people or other content of an event is not what was hashed.
    ChangedContent,
    /// Time, kind, conversation or connector of an event is not what was hashed, or an event was rewritten with its hashes.
    ChangedHeader,
    /// The bytes of an envelope are not what was hashed.
    ChangedEnvelope,
    /// The bytes of an attachment are not those whose hash the event names.
    ChangedAttachment,
    /// An event names an attachment that was kept, and its file is not there.
    MissingAttachment,
    /// A row that must be there is not.
    MissingRow,
    /// An event is not at its place.
    Reordered,
    /// Events at the end are gone.
    TruncatedLog,
    /// A stored hash of the tree is not what the events give.
    ChangedNode,
    /// A checkpoint is not signed by a key of this archive, or does not say what it was stored as.
    BadSignature,
    /// A signed checkpoint speaks of another log than the one that is there.
    ForkedLog,
    /// A table that is derived from the log does not agree with it.
    ProjectionDrift,
    /// A part of the file cannot be read.
    Unreadable,
    /// A file of an export is not the one that its manifest describes.
    ChangedFile,
    /// A proof of an export does not lead to its checkpoint.
    BadProof,
}

impl FindingKind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::ChangedContent => "changed content",
            FindingKind::ChangedHeader => "changed header",
            FindingKind::ChangedEnvelope => "changed envelope",
            FindingKind::ChangedAttachment => "changed attachment",
            FindingKind::MissingAttachment => "missing attachment",
            FindingKind::MissingRow => "missing row",
            FindingKind::Reordered => "reordered",
            FindingKind::TruncatedLog => "truncated log",
            FindingKind::ChangedNode => "changed tree node",
            FindingKind::BadSignature => "bad checkpoint signature",
            FindingKind::ForkedLog => "forked log",
            FindingKind::ProjectionDrift => "projection drift",
            FindingKind::Unreadable => "unreadable",
            FindingKind::ChangedFile => "changed file",
            FindingKind::BadProof => "bad proof",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One piece of damage. Never holds message content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Event that is concerned, or the first of several; absent if it concerns none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What kind of damage.
    pub kind: FindingKind,
    /// What exactly was found, in one sentence.
    pub what: String,
}

impl Finding {
    /// A finding about an event.
    pub fn at(seq: u64, kind: FindingKind, what: impl Into<String>) -> Self {
        Finding { seq: Some(seq), kind, what: what.into() }
    }

    /// A finding about something else.
    pub fn of(kind: FindingKind, what: impl Into<String>) -> Self {
        Finding { seq: None, kind, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "seq {seq}: {}: {}", self.kind, self.what),
            None => write!(f, "{}: {}", self.kind, self.what),
        }
    }
}

/// The outcome of an audit; the findings themselves were told one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the log.
    pub origin: String,
    /// Events that were looked at.
    pub events: u64,
    /// Envelopes that were looked at.
    pub envelopes: u64,
    /// Attachments that were looked at: files, not how often they were named.
    #[serde(skip_serializing_if = "is_zero")]
    pub attachments: u64,
    /// Good checkpoints in the archive or export.
    pub checkpoints: u64,
    /// Good checkpoints in the file outside the archive.
    pub outside_checkpoints: u64,
    /// Merkle root over the events, hex; absent if it cannot be told because of damage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Bytes that were hashed: contents, envelopes, headers.
    pub bytes: u64,
    /// Number of findings of each kind.
    pub findings: BTreeMap<FindingKind, u64>,
    /// Lowest seq of a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// What could not be checked, or should be known to judge the outcome.
    pub remarks: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Report {
    /// Whether nothing was found.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    /// Counts a finding.
    pub fn count(&mut self, finding: &Finding) {
        *self.findings.entry(finding.kind).or_default() += 1;
        self.first_seq = [self.first_seq, finding.seq].into_iter().flatten().min();
    }
}
