#![allow(clippy::unwrap_used)]
#[path = "../tests/support/archive.rs"]
#[allow(dead_code)]
mod archive;
use greffier::{
    archive::Readers,
    clock::SystemClock,
    health::Vitals,
    model::*,
    viewer::{self, Options, Viewer},
};
use std::sync::Arc;
fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let clock = Arc::new(SystemClock);
        let (a, sample) = archive::fill(&dir, clock.clone()).await;
        let a = Arc::new(a);
        println!("{} {} {} {}", sample.rich, sample.hostile, sample.live, sample.long);
        let readers = Readers::open(&a.layout().database, 8).unwrap();
        let vitals = Vitals { connectors: vec![], log_size: a.subscribe(), meter: Arc::default() };
        let v = Arc::new(Viewer::new(readers, vitals, clock, Options::default()));
        let l = tokio::net::TcpListener::bind("127.0.0.1:18099").await.unwrap();
        let live = sample.live.clone();
        tokio::spawn(async move {
            for n in 0.. {
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                let mut s = archive::Scribe::new(live.clone(), 96_000 + n * 4);
                s.says(&format!("x{n}"), &archive::person("Bob Lee"), &format!("Live words number {n}"));
                archive::add(&a, s.batch()).await;
            }
        });
        viewer::serve(l, v, std::future::pending()).await.unwrap();
    });
}
