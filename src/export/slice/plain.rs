//! A slice as readable text: who was there, and every event on lines of its own, times in the slice's zone.

use std::fmt::Write;

use chrono::TimeZone;

use super::{Slice, Target, called, time_of};
use crate::export::text::line::Lines;
use crate::harmless::{name, one_line};
use crate::model::{Attachment, Event, FileOf, Kind, Person, Timestamp};

/// Before each further line of a message.
const MORE: &str = "  | ";

/// `2026-03-05 10:00:07 +01:00` in the slice's zone.
pub fn local(slice: &Slice, at: Timestamp) -> String {
    slice.zone.from_utc_datetime(&at.to_chrono().naive_utc()).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The slice as text. Whatever people typed is made harmless and can pass for no line of ours.
pub fn transcript(slice: &Slice) -> String {
    let mut text = heading(slice);
    let mut lines = Lines::default();
    let messages = slice.messages();
    for (index, event) in slice.events.iter().enumerate() {
        let said = match (event.kind, &event.content.gap) {
            (Kind::CaptureGap, Some(gap)) => format!(
                "GAP from {} to {}: {}. Something may be missing here.",
                local(slice, gap.from),
                local(slice, gap.to),
                one_line(&gap.cause)
            ),
            _ => lines.said(event),
        };
        let mut said = said.split('\n');
        let first = one_line(said.next().unwrap_or_default());
        let _ = writeln!(text, "{} [{}] {first}", local(slice, time_of(event)), event.seq);
        let mut more = |line: &str| {
            let _ = writeln!(text, "{MORE}{}", one_line(line));
        };
        said.for_each(&mut more);
        if let Some(Target::Earlier(earlier)) = messages.changed_by(index) {
            more(&format!("(the message of {} [{}], until then:)", local(slice, earlier.at), earlier.seq));
            earlier.text.split('\n').for_each(&mut more);
        }
        if let Some((_, target)) = messages.answered_by(index) {
            more(&match target {
                Target::Here(sent) => format!("(answers [{}])", slice.events[sent].seq),
                Target::Earlier(earlier) => format!("(answers [{}] of {})", earlier.seq, local(slice, earlier.at)),
                Target::Elsewhere => "(answers a message that is not in this export)".to_owned(),
            });
            if let Target::Earlier(earlier) = target {
                earlier.text.split('\n').for_each(&mut more);
            }
        }
        for file in event.content.files() {
            more(&attached(&file));
        }
    }
    text
}

fn heading(slice: &Slice) -> String {
    let mut text = format!("{}\n", one_line(&slice.room.title()));
    let mut put = |label: &str, value: &str| {
        let _ = writeln!(text, "{label}: {}", one_line(value));
    };
    put("Conversation", slice.room.key());
    put("Day", &format!("{} in the zone {}", slice.day.date, slice.zone));
    if slice.parts > 1 {
        put("Part", &format!("{} of {}", slice.part, slice.parts));
    }
    if let Some(conversation) = &slice.room.conversation {
        put("Recorded by", &format!("connector {} ({})", conversation.connector, conversation.platform));
    }
    if let Some(coverage) = &slice.room.coverage {
        put("Record of the whole conversation", &coverage.to_string());
    }
    put("Present at the beginning", &people(&slice.roster));
    put("Taking part on this day", &people(&slice.acting));
    text.push('\n');
    text
}

fn people(people: &[Person]) -> String {
    if people.is_empty() {
        return "nobody, as far as told".into();
    }
    let one = |person: &Person| match called(person) {
        id if id == person.id => format!("<{id}>"),
        told => format!("{} <{}>", name(told), person.id),
    };
    people.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// One line about a file that an event speaks of.
pub fn attached(file: &FileOf<'_>) -> String {
    let attachment = &file.attachment;
    let mut facts = Vec::new();
    facts.extend(attachment.media_type.clone());
    facts.extend(attachment.size.map(|bytes| format!("{bytes} bytes")));
    facts.extend(attachment.sha256.as_deref().map(|hash| format!("sha256 {hash}")));
    facts.extend(attachment.url.as_deref().map(|url| format!("at {url}")));
    facts.extend(file.reason.filter(|_| !file.is_kept()).map(|reason| format!("not kept: {reason}")));
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    format!("attachment: {}{facts}", attachment.name.as_deref().unwrap_or("without name"))
}

/// What stands in the place of a file that the archive does not have: it keeps what was told about it.
pub fn placeholder(file: &FileOf<'_>) -> String {
    let why = match file.is_kept() {
        true => "This file was kept, but is missing in the archive or not what was kept.",
        false => "This file is not in the archive.",
    };
    format!("{why} What was told about it:\n{}\n", one_line(&attached(file)))
}

/// The name that a file of an event has where it is carried along: made of numbers and, so that programs know what it is,
/// the end of its own name.
pub fn carried_name(event: &Event, place: usize, attachment: &Attachment) -> String {
    let end =
        attachment.name.as_deref().and_then(|name| name.rsplit_once('.')).map(|(_, end)| end.to_ascii_lowercase());
    let is_plain = |end: &String| (1..=8).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric());
    let end = end.filter(is_plain).or_else(|| {
        let end = match attachment.media_type.as_deref()? {
            "image/png" => "png",
            "image/jpeg" => "jpg",
            "image/gif" => "gif",
            "image/webp" => "webp",
            "text/plain" => "txt",
            "application/pdf" => "pdf",
            _ => return None,
        };
        Some(end.to_owned())
    });
    format!("attachment-{}-{place}.{}", event.seq, end.as_deref().unwrap_or("bin"))
}
