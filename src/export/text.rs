//! Readable transcripts: who was there, what was said and when (UTC), and where something may be missing.
//!
//! ```text
//! 2026-11-21, Saturday
//!
//! 09:30:00  [42] Alice: hello
//!             | and a second line
//! 09:30:05  [43] - Bob joined
//! ```
//!
//! Whatever people typed is made harmless first ([`crate::harmless`]): it can neither drive a terminal nor pass for a line of the
//! transcript. Every line begins with a time, with blanks and a bar, or is ours. A name that could be mistaken for
//! something else stands in quotes, and a name that two people use stands with the address.

pub(super) mod line;

use std::io::Write;

use super::{ExportError, Format, LeftOut, Search, Seen, Source, Written};
use crate::archive::Reader;
use crate::archive::reader::Order;
use crate::model::{ConversationId, Event, Kind, Timestamp};

use crate::harmless::{name, one_line};
use line::Lines;

/// The format `text`.
pub struct Text;

impl Format for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn extension(&self) -> &'static str {
        "txt"
    }

    fn media_type(&self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "readable transcripts, one after the other, times in UTC"
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        platform_events(written)
    }

    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let mut first = true;
        for id in source.conversations() {
            let id = id?;
            let mut events = source.transcript(&id).peekable();
            // A part of a conversation that nothing happened in is no transcript.
            if events.peek().is_none() && !source.is_whole() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.write_all(b"\n\n").map_err(ExportError::output)?;
            }
            let selection = source.selection();
            let options = TextOptions { since: selection.since, until: selection.until, up_to: None };
            heading(source.reader(), &id, out, &options, source.selection().search.as_ref())?;
            body(&mut events, out, seen)?;
        }
        let mut lines = Lines::default();
        let mut unread = 0;
        for event in source.loose() {
            let event = event?;
            if lines.is_new() && unread == 0 {
                let before = if first { "" } else { "\n\n" };
                writeln!(out, "{before}Events of no conversation").map_err(ExportError::output)?;
            }
            unread += show(&event, &mut lines, out)?;
            seen(&event)?;
        }
        footnote(unread, out)
    }
}

/// What readable formats show nothing of.
pub(super) fn platform_events(written: &Written) -> Vec<LeftOut> {
    let count = written.of_kind(Kind::PlatformEvent);
    let why = "typing notices and protocol details would bury what people said; the format jsonl has them".to_owned();
    if count == 0 { Vec::new() } else { vec![LeftOut { what: Kind::PlatformEvent.to_string(), count, why }] }
}

/// Which part of a conversation is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Events at or after this time.
    pub since: Option<Timestamp>,
    /// Events before this time.
    pub until: Option<Timestamp>,
    /// Only the first so many events of the log.
    pub up_to: Option<u64>,
}

/// Writes one conversation as readable text: heading, then every event in order of time.
///
/// # Errors
/// [`ExportError::UnknownConversation`]; the archive cannot be read or the output not be written.
pub fn write_transcript(
    reader: &Reader,
    conversation: &ConversationId,
    out: &mut dyn Write,
    options: TextOptions,
) -> Result<(), ExportError> {
    heading(reader, conversation, out, &options, None)?;
    let wanted = reader.transcript(conversation, Order::Time).filter(|event| {
        event.as_ref().map_or(true, |event| {
            let at = event.source_time.unwrap_or(event.recorded_at);
            options.since.is_none_or(|since| at >= since)
                && options.until.is_none_or(|until| at < until)
                && options.up_to.is_none_or(|size| event.seq.0 <= size)
        })
    });
    body(&mut wanted.map(|event| event.map_err(ExportError::from)), out, &mut |_| Ok(()))
}

