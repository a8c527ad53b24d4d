//! A stretch of time cut into slots that fit on a page: days, weeks, months or years, each with what happened in it.

use chrono::{Datelike, Days, Months, NaiveDate};

use super::{time, words};
use crate::archive::reader::Activity;

/// More slots than this do not fit beside each other when each shall be as wide as a finger needs.
const MOST: usize = 42;

/// How wide a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Unit {
    /// The finest unit of which the span (both days included) has no more than fit.
    pub fn fitting(from: NaiveDate, to: NaiveDate) -> Unit {
        let fits = |unit: &Unit| slots(from, to, *unit).len() <= MOST;
        [Unit::Day, Unit::Week, Unit::Month].into_iter().find(fits).unwrap_or(Unit::Year)
    }

    /// `day`, `week`, `month`, `year`.
    pub fn word(self) -> &'static str {
        match self {
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
            Unit::Year => "year",
        }
    }

    fn start(self, date: NaiveDate) -> NaiveDate {
        let start = match self {
            Unit::Day => Some(date),
            Unit::Week => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday()))),
            Unit::Month => date.with_day(1),
            Unit::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        };
        start.unwrap_or(date)
    }

    fn next(self, start: NaiveDate) -> Option<NaiveDate> {
        match self {
            Unit::Day => start.checked_add_days(Days::new(1)),
            Unit::Week => start.checked_add_days(Days::new(7)),
            Unit::Month => start.checked_add_months(Months::new(1)),
            Unit::Year => start.checked_add_months(Months::new(12)),
        }
    }

    /// What a slot is called: `Saturday 21 November 2026`, `Week of 16 Nov 2026`, `November 2026`, `2026`.
    fn name(self, from: NaiveDate) -> String {
        match self {
            Unit::Day => time::day(from),
            Unit::Week => format!("Week of {}", time::short_day(from)),
            Unit::Month => from.format("%B %Y").to_string(),
            Unit::Year => from.format("%Y").to_string(),
        }
    }
}

/// The first and last day of each slot that touches the span.
fn slots(from: NaiveDate, to: NaiveDate, unit: Unit) -> Vec<(NaiveDate, NaiveDate)> {
    let mut slots = Vec::new();
    let mut start = unit.start(from);
    // Enough to know that it is too many.
    while start <= to && slots.len() <= 400 {
        let Some(next) = unit.next(start) else { break };
        slots.push((start, next.pred_opt().unwrap_or(start)));
        start = next;
    }
    slots
}

/// One slot with what happened in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// See [`Unit`].
    pub name: String,
    /// Messages sent.
    pub messages: u64,
    /// Conversations that began.
    pub conversations: u64,
    /// Gaps that began.
    pub gaps: u64,
}

impl Slot {
    /// `12 messages, 3 conversations begun, 1 gap`.
    pub fn words(&self) -> String {
        let mut text = words::plural(self.messages, "message");
        text.push_str(", ");
        text.push_str(&words::plural(self.conversations, "conversation"));
        text.push_str(" begun");
        if self.gaps > 0 {
            text.push_str(", ");
            text.push_str(&words::plural(self.gaps, "gap"));
        }
        text
    }
}

/// Slots of one unit, in order of time, without holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// How wide a slot is.
    pub unit: Unit,
    /// The slots.
    pub slots: Vec<Slot>,
}

impl Timeline {
    /// Cuts the span (both days included) and sorts the days' activity into it.
    pub fn new(from: NaiveDate, to: NaiveDate, unit: Unit, days: &[Activity]) -> Timeline {
        let mut slots: Vec<Slot> = slots(from, to, unit)
            .into_iter()
            .map(|(from, to)| Slot { from, to, name: unit.name(from), messages: 0, conversations: 0, gaps: 0 })
            .collect();
        for day in days {
            let Some(date) = date_of(day.day) else { continue };
            let after = slots.partition_point(|slot| slot.from <= date);
            if let Some(slot) = after.checked_sub(1).and_then(|i| slots.get_mut(i)).filter(|slot| date <= slot.to) {
                slot.messages += day.messages;
                slot.conversations += day.conversations_started;
                slot.gaps += day.gaps;
            }
        }
        Timeline { unit, slots }
    }
}

