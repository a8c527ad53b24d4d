//! A session with a tiny scripted server and an archive in memory around it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use crate::capture::policy::AcceptFrom;
use crate::capture::{Alias, Append, Captured, EnvelopeId, Known, Restored, StoredEnvelope};
use crate::connector::ucwa::courier::{Courier, Credentials};
use crate::connector::ucwa::http::{
    Answer, Authorization, Body, Method, NetFailure, Outcome, Request, RequestId, Secret,
};
use crate::connector::ucwa::origin::Trust;
use crate::connector::ucwa::session::{Action, Earlier, Input, Report, Session, Settings, Ticket};
use crate::model::{ConversationId, Kind, Timestamp};

pub const POOL: &str = "https://pool.contoso.com";
pub const APP: &str = "/ucwa/oauth/v1/applications/101";
pub const ME: &str = "sip:recorder@contoso.com";
pub const NOTICE: &str = "This conversation is being recorded.";

pub fn conversation(id: &str) -> String {
    format!("{APP}/communication/conversations/{id}")
}

/// What the archive would hold.
#[derive(Default)]
pub struct Memory {
    pub events: Vec<Captured>,
    keys: HashSet<String>,
    pub aliases: HashMap<Alias, ConversationId>,
    pub cursor: BTreeMap<String, Vec<u8>>,
    pub pending: BTreeMap<EnvelopeId, StoredEnvelope>,
    pub envelopes: i64,
    last_seen: Option<Timestamp>,
}

impl Memory {
    fn append(&mut self, append: Append, now: Timestamp) -> Vec<EnvelopeId> {
        self.last_seen = Some(now);
        let mut ids = Vec::new();
        for envelope in append.envelopes {
            self.envelopes += 1;
            let id = EnvelopeId(self.envelopes);
            if envelope.pending {
                self.pending.insert(id, StoredEnvelope { id, envelope });
            }
            ids.push(id);
        }
        for event in append.events {
            if self.keys.insert(event.dedupe.0.clone()) {
                self.events.push(event);
            }
        }
        for (id, alias) in append.aliases {
            self.aliases.entry(alias).or_insert(id);
        }
        for change in append.cursor {
            match change.value {
                Some(value) => self.cursor.insert(change.key, value),
                None => self.cursor.remove(&change.key),
            };
        }
        for id in append.interpreted {
            assert!(self.pending.remove(&id).is_some(), "an envelope was interpreted that was not pending");
        }
        ids
    }

    fn find(&self, aliases: &[Alias]) -> Option<Known> {
        let id = aliases.iter().find_map(|a| self.aliases.get(a))?;
        let has = |kind| self.events.iter().any(|e| e.conversation.as_ref() == Some(id) && e.kind == kind);
        Some(Known { id: id.clone(), started: has(Kind::ConversationStarted), notice_sent: has(Kind::NoticeSent) })
    }
}

/// The session, its surroundings, and the time.
pub struct Rig {
    pub session: Session,
    pub memory: Memory,
    pub now: Timestamp,
    /// Requests on the wire, oldest first.
    pub wire: Vec<(RequestId, Request)>,
    /// Appends not confirmed yet; only filled while `hold_stores`.
    pub held: Vec<(Ticket, Append)>,
    pub hold_stores: bool,
    pub reports: Vec<Report>,
    pub finished: bool,
    /// Answers of the scripted server by method and path; otherwise 404.
    pub pages: HashMap<(&'static str, String), (u16, Value)>,
    pub sent: Vec<String>,
    pub bodies: Vec<(String, Body)>,
    ack: u32,
}

pub fn settings() -> Settings {
    Settings {
        connector: "sfb".into(),
        sign_in: ME.into(),
        domain: "contoso.com".into(),
        autodiscover: None,
        accept: AcceptFrom::parse(&["*@contoso.com".to_owned()]).expect("pattern"),
        rejoin: true,
        leave_after: Duration::from_secs(60),
        activity: Duration::from_secs(180),
        notice: NOTICE.into(),
    }
}

fn session(earlier: Earlier, seed: u64) -> Session {
    let trust = Trust::new("contoso.com", None, &[]).expect("trust");
    let credentials = Credentials { username: "recorder@contoso.com".into(), password: Secret::new("pw".into()) };
    Session::new(settings(), trust.clone(), Courier::new(trust, credentials), earlier, seed)
}

impl Rig {
    /// A session that has not begun.
    pub fn new() -> Rig {
        let mut rig = Rig {
            session: session(Earlier::default(), 7),
            memory: Memory::default(),
            now: Timestamp::from_millis(1_795_225_034_000),
            wire: Vec::new(),
            held: Vec::new(),
            hold_stores: false,
            reports: Vec::new(),
            finished: false,
            pages: HashMap::new(),
            sent: Vec::new(),
            bodies: Vec::new(),
            ack: 1,
        };
        rig.application_is_there();
        rig
    }

