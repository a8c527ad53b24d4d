//! What every request passes on its way in and every answer on its way out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::Semaphore;

use super::Viewer;
use super::page::PageError;
use crate::health::is_local_name;

/// Longest path and query that are looked at.
const LONGEST: usize = 8000;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);

/// Nothing but our own style sheet, script, icon, event stream and forms; nobody may frame a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const FIXED: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Addresses name conversations and hold queries: no other site shall learn them from a link followed.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=(), browsing-topics=()",
    ),
];

/// How many requests are worked on at the same time.
pub(super) struct Admission(Arc<Semaphore>);

impl Admission {
    pub(super) fn new(at_once: usize) -> Admission {
        Admission(Arc::new(Semaphore::new(at_once.max(1))))
    }
}

/// Layer: lets in what names this viewer, reads, is short, and finds a turn; and ends what takes too long. Time counts until
/// the answer begins, so that long exports and live pages may go on.
pub async fn admit(State(viewer): State<Arc<Viewer>>, request: Request, next: Next) -> Response {
    if !names_us(&request, &viewer.options.hosts) {
        return PageError::Misdirected.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return PageError::Method.into_response();
    }
    if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > LONGEST) {
        return PageError::TooLong.into_response();
    }
    if is_foreign(request.headers()) {
        return PageError::Foreign.into_response();
    }
    let turn = tokio::time::timeout(TURN, Arc::clone(&viewer.admission.0).acquire_owned()).await;
    let Ok(Ok(_turn)) = turn else {
        return PageError::Unavailable { why: "Too many pages are being made at this moment.".into() }.into_response();
    };
    match tokio::time::timeout(viewer.options.patience, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => PageError::Unavailable { why: "This page took too long to make.".into() }.into_response(),
    }
}

/// A web page can reach a loopback address through a name of its own that points there (DNS rebinding); it cannot make the
/// browser name another host. What a proxy says in `X-Forwarded-Host` is not asked: anybody can say that.
fn names_us(request: &Request, hosts: &[String]) -> bool {
    let mut named = request.headers().get_all(header::HOST).into_iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => request.uri().authority().map(|authority| authority.as_str()),
        (Some(_), Some(_)) => None,
    };
    let Some(host) = host else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.');
    is_local_name(host) || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Browsers say when another site embeds or fetches something. Links from other sites are welcome.
fn is_foreign(headers: &HeaderMap) -> bool {
    let is = |name: &str, values: &[&[u8]]| headers.get(name).is_some_and(|v| values.contains(&v.as_bytes()));
    is("sec-fetch-site", &[b"cross-site", b"same-site"]) && !is("sec-fetch-mode", &[b"navigate"])
}

/// Layer: the headers of every answer. What an answer has set itself stays.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in FIXED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Layer: answers 304 to who has the same already.
pub async fn unchanged(request: Request, next: Next) -> Response {
    let known: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).into_iter().cloned().collect();
    let mut answer = next.run(request).await;
    let Some(tag) = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return answer };
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = bare(tag);
    let listed = known.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let same = answer.status() == StatusCode::OK && listed.map(bare).any(|known| known == tag || known == "*");
    if same {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(header::CONTENT_TYPE);
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    answer
}

/// Layer: one line per request: method, the route's pattern, status, time, bytes. Never the path or the query, which name
/// people and hold what they look for.
pub async fn log(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let line = Line { method: request.method().clone(), route, status: 0, began: Instant::now(), bytes: 0 };
    let answer = next.run(request).await;
    let mut line = Line { status: answer.status().as_u16(), ..line };
    if let Some(bytes) = answer.body().size_hint().exact() {
        line.bytes = bytes;
        line.write();
        return answer;
    }
    let (parts, body) = answer.into_parts();
    Response::from_parts(parts, Body::from_stream(Counted { inner: body.into_data_stream(), line }))
}

struct Line {
    method: Method,
    route: String,
    status: u16,
    began: Instant,
    bytes: u64,
}

impl Line {
    fn write(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let method = if self.method == Method::HEAD {
            "HEAD"
        } else if self.method == Method::GET {
            "GET"
        } else {
            "other"
        };
        tracing::event!(
            target: "greffier::access",
            tracing::Level::INFO,
            http.method = method,
            http.route = %self.route,
            http.status = self.status,
            http.ms = ms,
            http.bytes = self.bytes,
            "page"
        );
    }
}

/// A body that is logged when it has gone, or when nobody wants the rest.
struct Counted {
    inner: BodyDataStream,
    line: Line,
}

impl Stream for Counted {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.inner).poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.line.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        }
        next
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.line.write();
    }
}
