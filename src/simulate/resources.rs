//! The JSON shapes of resources, links and events, after the reference pages and captures.

use serde_json::{Map, Value, json};

use super::http::Reply;
use super::scenario::Person;
use super::text::json_date;

/// A JSON answer.
pub(super) fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::empty(status)
        .with("Content-Type", "application/json; charset=utf-8")
        .with("Cache-Control", "no-cache")
        .carrying(body.to_string().into_bytes())
}

/// A JSON answer whose dates have escaped slashes, as .NET writes them (`"\/Date(1)\/"`).
pub(super) fn ucwa_reply(status: u16, body: &Value, escape_dates: bool) -> Reply {
    let mut text = body.to_string();
    if escape_dates {
        text = text.replace("\"/Date(", "\"\\/Date(").replace(")/\"", ")\\/\"");
    }
    Reply::empty(status)
        .with("Content-Type", "application/json; charset=utf-8")
        .with("Cache-Control", "no-cache")
        .with("X-MS-UcwaVersion", "2.0")
        .carrying(text.into_bytes())
}

/// The error body of a status, with the code that belongs to it.
pub(super) fn error(status: u16, subcode: Option<&str>) -> Reply {
    const RETRY: &str = "An error occurred. Please retry. If the problem persists, contact your support team.";
    let (code, message) = match status {
        400 => ("BadRequest", "Your request couldn't be completed."),
        403 => ("Forbidden", "You are not allowed to do this."),
        404 => ("NotFound", RETRY),
        405 => ("MethodNotAllowed", "The method is not allowed here."),
        408 => ("ClientTimeout", "The request took too long."),
        409 if subcode.is_none() => {
            ("Conflict", "There was a conflict that prevented the operation from starting. Please try again later.")
        }
        409 => ("Conflict", "The requested resource already exists. Please wait and try again."),
        410 => ("Gone", "The resource is gone."),
        412 => ("PreconditionFailed", "The resource has changed."),
        415 => ("UnsupportedMediaType", "The content type is not supported."),
        428 => ("PreconditionRequired", "If-Match is required."),
        429 => ("TooManyRequests", "Too many requests."),
        502 => ("BadGateway", RETRY),
        503 => ("ServiceUnavailable", RETRY),
        504 => ("Timeout", RETRY),
        _ => ("ServiceFailure", RETRY),
    };
    let mut body = Map::new();
    body.insert("code".to_owned(), code.into());
    if let Some(subcode) = subcode {
        body.insert("subcode".to_owned(), subcode.into());
    }
    body.insert("message".to_owned(), message.into());
    json_reply(status, &Value::Object(body))
}

/// What a pool says to the ticket of another one.
pub(super) fn invalid_ticket() -> Reply {
    Reply::html(500, "<html><body>Server Error</body></html>")
        .with("X-Ms-diagnostics", "28032;source=\"pool\";reason=\"The web ticket is invalid.\"")
}

/// Hrefs of one application.
#[derive(Clone, Debug)]
pub(super) struct Hrefs {
    /// The application's own href; relative, or absolute by option.
    pub root: String,
}

impl Hrefs {
    pub fn of(&self, rest: &str) -> String {
        format!("{}/{rest}", self.root)
    }

    pub fn communication(&self) -> String {
        self.of("communication")
    }

    pub fn conversation(&self, id: &str) -> String {
        self.of(&format!("communication/conversations/{id}"))
    }

    pub fn messaging(&self, id: &str) -> String {
        self.of(&format!("communication/conversations/{id}/messaging"))
    }

    /// `…/participants/alice@contoso.example`, with a bare `@`.
    pub fn participant(&self, id: &str, address: &str) -> String {
        self.of(&format!("communication/conversations/{id}/participants/{}", bare(address)))
    }

    pub fn contact(&self, address: &str) -> String {
        self.of(&format!("people/{}", bare(address)))
    }

    /// Collections are named after the rel: `messagingInvitations/<id>`.
    pub fn invitation(&self, rel: &str, id: &str) -> String {
        self.of(&format!("communication/{rel}s/{id}"))
    }
}

