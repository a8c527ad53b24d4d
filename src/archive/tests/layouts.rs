//! A file of layout 1: read as it is, and led to layout 2. Both give the same answers.

use super::*;
use crate::archive::reader::{Activity, GapDay, NameRow, PersonRow, Totals};

/// 2026-11-21, the day of [`T0`].
const DAY: i64 = T0 / 86_400_000_000;

fn write_v1(dir: &Path) {
    let conn = Connection::open(dir.join("archive.db")).unwrap();
    conn.execute_batch(include_str!("../../../tests/fixtures/archive-v1.sql")).unwrap();
}

/// What the file holds, asked with every question that layout 2 brought.
fn assert_answers(reader: &Reader) {
    let none = ConversationFilter::default();
    let (one, two) = (conversation(1), conversation(2));
    let day = |day, events, messages, conversations_started, gaps| Activity {
        day,
        events,
        messages,
        conversations_started,
        gaps,
    };
    let days = [day(DAY, 9, 2, 1, 1), day(DAY + 1, 3, 1, 0, 0), day(DAY + 2, 5, 2, 1, 0)];
    // T0 is 01:37 of its day, so 80,000 s later it is still that day.
    assert_eq!(reader.activity(i64::MIN, i64::MAX, &none).unwrap(), days);
    assert_eq!(reader.activity(DAY + 1, DAY + 1, &none).unwrap(), days[1..2]);
    let nobody = ConversationFilter { platform: Some("teams".into()), ..none.clone() };
    assert_eq!(reader.activity(i64::MIN, i64::MAX, &nobody).unwrap(), []);
    assert_eq!(reader.days_of(&one).unwrap(), [(DAY, 2), (DAY + 1, 1), (DAY + 2, 1)]);
    assert_eq!(reader.days_of(&conversation(9)).unwrap(), []);
    let changed = |ids: &[&str]| -> Vec<(u64, Kind)> {
        reader.changes_of(&one, ids).unwrap().iter().map(|event| (event.seq.0, event.kind)).collect()
    };
    assert_eq!(changed(&["1"]), [(7, Kind::MessageEdited)]);
    assert_eq!(
        changed(&["3", "2", "none"]),
        [(8, Kind::ReactionAdded), (9, Kind::MessageDeleted), (11, Kind::MessageUndelivered)]
    );
    assert_eq!(changed(&[]), []);
    assert!(reader.changes_of(&two, &["1", "2", "3"]).unwrap().is_empty());

    let told: Vec<_> = reader.names_of("sip:alice@contoso.com").unwrap().into_iter().map(|row| row.name).collect();
    assert!(told.contains(&"Alice B".to_owned()), "{told:?}");
    let row = |id: &str, name: &str| PersonRow { id: id.into(), name: Some(name.into()), conversations: 1 };
    let people = [
        row("sip:alice@contoso.com", "Alice B"),
        row("sip:bob@contoso.com", "Bob"),
        row("sip:carol@contoso.com", "Carol"),
    ];
    assert_eq!(reader.people(None, 10).unwrap(), people);
    assert_eq!(reader.people(Some("sip:alice@contoso.com"), 1).unwrap(), people[1..2]);
    assert_eq!(reader.person("sip:bob@contoso.com").unwrap().as_ref(), Some(&people[1]));
    assert_eq!(reader.person("bob").unwrap(), None);
    assert_eq!(reader.people_matching("CONTOSO", None, 2).unwrap(), people[..2]);
    assert_eq!(reader.people_matching("CONTOSO", Some("sip:bob@contoso.com"), 2).unwrap(), people[2..]);
    assert_eq!(reader.people_matching("ice b", None, 9).unwrap(), people[..1]);

    let totals = Totals {
        events: 17,
        messages: 5,
        conversations: 2,
        live: 1,
        incomplete: 2,
        gaps: 1,
        people: 3,
        first_at: Some(Timestamp(T0)),
        last_at: Some(Timestamp(T0 + 200_004_000_000)),
    };
    assert_eq!(reader.totals().unwrap(), totals);
    let gaps = reader.gaps(None, 10).unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].seq, gaps[0].conversation.as_ref(), gaps[0].connector.as_str()), (Seq(12), Some(&one), "sfb"));
    assert!(reader.gaps(Some(Seq(12)), 10).unwrap().is_empty());
    // From 23:50:34 to 02:37:14 of the next day.
    let expected = [
        GapDay { day: DAY, gaps: 1, missing: (DAY + 1) * 86_400_000_000 - (T0 + 80_000_000_000) },
        GapDay { day: DAY + 1, gaps: 1, missing: T0 + 90_000_000_000 - (DAY + 1) * 86_400_000_000 },
    ];
    assert_eq!(reader.gap_days(DAY - 5, DAY + 5).unwrap(), expected);
    assert_eq!(reader.gap_days(DAY + 1, DAY + 1).unwrap(), expected[1..]);
    let busiest: Vec<_> = reader.busiest(None, 5).unwrap().into_iter().map(|c| (c.id, c.messages)).collect();
    assert_eq!(busiest, [(one.clone(), 4), (two.clone(), 1)]);
    assert_eq!(reader.busiest(Some(Timestamp(T0 + 200_002_000_000)), 5).unwrap().len(), 1);
    let connectors = reader.connectors().unwrap();
    assert_eq!((connectors.len(), connectors[0].platform.as_str()), (1, "ucwa"));
    let live = ConversationFilter { state: Some(ConversationState::Live), ..none };
    assert_eq!(reader.conversations_newest(&live, None, 5).unwrap().rows[0].id, two);
}

