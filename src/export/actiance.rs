//! Actiance (Smarsh, "Vantage") XML: one `Conversation` per room and day, for archives of communications.
//!
//! People come and go as entries and leaves, and the two balance: whoever is there at the start of a day enters with it,
//! whoever is there at its end leaves with it. What the format has no element for is said by the recorder, as a bot. The
//! transfer of a file that the archive does not have is told as failed, and `warning.txt` lists it.

use std::borrow::Cow;
use std::io::Write;

use super::kept::{self, Shelf};
use super::rsmf::recorder;
use super::slice::people::{mail_of, short};
use super::slice::versions::{Update, Version, Versions};
use super::slice::{Limits, Slice, called, each_slice, joins, time_of, zone_of};
use super::text::line::Lines;
use super::xml::Xml;
use super::{Container, ExportError, Files, Format, LeftOut, Seen, Source, Written};
use crate::harmless::one_line;
use crate::model::{Event, Kind, Person, Timestamp};

/// The format `actiance`.
pub struct Actiance;

/// So many lines of a kind stand in `warning.txt`; after that only their number.
const MOST_WARNINGS: usize = 1000;

impl Format for Actiance {
    fn name(&self) -> &'static str {
        "actiance"
    }

    fn extension(&self) -> &'static str {
        "xml"
    }

    fn media_type(&self) -> &'static str {
        "application/xml; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "Actiance (Smarsh) XML for archives: one conversation element per room and day"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        let mut left = Vec::new();
        let mut put = |what: &str, count: u64, why: &str| {
            if count > 0 {
                left.push(LeftOut { what: what.into(), count, why: why.into() });
            }
        };
        put(
            "attachment",
            written.unkept,
            "the archive has what was told about these files, not their bytes; told as failed transfers",
        );
        put(
            "platform.event",
            written.of_kind(Kind::PlatformEvent),
            "protocol details without a place in this format; `jsonl` has them",
        );
        put("HTML form of a message", written.html, "the format has plain text only; `jsonl` has both forms");
        put("link of a reply", written.replies, "the format has no threads; `rsmf` and `jsonl` have them");
        left
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let mut warnings = Warnings::default();
        files.file("actiance_export.xml", &mut |out| {
            let mut xml = Xml::new(out)?;
            xml.open("FileDump", &[("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")])?;
            let mut room: Option<Room> = None;
            each_slice(source, zone_of(source), Limits::default(), &mut |slice| {
                let mut open = match room.take() {
                    Some(open) => open,
                    None => Room::open(slice, &mut xml, &mut warnings)?,
                };
                open.take(slice, source.shelf(), &mut xml, &mut warnings)?;
                match slice.part == slice.parts {
                    true => open.close(&mut xml)?,
                    false => room = Some(open),
                }
                slice.events.iter().try_for_each(&mut *seen)
            })?;
            xml.close("FileDump")?;
            warnings.replaced = xml.finish()?;
            Ok(())
        })?;
        match warnings.is_empty() {
            true => Ok(()),
            false => files.file("warning.txt", &mut |out| warnings.write(out)),
        }
    }
}

/// A day of a conversation whose element is open.
struct Room {
    start: Timestamp,
    end: Timestamp,
    /// Who enters, when, and leaves, when; `None` = with the end.
    entries: Vec<(Person, Timestamp, Option<Timestamp>)>,
    bot: Person,
    lines: Lines,
}

fn epoch(at: Timestamp) -> String {
    at.millis().max(0).to_string()
}

fn login(person: &Person) -> String {
    mail_of(&person.id).map_or_else(|| one_line(&person.id), str::to_owned)
}

impl Room {
    fn open(slice: &Slice, xml: &mut Xml<'_>, warnings: &mut Warnings) -> Result<Room, ExportError> {
        let start = slice.first_at();
        let bot = recorder(slice);
        let mut entries = vec![(bot.clone(), start, None)];
        for stay in &slice.room.stays {
            let over = stay.left_at.is_some_and(|left| left < start);
            if stay.joined_at < slice.day.to && !over {
                let left = stay.left_at.filter(|left| *left < slice.day.to);
                entries.push((stay.person.clone(), stay.joined_at.max(start), left));
            }
        }
        for person in slice.acting.iter() {
            if entries.iter().all(|(known, ..)| known.id != person.id) {
                entries.push((person.clone(), start, None));
            }
        }
        entries.sort_by_key(|(_, at, _)| *at);
        let title = slice.room.title();
        xml.open("Conversation", &[("Perspective", &short(&title, 200))])?;
        xml.leaf("RoomID", &format!("conversation - {}", slice.room.key()))?;
        xml.leaf("StartTimeUTC", &epoch(start))?;
        let room = Room { start, end: slice.last_at(), entries, bot, lines: Lines::default() };
        for (person, at, _) in &room.entries {
            room.presence("ParticipantEntered", person, *at, xml)?;
        }
        room.introduce(slice, xml)?;
        if let Some(coverage) = slice.room.coverage.as_ref().filter(|coverage| !coverage.is_complete()) {
            warnings.incomplete.add(|| format!("{}: {}", slice.room.key(), one_line(&coverage.to_string())));
        }
        Ok(room)
    }

