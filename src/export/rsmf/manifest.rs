//! The members of `rsmf_manifest.json`, version 2.0.0, in the order in which they are written.

use serde::Serialize;

/// The whole manifest.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    pub(super) version: &'static str,
    pub(super) participants: Vec<Participant>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) events: Vec<Event>,
    pub(super) eventcollectionid: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Participant {
    pub(super) id: String,
    pub(super) display: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) custom: Vec<Custom>,
}

#[derive(Debug, Serialize)]
pub(super) struct Conversation {
    pub(super) id: String,
    pub(super) display: String,
    pub(super) platform: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) participants: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custodian: Option<String>,
    pub(super) custom: Vec<Custom>,
}

/// Both members must be texts that are not empty.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Custom {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<String>,
    pub(super) conversation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) participant: Option<String>,
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) importance: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reactions: Vec<Reaction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<Attachment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) edits: Vec<Edit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) custom: Vec<Custom>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reaction {
    pub(super) value: String,
    pub(super) count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) participants: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) display: String,
    pub(super) size: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Edit {
    pub(super) participant: String,
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    pub(super) new: String,
}

impl Event {
    /// Adds a fact, if there is one.
    pub(super) fn tell(&mut self, name: &str, value: impl Into<String>) {
        self.custom.extend(custom(name, value));
    }
}

/// A fact of ours; `None` if there is nothing to say.
pub(super) fn custom(name: &str, value: impl Into<String>) -> Option<Custom> {
    let value = value.into();
    (!value.is_empty()).then(|| Custom { name: name.to_owned(), value })
}
