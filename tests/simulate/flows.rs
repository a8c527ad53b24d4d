//! Sign-in, invitations, messaging and acknowledgement, as the documents tell them.

use std::time::Duration;

use greffier::simulate::{Fate, Happened, Parameters, Scenario};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, JsonBody as _, encode, events, http, is, origin, post_grant, token, token_href};
use crate::{start, start_named, start_text};

const CAST: &str = r#"
title = "test"
[[person]]
id = "alice"
address = "sip:alice@contoso.example"
name = "Alice Brandt"
role = "Leader"
[[person]]
id = "bob"
address = "sip:bob@contoso.example"
name = "Bob Stone"
"#;

fn with_cast(pool: &str, steps: &str) -> String {
    format!(
        "{}\n{pool}\n{}\n{steps}",
        CAST.split("[[person]]").next().unwrap(),
        CAST.split_once("[[person]]").map(|(_, p)| format!("[[person]]{p}")).unwrap()
    )
}

#[tokio::test]
async fn a_ticket_is_good_at_the_origin_that_issued_it_only() {
    let pool = start_text(CAST).await;
    let http = http();
    let root: Value = http.get(pool.autodiscover_url()).send().await.unwrap().json().await.unwrap();
    let user = root["_links"]["user"]["href"].as_str().unwrap();
    assert!(user.contains("originalDomain=contoso.example"));
    let challenge = http.get(user).send().await.unwrap();
    let reply = token(&http, &token_href(&challenge), &pool.username(), &pool.password()).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let ticket: Value = reply.json().await.unwrap();
    let ticket = ticket["access_token"].as_str().unwrap();
    let user: Value = http.get(user).bearer_auth(ticket).send().await.unwrap().json().await.unwrap();
    let applications = user["_links"]["applications"]["href"].as_str().unwrap();
    assert_ne!(origin(applications), origin(pool.autodiscover_url()));
    let foreign = http
        .post(applications)
        .bearer_auth(ticket)
        .header("Content-Type", "application/json")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let diagnostics = foreign.headers()["x-ms-diagnostics"].to_str().unwrap();
    assert!(diagnostics.starts_with("28032;") && diagnostics.ends_with("reason=\"The web ticket is invalid.\""));
    let anonymous = http.post(applications).header("Content-Type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(origin(&token_href(&anonymous)), origin(applications));
}

#[tokio::test]
async fn challenges_come_in_every_documented_spelling() {
    for (joined, quotes, uri) in [(false, true, false), (true, true, true), (true, false, false), (false, false, true)]
    {
        let text = with_cast(
            &format!("[pool]\nchallenge_joined = {joined}\nchallenge_quotes = {quotes}\nchallenge_uri = {uri}\n"),
            "",
        );
        let pool = start_text(&text).await;
        let user = format!("{}Autodiscover/AutodiscoverService.svc/root/oauth/user", pool.autodiscover_url());
        let reply = http().get(user).send().await.unwrap();
        let fields: Vec<String> =
            reply.headers().get_all("www-authenticate").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        assert_eq!(fields.len(), if joined { 1 } else { 2 });
        assert_eq!(fields.join(",").contains("href=\"http"), quotes);
        assert_eq!(fields.join(",").contains("authorization_uri"), uri);
        assert!(fields.join(",").contains("urn:microsoft.rtc:windows"));
        assert!(token_href(&reply).ends_with("/WebTicket/oauthtoken"));
    }
}

#[tokio::test]
async fn passwords_must_be_encoded_and_wrong_ones_are_counted() {
    let pool = start_text(CAST).await;
    let http = http();
    let href = format!("{}/WebTicket/oauthtoken", pool.pool_url());
    let raw = format!("grant_type=password&username={}&password={}", encode(&pool.username()), pool.password());
    let post = http.post(&href).header("Content-Type", "application/x-www-form-urlencoded").body(raw);
    let reply: Value = post.send().await.unwrap().json().await.unwrap();
    assert_eq!(reply, json!({ "error": "invalid_request" }));
    let wrong = token(&http, &href, &pool.username(), "wrong").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(wrong.json::<Value>().await.unwrap(), json!({ "error": "invalid_grant" }));
    assert_eq!(token(&http, &href, "recorder@contoso.example", &pool.password()).await.status(), StatusCode::OK);
    let ledger = pool.ledger();
    assert_eq!((ledger.refused_passwords, ledger.tickets["pool"]), (1, 1));
    let windows = post_grant(&http, &href, "urn:microsoft.rtc:windows").await;
    assert_eq!(windows.status(), StatusCode::UNAUTHORIZED);
    let other = post_grant(&http, &href, "x").await;
    assert_eq!(other.json::<Value>().await.unwrap(), json!({ "error": "unsupported_grant_type" }));
}

#[tokio::test]
async fn discovery_takes_the_detours_it_is_told_to() {
    for detour in ["root", "user"] {
        let pool = start_text(&with_cast(&format!("[pool]\nredirect = \"{detour}\"\n"), "")).await;
        let client = Client::sign_in(&pool).await;
        assert_eq!(client.base, pool.pool_url());
        let tickets = pool.ledger().tickets;
        assert_eq!(tickets.contains_key("home"), detour == "user", "{tickets:?}");
    }
    let pool = start_text(&with_cast("[pool]\nsingle_origin = true\n", "")).await;
    let client = Client::sign_in(&pool).await;
    assert_eq!(client.tickets.len(), 1);
}

#[tokio::test]
async fn the_same_endpoint_gets_the_same_application_and_too_many_are_refused() {
    let pool = start_text(&with_cast("[pool]\nmax_applications = 1\n", "")).await;
    let mut client = Client::sign_in(&pool).await;
    let url = format!("{}/ucwa/oauth/v1/applications", client.base);
    let same = json!({ "UserAgent": "x", "EndpointId": "380a9e10-c680-488c-8f15-94e7cd87d28f", "Culture": "en-US" });
    let reply = client.request(&pool, Method::POST, &url, Some(same)).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let again: Value = reply.json().await.unwrap();
    assert_eq!(again["_links"]["self"], client.application["_links"]["self"]);
    let other = json!({ "userAgent": "x", "endpointId": "another", "culture": "en-US" });
    let reply = client.request(&pool, Method::POST, &url, Some(other)).await;
    assert_eq!(reply.status(), StatusCode::GONE);
    assert_eq!(reply.json::<Value>().await.unwrap()["subcode"], "TooManyApplications");
    let own = client.link(&client.application, "self");
    assert_eq!(client.request(&pool, Method::DELETE, &own, None).await.status(), StatusCode::NO_CONTENT);
    let gone = client.request(&pool, Method::GET, &own, None).await;
    assert_eq!(gone.json::<Value>().await.unwrap()["subcode"], "ApplicationNotFound");
}

#[tokio::test]
async fn a_lurker_must_make_itself_available_first() {
    let pool = start_text(CAST).await;
    let mut client = Client::sign_in(&pool).await;
    let own = client.link(&client.application, "self");
    let reply = client.request(&pool, Method::POST, &format!("{own}/me/reportMyActivity"), None).await;
    assert_eq!(reply.status(), StatusCode::CONFLICT);
    assert_eq!(reply.json::<Value>().await.unwrap()["subcode"], "MakeMeAvailableRequired");
    client.become_available(&pool).await;
    let me = &client.application["_embedded"]["me"];
    assert!(me["_links"]["makeMeAvailable"].is_null());
    let activity = client.link(me, "reportMyActivity");
    assert_eq!(client.request(&pool, Method::POST, &activity, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(client.application["_embedded"]["communication"]["supportedModalities"], json!(["Messaging"]));
}

#[tokio::test]
async fn a_chat_is_accepted_read_and_acknowledged() {
    let steps = r#"
[[step]]
do = "wait_for"
what = "available"
[[step]]
do = "invite_chat"
in = "chat"
by = "alice"
text = "Hi Tosh"
[[step]]
do = "wait_for"
what = "connected"
in = "chat"
[[step]]
do = "say"
in = "chat"
by = "alice"
text = "1+1=2, Grüezi 日本"
html = "<b>x</b>"
[[step]]
do = "wait_for"
what = "acknowledged"
"#;
    let pool = start_text(&with_cast("[pool]\nmedium_ms = 10\n", steps)).await;
    let mut client = Client::available(&pool).await;
    let invited = client.event(&pool, |e| is(e, "messagingInvitation", "started")).await;
    let invitation = &invited["_embedded"]["messagingInvitation"];
    assert_eq!(invitation["_links"]["message"]["href"], "data:text/plain;charset=utf-8,Hi+Tosh%0d%0a");
    assert_eq!(invitation["_embedded"]["from"]["uri"], "sip:alice@contoso.example");
    let accept = client.link(invitation, "accept");
    assert_eq!(client.request(&pool, Method::POST, &accept, None).await.status(), StatusCode::NO_CONTENT);
    let second = client.request(&pool, Method::POST, &accept, None).await;
    assert_eq!(second.status(), StatusCode::CONFLICT);
    let said = client.event(&pool, |e| {
        let href = e["_embedded"]["message"]["_links"]["plainMessage"]["href"].as_str();
        is(e, "message", "completed") && href.is_some_and(|h| h.contains("1%2b1"))
    });
    let said = said.await;
    assert_eq!(said["status"], "Success");
    let links = &said["_embedded"]["message"]["_links"];
    assert_eq!(
        links["plainMessage"]["href"],
        "data:text/plain;charset=utf-8,1%2b1%3d2%2c+Gr%c3%bcezi+%e6%97%a5%e6%9c%ac%0d%0a"
    );
    assert_eq!(links["htmlMessage"]["href"], "data:text/html;charset=utf-8,%3cb%3ex%3c%2fb%3e");
    assert_eq!(links["participant"]["title"], "");
    assert!(links["participant"]["href"].as_str().unwrap().ends_with("/participants/alice@contoso.example"));
    // The first message has come again as a message of its own.
    let first = client.batches.iter().flat_map(events).filter(|e| {
        is(e, "message", "completed")
            && e["_embedded"]["message"]["_links"]["plainMessage"]["href"]
                == "data:text/plain;charset=utf-8,Hi+Tosh%0d%0a"
    });
    assert_eq!(first.count(), 1);
    let fate = |pool: &greffier::simulate::SimulatedPool| pool.ledger().said().last().unwrap().fate;
    assert!(pool.wait_ledger(Duration::from_secs(5), |l| l.said().last().unwrap().fate == Fate::Fetched).await);
    assert_eq!(fate(&pool), Fate::Fetched);
    let url = client.next.clone();
    let asked = client.once(Method::GET, &url, None);
    tokio::select! {
        _ = asked => panic!("nothing happens, so the poll is held"),
        done = pool.run_to_end() => done.unwrap(),
    }
    assert_eq!(fate(&pool), Fate::Acknowledged);
    let complaints = pool.ledger().complaints;
    assert_eq!(complaints, ["accept was posted to an invitation that was accepted or over already"]);
}

#[tokio::test]
async fn the_seed_story_conflicts_twice_and_then_flows() {
    let pool = start_named("seed-409", &[]).await;
    let mut client = Client::available(&pool).await;
    let invited = client.event(&pool, |e| is(e, "onlineMeetingInvitation", "started")).await;
    let invitation = invited["_embedded"]["onlineMeetingInvitation"].clone();
    let accept = client.link(&invitation, "accept");
    let early = format!(
        "{}/communication/messagingInvitations?conversation={}",
        client.link(&client.application, "self"),
        invitation["_links"]["conversation"]["href"].as_str().unwrap().rsplit('/').next().unwrap()
    );
    let operation = json!({ "operationId": "74cb7404" });
    let reply = client.request(&pool, Method::POST, &early, Some(operation.clone())).await;
    assert_eq!(reply.status(), StatusCode::CONFLICT, "before the join is complete");
    assert_eq!(client.request(&pool, Method::POST, &accept, None).await.status(), StatusCode::NO_CONTENT);
    let offered = client.event(&pool, |e| e["_embedded"]["messaging"]["_links"]["addMessaging"].is_object()).await;
    let all: Vec<&Value> = client.batches.iter().flat_map(events).collect();
    let completed = all.iter().position(|e| is(e, "onlineMeetingInvitation", "completed")).unwrap();
    let conferenced = all.iter().position(|e| e["_embedded"]["conversation"]["state"] == "Conferenced").unwrap();
    assert!(completed < conferenced);
    assert_eq!(all[conferenced]["_embedded"]["conversation"]["activeModalities"], json!(["Messaging"]));
    let messaging = offered["_embedded"]["messaging"].clone();
    assert_eq!(messaging["state"], "Disconnected");
    let add = client.link(&messaging, "addMessaging");
    let bodyless = client.request(&pool, Method::POST, &add, None).await;
    let sample: Value =
        serde_json::from_str(include_str!("../fixtures/ucwa/seed-error-409-conflict-no-subcode.json")).unwrap();
    assert_eq!(bodyless.json::<Value>().await.unwrap(), sample);
    for _ in 0..2 {
        let reply = client.request(&pool, Method::POST, &add, Some(operation.clone())).await;
        assert_eq!((reply.status(), reply.json::<Value>().await.unwrap()), (StatusCode::CONFLICT, sample.clone()));
    }
    let reply = client.request(&pool, Method::POST, &add, Some(operation.clone())).await;
    assert_eq!(reply.status(), StatusCode::CREATED);
    let location = reply.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.contains("/communication/messagingInvitations/"));
    let doubled = client.request(&pool, Method::POST, &add, Some(operation.clone())).await;
    assert_eq!(doubled.status(), StatusCode::CONFLICT);
    let done = client.event(&pool, |e| is(e, "messagingInvitation", "completed")).await;
    assert_eq!(done["_embedded"]["messagingInvitation"]["operationId"], "74cb7404");
    client.record(&pool).await;
    let ledger = pool.ledger();
    let fates: Vec<Fate> = ledger.said_in("the talk").map(|e| e.fate).collect();
    assert_eq!(fates, [Fate::NotOffered, Fate::Acknowledged, Fate::Acknowledged, Fate::Acknowledged]);
    assert_eq!((ledger.add_messaging, ledger.conflicts), (6, 5));
    assert_eq!(ledger.count(Happened::MessagingConnected), 1);
}

#[tokio::test]
async fn what_the_recorder_sends_is_confirmed_without_its_text() {
    let pool = start_named("quiet", &[]).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    let batch = client
        .batches
        .iter()
        .flat_map(events)
        .filter(|e| e["_embedded"]["messaging"]["state"] == "Connected")
        .last()
        .cloned();
    let messaging = match batch {
        Some(event) => event["_embedded"]["messaging"].clone(),
        None => {
            client.event(&pool, |e| e["_embedded"]["messaging"]["state"] == "Connected").await["_embedded"]["messaging"]
                .clone()
        }
    };
    let url = format!("{}?operationId=op-1", client.link(&messaging, "sendMessage"));
    let ticket = client.tickets[&client.base].clone();
    let post =
        client.http.post(&url).bearer_auth(ticket).header("Content-Type", "text/plain").body("Es wird aufgezeichnet.");
    let reply = post.send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::CREATED);
    let done = client.event(&pool, |e| is(e, "message", "completed")).await;
    let message = &done["_embedded"]["message"];
    assert_eq!(
        (&message["direction"], &message["operationId"], &done["status"]),
        (&json!("Outgoing"), &json!("op-1"), &json!("Success"))
    );
    assert!(message["_links"]["plainMessage"].is_null() && message["_links"]["participant"].is_null());
    let ledger = pool.ledger();
    let said = ledger.entries.iter().find(|e| e.happened == Happened::RecorderSaid).unwrap();
    assert_eq!(said.text.as_deref(), Some("Es wird aufgezeichnet."));
    let stop = client.link(&messaging, "stopMessaging");
    assert_eq!(client.request(&pool, Method::POST, &stop, None).await.status(), StatusCode::NO_CONTENT);
    let conversation = client.link(&messaging, "conversation");
    assert_eq!(client.request(&pool, Method::DELETE, &conversation, None).await.status(), StatusCode::NO_CONTENT);
    client.event(&pool, |e| is(e, "conversation", "deleted")).await;
    let gone = client.request(&pool, Method::GET, &conversation, None).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bursts_and_crowds_arrive_whole_and_in_order() {
    let pool = start_named("burst", &[("messages", 600)]).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    let ledger = pool.ledger();
    assert_eq!(ledger.acknowledged().count(), 600);
    let hrefs: Vec<&str> = client
        .batches
        .iter()
        .flat_map(events)
        .filter(|e| is(e, "message", "completed"))
        .map(|e| e["link"]["href"].as_str().unwrap())
        .collect();
    let told: Vec<&str> = ledger.said().map(|e| e.href.as_str()).collect();
    assert_eq!(hrefs, told);

    let pool = start_named("many", &[("conversations", 40)]).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    assert_eq!(pool.ledger().acknowledged().count(), 80);
    assert_eq!(pool.ledger().count(Happened::MessagingConnected), 40);
}

#[tokio::test]
async fn the_demo_plays_to_its_end_and_only_the_outage_is_lost() {
    let mut scenario = Scenario::embedded("demo", &Parameters::new()).unwrap().unwrap();
    scenario.hurry(10);
    let pool = start(scenario).await;
    let mut client = Client::available(&pool).await;
    client.survive(&pool).await;
    let ledger = pool.ledger();
    let lost: Vec<&str> = ledger.said().filter(|e| !e.acknowledged()).map(|e| e.text.as_deref().unwrap()).collect();
    assert_eq!(lost, ["Diesen Satz kann der Recorder nicht hören."]);
    assert!(ledger.acknowledged().count() > 15);
    assert_eq!((ledger.applications, ledger.conflicts), (2, 2));
    let mut narration = pool.events();
    let mut lines = Vec::new();
    while let Some(line) = narration.next().await {
        let last = line == "The scenario is over";
        lines.push(line);
        if last {
            break;
        }
    }
    assert!(lines.iter().any(|l| l == "李娜 in \"Weekly agenda\": 再见！"), "{lines:#?}");
    assert_eq!(ledger.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn the_snippet_is_a_connector_table_for_this_pool() {
    let pool = start_named("quiet", &[]).await;
    let table: toml::Table = pool.config_snippet().parse().unwrap();
    let connector = &table["connector"][0];
    assert_eq!(connector["autodiscover"].as_str(), Some(pool.autodiscover_url()));
    assert_eq!(connector["username"].as_str(), Some(pool.username().as_str()));
    assert_eq!(connector["sign_in"].as_str(), Some(pool.sign_in().as_str()));
}

/// Not part of the ordinary run: prints how fast the pool is with a client that parses everything.
#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_the_pool() {
    for (name, key, n) in [("burst", "messages", 5000), ("many", "conversations", 1000)] {
        let pool = start_named(name, &[(key, n)]).await;
        let mut client = Client::available(&pool).await;
        let start = std::time::Instant::now();
        client.record(&pool).await;
        println!("{name} {n}: {} ms, {} batches", start.elapsed().as_millis(), client.batches.len());
    }
}

#[tokio::test]
async fn resources_of_a_later_revision_are_refused_when_demanded() {
    let pool = start_text(CAST).await;
    let client = Client::sign_in(&pool).await;
    let own = client.link(&client.application, "self");
    for (version, status) in [("2", StatusCode::OK), ("2.0", StatusCode::OK), ("9", StatusCode::NOT_FOUND)] {
        let ticket = client.tickets[&client.base].clone();
        let get = client.http.get(&own).bearer_auth(ticket).header("X-MS-RequiresMinResourceVersion", version);
        assert_eq!(get.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_batch_request_answers_each_part() {
    let pool = start_text(CAST).await;
    let client = Client::sign_in(&pool).await;
    let own = client.link(&client.application, "self");
    let path = own.strip_prefix(&client.base).unwrap();
    let part = |target: &str| {
        format!(
            "--b1\r\nContent-Type: application/http; msgtype=request\r\n\r\nGET {target} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n"
        )
    };
    let body = part(&format!("{path}/me")) + &part(&format!("{path}/events?ack=1")) + "--b1--\r\n";
    let ticket = client.tickets[&client.base].clone();
    let post = client
        .http
        .post(format!("{own}/batch"))
        .bearer_auth(ticket)
        .header("Content-Type", "multipart/batching;boundary=b1");
    let text = post.body(body).send().await.unwrap().text().await.unwrap();
    let statuses: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("HTTP/1.1 ")).collect();
    assert_eq!(statuses, ["200 Status", "403 Status"], "{text}");
    assert!(text.contains("\u{feff}{") && text.trim_end().ends_with("--b1--"));
}
