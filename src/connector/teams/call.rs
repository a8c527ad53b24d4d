//! The machine of one call: what the service tells and what our requests came to, to facts and further requests.
//!
//! States only go up by rank, and nothing comes after the end but late events (digest §9): notifications come twice, swapped,
//! or not at all. The machine's state is serialised and stored with every change, so that a recorder that was killed goes
//! on where it was.

mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::recording::Recording;
use super::ask::{Ask, Class, Method, Patience, Priority, Reply, encoded};
use super::config::ResolvedTeams;
use super::conversations::{self};
use super::fact::Fact;
use super::identity;
use super::notice::{CallId, CallNotice, What, type_of};
use super::offer::{self, Decision, Offer};
use super::roster::{Roster, View, left};
use crate::capture::Alias;
use crate::model::{Gap, Kind, Participant, Person, Reason, Timestamp};

/// An answer that was taken is told so late, in case that the call ends before it is established: an invitation is either
/// accepted or failed.
const ACCEPTED_AFTER: Duration = Duration::from_secs(3);

/// After we hung up, the service tells the end within this time, or we do.
const FAREWELL: Duration = Duration::from_secs(5);

/// The same when the recorder stops.
const QUICK_FAREWELL: Duration = Duration::from_millis(1_200);

/// What the machine is told about its connector.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSettings {
    /// Our application.
    pub client_id: String,
    /// Our tenant.
    pub tenant: String,
    /// `updateRecordingStatus` is sent.
    pub report: bool,
    /// Between keepAlives.
    pub keep_alive: Duration,
    /// After the last human left.
    pub hang_up_after: Duration,
    /// The chat of a call is recorded.
    pub follow_chats: bool,
}

impl CallSettings {
    /// From the configuration.
    pub fn of(config: &ResolvedTeams) -> CallSettings {
        CallSettings {
            client_id: config.client_id.clone(),
            tenant: config.tenant_id.clone(),
            report: config.report_recording_status,
            keep_alive: config.keep_alive,
            hang_up_after: config.hang_up_after,
            follow_chats: config.follow_call_chats,
        }
    }
}

/// Which request a reply belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// GET of the call.
    Call,
    /// GET of the participants, asked for then.
    Participants(Timestamp),
    /// updateRecordingStatus with this status and context.
    Recording(&'static str, String),
    /// keepAlive.
    KeepAlive,
    /// DELETE.
    HangUp,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A stored notification. `decision`: what was decided about a joining user.
    Notice {
        /// It.
        notice: CallNotice,
        /// Tenant of its token.
        tid: String,
        /// About a joining user.
        decision: Option<Decision>,
    },
    /// The answer was sent.
    Answered {
        /// What the service said.
        reply: Reply,
        /// From the arrival of the call.
        took: Duration,
        /// The rule that admitted the caller.
        rule: String,
    },
    /// The call was declined.
    Declined {
        /// Why.
        reason: String,
        /// What the service said.
        reply: Reply,
        /// From the arrival of the call.
        took: Duration,
    },
    /// What came of a request.
    Reply(Token, Reply),
    /// The time has come ([`Call::deadline`]).
    Tick,
    /// A new run of the recorder takes the call up; the last sign of life of the one before.
    Restored {
        /// That sign.
        since: Option<Timestamp>,
    },
    /// Everything said so far is stored.
    Durable,
    /// Leave.
    Stop,
}

/// What a call wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Something to be recorded.
    Fact(Fact),
    /// A request; its reply comes back with the token.
    Ask(Token, Ask),
    /// The call has this chat.
    Chat(String),
    /// It is over.
    Ended,
    /// To be said to the operator.
    Warn(String),
}

/// How the invitation came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Verdict {
    /// Nothing was said yet.
    #[default]
    Open,
    /// The service took our answer; not told yet.
    Taken,
    Accepted,
    Declined,
    Failed,
}

