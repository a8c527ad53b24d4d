//! Who was there.

use std::time::Duration;

use serde_json::json;

use super::rig::*;
use crate::model::Kind;

#[test]
fn typing_is_not_joining() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let before = rig.of(Kind::ParticipantJoined).len();
    rig.batch(json!([in_conversation(
        "a",
        vec![
            participant_in("a", "bob@contoso.com", "typingParticipants", "added"),
            participant_in("a", "bob@contoso.com", "typingParticipants", "deleted")
        ]
    )]));
    assert_eq!(rig.of(Kind::ParticipantJoined).len(), before);
    assert!(rig.of(Kind::ParticipantLeft).is_empty());
}

#[test]
fn link_only_participants_are_looked_up_and_order_is_kept() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let said = message("a", 1, "bob@contoso.com", "data:text/plain,hello");
    rig.raw_batch(json!([in_conversation("a", vec![participant("a", "bob@contoso.com", "added"), said])]), "next");
    assert!(rig.texts().is_empty(), "waits for the name");
    assert!(rig.polling().is_some(), "but the channel does not");
    rig.serve();
    let events: Vec<_> = rig.memory.events.iter().rev().take(2).collect();
    assert_eq!(events[1].kind, Kind::ParticipantJoined);
    assert_eq!(events[1].content.participant.as_ref().expect("participant").name.as_deref(), Some("Bob"));
    assert_eq!(events[0].content.actor.as_ref().expect("actor").name.as_deref(), Some("Bob"));
}

#[test]
fn a_sender_that_cannot_be_looked_up_is_named_by_the_link_and_marked() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.batch(json!([in_conversation("a", vec![message("a", 1, "Gone%40contoso.com", "data:text/plain,x")])]));
    let event = rig.of(Kind::MessageSent)[0];
    assert_eq!(event.content.actor.as_ref().expect("actor").id, "sip:gone@contoso.com");
    assert_eq!(event.content.detail.as_ref().expect("detail")["unresolved_sender"], true);
}

#[test]
fn the_lobby_is_waiting_then_admitted_or_refused() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.knows("a", "carol@contoso.com", "Carol");
    rig.knows("a", "dave@contoso.com", "Dave");
    rig.batch(json!([in_conversation(
        "a",
        vec![
            participant_in("a", "carol@contoso.com", "lobby", "added"),
            participant_in("a", "dave@contoso.com", "lobby", "added")
        ]
    )]));
    rig.batch(json!([in_conversation(
        "a",
        vec![
            participant_in("a", "carol@contoso.com", "lobby", "deleted"),
            participant_in("a", "carol@contoso.com", "attendees", "added"),
            participant("a", "carol@contoso.com", "added"),
            participant_in("a", "dave@contoso.com", "lobby", "deleted"),
            participant("a", "dave@contoso.com", "deleted")
        ]
    )]));
    let story: Vec<(String, String, Option<bool>)> = rig
        .memory
        .events
        .iter()
        .filter_map(|e| e.content.participant.as_ref().map(|p| (e.kind.to_string(), p.id.clone(), p.in_lobby)))
        .filter(|(_, id, _)| id.starts_with("sip:carol") || id.starts_with("sip:dave"))
        .collect();
    let (carol, dave) = ("sip:carol@contoso.com".to_owned(), "sip:dave@contoso.com".to_owned());
    assert_eq!(
        story,
        [
            ("participant.joined".to_owned(), carol.clone(), Some(true)),
            ("participant.joined".to_owned(), dave.clone(), Some(true)),
            ("participant.changed".to_owned(), carol, Some(false)),
            ("participant.left".to_owned(), dave, Some(true)),
        ]
    );
}

#[test]
fn a_promotion_is_one_change_of_role() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.batch(json!([in_conversation(
        "a",
        vec![
            participant_in("a", "alice@contoso.com", "leaders", "added"),
            participant_in("a", "alice@contoso.com", "attendees", "deleted")
        ]
    )]));
    let changed = rig.of(Kind::ParticipantChanged);
    assert_eq!(changed.len(), 1, "{:?}", rig.kinds());
    assert_eq!(changed[0].content.participant.as_ref().expect("participant").role.as_deref(), Some("Leader"));
}

#[test]
fn the_roster_check_finds_who_was_not_announced_and_who_is_gone() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let list = |name: &str, who: &[&str]| {
        let links: Vec<_> =
            who.iter().map(|w| json!({"href": format!("{}/participants/{w}", conversation("a"))})).collect();
        (format!("{}/participants/{name}", conversation("a")), json!({"rel": name, "_links": {"participant": links}}))
    };
    for (path, body) in [list("leaders", &["bob@contoso.com"]), list("attendees", &[]), list("lobby", &[])] {
        rig.page("GET", &path, 200, body);
    }
    rig.pass(Duration::from_secs(2));
    let joined = rig.of(Kind::ParticipantJoined);
    let bob = joined.last().expect("bob");
    assert_eq!(bob.content.participant.as_ref().expect("participant").id, "sip:bob@contoso.com");
    assert_eq!(bob.content.participant.as_ref().expect("participant").role.as_deref(), Some("Attendee"));
    assert_eq!(bob.content.detail.as_ref().expect("detail")["found_by"], "roster check");
    let left = rig.of(Kind::ParticipantLeft);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].content.participant.as_ref().expect("participant").id, "sip:alice@contoso.com");
}

#[test]
fn the_recorder_leaves_when_it_has_been_alone() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    for name in ["leaders", "attendees", "lobby"] {
        rig.page("GET", &format!("{}/participants/{name}", conversation("a")), 200, json!({"rel": name}));
    }
    rig.batch(json!([in_conversation("a", vec![participant("a", "alice@contoso.com", "deleted")])]));
    rig.pass(Duration::from_secs(55));
    assert_eq!(rig.count_sent(&format!("DELETE {}", conversation("a"))), 0);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.count_sent(&format!("DELETE {}", conversation("a"))), 1);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.kinds().last(), Some(&"conversation.ended"));
}

#[test]
fn the_recorder_is_no_participant() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let own =
        event("localParticipant", &format!("{}/participants/recorder@contoso.com", conversation("a")), "added", None);
    rig.batch(json!([in_conversation("a", vec![own, participant("a", "recorder@contoso.com", "added")])]));
    let people: Vec<String> =
        rig.memory.events.iter().filter_map(|e| e.content.participant.as_ref()).map(|p| p.id.clone()).collect();
    assert!(!people.contains(&ME.to_owned()), "{people:?}");
}
