//! Kept files in exports: they are what was kept, in every format and layout, and both verifiers see when they are not.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use greffier::archive::{Archive, Attachments, Layout};
use greffier::export::{self, FORMATS, Made as MadeBy, Output, Selection, Source};
use greffier::integrity::checkpoint::VerifyingKey;
use greffier::integrity::export_check::verify_export;
use greffier::integrity::finding::FindingKind;
use greffier::integrity::hex;
use greffier::model::{Attachment, Content, Kind, Message};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdac\xfc\xcf\xc0P\
\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";

/// Lines that mail and mailboxes would change if they were not encoded.
const TEXT: &[u8] = b"From here\n.\n..\r\n--greffier\r\n\xff\x00 no line end";

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn told(name: &str, media_type: &str, bytes: Option<&[u8]>) -> Attachment {
    Attachment {
        name: Some(name.into()),
        media_type: Some(media_type.into()),
        sha256: bytes.map(sha256),
        ..Attachment::default()
    }
}

/// A meeting in which a picture (twice), a text, a file that was not kept, and one that went since were sent.
fn with_files() -> Made {
    let mut cast = Cast::new(1);
    cast.event(Kind::ConversationStarted, Content::default());
    let attachments = vec![
        told("photo.png", "image/png", Some(PNG)),
        told("notes.html", "text/html\r\nX-Evil: 1", Some(TEXT)),
        told("secret.docx", "application/msword", None),
        told("again.png", "image/png", Some(PNG)),
        told("lost.pdf", "application/pdf", Some(b"lost")),
    ];
    let detail = json!({ "attachments_not_kept": [{ "name": "secret.docx", "reason": "Graph answered 403" }] });
    let message = Message { id: "m".into(), text: "files".into(), attachments, ..Message::default() };
    cast.event(
        Kind::MessageSent,
        Content { actor: Some(person("Alice")), message: Some(message), detail: Some(detail), ..Content::default() },
    );
    let made = archive_of(vec![cast.batch]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let archive = Archive::open(made.path(), std::sync::Arc::new(greffier::clock::SystemClock)).unwrap();
        for bytes in [PNG, TEXT] {
            archive.sink().keep(Bytes::from_static(bytes)).await.unwrap();
        }
        archive.close().await.unwrap();
    });
    made
}

fn by() -> MadeBy {
    MadeBy { at: at(200_000), by: "auditor@example".into(), program: "greffier test".into() }
}

fn export(made: &Made, format: &str, to: &Path) -> PathBuf {
    let (reader, all) = (made.reader(), Selection::default());
    let source = Source::new(&reader, &all).unwrap();
    export::to_file(&source, export::format(format).unwrap(), to, &by(), &mut |_, _| {}).unwrap().0
}

/// What both verifiers think of an export: whether it is good.
fn judged(path: &Path, made: &Made) -> (bool, bool) {
    let key = VerifyingKey::parse(&made.public_key()).unwrap();
    let mut findings = Vec::new();
    verify_export(path, Some(&[key]), &mut |finding| findings.push(finding)).unwrap();
    let kinds = [FindingKind::ChangedFile];
    assert!(findings.iter().all(|finding| kinds.contains(&finding.kind)), "{findings:?}");
    let (status, _) = python(&[path.to_str().unwrap(), "--key", &made.public_key()]);
    (findings.is_empty(), status == 0)
}

