//! What can be broken, and what the tenant makes of a recorder that fails.

use std::time::Duration;

use greffier::simulate::teams::{
    Act, CallKind, ChatKind, Effect, Fault, Invite, Path, SimulatedTenant, Spoiled, TeamsScenario, Words,
};
use serde_json::json;

use super::recorder::Recorder;
use super::{LONG, quiet, start};

async fn subscribed(options: &str) -> (Recorder, SimulatedTenant) {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(options), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    tenant.create_chat("c", ChatKind::Group, &["alice", "bob"]).unwrap();
    recorder.subscribe("/chats/getAllMessages").await;
    (recorder, tenant)
}

fn send(path: Path, what: &str, effect: Effect) -> Fault {
    Fault::Send { path, what: what.to_owned(), skip: 0, times: 1, effect }
}

#[tokio::test]
async fn a_notification_that_is_not_taken_comes_again_while_others_go_on() {
    let (recorder, tenant) = subscribed("retry_first_ms = 400\nnotify_ms = 1").await;
    recorder.answer_with(&[503]);
    tenant.say("c", "alice", Words::plain("first")).unwrap();
    recorder.wait("the first", |r| r.items("/api/notifications").len() == 1).await;
    tenant.say("c", "alice", Words::plain("second")).unwrap();
    assert!(tenant.wait_ledger(LONG, |l| l.all_taken()).await);
    let texts: Vec<String> = recorder
        .items("/api/notifications")
        .iter()
        .map(|i| recorder.decrypt(i)["body"]["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["first", "second", "first"]);
}

#[tokio::test]
async fn spoiled_change_notifications_are_not_counted_as_taken() {
    for effect in [Effect::ClientState, Effect::NoTokens, Effect::BadSignature, Effect::UnknownCertificate] {
        let (recorder, tenant) = subscribed("").await;
        tenant.fail(send(Path::Changes, "", effect.clone()));
        tenant.say("c", "alice", Words::plain("x")).unwrap();
        assert!(tenant.wait_delivered(LONG).await);
        let ledger = tenant.ledger();
        assert!(!ledger.versions().next().unwrap().2.acknowledged, "{effect:?}");
        let body = recorder.got().pop().unwrap().body;
        match effect {
            Effect::ClientState => assert_ne!(body["value"][0]["clientState"], "secret-state"),
            Effect::NoTokens => assert_eq!(body["validationTokens"], json!([])),
            Effect::UnknownCertificate => {
                assert_ne!(body["value"][0]["encryptedContent"]["encryptionCertificateId"], "key-1");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn call_notifications_are_swapped_doubled_dropped_and_bared() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(Invite::new("m", "alice", CallKind::Meeting)).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    tenant.fail(send(Path::Calls, "establishing", Effect::Swap));
    tenant.fail(send(Path::Calls, "participants", Effect::Duplicate));
    tenant.fail(send(Path::Calls, "deleted", Effect::Bare));
    recorder.answer(&id, 0, false).await;
    recorder.wait("rosters", |r| r.items("/own").iter().filter(|i| i["resourceData"].is_array()).count() == 2).await;
    let states: Vec<String> =
        recorder.items("/own").iter().filter_map(|i| i["resourceData"]["state"].as_str().map(str::to_owned)).collect();
    assert_eq!(states, ["established", "establishing"]);
    tenant.act(&Act::End { call: "m".to_owned() }).unwrap();
    recorder.wait("the end", |r| r.items("/own").iter().any(|i| i["changeType"] == "deleted")).await;
    let end = recorder.items("/own").into_iter().find(|i| i["changeType"] == "deleted").unwrap();
    assert!(end["resourceData"]["state"].is_null() && end["resourceData"]["resultInfo"].is_null(), "{end}");
}

#[tokio::test]
async fn call_notifications_come_together_and_without_types() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    tenant.fail(send(Path::Calls, "incoming", Effect::Untyped));
    let id = tenant.invite_call(Invite::new("m", "alice", CallKind::Meeting)).unwrap().remove(0);
    let incoming = recorder.wait_state("incoming").await;
    assert!(incoming["@odata.type"].is_string() && incoming["source"]["@odata.type"].is_null(), "{incoming}");
    tenant.fail(send(Path::Calls, "establishing", Effect::Together));
    recorder.answer(&id, 0, false).await;
    recorder.wait_state("established").await;
    let both = recorder.got().into_iter().find(|g| g.body["value"].as_array().is_some_and(|v| v.len() == 2)).unwrap();
    let states: Vec<&str> =
        both.body["value"].as_array().unwrap().iter().filter_map(|i| i["resourceData"]["state"].as_str()).collect();
    assert_eq!(states, ["establishing", "established"]);
    assert!(tenant.wait_delivered(LONG).await);
}

#[tokio::test]
async fn removed_silenced_and_evaluated_subscriptions_tell_nothing_more() {
    let (recorder, tenant) = subscribed("evaluation = 2").await;
    for n in 0..4 {
        tenant.say("c", "alice", Words::plain(format!("m{n}"))).unwrap();
    }
    assert!(tenant.wait_delivered(LONG).await);
    assert_eq!(recorder.items("/api/notifications").len(), 2, "the evaluation stops without a word");
    tenant.fail(Fault::Reauthorize(String::new()));
    tenant.fail(Fault::RemoveSubscription(String::new(), true));
    assert!(tenant.wait_delivered(LONG).await);
    let events: Vec<String> =
        recorder.items("/api/lifecycle").iter().map(|i| i["lifecycleEvent"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["reauthorizationRequired", "subscriptionRemoved"]);
    assert!(tenant.subscriptions().is_empty());
}

#[tokio::test]
async fn answers_are_spoiled_and_budgets_enforced() {
    let (recorder, tenant) = subscribed("").await;
    let spoiled = Spoiled::Status(429, Some(2.128));
    tenant.fail(Fault::Answers { path: "GET /subscriptions".to_owned(), skip: 1, times: 1, spoiled });
    assert_eq!(recorder.ask("GET", "/subscriptions", None).await.0, 200);
    let url = format!("{}/v1.0/subscriptions", recorder.base);
    let answer = recorder.http.get(&url).bearer_auth(&recorder.token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"2.128".parse().unwrap()));
    let place = format!("/chats/{}/messages", tenant.thread("c").unwrap().replace(':', "%3A"));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(recorder.ask("GET", &place, None).await.0);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let ledger = tenant.ledger();
    assert!(ledger.throttled > 0 && ledger.violations.iter().any(|v| v.contains("budget")), "{:?}", ledger.violations);
}

#[tokio::test]
async fn a_next_link_to_another_host_is_a_trap_for_tokens() {
    let (recorder, tenant) = subscribed("").await;
    tenant.fail(Fault::ForeignNextLink);
    for n in 0..2 {
        tenant.say("c", "alice", Words::plain(format!("m{n}"))).unwrap();
    }
    let place = format!("/chats/{}/messages?$top=1", tenant.thread("c").unwrap().replace(':', "%3A"));
    let page = recorder.get(&place).await;
    recorder.ask("GET", page["@odata.nextLink"].as_str().unwrap(), None).await;
    assert_eq!(tenant.ledger().violations.len(), 1);
}

#[tokio::test]
async fn a_chat_of_another_tenant_is_refused_and_a_slow_handshake_waited_for() {
    let (recorder, tenant) = subscribed("").await;
    tenant.fail(Fault::SlowHandshake(Duration::from_millis(100)));
    let place = format!("/chats/{}/messages", tenant.thread("c").unwrap());
    assert!(recorder.subscribe(&place).await["id"].is_string());
    tenant.fail(Fault::ForeignChat("c".to_owned()));
    assert_eq!(recorder.ask("GET", &place.replace(':', "%3A"), None).await.0, 403);
}

#[tokio::test]
async fn a_call_that_nothing_keeps_alive_is_released() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet("keep_alive_ms = 500"), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(Invite::new("m", "alice", CallKind::OneOnOne)).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    recorder.answer(&id, 0, false).await;
    let end = recorder.wait_state("terminated").await;
    assert_eq!(end["resultInfo"]["subcode"], 10_057);
}

#[tokio::test]
async fn the_embedded_scenarios_play_to_their_end_with_a_recorder_that_does_its_part() {
    for name in ["policy", "burst", "teams-demo"] {
        let mut recorder = Recorder::listen().await;
        recorder.decide(json!({ "@odata.type": "#microsoft.graph.acceptJoinResponse" }));
        let mut scenario = TeamsScenario::embedded(name, &[].into()).unwrap().unwrap();
        scenario.hurry(20);
        let tenant = start(scenario, &recorder.url).await;
        recorder.sign_in(&tenant).await;
        let (status, body) = recorder
            .ask("POST", "/subscriptions", Some(recorder.subscription("/chats/getAllMessages?model=A", 60)))
            .await;
        assert_eq!(status, 201, "{body}");
        recorder.wait("the call", |r| r.items("/api/calls").iter().any(|i| i["changeType"] == "created")).await;
        // The legs of a policy call ring one after the other.
        let mut answered = Vec::new();
        let end = tokio::time::Instant::now() + LONG;
        let over = tenant.run_to_end();
        tokio::pin!(over);
        loop {
            let seen = recorder.got().len();
            for item in recorder.items("/api/calls").iter().filter(|i| i["resourceData"]["state"] == "incoming") {
                let id = item["resourceData"]["id"].as_str().unwrap_or_default().to_owned();
                if !answered.contains(&id) {
                    assert_eq!(recorder.answer(&id, 5, true).await.0, 202, "{name}");
                    let chat = tenant.thread(&tenant.ledger().calls[0].name).unwrap();
                    let place = format!("/chats/{chat}/messages");
                    recorder.ask("POST", "/subscriptions", Some(recorder.subscription(&place, 60))).await;
                    // What was said before the subscription is read.
                    recorder.pages(&place.replace(':', "%3A")).await;
                    answered.push(id);
                }
            }
            tokio::select! {
                done = &mut over => { done.unwrap_or_else(|e| panic!("{name}: {e}")); break; }
                () = recorder.wait("more", |r| r.got().len() > seen) => {}
            }
            assert!(tokio::time::Instant::now() < end, "{name}");
        }
        let ledger = tenant.ledger();
        assert_eq!(ledger.violations, Vec::<String>::new(), "{name}");
        assert!(ledger.all_taken(), "{name}");
    }
}
