//! The machine that keeps subscriptions alive: creates, adopts, renews, reauthorises, recreates, and says where something may
//! have been missed (digest §12, §14).
//!
//! One subscription for each wanted resource. What must survive a restart is one cursor entry each; the secret in
//! `clientState` is derived from a seed, so that it is known before the service answers: notifications may come first.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ask::{Ask, Class, Method, Patience, Priority, Reply, encoded};
use super::moment;
use crate::model::Timestamp;

/// Longest life that the service grants to subscriptions of messages.
const LONGEST_LIFE: Duration = Duration::from_secs(4_320 * 60);

/// Pauses after a failure: first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Between tries where permission, policy or licence is missing.
const REFUSED_PAUSE: Duration = Duration::from_secs(3600);

/// Silence that is worth a word, at least; and as a multiple of the usual pause between deliveries.
const SILENCE: Duration = Duration::from_secs(6 * 3600);
const SILENCE_FACTOR: u32 = 20;

/// Cursor entries of subscriptions.
pub const CURSOR: &str = "sub/";

/// What is asked for with each subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `notificationUrl`.
    pub notification_url: String,
    /// `lifecycleNotificationUrl`.
    pub lifecycle_url: String,
    /// `?model=` of getAllMessages resources; empty = none.
    pub model: String,
    /// `includeResourceData`.
    pub encrypted: bool,
    /// Life asked for.
    pub life: Duration,
    /// Makes `clientState`.
    pub seed: Vec<u8>,
}

/// The certificate that notifications are sealed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `encryptionCertificateId`.
    pub id: String,
    /// `encryptionCertificate`.
    pub base64: String,
}

/// Which request a reply belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A page of the list of subscriptions.
    List,
    /// POST for this resource.
    Create(String),
    /// PATCH for this resource.
    Renew(String),
    /// DELETE of a stray.
    Remove,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The connector starts; the last sign of life of the run before.
    Start {
        /// That sign.
        last_seen: Option<Timestamp>,
    },
    /// A resource is wanted.
    Want(String),
    /// What came of a request; `jitter` from 0 to 1.
    Reply(Token, Reply, f64),
    /// Something about a subscription.
    Lifecycle {
        /// Its id.
        subscription: String,
        /// `reauthorizationRequired`, …
        event: String,
    },
    /// Notifications came through a subscription.
    Delivered(String),
    /// There is a new key pair.
    NewKey(Certificate),
    /// The time has come ([`Keeper::deadline`]).
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A request.
    Ask(Token, Ask),
    /// Something may have been missed of this resource.
    Lapsed {
        /// Which.
        resource: String,
        /// From.
        from: Timestamp,
        /// To.
        to: Timestamp,
        /// Why.
        cause: String,
    },
    /// The past of this resource is to be read.
    Backfill(String),
    /// A cursor entry.
    Store(String, Option<Vec<u8>>),
    /// Only a person can mend it.
    Alarm(String),
    /// To be said.
    Warn(String),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    id: Option<String>,
    expires: Option<Timestamp>,
    certificate: Option<String>,
    /// It has been alive once: until then nothing can have lapsed.
    lived: bool,
}

#[derive(Clone, Debug, Default)]
struct Sub {
    stored: Stored,
    busy: bool,
    next_at: Option<Timestamp>,
    failures: u32,
    /// From when on nothing reaches us, and why.
    lapsed: Option<(Timestamp, String)>,
    refused: bool,
    delivered_at: Option<Timestamp>,
    first_delivery: Option<Timestamp>,
    deliveries: u32,
    silent_told: bool,
}

/// The keeper of all subscriptions. See the module.
#[derive(Debug)]
pub struct Keeper {
    terms: Terms,
    certificate: Certificate,
    subs: BTreeMap<String, Sub>,
    listing: bool,
    listed: bool,
    list_again: Option<Timestamp>,
    list_failures: u32,
    found: Vec<Value>,
    last_seen: Option<Timestamp>,
}

