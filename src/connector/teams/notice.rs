//! Call notifications as they arrive: one [`CallNotice`] per item, in order (digest §6).
//!
//! What an item is about is told by the type of its `resourceData`, then by the tail of its URL; types may be missing, and
//! letter case varies (traps 3, 4, 12, 13).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call's identity: ids differ in case and dashes between notifications, so they are compared without.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallId {
    key: String,
    received: String,
}

impl PartialEq for CallId {
    fn eq(&self, other: &CallId) -> bool {
        self.key == other.key
    }
}

impl Eq for CallId {}

impl std::hash::Hash for CallId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl CallId {
    /// From an id as received.
    pub fn new(received: &str) -> CallId {
        let key = received.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
        CallId { key, received: received.to_owned() }
    }

    /// Lower case, without dashes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// As the service first wrote it; for requests.
    pub fn as_received(&self) -> &str {
        &self.received
    }
}

/// What an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A call that rings.
    Incoming,
    /// A state of the call, perhaps with a tone.
    State,
    /// The call is over: `deleted` on the call itself.
    Ended,
    /// Everybody who is there.
    Roster,
    /// Who changed.
    RosterDelta,
    /// Sessions of content sharing.
    Sharing,
    /// What came of an operation.
    Operation,
    /// A further recorded user wants to be recorded on this leg.
    Joining,
    /// A recorded user has left.
    Left,
    /// Something else.
    Unknown,
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct CallNotice {
    /// Which call.
    pub call: CallId,
    /// What it is about.
    pub what: What,
    /// `created`, `updated`, `deleted`, lower case; empty if not told.
    pub change: String,
    /// The last segment of the URL, for sessions and operations that come without data.
    pub tail: String,
    /// `resourceData`; for joining and left the whole, for a delta the wrapper inside the list.
    pub data: Value,
}

/// Why a body has no notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON.
    #[error("not JSON")]
    NotJson,
    /// JSON, but not in Graph's form; the service sends it again in that form.
    #[error("not a collection of call notifications in Graph's form")]
    NotGraph,
}

/// Reads a body.
///
/// # Errors
/// [`Unreadable`].
pub fn read(body: &[u8]) -> Result<Vec<CallNotice>, Unreadable> {
    let json: Value = serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)?;
    let items = json.get("value").and_then(Value::as_array).ok_or(Unreadable::NotGraph)?;
    let notices: Vec<CallNotice> = items.iter().filter_map(item).collect();
    if notices.is_empty() { Err(Unreadable::NotGraph) } else { Ok(notices) }
}

fn item(item: &Value) -> Option<CallNotice> {
    let text = |key: &str| item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let url = text("resourceUrl").or_else(|| text("resource"))?;
    let mut segments = url.split('?').next().unwrap_or_default().split('/').filter(|segment| !segment.is_empty());
    segments.find(|segment| segment.eq_ignore_ascii_case("calls"))?;
    let call = CallId::new(segments.next()?);
    let below: Vec<&str> = segments.collect();
    let change = text("changeType").unwrap_or_default().to_ascii_lowercase();
    let data = item.get("resourceData").cloned().unwrap_or(Value::Null);
    let first = match &data {
        Value::Array(list) => list.first().unwrap_or(&Value::Null),
        other => other,
    };
    let what = match type_of(first).as_str() {
        "participantjoiningnotification" => What::Joining,
        "participantleftnotification" => What::Left,
        "deltaparticipants" => What::RosterDelta,
        "participant" => What::Roster,
        "contentsharingsession" => What::Sharing,
        kind if kind.ends_with("operation") => What::Operation,
        "call" => of_call(first, &change),
        _ => match below.first().map(|segment| segment.to_ascii_lowercase()).as_deref() {
            Some("participants") if first.get("sequenceNumber").is_some() => What::RosterDelta,
            Some("participants") => What::Roster,
            Some("contentsharingsessions") => What::Sharing,
            Some("operations") => What::Operation,
            None => of_call(first, &change),
            Some(_) => What::Unknown,
        },
    };
    let data = match what {
        What::RosterDelta => first.clone(),
        _ => data,
    };
    Some(CallNotice { call, what, change, tail: below.last().unwrap_or(&"").to_string(), data })
}

fn of_call(call: &Value, change: &str) -> What {
    let state = call.get("state").and_then(Value::as_str).unwrap_or_default();
    match change {
        "deleted" => What::Ended,
        _ if state.eq_ignore_ascii_case("terminated") => What::Ended,
        _ if state.eq_ignore_ascii_case("incoming") => What::Incoming,
        _ => What::State,
    }
}

/// `@odata.type` without `#microsoft.graph.`, lower case.
pub fn type_of(value: &Value) -> String {
    let name = value.get("@odata.type").and_then(Value::as_str).unwrap_or_default();
    let name = name.trim_start_matches('#').to_ascii_lowercase();
    name.strip_prefix("microsoft.graph.").map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Vec<CallNotice> {
        let path = format!("{}/tests/fixtures/graph/{name}.json", env!("CARGO_MANIFEST_DIR"));
        read(&std::fs::read(path).expect("sample")).expect("notices")
    }

    #[test]
    fn every_kind_of_sample_is_told_apart() {
        for (name, what) in [
            ("incoming-policy-recording", What::Incoming),
            ("incoming-p2p-minimal", What::Incoming),
            ("incoming-p2p-typed", What::Incoming),
            ("incoming-pstn-appinstance", What::Incoming),
            ("establishing", What::State),
            ("established", What::State),
            ("established-tone", What::State),
            ("state-transferring", What::State),
            ("terminating", What::State),
            ("terminated-code-string", What::Ended),
            ("terminated-server-error-qna", What::Ended),
            ("deleted-after-reject", What::Ended),
            ("roster-full", What::Roster),
            ("roster-pstn", What::Roster),
            ("roster-delta-enabled", What::RosterDelta),
            ("contentsharing-collection-updated", What::Sharing),
            ("contentsharing-started-bare", What::Sharing),
            ("contentsharing-ended-bare", What::Sharing),
            // A finished operation comes as `deleted`, which is not the end of the call.
            ("operation-playprompt-completed", What::Operation),
            ("operation-invite-completed", What::Operation),
            ("x-participantjoining", What::Joining),
            ("x-participantleft", What::Left),
        ] {
            let notices = sample(name);
            assert_eq!(notices.iter().map(|notice| notice.what).collect::<Vec<_>>(), [what], "{name}");
        }
    }

    #[test]
    fn call_ids_are_the_same_in_any_case_and_with_or_without_dashes() {
        let minimal = &sample("incoming-p2p-minimal")[0].call;
        assert_eq!(minimal.key(), CallId::new("57dab8b1-894c-409a-b240-bd8beae78896").key());
        assert_eq!(minimal.as_received(), "57DAB8B1894C409AB240BD8BEAE78896");
    }

    #[test]
    fn what_is_not_in_graphs_form_is_said_so() {
        assert_eq!(read(b"{").err(), Some(Unreadable::NotJson));
        for body in ["[]", "{}", r#"{"value":1}"#, r#"{"value":[]}"#, r#"{"value":[{"resourceUrl":"/x"}]}"#] {
            assert_eq!(read(body.as_bytes()).err(), Some(Unreadable::NotGraph), "{body}");
        }
    }
}
