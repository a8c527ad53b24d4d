//! Exports and large files to take away, for pages and programs: made or read while they are sent, a few at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Viewer;
use super::page::PageError;
use super::pages::transcript::no_conversation;
use crate::archive::Reader;
use crate::export::{self, ExportError, Format, Made, Selection, Source};
use crate::index::query::Query;
use crate::index::{Index, IndexError, Scope};

/// Exports that may be made at the same time.
pub(super) const DOWNLOADS: usize = 4;

/// Large files that may be sent at the same time: a page of pictures asks for several.
pub(super) const FILES: usize = 8;

/// How long a file waits for its turn.
const TURN: Duration = Duration::from_secs(15);

/// Bytes handed over at a time.
const PIECE: usize = 64 * 1024;

/// Pieces that wait for the browser.
const WAITING: usize = 4;

/// A browser that takes nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(60);

/// What somebody wants to take away.
pub(super) struct Wanted {
    /// Which events.
    pub(super) selection: Selection,
    /// The selection's query, read.
    pub(super) query: Option<Query>,
    /// In which form.
    pub(super) format: &'static dyn Format,
    /// The format's file alone, without manifest, proofs and README.
    pub(super) alone: bool,
}

/// The format of this name.
///
/// # Errors
/// [`PageError::BadRequest`] with the names that there are.
pub(super) fn format(name: &str) -> Result<&'static dyn Format, PageError> {
    export::format(name).ok_or_else(|| PageError::BadRequest {
        problem: "There is no such format.".into(),
        hint: format!("There are {}.", export::FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")),
    })
}

/// An answer whose body is the export. What is wrong with the request is known before it begins; what goes wrong later
/// breaks it off.
///
/// # Errors
/// No such conversation, nothing that fits, other exports under way, or the archive or index cannot be read.
pub(super) async fn download(viewer: &Arc<Viewer>, wanted: Wanted) -> Result<Response, PageError> {
    let turn = Arc::clone(&viewer.downloads)
        .try_acquire_owned()
        .map_err(|_| PageError::Unavailable { why: "Other exports are being made at this moment.".into() })?;
    let index = match wanted.query {
        Some(_) => Some(viewer.index()?),
        None => None,
    };
    let made = Made { at: viewer.clock.now(), by: "a reader of the viewer".into(), program: export::PROGRAM.into() };
    let asked = Arc::new((wanted, index));
    let asking = Arc::clone(&asked);
    let name = viewer
        .readers
        .ask(move |reader| {
            let (wanted, index) = &*asking;
            let source = source(reader, wanted, index.as_ref()).map_err(told)?;
            if source.events().next().transpose().map_err(told)?.is_none() {
                return Err(PageError::NotFound {
                    what: "Nothing happened that fits.".into(),
                    hint: "Ask for a longer time, or for less.".into(),
                });
            }
            Ok::<_, PageError>(export::file_name(&source, wanted.format, !wanted.alone))
        })
        .await?;
    let media_type = if asked.0.alone { asked.0.format.media_type() } else { export::ZIP };
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let path = viewer.readers.path().to_owned();
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut pieces = Pieces { sender: sender.clone(), handle, held: Vec::with_capacity(PIECE) };
        // A reader of its own: a slow download must not keep the pages waiting for theirs.
        let result = Reader::open(&path)
            .map_err(ExportError::from)
            .and_then(|reader| write(&reader, &asked.0, asked.1.as_ref(), &made, &mut pieces));
        if let Err(error) = result {
            tracing::warn!(%error, "an export was not finished");
            // Breaks the download off, so that half a file is not taken for a whole one.
            let _ = sender.blocking_send(Err(io::Error::other("the export was not finished")));
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_DISPOSITION, disposition(&name)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// A body that is read from a file while it is sent; `None` if too many others are being sent.
pub(super) async fn file(viewer: &Viewer, mut file: File) -> Option<Body> {
    let turn = tokio::time::timeout(TURN, Arc::clone(&viewer.files).acquire_owned()).await.ok()?.ok()?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut pieces = Pieces { sender: sender.clone(), handle, held: Vec::with_capacity(PIECE) };
        let mut copy = || -> io::Result<()> {
            let mut buffer = vec![0; PIECE];
            loop {
                let read = file.read(&mut buffer)?;
                match buffer.get(..read) {
                    Some(part) if !part.is_empty() => pieces.write_all(part)?,
                    _ => return pieces.flush(),
                }
            }
        };
        if let Err(error) = copy() {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Some(Body::from_stream(ReceiverStream::new(receiver)))
}

fn source<'r>(reader: &'r Reader, wanted: &'r Wanted, index: Option<&Index>) -> Result<Source<'r>, ExportError> {
    let selection = &wanted.selection;
    let (Some(query), Some(index)) = (&wanted.query, index) else { return Source::new(reader, selection) };
    let failed = |error: IndexError| ExportError::Search(error.to_string());
    let Selection { since, until, .. } = *selection;
    let scope = Scope { conversations: selection.conversations.clone(), since, until };
    // Asked before the search, so that nothing counts as searched that was not.
    let reached = index.reached();
    let hits = index.matches(query, &scope).map_err(failed)?;
    Source::of_search(reader, selection, reached, hits.map(|hit| hit.map_err(failed)))
}

fn write(
    reader: &Reader,
    wanted: &Wanted,
    index: Option<&Index>,
    made: &Made,
    out: &mut Pieces,
) -> Result<(), ExportError> {
    let source = source(reader, wanted, index)?;
    if wanted.alone {
        export::to_writer(&source, wanted.format, out, &mut |_, _| {})?;
    } else {
        export::to_zip(&source, wanted.format, made, out, &mut |_, _| {})?;
    }
    out.flush().map_err(ExportError::output)
}

fn told(error: ExportError) -> PageError {
    match error {
        ExportError::UnknownConversation { .. } => no_conversation(),
        ExportError::Archive(error) => PageError::from(error),
        ExportError::Search(_) => {
            PageError::Unavailable { why: "The search index cannot be used at the moment.".into() }
        }
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
