//! The event channel: a queue, numbered batches, and acknowledgement by asking for the next one.
//!
//! Batch N is kept until a GET on N+1 proves that the client has it. Asking for N again returns N, by option with what
//! has happened since. Any other number is answered with `resync` alone.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::resources::link;

/// How soon an event releases a held poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    High,
    Medium,
    Low,
}

/// An event that waits.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub sender: (&'static str, String),
    pub event: Value,
    pub priority: Priority,
    pub queued_ms: u64,
    /// Line of the ledger that this event delivers.
    pub entry: Option<usize>,
    /// It is forgotten when nobody fetches it in time.
    pub perishable: bool,
}

#[derive(Clone, Debug, Default)]
struct Batch {
    events: Vec<Queued>,
    resume: bool,
}

/// Limits that come from the options and from the query of the poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub medium_ms: u64,
    pub low_ms: u64,
    pub max_events: usize,
    pub append_on_repeat: bool,
}

/// A poll that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    generation: u64,
    pub until_ms: u64,
    pub limits: Limits,
}

/// What a poll has come to.
#[derive(Debug)]
pub(super) enum Polled {
    /// The body, and the number of the batch for [`Channel::sent`].
    Answer(Value, u64),
    /// Ask again at this time, or earlier when something happens.
    Wait(u64),
    /// Another poll has taken over.
    Replaced,
}

/// The channel of one application.
#[derive(Debug)]
pub(super) struct Channel {
    /// Href of the events resource, without query.
    href: String,
    /// Number of the batch that is being served or waited for.
    number: u64,
    batch: Option<Batch>,
    last: Option<Batch>,
    queue: VecDeque<Queued>,
    generation: u64,
    holding: bool,
    /// The next answer carries only `resync`.
    pub resync: bool,
    /// The next answer carries `resume`.
    pub resume: bool,
    /// The next answer is the last acknowledged batch once more.
    pub duplicate: bool,
}

/// What a GET on the channel did to what came before.
pub(super) struct Opened {
    /// `None`: wrong number; answer [`Channel::resync_body`].
    pub hold: Option<Hold>,
    /// Ledger lines that are acknowledged by it.
    pub acknowledged: Vec<usize>,
    /// A poll was being held already.
    pub parallel: bool,
}

impl Channel {
    pub fn new(href: String) -> Self {
        Channel {
            href,
            number: 1,
            batch: None,
            last: None,
            queue: VecDeque::new(),
            generation: 0,
            holding: false,
            resync: false,
            resume: false,
            duplicate: false,
        }
    }