/// An address without its scheme.
pub(super) fn bare(address: &str) -> &str {
    address.strip_prefix("sip:").unwrap_or(address)
}

/// `{"href": …}`
pub(super) fn link(href: impl Into<String>) -> Value {
    json!({ "href": href.into() })
}

fn titled(href: String, title: &str) -> Value {
    json!({ "href": href, "title": title })
}

/// The recorder's account.
pub(super) struct Account<'a> {
    pub name: &'a str,
    pub address: &'a str,
}

/// `me`; a lurker has makeMeAvailable and lacks presence, note, location and reportMyActivity.
pub(super) fn me(h: &Hrefs, who: &Account<'_>, available: bool) -> Value {
    let mut links = Map::new();
    links.insert("self".into(), link(h.of("me")));
    if available {
        for rel in ["note", "presence", "location", "reportMyActivity"] {
            links.insert(rel.into(), link(h.of(&format!("me/{rel}"))));
        }
    } else {
        links.insert("makeMeAvailable".into(), link(h.of("me/makeMeAvailable")));
    }
    for rel in ["callForwardingSettings", "phones"] {
        links.insert(rel.into(), link(h.of(&format!("me/{rel}"))));
    }
    links.insert("photo".into(), link(h.of(&format!("photos/{}", bare(who.address)))));
    json!({ "rel": "me", "name": who.name, "uri": who.address, "emailAddresses": [bare(who.address)], "_links": links })
}

/// `communication`, with the property whose name is random and whose value is fixed.
pub(super) fn communication(h: &Hrefs, put_key: &str, etag: &str, available: bool, formats: &[String]) -> Value {
    let c = h.communication();
    let mut body = json!({
        "rel": "communication", "etag": etag, "conversationHistory": "Disabled",
        "supportedModalities": if available { vec!["Messaging"] } else { vec![] },
        "supportedMessageFormats": formats,
        "_links": {
            "self": link(c.clone()),
            "conversations": link(format!("{c}/conversations?filter=active")),
            "startMessaging": link(format!("{c}/messagingInvitations")),
            "startOnlineMeeting": link(format!("{c}/onlineMeetingInvitations?onlineMeetingUri=adhoc")),
            "joinOnlineMeeting": link(format!("{c}/onlineMeetingInvitations")),
            "missedItems": link(format!("{c}/missedItems")),
        },
    });
    body[put_key] = "please pass this in a PUT request".into();
    body
}

fn people(h: &Hrefs) -> Value {
    let links: Map<String, Value> = [
        ("self", "people"),
        ("presenceSubscriptions", "people/presenceSubscriptions"),
        ("subscribedContacts", "people/subscribedContacts"),
        ("presenceSubscriptionMemberships", "people/presenceSubscriptionMemberships"),
        ("myGroups", "people/groups"),
        ("myGroupMemberships", "people/groupMemberships"),
        ("myContacts", "people/contacts"),
        ("myPrivacyRelationships", "people/privacyRelationships"),
        ("myContactsAndGroupsSubscription", "people/contactsAndGroupsSubscription"),
        ("search", "people/search"),
    ]
    .into_iter()
    .map(|(rel, path)| (rel.to_owned(), link(h.of(path))))
    .collect();
    json!({ "rel": "people", "_links": links })
}

fn online_meetings(h: &Hrefs) -> Value {
    json!({ "rel": "onlineMeetings", "_links": {
        "self": link(h.of("onlineMeetings")),
        "myOnlineMeetings": link(h.of("onlineMeetings/myOnlineMeetings")),
        "onlineMeetingPolicies": link(h.of("onlineMeetings/policies")),
    } })
}

/// `application` around its embedded resources.
pub(super) fn application(h: &Hrefs, culture: &str, user_agent: &str, me: Value, communication: Value) -> Value {
    json!({
        "rel": "application", "id": h.root.rsplit('/').next().unwrap_or_default(), "culture": culture, "userAgent": user_agent,
        "_links": {
            "self": link(h.root.clone()), "policies": link(h.of("policies")), "batch": link(h.of("batch")),
            "events": link(h.of("events?ack=1")),
        },
        "_embedded": { "me": me, "people": people(h), "onlineMeetings": online_meetings(h), "communication": communication },
    })
}

