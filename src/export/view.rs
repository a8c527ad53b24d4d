//! A conversation as people read it, ready for a page: messages with what became of them, quiet lines, gaps.
//!
//! Every text in here is harmless ([`crate::harmless`]) and plain: a format escapes it for its own markup.

use chrono::Offset;
use chrono_tz::Tz;

use super::text::line::{Lines, attached};
use super::{ExportError, Seen, Source};
use crate::archive::reader::{Attendance, Conversation};
use crate::capture::coverage::Statement;
use crate::harmless::{lines, name, one_line};
use crate::model::{ConversationId, Event, Gap, Kind, Message, Seq, Timestamp};

/// Events that are looked at together.
const PAGE: usize = 200;

/// A point of time in the zone of the export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// `2026-11-21T10:30:00.123+01:00`.
    pub(super) iso: String,
    /// `10:30:00`.
    pub(super) clock: String,
    /// `2026-11-21 10:30:00 +01:00`.
    pub(super) full: String,
    /// `Saturday 21 November 2026, UTC+01:00`.
    pub(super) day: String,
}

impl Moment {
    pub(super) fn of(at: Timestamp, zone: Tz) -> Moment {
        let local = at.to_chrono().with_timezone(&zone);
        let offset = match local.offset().fix().local_minus_utc() {
            0 => "UTC".to_owned(),
            _ => format!("UTC{}", local.format("%:z")),
        };
        Moment {
            iso: local.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            clock: local.format("%H:%M:%S").to_string(),
            full: local.format("%Y-%m-%d %H:%M:%S %:z").to_string(),
            day: format!("{}, {offset}", local.format("%A %-d %B %Y")),
        }
    }
}

/// What is known of a conversation, before its events.
pub(super) struct Front {
    pub(super) title: String,
    /// Label and value.
    pub(super) facts: Vec<(&'static str, String)>,
    /// How complete the record is, and whether it is.
    pub(super) record: (String, bool),
    pub(super) people: Vec<Presence>,
    pub(super) gaps: Vec<GapView>,
}

/// Somebody and the stays.
pub(super) struct Presence {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) stays: Vec<(Moment, Option<Moment>)>,
}

/// A span in which something may be missing.
pub(super) struct GapView {
    pub(super) seq: Seq,
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) cause: String,
}

/// One thing to show.
pub(super) enum Item {
    /// A day, or another distance from UTC, begins.
    Day(String),
    /// Somebody says something, or says it anew.
    Said(Box<Said>),
    /// Something happens.
    Quiet(Quiet),
    /// Something may be missing.
    Gap(GapView),
}

/// A message or a version of one.
pub(super) struct Said {
    pub(super) seq: Seq,
    pub(super) at: Moment,
    pub(super) who: String,
    /// What is special about it: `edits [5]`, `urgent`, `not delivered`, `notice that this is recorded`.
    pub(super) marks: Vec<String>,
    /// What became of it later: words, and the event that did it.
    pub(super) later: Vec<(String, Seq)>,
    /// The message it answers: shown place, if it was shown.
    pub(super) answers: Option<Option<u64>>,
    pub(super) text: String,
    pub(super) attachments: Vec<String>,
    /// The search found it.
    pub(super) hit: bool,
}

/// A line about what happened.
pub(super) struct Quiet {
    pub(super) seq: Seq,
    pub(super) at: Moment,
    pub(super) text: String,
    pub(super) hit: bool,
}

/// Tells a conversation item by item.
pub(super) struct Story<'s> {
    source: &'s Source<'s>,
    lines: Lines,
    day: Option<String>,
    /// Events that were left out because nobody reads them.
    pub(super) unread: u64,
    /// Events that were told.
    pub(super) told: u64,
}

