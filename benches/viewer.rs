//! The viewer under load: 50 readers at a time, each asking again as soon as it has its answer, over an archive of a million
//! messages, next to a trivial page of the same stack (layout, headers, compression, guards, access log) in the same run.
//!
//! The server is this process, with two worker threads; the readers are another one with one thread, so that on two cores
//! they take their share from the server in every line alike. Rounds alternate between the pages; medians of the rounds.
//! Then messages are appended through the real sink at a steady rate, without readers and with them.
//! `GREFFIER_BENCH_DIR` keeps the archive for the next run. Run: `cargo bench --bench viewer [-- part of a name]`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use greffier::archive::reader::{Order, Reader};
use greffier::archive::{Archive, Layout, Readers};
use greffier::capture::{Append, Sink, Source};
use greffier::clock::SystemClock;
use greffier::health::Vitals;
use greffier::index::{self, Indexer};
use greffier::model::Seq;
use greffier::viewer::page::{Cache, Prefs, Shell, html};
use greffier::viewer::{self, Options, Viewer};

#[path = "viewer/client.rs"]
mod client;
#[path = "support/large.rs"]
mod large;

use client::Seen;
use large::{Shape, id};

/// Readers at a time.
const READERS: usize = 50;

/// What a browser says that it can unpack.
const BROWSER: &str = "gzip, deflate, br, zstd";

/// What is measured: enough to be a figure, or enough to see that it works.
struct Plan {
    shape: Shape,
    rounds: usize,
    span: Duration,
    only: String,
}

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("--readers") => return readers(args.collect()),
        Some("--fill") => return fill(Path::new(&args.next().expect("a folder")), args.next().is_some()),
        _ => {}
    }
    let full = std::env::args().any(|a| a == "--bench");
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let (rounds, span) = if full { (3, Duration::from_secs(3)) } else { (1, Duration::from_millis(50)) };
    let plan = Plan { shape: shape(full), rounds, span, only };
    let own = tempfile::tempdir().expect("directory");
    let dir = std::env::var_os("GREFFIER_BENCH_DIR").map_or(own.path().to_owned(), PathBuf::from).join("viewer");
    if !dir.exists() {
        // In a process of its own, so that the memory measured here is that of serving.
        let mut fill = Command::new(std::env::current_exe().expect("this program"));
        fill.arg("--fill").arg(&dir);
        if full {
            fill.arg("full");
        }
        assert!(fill.status().expect("filled").success());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(measure(&dir, &plan));
}

fn shape(full: bool) -> Shape {
    if full {
        Shape { conversations: 2_000, messages: 450, long: 98_000 }
    } else {
        Shape { conversations: 20, messages: 30, long: 400 }
    }
}

fn fill(dir: &Path, full: bool) {
    let start = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(large::fill(dir, &shape(full)));
    let filled = start.elapsed().as_secs_f64();
    index::rebuild(&Layout::of(dir), &AtomicBool::new(false), &mut |_, _| ()).expect("an index");
    println!("filled in {filled:.1} s, indexed in {:.1} s", start.elapsed().as_secs_f64() - filled);
}

/// The process of the readers: paths come in on standard input, what was seen goes out as JSON.
fn readers(args: Vec<String>) {
    let [address, count, millis, encoding] = args.try_into().expect("four words");
    let paths = std::io::stdin().lines().map(|line| line.expect("a path")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let span = Duration::from_millis(millis.parse().expect("milliseconds"));
    let seen = runtime.block_on(client::read(&address, paths, count.parse().expect("a number"), span, &encoding));
    println!("{}", serde_json::to_string(&seen).expect("JSON"));
}

/// Starts the readers' process and waits for what it saw.
async fn ask(address: &str, paths: &[String], count: usize, span: Duration, encoding: &str) -> Seen {
    let (address, paths, encoding) = (address.to_owned(), paths.to_vec(), encoding.to_owned());
    let run = move || {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--readers", &address, &count.to_string(), &span.as_millis().to_string(), &encoding])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("readers");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(paths.join("\n").as_bytes()).expect("paths");
        drop(input);
        let output = child.wait_with_output().expect("readers");
        serde_json::from_slice(&output.stdout).expect("what was seen")
    };
    tokio::task::spawn_blocking(run).await.expect("readers")
}

#[derive(Template)]
#[template(
    source = "{% extends \"layout.html\" %}{% block main %}<h1>A trivial page</h1><p>{{ word }}</p>{% endblock %}",
    ext = "html"
)]
struct Trivial {
    shell: Shell,
    word: &'static str,
}

async fn trivial(State(viewer): State<Arc<Viewer>>, prefs: Prefs) -> Response {
    html(
        Trivial { shell: Shell::new(&viewer, prefs, "", "Trivial"), word: "Nothing is asked of the archive." },
        Cache::Ask,
    )
}

