use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(Duration::from_secs(seconds))
}

fn planner() -> Planner {
    Planner::new(Rules {
        every: Duration::from_secs(DAY),
        window: Duration::from_secs(2 * DAY),
        overlap: Duration::from_secs(300),
        polls: vec![Duration::from_secs(120), Duration::from_secs(HOUR)],
    })
}

fn chat(n: u32) -> Target {
    Target::Chat { thread: format!("19:{n}@thread.v2") }
}

fn follow(n: u32) -> Input {
    Input::Follow { target: chat(n), since: None }
}

fn done(checkpoint: u64) -> Ended {
    Ended::Done(Done { checkpoint: Some(at(checkpoint)), pages: 1, messages: 1 })
}

fn jobs(actions: &[Action]) -> Vec<&Job> {
    actions.iter().filter_map(|action| if let Action::Begin(job) = action { Some(job) } else { None }).collect()
}

fn stored(actions: &[Action]) -> Vec<(String, Vec<u8>)> {
    let stores = actions.iter().filter_map(|action| match action {
        Action::Store { key, value } => Some((key.clone(), value.clone()?)),
        Action::Begin(_) => None,
    });
    stores.collect()
}

#[test]
fn a_new_chat_is_read_from_the_beginning_and_then_every_day_two_days_back() {
    let mut planner = planner();
    let begun = planner.handle(follow(1), at(0));
    assert_eq!(jobs(&begun), [&Job { target: chat(1), since: None, until: at(0), reason: Reason::New }]);
    planner.handle(Input::Ended(chat(1), done(10)), at(20));
    assert_eq!(planner.deadline(), Some(at(DAY)));
    let begun = planner.handle(Input::Tick, at(DAY));
    let back = Timestamp::from_millis(at(0).millis() - 1000 * i64::try_from(DAY).unwrap_or(0));
    assert_eq!(jobs(&begun), [&Job { target: chat(1), since: Some(back), until: at(DAY), reason: Reason::Reconcile }]);
}

#[test]
fn several_are_read_at_once_and_the_most_urgent_goes_first() {
    let mut planner = planner();
    planner.handle(Input::Start(vec![]), at(0));
    let most = u32::try_from(AT_ONCE).expect("a few");
    for n in 1..=most {
        assert_eq!(jobs(&planner.handle(follow(n), at(0))).len(), 1);
    }
    for n in 1..=3 {
        assert!(jobs(&planner.handle(follow(most + n), at(0))).is_empty());
    }
    planner.handle(Input::Due { resource: chat(most + 3).resource(), reason: Reason::Gap }, at(1));
    let next = planner.handle(Input::Ended(chat(1), done(0)), at(2));
    assert_eq!(jobs(&next).iter().map(|job| &job.target).collect::<Vec<_>>(), [&chat(most + 3)]);
    let next = planner.handle(Input::Ended(chat(2), done(0)), at(2));
    assert_eq!(jobs(&next).iter().map(|job| &job.target).collect::<Vec<_>>(), [&chat(most + 1)]);
}

#[test]
fn after_a_calls_end_the_chat_is_read_twice() {
    let mut planner = planner();
    planner.handle(follow(1), at(0));
    planner.handle(Input::Ended(chat(1), done(5)), at(10));
    planner.handle(Input::CallEnded(chat(1)), at(100));
    assert_eq!(planner.deadline(), Some(at(220)));
    let begun = planner.handle(Input::Tick, at(220));
    let overlapped = Timestamp::from_millis(at(5).millis() - 300_000);
    assert_eq!(jobs(&begun).first().map(|job| (job.reason, job.since)), Some((Reason::CallEnded, Some(overlapped))));
    planner.handle(Input::Ended(chat(1), done(150)), at(230));
    assert_eq!(planner.deadline(), Some(at(100 + HOUR)));
    planner.handle(Input::Tick, at(100 + HOUR));
    planner.handle(Input::Ended(chat(1), done(150)), at(100 + HOUR));
    assert_eq!(planner.deadline(), Some(at(100 + HOUR + DAY)));
}

#[test]
fn what_falls_due_while_it_is_read_is_read_again() {
    let mut planner = planner();
    planner.handle(follow(1), at(0));
    let due = Input::Due { resource: "chats/19%3A1%40thread.v2/messages".into(), reason: Reason::Gap };
    assert!(jobs(&planner.handle(due, at(1))).is_empty());
    let again = planner.handle(Input::Ended(chat(1), done(0)), at(2));
    assert_eq!(jobs(&again).first().map(|job| job.reason), Some(Reason::Gap));
}

