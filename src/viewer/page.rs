//! What every page shares: the shell around it, how it is answered and cached, and errors that help.
//!
//! A handler returns `Result<Response, PageError>`. An error carries words and no page; [`explain`] makes the page (or the
//! JSON, below `/api`), because only there the reader's preferences are at hand.

use std::sync::Arc;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::kept::Text;
pub use super::prefs::Prefs;
use super::{Viewer, assets, links};
use crate::archive::ArchiveError;
use crate::capture::health::HealthState;
use crate::health::Vitals;
use crate::index::IndexError;

/// What the layout needs: the member `shell` of every page's template.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Title of the page, without the program's name; text of strangers must have been made harmless.
    pub title: String,
    /// What the header marks as current: `conversations`, `search`, `people`, `statistics`, `integrity`, or nothing.
    pub section: &'static str,
    /// The reader's choices.
    pub prefs: Prefs,
    /// What stands in the header's search box.
    pub query: String,
    /// What the recorder does just now.
    pub recorder: RecorderMark,
}

/// What the recorder does, in a word or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderMark {
    /// Class of the mark: `good`, `bad` or `idle`.
    pub class: &'static str,
    /// The words.
    pub text: String,
}

impl RecorderMark {
    /// What it does just now.
    pub fn of(vitals: &Vitals) -> RecorderMark {
        let listening = vitals.connectors.iter().filter(|(_, health)| health.state() == HealthState::Listening).count();
        let (class, text) = match (vitals.connectors.len(), listening) {
            _ if !vitals.writer_lives() => ("idle", "Not recording".to_owned()),
            (0, _) => ("idle", "No connector".to_owned()),
            (all, some) if all == some => ("good", "Recording".to_owned()),
            (_, 0) => ("bad", "Not connected".to_owned()),
            (all, some) => ("bad", format!("{some} of {all} connected")),
        };
        RecorderMark { class, text }
    }
}

impl Shell {
    /// A shell for one page.
    pub fn new(viewer: &Viewer, prefs: Prefs, section: &'static str, title: impl Into<String>) -> Shell {
        let recorder = RecorderMark::of(&viewer.vitals);
        Shell { title: title.into(), section, prefs, query: String::new(), recorder }
    }

    /// The same with a text in the header's search box.
    pub fn searching(mut self, query: impl Into<String>) -> Shell {
        self.query = query.into();
        self
    }

    /// Whether the page belongs to this part of the viewer.
    pub fn at(&self, section: &str) -> bool {
        self.section == section
    }

    /// Address of an asset.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// Address of the page where the time zone is chosen, leading back here.
    pub fn settings(&self) -> String {
        links::with("/settings", &[("back", &self.prefs.here)])
    }
}

/// How long an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// By this browser alone, and it must ask each time whether it still holds (ETag).
    Ask,
    /// Not at all.
    Never,
    /// For ever: its address changes when it does.
    Forever,
}

impl Cache {
    /// Sets `Cache-Control` and, except for [`Cache::Never`], the ETag of `body`.
    pub fn mark(self, headers: &mut HeaderMap, body: &[u8]) {
        let control = match self {
            Cache::Ask => "private, no-cache",
            Cache::Never => "no-store",
            Cache::Forever => "public, max-age=31536000, immutable",
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        if self != Cache::Never {
            // Weak, because the same page may travel compressed.
            let tag = format!("W/\"{}\"", &assets::fingerprint(body)[..32]);
            headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        }
    }
}

/// A page as it is answered; an error in the template is an [`PageError::Internal`].
pub fn html(page: impl Template, cache: Cache) -> Response {
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            return PageError::Internal.into_response();
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::VARY, HeaderValue::from_static("cookie"));
    cache.mark(&mut headers, text.as_bytes());
    let text = Bytes::from(text);
    let mut answer = (headers, Body::from(text.clone())).into_response();
    answer.extensions_mut().insert(Text(text));
    answer
}

/// Why there is no page. The words are shown to the reader; text of strangers in them is escaped and must have been made
/// harmless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// There is no such thing.
    #[error("{what}")]
    NotFound {
        /// What does not exist, as a sentence.
        what: String,
        /// What exists and where to go, as a sentence.
        hint: String,
    },
    /// The address says something that cannot be.
    #[error("{problem}")]
    BadRequest {
        /// What is wrong, as a sentence.
        problem: String,
        /// What to write instead, as a sentence.
        hint: String,
    },
    /// The viewer answers to other names only.
    #[error("this viewer does not answer to that name")]
    Misdirected,
    /// Only GET and HEAD.
    #[error("pages can be read and nothing else")]
    Method,
    /// Another site wanted this as a part of its own page.
    #[error("other sites may link here, but not load from here")]
    Foreign,
    /// The address is too long.
    #[error("the address is too long")]
    TooLong,
    /// Too much to do just now, or it took too long.
    #[error("{why}")]
    Unavailable {
        /// What is the matter, as a sentence.
        why: String,
    },
    /// A fault of the program; the log has it.
    #[error("something went wrong here")]
    Internal,
}

