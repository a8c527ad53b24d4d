//! Talks between people, the recorder's session in each, and the invitations that lead to one.
//!
//! A talk is what people have; a session is how one application of the recorder sees it. Talks outlive sessions: after a
//! lost application the meeting goes on and can be joined again by its `onlineMeetingUri`.

use serde_json::{Value, json};

use super::channel::Priority;
use super::ledger::{Fate, Happened};
use super::pool::{Pool, Sender};
use super::resources::{self, ConversationView, Happening, link};
use super::scenario::Words;

/// Somebody in a talk.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Id in the cast.
    pub id: String,
    pub role: &'static str,
    pub lobby: bool,
}

/// A conversation of people.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// The scenario's name for it.
    pub name: String,
    pub thread: String,
    pub subject: String,
    pub importance: &'static str,
    /// Set for meetings.
    pub meeting_uri: Option<String>,
    pub members: Vec<Member>,
    pub session: Option<Session>,
    pub over: bool,
    /// How many POSTs to addMessaging are answered 409 for no visible reason.
    pub conflicts: u32,
    /// How many of the recorder's messages fail.
    pub fail_sends: u32,
    pub audience_messaging: bool,
    /// POSTs to addMessaging so far.
    pub add_messaging: u64,
    /// Messages of the recorder so far.
    pub sent: u64,
}

/// The state of our messaging in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Messaging {
    /// Not connected; `true`: with the link addMessaging.
    Disconnected(bool),
    Connecting,
    Connected,
}

/// How an application of the recorder sees a talk.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub app: String,
    /// Identifier of the conversation in hrefs.
    pub id: String,
    pub state: &'static str,
    pub messaging: Messaging,
    /// Bodies of the messages, by number from 1, for GET.
    pub messages: Vec<Value>,
    /// Accepted by the server on its own and not yet acknowledged by the user.
    pub unacknowledged: bool,
    /// The meeting puts the recorder into the lobby first.
    pub lobby: bool,
}

/// An invitation, incoming or made by the recorder.
#[derive(Clone, Debug)]
pub(super) struct Invitation {
    pub app: String,
    pub rel: &'static str,
    pub talk: usize,
    pub conversation: String,
    pub incoming: bool,
    pub state: &'static str,
    /// Cast id of the inviter, or of who is invited by the recorder.
    pub other: String,
    pub operation: Option<String>,
    /// Data URI of the first message.
    pub message: Option<String>,
    pub words: Option<Words>,
    pub repeat_first: bool,
    pub from_link: bool,
    /// The recorder has accepted.
    pub accepted: bool,
    pub done: bool,
    pub modalities: Vec<String>,
}

/// Something that happens a little later.
#[derive(Clone, Debug)]
pub(super) enum Timer {
    /// The recorder gets into what it accepted or joined.
    Enter(String),
    /// The messaging asked for is connected.
    MessagingUp(String),
    /// Nobody has answered.
    RingOut(String),
}

impl Pool {
    /// The number of the talk with this name.
    pub fn talk(&self, name: &str) -> Option<usize> {
        self.talks.iter().position(|t| t.name == name)
    }

    /// The talk whose present session has this conversation, for one application.
    pub fn talk_of(&self, app: &str, conversation: &str) -> Option<usize> {
        self.talks.iter().position(|t| t.session.as_ref().is_some_and(|s| s.app == app && s.id == conversation))
    }

    /// Starts a talk.
    pub fn add_talk(&mut self, name: &str, subject: &str, importance: &'static str) -> usize {
        let thread = self.new_thread();
        self.talks.push(Talk {
            name: name.to_owned(),
            thread,
            subject: subject.to_owned(),
            importance,
            meeting_uri: None,
            members: Vec::new(),
            session: None,
            over: false,
            conflicts: 0,
            fail_sends: 0,
            audience_messaging: true,
            add_messaging: 0,
            sent: 0,
        });
        self.talks.len() - 1
    }

