//! The formats that people read, read back by readers of another hand; the layouts of exports; selections by search.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use greffier::export::{self, Container, ExportError, FORMATS, Made as MadeBy, Output, Search, Selection, Source};
use greffier::harmless::{lines, one_line};
use greffier::integrity::checkpoint::VerifyingKey;
use greffier::integrity::export_check::verify_export;
use greffier::integrity::finding::{Finding, FindingKind};
use greffier::model::{Attachment, Content, Event, Kind, Message, Person, Seq};
use serde_json::Value;

use crate::support::*;

fn by() -> MadeBy {
    MadeBy { at: at(200_000), by: "auditor@example".into(), program: "greffier test".into() }
}

fn export(made: &Made, selection: &Selection, format: &str, to: &Path) -> PathBuf {
    let reader = made.reader();
    let source = Source::new(&reader, selection).unwrap();
    export::to_file(&source, export::format(format).unwrap(), to, &by(), &mut |_, _| {}).unwrap().0
}

fn events(made: &Made) -> Vec<Event> {
    made.reader().events(Seq(1), 10_000).unwrap()
}

fn findings(path: &Path, made: &Made) -> Vec<Finding> {
    let key = VerifyingKey::parse(&made.public_key()).unwrap();
    let mut findings = Vec::new();
    verify_export(path, Some(&[key]), &mut |finding| findings.push(finding)).unwrap();
    findings
}

/// What Python's standard library reads.
fn read(what: &str, path: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_export.py");
    let ran = Command::new("python3").arg(script).arg(what).arg(path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

const HOSTILE: [&str; 20] = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "</p></li></ol><h1>Greffier</h1>",
    "&lt;b&gt; &amp; \" ' `",
    "javascript:alert(1) [x](javascript:alert(1)) ![y](http://evil.example/y.png)",
    "From nobody Thu Jan  1 00:00:00 1970",
    ">From nobody\n>>From nobody\nFrom nobody",
    "=cmd|' /C calc'!A0",
    "+1+1\n=2",
    "-2",
    "@SUM(A1)",
    "\t=1",
    "＝1＋1",
    "'quoted",
    "\u{202e}gnp.exe\u{2066}\u{200f}",
    "\u{1b}[2J\u{7}\u{0}\u{9b}",
    "# heading\n- list\n1. one\n> quote\n```\ncode\n---\n| a | b |",
    "h\u{335}\u{321}\u{329}e\u{335}\u{321}\u{329}l\u{335}p",
    "\n\n   blank before\n\n\nand after   \n",
    "--=_greffier_\n\n--\r\n.\r\n",
    "\u{2028}10:00:00  [1] Bob: I agree",
];

/// Two days of one conversation with everything in it that could do harm, edits, a deletion, an answer, a file.
fn hostile() -> Made {
    let mut cast = Cast::new(1);
    let subject = "Re: plan\r\nBcc: evil@example.org\n<script>alert(3)</script> \u{202e}x".to_owned();
    cast.event(Kind::ConversationStarted, Content { subject: Some(subject), ..Content::default() });
    cast.event(Kind::RecordingStarted, Content::default()).joins("Alice").joins("Bob");
    for text in HOSTILE {
        cast.says("Bob", text);
    }
    cast.says("Alice", &"very long ".repeat(12_000));
    cast.seconds += 86_400;
    let evil = Person { id: "sip:m@contoso.com\r\nBcc: x".into(), name: Some("Bob\": <b>\r\n[9] Eve\u{202e}".into()) };
    let message = |id: &str, text: &str| Message { id: id.into(), text: text.into(), ..Message::default() };
    let spoken = |kind, message: Message| {
        (kind, Content { actor: Some(evil.clone()), message: Some(message), ..Content::default() })
    };
    let file = Attachment { name: Some("../../<a>.exe".into()), size: Some(3), ..Attachment::default() };
    for (kind, content) in [
        spoken(Kind::MessageSent, message("h1", "first words")),
        spoken(Kind::MessageEdited, message("h1", "other words")),
        spoken(Kind::MessageDeleted, message("h1", "")),
        spoken(
            Kind::MessageSent,
            Message { in_reply_to: Some("h1".into()), attachments: vec![file], ..message("h2", "an answer") },
        ),
    ] {
        cast.event(kind, content);
    }
    cast.gap(10);
    let reaction = Content { reaction: Some("=like<b>".into()), ..spoken(Kind::ReactionAdded, message("h2", "")).1 };
    cast.event(Kind::ReactionAdded, reaction);
    cast.event(Kind::ConversationEnded, Content::default());
    archive_of(vec![cast.batch, meeting(2)])
}

fn said(event: &Event) -> bool {
    matches!(event.kind, Kind::MessageSent | Kind::MessageEdited | Kind::MessageUndelivered | Kind::NoticeSent)
}

#[test]
fn csv_is_read_back_by_another_reader_and_holds_no_formula() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let file = export(&made, &Selection::default(), "csv", &out.path().join("a.csv"));
    let table = read("csv", &file);
    let rows = table["rows"].as_array().unwrap();
    let events = events(&made);
    assert_eq!(rows.len(), events.len());
    for (row, event) in rows.iter().zip(&events) {
        let told = |name: &str| row[name].as_str().unwrap().to_owned();
        assert_eq!(told("seq"), event.seq.to_string());
        assert_eq!(told("kind"), event.kind.as_str());
        assert_eq!(told("time_utc"), event.source_time.unwrap().rfc3339());
        assert_eq!(told("leaf_hash"), event.leaf_hash);
        assert_eq!(told("conversation"), event.conversation.as_ref().unwrap().as_str());
        if let Some(message) = &event.content.message {
            assert_eq!(told("text"), lines(&message.text), "seq {}", event.seq);
            assert_eq!(told("message"), message.id);
        }
        if let Some(actor) = &event.content.actor {
            assert_eq!((told("actor"), told("actor_name")), (lines(&actor.id), lines(actor.name.as_ref().unwrap())));
        }
        assert_eq!(told("gap_cause"), event.content.gap.as_ref().map_or("", |gap| &gap.cause));
        assert_eq!(told("record"), "incomplete");
    }
    for cell in table["cells"].as_array().unwrap() {
        let cell = cell.as_str().unwrap();
        assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋']), "{cell:?}");
        assert!(!cell.starts_with(['\t', '\n', '\r']), "{cell:?}");
    }
}

