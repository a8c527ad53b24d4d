//! Lists, pages and places, as the viewer asks for them.

use super::*;
use crate::archive::reader::{ConversationPosition, KindSet, Position};

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

#[tokio::test]
async fn a_transcript_is_paged_from_both_ends_and_from_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let mut events: Vec<Captured> = (0..10).map(|n| says(&n.to_string(), 1, "Alice", "a", 10 - n)).collect();
    events.push(event("n", 1, Kind::NoticeSent, 5, Content::default()));
    events.push(says("other", 2, "Bob", "b", 3));
    events.push(event("p", 0, Kind::PlatformEvent, 3, Content::default()));
    put(&archive, batch(events)).await;
    let reader = archive.reader().unwrap();
    let id = conversation(1);
    // In order of display: seconds 1 to 10 were said by seq 10 to 1, the notice is at second 5.
    let order = [10, 9, 8, 7, 6, 11, 5, 4, 3, 2, 1];
    for size in 1..13 {
        let (mut back, mut before) = (Vec::new(), None);
        loop {
            let page = reader.events_before(&id, before, size).unwrap();
            back.splice(0..0, seqs(&page.rows));
            let Some(next) = page.next else { break };
            before = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(back, order, "{size} per page");
    }
    let messages = KindSet::of(&[Kind::MessageSent]);
    let page = reader.events_of_kinds(&id, messages, None, 6).unwrap();
    assert_eq!(seqs(&page.rows), [10, 9, 8, 7, 6, 5]);
    assert_eq!(seqs(&reader.events_of_kinds(&id, messages, page.next, 6).unwrap().rows), [4, 3, 2, 1]);
    assert_eq!(
        seqs(&reader.events_of_kinds_before(&id, KindSet::of(&[Kind::NoticeSent]), None, 3).unwrap().rows),
        [11]
    );
    assert!(reader.events_of_kinds(&id, KindSet::NONE, None, 3).unwrap().rows.is_empty());
    assert!(reader.events_before(&conversation(9), None, 3).unwrap().rows.is_empty());

    let (found, position) = reader.position_of(Seq(11)).unwrap().unwrap();
    assert_eq!(found, id);
    let from = reader.events_of_kinds(&id, KindSet::ALL, Some(position.just_before()), 2).unwrap();
    assert_eq!(seqs(&from.rows), [11, 5]);
    assert_eq!(seqs(&reader.events_before(&id, Some(position.just_after()), 2).unwrap().rows), [6, 11]);
    assert_eq!(reader.position_of(Seq(13)).unwrap(), None);
    assert_eq!(reader.position_of(Seq(99)).unwrap(), None);
    let first_from = |micros: i64| {
        let place = reader.position_at(&id, Timestamp(T0 + micros)).unwrap()?;
        Some(seqs(&reader.events_of_kinds(&id, KindSet::ALL, Some(place), 1).unwrap().rows)[0])
    };
    assert_eq!(first_from(0), Some(10));
    assert_eq!(first_from(4_000_001), Some(6));
    assert_eq!(first_from(5_000_000), Some(6));
    assert_eq!(first_from(10_000_001), None);

    assert_eq!(seqs(&reader.around(Seq(11), 2, 3).unwrap()), [7, 6, 11, 5, 4, 3]);
    assert_eq!(seqs(&reader.around(Seq(10), 2, 0).unwrap()), [10]);
    assert_eq!(seqs(&reader.around(Seq(12), 5, 5).unwrap()), [12]);
    assert_eq!(seqs(&reader.around(Seq(13), 5, 5).unwrap()), [13]);
    assert!(reader.around(Seq(99), 5, 5).unwrap().is_empty());
}

