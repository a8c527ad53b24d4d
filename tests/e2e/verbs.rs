//! Backups while recording, two recorders on one archive, and the demonstration.

use std::time::Duration;

use serde_json::Value;

use crate::record::Record;
use crate::recorder::{Recorder, greffier};
use crate::rig::{Rig, scenario};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_recording_is_whole() {
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"Line {n}\", times = 600, every_ms = 10 },\n\
         { do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario("", steps), "").await;
    let recorder = rig.start();
    let some = |r: &Record| r.count("message.sent") > 50;
    rig.until(Duration::from_secs(30), "the first messages", some).await;
    let copies = ["one", "two"].map(|name| rig.dir().join(name).to_str().unwrap().to_owned());
    for copy in &copies {
        rig.ask(&["backup", copy], 0).await;
    }
    assert!(rig.pool.ledger().said().count() < 600, "the pool had said everything before the backups were done");
    rig.ask(&["backup", &copies[0]], 1).await;
    rig.play().await;
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    for copy in &copies {
        rig.ask(&["verify", "--archive", copy], 0).await;
        let arguments =
            ["export", "--archive", copy, "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-"];
        let copied = rig.json(&arguments).await;
        assert!(copied.len() > 50 && copied.len() < record.events.len());
        assert_eq!(copied, record.events[..copied.len()], "a backup is the log up to some moment");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_recorder_on_the_same_archive_is_refused_with_the_pid_of_the_first() {
    let rig = Rig::new(scenario("", ""), "").await;
    let mut first = rig.start();
    first.readyz(200, Duration::from_secs(20)).await;
    let output = rig.run(&["serve"]).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&first.pid().to_string()), "{error}");
    assert_eq!(rig.pool.ledger().applications, 1);
    first.readyz(200, Duration::from_secs(1)).await;
    first.terminate().await;
    // The lock goes with its holder, also when that is killed.
    let mut second = rig.start();
    second.readyz(200, Duration::from_secs(20)).await;
    second.kill();
    let mut third = Recorder::start(rig.config());
    third.readyz(200, Duration::from_secs(20)).await;
    third.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_both_platforms_in_an_archive_that_verifies_and_tells_of_its_gap() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let run = |arguments: Vec<String>| async move {
        tokio::task::spawn_blocking(move || greffier().args(&arguments).output().unwrap()).await.unwrap()
    };
    let data = data.to_str().unwrap();
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let output = run(words(&["demo", "--exit-when-done", "--listen", "127.0.0.1:0", "--data", data])).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains(data) && told.contains("GAP"), "{told}");
    let verified = run(words(&["verify", "--archive", data])).await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    let all = ["export", "--archive", data, "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-"];
    let exported = run(words(&all)).await;
    let lines = String::from_utf8(exported.stdout).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (teams, ucwa): (Vec<Value>, Vec<Value>) = events.into_iter().partition(|event| event["platform"] == "teams");
    let record = Record::new(ucwa);
    assert_eq!(record.count("conversation.started"), 3, "{}", record.told());
    assert_eq!(record.count("conversation.ended"), 3, "{}", record.told());
    assert_eq!(record.count("notice.sent"), 3, "{}", record.told());
    let gaps: Vec<&Value> = record.of("capture.gap").collect();
    assert_eq!(gaps.len(), 2, "{}", record.told());
    let unheard = "Diesen Satz kann der Recorder nicht hören.";
    assert!(record.of("message.sent").all(|e| e["message"]["text"] != unheard));
    assert!(record.of("message.sent").any(|e| e["message"]["text"] == "再见！"));
    // Beside it the meeting in Teams, called by a recording policy.
    let record = Record::new(teams);
    for kind in ["conversation.started", "recording.started", "notice.sent", "conversation.ended", "message.edited"] {
        assert!(record.count(kind) > 0, "no {kind}\n{}", record.told());
    }
    let hello = "Good morning! Can everybody hear me?";
    for said in [hello, "早上好，我听得很清楚。", "شكراً، سأرسل الأرقام غداً.", "谢谢大家，再见！"]
    {
        assert_eq!(record.of("message.sent").filter(|e| e["message"]["text"] == said).count(), 1, "{}", record.told());
    }
    let listed = run(words(&["list", "--archive", data, "--json"])).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |platform: &str| listed.iter().filter(|c| c["platform"] == platform).count();
    assert_eq!(of("ucwa"), 3, "{listed:?}");
    assert!(of("teams") > 0, "{listed:?}");
    let meeting = listed.iter().find(|c| c["id"] == record.conversation_of(hello));
    assert_eq!(meeting.map(|c| &c["state"]), Some(&Value::from("ended")), "{listed:?}");
}
