//! Chats: subscriptions with their handshakes, encrypted notifications, lists with the rules of the service.

use greffier::simulate::teams::{Act, CallKind, Change, ChatKind, Invite, Path, Words};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{LONG, quiet, start};

async fn ready(options: &str) -> (Recorder, greffier::simulate::teams::SimulatedTenant) {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(options), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    tenant.create_chat("c", ChatKind::Group, &["alice", "bob"]).unwrap();
    (recorder, tenant)
}

fn messages(tenant: &greffier::simulate::teams::SimulatedTenant, query: &str) -> String {
    let id = tenant.thread("c").unwrap().replace(':', "%3A").replace('@', "%40");
    format!("/chats/{id}/messages{query}")
}

#[tokio::test]
async fn every_version_of_a_message_is_notified_encrypted_with_its_own_key() {
    let (recorder, tenant) = ready("").await;
    let thread = tenant.thread("c").unwrap();
    recorder.subscribe(&format!("/chats/{thread}/messages")).await;
    let id = tenant.say("c", "alice", Words::plain("Hello <b>")).unwrap();
    tenant.edit("c", &id, "Hello again").unwrap();
    let react = |on| Act::React {
        chat: "c".to_owned(),
        label: Some(id.clone()),
        by: "bob".to_owned(),
        reaction: "heart".to_owned(),
        on,
    };
    tenant.act(&react(true)).unwrap();
    tenant.act(&react(false)).unwrap();
    tenant.delete("c", &id).unwrap();
    tenant.act(&Act::Undelete { chat: "c".to_owned(), label: None }).unwrap();
    assert!(tenant.wait_ledger(LONG, |l| l.versions().count() == 6 && l.all_taken()).await);

    let items = recorder.items("/api/notifications");
    let kinds: Vec<&str> = items.iter().map(|i| i["changeType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "updated", "updated", "updated", "deleted", "updated"]);
    let keys: std::collections::BTreeSet<&str> =
        items.iter().map(|i| i["encryptedContent"]["dataKey"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 6);
    let versions: Vec<Value> = items.iter().map(|i| recorder.decrypt(i)).collect();
    let bodies: Vec<&str> = versions.iter().map(|v| v["body"]["content"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["Hello <b>", "Hello again", "Hello again", "Hello again", "", "Hello again"]);
    assert!(versions[2]["reactions"][0]["reactionType"] == "heart" && versions[2]["lastEditedDateTime"].is_string());
    assert!(versions[4]["deletedDateTime"].is_string() && versions[5]["deletedDateTime"].is_null());
    assert!(items.iter().all(|i| i["clientState"] == "secret-state"));
    let ledger = tenant.ledger();
    let said = &ledger.chat("c").unwrap().messages[0];
    let changes: Vec<Change> = said.versions.iter().map(|v| v.change).collect();
    use Change::{Deleted, Edited, Reacted, Sent, Undeleted, Unreacted};
    assert_eq!(changes, [Sent, Edited, Reacted, Unreacted, Deleted, Undeleted]);
    let etags: Vec<&str> = said.versions.iter().map(|v| v.etag.as_str()).collect();
    assert!(etags.is_sorted() && versions.iter().zip(&etags).all(|(v, e)| v["etag"] == **e));
}

#[tokio::test]
async fn a_subscription_needs_what_the_documents_demand() {
    let (recorder, tenant) = ready("").await;
    let post = async |body: Value| recorder.ask("POST", "/subscriptions", Some(body)).await;
    let good = recorder.subscription("/chats/getAllMessages?model=A", 4000);
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    assert_eq!(post(without("lifecycleNotificationUrl")).await.0, 400, "needed above an hour");
    assert_eq!(post(recorder.subscription("/chats/getAllMessages", 5000)).await.0, 400, "longer than three days");
    assert_eq!(post(recorder.subscription("/chats/getAllMessages", -5)).await.0, 400, "over already");
    assert_eq!(post(with("changeType", json!("created,deletedd"))).await.0, 400);
    assert_eq!(post(with("notificationUrl", json!("http://recorder.example/"))).await.0, 400, "not https");
    assert_eq!(post(without("encryptionCertificate")).await.0, 400);
    assert_eq!(post(with("encryptionCertificate", json!("bm90IGEgY2VydA=="))).await.0, 400);
    assert_eq!(post(with("bogus", json!(1))).await.0, 400);
    assert_eq!(post(with("resource", json!("/me/messages"))).await.0, 400);
    assert_eq!(post(good.clone()).await.0, 201);
    assert_eq!(post(good.clone()).await.0, 409, "one for each resource");
    let shown = recorder.get("/subscriptions").await;
    assert_eq!(shown["value"].as_array().unwrap().len(), 1);
    assert!(shown["value"][0]["encryptionCertificate"].is_null());
    let id = shown["value"][0]["id"].as_str().unwrap();
    let until = recorder.subscription("x", 4100)["expirationDateTime"].clone();
    let renewed =
        recorder.ask("PATCH", &format!("/subscriptions/{id}"), Some(json!({ "expirationDateTime": until }))).await;
    assert_eq!((renewed.0, &renewed.1["expirationDateTime"]), (200, &until));
    let lifecycle = json!({ "lifecycleNotificationUrl": "https://x.example/" });
    assert_eq!(recorder.ask("PATCH", &format!("/subscriptions/{id}"), Some(lifecycle)).await.0, 400);
    assert_eq!(recorder.ask("POST", &format!("/subscriptions/{id}/reauthorize"), None).await.0, 204);
    assert_eq!(recorder.ask("DELETE", &format!("/subscriptions/{id}"), None).await.0, 204);
    assert_eq!(recorder.ask("GET", &format!("/subscriptions/{id}"), None).await.0, 404);
    recorder.go_deaf();
    assert_eq!(post(good.clone()).await.0, 400, "the handshake fails");
    assert!(tenant.subscriptions().is_empty());
    let handshakes = tenant.ledger().deliveries.iter().filter(|d| d.path == Path::Validation).count();
    assert_eq!(handshakes, 3, "both addresses, then one that fails");
}

#[tokio::test]
async fn a_subscription_without_a_permission_is_refused() {
    let (recorder, _tenant) = ready("roles = [\"Calls.JoinGroupCall.All\"]").await;
    let (status, body) =
        recorder.ask("POST", "/subscriptions", Some(recorder.subscription("/chats/getAllMessages", 60))).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("Forbidden")));
}

#[tokio::test]
async fn lists_keep_the_rules_of_top_order_and_filter() {
    let (recorder, tenant) = ready("throttle = false").await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(tenant.say("c", "alice", Words::plain(format!("m{n}"))).unwrap());
    }
    let status = async |query: &str| recorder.ask("GET", &messages(&tenant, query), None).await.0;
    assert_eq!(status("?$top=51").await, 400);
    assert_eq!(status("?$orderby=lastModifiedDateTime%20asc").await, 400);
    assert_eq!(status("?$filter=createdDateTime%20gt%202026-01-01T00:00:00Z").await, 400);
    assert_eq!(status("/delta").await, 400, "no delta for chats");
    let page = recorder.get(&messages(&tenant, "?$top=3")).await;
    let shown: Vec<&str> = page["value"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(shown, [&ids[6], &ids[5], &ids[4]], "newest first");
    let all = recorder.pages(&messages(&tenant, "?$top=3")).await;
    assert_eq!(all.len(), 7);
    let cut = recorder.get(&messages(&tenant, &format!("/{}", ids[3]))).await["lastModifiedDateTime"].clone();
    let filter = format!("$filter=lastModifiedDateTime%20gt%20{}", cut.as_str().unwrap());
    let ignored = recorder.pages(&messages(&tenant, &format!("?{filter}"))).await;
    assert_eq!(ignored.len(), 7, "without the same order the filter is ignored");
    let obeyed = recorder.pages(&messages(&tenant, &format!("?$orderby=lastModifiedDateTime%20desc&{filter}"))).await;
    assert_eq!(obeyed.len(), 3);
    assert!(tenant.ledger().all_taken());
}

#[tokio::test]
async fn items_shift_while_pages_are_read() {
    let (recorder, tenant) = ready("").await;
    for n in 0..4 {
        tenant.say("c", "alice", Words::plain(format!("m{n}"))).unwrap();
    }
    let first = recorder.get(&messages(&tenant, "?$top=2")).await;
    tenant.say("c", "alice", Words::plain("new")).unwrap();
    let second = recorder.get(first["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(first["value"][1]["id"], second["value"][0]["id"], "a new item pushes one into the next page");
}

#[tokio::test]
async fn system_messages_have_an_unknown_type_unless_asked_for() {
    let (recorder, tenant) = ready("").await;
    tenant.act(&Act::Rename { chat: "c".to_owned(), by: "bob".to_owned(), topic: "New".to_owned() }).unwrap();
    let known = recorder.get(&messages(&tenant, "")).await;
    assert_eq!(known["value"][0]["messageType"], "systemEventMessage");
    assert_eq!(known["value"][0]["eventDetail"]["@odata.type"], "#microsoft.graph.chatRenamedEventMessageDetail");
    let bare = recorder
        .http
        .get(format!("{}/v1.0{}", recorder.base, messages(&tenant, "")))
        .bearer_auth(&recorder.token)
        .send()
        .await
        .unwrap();
    let bare: Value = serde_json::from_slice(&bare.bytes().await.unwrap()).unwrap();
    assert_eq!(bare["value"][0]["messageType"], "unknownFutureValue");
}

#[tokio::test]
async fn an_image_is_read_by_its_hosted_content() {
    let (recorder, tenant) = ready("").await;
    let image = Some(("image/png".to_owned(), b"png bytes".to_vec()));
    tenant.say("c", "alice", Words { image, ..Words::plain("look") }).unwrap();
    let page = recorder.get(&messages(&tenant, "")).await;
    let body = page["value"][0]["body"]["content"].as_str().unwrap().to_owned();
    let src = body.split("src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let answer = recorder.http.get(&src).bearer_auth(&recorder.token).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert_eq!(&answer.bytes().await.unwrap()[..], b"png bytes");
}

#[tokio::test]
async fn channels_have_delta_without_replies_and_export_with_them() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let team = "f0000000-0000-4000-8000-000000000001";
    let kind = ChatKind::Channel { team: team.to_owned() };
    let id = tenant.create_chat("general", kind, &["alice", "bob"]).unwrap();
    let root = tenant.say("general", "alice", Words::plain("root")).unwrap();
    let reply_to = Some(root.clone());
    tenant.say("general", "bob", Words { reply_to, ..Words::plain("reply") }).unwrap();
    let place = format!("/teams/{team}/channels/{}/messages", id.replace(':', "%3A").replace('@', "%40"));
    let delta = recorder.get(&format!("{place}/delta")).await;
    assert_eq!(delta["value"].as_array().unwrap().len(), 1);
    let link = delta["@odata.deltaLink"].as_str().unwrap().to_owned();
    assert_eq!(recorder.get(&link).await["value"], json!([]));
    tenant.edit("general", &root, "root, better").unwrap();
    assert_eq!(recorder.get(&link).await["value"][0]["body"]["content"], "root, better");
    assert_eq!(recorder.pages(&format!("{place}/{root}/replies")).await.len(), 1);
    let export = recorder.pages(&format!("/teams/{team}/channels/getAllMessages?$top=500")).await;
    assert_eq!(export.len(), 2);
    assert_eq!(export[0]["channelIdentity"]["channelId"], id.as_str());
}

#[tokio::test]
async fn users_chats_and_meetings_are_found() {
    let (recorder, tenant) = ready("").await;
    tenant.invite_call(Invite::new("m", "alice", CallKind::Meeting)).unwrap();
    let alice = tenant.oid("alice").unwrap();
    tenant.say("c", "alice", Words::plain("x")).unwrap();
    let chats = recorder.get(&format!("/users/{alice}/chats?$expand=members")).await;
    assert_eq!(chats["value"].as_array().unwrap().len(), 2);
    assert_eq!(chats["value"][0]["members"][0]["userId"], alice.as_str());
    let export = recorder.pages(&format!("/users/{alice}/chats/getAllMessages?$top=500&model=A")).await;
    assert_eq!(export.len(), 2, "a message and callStarted");
    let url: String = url::form_urlencoded::byte_serialize(tenant.join_url("m").unwrap().as_bytes()).collect();
    let found = recorder.get(&format!("/users/{alice}/onlineMeetings?$filter=JoinWebUrl%20eq%20'{url}'")).await;
    assert_eq!(found["value"][0]["chatInfo"]["threadId"], tenant.thread("m").unwrap());
}

#[tokio::test]
async fn the_notice_is_taken_where_the_app_is_installed_and_appears_as_a_message() {
    let (recorder, tenant) = ready("").await;
    let connector = recorder.fetch_token("https://api.botframework.com/.default").await.unwrap();
    let post = async |token: &str| {
        let thread = tenant.thread("c").unwrap();
        let url = format!("{}/smba/emea/v3/conversations/{}/activities", recorder.base, thread.replace(':', "%3A"));
        let body = json!({ "type": "message", "text": "This conversation is being recorded." });
        let request = recorder.http.post(url).bearer_auth(token).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(&connector).await, 403, "not installed");
    tenant.act(&Act::Install { chat: "c".to_owned(), by: "alice".to_owned(), on: true }).unwrap();
    recorder.wait("activities", |r| r.got().iter().filter(|g| g.path == "/api/messages").count() == 2).await;
    let update = recorder.got().into_iter().find(|g| g.body["type"] == "conversationUpdate").unwrap();
    assert_eq!(update.body["membersAdded"][0]["id"], update.body["recipient"]["id"]);
    assert_eq!(post(&connector).await, 201);
    let page = recorder.get(&messages(&tenant, "")).await;
    assert_eq!(page["value"][0]["from"]["application"]["id"], tenant.client_id().as_str());
    assert!(tenant.ledger().chat("c").unwrap().messages[0].ours);
    assert_eq!(post(&recorder.token).await, 401);
    assert_eq!(tenant.ledger().violations.len(), 1, "a Graph token does not belong there");
}

#[tokio::test]
async fn without_a_certificate_notifications_hold_ids_only() {
    let (recorder, tenant) = ready("").await;
    let mut body = recorder.subscription("/chats/getAllMessages?model=B", 50);
    for name in ["encryptionCertificate", "encryptionCertificateId", "includeResourceData", "lifecycleNotificationUrl"]
    {
        body.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(recorder.ask("POST", "/subscriptions", Some(body)).await.0, 201);
    tenant.say("c", "alice", Words::plain("x")).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    let got = recorder.got().pop().unwrap();
    assert!(got.body["validationTokens"].is_null() && got.body["value"][0]["encryptedContent"].is_null());
    let place = got.body["value"][0]["resourceData"]["@odata.id"].as_str().unwrap().to_owned();
    let (status, message) = recorder.ask("GET", &format!("/{place}"), None).await;
    assert_eq!((status, &message["body"]["content"]), (200, &json!("x")), "the key form of the path is understood");
}
