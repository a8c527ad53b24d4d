//! What activities come to.

use serde_json::{Value, json};

use super::*;
use crate::connector::teams::message;

const TENANT: &str = "56653e9d-2158-46ee-90d7-675c39642038";
const ADELE: &str = "c5e99701-2a32-49c1-a660-4629ceeb8c61";

fn activity(with: Value) -> Value {
    let mut activity = json!({
        "type": "message", "id": "1759944781430", "timestamp": "2025-10-08T17:33:01.4953744Z", "channelId": "msteams",
        "serviceUrl": "https://smba.trafficmanager.net/amer/",
        "from": {"id": "29:1uMV", "aadObjectId": ADELE, "name": "Adele"},
        "recipient": {"id": "28:608cacfd", "name": "Recorder"},
        "conversation": {"id": "19:6848@thread.tacv2;messageid=1759881511856", "conversationType": "channel", "tenantId": TENANT}
    });
    for (key, value) in with.as_object().into_iter().flatten() {
        activity[key] = value.clone();
    }
    activity
}

/// With our application's id.
fn read(json: &Value, tenant: &str) -> Activity {
    super::read(json, tenant, "608CACFD")
}

#[test]
fn what_lacks_an_id_or_a_time_is_told_apart_by_all_it_says() {
    let odd = |with: Value| {
        let mut odd = activity(with);
        odd["id"] = Value::Null;
        odd["timestamp"] = Value::Null;
        let mut read = read(&odd, TENANT);
        read.facts.remove(0)
    };
    let one = odd(json!({"type": "event", "name": "x", "value": 1}));
    assert_eq!(one.dedupe, odd(json!({"type": "event", "name": "x", "value": 1})).dedupe, "the same again");
    assert_ne!(one.dedupe, odd(json!({"type": "event", "name": "x", "value": 2})).dedupe);
    let edit = |text: &str| {
        let mut edit = activity(json!({"type": "messageUpdate", "text": text}));
        edit["timestamp"] = Value::Null;
        read(&edit, TENANT).facts.remove(0).dedupe
    };
    assert_ne!(edit("one"), edit("two"), "two edits of a message");
}

#[test]
fn what_cannot_be_read_is_kept_as_it_is() {
    for odd in [
        json!({"type": "conversationUpdate", "membersAdded": [null, {}]}),
        json!({"type": "messageReaction", "replyToId": "1", "reactionsAdded": [{"type": 7}]}),
        json!({"type": "installationUpdate", "action": "add", "conversation": {}}),
    ] {
        let said = read(&activity(odd.clone()), TENANT);
        assert_eq!(said.facts.iter().map(|fact| fact.kind).collect::<Vec<_>>(), [Kind::PlatformEvent], "{odd}");
        assert_ne!(said.what, What::Installed);
    }
}

#[test]
fn we_are_known_by_our_application_where_the_recipient_is_not_told() {
    let added = json!({"type": "conversationUpdate", "recipient": null, "membersAdded": [{"id": "28:608cacfd"}]});
    assert_eq!(read(&activity(added), TENANT).what, What::Installed);
}

#[test]
fn a_message_has_the_key_of_its_first_version_from_graph() {
    let said = read(
        &activity(
            json!({"text": "<at>Recorder</at> hi", "attachments": [{"contentType": "text/html", "content": "<p><span itemid=\"0\">Recorder</span>&nbsp;<b>hi</b></p>"}],
            "entities": [{"type": "mention", "text": "<at>Recorder</at>", "mentioned": {"id": "28:608cacfd", "name": "Recorder"}}]}),
        ),
        "other",
    );
    assert_eq!(
        (said.what, said.thread.as_str(), said.root.as_deref()),
        (What::Message, "19:6848@thread.tacv2", Some("1759881511856"))
    );
    let fact = &said.facts[0];
    let words = fact.content.message.as_ref().expect("words");
    assert_eq!((words.text.as_str(), words.in_reply_to.as_deref()), ("Recorder\u{a0}hi", Some("1759881511856")));
    assert_eq!(words.mentions[0].id, "application:608cacfd");
    assert_eq!(fact.content.actor.as_ref().map(|a| a.id.clone()), Some(format!("{ADELE}@{TENANT}")));
    let graph = json!({"id": "1759944781430", "etag": "1759944781430", "createdDateTime": "2025-10-08T17:33:01.43Z",
        "channelIdentity": {"teamId": "t", "channelId": "19:6848@thread.tacv2"}, "body": {"contentType": "text", "content": "hi"}});
    let place = message::Place { thread: "19:6848@thread.tacv2", tenant: TENANT };
    assert_eq!(message::read(&graph, None, &place).facts[0].dedupe, fact.dedupe);
    let plain = read(&activity(json!({"text": "<at>Recorder</at> reply\r\n"})), TENANT);
    assert_eq!(plain.facts[0].content.message.as_ref().map(|m| m.text.as_str()), Some("Recorder reply"));
}

