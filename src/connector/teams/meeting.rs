//! Call events of online meetings: the decrypted payloads of a subscription on `/communications/onlineMeetings`
//! (digest §11). Members inside are spelt in PascalCase; no metadata describes them.

use serde_json::{Value, json};

use crate::connector::teams::fact::Fact;
use crate::connector::teams::identity;
use crate::connector::teams::look::{at, id};
use crate::connector::teams::look::{bare, list, text, time};
use crate::model::{Content, Kind, Message, Participant, Timestamp};

/// What happened to the meeting's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The call began.
    Started,
    /// The call ended.
    Ended,
    /// Somebody came or went.
    Roster,
    /// Something new.
    Other,
}

/// One event, read.
#[derive(Clone, Debug, PartialEq)]
pub struct MeetingEvent {
    /// What it is.
    pub what: What,
    /// The platform's clock.
    pub time: Option<Timestamp>,
    /// The join URL that the subscription names; what finds the meeting.
    pub join_url: Option<String>,
    /// What it says.
    pub facts: Vec<Fact>,
}

/// Whether a decrypted resource is such an event.
pub fn is_meeting_event(json: &Value) -> bool {
    text(json, "eventType").is_some_and(|kind| kind.to_ascii_lowercase().contains("microsoft.communication."))
}

/// Reads an event. `tenant` is where users without a tenant count to.
pub fn read(json: &Value, tenant: &str) -> MeetingEvent {
    let kind = text(json, "eventType").unwrap_or_default();
    let last = kind.rsplit('.').next().unwrap_or_default().trim().to_ascii_lowercase();
    let what = match last.as_str() {
        "callstarted" => What::Started,
        "callended" => What::Ended,
        "callrosterupdate" => What::Roster,
        _ => What::Other,
    };
    let when = time(json, "eventDateTime");
    let ms = when.map_or(0, Timestamp::millis);
    let resource = id(json, "@odata.id").or_else(|| id(json, "id")).unwrap_or_default();
    let join_url = join_url(&resource);
    let meeting = join_url.as_deref().unwrap_or(&resource);
    let mut facts = Vec::new();
    for (members, kind) in
        [("activeParticipants@joined", Kind::ParticipantJoined), ("activeParticipants@exited", Kind::ParticipantLeft)]
    {
        for entry in list(json, members) {
            let Some(who) = at(entry, "identity").and_then(|set| identity::principal(set, tenant)) else { continue };
            let who = who.person;
            facts.push(Fact {
                kind,
                source_time: when,
                dedupe: format!("meeting.{kind}|{meeting}|{}|{ms}", who.id),
                content: Content {
                    // Rosters name a leg, not a person, by this id.
                    detail: id(entry, "id").map(|leg| json!({"active_participant": leg})),
                    participant: Some(Participant { id: who.id, name: who.name, ..Participant::default() }),
                    ..Content::default()
                },
            });
        }
    }
    if facts.is_empty() {
        let words = match what {
            What::Started => "Call of the meeting started",
            What::Ended => "Call of the meeting ended",
            _ => "",
        };
        let message = Message { text: words.to_owned(), ..Message::default() };
        facts.push(Fact {
            kind: Kind::PlatformEvent,
            source_time: when,
            dedupe: format!("meeting.event|{meeting}|{last}|{ms}"),
            content: Content {
                detail: Some(bare(json)),
                message: (!words.is_empty()).then_some(message),
                ..Content::default()
            },
        });
    }
    MeetingEvent { what, time: when, join_url, facts }
}

/// The URL in `communications/onlineMeetings?$filter=joinWebUrl eq '<url>'`, however often it was encoded around it.
fn join_url(resource: &str) -> Option<String> {
    let from = resource.find(['\'']).map(|at| at + 1).or_else(|| resource.find("%27").map(|at| at + 3))?;
    let rest = resource.get(from..)?;
    let url = rest.trim_end_matches("%27").trim_end_matches('\'');
    let is_address = |text: &str| text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    if is_address(url) {
        return Some(url.to_owned());
    }
    let decoded = percent_encoding::percent_decode_str(url).decode_utf8().ok()?;
    is_address(&decoded).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosters_of_meetings_are_people_who_join_and_leave() {
        let json = json!({
            "@odata.id": "communications/onlineMeetings?$filter=joinWebUrl+eq+'https%3A%2F%2Fteams.microsoft.com%2Fl%2Fmeetup-join%2F19%253ax'",
            "eventType": "Microsoft.Communication.CallRosterUpdate", "eventDateTime": "2022-02-28T00:00:00.0000000Z",
            "activeParticipants@joined": [{"Id": "leg", "Identity": {"User": {"Id": "f92ca67f-0564-414b-8caa-8c95b8099928", "DisplayName": "A", "TenantId": "T"}}}],
            "activeParticipants@exited": [{"Id": "leg2", "Identity": {"AzureCommunicationServicesUser": {"Id": "8:acs:x", "DisplayName": "B"}}}, 3]
        });
        let event = read(&json, "t");
        assert_eq!((event.what, event.facts.len()), (What::Roster, 2));
        assert_eq!(event.join_url.as_deref(), Some("https://teams.microsoft.com/l/meetup-join/19%3ax"));
        let ids: Vec<_> =
            event.facts.iter().filter_map(|f| f.content.participant.as_ref()).map(|p| p.id.as_str()).collect();
        assert_eq!(ids, ["f92ca67f-0564-414b-8caa-8c95b8099928@t", "azureCommunicationServicesUser:8:acs:x"]);
        assert_eq!(event.facts[1].kind, Kind::ParticipantLeft);
        assert!(is_meeting_event(&json) && !is_meeting_event(&json!({"eventType": "x"})));
    }

    #[test]
    fn beginning_and_end_are_kept_and_nonsense_does_no_harm() {
        let started = read(
            &json!({"eventType": "Microsoft.Communication.CallStarted", "eventDateTime": "2022-02-28T00:00:00Z"}),
            "t",
        );
        assert_eq!((started.what, started.facts[0].kind), (What::Started, Kind::PlatformEvent));
        for odd in [json!(null), json!({"id": "'"}), json!({"id": "%27é"}), json!({"eventType": "é."})] {
            assert_eq!(read(&odd, "t").facts.len(), 1);
        }
    }
}
