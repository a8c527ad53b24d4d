//! What the service's answers mean.

use std::time::Duration;

use serde_json::Value;

use super::sub::Phase;
use super::{Errand, Keeper, REFUSED, alarm_key};
use crate::connector::teams::ask::Reply;
use crate::connector::teams::moment;
use crate::connector::teams::subscription::entry::Held;
use crate::connector::teams::subscription::resource::{carries_content, takes_model};
use crate::connector::teams::subscription::{Action, Cause, Token, text};
use crate::model::Timestamp;

/// Between tries that failed for a reason that may pass: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

impl Keeper {
    pub(super) fn replied(&mut self, token: Token, reply: &Reply, now: Timestamp) {
        match self.errands.remove(&token) {
            Some(Errand::List) => self.listed(reply, now),
            Some(Errand::Create { key, life }) => self.created(token, &key, life, reply, now),
            Some(Errand::Renew { key, expires, certificate }) => {
                self.renewed(token, &key, expires, certificate, reply, now);
            }
            Some(Errand::Clear { key }) => self.cleared(token, &key, now),
            Some(Errand::Delete) if !reply.is_success() && !matches!(reply.status(), 404 | 410) => {
                self.warn(format!("a subscription that is not needed cannot be deleted: {}", reply.trouble()));
            }
            Some(Errand::Delete) | None => {}
        }
    }

    fn created(&mut self, token: Token, key: &str, life: Duration, reply: &Reply, now: Timestamp) {
        let json = reply.json();
        let id = text(&json, "id").filter(|id| !id.is_empty() && reply.is_success());
        let waiting = match self.subs.get(key).map(|sub| &sub.phase) {
            Some(Phase::Creating { token: ours, certificate }) if *ours == token => Some(certificate.clone()),
            _ => None,
        };
        let Some(certificate) = waiting else {
            // Nobody wants it any more.
            if let Some(id) = id {
                self.delete(id, Errand::Delete);
            }
            return;
        };
        if id.is_some() {
            let again = self.subs.get(key).is_some_and(|sub| sub.entry.begun);
            self.granted(key, &json, certificate, life, now);
            return self.tell(key, if again { "made anew" } else { "created" }, None);
        }
        self.refused(key, reply, now);
    }

    /// There is a subscription: it covers from now on, and what was before is read.
    pub(super) fn granted(
        &mut self,
        key: &str,
        json: &Value,
        certificate: Option<String>,
        life: Duration,
        now: Timestamp,
    ) {
        let Some(id) = text(json, "id").map(str::to_owned) else { return };
        let told = text(json, "expirationDateTime").and_then(moment::time);
        // A time that is past says that the clocks differ, not that it has ended.
        let expires = match told {
            Some(told) if told > now => told,
            Some(_) => now.plus(life.min(Duration::from_secs(60))),
            None => now.plus(life),
        };
        let renew = self.half(now, expires);
        let (seed, urls) = (self.seed.clone(), (self.terms.notification_url.clone(), self.terms.lifecycle_url.clone()));
        let outdated = self.outdated(certificate.as_deref(), key);
        let Some(sub) = self.subs.get_mut(key) else { return };
        let resource = sub.entry.resource.clone();
        let model = if takes_model(&resource) { self.terms.model.clone() } else { String::new() };
        sub.entry.held = Some(Held {
            id: id.clone(),
            expires: expires.millis(),
            confirmed: now.millis(),
            certificate,
            model,
            seed,
            urls,
        });
        sub.phase = Phase::Held { renew: if outdated { now } else { renew } };
        sub.made = Some(now);
        sub.failures = 0;
        sub.conflict = false;
        let cause = if std::mem::replace(&mut sub.entry.begun, true) { Cause::Lapsed } else { Cause::New };
        if std::mem::take(&mut sub.alarmed) {
            self.out.push(Action::Clear { key: alarm_key(&resource) });
        }
        self.ids.insert(id, key.to_owned());
        self.say_gap(key, now);
        self.store(key);
        self.out.push(Action::Ready { resource: resource.clone() });
        self.out.push(Action::Backfill { resource, cause });
        self.schedule(key);
    }

