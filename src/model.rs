//! The words of the public contract as plain data: events, conversations, people, times, identifiers.
//!
//! Nothing here does I/O or asks a clock. [`Content`] is the hashed part of an event; its members are declared in
//! alphabetical order so that serialising it *is* the canonical form (see `docs/FORMATS.md`, "Canonical content").

mod files;
mod schema;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use files::{FileOf, NOT_KEPT};

/// A point in time: microseconds since 1970-01-01 UTC. Shown and serialised as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds since 1970-01-01 UTC.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// From milliseconds since 1970-01-01 UTC, saturating.
    pub fn from_millis(ms: i64) -> Self {
        Timestamp(ms.saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01 UTC, rounded towards minus infinity.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// As a chrono value; times outside chrono's range become the epoch.
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// `2026-11-21T09:30:00.123Z`.
    pub fn rfc3339(self) -> String {
        self.to_chrono().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Parses any RFC 3339 time; the offset is applied.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Timestamp(t.timestamp_micros()))
    }

    /// Later by `d` (saturating).
    pub fn plus(self, d: std::time::Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(t: DateTime<Utc>) -> Self {
        Timestamp(t.timestamp_micros())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// Position of an event in the log: 1, 2, 3 … without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Our own identifier of a conversation: `c_` and 26 characters of Crockford base 32 over UUIDv7 bits, so sortable by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(String);

impl ConversationId {
    /// Makes an id from the time and 80 random bits; both come in as values.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let ms = u64::try_from(now.millis()).unwrap_or(0);
        let bits = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().as_u128();
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut text = String::with_capacity(28);
        text.push_str("c_");
        for i in (0..26).rev() {
            text.push(char::from(ALPHABET[((bits >> (i * 5)) & 31) as usize]));
        }
        ConversationId(text)
    }

    /// Takes an id as users type it. `None` if it is not `c_` and 26 Crockford characters.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix("c_")?;
        let good = body.len() == 26
            && body.bytes().all(|b| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(&b)));
        good.then(|| ConversationId(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! kinds {
    ($($variant:ident = $text:literal, $doc:literal;)*) => {
        /// What an event says happened (INTERFACES §2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = $doc] $variant),* }

        impl Kind {
            /// Every kind, in the order of the contract.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// The kind's name in the contract, for example `message.sent`.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text),* }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;
            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text { $($text => Ok(Kind::$variant),)* _ => Err(UnknownKind) }
            }
        }
    };
}

kinds! {
    InvitationReceived = "invitation.received", "Somebody invited the recorder.";
    InvitationAccepted = "invitation.accepted", "The platform confirmed that we took the invitation.";
    InvitationDeclined = "invitation.declined", "Policy declined the invitation; `reason` says why.";
    InvitationFailed = "invitation.failed", "The invitation came to nothing; `reason` says why.";
    ConversationStarted = "conversation.started", "The conversation was first connected.";
    ConversationChanged = "conversation.changed", "Subject, state or modalities changed.";
    ConversationEnded = "conversation.ended", "The conversation ended for us.";
    RecordingStarted = "recording.started", "From here on messages reach us.";
    RecordingStopped = "recording.stopped", "From here on messages do not reach us.";
    RecordingFailed = "recording.failed", "Recording could not be started or confirmed.";
    NoticeSent = "notice.sent", "The notice that we record was confirmed as sent.";
    ParticipantJoined = "participant.joined", "Somebody joined (or waits in the lobby, `in_lobby`).";
    ParticipantLeft = "participant.left", "Somebody left.";
    ParticipantChanged = "participant.changed", "Role, lobby state or name of somebody changed.";
    MessageSent = "message.sent", "Somebody said something.";
    MessageEdited = "message.edited", "A message got a new version.";
    MessageDeleted = "message.deleted", "A message was deleted at its source.";
    MessageUndelivered = "message.undelivered", "A message did not reach somebody.";
    ReactionAdded = "reaction.added", "Somebody reacted to a message.";
    ReactionRemoved = "reaction.removed", "Somebody took a reaction back.";
    ModalityChanged = "modality.changed", "Audio, video or the like began or ended for somebody.";
    SharingStarted = "sharing.started", "Somebody began to share a screen, program or content.";
    SharingEnded = "sharing.ended", "Sharing ended.";
    CaptureGap = "capture.gap", "A span in which something may have been missed.";
    PlatformEvent = "platform.event", "Anything that has no kind yet, kept with its JSON in `detail`.";
}

/// The text is not the name of a [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event kind of the contract")]
pub struct UnknownKind;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Who did something: the platform's stable address and the name as it was at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Person {
    /// `sip:alice@contoso.com`, lower case; `<oid>@<tid>` on Teams.
    pub id: String,
    /// Display name at the time of the event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
}

/// The participant an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Participant {
    /// As [`Person::id`].
    pub id: String,
    /// Waiting for admission; absent = not told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_lobby: Option<bool>,
    /// Microphone muted; absent = not told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub muted: Option<bool>,
    /// Display name at the time of the event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The platform's word, for example `Leader`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<String>,
}

/// A file or object that belongs to a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attachment {
    /// MIME type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// File name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Hex SHA-256 of the stored bytes; absent = the bytes are not in the archive.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// Where the platform keeps it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
}

