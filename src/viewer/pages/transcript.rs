//! `/conversations/{id}`: a transcript, a page of it at a time. `/e/{seq}`: wherever that event stands.

use std::ops::Range;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono::NaiveDate;
use serde::Deserialize;

use super::attachment::is_picture;
use crate::archive::Reader;
use crate::archive::reader::ConversationState;
use crate::export;
use crate::harmless::one_line;
use crate::index::query::Calendar;
use crate::index::snippet::Matcher;
use crate::index::{self, Scope};
use crate::model::{ConversationId, Seq, Timestamp};
use crate::viewer::page::{Cache, PageError, Prefs, RecorderMark, Shell, html};
use crate::viewer::time::{self, Moment};
use crate::viewer::transcript::ask::{self, Head, PAGE, Place, Stretch};
use crate::viewer::transcript::attendance::{self, Attended};
use crate::viewer::transcript::coverage::{self, Told};
use crate::viewer::transcript::line::{Group, Word};
use crate::viewer::transcript::page::{Block, Day};
use crate::viewer::transcript::{Setting, days};
use crate::viewer::{Viewer, links, words};

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/conversations/{id}", get(transcript)).route("/e/{seq}", get(event))
}

/// What the address says. Everything is text, so that what cannot be understood gets an answer of ours.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    at: String,
    after: String,
    before: String,
    end: String,
    day: String,
    hide: String,
    q: String,
}

#[derive(Template)]
#[template(path = "transcript.html")]
struct Page {
    shell: Shell,
    head: HeadView,
    toggles: Vec<Toggle>,
    hidden: String,
    day: String,
    days_list: Vec<Jump>,
    formats: Vec<FormatLink>,
    hits: Option<Hits>,
    ways: Ways,
    days: Vec<Day>,
    empty: &'static str,
    live: Option<String>,
}

struct HeadView {
    id: String,
    address: String,
    platform: String,
    connector: String,
    title: String,
    live: bool,
    started: Moment,
    span: String,
    people: String,
    messages: String,
    first_day: String,
    last_day: String,
    coverage: Told,
    attended: Attended,
    /// Whether the time line is seen without opening it.
    open: bool,
}

struct Toggle {
    label: &'static str,
    shown: bool,
    href: String,
}

struct Jump {
    name: String,
    messages: String,
    href: String,
}

struct FormatLink {
    name: &'static str,
    about: &'static str,
    href: String,
    /// The one file of the format without what goes with it.
    alone: Option<String>,
}

struct Hits {
    told: String,
    previous: Option<String>,
    next: Option<String>,
    all: String,
    leave: String,
}

#[derive(Default)]
struct Ways {
    first: Option<String>,
    earlier: Option<String>,
    later: Option<String>,
    newest: Option<String>,
    reload: String,
}

async fn event(State(viewer): State<Arc<Viewer>>, Path(seq): Path<String>) -> Result<Response, PageError> {
    let seq = seq_of(&seq)?;
    let found = viewer.readers.ask(move |reader| Ok::<_, PageError>(reader.event(seq)?)).await?;
    let event = found.ok_or_else(|| no_event(seq))?;
    let address = match &event.conversation {
        Some(id) => links::event(id, seq),
        None => format!("/events/{seq}"),
    };
    Ok(Redirect::to(&address).into_response())
}

/// The number of an event, as an address says it.
pub(in crate::viewer) fn seq_of(text: &str) -> Result<Seq, PageError> {
    text.parse().map(Seq).map_err(|_| PageError::BadRequest {
        problem: "An event is named by its number in the log.".into(),
        hint: "Follow a link from a transcript, or write a number such as /e/42.".into(),
    })
}

pub(super) fn no_event(seq: Seq) -> PageError {
    PageError::NotFound {
        what: format!("There is no event {seq} in this archive."),
        hint: "Events are numbered from 1 without holes; the integrity page tells how many there are.".into(),
    }
}

/// The conversation that an address names.
pub(in crate::viewer) fn conversation_of(text: &str) -> Result<ConversationId, PageError> {
    ConversationId::parse(text).ok_or_else(no_conversation)
}

pub(in crate::viewer) fn no_conversation() -> PageError {
    PageError::NotFound {
        what: "There is no such conversation in this archive.".into(),
        hint: "The address may have been cut; the list of conversations has them all.".into(),
    }
}