/// `policies`.
pub(super) fn policies(h: &Hrefs, archiving: bool, html: bool) -> Value {
    let word = |on| if on { "Enabled" } else { "Disabled" };
    json!({
        "rel": "policies", "emoticons": "Enabled", "exchangeUnifiedMessaging": "Disabled", "htmlMessaging": word(html),
        "messageArchiving": word(archiving), "messagingUrls": "Enabled", "photos": "Disabled", "logging": "Disabled",
        "saveMessagingHistory": "Disabled", "telephonyMode": "None", "_links": { "self": link(h.of("policies")) },
    })
}

/// A conversation as its resource shows it.
pub(super) struct ConversationView<'a> {
    pub id: &'a str,
    pub state: &'a str,
    pub thread: &'a str,
    pub subject: &'a str,
    pub importance: &'a str,
    pub modalities: Vec<String>,
    /// Multi-party: brings roster links and the count.
    pub conferenced: Option<usize>,
    pub audience_messaging: bool,
    pub unacknowledged: bool,
    pub local: &'a Account<'a>,
    /// The local participant exists already.
    pub local_known: bool,
}

/// `conversation`.
pub(super) fn conversation(h: &Hrefs, v: &ConversationView<'_>) -> Value {
    let own = h.conversation(v.id);
    let mut links = Map::new();
    links.insert("self".into(), link(own.clone()));
    for rel in ["applicationSharing", "audioVideo", "dataCollaboration", "messaging", "phoneAudio"] {
        links.insert(rel.into(), link(format!("{own}/{rel}")));
    }
    if v.local_known {
        links.insert("localParticipant".into(), titled(h.participant(v.id, v.local.address), v.local.name));
        let add = h.of(&format!("communication/participantInvitations?conversation={}", v.id));
        links.insert("addParticipant".into(), link(add));
        links.insert("participants".into(), link(format!("{own}/participants")));
    }
    if v.unacknowledged {
        links.insert("userAcknowledged".into(), link(format!("{own}/userAcknowledged")));
    }
    let mut body = json!({
        "rel": "conversation", "state": v.state, "threadId": v.thread, "subject": v.subject, "importance": v.importance,
        "activeModalities": v.modalities, "recording": false,
    });
    if let Some(count) = v.conferenced {
        for rel in ["leaders", "attendees", "lobby"] {
            links.insert(rel.into(), link(format!("{own}/participants?filter={rel}")));
        }
        links.insert("onlineMeeting".into(), link(format!("{own}/onlineMeeting")));
        body["participantCount"] = count.into();
        body["audienceMute"] = "Disabled".into();
        body["audienceMessaging"] = if v.audience_messaging { "Enabled" } else { "Disabled" }.into();
    }
    body["_links"] = links.into();
    body
}

/// `messaging` in a state; `offered` shows addMessaging while disconnected.
pub(super) fn messaging(h: &Hrefs, id: &str, state: &str, offered: bool, formats: &[String]) -> Value {
    let own = h.messaging(id);
    let mut links = Map::new();
    links.insert("self".into(), link(own.clone()));
    links.insert("conversation".into(), link(h.conversation(id)));
    let mut body = json!({ "rel": "messaging", "state": state });
    match state {
        "Connected" => {
            body["negotiatedMessageFormats"] = formats.into();
            links.insert("stopMessaging".into(), link(format!("{own}/terminate")));
            links.insert("sendMessage".into(), link(format!("{own}/messages")));
            links.insert("setIsTyping".into(), link(format!("{own}/typing")));
            links.insert("typingParticipants".into(), link(format!("{own}/typingParticipants")));
        }
        "Connecting" => {
            links.insert("stopMessaging".into(), link(format!("{own}/terminate")));
        }
        _ if offered => {
            let add = h.of(&format!("communication/messagingInvitations?conversation={id}"));
            links.insert("addMessaging".into(), link(add));
        }
        _ => {}
    }
    body["_links"] = links.into();
    body
}

