//! Documents that are in several lists at once: the shape of most queries, walked without a call per document.
//!
//! The shortest list leads. A list that is not much longer is read once into a set of bits, which answers faster than
//! the list can be searched; of a longer one only the blocks that are asked for are read.

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::Bm25Weight;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, Score, TERMINATED, Term};

use super::IndexError;
use super::plan::Lists;
use super::segments::Segment;
use super::slots::Check;

/// A search in a list costs about as much as reading so many of its documents into bits.
const SEARCH: u64 = 8;

/// Documents of a block of a list.
const BLOCK: usize = 128;

type Condition = Box<dyn Fn(DocId) -> bool + Send>;

/// The lists of one segment, opened.
pub(super) struct Opened {
    /// The shortest first.
    lists: Vec<List>,
    conditions: Vec<Condition>,
    from: DocId,
    end: DocId,
}

struct List {
    postings: BlockSegmentPostings,
    /// The same documents.
    bits: Option<Bits>,
    /// Which of the scoring terms it is.
    scores: Option<usize>,
}

impl Opened {
    /// Opens them from a document on; `None` = nothing of this segment can be in all.
    ///
    /// # Errors
    /// The files of the index are damaged.
    pub(super) fn open(
        lists: &Lists,
        segment: &Segment,
        first: DocId,
        scoring: bool,
    ) -> Result<Option<Opened>, IndexError> {
        let doing = |source| IndexError::engine("search", source);
        let mut opened =
            Opened { lists: Vec::new(), conditions: Vec::new(), from: first, end: segment.reader.max_doc() };
        for make in &lists.checks {
            match make(&segment.reader).map_err(doing)? {
                Check::All(true) => {}
                Check::All(false) => return Ok(None),
                Check::Some(from, end, holds) => {
                    opened.from = opened.from.max(from);
                    opened.end = opened.end.min(end);
                    opened.conditions.push(holds);
                }
            }
        }
        if opened.from >= opened.end {
            return Ok(None);
        }
        let read = |term: &Term, wanted| {
            let index = segment.reader.inverted_index(term.field()).map_err(doing)?;
            index.read_block_postings(term, wanted).map_err(|source| doing(source.into()))
        };
        let mut scored = 0;
        for (term, scores) in &lists.terms {
            let wanted = if scoring && *scores { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
            let Some(postings) = read(term, wanted)? else { return Ok(None) };
            opened.lists.push(List { postings, bits: None, scores: scores.then_some(scored) });
            scored += usize::from(*scores);
        }
        // Documents of the leader that will be looked for in the others.
        let shortest = opened.lists.iter().map(|list| u64::from(list.postings.doc_freq())).min().unwrap_or(0);
        let asked = shortest * u64::from(opened.end - opened.from) / u64::from(segment.reader.max_doc().max(1));
        for (list, (term, _)) in opened.lists.iter_mut().zip(&lists.terms) {
            let long = u64::from(list.postings.doc_freq());
            if long > shortest && long < asked * SEARCH {
                let all = read(term, IndexRecordOption::Basic)?;
                list.bits = all.map(|all| Bits::of(all, segment.reader.max_doc()));
            }
        }
        opened.lists.sort_by_key(|list| list.postings.doc_freq());
        Ok(Some(opened))
    }

    /// Calls `visit` with each document that is in all, until it returns `false`.
    pub(super) fn each(&mut self, mut visit: impl FnMut(DocId) -> bool) {
        let Some(members) = self.members() else {
            self.walk(|_, _, doc, _| visit(doc));
            return;
        };
        let span = (self.from, self.end);
        if let Some(lead) = self.lists.first_mut() {
            by_blocks(&mut lead.postings, span, &members, |hits| hits.iter().all(|hit| visit(hit.0)));
        }
    }

    /// The documents that are in all lists but the first, if bits alone tell, and nothing else is asked.
    fn members(&mut self) -> Option<Bits> {
        let (_, others) = self.lists.split_first_mut()?;
        if others.is_empty() || !self.conditions.is_empty() || others.iter().any(|other| other.bits.is_none()) {
            return None;
        }
        others.iter_mut().filter_map(|other| other.bits.take()).reduce(Bits::and)
    }

    /// Counts the documents that are in all, and calls `visit` with those whose score is above what it returned last.
    /// Scores are added up in the order of the weights, so that the same document gets the same bits again.
    pub(super) fn best(
        &mut self,
        weights: &[Bm25Weight],
        norms: &FieldNormReader,
        mut least: Score,
        mut visit: impl FnMut(DocId, Score) -> Score,
    ) -> u64 {
        let highest: Vec<Score> = weights.iter().map(highest).collect();
        let all: Score = highest.iter().sum();
        let mut scores = vec![0.0; weights.len()];
        let mut count = 0;
        if self.lists.first().is_some_and(|lead| lead.scores.is_some())
            && let Some(members) = self.members()
            && let Some((lead, others)) = self.lists.split_first_mut()
            && let Some(number) = lead.scores
        {
            let rest = all - highest[number];
            let mut candidates = [(0, 0, 0.0); BLOCK];
            by_blocks(&mut lead.postings, (self.from, self.end), &members, |hits| {
                count += hits.len() as u64;
                let mut kept = 0;
                for (doc, times) in hits {
                    let norm = norms.fieldnorm_id(*doc);
                    let score = weights[number].score(norm, *times);
                    candidates[kept] = (*doc, norm, score);
                    // A little slack: the sum may be rounded otherwise than the score.
                    kept += usize::from((score + rest) * 1.000_01 > least);
                }
                for (doc, norm, score) in &candidates[..kept] {
                    scores[number] = *score;
                    score_others(others, *doc, *norm, weights, &mut scores);
                    let score = scores.iter().fold(0.0, |sum, score| sum + score);
                    if score > least {
                        least = visit(*doc, score);
                    }
                }
                true
            });
            return count;
        }
        self.walk(|lead, others, doc, place| {
            count += 1;
            let norm = norms.fieldnorm_id(doc);
            let mut most = all;
            if let Some(number) = lead.scores {
                scores[number] = weights[number].score(norm, lead.postings.freq(place));
                most += scores[number] - highest[number];
            }
            // A little slack: the sum may be rounded otherwise than the score.
            if most * 1.000_01 <= least {
                return true;
            }
            score_others(others, doc, norm, weights, &mut scores);
            let score = scores.iter().fold(0.0, |sum, score| sum + score);
            if score > least {
                least = visit(doc, score);
            }
            true
        });
        count
    }

    fn walk(&mut self, mut visit: impl FnMut(&List, &mut [List], DocId, usize) -> bool) {
        let Some((lead, others)) = self.lists.split_first_mut() else { return };
        let mut at = if self.from > 0 { lead.postings.seek(self.from) } else { 0 };
        loop {
            let length = lead.postings.docs().len();
            if at >= length {
                return;
            }
            'docs: for place in at..length {
                let doc = lead.postings.doc(place);
                if doc >= self.end || doc == TERMINATED {
                    return;
                }
                for other in &mut *others {
                    let there = match &other.bits {
                        Some(bits) => bits.contains(doc),
                        None => {
                            let found = other.postings.seek(doc);
                            other.postings.doc(found) == doc
                        }
                    };
                    if !there {
                        continue 'docs;
                    }
                }
                if self.conditions.iter().all(|holds| holds(doc)) && !visit(lead, others, doc, place) {
                    return;
                }
            }
            at = 0;
            lead.postings.advance();
        }
    }
}

