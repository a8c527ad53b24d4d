//! The index as those who search see it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tantivy::query::{EnableScoring, Query as _, TermQuery, Weight};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, Term};

use super::generation::{Generation, guarded};
use super::place::Place;
use super::plan::plan;
use super::query::Query;
use super::search::{AtSize, each_of, find};
use super::segments::Snapshot;
use super::snippet::Matcher;
use super::top::Rank;
use super::{Answer, Cursor, Hit, IndexError, Request, Scope, Snippet, Sort, Standing, State, Status, facets, schema};
use crate::archive::reader::EventInContext;
use crate::archive::{Layout, Reader};
use crate::model::{ConversationId, Event, Seq};

/// Hits of one page at most.
const PAGE: usize = 1_000;

/// How often an index that another process writes is looked at.
const LOOK: Duration = Duration::from_millis(400);

/// Characters of a snippet.
const SNIPPET: usize = 200;

/// Searches one archive's index. Clones share what is open. Calls block.
#[derive(Clone)]
pub struct Index {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub(super) place: Place,
    pub(super) generation: RwLock<Option<Arc<Generation>>>,
    pub(super) state: Mutex<(State, Option<String>)>,
    /// A search met what looks like damage.
    pub(super) suspect: AtomicBool,
    /// Somebody else writes it: when it was looked at last.
    looked: Mutex<Option<Instant>>,
    _temporary: Option<Temporary>,
}

