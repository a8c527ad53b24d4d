//! Conversations as rows of a list, by day; for every page that lists some (`partials/_conversation.html`).

use chrono_tz::Tz;

use super::{links, time, words};
use crate::archive::reader::{Conversation, ConversationState, Coverage};

/// One conversation of the list.
pub struct Row {
    /// Its transcript.
    pub href: String,
    /// Subject, or who took part.
    pub title: String,
    /// Who took part, where the title does not say it already.
    pub people: String,
    /// From when to when.
    pub span: String,
    /// Its start, for `<time datetime>`.
    pub iso: String,
    /// Its start, in full.
    pub full: String,
    /// How long it went on; empty while live.
    pub length: String,
    /// `12 messages`.
    pub messages: String,
    /// What people call the platform.
    pub platform: String,
    /// Whether it goes on.
    pub live: bool,
    /// Whether the record is whole.
    pub complete: bool,
}

impl Row {
    /// The row of a conversation.
    pub fn new(conversation: &Conversation, zone: Tz) -> Row {
        let people = match words::subject(conversation.subject.as_deref()) {
            Some(_) => words::people(&conversation.participants, 5),
            None => String::new(),
        };
        let length = conversation.ended_at.map(|end| time::length(end.since(conversation.started_at)));
        Row {
            href: links::conversation(&conversation.id),
            title: words::title(conversation),
            people,
            span: time::span(conversation.started_at, conversation.ended_at, zone),
            iso: time::iso(conversation.started_at, zone),
            full: time::full(conversation.started_at, zone),
            length: length.unwrap_or_default(),
            messages: words::plural(conversation.messages, "message"),
            platform: words::platform(&conversation.platform),
            live: conversation.state == ConversationState::Live,
            complete: conversation.coverage == Coverage::Complete,
        }
    }
}

/// The conversations that began on one day.
pub struct Day {
    /// For the heading's `id`.
    pub id: String,
    /// `Saturday 21 November 2026`.
    pub name: String,
    /// In the order of the list.
    pub rows: Vec<Row>,
}

/// Sorts a list into days; the list is in order of time.
pub fn days(conversations: &[Conversation], zone: Tz) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for conversation in conversations {
        let date = time::date(conversation.started_at, zone);
        let id = format!("d{date}");
        if days.last().is_none_or(|day| day.id != id) {
            days.push(Day { id, name: time::day(date), rows: Vec::new() });
        }
        if let Some(day) = days.last_mut() {
            day.rows.push(Row::new(conversation, zone));
        }
    }
    days
}
