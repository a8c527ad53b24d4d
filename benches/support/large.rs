//! A large archive for benchmarks, the same every time: many conversations of one length, and one that is long. It comes
//! through the real sink.

use std::path::Path;
use std::sync::Arc;

use greffier::archive::Archive;
use greffier::capture::{Append, Captured, DedupeKey, Origin, Source};
use greffier::clock::SystemClock;
use greffier::model::{Content, ConversationId, Gap, Kind, Message, Person, Timestamp};

/// When the first conversation starts.
pub const T0: i64 = 1_700_000_000_000_000;

/// From one conversation to the next: ten minutes, so that 100,000 fill two years.
pub const APART: i64 = 600_000_000;

/// How large.
pub struct Shape {
    /// Conversations besides the long one, which has this number.
    pub conversations: usize,
    /// Messages in each of them, one a second.
    pub messages: usize,
    /// Messages of the long one, one a minute.
    pub long: usize,
}

/// The id of a conversation by its number.
pub fn id(n: usize) -> ConversationId {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    ConversationId::new(Timestamp(T0), bytes)
}

fn event(n: usize, key: &str, kind: Kind, at: i64, content: Content) -> Captured {
    Captured {
        origin: Origin::Recorder,
        conversation: Some(id(n)),
        kind,
        source_time: Some(Timestamp(at)),
        dedupe: DedupeKey(format!("{kind}|app|{n}|{key}|{}", at / 1000)),
        content,
    }
}

/// Words that few messages hold: one in ten, in a hundred, in ten thousand.
fn rare(n: usize, m: usize) -> &'static str {
    match (n * 7_919 + m * 104_729) % 10_000 {
        0 => ", by the lighthouse",
        h if h % 100 == 1 => ", in the harbour",
        h if h % 10 == 2 => ", under the crane",
        _ => "",
    }
}

/// What somebody says as number `m` of conversation `n`.
pub fn says(n: usize, m: usize, at: i64) -> Captured {
    let who = if m.is_multiple_of(2) { "everybody".to_owned() } else { format!("p{}", (n * 7 + m % 16) % 20_000) };
    let actor = Person { id: format!("sip:{who}@contoso.com"), name: Some(format!("Person {who}")) };
    let text =
        format!("what is said as number {m} of conversation {n} is of the usual length, more or less{}", rare(n, m));
    let message = Message { id: m.to_string(), text, ..Message::default() };
    let content = Content { actor: Some(actor), message: Some(message), ..Content::default() };
    event(n, &m.to_string(), Kind::MessageSent, at, content)
}

/// Makes the archive in `dir`.
pub async fn fill(dir: &Path, shape: &Shape) {
    let Shape { conversations, messages, long } = *shape;
    let archive = Archive::open(dir, Arc::new(SystemClock)).expect("archive");
    let sink = archive.sink();
    let usual = Source { connector: "sfb".into(), platform: "ucwa".into() };
    let rare = Source { connector: "rare".into(), platform: "teams".into() };
    let mut batch = Append::default();
    for n in 0..conversations {
        let at = T0 + APART * n as i64;
        let subject = Some(format!("{} {n}", ["Budget", "Plan", "Review"][n % 3]));
        batch.events.push(event(n, "s", Kind::ConversationStarted, at, Content { subject, ..Content::default() }));
        batch.events.push(event(n, "r", Kind::RecordingStarted, at, Content::default()));
        for m in 0..messages {
            batch.events.push(says(n, m, at + 1_000_000 * m as i64));
        }
        if n.is_multiple_of(1000) {
            let gap = Gap { cause: "event channel lost".into(), from: Timestamp(at), to: Timestamp(at + APART) };
            let content = Content { gap: Some(gap), ..Content::default() };
            batch.events.push(event(n, "g", Kind::CaptureGap, at, content));
        }
        if !n.is_multiple_of(5000) {
            batch.events.push(event(n, "e", Kind::ConversationEnded, at + APART, Content::default()));
        }
        if n.is_multiple_of(9999) {
            sink.append(&rare, std::mem::take(&mut batch)).await.expect("append");
        } else if batch.events.len() > 2000 {
            sink.append(&usual, std::mem::take(&mut batch)).await.expect("append");
        }
    }
    for m in 0..long {
        batch.events.push(says(conversations, m, T0 + 60_000_000 * m as i64));
        if m.is_multiple_of(50) {
            let message = Message { id: m.to_string(), text: "better".into(), ..Message::default() };
            let content = Content { message: Some(message), ..Content::default() };
            let at = T0 + 60_000_000 * m as i64 + 1;
            batch.events.push(event(conversations, &format!("e{m}"), Kind::MessageEdited, at, content));
        }
        if batch.events.len() > 2000 {
            sink.append(&usual, std::mem::take(&mut batch)).await.expect("append");
        }
    }
    sink.append(&usual, batch).await.expect("append");
    archive.close().await.expect("close");
}
