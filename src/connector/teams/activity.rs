//! Bot Framework activities, the second witness (digest §19): what one says, as facts for the case that Graph cannot be
//! read, and what the recorder has to do about it.
//!
//! Dedupe keys of new messages equal those of the message's first version read from Graph: the thread without
//! `;messageid=`, and the activity's id. Edits, deletions and reactions bear the activity's time, which is not quite the
//! message's: whoever can read the message from Graph takes it from there.

use serde_json::{Value, json};

use crate::connector::teams::fact::Fact;
use crate::connector::teams::identity;
use crate::connector::teams::look::{at, bare, id, list, text, time};
use crate::connector::teams::member::digest;
use crate::connector::teams::moment;
use crate::model::{Content, Kind, Message, Participant, Person, Timestamp};

mod said;

#[cfg(test)]
mod tests;

/// What an activity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody said something.
    Message,
    /// A message got new words.
    Edited,
    /// A deleted message is back.
    Undeleted,
    /// A message was deleted.
    Deleted,
    /// Reactions to a message of ours.
    Reaction,
    /// The recorder was put into the conversation. Comes twice, as `installationUpdate` and as `conversationUpdate`, with
    /// different times: whoever knows that it is installed already takes the second for the same.
    Installed,
    /// A newer version of the app took the place of an older one.
    Upgraded,
    /// The recorder was taken out.
    Removed,
    /// Others were added or removed.
    Members,
    /// A meeting began.
    MeetingStarted,
    /// A meeting ended.
    MeetingEnded,
    /// People joined a meeting.
    MeetingJoined,
    /// People left a meeting.
    MeetingLeft,
    /// Something that wants an answer in the response.
    Invoke,
    /// Somebody types.
    Typing,
    /// Everything else; kept as `platform.event`.
    Other,
}

/// One activity, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// What it is.
    pub what: What,
    /// `conversation.id` without `;messageid=…`: chat or channel. Personal chats have an id of the Bot Framework (`a:…`),
    /// which Graph does not know. Empty if not told.
    pub thread: String,
    /// `personal`, `groupChat` or `channel`, as received.
    pub conversation_type: Option<String>,
    /// Name of the conversation, if told.
    pub conversation_name: Option<String>,
    /// The message it is about: the activity's id, for reactions `replyToId`.
    pub message: Option<String>,
    /// Root message of the channel thread.
    pub root: Option<String>,
    /// Where replies go; as received, to be checked before a token is sent there.
    pub service_url: Option<String>,
    /// Tenant of the conversation, lower case.
    pub tenant: String,
    /// Who did it.
    pub from: Option<Person>,
    /// Our own id in this conversation, `28:<app id>`.
    pub bot: Option<String>,
    /// Object id of the team (`channelData.team.aadGroupId`), for Graph.
    pub team: Option<String>,
    /// The platform's clock.
    pub time: Option<Timestamp>,
    /// For dedupe keys: the time in milliseconds, and where id or time are missing a digest of the whole, so that two of
    /// those are never taken for one.
    pub stamp: String,
    /// `channelData.meeting.id`.
    pub meeting: Option<String>,
    /// Join URL of a meeting that began or ended.
    pub join_url: Option<String>,
    /// What it says, if nobody says it better.
    pub facts: Vec<Fact>,
}

/// Reads an activity. `tenant` is where people count to when nothing in the activity says; `client_id` is our application.
pub fn read(json: &Value, tenant: &str, client_id: &str) -> Activity {
    let nothing = Value::Null;
    let member = |key: &str| at(json, key).unwrap_or(&nothing);
    let (conversation, channel_data) = (member("conversation"), member("channelData"));
    let whole = text(conversation, "id").unwrap_or_default();
    let (thread, root) = match whole.split_once(";messageid=") {
        Some((thread, root)) => (thread, Some(root.to_owned()).filter(|root| !root.is_empty())),
        None => (whole, None),
    };
    let told = text(conversation, "tenantId").or_else(|| text(at(channel_data, "tenant")?, "id"));
    let tenant = told.unwrap_or(tenant).trim().to_lowercase();
    let value = member("value");
    let mut activity = Activity {
        what: What::Other,
        thread: thread.to_owned(),
        conversation_type: text(conversation, "conversationType").map(str::to_owned),
        conversation_name: text(conversation, "name").map(str::to_owned),
        message: id(json, "id"),
        root,
        service_url: text(json, "serviceUrl").map(str::to_owned),
        from: account(member("from"), &tenant),
        bot: id(member("recipient"), "id"),
        team: at(channel_data, "team").and_then(|team| id(team, "aadGroupId")),
        stamp: stamp(json),
        time: time(json, "timestamp"),
        meeting: at(channel_data, "meeting").and_then(|meeting| id(meeting, "id")).or_else(|| id(value, "Id")),
        join_url: text(value, "JoinUrl").map(str::to_owned),
        facts: Vec::new(),
        tenant,
    };
    activity.what = what(json, &activity, client_id);
    let facts = facts(json, &mut activity);
    activity.facts = facts;
    activity
}

