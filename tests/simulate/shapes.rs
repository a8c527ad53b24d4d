//! Everything the pool emits is held against the documented shapes and the captures in `tests/fixtures/ucwa`.

use std::collections::{BTreeMap, BTreeSet};

use greffier::simulate::{Parameters, Scenario};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::client::{Client, events};
use crate::{start, start_named};

/// What the samples know: keys per rel, and who tells what about what.
#[derive(Default)]
struct Known {
    properties: BTreeMap<String, BTreeSet<String>>,
    links: BTreeMap<String, BTreeSet<String>>,
    embedded: BTreeMap<String, BTreeSet<String>>,
    /// Sender rel, event rel, rel of `in`.
    triples: BTreeSet<(String, String, String)>,
}

/// The cloud sibling's samples prefix rels.
fn plain(rel: &str) -> String {
    rel.trim_start_matches("ms:rtc:saas:").to_owned()
}

fn keys(value: &Value) -> impl Iterator<Item = String> {
    value.as_object().into_iter().flat_map(|o| o.keys()).map(|k| plain(k))
}

impl Known {
    fn from_samples() -> Known {
        let mut known = Known::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ucwa");
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read_to_string(&path).unwrap();
                known.learn(&serde_json::from_str(&text).unwrap(), None);
                files += 1;
            }
        }
        assert!(files > 150, "the samples are not there");
        known
    }

    fn learn(&mut self, value: &Value, sender: Option<&str>) {
        match value {
            Value::Array(list) => list.iter().for_each(|v| self.learn(v, sender)),
            Value::Object(object) => {
                if let Some(rel) = value["rel"].as_str() {
                    if value["events"].is_array() {
                        return self.learn(&value["events"], Some(rel));
                    }
                    if !object.contains_key("href") {
                        self.learn_resource(&plain(rel), value);
                    }
                }
                if let (Some(rel), Some(sender)) = (value["link"]["rel"].as_str(), sender) {
                    let inside = value["in"]["rel"].as_str().unwrap_or_default();
                    self.triples.insert((plain(sender), plain(rel), plain(inside)));
                    // The key inside `_embedded` is the event's rel, whatever the resource calls itself.
                    let body = &value["_embedded"][rel];
                    self.learn_resource(&plain(rel), body);
                }
                object.values().for_each(|v| self.learn(v, sender));
            }
            _ => {}
        }
    }

    fn learn_resource(&mut self, rel: &str, value: &Value) {
        self.properties.entry(rel.to_owned()).or_default().extend(keys(value));
        self.links.entry(rel.to_owned()).or_default().extend(keys(&value["_links"]));
        self.embedded.entry(rel.to_owned()).or_default().extend(keys(&value["_embedded"]));
    }

    fn check(&self, rel: &str, value: &Value, findings: &mut BTreeSet<String>) {
        if UNSAMPLED.contains(&rel) {
            if value["_links"]["self"]["href"].is_null() {
                findings.insert(format!("{rel}: no self"));
            }
            return;
        }
        let (Some(properties), Some(links)) = (self.properties.get(rel), self.links.get(rel)) else {
            findings.insert(format!("{rel}: no sample has this rel"));
            return;
        };
        for (key, v) in value.as_object().unwrap() {
            if !properties.contains(key) && v != "please pass this in a PUT request" {
                findings.insert(format!("{rel}: no sample has the property {key}"));
            }
        }
        for key in keys(&value["_links"]).filter(|k| !links.contains(k)) {
            findings.insert(format!("{rel}: no sample has the link {key}"));
        }
        for key in keys(&value["_embedded"]).filter(|k| !self.embedded[rel].contains(k)) {
            findings.insert(format!("{rel}: no sample embeds {key}"));
        }
        for (needed_rel, needed) in REQUIRED {
            if *needed_rel == rel {
                for key in needed.iter().filter(|k| value.pointer(k).is_none()) {
                    findings.insert(format!("{rel}: {key} is missing"));
                }
            }
        }
        if let Some(embedded) = value["_embedded"].as_object() {
            for (key, inner) in embedded {
                for inner in inner.as_array().map_or_else(|| std::slice::from_ref(inner), Vec::as_slice) {
                    self.check(inner["rel"].as_str().unwrap_or(key), inner, findings);
                }
            }
        }
    }

    fn check_batch(&self, batch: &Value, findings: &mut BTreeSet<String>) {
        let way: Vec<String> = keys(&batch["_links"]).collect();
        if !matches!(
            way.iter().map(String::as_str).collect::<Vec<_>>()[..],
            ["next", "self"] | ["resume", "self"] | ["resync"]
        ) {
            findings.insert(format!("batch: links {way:?}"));
        }
        for sender in batch["sender"].as_array().into_iter().flatten() {
            if keys(sender).collect::<Vec<_>>() != ["events", "href", "rel"] {
                findings.insert("sender: other keys than events, href, rel".to_owned());
            }
            for event in sender["events"].as_array().unwrap() {
                self.check_event(sender["rel"].as_str().unwrap(), event, findings);
            }
        }
    }

    fn check_event(&self, sender: &str, event: &Value, findings: &mut BTreeSet<String>) {
        let rel = event["link"]["rel"].as_str().unwrap();
        let inside = event["in"]["rel"].as_str().unwrap_or_default();
        let triple = (sender.to_owned(), rel.to_owned(), inside.to_owned());
        if !self.triples.contains(&triple) && !UNSAMPLED_EVENTS.contains(&(sender, rel, inside)) {
            findings.insert(format!("event: no sample has {triple:?}"));
        }
        for key in keys(event) {
            if !["link", "in", "type", "status", "reason", "_embedded"].contains(&key.as_str()) {
                findings.insert(format!("event {rel}: unexpected member {key}"));
            }
        }
        let kind = event["type"].as_str().unwrap();
        let operation = rel == "message" || rel.ends_with("Invitation");
        let allowed: &[&str] =
            if operation { &["started", "updated", "completed"] } else { &["added", "updated", "deleted"] };
        if !allowed.contains(&kind) {
            findings.insert(format!("event {rel}: type {kind}"));
        }
        if event["status"].is_string() != (kind == "completed") {
            findings.insert(format!("event {rel} {kind}: status {}", event["status"]));
        }
        if event["status"] == "Failure" && event["reason"]["code"].is_null() {
            findings.insert(format!("event {rel}: failure without reason"));
        }
        if kind == "deleted" && !event["_embedded"].is_null() {
            findings.insert(format!("event {rel}: deleted, yet embedded"));
        }
        if let Some(body) = event["_embedded"].get(rel) {
            self.check(rel, body, findings);
            if body["_links"]["self"]["href"] != event["link"]["href"] {
                findings.insert(format!("event {rel}: self is not the event's link"));
            }
        }
    }
}

