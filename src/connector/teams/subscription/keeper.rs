//! The machine: one [`Sub`] per resource, each with its own next time, and the list of what the service has.

mod list;
mod replies;
mod sub;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use self::list::Listing;
use self::sub::{Phase, Sub};
use super::entry::{Entry, PREFIX};
use super::resource::{canonical, change_types, longest_life, takes_model};
use super::state::{client_state_matches, seed_tag};
use super::{Action, Cause, Certificate, Input, Terms, Token, Why};
use crate::connector::teams::ask::{Address, Ask, Class, Method, Priority, encoded};
use crate::connector::teams::config::without_nulls;
use crate::model::Timestamp;

/// For so long the service repeats what we did not take.
const REPEATED_FOR: Duration = Duration::from_secs(4 * 3600);
/// Between tries at what was refused.
const REFUSED: Duration = Duration::from_secs(3600);
/// A span that stays uncovered is said once a day.
const PIECE: Duration = Duration::from_secs(24 * 3600);
/// The chat of a call is quiet when nothing was heard of it for so long.
const QUIET: Duration = Duration::from_secs(30 * 24 * 3600);

/// What an open request is for.
#[derive(Clone, Debug, PartialEq)]
enum Errand {
    List,
    Create {
        key: String,
        life: Duration,
    },
    Renew {
        key: String,
        expires: Timestamp,
        certificate: Option<String>,
    },
    /// The old one goes, then a new one is made.
    Clear {
        key: String,
    },
    /// Nobody waits for it.
    Delete,
}

/// The keeper of subscriptions.
#[derive(Debug)]
pub struct Keeper {
    terms: Terms,
    seed: String,
    jitter: fastrand::Rng,
    /// By canonical resource in lower case.
    subs: BTreeMap<String, Sub>,
    /// The service's ids.
    ids: HashMap<String, String>,
    agenda: BTreeSet<(Timestamp, String)>,
    errands: HashMap<Token, Errand>,
    tokens: u64,
    listing: Listing,
    stopped: bool,
    out: Vec<Action>,
}

impl Keeper {
    /// Knows nothing before [`Input::Start`]. `jitter` is random and makes renewals of many recorders spread.
    pub fn new(terms: Terms, jitter: u64) -> Self {
        Keeper {
            seed: seed_tag(&terms.seed),
            terms,
            jitter: fastrand::Rng::with_seed(jitter),
            subs: BTreeMap::new(),
            ids: HashMap::new(),
            agenda: BTreeSet::new(),
            errands: HashMap::new(),
            tokens: 0,
            listing: Listing::Asleep,
            stopped: false,
            out: Vec::new(),
        }
    }

