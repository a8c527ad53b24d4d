//! What can be done in the tenant: by a step of a scenario, or by a test.

use serde_json::{Value, json};

use super::call::{CallKind, Invite, Stage};
use super::chat::ChatKind;
use super::fault::Fault;
use super::speech::Words;
use super::tenant::Tenant;

/// One deed. Chats and calls go by their names, people by their ids in the cast, messages by label or id (default: the last).
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A line for those who watch.
    Narrate(String),
    /// A chat or channel comes into being.
    CreateChat {
        /// Its name.
        chat: String,
        /// Its kind.
        kind: ChatKind,
        /// Topic; may be empty.
        topic: String,
        /// Members; the first owns it.
        people: Vec<String>,
    },
    /// Members are added, with a system message.
    AddMembers {
        /// The chat.
        chat: String,
        /// Who adds.
        by: String,
        /// Who is added.
        people: Vec<String>,
    },
    /// Members are removed; one who removes only themselves leaves.
    RemoveMembers {
        /// The chat.
        chat: String,
        /// Who removes.
        by: String,
        /// Who is removed.
        people: Vec<String>,
    },
    /// The chat is renamed.
    Rename {
        /// The chat.
        chat: String,
        /// Who does it.
        by: String,
        /// New topic.
        topic: String,
    },
    /// Somebody says something.
    Say {
        /// The chat.
        chat: String,
        /// Who.
        by: String,
        /// What.
        words: Box<Words>,
        /// Label for later steps.
        label: Option<String>,
    },
    /// A message gets other words.
    Edit {
        /// The chat.
        chat: String,
        /// The message.
        label: Option<String>,
        /// The new words.
        text: String,
    },
    /// A message is deleted.
    Delete {
        /// The chat.
        chat: String,
        /// The message.
        label: Option<String>,
    },
    /// A deletion is undone.
    Undelete {
        /// The chat.
        chat: String,
        /// The message.
        label: Option<String>,
    },
    /// A rule of the tenant hides a message.
    Block {
        /// The chat.
        chat: String,
        /// The message.
        label: Option<String>,
    },
    /// A reaction is added or taken back.
    React {
        /// The chat.
        chat: String,
        /// The message.
        label: Option<String>,
        /// Who.
        by: String,
        /// `like`, `heart`, or an emoji.
        reaction: String,
        /// Added, else taken back.
        on: bool,
    },
    /// A system message.
    System {
        /// The chat.
        chat: String,
        /// Who caused it; may be empty.
        by: String,
        /// `chatRenamed`, `messagePinned` …
        kind: String,
        /// Its members but type and initiator.
        detail: Value,
    },
    /// The recorder is called.
    Invite(Invite),
    /// Somebody joins a call.
    Join {
        /// The call.
        call: String,
        /// Who.
        who: String,
        /// Into the lobby.
        lobby: bool,
        /// Free text of the client.
        metadata: Option<String>,
    },
    /// Somebody leaves a call, or the lobby.
    Leave {
        /// The call.
        call: String,
        /// Who.
        who: String,
    },
    /// Somebody is let in.
    Admit {
        /// The call.
        call: String,
        /// Who.
        who: String,
    },
    /// Somebody mutes or unmutes.
    Mute {
        /// The call.
        call: String,
        /// Who.
        who: String,
        /// Muted.
        on: bool,
    },
    /// Somebody starts or stops sharing.
    Share {
        /// The call.
        call: String,
        /// Who.
        who: String,
        /// Starts.
        on: bool,
    },
    /// A user of the policy comes into a recorded call.
    PolicyJoin {
        /// The call.
        call: String,
        /// Who.
        who: String,
    },
    /// A user of the policy leaves a recorded call.
    PolicyLeave {
        /// The call.
        call: String,
        /// Who.
        who: String,
    },
    /// A state that is no end: `hold`, `transferring` …
    State {
        /// The call.
        call: String,
        /// The state.
        state: String,
    },
    /// A key is pressed.
    Tone {
        /// The call.
        call: String,
        /// `tone1` …
        tone: String,
    },
    /// The call ends for everybody.
    End {
        /// The call.
        call: String,
    },
    /// Everybody leaves, and the call is not ended: the recorder stays behind.
    Abandon {
        /// The call.
        call: String,
    },
    /// The recorder's leg is removed from the call.
    Eject {
        /// The call.
        call: String,
    },
    /// The app is put into a chat, or taken out.
    Install {
        /// The chat.
        chat: String,
        /// Who does it.
        by: String,
        /// Put in.
        on: bool,
    },
    /// Any activity, of this type, with these members besides the usual ones.
    Activity {
        /// The chat.
        chat: String,
        /// Who.
        by: String,
        /// `typing`, `invoke` …
        kind: String,
        /// More members.
        body: Value,
    },
    /// Any call notification for the legs of a call: `changeType`, tail of `resourceUrl`, `resourceData`.
    Notify {
        /// The call.
        call: String,
        /// `created`, `updated` or `deleted`.
        change: String,
        /// What follows the call in `resourceUrl`.
        tail: String,
        /// `resourceData`.
        body: Value,
    },
    /// Something breaks.
    Fault(Fault),
}

