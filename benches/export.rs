//! Speed of every export format on a real archive, against reading all events in the same run, and the memory it takes.
//!
//! `cargo bench --bench export`; `GREFFIER_BENCH_EVENTS` sets the number of events (200,000 if unset; 1,000,000 for the
//! figures of the README), `GREFFIER_BENCH_FORMATS` the formats (all if unset; blanks between).
#![allow(clippy::unwrap_used, reason = "a benchmark says what is wrong by failing")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use greffier::archive::{Archive, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Envelope, Origin, Source as From};
use greffier::clock::SystemClock;
use greffier::export::{self, FORMATS, Made, Selection, Source};
use greffier::integrity::checkpoint::SigningKey;
use greffier::integrity::export_check::verify_export;
use greffier::model::{Content, ConversationId, Kind, Message, Participant, Person, Timestamp};

const BATCH: u64 = 1000;
/// Events of a conversation: an hour's meeting.
const MEETING: u64 = 500;
const T0: i64 = 1_795_225_034_000;

const WORDS: [&str; 16] = [
    "meeting", "tomorrow", "budget", "the", "a", "review", "agreed", "numbers", "please", "send", "contract", "天气",
    "für", "delay", "customer", "release",
];

fn person(n: u64) -> Person {
    Person { id: format!("sip:user{n}@contoso.com"), name: Some(format!("User {n}")) }
}

/// Events of meetings: people join, talk, correct themselves, leave.
fn event(seq: u64, random: &mut fastrand::Rng) -> (Kind, Content) {
    let who = person(seq % 7 + seq / MEETING % 40);
    let (place, meeting) = (seq % MEETING, seq / MEETING);
    let participant = Participant { id: who.id.clone(), name: who.name.clone(), ..Participant::default() };
    match place {
        0 => (Kind::ConversationStarted, Content { subject: Some(format!("Review {meeting}")), ..Content::default() }),
        1 => (Kind::RecordingStarted, Content::default()),
        2..9 => (Kind::ParticipantJoined, Content { participant: Some(participant), ..Content::default() }),
        491..498 => (Kind::ParticipantLeft, Content { participant: Some(participant), ..Content::default() }),
        498 => (Kind::RecordingStopped, Content::default()),
        499 => (Kind::ConversationEnded, Content::default()),
        _ => {
            let words: Vec<&str> = (0..random.usize(4..30)).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
            let edit = place.is_multiple_of(50);
            let id = format!("/messages/{}", if edit { seq - 1 } else { seq });
            let message = Message { id, text: words.join(" "), ..Message::default() };
            let kind = if edit { Kind::MessageEdited } else { Kind::MessageSent };
            (kind, Content { actor: Some(who), message: Some(message), ..Content::default() })
        }
    }
}

fn batch(first: u64, random: &mut fastrand::Rng) -> Append {
    let mut batch = Append::default();
    batch.envelopes.push(Envelope {
        received_at: Timestamp::from_millis(T0 + first as i64 * 1000),
        server_date: None,
        request: "GET https://pool.contoso.com/ucwa/v1/applications/1/events".into(),
        status: 200,
        content_type: Some("application/json".into()),
        body: Bytes::from(format!("{{\"batch\":{first}}}")),
        pending: false,
    });
    for seq in first..first + BATCH {
        let (kind, content) = event(seq, random);
        let id = (seq / MEETING).to_be_bytes();
        let mut random = [0; 10];
        random[2..].copy_from_slice(&id);
        batch.events.push(Captured {
            origin: Origin::Here(0),
            conversation: Some(ConversationId::new(Timestamp::from_millis(T0), random)),
            kind,
            source_time: Some(Timestamp::from_millis(T0 + seq as i64 * 7000)),
            dedupe: DedupeKey(format!("{kind}|{seq}")),
            content,
        });
    }
    batch
}

fn fill(dir: &std::path::Path, events: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let archive = Archive::open(dir, Arc::new(SystemClock)).unwrap();
        let key = Arc::new(SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap());
        let source = From { connector: "sfb".into(), platform: "ucwa".into() };
        let mut random = fastrand::Rng::with_seed(1);
        for first in (0..events).step_by(BATCH as usize) {
            archive.sink().append(&source, batch(first, &mut random)).await.unwrap();
        }
        archive.checkpoint(key).await.unwrap();
        archive.close().await.unwrap();
    });
}

/// Resident memory in MB at its highest since the last reset, and a reset where the system allows it.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kilobytes / 1024.0
}

/// Processor time of this process so far, in seconds: what a busy machine does not distort.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() {
    let events: u64 = std::env::var("GREFFIER_BENCH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let formats = std::env::var("GREFFIER_BENCH_FORMATS").unwrap_or_default();
    let kept = std::env::var("GREFFIER_BENCH_ARCHIVE").ok().map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.unwrap_or_else(|| temporary.path().join("archive"));
    if !dir.exists() {
        let started = Instant::now();
        std::fs::create_dir_all(&dir).unwrap();
        fill(&dir, events);
        println!("archive of {events} events made in {:.1} s", started.elapsed().as_secs_f64());
    }
    let reader = Reader::open(&dir).unwrap();
    let all = Selection::default();
    peak_memory();

    let mut busy = processor();
    let started = Instant::now();
    let read = reader.log_between(None, None).inspect(|event| assert!(event.is_ok())).count();
    let baseline = started.elapsed().as_secs_f64();
    let events = read as f64;
    let mut say = |what: &str, seconds: f64, note: &str| {
        let (ratio, memory) = (baseline / seconds, peak_memory());
        let cpu = events / (processor() - busy).max(0.01);
        busy = processor();
        let rate = events / seconds;
        println!(
            "{what:<20} {rate:>8.0} events/s {cpu:>8.0} per CPU second {ratio:>5.2} × reading {memory:>5.0} MB  {note}"
        );
    };
    say("reading all events", baseline, "the baseline");

    let made = Made { at: Timestamp(0), by: "bench".into(), program: "bench".into() };
    let wanted = |name: &str| formats.is_empty() || formats.split_whitespace().any(|wanted| wanted == name);
    for format in FORMATS.iter().filter(|format| wanted(format.name())) {
        let source = Source::new(&reader, &all).unwrap();
        if format.container() == export::Container::One {
            let started = Instant::now();
            export::to_writer(&source, *format, &mut std::io::sink(), &mut |_, _| ()).unwrap();
            say(format.name(), started.elapsed().as_secs_f64(), "the stream alone");
        }
        let out = temporary.path().join(format!("{}/", format.name()));
        let started = Instant::now();
        let (path, _) = export::to_file(&source, *format, &out, &made, &mut |_, _| ()).unwrap();
        say(format.name(), started.elapsed().as_secs_f64(), "to disk, with proofs and manifest");
        if format.provable() {
            let started = Instant::now();
            let report = verify_export(&path, None, &mut |finding| panic!("{finding}")).unwrap();
            assert!(report.is_good());
            say("  verify --export", started.elapsed().as_secs_f64(), "");
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
}
