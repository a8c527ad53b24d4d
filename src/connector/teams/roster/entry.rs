//! One roster participant as the wire describes it, bounded: display names and metadata come from strangers (trap 31).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Scope;
use crate::connector::teams::identity;
use crate::connector::teams::member::{at, bounded, digest, key, list, member, text};
use crate::model::Person;

/// Longest name, in characters.
const NAME: usize = 256;
/// Longest piece of `metadata` that is kept outside the envelope, in characters.
const METADATA: usize = 512;

/// What is known of one roster participant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Contract id and name.
    pub person: Person,
    /// An application, ours or another's.
    pub bot: bool,
    /// One of our own legs.
    pub own: bool,
    /// Waits for admission.
    pub in_lobby: Option<bool>,
    /// `isMuted`: the participant's own microphone switch.
    pub muted: Option<bool>,
    /// The platform's word for the role, if it tells one.
    pub role: Option<String>,
    /// `rosterSequenceNumber`.
    pub sequence: Option<i64>,
    /// How often this roster id has joined.
    pub(super) times: u32,
    /// Stands for the states so far, in order.
    pub(super) history: String,
    /// Direction by media type, in lower case.
    streams: BTreeMap<String, String>,
    server_muted: Option<bool>,
    recording: Option<String>,
    restricted: Option<String>,
    metadata: Option<String>,
}

impl Entry {
    /// Reads a `participant`; gives its roster key too. A participant without an id (a telephone, say) is known by its
    /// identity. `None` if it has neither.
    pub(super) fn read(element: &Value, scope: &Scope) -> Option<(String, Entry)> {
        let set = at(element, &["info", "identity"]).unwrap_or(&Value::Null);
        let principal = identity::principal(set, &scope.tenant);
        let told = text(element, &["id"])
            .or_else(|| text(element, &["info", "participantId"]))
            .map(key)
            .filter(|id| !id.is_empty());
        let id = match (&told, &principal) {
            (Some(id), _) => id.clone(),
            (None, Some(principal)) => key(&format!("identity:{}", principal.person.id)),
            (None, None) => return None,
        };
        let bot = principal.as_ref().is_some_and(|principal| principal.is_bot());
        let ours = principal.as_ref().is_some_and(|p| p.is_bot() && p.id.trim().eq_ignore_ascii_case(&scope.client_id));
        let own = ours || scope.own.as_deref().is_some_and(|own| key(own) == id);
        let person = match principal {
            Some(principal) => Person {
                id: bounded(&principal.person.id, NAME),
                name: principal.person.name.map(|name| bounded(&name, NAME)),
            },
            None => Person { id: format!("participant:{id}"), name: None },
        };
        let streams = list(element, &["mediaStreams"]);
        Some((
            id,
            Entry {
                person,
                bot,
                own,
                in_lobby: member(element, "isInLobby").and_then(Value::as_bool),
                muted: member(element, "isMuted").and_then(Value::as_bool),
                role: text(element, &["meetingRole"]).or_else(|| text(element, &["role"])).map(|r| bounded(r, 64)),
                sequence: member(element, "rosterSequenceNumber").and_then(Value::as_i64),
                times: 1,
                history: String::new(),
                server_muted: (!streams.is_empty())
                    .then(|| streams.iter().any(|s| member(s, "serverMuted").and_then(Value::as_bool) == Some(true))),
                streams: directions(streams),
                recording: text(element, &["recordingInfo", "recordingStatus"]).map(|s| bounded(s, 64)),
                restricted: member(element, "restrictedExperience").map(restrictions),
                metadata: member(element, "metadata").map(metadata),
            },
        ))
    }

    /// Whether it counts as a human being: everything that is no application.
    pub fn is_human(&self) -> bool {
        !self.bot && !self.own
    }

    /// Whether the participant sends its screen.
    pub fn shares_screen(&self) -> bool {
        self.streams
            .get("videobasedscreensharing")
            .is_some_and(|way| way.eq_ignore_ascii_case("sendOnly") || way.eq_ignore_ascii_case("sendReceive"))
    }

