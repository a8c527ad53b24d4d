//! The verbs that read, on an archive made through the library.

use std::path::Path;
use std::sync::Arc;

use greffier::archive::Archive;
use greffier::capture::{Append, Captured, DedupeKey, Envelope, Origin, Source};
use greffier::clock::ManualClock;
use greffier::model::{Content, ConversationId, Event, Gap, Kind, Message, Participant, Person, Timestamp};

use crate::{Ran, greffier, run};

const START: i64 = 1_795_253_400_000; // 2026-11-21T09:30:00Z

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(START + second * 1000)
}

fn id(minute: i64, random: u8) -> ConversationId {
    ConversationId::new(at(minute * 60), [random; 10])
}

fn captured(conversation: &ConversationId, second: i64, kind: Kind, content: Content) -> Captured {
    Captured {
        origin: Origin::Recorder,
        conversation: Some(conversation.clone()),
        kind,
        source_time: Some(at(second)),
        dedupe: DedupeKey(format!("{conversation}|{second}|{kind}")),
        content,
    }
}

fn person(name: &str) -> Person {
    Person { id: format!("sip:{}@contoso.com", name.to_lowercase()), name: Some(name.to_owned()) }
}

fn joined(name: &str) -> Content {
    let Person { id, name } = person(name);
    Content { participant: Some(Participant { id, name, ..Participant::default() }), ..Content::default() }
}

fn said(name: &str, text: &str) -> Content {
    let message = Message { id: format!("m-{text}"), text: text.to_owned(), ..Message::default() };
    Content { actor: Some(person(name)), message: Some(message), ..Content::default() }
}

fn subject(text: &str) -> Content {
    Content { subject: Some(text.to_owned()), ..Content::default() }
}

/// An archive with a finished, complete conversation and a live one with a gap, an hour later, by another connector.
fn archive(dir: &Path) {
    let events = |talk: &ConversationId, from: i64, title: &str, who: &str, text: &str| {
        vec![
            captured(talk, from, Kind::ConversationStarted, subject(title)),
            captured(talk, from + 1, Kind::RecordingStarted, Content::default()),
            captured(talk, from + 2, Kind::ParticipantJoined, joined(who)),
            captured(talk, from + 3, Kind::MessageSent, said(who, text)),
        ]
    };
    let first = id(0, 1);
    let mut budget = events(&first, 0, "Budget", "Alice", "größer 🎉 \u{1b}[31mred");
    budget.push(captured(&first, 90, Kind::ConversationEnded, Content::default()));
    let second = id(60, 2);
    let mut standup = events(&second, 3600, "Standup", "Bob", "hello");
    let gap = Gap { cause: "event channel lost".into(), from: at(3610), to: at(3620) };
    standup.push(captured(&second, 3620, Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() }));

    tokio::runtime::Runtime::new().expect("runtime").block_on(async {
        let archive = Archive::open(dir, Arc::new(ManualClock::new(at(4000)))).expect("archive");
        let sink = archive.sink();
        for (connector, events) in [("sfb", budget), ("other", standup)] {
            let source = Source { connector: connector.into(), platform: "ucwa".into() };
            sink.append(&source, Append { events, ..Append::default() }).await.expect("appended");
        }
        drop(sink);
        archive.close().await.expect("closed");
    });
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("temporary folder");
        archive(&dir.path().join("archive"));
        std::fs::write(dir.path().join("greffier.toml"), "").expect("write");
        Place(dir)
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(self.0.path(), args)
    }

    /// Ids listed with these options, by their subject.
    fn listed(&self, args: &[&str]) -> Vec<String> {
        let ran = self.run(&[&["list", "--json"], args].concat());
        assert!(ran.status == 0 || (ran.status == 3 && ran.stdout.is_empty()), "{}", ran.stderr);
        ran.stdout
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
                row["subject"].as_str().expect("subject").to_owned()
            })
            .collect()
    }
}