fn score_others(others: &mut [List], doc: DocId, norm: u8, weights: &[Bm25Weight], scores: &mut [Score]) {
    for other in others {
        if let Some(number) = other.scores {
            let found = other.postings.seek(doc);
            scores[number] = weights[number].score(norm, other.postings.freq(found));
        }
    }
}

/// Goes through the blocks of a list and calls `visit` with those of its documents that are members, and how often each has
/// the word, until it returns `false`. Which are members is found without branches, since no processor could guess them.
fn by_blocks(
    lead: &mut BlockSegmentPostings,
    (from, end): (DocId, DocId),
    members: &Bits,
    mut visit: impl FnMut(&[(DocId, u32)]) -> bool,
) {
    let mut at = if from > 0 { lead.seek(from) } else { 0 };
    let mut hits = [(0, 0); BLOCK];
    loop {
        let docs = lead.docs();
        let stop = docs.partition_point(|doc| *doc < end);
        let mut found = 0;
        for (place, doc) in docs[..stop].iter().enumerate().skip(at) {
            // Read one by one: where frequencies were not asked for, there is no slice of them.
            hits[found & (BLOCK - 1)] = (*doc, lead.freq(place));
            found += members.bit(*doc);
        }
        if !visit(&hits[..found]) || docs.is_empty() || stop < docs.len() {
            return;
        }
        at = 0;
        lead.advance();
    }
}

/// What no score of a word reaches: it is this times `t/(t + k)`, and `k` is 0.3 for a text of no length.
pub(super) fn highest(weight: &Bm25Weight) -> Score {
    weight.score(0, 1) * 1.3 * 1.000_01
}

/// A set of documents.
struct Bits(Vec<u64>);

impl Bits {
    fn of(mut postings: BlockSegmentPostings, max_doc: DocId) -> Bits {
        let mut words = vec![0_u64; max_doc as usize / 64 + 1];
        while !postings.docs().is_empty() {
            for doc in postings.docs() {
                if let Some(word) = words.get_mut(*doc as usize / 64) {
                    *word |= 1 << (doc % 64);
                }
            }
            postings.advance();
        }
        Bits(words)
    }

    #[inline]
    fn contains(&self, doc: DocId) -> bool {
        self.bit(doc) == 1
    }

    /// 1 if the document is in it, otherwise 0.
    #[inline]
    fn bit(&self, doc: DocId) -> usize {
        let word = self.0.get(doc as usize / 64).copied().unwrap_or(0);
        (word >> (doc % 64) & 1) as usize
    }

    fn and(mut self, other: Bits) -> Bits {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        self
    }
}
