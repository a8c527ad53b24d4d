//! The routes: which origin and path does what. Every answer is made here under the pool's lock; nothing waits.

use serde_json::{Value, json};

use super::channel::{Channel, Hold, Limits, Polled};
use super::http::{Reply, Request};
use super::ledger::Fate;
use super::pool::{Application, Pool};
use super::resources::{self, collection, error, json_reply, link};
use super::scenario::Detour;
use super::tickets;

/// The origins of a deployment; each issues its own tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Discovery and user resource.
    Front,
    /// Where a user resource may redirect to.
    Home,
    /// Applications.
    Pool,
}

impl Origin {
    /// One letter, for tickets.
    pub fn letter(self) -> char {
        match self {
            Origin::Front => 'F',
            Origin::Home => 'H',
            Origin::Pool => 'P',
        }
    }
}

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Response {
    /// An answer at once.
    Reply(Reply),
    /// A poll to be held.
    Poll {
        /// Application.
        app: String,
        /// The poll.
        hold: Hold,
    },
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        Response::Reply(reply)
    }
}

const ROOT: &str = "/Autodiscover/AutodiscoverService.svc/root";
const APPLICATIONS: &str = "/ucwa/oauth/v1/applications";

impl Pool {
    /// The base URL of an origin.
    pub fn base(&self, origin: Origin) -> &str {
        match origin {
            Origin::Front => &self.urls.front,
            Origin::Home => &self.urls.home,
            Origin::Pool => &self.urls.pool,
        }
    }

    /// The 401 of an origin.
    pub fn challenge(&self, origin: Origin) -> Reply {
        tickets::challenge(&self.options, self.base(origin))
    }

    fn json(&self, status: u16, body: &Value) -> Reply {
        resources::ucwa_reply(status, body, self.options.escape_dates)
    }

    /// 200 with a resource, or 404 without.
    fn resource(&self, body: Option<Value>) -> Response {
        match body {
            Some(body) => self.json(200, &body).into(),
            None => error(404, None).into(),
        }
    }

    /// Answers a request at an origin.
    pub fn handle(&mut self, origin: Origin, request: &Request) -> Response {
        for name in ["Origin", "Referer", "X-Ms-Origin"] {
            if request.field(name).is_some() {
                self.complain(format!("the header {name} is for browsers and was sent"));
            }
        }
        let path = request.path().to_owned();
        if path.eq_ignore_ascii_case("/WebTicket/oauthtoken") {
            return if request.method == "POST" { self.token(origin, request).into() } else { error(405, None).into() };
        }
        if origin == Origin::Pool || self.options.single_origin {
            if path == APPLICATIONS || path.starts_with("/ucwa/") {
                let challenge = || self.challenge(origin);
                if let Err(reply) = self.tickets.check(request, origin, self.now_ms, challenge) {
                    return reply.into();
                }
                return self.ucwa(request, &path);
            }
            if origin == Origin::Pool {
                return Reply::html(404, "<html><body>Not Found</body></html>").into();
            }
        }
        self.discovery(origin, request, &path).into()
    }

    fn token(&mut self, origin: Origin, request: &Request) -> Reply {
        if request.field("authorization").is_some_and(|a| a.starts_with("Bearer")) {
            self.complain("a ticket was sent to a token endpoint");
        }
        let locked = self.options.lockout_after > 0 && self.ledger.refused_passwords >= self.options.lockout_after;
        let verdict = self.tickets.grant(request, origin, self.now_ms, &self.options, locked);
        if verdict.refused {
            self.ledger.refused_passwords += 1;
            self.tell("A sign-in is refused: wrong user name or password");
        }
        if verdict.issued {
            *self.ledger.tickets.entry(format!("{origin:?}").to_lowercase()).or_default() += 1;
        }
        verdict.reply
    }

