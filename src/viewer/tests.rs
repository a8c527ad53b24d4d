//! What holds for every page, asked of the whole router.

pub(crate) mod story;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use tower_service::Service;

use super::*;
use crate::archive::Archive;
use crate::clock::ManualClock;
use crate::model::Timestamp;

/// What came back.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
    }
}

/// Asks the router for a page, with `Host: localhost` and these headers.
pub(crate) async fn ask(viewer: &Arc<Viewer>, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "localhost:8080");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let answer = router(Arc::clone(viewer)).call(request).await.expect("routers do not fail");
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body").to_vec();
    Got { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// As [`ask`], for GET without further headers.
pub(crate) async fn get(viewer: &Arc<Viewer>, path: &str) -> Got {
    ask(viewer, "GET", path, &[]).await
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("runtime").block_on(future)
}

/// The time at which test viewers live.
pub(crate) const NOW: &str = "2026-11-21T12:00:00Z";

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::parse_rfc3339(NOW).expect("a time")))
}

/// An empty archive with its viewer; the folder goes when the first value is dropped.
pub(crate) fn empty() -> (tempfile::TempDir, Arc<Viewer>) {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = Archive::open(dir.path(), clock()).expect("an archive");
    block_on(archive.close()).expect("closed");
    let options = Options { hosts: vec!["archive.contoso.com".into()], ..Options::default() };
    let viewer = Viewer::at_rest(dir.path(), clock(), options).expect("a viewer");
    (dir, Arc::new(viewer))
}

/// The story's archive with its viewer.
pub(crate) fn told() -> (tempfile::TempDir, Arc<Viewer>) {
    let dir = tempfile::tempdir().expect("a folder");
    block_on(story::write(dir.path(), story::scripts()));
    let viewer = Viewer::at_rest(dir.path(), clock(), Options::default()).expect("a viewer");
    (dir, Arc::new(viewer))
}

/// The part of a page between `<main` and `</main>`, with the archive's random parts made equal.
pub(crate) fn main_of(page: &str) -> String {
    let from = page.find("<main").expect("a main part");
    let to = page.find("</main>").expect("its end");
    page[from..to].lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn only_names_of_ours_are_answered() {
    let (_dir, viewer) = empty();
    block_on(async {
        for host in ["localhost", "127.0.0.1:8080", "[::1]:9", "archive.contoso.com", "Archive.Contoso.com:443"] {
            assert_eq!(ask(&viewer, "GET", "/settings", &[("host", host)]).await.status, 200, "{host}");
        }
        let strangers = [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "192.168.1.1",
            "",
            "archive.contoso.com.evil.example",
        ];
        for host in strangers {
            let got = ask(&viewer, "GET", "/settings", &[("host", host), ("x-forwarded-host", "localhost")]).await;
            assert_eq!(got.status, 421, "{host}");
            assert!(got.text().contains("does not answer to the name"), "{}", got.text());
        }
        // Health keeps to loopback, whatever is configured.
        assert_eq!(ask(&viewer, "GET", "/metrics", &[("host", "archive.contoso.com")]).await.status, 421);
        assert_eq!(ask(&viewer, "GET", "/metrics", &[]).await.status, 200);
    });
}

#[test]
fn pages_are_read_and_nothing_else() {
    let (_dir, viewer) = empty();
    block_on(async {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            for path in ["/settings", "/nowhere", "/assets/style.css"] {
                let got = ask(&viewer, method, path, &[]).await;
                assert_eq!((got.status, got.header("allow").as_str()), (405, "GET, HEAD"), "{method} {path}");
            }
        }
        let got = ask(&viewer, "HEAD", "/settings", &[]).await;
        assert_eq!((got.status, got.body.len()), (200, 0));
    });
}

#[test]
fn every_answer_carries_the_policy() {
    let (_dir, viewer) = empty();
    block_on(async {
        for path in ["/settings", "/nowhere", "/assets/style.css", "/api/v1/nowhere"] {
            let got = get(&viewer, path).await;
            let policy = got.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(got.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(got.header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(got.header("cross-origin-opener-policy"), "same-origin", "{path}");
            assert_eq!(got.header("cross-origin-resource-policy"), "same-origin", "{path}");
            assert!(!got.header("cache-control").is_empty(), "{path}");
        }
        let page = get(&viewer, "/settings").await.text();
        for never in ["<style", " style=", "onclick", "onload", "javascript:", "http://", "https://"] {
            assert!(!page.contains(never), "{never}");
        }
    });
}

#[test]
fn what_does_not_exist_is_told_with_ways_on() {
    let (_dir, viewer) = empty();
    block_on(async {
        let got = get(&viewer, "/nowhere").await;
        assert_eq!((got.status, got.header("content-type").as_str()), (404, "text/html; charset=utf-8"));
        assert!(got.text().contains("There is no page at this address.") && got.text().contains("href=\"/people\""));
        let got = get(&viewer, "/api/v1/nowhere").await;
        assert_eq!((got.status, got.header("content-type").as_str()), (404, "application/json"));
        let json: serde_json::Value = serde_json::from_slice(&got.body).expect("json");
        assert_eq!(json["error"]["status"], 404);
    });
}

#[test]
fn assets_are_kept_for_ever_and_asked_for_by_hash() {
    let (_dir, viewer) = empty();
    block_on(async {
        let page = get(&viewer, "/settings").await.text();
        for name in ["style.css", "greffier.js", "icon.svg"] {
            let address = assets::address(name);
            assert!(page.contains(&format!("\"{address}\"")), "{address}");
            let got = get(&viewer, &address).await;
            assert_eq!(
                (got.status, got.header("cache-control").as_str()),
                (200, "public, max-age=31536000, immutable")
            );
            let tag = got.header("etag");
            let again = ask(&viewer, "GET", &address, &[("if-none-match", &format!("\"x\", {tag}"))]).await;
            assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag));
            assert_eq!(ask(&viewer, "GET", &address, &[("if-none-match", "W/\"other\"")]).await.status, 200);
        }
        assert_eq!(get(&viewer, "/assets/../Cargo.toml").await.status, 404);
    });
}

