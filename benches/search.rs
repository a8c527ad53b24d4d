//! Search over a large archive: our whole path (parse, scope, search, fetch from SQLite, snippet) against bare tantivy with
//! text fetched from SQLite and against SQLite's FTS5, over the same messages, in the same run.
//!
//! `GREFFIER_BENCH_CORPUS` and `GREFFIER_BENCH_QUERIES` name files of JSON lines (`{"id","conversation","sender","timestamp",
//! "text"}` and `{"kind","terms","sender","from","to","hits"}`); without them a small corpus of its own is made.
//! `GREFFIER_BENCH_DIR` keeps archive and indexes for the next run. `GREFFIER_BENCH_TIMES` multiplies the corpus.
//! Run: `cargo bench --bench search`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use greffier::archive::{Archive, Layout, Reader};
use greffier::capture::{Append, Captured, DedupeKey, Origin, Source};
use greffier::clock::SystemClock;
use greffier::index::query::{Calendar, parse};
use greffier::index::{self, Index, Request, Sort};
use greffier::model::{Content, ConversationId, Kind, Message, Person, Timestamp};
use serde::Deserialize;

#[path = "search/rivals.rs"]
mod rivals;

use rivals::{Bare, Fts};

/// Hits of a page.
const TOP: usize = 20;

/// One message of the corpus.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    id: u64,
    conversation: String,
    sender: String,
    timestamp: String,
    text: String,
}

impl Line {
    fn micros(&self) -> i64 {
        Timestamp::parse_rfc3339(&self.timestamp).expect("timestamp").micros()
    }
}

/// One query of the list.
#[derive(Clone, Debug, Deserialize)]
struct Asked {
    kind: String,
    terms: Vec<String>,
    sender: Option<String>,
    from: Option<String>,
    to: Option<String>,
    hits: u64,
}

impl Asked {
    /// As somebody would type it.
    fn typed(&self) -> String {
        let mut text = match self.kind.as_str() {
            "phrase" => format!("\"{}\"", self.terms.join(" ")),
            "prefix" => format!("{}*", self.terms[0]),
            _ => self.terms.join(" "),
        };
        if let Some(sender) = &self.sender {
            text.push_str(&format!(" from:{sender}"));
        }
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            text.push_str(&format!(" after:{from} before:{to}"));
        }
        text
    }
}

