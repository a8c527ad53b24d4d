//! Stopping when nothing answers, and an account that stops working in mid-recording.

use std::time::{Duration, Instant};

use greffier::simulate::{Fault, Happened};

use crate::record::Record;
use crate::rig::{Rig, scenario};

const ONE_MEETING: &str = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
     { do = \"say\", in = \"m\", by = \"ann\", text = \"before it all\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n";

fn heard(record: &Record) -> bool {
    record.count("message.sent") == 1 && record.count("notice.sent") == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_in_time_while_the_pool_is_down_and_takes_up_the_meeting_afterwards() {
    let rig = Rig::new(scenario("", ONE_MEETING), "").await;
    let recorder = rig.start();
    rig.play().await;
    rig.until(Duration::from_secs(10), "the message", heard).await;
    rig.pool.fail(Fault::Down { length: Duration::from_secs(6), lost: false });
    let took = recorder.terminate().await;
    println!("SIGTERM to exit with the pool down: {took:?}");
    rig.ask(&["verify"], 0).await;

    // A stop while nothing answers is a clean end. (That a second signal ends at once: `hanging_server` of the deployment.)
    let recorder = rig.start();
    let log = recorder.log();
    let begin = Instant::now();
    let mut recorder = recorder;
    recorder.line_with("signing in", Duration::from_secs(10)).await;
    recorder.signal("TERM");
    let status = recorder.ended(Duration::from_secs(10)).await;
    assert!(begin.elapsed() < Duration::from_secs(9) && status.code() == Some(0), "{status:?}\n{}", log.text());

    let mut recorder = rig.start();
    recorder.readyz(200, Duration::from_secs(40)).await;
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    assert_eq!(record.count("message.sent"), 1);
    assert_eq!(record.count("conversation.ended"), 1, "{}", record.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_in_mid_recording_raises_the_alarm_and_is_not_hammered() {
    let rig = Rig::new(scenario("", ONE_MEETING), "").await;
    let mut recorder = rig.start();
    rig.play().await;
    rig.until(Duration::from_secs(10), "the message", heard).await;
    recorder.readyz(200, Duration::from_secs(5)).await;
    let right = rig.pool.password();
    rig.pool.fail(Fault::Password("another one".to_owned()));
    rig.pool.fail(Fault::ExpireTickets);
    rig.pool.fail(Fault::CutConnections);
    let why = recorder.readyz(503, Duration::from_secs(20)).await;
    let refused = rig.pool.wait_ledger(Duration::from_secs(20), |l| l.refused_passwords > 0).await;
    assert!(refused, "{why}");
    let more = rig.pool.wait_ledger(Duration::from_secs(6), |l| l.refused_passwords > 2).await;
    assert!(!more, "{} tries", rig.pool.ledger().refused_passwords);
    assert!(recorder.readyz(503, Duration::from_secs(1)).await.contains("password"));
    assert!(!recorder.log().text().contains(&right));

    // Mended by a person who restarts it.
    recorder.terminate().await;
    rig.pool.fail(Fault::Password(right));
    let mut recorder = rig.start();
    recorder.readyz(200, Duration::from_secs(20)).await;
    let deaf = |r: &Record| r.count("capture.gap") > 0;
    rig.until(Duration::from_secs(10), "the gap", deaf).await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(record.count("capture.gap"), 1, "{}", record.told());
    assert_eq!(ledger.count(Happened::RecorderJoined), 1, "{}", record.told());
}

/// A stop that could tell the pool nothing leaves the recorder in the meeting, as far as the pool is concerned: the next
/// start finds itself there and goes on recording.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_nobody_heard_is_taken_up_by_the_next_start() {
    let steps = format!(
        "{ONE_MEETING}{{ do = \"fault\", kind = \"down\", for_ms = 3000 }},\n\
         {{ do = \"say\", in = \"m\", by = \"ann\", text = \"while nobody listens\", after_ms = 1000 }},\n\
         {{ do = \"wait_for\", what = \"polling\", within_ms = 60000 }},\n\
         {{ do = \"say\", in = \"m\", by = \"ann\", text = \"after it all\" }},\n\
         {{ do = \"wait_for\", what = \"acknowledged\" }},\n"
    );
    let rig = Rig::new(scenario("", &steps), "").await;
    let recorder = rig.start();
    let down = rig.pool.wait_ledger(Duration::from_secs(20), |l| l.count(Happened::Fault) == 1).await;
    assert!(down);
    recorder.terminate().await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    assert_eq!(record.conversation_of("before it all"), record.conversation_of("after it all"));
}
