//! The full audit of a log: every commitment, leaf, node and checkpoint is made again and compared.
//!
//! Rows come from an [`AuditRows`] in pages, so memory does not grow with the log. Damage does not stop the audit: what can
//! still be judged is judged, and each piece of damage is told once, by what it most likely is (see [`tree`]).

pub mod checkpoints;
pub mod tree;
mod walk;

use std::sync::Arc;

use super::finding::{Finding, FindingKind, Report};
use super::leaf::{Header, commitment};
use super::merkle::Hash;
use crate::model::Timestamp;
use checkpoints::Checkpoints;
use tree::Tree;
use walk::{Step, Walk};

/// An event as it is stored, unchecked. A hash of the wrong length is given as zeros, which match nothing.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Position in the log.
    pub seq: u64,
    /// Name of the connector; empty if its row is missing.
    pub connector: Arc<str>,
    /// Our id of the conversation; empty if there is none or its row is missing.
    pub conversation: Arc<str>,
    /// Kind.
    pub kind: Box<str>,
    /// The platform's clock, µs UTC.
    pub source_time: Option<i64>,
    /// Our clock, µs UTC.
    pub recorded_at: i64,
    /// Row of the envelope, and its stored commitment if the row is there.
    pub envelope: Option<(i64, Option<Hash>)>,
    /// Stored commitment of the content.
    pub content: Hash,
    /// Stored leaf hash.
    pub leaf: Hash,
}

/// The content of an event as it is stored.
#[derive(Clone, Debug)]
pub struct ContentRow {
    /// The event.
    pub seq: u64,
    /// Salt of the commitment.
    pub salt: Hash,
    /// Canonical content.
    pub canonical: Vec<u8>,
}

/// An envelope as it is stored, its body as received.
#[derive(Clone, Debug)]
pub struct EnvelopeRow {
    /// Its row, from 1.
    pub id: i64,
    /// The body, or why it cannot be had from what is stored.
    pub body: Result<Vec<u8>, &'static str>,
    /// Stored SHA-256 of the body.
    pub digest: Hash,
    /// Canonical head made of the stored columns ([`super::leaf::EnvelopeHead`]).
    pub head: Vec<u8>,
    /// Salt of the commitment.
    pub salt: Hash,
    /// Stored commitment.
    pub commitment: Hash,
}

/// A checkpoint as it is stored.
#[derive(Clone, Debug)]
pub struct CheckpointRow {
    /// Its row, from 1.
    pub id: i64,
    /// Events in the log.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: Timestamp,
    /// The signed note.
    pub text: String,
}

/// How a page of rows ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There may be more.
    More,
    /// There is no more.
    Done,
    /// The rows after the given ones cannot be read, and why.
    Trouble(String),
}

/// Rows in order of their key.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows; a page that ends with [`End::More`] has at least one.
    pub rows: Vec<T>,
    /// How it ended.
    pub end: End,
}

/// How far the tables reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Highest seq of an event.
    pub event: u64,
    /// Highest seq of a content.
    pub content: u64,
    /// Highest seq that a dedupe key leads to.
    pub dedupe: u64,
    /// Number of leaves that the stored nodes cover.
    pub nodes: u64,
    /// Highest id of an envelope.
    pub envelope: u64,
    /// Tables with rows numbered below 1, which no walk over the log would meet.
    pub below: Vec<&'static str>,
    /// Tables whose end cannot be read, and why.
    pub trouble: Vec<String>,
}

/// Where an audit reads from: one consistent view of an archive.
pub trait AuditRows {
    /// Name of the log.
    fn origin(&self) -> &str;
    /// How far the tables reach.
    fn bounds(&self) -> Bounds;
    /// Events from this seq on.
    fn events(&self, from: u64) -> Page<EventRow>;
    /// Contents from this seq on.
    fn contents(&self, from: u64) -> Page<ContentRow>;
    /// Nodes of one level from this index on: index and hash.
    fn nodes(&self, level: u8, from: u64) -> Page<(u64, Hash)>;
    /// Envelopes from this id on.
    fn envelopes(&self, from: u64) -> Page<EnvelopeRow>;
    /// Checkpoints from this id on.
    fn checkpoints(&self, from: u64) -> Page<CheckpointRow>;
}

