//! A slice's events as events of RSMF.
//!
//! An edit, a deletion or a reaction whose message is in the slice becomes part of that message, with the place in the log
//! told beside it. If the message was sent in an earlier slice, it is repeated as `history`, as it stood, and the change
//! is an event of its own below it. What has no counterpart is `unknown` with a text that says what happened.

use std::collections::HashSet;

use super::manifest::{Attachment, Custom, Edit, Event, Reaction};
use crate::export::kept::Sizes;
use crate::export::slice::people::short;
use crate::export::slice::plain::{attached, carried_name, placeholder};
use crate::export::slice::{Earlier, Messages, People, Slice, Target, called, joins, time_of};
use crate::export::text::line::Lines;
use crate::harmless::one_line;
use crate::model::{self, Kind};

/// The id of the conversation within a manifest: there is one only.
pub(super) const CONVERSATION: &str = "C1";
/// Who speaks where nobody is named: the recorder.
const RECORDER: &str = "R0";
/// Longest value of a reaction.
const REACTION: usize = 30;

/// A file of the ZIP beside the manifest.
pub(super) struct File {
    pub(super) name: String,
    pub(super) body: Body,
}

/// What is in it.
pub(super) enum Body {
    /// A text of ours.
    Told(String),
    /// The kept file with this SHA-256.
    Kept(String),
}

/// What becomes of a slice.
pub(super) struct Told<'s> {
    slice: &'s Slice,
    messages: Messages<'s>,
    lines: Lines,
    /// In the order of their ids `P1`, `P2` …
    pub(super) people: People,
    /// Whether somebody has to be the recorder.
    pub(super) recorder: bool,
    pub(super) events: Vec<Event>,
    /// Which of [`Told::events`] tells the slice's event of the same index.
    place: Vec<Option<usize>>,
    repeated: HashSet<u64>,
    there: HashSet<String>,
    pub(super) files: Vec<File>,
    sizes: &'s Sizes,
}

/// Tells a slice; `sizes` are those of its kept files.
pub(super) fn tell<'s>(slice: &'s Slice, sizes: &'s Sizes) -> Told<'s> {
    let mut people = People::default();
    for person in &slice.roster {
        people.add(&person.id, person.name.as_deref());
    }
    let mut told = Told {
        slice,
        messages: slice.messages(),
        lines: Lines::default(),
        people,
        recorder: false,
        events: Vec::with_capacity(slice.events.len()),
        place: vec![None; slice.events.len()],
        repeated: HashSet::new(),
        there: slice.roster.iter().map(|person| person.id.clone()).collect(),
        files: Vec::new(),
        sizes,
    };
    for (index, event) in slice.events.iter().enumerate() {
        told.take(index, event);
    }
    told
}

/// The id of somebody, by the place in the list of people.
pub(super) fn person_id(place: usize) -> String {
    format!("P{}", place + 1)
}

impl<'s> Told<'s> {
    fn take(&mut self, index: usize, event: &'s model::Event) {
        let said = self.lines.said(event);
        let folded = match self.messages.changed_by(index) {
            Some(Target::Here(sent)) => self.place[sent].filter(|at| self.fold(*at, event)),
            _ => None,
        };
        if folded.is_some() {
            return;
        }
        let mut made = self.begin(event);
        let parent = match (self.messages.changed_by(index), self.messages.answered_by(index)) {
            (Some(target), _) => self.lead(target, &mut made, "Message"),
            (None, Some((_, target))) => self.lead(target, &mut made, "Answers"),
            (None, None) => None,
        };
        made.parent = parent;
        match (event.kind, self.messages.changed_by(index)) {
            (Kind::MessageSent, _) => self.message(event, &mut made),
            (Kind::MessageEdited, target) => {
                self.message(event, &mut made);
                made.tell("Change", "edit of a message that was sent before this slice");
                let previous = match target {
                    Some(Target::Earlier(earlier)) => Some(earlier.text.clone()),
                    _ => None,
                };
                let previous = self.last_text(index, event).or(previous);
                let new = made.body.clone().unwrap_or_default();
                let edit = Edit { participant: self.actor(event), timestamp: time_of(event).rfc3339(), previous, new };
                made.edits.push(edit);
            }
            (Kind::MessageDeleted, target) => {
                made.kind = "message";
                made.deleted = true;
                made.tell("Change", "deletion of a message that was sent before this slice");
                let text = match target {
                    Some(Target::Earlier(earlier)) => Some(earlier.text.clone()),
                    _ => None,
                };
                made.body = self.last_text(index, event).or(text);
            }
            (Kind::NoticeSent, _) => {
                made.kind = "disclaimer";
                made.body = Some(match &event.content.message {
                    Some(message) if !message.text.is_empty() => message.text.clone(),
                    _ => "The notice that this conversation is recorded was sent.".into(),
                });
            }
            (Kind::ParticipantJoined | Kind::ParticipantChanged, _)
                if joins(event).is_some_and(|id| self.there.insert(id.to_owned())) =>
            {
                made.kind = "join";
                made.body = Some(plain(&said));
            }
            (Kind::ParticipantLeft, _) => {
                made.kind = "leave";
                made.body = Some(plain(&said));
                if let Some(participant) = &event.content.participant {
                    self.there.remove(&participant.id);
                }
            }
            (Kind::CaptureGap, _) => gap(event, &mut made),
            _ => made.body = Some(plain(&said)),
        }
        if let (Kind::PlatformEvent, Some(detail)) = (event.kind, &event.content.detail) {
            made.tell("Detail", detail.to_string());
        }
        self.place[index] = Some(self.events.len());
        self.events.push(made);
    }

