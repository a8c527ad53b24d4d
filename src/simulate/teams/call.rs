//! Calls and meetings: who is there, and the recorder's legs, each of which is a `call` resource.

use serde_json::{Value, json};

use super::chat::ChatKind;
use super::keys::url64;
use super::ledger::{CallRecord, Path, RosterChange, RosterEntry};
use super::outbox::{Content, Letter};
use super::tenant::{Tenant, Timer};

/// Kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Two parties.
    OneOnOne,
    /// A group call.
    Group,
    /// A meeting with an organiser.
    Meeting,
}

/// Somebody on the roster.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub who: String,
    /// Participant id, a GUID; new with every coming.
    pub id: String,
    pub lobby: bool,
    pub muted: bool,
    /// Id of the sharing session under way.
    pub sharing: Option<String>,
    /// Roster sequence of the last change.
    pub seq: i64,
    /// Free text that the client gives.
    pub metadata: Option<String>,
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Incoming,
    Answered,
    Establishing,
    Established,
    Ended,
}

/// One leg of the recorder.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub id: String,
    pub stage: Stage,
    pub caller: String,
    /// The recorded user, for policy recording.
    pub observed: Option<String>,
    pub offered_ms: u64,
    pub deadline_ms: u64,
    pub participant: String,
    pub observed_participant: String,
    pub callback: Option<String>,
    pub capacity: u64,
    pub sharing_wanted: bool,
    pub delta: bool,
    /// Recorded users that this leg serves.
    pub handled: Vec<String>,
    pub recording: bool,
    pub alive_ms: u64,
    pub media: Value,
    pub modalities: Vec<String>,
}

/// A call as people see it.
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    pub name: String,
    pub kind: CallKind,
    pub subject: String,
    pub organizer: String,
    /// Number of the chat, if there is one.
    pub chat: Option<usize>,
    pub chain: String,
    pub token: String,
    pub seq: i64,
    pub present: Vec<Present>,
    pub legs: Vec<Leg>,
    pub started_ms: u64,
    pub over: bool,
}

/// An invitation of the recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Name of the call, and of its chat.
    pub name: String,
    /// Person who calls or organises.
    pub by: String,
    /// Kind of the call.
    pub kind: CallKind,
    /// Subject; topic of a new chat.
    pub subject: String,
    /// Further people who are there from the beginning.
    pub people: Vec<String>,
    /// Recorded users: a leg for each. Empty: an ordinary call.
    pub policy: Vec<String>,
    /// So many legs for each recorded user.
    pub concurrent: u32,
    /// The call has a chat.
    pub chat: bool,
}

impl Invite {
    /// An ordinary call of this kind with its chat.
    pub fn new(name: impl Into<String>, by: impl Into<String>, kind: CallKind) -> Self {
        Invite {
            name: name.into(),
            by: by.into(),
            kind,
            subject: String::new(),
            people: Vec::new(),
            policy: Vec::new(),
            concurrent: 1,
            chat: true,
        }
    }
}

impl Tenant {
    pub fn gathering(&self, name: &str) -> Result<usize, String> {
        let found = self.gatherings.iter().rposition(|g| g.name == name);
        found.ok_or_else(|| format!("there is no call \"{name}\" yet"))
    }

    /// The leg with this id, however its letters and dashes are.
    pub fn leg(&self, id: &str) -> Option<(usize, usize)> {
        let bare = |t: &str| t.replace('-', "").to_ascii_lowercase();
        let wanted = bare(id);
        self.gatherings
            .iter()
            .enumerate()
            .find_map(|(g, gathering)| gathering.legs.iter().position(|l| bare(&l.id) == wanted).map(|l| (g, l)))
    }

    pub fn record(&mut self, call: &str) -> Option<&mut CallRecord> {
        self.ledger.calls.iter_mut().find(|r| r.id == call)
    }

