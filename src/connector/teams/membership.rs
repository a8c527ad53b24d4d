//! Chats themselves and their members, where they are told as resources rather than as messages (digest §11, §12).

use serde_json::Value;

use super::fact::Fact;
use super::{identity, moment};
use crate::model::{Kind, Participant, Person, Timestamp};

/// The head of a chat or channel: what it is and who is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatHead {
    /// `oneOnOne`, `group`, `meeting`; `channel`.
    pub kind: Option<String>,
    /// Topic, or the channel's name.
    pub topic: Option<String>,
    /// When it began.
    pub created: Option<Timestamp>,
    /// Of a meeting.
    pub join_url: Option<String>,
    /// Who is in it now.
    pub members: Vec<Person>,
}

/// Reads the answer to a GET of a chat with its members, or of a channel.
pub fn head(json: &Value, tenant: &str) -> ChatHead {
    let text = |key: &str| json.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let members = json.get("members").and_then(Value::as_array);
    let join_url = json.pointer("/onlineMeetingInfo/joinWebUrl").and_then(Value::as_str);
    ChatHead {
        kind: text("chatType").or_else(|| text("membershipType").map(|_| "channel".to_owned())),
        topic: text("topic").or_else(|| text("displayName")),
        created: text("createdDateTime").as_deref().and_then(moment::time),
        join_url: join_url.map(str::to_owned),
        members: members.into_iter().flatten().filter_map(|member| person(member, tenant)).collect(),
    }
}

fn person(member: &Value, tenant: &str) -> Option<Person> {
    let text = |key: &str| member.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("displayName").map(str::to_owned);
    if let Some(user) = text("userId") {
        return Some(Person { id: identity::contract_id("user", user, text("tenantId").unwrap_or(tenant)), name });
    }
    let mail = text("email").or_else(|| text("id"))?;
    Some(Person { id: format!("member:{mail}"), name })
}

/// A change of a chat's members.
pub fn member(json: &Value, change: &str, thread: &str, tenant: &str) -> Vec<Fact> {
    let kind = match change.to_ascii_lowercase().as_str() {
        "created" => Kind::ParticipantJoined,
        "deleted" => Kind::ParticipantLeft,
        _ => Kind::ParticipantChanged,
    };
    let Some(Person { id, name }) = person(json, tenant) else {
        let mut fact = Fact::new(Kind::PlatformEvent, format!("member|{thread}|{change}|{json}"));
        fact.content.detail = Some(json.clone());
        return vec![fact];
    };
    let roles = json.get("roles").and_then(Value::as_array);
    let role = roles.and_then(|roles| roles.first()).and_then(Value::as_str).map(str::to_owned);
    let since = json.get("visibleHistoryStartDateTime").and_then(Value::as_str).unwrap_or_default();
    let mut fact = Fact::new(kind, format!("member|{thread}|{id}|{kind}|{since}|{role:?}"));
    fact.content.participant = Some(Participant { id, name, role, ..Participant::default() });
    vec![fact]
}

/// A change of a chat itself.
pub fn chat(json: &Value, thread: &str) -> Vec<Fact> {
    let time = |key: &str| json.get(key).and_then(Value::as_str).and_then(moment::time);
    let at = time("lastUpdatedDateTime").or_else(|| time("createdDateTime"));
    let at_ms = at.map_or(0, Timestamp::millis);
    let topic = json.get("topic").and_then(Value::as_str).filter(|topic| !topic.is_empty());
    let kind = if topic.is_some() { Kind::ConversationChanged } else { Kind::PlatformEvent };
    let mut fact = Fact::new(kind, format!("chat|{thread}|{at_ms}|{}", topic.unwrap_or_default()));
    fact.source_time = at;
    fact.content.subject = topic.map(str::to_owned);
    fact.content.detail = topic.is_none().then(|| json.clone());
    vec![fact]
}
