//! A client of the tests' own, as plain as can be: it knows UCWA from the documents and nothing of the connector.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use greffier::simulate::SimulatedPool;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// Signed-in client.
pub struct Client {
    pub http: reqwest::Client,
    /// Ticket per origin.
    pub tickets: HashMap<String, String>,
    /// Base URL of the application.
    pub base: String,
    /// The application as created.
    pub application: Value,
    /// URL of the next poll.
    pub next: String,
    /// Every batch read so far.
    pub batches: Vec<Value>,
    /// How many events of these were searched already.
    pub cursor: usize,
    /// Every other resource read so far, with the URL.
    pub resources: Vec<(String, Value)>,
}

/// Scheme, host and port of a URL.
pub fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Encodes a form value as a careful client does.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The ticket href in a 401.
pub fn token_href(reply: &Response) -> String {
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    let all: Vec<&str> = reply.headers().get_all("www-authenticate").iter().map(|v| v.to_str().unwrap()).collect();
    let rtc = all.join(", ");
    let rest = rtc.split("MsRtcOAuth href=").nth(1).expect("an MsRtcOAuth challenge");
    rest.trim_start_matches('"').split(['"', ',']).next().unwrap().to_owned()
}

/// Asks for a ticket.
pub async fn token(http: &reqwest::Client, href: &str, username: &str, password: &str) -> Response {
    let form = format!("grant_type=password&username={}&password={}", encode(username), encode(password));
    let post = http.post(href).header("Content-Type", "application/x-www-form-urlencoded;charset=utf-8").body(form);
    post.send().await.unwrap()
}

impl Client {
    /// Discovery, two tickets, application; not yet available.
    pub async fn sign_in(pool: &SimulatedPool) -> Client {
        let http = http();
        let mut client = Client {
            http,
            tickets: HashMap::new(),
            base: String::new(),
            application: Value::Null,
            next: String::new(),
            batches: Vec::new(),
            cursor: 0,
            resources: Vec::new(),
        };
        let mut url = pool.autodiscover_url().to_owned();
        let applications = loop {
            let root: Value = client.http.get(&url).send().await.unwrap().json().await.unwrap();
            if let Some(redirect) = root["_links"]["redirect"]["href"].as_str() {
                url = redirect.to_owned();
                continue;
            }
            let user = client.get(pool, root["_links"]["user"]["href"].as_str().unwrap()).await;
            match user["_links"]["redirect"]["href"].as_str() {
                Some(redirect) => url = redirect.to_owned(),
                None => break user["_links"]["applications"]["href"].as_str().unwrap().to_owned(),
            }
        };
        let body = json!({ "userAgent": "UCWA Samples", "endpointId": "380a9e10-c680-488c-8f15-94e7cd87d28f", "culture": "en-US" });
        let reply = client.request(pool, Method::POST, &applications, Some(body)).await;
        assert_eq!(reply.status(), StatusCode::CREATED);
        client.base = origin(&applications);
        client.application = reply.json().await.unwrap();
        client.resources.push((applications, client.application.clone()));
        client.next = client.link(&client.application, "events");
        client
    }

    /// As [`Client::sign_in`], then makeMeAvailable with plain text and HTML.
    pub async fn available(pool: &SimulatedPool) -> Client {
        let mut client = Client::sign_in(pool).await;
        client.become_available(pool).await;
        client
    }

    /// makeMeAvailable, then the application again.
    pub async fn become_available(&mut self, pool: &SimulatedPool) {
        let client = self;
        let href = client.link(&client.application["_embedded"]["me"], "makeMeAvailable");
        let body = json!({ "supportedModalities": ["Messaging"], "supportedMessageFormats": ["Plain", "Html"], "signInAs": "Online" });
        assert_eq!(client.request(pool, Method::POST, &href, Some(body)).await.status(), StatusCode::NO_CONTENT);
        let own = client.link(&client.application, "self");
        client.application = client.get(pool, &own).await;
    }

