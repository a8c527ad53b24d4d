//! From an invitation to a message, and everything a conversation does in between.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::*;
use crate::connector::ucwa::http::Body;
use crate::connector::ucwa::session::{Input, Report};
use crate::model::Kind;

const ALICE: &str = "sip:alice@contoso.com";

#[test]
fn signs_in_becomes_available_and_polls() {
    let rig = Rig::running();
    assert_eq!(rig.count_sent("POST /ucwa/oauth/v1/applications/101/me/makeMeAvailable"), 1, "{:?}", rig.sent);
    assert_eq!(rig.count_sent("POST /ucwa/oauth/v1/applications/101/me/presence"), 1);
    assert!(rig.reports.contains(&Report::Listening));
    assert_eq!(rig.polling().as_deref(), Some("https://pool.contoso.com/ucwa/oauth/v1/applications/101/events?ack=1"));
}

#[test]
fn a_batch_is_acknowledged_only_after_it_is_durable() {
    let mut rig = Rig::running();
    rig.hold_stores = true;
    let started = invitation("messagingInvitation", "1", "a", ALICE, Some("Hi"));
    rig.raw_batch(json!([communication(vec![started])]), "next");
    assert_eq!(rig.polling(), None, "the next link must wait for the fsync");
    assert!(!rig.sent.iter().any(|s| s.ends_with("/accept")), "nothing is done about what is not stored");
    rig.release_stores();
    assert!(rig.polling().is_some_and(|url| url.ends_with("ack=2")));
    assert!(rig.sent.iter().any(|s| s.ends_with("/accept")));
}

#[test]
fn an_invited_talk_is_recorded_with_its_first_words_once() {
    let mut rig = Rig::running();
    rig.knows("a", "alice@contoso.com", "Alice");
    let started = invitation("messagingInvitation", "1", "a", ALICE, Some("Hi+there%0d%0a"));
    rig.batch(json!([communication(vec![started.clone(), talk_is("a", "Incoming", false)])]));
    rig.batch(json!([
        in_conversation("a", vec![messaging_is("a", "Connected"), participant("a", "alice@contoso.com", "updated")]),
        communication(vec![talk_is("a", "Connected", false), completed(&started, "Success")]),
    ]));
    let repeated = message("a", 1, "alice@contoso.com", "data:text/plain;charset=utf-8,Hi+there%0d%0a");
    rig.batch(json!([in_conversation("a", vec![repeated])]));
    let again = message("a", 2, "alice@contoso.com", "data:text/plain;charset=utf-8,Hi+there%0d%0a");
    rig.batch(json!([in_conversation("a", vec![again])]));
    assert_eq!(rig.texts(), ["Hi there", "Hi there"]);
    assert_eq!(
        rig.kinds(),
        [
            "invitation.received",
            "message.sent",
            "recording.started",
            "participant.joined",
            "conversation.started",
            "invitation.accepted",
            "message.sent"
        ]
    );
    let first = rig.of(Kind::MessageSent)[0].content.actor.clone().expect("actor");
    assert_eq!((first.id.as_str(), first.name.as_deref()), (ALICE, Some("Alice")));
    assert!(rig.memory.pending.is_empty(), "everything stored has been interpreted");
}

#[test]
fn the_first_words_stay_when_the_invitation_fails() {
    let mut rig = Rig::running();
    let started = invitation("messagingInvitation", "1", "a", ALICE, Some("Hi"));
    rig.batch(json!([communication(vec![started.clone()])]));
    let failed = with(completed(&started, "Failure"), "reason", json!({"code": "RemoteFailure", "subcode": "Missed"}));
    rig.batch(json!([communication(vec![failed])]));
    assert_eq!(rig.kinds(), ["invitation.received", "message.sent", "invitation.failed"]);
    let reason = rig.of(Kind::InvitationFailed)[0].content.reason.clone().expect("reason");
    assert_eq!(reason.subcode.as_deref(), Some("Missed"));
}

