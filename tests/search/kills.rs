//! A process that indexes is killed at any moment; what comes after finds everything.

use std::process::{Command, Stdio};
use std::time::Duration;

use greffier::archive::Reader;
use greffier::index::Indexer;

use crate::support::*;

const CHILD: &str = "GREFFIER_TEST_INDEXING_CHILD";

/// Not a test by itself: what the killed process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = std::path::PathBuf::from(dir);
    let archive = open(&dir);
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    for n in 0.. {
        put(&archive, (0..5).map(|i| says(1, "Alice", &format!("steady {n}"), n * 5 + i)).collect()).await;
        if n % 3 == 0 {
            reaches(&indexer.index(), n.unsigned_abs() * 5).await;
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_it_comes_back_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::child"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment of the kill is the point; there is nothing to await.
        tokio::time::sleep(Duration::from_millis(random.u64(300..1_500))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let Ok(reader) = Reader::open(dir.path()) else { continue };
        let size = reader.log_size().unwrap();
        let index = ready(dir.path());
        assert_eq!(index.reached().0, size);
        let all: Vec<u64> = (1..=size).collect();
        assert_eq!(found(&index, &reader, "steady"), all);
        drop(index);
    }
    assert!(Reader::open(dir.path()).unwrap().log_size().unwrap() > 0, "the killed processes did something");
}
