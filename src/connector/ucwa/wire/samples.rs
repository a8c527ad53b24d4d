//! Every recorded payload says what `tests/fixtures/ucwa-expected.tsv` says it does.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::{ChannelEvent, EventType, Resource, Status, parse_batch, parse_error};

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ucwa").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn or_dash(text: Option<impl Into<String>>) -> String {
    text.map_or_else(|| "-".to_owned(), Into::into)
}

fn sorted(mut list: Vec<String>) -> String {
    list.sort();
    list.join(",")
}

fn event_digest(sender: &str, event: &ChannelEvent) -> String {
    let kind = match &event.kind {
        EventType::Started => "started",
        EventType::Updated => "updated",
        EventType::Completed => "completed",
        EventType::Added => "added",
        EventType::Deleted => "deleted",
        EventType::Other(other) => other,
    };
    let status = event.status.as_ref().map(|status| match status {
        Status::Success => "Success",
        Status::Failure => "Failure",
        Status::Other(other) => other.as_str(),
    });
    let reason = event.reason.clone().unwrap_or_default();
    let resource = event.resource.as_ref().map_or_else(
        || "link-only".to_owned(),
        |r| format!("{}[{}]", or_dash(r.text("state").or(r.text("direction"))), sorted(r.link_rels())),
    );
    format!(
        "{}>{} {kind} in={} {} {}/{} {resource}",
        if sender.is_empty() { "-" } else { sender },
        event.link.rel,
        or_dash(event.inside.as_ref().map(|l| l.rel.as_str())),
        or_dash(status),
        or_dash(reason.code),
        or_dash(reason.subcode),
    )
}

/// The same words as the table's, made by the code under test. Lone senders and events are put into a batch first.
fn digest(body: &[u8]) -> String {
    let whole = Resource::parse(body).unwrap();
    let value = whole.value();
    let body = if value.get("sender").is_some() {
        body.to_vec()
    } else if value.get("events").is_some() {
        serde_json::to_vec(&json!({"sender": [value]})).unwrap()
    } else if value.get("link").is_some() {
        serde_json::to_vec(&json!({"sender": [{"events": [value]}]})).unwrap()
    } else {
        return format!(
            "{} state={} links={} embedded={}",
            or_dash(whole.rel()),
            or_dash(whole.text("state")),
            sorted(whole.link_rels()),
            sorted(whole.embedded_rels()),
        );
    };
    let batch = parse_batch(&body).unwrap();
    assert!(batch.odd.is_empty());
    let links = [("self", &batch.this), ("next", &batch.next), ("resume", &batch.resume), ("resync", &batch.resync)];
    let links: Vec<_> = links.into_iter().filter(|(_, link)| link.is_some()).map(|(rel, _)| rel).collect();
    let events: Vec<_> =
        batch.senders.iter().flat_map(|s| s.events.iter().map(|event| event_digest(&s.rel, event))).collect();
    format!("{} | {}", or_dash((!links.is_empty()).then(|| links.join(","))), events.join("; "))
}

#[test]
fn every_sample_says_what_the_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let table = std::fs::read_to_string(folder.join("ucwa-expected.tsv")).unwrap();
    let mut expected: BTreeMap<&str, &str> =
        table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap()).collect();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder.join("ucwa")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".json") {
            let found = digest(&read(&name));
            let wanted = expected.remove(name.as_str()).unwrap_or("not in the table");
            if found != wanted {
                wrong.push(format!("{name}\n  found  {found}\n  wanted {wanted}"));
            }
        }
    }
    assert!(expected.is_empty(), "no such samples: {expected:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_meeting_invitation_of_the_first_report() {
    let batch = parse_batch(&read("seed-ev-batch-onlinemeetinginvitation-started-incoming.json")).unwrap();
    let invitation = batch.senders.last().unwrap().events.last().unwrap();
    let resource = invitation.resource.as_ref().unwrap();
    assert_eq!(resource.text("direction"), Some("Incoming"));
    assert!(resource.text("onlineMeetingUri").is_some_and(|uri| uri.starts_with("sip:")));
    assert_eq!(resource.texts("availableModalities"), ["Messaging"]);
    for rel in ["accept", "decline", "conversation"] {
        assert!(resource.link(rel).is_some(), "{rel}");
    }
}