    /// Takes what happened; gives what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        match input {
            Input::Start { entries, scopes, last_seen } => self.start(entries, &scopes, last_seen, now),
            Input::Want(resource, why) => self.want(&resource, why, now),
            Input::Unwant(resource, why) => self.unwant(&resource, why, now),
            Input::Reply(token, reply) => self.replied(token, &reply, now),
            Input::Lifecycle { subscription, event, expires } => self.lifecycle(&subscription, &event, expires, now),
            Input::Delivered { subscription, count } => self.delivered(&subscription, count, now),
            Input::Active(resource) => self.active(&resource, now),
            Input::NewKey(certificate) => self.new_key(certificate, now),
            Input::Tick => {}
            Input::Stop => self.stop(),
        }
        self.due(now);
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Tick`] is wanted next.
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.stopped {
            return None;
        }
        self.agenda.first().map(|(at, _)| *at).into_iter().chain(self.listing.due()).min()
    }

    /// The resource that a notification belongs to, if its client state is right. The id of a subscription that is just
    /// being made or was just replaced is not known; then the state alone decides, for it cannot be guessed.
    pub fn recognise(&self, subscription: &str, client_state: &str) -> Option<&str> {
        match self.ids.get(subscription).and_then(|key| self.subs.get(key)) {
            Some(sub) => client_state_matches(&sub.state, client_state).then_some(sub.entry.resource.as_str()),
            None => {
                // All are compared, so that the time taken tells nothing about which.
                // A resource that has its subscription is named by that one's id.
                self.subs.values().fold(None, |found, sub| match client_state_matches(&sub.state, client_state) {
                    true if sub.entry.held.is_none() => Some(sub.entry.resource.as_str()),
                    _ => found,
                })
            }
        }
    }

    /// Resources, and whether each has a subscription at the moment.
    pub fn resources(&self) -> impl Iterator<Item = (&str, bool)> {
        self.subs.values().map(|sub| (sub.entry.resource.as_str(), sub.entry.held.is_some()))
    }

    fn start(
        &mut self,
        entries: Vec<(String, Vec<u8>)>,
        scopes: &[String],
        last_seen: Option<Timestamp>,
        now: Timestamp,
    ) {
        self.listing = Listing::Wanted { at: now, tries: 0 };
        for (key, bytes) in entries.into_iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            let Some(mut entry) = Entry::read(&bytes) else {
                self.warn(format!("the note about a subscription is unreadable and dropped: {key}"));
                self.out.push(Action::Store { key, value: None });
                continue;
            };
            entry.want(Why::Scope, scopes.iter().any(|scope| super::same(scope, &entry.resource)));
            self.remembered(entry, last_seen, now);
        }
        for scope in scopes {
            self.want(scope, Why::Scope, now);
        }
        let unwanted: Vec<String> =
            self.subs.iter().filter(|(_, sub)| sub.entry.wanted().is_empty()).map(|(key, _)| key.clone()).collect();
        for key in unwanted {
            self.give_up(&key, now);
        }
    }

    /// What the last run left.
    fn remembered(&mut self, mut entry: Entry, last_seen: Option<Timestamp>, now: Timestamp) {
        let key = entry.resource.to_ascii_lowercase();
        let mut phase = if entry.resting { Phase::Resting } else { Phase::Missing { at: now } };
        if entry.lively.is_none() {
            entry.live(now);
        }
        entry.deliveries.away_until(now);
        if let Some(held) = &entry.held {
            let seen = last_seen.unwrap_or(held.confirmed()).min(now);
            if held.expires() <= now {
                entry.uncover(held.expires(), "the subscription expired while the recorder was away");
                entry.held = None;
            } else if !self.fits(held, &entry.resource) {
                entry.uncover(seen, "the subscription was made with other settings");
                phase = Phase::Unfit;
            } else {
                phase = Phase::Held { renew: self.half(now, held.expires()) };
                if now.since(seen) > REPEATED_FOR {
                    self.out.push(Action::Lapsed {
                        resource: entry.resource.clone(),
                        from: seen,
                        to: now,
                        cause: "the recorder was away for over 4 hours, and the service repeats itself no longer"
                            .into(),
                    });
                    self.out.push(Action::Backfill { resource: entry.resource.clone(), cause: Cause::Away });
                }
            }
        }
        if let Some(held) = &entry.held {
            self.ids.insert(held.id.clone(), key.clone());
        }
        self.out.push(Action::Store { key: entry.key(), value: Some(entry.bytes()) });
        self.subs.insert(key.clone(), Sub::new(entry, phase, &self.terms.seed, now));
        self.schedule(&key);
    }

    fn want(&mut self, resource: &str, why: Why, now: Timestamp) {
        let resource = canonical(resource);
        if resource.len() < 2 {
            return self.warn("a subscription without a resource is not possible".into());
        }
        let key = resource.to_ascii_lowercase();
        let seed = &self.terms.seed;
        let sub = self
            .subs
            .entry(key.clone())
            .or_insert_with(|| Sub::new(Entry::new(&resource), Phase::Missing { at: now }, seed, now));
        sub.entry.live(now);
        if sub.entry.wanted().contains(&why) {
            return self.active(&resource, now);
        }
        sub.entry.want(why, true);
        if std::mem::take(&mut sub.entry.resting) {
            sub.phase = Phase::Missing { at: now };
        }
        self.store(&key);
        self.schedule(&key);
    }

    fn unwant(&mut self, resource: &str, why: Why, now: Timestamp) {
        let key = canonical(resource).to_ascii_lowercase();
        let Some(sub) = self.subs.get_mut(&key) else { return };
        sub.entry.want(why, false);
        if sub.entry.wanted().is_empty() {
            self.give_up(&key, now);
        } else {
            self.store(&key);
        }
    }

    /// Something happened in a chat that may be resting.
    fn active(&mut self, resource: &str, now: Timestamp) {
        let key = canonical(resource).to_ascii_lowercase();
        let Some(sub) = self.subs.get_mut(&key) else { return };
        sub.entry.live(now);
        if std::mem::take(&mut sub.entry.resting) {
            sub.phase = Phase::Missing { at: now };
            self.store(&key);
            self.schedule(&key);
        }
    }

    /// Frees the subscription of a quiet chat. It goes on being read once a day, and what is found there, or a call, wakes it.
    fn rest(&mut self, key: &str) {
        self.tell(key, "resting", None);
        let Some(sub) = self.subs.get_mut(key) else { return };
        sub.entry.resting = true;
        sub.phase = Phase::Resting;
        sub.entry.deliveries = Default::default();
        if let Some(held) = sub.entry.held.take() {
            self.ids.remove(&held.id);
            self.delete(&held.id, Errand::Delete);
        }
        self.store(key);
    }

    fn give_up(&mut self, key: &str, now: Timestamp) {
        self.say_gap(key, now);
        self.tell(key, "given up", None);
        let Some(sub) = self.subs.remove(key) else { return };
        self.agenda.retain(|(_, other)| other != key);
        if let Some(held) = &sub.entry.held {
            self.ids.remove(&held.id);
            if !matches!(sub.phase, Phase::Clearing(_)) {
                self.delete(&held.id, Errand::Delete);
            }
        }
        self.out.push(Action::Store { key: sub.entry.key(), value: None });
        if sub.alarmed {
            self.out.push(Action::Clear { key: alarm_key(&sub.entry.resource) });
        }
        if sub.entry.deliveries.raised {
            self.out.push(Action::Clear { key: silence_key(&sub.entry.resource) });
        }
    }

    fn lifecycle(&mut self, subscription: &str, event: &str, expires: Option<Timestamp>, now: Timestamp) {
        let Some(key) = self.ids.get(subscription).cloned() else {
            return self.warn("a lifecycle notification names a subscription that is not ours now".into());
        };
        let word: String = event.chars().take(64).collect();
        self.tell(&key, &word, None);
        let Some(sub) = self.subs.get_mut(&key) else { return };
        match event.to_ascii_lowercase().as_str() {
            "reauthorizationrequired" => {
                if let (Some(held), Some(expires)) = (&mut sub.entry.held, expires) {
                    held.expires = held.expires.min(expires.millis().max(now.millis().saturating_add(1000)));
                }
                match sub.phase {
                    Phase::Held { .. } => sub.phase = Phase::Held { renew: now },
                    _ => sub.again = true,
                }
                self.schedule(&key);
            }
            "subscriptionremoved" => self.lost(&key, None, "the service removed the subscription", now),
            "missed" => {
                let (resource, from) = (sub.entry.resource.clone(), sub.last_known(now));
                let cause = "the service says that it missed notifications".into();
                self.out.push(Action::Lapsed { resource: resource.clone(), from, to: now, cause });
                self.out.push(Action::Backfill { resource, cause: Cause::Missed });
            }
            _ => self.warn("a lifecycle notification of an unknown kind was ignored".into()),
        }
    }

    fn delivered(&mut self, subscription: &str, count: u64, now: Timestamp) {
        let Some(key) = self.ids.get(subscription).cloned() else { return };
        let Some(sub) = self.subs.get_mut(&key) else { return };
        sub.entry.live(now);
        if sub.entry.deliveries.delivered(count, now) {
            self.out.push(Action::Clear { key: silence_key(&sub.entry.resource) });
        }
        self.schedule(&key);
    }

    fn new_key(&mut self, certificate: Certificate, now: Timestamp) {
        if self.terms.certificate.is_none() {
            return;
        }
        self.terms.certificate = Some(certificate);
        let held: Vec<String> = self.subs.keys().cloned().collect();
        for key in held {
            if let Some(sub) = self.subs.get_mut(&key)
                && matches!(sub.phase, Phase::Held { .. })
            {
                sub.phase = Phase::Held { renew: now };
                self.schedule(&key);
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        let keys: Vec<String> = self.subs.keys().cloned().collect();
        for key in keys {
            self.store(&key);
        }
    }

    /// Does everything whose time has come.
    fn due(&mut self, now: Timestamp) {
        if self.stopped {
            return;
        }
        self.list_if_due(now);
        while let Some((at, key)) = self.agenda.first().cloned() {
            if at > now {
                break;
            }
            self.agenda.remove(&(at, key.clone()));
            self.act(&key, now);
            self.schedule(&key);
            // Whatever is due at once again waits for the next call: no turning in circles within one.
            if self.subs.get(&key).and_then(|sub| sub.planned).is_some_and(|planned| planned <= now) {
                self.postpone(&key, now);
            }
        }
    }

    fn act(&mut self, key: &str, now: Timestamp) {
        let listed = self.listing.has_answered();
        let Some(sub) = self.subs.get_mut(key) else { return };
        sub.planned = None;
        if sub.entry.deliveries.suspicious_at().is_some_and(|at| at <= now) && sub.entry.held.is_some() {
            sub.entry.deliveries.raised = true;
            let resource = sub.entry.resource.clone();
            self.out.push(Action::Alarm {
                key: silence_key(&resource),
                text: format!(
                    "nothing was notified on {resource} for unusually long; if people do write there, check the licence \
                     or the model of the subscription (the evaluation model stops without an error)"
                ),
            });
            self.out.push(Action::Backfill { resource, cause: Cause::Silence });
            self.tell(key, "silent", Some("nothing was notified for unusually long"));
            self.store(key);
        }
        let Some(sub) = self.subs.get_mut(key) else { return };
        if sub.piece_due().is_some_and(|at| at <= now) {
            self.say_gap(key, now);
            self.store(key);
        }
        let Some(sub) = self.subs.get_mut(key) else { return };
        let expires = sub.entry.held.as_ref().map(|held| held.expires());
        match sub.phase {
            Phase::Missing { at } if listed && at <= now => self.create(key, now),
            Phase::Unfit if listed => self.replace(key, now),
            Phase::Held { .. } if expires.is_some_and(|expires| expires <= now) => {
                self.lost(key, expires, "the subscription expired", now);
                self.act_if_missing(key, now);
            }
            Phase::Held { renew } if renew <= now => {
                let crowded = self.ids.len() > self.terms.crowded;
                if crowded && self.subs.get(key).is_some_and(|sub| sub.entry.is_quiet(now, QUIET)) {
                    self.rest(key);
                } else {
                    self.renew(key, now);
                }
            }
            _ => {}
        }
    }

    fn act_if_missing(&mut self, key: &str, now: Timestamp) {
        let missing = matches!(self.subs.get(key).map(|sub| &sub.phase), Some(Phase::Missing { at }) if *at <= now);
        if missing && self.listing.has_answered() {
            self.create(key, now);
        }
    }

    /// The subscription is gone: what came since `from`, or since it was last known to be there, may be missing.
    fn lost(&mut self, key: &str, from: Option<Timestamp>, cause: &str, now: Timestamp) {
        self.tell(key, "lost", Some(cause));
        let Some(sub) = self.subs.get_mut(key) else { return };
        let from = from.unwrap_or_else(|| sub.last_known(now));
        sub.entry.uncover(from, cause);
        if let Some(held) = sub.entry.held.take() {
            self.ids.remove(&held.id);
        }
        // A service that takes back at once what it gave must not be asked at once again.
        let young = sub.made.is_some_and(|made| now.since(made) < Duration::from_secs(60));
        sub.short_lives = if young { sub.short_lives.saturating_add(1) } else { 0 };
        sub.phase = Phase::Missing { at: if sub.short_lives > 1 { now.plus(Duration::from_secs(30)) } else { now } };
        self.store(key);
        self.schedule(key);
    }

    fn create(&mut self, key: &str, now: Timestamp) {
        let life = self.subs.get(key).map_or(self.terms.life, |s| self.terms.life.min(longest_life(&s.entry.resource)));
        let token = self.token(Errand::Create { key: key.to_owned(), life });
        let Some(sub) = self.subs.get_mut(key) else { return };
        let resource = &sub.entry.resource;
        let certificate = self.terms.certificate.as_ref().filter(|_| super::carries_content(resource));
        let model = Some(&self.terms.model).filter(|model| !model.is_empty() && takes_model(resource));
        let body = without_nulls(serde_json::json!({
            "changeType": change_types(resource),
            "notificationUrl": self.terms.notification_url,
            "lifecycleNotificationUrl": self.terms.lifecycle_url,
            "resource": match model {
                Some(model) => format!("{resource}?model={}", encoded(model)),
                None => resource.clone(),
            },
            "includeResourceData": certificate.map(|_| true),
            "encryptionCertificate": certificate.map(|certificate| &certificate.base64),
            "encryptionCertificateId": certificate.map(|certificate| &certificate.id),
            "expirationDateTime": now.plus(life).rfc3339(),
            "clientState": sub.state,
            "latestSupportedTlsVersion": "v1_2",
        }));
        sub.phase = Phase::Creating { token, certificate: certificate.map(|certificate| certificate.id.clone()) };
        let ask = Ask::graph(Method::Post, "/subscriptions", Class::Other, Priority::Upkeep).with_body(body);
        self.out.push(Action::Ask(token, ask));
    }

    fn renew(&mut self, key: &str, now: Timestamp) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        let Some(held) = &sub.entry.held else { return };
        let life = self.terms.life.min(longest_life(&sub.entry.resource));
        let newer = self.terms.certificate.as_ref().filter(|newer| {
            super::carries_content(&sub.entry.resource) && held.certificate.as_ref() != Some(&newer.id)
        });
        let body = without_nulls(serde_json::json!({
            "expirationDateTime": now.plus(life).rfc3339(),
            "encryptionCertificate": newer.map(|certificate| &certificate.base64),
            "encryptionCertificateId": newer.map(|certificate| &certificate.id),
        }));
        let path = format!("/subscriptions/{}", encoded(&held.id));
        let newer = newer.map(|certificate| certificate.id.clone());
        let token = self.token(Errand::Renew { key: key.to_owned(), expires: now.plus(life), certificate: newer });
        if let Some(sub) = self.subs.get_mut(key) {
            sub.phase = Phase::Renewing(token);
            sub.again = false;
        }
        let ask = Ask::graph(Method::Patch, path, Class::Other, Priority::Upkeep).with_body(body);
        self.out.push(Action::Ask(token, ask));
    }

    /// Deletes what cannot be mended, then makes a new one.
    fn replace(&mut self, key: &str, now: Timestamp) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        sub.entry.uncover(now, "the subscription was made anew");
        let Some(id) = sub.entry.held.as_ref().map(|held| held.id.clone()) else {
            sub.phase = Phase::Missing { at: now };
            return;
        };
        let token = self.delete(&id, Errand::Clear { key: key.to_owned() });
        if let Some(sub) = self.subs.get_mut(key) {
            sub.phase = Phase::Clearing(token);
        }
        self.store(key);
    }

    fn delete(&mut self, id: &str, errand: Errand) -> Token {
        let token = self.token(errand);
        let path = format!("/subscriptions/{}", encoded(id));
        self.out.push(Action::Ask(token, Ask::graph(Method::Delete, path, Class::Other, Priority::Upkeep)));
        token
    }

    /// Says the span that was not covered until now, and counts from here.
    fn say_gap(&mut self, key: &str, now: Timestamp) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        let Some(from) = sub.entry.uncovered.take().map(Timestamp::from_millis) else { return };
        let still = sub.entry.held.is_none();
        let cause = sub.entry.cause.clone();
        if still {
            sub.entry.uncovered = Some(now.millis());
            sub.said = Some(now);
        } else {
            sub.entry.cause.clear();
            sub.said = None;
        }
        let resource = sub.entry.resource.clone();
        self.out.push(Action::Lapsed { resource, from: from.min(now), to: now, cause });
    }

    fn fits(&self, held: &super::entry::Held, resource: &str) -> bool {
        let encrypted = self.terms.certificate.is_some() && super::carries_content(resource);
        held.seed == self.seed
            && held.urls == (self.terms.notification_url.clone(), self.terms.lifecycle_url.clone())
            && held.certificate.is_some() == encrypted
            && (!takes_model(resource) || held.model == self.terms.model)
    }

    fn token(&mut self, errand: Errand) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.errands.insert(token, errand);
        token
    }

    fn store(&mut self, key: &str) {
        if let Some(sub) = self.subs.get(key) {
            self.out.push(Action::Store { key: sub.entry.key(), value: Some(sub.entry.bytes()) });
        }
    }

    /// Enters the next time of a resource into the agenda.
    fn schedule(&mut self, key: &str) {
        let listed = self.listing.has_answered();
        let Some(sub) = self.subs.get_mut(key) else { return };
        let next = sub.next(listed);
        self.plan(key, next);
    }

    fn postpone(&mut self, key: &str, now: Timestamp) {
        self.plan(key, Some(now.plus(Duration::from_millis(500))));
    }

    fn plan(&mut self, key: &str, next: Option<Timestamp>) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut sub.planned, next) {
            self.agenda.remove(&(old, key.to_owned()));
        }
        if let Some(next) = next {
            self.agenda.insert((next, key.to_owned()));
        }
    }

    /// Says what became of a subscription.
    fn tell(&mut self, key: &str, what: &str, trouble: Option<&str>) {
        let Some(sub) = self.subs.get(key) else { return };
        self.out.push(Action::Told {
            resource: sub.entry.resource.clone(),
            subscription: sub.entry.held.as_ref().map(|held| held.id.clone()),
            what: what.to_owned(),
            expires: sub.entry.held.as_ref().map(|held| held.expires()),
            trouble: trouble.map(str::to_owned),
        });
    }

    fn warn(&mut self, text: String) {
        self.out.push(Action::Warn(text));
    }
}

fn alarm_key(resource: &str) -> String {
    format!("subscription {resource}")
}

fn silence_key(resource: &str) -> String {
    format!("silence {resource}")
}

fn get_list(address: Address) -> Ask {
    Ask { address, ..Ask::graph(Method::Get, "/subscriptions", Class::Other, Priority::Upkeep) }
}