/// `participant` of somebody in the cast; in meetings with role and lobby.
pub(super) fn participant(h: &Hrefs, id: &str, who: &Person, meeting: Option<(&str, bool)>) -> Value {
    let own = h.participant(id, &who.address);
    let contact = h.contact(&who.address);
    let mut body = json!({
        "rel": "participant", "name": who.name, "uri": who.address, "sourceNetwork": who.network, "anonymous": who.anonymous,
        "_links": {
            "self": link(own), "conversation": link(h.conversation(id)), "contact": link(contact.clone()),
            "contactPresence": link(format!("{contact}/presence")),
            "contactPhoto": link(h.of(&format!("photos/{}", bare(&who.address)))),
        },
    });
    if let Some((role, in_lobby)) = meeting {
        body["role"] = role.into();
        body["inLobby"] = in_lobby.into();
        body["local"] = false.into();
    }
    body
}

/// The recorder's own participant; its inner rel is `participant`.
pub(super) fn local_participant(h: &Hrefs, id: &str, who: &Account<'_>, meeting: Option<bool>) -> Value {
    let mut body = json!({
        "rel": "participant", "name": who.name, "uri": who.address, "sourceNetwork": "SameEnterprise", "anonymous": false,
        "_links": {
            "self": link(h.participant(id, who.address)), "conversation": link(h.conversation(id)), "me": link(h.of("me")),
        },
    });
    if let Some(in_lobby) = meeting {
        body["role"] = "Attendee".into();
        body["inLobby"] = in_lobby.into();
        body["local"] = true.into();
    }
    body
}

/// `participantMessaging` and its siblings.
pub(super) fn participant_modality(h: &Hrefs, rel: &str, id: &str, address: &str, title: &str) -> Value {
    let own = h.participant(id, address);
    json!({ "rel": rel, "_links": {
        "self": link(format!("{own}/{}", modality_path(rel))), "participant": titled(own, title),
    } })
}

/// Last path segment of a participant's modality: `participantMessaging` is at `…/messaging`.
pub(super) fn modality_path(rel: &str) -> String {
    let rest = rel.strip_prefix("participant").unwrap_or(rel);
    let mut chars = rest.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// `contact`.
pub(super) fn contact(h: &Hrefs, who: &Person) -> Value {
    let own = h.contact(&who.address);
    json!({
        "rel": "contact", "uri": who.address, "name": who.name, "sourceNetwork": who.network, "type": "User", "etag": "4061867540",
        "_links": {
            "self": link(own.clone()), "contactPhoto": link(h.of(&format!("photos/{}", bare(&who.address)))),
            "contactPresence": link(format!("{own}/presence")), "contactLocation": link(format!("{own}/location")),
            "contactNote": link(format!("{own}/note")),
        },
    })
}

/// An incoming message.
pub(super) struct MessageView<'a> {
    pub id: &'a str,
    pub number: u64,
    pub sender: &'a Person,
    pub title: &'a str,
    pub time_ms: i64,
    pub plain: Option<String>,
    pub html: Option<String>,
}

/// `message`, incoming.
pub(super) fn message(h: &Hrefs, v: &MessageView<'_>) -> Value {
    let messaging = h.messaging(v.id);
    let mut links = Map::new();
    links.insert("self".into(), link(format!("{messaging}/messages/{}", v.number)));
    links.insert("contact".into(), link(h.contact(&v.sender.address)));
    links.insert("participant".into(), titled(h.participant(v.id, &v.sender.address), v.title));
    links.insert("messaging".into(), link(messaging));
    if let Some(plain) = &v.plain {
        links.insert("plainMessage".into(), link(plain.clone()));
    }
    if let Some(html) = &v.html {
        links.insert("htmlMessage".into(), link(html.clone()));
    }
    json!({ "rel": "message", "direction": "Incoming", "timeStamp": json_date(v.time_ms), "_links": links })
}

