//! Which chats are due to be read, and why: the plan behind the backfills (digest §14, traps 17 and 20).
//!
//! Every known chat, channel and user is read at the start of the recorder, every `reconcile_every` from then on reaching back
//! `reconcile_window`, after a call's end at the configured times, and whenever its subscription was away. What is due
//! is derived from one cursor entry per target, so a restart at any point loses no reading: the checkpoint moves only when a
//! backfill is done, and every target is due at the start anyway.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use record::{key_of, target_of};

use self::record::{Record, Standing};
use super::backfill::{Done, Target};
use super::subscription::canonical;
use crate::model::Timestamp;

/// Backfills at once. Each may ask 4 times a second; together they reach what the service allows.
pub const AT_ONCE: usize = 5;
/// Pauses after a backfill broke off: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Why a target is read, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was without a subscription, or notifications are missing.
    Gap,
    /// It is new.
    New,
    /// A call in it has ended.
    CallEnded,
    /// The recorder has started.
    Start,
    /// It broke off last time.
    Again,
    /// It is compared with the service as every day.
    Reconcile,
}

/// How often what is read; from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `reconcile_seconds`.
    pub every: Duration,
    /// `reconcile_window_seconds`.
    pub window: Duration,
    /// `backfill_overlap_seconds`.
    pub overlap: Duration,
    /// `chat_polls_after_call`.
    pub polls: Vec<Duration>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Read to the end.
    Done(Done),
    /// The service does not let it be read; it is asked again when it is next to be reconciled.
    Refused,
    /// It broke off; it is tried again with growing pauses.
    Failed,
}

/// What the planner is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// What was remembered: all cursor entries; those of others are ignored.
    Start(Vec<(String, Vec<u8>)>),
    /// This is to be followed from now on. `since` is where its past begins to matter; `None` = from the beginning. Nothing
    /// happens if it is known.
    Follow {
        /// What.
        target: Target,
        /// From when.
        since: Option<Timestamp>,
    },
    /// No longer.
    Drop(Target),
    /// A call in this chat has ended.
    CallEnded(Target),
    /// A resource is to be read: one target, or every known one that `/chats/getAllMessages` or `/teams/getAllMessages`
    /// stands for.
    Due {
        /// As the keeper of subscriptions names it.
        resource: String,
        /// Why.
        reason: Reason,
    },
    /// Everything followed is to be read.
    Everything(Reason),
    /// A job has ended.
    Ended(Target, Ended),
    /// The time of [`Planner::deadline`] has come.
    Tick,
}

/// One backfill to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What.
    pub target: Target,
    /// Everything changed after that; `None` = everything.
    pub since: Option<Timestamp>,
    /// Now.
    pub until: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Begin this backfill, and say [`Input::Ended`] when it is over.
    Begin(Job),
    /// Write (`Some`) or remove (`None`) a cursor entry. With the append that ends a backfill, or later; never sooner.
    Store {
        /// See [`key_of`].
        key: String,
        /// JSON.
        value: Option<Vec<u8>>,
    },
}

/// The plan.
#[derive(Debug)]
pub struct Planner {
    rules: Rules,
    targets: BTreeMap<Target, Standing>,
    /// Due now, the most urgent first, then as they came.
    queue: BTreeSet<(Reason, u64, Target)>,
    agenda: BTreeSet<(Timestamp, Target)>,
    running: BTreeSet<Target>,
    orders: u64,
    out: Vec<Action>,
}

impl Planner {
    /// Knows nothing before [`Input::Start`].
    pub fn new(rules: Rules) -> Self {
        Planner {
            rules,
            targets: BTreeMap::new(),
            queue: BTreeSet::new(),
            agenda: BTreeSet::new(),
            running: BTreeSet::new(),
            orders: 0,
            out: Vec::new(),
        }
    }

