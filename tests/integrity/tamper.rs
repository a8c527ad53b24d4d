//! One change per case, and exactly the finding that names it.

use greffier::integrity::checkpoint::{SigningKey, Statement, append_to_file};
use greffier::integrity::finding::{Finding, FindingKind};
use greffier::integrity::leaf::commitment;
use greffier::integrity::merkle::{Frontier, Hash, root_at};
use greffier::model::Seq;
use rusqlite::{Connection, params};

use crate::support::*;

/// What was found, as (kind, seq).
fn found(made: &Made) -> Vec<(FindingKind, Option<u64>)> {
    let (findings, report) = made.audit();
    assert_eq!(report.first_seq, findings.iter().filter_map(|f| f.seq).min());
    println!("{findings:#?} {:?}", report.remarks);
    findings.into_iter().map(|finding| (finding.kind, finding.seq)).collect()
}

#[track_caller]
fn finds(good: &Made, sql: &str, expected: &[(FindingKind, Option<u64>)]) {
    let made = copy(good);
    made.tamper(sql);
    assert_eq!(found(&made), expected, "{sql}");
}

#[test]
fn an_untouched_archive_is_good() {
    let made = three_meetings();
    let (findings, report) = made.audit();
    assert_eq!(findings, []);
    assert_eq!((report.events, report.envelopes, report.checkpoints, report.outside_checkpoints), (45, 45, 3, 3));
    assert_eq!(report.remarks, [""; 0]);
    let reader = made.reader();
    assert_eq!(report.root, Some(greffier::integrity::hex(&root_at(&reader, 45).unwrap())));
    let empty = archive_of(vec![]);
    assert_eq!(empty.audit().0, []);
}

