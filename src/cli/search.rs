//! `greffier search`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;

use super::output::{Colour, Out, counted};
use super::reindex::interrupt;
use super::{ArchiveArg, Exit, Globals, signals};
use crate::archive::reader::Coverage;
use crate::archive::{Layout, Reader};
use crate::clock::{Clock, SystemClock};
use crate::harmless::one_line;
use crate::index::query::{Calendar, QueryError, parse};
use crate::index::{self, Answer, Cursor, FacetCount, Hit, Index, IndexError, Request, Sort, Standing};
use crate::model::Event;

/// Order of hits, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Relevance,
    Newest,
    Oldest,
}

/// Finds what was said
#[derive(Debug, Args)]
#[command(
    long_about = "Finds what was said, by whom, when and where; earlier versions of edited messages and deleted messages \
too. Words must all occur; \"exact phrase\", OR, -word, ( ), wor*; from:alice with:bob in:\"subject words\" \
kind:message platform:ucwa connector:sfb conversation:ID before:2026-11-01 after:7d on:2026-11-20 has:attachment \
has:link is:edited is:deleted. Case and accents do not count. Dates are UTC.

While a recorder runs, it keeps the index up to date and this reads it; otherwise what is missing is indexed first. What \
words match in which languages: docs/SEARCH.md."
)]
#[command(after_long_help = "Examples:
  greffier search budget
  greffier search '\"next quarter\" from:alice after:30d' --sort newest
  greffier search 'in:\"project x\" has:attachment' --json | jq -r .message.attachments[].name
  greffier search 'OPS-1234 OR 障害' --facets

Exit status 3 if nothing is found.")]
pub(super) struct Search {
    /// What to find; quote it for the shell. A query that begins with a dash comes after `--`
    query: Vec<String>,

    /// Hits at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Order of hits
    #[arg(long, value_enum, default_value_t = Order::Relevance)]
    sort: Order,

    /// Go on where the page before ended: the cursor it told
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,

    /// Also count all hits by sender, conversation, platform and month
    #[arg(long)]
    facets: bool,

    /// One JSON object per hit: the event (version 1) with snippet, score, standing, conversation_subject, coverage
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    archive: ArchiveArg,
}

/// A row of `--json`.
#[derive(Serialize)]
struct Row<'h> {
    #[serde(flatten)]
    event: &'h Event,
    /// HTML, escaped, with `<mark>`.
    snippet: String,
    score: f32,
    standing: Standing,
    /// The conversation's; an event that tells a subject has a `subject` of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_subject: Option<&'h str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
}

impl Search {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let layout = self.archive.layout(globals)?;
        let reader = Reader::open(&layout.database)?;
        let text = self.query.join(" ");
        let calendar = Calendar { now: SystemClock.now(), zone: chrono_tz::Tz::UTC };
        let query = match parse(&text, &calendar) {
            Ok(query) => query,
            Err(error) => {
                point_at(&text, &error);
                return Ok(Exit::Usage);
            }
        };
        let index = opened(&layout)?;
        let sort = match self.sort {
            Order::Relevance => Sort::Relevance,
            Order::Newest => Sort::Newest,
            Order::Oldest => Sort::Oldest,
        };
        let mut out = Out::new();
        let mut after = self.after;
        let mut left = self.limit as usize;
        let mut shown = 0;
        // Longer lists come in pages, so that nothing large is held.
        let answer = loop {
            let facets = self.facets && shown == 0;
            let request = Request { query: &query, sort, limit: left.min(200), after, facets };
            let answer = index.search(&reader, &request)?;
            if let Some(facets) = &answer.facets {
                self.show_facets(facets, &mut out)?;
            }
            for hit in &answer.hits {
                if self.json { out.json(&Row::of(hit))? } else { show(hit, &mut out)? }
            }
            shown += answer.hits.len();
            left -= answer.hits.len().min(left);
            match answer.next {
                Some(next) if left > 0 => after = Some(next),
                _ => break answer,
            }
        };
        out.finish()?;
        self.sum_up(&answer, shown, &reader)
    }

    /// Says on standard error what the list itself does not tell.
    fn sum_up(&self, answer: &Answer, shown: usize, reader: &Reader) -> anyhow::Result<Exit> {
        let newer = reader.log_size()?.saturating_sub(answer.reached.0);
        if newer > 0 {
            let are = if newer == 1 { "is" } else { "are" };
            super::remark(&format!("the newest {} {are} not searchable yet", counted(newer, "event")));
        }
        if shown == 0 {
            super::remark("nothing found; fewer or shorter words find more (wor* finds words that begin so)");
            return Ok(Exit::NothingFound);
        }
        if let Some(next) = answer.next {
            super::remark(&format!("{shown} of {} shown; more: --after {next}", counted(answer.total, "hit")));
        }
        Ok(Exit::Done)
    }

    fn show_facets(&self, facets: &index::Facets, out: &mut Out) -> std::io::Result<()> {
        if self.json {
            return out.json(&serde_json::json!({ "facets": facets }));
        }
        let mut list = |title: &str, counts: &[FacetCount]| {
            counts.iter().enumerate().try_for_each(|(i, facet)| {
                let title = if i == 0 { title } else { "" };
                let value = if facet.label == facet.value { "" } else { facet.value.as_str() };
                let line = format!("{title:<13} {:>9}  {}  {}", facet.count, one_line(&facet.label), one_line(value));
                out.line(line.trim_end())
            })
        };
        list("senders", &facets.senders)?;
        list("conversations", &facets.conversations)?;
        list("platforms", &facets.platforms)?;
        list("months", &facets.months)?;
        out.line("")
    }
}

