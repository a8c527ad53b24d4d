//! What networks and servers do, and what it costs.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::*;
use crate::connector::ucwa::session::Report;
use crate::model::Kind;

#[test]
fn a_broken_answer_is_asked_for_again_at_the_same_address() {
    let mut rig = Rig::running();
    let url = rig.polling();
    rig.fail_poll(broken());
    rig.pass(Duration::from_secs(3));
    assert_eq!(rig.polling(), url);
    rig.fail_poll(ok(json!("<html>not a batch</html>")));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.polling(), url);
}

#[test]
fn an_outage_of_over_15_s_is_a_gap_in_every_open_conversation() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.fail_poll(reply(503, Value::Null));
    for _ in 0..4 {
        rig.pass(Duration::from_secs(6));
        if rig.polling().is_some() {
            rig.fail_poll(reply(503, Value::Null));
        }
    }
    rig.pass(Duration::from_secs(40));
    rig.batch(json!([]));
    let gaps = rig.of(Kind::CaptureGap);
    assert_eq!(gaps.len(), 1);
    let gap = gaps[0].content.gap.clone().expect("gap");
    assert!(gap.to.since(gap.from) > Duration::from_secs(15), "{gap:?}");
}

#[test]
fn an_archive_that_cannot_store_for_long_is_a_gap() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.hold_stores = true;
    rig.raw_batch(
        json!([in_conversation("a", vec![message("a", 1, "alice@contoso.com", "data:text/plain,x")])]),
        "next",
    );
    rig.pass(Duration::from_secs(40));
    assert_eq!(rig.polling(), None, "what is not stored is not acknowledged");
    rig.release_stores();
    assert_eq!(rig.texts(), ["x"]);
    let gaps = rig.of(Kind::CaptureGap);
    assert_eq!(gaps.len(), 1, "the server may have dropped what we did not fetch");
    let gap = gaps[0].content.gap.clone().expect("gap");
    assert_eq!((gap.to.since(gap.from), gap.cause.as_str()), (Duration::from_secs(40), "the archive could not store"));
}

#[test]
fn a_short_outage_is_no_gap() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.fail_poll(reply(504, Value::Null));
    rig.pass(Duration::from_secs(3));
    rig.batch(json!([]));
    assert!(rig.of(Kind::CaptureGap).is_empty());
}

#[test]
fn a_lost_application_is_replaced_and_the_meeting_rejoined() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.page("GET", APP, 404, json!({"code": "NotFound", "subcode": "ApplicationNotFound"}));
    rig.page("POST", &format!("{APP}/communication/onlineMeetingInvitations"), 201, Value::Null);
    rig.now = rig.now.plus(Duration::from_secs(30));
    let n = rig.wire.iter().position(|(_, r)| is_poll(r)).expect("poll");
    let (id, _) = rig.wire.remove(n);
    rig.give(crate::connector::ucwa::session::Input::Reply(id, reply(404, json!({"code": "NotFound"}))));
    // The look at the application says 404; the new one (same address) is there afterwards.
    let n = rig.wire.iter().position(|(_, r)| r.url.path() == APP).expect("looks at the application first");
    let (id, _) = rig.wire.remove(n);
    rig.application_is_there();
    rig.give(crate::connector::ucwa::session::Input::Reply(id, reply(404, json!({"code": "NotFound"}))));
    rig.serve();
    assert_eq!(rig.count_sent("POST /ucwa/oauth/v1/applications"), 2);
    let join = format!("{APP}/communication/onlineMeetingInvitations");
    assert_eq!(rig.count_sent(&format!("POST {join}")), 1);
    let mut own = invitation("onlineMeetingInvitation", "9", "z", "sip:alice@contoso.com", None);
    own["_embedded"]["onlineMeetingInvitation"]["direction"] = json!("Outgoing");
    own["_embedded"]["onlineMeetingInvitation"]["onlineMeetingUri"] =
        json!("sip:alice@contoso.com;gruu;opaque=app:conf:focus:id:a");
    rig.knows("z", "alice@contoso.com", "Alice");
    rig.batch(json!([communication(vec![own.clone()])]));
    rig.batch(json!([
        communication(vec![talk_is("z", "Conferenced", true), completed(&own, "Success")]),
        in_conversation("z", vec![messaging_is("z", "Disconnected")])
    ]));
    rig.batch(json!([in_conversation("z", vec![messaging_is("z", "Connected")])]));
    rig.batch(json!([in_conversation("z", vec![message("z", 1, "alice@contoso.com", "data:text/plain,back")])]));
    assert_eq!(rig.conversations().len(), 1, "the same conversation");
    assert!(rig.of(Kind::ConversationEnded).is_empty());
    let gaps = rig.of(Kind::CaptureGap);
    assert_eq!(gaps.len(), 1, "{:?}", rig.kinds());
    assert!(gaps[0].content.gap.as_ref().expect("gap").cause.contains("application"));
    assert_eq!(rig.texts(), ["back"]);
}

