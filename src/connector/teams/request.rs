//! Requests about calls: their bodies, and the [`Ask`]s that carry them (digest §7, §8).
//!
//! Nothing that a cloud's metadata lacks is sent there.

use serde_json::{Map, Value, json};

use super::ask::{Ask, Class, Method, Patience, Priority, encoded};
use super::config::{Cloud, RejectReason};
use super::member::bounded;
use super::notice::CallId;
use crate::model::Timestamp;

/// `mediaConfig` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaConfig<'a> {
    /// `serviceHostedMediaConfig`, with `(uri, resourceId)` to fetch ahead.
    ServiceHosted(&'a [(String, String)]),
    /// `appHostedMediaConfig`: the opaque document of a media library.
    AppHosted(&'a str),
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Where the call's notifications go; HTTPS, with our key in its path.
    pub callback_uri: &'a str,
    /// The media.
    pub media: MediaConfig<'a>,
    /// `acceptedModalities`.
    pub modalities: &'a [String],
    /// `participantCapacity`; 0 and 1 are not sent.
    pub capacity: u32,
    /// `callOptions.isContentSharingNotificationEnabled`.
    pub content_sharing: bool,
    /// `callOptions.isDeltaRosterEnabled`.
    pub delta_roster: bool,
    /// Which cloud it goes to.
    pub cloud: Cloud,
}

/// The body of `answer`.
pub fn answer_body(answer: &Answer<'_>) -> Value {
    let media = match answer.media {
        MediaConfig::ServiceHosted(prefetch) => {
            let mut media = json!({ "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" });
            if !prefetch.is_empty() {
                media["preFetchMedia"] =
                    prefetch.iter().map(|(uri, id)| json!({ "uri": uri, "resourceId": id })).collect();
            }
            media
        }
        MediaConfig::AppHosted(blob) => json!({ "@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": blob }),
    };
    let mut body = json!({
        "callbackUri": answer.callback_uri,
        "mediaConfig": media,
        "acceptedModalities": answer.modalities,
    });
    if answer.cloud.has_call_options() {
        let mut options = Map::new();
        if answer.content_sharing {
            options.insert("isContentSharingNotificationEnabled".into(), Value::Bool(true));
        }
        if answer.delta_roster {
            options.insert("isDeltaRosterEnabled".into(), Value::Bool(true));
        }
        if !options.is_empty() {
            // Without its type the service ignores the options, without an error (trap 11).
            options.insert("@odata.type".into(), "#microsoft.graph.incomingCallOptions".into());
            body["callOptions"] = Value::Object(options);
        }
        if answer.capacity > 1 {
            body["participantCapacity"] = json!(answer.capacity.min(i32::MAX as u32));
        }
    }
    body
}

/// `POST …/answer`; not sent after `deadline`.
pub fn answer(call: &CallId, answer: &Answer<'_>, deadline: Timestamp) -> Ask {
    Ask { patience: Patience::Until(deadline), ..urgent(call, "answer").with_body(answer_body(answer)) }
}

/// `POST …/reject`; not sent after `deadline`.
pub fn reject(call: &CallId, reason: RejectReason, deadline: Timestamp) -> Ask {
    Ask { patience: Patience::Until(deadline), ..urgent(call, "reject").with_body(reject_body(reason)) }
}

/// The body of `reject`.
pub fn reject_body(reason: RejectReason) -> Value {
    json!({ "reason": reason.as_str() })
}

/// `status` of `updateRecordingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RecordingStatus {
    /// `recording`
    Recording,
    /// `notRecording`
    NotRecording,
    /// `failed`
    Failed,
}

impl RecordingStatus {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordingStatus::Recording => "recording",
            RecordingStatus::NotRecording => "notRecording",
            RecordingStatus::Failed => "failed",
        }
    }
}

/// The body of `updateRecordingStatus`; the context comes back with the result.
pub fn recording_body(status: RecordingStatus, context: &str) -> Value {
    json!({ "clientContext": bounded(context, 256), "status": status.as_str() })
}

/// `POST …/updateRecordingStatus`.
pub fn recording(call: &CallId, status: RecordingStatus, context: &str) -> Ask {
    of(call, Method::Post, "/updateRecordingStatus", Priority::Live).with_body(recording_body(status, context))
}

/// `POST …/keepAlive`.
pub fn keep_alive(call: &CallId) -> Ask {
    of(call, Method::Post, "/keepAlive", Priority::Upkeep)
}

/// `GET` of the call.
pub fn get_call(call: &CallId) -> Ask {
    of(call, Method::Get, "", Priority::Live)
}

/// `GET …/participants`.
pub fn get_participants(call: &CallId) -> Ask {
    of(call, Method::Get, "/participants", Priority::Live)
}

/// `DELETE` of the call: our leg leaves, nobody else.
pub fn leave(call: &CallId) -> Ask {
    of(call, Method::Delete, "", Priority::Live)
}

/// The reply to a joining notification that takes the user (HTTP 200, trap 9).
pub fn accept_join() -> Value {
    json!({ "@odata.type": "#microsoft.graph.acceptJoinResponse" })
}

/// The reply to a joining notification that refuses the user.
pub fn reject_join(reason: RejectReason) -> Value {
    json!({ "@odata.type": "#microsoft.graph.rejectJoinResponse", "reason": reason.as_str() })
}

/// The reply to a joining notification that asks for a call of its own, sent to this address.
pub fn invite_new_bot(uri: &str) -> Value {
    json!({ "@odata.type": "#microsoft.graph.inviteNewBotResponse", "inviteUri": uri })
}

fn of(call: &CallId, method: Method, tail: &str, priority: Priority) -> Ask {
    Ask::graph(method, format!("/communications/calls/{}{tail}", encoded(call.as_str())), Class::Calls, priority)
}

fn urgent(call: &CallId, action: &str) -> Ask {
    of(call, Method::Post, &format!("/{action}"), Priority::Deadline)
}

#[cfg(test)]
mod tests;
