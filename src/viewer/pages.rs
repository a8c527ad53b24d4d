//! The pages, one file each.

pub mod event;
pub mod settings;
pub mod transcript;

use std::sync::Arc;

use axum::Router;

use super::Viewer;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().merge(transcript::routes()).merge(event::routes()).merge(settings::routes())
}
