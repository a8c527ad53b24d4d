//! A stand-in for the webhooks while `serve` does not run: it answers the handshake of subscriptions and nothing else, so
//! that `check` can knock at `callback_url` and see whether the way leads here.

use std::io::ErrorKind;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::super::config::ResolvedTeams;
use super::super::listener::Tls;
use crate::listen::{Limited, Patience};

const PATIENCE: Patience = Patience { idle: Duration::from_secs(10), crowded: Duration::from_secs(2) };

/// What was found at the address of the webhooks.
pub(super) enum Place {
    /// It was free.
    Free,
    /// Somebody listens there, `serve` most probably.
    Taken,
    /// It cannot be listened on, for this reason.
    Unusable(String),
}

/// Answers until dropped.
pub(super) struct StandIn(AbortHandle);

impl Drop for StandIn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens where `serve` will; the stand-in is there if the place is free.
pub(super) async fn stand_in(config: &ResolvedTeams) -> (Place, Option<StandIn>) {
    let socket = match TcpListener::bind(config.listen).await {
        Ok(socket) => socket,
        Err(error) if error.kind() == ErrorKind::AddrInUse => return (Place::Taken, None),
        Err(error) => return (Place::Unusable(error.to_string()), None),
    };
    let prefix = config.callback_url.path().trim_end_matches('/');
    // The prefix is fixed text, but may hold characters that routes give a meaning.
    let wanted = format!("{prefix}/api/notifications");
    let router = Router::new().fallback(post(move |uri: axum::http::Uri, query: Query<Handshake>| {
        let here = uri.path() == wanted;
        async move { if here { echo(query) } else { StatusCode::NOT_FOUND.into_response() } }
    }));
    let limited = Limited::new(socket, 16, PATIENCE);
    let task = match config.tls.clone() {
        Some(files) => match Tls::new(limited, files.value) {
            Ok(tls) => tokio::spawn(async move { axum::serve(tls, router).await }),
            Err(why) => return (Place::Unusable(why), None),
        },
        None => tokio::spawn(async move { axum::serve(limited, router).await }),
    };
    (Place::Free, Some(StandIn(task.abort_handle())))
}

#[derive(Deserialize)]
struct Handshake {
    #[serde(rename = "validationToken")]
    token: Option<String>,
}

fn echo(Query(handshake): Query<Handshake>) -> Response {
    match handshake.token {
        Some(token) if token.len() <= 512 => {
            let kind = [(header::CONTENT_TYPE, "text/plain"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (kind, token).into_response()
        }
        // Not recording: whoever has something to deliver shall come again.
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
