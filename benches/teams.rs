//! Microsoft Teams: the real binary opposite a service over loopback. How soon notifications are durable, how soon a call is
//! answered after a start, what decryption costs, how fast the past is read.
//!
//! The sender keeps to its times whatever becomes of earlier requests, and latency counts from when a request was due. Beside
//! the recorder, the same requests go to a bare server of the same stack that answers 202 and does nothing. The recorder,
//! the sender and the service share the machine.
//!
//! Run: `cargo bench --bench teams [-- part of a name]`. `GREFFIER_BENCH_SECONDS` (60) is the length of the load,
//! `GREFFIER_BENCH_RATE` (1000) its notifications per second, `GREFFIER_BENCH_MESSAGES` (20000) the past that is read. Prints
//! figures for `docs/BENCHMARKS.md`; fails if a message is lost, asserts nothing about time.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use greffier::archive::reader::Reader;
use greffier::connector::teams::seal::{self, Pair};
use greffier::model::{Kind, Seq};
use greffier::simulate::Parameters;
use greffier::simulate::teams::{CallKind, Invite, SimulatedTenant, TeamsOptions};
use serde_json::Value;

#[path = "teams/load.rs"]
mod load;
#[path = "teams/tenant.rs"]
mod tenant;

use load::{Bare, Fared};
use tenant::{Seal, Tenant, thread};

/// Chats that the load is spread over.
const CHATS: usize = 20;

/// A recorder that is killed when it goes out of scope.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    /// Starts the binary in this folder; its log goes into a file there.
    fn start(folder: &Path, connector: &str, secret: &str) -> Recorder {
        let config = folder.join("greffier.toml");
        let text = format!("[archive]\ndirectory = \"archive\"\n[viewer]\nlisten = \"127.0.0.1:0\"\n{connector}");
        std::fs::write(&config, text).expect("write the configuration");
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_greffier"))
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .env("BENCH_SECRET", secret)
            .env("GREFFIER_SIMULATED_SECRET", secret)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("start the recorder");
        Recorder(child)
    }

    /// Peak of resident memory, MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    /// Time of the processor so far, seconds (ticks of 10 ms).
    fn spent(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

/// Follows the messages of an archive.
struct Archived {
    dir: std::path::PathBuf,
    next: u64,
    messages: HashSet<String>,
    twice: usize,
    gaps: usize,
}

impl Archived {
    fn new(dir: &Path) -> Archived {
        Archived { dir: dir.to_owned(), next: 1, messages: HashSet::new(), twice: 0, gaps: 0 }
    }

    /// Reads what is new. Messages are told apart by conversation and id.
    fn look(&mut self) -> usize {
        let Ok(reader) = Reader::open(&self.dir) else { return 0 };
        loop {
            let Ok(events) = reader.events(Seq(self.next), 1_000) else { break };
            let Some(last) = events.last() else { break };
            self.next = last.seq.0 + 1;
            for event in events {
                self.gaps += usize::from(event.kind == Kind::CaptureGap);
                if event.kind == Kind::MessageSent
                    && let Some(message) = event.content.message
                {
                    let conversation = event.conversation.map(|id| id.to_string()).unwrap_or_default();
                    self.twice += usize::from(!self.messages.insert(format!("{conversation} {}", message.id)));
                }
            }
        }
        self.messages.len()
    }

    /// Waits for so many messages; the time it took.
    async fn until(&mut self, wanted: usize, patience: Duration) -> Duration {
        let start = Instant::now();
        while self.look() < wanted && start.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        start.elapsed()
    }
}

fn parameter(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

async fn listens(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    if std::env::args().any(|arg| arg == "--bare") {
        return runtime.block_on(Bare::serve());
    }
    // `cargo test --benches` runs this too: then only a taste, to see that it works.
    let full = std::env::args().any(|arg| arg == "--bench");
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let seconds = parameter("GREFFIER_BENCH_SECONDS", if full { 60.0 } else { 1.0 });
    let rate = parameter("GREFFIER_BENCH_RATE", if full { 1_000.0 } else { 100.0 });
    let past = parameter("GREFFIER_BENCH_MESSAGES", if full { 20_000.0 } else { 500.0 }) as u64;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine before: {}", load.trim());
    if "decryption".contains(&only) {
        decryption(if full { Duration::from_secs(3) } else { Duration::from_millis(200) });
    }
    runtime.block_on(async {
        if "cold start".contains(&only) {
            cold_start(if full { 5 } else { 1 }).await;
        }
        if "webhook".contains(&only) {
            webhook(rate, seconds).await;
        }
        if "killed".contains(&only) {
            killed(rate, (seconds / 3.0).max(2.0)).await;
        }
        if "backfill".contains(&only) {
            backfill("10 chats", 10, past / 10, 20).await;
            backfill("one chat", 1, past / 10, 4).await;
        }
    });
}

/// One core: a sealed message opened, and beside it the private RSA operation that nobody can leave out.
fn decryption(span: Duration) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let pair = Arc::new(Pair::from_pem(pem.as_bytes()).expect("a pair"));
    let private = PrivateDecryptingKey::from_pkcs8(&key.serialize_der()).expect("a key");
    let public: PublicEncryptingKey = private.public_key();
    let seal = Seal(OaepPublicEncryptingKey::new(public).expect("a key"));
    let private = OaepPrivateDecryptingKey::new(private).expect("a key");
    let plain = tenant::message(&thread(1), 1_795_225_034_000, 7).to_string().into_bytes();
    let mut content = seal.close(plain.clone());
    content["encryptionCertificateId"] = Value::from(pair.id());
    let sealed = STANDARD.decode(content["dataKey"].as_str().unwrap_or_default()).expect("base64");
    let mut buffer = vec![0; private.min_output_size()];
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // Short rounds that alternate: other load on the machine hits both.
    for _ in 0..9 {
        ours.push(per_second(span / 18, || {
            let opened = seal::open(&content, |_| Some(Arc::clone(&pair))).expect("opens");
            assert_eq!(opened.len(), plain.len());
        }));
        bare.push(per_second(span / 18, || {
            private.decrypt(&OAEP_SHA1_MGF1SHA1, &sealed, &mut buffer, None).expect("decrypts");
        }));
    }
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "decryption: {ours:.0} notifications/s on one core ({} bytes), bare RSA-OAEP {bare:.0}/s, ratio {:.2}",
        plain.len(),
        ours / bare
    );
}

