//! The archive on disks that fill up, files that break, and processes that are killed: real files, the real library.
//!
//! What holds throughout: whatever was acknowledged is there exactly once, the log has no holes, and every stored hash of
//! the tree is what the leaves say.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greffier::archive::{Archive, ArchiveError, Attachments, Layout, Limits, Reader};
use greffier::capture::{
    Append, Appended, Captured, CursorChange, DedupeKey, Envelope, Origin, Sink, SinkError, Source,
};
use greffier::clock::SystemClock;
use greffier::integrity::hex;
use greffier::integrity::leaf::commitment;
use greffier::integrity::merkle::{Frontier, root_at};
use greffier::model::{Content, ConversationId, Kind, Message, Person, Seq, Timestamp};
use sha2::{Digest, Sha256};

const CHILD: &str = "GREFFIER_TEST_CHILD";
const BATCH: usize = 4;

fn source(connector: usize) -> Source {
    Source { connector: format!("c{connector}"), platform: "ucwa".into() }
}

/// Batch number `n`: one envelope with `padding` bytes that do not compress, and four messages read from it.
fn batch(connector: usize, n: usize, padding: usize) -> Append {
    let mut random = fastrand::Rng::with_seed(n as u64);
    let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(padding).collect();
    let conversation = ConversationId::new(Timestamp(0), [u8::try_from(connector).unwrap(); 10]);
    let events = (0..BATCH)
        .map(|i| {
            let id = format!("{connector}-{n}-{i}");
            Captured {
                origin: Origin::Here(0),
                conversation: Some(conversation.clone()),
                kind: Kind::MessageSent,
                source_time: Some(Timestamp(1_795_225_034_000_000 + (n * BATCH + i) as i64 * 1000)),
                dedupe: DedupeKey(format!("message|app|{conversation}|{id}")),
                content: Content {
                    actor: Some(Person { id: "sip:alice@contoso.com".into(), name: Some("Alice".into()) }),
                    message: Some(Message { text: format!("text of {id}"), id, ..Message::default() }),
                    ..Content::default()
                },
            }
        })
        .collect();
    let envelope = Envelope {
        received_at: Timestamp(0),
        server_date: None,
        request: "GET https://pool.contoso.com/events".into(),
        status: 200,
        content_type: None,
        body: Bytes::from(body),
        pending: false,
    };
    let cursor = vec![CursorChange { key: "next".into(), value: Some(n.to_string().into_bytes()) }];
    Append { envelopes: vec![envelope], events, cursor, ..Append::default() }
}

fn open(dir: &Path) -> Archive {
    Archive::open(dir, Arc::new(SystemClock)).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Recomputes every leaf, node and commitment; returns the ids of all messages, each of which is there once.
fn audit(reader: &Reader) -> HashSet<String> {
    let origin = reader.origin().unwrap();
    let mut frontier = Frontier::empty();
    let mut nodes = Vec::new();
    let mut ids = HashSet::new();
    let mut from = 1;
    loop {
        let leaves = reader.leaves(Seq(from), 1000).unwrap();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            assert_eq!(leaf.seq, from, "a hole in the log");
            from += 1;
            let canonical = leaf.canonical.as_ref().unwrap();
            assert_eq!(commitment(&leaf.salt.unwrap(), canonical), leaf.content_commitment);
            assert_eq!(leaf.header(&origin).leaf_hash(), leaf.leaf, "seq {}", leaf.seq);
            let envelope = reader.envelope(leaf.envelope.unwrap()).unwrap().unwrap();
            assert_eq!(Some(envelope.commitment), leaf.envelope_commitment);
            assert_eq!(commitment(&envelope.salt, &envelope.head().canonical()), envelope.commitment);
            frontier.append(leaf.leaf, &mut |level, index, hash| nodes.push((level, index, hash)));
            let content: Content = serde_json::from_slice(canonical).unwrap();
            assert!(ids.insert(content.message.unwrap().id), "seq {}: a message is there twice", leaf.seq);
        }
    }
    nodes.sort_unstable();
    let stored: Vec<_> = reader.nodes_after(0, 0, usize::MAX).unwrap();
    assert_eq!(stored.iter().map(|n| (n.level, n.index, n.hash)).collect::<Vec<_>>(), nodes);
    assert_eq!(root_at(reader, frontier.size).unwrap(), frontier.root());
    let messages: u64 = reader
        .conversations(&greffier::archive::reader::ConversationFilter::default(), None, usize::MAX)
        .unwrap()
        .rows
        .iter()
        .map(|c| c.messages)
        .sum();
    assert_eq!(messages, frontier.size, "the projections count what the log holds");
    ids
}