/// Resources that the samples name but never show.
const UNSAMPLED: &[&str] = &[
    "onlineMeeting",
    "participants",
    "typingParticipants",
    "contactPresence",
    "audioVideo",
    "phoneAudio",
    "applicationSharing",
    "dataCollaboration",
    "location",
    "phoneAudioInvitation",
];

/// Events that follow from the reference's tables but stand in no sample.
const UNSAMPLED_EVENTS: &[(&str, &str, &str)] = &[
    // The recorder itself in the views of a meeting: the reference lists localParticipant in lobby and attendees.
    ("conversation", "localParticipant", "lobby"),
    ("conversation", "localParticipant", "attendees"),
    // The samples show the recorder's own audio; the reference has the same for every participant.
    ("conversation", "participantAudio", "participant"),
];

/// What may not be missing, as JSON pointers.
const REQUIRED: &[(&str, &[&str])] = &[
    (
        "application",
        &[
            "/_links/self",
            "/_links/events",
            "/_links/policies",
            "/_links/batch",
            "/_embedded/me",
            "/_embedded/people",
            "/_embedded/communication",
        ],
    ),
    ("me", &["/_links/self", "/name", "/uri"]),
    (
        "communication",
        &[
            "/supportedModalities",
            "/supportedMessageFormats",
            "/_links/conversations",
            "/_links/startMessaging",
            "/_links/joinOnlineMeeting",
        ],
    ),
    (
        "conversation",
        &[
            "/state",
            "/threadId",
            "/subject",
            "/activeModalities",
            "/importance",
            "/recording",
            "/_links/self",
            "/_links/messaging",
        ],
    ),
    ("messaging", &["/state", "/_links/self", "/_links/conversation"]),
    ("message", &["/direction", "/timeStamp", "/_links/self", "/_links/messaging"]),
    ("participant", &["/name", "/uri", "/sourceNetwork", "/anonymous", "/_links/self", "/_links/conversation"]),
    ("localParticipant", &["/name", "/uri", "/_links/self", "/_links/conversation", "/_links/me"]),
    (
        "messagingInvitation",
        &[
            "/direction",
            "/importance",
            "/threadId",
            "/state",
            "/subject",
            "/_links/self",
            "/_links/conversation",
            "/_links/messaging",
        ],
    ),
    (
        "onlineMeetingInvitation",
        &[
            "/direction",
            "/importance",
            "/threadId",
            "/state",
            "/onlineMeetingUri",
            "/_links/self",
            "/_links/conversation",
        ],
    ),
];

