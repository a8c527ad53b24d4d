//! When the recorder was really capturing, as a statement that it can be held to.
//!
//! A record is complete if recording started, no gap is logged, and a conversation that goes on is being captured now.
//! Short pauses without a gap event are none: the connector logs a gap whenever something may have been missed.

use std::fmt;

use serde::Serialize;

use crate::model::{Gap, Timestamp};

/// A span in which messages reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Time of `recording.started`.
    pub from: Timestamp,
    /// Time of `recording.stopped` or of the conversation's end; `None` = going on.
    pub to: Option<Timestamp>,
}

/// How complete the record of a conversation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "coverage", rename_all = "lowercase")]
pub enum Statement {
    /// Nothing is missing.
    Complete {
        /// From when.
        from: Timestamp,
        /// Until when; `None` = going on.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Timestamp>,
    },
    /// Something may be missing.
    Incomplete {
        /// From when messages were captured first.
        from: Timestamp,
        /// Until when they were captured last; `None` = going on.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Timestamp>,
        /// One sentence fragment for each reason, with times.
        reasons: Vec<String>,
    },
    /// Messages never reached us.
    Never {
        /// One sentence fragment for each reason, with times.
        reasons: Vec<String>,
    },
}

impl Statement {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        matches!(self, Statement::Complete { .. })
    }
}

/// States how complete a record is, from its capture spans and gaps; `live` = the conversation goes on.
pub fn statement(spans: &[Span], gaps: &[Gap], live: bool) -> Statement {
    let mut gaps: Vec<&Gap> = gaps.iter().collect();
    gaps.sort_by_key(|gap| (gap.from, gap.to));
    let mut reasons: Vec<String> =
        gaps.iter().map(|gap| format!("{} from {} to {}", gap.cause, gap.from, gap.to)).collect();
    let Some(from) = spans.iter().map(|span| span.from).min() else {
        reasons.insert(0, "messages never reached the recorder".into());
        return Statement::Never { reasons };
    };
    let open = spans.iter().any(|span| span.to.is_none());
    let last = spans.iter().filter_map(|span| span.to).max();
    let to = if open { None } else { last };
    if live && let Some(since) = to {
        reasons.push(format!("not connected to messaging since {since}"));
    }
    if reasons.is_empty() { Statement::Complete { from, to } } else { Statement::Incomplete { from, to, reasons } }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = |to: &Option<Timestamp>| to.map_or_else(|| "now".to_owned(), |to| to.to_string());
        match self {
            Statement::Complete { from, to } => write!(f, "complete from {from} to {}", until(to)),
            Statement::Incomplete { from, to, reasons } => {
                write!(f, "incomplete: recorded from {from} to {}, but {}", until(to), reasons.join("; "))
            }
            Statement::Never { reasons } => write!(f, "incomplete: {}", reasons.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    fn span(from: i64, to: Option<i64>) -> Span {
        Span { from: at(from), to: to.map(at) }
    }

    fn gap(from: i64, to: i64) -> Gap {
        Gap { cause: "event channel lost".into(), from: at(from), to: at(to) }
    }

    #[test]
    fn recorded_without_a_gap_is_complete() {
        let told = statement(&[span(10, Some(70))], &[], false);
        assert_eq!(told, Statement::Complete { from: at(10), to: Some(at(70)) });
        assert_eq!(told.to_string(), "complete from 1970-01-01T00:00:10.000Z to 1970-01-01T00:01:10.000Z");
        let told = statement(&[span(10, None)], &[], true);
        assert_eq!(told.to_string(), "complete from 1970-01-01T00:00:10.000Z to now");
    }

    #[test]
    fn a_pause_without_a_gap_does_not_count() {
        assert!(statement(&[span(10, Some(20)), span(22, Some(70))], &[], false).is_complete());
    }

    #[test]
    fn each_gap_is_a_reason_in_order_of_time() {
        let told = statement(&[span(10, Some(70))], &[gap(40, 50), gap(20, 30)], false);
        assert_eq!(
            told.to_string(),
            "incomplete: recorded from 1970-01-01T00:00:10.000Z to 1970-01-01T00:01:10.000Z, but event channel lost from \
             1970-01-01T00:00:20.000Z to 1970-01-01T00:00:30.000Z; event channel lost from 1970-01-01T00:00:40.000Z to \
             1970-01-01T00:00:50.000Z"
        );
    }

    #[test]
    fn live_but_not_captured_now_is_incomplete() {
        let told = statement(&[span(10, Some(20))], &[], true);
        let Statement::Incomplete { to, reasons, .. } = told else { panic!("{told}") };
        assert_eq!(to, Some(at(20)));
        assert_eq!(reasons, ["not connected to messaging since 1970-01-01T00:00:20.000Z"]);
    }

    #[test]
    fn never_recorded_says_so() {
        let told = statement(&[], &[gap(1, 2)], false);
        assert!(matches!(&told, Statement::Never { reasons } if reasons.len() == 2), "{told}");
        assert!(told.to_string().starts_with("incomplete: messages never reached the recorder"));
    }
}
