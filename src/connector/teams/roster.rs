//! Who is in a call: from roster notifications and fetched lists to `participant.*` facts (digest §10).
//!
//! The unit is the roster participant: one device of one person, with an id of its own; coming back gives a new id. The
//! unit of attendance is the person. So every roster participant is one `participant.joined` (`source_id` = roster id,
//! `participant.id` = person), and when a person was there with two devices, the end of the first is a
//! `participant.changed` with `detail.device = "left"`; `participant.left` comes with the last.
//!
//! Identity of the facts: joined, admitted, left, and whatever the platform numbers (`rosterSequenceNumber`) are the same
//! fact whichever leg of the chain tells them. Changes without a number are numbered by what came before them, within
//! the legs that record the same user; legs of other users tell such changes a second time. Twice is better than never.

mod entry;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use entry::Entry;

use super::fact::Fact;
use super::member::{bounded, digest, key, member, text};
use super::notice::RosterForm;
use crate::model::{Kind, Participant, Person, Reason, Timestamp};

/// How many participants that left are remembered, so that late news of them is known as late.
const GRAVES: usize = 4096;

/// Names in dedupe keys and identities that a roster is read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Where a user without tenant counts to.
    pub tenant: String,
    /// Our application, lower case: its participants are our legs.
    pub client_id: String,
    /// The same for all legs of a conversation: tenant and call chain, else the call.
    pub conversation: String,
    /// The same for legs that record the same user.
    pub leg: String,
    /// `myParticipantId`.
    pub own: Option<String>,
}

/// What a roster says after news.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// Something was missed: the list has to be fetched.
    pub needs_resync: bool,
}

/// The roster of one leg.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    present: BTreeMap<String, Entry>,
    gone: BTreeMap<String, Gone>,
    last_list: Option<i64>,
    last_applied: Option<Timestamp>,
    had_humans: bool,
    fetched: bool,
    burials: u64,
}

/// A participant that left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gone {
    sequence: Option<i64>,
    /// How often this id has joined.
    times: u32,
    /// Order of leaving; the oldest is forgotten first.
    order: u64,
}

