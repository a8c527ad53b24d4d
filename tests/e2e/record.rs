//! What an archive says, as the export's JSON, and how that compares with what the pool knows.

use std::collections::BTreeMap;

use greffier::model::Timestamp;
use greffier::simulate::{Entry, Fate, Ledger, Person};
use serde_json::Value;

/// Times are cut to milliseconds on both sides.
const ROUNDING_MS: i64 = 2;
/// How long the news of a loss or an end may be on its way: a gap begins when the recorder learns of it.
const LATENCY_MS: i64 = 250;

/// All events in the order of the log.
pub struct Record {
    pub events: Vec<Value>,
}

/// Milliseconds since 1970 of a time of the contract.
pub fn ms(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is not a time"));
    Timestamp::parse_rfc3339(text).unwrap_or_else(|| panic!("{text} is not a time")).millis()
}

fn is(event: &Value, kind: &str) -> bool {
    event["kind"] == kind
}

/// The words of an entry of the ledger.
pub fn words(entry: &Entry) -> &str {
    entry.text.as_deref().or(entry.html.as_deref()).unwrap()
}

impl Record {
    pub fn new(events: Vec<Value>) -> Record {
        Record { events }
    }

    /// Events of this kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| is(e, kind))
    }

    /// Events of this kind in this conversation.
    pub fn of_in<'a>(&'a self, kind: &'a str, conversation: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of(kind).filter(move |e| e["conversation"] == conversation)
    }

    /// How many events of this kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.of(kind).count()
    }

    /// The conversation in which this was said.
    pub fn conversation_of(&self, text: &str) -> &str {
        let found = self.of("message.sent").find(|e| e["message"]["text"] == text);
        found.and_then(|e| e["conversation"].as_str()).unwrap_or_else(|| panic!("{text:?} is not in\n{}", self.told()))
    }

    /// Start, end and cause of every gap of a conversation.
    pub fn gaps(&self, conversation: &str) -> Vec<(i64, i64, String)> {
        let gap = |e: &Value| {
            let gap = &e["gap"];
            (ms(&gap["from"]), ms(&gap["to"]), gap["cause"].as_str().unwrap().to_owned())
        };
        self.of_in("capture.gap", conversation).map(gap).collect()
    }

    /// Kinds in the order of the log, one line each, for messages of failed tests.
    pub fn told(&self) -> String {
        let line = |e: &Value| {
            let more = [&e["message"]["text"], &e["participant"]["id"], &e["gap"], &e["reason"], &e["state"]];
            let more: Vec<String> = more.into_iter().filter(|v| !v.is_null()).map(Value::to_string).collect();
            let who = e["conversation"].as_str().unwrap_or("-");
            format!("{:>5} {} {who} {} {}", e["seq"], e["recorded_at"], e["kind"], more.join(" "))
        };
        self.events.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Holds the record against the ledger: nothing acknowledged is missing, nothing is there twice or from nowhere,
    /// each message stands with sender, name, text and time in the order in which it was said, and whatever was said
    /// between the beginning of recording and the end without reaching the recorder lies inside a gap.
    ///
    /// Texts must be unique within a scenario. In `declined` conversations nothing may be recorded.
    pub fn compare(&self, ledger: &Ledger, cast: &[Person], declined: &[&str]) {
        for (n, event) in self.events.iter().enumerate() {
            assert_eq!(event["seq"], n + 1, "the log has a hole\n{}", self.told());
            assert_eq!(event["v"], 1);
            assert_eq!(event["connector"], "sfb");
            assert_eq!(event["platform"], "ucwa");
        }
        let mut unexplained: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in self.of("message.sent") {
            unexplained.entry(event["message"]["text"].as_str().unwrap()).or_default().push(event);
        }
        // By the scenario's name of the conversation: ours, and the seq of its newest message so far.
        let mut talks: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
        let mut unheard: Vec<&Entry> = Vec::new();
        for said in ledger.said() {
            let text = words(said);
            let found = unexplained.remove(text).unwrap_or_default();
            assert!(found.len() < 2, "{text:?} is there {} times\n{}", found.len(), self.told());
            if declined.contains(&said.talk.as_str()) {
                assert!(found.is_empty(), "{text:?} was said in a declined conversation and is recorded");
                continue;
            }
            let Some(event) = found.first() else {
                assert_ne!(said.fate, Fate::Acknowledged, "{text:?} was acknowledged and is lost\n{}", self.told());
                unheard.push(said);
                continue;
            };
            assert!(said.fate > Fate::NotOffered, "{text:?} cannot have been heard");
            assert_eq!(event["actor"]["id"], said.who, "{text:?}");
            let name = cast.iter().find(|p| p.address == said.who).map(|p| p.name.as_str());
            assert_eq!(event["actor"]["name"].as_str(), name, "{text:?}");
            // The first words come inside the invitation, which has no time of its own.
            if !said.href.is_empty() {
                assert_eq!(ms(&event["source_time"]), said.time_ms, "{text:?}");
                assert!(event["message"]["id"].as_str().is_some_and(|id| id.ends_with(&said.href)), "{event}");
            }
            let (conversation, seq) = (event["conversation"].as_str().unwrap(), event["seq"].as_u64().unwrap());
            let (known, newest) = talks.entry(said.talk.as_str()).or_insert((conversation, 0));
            assert_eq!(*known, conversation, "\"{}\" is in two conversations\n{}", said.talk, self.told());
            assert!(seq > *newest, "{text:?} is out of order\n{}", self.told());
            *newest = seq;
        }
        assert!(unexplained.is_empty(), "nobody said {:?}\n{}", unexplained.keys(), self.told());
        let mut ids: Vec<&str> = talks.values().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), talks.len(), "two talks became one conversation\n{}", self.told());
        for said in unheard {
            if let Some((conversation, _)) = talks.get(said.talk.as_str()) {
                self.is_accounted_for(conversation, said);
            }
        }
    }

    /// Something said that is not in the record: before recording began, after it ended, or within a gap.
    fn is_accounted_for(&self, conversation: &str, said: &Entry) {
        let began = self.of_in("recording.started", conversation).next().map(|e| ms(&e["recorded_at"]));
        let ended = self.of_in("conversation.ended", conversation).last().map(|e| ms(&e["recorded_at"]));
        // Somebody may speak on between the moment in which the recorder has left and that in which it hears so.
        let late = if said.fate == Fate::NotOffered { LATENCY_MS } else { ROUNDING_MS };
        let outside = began.is_none_or(|began| said.time_ms <= began + ROUNDING_MS)
            || ended.is_some_and(|ended| said.time_ms + late >= ended);
        let gaps = self.gaps(conversation);
        let inside = gaps.iter().any(|(from, to, _)| (from - LATENCY_MS..=to + ROUNDING_MS).contains(&said.time_ms));
        assert!(
            outside || inside,
            "{:?} ({:?}) at {} was not heard and no gap says so: {gaps:?}\n{}",
            words(said),
            said.fate,
            said.time_ms,
            self.told()
        );
    }
}
