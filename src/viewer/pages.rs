//! The pages, one file each.

pub mod conversations;
pub mod integrity;
pub mod people;
pub mod settings;
pub mod statistics;

use std::sync::Arc;

use axum::Router;

use super::Viewer;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new()
        .merge(conversations::routes())
        .merge(people::routes())
        .merge(integrity::routes())
        .merge(statistics::routes())
        .merge(settings::routes())
}
