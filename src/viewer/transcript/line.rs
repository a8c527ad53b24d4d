//! Everything that is no message, told in one quiet line.

use chrono_tz::Tz;

use super::who::Who;
use super::{Setting, Target};
use crate::harmless::one_line;
use crate::model::{Content, Event, Kind, Person, Reason};
use crate::viewer::time::Moment;

/// What a reader can leave out of a transcript; messages and gaps always stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Who came and went.
    People,
    /// Invitations, notices, and when recording began and ended.
    Record,
    /// What happened to the conversation: subject, modalities, sharing.
    Context,
    /// What the platform told that has no kind of its own: of interest to few, so left out unless asked for.
    Platform,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 4] = [Group::People, Group::Record, Group::Context, Group::Platform];

    /// Left out where an address says nothing.
    const LEFT_OUT: [Group; 1] = [Group::Platform];

    /// The groups that an address leaves out: `hide=people.record`; nothing at all is `hide=none`.
    pub fn hidden(text: &str) -> Vec<Group> {
        if text.is_empty() {
            return Group::LEFT_OUT.to_vec();
        }
        Group::ALL.into_iter().filter(|group| text.split('.').any(|word| word == group.word())).collect()
    }

    /// The same as an address says it.
    pub fn words(hidden: &[Group]) -> String {
        match hidden {
            [] => "none".to_owned(),
            hidden if hidden == Group::LEFT_OUT => String::new(),
            hidden => hidden.iter().map(|group| group.word()).collect::<Vec<_>>().join("."),
        }
    }

    /// In addresses.
    pub fn word(self) -> &'static str {
        match self {
            Group::People => "people",
            Group::Record => "record",
            Group::Context => "context",
            Group::Platform => "platform",
        }
    }

    /// On the page.
    pub fn label(self) -> &'static str {
        match self {
            Group::People => "Joins and leaves",
            Group::Record => "Notices and recording",
            Group::Context => "Changes and sharing",
            Group::Platform => "Technical events",
        }
    }

    /// The group of a kind; `None` for what is always shown.
    pub fn of(kind: Kind) -> Option<Group> {
        match kind {
            Kind::ParticipantJoined | Kind::ParticipantLeft | Kind::ParticipantChanged => Some(Group::People),
            Kind::InvitationReceived
            | Kind::InvitationAccepted
            | Kind::InvitationDeclined
            | Kind::InvitationFailed
            | Kind::RecordingStarted
            | Kind::RecordingStopped
            | Kind::RecordingFailed
            | Kind::NoticeSent => Some(Group::Record),
            Kind::ConversationStarted
            | Kind::ConversationChanged
            | Kind::ConversationEnded
            | Kind::ModalityChanged
            | Kind::SharingStarted
            | Kind::SharingEnded => Some(Group::Context),
            Kind::PlatformEvent => Some(Group::Platform),
            Kind::MessageSent
            | Kind::MessageEdited
            | Kind::MessageDeleted
            | Kind::MessageUndelivered
            | Kind::ReactionAdded
            | Kind::ReactionRemoved
            | Kind::CaptureGap => None,
        }
    }
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Words of ours.
    Ours(String),
    /// Words of a stranger or a platform, on one line; harmless.
    Theirs(String),
    /// Somebody.
    Who(Who),
    /// Another event of this conversation.
    Event {
        /// Its permanent place.
        href: String,
        /// What it is called here.
        label: String,
    },
}

/// A quiet line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Place in the log.
    pub seq: u64,
    /// Permanent place in the transcript.
    pub href: String,
    /// When.
    pub moment: Moment,
    /// Class of the sign before it: `joined`, `left`, `record`, `context`, `change`.
    pub sign: &'static str,
    /// The sentence.
    pub words: Vec<Word>,
    /// Text that belongs to it: a notice, a new version of a message that is not on this page.
    pub quote: super::said::Said,
    /// Whether the address names this event.
    pub asked: bool,
}

