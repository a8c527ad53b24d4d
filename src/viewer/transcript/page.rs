//! From the events of a page to days, groups by sender, lines and gaps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::line::{self, Line};
use super::message::{self, Shown};
use super::said::{Said, shown_end};
use super::who::Who;
use crate::harmless::one_line;
use crate::model::{ConversationId, Event, Kind, Person, Seq};
use crate::viewer::time;
use crate::viewer::{links, words};

/// After so much silence the sender's name stands there again, seconds.
const PAUSE: i64 = 10 * 60;

/// For whom and how a page is made.
pub struct Setting<'a> {
    /// The reader's zone.
    pub zone: Tz,
    /// The conversation.
    pub conversation: &'a ConversationId,
    /// Byte ranges of a text that the search hits; nothing where nothing is searched for.
    pub marks: &'a dyn Fn(&str) -> Vec<Range<usize>>,
    /// The event that the address names.
    pub at: Option<Seq>,
    /// What the reader searches for, carried along in links; may be empty.
    pub query: &'a str,
    /// Whether the kept file with this SHA-256 is a picture that a page may show.
    pub pictures: &'a dyn Fn(&str) -> bool,
}

impl Setting<'_> {
    /// A text, cut to what a transcript shows.
    pub fn said(&self, text: &str) -> Said {
        // No mark is needed beyond what is shown.
        let end = shown_end(text);
        Said::cut(text, &(self.marks)(&text[..end]), end)
    }

    /// An event's permanent place.
    pub fn place(&self, seq: u64) -> String {
        links::event(self.conversation, Seq(seq))
    }

    /// The page about one event.
    pub fn details(&self, seq: u64) -> String {
        links::with(&format!("/events/{seq}"), &[("q", self.query)])
    }
}

/// A message that others are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Place in the log of its first version.
    pub seq: u64,
    /// Who said it.
    pub who: Option<Person>,
    /// Its first words.
    pub text: String,
}

/// What a page needs to know besides its own events.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Changes of this page's messages that happened elsewhere in the conversation, by seq.
    pub changes: Vec<Event>,
    /// Messages that something on this page is about, by the platform's identifier.
    pub targets: HashMap<String, Target>,
    /// Events of this page: anchors to them belong here.
    here: HashSet<Seq>,
}

impl Context {
    /// What is known besides a page's events.
    pub fn new(events: &[Event], changes: Vec<Event>, mut targets: HashMap<String, Target>) -> Context {
        for event in events.iter().filter(|event| event.kind == Kind::MessageSent) {
            if let Some(message) = &event.content.message {
                targets.entry(message.id.clone()).or_insert_with(|| Target::of(event));
            }
        }
        Context { changes, targets, here: events.iter().map(|event| event.seq).collect() }
    }

    /// Whether an event belongs to this page.
    pub fn is_here(&self, seq: Seq) -> bool {
        self.here.contains(&seq)
    }
}

impl Target {
    /// The message of an event.
    pub fn of(event: &Event) -> Target {
        let text = event.content.message.as_ref().map(|m| m.text.chars().take(200).collect()).unwrap_or_default();
        Target { seq: event.seq.0, who: event.content.actor.clone(), text }
    }
}

/// One calendar day of the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// `2026-11-21`.
    pub iso: String,
    /// `Saturday 21 November 2026`.
    pub name: String,
    /// What happened, in order.
    pub blocks: Vec<Block>,
}

/// What stands between others in a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Messages of one sender.
    Said(Group),
    /// Anything else.
    Line(Line),
    /// A gap in the record.
    Gap(Gap),
}

/// Messages of one sender, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whose.
    pub who: Who,
    /// Never empty.
    pub messages: Vec<Shown>,
    sender: String,
    last: i64,
}

/// A span in which something may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Place in the log.
    pub seq: u64,
    /// Permanent place in the transcript.
    pub href: String,
    /// `09:40:12 – 09:43:10`, with dates where they differ from the day it stands in.
    pub span: String,
    /// `2 min`.
    pub length: String,
    /// Why.
    pub cause: String,
    /// Whether the address names it.
    pub asked: bool,
}