fn per_second(span: Duration, mut act: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < span {
        act();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// From the start of the process to an answered policy call that rang as soon as somebody listened: with an empty folder,
/// and with the archive and key pair of an earlier run. Beside it, the program's start alone.
async fn cold_start(rounds: usize) {
    let (mut first, mut later, mut version) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_greffier")).arg("--version").stdout(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "greffier --version");
        version.push(start.elapsed().as_secs_f64() * 1e3);
        let folder = tempfile::tempdir().expect("folder");
        for times in [&mut first, &mut later] {
            let listen = free();
            let callback = format!("http://{listen}");
            let scenario = greffier::simulate::teams::scenario("quiet", &Parameters::new()).await.expect("scenario");
            let options = TeamsOptions { callback: callback.clone(), ..TeamsOptions::default() };
            let tenant = SimulatedTenant::start(options, scenario).await.expect("tenant");
            let start = Instant::now();
            let _recorder =
                Recorder::start(folder.path(), &tenant.config_snippet(&callback, listen), &tenant.client_secret());
            listens(listen).await;
            let listened = start.elapsed().as_secs_f64() * 1e3;
            let mut invite = Invite::new("Trade", "alice", CallKind::Group);
            invite.people = vec!["bob".to_owned()];
            invite.policy = vec!["alice".to_owned()];
            tenant.invite_call(invite).expect("a call");
            let answered = |l: &greffier::simulate::teams::TeamsLedger| {
                l.calls.iter().any(|call| call.answered_after_ms.is_some() && !call.late)
            };
            assert!(tenant.wait_ledger(Duration::from_secs(20), answered).await, "the call was not answered in time");
            times.push((start.elapsed().as_secs_f64() * 1e3, listened));
        }
    }
    let of = |times: &[(f64, f64)]| {
        (median(times.iter().map(|(answered, _)| *answered).collect()), median(times.iter().map(|(_, l)| *l).collect()))
    };
    for (name, times) in [("new archive and key pair", &first), ("again", &later)] {
        let (answered, listened) = of(times);
        println!(
            "cold start, {name}: policy call answered {answered:.0} ms after the process started, webhooks listened after \
             {listened:.0} ms; medians of {rounds}"
        );
    }
    println!("cold start, `--version` alone: {:.0} ms", median(version));
}

/// A recorder of every chat, subscribed.
async fn subscribed(folder: &Path, past: u64) -> (Tenant, Recorder, SocketAddr, Value) {
    let tenant = Tenant::start(past).await;
    let listen = free();
    let recorder = Recorder::start(folder, &tenant.config(listen, &["/chats/getAllMessages".to_owned()]), "s");
    let patience = Instant::now();
    loop {
        if let Some(subscription) = tenant.seen().subscriptions.first().cloned() {
            return (tenant, recorder, listen, subscription);
        }
        assert!(patience.elapsed() < Duration::from_secs(20), "no subscription was made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn print(name: &str, fared: &Fared, count: usize) {
    println!(
        "{name}: {count} in {:.1} s, p50 {:.2} ms, p99 {:.1} ms, max {:.0} ms; {} sent again, {} given up",
        fared.took.as_secs_f64(),
        fared.at(0.5),
        fared.at(0.99),
        fared.at(1.0),
        fared.again,
        fared.given_up
    );
}

/// Checks that every message is in the archive, once.
fn complete(archived: &Archived, wanted: usize, tenant: &Tenant) {
    let known: HashSet<&str> = archived.messages.iter().filter_map(|m| m.split(' ').nth(1)).collect();
    let lost = (0..wanted as u64).filter(|n| !known.contains(tenant.id(*n).as_str())).count();
    println!("  {lost} lost, {} archived twice, {} gaps", archived.twice, archived.gaps);
    assert_eq!(lost, 0, "messages were acknowledged and are not in the archive");
}

/// Encrypted notifications at a steady rate, one message in each request.
async fn webhook(rate: f64, seconds: f64) {
    let folder = tempfile::tempdir().expect("folder");
    let (tenant, recorder, listen, subscription) = subscribed(folder.path(), 0).await;
    let count = (rate * seconds) as usize;
    let requests = Arc::new(tenant.requests(&subscription, 0..count as u64, CHATS));
    let bytes = requests.iter().map(Bytes::len).sum::<usize>() / count.max(1);
    println!("webhook: {rate}/s for {seconds} s, {bytes} bytes each, one message each, {CHATS} chats");
    let bare = Bare::start();
    let plain = load::send(bare.address, Arc::clone(&requests), rate).await;
    drop(bare);
    print("  bare server", &plain, count);
    let before = recorder.spent();
    let ours = load::send(listen, Arc::clone(&requests), rate).await;
    print("  recorder", &ours, count);
    println!("  ratio of p50 {:.1}, of p99 {:.1}", ours.at(0.5) / plain.at(0.5), ours.at(0.99) / plain.at(0.99));
    let mut archived = Archived::new(&folder.path().join("archive"));
    let at_once = archived.look();
    let rest = archived.until(count, Duration::from_secs(180)).await;
    println!(
        "  in the archive at the last answer: {at_once}, all {:.2} s later; {:.2} ms of processor each, memory {:.0} MiB peak",
        rest.as_secs_f64(),
        (recorder.spent() - before) * 1e3 / count.max(1) as f64,
        recorder.peak()
    );
    complete(&archived, count, &tenant);
}

/// The same while the recorder is killed in the middle and started again at once.
async fn killed(rate: f64, seconds: f64) {
    let folder = tempfile::tempdir().expect("folder");
    let (tenant, mut recorder, listen, subscription) = subscribed(folder.path(), 0).await;
    let count = (rate * seconds) as usize;
    let requests = Arc::new(tenant.requests(&subscription, 0..count as u64, CHATS));
    let sending = tokio::spawn(load::send(listen, requests, rate));
    tokio::time::sleep(Duration::from_secs_f64(seconds / 2.0)).await;
    let start = Instant::now();
    // Killed, as with -9.
    drop(std::mem::replace(&mut recorder, Recorder(Command::new("true").spawn().expect("a process"))));
    recorder = Recorder::start(folder.path(), &tenant.config(listen, &["/chats/getAllMessages".to_owned()]), "s");
    listens(listen).await;
    let away = start.elapsed();
    let fared = sending.await.expect("the sender");
    println!(
        "killed: {rate}/s for {seconds} s, killed in the middle, listened again after {:.0} ms",
        away.as_secs_f64() * 1e3
    );
    print("  recorder", &fared, count);
    let mut archived = Archived::new(&folder.path().join("archive"));
    let rest = archived.until(count, Duration::from_secs(180)).await;
    println!(
        "  all in the archive {:.2} s after the last answer, memory {:.0} MiB peak",
        rest.as_secs_f64(),
        recorder.peak()
    );
    complete(&archived, count, &tenant);
}

/// The past of chats, each of `past` messages, at the requests per second that are allowed.
async fn backfill(name: &str, chats: usize, past: u64, allowed: usize) {
    let folder = tempfile::tempdir().expect("folder");
    let tenant = Tenant::start(past).await;
    let scopes: Vec<String> = (0..chats).map(|chat| format!("/chats/{}/messages", thread(chat))).collect();
    let start = Instant::now();
    let recorder = Recorder::start(folder.path(), &tenant.config(free(), &scopes), "s");
    let mut archived = Archived::new(&folder.path().join("archive"));
    let wanted = chats * past as usize;
    let took = archived.until(wanted, Duration::from_secs(900)).await;
    let times: Vec<Instant> = tenant.seen().lists.into_iter().map(|(at, _)| at).collect();
    let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| (*last - *first).as_secs_f64());
    let measured = times.len().saturating_sub(1) as f64 / span.max(f64::MIN_POSITIVE);
    // The most that arrived within one second.
    let crowded =
        times.iter().map(|from| times.iter().filter(|at| *at >= from && **at - *from < Duration::from_secs(1)).count());
    println!(
        "backfill, {name}: {} of {wanted} messages in {:.1} s ({:.0}/s), {} requests, {measured:.1}/s of {allowed}/s allowed, ratio \
         {:.2}, at most {} within a second; memory {:.0} MiB peak; {} gaps",
        archived.messages.len(),
        start.elapsed().as_secs_f64(),
        archived.messages.len() as f64 / took.as_secs_f64(),
        times.len(),
        measured / allowed as f64,
        crowded.max().unwrap_or(0),
        recorder.peak(),
        archived.gaps
    );
    assert_eq!(archived.messages.len(), wanted, "the past was not read completely");
}
