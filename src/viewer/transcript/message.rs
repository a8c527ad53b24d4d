//! A message with everything that became of it: versions, deletion, reactions, what it answers.

use std::collections::BTreeMap;

use super::said::Said;
use super::who::Who;
use super::{Context, Setting, line};
use crate::harmless::one_line;
use crate::model::{Content, Event, FileOf, Kind, Message, Seq};
use crate::viewer::links;
use crate::viewer::time::Moment;

/// A message as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Place in the log.
    pub seq: u64,
    /// Permanent place in the transcript.
    pub href: String,
    /// Page with everything about it.
    pub details: String,
    /// The platform's identifier, for scripts that look for what changes it.
    pub id: String,
    /// When it was sent.
    pub moment: Moment,
    /// Its newest words, or the last before it was deleted.
    pub said: Said,
    /// Sanitised markup, where a message has HTML and no text.
    pub markup: Option<String>,
    /// Every version, oldest first; empty if there is one only.
    pub versions: Vec<Version>,
    /// That it was deleted at its source, and by whom.
    pub deleted: Vec<Note>,
    /// That it did not reach somebody.
    pub undelivered: Vec<Note>,
    /// Reactions that stand, and who gave them.
    pub reactions: Vec<Reaction>,
    /// Every event about reactions, in order.
    pub reacted: Vec<Note>,
    /// What it answers.
    pub reply: Option<Reply>,
    /// People named in it.
    pub mentions: Vec<Who>,
    /// Files.
    pub attachments: Vec<Attached>,
    /// `urgent` and the like; not told if normal.
    pub importance: Option<String>,
    /// On whose behalf it was sent.
    pub behalf: Option<String>,
    /// Whether the address names it.
    pub asked: bool,
    /// Whether a hit of the search is in it.
    pub hit: bool,
}

/// One version of an edited message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Place in the log.
    pub seq: u64,
    /// Permanent place, if it is a page's own event; the anchor is here.
    pub anchor: bool,
    /// From when it stood.
    pub moment: Moment,
    /// Whose it is.
    pub who: Who,
    /// Its words.
    pub said: Said,
    /// Whether it is the one shown above.
    pub newest: bool,
}

/// Something that happened to a message, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Place in the log.
    pub seq: u64,
    /// Whether the anchor of that event is here: it is not on another page.
    pub anchor: bool,
    /// When.
    pub moment: Moment,
    /// Who did it.
    pub who: Who,
    /// What, or why; harmless.
    pub told: String,
}

/// A reaction that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// A sign, or the platform's word.
    pub sign: String,
    /// How many gave it.
    pub count: usize,
    /// Their names.
    pub names: String,
}

/// What a message answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Where it stands; empty if it is not in the record.
    pub href: String,
    /// Who said it.
    pub who: Option<Who>,
    /// How it begins.
    pub glimpse: String,
}

/// A file of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name, in quotes if it could mislead.
    pub name: String,
    /// Type and size.
    pub facts: String,
    /// Where its bytes are; empty if they are not in the archive.
    pub href: String,
    /// Whether it is a picture that a page may show.
    pub picture: bool,
    /// Why the bytes are not in the archive, if that was told.
    pub reason: String,
    /// SHA-256 of the stored bytes; empty if they are not in the archive.
    pub sha256: String,
}

/// The platform's word for a reaction, or its sign.
pub fn reaction(content: &Content) -> &str {
    match content.reaction.as_deref().unwrap_or("something") {
        "like" => "👍 like",
        "heart" => "❤️ heart",
        "laugh" => "😆 laugh",
        "surprised" => "😮 surprised",
        "sad" => "🙁 sad",
        "angry" => "😠 angry",
        other => other,
    }
}

/// The message of `event` with `changes` (edits, deletions, reactions, of this message, by seq).
pub fn shown(event: &Event, changes: &[&Event], context: &Context, setting: &Setting<'_>) -> Shown {
    let empty = Message::default();
    let message = event.content.message.as_ref().unwrap_or(&empty);
    let note = |change: &Event, told: String| Note {
        seq: change.seq.0,
        anchor: context.is_here(change.seq),
        moment: line::moment(change, setting.zone),
        who: Who::of(change.content.actor.as_ref()),
        told,
    };
    let edits: Vec<&Event> = changes.iter().copied().filter(|c| c.kind == Kind::MessageEdited).collect();
    let mut versions = Vec::new();
    if !edits.is_empty() {
        for (at, version) in std::iter::once(&event).chain(&edits).enumerate() {
            let newest = at == edits.len();
            let text = version.content.message.as_ref().map_or("", |m| m.text.as_str());
            versions.push(Version {
                seq: version.seq.0,
                anchor: at > 0 && context.is_here(version.seq),
                moment: line::moment(version, setting.zone),
                who: Who::of(version.content.actor.as_ref()),
                said: if newest { Said::default() } else { setting.said(text) },
                newest,
            });
        }
    }
    let newest_event = edits.last().copied().filter(|edit| edit.content.message.is_some()).unwrap_or(event);
    let newest = newest_event.content.message.as_ref().unwrap_or(message);
    let said = setting.said(&newest.text);
    let markup = said.is_empty().then(|| newest.html.as_deref().and_then(super::formatted::formatted)).flatten();
    let told = |change: &Event| change.content.reason.as_ref().map(line::why).unwrap_or_default();
    let of = |kind: Kind| changes.iter().copied().filter(move |change| change.kind == kind);
    let hit = said.has_hit() || versions.iter().any(|version| version.said.has_hit());
    let importance = newest.importance.as_deref().filter(|word| *word != "normal").map(one_line);
    let behalf = event.content.detail.as_ref().and_then(|detail| detail.get("on_behalf_of")?.as_str());
    Shown {
        seq: event.seq.0,
        href: setting.place(event.seq.0),
        details: setting.details(event.seq.0),
        id: message.id.clone(),
        moment: line::moment(event, setting.zone),
        markup,
        versions,
        deleted: of(Kind::MessageDeleted).map(|change| note(change, told(change))).collect(),
        undelivered: of(Kind::MessageUndelivered).map(|change| note(change, undelivered(change))).collect(),
        reactions: standing(changes),
        reacted: reacted(changes).map(|change| note(change, reacted_how(change))).collect(),
        reply: message.in_reply_to.as_deref().map(|id| reply(id, context, setting)),
        mentions: newest.mentions.iter().map(Who::new).collect(),
        attachments: attached(newest_event, setting.pictures),
        importance,
        behalf: behalf.map(one_line),
        asked: setting.at == Some(event.seq),
        hit,
        said,
    }
}

