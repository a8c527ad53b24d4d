//! New events as they are recorded, as server-sent events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Failure, Given, unknown};
use crate::model::{ConversationId, Event, Seq};
use crate::viewer::Viewer;
use crate::viewer::live::{Late, Told, last_id, stream};
use crate::viewer::page::PageError;

/// What is listened to.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Events after this seq; default: those that come from now on. `Last-Event-ID` goes before it.
    after: Option<u64>,
    /// Only those of this conversation.
    conversation: Option<String>,
}

/// New events as they are recorded, and those after `after` before them: none is left out, however many there are.
///
/// Server-sent events: `event: event`, `id` = the seq, `data` = the event as JSON on one line. Comments keep a silent
/// connection open. The stream ends when the recorder stops; a client comes again with `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/live", tag = "events",
    params(Asked, ("Last-Event-ID" = Option<u64>, Header, description = "The id that was heard last.")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events, without an end."),
        (status = 204, description = "Nothing writes this archive: nothing will ever be told."),
        (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 503, body = Failure, description = "Too many listen already.")))]
pub(super) async fn live(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Asked>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let conversation = match asked.conversation.as_deref().filter(|id| !id.is_empty()) {
        None => None,
        Some(text) => {
            let none = || unknown("There is no such conversation.", "/api/v1/conversations lists all.");
            let id = ConversationId::parse(text).ok_or_else(none)?;
            let own = id.clone();
            viewer.readers.ask(move |reader| reader.conversation(&own)?.ok_or_else(none)).await?;
            Some(id)
        }
    };
    let after = last_id(&headers).or(asked.after.map(Seq)).unwrap_or_else(|| Seq(*viewer.log.borrow()));
    let tell = |_: &Viewer, _: &crate::archive::Reader, event: &Event| {
        let data = serde_json::to_value(event).map_err(|_| PageError::Internal)?;
        Ok(Some(Told { seq: event.seq, name: "event", data }))
    };
    stream(viewer, after, conversation, Late::CatchesUp, tell)
}
