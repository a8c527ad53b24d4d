use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::connector::teams::ask::{Address, Method};

const CHAT: &str = "/chats/19:a@thread.v2/messages";
const ALL: &str = "/chats/getAllMessages";
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(Duration::from_secs(seconds))
}

fn certificate(id: &str) -> Certificate {
    Certificate { id: id.into(), base64: format!("DER of {id}") }
}

fn terms() -> Terms {
    Terms {
        notification_url: "https://r.example/api/notifications".into(),
        lifecycle_url: "https://r.example/api/lifecycle".into(),
        model: "A".into(),
        crowded: 5_000,
        life: Duration::from_secs(3 * DAY),
        certificate: Some(certificate("one")),
        seed: [7; 32],
    }
}

fn answer(status: u16, body: Value) -> Reply {
    let body = Bytes::from(body.to_string());
    Reply::Answer { status, content_type: None, body, took: Duration::ZERO }
}

/// A keeper, its clock and its notes.
struct Rig {
    keeper: Keeper,
    now: u64,
    cursor: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Rig {
    fn new(terms: Terms) -> Rig {
        Rig { keeper: Keeper::new(terms, 1), now: 0, cursor: Default::default() }
    }

    fn put(&mut self, input: Input) -> Vec<Action> {
        let actions = self.keeper.handle(input, at(self.now));
        for action in &actions {
            if let Action::Store { key, value } = action {
                match value {
                    Some(value) => drop(self.cursor.insert(key.clone(), value.clone())),
                    None => drop(self.cursor.remove(key)),
                }
            }
        }
        actions
    }

    fn start(&mut self, scopes: &[&str], last_seen: Option<Timestamp>) -> Vec<Action> {
        let entries = self.cursor.clone().into_iter().collect();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.put(Input::Start { entries, scopes, last_seen })
    }

    /// The same archive, another process.
    fn restarted(self, terms: Terms, after: u64) -> Rig {
        Rig { keeper: Keeper::new(terms, 2), now: self.now + after, cursor: self.cursor }
    }

    fn reply(&mut self, asked: &[Action], method: Method, status: u16, body: Value) -> Vec<Action> {
        let (token, _) = ask(asked, method);
        self.put(Input::Reply(token, answer(status, body)))
    }

    fn tick(&mut self, now: u64) -> Vec<Action> {
        self.now = now;
        self.put(Input::Tick)
    }

    /// With one subscription `s1` on this resource that was made at 0.
    fn with(resource: &str) -> Rig {
        let mut rig = Rig::new(terms());
        let list = rig.start(&[resource], None);
        let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
        rig.reply(&create, Method::Post, 201, granted("s1", 3 * DAY));
        rig
    }

    /// Seconds until the next tick.
    fn next(&self) -> u64 {
        self.keeper.deadline().map_or(u64::MAX, |deadline| deadline.since(at(0)).as_millis().div_ceil(1000) as u64)
    }
}

fn granted(id: &str, expires: u64) -> Value {
    json!({"id": id, "expirationDateTime": at(expires).rfc3339()})
}

fn listed(id: &str, resource: &str, expires: u64) -> Value {
    let terms = terms();
    json!({
        "id": id, "resource": resource, "expirationDateTime": at(expires).rfc3339(),
        "notificationUrl": terms.notification_url, "lifecycleNotificationUrl": terms.lifecycle_url,
    })
}

fn asks(actions: &[Action], method: Method) -> Vec<(Token, Ask)> {
    let asks = actions.iter().filter_map(|action| match action {
        Action::Ask(token, ask) if ask.method == method => Some((*token, ask.clone())),
        _ => None,
    });
    asks.collect()
}

fn ask(actions: &[Action], method: Method) -> (Token, Ask) {
    match asks(actions, method).as_slice() {
        [one] => one.clone(),
        _ => panic!("not one {method:?}: {actions:?}"),
    }
}

fn lapses(actions: &[Action]) -> Vec<(u64, u64)> {
    let spans = actions.iter().filter_map(|action| match action {
        Action::Lapsed { from, to, .. } => Some((from.since(at(0)).as_secs(), to.since(at(0)).as_secs())),
        _ => None,
    });
    spans.collect()
}

fn backfills(actions: &[Action]) -> Vec<Cause> {
    actions.iter().filter_map(|a| if let Action::Backfill { cause, .. } = a { Some(*cause) } else { None }).collect()
}

/// What is put on record, in short.
fn told(actions: &[Action]) -> Vec<String> {
    let said = actions.iter().filter_map(|action| match action {
        Action::Told { subscription, what, trouble, .. } => {
            let why = trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
            Some(format!("{what} {}{why}", subscription.as_deref().unwrap_or("-")))
        }
        _ => None,
    });
    said.collect()
}

fn alarms(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Alarm { .. })).count()
}