impl PageError {
    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            PageError::NotFound { .. } => StatusCode::NOT_FOUND,
            PageError::BadRequest { .. } => StatusCode::BAD_REQUEST,
            PageError::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            PageError::Method => StatusCode::METHOD_NOT_ALLOWED,
            PageError::Foreign => StatusCode::FORBIDDEN,
            PageError::TooLong => StatusCode::URI_TOO_LONG,
            PageError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            PageError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What happened and what to do: two sentences, and the heading above them.
    fn words(&self) -> (&'static str, &str, &str) {
        match self {
            PageError::NotFound { what, hint } => ("Not found", what, hint),
            PageError::BadRequest { problem, hint } => ("That address does not work", problem, hint),
            PageError::Misdirected => (
                "Wrong name",
                "This viewer does not answer to the name in your address.",
                "Use http://127.0.0.1 or http://localhost with its port; or have the name added to `hosts` under [viewer] in \
                 the configuration.",
            ),
            PageError::Method => {
                ("Read only", "Pages can be read (GET, HEAD) and nothing else.", "Nothing here changes the archive.")
            }
            PageError::Foreign => (
                "Not from other sites",
                "Another site wanted to load this as a part of its own page.",
                "Open the address by itself; links from other sites are fine.",
            ),
            PageError::TooLong => {
                ("Address too long", "The address has more than 8000 characters.", "Make the query shorter.")
            }
            PageError::Unavailable { why } => ("Just now it cannot be done", why, "Try again in a moment."),
            PageError::Internal => (
                "Something went wrong here",
                "This is a fault of the program, not of your request.",
                "The recorder's log says more. Recording is not affected by it.",
            ),
        }
    }
}

impl From<ArchiveError> for PageError {
    fn from(error: ArchiveError) -> PageError {
        if let ArchiveError::Closed = error {
            return PageError::Unavailable { why: "The recorder is stopping.".into() };
        }
        if error.retry().is_some() {
            tracing::warn!(%error, "a page cannot be made just now");
            return PageError::Unavailable { why: "The archive cannot be read at the moment.".into() };
        }
        tracing::error!(%error, "a page cannot be made");
        PageError::Internal
    }
}

impl From<IndexError> for PageError {
    fn from(error: IndexError) -> PageError {
        let why = match error {
            IndexError::Archive(error) => return error.into(),
            IndexError::Missing { .. } => {
                "There is no search index yet; it is being made, or `greffier reindex` makes it."
            }
            IndexError::Interrupted => "The recorder is stopping.",
            IndexError::Busy { .. }
            | IndexError::Stale { .. }
            | IndexError::Damaged { .. }
            | IndexError::Broken { .. } => {
                tracing::warn!(%error, "a search cannot be answered");
                "The search index cannot be used at the moment. The recorder makes it anew; conversations can be read meanwhile."
            }
            IndexError::Io { .. } | IndexError::Engine { .. } => {
                tracing::error!(%error, "a search cannot be answered");
                return PageError::Internal;
            }
        };
        PageError::Unavailable { why: why.into() }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut answer = self.status().into_response();
        let headers = answer.headers_mut();
        match self {
            PageError::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            PageError::Unavailable { .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        answer.extensions_mut().insert(self);
        answer
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'e> {
    shell: Shell,
    status: u16,
    what: &'e str,
    hint: &'e str,
}

/// Layer: gives errors their words, as a page or (below `/api`) as JSON.
pub async fn explain(State(viewer): State<Arc<Viewer>>, request: Request, next: Next) -> Response {
    let prefs = Prefs::read(viewer.options.zone, viewer.clock.now(), request.uri(), request.headers());
    let wants_json = request.uri().path().starts_with("/api/");
    let answer = next.run(request).await;
    let status = answer.status();
    let error = match answer.extensions().get::<PageError>() {
        Some(error) => error.clone(),
        // What the framework refuses by itself (a parameter that is no number, say) comes as plain text.
        None if is_bare_refusal(&answer) => PageError::BadRequest {
            problem: "A part of the address cannot be understood.".into(),
            hint: "Go back and follow a link from there, or begin at the conversations.".into(),
        },
        None => return answer,
    };
    let (heading, what, hint) = error.words();
    let (mut parts, _) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (media_type, body) = if wants_json {
        let json = serde_json::json!({"error": {"status": status.as_u16(), "message": what, "hint": hint}});
        ("application/json", format!("{json}\n"))
    } else {
        let shell = Shell::new(&viewer, prefs, "", heading);
        let page = ErrorPage { shell, status: status.as_u16(), what, hint };
        ("text/html; charset=utf-8", page.render().unwrap_or_else(|_| heading.to_owned()))
    };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Response::from_parts(parts, Body::from(body))
}

fn is_bare_refusal(answer: &Response) -> bool {
    let plain =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    answer.status().is_client_error() && plain
}

/// The answer to an address that is no page.
pub async fn not_found() -> PageError {
    PageError::NotFound {
        what: "There is no page at this address.".into(),
        hint: "There are conversations, people, search, statistics and integrity; the links above lead to them.".into(),
    }
}

/// The answer when a handler panicked; the panic hook has logged it.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    PageError::Internal.into_response()
}