    pub fn application_is_there(&mut self) {
        self.page("GET", APP, 200, application(true));
    }

    /// Signed in, available, and polling.
    pub fn running() -> Rig {
        let mut rig = Rig::new();
        rig.start();
        assert!(rig.polling().is_some(), "polls after the sign-in: {:?}", rig.sent);
        rig
    }

    /// Ends the process (nothing said to the server) and starts another on the same archive after `down`.
    pub fn restart(&mut self, down: Duration) {
        self.now = self.now.plus(down);
        let restored =
            Restored { cursor: self.memory.cursor.clone().into_iter().collect(), last_seen: self.memory.last_seen };
        let pending = self.memory.pending.values().cloned().collect();
        self.session = session(Earlier { restored, pending }, 8);
        self.wire.clear();
        self.held.clear();
        self.start();
    }

    pub fn start(&mut self) {
        self.give(Input::Start);
        self.serve();
    }

    pub fn page(&mut self, method: &'static str, path: &str, status: u16, body: Value) {
        self.pages.insert((method, path.to_owned()), (status, body));
    }

    pub fn give(&mut self, input: Input) {
        let mut todo = vec![input];
        while !todo.is_empty() {
            let input = todo.remove(0);
            for action in self.session.handle(input, self.now) {
                match action {
                    Action::Send(id, request) => {
                        self.sent.push(format!("{} {}", request.method.as_str(), request.url.path()));
                        self.bodies.push((request.url.path().to_owned(), request.body.clone()));
                        self.wire.push((id, request));
                    }
                    Action::Store(ticket, append) if self.hold_stores => self.held.push((ticket, append)),
                    Action::Store(ticket, append) => {
                        let ids = self.memory.append(append, self.now);
                        todo.push(Input::Stored(ticket, ids));
                    }
                    Action::Find(ask, aliases) => todo.push(Input::Found(ask, self.memory.find(&aliases))),
                    Action::Report(report) => self.reports.push(report),
                    Action::Finished => self.finished = true,
                }
            }
        }
    }

    /// Confirms what was held back.
    pub fn release_stores(&mut self) {
        self.hold_stores = false;
        for (ticket, append) in std::mem::take(&mut self.held) {
            let ids = self.memory.append(append, self.now);
            self.give(Input::Stored(ticket, ids));
        }
        self.serve();
    }

    /// Confirms the oldest append that was held back, and goes on holding back.
    pub fn release_one(&mut self) {
        let (ticket, append) = self.held.remove(0);
        let ids = self.memory.append(append, self.now);
        self.give(Input::Stored(ticket, ids));
    }

    /// What was held back becomes durable, but nobody is told.
    pub fn store_without_receipt(&mut self) {
        self.hold_stores = false;
        for (_, append) in std::mem::take(&mut self.held) {
            self.memory.append(append, self.now);
        }
    }

    /// The P-GET on the wire.
    pub fn polling(&self) -> Option<String> {
        self.wire.iter().find(|(_, r)| is_poll(r)).map(|(_, r)| r.url.to_string())
    }