impl<'s> Story<'s> {
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        Story { source, lines: Lines::default(), day: None, unread: 0, told: 0 }
    }

    /// Tells the events, all of one conversation or of none, page by page.
    pub(super) fn tell(
        &mut self,
        events: &mut dyn Iterator<Item = Result<Event, ExportError>>,
        seen: &mut Seen<'_>,
        show: &mut dyn FnMut(&[Item]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        loop {
            let page = events.take(PAGE).collect::<Result<Vec<_>, _>>()?;
            if page.is_empty() {
                return Ok(());
            }
            let changes = self.changes(&page)?;
            let mut items = Vec::new();
            for event in &page {
                self.item(event, &changes, &mut items);
                seen(event)?;
            }
            show(&items)?;
        }
    }

    /// Later changes of the messages of a page, as far as they are part of the export.
    fn changes(&self, page: &[Event]) -> Result<Vec<Event>, ExportError> {
        let sent = page.iter().filter(|event| event.kind == Kind::MessageSent);
        let ids: Vec<&str> = sent.filter_map(|event| Some(event.content.message.as_ref()?.id.as_str())).collect();
        let id = page.first().and_then(|event| event.conversation.as_ref()).filter(|_| !ids.is_empty());
        let Some(id) = id else { return Ok(Vec::new()) };
        let mut changes = self.source.reader().changes_of(id, &ids)?;
        changes.retain(|change| self.source.takes(change));
        Ok(changes)
    }

    fn item(&mut self, event: &Event, changes: &[Event], items: &mut Vec<Item>) {
        if event.kind == Kind::PlatformEvent {
            self.unread += 1;
            return;
        }
        self.told += 1;
        let zone = self.source.zone();
        let at = Moment::of(event.source_time.unwrap_or(event.recorded_at), zone);
        if self.day.as_ref() != Some(&at.day) {
            self.day = Some(at.day.clone());
            items.push(Item::Day(at.day.clone()));
        }
        let (seq, hit) = (event.seq, self.source.is_hit(event.seq));
        if let (Kind::CaptureGap, Some(gap)) = (event.kind, &event.content.gap) {
            items.push(Item::Gap(gap_view(seq, gap, zone)));
            return;
        }
        let spoken =
            matches!(event.kind, Kind::MessageSent | Kind::MessageEdited | Kind::MessageUndelivered | Kind::NoticeSent);
        let Some(message) = event.content.message.as_ref().filter(|_| spoken) else {
            items.push(Item::Quiet(Quiet { seq, at, text: self.in_words(event), hit }));
            return;
        };
        let place = self.lines.place_of(&message.id);
        let mut marks = Vec::new();
        match event.kind {
            Kind::MessageSent => self.lines.remember(event),
            Kind::MessageEdited => marks.push(match place {
                Some(place) => format!("new version of [{place}]"),
                None => "new version of an earlier message".to_owned(),
            }),
            Kind::MessageUndelivered => marks.push("not delivered".to_owned()),
            _ => marks.push("notice that this is recorded".to_owned()),
        }
        marks.extend(message.importance.as_deref().filter(|word| *word != "normal").map(one_line));
        let who = match (&event.content.actor, event.kind) {
            (Some(actor), _) => self.lines.person(actor),
            (None, Kind::NoticeSent) => "the recorder".to_owned(),
            (None, _) => "somebody".to_owned(),
        };
        let later = match event.kind {
            Kind::MessageSent => changes.iter().filter_map(|change| self.became(event, message, change)).collect(),
            _ => Vec::new(),
        };
        items.push(Item::Said(Box::new(Said {
            seq,
            at,
            who,
            marks,
            later,
            answers: message.in_reply_to.as_deref().map(|id| self.lines.place_of(id)),
            text: lines(&message.text),
            attachments: event.content.files().iter().map(attached).collect(),
            hit,
        })));
    }

    /// An event in words, without the dash that a transcript of lines begins it with.
    fn in_words(&mut self, event: &Event) -> String {
        let said = self.lines.said(event);
        lines(said.strip_prefix("- ").unwrap_or(&said))
    }

    /// What a later event made of a message.
    fn became(&self, sent: &Event, message: &Message, change: &Event) -> Option<(String, Seq)> {
        if change.seq <= sent.seq || change.content.message.as_ref()?.id != message.id {
            return None;
        }
        let word = match change.kind {
            Kind::MessageEdited => "edited",
            Kind::MessageDeleted => "deleted",
            Kind::MessageUndelivered => "not delivered",
            _ => return None,
        };
        let at = Moment::of(change.source_time.unwrap_or(change.recorded_at), self.source.zone());
        Some((format!("{word} {}", at.full), change.seq))
    }
}

