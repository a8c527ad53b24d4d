//! `/search`: what the archive holds about something, with everything a reader needs to judge a hit where it stands.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::archive::Reader;
use crate::archive::reader::Coverage;
use crate::harmless::{self, one_line};
use crate::index::query::{self, Calendar, Filter, Node, QueryError};
use crate::index::{Answer, FacetCount, Hit, Request, Sort, Standing};
use crate::model::{ConversationId, Event, Kind, Timestamp};
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::time::Moment;
use crate::viewer::transcript::said::{Run, glimpse};
use crate::viewer::transcript::who::Who;
use crate::viewer::{Viewer, links, words};

/// Hits on a page.
const PAGE: usize = 20;

/// Values of a facet that are offered.
const OFFERED: usize = 8;

/// Events before and after a hit that can be looked at here.
const NEIGHBOURS: usize = 2;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/search", get(search))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    q: String,
    sort: String,
    after: String,
    /// From the form of a transcript: becomes a condition of the query.
    conversation: String,
}

impl Asked {
    fn sort(&self) -> Sort {
        match self.sort.as_str() {
            "newest" => Sort::Newest,
            "oldest" => Sort::Oldest,
            _ => Sort::Relevance,
        }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    shell: Shell,
    query: String,
    sorts: Vec<SortChoice>,
    state: Outcome,
    /// What the reader should know of the index; may be empty.
    notice: String,
    /// Name of each export format, and what it is.
    formats: Vec<(&'static str, &'static str)>,
}

/// What there is to show.
enum Outcome {
    /// Nothing was asked.
    Start,
    /// The query cannot be read.
    Broken(Broken),
    /// There is no index that could answer.
    Closed(String),
    /// Nothing was found.
    Nothing(Vec<(String, String)>),
    /// Hits.
    Found(Found),
}

struct SortChoice {
    value: &'static str,
    label: &'static str,
    chosen: bool,
}

struct Broken {
    before: String,
    meant: String,
    after: String,
    problem: String,
}

struct Found {
    total: String,
    hits: Vec<HitView>,
    facets: Vec<Facet>,
    next: Option<String>,
    first: Option<String>,
}

struct HitView {
    href: String,
    title: String,
    complete: Option<bool>,
    who: Option<Who>,
    moment: Moment,
    kind: &'static str,
    marks: Vec<&'static str>,
    runs: Vec<Run>,
    cut_before: bool,
    cut_after: bool,
    around: Vec<Neighbour>,
}

struct Neighbour {
    here: bool,
    clock: String,
    who: String,
    text: String,
}

struct Facet {
    name: &'static str,
    values: Vec<FacetValue>,
}

struct FacetValue {
    label: String,
    title: String,
    count: String,
    href: String,
}

async fn search(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    if let Some(id) = ConversationId::parse(&asked.conversation) {
        let q = format!("{} conversation:{id}", asked.q.trim());
        return Ok(Redirect::to(&links::search(q.trim())).into_response());
    }
    let asking = Arc::clone(&viewer);
    viewer.readers.ask(move |reader| make(&asking, reader, prefs, &asked)).await
}

fn make(viewer: &Viewer, reader: &Reader, prefs: Prefs, asked: &Asked) -> Result<Response, PageError> {
    let calendar = Calendar { now: viewer.clock.now(), zone: prefs.zone };
    let mut notice = String::new();
    let state = match query::parse(&asked.q, &calendar) {
        _ if asked.q.trim().is_empty() => Outcome::Start,
        Err(error) => Outcome::Broken(broken(&asked.q, &error)),
        Ok(query) => match &viewer.index {
            None => Outcome::Closed("This archive is served without search.".into()),
            Some(index) => {
                let after = match asked.after.as_str() {
                    "" => None,
                    text => Some(text.parse().map_err(|_| PageError::BadRequest {
                        problem: "That place in the results does not exist.".into(),
                        hint: "Begin at the first page of the results.".into(),
                    })?),
                };
                let facets = after.is_none();
                let request = Request { query: &query, sort: asked.sort(), limit: PAGE, after, facets };
                match index.search(reader, &request) {
                    Err(error) => {
                        tracing::warn!(%error, "a search cannot be answered");
                        let said = "The search index cannot be read just now; it is being made anew if a recorder runs. \
                                    Otherwise run `greffier reindex`.";
                        Outcome::Closed(said.into())
                    }
                    Ok(answer) => {
                        let behind = reader.log_size()?.saturating_sub(answer.reached.0);
                        if behind > 0 {
                            let events = words::plural(behind, "event");
                            notice = format!("Search is {events} behind the record and catching up.");
                        }
                        if answer.total == 0 {
                            Outcome::Nothing(wider(&query))
                        } else {
                            Outcome::Found(found(reader, &prefs, asked, &query, &calendar, answer)?)
                        }
                    }
                }
            }
        },
    };
    let title =
        if asked.q.trim().is_empty() { "Search".to_owned() } else { format!("{} – Search", one_line(&asked.q)) };
    let page = Page {
        query: asked.q.clone(),
        sorts: sorts(asked.sort()),
        state,
        notice,
        formats: crate::export::FORMATS.iter().map(|format| (format.name(), format.about())).collect(),
        shell: Shell::new(viewer, prefs, "search", title).searching(&asked.q),
    };
    Ok(html(page, Cache::Ask))
}

fn sorts(chosen: Sort) -> Vec<SortChoice> {
    [
        (Sort::Relevance, "", "Best match first"),
        (Sort::Newest, "newest", "Newest first"),
        (Sort::Oldest, "oldest", "Oldest first"),
    ]
    .map(|(sort, value, label)| SortChoice { value, label, chosen: sort == chosen })
    .into()
}

/// The query with the place that cannot be read.
fn broken(text: &str, error: &QueryError) -> Broken {
    let part = |range: std::ops::Range<usize>| one_line(text.get(range).unwrap_or_default());
    let end = error.at.end.min(text.len());
    Broken {
        before: part(0..error.at.start.min(text.len())),
        meant: part(error.at.start.min(end)..end),
        after: part(end..text.len()),
        problem: one_line(&error.problem),
    }
}

/// Queries that ask for less: without each of the conditions.
fn wider(query: &query::Query) -> Vec<(String, String)> {
    let Node::And(nodes) = &query.root else { return Vec::new() };
    let without = |at: usize| {
        let root = match nodes
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .map(|(_, node)| node.clone())
            .collect::<Vec<_>>()
        {
            mut one if one.len() == 1 => one.remove(0),
            several => Node::And(several),
        };
        query::Query { root }.to_string()
    };
    (0..nodes.len().min(6)).map(without).map(|text| (links::search(&text), one_line(&text))).collect()
}

fn found(
    reader: &Reader,
    prefs: &Prefs,
    asked: &Asked,
    query: &query::Query,
    calendar: &Calendar,
    answer: Answer,
) -> Result<Found, PageError> {
    let sorted = |parameters: &[(&str, &str)]| {
        let mut all = vec![("q", asked.q.as_str()), ("sort", asked.sort.as_str())];
        all.extend_from_slice(parameters);
        links::with("/search", &all)
    };
    let mut hits = Vec::with_capacity(answer.hits.len());
    for hit in answer.hits {
        hits.push(view(reader, prefs, asked, hit)?);
    }
    let facets = answer.facets.map(|facets| {
        let narrow = |values: &[FacetCount], field: &str| narrowed(values, field, asked, query, calendar);
        let mut months = facets.months.clone();
        // The newest are at the end.
        months.reverse();
        [
            ("Said by", narrow(&facets.senders, "from")),
            ("Conversation", narrow(&facets.conversations, "conversation")),
            ("Month", narrow(&months, "on")),
            ("Platform", narrow(&facets.platforms, "platform")),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| Facet { name, values })
        .collect()
    });
    Ok(Found {
        total: words::plural(answer.total, "hit"),
        hits,
        facets: facets.unwrap_or_default(),
        next: answer.next.map(|cursor| sorted(&[("after", &cursor.to_string())])),
        first: (!asked.after.is_empty()).then(|| sorted(&[])),
    })
}

/// A facet's values, each as this query with one condition more.
fn narrowed(
    values: &[FacetCount],
    field: &str,
    asked: &Asked,
    query: &query::Query,
    calendar: &Calendar,
) -> Vec<FacetValue> {
    let condition = |value: &str| -> Option<Filter> {
        let quoted = value.replace(['"', '\\'], " ");
        match query::parse(&format!("{field}:\"{quoted}\""), calendar)
            .or_else(|_| query::parse(&format!("{field}:{value}"), calendar))
        {
            Ok(query::Query { root: Node::Filter(filter) }) => Some(filter),
            _ => None,
        }
    };
    let value = |count: &FacetCount| {
        let narrower = query.clone().and(condition(&count.value)?).to_string();
        Some(FacetValue {
            label: label(field, count),
            title: one_line(words::address(&count.value)),
            count: words::count(count.count),
            href: links::with("/search", &[("q", &narrower), ("sort", &asked.sort)]),
        })
    };
    values.iter().take(OFFERED).filter_map(value).collect()
}

fn label(field: &str, count: &FacetCount) -> String {
    let month = (field == "on").then(|| format!("{}-01", count.value).parse::<chrono::NaiveDate>().ok()).flatten();
    match month {
        Some(first) => first.format("%B %Y").to_string(),
        None if field == "platform" => words::platform(&count.value),
        None if count.label.trim().is_empty() => one_line(&count.value),
        None => one_line(&count.label),
    }
}

fn view(reader: &Reader, prefs: &Prefs, asked: &Asked, hit: Hit) -> Result<HitView, PageError> {
    let event = &hit.event;
    let at = event.source_time.unwrap_or(event.recorded_at);
    let seq = event.seq.to_string();
    let href = match &event.conversation {
        Some(id) => format!("{}#e{seq}", links::with(&links::conversation(id), &[("at", &seq), ("q", &asked.q)])),
        None => links::with(&format!("/events/{seq}"), &[("q", &asked.q)]),
    };
    let mut marks = Vec::new();
    match hit.standing {
        Standing::Current => {}
        Standing::Superseded => marks.push("Replaced by a later edit"),
        Standing::Deleted => marks.push("Deleted at its source"),
    }
    if event.kind == Kind::MessageEdited {
        marks.push("Edited version");
    }
    let subject = hit.subject.as_deref().map(str::trim).filter(|subject| !subject.is_empty());
    let runs: Vec<Run> =
        hit.snippet.parts.iter().map(|(text, hit)| Run { text: harmless::lines(text), hit: *hit }).collect();
    Ok(HitView {
        href,
        title: subject.map_or_else(|| "Conversation without a subject".to_owned(), one_line),
        complete: hit.coverage.map(|coverage| coverage == Coverage::Complete),
        who: event
            .content
            .actor
            .as_ref()
            .map(Who::new)
            .or_else(|| crate::viewer::transcript::line::participant(&event.content).map(|person| Who::new(&person))),
        moment: Moment::new(at, prefs.zone),
        kind: kind(event.kind),
        marks,
        runs,
        cut_before: hit.snippet.cut_before,
        cut_after: hit.snippet.cut_after,
        around: around(reader, prefs, event)?,
    })
}

/// What an event is called beside who did it; nothing for a message.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::MessageSent | Kind::MessageEdited => "",
        Kind::MessageDeleted => "deleted a message",
        Kind::NoticeSent => "notice",
        Kind::ParticipantJoined => "joined",
        Kind::ParticipantLeft => "left",
        other => other.as_str(),
    }
}

/// Messages around a hit; nothing where it stands alone.
fn around(reader: &Reader, prefs: &Prefs, event: &Event) -> Result<Vec<Neighbour>, PageError> {
    let neighbours = reader.around(event.seq, NEIGHBOURS, NEIGHBOURS)?;
    if neighbours.len() < 2 {
        return Ok(Vec::new());
    }
    let line = |other: &Event| {
        let at: Timestamp = other.source_time.unwrap_or(other.recorded_at);
        let text = match (&other.content.message, &other.content.gap) {
            (Some(message), _) if !message.text.is_empty() => glimpse(&message.text, 200),
            (_, Some(gap)) => format!("Gap in the record: {}", one_line(&gap.cause)),
            _ => kind(other.kind).to_owned(),
        };
        let person =
            other.content.actor.clone().or_else(|| crate::viewer::transcript::line::participant(&other.content));
        Neighbour {
            here: other.seq == event.seq,
            clock: Moment::new(at, prefs.zone).clock,
            who: person.as_ref().map(words::name).unwrap_or_default(),
            text,
        }
    };
    Ok(neighbours.iter().map(line).collect())
}
