//! The budget with people waiting at it: who may send a request now, and who has to wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::ask::Ask;
use super::budget::{Budget, Next};
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

    fn finished(inner: &Arc<Inner>, id: u64, status: Option<u16>, retry_after: Option<&str>) {
        {
            let mut state = inner.lock();
            state.waiting.remove(&id);
            let jitter = fastrand::f64();
            state.budget.finished(id, status, retry_after, inner.clock.now(), jitter);
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
    /// The service answered with this status and `Retry-After`; no status = no answer.
    pub(super) fn finished(&mut self, status: Option<u16>, retry_after: Option<&str>) {
        if !std::mem::replace(&mut self.finished, true) {
            Inner::finished(&self.inner, self.id, status, retry_after);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.finished(None, None);
    }
}
