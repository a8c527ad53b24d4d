//! Documents that are in several lists at once: the shape of most queries, walked without a call per document.

use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, TERMINATED};

use super::IndexError;
use super::plan::Lists;
use super::segments::Segment;
use super::slots::Check;

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
        let mut scored = 0;
        for (term, scores) in &lists.terms {
            let index = segment.reader.inverted_index(term.field()).map_err(doing)?;
            let wanted = if scoring && *scores { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
            let postings = index.read_block_postings(term, wanted).map_err(|source| doing(source.into()))?;
            let Some(postings) = postings else { return Ok(None) };
            opened.lists.push(List { postings, scores: scores.then_some(scored) });
            scored += usize::from(*scores);
        }
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
        opened.lists.sort_by_key(|list| list.postings.doc_freq());
        Ok((opened.from < opened.end).then_some(opened))
    }

    /// Calls `visit` with each document that is in all, and how often it has each of the scoring terms, until it returns
    /// `false`.
    pub(super) fn each(&mut self, scoring: usize, mut visit: impl FnMut(DocId, &[u32]) -> bool) {
        let Some((lead, others)) = self.lists.split_first_mut() else { return };
        let mut times = vec![1; scoring];
        let mut at = if self.from > 0 { lead.postings.seek(self.from) } else { 0 };
        loop {
            let docs = lead.postings.docs();
            if at >= docs.len() {
                return;
            }
            'docs: for (place, doc) in docs.iter().enumerate().skip(at) {
                let doc = *doc;
                if doc >= self.end || doc == TERMINATED {
                    return;
                }
                for other in &mut *others {
                    let found = other.postings.seek(doc);
                    if other.postings.doc(found) != doc {
                        continue 'docs;
                    }
                    if let Some(number) = other.scores.filter(|_| scoring > 0) {
                        times[number] = other.postings.freq(found);
                    }
                }
                if !self.conditions.iter().all(|holds| holds(doc)) {
                    continue;
                }
                if let Some(number) = lead.scores.filter(|_| scoring > 0) {
                    times[number] = lead.postings.freq(place);
                }
                if !visit(doc, &times) {
                    return;
                }
            }
            at = 0;
            lead.postings.advance();
        }
    }
}
