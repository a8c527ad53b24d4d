//! What breaks for a moment must cost nothing: no message, no repetition, no gap.

use std::time::Duration;

use greffier::simulate::Happened;

use crate::rig::{Rig, scenario};

/// Faults that are over within seconds and lose nothing, one after the other on the same channel.
const SHORT: &[(&str, &str)] = &[
    ("401", "kind = \"unauthorized\""),
    ("tickets ended", "kind = \"expire_tickets\""),
    ("ticket of another pool", "kind = \"invalid_ticket\""),
    ("502 with HTML", "kind = \"html\", status = 502"),
    ("503 with Retry-After", "kind = \"status\", status = 503, retry_after_seconds = 2"),
    ("500", "kind = \"status\", status = 500"),
    ("reset in mid-body", "kind = \"reset\""),
    ("half a body", "kind = \"short\""),
    ("no answer", "kind = \"silence\""),
    ("malformed JSON", "kind = \"malformed\""),
    ("byte order mark", "kind = \"bom\""),
    ("HTML instead of a batch", "kind = \"html\", status = 200"),
    ("in 40 pieces", "kind = \"slow\", pieces = 40, pause_ms = 10"),
    ("stall", "kind = \"stall\", for_ms = 1500"),
    ("the same batch again", "kind = \"duplicate_batch\""),
    ("PGetReplaced once", "kind = \"second_client\""),
    ("connections cut", "kind = \"cut\""),
    ("down for 4 s", "kind = \"down\", for_ms = 4000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn short_faults_of_the_channel_cost_nothing_and_leave_no_gap() {
    let mut steps = String::from(
        "{ do = \"invite_meeting\", in = \"m\", by = \"ann\", people = [\"bob\"] },\n\
         { do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"first words\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n{ do = \"wait_for\", what = \"connected\", in = \"c\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"before it all\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n",
    );
    for (name, fault) in SHORT {
        steps += &format!("{{ do = \"narrate\", text = \"{name}\" }},\n{{ do = \"fault\", {fault} }},\n");
        // A fault meets the next poll: the first words release the present one, the second are in the spoilt answer.
        for round in 1..=2 {
            steps += &format!(
                "{{ do = \"say\", in = \"m\", by = \"bob\", text = \"{name}, {round} in m\" }},\n\
                 {{ do = \"say\", in = \"c\", by = \"cai\", text = \"{name}, {round} in c\" }},\n\
                 {{ do = \"wait_for\", what = \"acknowledged\" }},\n"
            );
        }
    }
    let rig = Rig::new(scenario("max_events = 3", &steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(ledger.acknowledged().count(), 2 + 4 * SHORT.len(), "every message was acknowledged");
    assert_eq!(record.count("capture.gap"), 0, "{}", record.told());
    assert_eq!(record.count("recording.started"), 2, "{}", record.told());
    assert_eq!(ledger.count(Happened::RecorderJoined), 2);
    assert_eq!(ledger.applications, 1, "the application was given up");
    assert!(rig.json(&["list", "--json"]).await.iter().all(|row| row["coverage"] == "complete"));
}

/// The same while joining: whatever is asked first fails once.
#[tokio::test(flavor = "multi_thread")]
async fn short_faults_while_signing_in_and_joining_cost_nothing() {
    let parts =
        ["accept", "messagingInvitations?conversation", "/participants", "makeMeAvailable", "/messaging/messages"];
    let kinds = ["status\", status = 503", "reset", "unauthorized", "invalid_ticket", "html\", status = 502"];
    let mut steps = String::new();
    for (n, kind) in kinds.iter().enumerate() {
        for part in parts {
            steps += &format!("{{ do = \"fault\", kind = \"{}, path = \"{part}\" }},\n", quoted(kind));
        }
        steps += &format!(
            "{{ do = \"invite_meeting\", in = \"m{n}\", by = \"ann\", people = [\"bob\"] }},\n\
             {{ do = \"wait_for\", what = \"connected\", in = \"m{n}\" }},\n\
             {{ do = \"say\", in = \"m{n}\", by = \"ann\", text = \"said in m{n}\" }},\n\
             {{ do = \"wait_for\", what = \"acknowledged\" }},\n"
        );
    }
    let rig = Rig::new(scenario("link_only = [\"participant\"]", &steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    let heard = |r: &crate::record::Record| r.count("message.sent") == kinds.len();
    rig.until(Duration::from_secs(10), "every message", heard).await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(ledger.acknowledged().count(), kinds.len());
    assert_eq!(record.count("participant.joined"), 2 * kinds.len(), "{}", record.told());
    assert_eq!(record.count("conversation.started"), kinds.len());
}

/// Closes the quotation mark of a kind that has no further keys.
fn quoted(kind: &str) -> String {
    if kind.contains('"') { kind.to_owned() } else { format!("{kind}\"") }
}
