//! `greffier export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono_tz::Tz;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;

use super::output::{Out, counted};
use super::search::{opened, point_at};
use super::when::Span;
use super::{ArchiveArg, Exit, Globals, signals, which};
use crate::archive::Reader;
use crate::clock::{Clock, SystemClock};
use crate::export::{self, FORMATS, Format, Made, Output, Search, Selection, Source};
use crate::index::Scope;
use crate::index::query::{Calendar, Query, parse};

/// Exports transcripts, search results or the whole log
#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what").args(["conversations", "query", "since", "until", "participant", "connector"])
        .required(true).multiple(true)
))]
#[command(
    long_about = "Exports transcripts, what a search finds, or everything that happened in a span of time (events of no \
conversation included). All conditions that are given must hold. An export comes with a manifest that says what it is, who \
made it and how complete the record is, with proofs that lead from each event to a signed checkpoint, and with a README for \
whoever gets it; `greffier verify --export PATH` checks them without the archive.

Where it goes: PATH ending in .zip is a ZIP archive with everything in it; a format of one file goes to PATH with its \
companions beside it (PATH.manifest.json and so on), or, if PATH is a folder, to export.EXTENSION in it; a format of several \
files goes to a folder of its own (PATH exists and is empty, or ends in /), or to a ZIP archive. To standard output (-) goes \
the format's file alone, if it is one.

Files appear whole or not at all, and nothing is overwritten. An export that was interrupted can simply be started again; \
it begins anew."
)]
#[command(after_long_help = "Examples:
  greffier export c_01JD8Q6W0T --format html --output meeting.html
  greffier export c_01JD8Q6W0T c_01JD9A11F2 --format pdf --output case-17/
  greffier export --query '\"project x\" from:alice' --context 3 --format html --zone Europe/Berlin --output found.zip
  greffier export --since 2026-11-01 --until 2026-11-30 --format jsonl --output november.jsonl
  greffier export --participant alice@contoso.com --format rsmf --output alice.zip
  greffier export --since 1970-01-01T00:00:00Z --format jsonl --output - | wc -l

Exit status 3 if there is nothing to export; then no file is made.")]
pub(super) struct Export {
    /// Ids of conversations, or their first characters
    #[arg(value_name = "CONVERSATION")]
    conversations: Vec<String>,

    /// Only what this search finds (`greffier help search` shows the language)
    #[arg(long, value_name = "Q", allow_hyphen_values = true)]
    query: Option<String>,

    /// Messages before and after each hit that go in as well
    #[arg(long, value_name = "N", default_value_t = 0, requires = "query")]
    context: u32,

    #[command(flatten)]
    span: Span,

    /// Only conversations of this person: an address, or part of an address or name
    #[arg(long, value_name = "P")]
    participant: Option<String>,

    /// Only what came through this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,

    /// How it is written
    #[arg(long, value_parser = formats())]
    format: String,

    /// Zone in which days begin and times are shown to people, for example Europe/Berlin; dates of the query too
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    zone: Tz,

    /// File, folder (ending in /) or ZIP archive (ending in .zip) to make, or - for standard output
    #[arg(long, value_name = "PATH")]
    output: PathBuf,

    #[command(flatten)]
    archive: ArchiveArg,
}

fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(FORMATS.iter().map(|format| PossibleValue::new(format.name()).help(format.about())))
}

fn zone(text: &str) -> Result<Tz, String> {
    text.trim()
        .parse()
        .map_err(|_| "not the name of a time zone; write UTC, Europe/Berlin, America/New_York".to_owned())
}

impl Export {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let now = SystemClock.now();
        let (since, until) = self.span.resolve(now)?;
        let query = match &self.query {
            None => None,
            Some(text) => match parse(text, &Calendar { now, zone: self.zone }) {
                Ok(query) => Some(query),
                Err(error) => {
                    point_at(text, &error);
                    return Ok(Exit::Usage);
                }
            },
        };
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
            zone: Some(self.zone).filter(|zone| *zone != Tz::UTC),
            search: self.query.clone().map(|query| Search {
                query,
                zone: self.zone.name().to_owned(),
                now,
                context: self.context.into(),
            }),
        };
        // The place first: nobody wants to wait for a search and then hear that the file exists.
        let output = match self.output == Path::new("-") {
            true => None,
            false => Some(Output::new(&self.output, format)?),
        };
        let source = match &query {
            Some(query) => self.search(globals, &reader, &selection, query)?,
            None => Source::new(&reader, &selection)?,
        };
        if source.events().next().transpose()?.is_none() {
            super::remark("nothing happened that fits; `greffier list` shows all conversations");
            return Ok(Exit::NothingFound);
        }
        if source.unsearched() > 0 {
            let newest = counted(source.unsearched(), "event");
            super::remark(&format!("the newest {newest} could not be searched yet and are left out"));
        }
        match output {
            Some(output) => write(&source, format, &output)?,
            None => {
                let mut out = Out::new();
                export::to_writer(&source, format, out.raw(), &mut |_, _| ())?;
                out.finish()?;
            }
        }
        Ok(Exit::Done)
    }

    fn search<'r>(
        &self,
        globals: &Globals,
        reader: &'r Reader,
        selection: &'r Selection,
        query: &Query,
    ) -> anyhow::Result<Source<'r>> {
        let index = opened(&self.archive.layout(globals)?)?;
        let scope =
            Scope { conversations: selection.conversations.clone(), since: selection.since, until: selection.until };
        let reached = index.reached();
        let hits = index.matches(query, &scope)?;
        let hits = hits.map(|hit| hit.map_err(|error| export::ExportError::Search(error.to_string())));
        Ok(Source::of_search(reader, selection, reached, hits)?)
    }
}

fn write(source: &Source<'_>, format: &dyn Format, output: &Output) -> anyhow::Result<()> {
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
