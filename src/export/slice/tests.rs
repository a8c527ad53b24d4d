use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::archive::{Archive, Reader};
use crate::capture::{Append, Captured, DedupeKey, Origin};
use crate::clock::ManualClock;
use crate::export::Selection;
use crate::model::Participant;

/// 2026-03-28T22:00:00Z, two hours before the day on which European clocks are put forward.
const T0: i64 = 1_774_735_200;

fn at(second: i64) -> Timestamp {
    Timestamp((T0 + second) * 1_000_000)
}

fn id(n: u8) -> ConversationId {
    ConversationId::new(at(0), [n; 10])
}

fn event(n: usize, room: Option<u8>, second: i64, kind: Kind, content: Content) -> Captured {
    Captured {
        origin: Origin::Recorder,
        conversation: room.map(id),
        kind,
        source_time: Some(at(second)),
        dedupe: DedupeKey(format!("{n}")),
        content,
    }
}

fn said(message_id: &str, text: &str) -> Content {
    let actor = Some(Person { id: "sip:a@x.org".into(), name: Some("A".into()) });
    let message = Some(Message { id: message_id.into(), text: text.into(), ..Message::default() });
    Content { actor, message, ..Content::default() }
}

fn archive(events: Vec<Captured>) -> (tempfile::TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reader = runtime.block_on(async {
        let archive = Archive::open(dir.path(), Arc::new(ManualClock::new(at(0)))).unwrap();
        let source = crate::capture::Source { connector: "sfb".into(), platform: "ucwa".into() };
        archive.sink().append(&source, Append { events, ..Append::default() }).await.unwrap();
        archive.reader().unwrap()
    });
    (dir, reader)
}

fn slices(reader: &Reader, selection: &Selection, zone: Tz, limits: Limits) -> Vec<Slice> {
    let source = Source::new(reader, selection).unwrap();
    let mut all = Vec::new();
    let take = &mut |slice: &Slice| {
        all.push(slice.clone());
        Ok(())
    };
    each_slice(&source, zone, limits, take).unwrap();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_event_is_in_exactly_one_slice_of_its_day(
        times in prop::collection::vec((0_i64..400_000, 0_u8..3), 1..120),
        zone in 0..chrono_tz::TZ_VARIANTS.len(),
        events in 1_usize..9,
        since in prop::option::of(0_i64..300_000),
    ) {
        let zone = chrono_tz::TZ_VARIANTS[zone];
        let captured = times.iter().enumerate().map(|(n, (second, room))| {
            event(n, (*room > 0).then_some(*room), *second, Kind::MessageSent, said(&format!("m{n}"), "text"))
        });
        let (_dir, reader) = archive(captured.collect());
        let selection = Selection { since: since.map(at), ..Selection::default() };
        let limits = Limits { events, ..Limits::default() };
        let slices = slices(&reader, &selection, zone, limits);
        let mut seen: Vec<u64> = slices.iter().flat_map(|slice| slice.events.iter().map(|event| event.seq.0)).collect();
        seen.sort_unstable();
        let source = Source::new(&reader, &selection).unwrap();
        let expected: Vec<u64> = source.events().map(|event| event.unwrap().seq.0).collect();
        prop_assert_eq!(seen, expected);
        let mut labels = HashSet::new();
        let mut parts: HashMap<(String, String), Vec<(u32, u32)>> = HashMap::new();
        for slice in &slices {
            prop_assert!(slice.events.len() <= events);
            prop_assert!(labels.insert((slice.room.key().to_owned(), slice.label())), "{} twice", slice.label());
            let key = (slice.room.key().to_owned(), slice.day.date.to_string());
            parts.entry(key).or_default().push((slice.part, slice.parts));
            for event in &slice.events {
                prop_assert_eq!(event.conversation.as_ref(), slice.room.conversation.as_ref().map(|room| &room.id));
                if event.conversation.is_some() {
                    prop_assert!(slice.day.from <= time_of(event) && time_of(event) < slice.day.to);
                }
            }
        }
        for (key, parts) in parts {
            let m = u32::try_from(parts.len()).unwrap();
            prop_assert_eq!(parts, (1..=m).map(|n| (n, m)).collect::<Vec<_>>(), "{:?}", key);
        }
    }
}