fn body(
    events: &mut dyn Iterator<Item = Result<Event, ExportError>>,
    out: &mut dyn Write,
    seen: &mut Seen<'_>,
) -> Result<(), ExportError> {
    let mut lines = Lines::default();
    let mut unread = 0;
    for event in events {
        let event = event?;
        unread += show(&event, &mut lines, out)?;
        seen(&event)?;
    }
    footnote(unread, out)
}

/// Writes an event, or counts it: what the platform told without a kind of ours (typing, protocol details) would bury
/// what people said.
fn show(event: &Event, lines: &mut Lines, out: &mut dyn Write) -> Result<u64, ExportError> {
    if event.kind == Kind::PlatformEvent {
        return Ok(1);
    }
    lines.write(event, out).map_err(ExportError::output)?;
    Ok(0)
}

/// Says what is in the record but not in this text.
fn footnote(unread: u64, out: &mut dyn Write) -> Result<(), ExportError> {
    match unread {
        0 => Ok(()),
        1 => writeln!(out, "\nNot shown: 1 platform.event (typing or a protocol detail); the JSON forms have it."),
        n => {
            writeln!(out, "\nNot shown: {n} platform.events (typing, protocol details); the JSON forms have them all.")
        }
    }
    .map_err(ExportError::output)
}

fn heading(
    reader: &Reader,
    id: &ConversationId,
    out: &mut dyn Write,
    options: &TextOptions,
    search: Option<&Search>,
) -> Result<(), ExportError> {
    let conversation = reader.conversation(id)?.ok_or_else(|| ExportError::UnknownConversation { id: id.clone() })?;
    let coverage = reader.coverage_of(id)?;
    let mut text = format!("Transcript of {id}\n\n");
    let mut put = |label: &str, value: &str| {
        text.push_str(&format!("{:<14}{value}\n", if label.is_empty() { String::new() } else { format!("{label}:") }))
    };
    put("Subject", &conversation.subject.as_deref().map_or_else(|| "(none told)".to_owned(), one_line));
    put(
        "Recorded by",
        &format!("connector {} ({})", one_line(&conversation.connector), one_line(&conversation.platform)),
    );
    put("Started", &second(conversation.started_at));
    put("Ended", &conversation.ended_at.map_or_else(|| "goes on".to_owned(), second));
    if let Some(since) = options.since {
        put("From", &format!("{} (earlier events are left out)", second(since)));
    }
    if let Some(until) = options.until {
        put("Until", &format!("{} (later events are left out)", second(until)));
    }
    if let Some(search) = search {
        put(
            "Only",
            &format!("what this search found, and {} messages around: {}", search.context, one_line(&search.query)),
        );
    }
    if let Some(coverage) = coverage {
        // A cause may hold words of the platform.
        put("Record", &one_line(&coverage.to_string()));
    }
    let gaps = reader.gaps_of(id)?;
    put("Gaps", &if gaps.is_empty() { "none".to_owned() } else { gaps.len().to_string() });
    for (seq, gap) in &gaps {
        put("", &format!("[{seq}] {} to {}: {}", second(gap.from), second(gap.to), one_line(&gap.cause)));
    }
    text.push_str("\nParticipants\n");
    let stays = reader.attendance_of(id)?;
    for person in &conversation.participants {
        let shown = person.name.as_deref().map_or_else(String::new, |told| format!("{} ", name(told)));
        text.push_str(&format!("  {shown}<{}>\n", one_line(&person.id)));
        for stay in stays.iter().filter(|stay| stay.person.id == person.id) {
            let left = stay.left_at.map_or_else(|| "still there".to_owned(), second);
            text.push_str(&format!("      {} to {left}\n", second(stay.joined_at)));
        }
    }
    if conversation.participants.is_empty() {
        text.push_str("  (none told)\n");
    }
    text.push_str("\nTimes are UTC. [n] is the event's place in the log.\n");
    out.write_all(text.as_bytes()).map_err(ExportError::output)
}

/// `2026-11-21 09:30:00`.
fn second(t: Timestamp) -> String {
    t.to_chrono().format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests;
