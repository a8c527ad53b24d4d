//! Who is in a call: full and delta rosters by the rules of digest §10.
//!
//! A full roster lists everybody, so who is missing has left. A delta roster lists whom something changed about; missing
//! means nothing there (trap 7). A person who rejoins gets a new participant id, and one with two devices is there twice;
//! each participant id joins and leaves once, under the person's contract id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fact::Fact;
use super::identity;
use crate::model::{Kind, Participant, Person, Timestamp};

/// Characters kept of the free text that clients put into a roster; strangers write it.
const METADATA_LIMIT: usize = 512;

/// The roster of one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    people: BTreeMap<String, Entry>,
    /// Participants that have left, with their number then: a late entry must not bring them back.
    gone: BTreeMap<String, Option<i64>>,
    /// Newest `sequenceNumber` of a delta.
    last: Option<i64>,
    applied_at: Option<Timestamp>,
    had_humans: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    id: String,
    name: Option<String>,
    bot: bool,
    in_lobby: Option<bool>,
    muted: Option<bool>,
    role: Option<String>,
    /// Everything else that may change, by name.
    traits: Map<String, Value>,
    sequence: Option<i64>,
    /// Changes told so far: makes each of them a fact of its own.
    changes: u32,
}

/// What is needed to read a roster.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// What facts are keyed by: the call chain, or the call.
    pub scope: &'v str,
    /// Our own participant, which is none.
    pub mine: Option<&'v str>,
    /// Identities that are us.
    pub own: &'v [String],
    /// Where a user without tenant counts to.
    pub tenant: &'v str,
}

impl Roster {
    /// Human beings there, those in the lobby included.
    pub fn humans(&self) -> usize {
        self.people.values().filter(|entry| !entry.bot).count()
    }

    /// Whether a human being has been there.
    pub fn had_humans(&self) -> bool {
        self.had_humans
    }

    /// The person behind a participant id who is there.
    pub fn person(&self, participant: &str) -> Option<Person> {
        self.people.get(participant).map(|entry| Person { id: entry.id.clone(), name: entry.name.clone() })
    }

    /// Applies a full roster.
    pub fn full(&mut self, list: &Value, view: View<'_>, now: Timestamp) -> Vec<Fact> {
        self.applied_at = Some(now);
        self.replace(list, view, true)
    }

    /// Applies what GET gave; who is missing has left only if it was asked for after the last notification.
    pub fn fetched(&mut self, list: &Value, view: View<'_>, asked_at: Timestamp) -> Vec<Fact> {
        let current = self.applied_at.is_none_or(|applied| asked_at > applied);
        self.replace(list, view, current)
    }

    fn replace(&mut self, list: &Value, view: View<'_>, complete: bool) -> Vec<Fact> {
        let Some(list) = list.as_array() else { return Vec::new() };
        let mut facts = Vec::new();
        let mut there = Vec::new();
        for participant in list {
            let Some(id) = participant.get("id").and_then(Value::as_str) else { continue };
            there.push(id.to_owned());
            facts.extend(self.one(id, participant, view));
        }
        if complete {
            let missing: Vec<String> = self.people.keys().filter(|id| !there.contains(id)).cloned().collect();
            for id in missing {
                facts.extend(self.left(&id, None, view.scope));
            }
        }
        facts
    }

    /// Applies a delta. The flag says that one before it is missing, so that the roster has to be fetched.
    pub fn delta(&mut self, delta: &Value, view: View<'_>, now: Timestamp) -> (Vec<Fact>, bool) {
        let number = delta.get("sequenceNumber").and_then(Value::as_i64);
        let gap = match (number, self.last) {
            (Some(number), Some(last)) => number > last.saturating_add(1),
            _ => false,
        };
        if let Some(number) = number {
            self.last = Some(self.last.map_or(number, |last| last.max(number)));
        }
        self.applied_at = Some(now);
        let list = delta.get("participants").and_then(Value::as_array);
        let mut facts = Vec::new();
        for participant in list.into_iter().flatten() {
            let Some(id) = participant.get("id").and_then(Value::as_str) else { continue };
            facts.extend(self.one(id, participant, view));
        }
        (facts, gap)
    }