#[test]
fn a_stranger_is_declined_with_the_reason_and_his_words_stay_in_the_envelope() {
    let mut rig = Rig::running();
    let started = invitation("messagingInvitation", "1", "a", "sip:eve@evil.example", Some("secret+offer"));
    rig.batch(json!([communication(vec![started.clone(), talk_is("a", "Incoming", false)])]));
    let failed = with(completed(&started, "Failure"), "reason", json!({"code": "LocalFailure", "subcode": "Declined"}));
    rig.batch(json!([communication(vec![failed])]));
    assert!(rig.sent.iter().any(|s| s.ends_with("/1/decline")));
    assert!(!rig.sent.iter().any(|s| s.ends_with("/accept")));
    assert_eq!(rig.kinds(), ["invitation.received", "invitation.declined"]);
    let events = format!("{:?}", rig.memory.events);
    assert!(!events.contains("secret"), "{events}");
}

#[test]
fn the_seed_case_gets_through_a_409() {
    let mut rig = Rig::running();
    let add = format!("{APP}/communication/messagingInvitations");
    let refusal =
        json!({"code": "Conflict", "message": "There was a conflict that prevented the operation from starting."});
    rig.page("POST", &add, 409, refusal);
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Disconnected"));
    let started = invitation("onlineMeetingInvitation", "1", "a", ALICE, None);
    rig.batch(json!([communication(vec![started.clone()])]));
    rig.batch(json!([communication(vec![talk_is("a", "Conferenced", true)])]));
    assert_eq!(rig.count_sent(&format!("POST {add}")), 0, "the join is not complete");
    rig.batch(json!([
        communication(vec![completed(&started, "Success")]),
        in_conversation("a", vec![messaging_is("a", "Disconnected")])
    ]));
    assert_eq!(rig.count_sent(&format!("POST {add}")), 1);
    rig.pass(Duration::from_secs(4));
    let posts = rig.count_sent(&format!("POST {add}"));
    assert!((2..=3).contains(&posts), "backs off: {posts}");
    let operations: Vec<&Value> = rig
        .bodies
        .iter()
        .filter(|(p, _)| *p == add)
        .map(|(_, b)| match b {
            Body::Json(v) => &v["operationId"],
            _ => panic!("JSON body"),
        })
        .collect();
    assert!(operations.iter().all(|o| *o == operations[0] && o.is_string()), "the same operation: {operations:?}");
    rig.pages.remove(&("POST", add.clone()));
    rig.pass(Duration::from_secs(10));
    rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]));
    let said = message("a", 1, "alice@contoso.com", "data:text/plain,works");
    rig.knows("a", "alice@contoso.com", "Alice");
    rig.batch(json!([in_conversation("a", vec![said])]));
    assert_eq!(rig.texts(), ["works"]);
    let gap = rig.of(Kind::CaptureGap);
    assert_eq!(gap.len(), 1, "over 5 s without messages is a gap: {:?}", rig.kinds());
}

#[test]
fn an_invitation_whose_resource_is_never_embedded_leads_to_the_messages_too() {
    let mut rig = Rig::running();
    let add = format!("{APP}/communication/messagingInvitations");
    let href = format!("{APP}/communication/onlineMeetingInvitations/1");
    let started = invitation("onlineMeetingInvitation", "1", "a", ALICE, None);
    rig.page("GET", &href, 200, started["_embedded"]["onlineMeetingInvitation"].clone());
    rig.batch(json!([communication(vec![event("onlineMeetingInvitation", &href, "started", None)])]));
    assert!(rig.sent.iter().any(|s| s.ends_with("/1/accept")), "{:?}", rig.sent);
    rig.batch(json!([
        communication(vec![talk_is("a", "Conferenced", true)]),
        in_conversation("a", vec![messaging_is("a", "Disconnected")]),
    ]));
    assert_eq!(rig.count_sent(&format!("POST {add}")), 0, "the join is not complete");
    let over = with(event("onlineMeetingInvitation", &href, "completed", None), "status", json!("Success"));
    rig.batch(json!([communication(vec![over])]));
    assert_eq!(rig.count_sent(&format!("POST {add}")), 1, "{:?}", rig.sent);
}

