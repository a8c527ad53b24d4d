//! The search index is derived data: when it is damaged, held by another, impossible to make, or its disk is full, the
//! recorder records, the pages that do not search answer, and search comes back by itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use greffier::simulate::Scenario;
use serde_json::Value;

use crate::disk::SmallDisk;
use crate::record::Record;
use crate::recorder::Recorder;
use crate::rig::{Rig, scenario};
use crate::viewer::Viewer;

/// Time for the index to be made anew, on a machine that is busy with other tests.
const HEALED: Duration = Duration::from_secs(30);

/// A meeting in which somebody goes on talking for longer than any test lasts.
fn talk() -> Scenario {
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\", subject = \"Breakfast\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\", within_ms = 60000 },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"Marmalade number {n}.\", times = 50000, every_ms = 20 },\n";
    scenario("forget_after_ms = 120000", steps)
}

fn said(record: &Record) -> Vec<u64> {
    let with_word = |e: &&Value| e["message"]["text"].as_str().is_some_and(|text| text.starts_with("Marmalade"));
    record.of("message.sent").filter(with_word).map(|e| e["seq"].as_u64().unwrap()).collect()
}

fn index_of(rig: &Rig) -> PathBuf {
    rig.archive().join("index")
}

/// Messages go on being recorded, and the pages that need no index answer.
async fn records(rig: &Rig, recorder: &Recorder, viewer: &Viewer) {
    let before = rig.pool.ledger().acknowledged().count();
    let going = rig.pool.wait_ledger(Duration::from_secs(20), |l| l.acknowledged().count() > before + 5).await;
    assert!(going, "nothing is acknowledged:\n{}", recorder.log().text());
    assert!(viewer.page("/").await.contains("Breakfast"));
    let listed = viewer.json("/api/v1/conversations").await;
    assert_eq!(listed["conversations"].as_array().unwrap().len(), 1, "{listed}");
    // With an index or without one, the search page is a page.
    let (status, body) = viewer.get("/search?q=marmalade").await;
    assert!([200, 503].contains(&status) && body.contains("</html>"), "{status} {body}");
}

/// Everything recorded so far is found, exactly once.
async fn heals(rig: &Rig, viewer: &Viewer) -> Duration {
    let begin = Instant::now();
    let recorded = said(&rig.record().await);
    let found = viewer.until_found("marmalade", recorded.len(), HEALED).await;
    assert_eq!(found[..recorded.len()], recorded, "what is found is not what is in the archive");
    begin.elapsed()
}

/// Stops while people talk; then too each recorded message is found once, on the command line.
async fn ends(rig: &Rig, recorder: Recorder) -> Record {
    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    let rows = rig.json(&["search", "marmalade", "--json", "--limit", "100000", "--sort", "oldest"]).await;
    assert_eq!(rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>(), said(&record));
    record
}

/// The files of the generations.
fn files(index: &Path) -> Vec<PathBuf> {
    let inside = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let generations = inside(index.to_owned()).filter(|path| path.is_dir());
    generations.flat_map(inside).filter(|path| path.is_file()).collect()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(16).for_each(|byte| *byte ^= 0xa5);
    fs::write(path, bytes).unwrap();
}

