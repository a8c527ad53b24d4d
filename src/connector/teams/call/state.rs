//! Notices of a call: the invitation, states by rank, the roster, sharing, operations, the end (digest §9).

use std::time::Duration;

use serde_json::{Value, json};

use super::say::{meaning, plain, reason};
use super::{Action, Call, Outcome, Phase, Purpose, Turn};
use crate::connector::teams::ask::Reply;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::member::{at, bounded, digest, key, list, member, text};
use crate::connector::teams::notice::{CallNotice, Change, NoticeKind};
use crate::connector::teams::offer::{self, Decision, Offer};
use crate::connector::teams::{identity, request};
use crate::model::{Kind, Person, Reason};

/// How long an answer without a clear reply may still turn out well.
const UNCLEAR: Duration = Duration::from_secs(5);
/// How long the platform may take to tell of an end, or of a beginning after our answer.
const SETTLE: Duration = Duration::from_secs(60);

/// An answered call tells of itself within this time, or is asked for.
const NEWS: Duration = Duration::from_secs(6);
/// How many users of a policy call are remembered.
const POLICY_USERS: usize = 1024;

/// The rank of a state: it only goes up. `None` for states within a call and for words not known.
fn rank(state: &str) -> Option<Phase> {
    match state.to_ascii_lowercase().as_str() {
        "incoming" => Some(Phase::Offered),
        "establishing" => Some(Phase::Establishing),
        "established" => Some(Phase::Established),
        "terminating" => Some(Phase::Terminating),
        "terminated" => Some(Phase::Ended),
        _ => None,
    }
}

/// Members of a call that say nothing new when they come again, or that have events of their own.
const PLAIN: &[&str] = &[
    "id",
    "state",
    "direction",
    "source",
    "targets",
    "callbackUri",
    "chatInfo",
    "meetingInfo",
    "tenantId",
    "callChainId",
    "myParticipantId",
    "requestedModalities",
    "activeModalities",
    "mediaConfig",
    "mediaState",
    "subject",
    "resultInfo",
    "toneInfo",
    "incomingContext",
    "callRoutes",
    "callOptions",
    "applicationMetadata",
];

fn is_plain(name: &str) -> bool {
    name.starts_with('@') || PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name))
}

impl Call {
    /// Takes a notification.
    pub(super) fn notice(&mut self, notice: &CallNotice, decision: Option<Decision>, turn: &mut Turn<'_>) {
        if self.phase == Phase::Ended {
            // A late invitation is an invitation all the same: somebody called.
            if notice.kind == NoticeKind::Incoming && !self.invited {
                self.incoming(notice, turn);
                self.conclude("the call had ended before its invitation came".to_owned(), None, turn);
            } else {
                self.platform_event(notice, "after the end", true, turn);
            }
            return;
        }
        let first = self.phase == Phase::New;
        match &notice.kind {
            NoticeKind::Incoming => self.incoming(notice, turn),
            NoticeKind::Ended => {
                self.learn(notice.call_object(), turn);
                self.end(Some(notice), None, turn);
            }
            kind => {
                if first {
                    self.orphan(notice, turn);
                }
                match kind {
                    NoticeKind::State => self.state(notice, turn),
                    NoticeKind::Tone => {
                        self.platform_event(notice, "tone", false, turn);
                        self.state(notice, turn);
                    }
                    NoticeKind::Roster(form) => {
                        let scope = self.scope(turn.settings);
                        let applied = self.roster.apply(*form, &notice.data, &scope, turn.now);
                        self.say_all(applied.facts, turn);
                        if applied.needs_resync {
                            self.get_participants(turn);
                        }
                    }
                    NoticeKind::Sharing { session, .. } => self.sharing(notice, session, turn),
                    NoticeKind::Operation { id } => self.operation(notice, id.as_deref(), turn),
                    NoticeKind::Joining => self.joining(notice, decision, turn),
                    NoticeKind::Left => self.user_left(notice, turn),
                    _ => self.platform_event(notice, "unknown", false, turn),
                }
            }
        }
    }

