//! An archive for tests of what people see: made through the real sink, with everything a transcript can hold.
//!
//! Included by path where it is needed; knows only the library's public doors.

use std::sync::Arc;

use bytes::Bytes;
use greffier::archive::Archive;
use greffier::capture::{Append, Captured, DedupeKey, Origin, Recorded, Source};
use greffier::clock::Clock;
use greffier::model::{
    Attachment, Content, ConversationId, Gap, Kind, Message, Participant, Person, Reason, Timestamp,
};
use sha2::{Digest, Sha256};

/// 2026-11-20T09:30:00Z.
pub const START: i64 = 1_795_167_000_000_000;

/// A time so many seconds after [`START`].
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(START + seconds * 1_000_000)
}

/// A conversation of its own for each number.
pub fn conversation(number: u8) -> ConversationId {
    ConversationId::new(at(0), [number; 10])
}

/// `alice` → `sip:alice@contoso.com`, Alice.
pub fn person(name: &str) -> Person {
    Person { id: format!("sip:{}@contoso.com", name.to_lowercase().replace(' ', ".")), name: Some(name.into()) }
}

/// Writes events of one conversation, each a second after the one before unless told otherwise.
pub struct Scribe {
    conversation: ConversationId,
    seconds: i64,
    events: Vec<Captured>,
    made: u32,
}

impl Scribe {
    /// Begins at [`START`] plus so many seconds.
    pub fn new(conversation: ConversationId, seconds: i64) -> Scribe {
        Scribe { conversation, seconds, events: Vec::new(), made: 0 }
    }

    /// The events so far, as one batch.
    pub fn batch(self) -> Append {
        Append { events: self.events, ..Append::default() }
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: i64) -> &mut Scribe {
        self.seconds += seconds;
        self
    }

    /// Any event.
    pub fn event(&mut self, kind: Kind, content: Content) -> &mut Scribe {
        self.seconds += 1;
        self.made += 1;
        self.events.push(Captured {
            origin: Origin::Recorder,
            conversation: Some(self.conversation.clone()),
            kind,
            source_time: Some(at(self.seconds)),
            dedupe: DedupeKey(format!("{kind}|{}|{}|{}", self.conversation, self.seconds, self.made)),
            content,
        });
        self
    }

    /// An event about a message.
    pub fn message(&mut self, kind: Kind, who: &Person, message: Message) -> &mut Scribe {
        self.event(kind, Content { actor: Some(who.clone()), message: Some(message), ..Content::default() })
    }

    /// Somebody says something.
    pub fn says(&mut self, id: &str, who: &Person, text: &str) -> &mut Scribe {
        self.message(Kind::MessageSent, who, Message { id: id.into(), text: text.into(), ..Message::default() })
    }

    /// Somebody gives a message a new version.
    pub fn edits(&mut self, id: &str, who: &Person, text: &str) -> &mut Scribe {
        self.message(Kind::MessageEdited, who, Message { id: id.into(), text: text.into(), ..Message::default() })
    }

    /// Somebody deletes a message.
    pub fn deletes(&mut self, id: &str, who: &Person) -> &mut Scribe {
        self.message(Kind::MessageDeleted, who, Message { id: id.into(), ..Message::default() })
    }

    /// Somebody reacts, or takes it back.
    pub fn reacts(&mut self, kind: Kind, id: &str, who: &Person, how: &str) -> &mut Scribe {
        let message = Message { id: id.into(), ..Message::default() };
        let content = Content {
            actor: Some(who.clone()),
            message: Some(message),
            reaction: Some(how.into()),
            ..Content::default()
        };
        self.event(kind, content)
    }

    /// Somebody comes, goes or changes.
    pub fn attends(&mut self, kind: Kind, who: &Person) -> &mut Scribe {
        let participant = Participant { id: who.id.clone(), name: who.name.clone(), ..Participant::default() };
        self.event(kind, Content { participant: Some(participant), ..Content::default() })
    }

    /// Something that has neither person nor message.
    pub fn happens(&mut self, kind: Kind) -> &mut Scribe {
        self.event(kind, Content::default())
    }

    /// The conversation starts or changes, with a subject.
    pub fn called(&mut self, kind: Kind, subject: &str) -> &mut Scribe {
        let content = Content {
            subject: Some(subject.into()),
            modalities: Some(vec!["messaging".into()]),
            state: Some("Connected".into()),
            ..Content::default()
        };
        self.event(kind, content)
    }