    /// Takes what happened; gives what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        match input {
            Input::Start(entries) => {
                for (key, bytes) in entries {
                    if let Some((target, record)) = Record::read(&key, &bytes) {
                        self.targets.insert(target.clone(), Standing::new(record));
                        self.due(&target, Reason::Start);
                    }
                }
            }
            Input::Follow { target, since } => {
                if !self.targets.contains_key(&target) {
                    let record = Record { followed: Some(now.millis()), ..Record::from(since) };
                    self.targets.insert(target.clone(), Standing::new(record));
                    self.store(&target);
                    self.due(&target, Reason::New);
                }
            }
            Input::Drop(target) => self.forget(&target),
            Input::CallEnded(target) => self.call_ended(&target, now),
            Input::Due { resource, reason } => {
                for target in self.meant(&resource) {
                    self.due(&target, reason);
                }
            }
            Input::Everything(reason) => {
                for target in self.targets.keys().cloned().collect::<Vec<_>>() {
                    self.due(&target, reason);
                }
            }
            Input::Ended(target, ended) => self.ended(&target, ended, now),
            Input::Tick => {}
        }
        self.wake(now);
        self.begin(now);
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Tick`] is wanted next.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Whether this is followed.
    pub fn follows(&self, target: &Target) -> bool {
        self.targets.contains_key(target)
    }

    /// The channel with this thread, if it is followed.
    pub fn channel(&self, thread: &str) -> Option<Target> {
        let of = |target: &&Target| matches!(target, Target::Channel { channel, .. } if channel == thread);
        self.targets.keys().find(of).cloned()
    }

    /// Until when everything that changed in a target is stored.
    pub fn checkpoint(&self, target: &Target) -> Option<Timestamp> {
        self.targets.get(target)?.record.checkpoint()
    }

    /// Until when everything of a target is known to have been read; of what never was, when it was first followed.
    pub fn good_until(&self, target: &Target) -> Option<Timestamp> {
        self.targets.get(target)?.record.good_until()
    }

    fn meant(&self, resource: &str) -> Vec<Target> {
        if let Some(target) = Target::of_resource(resource) {
            return self.targets.contains_key(&target).then_some(target).into_iter().collect();
        }
        let resource = canonical(resource).to_ascii_lowercase();
        let chats = resource.starts_with("/chats") || resource.starts_with("/appcatalogs");
        let channels = resource.starts_with("/teams");
        let meant = |target: &&Target| match target {
            Target::Chat { .. } => chats,
            Target::Channel { .. } => channels,
            Target::User { .. } => false,
        };
        self.targets.keys().filter(meant).cloned().collect()
    }

    fn due(&mut self, target: &Target, reason: Reason) {
        let Some(standing) = self.targets.get_mut(target) else { return };
        if self.running.contains(target) {
            // What happened after it began may not be in it.
            standing.once_more = Some(standing.once_more.map_or(reason, |other| other.min(reason)));
            return;
        }
        let order = match standing.queued {
            Some((other, _)) if other <= reason => return,
            Some((other, order)) => {
                self.queue.remove(&(other, order, target.clone()));
                order
            }
            None => {
                self.orders += 1;
                self.orders
            }
        };
        standing.queued = Some((reason, order));
        self.queue.insert((reason, order, target.clone()));
    }

    fn call_ended(&mut self, target: &Target, now: Timestamp) {
        let Some(standing) = self.targets.get_mut(target) else { return };
        standing.record.polls.extend(self.rules.polls.iter().map(|pause| now.plus(*pause).millis()));
        standing.record.polls.sort_unstable();
        standing.record.polls.dedup();
        self.store(target);
        self.schedule(target);
    }

    fn ended(&mut self, target: &Target, ended: Ended, now: Timestamp) {
        if !self.running.remove(target) {
            return;
        }
        let Some(standing) = self.targets.get_mut(target) else { return };
        let polled = standing.began.map_or(0, Timestamp::millis);
        match ended {
            Ended::Done(done) => {
                let record = &mut standing.record;
                record.checkpoint = record.checkpoint.max(done.checkpoint.map(Timestamp::millis));
                record.reconciled = Some(polled);
                record.read = Some(polled);
                record.polls.retain(|poll| *poll > polled);
                standing.failures = 0;
                standing.retry = None;
            }
            Ended::Refused => {
                standing.record.reconciled = Some(polled);
                standing.record.polls.retain(|poll| *poll > polled);
                standing.failures = 0;
                standing.retry = None;
            }
            Ended::Failed => {
                let pause = (PAUSES.0 * 2_u32.saturating_pow(standing.failures.min(12))).min(PAUSES.1);
                standing.failures = standing.failures.saturating_add(1);
                standing.retry = Some(now.plus(pause));
            }
        }
        let once_more = standing.once_more.take();
        self.store(target);
        if let Some(reason) = once_more {
            self.due(target, reason);
        }
        self.schedule(target);
    }

    fn forget(&mut self, target: &Target) {
        let Some(standing) = self.targets.remove(target) else { return };
        if let Some((reason, order)) = standing.queued {
            self.queue.remove(&(reason, order, target.clone()));
        }
        if let Some(at) = standing.planned {
            self.agenda.remove(&(at, target.clone()));
        }
        // A job that runs ends as it likes; its place is free when it says so.
        self.out.push(Action::Store { key: key_of(target), value: None });
    }

    /// Puts everything whose time has come into the queue.
    fn wake(&mut self, now: Timestamp) {
        while let Some((at, target)) = self.agenda.first().cloned() {
            if at > now {
                break;
            }
            self.agenda.remove(&(at, target.clone()));
            let Some(standing) = self.targets.get_mut(&target) else { continue };
            standing.planned = None;
            let polled = standing.record.polls.first().is_some_and(|poll| *poll <= now.millis());
            let again = standing.retry.is_some_and(|retry| retry <= now);
            let reason = match (polled, again) {
                (true, _) => Reason::CallEnded,
                (false, true) => Reason::Again,
                (false, false) => Reason::Reconcile,
            };
            self.due(&target, reason);
        }
    }

    fn begin(&mut self, now: Timestamp) {
        while self.running.len() < AT_ONCE {
            let Some((reason, _, target)) = self.queue.pop_first() else { return };
            let Some(standing) = self.targets.get_mut(&target) else { continue };
            standing.queued = None;
            standing.began = Some(now);
            standing.retry = None;
            let since = self.rules.since(&standing.record, reason, now);
            self.running.insert(target.clone());
            self.schedule(&target);
            self.out.push(Action::Begin(Job { target, since, until: now, reason }));
        }
    }

    /// Enters the next time of a target into the agenda; none while it is queued or running, for then it is due anyway.
    fn schedule(&mut self, target: &Target) {
        let busy = self.running.contains(target);
        let Some(standing) = self.targets.get_mut(target) else { return };
        let next = if busy || standing.queued.is_some() { None } else { standing.next(self.rules.every) };
        if let Some(old) = std::mem::replace(&mut standing.planned, next) {
            self.agenda.remove(&(old, target.clone()));
        }
        if let Some(next) = next {
            self.agenda.insert((next, target.clone()));
        }
    }

    fn store(&mut self, target: &Target) {
        if let Some(standing) = self.targets.get(target) {
            self.out.push(Action::Store { key: key_of(target), value: Some(standing.record.bytes()) });
        }
    }
}

impl Rules {
    /// From when on a target is read: behind the checkpoint by the overlap, and by the window when it is reconciled.
    fn since(&self, record: &Record, reason: Reason, now: Timestamp) -> Option<Timestamp> {
        let back = |time: Timestamp, by: Duration| {
            Timestamp(time.micros().saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
        };
        let overlapped = back(record.checkpoint()?, self.overlap);
        let floor = record.from.map(Timestamp::from_millis);
        let since = if reason == Reason::Reconcile { overlapped.min(back(now, self.window)) } else { overlapped };
        Some(floor.map_or(since, |floor| since.max(floor.min(overlapped))))
    }
}

#[cfg(test)]
mod tests;