/// One leg of a call. See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    id: CallId,
    chain: Option<String>,
    tenant: Option<String>,
    thread: Option<String>,
    mine: Option<String>,
    own: Vec<String>,
    caller: Option<Person>,
    policy: bool,
    offered: bool,
    verdict: Verdict,
    accepted_detail: Option<Value>,
    accepted_due: Option<Timestamp>,
    rank: u8,
    state: Option<String>,
    started: bool,
    established: bool,
    ended: bool,
    roster: Roster,
    /// Recorded users by participant id.
    observed: BTreeMap<String, Person>,
    sessions: BTreeSet<String>,
    tones: BTreeSet<String>,
    recording: Recording,
    keep_alive_at: Option<Timestamp>,
    alone_since: Option<Timestamp>,
    leaving: Option<Timestamp>,
    hang_up_reason: Option<String>,
    late: u32,
    #[serde(skip)]
    details_known: bool,
}

impl Call {
    /// A call of which nothing is known.
    pub fn new(id: CallId) -> Call {
        Call {
            id,
            chain: None,
            tenant: None,
            thread: None,
            mine: None,
            own: Vec::new(),
            caller: None,
            policy: false,
            offered: false,
            verdict: Verdict::Open,
            accepted_detail: None,
            accepted_due: None,
            rank: 0,
            state: None,
            started: false,
            established: false,
            ended: false,
            roster: Roster::default(),
            observed: BTreeMap::new(),
            sessions: BTreeSet::new(),
            tones: BTreeSet::new(),
            recording: Recording::default(),
            keep_alive_at: None,
            alone_since: None,
            leaving: None,
            hang_up_reason: None,
            late: 0,
            details_known: false,
        }
    }

    /// Which call.
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// Its chat, if it is known.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Whether it will come to nothing more: declined, failed, or ended.
    pub fn is_over(&self) -> bool {
        self.ended || matches!(self.verdict, Verdict::Declined | Verdict::Failed)
    }

    /// Whether it was asked for after it was established, so that no chat will become known.
    pub fn has_no_chat(&self) -> bool {
        self.details_known && self.established && self.thread.is_none()
    }

    /// By what its conversation is known, best first.
    pub fn aliases(&self) -> Vec<Alias> {
        let thread = self.thread.as_deref().map(conversations::thread);
        let chain = self.chain.as_ref().map(|_| Alias { scope: "chain".into(), value: self.scope() });
        let call = Alias { scope: "call".into(), value: self.id.key().to_owned() };
        thread.into_iter().chain(chain).chain([call]).collect()
    }

    /// What facts about the conversation, rather than this leg, are keyed by.
    fn scope(&self) -> String {
        match (&self.chain, &self.tenant) {
            (Some(chain), tenant) => format!("{}|{chain}", tenant.as_deref().unwrap_or_default()),
            (None, _) => self.id.key().to_owned(),
        }
    }

