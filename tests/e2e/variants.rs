//! Pools spell things differently; the record must not.

use std::fmt::Write as _;

use crate::rig::{Rig, scenario};

/// Keys of the `pool` table, one way of a pool after the other.
const POOLS: &[&str] = &[
    "redirect = \"root\"",
    "redirect = \"user\"",
    "single_origin = true, challenge_joined = true",
    "challenge_quotes = false, challenge_uri = true, absolute_hrefs = true",
    "strangers = true, escape_dates = false",
    "titles = \"empty\", embed = [\"participant\"]",
    "titles = \"filled\", link_only = [\"participant\"]",
    "link_only = [\"conversation\", \"messaging\"]",
    "link_only = [\"message\", \"participant\"]",
    "link_only = [\"onlineMeetingInvitation\", \"messagingInvitation\"]",
    "html_messaging = false, append_on_repeat = false",
    "token_seconds = 3, max_events = 1, poll_timeout_ms = 400",
];

/// What people write, and how it travels.
const WORDS: &[(&str, &str)] = &[
    ("1 + 1 = 2, 100 % & more", ""),
    ("  blanks stay  ", ""),
    ("Grüße aus Köln", ", charset = \"iso-8859-1\""),
    ("no charset given", ", charset = \"\""),
    ("👩‍👩‍👧‍👦 and 🎉 in base64", ", encoding = \"base64\""),
    ("שלום, مرحبا", ", encoding = \"base64\", charset = \"utf-16le\""),
    ("two\\nlines", ""),
    ("announced before it came", ", announce = true"),
    ("with HTML", ", html = \"<p>with <b>HTML</b></p>\""),
];

#[tokio::test(flavor = "multi_thread")]
async fn however_a_pool_spells_it_the_record_is_the_same() {
    // A few at a time: each is a process.
    for few in POOLS.chunks(4) {
        let playing: Vec<_> = few.iter().map(|pool| tokio::spawn(play(pool))).collect();
        for one in playing {
            one.await.unwrap();
        }
    }
}

async fn play(pool: &'static str) {
    let mut steps = String::from(
        "{ do = \"invite_meeting\", in = \"m\", by = \"ann\", people = [\"bob\"], from_link = true },\n\
         { do = \"invite_chat\", in = \"c\", by = \"cai\", text = \"first words\" },\n\
         { do = \"wait_for\", what = \"connected\", in = \"m\" },\n{ do = \"wait_for\", what = \"connected\", in = \"c\" },\n",
    );
    for (text, how) in WORDS {
        for (talk, by) in [("m", "bob"), ("c", "cai")] {
            writeln!(
                steps,
                "{{ do = \"say\", in = \"{talk}\", by = \"{by}\", text = \"{text}\", after_ms = 150{how} }},"
            )
            .unwrap();
            steps = steps
                .replace(&format!("text = \"{text}\", after_ms"), &format!("text = \"{text} ({talk})\", after_ms"));
        }
    }
    let long = "long ".repeat(20_000);
    writeln!(steps, "{{ do = \"say\", in = \"m\", by = \"ann\", text = \"{long}end\" }},").unwrap();
    steps += "{ do = \"join\", in = \"m\", who = \"cai\" },\n{ do = \"leave\", in = \"m\", who = \"cai\", after_ms = 300 },\n\
              { do = \"say\", in = \"m\", by = \"ann\", text = \"the last word\" },\n{ do = \"wait_for\", what = \"acknowledged\" },\n";
    let rig = Rig::new(scenario(pool, &steps), "").await;
    let recorder = rig.start();
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    assert_eq!(ledger.acknowledged().count(), 3 + 2 * WORDS.len(), "{pool}");
    assert_eq!(record.count("message.sent"), 3 + 2 * WORDS.len(), "{pool}");
    assert_eq!((record.count("capture.gap"), record.count("notice.sent")), (0, 2), "{pool}\n{}", record.told());
    let m = record.conversation_of("the last word");
    let people = |kind: &'static str| -> Vec<String> {
        let mut ids: Vec<String> = record.of_in(kind, m).map(|e| e["participant"]["id"].to_string()).collect();
        ids.sort_unstable();
        ids
    };
    let [ann, bob, cai] = ["ann", "bob", "cai"].map(|name| format!("\"sip:{name}@contoso.example\""));
    assert_eq!(people("participant.joined"), [ann, bob, cai.clone()], "{pool}\n{}", record.told());
    assert_eq!(people("participant.left"), [cai], "{pool}");
    assert_eq!(ledger.complaints, Vec::<String>::new(), "{pool}");
}