    fn presence(&self, element: &str, person: &Person, at: Timestamp, xml: &mut Xml<'_>) -> Result<(), ExportError> {
        xml.open(element, &[])?;
        xml.leaf("LoginName", &login(person))?;
        xml.leaf("UserType", self.user_type(person))?;
        xml.leaf("DateTimeUTC", &epoch(at))?;
        if let Some(address) = mail_of(&person.id) {
            xml.leaf("CorporateEmailID", address)?;
        }
        xml.close(element)
    }

    fn user_type(&self, person: &Person) -> &'static str {
        if person.id == self.bot.id { "bot" } else { "user" }
    }

    /// What the recorder says first: how complete the record is, and the names of people, for whom the format has
    /// addresses only.
    fn introduce(&self, slice: &Slice, xml: &mut Xml<'_>) -> Result<(), ExportError> {
        let mut text = format!("Day: {} in the zone {}\n", slice.day.date, slice.zone);
        if let Some(coverage) = &slice.room.coverage {
            text.push_str(&format!("Record of the whole conversation: {}\n", one_line(&coverage.to_string())));
        }
        let others = self.entries.iter().filter(|(person, ..)| person.id != self.bot.id);
        let names: Vec<String> =
            others.map(|(person, ..)| one_line(&format!("{} <{}>", called(person), person.id))).collect();
        text.push_str(&format!(
            "Taking part: {}",
            if names.is_empty() { "nobody told".into() } else { names.join(", ") }
        ));
        let id = format!("{}.{}", slice.room.key(), slice.day.date);
        self.note(id, self.start, &text, xml)
    }

    fn take(
        &mut self,
        slice: &Slice,
        shelf: &Shelf,
        xml: &mut Xml<'_>,
        warnings: &mut Warnings,
    ) -> Result<(), ExportError> {
        self.end = self.end.max(slice.last_at());
        let mut versions = Versions::of(slice);
        for (index, event) in slice.events.iter().enumerate() {
            match event.kind {
                Kind::MessageSent | Kind::MessageEdited | Kind::MessageDeleted => {
                    for version in versions.told_by(index) {
                        self.version(&version, xml)?;
                    }
                    self.files(event, shelf, xml, warnings)?;
                }
                Kind::ParticipantJoined if joins(event).is_some() => {}
                Kind::ParticipantLeft | Kind::PlatformEvent => {}
                _ => {
                    let said = match (event.kind, &event.content.gap) {
                        (Kind::CaptureGap, Some(gap)) => format!(
                            "GAP from {} to {}: {}. Something may be missing here.",
                            gap.from,
                            gap.to,
                            one_line(&gap.cause)
                        ),
                        _ => self.lines.said(event),
                    };
                    let said = said.strip_prefix("- ").unwrap_or(&said);
                    let (id, at) = (format!("event-{}", event.seq), time_of(event));
                    self.note(id, at, said, xml)?;
                }
            }
        }
        Ok(())
    }

    /// The recorder says something.
    fn note(&self, id: String, at: Timestamp, text: &str, xml: &mut Xml<'_>) -> Result<(), ExportError> {
        message(xml, &Said { id, by: &self.bot, user_type: "bot", at, update: None, newer: None, text })
    }

    fn version(&self, version: &Version<'_>, xml: &mut Xml<'_>) -> Result<(), ExportError> {
        let by = version.by.unwrap_or(&self.bot);
        let deleted = version.update.is_some_and(|(update, _)| update == Update::Deleted);
        let text = if deleted { Cow::Owned(format!("delete {}", version.text)) } else { Cow::Borrowed(version.text) };
        let said = Said {
            id: one_line(&version.id),
            by,
            user_type: self.user_type(by),
            at: version.at,
            update: version.update,
            newer: version.newer.as_deref().map(one_line),
            text: &text,
        };
        message(xml, &said)
    }

    fn files(
        &self,
        event: &Event,
        shelf: &Shelf,
        xml: &mut Xml<'_>,
        warnings: &mut Warnings,
    ) -> Result<(), ExportError> {
        let by = event.content.actor.as_ref().unwrap_or(&self.bot);
        for (n, file) in event.content.files().iter().enumerate() {
            let attachment = &file.attachment;
            let user_name = one_line(attachment.name.as_deref().unwrap_or("file without name"));
            let kept = match &attachment.sha256 {
                Some(sha256) => shelf.size(sha256)?.map(|_| format!("{}/{sha256}", kept::FOLDER)),
                None => None,
            };
            let (name, status) = match kept {
                Some(name) => (name, "Completed"),
                None => (format!("files/{}-{}", event.seq, n + 1), "Failed"),
            };
            for element in ["FileTransferStarted", "FileTransferEnded"] {
                xml.open(element, &[])?;
                xml.leaf("LoginName", &login(by))?;
                xml.leaf("DateTimeUTC", &epoch(time_of(event)))?;
                xml.leaf("UserFileName", &user_name)?;
                xml.leaf("FileName", &name)?;
                if element == "FileTransferEnded" {
                    xml.leaf("Status", status)?;
                }
                xml.close(element)?;
            }
            if status == "Failed" {
                warnings.files.add(|| format!("{name}: {}", one_line(&super::slice::plain::attached(file))));
            }
        }
        Ok(())
    }

    fn close(self, xml: &mut Xml<'_>) -> Result<(), ExportError> {
        let entered = self.entries.iter().map(|(_, at, _)| *at).max();
        let end = self.end.max(entered.unwrap_or(self.end));
        let mut leaves: Vec<(&Person, Timestamp)> =
            self.entries.iter().map(|(person, at, left)| (person, left.unwrap_or(end).max(*at))).collect();
        leaves.sort_by_key(|(_, at)| *at);
        let end = leaves.last().map_or(end, |(_, at)| end.max(*at));
        for (person, at) in leaves {
            self.presence("ParticipantLeft", person, at, xml)?;
        }
        xml.leaf("EndTimeUTC", &epoch(end))?;
        xml.close("Conversation")
    }
}