async fn transcript(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let id = conversation_of(&id)?;
    let place = place(&asked, &prefs)?;
    let asking = Arc::clone(&viewer);
    let answer = viewer.readers.ask(move |reader| -> Result<Response, PageError> {
        let key = key(&asking, reader, &prefs, &id, &asked)?;
        if let Some(known) = key.as_deref().and_then(|key| asking.kept.get(key)) {
            return Ok(known);
        }
        // What is answered is looked up in the index: before it has caught up, a page may lack a quotation.
        let size = reader.log_size()?;
        let whole = asking.index.as_ref().is_none_or(|index| index.reached().0 >= size);
        let answer = make(&asking, reader, prefs, &id, &asked, place)?;
        if let Some(key) = key.filter(|_| whole) {
            asking.kept.keep(key, &answer);
        }
        Ok(answer)
    });
    answer.await
}

/// Everything that the page is made from, if it cannot change by itself: the conversation has ended and no search came along.
fn key(
    viewer: &Viewer,
    reader: &Reader,
    prefs: &Prefs,
    id: &ConversationId,
    asked: &Asked,
) -> Result<Option<String>, PageError> {
    if !asked.q.is_empty() {
        return Ok(None);
    }
    let Some((ConversationState::Ended, events)) = reader.stamp_of(id)? else { return Ok(None) };
    let mark = RecorderMark::of(&viewer.vitals);
    let zone = (prefs.zone.name(), &prefs.zone_label, prefs.chosen);
    Ok(Some(format!("{events} {zone:?} {mark:?} {}", prefs.here)))
}

fn place(asked: &Asked, prefs: &Prefs) -> Result<Place, PageError> {
    let broken = || PageError::BadRequest {
        problem: "That place in the transcript cannot be found.".into(),
        hint: "Begin at the start of the conversation and go on from there.".into(),
    };
    if !asked.at.is_empty() {
        return seq_of(&asked.at).map(Place::At);
    }
    if !asked.after.is_empty() {
        return asked.after.parse().map(Place::After).map_err(|_| broken());
    }
    if !asked.before.is_empty() {
        return asked.before.parse().map(Place::Before).map_err(|_| broken());
    }
    if !asked.day.is_empty() {
        let day: NaiveDate = asked.day.parse().map_err(|_| PageError::BadRequest {
            problem: "That is no day.".into(),
            hint: "Write it as year, month and day, such as 2026-11-21.".into(),
        })?;
        return Ok(Place::From(time::start_of(day, prefs.zone)));
    }
    Ok(if asked.end == "newest" { Place::Newest } else { Place::First })
}

fn make(
    viewer: &Viewer,
    reader: &Reader,
    prefs: Prefs,
    id: &ConversationId,
    asked: &Asked,
    place: Place,
) -> Result<Response, PageError> {
    let log_size = reader.log_size()?;
    let head = ask::head(reader, id)?.ok_or_else(no_conversation)?;
    if let Place::At(seq) = place {
        match reader.position_of(seq)? {
            Some((there, _)) if there != *id => return Ok(Redirect::to(&links::event(&there, seq)).into_response()),
            Some(_) => {}
            None => return Err(no_event(seq)),
        }
    }
    let now = viewer.clock.now();
    let mut hidden = Group::hidden(&asked.hide);
    if let Place::At(seq) = place {
        // Who follows a link to an event wants to see it.
        let of_event = reader.event(seq)?.and_then(|event| Group::of(event.kind));
        hidden.retain(|group| Some(*group) != of_event);
    }
    let stretch = ask::stretch(reader, id, ask::kinds(&hidden), place, PAGE)?;
    let search = Search::new(asked, &prefs, now);
    let context = ask::context(reader, id, &stretch.events, &|message| about(viewer, id, message))?;
    let kept = viewer.attachments();
    let setting = Setting {
        zone: prefs.zone,
        conversation: id,
        marks: &|text| search.marks(text),
        at: if let Place::At(seq) = place { Some(seq) } else { None },
        query: &asked.q,
        pictures: &|sha256| is_picture(&kept, sha256),
    };
    let days = days(&stretch.events, &context, &setting);
    let live = head.conversation.state == ConversationState::Live && stretch.later.is_none();
    let page = Page {
        toggles: toggles(id, asked, &hidden),
        hidden: Group::words(&hidden),
        day: asked.day.clone(),
        days_list: jumps(reader, id, &prefs, asked)?,
        formats: formats(id),
        hits: hits(viewer, id, asked, &search, &stretch),
        ways: ways(id, asked, &hidden, &stretch, place),
        empty: if head.conversation.messages == 0 && asked.hide.is_empty() {
            "Nobody has said anything here yet."
        } else {
            "Nothing to see here: what happened belongs to what is hidden."
        },
        live: live.then(|| {
            links::with(
                &format!("/conversations/{id}/live"),
                &[("after", &log_size.to_string()), ("hide", &Group::words(&hidden)), ("tz", prefs.zone.name())],
            )
        }),
        head: view(&head, &prefs, now),
        days,
        shell: Shell::new(viewer, prefs, "conversations", title(&head)).searching(&asked.q),
    };
    Ok(html(page, Cache::Ask))
}

