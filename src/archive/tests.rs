//! The archive through its doors: sink in, reader out.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::capture::{Captured, CursorChange, DedupeKey, Envelope, EnvelopeId, Origin, Recorded};
use crate::clock::ManualClock;
use crate::integrity::merkle::{Frontier, root_at};
use crate::model::{Content, ConversationId, Event, Gap, Kind, Message, Participant, Person, Seq};
use reader::{ConversationFilter, ConversationState, Coverage, Order};

mod attachments;
mod browsing;
mod layouts;
mod notes;

const T0: i64 = 1_795_225_034_000_000;

fn source() -> Source {
    Source { connector: "sfb".into(), platform: "ucwa".into() }
}

fn conversation(n: u8) -> ConversationId {
    ConversationId::new(Timestamp(T0), [n; 10])
}

fn envelope(text: &str) -> Envelope {
    Envelope {
        received_at: Timestamp(T0 + 5_000),
        server_date: Some(Timestamp(T0)),
        request: "GET https://pool.contoso.com/events".into(),
        status: 200,
        content_type: Some("application/json".into()),
        body: Bytes::from(text.to_owned()),
        pending: false,
    }
}

fn event(key: &str, c: u8, kind: Kind, seconds: i64, content: Content) -> Captured {
    Captured {
        origin: Origin::Recorder,
        conversation: (c > 0).then(|| conversation(c)),
        kind,
        source_time: Some(Timestamp(T0 + seconds * 1_000_000)),
        dedupe: DedupeKey(format!("{kind}|app|{c}|{key}")),
        content,
    }
}

fn person(name: &str) -> Person {
    Person { id: format!("sip:{}@contoso.com", name.to_lowercase()), name: Some(name.into()) }
}

pub(super) fn says(key: &str, c: u8, who: &str, text: &str, seconds: i64) -> Captured {
    let message = Message { id: key.into(), text: text.into(), ..Message::default() };
    let content = Content { actor: Some(person(who)), message: Some(message), ..Content::default() };
    event(key, c, Kind::MessageSent, seconds, content)
}

fn stays(key: &str, c: u8, kind: Kind, who: &str, in_lobby: Option<bool>, seconds: i64) -> Captured {
    let p = person(who);
    let participant = Participant { id: p.id, name: p.name, in_lobby, ..Participant::default() };
    event(key, c, kind, seconds, Content { participant: Some(participant), ..Content::default() })
}

pub(super) fn batch(events: Vec<Captured>) -> Append {
    Append { events, ..Append::default() }
}

pub(super) fn open(dir: &Path) -> Archive {
    Archive::open(dir, Arc::new(ManualClock::new(Timestamp(T0 + 9_000_000)))).unwrap()
}

pub(super) async fn put(archive: &Archive, batch: Append) -> Appended {
    archive.sink().append(&source(), batch).await.unwrap()
}

pub(super) fn all(reader: &Reader) -> Vec<Event> {
    reader.events(Seq(1), usize::MAX).unwrap()
}