/// Judges the log: contents, headers, leaves, tree, and whether `checkpoints` (all that are known, also from outside)
/// speak of it. Envelopes are judged by [`audit_envelopes`], which can run at the same time.
pub fn audit_log(
    rows: &dyn AuditRows,
    checkpoints: Checkpoints,
    report: &mut Report,
    tell: &mut dyn FnMut(Finding),
    progress: &mut dyn FnMut(u64),
) {
    let bounds = rows.bounds();
    let counted = &mut *report;
    let mut tell = |finding: Finding| {
        counted.count(&finding);
        tell(finding);
    };
    for trouble in &bounds.trouble {
        tell(Finding::of(FindingKind::Unreadable, trouble.clone()));
    }
    for table in &bounds.below {
        tell(Finding::of(FindingKind::Reordered, format!("table {table} has rows numbered below 1")));
    }
    let mut audit = Audit {
        rows,
        contents: Walk::new(bounds.content.max(bounds.event), |from| rows.contents(from), |row| row.seq),
        content: None,
        tree: Tree::new(checkpoints),
        next: 1,
        bytes: 0,
        looked_at: 0,
        missing_envelopes: Vec::new(),
    };
    let mut events = Walk::new(bounds.event, |from| rows.events(from), |row: &EventRow| row.seq);
    while let Some(step) = events.next() {
        match step {
            Step::Row(row) => audit.event(row, &mut tell),
            Step::Unreadable { from, to, why } => {
                let to = to.unwrap_or(bounds.event).max(from);
                audit.gone(
                    from.max(audit.next),
                    to,
                    FindingKind::Unreadable,
                    &format!("the event cannot be read ({why})"),
                    &mut tell,
                );
            }
        }
        if audit.next % 1024 == 1 {
            progress(audit.next - 1);
        }
    }
    progress(audit.next - 1);
    audit.rest(&bounds, &mut tell);
    let (bytes, looked_at, root) = (audit.bytes, audit.looked_at, audit.tree.root());
    report.bytes += bytes;
    report.events = looked_at;
    report.root = root.map(|root| super::hex(&root));
}

struct Audit<'a, F: FnMut(u64) -> Page<ContentRow>> {
    rows: &'a dyn AuditRows,
    contents: Walk<ContentRow, F>,
    /// Read ahead: the next content that has not been asked for.
    content: Option<Step<ContentRow>>,
    tree: Tree,
    /// Seq of the next event.
    next: u64,
    bytes: u64,
    looked_at: u64,
    /// Envelopes that are known to be missing, so that each is told once; the newest few.
    missing_envelopes: Vec<i64>,
}

/// Neighbours of an event among which its true place is looked for.
const NEAR: u64 = 64;

impl<F: FnMut(u64) -> Page<ContentRow>> Audit<'_, F> {
    /// Events `from` to `to` cannot be judged.
    fn gone(&mut self, from: u64, to: u64, kind: FindingKind, what: &str, tell: &mut dyn FnMut(Finding)) {
        if to < from {
            return;
        }
        let last = if to > from { format!("; the same up to seq {to}") } else { String::new() };
        tell(Finding::at(from, kind, format!("{what}{last}")));
        self.tree.append_unknown(to - from + 1, self.rows, tell);
        self.next = to + 1;
    }

    fn event(&mut self, row: EventRow, tell: &mut dyn FnMut(Finding)) {
        if row.seq < self.next {
            // Keys rise in a page; a file that gives them otherwise has a damaged index.
            tell(Finding::at(row.seq, FindingKind::Reordered, "the table gives this event out of order"));
            return;
        }
        if row.seq > self.next {
            self.gone(self.next, row.seq - 1, FindingKind::MissingRow, "there is no event with this number", tell);
        }
        self.next = row.seq + 1;
        self.looked_at += 1;
        let content = self.content_of(row.seq, tell);
        let origin = self.rows.origin();
        let header = Header {
            origin,
            seq: row.seq,
            connector: &row.connector,
            conversation: &row.conversation,
            kind: &row.kind,
            source_time: row.source_time,
            recorded_at: row.recorded_at,
            envelope: row.envelope.and_then(|(_, commitment)| commitment),
            content: row.content,
        };
        self.bytes += 320;
        if !header.is_plain() {
            tell(Finding::at(row.seq, FindingKind::ChangedHeader, "a name in the header has control characters"));
        }
        let leaf = header.leaf_hash();
        if let Some((id, None)) = row.envelope {
            // Without its commitment the leaf cannot be made again; the stored one is judged by the tree.
            if !self.missing_envelopes.contains(&id) {
                tell(Finding::at(row.seq, FindingKind::MissingRow, format!("its envelope {id} is missing")));
                self.missing_envelopes.push(id);
                if self.missing_envelopes.len() > 1024 {
                    self.missing_envelopes.remove(0);
                }
            }
            self.tree.append(row.leaf, None, self.rows, tell);
            return;
        }
        let committed = content.as_ref().map(|content| {
            self.bytes += content.canonical.len() as u64 + 32;
            commitment(&content.salt, &content.canonical)
        });
        let fits = leaf == row.leaf;
        if let Some(committed) = committed
            && committed != row.content
        {
            if !fits && (Header { content: committed, ..header }).leaf_hash() == row.leaf {
                tell(Finding::at(row.seq, FindingKind::ChangedHeader, "its stored content commitment was changed"));
                self.tree.append(row.leaf, None, self.rows, tell);
                return;
            }
            tell(Finding::at(row.seq, FindingKind::ChangedContent, "its content or salt is not what was hashed"));
        }
        if fits {
            self.tree.append(row.leaf, None, self.rows, tell);
            return;
        }
        let near = (row.seq.saturating_sub(NEAR).max(1)..=row.seq.saturating_add(NEAR)).filter(|seq| *seq != row.seq);
        for seq in near {
            if (Header { seq, ..header }).leaf_hash() == row.leaf {
                let what = format!("the row at this place is that of event {seq}");
                tell(Finding::at(row.seq, FindingKind::Reordered, what));
                self.tree.append_unknown(1, self.rows, tell);
                return;
            }
        }
        // Whether the header or the stored leaf was changed is told by the tree above them.
        self.tree.append(row.leaf, Some(leaf), self.rows, tell);
    }

    /// The content of an event; tells if it is missing.
    fn content_of(&mut self, seq: u64, tell: &mut dyn FnMut(Finding)) -> Option<ContentRow> {
        loop {
            let step = match self.content.take() {
                Some(step) => Some(step),
                None => self.contents.next(),
            };
            match step {
                // Of an event that is missing, which has been told.
                Some(Step::Row(content)) if content.seq < seq => {}
                Some(Step::Row(content)) if content.seq == seq => return Some(content),
                Some(Step::Unreadable { to: Some(to), .. }) if to < seq => {}
                Some(Step::Unreadable { from, to, why }) if from <= seq => {
                    tell(Finding::at(seq, FindingKind::Unreadable, format!("its content cannot be read ({why})")));
                    self.content = Some(Step::Unreadable { from, to, why });
                    return None;
                }
                other => {
                    self.content = other;
                    tell(Finding::at(seq, FindingKind::MissingRow, "its content is missing"));
                    return None;
                }
            }
        }
    }

    /// What lies beyond the last event.
    fn rest(&mut self, bounds: &Bounds, tell: &mut dyn FnMut(Finding)) {
        let size = self.next - 1;
        let mut evidence = Vec::new();
        if bounds.content > size {
            evidence.push(format!("there is content up to seq {}", bounds.content));
        }
        if bounds.dedupe > size {
            evidence.push(format!("dedupe keys lead up to seq {}", bounds.dedupe));
        }
        if bounds.nodes > size {
            evidence.push(format!("the tree was built over {} events", bounds.nodes));
        }
        self.tree.finish(size, &mut evidence, tell);
        if !evidence.is_empty() {
            let what = format!("the log ends with seq {size}, but {}", evidence.join(", "));
            tell(Finding::at(size + 1, FindingKind::TruncatedLog, what));
        }
    }
}

