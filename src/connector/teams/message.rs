//! Chat messages: every version of a message as facts (digest §16, §17).
//!
//! What is remembered of the last version known, [`Seen`], tells what a further one changed: words, reactions, deletion,
//! policy. The same version gives the same facts whichever way it comes, so their keys are made of thread, message and the
//! version's own times.

mod attachments;
mod card;
mod system;
mod versions;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ask::encoded;
use super::fact::Fact;
use super::moment;
use crate::model::Timestamp;

pub use self::attachments::{Want, kept};

/// Where a message stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// Chat or channel.
    pub thread: &'p str,
    /// Where a user without tenant counts to.
    pub tenant: &'p str,
}

/// What identifies a version of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Chat or channel.
    pub thread: String,
    /// Team of a channel.
    pub team: Option<String>,
    /// `id`, or the `etag` of a message that has none; unique in its thread only (trap 24).
    pub id: String,
    /// When this version was made.
    pub modified: Option<Timestamp>,
    /// The sending application, if one sent it.
    pub application: Option<String>,
}

/// What is remembered of a message: enough to tell what a further version changed. Stored with the facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// `etag`, or the time of the version.
    #[serde(rename = "v")]
    version: String,
    /// `lastModifiedDateTime`, ms.
    #[serde(rename = "m")]
    modified: i64,
    /// `lastEditedDateTime`, ms.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    edited: Option<i64>,
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// Hash of what was said.
    #[serde(rename = "w")]
    words: u64,
    /// Hash of the policy violation.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    policy: Option<u64>,
    /// Type, person, time in ms.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<(String, String, i64)>,
    /// Versions known besides the newest.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    older: Vec<String>,
}

/// What a version says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What it says that is new.
    pub facts: Vec<Fact>,
    /// What is to be remembered.
    pub seen: Seen,
    /// Contents to be fetched and kept.
    pub wants: Vec<Want>,
    /// It was edited before it was seen: an earlier version may be on its way.
    pub unseen_edit: bool,
}

/// Name of the cursor entry of a message.
pub fn key(thread: &str, id: &str) -> String {
    format!("~m/{thread}/{id}")
}

/// Identifies a message. `None` if it names no thread or has no id.
pub fn identify(json: &Value) -> Option<Identity> {
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let channel = text("/channelIdentity/channelId");
    let thread = text("/chatId").or(channel)?.to_owned();
    let team = if text("/chatId").is_some() { None } else { text("/channelIdentity/teamId").map(str::to_owned) };
    let id = text("/id").or_else(|| text("/etag"))?.to_owned();
    let modified = text("/lastModifiedDateTime").and_then(moment::time);
    let modified = modified.or_else(|| text("/etag").and_then(moment::from_id));
    let application = text("/from/application/id").map(str::to_owned);
    Some(Identity { thread, team, id, modified, application })
}

/// Reads a version of a message, compared with what is known of it.
pub fn read(json: &Value, known: Option<&Seen>, place: &Place<'_>) -> Reading {
    if system::is_system(json) { system::read(json, known, place) } else { versions::read(json, known, place) }
}

/// Path below `/v1.0` of a message, rebuilt from its ids.
fn path(json: &Value, place: &Place<'_>) -> Option<String> {
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = text("/id")?;
    if text("/chatId").is_some() {
        return Some(format!("/chats/{}/messages/{}", encoded(place.thread), encoded(id)));
    }
    let team = text("/channelIdentity/teamId")?;
    let below = match text("/replyToId") {
        Some(root) => format!("{}/replies/{}", encoded(root), encoded(id)),
        None => encoded(id),
    };
    Some(format!("/teams/{}/channels/{}/messages/{below}", encoded(team), encoded(place.thread)))
}

/// A stable hash of a text; only ever compared with its like.
fn hash(text: &str) -> u64 {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)) >> 1
}

#[cfg(test)]
mod tests;
