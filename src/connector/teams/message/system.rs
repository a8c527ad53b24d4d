//! System messages: what `eventDetail` says, as facts and in words (digest §17).
//!
//! Without the `Prefer` header they come as `unknownFutureValue` (trap 23), so they are recognised by what they carry.

use serde_json::Value;

use super::people::{self, called};
use super::{Place, time_ms};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::look::{at, bare, id, list, text, time};
use crate::connector::teams::moment;
use crate::model::{Content, Kind, Message, Participant, Person, Timestamp};

/// Whether the service rather than somebody speaks.
pub fn is_system(json: &Value) -> bool {
    let kind = text(json, "messageType").unwrap_or_default();
    let body = at(json, "body").and_then(|body| at(body, "content")).and_then(Value::as_str).unwrap_or_default();
    let is_empty_element =
        || body.trim_start().get(..19).is_some_and(|b| b.eq_ignore_ascii_case("<systemEventMessage"));
    let nobody = || at(json, "from").is_none_or(|from| people::of_set(from, "").is_none());
    at(json, "eventDetail").is_some_and(Value::is_object)
        || kind.eq_ignore_ascii_case("systemEventMessage")
        || kind.eq_ignore_ascii_case("chatEvent")
        || is_empty_element() && nobody()
}

/// The kind of an event detail: `membersAdded` of `#microsoft.graph.membersAddedEventMessageDetail`. Empty if not told.
pub fn kind(detail: &Value) -> &str {
    const END: &str = "EventMessageDetail";
    let name = text(detail, "@odata.type").and_then(|name| name.rsplit(['.', '#']).next()).unwrap_or_default().trim();
    let end = name.len().saturating_sub(END.len());
    match name.get(end..) {
        Some(tail) if tail.eq_ignore_ascii_case(END) => name.get(..end).unwrap_or(name),
        _ => name,
    }
}

/// The facts of a system message. `version` is set for a later version: then what is said anew has a key of its own.
pub fn facts(json: &Value, place: &Place<'_>, message: &str, version: Option<i64>) -> Vec<Fact> {
    let nothing = Value::Null;
    let detail = at(json, "eventDetail").unwrap_or(&nothing);
    let kind = kind(detail);
    let initiator = ["initiator", "meetingOrganizer"].iter().find_map(|key| at(detail, key));
    let actor = initiator.or_else(|| at(json, "from")).and_then(|set| people::of_set(set, place.tenant));
    let time = time(json, "createdDateTime").or_else(|| moment::from_id(message));
    let sent = moment::from_id(message)
        .or(time)
        .map_or_else(|| time_ms(json, "lastModifiedDateTime").unwrap_or(0), Timestamp::millis);
    let ms = version.unwrap_or(sent);
    let fact = |of: Kind, words: String, dedupe: String| Fact {
        kind: of,
        source_time: time,
        dedupe,
        content: Content {
            actor: actor.as_ref().map(|actor| actor.person.clone()),
            detail: if detail.is_null() { Some(bare(json)) } else { Some(bare(detail)) },
            message: Some(Message { id: message.to_owned(), text: words, ..Message::default() }),
            ..Content::default()
        },
    };
    let lower = kind.to_ascii_lowercase();
    let members = people::of_list(detail, "members", place.tenant);
    let own_key = || format!("system|{}|{message}|{ms}|{kind}", place.thread);
    let whole = match lower.as_str() {
        "membersadded" | "membersjoined" | "membersdeleted" | "membersleft" if !members.is_empty() => {
            let of = if lower.ends_with("ed") && !lower.ends_with("deleted") {
                Kind::ParticipantJoined
            } else {
                Kind::ParticipantLeft
            };
            return members
                .into_iter()
                .map(|member| {
                    let words = format!("{} {}", called(&member), moved(&lower));
                    // A member is one fact, however many versions the message gets.
                    let key = format!("system|{}|{message}|{sent}|{kind}|{}", place.thread, member.id);
                    let mut fact = fact(of, words, key);
                    let Person { id, name } = member;
                    fact.content.participant = Some(Participant { id, name, ..Participant::default() });
                    fact
                })
                .collect();
        }
        "chatrenamed" => {
            let mut fact = fact(Kind::ConversationChanged, in_words(&lower, detail, place), own_key());
            fact.content.subject = Some(text(detail, "chatDisplayName").unwrap_or_default().to_owned());
            fact
        }
        _ => fact(Kind::PlatformEvent, in_words(&lower, detail, place), own_key()),
    };
    vec![whole]
}

fn moved(kind: &str) -> &'static str {
    match kind {
        "membersadded" => "was added",
        "membersjoined" => "joined",
        "membersdeleted" => "was removed",
        _ => "left",
    }
}