#[test]
fn an_answer_older_than_what_the_channel_told_changes_nothing() {
    let mut rig = Rig::running();
    let talk = conversation("a");
    let add = format!("{APP}/communication/messagingInvitations");
    rig.page("GET", &talk, 200, talk_is("a", "Conferenced", true)["_embedded"]["conversation"].clone());
    rig.page("GET", &format!("{talk}/messaging"), 200, messaging("a", "Disconnected"));
    rig.raw_batch(json!([communication(vec![event("conversation", &talk, "added", None)])]), "next");
    while !rig.wire.iter().any(|(_, r)| r.url.path().ends_with("/messaging")) {
        rig.serve_one(&talk);
    }
    // The answer is on its way when the channel tells of the connection.
    rig.raw_batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]), "next");
    rig.serve();
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.count_sent(&format!("POST {add}")), 0, "messaging is connected: {:?}", rig.sent);
    assert!(rig.of(Kind::RecordingStopped).is_empty(), "{:?}", rig.kinds());
}

#[test]
fn a_talk_found_gone_by_asking_ends_once() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    // The GET for this one finds the conversation gone; its `deleted` comes after that.
    rig.batch(json!([communication(vec![event("conversation", &conversation("a"), "updated", None)])]));
    rig.batch(json!([communication(vec![event("conversation", &conversation("a"), "deleted", None)])]));
    assert_eq!(rig.of(Kind::ConversationEnded).len(), 1, "{:?}", rig.kinds());
}

#[test]
fn the_notice_goes_out_once_and_counts_when_confirmed() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let href = format!("{}/messaging/messages", conversation("a"));
    assert_eq!(rig.count_sent(&format!("POST {href}")), 1);
    assert!(rig.bodies.iter().any(|(p, b)| *p == href && *b == Body::Text(NOTICE.into())));
    assert!(rig.of(Kind::NoticeSent).is_empty());
    let own = json!({"rel": "message", "direction": "Outgoing", "timeStamp": "/Date(1795225034999)/"});
    let sent = with(event("message", &format!("{href}/901"), "completed", Some(own)), "status", json!("Success"));
    rig.batch(json!([in_conversation("a", vec![sent])]));
    assert_eq!(rig.of(Kind::NoticeSent)[0].content.message.as_ref().expect("message").text, NOTICE);
    rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Disconnected")])]));
    rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]));
    rig.restart(Duration::from_secs(1));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.count_sent(&format!("POST {href}")), 1, "not repeated after a drop or a restart");
}

/// A rig whose messaging has just been connected; that the notice goes out is not durable yet.
fn about_to_tell() -> (Rig, String) {
    let mut rig = Rig::running();
    rig.joined("a");
    rig.hold_stores = true;
    rig.raw_batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]), "next");
    rig.release_one();
    let post = format!("POST {}/messaging/messages", conversation("a"));
    assert!(!rig.held.is_empty(), "the intention is handed to the archive");
    assert_eq!(rig.count_sent(&post), 0, "and only then acted on");
    (rig, post)
}

#[test]
fn a_notice_goes_out_when_its_intention_is_durable() {
    let (mut rig, post) = about_to_tell();
    rig.release_stores();
    assert_eq!(rig.count_sent(&post), 1);
    assert_eq!(rig.held.len(), 0);
}