fn gap_view(seq: Seq, gap: &Gap, zone: Tz) -> GapView {
    let (from, to) = (Moment::of(gap.from, zone), Moment::of(gap.to, zone));
    GapView { seq, from, to, cause: one_line(&gap.cause) }
}

/// What stands above a conversation of the selection.
///
/// # Errors
/// [`ExportError::UnknownConversation`], or the archive cannot be read.
pub(super) fn front(source: &Source<'_>, id: &ConversationId) -> Result<Front, ExportError> {
    let (reader, zone) = (source.reader(), source.zone());
    let found = reader.conversation(id)?;
    let conversation = found.ok_or_else(|| ExportError::UnknownConversation { id: id.clone() })?;
    let stays = reader.attendance_of(id)?;
    let gaps = reader.gaps_of(id)?;
    let coverage = reader.coverage_of(id)?;
    let record = coverage.as_ref().map_or_else(|| "not known".to_owned(), |coverage| one_line(&coverage.to_string()));
    // Whether it is complete is said in front of it.
    let how = record.strip_prefix("incomplete: ").or(record.strip_prefix("complete ")).unwrap_or(&record);
    let record = format!("{how} (these times are UTC).");
    let people = conversation.participants.iter().map(|person| Presence {
        name: person.name.as_deref().map_or_else(|| one_line(&person.id), one_line),
        id: one_line(&person.id),
        stays: of_person(&stays, &person.id, zone),
    });
    Ok(Front {
        title: conversation
            .subject
            .as_deref()
            .filter(|s| !s.trim().is_empty())
            .map_or_else(|| "Conversation without subject".to_owned(), one_line),
        record: (record, coverage.as_ref().is_some_and(Statement::is_complete)),
        people: people.collect(),
        gaps: gaps.iter().map(|(seq, gap)| gap_view(*seq, gap, zone)).collect(),
        facts: facts(source, &conversation)?,
    })
}

fn of_person(stays: &[Attendance], id: &str, zone: Tz) -> Vec<(Moment, Option<Moment>)> {
    let stays = stays.iter().filter(|stay| stay.person.id == id);
    stays.map(|stay| (Moment::of(stay.joined_at, zone), stay.left_at.map(|at| Moment::of(at, zone)))).collect()
}

fn facts(source: &Source<'_>, conversation: &Conversation) -> Result<Vec<(&'static str, String)>, ExportError> {
    let zone = source.zone();
    let full = |at: Timestamp| Moment::of(at, zone).full;
    let mut facts = vec![
        ("Conversation", conversation.id.to_string()),
        ("Started", full(conversation.started_at)),
        ("Ended", conversation.ended_at.map_or_else(|| "not when this was made".to_owned(), full)),
        ("Messages", conversation.messages.to_string()),
        ("Recorded by", format!("{} ({})", one_line(&conversation.connector), one_line(&conversation.platform))),
        ("Archive", source.reader().origin()?),
    ];
    facts.extend(shown_part(source));
    facts.push(("Times", format!("in the zone {}", zone.name())));
    Ok(facts)
}

/// Which part of it is shown, if not all.
pub(super) fn shown_part(source: &Source<'_>) -> Vec<(&'static str, String)> {
    let selection = source.selection();
    let mut facts = Vec::new();
    let full = |at: Timestamp| Moment::of(at, source.zone()).full;
    facts
        .extend(selection.begins().map(|since| ("Only from", format!("{}; earlier events are left out", full(since)))));
    facts.extend(selection.until.map(|until| ("Only until", format!("{}; later events are left out", full(until)))));
    if let Some(search) = &selection.search {
        facts.push((
            "Only found",
            format!(
                "what the search {} found, with {} messages around; the rest is left out",
                name(&search.query),
                search.context
            ),
        ));
    }
    facts
}

/// What is said at the end, about what is not shown.
pub(super) fn not_shown(unread: u64) -> Option<String> {
    let noun = if unread == 1 { "event" } else { "events" };
    (unread > 0).then(|| {
        format!("{unread} platform.{noun} (typing notices, protocol details) not shown; the format jsonl has them.")
    })
}