    fn incoming(&mut self, notice: &CallNotice, turn: &mut Turn<'_>) {
        let call = notice.call_object();
        if self.invited {
            // The same call in the same state: delivered twice.
            return;
        }
        self.invited = true;
        self.learn(call, turn);
        let offer = Offer::read(notice, &self.tenant);
        self.policy = offer.policy;
        if self.phase == Phase::New {
            self.phase = Phase::Offered;
            self.state = text(call, &["state"]).map(|state| bounded(state, 64));
            self.timers.settle = Some(turn.now.plus(SETTLE));
        }
        let mut fact = Fact::new(Kind::InvitationReceived, format!("{}|invitation|received", self.call_key()));
        fact.content.actor = offer.caller.as_ref().map(|caller| caller.person.clone());
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.subject = offer.subject.clone();
        fact.content.modalities = (!offer.modalities.is_empty()).then(|| offer.modalities.clone());
        fact.content.detail = Some(offer::detail(call, &offer));
        self.say(fact, turn);
        if let (Some(id), Some(person)) = (&offer.observed, offer.recorded()) {
            self.policy_users.insert(key(id), person);
        }
    }

    /// A call that is first seen in its middle: it exists, so it has a record; the rest is asked.
    fn orphan(&mut self, notice: &CallNotice, turn: &mut Turn<'_>) {
        let call = notice.call_object();
        self.learn(call, turn);
        self.phase = Phase::Establishing;
        // What it was waited for has come.
        self.timers.settle = None;
        self.start(text(call, &["state"]), true, turn);
        self.get_call(turn);
        self.get_participants(turn);
    }

    /// What came of `answer`.
    pub(super) fn answered(&mut self, reply: &Reply, latency: Duration, turn: &mut Turn<'_>) {
        if self.phase >= Phase::Ended || self.outcome != Outcome::Pending {
            return;
        }
        self.latency = Some(latency);
        let status = reply.status();
        if reply.is_success() {
            if self.phase < Phase::Establishing {
                self.phase = Phase::Answering;
                self.timers.settle = Some(turn.now.plus(NEWS));
            } else {
                self.accepted(turn);
            }
        } else if self.phase >= Phase::Establishing {
            // The call goes on, so an earlier try of the answer was taken.
            self.accepted(turn);
        } else if (400..500).contains(&status) {
            self.refused(status, reply.trouble(), turn);
        } else {
            turn.warn(&self.id, &format!("answer has no clear result: {}", reply.trouble()));
            self.result = Some(Reason { code: code(status), ..plain(format!("answer: {}", reply.trouble())) });
            self.timers.answer = Some(turn.now.plus(UNCLEAR));
        }
    }

    fn refused(&mut self, status: u16, trouble: String, turn: &mut Turn<'_>) {
        turn.warn(&self.id, &format!("answer was refused: {trouble}"));
        self.conclude(format!("answer was refused: {trouble}"), code(status), turn);
        self.phase = Phase::Refused;
        self.timers.settle = Some(turn.now.plus(SETTLE));
    }

    /// The answer stayed unclear for too long.
    pub(super) fn answer_is_lost(&mut self, turn: &mut Turn<'_>) {
        self.timers.answer = None;
        if self.outcome == Outcome::Pending && self.phase < Phase::Establishing {
            let Reason { code, message, .. } = self.result.take().unwrap_or_default();
            self.conclude(message.unwrap_or_else(|| "answer has no result".to_owned()), code, turn);
            self.phase = Phase::Refused;
            self.timers.settle = Some(turn.now.plus(SETTLE));
        }
    }

    /// `invitation.accepted`: the service took our answer and the call goes on.
    fn accepted(&mut self, turn: &mut Turn<'_>) {
        if !self.invited || self.outcome != Outcome::Pending {
            return;
        }
        self.outcome = Outcome::Said;
        self.timers.answer = None;
        let mut fact = Fact::new(Kind::InvitationAccepted, format!("{}|invitation|outcome", self.call_key()));
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.detail = self.latency.map(|latency| json!({ "latency_ms": milliseconds(latency) }));
        self.say(fact, turn);
    }

    /// `invitation.failed`, if nothing was said of the outcome.
    fn conclude(&mut self, message: String, code: Option<String>, turn: &mut Turn<'_>) {
        self.fail(Reason { code, ..plain(message) }, turn);
    }

    fn fail(&mut self, reason: Reason, turn: &mut Turn<'_>) {
        if !self.invited || self.outcome != Outcome::Pending {
            return;
        }
        self.outcome = Outcome::Said;
        let mut fact = Fact::new(Kind::InvitationFailed, format!("{}|invitation|outcome", self.call_key()));
        fact.content.source_id = Some(self.id.as_str().to_owned());
        let mut detail = serde_json::Map::new();
        detail.extend(meaning(&reason).map(|meaning| ("meaning".to_owned(), meaning.into())));
        detail.extend(self.latency.map(|latency| ("latency_ms".to_owned(), milliseconds(latency).into())));
        fact.content.detail = (!detail.is_empty()).then_some(Value::Object(detail));
        fact.content.reason = Some(reason);
        self.say(fact, turn);
    }

