//! Who is in a talk: coming, going, roles, lobby, modalities, typing, and what people say.

use serde_json::Value;

use super::channel::Priority;
use super::conversation::{Member, Messaging};
use super::ledger::{Fate, Happened};
use super::pool::{Pool, Sender};
use super::resources::{self, Happening, MessageView};
use super::scenario::Words;
use super::text::data_uri;

impl Words {
    /// Data URI of the plain form.
    pub(super) fn plain_uri(&self) -> Option<String> {
        let text = self.text.as_ref()?;
        let text = if self.line_break { format!("{text}\r\n") } else { text.clone() };
        Some(data_uri("text/plain", &text, &self.charset, self.encoding))
    }

    /// Data URI of the HTML form.
    pub(super) fn html_uri(&self) -> Option<String> {
        Some(data_uri("text/html", self.html.as_ref()?, &self.charset, self.encoding))
    }

    /// The form an invitation carries: plain if there is one.
    pub(super) fn first_uri(&self) -> Option<String> {
        self.plain_uri().or_else(|| self.html_uri())
    }

    /// What people read.
    pub(super) fn shown(&self) -> &str {
        self.text.as_deref().or(self.html.as_deref()).unwrap_or_default()
    }
}

impl Pool {
    /// Whether the session of a talk shows its roster.
    fn inside(&self, t: usize) -> bool {
        self.talks[t].session.as_ref().is_some_and(|s| matches!(s.state, "Connected" | "Conferenced"))
    }

    /// `participant` events of one member, in a view if given.
    pub fn emit_member(
        &mut self,
        t: usize,
        member: &Member,
        kind: &'static str,
        view: Option<&str>,
        embedded: bool,
        reason: Option<(&str, &str)>,
    ) {
        let Some((app, id)) = self.session_key(t) else { return };
        let Some(person) = self.person(&member.id).cloned() else { return };
        let meeting = self.talks[t].meeting_uri.is_some();
        let h = self.hrefs(&app);
        let title = self.title(&person.name, meeting);
        let mut happening = Happening::new("participant", h.participant(&id, &person.address), kind).titled(title);
        if let Some(view) = view {
            let href = match view {
                "typingParticipants" => format!("{}/typingParticipants", h.messaging(&id)),
                _ => format!("{}/participants?filter={view}", h.conversation(&id)),
            };
            happening = happening.inside(view, href, None);
        }
        if embedded && kind != "deleted" {
            let place = meeting.then_some((member.role, member.lobby));
            happening = happening.with(resources::participant(&h, &id, &person, place));
        }
        if let Some((code, subcode)) = reason {
            happening = happening.because(code, subcode);
        }
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }

    /// `participantMessaging` in a member, link only as observed for remote participants.
    pub fn emit_member_messaging(&mut self, t: usize, member: &Member, kind: &'static str) {
        self.emit_member_modality(t, member, "participantMessaging", kind);
    }

    fn emit_member_modality(&mut self, t: usize, member: &Member, rel: &str, kind: &'static str) {
        let Some((app, id)) = self.session_key(t) else { return };
        let Some(person) = self.person(&member.id).cloned() else { return };
        let h = self.hrefs(&app);
        let own = h.participant(&id, &person.address);
        let title = self.title(&person.name, self.talks[t].meeting_uri.is_some());
        let happening = if rel == "applicationSharer" {
            let sharing = format!("{}/applicationSharing", h.conversation(&id));
            Happening::new(rel, format!("{sharing}/applicationSharer"), kind).inside(
                "applicationSharing",
                sharing,
                None,
            )
        } else {
            Happening::new(rel, format!("{own}/{}", resources::modality_path(rel)), kind).inside(
                "participant",
                own,
                Some(title),
            )
        };
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }

