//! One access token, kept warm: the token desk with its requests performed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};

use super::client::Client;
use super::config::ResolvedTeams;
use super::token::{Step, TokenDesk};
use crate::clock::Clock;
use crate::connector::secret::Secret;

/// A token for one audience.
pub(super) struct Purse {
    desk: Mutex<TokenDesk>,
    current: watch::Sender<Option<Secret>>,
    trouble: watch::Sender<Option<String>>,
    wake: Notify,
}

impl Purse {
    /// For this scope of this authority.
    ///
    /// # Errors
    /// What is wrong with the credential.
    pub(super) fn new(config: &ResolvedTeams, authority: &str, scope: &str) -> Result<Purse, String> {
        Ok(Purse {
            desk: Mutex::new(TokenDesk::new(
                &config.endpoints.login_url,
                authority,
                scope,
                &config.client_id,
                config.credential.clone(),
            )?),
            current: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
            wake: Notify::new(),
        })
    }

    /// The token; waits for one at most so long.
    pub(super) async fn token(&self, patience: Duration) -> Option<Secret> {
        let mut current = self.current.subscribe();
        let found = tokio::time::timeout(patience, current.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// Whether there is a token, and how that changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Secret>> {
        self.current.subscribe()
    }

    /// Why there is none, in words for an alarm.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// The service refused this token: the next [`Purse::token`] waits for another.
    pub(super) async fn spent(&self, token: &Secret) {
        let mut desk = self.desk.lock().await;
        if self.current.borrow().as_ref() == Some(token) {
            self.current.send_replace(None);
            desk.discard();
            self.wake.notify_one();
        }
    }

    /// Fetches and renews, for ever.
    pub(super) async fn keep(&self, client: &Client, clock: &Arc<dyn Clock>) {
        loop {
            let step = self.desk.lock().await.step(clock.now(), fastrand::u128(..));
            match step {
                Step::Ask { url, form } => {
                    let answer = client.form(&url, form).await;
                    let mut desk = self.desk.lock().await;
                    let (status, json) = (answer.status(), answer.json());
                    desk.answered((status != 0).then_some((status, &json)), clock.now(), fastrand::f64());
                    self.current.send_replace(desk.current(clock.now()));
                    self.trouble.send_replace(desk.trouble().map(str::to_owned));
                }
                Step::WaitUntil(time) => {
                    tokio::select! {
                        () = tokio::time::sleep(time.since(clock.now()) + Duration::from_millis(1)) => {}
                        () = self.wake.notified() => {}
                    }
                    // What has run out meanwhile is no token any more.
                    let current = self.desk.lock().await.current(clock.now());
                    self.current.send_if_modified(|held| {
                        let changed = *held != current;
                        *held = current;
                        changed
                    });
                }
            }
        }
    }
}
