//! Calls and participants as they are written on the wire.

use serde_json::{Value, json};

use super::call::{CallKind, Present, Stage};
use super::cast::Kind;
use super::tenant::Tenant;

impl Tenant {
    /// Source of a call: who calls, hidden without any permission for calls.
    fn source_json(&self, caller: &str) -> Value {
        let visible = self.options.roles.iter().any(|r| r.starts_with("Calls."));
        let identity = if visible {
            self.identity(caller)
        } else {
            json!({
                "@odata.type": "#microsoft.graph.identitySet",
                "encrypted": { "@odata.type": "#microsoft.graph.identity", "id": super::cast::invented(caller).replace('-', "") },
            })
        };
        json!({
            "@odata.type": "#microsoft.graph.participantInfo",
            "identity": identity, "endpointType": "default", "region": "emea", "languageId": "en-US",
        })
    }

    fn target_json(&self, policy: bool, participant: &str) -> Value {
        let mut set = json!({ "@odata.type": "#microsoft.graph.identitySet" });
        let identity = json!({
            "@odata.type": "#microsoft.graph.identity", "id": self.options.client_id, "displayName": self.options.name,
        });
        if policy {
            set["applicationInstance"] = json!({
                "@odata.type": "#microsoft.graph.identity",
                "id": super::cast::invented("application instance"), "identityProvider": "AAD",
            });
            return json!({
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": set, "endpointType": "default", "id": participant, "region": null, "languageId": null,
            });
        }
        set["application"] = identity;
        json!({
            "@odata.type": "#microsoft.graph.invitationParticipantInfo",
            "identity": set, "region": "emea", "languageId": "en-US",
        })
    }

    /// `resourceData` of an incoming call.
    pub fn incoming_json(&self, g: usize, l: usize) -> Value {
        let gathering = &self.gatherings[g];
        let leg = &gathering.legs[l];
        let mut call = json!({
            "@odata.type": "#microsoft.graph.call",
            "@odata.id": format!("/communications/calls/{}", leg.id),
            "@odata.etag": "W/\"5445\"",
            "id": leg.id,
            "state": "incoming",
            "direction": "incoming",
            "source": self.source_json(&leg.caller),
            "targets": [self.target_json(leg.observed.is_some(), &leg.participant)],
            "requestedModalities": ["audio"],
            "tenantId": self.options.tenant_id,
            "myParticipantId": leg.participant,
            "callChainId": gathering.chain,
        });
        if !gathering.subject.is_empty() && leg.observed.is_none() {
            call["subject"] = json!(gathering.subject);
        }
        if let Some(observed) = &leg.observed {
            call["meetingInfo"] =
                json!({ "@odata.type": "#microsoft.graph.tokenMeetingInfo", "token": gathering.token });
            call["incomingContext"] = json!({
                "@odata.type": "#microsoft.graph.incomingContext",
                "sourceParticipantId": leg.observed_participant,
                "observedParticipantId": leg.observed_participant,
            });
            call["applicationMetadata"] = json!({ "botData": self.bot_data(g, observed) });
        } else if gathering.kind == CallKind::Meeting {
            call["meetingInfo"] = self.meeting_info(g);
        }
        call
    }

    fn bot_data(&self, g: usize, observed: &str) -> Value {
        let gathering = &self.gatherings[g];
        let oid = |id: &str| self.member(id).map(|m| m.oid.clone()).unwrap_or_default();
        let is_caller = observed == gathering.organizer;
        let other = gathering.present.iter().find(|p| p.who != observed);
        let mut data = json!({
            "callId": gathering.chain,
            "mediaHostedRegion": "EUNO",
            "user": {
                "participationMethod": if is_caller { "Caller" } else { "Callee" },
                "clientLocation": "DE",
                "policyHolderId": format!("8:orgid:{}", oid(observed)),
                "policyHolderTenantId": self.options.tenant_id,
            },
            "inviteReasons": ["ComplianceRecording"],
            "policyIdentifier": "TeamsComplianceRecordingPolicy=Tenant:contoso_policy",
            "pairedRecorders": [],
            "otherRecorders": [],
            "isMultiParty": gathering.kind != CallKind::OneOnOne,
            "applicationType": null,
        });
        if let Some(other) = other {
            data["otherSideUser"] = json!({
                "id": format!("8:orgid:{}", oid(&other.who)),
                "participantId": other.id,
                "tenantId": self.member(&other.who).map(|m| m.tenant.clone()).unwrap_or_default(),
                "participationMethod": if is_caller { "Callee" } else { "Caller" },
                "clientLocation": "DE",
            });
        }
        data
    }

