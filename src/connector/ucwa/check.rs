//! `greffier check` for a UCWA connector: sign in step by step, say what was found, sign out.
//!
//! It never becomes available, so it takes no invitation away from a recorder that runs under the same account.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::Sender;
use url::Url;

use crate::clock::Clock;
use crate::connector::{CheckLine, CheckOutcome};

use super::config::ResolvedUcwa;
use super::courier::{Call, CallFailure, Courier, Step};
use super::discovery::{Discovery, Next};
use super::http::{Answer, Body, Lane, Method};
use super::origin::{self, Trust};
use super::transport::Transport;
use super::wire::{self, Resource};

/// Signs in and out again; sends one line per step. Ends early when a step makes the following ones pointless.
pub async fn check(config: ResolvedUcwa, clock: Arc<dyn Clock>, lines: Sender<CheckLine>) {
    let prepared = Transport::new(config.ca_pem.as_deref()).and_then(|t| Ok((t, super::driver::parties(&config)?)));
    let (transport, (trust, courier)) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => return say(&lines, CheckOutcome::Bad, "prepare", problem).await,
    };
    Probe { config, trust, courier, transport, clock, lines }.run().await;
}

async fn say(lines: &Sender<CheckLine>, outcome: CheckOutcome, step: &str, note: impl Into<String>) {
    // A closed receiver means that nobody reads any more; the sign-out still has to happen.
    let _ = lines.send(CheckLine { step: step.to_owned(), outcome, note: note.into() }).await;
}

struct Probe {
    config: ResolvedUcwa,
    trust: Trust,
    courier: Courier,
    transport: Transport,
    clock: Arc<dyn Clock>,
    lines: Sender<CheckLine>,
}

impl Probe {
    async fn good(&self, step: &str, note: impl Into<String>) {
        say(&self.lines, CheckOutcome::Good, step, note).await;
    }

    async fn warn(&self, step: &str, note: impl Into<String>) {
        say(&self.lines, CheckOutcome::Warning, step, note).await;
    }

    async fn bad(&self, step: &str, note: impl Into<String>) {
        say(&self.lines, CheckOutcome::Bad, step, note).await;
    }

    async fn call(&mut self, method: Method, url: Url, body: Body, anonymous: bool) -> Result<Answer, CallFailure> {
        let call = Call { method, url, body, lane: Lane::Command, timeout: Duration::from_secs(20), anonymous };
        let (id, steps) = self.courier.call(call, self.clock.now());
        let mut todo = std::collections::VecDeque::from(steps);
        let mut result = None;
        while let Some(step) = todo.pop_front() {
            match step {
                Step::Send(request_id, request) => {
                    let outcome = self.transport.perform(request).await;
                    todo.extend(self.courier.answer(request_id, outcome, self.clock.now()));
                }
                Step::Done(done, outcome) if done == id => result = Some(outcome),
                Step::Done(..) | Step::Raise(_) => {}
            }
        }
        result.unwrap_or(Err(CallFailure::Net(super::http::NetFailure::Broken)))
    }

    async fn run(mut self) {
        let Some(applications) = self.discover().await else { return };
        let Some((application, base)) = self.create(applications).await else { return };
        self.look_around(&application, &base).await;
        let Some(url) = application.href().and_then(|h| origin::resolve(&base, h).ok()) else { return };
        match self.call(Method::Delete, url, Body::Empty, false).await {
            Ok(answer) if answer.status < 300 => self.good("sign out", "the application is deleted").await,
            Ok(answer) => {
                let note =
                    format!("HTTP {}; the server ends the application by itself after some minutes", answer.status);
                self.warn("sign out", note).await;
            }
            Err(failure) => self.warn("sign out", failure.text()).await,
        }
    }