    /// Answers everything on the wire except the P-GET, until there is nothing else.
    pub fn serve(&mut self) {
        let mut served = 0;
        while let Some(n) = self.wire.iter().position(|(_, r)| !is_poll(r)) {
            served += 1;
            assert!(served < 2_000, "asks without end: {:?}", &self.sent[self.sent.len() - 20..]);
            let (id, request) = self.wire.remove(n);
            let outcome = self.respond(&request);
            self.give(Input::Reply(id, outcome));
        }
    }

    /// Answers one request that is on the wire.
    pub fn serve_one(&mut self, path: &str) {
        let n = self.wire.iter().position(|(_, r)| r.url.path() == path).expect("the request is on the wire");
        let (id, request) = self.wire.remove(n);
        let outcome = self.respond(&request);
        self.give(Input::Reply(id, outcome));
    }

    /// Lets time pass, timers fire, and the server answer.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now.plus(time);
        while let Some(at) = self.session.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.give(Input::Tick);
            self.serve();
        }
        self.now = until;
        self.give(Input::Tick);
        self.serve();
    }

    fn respond(&self, request: &Request) -> Outcome {
        let path = request.url.path();
        let bearer = matches!(request.authorization, Authorization::Bearer(_));
        let host = request.url.host_str().unwrap_or_default();
        match (request.method, path) {
            (Method::Get, "/") => ok(json!({"_links": {"user": {"href": format!("{POOL}/root/oauth/user")}}})),
            (Method::Post, "/WebTicket/oauthtoken") => {
                ok(json!({"access_token": format!("cwt={host}"), "token_type": "Bearer", "expires_in": 28800}))
            }
            _ if !bearer => Outcome::Answer(Answer {
                status: 401,
                www_authenticate: vec![format!(
                    "MsRtcOAuth href=\"https://{host}/WebTicket/oauthtoken\",grant_type=\"urn:microsoft.rtc:windows,password\""
                )],
                ..blank()
            }),
            (Method::Get, "/root/oauth/user") => {
                ok(json!({"_links": {"applications": {"href": format!("{POOL}/ucwa/oauth/v1/applications")}}}))
            }
            (method, path) => match self.pages.get(&(method.as_str(), path.to_owned())) {
                // Not a status of HTTP: the connection breaks.
                Some((599, _)) => broken(),
                Some((status, body)) => reply(*status, body.clone()),
                None if method == Method::Post && path == "/ucwa/oauth/v1/applications" => {
                    reply(201, application(false))
                }
                None if method == Method::Post && path.ends_with("/messaging/messages") => {
                    Outcome::Answer(Answer { status: 201, location: Some(format!("{path}/901")), ..blank() })
                }
                None if method != Method::Get => reply(204, Value::Null),
                None => reply(404, json!({"code": "NotFound", "subcode": "ConversationNotFound"})),
            },
        }
    }

    /// Delivers a batch on the P-GET and lets everything settle.
    pub fn batch(&mut self, senders: Value) {
        self.raw_batch(senders, "next");
        self.serve();
    }

    /// Delivers a batch whose way on is `next`, `resume` or `resync`; does not let the server answer what follows.
    pub fn raw_batch(&mut self, senders: Value, way: &str) {
        let n = self.wire.iter().position(|(_, r)| is_poll(r)).expect("a P-GET is on the wire");
        let (id, request) = self.wire.remove(n);
        self.ack += 1;
        let mut body = json!({"_links": {"self": {"href": request.url.path()}}, "sender": senders});
        body["_links"][way] = json!({"href": format!("{APP}/events?ack={}", self.ack)});
        self.give(Input::Reply(id, ok(body)));
    }

    /// Ends the P-GET with a status or a failure.
    pub fn fail_poll(&mut self, outcome: Outcome) {
        let n = self.wire.iter().position(|(_, r)| is_poll(r)).expect("a P-GET is on the wire");
        let (id, _) = self.wire.remove(n);
        self.give(Input::Reply(id, outcome));
        self.serve();
    }

    /// Kinds of all events of conversations, in order, without `platform.event`.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.memory
            .events
            .iter()
            .filter(|e| e.conversation.is_some() && e.kind != Kind::PlatformEvent)
            .map(|e| e.kind.as_str())
            .collect()
    }

    pub fn of(&self, kind: Kind) -> Vec<&Captured> {
        self.memory.events.iter().filter(|e| e.kind == kind).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        self.of(Kind::MessageSent).iter().filter_map(|e| e.content.message.as_ref()).map(|m| m.text.clone()).collect()
    }

    pub fn conversations(&self) -> HashSet<ConversationId> {
        self.memory.events.iter().filter_map(|e| e.conversation.clone()).collect()
    }

    pub fn count_sent(&self, line: &str) -> usize {
        self.sent.iter().filter(|s| s.as_str() == line).count()
    }
}