fn assert_has(ids: &HashSet<String>, connector: usize, n: usize) {
    for i in 0..BATCH {
        assert!(
            ids.contains(&format!("{connector}-{n}-{i}")),
            "acknowledged batch {n} of connector {connector} is not whole"
        );
    }
}

async fn put(archive: &Archive, n: usize, padding: usize) -> Result<Appended, SinkError> {
    archive.sink().append(&source(0), batch(0, n, padding)).await
}

/// A small file system of its own; unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where mounting is not permitted.
    fn mount(at: &Path, size: &str) -> Option<Tmpfs> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output();
        done.is_ok_and(|output| output.status.success()).then(|| Tmpfs(at.to_owned()))
    }

    fn make_read_only(&self) -> bool {
        Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).output().is_ok_and(|o| o.status.success())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_recording_goes_on_when_space_returns() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Tmpfs::mount(dir.path(), "6m") else {
        println!("skipped: this account may not mount a file system");
        return;
    };
    let ballast = mount.0.join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let at = mount.0.join("archive");
    let archive = open(&at);
    let mut acknowledged = 0;
    runtime().block_on(async {
        let error = loop {
            match put(&archive, acknowledged, 20_000).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 1000, "the disk never filled up");
        };
        assert!(acknowledged > 10, "only {acknowledged} batches fitted");
        assert!(error.retry_after.is_some(), "{error}");
        assert!(error.to_string().contains("archive.db") && error.to_string().contains("full"), "{error}");
        // Still full, also for several at once, and readers are served.
        let sink = archive.sink();
        let s = source(0);
        let again = tokio::join!(
            sink.append(&s, batch(0, acknowledged, 200_000)),
            sink.append(&s, batch(0, acknowledged + 1, 200_000)),
            sink.append(&s, batch(0, acknowledged + 2, 200_000)),
        );
        assert!(again.0.is_err() && again.1.is_err() && again.2.is_err());
        assert_eq!(archive.reader().unwrap().log_size().unwrap(), (acknowledged * BATCH) as u64);

        // The same process goes on by itself; what failed comes again, with some repeats.
        std::fs::remove_file(&ballast).unwrap();
        for n in acknowledged - 2..acknowledged + 20 {
            let receipt = put(&archive, n, 20_000).await.unwrap();
            assert!(receipt.events.iter().all(|e| e.duplicate == (n < acknowledged)), "batch {n}");
        }
        archive.close().await.unwrap();
    });
    let ids = audit(&Reader::open(&at).unwrap());
    assert_eq!(ids.len(), (acknowledged + 20) * BATCH);
    (0..acknowledged + 20).for_each(|n| assert_has(&ids, 0, n));
    let archive = open(&at);
    runtime().block_on(archive.close()).unwrap();
}

/// File number `n` of so many bytes that do not compress.
fn file(n: usize, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(n as u64);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect::<Vec<_>>().into()
}

