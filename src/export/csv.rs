//! A table for spreadsheets: one row for each event, in the order of the log, as RFC 4180 with a byte order mark.
//!
//! A cell that a spreadsheet could take for a formula begins with an apostrophe: every text whose first character (after
//! blanks) is one of `= + - @`, of their full-width forms, a tab or a line break, and every text that begins with an
//! apostrophe itself. So whoever drops one leading apostrophe from any cell has the text again. Characters that drive
//! terminals or reorder text are shown by their number, as in all readable forms.

use std::collections::HashMap;
use std::io::Write;

use super::{ExportError, Format, LeftOut, Seen, Source, Written};
use crate::archive::Reader;
use crate::capture::coverage::Statement;
use crate::harmless::lines;
use crate::model::{ConversationId, Event, Kind, Person, Reason, Timestamp};

/// The format `csv`.
pub struct Csv;

/// The columns.
pub const COLUMNS: [&str; 26] = [
    "seq",
    "conversation",
    "subject",
    "record",
    "kind",
    "time",
    "time_utc",
    "recorded_at",
    "actor",
    "actor_name",
    "participant",
    "participant_name",
    "text",
    "message",
    "in_reply_to",
    "importance",
    "mentions",
    "attachments",
    "reaction",
    "reason",
    "gap_from",
    "gap_to",
    "gap_cause",
    "connector",
    "platform",
    "leaf_hash",
];

/// What is remembered of so many conversations.
const REMEMBERED: usize = 10_000;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn media_type(&self) -> &'static str {
        "text/csv; charset=utf-8; header=present"
    }

    fn about(&self) -> &'static str {
        "a table for spreadsheets, one row for each event, safe against formulas"
    }

    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        let count = written.of_kind(Kind::PlatformEvent);
        let why = "the row of such an event does not show its JSON; the format jsonl has it".to_owned();
        if count == 0 { Vec::new() } else { vec![LeftOut { what: "detail of platform.event".into(), count, why }] }
    }

    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        // Without it, spreadsheets read UTF-8 as something else; programs that do not drop it have jsonl.
        out.write_all("\u{feff}".as_bytes()).map_err(ExportError::output)?;
        let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        table.write_record(COLUMNS).map_err(failed)?;
        let mut known = HashMap::new();
        for event in source.events() {
            let event = event?;
            let (subject, record) = match &event.conversation {
                Some(id) => told_of(source.reader(), id, &mut known)?.clone(),
                None => Default::default(),
            };
            for cell in row(&event, subject, record, source.zone()) {
                table.write_field(guarded(&lines(&cell)).as_bytes()).map_err(failed)?;
            }
            table.write_record(None::<&[u8]>).map_err(failed)?;
            seen(&event)?;
        }
        table.flush().map_err(ExportError::output)
    }
}

fn failed(error: csv::Error) -> ExportError {
    ExportError::output(error.into())
}

/// Subject and coverage of a conversation.
fn told_of<'k>(
    reader: &Reader,
    id: &ConversationId,
    known: &'k mut HashMap<ConversationId, (String, String)>,
) -> Result<&'k (String, String), ExportError> {
    if !known.contains_key(id) {
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let subject = reader.conversation(id)?.and_then(|conversation| conversation.subject).unwrap_or_default();
        let record = match reader.coverage_of(id)? {
            Some(Statement::Complete { .. }) => "complete",
            Some(Statement::Incomplete { .. }) => "incomplete",
            Some(Statement::Never { .. }) => "never",
            None => "",
        };
        known.insert(id.clone(), (subject, record.to_owned()));
    }
    Ok(&known[id])
}

fn row(event: &Event, subject: String, record: String, zone: chrono_tz::Tz) -> [String; COLUMNS.len()] {
    let content = &event.content;
    let at = event.source_time.unwrap_or(event.recorded_at);
    let message = content.message.as_ref();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = |person: &Person| text(&person.name);
    let time = |at: Timestamp| at.rfc3339();
    let joined = |list: Vec<String>| list.join("\n");
    [
        event.seq.to_string(),
        event.conversation.as_ref().map(ToString::to_string).unwrap_or_default(),
        subject,
        record,
        event.kind.to_string(),
        at.to_chrono().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S%.3f%:z").to_string(),
        time(at),
        time(event.recorded_at),
        content.actor.as_ref().map(|actor| actor.id.clone()).unwrap_or_default(),
        content.actor.as_ref().map(name).unwrap_or_default(),
        content.participant.as_ref().map(|participant| participant.id.clone()).unwrap_or_default(),
        content.participant.as_ref().map(|participant| text(&participant.name)).unwrap_or_default(),
        message.map(|message| message.text.clone()).or_else(|| changed(event)).unwrap_or_default(),
        message.map(|message| message.id.clone()).unwrap_or_default(),
        message.map(|message| text(&message.in_reply_to)).unwrap_or_default(),
        message.map(|message| text(&message.importance)).unwrap_or_default(),
        joined(message.map(|message| message.mentions.iter().map(called).collect()).unwrap_or_default()),
        joined(content.files().iter().map(super::slice::plain::attached).collect()),
        text(&content.reaction),
        content.reason.as_ref().map(why).unwrap_or_default(),
        content.gap.as_ref().map(|gap| time(gap.from)).unwrap_or_default(),
        content.gap.as_ref().map(|gap| time(gap.to)).unwrap_or_default(),
        content.gap.as_ref().map(|gap| gap.cause.clone()).unwrap_or_default(),
        event.connector.clone(),
        event.platform.clone(),
        event.leaf_hash.clone(),
    ]
}

/// What a `conversation.*` event says.
fn changed(event: &Event) -> Option<String> {
    let content = &event.content;
    let mut facts = Vec::new();
    facts.extend(content.subject.as_ref().map(|subject| format!("subject: {subject}")));
    facts.extend(content.state.as_ref().map(|state| format!("state: {state}")));
    facts.extend(content.modalities.as_ref().map(|list| format!("modalities: {}", list.join(", "))));
    if facts.is_empty() { None } else { Some(facts.join("\n")) }
}

fn called(person: &Person) -> String {
    person.name.as_ref().map_or_else(|| person.id.clone(), |name| format!("{name} <{}>", person.id))
}

fn why(reason: &Reason) -> String {
    let parts = [&reason.code, &reason.subcode, &reason.message];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(": ")
}

/// The text as a cell that no spreadsheet takes for a formula.
fn guarded(text: &str) -> std::borrow::Cow<'_, str> {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}');
    let breaks = text.starts_with(['\t', '\r', '\n', '\'']);
    let first = text.chars().find(|c| !is_blank(*c));
    let formula = first.is_some_and(|c| {
        matches!(
            c,
            '=' | '+'
                | '-'
                | '@'
                | '\u{ff1d}'
                | '\u{ff0b}'
                | '\u{ff0d}'
                | '\u{ff20}'
                | '\u{2212}'
                | '\u{fe63}'
                | '\u{fe62}'
                | '\u{fe66}'
                | '\u{fe6b}'
        )
    });
    if breaks || formula { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn no_cell_begins_like_a_formula() {
        for bad in [
            "=1+1",
            "+1",
            "-1",
            "@a",
            "\t=1",
            "\r",
            "\n=1",
            " =1",
            "\u{a0}=1",
            "\u{200e}=1",
            "＝1",
            "＋1",
            "－1",
            "＠a",
            "'=1",
        ] {
            let cell = guarded(bad);
            assert_eq!(cell.strip_prefix('\''), Some(bad));
        }
        for good in ["", "a=1", "hello", "1-1", "שלום"] {
            assert_eq!(guarded(good), good);
        }
    }
}