/// The secret of a resource's subscription.
pub fn client_state(seed: &[u8], resource: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    hmac::sign(&key, resource.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Keeper {
    /// Takes up the cursor entries of an earlier run, by resource, and wants all of these.
    pub fn new(terms: Terms, certificate: Certificate, entries: &[(String, Vec<u8>)]) -> Keeper {
        let mut subs = BTreeMap::new();
        for (key, value) in entries {
            if let Some(resource) = key.strip_prefix(CURSOR) {
                let stored = serde_json::from_slice(value).unwrap_or_default();
                subs.insert(resource.to_owned(), Sub { stored, ..Sub::default() });
            }
        }
        Keeper {
            terms,
            certificate,
            subs,
            listing: false,
            listed: false,
            list_again: None,
            list_failures: 0,
            found: Vec::new(),
            last_seen: None,
        }
    }

    /// Resources that are wanted.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.subs.keys().map(String::as_str)
    }

    /// Takes a resource off the list before the start, because the configuration no longer names it.
    pub fn drop_unwanted(&mut self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        let gone: Vec<String> = self.subs.keys().filter(|resource| !keep(resource)).cloned().collect();
        for resource in &gone {
            self.subs.remove(resource);
        }
        gone
    }

    /// Secrets that notifications may bear: one for each wanted resource.
    pub fn client_states(&self) -> HashSet<String> {
        self.subs.keys().map(|resource| client_state(&self.terms.seed, resource)).collect()
    }

    /// The resource of a subscription.
    pub fn resource_of(&self, subscription: &str) -> Option<&str> {
        let mine = self.subs.iter().find(|(_, sub)| sub.stored.id.as_deref() == Some(subscription));
        mine.map(|(resource, _)| resource.as_str())
    }

    /// When [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Timestamp> {
        let subs = self.subs.values().filter(|sub| !sub.busy).filter_map(|sub| sub.next_at);
        let silent = self.subs.values().filter_map(Sub::silent_at);
        if self.listed { subs.chain(silent).min() } else { self.list_again.filter(|_| !self.listing) }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Start { last_seen } => {
                self.last_seen = last_seen;
                self.list(&mut out);
            }
            Input::Want(resource) => {
                if !self.subs.contains_key(&resource) {
                    self.subs.insert(resource.clone(), Sub { next_at: Some(now), ..Sub::default() });
                    self.store(&resource, &mut out);
                    self.due(now, &mut out);
                }
            }
            Input::Reply(Token::List, reply, jitter) => self.page(&reply, now, jitter, &mut out),
            Input::Reply(Token::Create(resource), reply, jitter) => {
                self.created(&resource, &reply, now, jitter, &mut out)
            }
            Input::Reply(Token::Renew(resource), reply, jitter) => {
                self.renewed(&resource, &reply, now, jitter, &mut out)
            }
            Input::Reply(Token::Remove, reply, _) => {
                if !reply.is_success() && reply.status() != 404 {
                    out.push(Action::Warn(format!("a stray subscription could not be deleted: {}", reply.trouble())));
                }
            }
            Input::Lifecycle { subscription, event } => self.lifecycle(&subscription, &event, now, &mut out),
            Input::Delivered(subscription) => {
                if let Some(sub) = self.subs.values_mut().find(|sub| sub.stored.id.as_deref() == Some(&subscription)) {
                    sub.deliveries = sub.deliveries.saturating_add(1);
                    sub.first_delivery.get_or_insert(now);
                    sub.delivered_at = Some(now);
                    sub.silent_told = false;
                }
            }
            Input::NewKey(certificate) => {
                self.certificate = certificate;
                if self.terms.encrypted {
                    for sub in self.subs.values_mut().filter(|sub| sub.stored.id.is_some()) {
                        sub.next_at = Some(now);
                    }
                }
                self.due(now, &mut out);
            }
            Input::Tick => {
                if !self.listed && self.list_again.is_some_and(|at| at <= now) {
                    self.list(&mut out);
                }
                self.due(now, &mut out);
                self.silence(now, &mut out);
            }
        }
        out
    }

    fn list(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.listing, true) {
            return;
        }
        self.list_again = None;
        self.found.clear();
        out.push(Action::Ask(Token::List, ask(Method::Get, "/subscriptions")));
    }

    fn page(&mut self, reply: &Reply, now: Timestamp, jitter: f64, out: &mut Vec<Action>) {
        let json = reply.json();
        if !reply.is_success() {
            self.listing = false;
            self.list_failures = self.list_failures.saturating_add(1);
            if matches!(reply.status(), 403 | 404 | 405 | 501) {
                // What cannot be listed cannot be adopted; everything is created anew.
                out.push(Action::Warn(format!(
                    "subscriptions cannot be listed ({}); none is adopted",
                    reply.trouble()
                )));
                self.adopt(now, jitter, out);
                return;
            }
            out.push(Action::Warn(format!("subscriptions cannot be listed: {}", reply.trouble())));
            self.list_again = Some(now.plus(pause(self.list_failures, jitter)));
            return;
        }
        self.found.extend(json.get("value").and_then(Value::as_array).into_iter().flatten().cloned());
        let next = json.get("@odata.nextLink").and_then(Value::as_str);
        if let Some(next) = next.filter(|_| self.found.len() < 20_000) {
            let mut request = ask(Method::Get, "");
            request.address = super::ask::Address::Link(next.to_owned());
            out.push(Action::Ask(Token::List, request));
            return;
        }
        self.listing = false;
        self.list_failures = 0;
        self.adopt(now, jitter, out);
    }

    /// Takes over what the service has of ours, deletes what is ours and not wanted, and goes on with the rest.
    fn adopt(&mut self, now: Timestamp, jitter: f64, out: &mut Vec<Action>) {
        let first = !std::mem::replace(&mut self.listed, true);
        let found = std::mem::take(&mut self.found);
        let mut adopted: HashSet<String> = HashSet::new();
        for one in &found {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            if !same_url(text("notificationUrl"), &self.terms.notification_url) {
                continue;
            }
            let id = text("id").to_owned();
            // Known by its id: then its secret is ours. One of the same resource that is not known was made by another
            // archive, and its secret with it.
            let wanted = self.subs.iter().find(|(_, sub)| sub.stored.id.as_deref() == Some(id.as_str()));
            let wanted = wanted.map(|(resource, _)| resource.clone()).filter(|resource| !adopted.contains(resource));
            // One without lifecycle address cannot get one (trap 16).
            let usable = one
                .get("lifecycleNotificationUrl")
                .is_none_or(|url| url.as_str().is_some_and(|url| same_url(url, &self.terms.lifecycle_url)));
            let Some(resource) = wanted.filter(|_| usable) else {
                out.push(Action::Ask(Token::Remove, ask(Method::Delete, &format!("/subscriptions/{}", encoded(&id)))));
                continue;
            };
            let expires = moment::time(text("expirationDateTime"));
            let certificate = text("encryptionCertificateId");
            if let Some(sub) = self.subs.get_mut(&resource) {
                sub.stored.lived = true;
                sub.stored.expires = expires.or(sub.stored.expires);
                if !certificate.is_empty() {
                    sub.stored.certificate = Some(certificate.to_owned());
                }
                let current = !self.terms.encrypted || sub.stored.certificate.as_deref() == Some(&self.certificate.id);
                sub.next_at = match sub.stored.expires.filter(|_| current) {
                    Some(expires) => Some(now.plus(expires.since(now) / 2)),
                    None => Some(now),
                };
            }
            adopted.insert(resource.clone());
            self.store(&resource, out);
        }
        let last_seen = self.last_seen;
        for (resource, sub) in &mut self.subs {
            if adopted.contains(resource) {
                continue;
            }
            if first || sub.stored.id.is_some() {
                if sub.stored.lived && sub.lapsed.is_none() {
                    let expired = sub.stored.expires.filter(|at| *at <= now);
                    let (from, cause) = match expired {
                        Some(at) => (at, "the subscription ran out while the recorder was not running"),
                        None => (last_seen.unwrap_or(now), "the subscription was gone when the recorder started"),
                    };
                    sub.lapsed = Some((from, cause.to_owned()));
                }
                sub.stored.id = None;
                sub.next_at = Some(now);
            }
        }
        let _ = jitter;
        self.due(now, out);
    }

    fn due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if !self.listed {
            return;
        }
        let due = self.subs.iter().filter(|(_, sub)| !sub.busy && sub.next_at.is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(resource, _)| resource.clone()).collect();
        for resource in due {
            let expires = now.plus(self.terms.life.min(LONGEST_LIFE)).rfc3339();
            let Some(sub) = self.subs.get_mut(&resource) else { continue };
            if sub.stored.id.is_some() && sub.stored.expires.is_some_and(|at| at <= now) {
                // Too late to renew.
                let cause = "the subscription ran out before it could be renewed".to_owned();
                sub.lapsed.get_or_insert((sub.stored.expires.unwrap_or(now), cause));
                sub.stored.id = None;
            }
            sub.busy = true;
            sub.next_at = None;
            match sub.stored.id.clone() {
                Some(id) => {
                    let mut body = json!({"expirationDateTime": expires});
                    if self.terms.encrypted && sub.stored.certificate.as_deref() != Some(&self.certificate.id) {
                        body["encryptionCertificate"] = self.certificate.base64.clone().into();
                        body["encryptionCertificateId"] = self.certificate.id.clone().into();
                    }
                    let request = ask(Method::Patch, &format!("/subscriptions/{}", encoded(&id))).with_body(body);
                    out.push(Action::Ask(Token::Renew(resource), request));
                }
                None => {
                    let mut body = json!({
                        "changeType": "created,updated,deleted",
                        "notificationUrl": self.terms.notification_url,
                        // Above one hour it is required, and it cannot be added later (trap 16).
                        "lifecycleNotificationUrl": self.terms.lifecycle_url,
                        "resource": self.terms.full(&resource),
                        "expirationDateTime": expires,
                        "clientState": client_state(&self.terms.seed, &resource),
                        "latestSupportedTlsVersion": "v1_2",
                    });
                    if self.terms.encrypted {
                        body["includeResourceData"] = true.into();
                        body["encryptionCertificate"] = self.certificate.base64.clone().into();
                        body["encryptionCertificateId"] = self.certificate.id.clone().into();
                    }
                    out.push(Action::Ask(Token::Create(resource), ask(Method::Post, "/subscriptions").with_body(body)));
                }
            }
        }
    }

    fn created(&mut self, resource: &str, reply: &Reply, now: Timestamp, jitter: f64, out: &mut Vec<Action>) {
        let Some(sub) = self.subs.get_mut(resource) else { return };
        sub.busy = false;
        if !reply.is_success() {
            match reply.status() {
                409 => {
                    // There is one already: it is looked for and adopted.
                    sub.failures = sub.failures.saturating_add(1);
                    sub.next_at = Some(now.plus(pause(sub.failures, jitter)));
                    if sub.failures <= 3 {
                        self.list(out);
                    }
                }
                402..=404 => {
                    let trouble = reply.trouble();
                    if !std::mem::replace(&mut sub.refused, true) {
                        let cause = format!("the service refused to tell of this conversation ({trouble})");
                        let from = sub.lapsed.take().map_or(now, |(from, _)| from);
                        out.push(Action::Lapsed { resource: resource.to_owned(), from, to: now, cause });
                        out.push(Action::Backfill(resource.to_owned()));
                    }
                    out.push(Action::Alarm(format!(
                        "no subscription to {resource}: {trouble}; look at permissions, licence and policy of the tenant"
                    )));
                    sub.next_at = Some(now.plus(REFUSED_PAUSE));
                }
                _ => {
                    sub.failures = sub.failures.saturating_add(1);
                    sub.next_at = Some(now.plus(pause(sub.failures, jitter)));
                    out.push(Action::Warn(format!("no subscription to {resource} yet: {}", reply.trouble())));
                }
            }
            return;
        }
        let json = reply.json();
        sub.stored.id = json.get("id").and_then(Value::as_str).map(str::to_owned);
        sub.stored.certificate = self.terms.encrypted.then(|| self.certificate.id.clone());
        sub.lives(&json, now, self.terms.life, jitter);
        let lapsed = sub.lapsed.take();
        if let Some((from, cause)) = lapsed {
            out.push(Action::Lapsed { resource: resource.to_owned(), from, to: now, cause });
        }
        out.push(Action::Backfill(resource.to_owned()));
        self.store(resource, out);
    }

    fn renewed(&mut self, resource: &str, reply: &Reply, now: Timestamp, jitter: f64, out: &mut Vec<Action>) {
        let Some(sub) = self.subs.get_mut(resource) else { return };
        sub.busy = false;
        if reply.is_success() {
            if self.terms.encrypted {
                sub.stored.certificate = Some(self.certificate.id.clone());
            }
            sub.lives(&reply.json(), now, self.terms.life, jitter);
            self.store(resource, out);
            return;
        }
        if matches!(reply.status(), 404 | 410) {
            let from = sub.delivered_at.or(sub.stored.expires.filter(|at| *at < now)).unwrap_or(now);
            sub.lapsed.get_or_insert((from, "the subscription was gone when it was to be renewed".to_owned()));
            sub.stored.id = None;
            sub.next_at = Some(now);
            self.store(resource, out);
            self.due(now, out);
            return;
        }
        sub.failures = sub.failures.saturating_add(1);
        // Not beyond its end: what has run out is created anew.
        let again = now.plus(pause(sub.failures, jitter));
        sub.next_at = Some(sub.stored.expires.map_or(again, |expires| again.min(expires.max(now))));
        let text = format!("the subscription to {resource} could not be renewed: {}", reply.trouble());
        let refused = matches!(reply.status(), 401 | 403);
        out.push(if refused { Action::Alarm(text) } else { Action::Warn(text) });
    }

    fn lifecycle(&mut self, subscription: &str, event: &str, now: Timestamp, out: &mut Vec<Action>) {
        let Some(resource) = self.resource_of(subscription).map(str::to_owned) else {
            out.push(Action::Warn(format!("{} of a subscription that is not known", printable(event))));
            return;
        };
        let Some(sub) = self.subs.get_mut(&resource) else { return };
        match event.to_ascii_lowercase().as_str() {
            // A renewal authorises anew as well (digest §14).
            "reauthorizationrequired" => sub.next_at = Some(now),
            "subscriptionremoved" => {
                let from = sub.delivered_at.unwrap_or(now);
                sub.lapsed.get_or_insert((from, "the service removed the subscription".to_owned()));
                sub.stored.id = None;
                sub.next_at = Some(now);
            }
            "missed" => {
                out.push(Action::Warn(format!("the service says that it missed notifications of {resource}")));
                out.push(Action::Backfill(resource.clone()));
            }
            _ => out.push(Action::Warn(format!("unknown lifecycle event {} of {resource}", printable(event)))),
        }
        self.store(&resource, out);
        self.due(now, out);
    }

    /// Silence far beyond what is usual: nothing else tells of a stopped evaluation or a dropped endpoint (traps 17, 20).
    fn silence(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        for (resource, sub) in &mut self.subs {
            if sub.silent_at().is_some_and(|at| at <= now) {
                sub.silent_told = true;
                out.push(Action::Warn(format!(
                    "nothing has come through the subscription to {resource} for far longer than usual; its chats are compared"
                )));
                out.push(Action::Backfill(resource.clone()));
            }
        }
    }

    fn store(&self, resource: &str, out: &mut Vec<Action>) {
        let value = self.subs.get(resource).and_then(|sub| serde_json::to_vec(&sub.stored).ok());
        out.push(Action::Store(format!("{CURSOR}{resource}"), value));
    }
}