pub fn is_poll(request: &Request) -> bool {
    request.url.path() == format!("{APP}/events")
}

pub fn blank() -> Answer {
    Answer {
        status: 200,
        www_authenticate: Vec::new(),
        diagnostics: None,
        retry_after: None,
        location: None,
        etag: None,
        content_type: Some("application/json".into()),
        server_date: None,
        body: Bytes::new(),
    }
}

pub fn reply(status: u16, body: Value) -> Outcome {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    Outcome::Answer(Answer { status, body, ..blank() })
}

pub fn ok(body: Value) -> Outcome {
    reply(200, body)
}

pub fn broken() -> Outcome {
    Outcome::Failed(NetFailure::Broken)
}

pub fn application(available: bool) -> Value {
    let mut me = json!({"uri": ME, "_links": {"self": {"href": format!("{APP}/me")}}});
    if available {
        for link in ["presence", "note", "reportMyActivity"] {
            me["_links"][link] = json!({"href": format!("{APP}/me/{link}")});
        }
    } else {
        me["_links"]["makeMeAvailable"] = json!({"href": format!("{APP}/me/makeMeAvailable")});
    }
    json!({
        "_links": {"self": {"href": APP}, "events": {"href": format!("{APP}/events?ack=1")},
                   "policies": {"href": format!("{APP}/policies")}},
        "_embedded": {"me": me, "communication": {"_links": {
            "conversations": {"href": format!("{APP}/communication/conversations")},
            "joinOnlineMeeting": {"href": format!("{APP}/communication/onlineMeetingInvitations")}}}},
    })
}

// ---- the words of the channel -----------------------------------------------------------------------------------

pub fn communication(events: Vec<Value>) -> Value {
    json!({"rel": "communication", "href": format!("{APP}/communication"), "events": events})
}

pub fn in_conversation(id: &str, events: Vec<Value>) -> Value {
    json!({"rel": "conversation", "href": conversation(id), "events": events})
}

pub fn event(rel: &str, href: &str, kind: &str, resource: Option<Value>) -> Value {
    let mut event = json!({"link": {"rel": rel, "href": href}, "type": kind});
    if let Some(resource) = resource {
        event["_embedded"] = json!({rel: resource});
    }
    event
}

pub fn with(mut value: Value, name: &str, extra: Value) -> Value {
    value[name] = extra;
    value
}

pub fn invitation(rel: &str, number: &str, talk: &str, from: &str, text: Option<&str>) -> Value {
    let href = format!("{APP}/communication/{rel}s/{number}");
    let mut resource = json!({
        "rel": rel, "direction": "Incoming", "state": "Connecting", "threadId": format!("thread-{talk}"), "subject": "Plan",
        "_links": {"self": {"href": href}, "conversation": {"href": conversation(talk)},
                   "accept": {"href": format!("{href}/accept")}, "decline": {"href": format!("{href}/decline")}},
        "_embedded": {"from": {"name": "Alice", "uri": from,
                      "_links": {"self": {"href": format!("{}/participants/{}", conversation(talk), from.trim_start_matches("sip:"))}}}},
    });
    if rel == "onlineMeetingInvitation" {
        resource["onlineMeetingUri"] = json!(format!("{from};gruu;opaque=app:conf:focus:id:{talk}"));
    }
    if let Some(text) = text {
        resource["_links"]["message"] = json!({"href": format!("data:text/plain;charset=utf-8,{text}")});
    }
    event(rel, &href, "started", Some(resource))
}