/// The tree over the stored leaves, made anew, must be the stored tree.
pub(super) fn assert_tree(reader: &Reader) {
    let size = reader.log_size().unwrap();
    let mut frontier = Frontier::empty();
    let mut expected = Vec::new();
    let origin = reader.origin().unwrap();
    for (leaf, seq) in reader.leaves(Seq(1), usize::MAX).unwrap().iter().zip(1..) {
        assert_eq!(leaf.seq, seq, "no holes");
        assert_eq!(leaf.header(&origin).leaf_hash(), leaf.leaf);
        let (salt, canonical) = (leaf.salt.unwrap(), leaf.canonical.clone().unwrap());
        assert_eq!(crate::integrity::leaf::commitment(&salt, &canonical), leaf.content_commitment);
        frontier.append(leaf.leaf, &mut |level, index, hash| expected.push((level, index, hash)));
    }
    assert_eq!(frontier.size, size);
    assert_eq!(root_at(reader, size).unwrap(), frontier.root());
    expected.sort_unstable();
    let stored: Vec<_> =
        reader.nodes_after(0, 0, usize::MAX).unwrap().iter().map(|n| (n.level, n.index, n.hash)).collect();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn what_is_appended_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let mut follower = archive.subscribe();
    assert_eq!(*follower.borrow_and_update(), 0);
    let long = "x".repeat(5000);
    let mut first = says("1", 1, "Alice", "hello", 1);
    first.origin = Origin::Here(1);
    let told = put(
        &archive,
        Append {
            envelopes: vec![envelope("short"), envelope(&long)],
            events: vec![event("s", 1, Kind::ConversationStarted, 0, Content::default()), first],
            aliases: vec![(conversation(1), Alias { scope: "thread".into(), value: "t1".into() })],
            cursor: vec![CursorChange { key: "next".into(), value: Some(b"/next?ack=2".to_vec()) }],
            interpreted: vec![],
        },
    )
    .await;
    assert_eq!(told.envelopes, [EnvelopeId(1), EnvelopeId(2)]);
    assert_eq!(told.events, [Recorded { seq: Seq(1), duplicate: false }, Recorded { seq: Seq(2), duplicate: false }]);
    follower.changed().await.unwrap();
    assert_eq!(*follower.borrow(), 2);

    let reader = archive.reader().unwrap();
    let events = all(&reader);
    assert_eq!(events[1].content.message.as_ref().unwrap().text, "hello");
    assert_eq!(events[1].conversation, Some(conversation(1)));
    assert_eq!((events[1].connector.as_str(), events[1].platform.as_str()), ("sfb", "ucwa"));
    assert_eq!(events[1].source_time, Some(Timestamp(T0 + 1_000_000)));
    assert_eq!(events[1].recorded_at, Timestamp(T0 + 9_000_000));
    assert_eq!(events[1].leaf_hash.len(), 64);
    assert_eq!(reader.event(Seq(2)).unwrap().as_ref(), Some(&events[1]));
    assert_eq!(reader.event(Seq(3)).unwrap(), None);
    let row = reader.envelope(EnvelopeId(2)).unwrap().unwrap();
    assert_eq!(row.envelope, envelope(&long));
    assert_eq!((row.connector.as_str(), row.platform.as_str()), ("sfb", "ucwa"));
    assert_eq!(row.commitment, crate::integrity::leaf::commitment(&row.salt, &row.head().canonical()));
    assert_eq!(reader.leaf(Seq(2)).unwrap().unwrap().envelope_commitment, Some(row.commitment));
    assert_tree(&reader);
    archive.close().await.unwrap();
}

#[tokio::test]
async fn the_same_fact_is_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, batch(vec![says("1", 1, "Alice", "a", 1), says("2", 1, "Alice", "b", 2)])).await;
    let again = put(
        &archive,
        batch(vec![says("2", 1, "Alice", "b", 2), says("3", 1, "Bob", "c", 3), says("3", 1, "Bob", "c", 3)]),
    )
    .await;
    let told: Vec<_> = again.events.iter().map(|r| (r.seq.0, r.duplicate)).collect();
    assert_eq!(told, [(2, true), (3, false), (3, true)]);
    // The other connector's facts are its own.
    let other = Source { connector: "other".into(), platform: "ucwa".into() };
    let told = archive.sink().append(&other, batch(vec![says("1", 2, "Alice", "a", 1)])).await.unwrap();
    assert_eq!(told.events, [Recorded { seq: Seq(4), duplicate: false }]);
    assert_eq!(archive.reader().unwrap().log_size().unwrap(), 4);
}

#[tokio::test]
async fn an_append_that_contradicts_itself_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let sink = archive.sink();
    let mut bad = batch(vec![says("x", 1, "Mallory", "secret words", 1), says("y", 1, "Mallory", "z", 1)]);
    bad.events[1].origin = Origin::Here(0);
    let mut unknown = batch(vec![says("u", 1, "Mallory", "z", 1)]);
    unknown.events[0].origin = Origin::Stored(EnvelopeId(77));
    let s = source();
    let (a, b, c, d) = tokio::join!(
        sink.append(&s, batch(vec![says("1", 1, "Alice", "a", 1)])),
        sink.append(&s, bad),
        sink.append(&s, unknown),
        sink.append(&s, batch(vec![says("2", 1, "Alice", "b", 2)])),
    );
    assert!(a.is_ok() && d.is_ok());
    let error = b.unwrap_err();
    assert!(error.retry_after.is_none());
    assert!(!error.to_string().contains("secret") && error.to_string().contains("archive.db"), "{error}");
    assert!(c.unwrap_err().cause.contains("not in the archive"));
    let reader = archive.reader().unwrap();
    assert_eq!(reader.log_size().unwrap(), 2);
    assert_tree(&reader);
}