impl Row<'_> {
    fn of(hit: &Hit) -> Row<'_> {
        Row {
            event: &hit.event,
            snippet: hit.snippet.to_html(),
            score: hit.score,
            standing: hit.standing,
            conversation_subject: hit.subject.as_deref(),
            coverage: hit.coverage,
        }
    }
}

/// Two lines per hit: where, when and who; then the text.
fn show(hit: &Hit, out: &mut Out) -> std::io::Result<()> {
    let event = &hit.event;
    let time = event.source_time.unwrap_or(event.recorded_at).to_chrono().format("%Y-%m-%d %H:%M:%S");
    let who = event.content.actor.as_ref().map(|who| (&who.name, &who.id));
    let who = who.or(event.content.participant.as_ref().map(|who| (&who.name, &who.id)));
    let who = who.map_or("–", |(name, id)| name.as_deref().unwrap_or(id));
    let place = event.conversation.as_ref().map_or("no conversation", |id| id.as_str());
    let mut line = format!("{time}  {}  {place}  seq {}", one_line(who), event.seq);
    if let Some(subject) = &hit.subject {
        line.push_str(&format!("  {}", one_line(subject)));
    }
    match hit.standing {
        Standing::Current => {}
        Standing::Superseded => line.push_str("  (edited later)"),
        Standing::Deleted => line.push_str("  (deleted)"),
    }
    if hit.coverage == Some(Coverage::Incomplete) {
        line.push_str("  (record incomplete)");
    }
    out.line(&line)?;
    let mut text = String::from("    ");
    if hit.snippet.parts.is_empty() {
        text.push_str(event.kind.as_str());
    }
    let (on, off) = out.brush(Colour::Yellow);
    text.push_str(&hit.snippet.to_terminal(&on, off));
    out.ours(&text)
}

/// Says what is wrong with the query, with a line that points at the place.
pub(super) fn point_at(text: &str, error: &QueryError) {
    let before = text.get(..error.at.start).unwrap_or(text);
    let meant = text.get(error.at.clone()).unwrap_or_default();
    let blank = " ".repeat(one_line(before).chars().count());
    let marks = "^".repeat(one_line(meant).chars().count().max(1));
    super::remark(&error.to_string());
    let pointer = format!("  {}\n  {blank}{marks}\n", one_line(text));
    // Standard error may be closed; then nobody wants to know.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), pointer.as_bytes());
}

/// The index, brought up to the log unless a recorder does that.
pub(super) fn opened(layout: &Layout) -> anyhow::Result<Index> {
    let stop = Arc::new(AtomicBool::new(false));
    let bar = ProgressBar::new(0);
    bar.set_style(super::bar_style("indexing", "{pos}/{len} events"));
    let asked = Arc::clone(&stop);
    let watch = signals::on_interrupt(move || interrupt(&asked))?;
    let ready = index::catch_up(layout, &stop, &mut |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    drop(watch);
    bar.finish_and_clear();
    match ready {
        // A recorder runs, or `reindex`: what it has made is read.
        Err(IndexError::Busy { .. }) => Index::open(layout).context("the recorder has not made the search index yet"),
        ready => Ok(ready?),
    }
}