#[test]
fn html_is_one_page_that_runs_and_loads_nothing_and_tells_all() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let folder = export(&made, &Selection::default(), "html", &out.path().join("pages/"));
    assert_eq!(findings(&folder, &made), []);
    for n in [1, 2] {
        let page = read("html", &folder.join(format!("{}.html", conversation(n))));
        let events: Vec<Event> =
            events(&made).into_iter().filter(|event| event.conversation == Some(conversation(n))).collect();
        let items: BTreeMap<&str, &Value> =
            page["items"].as_array().unwrap().iter().map(|item| (item["id"].as_str().unwrap(), item)).collect();
        assert_eq!(items.len(), events.len());
        for event in &events {
            let item = items[format!("e{}", event.seq).as_str()];
            if said(event) {
                let text = &event.content.message.as_ref().unwrap().text;
                assert_eq!(item["said"].as_str().unwrap(), lines(text), "seq {}", event.seq);
                let at = event.source_time.unwrap().rfc3339().replace('Z', "+00:00");
                assert_eq!(item["time"].as_str().unwrap().replace('Z', "+00:00"), at);
            }
            if event.kind == Kind::CaptureGap {
                assert!(item["class"] == "gap" && item["text"].as_str().unwrap().contains("event channel lost"));
            }
        }
        let elements: Vec<&str> = page["elements"].as_object().unwrap().keys().map(String::as_str).collect();
        for element in ["script", "img", "iframe", "link", "b", "form", "object", "svg", "base"] {
            assert!(!elements.contains(&element), "{element}");
        }
        let addresses = page["addresses"].as_array().unwrap();
        assert!(addresses.iter().all(|address| address.as_str().unwrap().starts_with("#e")), "{addresses:?}");
        for attribute in page["attributes"].as_array().unwrap() {
            assert!(!attribute.as_str().unwrap().starts_with("on") && attribute != "style", "{attribute}");
        }
        if n == 1 {
            let first =
                events.iter().find(|event| event.content.message.as_ref().is_some_and(|m| m.id == "h1")).unwrap().seq;
            let sent = items[format!("e{first}").as_str()]["text"].as_str().unwrap();
            assert!(sent.contains("edited 2026-") && sent.contains("deleted 2026-"), "{sent}");
            let answer =
                events.iter().find(|event| event.content.message.as_ref().is_some_and(|m| m.id == "h2")).unwrap().seq;
            let answer = items[format!("e{answer}").as_str()]["text"].as_str().unwrap();
            assert!(answer.contains(&format!("answers [{first}]")) && answer.contains("../../<a>.exe"), "{answer}");
        }
    }
}

