//! Queries of our own over the body: prefixes, words with several spellings in a row, and conditions on columns.

use std::fmt;
use std::sync::Arc;

use tantivy::postings::{Postings, SegmentPostings, TermInfo};
use tantivy::query::{BitSetDocSet, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, InvertedIndexReader, Score, SeekDangerResult, SegmentReader, TERMINATED, Term};

use super::analysis::Slot;

fn none(doc: DocId) -> tantivy::TantivyError {
    tantivy::TantivyError::InvalidArgument(format!("document {doc} is not explained"))
}

/// Documents in which the slots occur at their distances; one slot alone is a set of words. All are equally good.
#[derive(Clone, Debug)]
pub(super) struct SlotsQuery {
    pub(super) field: Field,
    pub(super) slots: Arc<[Slot]>,
}

impl Query for SlotsQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for SlotsQuery {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let index = reader.inverted_index(self.field)?;
        let mut lists = Vec::with_capacity(self.slots.len());
        for slot in self.slots.iter() {
            let terms = terms_of(self.field, slot, &index)?;
            if terms.is_empty() {
                return Ok(Box::new(EmptyScorer));
            }
            lists.push((slot.at, terms));
        }
        let docs = match lists.as_slice() {
            [(_, terms)] => {
                if let [term] = terms.as_slice() {
                    let postings = index.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
                    return Ok(Box::new(ConstScorer::new(postings, boost)));
                }
                union(terms, reader.max_doc(), &index)?
            }
            _ => in_a_row(lists, reader.max_doc(), &index)?,
        };
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(docs), boost)))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(none(doc))
    }
}

/// All terms of the dictionary that the slot takes.
fn terms_of(field: Field, slot: &Slot, index: &InvertedIndexReader) -> tantivy::Result<Vec<TermInfo>> {
    let mut found = Vec::new();
    for text in &slot.any {
        if slot.prefix {
            let from = text.as_bytes();
            let mut range = index.terms().range().ge(from);
            if let Some(end) = after_all_with(from) {
                range = range.lt(end);
            }
            let mut stream = range.into_stream()?;
            while stream.advance() {
                found.push(stream.value().clone());
            }
        } else {
            found.extend(index.get_term_info(&Term::from_field_text(field, text))?);
        }
    }
    Ok(found)
}

/// The least bytes greater than everything that begins with these.
fn after_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn union(terms: &[TermInfo], max_doc: DocId, index: &InvertedIndexReader) -> tantivy::Result<BitSet> {
    let mut docs = BitSet::with_max_value(max_doc);
    for term in terms {
        let mut block = index.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?;
        loop {
            if block.docs().is_empty() {
                break;
            }
            for doc in block.docs() {
                docs.insert(*doc);
            }
            block.advance();
        }
    }
    Ok(docs)
}

/// Goes through the slots, the rarest first, and keeps the places where all so far are met.
fn in_a_row(
    mut lists: Vec<(u32, Vec<TermInfo>)>,
    max_doc: DocId,
    index: &InvertedIndexReader,
) -> tantivy::Result<BitSet> {
    lists.sort_by_key(|(_, terms)| terms.iter().map(|term| u64::from(term.doc_freq)).sum::<u64>());
    // Document and place of slot 0, both rising; places may be before the text's beginning.
    let mut places: Vec<(DocId, i64)> = Vec::new();
    let mut positions = Vec::new();
    for (turn, (at, terms)) in lists.iter().enumerate() {
        let mut met = Vec::new();
        for term in terms {
            let mut postings: SegmentPostings =
                index.read_postings_from_terminfo(term, IndexRecordOption::WithFreqsAndPositions)?;
            if turn == 0 {
                while postings.doc() != TERMINATED {
                    postings.positions(&mut positions);
                    met.extend(
                        positions.iter().map(|position| (postings.doc(), i64::from(*position) - i64::from(*at))),
                    );
                    postings.advance();
                }
                continue;
            }
            let mut rest = places.as_slice();
            while let Some((doc, _)) = rest.first().copied() {
                let same = rest.iter().take_while(|place| place.0 == doc).count();
                let (here, others) = rest.split_at(same);
                rest = others;
                if postings.doc() < doc {
                    postings.seek(doc);
                }
                if postings.doc() == doc {
                    postings.positions(&mut positions);
                    let wanted = |place: &&(DocId, i64)| {
                        u32::try_from(place.1 + i64::from(*at)).is_ok_and(|at| positions.binary_search(&at).is_ok())
                    };
                    met.extend(here.iter().filter(wanted));
                } else if postings.doc() == TERMINATED {
                    break;
                } else {
                    let next = postings.doc();
                    let skip = rest.partition_point(|place| place.0 < next);
                    rest = &rest[skip..];
                }
            }
        }
        met.sort_unstable();
        met.dedup();
        places = met;
        if places.is_empty() {
            break;
        }
    }
    let mut docs = BitSet::with_max_value(max_doc);
    for (doc, _) in places {
        docs.insert(doc);
    }
    Ok(docs)
}

