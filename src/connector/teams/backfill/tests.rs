use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

fn answer(status: u16, body: Value) -> Input {
    let body = Bytes::from(body.to_string());
    Input::Reply(Reply::Answer { status, content_type: None, body, took: Duration::ZERO })
}

fn message(id: usize, ms: i64) -> Value {
    json!({"id": format!("{id}"), "etag": format!("{ms}"), "chatId": "c", "lastModifiedDateTime": time(ms).rfc3339()})
}

fn page(messages: Vec<Value>, next: Option<&str>) -> Input {
    answer(200, json!({"value": messages, "@odata.nextLink": next}))
}

fn chat() -> Target {
    Target::Chat { thread: "19:a@thread.v2".into() }
}

fn channel() -> Target {
    Target::Channel { team: "T".into(), channel: "19:c@thread.tacv2".into() }
}

fn start(target: Target, since: Option<Timestamp>) -> (Backfill, String) {
    let mut backfill = Backfill::new(target, since, time(1_000_000), "A");
    let asked = asked(&backfill.handle(Input::Start));
    (backfill, asked)
}

fn asked(actions: &[Action]) -> String {
    match actions {
        [Action::Ask(Ask { address: Address::Graph(path) | Address::Link(path), .. })] => path.clone(),
        other => panic!("no request: {other:?}"),
    }
}

#[test]
fn a_chat_is_asked_for_as_the_service_wants_it() {
    let (_, path) = start(chat(), Some(time(5)));
    assert_eq!(
        path,
        "/chats/19%3Aa%40thread.v2/messages?$top=50&$orderby=lastModifiedDateTime%20desc\
         &$filter=lastModifiedDateTime%20gt%202023-11-14T22%3A13%3A20.005Z"
    );
    let (_, path) = start(Target::User { id: "u".into() }, Some(time(5)));
    assert!(path.contains("gt%202023-11-14T22%3A13%3A20.005Z%20and%20lastModifiedDateTime%20lt%20"), "{path}");
    assert!(path.ends_with("&model=A"), "{path}");
}

#[test]
fn one_page_is_one_request_and_its_newest_change_the_checkpoint() {
    let (mut backfill, _) = start(chat(), Some(time(5)));
    assert_eq!(backfill.handle(page(vec![message(1, 30), message(2, 20)], None)), [Action::Page]);
    let done = Done { checkpoint: Some(time(30)), pages: 1, messages: 2 };
    assert_eq!(backfill.handle(Input::Stored), [Action::Done(done)]);
    assert!(backfill.is_over());
}

#[test]
fn an_empty_page_with_a_link_goes_on() {
    let (mut backfill, _) = start(chat(), None);
    assert_eq!(asked(&backfill.handle(page(vec![], Some("https://g/2")))), "https://g/2");
    assert_eq!(backfill.handle(page(vec![message(1, 9)], None)), [Action::Page]);
    asked(&backfill.handle(Input::Stored));
}

#[test]
fn several_pages_are_read_again_until_nothing_is_new_and_the_first_page_gives_the_checkpoint() {
    let (mut backfill, _) = start(chat(), None);
    backfill.handle(page(vec![message(1, 30)], Some("https://g/2")));
    assert_eq!(asked(&backfill.handle(Input::Stored)), "https://g/2");
    backfill.handle(page(vec![message(2, 20)], None));
    let again = asked(&backfill.handle(Input::Stored));
    let (_, since) = again.rsplit_once("lastModifiedDateTime%20gt%20").expect("only what may have shifted meanwhile");
    let behind = time(30).millis() - SHIFTED.as_millis() as i64;
    assert_eq!(since, crate::connector::teams::ask::encoded(&Timestamp::from_millis(behind).rfc3339()));
    backfill.handle(page(vec![message(1, 30)], Some("https://g/2b")));
    asked(&backfill.handle(Input::Stored));
    backfill.handle(page(vec![message(2, 20)], None));
    let done = Done { checkpoint: Some(time(30)), pages: 4, messages: 2 };
    assert_eq!(backfill.handle(Input::Stored), [Action::Done(done)]);
}

#[test]
fn a_chat_that_never_rests_is_read_three_times_at_most() {
    let (mut backfill, _) = start(chat(), None);
    let mut ms = 100;
    let done = loop {
        ms += 10;
        let link = format!("https://g/{ms}");
        let next = (ms % 20 == 10).then_some(link.as_str());
        backfill.handle(page(vec![message(1, ms)], next));
        if let [Action::Done(done)] = backfill.handle(Input::Stored).as_slice() {
            break *done;
        }
    };
    assert_eq!((done.pages, done.checkpoint), (6, Some(time(150))), "the first page of the third run");
}