fn lifecycle(event: &str) -> Input {
    Input::Lifecycle { subscription: "s1".into(), event: event.into(), expires: None }
}

#[test]
fn a_subscription_is_asked_for_after_the_list_with_everything_it_needs() {
    let mut rig = Rig::new(terms());
    let first = rig.start(&[ALL], None);
    assert!(asks(&first, Method::Post).is_empty(), "first what there is");
    let create = rig.reply(&first, Method::Get, 200, json!({"value": []}));
    let body = ask(&create, Method::Post).1.body.expect("a body");
    assert_eq!(
        body,
        json!({
            "changeType": "created,updated,deleted",
            "notificationUrl": "https://r.example/api/notifications",
            "lifecycleNotificationUrl": "https://r.example/api/lifecycle",
            "resource": "/chats/getAllMessages?model=A",
            "includeResourceData": true,
            "encryptionCertificate": "DER of one",
            "encryptionCertificateId": "one",
            "expirationDateTime": at(3 * DAY).rfc3339(),
            "clientState": client_state(&[7; 32], ALL),
            "latestSupportedTlsVersion": "v1_2",
        })
    );
    let ready = rig.reply(&create, Method::Post, 201, granted("s1", 3 * DAY));
    assert!(ready.contains(&Action::Ready { resource: ALL.into() }));
    assert_eq!((backfills(&ready), lapses(&ready)), (vec![Cause::New], vec![]));
    assert_eq!(told(&ready), ["created s1"]);
}

#[test]
fn without_a_certificate_ids_only_are_asked_for() {
    let mut rig = Rig::new(Terms { certificate: None, model: String::new(), ..terms() });
    let list = rig.start(&[ALL], None);
    let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
    let body = ask(&create, Method::Post).1.body.expect("a body");
    assert_eq!(body["resource"], ALL);
    assert!(body.get("includeResourceData").is_none() && body.get("encryptionCertificate").is_none());
}

#[test]
fn it_is_renewed_at_half_of_the_life_that_was_granted_not_of_the_one_asked_for() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[CHAT], None);
    let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
    rig.reply(&create, Method::Post, 201, granted("s1", 1000));
    let due = rig.next();
    assert!((450..=500).contains(&due), "{due}");
    let renew = rig.tick(due);
    let (_, patch) = ask(&renew, Method::Patch);
    assert_eq!(patch.address, Address::Graph("/subscriptions/s1".into()));
    assert_eq!(patch.body, Some(json!({"expirationDateTime": at(due + 3 * DAY).rfc3339()})));
    let done = rig.reply(&renew, Method::Patch, 200, granted("s1", due + 1000));
    assert_eq!((lapses(&done), backfills(&done)), (vec![], vec![]));
    assert_eq!(told(&done), ["renewed s1"]);
    assert!(rig.next() > due + 400);
}

#[test]
fn one_that_is_gone_at_its_renewal_is_made_anew_and_the_span_is_said() {
    let mut rig = Rig::with(CHAT);
    let due = rig.next();
    let renew = rig.tick(due);
    let anew = rig.reply(&renew, Method::Patch, 404, json!({}));
    rig.now = due + 5;
    let done = rig.reply(&anew, Method::Post, 201, granted("s2", due + 3 * DAY));
    assert_eq!((lapses(&done), backfills(&done)), (vec![(0, due + 5)], vec![Cause::Lapsed]));
    assert_eq!(rig.keeper.recognise("s2", &client_state(&[7; 32], CHAT)), Some(CHAT));
}