#[test]
fn a_kill_between_store_and_interpretation_loses_nothing_and_is_a_gap() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.page("GET", &conversation("a"), 200, talk_is("a", "Conferenced", true)["_embedded"]["conversation"].clone());
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Connected"));
    rig.hold_stores = true;
    rig.raw_batch(
        json!([in_conversation("a", vec![message("a", 1, "alice@contoso.com", "data:text/plain,late")])]),
        "next",
    );
    // The raw batch becomes durable, the receipt never reaches the process.
    assert_eq!(rig.held.len(), 1);
    assert!(rig.held[0].1.events.is_empty());
    rig.store_without_receipt();
    rig.restart(Duration::from_secs(3));
    assert_eq!(rig.texts(), ["late"]);
    assert!(rig.polling().is_some_and(|u| u.ends_with("ack=5")), "{:?}", rig.polling());
    let gaps = rig.of(Kind::CaptureGap);
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].content.gap.as_ref().expect("gap").cause.contains("not running"));
    assert_eq!(rig.count_sent("POST /ucwa/oauth/v1/applications"), 1, "the application is taken up, not made again");
    assert!(rig.memory.pending.is_empty());
}

#[test]
fn resync_outranks_next_and_is_a_gap() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.raw_batch(json!([]), "resync");
    rig.serve();
    assert_eq!(rig.of(Kind::CaptureGap).len(), 1);
    assert!(rig.polling().is_some());
}

#[test]
fn resume_closes_conversations_and_rejoins_meetings() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    rig.page(
        "POST",
        &format!("{APP}/communication/onlineMeetingInvitations"),
        404,
        json!({"code": "NotFound", "subcode": "DestinationNotFound"}),
    );
    rig.raw_batch(json!([]), "resume");
    rig.serve();
    let kinds = rig.kinds();
    assert_eq!(kinds[kinds.len() - 3..], ["recording.stopped", "capture.gap", "conversation.ended"]);
    assert!(rig.polling().is_some());
}

#[test]
fn a_second_poller_is_reported_and_not_fought() {
    let mut rig = Rig::running();
    let replaced = || reply(409, json!({"code": "Conflict", "subcode": "PGetReplaced"}));
    rig.fail_poll(replaced());
    rig.pass(Duration::from_secs(2));
    assert!(rig.polling().is_some(), "once may be our own");
    rig.fail_poll(replaced());
    assert!(rig.reports.iter().any(|r| matches!(r, Report::Alarm(text) if text.contains("PGetReplaced"))));
    rig.pass(Duration::from_secs(20));
    assert!(rig.polling().is_none());
    rig.pass(Duration::from_secs(60));
    rig.batch(json!([]));
    assert_eq!(rig.reports.last(), Some(&Report::Listening));
}

#[test]
fn messaging_that_drops_in_a_meeting_is_joined_again_and_the_hole_is_recorded() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let add = format!("POST {APP}/communication/messagingInvitations");
    let before = rig.count_sent(&add);
    let dropped =
        with(messaging_is("a", "Disconnected"), "reason", json!({"code": "RemoteFailure", "subcode": "Removed"}));
    rig.batch(json!([in_conversation("a", vec![dropped])]));
    assert_eq!(rig.count_sent(&add), before + 1);
    rig.pass(Duration::from_secs(1));
    rig.batch(json!([in_conversation("a", vec![messaging_is("a", "Connected")])]));
    let kinds = rig.kinds();
    assert_eq!(kinds[kinds.len() - 3..], ["recording.stopped", "capture.gap", "recording.started"]);
}

#[test]
fn after_an_ejection_nothing_is_rejoined() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    let out = with(
        event("conversation", &conversation("a"), "deleted", None),
        "reason",
        json!({"code": "RemoteFailure", "subcode": "Ejected"}),
    );
    rig.batch(json!([communication(vec![out])]));
    rig.pass(Duration::from_secs(120));
    assert_eq!(rig.count_sent(&format!("POST {APP}/communication/onlineMeetingInvitations")), 0);
    let ended = rig.of(Kind::ConversationEnded);
    assert_eq!(ended[0].content.reason.as_ref().expect("reason").subcode.as_deref(), Some("Ejected"));
}

