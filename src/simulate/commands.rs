//! What the recorder asks for inside its application: accept, decline, addMessaging, send, leave, join.

use serde_json::{Value, json};

use super::channel::Priority;
use super::conversation::{Invitation, Messaging, Timer};
use super::http::{Reply, Request};
use super::ledger::Happened;
use super::pool::{Pool, Sender};
use super::resources::{self, Happening, error};
use super::text::data_uri_text;

impl Pool {
    fn created(&self, href: String) -> Reply {
        Reply::empty(201).with("Location", href)
    }

    /// POST on `accept` of an invitation.
    pub fn accept(&mut self, id: &str) -> Reply {
        let Some(i) = self.invitations.get_mut(id) else { return error(404, None) };
        if i.done || i.accepted || !i.incoming {
            self.complain("accept was posted to an invitation that was accepted or over already");
            return error(409, Some("AnotherOperationPending"));
        }
        i.accepted = true;
        let (t, conversation) = (i.talk, i.conversation.clone());
        let meeting = i.rel == "onlineMeetingInvitation";
        self.emit_invitation(id, "updated", None, None);
        if let Some(s) = self.talks[t].session.as_mut().filter(|s| s.id == conversation && s.state == "Incoming") {
            s.state = if meeting { "Conferencing" } else { "Connecting" };
            self.emit_conversation(t, "updated", None);
        }
        self.timers.push((self.options.accept_delay_ms, Timer::Enter(id.to_owned())));
        Reply::empty(204)
    }

