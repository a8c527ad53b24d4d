//! Times as pages show them: in the reader's zone, the same way everywhere.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, SecondsFormat, TimeZone, Timelike};
use chrono_tz::Tz;

use crate::model::Timestamp;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

// A transcript tells hundreds of times: they are written digit by digit, not by a pattern that is read each time.

/// Two digits.
fn two(text: &mut String, number: u32) {
    for digit in [number / 10 % 10, number % 10] {
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// Without leading zeros.
fn plain(text: &mut String, number: u32) {
    if number > 9 {
        two(text, number);
    } else {
        text.push(char::from_digit(number, 10).unwrap_or('0'));
    }
}

fn push_day(text: &mut String, date: impl Datelike) {
    text.push_str(DAYS[date.weekday().num_days_from_monday() as usize % 7]);
    text.push(' ');
    plain(text, date.day());
    text.push(' ');
    text.push_str(MONTHS[date.month0() as usize % 12]);
    text.push(' ');
    text.push_str(&date.year().to_string());
}

fn push_short_day(text: &mut String, date: impl Datelike) {
    plain(text, date.day());
    text.push(' ');
    text.push_str(&MONTHS[date.month0() as usize % 12][..3]);
    text.push(' ');
    text.push_str(&date.year().to_string());
}

fn push_clock(text: &mut String, at: &impl Timelike) {
    two(text, at.hour());
    text.push(':');
    two(text, at.minute());
}

fn push_clock_seconds(text: &mut String, at: &impl Timelike) {
    push_clock(text, at);
    text.push(':');
    two(text, at.second());
}

/// Text of at most so many bytes.
fn told(room: usize, write: impl FnOnce(&mut String)) -> String {
    let mut text = String::with_capacity(room);
    write(&mut text);
    text
}

/// The point of time on the reader's wall.
pub fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.to_chrono().with_timezone(&zone)
}

/// For `<time datetime>`: `2026-11-21T10:30:00.123+01:00`.
pub fn iso(at: Timestamp, zone: Tz) -> String {
    iso_of(&local(at, zone))
}

fn iso_of(at: &DateTime<Tz>) -> String {
    let offset = at.offset().fix().local_minus_utc();
    // Years of other lengths, and offsets with seconds, are rare enough for the general way.
    if !(0..=9999).contains(&at.year()) || offset % 60 != 0 {
        return at.to_rfc3339_opts(SecondsFormat::Millis, true);
    }
    let year = at.year().unsigned_abs();
    told(29, |text| {
        two(text, year / 100);
        two(text, year % 100);
        text.push('-');
        two(text, at.month());
        text.push('-');
        two(text, at.day());
        text.push('T');
        push_clock_seconds(text, at);
        let millis = at.nanosecond() / 1_000_000;
        text.push('.');
        text.push(char::from_digit(millis / 100 % 10, 10).unwrap_or('0'));
        two(text, millis % 100);
        if offset == 0 {
            return text.push('Z');
        }
        text.push(if offset < 0 { '-' } else { '+' });
        let minutes = offset.unsigned_abs() / 60;
        two(text, minutes / 60);
        text.push(':');
        two(text, minutes % 60);
    })
}

/// The calendar day it falls on.
pub fn date(at: Timestamp, zone: Tz) -> NaiveDate {
    local(at, zone).date_naive()
}

/// `Saturday 21 November 2026`.
pub fn day(date: NaiveDate) -> String {
    told(28, |text| push_day(text, date))
}

/// `21 Nov 2026`.
pub fn short_day(date: NaiveDate) -> String {
    told(11, |text| push_short_day(text, date))
}

/// `09:30`.
pub fn clock(at: Timestamp, zone: Tz) -> String {
    told(5, |text| push_clock(text, &local(at, zone)))
}

/// `09:30:12`.
pub fn clock_seconds(at: Timestamp, zone: Tz) -> String {
    told(8, |text| push_clock_seconds(text, &local(at, zone)))
}

/// `21 Nov 2026, 09:30`.
pub fn date_time(at: Timestamp, zone: Tz) -> String {
    date_time_of(&local(at, zone))
}

fn date_time_of(at: &DateTime<Tz>) -> String {
    told(18, |text| {
        push_short_day(text, at.date_naive());
        text.push_str(", ");
        push_clock(text, at);
    })
}

/// `Saturday 21 November 2026, 09:30:12 UTC+01:00`: everything, for titles and for print.
pub fn full(at: Timestamp, zone: Tz) -> String {
    full_of(&local(at, zone))
}

fn full_of(at: &DateTime<Tz>) -> String {
    told(52, |text| {
        push_day(text, at.date_naive());
        text.push_str(", ");
        push_clock_seconds(text, at);
        text.push(' ');
        push_offset(text, at.offset().fix().local_minus_utc());
    })
}

/// Distance from UTC at that time: `UTC+01:00`, or `UTC`.
pub fn offset(at: Timestamp, zone: Tz) -> String {
    let seconds = zone.offset_from_utc_datetime(&at.to_chrono().naive_utc()).fix().local_minus_utc();
    told(12, |text| push_offset(text, seconds))
}

fn push_offset(text: &mut String, seconds: i32) {
    text.push_str("UTC");
    if seconds == 0 {
        return;
    }
    text.push(if seconds < 0 { '\u{2212}' } else { '+' });
    let minutes = seconds.unsigned_abs() / 60;
    two(text, minutes / 60);
    text.push(':');
    two(text, minutes % 60);
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
        let local = local(at, zone);
        Moment {
            iso: iso_of(&local),
            full: full_of(&local),
            day: day(local.date_naive()),
            clock: told(5, |text| push_clock(text, &local)),
            date_time: date_time_of(&local),
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
    fn digits_are_those_of_the_patterns() {
        let zones =
            [Tz::UTC, Tz::Asia__Kathmandu, Tz::America__St_Johns, Tz::Africa__Monrovia, Tz::Pacific__Kiritimati];
        // From year -200 to 12,000, at all times of the day.
        for step in -100_i64..500 {
            let at = Timestamp(step * 631_139_040_123_457 + step * step * 7_777_777_777);
            for zone in zones {
                let wall = local(at, zone);
                assert_eq!(iso(at, zone), wall.to_rfc3339_opts(SecondsFormat::Millis, true));
                let told = [day(wall.date_naive()), short_day(wall.date_naive()), date_time(at, zone)];
                let patterns = ["%A %-d %B ", "%-d %b ", "%-d %b "].map(|pattern| wall.format(pattern).to_string());
                let year = wall.year();
                assert_eq!(
                    told,
                    [
                        format!("{}{year}", patterns[0]),
                        format!("{}{year}", patterns[1]),
                        format!("{}{year}, {}", patterns[2], wall.format("%H:%M"))
                    ]
                );
                assert_eq!(clock_seconds(at, zone), wall.format("%H:%M:%S").to_string());
                assert!(full(at, zone).ends_with(&offset(at, zone)));
            }
        }
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