    /// Makes a talk a meeting with an address of its own.
    pub fn make_meeting(&mut self, t: usize, organizer: &str) {
        if self.talks[t].meeting_uri.is_none() {
            let id = self.new_guid()[..8].to_ascii_uppercase();
            let address = self.person(organizer).map(|p| p.address.clone()).unwrap_or_default();
            self.talks[t].meeting_uri = Some(format!("{address};gruu;opaque=app:conf:focus:id:{id}"));
        }
    }

    /// Puts somebody into a talk without telling anyone; repeated calls change nothing.
    pub fn add_member(&mut self, t: usize, id: &str, role: &'static str, lobby: bool) {
        if !self.talks[t].members.iter().any(|m| m.id == id) {
            self.talks[t].members.push(Member { id: id.to_owned(), role, lobby });
        }
    }

    /// Opens a session in a state that says how it began.
    pub fn open_session(&mut self, t: usize, app: &str, state: &'static str, lobby: bool) -> String {
        let id = self.new_guid();
        self.talks[t].session = Some(Session {
            app: app.to_owned(),
            id: id.clone(),
            state,
            messaging: Messaging::Disconnected(false),
            messages: Vec::new(),
            unacknowledged: false,
            lobby,
        });
        id
    }

    /// The `conversation` resource of a session.
    pub fn conversation_body(&self, t: usize) -> Option<Value> {
        let talk = &self.talks[t];
        let s = talk.session.as_ref()?;
        let conferenced = matches!(s.state, "Conferenced");
        let account = self.account();
        Some(resources::conversation(
            &self.hrefs(&s.app),
            &ConversationView {
                id: &s.id,
                state: s.state,
                thread: &talk.thread,
                subject: &talk.subject,
                importance: talk.importance,
                modalities: if s.state == "Connecting" { vec![] } else { vec!["Messaging".to_owned()] },
                conferenced: conferenced.then(|| talk.members.iter().filter(|m| !m.lobby).count() + 1),
                audience_messaging: talk.audience_messaging,
                unacknowledged: s.unacknowledged,
                local: &account,
                local_known: matches!(s.state, "Connected" | "Conferenced" | "InLobby"),
            },
        ))
    }

    /// The `messaging` resource of a session.
    pub fn messaging_body(&self, t: usize) -> Option<Value> {
        let s = self.talks[t].session.as_ref()?;
        let (state, offered) = match s.messaging {
            Messaging::Disconnected(offered) => ("Disconnected", offered),
            Messaging::Connecting => ("Connecting", false),
            Messaging::Connected => ("Connected", false),
        };
        let formats = self.apps.get(&s.app).map(|a| a.formats.clone()).unwrap_or_default();
        Some(resources::messaging(&self.hrefs(&s.app), &s.id, state, offered, &formats))
    }

    /// `conversation added` or `updated`, as the resource stands now.
    pub fn emit_conversation(&mut self, t: usize, kind: &'static str, reason: Option<(&str, &str)>) {
        let Some(body) = self.conversation_body(t) else { return };
        let Some((app, id)) = self.session_key(t) else { return };
        let mut happening = Happening::new("conversation", self.hrefs(&app).conversation(&id), kind).with(body);
        if let Some((code, subcode)) = reason {
            happening = happening.because(code, subcode);
        }
        self.emit(&app, Sender::Communication, Priority::High, happening);
    }

    /// `messaging updated`, as the resource stands now.
    pub fn emit_messaging(&mut self, t: usize, reason: Option<(&str, &str)>) {
        let Some(body) = self.messaging_body(t) else { return };
        let Some((app, id)) = self.session_key(t) else { return };
        let mut happening = Happening::new("messaging", self.hrefs(&app).messaging(&id), "updated").with(body);
        if let Some((code, subcode)) = reason {
            happening = happening.because(code, subcode);
        }
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }

    /// Application and conversation of the session of a talk.
    pub fn session_key(&self, t: usize) -> Option<(String, String)> {
        self.talks[t].session.as_ref().map(|s| (s.app.clone(), s.id.clone()))
    }

    /// Href of the conversation for the ledger; empty without a session.
    pub fn conversation_href(&self, t: usize) -> String {
        self.session_key(t).map(|(app, id)| self.hrefs(&app).conversation(&id)).unwrap_or_default()
    }

