//! The interface for programs, asked through the whole router.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use tempfile::TempDir;
use tower_service::Service;

use super::*;
use crate::archive::{Archive, Layout, Readers};
use crate::capture::{Append, Source};
use crate::health::Vitals;
use crate::integrity::checkpoint::{Note, VerifyingKey};
use crate::integrity::merkle::{Hash, verify_inclusion};
use crate::viewer::tests::story::{self, Script, conversation};
use crate::viewer::tests::{Got, ask, block_on, clock, empty, get};
use crate::viewer::{Options, router};

/// The story's archive with its index and its viewer.
fn told() -> (TempDir, Arc<Viewer>) {
    let dir = tempfile::tempdir().unwrap();
    block_on(story::write(dir.path(), story::scripts()));
    crate::index::rebuild(&Layout::of(dir.path()), &AtomicBool::new(false), &mut |_, _| ()).unwrap();
    let viewer = Viewer::at_rest(dir.path(), clock(), Options::default()).unwrap();
    (dir, Arc::new(viewer))
}

/// Writes more into an archive that a viewer shows.
async fn more(dir: &TempDir, scripts: Vec<Script>) {
    let archive = Archive::open(dir.path(), clock()).unwrap();
    append(&archive, scripts).await;
    archive.close().await.unwrap();
}

async fn append(archive: &Archive, scripts: Vec<Script>) {
    let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
    for script in scripts {
        archive.sink().append(&source, Append { events: script.events, ..Append::default() }).await.unwrap();
    }
}

fn json_of(got: &Got) -> Value {
    serde_json::from_slice(&got.body).unwrap_or_else(|error| panic!("{error}: {}", got.text()))
}

async fn fetch(viewer: &Arc<Viewer>, path: &str) -> Value {
    let got = get(viewer, path).await;
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    assert_eq!(got.header("content-type"), "application/json", "{path}");
    json_of(&got)
}

/// All rows of a list, page by page; `between` runs after each page.
async fn walk(
    viewer: &Arc<Viewer>,
    path: &str,
    list: &str,
    next: &str,
    mut between: impl AsyncFnMut(usize),
) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    for page in 0.. {
        assert!(page < 200, "{path} has no end");
        let mut address = path.to_owned();
        if let Some(cursor) = &cursor {
            let text: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
            address = format!("{path}&{next}={text}");
        }
        let answer = fetch(viewer, &address).await;
        rows.extend(answer[list].as_array().unwrap().iter().cloned());
        between(page).await;
        cursor = match &answer["next"] {
            Value::Null => return rows,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
    }
    rows
}

async fn quiet(_: usize) {}

fn ids(rows: &[Value], key: &str) -> Vec<String> {
    rows.iter().map(|row| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned)).collect()
}

#[test]
fn lists_are_whole_whatever_the_size_of_a_page() {
    let (_dir, viewer) = told();
    block_on(async {
        let id = conversation(1);
        let lists = [
            ("/api/v1/conversations?", "conversations", "after", "id"),
            ("/api/v1/people?", "people", "after", "id"),
            ("/api/v1/events?", "events", "from", "seq"),
            ("/api/v1/gaps?", "gaps", "before", "seq"),
            ("/api/v1/search?q=the", "hits", "after", "seq"),
            ("/api/v1/search?q=kind:participant.joined&sort=newest", "hits", "after", "seq"),
            (&format!("/api/v1/conversations/{id}/events?"), "events", "after", "seq"),
            (&format!("/api/v1/conversations/{id}/events?order=capture"), "events", "after", "seq"),
            (
                &format!("/api/v1/conversations/{id}/events?kinds=message.sent,participant.joined"),
                "events",
                "after",
                "seq",
            ),
        ];
        for (path, list, next, key) in lists {
            let whole = ids(&walk(&viewer, &format!("{path}&limit=1000"), list, next, quiet).await, key);
            assert_eq!(whole.len(), whole.iter().collect::<BTreeSet<_>>().len(), "{path}");
            assert!(!whole.is_empty(), "{path}");
            for limit in [1, 2, 3] {
                let pages = ids(&walk(&viewer, &format!("{path}&limit={limit}"), list, next, quiet).await, key);
                assert_eq!(pages, whole, "{path} by {limit}");
            }
        }
    });
}