#[test]
fn each_change_of_a_row_is_named_with_its_seq() {
    use FindingKind::*;
    let good = three_meetings();
    let s = Some;
    for (sql, expected) in [
        (
            "UPDATE content SET canonical = CAST(replace(CAST(canonical AS TEXT), 'hello', 'hullo') AS BLOB) WHERE seq = 20",
            vec![(ChangedContent, s(20))],
        ),
        ("UPDATE content SET salt = zeroblob(32) WHERE seq = 6", vec![(ChangedContent, s(6))]),
        ("UPDATE content SET salt = x'00' WHERE seq = 6", vec![(ChangedContent, s(6))]),
        ("UPDATE event SET content = zeroblob(32) WHERE seq = 21", vec![(ChangedHeader, s(21))]),
        ("UPDATE event SET source_time = source_time + 1000 WHERE seq = 22", vec![(ChangedHeader, s(22))]),
        ("UPDATE event SET recorded_at = recorded_at - 1 WHERE seq = 22", vec![(ChangedHeader, s(22))]),
        ("UPDATE event SET kind = 'platform.event' WHERE seq = 23", vec![(ChangedHeader, s(23))]),
        ("UPDATE event SET conversation = 1 WHERE seq = 23", vec![(ChangedHeader, s(23))]),
        ("UPDATE event SET envelope = 3 WHERE seq = 23", vec![(ChangedHeader, s(23))]),
        ("UPDATE event SET envelope = NULL WHERE seq = 23", vec![(ChangedHeader, s(23))]),
        ("UPDATE event SET source_time = 0 WHERE seq = 45", vec![(ChangedHeader, s(45))]),
        ("UPDATE event SET leaf = zeroblob(32) WHERE seq = 24", vec![(ChangedNode, s(24))]),
        ("UPDATE event SET leaf = zeroblob(32) WHERE seq = 45", vec![(ChangedNode, s(45))]),
        ("DELETE FROM event WHERE seq = 25", vec![(MissingRow, s(25))]),
        ("DELETE FROM event WHERE seq BETWEEN 7 AND 25", vec![(MissingRow, s(7))]),
        ("DELETE FROM event WHERE seq = 1", vec![(MissingRow, s(1))]),
        ("DELETE FROM content WHERE seq = 26", vec![(MissingRow, s(26))]),
        ("DELETE FROM dedupe WHERE seq = 26", vec![(MissingRow, s(26))]),
        ("UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 2", vec![(ChangedNode, s(5))]),
        ("UPDATE node SET hash = zeroblob(32) WHERE level = 3 AND idx = 1", vec![(ChangedNode, s(9))]),
        ("UPDATE node SET hash = zeroblob(32) WHERE level = 5", vec![(ChangedNode, s(1))]),
        ("DELETE FROM node WHERE level = 2 AND idx = 3", vec![(ChangedNode, s(13))]),
        (
            "UPDATE connector SET name = 'other'",
            [ChangedHeader, ChangedEnvelope].into_iter().flat_map(|kind| (1..=45).map(move |n| (kind, s(n)))).collect(),
        ),
        ("UPDATE envelope SET salt = zeroblob(32) WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET request = 'GET https://elsewhere/' WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET status = 500 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET received_at = received_at - 1 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET server_date = 5 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET content_type = 'text/html' WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET digest = zeroblob(32) WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET size = size + 1 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET size = 1 << 60 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET body = x'00', encoding = 0, size = 1 WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("UPDATE envelope SET body = x'28b52ffd00' WHERE id = 8", vec![(ChangedEnvelope, s(8))]),
        ("DELETE FROM envelope WHERE id = 8", vec![(MissingRow, s(8))]),
        ("UPDATE conversation SET messages = messages - 1 WHERE number = 2", vec![(ProjectionDrift, None)]),
        ("DELETE FROM gap WHERE seq = 9", vec![(ProjectionDrift, s(9))]),
        ("UPDATE gap SET cause = 'nothing' WHERE seq = 9", vec![(ProjectionDrift, s(9))]),
        ("UPDATE coverage SET from_at = 0 WHERE seq = 2", vec![(ProjectionDrift, s(2))]),
        ("INSERT INTO participant SELECT 1, 'sip:z@contoso.com', NULL, NULL, NULL, 3", vec![(ProjectionDrift, s(3))]),
        ("INSERT INTO dedupe VALUES (1, x'0102', 30)", vec![(ProjectionDrift, s(30))]),
        ("UPDATE checkpoint SET text = replace(text, 'greffier', 'greffyer') WHERE id = 2", vec![(BadSignature, None)]),
        ("UPDATE checkpoint SET size = 29 WHERE id = 2", vec![(BadSignature, None)]),
        ("UPDATE checkpoint SET text = 'x' WHERE id = 2", vec![(BadSignature, None)]),
        ("DELETE FROM checkpoint WHERE id = 2", vec![(MissingRow, None)]),
        // An index that hides event 20 from its conversation's transcript.
        (
            "CREATE TEMP TABLE old AS SELECT sql FROM sqlite_schema WHERE name = 'event_by_conversation';
             DROP INDEX event_by_conversation;
             CREATE INDEX event_by_conversation ON event (conversation, second) WHERE conversation IS NOT NULL AND seq <> 20;
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = (SELECT sql FROM old) WHERE name = 'event_by_conversation'",
            vec![(Unreadable, None)],
        ),
    ] {
        finds(&good, sql, &expected);
    }
}

#[test]
fn a_planted_event_below_the_log_is_found() {
    let made = three_meetings();
    made.tamper(
        "INSERT INTO event (seq, connector, conversation, kind, source_time, recorded_at, envelope, content, leaf)
         SELECT 0, connector, conversation, kind, source_time, recorded_at, envelope, content, leaf FROM event WHERE seq = 5",
    );
    assert!(found(&made).contains(&(FindingKind::Reordered, None)));
}

#[test]
fn several_changes_are_all_found() {
    use FindingKind::*;
    let good = three_meetings();
    finds(
        &good,
        "UPDATE content SET canonical = CAST('{}' AS BLOB) WHERE seq = 5; UPDATE event SET recorded_at = 0 WHERE seq = 6;
         DELETE FROM event WHERE seq = 11; UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 7;
         UPDATE envelope SET body = x'00' WHERE id = 40",
        &[
            (ChangedContent, Some(5)),
            (ChangedHeader, Some(6)),
            (MissingRow, Some(11)),
            (ChangedNode, Some(29)),
            (ChangedEnvelope, Some(40)),
        ],
    );
}

#[test]
fn swapped_rows_are_reordered() {
    let swap = |a: u64, b: u64| {
        ["event", "content"]
            .map(|table| {
                format!(
                    "UPDATE {table} SET seq = 1000 WHERE seq = {a}; UPDATE {table} SET seq = {a} WHERE seq = {b};
                     UPDATE {table} SET seq = {b} WHERE seq = 1000;"
                )
            })
            .concat()
    };
    let good = three_meetings();
    for (a, b) in [(5, 6), (6, 7), (5, 20), (44, 45)] {
        finds(&good, &swap(a, b), &[(FindingKind::Reordered, Some(a)), (FindingKind::Reordered, Some(b))]);
    }
}

/// Removes everything from this seq on as if it had never been.
fn cut(made: &Made, from: u64) {
    made.tamper(&format!(
        "DELETE FROM event WHERE seq >= {from}; DELETE FROM content WHERE seq >= {from}; DELETE FROM dedupe WHERE seq >= {from};
         DELETE FROM node WHERE ((idx + 1) << level) >= {from}; DELETE FROM checkpoint WHERE size >= {from};"
    ));
    rebuild(made);
}

fn rebuild(made: &Made) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = std::sync::Arc::new(greffier::clock::SystemClock);
        let archive = greffier::archive::Archive::open(made.path(), clock).unwrap();
        archive.rebuild_projections().await.unwrap();
        archive.close().await.unwrap();
    });
}

