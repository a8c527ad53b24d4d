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
use super::{ExportError, Seen, Source};
use crate::archive::Reader;
use crate::archive::reader::{Conversation, Order};
use crate::harmless::one_line;
use crate::model::{ConversationId, Event, Seq, Timestamp};

use draw::Imprint;
use layout::Typesetter;
use page::Pages;
use view::{Block, Changes, Story, clock, day, named, second, span, time};

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

    /// `_part_2_of_3`, or nothing if there is one part.
    fn suffix(&self, part: usize) -> String {
        match self.starts.len() {
            1 => String::new(),
            parts => format!(".part-{}-of-{parts}", part + 1),
        }
    }
}

/// Writes documents one after the other, with the same fonts.
pub struct Documents {
    pages: Pages,
}

/// Takes a finished file: its name and its bytes.
pub type Take<'a> = dyn FnMut(&str, &[u8]) -> Result<(), ExportError> + 'a;

impl Documents {
    /// Unpacks the fonts.
    ///
    /// # Errors
    /// [`PdfError::Font`].
    pub fn new() -> Result<Documents, PdfError> {
        Ok(Documents { pages: Pages::new(Typesetter::new()?) })
    }

    /// Characters that no font covered in what was written since the last call, and how many others there were.
    pub fn take_missing(&mut self) -> (BTreeMap<char, u64>, u64) {
        self.pages.setter.take_missing()
    }

    /// Writes what a selection holds of one conversation, in one file or several parts.
    ///
    /// # Errors
    /// [`ExportError::UnknownConversation`]; the archive cannot be read, the file not be made or not be taken.
    pub fn conversation(
        &mut self,
        source: &Source<'_>,
        id: &ConversationId,
        seen: &mut Seen<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), ExportError> {
        let reader = source.reader();
        let conversation =
            reader.conversation(id)?.ok_or_else(|| ExportError::UnknownConversation { id: id.clone() })?;
        let plan = Plan::of(&mut events_of(source, id))?;
        let subject =
            conversation.subject.as_deref().map_or_else(|| "Conversation without subject".to_owned(), one_line);
        let imprint = Imprint {
            title: format!("{subject} ({id})"),
            about: format!(
                "Transcript of {id}, {}, from the archive {}",
                one_line(&conversation.platform),
                reader.origin()?
            ),
            header: subject,
            id: id.to_string(),
            footer: String::new(),
            date: plan.date.unwrap_or(conversation.started_at),
            identity: format!("{id}/{}", plan.span.map_or(0, |(_, high)| high.0)),
        };
        let first = |pages: &mut Pages| title(pages, source, &conversation);
        self.parts(id.as_str(), &plan, imprint, &mut events_of(source, id), &first, seen, take)
    }

    /// Writes the events that belong to no conversation, if there are any.
    ///
    /// # Errors
    /// The archive cannot be read, the file not be made or not be taken.
    pub fn others(&mut self, source: &Source<'_>, seen: &mut Seen<'_>, take: &mut Take<'_>) -> Result<(), ExportError> {
        let events =
            || source.events().filter(|event| event.as_ref().map_or(true, |event| event.conversation.is_none()));
        let plan = Plan::of(&mut events())?;
        let Some((_, newest)) = plan.span else { return Ok(()) };
        let origin = source.reader().origin()?;
        let imprint = Imprint {
            title: "Events of no conversation".into(),
            about: format!("Events of no conversation, from the archive {origin}"),
            header: "Events of no conversation".into(),
            id: origin.clone(),
            footer: String::new(),
            date: plan.date.unwrap_or_default(),
            identity: format!("{origin}/{newest}"),
        };
        let first = |pages: &mut Pages| {
            pages.title("RECORD", "Events of no conversation", &format!("Archive {origin}. Times are UTC."));
            Ok(())
        };
        self.parts("no-conversation", &plan, imprint, &mut events(), &first, seen, take)
    }

    #[allow(clippy::too_many_arguments, reason = "one call each, and a struct would only name them again")]
    fn parts(
        &mut self,
        name: &str,
        plan: &Plan,
        imprint: Imprint,
        events: &mut dyn Iterator<Item = Result<Event, ExportError>>,
        first: &dyn Fn(&mut Pages) -> Result<(), ExportError>,
        seen: &mut Seen<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), ExportError> {
        let parts = plan.starts.len();
        let (mut story, mut part, mut blocks) = (Story::default(), 0, 0);
        self.pages.clear();
        if parts > 1 {
            let above = format!("This is part 1 of {parts}; the others follow on from it.");
            first(&mut self.pages)?;
            self.pages.note(&above);
        } else {
            first(&mut self.pages)?;
        }
        for event in events {
            let event = event?;
            let mut failed = None;
            let today = story.today().map(str::to_owned);
            let pages = &mut self.pages;
            story.tell(&event, &plan.changes, &mut |block| {
                if failed.is_some() {
                    return;
                }
                if plan.starts.get(part + 1) == Some(&blocks) {
                    failed = write_part(pages, plan, part, name, &imprint, take).err();
                    part += 1;
                    let title = format!("{} – part {} of {parts}", imprint.header, part + 1);
                    pages.clear();
                    pages.title("TRANSCRIPT, CONTINUED", &title, "The title page is in part 1. Times are UTC.");
                    if let (Some(today), false) = (&today, matches!(block, Block::Day(_))) {
                        pages.heading(&format!("{today} (continued)"));
                    }
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
        write_part(&mut self.pages, plan, part, name, &imprint, take)
    }
}

fn write_part(
    pages: &mut Pages,
    plan: &Plan,
    part: usize,
    name: &str,
    imprint: &Imprint,
    take: &mut Take<'_>,
) -> Result<(), ExportError> {
    let mut imprint = imprint.clone();
    let parts = plan.starts.len();
    if parts > 1 {
        imprint.title = format!("{}, part {} of {parts}", imprint.title, part + 1);
        imprint.id = format!("{}  ·  part {} of {parts}", imprint.id, part + 1);
        imprint.identity = format!("{}/{}", imprint.identity, part + 1);
    }
    let log = plan.span.map_or_else(String::new, |(low, high)| format!("Events {low} to {high} of the log.  "));
    imprint.footer = format!("{log}Times are UTC. The number before a time is the event's place in the log.");
    let bytes = draw::draw(pages, &imprint)?;
    take(&format!("{name}{}.pdf", plan.suffix(part)), &bytes)
}

/// The events of one conversation that a selection holds, in order of time.
fn events_of<'s>(
    source: &'s Source<'_>,
    id: &ConversationId,
) -> impl Iterator<Item = Result<Event, ExportError>> + use<'s> {
    let (selection, size) = (source.selection(), source.size());
    let inside = move |event: &Event| {
        let at = time(event);
        event.seq.0 <= size
            && selection.since.is_none_or(|since| at >= since)
            && selection.until.is_none_or(|until| at < until)
    };
    let events = source.reader().transcript(id, Order::Time).map(|event| event.map_err(ExportError::from));
    events.filter(move |event| event.as_ref().map_or(true, inside))
}

/// The title block: what this is, who was there, and how complete it is.
fn title(pages: &mut Pages, source: &Source<'_>, conversation: &Conversation) -> Result<(), ExportError> {
    let (reader, selection, id) = (source.reader(), source.selection(), &conversation.id);
    let subject = conversation.subject.as_deref().map_or_else(|| "Conversation without subject".to_owned(), one_line);
    pages.title("TRANSCRIPT OF A RECORDED CONVERSATION", &subject, id.as_str());
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
