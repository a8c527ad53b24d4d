//! Throttling on our side (digest §18): who may ask the service now, so that it never has to refuse us, and what to do when
//! it does.
//!
//! Pure: time and jitter come in. A budget is a number of requests in any second; calls that ring have none and wait for
//! nobody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::ask::{Ask, Class, Patience, Priority};
use crate::model::Timestamp;

/// The span that a budget counts in; a little more than a second, because requests travel.
const WINDOW: Duration = Duration::from_millis(1_050);

/// Requests in a second of one chat, channel or team.
const PER_THREAD: usize = 4;

/// Requests under way, those of ringing calls not counted.
const UNDER_WAY: usize = 12;

/// Of these, requests that read the past: the present always finds a place.
const UNDER_WAY_BACKFILL: usize = 6;

/// First and longest pause where the service tells none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The longest `Retry-After` that is believed.
const LONGEST_TOLD: Duration = Duration::from_secs(3600);

fn per_second(class: Class) -> usize {
    match class {
        Class::Calls => usize::MAX,
        Class::ChatMessages | Class::ChannelMessages | Class::Post => 20,
        Class::Export => 200,
        Class::Other => 30,
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This request may go.
    Go(u64),
    /// Nothing may go before this time.
    Wait(Timestamp),
    /// Nothing waits, or everything waits for requests under way.
    Idle,
}

#[derive(Clone, Debug)]
struct Waiting {
    id: u64,
    priority: Priority,
    class: Class,
    thread: Option<String>,
}

/// Grants in the newest second, and until when nothing is granted.
#[derive(Clone, Debug, Default)]
struct Purse {
    granted: VecDeque<Timestamp>,
    blocked_until: Option<Timestamp>,
    refusals: u32,
}

impl Purse {
    /// When the next may go; `None` = now.
    fn free_at(&mut self, limit: usize, now: Timestamp) -> Option<Timestamp> {
        while self.granted.front().is_some_and(|at| at.plus(WINDOW) <= now) {
            self.granted.pop_front();
        }
        let full = (self.granted.len() >= limit).then(|| self.granted.front().map(|at| at.plus(WINDOW))).flatten();
        let blocked = self.blocked_until.filter(|until| *until > now);
        full.max(blocked)
    }
}

/// The connector's budgets. See the module.
#[derive(Debug, Default)]
pub struct Budget {
    waiting: VecDeque<Waiting>,
    classes: HashMap<Class, Purse>,
    threads: HashMap<String, Purse>,
    under_way: HashMap<u64, Waiting>,
}

impl Budget {
    /// A request wants to go. Ids are never used twice.
    pub fn ask(&mut self, id: u64, ask: &Ask) {
        let one = Waiting { id, priority: ask.priority, class: ask.class, thread: ask.thread.clone() };
        // In order of priority, and within one in order of asking.
        let at = self.waiting.iter().position(|other| other.priority > one.priority).unwrap_or(self.waiting.len());
        self.waiting.insert(at, one);
    }

    /// Says who may go now; to be called until it says something else than [`Next::Go`].
    pub fn next(&mut self, now: Timestamp) -> Next {
        let busy = self.under_way.values().filter(|one| one.priority != Priority::Deadline).count();
        let reading = self.under_way.values().filter(|one| one.priority == Priority::Backfill).count();
        let mut soonest: Option<Timestamp> = None;
        // Threads that somebody before has to wait for: the order within one stays.
        let mut behind: HashSet<&str> = HashSet::new();
        let mut found = None;
        for (at, one) in self.waiting.iter().enumerate() {
            if one.priority == Priority::Deadline {
                found = Some(at);
                break;
            }
            if busy >= UNDER_WAY {
                break;
            }
            if one.priority == Priority::Backfill && reading >= UNDER_WAY_BACKFILL {
                continue;
            }
            if one.thread.as_deref().is_some_and(|thread| behind.contains(thread)) {
                continue;
            }
            let class = self.classes.entry(one.class).or_default().free_at(per_second(one.class), now);
            let thread = one.thread.as_ref();
            let thread =
                thread.and_then(|thread| self.threads.entry(thread.clone()).or_default().free_at(PER_THREAD, now));
            match class.max(thread) {
                None => {
                    found = Some(at);
                    break;
                }
                Some(until) => {
                    soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
                    if let Some(thread) = one.thread.as_deref() {
                        behind.insert(thread);
                    }
                }
            }
        }
        let Some(one) = found.and_then(|at| self.waiting.remove(at)) else {
            return soonest.map_or(Next::Idle, Next::Wait);
        };
        if one.priority != Priority::Deadline {
            if one.class != Class::Calls {
                self.classes.entry(one.class).or_default().granted.push_back(now);
            }
            if let Some(thread) = &one.thread {
                self.threads.entry(thread.clone()).or_default().granted.push_back(now);
            }
        }
        let id = one.id;
        self.under_way.insert(id, one);
        self.forget(now);
        Next::Go(id)
    }

    /// A request came back, or will not be made: its status, if the service answered, and its `Retry-After`.
    pub fn finished(&mut self, id: u64, status: Option<u16>, retry_after: Option<&str>, now: Timestamp, jitter: f64) {
        self.waiting.retain(|one| one.id != id);
        let Some(one) = self.under_way.remove(&id) else { return };
        if one.priority == Priority::Deadline {
            return;
        }
        let purse = self.classes.entry(one.class).or_default();
        match status {
            Some(429) => {
                // All requests of the kind wait: who goes on asking makes the pause longer.
                let told = retry_after.and_then(|text| told(text, now));
                let pause = told.unwrap_or_else(|| growing(purse.refusals, jitter));
                purse.refusals = purse.refusals.saturating_add(1);
                let until = now.plus(pause);
                match &one.thread {
                    Some(thread) => self.threads.entry(thread.clone()).or_default().blocked_until = Some(until),
                    None => purse.blocked_until = Some(until),
                }
            }
            Some(_) => purse.refusals = 0,
            None => {}
        }
    }

    /// Threads that nothing is known of any more.
    fn forget(&mut self, now: Timestamp) {
        if self.threads.len() > 10_000 {
            self.threads.retain(|_, purse| purse.free_at(1, now).is_some());
        }
    }
}

/// What to do with a request that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Again, at once.
    Now,
    /// Again, then.
    At(Timestamp),
    /// This is the answer.
    GiveUp,
}

