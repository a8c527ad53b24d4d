//! The addresses that Teams calls: who speaks is checked, the body is made durable, then it is answered.
//!
//! | path below `callback_url` | who | answer |
//! |---|---|---|
//! | `/api/calls`, `/api/calls/{key}` | call notifications, bearer of the calling service | 202; joining 200 with its decision |
//! | `/api/notifications…` | change notifications; their proof is inside the body | 202 whatever the proof says |
//! | `/api/lifecycle…` | the same about subscriptions | 202 |
//! | `/api/messages` | activities, bearer of the Bot Connector | 200 |
//!
//! A refused request leaves no trace but a count and a line in the log. 5xx only while we cannot store or cannot check.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;

use super::calls::{Delivered, Line};
use super::desk::{Desk, Ring};
use super::notice;
use super::trust::{self, Refusal, rules};
use crate::capture::{Append, Envelope, EnvelopeId, SinkError};

/// Largest body read. A batch of change notifications stays far below.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// Bodies that arrive more slowly than this are given up.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How long storing may take before the platform is told to come again.
const STORE_TIME: Duration = Duration::from_millis(2_500);

/// Longest validation token echoed.
const LONGEST_TOKEN: usize = 4_096;

/// Headers that say more than the body (digest §4); kept beside the path in the envelope.
const KEPT_HEADERS: &[&str] = &[
    "user-agent",
    "x-microsoft-skype-chain-id",
    "x-microsoft-skype-message-id",
    "x-microsoft-skype-original-message-id",
    "ms-teams-ring",
    "ms-teams-partition",
    "ms-teams-region",
];

/// The webhooks below the path of `callback_url`.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    let prefix = desk.config.callback_url.path().trim_end_matches('/').to_owned();
    Router::new()
        .route(&format!("{prefix}/api/calls"), post(calls))
        .route(&format!("{prefix}/api/calls/{{*key}}"), post(calls))
        .route(&format!("{prefix}/api/notifications"), post(notifications))
        .route(&format!("{prefix}/api/notifications/{{*key}}"), post(notifications))
        .route(&format!("{prefix}/api/lifecycle"), post(notifications))
        .route(&format!("{prefix}/api/lifecycle/{{*key}}"), post(notifications))
        .route(&format!("{prefix}/api/messages"), post(messages))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .with_state(desk)
}

