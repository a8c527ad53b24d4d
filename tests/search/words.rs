//! What the query language finds.

use greffier::index::{Sort, Standing};
use greffier::model::{Kind, Seq};

use crate::support::*;

/// A small meeting and a chat, in the order of their seqs.
async fn story(dir: &std::path::Path) {
    let archive = open(dir);
    put(
        &archive,
        vec![
            has_subject(1, Kind::ConversationStarted, "Budget review", 0), // 1
            joins(1, "Alice", 1),                                          // 2
            joins(1, "Bob", 2),                                            // 3
            says(1, "Alice", "The budget for Straße 7 is final", 3),       // 4
            says(1, "Bob", "see https://wiki.example.org/ABC-123", 4),     // 5
            sends_file(1, "Bob", "quarter_plan.pdf", 5),                   // 6
            has_subject(1, Kind::ConversationChanged, "Lunch", 6),         // 7
            says(2, "Carol", "我们在会议室见面", 7),                       // 8
            about_message(2, Kind::MessageSent, "e1", "Carol", "the frist draft", 8), // 9
            about_message(2, Kind::MessageEdited, "e1", "Carol", "the first draft", 9), // 10
            about_message(2, Kind::MessageSent, "d1", "Dan", "a secret plan", 10), // 11
            about_message(2, Kind::MessageDeleted, "d1", "Dan", "", 11),   // 12
            about_message(1, Kind::NoticeSent, "n1", "Recorder", "This conversation is being recorded", 12), // 13
        ],
    )
    .await;
    archive.close().await.unwrap();
}

#[tokio::test]
async fn every_part_of_the_language_finds_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    story(dir.path()).await;
    let index = ready(dir.path());
    let reader = greffier::archive::Reader::open(dir.path()).unwrap();
    let cases: &[(&str, &[u64])] = &[
        ("budget", &[1, 4]),
        ("BUDGET final", &[4]),
        ("strasse", &[4]),
        ("\"budget for\"", &[4]),
        ("\"for budget\"", &[]),
        ("budget OR draft", &[1, 4, 9, 10]),
        ("plan -secret", &[6]),
        ("bud*", &[1, 4]),
        ("abc-123", &[5]),
        ("会议", &[8]),
        ("recorded", &[13]),
        ("quarter", &[6]),
        ("from:alice", &[2, 4]),
        ("from:bob@contoso.com kind:message", &[5, 6]),
        ("from:weber kind:message.edited", &[10]),
        ("with:alice https", &[5]),
        ("with:carol plan", &[11]),
        ("with:nobody", &[]),
        ("in:budget kind:message", &[4, 5, 6]),
        ("in:lunch in:review draft", &[]),
        ("in:\"budget review\" has:link", &[5]),
        ("kind:participant", &[2, 3]),
        ("has:attachment", &[6]),
        ("has:link", &[5]),
        ("is:edited", &[9, 10]),
        ("is:deleted", &[11]),
        ("platform:ucwa draft", &[9, 10]),
        ("platform:teams", &[]),
        ("connector:sfb secret", &[11]),
        ("on:2026-11-20 draft", &[9, 10]),
        ("before:2026-11-20", &[]),
        ("(budget OR secret) -final", &[1, 11]),
    ];
    for (query, expected) in cases {
        assert_eq!(found(&index, &reader, query), *expected, "{query}");
    }
    let standing =
        |query: &str| -> Vec<Standing> { answer(&index, &reader, query).hits.iter().map(|hit| hit.standing).collect() };
    assert_eq!(standing("frist"), [Standing::Superseded]);
    assert_eq!(standing("first"), [Standing::Current]);
    assert_eq!(standing("secret"), [Standing::Deleted]);
    let about = index.about(&conversation(2), "d1").unwrap();
    assert_eq!(about, [Seq(11), Seq(12)]);
    let hit = &index.search(&reader, &request(&asks("final"), Sort::Relevance)).unwrap().hits[0];
    assert_eq!(hit.subject.as_deref(), Some("Lunch"));
    assert!(hit.score > 0.0);
}
