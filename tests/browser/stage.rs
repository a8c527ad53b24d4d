//! The sample archive, its index and its signature; the pages it has; and a viewer of it in this process.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use greffier::archive::reader::Order;
use greffier::archive::{Archive, Readers};
use greffier::clock::{Clock, ManualClock};
use greffier::health::Vitals;
use greffier::index;
use greffier::integrity::checkpoint::SigningKey;
use greffier::model::{ConversationId, Event};
use greffier::viewer::{self, Options, Viewer};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::sample::{Sample, at, fill};

/// An archive with something of everything.
pub struct Stage {
    dir: tempfile::TempDir,
    runtime: Runtime,
    archive: Option<Archive>,
    clock: Arc<dyn Clock>,
    pages: Value,
    /// Its conversations.
    pub sample: Sample,
}

impl Stage {
    /// Writes the archive, signs it, makes its index. It is five days after the story began.
    pub fn set() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(at(5 * 86_400 + 9_000)));
        let runtime = Runtime::new().unwrap();
        let (archive, sample) = runtime.block_on(fill(dir.path(), Arc::clone(&clock)));
        let key = SigningKey::load_or_create(&archive.layout().keys, archive.origin()).unwrap();
        runtime.block_on(archive.checkpoint(Arc::new(key))).unwrap();
        index::catch_up(archive.layout(), &Arc::new(AtomicBool::new(false)), &mut |_, _| {}).unwrap();
        let pages = pages(&archive, &sample);
        Stage { dir, runtime, archive: Some(archive), clock, pages, sample }
    }

    /// The archive, for writing more into it.
    pub fn archive(&self) -> &Archive {
        self.archive.as_ref().expect("not closed")
    }

    /// Gives the archive free for another process; its folder.
    pub fn close(&mut self) -> &Path {
        if let Some(archive) = self.archive.take() {
            self.runtime.block_on(archive.close()).unwrap();
        }
        self.dir.path()
    }

    /// What the suites know.
    pub fn facts(&self) -> Value {
        self.pages.clone()
    }

    /// Serves the pages on a port of this machine.
    pub fn show(&self) -> Shown<'_> {
        let layout = self.archive().layout();
        let readers = Readers::open(&layout.database, Viewer::READERS).unwrap();
        let index = index::Index::open(layout).unwrap();
        let vitals =
            Vitals { connectors: Vec::new(), log_size: self.archive().subscribe(), meter: Arc::default(), index: None };
        let viewer = Viewer::new(readers, vitals, Arc::clone(&self.clock), Options::default()).with_index(index);
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = self.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let ended = async move { drop(stopped.await) };
        self.runtime.spawn(viewer::serve(listener, Arc::new(viewer), ended));
        Shown { stage: self, base, _stop: stop }
    }
}

/// A viewer in this process.
pub struct Shown<'s> {
    stage: &'s Stage,
    base: String,
    _stop: oneshot::Sender<()>,
}

impl Shown<'_> {
    /// Its address, without a path.
    pub fn base(&self) -> String {
        self.base.clone()
    }

    /// Waits for something while the pages are served.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.stage.runtime.block_on(future)
    }
}

/// Every kind of page, by a name that its screenshot gets; and what can be found on some of them.
fn pages(archive: &Archive, sample: &Sample) -> Value {
    let events = |id: &ConversationId| -> Vec<Event> {
        let reader = archive.reader().unwrap();
        reader.transcript(id, Order::Time).map(Result::unwrap).collect()
    };
    let (rich, hostile, long) = (events(&sample.rich), events(&sample.hostile), events(&sample.long));
    let seq_of = |events: &[Event], id: &str| {
        let is = |event: &&Event| event.content.message.as_ref().is_some_and(|message| message.id == id);
        events.iter().find(is).expect("a message").seq.0
    };
    let transcript = |id: &ConversationId, rest: &str| format!("/conversations/{id}{rest}");
    let middle = seq_of(&long, "n350");
    let edited = seq_of(&rich, "m5");
    let mallory = "/people/sip%3Amallory%40evil.example";
    let mut pages = Map::new();
    let mut statuses = Map::new();
    let mut page = |name: &str, address: String, status: u16| {
        pages.insert(name.into(), address.into());
        statuses.insert(name.into(), status.into());
    };
    page("conversations", "/".into(), 200);
    page("conversations-filtered", "/?record=incomplete&subject=harbour&with=alice".into(), 200);
    page("conversations-none", "/?subject=nowhere".into(), 200);
    page("transcript", transcript(&sample.rich, ""), 200);
    page("transcript-at", transcript(&sample.rich, &format!("?at={edited}#e{edited}")), 200);
    page("transcript-query", transcript(&sample.rich, &format!("?q=crane&at={}", seq_of(&rich, "m1"))), 200);
    page("transcript-quiet", transcript(&sample.rich, "?hide=people.record.context"), 200);
    page("transcript-live", transcript(&sample.live, ""), 200);
    page("transcript-long", transcript(&sample.long, ""), 200);
    page("transcript-middle", transcript(&sample.long, &format!("?at={middle}#e{middle}")), 200);
    page("transcript-hostile", transcript(&sample.hostile, ""), 200);
    page("event", format!("/events/{edited}"), 200);
    page("event-formatted", format!("/events/{}", seq_of(&rich, "m10")), 200);
    page("event-hostile", format!("/events/{}", seq_of(&hostile, "html")), 200);
    page("search", "/search?q=crane".into(), 200);
    page("search-start", "/search".into(), 200);
    page("search-many", "/search?q=harbour&sort=oldest".into(), 200);
    page("search-none", "/search?q=zeppelin+from%3Aalice".into(), 200);
    page("search-error", "/search?q=crane+AND+%28budget+OR".into(), 200);
    page("search-hostile", "/search?q=script".into(), 200);
    page("people", "/people".into(), 200);
    page("people-none", "/people?name=nobody".into(), 200);
    page("person", "/people/sip%3Aalice.van.dyk%40contoso.com".into(), 200);
    page("person-hostile", mallory.into(), 200);
    page("integrity", "/integrity".into(), 200);
    page("statistics", "/statistics".into(), 200);
    page("statistics-all", "/statistics?span=all".into(), 200);
    page("settings", "/settings?back=/people".into(), 200);
    page("zone", "/?tz=Asia/Kathmandu".into(), 200);
    page("missing", "/conversations/nowhere".into(), 404);
    page("wrong", "/statistics?span=7".into(), 400);
    json!({
        "pages": pages,
        "statuses": statuses,
        "hostile": [
            transcript(&sample.hostile, ""),
            "/", "/search?q=script", "/people", mallory, "/integrity",
            format!("/events/{}", seq_of(&hostile, "html")),
        ],
        "taken": {
            "rich": transcript(&sample.rich, "/export?format=html&file=only"),
            "hostile": transcript(&sample.hostile, "/export?format=html&file=only"),
        },
        "conversation": sample.rich,
        "live": transcript(&sample.live, ""),
        "subject": "Budget for the harbour project, second round",
        "said": "Renting costs 12,500 a week, with the operator.",
        "word": "crane",
    })
}
