//! Points and spans of time as people type them into a query.

use chrono::{DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};

use super::Calendar;
use crate::model::Timestamp;

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// A point in time.
    At(Timestamp),
    /// A year, month or day: from (included) to (excluded).
    Span(Timestamp, Timestamp),
}

impl When {
    /// Where it begins.
    pub(super) fn start(self) -> Timestamp {
        match self {
            When::At(at) | When::Span(at, _) => at,
        }
    }

    /// Where it ends; a point ends where it begins.
    pub(super) fn end(self) -> Timestamp {
        match self {
            When::At(at) | When::Span(_, at) => at,
        }
    }
}

/// Reads a date or time; `None` if it is none.
pub(super) fn read(text: &str, calendar: &Calendar) -> Option<When> {
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return plain_year(at.to_utc().year()).then(|| When::At(Timestamp(at.timestamp_micros())));
    }
    let text = text.to_ascii_lowercase();
    let today = calendar.now.to_chrono().with_timezone(&calendar.zone).date_naive();
    let day = |day: NaiveDate| span(day, day.checked_add_days(Days::new(1))?, calendar);
    match text.as_str() {
        "today" => return day(today),
        "yesterday" => return day(today.checked_sub_days(Days::new(1))?),
        _ => {}
    }
    for format in ["%Y-%m-%dt%H:%M:%S%.f", "%Y-%m-%dt%H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(&text, format) {
            return (plain_year(at.year()) && starts_with_year(&text)).then(|| local(at, calendar).map(When::At))?;
        }
    }
    if let Some(ago) = ago(&text) {
        // Nothing was said before 1970 that an archive could hold.
        return Some(When::At(Timestamp(calendar.now.micros().saturating_sub(ago).max(0))));
    }
    let mut parts = text.split(['-', '/']);
    let mut number = |digits: usize| -> Option<Option<u32>> {
        let Some(part) = parts.next() else { return Some(None) };
        let good = part.bytes().all(|b| b.is_ascii_digit()) && (1..=digits).contains(&part.len());
        if good { part.parse().ok().map(Some) } else { None }
    };
    let (year, month, date) = (number(4)?, number(2)?, number(2)?);
    let year = i32::try_from(year?).ok().filter(|&year| plain_year(year) && starts_with_year(&text))?;
    if parts.next().is_some() {
        return None;
    }
    let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), date.unwrap_or(1))?;
    match (month, date) {
        (Some(_), Some(_)) => day(first),
        (Some(_), None) => span(first, first.checked_add_months(Months::new(1))?, calendar),
        (None, _) => span(first, first.checked_add_months(Months::new(12))?, calendar),
    }
}

fn plain_year(year: i32) -> bool {
    (1000..=9998).contains(&year)
}

fn starts_with_year(text: &str) -> bool {
    text.bytes().take_while(u8::is_ascii_digit).count() == 4
}

/// `7d` and the like, in microseconds.
fn ago(text: &str) -> Option<i64> {
    let seconds = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 7 * 86_400,
        _ => return None,
    };
    let count = &text[..text.len() - 1];
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    count.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)
}

fn span(first: NaiveDate, next: NaiveDate, calendar: &Calendar) -> Option<When> {
    let start = local(first.and_time(NaiveTime::MIN), calendar)?;
    Some(When::Span(start, local(next.and_time(NaiveTime::MIN), calendar)?))
}

/// A time of the calendar's zone. Where clocks were put back the first of both; where they were put forward, the first
/// half hour mark that exists.
fn local(mut at: NaiveDateTime, calendar: &Calendar) -> Option<Timestamp> {
    for _ in 0..=48 {
        match calendar.zone.from_local_datetime(&at) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => {
                return Some(Timestamp(time.timestamp_micros()));
            }
            LocalResult::None => at = at.checked_add_signed(TimeDelta::minutes(30))?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: chrono_tz::Tz) -> Calendar {
        Calendar { now: Timestamp::parse_rfc3339("2026-11-21T23:30:00Z").expect("time"), zone }
    }

    #[test]
    fn dates_begin_and_end_in_the_zone() {
        let zone = calendar(chrono_tz::Europe::Berlin);
        for (text, start, end) in [
            ("2026-11-01", "2026-10-31T23:00:00.000Z", "2026-11-01T23:00:00.000Z"),
            ("2026/11/1", "2026-10-31T23:00:00.000Z", "2026-11-01T23:00:00.000Z"),
            ("2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            ("2026-11", "2026-10-31T23:00:00.000Z", "2026-11-30T23:00:00.000Z"),
            ("2026", "2025-12-31T23:00:00.000Z", "2026-12-31T23:00:00.000Z"),
            // In Berlin it is the 22nd already.
            ("today", "2026-11-21T23:00:00.000Z", "2026-11-22T23:00:00.000Z"),
            ("Yesterday", "2026-11-20T23:00:00.000Z", "2026-11-21T23:00:00.000Z"),
            ("2026-11-21T09:30", "2026-11-21T08:30:00.000Z", "2026-11-21T08:30:00.000Z"),
            ("2026-11-21T09:30:00-02:00", "2026-11-21T11:30:00.000Z", "2026-11-21T11:30:00.000Z"),
            ("7d", "2026-11-14T23:30:00.000Z", "2026-11-14T23:30:00.000Z"),
            ("90m", "2026-11-21T22:00:00.000Z", "2026-11-21T22:00:00.000Z"),
        ] {
            let when = read(text, &zone).expect(text);
            assert_eq!((when.start().rfc3339().as_str(), when.end().rfc3339().as_str()), (start, end), "{text}");
        }
        for text in
            ["", "d", "7x", "-7d", "2026-13", "2026-02-30", "26-11-01", "2026-11-01-02", "99999999999999999d", "９d"]
        {
            assert_eq!(read(text, &zone), None, "{text}");
        }
    }

    #[test]
    fn a_day_without_midnight_begins_when_clocks_begin() {
        let zone = calendar(chrono_tz::America::Sao_Paulo);
        let when = read("2018-11-04", &zone).expect("date");
        assert_eq!(when.start().rfc3339(), "2018-11-04T03:00:00.000Z");
    }
}
