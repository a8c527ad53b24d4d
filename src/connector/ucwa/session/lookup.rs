//! Lookups that recording depends on: asked for once per event, a few at a time, kept as they came.

use std::time::Duration;

use super::super::courier::CallFailure;
use super::super::http::{Answer, Body, Method};
use super::super::wire::{EventType, Resource};
use super::talk::Item;
use super::timers::Timer;
use super::{Fetch, FetchSlot, LOOKUPS, Phase, Purpose, Session};

/// What is known of a resource.
pub(super) enum Look {
    Ready(Resource),
    Missing,
    Waiting,
}

/// Repetitions of a lookup that a passing fault spoiled.
const TRIES: u32 = 3;

impl Session {
    /// The pause after spoiled lookups is over.
    pub(super) fn look_again(&mut self) {
        for (slot, tries) in std::mem::take(&mut self.fetch_again) {
            if matches!(self.fetches.get(&slot), Some(Fetch::Waiting)) {
                self.fetch(slot, tries);
            }
        }
    }

    /// The item's own resource: embedded, or fetched from its link.
    pub(super) fn resource(&mut self, item: &Item) -> Look {
        match &item.event.resource {
            Some(resource) => Look::Ready(resource.clone()),
            None if item.event.kind == EventType::Deleted => Look::Missing,
            None => self.look(item, &item.href),
        }
    }

    /// A resource an item depends on. Asked for once per item; `Missing` when it cannot be had.
    pub(super) fn look(&mut self, item: &Item, url: &str) -> Look {
        let slot = FetchSlot { item: item.key.clone(), url: url.to_owned() };
        match self.fetches.get(&slot) {
            Some(Fetch::Got(resource)) => return Look::Ready(resource.clone()),
            Some(Fetch::Gone) => return Look::Missing,
            Some(Fetch::Waiting) if self.settling => return Look::Missing,
            Some(Fetch::Waiting) => return Look::Waiting,
            None => {}
        }
        let able = matches!(self.phase, Phase::Running | Phase::Preparing | Phase::Stopping(_));
        if item.history || self.settling || !able || self.resolve(url).is_none() {
            return Look::Missing;
        }
        self.fetches.insert(slot.clone(), Fetch::Waiting);
        self.fetch_queue.push_back(slot);
        self.fetch_more();
        Look::Waiting
    }

    fn fetch_more(&mut self) {
        while self.fetching < LOOKUPS {
            let Some(slot) = self.fetch_queue.pop_front() else { return };
            self.fetch(slot, 0);
        }
    }

    fn fetch(&mut self, slot: FetchSlot, tries: u32) {
        let url = slot.url.clone();
        self.fetching += 1;
        if !self.follow(Purpose::Fetch { slot: slot.clone(), tries }, Method::Get, &url, Body::Empty) {
            self.fetching -= 1;
            self.fetches.insert(slot, Fetch::Gone);
        }
    }

    pub(super) fn fetched(&mut self, slot: FetchSlot, tries: u32, result: Result<Answer, CallFailure>) {
        self.fetching = self.fetching.saturating_sub(1);
        let passing = match &result {
            Ok(answer) => matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504),
            Err(CallFailure::Net(_)) => true,
            Err(_) => false,
        };
        if passing && tries < TRIES && matches!(self.fetches.get(&slot), Some(Fetch::Waiting)) {
            // What the network does must not be taken for what the server says: a 404 tells that somebody is gone.
            let wait = if tries == 0 { Duration::ZERO } else { self.back_off(tries - 1) };
            self.fetch_again.push((slot, tries + 1));
            self.timers.set_if_unset(Timer::Lookup, self.now.plus(wait));
            return self.fetch_more();
        }
        let read = match &result {
            Ok(answer) if answer.status == 200 => Resource::parse(&answer.body).ok(),
            _ => None,
        };
        if let (Some(_), Ok(answer)) = (&read, &result) {
            self.keep(&slot.url, answer);
        }
        if let Some(fetch) = self.fetches.get_mut(&slot) {
            *fetch = read.map_or(Fetch::Gone, Fetch::Got);
        }
        self.fetch_more();
        self.wake();
    }
}
