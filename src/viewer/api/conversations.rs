//! Conversations: the list, one with everything known about it, and its events.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Failure, Given, json, limit, read, time, unknown};
use crate::archive::Reader;
use crate::archive::reader::{
    Conversation, ConversationFilter, ConversationPosition, ConversationState, Coverage, KindSet, Order, Position,
};
use crate::capture::coverage::Statement;
use crate::model::{ConversationId, Event, Gap, Kind, Person, Seq, Timestamp};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;
use crate::viewer::transcript::ask::{self, Place};

/// Which conversations; everything given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Something happened at or after this time (RFC 3339, or a date in UTC).
    since: Option<String>,
    /// Something happened before this time.
    until: Option<String>,
    /// Somebody's id or name contains this.
    participant: Option<String>,
    /// Somebody's id equals this.
    person: Option<String>,
    /// Name of the connector.
    connector: Option<String>,
    /// Kind of the connector.
    platform: Option<String>,
    /// The subject contains this.
    subject: Option<String>,
    /// `live` or `ended`.
    state: Option<String>,
    /// `complete` or `incomplete`.
    coverage: Option<String>,
    /// Conversations at most, 1 to 1000; default 100.
    limit: Option<usize>,
    /// `next` of the page before.
    after: Option<String>,
}

impl Asked {
    fn filter(&self) -> Result<ConversationFilter, PageError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let wrong =
            |problem: &str| PageError::BadRequest { problem: problem.into(), hint: "Leave it out for both.".into() };
        let state = match self.state.as_deref() {
            None | Some("") => None,
            Some("live") => Some(ConversationState::Live),
            Some("ended") => Some(ConversationState::Ended),
            Some(_) => return Err(wrong("`state` is neither live nor ended.")),
        };
        let coverage = match self.coverage.as_deref() {
            None | Some("") => None,
            Some("complete") => Some(Coverage::Complete),
            Some("incomplete") => Some(Coverage::Incomplete),
            Some(_) => return Err(wrong("`coverage` is neither complete nor incomplete.")),
        };
        Ok(ConversationFilter {
            since: time("since", self.since.as_deref())?,
            until: time("until", self.until.as_deref())?,
            participant: given(&self.participant),
            person: given(&self.person),
            connector: given(&self.connector),
            platform: given(&self.platform),
            subject: given(&self.subject),
            state,
            coverage,
        })
    }
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub(super) struct Conversations {
    /// Newest start first.
    conversations: Vec<Conversation>,
    /// `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Conversations, newest first.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "conversations", params(Asked),
    responses((status = 200, body = Conversations), (status = 400, body = Failure)))]
pub(super) async fn conversations(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Asked>,
) -> Result<Response, PageError> {
    let (filter, limit) = (asked.filter()?, limit(asked.limit)?);
    let after: Option<ConversationPosition> = read("after", asked.after.as_deref())?;
    let page = viewer
        .readers
        .ask(move |reader| reader.conversations_newest(&filter, after, limit).map_err(PageError::from))
        .await?;
    json(&Conversations { conversations: page.rows, next: page.next.map(|next| next.to_string()) })
}

/// Everything known about one conversation but its events.
#[derive(Serialize, ToSchema)]
pub(super) struct ConversationDetail {
    #[serde(flatten)]
    conversation: Conversation,
    /// How complete the record is, and why not.
    record: Option<Statement>,
    /// Spans in which something may have been missed.
    gaps: Vec<GapRow>,
    /// Who was present when.
    attendance: Vec<Stay>,
}

/// A gap.
#[derive(Serialize, ToSchema)]
pub(super) struct GapRow {
    /// The event that states it.
    pub(super) seq: Seq,
    /// The conversation that it concerns; absent = none in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conversation: Option<ConversationId>,
    #[serde(flatten)]
    pub(super) gap: Gap,
}

/// One stay of one person.
#[derive(Serialize, ToSchema)]
struct Stay {
    /// Who.
    person: Person,
    /// When the person joined.
    joined_at: Timestamp,
    /// When the person left; absent = still there, as far as told.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<Timestamp>,
}

/// One conversation: who was there when, how complete the record is, and what is missing.
#[utoipa::path(get, path = "/api/v1/conversations/{id}", tag = "conversations",
    params(("id" = ConversationId, Path, description = "Id of the conversation.")),
    responses((status = 200, body = ConversationDetail), (status = 404, body = Failure)))]
pub(super) async fn conversation(
    State(viewer): State<Arc<Viewer>>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let id = identified(&id)?;
    let answer = viewer.readers.ask(move |reader| -> Result<ConversationDetail, PageError> {
        let conversation = reader.conversation(&id)?.ok_or_else(none)?;
        let gaps = reader.gaps_of(&id)?;
        let attendance = reader.attendance_of(&id)?;
        Ok(ConversationDetail {
            conversation,
            record: reader.coverage_of(&id)?,
            gaps: gaps.into_iter().map(|(seq, gap)| GapRow { seq, conversation: Some(id.clone()), gap }).collect(),
            attendance: attendance
                .into_iter()
                .map(|stay| Stay { person: stay.person, joined_at: stay.joined_at, left_at: stay.left_at })
                .collect(),
        })
    });
    json(&answer.await?)
}

