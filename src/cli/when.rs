//! Points in time as people type them: `--since` and `--until`.

use chrono::{Days, NaiveDate, NaiveTime};
use clap::Args;

use crate::model::Timestamp;

/// What was typed, before it is known what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// An exact time.
    At(Timestamp),
    /// A whole day, UTC.
    Day(NaiveDate),
    /// So many seconds ago.
    Ago(u64),
}

impl When {
    /// Reads RFC 3339, a date, or a span back such as `7d`, `12h`, `90m`. Used by clap.
    pub(super) fn parse(text: &str) -> Result<When, String> {
        let text = text.trim();
        if let Some(at) = Timestamp::parse_rfc3339(text) {
            return Ok(When::At(at));
        }
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(When::Day(day));
        }
        let seconds = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            _ => 0,
        };
        let count = text.get(..text.len().saturating_sub(1)).filter(|_| seconds > 0);
        let ago = count.and_then(|count| count.parse::<u64>().ok()).and_then(|count| count.checked_mul(seconds));
        ago.map(When::Ago).ok_or_else(|| {
            "not a time; write 2026-11-21T09:30:00Z, a date such as 2026-11-21 (UTC), or a span back such as 7d, 12h, 90m"
                .to_owned()
        })
    }

    /// As the beginning of a span: a day begins at its midnight.
    pub(super) fn since(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::Day(day) => Timestamp::from(day.and_time(NaiveTime::MIN).and_utc()),
            When::Ago(seconds) => {
                let back = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
                Timestamp(now.micros().saturating_sub(back))
            }
        }
    }

    /// As the end of a span, itself excluded: a day ends where the next one begins.
    pub(super) fn until(self, now: Timestamp) -> Timestamp {
        match self {
            When::Day(day) => {
                day.checked_add_days(Days::new(1)).map_or(Timestamp(i64::MAX), |next| When::Day(next).since(now))
            }
            other => other.since(now),
        }
    }
}

/// `--since` and `--until`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Span {
    /// From this time on: RFC 3339, a date (UTC), or a span back such as 7d, 12h, 90m
    #[arg(long, value_name = "T", value_parser = When::parse)]
    pub(super) since: Option<When>,

    /// Before this time; a date means until the end of that day
    #[arg(long, value_name = "T", value_parser = When::parse)]
    pub(super) until: Option<When>,
}

impl Span {
    /// Begin (included) and end (excluded), as far as given.
    ///
    /// # Errors
    /// If the end is not after the begin.
    pub(super) fn resolve(self, now: Timestamp) -> anyhow::Result<(Option<Timestamp>, Option<Timestamp>)> {
        let (since, until) = (self.since.map(|when| when.since(now)), self.until.map(|when| when.until(now)));
        if let (Some(since), Some(until)) = (since, until) {
            anyhow::ensure!(since < until, "--since {since} is not before --until {until}: nothing can lie between");
        }
        Ok((since, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_spans_are_read() {
        let now = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").expect("time");
        let cases = [
            ("2026-11-21T09:30:00+01:00", "2026-11-21T08:30:00.000Z", "2026-11-21T08:30:00.000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"),
            ("7d", "2026-11-14T12:00:00.000Z", "2026-11-14T12:00:00.000Z"),
            ("12h", "2026-11-21T00:00:00.000Z", "2026-11-21T00:00:00.000Z"),
            ("90m", "2026-11-21T10:30:00.000Z", "2026-11-21T10:30:00.000Z"),
            ("2w", "2026-11-07T12:00:00.000Z", "2026-11-07T12:00:00.000Z"),
        ];
        for (text, since, until) in cases {
            let when = When::parse(text).expect(text);
            assert_eq!(
                (when.since(now).rfc3339().as_str(), when.until(now).rfc3339().as_str()),
                (since, until),
                "{text}"
            );
        }
        for text in
            ["", "d", "7", "7x", "-7d", "2026-13-01", "yesterday", "2026-11-21T09:30:00", "99999999999999999999d", "ü"]
        {
            assert!(When::parse(text).is_err(), "{text}");
        }
        assert!(When::parse("184467440737095516s").expect("long ago").since(now) < Timestamp(0));
    }
}
