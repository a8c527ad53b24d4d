//! Transcripts as documents: A4 pages that can be printed, signed, filed and read in fifty years (PDF/A-2a).
//!
//! One conversation is one document, or several parts if it is long: what is laid out at once is bounded, and so is a
//! file that a person has to open. The pages hold what the archive holds: who was there, how complete the record is,
//! every message with its place in the log, every version, every deletion, every gap. What cannot be drawn is shown by
//! its number and reported. The bytes depend on the log alone: fonts are our own, and no clock is asked.
//!
//! ```text
//! events ─ view (blocks of words) ─ layout (lines of glyphs) ─ page (rows at their place) ─ draw (a file)
//! ```

mod draw;
mod fonts;
mod layout;
mod page;
mod view;

use std::collections::BTreeMap;

use super::manifest::Trust;
use super::text::platform_events;
use super::{Container, ExportError, Files, Format, LeftOut, Seen, Source, Written};
use crate::archive::Reader;
use crate::archive::reader::Conversation;
use crate::harmless::one_line;
use crate::model::{ConversationId, Event, Seq, Timestamp};

use draw::Imprint;
use layout::Typesetter;
use page::Pages;
use view::{Block, Changes, Story, clock, day, named, second, span};

/// The format `pdf`.
pub struct Pdf;

impl Format for Pdf {
    fn name(&self) -> &'static str {
        "pdf"
    }

    fn extension(&self) -> &'static str {
        "pdf"
    }

    fn media_type(&self) -> &'static str {
        "application/pdf"
    }

    fn about(&self) -> &'static str {
        "printable transcripts for keeping (PDF/A-2a), one for each conversation, times in UTC"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        platform_events(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let mut documents = Documents::new()?;
        for id in source.conversations() {
            documents.conversation(source, &id?, files, seen)?;
        }
        documents.loose(source, files, seen)?;
        if let Some(left_out) = documents.missing.left_out() {
            files.left_out(left_out);
        }
        Ok(())
    }
}

/// Why a document cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdfError {
    /// A shipped font cannot be used.
    #[error("a font of this program is broken: {problem}")]
    Font {
        /// What is wrong.
        problem: String,
    },
    /// The file would break the rules of its own form.
    #[error("the document would not be valid PDF/A: {problem}")]
    Refused {
        /// The rules.
        problem: String,
    },
}

/// Events of one part, at most.
const PART_EVENTS: usize = 2000;
/// Lines of one part, about: 300 pages.
const PART_LINES: usize = 300 * 50;

/// Where a part begins: the number of its first block, counted over the conversation.
type Start = u64;

/// What a first walk over the events finds out.
#[derive(Default)]
struct Plan {
    changes: Changes,
    starts: Vec<Start>,
    /// Lowest and highest seq.
    span: Option<(Seq, Seq)>,
    /// When the newest event was recorded.
    date: Option<Timestamp>,
}

impl Plan {
    fn of(events: &mut dyn Iterator<Item = Result<Event, ExportError>>) -> Result<Plan, ExportError> {
        let mut plan = Plan { starts: vec![0], ..Plan::default() };
        let none = Changes::default();
        let mut story = Story::default();
        let (mut blocks, mut inside, mut lines) = (0, 0, 0);
        for event in events {
            let event = event?;
            plan.changes.note(&event);
            let (low, high) = plan.span.unwrap_or((event.seq, event.seq));
            plan.span = Some((low.min(event.seq), high.max(event.seq)));
            plan.date = plan.date.max(Some(event.recorded_at));
            story.tell(&event, &none, &mut |block| {
                let more = block.lines();
                if inside > 0 && (inside >= PART_EVENTS || lines + more > PART_LINES) {
                    plan.starts.push(blocks);
                    (inside, lines) = (0, 0);
                }
                blocks += 1;
                inside += 1;
                lines += more;
            });
        }
        Ok(plan)
    }

    /// `.part-2-of-3`, or nothing if there is one part.
    fn suffix(&self, part: usize) -> String {
        match self.starts.len() {
            1 => String::new(),
            parts => format!(".part-{}-of-{parts}", part + 1),
        }
    }
}

/// Characters that no font has, with how often each came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Missing {
    each: BTreeMap<char, u64>,
    others: u64,
}

impl Missing {
    fn add(&mut self, more: &Missing) {
        for (c, count) in &more.each {
            if self.each.len() < layout::REMEMBERED || self.each.contains_key(c) {
                *self.each.entry(*c).or_default() += count;
            } else {
                self.others += count;
            }
        }
        self.others += more.others;
    }

    fn count(&self) -> u64 {
        self.each.values().sum::<u64>() + self.others
    }

    /// `U+E000 (3 times), U+12000`.
    fn named(&self) -> String {
        const NAMED: usize = 40;
        let mut named: Vec<String> = self
            .each
            .iter()
            .take(NAMED)
            .map(|(c, count)| match count {
                1 => format!("U+{:04X}", u32::from(*c)),
                count => format!("U+{:04X} ({count} times)", u32::from(*c)),
            })
            .collect();
        if self.others > 0 || self.each.len() > NAMED {
            named.push("and others".into());
        }
        named.join(", ")
    }

