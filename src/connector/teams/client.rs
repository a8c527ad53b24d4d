//! Performs [`Ask`]s: tokens, budgets, repetitions; the only place of the connector that sends requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderValue};
use url::Url;

use super::ask::{Address, Ask, Method, Patience, Priority, Reply};
use super::budget::{self, Retry};
use super::config::ResolvedTeams;
use super::destination::{self, Audience, Destination};
use super::gate::Gate;
use super::purse::{Purse, When};
use crate::clock::Clock;
use crate::connector::web;

/// Largest answer read: a page of messages with their cards, or one hosted content.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// How long one attempt may take, from sending to the last byte.
fn limit(priority: Priority) -> Duration {
    match priority {
        Priority::Deadline => Duration::from_secs(4),
        Priority::Live | Priority::Upkeep => Duration::from_secs(30),
        Priority::Backfill => Duration::from_secs(60),
    }
}

/// What came of one attempt.
enum Attempt {
    Answer { status: u16, headers: HeaderMap, body: Bytes, took: Duration },
    Failed(String),
}

/// The connector's requests.
pub(super) struct Client {
    outside: reqwest::Client,
    loopback: reqwest::Client,
    config: ResolvedTeams,
    clock: Arc<dyn Clock>,
    gate: Gate,
    /// Token for Graph.
    pub(super) graph: Purse,
    /// Token for the Bot Connector.
    pub(super) connector: Purse,
}

impl Client {
    /// Sets up HTTP; sends nothing yet.
    ///
    /// # Errors
    /// What is wrong with `ca_file` or the credential.
    pub(super) fn new(config: &ResolvedTeams, clock: Arc<dyn Clock>) -> Result<Client, String> {
        let certificates = web::certificates(config.ca_pem.as_deref())?;
        // A connection to Graph stays open between calls: a handshake would eat into the time for an answer.
        let client = |scheme| {
            web::builder(&certificates, scheme)
                .pool_idle_timeout(Duration::from_secs(600))
                .http2_keep_alive_interval(Duration::from_secs(30))
                .http2_keep_alive_while_idle(true)
                .build()
                .map_err(|error| format!("cannot set up HTTP: {error}"))
        };
        let (outside, loopback) = (client("https")?, client("http")?);
        let endpoints = &config.endpoints;
        Ok(Client {
            graph: Purse::new(config, &config.tenant_id, &endpoints.graph_scope, When::Always)?,
            connector: Purse::new(config, &endpoints.bot_tenant, &endpoints.bot_scope, When::Asked)?,
            outside,
            loopback,
            config: config.clone(),
            gate: Gate::new(Arc::clone(&clock)),
            clock,
        })
    }

    fn for_url(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "http" { &self.loopback } else { &self.outside }
    }

    fn purse(&self, audience: Audience) -> &Purse {
        match audience {
            Audience::Graph => &self.graph,
            Audience::Connector => &self.connector,
        }
    }

    /// Performs a request; returns when it is answered or nothing more is to be tried.
    pub(super) async fn ask(&self, ask: Ask) -> Reply {
        let destination = match destination::of(&ask.address, &self.config.endpoints) {
            Ok(destination) => destination,
            Err(why) => return Reply::Failed(why),
        };
        let mut attempt = 0;
        let mut renewed = false;
        let mut another = None;
        let mut place = None;
        loop {
            attempt += 1;
            if let Patience::Until(end) = ask.patience
                && self.clock.now() >= end
            {
                return Reply::Failed("there was no time left to ask".to_owned());
            }
            let purse = self.purse(destination.audience);
            let token = match another.take() {
                Some(token) => token,
                None => match purse.token(self.time_for_token(&ask)).await {
                    Some(token) => token,
                    None => return Reply::Failed("there is no access token".to_owned()),
                },
            };
            let place = match &mut place {
                Some(place) => place,
                none => none.insert(self.gate.enter(&ask).await),
            };
            let attempted = self.attempt(&ask, &destination, token.secret.expose()).await;
            let (status, retry_after) = match &attempted {
                Attempt::Answer { status, headers, .. } => (*status, text(headers, header::RETRY_AFTER)),
                Attempt::Failed(_) => (0, None),
            };
            if status == 401 && !renewed {
                // Roles or secrets may have changed; one new token, one repetition.
                renewed = true;
                let patience = self.time_for_token(&ask).min(Duration::from_secs(10));
                another = purse.another(token.number, &self.clock, patience).await;
                if another.is_some() {
                    continue;
                }
            }
            let (jitter, now) = (fastrand::f64(), self.clock.now());
            match budget::after(status, retry_after.as_deref(), attempt, ask.patience, jitter, now) {
                Retry::Now => {}
                Retry::At(time) => place.again(time, status == 429).await,
                Retry::GiveUp => {
                    place.done();
                    return reply(attempted);
                }
            }
        }
    }