fn main() {
    // `cargo test --benches` runs this too: then only a taste, to see that it works.
    let full = std::env::args().any(|a| a == "--bench");
    let own = tempfile::tempdir().expect("directory");
    let dir = std::env::var_os("GREFFIER_BENCH_DIR").map_or(own.path().to_owned(), PathBuf::from);
    let times: u64 = std::env::var("GREFFIER_BENCH_TIMES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (corpus, queries) =
        match (std::env::var_os("GREFFIER_BENCH_CORPUS"), std::env::var_os("GREFFIER_BENCH_QUERIES")) {
            (Some(corpus), Some(queries)) if full => {
                (Corpus::File(corpus.into(), times), read_queries(Path::new(&queries)))
            }
            _ => (Corpus::Made(if full { 100_000 } else { 2_000 }), made_queries()),
        };
    let archive = dir.join("archive");
    if !archive.exists() {
        let start = Instant::now();
        fill(&archive, &corpus);
        println!("archive filled in {:.1} s", start.elapsed().as_secs_f64());
    }
    let layout = Layout::of(&archive);
    let reader = Reader::open(&archive).expect("archive");
    let events = reader.log_size().expect("size");
    let start = Instant::now();
    index::rebuild(&layout, &AtomicBool::new(false), &mut |_, _| ()).expect("rebuild");
    let took = start.elapsed().as_secs_f64();
    let size = size_of(&archive.join("index"));
    println!(
        "rebuild: {events} events in {took:.2} s = {:.0}/s; index {:.1} MB = {:.1} MB per million; peak memory {} MB",
        events as f64 / took,
        size as f64 / 1e6,
        size as f64 / events as f64,
        peak_memory() / 1000,
    );
    let bare = Bare::open(&dir.join("bare"), &reader);
    println!("bare tantivy: {}", bare.made);
    let fts = Fts::open(&dir.join("fts.db"), &reader);
    let index = Index::open(&layout).expect("index");
    measure(&index, &reader, &bare, &fts, &queries, if full { 9 } else { 1 });
    facets(&index, &reader, &queries);
    println!(
        "\nmemory of this process now: {} MB resident, {} MB of it not from files",
        memory("VmRSS") / 1000,
        memory("RssAnon") / 1000
    );
}

/// Where messages come from.
enum Corpus {
    File(PathBuf, u64),
    Made(usize),
}

impl Corpus {
    fn each(&self, mut visit: impl FnMut(Line)) {
        match self {
            Corpus::File(path, times) => {
                // Further rounds come later in time and in other conversations, so that it grows as an archive does.
                for round in 0..*times {
                    let file = std::io::BufReader::new(std::fs::File::open(path).expect("corpus"));
                    for line in std::io::BufRead::lines(file) {
                        let mut line: Line = serde_json::from_str(&line.expect("line")).expect("message");
                        if round > 0 {
                            let later = line.micros() + round as i64 * 3 * 364 * 86_400 * 1_000_000;
                            line.timestamp = Timestamp(later).rfc3339();
                            line.conversation.push_str(&format!("-{round}"));
                            line.id += round * 1_000_000_000;
                        }
                        visit(line);
                    }
                }
            }
            Corpus::Made(count) => {
                let mut random = fastrand::Rng::with_seed(1);
                let t0 = 1_640_000_000_000_000_i64;
                for id in 0..*count {
                    let words = 1 + (random.f32() * random.f32() * 30.0) as usize;
                    let mut word = || format!("w{}", (random.f32().powi(3) * 5_000.0) as u32);
                    let text = (0..words).map(|_| word()).collect::<Vec<_>>().join(" ");
                    visit(Line {
                        id: id as u64 + 1,
                        conversation: format!("c{}", (id / 7) % 200),
                        sender: format!("person{}", id % 50),
                        timestamp: Timestamp(t0 + id as i64 * 60_000_000).rfc3339(),
                        text,
                    });
                }
            }
        }
    }
}

fn read_queries(path: &Path) -> Vec<Asked> {
    let text = std::fs::read_to_string(path).expect("queries");
    text.lines().map(|line| serde_json::from_str(line).expect("query")).collect()
}

fn made_queries() -> Vec<Asked> {
    let ask = |kind: &str, terms: &[&str], sender: Option<&str>| Asked {
        kind: kind.into(),
        terms: terms.iter().map(|term| (*term).to_owned()).collect(),
        sender: sender.map(str::to_owned),
        from: None,
        to: None,
        hits: 0,
    };
    vec![
        ask("rare", &["w4900"], None),
        ask("mid", &["w400"], None),
        ask("frequent", &["w0"], None),
        ask("and", &["w0", "w1"], None),
        ask("phrase", &["w0", "w1"], None),
        ask("prefix", &["w12"], None),
        ask("sender", &["w0"], Some("person7")),
    ]
}

fn conversation(name: &str) -> ConversationId {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(name.as_bytes());
    ConversationId::new(Timestamp(1_640_000_000_000_000), std::array::from_fn(|i| hash[i]))
}

fn fill(dir: &Path, corpus: &Corpus) {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let archive = Archive::open(dir, Arc::new(SystemClock)).expect("archive");
    let sink = archive.sink();
    let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
    let mut batch = Vec::new();
    let put = |batch: &mut Vec<Captured>| {
        let append = Append { events: std::mem::take(batch), ..Append::default() };
        runtime.block_on(sink.append(&source, append)).expect("append");
    };
    corpus.each(|line| {
        let time = line.micros();
        let actor =
            Person { id: format!("sip:{}@contoso.com", line.sender), name: Some(line.sender.replace('.', " ")) };
        let message = Message { id: line.id.to_string(), text: line.text, ..Message::default() };
        batch.push(Captured {
            origin: Origin::Recorder,
            conversation: Some(conversation(&line.conversation)),
            kind: Kind::MessageSent,
            source_time: Some(Timestamp(time)),
            dedupe: DedupeKey(format!("m|{}|{}", line.id, time / 1000)),
            content: Content { actor: Some(actor), message: Some(message), ..Content::default() },
        });
        if batch.len() == 2_000 {
            put(&mut batch);
        }
    });
    put(&mut batch);
    runtime.block_on(archive.close()).expect("close");
}

/// What each engine shows: so that none does less than the others.
struct Shown {
    hits: usize,
    bytes: usize,
}

fn ours(index: &Index, reader: &Reader, typed: &str, sort: Sort) -> (Shown, u64) {
    let calendar = Calendar { now: Timestamp(1_795_000_000_000_000), zone: chrono_tz::Tz::UTC };
    let query = parse(typed, &calendar).expect("query");
    let request = Request { query: &query, sort, limit: TOP, after: None, facets: false };
    let answer = index.search(reader, &request).expect("search");
    let bytes = answer.hits.iter().map(|hit| hit.snippet.to_html().len()).sum();
    (Shown { hits: answer.hits.len(), bytes }, answer.total)
}

/// Times of all queries of one class, per engine.
#[derive(Default)]
struct Times([Vec<Duration>; 4]);

fn measure(index: &Index, reader: &Reader, bare: &Bare, fts: &Fts, queries: &[Asked], rounds: usize) {
    for sort in [Sort::Relevance, Sort::Newest, Sort::Oldest] {
        let mut classes: BTreeMap<&str, Times> = BTreeMap::new();
        let mut shown = 0;
        let mut same_total = 0;
        for asked in queries {
            let typed = asked.typed();
            let mut samples: [Vec<Duration>; 4] = Default::default();
            for round in 0..=rounds {
                let start = Instant::now();
                let (ours, total) = ours(index, reader, &typed, sort);
                let one = start.elapsed();
                let start = Instant::now();
                let theirs = bare.search(asked, sort, true);
                let two = start.elapsed();
                let start = Instant::now();
                bare.search(asked, sort, false);
                let three = start.elapsed();
                let start = Instant::now();
                let known = (sort != Sort::Oldest).then(|| fts.search(asked, sort));
                let four = start.elapsed();
                shown += ours.bytes + theirs.bytes + known.map_or(0, |known| known.bytes + known.hits);
                assert_eq!(ours.hits.min(TOP), theirs.hits, "{typed}");
                if round == 0 {
                    same_total += usize::from(total == asked.hits);
                    continue;
                }
                for (list, time) in samples.iter_mut().zip([one, two, three, four]) {
                    list.push(time);
                }
            }
            for name in [asked.kind.as_str(), "~all"] {
                let times = classes.entry(name).or_default();
                for (list, samples) in times.0.iter_mut().zip(&mut samples) {
                    samples.sort_unstable();
                    list.push(samples[0]);
                }
            }
        }
        println!(
            "\n{sort:?}: ms, best of {rounds} per query; {same_total} of {} totals as counted by substring rules; {shown} bytes",
            queries.len()
        );
        println!(
            "{:<10} {:>17} {:>17} {:>17} {:>17} {:>6} {:>6}",
            "class", "ours p50/p99", "bare p50/p99", "bare, no snippet", "FTS5", "p50 x", "p99 x"
        );
        for (name, times) in classes {
            let at = |list: &[Duration], p: usize| {
                let mut list = list.to_vec();
                list.sort_unstable();
                list[(list.len() * p / 100).min(list.len() - 1)].as_secs_f64() * 1e3
            };
            let both = |list: &[Duration]| format!("{:.3}/{:.3}", at(list, 50), at(list, 99));
            let [one, two, three, four] = &times.0;
            println!(
                "{:<10} {:>17} {:>17} {:>17} {:>17} {:>6.2} {:>6.2}",
                name.trim_start_matches('~'),
                both(one),
                both(two),
                both(three),
                both(four),
                at(one, 50) / at(two, 50),
                at(one, 99) / at(two, 99),
            );
        }
    }
}

fn facets(index: &Index, reader: &Reader, queries: &[Asked]) {
    let calendar = Calendar { now: Timestamp(1_795_000_000_000_000), zone: chrono_tz::Tz::UTC };
    let mut added: Vec<(f64, u64)> = queries
        .iter()
        .map(|asked| {
            let query = parse(&asked.typed(), &calendar).expect("query");
            let time = |facets| {
                let mut times: Vec<f64> = (0..5)
                    .map(|_| {
                        let start = Instant::now();
                        let request = Request { query: &query, sort: Sort::Newest, limit: TOP, after: None, facets };
                        std::hint::black_box(index.search(reader, &request).expect("search"));
                        start.elapsed().as_secs_f64() * 1e3
                    })
                    .collect();
                times.sort_unstable_by(f64::total_cmp);
                times[2]
            };
            (time(true) - time(false), asked.hits)
        })
        .collect();
    added.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let at = |p: usize| added[(added.len() * p / 100).min(added.len() - 1)].0;
    println!("\nfacets add: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(50), at(99), at(100));
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
            },
        )
        .sum()
}

/// Of this process, kB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn peak_memory() -> u64 {
    memory("VmHWM")
}