/// The date of a day counted from 1970-01-01.
pub fn date_of(day: i64) -> Option<NaiveDate> {
    let days = Days::new(day.unsigned_abs());
    let epoch = NaiveDate::default();
    if day < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) }
}

/// The day counted from 1970-01-01.
pub fn day_of(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// One bar of a chart of columns, in units of the chart's `viewBox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Left edge of the slot.
    pub x: u32,
    /// Upper edge of the bar.
    pub y: u32,
    /// Height of the bar; at least 1 where there was anything.
    pub height: u32,
    /// Where it leads.
    pub href: String,
    /// What it is, for a title and for who cannot see it.
    pub words: String,
    /// Whether to mark that something may be missing there.
    pub gap: bool,
    /// Whether it lies outside of what is listed.
    pub dim: bool,
}

/// A chart of columns, ready for `partials/_bars.html`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Class of what is shown: `messages` or `gaps`.
    pub class: &'static str,
    /// The bars, each [`Chart::STEP`] wide with its blank.
    pub bars: Vec<Bar>,
    /// Width of the whole.
    pub width: u32,
    /// Class that says how much room the bars need.
    pub size: &'static str,
    /// What the first, a middle and the last bar are.
    pub axis: Vec<String>,
    /// What the highest bar stands for.
    pub top: String,
    /// What is shown, as the chart's name.
    pub name: String,
    /// Whether any bar has the mark that something may be missing.
    pub marked: bool,
}

impl Chart {
    /// Width of a slot.
    pub const STEP: u32 = 24;
    /// Height of the whole.
    pub const HEIGHT: u32 = 64;

    /// Messages in each slot; `href` says where a slot leads.
    pub fn messages(timeline: &Timeline, href: impl Fn(&Slot) -> String) -> Chart {
        Chart::of(timeline, "messages", "message", |slot| slot.messages, href)
    }

    /// Gaps that began in each slot.
    pub fn gaps(timeline: &Timeline, href: impl Fn(&Slot) -> String) -> Chart {
        Chart::of(timeline, "gaps", "gap", |slot| slot.gaps, href)
    }

    /// Dims what lies outside of these days.
    #[must_use]
    pub fn choosing(mut self, timeline: &Timeline, from: NaiveDate, to: NaiveDate) -> Chart {
        for (bar, slot) in self.bars.iter_mut().zip(&timeline.slots) {
            bar.dim = slot.to < from || slot.from > to;
        }
        self
    }

    fn of(
        timeline: &Timeline,
        class: &'static str,
        thing: &str,
        number: impl Fn(&Slot) -> u64,
        href: impl Fn(&Slot) -> String,
    ) -> Chart {
        let most = timeline.slots.iter().map(&number).max().unwrap_or(0);
        let bar = |(slot, x): (&Slot, u32)| {
            // Rounded up: what is not nothing is seen.
            let height = (number(slot) * u64::from(Chart::HEIGHT)).div_ceil(most.max(1));
            let height = u32::try_from(height).unwrap_or(Chart::HEIGHT);
            Bar {
                x: x * Chart::STEP,
                y: Chart::HEIGHT - height,
                height,
                href: href(slot),
                words: format!("{}: {}", slot.name, slot.words()),
                gap: slot.gaps > 0 && class != "gaps",
                dim: false,
            }
        };
        let bars: Vec<Bar> = timeline.slots.iter().zip(0..).map(bar).collect();
        let unit = timeline.unit.word();
        Chart {
            width: u32::try_from(bars.len()).unwrap_or(1).max(1) * Chart::STEP,
            size: match bars.len() {
                0..=12 => "few",
                13..=31 => "some",
                _ => "many",
            },
            axis: axis(&timeline.slots),
            top: format!("at most {} in a {unit}", words::plural(most, thing)),
            name: format!("{} in each {unit}", if class == "gaps" { "Gaps" } else { "Messages" }),
            class,
            marked: bars.iter().any(|bar| bar.gap),
            bars,
        }
    }
}

