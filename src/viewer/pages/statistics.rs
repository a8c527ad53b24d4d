//! `/statistics`: how much was said and when, in which conversations most, and how well it was captured.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use chrono::{Days, NaiveDate};
use serde::Deserialize;

use crate::archive::reader::{Activity, Conversation, ConversationFilter, Totals};
use crate::archive::{ArchiveError, Reader};
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::timeline::{Chart, Slot, Timeline, Unit, date_of, day_of};
use crate::viewer::{Viewer, links, time, words};

/// Conversations in the list of the busiest.
const BUSIEST: usize = 12;

/// Width of the longest bar of that list, in the units of its drawing.
const LONGEST: u64 = 200;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/statistics", get(statistics))
}

/// The spans that can be chosen: value, label, words, days back (0 = all).
const SPANS: [(&str, &str, &str, u64); 4] = [
    ("30", "30 days", "in the last 30 days", 30),
    ("90", "90 days", "in the last 90 days", 90),
    ("365", "A year", "in the last 365 days", 365),
    ("all", "All times", "since the beginning", 0),
];

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    span: String,
}

struct Span {
    href: String,
    label: &'static str,
    chosen: bool,
}

/// A conversation with a bar for its messages.
struct Busy {
    href: String,
    title: String,
    when: String,
    messages: String,
    /// Of [`LONGEST`].
    width: u64,
}

/// A slot as a row of the table, which says the same as the drawing.
struct Row {
    href: String,
    name: String,
    messages: String,
    conversations: String,
    gaps: u64,
}

#[derive(Template)]
#[template(path = "statistics.html")]
struct Statistics {
    shell: Shell,
    spans: Vec<Span>,
    chart: Option<Chart>,
    health: Option<Chart>,
    unit: &'static str,
    rows: Vec<Row>,
    totals: [(&'static str, String); 5],
    busiest: Vec<Busy>,
    since: &'static str,
    gaps: u64,
}

/// What the archive answered.
struct Answered {
    totals: Totals,
    span: Option<(NaiveDate, NaiveDate)>,
    days: Vec<Activity>,
    busiest: Vec<Conversation>,
}

async fn statistics(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let chosen = match asked.span.as_str() {
        "" => SPANS[1],
        value => *SPANS.iter().find(|span| span.0 == value).ok_or_else(|| PageError::BadRequest {
            problem: "There is no such span.".into(),
            hint: "There are 30, 90 and 365 days, and all.".into(),
        })?,
    };
    let today = time::date(viewer.clock.now(), chrono_tz::Tz::UTC);
    let answer = viewer.readers.ask(move |reader| answer(reader, chosen.3, today)).await?;
    let line = answer.span.map(|(from, to)| Timeline::new(from, to, Unit::fitting(from, to), &answer.days));
    let href = |slot: &Slot| links::with("/", &[("from", &slot.from.to_string()), ("to", &slot.to.to_string())]);
    let most = answer.busiest.iter().map(|one| one.messages).max().unwrap_or(0).max(1);
    let totals = answer.totals;
    let page = Statistics {
        spans: SPANS
            .iter()
            .map(|span| Span {
                href: links::with("/statistics", &[("span", span.0)]),
                label: span.1,
                chosen: span.0 == chosen.0,
            })
            .collect(),
        chart: line.as_ref().map(|line| Chart::messages(line, href)),
        health: line.as_ref().map(|line| Chart::gaps(line, href)),
        unit: line.as_ref().map_or("day", |line| line.unit.word()),
        gaps: line.iter().flat_map(|line| &line.slots).map(|slot| slot.gaps).sum(),
        rows: line.iter().flat_map(|line| &line.slots).rev().map(|slot| Row::new(slot, href(slot))).collect(),
        totals: [
            ("Messages", words::count(totals.messages)),
            ("Conversations", words::count(totals.conversations)),
            ("People", words::count(totals.people)),
            ("Live now", words::count(totals.live)),
            ("Events", words::count(totals.events)),
        ],
        busiest: answer.busiest.iter().map(|one| Busy::new(one, most, prefs.zone)).collect(),
        since: chosen.2,
        shell: Shell::new(&viewer, prefs, "statistics", "Statistics"),
    };
    Ok(html(page, Cache::Ask))
}

fn answer(reader: &Reader, back: u64, today: NaiveDate) -> Result<Answered, ArchiveError> {
    let totals = reader.totals()?;
    let day = |at: crate::model::Timestamp| date_of(at.micros().div_euclid(86_400_000_000));
    let first = totals.first_at.and_then(day);
    let last = totals.last_at.and_then(day).unwrap_or(today).max(today);
    let from = match back {
        0 => first,
        days => first.map(|_| today.checked_sub_days(Days::new(days - 1)).unwrap_or(today)),
    };
    let span = from.map(|from| (from, last));
    let days = match span {
        Some((from, to)) => reader.activity(day_of(from), day_of(to), &ConversationFilter::default())?,
        None => Vec::new(),
    };
    let since = from.map(|from| time::start_of(from, chrono_tz::Tz::UTC));
    Ok(Answered { busiest: reader.busiest(since, BUSIEST)?, totals, span, days })
}

impl Busy {
    fn new(conversation: &Conversation, most: u64, zone: chrono_tz::Tz) -> Busy {
        Busy {
            href: links::conversation(&conversation.id),
            title: words::title(conversation),
            when: time::short_day(time::date(conversation.started_at, zone)),
            messages: words::count(conversation.messages),
            width: (conversation.messages * LONGEST).div_ceil(most),
        }
    }
}

impl Row {
    fn new(slot: &Slot, href: String) -> Row {
        Row {
            href,
            name: slot.name.clone(),
            messages: words::count(slot.messages),
            conversations: words::count(slot.conversations),
            gaps: slot.gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::viewer::tests::{block_on, empty, get, main_of, told};

    #[test]
    fn drawings_say_the_same_as_the_table() {
        let (_dir, viewer) = told();
        let page = main_of(&block_on(get(&viewer, "/statistics?span=all")).text());
        insta::assert_snapshot!(page);
        assert!(
            page.contains("aria-label=\"Thursday 19 November 2026: 2\u{a0}messages, 1\u{a0}conversation begun\""),
            "{page}"
        );
    }

    #[test]
    fn spans_are_those_of_the_list() {
        let (_dir, viewer) = told();
        block_on(async {
            for span in ["", "?span=30", "?span=90", "?span=365", "?span=all"] {
                assert_eq!(get(&viewer, &format!("/statistics{span}")).await.status, 200, "{span}");
            }
            assert_eq!(get(&viewer, "/statistics?span=7").await.status, 400);
        });
    }

    #[test]
    fn an_empty_archive_draws_nothing() {
        let (_dir, viewer) = empty();
        let page = block_on(get(&viewer, "/statistics")).text();
        assert!(page.contains("No conversation in this time.") && !page.contains("class=\"bars"), "{page}");
    }
}
