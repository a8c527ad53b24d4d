//! One leg of a call: from notifications, replies and time to facts and requests (digest §5 to §10).
//!
//! [`Call`] is a machine without sockets and clocks. Its whole state is data: it is stored with each change and goes on
//! after a crash with [`Input::Restored`]. Who calls [`Call::handle`] performs the [`Action`]s in their order, stores the
//! facts together with the state, and says [`Input::Durable`] when that is done.
//!
//! Legs of one conversation (equal tenant and `callChainId`) are calls of their own. What is one fact for all of them has
//! one dedupe key: `conversation.started`, roster facts, sharing sessions. What belongs to a leg has a key for each:
//! invitations, recording status, states, and `conversation.ended`, because one leg ends when its user leaves while the
//! conversation goes on for others; the conversation has ended when the last leg has.

mod chat;
mod recording;
mod say;
mod state;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use recording::Recording;
pub use say::meaning;

use super::ask::{Ask, Reply};
use super::config::ResolvedTeams;
use super::fact::Fact;
use super::member::key;
use super::notice::{CallId, CallNotice};
use super::offer::Decision;
use super::request::RecordingStatus;
use super::roster::{Roster, Scope};
use crate::capture::Alias;
use crate::model::{Person, Reason, Timestamp};

/// What the machine needs of the connector's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// Our application, lower case.
    pub client_id: String,
    /// `updateRecordingStatus` is sent.
    pub report_recording_status: bool,
    /// Between keepAlives.
    pub keep_alive: Duration,
    /// After the last human left a call that had humans.
    pub hang_up_after: Duration,
    /// The chats of calls are recorded.
    pub follow_chats: bool,
}

impl From<&ResolvedTeams> for CallSettings {
    fn from(teams: &ResolvedTeams) -> CallSettings {
        CallSettings {
            client_id: teams.client_id.to_lowercase(),
            report_recording_status: teams.report_recording_status,
            keep_alive: teams.keep_alive,
            hang_up_after: teams.hang_up_after,
            follow_chats: teams.follow_call_chats,
        }
    }
}

/// Ties a reply to its request, within one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A notification. One of kind joining counts as accepted; see [`Input::Joining`].
    Notice(CallNotice),
    /// A joining notification with the decision that was given in the webhook's reply.
    Joining(CallNotice, Decision),
    /// What came of our `answer`, and how long after the notification's arrival it was sent.
    Answered(Reply, Duration),
    /// Policy declined the call, with these words.
    Declined {
        /// For `invitation.declined`.
        reason: String,
        /// From the arrival of the offer to the decision.
        latency: Duration,
    },
    /// What came of our `reject`.
    Rejected(Reply),
    /// What came of an [`Action::Ask`].
    Reply(Token, Reply),
    /// Time passed; due when [`Call::deadline`] is reached, harmless at any time.
    Tick,
    /// The state was read back after a start of the process.
    Restored {
        /// When the connector last stored anything, if that is known.
        last_seen: Option<Timestamp>,
    },
    /// Everything said so far is on stable storage: recording may be reported.
    Durable,
    /// The process stops: leave the call quickly.
    Stop,
    /// What arrives cannot be kept at the moment.
    CaptureBroken,
    /// It can again.
    CaptureMended,
    /// From then on something about this call could not be stored, and may not come again.
    Missed {
        /// When the first of it arrived.
        from: Timestamp,
    },
}

/// What is to be done.
#[expect(clippy::large_enum_variant, reason = "most actions are facts, and none lives long")]
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Something happened.
    Fact(Fact),
    /// Send this and hand back what comes of it.
    Ask(Token, Ask),
    /// The call's chat: `chatInfo.threadId`, said once for each.
    Chat(String),
    /// The leg is over; said once. Later notices may still be handed in and become `platform.event`s.
    Ended,
    /// For the operator's log; holds no content.
    Warn(String),
}

/// How far a leg has come; only goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is known yet.
    New,
    /// It rings; the decision is under way.
    Offered,
    /// `answer` was taken.
    Answering,
    /// We declined, or our answer was refused: only the end is to come.
    Refused,
    /// `establishing`, or first seen in the middle.
    Establishing,
    /// `established`; hold and transfers are states within it.
    Established,
    /// `terminating`.
    Terminating,
    /// Over.
    Ended,
}

