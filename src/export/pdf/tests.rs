//! Documents of an archive, read back by programs of others (poppler, qpdf) where they are installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::archive::Archive;
use crate::capture::{Append, Captured, DedupeKey, Origin, Source as From};
use crate::clock::ManualClock;
use crate::export::Selection;
use crate::integrity::checkpoint::SigningKey;
use crate::model::{Attachment, Content, Gap, Kind, Message, Participant, Person, Reason};

const T0: i64 = 1_795_225_034_000_000;
/// Sender, and what was said: each word of it must be found in the file.
const SAID: &[(&str, &str)] = &[
    (
        "Alice Example",
        "Good morning, shall we begin with the budget? See https://example.com/a/very/long/path/that/does/not/end/before/the/line/ends?query=1&more=2#fragment",
    ),
    ("Jürgen Groß", "Grüße aus Köln: die Straßenbahnhaltestellenverwaltung prüft Größe und Maß, 42 % – „ja“."),
    ("Γιώργος", "Καλημέρα σας, η συνάντηση αρχίζει"),
    ("Łukasz Żółw", "Zażółć gęślą jaźń"),
    ("Иван Петров", "Съешь ещё этих мягких французских булок, да выпей чаю"),
    ("田中 太郎", "明日の会議は午後三時から始まります。カタカナも、ひらがなも。"),
    ("王小明", "今天天气很好,我们去公园开会。預算已經批准了"),
    ("김민준", "안녕하세요 내일 회의에서 뵙겠습니다"),
    ("สมชาย", "สวัสดีครับ ประชุมพรุ่งนี้เช้า"),
    ("प्रिया", "नमस्ते कल की बैठक सुबह दस बजे है"),
    ("emoji", "👍 😀 🎉 ❤ ✅ ⚠"),
    ("math", "𝐁 ≈ ∑ → █"),
];
/// Extraction of right-to-left text gives its words in one order or the other: each word is looked for.
const RIGHT_TO_LEFT: &[(&str, &str)] =
    &[("مريم", "صباح الخير الاجتماع غدا في الساعة العاشرة"), ("דוד כהן", "שלום לכולם הפגישה מחר בשעה עשר")];

fn person(name: &str) -> Person {
    let id: String = name.chars().map(|c| if c.is_ascii_alphabetic() { c.to_ascii_lowercase() } else { 'x' }).collect();
    Person { id: format!("sip:{id}@contoso.example"), name: Some(name.into()) }
}

/// One conversation that grows event by event, a minute apart.
struct Story {
    id: ConversationId,
    events: Vec<Captured>,
    seconds: i64,
}

impl Story {
    fn new(n: u8) -> Story {
        Story { id: ConversationId::new(Timestamp(T0), [n; 10]), events: Vec::new(), seconds: 0 }
    }

    fn add(&mut self, kind: Kind, content: Content) -> &mut Self {
        self.seconds += 47;
        self.events.push(Captured {
            origin: Origin::Recorder,
            conversation: Some(self.id.clone()),
            kind,
            source_time: Some(Timestamp(T0 + self.seconds * 1_000_000)),
            dedupe: DedupeKey(format!("{}|{}", self.id, self.seconds)),
            content,
        });
        self
    }

    fn message(&mut self, kind: Kind, who: &str, id: &str, text: &str) -> &mut Self {
        let message = Some(Message { id: id.into(), text: text.into(), ..Message::default() });
        self.add(kind, Content { actor: Some(person(who)), message, ..Content::default() })
    }

    fn says(&mut self, who: &str, text: &str) -> &mut Self {
        let id = format!("m{}", self.events.len());
        self.message(Kind::MessageSent, who, &id, text)
    }

    fn stay(&mut self, kind: Kind, who: &str) -> &mut Self {
        let person = person(who);
        let participant = Some(Participant { id: person.id, name: person.name, ..Participant::default() });
        self.add(kind, Content { participant, ..Content::default() })
    }

    fn begin(&mut self, subject: &str) -> &mut Self {
        let subject = Some(subject.to_owned());
        self.add(Kind::ConversationStarted, Content { subject, ..Content::default() });
        self.add(Kind::RecordingStarted, Content::default())
    }
}