/// A damaged envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeFinding {
    /// First envelope concerned.
    pub id: i64,
    /// Last envelope concerned.
    pub last: i64,
    /// Kind of damage.
    pub kind: FindingKind,
    /// What was found.
    pub what: String,
}

/// Judges every envelope by itself: body, digest, commitment, no holes. Returns how many there are and their bytes.
pub fn audit_envelopes(
    rows: &dyn AuditRows,
    tell: &mut dyn FnMut(EnvelopeFinding),
    progress: &mut dyn FnMut(u64),
) -> (u64, u64) {
    use sha2::{Digest, Sha256};
    let bounds = rows.bounds();
    let key = |row: &EnvelopeRow| u64::try_from(row.id).unwrap_or(0);
    let mut walk = Walk::new(bounds.envelope, |from| rows.envelopes(from), key);
    let (mut next, mut count, mut bytes) = (1i64, 0u64, 0u64);
    let whole = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    while let Some(step) = walk.next() {
        match step {
            Step::Unreadable { from, to, why } => {
                let (id, last) = (whole(from).max(next), whole(to.unwrap_or(bounds.envelope)));
                tell(EnvelopeFinding {
                    id,
                    last,
                    kind: FindingKind::Unreadable,
                    what: format!("cannot be read ({why})"),
                });
                next = last.saturating_add(1).max(next);
            }
            Step::Row(row) => {
                if row.id > next {
                    let what = "there is no row with this number".to_owned();
                    tell(EnvelopeFinding { id: next, last: row.id - 1, kind: FindingKind::MissingRow, what });
                }
                next = row.id.saturating_add(1);
                count += 1;
                let problem = match &row.body {
                    Err(problem) => Some((*problem).to_owned()),
                    Ok(body) => {
                        bytes += (body.len() + row.head.len() + 32) as u64;
                        let digest: Hash = Sha256::digest(body).into();
                        match (digest == row.digest, commitment(&row.salt, &row.head) == row.commitment) {
                            (true, true) => None,
                            (false, true) => Some("its body is not what was hashed".to_owned()),
                            (true, false) => {
                                Some("its request, status, times, connector, salt or commitment was changed".to_owned())
                            }
                            (false, false) => Some("its body or stored digest was changed".to_owned()),
                        }
                    }
                };
                if let Some(what) = problem {
                    tell(EnvelopeFinding { id: row.id, last: row.id, kind: FindingKind::ChangedEnvelope, what });
                }
            }
        }
        progress(count);
    }
    (count, bytes)
}
