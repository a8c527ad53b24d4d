//! Calls: invited, answered, kept alive, recorded, ended; rosters in both manners; policy recording.

use greffier::simulate::teams::{Act, CallKind, Invite, RosterChange};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{LONG, quiet, start};

fn invite(name: &str, kind: CallKind, people: &[&str]) -> Invite {
    let people = people.iter().map(|p| (*p).to_owned()).collect();
    Invite { people, subject: "Budget".to_owned(), ..Invite::new(name, "alice", kind) }
}

fn call(name: &str) -> String {
    name.to_owned()
}

#[tokio::test]
async fn a_meeting_is_answered_recorded_and_left() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(invite("m", CallKind::Meeting, &["bob"])).unwrap().remove(0);
    let incoming = recorder.wait_state("incoming").await;
    assert_eq!(incoming["id"], id.as_str());
    assert_eq!(incoming["source"]["identity"]["user"]["id"], tenant.oid("alice").unwrap());
    assert_eq!(recorder.answer(&id, 0, false).await.0, 202);
    let established = recorder.wait_state("established").await;
    assert_eq!(established["chatInfo"]["threadId"], tenant.thread("m").unwrap());
    recorder.wait("a roster", |r| r.items("/own").iter().any(|i| i["resourceData"].is_array())).await;
    let roster = recorder.items("/own").into_iter().find(|i| i["resourceData"].is_array()).unwrap();
    assert_eq!(roster["resourceData"].as_array().unwrap().len(), 3, "alice, bob and our leg: {roster}");

    let status = json!({ "clientContext": "c-1", "status": "recording" });
    let place = format!("/communications/calls/{id}");
    let (code, operation) = recorder.ask("POST", &format!("{place}/updateRecordingStatus"), Some(status)).await;
    assert_eq!((code, &operation["status"]), (200, &json!("completed")));
    assert_eq!(recorder.ask("POST", &format!("{place}/keepAlive"), None).await.0, 200);
    let shouted = place.replace('-', "").to_uppercase().replace("/COMMUNICATIONS/CALLS", "/communications/calls");
    assert_eq!(recorder.get(&shouted).await["state"], "established");

    assert_eq!(recorder.ask("DELETE", &place, None).await.0, 204);
    recorder.wait_state("terminated").await;
    assert_eq!(recorder.ask("POST", &format!("{place}/keepAlive"), None).await.0, 404);
    let ledger = tenant.ledger();
    let leg = ledger.legs("m").next().unwrap();
    assert!(leg.hung_up && leg.told_ms.is_some() && leg.answered_after_ms.is_some() && !leg.late);
    assert_eq!((leg.keep_alives, leg.recording.len(), leg.ended.as_deref()), (1, 1, Some("0/0")));
    assert_eq!(ledger.violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_late_answer_finds_no_call_and_the_end_says_why() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet("answer_ms = 200"), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(invite("m", CallKind::Meeting, &[])).unwrap().remove(0);
    let end = recorder.wait_state("terminated").await;
    assert_eq!((&end["resultInfo"]["code"], &end["resultInfo"]["subcode"]), (&json!(408), &json!(8544)));
    assert_eq!(recorder.answer(&id, 0, false).await.0, 404);
    assert!(tenant.ledger().legs("m").next().unwrap().late);
}

#[tokio::test]
async fn a_rejected_call_ends_and_a_group_call_needs_a_permission() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet("roles = [\"Chat.Read.All\"]"), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(invite("m", CallKind::Group, &["bob"])).unwrap().remove(0);
    let incoming = recorder.wait_state("incoming").await;
    assert!(incoming["source"]["identity"]["encrypted"].is_object(), "hidden without a permission: {incoming}");
    assert_eq!(recorder.answer(&id, 0, false).await.0, 403);
    let place = format!("/communications/calls/{id}/reject");
    assert_eq!(recorder.ask("POST", &place, Some(json!({ "reason": "busy" }))).await.0, 202);
    recorder.wait_state("terminated").await;
    assert_eq!(tenant.ledger().legs("m").next().unwrap().rejected.as_deref(), Some("busy"));
}