#[test]
fn pages_travel_compressed() {
    let (_dir, viewer) = empty();
    block_on(async {
        let plain = get(&viewer, "/assets/style.css").await;
        assert_eq!(plain.header("content-encoding"), "");
        for coding in ["gzip", "br", "zstd"] {
            let got = ask(&viewer, "GET", "/assets/style.css", &[("accept-encoding", coding)]).await;
            assert_eq!(got.header("content-encoding"), coding);
            assert!(got.header("vary").contains("accept-encoding"));
            assert!(got.body.len() * 2 < plain.body.len(), "{coding}: {} of {}", got.body.len(), plain.body.len());
        }
    });
}

#[test]
fn other_sites_may_link_but_not_load() {
    let (_dir, viewer) = empty();
    block_on(async {
        let with = |site, mode| [("sec-fetch-site", site), ("sec-fetch-mode", mode)];
        assert_eq!(ask(&viewer, "GET", "/settings", &with("cross-site", "navigate")).await.status, 200);
        assert_eq!(ask(&viewer, "GET", "/settings", &with("same-origin", "cors")).await.status, 200);
        assert_eq!(ask(&viewer, "GET", "/settings", &with("cross-site", "no-cors")).await.status, 403);
        assert_eq!(ask(&viewer, "GET", "/settings", &with("same-site", "cors")).await.status, 403);
    });
}

#[test]
fn the_access_log_names_routes_and_never_what_was_looked_for() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (_dir, viewer) = told();
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(log, || {
        block_on(async {
            // A line that another test's thread, which has no log, was the first to write would stay off.
            get(&viewer, "/settings").await;
            tracing::callsite::rebuild_interest_cache();
            lines.0.lock().expect("not poisoned").clear();
            get(&viewer, "/?subject=Geheimnis").await;
            get(&viewer, "/people/sip%3Aalice%40contoso.com?name=Geheimnis").await;
            get(&viewer, "/Geheimnis").await;
            ask(&viewer, "GEHEIMNIS", "/people", &[]).await;
        });
    });
    let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("text");
    let parts: Vec<String> =
        text.lines().map(|line| line.split_once("page http.").expect("an access line").1.to_owned()).collect();
    let wanted = [
        ("method=\"GET\" http.route=/ ", "status=200"),
        ("method=\"GET\" http.route=/people/{id} ", "status=200"),
        ("method=\"GET\" http.route=none ", "status=404"),
        ("method=\"other\" http.route=/people ", "status=405"),
    ];
    assert_eq!(parts.len(), wanted.len(), "{text}");
    for (line, (begins, status)) in parts.iter().zip(wanted) {
        assert!(line.starts_with(begins) && line.contains(status) && line.contains("http.bytes="), "{line}");
    }
    assert!(!text.to_lowercase().contains("geheimnis") && !text.contains("alice"), "{text}");
}

#[test]
fn long_addresses_are_refused() {
    let (_dir, viewer) = empty();
    let path = format!("/settings?back=/{}", "a".repeat(9000));
    assert_eq!(block_on(get(&viewer, &path)).status, 414);
}

#[test]
fn a_page_that_panics_is_an_error_page_and_the_next_one_works() {
    let (_dir, viewer) = empty();
    let panics = Router::new()
        .route(
            "/",
            axum::routing::get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .layer(CatchPanicLayer::custom(page::panicked))
        .layer(from_fn_with_state(Arc::clone(&viewer), page::explain));
    block_on(async {
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let answer = panics.clone().call(request).await.expect("routers do not fail");
        assert_eq!(answer.status(), 500);
        let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains("fault of the program") && !body.contains("on purpose"), "{body}");
    });
}

#[test]
fn who_finds_no_turn_is_told_to_come_again() {
    let (dir, _) = empty();
    let options = Options { patience: std::time::Duration::ZERO, ..Options::default() };
    let viewer = Arc::new(Viewer::at_rest(dir.path(), clock(), options).expect("a viewer"));
    let slow = Router::new()
        .route("/", axum::routing::get(std::future::pending::<()>))
        .layer(from_fn_with_state(Arc::clone(&viewer), guard::admit))
        .layer(from_fn_with_state(Arc::clone(&viewer), page::explain));
    block_on(async {
        let request = Request::get("/").header("host", "localhost").body(Body::empty()).expect("a request");
        let answer = slow.clone().call(request).await.expect("routers do not fail");
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().ok()), (503, Some("2")));
    });
}
