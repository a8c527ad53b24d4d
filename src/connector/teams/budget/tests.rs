use proptest::prelude::*;

use super::*;
use crate::connector::teams::ask::Method;

const NOW: Timestamp = Timestamp(1_000_000_000_000_000);

fn ask(priority: Priority, class: Class, thread: Option<&str>) -> Ask {
    let ask = Ask::graph(Method::Get, "/x", class, priority);
    Ask { thread: thread.map(str::to_owned), ..ask }
}

fn at(ms: u64) -> Timestamp {
    NOW.plus(Duration::from_millis(ms))
}

/// Lets everything go, each request lasting `lasts`; gives when each went, in order.
fn run(budget: &mut Budget, lasts: Duration) -> Vec<(u64, Timestamp)> {
    let mut now = NOW;
    let mut went = Vec::new();
    let mut ends: VecDeque<(Timestamp, u64)> = VecDeque::new();
    loop {
        match budget.next(now) {
            Next::Go(id) => {
                went.push((id, now));
                ends.push_back((now.plus(lasts), id));
            }
            Next::Idle if ends.is_empty() => return went,
            other => {
                let until = if let Next::Wait(until) = other { Some(until) } else { None };
                assert!(until.is_none_or(|until| until > now), "waits for what is past");
                match ends.front() {
                    Some((end, _)) if until.is_none_or(|until| *end <= until) => {
                        let (end, id) = ends.pop_front().expect("looked at");
                        now = now.max(end);
                        budget.finished(id, Outcome::Done, now);
                    }
                    _ => now = until.expect("no end, so a time"),
                }
            }
        }
    }
}

#[test]
fn answering_a_call_waits_for_nothing() {
    let mut budget = Budget::new();
    for id in 0..100 {
        budget.ask(id, &ask(Priority::Live, Class::Other, Some("t")));
    }
    while let Next::Go(_) = budget.next(NOW) {}
    budget.ask(500, &ask(Priority::Deadline, Class::Other, Some("t")));
    budget.ask(501, &ask(Priority::Deadline, Class::Calls, None));
    assert_eq!(budget.next(NOW), Next::Go(500));
    budget.finished(500, Outcome::Again { at: NOW, throttled: true }, NOW);
    assert_eq!(budget.next(NOW), Next::Go(500), "closed budgets do not hold it either");
    assert_eq!(budget.next(NOW), Next::Go(501));
}

#[test]
fn the_present_goes_before_upkeep_and_upkeep_before_the_past() {
    let mut budget = Budget::new();
    budget.ask(1, &ask(Priority::Backfill, Class::ChatMessages, None));
    budget.ask(2, &ask(Priority::Upkeep, Class::Other, None));
    budget.ask(3, &ask(Priority::Live, Class::Other, None));
    budget.ask(4, &ask(Priority::Live, Class::Other, None));
    let order: Vec<u64> = run(&mut budget, Duration::from_millis(10)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, [3, 4, 2, 1]);
}

#[test]
fn the_past_is_passed_over_a_few_times_only() {
    let mut budget = Budget::new();
    budget.ask(1000, &ask(Priority::Backfill, Class::ChatMessages, None));
    let mut went = Vec::new();
    for id in 0..100 {
        budget.ask(id, &ask(Priority::Live, Class::Calls, None));
        if let Next::Go(id) = budget.next(at(id)) {
            went.push(id);
            budget.finished(id, Outcome::Done, at(id));
        }
    }
    assert_eq!(went.iter().position(|id| *id == 1000), Some(8));
}

#[test]
fn slow_reading_of_the_past_leaves_places_for_the_present() {
    let mut budget = Budget::new();
    for id in 0..20 {
        budget.ask(id, &ask(Priority::Backfill, Class::Export, None));
    }
    while let Next::Go(_) = budget.next(NOW) {}
    assert_eq!(budget.running(), IN_FLIGHT - 2);
    budget.ask(100, &ask(Priority::Live, Class::Other, None));
    assert_eq!(budget.next(NOW), Next::Go(100));
}