    /// Changes the state of our messaging, tells the channel and the ledger.
    pub fn set_messaging(&mut self, t: usize, to: Messaging, reason: Option<(&str, &str)>) {
        let Some(s) = self.talks[t].session.as_mut() else { return };
        let before = std::mem::replace(&mut s.messaging, to);
        if before != to {
            let (name, href) = (self.talks[t].name.clone(), self.conversation_href(t));
            if to == Messaging::Connected {
                self.note(Happened::MessagingConnected, &name, &href, "", "");
            } else if before == Messaging::Connected {
                self.note(Happened::MessagingLost, &name, &href, "", reason.map_or("", |r| r.1));
            }
        }
        self.emit_messaging(t, reason);
    }

    /// `localParticipant added`, in a view if given.
    pub fn emit_local(&mut self, t: usize, kind: &'static str, view: Option<&str>, reason: Option<(&str, &str)>) {
        let Some((app, id)) = self.session_key(t) else { return };
        let h = self.hrefs(&app);
        let account = self.account();
        let meeting = self.talks[t].meeting_uri.is_some();
        let in_lobby = self.talks[t].session.as_ref().is_some_and(|s| s.state == "InLobby");
        let mut happening =
            Happening::new("localParticipant", h.participant(&id, account.address), kind).titled(account.name);
        if kind != "deleted" {
            happening = happening.with(resources::local_participant(&h, &id, &account, meeting.then_some(in_lobby)));
        }
        if let Some(view) = view {
            let href = format!("{}/participants?filter={view}", h.conversation(&id));
            happening = happening.inside(view, href, None);
        }
        if let Some((code, subcode)) = reason {
            happening = happening.because(code, subcode);
        }
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }

    /// The resource of an invitation.
    pub fn invitation_body(&self, id: &str) -> Option<Value> {
        let i = self.invitations.get(id)?;
        let talk = &self.talks[i.talk];
        let h = self.hrefs(&i.app);
        let own = h.invitation(i.rel, id);
        let mut body = json!({
            "rel": i.rel, "direction": if i.incoming { "Incoming" } else { "Outgoing" }, "importance": talk.importance,
            "threadId": talk.thread, "state": i.state, "subject": talk.subject,
        });
        let mut links = json!({ "self": link(own.clone()), "conversation": link(h.conversation(&i.conversation)) });
        if i.rel == "messagingInvitation" {
            links["messaging"] = link(h.messaging(&i.conversation));
        }
        if i.rel == "onlineMeetingInvitation" {
            body["onlineMeetingUri"] = talk.meeting_uri.clone().unwrap_or_default().into();
            if i.incoming {
                body["availableModalities"] = i.modalities.clone().into();
            }
        }
        let me = self.account();
        if let Some(message) = &i.message {
            links["message"] = link(message.clone());
        }
        if i.incoming {
            links["to"] = link(h.contact(me.address));
            if i.state == "Connecting" && !i.accepted {
                links["accept"] = link(format!("{own}/accept"));
                links["decline"] = link(format!("{own}/decline"));
            }
            if let Some(from) = self.person(&i.other) {
                if i.from_link {
                    links["from"] =
                        json!({ "href": h.participant(&i.conversation, &from.address), "title": from.name });
                } else {
                    body["_embedded"] = json!({ "from": resources::participant(&h, &i.conversation, from, None) });
                }
            }
        } else {
            links["from"] = json!({ "href": h.participant(&i.conversation, me.address), "title": me.name });
            if let Some(operation) = &i.operation {
                body["operationId"] = operation.clone().into();
            }
            if i.state == "Connecting" {
                links["cancel"] = link(format!("{}/terminate", h.messaging(&i.conversation)));
            }
            if let Some(to) = self.person(&i.other) {
                links["to"] = link(h.contact(&to.address));
                if i.state == "Connected" {
                    let who = resources::participant(&h, &i.conversation, to, None);
                    body["_embedded"] = json!({ "acceptedByParticipant": [who] });
                }
            }
        }
        body["_links"] = links;
        Some(body)
    }

