//! Reactions: the list that a version shows, its history, and what changed since the version known before.
//!
//! Only `messageHistory` tells of a reaction that came and went between two versions we saw, and when one was taken back
//! (digest §16, trap 25).

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::people;
use super::{Place, Seen};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::look::{at, bare, list, text, time};
use crate::model::{Content, Kind, Message, Person, Timestamp};

/// One reaction as a version shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reaction {
    /// `like`, `angry`, … or an emoji; `custom` with a name of its own.
    pub kind: String,
    /// Who reacted.
    pub actor: Option<Person>,
    /// When.
    pub at: Option<Timestamp>,
    /// The rest.
    pub detail: Option<Value>,
}

/// What is remembered of a reaction: kind, person, ms.
pub type Mark = (String, String, i64);

impl Reaction {
    /// What is remembered of it.
    pub fn mark(&self) -> Mark {
        let who = self.actor.as_ref().map(|who| who.id.clone()).unwrap_or_default();
        (self.name(), who, self.at.map_or(0, Timestamp::millis))
    }

    /// The kind; custom reactions are told apart by their names.
    fn name(&self) -> String {
        let custom = self.detail.as_ref().and_then(|d| text(d, "displayName"));
        match custom.filter(|_| self.kind.eq_ignore_ascii_case("custom")) {
            Some(name) => format!("{}:{name}", self.kind),
            None => self.kind.clone(),
        }
    }
}

/// Reads one `chatMessageReaction`.
pub fn reaction(json: &Value, tenant: &str) -> Option<Reaction> {
    let kind = text(json, "reactionType").or_else(|| text(json, "displayName"))?.trim().to_owned();
    let actor = at(json, "user").and_then(|set| people::of_set(set, tenant)).map(|who| who.person);
    let mut detail = serde_json::Map::new();
    for key in ["displayName", "reactionContentUrl"] {
        if let Some(told) = at(json, key) {
            detail.insert(key.to_owned(), bare(told));
        }
    }
    let detail = (!detail.is_empty()).then_some(Value::Object(detail));
    Some(Reaction { kind, actor, at: time(json, "createdDateTime"), detail })
}

/// The reactions that a version shows.
pub fn shown(json: &Value, tenant: &str) -> Vec<Reaction> {
    list(json, "reactions").iter().filter_map(|r| reaction(r, tenant)).collect()
}

struct Step {
    at: Timestamp,
    added: bool,
    reaction: Reaction,
}

/// The facts between the known version and this newer one.
pub fn changes(
    json: &Value,
    known: Option<&Seen>,
    now: &[Reaction],
    place: &Place<'_>,
    id: &str,
    version: i64,
) -> Vec<Fact> {
    let same = |a: &Mark, b: &Mark| a.0 == b.0 && a.1 == b.1;
    let known_version = known.map(|known| known.version);
    let mut state: Vec<Mark> = known.map(|known| known.reactions.clone()).unwrap_or_default();
    let mut facts = Vec::new();
    let mut steps: Vec<Step> = list(json, "messageHistory")
        .iter()
        .filter_map(|entry| {
            let at_time = time(entry, "modifiedDateTime")?;
            let actions = text(entry, "actions")?.to_ascii_lowercase();
            let reaction = reaction(at(entry, "reaction")?, place.tenant)?;
            let added = actions.contains("reactionadded");
            (added || actions.contains("reactionremoved")).then_some(Step { at: at_time, added, reaction })
        })
        .filter(|step| known_version.is_none_or(|known| step.at.millis() > known))
        .collect();
    steps.sort_by_key(|step| step.at);
    for (index, step) in steps.iter().enumerate() {
        let mark = step.reaction.mark();
        let has = state.iter().position(|known| same(known, &mark));
        // What stays until now is told from the list below, with the list's own time.
        let stays = step.added
            && now.iter().any(|r| same(&r.mark(), &mark))
            && !steps.iter().skip(index + 1).any(|later| !later.added && same(&later.reaction.mark(), &mark));
        match (step.added, has) {
            (true, None) if !stays => {
                facts.push(fact(Kind::ReactionAdded, &step.reaction, step.reaction.at.unwrap_or(step.at), place, id));
                state.push(mark);
            }
            (false, has) => {
                if let Some(has) = has {
                    state.swap_remove(has);
                }
                facts.push(fact(Kind::ReactionRemoved, &step.reaction, step.at, place, id));
            }
            _ => {}
        }
    }
    let marks: Vec<Mark> = now.iter().map(Reaction::mark).collect();
    let here: HashSet<(&str, &str)> = marks.iter().map(|m| (m.0.as_str(), m.1.as_str())).collect();
    let before: HashMap<(&str, &str), i64> = state.iter().map(|m| ((m.0.as_str(), m.1.as_str()), m.2)).collect();
    for mark in state.iter().filter(|mark| !here.contains(&(mark.0.as_str(), mark.1.as_str()))) {
        let actor = (!mark.1.is_empty()).then(|| Person { id: mark.1.clone(), name: None });
        let gone = Reaction { kind: mark.0.clone(), actor, at: None, detail: None };
        facts.push(fact(Kind::ReactionRemoved, &gone, Timestamp::from_millis(version), place, id));
    }
    for (reaction, mark) in now.iter().zip(&marks) {
        let was = before.get(&(mark.0.as_str(), mark.1.as_str()));
        // Taken back and given again between two versions: only the time tells.
        if was.is_none_or(|was| *was != 0 && mark.2 > *was) {
            let at = reaction.at.unwrap_or(Timestamp::from_millis(version));
            facts.push(fact(Kind::ReactionAdded, reaction, at, place, id));
        }
    }
    facts
}

/// One reaction as a fact.
pub fn fact(kind: Kind, reaction: &Reaction, at: Timestamp, place: &Place<'_>, id: &str) -> Fact {
    let (name, who, _) = reaction.mark();
    let plain = if reaction.kind.starts_with("custom:") { "custom".to_owned() } else { reaction.kind.clone() };
    let detail = match (&reaction.detail, reaction.kind.strip_prefix("custom:")) {
        (None, Some(name)) => Some(json!({"displayName": name})),
        (detail, _) => detail.clone(),
    };
    Fact {
        kind,
        source_time: Some(at),
        dedupe: format!("{kind}|{}|{id}|{who}|{name}|{}", place.thread, at.millis()),
        content: Content {
            actor: reaction.actor.clone(),
            detail,
            message: Some(Message { id: id.to_owned(), ..Message::default() }),
            reaction: Some(plain),
            ..Content::default()
        },
    }
}