#[test]
fn a_notice_that_came_too_late_goes_out_when_messaging_is_back() {
    let (mut rig, post) = about_to_tell();
    let (ticket, append) = rig.held.remove(0);
    rig.raw_batch(json!([in_conversation("a", vec![messaging_is("a", "Disconnected")])]), "next");
    rig.release_one();
    rig.held.insert(0, (ticket, append));
    rig.release_stores();
    assert_eq!(rig.count_sent(&post), 0, "messaging dropped before it could go out");
    rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]));
    assert_eq!(rig.count_sent(&post), 1);
}

#[test]
fn a_notice_that_a_killed_process_meant_to_send_goes_out_after_the_restart() {
    let (mut rig, post) = about_to_tell();
    rig.store_without_receipt();
    let talk = talk_is("a", "Conferenced", true)["_embedded"]["conversation"].clone();
    rig.page("GET", &conversation("a"), 200, talk);
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Connected"));
    rig.restart(Duration::from_secs(1));
    assert_eq!(rig.count_sent(&post), 0, "the channel may still tell that it went out");
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.count_sent(&post), 1);
}

#[test]
fn a_failed_notice_is_undelivered() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let href = format!("{}/messaging/messages/901", conversation("a"));
    let own = json!({"rel": "message", "direction": "Outgoing", "status": "Failed"});
    let failed = with(event("message", &href, "completed", Some(own)), "status", json!("Failure"));
    rig.batch(json!([in_conversation("a", vec![failed])]));
    assert!(rig.of(Kind::NoticeSent).is_empty());
    assert_eq!(rig.of(Kind::MessageUndelivered)[0].content.message.as_ref().expect("message").text, NOTICE);
}

#[test]
fn a_notice_refused_for_good_is_undelivered_at_once() {
    let mut rig = Rig::running();
    let href = format!("{}/messaging/messages", conversation("a"));
    rig.page("POST", &href, 403, json!({"code": "Forbidden", "message": "no"}));
    rig.in_meeting("a");
    let failed = rig.of(Kind::MessageUndelivered);
    assert_eq!(failed.len(), 1, "{:?}", rig.kinds());
    assert_eq!(failed[0].content.message.as_ref().expect("message").text, NOTICE);
    assert_eq!(failed[0].content.reason.as_ref().expect("reason").code.as_deref(), Some("Forbidden"));
    rig.pass(Duration::from_secs(120));
    assert_eq!(rig.count_sent(&format!("POST {href}")), 1);
}

#[test]
fn a_notice_that_waits_for_another_try_when_the_talk_ends_is_undelivered() {
    let mut rig = Rig::running();
    let href = format!("{}/messaging/messages", conversation("a"));
    rig.page("POST", &href, 503, json!({"code": "ServiceUnavailable"}));
    rig.in_meeting("a");
    assert!(rig.of(Kind::MessageUndelivered).is_empty());
    rig.batch(json!([communication(vec![event("conversation", &conversation("a"), "deleted", None)])]));
    assert_eq!(rig.of(Kind::MessageUndelivered)[0].content.message.as_ref().expect("message").text, NOTICE);
    assert!(rig.of(Kind::NoticeSent).is_empty());
    assert_eq!(rig.kinds().last(), Some(&"conversation.ended"));
}

#[test]
fn a_talk_that_becomes_a_conference_in_place_has_no_gap_when_messaging_follows_soon() {
    let mut rig = Rig::running();
    rig.knows("a", "alice@contoso.com", "Alice");
    let started = invitation("messagingInvitation", "1", "a", ALICE, Some("Hi"));
    rig.batch(json!([communication(vec![started.clone()])]));
    rig.batch(json!([
        in_conversation("a", vec![messaging_is("a", "Connected")]),
        communication(vec![talk_is("a", "Connected", false), completed(&started, "Success")])
    ]));
    for drops in 0..2 {
        rig.batch(json!([
            communication(vec![talk_is("a", "Conferenced", true)]),
            in_conversation("a", vec![messaging_is("a", "Disconnected")])
        ]));
        rig.pass(Duration::from_secs(1));
        rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]));
        assert_eq!(
            rig.of(Kind::CaptureGap).len(),
            drops,
            "only a drop of the conference's messages may have cost some"
        );
    }
}

