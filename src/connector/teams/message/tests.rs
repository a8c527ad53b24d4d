//! Versions of messages in every order, and what is read of one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::Kind;

const THREAD: &str = "19:2da4@thread.v2";
const PLACE: Place<'static> = Place { thread: THREAD, tenant: "2432b57b-0abd-43db-aa7b-16eadd115d34" };
const ALICE: &str = "8ea0e38b-efb3-4757-924a-5f94061cf8c2";
const T0: i64 = 1_616_991_962_672;

fn stamp(offset: i64) -> String {
    Timestamp::from_millis(T0 + offset).rfc3339()
}

/// A message as it is `offset` ms after it was sent.
fn message(offset: i64, with: Value) -> Value {
    let mut message = json!({
        "id": T0.to_string(), "etag": (T0 + offset).to_string(), "messageType": "message", "chatId": THREAD,
        "createdDateTime": stamp(0), "lastModifiedDateTime": stamp(offset), "lastEditedDateTime": null,
        "deletedDateTime": null, "importance": "normal", "locale": "en-us",
        "from": {"application": null, "user": {"id": ALICE, "displayName": "Alice", "userIdentityType": "aadUser"}},
        "body": {"contentType": "text", "content": "hello"}, "attachments": [], "mentions": [], "reactions": []
    });
    for (key, value) in with.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    message
}

fn edit(offset: i64, text: &str) -> Value {
    message(offset, json!({"lastEditedDateTime": stamp(offset), "body": {"contentType": "text", "content": text}}))
}

fn deleted(offset: i64) -> Value {
    message(offset, json!({"deletedDateTime": stamp(offset), "body": {"contentType": "text", "content": ""}}))
}

fn like(who: &str, offset: i64) -> Value {
    json!({"reactionType": "like", "createdDateTime": stamp(offset), "user": {"user": {"id": who, "displayName": null}}})
}

/// Reads versions one after another, as the archive takes them: the same key is the same fact.
fn told(versions: &[Value]) -> (Vec<Fact>, Option<Seen>) {
    let mut seen: Option<Seen> = None;
    let mut facts: Vec<Fact> = Vec::new();
    for version in versions {
        let reading = read(version, seen.as_ref(), &PLACE);
        let bytes = reading.seen.to_bytes();
        assert_eq!(Seen::from_bytes(&bytes), Some(reading.seen.clone()));
        seen = Some(reading.seen);
        for fact in reading.facts {
            if !facts.iter().any(|known| known.dedupe == fact.dedupe) {
                facts.push(fact);
            }
        }
    }
    (facts, seen)
}

fn digest(facts: &[Fact]) -> Vec<String> {
    facts
        .iter()
        .map(|fact| {
            let message = fact.content.message.as_ref();
            let late = fact.content.detail.as_ref().and_then(|d| d.get("late")).is_some();
            let said = fact.content.reaction.clone().or_else(|| message.map(|m| m.text.clone())).unwrap_or_default();
            format!("{} {said}{}", fact.kind, if late { " late" } else { "" }).trim().to_owned()
        })
        .collect()
}

fn all(versions: &[Value]) -> Vec<String> {
    digest(&told(versions).0)
}

#[test]
fn a_message_its_edits_and_its_end_are_told_once_each() {
    let life = [
        message(0, json!({})),
        edit(1000, "hello you"),
        edit(2000, "hello all"),
        deleted(3000),
        edit(4000, "hello all"),
    ];
    let want = [
        "message.sent hello",
        "message.edited hello you",
        "message.edited hello all",
        "message.deleted",
        "message.edited hello all",
    ];
    assert_eq!(all(&life), want);
    let twice: Vec<Value> = life.iter().flat_map(|v| [v.clone(), v.clone()]).collect();
    assert_eq!(all(&twice), want);
    let again: Vec<Value> = life.iter().chain(&life).cloned().collect();
    assert_eq!(all(&again), want, "old versions that come again are known");
    let (facts, _) = told(&life);
    assert_eq!(facts[0].source_time.map(Timestamp::millis), Some(T0));
    assert_eq!(facts[1].source_time.map(Timestamp::millis), Some(T0 + 1000));
    assert_eq!(facts[3].source_time.map(Timestamp::millis), Some(T0 + 3000));
    assert_eq!(facts[0].dedupe, format!("message|{THREAD}|{T0}|{T0}"));
    let alice = facts[0].content.actor.as_ref().expect("a sender");
    assert_eq!(alice.id, format!("{ALICE}@{}", PLACE.tenant));
    assert!(facts.iter().all(|f| f.content.message.as_ref().is_some_and(|m| m.id == T0.to_string())));
    assert_eq!(facts[4].content.detail.as_ref().and_then(|d| d.get("undeleted")), Some(&json!(true)));
}

