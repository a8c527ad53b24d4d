//! Exports: what is in them, that a stranger can check them, and that no change gets past the check.

use std::path::{Path, PathBuf};

use greffier::export::{self, ExportError, Made as MadeBy, Selection, Source};
use greffier::integrity::checkpoint::VerifyingKey;
use greffier::integrity::export_check::verify_export;
use greffier::integrity::finding::{Finding, FindingKind, Report};
use greffier::integrity::hex;
use greffier::model::{Event, Kind};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::*;

fn by() -> MadeBy {
    MadeBy { at: at(200_000), by: "auditor@example".into(), program: "greffier test".into() }
}

fn export(made: &Made, selection: &Selection, format: &str, to: &Path) -> PathBuf {
    let reader = made.reader();
    let source = Source::new(&reader, selection).unwrap();
    let format = export::format(format).unwrap();
    export::to_file(&source, format, to, &by(), &mut |_, _| {}).unwrap().0
}

fn bytes_of(made: &Made, selection: &Selection, format: &str) -> String {
    let reader = made.reader();
    let source = Source::new(&reader, selection).unwrap();
    let mut out = Vec::new();
    export::to_writer(&source, export::format(format).unwrap(), &mut out, &mut |_, _| {}).unwrap();
    String::from_utf8(out).unwrap()
}

fn seqs(jsonl: &str) -> Vec<u64> {
    jsonl.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().seq.0).collect()
}

fn check(file: &Path, key: Option<&str>) -> (Vec<Finding>, Report) {
    let key = key.map(|key| VerifyingKey::parse(key).unwrap());
    let mut findings = Vec::new();
    let report = verify_export(file, key.as_ref().map(std::slice::from_ref), &mut |f| findings.push(f)).unwrap();
    (findings, report)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

#[test]
fn the_whole_log_is_exported_and_checked_by_us_and_by_a_stranger() {
    let mut none = Cast::new(0);
    none.event(Kind::PlatformEvent, Default::default());
    let made = archive_of(vec![meeting(1), none.batch, meeting(2)]);
    let out = tempfile::tempdir().unwrap();
    let since = Selection { since: Some(greffier::model::Timestamp(0)), ..Selection::default() };
    for (selection, name) in [(&Selection::default(), "a.jsonl"), (&since, "b.jsonl")] {
        let file = export(&made, selection, "jsonl", &out.path().join(name));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(seqs(&text), (1..=31).collect::<Vec<_>>());
        assert_eq!(text, bytes_of(&made, selection, "jsonl"));
        let key = made.public_key();
        let (findings, report) = check(&file, Some(&key));
        assert_eq!((findings, report.events, report.checkpoints), (vec![], 31, 1));
        assert_eq!(report.remarks, [""; 0]);
        let (status, said) = python(&[file.to_str().unwrap(), "--key", &key]);
        assert_eq!((status, said.as_str()), (0, "good\n"));
        let (status, said) = python(&[file.to_str().unwrap()]);
        assert!(status == 0 && said.contains("taken from the manifest"), "{said}");
        let names = std::fs::read_dir(out.path()).unwrap().count();
        assert!(names.is_multiple_of(4), "four files and nothing else");
    }
}

#[test]
fn the_same_selection_gives_the_same_bytes_but_for_who_made_it() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(out.path().join("a")).unwrap();
    std::fs::create_dir_all(out.path().join("b")).unwrap();
    let a = export(&made, &Selection::default(), "jsonl", &out.path().join("a"));
    let b = export(&made, &Selection::default(), "jsonl", &out.path().join("b"));
    assert_eq!(a, out.path().join("a/export.jsonl"));
    for suffix in ["", ".proofs.jsonl", ".README.txt", ".manifest.json"] {
        assert_eq!(std::fs::read(with_suffix(&a, suffix)).unwrap(), std::fs::read(with_suffix(&b, suffix)).unwrap());
    }
    let manifest = std::fs::read_to_string(with_suffix(&a, ".manifest.json")).unwrap();
    let other = MadeBy { at: at(1), by: "b".into(), program: "p".into() };
    let reader = made.reader();
    let source_selection = Selection::default();
    let source = Source::new(&reader, &source_selection).unwrap();
    std::fs::create_dir(out.path().join("c")).unwrap();
    let jsonl = export::format("jsonl").unwrap();
    let (c, _) = export::to_file(&source, jsonl, &out.path().join("c"), &other, &mut |_, _| {}).unwrap();
    let again = std::fs::read_to_string(with_suffix(&c, ".manifest.json")).unwrap();
    let differing: Vec<_> = manifest.lines().zip(again.lines()).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    assert!(matches!(differing[..], [line] if line.starts_with(" \"made\"")), "{differing:?}");
}