fn reacted<'e>(changes: &'e [&'e Event]) -> impl Iterator<Item = &'e Event> {
    let is = |kind| matches!(kind, Kind::ReactionAdded | Kind::ReactionRemoved);
    changes.iter().copied().filter(move |change| is(change.kind))
}

fn reacted_how(change: &Event) -> String {
    let verb = if change.kind == Kind::ReactionAdded { "reacted with" } else { "took back" };
    format!("{verb} {}", one_line(reaction(&change.content)))
}

/// Reactions that were given and not taken back, by sign.
fn standing(changes: &[&Event]) -> Vec<Reaction> {
    // Sign → who gave it (address → name), in order of the first.
    let mut signs: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for change in reacted(changes) {
        let sign = one_line(reaction(&change.content));
        let who = change.content.actor.clone().unwrap_or_default();
        let at = match signs.iter().position(|(known, _)| *known == sign) {
            Some(at) => at,
            None => {
                signs.push((sign, BTreeMap::new()));
                signs.len() - 1
            }
        };
        if change.kind == Kind::ReactionAdded {
            signs[at].1.insert(who.id.clone(), Who::new(&who).name);
        } else {
            signs[at].1.remove(&who.id);
        }
    }
    let given = signs.into_iter().filter(|(_, who)| !who.is_empty());
    given
        .map(|(sign, who)| Reaction { sign, count: who.len(), names: who.into_values().collect::<Vec<_>>().join(", ") })
        .collect()
}

fn undelivered(change: &Event) -> String {
    let missed = change.content.detail.as_ref().and_then(|detail| detail.get("not_delivered_to")?.as_array());
    let to: Vec<&str> = missed.into_iter().flatten().filter_map(|id| id.as_str()).collect();
    let why = change.content.reason.as_ref().map(line::why).unwrap_or_default();
    let to = if to.is_empty() { String::new() } else { format!("to {}", to.join(", ")) };
    one_line(&[to, why].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
}

fn reply(id: &str, context: &Context, setting: &Setting<'_>) -> Reply {
    match context.targets.get(id) {
        Some(target) => Reply {
            href: setting.place(target.seq),
            who: Some(Who::of(target.who.as_ref())),
            glimpse: super::said::glimpse(&target.text, 160),
        },
        None => Reply { href: String::new(), who: None, glimpse: "a message that is not in this record".into() },
    }
}

/// The files of an event, as pages show them.
pub fn attached(event: &Event, is_picture: &dyn Fn(&str) -> bool) -> Vec<Attached> {
    event.content.files().iter().map(|file| one(file, event.seq, is_picture)).collect()
}

fn one(file: &FileOf<'_>, seq: Seq, is_picture: &dyn Fn(&str) -> bool) -> Attached {
    let told = &file.attachment;
    let mut facts = Vec::new();
    facts.extend(told.media_type.as_deref().map(one_line));
    facts.extend(told.size.map(bytes));
    let sha256 = told.sha256.as_deref().map(one_line).unwrap_or_default();
    let kept = file.number.filter(|_| file.is_kept());
    Attached {
        name: told.name.as_deref().map_or_else(|| "A file without a name".to_owned(), crate::harmless::name),
        facts: facts.join(", "),
        href: kept.map(|number| links::attachment(seq, number)).unwrap_or_default(),
        picture: kept.is_some() && is_picture(&sha256),
        reason: file.reason.map(one_line).unwrap_or_default(),
        sha256,
    }
}

/// `812 bytes`, `12 kB`, `3.4 MB`.
pub fn bytes(size: u64) -> String {
    match size {
        0..1_000 => format!("{size}\u{a0}bytes"),
        1_000..1_000_000 => format!("{}\u{a0}kB", size.div_ceil(1_000)),
        _ => format!("{}.{}\u{a0}MB", size / 1_000_000, size / 100_000 % 10),
    }
}