    fn one(&mut self, id: &str, participant: &Value, view: View<'_>) -> Vec<Fact> {
        let sequence = participant.get("rosterSequenceNumber").and_then(Value::as_i64);
        if is_us(id, participant, view) {
            return Vec::new();
        }
        let known = self.people.get(id);
        // Equal is a repetition, lower is late; both say nothing new.
        let stale = |before: Option<i64>| matches!((sequence, before), (Some(now), Some(before)) if now < before);
        if let Some(removed) = participant.get("removedState").filter(|state| state.is_object()) {
            if known.is_some_and(|entry| stale(entry.sequence)) {
                return Vec::new();
            }
            let mut facts = Vec::new();
            if known.is_none() && !self.gone.contains_key(id) {
                // Came and went between two notifications.
                facts.extend(self.join(id, read(id, participant, view), view.scope));
            }
            let reason = removed.get("reason").and_then(Value::as_str);
            facts.extend(self.left(id, reason, view.scope));
            self.gone.insert(id.to_owned(), sequence);
            return facts;
        }
        if let Some(before) = self.gone.get(id) {
            match (sequence, before) {
                (Some(now), Some(before)) if now > *before => {}
                // A participant id does not come back; what says so is late.
                _ => return Vec::new(),
            }
        }
        let now = read(id, participant, view);
        match known {
            None => self.join(id, now, view.scope),
            Some(entry) if stale(entry.sequence) => Vec::new(),
            Some(_) => self.change(id, now, view.scope),
        }
    }

    fn join(&mut self, id: &str, entry: Entry, scope: &str) -> Vec<Fact> {
        self.gone.remove(id);
        self.had_humans |= !entry.bot;
        let mut fact = Fact::new(Kind::ParticipantJoined, format!("roster|{scope}|{id}|joined"));
        fact.content.participant = Some(entry.participant());
        fact.content.source_id = Some(id.to_owned());
        fact.content.detail = (!entry.traits.is_empty()).then(|| Value::Object(entry.traits.clone()));
        self.people.insert(id.to_owned(), entry);
        vec![fact]
    }

    /// Somebody has left; nothing if they were not there.
    pub fn left(&mut self, id: &str, reason: Option<&str>, scope: &str) -> Option<Fact> {
        let entry = self.people.remove(id)?;
        self.gone.insert(id.to_owned(), entry.sequence);
        let mut fact = left(scope, id);
        fact.content.participant = Some(entry.participant());
        fact.content.reason =
            reason.map(|reason| crate::model::Reason { message: Some(reason.to_owned()), ..Default::default() });
        if entry.in_lobby == Some(true) {
            fact.content.detail = Some(json!({"from": "lobby"}));
        }
        Some(fact)
    }

    fn change(&mut self, id: &str, mut now: Entry, scope: &str) -> Vec<Fact> {
        let Some(before) = self.people.get(id) else { return Vec::new() };
        // What is not told has not changed.
        now.in_lobby = now.in_lobby.or(before.in_lobby);
        now.muted = now.muted.or(before.muted);
        now.name = now.name.or_else(|| before.name.clone());
        now.role = now.role.or_else(|| before.role.clone());
        now.sequence = now.sequence.or(before.sequence);
        now.changes = before.changes;
        let mut changes = Map::new();
        let names: std::collections::BTreeSet<&String> = before.traits.keys().chain(now.traits.keys()).collect();
        for name in names {
            let (old, new) = (before.traits.get(name), now.traits.get(name));
            if old != new {
                changes.insert(name.clone(), new.cloned().unwrap_or(Value::Null));
            }
        }
        let same = before.in_lobby == now.in_lobby
            && before.muted == now.muted
            && before.name == now.name
            && before.role == now.role
            && before.id == now.id
            && changes.is_empty();
        let mut facts = Vec::new();
        if !same {
            now.changes += 1;
            let key = format!(
                "roster|{scope}|{id}|changed|{}|{:?}|{:?}|{}",
                now.changes,
                now.in_lobby,
                now.muted,
                Value::Object(changes.clone())
            );
            let mut fact = Fact::new(Kind::ParticipantChanged, key);
            fact.content.participant = Some(now.participant());
            fact.content.source_id = Some(id.to_owned());
            fact.content.detail = (!changes.is_empty()).then_some(Value::Object(changes));
            facts.push(fact);
        }
        self.had_humans |= !now.bot;
        self.people.insert(id.to_owned(), now);
        facts
    }
}