    /// Policy says no.
    pub(super) fn declined(&mut self, reason: String, latency: Duration, turn: &mut Turn<'_>) {
        if !self.invited || self.outcome != Outcome::Pending {
            return;
        }
        self.outcome = Outcome::Said;
        let mut fact = Fact::new(Kind::InvitationDeclined, format!("{}|invitation|outcome", self.call_key()));
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.reason = Some(plain(bounded(&reason, 1024)));
        fact.content.detail = Some(json!({ "latency_ms": milliseconds(latency) }));
        self.say(fact, turn);
        if self.phase < Phase::Refused {
            self.phase = Phase::Refused;
            self.timers.settle = Some(turn.now.plus(SETTLE));
        }
    }

    /// Takes what a call object tells for good: chain, chat, tenant, our participant.
    pub(super) fn learn(&mut self, call: &Value, turn: &mut Turn<'_>) {
        let set = |slot: &mut Option<String>, path: &[&str]| {
            if slot.is_none() {
                *slot = text(call, path).map(|id| bounded(id, 256));
            }
        };
        // Before the chain is known, nothing was said under it.
        if self.chain.is_none()
            && let Some(tenant) = text(call, &["tenantId"])
        {
            self.tenant = bounded(&tenant.to_lowercase(), 64);
        }
        set(&mut self.chain, &["callChainId"]);
        set(&mut self.own, &["myParticipantId"]);
        for target in list(call, &["targets"]).iter().take(16) {
            let principal = at(target, &["identity"]).and_then(|set| identity::principal(set, &self.tenant));
            if let Some(one) = principal.filter(identity::Principal::is_bot) {
                self.instances.insert(bounded(one.id.trim(), 256).to_lowercase());
            }
        }
        if self.pair.is_none() && self.phase == Phase::New {
            self.pair = super::chat::of_two(call);
        }
        set(&mut self.observed, &["incomingContext", "observedParticipantId"]);
        let holder = text(call, &["applicationMetadata", "botData", "user", "policyHolderId"]);
        if let (Some(holder), Phase::New) = (holder, self.phase) {
            self.observed = Some(bounded(holder, 256));
        }
        if !self.started {
            if let Some(subject) = text(call, &["subject"]) {
                self.subject = Some(bounded(subject, 1024));
            }
            let modalities = offer::modalities(call);
            if !modalities.is_empty() {
                self.modalities = modalities;
            }
        }
        if self.caller.is_none() {
            let set = member(call, "source").and_then(|source| member(source, "identity"));
            self.caller = set.and_then(|set| identity::principal(set, &self.tenant)).map(|caller| caller.person);
        }
        if let Some(thread) = offer::thread(call)
            && self.thread.as_deref() != Some(thread.as_str())
        {
            self.thread = Some(thread.clone());
            turn.out.push(Action::Chat(thread));
        }
    }

    fn state(&mut self, notice: &CallNotice, turn: &mut Turn<'_>) {
        self.observe(notice.call_object(), Some(notice), turn);
    }

    /// Takes a call object, from a notification or fetched.
    pub(super) fn observe(&mut self, call: &Value, notice: Option<&CallNotice>, turn: &mut Turn<'_>) {
        self.learn(call, turn);
        let word = text(call, &["state"]).map(|state| bounded(state, 64));
        let rank = word.as_deref().map(rank);
        match (rank, word) {
            (Some(Some(Phase::Ended)), _) => self.end(notice, reason(member(call, "resultInfo")), turn),
            (Some(Some(Phase::Offered)), _) => {}
            (Some(Some(rank)), Some(word)) if rank > self.phase => {
                let result = reason(member(call, "resultInfo"));
                let started = self.started;
                self.phase = rank;
                match rank {
                    Phase::Terminating if !started => {
                        if let Some(notice) = notice {
                            self.platform_event(notice, "terminating before it was established", false, turn);
                        }
                        self.state = Some(word);
                    }
                    _ => {
                        self.begun(turn);
                        if started {
                            self.changed(call, Some(word), result, turn)
                        } else {
                            self.start(Some(&word), false, turn)
                        }
                    }
                }
                if rank == Phase::Established {
                    self.established(turn);
                }
            }
            (Some(Some(rank)), word) if rank < self.phase => {
                // Late: stored, but it changes nothing (trap 6). Fetched states are never late, only old.
                if let Some(notice) = notice {
                    self.platform_event(notice, word.as_deref().unwrap_or_default(), true, turn);
                }
            }
            (Some(None), Some(word)) if self.phase > Phase::Established => {
                if let Some(notice) = notice {
                    self.platform_event(notice, &word, true, turn);
                }
            }
            // The same rank again, a state within the call, or none: what differs is said.
            (_, word) if self.started => {
                let said = turn.out.len();
                self.changed(call, word, reason(member(call, "resultInfo")), turn);
                let more = |call: &Value| call.as_object().is_some_and(|call| call.keys().any(|name| !is_plain(name)));
                if let Some(notice) = notice
                    && turn.out.len() == said
                    && more(call)
                {
                    // Something of the call that has no event of its own: kept all the same.
                    self.platform_event(notice, "further members of the call", false, turn);
                }
            }
            (Some(None), Some(_)) => {
                if let Some(notice) = notice {
                    self.platform_event(notice, "state before the beginning", false, turn);
                }
            }
            _ => {}
        }
    }

