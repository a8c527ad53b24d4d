//! Transcript, event, search, download and live stream, asked of the whole router over an archive made by the real sink.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::archive::{Archive, Readers};
use crate::export::FORMATS;
use crate::health::Vitals;
use crate::index::catch_up;
use crate::sample::{self, Sample};
use crate::viewer::Options;
use crate::viewer::tests::{Got, ask, block_on, clock, get};

struct Stage {
    _dir: tempfile::TempDir,
    archive: Archive,
    sample: Sample,
    viewer: Arc<Viewer>,
}

async fn stage() -> Stage {
    let dir = tempfile::tempdir().expect("a folder");
    let (archive, sample) = sample::fill(dir.path(), clock()).await;
    let layout = archive.layout().clone();
    let index = tokio::task::spawn_blocking(move || {
        catch_up(&layout, &Arc::new(AtomicBool::new(false)), &mut |_, _| {}).expect("an index")
    });
    let readers = Readers::open(&archive.layout().database, 4).expect("readers");
    let vitals = Vitals { connectors: Vec::new(), log_size: archive.subscribe(), meter: Arc::default(), index: None };
    let index = index.await.expect("no panic");
    let viewer = Viewer::new(readers, vitals, clock(), Options::default()).with_index(index);
    Stage { _dir: dir, archive, sample, viewer: Arc::new(viewer) }
}

impl Stage {
    async fn page(&self, path: &str) -> String {
        let got = get(&self.viewer, path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text());
        got.text()
    }
}

/// The main part, without addresses of assets.
fn main_of(page: &str) -> &str {
    let start = page.find("<main").expect("main");
    &page[start..page.find("</main>").expect("end of main")]
}

/// Numbers of events that are anchored on a page.
fn anchors(page: &str) -> Vec<u64> {
    page.split("id=\"e").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
}

fn link<'p>(page: &'p str, rel: &str) -> Option<String> {
    let at = page.find(&format!("rel=\"{rel}\" href=\""))?;
    let rest: &'p str = &page[at + rel.len() + 13..];
    Some(rest.split('"').next()?.replace("&#38;", "&"))
}

#[test]
fn a_transcript_reads_as_it_always_did() {
    block_on(async {
        let stage = stage().await;
        let page = stage.page(&links::conversation(&stage.sample.rich)).await;
        insta::assert_snapshot!("rich", main_of(&page));
        let page = stage.page("/search?q=crane").await;
        insta::assert_snapshot!("search", main_of(&page));
    });
}

#[test]
fn pages_in_both_directions_show_every_event_exactly_once() {
    block_on(async {
        let stage = stage().await;
        let id = stage.sample.long.clone();
        let own = id.clone();
        let all = stage
            .viewer
            .readers
            .ask(move |reader| {
                let events = reader.transcript(&own, crate::archive::reader::Order::Time);
                events.map(|event| event.map(|event| event.seq.0)).collect::<Result<Vec<u64>, _>>()
            })
            .await
            .expect("events");
        for (start, rel) in [("", "next"), ("?end=newest", "prev")] {
            let mut next = Some(format!("{}{start}", links::conversation(&id)));
            let mut pages = 0;
            let mut found = Vec::new();
            while let Some(path) = next {
                let page = stage.page(&path).await;
                found.extend(anchors(&page));
                next = link(&page, rel);
                pages += 1;
            }
            assert!(pages > all.len() / PAGE, "{pages} pages");
            found.sort_unstable();
            let mut wanted = all.clone();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{rel}");
        }
    });
}

#[test]
fn an_event_is_found_by_its_number_wherever_it_stands() {
    block_on(async {
        let stage = stage().await;
        let page = stage.page(&format!("{}?end=newest", links::conversation(&stage.sample.long))).await;
        let seq = anchors(&page)[3];
        let got = get(&stage.viewer, &format!("/e/{seq}")).await;
        let address = got.header("location");
        assert_eq!((got.status, address.as_str()), (303, links::event(&stage.sample.long, Seq(seq)).as_str()));
        let page = stage.page(address.split('#').next().expect("a path")).await;
        assert!(page.contains(&format!("asked\" id=\"e{seq}\"")), "the event is on the page, marked");
        // Under another conversation's address it leads to its own.
        let wrong = format!("{}?at={seq}", links::conversation(&stage.sample.rich));
        assert_eq!(get(&stage.viewer, &wrong).await.header("location"), address);
        let details = stage.page(&format!("/events/{seq}")).await;
        assert!(details.contains("Who was present") && details.contains("Bob Lee"), "{details}");
    });
}

