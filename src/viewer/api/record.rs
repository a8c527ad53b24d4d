//! The record as a whole: its size, its signature, what is known to be missing.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Failure, json, limit, unknown};
use crate::model::{ConversationId, Gap, Seq, Timestamp};
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
    /// Events up to this seq can be searched.
    searchable_to: Seq,
    /// Size of the log at the newest signed checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_to: Option<u64>,
    /// Why the recorder is not ready; empty = it is.
    not_ready: Vec<String>,
}

/// Size and state of the record.
#[utoipa::path(get, path = "/api/v1/status", tag = "record", responses((status = 200, body = Status)))]
pub(super) async fn status(State(viewer): State<Arc<Viewer>>) -> Result<Response, PageError> {
    let not_ready = viewer.vitals.not_ready();
    let searchable_to = viewer.index().map_or(Seq(0), |index| index.reached());
    let answer = viewer.readers.ask(move |reader| -> Result<Status, PageError> {
        Ok(Status {
            origin: reader.origin()?,
            created_at: reader.created_at()?,
            log_size: reader.log_size()?,
            searchable_to,
            signed_to: reader.latest_checkpoint()?.map(|checkpoint| checkpoint.size),
            not_ready,
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
    let found = found
        .ok_or_else(|| unknown("The log has not been signed yet.", "The recorder signs it every 30 seconds as it grows."))?;
    let root = crate::integrity::hex(&found.root);
    json(&SignedCheckpoint { size: found.size, root, at: found.at, text: found.text })
}