/// `message`, sent by the recorder: neither body nor participant.
pub(super) fn own_message(
    h: &Hrefs,
    id: &str,
    number: u64,
    operation: Option<&str>,
    time_ms: i64,
    failed: &[String],
) -> Value {
    let messaging = h.messaging(id);
    let mut body = json!({
        "rel": "message", "direction": "Outgoing", "timeStamp": json_date(time_ms),
        "_links": { "self": link(format!("{messaging}/messages/{number}")), "messaging": link(messaging) },
    });
    if let Some(operation) = operation {
        body["operationId"] = operation.into();
    }
    if !failed.is_empty() {
        body["status"] = "Failed".into();
        body["_links"]["failedDeliveryParticipant"] = failed.iter().map(|a| link(h.participant(id, a))).collect();
    }
    body
}

/// `presence`, `note` or `location` of the recorder.
pub(super) fn own_state(h: &Hrefs, rel: &str, value: &str) -> Value {
    let links = json!({ "self": link(h.of(&format!("me/{rel}"))) });
    match rel {
        "presence" => json!({ "rel": "presence", "availability": value, "_links": links }),
        "note" => json!({ "rel": "note", "message": value, "type": "Personal", "_links": links }),
        _ => json!({ "rel": rel, "_links": links }),
    }
}

/// `onlineMeeting` of a conversation.
pub(super) fn online_meeting(h: &Hrefs, id: &str, uri: &str, organizer: &str, subject: &str) -> Value {
    json!({
        "rel": "onlineMeeting", "onlineMeetingUri": uri, "organizerUri": organizer, "subject": subject,
        "accessLevel": "SameEnterprise", "disclaimer": "",
        "_links": { "self": link(format!("{}/onlineMeeting", h.conversation(id))), "conversation": link(h.conversation(id)) },
    })
}

/// A collection of links: `conversations`, `participants`, `leaders`, `messages` …
pub(super) fn collection(rel: &str, own: String, member: &str, links: Vec<Value>) -> Value {
    let mut all = json!({ "self": link(own) });
    if !links.is_empty() {
        all[member] = links.into();
    }
    json!({ "rel": rel, "_links": all })
}

/// One event of a batch, before it is queued.
#[derive(Clone, Debug, Default)]
pub(super) struct Happening {
    pub rel: String,
    pub href: String,
    pub title: Option<String>,
    pub kind: &'static str,
    pub inside: Option<(String, String, Option<String>)>,
    pub body: Option<Value>,
    pub status: Option<&'static str>,
    pub reason: Option<(String, String)>,
}

impl Happening {
    pub fn new(rel: &str, href: impl Into<String>, kind: &'static str) -> Self {
        Happening { rel: rel.to_owned(), href: href.into(), kind, ..Happening::default() }
    }

    pub fn titled(mut self, title: &str) -> Self {
        self.title = Some(title.to_owned());
        self
    }

    pub fn inside(mut self, rel: &str, href: String, title: Option<&str>) -> Self {
        self.inside = Some((rel.to_owned(), href, title.map(str::to_owned)));
        self
    }

    pub fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub fn succeeded(mut self) -> Self {
        self.status = Some("Success");
        self
    }

    pub fn failed(mut self, code: &str, subcode: &str) -> Self {
        self.status = Some("Failure");
        self.because(code, subcode)
    }

    pub fn because(mut self, code: &str, subcode: &str) -> Self {
        self.reason = Some((code.to_owned(), subcode.to_owned()));
        self
    }

    /// The event as it stands in a batch. Status and reason stand beside `_embedded`, not inside.
    pub fn into_event(self) -> Value {
        let located = |rel: String, href: String, title: Option<String>| {
            let mut v = json!({ "rel": rel, "href": href });
            if let Some(title) = title {
                v["title"] = title.into();
            }
            v
        };
        let mut event = json!({ "type": self.kind });
        if let Some(body) = self.body {
            event["_embedded"] = json!({ self.rel.clone(): body });
        }
        event["link"] = located(self.rel, self.href, self.title);
        if let Some((rel, href, title)) = self.inside {
            event["in"] = located(rel, href, title);
        }
        if let Some(status) = self.status {
            event["status"] = status.into();
        }
        if let Some((code, subcode)) = self.reason {
            event["reason"] =
                json!({ "code": code, "subcode": subcode, "message": format!("The operation ended: {subcode}.") });
        }
        event
    }
}
