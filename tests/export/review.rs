//! The formats that review platforms and archives import, checked by Python and xmllint: RSMF, Actiance, Global Relay, EDRM,
//! DAT/OPT. The checks compare with a JSON Lines export of the same selection, which `tests/integrity` proves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use greffier::archive::{Archive, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Origin, Source as Connector};
use greffier::clock::ManualClock;
use greffier::export::{self, Made, Selection, Source, Written};
use greffier::integrity::hex;
use greffier::model::{
    Attachment, Content, ConversationId, Gap, Kind, Message, Participant, Person, Reason, Timestamp,
};
use sha2::{Digest, Sha256};

/// 2026-03-28T20:00:00Z: three hours before the day that has 23 hours in Berlin.
const T0: i64 = 1_774_728_000;
const HOUR: i64 = 3600;
const ZONE: &str = "Europe/Berlin";

fn at(second: i64) -> Timestamp {
    Timestamp(T0 * 1_000_000 + second * 1_000_000)
}

fn room(n: u8) -> ConversationId {
    ConversationId::new(at(0), [n; 10])
}

/// Facts of one conversation, or of none.
struct Cast {
    room: Option<u8>,
    now: i64,
    events: Vec<Captured>,
}

impl Cast {
    fn new(room: Option<u8>, now: i64) -> Cast {
        Cast { room, now, events: Vec::new() }
    }

    fn put(&mut self, kind: Kind, content: Content) -> &mut Cast {
        self.now += 7;
        let n = self.events.len();
        self.events.push(Captured {
            origin: Origin::Recorder,
            conversation: self.room.map(room),
            kind,
            source_time: Some(Timestamp(at(self.now).0 + i64::try_from(n % 1000).unwrap() * 1000)),
            dedupe: DedupeKey(format!("{:?}/{n}", self.room)),
            content,
        });
        self
    }

    fn message(&mut self, kind: Kind, who: &Person, message: Message) -> &mut Cast {
        self.put(kind, Content { actor: Some(who.clone()), message: Some(message), ..Content::default() })
    }

    fn says(&mut self, who: &Person, id: &str, text: &str) -> &mut Cast {
        self.message(Kind::MessageSent, who, Message { id: id.into(), text: text.into(), ..Message::default() })
    }

    fn edits(&mut self, who: &Person, id: &str, text: &str) -> &mut Cast {
        self.message(Kind::MessageEdited, who, Message { id: id.into(), text: text.into(), ..Message::default() })
    }

    fn deletes(&mut self, who: &Person, id: &str) -> &mut Cast {
        self.message(Kind::MessageDeleted, who, Message { id: id.into(), ..Message::default() })
    }

    fn reacts(&mut self, kind: Kind, who: &Person, id: &str, reaction: &str) -> &mut Cast {
        let message = Some(Message { id: id.into(), ..Message::default() });
        let (actor, reaction) = (Some(who.clone()), Some(reaction.into()));
        self.put(kind, Content { actor, message, reaction, ..Content::default() })
    }

    fn door(&mut self, kind: Kind, who: &Person, in_lobby: Option<bool>) -> &mut Cast {
        let participant =
            Participant { id: who.id.clone(), name: who.name.clone(), in_lobby, ..Participant::default() };
        self.put(kind, Content { participant: Some(participant), ..Content::default() })
    }
}

/// A picture of one pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdac\xfc\xcf\xc0P\
\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";

/// Lines that mail must not change.
const TEXT: &[u8] = b"From here\n.\n..\r\n--greffier\r\n\xff\x00 no line end";

fn kept(name: &str, media_type: &str, bytes: &[u8]) -> Attachment {
    Attachment {
        name: Some(name.into()),
        media_type: Some(media_type.into()),
        sha256: Some(hex(&Sha256::digest(bytes))),
        size: Some(bytes.len() as u64),
        ..Attachment::default()
    }
}

fn person(id: &str, name: &str) -> Person {
    Person { id: id.into(), name: Some(name.into()) }
}