    /// What all events have: who, when, where in the log.
    fn begin(&mut self, event: &'s model::Event) -> Event {
        let participant = match (&event.content.actor, &event.content.participant, event.kind) {
            (_, Some(who), Kind::ParticipantJoined | Kind::ParticipantLeft | Kind::ParticipantChanged) => {
                person_id(self.people.add(&who.id, who.name.as_deref()))
            }
            (None, Some(who), _) => person_id(self.people.add(&who.id, who.name.as_deref())),
            _ => self.actor(event),
        };
        if let Some(who) = &event.content.participant {
            self.people.add(&who.id, who.name.as_deref());
        }
        let mut made = Event {
            id: format!("e{}", event.seq),
            kind: "unknown",
            conversation: CONVERSATION,
            participant: Some(participant),
            timestamp: time_of(event).rfc3339(),
            ..Event::default()
        };
        made.tell("Event", event.kind.as_str());
        made.tell("Log index", event.seq.to_string());
        made.tell("Leaf hash (SHA-256)", event.leaf_hash.as_str());
        made.tell("Recorded at", event.recorded_at.rfc3339());
        made.tell("Connector", one_line(&event.connector));
        made
    }

    fn actor(&mut self, event: &model::Event) -> String {
        match &event.content.actor {
            Some(actor) => person_id(self.people.add(&actor.id, actor.name.as_deref())),
            None => {
                self.recorder = true;
                RECORDER.into()
            }
        }
    }

    fn message(&mut self, event: &model::Event, made: &mut Event) {
        made.kind = "message";
        let Some(message) = &event.content.message else { return };
        made.body = Some(message.text.clone());
        made.tell("Source message id", one_line(&message.id));
        if let Some(importance) = &message.importance {
            made.importance = Some(if importance == "normal" || importance == "low" { "normal" } else { "high" });
            if made.importance == Some("high") {
                made.tell("Importance", one_line(importance));
            }
        }
        let mentions: Vec<String> =
            message.mentions.iter().map(|who| format!("{} <{}>", called(who), who.id)).collect();
        made.tell("Mentions", one_line(&mentions.join(", ")));
        self.attach(event, made);
    }

    fn attach(&mut self, event: &model::Event, made: &mut Event) {
        for (file, n) in event.content.files().iter().zip(1..) {
            let attachment = &file.attachment;
            let display = short(&one_line(attachment.name.as_deref().unwrap_or("file without name")), 200);
            let kept = attachment.sha256.as_ref().and_then(|sha256| Some((sha256, *self.sizes.get(sha256)?)));
            let (name, display, size, body) = match kept {
                Some((sha256, size)) => (carried_name(event, n, attachment), display, size, Body::Kept(sha256.clone())),
                None => {
                    let told = placeholder(file);
                    let name = format!("attachment-{}-{n}.txt", event.seq);
                    (name, format!("{display} (not in the archive)"), told.len() as u64, Body::Told(told))
                }
            };
            made.attachments.push(Attachment { id: name.clone(), display, size });
            made.tell(&format!("Attachment {n}"), one_line(&attached(file)));
            self.files.push(File { name, body });
        }
    }

    /// Repeats a message of an earlier slice once; returns the id that leads to it.
    fn lead(&mut self, target: Target<'_>, made: &mut Event, what: &str) -> Option<String> {
        match target {
            Target::Here(sent) => self.place[sent].map(|at| self.events[at].id.clone()),
            Target::Earlier(earlier) => {
                if self.repeated.insert(earlier.seq.0) {
                    let history = self.history(earlier);
                    self.events.push(history);
                }
                Some(format!("h{}", earlier.seq))
            }
            Target::Elsewhere => {
                made.tell(what, "is not in this export");
                None
            }
        }
    }