#[tokio::test]
async fn a_restart_finds_cursor_pending_envelopes_and_conversations() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let pending = Envelope { pending: true, ..envelope("later") };
    let alias = |v: &str| Alias { scope: "thread".into(), value: v.into() };
    assert_eq!(archive.sink().restore(&source()).await.unwrap(), Restored::default());
    put(
        &archive,
        Append {
            envelopes: vec![pending.clone(), pending.clone()],
            events: vec![
                event("s", 1, Kind::ConversationStarted, 0, Content::default()),
                event("n", 1, Kind::NoticeSent, 1, Content::default()),
            ],
            aliases: vec![(conversation(1), alias("t1")), (conversation(2), alias("t2"))],
            cursor: vec![
                CursorChange { key: "a".into(), value: Some(vec![1]) },
                CursorChange { key: "b".into(), value: Some(vec![2]) },
            ],
            interpreted: vec![],
        },
    )
    .await;
    put(
        &archive,
        Append {
            aliases: vec![(conversation(2), alias("t1"))],
            cursor: vec![CursorChange { key: "a".into(), value: None }],
            interpreted: vec![EnvelopeId(1)],
            ..Append::default()
        },
    )
    .await;
    archive.close().await.unwrap();

    let archive = open(dir.path());
    let sink = archive.sink();
    let restored = sink.restore(&source()).await.unwrap();
    assert_eq!(restored.cursor, [("b".to_owned(), vec![2])]);
    let left = sink.pending(&source(), None, 10).await.unwrap();
    assert_eq!(left, [StoredEnvelope { id: EnvelopeId(2), envelope: pending }]);
    assert_eq!(restored.last_seen, Some(Timestamp(T0 + 9_000_000)));
    let known = sink.conversation_of(&source(), &[alias("none"), alias("t1")]).await.unwrap();
    // An alias never moves.
    assert_eq!(known, Some(Known { id: conversation(1), started: true, notice_sent: true }));
    let known = sink.conversation_of(&source(), &[alias("t2")]).await.unwrap();
    assert_eq!(known, Some(Known { id: conversation(2), started: false, notice_sent: false }));
    assert_eq!(sink.conversation_of(&source(), &[]).await.unwrap(), None);
    archive.close().await.unwrap();
}