/// The attachments of an archive, each whole.
fn whole_files(dir: &Path) -> HashSet<String> {
    let attachments = Attachments::of(&Layout::of(dir));
    let mut found = HashSet::new();
    attachments
        .each(&mut |sha256, _| {
            let bytes = std::fs::read(attachments.path(sha256).unwrap()).unwrap();
            assert_eq!(hex(&Sha256::digest(&bytes)), sha256, "what has the name of a hash is whole");
            found.insert(sha256.to_owned());
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn a_disk_that_fills_up_while_a_file_is_kept_leaves_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Tmpfs::mount(dir.path(), "6m") else {
        println!("skipped: this account may not mount a file system");
        return;
    };
    let ballast = mount.0.join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let at = mount.0.join("archive");
    let archive = open(&at);
    let mut acknowledged = HashSet::new();
    runtime().block_on(async {
        let sink = archive.sink();
        let error = loop {
            match sink.keep(file(acknowledged.len(), 300_000)).await {
                Ok(kept) => assert!(kept.size == 300_000 && acknowledged.insert(kept.sha256)),
                Err(error) => break error,
            }
            assert!(acknowledged.len() < 100, "the disk never filled up");
        };
        assert!(acknowledged.len() > 2, "only {} files fitted", acknowledged.len());
        assert!(error.retry_after.is_some(), "{error}");
        assert!(error.to_string().contains("attachments") && error.to_string().contains("free some space"), "{error}");
        assert_eq!(whole_files(&at), acknowledged);
        assert_eq!(std::fs::read_dir(at.join("attachments/new")).unwrap().count(), 0);
        // What was kept needs no more room to be kept again, and the log still takes what fits.
        assert!(sink.keep(file(0, 300_000)).await.is_ok());

        std::fs::remove_file(&ballast).unwrap();
        acknowledged.insert(sink.keep(file(acknowledged.len(), 300_000)).await.unwrap().sha256);
        archive.close().await.unwrap();
    });
    assert_eq!(whole_files(&at), acknowledged);
}

/// Not a test of its own: the process that the test below kills. Keeps files without end.
#[test]
#[ignore = "started by other tests as a child process"]
fn child_keeps_until_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (dir, from) = order.rsplit_once('|').unwrap();
    let mut n: usize = from.parse().unwrap();
    let archive = open(Path::new(dir));
    println!("child ready");
    let sink = archive.sink();
    runtime().block_on(async {
        loop {
            let kept = sink.keep(file(n, 1 << (n % 20))).await.unwrap();
            println!("child kept {n} {}.", kept.sha256);
            n += 1;
        }
    });
}

#[test]
fn killed_while_keeping_files_those_acknowledged_are_there_and_none_is_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut acknowledged = HashSet::new();
    let (mut next, mut round) = (0, 0);
    while round < 15 || acknowledged.len() <= 40 {
        round += 1;
        assert!(round < 400, "only {} files in {round} lives", acknowledged.len());
        let (mut child, lines) = start("child_keeps_until_killed", dir.path(), &next.to_string());
        let life = Duration::from_micros(random.u64(0..60_000));
        let killer = std::thread::spawn(move || {
            // The moment of the kill is the point of this test; there is nothing to wait for.
            std::thread::sleep(life);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in lines.lines() {
            let Ok(line) = line else { break };
            // The last line may be cut short by the kill; a whole one ends with a full stop.
            if let ["child", "kept", n, sha256] = line.split(' ').collect::<Vec<_>>()[..]
                && let Some(sha256) = sha256.strip_suffix('.')
            {
                next = n.parse::<usize>().unwrap() + 1;
                acknowledged.insert(sha256.to_owned());
            }
        }
        killer.join().unwrap();
        assert!(whole_files(dir.path()).is_superset(&acknowledged));
        runtime().block_on(open(dir.path()).close()).unwrap();
        assert!(!dir.path().join("attachments/new").exists(), "what was half-written is swept away");
    }
}

#[test]
fn a_file_at_its_limit_refuses_and_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open_with(dir.path(), Arc::new(SystemClock), Limits { pages: Some(200) }).unwrap();
    let mut acknowledged = 0;
    runtime().block_on(async {
        let error = loop {
            match put(&archive, acknowledged, 10_000).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 1000, "the limit was never reached");
        };
        assert!(error.retry_after.is_some() && error.cause.contains("full"), "{error}");
        // A group in which one is too much: the small ones get through one by one, as long as there is room.
        let before = archive.reader().unwrap().log_size().unwrap();
        let sink = archive.sink();
        let s = source(1);
        let small = Append {
            envelopes: vec![],
            cursor: vec![CursorChange { key: "k".into(), value: None }],
            ..Append::default()
        };
        let (big, small) = tokio::join!(sink.append(&s, batch(1, 0, 900_000)), sink.append(&s, small));
        assert!(big.is_err() && small.is_ok(), "{big:?} {small:?}");
        assert_eq!(archive.reader().unwrap().log_size().unwrap(), before);
        archive.close().await.unwrap();
    });
    let archive = open(dir.path());
    runtime().block_on(async {
        for n in acknowledged - 1..acknowledged + 3 {
            put(&archive, n, 10_000).await.unwrap();
        }
        archive.close().await.unwrap();
    });
    let ids = audit(&Reader::open(dir.path()).unwrap());
    assert_eq!(ids.len(), (acknowledged + 3) * BATCH);
}