#[test]
fn the_conflict_of_the_first_report_has_no_subcode() {
    let error = parse_error(&read("seed-error-409-conflict-no-subcode.json")).unwrap();
    assert_eq!((error.code.as_deref(), error.subcode, error.debug), (Some("Conflict"), None, None));
    assert!(error.message.unwrap().contains("conflict"));
    let error = parse_error(&read("error-409-alreadyexists.json")).unwrap();
    assert_eq!(error.subcode.as_deref(), Some("AlreadyExists"));
}

#[test]
fn conferenced_conversation_and_disconnected_messaging() {
    let sender = Resource::parse(&read("seed-sender-conversation-updated-conferenced.json")).unwrap().value();
    let event = ChannelEvent::from_value(&sender["events"][0]).unwrap();
    let conversation = event.resource.unwrap();
    assert_eq!(conversation.texts("activeModalities"), ["Messaging"]);
    assert_eq!(conversation.int("participantCount"), Some(3));
    let raw = Resource::parse(&read("seed-event-messaging-disconnected-addmessaging.json")).unwrap().value();
    let messaging = ChannelEvent::from_value(&raw).unwrap().resource.unwrap();
    assert!(messaging.link("addMessaging").unwrap().contains("messagingInvitations?conversation="));
    assert_eq!(messaging.link("sendMessage"), None);
}

#[test]
fn the_first_message_stands_in_the_invitation() {
    let batch = parse_batch(&read("ev-batch-messaginginvitation-started-incoming.json")).unwrap();
    let invitation = batch.senders[0].events[0].resource.as_ref().unwrap();
    assert!(invitation.link("message").is_some_and(|href| href.starts_with("data:")));
    assert!(invitation.embedded("from").unwrap().text("uri").is_some_and(|uri| uri.starts_with("sip:")));
    // The key is localParticipant, the rel inside may be participant.
    let own = batch.senders.iter().flat_map(|s| &s.events).find(|e| e.link.rel == "localParticipant").unwrap();
    assert!(own.resource.is_some() && own.link.title.as_deref() == Some("Tosh Meston"));
}

#[test]
fn messages_carry_time_direction_and_bodies() {
    let batch = parse_batch(&read("tap-event-messageincominghtml.json")).unwrap();
    let message = batch.senders[0].events[0].resource.as_ref().unwrap();
    assert_eq!(message.rel().as_deref(), Some("message"));
    assert_eq!(message.date("timeStamp").unwrap().millis(), 1_489_524_122_496);
    assert_eq!(message.link("plainMessage"), None);
    assert!(message.link("htmlMessage").unwrap().starts_with("data:text/html;charset=utf-8,%3cspan+style"));
    assert_eq!(message.link_title("participant"), Some("Original Name"));
    let sender = message.embedded("senderParticipant").unwrap();
    assert_eq!(sender.text("uri"), Some("sip:participant@example.com"));
    assert_eq!(message.embedded_all("ms:rtc:saas:senderParticipant").len(), 1);
    let reference = Resource::parse(&read("message-get-ref.json")).unwrap();
    assert_eq!(reference.date("timeStamp").unwrap().millis(), 1_474_932_027_613);
    assert_eq!(reference.links("failedDeliveryParticipant").len(), 1);
}

#[test]
fn titles_that_are_empty_count_as_none() {
    let batch = parse_batch(&read("field-ev-batch-message-then-typing.json")).unwrap();
    let typing = batch.senders.iter().flat_map(|s| &s.events).last().unwrap();
    assert_eq!(typing.inside.as_ref().map(|l| l.rel.as_str()), Some("typingParticipants"));
    assert_eq!(typing.link.title, None);
}
