//! A set of places in the log, small enough to stay in memory: one bit for each event of the log at worst.

use crate::model::Seq;

/// Seqs that share a page: 8 KiB of bits.
const PAGE: u64 = 1 << 16;

/// A set of seqs. 10 million events take 1.3 MB at most, whatever is picked from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeqSet {
    pages: Vec<Option<Box<[u64; (PAGE / 64) as usize]>>>,
    len: u64,
}

impl SeqSet {
    /// Adds a seq; says whether it was new.
    pub fn insert(&mut self, seq: Seq) -> bool {
        let (page, word, bit) = place(seq);
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let words = self.pages[page].get_or_insert_with(|| Box::new([0; (PAGE / 64) as usize]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        self.len += u64::from(new);
        new
    }

    /// Whether the seq is in it.
    pub fn contains(&self, seq: Seq) -> bool {
        let (page, word, bit) = place(seq);
        self.pages.get(page).and_then(Option::as_ref).is_some_and(|words| words[word] & bit != 0)
    }

    /// Number of seqs.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = Seq> + '_ {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at as u64, page.as_ref()?)));
        let words = pages.flat_map(|(page, words)| {
            words.iter().enumerate().map(move |(at, word)| (page * PAGE + at as u64 * 64, *word))
        });
        words.flat_map(|(base, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| u64::from(word.trailing_zeros()))?;
                word &= word - 1;
                Some(Seq(base + bit))
            })
        })
    }
}

fn place(seq: Seq) -> (usize, usize, u64) {
    // A page number that does not fit a 32-bit machine's memory could not be held there anyway.
    let page = usize::try_from(seq.0 / PAGE).unwrap_or(usize::MAX);
    (page, (seq.0 % PAGE / 64) as usize, 1 << (seq.0 % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_in_order(seqs in proptest::collection::vec(0u64..400_000, 0..300)) {
            let mut set = SeqSet::default();
            let mut plain = BTreeSet::new();
            for seq in &seqs {
                prop_assert_eq!(set.insert(Seq(*seq)), plain.insert(*seq));
            }
            prop_assert_eq!(set.len(), plain.len() as u64);
            prop_assert_eq!(set.iter().map(|seq| seq.0).collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
            for seq in 0..1000 {
                prop_assert_eq!(set.contains(Seq(seq)), plain.contains(&seq));
            }
        }
    }
}
