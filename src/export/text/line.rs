//! One event as lines of a transcript.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use super::second;
use crate::harmless::{name, one_line};
use crate::model::{Content, Event, FileOf, Kind, Participant, Person, Reason};

/// Messages that a later edit or deletion can still be led back to.
const REMEMBERED: usize = 20_000;
/// Before each further line of a message.
const MORE: &str = "            | ";
/// Above and below a gap.
const BAR: &str = "==============================================================================";

/// Writes events of one transcript, in order of time.
#[derive(Default)]
pub(in crate::export) struct Lines {
    day: Option<String>,
    /// Which address was first shown under a name; others under the same name are shown with theirs.
    names: HashMap<String, String>,
    /// Message id to seq of its first version, oldest first out.
    messages: HashMap<String, u64>,
    order: VecDeque<String>,
}

impl Lines {
    /// Nothing has been written yet.
    pub(super) fn is_new(&self) -> bool {
        self.day.is_none()
    }

    pub(super) fn write(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        let at = event.source_time.unwrap_or(event.recorded_at);
        let day = at.to_chrono().format("%Y-%m-%d, %A").to_string();
        if self.day.as_ref() != Some(&day) {
            write!(out, "\n{day}\n\n")?;
            self.day = Some(day);
        }
        if event.kind == Kind::CaptureGap {
            return gap(event, out);
        }
        let said = self.said(event);
        let mut said = said.split('\n');
        let time = at.to_chrono().format("%H:%M:%S");
        writeln!(out, "{time}  [{}] {}", event.seq, one_line(said.next().unwrap_or_default()))?;
        for line in said {
            writeln!(out, "{MORE}{}", one_line(line))?;
        }
        for file in event.content.files() {
            writeln!(out, "{MORE}attachment: {}", attached(&file))?;
        }
        Ok(())
    }

    /// What happened, in words. Line breaks in it are those of a message.
    pub(in crate::export) fn said(&mut self, event: &Event) -> String {
        let content = &event.content;
        let text = content.message.as_ref().map(|message| message.text.as_str()).unwrap_or_default();
        let actor = match &content.actor {
            Some(person) => self.person(person),
            None => "somebody".to_owned(),
        };
        let reason = content.reason.as_ref().map(why).unwrap_or_default();
        match event.kind {
            Kind::MessageSent => {
                self.remember(event);
                let importance = content.message.as_ref().and_then(|message| message.importance.as_deref());
                let mark = match importance {
                    None | Some("normal") => String::new(),
                    Some(importance) => format!(" ({})", one_line(importance)),
                };
                format!("{actor}{mark}: {text}")
            }
            Kind::MessageEdited => format!("{actor} edited {}: {text}", self.message(content)),
            Kind::MessageDeleted => format!("- {actor} deleted {}", self.message(content)),
            Kind::MessageUndelivered => format!("- not delivered{reason}: {text}"),
            Kind::NoticeSent => format!("- notice that this is recorded: {text}"),
            Kind::ReactionAdded | Kind::ReactionRemoved => {
                let what = one_line(content.reaction.as_deref().unwrap_or("something"));
                let verb = if event.kind == Kind::ReactionAdded { "reacted with" } else { "took back" };
                format!("- {actor} {verb} {what} to {}", self.message(content))
            }
            Kind::ParticipantJoined | Kind::ParticipantLeft | Kind::ParticipantChanged => {
                self.attendance(event, &reason)
            }
            Kind::InvitationReceived => format!("- {actor} invited the recorder{}", facts(content)),
            Kind::InvitationAccepted => "- the recorder accepted the invitation".to_owned(),
            Kind::InvitationDeclined => format!("- the recorder declined the invitation{reason}"),
            Kind::InvitationFailed => format!("- the invitation came to nothing{reason}"),
            Kind::ConversationStarted => format!("- the conversation started{}", facts(content)),
            Kind::ConversationChanged => format!("- the conversation changed{}", facts(content)),
            Kind::ConversationEnded => format!("- the conversation ended{reason}"),
            Kind::RecordingStarted => "- recording started: from here on messages are captured".to_owned(),
            Kind::RecordingStopped => format!("- recording stopped: from here on messages are not captured{reason}"),
            Kind::RecordingFailed => format!("- recording failed{reason}"),
            Kind::ModalityChanged => {
                let told =
                    |key: &str| content.detail.as_ref().and_then(|detail| detail.get(key)?.as_str()).map(one_line);
                let what = match (told("modality"), told("change")) {
                    (Some(modality), Some(change)) => format!("{modality} {change}"),
                    _ => "modalities changed".to_owned(),
                };
                format!("- {}: {what}{}", self.about(content), facts(content))
            }
            Kind::SharingStarted => format!("- {} started sharing{}", self.about(content), facts(content)),
            Kind::SharingEnded => format!("- {} stopped sharing{}", self.about(content), facts(content)),
            Kind::CaptureGap | Kind::PlatformEvent => {
                let id = content.source_id.as_deref().map(|id| format!(" {}", one_line(id))).unwrap_or_default();
                format!("- {}{id} (details with --json)", event.kind)
            }
        }
    }