    fn history(&mut self, earlier: &Earlier) -> Event {
        let participant = match &earlier.actor {
            Some(actor) => person_id(self.people.add(&actor.id, actor.name.as_deref())),
            None => {
                self.recorder = true;
                RECORDER.into()
            }
        };
        let mut made = Event {
            id: format!("h{}", earlier.seq),
            kind: "history",
            conversation: CONVERSATION,
            participant: Some(participant),
            timestamp: earlier.at.rfc3339(),
            body: Some(earlier.text.clone()),
            deleted: earlier.deleted,
            ..Event::default()
        };
        made.tell("Context", "sent before this slice, repeated as it stood when the slice began");
        made.tell("Log index", earlier.seq.to_string());
        if earlier.edits > 0 {
            made.tell("Edits before this slice", earlier.edits.to_string());
        }
        made
    }

    /// The text that an earlier change in this slice left behind, for a message that was sent before the slice.
    fn last_text(&self, index: usize, event: &model::Event) -> Option<String> {
        let id = &event.content.message.as_ref()?.id;
        let before = self.slice.events[..index].iter().rev();
        let mut edits = before.filter(|other| other.kind == Kind::MessageEdited);
        let found = edits.find_map(|other| other.content.message.as_ref().filter(|message| message.id == *id))?;
        Some(found.text.clone())
    }

    /// Makes a change part of the message it is about; false if it needs an event of its own.
    fn fold(&mut self, at: usize, event: &model::Event) -> bool {
        let who = event.content.actor.as_ref();
        let by = who.map_or_else(|| "somebody".to_owned(), |who| one_line(&format!("{} <{}>", called(who), who.id)));
        let note =
            format!("{} by {by} (log index {}, leaf hash {})", time_of(event).rfc3339(), event.seq, event.leaf_hash);
        let reaction = event.content.reaction.as_deref().unwrap_or("reaction");
        match event.kind {
            Kind::MessageEdited => {
                let Some(message) = &event.content.message else { return false };
                let participant = self.actor(event);
                let mut files = Event::default();
                self.attach(event, &mut files);
                let made = &mut self.events[at];
                let new = message.text.clone();
                let previous = made.body.replace(new.clone());
                made.edits.push(Edit { participant, timestamp: time_of(event).rfc3339(), previous, new });
                made.deleted = false;
                made.attachments.append(&mut files.attachments);
                made.custom.append(&mut files.custom);
                made.tell("Edited", note);
            }
            Kind::MessageDeleted => {
                self.events[at].deleted = true;
                self.events[at].tell("Deleted", note);
            }
            Kind::ReactionAdded => {
                let participant = who.map(|_| self.actor(event));
                react(&mut self.events[at].reactions, reaction, participant);
                self.events[at].tell("Reaction added", format!("{} {note}", one_line(reaction)));
            }
            Kind::ReactionRemoved => {
                let participant = who.map(|_| self.actor(event));
                unreact(&mut self.events[at].reactions, reaction, participant);
                self.events[at].tell("Reaction removed", format!("{} {note}", one_line(reaction)));
            }
            _ => return false,
        }
        true
    }
}

/// Without the dash that marks what is no message in a text transcript.
fn plain(said: &str) -> String {
    said.strip_prefix("- ").unwrap_or(said).to_owned()
}

fn gap(event: &model::Event, made: &mut Event) {
    let Some(gap) = &event.content.gap else {
        made.body = Some("Gap in the record of unknown length: something may be missing.".into());
        return;
    };
    let cause = one_line(&gap.cause);
    made.body = Some(format!("Gap in the record from {} to {}: {cause}. Something may be missing.", gap.from, gap.to));
    let facts = [("Gap start", gap.from.rfc3339()), ("Gap end", gap.to.rfc3339()), ("Gap cause", cause)];
    made.custom.extend(
        facts
            .map(|(name, value)| Custom { name: name.into(), value })
            .into_iter()
            .filter(|fact| !fact.value.is_empty()),
    );
}

fn value_of(reaction: &str) -> String {
    let value = short(one_line(reaction).trim(), REACTION);
    if value.is_empty() { "reaction".into() } else { value }
}

fn react(reactions: &mut Vec<Reaction>, reaction: &str, participant: Option<String>) {
    let value = value_of(reaction);
    let at = reactions.iter().position(|known| known.value == value).unwrap_or_else(|| {
        reactions.push(Reaction { value, count: 0, participants: Vec::new() });
        reactions.len() - 1
    });
    let known = &mut reactions[at];
    match participant {
        Some(participant) if known.participants.contains(&participant) => {}
        participant => {
            known.count += 1;
            known.participants.extend(participant);
        }
    }
}

fn unreact(reactions: &mut Vec<Reaction>, reaction: &str, participant: Option<String>) {
    let value = value_of(reaction);
    let Some(at) = reactions.iter().position(|known| known.value == value) else { return };
    let known = &mut reactions[at];
    match participant {
        Some(who) => {
            let Some(place) = known.participants.iter().position(|known| *known == who) else { return };
            known.participants.remove(place);
            known.count = known.count.saturating_sub(1);
        }
        None => known.count = known.count.saturating_sub(1).max(known.participants.len()),
    }
    if known.count == 0 {
        reactions.remove(at);
    }
}
