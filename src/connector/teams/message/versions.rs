//! Versions of what people say: sent, edited, deleted, restored, reacted to, blocked by policy.

use serde_json::{Map, Value, json};

use super::{Place, Reading, Seen, attachments, hash};
use crate::connector::html;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::{identity, moment};
use crate::model::{Kind, Message, Person, Timestamp};

/// Older versions remembered, so that one that comes twice is told once.
const REMEMBERED: usize = 16;

/// Members of a message that have a place of their own in an event, or say nothing to a reader.
const MAPPED: &[&str] = &[
    "id",
    "chatId",
    "replyToId",
    "messageType",
    "createdDateTime",
    "lastModifiedDateTime",
    "from",
    "body",
    "attachments",
    "mentions",
    "reactions",
    "hostedContents",
    "importance",
    "replies",
    "lastEditedDateTime",
    "deletedDateTime",
];

struct Version<'j> {
    json: &'j Value,
    id: String,
    version: String,
    created: Option<Timestamp>,
    modified: Option<Timestamp>,
    edited: Option<Timestamp>,
    deleted: Option<Timestamp>,
    actor: Option<Person>,
}

pub(super) fn read(json: &Value, known: Option<&Seen>, place: &Place<'_>) -> Reading {
    let time = |key: &str| text(json, key).and_then(moment::time);
    let id = text(json, "id").or_else(|| text(json, "etag")).unwrap_or_default().to_owned();
    let etag = text(json, "etag").map(str::to_owned);
    let modified = time("lastModifiedDateTime").or_else(|| etag.as_deref().and_then(moment::from_id));
    let created = time("createdDateTime").or_else(|| moment::from_id(&id));
    let modified = modified.or(created);
    let sender = json.get("from").and_then(|from| identity::principal(from, place.tenant));
    let version = Version {
        version: etag.unwrap_or_else(|| modified.map_or_else(|| id.clone(), |at| at.millis().to_string())),
        edited: time("lastEditedDateTime"),
        deleted: time("deletedDateTime"),
        actor: sender.map(|sender| sender.person),
        json,
        id,
        created,
        modified,
    };
    let said = attachments::read(json, place);
    let words = words_of(&said.message, json);
    let policy = json.get("policyViolation").filter(|policy| policy.is_object());
    let reactions = reactions(json, place);
    let now = Seen {
        version: version.version.clone(),
        modified: version.modified.map_or(0, Timestamp::millis),
        edited: version.edited.map(Timestamp::millis),
        deleted: version.deleted.is_some(),
        words,
        policy: policy.map(|policy| hash(&policy.to_string())),
        reactions: reactions.iter().map(|one| one.key()).collect(),
        older: Vec::new(),
    };
    let mut reading = Reading { wants: said.wants.clone(), ..Reading::default() };
    match known {
        None => first(&version, said, &reactions, place, &mut reading),
        Some(known) if known.version == now.version || known.older.contains(&now.version) => {
            reading.wants.clear();
            // The same version, but the service counts reactions to it without a new one: compared all the same.
            if known.version == now.version && now.modified >= known.modified {
                compare_reactions(&version, known, &now, &reactions, place, &mut reading);
            }
            reading.seen = Seen { older: known.older.clone(), ..now };
            if known.version != reading.seen.version {
                reading.seen = known.clone();
            }
            return reading;
        }
        Some(known) if now.modified < known.modified => {
            // It comes late: its words are kept and marked, and the version known stays the newest.
            if now.words != known.words && !now.deleted {
                let mut fact = said_fact(&version, Kind::MessageEdited, said, place);
                note(&mut fact, "late", json!({"superseded_by": known.version}));
                reading.facts.push(fact);
            } else {
                reading.wants.clear();
                reading.facts.push(silent(&version, place));
            }
            reading.seen = known.clone();
            remember(&mut reading.seen.older, now.version);
            return reading;
        }
        Some(known) => later(&version, said, known, &now, &reactions, place, &mut reading),
    }
    let mut older = known.map(|known| known.older.clone()).unwrap_or_default();
    if let Some(known) = known {
        remember(&mut older, known.version.clone());
    }
    reading.seen = Seen { older, ..now };
    reading
}

fn remember(older: &mut Vec<String>, version: String) {
    if !older.contains(&version) {
        older.push(version);
    }
    if older.len() > REMEMBERED {
        older.remove(0);
    }
}

fn first(
    version: &Version<'_>,
    said: attachments::Said,
    reactions: &[Reaction],
    place: &Place<'_>,
    reading: &mut Reading,
) {
    let empty = said.message.text.is_empty() && said.message.attachments.is_empty();
    if version.deleted.is_none() || !empty {
        let mut fact = said_fact(version, Kind::MessageSent, said, place);
        if let Some(edited) = version.edited {
            // The words are the newest known; what was said first was never seen.
            note(&mut fact, "edited_before_capture", edited.rfc3339().into());
            reading.unseen_edit = true;
        }
        reading.facts.push(fact);
    } else {
        reading.wants.clear();
    }
    if version.deleted.is_some() {
        reading.facts.push(deletion(version, place));
    }
    for reaction in reactions {
        reading.facts.push(reacted(version, reaction, place));
    }
}

