//! One version of a message against the version known before.
//!
//! Versions come in any order and more than once. Dedupe keys say which version they are of: `message|…|<ms of the words>`
//! for words that are as they were sent or edited, `<ms of the version>` where something else about the words changed.
//! A version older than the known one is told all the same, with `detail.late`; then the reader's last event would be old
//! words, so [`Reading::restate`] asks for the newest to be told again. A deletion is restated at once.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::reactions::{self, Reaction};
use super::words::{self, Words, digest};
use super::{Place, Reading, Seen, Want, id_of, people, sender_application, system, time_ms, version_ms};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::look::{at, bare, id, text, time};
use crate::connector::teams::moment;
use crate::model::{Content, Kind, Message, Person, Timestamp};

/// Digests remembered per message. What is forgotten is still told apart by its dedupe key.
const TOLD_LIMIT: usize = 64;

/// Reads one version of a message. `known` is what an earlier reading of the same message left.
pub fn read(json: &Value, known: Option<&Seen>, place: &Place<'_>) -> Reading {
    let Some(id) = id_of(json) else { return nameless(json, known, place) };
    let version = Version {
        json,
        place,
        words: words::read(json, place),
        reactions: reactions::shown(json, place.tenant),
        actor: at(json, "from").and_then(|from| people::of_set(from, place.tenant)).map(|who| who.person),
        ms: version_ms(json),
        etag: self::id(json, "etag").map_or(0, |etag| digest(&etag.into())),
        edited: time_ms(json, "lastEditedDateTime"),
        deleted: time_ms(json, "deletedDateTime"),
        policy: at(json, "policyViolation").map_or(0, |policy| digest(&bare(policy))),
        system: system::is_system(json),
        id,
    };
    let mut reading = match known {
        None => version.first(),
        Some(known) if version.ms < known.version => version.late(known),
        Some(known) if version.ms == known.version && version.etag == known.etag => version.nothing(known),
        Some(known) => version.newer(known),
    };
    reading.sender_application = sender_application(json);
    let excess = reading.seen.told.len().saturating_sub(TOLD_LIMIT);
    reading.seen.told.drain(..excess);
    reading
}

/// The newest words once more, after older ones were told: `message.edited` with `detail.restated`. `json` is the newest
/// version, `seen` what the reading of the older one left. `None` for what has no words (a deleted or system message).
pub fn restate(json: &Value, seen: &Seen, place: &Place<'_>) -> Option<(Fact, Vec<Want>)> {
    let words = words::read(json, place);
    if words.empty || system::is_system(json) || time(json, "deletedDateTime").is_some() {
        return None;
    }
    let (id, ms) = (id_of(json)?, version_ms(json));
    let mut detail = words.detail;
    detail.insert("restated".into(), true.into());
    let actor = at(json, "from").and_then(|from| people::of_set(from, place.tenant)).map(|who| who.person);
    let after = seen.told.last().copied().unwrap_or_default();
    let fact = Fact {
        kind: Kind::MessageEdited,
        source_time: time(json, "lastEditedDateTime").or(Some(Timestamp::from_millis(ms))),
        dedupe: format!("message.restated|{}|{id}|{ms}|{after:016x}", place.thread),
        content: Content { actor, detail: Some(detail.into()), message: Some(words.message), ..Content::default() },
    };
    let wants = words.wants.into_iter().map(|(attachment, path)| Want { fact: 0, attachment, path }).collect();
    Some((fact, wants))
}

struct Version<'a> {
    json: &'a Value,
    place: &'a Place<'a>,
    id: String,
    words: Words,
    reactions: Vec<Reaction>,
    actor: Option<Person>,
    ms: i64,
    etag: u64,
    edited: Option<i64>,
    deleted: Option<i64>,
    policy: u64,
    system: bool,
}