#[test]
fn html_and_plain_bodies_become_text_and_sanitised_html() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let href = format!("{}/messaging/messages/5", conversation("a"));
    let resource = json!({"direction": "Incoming", "_links": {
        "plainMessage": {"href": "data:text/plain;charset=utf-8,1%2b1+%3d+2"},
        "htmlMessage": {"href": "data:text/html;charset=utf-8,%3cb%3e1%2b1+%3d+2%3c%2fb%3e%3cscript%3ex%3c%2fscript%3e"},
        "participant": {"href": format!("{}/participants/alice@contoso.com", conversation("a"))}}});
    rig.batch(json!([in_conversation("a", vec![event("message", &href, "completed", Some(resource))])]));
    let message = rig.of(Kind::MessageSent)[0].content.message.clone().expect("message");
    assert_eq!(message.text, "1+1 = 2");
    assert_eq!(message.html.as_deref(), Some("<b>1+1 = 2</b>"));
}

#[test]
fn a_message_announced_and_completed_is_one_message() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let done = message("a", 1, "alice@contoso.com", "data:text/plain,once");
    let mut started = done.clone();
    started["type"] = json!("started");
    rig.batch(json!([in_conversation("a", vec![started, done.clone()])]));
    rig.batch(json!([in_conversation("a", vec![done])]));
    assert_eq!(rig.texts(), ["once"]);
}

#[test]
fn an_escalation_stays_one_conversation() {
    let mut rig = Rig::running();
    rig.knows("a", "alice@contoso.com", "Alice");
    rig.knows("b", "alice@contoso.com", "Alice");
    let started = invitation("messagingInvitation", "1", "a", ALICE, Some("Hi"));
    rig.batch(json!([communication(vec![started.clone()])]));
    rig.batch(json!([
        in_conversation("a", vec![messaging_is("a", "Connected")]),
        communication(vec![talk_is("a", "Connected", false), completed(&started, "Success")])
    ]));
    let mut meeting = invitation("onlineMeetingInvitation", "2", "b", ALICE, None);
    meeting["_embedded"]["onlineMeetingInvitation"]["threadId"] = json!("thread-a");
    rig.batch(json!([communication(vec![meeting.clone()])]));
    let mut conferenced = talk_is("b", "Conferenced", true);
    conferenced["_embedded"]["conversation"]["threadId"] = json!("thread-a");
    rig.batch(json!([
        communication(vec![conferenced, completed(&meeting, "Success")]),
        in_conversation("a", vec![messaging_is("a", "Disconnected")]),
        communication(vec![event("conversation", &conversation("a"), "deleted", None)]),
        in_conversation("b", vec![messaging_is("b", "Disconnected")])
    ]));
    rig.batch(json!([in_conversation("b", vec![messaging_is("b", "Connected")])]));
    let said = message("b", 1, "alice@contoso.com", "data:text/plain,more");
    rig.batch(json!([in_conversation("b", vec![said])]));
    assert_eq!(rig.conversations().len(), 1);
    assert_eq!(rig.of(Kind::ConversationStarted).len(), 1);
    assert!(rig.of(Kind::ConversationEnded).is_empty(), "{:?}", rig.kinds());
    assert_eq!(rig.texts(), ["Hi", "more"]);
}