#[test]
fn a_cut_log_is_found_by_the_checkpoints_outside_and_by_what_is_left() {
    use FindingKind::*;
    let good = three_meetings();
    let made = copy(&good);
    cut(&made, 31);
    assert_eq!(found(&made), [(TruncatedLog, Some(31))]);
    // Without the file outside nothing is left that could tell.
    let file = made.path().join("checkpoints.txt");
    std::fs::remove_file(&file).unwrap();
    let (findings, report) = made.audit();
    assert_eq!(findings, []);
    assert!(report.remarks.iter().any(|remark| remark.contains("no checkpoint file")));
    // Traces in the file tell too.
    let made = copy(&good);
    std::fs::remove_file(made.path().join("checkpoints.txt")).unwrap();
    made.tamper("DELETE FROM event WHERE seq > 40");
    assert_eq!(found(&made), [(TruncatedLog, Some(41))]);
}

/// Rewrites the text of one event, with its commitment and leaf, and from `nodes` on the nodes above it.
fn rewrite(made: &Made, seq: u64, nodes: bool) {
    let reader = made.reader();
    let origin = reader.origin().unwrap();
    let row = reader.leaf(Seq(seq)).unwrap().unwrap();
    let canonical = String::from_utf8(row.canonical.clone().unwrap()).unwrap().replace("end", "END").into_bytes();
    assert_ne!(Some(&canonical), row.canonical.as_ref());
    let content = commitment(&row.salt.unwrap(), &canonical);
    let leaf = greffier::integrity::leaf::Header { content, ..row.header(&origin) }.leaf_hash();
    let leaves: Vec<Hash> = reader
        .leaves(Seq(1), usize::MAX)
        .unwrap()
        .iter()
        .map(|row| if row.seq == seq { leaf } else { row.leaf })
        .collect();
    drop(reader);
    made.tamper("");
    let conn = Connection::open(made.path().join("archive.db")).unwrap();
    conn.execute("UPDATE content SET canonical = ?2 WHERE seq = ?1", params![seq as i64, canonical]).unwrap();
    conn.execute("UPDATE event SET content = ?2, leaf = ?3 WHERE seq = ?1", params![seq as i64, content, leaf])
        .unwrap();
    if nodes {
        let mut frontier = Frontier::empty();
        for leaf in leaves {
            frontier.append(leaf, &mut |level, index, hash| {
                conn.execute(
                    "UPDATE node SET hash = ?3 WHERE level = ?1 AND idx = ?2",
                    params![level, index as i64, hash],
                )
                .unwrap();
            });
        }
    }
}

