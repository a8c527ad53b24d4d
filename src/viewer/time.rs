//! Times as pages show them: in the reader's zone, the same way everywhere.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, SecondsFormat, TimeZone};
use chrono_tz::Tz;

use crate::model::Timestamp;

/// The point of time on the reader's wall.
pub fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.to_chrono().with_timezone(&zone)
}

/// For `<time datetime>`: `2026-11-21T10:30:00.123+01:00`.
pub fn iso(at: Timestamp, zone: Tz) -> String {
    local(at, zone).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The calendar day it falls on.
pub fn date(at: Timestamp, zone: Tz) -> NaiveDate {
    local(at, zone).date_naive()
}

/// `Saturday 21 November 2026`.
pub fn day(date: NaiveDate) -> String {
    date.format("%A %-d %B %Y").to_string()
}

/// `21 Nov 2026`.
pub fn short_day(date: NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

/// `09:30`.
pub fn clock(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%H:%M").to_string()
}

/// `09:30:12`.
pub fn clock_seconds(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%H:%M:%S").to_string()
}

/// `21 Nov 2026, 09:30`.
pub fn date_time(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%-d %b %Y, %H:%M").to_string()
}

/// `Saturday 21 November 2026, 09:30:12 UTC+01:00`: everything, for titles and for print.
pub fn full(at: Timestamp, zone: Tz) -> String {
    format!("{} {}", local(at, zone).format("%A %-d %B %Y, %H:%M:%S"), offset(at, zone))
}

/// Distance from UTC at that time: `UTC+01:00`, or `UTC`.
pub fn offset(at: Timestamp, zone: Tz) -> String {
    let seconds = zone.offset_from_utc_datetime(&at.to_chrono().naive_utc()).fix().local_minus_utc();
    if seconds == 0 {
        return "UTC".to_owned();
    }
    let sign = if seconds < 0 { '\u{2212}' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A length of time: `12 s`, `45 min`, `1 h 05 min`, `3 d 4 h`.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}\u{a0}s"),
        (0, 0, m, _) => format!("{m}\u{a0}min"),
        (0, h, m, _) => format!("{h}\u{a0}h\u{a0}{m:02}\u{a0}min"),
        (d, h, _, _) => format!("{d}\u{a0}d\u{a0}{h}\u{a0}h"),
    }
}

/// From when to when, to stand under the first day's name: `09:30–10:15`, `since 09:30`, `23:40 – 22 Nov, 00:10`.
pub fn span(from: Timestamp, to: Option<Timestamp>, zone: Tz) -> String {
    let start = clock(from, zone);
    let Some(to) = to else { return format!("since {start}") };
    let (first, last) = (local(from, zone), local(to, zone));
    if first.date_naive() == last.date_naive() {
        return format!("{start}–{}", clock(to, zone));
    }
    let pattern = if first.year() == last.year() { "%-d %b, %H:%M" } else { "%-d %b %Y, %H:%M" };
    format!("{start} – {}", last.format(pattern))
}

/// The first moment of a day in a zone (which need not be midnight where clocks change at midnight).
pub fn start_of(date: NaiveDate, zone: Tz) -> Timestamp {
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    let mut moment = midnight;
    // Clocks jump by at most a day (a zone that moved across the date line skipped one).
    for _ in 0..=96 {
        if let Some(found) = zone.from_local_datetime(&moment).earliest() {
            return found.to_utc().into();
        }
        moment += chrono::TimeDelta::minutes(15);
    }
    midnight.and_utc().into()
}

/// The day after.
pub fn next_day(date: NaiveDate) -> NaiveDate {
    date.checked_add_days(Days::new(1)).unwrap_or(date)
}

/// A point of time, ready for a template: `<time datetime="{{ m.iso }}" title="{{ m.full }}">{{ m.clock }}</time>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// See [`iso`].
    pub iso: String,
    /// See [`full`].
    pub full: String,
    /// See [`day`].
    pub day: String,
    /// See [`clock`].
    pub clock: String,
    /// See [`date_time`].
    pub date_time: String,
}

impl Moment {
    /// The moment in a zone.
    pub fn new(at: Timestamp, zone: Tz) -> Moment {
        Moment {
            iso: iso(at, zone),
            full: full(at, zone),
            day: day(date(at, zone)),
            clock: clock(at, zone),
            date_time: date_time(at, zone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let moment = Moment::new(at("2026-11-21T23:30:12.345Z"), Tz::Asia__Tokyo);
        assert_eq!(moment.iso, "2026-11-22T08:30:12.345+09:00");
        assert_eq!(moment.full, "Sunday 22 November 2026, 08:30:12 UTC+09:00");
        assert_eq!((moment.clock.as_str(), moment.date_time.as_str()), ("08:30", "22 Nov 2026, 08:30"));
        assert_eq!(offset(at("2026-07-01T00:00:00Z"), Tz::Europe__Berlin), "UTC+02:00");
        assert_eq!(offset(at("2026-07-01T00:00:00Z"), Tz::America__St_Johns), "UTC\u{2212}02:30");
        assert_eq!(iso(at("2026-11-21T23:30:12.345Z"), Tz::UTC), "2026-11-21T23:30:12.345Z");
    }

    #[test]
    fn a_day_begins_where_the_clocks_say() {
        let date = NaiveDate::from_ymd_opt(2018, 11, 4).expect("a date");
        // Brazil's clocks went from 23:59:59 to 01:00:00 that night.
        assert_eq!(start_of(date, Tz::America__Sao_Paulo), at("2018-11-04T03:00:00Z"));
        assert_eq!(start_of(date, Tz::UTC), at("2018-11-04T00:00:00Z"));
    }

    #[test]
    fn spans_and_lengths_are_short() {
        let from = at("2026-11-21T09:30:00Z");
        assert_eq!(span(from, Some(at("2026-11-21T10:15:59Z")), Tz::UTC), "09:30–10:15");
        assert_eq!(span(from, None, Tz::UTC), "since 09:30");
        assert_eq!(span(from, Some(at("2026-11-22T00:10:00Z")), Tz::UTC), "09:30 – 22 Nov, 00:10");
        assert_eq!(span(from, Some(at("2027-01-02T00:10:00Z")), Tz::UTC), "09:30 – 2 Jan 2027, 00:10");
        let lengths = [12, 45 * 60, 65 * 60, 3 * 86_400 + 4 * 3600].map(|s| length(Duration::from_secs(s)));
        assert_eq!(lengths.join("|").replace('\u{a0}', " "), "12 s|45 min|1 h 05 min|3 d 4 h");
    }
}
