//! Chats as resources: who is in one and what it is called; and change notifications about both.

use base64::Engine;
use serde_json::{Value, json};

use crate::connector::teams::fact::Fact;
use crate::connector::teams::identity;
use crate::connector::teams::look::{at, bare, id, list, text, time};
use crate::connector::teams::message::Place;
use crate::model::{Content, Kind, Participant, Person, Timestamp};

/// What kind of chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// Two people.
    OneOnOne,
    /// A group.
    Group,
    /// The chat of a meeting.
    Meeting,
    /// Not told, or new.
    Unknown,
}

/// The answer to GET `/chats/{id}?$expand=members`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatHead {
    /// Chat id.
    pub id: String,
    /// What kind.
    pub kind: ChatKind,
    /// Its name; 1:1 chats have none.
    pub topic: Option<String>,
    /// Who is in it, in the service's order; empty unless members were expanded.
    pub members: Vec<Person>,
    /// `createdDateTime`.
    pub created: Option<Timestamp>,
    /// `onlineMeetingInfo.joinWebUrl`.
    pub join_url: Option<String>,
    /// `onlineMeetingInfo.organizer`.
    pub organizer: Option<Person>,
    /// `tenantId`, lower case: who owns it.
    pub tenant: Option<String>,
}

/// Reads a chat. `tenant` is where members without a tenant count to. `None` if it has no id.
pub fn head(json: &Value, tenant: &str) -> Option<ChatHead> {
    let kind = text(json, "chatType").unwrap_or_default().to_ascii_lowercase();
    let meeting = at(json, "onlineMeetingInfo");
    Some(ChatHead {
        id: id(json, "id")?,
        kind: match kind.as_str() {
            "oneonone" => ChatKind::OneOnOne,
            "group" => ChatKind::Group,
            "meeting" => ChatKind::Meeting,
            _ => ChatKind::Unknown,
        },
        topic: text(json, "topic").map(str::to_owned),
        members: list(json, "members").iter().filter_map(|member| person(member, tenant)).collect(),
        created: time(json, "createdDateTime"),
        join_url: meeting.and_then(|meeting| text(meeting, "joinWebUrl")).map(str::to_owned),
        organizer: meeting
            .and_then(|meeting| at(meeting, "organizer"))
            .and_then(|organizer| crate::connector::teams::message::people::of_user(organizer, tenant)),
        tenant: text(json, "tenantId").map(|tenant| tenant.trim().to_lowercase()),
    })
}

/// Members of a page of GET `/chats/{id}/members`.
pub fn members(page: &Value, tenant: &str) -> Vec<Person> {
    list(page, "value").iter().filter_map(|member| person(member, tenant)).collect()
}

/// Who a `conversationMember` is; the id of the membership tells when nothing else does.
pub fn person(member: &Value, tenant: &str) -> Option<Person> {
    let name = text(member, "displayName").map(|name| name.trim().to_owned());
    let own_tenant = text(member, "tenantId").unwrap_or(tenant);
    let of = |id: String| Some(Person { id, name: name.clone() });
    let kind = text(member, "@odata.type").unwrap_or_default().to_ascii_lowercase();
    if let Some(user) = text(member, "userId") {
        return match kind.contains("microsoftaccount") || !identity::is_guid(user.trim()) {
            true => of(format!("user:{}", user.trim())),
            false => of(identity::user(user, own_tenant)),
        };
    }
    for (key, identity) in [
        ("anonymousGuestId", "user"),
        ("azureCommunicationServicesId", "azureCommunicationServicesUser"),
        ("skypeId", "user"),
    ] {
        if let Some(told) = text(member, key) {
            return of(format!("{identity}:{}", told.trim()));
        }
    }
    if let Some(number) = text(member, "phoneNumber") {
        return of(identity::contract_id("phone", number, ""));
    }
    let (told, oid) = inside(&id(member, "id")?)?;
    of(identity::user(&oid, if told.is_empty() { own_tenant } else { &told }))
}