/// The one rule for repetitions. `attempt` counts from 1; no status = no answer. `jitter` is from 0 to 1.
pub fn after(
    status: Option<u16>,
    retry_after: Option<&str>,
    attempt: u32,
    patience: Patience,
    now: Timestamp,
    jitter: f64,
) -> Retry {
    let again = match status {
        None => true,
        Some(status) => status == 429 || status >= 500,
    };
    match patience {
        _ if !again => Retry::GiveUp,
        Patience::Until(end) if attempt < 2 && now < end => Retry::Now,
        Patience::Until(_) => Retry::GiveUp,
        Patience::Tries(tries) if attempt >= tries => Retry::GiveUp,
        Patience::Tries(_) => {
            let pause = retry_after.and_then(|text| told(text, now));
            Retry::At(now.plus(pause.unwrap_or_else(|| growing(attempt - 1, jitter))))
        }
    }
}

/// `Retry-After`: seconds, also with a fraction (trap 26), or a date.
fn told(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::try_from_secs_f64(seconds).ok()?,
        Ok(_) => return None,
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            Timestamp(date.timestamp_micros()).since(now)
        }
    };
    Some(pause.min(LONGEST_TOLD))
}

/// A pause that doubles, half of it by chance.
fn growing(before: u32, jitter: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connector::teams::ask::Method;

    fn ask(class: Class, priority: Priority, thread: Option<&str>) -> Ask {
        let ask = Ask::graph(Method::Get, "/", class, priority);
        match thread {
            Some(thread) => ask.of_thread(thread),
            None => ask,
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn ringing_calls_wait_for_nobody() {
        let mut budget = Budget::default();
        for id in 0..50 {
            budget.ask(id, &ask(Class::Other, Priority::Live, None));
        }
        while let Next::Go(_) = budget.next(at(0)) {}
        budget.ask(99, &ask(Class::Calls, Priority::Deadline, None));
        assert_eq!(budget.next(at(0)), Next::Go(99));
    }

    #[test]
    fn the_present_goes_before_the_past() {
        let mut budget = Budget::default();
        budget.ask(1, &ask(Class::ChatMessages, Priority::Backfill, None));
        budget.ask(2, &ask(Class::Other, Priority::Upkeep, None));
        budget.ask(3, &ask(Class::ChatMessages, Priority::Live, None));
        let order: Vec<Next> = (0..3).map(|_| budget.next(at(0))).collect();
        assert_eq!(order, [Next::Go(3), Next::Go(2), Next::Go(1)]);
        assert_eq!(budget.next(at(0)), Next::Idle);
    }

    #[test]
    fn who_was_told_to_wait_waits_to_the_fraction() {
        let mut budget = Budget::default();
        budget.ask(1, &ask(Class::ChatMessages, Priority::Live, None));
        assert_eq!(budget.next(at(0)), Next::Go(1));
        budget.finished(1, Some(429), Some("2.128"), at(0), 0.0);
        budget.ask(2, &ask(Class::ChatMessages, Priority::Live, None));
        budget.ask(3, &ask(Class::Other, Priority::Live, None));
        assert_eq!(budget.next(at(0)), Next::Go(3), "other kinds go on");
        assert_eq!(budget.next(at(0)), Next::Wait(at(2_128)));
        assert_eq!(budget.next(at(2_128)), Next::Go(2));
    }

    #[test]
    fn repetitions_follow_one_rule() {
        let tries = Patience::Tries(3);
        assert_eq!(after(Some(200), None, 1, tries, at(0), 0.0), Retry::GiveUp);
        assert_eq!(after(Some(403), None, 1, tries, at(0), 0.0), Retry::GiveUp);
        assert_eq!(after(Some(503), None, 1, tries, at(0), 0.0), Retry::At(at(500)));
        assert_eq!(after(None, None, 2, tries, at(0), 1.0), Retry::At(at(2_000)));
        assert_eq!(after(Some(429), Some("7"), 2, tries, at(0), 0.0), Retry::At(at(7_000)));
        assert_eq!(after(Some(429), Some("7"), 3, tries, at(0), 0.0), Retry::GiveUp);
        let deadline = Patience::Until(at(100));
        assert_eq!(after(None, None, 1, deadline, at(0), 0.0), Retry::Now);
        assert_eq!(after(None, None, 2, deadline, at(0), 0.0), Retry::GiveUp);
        assert_eq!(after(Some(500), None, 1, deadline, at(100), 0.0), Retry::GiveUp);
        assert_eq!(
            told("Sat, 21 Nov 2026 09:30:07 GMT", Timestamp::parse_rfc3339("2026-11-21T09:30:00Z").expect("time")),
            Some(Duration::from_secs(7))
        );
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_its_budget_and_everybody_gets_through(
            asks in proptest::collection::vec((0..4_usize, 0..3_usize, 0..3_i64), 1..120),
        ) {
            let classes = [Class::ChatMessages, Class::ChannelMessages, Class::Export, Class::Other];
            let priorities = [Priority::Live, Priority::Upkeep, Priority::Backfill];
            let mut budget = Budget::default();
            let mut kinds = Vec::new();
            for (id, (class, priority, thread)) in asks.iter().enumerate() {
                let thread = format!("t{thread}");
                budget.ask(id as u64, &ask(classes[*class], priorities[*priority], Some(&thread)));
                kinds.push((classes[*class], thread));
            }
            let mut granted: Vec<(Timestamp, u64)> = Vec::new();
            let mut now = at(0);
            for _ in 0..10_000 {
                match budget.next(now) {
                    Next::Go(id) => {
                        granted.push((now, id));
                        budget.finished(id, Some(200), None, now, 0.0);
                    }
                    Next::Wait(until) => { prop_assert!(until > now); now = until; }
                    Next::Idle => break,
                }
            }
            prop_assert_eq!(granted.len(), asks.len());
            for (begin, _) in &granted {
                let within: Vec<_> = granted.iter().filter(|(at, _)| at >= begin && at.since(*begin) < Duration::from_secs(1)).collect();
                for thread in ["t0", "t1", "t2"] {
                    prop_assert!(within.iter().filter(|(_, id)| kinds[*id as usize].1 == thread).count() <= PER_THREAD);
                }
            }
        }
    }
}
