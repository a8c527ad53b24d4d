//! Calls of online meetings as they are told without a bot in them (digest §11): PascalCase inside, and beta when last seen.

use serde_json::Value;

use super::fact::Fact;
use super::{identity, moment};
use crate::model::{Kind, Participant, Timestamp};

/// The chat of the meeting, from its join URL, if that can be read out of it.
pub fn thread(json: &Value) -> Option<String> {
    let all =
        percent_encoding::percent_decode_str(json.get("id").and_then(Value::as_str)?).decode_utf8_lossy().into_owned();
    let all = percent_encoding::percent_decode_str(&all).decode_utf8_lossy().into_owned();
    let from = all.find("19:meeting_")?;
    let end = all.get(from..)?.find("@thread.v2")? + from + "@thread.v2".len();
    all.get(from..end).map(str::to_owned)
}

/// Reads `CallStarted`, `CallEnded`, `CallRosterUpdate`.
pub fn read(json: &Value, tenant: &str) -> Vec<Fact> {
    let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
    let (id, event) = (text("id"), text("eventType"));
    let at = moment::time(text("eventDateTime"));
    let at_ms = at.map_or(0, Timestamp::millis);
    let mut facts = Vec::new();
    for (key, kind) in
        [("activeParticipants@joined", Kind::ParticipantJoined), ("activeParticipants@exited", Kind::ParticipantLeft)]
    {
        for one in json.get(key).and_then(Value::as_array).into_iter().flatten() {
            let set = one.get("identity").or_else(|| one.get("Identity")).unwrap_or(&Value::Null);
            let Some(principal) = identity::principal(set, tenant) else { continue };
            let mut fact = Fact::new(kind, format!("meeting|{id}|{at_ms}|{kind}|{}", principal.person.id));
            fact.source_time = at;
            fact.content.participant =
                Some(Participant { id: principal.person.id, name: principal.person.name, ..Participant::default() });
            facts.push(fact);
        }
    }
    if facts.is_empty() {
        let mut fact = Fact::new(Kind::PlatformEvent, format!("meeting|{id}|{at_ms}|{event}"));
        fact.source_time = at;
        fact.content.detail = Some(json.clone());
        facts.push(fact);
    }
    facts
}