    /// The call goes on: our answer was good.
    fn begun(&mut self, turn: &mut Turn<'_>) {
        self.timers.settle = None;
        self.timers.answer = None;
        if self.latency.is_some() {
            self.accepted(turn);
        }
    }

    fn start(&mut self, state: Option<&str>, orphan: bool, turn: &mut Turn<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        self.state = state.map(|state| bounded(state, 64));
        let mut fact = Fact::new(Kind::ConversationStarted, format!("{}|started", self.conversation_key()));
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.state.clone_from(&self.state);
        fact.content.subject.clone_from(&self.subject);
        fact.content.modalities = (!self.modalities.is_empty()).then(|| self.modalities.clone());
        fact.content.detail = orphan.then(|| json!({ "found": "in the middle, without its invitation" }));
        self.say(fact, turn);
        self.missed_before(turn);
    }

    /// `conversation.changed` for everything that is new; nothing if nothing is.
    fn changed(&mut self, call: &Value, state: Option<String>, result: Option<Reason>, turn: &mut Turn<'_>) {
        let new_state = state.filter(|new| !self.state.as_deref().is_some_and(|old| old.eq_ignore_ascii_case(new)));
        let new_subject =
            text(call, &["subject"]).map(|s| bounded(s, 1024)).filter(|new| self.subject.as_ref() != Some(new));
        let told = offer::modalities(call);
        let new_modalities = (!told.is_empty() && told != self.modalities).then_some(told);
        let new_result = result.filter(|new| self.result.as_ref() != Some(new));
        if new_state.is_none() && new_subject.is_none() && new_modalities.is_none() && new_result.is_none() {
            return;
        }
        self.changes = self.changes.saturating_add(1);
        let what =
            json!([&new_state, &new_subject, &new_modalities, new_result.as_ref().map(|r| (&r.code, &r.subcode))]);
        let mut fact = Fact::new(
            Kind::ConversationChanged,
            format!("{}|changed|{}|{}", self.call_key(), self.changes, digest(&what.to_string())),
        );
        if let Some(state) = &new_state {
            self.state = Some(state.clone());
        }
        if let Some(subject) = &new_subject {
            self.subject = Some(subject.clone());
        }
        if let Some(modalities) = &new_modalities {
            self.modalities.clone_from(modalities);
        }
        if let Some(result) = &new_result {
            self.result = Some(result.clone());
            fact.content.detail = meaning(result).map(|meaning| json!({ "meaning": meaning }));
        }
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.state = new_state;
        fact.content.subject = new_subject;
        fact.content.modalities = new_modalities;
        fact.content.reason = new_result;
        self.say(fact, turn);
    }

    fn established(&mut self, turn: &mut Turn<'_>) {
        self.timers.keep_alive = Some(turn.now.plus(turn.settings.keep_alive));
        if self.thread.is_none() {
            self.get_call(turn);
        }
        self.get_participants(turn);
    }

    fn sharing(&mut self, notice: &CallNotice, session: &str, turn: &mut Turn<'_>) {
        let (kind, what) = match notice.change {
            Change::Created => (Kind::SharingStarted, "started"),
            Change::Deleted => (Kind::SharingEnded, "ended"),
            _ => return self.platform_event(notice, "content sharing", false, turn),
        };
        let mut fact = Fact::new(kind, format!("{}|sharing|{}|{what}", self.conversation_key(), key(session)));
        fact.content.source_id = Some(bounded(session, 256));
        self.say_once(fact, turn);
    }