#[test]
fn a_reading_that_breaks_off_is_tried_again_with_growing_pauses() {
    let mut planner = planner();
    planner.handle(follow(1), at(0));
    let mut now = 0;
    for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        planner.handle(Input::Ended(chat(1), Ended::Failed), at(now));
        assert_eq!(planner.deadline(), Some(at(now + pause)));
        now += pause;
        let begun = planner.handle(Input::Tick, at(now));
        assert_eq!(jobs(&begun).first().map(|job| job.since), Some(None), "the checkpoint stayed");
    }
}

#[test]
fn a_refused_chat_is_asked_for_again_a_day_later() {
    let mut planner = planner();
    planner.handle(follow(1), at(0));
    planner.handle(Input::Ended(chat(1), Ended::Refused), at(5));
    assert_eq!(planner.deadline(), Some(at(DAY)));
}

#[test]
fn a_tenant_wide_resource_stands_for_every_known_chat() {
    let mut planner = planner();
    let channel = Target::Channel { team: "t".into(), channel: "c".into() };
    for target in [chat(1), chat(2), channel.clone()] {
        planner.handle(Input::Follow { target, since: None }, at(0));
    }
    for target in [chat(1), chat(2), channel] {
        planner.handle(Input::Ended(target, done(0)), at(1));
    }
    let begun =
        planner.handle(Input::Due { resource: "/chats/getAllMessages?model=A".into(), reason: Reason::Gap }, at(2));
    assert_eq!(jobs(&begun).iter().map(|job| &job.target).collect::<Vec<_>>(), [&chat(1), &chat(2)]);
}

#[test]
fn a_restart_at_any_point_loses_no_reading() {
    let mut planner = planner();
    let mut cursor: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut note = |actions: &[Action]| {
        cursor.extend(stored(actions));
        cursor.clone().into_iter().collect::<Vec<_>>()
    };
    note(&planner.handle(follow(1), at(0)));
    note(&planner.handle(Input::Ended(chat(1), done(50)), at(60)));
    note(&planner.handle(Input::CallEnded(chat(1)), at(100)));
    let entries = note(&planner.handle(follow(2), at(110)));
    // Chat 2 was being read when the recorder died.
    let mut planner = self::planner();
    let begun = planner.handle(Input::Start(entries), at(5000));
    let since: Vec<_> = jobs(&begun).iter().map(|job| (job.target.clone(), job.since)).collect();
    let overlapped = Timestamp::from_millis(at(50).millis() - 300_000);
    assert_eq!(since, [(chat(1), Some(overlapped)), (chat(2), None)]);
    planner.handle(Input::Ended(chat(1), done(60)), at(5001));
    assert_eq!(planner.deadline(), Some(at(5000 + DAY)), "the polls that fell into the downtime are done with it");
}

#[test]
fn what_is_dropped_is_forgotten_and_an_unreadable_note_means_from_the_beginning() {
    let mut planner = planner();
    let begun = planner.handle(Input::Start(vec![("chat/x".into(), b"{".to_vec()), ("call/1".into(), vec![])]), at(0));
    assert_eq!(jobs(&begun).len(), 1);
    let x = Target::Chat { thread: "x".into() };
    let out = planner.handle(Input::Drop(x.clone()), at(0));
    assert_eq!(out, [Action::Store { key: "chat/x".into(), value: None }]);
    assert!(planner.handle(Input::Ended(x, done(1)), at(1)).is_empty());
    assert_eq!(planner.deadline(), None);
}

#[test]
fn where_the_past_matters_from_some_time_on_nothing_earlier_is_read() {
    let mut planner = planner();
    let begun = planner.handle(Input::Follow { target: chat(1), since: Some(at(0)) }, at(10));
    let overlapped = Timestamp::from_millis(at(0).millis() - 300_000);
    assert_eq!(jobs(&begun).first().map(|job| job.since), Some(Some(overlapped)));
    planner.handle(Input::Ended(chat(1), done(DAY / 2)), at(DAY / 2));
    let begun = planner.handle(Input::Tick, at(2 * DAY));
    assert_eq!(jobs(&begun).first().map(|job| job.since), Some(Some(at(0))));
}
