//! The best hits of a page, and places between hits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use super::{Cursor, Sort};

/// Place of a hit in the order of a search; the greater comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Bits of the score, or the time, or its complement.
    pub(super) key: i64,
    /// Seq, or its complement.
    order: u64,
}

impl Rank {
    /// By score, then the newer.
    #[inline]
    pub(super) fn scored(score: f32, seq: u64) -> Rank {
        // The bits of floats that are not negative rise with them.
        Rank { key: i64::from(score.max(0.0).to_bits()), order: seq }
    }

    /// Newest first.
    #[inline]
    pub(super) fn newest(time: i64, seq: u64) -> Rank {
        Rank { key: time, order: seq }
    }

    /// Oldest first.
    #[inline]
    pub(super) fn oldest(time: i64, seq: u64) -> Rank {
        Rank { key: !time, order: !seq }
    }

    /// Where a cursor stands.
    pub(super) fn of(cursor: &Cursor, sort: Sort) -> Rank {
        let order = if sort == Sort::Oldest { !cursor.seq } else { cursor.seq };
        Rank { key: cursor.key, order }
    }

    /// The hit's seq.
    pub(super) fn seq(self, sort: Sort) -> u64 {
        if sort == Sort::Oldest { !self.order } else { self.order }
    }

    /// The score, if it is one by score.
    pub(super) fn score(self) -> f32 {
        f32::from_bits(u32::try_from(self.key).unwrap_or(0))
    }
}

/// Keeps the best so many of those after a place.
pub(super) struct Top {
    limit: usize,
    after: Option<Rank>,
    best: BinaryHeap<Reverse<Rank>>,
}

impl Top {
    pub(super) fn new(limit: usize, after: Option<Rank>) -> Top {
        Top { limit, after, best: BinaryHeap::with_capacity(limit.min(1_000) + 1) }
    }

    /// Takes a hit in if it is among the best.
    #[inline]
    pub(super) fn offer(&mut self, rank: Rank) {
        if self.after.is_some_and(|after| rank >= after) {
            return;
        }
        if self.best.len() >= self.limit {
            match self.best.peek() {
                Some(Reverse(worst)) if *worst < rank => {
                    self.best.pop();
                }
                _ => return,
            }
        }
        self.best.push(Reverse(rank));
    }

    /// What a hit has to surpass; `None` = there is room for any.
    #[inline]
    pub(super) fn worst(&self) -> Option<Rank> {
        if self.best.len() < self.limit {
            return None;
        }
        self.best.peek().map(|Reverse(rank)| *rank)
    }

    /// The hits in order.
    pub(super) fn into_ranks(self) -> Vec<Rank> {
        let mut ranks: Vec<Rank> = self.best.into_iter().map(|Reverse(rank)| rank).collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks
    }
}

/// The text is no cursor of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this program; begin again with the first page")]
pub struct BadCursor;

/// Version and the three numbers, in hexadecimal.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{:x}.{:x}.{:x}", self.key, self.seq, self.size)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Cursor, BadCursor> {
        let mut parts = text.split('.');
        if parts.next() != Some("1") {
            return Err(BadCursor);
        }
        let mut number = || {
            let part = parts.next().filter(|part| part.len() <= 16 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u64::from_str_radix(part, 16).ok()
        };
        let cursor = match (number(), number(), number()) {
            (Some(key), Some(seq), Some(size)) => Cursor { key: key.cast_signed(), seq, size },
            _ => return Err(BadCursor),
        };
        parts.next().is_none().then_some(cursor).ok_or(BadCursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_from_its_text(key: i64, seq: u64, size: u64) {
            let cursor = Cursor { key, seq, size };
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
            prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in "[0-9a-f.]{0,60}|.{0,20}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
            }
        }

        #[test]
        fn pages_of_the_best_together_are_all_in_order(
            mut keys in proptest::collection::vec(0_i64..20, 0..80),
            limit in 1_usize..7,
        ) {
            let ranks: Vec<Rank> = keys.drain(..).enumerate().map(|(seq, key)| Rank::newest(key, seq as u64)).collect();
            let mut expected = ranks.clone();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            let mut pages = Vec::new();
            loop {
                let mut top = Top::new(limit, pages.last().copied());
                ranks.iter().for_each(|rank| top.offer(*rank));
                let page = top.into_ranks();
                if page.is_empty() {
                    break;
                }
                pages.extend(page);
            }
            prop_assert_eq!(pages, expected);
        }
    }

    #[test]
    fn oldest_first_is_the_other_way_round() {
        assert!(Rank::oldest(1, 9) > Rank::oldest(2, 1));
        assert!(Rank::oldest(1, 1) > Rank::oldest(1, 2));
        assert!(Rank::newest(2, 1) > Rank::newest(1, 9));
        assert!(Rank::scored(0.5, 2) > Rank::scored(0.5, 1));
        assert_eq!(Rank::oldest(-5, 7).seq(Sort::Oldest), 7);
    }
}