impl Version<'_> {
    fn first(&self) -> Reading {
        let mut out = Out::new(self.seen(None));
        let gone = self.deleted.is_some() && self.words.empty;
        if self.system {
            out.facts = system::facts(self.json, self.place, &self.id, None);
            out.seen.sent = true;
        } else if text(self.json, "messageType").is_some_and(|kind| kind.eq_ignore_ascii_case("typing")) {
            out.facts.push(self.unseen("typing"));
            out.seen.sent = true;
        } else if !gone {
            let mut detail = self.words.detail.clone();
            if let Some(edited) = text(self.json, "lastEditedDateTime") {
                detail.insert("edited_before_capture".into(), edited.into());
            }
            // Once a policy has changed the message, its words may be others under the same time.
            let ms = if self.policy == 0 { self.words_ms() } else { self.ms };
            out.words(
                self,
                Kind::MessageSent,
                self.created(),
                format!("message|{}|{}|{ms}", self.place.thread, self.id),
                detail,
            );
        }
        self.deletion(None, &mut out);
        if !self.system {
            out.facts.extend(reactions::changes(self.json, None, &self.reactions, self.place, &self.id, self.ms));
        }
        let unseen_edit = !self.system && (self.edited.is_some() || gone);
        Reading { unseen_edit, ..out.reading() }
    }

    fn nothing(&self, known: &Seen) -> Reading {
        Out::new(known.clone()).reading()
    }

    fn newer(&self, known: &Seen) -> Reading {
        let mut out = Out::new(self.seen(Some(known)));
        let gone = self.deleted.is_some() && self.words.empty;
        let changed = self.words.hash != known.words && !gone;
        let policy = self.policy != known.policy;
        let restored = known.deleted.is_some() && self.deleted.is_none();
        if self.system {
            if changed {
                out.facts = system::facts(self.json, self.place, &self.id, Some(self.ms));
            }
        } else if changed || restored || policy && !gone {
            let (thread, id) = (self.place.thread, &self.id);
            let edited = self.edited.filter(|edited| known.edited != Some(*edited));
            let dedupe = match edited {
                _ if restored => format!("message.restored|{thread}|{id}|{}", self.ms),
                Some(edited) if !policy => format!("message|{thread}|{id}|{edited}"),
                _ if self.ms == known.version => format!("message|{thread}|{id}|{}|{:016x}", self.ms, self.words.hash),
                _ => format!("message|{thread}|{id}|{}", self.ms),
            };
            let mut detail = self.words.detail.clone();
            if restored {
                detail.insert("undeleted".into(), true.into());
            }
            if policy && self.policy == 0 {
                detail.insert("policy_violation_lifted".into(), true.into());
            }
            if known.sent {
                let when = edited.filter(|_| !restored && !policy).unwrap_or(self.ms);
                out.words(self, Kind::MessageEdited, Some(Timestamp::from_millis(when)), dedupe, detail);
            } else {
                out.words(self, Kind::MessageSent, self.created(), dedupe, detail);
            }
        }
        self.deletion(known.deleted, &mut out);
        if self.system || self.deleted.is_some() && self.reactions.is_empty() {
            // A deleted message shows no reactions; nobody took them back.
            out.seen.reactions.clone_from(&known.reactions);
        } else {
            let changes = reactions::changes(self.json, Some(known), &self.reactions, self.place, &self.id, self.ms);
            for gone in changes.iter().filter(|fact| fact.kind == Kind::ReactionRemoved) {
                out.seen.told.push(removal(gone));
            }
            out.facts.extend(changes);
        }
        if out.facts.is_empty() && self.ms > known.version {
            out.facts.push(self.unseen("new version, nothing visible changed"));
        }
        out.reading()
    }

    /// This version is older than the known one.
    fn late(&self, known: &Seen) -> Reading {
        let mut out = Out::new(known.clone());
        let gone = self.deleted.is_some() && self.words.empty;
        if self.system {
            return out.reading();
        }
        let mut late = self.words.detail.clone();
        late.insert("late".into(), true.into());
        late.insert("superseded_by".into(), known.version.into());
        if !gone && !known.told.contains(&self.look()) {
            let (kind, when) = if known.sent {
                let when = self.edited.unwrap_or(self.words_ms());
                (Kind::MessageEdited, Some(Timestamp::from_millis(when)))
            } else {
                (Kind::MessageSent, self.created())
            };
            // Unedited words of a later version may be others than those that were sent at the same time.
            let ms = if self.policy == 0 && self.edited.is_some() { self.words_ms() } else { self.ms };
            let dedupe = format!("message|{}|{}|{ms}", self.place.thread, self.id);
            out.words(self, kind, when, dedupe, late.clone());
            out.restate = true;
        }
        if let Some(deleted) = self.deleted.filter(|ms| !known.told.contains(&deletion_mark(*ms))) {
            out.seen.told.push(deletion_mark(deleted));
            out.facts.push(self.deleted_fact(deleted, "", late));
            out.restate = true;
        }
        let shown: HashSet<(&str, &str)> = known.reactions.iter().map(|(kind, who, _)| (&**kind, &**who)).collect();
        let mut told: HashSet<u64> = known.told.iter().copied().collect();
        for reaction in &self.reactions {
            let mark = reaction.mark();
            let here = shown.contains(&(&mark.0, &mark.1));
            let added = reaction.at.unwrap_or(Timestamp::from_millis(self.ms));
            let by = Timestamp::from_millis(known.version);
            let mut removed = reactions::fact(Kind::ReactionRemoved, reaction, by, self.place, &self.id);
            if here || known.deleted.is_some() || !told.insert(removal(&removed)) {
                continue;
            }
            out.seen.told.push(removal(&removed));
            // Between the two versions it was taken back; when exactly is not told.
            removed.content.detail = Some(json!({"late": true}));
            out.facts.push(reactions::fact(Kind::ReactionAdded, reaction, added, self.place, &self.id));
            out.facts.push(removed);
        }
        if let Some(deleted) = known.deleted.filter(|_| out.restate) {
            let detail = json!({"restated": true}).as_object().cloned().unwrap_or_default();
            out.facts.push(self.deleted_fact(deleted, &format!("|{}", self.ms), detail));
            out.restate = false;
        }
        out.reading()
    }

    fn deletion(&self, known: Option<i64>, out: &mut Out) {
        if let Some(deleted) = self.deleted.filter(|deleted| known != Some(*deleted)) {
            out.seen.told.push(deletion_mark(deleted));
            let mut detail = self.words.detail.clone();
            detail.remove("attachments");
            detail.remove("attachments_not_kept");
            out.facts.push(self.deleted_fact(deleted, "", detail));
        }
    }

    fn deleted_fact(&self, deleted: i64, more: &str, detail: Map<String, Value>) -> Fact {
        Fact {
            kind: Kind::MessageDeleted,
            source_time: Some(Timestamp::from_millis(deleted)),
            dedupe: format!("message.deleted|{}|{}|{deleted}{more}", self.place.thread, self.id),
            content: Content {
                actor: self.actor.clone(),
                detail: Some(detail.into()),
                message: Some(Message { id: self.id.clone(), ..Message::default() }),
                ..Content::default()
            },
        }
    }

    /// A version that is none of the kinds of the contract.
    fn unseen(&self, what: &str) -> Fact {
        let mut detail = self.words.detail.clone();
        detail.insert("what".into(), what.into());
        detail.insert("version".into(), self.ms.into());
        Fact {
            kind: Kind::PlatformEvent,
            source_time: Some(Timestamp::from_millis(self.ms)),
            dedupe: format!("message.version|{}|{}|{}", self.place.thread, self.id, self.ms),
            content: Content {
                actor: self.actor.clone(),
                detail: Some(detail.into()),
                message: Some(Message { id: self.id.clone(), ..Message::default() }),
                ..Content::default()
            },
        }
    }

    fn created(&self) -> Option<Timestamp> {
        time(self.json, "createdDateTime").or_else(|| moment::from_id(&self.id))
    }

    /// When the words became what they are.
    fn words_ms(&self) -> i64 {
        let sent = || moment::from_id(&self.id).or_else(|| self.created()).map(Timestamp::millis);
        self.edited.or_else(sent).unwrap_or(self.ms)
    }

    /// Digest of words and policy: what a reader would call the same version.
    fn look(&self) -> u64 {
        digest(&json!([self.words.hash, self.policy]))
    }

    fn seen(&self, known: Option<&Seen>) -> Seen {
        let gone = self.deleted.is_some() && self.words.empty;
        Seen {
            version: self.ms,
            etag: self.etag,
            edited: self.edited,
            deleted: self.deleted,
            // What a deletion emptied is remembered as it was.
            words: known.filter(|_| gone).map_or(self.words.hash, |known| known.words),
            policy: self.policy,
            reactions: self.reactions.iter().map(Reaction::mark).collect(),
            sent: known.is_some_and(|known| known.sent),
            told: known.map(|known| known.told.clone()).unwrap_or_default(),
        }
    }
}