#[test]
fn an_edited_message_seen_first_is_sent_and_marked() {
    let reading = read(&edit(1000, "b"), None, &PLACE);
    assert_eq!(digest(&reading.facts), ["message.sent b"]);
    assert!(reading.unseen_edit && !read(&message(0, json!({})), None, &PLACE).unseen_edit);
    let detail = reading.facts[0].content.detail.as_ref().expect("detail");
    assert_eq!(detail["edited_before_capture"], json!(stamp(1000)));
    // The earlier version comes late: it is told, and the newest wants to be told again.
    let late = read(&message(0, json!({})), Some(&reading.seen), &PLACE);
    assert_eq!(digest(&late.facts), ["message.edited hello late"]);
    assert!(late.restate);
    let (again, _) = restate(&edit(1000, "b"), &late.seen, &PLACE).expect("words");
    assert_eq!(digest(&[again]), ["message.edited b"]);
    let twice = read(&message(0, json!({})), Some(&late.seen), &PLACE);
    assert!(twice.facts.is_empty() && !twice.restate);
}

#[test]
fn a_deleted_message_seen_first_is_a_deletion_unless_its_words_were_retained() {
    assert_eq!(all(&[deleted(500)]), ["message.deleted"]);
    let retained = message(500, json!({"deletedDateTime": stamp(500)}));
    assert_eq!(all(&[retained]), ["message.sent hello", "message.deleted"]);
    // Its words come late: sent, and the deletion stays the last word.
    assert_eq!(
        all(&[deleted(500), message(0, json!({}))]),
        ["message.deleted", "message.sent hello late", "message.deleted"]
    );
}

#[test]
fn reactions_are_compared_by_person_and_kind() {
    let bob = "aaaaaaaa-0000-0000-0000-000000000001";
    let eve = "aaaaaaaa-0000-0000-0000-000000000002";
    let versions = [
        message(0, json!({})),
        message(10, json!({"reactions": [like(bob, 10)]})),
        message(20, json!({"reactions": [like(bob, 10), like(eve, 20)]})),
        message(30, json!({"reactions": [like(eve, 20)]})),
    ];
    let want = ["message.sent hello", "reaction.added like", "reaction.added like", "reaction.removed like"];
    let (facts, _) = told(&versions);
    assert_eq!(digest(&facts), want);
    assert_eq!(facts[1].source_time.map(Timestamp::millis), Some(T0 + 10));
    let removed = facts[3].content.actor.as_ref().expect("who");
    assert!(removed.id.starts_with(bob));
    let repeated: Vec<Value> = versions.iter().chain(&versions).cloned().collect();
    assert_eq!(all(&repeated), want);
    // First sight: sent, then one fact per reaction.
    assert_eq!(all(&versions[2..3]), ["message.sent hello", "reaction.added like", "reaction.added like"]);
    // The deletion empties the list; nobody took anything back.
    assert_eq!(all(&[versions[1].clone(), deleted(50), message(60, json!({"reactions": [like(bob, 10)]}))]).len(), 4);
}

#[test]
fn reactions_that_came_and_went_unseen_are_told_by_the_history() {
    let bob = "aaaaaaaa-0000-0000-0000-000000000001";
    let history = json!([
        {"modifiedDateTime": stamp(10), "actions": "reactionAdded", "reaction": like(bob, 10)},
        {"modifiedDateTime": stamp(20), "actions": "reactionRemoved", "reaction": like(bob, 10)}
    ]);
    let versions = [message(0, json!({})), message(20, json!({"messageHistory": history}))];
    let (facts, _) = told(&versions);
    assert_eq!(digest(&facts), ["message.sent hello", "reaction.added like", "reaction.removed like"]);
    assert_eq!(facts[2].source_time.map(Timestamp::millis), Some(T0 + 20));
    assert_eq!(all(&[versions[1].clone(), versions[1].clone()]).len(), 3);
}

