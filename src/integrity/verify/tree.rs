//! Judges leaves, nodes and checkpoints while the log is walked once.
//!
//! A stored hash and the one made again from what lies beneath may differ. Which of the two is right is told by the hash
//! above them, and in the end by a checkpoint: so each peak of the growing tree keeps both as options until a match one
//! level up decides, and the finding names what was really changed. If nothing decides, the stored hash is believed.

use std::collections::VecDeque;

use super::checkpoints::{Checkpoints, Head};
use super::{AuditRows, End};
use crate::integrity::finding::{Finding, FindingKind};
use crate::integrity::merkle::{Hash, empty_root, node_hash};

/// What does not fit, until it is decided what was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Header and stored leaf of this event.
    Leaf(u64),
    /// A stored node and the two beneath it.
    Node(u8, u64),
}

/// Root of a complete subtree at the right edge.
#[derive(Clone, Debug)]
struct Peak {
    level: u8,
    /// Nothing = not known; else the stored hash, then the one made again if it differs.
    options: Vec<Hash>,
    fault: Option<Fault>,
}

/// The tree as the walk has come to know it.
pub struct Tree {
    size: u64,
    peaks: Vec<Peak>,
    levels: Vec<Level>,
    checkpoints: Checkpoints,
    /// Size of the newest checkpoint that fitted.
    fitted: u64,
    fork: Option<Fork>,
}

struct Fork {
    head: Head,
    after: u64,
    more: u64,
}

/// Stored nodes of one level, read ahead.
#[derive(Default)]
struct Level {
    rows: VecDeque<(u64, Hash)>,
    done: bool,
    told: bool,
}

/// Combinations of options that are tried against a checkpoint.
const TRIED: usize = 64;

impl Tree {
    /// An empty tree and the checkpoints it will be held against.
    pub fn new(checkpoints: Checkpoints) -> Self {
        Tree { size: 0, peaks: Vec::new(), levels: Vec::new(), checkpoints, fitted: 0, fork: None }
    }

    /// Appends an event's stored leaf and, if it differs, the one made again from its header.
    pub fn append(&mut self, stored: Hash, made: Option<Hash>, rows: &dyn AuditRows, tell: &mut dyn FnMut(Finding)) {
        let fault = made.map(|_| Fault::Leaf(self.size + 1));
        let options = [Some(stored), made].into_iter().flatten().collect();
        self.push(Peak { level: 0, options, fault }, rows, tell);
    }

    /// Appends events of which nothing is known.
    pub fn append_unknown(&mut self, mut count: u64, rows: &dyn AuditRows, tell: &mut dyn FnMut(Finding)) {
        while count > 0 {
            // The largest complete subtree that begins here; its stored node still counts.
            let fits = 63 - count.leading_zeros();
            let level = u8::try_from(self.size.trailing_zeros().min(fits)).unwrap_or(0);
            let options = match level {
                0 => Vec::new(),
                _ => self.stored(level, self.size >> level, rows, tell).into_iter().collect(),
            };
            self.push(Peak { level, options, fault: None }, rows, tell);
            count -= 1 << level;
        }
    }

    fn push(&mut self, peak: Peak, rows: &dyn AuditRows, tell: &mut dyn FnMut(Finding)) {
        self.size += 1 << peak.level;
        let mut peak = peak;
        while self.peaks.last().is_some_and(|left| left.level == peak.level) {
            let Some(left) = self.peaks.pop() else { break };
            peak = self.join(left, peak, rows, tell);
        }
        self.peaks.push(peak);
        self.hold_against_checkpoints(tell);
    }

    /// The parent of two peaks of the same level.
    fn join(&mut self, left: Peak, right: Peak, rows: &dyn AuditRows, tell: &mut dyn FnMut(Finding)) -> Peak {
        let level = left.level + 1;
        let index = (self.size >> level) - 1;
        let known = !left.options.is_empty() && !right.options.is_empty();
        let stored = self.stored(level, index, rows, tell);
        let Some(stored) = stored else {
            let made = known.then(|| node_hash(&left.options[0], &right.options[0]));
            decide(&left, 0, tell);
            decide(&right, 0, tell);
            if known && !self.levels.get(usize::from(level)).is_some_and(|l| l.told) {
                tell(Finding::at(
                    first_seq(level, index),
                    FindingKind::ChangedNode,
                    format!("node {index} of level {level} is missing"),
                ));
            }
            return Peak { level, options: made.into_iter().collect(), fault: None };
        };
        for (i, l) in left.options.iter().enumerate() {
            for (j, r) in right.options.iter().enumerate() {
                if node_hash(l, r) == stored {
                    decide(&left, i, tell);
                    decide(&right, j, tell);
                    return Peak { level, options: vec![stored], fault: None };
                }
            }
        }
        if !known || left.fault.is_some() || right.fault.is_some() {
            // Explained by what is told beneath; the stored node stands until its own parent says otherwise.
            decide(&left, 0, tell);
            decide(&right, 0, tell);
            return Peak { level, options: vec![stored], fault: None };
        }
        let made = node_hash(&left.options[0], &right.options[0]);
        Peak { level, options: vec![stored, made], fault: Some(Fault::Node(level, index)) }
    }

