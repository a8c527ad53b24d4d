//! Bodies of what the recorder says about calls, in the shapes of the service's metadata (digest §7, §8).

use serde_json::{Map, Value, json};

use super::config::{RejectReason, ResolvedTeams};
use super::media::Configuration;
use super::offer::Decision;

/// The body of `answer`. `callback` is our address for everything further about this call.
pub fn answer(config: &ResolvedTeams, media: Configuration, callback: &str) -> Value {
    let media = match media {
        Configuration::ServiceHosted(prefetch) => {
            let mut media = json!({"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"});
            if !prefetch.is_empty() {
                let list = prefetch.into_iter().map(
                    |(uri, id)| json!({"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri, "resourceId": id}),
                );
                media["preFetchMedia"] = list.collect();
            }
            media
        }
        Configuration::AppHosted(blob) => json!({"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": blob}),
    };
    let mut body = Map::new();
    body.insert("callbackUri".into(), callback.into());
    body.insert("mediaConfig".into(), media);
    body.insert("acceptedModalities".into(), config.accepted_modalities.clone().into());
    // Nothing that a cloud's metadata lacks is sent there (digest §3).
    if config.cloud.has_call_options() {
        if config.content_sharing || config.delta_roster {
            // Without its type the service takes the options and ignores them (trap 11).
            let options = json!({
                "@odata.type": "#microsoft.graph.incomingCallOptions",
                "isContentSharingNotificationEnabled": config.content_sharing,
                "isDeltaRosterEnabled": config.delta_roster,
            });
            body.insert("callOptions".into(), options);
        }
        if config.participant_capacity > 1 {
            body.insert("participantCapacity".into(), config.participant_capacity.into());
        }
    }
    Value::Object(body)
}

/// The body of `reject`.
pub fn reject(reason: RejectReason) -> Value {
    json!({"reason": reason.as_str()})
}

/// The body of `updateRecordingStatus`.
pub fn recording_status(status: &str, client_context: &str) -> Value {
    json!({"clientContext": client_context, "status": status})
}

/// The body of the 200 that answers a `participantJoiningNotification`.
pub fn joining(decision: &Decision, reason: RejectReason) -> Value {
    match decision {
        Decision::Accept { .. } => json!({"@odata.type": "#microsoft.graph.acceptJoinResponse"}),
        Decision::Decline { .. } => {
            json!({"@odata.type": "#microsoft.graph.rejectJoinResponse", "reason": reason.as_str()})
        }
    }
}