/// The same documents, by a walk that any target may be asked of: what is excluded is asked out of turn, which the
/// engine's phrases do not bear.
#[derive(Debug)]
pub(super) struct Steady(pub(super) Box<dyn Query>);

impl Clone for Steady {
    fn clone(&self) -> Self {
        Steady(self.0.box_clone())
    }
}

impl Query for Steady {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        let unscored = match &scoring {
            EnableScoring::Enabled { searcher, .. } => EnableScoring::disabled_from_searcher(searcher),
            EnableScoring::Disabled { .. } => scoring,
        };
        Ok(Box::new(SteadyWeight(self.0.weight(unscored)?)))
    }
}

struct SteadyWeight(Box<dyn Weight>);

impl Weight for SteadyWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        Ok(Box::new(SteadyScorer(self.0.scorer(reader, boost)?)))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(none(doc))
    }
}

struct SteadyScorer(Box<dyn Scorer>);

impl DocSet for SteadyScorer {
    fn advance(&mut self) -> DocId {
        self.0.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.0.doc() < target { self.0.seek(target) } else { self.0.doc() }
    }

    // `seek_danger` is the default one, which goes by `doc` and `seek`.

    fn doc(&self) -> DocId {
        self.0.doc()
    }

    fn size_hint(&self) -> u32 {
        self.0.size_hint()
    }

    fn cost(&self) -> u64 {
        self.0.cost()
    }
}

impl Scorer for SteadyScorer {
    fn score(&mut self) -> Score {
        0.0
    }
}

/// What a condition says of one segment.
pub(super) enum Check {
    /// All its documents, or none.
    All(bool),
    /// Those from the first number to before the second for which the function says so.
    Some(DocId, DocId, Box<dyn Fn(DocId) -> bool + Send>),
}

/// Makes the [`Check`] of a segment.
pub(super) type MakeCheck = dyn Fn(&SegmentReader) -> tantivy::Result<Check> + Send + Sync;

/// A condition that is looked at document by document; it adds nothing to a score.
#[derive(Clone)]
pub(super) struct CheckQuery(pub(super) Arc<MakeCheck>);

impl fmt::Debug for CheckQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckQuery")
    }
}

impl Query for CheckQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for CheckQuery {
    fn scorer(&self, reader: &SegmentReader, _: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let (from, to, holds): (_, _, Box<dyn Fn(DocId) -> bool + Send>) = match (self.0)(reader)? {
            Check::All(false) => return Ok(Box::new(EmptyScorer)),
            Check::All(true) => (0, reader.max_doc(), Box::new(|_| true)),
            Check::Some(from, to, holds) => (from, to.min(reader.max_doc()), holds),
        };
        let mut checked = Checked { doc: from, end: to, holds };
        checked.settle();
        Ok(Box::new(checked))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(none(doc))
    }
}

struct Checked {
    doc: DocId,
    end: DocId,
    holds: Box<dyn Fn(DocId) -> bool + Send>,
}

impl Checked {
    /// To the first document from here on for which it holds.
    fn settle(&mut self) -> DocId {
        while self.doc < self.end && !(self.holds)(self.doc) {
            self.doc += 1;
        }
        if self.doc >= self.end {
            self.doc = TERMINATED;
        }
        self.doc
    }
}

impl DocSet for Checked {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        self.doc += 1;
        self.settle()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc < target {
            self.doc = target;
            self.settle();
        }
        self.doc
    }

    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        if self.doc > target {
            return SeekDangerResult::SeekLowerBound(self.doc);
        }
        if target >= self.end {
            self.doc = TERMINATED;
            return SeekDangerResult::SeekLowerBound(TERMINATED);
        }
        if (self.holds)(target) {
            self.doc = target;
            return SeekDangerResult::Found;
        }
        // Left where it was: only `seek_danger` may follow, and it asks for later documents alone.
        SeekDangerResult::SeekLowerBound(target + 1)
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.end.saturating_sub(self.doc)
    }

    fn cost(&self) -> u64 {
        // Dearer than any list of documents, so that lists lead and this only answers.
        u64::from(self.size_hint()) * 20
    }
}

impl Scorer for Checked {
    fn score(&mut self) -> Score {
        0.0
    }
}