    fn view_of(role: &str) -> &'static str {
        if role == "Leader" { "leaders" } else { "attendees" }
    }

    /// Everything that tells of a member's presence in a meeting.
    pub fn announce_member(&mut self, t: usize, member: &Member, embedded: bool) {
        if member.lobby {
            self.emit_member(t, member, "added", Some("lobby"), embedded, None);
            return;
        }
        self.emit_member(t, member, "added", None, embedded, None);
        if self.talks[t].meeting_uri.is_some() {
            self.emit_member(t, member, "added", Some(Self::view_of(member.role)), false, None);
        }
        self.emit_member_messaging(t, member, "added");
    }

    fn change(&mut self, t: usize, happened: Happened, who: &str, detail: impl Into<String>) {
        let (name, href) = (self.talks[t].name.clone(), self.conversation_href(t));
        let address = self.person(who).map(|p| p.address.clone()).unwrap_or_default();
        self.note(happened, &name, &href, &address, detail);
    }

    /// Somebody comes, perhaps into the lobby.
    pub fn join(&mut self, t: usize, who: &str, role: &'static str, lobby: bool, embedded: bool) {
        if self.talks[t].members.iter().any(|m| m.id == who) {
            return;
        }
        let member = Member { id: who.to_owned(), role, lobby };
        self.talks[t].members.push(member.clone());
        self.change(t, Happened::Joined, who, if lobby { "in the lobby" } else { "" });
        if self.inside(t) {
            self.announce_member(t, &member, embedded);
            self.emit_conversation(t, "updated", None);
        }
        let place = if lobby { "waits in the lobby of" } else { "joins" };
        self.tell(format!("{} {place} \"{}\"", self.display(who), self.talks[t].name));
    }

    /// Somebody goes.
    pub fn leave(&mut self, t: usize, who: &str, subcode: Option<&str>) {
        let Some(at) = self.talks[t].members.iter().position(|m| m.id == who) else { return };
        let member = self.talks[t].members.remove(at);
        self.change(t, Happened::Left, who, subcode.unwrap_or_default());
        if self.inside(t) {
            let reason = subcode.map(|s| ("LocalFailure", s));
            if member.lobby {
                self.emit_member(t, &member, "deleted", Some("lobby"), false, reason);
            } else {
                self.emit_member_messaging(t, &member, "deleted");
                if self.talks[t].meeting_uri.is_some() {
                    self.emit_member(t, &member, "deleted", Some(Self::view_of(member.role)), false, None);
                }
                self.emit_member(t, &member, "deleted", None, false, reason);
            }
            self.emit_conversation(t, "updated", None);
        }
        self.tell(format!("{} leaves \"{}\"", self.display(who), self.talks[t].name));
    }

    /// Somebody is promoted or demoted: gone from one view, come into the other.
    pub fn set_role(&mut self, t: usize, who: &str, role: &'static str) {
        let Some(member) = self.talks[t].members.iter_mut().find(|m| m.id == who) else { return };
        let before = std::mem::replace(&mut member.role, role);
        let member = member.clone();
        self.change(t, Happened::Changed, who, format!("role {role}"));
        if self.inside(t) {
            self.emit_member(t, &member, "deleted", Some(Self::view_of(before)), false, None);
            self.emit_member(t, &member, "added", Some(Self::view_of(role)), false, None);
            self.emit_member(t, &member, "updated", None, false, None);
        }
        self.tell(format!("{} is now {} in \"{}\"", self.display(who), role.to_lowercase(), self.talks[t].name));
    }

    /// Lets somebody (`None`: the recorder) in from the lobby.
    pub fn admit(&mut self, t: usize, who: Option<&str>) {
        let Some(who) = who else {
            let waiting =
                self.invitations.iter().find(|(_, i)| i.talk == t && !i.done && i.rel == "onlineMeetingInvitation");
            let waiting = waiting.map(|(id, _)| id.clone());
            if let Some(s) = self.talks[t].session.as_mut() {
                s.lobby = false;
                if let (Some(id), "InLobby") = (waiting, s.state) {
                    self.enter_meeting(t, &id);
                }
            }
            return;
        };
        let Some(member) = self.talks[t].members.iter_mut().find(|m| m.id == who && m.lobby) else { return };
        member.lobby = false;
        let member = member.clone();
        self.change(t, Happened::Changed, who, "admitted");
        if self.inside(t) {
            self.emit_member(t, &member, "deleted", Some("lobby"), false, None);
            self.announce_member(t, &member, false);
            self.emit_conversation(t, "updated", None);
        }
        self.tell(format!("{} is let into \"{}\"", self.display(who), self.talks[t].name));
    }

    /// Sends somebody (`None`: the recorder) away from the lobby.
    pub fn deny(&mut self, t: usize, who: Option<&str>) {
        match who {
            Some(who) => self.leave(t, who, Some("Denied")),
            None => {
                let waiting = self.invitations.iter().find(|(_, i)| i.talk == t && !i.done).map(|(id, _)| id.clone());
                if let Some(id) = waiting {
                    self.tell(format!("The recorder is not let into \"{}\"", self.talks[t].name));
                    self.fail_invitation(&id, "Failed", "RemoteFailure", "Denied");
                }
            }
        }
    }

    /// Starts or ends a modality of somebody.
    pub fn modality(&mut self, t: usize, who: &str, rel: &str, kind: &'static str) {
        self.change(t, Happened::Changed, who, format!("{rel} {kind}"));
        let member = Member { id: who.to_owned(), role: "Attendee", lobby: false };
        if self.inside(t) {
            self.emit_member_modality(t, &member, rel, kind);
        }
        let what = match rel {
            "applicationSharer" => "sharing a screen",
            "participantApplicationSharing" => "watching a shared screen",
            "participantAudio" => "using audio",
            "participantVideo" => "using video",
            "participantMessaging" => "using messages",
            other => other,
        };
        let does = match kind {
            "added" => "begins",
            "deleted" => "stops",
            _ => "goes on",
        };
        self.tell(format!("{} {does} {what} in \"{}\"", self.display(who), self.talks[t].name));
    }

    /// Somebody begins or stops typing.
    pub fn typing(&mut self, t: usize, who: &str, on: bool) {
        self.change(t, Happened::Changed, who, if on { "typing" } else { "not typing" });
        let connected = self.talks[t].session.as_ref().is_some_and(|s| s.messaging == Messaging::Connected);
        let member = self.talks[t].members.iter().find(|m| m.id == who).cloned();
        if let (true, Some(member)) = (connected, member) {
            let kind = if on { "added" } else { "deleted" };
            self.emit_member(t, &member, kind, Some("typingParticipants"), false, None);
        }
    }

    /// Somebody says something; whether the recorder hears it depends on its messaging.
    pub fn say(&mut self, t: usize, by: &str, words: &Words, announce: bool) {
        let Some(person) = self.person(by).cloned() else { return };
        let time_ms = self.stamp();
        let (name, conversation) = (self.talks[t].name.clone(), self.conversation_href(t));
        let line = self.note(Happened::Said, &name, &conversation, &person.address, "");
        let heard = self.talks[t].session.as_ref().is_some_and(|s| s.messaging == Messaging::Connected);
        let entry = &mut self.ledger.entries[line];
        (entry.text, entry.html, entry.time_ms) = (words.text.clone(), words.html.clone(), time_ms);
        entry.fate = if heard { Fate::Queued } else { Fate::NotOffered };
        if heard {
            self.deliver(t, &person.id, words, time_ms, announce, Some(line));
        }
    }

    /// The text of an invitation comes once more as a message.
    pub fn repeat_first_message(&mut self, t: usize, by: &str, words: &Words) {
        let time_ms = self.stamp();
        self.deliver(t, by, words, time_ms, false, None);
    }

    fn deliver(&mut self, t: usize, by: &str, words: &Words, time_ms: i64, announce: bool, line: Option<usize>) {
        let Some((app, id)) = self.session_key(t) else { return };
        let Some(person) = self.person(by).cloned() else { return };
        let h = self.hrefs(&app);
        let number = self.talks[t].session.as_ref().map_or(0, |s| s.messages.len() as u64) + 1;
        let html_negotiated = self.apps.get(&app).is_some_and(|a| a.formats.iter().any(|f| f == "Html"));
        // Without Html the server turns what was written into plain text; here only if there is no plain form already.
        let html = words.html_uri().filter(|_| html_negotiated || words.text.is_none());
        let body = resources::message(
            &h,
            &MessageView {
                id: &id,
                number,
                sender: &person,
                title: self.title(&person.name, self.talks[t].meeting_uri.is_some()),
                time_ms,
                plain: words.plain_uri(),
                html,
            },
        );
        let href = format!("{}/messages/{number}", h.messaging(&id));
        if let Some(line) = line {
            self.ledger.entries[line].href.clone_from(&href);
        }
        if announce {
            self.emit(
                &app,
                Sender::Conversation(&id),
                Priority::High,
                Happening::new("message", href.clone(), "started"),
            );
        }
        self.store_message(t, body.clone());
        let happening = Happening::new("message", href, "completed").with(body).succeeded();
        self.emit_entry(&app, Sender::Conversation(&id), Priority::High, happening, line, line.is_some());
    }

    /// Keeps the body of a message for GET.
    pub fn store_message(&mut self, t: usize, body: Value) {
        if let Some(s) = self.talks[t].session.as_mut() {
            s.messages.push(body);
        }
    }
}
