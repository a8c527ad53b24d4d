//! Events in the order of the log.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{Failure, Given, json, limit, unknown};
use crate::export::ExportError;
use crate::export::manifest::Trust;
use crate::export::proofs;
use crate::model::{Event, Seq};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;
use crate::viewer::pages::attachment::answer;

/// Which part of the log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
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
    Given(asked): Given<Asked>,
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
    responses((status = 200, body = Event), (status = 400, body = Failure), (status = 404, body = Failure)))]
pub(super) async fn event(State(viewer): State<Arc<Viewer>>, Path(seq): Path<String>) -> Result<Response, PageError> {
    let seq = super::seq(&seq)?;
    let found = viewer.readers.ask(move |reader| reader.event(seq).map_err(PageError::from)).await?;
    json(&found.ok_or_else(no_event)?)
}

/// A line of an export's proofs, as `docs/FORMATS.md` describes it. Only described here: the export writes it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "never made, only described")]
struct ProofLine {
    /// Position in the log.
    seq: u64,
    /// Name of the log.
    origin: String,
    /// The platform's clock, microseconds.
    source_time: Option<i64>,
    /// Our clock, microseconds.
    recorded_at: i64,
    /// Commitment to the envelope that it came in, hex.
    envelope: Option<String>,
    /// Salt of the commitment to the content, hex.
    salt: Option<String>,
    /// Commitment to the content, hex: only where content and salt were erased.
    content: Option<String>,
    /// Hash of the leaf, hex.
    leaf: String,
    /// Hashes that lead from the leaf to the root of the checkpoint, hex; absent for events newer than the checkpoint.
    path: Option<Vec<String>>,
}

/// What a stranger needs to check an event: as a line of an export's proofs, and the signed checkpoint that it leads to.
#[derive(Serialize, ToSchema)]
pub(super) struct EventProof {
    /// The line; `docs/FORMATS.md` says how to check it against the event and the checkpoint.
    #[schema(value_type = ProofLine)]
    proof: Box<RawValue>,
    /// The signed note (C2SP) with size and root of the log; absent while nothing is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    /// The key that signed it; absent if the archive does not have it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

/// The proof that one event is in the signed log, unchanged and at its place.
#[utoipa::path(get, path = "/api/v1/events/{seq}/proof", tag = "events",
    params(("seq" = u64, Path, description = "Position in the log.")),
    responses((status = 200, body = EventProof), (status = 400, body = Failure), (status = 404, body = Failure)))]
pub(super) async fn proof(State(viewer): State<Arc<Viewer>>, Path(seq): Path<String>) -> Result<Response, PageError> {
    let seq = super::seq(&seq)?;
    let answer = viewer.readers.ask(move |reader| -> Result<EventProof, PageError> {
        if seq.0 == 0 || seq.0 > reader.log_size()? {
            return Err(no_event());
        }
        let failed = |error: ExportError| match error {
            ExportError::Archive(error) => PageError::from(error),
            error => {
                tracing::error!(%error, "a proof cannot be made");
                PageError::Internal
            }
        };
        let trust = Trust::of(reader).map_err(failed)?;
        Ok(EventProof {
            proof: proofs::line(reader, seq, trust.size()).map_err(failed)?,
            checkpoint: trust.checkpoint().map(str::to_owned),
            public_key: trust.public_key().map(str::to_owned),
        })
    });
    json(&answer.await?)
}

/// The bytes of a file of a message, if the archive keeps them: a raster image with its media type, anything else as bytes
/// to be saved.
#[utoipa::path(get, path = "/api/v1/events/{seq}/attachments/{number}", tag = "events",
    params(("seq" = u64, Path, description = "Position in the log."),
        ("number" = usize, Path, description = "Which of `message.attachments`, from 1; one with `sha256`.")),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream",
            description = "The bytes. The ETag is their SHA-256."),
        (status = 400, body = Failure),
        (status = 404, body = Failure, description = "There is no such file, or its bytes are not kept, missing or changed."),
        (status = 503, body = Failure, description = "Many files are being sent.")))]
pub(super) async fn attachment(
    State(viewer): State<Arc<Viewer>>,
    headers: HeaderMap,
    Path((seq, number)): Path<(String, String)>,
) -> Result<Response, PageError> {
    answer(&viewer, &headers, super::seq(&seq)?, &number).await
}

fn no_event() -> PageError {
    unknown("The log has no event of this seq.", "/api/v1/status says how long it is.")
}