#[test]
fn addresses_that_name_nothing_get_a_page_that_helps() {
    block_on(async {
        let stage = stage().await;
        let rich = links::conversation(&stage.sample.rich);
        for (path, status) in [
            ("/conversations/c_00000000000000000000000000".to_owned(), 404),
            ("/conversations/nonsense".to_owned(), 404),
            (format!("{rich}?at=99999999"), 404),
            (format!("{rich}?at=-1"), 400),
            (format!("{rich}?after=x"), 400),
            (format!("{rich}?before=1.2.3"), 400),
            (format!("{rich}?day=yesterday"), 400),
            (format!("{rich}/export?format=exe"), 400),
            (format!("{rich}/live?after=x"), 400),
            ("/search?q=a&after=zzz".to_owned(), 400),
            ("/events/0".to_owned(), 404),
            ("/e/none".to_owned(), 400),
        ] {
            let got = get(&stage.viewer, &path).await;
            assert_eq!(got.status, status, "{path}");
            assert!(got.text().contains("All conversations"), "{path}: {}", got.text());
        }
        // Nonsense that harms nothing.
        for path in
            [format!("{rich}?hide=x.y&q=%22unclosed&day="), format!("{rich}?day=2031-01-01"), "/search?q=(".into()]
        {
            assert_eq!(get(&stage.viewer, &path).await.status, 200, "{path}");
        }
    });
}

#[test]
fn hidden_groups_are_left_out_and_gaps_never_are() {
    block_on(async {
        let stage = stage().await;
        let address = format!("{}?hide=people.record.context", links::conversation(&stage.sample.rich));
        let page = stage.page(&address).await;
        for hidden in ["joined", "Recording started", "started sharing", "The conversation ended"] {
            assert!(!page.contains(hidden), "{hidden}");
        }
        assert!(page.contains("Gap in the record") && page.contains("Shall we start with the crane?"));
        // An event that is asked for is there nevertheless.
        let got = stage.page(&format!("{}&at=7", address.replace("?hide", "?q=&hide"))).await;
        assert!(anchors(&got).contains(&7), "{got}");
    });
}

#[test]
fn times_are_those_of_the_readers_zone() {
    block_on(async {
        let stage = stage().await;
        let page = stage.page(&format!("{}?tz=Asia/Tokyo", links::conversation(&stage.sample.rich))).await;
        assert!(page.contains("<time datetime=\"2026-11-20T18:30:48.000+09:00\""), "{}", main_of(&page));
        let day = stage.page(&format!("{}?day=2026-11-21&tz=UTC", links::conversation(&stage.sample.rich))).await;
        assert!(day.contains("board has agreed") && !day.contains("id=\"e8\""));
    });
}

#[test]
fn nothing_that_a_participant_types_becomes_part_of_the_page() {
    block_on(async {
        let stage = stage().await;
        let address = links::conversation(&stage.sample.hostile);
        let page = stage.page(&address).await;
        let seqs = anchors(&page);
        let mut pages = vec![page];
        for seq in &seqs {
            pages.push(stage.page(&format!("/events/{seq}")).await);
        }
        pages.push(stage.page("/search?q=Greffier%20OR%20file%20OR%20script%20OR%20you").await);
        pages.push(stage.page(&format!("{address}?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")).await);
        pages.push(stage.page("/search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%20(").await);
        for page in &pages {
            assert_eq!(page.matches("<script").count(), 1, "ours alone: {page}");
            for never in ["<img", "<iframe", "<form action=\"http", "<style", "<h1>Greffier", "\u{202e}", "\u{0}"] {
                assert!(!page.contains(never), "{never:?}");
            }
            for attribute in page.split('<').filter_map(|tag| tag.split('>').next()) {
                // Text between tags follows `>`, so what is looked at here are tags alone.
                let bare: String = attribute.split('"').step_by(2).collect();
                assert!(
                    !bare.contains(" on") && !bare.contains(" style=") && !attribute.contains("href=\"javascript"),
                    "{attribute}"
                );
            }
        }
        assert!(pages[0].len() < 400_000, "a megabyte is not repeated: {}", pages[0].len());
        assert!(pages[0].contains("more characters"));
        let unique: HashSet<u64> = seqs.iter().copied().collect();
        assert_eq!(unique.len(), seqs.len());
        assert!(pages[0].contains("mallory@evil.example"), "who bears another's name shows an address");
        assert!(pages[0].contains("<span class=\"host\">evil.example</span>"));
    });
}

