//! Events in the order of the log.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Failure, json, limit, unknown};
use crate::model::{Event, Seq};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;

/// Which part of the log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// First seq wanted; default 1.
    from: Option<u64>,
    /// Events at most, 1 to 1000; default 100.
    limit: Option<usize>,
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    /// Events by seq.
    events: Vec<Event>,
    /// `from` of the next page; absent at the end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
    /// Number of events in the log.
    log_size: u64,
}

/// The log, event by event, in order of capture.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(Asked),
    responses((status = 200, body = Events), (status = 400, body = Failure)))]
pub(super) async fn events(
    State(viewer): State<Arc<Viewer>>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let limit = limit(asked.limit)?;
    let from = Seq(asked.from.unwrap_or(1).max(1));
    let answer = viewer.readers.ask(move |reader| -> Result<Events, PageError> {
        let log_size = reader.log_size()?;
        let events = reader.events(from, limit)?;
        let next = events.last().map(|event| Seq(event.seq.0 + 1)).filter(|next| next.0 <= log_size);
        Ok(Events { events, next, log_size })
    });
    json(&answer.await?)
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{seq}", tag = "events",
    params(("seq" = u64, Path, description = "Position in the log.")),
    responses((status = 200, body = Event), (status = 404, body = Failure)))]
pub(super) async fn event(State(viewer): State<Arc<Viewer>>, Path(seq): Path<u64>) -> Result<Response, PageError> {
    let found = viewer.readers.ask(move |reader| reader.event(Seq(seq)).map_err(PageError::from)).await?;
    let event =
        found.ok_or_else(|| unknown("The log has no event of this seq.", "/api/v1/status says how long it is."))?;
    json(&event)
}