/// What was said. `text` is exact: at most one trailing line break dropped, CRLF made LF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Message {
    /// Files and the like.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub attachments: Vec<Attachment>,
    /// Sanitised HTML, only if HTML was sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub html: Option<String>,
    /// The platform's identifier of the message.
    pub id: String,
    /// `normal`, `urgent`, `emergency` …: the platform's word in lower case.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub importance: Option<String>,
    /// Message id this one answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_reply_to: Option<String>,
    /// People named in the message.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mentions: Vec<Person>,
    /// Plain text; empty if there is none (a deletion, say).
    #[serde(default)]
    pub text: String,
}

/// Why something ended or failed, in the platform's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// For example `RemoteFailure`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// Readable text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// For example `Ejected`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subcode: Option<String>,
}

/// A span in which the recorder may have missed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gap {
    /// One sentence fragment, for example `event channel lost`.
    pub cause: String,
    /// Start of the span.
    pub from: Timestamp,
    /// End of the span.
    pub to: Timestamp,
}

/// The hashed part of an event: everything that may be personal. Absent = not known.
///
/// Members are in alphabetical order at every level and `detail` holds only integers, so [`Content::canonical`] is
/// exactly what sorted, unspaced JSON of the same object would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Content {
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actor: Option<Person>,
    /// Further facts without a member of their own; the JSON of a `platform.event`. `null` is the same as nothing.
    #[serde(skip_serializing_if = "no_detail", default)]
    pub detail: Option<serde_json::Value>,
    /// `capture.gap`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap: Option<Gap>,
    /// `message.*`, `notice.sent`, `reaction.*`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<Message>,
    /// Modalities of the conversation, lower case.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modalities: Option<Vec<String>>,
    /// `participant.*`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant: Option<Participant>,
    /// `reaction.*`: for example `like`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reaction: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// The platform's identifier of the fact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_id: Option<String>,
    /// State of the conversation in the platform's word.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// Subject of the conversation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
}

/// `null` reads back as nothing, so it must not be hashed as something.
fn no_detail(detail: &Option<serde_json::Value>) -> bool {
    detail.as_ref().is_none_or(serde_json::Value::is_null)
}

impl Content {
    /// The canonical bytes: UTF-8 JSON, members sorted by code point, no white space, integers only.
    pub fn canonical(&self) -> Vec<u8> {
        // A struct of strings, integers and maps with string keys cannot fail to serialise.
        match &self.detail {
            Some(detail) if has_fraction(detail) => {
                let mut plain = self.clone();
                if let Some(detail) = plain.detail.as_mut() {
                    fractions_to_text(detail);
                }
                serde_json::to_vec(&plain).unwrap_or_default()
            }
            _ => serde_json::to_vec(self).unwrap_or_default(),
        }
    }
}

/// Largest integer that every JSON reader keeps exactly.
const EXACT: u64 = (1 << 53) - 1;

fn keeps_exactly(n: &serde_json::Number) -> bool {
    n.as_u64().is_some_and(|u| u <= EXACT) || n.as_i64().is_some_and(|i| i.unsigned_abs() <= EXACT)
}

fn has_fraction(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(n) => !keeps_exactly(n),
        serde_json::Value::Array(list) => list.iter().any(has_fraction),
        serde_json::Value::Object(map) => map.values().any(has_fraction),
        _ => false,
    }
}

