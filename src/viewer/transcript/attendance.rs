//! Who was there when: a bar for every stay on one time line, and in words.

use std::collections::HashMap;

use chrono_tz::Tz;

use super::who::Who;
use crate::archive::reader::{Attendance, Conversation};
use crate::model::{Gap, Person, Timestamp};
use crate::viewer::time;

/// Width of the time line, units of the picture.
const WIDTH: i64 = 1_000;

/// People whose bars are drawn; the others are counted.
const DRAWN: usize = 200;

/// People who are seen without opening anything.
pub const FIRST: usize = 8;

/// The time line of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attended {
    /// People in the order they were first named.
    pub people: Vec<Row>,
    /// People without a row.
    pub more: usize,
    /// Gaps: nobody knows who came and went then.
    pub gaps: Vec<Bar>,
    /// Start, middle and end of the line, for the eye.
    pub axis: Vec<String>,
}

/// One person's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub who: Who,
    /// Stays on the line.
    pub bars: Vec<Bar>,
    /// Stays in words: `09:30–10:15, 10:20–`; empty if no stay is known.
    pub words: String,
    /// Whether the person is there now, as far as told.
    pub there: bool,
}

/// A stretch of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Start.
    pub x: i64,
    /// Length; at least so long that it can be seen.
    pub width: i64,
}

/// The time line of a conversation, until `now` if it goes on.
pub fn attended(conversation: &Conversation, stays: &[Attendance], gaps: &[Gap], zone: Tz, now: Timestamp) -> Attended {
    let first = stays.iter().map(|stay| stay.joined_at).min();
    let from = first.map_or(conversation.started_at, |first| first.min(conversation.started_at));
    let last = stays.iter().filter_map(|stay| stay.left_at).max();
    let to = conversation.ended_at.into_iter().chain(last).max();
    let open = stays.iter().any(|stay| stay.left_at.is_none()) || conversation.ended_at.is_none();
    let to = if open { now.max(to.unwrap_or(now)) } else { to.unwrap_or(now) }.max(from);
    let line = Line { from: from.micros(), length: (to.micros() - from.micros()).max(1) };
    let one_day = time::date(from, zone) == time::date(to, zone);
    let mut by_person: HashMap<&str, Vec<&Attendance>> = HashMap::new();
    for stay in stays {
        by_person.entry(stay.person.id.as_str()).or_default().push(stay);
    }
    let row = |person: &Person| {
        let stays = by_person.get(person.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        Row {
            who: Who::new(person),
            bars: stays.iter().map(|stay| line.bar(stay.joined_at, stay.left_at.unwrap_or(to))).collect(),
            words: words(stays, zone, one_day),
            there: stays.iter().any(|stay| stay.left_at.is_none()),
        }
    };
    let label = |at: i64| {
        let at = Timestamp(at);
        if one_day { time::clock(at, zone) } else { time::date_time(at, zone) }
    };
    Attended {
        people: conversation.participants.iter().take(DRAWN).map(row).collect(),
        more: conversation.participants.len().saturating_sub(DRAWN),
        gaps: gaps.iter().filter(|gap| gap.to > from && gap.from < to).map(|gap| line.bar(gap.from, gap.to)).collect(),
        axis: vec![label(from.micros()), label(from.micros() + line.length / 2), label(to.micros())],
    }
}

/// Who was there at a time, of these stays.
pub fn present(stays: &[Attendance], at: Timestamp) -> Vec<&Attendance> {
    let mut present: Vec<&Attendance> = Vec::new();
    for stay in stays.iter().filter(|stay| stay.joined_at <= at && stay.left_at.is_none_or(|left| left >= at)) {
        if present.iter().all(|known| known.person.id != stay.person.id) {
            present.push(stay);
        }
    }
    present
}

fn words(stays: &[&Attendance], zone: Tz, one_day: bool) -> String {
    const TOLD: usize = 6;
    let span = |stay: &&Attendance| match (one_day, stay.left_at) {
        (true, left) => time::span(stay.joined_at, left, zone),
        (false, None) => format!("since {}", time::date_time(stay.joined_at, zone)),
        (false, Some(left)) if time::date(stay.joined_at, zone) == time::date(left, zone) => {
            format!("{}–{}", time::date_time(stay.joined_at, zone), time::clock(left, zone))
        }
        (false, Some(left)) => {
            format!("{} – {}", time::date_time(stay.joined_at, zone), time::date_time(left, zone))
        }
    };
    let mut told: Vec<String> = stays.iter().take(TOLD).map(span).collect();
    if stays.len() > TOLD {
        told.push(format!("and {} more stays", stays.len() - TOLD));
    }
    told.join(", ")
}

struct Line {
    from: i64,
    length: i64,
}

impl Line {
    fn at(&self, t: Timestamp) -> i64 {
        let part = i128::from(t.micros() - self.from) * i128::from(WIDTH) / i128::from(self.length);
        i64::try_from(part.clamp(0, i128::from(WIDTH))).unwrap_or(0)
    }

    fn bar(&self, from: Timestamp, to: Timestamp) -> Bar {
        let x = self.at(from).min(WIDTH - 3);
        Bar { x, width: (self.at(to) - x).max(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::reader::{ConversationState, Coverage};
    use crate::model::ConversationId;

    fn at(minute: i64) -> Timestamp {
        Timestamp(1_795_225_034_000_000 + minute * 60_000_000)
    }

    fn person(name: &str) -> Person {
        Person { id: format!("sip:{name}@contoso.com"), name: None }
    }

    fn stay(name: &str, from: i64, to: Option<i64>) -> Attendance {
        Attendance { person: person(name), joined_at: at(from), left_at: to.map(at) }
    }

    #[test]
    fn stays_are_bars_and_words() {
        let conversation = Conversation {
            id: ConversationId::new(at(0), [1; 10]),
            connector: "sfb".into(),
            platform: "ucwa".into(),
            subject: None,
            state: ConversationState::Ended,
            started_at: at(0),
            ended_at: Some(at(100)),
            messages: 0,
            participants: vec![person("alice"), person("bob"), person("carol")],
            coverage: Coverage::Complete,
        };
        let stays = [stay("alice", 0, Some(100)), stay("bob", 10, Some(20)), stay("bob", 50, Some(100))];
        let gap = Gap { cause: "x".into(), from: at(20), to: at(30) };
        let told = attended(&conversation, &stays, &[gap], Tz::UTC, at(500));
        assert_eq!(told.people[0].bars, [Bar { x: 0, width: 1000 }]);
        assert_eq!(told.people[1].bars, [Bar { x: 100, width: 100 }, Bar { x: 500, width: 500 }]);
        assert_eq!(told.people[1].words, "01:47–01:57, 02:27–03:17");
        assert_eq!((told.people[2].bars.len(), told.people[2].words.as_str()), (0, ""));
        assert_eq!(told.gaps, [Bar { x: 200, width: 100 }]);
        assert_eq!(told.axis, ["01:37", "02:27", "03:17"]);

        let there: Vec<_> = present(&stays, at(15)).iter().map(|stay| stay.person.id.clone()).collect();
        assert_eq!(there, ["sip:alice@contoso.com", "sip:bob@contoso.com"]);
        assert_eq!(present(&stays, at(30)).len(), 1);
    }

    #[test]
    fn a_moment_can_be_seen_and_stays_on_the_line() {
        let line = Line { from: at(0).micros(), length: at(100).micros() - at(0).micros() };
        assert_eq!(line.bar(at(100), at(100)), Bar { x: 997, width: 3 });
        assert_eq!(line.bar(at(-50), at(500)), Bar { x: 0, width: 1000 });
    }
}