#[test]
fn a_file_of_layout_1_that_may_not_be_changed_answers_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write_v1(dir.path());
    let before = std::fs::read(dir.path().join("archive.db")).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.version(), 1);
    assert_answers(&reader);
    let mut findings = Vec::new();
    audit::audit(dir.path(), &audit::AuditOptions::default(), &mut |f| findings.push(f), &mut |_, _| {}).unwrap();
    assert_eq!(findings, []);
    assert_eq!(std::fs::read(dir.path().join("archive.db")).unwrap(), before);
}

#[tokio::test]
async fn layout_1_is_led_to_layout_2_and_filled_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    write_v1(dir.path());
    let archive = open(dir.path());
    let reader = archive.reader().unwrap();
    assert_eq!(reader.version(), schema::VERSION);
    assert_answers(&reader);
    let name = |name: &str, first: i64, last: i64| NameRow {
        name: name.into(),
        first_at: Timestamp(T0 + first * 1_000_000),
        last_at: Timestamp(T0 + last * 1_000_000),
    };
    let names = [name("Alice", 0, 0), name("Alice B", 200_000, 200_000)];
    assert_eq!(reader.names_of("sip:alice@contoso.com").unwrap(), names);
    assert_tree(&reader);
    // The same tables and indexes as a new file has, and rows as a rebuild gives.
    let shape = |path: &Path| -> Vec<String> {
        let conn = Connection::open(path).unwrap();
        let mut all = conn.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let plain = |sql: String| -> String {
            let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
            lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
        };
        all.query_map([], |row| row.get(0)).unwrap().map(|sql| plain(sql.unwrap())).collect()
    };
    let fresh = tempfile::tempdir().unwrap();
    let new = open(fresh.path());
    let path = &archive.layout().database;
    assert_eq!(shape(path), shape(&new.layout().database));
    let upgraded = projections(path);
    archive.rebuild_projections().await.unwrap();
    assert_eq!(projections(path), upgraded);
    put(&archive, batch(vec![says("7", 2, "Carol", "seven", 200_010)])).await;
    assert_eq!(archive.reader().unwrap().totals().unwrap().messages, 6);
    archive.close().await.unwrap();
}

#[tokio::test]
async fn an_old_damage_does_not_keep_the_recorder_from_recording() {
    let dir = tempfile::tempdir().unwrap();
    write_v1(dir.path());
    let conn = Connection::open(dir.path().join("archive.db")).unwrap();
    conn.execute_batch("DROP TRIGGER content_no_update; UPDATE content SET canonical = x'78' WHERE seq = 5").unwrap();
    let kept = |conn: &Connection| -> i64 {
        conn.query_row("SELECT sum(events) FROM conversation", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(kept(&conn), 16);
    drop(conn);
    let archive = open(dir.path());
    assert_eq!(archive.reader().unwrap().version(), schema::VERSION);
    put(&archive, batch(vec![says("7", 2, "Carol", "seven", 200_010)])).await;
    archive.close().await.unwrap();
    let conn = Connection::open(dir.path().join("archive.db")).unwrap();
    assert_eq!(kept(&conn), 17);
}