    /// Invites the recorder; the ids of the legs.
    pub fn invite(&mut self, invite: &Invite) -> Result<Vec<String>, String> {
        for id in std::iter::once(&invite.by).chain(&invite.people).chain(&invite.policy) {
            self.member(id)?;
        }
        if self.gathering(&invite.name).is_ok_and(|g| !self.gatherings[g].over) {
            return Err(format!("the call \"{}\" is under way", invite.name));
        }
        let mut people = vec![invite.by.clone()];
        for id in invite.people.iter().chain(&invite.policy) {
            if !people.contains(id) {
                people.push(id.clone());
            }
        }
        let chat = match (self.chat_named(&invite.name), invite.chat) {
            (Some(c), _) => Some(c),
            (None, false) => None,
            (None, true) => {
                let kind = match invite.kind {
                    CallKind::OneOnOne => ChatKind::OneOnOne,
                    CallKind::Group => ChatKind::Group,
                    CallKind::Meeting => ChatKind::Meeting,
                };
                Some(self.make_chat(&invite.name, kind, &invite.subject, &people)?)
            }
        };
        let chain = self.guid();
        let token = url64(self.guid());
        self.gatherings.push(Gathering {
            name: invite.name.clone(),
            kind: invite.kind,
            subject: invite.subject.clone(),
            organizer: invite.by.clone(),
            chat,
            chain,
            token,
            seq: 0,
            present: Vec::new(),
            legs: Vec::new(),
            started_ms: self.now_ms,
            over: false,
        });
        let g = self.gatherings.len() - 1;
        let (by, name) = (self.display(&invite.by), &invite.name);
        self.tell(match invite.kind {
            CallKind::OneOnOne => format!("{by} calls, \"{name}\""),
            CallKind::Group => format!("{by} starts the group call \"{name}\""),
            CallKind::Meeting => format!("{by} starts the meeting \"{name}\""),
        });
        for id in &people {
            self.come(g, id, false, None);
        }
        if let Some(c) = chat {
            let kind = if invite.kind == CallKind::Meeting { "meeting" } else { "call" };
            let detail = json!({ "callId": self.gatherings[g].chain, "callEventType": kind });
            self.system(c, "callStarted", detail, &invite.by);
            self.meeting_event(c, "meetingStart", &invite.by);
        }
        let mut ids = Vec::new();
        if invite.policy.is_empty() {
            ids.push(self.ring(g, &invite.by, None));
        }
        for user in &invite.policy {
            for _ in 0..invite.concurrent.max(1) {
                ids.push(self.ring(g, &invite.by, Some(user)));
            }
        }
        Ok(ids)
    }

    /// A new leg rings.
    pub fn ring(&mut self, g: usize, caller: &str, observed: Option<&str>) -> String {
        let (id, participant) = (self.guid(), self.guid());
        let wait = if observed.is_some() { self.options.policy_answer_ms } else { self.options.answer_ms };
        let observed_participant = observed
            .and_then(|o| self.gatherings[g].present.iter().find(|p| p.who == o).map(|p| p.id.clone()))
            .unwrap_or_else(|| self.guid());
        let gathering = &mut self.gatherings[g];
        gathering.legs.push(Leg {
            id: id.clone(),
            stage: Stage::Incoming,
            caller: caller.to_owned(),
            observed: observed.map(str::to_owned),
            offered_ms: self.now_ms,
            deadline_ms: self.now_ms + wait,
            participant,
            observed_participant,
            callback: None,
            capacity: 0,
            sharing_wanted: false,
            delta: false,
            handled: observed.map(str::to_owned).into_iter().collect(),
            recording: false,
            alive_ms: self.now_ms,
            media: Value::Null,
            modalities: vec!["audio".to_owned()],
        });
        let l = gathering.legs.len() - 1;
        let oid = |id: &str| self.member(id).map(|m| m.oid.clone()).unwrap_or_default();
        let record = CallRecord {
            name: self.gatherings[g].name.clone(),
            id: id.clone(),
            caller: oid(caller),
            observed: observed.map(oid).unwrap_or_default(),
            thread: self.gatherings[g].chat.map(|c| self.chats[c].id.clone()).unwrap_or_default(),
            offered_ms: self.now_ms,
            roster: self
                .ledger
                .calls
                .iter()
                .find(|r| r.name == self.gatherings[g].name)
                .map(|r| r.roster.clone())
                .unwrap_or_default(),
            ..CallRecord::default()
        };
        // People who were there before the first leg rang are on its roster, too.
        let record = if record.roster.is_empty() {
            let there = self.gatherings[g].present.iter().map(|p| RosterEntry {
                at_ms: self.now_ms,
                change: if p.lobby { RosterChange::InLobby } else { RosterChange::Joined },
                who: oid(&p.who),
                participant: p.id.clone(),
            });
            CallRecord { roster: there.collect(), ..record }
        } else {
            record
        };
        self.ledger.calls.push(record);
        let data = self.incoming_json(g, l);
        self.notify_call(g, l, "incoming", "created", "", Some(data));
        self.later(wait, Timer::Deadline(id.clone()));
        match observed {
            Some(who) => self.tell(format!("Teams invites the recorder to record {}", self.display(who))),
            None => self.tell("The recorder is called".to_owned()),
        }
        id
    }

