//! Every way the pool can break, seen from outside.

use std::time::Duration;

use greffier::simulate::{Effect, Fate, Fault, SimulatedPool, Target};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, JsonBody as _, events, http, is};
use crate::{start_named, start_text};

const TALK: &str = r#"
title = "faults"
[pool]
medium_ms = 0
poll_timeout_ms = 50
[[person]]
id = "alice"
address = "sip:alice@contoso.example"
name = "Alice"
[[step]]
do = "wait_for"
what = "available"
[[step]]
do = "invite_meeting"
in = "talk"
by = "alice"
[[step]]
do = "wait_for"
what = "connected"
in = "talk"
"#;

/// A client in a meeting, all told so far acknowledged.
async fn in_meeting(text: &str) -> (SimulatedPool, Client) {
    let pool = start_text(text).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    (pool, client)
}

fn channel(times: u32, effect: Effect) -> Fault {
    Fault::Answers { target: Target::Channel, skip: 0, times, effect }
}

#[tokio::test]
async fn statuses_come_with_their_bodies_and_then_the_same_url_works() {
    let (pool, mut client) = in_meeting(TALK).await;
    let url = client.next.clone();
    for status in [403u16, 408, 410, 429, 500, 502, 503, 504] {
        pool.fail(channel(1, Effect::Status { status, subcode: None, retry_after: (status == 429).then_some(7) }));
        let reply = client.once(Method::GET, &url, None).await.unwrap();
        assert_eq!(reply.status().as_u16(), status);
        assert_eq!(reply.headers().get("retry-after").is_some(), status == 429);
        assert!(reply.json::<Value>().await.unwrap()["code"].is_string());
    }
    pool.fail(channel(1, Effect::InvalidTicket));
    let reply = client.once(Method::GET, &url, None).await.unwrap();
    assert!(reply.headers()["x-ms-diagnostics"].to_str().unwrap().starts_with("28032;"));
    pool.fail(channel(1, Effect::Html(200)));
    let reply = client.once(Method::GET, &url, None).await.unwrap();
    assert_eq!((reply.status(), reply.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "text/html"));
    pool.fail(channel(1, Effect::Redirect("http://elsewhere.example/".to_owned())));
    assert_eq!(client.once(Method::GET, &url, None).await.unwrap().status(), StatusCode::FOUND);
    client.poll(&pool).await;
    assert!(pool.ledger().complaints.is_empty(), "{:?}", pool.ledger().complaints);
}

