//! One self-contained page for each conversation: no script, no link to anywhere, readable for ever, and printable.
//!
//! Markup of strangers is never used: a page shows the text of messages, escaped, each isolated in its direction. A policy
//! in the page forbids it to load or run anything even so.

use std::cell::Cell;
use std::io::Write;

use askama::Template;

use super::view::{Front, GapView, Item, Presence, Story, front, not_shown, shown_part};
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written};
use crate::model::{ConversationId, Event};

/// The format `html`.
pub struct Html;

#[derive(Template)]
#[template(path = "export/head.html")]
struct Head<'a> {
    program: &'a str,
    title: &'a str,
    facts: &'a [(&'static str, String)],
    record: Option<&'a (String, bool)>,
    people: &'a [Presence],
    gaps: &'a [GapView],
}

#[derive(Template)]
#[template(path = "export/items.html")]
struct Items<'a> {
    items: &'a [Item],
    /// A list of a day is open.
    open: &'a Cell<bool>,
}

#[derive(Template)]
#[template(path = "export/foot.html")]
struct Foot<'a> {
    program: &'a str,
    origin: &'a str,
    left_out: Option<String>,
    told: u64,
    open: bool,
}

impl Format for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn extension(&self) -> &'static str {
        "html"
    }

    fn media_type(&self) -> &'static str {
        "text/html; charset=utf-8"
    }

    fn about(&self) -> &'static str {
        "one self-contained page for each conversation, to read and to print"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        super::text::platform_events(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        each_conversation(source, &mut |id, events| {
            let name = format!("{}.html", id.map_or("no-conversation", ConversationId::as_str));
            let front = front_of(source, id)?;
            files.file(&name, &mut |out| page(source, &front, id.is_some(), events, out, seen))
        })
    }
}

/// Events of one conversation, or of none.
pub(super) type Events<'e> = dyn Iterator<Item = Result<Event, ExportError>> + 'e;

/// Makes what there is to make of the events of one conversation, or of none.
type Making<'m> = dyn FnMut(Option<&ConversationId>, &mut Events<'_>) -> Result<(), ExportError> + 'm;

/// Calls `make` for each conversation of the selection that has events in it, and for the events of none.
pub(super) fn each_conversation(source: &Source<'_>, make: &mut Making<'_>) -> Result<(), ExportError> {
    for id in source.conversations() {
        let id = id?;
        let mut events = source.transcript(&id).peekable();
        if events.peek().is_some() {
            make(Some(&id), &mut events)?;
        }
    }
    let mut loose = source.loose().peekable();
    if loose.peek().is_some() {
        make(None, &mut loose)?;
    }
    Ok(())
}

/// What stands above events: of their conversation, or of none.
pub(super) fn front_of(source: &Source<'_>, id: Option<&ConversationId>) -> Result<Front, ExportError> {
    match id {
        Some(id) => front(source, id),
        None => {
            let mut facts = vec![("Archive", source.reader().origin()?)];
            facts.extend(shown_part(source));
            facts.push(("Times", format!("in the zone {}", source.zone().name())));
            let title = "Events of no conversation".to_owned();
            let (record, people, gaps) = ((String::new(), true), Vec::new(), Vec::new());
            Ok(Front { title, facts, record, people, gaps })
        }
    }
}

/// Writes a page with these events; `is_conversation` = they are of one, and its record can be judged.
pub(super) fn page(
    source: &Source<'_>,
    front: &Front,
    is_conversation: bool,
    events: &mut Events<'_>,
    out: &mut dyn Write,
    seen: &mut Seen<'_>,
) -> Result<(), ExportError> {
    let head = Head {
        program: PROGRAM,
        title: &front.title,
        facts: &front.facts,
        record: is_conversation.then_some(&front.record),
        people: &front.people,
        gaps: &front.gaps,
    };
    render(&head, out)?;
    let mut story = Story::new(source);
    let open = Cell::new(false);
    story.tell(events, seen, &mut |items| render(&Items { items, open: &open }, out))?;
    let origin = source.reader().origin()?;
    let (left_out, told) = (not_shown(story.unread), story.told);
    render(&Foot { program: PROGRAM, origin: &origin, left_out, told, open: open.get() }, out)
}

fn render(template: &impl Template, out: &mut dyn Write) -> Result<(), ExportError> {
    Template::write_into(template, out).map_err(ExportError::output)
}