    /// The stored node, if it is there.
    fn stored(&mut self, level: u8, index: u64, rows: &dyn AuditRows, tell: &mut dyn FnMut(Finding)) -> Option<Hash> {
        while self.levels.len() <= usize::from(level) {
            self.levels.push(Level::default());
        }
        let nodes = &mut self.levels[usize::from(level)];
        while nodes.rows.front().is_some_and(|(at, _)| *at < index) {
            nodes.rows.pop_front();
        }
        if nodes.rows.is_empty() && !nodes.done {
            let page = rows.nodes(level, index);
            nodes.done = page.end == End::Done;
            if let End::Trouble(why) = page.end
                && page.rows.is_empty()
                && !std::mem::replace(&mut nodes.told, true)
            {
                let what = format!("nodes of level {level} cannot be read from {index} on ({why})");
                tell(Finding::at(first_seq(level, index), FindingKind::Unreadable, what));
            }
            nodes.rows = page.rows.into();
        }
        nodes.rows.front().filter(|(at, _)| *at == index).map(|(_, hash)| *hash)
    }

    /// Holds the tree as it stands against every checkpoint of this size.
    fn hold_against_checkpoints(&mut self, tell: &mut dyn FnMut(Finding)) {
        while let Some(head) = self.checkpoints.take(self.size) {
            if head.size < self.size || self.peaks.iter().any(|peak| peak.options.is_empty()) {
                // Inside a damaged span, or over one: says nothing about what is left.
                continue;
            }
            let counts: Vec<usize> = self.peaks.iter().map(|peak| peak.options.len()).collect();
            let all =
                counts.iter().try_fold(1usize, |all, n| all.checked_mul(*n).filter(|all| *all <= TRIED)).unwrap_or(1);
            let fitting = (0..all).map(|n| choice(&counts, n)).find(|choice| self.root_of(choice) == head.root);
            match fitting {
                Some(choice) => {
                    self.fitted = self.fitted.max(head.size);
                    for (peak, option) in self.peaks.iter_mut().zip(choice) {
                        decide(peak, option, tell);
                        peak.options = vec![peak.options[option]];
                        peak.fault = None;
                    }
                }
                None => match &mut self.fork {
                    Some(fork) => fork.more += 1,
                    None => self.fork = Some(Fork { head, after: self.fitted, more: 0 }),
                },
            }
        }
    }

    fn root_of(&self, choice: &[usize]) -> Hash {
        let mut hashes = self.peaks.iter().zip(choice).rev().map(|(peak, option)| peak.options[*option]);
        let Some(last) = hashes.next() else { return empty_root() };
        hashes.fold(last, |right, left| node_hash(&left, &right))
    }

    /// Decides what is still open and reports what the checkpoints say; evidence of a longer log is added to `evidence`.
    pub fn finish(&mut self, size: u64, evidence: &mut Vec<String>, tell: &mut dyn FnMut(Finding)) {
        for peak in &mut self.peaks {
            decide(peak, 0, tell);
            peak.fault = None;
        }
        if let Some(fork) = self.fork.take() {
            let more = match fork.more {
                0 => String::new(),
                more => format!(", and so have {more} more"),
            };
            let what = format!(
                "{} over {} events has another root than these events{more}: events from seq {} to {} were rewritten, or it is \
                 the checkpoint of another log",
                fork.head.place,
                fork.head.size,
                fork.after + 1,
                fork.head.size
            );
            tell(Finding::at(fork.after + 1, FindingKind::ForkedLog, what));
        }
        if let Some((longest, count)) = self.checkpoints.beyond(size) {
            let when = longest.at.map(|at| format!(", signed {at},")).unwrap_or_default();
            evidence.push(format!(
                "{}{when} states {} events{}",
                longest.place,
                longest.size,
                if count > 1 { format!(" ({count} checkpoints state more than there are)") } else { String::new() }
            ));
        }
    }

    /// Root over everything, if it can be told.
    pub fn root(&self) -> Option<Hash> {
        let known = self.peaks.iter().all(|peak| !peak.options.is_empty());
        known.then(|| self.root_of(&vec![0; self.peaks.len()]))
    }
}

/// The n-th combination of one option each.
fn choice(counts: &[usize], mut n: usize) -> Vec<usize> {
    counts
        .iter()
        .map(|count| {
            let option = n % count;
            n /= count;
            option
        })
        .collect()
}

/// Seq of the first event under a node; for a node whose place cannot be, the highest there is.
fn first_seq(level: u8, index: u64) -> u64 {
    index.checked_mul(1 << level).map_or(u64::MAX, |leaves| leaves + 1)
}

/// Tells what was changed, now that it is known which option is right.
fn decide(peak: &Peak, option: usize, tell: &mut dyn FnMut(Finding)) {
    let finding = match (peak.fault, option) {
        (None, _) => return,
        (Some(Fault::Leaf(seq)), 0) => Finding::at(
            seq,
            FindingKind::ChangedHeader,
            "its header (time, kind, conversation, connector, envelope) is not what was hashed",
        ),
        (Some(Fault::Leaf(seq)), _) => Finding::at(seq, FindingKind::ChangedNode, "its stored leaf hash was changed"),
        (Some(Fault::Node(level, index)), 0) if level == 1 && !peak.options.is_empty() => {
            let seq = first_seq(level, index);
            let what = format!(
                "this event or event {} was rewritten together with its hashes; the tree holds another leaf",
                seq + 1
            );
            Finding::at(seq, FindingKind::ChangedHeader, what)
        }
        (Some(Fault::Node(level, index)), 0) => {
            let what = format!("node {index} of level {level} fits the tree above it, but not the nodes beneath");
            Finding::at(first_seq(level, index), FindingKind::ChangedNode, what)
        }
        (Some(Fault::Node(level, index)), _) => {
            let what = format!("node {index} of level {level} is not the hash of what lies beneath");
            Finding::at(first_seq(level, index), FindingKind::ChangedNode, what)
        }
    };
    tell(finding);
}
