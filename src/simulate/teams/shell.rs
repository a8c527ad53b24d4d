//! Sockets, time and tasks around the tenant's plain state.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, Uri, header::HeaderMap};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::fault::Spoiled;
use super::ledger::{Asked, Delivery, Path};
use super::outbox::{Answered, Letter, Posted};
use super::request::{Reply, Request};
use super::server::{Answer, Origin, Plan};
use super::tenant::{Tenant, Timer};

/// The tenant and what its tasks share.
pub(super) struct Shared {
    tenant: Mutex<Tenant>,
    started: Instant,
    version: watch::Sender<u64>,
    lanes: Mutex<HashMap<String, mpsc::UnboundedSender<Letter>>>,
    client: reqwest::Client,
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(tenant: Tenant, client: reqwest::Client) -> Arc<Self> {
        Arc::new(Shared {
            tenant: Mutex::new(tenant),
            started: Instant::now(),
            version: watch::Sender::new(0),
            lanes: Mutex::default(),
            client,
            stop: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Tenant> {
        let mut tenant = self.tenant.lock().unwrap_or_else(PoisonError::into_inner);
        tenant.now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tenant
    }

    /// Looks at the tenant.
    pub fn look<T>(&self, f: impl FnOnce(&Tenant) -> T) -> T {
        f(&self.lock())
    }

    /// Changes the tenant, sends the letters and starts the timers it asks for, and wakes every waiter.
    pub fn with<T>(self: &Arc<Self>, f: impl FnOnce(&mut Tenant) -> T) -> T {
        let (result, timers, letters) = {
            let mut tenant = self.lock();
            let result = f(&mut tenant);
            (result, std::mem::take(&mut tenant.timers), std::mem::take(&mut tenant.outbox))
        };
        for (delay, timer) in timers {
            self.set_off(delay, timer);
        }
        for letter in letters {
            self.drop_in(letter);
        }
        self.version.send_modify(|v| *v += 1);
        result
    }

    fn set_off(self: &Arc<Self>, delay_ms: u64, timer: Timer) {
        let shared = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            shared.with(|tenant| tenant.fire(timer));
        });
    }

    /// Puts a letter into its lane; the lane's task sends one after the other.
    fn drop_in(self: &Arc<Self>, letter: Letter) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(letter.lane.clone()).or_insert_with(|| {
            let (sender, mut letters) = mpsc::unbounded_channel();
            let shared = Arc::clone(self);
            self.spawn(async move {
                while let Some(letter) = letters.recv().await {
                    shared.deliver(letter).await;
                }
            });
            sender
        });
        // The lane's task ends only with the tenant; then nothing is delivered any more.
        let _ = lane.send(letter);
    }

    /// Sends a letter. Call notifications are repeated before the next; changes are repeated while others go on.
    async fn deliver(self: &Arc<Self>, letter: Letter) {
        let first_ms = self.look(|t| t.now_ms);
        let Some(pause) = self.attempt(&letter, 1, first_ms).await else { return };
        let again = Arc::clone(self);
        let repeat = async move {
            let mut pause = pause;
            for attempt in 2.. {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                match again.attempt(&letter, attempt, first_ms).await {
                    Some(next) => pause = next,
                    None => return,
                }
            }
        };
        self.spawn(repeat);
    }

    /// One attempt; `Some`: again after so many milliseconds.
    async fn attempt(self: &Arc<Self>, letter: &Letter, attempt: u32, first_ms: u64) -> Option<u64> {
        let posted = self.with(|tenant| tenant.posted(letter));
        let mut url = letter.url.clone();
        let mut answer = self.post(&url, &posted).await;
        // Another region may have to handle it; one step is followed.
        if matches!(answer.status, 302 | 307)
            && letter.path == Path::Calls
            && let Some(location) = answer.location.take()
        {
            url = location;
            answer = self.post(&url, &posted).await;
        }
        self.with(|tenant| tenant.answered(letter, attempt, first_ms, &answer))
    }

    async fn post(&self, url: &str, posted: &Posted) -> Answered {
        let mut request = self.client.post(url).header("content-type", "application/json").body(posted.body.clone());
        if let Some(token) = &posted.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &posted.headers {
            request = request.header(*name, value);
        }
        let started = Instant::now();
        let mut answered = Answered { status: 0, body: Vec::new(), location: None, took_ms: 0 };
        if let Ok(response) = request.send().await {
            answered.status = response.status().as_u16();
            answered.location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
            answered.body = response.bytes().await.map(|b| b.to_vec()).unwrap_or_default();
        }
        answered.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        answered
    }

