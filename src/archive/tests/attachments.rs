//! Attachments beside the log: `verify` and `backup` see them.

use super::*;
use crate::archive::audit::{AuditOptions, audit};
use crate::integrity::finding::{Finding, FindingKind};
use crate::model::Attachment;

fn with_files(key: &str, seconds: i64, files: &[Option<&str>]) -> Captured {
    let mut said = says(key, 1, "Alice", "look \"attachments\":[ \"sha256\":\"", seconds);
    let attachments = files.iter().map(|sha256| Attachment {
        name: Some("plan.png".into()),
        sha256: sha256.map(str::to_owned),
        ..Attachment::default()
    });
    said.content.message.as_mut().unwrap().attachments = attachments.collect();
    said
}

async fn keep(archive: &Archive, bytes: &'static str) -> String {
    archive.sink().keep(Bytes::from_static(bytes.as_bytes())).await.unwrap().sha256
}

fn findings(path: &Path) -> (u64, Vec<(Option<u64>, FindingKind)>) {
    let mut found: Vec<Finding> = Vec::new();
    let report = audit(path, &AuditOptions::default(), &mut |finding| found.push(finding), &mut |_, _| {}).unwrap();
    assert!(found.iter().all(|finding| !finding.what.contains("plan.png")));
    (report.attachments, found.into_iter().map(|finding| (finding.seq, finding.kind)).collect())
}

#[tokio::test]
async fn an_audit_reads_each_named_file_and_tells_the_first_event_of_what_is_missing_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let (one, two, three) = (keep(&archive, "one").await, keep(&archive, "two").await, keep(&archive, "three").await);
    keep(&archive, "named by nobody").await;
    let events = vec![
        says("0", 1, "Alice", "no file", 0),
        with_files("1", 1, &[None, Some(&one)]),
        with_files("2", 2, &[Some(&one), Some(&two)]),
        with_files("3", 3, &[None]),
        with_files("4", 4, &[Some(&three), Some(&two)]),
    ];
    put(&archive, batch(events)).await;
    assert_eq!(findings(dir.path()), (3, vec![]));

    let kept = Attachments::of(archive.layout());
    std::fs::write(kept.path(&two).unwrap(), "tww").unwrap();
    std::fs::remove_file(kept.path(&three).unwrap()).unwrap();
    let expected = vec![(Some(3), FindingKind::ChangedAttachment), (Some(5), FindingKind::MissingAttachment)];
    assert_eq!(findings(dir.path()), (3, expected));

    // A name that is no hash leads to no file, wherever it points.
    put(&archive, batch(vec![with_files("5", 5, &[Some("../archive.db")])])).await;
    assert!(findings(dir.path()).1.contains(&(Some(6), FindingKind::MissingAttachment)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_every_file_that_it_names_even_while_more_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir.path().join("a"));
    let first = keep(&archive, "first").await;
    put(&archive, batch(vec![with_files("first", 1, &[Some(&first)])])).await;
    let (source, target) = (dir.path().join("a"), dir.path().join("copy"));
    let (stop, copied) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), target.clone());
    let stopped = stop.clone();
    let copy = tokio::task::spawn_blocking(move || {
        let mut last = None;
        let done = backup(&source, &copied, &mut |progress| last = Some(progress));
        stopped.store(true, std::sync::atomic::Ordering::SeqCst);
        (done, last)
    });
    let mut n: i64 = 0;
    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
        let kept = archive.sink().keep(Bytes::from(n.to_string())).await.unwrap();
        put(&archive, batch(vec![with_files(&n.to_string(), n, &[Some(&kept.sha256)])])).await;
        n += 1;
    }
    let (done, last) = copy.await.unwrap();
    done.unwrap();
    let last = last.unwrap();
    assert_eq!(last.done, last.total);
    let (files, found) = findings(&target);
    assert!(files >= 1 && found.is_empty(), "{found:?}");

    // Copies, not links: damage to one is not damage to both.
    let (ours, copies) = (Attachments::of(archive.layout()), Attachments::of(&Layout::of(&target)));
    std::fs::write(ours.path(&first).unwrap(), "f1rst").unwrap();
    assert_eq!(std::fs::read(copies.path(&first).unwrap()).unwrap(), b"first");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&copies.path(&first).unwrap()), 0o600);
        assert_eq!(mode(copies.dir()), 0o700);
    }
    // What is missing in the archive is missing in the copy, and told there too.
    std::fs::remove_file(ours.path(&first).unwrap()).unwrap();
    let again = dir.path().join("again");
    backup(&dir.path().join("a"), &again, &mut |_| {}).unwrap();
    assert_eq!(findings(&again).1, [(Some(1), FindingKind::MissingAttachment)]);
}

#[tokio::test]
async fn a_backup_into_one_file_is_refused_when_there_are_attachments() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir.path().join("a"));
    put(&archive, batch(vec![says("1", 1, "Alice", "a", 1)])).await;
    let target = dir.path().join("one.db");
    backup(&dir.path().join("a"), &target, &mut |_| {}).unwrap();
    std::fs::remove_file(&target).unwrap();
    keep(&archive, "file").await;
    let error = backup(&dir.path().join("a"), &target, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("name a folder"), "{error}");
    assert!(!target.exists());
}