#[test]
fn a_rewritten_event_is_found_by_the_tree_or_by_the_checkpoints() {
    use FindingKind::*;
    let good = three_meetings();
    let made = copy(&good);
    rewrite(&made, 28, false);
    assert_eq!(found(&made), [(ChangedHeader, Some(27))]);
    // With all nodes above it: the first checkpoint that covers it is another log's. It is after the one over 15 events.
    let made = copy(&good);
    rewrite(&made, 28, true);
    assert_eq!(found(&made), [(ForkedLog, Some(16))]);
    // Also when the archive's own checkpoints are taken away: the file outside remembers.
    made.tamper("DELETE FROM checkpoint");
    assert_eq!(found(&made), [(ForkedLog, Some(16))]);
}

#[test]
fn a_checkpoint_file_is_checked_line_by_line() {
    use FindingKind::*;
    let good = three_meetings();
    let made = copy(&good);
    let file = made.path().join("checkpoints.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\n15\n", "\n14\n", 1)).unwrap();
    assert_eq!(found(&made), [(BadSignature, None)]);
    // Signed by somebody else.
    let made = copy(&good);
    let origin = made.reader().origin().unwrap();
    let other = SigningKey::from_seed(&origin, &[1; 32]).unwrap();
    let statement = Statement { origin, size: 45, root: [1; 32], time: None };
    append_to_file(&made.path().join("checkpoints.txt"), &other.sign(&statement)).unwrap();
    assert_eq!(found(&made), [(BadSignature, None)]);
    // Signed by the right key, but of another log of that size.
    let made = copy(&good);
    let key = SigningKey::load_or_create(&made.path().join("keys"), &statement.origin).unwrap();
    append_to_file(&made.path().join("checkpoints.txt"), &key.sign(&statement)).unwrap();
    assert_eq!(found(&made), [(ForkedLog, Some(46))]);
    // Half a note from a power cut is no damage, as long as the archive or the file holds the whole one.
    let made = copy(&good);
    let file = made.path().join("checkpoints.txt");
    let whole = made.reader().latest_checkpoint().unwrap().unwrap().text;
    std::fs::write(&file, &text.as_bytes()[..text.len() - 40]).unwrap();
    let (findings, report) = made.audit();
    assert_eq!(findings, []);
    assert!(report.remarks.iter().any(|remark| remark.contains("half a note")), "{:?}", report.remarks);
    append_to_file(&file, &whole).unwrap();
    let (findings, report) = made.audit();
    assert_eq!((findings, report.outside_checkpoints), (vec![], 3));
    assert_eq!(report.remarks, [""; 0]);
    // Half of a note that nobody knows is.
    std::fs::write(&file, format!("{text}\ngreffier/other\n5\n")).unwrap();
    assert_eq!(found(&made), [(BadSignature, None)]);
}

/// A backup taken while the recorder signs is whole, and verifies.
#[test]
fn a_backup_verifies_and_so_does_the_archive_that_goes_on_from_it() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("copy");
    greffier::archive::backup(made.path(), &target, &mut |_| {}).unwrap();
    let mut findings = Vec::new();
    let audit = |findings: &mut Vec<Finding>| {
        greffier::archive::audit::audit(&target, &Default::default(), &mut |f| findings.push(f), &mut |_, _| {})
            .unwrap()
    };
    let report = audit(&mut findings);
    assert_eq!((findings.len(), report.checkpoints, report.outside_checkpoints), (0, 3, 3), "{findings:?}");
    assert_eq!(report.remarks, [""; 0]);
    assert!(!target.join("keys/checkpoint.key").exists());
    // It goes on with a key of its own; what the old key signed still counts.
    append(&target, vec![meeting(4)]);
    let report = audit(&mut findings);
    assert_eq!((findings.len(), report.events, report.checkpoints), (0, 60, 4), "{findings:?}");
    // The database alone can be audited too; what is not there is said.
    let single = out.path().join("copy.db");
    greffier::archive::backup(made.path(), &single, &mut |_| {}).unwrap();
    let report =
        greffier::archive::audit::audit(&single, &Default::default(), &mut |f| findings.push(f), &mut |_, _| {})
            .unwrap();
    assert_eq!((findings.len(), report.remarks.len()), (0, 2), "{:?}", report.remarks);
}