fn meeting() -> Vec<Captured> {
    let (ana, bo, guest) = (
        person("sip:ana@contoso.com", "Ana"),
        person("sip:bo@contoso.com", "Bo Å"),
        person("8:guest:77aa", "Guest; (web)"),
    );
    let mut cast = Cast::new(Some(1), 0);
    cast.put(
        Kind::ConversationStarted,
        Content { subject: Some("Release; planning 天气".into()), ..Content::default() },
    );
    cast.put(Kind::RecordingStarted, Content::default());
    cast.put(
        Kind::NoticeSent,
        Content {
            message: Some(Message { id: "n1".into(), text: "This is recorded.".into(), ..Message::default() }),
            ..Content::default()
        },
    );
    cast.door(Kind::ParticipantJoined, &ana, None).door(Kind::ParticipantJoined, &bo, None);
    cast.door(Kind::ParticipantJoined, &guest, Some(true)).door(Kind::ParticipantChanged, &guest, Some(false));
    cast.says(&ana, "m1", "Can we ship on Wednesday?").edits(&ana, "m1", "Can we ship on Thursday?");
    cast.reacts(Kind::ReactionAdded, &bo, "m1", "like").edits(&ana, "m1", "Can we ship on Friday?\nOr later?");
    cast.reacts(Kind::ReactionAdded, &guest, "m1", "a reaction whose name is longer than thirty characters");
    cast.reacts(Kind::ReactionRemoved, &bo, "m1", "like").reacts(Kind::ReactionAdded, &ana, "m1", "like");
    cast.says(&guest, "m2", "The password is hunter2").deletes(&guest, "m2");
    cast.message(
        Kind::MessageSent,
        &bo,
        Message {
            id: "m3".into(),
            text: "See the file, ¿vale? 可以吗 שלום 🙂".into(),
            html: Some("<b>See</b>".into()),
            importance: Some("urgent".into()),
            in_reply_to: Some("m1".into()),
            mentions: vec![ana.clone()],
            attachments: vec![
                Attachment {
                    name: Some("plan, v2.pdf".into()),
                    size: Some(31),
                    media_type: Some("application/pdf".into()),
                    ..Attachment::default()
                },
                Attachment {
                    name: Some("..\\..\\x\r\ny".into()),
                    url: Some("https://x.org/?a&b".into()),
                    ..Attachment::default()
                },
            ],
        },
    );
    cast.put(
        Kind::PlatformEvent,
        Content {
            source_id: Some("typing".into()),
            detail: Some(serde_json::json!({"rel": "typing", "]]>": "<x>"})),
            ..Content::default()
        },
    );
    cast.now += 8 * HOUR;
    cast.message(
        Kind::MessageSent,
        &guest,
        Message {
            id: "m4".into(),
            text: "an answer from the next day".into(),
            in_reply_to: Some("m1".into()),
            attachments: vec![
                kept("photo.PNG", "image/png", PNG),
                kept("notes\r\n.txt", "text/plain; charset=utf-8", TEXT),
                kept("lost.docx", "application/msword", b"lost"),
            ],
            ..Message::default()
        },
    );
    cast.message(
        Kind::MessageSent,
        &guest,
        Message {
            id: "m5".into(),
            text: "an answer to what nobody has".into(),
            in_reply_to: Some("lost".into()),
            ..Message::default()
        },
    );
    cast.edits(&bo, "m3", "See the other file").edits(&bo, "m3", "See no file").deletes(&bo, "m3");
    cast.reacts(Kind::ReactionAdded, &ana, "m3", "like")
        .edits(&bo, "lost", "an edit of what nobody has")
        .deletes(&bo, "lost2");
    cast.put(
        Kind::CaptureGap,
        Content {
            gap: Some(Gap { cause: "event channel lost".into(), from: at(cast.now), to: at(cast.now + 70) }),
            ..Content::default()
        },
    );
    cast.put(
        Kind::MessageUndelivered,
        Content {
            actor: Some(ana.clone()),
            message: Some(Message { id: "m4".into(), ..Message::default() }),
            reason: Some(Reason { code: Some("Timeout".into()), ..Reason::default() }),
            ..Content::default()
        },
    );
    cast.door(Kind::ParticipantLeft, &bo, None).door(Kind::ParticipantJoined, &bo, None);
    cast.now += 20 * HOUR;
    cast.says(&ana, "m6", "the third day").door(Kind::ParticipantLeft, &guest, None);
    cast.put(Kind::RecordingStopped, Content::default()).put(Kind::ConversationEnded, Content::default());
    cast.events
}

