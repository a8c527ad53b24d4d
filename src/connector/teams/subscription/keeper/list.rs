//! What the service has: adopt what is ours and fits, delete strays, notice what is gone, leave what is foreign.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::sub::Phase;
use super::{Errand, Keeper, alarm_key, get_list};
use crate::connector::teams::ask::{Address, Reply};
use crate::connector::teams::moment;
use crate::connector::teams::subscription::resource::same;
use crate::connector::teams::subscription::state::client_state_matches;
use crate::connector::teams::subscription::{Action, text};
use crate::model::Timestamp;

/// Pages of a list that are followed at most.
const PAGES: usize = 2000;

/// How far the reading of the list is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Listing {
    /// Before the start.
    Asleep,
    /// Wanted then; after so many failures.
    Wanted { at: Timestamp, tries: u32 },
    /// Under way.
    Running { began: Timestamp, items: Vec<Value>, links: HashSet<String>, tries: u32, once_more: bool },
    /// Read.
    Done,
}

impl Listing {
    pub fn due(&self) -> Option<Timestamp> {
        if let Listing::Wanted { at, .. } = self { Some(*at) } else { None }
    }

    /// Whether subscriptions may be made: the list has been read, or cannot be read at the moment.
    pub fn has_answered(&self) -> bool {
        match self {
            Listing::Done => true,
            Listing::Wanted { tries, .. } | Listing::Running { tries, .. } => *tries > 0,
            Listing::Asleep => false,
        }
    }
}

impl Keeper {
    pub(super) fn list_if_due(&mut self, now: Timestamp) {
        let Listing::Wanted { at, tries } = self.listing else { return };
        if at > now {
            return;
        }
        let links = HashSet::new();
        self.listing = Listing::Running { began: now, items: Vec::new(), links, tries, once_more: false };
        self.ask_list(Address::Graph("/subscriptions".into()));
    }

    /// A subscription is in the way: look again what there is.
    pub(super) fn list_again(&mut self, now: Timestamp) {
        match &mut self.listing {
            // 1, not 0: what could be made meanwhile is not held up by this reading.
            Listing::Done => self.listing = Listing::Wanted { at: now, tries: 1 },
            Listing::Running { once_more, .. } => *once_more = true,
            Listing::Asleep | Listing::Wanted { .. } => {}
        }
    }

    fn ask_list(&mut self, address: Address) {
        let token = self.token(Errand::List);
        self.out.push(Action::Ask(token, get_list(address)));
    }

    pub(super) fn listed(&mut self, reply: &Reply, now: Timestamp) {
        let Listing::Running { items, links, tries, began, once_more } = &mut self.listing else { return };
        let json = reply.json();
        let Some(page) = json.get("value").and_then(Value::as_array).filter(|_| reply.is_success()) else {
            let tries = tries.saturating_add(1);
            let pause = Duration::from_secs(30) * 2_u32.saturating_pow(tries.min(5));
            self.listing = Listing::Wanted { at: now.plus(pause.min(Duration::from_secs(600))), tries };
            self.warn(format!("the list of subscriptions cannot be read: {}", reply.trouble()));
            return self.wake_all();
        };
        items.extend(page.iter().cloned());
        let next = text(&json, "@odata.nextLink").map(str::to_owned);
        if let Some(next) = &next
            && links.len() < PAGES
            && links.insert(next.clone())
        {
            let next = next.clone();
            return self.ask_list(Address::Link(next));
        }
        let (items, began, once_more) = (std::mem::take(items), *began, *once_more);
        self.listing = if once_more { Listing::Wanted { at: now, tries: 1 } } else { Listing::Done };
        self.compare(&items, next.is_none(), began, now);
        self.wake_all();
    }