/// The departure of a participant, as every source of it words it.
pub fn left(scope: &str, id: &str) -> Fact {
    let mut fact = Fact::new(Kind::ParticipantLeft, format!("roster|{scope}|{id}|left"));
    fact.content.source_id = Some(id.to_owned());
    fact
}

impl Entry {
    fn participant(&self) -> Participant {
        Participant {
            id: self.id.clone(),
            in_lobby: self.in_lobby,
            muted: self.muted,
            name: self.name.clone(),
            role: self.role.clone(),
        }
    }
}

fn is_us(id: &str, participant: &Value, view: View<'_>) -> bool {
    if view.mine.is_some_and(|mine| mine.eq_ignore_ascii_case(id)) {
        return true;
    }
    let principal = participant.pointer("/info/identity").and_then(|set| identity::principal(set, view.tenant));
    principal.is_some_and(|one| one.is_bot() && view.own.iter().any(|own| own.eq_ignore_ascii_case(&one.id)))
}

fn read(id: &str, participant: &Value, view: View<'_>) -> Entry {
    let principal = participant.pointer("/info/identity").and_then(|set| identity::principal(set, view.tenant));
    let (person, bot) = match &principal {
        Some(principal) => (principal.person.clone(), principal.is_bot()),
        None => (Person { id: format!("participant:{id}"), name: None }, false),
    };
    let told = |key: &str| participant.get(key).filter(|value| !value.is_null());
    let mut traits = Map::new();
    let streams = told("mediaStreams").and_then(Value::as_array);
    for stream in streams.into_iter().flatten() {
        let text = |key: &str| stream.get(key).and_then(Value::as_str);
        let (Some(media), Some(direction)) = (text("mediaType"), text("direction")) else { continue };
        traits.insert(format!("stream_{media}"), direction.into());
        if stream.get("serverMuted").and_then(Value::as_bool) == Some(true) {
            traits.insert("server_muted".to_owned(), true.into());
        }
    }
    for (key, name) in [
        ("restrictedExperience", "restricted"),
        ("recordingInfo", "recording"),
        ("publishedStates", "published_states"),
    ] {
        if let Some(value) = told(key).filter(|value| value.to_string().len() <= METADATA_LIMIT) {
            traits.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(text) = told("metadata").and_then(Value::as_str) {
        traits.insert("metadata".to_owned(), text.chars().take(METADATA_LIMIT).collect::<String>().into());
    }
    for (pointer, name) in [("/info/endpointType", "endpoint"), ("/info/languageId", "language")] {
        if let Some(text) = participant.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            traits.insert(name.to_owned(), text.chars().take(METADATA_LIMIT).collect::<String>().into());
        }
    }
    Entry {
        id: person.id,
        name: person.name,
        bot,
        in_lobby: told("isInLobby").and_then(Value::as_bool),
        muted: told("isMuted").and_then(Value::as_bool),
        role: told("meetingRole").and_then(Value::as_str).map(str::to_owned),
        traits,
        sequence: participant.get("rosterSequenceNumber").and_then(Value::as_i64),
        changes: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View<'static> = View { scope: "chain", mine: Some("me"), own: &[], tenant: "t" };
    const ANN: &str = "00000000-0000-0000-0000-00000000000a";

    fn person(id: &str, more: Value) -> Value {
        let mut one = json!({"id": id, "info": {"identity": {"user": {"id": ANN, "displayName": "Ann"}}},
            "isInLobby": false, "isMuted": false});
        for (key, value) in more.as_object().expect("object") {
            one[key] = value.clone();
        }
        one
    }

    fn kinds(facts: &[Fact]) -> Vec<&'static str> {
        facts.iter().map(|fact| fact.kind.as_str()).collect()
    }

    #[test]
    fn who_is_missing_from_a_full_roster_has_left() {
        let mut roster = Roster::default();
        let now = Timestamp(1);
        let list = json!([person("a", json!({})), person("me", json!({})), person("b", json!({}))]);
        assert_eq!(kinds(&roster.full(&list, VIEW, now)), ["participant.joined", "participant.joined"]);
        assert!(roster.full(&list, VIEW, now).is_empty(), "the same again says nothing");
        let muted = json!([person("a", json!({"isMuted": true}))]);
        let facts = roster.full(&muted, VIEW, now);
        assert_eq!(kinds(&facts), ["participant.changed", "participant.left"]);
        assert_eq!(facts[0].content.participant.as_ref().expect("participant").muted, Some(true));
        assert_eq!(kinds(&roster.full(&json!([]), VIEW, now)), ["participant.left"]);
        assert_eq!((roster.humans(), roster.had_humans()), (0, true));
    }

    #[test]
    fn missing_from_a_delta_means_nothing() {
        let mut roster = Roster::default();
        let delta = |number: i64, list: Value| json!({"sequenceNumber": number, "participants": list});
        let now = Timestamp(1);
        let both =
            json!([person("a", json!({"rosterSequenceNumber": 1})), person("b", json!({"rosterSequenceNumber": 1}))]);
        roster.delta(&delta(1, both), VIEW, now);
        let (facts, gap) = roster.delta(
            &delta(2, json!([person("a", json!({"rosterSequenceNumber": 2, "isMuted": true}))])),
            VIEW,
            now,
        );
        assert_eq!((kinds(&facts), gap), (vec!["participant.changed"], false));
        // Late and repeated entries change nothing; a number left out is noticed.
        let (facts, gap) = roster.delta(&delta(5, json!([person("a", json!({"rosterSequenceNumber": 1}))])), VIEW, now);
        assert_eq!((kinds(&facts), gap), (vec![], true));
        let removed = person("b", json!({"rosterSequenceNumber": 6, "removedState": {"reason": "x"}}));
        let (facts, _) = roster.delta(&delta(6, json!([removed])), VIEW, now);
        assert_eq!(kinds(&facts), ["participant.left"]);
        let (facts, _) = roster.delta(&delta(4, json!([person("b", json!({"rosterSequenceNumber": 4}))])), VIEW, now);
        assert_eq!(kinds(&facts), Vec::<&str>::new(), "who has left does not come back by a late entry");
        assert_eq!(roster.humans(), 1);
    }

    #[test]
    fn the_lobby_is_waited_in_and_left() {
        let mut roster = Roster::default();
        let now = Timestamp(1);
        let facts = roster.full(&json!([person("a", json!({"isInLobby": true}))]), VIEW, now);
        assert_eq!(facts[0].content.participant.as_ref().expect("participant").in_lobby, Some(true));
        let facts = roster.full(&json!([person("a", json!({}))]), VIEW, now);
        assert_eq!(kinds(&facts), ["participant.changed"]);
        assert_eq!(facts[0].content.participant.as_ref().expect("participant").in_lobby, Some(false));
        roster.full(&json!([person("a", json!({})), person("c", json!({"isInLobby": true}))]), VIEW, now);
        let facts = roster.full(&json!([person("a", json!({}))]), VIEW, now);
        assert_eq!(facts[0].content.detail, Some(json!({"from": "lobby"})));
    }

    #[test]
    fn what_was_fetched_before_the_last_notification_takes_nobody_away() {
        let mut roster = Roster::default();
        roster.full(&json!([person("a", json!({}))]), VIEW, Timestamp(10));
        assert!(roster.fetched(&json!([]), VIEW, Timestamp(9)).is_empty());
        assert_eq!(kinds(&roster.fetched(&json!([]), VIEW, Timestamp(11))), ["participant.left"]);
    }

    #[test]
    fn muting_twice_is_two_facts() {
        let mut roster = Roster::default();
        let mut keys = std::collections::HashSet::new();
        roster.full(&json!([person("a", json!({}))]), VIEW, Timestamp(1));
        for muted in [true, false, true, false] {
            for fact in roster.full(&json!([person("a", json!({"isMuted": muted}))]), VIEW, Timestamp(1)) {
                assert!(keys.insert(fact.dedupe));
            }
        }
        assert_eq!(keys.len(), 4);
    }
}