    /// Absolute URL of a link.
    pub fn link(&self, resource: &Value, rel: &str) -> String {
        let href = resource["_links"][rel]["href"].as_str().unwrap_or_else(|| panic!("no link {rel} in {resource}"));
        self.absolute(href)
    }

    pub fn absolute(&self, href: &str) -> String {
        if href.starts_with("http") { href.to_owned() } else { format!("{}{href}", self.base) }
    }

    /// One request, with a ticket of the right origin, fetched on the first 401.
    pub async fn request(&mut self, pool: &SimulatedPool, method: Method, url: &str, body: Option<Value>) -> Response {
        let reply = self.once(method.clone(), url, body.clone()).await.unwrap();
        if reply.status() != StatusCode::UNAUTHORIZED {
            return reply;
        }
        let reply = token(&self.http, &token_href(&reply), &pool.username(), &pool.password()).await;
        let granted: Value = reply.json().await.unwrap();
        self.tickets.insert(origin(url), granted["access_token"].as_str().expect("a ticket").to_owned());
        self.once(method, url, body).await.unwrap()
    }

    /// One request with whatever ticket there is.
    pub async fn once(&self, method: Method, url: &str, body: Option<Value>) -> reqwest::Result<Response> {
        let mut request = self.http.request(method.clone(), url).header("Accept", "application/json");
        if let Some(ticket) = self.tickets.get(&origin(url)) {
            request = request.bearer_auth(ticket);
        }
        request = match body {
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
            None if method == Method::POST => request.header("Content-Length", "0"),
            None => request,
        };
        request.send().await
    }

    pub async fn get(&mut self, pool: &SimulatedPool, url: &str) -> Value {
        let reply = self.request(pool, Method::GET, url, None).await;
        assert_eq!(reply.status(), StatusCode::OK, "{url}");
        let body: Value = reply.json().await.unwrap();
        self.resources.push((url.to_owned(), body.clone()));
        body
    }

    /// Reads the next batch and follows `next`.
    pub async fn poll(&mut self, pool: &SimulatedPool) -> Value {
        let url = self.next.clone();
        let reply = self.request(pool, Method::GET, &url, None).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let batch: Value = reply.json().await.unwrap();
        let rel = ["next", "resume", "resync"].into_iter().find(|r| batch["_links"][r].is_object()).expect("a way on");
        self.next = self.link(&batch, rel);
        self.batches.push(batch.clone());
        batch
    }