#[test]
fn what_a_slice_refers_to_comes_along_as_it_stood() {
    let day = 86_400;
    let mut reply = said("m2", "yes");
    reply.message.as_mut().unwrap().in_reply_to = Some("m1".into());
    let (_dir, reader) = archive(vec![
        event(1, Some(1), 0, Kind::MessageSent, said("m1", "one")),
        event(2, Some(1), 1, Kind::MessageEdited, said("m1", "two")),
        event(3, Some(1), day, Kind::MessageSent, reply),
        event(4, Some(1), 2 * day, Kind::MessageEdited, said("m1", "three")),
        event(5, Some(1), 3 * day, Kind::MessageDeleted, said("m1", "")),
        event(6, Some(1), 3 * day, Kind::MessageDeleted, said("gone", "")),
    ]);
    let all = slices(&reader, &Selection::default(), Tz::UTC, Limits::default());
    assert_eq!(
        all.iter().map(Slice::label).collect::<Vec<_>>(),
        ["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]
    );
    let earlier = |slice: &Slice| slice.earlier.get("m1").map(|m| (m.seq.0, m.text.clone(), m.edits, m.deleted));
    assert_eq!(earlier(&all[0]), None);
    assert!(matches!(all[0].messages().changed_by(1), Some(Target::Here(0))));
    assert_eq!(earlier(&all[1]), Some((1, "two".into(), 1, false)));
    assert_eq!(earlier(&all[2]), Some((1, "two".into(), 1, false)));
    assert_eq!(earlier(&all[3]), Some((1, "three".into(), 2, false)));
    assert!(matches!(all[3].messages().changed_by(1), Some(Target::Elsewhere)));
    // What was not asked for does not come along.
    let later = Selection { since: Some(at(day)), ..Selection::default() };
    let later = slices(&reader, &later, Tz::UTC, Limits::default());
    assert!(later.iter().all(|slice| slice.earlier.is_empty()));
}

#[test]
fn forgotten_messages_are_looked_up_again() {
    let mut events: Vec<Captured> =
        (0..50).map(|n| event(n, Some(1), n as i64, Kind::MessageSent, said(&format!("m{n}"), "text"))).collect();
    events.push(event(50, Some(1), 86_400, Kind::MessageEdited, said("m3", "new")));
    let (_dir, reader) = archive(events);
    let selection = Selection::default();
    let source = Source::new(&reader, &selection).unwrap();
    let mut slices = Slices::new(&source, Some(id(1)), Tz::UTC, Limits::default()).unwrap();
    slices.memory = Memory::with_limit(2000);
    slices.next_slice().unwrap().unwrap();
    assert!(slices.memory.get("m3").is_none() && slices.memory.has_forgotten());
    let second = slices.next_slice().unwrap().unwrap();
    assert_eq!(second.earlier["m3"].text, "text");
}

#[test]
fn the_roster_of_a_slice_is_who_was_there_before_its_first_event() {
    let who = |name: &str| Content {
        participant: Some(Participant { id: name.into(), ..Participant::default() }),
        ..Content::default()
    };
    let day = 86_400;
    let (_dir, reader) = archive(vec![
        event(1, Some(1), 0, Kind::ParticipantJoined, who("a")),
        event(2, Some(1), 0, Kind::ParticipantJoined, who("b")),
        event(3, Some(1), 10, Kind::ParticipantLeft, who("b")),
        event(4, Some(1), day, Kind::ParticipantLeft, who("a")),
        event(5, Some(1), day, Kind::ParticipantJoined, who("c")),
        event(6, Some(1), 2 * day, Kind::MessageSent, said("m", "x")),
    ]);
    let rosters = |limits| -> Vec<Vec<String>> {
        let slices = slices(&reader, &Selection::default(), Tz::UTC, limits);
        slices.into_iter().map(|slice| slice.roster.into_iter().map(|person| person.id).collect()).collect()
    };
    assert_eq!(rosters(Limits::default()), [vec![], vec!["a"], vec!["c"]]);
    let one = Limits { events: 1, ..Limits::default() };
    assert_eq!(rosters(one), [vec![], vec!["a"], vec!["a", "b"], vec!["a"], vec![], vec!["c"]]);
}

#[test]
fn what_carries_files_begins_a_new_part_before_they_are_too_many() {
    let (small, large) = (vec![1; 1000], vec![2; 5000]);
    let hash = |bytes: &[u8]| crate::integrity::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes));
    let sends = |n: usize, hash: &str| {
        let mut content = said(&format!("m{n}"), "file");
        let file = crate::model::Attachment { sha256: Some(hash.to_owned()), ..crate::model::Attachment::default() };
        content.message.as_mut().unwrap().attachments = vec![file];
        event(n, Some(1), i64::try_from(n).unwrap(), Kind::MessageSent, content)
    };
    let (a, b) = (hash(&small), hash(&large));
    // The fourth is named and not there: it takes no room.
    let names = [&a, &a, &b, &hash(b"lost"), &a, &a, &a];
    let (dir, reader) = archive(names.iter().enumerate().map(|(n, name)| sends(n, name)).collect());
    let kept = crate::archive::Attachments::of(&crate::archive::Layout::of(dir.path()));
    kept.keep(&small).unwrap();
    kept.keep(&large).unwrap();
    let sizes = |limits: Limits| -> Vec<(usize, u32)> {
        let slices = slices(&reader, &Selection::default(), Tz::UTC, limits);
        slices.iter().map(|slice| (slice.events.len(), slice.parts)).collect()
    };
    assert_eq!(sizes(Limits::default()), [(7, 1)]);
    assert_eq!(sizes(Limits { files: Some(2_000), ..Limits::default() }), [(2, 4), (1, 4), (3, 4), (1, 4)]);
    assert_eq!(sizes(Limits { files: Some(1 << 20), ..Limits::default() }), [(7, 1)]);
}