impl Tenant {
    /// Does it. The text is what came of it: the id of a message, of a chat, of the legs of a call; else empty.
    pub fn act(&mut self, act: &Act) -> Result<String, String> {
        match act {
            Act::Narrate(line) => self.tell(line.clone()),
            Act::CreateChat { chat, kind, topic, people } => {
                let c = self.make_chat(chat, kind.clone(), topic, people)?;
                return Ok(self.chats[c].id.clone());
            }
            Act::AddMembers { chat, by, people } => {
                let c = self.chat(chat)?;
                for who in people {
                    self.member(who)?;
                    if !self.chats[c].members.contains(who) {
                        self.chats[c].members.push(who.clone());
                    }
                }
                let members: Vec<Value> = people.iter().map(|p| self.chat_identity(p)).collect();
                let detail = json!({ "members": members, "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z" });
                self.tell(format!("{} adds {} to \"{chat}\"", self.display(by), people.join(", ")));
                return Ok(self.system(c, "membersAdded", detail, by));
            }
            Act::RemoveMembers { chat, by, people } => {
                let c = self.chat(chat)?;
                let members: Vec<Value> = people.iter().map(|p| self.chat_identity(p)).collect();
                self.chats[c].members.retain(|m| !people.contains(m));
                let kind = if people.iter().all(|p| p == by) { "membersLeft" } else { "membersDeleted" };
                self.tell(format!("{} removes {} from \"{chat}\"", self.display(by), people.join(", ")));
                return Ok(self.system(c, kind, json!({ "members": members }), by));
            }
            Act::Rename { chat, by, topic } => {
                let c = self.chat(chat)?;
                self.chats[c].topic.clone_from(topic);
                let detail = json!({ "chatId": self.chats[c].id, "chatDisplayName": topic });
                self.tell(format!("{} calls the chat \"{topic}\"", self.display(by)));
                return Ok(self.system(c, "chatRenamed", detail, by));
            }
            Act::Say { chat, by, words, label } => {
                let id = self.say(chat, by, words, label.as_deref())?;
                self.tell(format!("{} in \"{chat}\": {}", self.display(by), words.shown()));
                return Ok(id);
            }
            Act::Edit { chat, label, text } => {
                self.edit(chat, label.as_deref(), text)?;
                self.tell(format!("A message in \"{chat}\" is changed: {text}"));
            }
            Act::Delete { chat, label } => {
                self.delete(chat, label.as_deref())?;
                self.tell(format!("A message in \"{chat}\" is deleted"));
            }
            Act::Undelete { chat, label } => {
                self.undelete(chat, label.as_deref())?;
                self.tell(format!("A message in \"{chat}\" is restored"));
            }
            Act::Block { chat, label } => {
                self.block(chat, label.as_deref())?;
                self.tell(format!("A message in \"{chat}\" is blocked by a rule"));
            }
            Act::React { chat, label, by, reaction, on } => {
                self.react(chat, label.as_deref(), by, reaction, *on)?;
                let what = if *on { "reacts with" } else { "takes back" };
                self.tell(format!("{} {what} {reaction} in \"{chat}\"", self.display(by)));
            }
            Act::System { chat, by, kind, detail } => {
                let c = self.chat(chat)?;
                return Ok(self.system(c, kind, detail.clone(), by));
            }
            Act::Invite(invite) => return Ok(self.invite(invite)?.join(" ")),
            Act::Join { call, who, lobby, metadata } => self.join_call(call, who, *lobby, metadata.clone())?,
            Act::Leave { call, who } => self.leave_call(call, who)?,
            Act::Admit { call, who } => self.admit(call, who)?,
            Act::Mute { call, who, on } => self.mute(call, who, *on)?,
            Act::Share { call, who, on } => self.share_in(call, who, *on)?,
            Act::PolicyJoin { call, who } => self.policy_join(call, who)?,
            Act::PolicyLeave { call, who } => self.policy_leave(call, who)?,
            Act::State { call, state } => self.set_state(call, state)?,
            Act::Tone { call, tone } => self.tone(call, tone)?,
            Act::End { call } => self.end_call(call)?,
            Act::Abandon { call } => {
                let g = self.gathering(call)?;
                self.tell(format!("Everybody leaves \"{call}\"; nobody ends it"));
                let people: Vec<String> = self.gatherings[g].present.iter().map(|p| p.who.clone()).collect();
                for who in &people {
                    self.go(g, who, true);
                }
                self.close(g, &people);
            }
            Act::Eject { call } => {
                let g = self.gathering(call)?;
                self.tell(format!("The recorder is removed from \"{call}\""));
                for l in 0..self.gatherings[g].legs.len() {
                    self.end_leg(g, l, 0, 5_854, "The bot was removed from the call.");
                }
            }
            Act::Install { chat, by, on } => {
                let c = self.chat(chat)?;
                self.member(by)?;
                let what = if *on { "puts the recorder into" } else { "takes the recorder out of" };
                self.tell(format!("{} {what} the chat \"{chat}\"", self.display(by)));
                self.install(c, by, *on);
            }
            Act::Activity { chat, by, kind, body } => {
                let c = self.chat(chat)?;
                let id = self.wall_ms().to_string();
                let mut activity = self.activity(c, kind, &id, by);
                for (name, value) in body.as_object().into_iter().flatten() {
                    activity[name.as_str()] = value.clone();
                }
                self.send_activity(kind, activity);
            }
            Act::Notify { call, change, tail, body } => {
                let g = self.gathering(call)?;
                for l in 0..self.gatherings[g].legs.len() {
                    if self.gatherings[g].legs[l].stage != Stage::Ended {
                        let data = (!body.is_null()).then(|| body.clone());
                        self.notify_call(g, l, "custom", change, tail, data);
                    }
                }
            }
            Act::Fault(fault) => self.strike(fault.clone()),
        }
        Ok(String::new())
    }