#[tokio::test]
async fn conversations_tell_state_people_attendance_and_coverage() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let gap = Gap { cause: "event channel lost".into(), from: Timestamp(T0), to: Timestamp(T0 + 7_000_000) };
    put(
        &archive,
        batch(vec![
            event(
                "i",
                1,
                Kind::InvitationReceived,
                0,
                Content { actor: Some(person("Alice")), subject: Some("Budget".into()), ..Content::default() },
            ),
            event("a", 1, Kind::InvitationAccepted, 1, Content::default()),
            event("s", 1, Kind::ConversationStarted, 2, Content::default()),
            event("r", 1, Kind::RecordingStarted, 3, Content::default()),
            event("n", 1, Kind::NoticeSent, 3, Content { actor: Some(person("Recorder")), ..Content::default() }),
            stays("j1", 1, Kind::ParticipantJoined, "Bob", Some(true), 4),
            stays("j2", 1, Kind::ParticipantChanged, "Bob", Some(false), 5),
            says("1", 1, "Alice", "b", 8),
            says("2", 1, "Alice", "a", 7),
            stays("l", 1, Kind::ParticipantLeft, "Bob", None, 9),
            event("g", 2, Kind::CaptureGap, 9, Content { gap: Some(gap.clone()), ..Content::default() }),
            event("d", 3, Kind::InvitationDeclined, 30, Content::default()),
            event("p", 0, Kind::PlatformEvent, 31, Content::default()),
        ]),
    )
    .await;
    let reader = archive.reader().unwrap();
    let one = reader.conversation(&conversation(1)).unwrap().unwrap();
    assert_eq!(one.subject.as_deref(), Some("Budget"));
    assert_eq!((one.state, one.ended_at, one.messages), (ConversationState::Live, None, 2));
    assert_eq!(one.started_at, Timestamp(T0 + 2_000_000));
    assert_eq!(one.participants, [person("Alice"), person("Bob")]);
    assert_eq!(one.coverage, Coverage::Complete);
    let stays_told = reader.attendance_of(&conversation(1)).unwrap();
    assert_eq!(stays_told.len(), 1);
    assert_eq!(stays_told[0].joined_at, Timestamp(T0 + 5_000_000));
    assert_eq!(stays_told[0].left_at, Some(Timestamp(T0 + 9_000_000)));
    assert_eq!(reader.gaps_of(&conversation(2)).unwrap(), [(Seq(11), gap)]);
    assert!(!reader.coverage_of(&conversation(2)).unwrap().unwrap().is_complete());
    assert!(reader.coverage_of(&conversation(9)).unwrap().is_none());
    assert_eq!(reader.conversation(&conversation(3)).unwrap().unwrap().state, ConversationState::Ended);

    // Display order is by source time, truth by seq; pages join without loss.
    let order = |order| -> Vec<u64> {
        let mut seqs = Vec::new();
        let mut after = None;
        loop {
            let page = reader.events_of_conversation(&conversation(1), order, after, 3).unwrap();
            seqs.extend(page.rows.iter().map(|e| e.seq.0));
            match page.next {
                Some(next) => after = Some(next),
                None => return seqs,
            }
        }
    };
    assert_eq!(order(Order::Time), [1, 2, 3, 4, 5, 6, 7, 9, 8, 10]);
    assert_eq!(order(Order::Capture), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(reader.transcript(&conversation(1), Order::Time).count(), 10);
    let between: Vec<u64> = reader
        .log_between(Some(Timestamp(T0 + 9_000_000)), Some(Timestamp(T0 + 31_000_000)))
        .map(|e| e.unwrap().seq.0)
        .collect();
    assert_eq!(between, [10, 11, 12]);

    let ids = |filter: ConversationFilter| -> Vec<ConversationId> {
        let page = reader.conversations(&filter, None, 100).unwrap();
        page.rows.into_iter().map(|c| c.id).collect()
    };
    let filter = ConversationFilter::default;
    assert_eq!(ids(filter()), [conversation(1), conversation(2), conversation(3)]);
    assert_eq!(ids(ConversationFilter { participant: Some("aLICE".into()), ..filter() }), [conversation(1)]);
    assert_eq!(ids(ConversationFilter { since: Some(Timestamp(T0 + 30_000_000)), ..filter() }), [conversation(3)]);
    assert_eq!(ids(ConversationFilter { until: Some(Timestamp(T0 + 1)), ..filter() }), [conversation(1)]);
    assert_eq!(ids(ConversationFilter { connector: Some("nobody".into()), ..filter() }), []);
    let first = reader.conversations(&filter(), None, 1).unwrap();
    let second = reader.conversations(&filter(), first.next, 1).unwrap();
    assert_eq!(second.rows[0].id, conversation(2));
    let people: Vec<_> = reader.people(None, 10).unwrap().into_iter().map(|p| (p.id, p.conversations)).collect();
    assert_eq!(people, [("sip:alice@contoso.com".to_owned(), 1), ("sip:bob@contoso.com".to_owned(), 1)]);

    put(&archive, batch(vec![event("e", 1, Kind::ConversationEnded, 60, Content::default())])).await;
    let one = reader.conversation(&conversation(1)).unwrap().unwrap();
    assert_eq!((one.state, one.ended_at), (ConversationState::Ended, Some(Timestamp(T0 + 60_000_000))));
    assert_eq!(
        reader.coverage_of(&conversation(1)).unwrap().unwrap().to_string(),
        format!("complete from {} to {}", Timestamp(T0 + 3_000_000), Timestamp(T0 + 60_000_000))
    );
    put(&archive, batch(vec![event("r2", 1, Kind::RecordingStarted, 70, Content::default())])).await;
    assert_eq!(reader.conversation(&conversation(1)).unwrap().unwrap().state, ConversationState::Live);
}

struct Plain;
impl CheckpointSigner for Plain {
    fn sign(&self, origin: &str, size: u64, root: &Hash, at: Timestamp) -> String {
        format!("{origin}\n{size}\n{root:02x?}\n{at}\n")
    }
}