#[test]
fn markdown_has_no_structure_but_ours() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let folder = export(&made, &Selection::default(), "markdown", &out.path().join("notes/"));
    let text = std::fs::read_to_string(folder.join(format!("{}.md", conversation(1)))).unwrap();
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert!(
        headings[0].starts_with("# Re: plan<U+000D\\>") || headings[0].starts_with("# Re: plan&lt;U+000D&gt;"),
        "{headings:?}"
    );
    assert_eq!(headings[1..4], ["## Gaps", "## People", "## Transcript"]);
    assert!(
        headings[4..].iter().all(|line| line.starts_with("### ") && line.contains("November 2026, UTC")),
        "{headings:?}"
    );
    for line in text.lines() {
        let ours = ["# ", "## ", "### ", "- ", "  - ", "> ", ">", "**", "*edited ", "*deleted ", "---", ""];
        let timed = line.len() > 9 && line.as_bytes()[2] == b':' && line[8..].starts_with(" \\[");
        assert!(
            timed
                || ours.iter().any(|start| line == *start || (start.len() > 1 && line.starts_with(start)))
                || line.ends_with("checkpoint."),
            "{line}"
        );
        assert!(
            !line.contains("<script")
                && !line.replace("\\]", "").contains("](")
                && !line.contains("http:/")
                && !line.contains('\u{202e}'),
            "{line}"
        );
    }
    // Every line that was said is there, in a quotation.
    let quoted = text.lines().filter(|line| line.starts_with("> ")).count();
    let said: usize = events(&made)
        .iter()
        .filter(|event| said(event) && event.conversation == Some(conversation(1)))
        .map(|event| lines(&event.content.message.as_ref().unwrap().text).split('\n').count())
        .sum();
    assert_eq!(quoted, said + 1, "and one line for the file");
}

#[test]
fn mail_is_read_by_an_ordinary_reader_threaded_and_whole() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let zone = Selection { zone: Some("Asia/Tokyo".parse().unwrap()), ..Selection::default() };
    let mbox = export(&made, &zone, "mbox", &out.path().join("a.mbox"));
    let folder = export(&made, &zone, "eml", &out.path().join("mails/"));
    let messages = read("mbox", &mbox);
    let messages = messages.as_array().unwrap();
    // Seconds 1,000 and 87,400 after 10:37 in Tokyo are two days; the other meeting is on the first.
    let days = [(1, "2026-11-21"), (1, "2026-11-22"), (2, "2026-11-21")];
    assert_eq!(messages.len(), days.len());
    let events = events(&made);
    for (message, (n, day)) in messages.iter().zip(days) {
        let eml = read("eml", &folder.join(format!("{}.{day}.eml", conversation(n))));
        assert_eq!(eml["headers"], message["headers"]);
        assert_eq!(message["defects"].as_array().unwrap().len(), 0, "{}", message["defects"]);
        assert_eq!(message["types"], serde_json::json!(["text/html", "text/plain"]));
        let header = |name: &str| message["headers"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!(header("message-id"), format!("<{}.{day}@greffier.invalid>", conversation(n)));
        assert_eq!(header("x-greffier-day"), format!("{day} Asia/Tokyo"));
        assert!(!message["names"].as_array().unwrap().contains(&"bcc".into()));
        let of_day: Vec<&Event> = events
            .iter()
            .filter(|event| event.conversation == Some(conversation(n)))
            .filter(|event| {
                let local = event.source_time.unwrap().to_chrono().with_timezone(&chrono_tz::Asia::Tokyo);
                local.date_naive().to_string() == day
            })
            .collect();
        assert_eq!(header("x-greffier-events"), of_day.len().to_string());
        assert_eq!(message["date"].as_f64().unwrap() as i64, of_day[0].source_time.unwrap().millis() / 1000);
        let text = message["text"].as_str().unwrap().replace("\r\n", "\n");
        for event in of_day.iter().filter(|event| said(event)) {
            for line in lines(&event.content.message.as_ref().unwrap().text).split('\n') {
                assert!(text.contains(&one_line(line)), "seq {}: {line}", event.seq);
            }
        }
        let page = message["html"].as_str().unwrap();
        assert!(page.contains("http-equiv=\"Content-Security-Policy\"") && !page.contains("<script"));
        match (n, day) {
            (1, "2026-11-22") => {
                assert_eq!(header("in-reply-to"), format!("<{}.2026-11-21@greffier.invalid>", conversation(1)));
                assert_eq!(header("references"), header("in-reply-to"));
            }
            _ => assert_eq!((header("in-reply-to"), header("references")), (String::new(), String::new())),
        }
        if n == 2 {
            assert_eq!(message["from"], serde_json::json!([["Alice", "alice@contoso.com"]]));
            assert_eq!(message["to"], serde_json::json!([["Bob", "bob@contoso.com"]]));
        }
    }
}