#[test]
fn custom_reactions_keep_their_name() {
    let custom = json!({"reactionType": "custom", "displayName": "party", "reactionContentUrl": "u", "createdDateTime": stamp(5), "user": {"user": {"id": ALICE}}});
    let (facts, seen) = told(&[message(5, json!({"reactions": [custom]}))]);
    assert_eq!(facts[1].content.reaction.as_deref(), Some("custom"));
    assert_eq!(facts[1].content.detail.as_ref().and_then(|d| d.get("displayName")), Some(&json!("party")));
    let gone = read(&message(9, json!({})), seen.as_ref(), &PLACE);
    assert_eq!(gone.facts[0].content.reaction.as_deref(), Some("custom"));
    assert_eq!(gone.facts[0].content.detail, Some(json!({"displayName": "party"})));
}

#[test]
fn a_policy_that_blocks_a_message_is_an_edit_with_the_verdict() {
    let blocked = json!({"policyViolation": {"dlpAction": "BlockAccess", "justificationText": null}});
    let (facts, seen) = told(&[message(0, json!({})), message(700, blocked)]);
    assert_eq!(digest(&facts), ["message.sent hello", "message.edited hello"]);
    assert_eq!(
        facts[1].content.detail.as_ref().map(|d| d["policy_violation"].clone()),
        Some(json!({"dlpAction": "BlockAccess"}))
    );
    let lifted = read(&message(800, json!({})), seen.as_ref(), &PLACE);
    assert_eq!(
        lifted.facts[0].content.detail.as_ref().map(|d| d["policy_violation_lifted"].clone()),
        Some(json!(true))
    );
}

#[test]
fn a_version_with_nothing_to_see_is_kept_as_such() {
    let (facts, _) = told(&[message(0, json!({})), message(40, json!({}))]);
    assert_eq!(digest(&facts), ["message.sent hello", "platform.event"]);
    assert_eq!(facts[1].content.detail.as_ref().map(|d| d["version"].clone()), Some(json!(T0 + 40)));
    // Importance is something to see.
    assert_eq!(all(&[message(0, json!({})), message(40, json!({"importance": "urgent"}))])[1], "message.edited hello");
}

#[test]
fn text_is_exact_and_html_is_kept_sanitised() {
    let of = |body: Value| {
        read(&message(0, json!({"body": body})), None, &PLACE).facts.remove(0).content.message.expect("words")
    };
    assert_eq!(of(json!({"contentType": "text", "content": " a\r\nb \u{200f}\r\n\r\n"})).text, " a\nb \u{200f}\n");
    assert_eq!(of(json!({"contentType": "TEXT", "content": "<b>"})).html, None);
    let html = of(json!({"contentType": "html", "content": "<p>a <emoji alt=\"😀\"></emoji></p><script>x</script>"}));
    assert_eq!((html.text.as_str(), html.html.as_deref()), ("a 😀", Some("<p>a 😀</p>")));
}

#[test]
fn pictures_are_wanted_by_identifiers_never_by_the_address_received() {
    let body =
        json!({"contentType": "html", "content": "<img src=\"https://evil.example/hostedContents/..%2Fa%3D/$value\">"});
    let mut reading = read(&message(0, json!({"body": body.clone()})), None, &PLACE);
    let path = format!("/chats/19%3A2da4%40thread.v2/messages/{T0}/hostedContents/..%2Fa%3D/$value");
    assert_eq!(reading.wants, [Want { fact: 0, attachment: 0, path }]);
    let want = reading.wants[0].clone();
    kept(&mut reading.facts[0], &want, Ok(Kept { sha256: "ab".into(), size: 3, media_type: Some("image/png".into()) }));
    kept(&mut reading.facts[0], &want, Err("404 NotFound".into()));
    let content = &reading.facts[0].content;
    let file = &content.message.as_ref().expect("words").attachments[0];
    assert_eq!(
        (file.sha256.as_deref(), file.size, file.media_type.as_deref()),
        (Some("ab"), Some(3), Some("image/png"))
    );
    assert_eq!(
        content.detail.as_ref().map(|d| d["attachments_not_kept"][0]["reason"].clone()),
        Some(json!("404 NotFound"))
    );
    let reply = message(
        0,
        json!({"chatId": null, "replyToId": "77", "body": body, "channelIdentity": {"teamId": "t", "channelId": "19:c@thread.tacv2"}}),
    );
    let reading = read(&reply, None, &PLACE);
    assert_eq!(
        reading.wants[0].path,
        format!("/teams/t/channels/19%3Ac%40thread.tacv2/messages/77/replies/{T0}/hostedContents/..%2Fa%3D/$value")
    );
    let identity = identify(&reply).expect("an identity");
    assert_eq!((identity.thread.as_deref(), identity.reply_to.as_deref()), (Some("19:c@thread.tacv2"), Some("77")));
}

