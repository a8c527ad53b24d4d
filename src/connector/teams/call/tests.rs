//! Transcripts: inputs on the left, what the machine does on the right.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::connector::teams::ask::{Address, Method};
use crate::connector::teams::notice;
use crate::model::Kind;

const TENANT: &str = "932899f8-2ea1-4604-8413-27bd2892079f";

/// A call, a clock, and everything that was said.
struct Rig {
    call: Call,
    now: i64,
    settings: CallSettings,
    facts: Vec<Fact>,
    asked: Vec<(Token, Ask)>,
}

impl Rig {
    fn new() -> Rig {
        let settings = CallSettings {
            client_id: "bot".into(),
            report_recording_status: true,
            keep_alive: Duration::from_secs(600),
            hang_up_after: Duration::from_secs(60),
            follow_chats: true,
        };
        let call = Call::new(CallId::new("AB-CD").expect("id"), TENANT, Timestamp(0));
        Rig { call, now: 0, settings, facts: Vec::new(), asked: Vec::new() }
    }

    /// What an input leads to, in short.
    fn put(&mut self, input: Input) -> Vec<String> {
        // The state is stored after every change: it must survive that at any point.
        let stored = serde_json::to_vec(&self.call).expect("state");
        assert_eq!(serde_json::from_slice::<Call>(&stored).expect("state reads back"), self.call);
        let actions = self.call.handle(input, Timestamp(self.now), &self.settings);
        self.now += 1_000;
        let mut out = Vec::new();
        for action in actions {
            out.push(match &action {
                Action::Fact(fact) => told(fact),
                Action::Ask(_, ask) => asked(ask),
                Action::Chat(thread) => format!("chat {thread}"),
                Action::Ended => "ended".into(),
                Action::Warn(_) => "warn".into(),
            });
            match action {
                Action::Fact(fact) => self.facts.push(fact),
                Action::Ask(token, ask) => self.asked.push((token, ask)),
                _ => {}
            }
        }
        out
    }

    fn data(&mut self, change: &str, tail: &str, data: serde_json::Value) -> Vec<String> {
        self.put(Input::Notice(item(change, tail, data)))
    }

    fn state(&mut self, state: &str) -> Vec<String> {
        self.data("updated", "", json!({"@odata.type": "#microsoft.graph.call", "state": state}))
    }

    /// Answers the newest request whose description begins so.
    fn reply(&mut self, to: &str, status: u16, body: serde_json::Value) -> Vec<String> {
        let place = self.asked.iter().rposition(|(_, ask)| {
            let said = asked(ask);
            said == to || (!to.ends_with(' ') && said.starts_with(to))
        });
        let (token, _) = self.asked.remove(place.unwrap_or_else(|| panic!("{to} was not asked")));
        self.put(Input::Reply(token, answer(status, body)))
    }

    fn after(&mut self, seconds: i64) -> Vec<String> {
        self.now += seconds * 1_000_000;
        self.put(Input::Tick)
    }

    /// An accepted and established call, its first checks answered, recording confirmed.
    fn recording() -> Rig {
        let mut rig = Rig::new();
        rig.data("created", "", incoming());
        rig.put(Input::Answered(answer(202, json!(null)), Duration::from_millis(120)));
        rig.state("establishing");
        rig.state("established");
        rig.reply("GET /participants", 200, json!({"value": []}));
        rig.reply("GET ", 200, json!({"state": "established"}));
        rig.put(Input::Durable);
        rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"}));
        rig
    }

    fn kinds(&self, kind: Kind) -> usize {
        self.facts.iter().filter(|fact| fact.kind == kind).count()
    }
}

fn told(fact: &Fact) -> String {
    let content = &fact.content;
    let mut text = fact.kind.as_str().to_owned();
    for more in [&content.state, &content.participant.as_ref().map(|p| p.id.clone())].into_iter().flatten() {
        text += &format!(" {more}");
    }
    if fact.kind == Kind::PlatformEvent {
        let told = |name: &str| content.detail.as_ref().and_then(|d| d[name].as_str().map(str::to_owned));
        let what = told("notification").or_else(|| told("recorder"));
        text += &format!(" {}", what.unwrap_or_default());
    }
    text
}

