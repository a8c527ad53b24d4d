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
        let mut known = self.known.lock().await;
        if let Some(here) = known.find(desk, aliases).await? {
            return Ok(here);
        }
        let id = ConversationId::new(desk.now(), desk.random());
        known.by_id.insert(id.clone(), State::default());
        for alias in aliases {
            known.by_alias.insert(alias.clone(), id.clone());
        }
        Ok(State::default().of(id))
    }

    /// The conversation of a chat, if the archive has it.
    pub(super) async fn of_thread(&self, desk: &Desk, id: &str) -> Result<Option<ConversationId>, SinkError> {
        let mut known = self.known.lock().await;
        let found = known.owner(desk, &thread(id)).await?;
        Ok(found.filter(|id| known.by_id.get(id).is_none_or(|state| state.stored)))
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
    async fn find(&mut self, desk: &Desk, aliases: &[Alias]) -> Result<Option<Here>, SinkError> {
        let mut found: Option<ConversationId> = None;
        let mut free = Vec::new();
        for alias in aliases {
            match self.owner(desk, alias).await? {
                Some(id) => found = found.or(Some(id)),
                None => free.push(alias),
            }
        }
        let Some(id) = found else { return Ok(None) };
        for alias in free {
            self.by_alias.insert(alias.clone(), id.clone());
        }
        let state = self.by_id.get(&id).copied().unwrap_or_default();
        Ok(Some(state.of(id)))
    }

    async fn owner(&mut self, desk: &Desk, alias: &Alias) -> Result<Option<ConversationId>, SinkError> {
        if let Some(id) = self.by_alias.get(alias) {
            return Ok(Some(id.clone()));
        }
        let Some(stored) = desk.conversation_of(std::slice::from_ref(alias)).await? else { return Ok(None) };
        let (started, notice_sent) = (stored.started, stored.notice_sent);
        self.by_id.entry(stored.id.clone()).or_insert(State { started, notice_sent, of_call: false, stored: true });
        self.by_alias.insert(alias.clone(), stored.id.clone());
        Ok(Some(stored.id))
    }
}
