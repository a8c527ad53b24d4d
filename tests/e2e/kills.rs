//! `kill -9` of the real binary at random moments while people talk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use greffier::simulate::{Happened, Ledger};

use crate::rig::{Rig, scenario};

/// Kills at most, while polling and while starting.
const KILLS: usize = 28;
/// Fewer than this and the test has proven little.
const ENOUGH: usize = 12;
/// How often the five of them speak.
const ROUNDS: usize = 110;
/// How soon after a restart the channel must be asked again.
const BACK: Duration = Duration::from_secs(5);
/// The conversations and the first words in each.
const TALKS: [&str; 3] = ["planning", "review", "side talk"];

fn wall_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Two meetings and a chat side by side; people come and go, and are only links to be looked up.
fn steps() -> String {
    let wait =
        |talk: &str| format!("{{ do = \"wait_for\", what = \"connected\", in = \"{talk}\", within_ms = 60000 }},\n");
    let say = |talk: &str, by: &str, what: &str| {
        format!("{{ do = \"say\", in = \"{talk}\", by = \"{by}\", text = \"{what} {{i}} in {talk}\" }},\n")
    };
    let mut text = String::from(
        "{ do = \"invite_meeting\", in = \"planning\", by = \"ann\", people = [\"bob\"], subject = \"Planning\", conflicts = 1 },\n\
         { do = \"invite_meeting\", in = \"review\", by = \"bob\", subject = \"Review\" },\n\
         { do = \"invite_chat\", in = \"side talk\", by = \"cai\", text = \"first words in side talk\" },\n",
    );
    text += &TALKS.map(wait).concat();
    text += &format!("{{ do = \"repeat\", times = {ROUNDS}, step = [\n");
    text += &say("planning", "ann", "Ann's word");
    text += "{ do = \"join\", in = \"review\", who = \"cai\", after_ms = 30 },\n";
    text += &say("review", "bob", "Bob's word");
    text += &say("planning", "bob", "Bob's reply");
    text += "{ do = \"pause\", after_ms = 60 },\n";
    text += &say("side talk", "cai", "Cai's word");
    text += "{ do = \"leave\", in = \"review\", who = \"cai\", after_ms = 30 },\n";
    text += &say("review", "bob", "Bob's second word");
    text += "{ do = \"pause\", after_ms = 60 },\n] },\n";
    // Somebody may have been waited for by a killed process: the last words go through a living one.
    text += "{ do = \"wait_for\", what = \"acknowledged\", within_ms = 120000 },\n";
    text
}

/// Number of messages that the recorder has got so far, of those said after this moment of the pool's clock.
fn got_after(ledger: &Ledger, at_ms: u64) -> usize {
    ledger.said().filter(|e| e.at_ms > at_ms && e.fetched()).count()
}

fn latest_ms(ledger: &Ledger) -> u64 {
    ledger.entries.last().map_or(0, |e| e.at_ms)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_nothing_acknowledged_and_says_where_it_was_deaf() {
    let seed =
        std::env::var("GREFFIER_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("random kills: GREFFIER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pool = "link_only = [\"participant\", \"conversation\"], medium_ms = 200, max_events = 7";
    let rig = Rig::new(scenario(pool, &steps()), "").await;

    // Deaths while invitations are answered and messaging is being joined.
    for _ in 0..2 {
        let recorder = rig.start();
        rig.pool.wait_ledger(Duration::from_secs(20), |l| l.count(Happened::Invited) == TALKS.len()).await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..150))).await;
        recorder.kill();
    }
    let mut recorder = rig.start();
    let recording = |r: &crate::record::Record| r.count("recording.started") >= TALKS.len();
    rig.until(Duration::from_secs(40), "all three being recorded", recording).await;

    let mut killed_at = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut back = Vec::new();
    while killed_at.len() < KILLS && rig.pool.ledger().said().count() < ROUNDS * 5 - 30 {
        let while_starting = random.u8(0..4) == 0 && !killed_at.is_empty();
        let patience = if while_starting { random.u64(0..400) } else { random.u64(0..900) };
        tokio::time::sleep(Duration::from_millis(patience)).await;
        killed_at.push(wall_ms());
        recorder.kill();
        let deaf_since = latest_ms(&rig.pool.ledger());
        let begin = Instant::now();
        recorder = rig.start();
        if random.u8(0..4) == 0 {
            continue;
        }
        let polls = rig.pool.wait_ledger(BACK, |l| got_after(l, deaf_since) > 0).await;
        assert!(polls, "no message was fetched within {BACK:?} of a restart\n{}", recorder.log().text());
        slowest = slowest.max(begin.elapsed());
        back.push(begin.elapsed());
    }
    back.sort_unstable();
    let kills = killed_at.len();
    println!("{kills} kills; from start to polling again: median {:?}, slowest {slowest:?}", back[back.len() / 2]);
    rig.play().await;
    recorder.terminate().await;

    let (record, ledger) = rig.settle().await;
    println!(
        "{} events; {} messages acknowledged, none lost or twice",
        record.events.len(),
        ledger.acknowledged().count()
    );
    assert!(kills >= ENOUGH, "{kills} kills prove too little");
    // Who was to be looked up when a process died still came and went once each time.
    let review = record.conversation_of("Bob's word 1 in review");
    for (kind, happened) in [("participant.joined", Happened::Joined), ("participant.left", Happened::Left)] {
        let recorded = record.of_in(kind, review).filter(|e| e["participant"]["name"] == "蔡 Cai").count();
        let real = ledger.entries.iter().filter(|e| e.happened == happened && e.talk == "review").count();
        assert_eq!(recorded, real, "{kind}\n{}", record.told());
    }
    for talk in TALKS {
        let some = ledger.said_in(talk).find(|e| e.acknowledged()).and_then(|e| e.text.clone()).unwrap();
        let gaps = record.gaps(record.conversation_of(&some));
        for kill in &killed_at {
            let covered = gaps.iter().any(|(from, to, _)| (from - 2..=to + 2).contains(kill));
            assert!(covered, "\"{talk}\" has no gap at the kill at {kill}: {gaps:?}\n{}", record.told());
        }
        for (from, to, cause) in &gaps {
            let explained = killed_at.iter().any(|kill| (from - 2..=to + 2).contains(kill));
            // The two deaths while joining leave news of messaging in the channel that is older than what was asked.
            let early = *to < killed_at[0];
            assert!(
                explained || early,
                "\"{talk}\" has a gap that no kill explains: {from}..{to} {cause}; kills {killed_at:?}\n{}",
                record.told()
            );
        }
        assert!(record.of_in("conversation.started", record.conversation_of(&some)).count() == 1);
    }
    // Told once, whoever died in the middle of telling.
    assert_eq!((ledger.count(Happened::RecorderSaid), record.count("notice.sent")), (TALKS.len(), TALKS.len()));
}
