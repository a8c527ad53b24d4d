//! The story that started it all: invited, accepted, 409 on addMessaging, and then every message.

use std::time::Duration;

use greffier::simulate::Happened;
use serde_json::json;

use crate::record::words;
use crate::rig::{Rig, embedded};

#[tokio::test(flavor = "multi_thread")]
async fn from_the_invitation_through_409_to_a_verified_transcript() {
    let rig = Rig::new(embedded("seed-409"), "").await;
    let mut recorder = rig.start();
    rig.play().await;
    recorder.readyz(200, Duration::from_secs(5)).await;
    let said: Vec<String> = rig.pool.ledger().acknowledged().map(|e| words(e).to_owned()).collect();
    assert_eq!(said.len(), 3);
    let complete = |r: &crate::record::Record| r.count("message.sent") == 3 && r.count("notice.sent") == 1;
    rig.until(Duration::from_secs(5), "the messages and the notice", complete).await;

    // While it is going on.
    let rows = rig.json(&["list", "--json"]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["state"], "live");
    assert_eq!(rows[0]["messages"], 3);
    assert_eq!(rows[0]["coverage"], "complete", "{rows:?}");
    rig.ask(&["verify"], 0).await;

    let took = recorder.terminate().await;
    println!("SIGTERM to exit: {took:?}");
    let ledger = rig.pool.ledger();
    assert_eq!(ledger.count(Happened::RecorderLeft), 1);
    let signed_out = |e: &greffier::simulate::Entry| e.detail == "application ended: deleted by the client";
    assert!(ledger.entries.iter().any(signed_out), "the application lives on");
    assert_eq!(ledger.complaints, Vec::<String>::new());
    assert_eq!(ledger.conflicts, 2);

    let (record, ledger) = rig.settle().await;
    let id = record.conversation_of(&said[0]).to_owned();
    let kinds: Vec<&str> = record.events.iter().filter_map(|e| e["kind"].as_str()).collect();
    let place = |kind: &str| kinds.iter().position(|k| *k == kind).unwrap_or_else(|| panic!("no {kind} in {kinds:?}"));
    let story = [
        "invitation.received",
        "invitation.accepted",
        "conversation.started",
        "recording.started",
        "message.sent",
        "conversation.ended",
    ];
    assert!(story.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{kinds:?}");
    assert!(place("recording.started") < place("notice.sent"), "{kinds:?}");
    for once in story.iter().filter(|kind| **kind != "message.sent").chain(&["notice.sent"]) {
        assert_eq!(record.count(once), 1, "{once}\n{}", record.told());
    }
    assert_eq!(record.count("capture.gap"), 0, "{}", record.told());
    let notice = record.of("notice.sent").next().unwrap();
    let spoken = ledger.entries.iter().find(|e| e.happened == Happened::RecorderSaid).unwrap();
    assert_eq!(notice["message"]["text"].as_str(), spoken.text.as_deref());
    let people: Vec<&str> = record.of("participant.joined").filter_map(|e| e["participant"]["id"].as_str()).collect();
    assert_eq!(people.len(), 2, "{}", record.told());
    assert!(people.contains(&"sip:test.user2@contoso.example") && people.contains(&"sip:test.user3@contoso.example"));

    // The same, as people ask for it.
    let rows = rig.json(&["list", "--json"]).await;
    assert_eq!(rows[0]["id"], json!(id));
    assert_eq!(rows[0]["state"], "ended");
    assert_eq!(rows[0]["coverage"], "complete");
    assert!(rows[0].get("ended_at").is_some());
    let shown = rig.json(&["show", &id, "--json"]).await;
    let of_it = record.events.iter().filter(|e| e["conversation"] == json!(id)).cloned().collect::<Vec<_>>();
    assert_eq!(shown, of_it);
    let text = rig.ask(&["show", &id], 0).await;
    for sentence in &said {
        assert!(text.contains(sentence.as_str()), "{sentence} is not in\n{text}");
    }
    let html = shown.iter().find(|e| e["message"]["html"].is_string()).expect("one message has HTML");
    assert_eq!(html["message"]["text"], said[2].as_str());
    rig.ask(&["show", "c_00000000000000000000000000"], 3).await;
}