impl Terms {
    /// The resource as it is asked for.
    fn full(&self, resource: &str) -> String {
        if resource.to_ascii_lowercase().ends_with("getallmessages") && !self.model.is_empty() {
            format!("{resource}?model={}", self.model)
        } else {
            resource.to_owned()
        }
    }
}

impl Sub {
    fn lives(&mut self, json: &Value, now: Timestamp, asked: Duration, jitter: f64) {
        let granted = json.get("expirationDateTime").and_then(Value::as_str).and_then(moment::time);
        let expires = granted.unwrap_or_else(|| now.plus(asked));
        self.stored.expires = Some(expires);
        self.stored.lived = true;
        self.failures = 0;
        self.refused = false;
        // At half of the life that was granted, a little earlier by chance.
        self.next_at = Some(now.plus(expires.since(now).mul_f64(0.5 - 0.05 * jitter.clamp(0.0, 1.0))));
    }

    fn silent_at(&self) -> Option<Timestamp> {
        let (first, last) = (self.first_delivery?, self.delivered_at?);
        if self.silent_told || self.deliveries < 5 {
            return None;
        }
        let usual = last.since(first) / self.deliveries.max(1);
        Some(last.plus(SILENCE.max(usual.saturating_mul(SILENCE_FACTOR))))
    }
}

fn ask(method: Method, path: &str) -> Ask {
    // The keeper has its own patience; two quick tries are enough here.
    Ask { patience: Patience::Tries(2), ..Ask::graph(method, path, Class::Other, Priority::Upkeep) }
}

fn pause(failures: u32, jitter: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    full.min(LONGEST_PAUSE).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

fn same_url(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(60).collect()
}

#[cfg(test)]
mod tests;
