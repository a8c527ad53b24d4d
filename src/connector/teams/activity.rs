//! Bot Framework activities: the second witness of chats, and the way in which somebody invites the recorder into one
//! (digest §19).
//!
//! A message that Graph can name is read from Graph; what stands here of it counts only if that fails. Activities have no
//! backlog, so what they alone tell is told from here.

use serde_json::{Value, json};

use super::change::Resource;
use super::fact::Fact;
use super::{identity, moment};
use crate::connector::html::{html_to_text, sanitise};
use crate::model::{Kind, Message, Participant, Person, Timestamp};

/// What an activity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A new message.
    Message,
    /// A changed, restored or deleted one.
    Changed,
    /// The recorder was put into a chat.
    Installed,
    /// It was taken out.
    Removed,
    /// Everything else.
    Other,
}

/// An activity as far as it concerns a recorder.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// What it is.
    pub form: Form,
    /// Chat or channel: `conversation.id` without `;messageid=`.
    pub thread: String,
    /// Directory id of the team of a channel, if told.
    pub team: Option<String>,
    /// `activity.id`.
    pub id: String,
    /// The root message of a channel's thread.
    pub root: Option<String>,
    /// Where answers go, as received.
    pub service_url: String,
    /// `conversation.id` as received; for answers.
    pub conversation: String,
    /// Who acted.
    pub actor: Option<Person>,
    /// What Graph calls the change: `created`, `updated`, `deleted`.
    pub change: &'static str,
    /// What it says, if it is all that there is.
    pub facts: Vec<Fact>,
}

impl Activity {
    /// The message in Graph, and what happened to it; `None` for what is no message, or in a chat without a name there.
    pub fn readable(&self) -> Option<(Resource, &'static str)> {
        if !matches!(self.form, Form::Message | Form::Changed) || !self.thread.starts_with("19:") || self.id.is_empty()
        {
            return None;
        }
        let resource = match (&self.team, &self.root) {
            (Some(team), Some(root)) => Resource::ChannelMessage {
                team: team.clone(),
                channel: self.thread.clone(),
                message: root.clone(),
                reply: (*root != self.id).then(|| self.id.clone()),
            },
            // A channel whose team Graph would not know by this name.
            _ if self.thread.ends_with("@thread.tacv2") || self.thread.ends_with("@thread.skype") => return None,
            _ => Resource::ChatMessage { chat: self.thread.clone(), message: self.id.clone() },
        };
        Some((resource, self.change))
    }
}

/// Reads an activity; `tenant` is where a person without one counts to.
pub fn read(json: &Value, tenant: &str) -> Activity {
    let at = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let conversation = at("/conversation/id").to_owned();
    let (thread, root) = match conversation.split_once(";messageid=") {
        Some((thread, root)) => (thread.to_owned(), Some(root.to_owned())),
        None => (conversation.clone(), None),
    };
    let told = [at("/from/tenantId"), at("/conversation/tenantId"), at("/channelData/tenant/id"), tenant];
    let tenant = told.into_iter().find(|tenant| !tenant.is_empty()).unwrap_or_default();
    let actor = person(json.get("from").unwrap_or(&Value::Null), tenant);
    let id = at("/id").to_owned();
    let time = moment::time(at("/timestamp")).or_else(|| moment::from_id(&id));
    let event_type = at("/channelData/eventType");
    let kind = at("/type").to_ascii_lowercase();
    let bot = at("/recipient/id");
    let mentions_bot = |key: &str| {
        let list = json.get(key).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|one| one.get("id").and_then(Value::as_str) == Some(bot)))
    };
    let (form, change) = match (kind.as_str(), event_type.to_ascii_lowercase().as_str()) {
        ("message", _) => (Form::Message, "created"),
        ("messageupdate", _) => (Form::Changed, "updated"),
        ("messagedelete", _) => (Form::Changed, "deleted"),
        ("installationupdate", _) if at("/action").to_ascii_lowercase().starts_with("remove") => (Form::Removed, ""),
        ("installationupdate", _) => (Form::Installed, ""),
        ("conversationupdate", _) if mentions_bot("membersAdded") => (Form::Installed, ""),
        ("conversationupdate", _) if mentions_bot("membersRemoved") => (Form::Removed, ""),
        _ => (Form::Other, ""),
    };
    let mut activity = Activity {
        form,
        team: Some(at("/channelData/team/aadGroupId")).filter(|team| !team.is_empty()).map(str::to_owned),
        root: root.clone(),
        service_url: at("/serviceUrl").to_owned(),
        change,
        facts: Vec::new(),
        conversation,
        thread,
        actor,
        id,
    };
    activity.facts = match (form, kind.as_str()) {
        (Form::Message | Form::Changed, _) => vec![message(json, &activity, event_type, time)],
        (Form::Other, "conversationupdate") => members(json, &activity, tenant, time),
        (Form::Other, "messagereaction") => reactions(json, &activity, time),
        (Form::Other, "event") => events(json, &activity, tenant, time),
        _ => Vec::new(),
    };
    if activity.facts.is_empty() {
        let mut fact = Fact::new(Kind::PlatformEvent, activity.key("activity", &kind, time));
        fact.source_time = time;
        fact.content.actor = activity.actor.clone();
        fact.content.source_id = Some(activity.id.clone()).filter(|id| !id.is_empty());
        fact.content.detail = Some(without_text(json));
        activity.facts = vec![fact];
    }
    activity
}

impl Activity {
    fn key(&self, what: &str, part: &str, time: Option<Timestamp>) -> String {
        let (thread, id) = (&self.thread, &self.id);
        format!("{what}|{thread}|{id}|{}|{part}", time.map_or(0, Timestamp::millis))
    }
}

