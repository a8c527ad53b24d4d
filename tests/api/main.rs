//! The interface for programs, judged from outside: its description by a validator of other hands, and its answers, over a
//! real socket, by the description.

#[path = "../support/archive.rs"]
#[allow(dead_code, reason = "shared by tests that need different parts")]
mod archive;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use greffier::archive::{Layout, Readers};
use greffier::clock::ManualClock;
use greffier::health::Vitals;
use greffier::index;
use greffier::integrity::checkpoint::SigningKey;
use greffier::viewer::{self, Options, Viewer};

#[test]
fn every_answer_is_as_the_description_says() {
    let Ok(python) = std::env::var("GREFFIER_UCWA_PYTHON") else {
        eprintln!("SKIPPED: GREFFIER_UCWA_PYTHON is not set (see tests/counterparts/setup.sh)");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let said = runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(archive::at(200_000)));
        let (store, sample) = archive::fill(dir.path(), clock.clone()).await;
        let key = SigningKey::load_or_create(&store.layout().keys, store.origin()).expect("a key");
        store.checkpoint(Arc::new(key)).await.expect("signed");
        index::rebuild(&Layout::of(dir.path()), &AtomicBool::new(false), &mut |_, _| ()).expect("an index");
        let readers = Readers::open(dir.path(), Viewer::READERS).expect("readers");
        let vitals = Vitals { connectors: Vec::new(), log_size: store.subscribe(), meter: Arc::default(), index: None };
        let viewer = Viewer::new(readers, vitals, clock, Options::default())
            .with_index(index::Index::open(&Layout::of(dir.path())).expect("an index"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(viewer::serve(listener, Arc::new(viewer), async {
            let _ = stopped.await;
        }));
        let checked = tokio::task::spawn_blocking(move || {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/check.py");
            let conversations = [&sample.rich, &sample.hostile, &sample.live, &sample.long].map(|id| id.to_string());
            Command::new(python).arg(script).arg(address).args(conversations).output().expect("python")
        });
        let checked = checked.await.expect("python");
        let _ = stop.send(());
        served.await.expect("served").expect("served");
        store.close().await.expect("closed");
        checked
    });
    let (good, wrong) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && good.ends_with("good\n"), "{good}\n{wrong}");
    println!("{good}");
}
