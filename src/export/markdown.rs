//! Markdown, one file for each conversation: for notes, tickets, wikis, and reading as it is.
//!
//! What people typed is quoted (`>`), with every sign that CommonMark or its usual extensions could read as structure
//! escaped by a backslash, and with addresses broken so that nothing becomes a link or an image.

use std::fmt::Write as _;
use std::io::Write;

use super::html::{Events, each_conversation, front_of};
use super::view::{Front, Item, Said, Story, not_shown};
use super::{Container, ExportError, Files, Format, LeftOut, PROGRAM, Seen, Source, Written};
use crate::model::ConversationId;

/// The format `markdown`.
pub struct Markdown;

impl Format for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn extension(&self) -> &'static str {
        "md"
    }

    fn media_type(&self) -> &'static str {
        "text/markdown; charset=utf-8; variant=CommonMark"
    }

    fn about(&self) -> &'static str {
        "one CommonMark file for each conversation, for notes and tickets"
    }

    fn container(&self) -> Container {
        Container::Many
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        super::text::platform_events(written)
    }

    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        each_conversation(source, &mut |id, events| {
            let name = format!("{}.md", id.map_or("no-conversation", ConversationId::as_str));
            files.file(&name, &mut |out| document(source, id, events, out, seen))
        })
    }
}

fn document(
    source: &Source<'_>,
    id: Option<&ConversationId>,
    events: &mut Events<'_>,
    out: &mut dyn Write,
    seen: &mut Seen<'_>,
) -> Result<(), ExportError> {
    let front = front_of(source, id)?;
    out.write_all(heading(&front, id.is_some()).as_bytes()).map_err(ExportError::output)?;
    let mut story = Story::new(source);
    story.tell(events, seen, &mut |items| {
        let mut text = String::new();
        items.iter().for_each(|one| item(one, &mut text));
        out.write_all(text.as_bytes()).map_err(ExportError::output)
    })?;
    let mut foot = "\n---\n\n".to_owned();
    if let Some(left_out) = not_shown(story.unread) {
        let _ = writeln!(foot, "{}\n", escaped(&left_out));
    }
    let origin = source.reader().origin()?;
    let _ = writeln!(
        foot,
        "{} events. Made by {PROGRAM} from the archive {}. Numbers in brackets are places in its log; the manifest that \
         accompanies this file names its SHA-256 and a signed checkpoint.",
        story.told,
        escaped(&origin)
    );
    out.write_all(foot.as_bytes()).map_err(ExportError::output)
}

fn heading(front: &Front, is_conversation: bool) -> String {
    let mut text = format!("# {}\n\n", escaped(&front.title));
    for (label, value) in &front.facts {
        let _ = writeln!(text, "- **{label}:** {}", escaped(value));
    }
    if is_conversation {
        let (record, whole) = &front.record;
        let verdict = if *whole { "The record is complete." } else { "The record is not complete." };
        let _ = writeln!(text, "\n**{verdict}** {}", escaped(record));
    }
    if !front.gaps.is_empty() {
        text.push_str("\n## Gaps\n\n");
        for gap in &front.gaps {
            let _ = writeln!(text, "- {} to {}: {} \\[{}\\]", gap.from.full, gap.to.full, escaped(&gap.cause), gap.seq);
        }
    }
    if !front.people.is_empty() {
        text.push_str("\n## People\n\n");
        for person in &front.people {
            let _ = writeln!(text, "- {} ({})", escaped(&person.name), escaped(&person.id));
            for (from, to) in &person.stays {
                let to = to.as_ref().map_or("the end, as far as told", |to| &to.full);
                let _ = writeln!(text, "  - {} to {to}", from.full);
            }
        }
    }
    text.push_str("\n## Transcript\n");
    text
}

fn item(item: &Item, text: &mut String) {
    let _ = match item {
        Item::Day(day) => writeln!(text, "\n### {day}\n"),
        Item::Said(one) => {
            said(one, text);
            Ok(())
        }
        Item::Quiet(quiet) => {
            let words = escaped(&quiet.text).replace('\n', "<br>");
            writeln!(text, "{} \\[{}\\] *{words}*{}\n", quiet.at.clock, quiet.seq, found(quiet.hit))
        }
        Item::Gap(gap) => writeln!(
            text,
            "---\n\n**Something may be missing here:** {} to {}: {} \\[{}\\]\n\n---\n",
            gap.from.full,
            gap.to.full,
            escaped(&gap.cause),
            gap.seq
        ),
    };
}

