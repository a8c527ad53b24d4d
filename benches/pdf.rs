//! Speed and memory of the export format `pdf`, in conversations of 1,000 messages and in one of all.
//!
//! `cargo bench --bench pdf`; `GREFFIER_BENCH_EVENTS` sets the number of events (20,000 if unset), `GREFFIER_BENCH_ONE=1` puts
//! them into one conversation.
#![allow(clippy::unwrap_used, reason = "a benchmark says what is wrong by failing")]

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use greffier::archive::{Archive, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Origin, Source as From};
use greffier::clock::SystemClock;
use greffier::export::{Made, Selection, Source, format, to_zip};
use greffier::integrity::checkpoint::SigningKey;
use greffier::model::{Content, ConversationId, Kind, Message, Person, Timestamp};

const WORDS: [&str; 22] = [
    "meeting",
    "tomorrow",
    "budget",
    "the",
    "a",
    "review",
    "agreed",
    "numbers",
    "please",
    "send",
    "contract",
    "天气",
    "für",
    "delay",
    "customer",
    "release",
    "会議は午後から",
    "안녕하세요",
    "завтра",
    "👍",
    "and",
    "we",
];
const BATCH: u64 = 1000;

fn batch(first: u64, one: bool, random: &mut fastrand::Rng) -> Append {
    let mut batch = Append::default();
    for n in first..first + BATCH {
        let words: Vec<&str> = (0..random.usize(4..30)).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
        let number = if one { 0 } else { n / 1000 };
        let mut id = [0; 10];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let who = random.u64(0..7);
        let message = Message { id: format!("m{n}"), text: words.join(" "), ..Message::default() };
        batch.events.push(Captured {
            origin: Origin::Recorder,
            conversation: Some(ConversationId::new(Timestamp(0), id)),
            kind: Kind::MessageSent,
            source_time: Some(Timestamp::from_millis(1_795_225_034_000 + i64::try_from(n).unwrap() * 20_000)),
            dedupe: DedupeKey(format!("m{n}")),
            content: Content {
                actor: Some(Person { id: format!("sip:user{who}@contoso.com"), name: Some(format!("User {who}")) }),
                message: Some(message),
                ..Content::default()
            },
        });
    }
    batch
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn memory(what: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or("?: not known here");
    line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn main() {
    let events: u64 = std::env::var("GREFFIER_BENCH_EVENTS").ok().map_or(20_000, |n| n.parse().unwrap());
    let one = std::env::var_os("GREFFIER_BENCH_ONE").is_some();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let archive = Archive::open(dir.path(), Arc::new(SystemClock)).unwrap();
        let key = Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap());
        let source = From { connector: "sfb".into(), platform: "ucwa".into() };
        let mut random = fastrand::Rng::with_seed(1);
        for first in (0..events).step_by(BATCH as usize) {
            archive.sink().append(&source, batch(first, one, &mut random)).await.unwrap();
        }
        archive.checkpoint(key).await.unwrap();
        archive.close().await.unwrap();
    });
    println!("{events} messages; memory before: {}", memory("VmRSS"));
    let reader = Reader::open(dir.path()).unwrap();
    let selection = Selection::default();
    let source = Source::new(&reader, &selection).unwrap();
    let made = Made { at: Timestamp(0), by: "bench".into(), program: "bench".into() };
    let began = Instant::now();
    let mut out = Counted(0);
    let written = to_zip(&source, format("pdf").unwrap(), &made, &mut out, &mut |_, _| {}).unwrap();
    let took = began.elapsed().as_secs_f64();
    println!(
        "pdf: {} events in {took:.2} s = {:.0} events/s, {:.1} MB; memory at most {}",
        written.events,
        written.events as f64 / took,
        out.0 as f64 / 1e6,
        memory("VmHWM")
    );
}