    fn discovery(&mut self, origin: Origin, request: &Request, path: &str) -> Reply {
        if request.method != "GET" {
            return error(405, None);
        }
        let base = self.base(origin).to_owned();
        let lower = path.to_ascii_lowercase();
        let root = ROOT.to_ascii_lowercase();
        let first = path == "/" || path.is_empty();
        if first || lower == root {
            if request.field("authorization").is_some() {
                self.complain("the anonymous discovery root was asked with credentials");
            }
            if let Some(url) = &self.redirect_root {
                return json_reply(200, &json!({ "_links": { "redirect": link(url.clone()) } }));
            }
            if self.redirect_loop {
                let other = if first { format!("{base}{ROOT}") } else { format!("{base}/") };
                return json_reply(200, &json!({ "_links": { "redirect": link(other) } }));
            }
            if first && origin == Origin::Front && self.options.detour == Detour::Root {
                return json_reply(200, &json!({ "_links": { "redirect": link(format!("{base}{ROOT}")) } }));
            }
            let domain = self.options.sign_in.rsplit('@').next().unwrap_or_default().to_owned();
            let query = if first { format!("?originalDomain={domain}") } else { String::new() };
            return json_reply(
                200,
                &json!({ "_links": {
                    "self": link(format!("{base}{ROOT}{query}")),
                    "user": link(format!("{base}{ROOT}/oauth/user{query}")),
                    "xframe": link(format!("{base}/Autodiscover/XFrame/XFrame.html")),
                } }),
            );
        }
        if lower == format!("{root}/oauth/user") {
            let challenge = || self.challenge(origin);
            if let Err(reply) = self.tickets.check(request, origin, self.now_ms, challenge) {
                return reply;
            }
            let own = link(format!("{base}{ROOT}/user"));
            if origin == Origin::Front && self.options.detour == Detour::User {
                let away = link(format!("{}{ROOT}", self.urls.home));
                return json_reply(200, &json!({ "_links": { "self": own, "redirect": away } }));
            }
            let applications = link(format!("{}{APPLICATIONS}", self.urls.pool));
            let xframe = link(format!("{base}/Autodiscover/XFrame/XFrame.html"));
            return json_reply(
                200,
                &json!({ "_links": { "self": own, "applications": applications, "xframe": xframe } }),
            );
        }
        Reply::html(404, "<html><body>Not Found</body></html>")
    }

    fn ucwa(&mut self, request: &Request, path: &str) -> Response {
        let wanted =
            request.field("x-ms-requiresminresourceversion").and_then(|v| v.split('.').next()?.parse::<u32>().ok());
        if wanted.is_some_and(|v| v > 2) {
            return error(404, Some("APIVersionNotSupported")).into();
        }
        let method = request.method.as_str();
        let rest = path.strip_prefix(APPLICATIONS).unwrap_or_default().trim_start_matches('/');
        if rest.is_empty() {
            return if method == "POST" { self.create(request).into() } else { error(405, None).into() };
        }
        let mut segments: Vec<String> =
            rest.split('/').map(|s| percent_encoding::percent_decode_str(s).decode_utf8_lossy().into_owned()).collect();
        let app = segments.remove(0);
        if !self.apps.contains_key(&app) {
            return match self.dead.get(&app) {
                Some(410) => error(410, Some("InactiveApplicationExpired")).into(),
                _ => error(404, Some("ApplicationNotFound")).into(),
            };
        }
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (method, parts.as_slice()) {
            ("GET", []) => self.get_application(&app, request).into(),
            ("DELETE", []) => {
                self.tell("The recorder signs out");
                self.end_application(&app, 404, "deleted by the client");
                Reply::empty(204).into()
            }
            ("GET", ["events"]) => self.open_poll(&app, request),
            ("POST", ["batch"]) => self.batch(request).into(),
            ("GET", ["policies"]) => {
                let h = self.hrefs(&app);
                let body = resources::policies(&h, self.options.message_archiving, self.options.html_messaging);
                self.resource(Some(body))
            }
            (_, ["me", tail @ ..]) => self.me(&app, request, tail),
            ("GET", ["people", address]) => {
                let body = self.by_address(address).map(|p| resources::contact(&self.hrefs(&app), p));
                self.resource(body)
            }
            ("GET", ["people", address, "presence"]) => {
                let own = link(format!("{}/presence", self.hrefs(&app).contact(address)));
                self.resource(Some(
                    json!({ "rel": "contactPresence", "availability": "Online", "_links": { "self": own } }),
                ))
            }
            ("GET", ["communication"]) => {
                let body = self.communication_body(&app);
                self.resource(body)
            }
            ("PUT", ["communication"]) => self.put_communication(&app, request).into(),
            ("GET", ["communication", "missedItems"]) => {
                let own = link(self.hrefs(&app).of("communication/missedItems"));
                self.resource(Some(json!({
                    "rel": "missedItems", "conversationLogsCount": 0, "missedConversationsCount": self.missed,
                    "unreadMissedConversationsCount": self.missed, "unreadVoicemailsCount": 0, "voiceMailsCount": 0,
                    "_links": { "self": own },
                })))
            }
            (_, ["communication", "messagingInvitations"]) if method == "POST" => match request.query("conversation") {
                Some(conversation) => self.add_messaging(&app, &conversation, request).into(),
                None => self.start_messaging(&app, request).into(),
            },
            ("POST", ["communication", "onlineMeetingInvitations"]) => self.join_meeting(&app, request).into(),
            (_, ["communication", collection, id, tail @ ..]) if collection.ends_with("Invitations") => {
                self.invitation(request, collection, id, tail)
            }
            ("GET", ["communication", "conversations"]) => {
                let h = self.hrefs(&app);
                let of_app = self.talks.iter().filter_map(|t| t.session.as_ref()).filter(|s| s.app == app);
                let links = of_app.map(|s| link(h.conversation(&s.id))).collect();
                let own = format!("{}/conversations", h.communication());
                self.resource(Some(collection_body("conversations", own, "conversation", links)))
            }
            (_, ["communication", "conversations", id, tail @ ..]) => match self.talk_of(&app, id) {
                Some(t) => self.conversation_route(&app, t, request, tail),
                None => error(404, Some("ConversationNotFound")).into(),
            },
            ("POST", ["communication", "participantInvitations"]) => error(403, None).into(),
            _ => error(404, None).into(),
        }
    }