#[test]
fn selections_pick_what_they_say() {
    let made = three_meetings();
    let one = Selection { conversations: vec![conversation(2)], ..Selection::default() };
    assert_eq!(seqs(&bytes_of(&made, &one, "jsonl")), (16..=30).collect::<Vec<_>>());
    let two =
        Selection { conversations: vec![conversation(3), conversation(1), conversation(3)], ..Selection::default() };
    assert_eq!(seqs(&bytes_of(&made, &two, "jsonl")), (1..=15).chain(31..=45).collect::<Vec<_>>());
    let times = Selection { since: Some(at(1003)), until: Some(at(1006)), ..Selection::default() };
    assert_eq!(seqs(&bytes_of(&made, &times, "jsonl")), [3, 4, 5]);
    let both = Selection { conversations: vec![conversation(2)], ..times.clone() };
    assert_eq!(seqs(&bytes_of(&made, &both, "jsonl")), [0; 0]);
    let alice = Selection { participant: Some("ALICE".into()), ..times.clone() };
    assert_eq!(seqs(&bytes_of(&made, &alice, "jsonl")), [3, 4, 5]);
    let nobody = Selection { participant: Some("carol".into()), ..Selection::default() };
    assert_eq!(seqs(&bytes_of(&made, &nobody, "jsonl")), [0; 0]);
    let other = Selection { connector: Some("other".into()), ..Selection::default() };
    assert_eq!(seqs(&bytes_of(&made, &other, "jsonl")), [0; 0]);
    let reader = made.reader();
    let unknown = Selection { conversations: vec![conversation(9)], ..Selection::default() };
    assert!(matches!(Source::new(&reader, &unknown), Err(ExportError::UnknownConversation { .. })));
    // A part of the log can be checked too.
    let out = tempfile::tempdir().unwrap();
    let file = export(&made, &one, "jsonl", &out.path().join("one.jsonl"));
    assert_eq!(check(&file, Some(&made.public_key())).0, []);
    assert_eq!(python(&[file.to_str().unwrap(), "--key", &made.public_key()]).0, 0);
    let empty = export(&made, &nobody, "jsonl", &out.path().join("empty.jsonl"));
    assert_eq!(check(&empty, Some(&made.public_key())).0, []);
    assert_eq!(python(&[empty.to_str().unwrap()]).0, 0);
}

#[test]
fn nothing_is_overwritten_and_nothing_half_made_is_left() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let selection = Selection::default();
    let reader = made.reader();
    let source = Source::new(&reader, &selection).unwrap();
    let jsonl = export::format("jsonl").unwrap();
    std::fs::write(out.path().join("a.jsonl.proofs.jsonl"), "mine").unwrap();
    let taken = export::to_file(&source, jsonl, &out.path().join("a.jsonl"), &by(), &mut |_, _| {});
    assert!(matches!(taken, Err(ExportError::Exists { path }) if path.ends_with("a.jsonl.proofs.jsonl")));
    let nowhere = export::to_file(&source, jsonl, &out.path().join("no/such/dir"), &by(), &mut |_, _| {});
    assert!(matches!(nowhere, Err(ExportError::Io { .. })));
    drop(reader);
    made.tamper("DELETE FROM node; UPDATE event SET kind = 'unheard.of' WHERE seq = 40");
    let reader = made.reader();
    let source = Source::new(&reader, &selection).unwrap();
    assert!(export::to_file(&source, jsonl, &out.path().join("b.jsonl"), &by(), &mut |_, _| {}).is_err());
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn events_newer_than_the_checkpoint_are_said_to_be() {
    let made = three_meetings();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = std::sync::Arc::new(greffier::clock::SystemClock);
        let archive = greffier::archive::Archive::open(made.path(), clock).unwrap();
        archive.sink().append(&source(), meeting(4)).await.unwrap();
        archive.close().await.unwrap();
    });
    let out = tempfile::tempdir().unwrap();
    let file = export(&made, &Selection::default(), "jsonl", &out.path().join("a.jsonl"));
    let (findings, report) = check(&file, Some(&made.public_key()));
    assert_eq!(findings, []);
    assert_eq!(report.remarks, ["15 events are newer than the checkpoint"]);
    let (status, said) = python(&[file.to_str().unwrap(), "--key", &made.public_key()]);
    assert_eq!((status, said.as_str()), (0, "note: 15 events are newer than the checkpoint\ngood\n"));
}

