use super::*;
use crate::model::{Attachment, Content, Kind, Message, Participant, Person, Reason, Seq};

fn event(seq: u64, kind: Kind, content: Content) -> Event {
    let at = Timestamp::from_millis(1_795_253_400_000 + i64::try_from(seq).unwrap() * 1000);
    Event {
        v: 1,
        seq: Seq(seq),
        conversation: None,
        connector: "sfb".into(),
        platform: "ucwa".into(),
        kind,
        source_time: Some(at),
        recorded_at: at,
        content,
        leaf_hash: String::new(),
    }
}

fn said(seq: u64, kind: Kind, id: &str, name: Option<&str>, text: &str) -> Event {
    let actor = Some(Person { id: id.into(), name: name.map(str::to_owned) });
    let message = Some(Message { id: "m1".into(), text: text.into(), ..Message::default() });
    event(seq, kind, Content { actor, message, ..Content::default() })
}

fn lines(events: &[Event]) -> Vec<String> {
    let mut out = Vec::new();
    let mut lines = Lines::default();
    for event in events {
        lines.write(event, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn two_people_of_one_name_are_told_apart() {
    let told = lines(&[
        said(1, Kind::MessageSent, "sip:a@x", Some("Alice"), "one"),
        said(2, Kind::MessageSent, "sip:b@x", Some("ALICE "), "two"),
        said(3, Kind::MessageSent, "sip:a@x", Some("Alice"), "three"),
        said(4, Kind::MessageSent, "sip:c@x", None, "four"),
    ]);
    assert_eq!(
        told[3..],
        [
            "09:30:01  [1] Alice: one",
            "09:30:02  [2] \"ALICE \" <sip:b@x>: two",
            "09:30:03  [3] Alice: three",
            "09:30:04  [4] <sip:c@x>: four"
        ]
    );
}

#[test]
fn no_message_and_no_name_can_pass_for_a_line_of_the_transcript() {
    let fake = "x\n09:31:00  [9] Bob: I agree\n== GAP [9]\n\r\n\u{2028}- Bob left\n\u{1b}[1A";
    let told = lines(&[
        said(1, Kind::MessageSent, "sip:m@x", Some("Bob: yes\n09:30:59  [1] Bob"), fake),
        event(2, Kind::ConversationChanged, Content { subject: Some(fake.into()), ..Content::default() }),
        event(
            3,
            Kind::ParticipantLeft,
            Content {
                participant: Some(Participant { id: fake.into(), ..Participant::default() }),
                reason: Some(Reason { message: Some(fake.into()), ..Reason::default() }),
                ..Content::default()
            },
        ),
    ]);
    for line in &told[3..] {
        let ours = ["09:30:01  [1] \"Bob: yes<U+000A>", "09:30:02  [2] - ", "09:30:03  [3] - ", "            | "];
        assert!(ours.iter().any(|start| line.starts_with(start)), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert_eq!(told.len(), 3 + 6 + 1 + 1);
}

#[test]
fn edits_deletions_and_files_lead_back_to_their_message() {
    let mut first = said(7, Kind::MessageSent, "sip:a@x", Some("Alice"), "helo");
    if let Some(message) = &mut first.content.message {
        message.importance = Some("urgent".into());
        message.attachments = vec![Attachment {
            name: Some("plan.pdf".into()),
            size: Some(12),
            media_type: Some("application/pdf".into()),
            ..Attachment::default()
        }];
    }
    let told = lines(&[
        first,
        said(8, Kind::MessageEdited, "sip:a@x", Some("Alice"), "hello"),
        said(9, Kind::MessageDeleted, "sip:a@x", Some("Alice"), ""),
    ]);
    assert_eq!(
        told[3..],
        [
            "09:30:07  [7] Alice (urgent): helo",
            "            | attachment: plan.pdf (application/pdf, 12 bytes)",
            "09:30:08  [8] Alice edited [7]: hello",
            "09:30:09  [9] - Alice deleted [7]"
        ]
    );
}

#[test]
fn every_kind_is_said_in_words() {
    for kind in Kind::ALL {
        let told = lines(&[event(1, *kind, Content::default())]);
        assert!(told.last().is_some_and(|line| !line.contains('_')), "{kind}: {told:?}");
        assert!(told.len() >= 4);
    }
}