/// The days of a page's events, which come in the order of display.
pub fn days(events: &[Event], context: &Context, setting: &Setting<'_>) -> Vec<Day> {
    let mut sent: HashMap<&str, Seq> = HashMap::new();
    for event in events.iter().filter(|event| event.kind == Kind::MessageSent) {
        if let Some(message) = event.content.message.as_ref().filter(|message| !message.id.is_empty()) {
            sent.entry(&message.id).or_insert(event.seq);
        }
    }
    // Message → its changes by seq, whether they happened on this page or later.
    let mut changes: HashMap<Seq, BTreeMap<Seq, &Event>> = HashMap::new();
    let mut folded: HashSet<Seq> = HashSet::new();
    for event in context.changes.iter().chain(events).filter(|event| is_change(event.kind)) {
        let id = event.content.message.as_ref().map_or("", |message| message.id.as_str());
        if let Some(target) = sent.get(id) {
            changes.entry(*target).or_default().insert(event.seq, event);
            folded.insert(event.seq);
        }
    }
    let mut days = Days(Vec::new());
    for event in events.iter().filter(|event| !folded.contains(&event.seq)) {
        let at = event.source_time.unwrap_or(event.recorded_at);
        let day = days.of(time::date(at, setting.zone));
        match event.kind {
            Kind::MessageSent => {
                let changes: Vec<&Event> =
                    changes.get(&event.seq).map(|changes| changes.values().copied().collect()).unwrap_or_default();
                let shown = message::shown(event, &changes, context, setting);
                let sender = event.content.actor.as_ref();
                // A name that changed is told anew.
                let key =
                    sender.map_or(String::new(), |who| format!("{}\n{}", who.id, who.name.as_deref().unwrap_or("")));
                let seconds = at.micros().div_euclid(1_000_000);
                match day.blocks.last_mut() {
                    Some(Block::Said(group)) if group.sender == key && seconds - group.last < PAUSE => {
                        group.messages.push(shown);
                        group.last = seconds;
                    }
                    _ => day.blocks.push(Block::Said(Group {
                        who: Who::of(sender),
                        messages: vec![shown],
                        sender: key,
                        last: seconds,
                    })),
                }
            }
            Kind::CaptureGap => day.blocks.push(Block::Gap(gap(event, setting))),
            _ => {
                let id = event.content.message.as_ref().map_or("", |message| message.id.as_str());
                let target = is_change(event.kind).then(|| context.targets.get(id)).flatten();
                day.blocks.push(Block::Line(line::line(event, target, setting)));
            }
        }
    }
    days.0
}

/// Whether an event is about an earlier message.
pub fn is_change(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::MessageEdited
            | Kind::MessageDeleted
            | Kind::MessageUndelivered
            | Kind::ReactionAdded
            | Kind::ReactionRemoved
    )
}

struct Days(Vec<Day>);

impl Days {
    fn of(&mut self, date: NaiveDate) -> &mut Day {
        let iso = date.to_string();
        if self.0.last().is_none_or(|day| day.iso != iso) {
            self.0.push(Day { iso, name: time::day(date), blocks: Vec::new() });
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

/// A gap as a divider.
pub fn gap(event: &Event, setting: &Setting<'_>) -> Gap {
    let (span, length, cause) = match &event.content.gap {
        Some(gap) => {
            (gap_span(gap.from, gap.to, setting.zone), time::length(gap.to.since(gap.from)), one_line(&gap.cause))
        }
        None => ("at an unknown time".into(), "of unknown length".into(), String::new()),
    };
    let asked = setting.at == Some(event.seq);
    Gap { seq: event.seq.0, href: setting.place(event.seq.0), span, length, cause, asked }
}

/// `21 Nov 2026, 09:40:12 – 09:43:10`.
pub fn gap_span(from: crate::model::Timestamp, to: crate::model::Timestamp, zone: Tz) -> String {
    let full = |at| format!("{}, {}", time::short_day(time::date(at, zone)), time::clock_seconds(at, zone));
    let end = if time::date(from, zone) == time::date(to, zone) { time::clock_seconds(to, zone) } else { full(to) };
    format!("{} – {end}", full(from))
}

/// Every seq that a page shows, as often as it shows it (tests, and what live updating begins after).
pub fn seqs(days: &[Day]) -> Vec<u64> {
    let mut seqs = Vec::new();
    for block in days.iter().flat_map(|day| &day.blocks) {
        match block {
            Block::Line(line) => seqs.push(line.seq),
            Block::Gap(gap) => seqs.push(gap.seq),
            Block::Said(group) => {
                for message in &group.messages {
                    seqs.push(message.seq);
                    seqs.extend(message.versions.iter().filter(|v| v.anchor).map(|v| v.seq));
                    let notes = message.deleted.iter().chain(&message.undelivered).chain(&message.reacted);
                    seqs.extend(notes.filter(|note| note.anchor).map(|note| note.seq));
                }
            }
        }
    }
    seqs
}

impl Day {
    /// `12 messages`.
    pub fn messages(&self) -> String {
        let count =
            self.blocks.iter().map(|block| if let Block::Said(group) = block { group.messages.len() } else { 0 });
        words::plural(u64::try_from(count.sum::<usize>()).unwrap_or(u64::MAX), "message")
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
