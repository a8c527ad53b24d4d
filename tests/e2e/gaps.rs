//! What costs messages or may have: the gap is on record, in the conversations open then, once, and nowhere else.

use greffier::simulate::Happened;

use crate::rig::{Rig, scenario};

struct Case {
    name: &'static str,
    /// Keys of the fault step.
    fault: &'static str,
    /// The recorder loses its conversations: the meeting is joined again, the chat ends until somebody writes again.
    loses: bool,
    /// Part of the gap's cause.
    cause: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "resync", fault: "kind = \"resync\"", loses: false, cause: "resync" },
    Case { name: "resume", fault: "kind = \"resume\"", loses: true, cause: "resume" },
    Case {
        name: "application lost",
        fault: "kind = \"kill_application\"",
        loses: true,
        cause: "ended the application",
    },
    Case {
        name: "application expired",
        fault: "kind = \"expire_application\"",
        loses: true,
        cause: "ended the application",
    },
    Case { name: "pool restarted", fault: "kind = \"down\", for_ms = 1500, lost = true", loses: true, cause: "" },
    Case { name: "down for 20 s", fault: "kind = \"down\", for_ms = 20000", loses: false, cause: "interrupted" },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_missed_is_a_gap_in_the_conversations_open_then() {
    let cases: Vec<_> = CASES.iter().map(|case| tokio::spawn(play(case))).collect();
    for case in cases {
        case.await.unwrap();
    }
}

async fn play(case: &'static Case) {
    let Case { name, fault, loses, cause } = case;
    let mut steps = format!(
        "{{ do = \"invite_meeting\", in = \"over\", by = \"bob\" }},\n\
         {{ do = \"wait_for\", what = \"connected\", in = \"over\" }},\n\
         {{ do = \"say\", in = \"over\", by = \"bob\", text = \"said in over\" }},\n\
         {{ do = \"wait_for\", what = \"acknowledged\" }},\n{{ do = \"end\", in = \"over\" }},\n\
         {{ do = \"invite_meeting\", in = \"m\", by = \"ann\", people = [\"bob\"] }},\n\
         {{ do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"first words\" }},\n\
         {{ do = \"wait_for\", what = \"connected\", in = \"m\" }},\n{{ do = \"wait_for\", what = \"connected\", in = \"c\" }},\n\
         {{ do = \"say\", in = \"m\", by = \"ann\", text = \"before, in m\" }},\n\
         {{ do = \"say\", in = \"c\", by = \"cai\", text = \"before, in c\" }},\n{{ do = \"wait_for\", what = \"acknowledged\" }},\n\
         {{ do = \"fault\", {fault} }},\n{{ do = \"say\", in = \"m\", by = \"ann\", text = \"meanwhile, in m\" }},\n"
    );
    if *loses {
        steps += "{ do = \"wait_for\", what = \"connected\", in = \"m\", within_ms = 60000 },\n\
                  { do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"written after it, in c\" },\n\
                  { do = \"wait_for\", what = \"connected\", in = \"c\", within_ms = 60000 },\n";
    }
    steps += "{ do = \"say\", in = \"m\", by = \"bob\", text = \"after, in m\" },\n\
              { do = \"say\", in = \"c\", by = \"cai\", text = \"after, in c\" },\n\
              { do = \"wait_for\", what = \"acknowledged\", within_ms = 60000 },\n\
              { do = \"invite_meeting\", in = \"later\", by = \"bob\" },\n\
              { do = \"wait_for\", what = \"connected\", in = \"later\" },\n\
              { do = \"say\", in = \"later\", by = \"bob\", text = \"said in later\" },\n\
              { do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario("", &steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    for (text, expected) in [("before, in m", 1), ("before, in c", 1), ("said in over", 0), ("said in later", 0)] {
        let gaps = record.gaps(record.conversation_of(text));
        assert_eq!(gaps.len(), expected, "{name}, {text}: {gaps:?}\n{}", record.told());
        assert!(gaps.iter().all(|(from, to, why)| to >= from && why.contains(cause)), "{name}: {gaps:?}");
    }
    // One conversation each, whatever became of the platform's handles.
    assert_eq!(record.conversation_of("before, in m"), record.conversation_of("after, in m"), "{name}");
    assert_eq!(record.conversation_of("before, in c"), record.conversation_of("after, in c"), "{name}");
    let joined = ledger.entries.iter().filter(|e| e.happened == Happened::RecorderJoined && e.talk == "m").count();
    assert_eq!(joined, if *loses { 2 } else { 1 }, "{name}");
    assert_eq!(record.of_in("conversation.started", record.conversation_of("after, in m")).count(), 1, "{name}");
    let rows = rig.json(&["list", "--json"]).await;
    let incomplete = rows.iter().filter(|row| row["coverage"] == "incomplete").count();
    assert_eq!((rows.len(), incomplete), (4, 2), "{name}: {rows:?}");
}

/// Messaging drops while the meeting goes on: only that meeting has a gap.
#[tokio::test(flavor = "multi_thread")]
async fn messaging_that_drops_is_joined_again_and_leaves_a_gap_there_alone() {
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"invite_meeting\", in = \"n\", by = \"bob\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n{ do = \"wait_for\", what = \"connected\", in = \"n\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"before, in m\" },\n\
         { do = \"say\", in = \"n\", by = \"bob\", text = \"before, in n\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n\
         { do = \"wait_for\", what = \"sent\", in = \"m\" },\n{ do = \"wait_for\", what = \"sent\", in = \"n\" },\n\
         { do = \"conflicts\", in = \"m\", times = 1 },\n{ do = \"drop_messaging\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"nobody writes this down\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"after, in m\" },\n\
         { do = \"say\", in = \"n\", by = \"bob\", text = \"after, in n\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario("", steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    let (m, n) = (record.conversation_of("after, in m"), record.conversation_of("after, in n"));
    assert_eq!(record.gaps(m).len(), 1, "{}", record.told());
    assert_eq!(record.gaps(n).len(), 0, "{}", record.told());
    assert_eq!((record.of_in("recording.started", m).count(), record.of_in("recording.started", n).count()), (2, 1));
    assert_eq!(ledger.count(Happened::RecorderSaid), 2, "the notice is not repeated when messaging drops");
}

/// The news that messaging dropped comes late, because the channel is out when it happens: the gap begins with the
/// interruption, not with the news.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_during_a_short_outage_is_inside_the_gap() {
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"before, in m\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n\
         { do = \"fault\", kind = \"down\", for_ms = 3000 },\n{ do = \"drop_messaging\", in = \"m\", after_ms = 500 },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"nobody writes this down\", after_ms = 500 },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"after, in m\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario("", steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    assert_eq!(record.gaps(record.conversation_of("after, in m")).len(), 1, "{}", record.told());
}