/// Changes the files of an export as a forger would who also puts hashes and counts of the manifest right.
fn forge(good: &Path, change: &dyn Fn(&mut String, &mut String, &mut Value)) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(good.file_name().unwrap());
    let read = |suffix: &str| std::fs::read_to_string(with_suffix(good, suffix)).unwrap();
    let (mut events, mut proofs) = (read(""), read(".proofs.jsonl"));
    let mut manifest: Value = serde_json::from_str(&read(".manifest.json")).unwrap();
    change(&mut events, &mut proofs, &mut manifest);
    manifest["events"] = events.lines().count().into();
    for (n, text) in [&events, &proofs].into_iter().enumerate() {
        manifest["files"][n]["sha256"] = hex(&Sha256::digest(text)).into();
        manifest["files"][n]["bytes"] = text.len().into();
    }
    std::fs::write(&file, events).unwrap();
    std::fs::write(with_suffix(&file, ".proofs.jsonl"), proofs).unwrap();
    std::fs::copy(with_suffix(good, ".README.txt"), with_suffix(&file, ".README.txt")).unwrap();
    std::fs::write(with_suffix(&file, ".manifest.json"), manifest.to_string()).unwrap();
    (dir, file)
}

/// Replaces in the n-th line (from 1).
fn in_line(text: &mut String, n: usize, from: &str, to: &str) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines[n - 1].contains(from), "{}", lines[n - 1]);
    lines[n - 1] = lines[n - 1].replacen(from, to, 1);
    *text = lines.join("\n") + "\n";
}

fn without_line(text: &mut String, n: usize) {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(n - 1);
    *text = lines.join("\n") + "\n";
}

fn swapped(text: &mut String, a: usize, b: usize) {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(a - 1, b - 1);
    *text = lines.join("\n") + "\n";
}

type Change = Box<dyn Fn(&mut String, &mut String, &mut Value)>;
/// What our check has to find, among consequences.
type Expected = Vec<(FindingKind, Option<u64>)>;