#[test]
fn a_walk_is_not_disturbed_by_what_is_recorded_meanwhile() {
    let (dir, viewer) = told();
    block_on(async {
        let id = conversation(1);
        let lists = [
            ("/api/v1/conversations?limit=1".to_owned(), "conversations", "after", "id"),
            (format!("/api/v1/conversations/{id}/events?limit=2"), "events", "after", "seq"),
            ("/api/v1/gaps?limit=1".to_owned(), "gaps", "before", "seq"),
            ("/api/v1/events?limit=5".to_owned(), "events", "from", "seq"),
        ];
        for (at, (path, list, next, key)) in lists.into_iter().enumerate() {
            let before = ids(&walk(&viewer, &path, list, next, quiet).await, key);
            // A newer conversation, and a gap, after the first page.
            let number = u8::try_from(10 + at).unwrap();
            let grow = async |page: usize| {
                if page == 0 {
                    let script = Script::of(number).starts("2026-11-21T11:30:00Z", "Newer").gap(
                        "2026-11-21T11:40:00Z",
                        "2026-11-21T11:35:00Z",
                        "event channel lost",
                    );
                    more(&dir, vec![script]).await;
                }
            };
            let rows = ids(&walk(&viewer, &path, list, next, grow).await, key);
            // What was there is there once, in the same order; what is new comes at the end of the log or not at all.
            assert_eq!(rows[..before.len()], before[..], "{path}");
            assert_eq!(
                rows.len() > before.len(),
                list == "events" && key == "seq" && path.contains("/v1/events"),
                "{path}"
            );
        }
    });
}

#[test]
fn a_transcript_is_read_in_both_directions_and_from_anywhere() {
    let (_dir, viewer) = told();
    block_on(async {
        let path = format!("/api/v1/conversations/{}/events", conversation(1));
        let whole = fetch(&viewer, &path).await;
        let whole = ids(whole["events"].as_array().unwrap(), "seq");
        let mut back: Vec<String> = Vec::new();
        let mut before = "end".to_owned();
        loop {
            let page = fetch(&viewer, &format!("{path}?limit=3&before={before}")).await;
            let mut rows = ids(page["events"].as_array().unwrap(), "seq");
            rows.extend(back);
            back = rows;
            match page["previous"].as_str() {
                Some(previous) => before = previous.to_owned(),
                None => break,
            }
        }
        assert_eq!(back, whole);
        let around = fetch(&viewer, &format!("{path}?limit=3&around={}", whole[5])).await;
        assert_eq!(ids(around["events"].as_array().unwrap(), "seq"), whole[4..7]);
        assert!(around["previous"].is_string() && around["next"].is_string());
        let since = fetch(&viewer, &format!("{path}?since=2026-11-19T10:00:00Z&kinds=participant.left")).await;
        let told: Vec<&str> =
            since["events"].as_array().unwrap().iter().map(|e| e["participant"]["id"].as_str().unwrap()).collect();
        assert_eq!(told, ["sip:bob@contoso.com", "sip:alice@contoso.com"]);
    });
}