/// Which part of a transcript; at most one of `after`, `before`, `around` and `since`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// `time` (default): the order of display; `capture`: by seq, from the first event on.
    order: Option<String>,
    /// Events at most, 1 to 1000; default 100.
    limit: Option<usize>,
    /// `next` of another page: what comes after it.
    after: Option<String>,
    /// `previous` of another page: what comes before it; `end`: the newest events.
    before: Option<String>,
    /// The event of this seq and what happened around it.
    around: Option<u64>,
    /// From this time on (RFC 3339, or a date in UTC).
    since: Option<String>,
    /// Only these kinds, with commas between them: `message.sent,message.edited`.
    kinds: Option<String>,
}

impl Part {
    fn place(&self) -> Result<Place, PageError> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let places = [given(&self.after), given(&self.before), self.around.is_some(), given(&self.since)];
        if places.into_iter().filter(|given| *given).count() > 1 {
            return Err(PageError::BadRequest {
                problem: "Only one of `after`, `before`, `around` and `since` can be given.".into(),
                hint: "Leave the others out.".into(),
            });
        }
        if let Some(position) = read("after", self.after.as_deref())? {
            return Ok(Place::After(position));
        }
        if self.before.as_deref() == Some("end") {
            return Ok(Place::Newest);
        }
        if let Some(position) = read("before", self.before.as_deref())? {
            return Ok(Place::Before(position));
        }
        if let Some(seq) = self.around {
            return Ok(Place::At(Seq(seq)));
        }
        Ok(time("since", self.since.as_deref())?.map_or(Place::First, Place::From))
    }

    fn kinds(&self) -> Result<KindSet, PageError> {
        let Some(text) = self.kinds.as_deref().filter(|text| !text.is_empty()) else { return Ok(KindSet::ALL) };
        let kinds: Option<Vec<Kind>> =
            text.split(',').map(|name| Kind::ALL.iter().copied().find(|kind| kind.as_str() == name)).collect();
        kinds.map(|kinds| KindSet::of(&kinds)).ok_or_else(|| PageError::BadRequest {
            problem: "`kinds` names a kind of event that there is not.".into(),
            hint: "Write for example message.sent,message.edited; the document of this interface lists all.".into(),
        })
    }
}

/// A part of a transcript.
#[derive(Serialize, ToSchema)]
pub(super) struct Transcript {
    /// Events in the order asked for.
    events: Vec<Event>,
    /// `after` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// `before` of the page before; absent at the beginning, and in order of capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// The events of one conversation.
#[utoipa::path(get, path = "/api/v1/conversations/{id}/events", tag = "conversations",
    params(("id" = ConversationId, Path, description = "Id of the conversation."), Part),
    responses((status = 200, body = Transcript), (status = 400, body = Failure), (status = 404, body = Failure)))]
pub(super) async fn events_of_conversation(
    State(viewer): State<Arc<Viewer>>,
    Path(id): Path<String>,
    Given(part): Given<Part>,
) -> Result<Response, PageError> {
    let id = identified(&id)?;
    let limit = limit(part.limit)?;
    let (place, kinds) = (part.place()?, part.kinds()?);
    let wrong = |problem: &str, hint: &str| PageError::BadRequest { problem: problem.into(), hint: hint.into() };
    let by_capture = match part.order.as_deref() {
        None | Some("" | "time") => false,
        Some("capture") => true,
        Some(_) => return Err(wrong("`order` is neither time nor capture.", "Leave it out for the order of display.")),
    };
    if by_capture && (kinds != KindSet::ALL || !matches!(place, Place::First | Place::After(_))) {
        return Err(wrong("In order of capture there is only `after`.", "Leave `order` out."));
    }
    let answer = viewer.readers.ask(move |reader: &Reader| -> Result<Transcript, PageError> {
        reader.conversation(&id)?.ok_or_else(none)?;
        let text = |position: Option<Position>| position.map(|position| position.to_string());
        if by_capture {
            let after = if let Place::After(position) = place { Some(position) } else { None };
            let page = reader.events_of_conversation(&id, Order::Capture, after, limit)?;
            return Ok(Transcript { events: page.rows, next: text(page.next), previous: None });
        }
        if let Place::At(seq) = place
            && reader.position_of(seq)?.is_none_or(|(there, _)| there != id)
        {
            return Err(unknown("This conversation has no such event.", "/api/v1/events/{seq} tells where it is."));
        }
        let stretch = ask::stretch(reader, &id, kinds, place, limit)?;
        Ok(Transcript { events: stretch.events, next: text(stretch.later), previous: text(stretch.earlier) })
    });
    json(&answer.await?)
}

fn identified(id: &str) -> Result<ConversationId, PageError> {
    ConversationId::parse(id).ok_or_else(none)
}

fn none() -> PageError {
    unknown("There is no such conversation.", "/api/v1/conversations lists all.")
}