    /// POST on `decline` of an invitation.
    pub fn decline(&mut self, id: &str, request: &Request) -> Reply {
        let Some(i) = self.invitations.get(id) else { return error(404, None) };
        if i.done || i.accepted {
            return error(409, Some("AnotherOperationPending"));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        if !request.body.is_empty() && !matches!(body["reason"].as_str(), Some("Local" | "Global")) {
            return error(400, Some("ParameterValidationFailure"));
        }
        let name = self.talks[i.talk].name.clone();
        self.tell(format!("The recorder declines the invitation to \"{name}\""));
        self.fail_invitation(id, "Declined", "LocalFailure", "Declined");
        Reply::empty(204)
    }

    /// POST on `messagingInvitations?conversation=<id>`: join the messaging of a conversation one is in.
    pub fn add_messaging(&mut self, app: &str, conversation: &str, request: &Request) -> Reply {
        self.ledger.add_messaging += 1;
        let reply = self.try_add_messaging(app, conversation, request);
        if reply.status == 409 {
            self.ledger.conflicts += 1;
            self.tell("The pool answers addMessaging with 409 Conflict, without a subcode");
        }
        reply
    }

    fn try_add_messaging(&mut self, app: &str, conversation: &str, request: &Request) -> Reply {
        let Some(t) = self.talk_of(app, conversation) else {
            if self.ended.contains(conversation) {
                self.complain("addMessaging was posted with the id of a conversation that is over");
                return error(409, None);
            }
            return error(404, Some("ConversationNotFound"));
        };
        self.talks[t].add_messaging += 1;
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let operation = body["operationId"].as_str().filter(|o| !o.is_empty() && o.len() <= 50).map(str::to_owned);
        let Some(operation) = operation.filter(|_| request.media_type() == "application/json") else {
            self.complain("addMessaging was posted without a JSON body with operationId");
            return error(409, None);
        };
        let pending = self.invitations.values().any(|i| i.talk == t && i.conversation == conversation && !i.done);
        let Some(s) = self.talks[t].session.as_ref() else { return error(404, Some("ConversationNotFound")) };
        let (state, messaging) = (s.state, s.messaging);
        if state != "Conferenced"
            || pending
            || messaging != Messaging::Disconnected(true)
            || !self.talks[t].audience_messaging
        {
            self.complain("addMessaging was posted too early, twice, or where messaging was not offered");
            return error(409, None);
        }
        if self.talks[t].conflicts > 0 {
            self.talks[t].conflicts -= 1;
            return error(409, None);
        }
        let id = self.outgoing(app, "messagingInvitation", t, conversation, "", Some(operation));
        self.emit_invitation(&id, "started", None, None);
        self.set_messaging(t, Messaging::Connecting, None);
        self.timers.push((self.options.connect_delay_ms, Timer::MessagingUp(id.clone())));
        self.created(self.hrefs(app).invitation("messagingInvitation", &id))
    }

    fn outgoing(
        &mut self,
        app: &str,
        rel: &'static str,
        t: usize,
        conversation: &str,
        other: &str,
        operation: Option<String>,
    ) -> String {
        let id = self.new_guid().replace('-', "");
        let invitation = Invitation {
            app: app.to_owned(),
            rel,
            talk: t,
            conversation: conversation.to_owned(),
            incoming: false,
            state: "Connecting",
            other: other.to_owned(),
            operation,
            message: None,
            words: None,
            repeat_first: false,
            from_link: false,
            accepted: true,
            done: false,
            modalities: Vec::new(),
        };
        self.invitations.insert(id.clone(), invitation);
        id
    }

    /// POST on `startMessaging`.
    pub fn start_messaging(&mut self, app: &str, request: &Request) -> Reply {
        if request.media_type() != "application/json" {
            return error(415, None);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let (Some(to), Some(operation)) = (body["to"].as_str(), body["operationId"].as_str()) else {
            return error(400, Some("ParameterValidationFailure"));
        };
        let Some(person) = self.by_address(to).map(|p| p.id.clone()) else {
            return error(404, Some("DestinationNotFound"));
        };
        let thread = body["threadId"].as_str();
        let known = self.talks.iter().position(|t| Some(t.thread.as_str()) == thread && t.meeting_uri.is_none());
        if known.is_some_and(|t| self.talks[t].session.is_some()) {
            return error(409, Some("ThreadIdAlreadyExists"));
        }
        let t = known.unwrap_or_else(|| {
            let n = self.count();
            self.add_talk(&format!("started-{n}"), body["subject"].as_str().unwrap_or_default(), "Normal")
        });
        if let (None, Some(thread)) = (known, thread) {
            self.talks[t].thread = thread.to_owned();
        }
        self.add_member(t, &person, "Attendee", false);
        let conversation = self.open_session(t, app, "Connecting", false);
        let id = self.outgoing(app, "messagingInvitation", t, &conversation, &person, Some(operation.to_owned()));
        if let Some(text) = body["_links"]["message"]["href"].as_str().and_then(data_uri_text) {
            self.note_own(t, &text, "");
        }
        self.emit_invitation(&id, "started", None, None);
        self.emit_conversation(t, "added", None);
        self.emit_local(t, "added", None, None);
        self.timers.push((self.options.accept_delay_ms, Timer::Enter(id.clone())));
        self.created(self.hrefs(app).invitation("messagingInvitation", &id))
    }

    /// POST on `joinOnlineMeeting`.
    pub fn join_meeting(&mut self, app: &str, request: &Request) -> Reply {
        if request.media_type() != "application/json" {
            return error(415, None);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let (Some(uri), Some(operation)) = (body["onlineMeetingUri"].as_str(), body["operationId"].as_str()) else {
            return error(400, Some("ParameterValidationFailure"));
        };
        let found = self.talks.iter().position(|t| t.meeting_uri.as_deref() == Some(uri) && !t.over);
        let Some(t) = found else { return error(404, Some("DestinationNotFound")) };
        if self.talks[t].session.is_some() {
            return error(409, Some("AlreadyExists"));
        }
        let conversation = self.open_session(t, app, "Connecting", false);
        let id = self.outgoing(app, "onlineMeetingInvitation", t, &conversation, "", Some(operation.to_owned()));
        self.emit_invitation(&id, "started", None, None);
        self.emit_conversation(t, "added", None);
        self.tell(format!("The recorder joins the meeting \"{}\" again", self.talks[t].name));
        self.timers.push((self.options.accept_delay_ms, Timer::Enter(id.clone())));
        self.created(self.hrefs(app).invitation("onlineMeetingInvitation", &id))
    }

    fn note_own(&mut self, t: usize, text: &str, detail: &str) {
        let (name, href, who) = (self.talks[t].name.clone(), self.conversation_href(t), self.options.sign_in.clone());
        let line = self.note(Happened::RecorderSaid, &name, &href, &who, detail);
        self.ledger.entries[line].text = Some(text.to_owned());
        self.talks[t].sent += 1;
        self.tell(format!("Recorder in \"{name}\": {text}"));
    }

    /// POST on `sendMessage`.
    pub fn send_message(&mut self, app: &str, t: usize, request: &Request) -> Reply {
        let media = request.media_type();
        if media != "text/plain" && media != "text/html" {
            return error(415, None);
        }
        let Ok(text) = String::from_utf8(request.body.clone()) else {
            return error(400, Some("DeserializationFailure"));
        };
        let Some(s) = self.talks[t].session.as_ref().filter(|s| s.messaging == Messaging::Connected) else {
            return error(500, None);
        };
        let (id, number) = (s.id.clone(), s.messages.len() as u64 + 1);
        let operation = request.query("operationId");
        if operation.is_none() {
            self.complain("sendMessage was posted without operationId");
        }
        let fails = self.talks[t].fail_sends > 0;
        self.talks[t].fail_sends = self.talks[t].fail_sends.saturating_sub(1);
        let to: Vec<String> =
            self.talks[t].members.iter().filter_map(|m| self.person(&m.id)).map(|p| p.address.clone()).collect();
        let time_ms = self.stamp();
        let h = self.hrefs(app);
        let failed = if fails { to.as_slice() } else { &[] };
        let body = resources::own_message(&h, &id, number, operation.as_deref(), time_ms, failed);
        self.store_message(t, body.clone());
        self.note_own(t, &text, if fails { "failed" } else { "" });
        let href = format!("{}/messages/{number}", h.messaging(&id));
        let happening = Happening::new("message", href.clone(), "completed").with(body);
        let happening = if fails { happening.failed("RemoteFailure", "Timeout") } else { happening.succeeded() };
        self.emit(app, Sender::Conversation(&id), Priority::High, happening);
        self.created(href)
    }

    /// POST on `stopMessaging`.
    pub fn stop_messaging(&mut self, t: usize) -> Reply {
        let Some(s) = self.talks[t].session.as_ref() else { return error(404, Some("ConversationNotFound")) };
        match s.messaging {
            Messaging::Disconnected(_) => error(404, None),
            _ if s.state == "Conferenced" => {
                self.set_messaging(t, Messaging::Disconnected(true), Some(("LocalFailure", "Ended")));
                Reply::empty(204)
            }
            _ => {
                self.tell(format!("The recorder leaves the conversation \"{}\"", self.talks[t].name));
                self.close_session(t, Some(("LocalFailure", "Ended")), true);
                Reply::empty(204)
            }
        }
    }

    /// DELETE on a conversation.
    pub fn leave_conversation(&mut self, t: usize) -> Reply {
        self.tell(format!("The recorder leaves \"{}\"", self.talks[t].name));
        self.close_session(t, Some(("LocalFailure", "Ended")), true);
        Reply::empty(204)
    }

    /// POST on `makeMeAvailable`.
    pub fn make_available(&mut self, app: &str, request: &Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let Some(object) = body.as_object() else { return error(400, Some("DeserializationFailure")) };
        // Names are matched without regard to case, as the walkthroughs need it.
        let member = |name: &str| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let words = |v: Option<&Value>| -> Vec<String> {
            v.and_then(Value::as_array).into_iter().flatten().filter_map(|x| x.as_str().map(str::to_owned)).collect()
        };
        if words(member("supportedModalities")).iter().any(|m| m != "Messaging" && m != "PhoneAudio") {
            return error(403, None);
        }
        let mut formats = words(member("supportedMessageFormats"));
        formats.retain(|f| f == "Plain" || f == "Html" && self.options.html_messaging);
        if formats.is_empty() {
            formats.push("Plain".to_owned());
        }
        let sign_in_as = member("signInAs").and_then(Value::as_str).unwrap_or("Online").to_owned();
        let now = self.now_ms;
        let Some(a) = self.apps.get_mut(app) else { return error(404, Some("ApplicationNotFound")) };
        if a.available {
            return error(409, Some("AlreadyExists"));
        }
        (a.available, a.formats, a.presence, a.last_activity_ms) = (true, formats, sign_in_as, now);
        a.etag += 1;
        let h = self.hrefs(app);
        if let Some(body) = self.communication_body(app) {
            let happening = Happening::new("communication", h.communication(), "updated").with(body);
            self.emit(app, Sender::Communication, Priority::Medium, happening);
        }
        self.emit(app, Sender::Me, Priority::Medium, Happening::new("me", h.of("me"), "updated"));
        for rel in ["presence", "note", "location"] {
            self.emit(app, Sender::Me, Priority::Medium, Happening::new(rel, h.of(&format!("me/{rel}")), "added"));
        }
        self.tell("The recorder is available");
        Reply::empty(204)
    }

    /// PUT on `communication`: etag and random property are demanded.
    pub fn put_communication(&mut self, app: &str, request: &Request) -> Reply {
        let html = self.options.html_messaging;
        let Some(a) = self.apps.get_mut(app) else { return error(404, Some("ApplicationNotFound")) };
        let Some(tag) = request.field("if-match") else { return error(428, None) };
        if tag != format!("\"{}\"", a.etag) {
            return error(412, None);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        if body[&a.put_key] != json!("please pass this in a PUT request") {
            return error(400, Some("ParameterValidationFailure"));
        }
        if let Some(formats) = body["supportedMessageFormats"].as_array() {
            a.formats = formats.iter().filter_map(|f| f.as_str().map(str::to_owned)).collect();
            a.formats.retain(|f| f == "Plain" || f == "Html" && html);
        }
        a.etag += 1;
        let href = self.hrefs(app).communication();
        if let Some(body) = self.communication_body(app) {
            self.emit(
                app,
                Sender::Communication,
                Priority::Medium,
                Happening::new("communication", href, "updated").with(body),
            );
        }
        Reply::empty(204)
    }
}
