//! What was said is found, listed, shown and streamed at once, and exactly once, whatever happens to the recorder.

use std::time::Duration;

use greffier::simulate::Happened;
use serde_json::Value;

use crate::record::{Record, ms};
use crate::rig::{Rig, scenario};
use crate::viewer::{Sightings, Viewer};

/// How long after capture a message must be visible on a machine that is not busy.
const PROMPT_MS: i64 = 1_000;
/// On a machine that is busy with other tests it may take so long.
const PATIENCE_MS: i64 = 5_000;

/// The text of the n-th message; the word is in no other event.
fn text(n: u64) -> String {
    format!("Marmalade number {n}.")
}

/// Those of `1..=count` whose message a body shows.
fn shown(body: &str, count: u64, before: &str) -> Vec<u64> {
    (1..=count).filter(|n| body.contains(&format!("{before} number {n}."))).collect()
}

/// Seqs of the messages with the word in it.
fn said(record: &Record) -> Vec<u64> {
    let with_word = |e: &&Value| e["message"]["text"].as_str().is_some_and(|text| text.starts_with("Marmalade"));
    record.of("message.sent").filter(with_word).map(|e| e["seq"].as_u64().unwrap()).collect()
}

/// Median and largest time from capture to sight.
fn latency(record: &Record, seen: &Sightings) -> (i64, i64) {
    let captured = |n: u64| {
        let event = record.of("message.sent").find(|e| e["message"]["text"] == text(n)).unwrap();
        ms(&event["recorded_at"])
    };
    let mut took: Vec<i64> = seen.iter().map(|(n, at)| at - captured(*n)).collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_found_listed_shown_and_streamed_within_a_second() {
    const COUNT: u64 = 15;
    const WITHIN: Duration = Duration::from_secs(60);
    let steps = format!(
        "{{ do = \"invite_meeting\", in = \"m\", by = \"ann\", subject = \"Breakfast\" }},\n\
         {{ do = \"wait_for\", what = \"connected\", in = \"m\" }},\n\
         {{ do = \"say\", in = \"m\", by = \"ann\", text = \"The first words\" }},\n\
         {{ do = \"pause\", after_ms = 1500 }},\n\
         {{ do = \"say\", in = \"m\", by = \"ann\", text = \"Marmalade number {{n}}.\", times = {COUNT}, every_ms = 300 }},\n\
         {{ do = \"wait_for\", what = \"acknowledged\" }},\n"
    );
    let rig = Rig::new(scenario("", &steps), "").await;
    let mut recorder = rig.start();
    let viewer = recorder.viewer().await;
    let watching = async {
        let first = |r: &Record| r.of("message.sent").any(|e| e["message"]["text"] == "The first words");
        let record = rig.until(Duration::from_secs(30), "the first words", first).await;
        let (talk, seq) = (record.conversation_of("The first words").to_owned(), record.events.len());
        let transcript = format!("/conversations/{talk}");
        let stream = format!("{transcript}/live?after={seq}");
        let hits = |body: &str| {
            let page: Value = serde_json::from_str(body).unwrap();
            let texts: Vec<&str> =
                page["hits"].as_array().unwrap().iter().map(|hit| hit["message"]["text"].as_str().unwrap()).collect();
            (1..=COUNT).filter(|n| texts.contains(&text(*n).as_str())).collect()
        };
        let listed = |body: &str| {
            let page: Value = serde_json::from_str(body).unwrap();
            // The first words are the first of the messages.
            let messages = page["conversations"][0]["messages"].as_u64().unwrap_or(0);
            (1..messages.clamp(1, COUNT + 1)).collect()
        };
        let told = |line: &str| shown(line, COUNT, "Marmalade").first().copied();
        let page = |body: &str| shown(body, COUNT, "Marmalade");
        let marked = |body: &str| shown(body, COUNT, "<mark>Marmalade</mark>");
        tokio::join!(
            viewer.watch("/api/v1/search?q=marmalade&sort=newest", COUNT, hits, WITHIN),
            viewer.watch("/search?q=marmalade&sort=newest", COUNT, marked, WITHIN),
            viewer.watch(&transcript, COUNT, page, WITHIN),
            viewer.watch("/api/v1/conversations", COUNT, listed, WITHIN),
            viewer.listen(&stream, COUNT, told, WITHIN),
        )
    };
    let ((), (api, search, transcript, list, stream)) = tokio::join!(rig.play(), watching);
    assert!(viewer.page("/").await.contains("Breakfast"));

    // The command line reads the index that the running recorder writes.
    let rows = rig.json(&["search", "marmalade", "in:breakfast", "--json", "--limit", "100", "--sort", "oldest"]).await;
    let texts: Vec<&str> = rows.iter().map(|row| row["message"]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, (1..=COUNT).map(text).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row["snippet"].as_str().unwrap().contains("<mark>Marmalade</mark>")), "{rows:?}");
    rig.ask(&["search", "porridge"], 3).await;
    // It holds the index, and says so to whoever wants to make it anew.
    let refused = rig.run(&["reindex"]).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("another process"), "{error}");

    recorder.terminate().await;
    let (record, _) = rig.settle().await;
    let told = rig.ask(&["reindex"], 0).await;
    assert!(told.contains(&format!("{} events", record.events.len())), "{told}");
    let seqs = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(seqs, said(&record));
    assert_eq!(rig.json(&["search", "marmalade", "--json"]).await.len(), said(&record).len());
    let mut late = Vec::new();
    let seen =
        [("search API", api), ("search page", search), ("transcript", transcript), ("list", list), ("stream", stream)];
    for (what, seen) in seen {
        let (median, longest) = latency(&record, &seen);
        println!("from capture to {what}: median {median} ms, longest {longest} ms");
        if median > PROMPT_MS || longest > PATIENCE_MS {
            late.push(what);
        }
    }
    assert!(late.is_empty(), "too late: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_messages_pour_in_each_recorded_one_is_found_exactly_once() {
    const KILLS: usize = 6;
    let seed =
        std::env::var("GREFFIER_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("random kills: GREFFIER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"wait_for\", what = \"connected\", in = \"m\", within_ms = 60000 },\n\
         { do = \"say\", in = \"m\", by = \"ann\", text = \"Marmalade number {n}.\", times = 900, every_ms = 15 },\n\
         { do = \"wait_for\", what = \"acknowledged\", within_ms = 120000 },\n";
    let rig = Rig::new(scenario("", steps), "").await;
    let mut recorder = rig.start();
    let mut kills = 0;
    while kills < KILLS && rig.pool.ledger().said().count() < 850 {
        let before = rig.pool.ledger().acknowledged().count();
        let going = rig.pool.wait_ledger(Duration::from_secs(30), |l| l.acknowledged().count() > before + 10).await;
        assert!(going, "nothing is acknowledged:\n{}", recorder.log().text());
        // In the middle of gathering, of a commit, of a merge.
        tokio::time::sleep(Duration::from_millis(random.u64(0..700))).await;
        recorder.kill();
        kills += 1;
        recorder = rig.start();
        // What is found while it catches up is in the archive, and there once.
        let found = recorder.viewer().await.until_found("marmalade", 1, Duration::from_secs(20)).await;
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        let recorded = said(&rig.record().await);
        assert!(found.iter().all(|seq| recorded.contains(seq)), "{found:?} are not all in {recorded:?}");
    }
    rig.play().await;
    let viewer = recorder.viewer().await;
    let recorded = said(&rig.record().await);
    let found = viewer.until_found("marmalade", recorded.len(), Duration::from_secs(20)).await;
    assert_eq!(found, recorded, "what is found is not what is in the archive");
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(said(&record), recorded);
    let rows = rig.json(&["search", "marmalade", "--json", "--limit", "100000", "--sort", "oldest"]).await;
    assert_eq!(rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>(), recorded);
    println!("{kills} kills; {} messages acknowledged, each found once", ledger.acknowledged().count());
    assert!(kills >= KILLS / 2, "{kills} kills prove too little");
    assert_eq!(ledger.count(Happened::Invited), 1);
}

/// The viewer answers at the address that the demonstration tells, while it plays.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_viewer_which_shows_the_play_while_it_goes_on() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    let mut command = crate::recorder::greffier();
    command.args(["demo", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("demo"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = tokio::task::block_in_place(|| lines.find(|line| line.starts_with("viewer ")));
    let address = address.expect("no line names the viewer");
    let address = address.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    // The rest is read on, or the play would wait for it.
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>());
    let viewer = Viewer::at(&address);
    let found = viewer.until_found("kind:message", 3, Duration::from_secs(60)).await;
    let listed = viewer.json("/api/v1/conversations?state=live").await;
    let talk = listed["conversations"][0]["id"].as_str().expect("no conversation is live").to_owned();
    assert!(viewer.page("/").await.contains(&format!("/conversations/{talk}")));
    for path in ["/search?q=kind:message", "/people", "/integrity", "/statistics", &format!("/conversations/{talk}")] {
        assert!(viewer.page(path).await.contains("</html>"), "{path}");
    }
    assert!(child.try_wait().unwrap().is_none(), "it has ended");
    println!("the demo shows {} messages while it plays", found.len());
    let line = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").arg("-c").arg(line).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    let told = tokio::task::spawn_blocking(move || rest.join().unwrap()).await.unwrap().join("\n");
    assert_eq!(status.code(), Some(0), "{told}");
}
