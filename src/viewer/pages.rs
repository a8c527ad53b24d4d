//! The pages, one file each.

pub mod settings;

use std::sync::Arc;

use axum::Router;

use super::Viewer;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().merge(settings::routes())
}
