//! Global Relay EML: one mail message per room and day, with a summary, a table of people and every message, as text and
//! as HTML.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use sha2::{Digest, Sha256};

use super::kept::{Shelf, Sizes};
use super::mail::carried;
use super::rsmf::{recorder, subject, unavailable};
use super::slice::people::{mail_of, mailbox, short};
use super::slice::plain::{carried_name, placeholder};
use super::slice::versions::Versions;
use super::slice::{Limits, Slice, called, each_slice, time_of, zone_of};
use super::text::line::Lines;
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written};
use crate::harmless::one_line;
use crate::integrity::hex;
use crate::model::{Kind, Person, Timestamp};

/// The format `globalrelay`.
pub struct GlobalRelay;

/// So many people are named in `To`; all are in the table.
const MOST_ADDRESSES: usize = 500;

impl Format for GlobalRelay {
    fn name(&self) -> &'static str {
        "globalrelay"
    }

    fn extension(&self) -> &'static str {
        "eml"
    }

    fn media_type(&self) -> &'static str {
        "message/rfc822"
    }

    fn about(&self) -> &'static str {
        "Global Relay EML for archives: one message per conversation and day"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn carries_files(&self) -> bool {
        true
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        let mut left = unavailable(written);
        let mut put = |what: &str, count: u64, why: &str| {
            if count > 0 {
                left.push(LeftOut { what: what.into(), count, why: why.into() });
            }
        };
        let details = written.of_kind(Kind::PlatformEvent);
        put("details of a platform.event", details, "named without what the platform told; `jsonl` has it");
        put("HTML form of a message", written.html, "the format has plain text only; `jsonl` has both forms");
        put("link of a reply", written.replies, "the format has no threads; `rsmf` and `jsonl` have them");
        left
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        each_slice(source, zone_of(source), Limits::default().with_files(), &mut |slice| {
            let name = format!("{0}/{0}.{1}.eml", slice.room.key(), slice.label());
            files.file(&name, &mut |out| write_slice(slice, source.shelf(), out))?;
            slice.events.iter().try_for_each(&mut *seen)
        })
    }
}

/// Somebody's part in a slice.
struct Row {
    person: Person,
    joined: Option<Timestamp>,
    left: Option<Timestamp>,
    messages: u64,
}

fn rows(slice: &Slice) -> Vec<Row> {
    let (first, last) = (slice.first_at(), slice.last_at());
    let mut rows: Vec<Row> = Vec::new();
    for stay in &slice.room.stays {
        if stay.joined_at <= last && stay.left_at.is_none_or(|left| left >= first) {
            let (joined, left) = (stay.joined_at.max(first), stay.left_at.unwrap_or(last).min(last));
            let person = stay.person.clone();
            rows.push(Row { person, joined: Some(joined), left: Some(left.max(joined)), messages: 0 });
        }
    }
    let mut places: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        places.entry(row.person.id.clone()).or_insert(at);
    }
    for event in &slice.events {
        let Some(actor) = &event.content.actor else { continue };
        let at = *places.entry(actor.id.clone()).or_insert_with(|| {
            rows.push(Row { person: actor.clone(), joined: None, left: None, messages: 0 });
            rows.len() - 1
        });
        rows[at].messages += u64::from(event.kind == Kind::MessageSent);
    }
    rows
}

/// `1 h 2 min 3 s`.
fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, s) => format!("{h} h {m} min {s} s"),
    }
}

/// The two bodies, written side by side so that they say the same.
#[derive(Default)]
struct Bodies {
    text: String,
    html: String,
}

impl Bodies {
    fn heading(&mut self, level: u8, text: &str) {
        let _ = writeln!(self.text, "\n{text}");
        let _ = writeln!(self.html, "<h{level}>{}</h{level}>", escaped(text));
    }

    fn fact(&mut self, label: &str, value: &str) {
        let value = one_line(value);
        let _ = writeln!(self.text, "  {label}: {value}");
        let _ = writeln!(self.html, "<li>{label}: {}</li>", escaped(&value));
    }

