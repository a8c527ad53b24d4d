//! Walks what a plan finds, and keeps what a page shows.

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::{Bm25StatisticsProvider, Bm25Weight, EnableScoring, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet, TERMINATED, Term};

use super::lists::{Opened, highest};
use super::plan::{Lists, Plan};
use super::segments::{BLOCK, Segment, Snapshot};
use super::top::{Rank, Top};
use super::{IndexError, Sort};

/// Length of a text, in tokens, at which its length neither helps nor harms. Fixed, so that a score does not change while
/// the log grows.
const AVERAGE: u64 = 12;

fn failed(source: tantivy::TantivyError) -> IndexError {
    IndexError::engine("search", source)
}

/// The log as it was at some size.
pub(super) struct AtSize<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) size: u64,
}

impl AtSize<'_> {
    /// Segments with the first document that counts, newest first.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = (&Segment, DocId)> {
        self.snapshot.segments.iter().filter_map(|segment| Some((&**segment, segment.first_within(self.size)?)))
    }

    fn documents_with(&self, term: &Term) -> tantivy::Result<u64> {
        let mut count = 0;
        for (segment, first) in self.segments() {
            let index = segment.reader.inverted_index(term.field())?;
            if first == 0 {
                count += u64::from(index.doc_freq(term)?);
            } else if let Some(mut postings) = index.read_block_postings(term, IndexRecordOption::Basic)? {
                count += u64::from(postings.doc_freq() - postings.rank(first));
            }
        }
        Ok(count)
    }
}

/// Scores are those of a log of that size, whatever has come since: so pages fit together.
impl Bm25StatisticsProvider for AtSize<'_> {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(self.size * AVERAGE)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.size)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.documents_with(term)
    }
}

/// Ranks of a page and the number of all hits.
pub(super) struct Found {
    pub(super) ranks: Vec<Rank>,
    pub(super) total: u64,
}

/// Finds the best `limit` hits after a place, and how many there are in all.
pub(super) fn find(
    plan: &Plan,
    log: &AtSize<'_>,
    sort: Sort,
    limit: usize,
    after: Option<Rank>,
) -> Result<Found, IndexError> {
    let ranks = sort == Sort::Relevance && plan.ranks;
    let searcher = &log.snapshot.searcher;
    let mut walk = Walk { top: Top::new(limit, after), total: 0 };
    let word = plan.lists.as_ref().and_then(Lists::word);
    match (word, &plan.lists, ranks) {
        (Some(word), _, true) => walk.best_of_word(word, log)?,
        (None, Some(lists), true) => walk.best_in_all(lists, log)?,
        (_, None, true) => {
            let weight = plan.query.weight(EnableScoring::enabled_from_statistics_provider(log, searcher));
            walk.best(&*weight.map_err(failed)?, log)?;
        }
        (word, lists, false) => {
            let weight = plan.query.weight(EnableScoring::disabled_from_searcher(searcher)).map_err(failed)?;
            // The number of documents with a word is known without looking at them.
            let counted = match word {
                Some(word) => Some(log.documents_with(word).map_err(failed)?),
                None => None,
            };
            let hits = match (word, lists) {
                (None, Some(lists)) => Hits::Lists(lists),
                _ => Hits::Weight(&*weight),
            };
            match sort {
                Sort::Relevance => walk.in_order_of_capture(hits, log, counted)?,
                Sort::Newest => walk.newest(hits, log, counted)?,
                Sort::Oldest => walk.oldest(hits, log, counted)?,
            }
        }
    }
    Ok(Found { ranks: walk.top.into_ranks(), total: walk.total })
}

/// A way to walk what is found in a segment.
#[derive(Clone, Copy)]
pub(super) enum Hits<'p> {
    Lists(&'p Lists),
    Weight(&'p dyn Weight),
}

impl Hits<'_> {
    /// Calls `visit` with every hit of a segment from `first` on, a handful at a time, until it returns `false`.
    pub(super) fn each(
        self,
        segment: &Segment,
        first: DocId,
        mut visit: impl FnMut(&[DocId]) -> bool,
    ) -> Result<(), IndexError> {
        let lists = match self {
            Hits::Weight(weight) => return each_of(weight, segment, first, visit),
            Hits::Lists(lists) => lists,
        };
        let Some(mut opened) = Opened::open(lists, segment, first, false)? else { return Ok(()) };
        let mut buffer = [0; COLLECT_BLOCK_BUFFER_LEN];
        let mut filled = 0;
        let mut more = true;
        opened.each(|doc| {
            buffer[filled] = doc;
            filled += 1;
            if filled == buffer.len() {
                filled = 0;
                more = visit(&buffer);
            }
            more
        });
        if more && filled > 0 {
            visit(&buffer[..filled]);
        }
        Ok(())
    }

    fn count(self, segment: &Segment, first: DocId) -> Result<u64, IndexError> {
        if let (Hits::Weight(weight), 0) = (self, first) {
            return weight.count(&segment.reader).map(u64::from).map_err(failed);
        }
        let mut count = 0;
        self.each(segment, first, |docs| {
            count += docs.len() as u64;
            true
        })?;
        Ok(count)
    }
}

