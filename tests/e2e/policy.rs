//! Who may invite the recorder, what it takes part in, and when it leaves.

use std::time::Duration;

use greffier::archive::Reader;
use greffier::capture::EnvelopeId;
use greffier::simulate::{Happened, Ledger};
use serde_json::Value;

use crate::record::Record;
use crate::rig::{Rig, scenario};

/// Plays a scenario with a recorder, ends the recorder, and settles.
async fn recorded(rig: &Rig) -> (Record, Ledger) {
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    rig.settle().await
}

fn wait(what: &str, talk: &str) -> String {
    format!("{{ do = \"wait_for\", what = \"{what}\", in = \"{talk}\" }},\n")
}

fn say(talk: &str, by: &str, text: &str) -> String {
    format!("{{ do = \"say\", in = \"{talk}\", by = \"{by}\", text = \"{text}\" }},\n")
}

const ACKNOWLEDGED: &str = "{ do = \"wait_for\", what = \"acknowledged\" },\n";

fn happened(ledger: &Ledger, what: Happened, talk: &str) -> usize {
    ledger.entries.iter().filter(|e| e.happened == what && e.talk == talk).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_declined_and_his_words_stay_in_the_envelope() {
    const WORDS: &str = "strangerswords7f3a";
    let mut steps = format!("{{ do = \"invite_chat\", in = \"spam\", by = \"mallory\", text = \"{WORDS}1\" }},\n");
    steps += &wait("left", "spam");
    steps += "{ do = \"invite_meeting\", in = \"trap\", by = \"mallory\", people = [\"ann\"], from_link = true },\n";
    steps += &wait("left", "trap");
    // The server accepts by itself; then the recorder must leave again.
    steps += &format!(
        "{{ do = \"invite_chat\", in = \"push\", by = \"mallory\", text = \"{WORDS}2\", auto_accept = true }},\n"
    );
    steps += &say("push", "mallory", &format!("{WORDS}3"));
    steps += &wait("joined", "push");
    steps += &wait("left", "push");
    // Somebody who may: accepted by the server, recorded by us.
    steps += "{ do = \"invite_chat\", in = \"c\", by = \"ann\", text = \"welcome words\", auto_accept = true },\n";
    steps += &(wait("connected", "c") + &say("c", "ann", "more words") + &wait("sent", "c") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle_but(&["spam", "trap", "push"]).await;
    let by = |kind: &'static str, who: &str| record.of(kind).filter(|e| e["actor"]["id"] == who).count();
    assert_eq!(by("invitation.received", "sip:mallory@evil.example"), 3, "{}", record.told());
    assert_eq!(by("invitation.declined", "sip:mallory@evil.example"), 3, "{}", record.told());
    let reasons = |e: &Value| e["reason"]["message"].as_str().is_some_and(|why| !why.is_empty());
    assert!(record.of("invitation.declined").all(reasons), "{}", record.told());
    assert_eq!(by("invitation.accepted", "sip:ann@contoso.example"), 1);
    assert_eq!((record.count("conversation.started"), record.count("notice.sent")), (1, 1), "{}", record.told());
    assert_eq!(happened(&ledger, Happened::RecorderSaid, "push"), 0);
    assert_eq!(
        happened(&ledger, Happened::RecorderJoined, "spam") + happened(&ledger, Happened::RecorderJoined, "trap"),
        0
    );
    for event in &record.events {
        assert!(!event.to_string().contains(WORDS), "{event}");
    }
    for row in rig.json(&["list", "--json"]).await {
        assert!(!row.to_string().contains(WORDS), "{row}");
    }
    let reader = Reader::open(rig.archive()).unwrap();
    let ids = reader.envelope_ids(EnvelopeId(0), 10_000).unwrap();
    let bodies = ids.iter().map(|id| reader.envelope(*id).unwrap().unwrap().envelope.body);
    assert!(
        bodies.into_iter().any(|body| String::from_utf8_lossy(&body).contains(WORDS)),
        "the envelope is as received"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_refused_and_do_not_disturb_what_is_recorded() {
    let mut steps =
        String::from("{ do = \"invite_other\", in = \"call\", by = \"ann\", rel = \"phoneAudioInvitation\" },\n");
    steps += &wait("left", "call");
    steps += "{ do = \"invite_other\", in = \"video\", by = \"ann\", rel = \"audioVideoInvitation\" },\n";
    steps += &wait("left", "video");
    steps += "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n";
    steps += &(wait("connected", "m") + &say("m", "ann", "before the call") + ACKNOWLEDGED);
    steps += "{ do = \"invite_other\", in = \"m\", by = \"ann\", rel = \"audioVideoInvitation\" },\n";
    steps += &(say("m", "ann", "during the call") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "").await;
    let (record, ledger) = recorded(&rig).await;
    assert_eq!((record.count("invitation.received"), record.count("invitation.declined")), (4, 3), "{}", record.told());
    let modality = |e: &Value| e["detail"]["modality"].as_str().is_some_and(|m| m.contains("audio"));
    assert!(record.of("invitation.declined").all(modality), "{}", record.told());
    assert_eq!(
        happened(&ledger, Happened::RecorderJoined, "call") + happened(&ledger, Happened::RecorderJoined, "video"),
        0
    );
    assert_eq!((record.count("conversation.started"), record.count("capture.gap")), (1, 0), "{}", record.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_puts_the_recorder_out_is_obeyed_even_after_an_outage() {
    let mut steps = String::from("{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n");
    steps += &(wait("connected", "m") + &say("m", "ann", "before the ejection") + ACKNOWLEDGED);
    steps += "{ do = \"eject\", in = \"m\" },\n";
    // By the time it has answered somebody else it knows that it was put out.
    steps += "{ do = \"invite_chat\", in = \"d\", by = \"cai\", text = \"has it gone?\" },\n";
    steps += &(wait("connected", "d") + &say("d", "cai", "it has") + ACKNOWLEDGED);
    steps += "{ do = \"fault\", kind = \"kill_application\" },\n{ do = \"wait_for\", what = \"available\" },\n{ do = \"wait_for\", what = \"polling\" },\n";
    steps += "{ do = \"invite_chat\", in = \"c\", by = \"bob\", text = \"are you there?\" },\n";
    steps += &(wait("connected", "c") + &say("c", "bob", "there you are") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "").await;
    let (record, ledger) = recorded(&rig).await;
    assert_eq!(happened(&ledger, Happened::RecorderJoined, "m"), 1);
    let m = record.conversation_of("before the ejection");
    let ended: Vec<&Value> = record.of_in("conversation.ended", m).collect();
    assert_eq!(ended.len(), 1, "{}", record.told());
    assert_eq!(ended[0]["reason"]["subcode"], "Ejected");
    assert_eq!(record.gaps(m), [], "it was not there to be interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rejoin_a_lost_meeting_is_closed_with_its_gap() {
    let mut steps = String::from("{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n");
    steps += &(wait("connected", "m") + &say("m", "ann", "before the outage") + ACKNOWLEDGED);
    steps += "{ do = \"fault\", kind = \"kill_application\" },\n{ do = \"wait_for\", what = \"available\" },\n{ do = \"wait_for\", what = \"polling\" },\n";
    steps += "{ do = \"invite_chat\", in = \"c\", by = \"bob\", text = \"are you there?\" },\n";
    steps += &(wait("connected", "c") + &say("c", "bob", "there you are") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "rejoin = false").await;
    let (record, ledger) = recorded(&rig).await;
    assert_eq!(happened(&ledger, Happened::RecorderJoined, "m"), 1);
    let m = record.conversation_of("before the outage");
    assert_eq!((record.gaps(m).len(), record.of_in("conversation.ended", m).count()), (1, 1), "{}", record.told());
    assert_eq!(record.count("capture.gap"), 1, "{}", record.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_comes_back_after_idling_is_the_same_conversation() {
    let mut steps = String::from("{ do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"first words\" },\n");
    steps += &(wait("connected", "c") + &say("c", "cai", "second words") + &wait("sent", "c") + ACKNOWLEDGED);
    steps += "{ do = \"idle\", in = \"c\" },\n";
    steps += &wait("left", "c");
    steps += "{ do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"here again\" },\n";
    steps += &(wait("connected", "c") + &say("c", "cai", "first words indeed") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "").await;
    let (record, ledger) = recorded(&rig).await;
    assert_eq!(record.conversation_of("first words"), record.conversation_of("here again"));
    assert_eq!(record.count("conversation.started"), 1, "{}", record.told());
    assert_eq!(happened(&ledger, Happened::RecorderSaid, "c"), 1, "the notice goes out once per conversation");
    assert_eq!(rig.json(&["list", "--json"]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_becomes_a_meeting_stays_one_conversation() {
    let mut steps = String::new();
    for (talk, href) in [("moving", "new"), ("staying", "same")] {
        steps +=
            &format!("{{ do = \"invite_chat\", in = \"{talk}\", by = \"ann\", text = \"{talk}: first words\" }},\n");
        steps += &(wait("connected", talk) + &say(talk, "ann", &format!("{talk}: between two")) + ACKNOWLEDGED);
        steps +=
            &format!("{{ do = \"escalate\", in = \"{talk}\", by = \"ann\", add = [\"bob\"], href = \"{href}\" }},\n");
        steps += &(wait("connected", talk) + &say(talk, "bob", &format!("{talk}: among three")) + ACKNOWLEDGED);
    }
    let rig = Rig::new(scenario("", &steps), "").await;
    let (record, _) = recorded(&rig).await;
    let rows = rig.json(&["list", "--json"]).await;
    assert_eq!(rows.len(), 2, "{rows:?}\n{}", record.told());
    for talk in ["moving", "staying"] {
        let id = record.conversation_of(&format!("{talk}: first words"));
        assert_eq!(record.of_in("conversation.started", id).count(), 1, "{}", record.told());
        assert_eq!(record.of_in("conversation.ended", id).count(), 1, "{}", record.told());
        let people = rows.iter().find(|row| row["id"] == id).and_then(|row| row["participants"].as_array()).unwrap();
        let ids: Vec<&str> = people.iter().filter_map(|p| p["id"].as_str()).collect();
        assert_eq!(ids, ["sip:ann@contoso.example", "sip:bob@contoso.example"], "{talk}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lobbies_are_waited_in_and_recorded() {
    let mut steps = String::from("{ do = \"invite_meeting\", in = \"m\", by = \"ann\", lobby = true },\n");
    steps += "{ do = \"admit\", in = \"m\", after_ms = 1500 },\n";
    steps += &(wait("connected", "m") + &say("m", "ann", "the recorder is in"));
    steps += "{ do = \"join\", in = \"m\", who = \"cai\", lobby = true },\n{ do = \"join\", in = \"m\", who = \"mallory\", lobby = true },\n";
    steps += &(say("m", "ann", "two are waiting") + ACKNOWLEDGED);
    steps += "{ do = \"admit\", in = \"m\", who = \"cai\" },\n{ do = \"deny\", in = \"m\", who = \"mallory\" },\n";
    steps += "{ do = \"role\", in = \"m\", who = \"cai\", role = \"Leader\", after_ms = 300 },\n";
    steps += &(say("m", "cai", "let in and promoted") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("medium_ms = 100", &steps), "").await;
    let (record, _) = recorded(&rig).await;
    let of = |who: &str| -> Vec<(String, Value, Value)> {
        let mine = record.events.iter().filter(|e| e["participant"]["id"] == who);
        mine.map(|e| (e["kind"].to_string(), e["participant"]["in_lobby"].clone(), e["participant"]["role"].clone()))
            .collect()
    };
    let cai = of("sip:cai@contoso.example");
    assert_eq!((cai[0].0.as_str(), &cai[0].1), ("\"participant.joined\"", &Value::Bool(true)), "{cai:?}");
    assert!(cai.iter().filter(|e| e.0 == "\"participant.joined\"").count() == 1, "{cai:?}");
    assert!(cai.iter().any(|e| e.0 == "\"participant.changed\"" && e.1 == Value::Bool(false)), "{cai:?}");
    assert!(cai.iter().any(|e| e.0 == "\"participant.changed\"" && e.2 == "Leader"), "{cai:?}");
    let mallory: Vec<_> = of("sip:mallory@evil.example").into_iter().map(|e| (e.0, e.1)).collect();
    assert_eq!(mallory[0], ("\"participant.joined\"".to_owned(), Value::Bool(true)), "{mallory:?}");
    assert_eq!(mallory.last().unwrap().0, "\"participant.left\"", "{mallory:?}");
    assert_eq!(record.count("capture.gap"), 0, "waiting in the lobby is no gap\n{}", record.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn left_alone_the_recorder_leaves_and_elsewhere_it_stays() {
    let mut steps = String::from("{ do = \"invite_meeting\", in = \"m\", by = \"ann\", people = [\"bob\"] },\n");
    steps += "{ do = \"invite_meeting\", in = \"kept\", by = \"bob\", people = [\"cai\"] },\n";
    steps += &(wait("connected", "m") + &wait("connected", "kept") + &say("m", "ann", "soon alone"));
    steps += ACKNOWLEDGED;
    steps += "{ do = \"leave\", in = \"m\", who = \"ann\" },\n{ do = \"leave\", in = \"m\", who = \"bob\" },\n{ do = \"leave\", in = \"kept\", who = \"bob\" },\n";
    steps += &(wait("left", "m") + &say("kept", "cai", "still here") + ACKNOWLEDGED);
    let rig = Rig::new(scenario("", &steps), "leave_after_seconds = 1").await;
    let recorder = rig.start();
    rig.play().await;
    let ended = |r: &Record| r.count("conversation.ended") == 1;
    let record = rig.until(Duration::from_secs(10), "the end of the empty meeting", ended).await;
    assert_eq!(record.of("conversation.ended").next().unwrap()["conversation"], record.conversation_of("soon alone"));
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(record.count("participant.left"), 3, "{}", record.told());
    assert_eq!(record.count("capture.gap"), 0, "{}", record.told());
    assert_eq!(ledger.complaints, Vec::<String>::new());
}
