//! `greffier list`.

use clap::Args;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::output::{Out, cell, counted};
use super::when::Span;
use super::{ArchiveArg, Exit, Globals};
use crate::archive::Reader;
use crate::archive::reader::{Conversation, ConversationFilter, ConversationState, Coverage};
use crate::clock::{Clock, SystemClock};
use crate::model::Timestamp;

/// Conversations read in one go.
const PAGE: usize = 200;

/// Rows that columns are aligned over; a longer list goes on in a table of its own and is never held whole.
const SCREENFUL: u64 = 1_000;

/// People shown by name in one row.
const NAMED: usize = 4;

/// Lists conversations, oldest first
#[derive(Debug, Args)]
#[command(
    long_about = "Lists conversations, oldest first. A conversation is listed if anything happened in it within the \
span; the time of an event is the platform's, or that of its capture where the platform told none. It reads while a \
recorder writes."
)]
#[command(after_long_help = "Examples:
  greffier list
  greffier list --since 7d --participant alice@contoso.com
  greffier list --since 2026-11-01 --until 2026-11-30 --connector sfb
  greffier list --archive /backup/archive --json | jq -r 'select(.coverage == \"incomplete\") | .id'

Exit status 3 if there is no such conversation.")]
pub(super) struct List {
    #[command(flatten)]
    span: Span,

    /// Only conversations of this person: an address, or part of an address or name
    #[arg(long, value_name = "P")]
    participant: Option<String>,

    /// Only conversations recorded through this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,

    /// One JSON object per conversation
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    archive: ArchiveArg,
}

impl List {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let (since, until) = self.span.resolve(SystemClock.now())?;
        let reader = self.archive.reader(globals)?;
        let filter = ConversationFilter {
            since,
            until,
            participant: self.participant,
            connector: self.connector,
            ..ConversationFilter::default()
        };
        let mut out = Out::new();
        let mut count = 0_u64;
        let mut table = (!self.json).then(new_table);
        each(&reader, &filter, |conversation| {
            count += 1;
            match &mut table {
                Some(table) => {
                    table.add_row(row(&conversation));
                    if count.is_multiple_of(SCREENFUL) {
                        out.line(&table.trim_fmt())?;
                        *table = new_table();
                    }
                }
                None => out.json(&conversation)?,
            }
            Ok(())
        })?;
        if let Some(table) = table.filter(|_| count > 0) {
            if !table.is_empty() {
                out.line(&table.trim_fmt())?;
            }
            out.line(&counted(count, "conversation"))?;
        }
        out.finish()?;
        if count > 0 {
            return Ok(Exit::Done);
        }
        // Standard output stays empty for scripts.
        if reader.conversations(&ConversationFilter::default(), None, 1)?.rows.is_empty() {
            super::remark("no conversation has been recorded yet");
        } else {
            super::remark("no conversation is like that; `greffier list` without options shows all");
        }
        Ok(Exit::NothingFound)
    }
}

/// Walks every conversation that fits, page by page.
pub(super) fn each(
    reader: &Reader,
    filter: &ConversationFilter,
    mut visit: impl FnMut(Conversation) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = reader.conversations(filter, after, PAGE)?;
        page.rows.into_iter().try_for_each(&mut visit)?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// An empty table of conversations.
pub(super) fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["conversation", "started (UTC)", "for", "subject", "people", "messages", "record"]);
    // Two blanks between columns, none before the first.
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

/// Makes a table at most so many characters wide: what does not fit of subjects and people ends in `…`.
pub(super) fn narrow(table: &mut Table, width: u16) {
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width).set_truncation_indicator("…");
    for (column, cut) in table.column_iter_mut().zip([false, false, false, true, true, false, false]) {
        if !cut {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.row_iter_mut().for_each(|row| {
        row.max_height(1);
    });
}

/// One conversation as a row of [`new_table`].
pub(super) fn row(conversation: &Conversation) -> Vec<String> {
    let people: Vec<&str> = conversation
        .participants
        .iter()
        .map(|person| person.name.as_deref().unwrap_or_else(|| person.id.trim_start_matches("sip:")))
        .collect();
    let more = people.len().saturating_sub(NAMED);
    let mut named = people.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    let lasted = match (conversation.state, conversation.ended_at) {
        (ConversationState::Ended, Some(end)) => span(conversation.started_at, end),
        _ => "live".to_owned(),
    };
    let record = match conversation.coverage {
        Coverage::Complete => "complete",
        Coverage::Incomplete => "incomplete",
    };
    let started = conversation.started_at.to_chrono().format("%Y-%m-%d %H:%M").to_string();
    vec![
        conversation.id.to_string(),
        started,
        lasted,
        cell(conversation.subject.as_deref().unwrap_or("")),
        cell(&named),
        conversation.messages.to_string(),
        record.to_owned(),
    ]
}

fn span(from: Timestamp, to: Timestamp) -> String {
    match to.since(from).as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s => format!("{} h {:02} min", s / 3_600, s % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_table_cuts_subjects_and_people_and_nothing_else() {
        let mut table = new_table();
        let id = "c_01M7YBG343EHE84PAWAZ6YNMYQ";
        let people = "Anna Weber, 李娜, 佐藤 健, Priya (guest) and 12 more";
        table.add_row([
            id,
            "2026-11-21 06:08",
            "12 h 05 min",
            "A long subject of many words",
            people,
            "123456",
            "incomplete",
        ]);
        narrow(&mut table, 100);
        let text = table.trim_fmt();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
        let row = lines[1];
        assert!(row.starts_with(id) && row.contains("12 h 05 min") && row.ends_with("123456    incomplete"), "{text}");
        assert!(row.contains('…') && row.contains("A "), "{text}");
    }
}
