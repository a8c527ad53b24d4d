//! Who is there: joins, leaves, roles, the lobby, and what people do besides writing (digest §11).

use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::model::{Content, Kind, Participant, Person};

use super::super::wire::{EventType, Resource};
use super::lookup::Look;
use super::record::Flow;
use super::talk::{Item, Presence, Talk};
use super::{Session, TalkKey};

/// What a reference to a participant leads to.
pub(super) enum Who {
    /// From the participant resource.
    Known(Person),
    /// From the reference alone; the resource could not be had.
    Guessed(Person),
    /// There is no reference.
    Nobody,
    /// Being looked up.
    Waiting,
}

/// The stable id in a participant's address: lower case, `sip:` in front unless it has a scheme.
pub(super) fn participant_id(uri: &str) -> String {
    let uri = uri.trim().to_lowercase();
    let schemed = ["sip:", "sips:", "tel:", "im:"].iter().any(|s| uri.starts_with(s));
    if schemed || !uri.contains('@') { uri } else { format!("sip:{uri}") }
}

/// The address in the last segment of a participant's or contact's URL (`…/participants/alice@contoso.com`).
pub(super) fn address_of(href: &str) -> String {
    let path = href.split(['?', '#']).next().unwrap_or(href);
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    participant_id(&percent_decode_str(last).decode_utf8_lossy())
}

fn named(title: Option<&str>) -> Option<String> {
    title.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
}

/// Somebody whose resource cannot be had: the address from the URL, the name from the reference or as last told.
fn guessed(talk: &Talk, url: &str, title: Option<&str>) -> Person {
    let id = address_of(url);
    let name = named(title).or_else(|| talk.roster.get(&id).and_then(|told| told.name.clone()));
    Person { id, name }
}

fn person_of(resource: &Resource, title: Option<&str>) -> Option<Person> {
    let id = participant_id(resource.text("uri")?);
    let name = named(resource.text("name")).or_else(|| named(title));
    Some(Person { id, name })
}

fn presence_of(resource: &Resource) -> Presence {
    Presence {
        name: named(resource.text("name")),
        role: resource.text("role").filter(|r| *r != "Unknown" && !r.is_empty()).map(str::to_owned),
        in_lobby: resource.flag("inLobby"),
    }
}

impl Session {
    /// An invitation shows its sender whole: no need to ask again when the same person speaks.
    pub(super) fn learn_inviter(&self, talk: &mut Talk, invitation: &Resource) {
        let Some(from) = invitation.embedded("from") else { return };
        if let (Some(href), Some(person)) = (from.href(), person_of(&from, None)) {
            talk.people.entry(self.key(href)).or_insert(person);
        }
    }

    /// The sender of a message: its participant, embedded or linked; else its contact.
    pub(super) fn sender(&mut self, talk: &mut Talk, item: &Item, message: &Resource) -> Who {
        let link = message.links("participant").into_iter().next();
        let title = link.as_ref().and_then(|l| l.title.clone());
        if let Some(person) = message.embedded("participant").as_ref().and_then(|r| person_of(r, title.as_deref())) {
            return Who::Known(person);
        }
        match link {
            Some(link) => {
                let url = self.key(&link.href);
                self.whois(talk, item, &url, title.as_deref())
            }
            None => match message.link("contact") {
                Some(contact) => {
                    Who::Guessed(Person { id: address_of(contact), name: named(message.link_title("contact")) })
                }
                None => Who::Nobody,
            },
        }
    }

    /// Somebody by the URL of the participant resource; asked for once, remembered for the conversation.
    fn whois(&mut self, talk: &mut Talk, item: &Item, url: &str, title: Option<&str>) -> Who {
        if let Some(person) = talk.people.get(url) {
            let name = named(title).or_else(|| person.name.clone());
            return Who::Known(Person { id: person.id.clone(), name });
        }
        match self.look(item, url) {
            Look::Waiting => Who::Waiting,
            Look::Ready(resource) => match person_of(&resource, title) {
                Some(person) => {
                    talk.people.insert(url.to_owned(), person.clone());
                    Who::Known(person)
                }
                None => Who::Guessed(guessed(talk, url, title)),
            },
            Look::Missing => Who::Guessed(guessed(talk, url, title)),
        }
    }