    /// Further facts about the event before.
    pub fn told(&mut self, detail: serde_json::Value) -> &mut Scribe {
        self.events.last_mut().expect("an event").content.detail = Some(detail);
        self
    }

    /// So many seconds of which nothing is known.
    pub fn gap(&mut self, seconds: i64, cause: &str) -> &mut Scribe {
        let from = at(self.seconds);
        self.seconds += seconds;
        let gap = Gap { cause: cause.into(), from, to: at(self.seconds) };
        self.event(Kind::CaptureGap, Content { gap: Some(gap), ..Content::default() })
    }
}

/// Which conversation of [`fill`] is which.
pub struct Sample {
    /// Edits, deletions, reactions, replies, files, a gap, over two days; ended.
    pub rich: ConversationId,
    /// Everything a malicious participant may try.
    pub hostile: ConversationId,
    /// Goes on.
    pub live: ConversationId,
    /// Several pages long.
    pub long: ConversationId,
}

/// Messages of [`Sample::long`].
pub const LONG: usize = 700;

/// Opens an archive in `dir` and writes the sample into it.
pub async fn fill(dir: &std::path::Path, clock: Arc<dyn Clock>) -> (Archive, Sample) {
    let archive = Archive::open(dir, clock).expect("an archive");
    for bytes in [TABLE, PICTURE] {
        archive.sink().keep(Bytes::from_static(bytes)).await.expect("kept");
    }
    let sample =
        Sample { rich: conversation(1), hostile: conversation(2), live: conversation(3), long: conversation(4) };
    for batch in [rich(&sample.rich), hostile(&sample.hostile), live(&sample.live), long(&sample.long)] {
        add(&archive, batch).await;
    }
    (archive, sample)
}

/// A table that was sent: its bytes are of no matter.
const TABLE: &[u8] = &[7; 48_213];

/// A picture that was sent.
const PICTURE: &[u8] = include_bytes!("harbour.png");

fn sha256(bytes: &[u8]) -> String {
    greffier::integrity::hex(&Sha256::digest(bytes))
}

/// Writes one batch; what comes back tells where each event stands.
pub async fn add(archive: &Archive, batch: Append) -> Vec<Recorded> {
    let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
    archive.sink().append(&source, batch).await.expect("appended").events
}

fn begin(scribe: &mut Scribe, subject: &str, people: &[&Person]) {
    scribe.event(
        Kind::InvitationReceived,
        Content {
            actor: people.first().map(|who| (*who).clone()),
            subject: Some(subject.into()),
            ..Content::default()
        },
    );
    scribe.happens(Kind::InvitationAccepted).called(Kind::ConversationStarted, subject).happens(Kind::RecordingStarted);
    let notice = "This conversation is recorded by Greffier for Contoso. Write “stop” to object.";
    scribe.message(Kind::NoticeSent, &person("Recorder"), Message { text: notice.into(), ..Message::default() });
    for who in people {
        scribe.attends(Kind::ParticipantJoined, who);
    }
}

fn end(scribe: &mut Scribe, people: &[&Person]) {
    for who in people {
        scribe.attends(Kind::ParticipantLeft, who);
    }
    let reason = Reason { code: Some("Ended".into()), message: Some("by the organiser".into()), subcode: None };
    scribe.happens(Kind::RecordingStopped);
    scribe.event(Kind::ConversationEnded, Content { reason: Some(reason), ..Content::default() });
}

