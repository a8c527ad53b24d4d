//! The real binary opposite the simulated pool over loopback: a burst, many conversations, memory.
//!
//! Run: `cargo bench --bench capture`. Prints figures for `docs/BENCHMARKS.md`; asserts nothing about time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use greffier::archive::reader::Reader;
use greffier::model::{Kind, Seq};
use greffier::simulate::{Options, SimulatedPool};

/// A recorder that is killed when it goes out of scope.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    fn start(folder: &Path, pool: &SimulatedPool) -> Recorder {
        let config = folder.join("greffier.toml");
        let text = format!(
            "[archive]\ndirectory = \"archive\"\n[viewer]\nlisten = \"127.0.0.1:0\"\n[[connector]]\nname = \"sfb\"\nkind = \"ucwa\"\n\
             sign_in = \"{}\"\nusername = '{}'\npassword_env = \"BENCH_PASSWORD\"\nautodiscover = \"{}\"\n\
             trusted_hosts = [\"127.0.0.1\"]\naccept_from = [\"*\"]\n",
            pool.sign_in(),
            pool.username(),
            pool.autodiscover_url()
        );
        std::fs::write(&config, text).expect("write the configuration");
        let child = Command::new(env!("CARGO_BIN_EXE_greffier"))
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .env("BENCH_PASSWORD", pool.password())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("start the recorder");
        Recorder(child)
    }

    /// Resident memory now and at its peak, MiB.
    fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

async fn pool(name: &str, parameters: &[(&str, u64)]) -> SimulatedPool {
    let parameters: BTreeMap<String, u64> = parameters.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
    let scenario = greffier::simulate::ucwa::scenario(name, &parameters).await.expect("scenario");
    SimulatedPool::start(Options::default(), scenario).await.expect("pool")
}

/// Messages in the archive at `dir`.
fn messages(dir: &Path) -> usize {
    let Ok(reader) = Reader::open(dir) else { return 0 };
    let (mut from, mut count) = (1, 0);
    loop {
        let Ok(events) = reader.events(Seq(from), 1000) else { return count };
        let Some(last) = events.last() else { return count };
        from = last.seq.0 + 1;
        count += events.iter().filter(|e| e.kind == Kind::MessageSent).count();
    }
}

/// Waits until the archive holds `wanted` messages; the time it took.
fn until(dir: &Path, wanted: usize, patience: Duration) -> (usize, Duration) {
    let start = Instant::now();
    loop {
        let count = messages(dir);
        if count >= wanted || start.elapsed() > patience {
            return (count, start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same texts, one row and one fsync per 100, into a file: what the machine does without any of the guarantees.
fn plain(folder: &Path, texts: &[String]) -> Duration {
    let mut file = std::fs::File::create(folder.join("plain.txt")).expect("file");
    let start = Instant::now();
    for chunk in texts.chunks(100) {
        for text in chunk {
            writeln!(file, "{text}").expect("write");
        }
        file.sync_data().expect("fsync");
    }
    start.elapsed()
}

#[tokio::main]
async fn main() {
    let burst: u64 = 5_000;
    let folder = tempfile::tempdir().expect("folder");
    let dir = folder.path().join("archive");
    let pool_burst = pool("burst", &[("messages", burst)]).await;
    let recorder = Recorder::start(folder.path(), &pool_burst);
    pool_burst.run_to_end().await.expect("scenario");
    let ledger = pool_burst.ledger();
    let texts: Vec<String> = ledger.said().filter_map(|e| e.text.clone()).collect();
    let (said, archived) = (texts.len(), until(&dir, texts.len(), Duration::from_secs(60)));
    let times: Vec<u64> = ledger.said().map(|e| e.at_ms).collect();
    let saying = times.iter().max().zip(times.iter().min()).map_or(0, |(a, b)| a - b);
    let plain = plain(folder.path(), &texts);
    println!(
        "burst: {said} said within {saying} ms, {} archived {:.0} ms after the pool had every acknowledgement",
        archived.0,
        archived.1.as_secs_f64() * 1e3
    );
    println!("burst: plain file with the same texts and an fsync per 100: {:.0} ms", plain.as_secs_f64() * 1e3);
    println!("burst: memory {:.0} MiB now, {:.0} MiB peak", recorder.memory().0, recorder.memory().1);
    drop(recorder);

    let folder = tempfile::tempdir().expect("folder");
    let pool_quiet = pool("quiet", &[]).await;
    let recorder = Recorder::start(folder.path(), &pool_quiet);
    let listening = pool_quiet.wait_ledger(Duration::from_secs(30), |l| l.applications > 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("idle: signed in {listening}, memory {:.0} MiB", recorder.memory().0);
    drop(recorder);

    let folder = tempfile::tempdir().expect("folder");
    let dir = folder.path().join("archive");
    let pool_many = pool("many", &[("conversations", 1_000), ("messages", 2)]).await;
    let recorder = Recorder::start(folder.path(), &pool_many);
    let start = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(180), pool_many.run_to_end()).await;
    let said = pool_many.ledger().said().count();
    let (count, _) = until(&dir, said, Duration::from_secs(60));
    println!(
        "1,000 conversations: played {} in {:.1} s, {count} of {said} messages archived, memory {:.0} MiB now, {:.0} MiB peak",
        ended.is_ok(),
        start.elapsed().as_secs_f64(),
        recorder.memory().0,
        recorder.memory().1
    );
}