fn hostile() -> Vec<Captured> {
    let mallory =
        person("8:orgid:x\r\nX-Injected: 1", "Mallory\r\nBcc: victim@contoso.com\r\n\r\nbody ]]> \u{14}\u{fe}\u{ae}");
    let empty = person("sip:\"quoted\"@x", "  ");
    let mut cast = Cast::new(Some(2), 100);
    let subject = "Sub\r\nX-Injected: yes\r\n <script>alert(1)</script> ]]> þorn ® \u{14}\u{fe}\u{1}\u{202e}";
    cast.put(Kind::ConversationStarted, Content { subject: Some(subject.into()), ..Content::default() });
    for (n, text) in [
        "]]> </Content></Message><Message> <!-- & --> &amp; &#0;",
        "\u{0}\u{1}\u{8}\u{b}\u{c}\u{1f}\u{7f}\u{85}\u{fffe}\u{ffff}\u{feff}\u{2028}",
        "--greffier\r\n.\r\nFrom nobody\nFrom me\n\n\n[1] Ana: fake\n  | fake",
        "\u{14}\u{fe}\u{ae}þ®\t\"quoted\",;|",
        "<script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1)",
        "Z\u{300}\u{301}\u{302}\u{303}a\u{200d}\u{202e}gnp.exe\u{2069} \u{e0041}",
        "",
        " ",
        "=?utf-8?b?aGFsbG8=?= =\r\n=20",
    ]
    .into_iter()
    .enumerate()
    {
        cast.says(if n % 2 == 0 { &mallory } else { &empty }, &format!("x{n}\r\n<&>"), text);
    }
    cast.says(&mallory, "big", &"0123456789abcdef ".repeat(62_000)).says(&empty, "one line", &"x".repeat(1 << 20));
    cast.reacts(Kind::ReactionAdded, &empty, "big", "\r\n\u{0}<&>]]>");
    cast.events
}

fn crowd() -> Vec<Captured> {
    let mut cast = Cast::new(Some(3), 4 * HOUR);
    for n in 0..10_050 {
        let who = person(&format!("sip:user{}@contoso.com", n % 40), &format!("User {}", n % 40));
        cast.says(&who, &format!("c{n}"), &format!("message number {n}"));
        cast.now -= 1;
        if n == 10_020 {
            cast.edits(&who, "c3", "number three, changed in the second part");
        }
    }
    cast.events
}

fn loose() -> Vec<Captured> {
    let mut cast = Cast::new(None, 50);
    let gap = Gap { cause: "process down\r\n]]>".into(), from: at(0), to: at(20) };
    cast.put(Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() });
    cast.put(
        Kind::InvitationDeclined,
        Content {
            reason: Some(Reason { message: Some("not allowed".into()), ..Reason::default() }),
            ..Content::default()
        },
    );
    cast.events
}

/// Made once for the tests of a process.
fn archive() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let archive = Archive::open(dir.path(), Arc::new(ManualClock::new(at(300)))).unwrap();
            let connector = Connector { connector: "sfb".into(), platform: "ucwa".into() };
            for bytes in [PNG, TEXT] {
                archive.sink().keep(Bytes::from_static(bytes)).await.unwrap();
            }
            for events in [meeting(), hostile(), loose(), crowd()] {
                for part in events.chunks(1000) {
                    let append = Append { events: part.to_vec(), ..Append::default() };
                    archive.sink().append(&connector, append).await.unwrap();
                }
            }
            archive.close().await.unwrap();
        });
        dir
    });
    made.path()
}

fn selection() -> Selection {
    Selection { zone: Some(ZONE.parse().unwrap()), ..Selection::default() }
}

/// Exports to a folder, and the same selection as JSON Lines beside it.
fn export(format: &str, selection: &Selection) -> (tempfile::TempDir, PathBuf, PathBuf, Written) {
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::open(archive()).unwrap();
    let source = Source::new(&reader, selection).unwrap();
    let made = Made { at: at(900_000), by: "auditor@example".into(), program: "greffier test".into() };
    let (folder, truth) = (dir.path().join("out/"), dir.path().join("truth.jsonl"));
    let format = export::format(format).unwrap();
    let (_, written) = export::to_file(&source, format, &folder, &made, &mut |_, _| {}).unwrap();
    let mut file = std::fs::File::create(&truth).unwrap();
    let all = export::to_writer(&source, export::format("jsonl").unwrap(), &mut file, &mut |_, _| {}).unwrap();
    assert_eq!((written.events, &written.kinds), (all.events, &all.kinds), "every event is in exactly one slice");
    (dir, folder, truth, written)
}