    fn is_recorder(&self, item: &Item, person: Option<&Person>) -> bool {
        item.event.link.rel == "localParticipant"
            || item.event.resource.as_ref().and_then(|r| r.flag("local")) == Some(true)
            || person.is_some_and(|p| p.id == self.settings.sign_in)
            || address_of(&item.href) == self.settings.sign_in
    }

    pub(super) fn record_participant(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        if self.is_recorder(item, talk.people.get(&item.href)) {
            return self.record_other(talk, item);
        }
        let flow = match (item.event.inside.as_ref().map(|l| l.rel.as_str()), &item.event.kind) {
            (None, EventType::Deleted) => self.record_left(talk, item),
            (None, _) => self.record_joined(talk, item),
            (Some("lobby"), EventType::Added) => self.record_waiting(talk, item),
            (Some("lobby"), EventType::Deleted) => self.record_lobby_exit(talk, item),
            (Some("leaders"), EventType::Added) => self.record_role(talk, item, "Leader"),
            (Some("attendees"), EventType::Added) => self.record_role(talk, item, "Attendee"),
            _ => self.record_other(talk, item),
        };
        if flow == Flow::Done {
            self.consider_alone(talk, key);
        }
        flow
    }

    /// Reads the participant resource of an item: who, and what is told of them.
    fn participant(&mut self, talk: &mut Talk, item: &Item) -> Option<(Person, Presence, bool)> {
        let title = item.event.link.title.clone();
        let read = match self.resource(item) {
            Look::Waiting => return None,
            Look::Ready(resource) => person_of(&resource, title.as_deref()).map(|p| (p, presence_of(&resource))),
            Look::Missing => None,
        };
        Some(match read {
            Some((person, mut presence)) => {
                presence.name = person.name.clone();
                talk.people.insert(item.href.clone(), person.clone());
                (person, presence, true)
            }
            None => {
                let known = talk.people.get(&item.href).cloned();
                let guessed = known.is_none();
                let person =
                    known.unwrap_or_else(|| Person { id: address_of(&item.href), name: named(title.as_deref()) });
                let presence = Presence { name: person.name.clone(), ..Presence::default() };
                (person, presence, !guessed)
            }
        })
    }

    fn about(person: &Person, presence: &Presence, item: &Item, resolved: bool) -> Content {
        let mut detail = serde_json::Map::new();
        if item.hint.by_census {
            detail.insert("found_by".into(), json!("roster check"));
        }
        if !resolved {
            detail.insert("unresolved".into(), json!(true));
        }
        Content {
            participant: Some(Participant {
                id: person.id.clone(),
                name: presence.name.clone().or_else(|| person.name.clone()),
                role: presence.role.clone(),
                in_lobby: presence.in_lobby,
                muted: None,
            }),
            detail: (!detail.is_empty()).then(|| detail.into()),
            reason: item.event.reason.clone(),
            source_id: Some(item.event.link.href.clone()),
            ..Content::default()
        }
    }

    fn record_joined(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        // The roster check may be older than the channel: somebody it cannot show any more did not join.
        if item.hint.by_census && matches!(self.resource(item), Look::Missing) {
            return Flow::Done;
        }
        let Some((person, mut told, resolved)) = self.participant(talk, item) else { return Flow::Wait };
        if person.id == self.settings.sign_in {
            return Flow::Done;
        }
        if told.role.is_none() {
            told.role.clone_from(&item.hint.role);
        }
        let Some(before) = talk.roster.get(&person.id).cloned() else {
            if told.in_lobby == Some(false) {
                told.in_lobby = None;
            }
            let content = Self::about(&person, &told, item, resolved);
            talk.roster.insert(person.id, told);
            self.say(talk, item, Kind::ParticipantJoined, content);
            return Flow::Done;
        };
        let mut now = Presence {
            name: told.name.or(before.name.clone()),
            role: told.role.or(before.role.clone()),
            in_lobby: before.in_lobby,
        };
        let admitted = before.in_lobby == Some(true) && told.in_lobby != Some(true);
        if admitted {
            now.in_lobby = Some(false);
        }
        let changed = now != before;
        talk.roster.insert(person.id.clone(), now.clone());
        if item.hint.by_census {
            return Flow::Done;
        }
        // An update without a visible change is about our rights over the person; a role view of the same batch says
        // the same more clearly.
        if changed || (item.event.kind == EventType::Updated && !item.hint.admitted) {
            let content = Self::about(&person, &now, item, resolved);
            self.say(talk, item, Kind::ParticipantChanged, content);
        }
        Flow::Done
    }