struct Words(Vec<Word>);

impl Words {
    fn ours(mut self, text: &str) -> Words {
        self.0.push(Word::Ours(text.to_owned()));
        self
    }

    fn theirs(mut self, text: &str) -> Words {
        self.0.push(Word::Theirs(one_line(text)));
        self
    }

    fn who(mut self, who: Who) -> Words {
        self.0.push(Word::Who(who));
        self
    }

    fn why(self, reason: Option<&Reason>) -> Words {
        let told = reason.map(why).unwrap_or_default();
        if told.is_empty() { self } else { self.ours(" (").theirs(&told).ours(")") }
    }

    /// `: subject “…”, state …, modalities …`; nothing if nothing is told.
    fn facts(mut self, content: &Content) -> Words {
        let modality = content.detail.as_ref().and_then(|detail| detail.get("modality")?.as_str());
        let facts = [
            ("subject", content.subject.clone()),
            ("state", content.state.clone()),
            ("with", content.modalities.as_ref().map(|list| list.join(", "))),
            ("for", modality.map(str::to_owned)),
        ];
        for (at, (what, told)) in facts.into_iter().filter_map(|(what, told)| Some((what, told?))).enumerate() {
            self = self.ours(if at == 0 { ": " } else { ", " }).ours(what).ours(" ").theirs(&told);
        }
        self
    }

    fn message(mut self, target: Option<&Target>, setting: &Setting<'_>) -> Words {
        match target {
            Some(target) => {
                self.0.push(Word::Event { href: setting.place(target.seq), label: "a message".to_owned() });
                let glimpse = super::said::glimpse(&target.text, 80);
                if glimpse.is_empty() { self } else { self.ours(" “").theirs(&glimpse).ours("”") }
            }
            None => self.ours("an earlier message"),
        }
    }
}