#[test]
fn filters_hold() {
    let (_dir, viewer) = told();
    block_on(async {
        let subjects = async |query: &str| {
            let answer = fetch(&viewer, &format!("/api/v1/conversations?{query}")).await;
            ids(answer["conversations"].as_array().unwrap(), "id")
        };
        let (one, two, three, four) = (conversation(1), conversation(2), conversation(3), conversation(4));
        let of = |ids: &[&crate::model::ConversationId]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(subjects("").await, of(&[&three, &two, &one, &four]));
        assert_eq!(subjects("participant=&person=&subject=&state=").await.len(), 4);
        assert_eq!(subjects("subject=budget").await, of(&[&one]));
        assert_eq!(subjects("state=live").await, of(&[&three]));
        assert_eq!(subjects("coverage=incomplete&participant=tanaka").await, of(&[&two]));
        assert_eq!(subjects("person=sip:alice@contoso.com&until=2026-11-19").await, of(&[&four]));
        assert_eq!(subjects("connector=other").await, Vec::<String>::new());
        assert_eq!(subjects("platform=ucwa&since=2026-11-21T01:00:00%2B00:00").await, of(&[&three]));

        let detail = fetch(&viewer, &format!("/api/v1/conversations/{two}")).await;
        assert_eq!(
            (detail["id"].as_str(), detail["record"]["coverage"].as_str()),
            (Some(two.as_str()), Some("incomplete"))
        );
        assert_eq!(detail["gaps"][0]["cause"], "event channel lost");
        assert_eq!(detail["attendance"][0]["person"]["name"], "田中 太郎");

        let person = fetch(&viewer, "/api/v1/people/sip:bob@contoso.com").await;
        assert_eq!(ids(person["names"].as_array().unwrap(), "name"), ["Bob", "Bob Builder"]);
        let found = fetch(&viewer, "/api/v1/people?q=builder").await;
        assert_eq!(ids(found["people"].as_array().unwrap(), "id"), ["sip:bob@contoso.com"]);

        let hits = fetch(&viewer, "/api/v1/search?q=figures&facets=true").await;
        assert_eq!((hits["total"].as_u64(), hits["hits"][0]["standing"].as_str()), (Some(1), Some("current")));
        assert_eq!(hits["hits"][0]["snippet"], "The <mark>figures</mark> are in the file.");
        assert!(hits["facets"].is_object());

        let days = fetch(&viewer, "/api/v1/activity?since=2026-11-19&until=2026-11-20").await;
        assert_eq!(ids(days["days"].as_array().unwrap(), "date"), ["2026-11-19", "2026-11-20"]);
        let totals = fetch(&viewer, "/api/v1/totals").await;
        assert_eq!((totals["conversations"].as_u64(), totals["gaps"].as_u64()), (Some(4), Some(1)));
        let status = fetch(&viewer, "/api/v1/status").await;
        assert_eq!((&status["searchable_to"], &status["signed_to"]), (&status["log_size"], &status["log_size"]));
    });
}