#[test]
fn a_search_leads_into_the_transcript_and_on_from_hit_to_hit() {
    block_on(async {
        let stage = stage().await;
        let results = stage.page("/search?q=crane&sort=oldest").await;
        assert!(results.contains("<mark>crane</mark>"), "{results}");
        let hit = results.split("result-title").nth(1).and_then(|r| r.split("href=\"").nth(1)).expect("a hit");
        let hit = hit.split('"').next().expect("an address").replace("&#38;", "&");
        let hit = hit.split('#').next().expect("a path");
        let page = stage.page(hit).await;
        assert!(page.contains("Hit 1 of 2 for") && page.contains("<mark>crane</mark>"), "{}", main_of(&page));
        let next = link(&page, "next").expect("another hit");
        assert!(next.contains("q=crane") && next.contains("#e"), "{next}");
        let page = stage.page(next.split('#').next().expect("a path")).await;
        assert!(page.contains("Hit 2 of 2 for"));
        // A condition more.
        assert!(results.contains("/search?q=crane%20from%3A") && results.contains("sort=oldest"), "{results}");
        // From a transcript's own form.
        let got = get(&stage.viewer, &format!("/search?conversation={}&q=crane", stage.sample.live)).await;
        let page = stage.page(&got.header("location")).await;
        assert!(page.contains("1\u{a0}hit<") && page.contains("Stand-up"), "{page}");
    });
}

#[test]
fn edited_and_deleted_words_are_found_and_marked() {
    block_on(async {
        let stage = stage().await;
        assert!(stage.page("/search?q=supplier").await.contains("Deleted at its source"));
        assert!(stage.page("/search?q=%229,000%20a%20week%22").await.contains("Replaced by a later edit"));
        let nothing = stage.page("/search?q=zebra%20crane").await;
        assert!(nothing.contains("Nothing found") && nothing.contains("/search?q=crane\""), "{nothing}");
        let broken = stage.page("/search?q=crane%20(rent").await;
        assert!(broken.contains("<mark class=\"wrong\">(</mark>"), "{broken}");
    });
}

#[test]
fn results_go_on_to_their_end() {
    block_on(async {
        let stage = stage().await;
        let mut next = Some("/search?q=harbour%20week&sort=newest".to_owned());
        let mut found = HashSet::new();
        let mut hits = 0;
        while let Some(path) = next {
            let page = stage.page(&path).await;
            for at in page.split("?at=").skip(1).filter_map(|rest| rest.split(['&', '#']).next()) {
                found.insert(at.to_owned());
            }
            hits += page.matches("<li class=\"result\">").count();
            next = link(&page, "next");
        }
        assert_eq!((hits, found.len()), (sample::LONG, sample::LONG));
    });
}

#[test]
fn every_format_can_be_downloaded() {
    block_on(async {
        let stage = stage().await;
        for format in FORMATS {
            let path = format!("{}/export?format={}", links::conversation(&stage.sample.rich), format.name());
            let got: Got = get(&stage.viewer, &path).await;
            let name = format!("attachment; filename=\"{}.{}.zip\"", stage.sample.rich, format.name());
            assert_eq!((got.status, got.header("content-disposition")), (200, name));
            let mut zip = zip::ZipArchive::new(std::io::Cursor::new(got.body)).expect("a ZIP archive");
            assert!(
                zip.by_name("manifest.json").is_ok(),
                "{}: {:?}",
                format.name(),
                zip.file_names().collect::<Vec<_>>()
            );
        }
        let path = format!("{}/export?format=text&file=only", links::conversation(&stage.sample.rich));
        let got = get(&stage.viewer, &path).await;
        assert!(got.text().contains("Shall we start with the crane?"), "{}", got.text());
    });
}

#[test]
fn a_long_transcript_opens_fast_and_never_whole() {
    block_on(async {
        let stage = stage().await;
        let page = stage.page(&links::conversation(&stage.sample.long)).await;
        assert_eq!(anchors(&page).len(), PAGE);
        let again = get(&stage.viewer, &links::conversation(&stage.sample.long)).await;
        let tag = again.header("etag");
        let path = links::conversation(&stage.sample.long);
        assert_eq!(ask(&stage.viewer, "GET", &path, &[("if-none-match", &tag)]).await.status, 304);
    });
}