    fn row(&mut self, tag: &str, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        let _ = writeln!(self.text, "  {}", cells.join("  "));
        self.html.push_str("<tr>");
        for cell in &cells {
            let _ = write!(self.html, "<{tag}>{}</{tag}>", escaped(cell));
        }
        self.html.push_str("</tr>\n");
    }

    /// One message; line breaks in it are kept, and no line of it can pass for another message.
    fn said(&mut self, head: &str, text: &str, mark: &str) {
        let (head, mark) = (one_line(head), one_line(mark));
        let mut lines = text.split('\n').map(one_line);
        let first = lines.next().unwrap_or_default();
        let rest: Vec<String> = lines.collect();
        let _ = write!(self.text, "  {head}: {first}");
        let _ = write!(self.html, "<li>{}: {}", escaped(&head), escaped(&first));
        for line in &rest {
            let _ = write!(self.text, "\n    | {line}");
            let _ = write!(self.html, "<br>{}", escaped(line));
        }
        let _ = writeln!(self.text, "{mark}");
        let _ = writeln!(self.html, "{}</li>", escaped(&mark));
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn bodies(slice: &Slice, sizes: &Sizes, rows: &[Row]) -> Bodies {
    let mut bodies = Bodies::default();
    let (first, last) = (slice.first_at(), slice.last_at());
    let title = slice.room.title();
    bodies.html.push_str("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>");
    bodies.html.push_str(&escaped(&one_line(&title)));
    bodies.html.push_str("</title></head><body>\n");
    bodies.heading(1, "Compliance Export");
    bodies.heading(2, "Conversation Summary");
    bodies.html.push_str("<ul>\n");
    bodies.fact("ChannelId", slice.room.key());
    bodies.fact("ChannelName", &title);
    bodies
        .fact("Day", &format!("{} in the zone {}, part {} of {}", slice.day.date, slice.zone, slice.part, slice.parts));
    bodies.fact("Started", &first.rfc3339());
    bodies.fact("Ended", &last.rfc3339());
    bodies.fact("Duration", &duration(last.since(first)));
    if let Some(coverage) = &slice.room.coverage {
        bodies.fact("Record of the whole conversation", &coverage.to_string());
    }
    bodies.html.push_str("</ul>\n");
    bodies.heading(2, "Participants");
    bodies.html.push_str("<table>\n");
    let head = ["UserId", "Username", "UserType", "Email", "Joined", "Left", "Duration", "Messages"];
    bodies.row("th", &head.map(str::to_owned));
    for row in rows {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "not told".to_owned(), Timestamp::rfc3339);
        let stay = row.joined.zip(row.left).map_or_else(|| "not told".into(), |(from, to)| duration(to.since(from)));
        bodies.row(
            "td",
            &[
                row.person.id.clone(),
                called(&row.person).to_owned(),
                "user".into(),
                mail_of(&row.person.id).unwrap_or("none").to_owned(),
                time(row.joined),
                time(row.left),
                stay,
                row.messages.to_string(),
            ],
        );
    }
    bodies.html.push_str("</table>\n");
    bodies.heading(2, "Messages");
    bodies.html.push_str("<ul>\n");
    messages(slice, sizes, &mut bodies);
    bodies.html.push_str("</ul>\n");
    let _ = writeln!(bodies.text, "\nExported by {PROGRAM}");
    let _ = writeln!(bodies.html, "<p>Exported by {}</p></body></html>", escaped(PROGRAM));
    bodies
}

fn messages(slice: &Slice, sizes: &Sizes, bodies: &mut Bodies) {
    let bot = recorder(slice);
    let mut versions = Versions::of(slice);
    let mut lines = Lines::default();
    for (index, event) in slice.events.iter().enumerate() {
        let told = versions.told_by(index);
        if told.is_empty() {
            let said = match (event.kind, &event.content.gap) {
                (Kind::CaptureGap, Some(gap)) => {
                    let cause = one_line(&gap.cause);
                    format!("GAP from {} to {}: {cause}. Something may be missing here.", gap.from, gap.to)
                }
                _ => lines.said(event),
            };
            let said = said.strip_prefix("- ").unwrap_or(&said);
            bodies.said(&format!("event-{} {} {}", event.seq, time_of(event), called(&bot)), said, "");
            continue;
        }
        for version in told {
            let by = version.by.unwrap_or(&bot);
            let head = format!("{} {} {} ({})", version.id, version.at, called(by), mail_of(&by.id).unwrap_or(&by.id));
            let mark = match (version.update, &version.newer) {
                (Some((update, at)), Some(newer)) => format!(" [{} {at} -> {newer}]", update.as_str()),
                (Some((update, at)), None) => format!(" [{} {at}]", update.as_str()),
                (None, _) => String::new(),
            };
            bodies.said(&head, version.text, &mark);
        }
        for (file, n) in event.content.files().iter().zip(1..) {
            let by = event.content.actor.as_ref().unwrap_or(&bot);
            let name = file.attachment.name.as_deref().unwrap_or("without name");
            let head = format!("event-{} {} {}", event.seq, time_of(event), called(by));
            let is_here = file.attachment.sha256.as_ref().is_some_and(|sha256| sizes.contains_key(sha256));
            let mark = match (is_here, file.reason) {
                (true, _) => format!(" [{}]", carried_name(event, n, &file.attachment)),
                (false, Some(reason)) => format!(" [not in the archive: {}]", one_line(reason)),
                (false, None) => " [not in the archive]".to_owned(),
            };
            bodies.said(&head, &format!("Uploaded file {}", one_line(name)), &mark);
        }
    }
}

/// A slice as a mail message.
///
/// # Errors
/// The output cannot be written, or a kept file not be read.
pub fn write_slice(slice: &Slice, shelf: &Shelf, out: &mut dyn Write) -> Result<(), ExportError> {
    let rows = rows(slice);
    let bodies = bodies(slice, &shelf.sizes(&slice.events)?, &rows);
    let hash = hex(&Sha256::digest(bodies.html.as_bytes())[..16]);
    let mut to: Vec<(String, String)> = Vec::new();
    for row in &rows {
        let mailbox = mailbox(&row.person);
        if to.len() < MOST_ADDRESSES && to.iter().all(|(_, address)| *address != mailbox.1) {
            to.push(mailbox);
        }
    }
    if to.is_empty() {
        to.push(mailbox(&recorder(slice)));
    }
    let sender = slice.events.iter().find_map(|event| event.content.actor.clone());
    let mut message = MessageBuilder::new()
        .from(mailbox(
            &sender.unwrap_or_else(|| rows.first().map_or_else(|| recorder(slice), |row| row.person.clone())),
        ))
        .to(to)
        .subject(format!("Compliance Export: {}", subject(slice)))
        .date(slice.last_at().millis().div_euclid(1000))
        .message_id(format!("{}.{}.globalrelay@greffier.invalid", slice.room.key(), slice.label()));
    let kind = if rows.len() <= 2 { "IM" } else { "GroupChat" };
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("Precedence", "bulk"),
        ("X-GlobalRelay-MsgType", "Greffier"),
        ("X-Greffier-ChannelName", &slice.room.title()),
        ("X-Greffier-ChannelID", slice.room.key()),
        ("X-Greffier-ChannelType", kind),
        ("X-Greffier-Zone", slice.zone.name()),
        ("X-Greffier-Part", &format!("part {} of {}", slice.part, slice.parts)),
    ] {
        message = message.header(name, Text::new(short(&one_line(value), 250)));
    }
    let alternative = ContentType::new("multipart/alternative").attribute("boundary", format!("greffier-a-{hash}"));
    let forms = vec![MimePart::new("text/plain", bodies.text), MimePart::new("text/html", bodies.html)];
    let mut parts = vec![MimePart::new(alternative, forms)];
    for event in &slice.events {
        for (file, n) in event.content.files().iter().zip(1..) {
            parts.push(match carried(event, file, n, shelf)? {
                Some(part) => part,
                None => MimePart::new("text/plain", placeholder(file))
                    .attachment(format!("attachment-{}-{n}.txt", event.seq)),
            });
        }
    }
    let mixed = ContentType::new("multipart/mixed").attribute("boundary", format!("greffier-m-{hash}"));
    message.body(MimePart::new(mixed, parts)).write_to(out).map_err(ExportError::output)
}