    /// The first event after the last one found that fits; polls for it as long as a test may take.
    pub async fn event(&mut self, pool: &SimulatedPool, fits: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let found = {
                    let mut all = self.batches.iter().flat_map(events).enumerate().skip(self.cursor);
                    all.find(|(_, e)| fits(e)).map(|(at, e)| (at, e.clone()))
                };
                if let Some((at, event)) = found {
                    self.cursor = at + 1;
                    return event;
                }
                self.poll(pool).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search).await.expect("the event comes")
    }

    /// Behaves as a simple recorder until the scenario is over: accepts everything, asks for messaging wherever it is
    /// offered, fetches what comes as a link only, reads rosters, acknowledges what it read.
    pub async fn record(&mut self, pool: &SimulatedPool) {
        loop {
            let batch = tokio::select! {
                done = pool.run_to_end() => return done.unwrap(),
                batch = self.poll(pool) => batch,
            };
            for event in events(&batch) {
                self.react(pool, event).await;
            }
        }
    }

    /// As [`Client::record`], and survives outages: asks again after a broken connection, signs in anew when the
    /// application is gone and joins again every meeting it was in.
    pub async fn survive(&mut self, pool: &SimulatedPool) {
        let mut meetings: BTreeSet<String> = BTreeSet::new();
        loop {
            let url = self.next.clone();
            let reply = tokio::select! {
                done = pool.run_to_end() => return done.unwrap(),
                reply = self.once(Method::GET, &url, None) => reply,
            };
            let Ok(reply) = reply else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if reply.status() == StatusCode::NOT_FOUND {
                while self.http.get(pool.autodiscover_url()).send().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let (batches, resources) = (std::mem::take(&mut self.batches), std::mem::take(&mut self.resources));
                *self = Client { batches, resources, ..Client::available(pool).await };
                let join = self.link(&self.application["_embedded"]["communication"], "joinOnlineMeeting");
                for (n, uri) in meetings.iter().enumerate() {
                    let body = json!({ "onlineMeetingUri": uri, "operationId": format!("rejoin-{n}") });
                    let status = self.request(pool, Method::POST, &join, Some(body)).await.status().as_u16();
                    assert!(matches!(status, 201 | 404), "{status}");
                }
                continue;
            }
            assert_eq!(reply.status(), StatusCode::OK);
            let Ok(batch) = reply.json::<Value>().await else { continue };
            self.next = self.link(&batch, "next");
            for event in events(&batch) {
                if let Some(uri) = event["_embedded"]["onlineMeetingInvitation"]["onlineMeetingUri"].as_str() {
                    meetings.insert(uri.to_owned());
                }
                self.react(pool, event).await;
            }
            self.batches.push(batch);
        }
    }

    async fn react(&mut self, pool: &SimulatedPool, event: &Value) {
        let rel = event["link"]["rel"].as_str().unwrap();
        let url = self.absolute(event["link"]["href"].as_str().unwrap());
        if event["type"] == "deleted" {
            return;
        }
        let mut body = event["_embedded"][rel].clone();
        if body.is_null() {
            let reply = self.request(pool, Method::GET, &url, None).await;
            if reply.status() == StatusCode::OK {
                body = reply.json().await.unwrap();
                self.resources.push((url.clone(), body.clone()));
            }
        }
        if event["type"] == "started" && body["_links"]["accept"].is_object() {
            let accept = self.link(&body, "accept");
            let reply = self.request(pool, Method::POST, &accept, None).await;
            assert!(matches!(reply.status().as_u16(), 204 | 404 | 409), "{}", reply.status());
        }
        if rel == "messaging" && body["_links"]["addMessaging"].is_object() {
            let mut messaging = body.clone();
            for _ in 0..5 {
                let add = self.link(&messaging, "addMessaging");
                let operation = json!({ "operationId": format!("op-{}", self.batches.len()) });
                let reply = self.request(pool, Method::POST, &add, Some(operation)).await;
                if reply.status() == StatusCode::CREATED {
                    break;
                }
                assert_eq!(reply.status(), StatusCode::CONFLICT);
                let reply = self.request(pool, Method::GET, &url, None).await;
                if reply.status() != StatusCode::OK {
                    break;
                }
                messaging = reply.json().await.unwrap();
                if messaging["state"] != "Disconnected" || messaging["_links"]["addMessaging"].is_null() {
                    break;
                }
            }
        }
    }
}

/// All events of a batch, in order.
pub fn events(batch: &Value) -> impl Iterator<Item = &Value> {
    batch["sender"].as_array().into_iter().flatten().flat_map(|s| s["events"].as_array().into_iter().flatten())
}

/// Whether an event is about this rel and of this type.
pub fn is(event: &Value, rel: &str, kind: &str) -> bool {
    event["link"]["rel"] == rel && event["type"] == kind
}

/// JSON bodies, which the HTTP client is built without.
pub trait JsonBody {
    /// Reads the whole answer as JSON; an error is a broken transfer or bad JSON.
    async fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Box<dyn std::error::Error>>;
}

impl JsonBody for Response {
    async fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Box<dyn std::error::Error>> {
        Ok(serde_json::from_slice(&self.bytes().await?)?)
    }
}

/// Sends a form with one field.
pub async fn post_grant(http: &reqwest::Client, href: &str, grant: &str) -> Response {
    let post = http.post(href).header("Content-Type", "application/x-www-form-urlencoded");
    post.body(format!("grant_type={}", encode(grant))).send().await.unwrap()
}