    fn joining(&mut self, notice: &CallNotice, decision: Option<Decision>, turn: &mut Turn<'_>) {
        let call = notice.call_object();
        let offer = Offer::read(notice, &self.tenant);
        let person = offer.recorded();
        let id = offer.observed.clone().or_else(|| person.as_ref().map(|person| person.id.clone())).unwrap_or_default();
        if self.policy_users.len() < POLICY_USERS
            && let (Some(id), Some(person)) = (&offer.observed, &person)
        {
            self.policy_users.insert(key(id), person.clone());
        }
        let stem = format!("{}|joining|{}", self.call_key(), key(&id));
        let mut fact = Fact::new(Kind::InvitationReceived, format!("{stem}|received"));
        fact.content.actor.clone_from(&person);
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.subject = offer.subject.clone();
        let mut detail = offer::detail(call, &offer);
        detail["joining"] = json!(true);
        fact.content.detail = Some(detail);
        self.say_once(fact, turn);
        let (kind, why) = match decision {
            Some(Decision::Decline { reason }) => (Kind::InvitationDeclined, Some(plain(bounded(&reason, 1024)))),
            _ => (Kind::InvitationAccepted, None),
        };
        let mut fact = Fact::new(kind, format!("{stem}|outcome"));
        fact.content.actor = person;
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.reason = why;
        fact.content.detail = Some(json!({ "joining": true }));
        self.say_once(fact, turn);
    }

    fn user_left(&mut self, notice: &CallNotice, turn: &mut Turn<'_>) {
        let Some(id) = text(&notice.data, &["participantId"]) else {
            return self.platform_event(notice, "participant left", false, turn);
        };
        let person: Option<Person> = self.policy_users.get(&key(id)).cloned();
        let why = reason(member(notice.call_object(), "resultInfo"));
        let scope = self.scope(turn.settings);
        let facts = self.roster.left(id, person, why, &scope);
        self.say_all(facts, turn);
    }

    /// The leg is over, whoever says so. `why` is for ends that no notice tells.
    pub(super) fn end(&mut self, notice: Option<&CallNotice>, why: Option<Reason>, turn: &mut Turn<'_>) {
        if self.phase == Phase::Ended {
            return;
        }
        let told = notice.and_then(|notice| reason(member(notice.call_object(), "resultInfo")));
        let left = self.leaving.as_ref().map(|leaving| plain(leaving.why.clone()));
        let why = told.or(why).or(left);
        let begun = self.phase >= Phase::Establishing;
        if begun {
            self.accepted(turn);
        } else if self.invited && self.outcome == Outcome::Pending {
            self.fail(why.clone().unwrap_or_else(|| plain("the call ended before it was established")), turn);
        } else if let Some(notice) = notice {
            self.platform_event(notice, "end of a call that never began", false, turn);
        }
        self.recording_ends(turn);
        if self.started {
            let mut fact = Fact::new(Kind::ConversationEnded, format!("{}|ended", self.call_key()));
            fact.content.source_id = Some(self.id.as_str().to_owned());
            fact.content.state = Some(
                notice
                    .and_then(|notice| text(notice.call_object(), &["state"]))
                    .map_or_else(|| "terminated".to_owned(), |state| bounded(state, 64)),
            );
            fact.content.detail = why.as_ref().and_then(meaning).map(|meaning| json!({ "meaning": meaning }));
            fact.content.reason = why;
            self.say(fact, turn);
        }
        self.phase = Phase::Ended;
        self.asks.clear();
        self.leaving = None;
        self.timers = super::Timers::default();
        turn.out.push(Action::Ended);
    }

    pub(super) fn get_call(&mut self, turn: &mut Turn<'_>) {
        if !self.asks.values().any(|purpose| *purpose == Purpose::GetCall) {
            let ask = request::get_call(&self.id);
            self.ask(Purpose::GetCall, ask, turn);
        }
    }

    pub(super) fn get_participants(&mut self, turn: &mut Turn<'_>) {
        // One that began earlier may not know what happened since.
        let purpose = Purpose::GetParticipants { began_at: turn.now };
        if !self.asks.values().any(|pending| *pending == purpose) {
            let ask = request::get_participants(&self.id);
            self.ask(purpose, ask, turn);
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An HTTP status as a reason's code.
fn code(status: u16) -> Option<String> {
    (status != 0).then(|| status.to_string())
}