#[tokio::test]
async fn delta_rosters_hold_only_what_changed_and_say_who_was_removed() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(invite("m", CallKind::Meeting, &[])).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    recorder.answer(&id, 0, true).await;
    recorder.wait_state("established").await;
    let guest = || "guest".to_owned();
    tenant.act(&Act::Join { call: call("m"), who: guest(), lobby: true, metadata: None }).unwrap();
    tenant.act(&Act::Admit { call: call("m"), who: guest() }).unwrap();
    tenant.act(&Act::Share { call: call("m"), who: call("alice"), on: true }).unwrap();
    tenant.act(&Act::Leave { call: call("m"), who: guest() }).unwrap();
    let removed = |i: &Value| {
        i["resourceData"][0]["participants"].as_array().is_some_and(|p| p.iter().any(|p| p["removedState"].is_object()))
    };
    recorder.wait("a removal", |r| r.items("/own").iter().any(removed)).await;
    let deltas: Vec<Value> = recorder.items("/own").into_iter().map(|i| i["resourceData"][0].clone()).collect();
    let numbers: Vec<i64> = deltas.iter().filter_map(|d| d["sequenceNumber"].as_i64()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let sharing = recorder.items("/own");
    assert!(sharing.iter().any(|i| i["resourceUrl"].as_str().unwrap().ends_with("/contentsharingsessions")));
    let changes: Vec<RosterChange> =
        tenant.ledger().legs("m").next().unwrap().roster.iter().map(|r| r.change).collect();
    use RosterChange::{InLobby, Joined, Left, SharingStarted};
    assert_eq!(changes, [Joined, InLobby, Joined, SharingStarted, Left]);
}

#[tokio::test]
async fn policy_recording_invites_for_each_user_and_groups_those_who_join() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    recorder.decide(json!({ "@odata.type": "#microsoft.graph.acceptJoinResponse" }));
    let policy = vec!["alice".to_owned(), "bob".to_owned()];
    let legs = tenant.invite_call(Invite { policy, ..invite("p", CallKind::Group, &["bob"]) }).unwrap();
    assert_eq!(legs.len(), 2);
    let incoming = recorder.wait_state("incoming").await;
    assert_eq!(incoming["meetingInfo"]["@odata.type"], "#microsoft.graph.tokenMeetingInfo");
    assert!(incoming["applicationMetadata"]["botData"]["inviteReasons"].is_array());
    for leg in &legs {
        assert_eq!(recorder.answer(leg, 5, false).await.0, 202);
    }
    let both = |l: &greffier::simulate::teams::TeamsLedger| l.legs("p").all(|c| c.answered_after_ms.is_some());
    assert!(tenant.wait_ledger(LONG, both).await);
    let established =
        |r: &Recorder| r.items("/own").iter().filter(|i| i["resourceData"]["state"] == "established").count() == 2;
    recorder.wait("both legs", established).await;
    tenant.act(&Act::PolicyJoin { call: call("p"), who: call("carol") }).unwrap();
    assert!(tenant.wait_ledger(LONG, |l| l.calls.iter().any(|c| !c.joining.is_empty())).await);
    let ledger = tenant.ledger();
    let joined = ledger.calls.iter().find(|c| !c.joining.is_empty()).unwrap();
    assert_eq!(joined.joining, [(tenant.oid("carol").unwrap(), "accept".to_owned())]);
    tenant.act(&Act::PolicyLeave { call: call("p"), who: call("carol") }).unwrap();
    let left = |i: &Value| i["resourceData"]["@odata.type"] == "#microsoft.graph.participantLeftNotification";
    recorder.wait("a left notification", |r| r.items("/own").iter().any(left)).await;
}

#[tokio::test]
async fn a_joining_user_is_lost_when_the_answer_holds_no_decision() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let policy = vec!["alice".to_owned()];
    let legs = tenant.invite_call(Invite { policy, ..invite("p", CallKind::Group, &["bob"]) }).unwrap();
    recorder.wait_state("incoming").await;
    recorder.answer(&legs[0], 5, false).await;
    recorder.wait_state("established").await;
    tenant.act(&Act::PolicyJoin { call: call("p"), who: call("bob") }).unwrap();
    assert!(tenant.wait_ledger(LONG, |l| l.calls.iter().any(|c| c.joining.iter().any(|j| j.1 == "lost"))).await);
    assert_eq!(tenant.ledger().violations.len(), 1);
}

#[tokio::test]
async fn an_abandoned_meeting_leaves_the_recorder_alone_and_unended() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let id = tenant.invite_call(invite("m", CallKind::Meeting, &["bob"])).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    recorder.answer(&id, 0, false).await;
    recorder.wait_state("established").await;
    tenant.act(&Act::Abandon { call: call("m") }).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    let last = recorder.items("/own").into_iter().rfind(|i| i["resourceData"].is_array()).unwrap();
    assert_eq!(last["resourceData"].as_array().unwrap().len(), 1, "our own leg only: {last}");
    assert_eq!(recorder.get(&format!("/communications/calls/{id}")).await["state"], "established");
}
