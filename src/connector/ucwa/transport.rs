//! Puts requests on the wire with reqwest: no redirects, limited size and time, a connection of its own for the channel.

mod ntlm;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::model::Timestamp;

use crate::connector::web::{self, Trouble, builder};

use super::http::{Answer, Authorization, Body, Lane, Method, NetFailure, Outcome, Request};

/// Largest body read. A batch of the event channel with many 100 kB messages stays far below.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// The HTTP clients of one connector.
pub(super) struct Transport {
    /// As the environment's proxy settings want it.
    outside: Lanes,
    /// For plain http, which goes to loopback addresses only: what stays on the machine does not go through a proxy.
    loopback: Lanes,
    certificates: Vec<reqwest::Certificate>,
}

struct Lanes {
    channel: reqwest::Client,
    command: reqwest::Client,
}

impl Transport {
    /// Makes the clients; `ca_pem` is added to the platform's certificate authorities.
    pub(super) fn new(ca_pem: Option<&[u8]>) -> Result<Transport, String> {
        let certificates = web::certificates(ca_pem)?;
        let client = |scheme| builder(&certificates, scheme).build().map_err(|e| format!("cannot set up HTTP: {e}"));
        let lanes = |scheme| Ok::<_, String>(Lanes { channel: client(scheme)?, command: client(scheme)? });
        Ok(Transport { outside: lanes("https")?, loopback: lanes("http")?, certificates })
    }

    /// Performs one request; the whole answer must arrive within its time.
    pub(super) async fn perform(&self, request: Request) -> Outcome {
        let timeout = request.timeout;
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(Ok(answer)) => Outcome::Answer(answer),
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => Outcome::Failed(NetFailure::Timeout),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, NetFailure> {
        let scheme = request.url.scheme();
        let lanes = if scheme == "http" { &self.loopback } else { &self.outside };
        let client = match request.lane {
            Lane::Channel => &lanes.channel,
            Lane::Command => &lanes.command,
        };
        match &request.authorization {
            Authorization::None => send(client, &request, None).await,
            Authorization::Bearer(token) => {
                let value = format!("Bearer {}", token.expose());
                send(client, &request, Some(value)).await
            }
            Authorization::Windows { username, password } => {
                Box::pin(ntlm::exchange(builder(&self.certificates, scheme), &request, username, password)).await
            }
        }
    }
}

/// Sends the request once, with this value of `Authorization`, and reads the whole answer.
async fn send(
    client: &reqwest::Client,
    request: &Request,
    authorization: Option<String>,
) -> Result<Answer, NetFailure> {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    };
    let mut builder = client.request(method.clone(), request.url.clone()).header(header::ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::try_from(authorization).map_err(|_| NetFailure::Broken)?;
        value.set_sensitive(true);
        builder = builder.header(header::AUTHORIZATION, value);
    }
    builder = match &request.body {
        Body::Empty if method == reqwest::Method::POST || method == reqwest::Method::PUT => {
            builder.header(header::CONTENT_LENGTH, "0").body(Bytes::new())
        }
        Body::Empty => builder,
        Body::Json(value) => builder.header(header::CONTENT_TYPE, "application/json").body(value.to_string()),
        Body::Text(text) => builder.header(header::CONTENT_TYPE, "text/plain; charset=utf-8").body(text.clone()),
        Body::Form(fields) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, value.expose());
            }
            builder.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded;charset=utf-8").body(form.finish())
        }
    };
    let mut response = builder.send().await.map_err(|e| failure(&e))?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    match web::body(&mut response, LARGEST_BODY).await {
        Ok(body) => Ok(answer(status, &headers, body)),
        Err(web::BodyTrouble::TooLarge) => Err(NetFailure::TooLarge),
        Err(web::BodyTrouble::Broken) => Err(NetFailure::Broken),
    }
}

fn answer(status: u16, headers: &HeaderMap, body: Bytes) -> Answer {
    let text = |name: HeaderName| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let server_date = text(header::DATE).as_deref().and_then(http_date);
    Answer {
        status,
        www_authenticate: headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .collect(),
        diagnostics: text(HeaderName::from_static("x-ms-diagnostics")),
        retry_after: text(header::RETRY_AFTER).and_then(|v| retry_after(&v, server_date)),
        location: text(header::LOCATION),
        etag: text(header::ETAG),
        content_type: text(header::CONTENT_TYPE),
        server_date,
        body,
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    chrono::DateTime::parse_from_rfc2822(text.trim()).ok().map(|t| Timestamp(t.timestamp_micros()))
}

/// Seconds (fractions rounded up), or an HTTP date counted from the answer's own `Date`.
fn retry_after(text: &str, date: Option<Timestamp>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0)
            .then(|| Duration::from_secs(seconds.ceil().min(86_400.0) as u64));
    }
    Some(http_date(text)?.since(date?))
}

/// What kind of failure an error is; its text may hold the URL and is not used.
fn failure(error: &reqwest::Error) -> NetFailure {
    match web::trouble(error) {
        Trouble::Timeout => NetFailure::Timeout,
        Trouble::Tls => NetFailure::Tls,
        Trouble::Connect => NetFailure::Connect,
        Trouble::Broken => NetFailure::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = http_date("Sat, 21 Nov 2026 09:30:00 GMT");
        assert_eq!(date.map(|d| d.rfc3339()).as_deref(), Some("2026-11-21T09:30:00.000Z"));
        assert_eq!(retry_after("1.2", None), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 09:30:07 GMT", date), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("soon", date), None);
        assert_eq!(retry_after("-1", date), None);
    }
}