#[test]
fn what_has_no_member_stands_in_detail_and_the_subject_is_a_headline() {
    let reading = read(
        &message(
            0,
            json!({"subject": "News", "webUrl": "https://t/x", "onBehalfOf": {"user": {"id": "u"}}, "odd": {"a": null, "b": 1.5}}),
        ),
        None,
        &PLACE,
    );
    let content = &reading.facts[0].content;
    assert_eq!(content.message.as_ref().map(|m| m.text.as_str()), Some("News\nhello"));
    let detail = content.detail.as_ref().expect("detail");
    assert_eq!((&detail["subject"], &detail["odd"]), (&json!("News"), &json!({"b": 1.5})));
    for absent in ["body", "from", "locale", "mentions", "id", "messageType", "attachments"] {
        assert_eq!(detail.get(absent), None, "{absent}");
    }
}

#[test]
fn our_own_application_is_named_as_sender() {
    let notice = message(0, json!({"from": {"application": {"id": "ABC", "displayName": "Recorder"}}}));
    assert_eq!(read(&notice, None, &PLACE).sender_application.as_deref(), Some("abc"));
    assert_eq!(identify(&notice).and_then(|i| i.sender_application).as_deref(), Some("abc"));
}

#[test]
fn members_of_system_messages_join_and_leave() {
    let system = |kind: &str| {
        message(
            0,
            json!({"from": null, "messageType": "unknownFutureValue", "body": {"contentType": "html", "content": "<systemEventMessage/>"},
            "eventDetail": {"@odata.type": format!("#microsoft.graph.{kind}EventMessageDetail"), "chatDisplayName": "New name",
                "initiator": {"user": {"id": ALICE}},
                "members": [{"id": "aaaaaaaa-0000-0000-0000-000000000001", "displayName": "Bob"}, {"id": "aaaaaaaa-0000-0000-0000-000000000002"}]}}),
        )
    };
    for (kind, want) in [
        ("membersAdded", Kind::ParticipantJoined),
        ("membersJoined", Kind::ParticipantJoined),
        ("membersDeleted", Kind::ParticipantLeft),
        ("MEMBERSLEFT", Kind::ParticipantLeft),
    ] {
        let facts = told(&[system(kind), system(kind)]).0;
        assert_eq!(facts.iter().map(|f| f.kind).collect::<Vec<_>>(), [want, want], "{kind}");
        let content = &facts[0].content;
        assert!(content.actor.as_ref().is_some_and(|a| a.id.starts_with(ALICE)));
        assert_eq!(content.participant.as_ref().and_then(|p| p.name.as_deref()), Some("Bob"));
        assert!(content.message.as_ref().is_some_and(|m| m.id == T0.to_string() && m.text.starts_with("Bob ")));
    }
    let renamed = told(&[system("chatRenamed")]).0;
    assert_eq!((renamed[0].kind, renamed[0].content.subject.as_deref()), (Kind::ConversationChanged, Some("New name")));
    let unknown = told(&[system("moonPhaseChanged")]).0;
    assert_eq!(digest(&unknown), ["platform.event Moon phase changed"]);
}

#[test]
fn a_message_without_any_name_is_still_kept() {
    assert_eq!(read(&json!({"body": {"content": "x"}}), None, &PLACE).facts[0].kind, Kind::PlatformEvent);
    assert_eq!(identify(&json!({"body": 1})), None);
    assert_eq!(identify(&json!({"etag": "5"})).map(|i| i.id).as_deref(), Some("5"));
}