#[test]
fn a_renewal_that_fails_is_tried_until_the_end_and_then_the_span_begins_at_the_end() {
    let mut rig = Rig::with(CHAT);
    let mut tries = 0;
    let mut last = Vec::new();
    while rig.now < 3 * DAY {
        last = rig.tick(rig.next());
        if !asks(&last, Method::Patch).is_empty() {
            tries += 1;
            let out = rig.reply(&last, Method::Patch, 403, json!({}));
            assert_eq!((alarms(&out), lapses(&out)), (1, vec![]), "still covered");
        }
    }
    assert!(tries > 100, "{tries}");
    rig.now += 60;
    let done = rig.reply(&last, Method::Post, 201, granted("s2", 6 * DAY));
    let spans = lapses(&done);
    assert_eq!(spans, [(3 * DAY, rig.now)]);
    assert!(done.contains(&Action::Clear { key: format!("subscription {CHAT}") }));
}

#[test]
fn lifecycle_events_do_what_they_ask_for() {
    let mut rig = Rig::with(CHAT);
    rig.now = 100;
    let required = rig.put(lifecycle("ReauthorizationRequired"));
    assert_eq!(told(&required), ["ReauthorizationRequired s1"]);
    ask(&required, Method::Patch);

    let mut rig = Rig::with(CHAT);
    rig.now = 100;
    rig.put(Input::Delivered { subscription: "s1".into(), count: 1 });
    rig.now = 160;
    let removed = rig.put(lifecycle("subscriptionRemoved"));
    assert_eq!(told(&removed), ["subscriptionRemoved s1", "lost s1 (the service removed the subscription)"]);
    let done = rig.reply(&removed, Method::Post, 201, granted("s2", DAY));
    assert_eq!(told(&done), ["made anew s2"]);
    assert_eq!((lapses(&done), backfills(&done)), (vec![(100, 160)], vec![Cause::Lapsed]));

    let mut rig = Rig::with(CHAT);
    rig.now = 100;
    let missed = rig.put(lifecycle("missed"));
    assert_eq!((lapses(&missed), backfills(&missed)), (vec![(0, 100)], vec![Cause::Missed]));
    let unknown = rig.put(lifecycle("somethingNew"));
    assert_eq!(told(&unknown), ["somethingNew s1"]);
    assert!(matches!(unknown.as_slice(), [Action::Told { .. }, Action::Warn(_)]));
    let foreign = Input::Lifecycle { subscription: "x".into(), event: "subscriptionRemoved".into(), expires: None };
    assert!(matches!(rig.put(foreign).as_slice(), [Action::Warn(_)]));
}

#[test]
fn a_service_that_takes_back_what_it_gave_is_not_asked_in_a_circle() {
    let mut rig = Rig::with(CHAT);
    let removed = rig.put(lifecycle("subscriptionRemoved"));
    assert_eq!(asks(&removed, Method::Post).len(), 1, "the first time at once");
    rig.reply(&removed, Method::Post, 201, granted("s2", 9 * DAY));
    let again =
        rig.put(Input::Lifecycle { subscription: "s2".into(), event: "subscriptionRemoved".into(), expires: None });
    assert!(asks(&again, Method::Post).is_empty());
    assert_eq!(rig.next(), 30);
}

#[test]
fn a_refused_chat_is_a_gap_at_once_then_daily_and_is_tried_hourly() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[], None);
    rig.reply(&list, Method::Get, 200, json!({"value": []}));
    rig.now = 10;
    let mut create = rig.put(Input::Want(CHAT.into(), Why::Call));
    rig.now = 12;
    let refused = rig.reply(&create, Method::Post, 403, json!({"error": {"code": "Forbidden"}}));
    assert_eq!((lapses(&refused), backfills(&refused), alarms(&refused)), (vec![(10, 12)], vec![Cause::Refused], 1));
    assert_eq!(told(&refused), ["refused - (403 Forbidden)"]);
    let mut spans = Vec::new();
    for hour in 1..=24 {
        create = rig.tick(rig.next());
        spans.extend(lapses(&create));
        assert_eq!(rig.now, 12 + hour * HOUR);
        spans.extend(lapses(&rig.reply(&create, Method::Post, 403, json!({}))));
    }
    assert_eq!(spans, [(12, 12 + DAY)]);
    create = rig.tick(rig.next());
    let done = rig.reply(&create, Method::Post, 201, granted("s1", 9 * DAY));
    assert_eq!(lapses(&done), [(12 + DAY, 12 + DAY + HOUR)], "no second is missing, none is said twice");
}

