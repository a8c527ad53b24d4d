//! Calendar days of a zone as spans of time without holes and overlaps.

use chrono::{NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::model::Timestamp;

/// A calendar day: 24 hours, on the days when clocks are put forward or back one more or one less, or what the zone did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The date.
    pub date: NaiveDate,
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant of the next day.
    pub to: Timestamp,
}

impl Day {
    /// The day of this instant. Where clocks put back over midnight make the old date come again for a while, that while
    /// belongs to the new day, so that days follow each other.
    pub fn of(at: Timestamp, zone: Tz) -> Day {
        let mut date = at.to_chrono().with_timezone(&zone).date_naive();
        let mut to = start_of(next(date), zone);
        if to <= at && next(date) > date {
            date = next(date);
            to = start_of(next(date), zone);
        }
        Day { date, from: start_of(date, zone), to }
    }
}

fn next(date: NaiveDate) -> NaiveDate {
    date.succ_opt().unwrap_or(date)
}

/// The first instant whose local date is `date` or a later one.
fn start_of(date: NaiveDate, zone: Tz) -> Timestamp {
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    if let Some(found) = zone.from_local_datetime(&midnight).earliest() {
        return Timestamp(found.timestamp_micros());
    }
    // Clocks were put forward over midnight: the instant when that was done, to the second.
    let begun = |second: i64| {
        let at = chrono::DateTime::from_timestamp(second, 0).unwrap_or_default();
        at.with_timezone(&zone).date_naive() >= date
    };
    let around = midnight.and_utc().timestamp();
    let reach = TimeDelta::days(2).num_seconds();
    let (mut before, mut after) = (around - reach, around + reach);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if begun(middle) { after = middle } else { before = middle }
    }
    Timestamp(after.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn hours(text: &str, zone: Tz) -> (String, i64) {
        let day = Day::of(at(text), zone);
        (day.date.to_string(), (day.to.0 - day.from.0) / 3_600_000_000)
    }

    #[test]
    fn days_have_the_length_that_the_zone_gives_them() {
        assert_eq!(hours("2026-03-05T23:30:00Z", Tz::UTC), ("2026-03-05".into(), 24));
        assert_eq!(hours("2026-03-05T23:30:00Z", Tz::Europe__Berlin), ("2026-03-06".into(), 24));
        assert_eq!(hours("2026-03-29T12:00:00Z", Tz::Europe__Berlin), ("2026-03-29".into(), 23));
        assert_eq!(hours("2026-10-25T12:00:00Z", Tz::Europe__Berlin), ("2026-10-25".into(), 25));
        // No midnight: clocks went from 24:00 to 01:00.
        assert_eq!(hours("2018-11-04T12:00:00Z", Tz::America__Sao_Paulo), ("2018-11-04".into(), 23));
        // No such day: Samoa went from the 29th to the 31st.
        assert_eq!(hours("2011-12-30T09:59:59Z", Tz::Pacific__Apia), ("2011-12-29".into(), 24));
        assert_eq!(hours("2011-12-30T10:00:00Z", Tz::Pacific__Apia), ("2011-12-31".into(), 24));
        // One minute after midnight clocks were put back to 23:01 of the day before.
        assert_eq!(hours("2010-11-07T02:45:00Z", Tz::America__St_Johns), ("2010-11-07".into(), 25));
    }

    proptest! {
        #[test]
        fn days_follow_each_other_without_hole_or_overlap(
            second in -2_000_000_000_i64..4_000_000_000, zone in 0..chrono_tz::TZ_VARIANTS.len()
        ) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let at = Timestamp(second * 1_000_000);
            let day = Day::of(at, zone);
            prop_assert!(day.from <= at && at < day.to, "{zone} {at} {day:?}");
            for inside in [day.from, Timestamp(day.to.0 - 1)] {
                prop_assert_eq!(Day::of(inside, zone), day, "{} {}", zone, inside);
            }
            prop_assert_eq!(Day::of(day.to, zone).from, day.to);
            prop_assert!(Day::of(day.to, zone).date > day.date);
        }
    }
}