/// Numbers that are not exact integers become their JSON text, so that canonical content needs no rule for fractions.
fn fractions_to_text(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(n) if !keeps_exactly(n) => *value = serde_json::Value::String(n.to_string()),
        serde_json::Value::Array(list) => list.iter_mut().for_each(fractions_to_text),
        serde_json::Value::Object(map) => map.values_mut().for_each(fractions_to_text),
        _ => {}
    }
}

/// One fact in the archive, version 1 of the public form (INTERFACES §2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Always 1.
    pub v: u8,
    /// Position in the log.
    pub seq: Seq,
    /// Absent for events of no conversation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub conversation: Option<ConversationId>,
    /// Configured name of the connector.
    pub connector: String,
    /// Kind of the connector: `ucwa`, `teams` …
    pub platform: String,
    /// What happened.
    pub kind: Kind,
    /// The platform's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_time: Option<Timestamp>,
    /// Our clock at capture.
    pub recorded_at: Timestamp,
    /// Everything that is hashed as content.
    #[serde(flatten)]
    pub content: Content,
    /// Hex SHA-256 of the RFC 6962 leaf.
    pub leaf_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_content_is_sorted_json() {
        let content = Content {
            actor: Some(Person { id: "sip:a@b.c".into(), name: Some("Ä \u{7f}\u{1f}\"\\".into()) }),
            detail: Some(serde_json::json!({"z": 1, "a": {"y": [1.5, 2], "b": 9_007_199_254_740_993_u64}})),
            gap: Some(Gap { cause: "c".into(), from: Timestamp(0), to: Timestamp(1_000) }),
            message: Some(Message {
                attachments: vec![Attachment {
                    media_type: Some("m".into()),
                    name: Some("n".into()),
                    sha256: Some("s".into()),
                    size: Some(3),
                    url: Some("u".into()),
                }],
                html: Some("<b>".into()),
                id: "1".into(),
                importance: Some("normal".into()),
                in_reply_to: Some("0".into()),
                mentions: vec![Person { id: "x".into(), name: None }],
                text: "t\n".into(),
            }),
            modalities: Some(vec!["messaging".into()]),
            participant: Some(Participant {
                id: "p".into(),
                in_lobby: Some(true),
                muted: Some(false),
                name: Some("n".into()),
                role: Some("r".into()),
            }),
            reaction: Some("like".into()),
            reason: Some(Reason { code: Some("c".into()), message: Some("m".into()), subcode: Some("s".into()) }),
            source_id: Some("id".into()),
            state: Some("Connected".into()),
            subject: Some("s".into()),
        };
        let bytes = content.canonical();
        // serde_json's map is sorted, so a round trip through Value sorts every level.
        let sorted =
            serde_json::to_vec(&serde_json::from_slice::<serde_json::Value>(&bytes).expect("json")).expect("json");
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&sorted));
        let text = String::from_utf8(bytes).expect("utf-8");
        assert!(text.contains(r#""y":["1.5",2]"#), "{text}");
        assert!(text.contains(r#""b":"9007199254740993""#), "{text}");
    }

    #[test]
    fn canonical_content_reads_back_as_itself() {
        for detail in [serde_json::Value::Null, serde_json::json!({"a": null, "b": [1.0]}), serde_json::json!("x")] {
            let bytes = Content { detail: Some(detail), ..Content::default() }.canonical();
            let back: Content = serde_json::from_slice(&bytes).expect("json");
            assert_eq!(String::from_utf8(back.canonical()), String::from_utf8(bytes));
        }
    }

    #[test]
    fn ids_sort_by_time_and_parse_back() {
        let a = ConversationId::new(Timestamp::from_millis(1_795_225_034_000), [7; 10]);
        let b = ConversationId::new(Timestamp::from_millis(1_795_225_034_001), [1; 10]);
        assert!(a < b);
        assert_eq!(ConversationId::parse(a.as_str()), Some(a));
        assert_eq!(ConversationId::parse("c_01JD"), None);
    }

    #[test]
    fn every_kind_parses_from_its_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }

    #[test]
    fn times_are_rfc3339_with_milliseconds() {
        let t = Timestamp(1_795_225_034_123_456);
        assert_eq!(t.rfc3339(), "2026-11-21T01:37:14.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-21T02:37:14.123456+01:00"), Some(t));
    }
}