/// The same invitation, completed.
pub fn completed(started: &Value, status: &str) -> Value {
    let mut event = started.clone();
    event["type"] = json!("completed");
    event["status"] = json!(status);
    event
}

pub fn talk_is(id: &str, state: &str, meeting: bool) -> Value {
    let href = conversation(id);
    let mut resource = json!({
        "rel": "conversation", "state": state, "threadId": format!("thread-{id}"), "subject": "Plan",
        "activeModalities": ["Messaging"],
        "_links": {"self": {"href": href}, "messaging": {"href": format!("{href}/messaging")}},
    });
    if meeting {
        for list in ["leaders", "attendees", "lobby"] {
            resource["_links"][list] = json!({"href": format!("{href}/participants/{list}")});
        }
    }
    event("conversation", &href, "updated", Some(resource))
}

pub fn messaging_is(id: &str, state: &str) -> Value {
    event("messaging", &format!("{}/messaging", conversation(id)), "updated", Some(messaging(id, state)))
}

pub fn messaging(id: &str, state: &str) -> Value {
    let href = format!("{}/messaging", conversation(id));
    let mut resource = json!({"rel": "messaging", "state": state, "_links": {"self": {"href": href}}});
    if state == "Connected" {
        resource["_links"]["sendMessage"] = json!({"href": format!("{href}/messages")});
        resource["_links"]["stopMessaging"] = json!({"href": format!("{href}/terminate")});
    } else if state == "Disconnected" {
        resource["_links"]["addMessaging"] =
            json!({"href": format!("{APP}/communication/messagingInvitations?conversation={id}")});
    }
    resource
}

pub fn message(id: &str, number: u32, from: &str, uri: &str) -> Value {
    let href = format!("{}/messaging/messages/{number}", conversation(id));
    let resource = json!({
        "rel": "message", "direction": "Incoming", "timeStamp": format!("/Date({})/", 1_795_225_000_000_i64 + i64::from(number)),
        "_links": {"self": {"href": href}, "plainMessage": {"href": uri},
                   "participant": {"href": format!("{}/participants/{from}", conversation(id)), "title": ""}},
    });
    with(event("message", &href, "completed", Some(resource)), "status", json!("Success"))
}

pub fn participant(id: &str, who: &str, kind: &str) -> Value {
    event("participant", &format!("{}/participants/{who}", conversation(id)), kind, None)
}

pub fn participant_in(id: &str, who: &str, view: &str, kind: &str) -> Value {
    let view = json!({"rel": view, "href": format!("{}/participants?filter={view}", conversation(id))});
    with(participant(id, who, kind), "in", view)
}

pub fn person(who: &str, name: &str) -> Value {
    json!({"rel": "participant", "uri": format!("sip:{who}"), "name": name, "role": "Attendee"})
}

impl Rig {
    pub fn knows(&mut self, id: &str, who: &str, name: &str) {
        let path =
            Url::parse(POOL).and_then(|u| u.join(&format!("{}/participants/{who}", conversation(id)))).expect("url");
        self.page("GET", path.path(), 200, person(who, name));
    }

    /// Alice invites to a meeting; the recorder is in and its messaging is connected.
    pub fn in_meeting(&mut self, id: &str) {
        self.joined(id);
        self.batch(json!([in_conversation(id, vec![messaging_is(id, "Connected")])]));
    }

    /// As [`Rig::in_meeting`], before messaging is connected.
    pub fn joined(&mut self, id: &str) {
        self.knows(id, "alice@contoso.com", "Alice");
        self.knows(id, "bob@contoso.com", "Bob");
        let started = invitation("onlineMeetingInvitation", &format!("i-{id}"), id, "sip:alice@contoso.com", None);
        self.batch(json!([communication(vec![started.clone()])]));
        self.batch(json!([
            communication(vec![talk_is(id, "Conferenced", true), completed(&started, "Success")]),
            in_conversation(id, vec![participant(id, "alice@contoso.com", "added"), messaging_is(id, "Disconnected")])
        ]));
    }
}