/// What became of the invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    /// Not said yet.
    Pending,
    /// `invitation.accepted`, `.declined` or `.failed` is said.
    Said,
}

/// Why a reply is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    KeepAlive,
    GetCall,
    GetParticipants { began_at: Timestamp },
    Recording { status: RecordingStatus, context: String },
    Delete,
    FindChat { thread: String },
}

/// We are leaving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leaving {
    /// In words, for `conversation.ended` if the platform tells nothing.
    why: String,
    /// DELETE goes out at this time even if `notRecording` is not confirmed.
    by: Timestamp,
    /// DELETE is sent.
    deleting: bool,
    /// The process stops: nobody will hear the platform's word of the end.
    stopping: bool,
}

/// When something is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Timers {
    keep_alive: Option<Timestamp>,
    hang_up: Option<Timestamp>,
    /// An answer without a clear reply counts as failed.
    answer: Option<Timestamp>,
    /// An end that should have been told counts as come.
    settle: Option<Timestamp>,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    id: CallId,
    /// `call.tenantId`, else the token's `tid`; lower case.
    tenant: String,
    chain: Option<String>,
    observed: Option<String>,
    thread: Option<String>,
    /// The thread that its two users would have, until it is looked for.
    #[serde(default)]
    pair: Option<String>,
    own: Option<String>,
    /// The applications and instances that the call rang at.
    #[serde(default)]
    instances: BTreeSet<String>,
    policy: bool,
    caller: Option<Person>,
    /// Users of a policy call by participant id.
    policy_users: BTreeMap<String, Person>,
    phase: Phase,
    /// The platform's word for the state, as last told.
    state: Option<String>,
    invited: bool,
    outcome: Outcome,
    /// Of our answer, once the service has taken it.
    latency: Option<Duration>,
    started: bool,
    /// Numbers `conversation.changed`.
    changes: u32,
    subject: Option<String>,
    modalities: Vec<String>,
    result: Option<Reason>,
    recording: Recording,
    roster: Roster,
    /// Keys of facts that may come again, as digests.
    said: BTreeSet<String>,
    timers: Timers,
    /// From then on something about it could not be stored, before it began here.
    #[serde(default)]
    missed_from: Option<Timestamp>,
    /// Why the service is asked how the call stands, until it answers.
    #[serde(default)]
    checks: Option<String>,
    leaving: Option<Leaving>,
    asks: BTreeMap<u64, Purpose>,
    next_token: u64,
    last_sign: Timestamp,
}

/// One run of [`Call::handle`].
struct Turn<'a> {
    now: Timestamp,
    settings: &'a CallSettings,
    out: Vec<Action>,
}

impl Turn<'_> {
    fn warn(&mut self, call: &CallId, text: &str) {
        self.out.push(Action::Warn(format!("call {call}: {text}")));
    }
}

impl Call {
    /// A leg of which nothing is known yet. `token_tid` is the tenant that the first notification's token proves.
    pub fn new(id: CallId, token_tid: &str, now: Timestamp) -> Call {
        Call {
            id,
            tenant: token_tid.trim().to_lowercase(),
            chain: None,
            observed: None,
            thread: None,
            pair: None,
            own: None,
            instances: BTreeSet::new(),
            policy: false,
            caller: None,
            policy_users: BTreeMap::new(),
            phase: Phase::New,
            state: None,
            invited: false,
            outcome: Outcome::Pending,
            latency: None,
            started: false,
            changes: 0,
            subject: None,
            modalities: Vec::new(),
            result: None,
            recording: Recording::default(),
            roster: Roster::default(),
            said: BTreeSet::new(),
            timers: Timers::default(),
            missed_from: None,
            checks: None,
            leaving: None,
            asks: BTreeMap::new(),
            next_token: 0,
            last_sign: now,
        }
    }