fn asked(ask: &Ask) -> String {
    let Address::Graph(path) = &ask.address else { panic!("not Graph") };
    let tail = path.strip_prefix("/communications/calls/AB-CD").expect("our call");
    let method = match ask.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    };
    let status = ask.body.as_ref().and_then(|body| body["status"].as_str()).unwrap_or_default();
    format!("{method} {tail} {status}").trim_end().to_owned() + if tail.is_empty() { " " } else { "" }
}

fn answer(status: u16, body: serde_json::Value) -> Reply {
    let body = Bytes::from(body.to_string());
    Reply::Answer { status, content_type: None, body, took: Duration::ZERO }
}

fn item(change: &str, tail: &str, data: serde_json::Value) -> CallNotice {
    let url = format!("/communications/calls/abcd{tail}");
    let body = json!({"value": [{"changeType": change, "resourceUrl": url, "resourceData": data}]});
    notice::read(body.to_string().as_bytes()).expect("graph").remove(0)
}

fn incoming() -> serde_json::Value {
    json!({"@odata.type": "#microsoft.graph.call", "state": "incoming", "subject": "Plan", "callChainId": "chain",
        "tenantId": TENANT, "source": {"identity": {"user": {"id": "8a34a46b-3d17-4adc-8dce-dc4e7d572698"}}},
        "requestedModalities": ["audio"], "meetingInfo": {"token": "secret"}})
}

fn user(id: &str) -> serde_json::Value {
    json!({"id": id, "info": {"identity": {"user": {"id": id}}}})
}

#[test]
fn a_call_from_its_ringing_to_its_end() {
    let mut rig = Rig::new();
    assert_eq!(rig.data("created", "", incoming()), ["invitation.received"]);
    assert_eq!(rig.data("created", "", incoming()), Vec::<String>::new());
    assert!(rig.put(Input::Answered(answer(202, json!(null)), Duration::from_millis(120))).is_empty());
    assert_eq!(rig.state("establishing"), ["invitation.accepted", "conversation.started establishing"]);
    assert_eq!(rig.state("established"), ["conversation.changed established", "GET ", "GET /participants"]);
    assert!(rig.state("established").is_empty());
    // Trap 30: nothing is reported before what was said is stored.
    assert_eq!(rig.put(Input::Durable), ["POST /updateRecordingStatus recording"]);
    assert_eq!(
        rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed", "resultInfo": null})),
        ["recording.started"]
    );
    let chat = json!({"state": "established", "chatInfo": {"threadId": "19:x@thread.v2"}});
    assert_eq!(rig.data("updated", "", chat.clone()), ["chat 19:x@thread.v2"]);
    assert!(rig.data("updated", "", chat).is_empty());
    let end = json!({"state": "terminated", "resultInfo": {"code": "0", "subCode": 0}});
    assert_eq!(rig.data("deleted", "", end), ["recording.stopped", "conversation.ended terminated", "ended"]);
    let ended = rig.facts.last().expect("fact").content.clone();
    assert_eq!(ended.reason.and_then(|r| r.code).as_deref(), Some("0"));
    let received = &rig.facts[0].content;
    assert_eq!(
        received.actor.as_ref().map(|a| a.id.clone()),
        Some(format!("8a34a46b-3d17-4adc-8dce-dc4e7d572698@{TENANT}"))
    );
    assert!(!format!("{:?}", rig.facts).contains("secret"));
    let scopes: Vec<String> = rig.call.aliases().into_iter().map(|a| format!("{} {}", a.scope, a.value)).collect();
    assert_eq!(scopes, [format!("chain {TENANT}|chain"), "thread 19:x@thread.v2".into(), "call abcd".into()]);
}

