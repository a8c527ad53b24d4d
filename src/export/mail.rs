//! Mail messages: one for each day of a conversation, in threads, as files (`eml`) or in one mailbox (`mbox`).
//!
//! Days are those of the zone of the export, very busy ones come in parts ([`super::slice`]). The message is dated by its
//! first event, is "from" whoever spoke first and "to" everybody else who was active, has the transcript as text and as a
//! page, and refers to the first and to the preceding message of its conversation. Its id is made of conversation, day and
//! part, so the same conversation exported again is the same mail.

use std::io::Write;

use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use sha2::{Digest, Sha256};

use super::html::{front_of, page};
use super::kept::Shelf;
use super::rsmf::{recorder, subject};
use super::slice::people::{mailbox, short};
use super::slice::{Limits, Slice, Slices, plain};
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written};
use crate::harmless::one_line;
use crate::integrity::hex;
use crate::model::{ConversationId, Event, FileOf, Kind};

/// The format `eml`.
pub struct Eml;

/// The format `mbox`.
pub struct Mbox;

/// So many people are named in `To`; the body names all.
const MOST_ADDRESSES: usize = 200;
/// Longest value of a header.
const HEADER: usize = 400;

impl Format for Eml {
    fn name(&self) -> &'static str {
        "eml"
    }

    fn extension(&self) -> &'static str {
        "eml"
    }

    fn media_type(&self) -> &'static str {
        "message/rfc822"
    }

    fn about(&self) -> &'static str {
        "a mail message for each day of a conversation, threaded"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn carries_files(&self) -> bool {
        true
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        left_out(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        each_message(source, seen, &mut |slice, message| {
            let name = format!("{}.{}.eml", slice.room.key(), slice.label());
            files.file(&name, &mut |out| out.write_all(message).map_err(ExportError::output))
        })
    }
}

impl Format for Mbox {
    fn name(&self) -> &'static str {
        "mbox"
    }

    fn extension(&self) -> &'static str {
        "mbox"
    }

    fn media_type(&self) -> &'static str {
        "application/mbox"
    }

    fn about(&self) -> &'static str {
        "the mail messages of eml in one mailbox file (mboxrd), for mail programs"
    }

    fn carries_files(&self) -> bool {
        true
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        left_out(written)
    }

    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        each_message(source, seen, &mut |slice, message| {
            let at = slice.first_at().to_chrono().format("%a %b %e %H:%M:%S %Y");
            let mut entry = format!("From greffier@greffier.invalid {at}\n").into_bytes();
            for line in message.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
                let bare = line.iter().position(|byte| *byte != b'>').map_or(&line[..0], |at| &line[at..]);
                if bare.starts_with(b"From ") {
                    entry.push(b'>');
                }
                entry.extend_from_slice(line);
                entry.push(b'\n');
            }
            entry.push(b'\n');
            out.write_all(&entry).map_err(ExportError::output)
        })
    }
}

fn left_out(written: &Written) -> Vec<LeftOut> {
    let count = written.of_kind(Kind::PlatformEvent);
    let why =
        "of typing notices and protocol details a message shows that they were, not their JSON; jsonl has it".into();
    if count == 0 { Vec::new() } else { vec![LeftOut { what: "detail of platform.event".into(), count, why }] }
}

/// Takes a slice and the message that was made of it.
type Taking<'t> = dyn FnMut(&Slice, &[u8]) -> Result<(), ExportError> + 't;

/// Makes the messages one by one.
fn each_message(source: &Source<'_>, seen: &mut Seen<'_>, take: &mut Taking<'_>) -> Result<(), ExportError> {
    let limits = Limits { events: 5_000, bytes: 4 << 20, files: None }.with_files();
    let mut thread = |id: Option<ConversationId>| {
        let mut before: Option<(String, String)> = None;
        for slice in Slices::new(source, id.clone(), source.zone(), limits)? {
            let slice = slice?;
            let message = message(source, &slice, before.as_ref())?;
            take(&slice, &message)?;
            slice.events.iter().try_for_each(&mut *seen)?;
            let this = message_id(&slice);
            before = Some((before.map_or_else(|| this.clone(), |(first, _)| first), this));
        }
        Ok(())
    };
    for id in source.conversations() {
        thread(Some(id?))?;
    }
    if source.has_loose() { thread(None) } else { Ok(()) }
}

fn message_id(slice: &Slice) -> String {
    format!("{}.{}@greffier.invalid", slice.room.key(), slice.label())
}

