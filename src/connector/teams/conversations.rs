//! Which of our conversations a call or chat belongs to.
//!
//! A call and its chat, and all legs of one call chain, are one conversation (INTERFACES §7). The archive knows
//! conversations by aliases; what has been given an id and is not stored yet is remembered here, so that calls and chats,
//! which are read side by side, never open two for one.

use std::collections::HashMap;

use tokio::sync::Mutex;

use super::desk::Desk;
use crate::capture::{Alias, SinkError};
use crate::model::ConversationId;

/// Aliases remembered; beyond, those that are stored are forgotten and asked for again.
const REMEMBERED: usize = 100_000;

/// A conversation as far as the connector has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) id: ConversationId,
    /// `conversation.started` is logged, or on its way.
    pub(super) started: bool,
    /// `notice.sent` is logged, or on its way.
    pub(super) notice_sent: bool,
    /// It began as a call of this run.
    pub(super) of_call: bool,
}

#[derive(Default)]
pub(super) struct Conversations {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_alias: HashMap<Alias, ConversationId>,
    by_id: HashMap<ConversationId, State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    started: bool,
    notice_sent: bool,
    of_call: bool,
    stored: bool,
}

impl State {
    fn of(self, id: ConversationId) -> Here {
        Here { id, started: self.started, notice_sent: self.notice_sent, of_call: self.of_call }
    }
}

/// `thread`: the chat's id; `chain`: tenant and call chain; `call`: one leg.
pub(super) fn thread(id: &str) -> Alias {
    Alias { scope: "thread".into(), value: id.to_owned() }
}

impl Conversations {
    /// The conversation that bears any of these aliases, the first in the list that is known; opens one if none is. All of
    /// them bear it afterwards, but for those that are another's.
    pub(super) async fn find_or_open(&self, desk: &Desk, aliases: &[Alias]) -> Result<Here, SinkError> {
        self.learn(desk, aliases).await?;
        Ok(self.learnt(desk, aliases).await)
    }

    /// The same for aliases that the archive was asked for already ([`Self::learn`]).
    pub(super) async fn learnt(&self, desk: &Desk, aliases: &[Alias]) -> Here {
        let mut known = self.known.lock().await;
        if let Some(here) = known.find(aliases) {
            return here;
        }
        let id = ConversationId::new(desk.now(), desk.random());
        known.by_id.insert(id.clone(), State::default());
        for alias in aliases {
            known.by_alias.insert(alias.clone(), id.clone());
        }
        State::default().of(id)
    }

    /// The conversation of a chat, if the archive has it.
    pub(super) async fn of_thread(&self, desk: &Desk, id: &str) -> Result<Option<ConversationId>, SinkError> {
        let alias = thread(id);
        self.learn(desk, std::slice::from_ref(&alias)).await?;
        let known = self.known.lock().await;
        let found = known.by_alias.get(&alias);
        Ok(found.filter(|id| known.by_id.get(id).is_none_or(|state| state.stored)).cloned())
    }

    /// Asks the archive for what is not known here. Nothing is held meanwhile: an archive that does not answer must not hold
    /// up those who ask for what is known.
    pub(super) async fn learn(&self, desk: &Desk, aliases: &[Alias]) -> Result<(), SinkError> {
        for alias in aliases {
            if self.known.lock().await.by_alias.contains_key(alias) {
                continue;
            }
            let Some(stored) = desk.conversation_of(std::slice::from_ref(alias)).await? else { continue };
            let mut known = self.known.lock().await;
            let state =
                State { started: stored.started, notice_sent: stored.notice_sent, of_call: false, stored: true };
            known.by_id.entry(stored.id.clone()).or_insert(state);
            known.by_alias.entry(alias.clone()).or_insert(stored.id);
        }
        Ok(())
    }

    /// It belongs to a call, which tells of its beginning and end.
    pub(super) async fn is_of_call(&self, id: &ConversationId) {
        self.known.lock().await.by_id.entry(id.clone()).or_default().of_call = true;
    }

    /// Whether a call of this run tells of it.
    pub(super) async fn of_call(&self, id: &ConversationId) -> bool {
        self.known.lock().await.by_id.get(id).is_some_and(|state| state.of_call)
    }

    /// `conversation.started` is on its way; false if it had been before.
    pub(super) async fn start(&self, id: &ConversationId) -> bool {
        let mut known = self.known.lock().await;
        known.by_id.get_mut(id).is_none_or(|state| !std::mem::replace(&mut state.started, true))
    }

    /// The notice is on its way; false if it had been before.
    pub(super) async fn notify(&self, id: &ConversationId) -> bool {
        let mut known = self.known.lock().await;
        known.by_id.get_mut(id).is_none_or(|state| !std::mem::replace(&mut state.notice_sent, true))
    }

    /// The notice did not go out after all.
    pub(super) async fn unnotified(&self, id: &ConversationId) {
        if let Some(state) = self.known.lock().await.by_id.get_mut(id) {
            state.notice_sent = false;
        }
    }

    /// The archive has the conversation and its aliases.
    pub(super) async fn stored<'i>(&self, ids: impl Iterator<Item = &'i ConversationId>) {
        let mut known = self.known.lock().await;
        for id in ids {
            if let Some(state) = known.by_id.get_mut(id) {
                state.stored = true;
            }
        }
        if known.by_alias.len() > REMEMBERED {
            let Known { by_alias, by_id } = &mut *known;
            by_id.retain(|_, state| !state.stored);
            by_alias.retain(|_, id| by_id.contains_key(id));
        }
    }
}

impl Known {
    fn find(&mut self, aliases: &[Alias]) -> Option<Here> {
        let id = aliases.iter().find_map(|alias| self.by_alias.get(alias).cloned())?;
        for alias in aliases {
            self.by_alias.entry(alias.clone()).or_insert_with(|| id.clone());
        }
        let state = self.by_id.get(&id).copied().unwrap_or_default();
        Some(state.of(id))
    }
}