/// Subject, or who takes part.
fn title(head: &Head) -> String {
    let subject = head.conversation.subject.as_deref().map(str::trim).filter(|subject| !subject.is_empty());
    if let Some(subject) = subject {
        return one_line(subject);
    }
    let names: Vec<String> = head.conversation.participants.iter().take(3).map(words::name).collect();
    match head.conversation.participants.len() {
        0 => "Conversation without a subject".to_owned(),
        count @ 1..=3 if count == names.len() => names.join(", "),
        count => format!("{} and {} more", names.join(", "), count - names.len()),
    }
}

fn view(head: &Head, prefs: &Prefs, now: Timestamp) -> HeadView {
    let conversation = &head.conversation;
    let zone = prefs.zone;
    let gaps: Vec<_> = head.gaps.iter().map(|(_, gap)| gap.clone()).collect();
    let (from, to) = (conversation.started_at, conversation.ended_at);
    let first_day = time::date(from, zone);
    let last_day = time::date(to.unwrap_or(now).max(from), zone);
    let length = time::length(to.unwrap_or(now).since(from));
    let span = match to {
        Some(to) if first_day == last_day => {
            format!("{}, {} ({length})", time::day(first_day), time::span(from, Some(to), zone))
        }
        Some(to) => format!("{} – {} ({length})", time::date_time(from, zone), time::date_time(to, zone)),
        None => format!("since {} ({length})", time::date_time(from, zone)),
    };
    let people = u64::try_from(conversation.participants.len()).unwrap_or(u64::MAX);
    let attended = attendance::attended(conversation, &head.stays, &gaps, zone, now);
    HeadView {
        id: conversation.id.to_string(),
        address: links::conversation(&conversation.id),
        platform: words::platform(&conversation.platform),
        connector: one_line(&conversation.connector),
        title: title(head),
        live: conversation.state == ConversationState::Live,
        started: Moment::new(from, zone),
        span,
        people: if people == 1 { "1\u{a0}person".into() } else { format!("{}\u{a0}people", words::count(people)) },
        messages: words::plural(conversation.messages, "message"),
        first_day: first_day.to_string(),
        last_day: last_day.to_string(),
        coverage: coverage::told(
            &head.coverage,
            &head.gaps,
            conversation.state == ConversationState::Live,
            &conversation.id,
            zone,
        ),
        open: attended.people.len() <= attendance::FIRST,
        attended,
    }
}

fn toggles(id: &ConversationId, asked: &Asked, hidden: &[Group]) -> Vec<Toggle> {
    let toggle = |group: Group| {
        let shown = !hidden.contains(&group);
        let others: Vec<Group> = Group::ALL
            .into_iter()
            .filter(|other| if *other == group { shown } else { hidden.contains(other) })
            .collect();
        let same = [
            ("at", asked.at.as_str()),
            ("after", &asked.after),
            ("before", &asked.before),
            ("day", &asked.day),
            ("end", &asked.end),
            ("hide", &Group::words(&others)),
            ("q", &asked.q),
        ];
        Toggle { label: group.label(), shown, href: links::with(&links::conversation(id), &same) }
    };
    Group::ALL.into_iter().map(toggle).collect()
}

fn ways(id: &ConversationId, asked: &Asked, hidden: &[Group], stretch: &Stretch, place: Place) -> Ways {
    let way = |name: &str, value: &str| {
        links::with(&links::conversation(id), &[(name, value), ("hide", &Group::words(hidden)), ("q", &asked.q)])
    };
    Ways {
        first: (place != Place::First && stretch.earlier.is_some()).then(|| way("", "")),
        earlier: stretch.earlier.map(|position| way("before", &position.to_string())),
        later: stretch.later.map(|position| way("after", &position.to_string())),
        newest: stretch.later.map(|_| way("end", "newest")),
        reload: way("end", "newest"),
    }
}

