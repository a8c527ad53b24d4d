//! The budget with people waiting at it: who may send a request now, and who has to wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::ask::Ask;
use super::budget::{Budget, Next, Outcome};
use crate::clock::Clock;
use crate::model::Timestamp;

/// Lets requests through in the order and at the pace of a [`Budget`].
pub(super) struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    budget: Budget,
    waiting: HashMap<u64, oneshot::Sender<()>>,
    newest: u64,
    wakes_at: Option<Timestamp>,
}

impl Gate {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Gate {
        Gate { inner: Arc::new(Inner { clock, state: Mutex::default() }) }
    }

    /// Waits for this request's turn.
    pub(super) async fn enter(&self, ask: &Ask) -> Place {
        let (turn, mine) = oneshot::channel();
        let id = {
            let mut state = self.inner.lock();
            state.newest += 1;
            let id = state.newest;
            state.waiting.insert(id, turn);
            state.budget.ask(id, ask);
            id
        };
        // From here on the place is given back however this ends.
        let place = Place { inner: Arc::clone(&self.inner), id, finished: false };
        Inner::let_through(&self.inner);
        let _ = mine.await;
        place
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_through(inner: &Arc<Inner>) {
        let now = inner.clock.now();
        let mut state = inner.lock();
        loop {
            match state.budget.next(now) {
                Next::Go(id) => {
                    if let Some(turn) = state.waiting.remove(&id) {
                        let _ = turn.send(());
                    }
                }
                Next::Idle => return,
                Next::Wait(until) => {
                    if state.wakes_at.is_none_or(|at| until < at || at <= now) {
                        state.wakes_at = Some(until);
                        let inner = Arc::clone(inner);
                        tokio::spawn(async move {
                            // One more, because the clock is cut to milliseconds.
                            let pause = until.since(inner.clock.now()) + std::time::Duration::from_millis(1);
                            tokio::time::sleep(pause).await;
                            Inner::let_through(&inner);
                        });
                    }
                    return;
                }
            }
        }
    }

    fn finished(inner: &Arc<Inner>, id: u64, outcome: Outcome, again: Option<oneshot::Sender<()>>) {
        {
            let mut state = inner.lock();
            state.waiting.remove(&id);
            state.budget.finished(id, outcome, inner.clock.now());
            match again {
                Some(again) => {
                    state.waiting.insert(id, again);
                }
                // One that is not waited for any more must not take a turn.
                None => state.budget.forget(id),
            }
        }
        Inner::let_through(inner);
    }
}

/// A request's turn; ends when it is told what came of it, or dropped.
pub(super) struct Place {
    inner: Arc<Inner>,
    id: u64,
    finished: bool,
}

impl Place {
    /// The request is to be sent again, not before `at`; waits for its next turn. `throttled`: the service said to wait.
    pub(super) async fn again(&mut self, at: Timestamp, throttled: bool) {
        let (turn, mine) = oneshot::channel();
        Inner::finished(&self.inner, self.id, Outcome::Again { at, throttled }, Some(turn));
        let _ = mine.await;
    }

    /// The request needs no further turn.
    pub(super) fn done(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            Inner::finished(&self.inner, self.id, Outcome::Done, None);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.done();
    }
}