#[test]
fn an_outage_while_subscribing_is_said_when_it_is_over() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[CHAT], None);
    let mut create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
    for _ in 0..5 {
        let failed = rig.reply(&create, Method::Post, 503, json!({}));
        assert_eq!(lapses(&failed), []);
        create = rig.tick(rig.next());
    }
    let done = rig.reply(&create, Method::Post, 201, granted("s1", DAY));
    assert_eq!(lapses(&done), [(0, rig.now)]);
}

#[test]
fn after_a_restart_ours_is_adopted_strays_go_and_foreign_ones_stay() {
    let mut rig = Rig::with(CHAT).restarted(terms(), 60);
    let list = rig.start(&[CHAT], Some(at(30)));
    let mut foreign = listed("f", CHAT, DAY);
    foreign["notificationUrl"] = json!("https://other.example/");
    let page = json!({"value": [foreign], "@odata.nextLink": "https://g/2"});
    let more = rig.reply(&list, Method::Get, 200, page);
    assert_eq!(ask(&more, Method::Get).1.address, Address::Link("https://g/2".into()));
    let page = json!({"value": [listed("s1", "chats/19:a@thread.v2/messages", 3 * DAY), listed("stray", ALL, DAY)]});
    let out = rig.reply(&more, Method::Get, 200, page);
    assert_eq!(ask(&out, Method::Delete).1.address, Address::Graph("/subscriptions/stray".into()));
    assert!(asks(&out, Method::Post).is_empty());
    assert!(out.contains(&Action::Ready { resource: CHAT.into() }));
    assert_eq!((lapses(&out), backfills(&out)), (vec![], vec![]));
}

#[test]
fn one_that_vanished_while_we_were_away_is_made_anew() {
    let mut rig = Rig::with(CHAT).restarted(terms(), 60);
    let list = rig.start(&[CHAT], Some(at(30)));
    let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
    let done = rig.reply(&create, Method::Post, 201, granted("s2", DAY));
    assert_eq!((lapses(&done), backfills(&done)), (vec![(0, 60)], vec![Cause::Lapsed]));
}

#[test]
fn a_downtime_beyond_four_hours_or_beyond_the_expiry_is_a_gap() {
    let mut rig = Rig::with(CHAT).restarted(terms(), 5 * HOUR);
    let out = rig.start(&[CHAT], Some(at(100)));
    assert_eq!((lapses(&out), backfills(&out)), (vec![(100, 5 * HOUR)], vec![Cause::Away]));

    let mut rig = Rig::with(CHAT).restarted(terms(), 4 * DAY);
    let list = rig.start(&[CHAT], Some(at(100)));
    assert_eq!(lapses(&list), []);
    let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
    let done = rig.reply(&create, Method::Post, 201, granted("s2", 7 * DAY));
    let (from, to) = lapses(&done)[0];
    assert!(from <= 3 * DAY && to == 4 * DAY, "{from} {to}");
}

#[test]
fn a_scope_that_is_no_longer_configured_is_given_up_and_the_chat_of_a_call_is_kept() {
    let mut rig = Rig::with(ALL);
    let create = rig.put(Input::Want(CHAT.into(), Why::Call));
    rig.reply(&create, Method::Post, 201, granted("s2", 3 * DAY));
    let mut rig = rig.restarted(terms(), 60);
    let out = rig.start(&[], Some(at(30)));
    assert_eq!(ask(&out, Method::Delete).1.address, Address::Graph("/subscriptions/s1".into()));
    assert_eq!(rig.keeper.resources().collect::<Vec<_>>(), [(CHAT, true)]);
}