fn jumps(reader: &Reader, id: &ConversationId, prefs: &Prefs, asked: &Asked) -> Result<Vec<Jump>, PageError> {
    /// Days in the list; the field beside it reaches any.
    const LISTED: usize = 400;
    let days = reader.days_of(id)?;
    if days.len() < 2 {
        return Ok(Vec::new());
    }
    let jump = |(day, messages): &(i64, u64)| {
        // Noon of the UTC day falls on the same date in nearly every zone.
        let date = time::date(Timestamp(day * 86_400_000_000 + 43_200_000_000), prefs.zone);
        Jump {
            name: time::day(date),
            messages: words::plural(*messages, "message"),
            href: links::with(
                &links::conversation(id),
                &[("day", &date.to_string()), ("hide", &asked.hide), ("q", &asked.q)],
            ),
        }
    };
    Ok(days.iter().take(LISTED).map(jump).collect())
}

fn formats(id: &ConversationId) -> Vec<FormatLink> {
    let path = format!("/conversations/{id}/export");
    let link = |format: &&dyn export::Format| FormatLink {
        name: format.name(),
        about: format.about(),
        href: links::with(&path, &[("format", format.name())]),
        alone: (format.container() == export::Container::One)
            .then(|| links::with(&path, &[("format", format.name()), ("file", "only")])),
    };
    export::FORMATS.iter().map(link).collect()
}

/// What the reader came from a search with.
struct Search {
    query: Option<index::query::Query>,
    matcher: Option<Matcher>,
}

impl Search {
    /// A query that cannot be read marks nothing here; the search page says what is wrong with it.
    fn new(asked: &Asked, prefs: &Prefs, now: Timestamp) -> Search {
        let calendar = Calendar { now, zone: prefs.zone };
        let query = Some(&asked.q).filter(|text| !text.trim().is_empty());
        let query = query.and_then(|text| index::query::parse(text, &calendar).ok());
        Search { matcher: query.as_ref().map(Matcher::new), query }
    }

    fn marks(&self, text: &str) -> Vec<Range<usize>> {
        self.matcher.as_ref().map(|matcher| matcher.marks(text)).unwrap_or_default()
    }
}

/// Events that carry a message's identifier; none where that cannot be found out.
pub(in crate::viewer) fn about(viewer: &Viewer, id: &ConversationId, message: &str) -> Vec<Seq> {
    let found = viewer.index.as_ref().map(|index| index.about(id, message));
    found.and_then(Result::ok).unwrap_or_default()
}

/// The hits around the place that is shown, in the order in which the transcript shows them.
fn hits(viewer: &Viewer, id: &ConversationId, asked: &Asked, search: &Search, stretch: &Stretch) -> Option<Hits> {
    let query = search.query.as_ref()?;
    let scope = Scope { conversations: vec![id.clone()], ..Scope::default() };
    let found = viewer.index.as_ref()?.matches(query, &scope).ok()?;
    let here = asked.at.parse().ok().map(Seq);
    let first = here.or_else(|| stretch.events.first().map(|event| event.seq));
    let (mut total, mut before, mut is_hit, mut previous, mut next) = (0_u64, 0_u64, false, None, None);
    for seq in found {
        let seq = seq.ok()?;
        total += 1;
        is_hit |= here == Some(seq);
        if first.is_some_and(|first| seq < first) {
            before += 1;
            previous = Some(seq);
        } else if next.is_none() && here != Some(seq) {
            next = Some(seq);
        }
    }
    let way = |seq: Seq| {
        let number = seq.to_string();
        let address = links::with(&links::conversation(id), &[("at", &number), ("hide", &asked.hide), ("q", &asked.q)]);
        format!("{address}#e{number}")
    };
    let told = match (total, is_hit) {
        (0, _) => "No hit in this conversation for".to_owned(),
        (total, true) => format!("Hit {} of {} for", words::count(before + 1), words::count(total)),
        (total, false) => format!("{} in this conversation for", words::plural(total, "hit")),
    };
    Some(Hits {
        told,
        previous: previous.map(way),
        next: next.map(way),
        all: links::search(&asked.q),
        leave: links::with(&links::conversation(id), &[("at", &asked.at), ("hide", &asked.hide)]),
    })
}

#[cfg(test)]
mod tests;
