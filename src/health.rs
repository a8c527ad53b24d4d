//! `/healthz`, `/readyz` and `/metrics`: whether the recorder lives, listens, and how much it records.
//!
//! Nothing here shows content. The listener is on loopback, which a web page can reach through a name that points there
//! (DNS rebinding); hence a request must name a loopback host.

pub mod meter;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::capture::Source;
use crate::capture::health::{Health, HealthState};
use crate::index::{self, Index};
use meter::{Meter, Page};

/// What the pages are made from.
#[derive(Clone)]
pub struct Vitals {
    /// Every connector with its state.
    pub connectors: Vec<(Source, Arc<Health>)>,
    /// Newest durable seq; its sender is dropped when the archive's writer ends.
    pub log_size: watch::Receiver<u64>,
    /// What has passed into the archive.
    pub meter: Arc<Meter>,
    /// The search index, where one is kept.
    pub index: Option<Index>,
}

impl Vitals {
    /// Whether the archive's writer lives.
    pub fn writer_lives(&self) -> bool {
        self.log_size.has_changed().is_ok()
    }

    /// Why the recorder is not ready, one line each; empty = ready.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.writer_lives() {
            reasons.push("the archive's writer has ended".to_owned());
        }
        if self.connectors.is_empty() {
            reasons.push("no connector is configured".to_owned());
        }
        for (source, health) in &self.connectors {
            let why = match health.state() {
                HealthState::Listening => continue,
                HealthState::Connecting => match health.alarm_text() {
                    Some(trouble) => format!("is signing in or waiting to try again; last trouble: {trouble}"),
                    None => "is signing in or waiting to try again".to_owned(),
                },
                HealthState::Alarm => health.alarm_text().unwrap_or_else(|| "needs attention".to_owned()),
                HealthState::Stopped => "has stopped".to_owned(),
            };
            reasons.push(format!("connector {}: {why}", source.connector));
        }
        reasons
    }
}

/// The pages alone, for a router that has more.
pub fn routes(vitals: Vitals) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn(only_local_names))
        .with_state(vitals)
}

/// The pages, and a word about them everywhere else.
pub fn router(vitals: Vitals) -> Router {
    let elsewhere = Router::new()
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n") })
        .layer(middleware::from_fn(only_local_names));
    routes(vitals).merge(elsewhere)
}

/// Serves the pages until `stop` completes.
///
/// # Errors
/// What the listener's socket says.
pub async fn serve(
    listener: tokio::net::TcpListener,
    vitals: Vitals,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(vitals)).with_graceful_shutdown(stop).await
}

async fn healthz(State(vitals): State<Vitals>) -> Response {
    if vitals.writer_lives() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the archive's writer has ended\n").into_response()
    }
}

async fn readyz(State(vitals): State<Vitals>) -> Response {
    let reasons = vitals.not_ready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))).into_response()
}

async fn metrics(State(vitals): State<Vitals>) -> Response {
    let mut page = Page::default();
    page.gauge("greffier_log_size", "Events in the log.", *vitals.log_size.borrow());
    page.gauge("greffier_writer_up", "1 while the archive's writer lives.", u64::from(vitals.writer_lives()));
    page.family("greffier_connector_state", "gauge", "1 for the state a connector is in, 0 for the others.");
    for (source, health) in &vitals.connectors {
        let now = health.state();
        for (state, name) in [
            (HealthState::Connecting, "connecting"),
            (HealthState::Listening, "listening"),
            (HealthState::Alarm, "alarm"),
            (HealthState::Stopped, "stopped"),
        ] {
            let labels = format!(
                "connector=\"{}\",platform=\"{}\",state=\"{name}\"",
                label(&source.connector),
                label(&source.platform)
            );
            page.sample(&format!("greffier_connector_state{{{labels}}}"), u8::from(now == state));
        }
    }
    page.family("greffier_connector_total", "counter", "What a connector counted since the start, by name.");
    for (source, health) in &vitals.connectors {
        for (what, count) in health.counts() {
            let labels = format!("connector=\"{}\",what=\"{what}\"", label(&source.connector));
            page.sample(&format!("greffier_connector_total{{{labels}}}"), count);
        }
    }
    if let Some(index) = &vitals.index {
        let status = index.status();
        page.gauge("greffier_index_reached", "Newest seq that can be found.", status.reached.0);
        page.family("greffier_index_state", "gauge", "1 for what the search index is doing, 0 for the rest.");
        let now = match status.state {
            index::State::Following | index::State::Resting => "following",
            index::State::CatchingUp { .. } => "catching up",
            index::State::Rebuilding { .. } => "rebuilding",
            index::State::Waiting => "waiting",
        };
        for state in ["following", "catching up", "rebuilding", "waiting"] {
            page.sample(&format!("greffier_index_state{{state=\"{state}\"}}"), u8::from(now == state));
        }
    }
    vitals.meter.render(&mut page);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.into_text()).into_response()
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

