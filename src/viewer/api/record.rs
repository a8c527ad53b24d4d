//! The record as a whole: its size, its signature, what is known to be missing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::conversations::GapRow;
use super::{Failure, Given, json, limit, time, unknown};
use crate::archive::reader::{Conversation, ConversationFilter};
use crate::capture::Source;
use crate::capture::health::{Health, HealthState};
use crate::model::{Seq, Timestamp};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;

/// The archive and its recorder.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// Name of the log.
    origin: String,
    /// When the archive was made.
    created_at: Timestamp,
    /// Number of events in the log.
    log_size: u64,
    /// Events up to this seq can be searched; 0 = none yet.
    searchable_to: u64,
    /// Size of the log at the newest signed checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_to: Option<u64>,
    /// Why the recorder is not ready; empty = it is.
    not_ready: Vec<String>,
    /// What it is connected to.
    connectors: Vec<Connector>,
}

/// A connector of the running recorder.
#[derive(Serialize, ToSchema)]
pub(super) struct Connector {
    /// Its name.
    name: String,
    /// Its kind: `ucwa`, `teams` …
    platform: String,
    /// `connecting`, `listening`, `alarm` (needs a person) or `stopped`.
    state: &'static str,
    /// The last trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

impl Connector {
    fn of((source, health): &(Source, Arc<Health>)) -> Connector {
        let state = match health.state() {
            HealthState::Connecting => "connecting",
            HealthState::Listening => "listening",
            HealthState::Alarm => "alarm",
            HealthState::Stopped => "stopped",
        };
        let (name, platform) = (source.connector.clone(), source.platform.clone());
        Connector { name, platform, state, trouble: health.alarm_text() }
    }
}

/// Size and state of the record.
#[utoipa::path(get, path = "/api/v1/status", tag = "record", responses((status = 200, body = Status)))]
pub(super) async fn status(State(viewer): State<Arc<Viewer>>) -> Result<Response, PageError> {
    let not_ready = viewer.vitals.not_ready();
    let connectors = viewer.vitals.connectors.iter().map(Connector::of).collect();
    let searchable_to = viewer.index.as_ref().map_or(0, |index| index.reached().0);
    let answer = viewer.readers.ask(move |reader| -> Result<Status, PageError> {
        Ok(Status {
            origin: reader.origin()?,
            created_at: reader.created_at()?,
            log_size: reader.log_size()?,
            searchable_to,
            signed_to: reader.latest_checkpoint()?.map(|checkpoint| checkpoint.size),
            not_ready,
            connectors,
        })
    });
    json(&answer.await?)
}

/// A signed statement of the log's size and root hash.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedCheckpoint {
    /// Events in the log.
    size: u64,
    /// Merkle root over them, hex.
    root: String,
    /// When it was signed.
    at: Timestamp,
    /// The signed note (C2SP).
    text: String,
}

/// The newest checkpoint.
#[utoipa::path(get, path = "/api/v1/checkpoint", tag = "record",
    responses((status = 200, body = SignedCheckpoint), (status = 404, body = Failure)))]
pub(super) async fn checkpoint(State(viewer): State<Arc<Viewer>>) -> Result<Response, PageError> {
    let found = viewer.readers.ask(|reader| reader.latest_checkpoint().map_err(PageError::from)).await?;
    let found = found.ok_or_else(|| {
        unknown("The log has not been signed yet.", "The recorder signs it every 30 seconds as it grows.")
    })?;
    let root = crate::integrity::hex(&found.root);
    json(&SignedCheckpoint { size: found.size, root, at: found.at, text: found.text })
}

/// Which days.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// First day (a date in UTC); default 365 days before `until`.
    since: Option<String>,
    /// Last day; default today.
    until: Option<String>,
    /// Name of the connector.
    connector: Option<String>,
    /// Kind of the connector.
    platform: Option<String>,
}

/// What happened on one day, in UTC.
#[derive(Serialize, ToSchema)]
pub(super) struct Day {
    /// The date.
    #[schema(format = Date)]
    date: String,
    /// Number of events.
    events: u64,
    /// Number of messages sent.
    messages: u64,
    /// Number of conversations that started.
    conversations_started: u64,
    /// Number of gaps stated.
    gaps: u64,
}