/// What it is called, and who does it to the index's directory.
type Damage = (&'static str, fn(&Path));

/// What may happen to an index while nobody looks.
const DAMAGES: &[Damage] = &[
    ("bits turned in every file", |index| files(index).iter().for_each(|path| flip(path))),
    ("every file cut in half", |index| {
        for path in files(index) {
            let half = fs::metadata(&path).unwrap().len() / 2;
            File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
        }
    }),
    ("bits turned in the files with most in them", |index| {
        let mut all = files(index);
        all.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        all.iter().take(3).for_each(|path| flip(path));
    }),
    ("a list of files that is none", |index| {
        let meta = files(index).into_iter().filter(|path| path.ends_with("meta.json"));
        meta.for_each(|path| fs::write(path, "{\"segments\": [").unwrap());
    }),
    ("a current generation that is not there", |index| fs::write(index.join("current"), "g9999\n").unwrap()),
    ("no directory at all", |index| fs::remove_dir_all(index).unwrap()),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_index_damaged_between_two_runs_is_made_anew_while_recording_goes_on() {
    let rig = Rig::new(talk(), "").await;
    let mut recorder = rig.start();
    let some = |r: &Record| r.count("message.sent") > 40;
    rig.until(Duration::from_secs(40), "the first messages", some).await;
    heals(&rig, &recorder.viewer().await).await;
    for (damage, make) in DAMAGES {
        recorder.kill();
        make(&index_of(&rig));
        recorder = rig.start();
        let viewer = recorder.viewer().await;
        records(&rig, &recorder, &viewer).await;
        let took = heals(&rig, &viewer).await;
        println!("{damage}: everything found again {took:?} later");
    }
    ends(&rig, recorder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_another_process_holds_or_that_cannot_be_made_does_not_disturb_recording() {
    let rig = Rig::new(talk(), "").await;
    // A file where the directory should be.
    fs::create_dir_all(rig.archive()).unwrap();
    fs::write(index_of(&rig), "not a directory").unwrap();
    let mut recorder = rig.start();
    let viewer = recorder.viewer().await;
    rig.until(Duration::from_secs(40), "the first messages", |r| r.count("message.sent") > 5).await;
    records(&rig, &recorder, &viewer).await;
    assert_eq!(viewer.found("marmalade").await, None, "there can be no index");
    // The log says it, and does not say it again and again.
    let told = || recorder.log().lines().iter().filter(|line| line.contains("search index: cannot")).count();
    assert_eq!(told(), 1, "{}", recorder.log().text());
    fs::remove_file(index_of(&rig)).unwrap();
    heals(&rig, &viewer).await;

    recorder.kill();
    // As `greffier reindex` would hold it.
    let lock = File::options().write(true).open(index_of(&rig).join("lock")).unwrap();
    lock.lock().unwrap();
    recorder = rig.start();
    let viewer = recorder.viewer().await;
    records(&rig, &recorder, &viewer).await;
    // What was indexed before answers meanwhile, also on the command line.
    viewer.until_found("marmalade", 1, Duration::from_secs(10)).await;
    assert!(!rig.json(&["search", "marmalade", "--json", "--limit", "5"]).await.is_empty());
    drop(lock);
    heals(&rig, &viewer).await;
    ends(&rig, recorder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_index_alone_does_not_disturb_recording_and_search_heals() {
    let rig = Rig::new(talk(), "").await;
    fs::create_dir_all(index_of(&rig)).unwrap();
    let Some(disk) = SmallDisk::mount(&index_of(&rig), 8) else {
        println!("SKIPPED: this account may not mount a file system, so no disk could be filled");
        return;
    };
    let mut recorder = rig.start();
    let viewer = recorder.viewer().await;
    rig.until(Duration::from_secs(40), "the first messages", |r| r.count("message.sent") > 20).await;
    heals(&rig, &viewer).await;
    for killed in [false, true] {
        disk.fill();
        records(&rig, &recorder, &viewer).await;
        recorder.line_with("search index: ", Duration::from_secs(20)).await;
        // What was found before is found still.
        assert!(viewer.found("marmalade").await.is_some_and(|found| !found.is_empty()));
        recorder.readyz(200, Duration::from_secs(1)).await;
        if killed {
            recorder.kill();
            recorder = rig.start();
            let viewer = recorder.viewer().await;
            records(&rig, &recorder, &viewer).await;
        }
        disk.make_room();
        let viewer = recorder.viewer().await;
        println!("everything found again {:?} after there was room", heals(&rig, &viewer).await);
    }
    let record = ends(&rig, recorder).await;
    assert_eq!(record.count("capture.gap"), 1, "only that of the kill\n{}", record.told());
}