/// Audits and backups see one moment each, whatever is written and signed meanwhile.
#[test]
fn an_archive_that_is_being_written_is_good_at_every_moment() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), vec![meeting(1)]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let clock = std::sync::Arc::new(greffier::clock::SystemClock);
                let archive = greffier::archive::Archive::open(dir.path(), clock).unwrap();
                let key = SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap();
                let key = std::sync::Arc::new(key);
                for n in 2..=250u8 {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    archive.sink().append(&source(), meeting(n)).await.unwrap();
                    archive.checkpoint(key.clone()).await.unwrap().unwrap();
                }
                archive.close().await.unwrap();
            });
        });
        let mut findings = Vec::new();
        let mut audit = |path: &std::path::Path| {
            greffier::archive::audit::audit(path, &Default::default(), &mut |f| findings.push(f), &mut |_, _| {})
                .unwrap()
        };
        let mut sizes = Vec::new();
        // Enough rounds to meet writes, and more on a machine where the writer is slow to start.
        for n in 0..200 {
            if n >= 4 && sizes.first() < sizes.last() {
                break;
            }
            sizes.push(audit(dir.path()).events);
            let target = dir.path().join(format!("copy{n}"));
            greffier::archive::backup(dir.path(), &target, &mut |_| {}).unwrap();
            sizes.push(audit(&target).events);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        writer.join().unwrap();
        assert_eq!(findings, []);
        assert!(sizes.is_sorted() && sizes.first() < sizes.last(), "{sizes:?}");
    });
}

#[test]
fn unreadable_pages_are_found_and_the_audit_goes_on() {
    let batches = (1..=120).map(meeting).collect();
    let good = archive_of(batches);
    let file = good.path().join("archive.db");
    let conn = Connection::open(&file).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    // Without the dbstat table: find pages by what is in them.
    drop(conn);
    let bytes = std::fs::read(&file).unwrap();
    let of_event = |needle: &[u8]| {
        let times = |page: &[u8]| page.windows(needle.len()).filter(|w| *w == needle).count();
        // A leaf of a table, and not of the table that holds the schema's text.
        bytes
            .chunks(4096)
            .position(|page| page[0] == 13 && times(page) > 2 && !page.windows(6).any(|w| w == b"CREATE"))
            .unwrap()
    };
    let mut kinds = std::collections::BTreeSet::new();
    for needle in [b"message.sent".as_slice(), "two\\nlines".as_bytes(), b"GET https://pool".as_slice()] {
        let made = copy(&good);
        let mut bytes = bytes.clone();
        let page = of_event(needle);
        // A page type that does not exist.
        bytes[page * 4096] = 0x77;
        std::fs::write(made.path().join("archive.db"), &bytes).unwrap();
        let (findings, report) = made.audit();
        println!("{} {findings:#?} {:?}", String::from_utf8_lossy(needle), report.remarks);
        assert!(findings.iter().any(|f| f.kind == FindingKind::Unreadable), "{findings:?}");
        assert!(report.events > 1_600, "the audit went on: {}", report.events);
        kinds.extend(report.findings.keys().copied());
    }
    assert!(!kinds.contains(&FindingKind::ChangedContent) && !kinds.contains(&FindingKind::ForkedLog), "{kinds:?}");
}