    /// When [`Input::Tick`] is wanted.
    pub fn deadline(&self, settings: &CallSettings) -> Option<Timestamp> {
        if self.ended {
            return None;
        }
        let alone = self.alone_since.filter(|_| self.leaving.is_none()).map(|at| at.plus(settings.hang_up_after));
        [self.accepted_due, self.keep_alive_at, self.leaving, self.recording.due(), alone].into_iter().flatten().min()
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Timestamp, settings: &CallSettings) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Notice { notice, tid, decision } => self.notice(notice, &tid, decision, now, settings, &mut out),
            Input::Answered { reply, took, rule } => self.answered(&reply, took, &rule, now, &mut out),
            Input::Declined { reason, reply, took } => self.declined(reason, &reply, took, &mut out),
            Input::Reply(token, reply) => self.reply(token, &reply, now, settings, &mut out),
            Input::Tick => self.tick(now, settings, &mut out),
            Input::Restored { since } => self.restored(since, now, settings, &mut out),
            Input::Durable => self.durable(now, settings, &mut out),
            Input::Stop => {
                if self.started && !self.ended {
                    self.leave("the recorder stops", QUICK_FAREWELL, now, &mut out);
                }
            }
        }
        out
    }

    /// Whether nothing has to be waited for when the recorder stops.
    pub fn is_idle(&self) -> bool {
        self.ended || !self.started
    }

    fn notice(
        &mut self,
        notice: CallNotice,
        tid: &str,
        decision: Option<Decision>,
        now: Timestamp,
        settings: &CallSettings,
        out: &mut Vec<Action>,
    ) {
        if self.ended {
            // A repeated end says nothing; everything else is late.
            if notice.what != What::Ended {
                self.late(&notice, out);
            }
            return;
        }
        match notice.what {
            What::Incoming => self.incoming(&notice.data, tid, settings, out),
            What::State => self.state(&notice.data, now, settings, out),
            What::Ended => {
                self.learn(&notice.data, settings, out);
                self.end(reason_of(&notice.data), now, out);
            }
            What::Roster | What::RosterDelta => self.roster(&notice, now, settings, out),
            What::Sharing => self.sharing(&notice, out),
            What::Operation => self.operation(&notice, now, out),
            What::Joining => self.joining(&notice.data, tid, decision, settings, out),
            What::Left => self.left(&notice.data, out),
            What::Unknown => self.platform(&notice, out),
        }
        if !self.offered && !self.started && notice.what != What::Ended && self.rank == 0 {
            // Nobody told us of this call: it is taken up, and asked for.
            self.offered = true;
            self.verdict = Verdict::Accepted;
            self.start(json!({"orphan": true}), out);
            self.ask_all(now, out);
        }
    }

    fn incoming(&mut self, call: &Value, tid: &str, settings: &CallSettings, out: &mut Vec<Action>) {
        self.learn(call, settings, out);
        if std::mem::replace(&mut self.offered, true) {
            return;
        }
        let offer = Offer::read(call);
        self.policy = offer.policy_recording;
        self.caller = offer.caller(tid).map(|caller| caller.person);
        if self.tenant.is_none() {
            self.tenant = Some(tid.to_owned());
        }
        let observed = call.pointer("/incomingContext/observedParticipantId").and_then(Value::as_str);
        if let (Some(observed), Some(caller)) = (observed, &self.caller) {
            self.observed.insert(observed.to_owned(), caller.clone());
        }
        let mut fact = Fact::new(Kind::InvitationReceived, format!("offer|{}|received", self.id.key()));
        fact.content.actor = self.caller.clone();
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.content.subject = text(call, "subject");
        fact.content.modalities = modalities(call);
        fact.content.detail = Some(Value::Object(invitation(call, self.policy)));
        out.push(Action::Fact(fact));
    }

    fn answered(&mut self, reply: &Reply, took: Duration, rule: &str, now: Timestamp, out: &mut Vec<Action>) {
        if self.verdict != Verdict::Open {
            return;
        }
        let detail = json!({"latency_ms": took.as_millis() as u64, "rule": rule});
        if reply.is_success() {
            self.accepted_detail = Some(detail);
            self.verdict = Verdict::Taken;
            self.accepted_due = Some(now.plus(ACCEPTED_AFTER));
            if self.started || self.ended {
                self.accepted(out);
            }
            return;
        }
        self.fail(
            Reason {
                code: (reply.status() != 0).then(|| reply.status().to_string()),
                subcode: None,
                message: Some(format!("the answer was refused: {}", reply.trouble())),
            },
            Some(detail),
            out,
        );
    }

    fn accepted(&mut self, out: &mut Vec<Action>) {
        self.accepted_due = None;
        if self.verdict != Verdict::Taken {
            return;
        }
        self.verdict = Verdict::Accepted;
        let mut fact = Fact::new(Kind::InvitationAccepted, format!("offer|{}|outcome", self.id.key()));
        fact.content.actor = self.caller.clone();
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.content.detail = self.accepted_detail.take();
        out.push(Action::Fact(fact));
    }

    fn fail(&mut self, reason: Reason, detail: Option<Value>, out: &mut Vec<Action>) {
        self.verdict = Verdict::Failed;
        self.accepted_due = None;
        let mut fact = Fact::new(Kind::InvitationFailed, format!("offer|{}|outcome", self.id.key()));
        fact.content.actor = self.caller.clone();
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.content.reason = Some(reason);
        fact.content.detail = detail;
        out.push(Action::Fact(fact));
    }

    fn declined(&mut self, reason: String, reply: &Reply, took: Duration, out: &mut Vec<Action>) {
        if self.verdict != Verdict::Open {
            return;
        }
        self.verdict = Verdict::Declined;
        let mut fact = Fact::new(Kind::InvitationDeclined, format!("offer|{}|outcome", self.id.key()));
        fact.content.actor = self.caller.clone();
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.content.reason = Some(Reason { message: Some(reason), ..Reason::default() });
        let mut detail = json!({"latency_ms": took.as_millis() as u64});
        if !reply.is_success() {
            detail["reject"] = reply.trouble().into();
        }
        fact.content.detail = Some(detail);
        out.push(Action::Fact(fact));
    }

    /// Takes in identifiers wherever they are told.
    fn learn(&mut self, call: &Value, settings: &CallSettings, out: &mut Vec<Action>) {
        let told = |key: &str| text(call, key);
        if self.chain.is_none() && !self.started {
            self.chain = told("callChainId");
        }
        if self.tenant.is_none() {
            self.tenant = told("tenantId").map(|tenant| tenant.to_lowercase());
        }
        if self.mine.is_none() {
            self.mine = told("myParticipantId");
        }
        if self.own.is_empty() {
            self.own.push(settings.client_id.clone());
        }
        for target in call.get("targets").and_then(Value::as_array).into_iter().flatten() {
            let principal = target.get("identity").and_then(|set| identity::principal(set, &settings.tenant));
            if let Some(one) = principal.filter(identity::Principal::is_bot)
                && !self.own.contains(&one.id)
            {
                self.own.push(one.id);
            }
        }
        if self.thread.is_none()
            && let Some(thread) = call.pointer("/chatInfo/threadId").and_then(Value::as_str).filter(|id| !id.is_empty())
        {
            self.thread = Some(thread.to_owned());
            // `19:<guid>` alone is the thread of an ad hoc group call, which is no chat that could be read (digest §11).
            if settings.follow_chats && thread.contains('@') && !self.is_over() {
                out.push(Action::Chat(thread.to_owned()));
            }
        }
    }

    fn state(&mut self, call: &Value, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        self.learn(call, settings, out);
        if let Some(tone) = call.get("toneInfo").filter(|tone| tone.is_object()) {
            let sequence = tone.get("sequenceId").map(Value::to_string).unwrap_or_default();
            if self.tones.insert(sequence.clone()) {
                self.own_event(&format!("tone|{sequence}"), json!({"toneInfo": tone.clone()}), None, out);
            }
        }
        let Some(state) = text(call, "state") else { return };
        self.enter(&state, call, now, out);
    }

    fn enter(&mut self, state: &str, call: &Value, now: Timestamp, out: &mut Vec<Action>) {
        let lower = state.to_ascii_lowercase();
        let same = self.state.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(state));
        let trouble =
            call.get("resultInfo").filter(|info| info.is_object() && code_of(info).is_some_and(|code| code >= 400));
        let rank = match lower.as_str() {
            "incoming" | "ringing" => return,
            "establishing" => 1,
            "established" => 3,
            "terminating" => 8,
            "terminated" => return self.end(reason_of(call), now, out),
            // Sub-states of a call that goes on.
            _ => self.rank.max(1),
        };
        if !self.started {
            self.rank = self.rank.max(rank);
            self.state = Some(state.to_owned());
            if self.verdict == Verdict::Taken {
                self.accepted(out);
            }
            let detail = if self.offered { Value::Null } else { json!({"orphan": true}) };
            if !self.offered {
                self.offered = true;
                self.verdict = Verdict::Accepted;
            }
            self.start_with(call, detail, out);
            if lower == "established" {
                self.is_established(now, out);
            } else if !call.get("chatInfo").is_some_and(Value::is_object) {
                self.ask_call(out);
            }
            return;
        }
        if lower == "establishing" && self.rank >= 3 {
            self.own_event("late|establishing", json!({"late": "establishing"}), None, out);
            return;
        }
        if self.rank == 8 && rank < 8 {
            self.own_event(&format!("late|{lower}"), json!({"late": state}), None, out);
            return;
        }
        if same && trouble.is_none() {
            return;
        }
        self.rank = self.rank.max(rank);
        self.state = Some(state.to_owned());
        let mut fact = Fact::new(Kind::ConversationChanged, String::new());
        fact.content.state = Some(state.to_owned());
        fact.content.reason = trouble.and_then(|info| reason(info));
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.dedupe = format!("state|{}|{}|{lower}|{:?}", self.id.key(), self.late, fact.content.reason);
        // A state may come back: after hold, established.
        self.late += 1;
        out.push(Action::Fact(fact));
        if lower == "established" && !self.established {
            self.is_established(now, out);
        }
    }

    fn start(&mut self, detail: Value, out: &mut Vec<Action>) {
        self.start_with(&Value::Null, detail, out);
    }

    fn start_with(&mut self, call: &Value, detail: Value, out: &mut Vec<Action>) {
        self.started = true;
        let mut fact = Fact::new(Kind::ConversationStarted, format!("started|{}", self.scope()));
        fact.content.source_id = Some(self.id.as_received().to_owned());
        fact.content.state = self.state.clone();
        fact.content.subject = text(call, "subject");
        fact.content.modalities = modalities(call);
        fact.content.detail = (!detail.is_null()).then_some(detail);
        out.push(Action::Fact(fact));
    }

    fn is_established(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.established = true;
        self.ask_all(now, out);
    }

    /// Asks for the call and for everybody in it.
    fn ask_all(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.ask_call(out);
        self.ask_participants(now, out);
    }

    fn ask_call(&self, out: &mut Vec<Action>) {
        out.push(Action::Ask(Token::Call, self.request(Method::Get, "")));
    }

    fn ask_participants(&self, now: Timestamp, out: &mut Vec<Action>) {
        out.push(Action::Ask(Token::Participants(now), self.request(Method::Get, "/participants")));
    }

    fn request(&self, method: Method, tail: &str) -> Ask {
        let path = format!("/communications/calls/{}{tail}", encoded(self.id.as_received()));
        Ask { patience: Patience::Tries(4), ..Ask::graph(method, path, Class::Calls, Priority::Live) }
    }

    fn roster(&mut self, notice: &CallNotice, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        let (scope, mine, own) = (self.scope(), self.mine.clone(), self.own.clone());
        let tenant = self.tenant.clone().unwrap_or_else(|| settings.tenant.clone());
        let view = View { scope: &scope, mine: mine.as_deref(), own: &own, tenant: &tenant };
        let facts = if notice.what == What::RosterDelta {
            let (facts, gap) = self.roster.delta(&notice.data, view, now);
            if gap {
                self.ask_participants(now, out);
            }
            facts
        } else {
            self.roster.full(&notice.data, view, now)
        };
        out.extend(facts.into_iter().map(Action::Fact));
        self.watch_humans(now);
    }

    fn watch_humans(&mut self, now: Timestamp) {
        self.alone_since = match (self.roster.had_humans(), self.roster.humans()) {
            (true, 0) => Some(self.alone_since.unwrap_or(now)),
            _ => None,
        };
    }

    fn sharing(&mut self, notice: &CallNotice, out: &mut Vec<Action>) {
        let listed: Vec<String> = match notice.data.as_array() {
            Some(list) => list.iter().filter_map(|one| text(one, "id")).collect(),
            None => text(&notice.data, "id").into_iter().collect(),
        };
        let bare = !notice.tail.eq_ignore_ascii_case("contentsharingsessions") && !notice.tail.is_empty();
        let sessions = if listed.is_empty() && bare { vec![notice.tail.clone()] } else { listed };
        if sessions.is_empty() {
            return self.platform(notice, out);
        }
        for session in sessions {
            let known = self.sessions.contains(&session);
            let kind = match notice.change.as_str() {
                "deleted" => Kind::SharingEnded,
                _ if !known => Kind::SharingStarted,
                _ => {
                    let key = format!("sharing|{session}|{}", notice.data);
                    let detail = json!({"sharing": "updated", "session": session, "data": notice.data.clone()});
                    self.own_event(&key, detail, None, out);
                    continue;
                }
            };
            if kind == Kind::SharingEnded {
                self.sessions.remove(&session);
            } else {
                self.sessions.insert(session.clone());
            }
            let mut fact = Fact::new(kind, format!("sharing|{}|{session}|{kind}", self.scope()));
            fact.content.source_id = Some(session);
            out.push(Action::Fact(fact));
        }
    }

    fn operation(&mut self, notice: &CallNotice, now: Timestamp, out: &mut Vec<Action>) {
        let data = match &notice.data {
            Value::Array(list) => list.first().cloned().unwrap_or_default(),
            other => other.clone(),
        };
        let context = text(&data, "clientContext").unwrap_or_default();
        if self.recording.awaits(&context) {
            self.recording_result(&data, now, out);
            return;
        }
        let id = text(&data, "id").unwrap_or_else(|| notice.tail.clone());
        self.own_event(&format!("operation|{id}|{}", text(&data, "status").unwrap_or_default()), data, Some(id), out);
    }

    fn joining(
        &mut self,
        data: &Value,
        tid: &str,
        decision: Option<Decision>,
        settings: &CallSettings,
        out: &mut Vec<Action>,
    ) {
        let call = data.get("call").cloned().unwrap_or_default();
        self.learn(&call, settings, out);
        let actor = Offer::read(data).caller(tid).map(|caller| caller.person);
        let observed = call.pointer("/incomingContext/observedParticipantId").and_then(Value::as_str);
        let observed = observed
            .map(str::to_owned)
            .or_else(|| call.pointer("/source/id").and_then(Value::as_str).map(str::to_owned));
        let who = actor.as_ref().map(|actor| actor.id.clone()).unwrap_or_default();
        let key = format!("joining|{}|{who}|{}", self.id.key(), observed.as_deref().unwrap_or_default());
        let fact = |kind: Kind, part: &str| {
            let mut fact = Fact::new(kind, format!("{key}|{part}"));
            fact.content.actor = actor.clone();
            fact.content.source_id = Some(self.id.as_received().to_owned());
            fact
        };
        let mut received = fact(Kind::InvitationReceived, "received");
        received.content.detail = Some(Value::Object(invitation(&call, true)));
        out.push(Action::Fact(received));
        match decision {
            Some(Decision::Decline { reason }) => {
                let mut declined = fact(Kind::InvitationDeclined, "outcome");
                declined.content.reason = Some(Reason { message: Some(reason), ..Reason::default() });
                out.push(Action::Fact(declined));
            }
            Some(Decision::Accept { .. }) | None => {
                out.push(Action::Fact(fact(Kind::InvitationAccepted, "outcome")));
                if let (Some(observed), Some(actor)) = (observed, actor.clone()) {
                    self.observed.insert(observed, actor);
                }
            }
        }
    }

    fn left(&mut self, data: &Value, out: &mut Vec<Action>) {
        let participant = text(data, "participantId").unwrap_or_default();
        let scope = self.scope();
        let why = data.get("call").and_then(reason_of);
        let fact = match self.roster.left(&participant, None, &scope) {
            Some(fact) => Some(fact),
            None => self.observed.get(&participant).map(|person| {
                let mut fact = left(&scope, &participant);
                let Person { id, name } = person.clone();
                fact.content.participant = Some(Participant { id, name, ..Participant::default() });
                fact
            }),
        };
        let mut fact = fact.unwrap_or_else(|| {
            let mut fact = left(&scope, &participant);
            let id = format!("participant:{participant}");
            fact.content.participant = Some(Participant { id, ..Participant::default() });
            fact
        });
        fact.content.reason = why;
        out.push(Action::Fact(fact));
    }

    /// Something that has no kind of its own, told once per content.
    fn own_event(&self, key: &str, detail: Value, source_id: Option<String>, out: &mut Vec<Action>) {
        let mut fact = Fact::new(Kind::PlatformEvent, format!("call|{}|{key}", self.id.key()));
        fact.content.source_id = source_id;
        fact.content.detail = Some(detail);
        out.push(Action::Fact(fact));
    }

    fn platform(&self, notice: &CallNotice, out: &mut Vec<Action>) {
        let detail = json!({"changeType": notice.change, "tail": notice.tail, "resourceData": notice.data.clone()});
        self.own_event(&format!("other|{}|{}", notice.tail, notice.data), detail, None, out);
    }

    fn late(&mut self, notice: &CallNotice, out: &mut Vec<Action>) {
        let detail =
            json!({"late": type_of(&notice.data), "changeType": notice.change, "resourceData": notice.data.clone()});
        self.own_event(&format!("late|{}|{}|{}", notice.change, notice.tail, notice.data), detail, None, out);
    }

    fn reply(&mut self, token: Token, reply: &Reply, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        match token {
            Token::Call if reply.status() == 404 => self.gone("GET", now, out),
            Token::Call if reply.is_success() => {
                let call = reply.json();
                self.details_known = true;
                if !self.ended {
                    self.state(&call, now, settings, out);
                }
            }
            Token::Participants(asked_at) if reply.is_success() && !self.ended => {
                let json = reply.json();
                let (scope, mine, own) = (self.scope(), self.mine.clone(), self.own.clone());
                let tenant = self.tenant.clone().unwrap_or_else(|| settings.tenant.clone());
                let view = View { scope: &scope, mine: mine.as_deref(), own: &own, tenant: &tenant };
                let list = json.get("value").cloned().unwrap_or_default();
                out.extend(self.roster.fetched(&list, view, asked_at).into_iter().map(|mut fact| {
                    if fact.kind == Kind::ParticipantJoined {
                        let detail = fact.content.detail.get_or_insert_with(|| json!({}));
                        detail["found_by"] = "roster check".into();
                    }
                    Action::Fact(fact)
                }));
                self.watch_humans(now);
            }
            Token::KeepAlive if reply.status() == 404 => self.gone("keepAlive", now, out),
            Token::KeepAlive if reply.is_success() => self.ask_participants(now, out),
            Token::KeepAlive if !self.ended => {
                let detail = json!({"keep_alive": reply.trouble()});
                self.own_event(&format!("keep_alive|{}", now.millis()), detail, None, out);
                out.push(Action::Warn(format!("keepAlive of a call failed: {}", reply.trouble())));
            }
            Token::Recording(status, context) => self.recording_reply(status, &context, reply, now, out),
            Token::HangUp => {
                // The service tells the end; if it does not, we do.
                if reply.status() == 404 {
                    self.gone("DELETE", now, out);
                }
            }
            Token::Call | Token::Participants(_) if !reply.is_success() && !self.ended => {
                out.push(Action::Warn(format!("a call could not be asked for: {}", reply.trouble())));
            }
            _ => {}
        }
    }

    fn gone(&mut self, by: &str, now: Timestamp, out: &mut Vec<Action>) {
        let message = Some(format!("{by}: the service does not know the call any more"));
        self.end(Some(Reason { code: Some("404".into()), subcode: None, message }), now, out);
    }

    fn end(&mut self, reason: Option<Reason>, now: Timestamp, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.accepted_due = None;
        self.recording_over(out);
        if !self.started && matches!(self.verdict, Verdict::Open | Verdict::Taken) && self.offered {
            let detail = self.accepted_detail.take();
            self.fail(reason.unwrap_or_default(), detail, out);
        } else if self.verdict == Verdict::Declined || self.verdict == Verdict::Failed {
            // What is told of it after that adds nothing.
            self.own_event("ended", json!({"ended": true}), None, out);
        } else {
            let mut fact = Fact::new(Kind::ConversationEnded, format!("ended|{}", self.id.key()));
            fact.content.source_id = Some(self.id.as_received().to_owned());
            fact.content.state = Some("terminated".to_owned());
            let mut detail = Map::new();
            if let Some(words) = reason.as_ref().and_then(in_words) {
                detail.insert("meaning".to_owned(), words.into());
            }
            if let Some(why) = &self.hang_up_reason {
                detail.insert("hung_up_because".to_owned(), why.clone().into());
            }
            fact.content.reason = reason;
            fact.content.detail = (!detail.is_empty()).then_some(Value::Object(detail));
            out.push(Action::Fact(fact));
        }
        let _ = now;
        out.push(Action::Ended);
    }

    fn tick(&mut self, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        if self.accepted_due.is_some_and(|at| at <= now) {
            self.accepted(out);
            self.ask_call(out);
        }
        if self.leaving.is_some_and(|at| at <= now) {
            self.farewell(now, out);
            return;
        }
        if self.keep_alive_at.is_some_and(|at| at <= now) {
            self.keep_alive_at = Some(now.plus(settings.keep_alive));
            out.push(Action::Ask(Token::KeepAlive, self.request(Method::Post, "/keepAlive")));
        }
        self.recording_tick(now, out);
        if self.leaving.is_none() && self.alone_since.is_some_and(|at| at.plus(settings.hang_up_after) <= now) {
            self.leave("no person is in the call any more", FAREWELL, now, out);
        }
    }

    fn durable(&mut self, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        if !self.established || self.ended || self.leaving.is_some() {
            return;
        }
        if self.keep_alive_at.is_none() {
            self.keep_alive_at = Some(now.plus(settings.keep_alive));
        }
        self.begin_recording(settings.report, out);
    }

    fn restored(&mut self, since: Option<Timestamp>, now: Timestamp, settings: &CallSettings, out: &mut Vec<Action>) {
        if self.is_over() {
            return;
        }
        if self.started
            && let Some(since) = since
        {
            let mut fact = Fact::new(Kind::CaptureGap, format!("down|{}|{}", self.id.key(), since.millis()));
            fact.content.gap = Some(Gap { cause: "the recorder was not running".into(), from: since, to: now });
            out.push(Action::Fact(fact));
        }
        if let Some(thread) = self.thread.clone().filter(|thread| settings.follow_chats && thread.contains('@')) {
            out.push(Action::Chat(thread));
        }
        self.leaving = None;
        self.recording.forget_requests();
        self.ask_all(now, out);
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn modalities(call: &Value) -> Option<Vec<String>> {
    let list = call.get("requestedModalities").and_then(Value::as_array)?;
    let list: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    (!list.is_empty()).then_some(list)
}

/// What an invitation says besides who: for a policy recording whom it observes and which other recorders there are. The
/// join token is a secret and stays in the envelope.
fn invitation(call: &Value, policy: bool) -> Map<String, Value> {
    let mut detail = Map::new();
    let meeting = call.get("meetingInfo").is_some_and(Value::is_object);
    detail.insert("modality".into(), if meeting { "meeting" } else { "call" }.into());
    if policy {
        detail.insert("policy_recording".into(), true.into());
    }
    for key in ["callChainId", "incomingContext", "callRoutes", "targets"] {
        if let Some(value) = call.get(key).filter(|value| !value.is_null()) {
            detail.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(data) = call.pointer("/applicationMetadata/botData").filter(|data| data.is_object()) {
        detail.insert("botData".into(), data.clone());
    }
    detail
}

fn code_of(info: &Value) -> Option<i64> {
    let code = info.get("code")?;
    code.as_i64().or_else(|| code.as_str()?.trim().parse().ok())
}

/// `resultInfo` of a call, or of a body that has one.
fn reason_of(call: &Value) -> Option<Reason> {
    call.get("resultInfo").and_then(reason)
}

/// Codes come as numbers and as texts; `subCode` stands in one document (trap 5).
fn reason(info: &Value) -> Option<Reason> {
    let info = info.as_object()?;
    let number = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| info.get(*name)).filter(|value| !value.is_null())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let message = info.get("message").and_then(Value::as_str).filter(|message| !message.is_empty());
    Some(Reason {
        code: number(["code", "Code"]),
        subcode: number(["subcode", "subCode"]),
        message: message.map(str::to_owned),
    })
}

/// What known codes mean (digest §9); the list is not complete.
fn in_words(reason: &Reason) -> Option<&'static str> {
    match (reason.code.as_deref()?, reason.subcode.as_deref().unwrap_or_default()) {
        ("0", "0" | "") => Some("ended normally"),
        ("200", "560000") => Some("ended normally"),
        ("408", "8544") => Some("the recorder was not reached, or answered too late"),
        ("408", _) => Some("a request took too long"),
        ("0" | "487", "487") | ("487", _) => Some("cancelled"),
        ("0", "603") => Some("declined"),
        ("500", "7106") => Some("media could not be set up"),
        ("500", _) => Some("an error in the service"),
        ("404", _) => Some("the service does not know the call any more"),
        _ => None,
    }
}

/// Decides about a joining user with the same rules as about a call.
pub fn joining_decision(data: &Value, accept: &offer::AcceptFrom, policy: bool, tid: &str, own: &str) -> Decision {
    let offer = Offer { policy_recording: true, ..Offer::read(data) };
    offer::decide(&offer, accept, policy, tid, own)
}

#[cfg(test)]
mod tests;