    /// Puts an event at the end.
    pub fn push(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    /// Whether a poll is being held now.
    pub fn holding(&self) -> bool {
        self.holding
    }

    /// A client asks for batch `ack`.
    pub fn open(&mut self, ack: u64, until_ms: u64, limits: Limits) -> Opened {
        let parallel = self.holding;
        self.generation += 1;
        let mut acknowledged = Vec::new();
        if self.batch.is_some() && ack == self.number + 1 {
            self.last = self.batch.take();
            self.number = ack;
            acknowledged = self.last.iter().flat_map(|b| b.events.iter().filter_map(|e| e.entry)).collect();
        } else if ack != self.number {
            self.holding = false;
            return Opened { hold: None, acknowledged, parallel };
        }
        self.holding = true;
        Opened { hold: Some(Hold { generation: self.generation, until_ms, limits }), acknowledged, parallel }
    }

    /// Another client takes the channel over: whoever polls now is answered 409.
    pub fn take_over(&mut self) {
        self.generation += 1;
        self.holding = false;
    }

    /// The client of this poll has gone away.
    pub fn abandon(&mut self, hold: &Hold) {
        if hold.generation == self.generation {
            self.holding = false;
        }
    }

    /// Looks whether a held poll can be answered now.
    pub fn poll(&mut self, hold: &Hold, now_ms: u64) -> Polled {
        if hold.generation != self.generation {
            return Polled::Replaced;
        }
        if std::mem::take(&mut self.resync) {
            self.holding = false;
            return Polled::Answer(self.resync_body(), 0);
        }
        if std::mem::take(&mut self.duplicate)
            && let Some(last) = &self.last
        {
            self.holding = false;
            return Polled::Answer(self.body(last, self.number - 1), 0);
        }
        let limits = &hold.limits;
        let ready_at = |e: &Queued| {
            e.queued_ms
                + match e.priority {
                    Priority::High => 0,
                    Priority::Medium => limits.medium_ms,
                    Priority::Low => limits.low_ms,
                }
        };
        let next = self.queue.iter().map(ready_at).min();
        let repeated = self.batch.is_some();
        if !repeated && !self.resume && now_ms < hold.until_ms && next.is_none_or(|at| at > now_ms) {
            return Polled::Wait(next.unwrap_or(u64::MAX).min(hold.until_ms));
        }
        let resume = std::mem::take(&mut self.resume);
        let mut batch = self.batch.take().unwrap_or_default();
        batch.resume |= resume;
        if !repeated || limits.append_on_repeat {
            let room = limits.max_events.saturating_sub(batch.events.len());
            batch.events.extend(self.queue.drain(..room.min(self.queue.len())));
        }
        let body = self.body(&batch, self.number);
        self.batch = Some(batch);
        self.holding = false;
        Polled::Answer(body, self.number)
    }

    /// A batch has been written out whole; gives the ledger lines it carried.
    pub fn sent(&self, number: u64) -> Vec<usize> {
        let batch = self.batch.as_ref().filter(|_| number == self.number);
        batch.map(|b| b.events.iter().filter_map(|e| e.entry).collect()).unwrap_or_default()
    }

    /// Takes out incoming messages that have waited too long; gives their ledger lines.
    pub fn forget(&mut self, now_ms: u64, after_ms: u64) -> Vec<usize> {
        let mut gone = Vec::new();
        self.queue.retain(|e| match e.entry {
            Some(entry) if e.perishable && now_ms >= e.queued_ms.saturating_add(after_ms) => {
                gone.push(entry);
                false
            }
            _ => true,
        });
        gone
    }

    /// Ledger lines of everything not acknowledged, when the application ends.
    pub fn close(self) -> Vec<usize> {
        let batch = self.batch.unwrap_or_default();
        batch.events.iter().chain(self.queue.iter()).filter_map(|e| e.entry).collect()
    }

    /// 200 with only `resync`: leads to the first batch that is not acknowledged.
    pub fn resync_body(&self) -> Value {
        json!({ "_links": { "resync": link(self.url(self.number)) } })
    }

    fn url(&self, number: u64) -> String {
        format!("{}?ack={number}", self.href)
    }

    fn body(&self, batch: &Batch, number: u64) -> Value {
        let forward = if batch.resume { "resume" } else { "next" };
        let mut links = Map::new();
        links.insert("self".to_owned(), link(self.url(number)));
        links.insert(forward.to_owned(), link(self.url(number + 1)));
        let mut senders: Vec<Value> = Vec::new();
        let mut current: Option<(&(&str, String), Vec<Value>)> = None;
        let mut close = |block: Option<(&(&str, String), Vec<Value>)>| {
            if let Some((sender, events)) = block {
                senders.push(json!({ "rel": sender.0, "href": sender.1, "events": events }));
            }
        };
        // Order is kept, so a sender comes again when another one has spoken in between.
        for queued in &batch.events {
            match &mut current {
                Some((sender, events)) if **sender == queued.sender => events.push(queued.event.clone()),
                _ => close(current.replace((&queued.sender, vec![queued.event.clone()]))),
            }
        }
        close(current);
        let mut body = json!({ "_links": links });
        if !senders.is_empty() {
            body["sender"] = senders.into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { medium_ms: 50, low_ms: 100, max_events: 10, append_on_repeat: true };

    fn queued(sender: &str, n: u64, priority: Priority, entry: Option<usize>) -> Queued {
        Queued {
            sender: ("conversation", sender.to_owned()),
            event: json!({ "n": n }),
            priority,
            queued_ms: 0,
            entry,
            perishable: true,
        }
    }

    fn answer(channel: &mut Channel, ack: u64, now: u64) -> Value {
        let hold = channel.open(ack, 1_000, LIMITS).hold.expect("right number");
        match channel.poll(&hold, now) {
            Polled::Answer(body, _) => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_kept_until_the_next_is_asked_for() {
        let mut c = Channel::new("/e".to_owned());
        c.push(queued("a", 1, Priority::High, Some(7)));
        let first = answer(&mut c, 1, 0);
        assert_eq!(first["_links"]["next"]["href"], "/e?ack=2");
        assert_eq!(answer(&mut c, 1, 0), first);
        c.push(queued("a", 2, Priority::High, None));
        assert_eq!(answer(&mut c, 1, 0)["sender"][0]["events"], json!([{ "n": 1 }, { "n": 2 }]));
        assert_eq!(c.sent(1), [7]);
        let opened = c.open(2, 1_000, LIMITS);
        assert_eq!(opened.acknowledged, [7]);
        assert!(c.open(4, 1_000, LIMITS).hold.is_none());
        assert_eq!(c.resync_body(), json!({ "_links": { "resync": { "href": "/e?ack=2" } } }));
    }

    #[test]
    fn high_priority_releases_at_once_and_takes_the_waiting_along_in_order() {
        let mut c = Channel::new("/e".to_owned());
        let hold = c.open(1, 1_000, LIMITS).hold.unwrap();
        assert!(matches!(c.poll(&hold, 0), Polled::Wait(1_000)));
        c.push(queued("a", 1, Priority::Medium, None));
        assert!(matches!(c.poll(&hold, 0), Polled::Wait(50)));
        c.push(queued("b", 2, Priority::High, None));
        c.push(queued("a", 3, Priority::High, None));
        let Polled::Answer(body, 1) = c.poll(&hold, 1) else { panic!() };
        let senders: Vec<&str> =
            body["sender"].as_array().unwrap().iter().map(|s| s["href"].as_str().unwrap()).collect();
        assert_eq!(senders, ["a", "b", "a"]);
    }

    #[test]
    fn a_quiet_poll_ends_without_senders_and_a_newer_one_replaces_an_older() {
        let mut c = Channel::new("/e".to_owned());
        let old = c.open(1, 1_000, LIMITS).hold.unwrap();
        let second = c.open(1, 1_000, LIMITS);
        assert!(second.parallel);
        assert!(matches!(c.poll(&old, 0), Polled::Replaced));
        let Polled::Answer(body, _) = c.poll(&second.hold.unwrap(), 1_000) else { panic!() };
        assert!(body.get("sender").is_none());
    }

    #[test]
    fn messages_are_forgotten_unless_fetched() {
        let mut c = Channel::new("/e".to_owned());
        c.push(queued("a", 1, Priority::High, Some(1)));
        assert_eq!(c.forget(29_999, 30_000), Vec::<usize>::new());
        answer(&mut c, 1, 0);
        assert_eq!(c.forget(30_000, 30_000), Vec::<usize>::new());
        c.push(queued("a", 2, Priority::High, Some(2)));
        assert_eq!(c.forget(30_000, 30_000), [2]);
        assert_eq!(c.close(), [1]);
    }
}
