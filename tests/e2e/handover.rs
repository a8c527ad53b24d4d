//! Exports of what was really recorded: by the viewer and by the command line, while people talk and afterwards, in every
//! format, each checked without the archive.

use std::fs;
use std::path::Path;
use std::time::Duration;

use greffier::export::FORMATS;
use serde_json::Value;

use crate::record::Record;
use crate::rig::{Rig, scenario};

/// Checks an export without the archive, with the key of whoever gave it or with the one it names itself.
async fn verify(rig: &Rig, export: &Path, key: Option<&Path>) -> String {
    let mut arguments = vec!["verify", "--export", export.to_str().unwrap()];
    arguments.extend(key.into_iter().flat_map(|key| ["--key", key.to_str().unwrap()]));
    rig.ask(&arguments, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_exported_while_people_talk_and_can_be_checked() {
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\", people = [\"bob\"], subject = \"Breakfast\" },\n\
         { do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"首先 first words\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n{ do = \"wait_for\", what = \"connected\", in = \"c\" },\n\
         { do = \"say\", in = \"c\", by = \"cai\", text = \"今天吃什么 =SUM(A1) <b>&amp; 🎉\" },\n\
         { do = \"say\", in = \"m\", by = \"bob\", text = \"Marmalade number {n}.\", times = 1200, every_ms = 20 },\n\
         { do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario("", steps), "").await;
    let mut recorder = rig.start();
    let viewer = recorder.viewer().await;
    let exporting = async {
        let some = |r: &Record| r.count("message.sent") > 20;
        let record = rig.until(Duration::from_secs(40), "the first messages", some).await;
        let talk = record.conversation_of("Marmalade number 1.").to_owned();
        for format in FORMATS {
            let path = format!("/conversations/{talk}/export?format={}", format.name());
            let answer = viewer.ask(&path).await;
            assert_eq!(answer.status(), 200, "{path}");
            let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
            assert!(
                disposition.starts_with("attachment; filename=\"") && disposition.contains(".zip"),
                "{disposition}"
            );
            let file = rig.dir().join(format!("{}-by-viewer.zip", format.name()));
            fs::write(&file, answer.bytes().await.unwrap()).unwrap();
            // Nothing is signed yet so early; the hashes and proofs are there all the same.
            let told = verify(&rig, &file, None).await;
            assert!(told.contains("intact"), "{told}");
        }
        // The alone file of the format that has everything is the events themselves.
        let lines = viewer.page(&format!("/conversations/{talk}/export?format=jsonl&file=only")).await;
        let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.iter().all(|event| event["conversation"] == talk.as_str()));
        // By what was searched for, beside the running recorder.
        let found = rig.dir().join("found.zip");
        let query = ["--query", "marmalade from:bob", "--context", "1", "--format", "html", "--output"];
        rig.ask(&[&["export"][..], &query, &[found.to_str().unwrap()]].concat(), 0).await;
        verify(&rig, &found, None).await;
        let still = rig.pool.ledger().said().count() < 1200;
        (events, still)
    };
    let ((), (events, still)) = tokio::join!(rig.play(), exporting);
    println!("the pool {} when the exports were done", if still { "was still talking" } else { "had said everything" });
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    assert_eq!(record.count("capture.gap"), 0, "exporting disturbed the recorder\n{}", record.told());
    for event in &events {
        let seq = usize::try_from(event["seq"].as_u64().unwrap()).unwrap();
        assert_eq!(*event, record.events[seq - 1], "an event that was exported is that of the log");
    }
    // The whole archive, now that it rests and is signed to the end.
    let key = rig.archive().join("keys/checkpoint.pub");
    for format in FORMATS {
        let file = rig.dir().join(format!("{}.zip", format.name()));
        let all = ["--since", "1970-01-01T00:00:00Z", "--format", format.name(), "--output"];
        let told = rig.ask(&[&["export"][..], &all, &[file.to_str().unwrap()]].concat(), 0).await;
        assert!(told.contains("with manifest"), "{told}");
        verify(&rig, &file, Some(&key)).await;
        // Not a byte of it can change unnoticed.
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        fs::write(&file, bytes).unwrap();
        let checked = rig.run(&["verify", "--export", file.to_str().unwrap()]).await;
        assert_ne!(checked.status.code(), Some(0), "a changed {} was not noticed", format.name());
    }
}
