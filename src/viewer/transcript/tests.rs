use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Content, Message, Timestamp};

fn conversation() -> ConversationId {
    ConversationId::new(Timestamp(0), [1; 10])
}

fn event(seq: u64, kind: Kind, seconds: i64, who: u8, message: u8) -> Event {
    let actor = Person { id: format!("sip:p{who}@x.y"), name: Some(format!("P{who}")) };
    let text = format!("text {seq}");
    Event {
        v: 1,
        seq: Seq(seq),
        conversation: Some(conversation()),
        connector: "sfb".into(),
        platform: "ucwa".into(),
        kind,
        source_time: Some(Timestamp(1_795_167_000_000_000 + seconds * 1_000_000)),
        recorded_at: Timestamp(1_795_167_000_000_000),
        content: Content {
            actor: (who > 0).then_some(actor),
            message: (message > 0).then(|| Message { id: format!("m{message}"), text, ..Message::default() }),
            reaction: Some("like".into()),
            ..Content::default()
        },
        leaf_hash: String::new(),
    }
}

fn shown(events: &[Event], changes: Vec<Event>) -> Vec<Day> {
    let id = conversation();
    let setting = Setting {
        zone: Tz::Asia__Tokyo,
        conversation: &id,
        marks: &|_| Vec::new(),
        at: None,
        query: "",
        pictures: &|_| true,
    };
    days(events, &Context::new(events, changes, HashMap::new()), &setting)
}

fn said(days: &[Day]) -> Vec<&Shown> {
    let blocks = days.iter().flat_map(|day| &day.blocks);
    blocks
        .filter_map(|block| if let Block::Said(group) = block { Some(&group.messages) } else { None })
        .flatten()
        .collect()
}

#[test]
fn messages_are_grouped_by_sender_until_something_else_happens() {
    let events = [
        event(1, Kind::MessageSent, 0, 1, 1),
        event(2, Kind::MessageSent, 5, 1, 2),
        event(3, Kind::ParticipantJoined, 6, 2, 0),
        event(4, Kind::MessageSent, 7, 1, 3),
        event(5, Kind::MessageSent, 7 + PAUSE, 1, 4),
        event(6, Kind::MessageSent, 8 + PAUSE, 2, 5),
        event(7, Kind::MessageSent, 86_400, 2, 6),
    ];
    let days = shown(&events, Vec::new());
    let shape: Vec<Vec<usize>> = days
        .iter()
        .map(|day| {
            day.blocks.iter().map(|b| if let Block::Said(group) = b { group.messages.len() } else { 0 }).collect()
        })
        .collect();
    assert_eq!(shape, [vec![2, 0, 1, 1, 1], vec![1]]);
    assert_eq!(days[0].name, "Friday 20 November 2026");
}

#[test]
fn what_becomes_of_a_message_stands_under_it_wherever_it_happened() {
    let sent = event(1, Kind::MessageSent, 0, 1, 1);
    let here = event(2, Kind::MessageEdited, 5, 1, 1);
    let later = [
        event(7, Kind::MessageEdited, 500, 1, 1),
        event(8, Kind::ReactionAdded, 501, 2, 1),
        event(9, Kind::ReactionAdded, 502, 3, 1),
        event(10, Kind::ReactionRemoved, 503, 2, 1),
        event(11, Kind::MessageDeleted, 504, 1, 1),
    ];
    let days = shown(&[sent, here], later.to_vec());
    let said = said(&days);
    let message = said[0];
    let versions: Vec<(u64, bool, bool)> = message.versions.iter().map(|v| (v.seq, v.anchor, v.newest)).collect();
    assert_eq!(versions, [(1, false, false), (2, true, false), (7, false, true)]);
    assert_eq!(message.said.pieces[0].runs[0].text, "text 7");
    assert_eq!(message.versions[0].said.pieces[0].runs[0].text, "text 1");
    assert_eq!((message.reactions[0].count, message.reactions[0].names.as_str()), (1, "P3"));
    assert_eq!(message.reacted.len(), 3);
    assert_eq!((message.deleted[0].seq, message.deleted[0].anchor), (11, false));
    assert_eq!(seqs(&days), [1, 2]);
}

#[test]
fn a_change_of_a_message_elsewhere_is_a_line_that_leads_there() {
    let changed = event(9, Kind::MessageEdited, 500, 1, 1);
    let id = conversation();
    let setting = Setting {
        zone: Tz::UTC,
        conversation: &id,
        marks: &|_| Vec::new(),
        at: Some(Seq(9)),
        query: "",
        pictures: &|_| true,
    };
    let target = Target { seq: 3, who: None, text: "first words".into() };
    let context = Context::new(std::slice::from_ref(&changed), Vec::new(), [("m1".to_owned(), target)].into());
    let days = days(std::slice::from_ref(&changed), &context, &setting);
    let Block::Line(line) = &days[0].blocks[0] else { panic!("{days:?}") };
    assert!(line.asked && line.words.contains(&super::super::line::Word::Theirs("first words".into())));
    assert!(
        line.words
            .iter()
            .any(|word| matches!(word, super::super::line::Word::Event { href, .. } if href.ends_with("?at=3#e3")))
    );
    assert_eq!(line.quote.pieces[0].runs[0].text, "text 9");
}

fn any_event() -> impl Strategy<Value = (usize, i64, u8, u8)> {
    (0..Kind::ALL.len(), 0..200_000_i64, 0..4_u8, 0..5_u8)
}

proptest! {
    #[test]
    fn every_event_of_a_page_is_shown_exactly_once(made in prop::collection::vec(any_event(), 0..60), cut in 0..60_usize) {
        let mut events: Vec<Event> = made
            .into_iter()
            .enumerate()
            .map(|(at, (kind, seconds, who, message))| event(at as u64 + 1, Kind::ALL[kind], seconds, who, message))
            .collect();
        events.sort_by_key(|event| (event.source_time, event.seq));
        // The page's own events, and the changes that happened beyond it.
        let (page, beyond) = events.split_at(cut.min(events.len()));
        let changes: Vec<Event> = beyond.iter().filter(|event| is_change(event.kind)).cloned().collect();
        let mut found = seqs(&shown(page, changes));
        found.sort_unstable();
        let mut wanted: Vec<u64> = page.iter().map(|event| event.seq.0).collect();
        wanted.sort_unstable();
        prop_assert_eq!(found, wanted);
    }
}