    fn record_left(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let known = talk.people.get(&item.href).cloned();
        let resolved = known.is_some();
        let person = known
            .unwrap_or_else(|| Person { id: address_of(&item.href), name: named(item.event.link.title.as_deref()) });
        match talk.roster.remove(&person.id) {
            Some(mut presence) => {
                presence.in_lobby = presence.in_lobby.filter(|waiting| *waiting);
                let content = Self::about(&person, &presence, item, true);
                self.say(talk, item, Kind::ParticipantLeft, content);
            }
            // Came and went between two batches.
            None if !resolved => {
                let content = Self::about(&person, &Presence::default(), item, false);
                self.say(talk, item, Kind::ParticipantLeft, content);
            }
            None => {}
        }
        Flow::Done
    }

    fn record_waiting(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let Some((person, mut told, resolved)) = self.participant(talk, item) else { return Flow::Wait };
        told.in_lobby = Some(true);
        let kind = match talk.roster.get(&person.id) {
            Some(before) if before.in_lobby == Some(true) => return Flow::Done,
            Some(_) => Kind::ParticipantChanged,
            None => Kind::ParticipantJoined,
        };
        let content = Self::about(&person, &told, item, resolved);
        talk.roster.insert(person.id, told);
        self.say(talk, item, kind, content);
        Flow::Done
    }

    /// Out of the lobby: admitted, refused, or gone. The batch may tell; else the participant resource does.
    fn record_lobby_exit(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let person = match talk.people.get(&item.href) {
            Some(person) => person.clone(),
            None => Person { id: address_of(&item.href), name: named(item.event.link.title.as_deref()) },
        };
        let Some(before) = talk.roster.get(&person.id).filter(|p| p.in_lobby == Some(true)).cloned() else {
            return Flow::Done;
        };
        let admitted = if item.hint.admitted {
            true
        } else if item.hint.left {
            return Flow::Done;
        } else {
            match self.look(item, &item.href.clone()) {
                Look::Waiting => return Flow::Wait,
                Look::Ready(resource) if resource.flag("inLobby") == Some(true) => return Flow::Done,
                Look::Ready(_) => true,
                Look::Missing => false,
            }
        };
        let mut presence = before;
        if admitted {
            presence.in_lobby = Some(false);
            presence.role = presence.role.or_else(|| item.hint.role.clone());
            talk.roster.insert(person.id.clone(), presence.clone());
            let content = Self::about(&person, &presence, item, true);
            self.say(talk, item, Kind::ParticipantChanged, content);
        } else {
            talk.roster.remove(&person.id);
            let content = Self::about(&person, &presence, item, true);
            self.say(talk, item, Kind::ParticipantLeft, content);
        }
        Flow::Done
    }

    fn record_role(&mut self, talk: &mut Talk, item: &Item, role: &str) -> Flow {
        let known = talk.people.get(&item.href).cloned().filter(|p| talk.roster.contains_key(&p.id));
        let Some(person) = known else { return self.record_joined(talk, item) };
        let Some(presence) = talk.roster.get_mut(&person.id) else { return Flow::Done };
        let admitted = presence.in_lobby == Some(true);
        if presence.role.as_deref() == Some(role) && !admitted {
            return Flow::Done;
        }
        presence.role = Some(role.to_owned());
        if admitted {
            presence.in_lobby = Some(false);
        }
        let presence = presence.clone();
        let content = Self::about(&person, &presence, item, true);
        self.say(talk, item, Kind::ParticipantChanged, content);
        Flow::Done
    }

