//! `/events/{seq}`: everything about one event: all of its text, who was present, and where it stands in the record.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::attachment::is_picture;
use super::transcript::{no_event, seq_of};
use crate::archive::Reader;
use crate::harmless;
use crate::model::{Event, Kind, Seq};
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::time::{self, Moment};
use crate::viewer::transcript::attendance::present;
use crate::viewer::transcript::said::Said;
use crate::viewer::transcript::who::Who;
use crate::viewer::transcript::{formatted, line, message};
use crate::viewer::{Viewer, links, words};

/// Bytes of text on the page; with more, a browser would suffer. The export has them all.
const LONGEST: usize = 2_000_000;

/// Characters of JSON on the page.
const LONGEST_JSON: usize = 20_000;

/// People named as present.
const NAMED: usize = 500;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/events/{seq}", get(event))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    q: String,
}

#[derive(Template)]
#[template(path = "event.html")]
struct Page {
    shell: Shell,
    seq: u64,
    kind: &'static str,
    who: Option<Who>,
    moment: Moment,
    place: Option<String>,
    conversation: Option<(String, String)>,
    said: Option<Said>,
    markup: Option<String>,
    attachments: Vec<message::Attached>,
    present: Vec<Present>,
    /// Whether anybody's coming and going is told.
    presence_told: bool,
    more_present: usize,
    late: Option<String>,
    /// What happened to the message afterwards, at its source.
    since_then: Vec<Change>,
    facts: Vec<(&'static str, String)>,
    json: String,
    json_cut: bool,
    previous: Option<u64>,
    next: Option<u64>,
}

/// A later event about the same message.
struct Change {
    seq: u64,
    words: &'static str,
    moment: Moment,
}

struct Present {
    who: Who,
    since: String,
}

async fn event(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Path(seq): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let seq = seq_of(&seq)?;
    let asking = Arc::clone(&viewer);
    viewer.readers.ask(move |reader| make(&asking, reader, prefs, seq, &asked)).await
}

fn make(viewer: &Viewer, reader: &Reader, prefs: Prefs, seq: Seq, asked: &Asked) -> Result<Response, PageError> {
    let event = reader.event(seq)?.ok_or_else(|| no_event(seq))?;
    let zone = prefs.zone;
    let at = event.source_time.unwrap_or(event.recorded_at);
    let (mut present_now, mut presence_told, mut conversation) = (Vec::new(), false, None);
    if let Some(id) = &event.conversation {
        let stays = reader.attendance_of(id)?;
        presence_told = !stays.is_empty();
        present_now = present(&stays, at)
            .into_iter()
            .map(|stay| Present {
                who: Who::new(&stay.person),
                since: format!("since {}", time::date_time(stay.joined_at, zone)),
            })
            .collect();
        let subject = reader.conversation(id)?.and_then(|conversation| conversation.subject);
        let title = subject.map_or_else(|| "the conversation".to_owned(), |subject| harmless::one_line(&subject));
        conversation = Some((links::conversation(id), title));
    }
    let more_present = present_now.len().saturating_sub(NAMED);
    present_now.truncate(NAMED);
    let (json, json_cut) = json(&event);
    let told = event.content.message.as_ref();
    let participant = line::participant(&event.content);
    let late = event.recorded_at.since(at);
    let kept = viewer.attachments();
    let place = event.conversation.as_ref().map(|id| links::event(id, seq));
    let last = reader.log_size()?;
    let page = Page {
        seq: seq.0,
        kind: event.kind.as_str(),
        who: event.content.actor.as_ref().or(participant.as_ref()).map(Who::new),
        moment: Moment::new(at, zone),
        place: place.map(|place| match place.split_once('#') {
            Some((path, anchor)) if !asked.q.is_empty() => format!("{path}&q={}#{anchor}", links::encode(&asked.q)),
            _ => place,
        }),
        conversation,
        said: told.filter(|m| !m.text.is_empty()).map(|m| Said::cut(&m.text, &[], m.text.floor_char_boundary(LONGEST))),
        markup: told.and_then(|m| m.html.as_deref()).and_then(formatted::formatted),
        attachments: message::attached(&event, &|sha256| is_picture(&kept, sha256)),
        present: present_now,
        more_present,
        presence_told,
        // Clocks differ by a little; what came much later was fetched afterwards.
        late: (late.as_secs() >= 60).then(|| time::length(late)),
        since_then: since_then(reader, &event, zone)?,
        facts: facts(&event, zone),
        json,
        json_cut,
        previous: (seq.0 > 1).then(|| seq.0 - 1),
        next: (seq.0 < last).then(|| seq.0 + 1),
        shell: Shell::new(viewer, prefs, "conversations", format!("Event {seq}")).searching(&asked.q),
    };
    Ok(html(page, Cache::Ask))
}

/// Who sees one version of a message must learn that there are others.
fn since_then(reader: &Reader, event: &Event, zone: chrono_tz::Tz) -> Result<Vec<Change>, PageError> {
    let (Some(id), Some(message)) = (&event.conversation, &event.content.message) else { return Ok(Vec::new()) };
    let change = |later: Event| {
        let words = match later.kind {
            Kind::MessageEdited => "edited",
            Kind::MessageDeleted => "deleted at its source",
            Kind::MessageUndelivered => "reported as not delivered",
            _ => return None,
        };
        let moment = Moment::new(later.source_time.unwrap_or(later.recorded_at), zone);
        (later.seq > event.seq).then_some(Change { seq: later.seq.0, words, moment })
    };
    Ok(reader.changes_of(id, &[&message.id])?.into_iter().filter_map(change).take(NAMED).collect())
}

/// The event as the API gives it, for people; and whether it was cut.
fn json(event: &Event) -> (String, bool) {
    let text = serde_json::to_string_pretty(event).unwrap_or_default();
    match text.char_indices().nth(LONGEST_JSON) {
        Some((end, _)) => (harmless::lines(&text[..end]), true),
        None => (harmless::lines(&text), false),
    }
}

fn facts(event: &Event, zone: chrono_tz::Tz) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Kind", event.kind.as_str().to_owned())];
    match event.source_time {
        Some(at) => facts.push(("The platform’s clock", time::full(at, zone))),
        None => facts.push(("The platform’s clock", "not told".to_owned())),
    }
    facts.push(("Recorded", time::full(event.recorded_at, zone)));
    facts.push(("Platform", words::platform(&event.platform)));
    facts.push(("Connector", harmless::one_line(&event.connector)));
    if let Some(id) = &event.conversation {
        facts.push(("Conversation", id.to_string()));
    }
    if let Some(message) = &event.content.message {
        facts.push(("Message", harmless::one_line(&message.id)));
    }
    facts.push(("Leaf hash", event.leaf_hash.clone()));
    facts
}

impl Page {
    fn heading(&self) -> String {
        match (&self.who, self.kind) {
            (Some(who), kind) if kind == Kind::MessageSent.as_str() => format!("Message of {}", who.name),
            _ => format!("Event {}", self.seq),
        }
    }
}
