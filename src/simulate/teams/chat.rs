//! Chats and channels, and their messages as the service holds them: the present form only; earlier ones are in the ledger.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cast::Kind;
use super::tenant::{Tenant, escape, time};

/// Kind of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// Two people.
    OneOnOne,
    /// A group.
    Group,
    /// The chat of a meeting.
    Meeting,
    /// A channel of a team.
    Channel {
        /// Id of the team.
        team: String,
    },
}

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Person(String),
    Recorder,
    Nobody,
}

/// An image or another file that the service keeps with a message.
#[derive(Clone, Debug)]
pub(super) struct Hosted {
    pub id: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// A reaction that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reaction {
    pub by: String,
    pub kind: String,
    pub at_ms: i64,
}

/// A message as it is now.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub id: String,
    pub from: From,
    pub html: bool,
    pub content: String,
    /// What an undeletion brings back.
    pub kept: Option<String>,
    pub created: i64,
    pub modified: i64,
    pub edited: Option<i64>,
    pub deleted: Option<i64>,
    pub attachments: Vec<Value>,
    pub mentions: Vec<Value>,
    pub reactions: Vec<Reaction>,
    pub history: Vec<Value>,
    pub importance: &'static str,
    pub subject: Option<String>,
    /// `eventDetail` of a system message.
    pub event: Option<Value>,
    pub reply_to: Option<String>,
    pub violation: Option<Value>,
    pub hosted: Vec<Hosted>,
}

impl Message {
    /// A plain one, in HTML, of that moment.
    pub fn new(at: i64, from: From, content: String) -> Message {
        Message {
            id: at.to_string(),
            from,
            html: true,
            content,
            kept: None,
            created: at,
            modified: at,
            edited: None,
            deleted: None,
            attachments: Vec::new(),
            mentions: Vec::new(),
            reactions: Vec::new(),
            history: Vec::new(),
            importance: "normal",
            subject: None,
            event: None,
            reply_to: None,
            violation: None,
            hosted: Vec::new(),
        }
    }
}

/// A chat or channel.
#[derive(Clone, Debug)]
pub(super) struct Chat {
    pub name: String,
    pub id: String,
    pub kind: ChatKind,
    pub topic: String,
    pub members: Vec<String>,
    pub created: i64,
    pub messages: Vec<Message>,
    /// Names that steps gave to messages.
    pub labels: BTreeMap<String, String>,
    /// The recorder's app is installed.
    pub installed: bool,
    /// Owned by another tenant: reading and subscribing are refused.
    pub foreign: bool,
    pub organizer: String,
    pub join_url: String,
    last_ms: i64,
}

impl Chat {
    /// Where the messages are, without host and version, ids as they are.
    pub fn place(&self) -> String {
        match &self.kind {
            ChatKind::Channel { team } => format!("teams('{team}')/channels('{}')/messages", self.id),
            _ => format!("chats('{}')/messages", self.id),
        }
    }

    pub fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|m| m.id == id)
    }

    /// The next moment of this chat: the clock, but later than anything before.
    pub fn tick(&mut self, wall_ms: i64) -> i64 {
        self.last_ms = wall_ms.max(self.last_ms + 1);
        self.last_ms
    }
}

impl Tenant {
    /// The number of a chat by its name in the scenario.
    pub fn chat_named(&self, name: &str) -> Option<usize> {
        self.chats.iter().position(|c| c.name == name)
    }

    pub fn chat_by_id(&self, id: &str) -> Option<usize> {
        self.chats.iter().position(|c| c.id.eq_ignore_ascii_case(id))
    }

    /// Id of the chat of two people; of one and the recorder, if there is one only.
    pub fn pair_id(&self, members: &[String]) -> String {
        let mut two: Vec<String> = members.iter().filter_map(|m| self.member(m).ok()).map(|m| m.oid.clone()).collect();
        two.resize(2, self.options.client_id.clone());
        two.sort();
        format!("19:{}@unq.gbl.spaces", two.join("_"))
    }

