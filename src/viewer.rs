//! The viewer: pages over an archive, for people with a browser.
//!
//! Read-only and made on the server: every page is plain HTML that needs no script. A page is one file in
//! [`pages`]: what it takes from the address, what it asks the archive, its template's view struct, its tests. What holds
//! for all of them lies around: [`guard`] lets requests in and sets headers, [`page`] turns a template into an answer and
//! an error into a page that helps, [`prefs`] knows the reader's time zone, [`assets`] holds the few files of our own.
//!
//! Text of strangers is escaped by the templates and, where it stands in a line of ours, goes through
//! [`crate::harmless`] first.

pub mod api;
pub mod assets;
mod download;
pub mod guard;
mod kept;
pub mod links;
pub mod listing;
pub mod live;
pub mod page;
pub mod pages;
pub mod prefs;
pub mod time;
pub mod timeline;
pub mod transcript;
pub mod words;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::{Semaphore, watch};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::archive::{ArchiveError, Attachments, Layout, Readers};
use crate::clock::Clock;
use crate::health::{self, Vitals};
use crate::index::Index;
use crate::listen;

/// Connections at a time.
const CONNECTIONS: usize = 512;

/// Time in which nothing of an answer goes out, after which a connection is closed: longer than an answer may take to begin,
/// and event streams must say something more often.
const PATIENCE: listen::Patience =
    listen::Patience { idle: std::time::Duration::from_secs(75), crowded: std::time::Duration::from_secs(5) };

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names, besides those of loopback, under which the viewer answers; lower case, without a port.
    pub hosts: Vec<String>,
    /// The archive's time zone: shown to readers who have chosen no other.
    pub zone: chrono_tz::Tz,
    /// Requests worked on at the same time; others wait for a moment and are then told to come again.
    pub at_once: usize,
    /// Longest time until an answer begins.
    pub patience: std::time::Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            hosts: Vec::new(),
            zone: chrono_tz::Tz::UTC,
            at_once: 64,
            patience: std::time::Duration::from_secs(30),
        }
    }
}

/// Everything that pages are made from.
pub struct Viewer {
    /// Connections to the archive.
    pub readers: Readers,
    /// The search index; `None` = this viewer cannot search.
    pub index: Option<Index>,
    /// Newest durable seq; its sender is dropped when the archive's writer ends.
    pub log: watch::Receiver<u64>,
    /// Connectors and what they do.
    pub vitals: Vitals,
    /// Tells what today is.
    pub clock: Arc<dyn Clock>,
    /// What an operator may set.
    pub options: Options,
    admission: guard::Admission,
    kept: kept::Kept,
    streams: live::Streams,
    downloads: Arc<Semaphore>,
    files: Arc<Semaphore>,
}

impl Viewer {
    /// Connections to the archive that may be asked at the same time: few, so that however many people read, the recorder
    /// finds a processor, and the connections' caches stay small.
    pub const READERS: usize = 4;

    /// A viewer of the archive that a running recorder writes.
    pub fn new(readers: Readers, vitals: Vitals, clock: Arc<dyn Clock>, options: Options) -> Viewer {
        let admission = guard::Admission::new(options.at_once);
        Viewer {
            readers,
            index: None,
            log: vitals.log_size.clone(),
            vitals,
            clock,
            options,
            admission,
            kept: kept::Kept::default(),
            streams: live::Streams::default(),
            downloads: Arc::new(Semaphore::new(download::DOWNLOADS)),
            files: Arc::new(Semaphore::new(download::FILES)),
        }
    }

    /// The same with a search index.
    #[must_use]
    pub fn with_index(self, index: Index) -> Viewer {
        Viewer { index: Some(index), ..self }
    }

    /// A viewer of an archive that nothing writes: no connectors, and a log that has its size; with the search index that
    /// lies beside the archive, if there is one that can be used. Blocks for file access.
    ///
    /// # Errors
    /// As [`Readers::open`].
    pub fn at_rest(path: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Viewer, ArchiveError> {
        let readers = Readers::open(path, Self::READERS)?;
        let size = crate::archive::Reader::open(path)?.log_size()?;
        let (_, log_size) = watch::channel(size);
        let vitals = Vitals { connectors: Vec::new(), log_size, meter: Arc::default(), index: None };
        let viewer = Viewer::new(readers, vitals, clock, options);
        Ok(match Index::open(&Layout::of(path)) {
            Ok(index) => viewer.with_index(index),
            Err(_) => viewer,
        })
    }

    /// The files that events name.
    pub fn attachments(&self) -> Attachments {
        Attachments::of(&Layout::of(self.readers.path()))
    }

    /// The search index.
    ///
    /// # Errors
    /// [`page::PageError::Unavailable`] if there is none.
    pub fn index(&self) -> Result<Index, page::PageError> {
        let none = || page::PageError::Unavailable { why: "This viewer has no search index.".into() };
        self.index.clone().ok_or_else(none)
    }
}

/// Every page with its guards, and the recorder's health beside them (which keeps its own, stricter ones).
pub fn router(viewer: Arc<Viewer>) -> Router {
    router_with(viewer, Router::new())
}

/// The same with further pages, which pass the same guards: what a benchmark compares with, say.
pub fn router_with(viewer: Arc<Viewer>, more: Router<Arc<Viewer>>) -> Router {
    let health = health::routes(viewer.vitals.clone());
    // Within the same guards; below `/api` errors are JSON.
    let own = pages::routes().merge(live::routes()).merge(assets::routes()).merge(api::routes());
    let pages = own.merge(more).fallback(page::not_found);
    // From the inside outwards.
    let guarded = pages
        .layer(from_fn_with_state(Arc::clone(&viewer), guard::admit))
        .layer(CatchPanicLayer::custom(page::panicked))
        .layer(from_fn_with_state(Arc::clone(&viewer), page::explain))
        .layer(from_fn(guard::unchanged))
        // Pages are made for each request: more effort would cost more time than it saves on the way.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn(guard::headers))
        .layer(from_fn(guard::log));
    guarded.with_state(viewer).merge(health)
}

/// Serves the pages until `stop` completes.
///
/// # Errors
/// What the listener's socket says.
pub async fn serve(
    listener: tokio::net::TcpListener,
    viewer: Arc<Viewer>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(Arc::clone(&viewer));
    serve_router(listener, viewer, router, stop).await
}

/// Serves what [`router_with`] made.
///
/// # Errors
/// What the listener's socket says.
pub async fn serve_router(
    listener: tokio::net::TcpListener,
    viewer: Arc<Viewer>,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = listen::Limited::new(listener, CONNECTIONS, PATIENCE);
    let closing = Arc::clone(&viewer);
    let stop = async move {
        stop.await;
        // Streams would go on for as long as somebody listens.
        closing.streams.close();
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

#[cfg(test)]
pub(crate) mod tests;