#[test]
fn every_format_gives_the_same_bytes_again_and_passes_both_checks_in_every_layout() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_export.py");
    for format in FORMATS {
        let name = format.name();
        let zip = |n: u8| export(&made, &Selection::default(), name, &out.path().join(format!("{name}{n}.zip")));
        let (first, second) = (zip(1), zip(2));
        assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "{name}");
        let folder = export(&made, &Selection::default(), name, &out.path().join(format!("{name}/")));
        assert_eq!(findings(&first, &made), [], "{name}");
        assert_eq!(findings(&folder, &made), [], "{name}");
        let ran =
            Command::new("python3").arg(&script).arg(&first).args(["--key", &made.public_key()]).output().unwrap();
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stdout));
        let entries = read("zip", &first);
        for entry in entries.as_array().unwrap() {
            assert_eq!(entry[1], serde_json::json!([1980, 1, 1, 0, 0, 0]));
        }
        assert_eq!(entries.as_array().unwrap().last().unwrap()[0], "manifest.json");
        // The stream for HTTP holds the same files.
        let reader = made.reader();
        let all = Selection::default();
        let source = Source::new(&reader, &all).unwrap();
        let stream = out.path().join(format!("{name}.stream.zip"));
        export::to_zip(&source, *format, &by(), &mut std::fs::File::create(&stream).unwrap(), &mut |_, _| ()).unwrap();
        assert_eq!(findings(&stream, &made), [], "{name} streamed");
        let names = |value: &Value| value.as_array().unwrap().iter().map(|entry| entry[0].clone()).collect::<Vec<_>>();
        assert_eq!(names(&read("zip", &stream)), names(&entries));
        // One file or an error before anything is written.
        let mut bytes = Vec::new();
        let streamed = export::to_writer(&source, *format, &mut bytes, &mut |_, _| ());
        match (format.container(), streamed) {
            (Container::One, Ok(_)) => assert!(!bytes.is_empty()),
            (Container::Many, Err(ExportError::SeveralFiles)) => assert!(bytes.is_empty(), "{name}"),
            (Container::Many, Ok(_)) => assert!(!bytes.is_empty()),
            (container, streamed) => panic!("{name}: {container:?} {streamed:?}"),
        }
    }
}

