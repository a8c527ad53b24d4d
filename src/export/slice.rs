//! Conversations cut into days: the unit in which review platforms and archives take chats.
//!
//! A slice is a calendar day of one conversation in a stated zone. A day with more than [`Limits::events`] events (or
//! [`Limits::bytes`] of text) comes in parts. Every event of the selection is in exactly one slice. Messages that were sent
//! before the slice but are answered, edited, deleted or reacted to in it are in [`Slice::earlier`], if the selection has
//! them: an export never tells more than it was asked for.

mod day;
mod memory;
pub mod people;
pub mod plain;
pub mod versions;
mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono_tz::Tz;

use super::{ExportError, Source};
use crate::archive::reader::{Attendance, Conversation};
use crate::capture::coverage::Statement;
use crate::model::{Content, ConversationId, Event, Gap, Kind, Message, Person, Seq, Timestamp};

pub use day::Day;
pub use memory::Earlier;

use memory::Memory;
use walk::Walk;

/// The time of display: the platform's, or ours where it told none.
pub fn time_of(event: &Event) -> Timestamp {
    event.source_time.unwrap_or(event.recorded_at)
}

/// How large a part may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events; at least 1.
    pub events: usize,
    /// Bytes of text, by estimate. One event alone may exceed it.
    pub bytes: usize,
    /// Bytes of kept files, for formats that carry them; `None` = they are not counted. One event alone may exceed it.
    pub files: Option<u64>,
}

impl Limits {
    /// Of a format that carries kept files, which are in memory while a slice is written.
    pub fn with_files(self) -> Limits {
        Limits { files: Some(32 << 20), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { events: 10_000, bytes: 8 << 20, files: None }
    }
}

/// The conversation of a slice, or what stands for the events of none.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its row; `None` = events of no conversation.
    pub conversation: Option<Conversation>,
    /// Who was there, and when.
    pub stays: Vec<Attendance>,
    /// How complete the record is.
    pub coverage: Option<Statement>,
    /// Where something may be missing.
    pub gaps: Vec<(Seq, Gap)>,
}

impl Room {
    /// Reads what is known of a conversation.
    ///
    /// # Errors
    /// [`ExportError::UnknownConversation`], or the archive cannot be read.
    pub fn of(source: &Source<'_>, id: &ConversationId) -> Result<Room, ExportError> {
        let reader = source.reader();
        let found = reader.conversation(id)?;
        let conversation = found.ok_or_else(|| ExportError::UnknownConversation { id: id.clone() })?;
        let (stays, coverage, gaps) = (reader.attendance_of(id)?, reader.coverage_of(id)?, reader.gaps_of(id)?);
        Ok(Room { conversation: Some(conversation), stays, coverage, gaps })
    }

    /// The place of events that belong to no conversation.
    pub fn none() -> Room {
        Room { conversation: None, stays: Vec::new(), coverage: None, gaps: Vec::new() }
    }

    /// The conversation's id, or `no-conversation`.
    pub fn key(&self) -> &str {
        self.conversation.as_ref().map_or("no-conversation", |conversation| conversation.id.as_str())
    }

    /// The subject; without one the people; raw text of strangers.
    pub fn title(&self) -> String {
        let Some(conversation) = &self.conversation else { return "Events of no conversation".into() };
        if let Some(subject) = conversation.subject.as_deref().filter(|subject| !subject.trim().is_empty()) {
            return subject.to_owned();
        }
        let people = &conversation.participants;
        let names: Vec<&str> = people.iter().take(3).map(called).collect();
        match people.len() {
            0 => "Conversation without subject".into(),
            n if n > 3 => format!("{} and {} more", names.join(", "), n - 3),
            _ => names.join(", "),
        }
    }
}

/// The name of somebody, or the address.
pub fn called(person: &Person) -> &str {
    person.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&person.id)
}

/// Where the message of an event is.
#[derive(Clone, Copy, Debug)]
pub enum Target<'s> {
    /// In this slice: the index of its event.
    Here(usize),
    /// In an earlier slice.
    Earlier(&'s Earlier),
    /// Not in the selection.
    Elsewhere,
}