#[tokio::test]
async fn checkpoints_go_into_the_archive_and_outside() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    assert_eq!(archive.checkpoint(Arc::new(Plain)).await.unwrap(), None);
    put(&archive, batch((0..5).map(|n| says(&n.to_string(), 1, "Alice", "a", n)).collect())).await;
    let made = archive.checkpoint(Arc::new(Plain)).await.unwrap().unwrap();
    assert_eq!(archive.checkpoint(Arc::new(Plain)).await.unwrap(), None);
    let reader = archive.reader().unwrap();
    assert_eq!(made.root, root_at(&reader, 5).unwrap());
    assert_eq!(reader.latest_checkpoint().unwrap().as_ref(), Some(&made));
    assert_eq!(std::fs::read_to_string(&archive.layout().checkpoints).unwrap(), made.text);
    let path = archive.layout().checkpoints.clone();
    archive.close().await.unwrap();

    // Killed between the archive and the file outside: the next checkpoint, though there is nothing new, mends it.
    std::fs::remove_file(&path).unwrap();
    let archive = open(dir.path());
    assert_eq!(archive.checkpoint(Arc::new(Plain)).await.unwrap(), None);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made.text);
    put(&archive, batch(vec![says("9", 1, "Alice", "a", 1)])).await;
    let next = archive.checkpoint(Arc::new(Plain)).await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n{}", made.text, next.text));
    assert_eq!(archive.reader().unwrap().checkpoints(0, 10).unwrap(), [made, next]);
}

#[tokio::test]
async fn a_closed_archive_is_one_file_even_if_a_reader_stays() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, batch((0..4).map(|n| says(&n.to_string(), 1, "Alice", "a", n)).collect())).await;
    let reader = archive.reader().unwrap();
    assert_eq!(reader.log_size().unwrap(), 4);
    let wal = dir.path().join("archive.db-wal");
    assert!(std::fs::metadata(&wal).unwrap().len() > 0);
    archive.close().await.unwrap();
    // An idle reader keeps the name, but nothing is in it.
    assert_eq!(std::fs::metadata(&wal).unwrap().len(), 0);
    assert_eq!(reader.log_size().unwrap(), 4);
}

#[tokio::test]
async fn within_a_second_the_order_of_display_is_that_of_capture() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    // A message to the millisecond, then an end that HTTP's `Date` told to the second, then a message of the second before.
    let told = |key: &str, kind, micros: i64| Captured {
        source_time: Some(Timestamp(T0 + micros)),
        ..event(key, 1, kind, 0, Content::default())
    };
    let events = vec![
        told("a", Kind::MessageSent, 1_999_000),
        told("b", Kind::ConversationEnded, 1_000_000),
        told("c", Kind::MessageSent, 999_000),
        told("d", Kind::RecordingStopped, 1_500_000),
    ];
    put(&archive, batch(events)).await;
    let reader = archive.reader().unwrap();
    let mut seqs = Vec::new();
    let mut after = None;
    loop {
        let page = reader.events_of_conversation(&conversation(1), Order::Time, after, 1).unwrap();
        seqs.extend(page.rows.iter().map(|event| event.seq.0));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seqs, [3, 1, 2, 4]);
    // A question about a time stays exact, in the log and in the text.
    let until = Timestamp(T0 + 1_500_000);
    let before: Vec<u64> = reader.log_between(None, Some(until)).map(|event| event.unwrap().seq.0).collect();
    assert_eq!(before, [2, 3]);
    let mut text = Vec::new();
    let options = crate::export::text::TextOptions { until: Some(until), ..Default::default() };
    crate::export::text::write_transcript(&reader, &conversation(1), &mut text, options).unwrap();
    let text = String::from_utf8(text).unwrap();
    let shown = |seq: u64| text.contains(&format!("[{seq}] "));
    assert_eq!([1, 2, 3, 4].map(shown), [false, true, true, false], "{text}");
}

#[tokio::test]
async fn a_tree_with_a_missing_node_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, batch((0..4).map(|n| says(&n.to_string(), 1, "Alice", "a", n)).collect())).await;
    archive.close().await.unwrap();
    let conn = Connection::open(dir.path().join("archive.db")).unwrap();
    conn.execute_batch("DROP TRIGGER node_no_delete; DELETE FROM node WHERE level = 2").unwrap();
    drop(conn);
    let error = Archive::open(dir.path(), Arc::new(ManualClock::default())).unwrap_err();
    assert!(matches!(error, ArchiveError::Broken { table: "node", id: 2, .. }), "{error}");
}