#[test]
fn being_installed_is_told_by_either_activity() {
    for with in [
        json!({"type": "installationUpdate", "action": "add"}),
        json!({"type": "conversationUpdate", "membersAdded": [{"id": "29:x"}, {"id": "28:608cacfd"}]}),
    ] {
        let installed = read(&activity(with), TENANT);
        assert_eq!(installed.what, What::Installed);
        assert_eq!(installed.facts[0].kind, Kind::InvitationReceived);
        assert!(installed.facts[0].content.actor.as_ref().is_some_and(|a| a.id.starts_with(ADELE)));
    }
    for with in [
        json!({"type": "installationUpdate", "action": "remove"}),
        json!({"type": "conversationUpdate", "membersRemoved": [{"id": "28:608cacfd"}]}),
    ] {
        let removed = read(&activity(with), TENANT);
        assert_eq!((removed.what, removed.facts[0].kind), (What::Removed, Kind::PlatformEvent));
    }
    let upgraded = read(&activity(json!({"type": "installationUpdate", "action": "add-upgrade"})), TENANT);
    assert_eq!((upgraded.what, upgraded.facts[0].kind), (What::Upgraded, Kind::PlatformEvent));
}

#[test]
fn people_of_meetings_come_and_go_with_their_role() {
    let of = |name: &str| {
        read(
            &activity(json!({"type": "event", "name": format!("application/vnd.microsoft.{name}"),
            "value": {"members": [{"user": {"id": "29:1uMV", "name": "Adele", "aadObjectId": ADELE, "tenantId": TENANT}, "meeting": {"role": "Organizer"}}]}})),
            TENANT,
        )
    };
    for (name, what, kind) in [
        ("meetingParticipantJoin", What::MeetingJoined, Kind::ParticipantJoined),
        ("meetingParticipantLeave", What::MeetingLeft, Kind::ParticipantLeft),
    ] {
        let read = of(name);
        assert_eq!((read.what, read.facts[0].kind), (what, kind));
        let who = read.facts[0].content.participant.as_ref().expect("somebody");
        assert_eq!((who.id.as_str(), who.role.as_deref()), (format!("{ADELE}@{TENANT}").as_str(), Some("Organizer")));
    }
    let ended = read(
        &activity(
            json!({"type": "event", "name": "application/vnd.microsoft.meetingEnd", "value": {"Title": "Weekly", "EndTime": "2025-10-08T18:00:00.0000000Z"}}),
        ),
        TENANT,
    );
    assert_eq!(ended.facts[0].content.message.as_ref().map(|m| m.text.as_str()), Some("Meeting ended: Weekly"));
    assert_eq!(ended.facts[0].source_time.map(Timestamp::rfc3339).as_deref(), Some("2025-10-08T18:00:00.000Z"));
}

#[test]
fn edits_deletions_and_reactions_name_their_message() {
    let edited = read(
        &activity(json!({"type": "messageUpdate", "text": "new", "channelData": {"eventType": "editMessage"}})),
        TENANT,
    );
    assert_eq!((edited.what, edited.facts[0].kind), (What::Edited, Kind::MessageEdited));
    let back = read(
        &activity(json!({"type": "messageUpdate", "text": "new", "channelData": {"eventType": "undeleteMessage"}})),
        TENANT,
    );
    assert_eq!((back.what, back.facts[0].kind), (What::Undeleted, Kind::MessageEdited));
    let gone =
        read(&activity(json!({"type": "messageDelete", "channelData": {"eventType": "softDeleteMessage"}})), TENANT);
    assert_eq!((gone.what, gone.facts[0].kind), (What::Deleted, Kind::MessageDeleted));
    let liked = read(
        &activity(
            json!({"type": "messageReaction", "id": "f:1", "replyToId": "1575", "reactionsAdded": [{"type": "like"}]}),
        ),
        TENANT,
    );
    assert_eq!(liked.message.as_deref(), Some("1575"));
    assert_eq!((liked.facts[0].kind, liked.facts[0].content.reaction.as_deref()), (Kind::ReactionAdded, Some("like")));
}

#[test]
fn anything_else_is_kept_whole() {
    for odd in [
        json!(null),
        json!([]),
        json!({"type": 7}),
        json!({"type": "message"}),
        json!({"type": "event", "value": "x"}),
        json!({"type": "messageReaction"}),
        json!({"type": "conversationUpdate", "membersAdded": {}, "conversation": ";messageid="}),
    ] {
        let _ = read(&odd, TENANT);
    }
    let typing = read(&activity(json!({"type": "typing"})), TENANT);
    assert_eq!((typing.what, typing.facts[0].kind), (What::Typing, Kind::PlatformEvent));
    let invoke = read(&activity(json!({"type": "invoke", "name": "adaptiveCard/action"})), TENANT);
    assert_eq!((invoke.what, invoke.facts[0].kind), (What::Invoke, Kind::PlatformEvent));
}