    async fn discover(&mut self) -> Option<Url> {
        let mut discovery = Discovery::new(&self.config.domain, self.config.autodiscover.clone(), &self.trust);
        loop {
            match discovery.next() {
                Next::Ask { url, anonymous } => {
                    let result = self.call(Method::Get, url, Body::Empty, anonymous).await;
                    if let Err(failure) = &result
                        && failure.wrong_credentials()
                    {
                        self.bad("sign in", failure.text()).await;
                        return None;
                    }
                    discovery.answer(result);
                }
                Next::Found { applications, trail } => {
                    for hop in trail {
                        self.good(&format!("ask {}", hop.url), hop.what).await;
                    }
                    let host = applications.host_str().unwrap_or_default().to_owned();
                    self.good("find the pool", format!("applications are on {host}")).await;
                    return Some(applications);
                }
                Next::Failed(error) => {
                    self.bad("find the pool", error.to_string()).await;
                    return None;
                }
            }
        }
    }

    async fn create(&mut self, applications: Url) -> Option<(Resource, Url)> {
        // Not the recorder's own endpoint id: a recorder that runs meanwhile must not be disturbed.
        let endpoint = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string();
        let body = Body::Json(json!({
            "userAgent": concat!("Greffier/", env!("CARGO_PKG_VERSION")),
            "endpointId": endpoint,
            "culture": "en-US",
        }));
        match self.call(Method::Post, applications.clone(), body, false).await {
            Ok(answer) if matches!(answer.status, 200 | 201) => match Resource::parse(&answer.body) {
                Ok(resource) => {
                    let grant = self.courier.grant(&applications).unwrap_or("none");
                    let note = format!("{} has a ticket (grant {grant}) and an application", self.config.username);
                    self.good("sign in", note).await;
                    Some((resource, applications))
                }
                Err(error) => {
                    self.bad("create an application", format!("the answer cannot be read: {error}")).await;
                    None
                }
            },
            Ok(answer) => {
                let error = wire::parse_error(&answer.body).unwrap_or_default();
                let code = error.subcode.or(error.code).unwrap_or_default();
                let help = match code.as_str() {
                    "TooManyApplications" => "; end other programs that use this account, or wait 15 minutes",
                    "Forbidden" => "; the account may not use UCWA here: enable it for Skype for Business",
                    _ => "",
                };
                self.bad("create an application", format!("HTTP {} {code}{help}", answer.status)).await;
                None
            }
            Err(failure) => {
                self.bad("sign in", failure.text()).await;
                None
            }
        }
    }

    async fn look_around(&mut self, application: &Resource, base: &Url) {
        let me = application.embedded("me");
        let address = me.as_ref().and_then(|m| m.text("uri")).map(str::to_lowercase);
        match address {
            Some(address) if address == self.config.sign_in => self.good("the account", address).await,
            Some(address) => {
                let note = format!("signed in as {address}, configured is {}; correct `sign_in`", self.config.sign_in);
                self.warn("the account", note).await;
            }
            None => self.warn("the account", "the server does not tell its address").await,
        }
        let reachable =
            me.as_ref().is_some_and(|m| m.link("makeMeAvailable").is_some() || m.link("presence").is_some());
        if reachable {
            self.good("invitations", "the server offers to make the recorder available, so invitations can reach it")
                .await;
        } else {
            let note = "the server does not offer makeMeAvailable: no invitation can reach this account";
            self.bad("invitations", note).await;
        }
        let link = application.link("policies").and_then(|h| origin::resolve(base, h).ok());
        let Some(url) = link else { return self.warn("policies", "the server shows none").await };
        match self.call(Method::Get, url, Body::Empty, false).await {
            Ok(answer) if answer.status == 200 => match Resource::parse(&answer.body) {
                Ok(policies) => {
                    let told = |name: &str| match policies.value().get(name) {
                        Some(serde_json::Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                        None => "not told".to_owned(),
                    };
                    let note = ["messageArchiving", "htmlMessaging", "messagingUrls"]
                        .map(|name| format!("{name} = {}", told(name)))
                        .join(", ");
                    self.good("policies", note).await;
                }
                Err(_) => self.warn("policies", "the answer cannot be read").await,
            },
            Ok(answer) => self.warn("policies", format!("HTTP {}", answer.status)).await,
            Err(failure) => self.warn("policies", failure.text()).await,
        }
        if self.config.notice.is_empty() {
            let note = "[notice] text is empty: people are not told that they are recorded";
            self.warn("notice", note).await;
        }
    }
}
