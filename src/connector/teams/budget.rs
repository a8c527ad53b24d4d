//! Who may ask when: the service's budgets kept on our side, so that it need not throttle us (digest §18).
//!
//! A request waits in a lane (priority, class, thread) until its class and its thread have room in the last second and a
//! place among the requests in flight is free. Answering a call waits for nothing. A throttling answer closes the thread it
//! came for, and the whole class when several threads of it are told to wait.

mod retry;
mod window;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

pub use retry::{Retry, after, pause_told};

use self::window::{Closed, Window};
use super::ask::{Ask, Class, Priority};
use crate::model::Timestamp;

/// Requests in flight at once, those of priority `Deadline` not counted.
pub const IN_FLIGHT: usize = 8;
/// Requests a second of one team, channel or chat.
pub const PER_THREAD: usize = 4;
/// A lower priority is passed over so many times in a row, then it has its turn.
const PASSED_OVER: u32 = 8;
/// The second that budgets are counted in, and a tenth: what leaves us evenly may arrive closer together.
const SECOND: Duration = Duration::from_millis(1100);
/// Threads whose last second is remembered before empty ones are swept out.
const SWEEP: usize = 256;

/// Requests a second of a class, for one application and tenant. The sum stays far below the limit for the whole of Graph
/// (130 000 in 10 s). `None` = not limited.
pub fn per_second(class: Class) -> Option<usize> {
    match class {
        Class::Calls => None,
        Class::ChatMessages | Class::ChannelMessages | Class::Post => Some(20),
        Class::Export => Some(200),
        Class::Other => Some(30),
    }
}

/// What the client may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the request with this id, then ask again for the next.
    Go(u64),
    /// Nothing may go before this time, unless something is asked or finished.
    Wait(Timestamp),
    /// Nothing may go until something is asked or finished.
    Idle,
}

/// What became of a request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It needs no further try.
    Done,
    /// It is to be sent again, not before `at`; it keeps its place before those that were asked later.
    Again {
        /// When.
        at: Timestamp,
        /// The service said to wait (429): what shares the budget waits as well.
        throttled: bool,
    },
}

type Lane = (Priority, u8, Option<String>);

#[derive(Clone, Debug)]
struct Waiting {
    id: u64,
    order: u64,
    priority: Priority,
    class: Class,
    thread: Option<String>,
}

impl Waiting {
    fn lane(&self) -> Lane {
        (self.priority, self.class as u8, self.thread.clone())
    }
}

/// The queue of requests and the budgets; knows no sockets and asks no clock.
#[derive(Debug, Default)]
pub struct Budget {
    lanes: BTreeMap<Lane, VecDeque<Waiting>>,
    /// To be sent again later.
    delayed: Vec<(Closed, Waiting)>,
    running: HashMap<u64, Waiting>,
    classes: HashMap<Class, Window>,
    threads: HashMap<String, Window>,
    passed_over: BTreeMap<Priority, u32>,
    orders: u64,
}

impl Budget {
    /// Nothing waiting, every budget whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a request under an id that no waiting or running one bears.
    pub fn ask(&mut self, id: u64, ask: &Ask) {
        self.orders += 1;
        let waiting =
            Waiting { id, order: self.orders, priority: ask.priority, class: ask.class, thread: ask.thread.clone() };
        self.lanes.entry(waiting.lane()).or_default().push_back(waiting);
    }

    /// Takes a request out that is no longer wanted, whether it waits or runs.
    pub fn forget(&mut self, id: u64) {
        self.running.remove(&id);
        self.delayed.retain(|(_, waiting)| waiting.id != id);
        for lane in self.lanes.values_mut() {
            lane.retain(|waiting| waiting.id != id);
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
    }

    /// Requests that wait, also those that wait to be sent again.
    pub fn waiting(&self) -> usize {
        self.delayed.len() + self.lanes.values().map(VecDeque::len).sum::<usize>()
    }

    /// Requests that are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// The next request that may go, taken out of the queue and counted.
    pub fn next(&mut self, now: Timestamp) -> Next {
        self.wake(now);
        let mut best: BTreeMap<Priority, (u64, Lane)> = BTreeMap::new();
        let mut soonest: Option<Timestamp> = self.delayed.iter().map(|(closed, _)| closed.until()).min();
        let lanes = std::mem::take(&mut self.lanes);
        for (lane, queue) in &lanes {
            let Some(head) = queue.front() else { continue };
            match self.opens(head, now) {
                Some(at) if at > now => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
                Some(_) => {
                    let candidate = (head.order, lane.clone());
                    match best.get_mut(&head.priority) {
                        Some(best) if best.0 > candidate.0 => *best = candidate,
                        Some(_) => {}
                        None => {
                            best.insert(head.priority, candidate);
                        }
                    }
                }
                None => {}
            }
        }
        self.lanes = lanes;
        let Some(priority) = self.turn(&best) else { return soonest.map_or(Next::Idle, Next::Wait) };
        let Some((_, lane)) = best.remove(&priority) else { return Next::Idle };
        let Some(waiting) = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) else { return Next::Idle };
        self.lanes.retain(|_, queue| !queue.is_empty());
        self.passed(priority, &best);
        self.spend(&waiting, now);
        let id = waiting.id;
        self.running.insert(id, waiting);
        Next::Go(id)
    }

