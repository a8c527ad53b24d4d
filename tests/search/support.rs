//! A real archive, filled through the real sink, and questions to its index.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use greffier::archive::{Archive, Layout, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Origin, Source};
use greffier::clock::SystemClock;
use greffier::index::query::{Calendar, Query, parse};
use greffier::index::{Answer, Index, Request, Sort};
use greffier::model::{Attachment, Content, ConversationId, Kind, Message, Participant, Person, Timestamp};

/// 2026-11-20T08:00:00Z.
pub const T0: i64 = 1_795_161_600_000_000;

pub fn source() -> Source {
    Source { connector: "sfb".into(), platform: "ucwa".into() }
}

pub fn conversation(n: u8) -> ConversationId {
    ConversationId::new(Timestamp(T0), [n; 10])
}

pub fn person(name: &str) -> Person {
    Person { id: format!("sip:{}@contoso.com", name.to_lowercase()), name: Some(format!("{name} Weber")) }
}

/// An event of conversation `c`, `seconds` after [`T0`].
pub fn event(c: u8, kind: Kind, seconds: i64, content: Content) -> Captured {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Captured {
        origin: Origin::Recorder,
        conversation: (c > 0).then(|| conversation(c)),
        kind,
        source_time: Some(Timestamp(T0 + seconds * 1_000_000)),
        dedupe: DedupeKey(format!("{kind}|{n}")),
        content,
    }
}

pub fn about_message(c: u8, kind: Kind, id: &str, who: &str, text: &str, seconds: i64) -> Captured {
    let message = Message { id: id.into(), text: text.into(), ..Message::default() };
    event(c, kind, seconds, Content { actor: Some(person(who)), message: Some(message), ..Content::default() })
}

pub fn says(c: u8, who: &str, text: &str, seconds: i64) -> Captured {
    about_message(c, Kind::MessageSent, &format!("m{seconds}"), who, text, seconds)
}

pub fn sends_file(c: u8, who: &str, name: &str, seconds: i64) -> Captured {
    let mut captured = says(c, who, "", seconds);
    let attachment = Attachment { name: Some(name.into()), ..Attachment::default() };
    captured.content.message.as_mut().unwrap().attachments.push(attachment);
    captured
}

pub fn joins(c: u8, who: &str, seconds: i64) -> Captured {
    let who = person(who);
    let participant = Participant { id: who.id, name: who.name, ..Participant::default() };
    event(c, Kind::ParticipantJoined, seconds, Content { participant: Some(participant), ..Content::default() })
}

pub fn has_subject(c: u8, kind: Kind, subject: &str, seconds: i64) -> Captured {
    event(c, kind, seconds, Content { subject: Some(subject.into()), ..Content::default() })
}

/// An archive open for writing.
pub fn open(dir: &Path) -> Archive {
    Archive::open(dir, Arc::new(SystemClock)).unwrap()
}

pub async fn put(archive: &Archive, events: Vec<Captured>) {
    archive.sink().append(&source(), Append { events, ..Append::default() }).await.unwrap();
}

pub fn asks(text: &str) -> Query {
    let zone = chrono_tz::Tz::UTC;
    parse(text, &Calendar { now: Timestamp(T0 + 86_400_000_000), zone }).unwrap()
}

/// The index brought up to the log by this process.
pub fn ready(dir: &Path) -> Index {
    greffier::index::catch_up(&Layout::of(dir), &Arc::new(AtomicBool::new(false)), &mut |_, _| ()).unwrap()
}

pub fn request(query: &Query, sort: Sort) -> Request<'_> {
    Request { query, sort, limit: 1_000, after: None, facets: false }
}

pub fn answer(index: &Index, reader: &Reader, text: &str) -> Answer {
    index.search(reader, &request(&asks(text), Sort::Oldest)).unwrap()
}

/// Seqs of hits, rising, by one look into the index: for an index that is just moving.
pub fn hits(index: &Index, reader: &Reader, text: &str) -> Vec<u64> {
    let mut seqs: Vec<u64> = answer(index, reader, text).hits.iter().map(|hit| hit.event.seq.0).collect();
    seqs.sort_unstable();
    seqs
}

/// Seqs of hits, rising; two ways of asking must agree, so the index has to be at rest.
pub fn found(index: &Index, reader: &Reader, text: &str) -> Vec<u64> {
    let query = asks(text);
    let matches = index.matches(&query, &greffier::index::Scope::default()).unwrap();
    let all: Vec<u64> = matches.map(|seq| seq.unwrap().0).collect();
    let answer = answer(index, reader, text);
    let mut seqs: Vec<u64> = answer.hits.iter().map(|hit| hit.event.seq.0).collect();
    seqs.sort_unstable();
    assert_eq!(answer.total, all.len() as u64, "the total of {text}");
    assert!(answer.next.is_some() || seqs == all, "the page of {text}");
    all
}

/// Waits until the index has reached a seq.
pub async fn reaches(index: &Index, seq: u64) {
    let waiting = async {
        while index.reached().0 < seq {
            // The index has nothing to await: it is asked like this by a page that shows how far it is.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let late = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(late.is_ok(), "reached {:?} of {seq}", index.status());
}