    /// Takes an input, says what is to be done.
    pub fn handle(&mut self, input: Input, now: Timestamp, settings: &CallSettings) -> Vec<Action> {
        let mut turn = Turn { now, settings, out: Vec::new() };
        match input {
            Input::Notice(notice) => self.notice(&notice, None, &mut turn),
            Input::Joining(notice, decision) => self.notice(&notice, Some(decision), &mut turn),
            Input::Answered(reply, latency) => self.answered(&reply, latency, &mut turn),
            Input::Declined { reason, latency } => self.declined(reason, latency, &mut turn),
            Input::Rejected(reply) => {
                if !reply.is_success() && reply.status() != 404 {
                    turn.warn(&self.id, &format!("reject was refused: {}", reply.trouble()));
                }
            }
            Input::Reply(token, reply) => self.reply(token, &reply, &mut turn),
            Input::Tick => {}
            Input::Restored { last_seen } => self.restored(last_seen, &mut turn),
            Input::Durable => self.recording.durable = self.phase == Phase::Established,
            Input::Stop => self.leave("the recorder was stopped", true, &mut turn),
            Input::CaptureBroken => self.recording.broken = true,
            Input::CaptureMended => self.recording.broken = false,
            Input::Missed { from } => self.missed(from, &mut turn),
        }
        self.last_sign = self.last_sign.max(now);
        self.due(&mut turn);
        turn.out
    }

    /// When the next [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.phase == Phase::Ended {
            return None;
        }
        let timers = &self.timers;
        let leaving = self.leaving.as_ref().filter(|leaving| !leaving.deleting).map(|leaving| leaving.by);
        // Only what `drive_recording` would act on: a time that passes without effect would wake the caller for ever.
        let drives = self.phase == Phase::Established && self.leaving.as_ref().is_none_or(|leaving| !leaving.deleting);
        let recording = self.recording.deadline().filter(|_| drives || self.recording.is_under_way());
        let recording = recording.filter(|_| self.phase == Phase::Established);
        [timers.keep_alive, timers.hang_up, timers.answer, timers.settle, leaving, recording]
            .into_iter()
            .flatten()
            .min()
    }

    /// The leg.
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the leg is over.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// The call's chat, when known.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// `callChainId`, when known.
    pub fn chain(&self) -> Option<&str> {
        self.chain.as_deref()
    }

    /// Tenant, lower case.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether a recording policy sent the call.
    pub fn is_policy(&self) -> bool {
        self.policy
    }

    /// Who is in it.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What the platform calls this conversation, most telling first: `chain` with `<tenant>|<callChainId>`, `thread`
    /// with the chat's id, `call` with the leg's key. Legs and chats with an alias in common are one conversation.
    pub fn aliases(&self) -> Vec<Alias> {
        let alias = |scope: &str, value: String| Alias { scope: scope.to_owned(), value };
        let chain = self.chain.as_ref().map(|chain| alias("chain", format!("{}|{}", self.tenant, key(chain))));
        let thread = self.thread.as_ref().map(|thread| alias("thread", thread.clone()));
        chain.into_iter().chain(thread).chain([alias("call", self.id.key().to_owned())]).collect()
    }

    /// In keys: the same for all legs of the conversation.
    fn conversation_key(&self) -> String {
        match &self.chain {
            Some(chain) => format!("chain|{}|{}", key(&self.tenant), key(chain)),
            None => self.call_key(),
        }
    }

    /// In keys: this leg.
    fn call_key(&self) -> String {
        format!("call|{}", self.id.key())
    }

    fn scope(&self, settings: &CallSettings) -> Scope {
        Scope {
            tenant: self.tenant.clone(),
            client_id: settings.client_id.clone(),
            conversation: self.conversation_key(),
            leg: match &self.observed {
                Some(observed) => key(observed),
                None => self.id.key().to_owned(),
            },
            own: self.own.clone(),
            instances: self.instances.clone(),
        }
    }

    fn ask(&mut self, purpose: Purpose, ask: Ask, turn: &mut Turn<'_>) {
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.asks.insert(token.0, purpose);
        turn.out.push(Action::Ask(token, ask));
    }
}

#[cfg(test)]
mod tests;