    /// What is not told anew stays as it was.
    pub(super) fn inherit(&mut self, known: &Entry) {
        fn keep<T: Clone>(new: &mut Option<T>, old: &Option<T>) {
            if new.is_none() {
                new.clone_from(old);
            }
        }
        if self.person.id.starts_with("participant:") && !known.person.id.starts_with("participant:") {
            self.person.clone_from(&known.person);
            self.bot = known.bot;
        }
        keep(&mut self.person.name, &known.person.name);
        keep(&mut self.in_lobby, &known.in_lobby);
        keep(&mut self.muted, &known.muted);
        keep(&mut self.role, &known.role);
        keep(&mut self.server_muted, &known.server_muted);
        keep(&mut self.recording, &known.recording);
        keep(&mut self.restricted, &known.restricted);
        keep(&mut self.metadata, &known.metadata);
        if self.streams.is_empty() {
            self.streams.clone_from(&known.streams);
        }
        self.sequence = self.sequence.max(known.sequence);
        self.own |= known.own;
        self.times = known.times;
        self.history.clone_from(&known.history);
    }

    /// Everything that can change, as one object.
    pub(super) fn state(&self) -> Value {
        json!({
            "in_lobby": self.in_lobby,
            "metadata": self.metadata,
            "muted": self.muted,
            "name": self.person.name,
            "recording_status": self.recording,
            "restricted": self.restricted,
            "role": self.role,
            "screen_sharing": self.shares_screen(),
            "server_muted": self.server_muted,
            "streams": self.streams,
        })
    }

    /// The members of `after` that differ from `before`, without those that have a place of their own.
    pub(super) fn difference(before: &Value, after: &Value) -> Option<Value> {
        let (before, after) = (before.as_object()?, after.as_object()?);
        let changed: Map<String, Value> = after
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "in_lobby" | "muted" | "name" | "role"))
            .filter(|(name, value)| before.get(*name) != Some(*value) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (!changed.is_empty()).then_some(Value::Object(changed))
    }

    /// What `participant.joined` keeps in `detail`.
    pub(super) fn detail(&self, raw: &Value) -> Value {
        let mut detail = Map::new();
        let mut put = |name: &str, value: Value| {
            let nothing = value.is_null() || value == json!(false) || value.as_object().is_some_and(Map::is_empty);
            if !nothing {
                detail.insert(name.to_owned(), value);
            }
        };
        put("bot", json!(self.bot));
        put("streams", json!(self.streams));
        put("screen_sharing", json!(self.shares_screen()));
        put("server_muted", json!(self.server_muted));
        put("recording_status", json!(self.recording));
        put("restricted", json!(self.restricted));
        put("metadata", json!(self.metadata));
        for (name, wire) in [
            ("endpoint_type", "endpointType"),
            ("language", "languageId"),
            ("country", "countryCode"),
            ("region", "region"),
        ] {
            put(name, json!(text(raw, &["info", wire]).map(|word| bounded(word, 64))));
        }
        Value::Object(detail)
    }
}

/// Direction by media type. Of two streams of one type the more active direction counts.
fn directions(streams: &[Value]) -> BTreeMap<String, String> {
    let mut by_type: BTreeMap<String, String> = BTreeMap::new();
    for stream in streams.iter().take(64) {
        let kind = bounded(text(stream, &["mediaType"]).unwrap_or("unknown"), 64).to_lowercase();
        let way = bounded(text(stream, &["direction"]).unwrap_or("unknown"), 64);
        let sends = |way: &str| way.to_ascii_lowercase().starts_with("send");
        match by_type.get(&kind) {
            Some(known) if sends(known) && !sends(&way) => {}
            _ => {
                by_type.insert(kind, way);
            }
        }
    }
    by_type
}

fn restrictions(value: &Value) -> String {
    let set = |name: &str| matches!(member(value, name), Some(Value::Bool(true) | Value::String(_) | Value::Object(_)));
    let words: Vec<&str> = [("contentSharingDisabled", "content sharing"), ("videoDisabled", "video")]
        .into_iter()
        .filter_map(|(name, word)| set(name).then_some(word))
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// A piece of the text that the joining client gave, and a digest when it goes on: changes beyond the piece are seen too.
fn metadata(value: &Value) -> String {
    let whole = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let piece = bounded(&whole, METADATA);
    if piece.len() == whole.len() { piece } else { format!("{piece}… ({} bytes, {})", whole.len(), digest(&whole)) }
}