    fn left_out(&self) -> Option<LeftOut> {
        let why = format!(
            "no font of this program has these characters; the pages show their numbers instead: {}; the format jsonl has them",
            self.named()
        );
        (self.count() > 0).then(|| LeftOut { what: "character".into(), count: self.count(), why })
    }
}

/// Writes documents one after the other, with the same fonts.
struct Documents {
    pages: Pages,
    missing: Missing,
}

/// What the parts of one document have in common.
struct Draft<'d> {
    /// Of the file, without extension.
    name: &'d str,
    plan: &'d Plan,
    imprint: Imprint,
}

impl Documents {
    /// Unpacks the fonts.
    fn new() -> Result<Documents, PdfError> {
        Ok(Documents { pages: Pages::new(Typesetter::new()?), missing: Missing::default() })
    }

    /// Writes what a selection holds of one conversation, in one file or several parts.
    fn conversation(
        &mut self,
        source: &Source<'_>,
        id: &ConversationId,
        files: &mut dyn Files,
        seen: &mut Seen<'_>,
    ) -> Result<(), ExportError> {
        let reader = source.reader();
        let unknown = || ExportError::UnknownConversation { id: id.clone() };
        let conversation = reader.conversation(id)?.ok_or_else(unknown)?;
        let plan = Plan::of(&mut source.transcript(id))?;
        // A part of a conversation that nothing happened in is no transcript.
        if plan.span.is_none() && !source.is_whole() {
            return Ok(());
        }
        let subject = subject(&conversation);
        let about = format!("Transcript of {id}, {}, archive {}", one_line(&conversation.platform), reader.origin()?);
        let imprint = Imprint {
            title: format!("{subject} ({id})"),
            about,
            header: subject,
            id: id.to_string(),
            footer: String::new(),
            date: plan.date.unwrap_or(conversation.started_at),
            identity: format!("{id}/{}", plan.span.map_or(0, |(_, high)| high.0)),
        };
        self.pages.clear();
        title(&mut self.pages, source, &conversation)?;
        self.parts(&Draft { name: id.as_str(), plan: &plan, imprint }, &mut source.transcript(id), files, seen)
    }

    /// Writes the events that belong to no conversation, if there are any.
    fn loose(&mut self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let plan = Plan::of(&mut source.loose())?;
        let Some((_, newest)) = plan.span else { return Ok(()) };
        let origin = source.reader().origin()?;
        let header = "Events of no conversation".to_owned();
        let imprint = Imprint {
            title: header.clone(),
            about: format!("Events of no conversation, archive {origin}"),
            header,
            id: origin.clone(),
            footer: String::new(),
            date: plan.date.unwrap_or_default(),
            identity: format!("{origin}/{newest}"),
        };
        self.pages.clear();
        self.pages.title("RECORD", "Events of no conversation", &format!("Archive {origin}"));
        self.parts(&Draft { name: "no-conversation", plan: &plan, imprint }, &mut source.loose(), files, seen)
    }

    /// Writes the parts of a document; its title block stands on the first page already.
    fn parts(
        &mut self,
        draft: &Draft<'_>,
        events: &mut dyn Iterator<Item = Result<Event, ExportError>>,
        files: &mut dyn Files,
        seen: &mut Seen<'_>,
    ) -> Result<(), ExportError> {
        let parts = draft.plan.starts.len();
        let (mut story, mut part, mut blocks) = (Story::default(), 0, 0);
        if parts > 1 {
            self.pages.note(&format!("This is part 1 of {parts}; the others go on from it."));
        }
        for event in events {
            let event = event?;
            let today = story.today().map(str::to_owned);
            let pages = &mut self.pages;
            let mut failed = None;
            story.tell(&event, &draft.plan.changes, &mut |block| {
                if failed.is_some() {
                    return;
                }
                if draft.plan.starts.get(part + 1) == Some(&blocks) {
                    failed = draft.write(part, pages, files).err();
                    part += 1;
                    pages.clear();
                    let title = format!("{} – part {} of {parts}", draft.imprint.header, part + 1);
                    pages.title("TRANSCRIPT, CONTINUED", &title, "People, coverage and gaps stand in part 1.");
                    if let (Some(today), false) = (&today, matches!(block, Block::Day(_))) {
                        pages.heading(&format!("{today} (continued)"));
                    }
                    pages.begin_here();
                }
                pages.block(&block);
                blocks += 1;
            });
            match failed {
                Some(error) => return Err(error),
                None => seen(&event)?,
            }
        }
        match story.unread {
            0 => {}
            1 => self.pages.note("Not shown: 1 platform.event (typing or a protocol detail); the JSON forms have it."),
            n => self.pages.note(&format!(
                "Not shown: {n} platform.events (typing, protocol details); the JSON forms have them all."
            )),
        }
        let missing = self.pages.setter.take_missing();
        if missing.count() > 0 {
            let named = missing.named();
            self.pages.note(&format!("Shown by number, since no font of this program has the character: {named}."));
            self.missing.add(&missing);
        }
        draft.write(part, &mut self.pages, files)
    }
}