async fn measure(dir: &Path, plan: &Plan) {
    let archive = Archive::open(dir, Arc::new(SystemClock)).expect("an archive");
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let readers = Readers::open(&archive.layout().database, Viewer::READERS).expect("readers");
    let vitals = Vitals { connectors: Vec::new(), log_size: archive.subscribe(), meter: Arc::default(), index: None };
    let viewer = Viewer::new(readers, vitals, Arc::new(SystemClock), Options::default()).with_index(indexer.index());
    let viewer = Arc::new(viewer);
    let pages = Router::new().route("/trivial", axum::routing::get(trivial));
    let router = viewer::router_with(Arc::clone(&viewer), pages);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(viewer::serve_router(listener, viewer, router, async {
        let _ = stopped.await;
    }));

    let reader = archive.reader().expect("a reader");
    let targets = targets(&reader, &plan.shape);
    first_pages(&address, &plan.shape, plan.rounds).await;
    pages_under_load(&address, &targets, plan).await;
    memory("after the pages");
    let mixed: Vec<String> =
        targets.iter().filter(|(name, _)| *name != TRIVIAL).flat_map(|(_, paths)| paths.iter().cloned()).collect();
    recording(&archive, &reader, &address, &mixed, plan).await;
    memory("after recording under load");

    let _ = stop.send(());
    let _ = served.await;
    indexer.stop().await;
    drop(reader);
    archive.close().await.expect("closed");
}

const TRIVIAL: &str = "trivial page";

/// Kinds of pages, each with the addresses that readers take in turn.
fn targets(reader: &Reader, shape: &Shape) -> Vec<(&'static str, Vec<String>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let ids: Vec<String> = (0..200).map(|_| id(random.usize(..shape.conversations)).to_string()).collect();
    let long = id(shape.conversations);
    let middle = |id: &greffier::model::ConversationId, place: usize| {
        let page = reader.events_of_conversation(id, Order::Time, None, place).expect("events");
        page.next.map(|next| next.to_string()).unwrap_or_default()
    };
    let halves: Vec<String> = (0..50)
        .map(|_| {
            let id = id(random.usize(..shape.conversations));
            format!("/conversations/{id}?after={}", middle(&id, shape.messages / 2))
        })
        .collect();
    let log = reader.log_size().expect("a size");
    let deep: Vec<String> = (0..50)
        .map(|_| {
            let seq = Seq(log - 1 - random.u64(..shape.long as u64 / 2));
            let position = reader.position_of(seq).expect("a place").map(|(_, position)| position.to_string());
            format!("/conversations/{long}?after={}", position.unwrap_or_default())
        })
        .collect();
    let search = |path: &str, word: &str| vec![format!("{path}?q={word}"), format!("{path}?q={word}&sort=newest")];
    let people: Vec<String> = (0..50).map(|_| format!("p{}", random.usize(..20_000))).collect();
    let person = |path: &str| people.iter().map(|p| format!("{path}/sip:{p}@contoso.com")).collect::<Vec<_>>();
    let known: Vec<String> = person("/people")
        .into_iter()
        .filter(|path| reader.person(path.trim_start_matches("/people/")).is_ok_and(|person| person.is_some()))
        .collect();
    let list: Vec<String> = (0..50)
        .map(|_| {
            let at = large::T0 + large::APART * random.i64(..shape.conversations as i64);
            let position = greffier::archive::reader::ConversationPosition::at(greffier::model::Timestamp(at));
            format!("/?after={position}")
        })
        .collect();
    let api = |paths: &[String]| paths.iter().map(|path| format!("/api/v1{path}")).collect::<Vec<_>>();
    let events: Vec<String> = halves
        .iter()
        .map(|path| path.replace("?after", "/events?limit=150&after"))
        .map(|path| format!("/api/v1{path}"))
        .collect();
    vec![
        (TRIVIAL, vec!["/trivial".to_owned()]),
        ("transcript, first page", ids.iter().map(|id| format!("/conversations/{id}")).collect()),
        ("transcript, in the middle", halves),
        ("transcript of 100,000, first page", vec![format!("/conversations/{long}")]),
        ("transcript of 100,000, in the middle", deep),
        ("list, newest", vec!["/".to_owned()]),
        ("list, anywhere", list.clone()),
        ("person", if known.is_empty() { vec!["/people".to_owned()] } else { known.clone() }),
        ("search, in all messages", search("/search", "usual")),
        ("search, in 1 of 10", search("/search", "crane")),
        ("search, in 1 of 100", search("/search", "harbour")),
        ("search, in 1 of 10,000", search("/search", "lighthouse")),
        ("search, two words and a sender", search("/search", "usual+harbour+from:p7")),
        ("JSON: 150 events", events),
        ("JSON: list", list.iter().map(|path| format!("/api/v1/conversations{}", &path[1..])).collect()),
        ("JSON: person", api(&known)),
        ("JSON: search, in 1 of 100", search("/api/v1/search", "harbour")),
    ]
}