    fn time_for_token(&self, ask: &Ask) -> Duration {
        match ask.patience {
            Patience::Until(end) => end.since(self.clock.now()),
            Patience::Tries(_) => Duration::from_secs(60),
        }
    }

    async fn attempt(&self, ask: &Ask, destination: &Destination, token: &str) -> Attempt {
        let method = match ask.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {token}")) else {
            return Attempt::Failed("the access token cannot be sent".to_owned());
        };
        bearer.set_sensitive(true);
        let mut request = self
            .for_url(&destination.url)
            .request(method, destination.url.clone())
            .timeout(limit(ask.priority))
            .header(header::AUTHORIZATION, bearer)
            .header(
                "client-request-id",
                uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string(),
            );
        if destination.audience == Audience::Graph {
            // Without it system messages hide as unknown (digest §15).
            request = request.header("Prefer", "include-unknown-enum-members");
        }
        request = match (&ask.body, ask.method) {
            (Some(body), _) => request.header(header::CONTENT_TYPE, "application/json").body(body.to_string()),
            (None, Method::Post) => request.header(header::CONTENT_LENGTH, "0").body(Bytes::new()),
            (None, _) => request,
        };
        let began = Instant::now();
        let answer = exchange(request).await;
        if let Attempt::Answer { status, headers, took, .. } = &answer {
            let id = text(headers, header::HeaderName::from_static("request-id")).unwrap_or_default();
            tracing::debug!(
                http.status = status,
                http.took_ms = took.as_millis() as u64,
                "{:?} answered, request-id {id}",
                ask.method
            );
        } else {
            tracing::debug!(http.took_ms = began.elapsed().as_millis() as u64, "{:?} was not answered", ask.method);
        }
        answer
    }

    /// Reads a public document, without any token.
    pub(super) async fn public(&self, url: &Url) -> Reply {
        let request = self.for_url(url).get(url.clone()).timeout(Duration::from_secs(10));
        reply(exchange(request).await)
    }

    /// Asks the login service; the form holds secrets and goes nowhere else.
    /// Also what the service says of when to come again.
    pub(super) async fn form(&self, url: &Url, form: String) -> (Reply, Option<Duration>) {
        let request = self
            .for_url(url)
            .post(url.clone())
            .timeout(Duration::from_secs(15))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let attempt = exchange(request).await;
        let pause = match &attempt {
            Attempt::Answer { headers, .. } => text(headers, header::RETRY_AFTER),
            Attempt::Failed(_) => None,
        };
        (reply(attempt), pause.and_then(|told| budget::pause_told(&told, self.clock.now())))
    }

    /// Keeps a connection to Graph open: the first call after hours of silence must not pay for a handshake.
    pub(super) async fn warm(&self) {
        if let Ok(Destination { url, .. }) = destination::of(&Address::Graph("/".to_owned()), &self.config.endpoints) {
            let _ = self.public(&url).await;
        }
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Attempt {
    let began = Instant::now();
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Attempt::Failed(web::trouble(&error).as_str().to_owned()),
    };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    match web::body(&mut response, LARGEST_BODY).await {
        Ok(body) => Attempt::Answer { status, headers, body, took: began.elapsed() },
        Err(web::BodyTrouble::Broken) => Attempt::Failed(web::Trouble::Broken.as_str().to_owned()),
        Err(web::BodyTrouble::TooLarge) => {
            Attempt::Failed(format!("the answer is larger than {} MB", LARGEST_BODY / 1024 / 1024))
        }
    }
}

fn reply(attempt: Attempt) -> Reply {
    match attempt {
        Attempt::Answer { status, headers, body, took } => {
            Reply::Answer { status, content_type: text(&headers, header::CONTENT_TYPE), body, took }
        }
        Attempt::Failed(why) => Reply::Failed(why),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
