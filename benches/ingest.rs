//! Durable ingest through the sink against one plain SQLite table, in the same run on the same disk.
//!
//! The plain table holds text, conversation and time with one secondary index; both sides write the same text bytes with
//! a write-ahead log, `synchronous=FULL` and the same number of events per commit. Rounds alternate, so that other load
//! on the machine hits both; the ratio is that of the medians. Run: `cargo bench --bench ingest [-- part of a name]`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greffier::archive::Archive;
use greffier::capture::{Append, Captured, DedupeKey, Envelope, Origin, Sink, Source};
use greffier::clock::SystemClock;
use greffier::model::{Content, ConversationId, Kind, Message, Person, Timestamp};

const T0: i64 = 1_795_225_034_000_000;
const CONVERSATIONS: usize = 20;
const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` runs this too: then only a taste, to see that it works.
    let full = std::env::args().any(|a| a == "--bench");
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let (rounds, batched, single, tasks) = if full { (ROUNDS, 20_000, 1_500, 400) } else { (1, 400, 20, 5) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    println!("{:<42} {:>12} {:>12} {:>7}", "durable ingest", "plain/s", "archive/s", "ratio");
    for (name, batch, count) in [("100 events per commit", 100, batched), ("1 event per commit", 1, single)] {
        if !name.contains(&only) {
            continue;
        }
        let mut plain = Vec::new();
        let mut ours = Vec::new();
        let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
        let mut table = Plain::open(dirs[0].path());
        let archive = Archive::open(dirs[1].path(), Arc::new(SystemClock)).expect("archive");
        for round in 0..rounds {
            let events = count * round..count * (round + 1);
            let rows: Vec<_> = events.clone().map(|n| (conversation(n), time(n), text(n))).collect();
            plain.push(rate(count, || table.write(&rows, batch)));
            let batches: Vec<Append> = events.step_by(batch).map(|from| append(from, batch)).collect();
            let sink = archive.sink();
            ours.push(rate(count, || {
                runtime.block_on(async {
                    let source = source();
                    for batch in batches {
                        sink.append(&source, batch).await.expect("append");
                    }
                });
            }));
        }
        let (plain, ours) = (median(plain), median(ours));
        println!("{name:<42} {plain:>12.0} {ours:>12.0} {:>7.2}", ours / plain);
        runtime.block_on(archive.close()).expect("close");
    }
    println!("\n{:<42} {:>12} {:>12} {:>12}", "latency from call to durable", "p50 ms", "p99 ms", "events/s");
    for (name, connectors, size) in [("16 connectors, 5 events each", 16, 5), ("4 connectors, 100 events each", 4, 100)]
    {
        if !name.contains(&only) {
            continue;
        }
        let dir = tempfile::tempdir().expect("directory");
        let archive = Archive::open(dir.path(), Arc::new(SystemClock)).expect("archive");
        let start = Instant::now();
        let mut times = runtime.block_on(under_load(archive.sink(), connectors, size, tasks));
        let rate = times.len() as f64 * size as f64 / start.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |p: usize| times[(times.len() - 1) * p / 100].as_secs_f64() * 1e3;
        println!("{name:<42} {:>12.2} {:>12.2} {rate:>12.0}", at(50), at(99));
        runtime.block_on(archive.close()).expect("close");
    }
}

/// Each connector appends as fast as it is told that the one before is durable.
async fn under_load(sink: Arc<dyn Sink>, connectors: usize, size: usize, appends: usize) -> Vec<Duration> {
    let tasks: Vec<_> = (0..connectors)
        .map(|connector| {
            let sink = sink.clone();
            tokio::spawn(async move {
                let source = Source { connector: format!("c{connector}"), ..source() };
                let mut times = Vec::with_capacity(appends);
                for n in 0..appends {
                    let batch = append(n * size, size);
                    let called = Instant::now();
                    sink.append(&source, batch).await.expect("append");
                    times.push(called.elapsed());
                }
                times
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("task"));
    }
    all
}

fn source() -> Source {
    Source { connector: "sfb".into(), platform: "ucwa".into() }
}

fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What somebody says: 20 to 200 bytes, the same for both sides.
fn text(n: usize) -> String {
    const WORDS: [&str; 12] =
        ["the", "budget", "for", "next", "quarter", "is", "über", "plan", "meeting", "at", "noon", "please"];
    let mut random = fastrand::Rng::with_seed(n as u64);
    let words = random.usize(4..36);
    let mut text = format!("#{n}");
    for _ in 0..words {
        text.push(' ');
        text.push_str(WORDS[random.usize(..WORDS.len())]);
    }
    text
}

/// A meeting's messages come in runs, as they do in batches of a real event channel.
fn conversation(n: usize) -> ConversationId {
    let number = (n / 10) % CONVERSATIONS;
    ConversationId::new(Timestamp(T0), [u8::try_from(number).unwrap_or(0); 10])
}

fn time(n: usize) -> i64 {
    T0 + n as i64 * 37_000
}

fn append(from: usize, batch: usize) -> Append {
    let mut body =
        String::from(r#"{"_links":{"self":{"href":"/ucwa/oauth/v1/applications/1/events?ack=1"}},"sender":["#);
    let mut events = Vec::with_capacity(batch);
    for n in from..from + batch {
        let (text, conversation) = (text(n), conversation(n));
        let href =
            format!("/ucwa/oauth/v1/applications/1/communication/conversations/{conversation}/messaging/messages/{n}");
        let escaped = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        body.push_str(&format!(
            r#"{{"rel":"conversation","events":[{{"link":{{"rel":"message","href":"{href}"}},"_embedded":{{"message":{{"direction":"Incoming","timeStamp":"\/Date({})\/","_links":{{"self":{{"href":"{href}"}},"plainMessage":{{"href":"data:text/plain;charset=utf-8,{escaped}"}}}},"rel":"message"}}}},"type":"completed"}}]}},"#,
            time(n) / 1000
        ));
        let message = Message { id: href.clone(), text, importance: Some("normal".into()), ..Message::default() };
        let who = n % 7;
        events.push(Captured {
            origin: Origin::Here(0),
            conversation: Some(conversation.clone()),
            kind: Kind::MessageSent,
            source_time: Some(Timestamp(time(n))),
            dedupe: DedupeKey(format!("message|app|{conversation}|{href}|{}", time(n) / 1000)),
            content: Content {
                actor: Some(Person { id: format!("sip:person{who}@contoso.com"), name: Some(format!("Person {who}")) }),
                message: Some(message),
                ..Content::default()
            },
        });
    }
    body.push_str("]}");
    let envelope = Envelope {
        received_at: Timestamp(time(from)),
        server_date: Some(Timestamp(time(from))),
        request: "GET https://pool.contoso.com/ucwa/oauth/v1/applications/1/events?ack=1".into(),
        status: 200,
        content_type: Some("application/json".into()),
        body: Bytes::from(body),
        pending: false,
    };
    Append { envelopes: vec![envelope], events, ..Append::default() }
}

/// The yardstick.
struct Plain(rusqlite::Connection);

impl Plain {
    fn open(dir: &Path) -> Plain {
        let conn = rusqlite::Connection::open(dir.join("plain.db")).expect("open");
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
             CREATE TABLE message (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL);
             CREATE INDEX message_by_conversation ON message (conversation, at);",
        )
        .expect("schema");
        Plain(conn)
    }

    fn write(&mut self, rows: &[(ConversationId, i64, String)], batch: usize) {
        for rows in rows.chunks(batch) {
            let tx = self.0.transaction().expect("begin");
            {
                let mut insert = tx
                    .prepare_cached("INSERT INTO message (conversation, at, text) VALUES (?1, ?2, ?3)")
                    .expect("prepare");
                for (conversation, at, text) in rows {
                    insert.execute((conversation.as_str(), at, text)).expect("insert");
                }
            }
            tx.commit().expect("commit");
        }
    }
}