#[test]
fn every_invitation_has_one_outcome() {
    let mut declined = Rig::new();
    declined.data("created", "", incoming());
    assert_eq!(
        declined.put(Input::Declined { reason: "not listed".into(), latency: Duration::from_millis(7) }),
        ["invitation.declined"]
    );
    assert!(declined.put(Input::Rejected(answer(202, json!(null)))).is_empty());
    let end = declined.data("deleted", "", json!({"@odata.type": "#microsoft.graph.call"}));
    assert_eq!(end, ["platform.event end of a call that never began", "ended"]);

    // Trap 1: too late.
    let mut refused = Rig::new();
    refused.data("created", "", incoming());
    let late = refused.put(Input::Answered(answer(404, json!({"error": {"code": "8522"}})), Duration::from_secs(6)));
    assert_eq!(late, ["warn", "invitation.failed"]);

    let mut ended = Rig::new();
    ended.data("created", "", incoming());
    ended.put(Input::Answered(answer(202, json!(null)), Duration::ZERO));
    let late = json!({"state": "Terminated", "resultInfo": {"code": 408, "subcode": 8544}});
    assert_eq!(ended.data("updated", "", late), ["invitation.failed", "ended"]);
    let reason = ended.facts[1].content.reason.clone().expect("reason");
    assert_eq!((reason.code.as_deref(), reason.subcode.as_deref()), (Some("408"), Some("8544")));

    // No answer to our answer, and then the call goes on: it was taken.
    let mut unclear = Rig::new();
    unclear.data("created", "", incoming());
    assert_eq!(unclear.put(Input::Answered(Reply::Failed("timeout".into()), Duration::ZERO)), ["warn"]);
    assert_eq!(unclear.state("established")[..2], ["invitation.accepted", "conversation.started established"]);
    let mut lost = Rig::new();
    lost.data("created", "", incoming());
    lost.put(Input::Answered(answer(503, json!(null)), Duration::ZERO));
    assert_eq!(lost.after(6), ["invitation.failed"]);

    // The notification overtakes the reply.
    let mut swapped = Rig::new();
    swapped.data("created", "", incoming());
    assert_eq!(swapped.state("establishing"), ["conversation.started establishing"]);
    assert_eq!(swapped.put(Input::Answered(answer(202, json!(null)), Duration::ZERO)), ["invitation.accepted"]);
}

#[test]
fn trap_4_a_finished_operation_does_not_end_the_call() {
    let mut rig = Rig::recording();
    let operation = json!({"@odata.type": "#microsoft.graph.playPromptOperation", "status": "completed"});
    assert_eq!(rig.data("deleted", "/operations/1", operation), ["platform.event operation"]);
    assert_eq!(rig.call.phase(), Phase::Established);
}

#[test]
fn trap_5_a_deleted_call_without_state_is_over() {
    let mut rig = Rig::recording();
    let end = rig.data("deleted", "", json!({"@odata.type": "#microsoft.graph.call"}));
    assert_eq!(end, ["recording.stopped", "conversation.ended terminated", "ended"]);
}

#[test]
fn trap_6_late_states_are_kept_and_change_nothing() {
    let mut rig = Rig::recording();
    assert_eq!(rig.state("establishing"), ["platform.event establishing"]);
    assert_eq!(rig.call.phase(), Phase::Established);
    rig.state("terminated");
    assert_eq!(rig.state("terminating"), ["platform.event after the end"]);
    assert!(rig.state("terminating").is_empty());
    assert_eq!(rig.state("established"), ["platform.event after the end"]);
    assert_eq!(rig.call.deadline(), None);
}

#[test]
fn hold_and_transfer_never_end_a_call_and_each_change_is_said_once() {
    let mut rig = Rig::recording();
    assert_eq!(rig.state("Hold"), ["conversation.changed Hold"]);
    assert!(rig.state("hold").is_empty());
    assert_eq!(rig.state("established"), ["conversation.changed established"]);
    assert_eq!(rig.state("hold"), ["conversation.changed hold"]);
    assert_eq!(rig.state("transferring"), ["conversation.changed transferring"]);
    let failed = json!({"state": "established", "resultInfo": {"code": 500, "subcode": 1}});
    assert_eq!(rig.data("updated", "", failed), ["conversation.changed established"]);
    assert_eq!(rig.call.phase(), Phase::Established);
}

