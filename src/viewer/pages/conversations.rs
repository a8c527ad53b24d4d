//! `/`: every conversation, newest first; filters, a time line to jump by, and pages in both directions.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::archive::reader::{
    Conversation, ConversationFilter, ConversationPosition, ConversationState, Coverage, Totals,
};
use crate::archive::{ArchiveError, Reader};
use crate::model::Timestamp;
use crate::viewer::listing::{Day, days};
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::timeline::{Chart, Slot, Timeline, Unit, day_of};
use crate::viewer::{Viewer, links, time, words};

/// Conversations on a page.
const PAGE: usize = 40;

/// What a filter finds is counted up to here; beyond, "more than" will do.
const COUNTED: u64 = 1_000;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/", get(conversations))
}

/// What the address may say. Everything is text, so that a form left empty is no error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    subject: String,
    with: String,
    person: String,
    platform: String,
    connector: String,
    from: String,
    to: String,
    state: String,
    record: String,
    after: String,
    before: String,
}

impl Asked {
    /// The address of this list with other values for some parameters, from its first page.
    fn address(&self, changed: &[(&str, &str)]) -> String {
        let own = [
            ("subject", self.subject.as_str()),
            ("with", &self.with),
            ("person", &self.person),
            ("platform", &self.platform),
            ("connector", &self.connector),
            ("from", &self.from),
            ("to", &self.to),
            ("state", &self.state),
            ("record", &self.record),
        ];
        let value = |name, own| changed.iter().find(|(other, _)| *other == name).map_or(own, |(_, value)| *value);
        let mut all: Vec<(&str, &str)> = own.iter().map(|(name, own)| (*name, value(*name, *own))).collect();
        all.extend(changed.iter().filter(|(name, _)| matches!(*name, "after" | "before")));
        links::with("/", &all)
    }

    fn is_filtered(&self) -> bool {
        self.address(&[]) != "/"
    }
}

/// The address, understood.
struct Wanted {
    filter: ConversationFilter,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    turn: Turn,
}

/// In which direction the list is walked, and from where.
enum Turn {
    Older(Option<ConversationPosition>),
    Newer(ConversationPosition),
}

fn understand(asked: &Asked, zone: Tz) -> Result<Wanted, PageError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let date = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<NaiveDate>().map(Some).map_err(|_| PageError::BadRequest {
            problem: "A date cannot be understood.".into(),
            hint: "Write it as 2026-11-21: year, month, day.".into(),
        }),
    };
    let position = |text: &str| {
        text.parse::<ConversationPosition>().map_err(|_| PageError::BadRequest {
            problem: "The place in the list cannot be understood.".into(),
            hint: "Begin again at the newest conversations.".into(),
        })
    };
    let choice = |text: &str, choices: &[&str]| match choices.iter().position(|choice| *choice == text) {
        Some(found) => Ok(Some(found)),
        None if text.is_empty() => Ok(None),
        None => Err(PageError::BadRequest {
            problem: "The filter has a value that it does not know.".into(),
            hint: format!("It knows {}.", choices.join(" and ")),
        }),
    };
    let (from, to) = (date(&asked.from)?, date(&asked.to)?);
    let filter = ConversationFilter {
        since: from.map(|date| time::start_of(date, zone)),
        until: to.map(|date| time::start_of(time::next_day(date), zone)),
        participant: given(&asked.with),
        person: given(&asked.person),
        connector: given(&asked.connector),
        platform: given(&asked.platform),
        subject: given(&asked.subject),
        state: choice(&asked.state, &["live", "ended"])?
            .map(|chosen| [ConversationState::Live, ConversationState::Ended][chosen]),
        coverage: choice(&asked.record, &["complete", "incomplete"])?
            .map(|chosen| [Coverage::Complete, Coverage::Incomplete][chosen]),
    };
    let turn = match (asked.after.as_str(), asked.before.as_str()) {
        ("", "") => Turn::Older(None),
        (after, "") => Turn::Older(Some(position(after)?)),
        (_, before) => Turn::Newer(position(before)?),
    };
    Ok(Wanted { filter, from, to, turn })
}

/// One value of a choice.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

