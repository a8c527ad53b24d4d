//! Speed of `verify` on a real archive, against plain SHA-256 over the same bytes in the same run.
//!
//! `cargo bench --bench verify`; `GREFFIER_BENCH_EVENTS` sets the number of events (200,000 if unset).
#![allow(clippy::unwrap_used, reason = "a benchmark says what is wrong by failing")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use greffier::archive::audit::{AuditOptions, audit};
use greffier::archive::{Archive, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Envelope, EnvelopeId, Origin, Source};
use greffier::clock::SystemClock;
use greffier::integrity::checkpoint::SigningKey;
use greffier::model::{Content, ConversationId, Kind, Message, Person, Seq, Timestamp};
use sha2::{Digest, Sha256};

/// Events per append, and per envelope.
const BATCH: u64 = 1000;
const PER_ENVELOPE: u64 = 10;

const WORDS: [&str; 16] = [
    "meeting", "tomorrow", "budget", "the", "a", "review", "agreed", "numbers", "please", "send", "contract", "天气",
    "für", "delay", "customer", "release",
];

fn text(random: &mut fastrand::Rng) -> String {
    let words: Vec<&str> = (0..random.usize(4..30)).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
    words.join(" ")
}

fn batch(first: u64, random: &mut fastrand::Rng) -> Append {
    let mut batch = Append::default();
    for seq in first..first + BATCH {
        let text = text(random);
        let conversation = ConversationId::new(Timestamp(0), [(seq / 500 % 251) as u8; 10]);
        if seq.is_multiple_of(PER_ENVELOPE) {
            batch.envelopes.push(Envelope {
                received_at: Timestamp::from_millis(1_795_225_034_000),
                server_date: None,
                request: "GET https://pool.contoso.com/ucwa/v1/applications/1/events".into(),
                status: 200,
                content_type: Some("application/json".into()),
                body: Bytes::new(),
                pending: false,
            });
        }
        let here = batch.envelopes.len() - 1;
        let body = &mut batch.envelopes[here].body;
        let link =
            format!("{{\"rel\":\"message\",\"href\":\"/ucwa/v1/applications/1/messages/{seq}\",\"text\":\"{text}\"}},");
        *body = [body.as_ref(), link.as_bytes()].concat().into();
        let message = Message { id: format!("/messages/{seq}"), text, ..Message::default() };
        let who = seq % 7;
        let actor = Person { id: format!("sip:user{who}@contoso.com"), name: Some(format!("User {who}")) };
        batch.events.push(Captured {
            origin: Origin::Here(here),
            conversation: Some(conversation),
            kind: Kind::MessageSent,
            source_time: Some(Timestamp::from_millis(1_795_225_034_000 + seq as i64)),
            dedupe: DedupeKey(format!("message|app|conversation|{seq}")),
            content: Content { actor: Some(actor), message: Some(message), ..Content::default() },
        });
    }
    batch
}

fn fill(dir: &std::path::Path, events: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let archive = Archive::open(dir, Arc::new(SystemClock)).unwrap();
        let key = Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap());
        let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
        let mut random = fastrand::Rng::with_seed(1);
        for first in (0..events).step_by(BATCH as usize) {
            archive.sink().append(&source, batch(first, &mut random)).await.unwrap();
            if first % 20_000 == 0 {
                archive.checkpoint(key.clone()).await.unwrap();
            }
        }
        archive.checkpoint(key).await.unwrap();
        archive.close().await.unwrap();
    });
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: not known here");
    line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn main() {
    let events: u64 = std::env::var("GREFFIER_BENCH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    fill(dir.path(), events);
    println!("archive of {events} events made in {:.1} s", started.elapsed().as_secs_f64());
    println!("peak memory before verify: {}", peak_memory());

    let started = Instant::now();
    let mut findings = 0u64;
    let report = audit(dir.path(), &AuditOptions::default(), &mut |_| findings += 1, &mut |_, _| {}).unwrap();
    let verify = started.elapsed().as_secs_f64();
    assert_eq!(findings, 0, "{report:?}");
    println!("peak memory after verify:  {}", peak_memory());

    // The same bytes once, in pieces as they are stored, hashed by the same code on one core.
    let reader = Reader::open(dir.path()).unwrap();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut from = 1;
    loop {
        let page = reader.leaves(Seq(from), 5000).unwrap();
        let Some(last) = page.last() else { break };
        from = last.seq + 1;
        pieces.extend(page.into_iter().filter_map(|row| row.canonical));
    }
    for id in 1..=report.envelopes {
        pieces.push(reader.envelope(EnvelopeId(id as i64)).unwrap().unwrap().envelope.body.to_vec());
    }
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    let started = Instant::now();
    let mut sum = 0u8;
    for piece in &pieces {
        sum ^= Sha256::digest(piece)[0];
    }
    let plain = started.elapsed().as_secs_f64();
    let all = vec![sum; 1 << 20];
    let rounds = report.bytes / (1 << 20) + 1;
    let started = Instant::now();
    let mut long = Sha256::new();
    (0..rounds).for_each(|_| long.update(&all));
    std::hint::black_box(long.finalize());
    let stream = started.elapsed().as_secs_f64();

    let mb = bytes as f64 / 1e6;
    println!(
        "verify:               {:>9.0} events/s  {:>7.1} MB/s  {verify:.2} s",
        events as f64 / verify,
        mb / verify
    );
    println!(
        "plain SHA-256, once:  {:>9.0} pieces/s  {:>7.1} MB/s  {plain:.2} s",
        pieces.len() as f64 / plain,
        mb / plain
    );
    println!("verify takes {:.2} times plain SHA-256 of contents and bodies ({mb:.0} MB)", verify / plain);
    let hashed = report.bytes as f64 / 1e6;
    println!(
        "verify takes {:.2} times one stream over every byte it has to hash ({hashed:.0} MB, {stream:.2} s)",
        verify / stream
    );
}