    fn refused(&mut self, key: &str, reply: &Reply, now: Timestamp) {
        let (status, trouble) = (reply.status(), reply.trouble());
        let Some(sub) = self.subs.get_mut(key) else { return };
        sub.failures = sub.failures.saturating_add(1);
        let resource = sub.entry.resource.clone();
        let since = sub.since.min(now);
        if sub.entry.uncovered.is_none() {
            sub.entry.uncover(since, &format!("the service gives no subscription: {trouble}"));
        }
        let pause = self.pause(key);
        let alarm = match status {
            402 | 403 => Some(format!(
                "{resource} cannot be subscribed ({trouble}): a permission, a policy or a licence is missing, or the quota of \
                 subscriptions is used up; it is tried again every hour"
            )),
            404 => Some(format!(
                "{resource} cannot be subscribed ({trouble}): it was deleted or belongs to another tenant; it is tried \
                 again every hour"
            )),
            400 => Some(format!(
                "{resource} cannot be subscribed ({trouble}): usually the service cannot reach {}, or does not take its \
                 answer; see that it is reachable from the Internet under exactly this address",
                self.terms.notification_url
            )),
            409 => None,
            _ => Some(format!("{resource} cannot be subscribed for now ({trouble}); it is tried again"))
                .filter(|_| self.subs.get(key).is_some_and(|sub| sub.failures >= 3)),
        };
        let final_word = matches!(status, 402..=404);
        let Some(sub) = self.subs.get_mut(key) else { return };
        sub.phase = Phase::Missing { at: now.plus(if final_word { REFUSED } else { pause }) };
        sub.conflict = status == 409;
        if let Some(text) = alarm {
            sub.alarmed = true;
            self.out.push(Action::Alarm { key: alarm_key(&resource), text });
        }
        // The first refusal is said at once, the rest once a day and when it ends.
        let Some(sub) = self.subs.get_mut(key) else { return };
        let first = sub.said.is_none() && (final_word || sub.failures == 1);
        if first {
            self.tell(key, "refused", Some(&trouble));
        }
        let Some(sub) = self.subs.get_mut(key) else { return };
        if final_word && sub.said.is_none() {
            let begun = std::mem::replace(&mut sub.entry.begun, true);
            self.say_gap(key, now);
            if !begun {
                self.out.push(Action::Backfill { resource, cause: Cause::Refused });
            }
        } else if sub.said.is_none() && sub.failures == 1 {
            // From here on a day may pass before it is said.
            sub.said = Some(now);
        }
        if status == 409 {
            self.list_again(now);
        }
        self.store(key);
        self.schedule(key);
    }

    fn renewed(
        &mut self,
        token: Token,
        key: &str,
        asked: Timestamp,
        certificate: Option<String>,
        reply: &Reply,
        now: Timestamp,
    ) {
        let Some(sub) = self.subs.get_mut(key).filter(|sub| sub.phase == Phase::Renewing(token)) else { return };
        let Some(held) = &mut sub.entry.held else { return };
        let resource = sub.entry.resource.clone();
        if reply.is_success() {
            let told = text(&reply.json(), "expirationDateTime").and_then(moment::time);
            let expires = told.filter(|told| *told > now).unwrap_or(asked.max(now));
            held.expires = expires.millis();
            held.confirmed = now.millis();
            if certificate.is_some() {
                held.certificate = certificate;
            }
            sub.failures = 0;
            let (again, certificate) = (std::mem::take(&mut sub.again), held.certificate.clone());
            if std::mem::take(&mut sub.alarmed) {
                self.out.push(Action::Clear { key: alarm_key(&resource) });
            }
            let soon = again || self.outdated(certificate.as_deref(), key);
            let renew = if soon { now } else { self.half(now, expires) };
            if let Some(sub) = self.subs.get_mut(key) {
                sub.phase = Phase::Held { renew };
            }
            self.tell(key, "renewed", None);
            self.store(key);
            return self.schedule(key);
        }
        let expires = held.expires();
        match reply.status() {
            404 | 410 => return self.lost(key, None, "the subscription was gone", now),
            400 | 405 | 422 if certificate.is_some() => {
                self.warn(format!("a subscription does not take a new certificate ({}); made anew", reply.trouble()));
                return self.replace(key, now);
            }
            _ => {}
        }
        sub.failures = sub.failures.saturating_add(1);
        if sub.failures == 1 {
            self.tell(key, "not renewed", Some(&reply.trouble()));
        }
        let Some(sub) = self.subs.get_mut(key) else { return };
        if matches!(reply.status(), 400..=403) || sub.failures >= 3 {
            sub.alarmed = true;
            self.out.push(Action::Alarm {
                key: alarm_key(&resource),
                text: format!(
                    "the subscription on {resource} cannot be renewed ({}); it ends at {expires}; check the permissions and \
                     the consent of the application",
                    reply.trouble()
                ),
            });
        }
        // Often enough before it ends, whatever its life.
        let left = (expires.since(now) / 4).max(Duration::from_secs(1));
        let renew = now.plus(self.pause(key).min(left));
        if let Some(sub) = self.subs.get_mut(key) {
            sub.phase = Phase::Held { renew };
        }
        self.schedule(key);
    }

    fn cleared(&mut self, token: Token, key: &str, now: Timestamp) {
        let Some(sub) = self.subs.get_mut(key).filter(|sub| sub.phase == Phase::Clearing(token)) else { return };
        if let Some(held) = sub.entry.held.take() {
            self.ids.remove(&held.id);
        }
        sub.phase = Phase::Missing { at: now };
        self.store(key);
        self.schedule(key);
    }

    /// Half of the life that is left, a little earlier by chance.
    pub(super) fn half(&mut self, now: Timestamp, expires: Timestamp) -> Timestamp {
        let half = expires.since(now) / 2;
        let half = half.mul_f64(0.9 + 0.1 * self.jitter.f64());
        now.plus(half.max(Duration::from_millis(500)))
    }

    /// Whether a subscription encrypts for another certificate than the present one.
    pub(super) fn outdated(&self, certificate: Option<&str>, key: &str) -> bool {
        let carries = self.subs.get(key).is_some_and(|sub| carries_content(&sub.entry.resource));
        carries && self.terms.certificate.as_ref().is_some_and(|current| certificate != Some(current.id.as_str()))
    }

    fn pause(&mut self, key: &str) -> Duration {
        let failures = self.subs.get(key).map_or(1, |sub| sub.failures).clamp(1, 12);
        let full = (PAUSES.0 * 2_u32.saturating_pow(failures - 1)).min(PAUSES.1);
        full.mul_f64(0.75 + 0.25 * self.jitter.f64())
    }
}
