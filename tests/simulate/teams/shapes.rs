//! Everything the tenant sends and answers against the metadata of Graph (`types.json`) and samples from the documents.

use std::collections::BTreeSet;

use greffier::simulate::teams::{Act, CallKind, ChatKind, Invite, SimulatedTenant, Words};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{LONG, quiet, start};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/graph/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the wire of the samples has beyond the metadata (`wireDeviations` there), with what this tenant uses of it.
const DEVIATIONS: &[(&str, &[&str])] = &[
    ("call", &["applicationMetadata"]),
    ("commsNotification", &["resourceData", "resource"]),
    ("identity", &["tenantId", "identityProvider"]),
    ("identitySet", &["phone", "applicationInstance", "encrypted", "guest"]),
    ("invitationParticipantInfo", &["id", "endpointType", "languageId", "region"]),
];

struct Metadata(Value);

impl Metadata {
    /// A property of a type or of what it is based on.
    fn property(&self, kind: &str, name: &str) -> Option<&Value> {
        let declared = &self.0["types"][kind];
        let found = &declared["properties"][name];
        match (found.is_object(), declared["base"].as_str()) {
            (true, _) => Some(found),
            (false, Some(base)) => self.property(base, name),
            (false, None) => None,
        }
    }

    fn is_a(&self, kind: &str, wanted: &str) -> bool {
        kind == wanted || self.0["types"][kind]["base"].as_str().is_some_and(|base| self.is_a(base, wanted))
    }

    fn deviates(&self, kind: &str, name: &str) -> bool {
        DEVIATIONS.iter().any(|(of, names)| self.is_a(kind, of) && names.contains(&name))
    }

    fn check(&self, value: &Value, kind: &str, place: &str, findings: &mut BTreeSet<String>) {
        match value {
            Value::Null => {}
            Value::Array(list) => list.iter().for_each(|v| self.check(v, kind, place, findings)),
            Value::Object(all) if kind != "Json" => {
                let told = all.get("@odata.type").and_then(Value::as_str).map(|t| t.trim_start_matches('#'));
                let told = told.and_then(|t| t.get("microsoft.graph.".len()..));
                let kind = told.unwrap_or(kind);
                if !self.0["types"][kind].is_object() {
                    findings.insert(format!("{place}: no type {kind}"));
                    return;
                }
                for (name, value) in all.iter().filter(|(n, _)| !n.contains('@')) {
                    match self.property(kind, name) {
                        Some(p) => {
                            let inner = p["type"].as_str().unwrap_or_default();
                            if !value.is_null() && value.is_array() != (p["collection"] == true) {
                                findings.insert(format!("{place}/{name}: list or not"));
                            }
                            self.check(value, inner, &format!("{place}/{name}"), findings);
                        }
                        None if self.deviates(kind, name) => self.deviation(value, name, place, findings),
                        None => _ = findings.insert(format!("{place}: {kind} has no {name}")),
                    }
                }
            }
            Value::Object(_) => {}
            plain => self.check_plain(plain, kind, place, findings),
        }
    }

    /// Undeclared members whose content is declared all the same.
    fn deviation(&self, value: &Value, name: &str, place: &str, findings: &mut BTreeSet<String>) {
        let kind = match name {
            "phone" | "applicationInstance" | "encrypted" | "guest" => "identity",
            "resourceData" => "call",
            _ => return,
        };
        self.check(value, kind, &format!("{place}/{name}"), findings);
    }

