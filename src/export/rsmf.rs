//! RSMF 2.0, the short message format of Relativity: a mail message per slice, with `rsmf.zip` as its one attachment.
//!
//! A slice is a day of one conversation ([`super::slice`]), at most 10,000 events. All slices of a conversation bear its
//! id as event collection id.

mod events;
mod manifest;

use std::io::{Cursor, Write};

use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::kept::Shelf;
use super::slice::people::{listed, mail_of, mailbox, short};
use super::slice::zone_of;
use super::slice::{Limits, Slice, called, each_slice, plain};
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written};
use crate::harmless::one_line;
use crate::integrity::hex;
use crate::model::Person;

use events::{CONVERSATION, Told, person_id, tell};
use manifest::{Conversation, Manifest, Participant, custom};

/// The format `rsmf`.
pub struct Rsmf;

/// Longest value of a header.
const HEADER: usize = 250;

/// A slice as an RSMF file; `custodian` is the address of the person it is produced for, if one is.
///
/// # Errors
/// The ZIP archive cannot be made, or a kept file not be read.
pub fn write_slice(
    slice: &Slice,
    custodian: Option<&str>,
    shelf: &Shelf,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let sizes = shelf.sizes(&slice.events)?;
    let told = tell(slice, &sizes);
    let body = plain::transcript(slice);
    let boundary = format!("greffier-{}", hex(&Sha256::digest(body.as_bytes())[..16]));
    let first = slice.first_at();
    let (count, files) = (told.events.len(), told.files.len());
    let mut everybody = told.people.list.clone();
    everybody.sort_by_cached_key(|person| slice.acting.iter().all(|acting| acting.id != person.id));
    let sender = slice.events.iter().find_map(|event| event.content.actor.clone());
    let custodian = custodian.and_then(|id| told.people.place(id));
    let who = custodian.map(|place| told.people.list[place].clone());
    let zip = zipped(told, slice, custodian, shelf)?;

    let mut message = MessageBuilder::new();
    let to: Vec<(String, String)> = everybody.iter().take(MOST_ADDRESSES).map(mailbox).collect();
    message = message.from(mailbox(&sender.unwrap_or_else(|| recorder(slice))));
    message = match to.is_empty() {
        true => message.to(mailbox(&recorder(slice))),
        false => message.to(to),
    };
    message = message.subject(subject(slice)).date(first.millis().div_euclid(1000)).message_id(format!(
        "{}.{}.rsmf@greffier.invalid",
        slice.room.key(),
        slice.label()
    ));
    let mut header = |name: &'static str, value: String| {
        let held = std::mem::take(&mut message);
        message = held.header(name, Text::new(short(&one_line(&value), HEADER)));
    };
    header("X-RSMF-Version", "2.0.0".into());
    header("X-RSMF-Generator", PROGRAM.into());
    header("X-RSMF-BeginDate", first.rfc3339());
    header("X-RSMF-EndDate", slice.last_at().rfc3339());
    header("X-RSMF-EventCount", count.to_string());
    header("X-RSMF-Application", platform(slice));
    if let Some(who) = &who {
        header("X-RSMF-Custodian", called(who).to_owned());
    }
    header("X-RSMF-Participants", listed(everybody.iter(), ", ", HEADER));
    header("X-RSMF-AttachmentCount", files.to_string());
    header("X-RSMF-EventCollectionID", slice.room.key().to_owned());
    header("X-RSMF-Day", slice.day.date.to_string());
    header("X-RSMF-Zone", slice.zone.name().to_owned());
    header("X-RSMF-Part", format!("part {} of {}", slice.part, slice.parts));
    header("X-RSMF-LogEventCount", slice.events.len().to_string());
    if let Some(coverage) = &slice.room.coverage {
        header("X-RSMF-Coverage", coverage.to_string());
    }
    let parts = vec![
        MimePart::new("text/plain", body),
        MimePart::new(ContentType::new("application/zip").attribute("name", "rsmf.zip"), zip).attachment("rsmf.zip"),
    ];
    let mixed = ContentType::new("multipart/mixed").attribute("boundary", boundary);
    message.body(MimePart::new(mixed, parts)).write_to(out).map_err(ExportError::output)
}

/// So many people are named in `To`; all are in the manifest.
const MOST_ADDRESSES: usize = 500;

/// Subject, day, platform and part, for a mail header.
pub fn subject(slice: &Slice) -> String {
    let title = short(&one_line(&slice.room.title()), 150);
    let part = if slice.parts > 1 { format!(" - part {} of {}", slice.part, slice.parts) } else { String::new() };
    format!("{title} - {} - {}{part}", slice.day.date, platform(slice))
}

/// The platform of a slice's events.
pub fn platform(slice: &Slice) -> String {
    let platform = slice.events.first().map_or("unknown", |event| event.platform.as_str());
    if platform.is_empty() { "unknown".into() } else { one_line(platform) }
}

/// The recorder as somebody who says what nobody said.
pub fn recorder(slice: &Slice) -> Person {
    let connector = slice.events.first().map_or("", |event| event.connector.as_str());
    Person { id: format!("recorder:{connector}"), name: Some(format!("Recorder ({})", one_line(connector))) }
}