    /// Makes a chat; its id has the form that its kind has.
    pub fn make_chat(&mut self, name: &str, kind: ChatKind, topic: &str, members: &[String]) -> Result<usize, String> {
        if self.chat_named(name).is_some() {
            return Err(format!("there is a chat \"{name}\" already"));
        }
        for member in members {
            self.member(member)?;
        }
        let unique = self.guid().replace('-', "");
        let id = match &kind {
            ChatKind::OneOnOne => self.pair_id(members),
            ChatKind::Group => format!("19:{unique}@thread.v2"),
            ChatKind::Meeting => format!("19:meeting_{}@thread.v2", super::keys::url64(&unique[..24])),
            ChatKind::Channel { .. } => format!("19:{unique}@thread.tacv2"),
        };
        if self.chat_by_id(&id).is_some() {
            return Err(format!("those two have a chat already; \"{name}\" would be the same"));
        }
        let organizer = members.first().cloned().unwrap_or_default();
        let oid = self.member(&organizer).map(|m| m.oid.clone()).unwrap_or_default();
        let join_url = match kind {
            ChatKind::Meeting => format!(
                "https://teams.microsoft.com/l/meetup-join/{}/0?context=%7b%22Tid%22%3a%22{}%22%2c%22Oid%22%3a%22{oid}%22%7d",
                escape(&id).to_lowercase(),
                self.options.tenant_id,
            ),
            _ => String::new(),
        };
        let created = self.wall_ms();
        self.ledger.chats.entry(id.clone()).or_default().name = name.to_owned();
        self.chats.push(Chat {
            name: name.to_owned(),
            id,
            kind,
            topic: topic.to_owned(),
            members: members.to_vec(),
            created,
            messages: Vec::new(),
            labels: BTreeMap::new(),
            installed: false,
            foreign: false,
            organizer,
            join_url,
            last_ms: 0,
        });
        Ok(self.chats.len() - 1)
    }

    /// The identity of a person in chats.
    pub fn chat_identity(&self, id: &str) -> Value {
        let Ok(m) = self.member(id) else { return Value::Null };
        let name = if m.name.is_empty() { Value::Null } else { json!(m.name) };
        if m.kind == Kind::Application {
            return json!({
                "@odata.type": "#microsoft.graph.teamworkApplicationIdentity",
                "id": m.oid, "displayName": name, "applicationIdentityType": "bot",
            });
        }
        let mut identity = json!({
            "@odata.type": "#microsoft.graph.teamworkUserIdentity",
            "id": m.oid, "displayName": name, "userIdentityType": m.kind.chat_type(),
        });
        if !m.tenant.is_empty() {
            identity["tenantId"] = json!(m.tenant);
        }
        identity
    }

    /// The identity set of a person in chats.
    pub fn chat_identity_set(&self, id: &str) -> Value {
        let kind = self.member(id).map(|m| m.kind);
        let identity = self.chat_identity(id);
        match kind {
            Ok(Kind::Application) => json!({ "application": identity, "device": null, "user": null }),
            _ => json!({ "application": null, "device": null, "user": identity }),
        }
    }

    /// A message as Graph shows it.
    pub fn message_json(&self, chat: &Chat, m: &Message) -> Value {
        let from = match &m.from {
            From::Nobody => Value::Null,
            From::Person(id) => self.chat_identity_set(id),
            From::Recorder => json!({
                "application": {
                    "@odata.type": "#microsoft.graph.teamworkApplicationIdentity",
                    "id": self.options.client_id, "displayName": self.options.name, "applicationIdentityType": "bot",
                },
                "device": null, "user": null,
            }),
        };
        let (chat_id, channel, url) = match &chat.kind {
            ChatKind::Channel { team } => (
                Value::Null,
                json!({ "teamId": team, "channelId": chat.id }),
                json!(format!(
                    "https://teams.microsoft.com/l/message/{}/{}?groupId={team}&tenantId={}&createdTime={}&parentMessageId={}",
                    escape(&chat.id),
                    m.id,
                    self.options.tenant_id,
                    m.id,
                    m.reply_to.as_ref().unwrap_or(&m.id),
                )),
            ),
            _ => (json!(chat.id), Value::Null, Value::Null),
        };
        let reactions: Vec<Value> = m.reactions.iter().map(|r| self.reaction_json(r)).collect();
        let system = m.event.is_some();
        json!({
            "id": m.id,
            "replyToId": m.reply_to,
            "etag": m.modified.to_string(),
            "messageType": if system { "systemEventMessage" } else { "message" },
            "createdDateTime": time(m.created),
            "lastModifiedDateTime": time(m.modified),
            "lastEditedDateTime": m.edited.map(time),
            "deletedDateTime": m.deleted.map(time),
            "subject": m.subject,
            "summary": null,
            "chatId": chat_id,
            "importance": m.importance,
            "locale": "en-us",
            "webUrl": url,
            "channelIdentity": channel,
            "policyViolation": m.violation,
            "eventDetail": m.event,
            "from": from,
            "body": {
                "contentType": if m.html || system { "html" } else { "text" },
                "content": if system { "<systemEventMessage/>" } else { m.content.as_str() },
            },
            "attachments": m.attachments,
            "mentions": m.mentions,
            "reactions": reactions,
            "messageHistory": m.history,
        })
    }