    fn create(&mut self, request: &Request) -> Reply {
        if request.media_type() != "application/json" {
            return error(415, None);
        }
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) else {
            return error(400, Some("DeserializationFailure"));
        };
        let field = |name: &str| {
            let found = body.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.as_str());
            found.filter(|v| (1..=100).contains(&v.chars().count())).map(str::to_owned)
        };
        let (Some(user_agent), Some(endpoint_id), Some(culture)) =
            (field("userAgent"), field("endpointId"), field("culture"))
        else {
            return error(400, Some("ParameterValidationFailure"));
        };
        let known = self.apps.iter().find(|(_, a)| a.endpoint_id == endpoint_id).map(|(id, _)| id.clone());
        if let Some(body) = known.and_then(|id| self.application_body(&id)) {
            return self.json(200, &body);
        }
        if self.apps.len() >= self.options.max_applications {
            return error(410, Some("TooManyApplications"));
        }
        let number = self.count();
        let id = format!("10{:010}", 2_547_331_000 + number);
        let put_key = self.new_guid();
        let h = self.hrefs(&id);
        let now = self.now_ms;
        self.apps.insert(
            id.clone(),
            Application {
                endpoint_id,
                user_agent,
                culture,
                available: false,
                formats: vec!["Plain".to_owned()],
                put_key,
                etag: 3_140_562_359_u32.wrapping_add(u32::try_from(number).unwrap_or(0)),
                presence: String::new(),
                note: String::new(),
                channel: Channel::new(h.of("events")),
                last_poll_ms: now,
                last_activity_ms: now,
            },
        );
        self.ledger.applications += 1;
        self.tell("The recorder signs in");
        match self.application_body(&id) {
            Some(body) => self.json(201, &body).with("Location", h.root),
            None => error(500, None),
        }
    }

    fn get_application(&mut self, app: &str, request: &Request) -> Reply {
        let Some(body) = self.application_body(app) else { return error(404, Some("ApplicationNotFound")) };
        // Embedded resources do not influence the tag of their container; availability changes links, so it counts.
        let tag = format!("\"{}\"", if self.apps.get(app).is_some_and(|a| a.available) { 2 } else { 1 });
        if request.field("if-none-match") == Some(tag.as_str()) {
            return Reply::empty(304).with("ETag", tag);
        }
        self.json(200, &body).with("ETag", tag)
    }

    fn open_poll(&mut self, id: &str, request: &Request) -> Response {
        let seconds = |name: &str| request.query(name).and_then(|v| v.parse::<u64>().ok());
        let timeout = seconds("timeout");
        if timeout.is_some_and(|t| !(180..=1800).contains(&t)) {
            self.complain("the poll's timeout is outside 180 to 1800 seconds");
            return error(400, Some("ParameterValidationFailure")).into();
        }
        let Some(ack) = seconds("ack") else { return error(400, Some("ParameterValidationFailure")).into() };
        let asked = timeout.unwrap_or(180) * 1000;
        let o = &self.options;
        let limits = Limits {
            medium_ms: seconds("medium").map_or(o.medium_ms, |s| o.medium_ms.min(s * 1000)),
            low_ms: seconds("low").map_or(o.low_ms, |s| o.low_ms.min(s * 1000)),
            max_events: o.max_events,
            append_on_repeat: o.append_on_repeat,
        };
        let until_ms = self.now_ms.saturating_add(o.poll_timeout_ms.map_or(asked, |t| t.min(asked)));
        let now = self.now_ms;
        let Some(app) = self.apps.get_mut(id) else { return error(404, Some("ApplicationNotFound")).into() };
        app.last_poll_ms = now;
        let opened = app.channel.open(ack, until_ms, limits);
        let resync = app.channel.resync_body();
        self.advance(&opened.acknowledged, Fate::Acknowledged);
        if opened.parallel {
            self.complain("two polls at once on one application");
        }
        match opened.hold {
            Some(hold) => Response::Poll { app: id.to_owned(), hold },
            None => {
                self.complain("a poll asked for a batch that is neither the present nor the next");
                self.json(200, &resync).into()
            }
        }
    }

    /// Looks whether a held poll can be answered; `Err` is the time to look again.
    pub fn poll(&mut self, id: &str, hold: &Hold) -> Result<(Reply, u64), u64> {
        let now = self.now_ms;
        let Some(app) = self.apps.get_mut(id) else {
            return Ok((
                match self.dead.get(id) {
                    Some(410) => error(410, Some("InactiveApplicationExpired")),
                    _ => error(404, Some("ApplicationNotFound")),
                },
                0,
            ));
        };
        match app.channel.poll(hold, now) {
            Polled::Wait(until) => Err(until),
            Polled::Replaced => Ok((error(409, Some("PGetReplaced")), 0)),
            Polled::Answer(body, number) => {
                app.last_poll_ms = now;
                self.ledger.batches += 1;
                Ok((self.json(200, &body), number))
            }
        }
    }

    /// A channel answer has gone out whole.
    pub fn sent(&mut self, id: &str, number: u64) {
        let lines = self.apps.get(id).map(|a| a.channel.sent(number)).unwrap_or_default();
        self.advance(&lines, Fate::Fetched);
    }

    fn me(&mut self, app: &str, request: &Request, tail: &[&str]) -> Response {
        let h = self.hrefs(app);
        let now = self.now_ms;
        let account_me = |pool: &Pool, available| resources::me(&pool.hrefs(app), &pool.account(), available);
        let Some(available) = self.apps.get(app).map(|a| a.available) else { return error(404, None).into() };
        match (request.method.as_str(), tail) {
            ("GET", []) => {
                let body = account_me(self, available);
                self.resource(Some(body))
            }
            ("POST", ["makeMeAvailable"]) => self.make_available(app, request).into(),
            ("POST", ["reportMyActivity"]) => {
                if !available {
                    return error(409, Some("MakeMeAvailableRequired")).into();
                }
                if let Some(a) = self.apps.get_mut(app) {
                    a.last_activity_ms = now;
                }
                Reply::empty(204).into()
            }
            (method, [rel @ ("presence" | "note" | "location")]) => {
                if !available {
                    return error(409, Some("MakeMeAvailableRequired")).into();
                }
                let Some(a) = self.apps.get_mut(app) else { return error(404, None).into() };
                let value = if *rel == "presence" { &mut a.presence } else { &mut a.note };
                match method {
                    "GET" => {
                        let body = resources::own_state(&h, rel, value);
                        self.resource(Some(body))
                    }
                    "POST" if *rel != "location" => {
                        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
                        let key = if *rel == "presence" { "availability" } else { "message" };
                        *value = body[key].as_str().unwrap_or_default().to_owned();
                        let event = resources::Happening::new(rel, h.of(&format!("me/{rel}")), "updated");
                        self.emit(app, super::pool::Sender::Me, super::channel::Priority::Medium, event);
                        Reply::empty(204).into()
                    }
                    _ => error(405, None).into(),
                }
            }
            _ => error(404, None).into(),
        }
    }

    fn invitation(&mut self, request: &Request, collection: &str, id: &str, tail: &[&str]) -> Response {
        let rel = collection.trim_end_matches('s');
        if self.invitations.get(id).is_none_or(|i| i.rel != rel) {
            return error(404, None).into();
        }
        match (request.method.as_str(), tail) {
            ("GET", []) => {
                let body = self.invitation_body(id);
                self.resource(body)
            }
            ("POST", ["accept"]) => self.accept(id).into(),
            ("POST", ["decline"]) => self.decline(id, request).into(),
            _ => error(405, None).into(),
        }
    }

    fn conversation_route(&mut self, app: &str, t: usize, request: &Request, tail: &[&str]) -> Response {
        let h = self.hrefs(app);
        let Some((_, id)) = self.session_key(t) else { return error(404, None).into() };
        let own = h.conversation(&id);
        let members = self.talks[t].members.clone();
        let meeting = self.talks[t].meeting_uri.clone();
        let person_links = |pool: &Pool, keep: &dyn Fn(&super::conversation::Member) -> bool| -> Vec<Value> {
            let kept = members.iter().filter(|m| keep(m)).filter_map(|m| pool.person(&m.id));
            kept.map(
                |p| json!({ "href": h.participant(&id, &p.address), "title": pool.title(&p.name, meeting.is_some()) }),
            )
            .collect()
        };
        match (request.method.as_str(), tail) {
            ("GET", []) => {
                let body = self.conversation_body(t);
                self.resource(body)
            }
            ("DELETE", []) => self.leave_conversation(t).into(),
            ("POST", ["userAcknowledged"]) => {
                if let Some(s) = self.talks[t].session.as_mut() {
                    s.unacknowledged = false;
                }
                Reply::empty(204).into()
            }
            ("GET", ["messaging"]) => {
                let body = self.messaging_body(t);
                self.resource(body)
            }
            ("POST", ["messaging", "terminate"]) => self.stop_messaging(t).into(),
            ("POST", ["messaging", "messages"]) => self.send_message(app, t, request).into(),
            ("POST", ["messaging", "typing"]) => {
                self.complain("a recorder must not type, but setIsTyping was posted");
                Reply::empty(204).into()
            }
            ("POST", ["messaging"]) => error(500, None).into(),
            ("GET", ["messaging", "messages", number]) => {
                let at = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                let body = at.and_then(|n| self.talks[t].session.as_ref().and_then(|s| s.messages.get(n).cloned()));
                self.resource(body)
            }
            ("GET", ["messaging", "messages"]) => {
                let count = self.talks[t].session.as_ref().map_or(0, |s| s.messages.len());
                let links = (1..=count).map(|n| link(format!("{own}/messaging/messages/{n}"))).collect();
                self.resource(Some(collection_body("messages", format!("{own}/messaging/messages"), "message", links)))
            }
            ("GET", ["messaging", "typingParticipants"]) => {
                let body = collection_body(
                    "typingParticipants",
                    format!("{own}/messaging/typingParticipants"),
                    "participant",
                    vec![],
                );
                self.resource(Some(body))
            }
            ("GET", ["participants"]) => {
                let filter = request.query("filter").unwrap_or_default();
                let mut links = person_links(self, &|m| match filter.as_str() {
                    "leaders" => !m.lobby && m.role == "Leader",
                    "attendees" => !m.lobby && m.role != "Leader",
                    "lobby" => m.lobby,
                    _ => !m.lobby,
                });
                let account = self.account();
                if matches!(filter.as_str(), "" | "attendees") {
                    links.push(json!({ "href": h.participant(&id, account.address), "title": account.name }));
                }
                let rel = if filter.is_empty() { "participants" } else { filter.as_str() };
                let query = if filter.is_empty() { String::new() } else { format!("?filter={filter}") };
                self.resource(Some(collection_body(rel, format!("{own}/participants{query}"), "participant", links)))
            }
            ("GET", ["participants", address]) => {
                let account = self.account();
                if resources::bare(account.address).eq_ignore_ascii_case(address) {
                    let lobby = self.talks[t].session.as_ref().is_some_and(|s| s.state == "InLobby");
                    let body = resources::local_participant(&h, &id, &account, meeting.map(|_| lobby));
                    return self.resource(Some(body));
                }
                let body = self.by_address(address).and_then(|p| {
                    let member = members.iter().find(|m| m.id == p.id)?;
                    Some(resources::participant(&h, &id, p, meeting.map(|_| (member.role, member.lobby))))
                });
                self.resource(body)
            }
            ("GET", ["participants", address, path]) => {
                let name = self.by_address(address).map(|p| p.name.clone()).unwrap_or_default();
                let mut rel = "participant".to_owned();
                let mut chars = path.chars();
                rel.extend(chars.next().map(|c| c.to_ascii_uppercase()));
                rel.extend(chars);
                self.resource(Some(resources::participant_modality(&h, &rel, &id, address, &name)))
            }
            ("POST", ["participants", ..]) => error(403, None).into(),
            ("GET", ["onlineMeeting"]) => {
                let talk = &self.talks[t];
                let organizer = talk
                    .members
                    .first()
                    .and_then(|m| self.person(&m.id))
                    .map(|p| p.address.clone())
                    .unwrap_or_default();
                let body = meeting.map(|uri| resources::online_meeting(&h, &id, &uri, &organizer, &talk.subject));
                self.resource(body)
            }
            ("GET", [rel @ ("audioVideo" | "phoneAudio" | "applicationSharing" | "dataCollaboration")]) => {
                let links = json!({ "self": link(format!("{own}/{rel}")), "conversation": link(own) });
                self.resource(Some(json!({ "rel": rel, "state": "Disconnected", "_links": links })))
            }
            _ => error(404, None).into(),
        }
    }

    /// Several requests in one: parts run in order; batch, events and photo are not allowed inside.
    fn batch(&mut self, request: &Request) -> Reply {
        let kind = request.field("content-type").unwrap_or_default();
        let boundary =
            kind.split(';').find_map(|p| p.trim().strip_prefix("boundary=")).map(|b| b.trim_matches('"').to_owned());
        let Some(boundary) = boundary.filter(|_| request.media_type() == "multipart/batching") else {
            return error(415, None);
        };
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let parts: Vec<&str> = text.split(&format!("--{boundary}")).skip(1).filter(|p| !p.starts_with("--")).collect();
        if parts.len() > 100 {
            return error(429, None);
        }
        let mut answer = String::new();
        for part in parts {
            let inner = part.split_once("\r\n\r\n").map(|(_, inner)| inner).unwrap_or_default();
            let (head, body) = inner.split_once("\r\n\r\n").unwrap_or((inner.trim_end(), ""));
            let mut lines = head.trim_start().lines();
            let mut first = lines.next().unwrap_or_default().split(' ');
            let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
            let fields =
                lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned()));
            let part = Request {
                method: method.to_owned(),
                target: target.to_owned(),
                fields: fields.collect(),
                body: body.trim_end().as_bytes().to_vec(),
            };
            let path = part.path().to_owned();
            let reply = if path.ends_with("/batch") || path.ends_with("/events") || path.contains("/photos/") {
                error(403, None)
            } else {
                match self.ucwa(&part, &path) {
                    Response::Reply(reply) => reply,
                    Response::Poll { .. } => error(403, None),
                }
            };
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            let bom = if body.is_empty() { "" } else { "\u{feff}" };
            answer.push_str(&format!(
                "--{boundary}\r\nContent-Type: application/http; msgtype=response\r\n\r\nHTTP/1.1 {} Status\r\n\
                 Content-Type: application/json; charset=utf-8\r\n\r\n{bom}{body}\r\n",
                reply.status
            ));
        }
        answer.push_str(&format!("--{boundary}--\r\n"));
        Reply::empty(200)
            .with("Content-Type", format!("multipart/batching; boundary={boundary}"))
            .carrying(answer.into_bytes())
    }
}

fn collection_body(rel: &str, own: String, member: &str, links: Vec<Value>) -> Value {
    collection(rel, own, member, links)
}