/// Every kind of thing that can stand on a page.
fn meeting() -> Story {
    let mut story = Story::new(1);
    story.begin("Quarterly review – Größe, 天气 and what became of it");
    for (who, _) in SAID.iter().chain(RIGHT_TO_LEFT) {
        story.stay(Kind::ParticipantJoined, who);
    }
    for (who, text) in SAID.iter().chain(RIGHT_TO_LEFT) {
        story.says(who, text);
    }
    story.message(
        Kind::MessageSent,
        "Alice Example",
        "plan",
        "The plan is in the file.\n\nThird line, after an empty one.",
    );
    let file = Attachment {
        name: Some("plan – final.pdf".into()),
        size: Some(12_345),
        media_type: Some("application/pdf".into()),
        ..Attachment::default()
    };
    let message = Message {
        id: "file".into(),
        text: "Here it is".into(),
        attachments: vec![file],
        importance: Some("urgent".into()),
        in_reply_to: Some("plan".into()),
        mentions: vec![person("Jürgen Groß")],
        ..Message::default()
    };
    let content = Content { actor: Some(person("Alice Example")), message: Some(message), ..Content::default() };
    story.add(Kind::MessageSent, content);
    let reaction = Content {
        actor: Some(person("田中 太郎")),
        message: Some(Message { id: "plan".into(), ..Message::default() }),
        reaction: Some("👍".into()),
        ..Content::default()
    };
    story.add(Kind::ReactionAdded, reaction);
    story.message(Kind::MessageEdited, "Alice Example", "plan", "The plan is in the other file.");
    story.message(Kind::MessageSent, "Иван Петров", "oops", "This should not have been said.");
    story.message(Kind::MessageDeleted, "Иван Петров", "oops", "");
    let gap = Gap {
        cause: "event channel lost".into(),
        from: Timestamp(T0 + story.seconds * 1_000_000),
        to: Timestamp(T0 + (story.seconds + 95) * 1_000_000),
    };
    story.add(Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() });
    story.says("Alice Example", "We are back.");
    let message = Some(Message { id: "lost".into(), text: "Did you get this?".into(), ..Message::default() });
    let reason = Some(Reason { code: Some("RemoteFailure".into()), ..Reason::default() });
    story.add(
        Kind::MessageUndelivered,
        Content { actor: Some(person("Alice Example")), message, reason, ..Content::default() },
    );
    story.says("Mallory", "\u{1b}[2J\u{202e}evil\u{2066} 12:00:00 Alice: I agree\u{0} \u{feff}\u{fffe}");
    story.says("Mallory", "unknown \u{e000} \u{12000} \u{10ffff} and Z\u{0301}\u{0302}\u{0303}algo");
    story.says("Mallory", &format!("o{}", "\u{0335}".repeat(40)));
    story.says("Mallory", "javascript:alert(1) 👨‍👩‍👧‍👦 👍🏽 🇩🇪 1️⃣ ❤️ fi ffi");
    story.stay(Kind::ParticipantLeft, "Jürgen Groß");
    story.seconds += 86_400;
    story.says("Alice Example", "On the next day.");
    story.says("مريم", "العربية with English وأيضا 123 numbers.");
    story.says("Alice Example", "He said שלום and مرحبا to all, twice (שלום!).");
    story.add(Kind::ConversationEnded, Content::default());
    story
}

/// An archive with these conversations, and a signed checkpoint.
struct Kept {
    _dir: tempfile::TempDir,
    reader: Reader,
}

fn kept(stories: Vec<Story>) -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reader = runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(Timestamp(T0 + 100_000_000_000)));
        let archive = Archive::open(dir.path(), clock).unwrap();
        let source = From { connector: "sfb".into(), platform: "ucwa".into() };
        for story in stories {
            for events in story.events.chunks(500) {
                let batch = Append { events: events.to_vec(), ..Append::default() };
                archive.sink().append(&source, batch).await.unwrap();
            }
        }
        let key = Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap());
        archive.checkpoint(key).await.unwrap();
        archive.close().await.unwrap();
        Reader::open(dir.path()).unwrap()
    });
    Kept { _dir: dir, reader }
}

/// Keeps files in memory.
#[derive(Default)]
struct Kit {
    files: Vec<(String, Vec<u8>)>,
    left_out: Vec<LeftOut>,
}

impl Files for Kit {
    fn file(&mut self, name: &str, body: &mut crate::export::Body<'_>) -> Result<(), ExportError> {
        let mut bytes = Vec::new();
        body(&mut bytes)?;
        self.files.push((name.to_owned(), bytes));
        Ok(())
    }

    fn left_out(&mut self, what: LeftOut) {
        self.left_out.push(what);
    }
}

/// Every file of a conversation, and what could not go in.
fn documents(kept: &Kept, id: &ConversationId) -> (Vec<(String, Vec<u8>)>, Vec<LeftOut>) {
    let selection = Selection { conversations: vec![id.clone()], ..Selection::default() };
    let source = Source::new(&kept.reader, &selection).unwrap();
    let (mut kit, mut seen) = (Kit::default(), 0);
    let mut see = |_: &Event| {
        seen += 1;
        Ok(())
    };
    Pdf.write_files(&source, &mut kit, &mut see).unwrap();
    assert_eq!(seen, source.events().count());
    (kit.files, kit.left_out)
}

fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("GREFFIER_REQUIRE_TOOLS").is_none(), "{name} is not installed");
        eprintln!(
            "SKIPPED: {name} is not installed (Debian: poppler-utils, qpdf); set GREFFIER_REQUIRE_TOOLS=1 to insist"
        );
    }
    found
}

fn ask(tool: &Path, arguments: &[&str]) -> String {
    let out = Command::new(tool).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}: {}", tool.display(), String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Writes files where tools find them. `GREFFIER_PDF_OUT` keeps them, to be looked at.
fn lay_down(files: &[(String, Vec<u8>)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let at = std::env::var_os("GREFFIER_PDF_OUT").map_or_else(|| dir.path().to_owned(), PathBuf::from);
    let put = |(name, bytes): &(String, Vec<u8>)| {
        std::fs::write(at.join(name), bytes).unwrap();
        at.join(name)
    };
    let paths = files.iter().map(put).collect();
    (dir, paths)
}

/// What a reader finds, without blanks and marks of direction: lines break anywhere.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
        .collect()
}

#[test]
fn every_word_name_and_time_is_on_the_pages() {
    let story = meeting();
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    let (files, _) = documents(&kept, &id);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].0, format!("{id}.pdf"));
    let (_dir, paths) = lay_down(&files);
    let Some(pdftotext) = tool("pdftotext") else { return };
    let text = ask(&pdftotext, &["-layout", paths[0].to_str().unwrap(), "-"]);
    let found = plain(&text);
    for (who, said) in SAID {
        for word in said.split(' ').chain(who.split(' ')) {
            assert!(found.contains(&plain(word)), "{word} of {who} is not in\n{text}");
        }
    }
    for (who, said) in RIGHT_TO_LEFT {
        for word in said.split(' ').chain(who.split(' ')) {
            // The ligature of lam and alef is one glyph; pdftotext gives its letters in the order of the page.
            let turned = word.replace("لا", "ال");
            assert!(found.contains(word) || found.contains(&turned), "{word} of {who} is not in\n{text}");
        }
    }
    for event in kept.reader.transcript(&id, crate::archive::reader::Order::Time).map(Result::unwrap) {
        let at = clock(view::time(&event));
        let gap = event.kind == Kind::CaptureGap;
        let line = text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&event.seq.to_string()) && (gap || words.next() == Some(&at))
        });
        assert!(line, "no line begins with {} {at} in\n{text}", event.seq);
    }
    for told in [
        "new version of",
        "deleted at",
        "not delivered (RemoteFailure)",
        "attachment: \"plan – final.pdf\" (application/pdf, 12345 bytes)",
        "urgent",
        "in reply to",
        "mentions Jürgen Groß",
        "reacted with",
        "GAP: 20",
        "event channel lost",
        "joined",
        "left",
        "Record incomplete: recorded from",
        "Checkpoint",
        "Saturday",
        "Sunday",
        "page 1 of",
        id.as_str(),
        "<U+001B>[2J<U+202E>evil<U+2066>",
        "<U+0000>",
        "<U+FEFF>",
        "<U+FFFE>",
        "<U+E000>",
        "<U+12000>",
        "<U+10FFFF>",
        "<U+0335>",
    ] {
        assert!(found.contains(&plain(told)), "{told} is not in\n{text}");
    }
}

#[test]
fn what_no_font_covers_is_counted() {
    let story = meeting();
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    let (_, missing) = documents(&kept, &id);
    let [left_out] = &missing[..] else { panic!("{missing:?}") };
    assert_eq!((left_out.what.as_str(), left_out.count), ("character", 4));
    for number in ["U+E000", "U+FFFE", "U+12000", "U+10FFFF"] {
        assert!(left_out.why.contains(number), "{}", left_out.why);
    }
}

#[test]
fn the_same_log_gives_the_same_bytes() {
    let story = meeting();
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    assert!(documents(&kept, &id).0 == documents(&kept, &id).0);
}