    fn check_plain(&self, value: &Value, kind: &str, place: &str, findings: &mut BTreeSet<String>) {
        let good = match kind {
            "Edm.Boolean" => value.is_boolean(),
            "Edm.Int32" | "Edm.Int64" => value.is_i64(),
            "Edm.DateTimeOffset" => {
                value.as_str().is_some_and(|t| greffier::model::Timestamp::parse_rfc3339(t).is_some())
            }
            "Edm.String" | "Edm.Guid" | "Edm.Duration" | "Edm.Binary" => value.is_string(),
            other => {
                let members = self.0["enums"][other]["members"].as_array();
                let named = |text: &str| {
                    members.is_some_and(|all| {
                        all.iter().any(|m| m["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(text.trim())))
                    })
                };
                value.as_str().is_some_and(|text| text.split(',').all(named))
            }
        };
        if !good {
            findings.insert(format!("{place}: {value} is no {kind}"));
        }
    }

    fn collection(&self, body: &Value, kind: &str, place: &str, findings: &mut BTreeSet<String>) {
        let known = ["value"];
        for name in body.as_object().unwrap().keys().filter(|n| !n.contains('@')) {
            if !known.contains(&name.as_str()) {
                findings.insert(format!("{place}: a collection has no {name}"));
            }
        }
        assert!(!body["value"].as_array().unwrap().is_empty(), "nothing to look at in {place}");
        self.check(&body["value"], kind, place, findings);
    }
}

/// A tenant in which everything has happened once, and a recorder that got it.
async fn lived() -> (Recorder, SimulatedTenant, String) {
    let mut recorder = Recorder::listen().await;
    recorder.decide(json!({ "@odata.type": "#microsoft.graph.acceptJoinResponse" }));
    let tenant = start(quiet("throttle = false\nrecording = \"running\""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    recorder.subscribe("/chats/getAllMessages?model=A").await;
    let policy = vec!["alice".to_owned()];
    let people = vec!["bob".to_owned(), "phone".to_owned(), "eve".to_owned()];
    let subject = "Budget".to_owned();
    let call = Invite { policy, people, subject, ..Invite::new("m", "alice", CallKind::Meeting) };
    let id = tenant.invite_call(call).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    recorder.answer(&id, 5, false).await;
    recorder.wait_state("established").await;
    let status = json!({ "clientContext": "c", "status": "recording" });
    recorder.ask("POST", &format!("/communications/calls/{id}/updateRecordingStatus"), Some(status)).await;
    let m = || "m".to_owned();
    let act = |act: Act| tenant.act(&act).unwrap();
    act(Act::Install { chat: m(), by: "alice".to_owned(), on: true });
    act(Act::Join { call: m(), who: "guest".to_owned(), lobby: true, metadata: Some("{\"x\":1}".to_owned()) });
    act(Act::Admit { call: m(), who: "guest".to_owned() });
    act(Act::PolicyJoin { call: m(), who: "carol".to_owned() });
    act(Act::Share { call: m(), who: "bob".to_owned(), on: true });
    act(Act::Tone { call: m(), tone: "tone1".to_owned() });
    act(Act::State { call: m(), state: "hold".to_owned() });
    let image = Some(("image/png".to_owned(), b"png".to_vec()));
    let file = Some(("Budget.xlsx".to_owned(), "https://contoso.example/Budget.xlsx".to_owned()));
    let card = Some("{\"type\":\"AdaptiveCard\"}".to_owned());
    let mentions = vec!["bob".to_owned()];
    let first = tenant.say("m", "alice", Words { image, file, card, mentions, ..Words::plain("all") }).unwrap();
    tenant.say("m", "guest", Words { quote: Some(first.clone()), ..Words::plain("quoted") }).unwrap();
    tenant.say("m", "eve", Words::html("<p>html</p>")).unwrap();
    let react = |on| {
        let (by, reaction, label) = ("bob".to_owned(), "like".to_owned(), Some(first.clone()));
        Act::React { chat: m(), label, by, reaction, on }
    };
    act(react(true));
    act(react(false));
    act(react(true));
    act(Act::Block { chat: m(), label: Some(first.clone()) });
    act(Act::Edit { chat: m(), label: None, text: "edited".to_owned() });
    act(Act::Delete { chat: m(), label: None });
    act(Act::Undelete { chat: m(), label: None });
    act(Act::Rename { chat: m(), by: "alice".to_owned(), topic: "New".to_owned() });
    act(Act::AddMembers { chat: m(), by: "alice".to_owned(), people: vec!["carol".to_owned()] });
    act(Act::RemoveMembers { chat: m(), by: "eve".to_owned(), people: vec!["eve".to_owned()] });
    assert!(tenant.wait_delivered(LONG).await);
    (recorder, tenant, id)
}

#[tokio::test]
async fn notifications_have_only_what_the_metadata_and_the_samples_have() {
    let (recorder, tenant, _) = lived().await;
    tenant.act(&Act::PolicyLeave { call: "m".to_owned(), who: "carol".to_owned() }).unwrap();
    tenant.act(&Act::End { call: "m".to_owned() }).unwrap();
    tenant.fail(greffier::simulate::teams::Fault::RemoveSubscription(String::new(), true));
    assert!(tenant.wait_delivered(LONG).await);
    let metadata = Metadata(fixture("types"));
    let mut findings = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for got in recorder.got() {
        let place = got.path.as_str();
        if place.starts_with("/api/calls") {
            metadata.check(&got.body, "commsNotifications", place, &mut findings);
            kinds.insert(got.body["value"][0]["resourceData"]["@odata.type"].to_string());
            assert!(got.headers.iter().any(|(n, _)| n == "x-microsoft-skype-message-id"));
        } else if place != "/api/messages" {
            let extra: Vec<&String> = got.body.as_object().unwrap().keys().collect();
            assert!(extra.iter().all(|k| *k == "value" || *k == "validationTokens"), "{extra:?}");
            for item in got.body["value"].as_array().unwrap() {
                metadata.check(item, "changeNotification", place, &mut findings);
                if item["encryptedContent"].is_object() {
                    let plain = recorder.decrypt(item);
                    metadata.check(&plain, "chatMessage", "decrypted", &mut findings);
                }
            }
        }
    }
    let findings: Vec<String> = findings
        .into_iter()
        // The sharing of `resourceData` between kinds makes no finding: it names its own type; ids of changed resources are open.
        .filter(|f| !f.contains("resourceData has no"))
        .collect();
    assert_eq!(findings, Vec::<String>::new());
    assert!(kinds.len() >= 4, "{kinds:?}");
}

#[tokio::test]
async fn answers_have_only_what_the_metadata_has() {
    let (recorder, tenant, id) = lived().await;
    let metadata = Metadata(fixture("types"));
    let mut findings = BTreeSet::new();
    let thread = tenant.thread("m").unwrap().replace(':', "%3A").replace('@', "%40");
    let alice = tenant.oid("alice").unwrap();
    let call = format!("/communications/calls/{id}");
    let channel = ChatKind::Channel { team: "f0000000-0000-4000-8000-000000000001".to_owned() };
    let channel = tenant.create_chat("general", channel, &["alice"]).unwrap().replace(':', "%3A");
    let root = tenant.say("general", "alice", Words::plain("root")).unwrap();
    tenant.say("general", "bob", Words { reply_to: Some(root), ..Words::plain("reply") }).unwrap();
    let team = "/teams/f0000000-0000-4000-8000-000000000001/channels";
    let url: String = url::form_urlencoded::byte_serialize(tenant.join_url("m").unwrap().as_bytes()).collect();
    let single = [(call.clone(), "call"), (format!("/chats/{thread}?$expand=members"), "chat")];
    for (path, kind) in single {
        metadata.check(&recorder.get(&path).await, kind, &path, &mut findings);
    }
    let lists = [
        (format!("{call}/participants"), "participant"),
        (format!("{call}/contentSharingSessions"), "contentSharingSession"),
        ("/subscriptions".to_owned(), "subscription"),
        (format!("/chats/{thread}/messages"), "chatMessage"),
        (format!("/chats/{thread}/members"), "conversationMember"),
        (format!("/users/{alice}/chats"), "chat"),
        (format!("/users/{alice}/chats/getAllMessages"), "chatMessage"),
        (format!("{team}/{channel}/messages"), "chatMessage"),
        (format!("{team}/{channel}/messages/delta"), "chatMessage"),
        (format!("{team}/getAllMessages"), "chatMessage"),
        (format!("/users/{alice}/onlineMeetings?$filter=JoinWebUrl%20eq%20'{url}'"), "onlineMeeting"),
    ];
    for (path, kind) in lists {
        metadata.collection(&recorder.get(&path).await, kind, &path, &mut findings);
    }
    assert_eq!(findings, BTreeSet::new());
}

#[test]
fn the_check_finds_a_planted_member() {
    let metadata = Metadata(fixture("types"));
    let mut findings = BTreeSet::new();
    metadata.check(&json!({ "id": "1", "bogus": 1, "importance": "nomal" }), "chatMessage", "x", &mut findings);
    assert_eq!(findings.len(), 2, "{findings:?}");
}

/// Paths of members with the JSON type of their values; lists count by their first element.
fn outline(value: &Value, place: String, all: &mut BTreeSet<(String, &'static str)>) {
    let kind = match value {
        Value::Null => return,
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    all.insert((place.clone(), kind));
    match value {
        Value::Array(list) => list.iter().take(1).for_each(|v| outline(v, format!("{place}[]"), all)),
        Value::Object(members) => members.iter().for_each(|(n, v)| outline(v, format!("{place}/{n}"), all)),
        _ => {}
    }
}

/// Whatever the sample has, ours has too and of the same JSON type, but for `missing`.
fn assert_covers(ours: &Value, sample: &str, missing: &[&str]) {
    let (mut a, mut b) = (BTreeSet::new(), BTreeSet::new());
    outline(ours, String::new(), &mut a);
    outline(&fixture(sample), String::new(), &mut b);
    let lacking: Vec<_> = b.difference(&a).filter(|(p, _)| !missing.iter().any(|m| p.contains(m))).collect();
    assert!(lacking.is_empty(), "{sample}: {lacking:?} in {ours}");
}

#[tokio::test]
async fn what_is_sent_and_answered_has_what_the_samples_have() {
    let (recorder, tenant, id) = lived().await;
    tenant.act(&Act::PolicyLeave { call: "m".to_owned(), who: "carol".to_owned() }).unwrap();
    tenant.act(&Act::End { call: "m".to_owned() }).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    let _ = id;
    let got = recorder.got();
    let find = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let found = got.iter().filter(|g| g.path.starts_with("/api/calls")).find(|g| holds(&g.body["value"][0]));
        found.unwrap_or_else(|| panic!("no {what}")).body.clone()
    };
    let data = |state: &'static str| move |i: &Value| i["resourceData"]["state"] == state;
    let tail = |tail: &'static str| move |i: &Value| i["resourceUrl"].as_str().is_some_and(|u| u.contains(tail));
    let typed = |kind: &'static str| {
        move |i: &Value| i["resourceData"]["@odata.type"] == format!("#microsoft.graph.{kind}Notification")
    };
    // Samples of the documents where paired recorders and somebody's deputy are at work.
    let policy = ["pairedRecorders", "otherRecorders", "onBehalfOf", "source/id"];
    assert_covers(&find("incoming", &data("incoming")), "incoming-policy-recording", &policy);
    assert_covers(
        &find("establishing", &data("establishing")),
        "establishing-meeting",
        &["callbackUri", "allowConversation"],
    );
    assert_covers(&find("established", &data("established")), "established", &[]);
    let end = find("end", &|i| i["changeType"] == "deleted" && i["resourceData"]["state"] == "terminated");
    assert_covers(&end, "terminated-server-error-qna", &["terminationSender"]);
    assert_covers(&find("roster", &tail("/participants")), "roster-full", &["callbackUri"]);
    assert_covers(&find("sharing", &tail("/contentsharingsessions")), "contentsharing-collection-ended", &[]);
    let operation = find("operation", &tail("/operations/"));
    assert_covers(&operation, "operation-playprompt-completed", &["@odata.id", "@odata.etag"]);
    let grouped = [&policy[..], &["incomingContext/onBehalfOf"]].concat();
    assert_covers(&find("joining", &typed("participantJoining")), "x-participantjoining", &grouped);
    assert_covers(&find("left", &typed("participantLeft")), "x-participantleft", &[]);

    let change = got.iter().find(|g| g.path == "/api/notifications").unwrap();
    assert_covers(&change.body, "changenotification-encrypted-chat", &[]);
    let activity = |kind: &str| got.iter().find(|g| g.body["type"] == kind).unwrap().body.clone();
    let of_channels = ["entities", "settings", "channelData/channel", "channelData/team", "channelData/source"];
    let installed = [&of_channels[..], &["conversation/name"]].concat();
    assert_covers(&activity("installationUpdate"), "bot-installationUpdate-add", &installed);
    assert_covers(&activity("messageUpdate"), "x-bot-messageupdate-edit", &[]);

    let thread = tenant.thread("m").unwrap().replace(':', "%3A").replace('@', "%40");
    let mut page = recorder.get(&format!("/chats/{thread}/messages?$top=12")).await;
    page["value"].as_array_mut().unwrap().retain(|m| m["eventDetail"].is_null() && m["from"]["user"].is_object());
    assert_covers(&page, "chat-messages-page", &["nextLink", "[]/mentions[]", "[]/reactions[]", "attachments[]"]);
    assert_covers(&recorder.get(&format!("/chats/{thread}")).await, "chat-group", &[]);
    assert_covers(&recorder.get(&format!("/chats/{thread}/members")).await, "chat-members", &[]);
    let made = recorder.subscribe("/teams/getAllMessages").await;
    assert_covers(&made, "subscription-created", &["notificationContentType"]);
    let call: Vec<Value> = got.iter().filter_map(|g| g.token.clone()).map(|t| claims(&t)).collect();
    assert_covers(&call[0], "auth-call-webhook-jwt-payload", &[]);
    let token = change.body["validationTokens"][0].as_str().unwrap();
    assert_covers(&claims(token), "validationtoken-jwt-payload", &[]);
    let (status, error) = recorder.ask("GET", "/chats/unknown", None).await;
    assert_eq!(status, 404);
    assert_covers(&error, "error-generic", &["requestId"]);
}

/// The claims of a token, not verified.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