#[test]
fn trap_8_an_empty_roster_is_no_reason_to_leave_and_the_last_human_is() {
    let mut rig = Rig::recording();
    rig.data("updated", "/participants", json!([]));
    assert!(!rig.after(120).iter().any(|said| said.contains("notRecording")));
    rig.data("updated", "/participants", json!([user("a")]));
    rig.data("updated", "/participants", json!([]));
    rig.data("updated", "/participants", json!([user("b")]));
    assert!(rig.after(61).is_empty());
    rig.data("updated", "/participants", json!([]));
    assert_eq!(rig.after(61), ["POST /updateRecordingStatus notRecording"]);
    let stopped = rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"}));
    assert_eq!(stopped, ["recording.stopped", "DELETE "]);
    assert!(rig.reply("DELETE ", 204, json!(null)).is_empty());
    assert_eq!(rig.after(11), ["conversation.ended terminated", "ended"]);
}

#[test]
fn stopping_is_quick() {
    let mut rig = Rig::recording();
    assert_eq!(rig.put(Input::Stop), ["POST /updateRecordingStatus notRecording"]);
    // No answer: leave all the same.
    assert_eq!(rig.after(3), ["DELETE "]);
    let end = rig.reply("DELETE ", 204, json!(null));
    assert_eq!(end, ["recording.stopped", "conversation.ended terminated", "ended"]);
    let mut refused = Rig::recording();
    refused.put(Input::Stop);
    assert_eq!(refused.reply("POST /updateRecordingStatus", 500, json!(null)), ["warn", "DELETE "]);
}

#[test]
fn trap_12_the_result_of_recording_may_come_as_an_operation_in_any_case_and_order() {
    let mut rig = Rig::new();
    rig.state("established");
    rig.put(Input::Durable);
    let context = rig.asked.iter().find_map(|(_, ask)| ask.body.as_ref()).expect("body")["clientContext"].clone();
    let operation = json!({"@odata.type": "#microsoft.graph.updateRecordingStatusOperation", "clientContext": context,
        "status": "Completed"});
    assert_eq!(rig.data("deleted", "/operations/7", operation), ["recording.started"]);
    assert!(rig.reply("POST /updateRecordingStatus", 200, json!({"status": "running"})).is_empty());
    assert_eq!(rig.kinds(Kind::RecordingStarted), 1);
    let started = rig.facts.iter().find(|fact| fact.kind == Kind::RecordingStarted).expect("started");
    let detail = started.content.detail.as_ref().expect("detail");
    assert_eq!(detail["asked_at"], Timestamp(rig.now - 3_000).to_string(), "when it was requested is on record, too");
}

