//! A small archive that is the same every time, with people in it who wish the viewer no good.

use std::path::Path;
use std::sync::Arc;

use crate::archive::Archive;
use crate::capture::{Append, Captured, DedupeKey, Origin, Source};
use crate::clock::ManualClock;
use crate::integrity::checkpoint::SigningKey;
use crate::model::{Content, ConversationId, Gap, Kind, Message, Participant, Person, Timestamp};

/// A subject that tries markup, and to turn the rest of the line around.
pub(crate) const HOSTILE_SUBJECT: &str = "<script>alert(1)</script> \u{202e}gnp.exe\" onmouseover=\"alert(2)";

/// A name that tries to leave its attribute.
pub(crate) const HOSTILE_NAME: &str = "\"><img src=x onerror=alert(3)>";

/// A name piled up with marks.
pub(crate) const PILED_NAME: &str =
    "Z\u{0351}\u{036b}\u{0343}\u{036a}\u{0302}\u{036b}\u{033d}\u{034f}a\u{0351}\u{036b}lgo";

/// An address that looks like Alice's: its first letter is Cyrillic.
pub(crate) const LOOKALIKE: &str = "sip:\u{0430}lice@contoso.com";

/// Conversation `n` of the story.
pub(crate) fn conversation(n: u8) -> ConversationId {
    ConversationId::new(at("2026-11-18T08:00:00Z"), [n; 10])
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

pub(crate) fn person(id: &str, name: &str) -> Person {
    Person { id: format!("sip:{id}@contoso.com"), name: Some(name.into()) }
}

/// Everything that happened in one conversation, in order.
pub(crate) struct Script {
    conversation: ConversationId,
    pub(crate) events: Vec<Captured>,
}

impl Script {
    pub(crate) fn of(n: u8) -> Script {
        Script::with(conversation(n))
    }

    pub(crate) fn with(conversation: ConversationId) -> Script {
        Script { conversation, events: Vec::new() }
    }

    pub(crate) fn event(mut self, time: &str, kind: Kind, content: Content) -> Script {
        let key = format!("{}|{}|{}", self.conversation, kind, self.events.len());
        self.events.push(Captured {
            origin: Origin::Recorder,
            conversation: Some(self.conversation.clone()),
            kind,
            source_time: Some(at(time)),
            dedupe: DedupeKey(key),
            content,
        });
        self
    }

    pub(crate) fn starts(self, time: &str, subject: &str) -> Script {
        let subject = Some(subject.to_owned()).filter(|subject| !subject.is_empty());
        self.event(time, Kind::ConversationStarted, Content { subject, ..Content::default() })
    }

    pub(crate) fn plain(self, time: &str, kind: Kind) -> Script {
        self.event(time, kind, Content::default())
    }

    pub(crate) fn person(self, time: &str, kind: Kind, who: &Person) -> Script {
        let participant = Participant { id: who.id.clone(), name: who.name.clone(), ..Participant::default() };
        self.event(time, kind, Content { participant: Some(participant), ..Content::default() })
    }

    pub(crate) fn says(self, time: &str, who: &Person, text: &str) -> Script {
        let id = format!("m{}", self.events.len());
        let message = Message { id, text: text.to_owned(), ..Message::default() };
        self.event(
            time,
            Kind::MessageSent,
            Content { actor: Some(who.clone()), message: Some(message), ..Content::default() },
        )
    }

    pub(crate) fn gap(self, time: &str, from: &str, cause: &str) -> Script {
        let gap = Gap { cause: cause.into(), from: at(from), to: at(time) };
        self.event(time, Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() })
    }
}

/// Four conversations: a meeting that is complete, a chat without a subject that has a gap, a live one of hostile people,
/// and one that was never recorded.
pub(crate) fn scripts() -> Vec<Script> {
    let (alice, bob, tanaka) = (person("alice", "Alice Example"), person("bob", "Bob"), person("tanaka", "田中 太郎"));
    let renamed = person("bob", "Bob Builder");
    let (eve, piled) = (person("eve", HOSTILE_NAME), person("zalgo", PILED_NAME));
    let double = Person { id: LOOKALIKE.into(), name: Some("Alice Example".into()) };
    vec![
        Script::of(1)
            .starts("2026-11-19T09:30:00Z", "Budget 2027")
            .plain("2026-11-19T09:30:01Z", Kind::RecordingStarted)
            .person("2026-11-19T09:30:02Z", Kind::ParticipantJoined, &alice)
            .person("2026-11-19T09:31:00Z", Kind::ParticipantJoined, &bob)
            .says("2026-11-19T09:32:00Z", &alice, "Good morning, shall we begin?")
            .says("2026-11-19T09:33:00Z", &bob, "The figures are in the file.")
            .person("2026-11-19T10:10:00Z", Kind::ParticipantLeft, &bob)
            .person("2026-11-19T10:15:00Z", Kind::ParticipantLeft, &alice)
            .plain("2026-11-19T10:15:01Z", Kind::RecordingStopped)
            .plain("2026-11-19T10:15:02Z", Kind::ConversationEnded),
        Script::of(2)
            .starts("2026-11-20T14:00:00Z", "")
            .plain("2026-11-20T14:00:01Z", Kind::RecordingStarted)
            .person("2026-11-20T14:00:01Z", Kind::ParticipantJoined, &tanaka)
            .says("2026-11-20T14:00:10Z", &tanaka, "天気はどうですか")
            .says("2026-11-20T14:01:10Z", &renamed, "Rain, I think.")
            .gap("2026-11-20T14:05:00Z", "2026-11-20T14:02:00Z", "event channel lost")
            .plain("2026-11-21T00:20:00Z", Kind::RecordingStopped)
            .plain("2026-11-21T00:20:01Z", Kind::ConversationEnded),
        Script::of(3)
            .starts("2026-11-21T11:00:00Z", HOSTILE_SUBJECT)
            .plain("2026-11-21T11:00:01Z", Kind::RecordingStarted)
            .person("2026-11-21T11:00:02Z", Kind::ParticipantJoined, &eve)
            .person("2026-11-21T11:00:03Z", Kind::ParticipantJoined, &piled)
            .person("2026-11-21T11:00:04Z", Kind::ParticipantJoined, &double)
            .says("2026-11-21T11:01:00Z", &eve, "<img src=x onerror=alert(4)> javascript:alert(5)"),
        Script::of(4)
            .starts("2026-11-18T08:00:00Z", "אין מה להקליט")
            .person("2026-11-18T08:00:05Z", Kind::ParticipantJoined, &alice)
            .plain("2026-11-18T08:30:00Z", Kind::ConversationEnded),
    ]
}

/// Writes the story into an archive in `dir` and signs it.
pub(crate) async fn write(dir: &Path, scripts: Vec<Script>) {
    let clock = Arc::new(ManualClock::new(at(super::NOW)));
    let archive = Archive::open(dir, clock).expect("an archive");
    let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
    for script in scripts {
        let append = Append { events: script.events, ..Append::default() };
        archive.sink().append(&source, append).await.expect("appended");
    }
    let key = SigningKey::load_or_create(&archive.layout().keys, archive.origin()).expect("a key");
    archive.checkpoint(Arc::new(key)).await.expect("signed");
    archive.close().await.expect("closed");
}