#[test]
fn other_settings_make_it_anew_because_they_cannot_be_changed() {
    let others = [
        Terms { model: "B".into(), ..terms() },
        Terms { seed: [8; 32], ..terms() },
        Terms { certificate: None, ..terms() },
        Terms { lifecycle_url: "https://r.example/else".into(), ..terms() },
    ];
    for terms in others {
        let mut rig = Rig::with(ALL).restarted(terms, 60);
        let list = rig.start(&[ALL], Some(at(30)));
        let delete = rig.reply(&list, Method::Get, 200, json!({"value": [listed("s1", ALL, 3 * DAY)]}));
        assert_eq!(ask(&delete, Method::Delete).1.address, Address::Graph("/subscriptions/s1".into()));
        let create = rig.reply(&delete, Method::Delete, 204, json!({}));
        let done = rig.reply(&create, Method::Post, 201, granted("s2", DAY));
        assert_eq!(lapses(&done), [(30, 60)]);
    }
}

#[test]
fn a_new_key_reaches_every_subscription_and_where_it_is_not_taken_it_is_made_anew() {
    let mut rig = Rig::with(CHAT);
    rig.now = 10;
    let patch = rig.put(Input::NewKey(certificate("two")));
    let body = ask(&patch, Method::Patch).1.body.expect("a body");
    assert_eq!(
        (&body["encryptionCertificateId"], &body["encryptionCertificate"]),
        (&json!("two"), &json!("DER of two"))
    );
    let mut other = Rig { keeper: Keeper::new(terms(), 3), now: 10, cursor: rig.cursor.clone() };
    let done = rig.reply(&patch, Method::Patch, 200, granted("s1", 3 * DAY));
    assert_eq!(asks(&done, Method::Patch).len(), 0, "once is enough");

    let list = other.start(&[CHAT], Some(at(9)));
    other.reply(&list, Method::Get, 200, json!({"value": [listed("s1", CHAT, 3 * DAY)]}));
    let patch = other.put(Input::NewKey(certificate("two")));
    let delete = other.reply(&patch, Method::Patch, 400, json!({}));
    let create = other.reply(&delete, Method::Delete, 204, json!({}));
    assert_eq!(ask(&create, Method::Post).1.body.expect("a body")["encryptionCertificateId"], "two");
}

#[test]
fn a_key_that_changed_while_we_were_away_is_sent_when_the_subscription_is_adopted() {
    let mut rig = Rig::with(CHAT).restarted(Terms { certificate: Some(certificate("two")), ..terms() }, 60);
    let list = rig.start(&[CHAT], Some(at(30)));
    let out = rig.reply(&list, Method::Get, 200, json!({"value": [listed("s1", CHAT, 3 * DAY)]}));
    assert_eq!(ask(&out, Method::Patch).1.body.expect("a body")["encryptionCertificateId"], "two");
}

#[test]
fn one_that_is_in_the_way_is_looked_for_and_deleted_or_complained_about() {
    let conflicted = |item: Value| {
        let mut rig = Rig::new(terms());
        let list = rig.start(&[CHAT], None);
        let create = rig.reply(&list, Method::Get, 200, json!({"value": []}));
        let list = rig.reply(&create, Method::Post, 409, json!({}));
        let out = rig.reply(&list, Method::Get, 200, json!({"value": [item]}));
        (rig, out)
    };
    let (mut rig, delete) = conflicted(listed("old", CHAT, DAY));
    let create = rig.reply(&delete, Method::Delete, 204, json!({}));
    rig.reply(&create, Method::Post, 201, granted("s1", DAY));

    let mut ours = listed("lost", CHAT, DAY);
    ours["clientState"] = json!(client_state(&[7; 32], CHAT));
    ours["encryptionCertificateId"] = json!("one");
    let (rig, adopted) = conflicted(ours);
    assert!(adopted.contains(&Action::Ready { resource: CHAT.into() }), "its answer had been lost");
    assert_eq!(told(&adopted), ["adopted lost"]);
    assert!(rig.keeper.resources().all(|(_, held)| held));

    let mut foreign = listed("f", CHAT, DAY);
    foreign["notificationUrl"] = json!("https://other.example/");
    let (_, out) = conflicted(foreign);
    assert_eq!((alarms(&out), asks(&out, Method::Delete).len()), (1, 0));
}