/// Days on which something happened.
#[derive(Serialize, ToSchema)]
pub(super) struct Activity {
    /// In order of time; days on which nothing happened are left out.
    days: Vec<Day>,
}

const DAY: i64 = 86_400_000_000;

/// What happened on each day.
#[utoipa::path(get, path = "/api/v1/activity", tag = "record", params(Days),
    responses((status = 200, body = Activity), (status = 400, body = Failure)))]
pub(super) async fn activity(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Days>,
) -> Result<Response, PageError> {
    let day = |at: Timestamp| at.micros().div_euclid(DAY);
    let until = day(time("until", asked.until.as_deref())?.unwrap_or_else(|| viewer.clock.now()));
    let since = time("since", asked.since.as_deref())?.map_or(until - 365, day);
    let filter =
        ConversationFilter { connector: asked.connector, platform: asked.platform, ..ConversationFilter::default() };
    let rows =
        viewer.readers.ask(move |reader| reader.activity(since, until, &filter).map_err(PageError::from)).await?;
    let days = rows.into_iter().map(|row| Day {
        date: Timestamp(row.day.saturating_mul(DAY)).to_chrono().format("%F").to_string(),
        events: row.events,
        messages: row.messages,
        conversations_started: row.conversations_started,
        gaps: row.gaps,
    });
    json(&Activity { days: days.collect() })
}

/// The archive in numbers.
#[derive(Serialize, ToSchema)]
pub(super) struct Numbers {
    /// Number of events: the size of the log.
    events: u64,
    /// Number of messages sent.
    messages: u64,
    /// Number of conversations.
    conversations: u64,
    /// Conversations that go on.
    live: u64,
    /// Conversations whose record is not whole.
    incomplete: u64,
    /// Number of gaps stated.
    gaps: u64,
    /// People who joined or acted.
    people: u64,
    /// Earliest time of an event; absent in an empty archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_at: Option<Timestamp>,
    /// Latest time of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_at: Option<Timestamp>,
    /// Conversations with the most messages.
    busiest: Vec<Conversation>,
}

/// The whole archive in numbers, and its busiest conversations.
#[utoipa::path(get, path = "/api/v1/totals", tag = "record", responses((status = 200, body = Numbers)))]
pub(super) async fn totals(State(viewer): State<Arc<Viewer>>) -> Result<Response, PageError> {
    /// Of the busiest conversations.
    const LISTED: usize = 20;
    let answer = viewer.readers.ask(move |reader| -> Result<Numbers, PageError> {
        let totals = reader.totals()?;
        Ok(Numbers {
            events: totals.events,
            messages: totals.messages,
            conversations: totals.conversations,
            live: totals.live,
            incomplete: totals.incomplete,
            gaps: totals.gaps,
            people: totals.people,
            first_at: totals.first_at,
            last_at: totals.last_at,
            busiest: reader.busiest(None, LISTED)?,
        })
    });
    json(&answer.await?)
}

/// Which gaps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Before {
    /// Gaps stated before this seq: `next` of the page before.
    before: Option<u64>,
    /// Gaps at most, 1 to 1000; default 100.
    limit: Option<usize>,
}

/// A page of gaps.
#[derive(Serialize, ToSchema)]
pub(super) struct Gaps {
    /// The newest stated first.
    gaps: Vec<GapRow>,
    /// `before` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
}

/// Every span in which something may have been missed.
#[utoipa::path(get, path = "/api/v1/gaps", tag = "record", params(Before),
    responses((status = 200, body = Gaps), (status = 400, body = Failure)))]
pub(super) async fn gaps(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Before>,
) -> Result<Response, PageError> {
    let limit = limit(asked.limit)?;
    let before = asked.before.map(Seq);
    let rows = viewer.readers.ask(move |reader| reader.gaps(before, limit).map_err(PageError::from)).await?;
    let next = rows.last().filter(|_| rows.len() >= limit).map(|row| row.seq);
    let gaps = rows.into_iter().map(|row| GapRow { seq: row.seq, conversation: row.conversation, gap: row.gap });
    json(&Gaps { gaps: gaps.collect(), next })
}