fn stamp(json: &Value) -> String {
    match (time(json, "timestamp"), id(json, "id")) {
        (Some(time), Some(_)) => time.millis().to_string(),
        (time, _) => format!("{}|{}", time.map_or(0, Timestamp::millis), digest(&json.to_string())),
    }
}

/// Whether an account is our application.
fn is_ours(account: &Value, activity: &Activity, client_id: &str) -> bool {
    let Some(id) = id(account, "id") else { return false };
    activity.bot.as_ref() == Some(&id) || id.strip_prefix("28:").is_some_and(|app| app.eq_ignore_ascii_case(client_id))
}

fn what(json: &Value, activity: &Activity, client_id: &str) -> What {
    let lower = |key: &str| text(json, key).unwrap_or_default().trim().to_ascii_lowercase();
    let event =
        at(json, "channelData").and_then(|data| text(data, "eventType")).unwrap_or_default().to_ascii_lowercase();
    let has_bot = |key: &str| list(json, key).iter().any(|who| is_ours(who, activity, client_id));
    // Into what was it put? Without that there is nothing to follow.
    let somewhere = !activity.thread.is_empty();
    match lower("type").as_str() {
        "message" => What::Message,
        "messageupdate" if event == "undeletemessage" => What::Undeleted,
        "messageupdate" => What::Edited,
        "messagedelete" => What::Deleted,
        "messagereaction" => What::Reaction,
        "installationupdate" if somewhere => match lower("action").as_str() {
            "add" => What::Installed,
            "add-upgrade" => What::Upgraded,
            "remove" => What::Removed,
            _ => What::Other,
        },
        "conversationupdate" if somewhere && has_bot("membersAdded") => What::Installed,
        "conversationupdate" if somewhere && has_bot("membersRemoved") => What::Removed,
        "conversationupdate" if !list(json, "membersAdded").is_empty() || !list(json, "membersRemoved").is_empty() => {
            What::Members
        }
        "event" => match lower("name").rsplit('.').next().unwrap_or_default() {
            "meetingstart" => What::MeetingStarted,
            "meetingend" => What::MeetingEnded,
            "meetingparticipantjoin" => What::MeetingJoined,
            "meetingparticipantleave" => What::MeetingLeft,
            _ => What::Other,
        },
        "invoke" => What::Invoke,
        "typing" => What::Typing,
        _ => What::Other,
    }
}

/// A channel account: a user by its object id, a bot as application, else by the Bot Framework's own id.
fn account(account: &Value, tenant: &str) -> Option<Person> {
    let name = text(account, "name").map(|name| name.trim().to_owned());
    let tenant = text(account, "tenantId").unwrap_or(tenant);
    if let Some(oid) = text(account, "aadObjectId").or_else(|| text(account, "objectId")) {
        return Some(Person { id: identity::user(oid, tenant), name });
    }
    let own = id(account, "id")?;
    let id = match own.strip_prefix("28:") {
        Some(app) => format!("application:{}", app.to_lowercase()),
        None => identity::contract_id("user", &own, tenant),
    };
    Some(Person { id, name })
}