fn later(
    version: &Version<'_>,
    said: attachments::Said,
    known: &Seen,
    now: &Seen,
    reactions: &[Reaction],
    place: &Place<'_>,
    reading: &mut Reading,
) {
    let before = reading.facts.len();
    if now.deleted && !known.deleted {
        reading.wants.clear();
        reading.facts.push(deletion(version, place));
    } else if !now.deleted {
        let restored = known.deleted;
        let edited = now.words != known.words || (now.edited.is_some() && now.edited != known.edited);
        let blocked = now.policy != known.policy;
        if restored || edited || blocked {
            let mut fact = said_fact(version, Kind::MessageEdited, said, place);
            if restored {
                note(&mut fact, "restored", true.into());
            }
            reading.facts.push(fact);
        } else {
            reading.wants.clear();
        }
    } else {
        reading.wants.clear();
    }
    compare_reactions(version, known, now, reactions, place, reading);
    if reading.facts.len() == before {
        reading.facts.push(silent(version, place));
    }
}

fn compare_reactions(
    version: &Version<'_>,
    known: &Seen,
    now: &Seen,
    reactions: &[Reaction],
    place: &Place<'_>,
    reading: &mut Reading,
) {
    let same = |a: &(String, String, i64), b: &(String, String, i64)| a.0 == b.0 && a.1 == b.1;
    for reaction in reactions {
        let key = reaction.key();
        if !known.reactions.iter().any(|one| same(one, &key)) {
            reading.facts.push(reacted(version, reaction, place));
        }
    }
    if version.deleted.is_some() {
        // A deleted message comes without its reactions; nobody took them back.
        return;
    }
    for gone in known.reactions.iter().filter(|one| !now.reactions.iter().any(|other| same(one, other))) {
        reading.facts.push(unreacted(version, gone, place));
    }
}

fn said_fact(version: &Version<'_>, kind: Kind, said: attachments::Said, place: &Place<'_>) -> Fact {
    let (at, source_time, part) = match kind {
        // Whatever version it is seen in first, a message is sent once.
        Kind::MessageSent => (version.created.map_or_else(|| version.version.clone(), millis), version.created, "sent"),
        _ => (
            version.version.clone(),
            version.edited.filter(|_| version.modified.is_none()).or(version.modified),
            "edited",
        ),
    };
    let mut fact = Fact::new(kind, format!("message|{}|{}|{at}|{part}", place.thread, version.id));
    fact.source_time = source_time;
    fact.content.actor = version.actor.clone();
    fact.content.source_id = Some(version.version.clone());
    let mut detail = said.detail;
    detail.extend(rest_of(version.json));
    fact.content.message = Some(said.message);
    fact.content.detail = (!detail.is_empty()).then_some(Value::Object(detail));
    fact
}

/// Everything that has no member of its own, so that nothing the service told is lost from the event.
fn rest_of(json: &Value) -> Map<String, Value> {
    let mut rest = Map::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        let empty = value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_str().is_some_and(str::is_empty)
            || name.starts_with('@')
            || (name == "locale" && value == "en-us");
        if empty || MAPPED.contains(&name.as_str()) {
            continue;
        }
        let name = if name == "policyViolation" { "policy_violation" } else { name };
        rest.insert(name.to_owned(), value.clone());
    }
    if let Some(kind) = json.pointer("/from/user/userIdentityType").and_then(Value::as_str)
        && !kind.eq_ignore_ascii_case("aadUser")
    {
        rest.insert("userIdentityType".to_owned(), kind.into());
    }
    rest
}

fn deletion(version: &Version<'_>, place: &Place<'_>) -> Fact {
    let at = version.deleted.map_or_else(|| version.version.clone(), millis);
    let mut fact = Fact::new(Kind::MessageDeleted, format!("message|{}|{}|{at}|deleted", place.thread, version.id));
    fact.source_time = version.deleted;
    fact.content.actor = version.actor.clone();
    fact.content.source_id = Some(version.version.clone());
    fact.content.message = Some(Message { id: version.id.clone(), ..Message::default() });
    let rest = rest_of(version.json);
    fact.content.detail = (!rest.is_empty()).then_some(Value::Object(rest));
    fact
}

/// A version that changed nothing a reader sees is on record all the same.
fn silent(version: &Version<'_>, place: &Place<'_>) -> Fact {
    let key = format!("message|{}|{}|{}|version", place.thread, version.id, version.version);
    let mut fact = Fact::new(Kind::PlatformEvent, key);
    fact.source_time = version.modified;
    fact.content.source_id = Some(version.version.clone());
    fact.content.message = Some(Message { id: version.id.clone(), ..Message::default() });
    fact.content.detail = Some(Value::Object(rest_of(version.json)));
    fact
}