/// A day of a conversation, or a part of it.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Of what.
    pub room: Arc<Room>,
    /// The zone that days are counted in.
    pub zone: Tz,
    /// Which day.
    pub day: Day,
    /// From 1.
    pub part: u32,
    /// Number of parts of this day.
    pub parts: u32,
    /// Who was there when the first event of the slice happened, as far as told, by time of joining.
    pub roster: Vec<Person>,
    /// The events, in order of display; never empty.
    pub events: Vec<Event>,
    /// By message id: messages that events of the slice refer to and that were sent before it.
    pub earlier: BTreeMap<String, Earlier>,
    /// Everybody who acts on this day, in any part, by first appearance.
    pub acting: Arc<Vec<Person>>,
}

impl Slice {
    /// Time of the first event shown.
    pub fn first_at(&self) -> Timestamp {
        self.events.iter().map(time_of).min().unwrap_or(self.day.from)
    }

    /// Time of the last event shown.
    pub fn last_at(&self) -> Timestamp {
        self.events.iter().map(time_of).max().unwrap_or(self.day.from)
    }

    /// `2026-03-05`, and `-part-02-of-11` where the day has parts: fit for names of files.
    pub fn label(&self) -> String {
        match self.parts {
            0 | 1 => self.day.date.to_string(),
            parts => format!("{}-part-{:02}-of-{parts:02}", self.day.date, self.part),
        }
    }

    /// Finds messages by id.
    pub fn messages(&self) -> Messages<'_> {
        let mut here: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, event) in self.events.iter().enumerate() {
            if let (Kind::MessageSent, Some(message)) = (event.kind, &event.content.message) {
                here.entry(&message.id).or_default().push(index);
            }
        }
        Messages { slice: self, here }
    }
}

/// The messages that a slice holds or refers to.
pub struct Messages<'s> {
    slice: &'s Slice,
    here: HashMap<&'s str, Vec<usize>>,
}

impl<'s> Messages<'s> {
    /// The newest message with this id that was sent before the event at `index`, or with it.
    pub fn find(&self, id: &str, index: usize) -> Target<'s> {
        let here = self.here.get(id).and_then(|sent| sent.iter().rev().find(|sent| **sent <= index).or(sent.first()));
        if let Some(sent) = here {
            return Target::Here(*sent);
        }
        self.slice.earlier.get(id).map_or(Target::Elsewhere, Target::Earlier)
    }

    /// The message that the event at `index` changes or reacts to; `None` for other events.
    pub fn changed_by(&self, index: usize) -> Option<Target<'s>> {
        let event = self.slice.events.get(index)?;
        let message = event.content.message.as_ref().filter(|_| changes(event.kind))?;
        Some(self.find(&message.id, index))
    }

    /// The message that the event at `index` answers.
    pub fn answered_by(&self, index: usize) -> Option<(&'s str, Target<'s>)> {
        let id = self.slice.events.get(index)?.content.message.as_ref()?.in_reply_to.as_deref()?;
        Some((id, self.find(id, index)))
    }
}

/// Whether an event of this kind is about a message that was sent before.
pub fn changes(kind: Kind) -> bool {
    use Kind::*;
    matches!(kind, MessageEdited | MessageDeleted | MessageUndelivered | ReactionAdded | ReactionRemoved)
}

/// The slices of one conversation, or of the events of none, in order of time.
pub struct Slices<'s> {
    source: &'s Source<'s>,
    id: Option<ConversationId>,
    room: Arc<Room>,
    zone: Tz,
    limits: Limits,
    walk: Walk<'s>,
    /// The event that begins the next slice.
    ahead: Option<Event>,
    begun: bool,
    current: Option<Current>,
    memory: Memory,
    doors: Doors,
    /// Events of all slices so far.
    walked: u64,
}

/// The day at hand.
struct Current {
    day: Day,
    part: u32,
    parts: u32,
    acting: Arc<Vec<Person>>,
}