#[test]
fn a_filter_that_is_ignored_ends_at_the_first_page_of_old_things() {
    let (mut backfill, _) = start(chat(), Some(time(50)));
    backfill.handle(page(vec![message(1, 60), message(2, 40)], Some("https://g/2")));
    asked(&backfill.handle(Input::Stored));
    let again = backfill.handle(page(vec![message(3, 30)], Some("https://g/3")));
    assert!(asked(&again).starts_with("/chats/"), "the run is over and the second begins, page 3 is not asked for");
}

#[test]
fn an_order_that_is_ignored_is_noticed_and_everything_is_read() {
    let (mut backfill, _) = start(chat(), Some(time(50)));
    backfill.handle(page(vec![message(1, 40), message(2, 60)], Some("https://g/2")));
    asked(&backfill.handle(Input::Stored));
    assert_eq!(asked(&backfill.handle(page(vec![message(3, 30)], Some("https://g/3")))), "https://g/3");
}

#[test]
fn pages_in_a_circle_are_a_failure() {
    let (mut backfill, _) = start(chat(), None);
    backfill.handle(page(vec![message(1, 9)], Some("https://g/2")));
    backfill.handle(Input::Stored);
    let end = backfill.handle(page(vec![message(1, 9)], Some("https://g/2")));
    assert!(matches!(end.as_slice(), [Action::Failed(_)]));
}

#[test]
fn a_link_that_may_not_be_asked_breaks_off() {
    let (mut backfill, _) = start(chat(), None);
    backfill.handle(page(vec![message(1, 9)], Some("https://evil.example/2")));
    backfill.handle(Input::Stored);
    let refusal = Reply::Failed("the address is not on the Graph origin".into());
    assert!(matches!(backfill.handle(Input::Reply(refusal)).as_slice(), [Action::Failed(_)]));
}

#[test]
fn a_chat_of_another_tenant_is_refused_and_an_outage_is_a_failure() {
    for status in [402, 403, 404] {
        let (mut backfill, _) = start(chat(), None);
        let end = backfill.handle(answer(status, json!({"error": {"code": "Forbidden", "message": "private"}})));
        let trouble = format!("{status} Forbidden");
        assert_eq!(end, [Action::Refused { status, trouble }]);
    }
    for status in [401, 429, 500, 503] {
        let (mut backfill, _) = start(chat(), None);
        assert!(matches!(backfill.handle(answer(status, json!({}))).as_slice(), [Action::Failed(_)]));
    }
    let (mut backfill, _) = start(chat(), None);
    assert!(matches!(backfill.handle(answer(200, json!("<html>"))).as_slice(), [Action::Failed(_)]));
}

#[test]
fn a_cloud_without_the_order_is_read_whole() {
    let (mut backfill, _) = start(chat(), Some(time(5)));
    let plain = asked(&backfill.handle(answer(400, json!({}))));
    assert_eq!(plain, "/chats/19%3Aa%40thread.v2/messages?$top=50");
    assert!(matches!(backfill.handle(answer(400, json!({}))).as_slice(), [Action::Failed(_)]));
}

#[test]
fn a_page_token_that_ran_out_starts_the_run_anew_a_few_times() {
    let (mut backfill, first) = start(chat(), None);
    for n in 0..4 {
        backfill.handle(page(vec![message(1, 9)], Some("https://g/2")));
        backfill.handle(Input::Stored);
        let end = backfill.handle(answer(410, json!({})));
        if n < 3 {
            assert_eq!(asked(&end), first);
        } else {
            assert!(matches!(end.as_slice(), [Action::Failed(_)]));
        }
    }
}

#[test]
fn replies_of_a_channel_are_read_wherever_they_are() {
    let (mut backfill, path) = start(channel(), Some(time(50)));
    assert!(path.ends_with("/channels/19%3Ac%40thread.tacv2/messages?$top=50&$expand=replies"), "{path}");
    // The root is old, its reply new; another has more replies than fit; a third came without.
    let mut one = message(1, 10);
    one["replies"] = json!([message(11, 60)]);
    let mut two = message(2, 10);
    two["replies"] = json!([]);
    two["replies@odata.nextLink"] = json!("https://g/more");
    let three = message(3, 10);
    assert_eq!(backfill.handle(page(vec![one, two, three], None)), [Action::Page]);
    assert_eq!(asked(&backfill.handle(Input::Stored)), "https://g/more");
    let path = asked(&backfill.handle(page(vec![], None)));
    assert!(path.ends_with("/messages/3/replies?$top=50"), "{path}");
}