/// Runs a check by Python; says loudly that it does not where it cannot.
fn python(script: &str, args: &[&str]) {
    let Ok(python) = std::env::var("GREFFIER_EXPORT_PYTHON") else {
        eprintln!("SKIPPED: {script}: GREFFIER_EXPORT_PYTHON is not set (see tests/export/setup.sh)");
        return;
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export");
    let run = Command::new(python).arg(here.join(script)).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let wrong = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said == "good\n", "{script} {args:?}\n{said}\n{wrong}");
}

fn fixture(path: &str) -> String {
    format!("{}/tests/fixtures/formats/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn xmllint(schema: &str, file: &Path) {
    match Command::new("xmllint")
        .args(["--huge", "--noout", "--nonet", "--schema", &fixture(schema)])
        .arg(file)
        .output()
    {
        Ok(run) => assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr)),
        Err(_) => eprintln!("SKIPPED: xmllint is not installed (Debian: libxml2-utils); {schema} is not checked"),
    }
}

fn compare(script: &str, before: &[&str], folder: &Path, truth: &Path) {
    let mut args = before.to_vec();
    args.extend([folder.to_str().unwrap(), truth.to_str().unwrap(), ZONE]);
    python(script, &args);
}

#[test]
fn rsmf_is_what_the_schema_wants_and_the_archive_holds() {
    let (_dir, folder, truth, written) = export("rsmf", &selection());
    compare("rsmf.py", &[&fixture("rsmf/rsmf_schema_2_0_0.json")], &folder, &truth);
    assert_eq!((written.unkept, written.kept.len(), written.lost), (2, 3, 1));
}

#[test]
fn the_validator_refuses_bad_samples_and_passes_good_ones() {
    python("rsmf.py", &[&fixture("rsmf/rsmf_schema_2_0_0.json"), "--samples", &fixture("rsmf")]);
    xmllint("actiance/actiance-observed.xsd", Path::new(&fixture("actiance/made-here-sample.xml")));
    xmllint("edrm/edrm-1.2-observed.xsd", Path::new(&fixture("edrm/made-here-sample.xml")));
}

#[test]
fn actiance_balances_and_holds_every_message() {
    let (_dir, folder, truth, _) = export("actiance", &selection());
    xmllint("actiance/actiance-observed.xsd", &folder.join("actiance_export.xml"));
    compare("actiance.py", &[], &folder, &truth);
}

#[test]
fn globalrelay_mail_reads_back() {
    let (_dir, folder, truth, _) = export("globalrelay", &selection());
    compare("globalrelay.py", &[], &folder, &truth);
}

#[test]
fn edrm_names_files_that_are_there() {
    let (_dir, folder, truth, _) = export("edrm", &selection());
    xmllint("edrm/edrm-1.2-observed.xsd", &folder.join("edrm.xml"));
    compare("loadfile.py", &["edrm"], &folder, &truth);
}

#[test]
fn dat_and_opt_name_files_that_are_there() {
    let (_dir, folder, truth, _) = export("dat", &selection());
    compare("loadfile.py", &["dat"], &folder, &truth);
}

#[test]
fn a_part_of_the_time_is_told_without_what_lies_outside() {
    let later = Selection {
        since: Some(at(6 * HOUR)),
        until: Some(at(40 * HOUR)),
        conversations: vec![room(1)],
        ..selection()
    };
    let (_dir, folder, truth, written) = export("rsmf", &later);
    assert!(written.events > 5);
    compare("rsmf.py", &[&fixture("rsmf/rsmf_schema_2_0_0.json")], &folder, &truth);
    // The text of the day before was not asked for.
    let (_dir, folder, _, _) = export("globalrelay", &later);
    for entry in std::fs::read_dir(folder.join(room(1).as_str())).unwrap() {
        let mail = std::fs::read(entry.unwrap().path()).unwrap();
        let parsed = mail_parser::MessageParser::default().parse(&mail).unwrap();
        assert!(
            !parsed.body_text(0).unwrap().contains("Wednesday") && !parsed.body_html(0).unwrap().contains("Wednesday")
        );
    }
}