#[test]
fn refused_recording_is_said_and_tried_again() {
    let mut rig = Rig::new();
    rig.state("established");
    rig.put(Input::Durable);
    let said = rig.reply("POST /updateRecordingStatus", 403, json!({"error": {"code": "7503"}}));
    assert_eq!(said, ["warn", "recording.failed"]);
    assert_eq!(rig.after(11), ["POST /updateRecordingStatus recording"]);
    rig.reply("POST /updateRecordingStatus", 200, json!({"status": "notStarted"}));
    assert_eq!(rig.after(31), ["warn", "recording.failed"]);
    assert_eq!(rig.after(21), ["POST /updateRecordingStatus recording"]);
    assert_eq!(rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"})), ["recording.started"]);
}

#[test]
fn broken_capture_is_reported_and_mended_capture_too() {
    let mut rig = Rig::recording();
    assert_eq!(rig.put(Input::CaptureBroken), ["POST /updateRecordingStatus failed"]);
    let said = rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"}));
    assert_eq!(said, ["recording.failed"]);
    assert!(rig.put(Input::CaptureMended).is_empty());
    assert_eq!(rig.put(Input::Durable), ["POST /updateRecordingStatus recording"]);
}

#[test]
fn recording_is_told_again_only_when_its_failure_is_stored() {
    let mut rig = Rig::recording();
    rig.put(Input::CaptureBroken);
    // The archive is mended before the platform has said a word to the news.
    assert!(rig.put(Input::Durable).is_empty());
    assert!(rig.put(Input::CaptureMended).is_empty());
    let said = rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"}));
    assert_eq!(said, ["recording.failed"]);
    assert_eq!(rig.put(Input::Durable), ["POST /updateRecordingStatus recording"]);
    assert_eq!(rig.reply("POST /updateRecordingStatus", 200, json!({"status": "completed"})), ["recording.started"]);
}

#[test]
fn an_outage_while_recording_is_not_on_leaves_nothing_to_wait_for() {
    let mut rig = Rig::new();
    rig.state("established");
    rig.put(Input::Durable);
    rig.reply("POST /updateRecordingStatus", 403, json!({"error": {"code": "7503"}}));
    assert!(rig.put(Input::CaptureBroken).is_empty(), "nobody was told that we record");
    assert!(rig.after(60).is_empty());
    assert_eq!(rig.put(Input::CaptureMended), ["POST /updateRecordingStatus recording"]);
}

#[test]
fn a_call_that_stays_unknown_is_asked_for_and_then_given_up() {
    let mut rig = Rig::new();
    assert_eq!(rig.put(Input::Missed { from: Timestamp(0) }), ["GET "]);
    rig.reply("GET ", 503, json!({}));
    assert_eq!(rig.after(61), ["GET "]);
    rig.reply("GET ", 503, json!({}));
    let mut said = Vec::new();
    for _ in 0..12 {
        said = rig.after(61);
        if said != ["GET "] {
            break;
        }
        rig.reply("GET ", 503, json!({}));
    }
    assert_eq!(said, ["ended"]);
    assert_eq!(rig.call.deadline(), None);
}

#[test]
fn what_could_not_be_stored_is_a_gap_and_is_asked_for() {
    let mut rig = Rig::recording();
    let from = Timestamp(rig.now - 500);
    assert_eq!(rig.put(Input::Missed { from }), ["capture.gap", "GET ", "GET /participants"]);
    let gap = rig.facts.last().and_then(|fact| fact.content.gap.clone()).expect("a gap");
    assert_eq!((gap.from, gap.to), (from, Timestamp(rig.now - 1_000)));
}

#[test]
fn a_call_of_which_everything_was_missed_is_looked_up() {
    let mut rig = Rig::new();
    assert_eq!(rig.put(Input::Missed { from: Timestamp(0) }), ["GET "]);
    let call = json!({"state": "established", "callChainId": "chain", "chatInfo": {"threadId": "19:m@thread.v2"}});
    let said = rig.reply("GET ", 200, call);
    let begun: Vec<_> = said.iter().filter(|said| said.starts_with("con") || said.starts_with("cap")).collect();
    assert_eq!(begun, ["conversation.started established", "capture.gap"], "what was before is missing");
    assert_eq!(rig.call.phase(), Phase::Established);
    // One that nobody knows any more leaves nothing behind.
    let mut rig = Rig::new();
    rig.put(Input::Missed { from: Timestamp(0) });
    assert_eq!(rig.reply("GET ", 404, json!({})), ["ended"]);
}

#[test]
fn without_reports_recording_begins_with_established() {
    let mut rig = Rig::new();
    rig.settings.report_recording_status = false;
    assert!(rig.state("established").contains(&"recording.started".to_owned()));
    assert_eq!(rig.put(Input::Stop), ["recording.stopped", "DELETE "]);
}

#[test]
fn trap_9_joining_and_leaving_users_of_a_policy_call() {
    let mut rig = Rig::recording();
    let joining = json!({"@odata.type": "#microsoft.graph.participantJoiningNotification", "call": {
        "source": {"identity": {"user": {"id": "u"}}}, "incomingContext": {"observedParticipantId": "P2"}}});
    assert_eq!(rig.data("created", "", joining.clone()), ["invitation.received", "invitation.accepted"]);
    assert!(rig.data("created", "", joining).is_empty());
    let left = json!({"@odata.type": "#microsoft.graph.participantLeftNotification", "participantId": "p2"});
    assert_eq!(rig.data("deleted", "", left.clone()), ["participant.left user:u"]);
    assert!(rig.data("deleted", "", left).is_empty());
    assert_eq!(rig.call.phase(), Phase::Established);
}

#[test]
fn sharing_sessions_begin_and_end_in_both_forms() {
    let mut rig = Rig::recording();
    let listed = json!([{"@odata.type": "#microsoft.graph.contentSharingSession", "id": "S"}]);
    assert_eq!(rig.data("created", "/contentsharingsessions", listed.clone()), ["sharing.started"]);
    assert_eq!(rig.data("created", "/contentsharingsessions/s", json!(null)), Vec::<String>::new());
    assert_eq!(rig.data("updated", "/contentsharingsessions", listed), ["platform.event content sharing"]);
    assert_eq!(rig.data("deleted", "/contentsharingsessions/s", json!(null)), ["sharing.ended"]);
}

#[test]
fn a_call_found_in_its_middle_gets_a_record_and_is_asked_for() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.data("updated", "/participants", json!([user("a")])),
        ["conversation.started", "GET ", "GET /participants", "participant.joined user:a"]
    );
    assert_eq!(rig.reply("GET ", 200, json!({"state": "established"}))[0], "conversation.changed established");
    let mut gone = Rig::new();
    let end = gone.data("deleted", "", json!({"@odata.type": "#microsoft.graph.call"}));
    assert_eq!(end, ["platform.event end of a call that never began", "ended"]);
}