/// Why a request gets no success.
enum No {
    /// No or bad proof; counted, one line in the log.
    Refused(&'static str, Refusal),
    /// Too large, too slow, not what it should be.
    Bad(StatusCode),
    /// Ours to mend: nothing was acknowledged.
    Unavailable(&'static str),
}

impl No {
    fn answer(self, desk: &Desk) -> Response {
        match self {
            No::Refused(what, refusal) => {
                counted(desk, "webhook_refused", format_args!("refused a request to {what}: {refusal}"));
                StatusCode::UNAUTHORIZED.into_response()
            }
            No::Bad(status) => {
                counted(desk, "webhook_unreadable", format_args!("answered a webhook with {status}"));
                status.into_response()
            }
            No::Unavailable(why) => {
                tracing::error!(connector.name = desk.name(), "{}: a webhook was not acknowledged: {why}", desk.name());
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response()
            }
        }
    }
}

/// Counts what strangers can cause, and says it. They must not fill the log: the first ones, then the powers of two.
fn counted(desk: &Desk, what: &'static str, text: std::fmt::Arguments<'_>) {
    let count = desk.context.health.count(what);
    if count <= 10 || count.is_power_of_two() {
        tracing::warn!(connector.name = desk.name(), webhook.count = count, "{}: {text}", desk.name());
    }
}

async fn read(request: Request) -> Result<(String, HeaderMap, Bytes), No> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    match tokio::time::timeout(BODY_TIME, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok((path, parts.headers, bytes)),
        Ok(Err(_)) => Err(No::Bad(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_) => Err(No::Bad(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    trust::bearer(headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()))
}

/// What was asked, with the headers that are kept.
fn asked(path: &str, headers: &HeaderMap) -> String {
    let mut request = format!("POST {path}");
    for name in KEPT_HEADERS {
        if let Some(value) = headers.get(*name).and_then(|value| value.to_str().ok()).filter(|v| v.len() <= 200) {
            request.push_str(&format!(" {name}={}", value.replace(' ', "_")));
        }
    }
    request
}

fn envelope(desk: &Desk, path: &str, headers: &HeaderMap, body: Bytes, pending: bool) -> Envelope {
    let content_type = headers.get(header::CONTENT_TYPE);
    Envelope {
        received_at: desk.now(),
        server_date: None,
        request: asked(path, headers),
        status: 0,
        content_type: content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        body,
        pending,
    }
}

/// Makes a body durable; the platform is told that we have it only after this.
async fn store(desk: &Desk, envelope: Envelope) -> Result<EnvelopeId, No> {
    let batch = Append { envelopes: vec![envelope], ..Append::default() };
    let stored = tokio::time::timeout(STORE_TIME, desk.context.sink.append(&desk.context.source, batch)).await;
    match stored {
        Ok(Ok(appended)) => {
            desk.context.stored();
            desk.context.health.count("webhook_stored");
            appended.envelopes.first().copied().ok_or(No::Unavailable("the archive named no envelope"))
        }
        Ok(Err(error)) => {
            desk.context.refused(&error);
            Err(No::Unavailable("the archive cannot store"))
        }
        Err(_) => {
            let cause = format!("it took longer than {} s", STORE_TIME.as_secs_f32());
            desk.context.refused(&SinkError { doing: "store a webhook's body".into(), cause, retry_after: None });
            Err(No::Unavailable("the archive is too slow"))
        }
    }
}

/// The same for what the reading of chats takes up. What could not be stored is read back from the service later, whether it
/// comes again or not.
async fn store_for_chats(desk: &Desk, envelope: Envelope) -> Result<(), No> {
    let stored = store(desk, envelope).await.map(drop);
    match stored {
        Ok(()) => desk.arrived.notify_one(),
        Err(_) => desk.upkeep.missed(),
    }
    stored
}

async fn calls(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let arrived = desk.now();
    let outcome = async {
        let (path, headers, body) = read(request).await?;
        let token = bearer(&headers).map_err(|refusal| No::Refused("/api/calls", refusal))?;
        let caller = desk
            .checked(Ring::Calls, |keys, now| {
                let expected = desk.expected(&desk.config.endpoints.calls_issuers);
                rules::call_token(token, keys, expected, &desk.config.tenant_id, now)
            })
            .await
            .ok_or(No::Unavailable("the keys of call notifications cannot be read"))?
            .map_err(|refusal| No::Refused("/api/calls", refusal))?;
        let notices = match notice::read(&body) {
            Ok(notices) => notices,
            Err(notice::NotGraph) if serde_json::from_slice::<Value>(&body).is_ok() => {
                // The service sends it again in Graph form (digest §5); this form is kept as it came.
                store(&desk, envelope(&desk, &path, &headers, body, false)).await?;
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            Err(notice::NotGraph) => {
                store(&desk, envelope(&desk, &path, &headers, body, false)).await?;
                return Err(No::Bad(StatusCode::BAD_REQUEST));
            }
        };
        // The answer goes out beside the fsync: five seconds are short.
        let joining = desk.calls.ring(&desk, &notices, &caller.tid, arrived);
        let stored = store(&desk, envelope(&desk, &path, &headers, body, true)).await;
        if stored.is_err() {
            // Whether the service comes again is not documented: the calls are asked how they stand.
            let concerned = notices.iter().filter_map(|notice| notice.call.clone()).collect();
            desk.calls.tell(Line::Missed(concerned, arrived));
        }
        let envelope = stored?;
        desk.calls.tell(Line::Delivered(Delivered { envelope, notices, tid: caller.tid }));
        Ok(match joining {
            Some(decision) => (StatusCode::OK, axum::Json(decision)).into_response(),
            None => StatusCode::ACCEPTED.into_response(),
        })
    };
    outcome.await.unwrap_or_else(|no: No| no.answer(&desk))
}

/// The token of a validation handshake, decoded exactly once (digest §12: `+` is a blank).
fn handshake(request: &Request) -> Option<String> {
    let query = request.uri().query()?;
    let (_, token) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "validationToken")?;
    (token.len() <= LONGEST_TOKEN).then(|| token.into_owned())
}

async fn notifications(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    if let Some(token) = handshake(&request) {
        let headers = [(header::CONTENT_TYPE, "text/plain"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        return (StatusCode::OK, headers, token).into_response();
    }
    let outcome = async {
        let (path, headers, body) = read(request).await?;
        let Ok(json) = serde_json::from_slice::<Value>(&body) else { return Err(No::Bad(StatusCode::BAD_REQUEST)) };
        let items = super::change::items(&json);
        if items.is_empty() {
            return Err(No::Bad(StatusCode::BAD_REQUEST));
        }
        // Anybody can post here: what bears none of our secrets is not stored, so that strangers cannot fill the disk.
        if !items.iter().any(|item| desk.knows(item)) {
            let text = format_args!("a change notification without our clientState was answered and dropped");
            counted(&desk, "webhook_without_our_secret", text);
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        store_for_chats(&desk, envelope(&desk, &path, &headers, body, true)).await?;
        Ok(StatusCode::ACCEPTED.into_response())
    };
    outcome.await.unwrap_or_else(|no: No| no.answer(&desk))
}

async fn messages(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let outcome = async {
        let (path, headers, body) = read(request).await?;
        let token = bearer(&headers).map_err(|refusal| No::Refused("/api/messages", refusal))?;
        let activity = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let text = |key: &str| activity.get(key).and_then(Value::as_str).unwrap_or_default();
        let (channel, service_url) = (text("channelId"), text("serviceUrl"));
        desk.checked(Ring::Bot, |keys, now| {
            let expected = desk.expected(&desk.config.endpoints.bot_issuers);
            rules::bot_token(token, keys, expected, channel, service_url, now)
        })
        .await
        .ok_or(No::Unavailable("the keys of activities cannot be read"))?
        .map_err(|refusal| No::Refused("/api/messages", refusal))?;
        if !activity.is_object() {
            return Err(No::Bad(StatusCode::BAD_REQUEST));
        }
        let invoke = text("type").eq_ignore_ascii_case("invoke");
        store_for_chats(&desk, envelope(&desk, &path, &headers, body, true)).await?;
        // An invoke wants a body; everything else an empty one.
        Ok(if invoke {
            (StatusCode::OK, axum::Json(serde_json::json!({}))).into_response()
        } else {
            StatusCode::OK.into_response()
        })
    };
    outcome.await.unwrap_or_else(|no: No| no.answer(&desk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(uri: &str) -> Option<String> {
        handshake(&Request::builder().uri(uri).body(axum::body::Body::empty()).expect("request"))
    }

    #[test]
    fn a_validation_token_is_decoded_exactly_once() {
        assert_eq!(
            token_of("/api/notifications?validationToken=a%2Bb+c%2520%3Cb%3E%C3%A9"),
            Some("a+b c%20<b>é".into())
        );
        assert_eq!(token_of("/api/notifications?x=1&validationToken="), Some(String::new()));
        assert_eq!(token_of("/api/notifications?validationtoken=x"), None);
        assert_eq!(token_of(&format!("/?validationToken={}", "a".repeat(5_000))), None);
    }
}