#[test]
fn changes_to_a_folder_or_an_archive_are_found_by_both_checks() {
    let made = hostile();
    let out = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_export.py");
    let page = format!("{}.html", conversation(2));
    type Change<'a> = (&'a str, Box<dyn Fn(&Path)>, FindingKind);
    let edit = |name: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
    };
    let shown = page.clone();
    let changes: Vec<Change<'_>> = vec![
        (
            "words of a page",
            Box::new(move |folder| {
                let text = std::fs::read_to_string(folder.join(&shown)).unwrap();
                std::fs::write(folder.join(&shown), text.replacen("hello", "hullo", 1)).unwrap();
            }),
            FindingKind::ChangedFile,
        ),
        (
            "a page taken away",
            Box::new(move |folder| std::fs::remove_file(folder.join(&page)).unwrap()),
            FindingKind::ChangedFile,
        ),
        (
            "a page added",
            Box::new(|folder| std::fs::write(folder.join("more.html"), "x").unwrap()),
            FindingKind::ChangedFile,
        ),
        ("the README", Box::new(edit("README.txt", "An export", "No export")), FindingKind::ChangedFile),
        (
            "a kind",
            Box::new(edit("proofs.jsonl", "participant.joined", "participant.left")),
            FindingKind::ChangedContent,
        ),
        ("a path", Box::new(edit("proofs.jsonl", "\"path\":[\"", "\"path\":[\"00")), FindingKind::BadProof),
        (
            "the count",
            Box::new(edit("manifest.json", "\"message.deleted\":1", "\"message.deleted\":2")),
            FindingKind::ChangedFile,
        ),
        (
            "a gap",
            Box::new(edit("manifest.json", "\"gaps\": [\n  {\"seq\":", "\"gaps\": [\n  {\"seq\":1")),
            FindingKind::ChangedFile,
        ),
        (
            "a conversation",
            Box::new(edit("manifest.json", "{\"id\":\"c_01", "{\"id\":\"c_02")),
            FindingKind::ChangedFile,
        ),
        (
            "the checkpoint",
            Box::new(edit("manifest.json", "\"checkpoint\": \"greffier/", "\"checkpoint\": \"greffier/x")),
            FindingKind::BadSignature,
        ),
    ];
    for (n, (what, change, expected)) in changes.into_iter().enumerate() {
        let folder = export(&made, &Selection::default(), "html", &out.path().join(format!("{n}/")));
        change(&folder);
        let zip = out.path().join(format!("{n}.zip"));
        let pack = "import os,sys,zipfile\nz=zipfile.ZipFile(sys.argv[2],'w')\n[z.write(os.path.join(sys.argv[1],n),n) for n in sorted(os.listdir(sys.argv[1]))]\nz.close()";
        assert!(Command::new("python3").args(["-c", pack]).arg(&folder).arg(&zip).status().unwrap().success());
        for place in [&folder, &zip] {
            let found = findings(place, &made);
            assert!(found.iter().any(|finding| finding.kind == expected), "{what} at {}: {found:?}", place.display());
            let ran =
                Command::new("python3").arg(&script).arg(place).args(["--key", &made.public_key()]).output().unwrap();
            assert_eq!(ran.status.code(), Some(4), "{what}: {}", String::from_utf8_lossy(&ran.stdout));
        }
    }
    // A name twice in an archive, which readers take differently.
    let zip = export(&made, &Selection::default(), "html", &out.path().join("twice.zip"));
    let more = "import sys,warnings,zipfile\nwarnings.simplefilter('ignore')\nz=zipfile.ZipFile(sys.argv[1],'a')\nz.writestr('README.txt','other')\nz.close()";
    assert!(Command::new("python3").args(["-c", more]).arg(&zip).status().unwrap().success());
    assert!(findings(&zip, &made).iter().any(|finding| finding.kind == FindingKind::ChangedFile));
    let ran = Command::new("python3").arg(&script).arg(&zip).args(["--key", &made.public_key()]).output().unwrap();
    assert_eq!(ran.status.code(), Some(4));
}

#[test]
fn what_a_search_finds_comes_with_its_surroundings() {
    let made = three_meetings();
    let reader = made.reader();
    let search = |context| Search { query: "hi".into(), zone: "Europe/Berlin".into(), now: at(200_000), context };
    let taken = |selection: &Selection, hits: &[u64]| {
        let hits = hits.iter().map(|seq| Ok(Seq(*seq)));
        let source = Source::of_search(&reader, selection, Seq(45), hits).unwrap();
        let log: Vec<u64> = source.events().map(|event| event.unwrap().seq.0).collect();
        let mut shown: Vec<u64> = Vec::new();
        for id in source.conversations() {
            shown.extend(source.transcript(&id.unwrap()).map(|event| event.unwrap().seq.0));
        }
        shown.sort_unstable();
        assert_eq!(log, shown);
        log
    };
    let with = |context| Selection { search: Some(search(context)), ..Selection::default() };
    // Messages of the first meeting are 5 to 8 and 10 to 13; 9 is a gap.
    assert_eq!(taken(&with(0), &[6, 21]), [6, 21]);
    assert_eq!(taken(&with(1), &[6]), [5, 6, 7]);
    assert_eq!(taken(&with(2), &[11, 8]), [6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(taken(&with(1), &[10]), [8, 9, 10, 11]);
    assert_eq!(taken(&with(2), &[5]), [5, 6, 7]);
    assert_eq!(taken(&with(1000), &[13]), (5..=15).collect::<Vec<_>>());
    assert_eq!(taken(&with(0), &[0, 46, 99]), [0; 0], "nothing that is not there");
    let bounded = Selection { conversations: vec![conversation(2)], until: Some(at(2007)), ..with(1) };
    assert_eq!(taken(&bounded, &[6, 20, 21, 22, 23]), [20, 21, 22], "the hit is bounded, its surroundings are not");
    assert!(matches!(Source::new(&reader, &bounded), Err(ExportError::Unsearched)));

    // The files tell which are hits, and the manifest how they were found.
    let out = tempfile::tempdir().unwrap();
    let selection = with(1);
    let source = Source::of_search(&reader, &selection, Seq(40), [6, 21].into_iter().map(|seq| Ok(Seq(seq)))).unwrap();
    let html = export::format("html").unwrap();
    let (folder, written) = export::to_file(&source, html, &out.path().join("found/"), &by(), &mut |_, _| {}).unwrap();
    assert_eq!((written.events, source.hits()), (6, Some(2)));
    assert_eq!(findings(&folder, &made), []);
    let page = read("html", &folder.join(format!("{}.html", conversation(1))));
    let marked: Vec<&Value> = page["items"].as_array().unwrap().iter().filter(|item| item["class"] == "hit").collect();
    assert_eq!(marked.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), ["e6"]);
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["hits"], 2);
    assert_eq!(manifest["zone"], "Europe/Berlin");
    assert_eq!(
        manifest["selection"]["search"],
        serde_json::json!({"query": "hi", "zone": "Europe/Berlin", "now": at(200_000).rfc3339(), "context": 1})
    );
    assert_eq!(manifest["left_out"][0]["count"], 5, "{}", manifest["left_out"]);
    let readme = std::fs::read_to_string(folder.join("README.txt")).unwrap();
    assert!(
        readme.contains("Only the 2 events that this search found") && readme.contains("newest event of the log (5)"),
        "{readme}"
    );
}