#[test]
fn a_list_that_cannot_be_read_holds_nothing_up() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[CHAT], None);
    let out = rig.reply(&list, Method::Get, 503, json!({}));
    ask(&out, Method::Post);
}

#[test]
fn a_notification_that_comes_before_the_id_is_recognised_by_its_state_alone() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[CHAT, ALL], None);
    rig.reply(&list, Method::Get, 200, json!({"value": []}));
    let state = client_state(&[7; 32], CHAT);
    assert_eq!(rig.keeper.recognise("not known yet", &state), Some(CHAT));
    for wrong in ["", "x", &state[1..], &client_state(&[8; 32], CHAT), &client_state(&[7; 32], "/else")] {
        assert_eq!(rig.keeper.recognise("not known yet", wrong), None);
    }
    let rig = Rig::with(ALL);
    assert_eq!(rig.keeper.recognise("s1", &state), None, "the state of another resource");
    assert!(state.len() <= 128);
}

#[test]
fn silence_of_one_that_used_to_speak_is_an_alarm_and_a_reading() {
    let mut rig = Rig::with(ALL);
    for n in 0..30 {
        rig.now = n * 60;
        rig.put(Input::Delivered { subscription: "s1".into(), count: 1 });
    }
    let said = rig.now + 6 * HOUR;
    assert_eq!(rig.next(), said);
    let out = rig.tick(said);
    assert_eq!((alarms(&out), backfills(&out)), (1, vec![Cause::Silence]));
    assert_eq!(told(&out), ["silent s1 (nothing was notified for unusually long)"]);
    let out = rig.put(Input::Delivered { subscription: "s1".into(), count: 1 });
    assert_eq!(out, [Action::Clear { key: format!("silence {ALL}") }]);
}

#[test]
fn quiet_chats_of_calls_rest_when_there_are_many_and_wake_when_something_happens() {
    const OTHER: &str = "/chats/19:other@thread.v2/messages";
    let mut rig = Rig::new(Terms { crowded: 1, ..terms() });
    let list = rig.start(&[], None);
    rig.reply(&list, Method::Get, 200, json!({"value": []}));
    for (chat, id) in [(CHAT, "s1"), (OTHER, "s2")] {
        let create = rig.put(Input::Want(chat.into(), Why::Call));
        rig.reply(&create, Method::Post, 201, granted(id, 70 * DAY));
    }
    rig.now = 20 * DAY;
    rig.put(Input::Delivered { subscription: "s2".into(), count: 1 });
    let out = rig.tick(36 * DAY);
    assert_eq!(told(&out), ["resting s1"], "and the other, of which something was heard, is renewed");
    assert_eq!(ask(&out, Method::Delete).1.address, Address::Graph("/subscriptions/s1".into()));
    assert_eq!(ask(&out, Method::Patch).1.address, Address::Graph("/subscriptions/s2".into()));
    assert!(lapses(&out).is_empty());
    // It rests over a restart too, until a call or something new in it wakes it.
    for wake in [Input::Want(CHAT.into(), Why::Call), Input::Active(CHAT.into())] {
        let mut rig = Rig { keeper: Keeper::new(terms(), 2), now: rig.now, cursor: rig.cursor.clone() };
        let list = rig.start(&[], None);
        let out = rig.reply(&list, Method::Get, 200, json!({"value": [listed("s2", OTHER, 70 * DAY)]}));
        assert!(asks(&out, Method::Post).is_empty());
        let create = rig.put(wake);
        let done = rig.reply(&create, Method::Post, 201, granted("s3", 70 * DAY));
        assert_eq!((told(&done), backfills(&done)), (vec!["made anew s3".to_owned()], vec![Cause::Lapsed]));
    }
}

#[test]
fn few_chats_never_rest() {
    let mut rig = Rig::new(terms());
    let list = rig.start(&[], None);
    rig.reply(&list, Method::Get, 200, json!({"value": []}));
    let create = rig.put(Input::Want(CHAT.into(), Why::Call));
    rig.reply(&create, Method::Post, 201, granted("s1", 70 * DAY));
    ask(&rig.tick(36 * DAY), Method::Patch);
}