fn message(source: &Source<'_>, slice: &Slice, before: Option<&(String, String)>) -> Result<Vec<u8>, ExportError> {
    let text = plain::transcript(slice);
    let boundary = format!("=_greffier_{}", hex(&Sha256::digest(text.as_bytes())[..16]));
    let id = slice.room.conversation.as_ref().map(|conversation| &conversation.id);
    let mut html = Vec::new();
    let front = front_of(source, id)?;
    let mut events = slice.events.iter().cloned().map(Ok);
    page(source, &front, id.is_some(), &mut events, &mut html, &mut |_| Ok(()))?;
    let html = String::from_utf8_lossy(&html).into_owned();

    let sender =
        slice.events.iter().find_map(|event| event.content.actor.clone().filter(|_| event.kind == Kind::MessageSent));
    let sender = sender.unwrap_or_else(|| recorder(slice));
    let others = slice.acting.iter().filter(|person| person.id != sender.id);
    let to: Vec<(String, String)> = others.take(MOST_ADDRESSES).map(mailbox).collect();
    let mut message = MessageBuilder::new()
        .from(mailbox(&sender))
        .to(if to.is_empty() { vec![mailbox(&recorder(slice))] } else { to })
        .subject(subject(slice))
        .date(slice.first_at().millis().div_euclid(1000))
        .message_id(message_id(slice));
    if let Some((first, last)) = before {
        let chain = if first == last { vec![first.clone()] } else { vec![first.clone(), last.clone()] };
        message = message.in_reply_to(last.clone()).references(chain);
    }
    let mut header = |name: &'static str, value: String| {
        let held = std::mem::take(&mut message);
        message = held.header(name, Text::new(short(&one_line(&value), HEADER)));
    };
    header("X-Greffier-Program", PROGRAM.into());
    header("X-Greffier-Archive", source.reader().origin()?);
    header("X-Greffier-Conversation", slice.room.key().to_owned());
    header("X-Greffier-Day", format!("{} {}", slice.day.date, slice.zone.name()));
    header("X-Greffier-Part", format!("{} of {}", slice.part, slice.parts));
    header("X-Greffier-Events", slice.events.len().to_string());
    let seqs = slice.events.iter().map(|event| event.seq.0);
    if let (Some(low), Some(high)) = (seqs.clone().min(), seqs.max()) {
        header("X-Greffier-Log-Places", format!("{low} to {high}"));
    }
    if let Some(coverage) = &slice.room.coverage {
        header("X-Greffier-Record", coverage.to_string());
    }
    header("X-Greffier-Gaps", slice.room.gaps.len().to_string());
    header("Auto-Submitted", "auto-generated".into());
    let parts = vec![MimePart::new("text/plain", text), MimePart::new("text/html", html)];
    let alternative = ContentType::new("multipart/alternative").attribute("boundary", boundary.clone());
    let words = MimePart::new(alternative, parts);
    let mut files = Vec::new();
    for event in &slice.events {
        for (file, n) in event.content.files().iter().zip(1..) {
            files.extend(carried(event, file, n, source.shelf())?);
        }
    }
    let body = match files.is_empty() {
        true => words,
        false => {
            let mixed = ContentType::new("multipart/mixed").attribute("boundary", format!("{boundary}_m"));
            MimePart::new(mixed, std::iter::once(words).chain(files).collect::<Vec<_>>())
        }
    };
    message.body(body).write_to_vec().map_err(ExportError::output)
}

/// The n-th file of an event (from 1) as a part of a mail message; `None` if an export cannot have it.
///
/// # Errors
/// The file is there and cannot be read.
pub(super) fn carried(
    event: &Event,
    file: &FileOf<'_>,
    n: usize,
    shelf: &Shelf,
) -> Result<Option<MimePart<'static>>, ExportError> {
    let Some(bytes) = shelf.bytes(&file.attachment)? else { return Ok(None) };
    // What was told goes on only if it has the form of a media type; a header has no room for anything else.
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let told = file.attachment.media_type.as_deref().filter(|told| told.len() <= 100);
    let told = told.filter(|told| told.split_once('/').is_some_and(|(kind, of)| part(kind) && part(of)));
    // Parts of mail may not be encoded as others are, so what was mail itself is only bytes here.
    let told = told.filter(|told| !told.starts_with("message/") && !told.starts_with("multipart/"));
    let media_type = told.unwrap_or("application/octet-stream").to_owned();
    let name = plain::carried_name(event, n, &file.attachment);
    Ok(Some(MimePart::new(media_type, bytes).attachment(name)))
}