    /// Breaks something.
    pub fn strike(&mut self, fault: Fault) {
        self.tell(fault.to_string());
        self.ledger.faults.push(fault.to_string());
        match fault {
            Fault::Send { path, what, skip, times, effect } => self.faults.arm_send(path, what, skip, times, effect),
            Fault::Answers { path, skip, times, spoiled } => self.faults.arm_answer(path, skip, times, spoiled),
            Fault::RemoveSubscription(part, told) => self.remove_subscriptions(&part, told),
            Fault::SilentStop(part) => {
                for s in self.subscriptions.iter_mut().filter(|s| s.resource.contains(&part)) {
                    s.silent = true;
                }
            }
            Fault::Reauthorize(part) => self.lifecycles(&part, "reauthorizationRequired"),
            Fault::Lifecycle(event, part) => self.lifecycles(&part, &event),
            Fault::RotateKeys(signer, forget) => self.keys.rotate(signer, forget),
            Fault::ExpireTokens => self.issued.clear(),
            Fault::Secret(secret) => self.options.client_secret = secret,
            Fault::SecretExpired => self.faults.secret_expired = true,
            Fault::SlowHandshake(length) => self.faults.handshake = length,
            Fault::ForeignNextLink => self.faults.next_link = true,
            Fault::ForeignServiceUrl => {
                self.faults.service_url = Some(format!("{}/smba/emea/", self.urls.elsewhere));
            }
            Fault::ForeignChat(name) => {
                if let Some(c) = self.chat_named(&name) {
                    self.chats[c].foreign = true;
                }
            }
            Fault::Revoke(role) => self.options.roles.retain(|r| *r != role),
        }
    }