/// `code/subcode: text`.
pub fn why(reason: &Reason) -> String {
    let code = [&reason.code, &reason.subcode].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/");
    let parts = [code.as_str(), reason.message.as_deref().unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Who joined, left or changed, as a person.
pub fn participant(content: &Content) -> Option<Person> {
    content.participant.as_ref().map(|p| Person { id: p.id.clone(), name: p.name.clone() })
}

/// An event as a line; `target` is the message it is about, where one is known.
pub fn line(event: &Event, target: Option<&Target>, setting: &Setting<'_>) -> Line {
    let content = &event.content;
    let actor = || Who::of(content.actor.as_ref());
    let about = || match (&content.actor, participant(content)) {
        (Some(actor), _) => Who::new(actor),
        (None, Some(person)) => Who::new(&person),
        (None, None) => Who::somebody(),
    };
    let them = || Who::of(participant(content).as_ref());
    let reason = content.reason.as_ref();
    let told = |key: &str| content.detail.as_ref().and_then(|detail| detail.get(key)?.as_str());
    let say = Words(Vec::new());
    let sign = match event.kind {
        Kind::ParticipantJoined => "joined",
        Kind::ParticipantLeft => "left",
        kind if Group::of(kind) == Some(Group::Record) => "record",
        kind if Group::of(kind).is_none() => "change",
        _ => "context",
    };
    let words = match event.kind {
        Kind::ParticipantJoined if content.participant.as_ref().is_some_and(|p| p.in_lobby == Some(true)) => {
            say.who(them()).ours(" waits in the lobby")
        }
        Kind::ParticipantJoined => {
            let say = say.who(them()).ours(" joined");
            match told("found_by") {
                Some(by) => say.ours(" (found by ").theirs(by).ours(")"),
                None => say,
            }
        }
        Kind::ParticipantLeft => say.who(them()).ours(" left").why(reason),
        Kind::ParticipantChanged => changed(say.who(them()), content),
        Kind::MessageEdited => say.who(actor()).ours(" edited ").message(target, setting).ours(". Now it says:"),
        Kind::MessageDeleted => say.who(actor()).ours(" deleted ").message(target, setting),
        Kind::MessageUndelivered => say.ours("Not delivered").why(reason).ours(": ").message(target, setting),
        Kind::MessageSent => say.who(actor()).ours(" said something"),
        Kind::ReactionAdded => {
            let say = say.who(actor()).ours(" reacted with ").theirs(super::message::reaction(content));
            say.ours(" to ").message(target, setting)
        }
        Kind::ReactionRemoved => {
            let say = say.who(actor()).ours(" took back ").theirs(super::message::reaction(content));
            say.ours(" from ").message(target, setting)
        }
        Kind::NoticeSent => say.ours("Everybody was told that this is recorded:"),
        Kind::InvitationReceived => say.who(actor()).ours(" invited the recorder").facts(content),
        Kind::InvitationAccepted => say.ours("The recorder accepted the invitation"),
        Kind::InvitationDeclined => say.ours("The recorder declined the invitation").why(reason),
        Kind::InvitationFailed => say.ours("The invitation came to nothing").why(reason),
        Kind::ConversationStarted => say.ours("The conversation started").facts(content),
        Kind::ConversationChanged => say.ours("The conversation changed").facts(content),
        Kind::ConversationEnded => say.ours("The conversation ended").why(reason),
        Kind::RecordingStarted => say.ours("Recording started: from here on messages are captured"),
        Kind::RecordingStopped => say.ours("Recording stopped: from here on messages are not captured").why(reason),
        Kind::RecordingFailed => say.ours("Recording failed").why(reason),
        Kind::ModalityChanged => match (told("modality"), told("change")) {
            (Some(modality), Some(change)) => say.who(about()).ours(": ").theirs(modality).ours(" ").theirs(change),
            _ => say.who(about()).ours(": modalities changed").facts(content),
        },
        Kind::SharingStarted => say.who(about()).ours(" started sharing").facts(content),
        Kind::SharingEnded => say.who(about()).ours(" stopped sharing").facts(content),
        Kind::PlatformEvent if told("recorder").is_some() => {
            say.ours("The recorder: ").theirs(told("recorder").unwrap_or_default())
        }
        Kind::PlatformEvent | Kind::CaptureGap => {
            let say = say.ours("The platform told something that has no kind of its own");
            match content.source_id.as_deref() {
                Some(id) => say.ours(": ").theirs(id),
                None => say,
            }
        }
    };
    let text = match event.kind {
        Kind::MessageEdited | Kind::NoticeSent | Kind::MessageSent => content.message.as_ref().map(|m| m.text.as_str()),
        _ => None,
    };
    Line {
        seq: event.seq.0,
        href: setting.place(event.seq.0),
        moment: moment(event, setting.zone),
        sign,
        words: words.0,
        quote: text.map(|text| setting.said(text)).unwrap_or_default(),
        asked: setting.at == Some(event.seq),
    }
}

/// When an event happened, as people see it.
pub fn moment(event: &Event, zone: Tz) -> Moment {
    Moment::new(event.source_time.unwrap_or(event.recorded_at), zone)
}

fn changed(say: Words, content: &Content) -> Words {
    let Some(participant) = &content.participant else { return say.ours(" changed") };
    let mut changes: Vec<(&str, &str)> = Vec::new();
    match participant.in_lobby {
        Some(true) => changes.push(("waits in the lobby", "")),
        Some(false) => changes.push(("was admitted", "")),
        None => {}
    }
    match participant.muted {
        Some(true) => changes.push(("was muted", "")),
        Some(false) => changes.push(("was unmuted", "")),
        None => {}
    }
    if let Some(role) = &participant.role {
        changes.push(("has the role ", role));
    }
    if changes.is_empty() {
        return say.ours(" is now called so");
    }
    changes.into_iter().enumerate().fold(say, |say, (at, (what, word))| {
        let say = say.ours(if at == 0 { " " } else { ", " }).ours(what);
        if word.is_empty() { say } else { say.theirs(word) }
    })
}