    fn attendance(&mut self, event: &Event, reason: &str) -> String {
        let Some(participant) = &event.content.participant else { return format!("- {}", event.kind) };
        let who = self.participant(participant);
        match event.kind {
            Kind::ParticipantJoined if participant.in_lobby == Some(true) => format!("- {who} waits in the lobby"),
            Kind::ParticipantJoined => {
                let found = event.content.detail.as_ref().and_then(|detail| detail.get("found_by")?.as_str());
                let found = found.map(|by| format!(" (found by {})", one_line(by))).unwrap_or_default();
                format!("- {who} joined{found}")
            }
            Kind::ParticipantLeft => format!("- {who} left{reason}"),
            _ => {
                let mut changes = Vec::new();
                if let Some(in_lobby) = participant.in_lobby {
                    changes.push(if in_lobby { "waits in the lobby" } else { "admitted" }.to_owned());
                }
                if let Some(muted) = participant.muted {
                    changes.push(if muted { "muted" } else { "unmuted" }.to_owned());
                }
                if let Some(role) = &participant.role {
                    changes.push(format!("role {}", one_line(role)));
                }
                format!("- {who} changed: {}", if changes.is_empty() { "name".to_owned() } else { changes.join(", ") })
            }
        }
    }

    fn about(&mut self, content: &Content) -> String {
        match (&content.actor, &content.participant) {
            (Some(actor), _) => self.person(actor),
            (None, Some(participant)) => self.participant(participant),
            (None, None) => "somebody".to_owned(),
        }
    }

    fn participant(&mut self, participant: &Participant) -> String {
        self.person(&Person { id: participant.id.clone(), name: participant.name.clone() })
    }

    /// A name, with the address if another person bore the same name before.
    pub(in crate::export) fn person(&mut self, person: &Person) -> String {
        let Some(told) = person.name.as_deref().filter(|told| !told.is_empty()) else {
            return format!("<{}>", one_line(&person.id));
        };
        let shown = name(told);
        if self.names.len() >= REMEMBERED {
            self.names.clear();
        }
        // Case and blanks do not make another name to the eye.
        let key: String = told.to_lowercase().split_whitespace().collect();
        let owner = self.names.entry(key).or_insert_with(|| person.id.clone());
        if *owner == person.id { shown } else { format!("{shown} <{}>", one_line(&person.id)) }
    }

    pub(in crate::export) fn remember(&mut self, event: &Event) {
        let Some(message) = &event.content.message else { return };
        if self.messages.insert(message.id.clone(), event.seq.0).is_none() {
            self.order.push_back(message.id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
    }

    /// The event that first told a message of this id, if it was not long ago.
    pub(in crate::export) fn place_of(&self, message: &str) -> Option<u64> {
        self.messages.get(message).copied()
    }

    /// `[42]`: the place of the message that an event is about.
    pub(in crate::export) fn message(&self, content: &Content) -> String {
        let known = content.message.as_ref().and_then(|message| self.messages.get(&message.id));
        known.map_or_else(|| "an earlier message".to_owned(), |seq| format!("[{seq}]"))
    }
}

fn gap(event: &Event, out: &mut dyn Write) -> io::Result<()> {
    let said = match &event.content.gap {
        Some(gap) => {
            let seconds = gap.to.since(gap.from).as_millis().div_ceil(1000);
            format!("{} to {} ({seconds} s): {}", second(gap.from), second(gap.to), one_line(&gap.cause))
        }
        None => "of unknown length".to_owned(),
    };
    write!(out, "\n{BAR}\n== GAP [{}]  {said}\n== Something may be missing here.\n{BAR}\n\n", event.seq)
}

/// `: subject "…", state …, modalities …`; nothing if nothing is told.
fn facts(content: &Content) -> String {
    let mut facts = Vec::new();
    if let Some(subject) = &content.subject {
        facts.push(format!("subject \"{}\"", one_line(subject).replace('"', "\\\"")));
    }
    if let Some(state) = &content.state {
        facts.push(format!("state {}", one_line(state)));
    }
    if let Some(modalities) = &content.modalities {
        facts.push(format!("modalities {}", one_line(&modalities.join(", "))));
    }
    if let Some(modality) = content.detail.as_ref().and_then(|detail| detail.get("modality")?.as_str()) {
        facts.push(format!("for {}", one_line(modality)));
    }
    if facts.is_empty() { String::new() } else { format!(": {}", facts.join(", ")) }
}

/// ` (code/subcode: text)`.
pub(in crate::export) fn why(reason: &Reason) -> String {
    let code = [&reason.code, &reason.subcode].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/");
    let parts: Vec<&str> = [code.as_str(), reason.message.as_deref().unwrap_or_default()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", one_line(&parts.join(": "))) }
}

/// Name, type, size and hash of a file, and why it is not kept.
pub(in crate::export) fn attached(file: &FileOf<'_>) -> String {
    let attachment = &file.attachment;
    let mut said = attachment.name.as_deref().map_or_else(|| "without name".to_owned(), name);
    let mut facts = Vec::new();
    facts.extend(attachment.media_type.as_deref().map(one_line));
    facts.extend(attachment.size.map(|bytes| format!("{bytes} bytes")));
    facts.extend(attachment.sha256.as_deref().map(|hash| format!("sha256 {}", one_line(hash))));
    facts.extend(file.reason.filter(|_| !file.is_kept()).map(|reason| format!("not kept: {}", one_line(reason))));
    if !facts.is_empty() {
        said.push_str(&format!(" ({})", facts.join(", ")));
    }
    said
}