#[test]
fn list_shows_a_table_to_people_and_the_contract_to_programs() {
    let place = Place::new();
    let ran = place.run(&["list"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r#"
    conversation                  started (UTC)     for    subject  people  messages  record
    c_01M7YQ1WE0E40R2081040G2081  2026-11-21 09:30  1 min  Budget   Alice   1         complete
    c_01M7YTFR20E81840G2081040G2  2026-11-21 10:30  live   Standup  Bob     1         incomplete
    2 conversations
    "#);
    insta::assert_snapshot!(place.run(&["list", "--json"]).stdout, @r#"
    {"id":"c_01M7YQ1WE0E40R2081040G2081","connector":"sfb","platform":"ucwa","subject":"Budget","state":"ended","started_at":"2026-11-21T09:30:00.000Z","ended_at":"2026-11-21T09:31:30.000Z","messages":1,"participants":[{"id":"sip:alice@contoso.com","name":"Alice"}],"coverage":"complete"}
    {"id":"c_01M7YTFR20E81840G2081040G2","connector":"other","platform":"ucwa","subject":"Standup","state":"live","started_at":"2026-11-21T10:30:00.000Z","messages":1,"participants":[{"id":"sip:bob@contoso.com","name":"Bob"}],"coverage":"incomplete"}
    "#);
}

#[test]
fn list_narrows_by_time_person_and_connector() {
    let place = Place::new();
    assert_eq!(place.listed(&["--since", "2026-11-21T10:00:00Z"]), ["Standup"]);
    assert_eq!(place.listed(&["--until", "2026-11-21T10:00:00Z"]), ["Budget"]);
    assert_eq!(place.listed(&["--since", "2026-11-21", "--until", "2026-11-21"]), ["Budget", "Standup"]);
    assert_eq!(place.listed(&["--participant", "ALICE"]), ["Budget"]);
    assert_eq!(place.listed(&["--participant", "sip:bob@contoso.com"]), ["Standup"]);
    assert_eq!(place.listed(&["--connector", "other"]), ["Standup"]);
    let ran = place.run(&["list", "--connector", "none"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (3, ""));
    assert_eq!(ran.stderr.lines().count(), 1);
    assert_eq!(place.run(&["list", "--since", "2026-11-22", "--until", "2026-11-20"]).status, 1);
}

#[test]
fn show_takes_the_beginning_of_an_id_and_asks_when_it_is_not_enough() {
    let place = Place::new();
    let first = id(0, 1);
    for typed in [first.as_str().to_owned(), first.as_str()[..20].to_lowercase(), first.as_str()[2..20].to_owned()] {
        let ran = place.run(&["show", &typed, "--json"]);
        assert_eq!(ran.status, 0, "{typed}: {}", ran.stderr);
        let events: Vec<Event> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("event")).collect();
        assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
    let ran = place.run(&["show", "c_01"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    insta::assert_snapshot!(ran.stderr, @"greffier: `c_01` begins several ids: c_01M7YQ1WE0E40R2081040G2081, c_01M7YTFR20E81840G2081040G2; type more of it");
    let ran = place.run(&["show", "c_02"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (3, ""));
    insta::assert_snapshot!(ran.stderr, @"greffier: no conversation `c_02` in archive/archive.db; `greffier list` shows all");
}

#[test]
fn raw_gives_what_was_received_with_what_binds_it() {
    let place = Place::new();
    let body = "{\"text\":\"grüß \u{1b}[31mred\"}";
    let request = "POST /api/calls x-microsoft-skype-chain-id=05f2";
    tokio::runtime::Runtime::new().expect("runtime").block_on(async {
        let clock = Arc::new(ManualClock::new(at(5000)));
        let archive = Archive::open(&place.0.path().join("archive"), clock).expect("archive");
        let envelope = Envelope {
            received_at: at(4999),
            server_date: None,
            request: request.into(),
            status: 0,
            content_type: Some("application/json".into()),
            body: body.into(),
            pending: false,
        };
        let bytes = Envelope { body: vec![0xff, 0xfe].into(), status: 200, ..envelope.clone() };
        let event = |n, at| Captured {
            origin: Origin::Here(n),
            ..captured(&id(0, 1), at, Kind::PlatformEvent, Content::default())
        };
        let batch = Append {
            envelopes: vec![envelope, bytes],
            events: vec![event(0, 100), event(1, 101)],
            ..Append::default()
        };
        let source = Source { connector: "teams".into(), platform: "teams".into() };
        archive.sink().append(&source, batch).await.expect("appended");
        archive.close().await.expect("closed");
    });
    let ran = place.run(&["raw", "11", "--body"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, body), "{}", ran.stderr);
    let ran = place.run(&["raw", "11"]);
    assert!(ran.stdout.contains(request) && ran.stdout.contains("sent to the recorder"), "{}", ran.stdout);
    assert!(ran.stdout.contains("received     2026-11-21T10:53:19.000Z"), "{}", ran.stdout);
    assert!(ran.stdout.contains("grüß") && !ran.stdout.contains('\u{1b}'), "harmless on a terminal: {}", ran.stdout);
    let json = |seq: &str| -> serde_json::Value {
        let ran = place.run(&["raw", seq, "--json"]);
        serde_json::from_str(&ran.stdout).expect("JSON")
    };
    let one = json("11");
    assert_eq!((&one["request"], &one["body"], &one["status"]), (&request.into(), &body.into(), &0.into()));
    assert_eq!(one["sha256"].as_str().map(str::len), Some(64));
    let other = json("12");
    assert_eq!((&other["body_base64"], &other["status"], other.get("body")), (&"//4=".into(), &200.into(), None));
    let ran = place.run(&["raw", "1"]);
    assert_eq!(ran.status, 3);
    insta::assert_snapshot!(ran.stderr, @"greffier: event 1 (conversation.started) is the recorder's own statement; nothing was received for it");
    let ran = place.run(&["raw", "13"]);
    assert_eq!(ran.status, 3);
    insta::assert_snapshot!(ran.stderr, @"greffier: there is no event 13; the log has 12");
}

#[test]
fn output_into_a_closed_pipe_ends_quietly() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let mut command = std::process::Command::new(greffier(place.0.path()).get_program());
    command.current_dir(place.0.path()).args(["list", "--json"]).stdout(writer);
    let output = command.output().expect("starts");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn show_is_a_readable_transcript_without_escape_sequences() {
    let place = Place::new();
    let ran = place.run(&["show", id(0, 1).as_str()]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(!ran.stdout.contains('\u{1b}'));
    insta::assert_snapshot!(ran.stdout, @r#"
    Transcript of c_01M7YQ1WE0E40R2081040G2081

    Subject:      Budget
    Recorded by:  connector sfb (ucwa)
    Started:      2026-11-21 09:30:00
    Ended:        2026-11-21 09:31:30
    Record:       complete from 2026-11-21T09:30:01.000Z to 2026-11-21T09:31:30.000Z
    Gaps:         none

    Participants
      Alice <sip:alice@contoso.com>
          2026-11-21 09:30:02 to 2026-11-21 09:31:30

    Times are UTC. [n] is the event's place in the log.

    2026-11-21, Saturday

    09:30:00  [1] - the conversation started: subject "Budget"
    09:30:01  [2] - recording started: from here on messages are captured
    09:30:02  [3] - Alice joined
    09:30:03  [4] Alice: größer 🎉 <U+001B>[31mred
    09:31:30  [5] - the conversation ended
    "#);
}

#[test]
fn export_to_standard_output_is_the_log_and_nothing_else() {
    let place = Place::new();
    let ran = place.run(&["export", "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let seqs: Vec<u64> =
        ran.stdout.lines().map(|line| serde_json::from_str::<Event>(line).expect("event").seq.0).collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
}

#[test]
fn export_to_a_file_comes_whole_and_overwrites_nothing() {
    let place = Place::new();
    let args = ["export", "c_01M7YQ1W", "--format", "jsonl", "--output", "out.jsonl"];
    let ran = place.run(&args);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @"out.jsonl: 5 events of 1 conversation, with manifest");
    let files = |prefix: &str| {
        let entries = std::fs::read_dir(place.0.path()).expect("folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8")).collect();
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        names
    };
    let made = ["out.jsonl", "out.jsonl.README.txt", "out.jsonl.manifest.json", "out.jsonl.proofs.jsonl"];
    assert_eq!(files("out"), made);
    let ran = place.run(&args);
    assert_eq!((ran.status, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    assert_eq!(place.run(&["verify", "--export", "out.jsonl"]).status, 0);
    let file = place.0.path().join("out.jsonl");
    let altered = std::fs::read_to_string(&file).expect("export").replace("größer", "kleiner");
    std::fs::write(&file, altered).expect("write");
    let ran = place.run(&["verify", "--export", "out.jsonl"]);
    assert_eq!((ran.status, ran.stderr.lines().count()), (4, 1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("seq 4: "), "{}", ran.stdout);
    let ran = place.run(&["export", "--since", "2030-01-01", "--format", "text", "--output", "none.txt"]);
    assert_eq!(ran.status, 3);
    assert_eq!(files("none"), [""; 0]);
    assert_eq!(place.run(&["export", "--since", "7d", "--format", "docx", "--output", "x"]).status, 2);
    assert_eq!(
        place.run(&["export", "--since", "7d", "--format", "html", "--zone", "Mars/Base", "--output", "x"]).status,
        2
    );
}

#[test]
fn export_of_a_search_takes_what_is_found_and_says_how() {
    let place = Place::new();
    let run = |arguments: &[&str]| place.run(&[&["export"], arguments].concat());
    let ran = run(&["--query", "größer", "--format", "jsonl", "--output", "-"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let seqs: Vec<u64> =
        ran.stdout.lines().map(|line| serde_json::from_str::<Event>(line).expect("event").seq.0).collect();
    assert_eq!(seqs, [4]);
    let ran = run(&[
        "--query",
        "grosser",
        "--context",
        "2",
        "--zone",
        "Europe/Berlin",
        "--format",
        "html",
        "--output",
        "x.zip",
    ]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert_eq!(place.run(&["verify", "--export", "x.zip"]).status, 0);
    let ran = run(&["--query", "größer", "--format", "html", "--output", "page.html"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let page = std::fs::read_to_string(place.0.path().join("page.html")).expect("page");
    assert!(page.contains("class=\"hit\"") && page.contains("größer"), "{page}");
    assert_eq!(place.run(&["verify", "--export", "page.html"]).status, 0);
    // Nothing found, nothing to read, several files for one stream, and a folder that is not free.
    assert_eq!(run(&["--query", "unheard", "--format", "jsonl", "--output", "none"]).status, 3);
    let ran = run(&["--query", "from:", "--format", "jsonl", "--output", "none"]);
    assert_eq!((ran.status, ran.stderr.contains('^')), (2, true), "{}", ran.stderr);
    assert_eq!(run(&["--context", "2", "--since", "1d", "--format", "jsonl", "--output", "none"]).status, 2);
    let ran = run(&["--since", "1970-01-01", "--format", "html", "--output", "-"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("several files"), "{}", ran.stderr);
    let ran = run(&["--since", "1970-01-01", "--format", "html", "--output", "archive"]);
    assert!(ran.status == 1 && ran.stderr.contains("not empty"), "{}", ran.stderr);
    assert!(!place.0.path().join("none").exists());
}

#[test]
fn verify_says_intact_or_names_the_first_bad_seq() {
    let place = Place::new();
    let ran = place.run(&["verify"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("intact  archive/archive.db: 10 events"), "{}", ran.stdout);

    let database = place.0.path().join("archive/archive.db");
    let damage = rusqlite::Connection::open(&database).expect("open");
    damage
        .execute_batch(
            "DROP TRIGGER IF EXISTS content_no_update;
             UPDATE content SET canonical = CAST(replace(CAST(canonical AS TEXT), 'hello', 'hullo') AS BLOB) WHERE seq = 9;",
        )
        .expect("damage");
    drop(damage);
    let ran = place.run(&["verify"]);
    assert_eq!(ran.status, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("seq 9: changed content"), "{}", ran.stdout);
    assert!(ran.stderr.contains("first bad seq 9") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    assert!(!ran.stdout.contains("hullo") && !ran.stderr.contains("hullo"));

    let ran = place.run(&["verify", "--json"]);
    assert_eq!(ran.status, 4);
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["finding"]["seq"], 9);
    assert_eq!(lines.last().expect("summary")["summary"]["intact"], false);
}

#[test]
fn a_backup_is_verified_and_can_be_read_where_it_lies() {
    let place = Place::new();
    let ran = place.run(&["backup", "copy"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("copied to copy/archive.db\n"), "{}", ran.stdout);
    assert_eq!(place.listed(&["--archive", "copy"]), ["Budget", "Standup"]);
    assert_eq!(place.run(&["verify", "--archive", "copy/archive.db"]).status, 0);
    let again = place.run(&["backup", "copy"]);
    assert_eq!((again.status, again.stderr.lines().count()), (1, 1), "{}", again.stderr);
}

#[test]
fn search_rows_are_events_with_names_of_their_own_for_the_rest() {
    let place = Place::new();
    let ran = place.run(&["search", "budget", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let mut subjects = 0;
    for line in ran.stdout.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line.matches("\"subject\":").count(), usize::from(row.get("subject").is_some()), "{line}");
        assert_eq!(row["conversation_subject"], "Budget", "{line}");
        assert!(row["seq"].is_u64() && row["snippet"].is_string() && row["standing"] == "current", "{line}");
        subjects += usize::from(row.get("subject").is_some());
    }
    assert_eq!(subjects, 1, "the event that tells the subject is found: {}", ran.stdout);
}

#[test]
fn search_finds_tells_where_and_says_how_whole_the_record_is() {
    let dir = tempfile::tempdir().expect("folder");
    archive(dir.path());
    let ran = run(dir.path(), &["search", "--archive", ".", "groesser"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let [first, second] = lines[..] else { panic!("{}", ran.stdout) };
    assert!(first.starts_with("2026-11-21 09:30:03  Alice  c_") && first.ends_with("seq 4  Budget"), "{first}");
    assert_eq!(second, "    größer 🎉 <U+001B>[31mred");
    let ran = run(dir.path(), &["search", "--archive", ".", "--json", "hello", "from:bob"]);
    let row: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one row");
    assert_eq!(row["snippet"], "<mark>hello</mark>");
    assert_eq!((&row["kind"], &row["seq"]), (&"message.sent".into(), &9.into()));
    assert_eq!((&row["standing"], &row["coverage"]), (&"current".into(), &"incomplete".into()));
    assert_eq!(row["conversation_subject"], "Standup");
    assert!(row["score"].as_f64().expect("score") > 0.0);
    let event: Event = serde_json::from_value(row).expect("an event, version 1, with more");
    assert_eq!(event.content.message.expect("message").text, "hello");
}

#[test]
fn search_goes_on_from_a_cursor_and_counts() {
    let dir = tempfile::tempdir().expect("folder");
    archive(dir.path());
    let mut after: Option<String> = None;
    let mut seqs = Vec::new();
    loop {
        let mut args = vec!["search", "--archive", ".", "--json", "--sort", "oldest", "--limit", "3", "*"];
        if let Some(after) = &after {
            args.extend(["--after", after]);
        }
        let ran = run(dir.path(), &args);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let rows = ran.stdout.lines().map(|row| serde_json::from_str::<Event>(row).expect("row"));
        seqs.extend(rows.map(|event| event.seq.0));
        match ran.stderr.trim().rsplit_once("--after ") {
            Some((_, cursor)) => after = Some(cursor.to_owned()),
            None => break,
        }
    }
    assert_eq!(seqs, (1..=10).collect::<Vec<u64>>());
    let ran = run(dir.path(), &["search", "--archive", ".", "--facets", "kind:message"]);
    assert!(ran.stdout.contains("platforms             2  ucwa"), "{}", ran.stdout);
    assert!(ran.stdout.contains("months                2  2026-11"), "{}", ran.stdout);
}

#[test]
fn search_that_finds_nothing_is_3_and_a_query_that_cannot_be_read_is_2_and_points() {
    let dir = tempfile::tempdir().expect("folder");
    archive(dir.path());
    let ran = run(dir.path(), &["search", "--archive", ".", "nowhere"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.starts_with("greffier: nothing found"), "{}", ran.stderr);
    let ran = run(dir.path(), &["search", "--archive", ".", "budget kind:nonsense"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stderr);
    assert_eq!(lines[1], "  budget kind:nonsense");
    assert!(lines[2].trim_end().ends_with('^') && lines[2].find('^') >= Some(9), "{}", ran.stderr);
    let ran = run(dir.path(), &["search", "--archive", "nowhere", "x"]);
    assert_eq!(ran.status, 1);
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn reindex_makes_the_index_anew_also_over_a_damaged_one() {
    let dir = tempfile::tempdir().expect("folder");
    archive(dir.path());
    let ran = run(dir.path(), &["reindex", "--archive", "."]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (0, "10 events searchable\n", ""));
    std::fs::write(dir.path().join("index/g1/meta.json"), "{}").expect("damage");
    assert_eq!(run(dir.path(), &["search", "--archive", ".", "hello"]).status, 0);
    assert!(dir.path().join("index/g2").exists() && !dir.path().join("index/g1").exists());
    assert_eq!(run(dir.path(), &["reindex", "--archive", "."]).status, 0);
}