    fn lifecycles(&mut self, part: &str, event: &str) {
        let ids: Vec<String> =
            self.subscriptions.iter().filter(|s| s.resource.contains(part)).map(|s| s.id.clone()).collect();
        for id in ids {
            let _ = self.lifecycle(&id, event);
        }
    }

    /// Whether what a step waits for has come.
    pub fn holds(&self, condition: &Condition) -> bool {
        let legs = || {
            self.gatherings
                .iter()
                .filter(|g| condition.name.is_empty() || g.name == condition.name)
                .flat_map(|g| &g.legs)
        };
        let records = || self.ledger.calls.iter().filter(|r| condition.name.is_empty() || r.name == condition.name);
        let enough = |n: usize| n as u64 >= condition.count;
        match condition.kind {
            ConditionKind::Token => enough(self.ledger.tokens.values().sum::<u32>() as usize),
            ConditionKind::Subscribed => {
                let resources = self.subscriptions.iter().filter(|s| match self.chat_named(&condition.name) {
                    Some(c) => percent_encoding::percent_decode_str(&s.resource)
                        .decode_utf8_lossy()
                        .contains(&self.chats[c].id),
                    None => condition.name.is_empty() || s.resource.contains(&condition.name),
                });
                enough(resources.count())
            }
            ConditionKind::Answered => enough(records().filter(|r| r.answered_after_ms.is_some() && !r.late).count()),
            ConditionKind::Established => enough(legs().filter(|l| l.stage == Stage::Established).count()),
            ConditionKind::Recording => enough(legs().filter(|l| l.recording).count()),
            ConditionKind::Left => legs().next().is_some() && legs().all(|l| l.stage == Stage::Ended),
            ConditionKind::Delivered => self.under_way == 0,
            ConditionKind::Taken => self
                .ledger
                .versions()
                .filter(|(id, _, _)| {
                    condition.name.is_empty() || self.ledger.chats.get(*id).is_some_and(|c| c.name == condition.name)
                })
                .all(|(_, _, v)| v.acknowledged || v.read),
            ConditionKind::Noticed => {
                let ours = self.ledger.chats.values().filter(|c| condition.name.is_empty() || c.name == condition.name);
                enough(ours.flat_map(|c| &c.messages).filter(|m| m.ours).count())
            }
        }
    }
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionKind {
    Token,
    Subscribed,
    Answered,
    Established,
    Recording,
    Left,
    Delivered,
    Taken,
    Noticed,
}

/// Names of the conditions in files.
pub(super) const CONDITIONS: &[(&str, ConditionKind)] = &[
    ("token", ConditionKind::Token),
    ("subscribed", ConditionKind::Subscribed),
    ("answered", ConditionKind::Answered),
    ("established", ConditionKind::Established),
    ("recording", ConditionKind::Recording),
    ("left", ConditionKind::Left),
    ("delivered", ConditionKind::Delivered),
    ("taken", ConditionKind::Taken),
    ("noticed", ConditionKind::Noticed),
];

/// See `docs/SCENARIOS.md`, "wait_for".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub kind: ConditionKind,
    /// Name of a call or chat, or part of a resource; empty: any.
    pub name: String,
    pub count: u64,
}

/// Kinds of calls in files.
pub(super) const CALL_KINDS: &[(&str, CallKind)] =
    &[("one_on_one", CallKind::OneOnOne), ("group", CallKind::Group), ("meeting", CallKind::Meeting)];