/// `(tenant, object id)` inside a membership's id, which is base64 of `0##<tenant>##<thread>##<object id>`.
fn inside(id: &str) -> Option<(String, String)> {
    if identity::is_guid(id) {
        return Some((String::new(), id.to_owned()));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(id.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut parts = text.split("##").skip(1);
    let (tenant, oid) = (parts.next()?, parts.last()?);
    (identity::is_guid(tenant) && identity::is_guid(oid)).then(|| (tenant.to_owned(), oid.to_owned()))
}

/// A change of membership, by notification: `change` is its `changeType` (`created`, `updated`, `deleted`). The service
/// tells no time; system messages of the chat say the same with time and initiator.
pub fn changed(member: &Value, change: &str, place: &Place<'_>) -> Vec<Fact> {
    let kind = match change.trim().to_ascii_lowercase().as_str() {
        "created" => Kind::ParticipantJoined,
        "deleted" => Kind::ParticipantLeft,
        _ => Kind::ParticipantChanged,
    };
    let since = time(member, "visibleHistoryStartDateTime");
    let roles: Vec<&str> = list(member, "roles").iter().filter_map(Value::as_str).collect();
    let membership = id(member, "id").unwrap_or_default();
    let ms = since.map_or(0, Timestamp::millis);
    let who = person(member, place.tenant);
    let named = who.as_ref().map_or(membership.as_str(), |who| who.id.as_str());
    let dedupe = format!("member.{kind}|{}|{named}|{}|{ms}", place.thread, roles.join(","));
    let participant = who.map(|who| Participant {
        id: who.id,
        name: who.name,
        role: (!roles.is_empty()).then(|| roles.join(", ")),
        ..Participant::default()
    });
    let kind = if participant.is_some() { kind } else { Kind::PlatformEvent };
    let content = Content {
        detail: Some(json!({"membership": bare(member), "change": change})),
        participant,
        ..Content::default()
    };
    vec![Fact { kind, source_time: None, dedupe, content }]
}

/// A chat whose name is another than `known`: `conversation.changed`. Nothing if the name is known.
pub fn renamed(json: &Value, known: Option<&str>, place: &Place<'_>) -> Option<Fact> {
    let topic = text(json, "topic");
    if topic == known {
        return None;
    }
    let when = time(json, "lastUpdatedDateTime");
    let dedupe =
        format!("chat.topic|{}|{}|{}", place.thread, topic.unwrap_or_default(), when.map_or(0, Timestamp::millis));
    let content = Content { subject: Some(topic.unwrap_or_default().to_owned()), ..Content::default() };
    Some(Fact { kind: Kind::ConversationChanged, source_time: when, dedupe, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { thread: "19:x@thread.v2", tenant: "t0" };
    const OID: &str = "8b081ef6-4792-4def-b2c9-c363a1bf41d5";

    #[test]
    fn a_chat_says_what_it_is_and_who_is_in_it() {
        let json = json!({"id": "19:x@thread.v2", "chatType": "Meeting", "topic": "Weekly", "tenantId": "T1", "createdDateTime": "2021-04-06T19:49:52.431Z",
            "onlineMeetingInfo": {"joinWebUrl": "https://teams/j", "organizer": {"id": OID}},
            "members": [{"@odata.type": "#microsoft.graph.aadUserConversationMember", "userId": OID, "displayName": "John", "tenantId": "T2"},
                {"@odata.type": "#microsoft.graph.anonymousGuestConversationMember", "anonymousGuestId": "g1"}, 7]});
        let chat = head(&json, "t0").expect("a chat");
        assert_eq!(
            (chat.kind, chat.topic.as_deref(), chat.tenant.as_deref()),
            (ChatKind::Meeting, Some("Weekly"), Some("t1"))
        );
        assert_eq!(
            chat.members.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(),
            [format!("{OID}@t2").as_str(), "user:g1"]
        );
        assert_eq!(chat.organizer.map(|o| o.id), Some(format!("{OID}@t0")));
        assert_eq!(head(&json!({"topic": "x"}), "t0"), None);
        assert_eq!(renamed(&json, Some("Weekly"), &PLACE), None);
        assert_eq!(renamed(&json, Some("Daily"), &PLACE).and_then(|f| f.content.subject).as_deref(), Some("Weekly"));
    }

    #[test]
    fn a_membership_without_resource_is_told_by_its_id() {
        let id = base64::engine::general_purpose::STANDARD
            .encode(format!("0##2432b57b-0abd-43db-aa7b-16eadd115d34##19:x##{OID}"));
        let facts = changed(&json!({"id": id}), "Deleted", &PLACE);
        assert_eq!(facts[0].kind, Kind::ParticipantLeft);
        let who = facts[0].content.participant.as_ref().expect("somebody");
        assert_eq!(who.id, format!("{OID}@2432b57b-0abd-43db-aa7b-16eadd115d34"));
        for odd in [json!(null), json!({"id": "é"}), json!({"id": "MCMj"})] {
            assert_eq!(changed(&odd, "created", &PLACE)[0].kind, Kind::PlatformEvent);
        }
        let added = changed(&json!({"userId": OID, "roles": ["owner"]}), "created", &PLACE);
        assert_eq!(added[0].content.participant.as_ref().and_then(|p| p.role.as_deref()), Some("owner"));
    }
}