impl<'s> Slices<'s> {
    /// The slices of a conversation of the selection; `None` = of the events of no conversation.
    ///
    /// # Errors
    /// [`ExportError::UnknownConversation`], or the archive cannot be read.
    pub fn new(
        source: &'s Source<'s>,
        id: Option<ConversationId>,
        zone: Tz,
        limits: Limits,
    ) -> Result<Slices<'s>, ExportError> {
        let room = Arc::new(match &id {
            Some(id) => Room::of(source, id)?,
            None => Room::none(),
        });
        let walk = Walk::new(source, id.clone());
        let (ahead, begun, current, memory, doors) = (None, false, None, Memory::new(), Doors::default());
        Ok(Slices { source, id, room, zone, limits, walk, ahead, begun, current, memory, doors, walked: 0 })
    }

    /// The next slice; `None` after the last.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn next_slice(&mut self) -> Result<Option<Slice>, ExportError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.ahead = self.walk.next()?;
        }
        let Some(first) = self.ahead.take() else { return Ok(None) };
        let day = match &self.current {
            Some(current) if time_of(&first) < current.day.to => current.day,
            _ => Day::of(time_of(&first), self.zone),
        };
        let mut part = Part::new(self.source, self.limits);
        part.fits(&first)?;
        let mut events = vec![first];
        loop {
            let Some(event) = self.walk.next()? else { break };
            if time_of(&event) >= day.to || !part.fits(&event)? {
                self.ahead = Some(event);
                break;
            }
            events.push(event);
        }
        match &mut self.current {
            Some(current) if current.day == day => current.part += 1,
            _ => self.current = Some(self.survey(day, &events)?),
        }
        let Some(current) = &self.current else { return Ok(None) };
        let mut slice = Slice {
            room: self.room.clone(),
            zone: self.zone,
            day,
            part: current.part,
            parts: current.parts,
            roster: events.first().map(|first| self.doors.roster(&self.room.stays, first)).unwrap_or_default(),
            events,
            earlier: BTreeMap::new(),
            acting: current.acting.clone(),
        };
        slice.earlier = self.earlier(&slice)?;
        for event in &slice.events {
            self.memory.take(event);
            self.doors.pass(event);
        }
        self.walked += slice.events.len() as u64;
        Ok(Some(slice))
    }

    /// Looks ahead to the end of a day of which the first part was read: how many parts, and who acts.
    fn survey(&self, day: Day, first: &[Event]) -> Result<Current, ExportError> {
        let mut people = People::default();
        first.iter().for_each(|event| people.take(event));
        let mut parts = 1;
        let mut ahead = self.ahead.clone().filter(|event| time_of(event) < day.to);
        if ahead.is_some() {
            let mut walk = self.walk.clone();
            let mut part = Part::new(self.source, self.limits);
            parts += 1;
            while let Some(event) = ahead.take() {
                people.take(&event);
                if !part.fits(&event)? {
                    part = Part::new(self.source, self.limits);
                    part.fits(&event)?;
                    parts += 1;
                }
                ahead = walk.next()?.filter(|event| time_of(event) < day.to);
            }
        }
        Ok(Current { day, part: 1, parts, acting: Arc::new(people.list) })
    }

    /// The messages of earlier slices that this one refers to.
    fn earlier(&self, slice: &Slice) -> Result<BTreeMap<String, Earlier>, ExportError> {
        let mut sent: HashSet<&str> = HashSet::new();
        let mut wanted: HashSet<&str> = HashSet::new();
        for event in &slice.events {
            let Some(message) = &event.content.message else { continue };
            match event.kind {
                Kind::MessageSent => sent.insert(&message.id),
                kind if changes(kind) => wanted.insert(&message.id),
                _ => false,
            };
            wanted.extend(message.in_reply_to.as_deref());
        }
        wanted.retain(|id| !sent.contains(id));
        let mut found = BTreeMap::new();
        let mut missing = HashSet::new();
        for id in wanted {
            match self.memory.get(id) {
                Some(earlier) => {
                    found.insert(id.to_owned(), earlier.clone());
                }
                None => {
                    missing.insert(id.to_owned());
                }
            }
        }
        if !missing.is_empty() && self.memory.has_forgotten() {
            let mut memory = Memory::of(missing.clone());
            let mut walk = Walk::new(self.source, self.id.clone());
            for _ in 0..self.walked {
                let Some(event) = walk.next()? else { break };
                memory.take(&event);
            }
            found.extend(missing.into_iter().filter_map(|id| memory.get(&id).cloned().map(|earlier| (id, earlier))));
        }
        Ok(found)
    }
}

impl Iterator for Slices<'_> {
    type Item = Result<Slice, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_slice().transpose()
    }
}

/// Decides which event begins the next part; the same for reading and for looking ahead.
struct Part<'s> {
    source: &'s Source<'s>,
    limits: Limits,
    events: usize,
    bytes: usize,
    files: u64,
}

impl<'s> Part<'s> {
    fn new(source: &'s Source<'s>, limits: Limits) -> Part<'s> {
        Part { source, limits, events: 0, bytes: 0, files: 0 }
    }

    /// Takes the event if there is room for it; there always is for the first.
    fn fits(&mut self, event: &Event) -> Result<bool, ExportError> {
        let (bytes, limits) = (weight(&event.content), self.limits);
        let files = match (limits.files, &event.content.message) {
            (Some(_), Some(message)) => self.source.shelf().weight(&message.attachments)?,
            _ => 0,
        };
        let full = self.events >= limits.events
            || self.bytes + bytes > limits.bytes
            || limits.files.is_some_and(|most| self.files.saturating_add(files) > most);
        if self.events > 0 && full {
            return Ok(false);
        }
        self.events += 1;
        self.bytes += bytes;
        self.files = self.files.saturating_add(files);
        Ok(true)
    }
}

