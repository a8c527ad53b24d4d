//! What happens while somebody reads: server-sent events, driven by the log.
//!
//! `/conversations/{id}/live?after=SEQ` tells every new event of a conversation, ready to be put into the page:
//!
//! ```text
//! id: 1234
//! event: said
//! data: {"about":null,"day":"2026-11-21","html":"<section …","seq":1234}
//! ```
//!
//! `/live?after=SEQ` tells for the list that something happened (`event: happened`). The id of an event is its seq, so a
//! browser that was cut off goes on where it was (`Last-Event-ID`). Who fell too far behind is told so (`event: behind`) and
//! had better load the page again. A stream ends when the viewer stops; there is a limit to how many there are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono_tz::Tz;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Viewer;
use super::page::{Cache, PageError, Prefs, html};
use super::pages::attachment::is_picture;
use super::pages::transcript::{about, conversation_of, no_conversation, seq_of};
use crate::archive::Reader;
use crate::model::{ConversationId, Event, Seq};
use crate::viewer::transcript::line::{Group, Word};
use crate::viewer::transcript::page::{Block, Day, is_change};
use crate::viewer::transcript::{Setting, ask, days};

/// Streams that may be open at the same time.
const MOST: usize = 64;

/// Who is more events of the log behind than this loads the page again.
const BEHIND: u64 = 2_000;

/// Events of the log looked at in one question.
const LOOK: usize = 200;

/// Between comments that keep a silent connection open.
const KEEP: Duration = Duration::from_secs(15);

/// The open streams of a viewer.
pub struct Streams {
    turns: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { turns: Arc::new(Semaphore::new(MOST)), closing: CancellationToken::new() }
    }
}

impl Streams {
    /// Ends all of them; new ones end at once.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new()
        .route("/live", get(list))
        .route("/conversations/{id}/live", get(conversation))
        .route("/conversations/{id}/part", get(part))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    after: String,
    hide: String,
    seq: String,
}

/// What goes out for one event.
pub(super) struct Told {
    /// Becomes the id.
    pub(super) seq: Seq,
    /// Name of the server-sent event.
    pub(super) name: &'static str,
    /// What it says.
    pub(super) data: serde_json::Value,
}

/// What becomes of who fell far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Is told so, and goes on at the end of the log: a page had better be loaded again.
    Jumps,
    /// Gets everything all the same.
    CatchesUp,
}

async fn list(
    State(viewer): State<Arc<Viewer>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let tell = |_: &Viewer, _: &Reader, event: &Event| {
        let conversation = event.conversation.as_ref().map(ConversationId::as_str);
        let data = serde_json::json!({"seq": event.seq, "conversation": conversation, "kind": event.kind});
        Ok(Some(Told { seq: event.seq, name: "happened", data }))
    };
    stream(viewer, after(&asked, &headers)?, None, Late::Jumps, tell)
}

async fn conversation(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let id = conversation_of(&id)?;
    let (zone, own) = (prefs.zone, id.clone());
    let known = viewer.readers.ask(move |reader| Ok::<_, PageError>(reader.conversation(&own)?.is_some())).await?;
    if !known {
        return Err(no_conversation());
    }
    let hidden = Group::hidden(&asked.hide);
    let wanted = id.clone();
    let tell = move |viewer: &Viewer, reader: &Reader, event: &Event| {
        if Group::of(event.kind).is_some_and(|group| hidden.contains(&group)) {
            return Ok(None);
        }
        said(viewer, reader, &id, event, zone).map(Some)
    };
    stream(viewer, after(&asked, &headers)?, Some(wanted), Late::Jumps, tell)
}

/// Where a stream begins: where the browser was, or what the page says it holds.
fn after(asked: &Asked, headers: &HeaderMap) -> Result<Seq, PageError> {
    last_id(headers).map_or_else(|| seq_of(&asked.after), Ok)
}

/// What was heard last, from who was cut off.
pub(super) fn last_id(headers: &HeaderMap) -> Option<Seq> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok().map(Seq)
}