#[test]
fn trap_12_words_that_nobody_defined_are_states_within_the_call() {
    let mut rig = Rig::new();
    rig.data("created", "", incoming());
    assert_eq!(rig.state("Ringing"), ["platform.event state before the beginning"]);
    rig.put(Input::Answered(answer(202, json!(null)), Duration::ZERO));
    rig.state("Established");
    assert_eq!(rig.state("ringing"), ["conversation.changed ringing"]);
    assert_eq!(rig.state("redirecting"), ["conversation.changed redirecting"]);
    assert_eq!(rig.call.phase(), Phase::Established, "neither ends it nor begins it anew");
}

#[test]
fn keep_alive_checks_the_call_and_404_ends_it() {
    let mut rig = Rig::recording();
    assert_eq!(rig.after(600), ["POST /keepAlive", "GET ", "GET /participants"]);
    let failed = rig.reply("POST /keepAlive", 503, json!(null));
    assert_eq!(failed, ["warn", "platform.event keepAlive failed: 503"]);
    assert_eq!(rig.after(61)[0], "POST /keepAlive");
    let end = rig.reply("POST /keepAlive", 404, json!(null));
    assert_eq!(end, ["recording.stopped", "conversation.ended terminated", "ended"]);
}

#[test]
fn after_a_start_the_gap_is_said_and_the_service_asked() {
    let mut rig = Rig::recording();
    let stored = serde_json::to_vec(&rig.call).expect("state");
    rig.call = serde_json::from_slice(&stored).expect("state");
    rig.now += 5_000_000;
    let said = rig.put(Input::Restored { last_seen: None });
    assert_eq!(said, ["capture.gap", "GET ", "POST /keepAlive", "GET /participants"]);
    let gap = rig.facts.last().expect("fact").content.gap.clone().expect("gap");
    assert_eq!(gap.cause, "the recorder was not running");
    assert!(gap.to.since(gap.from) >= Duration::from_secs(5));
    assert_eq!(rig.reply("GET ", 404, json!(null))[..2], ["recording.stopped", "conversation.ended terminated"]);
    // An unanswered invitation whose call is gone came to nothing.
    let mut offered = Rig::new();
    offered.data("created", "", incoming());
    assert_eq!(offered.put(Input::Restored { last_seen: None }), ["GET "]);
    assert_eq!(offered.reply("GET ", 404, json!(null)), ["invitation.failed", "ended"]);
}