/// One sentence fragment that says what happened; `kind` in lower case.
fn in_words(kind: &str, detail: &Value, place: &Place<'_>) -> String {
    let named = |what: &str, key: &str| match text(detail, key) {
        Some(name) => format!("{what}: {}", name.trim()),
        None => what.to_owned(),
    };
    let call = || match text(detail, "callEventType").unwrap_or_default().to_ascii_lowercase().as_str() {
        "meeting" => "Meeting",
        "screenshare" => "Screen sharing",
        _ => "Call",
    };
    match kind {
        "callstarted" => format!("{} started", call()),
        "callended" => {
            let lasted = text(detail, "callDuration").and_then(moment::duration);
            let lasted = lasted.map(|lasted| format!(" after {}", span(lasted.as_secs()))).unwrap_or_default();
            let people: Vec<String> = list(detail, "callParticipants")
                .iter()
                .filter_map(|entry| people::of_set(at(entry, "participant")?, place.tenant))
                .map(|who| called(&who.person).to_owned())
                .collect();
            let with = if people.is_empty() { String::new() } else { format!(": {}", people.join(", ")) };
            format!("{} ended{lasted}{with}", call())
        }
        "callrecording" => {
            let lasted =
                text(detail, "callRecordingDuration").and_then(moment::duration).filter(|lasted| !lasted.is_zero());
            let lasted = lasted.map(|lasted| format!(", {}", span(lasted.as_secs()))).unwrap_or_default();
            let status = match text(detail, "callRecordingStatus").unwrap_or_default().to_ascii_lowercase().as_str() {
                "success" => "Recording of the call is available",
                "failure" => "Recording of the call failed",
                "initial" => "Recording of the call began",
                "chunkfinished" => "A part of the recording of the call is available",
                _ => "Recording of the call",
            };
            format!("{}{lasted}", named(status, "callRecordingDisplayName"))
        }
        "calltranscript" => "Transcript of the call is available".to_owned(),
        "meetingpolicyupdated" => match at(detail, "meetingChatEnabled").and_then(Value::as_bool) {
            Some(true) => "Meeting chat was switched on".to_owned(),
            Some(false) => "Meeting chat was switched off".to_owned(),
            None => "Meeting policy changed".to_owned(),
        },
        "conversationmemberroleupdated" => {
            let who = at(detail, "conversationMemberUser").and_then(|user| people::of_user(user, place.tenant));
            let roles: Vec<&str> = list(detail, "conversationMemberRoles").iter().filter_map(Value::as_str).collect();
            let who = who.as_ref().map_or("Somebody", |who| called(who));
            match roles.is_empty() {
                true => format!("{who} has no special role any more"),
                false => format!("{who} is now {}", roles.join(", ")),
            }
        }
        "chatrenamed" => match text(detail, "chatDisplayName") {
            Some(_) => named("Chat renamed", "chatDisplayName"),
            None => "Name of the chat removed".to_owned(),
        },
        "messagepinned" => "Message pinned".to_owned(),
        "messageunpinned" => "Message unpinned".to_owned(),
        "tabupdated" => "Tab changed".to_owned(),
        "teamsappinstalled" => named("App installed", "teamsAppDisplayName"),
        "teamsappremoved" => named("App removed", "teamsAppDisplayName"),
        "teamsappupgraded" => named("App upgraded", "teamsAppDisplayName"),
        "channeladded" => named("Channel added", "channelDisplayName"),
        "channeldeleted" => named("Channel deleted", "channelDisplayName"),
        "channelrenamed" => named("Channel renamed", "channelDisplayName"),
        "channeldescriptionupdated" => named("Channel description changed", "channelDescription"),
        "channelsetasfavoritebydefault" => "Channel is shown to everyone by default".to_owned(),
        "channelunsetasfavoritebydefault" => "Channel is no longer shown to everyone by default".to_owned(),
        "channelsharingupdated" => named("Sharing of the channel changed", "sharedChannelName"),
        "teamcreated" => named("Team created", "teamDisplayName"),
        "teamrenamed" => named("Team renamed", "teamDisplayName"),
        "teamdescriptionupdated" => named("Team description changed", "teamDescription"),
        "teamarchived" => "Team archived".to_owned(),
        "teamunarchived" => "Team is no longer archived".to_owned(),
        "teamjoiningenabled" => "Anybody may join the team".to_owned(),
        "teamjoiningdisabled" => "Joining the team was switched off".to_owned(),
        "" => "System message".to_owned(),
        _ => spelled(id(detail, "@odata.type").as_deref().map_or(kind, |_| self::kind(detail))),
    }
}

/// `channelSharingUpdated` as "Channel sharing updated".
fn spelled(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().take(100).enumerate() {
        match (at, c.is_uppercase()) {
            (0, _) => out.extend(c.to_uppercase()),
            (_, true) => {
                out.push(' ');
                out.extend(c.to_lowercase());
            }
            _ => out.push(c),
        }
    }
    out
}

fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
