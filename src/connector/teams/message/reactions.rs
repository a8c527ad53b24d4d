//! Reactions: the list that a version shows, its history, and what changed since the version known before.
//!
//! Only `messageHistory` tells of a reaction that came and went between two versions we saw, and when one was taken back
//! (digest §16, trap 25).

use std::collections::{BTreeMap, HashMap};

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

/// The facts between the known version and this newer one. Linear in the length of the lists, but for sorting.
pub fn changes(
    json: &Value,
    known: Option<&Seen>,
    now: &[Reaction],
    place: &Place<'_>,
    id: &str,
    version: i64,
) -> Vec<Fact> {
    let known_version = known.map(|known| known.version);
    let here: HashMap<Who, i64> = now.iter().map(|reaction| split(reaction.mark())).collect();
    let mut state: BTreeMap<Who, i64> =
        known.map(|known| known.reactions.iter().cloned().map(split).collect()).unwrap_or_default();
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
    let last_removal: HashMap<Who, usize> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| !step.added)
        .map(|(index, step)| (split(step.reaction.mark()).0, index))
        .collect();
    for (index, step) in steps.iter().enumerate() {
        let (who, given) = split(step.reaction.mark());
        if !step.added {
            state.remove(&who);
            facts.push(fact(Kind::ReactionRemoved, &step.reaction, step.at, place, id));
            continue;
        }
        // What stays until now is told from the list below, with the list's own time.
        let stays = here.contains_key(&who) && last_removal.get(&who).is_none_or(|removal| *removal < index);
        if !stays && !state.contains_key(&who) {
            facts.push(fact(Kind::ReactionAdded, &step.reaction, step.reaction.at.unwrap_or(step.at), place, id));
            state.insert(who, given);
        }
    }
    for (kind, who) in state.keys().filter(|who| !here.contains_key(*who)) {
        let actor = (!who.is_empty()).then(|| Person { id: who.clone(), name: None });
        let gone = Reaction { kind: kind.clone(), actor, at: None, detail: None };
        facts.push(fact(Kind::ReactionRemoved, &gone, Timestamp::from_millis(version), place, id));
    }
    for reaction in now {
        let (who, given) = split(reaction.mark());
        // Taken back and given again between two versions: only the time tells.
        if state.get(&who).is_none_or(|was| *was != 0 && given > *was) {
            let at = reaction.at.unwrap_or(Timestamp::from_millis(version));
            facts.push(fact(Kind::ReactionAdded, reaction, at, place, id));
        }
    }
    facts
}

/// Kind and person: what makes two reactions the same.
type Who = (String, String);

fn split((kind, who, given): Mark) -> (Who, i64) {
    ((kind, who), given)
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