#[test]
fn trap_10_legs_of_one_chain_say_the_same_fact_with_the_same_key() {
    let keys: Vec<Vec<String>> = ["AB-CD", "EF"]
        .into_iter()
        .map(|id| {
            let mut rig = Rig::new();
            rig.call = Call::new(CallId::new(id).expect("id"), TENANT, Timestamp(0));
            rig.call.handle(Input::Notice(item("created", "", incoming())), Timestamp(0), &rig.settings);
            let roster = item("updated", "/participants", json!([user("a")]));
            let mut facts = Vec::new();
            let state = json!({"@odata.type": "#microsoft.graph.call", "state": "established"});
            for notice in [item("updated", "", state), roster] {
                facts.extend(rig.call.handle(Input::Notice(notice), Timestamp(1), &rig.settings));
            }
            let key = |action| if let Action::Fact(fact) = action { Some(fact.dedupe) } else { None };
            facts.into_iter().filter_map(key).collect()
        })
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 2);
}

fn any_input() -> impl Strategy<Value = (u8, u16, u32)> {
    (0..32_u8, prop_oneof![Just(200), Just(202), Just(404), Just(403), Just(500)], 0..100_u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn inputs_in_any_order_end_once_and_say_nothing_twice(steps in prop::collection::vec(any_input(), 0..120)) {
        let mut rig = Rig::new();
        let mut ends = 0;
        let words = ["incoming", "establishing", "established", "hold", "terminating", "Ringing"];
        for (what, status, number) in steps {
            rig.now += i64::from(number) * 3_000_000;
            let was_over = rig.call.is_ended();
            let person = ["a", "b", "c"][number as usize % 3];
            let said = match what {
                0..=7 => rig.state(words[number as usize % words.len()]),
                8 => rig.data("created", "", incoming()),
                9 => rig.put(Input::Answered(answer(status, json!(null)), Duration::ZERO)),
                10 => rig.put(Input::Declined { reason: "no".into(), latency: Duration::ZERO }),
                11..=13 => rig.data("updated", "/participants", json!([user(person)])),
                14 => rig.data("updated", "/participants", json!([])),
                15 => rig.data("updated", "/participants", json!([{"participants": [user(person)], "sequenceNumber": number}])),
                16 => rig.data("created", "/contentsharingsessions/s", json!(null)),
                17 => rig.data("deleted", "/contentsharingsessions/s", json!(null)),
                18 => rig.put(Input::CaptureBroken),
                19 => rig.put(Input::CaptureMended),
                20 | 21 => rig.put(Input::Durable),
                22 if number < 10 => rig.put(Input::Missed { from: Timestamp(rig.now) }),
                22 if number < 20 => rig.put(Input::Stop),
                23 if number < 20 => rig.put(Input::Restored { last_seen: None }),
                24 if number < 30 => rig.data("deleted", "", json!({"@odata.type": "#microsoft.graph.call"})),
                25..=29 => match rig.asked.pop() {
                    Some((token, _)) => {
                        let body = json!({"status": "completed", "state": "established", "value": [user(person)]});
                        rig.put(Input::Reply(token, answer(status, body)))
                    }
                    None => rig.put(Input::Tick),
                },
                _ => rig.put(Input::Tick),
            };
            // A deadline that has passed is acted on by one tick.
            let mut said = said;
            said.extend(rig.put(Input::Tick));
            let ticked = Timestamp(rig.now - 1_000);
            prop_assert!(rig.call.deadline().is_none_or(|due| due > ticked), "{:?}", rig.call);
            ends += said.iter().filter(|said| *said == "ended").count();
            if was_over {
                for said in said {
                    prop_assert!(said.starts_with("platform.event") || said.starts_with("invitation."), "{said}");
                }
            }
        }
        prop_assert!(ends <= 1);
        let mut keys: Vec<&str> = rig.facts.iter().map(|fact| fact.dedupe.as_str()).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), all);
        for kind in [Kind::ConversationStarted, Kind::ConversationEnded, Kind::InvitationReceived] {
            prop_assert!(rig.kinds(kind) <= 1);
        }
        let outcomes = [Kind::InvitationAccepted, Kind::InvitationDeclined, Kind::InvitationFailed];
        prop_assert!(outcomes.map(|kind| rig.kinds(kind)).iter().sum::<usize>() <= 1);
    }
}