impl Roster {
    /// People (not programs) on the roster, lobby included, each counted once.
    pub fn humans(&self) -> usize {
        let mut ids: Vec<&str> = self.present.values().filter(|e| e.is_human()).map(|e| e.person.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    /// Whether there ever was a human on it.
    pub fn had_humans(&self) -> bool {
        self.had_humans
    }

    /// Everybody present, by roster id, without our own legs.
    pub fn present(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.present.iter().filter(|(_, entry)| !entry.own).map(|(id, entry)| (id.as_str(), entry))
    }

    /// Applies a roster notification.
    pub fn apply(&mut self, form: RosterForm, data: &Value, scope: &Scope, now: Timestamp) -> Applied {
        match form {
            RosterForm::Full => self.apply_full(data, scope, now),
            RosterForm::Delta => self.apply_delta(data, scope, now),
            RosterForm::Bare => Applied { facts: Vec::new(), needs_resync: true },
        }
    }

    fn apply_full(&mut self, data: &Value, scope: &Scope, now: Timestamp) -> Applied {
        let elements = data.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut applied = Applied::default();
        let mut named = Vec::new();
        let mut unreadable = false;
        for element in elements {
            match Entry::read(element, scope) {
                Some((id, entry)) => {
                    named.push(id.clone());
                    self.take(id, entry, element, scope, None, &mut applied.facts);
                }
                None => unreadable = true,
            }
        }
        // Somebody unreadable may be anybody: then nobody is taken for gone.
        if unreadable {
            applied.needs_resync = true;
        } else {
            self.missing_left(&named, scope, &mut applied.facts);
        }
        self.last_applied = Some(now);
        applied
    }

    fn apply_delta(&mut self, data: &Value, scope: &Scope, now: Timestamp) -> Applied {
        let lists = data.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(data));
        let mut applied = Applied::default();
        for delta in lists {
            let number = member(delta, "sequenceNumber").and_then(Value::as_i64);
            if let Some(number) = number {
                match self.last_list {
                    Some(last) if number > last.saturating_add(1) => {
                        applied.needs_resync = true;
                        self.last_list = Some(number);
                    }
                    Some(last) if number <= last => {}
                    _ => self.last_list = Some(number),
                }
            }
            // One participant without a wrapper is news of that participant only.
            let participants = match member(delta, "participants").and_then(Value::as_array) {
                Some(participants) => participants.as_slice(),
                None => std::slice::from_ref(delta),
            };
            for element in participants {
                let Some((id, entry)) = Entry::read(element, scope) else {
                    applied.needs_resync = true;
                    continue;
                };
                match member(element, "removedState") {
                    Some(removed) => self.remove(&id, entry, removed, scope, &mut applied.facts),
                    None if self.is_news(&id, &entry) => self.take(id, entry, element, scope, None, &mut applied.facts),
                    None => {}
                }
            }
        }
        self.last_applied = Some(now);
        applied
    }

    /// Applies the answer of `GET …/participants`, asked for at `began_at`. Absence counts as left only if nothing was
    /// applied since, and if the answer has no further page.
    pub fn apply_fetched(&mut self, body: &Value, began_at: Timestamp, scope: &Scope) -> Applied {
        let mut applied = Applied::default();
        let Some(elements) = member(body, "value").and_then(Value::as_array) else { return applied };
        let found_by = self.fetched.then_some("roster check");
        let stale = self.last_applied.is_some_and(|last| last >= began_at);
        let mut named = Vec::new();
        let mut readable = true;
        for element in elements {
            let Some((id, entry)) = Entry::read(element, scope) else {
                readable = false;
                continue;
            };
            named.push(id.clone());
            let known = self.present.get(&id).map(|known| known.sequence);
            // What left while the list was on its way must not come back by it.
            let older = match (known, entry.sequence, self.gone.get(&id)) {
                (Some(Some(ours)), Some(theirs), _) => theirs < ours,
                (Some(_), None, _) => stale,
                (None, theirs, Some(gone)) => stale || matches!((theirs, gone.sequence), (Some(t), Some(g)) if t <= g),
                _ => false,
            };
            if !older {
                self.take(id, entry, element, scope, found_by, &mut applied.facts);
            }
        }
        if readable && !stale && text(body, &["@odata.nextLink"]).is_none() {
            self.missing_left(&named, scope, &mut applied.facts);
        }
        self.fetched = true;
        applied
    }

    /// A recorded user left a policy call: news from a `participantLeftNotification`.
    pub fn left(&mut self, id: &str, person: Option<Person>, reason: Option<Reason>, scope: &Scope) -> Vec<Fact> {
        let id = key(id);
        let mut facts = Vec::new();
        if self.present.contains_key(&id) {
            self.bury(&id, None, reason, scope, &mut facts);
        } else if !self.gone.contains_key(&id) {
            let person = person.unwrap_or_else(|| Person { id: format!("participant:{id}"), name: None });
            let times = 1;
            self.grave(&id, Gone { sequence: None, times, order: 0 });
            facts.push(self.leave_fact(&id, &person, times, false, reason, scope));
        }
        facts
    }

    /// The person behind a roster id that is present.
    pub fn person(&self, id: &str) -> Option<&Person> {
        self.present.get(&key(id)).map(|entry| &entry.person)
    }

    /// Whether news of a participant are newer than what is known; without numbers, the order of arrival decides.
    fn is_news(&self, id: &str, entry: &Entry) -> bool {
        let known = match (self.present.get(id), self.gone.get(id)) {
            (Some(known), _) => known.sequence,
            (None, Some(gone)) => gone.sequence,
            (None, None) => None,
        };
        !matches!((known, entry.sequence), (Some(ours), Some(theirs)) if theirs <= ours)
    }

    /// Takes what is now known of a participant.
    fn take(
        &mut self,
        id: String,
        mut entry: Entry,
        raw: &Value,
        scope: &Scope,
        found_by: Option<&str>,
        facts: &mut Vec<Fact>,
    ) {
        match self.present.get(&id) {
            Some(known) => {
                entry.inherit(known);
                if !entry.own {
                    self.change_facts(&id, known, &mut entry, scope, facts);
                }
                self.present.insert(id, entry);
            }
            None => {
                entry.times = self.gone.remove(&id).map_or(1, |gone| gone.times.saturating_add(1));
                entry.history = digest(&entry.state().to_string());
                if !entry.own {
                    facts.push(self.join_fact(&id, &entry, raw, scope, found_by));
                }
                self.had_humans |= entry.is_human();
                self.present.insert(id, entry);
            }
        }
    }

    fn join_fact(&self, id: &str, entry: &Entry, raw: &Value, scope: &Scope, found_by: Option<&str>) -> Fact {
        let mut fact = Fact::new(
            Kind::ParticipantJoined,
            format!("roster|{}|{}|joined|{}", scope.conversation, key(id), entry.times),
        );
        let mut detail = entry.detail(raw);
        if let Some(found_by) = found_by {
            detail["found_by"] = json!(found_by);
        }
        fact.content.source_id = Some(bounded(id, 256));
        fact.content.participant = Some(Participant {
            in_lobby: entry.in_lobby,
            muted: entry.muted,
            role: entry.role.clone(),
            ..participant(&entry.person)
        });
        fact.content.detail = detail.as_object().is_some_and(|detail| !detail.is_empty()).then_some(detail);
        fact
    }

    fn change_facts(&self, id: &str, known: &Entry, entry: &mut Entry, scope: &Scope, facts: &mut Vec<Fact>) {
        let fact = |what: String| {
            let mut fact = Fact::new(Kind::ParticipantChanged, format!("roster|{}|{what}", scope.conversation));
            fact.content.source_id = Some(bounded(id, 256));
            fact
        };
        let id_key = key(id);
        let admitted = known.in_lobby == Some(true) && entry.in_lobby == Some(false);
        if admitted {
            // The real join: once for each roster participant, whoever tells it.
            let mut fact = fact(format!("{id_key}|admitted|{}", entry.times));
            fact.content.participant =
                Some(Participant { in_lobby: Some(false), role: entry.role.clone(), ..participant(&entry.person) });
            facts.push(fact);
        }
        let (before, after) = (known.state(), entry.state());
        let detail = Entry::difference(&before, &after);
        let moved = known.in_lobby != entry.in_lobby && entry.in_lobby.is_some() && !admitted;
        let muted = (known.muted != entry.muted).then_some(entry.muted).flatten();
        let renamed = entry.person != known.person || entry.role != known.role;
        if detail.is_none() && !moved && muted.is_none() && !renamed {
            return;
        }
        entry.history = digest(&format!("{}|{after}", known.history));
        let what = match entry.sequence {
            Some(number) => format!("{id_key}|changed|{number}|{}", digest(&after.to_string())),
            None => format!("{id_key}|changed|{}|{}", scope.leg, entry.history),
        };
        let mut fact = fact(what);
        fact.content.participant = Some(Participant {
            in_lobby: moved.then_some(entry.in_lobby).flatten(),
            muted,
            role: entry.role.clone(),
            ..participant(&entry.person)
        });
        fact.content.detail = detail;
        facts.push(fact);
    }

    fn missing_left(&mut self, named: &[String], scope: &Scope, facts: &mut Vec<Fact>) {
        let named: std::collections::BTreeSet<&str> = named.iter().map(String::as_str).collect();
        let missing: Vec<String> = self.present.keys().filter(|id| !named.contains(id.as_str())).cloned().collect();
        for id in missing {
            self.bury(&id, None, None, scope, facts);
        }
    }

    /// A delta says that somebody was removed; perhaps somebody never seen.
    fn remove(&mut self, id: &str, entry: Entry, removed: &Value, scope: &Scope, facts: &mut Vec<Fact>) {
        let known = self.present.get(id).and_then(|known| known.sequence);
        if matches!((known, entry.sequence), (Some(ours), Some(theirs)) if theirs < ours) {
            return;
        }
        let reason = text(removed, &["reason"])
            .map(|message| Reason { message: Some(bounded(message, 1024)), ..Reason::default() });
        if self.present.contains_key(id) {
            self.bury(id, entry.sequence, reason, scope, facts);
        } else if let Some(gone) = self.gone.get_mut(id) {
            gone.sequence = gone.sequence.max(entry.sequence);
        } else {
            self.grave(id, Gone { sequence: entry.sequence, times: 1, order: 0 });
            if !entry.own {
                let lobby = entry.in_lobby == Some(true);
                facts.push(self.leave_fact(id, &entry.person, 1, lobby, reason, scope));
            }
        }
    }

    fn bury(&mut self, id: &str, sequence: Option<i64>, why: Option<Reason>, scope: &Scope, facts: &mut Vec<Fact>) {
        let Some(entry) = self.present.remove(id) else { return };
        let sequence = entry.sequence.max(sequence);
        self.grave(id, Gone { sequence, times: entry.times, order: 0 });
        if !entry.own {
            let lobby = entry.in_lobby == Some(true);
            facts.push(self.leave_fact(id, &entry.person, entry.times, lobby, why, scope));
        }
    }

    fn leave_fact(
        &self,
        id: &str,
        person: &Person,
        times: u32,
        lobby: bool,
        reason: Option<Reason>,
        scope: &Scope,
    ) -> Fact {
        let devices = self.present.values().filter(|entry| !entry.own && entry.person.id == person.id).count();
        let kind = if devices == 0 { Kind::ParticipantLeft } else { Kind::ParticipantChanged };
        let mut fact = Fact::new(kind, format!("roster|{}|{}|left|{times}", scope.conversation, key(id)));
        fact.content.source_id = Some(bounded(id, 256));
        fact.content.participant = Some(Participant { in_lobby: lobby.then_some(true), ..participant(person) });
        fact.content.reason = reason;
        fact.content.detail = match (devices, lobby) {
            (0, false) => None,
            (0, true) => Some(json!({ "was": "waiting in the lobby" })),
            (devices, _) => Some(json!({ "device": "left", "devices": devices })),
        };
        fact
    }

    fn grave(&mut self, id: &str, gone: Gone) {
        self.burials = self.burials.saturating_add(1);
        self.gone.insert(id.to_owned(), Gone { order: self.burials, ..gone });
        if self.gone.len() > GRAVES {
            let oldest = self.gone.iter().min_by_key(|(_, gone)| gone.order).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.gone.remove(&oldest);
            }
        }
    }
}

fn participant(person: &Person) -> Participant {
    Participant { id: person.id.clone(), name: person.name.clone(), ..Participant::default() }
}

#[cfg(test)]
mod tests;
