//! A connector's own notes: entries read by name, envelopes that wait, files that are kept.

use super::*;

fn note(key: &str, value: &[u8]) -> CursorChange {
    CursorChange { key: key.into(), value: Some(value.to_vec()) }
}

fn waiting(body: Vec<u8>) -> Envelope {
    Envelope { body: Bytes::from(body), pending: true, ..envelope("") }
}

async fn ids_after(sink: &dyn Sink, after: Option<EnvelopeId>, most: usize) -> Vec<i64> {
    sink.pending(&source(), after, most).await.unwrap().iter().map(|stored| stored.id.0).collect()
}

#[tokio::test]
async fn entries_that_begin_with_a_tilde_are_recalled_by_name_and_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let sink = archive.sink();
    let ask = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(sink.recall(&source(), ask(&["~m/1"])).await.unwrap(), [None]);

    let names = ["", "a", "}z", "~", "~m/1", "~m/2", "~\u{10FFFF}", "\u{7f}", "é", "日"];
    let cursor = names.iter().map(|name| note(name, name.as_bytes())).collect();
    put(&archive, Append { cursor, ..Append::default() }).await;
    let other = Source { connector: "other".into(), platform: "ucwa".into() };
    let theirs = Append { cursor: vec![note("~m/1", b"theirs"), note("b", b"theirs")], ..Append::default() };
    sink.append(&other, theirs).await.unwrap();

    let restored: Vec<String> = sink.restore(&source()).await.unwrap().cursor.into_iter().map(|(key, _)| key).collect();
    assert_eq!(restored, ["", "a", "}z", "\u{7f}", "é", "日"]);
    let found = sink.recall(&source(), ask(&["~m/2", "none", "a", "~m/2", "~"])).await.unwrap();
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(found, [text("~m/2"), None, text("a"), text("~m/2"), text("~")]);
    assert_eq!(sink.recall(&source(), Vec::new()).await.unwrap(), [] as [Option<Vec<u8>>; 0]);

    // What an append changed is seen as soon as it is acknowledged.
    let changes = vec![note("~m/1", b"new"), CursorChange { key: "~m/2".into(), value: None }];
    put(&archive, Append { cursor: changes, ..Append::default() }).await;
    assert_eq!(sink.recall(&source(), ask(&["~m/1", "~m/2"])).await.unwrap(), [text("new"), None]);
    assert_eq!(sink.recall(&other, ask(&["~m/1"])).await.unwrap(), [text("theirs")]);
}

#[tokio::test]
async fn a_start_does_not_walk_over_what_is_read_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, Append { cursor: vec![note("a", b"1")], ..Append::default() }).await;
    let conn = Connection::open(&archive.layout().database).unwrap();
    let plan: Vec<String> = conn
        .prepare(
            "EXPLAIN QUERY PLAN SELECT key, value FROM cursor WHERE connector = 1 AND key < '~'
             UNION ALL SELECT key, value FROM cursor WHERE connector = 1 AND key >= char(127)",
        )
        .unwrap()
        .query_map([], |row| row.get::<_, String>(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let ranges = ["(connector=? AND key<?)", "(connector=? AND key>?)"];
    assert!(ranges.iter().all(|range| plan.iter().any(|step| step.contains(range))), "{plan:?}");
}

#[tokio::test]
async fn waiting_envelopes_come_in_pages_oldest_first_and_only_to_their_connector() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let sink = archive.sink();
    assert!(ids_after(&*sink, None, 10).await.is_empty());
    let mut envelopes: Vec<Envelope> = (0..7u8).map(|n| waiting(vec![n])).collect();
    envelopes.push(envelope("read already"));
    put(&archive, Append { envelopes, ..Append::default() }).await;
    let other = Source { connector: "other".into(), platform: "ucwa".into() };
    sink.append(&other, Append { envelopes: vec![waiting(vec![9])], ..Append::default() }).await.unwrap();
    put(&archive, Append { envelopes: vec![waiting(vec![7])], ..Append::default() }).await;

    assert_eq!(ids_after(&*sink, None, 3).await, [1, 2, 3]);
    assert_eq!(ids_after(&*sink, Some(EnvelopeId(3)), 3).await, [4, 5, 6]);
    // What was interpreted meanwhile does not come; the place to go on from need not wait itself.
    put(&archive, Append { interpreted: vec![EnvelopeId(6), EnvelopeId(2)], ..Append::default() }).await;
    assert_eq!(ids_after(&*sink, Some(EnvelopeId(6)), 3).await, [7, 10]);
    assert!(ids_after(&*sink, Some(EnvelopeId(10)), 3).await.is_empty());
    assert_eq!(ids_after(&*sink, None, 100).await, [1, 3, 4, 5, 7, 10]);
    assert!(ids_after(&*sink, None, 0).await.is_empty());
}

#[tokio::test]
async fn a_page_of_waiting_envelopes_ends_at_sixteen_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let sink = archive.sink();
    for size in [5 << 20, 12 << 20, 20 << 20, 1, 1] {
        put(&archive, Append { envelopes: vec![waiting(vec![b'x'; size])], ..Append::default() }).await;
    }
    assert_eq!(ids_after(&*sink, None, 100).await, [1, 2]);
    assert_eq!(ids_after(&*sink, Some(EnvelopeId(2)), 100).await, [3]);
    assert_eq!(ids_after(&*sink, Some(EnvelopeId(3)), 100).await, [4, 5]);
}

#[tokio::test]
async fn recalls_and_appends_at_once_each_see_what_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let mut tasks = Vec::new();
    for task in 0..8 {
        let sink = archive.sink();
        tasks.push(tokio::spawn(async move {
            let key = format!("~{task}");
            for n in 0..50u8 {
                sink.append(&source(), Append { cursor: vec![note(&key, &[n])], ..Append::default() }).await.unwrap();
                assert_eq!(sink.recall(&source(), vec![key.clone()]).await.unwrap(), [Some(vec![n])]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_file_lies_in_the_archive_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let kept = archive.sink().keep(Bytes::from_static(b"a picture")).await.unwrap();
    assert_eq!((kept.sha256.len(), kept.size), (64, 9));
    assert_eq!(archive.sink().keep(Bytes::from_static(b"a picture")).await.unwrap(), kept);
    let empty = archive.sink().keep(Bytes::new()).await.unwrap();
    assert_eq!(empty.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    archive.close().await.unwrap();
    let archive = open(dir.path());
    let path = Attachments::of(archive.layout()).path(&kept.sha256).unwrap();
    assert_eq!(path, dir.path().join("attachments").join(&kept.sha256[..2]).join(&kept.sha256));
    assert_eq!(std::fs::read(path).unwrap(), b"a picture");
}

#[tokio::test]
async fn a_place_that_takes_no_files_is_told_and_worth_another_try() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    // A plain file where the folder should be: no file can be written below it, whoever asks.
    std::fs::write(&archive.layout().attachments, "").unwrap();
    let error = archive.sink().keep(Bytes::from_static(b"secret words")).await.unwrap_err();
    assert!(error.retry_after.is_some() && error.to_string().contains("attachments"), "{error}");
    assert!(!error.to_string().contains("secret"));
    std::fs::remove_file(&archive.layout().attachments).unwrap();
    archive.sink().keep(Bytes::from_static(b"secret words")).await.unwrap();
}
