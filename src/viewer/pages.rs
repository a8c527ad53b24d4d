//! The pages, one file each.

pub mod attachment;
pub mod conversations;
pub mod event;
pub mod export;
pub mod integrity;
pub mod people;
pub mod search;
pub mod settings;
pub mod statistics;
pub mod transcript;

use std::sync::Arc;

use axum::Router;

use super::Viewer;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new()
        .merge(conversations::routes())
        .merge(transcript::routes())
        .merge(event::routes())
        .merge(attachment::routes())
        .merge(export::routes())
        .merge(search::routes())
        .merge(people::routes())
        .merge(integrity::routes())
        .merge(statistics::routes())
        .merge(settings::routes())
}