#[test]
fn what_nobody_wants_is_deleted_and_what_somebody_wants_is_kept() {
    let mut rig = Rig::with(CHAT);
    rig.put(Input::Want(CHAT.into(), Why::Call));
    assert!(asks(&rig.put(Input::Unwant(CHAT.into(), Why::Call)), Method::Delete).is_empty());
    let given_up = rig.put(Input::Unwant(CHAT.into(), Why::Scope));
    assert_eq!(told(&given_up), ["given up s1"]);
    ask(&given_up, Method::Delete);
    assert!(rig.cursor.is_empty());
    assert_eq!(rig.keeper.deadline(), None);
    // Given up while it was being made: what comes is deleted.
    let create = rig.put(Input::Want(CHAT.into(), Why::Call));
    rig.put(Input::Unwant(CHAT.into(), Why::Call));
    let late = rig.reply(&create, Method::Post, 201, granted("s9", DAY));
    assert_eq!(ask(&late, Method::Delete).1.address, Address::Graph("/subscriptions/s9".into()));
}

#[test]
fn going_down_leaves_the_subscriptions_where_they_are() {
    let mut rig = Rig::with(CHAT);
    let out = rig.put(Input::Stop);
    assert!(out.iter().all(|action| matches!(action, Action::Store { .. })));
    assert_eq!(rig.keeper.deadline(), None);
}

proptest! {
    /// Whatever comes: no panic, no flood of requests, no span that runs backwards, and nothing wanted is dropped.
    #[test]
    fn whatever_the_service_does_what_is_wanted_stays_wanted(
        steps in proptest::collection::vec((0_u8..9, 0_u16..8, 1_u64..200_000), 1..80),
    ) {
        let mut rig = Rig::new(terms());
        let mut open: Vec<Token> = Vec::new();
        let mut actions = rig.start(&[CHAT, ALL], None);
        let mut ids = 0_u32;
        for (what, how, pause) in steps {
            open.extend(actions.iter().filter_map(|a| if let Action::Ask(token, _) = a { Some(*token) } else { None }));
            prop_assert!(actions.iter().filter(|a| matches!(a, Action::Ask(..))).count() < 10);
            let subscription = format!("s{}", ids.saturating_sub(u32::from(how)));
            actions = match what {
                0..=3 if !open.is_empty() => {
                    let token = open.remove(usize::from(how) % open.len());
                    ids += 1;
                    let status = [200, 201, 404, 403, 503, 409, 400, 0][usize::from(how)];
                    let mut body = granted(&format!("s{ids}"), rig.now + pause);
                    body["value"] = json!([listed(&subscription, CHAT, rig.now + pause)]);
                    rig.put(Input::Reply(token, if status == 0 { Reply::Failed("x".into()) } else { answer(status, body) }))
                }
                4 => {
                    let event = ["missed", "subscriptionRemoved", "reauthorizationRequired", "?"][usize::from(how % 4)];
                    rig.put(Input::Lifecycle { subscription, event: event.into(), expires: Some(at(pause)) })
                }
                5 => rig.put(Input::Delivered { subscription, count: u64::from(how) }),
                6 => rig.put(Input::NewKey(certificate(&format!("k{how}")))),
                7 if how == 0 => {
                    open.clear();
                    let now = rig.now;
                    rig = rig.restarted(terms(), pause);
                    rig.start(&[CHAT, ALL], Some(at(now)))
                }
                _ => {
                    let next = rig.next().min(rig.now + pause).max(rig.now);
                    rig.tick(next)
                }
            };
            for (from, to) in lapses(&actions) {
                prop_assert!(from <= to);
            }
            prop_assert_eq!(rig.keeper.resources().count(), 2);
        }
    }

    #[test]
    fn notes_of_any_kind_are_read_or_dropped(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut rig = Rig::new(terms());
        rig.cursor.insert(format!("{PREFIX}/x"), bytes);
        rig.start(&[CHAT], Some(at(5)));
    }
}