    /// `started`, `updated` or `completed` of an invitation, as it stands now.
    pub fn emit_invitation(
        &mut self,
        id: &str,
        kind: &'static str,
        failure: Option<(&str, &str)>,
        entry: Option<usize>,
    ) {
        let Some(body) = self.invitation_body(id) else { return };
        let Some(i) = self.invitations.get(id) else { return };
        let (app, rel) = (i.app.clone(), i.rel);
        let mut happening = Happening::new(rel, self.hrefs(&app).invitation(rel, id), kind).with(body);
        if rel == "phoneAudioInvitation" || rel == "audioVideoInvitation" {
            // Every sample of these is a link.
            happening.body = None;
        }
        if kind == "completed" {
            happening = match failure {
                Some((code, subcode)) => happening.failed(code, subcode),
                None => happening.succeeded(),
            };
        }
        self.emit_entry(&app, Sender::Communication, Priority::High, happening, entry, false);
    }

    /// Rings at the recorder. `None` when no application is available: then the invitation reaches nobody.
    #[expect(
        clippy::too_many_arguments,
        reason = "an invitation has that many independent sides; called from two places"
    )]
    pub fn ring(
        &mut self,
        t: usize,
        rel: &'static str,
        by: &str,
        words: Option<Words>,
        repeat_first: bool,
        from_link: bool,
        lobby: bool,
        modalities: Vec<String>,
        keep_href: bool,
    ) -> Option<String> {
        let name = self.talks[t].name.clone();
        let address = self.person(by).map(|p| p.address.clone()).unwrap_or_default();
        let Some(app) = self.available_app() else {
            self.missed += 1;
            self.note(Happened::InvitationEnded, &name, "", &address, "nobody is available");
            self.tell(format!("The invitation of {} to \"{name}\" reaches nobody", self.display(by)));
            return None;
        };
        let conversation = match self.session_key(t) {
            Some((_, id)) if keep_href => id,
            _ => self.open_session(t, &app, "Incoming", lobby),
        };
        let id = self.new_guid().replace('-', "");
        let message = words.as_ref().and_then(|w| w.first_uri());
        let entry = words.as_ref().map(|w| {
            let at = self.note(Happened::Said, &name, "", &address, "first message of an invitation");
            let time_ms = self.stamp();
            let entry = &mut self.ledger.entries[at];
            (entry.text, entry.html, entry.time_ms, entry.fate) =
                (w.text.clone(), w.html.clone(), time_ms, Fate::Queued);
            at
        });
        self.invitations.insert(
            id.clone(),
            Invitation {
                app: app.clone(),
                rel,
                talk: t,
                conversation: conversation.clone(),
                incoming: true,
                state: "Connecting",
                other: by.to_owned(),
                operation: None,
                message,
                words,
                repeat_first,
                from_link,
                accepted: false,
                done: false,
                modalities,
            },
        );
        let href = self.conversation_href(t);
        self.note(Happened::Invited, &name, &href, &address, rel);
        if let Some(at) = entry {
            self.ledger.entries[at].conversation = href;
        }
        self.emit_invitation(&id, "started", None, entry);
        if !keep_href {
            self.emit_conversation(t, "added", None);
            self.emit_local(t, "added", None, None);
        }
        self.timers.push((self.options.invitation_timeout_ms, Timer::RingOut(id.clone())));
        Some(id)
    }

    /// Display name of somebody in the cast.
    pub fn display(&self, id: &str) -> String {
        self.person(id)
            .map(|p| if p.name.is_empty() { resources::bare(&p.address).to_owned() } else { p.name.clone() })
            .unwrap_or_default()
    }

    /// Ends an invitation without success, and with it the conversation if that never began.
    pub fn fail_invitation(&mut self, id: &str, state: &'static str, code: &str, subcode: &str) {
        let Some(i) = self.invitations.get_mut(id).filter(|i| !i.done) else { return };
        (i.state, i.done) = (state, true);
        let (t, conversation, incoming) = (i.talk, i.conversation.clone(), i.incoming);
        self.emit_invitation(id, "completed", Some((code, subcode)), None);
        let (name, href) = (self.talks[t].name.clone(), self.conversation_href(t));
        self.note(Happened::InvitationEnded, &name, &href, "", format!("{code}/{subcode}"));
        let present = self.talks[t].session.as_ref().filter(|s| s.id == conversation).map(|s| s.state);
        if matches!(present, Some("Incoming" | "Connecting" | "InLobby")) {
            self.close_session(t, Some((code, subcode)), true);
        }
        if incoming && subcode == "Missed" {
            self.missed += 1;
            if let Some(app) = self.available_app() {
                let href = self.hrefs(&app).of("communication/missedItems");
                self.emit(
                    &app,
                    Sender::Communication,
                    Priority::Medium,
                    Happening::new("missedItems", href, "updated"),
                );
            }
        }
    }

    /// Ends a session with all the events that belong to it. `say_so`: `Disconnected` is shown before `deleted`.
    pub fn close_session(&mut self, t: usize, reason: Option<(&str, &str)>, say_so: bool) {
        let Some((app, id)) = self.session_key(t) else { return };
        if self.talks[t].session.as_ref().is_some_and(|s| s.messaging != Messaging::Disconnected(false)) && say_so {
            self.set_messaging(t, Messaging::Disconnected(false), reason);
        }
        if let Some(s) = self.talks[t].session.as_mut() {
            s.state = "Disconnected";
        }
        if say_so {
            self.emit_conversation(t, "updated", reason);
        }
        self.emit_local(t, "deleted", None, reason);
        let href = self.hrefs(&app).conversation(&id);
        let mut happening = Happening::new("conversation", href, "deleted");
        if let Some((code, subcode)) = reason {
            happening = happening.because(code, subcode);
        }
        self.emit(&app, Sender::Communication, Priority::High, happening);
        self.drop_session(t, reason.map_or("", |r| r.1));
    }

    /// Forgets a session without telling the client.
    pub fn drop_session(&mut self, t: usize, why: &str) {
        let href = self.conversation_href(t);
        let Some(s) = self.talks[t].session.take() else { return };
        let name = self.talks[t].name.clone();
        self.ended.insert(s.id.clone());
        if s.messaging == Messaging::Connected {
            self.note(Happened::MessagingLost, &name, &href, "", why);
        }
        if matches!(s.state, "Connected" | "Conferenced" | "Disconnected") {
            self.note(Happened::RecorderLeft, &name, &href, "", why);
        }
        for i in self.invitations.values_mut().filter(|i| i.conversation == s.id) {
            i.done = true;
        }
    }

    /// Carries out what a timer announced.
    pub fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Enter(id) => self.enter(&id),
            Timer::MessagingUp(id) => self.messaging_up(&id),
            Timer::RingOut(id) => {
                let unanswered = self.invitations.get(&id).is_some_and(|i| !i.done && !i.accepted);
                if unanswered {
                    let name = self.invitations.get(&id).map(|i| self.talks[i.talk].name.clone()).unwrap_or_default();
                    self.tell(format!("Nobody answers the invitation to \"{name}\""));
                    self.fail_invitation(&id, "Failed", "RemoteFailure", "Missed");
                }
            }
        }
    }

    /// The recorder gets into what it accepted, joined or started.
    fn enter(&mut self, id: &str) {
        let Some(i) = self.invitations.get(id).filter(|i| !i.done).cloned() else { return };
        let t = i.talk;
        if self.talks[t].session.as_ref().is_none_or(|s| s.id != i.conversation) {
            return;
        }
        let meeting = i.rel == "onlineMeetingInvitation";
        if meeting {
            let Some(s) = self.talks[t].session.as_mut() else { return };
            if std::mem::take(&mut s.lobby) {
                s.state = "InLobby";
                let name = self.talks[t].name.clone();
                self.emit_conversation(t, "updated", None);
                self.emit_local(t, "added", Some("lobby"), None);
                self.tell(format!("The recorder waits in the lobby of \"{name}\""));
                return;
            }
            self.enter_meeting(t, id);
        } else {
            self.enter_chat(t, id, &i);
        }
    }

    /// Being let in: roster, meeting, and messaging that must still be asked for.
    pub fn enter_meeting(&mut self, t: usize, id: &str) {
        let was_in_lobby = self.talks[t].session.as_ref().is_some_and(|s| s.state == "InLobby");
        if was_in_lobby {
            self.emit_local(t, "deleted", Some("lobby"), None);
        }
        if let Some(i) = self.invitations.get_mut(id) {
            (i.state, i.done) = ("Connected", true);
        }
        let Some(s) = self.talks[t].session.as_mut() else { return };
        s.state = "Conferenced";
        let (name, href) = (self.talks[t].name.clone(), self.conversation_href(t));
        self.note(Happened::RecorderJoined, &name, &href, "", "meeting");
        self.emit_invitation(id, "completed", None, None);
        self.emit_conversation(t, "updated", None);
        self.emit_local(t, if was_in_lobby { "updated" } else { "added" }, None, None);
        self.emit_local(t, "added", Some("attendees"), None);
        for member in self.talks[t].members.clone() {
            self.announce_member(t, &member, self.options.embed.iter().any(|r| r == "participant"));
        }
        self.emit_online_meeting(t, "added");
        self.set_messaging(t, Messaging::Disconnected(self.talks[t].audience_messaging), None);
        self.tell(format!("The recorder is in the meeting \"{name}\""));
    }

    fn emit_online_meeting(&mut self, t: usize, kind: &'static str) {
        let Some((app, id)) = self.session_key(t) else { return };
        let own = self.hrefs(&app).conversation(&id);
        let happening =
            Happening::new("onlineMeeting", format!("{own}/onlineMeeting"), kind).inside("conversation", own, None);
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }

    /// A two-party conversation comes about, in the order of the documents' walkthrough.
    fn enter_chat(&mut self, t: usize, id: &str, i: &Invitation) {
        if let Some(now) = self.invitations.get_mut(id) {
            (now.state, now.done) = ("Connected", true);
        }
        let Some(s) = self.talks[t].session.as_mut() else { return };
        s.state = "Connected";
        let (name, href) = (self.talks[t].name.clone(), self.conversation_href(t));
        self.note(Happened::RecorderJoined, &name, &href, "", "two-party");
        self.set_messaging(t, Messaging::Connected, None);
        self.emit_conversation(t, "updated", None);
        self.emit_local_messaging(t);
        for member in self.talks[t].members.clone() {
            if !i.incoming {
                self.emit_member(t, &member, "added", None, false, None);
            }
            self.emit_member_messaging(t, &member, "added");
            self.emit_member(t, &member, "updated", None, false, None);
        }
        self.emit_invitation(id, "completed", None, None);
        self.tell(format!("The recorder is in the conversation \"{name}\""));
        if let (true, Some(words)) = (i.repeat_first, &i.words) {
            self.repeat_first_message(t, &i.other, words);
        }
    }

    /// addMessaging or startMessaging has come through.
    fn messaging_up(&mut self, id: &str) {
        let Some(i) = self.invitations.get(id).filter(|i| !i.done).cloned() else { return };
        let t = i.talk;
        let alive = self.talks[t]
            .session
            .as_ref()
            .is_some_and(|s| s.id == i.conversation && s.messaging == Messaging::Connecting);
        if !alive {
            return;
        }
        if let Some(now) = self.invitations.get_mut(id) {
            (now.state, now.done) = ("Connected", true);
        }
        self.set_messaging(t, Messaging::Connected, None);
        self.emit_local_messaging(t);
        self.emit_invitation(id, "completed", None, None);
        self.emit_conversation(t, "updated", None);
        let name = self.talks[t].name.clone();
        self.tell(format!("The recorder receives the messages of \"{name}\""));
    }

    fn emit_local_messaging(&mut self, t: usize) {
        let Some((app, id)) = self.session_key(t) else { return };
        let h = self.hrefs(&app);
        let account = self.account();
        let own = h.participant(&id, account.address);
        let body = resources::participant_modality(&h, "participantMessaging", &id, account.address, account.name);
        let happening = Happening::new("participantMessaging", format!("{own}/messaging"), "added")
            .inside("localParticipant", own, Some(account.name))
            .with(body);
        self.emit(&app, Sender::Conversation(&id), Priority::High, happening);
    }
}
