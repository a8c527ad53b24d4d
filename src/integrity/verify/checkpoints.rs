//! Checkpoints from the archive and from outside, checked and brought into one order.

use std::collections::VecDeque;
use std::io::BufRead;

use super::{AuditRows, CheckpointRow};
use crate::integrity::checkpoint::{Note, NoteError, Statement, VerifyingKey, read_notes};
use crate::integrity::finding::{Finding, FindingKind};
use crate::integrity::merkle::Hash;
use crate::integrity::verify::walk::{Step, Walk};
use crate::model::Timestamp;

/// So many of the archive's newest checkpoints are remembered by their text.
const RECENT: usize = 16;

/// Where a checkpoint was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Row of the archive's table.
    Archive(i64),
    /// Line of the file outside.
    Outside(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Archive(id) => write!(f, "checkpoint {id} of the archive"),
            Place::Outside(line) => write!(f, "the checkpoint at line {line} of the checkpoint file"),
        }
    }
}

/// What a good checkpoint states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Events in the log.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: Option<Timestamp>,
    /// Where it was found.
    pub place: Place,
}

/// Every good checkpoint, by size. 72 bytes each: a year of signing every 30 seconds is 76 MB, and the log grows seldom that steadily.
#[derive(Debug, Default)]
pub struct Checkpoints {
    heads: Vec<Head>,
    next: usize,
    /// Good ones in the archive.
    pub in_archive: u64,
    /// Good ones in the file outside.
    pub outside: u64,
    /// Some could not be checked, because no public key is known.
    pub unchecked: bool,
    /// The file outside ends with a piece of a note that the archive holds whole.
    pub torn_end: bool,
    /// Texts of the newest checkpoints in the archive.
    recent: VecDeque<String>,
}

impl Checkpoints {
    /// Reads and checks the checkpoints of the archive. Without keys signatures are not checked.
    pub fn read_archive(&mut self, rows: &dyn AuditRows, keys: &[VerifyingKey], tell: &mut dyn FnMut(Finding)) {
        let key = |row: &CheckpointRow| u64::try_from(row.id).unwrap_or(0);
        let mut walk = Walk::new(u64::from(u32::MAX), |from| rows.checkpoints(from), key);
        let mut next = 1;
        while let Some(step) = walk.next() {
            let row = match step {
                Step::Row(row) => row,
                Step::Unreadable { from, why, .. } => {
                    tell(Finding::of(
                        FindingKind::Unreadable,
                        format!("checkpoints cannot be read from {from} on ({why})"),
                    ));
                    continue;
                }
            };
            let place = Place::Archive(row.id);
            if key(&row) != next {
                tell(Finding::of(FindingKind::MissingRow, format!("checkpoint {next} of the archive is missing")));
            }
            next = key(&row).saturating_add(1);
            let said = Note::parse(&row.text).and_then(|note| self.open(&note, keys));
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(row.text.clone());
            match said {
                Err(error) => tell(bad(place, &error.to_string())),
                Ok(said) if said.origin != rows.origin() => tell(bad(place, "it speaks of another log")),
                Ok(said) if (said.size, said.root, said.time) != (row.size, row.root, Some(row.at)) => {
                    tell(bad(place, "its row says something else than its signed text"));
                    self.add(said, place);
                }
                Ok(said) => {
                    self.in_archive += 1;
                    self.add(said, place);
                }
            }
        }
    }

    /// Reads and checks a file of checkpoints outside the archive.
    pub fn read_file(
        &mut self,
        input: impl BufRead,
        origin: &str,
        keys: &[VerifyingKey],
        tell: &mut dyn FnMut(Finding),
    ) {
        let mut torn: Option<(Place, String, NoteError)> = None;
        for entry in read_notes(input) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    tell(Finding::of(
                        FindingKind::Unreadable,
                        format!("the checkpoint file cannot be read to its end ({error})"),
                    ));
                    break;
                }
            };
            // A note that a power cut left half written is followed by the whole one.
            if let Some((place, raw, error)) = torn.take()
                && !entry.raw.starts_with(raw.trim_end_matches('\n'))
            {
                tell(bad(place, &error.to_string()));
            }
            let place = Place::Outside(entry.line);
            match entry.note.and_then(|note| self.open(&note, keys)) {
                Err(error @ NoteError::Form(_)) => torn = Some((place, entry.raw, error)),
                Err(error) => tell(bad(place, &error.to_string())),
                Ok(said) if said.origin != origin => tell(bad(place, "it speaks of another log")),
                Ok(said) => {
                    self.outside += 1;
                    self.add(said, place);
                }
            }
        }
        if let Some((place, raw, error)) = torn {
            // A power cut, or a copy made while it was being written; the recorder writes it again.
            self.torn_end = self.recent.iter().any(|text| text.starts_with(raw.trim_end_matches('\n')));
            if !self.torn_end {
                tell(bad(place, &error.to_string()));
            }
        }
    }

    fn open(&mut self, note: &Note, keys: &[VerifyingKey]) -> Result<Statement, NoteError> {
        if keys.is_empty() {
            self.unchecked = true;
            return Statement::parse(&note.text);
        }
        note.verify(keys)
    }

    fn add(&mut self, said: Statement, place: Place) {
        self.heads.push(Head { size: said.size, root: said.root, at: said.time, place });
    }

    /// Brings them into order; call after the last was read.
    pub fn sort(&mut self) {
        self.heads.sort_by_key(|head| head.size);
        self.next = 0;
    }

    /// The next checkpoint over at most `size` events.
    pub(super) fn take(&mut self, size: u64) -> Option<Head> {
        let head = self.heads.get(self.next).filter(|head| head.size <= size)?;
        self.next += 1;
        Some(*head)
    }

    /// The checkpoint that states the most events, if that is more than `size`, and how many do.
    pub(super) fn beyond(&self, size: u64) -> Option<(Head, usize)> {
        let first = self.heads.partition_point(|head| head.size <= size);
        let longest = self.heads.last().filter(|_| first < self.heads.len())?;
        Some((*longest, self.heads.len() - first))
    }
}

fn bad(place: Place, what: &str) -> Finding {
    Finding::of(FindingKind::BadSignature, format!("{place}: {what}"))
}
