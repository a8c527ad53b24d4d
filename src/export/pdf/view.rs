//! What stands on the pages, before it has a size: events as blocks of words.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::export::text::line::{Lines, attached, why};
use crate::harmless::{name, one_line};
use crate::model::{Event, Gap, Kind, Message, Person, Seq, Timestamp};

/// Within this time a sender's further messages stand under one name.
const GROUP_SECONDS: i64 = 300;
/// Bytes of text in one block: a part of the export may end between two blocks.
const PIECE: usize = 100_000;

/// One thing on the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A day begins.
    Day(String),
    /// Something was said.
    Message(Said),
    /// Something happened; line breaks are those of a message.
    Quiet { seq: Seq, at: Timestamp, text: String },
    /// Something may be missing.
    Gap { seq: Seq, title: String, text: String },
}

/// A message, or a piece of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    /// Name and address.
    pub(super) who: (String, String),
    /// It stands under the message before, of the same sender.
    pub(super) same: bool,
    /// What is special about it, before its text.
    pub(super) marks: Vec<Mark>,
    /// Exact, with its line breaks.
    pub(super) text: String,
    /// Attachments and the like, after its text.
    pub(super) notes: Vec<String>,
    /// Not the first piece of its message.
    pub(super) goes_on: bool,
    /// It was deleted later, or did not arrive.
    pub(super) struck: bool,
}

/// A word about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) text: String,
    /// Deleted, undelivered: in the colour of alarm.
    pub(super) alarm: bool,
}

impl Block {
    /// About how many lines it takes: decides where a part of the export ends.
    pub(super) fn lines(&self) -> usize {
        match self {
            Block::Day(_) => 3,
            Block::Gap { .. } => 5,
            Block::Quiet { text, .. } => lines_of(text),
            Block::Message(said) => lines_of(&said.text) + said.notes.len() + said.marks.len() + 1,
        }
    }
}

/// About how many lines a text takes.
fn lines_of(text: &str) -> usize {
    const LETTERS: usize = 85;
    let wide = |line: &str| if line.is_ascii() { line.len() } else { line.len() * 2 / 3 };
    text.split('\n').map(|line| 1 + wide(line) / LETTERS).sum()
}

/// What happens to messages after they were sent, by the place in the log.
#[derive(Debug, Default)]
pub(super) struct Changes {
    of: HashMap<u64, Vec<(Seq, Kind, Timestamp)>>,
}

/// Stands for a message's id: two of one conversation are the same with a chance of one to 2^64.
fn key(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.id.hash(&mut hasher);
    hasher.finish()
}

impl Changes {
    /// Remembers the event if it changes a message.
    pub(super) fn note(&mut self, event: &Event) {
        if let (Kind::MessageEdited | Kind::MessageDeleted | Kind::MessageUndelivered, Some(message)) =
            (event.kind, &event.content.message)
        {
            self.of.entry(key(message)).or_default().push((event.seq, event.kind, time(event)));
        }
    }
}

/// When an event happened.
pub(super) fn time(event: &Event) -> Timestamp {
    event.source_time.unwrap_or(event.recorded_at)
}

/// `09:30:00`.
pub(super) fn clock(t: Timestamp) -> String {
    t.to_chrono().format("%H:%M:%S").to_string()
}