/// What is being told.
struct Out {
    facts: Vec<Fact>,
    wants: Vec<Want>,
    seen: Seen,
    restate: bool,
}

impl Out {
    fn new(seen: Seen) -> Out {
        Out { facts: Vec::new(), wants: Vec::new(), seen, restate: false }
    }

    fn words(
        &mut self,
        version: &Version<'_>,
        kind: Kind,
        when: Option<Timestamp>,
        dedupe: String,
        detail: Map<String, Value>,
    ) {
        let fact = self.facts.len();
        let wants = version.words.wants.iter();
        self.wants.extend(wants.map(|(attachment, path)| Want { fact, attachment: *attachment, path: path.clone() }));
        self.seen.sent = true;
        self.seen.told.push(version.look());
        self.facts.push(Fact {
            kind,
            source_time: when,
            dedupe,
            content: Content {
                actor: version.actor.clone(),
                detail: Some(detail.into()),
                message: Some(version.words.message.clone()),
                ..Content::default()
            },
        });
    }

    fn reading(self) -> Reading {
        Reading {
            facts: self.facts,
            seen: self.seen,
            wants: self.wants,
            unseen_edit: false,
            restate: self.restate,
            sender_application: None,
        }
    }
}

fn deletion_mark(ms: i64) -> u64 {
    digest(&json!(["deleted", ms]))
}

fn removal(fact: &Fact) -> u64 {
    let who = fact.content.actor.as_ref().map(|actor| actor.id.as_str());
    digest(&json!(["reaction removed", fact.content.reaction, who]))
}

/// A message without id and etag: kept as it is.
fn nameless(json: &Value, known: Option<&Seen>, place: &Place<'_>) -> Reading {
    let detail = bare(json);
    let fact = Fact {
        kind: Kind::PlatformEvent,
        source_time: time(json, "createdDateTime"),
        dedupe: format!("message.nameless|{}|{}|{:016x}", place.thread, version_ms(json), digest(&detail)),
        content: Content { detail: Some(detail), ..Content::default() },
    };
    let mut out = Out::new(known.cloned().unwrap_or_default());
    out.facts.push(fact);
    out.reading()
}
