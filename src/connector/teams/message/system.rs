//! Messages that the service itself writes: members, names, calls, apps (digest §17).

use serde_json::Value;

use super::versions::text;
use super::{Place, Reading, Seen, hash};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::{identity, moment};
use crate::model::{Kind, Message, Participant, Person, Timestamp};

/// Recognised by its detail or its empty body, too: without the right header its type hides (trap 23).
pub(super) fn is_system(json: &Value) -> bool {
    let kind = text(json, "messageType").unwrap_or_default();
    json.get("eventDetail").is_some_and(Value::is_object)
        || kind.eq_ignore_ascii_case("systemEventMessage")
        || kind.eq_ignore_ascii_case("chatEvent")
        || json
            .pointer("/body/content")
            .and_then(Value::as_str)
            .is_some_and(|body| body.trim() == "<systemEventMessage/>")
}

/// The kind of a detail: `membersAdded`; empty if it has none.
fn kind_of(detail: &Value) -> String {
    let name = detail.get("@odata.type").and_then(Value::as_str).unwrap_or_default();
    let name = name.rsplit('.').next().unwrap_or_default().trim_start_matches('#');
    name.strip_suffix("EventMessageDetail").unwrap_or(name).to_owned()
}

pub(super) fn read(json: &Value, known: Option<&Seen>, place: &Place<'_>) -> Reading {
    let detail = json.get("eventDetail").filter(|detail| detail.is_object()).cloned().unwrap_or_default();
    let id = text(json, "id").or_else(|| text(json, "etag")).unwrap_or_default().to_owned();
    let time = |key: &str| text(json, key).and_then(moment::time);
    let modified = time("lastModifiedDateTime").or_else(|| text(json, "etag").and_then(moment::from_id));
    let created = time("createdDateTime").or_else(|| moment::from_id(&id)).or(modified);
    let version = text(json, "etag").map(str::to_owned).or_else(|| modified.map(|at| at.millis().to_string()));
    let version = version.unwrap_or_else(|| id.clone());
    let words = hash(&detail.to_string());
    let seen = Seen { version, modified: modified.map_or(0, Timestamp::millis), words, ..Seen::default() };
    if known.is_some_and(|known| known.version == seen.version || known.words == seen.words) {
        return Reading { seen, ..Reading::default() };
    }
    let kind = kind_of(&detail);
    let initiator =
        detail.get("initiator").and_then(|set| identity::principal(set, place.tenant)).map(|one| one.person);
    let base = format!("system|{}|{id}|{}|{kind}", place.thread, created.map_or(0, Timestamp::millis));
    let fact = |fact_kind: Kind, part: &str, words: String| {
        let mut fact = Fact::new(fact_kind, format!("{base}|{part}"));
        fact.source_time = created;
        fact.content.actor = initiator.clone();
        fact.content.message = Some(Message { id: id.clone(), text: words, ..Message::default() });
        fact.content.detail = Some(detail.clone());
        fact
    };
    let mut facts = Vec::new();
    match kind.to_ascii_lowercase().as_str() {
        member @ ("membersadded" | "membersjoined" | "membersdeleted" | "membersleft") => {
            let came = matches!(member, "membersadded" | "membersjoined");
            for person in members(&detail, place) {
                let fact_kind = if came { Kind::ParticipantJoined } else { Kind::ParticipantLeft };
                let mut one = fact(fact_kind, &person.id, String::new());
                let Person { id, name } = person;
                one.content.participant = Some(Participant { id, name, ..Participant::default() });
                facts.push(one);
            }
        }
        "chatrenamed" => {
            let name = text(&detail, "chatDisplayName").unwrap_or_default().to_owned();
            let mut one = fact(Kind::ConversationChanged, "subject", String::new());
            one.content.subject = Some(name);
            facts.push(one);
        }
        _ => {}
    }
    if facts.is_empty() {
        let mut one = fact(Kind::PlatformEvent, &seen.words.to_string(), in_words(&kind, &detail));
        if detail.is_null() {
            one.content.detail = Some(json.clone());
        }
        facts.push(one);
    }
    Reading { facts, seen, ..Reading::default() }
}

fn members(detail: &Value, place: &Place<'_>) -> Vec<Person> {
    let list = detail.get("members").and_then(Value::as_array);
    let one = |member: &Value| {
        let alone = member.as_object().and_then(|one| identity::of_member("user", one, place.tenant));
        alone.or_else(|| identity::principal(member, place.tenant)).map(|one| one.person)
    };
    list.into_iter().flatten().filter_map(one).collect()
}

/// One readable line: the kind in words, and what it is about.
fn in_words(kind: &str, detail: &Value) -> String {
    let mut words = String::new();
    for c in kind.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    if words.is_empty() {
        words.push_str("system message");
    }
    if let Some(took) = text(detail, "callDuration").and_then(moment::duration) {
        words.push_str(&format!(" after {} s", took.as_secs()));
    }
    let names = [
        "callRecordingDisplayName",
        "channelDisplayName",
        "channelDescription",
        "teamDisplayName",
        "teamDescription",
        "teamsAppDisplayName",
        "callRecordingStatus",
    ];
    for name in names {
        if let Some(about) = text(detail, name) {
            words.push_str(": ");
            words.push_str(about);
        }
    }
    words
}