    /// Validates an address: it must give the token back as plain text within 10 s.
    async fn validate(self: &Arc<Self>, url: &str, token: &str) -> Result<(), String> {
        let wait = self.look(|t| t.faults.handshake);
        tokio::time::sleep(wait).await;
        let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let joint = if url.contains('?') { '&' } else { '?' };
        let request = self
            .client
            .post(format!("{url}{joint}validationToken={encoded}"))
            .header("content-type", "text/plain; charset=utf-8")
            .timeout(Duration::from_secs(10));
        let started = Instant::now();
        let answered = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let kind =
                    response.headers().get("content-type").and_then(|c| c.to_str().ok()).unwrap_or_default().to_owned();
                let body = response.text().await.unwrap_or_default();
                let good = status == 200 && kind.starts_with("text/plain") && body == token;
                (status, if good { Ok(()) } else { Err(format!("status {status}, {kind}, {} bytes", body.len())) })
            }
            Err(_) => (0, Err("no answer within 10 s".to_owned())),
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.with(|tenant| {
            let at_ms = tenant.now_ms;
            tenant.ledger.deliveries.push(Delivery {
                at_ms,
                path: Path::Validation,
                url: url.to_owned(),
                what: "validationToken".to_owned(),
                attempt: 1,
                status: answered.0,
                took_ms,
                wrong: false,
            });
        });
        answered.1
    }

    async fn validate_all(self: &Arc<Self>, plan: Plan) -> Reply {
        for url in &plan.urls {
            // A token as the service makes them, and with everything that is easily spoilt by decoding once too often.
            let id = self.with(Tenant::guid);
            let token = format!(
                "Validation: Testing client application reachability for subscription Request-Id: {id} + & = % %2B <ü>"
            );
            if let Err(why) = self.validate(url, &token).await {
                self.with(|tenant| tenant.tell("The validation of a subscription's address fails"));
                return Reply::error(
                    400,
                    "ValidationError",
                    &format!(
                        "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request ({why})."
                    ),
                );
            }
        }
        self.with(|tenant| tenant.subscribed(plan))
    }

    /// Runs a task until it ends or the tenant is shut down.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // Boxed without its type: a task may spawn the like of itself.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits until `holds`, at most so long; says whether it came to hold.
    pub async fn until(&self, within: Duration, holds: impl Fn(&Tenant) -> bool) -> bool {
        let mut changes = self.version.subscribe();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            changes.borrow_and_update();
            if self.look(|tenant| holds(tenant)) {
                return true;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return false },
                () = tokio::time::sleep_until(deadline) => return self.look(|tenant| holds(tenant)),
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Changes as they come.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Answers one request, spoilt if a fault says so, and enters it into the ledger.
    async fn handle(self: Arc<Self>, origin: Origin, request: Request) -> Reply {
        let spoiled = self.with(|t| t.faults.meet_answer(&format!("{} {}", request.method, decoded(&request.raw))));
        let mut reply = match spoiled {
            Some(Spoiled::Status(status, retry)) => {
                let reply = Reply::error(status, "UnknownError", "Something went wrong on purpose.");
                match retry {
                    Some(seconds) => reply.with("retry-after", seconds.to_string()),
                    None => reply,
                }
            }
            Some(Spoiled::Html) => Reply {
                status: 200,
                headers: vec![("content-type", "text/html".to_owned())],
                body: b"<html><body>Proxy says no</body></html>".to_vec(),
            },
            ref other => {
                if let Some(Spoiled::Slow(length)) = other {
                    tokio::time::sleep(*length).await;
                }
                let answer = self.with(|tenant| tenant.answer(origin, &request));
                let mut reply = match answer {
                    Answer::Reply(reply) => reply,
                    Answer::Validate(plan) => self.validate_all(*plan).await,
                };
                if matches!(other, Some(Spoiled::Cut)) {
                    reply.body.truncate(reply.body.len() / 2);
                }
                reply
            }
        };
        self.with(|tenant| {
            let at_ms = tenant.now_ms;
            tenant.ledger.requests.push(Asked {
                at_ms,
                method: request.method.clone(),
                path: request.raw.clone(),
                status: reply.status,
            });
            let id = tenant.guid();
            complete_error(&mut reply, &id, request.header("client-request-id"), &tenant.wall());
            reply.headers.push(("request-id", id));
        });
        reply
    }
}

/// Ids and date of an error.
fn complete_error(reply: &mut Reply, id: &str, client_id: Option<&str>, wall: &str) {
    if reply.status < 400 {
        return;
    }
    if let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body)
        && body["error"]["innerError"].is_object()
    {
        body["error"]["innerError"] = json!({
            "date": wall.get(..19).unwrap_or(wall), "request-id": id, "client-request-id": client_id.unwrap_or(id),
        });
        reply.body = body.to_string().into_bytes();
    }
}

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Serves one origin until the tenant is shut down.
pub(super) async fn listen(shared: Arc<Shared>, origin: Origin, listener: TcpListener) {
    let state = Arc::clone(&shared);
    let router = Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let shared = Arc::clone(&state);
        async move {
            let raw = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
            let headers = headers
                .iter()
                .map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                .collect();
            let request = Request::new(method.as_str(), &raw, headers, body.to_vec());
            respond(shared.handle(origin, request).await)
        }
    });
    let stop = shared.stop.clone();
    drop(shared);
    // An error of the listener ends the service; those who wait for answers see it.
    let _ = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await;
}

fn respond(reply: Reply) -> Response {
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK));
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_default()
}