/// A directory that goes with the index in it.
pub(super) struct Temporary(pub(super) PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Inner {
    pub(super) fn current(&self) -> Option<Arc<Generation>> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, generation: Option<Arc<Generation>>) {
        *self.generation.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    pub(super) fn tell(&self, state: State, why: Option<String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (state, why);
    }
}

impl Index {
    /// Opens the index beside an archive for searching. It takes up what another process commits.
    ///
    /// # Errors
    /// [`IndexError::Missing`] if there is none; [`IndexError::Stale`] if it is not that archive's; damage.
    pub fn open(layout: &Layout) -> Result<Index, IndexError> {
        let place = Place::of(layout);
        let name = place.current()?.ok_or_else(|| IndexError::Missing { dir: place.dir().to_owned() })?;
        let generation = Generation::open(&place.generation(&name), &name)?;
        if let Some(why) = generation.snapshot().stamp.mismatch(&Reader::open(&layout.database)?)? {
            return Err(IndexError::Stale { why });
        }
        Ok(Index::over(place, Some(Arc::new(generation)), false, None))
    }

    pub(super) fn over(
        place: Place,
        generation: Option<Arc<Generation>>,
        written_here: bool,
        temporary: Option<Temporary>,
    ) -> Index {
        let inner = Inner {
            place,
            generation: RwLock::new(generation),
            state: Mutex::new((State::Resting, None)),
            suspect: AtomicBool::new(false),
            looked: Mutex::new((!written_here).then(Instant::now)),
            _temporary: temporary,
        };
        Index { inner: Arc::new(inner) }
    }

    /// Finds a page of hits. The reader must be of the same archive.
    ///
    /// # Errors
    /// The archive or the index cannot be read.
    pub fn search(&self, reader: &Reader, request: &Request<'_>) -> Result<Answer, IndexError> {
        self.search_within(reader, request, &Scope::default())
    }

    /// Finds a page of hits within bounds.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search_within(&self, reader: &Reader, request: &Request<'_>, scope: &Scope) -> Result<Answer, IndexError> {
        self.asked(|generation, snapshot| {
            let reached = snapshot.stamp.reached;
            let size = request.after.map_or(reached, |cursor| cursor.size.min(reached));
            let log = AtSize { snapshot, size };
            let plan = plan(&request.query.root, scope, snapshot, generation)?;
            let limit = request.limit.clamp(1, PAGE);
            let after = request.after.as_ref().map(|cursor| Rank::of(cursor, request.sort));
            // One more than is shown tells whether there is a next page.
            let mut found = find(&plan, &log, request.sort, limit + 1, after)?;
            let more = found.ranks.len() > limit;
            found.ranks.truncate(limit);
            let cursor = |rank: &Rank| Cursor { key: rank.key, seq: rank.seq(request.sort), size };
            let next = found.ranks.last().filter(|_| more).map(cursor);
            let facets = match request.facets {
                true => Some(facets::count(&plan, &log, reader)?),
                false => None,
            };
            let scored = request.sort == Sort::Relevance && plan.ranks;
            let matcher = Matcher::new(request.query);
            let seqs: Vec<Seq> = found.ranks.iter().map(|rank| Seq(rank.seq(request.sort))).collect();
            let mut ranks = found.ranks.iter();
            let mut hits = Vec::with_capacity(seqs.len());
            // An event that the archive does not have was lost to a restored backup; the indexer notices.
            for found in reader.events_in_context(&seqs)? {
                let rank = ranks.find(|rank| Seq(rank.seq(request.sort)) == found.event.seq);
                let score = rank.filter(|_| scored).map_or(0.0, |rank| rank.score());
                hits.push(hit(&matcher, found, score));
            }
            Ok(Answer { hits, total: found.total, facets, next, reached: Seq(reached) })
        })
    }

    /// Every hit of a query within bounds, in order of seq, found segment by segment while they are walked.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn matches(&self, query: &Query, scope: &Scope) -> Result<Matches, IndexError> {
        self.asked(|generation, snapshot| {
            let plan = plan(&query.root, scope, snapshot, generation)?;
            let scoring = EnableScoring::disabled_from_searcher(&snapshot.searcher);
            let weight = plan.query.weight(scoring).map_err(|source| IndexError::engine("search", source))?;
            Ok(Matches {
                left: snapshot.segments.len(),
                snapshot: Arc::clone(snapshot),
                weight,
                docs: Vec::new(),
                at: 0,
            })
        })
    }

    /// All events that speak about a message: sent, edited, deleted, reactions to it. Rising.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn about(&self, conversation: &ConversationId, message: &str) -> Result<Vec<Seq>, IndexError> {
        let key = schema::message_key(message);
        self.asked(|_, snapshot| {
            let term = Term::from_field_text(snapshot.fields.conversation, conversation.as_str());
            let query = TermQuery::new(term, IndexRecordOption::Basic);
            let scoring = EnableScoring::disabled_from_searcher(&snapshot.searcher);
            let weight = query.weight(scoring).map_err(|source| IndexError::engine("search", source))?;
            let mut seqs = Vec::new();
            for segment in &snapshot.segments {
                let Some(messages) = &segment.messages else { continue };
                each_of(&*weight, segment, 0, |docs| {
                    let here = docs.iter().filter(|doc| messages.first(**doc) == Some(key));
                    seqs.extend(here.map(|doc| Seq(segment.seq(*doc))));
                    true
                })?;
            }
            seqs.reverse();
            Ok(seqs)
        })
    }

    /// Events up to this seq can be found.
    pub fn reached(&self) -> Seq {
        self.inner.current().map_or(Seq(0), |generation| Seq(generation.snapshot().stamp.reached))
    }

    /// How far it is, and what it is doing.
    pub fn status(&self) -> Status {
        let (state, why) = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status { reached: self.reached(), state, why }
    }

    /// Asks the open generation; what looks like damage is noted for the indexer.
    fn asked<T>(
        &self,
        ask: impl FnOnce(&Generation, &Arc<Snapshot>) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        self.look();
        let missing = || IndexError::Missing { dir: self.inner.place.dir().to_owned() };
        let generation = self.inner.current().ok_or_else(missing)?;
        let snapshot = generation.snapshot();
        let answer = guarded("search the index", || ask(&generation, &snapshot));
        if answer.as_ref().is_err_and(IndexError::is_damage) {
            self.inner.suspect.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Takes up what another process has written since. If that fails, what is open goes on answering.
    fn look(&self) {
        let mut looked = self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match *looked {
            Some(at) if at.elapsed() >= LOOK => *looked = Some(Instant::now()),
            _ => return,
        }
        drop(looked);
        let Some(generation) = self.inner.current() else { return };
        match self.inner.place.current() {
            Ok(Some(name)) if name != generation.name => {
                if let Ok(newer) = Generation::open(&self.inner.place.generation(&name), &name) {
                    self.inner.replace(Some(Arc::new(newer)));
                }
            }
            _ => {
                let _ = generation.refresh();
            }
        }
    }
}

fn hit(matcher: &Matcher, found: EventInContext, score: f32) -> Hit {
    let standing = match found.change {
        Some(change) if change.deleted => Standing::Deleted,
        Some(change) if found.event.seq < change.newest => Standing::Superseded,
        _ => Standing::Current,
    };
    let snippet = snippet(&found.event, matcher);
    Hit { event: found.event, score, snippet, standing, subject: found.subject, coverage: found.coverage }
}

/// Of the text; of what else is searched as words if only that shows a match.
fn snippet(event: &Event, matcher: &Matcher) -> Snippet {
    let content = &event.content;
    let message = content.message.as_ref();
    let shows = |snippet: &Snippet| snippet.parts.iter().any(|(_, matches)| *matches);
    let first = match message.map(|message| message.text.as_str()).filter(|text| !text.is_empty()) {
        Some(text) => matcher.snippet(text, SNIPPET),
        None => Snippet::default(),
    };
    if shows(&first) {
        return first;
    }
    let names = message.into_iter().flat_map(|message| &message.attachments).filter_map(|file| file.name.as_deref());
    let mut others = names.chain(content.subject.as_deref()).map(|text| matcher.snippet(text, SNIPPET));
    let fallback = |others: &mut dyn Iterator<Item = Snippet>| {
        let mut first = first;
        for other in others {
            if shows(&other) {
                return other;
            }
            if first.parts.is_empty() {
                first = other;
            }
        }
        first
    };
    fallback(&mut others)
}

/// Walks every hit of a query; see [`Index::matches`].
pub struct Matches {
    snapshot: Arc<Snapshot>,
    weight: Box<dyn Weight>,
    /// Segments that are still to be searched, from the end of the list.
    left: usize,
    docs: Vec<DocId>,
    /// Segment of `docs`.
    at: usize,
}

impl Iterator for Matches {
    type Item = Result<Seq, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(doc) = self.docs.pop() {
                return Some(Ok(Seq(self.snapshot.segments[self.at].seq(doc))));
            }
            self.at = self.left.checked_sub(1)?;
            self.left = self.at;
            let (segment, docs, weight) = (&self.snapshot.segments[self.at], &mut self.docs, &*self.weight);
            let found = guarded("search the index", || {
                each_of(weight, segment, 0, |found| {
                    docs.extend_from_slice(found);
                    true
                })
            });
            if let Err(error) = found {
                self.left = 0;
                self.docs.clear();
                return Some(Err(error));
            }
        }
    }
}
