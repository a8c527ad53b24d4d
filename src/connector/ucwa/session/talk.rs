//! One conversation as the connector sees it: what was recorded of it (durable) and how we take part in it (not).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::capture::{Alias, EnvelopeId};
use crate::model::{ConversationId, Person, Timestamp};

use super::super::wire::ChannelEvent;

/// The absolute URL of a UCWA conversation; dies with the application.
pub type TalkKey = String;

/// A conversation handle of the server and what we know of it.
///
/// The serialised part is kept in the connector's cursor (`talk/<href>`), in the same transaction as the events it
/// results from, so a restart goes on where the last durable event left off.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Talk {
    /// Our id; `None` until the archive has been asked whether it knows the conversation.
    pub id: Option<ConversationId>,
    /// `threadId`.
    pub thread: Option<String>,
    /// `onlineMeetingUri`.
    pub meeting: Option<String>,
    /// Subject as last recorded.
    pub subject: Option<String>,
    /// State as last recorded.
    pub state: Option<String>,
    /// Active modalities as last recorded, lower case.
    pub modalities: Vec<String>,
    /// `conversation.started` is recorded.
    pub started: bool,
    /// `conversation.ended` is recorded for this handle.
    pub ended: bool,
    /// `recording.started` is recorded and not stopped since.
    pub recording: bool,
    /// The messages recorded are those of a conference: others speak there without us.
    #[serde(default)]
    pub conference: bool,
    /// Since when we are in the conversation without receiving its messages.
    pub uncovered: Option<Uncovered>,
    /// What became of the notice.
    pub notice: Notice,
    /// Who is there, by participant id.
    pub roster: BTreeMap<String, Presence>,
    /// Participant resources seen, by absolute URL.
    pub people: BTreeMap<String, Person>,
    /// Who shares a screen or program; the end of sharing does not tell.
    #[serde(default)]
    pub sharer: Option<Person>,
    /// Absolute URL of an accepted invitation whose outcome is not recorded; looked at again after a restart.
    #[serde(default)]
    pub open_invitation: Option<String>,
    /// A text that came inside the invitation and may come once more as a message.
    pub first_text: Option<FirstText>,
    /// Messages recorded at `started`, by absolute URL; their `completed` is not another message.
    pub early: Vec<String>,
    /// Somebody else has been there.
    #[serde(default)]
    pub had_company: bool,
    /// We were put out; never rejoin.
    pub ejected: bool,
    /// Policy declined it: nothing said in it is recorded.
    pub declined: bool,
    /// Lookup of `id` is under way.
    #[serde(skip)]
    pub finding: bool,
    /// How we take part.
    #[serde(skip)]
    pub part: Part,
    /// Channel events waiting to be recorded, in order.
    #[serde(skip)]
    pub queue: VecDeque<Item>,
    /// The durable part changed since it was last written.
    #[serde(skip)]
    pub changed: bool,
}

impl Talk {
    /// The platform's identifiers by which the archive may know this conversation, best first.
    pub fn aliases(&self, incarnation: &str, key: &TalkKey) -> Vec<Alias> {
        let mut list = vec![Alias { scope: "href".into(), value: format!("{incarnation} {key}") }];
        for (scope, value) in [("meeting", &self.meeting), ("thread", &self.thread)] {
            if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
                list.push(Alias { scope: scope.into(), value: value.clone() });
            }
        }
        list
    }

    /// Another handle of the same conversation, by thread or meeting.
    pub fn same_as(&self, thread: Option<&str>, meeting: Option<&str>) -> bool {
        let same = |a: &Option<String>, b: Option<&str>| a.as_deref().is_some_and(|a| !a.is_empty() && Some(a) == b);
        same(&self.thread, thread) || same(&self.meeting, meeting)
    }

    /// People who are there and not waiting in the lobby.
    pub fn present(&self) -> usize {
        self.roster.values().filter(|p| p.in_lobby != Some(true)).count()
    }
}

/// An interval in which we are in the conversation but its messages do not reach us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncovered {
    /// From when, our clock.
    pub since: Timestamp,
    /// Why.
    pub cause: String,
    /// Messages may have been missed however short it was.
    pub certain: bool,
}

/// What became of the notice in one conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// Not sent yet.
    #[default]
    Due,
    /// POSTed under this operation id; the server has not confirmed it.
    Sending {
        /// Our operation id.
        operation: String,
        /// Absolute URL of the message, once the server named it.
        href: Option<String>,
        /// POSTs so far.
        tries: u32,
    },
    /// Confirmed, or recorded in an earlier run.
    Sent,
    /// The server refused it.
    Failed,
}

