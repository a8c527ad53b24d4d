//! The index keeps up with the log, comes back after anything, and is made anew when it has to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use greffier::archive::{Layout, Reader};
use greffier::index::{Index, IndexError, Indexer, Sort, State};
use greffier::model::Seq;

use crate::support::*;

async fn wait_until(what: &str, index: &Index, mut holds: impl FnMut(&Index) -> bool) {
    let waiting = async {
        while !holds(index) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let late = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(late.is_ok(), "{what}: {:?}", index.status());
}

#[tokio::test]
async fn what_is_captured_is_found_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let index = indexer.index();
    let reader = archive.reader().unwrap();
    wait_until("opened", &index, |index| index.search(&reader, &request(&asks("x"), Sort::Newest)).is_ok()).await;
    let mut slowest = Duration::ZERO;
    for n in 0..12 {
        put(&archive, vec![says(1, "Alice", &format!("word{n} again"), n)]).await;
        let durable = Instant::now();
        wait_until("found", &index, |index| hits(index, &reader, &format!("word{n}")) == [n as u64 + 1]).await;
        slowest = slowest.max(durable.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(found(&index, &reader, "again").len(), 12);
    assert_eq!(index.status().state, State::Following);
    indexer.stop().await;
    archive.close().await.unwrap();
}

#[tokio::test]
async fn after_a_restart_it_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for run in 0..3_u64 {
        let archive = open(dir.path());
        // Some of it comes while nobody indexes.
        put(&archive, vec![says(1, "Alice", "before", run as i64)]).await;
        let indexer = Indexer::start(archive.layout(), archive.subscribe());
        put(&archive, vec![says(1, "Alice", "while it runs", 100 + run as i64)]).await;
        let index = indexer.index();
        reaches(&index, run * 2 + 2).await;
        expected.extend([run * 2 + 1, run * 2 + 2]);
        assert_eq!(found(&index, &archive.reader().unwrap(), "from:alice"), expected);
        indexer.stop().await;
        archive.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_small_commits_are_merged_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let index = indexer.index();
    let reader = archive.reader().unwrap();
    for n in 0..30 {
        put(&archive, vec![says(1, "Alice", &format!("same w{n}"), n)]).await;
        reaches(&index, n as u64 + 1).await;
    }
    let all: Vec<u64> = (1..=30).collect();
    wait_until("merged", &index, |_| segments(dir.path()) < 20).await;
    assert_eq!(found(&index, &reader, "same"), all);
    for n in 0..30 {
        assert_eq!(found(&index, &reader, &format!("w{n}")), [n + 1]);
    }
    indexer.stop().await;
    archive.close().await.unwrap();
}

/// Directory of the generation that answers.
fn generation(dir: &Path) -> PathBuf {
    let index = dir.join("index");
    let name = std::fs::read_to_string(index.join("current")).unwrap();
    index.join(name.trim())
}

/// Segments that the current generation names.
fn segments(dir: &Path) -> usize {
    let meta = std::fs::read_to_string(generation(dir).join("meta.json")).unwrap_or_default();
    meta.matches("\"segment_id\"").count()
}

/// Ten messages, indexed.
async fn small(dir: &Path) {
    let archive = open(dir);
    put(&archive, (0..10).map(|n| says(1, "Alice", &format!("steady word{n}"), n)).collect()).await;
    archive.close().await.unwrap();
    assert_eq!(found(&ready(dir), &Reader::open(dir).unwrap(), "steady").len(), 10);
}

#[tokio::test]
async fn whatever_file_is_damaged_search_answers_right_in_the_end() {
    let origin = tempfile::tempdir().unwrap();
    small(origin.path()).await;
    let mut names: Vec<_> = std::fs::read_dir(generation(origin.path())).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let kinds = |path: &Path| path.extension().map_or(path.file_name().unwrap().to_owned(), std::ffi::OsStr::to_owned);
    names.dedup_by_key(|path| kinds(path));
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        for how in ["cut", "flip", "gone", "empty"] {
            let dir = tempfile::tempdir().unwrap();
            small(dir.path()).await;
            let wanted = kinds(&name);
            let files = std::fs::read_dir(generation(dir.path())).unwrap().map(|entry| entry.unwrap().path());
            let Some(victim) = files.into_iter().find(|path| kinds(path) == wanted) else { continue };
            if victim.file_name().is_some_and(|name| name.to_string_lossy().contains("lock")) {
                continue;
            }
            let mut bytes = std::fs::read(&victim).unwrap();
            match how {
                "cut" => bytes.truncate(bytes.len() / 2),
                "flip" => {
                    let middle = bytes.len() / 3;
                    bytes[middle] ^= 0x55;
                }
                _ => bytes.clear(),
            }
            if how == "gone" {
                std::fs::remove_file(&victim).unwrap();
            } else {
                std::fs::write(&victim, bytes).unwrap();
            }
            let archive = open(dir.path());
            let indexer = Indexer::start(archive.layout(), archive.subscribe());
            put(&archive, vec![says(1, "Alice", "steady later", 20)]).await;
            let index = indexer.index();
            let reader = archive.reader().unwrap();
            let expected: Vec<u64> = (1..=11).collect();
            let what = format!("{how} {}", victim.display());
            wait_until(&what, &index, |index| {
                let query = asks("steady");
                // Until the damage is noticed an answer may be wrong or fail.
                index
                    .search(&reader, &request(&query, Sort::Oldest))
                    .is_ok_and(|answer| answer.hits.iter().map(|hit| hit.event.seq.0).eq(expected.iter().copied()))
            })
            .await;
            indexer.stop().await;
            archive.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_recorder_a_damaged_index_is_noticed_before_it_is_asked() {
    let origin = tempfile::tempdir().unwrap();
    small(origin.path()).await;
    let files = || std::fs::read_dir(generation(origin.path())).unwrap().map(|entry| entry.unwrap().path());
    let victims: Vec<PathBuf> = files().filter(|path| path.extension().is_some_and(|end| end != "lock")).collect();
    assert!(victims.iter().any(|path| path.extension().is_some_and(|end| end == "pos")), "{victims:?}");
    for victim in victims {
        for gone in [true, false] {
            // Made anew under another name after each damage: the same kind of file is damaged.
            let Some(victim) = files().find(|path| path.extension() == victim.extension()) else { continue };
            let mut bytes = std::fs::read(&victim).unwrap();
            std::fs::remove_file(&victim).unwrap();
            if !gone {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x55;
                std::fs::write(&victim, bytes).unwrap();
            }
            let reader = Reader::open(origin.path()).unwrap();
            let index = ready(origin.path());
            assert_eq!(found(&index, &reader, "steady").len(), 10, "{}", victim.display());
            assert_eq!(found(&index, &reader, "\"steady word3\"").len(), 1, "{}", victim.display());
        }
    }
}

#[tokio::test]
async fn an_index_of_another_version_answers_until_the_new_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path()).await;
    let old = generation(dir.path());
    let meta = std::fs::read_to_string(old.join("meta.json")).unwrap();
    let other = meta.replacen("\\\"version\\\":1", "\\\"version\\\":0", 1);
    assert_ne!(meta, other, "the stamp is where it is expected");
    std::fs::write(old.join("meta.json"), other).unwrap();
    let archive = open(dir.path());
    assert!(matches!(Index::open(archive.layout()), Err(IndexError::Stale { .. })));
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let index = indexer.index();
    put(&archive, vec![says(1, "Alice", "steady later", 20)]).await;
    reaches(&index, 11).await;
    assert_eq!(found(&index, &archive.reader().unwrap(), "steady").len(), 11);
    assert_ne!(generation(dir.path()), old);
    wait_until("the old one is gone", &index, |_| !old.exists()).await;
    indexer.stop().await;
    archive.close().await.unwrap();
}

#[tokio::test]
async fn an_index_ahead_of_a_restored_archive_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, vec![says(1, "Alice", "one", 1), says(1, "Alice", "two", 2)]).await;
    let backup = dir.path().join("copy.db");
    greffier::archive::backup(&archive.layout().database, &backup, &mut |_| ()).unwrap();
    put(&archive, vec![says(1, "Alice", "three", 3)]).await;
    archive.close().await.unwrap();
    assert_eq!(ready(dir.path()).reached(), Seq(3));
    for left in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(left));
    }
    std::fs::rename(&backup, dir.path().join("archive.db")).unwrap();
    assert!(matches!(Index::open(&Layout::of(dir.path())), Err(IndexError::Stale { .. })));
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!((found(&index, &reader, "from:alice"), found(&index, &reader, "three")), (vec![1, 2], vec![]));
    drop((index, reader));
    // As long as it was, but with another end.
    let archive = open(dir.path());
    put(&archive, vec![says(1, "Alice", "other", 3)]).await;
    archive.close().await.unwrap();
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!((found(&index, &reader, "other"), found(&index, &reader, "three")), (vec![3], vec![]));
}

