//! `/conversations/{id}/export?format=`: a conversation to take away, streamed while it is made.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::transcript::{conversation_of, no_conversation};
use crate::archive::Reader;
use crate::export::{self, ExportError, Format, Made, Selection, Source};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;

/// Bytes handed over at a time.
const PIECE: usize = 64 * 1024;

/// Pieces that wait for the browser.
const WAITING: usize = 4;

/// A browser that takes nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/conversations/{id}/export", get(download))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    format: String,
    /// `only`: the format's file alone, without manifest, proofs and README.
    file: String,
}

async fn download(
    State(viewer): State<Arc<Viewer>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let id = conversation_of(&id)?;
    let format = export::format(&asked.format).ok_or_else(|| PageError::BadRequest {
        problem: "There is no such format.".into(),
        hint: format!("There are {}.", export::FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")),
    })?;
    let alone = asked.file == "only";
    let turn = Arc::clone(&viewer.downloads)
        .try_acquire_owned()
        .map_err(|_| PageError::Unavailable { why: "Other exports are being made at this moment.".into() })?;
    let selection = Selection { conversations: vec![id], ..Selection::default() };
    let made = Made { at: viewer.clock.now(), by: "a reader of the viewer".into(), program: export::PROGRAM.into() };
    // What is wrong with the request must be known before the answer begins.
    let asking = selection.clone();
    let name = viewer
        .readers
        .ask(move |reader| {
            let source = Source::new(reader, &asking).map_err(told)?;
            Ok::<_, PageError>(export::file_name(&source, format, !alone))
        })
        .await?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let path = viewer.readers.path().to_owned();
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut pieces = Pieces { sender: sender.clone(), handle, held: Vec::with_capacity(PIECE) };
        // A reader of its own: a slow download must not keep the pages waiting for theirs.
        let result = Reader::open(&path)
            .map_err(ExportError::from)
            .and_then(|reader| write(&reader, &selection, format, alone, &made, &mut pieces));
        if let Err(error) = result {
            tracing::warn!(%error, "an export was not finished");
            // Breaks the download off, so that half a file is not taken for a whole one.
            let _ = sender.blocking_send(Err(io::Error::other("the export was not finished")));
        }
    });
    let media_type = if alone { format.media_type() } else { export::ZIP };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_DISPOSITION, disposition(&name)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

fn write(
    reader: &Reader,
    selection: &Selection,
    format: &dyn Format,
    alone: bool,
    made: &Made,
    out: &mut Pieces,
) -> Result<(), ExportError> {
    let source = Source::new(reader, selection)?;
    if alone {
        export::to_writer(&source, format, out, &mut |_, _| {})?;
    } else {
        export::to_zip(&source, format, made, out, &mut |_, _| {})?;
    }
    out.flush().map_err(ExportError::output)
}

fn told(error: ExportError) -> PageError {
    match error {
        ExportError::UnknownConversation { .. } => no_conversation(),
        ExportError::Archive(error) => PageError::from(error),
        error => {
            tracing::error!(%error, "an export cannot be made");
            PageError::Internal
        }
    }
}

/// File names are made of ids and format names; anything else would not be one.
fn disposition(name: &str) -> HeaderValue {
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{safe}\"")).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Hands bytes to the answer's body, in pieces, and waits for whoever takes them.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
    held: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.held, Vec::with_capacity(PIECE)));
        let sent = self.handle.block_on(tokio::time::timeout(STALLED, self.sender.send(Ok(piece))));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the browser has gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the browser takes nothing any more")),
        }
    }
}

/// Exports that may be made for browsers at the same time.
pub(in crate::viewer) const DOWNLOADS: usize = 4;