fn said(viewer: &Viewer, reader: &Reader, id: &ConversationId, event: &Event, zone: Tz) -> Result<Told, PageError> {
    let about = event.content.message.as_ref().filter(|_| is_change(event.kind)).map(|message| message.id.clone());
    let events = std::slice::from_ref(event);
    let fragment = fragment(viewer, reader, id, events, zone)?;
    let data = serde_json::json!({
        "seq": event.seq,
        "about": about,
        "day": fragment.days.first().map(|day| &day.iso),
        "html": fragment.render().map_err(|_| PageError::Internal)?,
    });
    Ok(Told { seq: event.seq, name: "said", data })
}

#[derive(Template)]
#[template(path = "partials/_days.html")]
struct Fragment {
    days: Vec<Day>,
}

fn fragment(
    viewer: &Viewer,
    reader: &Reader,
    id: &ConversationId,
    events: &[Event],
    zone: Tz,
) -> Result<Fragment, PageError> {
    let context = ask::context(reader, id, events, &|message| about(viewer, id, message))?;
    let kept = viewer.attachments();
    let pictures = |sha256: &str| is_picture(&kept, sha256);
    let setting = Setting { zone, conversation: id, marks: &|_| Vec::new(), at: None, query: "", pictures: &pictures };
    Ok(Fragment { days: days(events, &context, &setting) })
}

/// One event as it stands now, with everything that became of it.
async fn part(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let id = conversation_of(&id)?;
    let seq = seq_of(&asked.seq)?;
    let asking = Arc::clone(&viewer);
    viewer
        .readers
        .ask(move |reader| {
            let event = reader.event(seq)?.filter(|event| event.conversation.as_ref() == Some(&id));
            let event = event.ok_or_else(no_conversation)?;
            Ok(html(fragment(&asking, reader, &id, &[event], prefs.zone)?, Cache::Never))
        })
        .await
}

/// An answer that tells what `tell` makes of every event after `from`, of one conversation or all, for as long as somebody
/// listens and the log grows.
///
/// # Errors
/// There are too many already.
pub(super) fn stream(
    viewer: Arc<Viewer>,
    from: Seq,
    conversation: Option<ConversationId>,
    late: Late,
    tell: impl Fn(&Viewer, &Reader, &Event) -> Result<Option<Told>, PageError> + Send + Sync + 'static,
) -> Result<Response, PageError> {
    // Nothing will ever be told: this answer keeps a browser from asking again.
    if viewer.log.has_changed().is_err() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let turn = Arc::clone(&viewer.streams.turns).try_acquire_owned().map_err(|_| PageError::Unavailable {
        why: "Too many pages are being kept up to date at this moment.".into(),
    })?;
    let (sender, receiver) = mpsc::channel::<Result<sse::Event, Infallible>>(16);
    let tell = Arc::new(tell);
    tokio::spawn(async move {
        let _turn = turn;
        let mut log = viewer.log.clone();
        let mut reached = from;
        loop {
            let size = Seq(*log.borrow_and_update());
            if late == Late::Jumps && size.0.saturating_sub(reached.0) > BEHIND {
                reached = size;
                let event = sse::Event::default().id(size.to_string()).event("behind").data("{}");
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            while reached < size {
                let (asking, tell, id) = (Arc::clone(&viewer), Arc::clone(&tell), conversation.clone());
                let news = viewer.readers.ask(move |reader| {
                    let (events, reached) = ask::news(reader, id.as_ref(), reached, LOOK)?;
                    let told: Result<Vec<Option<Told>>, PageError> =
                        events.iter().map(|event| tell(&asking, reader, event)).collect();
                    Ok::<_, PageError>((told?, reached))
                });
                // An archive that cannot be read ends the stream; the browser comes again.
                let Ok((told, now)) = news.await else { return };
                if now == reached {
                    break;
                }
                reached = now;
                for told in told.into_iter().flatten() {
                    let event = sse::Event::default().id(told.seq.to_string()).event(told.name);
                    if sender.send(Ok(event.data(told.data.to_string()))).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                changed = log.changed() => if changed.is_err() { return },
                () = viewer.streams.closing.cancelled() => return,
                () = sender.closed() => return,
            }
        }
    });
    let stream = Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP));
    Ok(([("cache-control", "no-store"), ("x-accel-buffering", "no")], stream).into_response())
}