/// Somebody in the conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Name as last told.
    pub name: Option<String>,
    /// Role as last told.
    pub role: Option<String>,
    /// Waiting for admission.
    pub in_lobby: Option<bool>,
}

/// The text of an invitation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstText {
    /// Who wrote it.
    pub from: String,
    /// The decoded text.
    pub text: String,
    /// When it reached us, our clock.
    pub at: Timestamp,
}

/// How we take part in a conversation right now; rebuilt by asking the server.
#[derive(Debug, Default)]
pub struct Part {
    /// Newest state of the conversation resource.
    pub state: Option<String>,
    /// Absolute URL of an incoming invitation that is not completed.
    pub invitation: Option<String>,
    /// The state was asked for because the channel told of our messaging only.
    pub asked_state: bool,
    /// Newest state of our `messaging`.
    pub messaging: Option<String>,
    /// How often the channel told of our messaging: what was asked before is older.
    pub told: u32,
    /// Absolute URL of `messaging`.
    pub messaging_href: Option<String>,
    /// Newest `addMessaging`.
    pub add: Option<String>,
    /// Newest `sendMessage`.
    pub send: Option<String>,
    /// Newest `stopMessaging`.
    pub stop: Option<String>,
    /// Links of the conversation that list people: rel and URL.
    pub lists: Vec<(String, String)>,
    /// addMessaging is under way: sent, or taken by the server and not yet connected. One at a time.
    pub joining: bool,
    /// GET messaging is under way.
    pub looking: bool,
    /// Something changed meanwhile: its answer may be older, look once more.
    pub look_again: bool,
    /// addMessaging was refused so often in a row.
    pub refusals: u32,
    /// The pause after a refusal is running.
    pub rested: bool,
    /// Operation id of the current addMessaging, kept over its repetitions.
    pub operation: Option<String>,
    /// The roster comparison under way.
    pub census: Option<Census>,
    /// The opening roster has been compared.
    pub roster_known: bool,
    /// `participantCount` as last told (we are included).
    pub count: Option<i64>,
    /// We are on our way out, and why.
    pub leaving: Option<Leaving>,
    /// This handle is known to be gone at the server.
    pub gone: bool,
}

/// Why and how far we are leaving.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaving {
    /// One sentence fragment for `conversation.ended`.
    pub why: &'static str,
    /// DELETE was answered.
    pub done: bool,
}

/// A comparison of the server's lists with our roster.
#[derive(Debug, Default)]
pub struct Census {
    /// Requests still out.
    pub open: usize,
    /// Every list could be read.
    pub whole: bool,
    /// Who was listed: participant URL, embedded resource if there was one, list it stood in.
    pub listed: Vec<(String, Option<super::super::wire::Resource>, String)>,
    /// It was made to decide whether we are alone.
    pub for_leaving: bool,
}

/// When a batch came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Received at, our clock.
    pub at: Timestamp,
    /// Since when, our clock, the channel could have told of it: the beginning of an interruption that it ended.
    pub earliest: Timestamp,
    /// HTTP `Date`.
    pub date: Option<Timestamp>,
}

/// One event of the channel on its way into the record.
#[derive(Debug, Clone)]
pub struct Item {
    /// The stored batch; `None` for facts found by asking (roster check).
    pub envelope: Option<EnvelopeId>,
    /// Identity of the event: incarnation, batch URL, sender, link, type, ordinal.
    pub key: String,
    /// Received at, our clock.
    pub at: Timestamp,
    /// It may have happened from here on, our clock: before `at` when the channel was out just before it came.
    pub earliest: Timestamp,
    /// HTTP `Date` of the batch.
    pub date: Option<Timestamp>,
    /// Rel of the sender.
    pub sender: String,
    /// Absolute URL of the sender.
    pub sender_href: String,
    /// Absolute URL of the event's link.
    pub href: String,
    /// The event.
    pub event: ChannelEvent,
    /// What the rest of the batch says about the same participant.
    pub hint: Hint,
    /// Facts only: do not act on it (an earlier application's events).
    pub history: bool,
}

/// What other events of the same batch say about the participant of this one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hint {
    /// Role view it was added to.
    pub role: Option<String>,
    /// It was added to the conversation or a role view.
    pub admitted: bool,
    /// It was deleted from the conversation.
    pub left: bool,
    /// Found by the roster check.
    pub by_census: bool,
    /// The conversation of the event ends in the same batch.
    pub ends: bool,
}