impl Draft<'_> {
    fn write(&self, part: usize, pages: &mut Pages, files: &mut dyn Files) -> Result<(), ExportError> {
        let mut imprint = self.imprint.clone();
        let parts = self.plan.starts.len();
        if parts > 1 {
            imprint.title = format!("{}, part {} of {parts}", imprint.title, part + 1);
            imprint.id = format!("{}  ·  part {} of {parts}", imprint.id, part + 1);
            imprint.identity = format!("{}/{}", imprint.identity, part + 1);
        }
        let log = match self.plan.span {
            Some((low, high)) => format!("Events between {low} and {high} of the log.  "),
            None => String::new(),
        };
        imprint.footer = format!("{log}Times are UTC. The number before a time is the event's place in the log.");
        let bytes = draw::draw(pages, &imprint)?;
        let name = format!("{}{}.pdf", self.name, self.plan.suffix(part));
        files.file(&name, &mut |out| out.write_all(&bytes).map_err(ExportError::output))
    }
}

fn subject(conversation: &Conversation) -> String {
    conversation.subject.as_deref().map_or_else(|| "Conversation without subject".to_owned(), one_line)
}

/// The title block: what this is, who was there, and how complete it is.
fn title(pages: &mut Pages, source: &Source<'_>, conversation: &Conversation) -> Result<(), ExportError> {
    let (reader, selection, id) = (source.reader(), source.selection(), &conversation.id);
    pages.title("TRANSCRIPT OF A RECORDED CONVERSATION", &subject(conversation), id.as_str());
    let ended = conversation.ended_at.map_or_else(|| "goes on".to_owned(), |at| format!("{} UTC", second(at)));
    pages.fact("Began", &format!("{} UTC ({})", second(conversation.started_at), weekday(conversation.started_at)));
    pages.fact("Ended", &ended);
    pages.fact("Platform", &one_line(&conversation.platform));
    pages.fact("Recorded by", &format!("connector {}", one_line(&conversation.connector)));
    pages.fact("Messages", &conversation.messages.to_string());
    if let Some(since) = selection.since {
        pages.fact("From", &format!("{} UTC (earlier events are left out)", second(since)));
    }
    if let Some(until) = selection.until {
        pages.fact("Until", &format!("{} UTC (later events are left out)", second(until)));
    }
    if let Some(search) = &selection.search {
        let around = format!("what this search found, and {} messages around: ", search.context);
        pages.fact("Only", &format!("{around}{}", one_line(&search.query)));
    }
    pages.fact("Archive", &reader.origin()?);
    checkpoint(pages, reader)?;
    if let Some(coverage) = reader.coverage_of(id)? {
        // A cause may hold words of the platform.
        let told = format!("Record {}.", one_line(&coverage.to_string()));
        pages.coverage(&told, coverage.is_complete());
    }
    let gaps = reader.gaps_of(id)?;
    if !gaps.is_empty() {
        pages.heading("Gaps");
        for (seq, gap) in &gaps {
            pages.fact(&format!("[{seq}]"), &format!("{}: {}", span(gap), one_line(&gap.cause)));
        }
    }
    pages.heading("People");
    let stays = reader.attendance_of(id)?;
    for person in &conversation.participants {
        let there = stays.iter().filter(|stay| stay.person.id == person.id).map(|stay| {
            let left = match stay.left_at {
                Some(left) if day(left) == day(stay.joined_at) => clock(left),
                Some(left) => second(left),
                None => "still there".to_owned(),
            };
            format!("{} to {left}", second(stay.joined_at))
        });
        let there: Vec<String> = there.collect();
        let there = if there.is_empty() { "no attendance told".to_owned() } else { there.join("\n") };
        let (who, address) = named(person);
        pages.person(&who, &address, &there);
    }
    if conversation.participants.is_empty() {
        pages.note("None told.");
    }
    Ok(())
}

/// The newest signed state of the log: what the events can be proven against.
fn checkpoint(pages: &mut Pages, reader: &Reader) -> Result<(), ExportError> {
    match reader.latest_checkpoint()? {
        Some(checkpoint) => {
            let size = Trust::of(reader)?.size();
            pages.fact("Checkpoint", &format!("the log of {size} events, signed {} UTC:", second(checkpoint.at)));
            pages.detail(&one_line_each(&checkpoint.text));
        }
        None => pages.fact("Checkpoint", "none yet"),
    }
    Ok(())
}

fn one_line_each(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).map(one_line).collect::<Vec<_>>().join("\n")
}

fn weekday(at: Timestamp) -> String {
    at.to_chrono().format("%A").to_string()
}

#[cfg(test)]
mod tests;