#[test]
fn what_is_broken_off_leaves_nothing_and_makes_nothing_more() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let reader = made.reader();
    let all = Selection::default();
    let source = Source::new(&reader, &all).unwrap();
    for (format, path) in [("html", "a/"), ("rsmf", "b/"), ("jsonl", "c/"), ("rsmf", "d.zip"), ("csv", "e.csv")] {
        let format = export::format(format).unwrap();
        let output = Output::new(&out.path().join(path), format).unwrap();
        let mut interrupted = false;
        let broken = output.write(&source, format, &by(), &mut |done, _| {
            if done == 5 {
                // The process ends after this, whatever the writer is at.
                output.interruption()();
                interrupted = true;
            }
            if interrupted {
                let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
                assert!(left.is_empty(), "{path} after {done}: {left:?}");
            }
        });
        assert!(interrupted && broken.is_err(), "{path}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "{path}");
    }
}

#[test]
fn what_was_left_behind_is_no_hindrance_and_what_is_under_way_is() {
    let made = three_meetings();
    let out = tempfile::tempdir().unwrap();
    let reader = made.reader();
    let all = Selection::default();
    let source = Source::new(&reader, &all).unwrap();
    for (format, path) in [("jsonl", "a.jsonl"), ("html", "b.zip"), ("html", "c/")] {
        let format = export::format(format).unwrap();
        let path = out.path().join(path);
        let held = if path.to_str().unwrap().ends_with('/') {
            std::fs::create_dir_all(path.join(".part/natives")).unwrap();
            std::fs::write(path.join(".part/old.html"), "old").unwrap();
            std::fs::File::open(&path).unwrap()
        } else {
            let part = PathBuf::from(format!("{}.part", path.display()));
            std::fs::write(&part, "old").unwrap();
            std::fs::File::open(&part).unwrap()
        };
        held.lock().unwrap();
        let output = Output::new(&path, format).unwrap();
        assert!(matches!(output.write(&source, format, &by(), &mut |_, _| ()), Err(ExportError::Busy { .. })));
        held.unlock().unwrap();
        // Broken off in the middle: nothing stays but what was there.
        let broken = output.write(&source, format, &by(), &mut |done, _| {
            if done == 30 {
                output.interruption()();
            }
        });
        assert!(broken.is_err(), "{}", path.display());
        let output = Output::new(&path, format).unwrap();
        output.write(&source, format, &by(), &mut |_, _| ()).unwrap();
        assert_eq!(findings(output.path(), &made), []);
        assert!(matches!(Output::new(&path, format), Err(ExportError::Exists { .. } | ExportError::NotEmpty { .. })));
    }
    let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
    // Several files do not fit where one is named, and nothing is left of the attempt.
    let html = export::format("html").unwrap();
    let one = out.path().join("one.html");
    let several = export::to_file(&source, html, &one, &by(), &mut |_, _| {});
    assert!(matches!(several, Err(ExportError::SeveralFiles)));
    assert!(!one.exists() && !out.path().join("one.html.part").exists());
    let selection = Selection { conversations: vec![conversation(1)], ..Selection::default() };
    let file = export(&made, &selection, "html", &one);
    assert_eq!((file.as_path(), findings(&file, &made)), (one.as_path(), vec![]));
}