fn read(what: &str, path: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_export.py");
    let ran = Command::new("python3").arg(script).arg(what).arg(path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn manifest(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_format_has_the_bytes_and_says_what_it_has_not() {
    let made = with_files();
    let out = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let name = format.name();
        let zip = export(&made, name, &out.path().join(format!("{name}.zip")));
        let again = export(&made, name, &out.path().join(format!("{name}-again.zip")));
        assert!(std::fs::read(&zip).unwrap() == std::fs::read(&again).unwrap(), "{name}");
        assert_eq!(judged(&zip, &made), (true, true), "{name}");

        let mut archive = zip::ZipArchive::new(std::fs::File::open(&zip).unwrap()).unwrap();
        let mut manifest = String::new();
        archive.by_name("manifest.json").unwrap().read_to_string(&mut manifest).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let left = |what: &str| {
            manifest["left_out"].as_array().unwrap().iter().find(|told| told["what"] == what).map(|told| &told["count"])
        };
        assert_eq!(
            (left("attachment"), left("attachment that was lost")),
            (Some(&json!(1)), Some(&json!(1))),
            "{name}"
        );
        for bytes in [PNG, TEXT] {
            let listed = archive.by_name(&format!("attachments/{}", sha256(bytes)));
            match format.carries_files() {
                true => assert!(listed.is_err(), "{name}"),
                false => {
                    let mut found = Vec::new();
                    listed.unwrap().read_to_end(&mut found).unwrap();
                    assert!(found == bytes, "{name}");
                }
            }
        }
        assert!(archive.by_name(&format!("attachments/{}", sha256(b"lost"))).is_err());
    }
}

#[test]
fn mail_carries_files_as_attachments_and_an_ordinary_reader_gets_them_byte_by_byte() {
    let made = with_files();
    let out = tempfile::tempdir().unwrap();
    let mbox = read("mbox", &export(&made, "mbox", &out.path().join("a.mbox")));
    let folder = export(&made, "eml", &out.path().join("eml/"));
    let eml = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let eml = eml.filter(|path| path.extension().is_some_and(|end| end == "eml")).map(|path| read("eml", &path));
    for message in eml.chain(mbox.as_array().unwrap().iter().cloned()) {
        assert_eq!(message["defects"], json!([]));
        assert_eq!(
            message["attachments"],
            json!([
                ["attachment-2-1.png", "image/png", sha256(PNG)],
                ["attachment-2-2.html", "application/octet-stream", sha256(TEXT)],
                ["attachment-2-4.png", "image/png", sha256(PNG)],
            ])
        );
        assert!(!message["names"].as_array().unwrap().contains(&"x-evil".into()));
        assert!(message["text"].as_str().unwrap().contains("not kept: Graph answered 403"));
    }
}

#[test]
fn beside_one_file_stands_a_folder_and_both_checks_know_it() {
    let made = with_files();
    let out = tempfile::tempdir().unwrap();
    let file = export(&made, "jsonl", &out.path().join("case.jsonl"));
    let beside = out.path().join("case.jsonl.attachments");
    let names: Vec<_> = std::fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(judged(&file, &made), (true, true));
    let picture = beside.join(sha256(PNG));
    assert_eq!(std::fs::read(&picture).unwrap(), PNG);

    std::fs::write(&picture, TEXT).unwrap();
    assert_eq!(judged(&file, &made), (false, false));
    std::fs::remove_file(&picture).unwrap();
    assert_eq!(judged(&file, &made), (false, false));

    // Another file in its place, and a manifest that says so: its name gives it away.
    std::fs::write(&picture, TEXT).unwrap();
    let told = out.path().join("case.jsonl.manifest.json");
    let mut changed = manifest(&told);
    for entry in changed["files"].as_array_mut().unwrap() {
        if entry["sha256"] == json!(sha256(PNG)) {
            entry["sha256"] = json!(sha256(TEXT));
            entry["bytes"] = json!(TEXT.len());
        }
    }
    std::fs::write(&told, changed.to_string()).unwrap();
    assert_eq!(judged(&file, &made), (false, false));

    // Left out together with its entry: the event names it.
    std::fs::remove_file(&picture).unwrap();
    changed["files"].as_array_mut().unwrap().retain(|entry| !entry["name"].as_str().unwrap().ends_with(&sha256(PNG)));
    std::fs::write(&told, changed.to_string()).unwrap();
    assert_eq!(judged(&file, &made), (false, false));
    changed["left_out"].as_array_mut().unwrap().retain(|told| told["what"] != "attachment that was lost");
    std::fs::write(&told, changed.to_string()).unwrap();
    assert_eq!(judged(&file, &made), (false, false));
}

#[test]
fn a_file_that_was_changed_in_the_archive_is_not_exported() {
    let made = with_files();
    let kept = Attachments::of(&Layout::of(made.path()));
    std::fs::write(kept.path(&sha256(PNG)).unwrap(), [PNG, b"!"].concat()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let folder = export(&made, "html", &out.path().join("a/"));
    assert!(folder.join("attachments").join(sha256(TEXT)).exists());
    assert!(!folder.join("attachments").join(sha256(PNG)).exists());
    let left = manifest(&folder.join("manifest.json"))["left_out"].to_string();
    assert!(left.contains("attachment that was lost") && left.contains("\"count\":2"), "{left}");
    assert_eq!(judged(&folder, &made), (true, true));
    let relay = export(&made, "globalrelay", &out.path().join("b.zip"));
    assert_eq!(judged(&relay, &made), (true, true));
    let (findings, report) = made.audit();
    let kinds: Vec<_> = findings.iter().map(|finding| (finding.seq, finding.kind)).collect();
    assert_eq!(kinds, [(Some(2), FindingKind::ChangedAttachment), (Some(2), FindingKind::MissingAttachment)]);
    assert_eq!(report.attachments, 3);
}

#[test]
fn an_export_broken_off_leaves_no_folder_and_drafts_of_one_are_no_hindrance() {
    let made = with_files();
    let (reader, all) = (made.reader(), Selection::default());
    let source = Source::new(&reader, &all).unwrap();
    let out = tempfile::tempdir().unwrap();
    let (path, beside) = (out.path().join("x.csv"), out.path().join("x.csv.attachments"));
    let csv = export::format("csv").unwrap();

    let output = Output::new(&path, csv).unwrap();
    let broken = output.write(&source, csv, &by(), &mut |done, _| {
        if done == 1 {
            output.interruption()();
        }
    });
    assert!(broken.is_err());
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);

    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("half.part"), "half").unwrap();
    export::to_file(&source, csv, &path, &by(), &mut |_, _| {}).unwrap();
    assert!(!beside.join("half.part").exists() && beside.join(sha256(PNG)).exists());
    assert_eq!(judged(&path, &made), (true, true));

    // What is somebody's is not touched.
    let (other, theirs) = (out.path().join("y.csv"), out.path().join("y.csv.attachments"));
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("mine"), "mine").unwrap();
    assert!(export::to_file(&source, csv, &other, &by(), &mut |_, _| {}).is_err());
    assert_eq!(std::fs::read(theirs.join("mine")).unwrap(), b"mine");
}