/// A filter in force, with the address without it.
struct Active {
    words: String,
    without: String,
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct Page {
    shell: Shell,
    asked: Asked,
    filtered: bool,
    active: Vec<Active>,
    platforms: Vec<Choice>,
    connectors: Vec<Choice>,
    found: String,
    chart: Option<Chart>,
    wider: String,
    days: Vec<Day>,
    newer: String,
    older: String,
    archive_is_empty: bool,
}

/// What the archive answered.
struct Answered {
    rows: Vec<Conversation>,
    /// Where the page of newer ones ends, if there are any.
    newer: Option<ConversationPosition>,
    older: Option<ConversationPosition>,
    /// Of all pages; `None` = not counted.
    count: Option<u64>,
    totals: Totals,
    person: Option<String>,
    connectors: Vec<(String, String)>,
    days: Vec<crate::archive::reader::Activity>,
    span: Option<(NaiveDate, NaiveDate)>,
}

async fn conversations(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let zone = prefs.zone;
    let wanted = understand(&asked, zone)?;
    let today = time::date(viewer.clock.now(), zone);
    let chosen = (wanted.from, wanted.to);
    let answer = viewer.readers.ask(move |reader| answer(reader, &wanted, today)).await?;
    let chart = answer.span.map(|(from, to)| {
        let line = Timeline::new(from, to, Unit::fitting(from, to), &answer.days);
        let href = |slot: &Slot| asked.address(&[("from", &slot.from.to_string()), ("to", &slot.to.to_string())]);
        Chart::messages(&line, href).choosing(&line, chosen.0.unwrap_or(from), chosen.1.unwrap_or(to))
    });
    let narrowed = !asked.from.is_empty() || !asked.to.is_empty();
    let choices = |values: Vec<(String, String)>, chosen: &str| {
        let choice = |(value, label): (String, String)| Choice { chosen: value == chosen, value, label };
        values.into_iter().map(choice).collect::<Vec<_>>()
    };
    let mut platforms: Vec<String> = answer.connectors.iter().map(|(_, platform)| platform.clone()).collect();
    platforms.sort();
    platforms.dedup();
    let platforms = platforms.into_iter().map(|value| (value.clone(), words::platform(&value))).collect();
    let connectors = answer.connectors.iter().map(|(name, _)| (name.clone(), name.clone())).collect();
    let page = Page {
        filtered: asked.is_filtered(),
        active: active(&asked, answer.person.as_deref()),
        platforms: choices(platforms, &asked.platform),
        connectors: choices(connectors, &asked.connector),
        found: found(answer.count, asked.is_filtered()),
        chart,
        wider: if narrowed { asked.address(&[("from", ""), ("to", "")]) } else { String::new() },
        days: days(&answer.rows, zone),
        newer: answer.newer.map(|p| asked.address(&[("before", &p.to_string())])).unwrap_or_default(),
        older: answer.older.map(|p| asked.address(&[("after", &p.to_string())])).unwrap_or_default(),
        archive_is_empty: answer.totals.conversations == 0,
        shell: Shell::new(&viewer, prefs, "conversations", "Conversations"),
        asked,
    };
    Ok(html(page, Cache::Ask))
}

fn answer(reader: &Reader, wanted: &Wanted, today: NaiveDate) -> Result<Answered, ArchiveError> {
    let (rows, newer, older) = match wanted.turn {
        Turn::Older(after) => {
            let page = reader.conversations_newest(&wanted.filter, after, PAGE)?;
            // Who came here from newer ones can go back to them.
            let newer = if after.is_some() { position(reader, page.rows.first())? } else { None };
            (page.rows, newer, page.next)
        }
        Turn::Newer(before) => {
            // Walked towards the newer, so that it is the page next to where the reader comes from.
            let mut page = reader.conversations(&wanted.filter, Some(before), PAGE)?;
            page.rows.reverse();
            let older = position(reader, page.rows.last())?;
            (page.rows, page.next, older)
        }
    };
    let totals = reader.totals()?;
    let span = span(wanted, &totals, today);
    let line = ConversationFilter {
        platform: wanted.filter.platform.clone(),
        connector: wanted.filter.connector.clone(),
        ..ConversationFilter::default()
    };
    let days = span.map_or(Ok(Vec::new()), |(from, to)| {
        let unit = Unit::fitting(from, to);
        let line_up = Timeline::new(from, to, unit, &[]);
        let first = line_up.slots.first().map_or(from, |slot| slot.from);
        let last = line_up.slots.last().map_or(to, |slot| slot.to);
        reader.activity(day_of(first), day_of(last), &line)
    })?;
    let person = match &wanted.filter.person {
        Some(id) => reader.person(id)?.map(|row| words::named(row.name.as_deref(), &row.id)),
        None => None,
    };
    let count = match &wanted.filter {
        filter if *filter == ConversationFilter::default() => Some(totals.conversations),
        // Counting what only a walk over all conversations can tell would cost more than the page itself.
        filter
            if filter.subject.is_some()
                || filter.participant.is_some()
                || filter.since.is_some()
                || filter.until.is_some() =>
        {
            (newer.is_none() && older.is_none()).then_some(rows.len() as u64)
        }
        filter => Some(reader.count_conversations(filter, COUNTED + 1)?),
    };
    Ok(Answered {
        newer,
        older,
        count,
        connectors: reader.connectors()?.into_iter().map(|one| (one.name, one.platform)).collect(),
        rows,
        totals,
        person,
        days,
        span,
    })
}

fn position(reader: &Reader, of: Option<&Conversation>) -> Result<Option<ConversationPosition>, ArchiveError> {
    of.map_or(Ok(None), |conversation| reader.position_of_conversation(&conversation.id))
}

/// The time that the time line shows: what was asked for, else from the archive's first event to its last. Where that is
/// only a few days, their neighbours come with them, so that there is somewhere to go.
fn span(wanted: &Wanted, totals: &Totals, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let day = |at: Timestamp| time::date(at, Tz::UTC);
    let first = totals.first_at.map(day)?;
    let last = totals.last_at.map_or(today, day);
    let (from, to) = (wanted.from.unwrap_or(first), wanted.to.unwrap_or(last));
    let days = to.signed_duration_since(from).num_days() + 1;
    let (before, after) = match days {
        ..=0 => return None,
        // Nothing comes after the last event.
        1..14 if wanted.to.is_none() => (28 - days, 0),
        1..14 => (10, 10),
        _ => (0, 0),
    };
    let days = |days: i64| Days::new(days.unsigned_abs());
    Some((from.checked_sub_days(days(before)).unwrap_or(from), to.checked_add_days(days(after)).unwrap_or(to)))
}

fn found(count: Option<u64>, filtered: bool) -> String {
    match count {
        Some(count) if filtered && count > COUNTED => {
            format!("More than {} conversations found", words::count(COUNTED))
        }
        Some(count) if filtered => format!("{} found", words::plural(count, "conversation")),
        Some(count) => words::plural(count, "conversation"),
        None => "Newest first".to_owned(),
    }
}

fn active(asked: &Asked, person: Option<&str>) -> Vec<Active> {
    let shown = |text: &str| crate::harmless::one_line(text.trim());
    let each = [
        ("subject", format!("subject contains “{}”", shown(&asked.subject)), asked.subject.is_empty()),
        ("with", format!("with “{}”", shown(&asked.with)), asked.with.is_empty()),
        (
            "person",
            format!("with {}", person.map_or_else(|| shown(&asked.person), str::to_owned)),
            asked.person.is_empty(),
        ),
        ("platform", words::platform(&asked.platform), asked.platform.is_empty()),
        ("connector", format!("connector {}", shown(&asked.connector)), asked.connector.is_empty()),
        ("from", format!("from {}", shown(&asked.from)), asked.from.is_empty()),
        ("to", format!("to {}", shown(&asked.to)), asked.to.is_empty()),
        ("state", shown(&asked.state), asked.state.is_empty()),
        ("record", format!("{} record", shown(&asked.record)), asked.record.is_empty()),
    ];
    let given = each.into_iter().filter(|(_, _, empty)| !empty);
    given.map(|(name, words, _)| Active { words, without: asked.address(&[(name, "")]) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::tests::{ask, block_on, empty, get, main_of, story, told};

    /// Hrefs of the conversations on a page, in order, as numbers of the story.
    fn listed(page: &str) -> Vec<u8> {
        let number = |href: &str| (1..=250).find(|n| story::conversation(*n).as_str() == href);
        let hrefs = page.split("href=\"/conversations/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        hrefs.map(|href| number(href).expect("a conversation of the story")).collect()
    }

    #[test]
    fn the_list_shows_what_is_there_and_runs_nothing() {
        let (_dir, viewer) = told();
        let page = block_on(get(&viewer, "/")).text();
        insta::assert_snapshot!(main_of(&page));
        assert_eq!(listed(&page), [3, 2, 1, 4]);
        for never in ["<script>", "<img", "\" onmouseover", "\u{202e}"] {
            assert!(!main_of(&page).contains(never), "{never}");
        }
    }

    #[test]
    fn every_filter_keeps_what_fits() {
        let (_dir, viewer) = told();
        block_on(async {
            let cases: [(&str, &[u8]); 14] = [
                ("subject=BUDGET", &[1]),
                ("with=builder", &[2]),
                ("with=alice", &[3, 1, 4]),
                ("person=sip%3Aalice%40contoso.com", &[1, 4]),
                ("platform=ucwa", &[3, 2, 1, 4]),
                ("platform=teams", &[]),
                ("connector=sfb&subject=", &[3, 2, 1, 4]),
                ("from=2026-11-20", &[3, 2]),
                ("to=2026-11-19", &[1, 4]),
                ("from=2026-11-19&to=2026-11-20", &[2, 1]),
                ("state=live", &[3]),
                ("state=ended&record=complete", &[1]),
                ("record=incomplete", &[2, 4]),
                ("tz=Pacific/Kiritimati&from=2026-11-22", &[3]),
            ];
            for (query, wanted) in cases {
                let got = get(&viewer, &format!("/?{query}")).await;
                assert_eq!((got.status, listed(&got.text()).as_slice()), (200, wanted), "{query}");
            }
            let none = get(&viewer, "/?platform=teams").await.text();
            assert!(none.contains("No conversation fits") && none.contains("Remove all"), "{none}");
        });
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        let (_dir, viewer) = told();
        block_on(async {
            for query in ["from=yesterday", "after=1", "state=sleeping", "record=%3Cscript%3E", "before=x"] {
                let got = get(&viewer, &format!("/?{query}")).await;
                assert_eq!(got.status, 400, "{query}");
                assert!(!got.text().contains("<script>"), "{query}");
            }
        });
    }

    #[test]
    fn pages_lead_both_ways_and_miss_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = |n: u8| {
            let time = format!("2026-11-{:02}T{:02}:00:00Z", 1 + n / 20, n % 20);
            story::Script::of(n)
                .starts(&time, &format!("Number {n}"))
                .plain(&time, crate::model::Kind::RecordingStarted)
        };
        block_on(story::write(dir.path(), (1..=100).map(script).collect()));
        let viewer = crate::viewer::Viewer::at_rest(dir.path(), crate::viewer::tests::clock(), Default::default());
        let viewer = Arc::new(viewer.expect("a viewer"));
        let link = |page: &str, rel: &str| {
            let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
            Some(rest.split('"').next()?.replace("&#38;", "&"))
        };
        block_on(async {
            let (mut there, mut seen, mut at) = (Vec::new(), Vec::new(), Some("/?connector=sfb".to_owned()));
            let mut last = String::new();
            while let Some(path) = at {
                last = get(&viewer, &path).await.text();
                seen.extend(listed(&last));
                there.push(listed(&last));
                at = link(&last, "next");
            }
            assert_eq!(seen, (1..=100).rev().collect::<Vec<u8>>());
            let mut back = vec![listed(&last)];
            while let Some(path) = link(&last, "prev") {
                last = get(&viewer, &path).await.text();
                back.push(listed(&last));
            }
            let mut again: Vec<u8> = back.into_iter().rev().flatten().collect();
            again.dedup();
            assert_eq!(again, seen);
        });
    }

    #[test]
    fn an_empty_archive_says_what_to_do() {
        let (_dir, viewer) = empty();
        let page = block_on(get(&viewer, "/")).text();
        assert!(page.contains("Nothing has been recorded yet."), "{page}");
    }

    #[test]
    fn an_unchanged_list_is_not_sent_again() {
        let (_dir, viewer) = told();
        block_on(async {
            let first = get(&viewer, "/").await;
            assert_eq!(first.header("cache-control"), "private, no-cache");
            let tag = first.header("etag");
            let again = ask(&viewer, "GET", "/", &[("if-none-match", &tag), ("accept-encoding", "br")]).await;
            assert_eq!((again.status, again.body.len()), (304, 0));
            let other = ask(&viewer, "GET", "/", &[("if-none-match", &tag), ("cookie", "tz=Asia/Tokyo")]).await;
            assert_eq!(other.status, 200);
        });
    }
}