fn history() -> Vec<Value> {
    let bob = "aaaaaaaa-0000-0000-0000-000000000001";
    vec![
        message(0, json!({})),
        message(10, json!({"reactions": [like(bob, 10)]})),
        edit(20, "second"),
        edit(30, "third"),
        deleted(40),
        edit(50, "fourth"),
    ]
}

proptest! {
    #[test]
    fn in_any_order_every_text_is_told_once_and_the_newest_state_is_known(
        order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec(0..6usize, 0..8),
    ) {
        let life = history();
        let versions: Vec<Value> = order.iter().chain(&again).map(|n| life[*n].clone()).collect();
        let (facts, seen) = told(&versions);
        let mut texts: BTreeMap<String, usize> = BTreeMap::new();
        for fact in facts.iter().filter(|f| matches!(f.kind, Kind::MessageSent | Kind::MessageEdited)) {
            *texts.entry(fact.content.message.as_ref().map(|m| m.text.clone()).unwrap_or_default()).or_default() += 1;
        }
        let once: BTreeMap<String, usize> = ["hello", "second", "third", "fourth"].map(|t| (t.to_owned(), 1)).into();
        prop_assert_eq!(texts, once);
        prop_assert_eq!(facts.iter().filter(|f| f.kind == Kind::MessageSent).count(), 1);
        prop_assert!(facts.iter().any(|f| f.kind == Kind::MessageDeleted));
        let seen = seen.expect("something");
        prop_assert_eq!((seen.version, seen.deleted), (T0 + 50, None));
    }

    #[test]
    fn hostile_messages_never_panic(parts in proptest::collection::vec((0..24usize, 0..12usize), 0..12)) {
        const KEYS: &[&str] = &["id", "etag", "body", "from", "attachments", "mentions", "reactions", "messageHistory", "eventDetail",
            "lastModifiedDateTime", "deletedDateTime", "policyViolation", "hostedContents", "channelIdentity", "chatId", "subject",
            "replyToId", "messageType", "lastEditedDateTime", "createdDateTime", "importance", "replies", "locale", "onBehalfOf"];
        let mut value = json!({});
        for (key, kind) in parts {
            value[KEYS[key]] = match kind {
                0 => json!(null), 1 => json!(-1.5e300), 2 => json!("\u{0}é"), 3 => json!([[[]]]), 4 => json!({"id": {"id": []}}),
                5 => json!([{"id": 1, "contentType": "messageReference", "content": "{\"messageSender\": 3}"}]),
                6 => json!({"content": "<img <img src='/hostedContents/é'", "contentType": "html"}),
                7 => json!("2021-03-1706:47:05.123Z"), 8 => json!([{"reaction": {"reactionType": "x"}, "actions": "reactionRemoved", "modifiedDateTime": "2021-03-17T06:47:05Z"}]),
                9 => json!({"@odata.type": "é#.EventMessageDetail", "members": [3, {"id": "x"}]}), 10 => json!(true), _ => json!("9999999999999999"),
            };
        }
        let first = read(&value, None, &PLACE);
        let _ = read(&value, Some(&first.seen), &PLACE);
        let _ = (identify(&value), restate(&value, &first.seen, &PLACE));
        let later = message(99, json!({}));
        let _ = read(&later, Some(&first.seen), &PLACE);
    }
}

#[test]
fn reading_takes_time_in_proportion_to_the_message() {
    let many = 40_000;
    let person = |n: i64| json!({"user": {"id": format!("u{n}")}});
    let reactions: Vec<Value> =
        (0..many).map(|n| json!({"reactionType": "like", "createdDateTime": stamp(n), "user": person(n)})).collect();
    let history: Vec<Value> = reactions
        .iter()
        .map(|reaction| json!({"modifiedDateTime": stamp(1), "actions": "reactionRemoved", "reaction": reaction}))
        .collect();
    let mentions: Vec<Value> = (0..many).map(|n| json!({"id": n, "mentioned": person(n)})).collect();
    let start = std::time::Instant::now();
    let first = read(&message(5, json!({"reactions": reactions.clone(), "mentions": mentions})), None, &PLACE);
    let second = read(&message(9, json!({"reactions": [], "messageHistory": history})), Some(&first.seen), &PLACE);
    let _ = read(&message(4, json!({"reactions": reactions})), Some(&second.seen), &PLACE);
    // Quadratic readers need minutes for this.
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}