    /// Queues a notification of a leg; `tail` is what follows the call in `resourceUrl`.
    pub fn notify_call(&mut self, g: usize, l: usize, what: &str, change: &str, tail: &str, data: Option<Value>) {
        let leg = &self.gatherings[g].legs[l];
        let mut item = json!({
            "@odata.type": "#microsoft.graph.commsNotification",
            "changeType": change,
            "resource": format!("/app/calls/{}{tail}", leg.id),
            "resourceUrl": format!("/communications/calls/{}{tail}", leg.id),
        });
        if let Some(data) = data {
            item["resourceData"] = data;
        }
        let url = leg.callback.clone().unwrap_or_else(|| format!("{}/api/calls", self.callback));
        let call = leg.id.clone();
        self.dispatch(Letter {
            lane: call.clone(),
            url,
            path: Path::Calls,
            what: what.to_owned(),
            content: Content::Call {
                body: json!({ "@odata.type": "#microsoft.graph.commsNotifications", "value": [item] }),
                call,
            },
            bad: None,
            wrong: false,
        });
    }

    /// The deadline of an answer is over.
    pub fn deadline(&mut self, call: &str) {
        let Some((g, l)) = self.leg(call) else { return };
        if self.gatherings[g].legs[l].stage != Stage::Incoming {
            return;
        }
        self.tell(format!("The recorder did not answer \"{}\" in time", self.gatherings[g].name));
        if let Some(record) = self.record(call) {
            record.late = true;
        }
        self.end_leg(g, l, 408, 8544, "Callee could not be reached.");
    }

    pub fn establish(&mut self, call: &str) {
        let Some((g, l)) = self.leg(call) else { return };
        if self.gatherings[g].legs[l].stage != Stage::Answered {
            return;
        }
        self.gatherings[g].legs[l].stage = Stage::Establishing;
        let data = self.state_json(g, l, "establishing");
        self.notify_call(g, l, "establishing", "updated", "", Some(data));
        self.later(self.options.connect_ms, Timer::Connect(call.to_owned()));
    }

    pub fn connect(&mut self, call: &str) {
        let Some((g, l)) = self.leg(call) else { return };
        if self.gatherings[g].legs[l].stage != Stage::Establishing {
            return;
        }
        self.gatherings[g].legs[l].stage = Stage::Established;
        self.tell(format!("The recorder is in \"{}\"", self.gatherings[g].name));
        let data = self.state_json(g, l, "established");
        self.notify_call(g, l, "established", "updated", "", Some(data));
        let everybody: Vec<String> = self.gatherings[g].present.iter().map(|p| p.id.clone()).collect();
        self.tell_roster(g, Some(l), &everybody, None);
        let sessions: Vec<String> = self.gatherings[g].present.iter().filter_map(|p| p.sharing.clone()).collect();
        for session in sessions {
            self.tell_sharing(g, Some(l), &session, "created");
        }
    }

    /// A leg ends, with this result.
    pub fn end_leg(&mut self, g: usize, l: usize, code: i32, subcode: i32, message: &str) {
        if self.gatherings[g].legs[l].stage == Stage::Ended {
            return;
        }
        self.gatherings[g].legs[l].stage = Stage::Ended;
        let id = self.gatherings[g].legs[l].id.clone();
        if let Some(record) = self.record(&id) {
            record.ended = Some(format!("{code}/{subcode}"));
        }
        let mut data = self.state_json(g, l, "terminated");
        let mut result = json!({ "@odata.type": "#microsoft.graph.resultInfo", "code": code, "subcode": subcode });
        if !message.is_empty() {
            result["message"] = json!(message);
        }
        data["resultInfo"] = result;
        self.notify_call(g, l, "deleted", "deleted", "", Some(data));
    }