fn said(said: &Said, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{} \\[{}\\] **{}**", said.at.clock, said.seq, escaped(&said.who));
    for mark in &said.marks {
        let _ = write!(text, " ({})", escaped(mark));
    }
    match said.answers {
        Some(Some(seq)) => {
            let _ = write!(text, " (answers \\[{seq}\\])");
        }
        Some(None) => text.push_str(" (answers an earlier message)"),
        None => {}
    }
    let _ = writeln!(text, "{}\n", found(said.hit));
    // Two blanks at a line's end break it; a blank line would end the quotation.
    for line in said.text.split('\n') {
        let _ = writeln!(text, "> {}  ", escaped(line));
    }
    for file in &said.attachments {
        let _ = writeln!(text, ">\n> attachment: {}", escaped(file));
    }
    for (what, seq) in &said.later {
        let _ = writeln!(text, "\n*{what}* \\[{seq}\\]");
    }
    text.push('\n');
}

fn found(hit: bool) -> &'static str {
    if hit { " (found)" } else { "" }
}

/// Breaks what extensions would make a link of; shows nothing.
const NOTHING: &str = "<!-- -->";

/// The text as CommonMark that shows it and does nothing else. Line breaks stay.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 8);
    // Nothing but blanks, or a number, so far in this line.
    let (mut blank, mut number) = (true, true);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or('\n');
        match c {
            // Four blanks at the start would make code; several in a row would be one; two at the end would break the line.
            ' ' if blank || next == ' ' || next == '\n' => shown.push('\u{a0}'),
            '\t' => shown.push_str("\u{a0}\u{a0}"),
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '^' | '$' | '{' | '}' => shown.extend(['\\', c]),
            '#' | '+' | '-' | '=' | '%' if blank => shown.extend(['\\', c]),
            '.' | ')' if number && !blank => shown.extend(['\\', c]),
            '!' if next == '[' => shown.push_str("\\!"),
            ':' if next == '/' => shown.extend([NOTHING, ":"]),
            '.' if www(&shown) => shown.extend([NOTHING, "."]),
            // Neither an address nor somebody to be called; no sign by its name either.
            '@' => shown.extend(["@", NOTHING]),
            ':' if next.is_alphabetic() || next == '+' || next == '-' => shown.push_str("\\:"),
            '#' => shown.extend(["#", NOTHING]),
            c => shown.push(c),
        }
        let is_blank = c == ' ' || c == '\t';
        (blank, number) = match c {
            '\n' => (true, true),
            _ => (blank && is_blank, number && (is_blank || c.is_ascii_digit())),
        };
    }
    shown
}

fn www(shown: &str) -> bool {
    shown.len() >= 3 && shown.get(shown.len() - 3..).is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_typed_becomes_structure_or_a_link() {
        for (typed, shown) in [
            ("# not a heading", "\\# not a heading"),
            ("  - no list", "\u{a0}\u{a0}\\- no list"),
            ("1. no list", "1\\. no list"),
            ("a\n12) no list", "a\n12\\) no list"),
            ("===", "\\==="),
            ("    no code", "\u{a0}\u{a0}\u{a0}\u{a0}no code"),
            ("![x](http://e.org/a.png)", "\\!\\[x\\](http<!-- -->://e.org/a.png)"),
            ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
            ("a@b.org", "a@<!-- -->b.org"),
            ("www.e.org", "www<!-- -->.e.org"),
            ("a  b ", "a\u{a0} b\u{a0}"),
            ("at 10:30: yes. 1 - 2", "at 10:30: yes. 1 - 2"),
            (":smile: #12", "\\:smile: #<!-- -->12"),
            ("`x` *y* _z_ ~~w~~ |t|", "\\`x\\` \\*y\\* \\_z\\_ \\~\\~w\\~\\~ \\|t\\|"),
        ] {
            assert_eq!(escaped(typed), shown);
        }
    }
}