mod live {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A stream over a real socket; `read` returns as soon as the text has come.
    struct Wire {
        socket: TcpStream,
        seen: String,
    }

    impl Wire {
        async fn open(port: u16, path: &str, more: &str) -> Wire {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{more}\r\n");
            socket.write_all(request.as_bytes()).await.expect("asked");
            Wire { socket, seen: String::new() }
        }

        async fn read(&mut self, until: &str) -> &str {
            let mut piece = [0; 4096];
            while !self.seen.contains(until) {
                let read = self.socket.read(&mut piece);
                let read = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("in time");
                let read = read.expect("readable");
                assert!(read > 0, "ended without {until}: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            &self.seen
        }

        async fn end(&mut self) {
            let mut rest = Vec::new();
            let read = self.socket.read_to_end(&mut rest);
            tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("it ends").expect("readable");
        }
    }

    #[test]
    fn what_is_said_arrives_and_is_taken_up_again_after_a_break() {
        block_on(async {
            let stage = stage().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let viewer = Arc::clone(&stage.viewer);
            let serving = tokio::spawn(crate::viewer::serve(listener, viewer, async {
                let _ = stopped.await;
            }));
            let id = stage.sample.live.clone();
            let page = stage.page(&links::conversation(&id)).await;
            let address = page.split("data-live=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("live");
            let address = address.replace("&#38;", "&");

            let mut wire = Wire::open(port, &address, "").await;
            assert!(wire.read("\r\n\r\n").await.contains("text/event-stream"));
            let mut s = sample::Scribe::new(id.clone(), 96_000);
            s.says("l3", &sample::person("Bob Lee"), "It <b>arrived</b>!");
            let seq = sample::add(&stage.archive, s.batch()).await[0].seq;
            let seen = wire.read("arrived").await;
            assert!(seen.contains(&format!("id: {seq}")) && seen.contains("event: said"), "{seen}");
            assert!(!seen.contains("<b>arrived"), "{seen}");
            drop(wire);

            // Something elsewhere is not told here; what happened meanwhile is.
            let mut other = sample::Scribe::new(stage.sample.long.clone(), 300_000);
            other.says("elsewhere", &sample::person("Bob Lee"), "not for this page");
            sample::add(&stage.archive, other.batch()).await;
            let mut s = sample::Scribe::new(id.clone(), 96_100);
            s.edits("l3", &sample::person("Bob Lee"), "It arrived, corrected.");
            let edit = sample::add(&stage.archive, s.batch()).await[0].seq;
            let mut wire = Wire::open(port, &address, &format!("last-event-id: {seq}\r\n")).await;
            let seen = wire.read("corrected").await;
            assert!(!seen.contains("not for this page") && !seen.contains(&format!("id: {seq}\n")), "{seen}");
            assert!(seen.contains("\"about\":\"l3\"") && seen.contains(&format!("id: {edit}")), "{seen}");
            let part = stage.page(&format!("{}/part?seq={seq}", links::conversation(&id))).await;
            assert!(part.contains("It arrived, corrected.") && part.contains("Edited, 2 versions"), "{part}");

            let mut list = Wire::open(port, &format!("/live?after={seq}"), "").await;
            assert!(list.read(&format!("id: {edit}")).await.contains("event: happened"));

            // Streams do not hold up the end.
            stop.send(()).expect("serving");
            wire.end().await;
            list.end().await;
            let served = tokio::time::timeout(std::time::Duration::from_secs(20), serving).await;
            served.expect("it ends").expect("no panic").expect("no error");
        });
    }

    #[test]
    fn an_archive_at_rest_sends_browsers_away_for_good() {
        let dir = tempfile::tempdir().expect("a folder");
        let sample = block_on(async {
            let (archive, sample) = sample::fill(dir.path(), clock()).await;
            archive.close().await.expect("closed");
            sample
        });
        let viewer = Arc::new(Viewer::at_rest(dir.path(), clock(), Options::default()).expect("a viewer"));
        let path = format!("{}/live?after=1", links::conversation(&sample.live));
        assert_eq!(block_on(get(&viewer, &path)).status, 204);
    }
}