#[test]
fn the_file_is_valid_and_says_what_it_is() {
    let story = meeting();
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    let (files, _) = documents(&kept, &id);
    let (_dir, paths) = lay_down(&files);
    let path = paths[0].to_str().unwrap();
    if let Some(qpdf) = tool("qpdf") {
        let told = ask(&qpdf, &["--check", path]);
        assert!(told.contains("No syntax or stream encoding errors found"), "{told}");
    }
    let Some(pdfinfo) = tool("pdfinfo") else { return };
    let told = ask(&pdfinfo, &["-isodates", path]);
    for line in [
        format!("Quarterly review – Größe, 天气 and what became of it ({id})"),
        "Tagged:          yes".into(),
        "JavaScript:      no".into(),
        "A4".into(),
    ] {
        assert!(told.to_lowercase().contains(&line.to_lowercase()), "{line} is not in\n{told}");
    }
    let told_xmp = ask(&pdfinfo, &["-meta", path]);
    assert!(told_xmp.contains("<pdfaid:part>2</pdfaid:part><pdfaid:conformance>A</pdfaid:conformance>"), "{told_xmp}");
    // Every event was recorded when the archive's clock said so.
    let recorded = Timestamp(T0 + 100_000_000_000).to_chrono().format("%Y-%m-%dT%H:%M:%S").to_string();
    assert!(told.contains(&recorded), "{recorded} is not in\n{told}");
}

#[test]
fn a_long_conversation_comes_in_parts_that_hold_everything() {
    let mut story = Story::new(2);
    story.begin("Long");
    for n in 0..(2 * PART_EVENTS + 100) {
        story.says(["Alice", "Bob", "Carol"][n / 3 % 3], &format!("sentence{n}end and a few more words"));
    }
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    let (files, _) = documents(&kept, &id);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [1, 2, 3].map(|n| format!("{id}.part-{n}-of-3.pdf")));
    let (_dir, paths) = lay_down(&files);
    let Some(pdftotext) = tool("pdftotext") else { return };
    let texts: Vec<String> =
        paths.iter().map(|path| ask(&pdftotext, &["-layout", path.to_str().unwrap(), "-"])).collect();
    let whole = texts.concat();
    for n in 0..(2 * PART_EVENTS + 100) {
        assert_eq!(whole.matches(&format!("sentence{n}end")).count(), 1, "{n}");
    }
    for (n, text) in texts.iter().enumerate() {
        assert!(text.contains(&format!("part {} of 3", n + 1)));
        for page in text.split('\u{c}').filter(|page| page.contains("sentence")) {
            let before = &page[..page.find("sentence").unwrap()];
            assert!(before.contains("@contoso.example"), "who speaks?\n{page}");
        }
    }
}

#[test]
fn a_word_of_a_megabyte_is_broken_and_whole() {
    let mut story = Story::new(3);
    let word: String = (0..1_000_000_u32).map(|n| char::from(b'a' + (u64::from(n).pow(2) % 23) as u8)).collect();
    story.begin("Word").says("Alice", &word);
    let (id, kept) = (story.id.clone(), kept(vec![story]));
    let (files, missing) = documents(&kept, &id);
    assert!(missing.is_empty());
    let (_dir, paths) = lay_down(&files);
    let Some(pdftotext) = tool("pdftotext") else { return };
    let text: String = paths
        .iter()
        .map(|path| {
            ask(
                &pdftotext,
                &["-layout", "-x", "139", "-y", "50", "-W", "420", "-H", "740", path.to_str().unwrap(), "-"],
            )
        })
        .collect();
    assert!(plain(&text).contains(&word), "{} characters of the word are left", plain(&text).len());
}

/// Draws a document of these messages alone.
fn drawn(texts: &[&str]) -> Vec<u8> {
    let mut pages = Pages::new(Typesetter::new().unwrap());
    pages.title("", texts[0], "");
    for text in texts {
        pages.block(&Block::Quiet { seq: Seq(1), at: Timestamp(T0), text: (*text).to_owned() });
    }
    let text = || texts[0].to_owned();
    let imprint = Imprint {
        title: text(),
        about: text(),
        header: text(),
        id: text(),
        footer: text(),
        date: Timestamp(T0),
        identity: text(),
    };
    draw::draw(&mut pages, &imprint).unwrap()
}

#[test]
fn every_character_can_be_drawn() {
    // `GREFFIER_EVERY_CHARACTER=1` takes all of them, which is for optimised builds.
    let step = if std::env::var_os("GREFFIER_EVERY_CHARACTER").is_some() { 1 } else { 211 };
    let all: Vec<char> = (0..0x11_0000_u32).step_by(step).filter_map(char::from_u32).collect();
    let lines: Vec<String> = all.chunks(200).map(|chars| chars.iter().collect()).collect();
    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
    for texts in texts.chunks(500) {
        assert!(drawn(texts).starts_with(b"%PDF-1.7"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn any_text_can_be_drawn(texts in prop::collection::vec(any::<String>(), 1..8), marks in "[\\u{300}-\\u{36f}\\u{200d}\\u{fe0f}👩❤🏽שلا]{0,200}") {
        let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        texts.push(&marks);
        prop_assert!(drawn(&texts).starts_with(b"%PDF-1.7"));
    }
}