#[test]
fn a_read_only_directory_is_refused_clearly_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Tmpfs::mount(dir.path(), "6m") else {
        println!("skipped: this account may not mount a file system");
        return;
    };
    let archive = open(&mount.0);
    runtime().block_on(async {
        put(&archive, 0, 10).await.unwrap();
        archive.close().await.unwrap();
    });
    assert!(mount.make_read_only());
    let error = Archive::open(&mount.0, Arc::new(SystemClock)).unwrap_err().to_string();
    assert!(error.contains("Read-only") && error.contains(&mount.0.display().to_string()), "{error}");
    let ids = audit(&Reader::open(&mount.0).unwrap());
    assert_has(&ids, 0, 0);
}

#[test]
fn what_is_no_archive_or_too_new_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Reader::open(dir.path()), Err(ArchiveError::Missing { .. })));
    let deep = dir.path().join("a/b");
    runtime().block_on(open(&deep).close()).unwrap();

    let conn = rusqlite::Connection::open(deep.join("archive.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    for error in [Archive::open(&deep, Arc::new(SystemClock)).unwrap_err(), Reader::open(&deep).unwrap_err()] {
        assert!(matches!(error, ArchiveError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("99"), "{error}");
    }
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("archive.db"), "not a database, but some text that is long enough".repeat(100))
        .unwrap();
    for error in [Archive::open(&foreign, Arc::new(SystemClock)).unwrap_err(), Reader::open(&foreign).unwrap_err()] {
        assert!(matches!(error, ArchiveError::NotAnArchive { .. }), "{error}");
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Archive::open(&file, Arc::new(SystemClock)).unwrap_err();
    assert!(matches!(error, ArchiveError::Io { .. }), "{error}");
}

#[test]
fn a_damaged_page_gives_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    runtime().block_on(async {
        for n in 0..50 {
            put(&archive, n, 2_000).await.unwrap();
        }
        archive.close().await.unwrap();
    });
    let sound = std::fs::read(dir.path().join("archive.db")).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut noticed = 0;
    for round in 0..40 {
        let mut bytes = sound.clone();
        // Not the first page: with a broken header it is simply not a database.
        let page = random.usize(1..bytes.len() / 4096);
        let start = page * 4096 + if round % 2 == 0 { 0 } else { random.usize(..4000) };
        bytes[start..start + 32].iter_mut().for_each(|b| *b ^= 0x5a);
        let damaged = tempfile::tempdir().unwrap();
        std::fs::write(damaged.path().join("archive.db"), bytes).unwrap();
        let read = || -> Result<bool, ArchiveError> {
            let reader = Reader::open(damaged.path())?;
            let sound_leaves = {
                let origin = reader.origin()?;
                reader.leaves(Seq(1), usize::MAX)?.iter().all(|leaf| {
                    leaf.header(&origin).leaf_hash() == leaf.leaf
                        && leaf
                            .salt
                            .zip(leaf.canonical.as_ref())
                            .is_some_and(|(s, c)| commitment(&s, c) == leaf.content_commitment)
                })
            };
            reader.conversations(&Default::default(), None, 100)?;
            for id in reader.envelope_ids(greffier::capture::EnvelopeId(0), 1000)? {
                let row = reader.envelope(id)?;
                if row.is_some_and(|row| commitment(&row.salt, &row.envelope.body) != row.commitment) {
                    return Ok(false);
                }
            }
            reader.events(Seq(1), usize::MAX)?;
            Ok(sound_leaves && reader.file_damage()?.is_empty())
        };
        match read() {
            Ok(sound) => noticed += usize::from(!sound),
            Err(error) => {
                noticed += 1;
                let text = error.to_string();
                assert!(!text.contains("text of"), "an error must not hold content: {text}");
            }
        }
        // Opening for writing must not panic either; it may well succeed when the page is not needed.
        if let Ok(archive) = Archive::open(damaged.path(), Arc::new(SystemClock)) {
            runtime().block_on(async {
                let _ = put(&archive, 1000, 10).await;
                let _ = archive.close().await;
            });
        }
    }
    // Some of the 40 hit free space between rows, where nothing is lost.
    assert!(noticed >= 25, "{noticed} of 40 damages noticed");
}

