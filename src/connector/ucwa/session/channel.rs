//! The event channel: one P-GET at a time, acknowledged only after its batch is durable (digest §6).

use url::Url;

use std::time::Duration;

use crate::capture::{Append, CursorChange, EnvelopeId};
use crate::model::{Kind, Timestamp};

use super::super::courier::{CallFailure, CallId};
use super::super::http::{Answer, Body, Method, NetFailure};
use super::super::wire::{self, Batch};
use super::talk::Arrival;
use super::timers::Timer;
use super::{Action, Phase, Purpose, Report, Session};

/// Beyond this, an interruption of the channel is a gap.
const OUTAGE: Duration = Duration::from_secs(15);
/// While an application may live, we come back well within the 30 s after which the server drops what nobody fetches.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(12);

/// State of the long poll.
#[derive(Debug, Default)]
pub struct Channel {
    /// The P-GET under way.
    call: Option<CallId>,
    /// A batch is being stored; the next P-GET waits for it.
    storing: bool,
    /// Failures in a row.
    failures: u32,
    /// Unreadable answers in a row to the same URL.
    unreadable: u32,
    /// Connection-level failures in a row (after which the pool may have moved).
    unreachable: u32,
    /// PGetReplaced answers, and when the last one came.
    replaced: u32,
    replaced_at: Timestamp,
    /// When the current interruption began.
    broken_since: Option<Timestamp>,
    /// When the channel last answered.
    pub(super) last_good: Option<Timestamp>,
}

impl Channel {
    /// The channel does not answer at present.
    pub(super) fn is_broken(&self) -> bool {
        self.broken_since.is_some()
    }
}

/// A batch between its arrival and its interpretation.
#[derive(Debug)]
pub struct Batched {
    batch: Batch,
    url: String,
    arrival: Arrival,
    has_facts: bool,
}

impl Session {
    /// Sends the P-GET unless one is out, a batch is being stored, or we are not polling.
    pub(super) fn poll(&mut self) {
        let polling = matches!(self.phase, Phase::Running | Phase::Stopping(_));
        if !polling || self.channel.call.is_some() || self.channel.storing {
            return;
        }
        let Some(url) = self.application.as_ref().map(|a| a.next.clone()) else { return };
        self.timers.clear(&Timer::Poll);
        // The call may be answered (with a refusal) before this returns.
        let (id, steps) = self.courier.call(
            super::Call {
                method: Method::Get,
                url,
                body: Body::Empty,
                lane: super::Lane::Channel,
                timeout: super::POLL_TIMEOUT,
                anonymous: false,
            },
            self.now,
        );
        self.calls.insert(id, Purpose::Poll);
        self.channel.call = Some(id);
        self.take_steps(steps);
    }

    /// Forgets the P-GET under way; its answer, if one comes, is ignored (it was not acknowledged).
    pub(super) fn drop_poll(&mut self) {
        if let Some(id) = self.channel.call.take() {
            self.calls.remove(&id);
            self.courier.cancel(id);
        }
        self.timers.clear(&Timer::Poll);
    }

    pub(super) fn polled(&mut self, result: Result<Answer, CallFailure>) {
        self.channel.call = None;
        let Some(url) = self.application.as_ref().map(|a| a.next.clone()) else { return };
        match result {
            Ok(answer) if answer.status == 200 => match wire::parse_batch(&answer.body) {
                Ok(batch) => self.take_batch(&url, &answer, batch),
                Err(_) => self.unreadable(&url, &answer),
            },
            Ok(answer) => self.refused(&answer),
            Err(CallFailure::Net(failure)) => self.poll_broken(failure),
            Err(failure) => {
                self.interrupted();
                self.sign_in_failed(&failure);
            }
        }
    }

    fn interrupted(&mut self) {
        let now = self.now;
        self.channel.broken_since.get_or_insert(now);
        self.channel.failures += 1;
    }