fn zipped(told: Told<'_>, slice: &Slice, custodian: Option<usize>, shelf: &Shelf) -> Result<Vec<u8>, ExportError> {
    let (files, manifest) = manifest_of(told, slice, custodian);
    let error = |error: zip::result::ZipError| ExportError::output(std::io::Error::other(error));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(6))
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("rsmf_manifest.json", options).map_err(error)?;
    serde_json::to_writer(std::io::BufWriter::with_capacity(1 << 15, &mut zip), &manifest)
        .map_err(|error| ExportError::output(error.into()))?;
    for file in files {
        zip.start_file(file.name, options).map_err(error)?;
        match file.body {
            events::Body::Told(text) => zip.write_all(text.as_bytes()).map_err(ExportError::output)?,
            // Its size stands in the manifest already, so it must not have gone meanwhile.
            events::Body::Kept(sha256) => match shelf.copy(&sha256, &mut zip)? {
                true => {}
                false => {
                    return Err(ExportError::output(std::io::Error::other("an attachment went during the export")));
                }
            },
        }
    }
    Ok(zip.finish().map_err(error)?.into_inner())
}

fn manifest_of(told: Told<'_>, slice: &Slice, custodian: Option<usize>) -> (Vec<events::File>, Manifest) {
    let mut participants: Vec<Participant> =
        told.people.list.iter().enumerate().map(|(n, who)| participant(n, who)).collect();
    if told.recorder {
        let recorder = recorder(slice);
        participants.push(Participant {
            id: "R0".into(),
            display: recorder.name.unwrap_or_default(),
            email: None,
            account_id: None,
            custom: custom("Account kind", "recorder").into_iter().collect(),
        });
    }
    let everybody = slice.room.conversation.as_ref().map_or(0, |conversation| conversation.participants.len());
    // Two people who talk do not come and go; neither does anybody where nothing is told about presence.
    let direct = everybody <= 2 || slice.room.stays.is_empty();
    let present: Vec<String> = match direct {
        true => participants.iter().map(|participant| participant.id.clone()).collect(),
        false => (0..slice.roster.len()).map(person_id).collect(),
    };
    let custodian = custodian.map(person_id).filter(|id| present.contains(id));
    let mut events = told.events;
    if let Some(custodian) = &custodian {
        for event in events.iter_mut().filter(|event| matches!(event.kind, "message" | "history")) {
            let own = event.participant.as_ref() == Some(custodian);
            event.direction = Some(if own { "outgoing" } else { "incoming" });
        }
    }
    let mut facts = Vec::new();
    facts.extend(custom("Source conversation id", slice.room.key()));
    facts.extend(custom("Slice", format!("{} in the zone {}", slice.day.date, slice.zone)));
    facts.extend(custom("Part", format!("part {} of {}", slice.part, slice.parts)));
    if let Some(conversation) = &slice.room.conversation {
        facts.extend(custom("Connector", one_line(&conversation.connector)));
    }
    if let Some(coverage) = &slice.room.coverage {
        facts.extend(custom("Coverage of the whole conversation", one_line(&coverage.to_string())));
    }
    facts.extend(custom("Gaps in the whole conversation", slice.room.gaps.len().to_string()));
    let conversation = Conversation {
        id: CONVERSATION.into(),
        display: short(&one_line(&slice.room.title()), 200),
        platform: platform(slice),
        kind: if direct { "direct" } else { "channel" },
        participants: present,
        custodian,
        custom: facts,
    };
    let manifest = Manifest {
        version: "2.0.0",
        participants,
        conversations: vec![conversation],
        events,
        eventcollectionid: slice.room.key().to_owned(),
    };
    (told.files, manifest)
}

fn participant(place: usize, who: &Person) -> Participant {
    Participant {
        id: person_id(place),
        display: one_line(called(who)),
        email: mail_of(&who.id).map(str::to_owned),
        account_id: Some(one_line(&who.id)),
        custom: Vec::new(),
    }
}

impl Format for Rsmf {
    fn name(&self) -> &'static str {
        "rsmf"
    }

    fn extension(&self) -> &'static str {
        "rsmf"
    }

    fn media_type(&self) -> &'static str {
        "message/rfc822"
    }

    fn about(&self) -> &'static str {
        "RSMF 2.0 for review platforms: one file per conversation and day"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn carries_files(&self) -> bool {
        true
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        let mut left = unavailable(written);
        if written.html > 0 {
            let why = "the format has plain text only; `jsonl` has both forms";
            left.push(LeftOut { what: "HTML form of a message".into(), count: written.html, why: why.into() });
        }
        left
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let custodian = source.selection().participant.as_deref();
        each_slice(source, zone_of(source), Limits::default().with_files(), &mut |slice| {
            let name = format!("{0}/{0}.{1}.rsmf", slice.room.key(), slice.label());
            files.file(&name, &mut |out| write_slice(slice, custodian, source.shelf(), out))?;
            slice.events.iter().try_for_each(&mut *seen)
        })
    }
}

/// What every format of this kind leaves out: the bytes of files that the archive does not have.
pub fn unavailable(written: &Written) -> Vec<LeftOut> {
    let count = written.unkept;
    let why = "the archive has what was told about these files, not their bytes; a text with what was told stands in their place";
    if count == 0 { Vec::new() } else { vec![LeftOut { what: "attachment".into(), count, why: why.into() }] }
}