/// One reader alone: what a person waits for.
async fn first_pages(address: &str, shape: &Shape, rounds: usize) {
    let long = id(shape.conversations);
    println!("\n{:<40} {:>9} {:>9} {:>9}", "one reader", "p50 ms", "p99 ms", "worst ms");
    for (name, path) in
        [("first page of 100,000 events", format!("/conversations/{long}")), ("newest conversations", "/".into())]
    {
        let span = Duration::from_millis(300 * rounds as u64);
        let seen = ask(address, &[path], 1, span, BROWSER).await;
        println!("{name:<40} {:>9.2} {:>9.2} {:>9.2}", seen.p50, seen.p99, seen.worst);
    }
}

async fn pages_under_load(address: &str, targets: &[(&'static str, Vec<String>)], plan: &Plan) {
    let wanted: Vec<_> = targets.iter().filter(|(name, _)| *name == TRIVIAL || name.contains(&plan.only)).collect();
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); wanted.len()];
    for _ in 0..plan.rounds {
        for (at, (_, paths)) in wanted.iter().enumerate() {
            if paths.is_empty() {
                continue;
            }
            seen[at].push(ask(address, paths, READERS, plan.span, BROWSER).await);
        }
    }
    let median = |seen: &[Seen], of: fn(&Seen) -> f64| {
        let mut values: Vec<f64> = seen.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let trivial = median(&seen[0], |seen| seen.rate);
    println!(
        "\n{:<40} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "50 readers, without a pause", "pages/s", "ratio", "p50 ms", "p99 ms", "worst ms", "bytes"
    );
    for ((name, _), seen) in wanted.iter().zip(&seen) {
        let rate = median(seen, |seen| seen.rate);
        let failed: u64 = seen.iter().map(|seen| seen.failed).sum();
        println!(
            "{name:<40} {rate:>9.0} {:>7.2} {:>9.1} {:>9.1} {:>9.1} {:>9.0}{}",
            rate / trivial,
            median(seen, |seen| seen.p50),
            median(seen, |seen| seen.p99),
            median(seen, |seen| seen.worst),
            median(seen, |seen| seen.bytes),
            if failed > 0 { format!("  {failed} FAILED") } else { String::new() }
        );
    }
}

/// Messages at a steady rate through the sink, without and with readers.
async fn recording(archive: &Archive, reader: &Reader, address: &str, mixed: &[String], plan: &Plan) {
    /// Messages a second.
    const RATE: u64 = 200;
    println!(
        "\n{:<40} {:>9} {:>9} {:>9} {:>9}",
        "200 messages/s, until durable", "appends", "p50 ms", "p99 ms", "worst ms"
    );
    let mut number = 0;
    for with in [false, true] {
        let before = reader.log_size().expect("a size");
        let count = (plan.span.as_millis() as u64 * 2 * RATE / 1000).max(10);
        let reading = with.then(|| {
            let (address, paths, span) = (address.to_owned(), mixed.to_vec(), plan.span * 2);
            tokio::spawn(async move { ask(&address, &paths, READERS, span, BROWSER).await })
        });
        let mut times = append(archive.sink(), count, Duration::from_micros(1_000_000 / RATE), &mut number).await;
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        let name = if with { "with 50 readers" } else { "without readers" };
        println!("{name:<40} {count:>9} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
        if let Some(reading) = reading {
            let seen = reading.await.expect("readers");
            println!(
                "{:<40} {:>9.0} pages/s, p99 {:.1} ms, {} failed",
                "the readers meanwhile, any page", seen.rate, seen.p99, seen.failed
            );
        }
        let after = reader.log_size().expect("a size");
        assert_eq!(after, before + count, "events were lost");
        let written = reader.events(Seq(before + 1), usize::try_from(count).unwrap_or(usize::MAX)).expect("events");
        assert_eq!(written.len() as u64, count, "events were lost");
    }
}

/// Appends at a steady rate and tells how long each took from the time it was due until it was durable, milliseconds.
async fn append(sink: Arc<dyn Sink>, count: u64, every: Duration, number: &mut usize) -> Vec<f64> {
    let source = Source { connector: "bench".into(), platform: "ucwa".into() };
    let begin = tokio::time::Instant::now();
    let from = begin + every;
    let mut tasks = Vec::new();
    for n in 0..count {
        let due = from + every * u32::try_from(n).unwrap_or(u32::MAX);
        tokio::time::sleep_until(due).await;
        let at = greffier::clock::Clock::now(&SystemClock).micros();
        let batch = Append { events: vec![large::says(usize::MAX / 16, *number, at)], ..Append::default() };
        *number += 1;
        let (sink, source) = (Arc::clone(&sink), source.clone());
        tasks.push(tokio::spawn(async move {
            sink.append(&source, batch).await.expect("durable");
            due.elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("appended"));
    }
    times
}

fn memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    };
    println!(
        "\nmemory of the server {when}: {} MiB resident, {} MiB of it not from files; peak {} MiB",
        of("VmRSS"),
        of("RssAnon"),
        of("VmHWM")
    );
}
