//! A small archive with everything in it that an audit looks at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use greffier::archive::audit::{AuditOptions, audit};
use greffier::archive::{Archive, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Envelope, Origin, Source};
use greffier::clock::ManualClock;
use greffier::integrity::checkpoint::SigningKey;
use greffier::integrity::finding::{Finding, Report};
use greffier::model::{Content, ConversationId, Gap, Kind, Message, Participant, Person, Timestamp};

pub const T0: i64 = 1_795_225_034_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(T0 + seconds * 1000)
}

pub fn conversation(n: u8) -> ConversationId {
    ConversationId::new(at(0), [n; 10])
}

pub fn person(name: &str) -> Person {
    Person { id: format!("sip:{}@contoso.com", name.to_lowercase()), name: Some(name.into()) }
}

/// Makes batches for one conversation.
pub struct Cast {
    pub conversation: Option<ConversationId>,
    pub seconds: i64,
    pub batch: Append,
}

impl Cast {
    pub fn new(n: u8) -> Self {
        Cast { conversation: (n > 0).then(|| conversation(n)), seconds: i64::from(n) * 1000, batch: Append::default() }
    }

    pub fn event(&mut self, kind: Kind, content: Content) -> &mut Self {
        self.seconds += 1;
        let body = format!("{{\"kind\":\"{kind}\",\"at\":{},\"pad\":\"{}\"}}", self.seconds, "x".repeat(300));
        self.batch.envelopes.push(Envelope {
            received_at: at(self.seconds),
            server_date: None,
            request: "GET https://pool.contoso.com/events".into(),
            status: 200,
            content_type: Some("application/json".into()),
            body: Bytes::from(body),
            pending: false,
        });
        self.batch.events.push(Captured {
            origin: Origin::Here(self.batch.envelopes.len() - 1),
            conversation: self.conversation.clone(),
            kind,
            source_time: Some(at(self.seconds)),
            dedupe: DedupeKey(format!("{kind}|{:?}|{}", self.conversation, self.seconds)),
            content,
        });
        self
    }

    pub fn says(&mut self, who: &str, text: &str) -> &mut Self {
        let message = Message { id: format!("m{}", self.seconds), text: text.into(), ..Message::default() };
        self.event(
            Kind::MessageSent,
            Content { actor: Some(person(who)), message: Some(message), ..Content::default() },
        )
    }

    pub fn joins(&mut self, who: &str) -> &mut Self {
        let p = person(who);
        let participant = Participant { id: p.id, name: p.name, ..Participant::default() };
        self.event(Kind::ParticipantJoined, Content { participant: Some(participant), ..Content::default() })
    }

    pub fn gap(&mut self, seconds: i64) -> &mut Self {
        let gap = Gap { cause: "event channel lost".into(), from: at(self.seconds), to: at(self.seconds + seconds) };
        self.seconds += seconds;
        self.event(Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() })
    }
}

/// A meeting of 15 events: seq 5, 6, 7, … are messages of Alice and Bob.
pub fn meeting(n: u8) -> Append {
    let mut cast = Cast::new(n);
    cast.event(Kind::ConversationStarted, Content { subject: Some("Weekly \"plan\"".into()), ..Content::default() });
    cast.event(Kind::RecordingStarted, Content::default());
    cast.joins("Alice").joins("Bob");
    cast.says("Alice", "hello")
        .says("Bob", "hi")
        .says("Alice", "two\nlines")
        .says("Bob", "שלום \u{202e}gnorw\u{1b}[2J");
    cast.gap(10).says("Alice", "天气 👍🏽").says("Bob", "ok").says("Alice", "tab\there").says("Bob", "end");
    cast.event(Kind::RecordingStopped, Content::default());
    cast.event(Kind::ConversationEnded, Content::default());
    cast.batch
}

pub struct Made {
    pub dir: tempfile::TempDir,
}

impl Made {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn reader(&self) -> Reader {
        Reader::open(self.path()).unwrap()
    }

    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.path().join("keys/checkpoint.pub")).unwrap().trim().to_owned()
    }

    /// Runs SQL on the closed archive as somebody would who owns the file: without triggers.
    pub fn tamper(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.path().join("archive.db")).unwrap();
        let triggers: Vec<String> = conn
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for name in triggers {
            conn.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        conn.execute_batch(sql).unwrap();
        assert!(!conn.is_autocommit() || conn.close().is_ok());
    }

    pub fn audit(&self) -> (Vec<Finding>, Report) {
        let mut findings = Vec::new();
        let report = audit(self.path(), &AuditOptions::default(), &mut |f| findings.push(f), &mut |done, all| {
            assert!(done <= all)
        })
        .unwrap();
        let counted: u64 = report.findings.values().sum();
        assert_eq!(counted, findings.len() as u64);
        (findings, report)
    }
}

pub fn source() -> Source {
    Source { connector: "sfb".into(), platform: "ucwa".into() }
}

/// An archive with these batches, a checkpoint after each, closed.
pub fn archive_of(batches: Vec<Append>) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let made = Made { dir };
    append(made.path(), batches);
    made
}

/// Opens the archive, appends the batches with a checkpoint after each, closes it.
pub fn append(path: &Path, batches: Vec<Append>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(at(100_000)));
        let archive = Archive::open(path, clock.clone()).unwrap();
        let key = Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap());
        for (batch, n) in batches.into_iter().zip(1..) {
            clock.set(at(100_000 + n));
            archive.sink().append(&source(), batch).await.unwrap();
            archive.checkpoint(key.clone()).await.unwrap().unwrap();
        }
        archive.close().await.unwrap();
    });
}

/// 45 events in three conversations, three checkpoints.
pub fn three_meetings() -> Made {
    archive_of(vec![meeting(1), meeting(2), meeting(3)])
}

pub fn copy(made: &Made) -> Made {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(made.path(), dir.path());
    Made { dir }
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            std::fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs the independent verifier; gives its exit status and what it said.
pub fn python(arguments: &[&str]) -> (i32, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_export.py");
    let output = std::process::Command::new("python3")
        .arg("-B")
        .arg(script)
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .expect("python3 is there: the independent verifier is written in it");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