#[tokio::test]
async fn a_spoilt_answer_is_given_again_whole_and_counts_as_not_fetched() {
    let text = format!(
        "{TALK}\n[[step]]\ndo = \"pause\"\n[[step]]\ndo = \"say\"\nin = \"talk\"\nby = \"alice\"\ntext = \"{}\"\n",
        "long ".repeat(400)
    );
    for effect in [Effect::Short, Effect::Reset, Effect::Silence, Effect::Malformed] {
        let pool = start_text(&text).await;
        let mut client = Client::available(&pool).await;
        client.record(&pool).await;
        let fate = || pool.ledger().said().next().unwrap().fate;
        if fate() == Fate::Queued {
            pool.fail(channel(1, effect.clone()));
            let url = client.next.clone();
            let spoilt = match client.once(Method::GET, &url, None).await {
                Err(_) => true,
                Ok(reply) => reply.json::<Value>().await.is_err(),
            };
            assert!(spoilt, "{effect:?}");
            assert_eq!(fate(), Fate::Queued, "{effect:?}");
        }
        client.event(&pool, |e| is(e, "message", "completed")).await;
        assert!(pool.wait_ledger(Duration::from_secs(5), |l| l.said().next().unwrap().fetched()).await);
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_slow_chunks_still_carry_the_batch() {
    let (pool, client) = in_meeting(TALK).await;
    let url = client.next.clone();
    pool.fail(channel(1, Effect::Bom));
    let body = client.once(Method::GET, &url, None).await.unwrap().bytes().await.unwrap();
    assert_eq!(body[..3], [0xef, 0xbb, 0xbf]);
    let batch: Value = serde_json::from_slice(&body[3..]).unwrap();
    pool.fail(channel(1, Effect::Slow(40, Duration::from_millis(1))));
    let reply = client.once(Method::GET, &url, None).await.unwrap();
    assert!(reply.headers().get("content-length").is_none());
    assert_eq!(reply.json::<Value>().await.unwrap(), batch);
}

#[tokio::test]
async fn tickets_can_end_at_any_time() {
    let (pool, mut client) = in_meeting(TALK).await;
    pool.fail(Fault::ExpireTickets);
    assert_eq!(client.once(Method::GET, &client.next, None).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    client.poll(&pool).await;
    assert_eq!(pool.ledger().tickets["pool"], 2);
    pool.fail(Fault::Password("another".to_owned()));
    pool.fail(Fault::ExpireTickets);
    let reply = client.once(Method::GET, &client.next, None).await.unwrap();
    let refused = crate::client::token(&http(), &crate::client::token_href(&reply), &pool.username(), "old").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(pool.ledger().refused_passwords, 1);
}

#[tokio::test]
async fn wrong_numbers_and_orders_lead_to_resync() {
    let (pool, mut client) = in_meeting(TALK).await;
    let right = client.next.clone();
    let wrong = format!("{}=9999", right.split_once('=').unwrap().0);
    let body: Value = client.once(Method::GET, &wrong, None).await.unwrap().json().await.unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert_eq!(client.link(&body, "resync"), right);
    pool.fail(Fault::Resync);
    let batch = client.poll(&pool).await;
    assert!(batch["_links"]["resync"].is_object() && batch["_links"]["next"].is_null());
    assert!(client.poll(&pool).await["_links"]["next"].is_object());
}

#[tokio::test]
async fn resume_closes_every_conversation() {
    let (pool, mut client) = in_meeting(TALK).await;
    pool.fail(Fault::Resume);
    let batch = client.poll(&pool).await;
    assert!(batch["_links"]["resume"].is_object() && batch["_links"]["next"].is_null());
    client.poll(&pool).await;
    let own = client.link(&client.application, "self");
    let conversations = client.get(&pool, &format!("{own}/communication/conversations")).await;
    assert!(conversations["_links"]["conversation"].is_null());
}

#[tokio::test]
async fn a_second_poller_and_a_second_client_replace_the_first() {
    let text = TALK.replace("poll_timeout_ms = 50", "poll_timeout_ms = 30000");
    let (pool, client) = in_meeting(&text).await;
    // What is still waiting is read first, so that the next poll is held.
    let mut client = client;
    while !pool_is_quiet(&mut client, &pool).await {}
    let url = client.next.clone();
    let (first, second) = tokio::join!(client.once(Method::GET, &url, None), async {
        let twin = client.once(Method::GET, &url, None);
        let strike = async {
            assert!(
                pool.wait_ledger(Duration::from_secs(5), |l| l.complaints.iter().any(|c| c.contains("two polls")))
                    .await
            );
            pool.fail(Fault::SecondClient);
        };
        tokio::join!(twin, strike).0
    });
    for reply in [first, second] {
        let reply = reply.unwrap();
        assert_eq!(reply.status(), StatusCode::CONFLICT);
        assert_eq!(reply.json::<Value>().await.unwrap()["subcode"], "PGetReplaced");
    }
}

/// Polls; `true` when the poll was held instead of answered.
async fn pool_is_quiet(client: &mut Client, pool: &SimulatedPool) -> bool {
    tokio::select! {
        _ = client.poll(pool) => false,
        () = tokio::time::sleep(Duration::from_millis(200)) => true,
    }
}

#[tokio::test]
async fn a_lost_application_is_told_apart_from_an_expired_one() {
    for (fault, status, subcode) in [
        (Fault::KillApplication, 404, "ApplicationNotFound"),
        (Fault::ExpireApplication, 410, "InactiveApplicationExpired"),
    ] {
        let (pool, mut client) = in_meeting(TALK).await;
        pool.fail(fault);
        let reply = client.once(Method::GET, &client.next, None).await.unwrap();
        assert_eq!(reply.status().as_u16(), status);
        assert_eq!(reply.json::<Value>().await.unwrap()["subcode"], subcode);
        // A new application joins the meeting, which has gone on, by its URI.
        let uri = meeting_uri(&client);
        client = Client::available(&pool).await;
        let join = client.link(&client.application["_embedded"]["communication"], "joinOnlineMeeting");
        let body = |uri: &str| json!({ "importance": "Normal", "operationId": "123", "onlineMeetingUri": uri });
        let gone = client.request(&pool, Method::POST, &join, Some(body("sip:none@x;gruu"))).await;
        assert_eq!(gone.json::<Value>().await.unwrap()["subcode"], "DestinationNotFound");
        assert_eq!(client.request(&pool, Method::POST, &join, Some(body(&uri))).await.status(), StatusCode::CREATED);
        let done = client.event(&pool, |e| is(e, "onlineMeetingInvitation", "completed")).await;
        assert_eq!(done["_embedded"]["onlineMeetingInvitation"]["operationId"], "123");
        client.event(&pool, |e| e["_embedded"]["messaging"]["_links"]["addMessaging"].is_object()).await;
    }
}

fn meeting_uri(client: &Client) -> String {
    let mut all = client.batches.iter().flat_map(events);
    all.find_map(|e| e["_embedded"]["onlineMeetingInvitation"]["onlineMeetingUri"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn applications_expire_without_polls_or_activity() {
    for key in ["poll_patience_ms = 120", "activity_patience_ms = 120"] {
        let text = TALK.replace("medium_ms = 0", &format!("medium_ms = 0\n{key}"));
        let pool = start_text(&text).await;
        let client = Client::available(&pool).await;
        let ended = pool.wait_ledger(Duration::from_secs(5), |l| {
            l.entries.iter().any(|e| e.detail.starts_with("application ended"))
        });
        assert!(ended.await, "{key}");
        let reply = client.once(Method::GET, &client.next, None).await.unwrap();
        assert_eq!(reply.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn messages_that_nobody_fetches_in_time_are_undelivered() {
    let text = TALK.replace("medium_ms = 0", "medium_ms = 0\nforget_after_ms = 60")
        + "[[step]]\ndo = \"say\"\nin = \"talk\"\nby = \"alice\"\ntimes = 2\ntext = \"{n}\"\n";
    let (pool, mut client) = in_meeting(&text).await;
    // One poll may have been under way; nothing is fetched from here on.
    assert!(pool.wait_ledger(Duration::from_secs(5), |l| l.said().all(|e| e.fate >= Fate::Fetched)).await);
    let undelivered = pool.ledger().said().filter(|e| e.fate == Fate::Undelivered).count();
    client.poll(&pool).await;
    let seen = client.batches.iter().flat_map(events).filter(|e| is(e, "message", "completed")).count();
    assert_eq!(seen + undelivered, 2);
}

#[tokio::test]
async fn the_pool_goes_down_and_comes_back_with_or_without_applications() {
    for lost in [false, true] {
        let (pool, client) = in_meeting(TALK).await;
        pool.fail(Fault::Down { length: Duration::from_millis(150), lost });
        assert!(client.once(Method::GET, &client.next, None).await.is_err(), "nothing listens");
        let back = async {
            loop {
                match client.once(Method::GET, &client.next, None).await {
                    Ok(reply) => return reply.status(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(10), back).await.unwrap();
        assert_eq!(status, if lost { StatusCode::NOT_FOUND } else { StatusCode::OK });
    }
}

#[tokio::test]
async fn a_duplicate_batch_repeats_what_was_acknowledged() {
    let (pool, mut client) = in_meeting(TALK).await;
    let first = client.poll(&pool).await;
    pool.fail(Fault::DuplicateBatch);
    let again = client.poll(&pool).await;
    assert_eq!(again, first);
    assert_ne!(client.poll(&pool).await["_links"]["self"], first["_links"]["self"]);
}

#[tokio::test]
async fn discovery_can_be_sent_elsewhere_and_round_in_circles() {
    let pool = start_named("quiet", &[]).await;
    pool.fail(Fault::RedirectRoot("https://evil.example/root".to_owned()));
    let root: Value = http().get(pool.autodiscover_url()).send().await.unwrap().json().await.unwrap();
    assert_eq!(root, json!({ "_links": { "redirect": { "href": "https://evil.example/root" } } }));
    pool.fail(Fault::RedirectRoot(String::new()));
    pool.fail(Fault::RedirectLoop);
    let mut url = pool.autodiscover_url().to_owned();
    for _ in 0..4 {
        let root: Value = http().get(&url).send().await.unwrap().json().await.unwrap();
        url = root["_links"]["redirect"]["href"].as_str().unwrap().to_owned();
    }
    assert_eq!(url, pool.autodiscover_url());
}
