//! From a typed query to one of the engine.

use std::collections::HashSet;
use std::sync::Arc;

use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query, TermQuery, TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, SegmentReader, TERMINATED, Term};

use super::analysis::{self, Slot};
use super::generation::Generation;
use super::query::{Filter, Node, Words};
use super::schema::{self, Fields, kind_number};
use super::segments::{BLOCK, Segment, Snapshot};
use super::slots::{Check, CheckQuery, MakeCheck, SlotsQuery, Steady};
use super::{IndexError, Scope};
use crate::model::Kind;

/// Kinds that are rarely less than a good part of the log: looked at in the column, not by their list.
const COMMON: &[Kind] = &[Kind::MessageSent, Kind::ParticipantJoined, Kind::ParticipantLeft, Kind::PlatformEvent];

/// A query of the engine.
pub(super) struct Plan {
    /// What it finds.
    pub(super) query: Box<dyn Query>,
    /// Whether one hit can be better than another.
    pub(super) ranks: bool,
    /// The same as plain lists that all must hold a document, if it is no more than that.
    pub(super) lists: Option<Lists>,
}

/// Documents that are in every list and fulfil every condition.
#[derive(Clone, Default)]
pub(super) struct Lists {
    /// Terms, and whether they add to the score.
    pub(super) terms: Vec<(Term, bool)>,
    /// Conditions.
    pub(super) checks: Vec<Arc<MakeCheck>>,
}

impl Lists {
    /// The one word of the body that it is, if it is.
    pub(super) fn word(&self) -> Option<&Term> {
        match (self.terms.as_slice(), self.checks.as_slice()) {
            ([(term, true)], []) => Some(term),
            _ => None,
        }
    }
}

/// Makes the plan of a query.
///
/// # Errors
/// The files of the index are damaged.
pub(super) fn plan(
    root: &Node,
    scope: &Scope,
    snapshot: &Arc<Snapshot>,
    generation: &Generation,
) -> Result<Plan, IndexError> {
    let planner = Planner { snapshot, fields: &snapshot.fields, generation };
    let mut all = vec![planner.node(root)?];
    all.extend(planner.scope(scope));
    let part = planner.all_of(all);
    let lists = part.lists.filter(|lists| !lists.terms.is_empty());
    Ok(Plan { query: part.query, ranks: part.ranks, lists })
}

/// A part of a plan.
struct Part {
    query: Box<dyn Query>,
    ranks: bool,
    /// Nothing was asked for: everything may be found.
    neutral: bool,
    lists: Option<Lists>,
}

impl Part {
    fn filter(query: impl Query) -> Part {
        Part { query: Box::new(query), ranks: false, neutral: false, lists: None }
    }

    fn words(query: impl Query, ranks: bool) -> Part {
        Part { ranks, ..Part::filter(query) }
    }

    /// Documents with a word, which may be better or worse.
    fn word(term: Term) -> Part {
        let query = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
        Part { lists: Some(Lists { terms: vec![(term, true)], checks: Vec::new() }), ..Part::words(query, true) }
    }

    /// Documents with a term.
    fn term(term: Term) -> Part {
        let lists = Some(Lists { terms: vec![(term.clone(), false)], checks: Vec::new() });
        Part { lists, ..Part::filter(unscored_term(term)) }
    }

    fn check(make: Arc<MakeCheck>) -> Part {
        let lists = Some(Lists { terms: Vec::new(), checks: vec![Arc::clone(&make)] });
        Part { lists, ..Part::filter(CheckQuery(make)) }
    }

    fn everything() -> Part {
        Part { neutral: true, lists: Some(Lists::default()), ..Part::filter(AllQuery) }
    }

    fn nothing() -> Part {
        Part::filter(EmptyQuery)
    }
}

struct Planner<'s> {
    snapshot: &'s Arc<Snapshot>,
    fields: &'s Fields,
    generation: &'s Generation,
}