/// Calls `visit` with every hit of a segment from `first` on, a handful at a time, until it returns `false`.
pub(super) fn each_of(
    weight: &dyn Weight,
    segment: &Segment,
    first: DocId,
    mut visit: impl FnMut(&[DocId]) -> bool,
) -> Result<(), IndexError> {
    let mut docs = weight.scorer(&segment.reader, 1.0).map_err(failed)?;
    if docs.doc() < first {
        docs.seek(first);
    }
    let mut buffer = [0; COLLECT_BLOCK_BUFFER_LEN];
    loop {
        let filled = docs.fill_buffer(&mut buffer);
        if filled == 0 || !visit(&buffer[..filled]) || filled < buffer.len() {
            return Ok(());
        }
    }
}

struct Walk {
    top: Top,
    total: u64,
}

impl Walk {
    /// By score. Documents come with falling seq, so a hit only equal to the worst kept is behind it.
    fn best(&mut self, weight: &dyn Weight, log: &AtSize<'_>) -> Result<(), IndexError> {
        for (segment, first) in log.segments() {
            let mut least = self.least();
            weight
                .for_each(&segment.reader, &mut |doc, score| {
                    if doc < first {
                        return;
                    }
                    self.total += 1;
                    if score > least {
                        self.top.offer(Rank::scored(score, segment.seq(doc)));
                        least = self.least();
                    }
                })
                .map_err(failed)?;
        }
        Ok(())
    }

    /// A score that a hit has to surpass.
    fn least(&self) -> f32 {
        self.top.worst().map_or(-1.0, Rank::score)
    }

    /// By score, for a single word: a loop over its list without a call per document.
    fn best_of_word(&mut self, word: &Term, log: &AtSize<'_>) -> Result<(), IndexError> {
        let documents = log.documents_with(word).map_err(failed)?;
        self.total = documents;
        if documents == 0 {
            return Ok(());
        }
        let weight = Bm25Weight::for_one_term(documents, log.size, AVERAGE as f32);
        for (segment, first) in log.segments() {
            let index = segment.reader.inverted_index(word.field()).map_err(failed)?;
            let postings = index.read_block_postings(word, IndexRecordOption::WithFreqs);
            let Some(mut postings) = postings.map_err(|error| failed(error.into()))? else { continue };
            let norms = segment.reader.get_fieldnorms_reader(word.field()).map_err(failed)?;
            let own = index.total_num_tokens() as f32 / segment.reader.max_doc() as f32;
            let bound = Bound::new(documents, log.size, own);
            let mut least = self.least();
            let mut at = if first > 0 { postings.seek(first) } else { 0 };
            while !postings.docs().is_empty() {
                if bound.of(&mut postings, &norms) > least {
                    for (doc, times) in postings.docs().iter().zip(postings.freqs()).skip(at) {
                        let score = weight.score(norms.fieldnorm_id(*doc), *times);
                        if score > least && *doc != TERMINATED {
                            self.top.offer(Rank::scored(score, segment.seq(*doc)));
                            least = self.least();
                        }
                    }
                }
                at = 0;
                postings.advance();
            }
        }
        Ok(())
    }

    /// By score, for words of which all must occur.
    fn best_in_all(&mut self, lists: &Lists, log: &AtSize<'_>) -> Result<(), IndexError> {
        let scoring: Vec<&Term> = lists.terms.iter().filter(|(_, scores)| *scores).map(|(term, _)| term).collect();
        let mut weights = Vec::with_capacity(scoring.len());
        for term in &scoring {
            let documents = log.documents_with(term).map_err(failed)?;
            if documents == 0 {
                return Ok(());
            }
            weights.push(Bm25Weight::for_one_term(documents, log.size, AVERAGE as f32));
        }
        let Some(field) = scoring.first().map(|term| term.field()) else { return Ok(()) };
        for (segment, first) in log.segments() {
            let Some(mut opened) = Opened::open(lists, segment, first, true)? else { continue };
            let norms = segment.reader.get_fieldnorms_reader(field).map_err(failed)?;
            let least = self.least();
            let count = opened.best(&weights, &norms, least, |doc, score| {
                self.top.offer(Rank::scored(score, segment.seq(doc)));
                self.least()
            });
            self.total += count;
        }
        Ok(())
    }