    fn poll_broken(&mut self, failure: NetFailure) {
        self.interrupted();
        self.channel.unreachable += 1;
        // Repeating the very same URL is safe at any time: only `next` acknowledges.
        if failure == NetFailure::TooLarge {
            self.warn(
                "the event channel answers with more than a recorder reads; it cannot go on until that ends".into(),
            );
        }
        if self.channel.unreachable.is_multiple_of(5) {
            return self.rediscover();
        }
        let wait = self.back_off(self.channel.failures - 1).min(LONGEST_WAIT);
        self.timers.set(Timer::Poll, self.now.plus(wait));
    }

    /// Answers other than 200 (digest §6.5).
    fn refused(&mut self, answer: &Answer) {
        self.interrupted();
        let error = wire::parse_error(&answer.body);
        match answer.status {
            404 | 410 => self.verify_application(),
            403 => self.rediscover(),
            409 if error.as_ref().is_some_and(|e| e.subcode.as_deref() == Some("PGetReplaced")) => self.replaced(),
            502 if self.channel.failures.is_multiple_of(3) => self.rediscover(),
            400 | 405 | 406 if self.channel.failures.is_multiple_of(3) => self.verify_application(),
            _ => {
                let wait = self
                    .back_off(self.channel.failures - 1)
                    .min(LONGEST_WAIT)
                    .max(answer.retry_after.unwrap_or_default());
                self.timers.set(Timer::Poll, self.now.plus(wait.min(Duration::from_secs(120))));
            }
        }
    }

    /// Another P-GET took over. Once may be our own broken connection; more is a second client: do not fight.
    fn replaced(&mut self) {
        if self.now.since(self.channel.replaced_at) > Duration::from_secs(300) {
            self.channel.replaced = 0;
        }
        self.channel.replaced += 1;
        self.channel.replaced_at = self.now;
        let wait = match self.channel.replaced {
            1 => Duration::from_secs(1),
            n => {
                self.alarm(
                    "another client polls this application (PGetReplaced): is the recorder's account signed in elsewhere? Messages may go there instead"
                        .into(),
                );
                Duration::from_secs(15 << n.min(4))
            }
        };
        self.timers.set(Timer::Poll, self.now.plus(wait));
    }

    /// 200 with a body that is not a batch: ask again; after some tries keep the bytes and start afresh.
    fn unreadable(&mut self, url: &Url, answer: &Answer) {
        self.interrupted();
        self.channel.unreadable += 1;
        if self.channel.unreadable < 5 {
            let wait = self.back_off(self.channel.failures - 1).min(LONGEST_WAIT);
            self.timers.set(Timer::Poll, self.now.plus(wait));
            return;
        }
        self.channel.unreadable = 0;
        self.keep(url.as_str(), answer);
        let origin = crate::capture::Origin::Here(self.outbox.envelopes.len() - 1);
        let key = format!("unreadable|{}|{url}", self.incarnation());
        self.event(None, None, Kind::PlatformEvent, answer.server_date, key, unreadable_content());
        if let Some(event) = self.outbox.events.last_mut() {
            event.origin = origin;
        }
        self.warn("the event channel keeps answering with something that is not a batch; its bytes are kept".into());
        self.verify_application();
    }

    fn take_batch(&mut self, url: &Url, answer: &Answer, batch: Batch) {
        let since = self.channel.broken_since.take();
        self.channel.failures = 0;
        self.channel.unreadable = 0;
        self.channel.unreachable = 0;
        if std::mem::take(&mut self.channel.replaced) > 1 {
            self.listening();
        }
        if let Some(since) = since.filter(|since| self.now.since(*since) > OUTAGE) {
            self.channel_gap(since, "the event channel was interrupted");
        }
        // `resync` outranks `next`: the server did not know our acknowledgement.
        let way = batch.resync.clone().or_else(|| batch.resume.clone()).or_else(|| batch.next.clone());
        let (resync, resume) = (batch.resync.is_some(), batch.resume.is_some() && batch.resync.is_none());
        let has_facts = batch.senders.iter().any(|s| !s.events.is_empty()) || !batch.odd.is_empty() || resync || resume;
        let last_good = self.channel.last_good.replace(self.now).unwrap_or(self.now);
        match way.as_deref().map(|href| self.resolve(href)) {
            Some(Some(next)) => {
                let loops = resync && next == *url;
                if let Some(application) = self.application.as_mut() {
                    application.next = next;
                }
                if loops {
                    self.channel.storing = false;
                    self.channel.failures += 1;
                }
            }
            // None of the three links: the application's own `events` link is where to begin again.
            _ => {
                self.store_batch(url, answer, batch, has_facts, since);
                self.channel.failures += 1;
                return self.verify_application();
            }
        }
        if resync {
            self.warn("the server asked to resync the event channel; events may have been missed".into());
            self.channel_gap(last_good, "the server asked to resync the event channel");
        }
        self.store_batch(url, answer, batch, has_facts, since);
        if resume {
            self.note("the server closed all conversations after a long silence (resume)".into());
            self.lose_talks("the server closed all conversations (resume)", last_good);
            self.take_up_lost();
        }
    }