    pub fn reaction_json(&self, r: &Reaction) -> Value {
        json!({
            "reactionType": r.kind,
            "displayName": reaction_name(&r.kind),
            "reactionContentUrl": null,
            "createdDateTime": time(r.at_ms),
            "user": self.chat_identity_set(&r.by),
        })
    }

    /// A chat as Graph shows it, with members if they are asked for.
    pub fn chat_json(&self, chat: &Chat, members: bool) -> Value {
        let kind = match chat.kind {
            ChatKind::OneOnOne => "oneOnOne",
            ChatKind::Meeting => "meeting",
            _ => "group",
        };
        let meeting = if chat.kind == ChatKind::Meeting {
            json!({
                "calendarEventId": null,
                "joinWebUrl": chat.join_url,
                "organizer": self.chat_identity(&chat.organizer),
            })
        } else {
            Value::Null
        };
        let updated = chat.messages.iter().map(|m| m.created).max().unwrap_or(chat.created);
        let mut shown = json!({
            "id": chat.id,
            "topic": if chat.topic.is_empty() { Value::Null } else { json!(chat.topic) },
            "createdDateTime": time(chat.created),
            "lastUpdatedDateTime": time(updated),
            "chatType": kind,
            "webUrl": format!(
                "https://teams.microsoft.com/l/chat/{}/0?tenantId={}", escape(&chat.id), self.options.tenant_id
            ),
            "tenantId": self.options.tenant_id,
            "onlineMeetingInfo": meeting,
        });
        if members {
            shown["members"] = json!(self.members_json(chat));
        }
        shown
    }

    /// The members of a chat as Graph shows them.
    pub fn members_json(&self, chat: &Chat) -> Vec<Value> {
        let shown = |id: &String| {
            let m = self.member(id).ok()?;
            let key = format!("{}##{}##{}", self.options.tenant_id, chat.id, m.oid);
            let mut member = json!({
                "id": super::keys::base64(key),
                "roles": if *id == chat.organizer { vec!["owner"] } else { vec![] },
                "displayName": m.name,
                "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
            });
            match m.kind {
                Kind::Guest => {
                    member["@odata.type"] = json!("#microsoft.graph.anonymousGuestConversationMember");
                    member["anonymousGuestId"] = json!(m.oid);
                }
                _ => {
                    member["@odata.type"] = json!("#microsoft.graph.aadUserConversationMember");
                    member["userId"] = json!(m.oid);
                    member["email"] = Value::Null;
                    member["tenantId"] = json!(m.tenant);
                }
            }
            Some(member)
        };
        chat.members.iter().filter_map(shown).collect()
    }
}

fn reaction_name(kind: &str) -> Value {
    match kind {
        "like" | "👍" => json!("Like"),
        "heart" | "❤️" => json!("Heart"),
        "laugh" | "😆" => json!("Laugh"),
        "surprised" | "😮" => json!("Surprised"),
        "sad" | "😢" => json!("Sad"),
        "angry" | "😡" => json!("Angry"),
        _ => Value::Null,
    }
}
