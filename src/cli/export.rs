//! `greffier export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;

use super::output::{Out, counted};
use super::when::Span;
use super::{ArchiveArg, Exit, Globals, signals, which};
use crate::clock::{Clock, SystemClock};
use crate::export::{self, FORMATS, Format, Made, Output, Selection, Source};

/// Exports transcripts or the whole log
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["conversations", "since", "until"]).required(true).multiple(true)))]
#[command(
    long_about = "Exports transcripts, or everything that happened in a span of time (events of no conversation \
included). An export to a file comes with a manifest that says what it is, who made it and how complete the record is, and, \
where the format allows, with proofs that lead from each event to a signed checkpoint; docs/FORMATS.md lets a stranger check \
them without this program. Files appear whole or not at all; nothing is overwritten."
)]
#[command(after_long_help = "Examples:
  greffier export c_01JD8Q6W0T --format text --output meeting.txt
  greffier export c_01JD8Q6W0T c_01JD9A11F2 --format jsonl --output case-17.jsonl
  greffier export --since 2026-11-01 --until 2026-11-30 --format jsonl --output november.jsonl
  greffier export --since 1970-01-01T00:00:00Z --format jsonl --output - | wc -l

Exit status 3 if there is nothing to export; then no file is made.")]
pub(super) struct Export {
    /// Ids of conversations, or their first characters
    #[arg(value_name = "CONVERSATION")]
    conversations: Vec<String>,

    #[command(flatten)]
    span: Span,

    /// Only conversations of this person: an address, or part of an address or name
    #[arg(long, value_name = "P")]
    participant: Option<String>,

    /// Only what came through this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,

    /// Zone in which formats with a file for each day count days, for example Europe/Berlin; UTC if not given
    #[arg(long, value_name = "ZONE")]
    zone: Option<chrono_tz::Tz>,

    /// jsonl (one event, version 1, per line; with proofs) or text (for reading)
    #[arg(long, value_parser = FORMATS.iter().map(|format| format.name()).collect::<Vec<_>>())]
    format: String,

    /// File to make, folder to make it in, or - for standard output
    #[arg(long, value_name = "PATH")]
    output: PathBuf,

    #[command(flatten)]
    archive: ArchiveArg,
}

impl Export {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let (since, until) = self.span.resolve(SystemClock.now())?;
        let reader = self.archive.reader(globals)?;
        let format = export::format(&self.format).context("the format is not known")?;
        let mut conversations = Vec::new();
        for typed in &self.conversations {
            match which::conversation(&reader, typed)? {
                Some(id) => conversations.push(id),
                None => return Ok(which::none(&reader, typed)),
            }
        }
        let selection = Selection {
            conversations,
            since,
            until,
            participant: self.participant.clone(),
            connector: self.connector.clone(),
            search: None,
            zone: self.zone,
        };
        let source = Source::new(&reader, &selection)?;
        if source.events().next().transpose()?.is_none() {
            super::remark("nothing happened that fits; `greffier list` shows all conversations");
            return Ok(Exit::NothingFound);
        }
        if self.output == Path::new("-") {
            let mut out = Out::new();
            export::to_writer(&source, format, out.raw(), &mut |_, _| ())?;
            out.finish()?;
            return Ok(Exit::Done);
        }
        to_file(&source, format, &self.output)?;
        Ok(Exit::Done)
    }
}

fn to_file(source: &Source<'_>, format: &dyn Format, path: &Path) -> anyhow::Result<()> {
    let output = Output::new(path, format)?;
    let bar = ProgressBar::new(source.total());
    bar.set_style(super::bar_style("exporting", "{pos}/{len} events"));
    // Ctrl-C: what has been written so far stands under names of its own and goes.
    let watch = signals::on_interrupt(output.interruption())?;
    let made = Made { at: SystemClock.now(), by: account(), program: export::PROGRAM.into() };
    let written = output.write(source, format, &made, &mut |done, _| bar.set_position(done))?;
    drop(watch);
    bar.finish_and_clear();
    let mut out = Out::new();
    let (events, conversations) =
        (counted(written.events, "event"), counted(written.conversations.len() as u64, "conversation"));
    writeln!(out.raw(), "{}: {events} of {conversations}, with manifest", output.path().display())?;
    Ok(out.finish()?)
}

/// Who makes the export, as the system tells: `alice@host`.
fn account() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok().filter(|name| !name.is_empty()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.as_deref().map(str::trim).filter(|host| !host.is_empty());
    format!("{}@{}", name.as_deref().unwrap_or("unknown"), host.unwrap_or("localhost"))
}