/// Not a test of its own: the process that the tests below kill. Appends from three connectors without end.
#[test]
#[ignore = "started by other tests as a child process"]
fn child_appends_until_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (dir, from) = order.rsplit_once('|').unwrap();
    let from: Vec<usize> = from.split(',').map(|n| n.parse().unwrap()).collect();
    let archive = open(Path::new(dir));
    println!("child ready");
    let sink = archive.sink();
    runtime().block_on(async {
        let local = |connector: usize, mut n: usize| {
            let sink: Arc<dyn Sink> = sink.clone();
            async move {
                while n < usize::MAX {
                    let receipt = sink.append(&source(connector), batch(connector, n, 3_000)).await.unwrap();
                    let seqs: Vec<String> = receipt.events.iter().map(|e| e.seq.0.to_string()).collect();
                    println!("child ack {connector} {n} {}", seqs.join(","));
                    n += 1;
                }
            }
        };
        tokio::join!(local(0, from[0]), local(1, from[1]), local(2, from[2]))
    });
}

fn start_child(dir: &Path, from: &[usize]) -> (Child, BufReader<ChildStdout>) {
    let from: Vec<String> = from.iter().map(usize::to_string).collect();
    start("child_appends_until_killed", dir, &from.join(","))
}

fn start(what: &str, dir: &Path, order: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", what, "--ignored", "--nocapture", "--test-threads", "1"])
        .env(CHILD, format!("{}|{order}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("child ready") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child did not start");
    }
    (child, lines)
}

#[test]
fn a_second_process_is_refused_and_told_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _lines) = start_child(dir.path(), &[0, 0, 0]);
    let error = Archive::open(dir.path(), Arc::new(SystemClock)).unwrap_err();
    let reading = Reader::open(dir.path()).and_then(|reader| reader.log_size());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(error, ArchiveError::Locked { pid: Some(pid), .. } if pid == child.id()), "{error}");
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    assert!(reading.is_ok(), "readers are not locked out: {reading:?}");
    // The lock went with the process, not with its file.
    runtime().block_on(open(dir.path()).close()).unwrap();
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_missing_or_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    let mut next = [0, 0, 0];
    let mut acknowledged: Vec<(usize, usize, Vec<u64>)> = Vec::new();
    // On a slow machine a life may be too short for a single batch: go on until enough was acknowledged.
    let mut round = 0;
    while round < 25 || acknowledged.len() <= 100 {
        round += 1;
        assert!(round < 400, "only {} batches in {round} lives", acknowledged.len());
        // A restarted connector sends again what it is not sure of.
        let from = next.map(|n: usize| n.saturating_sub(random.usize(..2)));
        let (mut child, lines) = start_child(dir.path(), &from);
        let life = Duration::from_micros(random.u64(0..60_000));
        let killer = std::thread::spawn(move || {
            // The moment of the kill is the point of this test; there is nothing to wait for.
            std::thread::sleep(life);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in lines.lines() {
            let Ok(line) = line else { break };
            let words: Vec<&str> = line.split(' ').collect();
            if let ["child", "ack", connector, n, seqs] = words[..] {
                let seqs: Vec<u64> = seqs.split(',').filter_map(|s| s.parse().ok()).collect();
                // The last line may be cut short by the kill.
                if seqs.len() == BATCH {
                    let (connector, n): (usize, usize) = (connector.parse().unwrap(), n.parse().unwrap());
                    next[connector] = n + 1;
                    acknowledged.push((connector, n, seqs));
                }
            }
        }
        killer.join().unwrap();
        // Opening for writing recovers; what was committed but not acknowledged may be there too, whole.
        runtime().block_on(open(dir.path()).close()).unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        let ids = audit(&reader);
        assert_eq!(ids.len() % BATCH, 0, "round {round}: half a batch");
        for (connector, n, _) in &acknowledged {
            assert_has(&ids, *connector, *n);
        }
    }
    let reader = Reader::open(dir.path()).unwrap();
    for (connector, n, seqs) in acknowledged.iter().step_by(7) {
        for (i, seq) in seqs.iter().take(BATCH - 1).enumerate() {
            let event = reader.event(Seq(*seq)).unwrap().unwrap();
            assert_eq!(event.content.message.unwrap().id, format!("{connector}-{n}-{i}"));
        }
    }
}