#[test]
fn a_throttled_thread_waits_alone_and_two_close_the_class() {
    let mut budget = Budget::new();
    for (id, thread) in [(1, "a"), (2, "b"), (3, "c")] {
        budget.ask(id, &ask(Priority::Live, Class::ChatMessages, Some(thread)));
    }
    assert_eq!(budget.next(NOW), Next::Go(1));
    budget.finished(1, Outcome::Again { at: at(5000), throttled: true }, NOW);
    assert_eq!(budget.next(NOW), Next::Go(2));
    budget.finished(2, Outcome::Again { at: at(3000), throttled: true }, NOW);
    assert_eq!(budget.next(NOW), Next::Wait(at(3000)));
    assert_eq!(budget.next(at(3000)), Next::Go(2), "what was sent before keeps its place");
    assert_eq!(budget.next(at(3000)), Next::Go(3));
    assert_eq!(budget.next(at(3000)), Next::Wait(at(5000)));
    assert_eq!(budget.next(at(5000)), Next::Go(1));
}

#[test]
fn a_broken_connection_holds_up_nobody_else() {
    let mut budget = Budget::new();
    budget.ask(1, &ask(Priority::Upkeep, Class::Other, None));
    budget.ask(2, &ask(Priority::Upkeep, Class::Other, None));
    assert_eq!(budget.next(NOW), Next::Go(1));
    budget.finished(1, Outcome::Again { at: at(60_000), throttled: false }, NOW);
    assert_eq!(budget.next(NOW), Next::Go(2));
}

#[test]
fn a_clock_set_back_by_a_day_closes_nothing_for_a_day() {
    let mut budget = Budget::new();
    for id in 0..6 {
        budget.ask(id, &ask(Priority::Live, Class::ChatMessages, Some("t")));
    }
    while let Next::Go(id) = budget.next(at(86_400_000)) {
        budget.finished(id, Outcome::Done, at(86_400_000));
    }
    assert_eq!(budget.next(NOW), Next::Wait(NOW.plus(SECOND)));
    assert!(matches!(budget.next(NOW.plus(SECOND)), Next::Go(_)));
}

#[test]
fn what_is_forgotten_neither_goes_nor_holds_a_place() {
    let mut budget = Budget::new();
    budget.ask(1, &ask(Priority::Live, Class::Other, None));
    budget.forget(1);
    assert_eq!((budget.next(NOW), budget.waiting()), (Next::Idle, 0));
}

#[test]
fn the_classes_together_stay_below_the_limit_of_the_whole() {
    let all = [Class::ChatMessages, Class::ChannelMessages, Class::Export, Class::Post, Class::Other];
    assert!(all.into_iter().filter_map(per_second).sum::<usize>() < 13_000);
}

fn asks() -> impl Strategy<Value = Vec<(u8, u8, Option<u8>)>> {
    proptest::collection::vec((0_u8..4, 0_u8..6, proptest::option::of(0_u8..4)), 1..120)
}

fn priority(n: u8) -> Priority {
    [Priority::Deadline, Priority::Live, Priority::Upkeep, Priority::Backfill][usize::from(n)]
}

fn class(n: u8) -> Class {
    let all = [Class::Calls, Class::ChatMessages, Class::ChannelMessages, Class::Export, Class::Post, Class::Other];
    all[usize::from(n)]
}

proptest! {
    #[test]
    fn no_second_ever_holds_more_than_the_budget_and_everything_goes(asks in asks(), lasts in 0_u64..500) {
        let mut budget = Budget::new();
        let mut all = Vec::new();
        for (id, (p, c, t)) in asks.iter().enumerate() {
            let thread = t.map(|t| format!("thread {t}"));
            let ask = ask(priority(*p), class(*c), thread.as_deref());
            budget.ask(id as u64, &ask);
            all.push(ask);
        }
        let went = run(&mut budget, Duration::from_millis(lasts));
        prop_assert_eq!(went.len(), all.len(), "everything goes once");
        let limited: Vec<(&Ask, Timestamp)> = went
            .iter()
            .map(|(id, at)| (&all[*id as usize], *at))
            .filter(|(ask, at)| {
                assert!(ask.priority != Priority::Deadline || *at == NOW, "a deadline waited");
                ask.priority != Priority::Deadline
            })
            .collect();
        for (_, from) in &limited {
            let window: Vec<&Ask> = limited
                .iter()
                .filter(|(_, at)| *at >= *from && at.since(*from) <= Duration::from_secs(1))
                .map(|(ask, _)| *ask)
                .collect();
            for ask in &window {
                let of_class = window.iter().filter(|other| other.class == ask.class).count();
                prop_assert!(per_second(ask.class).is_none_or(|most| of_class <= most));
                if ask.thread.is_some() {
                    let of_thread = window.iter().filter(|other| other.thread == ask.thread).count();
                    prop_assert!(of_thread <= PER_THREAD);
                }
            }
        }
    }
}
