//! Sockets, time and tasks around the pool's plain state.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::conversation::Timer;
use super::fault::{self, Effect};
use super::http::{Connection, Reply, Request};
use super::pool::{Order, Pool};
use super::server::{Origin, Response};

/// The pool and what its tasks share.
pub(super) struct Shared {
    pool: Mutex<Pool>,
    started: Instant,
    /// Counts changes; every waiter watches it.
    version: watch::Sender<u64>,
    /// The pool does not listen at present.
    down: watch::Sender<bool>,
    /// Counts orders to reset every connection.
    cut: watch::Sender<u64>,
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(pool: Pool) -> Arc<Self> {
        Arc::new(Shared {
            pool: Mutex::new(pool),
            started: Instant::now(),
            version: watch::Sender::new(0),
            down: watch::Sender::new(false),
            cut: watch::Sender::new(0),
            stop: CancellationToken::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.now_ms = self.now_ms();
        pool
    }

    /// Looks at the pool, or changes what nobody waits for.
    pub fn look<T>(&self, f: impl FnOnce(&mut Pool) -> T) -> T {
        f(&mut self.lock())
    }

    /// Changes the pool, starts the timers it asks for and wakes every waiter.
    pub fn with<T>(self: &Arc<Self>, f: impl FnOnce(&mut Pool) -> T) -> T {
        let (result, timers, orders) = {
            let mut pool = self.lock();
            let result = f(&mut pool);
            (result, std::mem::take(&mut pool.timers), std::mem::take(&mut pool.orders))
        };
        self.carry_out(timers, orders);
        self.version.send_modify(|v| *v += 1);
        result
    }

    fn carry_out(self: &Arc<Self>, timers: Vec<(u64, Timer)>, orders: Vec<Order>) {
        for (delay, timer) in timers {
            let shared = Arc::clone(self);
            self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                shared.with(|pool| pool.fire(timer));
            });
        }
        for order in orders {
            match order {
                Order::Cut => self.cut.send_modify(|n| *n += 1),
                Order::Down(length) => {
                    let shared = Arc::clone(self);
                    self.down.send_replace(true);
                    self.spawn(async move {
                        tokio::time::sleep(length).await;
                        shared.with(|pool| pool.tell("The pool is back"));
                        shared.down.send_replace(false);
                    });
                }
            }
        }
    }

    /// Runs a task until it ends or the pool is shut down.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // Boxed without its type: a task may spawn the like of itself.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits until `holds`, at most so long; says whether it came to hold.
    pub async fn until(&self, within: Duration, holds: impl Fn(&Pool) -> bool) -> bool {
        let mut changes = self.version.subscribe();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            changes.borrow_and_update();
            if self.look(|pool| holds(pool)) {
                return true;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return false },
                () = tokio::time::sleep_until(deadline) => return self.look(|pool| holds(pool)),
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Changes as they come; for those who follow the narration.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// Lets time pass for the pool.
pub(super) async fn keep_house(shared: Arc<Shared>) {
    let mut beat = tokio::time::interval(Duration::from_millis(25));
    loop {
        beat.tick().await;
        if shared.look(Pool::housekeep) {
            shared.with(|_| ());
        }
    }
}

/// Accepts connections of one origin; while the pool is down nothing listens there.
pub(super) async fn listen(shared: Arc<Shared>, origin: Origin, listener: TcpListener, address: SocketAddr) {
    let mut listener = Some(listener);
    let mut down = shared.down.subscribe();
    loop {
        let Some(open) = listener.as_ref().filter(|_| !*down.borrow_and_update()) else {
            listener = None;
            if down.wait_for(|d| !d).await.is_err() {
                return;
            }
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                // The port is taken for a moment; it was ours and will be again.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => match accepted {
                Ok((stream, _)) => shared.spawn(converse(Arc::clone(&shared), origin, stream)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            changed = down.changed() => if changed.is_err() { return },
        }
    }
}

/// One connection, until it ends or the pool wants it to.
async fn converse(shared: Arc<Shared>, origin: Origin, stream: TcpStream) {
    let mut down = shared.down.subscribe();
    let mut cut = shared.cut.subscribe();
    cut.borrow_and_update();
    if *down.borrow_and_update() {
        return;
    }
    let mut connection = Connection::new(stream);
    let interrupted = tokio::select! {
        // A pool that goes down answers nothing more, not even what it could.
        biased;
        _ = down.wait_for(|d| *d) => true,
        _ = cut.changed() => true,
        () = serve(&shared, origin, &mut connection) => false,
    };
    if interrupted {
        connection.reset();
    }
}

async fn serve(shared: &Arc<Shared>, origin: Origin, connection: &mut Connection) {
    loop {
        let request = match connection.next_request().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => {
                let _ = connection.send(&Reply::html(400, "<html><body>Bad Request</body></html>"), true).await;
                return;
            }
        };
        let close = request.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        let effect = shared.look(|pool| pool.faults.meet(&request));
        if let Some(Effect::Stall(length)) = effect {
            tokio::select! {
                () = tokio::time::sleep(length) => {}
                () = connection.gone() => return,
            }
        }
        let instead = effect.as_ref().and_then(|e| fault::instead(e, || shared.look(|pool| pool.challenge(origin))));
        let (reply, batch) = match instead {
            Some(reply) => (reply, None),
            None => match answer(shared, origin, &request, connection).await {
                Some(answer) => answer,
                None => return,
            },
        };
        let reply = match &effect {
            Some(effect) => fault::spoil(effect, reply),
            None => reply,
        };
        match connection.send(&reply, close).await {
            Ok(go_on) => {
                if let Some((app, number)) = batch.filter(|_| !effect.as_ref().is_some_and(fault::loses_answer)) {
                    shared.with(|pool| pool.sent(&app, number));
                }
                if !go_on {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The answer to a request and, for the channel, the batch it carries. `None`: the client has gone while it was held.
async fn answer(
    shared: &Arc<Shared>,
    origin: Origin,
    request: &Request,
    connection: &mut Connection,
) -> Option<(Reply, Option<(String, u64)>)> {
    let (app, hold) = match shared.with(|pool| pool.handle(origin, request)) {
        Response::Reply(reply) => return Some((reply, None)),
        Response::Poll { app, hold } => (app, hold),
    };
    let abandon = Abandon { shared, app: app.clone(), hold };
    let mut changes = shared.version.subscribe();
    loop {
        changes.borrow_and_update();
        let wait = match shared.look(|pool| pool.poll(&app, &hold)) {
            Ok((reply, number)) => {
                drop(abandon);
                shared.version.send_modify(|v| *v += 1);
                return Some((reply, Some((app, number))));
            }
            Err(until) => Duration::from_millis(until.saturating_sub(shared.now_ms()).max(1)),
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(wait) => {}
            () = connection.gone() => return None,
        }
    }
}

/// Gives a held poll up when its connection ends, however it ends.
struct Abandon<'a> {
    shared: &'a Arc<Shared>,
    app: String,
    hold: super::channel::Hold,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.shared.look(|pool| {
            if let Some(app) = pool.apps.get_mut(&self.app) {
                app.channel.abandon(&self.hold);
            }
        });
    }
}