#[test]
fn no_forgery_gets_past_either_check() {
    use FindingKind::*;
    let made = three_meetings();
    let key = made.public_key();
    let out = tempfile::tempdir().unwrap();
    let good = export(&made, &Selection::default(), "jsonl", &out.path().join("good.jsonl"));
    // The text stands for what is done, then what our check has to find.
    let cases: Vec<(&str, Change, Expected)> = vec![
        ("nothing", Box::new(|_, _, _| {}), vec![]),
        ("text changed", Box::new(|e, _, _| in_line(e, 5, "hello", "hullo")), vec![(ChangedContent, Some(5))]),
        (
            "time changed",
            Box::new(|e, _, _| in_line(e, 5, "\"source_time\":\"2026-11-21T", "\"source_time\":\"2026-11-22T")),
            vec![(ChangedContent, Some(5))],
        ),
        (
            "time changed on both sides",
            Box::new(|e, p, _| {
                in_line(e, 5, ".000Z\",\"recorded", ".001Z\",\"recorded");
                let line: Value = serde_json::from_str(p.lines().nth(4).unwrap()).unwrap();
                let time = line["source_time"].as_i64().unwrap();
                in_line(p, 5, &time.to_string(), &(time + 1000).to_string());
            }),
            vec![(ChangedContent, Some(5))],
        ),
        ("sender changed", Box::new(|e, _, _| in_line(e, 5, "sip:alice", "sip:bob")), vec![(ChangedContent, Some(5))]),
        (
            "conversation changed",
            Box::new(|e, _, _| in_line(e, 5, conversation(1).as_str(), conversation(2).as_str())),
            vec![(ChangedContent, Some(5))],
        ),
        (
            "kind changed",
            Box::new(|e, _, _| in_line(e, 5, "message.sent", "message.edited")),
            vec![(ChangedContent, Some(5))],
        ),
        ("connector changed", Box::new(|e, _, _| in_line(e, 5, "\"sfb\"", "\"sfc\"")), vec![(ChangedContent, Some(5))]),
        (
            "member added",
            Box::new(|e, _, _| in_line(e, 5, "{\"v\":1", "{\"v\":1,\"extra\":1")),
            vec![(ChangedContent, Some(5))],
        ),
        (
            "member twice",
            Box::new(|e, _, _| in_line(e, 5, "\"text\":", "\"text\":\"no\",\"text\":")),
            vec![(ChangedContent, None)],
        ),
        (
            "number with a fraction",
            Box::new(|e, _, _| in_line(e, 5, "{\"v\":1", "{\"v\":1.0")),
            vec![(ChangedContent, None)],
        ),
        ("line removed from the export", Box::new(|e, _, _| without_line(e, 45)), vec![(MissingRow, None)]),
        (
            "line removed from all files",
            Box::new(|e, p, m| {
                without_line(e, 7);
                without_line(p, 7);
                m["kinds"]["message.sent"] = (m["kinds"]["message.sent"].as_u64().unwrap() - 1).into();
            }),
            vec![(ChangedFile, None)],
        ),
        (
            "lines swapped",
            Box::new(|e, p, _| {
                swapped(e, 6, 7);
                swapped(p, 6, 7);
            }),
            vec![(Reordered, Some(6))],
        ),
        (
            "line twice",
            Box::new(|e, p, _| {
                for text in [e, p] {
                    let line = text.lines().last().unwrap().to_owned() + "\n";
                    text.push_str(&line);
                }
            }),
            vec![(Reordered, Some(45)), (ChangedFile, None)],
        ),
        ("salt altered", Box::new(|_, p, _| in_line(p, 8, "\"salt\":\"", "\"salt\":\"00")), vec![(BadProof, Some(8))]),
        (
            "proof altered",
            Box::new(|_, p, _| {
                let line: Value = serde_json::from_str(p.lines().nth(8).unwrap()).unwrap();
                let hash = line["path"][2].as_str().unwrap().to_owned();
                in_line(p, 9, &hash, &"0".repeat(64));
            }),
            vec![(BadProof, Some(9))],
        ),
        (
            "path cut off",
            Box::new(|_, p, _| {
                let line = p.lines().nth(8).unwrap().to_owned();
                let at = line.find(",\"path\"").unwrap();
                in_line(p, 9, &line[at..], "}");
            }),
            vec![(BadProof, Some(9))],
        ),
        (
            "salt and content taken away",
            Box::new(|e, p, _| {
                let line: Value = serde_json::from_str(e.lines().nth(4).unwrap()).unwrap();
                let start = e.lines().nth(4).unwrap().find("\"actor\"").unwrap();
                let whole = e.lines().nth(4).unwrap().to_owned();
                in_line(e, 5, &whole[start..], &format!("\"leaf_hash\":{}}}", line["leaf_hash"]));
                let proof: Value = serde_json::from_str(p.lines().nth(4).unwrap()).unwrap();
                in_line(p, 5, &format!("\"salt\":{}", proof["salt"]), &format!("\"content\":\"{}\"", "0".repeat(64)));
            }),
            vec![(ChangedContent, Some(5))],
        ),
        (
            "checkpoint altered",
            Box::new(|_, _, m| {
                m["checkpoint"] = m["checkpoint"].as_str().unwrap().replace("\n45\n", "\n44\n").into();
                m["checkpoint_size"] = 44.into();
            }),
            vec![(BadSignature, None)],
        ),
        ("checkpoint of another log", Box::new(|_, _, m| m["origin"] = "greffier/other".into()), vec![]),
        (
            "checkpoint taken away",
            Box::new(|_, _, m| {
                m.as_object_mut().unwrap().remove("checkpoint");
            }),
            vec![(BadSignature, None)],
        ),
        ("log said to be shorter", Box::new(|_, _, m| m["log_size"] = 44.into()), vec![(ChangedFile, None)]),
        ("kinds miscounted", Box::new(|_, _, m| m["kinds"]["message.sent"] = 1.into()), vec![(ChangedFile, None)]),
        (
            "gap taken out of the manifest",
            Box::new(|_, _, m| {
                m["gaps"].as_array_mut().unwrap().remove(0);
            }),
            vec![(ChangedFile, None)],
        ),
    ];
    for (name, change, expected) in cases {
        let (_dir, file) = forge(&good, &*change);
        let (findings, _) = check(&file, Some(&key));
        let (status, said) = python(&[file.to_str().unwrap(), "--key", &key]);
        match name {
            "nothing" => assert!(findings.is_empty() && status == 0, "{findings:?} {said}"),
            // Every line is of another log then.
            "checkpoint of another log" => {
                assert!(findings.len() > 45 && status == 4, "{name}: {} {said}", findings.len());
            }
            _ => {
                let found: Vec<_> = findings.iter().map(|f| (f.kind, f.seq)).collect();
                assert!(expected.iter().all(|wanted| found.contains(wanted)), "{name}: {findings:?}");
                assert_eq!(status, 4, "{name}: {said}");
                assert!(said.contains("BAD  "), "{name}: {said}");
                assert!(!said.contains("Traceback"), "{name}: {said}");
            }
        }
    }
    // A manifest whose hashes were not put right is found by them.
    let (_dir, file) = forge(&good, &|_, _, _| {});
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("hello", "hullo", 1)).unwrap();
    let (findings, _) = check(&file, Some(&key));
    assert_eq!(findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [ChangedFile, ChangedContent]);
    assert_eq!(python(&[file.to_str().unwrap(), "--key", &key]).0, 4);
    // A forger who signs everything anew has to do it with another key.
    let other =
        greffier::integrity::checkpoint::SigningKey::from_seed(made.reader().origin().unwrap().as_str(), &[1; 32]);
    let other = other.unwrap().verifying_key().to_string();
    assert_eq!(check(&good, Some(&other)).0[0].kind, BadSignature);
    assert_eq!(python(&[good.to_str().unwrap(), "--key", &other]).0, 4);
}