#[tokio::test]
async fn blocks_let_questions_about_a_time_skip() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    for start in (0..3000).step_by(500) {
        put(&archive, batch((start..start + 500).map(|n| says(&n.to_string(), 1, "Alice", "a", n)).collect())).await;
    }
    let reader = archive.reader().unwrap();
    let at = |s: i64| Some(Timestamp(T0 + s * 1_000_000));
    for (since, until) in [(0, 3000), (1500, 1510), (2040, 2060), (2990, 4000), (1023, 1025), (5000, 6000)] {
        let found: Vec<u64> = reader.log_between(at(since), at(until)).map(|e| e.unwrap().seq.0).collect();
        let expected: Vec<u64> = (since..until.min(3000)).map(|s| u64::try_from(s + 1).unwrap()).collect();
        assert_eq!(found, expected, "{since}..{until}");
    }
    assert_tree(&reader);
}

/// Every row of every projection, as text.
fn projections(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).unwrap();
    let mut rows = Vec::new();
    for table in projection::tables(schema::VERSION) {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<String> = (0..columns).map(|i| format!("{:?}", row.get_ref(i).unwrap())).collect();
            rows.push(format!("{table}: {}", values.join(", ")));
        }
    }
    rows
}

fn any_event() -> impl Strategy<Value = Captured> {
    let kinds = prop::sample::select(Kind::ALL);
    let names = prop::sample::select(vec!["Alice", "Bob", "Carol"]);
    (kinds, 0..4u8, names, 0..40i64, prop::option::of(any::<bool>()), 0..30u8).prop_map(
        |(kind, c, who, s, lobby, id)| {
            let p = person(who);
            let content = Content {
                actor: (id % 3 != 0)
                    .then(|| Person { name: (id % 2 == 0).then(|| format!("{who} {id}")), ..p.clone() }),
                participant: matches!(kind, Kind::ParticipantJoined | Kind::ParticipantLeft | Kind::ParticipantChanged)
                    .then(|| Participant { id: p.id, name: p.name, in_lobby: lobby, ..Participant::default() }),
                message: (kind.as_str().starts_with("message")).then(|| Message {
                    id: (id % 4).to_string(),
                    text: format!("text {id}"),
                    ..Message::default()
                }),
                gap: (kind == Kind::CaptureGap).then(|| Gap {
                    cause: "c".into(),
                    from: Timestamp(T0 + 1_234),
                    to: Timestamp(T0 + 5_678_999),
                }),
                subject: (id % 7 == 0).then(|| format!("subject {id}")),
                ..Content::default()
            };
            let mut event = event(&format!("{who}{s}{id}"), c, kind, s, content);
            if id % 5 == 0 {
                event.source_time = None;
            }
            event
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_split_with_repeats_gives_the_same_log_and_the_same_projections(
        events in prop::collection::vec(any_event(), 1..80),
        cuts in prop::collection::vec(0..80usize, 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (whole, split) = (open(dirs[0].path()), open(dirs[1].path()));
        runtime.block_on(async {
            put(&whole, batch(events.clone())).await;
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (events.len() + 1)).collect();
            cuts.push(0);
            cuts.push(events.len());
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                // Each append repeats some of the one before.
                let from = pair[0].saturating_sub(3);
                put(&split, batch(events[from..pair[1]].to_vec())).await;
            }
        });
        let plain = |archive: &Archive| -> Vec<Event> {
            let reader = archive.reader().unwrap();
            assert_tree(&reader);
            all(&reader).into_iter().map(|e| Event { leaf_hash: String::new(), ..e }).collect()
        };
        prop_assert_eq!(plain(&whole), plain(&split));
        let paths = [&whole.layout().database, &split.layout().database];
        let incremental = projections(paths[1]);
        prop_assert_eq!(&projections(paths[0]), &incremental);
        runtime.block_on(split.rebuild_projections()).unwrap();
        prop_assert_eq!(&projections(paths[1]), &incremental);
        // What the writer remembers after a rebuild goes on rightly.
        runtime.block_on(async {
            for archive in [&whole, &split] {
                put(archive, batch(vec![says("last", 1, "Dora", "bye", 50)])).await;
            }
        });
        prop_assert_eq!(projections(paths[0]), projections(paths[1]));
    }
}
