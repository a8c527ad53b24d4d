//! What the tenant knows to be true: said, joined, called, sent, asked. Tests compare an archive with it.

use std::collections::BTreeMap;

use serde_json::Value;

/// What made a version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was sent.
    Sent,
    /// Its text was changed.
    Edited,
    /// It was deleted softly.
    Deleted,
    /// The deletion was undone.
    Undeleted,
    /// Somebody reacted.
    Reacted,
    /// Somebody took a reaction back.
    Unreacted,
}

/// One version of a message.
#[derive(Clone, Debug)]
pub struct Version {
    /// What made it.
    pub change: Change,
    /// `etag`: milliseconds since 1970, as text.
    pub etag: String,
    /// Milliseconds since the tenant started.
    pub at_ms: u64,
    /// Object id of who made it; empty for nobody.
    pub by: String,
    /// The reaction added or removed; else empty.
    pub reaction: String,
    /// The whole `chatMessage` as of then.
    pub json: Value,
    /// A notification about it was answered with success.
    pub acknowledged: bool,
    /// It was given out in an answer of Graph.
    pub read: bool,
}

/// A message with all its versions.
#[derive(Clone, Debug)]
pub struct Said {
    /// Id of the message, unique in its chat.
    pub id: String,
    /// Object id of the sender, or the application's id; empty for system messages.
    pub from: String,
    /// Display name of the sender.
    pub name: String,
    /// The words as they were first put: plain text, or HTML when `html`.
    pub text: String,
    /// The body is HTML.
    pub html: bool,
    /// Kind of a system message (`callStarted` …); else empty.
    pub event: String,
    /// Sent by the recorder itself through the bot connector.
    pub ours: bool,
    /// Oldest first, never empty.
    pub versions: Vec<Version>,
}

/// A chat or channel.
#[derive(Clone, Debug, Default)]
pub struct ChatRecord {
    /// Name in the scenario.
    pub name: String,
    /// Messages in the order of their creation.
    pub messages: Vec<Said>,
}

/// What happened with a person in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterChange {
    /// Came into the lobby.
    InLobby,
    /// Came in, from the lobby or straight.
    Joined,
    /// Left, or was refused.
    Left,
    /// Muted.
    Muted,
    /// Unmuted.
    Unmuted,
    /// Started to share the screen.
    SharingStarted,
    /// Stopped.
    SharingEnded,
}

/// One change of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Milliseconds since the tenant started.
    pub at_ms: u64,
    /// What happened.
    pub change: RosterChange,
    /// Object id, telephone number or other id of the person.
    pub who: String,
    /// Id of the participant on the wire.
    pub participant: String,
}

/// One leg of the recorder in a call: what a `call` resource is.
#[derive(Clone, Debug, Default)]
pub struct CallRecord {
    /// Name of the call in the scenario.
    pub name: String,
    /// Id of the call.
    pub id: String,
    /// Object id of the caller.
    pub caller: String,
    /// Object id of the recorded user of a policy call; else empty.
    pub observed: String,
    /// Thread id of its chat; empty for none.
    pub thread: String,
    /// When the invitation was queued, milliseconds since the start.
    pub offered_ms: u64,
    /// When the notification of it was acknowledged.
    pub told_ms: Option<u64>,
    /// Milliseconds from the invitation to `answer`; also when it came late.
    pub answered_after_ms: Option<u64>,
    /// Reason given with `reject`.
    pub rejected: Option<String>,
    /// The answer came too late, or not at all.
    pub late: bool,
    /// `updateRecordingStatus` as accepted, in order.
    pub recording: Vec<(u64, String)>,
    /// Successful keepAlive requests.
    pub keep_alives: u32,
    /// What happened on the roster, as of the whole call.
    pub roster: Vec<RosterEntry>,
    /// Sharing sessions: id, start, end (milliseconds since the start).
    pub sharing: Vec<(String, u64, Option<u64>)>,
    /// Users who came by joining notification: object id, and `accept`, `reject`, `inviteNewBot` or `lost`.
    pub joining: Vec<(String, String)>,
    /// The recorder left with DELETE.
    pub hung_up: bool,
    /// `code/subcode` of the end.
    pub ended: Option<String>,
}

/// Kind of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A: calls.
    Calls,
    /// B: changes.
    Changes,
    /// B: life of subscriptions.
    Lifecycle,
    /// C: activities.
    Activities,
    /// Validation of a subscription's address.
    Validation,
}

/// One POST to the recorder.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Milliseconds since the tenant started.
    pub at_ms: u64,
    /// Which path.
    pub path: Path,
    /// Where to.
    pub url: String,
    /// What, in a few words, without anybody's words.
    pub what: String,
    /// From 1.
    pub attempt: u32,
    /// Status of the answer; 0: none.
    pub status: u16,
    /// How long it took.
    pub took_ms: u64,
    /// The token or the content was wrong on purpose: it must have no effect.
    pub wrong: bool,
}

/// One request of the recorder.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Milliseconds since the tenant started.
    pub at_ms: u64,
    /// `GET` …
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
}

/// Everything the tenant considers to have happened.
#[derive(Clone, Debug, Default)]
pub struct TeamsLedger {
    /// Every request, in order.
    pub requests: Vec<Asked>,
    /// Every notification sent, in order of its answer.
    pub deliveries: Vec<Delivery>,
    /// What the client did that it must not: tokens in wrong places, budgets overdrawn, wrong answers.
    pub violations: Vec<String>,
    /// What it did that the documents advise against.
    pub complaints: Vec<String>,
    /// Chats and channels by thread id.
    pub chats: BTreeMap<String, ChatRecord>,
    /// The recorder's legs, in order of invitation.
    pub calls: Vec<CallRecord>,
    /// Tokens issued, by audience.
    pub tokens: BTreeMap<String, u32>,
    /// Token requests refused.
    pub refused_tokens: u32,
    /// Answers 429 because of a budget.
    pub throttled: u32,
    /// Subscriptions made.
    pub subscriptions: u32,
    /// Subscriptions renewed by PATCH or reauthorised.
    pub renewals: u32,
    /// Faults that were played.
    pub faults: Vec<String>,
}

impl TeamsLedger {
    /// The record of a chat by its name in the scenario.
    pub fn chat(&self, name: &str) -> Option<&ChatRecord> {
        self.chats.values().find(|c| c.name == name)
    }

    /// Legs of a call by its name in the scenario.
    pub fn legs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a CallRecord> {
        self.calls.iter().filter(move |c| c.name == name)
    }

    /// Every message version with its chat's thread id.
    pub fn versions(&self) -> impl Iterator<Item = (&str, &Said, &Version)> {
        self.chats
            .iter()
            .flat_map(|(id, chat)| chat.messages.iter().map(move |m| (id.as_str(), m)))
            .flat_map(|(id, m)| m.versions.iter().map(move |v| (id, m, v)))
    }

    /// Whether the recorder has got every version, by notification or by reading.
    pub fn all_taken(&self) -> bool {
        self.versions().all(|(_, _, v)| v.acknowledged || v.read)
    }

    /// Requests of this method whose path contains `part`.
    pub fn asked<'a>(&'a self, method: &'a str, part: &'a str) -> impl Iterator<Item = &'a Asked> {
        self.requests.iter().filter(move |r| r.method == method && r.path.contains(part))
    }
}