    fn compare(&mut self, items: &[Value], complete: bool, began: Timestamp, now: Timestamp) {
        let mut seen = HashSet::new();
        for item in items {
            let Some(id) = text(item, "id") else { continue };
            match self.ids.get(id).cloned() {
                Some(key) => {
                    seen.insert(id.to_owned());
                    self.adopt(&key, item, now);
                }
                None => self.unknown(id, item, now),
            }
        }
        if !complete {
            return self.warn("the list of subscriptions runs in a circle; what is missing in it is not judged".into());
        }
        let gone: Vec<String> = self
            .subs
            .iter()
            .filter(|(_, sub)| matches!(sub.phase, Phase::Held { .. } | Phase::Unfit))
            .filter(|(_, sub)| sub.entry.held.as_ref().is_some_and(|h| !seen.contains(&h.id) && h.confirmed() < began))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.lost(&key, None, "the subscription was no longer there", now);
        }
        let blocked: Vec<String> =
            self.subs.values().filter(|sub| sub.conflict).map(|sub| sub.entry.resource.clone()).collect();
        for resource in blocked {
            let key = resource.to_ascii_lowercase();
            let Some(sub) = self.subs.get_mut(&key) else { continue };
            sub.conflict = false;
            if matches!(sub.phase, Phase::Missing { .. }) {
                sub.alarmed = true;
                self.out.push(Action::Alarm {
                    key: alarm_key(&resource),
                    text: format!(
                        "{resource} cannot be subscribed: this application has a subscription there that goes to another \
                         address; stop the other recorder or delete its subscription"
                    ),
                });
            }
        }
    }

    fn adopt(&mut self, key: &str, item: &Value, now: Timestamp) {
        let elsewhere = text(item, "notificationUrl").is_some_and(|url| url != self.terms.notification_url);
        let Some(sub) = self.subs.get_mut(key) else { return };
        let Some(held) = &mut sub.entry.held else { return };
        held.confirmed = held.confirmed.max(now.millis());
        if let Some(expires) = text(item, "expirationDateTime").and_then(moment::time) {
            held.expires = expires.millis();
        }
        let expires = held.expires();
        match sub.phase {
            Phase::Held { .. } if elsewhere => {
                let from = sub.entry.deliveries.last().unwrap_or(sub.since).min(now);
                sub.entry.uncover(from, "the subscription went to another address");
                sub.phase = Phase::Unfit;
            }
            Phase::Held { .. } => {
                let resource = sub.entry.resource.clone();
                // Its life so far is not told: half of what is left is never too late.
                let certificate = held.certificate.clone();
                self.out.push(Action::Ready { resource });
                let renew = if self.outdated(certificate.as_deref(), key) { now } else { self.half(now, expires) };
                if let Some(sub) = self.subs.get_mut(key) {
                    sub.phase = Phase::Held { renew };
                }
            }
            _ => {}
        }
        self.store(key);
    }

    /// A subscription that is not remembered.
    fn unknown(&mut self, id: &str, item: &Value, now: Timestamp) {
        if text(item, "notificationUrl") != Some(self.terms.notification_url.as_str()) {
            return;
        }
        let resource = text(item, "resource").unwrap_or_default();
        let found = self.subs.iter().find(|(_, sub)| same(&sub.entry.resource, resource));
        let (key, phase) = match found {
            Some((key, sub)) => (Some(key.clone()), Some(sub.phase.clone())),
            None => (None, None),
        };
        // Its id may be on the way to us.
        if matches!(phase, Some(Phase::Creating { .. })) {
            return;
        }
        if let (Some(key), Some(Phase::Missing { .. })) = (key, phase) {
            let lifecycle = text(item, "lifecycleNotificationUrl") == Some(self.terms.lifecycle_url.as_str());
            let state = text(item, "clientState").unwrap_or_default();
            let ours = self.subs.get(&key).is_some_and(|sub| client_state_matches(&sub.state, state));
            let certificate = text(item, "encryptionCertificateId").map(str::to_owned);
            let encrypted = self.terms.certificate.is_some();
            if ours && lifecycle && certificate.is_some() == encrypted {
                self.granted(&key, item, certificate, Duration::from_secs(60), now);
                return self.tell(&key, "adopted", None);
            }
            let token = self.delete(id, Errand::Clear { key: key.clone() });
            if let Some(sub) = self.subs.get_mut(&key) {
                sub.phase = Phase::Clearing(token);
                sub.conflict = false;
            }
            return;
        }
        self.delete(id, Errand::Delete);
    }

    fn wake_all(&mut self) {
        let keys: Vec<String> = self.subs.keys().cloned().collect();
        for key in keys {
            self.schedule(&key);
        }
    }
}
