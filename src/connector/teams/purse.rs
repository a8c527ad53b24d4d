//! One access token, kept warm: the token desk with its requests performed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use url::Url;

use super::ask::Reply;
use super::client::Client;
use super::config::{Credential, ResolvedTeams};
use super::token::{Action, Input, Token, TokenDesk, TokenRequest};
use crate::clock::Clock;

/// Whether a token is wanted before anybody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// From the start.
    Always,
    /// When it is needed for the first time.
    Asked,
}

/// A token for one audience.
pub(super) struct Purse {
    desk: Mutex<TokenDesk>,
    current: watch::Sender<Option<Token>>,
    trouble: watch::Sender<Option<String>>,
    wake: Notify,
    wanted: watch::Sender<bool>,
}

impl Purse {
    /// For this scope of this authority.
    ///
    /// # Errors
    /// What is wrong with the credential.
    pub(super) fn new(config: &ResolvedTeams, authority: &str, scope: &str, when: When) -> Result<Purse, String> {
        let endpoints = &config.endpoints;
        let desk =
            TokenDesk::new(&endpoints.login_url, authority, &config.client_id, scope, &config.proof, fastrand::u64(..));
        Ok(Purse {
            desk: Mutex::new(desk.map_err(|problem| format!("certificate_file and private_key_file: {problem}"))?),
            current: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
            wake: Notify::new(),
            wanted: watch::Sender::new(when == When::Always),
        })
    }

    /// The token; waits for one at most so long.
    pub(super) async fn token(&self, patience: Duration) -> Option<Token> {
        self.wanted.send_replace(true);
        let mut current = self.current.subscribe();
        let found = tokio::time::timeout(patience, current.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// The service refused the token of this number: waits for another.
    pub(super) async fn another(&self, number: u64, clock: &Arc<dyn Clock>, patience: Duration) -> Option<Token> {
        let _ = self.desk.lock().await.handle(Input::Rejected(number), clock.now());
        self.wake.notify_one();
        let mut current = self.current.subscribe();
        let other = current.wait_for(|token| token.as_ref().is_some_and(|token| token.number != number));
        tokio::time::timeout(patience, other).await.ok()?.ok()?.clone()
    }

    /// Uses these credentials from now on; whether they are others than before.
    ///
    /// # Errors
    /// What is wrong with them; those before stay.
    pub(super) async fn renew_credential(
        &self,
        credential: &Credential,
        clock: &Arc<dyn Clock>,
    ) -> Result<bool, String> {
        let renewed = self.desk.lock().await.renew_credential(credential, clock.now());
        if matches!(renewed, Ok(true)) {
            self.wake.notify_one();
        }
        renewed.map_err(|problem| format!("certificate_file and private_key_file: {problem}"))
    }

    /// Whether there is a token, and how that changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Token>> {
        self.current.subscribe()
    }

    /// Why there is none, in words for an alarm.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Fetches and renews, for ever.
    pub(super) async fn keep(&self, client: &Client, clock: &Arc<dyn Clock>) {
        let mut wanted = self.wanted.subscribe();
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        loop {
            let actions = self.desk.lock().await.handle(Input::Tick, clock.now());
            self.perform(client, clock, actions).await;
            let pause = self.desk.lock().await.deadline().since(clock.now());
            tokio::select! {
                () = tokio::time::sleep(pause + Duration::from_millis(1)) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    async fn perform(&self, client: &Client, clock: &Arc<dyn Clock>, actions: Vec<Action>) {
        let mut actions = std::collections::VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Request(request) => {
                    let input = ask(client, &request).await;
                    actions.extend(self.desk.lock().await.handle(input, clock.now()));
                }
                Action::Ready => {
                    self.trouble.send_replace(None);
                }
                Action::Alarm(text) => {
                    self.trouble.send_replace(Some(text));
                }
                Action::Warn(text) => {
                    tracing::warn!("{text}");
                    if self.current.borrow().is_none() {
                        self.trouble.send_replace(Some(text));
                    }
                }
            }
            self.current.send_replace(self.desk.lock().await.current(clock.now()).cloned());
        }
    }
}

async fn ask(client: &Client, request: &TokenRequest) -> Input {
    let Ok(url) = Url::parse(&request.url) else { return Input::Unreachable("login_url is no URL".to_owned()) };
    let form = {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &request.form {
            form.append_pair(name, value.expose());
        }
        form.finish()
    };
    match client.form(&url, form).await {
        (Reply::Answer { status, body, .. }, retry_after) => Input::Answered { status, retry_after, body },
        (Reply::Failed(why), _) => Input::Unreachable(why),
    }
}
