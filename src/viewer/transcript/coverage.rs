//! How complete a record is, in the reader's zone.

use chrono_tz::Tz;

use super::page::gap_span;
use crate::capture::coverage::Statement;
use crate::harmless::one_line;
use crate::model::{ConversationId, Gap, Seq, Timestamp};
use crate::viewer::{links, time};

/// Gaps that the head of a transcript lists; all are in the transcript.
const LISTED: usize = 20;

/// The statement as a page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Class: `good`, `warn` or `bad`.
    pub class: &'static str,
    /// `Complete from 09:30 to 10:15`.
    pub heading: String,
    /// What is missing, each with its place in the transcript if it has one.
    pub reasons: Vec<(String, Option<String>)>,
    /// Gaps that are not listed.
    pub more: usize,
}

/// The statement in words; its gaps are linked.
pub fn told(statement: &Statement, gaps: &[(Seq, Gap)], id: &ConversationId, zone: Tz) -> Told {
    let span = |from: &Timestamp, to: &Option<Timestamp>| {
        let until = to.map_or_else(|| "now".to_owned(), |to| time::date_time(to, zone));
        format!("{} to {until}", time::date_time(*from, zone))
    };
    let mut reasons: Vec<(String, Option<String>)> = gaps
        .iter()
        .take(LISTED)
        .map(|(seq, gap)| {
            let told = format!(
                "{} ({}): {}",
                gap_span(gap.from, gap.to, zone),
                time::length(gap.to.since(gap.from)),
                one_line(&gap.cause)
            );
            (told, Some(links::event(id, *seq)))
        })
        .collect();
    let more = gaps.len().saturating_sub(LISTED);
    let without_gap = |told: &[String]| told.len().saturating_sub(gaps.len());
    match statement {
        Statement::Complete { from, to } => Told {
            class: "good",
            heading: format!("Complete from {}. Nothing is missing.", span(from, to)),
            reasons: Vec::new(),
            more: 0,
        },
        Statement::Incomplete { from, to, reasons: told } => {
            if without_gap(told) > 0 {
                let since = to.map_or_else(String::new, |to| format!(" since {}", time::date_time(to, zone)));
                reasons.push((format!("The recorder is not connected to messaging{since}"), None));
            }
            Told {
                class: "warn",
                heading: format!("Incomplete: recorded from {}, but something may be missing", span(from, to)),
                reasons,
                more,
            }
        }
        Statement::Never { .. } => Told {
            class: "bad",
            heading: "Nothing was recorded: messages never reached the recorder".into(),
            reasons,
            more,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::coverage::{Span, statement};

    #[test]
    fn reasons_stand_in_the_readers_zone_and_lead_to_their_gap() {
        let at = |minute: i64| Timestamp(1_795_225_034_000_000 + minute * 60_000_000);
        let id = ConversationId::new(at(0), [1; 10]);
        let gap = Gap { cause: "event channel lost\u{202e}".into(), from: at(2), to: at(4) };
        let spans = [Span { from: at(0), to: Some(at(60)) }];
        let shown = told(&statement(&spans, &[], false), &[], &id, Tz::Asia__Tokyo);
        assert_eq!(shown.heading, "Complete from 21 Nov 2026, 10:37 to 21 Nov 2026, 11:37. Nothing is missing.");
        let shown =
            told(&statement(&spans, std::slice::from_ref(&gap), true), &[(Seq(7), gap.clone())], &id, Tz::Asia__Tokyo);
        let reasons: Vec<&str> = shown.reasons.iter().map(|(told, _)| told.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "21 Nov 2026, 10:39:14 – 10:41:14 (2\u{a0}min): event channel lost<U+202E>",
                "The recorder is not connected to messaging since 21 Nov 2026, 11:37"
            ]
        );
        assert_eq!(shown.reasons[0].1, Some(links::event(&id, Seq(7))));
        assert_eq!(told(&statement(&[], &[], true), &[], &id, Tz::UTC).class, "bad");
    }
}
