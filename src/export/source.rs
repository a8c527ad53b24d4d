//! What is exported: a selection of one archive, fixed at a moment, and its events.

use std::collections::{HashSet, VecDeque};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::kept::Shelf;
use super::{ExportError, SeqSet};
use crate::archive::Reader;
use crate::archive::reader::{ConversationFilter, EventPages, Order};
use crate::model::{ConversationId, Event, Kind, Seq, Timestamp};

/// What is exported; everything given must hold. Nothing given = the whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these conversations; empty = all, and the events of none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conversations: Vec<ConversationId>,
    /// Events at or after this time (`source_time`, or `recorded_at` where absent).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Events before this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
    /// Only conversations with somebody whose id equals this, or whose id or name contains it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant: Option<String>,
    /// Only what came through the connector of this name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connector: Option<String>,
    /// Only what a search finds, with what was said around it. The other conditions bound the search.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub search: Option<Search>,
    /// The zone in which formats with a file for each day count days, and show times; absent = that of the search, else UTC.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "zone_name")]
    pub zone: Option<Tz>,
}

/// A zone by its IANA name.
mod zone_name {
    use chrono_tz::Tz;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(zone: &Option<Tz>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(zone.map_or("UTC", Tz::name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Tz>, D::Error> {
        String::deserialize(d)?.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

/// A search as it was made, so that its result can be judged and had again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The query as typed.
    pub query: String,
    /// The zone in which its dates begin and end (IANA name).
    pub zone: String,
    /// The moment from which its spans count back.
    pub now: Timestamp,
    /// Messages before and after each hit that go in as well, with all that happened between; they may lie outside of the
    /// times of the selection.
    pub context: u64,
}

impl Selection {
    /// `since`, if it leaves anything out: 1970 is how a command line asks for everything.
    pub fn begins(&self) -> Option<Timestamp> {
        self.since.filter(|since| *since > Timestamp(0))
    }

    /// Whether an event happened in the time that is asked for.
    fn has_time(&self, event: &Event) -> bool {
        let at = event.source_time.unwrap_or(event.recorded_at);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// A selection of one archive, fixed at the moment it was made: events that are logged later are not part of it.
pub struct Source<'r> {
    reader: &'r Reader,
    shelf: Shelf,
    selection: &'r Selection,
    size: u64,
    only: Option<HashSet<ConversationId>>,
    found: Option<Found>,
}

/// What a search gave.
struct Found {
    hits: SeqSet,
    /// Hits and their surroundings.
    all: SeqSet,
    /// Some are of no conversation.
    loose: bool,
    /// The search looked at events up to this one.
    reached: u64,
}

/// Up to so many conversations are read each by its own walk; more are picked from a walk over the log.
const OWN_WALK: usize = 16;

impl<'r> Source<'r> {
    /// Applies a selection to an archive as it stands.
    ///
    /// # Errors
    /// [`ExportError::UnknownConversation`], [`ExportError::Unsearched`], or the archive cannot be read.
    pub fn new(reader: &'r Reader, selection: &'r Selection) -> Result<Self, ExportError> {
        if selection.search.is_some() {
            return Err(ExportError::Unsearched);
        }
        Source::plain(reader, selection)
    }

    /// Applies a selection with a search to an archive: `hits` are the seqs that the index finds for the query, in any
    /// order, up to `reached`. They are held as bits, and those that the rest of the selection excludes are dropped.
    ///
    /// # Errors
    /// As [`Source::new`], and the first error of `hits`.
    pub fn of_search(
        reader: &'r Reader,
        selection: &'r Selection,
        reached: Seq,
        hits: impl Iterator<Item = Result<Seq, ExportError>>,
    ) -> Result<Self, ExportError> {
        let mut source = Source::plain(reader, selection)?;
        let mut told = SeqSet::default();
        for seq in hits {
            let seq = seq?;
            if seq.0 > 0 && seq.0 <= source.size {
                told.insert(seq);
            }
        }
        let mut found = Found { hits: SeqSet::default(), all: SeqSet::default(), loose: false, reached: reached.0 };
        let mut conversations = HashSet::new();
        for event in of_set(reader, &told) {
            let event = event?;
            if !source.takes(&event) {
                continue;
            }
            found.hits.insert(event.seq);
            match event.conversation {
                Some(id) if !conversations.contains(&id) => drop(conversations.insert(id)),
                Some(_) => {}
                None => found.loose = true,
            }
        }
        found.all = found.hits.clone();
        let context = selection.search.as_ref().map_or(0, |search| search.context);
        if context > 0 {
            for id in &conversations {
                surround(reader, id, context, source.size, &found.hits, &mut found.all)?;
            }
        }
        source.only = Some(conversations);
        source.found = Some(found);
        Ok(source)
    }

    fn plain(reader: &'r Reader, selection: &'r Selection) -> Result<Self, ExportError> {
        let size = reader.log_size()?;
        for id in &selection.conversations {
            if reader.conversation(id)?.is_none() {
                return Err(ExportError::UnknownConversation { id: id.clone() });
            }
        }
        let mut source = Source { reader, shelf: Shelf::of(reader), selection, size, only: None, found: None };
        if selection.participant.is_some() || !selection.conversations.is_empty() {
            source.only = Some(source.conversations().collect::<Result<_, _>>()?);
        }
        Ok(source)
    }

    /// The zone in which days begin and times are shown.
    pub fn zone(&self) -> Tz {
        let of_search = || self.selection.search.as_ref().and_then(|search| search.zone.parse().ok());
        self.selection.zone.or_else(of_search).unwrap_or(Tz::UTC)
    }

    /// The archive: for what is known of conversations and people, not for events.
    pub fn reader(&self) -> &'r Reader {
        self.reader
    }

    /// The kept files.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// What was asked for.
    pub fn selection(&self) -> &'r Selection {
        self.selection
    }

    /// Number of events in the log when the selection was made.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of events of the selection; where that is not known before, the size of the log, which is not less.
    pub fn total(&self) -> u64 {
        self.found.as_ref().map_or(self.size, |found| found.all.len())
    }

    /// Number of events that the search found; `None` without a search.
    pub fn hits(&self) -> Option<u64> {
        self.found.as_ref().map(|found| found.hits.len())
    }

    /// Events that the search did not look at, because the index had not reached them; 0 without a search.
    pub fn unsearched(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| self.size.saturating_sub(found.reached))
    }

    /// Whether the search found this event itself (and not only its surroundings); `false` without a search.
    pub fn is_hit(&self, seq: Seq) -> bool {
        self.found.as_ref().is_some_and(|found| found.hits.contains(seq))
    }

    /// Whether the selection takes whole conversations: neither times nor a search cut them.
    pub fn is_whole(&self) -> bool {
        self.found.is_none() && self.selection.begins().is_none() && self.selection.until.is_none()
    }

    /// The conversations of the selection: in the order asked for, else by start. Of some, no event may fit.
    pub fn conversations(&self) -> Box<dyn Iterator<Item = Result<ConversationId, ExportError>> + '_> {
        let selection = self.selection;
        let whole = self.found.is_none();
        let filter = ConversationFilter {
            // With a search, surroundings may lie outside of the times.
            since: selection.since.filter(|_| whole),
            until: selection.until.filter(|_| whole),
            participant: selection.participant.clone(),
            connector: selection.connector.clone(),
            ..ConversationFilter::default()
        };
        let reader = self.reader;
        let mut after = None;
        let mut ended = false;
        let pages = std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let page = reader.conversations(&filter, after, 500);
            match page {
                Ok(page) => {
                    after = page.next;
                    ended = page.next.is_none();
                    Some(Ok(page.rows.into_iter().map(|c| c.id).collect::<Vec<_>>()))
                }
                Err(error) => {
                    ended = true;
                    Some(Err(ExportError::from(error)))
                }
            }
        });
        let all = pages.flat_map(|page| match page {
            Ok(ids) => ids.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        let chosen = move |id: &Result<ConversationId, ExportError>| match (id, &self.only) {
            (Ok(id), Some(only)) => only.contains(id),
            _ => true,
        };
        if selection.conversations.is_empty() {
            return Box::new(all.filter(chosen));
        }
        let mut seen = HashSet::new();
        let named = selection.conversations.iter().filter(move |id| seen.insert((*id).clone()));
        if selection.participant.is_none() && selection.connector.is_none() {
            return Box::new(named.map(|id| Ok(id.clone())).filter(chosen));
        }
        // Few enough to be compared one by one.
        let fitting: Result<HashSet<_>, _> = all.collect();
        match fitting {
            Ok(fitting) => {
                Box::new(named.filter(move |id| fitting.contains(*id)).map(|id| Ok(id.clone())).filter(chosen))
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// The events of one conversation that are in the selection, in the order of display ([`Order::Time`]).
    pub fn transcript(&self, id: &ConversationId) -> impl Iterator<Item = Result<Event, ExportError>> + '_ {
        let mut pages = self.reader.transcript(id, Order::Time);
        // Within a second the order is that of capture: an event before `until` may still follow one after it.
        let last = self.selection.until.filter(|_| self.found.is_none()).map(|until| until.micros() / 1_000_000);
        std::iter::from_fn(move || {
            loop {
                match pages.next()? {
                    Ok(event) => {
                        let at = event.source_time.unwrap_or(event.recorded_at);
                        if last.is_some_and(|last| at.micros() / 1_000_000 > last) {
                            return None;
                        }
                        if self.takes(&event) {
                            return Some(Ok(event));
                        }
                    }
                    Err(error) => return Some(Err(error.into())),
                }
            }
        })
    }

    /// Whether there may be events of no conversation in the selection.
    pub fn has_loose(&self) -> bool {
        match &self.found {
            Some(found) => found.loose,
            None => self.only.is_none(),
        }
    }

    /// The events of the selection that belong to no conversation, in the order of the log.
    pub fn loose(&self) -> Box<dyn Iterator<Item = Result<Event, ExportError>> + '_> {
        if !self.has_loose() {
            return Box::new(std::iter::empty());
        }
        Box::new(self.events().filter(|event| event.as_ref().map_or(true, |event| event.conversation.is_none())))
    }

    /// The events of the selection in the order of the log.
    pub fn events(&self) -> Box<dyn Iterator<Item = Result<Event, ExportError>> + '_> {
        if let Some(found) = &self.found {
            return Box::new(of_set(self.reader, &found.all));
        }
        let mut walks: Vec<std::iter::Peekable<EventPages<'r>>> = match &self.only {
            Some(only) if only.len() <= OWN_WALK => {
                only.iter().map(|id| self.reader.transcript(id, Order::Capture).peekable()).collect()
            }
            _ => vec![self.reader.log_between(self.selection.since, self.selection.until).peekable()],
        };
        Box::new(std::iter::from_fn(move || {
            loop {
                // The walk whose next event is the earliest; a walk that failed comes first, to be told.
                let next = walks
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(at, walk)| match walk.peek()? {
                        Ok(event) => Some((event.seq.0, at)),
                        Err(_) => Some((0, at)),
                    })
                    .min()?;
                match walks[next.1].next()? {
                    Ok(event) if event.seq.0 > self.size => {
                        drop(walks.swap_remove(next.1));
                    }
                    Ok(event) if self.takes(&event) => return Some(Ok(event)),
                    Ok(_) => {}
                    Err(error) => return Some(Err(error.into())),
                }
            }
        }))
    }

    /// Whether the selection has this event.
    pub(crate) fn takes(&self, event: &Event) -> bool {
        if let Some(found) = &self.found {
            return found.all.contains(event.seq);
        }
        let conversation = match (&self.only, &event.conversation) {
            (None, _) => true,
            (Some(only), Some(id)) => only.contains(id),
            (Some(_), None) => false,
        };
        conversation
            && event.seq.0 <= self.size
            && self.selection.connector.as_ref().is_none_or(|name| *name == event.connector)
            && self.selection.has_time(event)
    }
}