async fn only_local_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if !host.is_some_and(is_local_name) {
        let text = "this address answers to localhost only; ask for http://127.0.0.1 or http://localhost\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether a `Host` is `localhost` or a loopback address, with or without a port.
pub fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Status and body of a request to pages over a real socket.
    async fn ask(vitals: &Vitals, method: &str, path: &str, host: &str) -> (u16, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        let server = tokio::spawn(serve(listener, vitals.clone(), std::future::pending()));
        let mut socket = tokio::net::TcpStream::connect(address).await.expect("connect");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("send");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("answer");
        server.abort();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("status line");
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    fn vitals() -> (Vitals, Arc<Health>, watch::Sender<u64>) {
        let (log, log_size) = watch::channel(41);
        let health = Arc::new(Health::default());
        let source = Source { connector: "s\"fb".into(), platform: "ucwa".into() };
        let connectors = vec![(source, Arc::clone(&health))];
        (Vitals { connectors, log_size, meter: Arc::default(), index: None }, health, log)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().expect("runtime").block_on(future)
    }

    #[test]
    fn ready_means_that_every_connector_listens() {
        block_on(async {
            let (vitals, health, log) = vitals();
            let (status, why) = ask(&vitals, "GET", "/readyz", "127.0.0.1:8080").await;
            assert_eq!((status, why.as_str()), (503, "connector s\"fb: is signing in or waiting to try again\n"));
            health.alarm("the password was refused".into());
            let (status, why) = ask(&vitals, "GET", "/readyz", "localhost").await;
            assert_eq!((status, why.as_str()), (503, "connector s\"fb: the password was refused\n"));
            health.set(HealthState::Connecting);
            let (_, why) = ask(&vitals, "GET", "/readyz", "localhost").await;
            assert!(why.ends_with("waiting to try again; last trouble: the password was refused\n"), "{why}");
            health.set(HealthState::Listening);
            assert_eq!(ask(&vitals, "GET", "/readyz", "[::1]:1").await, (200, "ready\n".to_owned()));
            assert_eq!(ask(&vitals, "HEAD", "/healthz", "localhost").await, (200, String::new()));
            drop(log);
            assert_eq!(ask(&vitals, "GET", "/healthz", "localhost").await.0, 503);
            assert_eq!(ask(&vitals, "GET", "/readyz", "localhost").await.0, 503);
        });
    }

    #[test]
    fn metrics_are_prometheus_text() {
        block_on(async {
            let (vitals, health, _log) = vitals();
            health.set(HealthState::Listening);
            assert_eq!((health.count("webhook_refused"), health.count("webhook_refused")), (1, 2));
            let (status, page) = ask(&vitals, "GET", "/metrics", "localhost:9").await;
            assert_eq!(status, 200);
            assert!(page.contains("\ngreffier_log_size 41\n"), "{page}");
            let state = "greffier_connector_state{connector=\"s\\\"fb\",platform=\"ucwa\",state=\"listening\"} 1\n";
            assert!(page.contains(state), "{page}");
            let count = "greffier_connector_total{connector=\"s\\\"fb\",what=\"webhook_refused\"} 2\n";
            assert!(page.contains(count), "{page}");
            assert!(page.contains("greffier_append_seconds_bucket{le=\"0.0005\"} 0\n"), "{page}");
        });
    }

    #[test]
    fn other_methods_and_other_hosts_are_refused() {
        block_on(async {
            let (vitals, _health, _log) = vitals();
            assert_eq!(ask(&vitals, "POST", "/healthz", "localhost").await.0, 405);
            assert_eq!(ask(&vitals, "GET", "/", "localhost").await.0, 404);
            for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.1", "", "[fe80::1]"]
            {
                assert_eq!(ask(&vitals, "GET", "/metrics", host).await.0, 421, "{host}");
            }
        });
    }
}