#[tokio::test]
async fn a_second_process_reads_and_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    put(&archive, vec![says(1, "Alice", "one", 1)]).await;
    reaches(&indexer.index(), 1).await;
    let layout = archive.layout().clone();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    assert!(matches!(greffier::index::catch_up(&layout, &stop, &mut |_, _| ()), Err(IndexError::Busy { .. })));
    assert!(matches!(greffier::index::rebuild(&layout, &stop, &mut |_, _| ()), Err(IndexError::Busy { .. })));
    let other = Index::open(&layout).unwrap();
    let reader = archive.reader().unwrap();
    assert_eq!(found(&other, &reader, "one"), [1]);
    put(&archive, vec![says(1, "Alice", "two", 2)]).await;
    // It takes up what the first has committed.
    wait_until("seen", &other, |other| hits(other, &reader, "two") == [2]).await;
    indexer.stop().await;
    archive.close().await.unwrap();
    assert_eq!(ready(dir.path()).reached(), Seq(2));
}

#[tokio::test]
async fn a_rebuild_that_is_interrupted_leaves_the_old_index() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path()).await;
    let layout = Layout::of(dir.path());
    let before = generation(dir.path());
    let stop = std::sync::atomic::AtomicBool::new(true);
    let archive = open(dir.path());
    put(&archive, (0..600).map(|n| says(1, "Alice", "steady more", 50 + n)).collect()).await;
    archive.close().await.unwrap();
    assert!(matches!(greffier::index::rebuild(&layout, &stop, &mut |_, _| ()), Err(IndexError::Interrupted)));
    assert_eq!(generation(dir.path()), before);
    assert_eq!(Index::open(&layout).unwrap().reached(), Seq(10));
    stop.store(false, std::sync::atomic::Ordering::Relaxed);
    let mut told = Vec::new();
    assert_eq!(greffier::index::rebuild(&layout, &stop, &mut |done, of| told.push((done, of))).unwrap(), 610);
    assert!(told.iter().all(|(done, of)| done <= of && *of == 610), "{told:?}");
    assert_ne!(generation(dir.path()), before);
}

#[tokio::test]
async fn while_the_index_cannot_be_written_recording_goes_on_and_it_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be: every write fails.
    std::fs::write(dir.path().join("index"), "in the way").unwrap();
    let archive = open(dir.path());
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let index = indexer.index();
    let reader = archive.reader().unwrap();
    put(&archive, vec![says(1, "Alice", "one", 1)]).await;
    wait_until("waits", &index, |index| index.status().state == State::Waiting).await;
    assert!(index.status().why.is_some());
    put(&archive, vec![says(1, "Alice", "two", 2)]).await;
    assert_eq!(reader.log_size().unwrap(), 2);
    std::fs::remove_file(dir.path().join("index")).unwrap();
    reaches(&index, 2).await;
    assert_eq!(found(&index, &reader, "from:alice"), [1, 2]);
    // Derived data may be deleted at any time, also while it is in use.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    put(&archive, vec![says(1, "Alice", "three", 3)]).await;
    reaches(&index, 3).await;
    wait_until("follows again", &index, |index| index.status().state == State::Following).await;
    assert_eq!(found(&index, &reader, "from:alice"), [1, 2, 3]);
    indexer.stop().await;
    archive.close().await.unwrap();
}
