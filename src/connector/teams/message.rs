//! Chat and channel messages of Graph (`chatMessage`): from one version of a message to the facts that it adds.
//!
//! The service keeps only the newest version of a message. What was known of it before comes in as [`Seen`]; comparing the
//! two gives edits, deletions, reactions and what a policy did (digest §16). The same version gives the same dedupe keys
//! whichever way it came: change notification, page of a list, or activity.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connector::teams::fact::Fact;
use crate::connector::teams::look::{at, id, list, text, time};
use crate::connector::teams::moment;
use crate::model::Timestamp;

pub mod attachments;
pub mod cards;
pub mod markup;
pub mod people;
pub mod reactions;
pub mod system;
mod versions;
pub mod words;

#[cfg(test)]
mod tests;

pub use versions::{read, restate};

/// Where a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Chat id, or channel id. Goes into the dedupe keys as it is: one spelling per chat, not percent-encoded.
    pub thread: &'a str,
    /// Where users without a tenant of their own count to.
    pub tenant: &'a str,
}

/// What is remembered of a message: enough to tell what its next version changes. Kept in the connector's cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Newest version known, milliseconds.
    #[serde(rename = "v")]
    pub version: i64,
    /// Digest of its `etag`.
    #[serde(rename = "g", default)]
    pub etag: u64,
    /// `lastEditedDateTime`, milliseconds.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<i64>,
    /// `deletedDateTime`, milliseconds.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<i64>,
    /// Digest of the words.
    #[serde(rename = "w", default)]
    pub words: u64,
    /// Digest of `policyViolation`; 0 = none.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub policy: u64,
    /// Reactions: kind, person id, milliseconds.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<reactions::Mark>,
    /// Words were told, not only a deletion.
    #[serde(rename = "s", default)]
    pub sent: bool,
    /// Digests of what has been told, newest last, at most 64: an older version that comes again is known by them.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Seen {
    /// From the bytes of a cursor entry; `None` if they are none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Seen> {
        serde_json::from_slice(bytes).ok()
    }

    /// The bytes of the cursor entry: JSON, some hundred bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of numbers and strings cannot fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The cursor entry of a message.
pub fn key(thread: &str, id: &str) -> String {
    format!("~m/{thread}/{id}")
}

/// What names a message and its version, without reading the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `chatId`, else the channel's id; `None` if the message does not say.
    pub thread: Option<String>,
    /// `id`, else `etag` (one documented sample has no id).
    pub id: String,
    /// `etag`, else `lastModifiedDateTime` as written.
    pub version: String,
    /// When this version arose; versions sort by it.
    pub modified: Option<Timestamp>,
    /// `lastEditedDateTime`.
    pub edited: Option<Timestamp>,
    /// Root of the thread that a channel's reply belongs to, or message answered.
    pub reply_to: Option<String>,
    /// `(team, channel)` of a channel's message.
    pub channel: Option<(String, String)>,
    /// Id of the application that sent it, lower case: our own notices come back this way.
    pub sender_application: Option<String>,
    /// It is a system message.
    pub system: bool,
}

/// Reads what names a message. `None` if it has neither id nor etag.
pub fn identify(json: &Value) -> Option<Identity> {
    let version = version_ms(json);
    Some(Identity {
        thread: thread_of(json),
        id: id_of(json)?,
        version: id(json, "etag").or_else(|| id(json, "lastModifiedDateTime")).unwrap_or_default(),
        modified: (version > 0).then(|| Timestamp::from_millis(version)),
        edited: time(json, "lastEditedDateTime"),
        reply_to: id(json, "replyToId"),
        channel: at(json, "channelIdentity")
            .and_then(|channel| Some((id(channel, "teamId")?, id(channel, "channelId")?))),
        sender_application: sender_application(json),
        system: system::is_system(json),
    })
}

/// Replies that a channel's message brought along (`$expand=replies`); each is a message of its own.
pub fn replies(json: &Value) -> &[Value] {
    list(json, "replies")
}

/// What a version adds to the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// In the order in which they are to be logged.
    pub facts: Vec<Fact>,
    /// What to remember from now on.
    pub seen: Seen,
    /// Attachments whose bytes can be fetched.
    pub wants: Vec<Want>,
    /// The first thing seen of this message is an edited or deleted version: an earlier one may come late.
    pub unseen_edit: bool,
    /// An older version was told after a newer one. Readers who take the last event as the current words are set right by
    /// [`restate`] of the newest version, which has to be fetched (the words are not remembered).
    pub restate: bool,
    /// Id of the application that sent it, lower case.
    pub sender_application: Option<String>,
}

/// An attachment to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Index of the fact in [`Reading::facts`].
    pub fact: usize,
    /// Index of the attachment in its message.
    pub attachment: usize,
    /// Graph path below `/v1.0`, percent-encoded, made of the message's identifiers.
    pub path: String,
}

/// A file that was fetched and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Hex SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// As the service said.
    pub media_type: Option<String>,
}

/// Notes in the fact what came of fetching an attachment: its digest, or in `detail.attachments_not_kept` why there is none.
pub fn kept(fact: &mut Fact, want: &Want, outcome: Result<Kept, String>) {
    let Some(file) = fact.content.message.as_mut().and_then(|m| m.attachments.get_mut(want.attachment)) else { return };
    match outcome {
        Ok(kept) => {
            file.sha256 = Some(kept.sha256);
            file.size = Some(kept.size);
            file.media_type = kept.media_type.or(file.media_type.take());
        }
        Err(reason) => {
            let name = file.name.clone().or_else(|| file.url.clone()).unwrap_or_else(|| "attachment".to_owned());
            let detail = fact.content.detail.get_or_insert_with(|| json!({}));
            if let Some(detail) = detail.as_object_mut() {
                let entry = detail.entry("attachments_not_kept").or_insert_with(|| json!([]));
                if let Some(list) = entry.as_array_mut() {
                    list.push(json!({"name": name, "reason": reason}));
                }
            }
        }
    }
}

fn thread_of(json: &Value) -> Option<String> {
    id(json, "chatId").or_else(|| id(at(json, "channelIdentity")?, "channelId"))
}

fn id_of(json: &Value) -> Option<String> {
    id(json, "id").or_else(|| id(json, "etag"))
}

fn sender_application(json: &Value) -> Option<String> {
    let from = at(json, "from")?;
    id(at(from, "application")?, "id").map(|id| id.trim().to_ascii_lowercase())
}

fn time_ms(json: &Value, member: &str) -> Option<i64> {
    time(json, member).map(Timestamp::millis)
}

/// When a version arose: the latest of everything that says so. 0 if nothing does.
fn version_ms(json: &Value) -> i64 {
    let etag =
        text(json, "etag").and_then(|etag| moment::from_id(etag.trim_matches(['"', ' ']))).map(Timestamp::millis);
    ["lastModifiedDateTime", "lastEditedDateTime", "deletedDateTime", "createdDateTime"]
        .iter()
        .filter_map(|member| time_ms(json, member))
        .chain(etag)
        .max()
        .or_else(|| id_of(json).and_then(|id| moment::from_id(&id)).map(Timestamp::millis))
        .unwrap_or(0)
}