#[test]
fn what_cannot_be_answered_is_said_as_json() {
    let (_dir, viewer) = told();
    let nobody = conversation(99);
    let one = conversation(1);
    let cases = [
        ("/api/v1/nowhere", 404, "no page"),
        ("/api/v1/conversations/c_nonsense", 404, "no such conversation"),
        (&format!("/api/v1/conversations/{nobody}"), 404, "no such conversation"),
        (&format!("/api/v1/conversations/{nobody}/events"), 404, "no such conversation"),
        ("/api/v1/conversations?limit=0", 400, "`limit`"),
        ("/api/v1/conversations?limit=1001", 400, "`limit`"),
        ("/api/v1/conversations?limit=many", 400, "limit: invalid digit"),
        ("/api/v1/conversations?particpant=alice", 400, "unknown field `particpant`"),
        ("/api/v1/conversations?limit=1&limit=2", 400, "duplicate field `limit`"),
        ("/api/v1/conversations?after=%00%ff", 400, "`after` cannot be read"),
        ("/api/v1/conversations?after=..%2f..", 400, "`after` cannot be read"),
        ("/api/v1/conversations?since=yesterday", 400, "`since` is no time"),
        ("/api/v1/conversations?state=dead", 400, "`state`"),
        ("/api/v1/conversations?coverage=some", 400, "`coverage`"),
        (&format!("/api/v1/conversations/{one}/events?after=nonsense"), 400, "`after` cannot be read"),
        (&format!("/api/v1/conversations/{one}/events?before=nonsense"), 400, "`before` cannot be read"),
        (&format!("/api/v1/conversations/{one}/events?before=end&around=3"), 400, "Only one of"),
        (&format!("/api/v1/conversations/{one}/events?around=18446744073709551615"), 404, "no such event"),
        (&format!("/api/v1/conversations/{one}/events?order=random"), 400, "`order`"),
        (&format!("/api/v1/conversations/{one}/events?order=capture&kinds=message.sent"), 400, "order of capture"),
        (&format!("/api/v1/conversations/{one}/events?kinds=message.sang"), 400, "`kinds`"),
        ("/api/v1/events/0", 404, "no event"),
        ("/api/v1/events/99999", 404, "no event"),
        ("/api/v1/events/18446744073709551615", 404, "no event"),
        ("/api/v1/events/-1", 400, "named by its seq"),
        ("/api/v1/events/99999/proof", 404, "no event"),
        ("/api/v1/events?from=-1", 400, "from: invalid digit"),
        ("/api/v1/people/nobody", 404, "no such person"),
        ("/api/v1/search", 400, "missing field `q`"),
        ("/api/v1/search?q=%28unclosed", 400, "cannot be read"),
        ("/api/v1/search?q=a&sort=best", 400, "`sort`"),
        ("/api/v1/search?q=a&after=%3Cscript%3E", 400, "`after` cannot be read"),
        ("/api/v1/search?q=a&tz=Mars/Olympus", 400, "`tz`"),
        ("/api/v1/activity?until=soon", 400, "`until`"),
        ("/api/v1/gaps?before=x", 400, "before: invalid digit"),
        ("/api/v1/export?format=doc&since=2026-01-01", 400, "no such format"),
        ("/api/v1/export?format=text", 400, "does not say what is wanted"),
        ("/api/v1/export?format=text&q=a&context=1001", 400, "`context`"),
        ("/api/v1/export?format=text&q=a&file=all", 400, "`file`"),
        ("/api/v1/export?format=text&q=%28unclosed", 400, "cannot be read"),
        (&format!("/api/v1/export?format=text&conversation={one},{nobody}"), 404, "no such conversation"),
        ("/api/v1/export?format=text&q=nowheretobefound", 404, "Nothing happened"),
        ("/api/v1/export?format=text&since=2031-01-01", 404, "Nothing happened"),
        ("/api/v1/live?after=now", 400, "after: invalid digit"),
        (&format!("/api/v1/live?conversation={nobody}"), 404, "no such conversation"),
    ];
    block_on(async {
        for (path, status, words) in cases {
            let got = get(&viewer, path).await;
            assert_eq!((got.status, got.header("content-type").as_str()), (status, "application/json"), "{path}");
            assert_eq!(got.header("cache-control"), "no-store", "{path}");
            let error = &json_of(&got)["error"];
            assert_eq!(error["status"], status, "{path}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(words), "{path}: {message}");
            assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{path}");
        }
    });
}

#[test]
fn the_same_guards_stand_before_it() {
    let (_dir, viewer) = told();
    block_on(async {
        let path = "/api/v1/conversations";
        let refused = [
            ("POST", [("accept", "*/*"), ("origin", "http://localhost:8080")], 405),
            ("OPTIONS", [("access-control-request-method", "GET"), ("origin", "https://evil.example")], 405),
            ("GET", [("host", "evil.example"), ("accept", "*/*")], 421),
            ("GET", [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")], 403),
        ];
        for (method, headers, status) in refused {
            let got = ask(&viewer, method, path, &headers).await;
            assert_eq!(got.status, status, "{method} {headers:?}");
            assert_eq!(json_of(&got)["error"]["status"], status);
            assert!(got.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
        }
        let got = ask(&viewer, "GET", path, &[("origin", "https://evil.example")]).await;
        assert!(got.status == 200 && got.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
        assert_eq!(got.header("cross-origin-resource-policy"), "same-origin");
    });
}

#[test]
fn an_answer_can_be_asked_for_without_its_body_and_kept() {
    let (dir, viewer) = told();
    block_on(async {
        let one = conversation(1);
        let paths = [
            "/api/v1/conversations".to_owned(),
            format!("/api/v1/conversations/{one}/events"),
            "/api/v1/people".to_owned(),
            "/api/v1/search?q=figures".to_owned(),
            "/api/v1/openapi.json".to_owned(),
        ];
        for path in &paths {
            let got = get(&viewer, path).await;
            let tag = got.header("etag");
            assert!(tag.starts_with("W/\""), "{path}: {tag}");
            assert_eq!(got.header("cache-control"), "private, no-cache", "{path}");
            let head = ask(&viewer, "HEAD", path, &[]).await;
            assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, tag.clone()), "{path}");
            let again = ask(&viewer, "GET", path, &[("if-none-match", &tag)]).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        }
        let tag = get(&viewer, &paths[0]).await.header("etag");
        more(&dir, vec![Script::of(9).starts("2026-11-21T11:30:00Z", "Newer")]).await;
        assert_eq!(ask(&viewer, "GET", &paths[0], &[("if-none-match", &tag)]).await.status, 200);
    });
}

#[test]
fn a_proof_leads_from_the_event_to_the_signed_root() {
    let (dir, viewer) = told();
    block_on(async {
        let hash = |text: &str| -> Hash {
            let bytes: Vec<u8> =
                (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
            bytes.try_into().unwrap()
        };
        let size = fetch(&viewer, "/api/v1/status").await["log_size"].as_u64().unwrap();
        for seq in [1, 2, size / 2, size] {
            let event = fetch(&viewer, &format!("/api/v1/events/{seq}")).await;
            let answer = fetch(&viewer, &format!("/api/v1/events/{seq}/proof")).await;
            let proof = &answer["proof"];
            assert_eq!((&proof["seq"], &proof["leaf"]), (&event["seq"], &event["leaf_hash"]));
            let key: VerifyingKey = VerifyingKey::parse(answer["public_key"].as_str().unwrap()).unwrap();
            let signed = Note::parse(answer["checkpoint"].as_str().unwrap()).unwrap().verify(&[key]).unwrap();
            let path: Vec<Hash> =
                proof["path"].as_array().unwrap().iter().map(|hex| hash(hex.as_str().unwrap())).collect();
            let leaf = hash(proof["leaf"].as_str().unwrap());
            assert!(verify_inclusion(&leaf, seq - 1, signed.size, &path, &signed.root), "{seq}");
            let mut other = leaf;
            other[0] ^= 1;
            assert!(!verify_inclusion(&other, seq - 1, signed.size, &path, &signed.root));
        }
        more(&dir, vec![Script::of(9).starts("2026-11-21T11:30:00Z", "Newer")]).await;
        let newer = fetch(&viewer, &format!("/api/v1/events/{}/proof", size + 1)).await;
        assert!(newer["proof"]["leaf"].is_string() && newer["proof"]["path"].is_null());
    });
}

#[test]
fn an_export_is_what_was_asked_for() {
    let (_dir, viewer) = told();
    block_on(async {
        let one = conversation(1);
        let lines = async |query: &str| -> Vec<Value> {
            let got = get(&viewer, &format!("/api/v1/export?format=jsonl&file=only&{query}")).await;
            assert_eq!(got.status, 200, "{query}: {}", got.text());
            assert!(got.header("content-disposition").starts_with("attachment; filename="));
            assert_eq!(got.header("cache-control"), "no-store");
            got.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let of_log = fetch(&viewer, "/api/v1/events?limit=1000").await;
        assert_eq!(lines("since=1970-01-01").await, *of_log["events"].as_array().unwrap());
        let whole = fetch(&viewer, &format!("/api/v1/conversations/{one}/events?order=capture&limit=1000")).await;
        assert_eq!(lines(&format!("conversation={one}")).await, *whole["events"].as_array().unwrap());
        let hits = lines("q=figures").await;
        assert_eq!((hits.len(), hits[0]["message"]["text"].as_str()), (1, Some("The figures are in the file.")));
        let around = lines("q=figures&context=1").await;
        assert!(around.iter().any(|event| event["message"]["text"] == "Good morning, shall we begin?"));
        assert!(
            lines("since=1970-01-01&participant=tanaka")
                .await
                .iter()
                .all(|e| e["conversation"] == conversation(2).as_str())
        );
        let zipped = get(&viewer, &format!("/api/v1/export?format=text&conversation={one}&tz=Europe/Berlin")).await;
        assert_eq!((zipped.header("content-type").as_str(), &zipped.body[..2]), ("application/zip", &b"PK"[..]));
        let formats = fetch(&viewer, "/api/v1/formats").await;
        assert_eq!(formats["formats"].as_array().unwrap().len(), crate::export::FORMATS.len());
    });
}

#[test]
fn so_many_exports_at_a_time() {
    let (_dir, viewer) = told();
    block_on(async {
        let path = format!("/api/v1/export?format=text&conversation={}", conversation(1));
        let turns: Vec<_> = std::iter::from_fn(|| Arc::clone(&viewer.downloads).try_acquire_owned().ok()).collect();
        assert_eq!(get(&viewer, &path).await.status, 503);
        drop(turns);
        assert_eq!(get(&viewer, &path).await.status, 200);
    });
}

/// What a stream says, up to and with the event of this seq: `(id, data)`.
async fn hear(body: &mut axum::body::BodyDataStream, last: u64) -> Vec<(u64, Value)> {
    use tokio_stream::StreamExt as _;
    let (mut text, mut heard) = (String::new(), Vec::new());
    while heard.last().is_none_or(|(seq, _)| *seq < last) {
        let piece = body.next().await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        while let Some(end) = text.find("\n\n") {
            let told: String = text.drain(..end + 2).collect();
            let field = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
            if told.contains("data:") {
                assert_eq!(field("event:"), "event");
                heard.push((field("id:").parse().unwrap(), serde_json::from_str(field("data:")).unwrap()));
            }
        }
    }
    heard
}

#[test]
fn what_is_recorded_is_told_at_once_and_nothing_is_left_out() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(dir.path(), clock()).unwrap();
        append(&archive, story::scripts()).await;
        let readers = Readers::open(dir.path(), 2).unwrap();
        let vitals =
            Vitals { connectors: Vec::new(), log_size: archive.subscribe(), meter: Arc::default(), index: None };
        let viewer = Arc::new(Viewer::new(readers, vitals, clock(), Options::default()));
        let listen = async |path: &str, last: Option<&str>| {
            let mut request = axum::http::Request::get(path).header("host", "localhost");
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            let request = request.body(Body::empty()).unwrap();
            let answer = router(Arc::clone(&viewer)).call(request).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
                (200, &b"text/event-stream"[..])
            );
            answer.into_body().into_data_stream()
        };
        let size = *viewer.log.borrow();
        let log = fetch(&viewer, "/api/v1/events?limit=1000").await;
        let mut all = listen("/api/v1/live?after=0", None).await;
        let heard = hear(&mut all, size).await;
        assert_eq!(heard.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=size).collect::<Vec<_>>());
        assert!(heard.iter().map(|(_, event)| event).eq(log["events"].as_array().unwrap()));
        let mut later = listen("/api/v1/live?after=0", Some(&(size - 1).to_string())).await;
        assert_eq!(hear(&mut later, size).await.len(), 1);
        let mut one = listen(&format!("/api/v1/live?after=0&conversation={}", conversation(1)), None).await;
        let mut new = listen("/api/v1/live", None).await;

        let alice = story::person("alice", "Alice Example");
        append(&archive, vec![Script::of(1).says("2026-11-21T12:00:00Z", &alice, "One more thing.")]).await;
        let told = hear(&mut new, size + 1).await;
        assert_eq!((told.len(), told[0].1["message"]["text"].as_str()), (1, Some("One more thing.")));
        let told = hear(&mut one, size + 1).await;
        assert!(told.len() > 2 && told.iter().all(|(_, event)| event["conversation"] == conversation(1).as_str()));
        // More than a page jumps over is told all the same.
        let many =
            (0..2_500).fold(Script::of(8), |script, n| script.says("2026-11-21T12:00:01Z", &alice, &format!("{n}")));
        append(&archive, vec![many]).await;
        assert_eq!(hear(&mut new, size + 2_501).await.len(), 2_500);
        archive.close().await.unwrap();
        // Nothing will ever be told any more.
        assert_eq!(get(&viewer, "/api/v1/live").await.status, 204);
    });
}

#[test]
fn an_empty_archive_has_answers_too() {
    let (_dir, viewer) = empty();
    block_on(async {
        for path in ["conversations", "people", "events", "gaps", "activity", "totals", "status", "formats"] {
            fetch(&viewer, &format!("/api/v1/{path}")).await;
        }
        assert_eq!(get(&viewer, "/api/v1/checkpoint").await.status, 404);
        assert_eq!(get(&viewer, "/api/v1/search?q=a").await.status, 503);
    });
}

#[test]
fn the_description_is_this() {
    let (_dir, viewer) = empty();
    let got = block_on(get(&viewer, "/api/v1/openapi.json"));
    assert_eq!(got.header("content-type"), "application/vnd.oai.openapi+json");
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&json_of(&got)).unwrap());
}