#[test]
fn pages_of_a_channel_that_hold_nothing_new_are_not_stored_again() {
    let (mut backfill, _) = start(channel(), Some(time(50)));
    let mut old = message(1, 10);
    old["replies"] = json!([]);
    let end = backfill.handle(page(vec![old], None));
    assert_eq!(end, [Action::Done(Done { checkpoint: None, pages: 0, messages: 0 })]);
}

/// A chat as the service keeps it: the last change of each message; pages by position, so that changes shift them.
struct Service {
    messages: BTreeMap<usize, i64>,
    clock: i64,
}

impl Service {
    fn change(&mut self, id: usize) {
        self.clock += 1;
        self.messages.insert(id, self.clock);
    }

    fn page(&self, since: i64, skip: usize, top: usize) -> (Vec<(usize, i64)>, Option<usize>) {
        let mut all: Vec<(usize, i64)> = self.messages.iter().map(|(id, ms)| (*id, *ms)).collect();
        all.retain(|(_, ms)| *ms > since);
        all.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
        let more = all.len() > skip + top;
        (all.into_iter().skip(skip).take(top).collect(), more.then_some(skip + top))
    }
}

proptest! {
    /// The recorder reads again and again while people write, edit and delete, and may die at any point; in the end every
    /// message is stored in its last version.
    #[test]
    fn whatever_happens_while_paging_the_last_version_of_everything_is_stored(
        before in 0_usize..40,
        changes in proptest::collection::vec((0_usize..60, 0_u8..10), 0..200),
    ) {
        let mut service = Service { messages: BTreeMap::new(), clock: 0 };
        (0..before).for_each(|id| service.change(id));
        let mut changes = changes.into_iter();
        let mut stored: BTreeSet<(usize, i64)> = BTreeSet::new();
        let mut checkpoint: Option<i64> = None;
        let mut rest = 3;
        while rest > 0 {
            let since = checkpoint.map(|ms| ms - 1);
            let mut backfill = Backfill::new(chat(), since.map(time), time(1 << 30), "");
            let mut actions = backfill.handle(Input::Start);
            let mut shown = Vec::new();
            let mut calm = true;
            loop {
                let input = match actions.as_slice() {
                    [Action::Ask(ask)] => {
                        let skip = match &ask.address {
                            Address::Link(link) => link.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0),
                            _ => 0,
                        };
                        let (items, next) = service.page(since.unwrap_or(-1), skip, 5);
                        let values = items.iter().map(|(id, ms)| message(*id, *ms)).collect();
                        shown = items;
                        let link = next.map(|next| format!("https://g/{next}"));
                        page(values, link.as_deref())
                    }
                    [Action::Page] => {
                        stored.extend(shown.iter().copied());
                        Input::Stored
                    }
                    [Action::Done(done)] => {
                        let new = done.checkpoint.map(|checkpoint| checkpoint.millis() - time(0).millis());
                        prop_assert!(new.is_none_or(|new| checkpoint.is_none_or(|old| new + 1 >= old)));
                        checkpoint = checkpoint.max(new);
                        break;
                    }
                    other => panic!("{other:?}"),
                };
                if let Some((id, what)) = changes.next() {
                    calm = false;
                    service.change(id);
                    if what == 0 {
                        break; // the recorder died
                    }
                }
                actions = backfill.handle(input);
            }
            if calm {
                rest -= 1;
            }
        }
        for (id, ms) in &service.messages {
            prop_assert!(stored.contains(&(*id, *ms)), "message {} changed at {} is missing", id, ms);
        }
    }

    #[test]
    fn whatever_the_service_says_nothing_panics(answers in proptest::collection::vec((any::<u16>(), ".{0,40}", any::<bool>()), 0..30)) {
        let (mut backfill, _) = start(channel(), None);
        for (status, text, stored) in answers {
            let body = json!({"value": [text, {"id": text, "replies": text, "lastModifiedDateTime": text}, null], "@odata.nextLink": text});
            backfill.handle(answer(if status % 3 == 0 { status } else { 200 }, body));
            if stored {
                backfill.handle(Input::Stored);
            }
        }
    }
}