fn weight(content: &Content) -> usize {
    let message = |message: &Message| message.text.len() + message.html.as_ref().map_or(0, String::len);
    128 + content.message.as_ref().map_or(0, message) + content.detail.as_ref().map_or(0, json_weight)
}

fn json_weight(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(list) => list.iter().map(json_weight).sum::<usize>() + 2,
        serde_json::Value::Object(map) => map.iter().map(|(name, value)| name.len() + json_weight(value) + 4).sum(),
        _ => 8,
    }
}

/// Whether somebody's presence begins with this event.
pub fn joins(event: &Event) -> Option<&str> {
    let participant = event.content.participant.as_ref()?;
    let joins = match event.kind {
        Kind::ParticipantJoined => participant.in_lobby != Some(true),
        Kind::ParticipantChanged => participant.in_lobby == Some(false),
        _ => false,
    };
    joins.then_some(participant.id.as_str())
}

/// Comings and goings of the second that a slice ended with: another slice may begin within the same second.
#[derive(Debug, Default)]
struct Doors {
    second: i64,
    joined: HashSet<(String, Timestamp)>,
    left: HashSet<(String, Timestamp)>,
}

fn second_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

impl Doors {
    fn pass(&mut self, event: &Event) {
        let at = time_of(event);
        if second_of(at) != self.second {
            *self = Doors { second: second_of(at), ..Doors::default() };
        }
        if let Some(id) = joins(event) {
            self.joined.insert((id.to_owned(), at));
        } else if let (Kind::ParticipantLeft, Some(participant)) = (event.kind, &event.content.participant) {
            self.left.insert((participant.id.clone(), at));
        }
    }

    /// Who was there before this event, as far as told.
    fn roster(&self, stays: &[Attendance], first: &Event) -> Vec<Person> {
        let first = second_of(time_of(first));
        let passed = |set: &HashSet<(String, Timestamp)>, id: &str, at: Timestamp| {
            second_of(at) < first || (second_of(at) == first && set.contains(&(id.to_owned(), at)))
        };
        let mut people = People::default();
        for stay in stays {
            let id = stay.person.id.as_str();
            let over = stay.left_at.is_some_and(|at| passed(&self.left, id, at));
            if passed(&self.joined, id, stay.joined_at) && !over {
                people.add(id, stay.person.name.as_deref());
            }
        }
        people.list
    }
}

/// People in the order in which events name them, each once; a name told later fills in for none.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// The people.
    pub list: Vec<Person>,
    at: HashMap<String, usize>,
}

impl People {
    /// Adds somebody; returns the place in the list.
    pub fn add(&mut self, id: &str, name: Option<&str>) -> usize {
        let at = *self.at.entry(id.to_owned()).or_insert_with(|| {
            self.list.push(Person { id: id.to_owned(), name: None });
            self.list.len() - 1
        });
        let known = &mut self.list[at].name;
        if known.is_none() {
            *known = name.map(str::to_owned);
        }
        at
    }

    /// Adds the actor of an event and the participant it is about.
    pub fn take(&mut self, event: &Event) {
        if let Some(actor) = &event.content.actor {
            self.add(&actor.id, actor.name.as_deref());
        }
        if let Some(participant) = &event.content.participant {
            self.add(&participant.id, participant.name.as_deref());
        }
    }

    /// Place in the list.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.at.get(id).copied()
    }
}

/// The zone that a selection counts its days in.
pub fn zone_of(source: &Source<'_>) -> Tz {
    source.zone()
}

/// Every slice of a selection: conversation by conversation in the selection's order, then the events of none.
///
/// # Errors
/// The archive cannot be read, or `take` fails.
pub fn each_slice(
    source: &Source<'_>,
    zone: Tz,
    limits: Limits,
    take: &mut dyn FnMut(&Slice) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    for id in source.conversations() {
        for slice in Slices::new(source, Some(id?), zone, limits)? {
            take(&slice?)?;
        }
    }
    if source.has_loose() {
        for slice in Slices::new(source, None, zone, limits)? {
            take(&slice?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
