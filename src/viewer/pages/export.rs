//! `/conversations/{id}/export?format=`: a conversation to take away, streamed while it is made.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::transcript::conversation_of;
use crate::export::Selection;
use crate::viewer::Viewer;
use crate::viewer::download::{Wanted, download, format};
use crate::viewer::page::PageError;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/conversations/{id}/export", get(export))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    format: String,
    /// `only`: the format's file alone, without manifest, proofs and README.
    file: String,
}

async fn export(
    State(viewer): State<Arc<Viewer>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let selection = Selection { conversations: vec![conversation_of(&id)?], ..Selection::default() };
    let alone = asked.file == "only";
    download(&viewer, Wanted { selection, query: None, format: format(&asked.format)?, alone }).await
}