    /// Hands the raw batch and the cursor to the sink in one append; the next P-GET waits for the receipt.
    /// `earliest`: the beginning of the interruption that this batch ended.
    fn store_batch(&mut self, url: &Url, answer: &Answer, batch: Batch, has_facts: bool, earliest: Option<Timestamp>) {
        let ticket = self.ticket();
        let envelopes = if has_facts { vec![self.envelope(url.as_str(), answer, true)] } else { Vec::new() };
        let mut cursor = Vec::new();
        if let Some(application) = &self.application {
            cursor.push(CursorChange {
                key: "application".into(),
                value: Some(serde_json::to_vec(application).unwrap_or_default()),
            });
        }
        cursor.push(alive(self.now));
        self.channel.storing = true;
        let arrival = Arrival { at: self.now, earliest: earliest.unwrap_or(self.now), date: answer.server_date };
        let batched = Batched { batch, url: url.to_string(), arrival, has_facts };
        self.unconfirmed.insert(ticket, Some(batched));
        self.out.push(Action::Store(ticket, Append { envelopes, cursor, ..Append::default() }));
    }

    /// The batch is durable: acknowledge it by asking for the next one, then read it.
    pub(super) fn batch_stored(&mut self, batched: Batched, envelopes: &[EnvelopeId]) {
        self.channel.storing = false;
        // While we could not store, nothing was asked for, and the server drops what is not fetched in 30 s.
        if self.now.since(batched.arrival.at) > OUTAGE {
            self.channel_gap(batched.arrival.at, "the archive could not store");
        }
        if self.channel.failures > 0 {
            let wait = self.back_off(self.channel.failures - 1).min(LONGEST_WAIT);
            self.timers.set(Timer::Poll, self.now.plus(wait));
        } else if !self.timers_hold_poll() {
            self.poll();
        }
        self.batch_for_stop(batched.has_facts);
        if let (true, Some(id)) = (batched.has_facts, envelopes.first()) {
            self.interpret(*id, &batched.url, batched.batch, batched.arrival, false);
        }
    }

    fn timers_hold_poll(&self) -> bool {
        !matches!(self.phase, Phase::Running | Phase::Stopping(_))
    }

    /// Forgets channel state that belonged to another application.
    pub(super) fn reset_channel(&mut self) {
        self.drop_poll();
        let last_good = self.channel.last_good;
        self.channel = Channel { last_good, storing: self.channel.storing, ..Channel::default() };
    }

    /// The channel works (again) on this application.
    pub(super) fn listening(&mut self) {
        self.setbacks = 0;
        self.out.push(Action::Report(Report::Listening));
    }

    pub(super) fn incarnation(&self) -> String {
        self.application.as_ref().map(|a| a.incarnation.clone()).unwrap_or_default()
    }
}

/// The cursor entry that says when the channel last answered.
pub(super) fn alive(now: Timestamp) -> CursorChange {
    CursorChange { key: "alive".into(), value: Some(now.micros().to_string().into_bytes()) }
}

fn unreadable_content() -> crate::model::Content {
    crate::model::Content {
        detail: Some(serde_json::json!({"unreadable": "answer of the event channel; see the envelope"})),
        ..Default::default()
    }
}