#[test]
fn positions_are_text_and_other_text_is_refused() {
    for text in ["-5.7", "1795225034.12", "0.18446744073709551615"] {
        assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
    }
    let at = ConversationPosition::at(Timestamp(-3));
    assert_eq!(at.to_string().parse(), Ok(at));
    for text in ["", "1", "1.", ".1", "1.2.3", "1.x", "1.-2", "9223372036854775808.1"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}

#[test]
fn sets_of_kinds_hold_what_was_put_in() {
    assert_eq!(KindSet::ALL.iter().collect::<Vec<_>>(), Kind::ALL);
    assert_eq!(KindSet::NONE.iter().count(), 0);
    for kind in Kind::ALL {
        let one = KindSet::of(&[*kind]);
        assert_eq!(one.iter().collect::<Vec<_>>(), [*kind]);
        assert!(!KindSet::ALL.without(*kind).contains(*kind));
        assert_eq!(KindSet::ALL.without(*kind).with(*kind), KindSet::ALL);
    }
}

#[tokio::test]
async fn conversations_are_listed_from_either_end_and_narrowed() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let other = Source { connector: "x".into(), platform: "teams".into() };
    for n in 1..=9_u8 {
        let s = i64::from(n) * 10;
        // Three start at the same moment.
        let start = if (4..=6).contains(&n) { 50 } else { s };
        let subject = Content { subject: Some(format!("Straßenbau Teil {n}")), ..Content::default() };
        let who = if n % 2 == 0 { "Alice" } else { "Bob" };
        let mut events = vec![event("s", n, Kind::ConversationStarted, start, subject), says("m", n, who, "t", s)];
        if n > 2 {
            events.insert(1, event("r", n, Kind::RecordingStarted, start, Content::default()));
        }
        if n != 3 {
            events.push(event("e", n, Kind::ConversationEnded, s + 1, Content::default()));
        }
        let from = if n == 9 { &other } else { &source() };
        archive.sink().append(from, batch(events)).await.unwrap();
    }
    let reader = archive.reader().unwrap();
    let listed = |filter: &ConversationFilter, size: usize| -> Vec<u8> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = reader.conversations_newest(filter, after, size).unwrap();
            assert!(page.rows.len() <= size);
            all.extend(page.rows.iter().map(|found| (1..=9).find(|n| conversation(*n) == found.id).unwrap()));
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        let mut oldest: Vec<_> = reader.conversations(filter, None, 100).unwrap().rows;
        oldest.reverse();
        assert_eq!(
            oldest.iter().map(|c| c.id.clone()).collect::<Vec<_>>(),
            all.iter().map(|n| conversation(*n)).collect::<Vec<_>>()
        );
        assert_eq!(reader.count_conversations(filter, 100).unwrap(), u64::try_from(all.len()).unwrap());
        all
    };
    let none = ConversationFilter::default;
    for size in 1..11 {
        assert_eq!(listed(&none(), size), [9, 8, 7, 6, 5, 4, 3, 2, 1], "{size} per page");
    }
    assert_eq!(reader.count_conversations(&none(), 4).unwrap(), 4);
    assert_eq!(reader.count_conversations(&none(), 0).unwrap(), 0);
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(listed(&ConversationFilter { platform: text("teams"), ..none() }, 2), [9]);
    assert_eq!(listed(&ConversationFilter { platform: text("teams"), connector: text("sfb"), ..none() }, 2), [0_u8; 0]);
    assert_eq!(listed(&ConversationFilter { connector: text("sfb"), ..none() }, 5), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(listed(&ConversationFilter { subject: text("STRASSENBAU"), ..none() }, 2), [0_u8; 0]);
    assert_eq!(listed(&ConversationFilter { subject: text("sTRAßenbau teil 4"), ..none() }, 2), [4]);
    let alice = text("sip:alice@contoso.com");
    assert_eq!(listed(&ConversationFilter { person: alice.clone(), ..none() }, 1), [8, 6, 4, 2]);
    assert_eq!(listed(&ConversationFilter { person: text("alice"), ..none() }, 1), [0_u8; 0]);
    assert_eq!(listed(&ConversationFilter { participant: text("ALI"), ..none() }, 3), [8, 6, 4, 2]);
    assert_eq!(listed(&ConversationFilter { state: Some(ConversationState::Live), ..none() }, 3), [3]);
    assert_eq!(
        listed(&ConversationFilter { state: Some(ConversationState::Ended), person: alice, ..none() }, 2),
        [8, 6, 4, 2]
    );
    assert_eq!(listed(&ConversationFilter { coverage: Some(Coverage::Incomplete), ..none() }, 3), [2, 1]);
    assert_eq!(listed(&ConversationFilter { coverage: Some(Coverage::Complete), ..none() }, 3), [9, 8, 7, 6, 5, 4, 3]);
    let at = ConversationPosition::at(Timestamp(T0 + 50_000_000));
    let earlier = reader.conversations_newest(&none(), Some(at), 1).unwrap();
    assert_eq!(earlier.rows[0].id, conversation(3));
    let then = reader.conversations(&none(), Some(at), 1).unwrap();
    assert_eq!(then.rows[0].id, conversation(4));
}
