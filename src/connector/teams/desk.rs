//! What all tasks of the connector share.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::change::Item;
use super::chats::Owed;
use super::client::Client;
use super::config::ResolvedTeams;
use super::conversations::Conversations;
use super::offer::Rules;
use super::ring::Keys;
use super::seal::KeyStore;
use super::trust::{Expected, KeySet, Refusal};
use super::upkeep::Upkeep;
use crate::capture::{Alias, Append, Appended, EnvelopeId, Kept, Known, SinkError, StoredEnvelope};
use crate::connector::Context;
use crate::model::Timestamp;

/// Whose keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// The calling service.
    Calls,
    /// The Bot Connector.
    Bot,
}

/// What all tasks of the connector share.
pub(super) struct Desk {
    pub(super) config: ResolvedTeams,
    pub(super) context: Context,
    pub(super) client: Client,
    pub(super) conversations: Conversations,
    pub(super) calls: Calls,
    pub(super) upkeep: Upkeep,
    /// Something was stored that the reading of chats has to look at.
    pub(super) arrived: Notify,
    pub(super) seals: RwLock<KeyStore>,
    pub(super) keys_of_calls: Keys,
    pub(super) keys_of_notifications: Keys,
    pub(super) keys_of_bot: Keys,
    /// Who may invite.
    pub(super) rules: Rules,
    /// The last sign of life of an earlier run.
    pub(super) last_seen: Option<Timestamp>,
    /// Cancelled when the calls are left: who waits for an archive that refuses waits no longer.
    pub(super) over: CancellationToken,
    /// The way of gaps to the reading of chats, which knows the conversations.
    pub(super) gaps: mpsc::UnboundedSender<Owed>,
}

impl Desk {
    pub(super) fn name(&self) -> &str {
        &self.context.source.connector
    }

    pub(super) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// Bits for identifiers; nothing secret depends on them.
    pub(super) fn random(&self) -> [u8; 10] {
        let mut bits = [0; 10];
        fastrand::fill(&mut bits);
        bits
    }

    pub(super) fn keys(&self, ring: Ring) -> &Keys {
        match ring {
            Ring::Calls => &self.keys_of_calls,
            Ring::Bot => &self.keys_of_bot,
        }
    }

    /// Checks a token with the keys of its service; asks once for new keys if the token's is not known. `None` while there
    /// are no keys at all.
    pub(super) async fn checked<T>(
        &self,
        ring: Ring,
        check: impl Fn(&KeySet, Timestamp) -> Result<T, Refusal>,
    ) -> Option<Result<T, Refusal>> {
        let keys = self.keys(ring);
        let mut verdict = check(&*keys.current().await?, self.now());
        if matches!(verdict, Err(Refusal::UnknownKey)) && keys.renewed().await {
            verdict = check(&*keys.current().await?, self.now());
        }
        Some(verdict)
    }

    /// Whom tokens must be from, and for.
    pub(super) fn expected<'e>(&'e self, issuers: &'e [String]) -> Expected<'e> {
        Expected { issuers, client_id: &self.config.client_id }
    }

    /// Whether an item bears the secret of one of our subscriptions.
    pub(super) fn knows(&self, item: &Item) -> bool {
        item.client_state.as_deref().is_some_and(|state| self.upkeep.knows(&item.subscription, state))
    }

    /// Stores a batch; goes on trying while the archive refuses for the moment.
    ///
    /// # Errors
    /// The archive refuses for good.
    pub(super) async fn append(&self, batch: Append) -> Result<Appended, SinkError> {
        let appended = self.trying(|| self.context.sink.append(&self.context.source, batch.clone())).await?;
        self.context.stored();
        Ok(appended)
    }

    /// See [`crate::capture::Sink::conversation_of`]; goes on trying.
    pub(super) async fn conversation_of(&self, aliases: &[Alias]) -> Result<Option<Known>, SinkError> {
        self.trying(|| self.context.sink.conversation_of(&self.context.source, aliases)).await
    }

    /// See [`crate::capture::Sink::pending`]; goes on trying.
    pub(super) async fn pending(
        &self,
        after: Option<EnvelopeId>,
        most: usize,
    ) -> Result<Vec<StoredEnvelope>, SinkError> {
        self.trying(|| self.context.sink.pending(&self.context.source, after, most)).await
    }

    /// See [`crate::capture::Sink::recall`]; goes on trying.
    pub(super) async fn recall(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, SinkError> {
        self.trying(|| self.context.sink.recall(&self.context.source, keys.clone())).await
    }

    /// See [`crate::capture::Sink::keep`]; goes on trying. A file that cannot be kept holds up its message and nothing else:
    /// it does not mean that the archive refuses.
    pub(super) async fn keep(&self, bytes: Bytes) -> Result<Kept, SinkError> {
        let mut told = false;
        loop {
            let error = match self.context.sink.keep(bytes.clone()).await {
                Ok(kept) => return Ok(kept),
                Err(error) => error,
            };
            let Some(wait) = error.retry_after else { return Err(error) };
            if !std::mem::replace(&mut told, true) {
                self.context.health.count("attachments_waiting");
                tracing::error!(connector.name = self.name(), "{}: {error}; its message waits", self.name());
            }
            tokio::select! {
                () = tokio::time::sleep(wait.max(Duration::from_millis(10))) => {}
                () = self.over.cancelled() => return Err(error),
            }
        }
    }

    /// The address of ours that ends with this path.
    pub(super) fn callback(&self, path: &str) -> String {
        format!("{}{path}", self.config.callback_url.as_str().trim_end_matches('/'))
    }

    /// Goes on trying what the port refuses for the moment, until the end.
    pub(super) async fn trying<T, F>(&self, act: impl Fn() -> F) -> Result<T, SinkError>
    where
        F: Future<Output = Result<T, SinkError>>,
    {
        let mut trying = None;
        loop {
            match act().await {
                Ok(done) => {
                    if let Some(trying) = trying {
                        drop(trying);
                        self.context.stored();
                    }
                    return Ok(done);
                }
                Err(error) => {
                    let Some(wait) = error.retry_after else { return Err(error) };
                    trying.get_or_insert_with(|| self.context.refused_again(&error));
                    tokio::select! {
                        () = tokio::time::sleep(wait.max(Duration::from_millis(10))) => {}
                        () = self.over.cancelled() => return Err(error),
                    }
                }
            }
        }
    }

    pub(super) fn seals(&self) -> std::sync::RwLockReadGuard<'_, KeyStore> {
        self.seals.read().unwrap_or_else(PoisonError::into_inner)
    }
}