fn without_text(json: &Value) -> Value {
    let mut json = json.clone();
    if let Some(members) = json.as_object_mut() {
        members.remove("serviceUrl");
    }
    json
}

/// A person of the connector: a directory id where there is one.
fn person(one: &Value, tenant: &str) -> Option<Person> {
    let text = |key: &str| {
        let found = one.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?.1;
        found.as_str().filter(|text| !text.is_empty())
    };
    let name = text("name").map(str::to_owned);
    let tenant = text("tenantId").unwrap_or(tenant);
    match (text("aadObjectId"), text("id")) {
        (Some(oid), _) => Some(Person { id: identity::user(oid, tenant), name }),
        (None, Some(id)) if id.starts_with("28:") => Some(Person { id: format!("application:{}", &id[3..]), name }),
        (None, Some(id)) => Some(Person { id: identity::contract_id("user", id, tenant), name }),
        (None, None) => None,
    }
}

fn message(json: &Value, activity: &Activity, event_type: &str, time: Option<Timestamp>) -> Fact {
    let deleted = activity.change == "deleted";
    let kind = match activity.form {
        Form::Message => Kind::MessageSent,
        _ if deleted => Kind::MessageDeleted,
        _ => Kind::MessageEdited,
    };
    let created = moment::from_id(&activity.id).or(time);
    let (at, part) = match kind {
        Kind::MessageSent => (created, "sent"),
        Kind::MessageDeleted => (time, "deleted"),
        _ => (time, "edited"),
    };
    let at_ms = at.map_or(0, Timestamp::millis);
    let mut fact = Fact::new(kind, format!("message|{}|{}|{at_ms}|{part}", activity.thread, activity.id));
    fact.source_time = at;
    fact.content.actor = activity.actor.clone();
    let attachments = json.get("attachments").and_then(Value::as_array);
    let of_kind = |wanted: &str| {
        attachments.into_iter().flatten().find(|one| {
            one.get("contentType").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
        })
    };
    let html = of_kind("text/html").and_then(|one| one.get("content")).and_then(Value::as_str);
    let bare = json.get("text").and_then(Value::as_str).unwrap_or_default();
    let mut message = Message { id: activity.id.clone(), ..Message::default() };
    if !deleted {
        message.text = match html {
            Some(html) => html_to_text(html),
            // `<at>` marks stand in plain texts as well.
            None => html_to_text(&bare.replace('\n', "<br>")),
        };
        message.text = message.text.trim_end_matches('\n').to_owned();
        message.html = html.map(sanitise);
    }
    message.in_reply_to = activity.root.clone().filter(|root| *root != activity.id);
    fact.content.message = Some(message);
    let mut detail = json!({"told_by": "bot activity"});
    if !event_type.is_empty() {
        detail["eventType"] = event_type.into();
    }
    fact.content.detail = Some(detail);
    fact
}

fn members(json: &Value, activity: &Activity, tenant: &str, time: Option<Timestamp>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (key, kind) in [("membersAdded", Kind::ParticipantJoined), ("membersRemoved", Kind::ParticipantLeft)] {
        for member in json.get(key).and_then(Value::as_array).into_iter().flatten() {
            let Some(Person { id, name }) = person(member, tenant) else { continue };
            let mut fact = Fact::new(kind, activity.key("members", &format!("{kind}|{id}"), time));
            fact.source_time = time;
            fact.content.actor = activity.actor.clone();
            fact.content.participant = Some(Participant { id, name, ..Participant::default() });
            facts.push(fact);
        }
    }
    facts
}

fn reactions(json: &Value, activity: &Activity, time: Option<Timestamp>) -> Vec<Fact> {
    let about = json.get("replyToId").and_then(Value::as_str).unwrap_or(&activity.id);
    let mut facts = Vec::new();
    for (key, kind) in [("reactionsAdded", Kind::ReactionAdded), ("reactionsRemoved", Kind::ReactionRemoved)] {
        for reaction in json.get(key).and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = reaction.get("type").and_then(Value::as_str) else { continue };
            let mut fact = Fact::new(kind, activity.key("reaction", &format!("{kind}|{name}|{about}"), time));
            fact.source_time = time;
            fact.content.actor = activity.actor.clone();
            fact.content.reaction = Some(name.to_owned());
            fact.content.message = Some(Message { id: about.to_owned(), ..Message::default() });
            facts.push(fact);
        }
    }
    facts
}

fn events(json: &Value, activity: &Activity, tenant: &str, time: Option<Timestamp>) -> Vec<Fact> {
    let name = json.get("name").and_then(Value::as_str).unwrap_or_default();
    let kind = match name.rsplit('.').next().unwrap_or_default() {
        "meetingParticipantJoin" => Kind::ParticipantJoined,
        "meetingParticipantLeave" => Kind::ParticipantLeft,
        _ => return Vec::new(),
    };
    let list = json.pointer("/value/members").or_else(|| json.pointer("/value/Members")).and_then(Value::as_array);
    let one = |member: &Value| {
        let user = member.get("user").or_else(|| member.get("User"))?;
        let Person { id, name } = person(user, tenant)?;
        let role = member.pointer("/meeting/role").and_then(Value::as_str).map(str::to_owned);
        let mut fact = Fact::new(kind, activity.key("meeting", &format!("{kind}|{id}"), time));
        fact.source_time = time;
        fact.content.participant = Some(Participant { id, name, role, ..Participant::default() });
        Some(fact)
    };
    list.into_iter().flatten().filter_map(one).collect()
}