fn everything() -> Scenario {
    Scenario::parse(include_str!("../fixtures/scenarios/everything.toml"), &Parameters::new())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn assert_none(findings: BTreeSet<String>) {
    assert!(findings.is_empty(), "{}", findings.into_iter().collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn everything_emitted_has_a_documented_shape() {
    let known = Known::from_samples();
    let mut findings = BTreeSet::new();
    let pool = start(everything()).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    let h = client.link(&client.application, "self");
    let conversation = client.get(&pool, &format!("{h}/communication/conversations")).await;
    let conversation = conversation["_links"]["conversation"][0]["href"].as_str().unwrap().to_owned();
    let conversation = client.absolute(&conversation);
    for path in [
        "",
        "/messaging",
        "/messaging/messages",
        "/participants",
        "/participants?filter=leaders",
        "/participants?filter=attendees",
        "/participants?filter=lobby",
        "/participants/alice@contoso.example",
        "/participants/recorder@contoso.example",
        "/participants/alice@contoso.example/messaging",
        "/onlineMeeting",
        "/audioVideo",
    ] {
        client.get(&pool, &format!("{conversation}{path}")).await;
    }
    for path in [
        "",
        "/me",
        "/me/presence",
        "/me/note",
        "/policies",
        "/communication",
        "/communication/missedItems",
        "/people/bob@contoso.example",
    ] {
        client.get(&pool, &format!("{h}{path}")).await;
    }
    for batch in &client.batches {
        known.check_batch(batch, &mut findings);
    }
    for (_, body) in &client.resources {
        if let Some(rel) = body["rel"].as_str() {
            known.check(rel, body, &mut findings);
        }
    }
    assert_none(findings);
    let seen: BTreeSet<&str> =
        client.batches.iter().flat_map(events).map(|e| e["link"]["rel"].as_str().unwrap()).collect();
    for rel in [
        "messagingInvitation",
        "onlineMeetingInvitation",
        "phoneAudioInvitation",
        "conversation",
        "messaging",
        "message",
        "participant",
        "localParticipant",
        "participantMessaging",
        "participantAudio",
        "applicationSharer",
        "onlineMeeting",
        "missedItems",
        "communication",
        "me",
        "presence",
    ] {
        assert!(seen.contains(rel), "no {rel} event came: {seen:?}");
    }
}

#[tokio::test]
async fn link_only_and_absolute_and_stranger_variants_play_as_well() {
    let mut scenario = everything();
    scenario.pool.link_only = [
        "message",
        "conversation",
        "messaging",
        "messagingInvitation",
        "onlineMeetingInvitation",
        "localParticipant",
        "participantMessaging",
    ]
    .map(str::to_owned)
    .to_vec();
    scenario.pool.absolute_hrefs = true;
    let pool = start(scenario).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    assert!(client.batches.iter().flat_map(events).all(|e| e["_embedded"].is_null() || e["link"]["rel"] != "message"));
    assert!(client.next.starts_with(&pool.pool_url()));
    let mut scenario = everything();
    scenario.pool.strangers = true;
    let pool = start(scenario).await;
    let mut client = Client::available(&pool).await;
    client.record(&pool).await;
    assert!(
        client
            .batches
            .iter()
            .flat_map(events)
            .any(|e| e["_embedded"]["messaging"]["_links"]["linkOfALaterRevision"].is_object())
    );
}

#[tokio::test]
async fn dates_have_escaped_slashes_on_the_wire() {
    let pool = start_named("burst", &[("messages", 1)]).await;
    let mut client = Client::available(&pool).await;
    let raw = loop {
        let reply = client.request(&pool, Method::GET, &client.next.clone(), None).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let text = reply.text().await.unwrap();
        if text.contains("timeStamp") {
            break text;
        }
        let batch: Value = serde_json::from_str(&text).unwrap();
        client.next = client.link(&batch, "next");
        for event in events(&batch) {
            for (rel, link) in [("onlineMeetingInvitation", "accept"), ("messaging", "addMessaging")] {
                if let Some(href) = event["_embedded"][rel]["_links"][link]["href"].as_str() {
                    let href = client.absolute(href);
                    client.request(&pool, Method::POST, &href, Some(serde_json::json!({ "operationId": "x" }))).await;
                }
            }
        }
    };
    assert!(raw.contains(r#""timeStamp":"\/Date("#) && raw.contains(r#")\/""#), "{raw}");
}