    fn meeting_info(&self, g: usize) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.organizerMeetingInfo",
            "organizer": self.identity(&self.gatherings[g].organizer),
        })
    }

    fn chat_info(&self, g: usize) -> Option<Value> {
        let chat = &self.chats[self.gatherings[g].chat?];
        Some(json!({
            "@odata.type": "#microsoft.graph.chatInfo", "threadId": chat.id, "messageId": "0",
        }))
    }

    /// `resourceData` of a change of state.
    pub fn state_json(&self, g: usize, l: usize, state: &str) -> Value {
        let gathering = &self.gatherings[g];
        let leg = &gathering.legs[l];
        let mut call = json!({
            "@odata.type": "#microsoft.graph.call",
            "@odata.id": format!("/communications/calls/{}", leg.id),
            "@odata.etag": "W/\"5445\"",
            "id": leg.id,
            "state": state,
            "tenantId": self.options.tenant_id,
            "callChainId": gathering.chain,
            "myParticipantId": leg.participant,
        });
        if matches!(state, "establishing" | "established") {
            if let Some(chat) = self.chat_info(g) {
                call["chatInfo"] = chat;
            }
            if gathering.kind == CallKind::Meeting {
                call["meetingInfo"] = self.meeting_info(g);
            }
        }
        if state == "established" {
            call["mediaState"] = json!({ "@odata.type": "#microsoft.graph.callMediaState", "audio": "active" });
        }
        call
    }

    /// A call as GET shows it: declared members only.
    pub fn call_json(&self, g: usize, l: usize) -> Value {
        let gathering = &self.gatherings[g];
        let leg = &gathering.legs[l];
        let state = match leg.stage {
            Stage::Incoming => "incoming",
            Stage::Answered | Stage::Establishing => "establishing",
            Stage::Established => "established",
            Stage::Ended => "terminated",
        };
        let mut source = self.source_json(&leg.caller);
        let mut target = self.target_json(leg.observed.is_some(), &leg.participant);
        for info in [&mut source, &mut target] {
            without_deviations(info);
        }
        json!({
            "@odata.context": format!("{}/v1.0/$metadata#communications/calls/$entity", self.urls.base),
            "@odata.type": "#microsoft.graph.call",
            "id": leg.id,
            "state": state,
            "direction": "incoming",
            "callbackUri": leg.callback,
            "callChainId": gathering.chain,
            "source": source,
            "targets": [target],
            "requestedModalities": leg.modalities,
            "mediaConfig": if leg.media.is_null() { Value::Null } else { leg.media.clone() },
            "chatInfo": if leg.stage >= Stage::Establishing { self.chat_info(g) } else { None },
            "meetingInfo": if gathering.kind == CallKind::Meeting { self.meeting_info(g) } else { Value::Null },
            "myParticipantId": leg.participant,
            "tenantId": self.options.tenant_id,
            "subject": if gathering.subject.is_empty() { Value::Null } else { json!(gathering.subject) },
            "resultInfo": null,
            "toneInfo": null,
            "transcription": null,
        })
    }

    /// A participant as rosters show them.
    pub fn participant_json(&self, p: &Present, numbered: bool) -> Value {
        let sharing = if p.sharing.is_some() { "sendOnly" } else { "receiveOnly" };
        let stream = |kind: &str, source: &str, direction: &str| {
            json!({
                "@odata.type": "#microsoft.graph.mediaStream",
                "mediaType": kind, "sourceId": source, "direction": direction, "serverMuted": false,
            })
        };
        let phone = self.member(&p.who).is_ok_and(|m| m.kind == Kind::Phone);
        let mut streams = vec![stream("audio", "1", "sendReceive")];
        if !phone {
            streams.push(stream("video", "2", "receiveOnly"));
            streams.push(stream("videoBasedScreenSharing", "8", sharing));
        }
        let mut shown = json!({
            "@odata.type": "#microsoft.graph.participant",
            "id": p.id,
            "info": {
                "@odata.type": "#microsoft.graph.participantInfo",
                "identity": self.identity(&p.who), "endpointType": "default", "languageId": "en-US",
            },
            "isInLobby": p.lobby,
            "isMuted": p.muted,
            "mediaStreams": streams,
        });
        if let Some(metadata) = &p.metadata {
            shown["metadata"] = json!(metadata);
        }
        if numbered {
            shown["rosterSequenceNumber"] = json!(p.seq);
        }
        shown
    }

    /// One of our legs as rosters show it.
    fn bot_json(&self, participant: &str) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.participant",
            "id": participant,
            "info": {
                "@odata.type": "#microsoft.graph.participantInfo",
                "identity": self.application(), "endpointType": "default",
            },
            "isInLobby": false,
            "isMuted": false,
            "mediaStreams": [{
                "@odata.type": "#microsoft.graph.mediaStream",
                "mediaType": "audio", "sourceId": "10", "direction": "sendReceive", "serverMuted": false,
            }],
        })
    }

    /// Whether rosters of this call stay empty: 1:1 calls have none.
    pub fn bare_roster(&self, g: usize) -> bool {
        let gathering = &self.gatherings[g];
        gathering.kind == CallKind::OneOnOne
            && !self.options.roster_in_pairs
            && gathering.legs.iter().all(|l| l.observed.is_none())
    }

    /// Everybody, our legs included, as GET and full rosters show them.
    pub fn roster_json(&self, g: usize) -> Vec<Value> {
        if self.bare_roster(g) {
            return Vec::new();
        }
        let gathering = &self.gatherings[g];
        let people = gathering.present.iter().map(|p| self.participant_json(p, false));
        let ours = gathering
            .legs
            .iter()
            .filter(|l| matches!(l.stage, Stage::Establishing | Stage::Established))
            .map(|l| self.bot_json(&l.participant));
        people.chain(ours).collect()
    }
}

/// Takes out what the wire of notifications has beyond the metadata.
fn without_deviations(info: &mut Value) {
    if info["@odata.type"] == "#microsoft.graph.invitationParticipantInfo"
        && let Some(all) = info.as_object_mut()
    {
        for name in ["endpointType", "id", "region", "languageId"] {
            all.remove(name);
        }
    }
}
