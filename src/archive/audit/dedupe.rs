//! Every event has exactly one dedupe key, and every key leads to an event.

use super::Rows;
use crate::archive::number::N;
use crate::integrity::finding::{Finding, FindingKind};
use crate::integrity::verify::Bounds;

/// Beyond so many events the check is left out: the file would need more than 10 TB to have them.
const EVENTS: u64 = 1 << 34;

pub(super) fn check(rows: &Rows, bounds: &Bounds, tell: &mut dyn FnMut(Finding)) {
    if bounds.event > EVENTS {
        return;
    }
    // One bit per event; the system only gives the pages that are touched.
    let mut seen = vec![0u64; usize::try_from(bounds.event / 64 + 1).unwrap_or(0)];
    let mut read = || -> rusqlite::Result<()> {
        let mut statement = rows.conn().prepare("SELECT seq FROM dedupe")?;
        let mut keys = statement.query([])?;
        while let Some(row) = keys.next()? {
            let N(seq) = row.get(0)?;
            if seq == 0 || seq > bounds.event {
                // Beyond the end: told as a truncated log.
                continue;
            }
            let (word, bit) = (usize::try_from(seq / 64).unwrap_or(0), 1u64 << (seq % 64));
            if seen[word] & bit != 0 {
                tell(Finding::at(seq, FindingKind::ProjectionDrift, "a second dedupe key leads to this event"));
            }
            seen[word] |= bit;
        }
        Ok(())
    };
    if let Err(error) = read() {
        tell(Finding::of(FindingKind::Unreadable, format!("dedupe keys cannot be read ({error})")));
        return;
    }
    let whole = seen.iter().enumerate().filter(|(word, bits)| {
        let first = *word as u64 * 64;
        **bits != u64::MAX || first == 0 || first + 63 > bounds.event
    });
    for (word, bits) in whole {
        let first = word as u64 * 64;
        for seq in (first..first + 64).filter(|seq| *seq >= 1 && *seq <= bounds.event) {
            if bits >> (seq % 64) & 1 == 0 {
                tell(Finding::at(
                    seq,
                    FindingKind::MissingRow,
                    "its dedupe key is missing: the same fact could be logged again",
                ));
            }
        }
    }
}