fn facts(json: &Value, activity: &mut Activity) -> Vec<Fact> {
    let thread = activity.thread.clone();
    let ms = activity.stamp.clone();
    let own = activity.message.clone().unwrap_or_default();
    let fact = |kind: Kind, dedupe: String, content: Content| Fact {
        kind,
        source_time: activity.time,
        dedupe,
        content: Content { actor: activity.from.clone(), ..content },
    };
    let bare_message = |id: &str| Some(Message { id: id.to_owned(), ..Message::default() });
    match activity.what {
        What::Message | What::Edited | What::Undeleted if !own.is_empty() => {
            let message = said::message(json, &own, activity.root.as_deref(), &activity.tenant);
            let sent = moment::from_id(&own).map_or(ms.clone(), |at| at.millis().to_string());
            let mut detail = said::detail(json);
            let (kind, dedupe) = match activity.what {
                What::Message => (Kind::MessageSent, format!("message|{thread}|{own}|{sent}")),
                What::Edited => (Kind::MessageEdited, format!("message|{thread}|{own}|{ms}")),
                _ => {
                    detail.insert("undeleted".into(), true.into());
                    (Kind::MessageEdited, format!("message.restored|{thread}|{own}|{ms}"))
                }
            };
            vec![fact(
                kind,
                dedupe,
                Content { message: Some(message), detail: Some(detail.into()), ..Content::default() },
            )]
        }
        What::Deleted if !own.is_empty() => {
            let content = Content { message: bare_message(&own), ..Content::default() };
            vec![fact(Kind::MessageDeleted, format!("message.deleted|{thread}|{own}|{ms}"), content)]
        }
        What::Reaction => {
            let about = id(json, "replyToId").unwrap_or_default();
            let who = activity.from.as_ref().map(|who| who.id.clone()).unwrap_or_default();
            let mut facts = Vec::new();
            for (key, kind) in [("reactionsRemoved", Kind::ReactionRemoved), ("reactionsAdded", Kind::ReactionAdded)] {
                for reaction in list(json, key).iter().filter_map(|reaction| text(reaction, "type")) {
                    let dedupe = format!("{kind}|{thread}|{about}|{who}|{reaction}|{ms}");
                    let reaction = Some(reaction.to_owned());
                    facts.push(fact(
                        kind,
                        dedupe,
                        Content { reaction, message: bare_message(&about), ..Content::default() },
                    ));
                }
            }
            activity.message = Some(about).filter(|about| !about.is_empty());
            if facts.is_empty() { vec![platform(json, activity, &own)] } else { facts }
        }
        What::Installed => {
            let content = Content {
                detail: Some(bare(json)),
                source_id: Some(own).filter(|own| !own.is_empty()),
                subject: activity.conversation_name.clone(),
                ..Content::default()
            };
            vec![fact(Kind::InvitationReceived, format!("bot.installed|{thread}|{ms}"), content)]
        }
        What::Members => {
            let mut facts = Vec::new();
            for (key, kind) in [("membersAdded", Kind::ParticipantJoined), ("membersRemoved", Kind::ParticipantLeft)] {
                for who in list(json, key).iter().filter_map(|who| account(who, &activity.tenant)) {
                    let dedupe = format!("bot.{kind}|{thread}|{}|{ms}", who.id);
                    let participant = Some(Participant { id: who.id, name: who.name, ..Participant::default() });
                    facts.push(fact(kind, dedupe, Content { participant, ..Content::default() }));
                }
            }
            if facts.is_empty() { vec![platform(json, activity, &own)] } else { facts }
        }
        What::MeetingJoined | What::MeetingLeft => {
            let joined = activity.what == What::MeetingJoined;
            let kind = if joined { Kind::ParticipantJoined } else { Kind::ParticipantLeft };
            let members = at(json, "value").map_or(&[][..], |value| list(value, "members"));
            let mut facts: Vec<Fact> = members
                .iter()
                .filter_map(|member| {
                    let who = account(at(member, "user").unwrap_or(member), &activity.tenant)?;
                    let role = at(member, "meeting").and_then(|meeting| text(meeting, "role")).map(str::to_owned);
                    let dedupe = format!("bot.meeting.{kind}|{thread}|{}|{ms}", who.id);
                    let participant = Some(Participant { id: who.id, name: who.name, role, ..Participant::default() });
                    let detail = Some(json!({"meeting": activity.meeting}));
                    Some(fact(kind, dedupe, Content { participant, detail, ..Content::default() }))
                })
                .collect();
            // Nobody's act but their own; `from` repeats one of them.
            facts.iter_mut().for_each(|fact| fact.content.actor = None);
            if facts.is_empty() { vec![platform(json, activity, &own)] } else { facts }
        }
        _ => vec![platform(json, activity, &own)],
    }
}

/// Everything that has no kind of its own, with words and its JSON.
fn platform(json: &Value, activity: &Activity, own: &str) -> Fact {
    let kind = text(json, "type").unwrap_or("activity");
    let event = at(json, "channelData").and_then(|data| text(data, "eventType"));
    let name = event.or_else(|| text(json, "name")).or_else(|| text(json, "action")).unwrap_or_default();
    let ms = &activity.stamp;
    let value = at(json, "value").unwrap_or(&Value::Null);
    let starts = ["StartTime", "EndTime"].iter().find_map(|key| time(value, key));
    let words = said::in_words(json, activity.what, name);
    Fact {
        kind: Kind::PlatformEvent,
        source_time: starts.or(activity.time),
        dedupe: format!("bot.{kind}|{}|{own}|{name}|{ms}", activity.thread),
        content: Content {
            actor: activity.from.clone(),
            detail: Some(bare(json)),
            message: words.map(|text| Message { id: own.to_owned(), text, ..Message::default() }),
            subject: None,
            ..Content::default()
        },
    }
}