/// Longest run of neighbouring events that is read at once.
const RUN: usize = 500;

/// The events of a set, in order: neighbours are read together.
fn of_set<'a>(reader: &'a Reader, set: &'a SeqSet) -> impl Iterator<Item = Result<Event, ExportError>> + 'a {
    let mut seqs = set.iter().peekable();
    let mut run = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(event) = run.next() {
                return Some(Ok(event));
            }
            let first = seqs.next()?;
            let mut length = 1;
            while length < RUN && seqs.next_if_eq(&Seq(first.0 + length as u64)).is_some() {
                length += 1;
            }
            match reader.events(first, length) {
                Ok(events) => run = events.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
    })
}

/// Adds the `context` messages before and after each hit in a conversation, and all that happened between, in the order of
/// display.
fn surround(
    reader: &Reader,
    id: &ConversationId,
    context: u64,
    size: u64,
    hits: &SeqSet,
    all: &mut SeqSet,
) -> Result<(), ExportError> {
    let context = usize::try_from(context).unwrap_or(usize::MAX);
    // What may still become the surroundings of a hit to come: a message and what followed it, for each of the last ones.
    let mut before: VecDeque<Vec<Seq>> = VecDeque::new();
    // Messages that still belong to the hit before.
    let mut after = 0;
    for event in reader.transcript(id, Order::Time) {
        let event = event?;
        if event.seq.0 > size {
            continue;
        }
        let is_message = event.kind == Kind::MessageSent;
        if hits.contains(event.seq) {
            for seq in before.drain(..).flatten() {
                all.insert(seq);
            }
            after = context;
        } else if after > 0 {
            all.insert(event.seq);
            after -= usize::from(is_message);
        } else {
            if is_message {
                before.push_back(Vec::new());
            }
            if before.len() > context {
                before.pop_front();
            }
            // Between two messages much can happen in a large meeting (people come and go): only so much is kept.
            if let Some(last) = before.back_mut().filter(|last| last.len() < RUN) {
                last.push(event.seq);
            }
        }
    }
    Ok(())
}