    /// What became of a request that [`Budget::next`] let go. An unknown id is ignored.
    pub fn finished(&mut self, id: u64, outcome: Outcome, now: Timestamp) {
        let Some(waiting) = self.running.remove(&id) else { return };
        let Outcome::Again { at, throttled } = outcome else { return };
        if throttled {
            self.close(&waiting, at, now);
        }
        self.delayed.push((Closed::new(now, at), waiting));
    }

    /// Puts what is due to be sent again back to where it stood.
    fn wake(&mut self, now: Timestamp) {
        let mut still = Vec::new();
        for (mut closed, waiting) in std::mem::take(&mut self.delayed) {
            if closed.until_seen_from(now) > now {
                still.push((closed, waiting));
                continue;
            }
            let queue = self.lanes.entry(waiting.lane()).or_default();
            let place = queue.iter().position(|other| other.order > waiting.order).unwrap_or(queue.len());
            queue.insert(place, waiting);
        }
        self.delayed = still;
    }

    /// When this request has room; `None` = as soon as another is finished.
    fn opens(&mut self, head: &Waiting, now: Timestamp) -> Option<Timestamp> {
        if head.priority == Priority::Deadline {
            return Some(now);
        }
        // Slow requests for the past must not keep those for the present from going.
        let places = match head.priority {
            Priority::Backfill => IN_FLIGHT - 2,
            Priority::Upkeep => IN_FLIGHT - 1,
            Priority::Deadline | Priority::Live => IN_FLIGHT,
        };
        let counted = self.running.values().filter(|running| running.priority != Priority::Deadline);
        let ours = self.running.values().filter(|running| running.priority == head.priority).count();
        if counted.count() >= IN_FLIGHT || ours >= places {
            return None;
        }
        let class = self.classes.entry(head.class).or_default().opens(per_second(head.class), now);
        let thread = match &head.thread {
            Some(thread) => self.threads.get_mut(thread).map_or(now, |window| window.opens(Some(PER_THREAD), now)),
            None => now,
        };
        Some(class.max(thread))
    }

    /// The priority whose turn it is among those that have a request with room.
    fn turn(&self, best: &BTreeMap<Priority, (u64, Lane)>) -> Option<Priority> {
        let first = *best.keys().next()?;
        if first == Priority::Deadline {
            return Some(first);
        }
        let starving = best.keys().find(|p| self.passed_over.get(p).is_some_and(|passed| *passed >= PASSED_OVER));
        Some(starving.copied().unwrap_or(first))
    }

    fn passed(&mut self, gone: Priority, others: &BTreeMap<Priority, (u64, Lane)>) {
        self.passed_over.remove(&gone);
        for priority in others.keys().filter(|priority| **priority > gone) {
            *self.passed_over.entry(*priority).or_default() += 1;
        }
    }

    fn spend(&mut self, waiting: &Waiting, now: Timestamp) {
        if per_second(waiting.class).is_some() {
            self.classes.entry(waiting.class).or_default().spend(now);
        }
        if let Some(thread) = &waiting.thread {
            if self.threads.len() > SWEEP {
                self.threads.retain(|_, window| !window.is_idle(now));
            }
            self.threads.entry(thread.clone()).or_default().spend(now);
        }
    }

    /// The service wants a pause. It does not say whose: the thread's, if there is one; the class's, if there is none or if
    /// another thread is waiting already.
    fn close(&mut self, waiting: &Waiting, until: Timestamp, now: Timestamp) {
        let Some(thread) = &waiting.thread else {
            return self.classes.entry(waiting.class).or_default().close(now, until);
        };
        let others = self.threads.iter().any(|(other, window)| other != thread && window.is_closed(now));
        self.threads.entry(thread.clone()).or_default().close(now, until);
        if others {
            self.classes.entry(waiting.class).or_default().close(now, until);
        }
    }
}

#[cfg(test)]
mod tests;