fn rich(id: &ConversationId) -> Append {
    let (alice, bob, carol) = (person("Alice van Dyk"), person("Bob Lee"), person("Carol Meyer"));
    let mut s = Scribe::new(id.clone(), 0);
    begin(&mut s, "Budget for the harbour project", &[&alice, &bob]);
    s.wait(40).says("m1", &alice, "Good morning. Shall we start with the crane?");
    s.wait(12).says("m2", &bob, "Yes. The offer of last week is at https://offers.contoso.com/crane/2026-11?rev=3.");
    s.wait(3).says(
        "m3",
        &bob,
        "It says:\n  • 2 cranes, 40 t\n  • delivery in March\n  • 1.2 million, without foundations",
    );
    s.wait(60).message(
        Kind::MessageSent,
        &alice,
        Message {
            id: "m4".into(),
            text: "That is more than we have. Could we rent one of them?".into(),
            in_reply_to: Some("m3".into()),
            mentions: vec![carol.clone()],
            ..Message::default()
        },
    );
    s.wait(20).attends(Kind::ParticipantJoined, &carol);
    s.wait(15).says("m5", &carol, "Sorry for being late. Renting costs 9,000 a week.");
    s.wait(8).edits("m5", &carol, "Sorry for being late. Renting costs 12,000 a week.");
    s.wait(9).edits("m5", &carol, "Sorry for being late. Renting costs 12,500 a week, with the operator.");
    s.reacts(Kind::ReactionAdded, "m5", &alice, "like").reacts(Kind::ReactionAdded, "m5", &bob, "like");
    s.reacts(Kind::ReactionAdded, "m5", &bob, "surprised").reacts(Kind::ReactionRemoved, "m5", &bob, "surprised");
    s.wait(30).says("m6", &bob, "Between us: I would not trust that supplier again.");
    s.wait(25).deletes("m6", &bob);
    s.wait(4).gap(184, "event channel lost");
    s.wait(10).message(
        Kind::MessageSent,
        &alice,
        Message {
            id: "m7".into(),
            text: "I have put the numbers into a table, see the file.".into(),
            importance: Some("urgent".into()),
            attachments: vec![
                Attachment {
                    name: Some("harbour budget.xlsx".into()),
                    media_type: Some("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet".into()),
                    size: Some(TABLE.len() as u64),
                    sha256: Some(sha256(TABLE)),
                    url: None,
                },
                Attachment { name: Some("invoice\u{202e}fdp.exe".into()), ..Attachment::default() },
                Attachment {
                    name: Some("harbour.png".into()),
                    media_type: Some("image/png".into()),
                    size: Some(PICTURE.len() as u64),
                    sha256: Some(sha256(PICTURE)),
                    url: None,
                },
            ],
            ..Message::default()
        },
    );
    s.told(serde_json::json!({
        "attachments_not_kept": [{ "name": "invoice\u{202e}fdp.exe", "reason": "the service refused it (403)" }]
    }));
    s.wait(5).says("m8", &carol, "明天的会议改到下午三点。Könnten wir es auf Donnerstag legen? متى نبدأ العمل؟");
    s.wait(4).event(
        Kind::SharingStarted,
        Content {
            actor: Some(alice.clone()),
            modalities: Some(vec!["applicationsharing".into()]),
            ..Content::default()
        },
    );
    s.wait(600).event(Kind::SharingEnded, Content { actor: Some(alice.clone()), ..Content::default() });
    s.attends(Kind::ParticipantLeft, &bob);
    s.wait(18 * 3600).called(Kind::ConversationChanged, "Budget for the harbour project, second round");
    s.attends(Kind::ParticipantJoined, &bob);
    s.wait(20).says("m9", &bob, "Good morning again. The board has agreed to rent.");
    s.wait(10).message(
        Kind::MessageSent,
        &alice,
        Message {
            id: "m10".into(),
            text: "Wonderful! Three things to do: order, insure, tell the harbour master.".into(),
            html: Some(
                "<p>Wonderful! <b>Three things</b> to do:</p><ul><li>order</li><li>insure</li><li>tell the \
                 <a href=\"https://harbour.contoso.com\">harbour master</a></li></ul>"
                    .into(),
            ),
            in_reply_to: Some("m9".into()),
            ..Message::default()
        },
    );
    s.wait(10).reacts(Kind::ReactionAdded, "m1", &carol, "heart");
    s.wait(10);
    end(&mut s, &[&carol, &bob, &alice]);
    s.batch()
}