#[test]
fn the_same_selection_gives_the_same_bytes() {
    for format in ["rsmf", "actiance", "globalrelay", "edrm", "dat"] {
        let two = [export(format, &selection()), export(format, &selection())];
        let [one, other] = two.each_ref().map(|(_, folder, ..)| std::fs::read(folder.join("manifest.json")).unwrap());
        // The manifest has the SHA-256 of each file.
        let manifest: serde_json::Value = serde_json::from_slice(&one).unwrap();
        assert_eq!(String::from_utf8(one), String::from_utf8(other), "{format}");
        let left_out: Vec<_> = manifest["left_out"].as_array().unwrap().iter().map(|told| &told["what"]).collect();
        let files = left_out.iter().filter(|what| **what == "attachment").count();
        assert_eq!(files, 1, "{format} tells once that files are not in it: {left_out:?}");
    }
}

#[test]
fn a_custodian_gives_messages_a_direction() {
    let custodian =
        Selection { participant: Some("sip:ana@contoso.com".into()), conversations: vec![room(1)], ..selection() };
    let (_dir, folder, truth, _) = export("rsmf", &custodian);
    compare("rsmf.py", &[&fixture("rsmf/rsmf_schema_2_0_0.json")], &folder, &truth);
    let day = std::fs::read(folder.join(format!("{0}/{0}.2026-03-28.rsmf", room(1)))).unwrap();
    let mail = mail_parser::MessageParser::default().parse(&day).unwrap();
    assert_eq!(mail.header("X-RSMF-Custodian").and_then(|value| value.as_text()), Some("Ana"));
}

/// Speed and memory: `GREFFIER_REVIEW_EVENTS=1000000 GREFFIER_REVIEW_FORMAT=rsmf cargo test --release --test export -- \
/// --ignored --nocapture memory`. One conversation whose messages are 20 seconds apart, every tenth edited much later.
#[test]
#[ignore = "slow"]
fn memory_stays_bounded() {
    let events: usize = std::env::var("GREFFIER_REVIEW_EVENTS").map_or(100_000, |n| n.parse().unwrap());
    let format = std::env::var("GREFFIER_REVIEW_FORMAT").unwrap_or_else(|_| "rsmf".into());
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let archive = Archive::open(dir.path(), Arc::new(ManualClock::new(at(300)))).unwrap();
        let connector = Connector { connector: "sfb".into(), platform: "ucwa".into() };
        for first in (0..events).step_by(1000) {
            let mut cast = Cast::new(Some(9), 0);
            for n in first..first + 1000 {
                let who = person(&format!("sip:user{}@contoso.com", n % 200), &format!("User {}", n % 200));
                // Half of all events fall on a few busy days.
                cast.now = i64::try_from(if n % 2 == 0 { n / 100_000 * 86_400 + n % 86_400 } else { n * 20 }).unwrap();
                let text = format!("message number {n}, of some length, as people write them in a chat. ").repeat(2);
                match n % 10 == 9 && n > 5000 {
                    true => cast.edits(&who, &format!("m{}", n - 4999), &text),
                    false => cast.says(&who, &format!("m{n}"), &text),
                };
                cast.events.last_mut().unwrap().dedupe = DedupeKey(n.to_string());
            }
            archive.sink().append(&connector, Append { events: cast.events, ..Append::default() }).await.unwrap();
        }
        archive.close().await.unwrap();
    });
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = peak();
    let reader = Reader::open(dir.path()).unwrap();
    let selection = selection();
    let source = Source::new(&reader, &selection).unwrap();
    let made = Made { at: at(900_000), by: "auditor@example".into(), program: "greffier test".into() };
    let begun = std::time::Instant::now();
    let format = export::format(&format).unwrap();
    let written = export::to_zip(&source, format, &made, &mut std::io::sink(), &mut |_, _| {}).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = written.events as f64 / seconds;
    eprintln!("{} {} events, {rate:.0}/s, peak {} MB (before: {before} MB)", format.name(), written.events, peak());
    assert_eq!(written.events, events as u64);
    assert!(peak() < 300, "{} MB", peak());
}