impl Planner<'_> {
    fn node(&self, node: &Node) -> Result<Part, IndexError> {
        Ok(match node {
            Node::All => Part::everything(),
            Node::And(nodes) => {
                let mut parts = Vec::with_capacity(nodes.len());
                let mut without = Vec::new();
                for node in nodes {
                    match node {
                        // Words without anything that is indexed, a dash say, ask for nothing beside others.
                        Node::Words(words) if analysis::pattern(words).slots.is_empty() && nodes.len() > 1 => {}
                        Node::Not(inner) => without.push(self.node(inner)?),
                        node => parts.push(self.node(node)?),
                    }
                }
                let all = self.all_of(parts);
                self.but_not(all, without)
            }
            Node::Or(nodes) => {
                let parts = nodes.iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
                any_of(parts)
            }
            Node::Not(inner) => {
                let without = vec![self.node(inner)?];
                self.but_not(Part::everything(), without)
            }
            Node::Words(words) => self.words(self.fields.body, words),
            Node::Filter(filter) => self.filter(filter)?,
        })
    }

    fn all_of(&self, mut parts: Vec<Part>) -> Part {
        if parts.len() > 1 {
            parts.retain(|part| !part.neutral);
        }
        let ranks = parts.iter().any(|part| part.ranks);
        match parts.len() {
            0 => Part::everything(),
            1 => parts.remove(0),
            _ => {
                let lists = parts.iter_mut().try_fold(Lists::default(), |mut all, part| {
                    let lists = part.lists.take()?;
                    all.terms.extend(lists.terms);
                    all.checks.extend(lists.checks);
                    Some(all)
                });
                let clauses = parts.into_iter().map(|part| (Occur::Must, part.query)).collect();
                Part { lists, ..Part::words(BooleanQuery::new(clauses), ranks) }
            }
        }
    }

    fn but_not(&self, all: Part, without: Vec<Part>) -> Part {
        if without.is_empty() {
            return all;
        }
        let ranks = all.ranks;
        let mut clauses = vec![(Occur::Must, all.query)];
        clauses.extend(without.into_iter().map(|part| (Occur::MustNot, Box::new(Steady(part.query)) as _)));
        Part::words(BooleanQuery::new(clauses), ranks)
    }

    fn words(&self, field: Field, words: &Words) -> Part {
        let slots = analysis::pattern(words).slots;
        match slots.as_slice() {
            [] => Part::nothing(),
            [Slot { any, prefix: false, .. }] => {
                any_of(any.iter().map(|text| Part::word(Term::from_field_text(field, text))).collect())
            }
            slots if slots.len() > 1 && slots.iter().all(|slot| slot.any.len() == 1 && !slot.prefix) => {
                let first = slots[0].at;
                let terms =
                    slots.iter().map(|slot| ((slot.at - first) as usize, Term::from_field_text(field, &slot.any[0])));
                Part::words(PhraseQuery::new_with_offset(terms.collect()), true)
            }
            slots => Part::words(SlotsQuery { field, slots: slots.into() }, false),
        }
    }

    fn filter(&self, filter: &Filter) -> Result<Part, IndexError> {
        Ok(match filter {
            Filter::From(words) => self.from(words)?,
            Filter::With(words) => match self.from(words)? {
                part if part.query.is::<EmptyQuery>() => part,
                part => self.in_conversations(self.conversations_of(&*part.query)?),
            },
            Filter::In(words) => {
                let told = self.words(self.fields.subject, words);
                self.in_conversations(self.conversations_of(&*told.query)?)
            }
            Filter::Kind(kinds) => self.kinds(kinds),
            Filter::Platform(name) => self.exact(self.fields.platform, name),
            Filter::Connector(name) => self.exact(self.fields.connector, name),
            Filter::Conversation(id) => self.exact(self.fields.conversation, id.as_str()),
            Filter::Time { since, until } => {
                self.time(since.map_or(i64::MIN, |at| at.micros()), until.map_or(i64::MAX, |at| at.micros()))
            }
            Filter::HasAttachment => self.has(schema::ATTACHMENT),
            Filter::HasLink => self.has(schema::LINK),
            Filter::IsEdited => self.changed(self.changed_messages(true)?),
            Filter::IsDeleted => self.changed(self.changed_messages(false)?),
        })
    }

    fn scope(&self, scope: &Scope) -> Vec<Part> {
        let mut parts = Vec::new();
        match scope.conversations.as_slice() {
            [] => {}
            [one] => parts.push(self.exact(self.fields.conversation, one.as_str())),
            many => {
                let terms = many.iter().map(|id| Term::from_field_text(self.fields.conversation, id.as_str()));
                parts.push(Part::filter(TermSetQuery::new(terms)));
            }
        }
        if scope.since.is_some() || scope.until.is_some() {
            let (since, until) = (scope.since.map(|at| at.micros()), scope.until.map(|at| at.micros()));
            parts.push(self.time(since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX)));
        }
        parts
    }

    fn exact(&self, field: Field, text: &str) -> Part {
        Part::term(Term::from_field_text(field, text))
    }

    fn has(&self, what: u64) -> Part {
        Part::term(Term::from_field_u64(self.fields.has, what))
    }

    fn from(&self, words: &Words) -> Result<Part, IndexError> {
        let known = self.generation.people(self.snapshot)?;
        let people = known.matching(words);
        let term = |who: &&str| Term::from_field_text(self.fields.who, who);
        Ok(match people.as_slice() {
            [] => Part::nothing(),
            [one] => Part::term(term(one)),
            few if few.len() <= 16 => {
                let clauses = few.iter().map(|who| (Occur::Should, Box::new(unscored_term(term(who))) as _));
                Part::filter(BooleanQuery::new(clauses.collect()))
            }
            many => Part::filter(TermSetQuery::new(many.iter().map(term))),
        })
    }

    fn kinds(&self, kinds: &[Kind]) -> Part {
        if !kinds.iter().any(|kind| COMMON.contains(kind)) {
            let terms = kinds.iter().map(|kind| Term::from_field_u64(self.fields.kind, kind_number(*kind)));
            return match terms.len() {
                1 => any_of(terms.map(Part::term).collect()),
                _ => Part::filter(TermSetQuery::new(terms)),
            };
        }
        let wanted = kinds.iter().fold(0_u64, |set, kind| set | 1 << kind_number(*kind));
        self.check(move |segment| {
            let column = segment.kinds.values.clone();
            Check::Some(0, segment.reader.max_doc(), Box::new(move |doc| wanted >> column.get_val(doc) & 1 == 1))
        })
    }

    /// Events with `since ≤ time < until`. Documents come newest first and times nearly so: what lies outside is cut off
    /// at both ends, block by block, and only what is left is looked at.
    fn time(&self, since: i64, until: i64) -> Part {
        self.check(move |segment| {
            if segment.span.1 < since || segment.span.0 >= until {
                return Check::All(false);
            }
            if segment.span.0 >= since && segment.span.1 < until {
                return Check::All(true);
            }
            let touches = |block: &(i64, i64)| block.1 >= since && block.0 < until;
            let first = segment.blocks.iter().position(touches).unwrap_or(0) as u32;
            let last = segment.blocks.iter().rposition(touches).unwrap_or(0) as u32;
            let column = segment.times.values.clone();
            let holds = move |doc| (since..until).contains(&column.get_val(doc));
            Check::Some(first * BLOCK, (last + 1) * BLOCK, Box::new(holds))
        })
    }

    /// Events of conversations in these rows.
    fn in_conversations(&self, numbers: HashSet<u64>) -> Part {
        if numbers.is_empty() {
            return Part::nothing();
        }
        let last = numbers.iter().copied().max().unwrap_or(0);
        let mut bits = vec![0_u64; usize::try_from(last / 64).unwrap_or(0) + 1];
        for number in numbers {
            bits[(number / 64) as usize] |= 1 << (number % 64);
        }
        let bits: Arc<[u64]> = bits.into();
        self.check(move |segment| {
            let (column, bits) = (segment.numbers.values.clone(), Arc::clone(&bits));
            let holds = move |doc| {
                let number = column.get_val(doc);
                bits.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
            };
            Check::Some(0, segment.reader.max_doc(), Box::new(holds))
        })
    }

    /// Rows of the conversations that have an event like this.
    fn conversations_of(&self, query: &dyn Query) -> Result<HashSet<u64>, IndexError> {
        let mut numbers = HashSet::new();
        self.each(query, |segment, doc| {
            numbers.insert(segment.numbers.values.get_val(doc));
        })?;
        numbers.remove(&0);
        Ok(numbers)
    }

    /// Conversation and key of every message that was edited, or that is deleted.
    fn changed_messages(&self, edited: bool) -> Result<HashSet<(u64, u64)>, IndexError> {
        let mut found = HashSet::new();
        let mut later = HashSet::new();
        let term = |kind| Term::from_field_u64(self.fields.kind, kind_number(kind));
        let changes = match edited {
            true => TermSetQuery::new([term(Kind::MessageEdited)]),
            false => TermSetQuery::new([term(Kind::MessageEdited), term(Kind::MessageDeleted)]),
        };
        let deleted = kind_number(Kind::MessageDeleted);
        // Newest first: the first change met is the one that counts.
        self.each(&changes, |segment, doc| {
            let Some(key) = segment.messages.as_ref().and_then(|messages| messages.first(doc)) else { return };
            let message = (segment.numbers.values.get_val(doc), key);
            if edited || (later.insert(message) && segment.kinds.values.get_val(doc) == deleted) {
                found.insert(message);
            }
        })?;
        Ok(found)
    }

    /// Versions of these messages.
    fn changed(&self, messages: HashSet<(u64, u64)>) -> Part {
        if messages.is_empty() {
            return Part::nothing();
        }
        let messages = Arc::new(messages);
        let versions = 1 << kind_number(Kind::MessageSent) | 1 << kind_number(Kind::MessageEdited);
        self.check(move |segment| {
            let Some(keys) = segment.messages.clone() else { return Check::All(false) };
            let (kinds, numbers) = (segment.kinds.values.clone(), segment.numbers.values.clone());
            let messages = Arc::clone(&messages);
            let holds = move |doc| {
                versions >> kinds.get_val(doc) & 1_u64 == 1
                    && keys.first(doc).is_some_and(|key| messages.contains(&(numbers.get_val(doc), key)))
            };
            Check::Some(0, segment.reader.max_doc(), Box::new(holds))
        })
    }

    fn check(&self, of: impl Fn(&Segment) -> Check + Send + Sync + 'static) -> Part {
        let snapshot = Arc::clone(self.snapshot);
        let make = move |reader: &SegmentReader| {
            let segment = snapshot.segments.iter().find(|known| known.reader.segment_id() == reader.segment_id());
            Ok(segment.map_or(Check::All(false), |segment| of(segment)))
        };
        Part::check(Arc::new(make))
    }

    /// Walks what a query finds, newest first.
    fn each(&self, query: &dyn Query, mut visit: impl FnMut(&Segment, u32)) -> Result<(), IndexError> {
        let doing = |source| IndexError::engine("search", source);
        let searcher = &self.snapshot.searcher;
        let scoring = tantivy::query::EnableScoring::disabled_from_searcher(searcher);
        let weight = query.weight(scoring).map_err(doing)?;
        for segment in &self.snapshot.segments {
            let mut docs = weight.scorer(&segment.reader, 1.0).map_err(doing)?;
            while docs.doc() != TERMINATED {
                visit(segment, docs.doc());
                docs.advance();
            }
        }
        Ok(())
    }
}

fn any_of(mut parts: Vec<Part>) -> Part {
    match parts.len() {
        0 => Part::nothing(),
        1 => parts.remove(0),
        _ => {
            let ranks = parts.iter().any(|part| part.ranks);
            let clauses = parts.into_iter().map(|part| (Occur::Should, part.query)).collect();
            Part::words(BooleanQuery::new(clauses), ranks)
        }
    }
}

fn unscored_term(term: Term) -> ConstScoreQuery {
    ConstScoreQuery::new(Box::new(TermQuery::new(term, IndexRecordOption::Basic)), 0.0)
}