/// Names of the first, the middle and the last slot, short.
fn axis(slots: &[Slot]) -> Vec<String> {
    let picked: Vec<&Slot> = match slots.len() {
        0..=2 => slots.iter().collect(),
        n => vec![&slots[0], &slots[n / 2], &slots[n - 1]],
    };
    picked.into_iter().map(|slot| time::short_day(slot.from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn activity(day: &str, messages: u64, gaps: u64) -> Activity {
        Activity { day: day_of(date(day)), messages, events: messages, conversations_started: 1, gaps }
    }

    #[test]
    fn the_unit_fits_the_span() {
        let fitting = |from, to| Unit::fitting(date(from), date(to));
        assert_eq!(fitting("2026-11-21", "2026-11-21"), Unit::Day);
        assert_eq!(fitting("2026-11-01", "2026-11-30"), Unit::Day);
        assert_eq!(fitting("2026-03-01", "2026-11-20"), Unit::Week);
        assert_eq!(fitting("2024-01-01", "2026-12-20"), Unit::Month);
        assert_eq!(fitting("1970-01-01", "2026-12-20"), Unit::Year);
    }

    #[test]
    fn slots_have_no_holes_and_count_their_days() {
        let days = [
            activity("2026-02-27", 3, 0),
            activity("2026-03-01", 4, 1),
            activity("2026-03-31", 5, 0),
            activity("2027-01-01", 9, 0),
        ];
        let line = Timeline::new(date("2026-02-10"), date("2026-04-02"), Unit::Month, &days);
        let told: Vec<String> = line.slots.iter().map(|slot| format!("{}: {}", slot.name, slot.words())).collect();
        assert_eq!(
            told.join("\n").replace('\u{a0}', " "),
            "February 2026: 3 messages, 1 conversation begun\n\
             March 2026: 9 messages, 2 conversations begun, 1 gap\n\
             April 2026: 0 messages, 0 conversations begun"
        );
        let weeks = Timeline::new(date("2026-02-10"), date("2026-03-01"), Unit::Week, &days);
        assert_eq!(
            weeks.slots.iter().map(|s| s.from.to_string()).collect::<Vec<_>>(),
            ["2026-02-09", "2026-02-16", "2026-02-23"]
        );
        assert_eq!(weeks.slots[2].messages, 7);
    }

    #[test]
    fn bars_are_as_high_as_they_should_be() {
        let days = [activity("2026-11-19", 1000, 0), activity("2026-11-20", 1, 0)];
        let line = Timeline::new(date("2026-11-19"), date("2026-11-21"), Unit::Day, &days);
        let chart = Chart::messages(&line, |slot| format!("/?from={0}&to={0}", slot.from));
        let heights: Vec<(u32, u32, u32)> = chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect();
        assert_eq!(heights, [(0, 0, 64), (24, 63, 1), (48, 64, 0)]);
        let dim: Vec<bool> =
            chart.clone().choosing(&line, line.slots[1].from, line.slots[1].to).bars.iter().map(|b| b.dim).collect();
        assert_eq!(dim, [true, false, true]);
        assert_eq!((chart.width, chart.bars[1].href.as_str()), (72, "/?from=2026-11-20&to=2026-11-20"));
    }

    #[test]
    fn days_are_counted_from_1970() {
        for day in [0, 1, -1, 20_778] {
            assert_eq!(date_of(day).map(day_of), Some(day));
        }
        assert_eq!(date_of(i64::MAX), None);
    }
}