struct Reaction {
    kind: String,
    person: Person,
    at: Option<Timestamp>,
    display: Option<String>,
}

impl Reaction {
    fn key(&self) -> (String, String, i64) {
        (self.kind.clone(), self.person.id.clone(), self.at.map_or(0, Timestamp::millis))
    }
}

fn reactions(json: &Value, place: &Place<'_>) -> Vec<Reaction> {
    let list = json.get("reactions").and_then(Value::as_array);
    let read = |one: &Value| {
        let display = text(one, "displayName").map(str::to_owned);
        let kind = text(one, "reactionType").map(str::to_owned).or_else(|| display.clone())?;
        // Custom reactions share one type and differ in their names.
        let kind = match &display {
            Some(display) if kind.eq_ignore_ascii_case("custom") => format!("custom:{display}"),
            _ => kind,
        };
        let set = one.get("user").cloned().unwrap_or_default();
        let person = identity::principal(&set, place.tenant).map(|one| one.person);
        let person =
            person.or_else(|| identity::of_member("user", set.as_object()?, place.tenant).map(|one| one.person))?;
        Some(Reaction { kind, person, at: text(one, "createdDateTime").and_then(moment::time), display })
    };
    list.into_iter().flatten().filter_map(read).collect()
}

fn reacted(version: &Version<'_>, reaction: &Reaction, place: &Place<'_>) -> Fact {
    let at = reaction.at.or(version.modified);
    let mut fact = Fact::new(
        Kind::ReactionAdded,
        format!(
            "reaction|{}|{}|{}|{}|{}|added",
            place.thread,
            version.id,
            at.map_or(0, Timestamp::millis),
            reaction.kind,
            reaction.person.id
        ),
    );
    fact.source_time = at;
    fact.content.actor = Some(reaction.person.clone());
    fact.content.reaction = Some(reaction.kind.clone());
    fact.content.message = Some(Message { id: version.id.clone(), ..Message::default() });
    if let Some(display) = reaction.display.as_ref().filter(|display| !display.eq_ignore_ascii_case(&reaction.kind)) {
        fact.content.detail = Some(json!({"displayName": display}));
    }
    fact
}

fn unreacted(version: &Version<'_>, gone: &(String, String, i64), place: &Place<'_>) -> Fact {
    let (kind, person, since) = gone;
    // The history may tell when; else it is the version's time.
    let history = version.json.get("messageHistory").and_then(Value::as_array);
    let told = history.into_iter().flatten().filter(|item| {
        text(item, "actions").is_some_and(|actions| actions.to_ascii_lowercase().contains("reactionremoved"))
            && item.pointer("/reaction/reactionType").and_then(Value::as_str).is_some_and(|one| one == kind)
    });
    let at = told.filter_map(|item| text(item, "modifiedDateTime").and_then(moment::time)).max().or(version.modified);
    let mut fact = Fact::new(
        Kind::ReactionRemoved,
        format!(
            "reaction|{}|{}|{}|{kind}|{person}|removed|{since}",
            place.thread,
            version.id,
            at.map_or(0, Timestamp::millis)
        ),
    );
    fact.source_time = at;
    fact.content.actor = Some(Person { id: person.clone(), name: None });
    fact.content.reaction = Some(kind.clone());
    fact.content.message = Some(Message { id: version.id.clone(), ..Message::default() });
    fact
}

/// Hash of what a reader sees of a message.
fn words_of(message: &Message, json: &Value) -> u64 {
    let body = json.pointer("/body/content").and_then(Value::as_str).unwrap_or_default();
    let mut all = format!("{body}\u{0}{}\u{0}{:?}", message.text, message.importance);
    for key in ["subject", "summary"] {
        all.push('\u{0}');
        all.push_str(text(json, key).unwrap_or_default());
    }
    for attachment in &message.attachments {
        all.push_str(&format!("\u{0}{:?}|{:?}", attachment.name, attachment.url));
    }
    for mention in &message.mentions {
        all.push_str(&format!("\u{0}{}", mention.id));
    }
    hash(&all)
}

/// Plain text of a body.
pub(super) fn plain(body: &Value) -> (String, Option<String>) {
    let content = body.get("content").and_then(Value::as_str).unwrap_or_default();
    let is_html = body.get("contentType").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    if is_html {
        let text = html::html_to_text(content);
        return (one_break_less(&text), (!content.is_empty()).then(|| html::sanitise(content)));
    }
    (one_break_less(&content.replace("\r\n", "\n")), None)
}

fn one_break_less(text: &str) -> String {
    text.strip_suffix('\n').unwrap_or(text).to_owned()
}

fn note(fact: &mut Fact, name: &str, value: Value) {
    let detail = fact.content.detail.get_or_insert_with(|| Value::Object(Map::new()));
    if let Some(detail) = detail.as_object_mut() {
        detail.insert(name.to_owned(), value);
    }
}

fn millis(at: Timestamp) -> String {
    at.millis().to_string()
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