/// One `Message`.
struct Said<'s> {
    id: String,
    by: &'s Person,
    user_type: &'s str,
    at: Timestamp,
    update: Option<(Update, Timestamp)>,
    /// Where an old version leads.
    newer: Option<String>,
    text: &'s str,
}

fn message(xml: &mut Xml<'_>, said: &Said<'_>) -> Result<(), ExportError> {
    xml.open("Message", &[])?;
    xml.leaf("MessageId", &said.id)?;
    xml.leaf("LoginName", &login(said.by))?;
    xml.leaf("UserType", said.user_type)?;
    xml.leaf("DateTimeUTC", &epoch(said.at))?;
    if let Some((update, at)) = said.update {
        xml.leaf("UpdatedType", update.as_str())?;
        xml.leaf("UpdatedDateTimeUTC", &epoch(at))?;
    }
    if let Some(newer) = &said.newer {
        xml.leaf("EditedNewMsgId", newer)?;
    }
    xml.leaf("Content", said.text)?;
    xml.close("Message")
}

/// What a recipient has to know is missing.
#[derive(Default)]
struct Warnings {
    files: Few,
    incomplete: Few,
    replaced: u64,
}

/// The first of many lines, and how many they are.
#[derive(Default)]
struct Few {
    lines: Vec<String>,
    count: usize,
    last: Option<String>,
}

impl Few {
    /// Adds a line, unless it is the same as the last.
    fn add(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        if self.last.as_ref() == Some(&line) {
            return;
        }
        self.count += 1;
        if self.lines.len() < MOST_WARNINGS {
            self.lines.push(line.clone());
        }
        self.last = Some(line);
    }

    fn write(&self, what: &str, out: &mut dyn Write) -> std::io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(out, "{what}: {}", self.count)?;
        self.lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        match self.count - self.lines.len() {
            0 => writeln!(out),
            more => writeln!(out, "  and {more} more\n"),
        }
    }
}

impl Warnings {
    fn is_empty(&self) -> bool {
        self.files.count == 0 && self.incomplete.count == 0 && self.replaced == 0
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        let mut write = || -> std::io::Result<()> {
            self.files.write("Files that are not in the archive", out)?;
            self.incomplete.write("Conversations whose record is incomplete", out)?;
            if self.replaced > 0 {
                writeln!(out, "Characters that XML cannot hold, told by number instead: {}", self.replaced)?;
            }
            Ok(())
        };
        write().map_err(ExportError::output)
    }
}