#[test]
fn an_export_that_was_damaged_as_a_whole_is_altered_not_unreadable() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let found = |path: &Path| {
        let (findings, _) = check(path, None);
        assert!(findings.iter().any(|f| f.kind == FindingKind::ChangedFile), "{findings:?}");
    };
    // A ZIP archive: a flipped bit in each tenth of it, its end missing, something before it.
    let zip = export(&made, &Selection::default(), "text", &out.path().join("a.zip"));
    let good = std::fs::read(&zip).unwrap();
    assert_eq!(check(&zip, None).0, []);
    for tenth in 1..9 {
        let mut bad = good.clone();
        // Not in a header of a file, where a flag may go unnoticed because nobody reads it.
        let at = good.len() * tenth / 10;
        bad[at] ^= 0x10;
        std::fs::write(&zip, &bad).unwrap();
        match verify_export(&zip, None, &mut |_| {}) {
            Ok(_) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    for bad in [&good[..good.len() - 30], &good[..good.len() / 2], &[b"MZ", &good[..]].concat()[..100]] {
        std::fs::write(&zip, bad).unwrap();
        found(&zip);
    }
    // The file itself is gone; its manifest is gone, or is not one.
    let file = export(&made, &Selection::default(), "jsonl", &out.path().join("b.jsonl"));
    let manifest = with_suffix(&file, ".manifest.json");
    let told = std::fs::read(&manifest).unwrap();
    for bad in [&told[..told.len() / 2], b"\xff", b""] {
        std::fs::write(&manifest, bad).unwrap();
        found(&file);
    }
    std::fs::remove_file(&manifest).unwrap();
    found(&file);
    std::fs::write(&manifest, told).unwrap();
    std::fs::remove_file(&file).unwrap();
    found(&file);
    // What never was an export is not an altered one.
    std::fs::write(out.path().join("letter.txt"), "Dear Sir").unwrap();
    assert!(verify_export(&out.path().join("letter.txt"), None, &mut |_| {}).is_err());
    assert!(verify_export(&out.path().join("nothing"), None, &mut |_| {}).is_err());
}

#[test]
fn a_manifest_cannot_call_a_record_with_a_gap_complete() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    for format in ["jsonl", "text"] {
        let file = export(&made, &Selection::default(), format, &out.path().join(format!("a.{format}")));
        let manifest = with_suffix(&file, ".manifest.json");
        let told = std::fs::read_to_string(&manifest).unwrap();
        assert!(told.contains("\"coverage\":\"incomplete\""), "{told}");
        std::fs::write(&manifest, told.replace("\"coverage\":\"incomplete\"", "\"coverage\":\"complete\"")).unwrap();
        let (findings, _) = check(&file, Some(&made.public_key()));
        assert_eq!(findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::ChangedFile], "{format}");
        assert_eq!(python(&[file.to_str().unwrap(), "--key", &made.public_key()]).0, 4);
    }
}

#[test]
fn a_text_export_is_checked_as_a_whole() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let file = export(&made, &Selection::default(), "text", &out.path().join("a.txt"));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 4);
    assert_eq!(check(&file, Some(&made.public_key())).0, []);
    assert_eq!(python(&[file.to_str().unwrap(), "--key", &made.public_key()]).0, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("hello", "hullo", 1)).unwrap();
    assert_eq!(check(&file, Some(&made.public_key())).0[0].kind, FindingKind::ChangedFile);
    assert_eq!(python(&[file.to_str().unwrap(), "--key", &made.public_key()]).0, 4);
}

#[test]
fn a_transcript_is_readable_and_cannot_be_faked_from_inside() {
    let made = three_meetings();
    let one = Selection { conversations: vec![conversation(1)], ..Selection::default() };
    let text = bytes_of(&made, &one, "text");
    let mut shown = Vec::new();
    export::write_transcript(&made.reader(), &conversation(1), &mut shown, Default::default()).unwrap();
    assert_eq!(String::from_utf8(shown).unwrap(), text);
    insta::assert_snapshot!(text);
}