    /// All equally good: newest capture first.
    fn in_order_of_capture(
        &mut self,
        hits: Hits<'_>,
        log: &AtSize<'_>,
        counted: Option<u64>,
    ) -> Result<(), IndexError> {
        for (segment, first) in log.segments() {
            if self.top.worst().is_some() {
                if counted.is_none() {
                    self.total += hits.count(segment, first)?;
                }
                continue;
            }
            hits.each(segment, first, |docs| {
                if self.top.worst().is_none() {
                    docs.iter().for_each(|doc| self.top.offer(Rank::scored(0.0, segment.seq(*doc))));
                }
                self.total += docs.len() as u64;
                counted.is_none() || self.top.worst().is_none()
            })?;
        }
        self.total = counted.unwrap_or(self.total);
        Ok(())
    }

    fn newest(&mut self, hits: Hits<'_>, log: &AtSize<'_>, counted: Option<u64>) -> Result<(), IndexError> {
        for (segment, first) in log.segments() {
            // Nothing from here on can be newer than what is kept.
            let over = |top: &Top, doc: DocId| {
                top.worst().is_some_and(|worst| worst.key >= segment.latest_from[(doc / BLOCK) as usize])
            };
            if over(&self.top, first) {
                if counted.is_none() {
                    self.total += hits.count(segment, first)?;
                }
                continue;
            }
            let mut done = false;
            let mut times = [0; COLLECT_BLOCK_BUFFER_LEN];
            hits.each(segment, first, |docs| {
                self.total += docs.len() as u64;
                done = done || over(&self.top, docs[0]);
                if !done {
                    let times = &mut times[..docs.len()];
                    segment.times.values.get_vals(docs, times);
                    let least = self.top.worst().map_or(i64::MIN, |worst| worst.key);
                    for (doc, time) in docs.iter().zip(times) {
                        if *time >= least {
                            self.top.offer(Rank::newest(*time, segment.seq(*doc)));
                        }
                    }
                }
                !(done && counted.is_some())
            })?;
        }
        self.total = counted.unwrap_or(self.total);
        Ok(())
    }

    fn oldest(&mut self, hits: Hits<'_>, log: &AtSize<'_>, counted: Option<u64>) -> Result<(), IndexError> {
        for (segment, first) in log.segments().rev() {
            if self.top.worst().is_some_and(|worst| !worst.key < segment.span.0) {
                if counted.is_none() {
                    self.total += hits.count(segment, first)?;
                }
                continue;
            }
            let mut times = [0; COLLECT_BLOCK_BUFFER_LEN];
            hits.each(segment, first, |docs| {
                self.total += docs.len() as u64;
                let times = &mut times[..docs.len()];
                segment.times.values.get_vals(docs, times);
                let most = self.top.worst().map_or(i64::MAX, |worst| !worst.key);
                for (doc, time) in docs.iter().zip(times) {
                    if *time <= most {
                        self.top.offer(Rank::oldest(*time, segment.seq(*doc)));
                    }
                }
                true
            })?;
        }
        self.total = counted.unwrap_or(self.total);
        Ok(())
    }
}

/// What no score in a block exceeds.
///
/// A segment notes in each block the document that is best when its own texts are of average length. We take another
/// length as average, the same for all segments. A score `w·t/(t + k)` has `t/k` larger than that of the noted document
/// at most by the ratio of both lengths, since `k` grows more slowly than the length does.
struct Bound {
    noted: Bm25Weight,
    highest: f32,
    ratio: f32,
}

impl Bound {
    fn new(documents: u64, size: u64, own: f32) -> Bound {
        let noted = Bm25Weight::for_one_term(documents, size, own);
        Bound { highest: highest(&noted), noted, ratio: (AVERAGE as f32 / own).max(1.0) }
    }

    fn of(&self, postings: &mut BlockSegmentPostings, norms: &FieldNormReader) -> f32 {
        let part = postings.block_max_score(norms, &self.noted) / self.highest;
        if part >= 1.0 {
            return self.highest;
        }
        let times = part / (1.0 - part) * self.ratio;
        // A little more, for what is lost by rounding.
        self.highest * (times / (1.0 + times)) * 1.000_1
    }
}