    // ---- other modalities ---------------------------------------------------------------------------------------

    /// The participant a modality event is about: its `in`, else the parent of its own URL.
    fn doer(&mut self, talk: &mut Talk, item: &Item) -> Who {
        let (href, title) = match &item.event.inside {
            Some(link) if link.rel == "participant" || link.rel == "localParticipant" => {
                (self.key(&link.href), link.title.clone())
            }
            _ if item.href.contains("/participants/") => match item.href.rsplit_once('/') {
                Some((parent, _)) => (parent.to_owned(), None),
                None => return Who::Nobody,
            },
            _ => match item.event.resource.as_ref().and_then(|r| r.link("participant")) {
                Some(href) => (self.key(href), None),
                None => return Who::Nobody,
            },
        };
        self.whois(talk, item, &href, title.as_deref())
    }

    pub(super) fn record_modality(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let who = match self.doer(talk, item) {
            Who::Waiting => return Flow::Wait,
            Who::Known(person) | Who::Guessed(person) => person,
            Who::Nobody => return self.record_other(talk, item),
        };
        if who.id == self.settings.sign_in {
            return self.record_other(talk, item);
        }
        let modality = match item.event.link.rel.as_str() {
            "participantAudio" => "audio",
            "participantVideo" => "video",
            "participantPanoramicVideo" => "panoramic video",
            "participantApplicationSharing" => "application sharing",
            _ => "data collaboration",
        };
        let change = match item.event.kind {
            EventType::Added | EventType::Started => "added",
            EventType::Deleted => "removed",
            _ => "changed",
        };
        let content = Content {
            actor: Some(who.clone()),
            participant: Some(Participant { id: who.id, name: who.name, ..Participant::default() }),
            detail: Some(json!({"modality": modality, "change": change})),
            source_id: Some(item.event.link.href.clone()),
            reason: item.event.reason.clone(),
            ..Content::default()
        };
        self.say(talk, item, Kind::ModalityChanged, content);
        Flow::Done
    }

    pub(super) fn record_sharing(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let kind = match item.event.kind {
            EventType::Added | EventType::Started => Kind::SharingStarted,
            EventType::Deleted => Kind::SharingEnded,
            _ => return self.record_other(talk, item),
        };
        let who = if item.event.kind == EventType::Deleted && item.event.resource.is_none() {
            Who::Nobody
        } else {
            match self.resource(item) {
                Look::Waiting => return Flow::Wait,
                Look::Ready(resource) => match resource.link("participant") {
                    Some(href) => {
                        let url = self.key(href);
                        self.whois(talk, item, &url, resource.link_title("participant"))
                    }
                    None => Who::Nobody,
                },
                Look::Missing => Who::Nobody,
            }
        };
        let actor = match who {
            Who::Waiting => return Flow::Wait,
            Who::Known(person) | Who::Guessed(person) => Some(person),
            Who::Nobody => talk.sharer.take(),
        };
        talk.sharer = actor.clone().filter(|_| kind == Kind::SharingStarted);
        let content = Content {
            actor,
            source_id: Some(item.event.link.href.clone()),
            reason: item.event.reason.clone(),
            ..Content::default()
        };
        self.say(talk, item, kind, content);
        Flow::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_addresses() {
        assert_eq!(participant_id(" SIP:Alice@Contoso.com "), "sip:alice@contoso.com");
        assert_eq!(participant_id("alice@contoso.com"), "sip:alice@contoso.com");
        assert_eq!(participant_id("tel:+4912"), "tel:+4912");
        assert_eq!(address_of("/a/b/participants/Alice%40contoso.com?x=1"), "sip:alice@contoso.com");
        assert_eq!(address_of("/a/people/user@example.com/"), "sip:user@example.com");
    }
}