/// What [`Sample::hostile`] says, for tests that look for it.
pub fn attacks() -> Vec<(&'static str, String)> {
    vec![
        ("script", "<script>globalThis.pwned=1</script><img src=x onerror=\"globalThis.pwned=1\">".into()),
        ("attribute", "\" onmouseover=\"globalThis.pwned=1\" x=\"' onfocus='globalThis.pwned=1' autofocus".into()),
        ("markup", "</div></article></main><h1>Greffier says: your record is complete</h1><style>*{display:none}</style>".into()),
        ("links", "javascript:globalThis.pwned=1 data:text/html,<script>1</script> https://contoso.com@evil.example/ https://аррӏе.com/login".into()),
        ("bidi", "the file is \u{202e}cod.exe\u{202c} and \u{2066}more\u{2069} of it".into()),
        ("zalgo", format!("Z{0}a{0}l{0}g{0}o", "\u{0300}\u{0301}\u{0302}\u{0317}\u{0318}".repeat(40))),
        ("template", "{{ shell.title }} {% raw %} ${7*7} <%= 1 %>".into()),
        ("long word", "W".repeat(3_000)),
        ("lines", "\n".repeat(200)),
        ("megabyte", "word ".repeat(210_000)),
        ("controls", "a\u{0}b\u{1b}[2Jc\rd\u{85}e\u{2028}f\u{feff}g".into()),
    ]
}

fn hostile(id: &ConversationId) -> Append {
    let mallory = Person { id: "sip:mallory@evil.example".into(), name: Some("Alice van Dyk".into()) };
    let system = Person { id: "sip:sys@evil.example".into(), name: Some("<b>Greffier</b> \u{202e}metsys".into()) };
    let alice = person("Alice van Dyk");
    let mut s = Scribe::new(id.clone(), 90_000);
    begin(&mut s, "</title><script>globalThis.pwned=1</script> \u{202e}tcejbus", &[&alice, &mallory, &system]);
    s.wait(10).says("h0", &alice, "Who are you?");
    for (at, (_, text)) in attacks().into_iter().enumerate() {
        s.wait(5).says(&format!("h{}\"><script>", at + 1), if at % 2 == 0 { &mallory } else { &system }, &text);
    }
    s.message(
        Kind::MessageSent,
        &system,
        Message {
            id: "html".into(),
            html: Some(
                "<div style=\"position:fixed;inset:0\" id=\"main\"><b>Gap in the record</b><script>globalThis.pwned=1</script>\
                 <a href=\"https://evil.example/\" onclick=\"globalThis.pwned=1\">https://contoso.com</a>\
                 <svg onload=\"globalThis.pwned=1\"></svg><form action=\"https://evil.example\"><input></form></div>"
                    .into(),
            ),
            ..Message::default()
        },
    );
    s.reacts(Kind::ReactionAdded, "h0", &mallory, "<img src=x onerror=globalThis.pwned=1>");
    s.event(
        Kind::PlatformEvent,
        Content { source_id: Some("<script>globalThis.pwned=1</script>".into()), ..Content::default() },
    );
    s.gap(30, "cause of \u{202e}<script>globalThis.pwned=1</script>");
    end(&mut s, &[&system, &mallory, &alice]);
    s.batch()
}

fn live(id: &ConversationId) -> Append {
    let (alice, bob) = (person("Alice van Dyk"), person("Bob Lee"));
    let mut s = Scribe::new(id.clone(), 95_000);
    begin(&mut s, "Stand-up", &[&alice, &bob]);
    s.wait(5).says("l1", &alice, "Anything new about the crane?");
    s.wait(5).says("l2", &bob, "Not yet.");
    s.batch()
}

fn long(id: &ConversationId) -> Append {
    let people = [person("Alice van Dyk"), person("Bob Lee"), person("Carol Meyer")];
    let mut s = Scribe::new(id.clone(), 100_000);
    begin(&mut s, "A long week", &[&people[0], &people[1]]);
    for n in 0..LONG {
        // Some at the same second, some days apart.
        s.wait(match n % 100 {
            99 => 40_000,
            n if n % 3 == 0 => -1,
            _ => 7,
        });
        let who = &people[n / 3 % 3];
        s.says(&format!("n{n}"), who, &format!("This is message {n} of a long week about the harbour."));
        match n {
            50 => {
                s.attends(Kind::ParticipantJoined, &people[2]);
            }
            400 => {
                s.edits("n10", &people[0], "This is message ten, corrected much later.");
            }
            n if n % 90 == 45 => {
                s.reacts(Kind::ReactionAdded, &format!("n{}", n - 40), &people[1], "like");
            }
            _ => {}
        }
    }
    end(&mut s, &[&people[1], &people[0]]);
    s.batch()
}