    /// The call is over for everybody.
    pub fn end_call(&mut self, name: &str) -> Result<(), String> {
        let g = self.gathering(name)?;
        self.tell(format!("\"{name}\" is over"));
        let everybody: Vec<String> = self.gatherings[g].present.iter().map(|p| p.who.clone()).collect();
        for who in &everybody {
            self.go(g, who, false);
        }
        for l in 0..self.gatherings[g].legs.len() {
            self.end_leg(g, l, 200, 560_000, "Call ended normally. DiagCode: 200#560000.@");
        }
        self.close(g, &everybody);
        Ok(())
    }

    /// The chat is told that the call is over.
    pub fn close(&mut self, g: usize, people: &[String]) {
        if self.gatherings[g].over {
            return;
        }
        self.gatherings[g].over = true;
        let Some(c) = self.gatherings[g].chat else { return };
        let seconds = (self.now_ms - self.gatherings[g].started_ms) / 1000;
        let participants: Vec<Value> =
            people.iter().map(|p| json!({ "participant": self.chat_identity_set(p) })).collect();
        let kind = if self.gatherings[g].kind == CallKind::Meeting { "meeting" } else { "call" };
        let detail = json!({
            "callId": self.gatherings[g].chain, "callDuration": format!("PT{seconds}S"), "callEventType": kind,
            "callParticipants": participants,
        });
        let organizer = self.gatherings[g].organizer.clone();
        self.system(c, "callEnded", detail, &organizer);
        self.meeting_event(c, "meetingEnd", &organizer);
    }

    /// Somebody of the policy comes into a call that is recorded: by notification to a leg with room, else with a new leg.
    pub fn policy_join(&mut self, name: &str, who: &str) -> Result<(), String> {
        self.member(who)?;
        let g = self.gathering(name)?;
        if !self.gatherings[g].present.iter().any(|p| p.who == who) {
            self.come(g, who, false, None);
        }
        let room = self.gatherings[g].legs.iter().position(|l| {
            l.observed.is_some()
                && l.stage == Stage::Established
                && l.capacity > 1
                && (l.handled.len() as u64) < l.capacity
        });
        let Some(l) = room else {
            self.ring(g, who, Some(who));
            return Ok(());
        };
        self.gatherings[g].legs[l].handled.push(who.to_owned());
        let mut data = self.incoming_json(g, l);
        let participant = self.participant_id(g, who);
        data["source"]["identity"] = self.identity(who);
        data["incomingContext"]["sourceParticipantId"] = json!(participant);
        data["incomingContext"]["observedParticipantId"] = json!(participant);
        let oid = self.member(who)?.oid.clone();
        data["applicationMetadata"]["botData"]["user"]["policyHolderId"] = json!(format!("8:orgid:{oid}"));
        let leg = &self.gatherings[g].legs[l];
        let body = json!({
            "@odata.type": "#microsoft.graph.commsNotifications",
            "value": [{
                "@odata.type": "#microsoft.graph.commsNotification",
                "changeType": "created",
                "resourceUrl": format!("/communications/calls/{}", leg.id),
                "resourceData": { "@odata.type": "#microsoft.graph.participantJoiningNotification", "call": data },
            }],
        });
        let (call, url) =
            (leg.id.clone(), leg.callback.clone().unwrap_or_else(|| format!("{}/api/calls", self.callback)));
        self.tell(format!("Teams asks the recorder to record {}, too", self.display(who)));
        self.dispatch(Letter {
            lane: call.clone(),
            url,
            path: Path::Calls,
            what: "joining".to_owned(),
            content: Content::Joining { body, call, who: who.to_owned() },
            bad: None,
            wrong: false,
        });
        Ok(())
    }

