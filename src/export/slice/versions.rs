//! The versions that the messages of a slice went through, as archives of communications tell them: an old version leads to
//! the newer one, and a deletion repeats what was deleted.

use std::collections::{HashMap, HashSet};

use super::{Messages, Slice, Target, time_of};
use crate::model::{Kind, Person, Timestamp};

/// What became of a message, in the words of these formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The text was replaced within the slice.
    EditedOriginalMsg,
    /// The text is that of an edit.
    EditedNewMsg,
    /// The message was deleted.
    Deleted,
}

impl Update {
    /// The name as the formats write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Update::EditedOriginalMsg => "EditedOriginalMsg",
            Update::EditedNewMsg => "EditedNewMsg",
            Update::Deleted => "Deleted",
        }
    }
}

/// One version of a message.
#[derive(Clone, Debug)]
pub struct Version<'s> {
    /// The platform's id of the message, raw; old versions have `.` and their place in the log after it.
    pub id: String,
    /// Who sent the message, if told.
    pub by: Option<&'s Person>,
    /// When the message was sent.
    pub at: Timestamp,
    /// What became of it, and when.
    pub update: Option<(Update, Timestamp)>,
    /// For an old version: the id of the newest.
    pub newer: Option<String>,
    /// The text.
    pub text: &'s str,
}

/// Which version of its message each event of a slice brings, and which comes next.
pub struct Versions<'s> {
    slice: &'s Slice,
    messages: Messages<'s>,
    /// By index of an event: the index of the edit that replaces its text within the slice.
    replaced_by: HashMap<usize, usize>,
    /// By index of a change: the event that brought the text until then.
    before: HashMap<usize, usize>,
    /// Messages of earlier slices that were repeated.
    repeated: HashSet<u64>,
}

impl<'s> Versions<'s> {
    /// Looks through a slice.
    pub fn of(slice: &'s Slice) -> Versions<'s> {
        let messages = slice.messages();
        let mut newest: HashMap<(&str, Option<usize>), usize> = HashMap::new();
        let (mut replaced_by, mut before) = (HashMap::new(), HashMap::new());
        for (index, event) in slice.events.iter().enumerate() {
            let Some(message) = &event.content.message else { continue };
            let sent = match event.kind {
                Kind::MessageSent => Some(index),
                Kind::MessageEdited | Kind::MessageDeleted => match messages.changed_by(index) {
                    Some(Target::Here(sent)) => Some(sent),
                    _ => None,
                },
                _ => continue,
            };
            let key = (message.id.as_str(), sent);
            let known = newest.get(&key).copied().or(sent.filter(|sent| *sent != index));
            if let Some(known) = known {
                before.insert(index, known);
            }
            if let (Kind::MessageEdited, Some(known)) = (event.kind, known) {
                replaced_by.insert(known, index);
            }
            if event.kind != Kind::MessageDeleted {
                newest.insert(key, index);
            }
        }
        Versions { slice, messages, replaced_by, before, repeated: HashSet::new() }
    }

    fn text(&self, index: usize) -> &'s str {
        self.slice.events[index].content.message.as_ref().map_or("", |message| &message.text)
    }

    /// What the event at `index` tells: one version, before it the one of an earlier slice that it replaces. Nothing for
    /// events that are no message, edit or deletion. To be asked in order.
    pub fn told_by(&mut self, index: usize) -> Vec<Version<'s>> {
        let slice = self.slice;
        let Some(event) = slice.events.get(index) else { return Vec::new() };
        let Some(sent) = &event.content.message else { return Vec::new() };
        let target = self.messages.changed_by(index);
        let (by, at) = match target {
            Some(Target::Here(first)) => (slice.events[first].content.actor.as_ref(), time_of(&slice.events[first])),
            Some(Target::Earlier(earlier)) => (earlier.actor.as_ref(), earlier.at),
            _ => (event.content.actor.as_ref(), time_of(event)),
        };
        let now = time_of(event);
        let version = Version { id: sent.id.clone(), by, at, update: None, newer: None, text: &sent.text };
        let old = |place: u64, text: &'s str, until: Timestamp| Version {
            id: format!("{}.{place}", sent.id),
            update: Some((Update::EditedOriginalMsg, until)),
            newer: Some(sent.id.clone()),
            text,
            ..version.clone()
        };
        match event.kind {
            Kind::MessageDeleted => {
                let text = match (self.before.get(&index), target) {
                    (Some(before), _) => self.text(*before),
                    (None, Some(Target::Earlier(earlier))) => &earlier.text,
                    _ => "",
                };
                vec![Version { update: Some((Update::Deleted, now)), text, ..version }]
            }
            Kind::MessageSent | Kind::MessageEdited => {
                let mut told = Vec::new();
                if let (Kind::MessageEdited, Some(Target::Earlier(earlier))) = (event.kind, target)
                    && self.repeated.insert(earlier.seq.0)
                {
                    told.push(old(earlier.seq.0, &earlier.text, now));
                }
                told.push(match self.replaced_by.get(&index) {
                    Some(newer) => old(event.seq.0, &sent.text, time_of(&slice.events[*newer])),
                    None if event.kind == Kind::MessageEdited => {
                        Version { update: Some((Update::EditedNewMsg, now)), ..version }
                    }
                    None => version,
                });
                told
            }
            _ => Vec::new(),
        }
    }
}
