//! The keys with which one service signs its tokens, kept fresh: the key ring with its requests performed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use url::Url;

use super::ask::Reply;
use super::client::Client;
use super::trust::KeySet;
use super::trust::keyring::{Action, Fetch, Input, KeyRing};
use crate::clock::Clock;

/// How long somebody who waits for keys may wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// One service's keys.
pub(super) struct Keys {
    ring: Mutex<KeyRing>,
    /// The keys, and whether the newest try to fetch them failed.
    current: watch::Sender<(Option<Arc<KeySet>>, bool)>,
    /// Counts refreshes that have ended, good or bad.
    ended: watch::Sender<u64>,
    wanted: mpsc::UnboundedSender<Fetch>,
    fetches: Mutex<mpsc::UnboundedReceiver<Fetch>>,
    clock: Arc<dyn Clock>,
}

impl Keys {
    pub(super) fn new(openid_url: &str, clock: Arc<dyn Clock>) -> Keys {
        let (wanted, fetches) = mpsc::unbounded_channel();
        Keys {
            ring: Mutex::new(KeyRing::new(openid_url)),
            current: watch::Sender::new((None, false)),
            ended: watch::Sender::new(0),
            wanted,
            fetches: Mutex::new(fetches),
            clock,
        }
    }

    /// The keys, waiting a little for the first ones. `None` = they cannot be had.
    pub(super) async fn current(&self) -> Option<Arc<KeySet>> {
        let mut current = self.current.subscribe();
        let found = current.wait_for(|(keys, failing)| keys.is_some() || *failing);
        let found = tokio::time::timeout(PATIENCE, found).await.ok()?.ok()?;
        found.0.clone()
    }

    /// The keys, without waiting for them.
    pub(super) fn at_hand(&self) -> Option<Arc<KeySet>> {
        self.current.borrow().0.clone()
    }

    /// Asks for new keys because one was not known, and waits for nothing.
    pub(super) async fn nudge(&self) {
        let mut ring = self.ring.lock().await;
        let actions = ring.handle(Input::UnknownKey, self.clock.now());
        self.perform(&ring, actions);
    }

    /// Asks for new keys because one was not known; waits until that is done. False if it was asked for too often.
    pub(super) async fn renewed(&self) -> bool {
        let mut ended = self.ended.subscribe();
        ended.borrow_and_update();
        let refreshing = {
            let mut ring = self.ring.lock().await;
            let actions = ring.handle(Input::UnknownKey, self.clock.now());
            self.perform(&ring, actions);
            ring.refreshing()
        };
        refreshing && matches!(tokio::time::timeout(PATIENCE, ended.changed()).await, Ok(Ok(())))
    }

    fn perform(&self, ring: &KeyRing, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Fetch(fetch) => {
                    let _ = self.wanted.send(fetch);
                }
                Action::Settled { .. } => {
                    self.current.send_replace((ring.keys().cloned().map(Arc::new), ring.failing()));
                    self.ended.send_modify(|count| *count += 1);
                }
                Action::Warn(text) => tracing::warn!("{text}"),
            }
        }
    }

    /// Fetches when it is due, for ever.
    pub(super) async fn keep(&self, client: &Client) {
        let mut fetches = self.fetches.lock().await;
        loop {
            let pause = {
                let mut ring = self.ring.lock().await;
                let actions = ring.handle(Input::Tick, self.clock.now());
                self.perform(&ring, actions);
                ring.deadline().since(self.clock.now())
            };
            let fetch = tokio::select! {
                Some(fetch) = fetches.recv() => fetch,
                () = tokio::time::sleep(pause + Duration::from_millis(1)) => continue,
            };
            let answer = match Url::parse(fetch.url()) {
                Ok(url) => match client.public(&url).await {
                    Reply::Answer { status: 200, body, .. } => Ok(body),
                    other => Err(other.trouble()),
                },
                Err(_) => Err("the address is no URL".to_owned()),
            };
            let mut ring = self.ring.lock().await;
            let actions = ring.handle(Input::Fetched(fetch, answer), self.clock.now());
            self.perform(&ring, actions);
        }
    }
}