    /// What the recorder said about somebody who joins.
    pub fn decided(&mut self, call: &str, who: &str, decision: &Value) {
        let kind =
            decision["@odata.type"].as_str().unwrap_or_default().trim_start_matches("#microsoft.graph.").to_owned();
        let word = match kind.as_str() {
            "acceptJoinResponse" => "accept",
            "rejectJoinResponse" => "reject",
            "inviteNewBotResponse" => "inviteNewBot",
            _ => {
                self.violate("a joining notification was answered without a decision; the user is lost");
                "lost"
            }
        };
        let oid = self.member(who).map(|m| m.oid.clone()).unwrap_or_default();
        if let Some(record) = self.record(call) {
            record.joining.push((oid, word.to_owned()));
        }
        let Some((g, l)) = self.leg(call) else { return };
        if word != "accept" {
            self.gatherings[g].legs[l].handled.retain(|h| h != who);
        }
        if word == "inviteNewBot" {
            self.ring(g, who, Some(who));
        }
    }

    /// A recorded user of a grouped leg has left.
    pub fn policy_leave(&mut self, name: &str, who: &str) -> Result<(), String> {
        let g = self.gathering(name)?;
        let participant = self.participant_id(g, who);
        self.go(g, who, true);
        let Some(l) = self.gatherings[g].legs.iter().position(|l| l.handled.iter().any(|h| h == who)) else {
            return Ok(());
        };
        self.gatherings[g].legs[l].handled.retain(|h| h != who);
        if self.gatherings[g].legs[l].capacity > 1 {
            let call = self.gatherings[g].legs[l].id.clone();
            let data = json!({
                "@odata.type": "#microsoft.graph.participantLeftNotification",
                "participantId": participant,
                "call": {
                    "@odata.type": "#microsoft.graph.call", "id": call,
                    "resultInfo": { "@odata.type": "#microsoft.graph.resultInfo", "code": 0, "subcode": 0 },
                },
            });
            self.notify_call(g, l, "left", "deleted", "", Some(data));
        }
        if self.gatherings[g].legs[l].handled.is_empty() {
            self.end_leg(g, l, 200, 560_000, "Call ended normally. DiagCode: 200#560000.@");
        }
        Ok(())
    }

    /// A state of the call that is no end: hold, transferring …
    pub fn set_state(&mut self, name: &str, state: &str) -> Result<(), String> {
        let g = self.gathering(name)?;
        for l in 0..self.gatherings[g].legs.len() {
            if self.gatherings[g].legs[l].stage == Stage::Established {
                let data = self.state_json(g, l, state);
                self.notify_call(g, l, state, "updated", "", Some(data));
            }
        }
        Ok(())
    }

    /// A key was pressed.
    pub fn tone(&mut self, name: &str, tone: &str) -> Result<(), String> {
        let g = self.gathering(name)?;
        for l in 0..self.gatherings[g].legs.len() {
            if self.gatherings[g].legs[l].stage == Stage::Established {
                let mut data = self.state_json(g, l, "established");
                data["toneInfo"] = json!({ "@odata.type": "#microsoft.graph.toneInfo", "sequenceId": 1, "tone": tone });
                self.notify_call(g, l, "tone", "updated", "", Some(data));
            }
        }
        Ok(())
    }

    /// An operation of `updateRecordingStatus` comes to its end.
    pub fn recorded(&mut self, call: &str, operation: Value) {
        let Some((g, l)) = self.leg(call) else { return };
        let tail = format!("/operations/{}", operation["id"].as_str().unwrap_or_default());
        self.notify_call(g, l, "operation", "deleted", &tail, Some(operation));
    }

    /// Releases a leg that was not kept alive.
    pub fn expect_keep_alive(&mut self, call: &str) {
        let Some((g, l)) = self.leg(call) else { return };
        let leg = &self.gatherings[g].legs[l];
        if leg.stage == Stage::Ended {
            return;
        }
        let due = leg.alive_ms + self.options.keep_alive_ms;
        if due > self.now_ms {
            self.later(due - self.now_ms, Timer::KeepAlive(call.to_owned()));
        } else {
            self.violate("a call was released because nothing kept it alive");
            self.end_leg(g, l, 408, 10_057, "Request timeout.");
        }
    }
}
