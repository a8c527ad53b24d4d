//! Times and durations as Graph writes them: tolerant, because samples differ from the documents (digest §16, trap 27).

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};

use crate::model::Timestamp;

/// Reads a time: 0 to 7 fraction digits, `Z` or an offset, also without the `T`. `None` for anything else.
pub fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Some(time);
    }
    // `2021-03-1706:47:05.123Z` stands in documents.
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let date: NaiveDate = date.parse().ok()?;
    let clock = rest.trim_start_matches(['T', 't', ' ']);
    if let Some(time) = Timestamp::parse_rfc3339(&format!("{date}T{clock}")) {
        return Some(time);
    }
    // Without a zone: Graph means UTC.
    let naive: NaiveDateTime = format!("{date}T{clock}").parse().ok()?;
    Some(Timestamp::from(naive.and_utc()))
}

/// The time that a message id or etag says: milliseconds of the epoch. `None` if it is no such number.
pub fn from_id(text: &str) -> Option<Timestamp> {
    let good = (12..=14).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok().map(Timestamp::from_millis)).flatten()
}

/// Reads an ISO 8601 duration of days and smaller: `PT59S`, `PT1H2M3.4S`, `P1DT2H`.
pub fn duration(text: &str) -> Option<Duration> {
    let rest = text.trim().strip_prefix('P')?;
    let (days, clock) = rest.split_once('T').unwrap_or((rest, ""));
    let mut seconds = 0.0;
    for (part, units) in
        [(days, &[('W', 604_800.0), ('D', 86_400.0)][..]), (clock, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)][..])]
    {
        let mut number = String::new();
        for c in part.chars() {
            match units.iter().find(|(unit, _)| *unit == c) {
                Some((_, factor)) => seconds += number.replace(',', ".").parse::<f64>().ok()? * factor,
                None => {
                    number.push(c);
                    continue;
                }
            }
            number.clear();
        }
        if !number.is_empty() {
            return None;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_documents_and_services_write_them() {
        let want = Timestamp::parse_rfc3339("2021-03-17T06:47:05.123Z");
        for text in [
            "2021-03-17T06:47:05.123Z",
            "2021-03-1706:47:05.123Z",
            "2021-03-17T06:47:05.1230000Z",
            "2021-03-17 06:47:05.123",
            "2021-03-17T07:47:05.123+01:00",
        ] {
            assert_eq!(time(text).map(Timestamp::millis), want.map(Timestamp::millis), "{text}");
        }
        for text in ["", "soon", "2021-03-17", "2021-03-17T", "2021-13-17T06:47:05Z", "日本語日本語日本語"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(from_id("1612289992105").map(Timestamp::millis), Some(1_612_289_992_105));
        assert_eq!(from_id("16122899921051111"), None);
    }

    #[test]
    fn durations_have_fractions() {
        assert_eq!(duration("PT59S"), Some(Duration::from_secs(59)));
        assert_eq!(duration("PT1H2M3.4S"), Some(Duration::from_millis(3_723_400)));
        assert_eq!(duration("P1DT2H"), Some(Duration::from_secs(93_600)));
        for text in ["", "P", "59S", "PT5", "PTxS", "PT-1S"] {
            assert!(duration(text).is_none_or(|d| d.is_zero()), "{text}");
        }
    }
}