#[test]
fn an_idle_talk_that_comes_back_is_the_same_conversation() {
    let mut rig = Rig::running();
    for (n, id) in ["a", "b"].into_iter().enumerate() {
        rig.knows(id, "alice@contoso.com", "Alice");
        let mut started = invitation("messagingInvitation", &n.to_string(), id, ALICE, Some("Hi"));
        started["_embedded"]["messagingInvitation"]["threadId"] = json!("thread-x");
        let mut talk = talk_is(id, "Connected", false);
        talk["_embedded"]["conversation"]["threadId"] = json!("thread-x");
        rig.batch(json!([communication(vec![started.clone()])]));
        rig.batch(json!([
            in_conversation(id, vec![messaging_is(id, "Connected")]),
            communication(vec![talk, completed(&started, "Success")])
        ]));
        rig.batch(json!([communication(vec![event("conversation", &conversation(id), "deleted", None)])]));
    }
    assert_eq!(rig.conversations().len(), 1);
    assert_eq!(rig.of(Kind::ConversationStarted).len(), 1);
    assert_eq!(rig.of(Kind::ConversationEnded).len(), 2);
    assert!(rig.of(Kind::CaptureGap).is_empty(), "an ordinary end is no gap");
    assert_eq!(rig.texts(), ["Hi", "Hi"], "said twice, in two invitations");
}

#[test]
fn stopping_leaves_drains_signs_out_and_finishes() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.give(Input::Stop);
    rig.serve();
    rig.pass(Duration::from_secs(6));
    assert!(rig.finished);
    assert_eq!(rig.count_sent(&format!("POST {}/messaging/terminate", conversation("a"))), 1);
    assert_eq!(rig.count_sent(&format!("DELETE {}", conversation("a"))), 1);
    assert_eq!(rig.count_sent(&format!("DELETE {APP}")), 1);
    assert_eq!(rig.kinds().last(), Some(&"conversation.ended"));
    assert!(rig.of(Kind::CaptureGap).is_empty());
    assert!(!rig.memory.cursor.contains_key("application"));
}

#[test]
fn other_modalities_are_refused_and_unknown_things_kept() {
    let mut rig = Rig::running();
    let call = invitation("audioVideoInvitation", "1", "a", ALICE, None);
    rig.batch(json!([communication(vec![call]), {"rel": "novelty", "href": "/x", "events": [event("surprise", "/x/1", "added", None)]}]));
    assert_eq!(rig.kinds(), ["invitation.received", "invitation.declined"]);
    let detail = rig.of(Kind::InvitationReceived)[0].content.detail.clone().expect("detail");
    assert_eq!(detail["modality"], "audio and video");
    let kept = rig.of(Kind::PlatformEvent);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].content.detail.as_ref().expect("detail")["rel"], "surprise");
}

#[test]
fn everything_may_be_a_link_only() {
    let mut rig = Rig::running();
    rig.knows("a", "alice@contoso.com", "Alice");
    let started = invitation("onlineMeetingInvitation", "1", "a", ALICE, None);
    let resource = started["_embedded"]["onlineMeetingInvitation"].clone();
    let href = resource["_links"]["self"]["href"].as_str().expect("href").to_owned();
    let bare = |kind: &str| event("onlineMeetingInvitation", &href, kind, None);
    let talk = event("conversation", &conversation("a"), "updated", None);
    let ours = event("messaging", &format!("{}/messaging", conversation("a")), "updated", None);
    rig.page("GET", &href, 200, resource);
    rig.batch(json!([communication(vec![bare("started")])]));
    assert!(rig.sent.iter().any(|s| s.ends_with("/accept")), "{:?}", rig.sent);
    rig.page("GET", &conversation("a"), 200, talk_is("a", "Conferenced", true)["_embedded"]["conversation"].clone());
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Disconnected"));
    let done = with(bare("completed"), "status", json!("Success"));
    rig.batch(json!([communication(vec![talk, done]), in_conversation("a", vec![ours.clone()])]));
    assert_eq!(rig.count_sent(&format!("POST {APP}/communication/messagingInvitations")), 1, "{:?}", rig.sent);
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Connected"));
    rig.batch(json!([in_conversation("a", vec![ours])]));
    assert_eq!(
        rig.kinds(),
        ["invitation.received", "conversation.started", "invitation.accepted", "recording.started"]
    );
}
