//! From the sign-in address to a polling application, and back there after any fault (digest §2–§5).

use std::time::Duration;

use crate::capture::CursorChange;
use crate::model::Timestamp;
use serde_json::json;

use super::super::courier::CallFailure;
use super::super::discovery::{Discovery, Next};
use super::super::http::{Answer, Body, Method};
use super::super::wire::{self, Resource};
use super::talk::Talk;
use super::timers::Timer;
use super::{Action, Application, Call, Lane, Phase, Purpose, Report, Session, TalkKey, outage};

/// After wrong credentials: no new try before this, or the account gets locked.
const AFTER_WRONG_CREDENTIALS: Duration = Duration::from_secs(15 * 60);
/// How long batches of an earlier run wait for a sign-in (to look names up) before they are interpreted without.
const PENDING_PATIENCE: Duration = Duration::from_secs(20);

/// How long a notice that an earlier run meant to send may take to show in the channel.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);

/// Links of the application that we use.
const LINKS: [(&str, &str); 8] = [
    ("me", "makeMeAvailable"),
    ("me", "presence"),
    ("me", "note"),
    ("me", "reportMyActivity"),
    ("communication", "joinOnlineMeeting"),
    ("communication", "conversations"),
    ("", "policies"),
    ("", "events"),
];

impl Session {
    /// Reads what an earlier run left in the cursor. Entries that cannot be read are reported, not fatal.
    pub(super) fn take_up_cursor(&mut self, cursor: &[(String, Vec<u8>)], last_seen: Option<Timestamp>) {
        let mut alive = None;
        for (key, value) in cursor {
            let read = match key.split_once('/') {
                None if key == "endpoint" => String::from_utf8(value.clone()).map(|v| self.endpoint = v).is_ok(),
                None if key == "alive" => {
                    alive = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).map(Timestamp);
                    alive.is_some()
                }
                None if key == "application" => {
                    self.application = serde_json::from_slice(value).ok();
                    self.application.is_some()
                }
                Some(("talk", href)) => {
                    serde_json::from_slice::<Talk>(value).map(|t| self.talks.insert(href.to_owned(), t)).is_ok()
                }
                Some(("lost", _)) => serde_json::from_slice::<outage::Lost>(value)
                    .map(|lost| self.lost.insert(lost.id.clone(), lost))
                    .is_ok(),
                _ => false,
            };
            if !read {
                self.note(format!("entry {} of the connector's notes cannot be read and is not used", short(key)));
            }
        }
        if !self.talks.is_empty() {
            self.down_since = alive.max(last_seen);
        }
    }

    pub(super) fn start(&mut self) {
        if self.endpoint.is_empty() {
            self.endpoint = self.guid();
            let endpoint = self.endpoint.clone();
            self.outbox.cursor.push(CursorChange { key: "endpoint".into(), value: Some(endpoint.into_bytes()) });
        }
        if !self.pending.is_empty() {
            self.timers.set(Timer::Pending, self.now.plus(PENDING_PATIENCE));
        }
        self.sign_in();
    }

    /// Begins or begins again: with the known application if there is one, else with discovery.
    pub(super) fn sign_in(&mut self) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Done) {
            return;
        }
        self.courier.reset_credentials_block();
        self.out.push(Action::Report(Report::Connecting));
        match &self.application {
            Some(application) if self.setbacks < 3 => {
                let url = application.href.clone();
                self.phase = Phase::Resuming;
                self.call(Purpose::Resume, Method::Get, url, Body::Empty);
            }
            _ => self.discover(),
        }
    }

    fn discover(&mut self) {
        self.phase = Phase::Discovering;
        self.discovery = Some(Discovery::new(&self.settings.domain, self.settings.autodiscover.clone(), &self.trust));
        self.next_hop();
    }

    /// The pool may have moved: find it again, keeping the application if it is still there.
    pub(super) fn rediscover(&mut self) {
        if matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        self.drop_poll();
        self.discover();
    }

    fn next_hop(&mut self) {
        let Some(discovery) = self.discovery.as_mut() else { return };
        match discovery.next() {
            Next::Ask { url, anonymous } => {
                let call = Call {
                    method: Method::Get,
                    url,
                    body: Body::Empty,
                    lane: Lane::Command,
                    timeout: Duration::from_secs(20),
                    anonymous,
                };
                self.send(Purpose::Discover, call);
            }
            Next::Found { applications, .. } => {
                self.discovery = None;
                let moved = self.applications.replace(applications).is_some();
                match self.application.as_ref().map(|a| a.href.clone()) {
                    Some(url) => {
                        self.phase = Phase::Resuming;
                        self.call(Purpose::Resume, Method::Get, url, Body::Empty);
                    }
                    None => {
                        if moved {
                            self.note("discovered the pool again".into());
                        }
                        self.create();
                    }
                }
            }
            Next::Failed(error) => {
                self.discovery = None;
                // A pool that is down may come back by itself; a refusal or an untrusted host needs a person.
                if error.sign_in.is_some() || !error.untrusted.is_empty() {
                    self.alarm(error.to_string());
                } else {
                    self.warn(error.to_string());
                }
                self.try_later();
            }
        }
    }

    pub(super) fn discovered(&mut self, result: Result<Answer, CallFailure>) {
        if self.phase != Phase::Discovering {
            return;
        }
        if let Err(failure @ CallFailure::SignIn(_)) = &result
            && failure.wrong_credentials()
        {
            self.discovery = None;
            return self.sign_in_failed(failure);
        }
        if let Some(discovery) = self.discovery.as_mut() {
            discovery.answer(result);
            self.next_hop();
        }
    }

    fn try_later(&mut self) {
        self.phase = Phase::Waiting;
        self.setbacks += 1;
        let mut wait = self.back_off(self.setbacks - 1);
        if self.application.is_some() {
            wait = wait.min(super::channel::LONGEST_WAIT);
        }
        self.timers.set(Timer::SignIn, self.now.plus(wait));
    }

    /// A call failed for lack of a ticket. Wrong credentials stop everything for a quarter of an hour.
    pub(super) fn sign_in_failed(&mut self, failure: &CallFailure) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Done) {
            return;
        }
        self.drop_poll();
        if failure.wrong_credentials() {
            self.alarm(failure.text());
            self.phase = Phase::Waiting;
            self.timers.set(Timer::SignIn, self.now.plus(AFTER_WRONG_CREDENTIALS));
        } else {
            match failure {
                CallFailure::Net(_) => self.note(failure.text()),
                _ => self.alarm(failure.text()),
            }
            self.try_later();
        }
    }

    // ---- the application ----------------------------------------------------------------------------------------

    pub(super) fn resumed(&mut self, result: Result<Answer, CallFailure>) {
        if self.phase != Phase::Resuming {
            return;
        }
        match result {
            Ok(answer) if answer.status == 200 => match Resource::parse(&answer.body) {
                Ok(resource) => {
                    self.note("took up the application of before".into());
                    self.application_seen(&resource);
                    self.go_on(&resource);
                }
                Err(_) => self.try_later(),
            },
            Ok(answer) if matches!(answer.status, 404 | 410) => {
                self.lose_application("the server ended the application");
                self.create_again();
            }
            Ok(answer) if answer.status == 403 && self.applications.is_none() => self.discover(),
            Ok(_) => self.try_later(),
            Err(CallFailure::Untrusted { .. }) => {
                self.lose_application("the application's host is no longer trusted");
                self.discover();
            }
            Err(failure) => self.sign_in_failed(&failure),
        }
    }

    /// Replaces a lost application at once, but not one that was made a moment ago.
    fn create_again(&mut self) {
        let fresh = self.created_at.is_some_and(|at| self.now.since(at) < Duration::from_secs(10));
        match self.applications {
            _ if fresh => self.try_later(),
            Some(_) => self.create(),
            None => self.discover(),
        }
    }

    fn create(&mut self) {
        let Some(url) = self.applications.clone() else { return self.discover() };
        self.phase = Phase::Creating;
        let body = json!({
            "userAgent": concat!("Greffier/", env!("CARGO_PKG_VERSION")),
            "endpointId": self.endpoint,
            "culture": "en-US",
        });
        self.call(Purpose::Create, Method::Post, url, Body::Json(body));
    }

    pub(super) fn created(&mut self, result: Result<Answer, CallFailure>) {
        if self.phase != Phase::Creating {
            return;
        }
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                self.applications = None;
                return self.sign_in_failed(&failure);
            }
        };
        let made = matches!(answer.status, 200 | 201).then(|| Resource::parse(&answer.body).ok()).flatten();
        let Some(resource) = made else {
            let error = wire::parse_error(&answer.body);
            let subcode = error.and_then(|e| e.subcode.or(e.code)).unwrap_or_default();
            self.alarm(format!(
                "the server does not let us create an application (HTTP {}{}{})",
                answer.status,
                if subcode.is_empty() { "" } else { ", " },
                subcode
            ));
            if !matches!(answer.status, 429 | 500 | 503 | 504) {
                self.applications = None;
            }
            return self.try_later();
        };
        let base = self.applications.clone();
        let absolute = |href: Option<&str>| {
            let (base, href) = (base.as_ref()?, href?);
            super::origin::resolve(base, href).ok().filter(|u| self.trust.may_receive_secrets(u))
        };
        let href = absolute(resource.href()).or_else(|| absolute(answer.location.as_deref()));
        let (Some(href), Some(next)) = (href, absolute(resource.link("events"))) else {
            self.alarm("the server's application has no usable self or events link".into());
            return self.try_later();
        };
        self.application =
            Some(Application { href, incarnation: self.guid(), next, links: std::collections::BTreeMap::new() });
        self.reset_channel();
        self.available = false;
        self.created_at = Some(self.now);
        self.application_seen(&resource);
        self.save_application();
        self.go_on(&resource);
    }

    fn save_application(&mut self) {
        let application = self.application.clone();
        self.set_cursor("application".into(), application.as_ref());
    }

    /// Takes the newest links of the application.
    fn application_seen(&mut self, resource: &Resource) {
        let Some(application) = self.application.as_mut() else { return };
        for (part, link) in LINKS {
            let holder = if part.is_empty() { Some(resource.clone()) } else { resource.embedded(part) };
            match holder.as_ref().and_then(|h| h.link(link)) {
                Some(href) => application.links.insert(link, href.to_owned()),
                None => application.links.remove(link),
            };
        }
    }

    fn app_link(&self, link: &str) -> Option<String> {
        self.application.as_ref()?.links.get(link).cloned()
    }

    /// With an application in hand: become available, or go straight to polling.
    fn go_on(&mut self, resource: &Resource) {
        self.phase = Phase::Preparing;
        let offered = resource.embedded("me").is_some_and(|me| me.link("makeMeAvailable").is_some());
        if offered {
            self.make_available();
        } else {
            self.run();
        }
    }

    fn make_available(&mut self) {
        let body = json!({
            "signInAs": "Online",
            "supportedModalities": ["Messaging"],
            "supportedMessageFormats": ["Plain", "Html"],
        });
        match self.app_link("makeMeAvailable") {
            Some(href) => {
                self.follow(Purpose::MakeAvailable, Method::Post, &href, Body::Json(body));
            }
            None => self.refresh(),
        }
    }

    pub(super) fn made_available(&mut self, result: Result<Answer, CallFailure>) {
        match result {
            Ok(answer) if answer.status < 300 || answer.status == 409 => {
                self.asked_available = true;
                self.refresh();
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => self.verify_application(),
            Ok(answer) => {
                let error = wire::parse_error(&answer.body);
                let why = error.and_then(|e| e.subcode.or(e.code)).unwrap_or_default();
                self.alarm(format!(
                    "the server does not make the recorder available (HTTP {} {why}); no invitation can reach it",
                    answer.status
                ));
                self.try_later();
            }
            Err(failure) => self.sign_in_failed(&failure),
        }
    }

    /// Reads the application again: its links have changed.
    fn refresh(&mut self) {
        if let Some(url) = self.application.as_ref().map(|a| a.href.clone()) {
            self.call(Purpose::Refresh, Method::Get, url, Body::Empty);
        }
    }

    pub(super) fn refreshed(&mut self, result: Result<Answer, CallFailure>) {
        match result {
            Ok(answer) if answer.status == 200 => {
                if let Ok(resource) = Resource::parse(&answer.body) {
                    self.application_seen(&resource);
                }
                // The link comes back when the server has ceased to count us as available.
                if !self.asked_available && self.app_link("makeMeAvailable").is_some() {
                    return self.make_available();
                }
                self.run();
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => self.verify_application(),
            // Polling matters more than presence: go on with the links we have.
            Ok(_) | Err(CallFailure::Net(_)) => self.run(),
            Err(failure) => self.sign_in_failed(&failure),
        }
    }

    /// Everything is in place: poll, and tell the world.
    fn run(&mut self) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Done) {
            return;
        }
        let first = self.phase != Phase::Running;
        self.phase = Phase::Running;
        self.poll();
        if !first {
            return;
        }
        if !self.available {
            self.available = true;
            if let Some(href) = self.app_link("presence") {
                let body = Body::Json(json!({"availability": "Online"}));
                self.follow(Purpose::Courtesy("presence"), Method::Post, &href, body);
            }
            if let Some(href) = self.app_link("note").filter(|_| !self.settings.notice.is_empty()) {
                let body = Body::Json(json!({"message": self.settings.notice}));
                self.follow(Purpose::Courtesy("note"), Method::Post, &href, body);
            }
        }
        let next = self.activity_spacing();
        self.timers.set_if_unset(Timer::Activity, next);
        self.listening();
        self.interpret_pending(false);
        self.close_downtime();
        self.take_up_talks();
        self.take_up_lost();
    }

    fn activity_spacing(&mut self) -> Timestamp {
        // Never later than configured: the server's limit counts.
        let share = 0.9 + 0.1 * self.rng.f64();
        self.now.plus(self.settings.activity.mul_f64(share))
    }

    pub(super) fn report_activity(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        if let Some(href) = self.app_link("reportMyActivity") {
            self.follow(Purpose::Activity, Method::Post, &href, Body::Empty);
        }
        let next = self.activity_spacing();
        self.timers.set(Timer::Activity, next);
    }

    pub(super) fn activity_reported(&mut self, result: Result<Answer, CallFailure>) {
        match result {
            Ok(answer) if answer.status < 300 => {
                let now = self.now;
                self.outbox.cursor.push(super::channel::alive(now));
            }
            Ok(answer) if answer.status == 409 && self.phase == Phase::Running => {
                self.note("the server no longer counts the recorder as available; making it available again".into());
                self.available = false;
                self.asked_available = false;
                self.phase = Phase::Preparing;
                self.make_available();
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => self.verify_application(),
            Ok(_) | Err(CallFailure::Net(_)) => {}
            Err(failure) => self.sign_in_failed(&failure),
        }
    }

    pub(super) fn courtesy(&mut self, what: &'static str, result: &Result<Answer, CallFailure>) {
        if let Ok(answer) = result
            && answer.status >= 400
            // Messaging that is gone needs no stopping.
            && !(what == "stopMessaging" && answer.status == 404)
        {
            self.note(format!("the server refused {what} (HTTP {})", answer.status));
        }
    }

    /// The channel says that the application is gone; a 404 may mean less than that (trap 9), so look.
    pub(super) fn verify_application(&mut self) {
        if matches!(self.phase, Phase::Stopping(_)) {
            return self.stop_without_channel();
        }
        if self.calls.values().any(|p| *p == Purpose::Verify) {
            return;
        }
        self.drop_poll();
        if let Some(url) = self.application.as_ref().map(|a| a.href.clone()) {
            self.call(Purpose::Verify, Method::Get, url, Body::Empty);
        }
    }

    pub(super) fn verified(&mut self, result: Result<Answer, CallFailure>) {
        if !matches!(self.phase, Phase::Running | Phase::Preparing) {
            return;
        }
        match result {
            Ok(answer) if answer.status == 200 => {
                let Ok(resource) = Resource::parse(&answer.body) else { return self.try_later() };
                self.application_seen(&resource);
                let next = resource.link("events").and_then(|href| self.resolve(href));
                if let (Some(next), Some(application)) = (next, self.application.as_mut()) {
                    application.next = next;
                }
                let since = self.channel.last_good.unwrap_or(self.now);
                self.channel_gap(since, "the event channel had to begin again");
                self.save_application();
                self.phase = Phase::Running;
                let wait = self.back_off(0);
                self.timers.set(Timer::Poll, self.now.plus(wait));
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => {
                if answer.status == 410 {
                    self.warn("the server ended the application (410); creating another".into());
                }
                self.lose_application("the server ended the application");
                self.create_again();
            }
            Ok(_) | Err(CallFailure::Net(_)) => self.try_later(),
            Err(failure) => self.sign_in_failed(&failure),
        }
    }

    /// The application is gone and with it every conversation handle.
    fn lose_application(&mut self, cause: &str) {
        let since = self.down_since.take().or(self.channel.last_good).unwrap_or(self.now);
        self.interpret_pending(true);
        self.lose_talks(cause, since);
        self.reset_channel();
        self.application = None;
        self.available = false;
        self.set_cursor::<Application>("application".into(), None);
    }

    /// Conversations of an earlier run that the living application may still have: look at each.
    fn take_up_talks(&mut self) {
        // A notice of the earlier run may not have gone out. If it has, the channel tells by then.
        let doubtful = |t: &Talk| matches!(t.notice, super::talk::Notice::Sending { href: None, .. });
        let unsure = self.talks.iter().filter(|(_, t)| !t.ended && t.part.state.is_none() && doubtful(t));
        for key in unsure.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.timers.set(Timer::Notice(key), self.now.plus(NOTICE_PATIENCE));
        }
        let keys: Vec<TalkKey> = self
            .talks
            .iter()
            .filter(|(_, t)| !t.ended && (t.part.state.is_none() || t.part.messaging.is_none()))
            .map(|(k, _)| k.clone())
            .collect();
        for key in keys {
            // The process may have ended between recording an invitation and answering it.
            if let Some(href) = self.talks.get(&key).and_then(|t| t.open_invitation.clone()) {
                self.invitations.entry(href.clone()).or_default().recheck = true;
                self.look_at_invitation(&href);
            }
            self.look_at_talk(&key);
        }
    }
}

fn short(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}
