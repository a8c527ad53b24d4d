//! Any order of events, any fault: no panic, no acknowledged batch that is not stored, nothing stored twice.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rig::*;
use crate::connector::ucwa::session::Input;

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<u8>),
    Break(u16),
    Wait(u16),
    Restart,
    Way(&'static str),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Step::Batch),
        2 => prop::sample::select(vec![0u16, 401, 403, 404, 408, 409, 410, 429, 500, 502, 503]).prop_map(Step::Break),
        3 => (0u16..90).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => prop::sample::select(vec!["next", "resync", "resume", "nothing"]).prop_map(Step::Way),
        1 => Just(Step::Stop),
    ]
}

/// One of many channel events, legal or not, by number.
fn some_event(n: u8, count: &mut u32) -> Value {
    let id = if n & 1 == 0 { "a" } else { "b" };
    let alice = "sip:alice@contoso.com";
    let started = invitation("messagingInvitation", "1", id, alice, Some("Hi"));
    let meeting = invitation("onlineMeetingInvitation", "2", id, alice, None);
    *count += 1;
    match n >> 1 {
        0..=9 => {
            in_conversation(id, vec![message(id, *count, "alice@contoso.com", &format!("data:text/plain,m{count}"))])
        }
        10..=19 => communication(vec![started]),
        20..=29 => communication(vec![completed(&started, "Success")]),
        30..=34 => communication(vec![completed(&meeting, "Failure")]),
        35..=44 => communication(vec![meeting]),
        45..=54 => communication(vec![talk_is(id, "Conferenced", true)]),
        55..=59 => communication(vec![talk_is(id, "Connected", false)]),
        60..=64 => communication(vec![talk_is(id, "Disconnected", false)]),
        65..=69 => communication(vec![event("conversation", &conversation(id), "deleted", None)]),
        70..=79 => in_conversation(id, vec![messaging_is(id, "Connected")]),
        80..=89 => in_conversation(id, vec![messaging_is(id, "Disconnected")]),
        90..=94 => in_conversation(id, vec![participant(id, "bob@contoso.com", "added")]),
        95..=99 => in_conversation(id, vec![participant(id, "bob@contoso.com", "deleted")]),
        100..=104 => in_conversation(id, vec![participant_in(id, "bob@contoso.com", "lobby", "added")]),
        105..=109 => in_conversation(id, vec![participant_in(id, "bob@contoso.com", "leaders", "added")]),
        110..=114 => communication(vec![event(
            "messagingInvitation",
            &format!("{APP}/communication/messagingInvitations/5"),
            "started",
            None,
        )]),
        115..=119 => in_conversation(
            id,
            vec![event("message", &format!("{}/messaging/messages/7", conversation(id)), "completed", None)],
        ),
        _ => json!({"rel": "odd", "href": null, "events": [7, {"link": 3}, {"type": "added"}]}),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("GREFFIER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whatever_happens(steps in prop::collection::vec(step(), 1..40)) {
        let mut rig = Rig::running();
        rig.knows("a", "alice@contoso.com", "Alice");
        rig.knows("b", "alice@contoso.com", "Alice");
        let (mut count, mut delivered) = (0, Vec::new());
        for step in steps {
            if rig.finished {
                break;
            }
            match step {
                Step::Batch(events) if rig.polling().is_some() => {
                    let senders: Vec<Value> = events.iter().map(|n| some_event(*n, &mut count)).collect();
                    delivered.extend(senders.iter().filter_map(text_of));
                    rig.batch(json!(senders));
                }
                Step::Break(0) if rig.polling().is_some() => rig.fail_poll(broken()),
                Step::Break(status) if rig.polling().is_some() => {
                    rig.fail_poll(reply(status, json!({"code": "X", "subcode": "PGetReplaced"})));
                }
                Step::Way(way) if rig.polling().is_some() => {
                    rig.raw_batch(json!([]), way);
                    rig.serve();
                }
                Step::Wait(seconds) => rig.pass(Duration::from_secs(u64::from(seconds))),
                Step::Restart => rig.restart(Duration::from_secs(2)),
                Step::Stop => {
                    rig.give(Input::Stop);
                    rig.serve();
                    rig.pass(Duration::from_secs(9));
                    prop_assert!(rig.finished, "stops within 10 s");
                }
                _ => rig.pass(Duration::from_secs(5)),
            }
        }
        rig.pass(Duration::from_secs(30));
        let mut texts = rig.texts();
        texts.retain(|t| t != "Hi");
        let mut expected = delivered;
        texts.sort();
        expected.sort();
        prop_assert_eq!(texts, expected, "each delivered message is recorded once");
        prop_assert!(rig.memory.pending.is_empty(), "everything stored is interpreted");
    }
}

/// The text of a message delivered by [`some_event`].
fn text_of(sender: &Value) -> Option<String> {
    let uri = sender["events"][0]["_embedded"]["message"]["_links"]["plainMessage"]["href"].as_str()?;
    Some(uri.trim_start_matches("data:text/plain,").to_owned())
}