#[test]
fn a_server_that_forgot_our_availability_is_asked_again() {
    let mut rig = Rig::running();
    let offer = format!("{APP}/me/makeMeAvailable");
    // What the session knows has no such link any more; the application shows it again.
    let mut available = application(true);
    rig.page("GET", APP, 200, available.clone());
    rig.fail_poll(reply(404, json!({"code": "NotFound"})));
    rig.serve();
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.count_sent(&format!("POST {offer}")), 1, "{:?}", rig.sent);
    rig.page("POST", &format!("{APP}/me/reportMyActivity"), 409, json!({"subcode": "MakeMeAvailableRequired"}));
    available = application(false);
    rig.page("GET", APP, 200, available);
    rig.pass(Duration::from_secs(181));
    assert_eq!(rig.count_sent(&format!("POST {offer}")), 2, "{:?}", rig.sent);
    assert!(rig.polling().is_some());
}

#[test]
fn a_notice_of_unknown_fate_is_sent_again_when_the_channel_is_silent_about_it() {
    let mut rig = Rig::running();
    let href = format!("{}/messaging/messages", conversation("a"));
    rig.page("POST", &href, 599, Value::Null);
    rig.in_meeting("a");
    assert_eq!(rig.count_sent(&format!("POST {href}")), 1);
    rig.pass(Duration::from_secs(15));
    assert_eq!(rig.count_sent(&format!("POST {href}")), 1, "first the channel is given time");
    rig.pages.remove(&("POST", href.clone()));
    rig.pass(Duration::from_secs(90));
    assert_eq!(rig.count_sent(&format!("POST {href}")), 2, "and then no more");
}

#[test]
fn an_invitation_that_a_killed_process_did_not_answer_is_answered_after_the_restart() {
    let mut rig = Rig::running();
    let started = invitation("messagingInvitation", "1", "a", "sip:alice@contoso.com", Some("Hi"));
    let resource = started["_embedded"]["messagingInvitation"].clone();
    let href = resource["_links"]["self"]["href"].as_str().expect("href").to_owned();
    rig.raw_batch(json!([communication(vec![started, talk_is("a", "Incoming", false)])]), "next");
    // The POST is on the wire and never arrives; everything is durable.
    assert!(rig.wire.iter().any(|(_, r)| r.url.path().ends_with("/accept")));
    assert!(rig.memory.pending.is_empty());
    rig.page("GET", &href, 200, resource);
    rig.page("GET", &conversation("a"), 200, talk_is("a", "Incoming", false)["_embedded"]["conversation"].clone());
    rig.sent.clear();
    rig.restart(Duration::from_secs(1));
    assert!(rig.sent.iter().any(|s| s.ends_with("/accept")), "{:?}", rig.sent);
    assert_eq!(rig.texts(), ["Hi"]);
}

#[test]
fn however_long_an_outage_the_recorder_is_back_well_within_30_s_of_its_end() {
    let mut rig = Rig::running();
    rig.in_meeting("a");
    for _ in 0..12 {
        rig.fail_poll(reply(503, Value::Null));
        rig.pass(Duration::from_secs(12));
        assert!(rig.polling().is_some(), "the server drops what is not fetched in 30 s");
    }
}

/// The channel brings news of our messaging before anything tells the state of the conversation.
#[test]
fn a_half_known_conversation_is_looked_at_after_a_restart() {
    let mut rig = Rig::running();
    rig.joined("a");
    rig.hold_stores = true;
    rig.raw_batch(json!([in_conversation("a", vec![messaging_is("a", "Disconnected")])]), "next");
    rig.store_without_receipt();
    let talk = talk_is("a", "Conferenced", true)["_embedded"]["conversation"].clone();
    rig.page("GET", &conversation("a"), 200, talk);
    rig.page("GET", &format!("{}/messaging", conversation("a")), 200, messaging("a", "Disconnected"));
    let add = format!("POST {APP}/communication/messagingInvitations");
    let before = rig.count_sent(&add);
    rig.restart(Duration::from_secs(1));
    assert_eq!(rig.count_sent(&add), before + 1, "{:?}", rig.sent);
}