/// `2026-11-21 09:30:00`.
pub(super) fn second(t: Timestamp) -> String {
    t.to_chrono().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2026-11-21, Saturday`.
pub(super) fn day(t: Timestamp) -> String {
    t.to_chrono().format("%Y-%m-%d, %A").to_string()
}

/// `2026-11-21 09:30:00 to 09:30:12 (12 s)`.
pub(super) fn span(gap: &Gap) -> String {
    let seconds = gap.to.since(gap.from).as_millis().div_ceil(1000);
    let to = if day(gap.from) == day(gap.to) { clock(gap.to) } else { second(gap.to) };
    format!("{} to {to} UTC ({seconds} s)", second(gap.from))
}

/// A name as it is shown, with a mark after it that keeps what follows on its right.
pub(super) fn shown(text: &str) -> String {
    let shown = name(text);
    if shown.is_ascii() { shown } else { format!("{shown}\u{200e}") }
}

/// Turns events, in order of time, into blocks.
#[derive(Default)]
pub(super) struct Story {
    words: Lines,
    day: Option<String>,
    last: Option<(Person, Timestamp)>,
    /// Events that are not shown: protocol details.
    pub(super) unread: u64,
}

impl Story {
    /// The day of the newest event; the next part begins with it.
    pub(super) fn today(&self) -> Option<&str> {
        self.day.as_deref()
    }

    /// Tells one event.
    pub(super) fn tell(&mut self, event: &Event, changes: &Changes, emit: &mut dyn FnMut(Block)) {
        if event.kind == Kind::PlatformEvent {
            self.unread += 1;
            return;
        }
        let at = time(event);
        let today = day(at);
        if self.day.as_ref() != Some(&today) {
            emit(Block::Day(today.clone()));
            self.day = Some(today);
            self.last = None;
        }
        // Also keeps count of names and messages for later words.
        let words = self.words.said(event);
        let said = matches!(event.kind, Kind::MessageSent | Kind::MessageEdited | Kind::MessageUndelivered);
        match (&event.content.message, &event.content.gap) {
            (Some(message), _) if said => self.message(event, message, changes, emit),
            (_, gap) if event.kind == Kind::CaptureGap => {
                self.last = None;
                emit(gap_block(event.seq, gap.as_ref()));
            }
            _ => {
                self.last = None;
                let text = words.strip_prefix("- ").unwrap_or(&words).to_owned();
                emit(Block::Quiet { seq: event.seq, at, text });
            }
        }
    }

    fn message(&mut self, event: &Event, message: &Message, changes: &Changes, emit: &mut dyn FnMut(Block)) {
        let at = time(event);
        let person = event.content.actor.clone().unwrap_or_default();
        let near = |last: Timestamp| at.micros().saturating_sub(last.micros()) <= GROUP_SECONDS * 1_000_000;
        let same = self.last.as_ref().is_some_and(|(last, then)| *last == person && near(*then));
        let mut marks = Vec::new();
        let mut mark = |alarm: bool, text: String| marks.push(Mark { text, alarm });
        let mut struck = false;
        match event.kind {
            Kind::MessageEdited => mark(false, format!("new version of {}", self.words.message(&event.content))),
            Kind::MessageUndelivered => {
                struck = true;
                mark(true, format!("not delivered{}", event.content.reason.as_ref().map(why).unwrap_or_default()));
            }
            _ => {}
        }
        if let Some(importance) = message.importance.as_deref().filter(|importance| *importance != "normal") {
            mark(false, one_line(importance));
        }
        if let Some(id) = &message.in_reply_to {
            let asked = Message { id: id.clone(), ..Message::default() };
            let content = crate::model::Content { message: Some(asked), ..crate::model::Content::default() };
            mark(false, format!("in reply to {}", self.words.message(&content)));
        }
        for (seq, kind, then) in
            changes.of.get(&key(message)).into_iter().flatten().filter(|(seq, ..)| *seq > event.seq)
        {
            let when = if day(*then) == day(at) { clock(*then) } else { second(*then) };
            match kind {
                Kind::MessageEdited => mark(false, format!("edited at {when}, see [{seq}]")),
                Kind::MessageDeleted => {
                    struck = true;
                    mark(true, format!("deleted at {when}, see [{seq}]"));
                }
                _ => mark(true, format!("not delivered at {when}, see [{seq}]")),
            }
        }
        let mut notes: Vec<String> =
            event.content.files().iter().map(|file| format!("attachment: {}", attached(file))).collect();
        if !message.mentions.is_empty() {
            let named: Vec<String> = message.mentions.iter().map(|person| self.words.person(person)).collect();
            notes.push(format!("mentions {}", named.join(", ")));
        }
        let who = named(&person);
        self.last = Some((person, at));
        let mut said = Said {
            seq: event.seq,
            at,
            who,
            same,
            marks,
            text: String::new(),
            notes: Vec::new(),
            goes_on: false,
            struck,
        };
        let mut rest = message.text.as_str();
        loop {
            let end = piece_end(rest);
            said.text = rest[..end].to_owned();
            // A line break at the seam is the seam.
            rest = rest[end..].strip_prefix('\n').unwrap_or(&rest[end..]);
            if rest.is_empty() {
                said.notes = std::mem::take(&mut notes);
                emit(Block::Message(said));
                return;
            }
            emit(Block::Message(said.clone()));
            said = Said { same: true, marks: Vec::new(), goes_on: true, ..said };
        }
    }
}

fn gap_block(seq: Seq, gap: Option<&Gap>) -> Block {
    let (title, text) = match gap {
        Some(gap) => {
            (format!("GAP: {}", span(gap)), format!("{}. Something may be missing here.", one_line(&gap.cause)))
        }
        None => ("GAP of unknown length".to_owned(), "Something may be missing here.".to_owned()),
    };
    Block::Gap { seq, title, text }
}

/// Name and address as they are shown; the address stands for a missing name.
pub(super) fn named(person: &Person) -> (String, String) {
    match person.name.as_deref().filter(|told| !told.is_empty()) {
        Some(told) => (shown(told), one_line(&person.id)),
        None if person.id.is_empty() => ("somebody".to_owned(), String::new()),
        None => (one_line(&person.id), String::new()),
    }
}

/// Where the first piece of a text ends: behind a line, behind a word, or anywhere.
fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let mut end = PIECE;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    let line = head.rfind('\n').filter(|at| *at > PIECE / 2);
    line.or_else(|| head.rfind(' ').map(|at| at + 1).filter(|at| *at > PIECE / 2)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Content;

    fn event(seq: u64, kind: Kind, id: &str, text: &str) -> Event {
        let at = Timestamp::from_millis(1_795_253_400_000 + i64::try_from(seq).unwrap() * 1000);
        let message = Message { id: id.into(), text: text.into(), ..Message::default() };
        let actor = Person { id: "sip:a@x".into(), name: Some("Alice".into()) };
        Event {
            v: 1,
            seq: Seq(seq),
            conversation: None,
            connector: "sfb".into(),
            platform: "ucwa".into(),
            kind,
            source_time: Some(at),
            recorded_at: at,
            content: Content { actor: Some(actor), message: Some(message), ..Content::default() },
            leaf_hash: String::new(),
        }
    }

    fn told(events: &[Event]) -> Vec<Block> {
        let (mut changes, mut story, mut blocks) = (Changes::default(), Story::default(), Vec::new());
        events.iter().for_each(|event| changes.note(event));
        events.iter().for_each(|event| story.tell(event, &changes, &mut |block| blocks.push(block)));
        blocks
    }

    #[test]
    fn a_message_says_what_became_of_it() {
        let blocks = told(&[
            event(1, Kind::MessageSent, "m1", "helo"),
            event(2, Kind::MessageEdited, "m1", "hello"),
            event(3, Kind::MessageDeleted, "m1", ""),
        ]);
        let [Block::Day(_), Block::Message(first), Block::Message(second), Block::Quiet { text, .. }] = &blocks[..]
        else {
            panic!("{blocks:?}")
        };
        let marks = |said: &Said| said.marks.iter().map(|mark| mark.text.clone()).collect::<Vec<_>>();
        assert_eq!(marks(first), ["edited at 09:30:02, see [2]", "deleted at 09:30:03, see [3]"]);
        assert_eq!(marks(second), ["new version of [1]", "deleted at 09:30:03, see [3]"]);
        assert!(first.struck && second.struck && !first.same && second.same);
        assert_eq!(text, "Alice deleted [1]");
    }

    #[test]
    fn a_very_long_message_comes_in_pieces_that_lose_nothing() {
        let text = format!("{} {}\n{}", "w".repeat(150_000), "ü".repeat(99_999), "z ".repeat(90_000));
        let blocks = told(&[event(1, Kind::MessageSent, "m1", &text)]);
        let pieces: Vec<&Said> = blocks
            .iter()
            .filter_map(|block| if let Block::Message(said) = block { Some(said) } else { None })
            .collect();
        assert!(pieces.len() > 4 && pieces.iter().all(|said| said.text.len() <= PIECE));
        assert!(!pieces[0].goes_on && pieces[1].goes_on);
        let whole: String = pieces.iter().map(|said| said.text.as_str()).collect();
        assert_eq!(whole.replace('\n', ""), text.replace('\n', ""));
    }
}
