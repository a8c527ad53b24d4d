//! Tolerant reading of UCWA payloads: resources, event batches, errors, dates.
//!
//! Unknown properties, links, rels and enum values are never an error; what cannot be understood is kept as it is.
//! Everything goes through [`Resource`] because the server may embed or merely link any resource, may prefix rels
//! (`ms:rtc:saas:` on the cloud sibling of this protocol) and may give one link or an array for the same rel.

mod repair;
#[cfg(test)]
mod samples;

use chrono::Datelike;
use serde_json::{Map, Value};

use crate::model::{Reason, Timestamp};

/// The body is not what UCWA sends. Never holds content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not JSON (HTML of a proxy, a cut body), or nested deeper than 127 levels.
    #[error("body is not JSON that can be read (line {line}, column {column})")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 = before the first.
        column: usize,
    },
    /// JSON, but a number, text, array or the like at the top.
    #[error("body is JSON but not an object")]
    NotAnObject,
}

/// A JSON object with the conventions of UCWA: properties, `_links`, `_embedded`, `rel`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource(Map<String, Value>);

/// One member of `_links`, or the `link` or `in` of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRef {
    /// What it leads to, without a prefix.
    pub rel: String,
    /// Where, byte for byte as the server wrote it; absolute or relative.
    pub href: String,
    /// Name for display; `None` when absent or empty (in two-party conversations it often is empty).
    pub title: Option<String>,
}

/// The `type` of an event. Any type may be the first that is seen of a resource: the server merges steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventType {
    /// An operation began.
    Started,
    /// A resource or operation changed.
    Updated,
    /// An operation ended; see [`Status`].
    Completed,
    /// A resource came into being, or into the view named by `in`.
    Added,
    /// A resource ended, or left the view named by `in`.
    Deleted,
    /// Anything else; empty if there was no type.
    Other(String),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// `Success`
    Success,
    /// `Failure`; the event's `reason` says why.
    Failure,
    /// Anything else.
    Other(String),
}

/// One event of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelEvent {
    /// The resource it is about; `rel` without a prefix.
    pub link: LinkRef,
    /// What happened.
    pub kind: EventType,
    /// `in`: the view whose membership changed (lobby, leaders, typingParticipants …).
    pub inside: Option<LinkRef>,
    /// How the operation ended, on completed.
    pub status: Option<Status>,
    /// Why; sits on the event, not in the resource. A subcode `None` is no subcode.
    pub reason: Option<Reason>,
    /// The resource itself if the server embedded it (under the link's rel, else the only one there is).
    pub resource: Option<Resource>,
    /// The event as it came.
    pub raw: Value,
}

/// One block of events. The same sender may occur several times in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// `communication`, `conversation`, `me`, `people`, `policies` …, without a prefix.
    pub rel: String,
    /// Its address.
    pub href: String,
    /// In the order of the server, which is the order of what happened.
    pub events: Vec<ChannelEvent>,
}

/// One answer of the event channel.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Batch {
    /// `self`: where this batch was read.
    pub this: Option<String>,
    /// Where to ask next; asking there acknowledges this batch.
    pub next: Option<String>,
    /// In place of `next` after a long silence: the server has dropped conversations and subscriptions.
    pub resume: Option<String>,
    /// In place of `next` after a wrong acknowledgement; outranks `next`.
    pub resync: Option<String>,
    /// Events by sender, in order. Empty on the timeout answer.
    pub senders: Vec<Sender>,
    /// Members of `sender` or `events` that are not senders or events, kept.
    pub odd: Vec<Value>,
}

/// The body of an error answer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ErrorBody {
    /// For example `Conflict`.
    pub code: Option<String>,
    /// For example `AlreadyExists`; `None` also when the server wrote `None`.
    pub subcode: Option<String>,
    /// Text in the application's culture.
    pub message: Option<String>,
    /// `debugInfo`, for the log.
    pub debug: Option<Value>,
}

/// The rel without its prefix: what follows the last colon.
fn bare(rel: &str) -> &str {
    match rel.rsplit_once(':') {
        Some((_, name)) if !name.is_empty() => name,
        _ => rel,
    }
}

/// The member under exactly this rel, else the first whose rel is the same without prefixes.
fn by_rel<'a>(map: &'a Map<String, Value>, rel: &str) -> Option<&'a Value> {
    map.get(rel).or_else(|| map.iter().find(|(key, _)| bare(key) == bare(rel)).map(|(_, value)| value))
}

fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn filled(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Resource {
    /// Reads a body. A byte order mark is dropped; lone surrogate escapes and bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`WireError`] when the body is not a JSON object.
    pub fn parse(body: &[u8]) -> Result<Resource, WireError> {
        match repair::parse(body)? {
            Value::Object(map) => Ok(Resource(map)),
            _ => Err(WireError::NotAnObject),
        }
    }

    /// Takes a JSON object; `None` for every other value.
    pub fn from_value(value: Value) -> Option<Resource> {
        match value {
            Value::Object(map) => Some(Resource(map)),
            _ => None,
        }
    }

    /// The whole as JSON.
    pub fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Its `rel` without a prefix. May differ from the key under which it was embedded (`localParticipant` holds a
    /// `participant`).
    pub fn rel(&self) -> Option<String> {
        self.text("rel").filter(|rel| !rel.is_empty()).map(|rel| bare(rel).to_owned())
    }

    /// Its own address, `_links.self.href`.
    pub fn href(&self) -> Option<&str> {
        self.link("self")
    }

    fn link_values(&self, rel: &str) -> &[Value] {
        self.0.get("_links").and_then(Value::as_object).and_then(|links| by_rel(links, rel)).map_or(&[], one_or_many)
    }

    /// Where the link leads; the first of an array. `None` if there is none or it is empty: not allowed now.
    pub fn link(&self, rel: &str) -> Option<&str> {
        self.link_values(rel)
            .iter()
            .find_map(|link| link.get("href").and_then(Value::as_str).filter(|href| !href.is_empty()))
    }

    /// The title of the (first) link; `None` when absent or empty.
    pub fn link_title(&self, rel: &str) -> Option<&str> {
        self.link_values(rel)
            .first()
            .and_then(|link| link.get("title"))
            .and_then(Value::as_str)
            .filter(|title| !title.is_empty())
    }

    /// All links of this rel.
    pub fn links(&self, rel: &str) -> Vec<LinkRef> {
        self.link_values(rel)
            .iter()
            .filter_map(Value::as_object)
            .filter_map(|link| {
                let href = filled(link, "href")?;
                Some(LinkRef { rel: bare(rel).to_owned(), href, title: filled(link, "title") })
            })
            .collect()
    }

    /// The rels of its links, without prefixes: what is possible now.
    pub fn link_rels(&self) -> Vec<String> {
        let all = self.0.get("_links").and_then(Value::as_object);
        all.map(|all| all.keys().map(|key| bare(key).to_owned()).collect()).unwrap_or_default()
    }

    fn embedded_values(&self, rel: &str) -> &[Value] {
        self.0.get("_embedded").and_then(Value::as_object).and_then(|all| by_rel(all, rel)).map_or(&[], one_or_many)
    }

    /// The embedded resource of this rel; the first of an array.
    pub fn embedded(&self, rel: &str) -> Option<Resource> {
        self.embedded_values(rel).iter().find_map(|value| Resource::from_value(value.clone()))
    }

    /// All embedded resources of this rel.
    pub fn embedded_all(&self, rel: &str) -> Vec<Resource> {
        self.embedded_values(rel).iter().filter_map(|value| Resource::from_value(value.clone())).collect()
    }

    /// The rels under which something is embedded, without prefixes.
    pub fn embedded_rels(&self) -> Vec<String> {
        let all = self.0.get("_embedded").and_then(Value::as_object);
        all.map(|all| all.keys().map(|key| bare(key).to_owned()).collect()).unwrap_or_default()
    }

    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A yes/no property: a JSON boolean or the text `true` or `false` in any case.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A whole number, also when written as text.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A point in time, see [`parse_date`].
    pub fn date(&self, name: &str) -> Option<Timestamp> {
        parse_date(self.text(name)?)
    }

    /// A list of texts; a single text is a list of one. Members that are not texts are left out.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let values = self.0.get(name).map_or(&[][..], one_or_many);
        values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

impl LinkRef {
    /// From `{rel, href, title?}`; `None` without a rel.
    fn of_event(value: &Value) -> Option<LinkRef> {
        let map = value.as_object()?;
        Some(LinkRef {
            rel: bare(&filled(map, "rel")?).to_owned(),
            href: filled(map, "href").unwrap_or_default(),
            title: filled(map, "title"),
        })
    }
}

impl From<&str> for EventType {
    fn from(text: &str) -> Self {
        match text {
            "started" => EventType::Started,
            "updated" => EventType::Updated,
            "completed" => EventType::Completed,
            "added" => EventType::Added,
            "deleted" => EventType::Deleted,
            other => EventType::Other(other.to_owned()),
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "Success" => Status::Success,
            "Failure" => Status::Failure,
            other => Status::Other(other.to_owned()),
        }
    }
}

impl ChannelEvent {
    /// Reads one member of `events`; `None` if it is no object or its link lacks rel or href.
    pub fn from_value(value: &Value) -> Option<ChannelEvent> {
        let map = value.as_object()?;
        let link = map.get("link").and_then(LinkRef::of_event).filter(|link| !link.href.is_empty())?;
        let resource = map.get("_embedded").and_then(Value::as_object).and_then(|all| {
            let only = || all.values().next().filter(|_| all.len() == 1);
            let found = by_rel(all, &link.rel).or_else(only)?;
            one_or_many(found).iter().find_map(|value| Resource::from_value(value.clone()))
        });
        let text = |name: &str| map.get(name).and_then(Value::as_str);
        Some(ChannelEvent {
            kind: EventType::from(text("type").unwrap_or_default()),
            inside: map.get("in").and_then(LinkRef::of_event),
            status: text("status").filter(|text| !text.is_empty()).map(Status::from),
            reason: map.get("reason").and_then(parse_reason),
            resource,
            raw: value.clone(),
            link,
        })
    }
}

/// A `reason` object; a bare text counts as its code.
fn parse_reason(value: &Value) -> Option<Reason> {
    match value {
        Value::Object(map) => Some(Reason {
            code: filled(map, "code"),
            message: filled(map, "message"),
            subcode: filled(map, "subcode").filter(|subcode| subcode != "None"),
        }),
        Value::String(code) if !code.is_empty() => Some(Reason { code: Some(code.clone()), ..Reason::default() }),
        _ => None,
    }
}

/// Reads an answer of the event channel. Anything but the outermost object may be missing or strange.
///
/// # Errors
/// [`WireError`] when the body is not a JSON object: ask the same URL again.
pub fn parse_batch(body: &[u8]) -> Result<Batch, WireError> {
    let whole = Resource::parse(body)?;
    let link = |rel: &str| whole.link(rel).map(str::to_owned);
    let mut batch = Batch {
        this: link("self"),
        next: link("next"),
        resume: link("resume"),
        resync: link("resync"),
        ..Batch::default()
    };
    for value in whole.0.get("sender").map_or(&[][..], one_or_many) {
        let Some(map) = value.as_object() else {
            batch.odd.push(value.clone());
            continue;
        };
        let rel = filled(map, "rel").unwrap_or_default();
        let mut sender =
            Sender { rel: bare(&rel).to_owned(), href: filled(map, "href").unwrap_or_default(), events: Vec::new() };
        for value in map.get("events").map_or(&[][..], one_or_many) {
            match ChannelEvent::from_value(value) {
                Some(event) => sender.events.push(event),
                None => batch.odd.push(value.clone()),
            }
        }
        batch.senders.push(sender);
    }
    Ok(batch)
}

/// Reads the body of an error answer; `None` if it is not UCWA's (HTML, empty, no code and no message).
pub fn parse_error(body: &[u8]) -> Option<ErrorBody> {
    let Resource(map) = Resource::parse(body).ok()?;
    let error = ErrorBody {
        code: filled(&map, "code"),
        subcode: filled(&map, "subcode").filter(|subcode| subcode != "None"),
        message: filled(&map, "message"),
        debug: map.get("debugInfo").filter(|debug| !debug.is_null()).cloned(),
    };
    (error.code.is_some() || error.subcode.is_some() || error.message.is_some()).then_some(error)
}

/// Reads `/Date(<signed ms since 1970 UTC>)/`, also with an offset suffix such as `+0100` (which tells a zone but does
/// not move the instant) and with escaped slashes; or RFC 3339. `None` outside the years 1 to 9999.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let time = match text.trim_start_matches('\\').strip_prefix("/Date(") {
        None => Timestamp::parse_rfc3339(text)?,
        Some(rest) => {
            let inner = rest.trim_end_matches('/').trim_end_matches('\\').strip_suffix(')')?;
            let (sign, digits) = match inner.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, inner.strip_prefix('+').unwrap_or(inner)),
            };
            let number = match digits.find(['+', '-']) {
                Some(at) => {
                    let zone = &digits[at + 1..];
                    let good = (1..=5).contains(&zone.len()) && zone.bytes().all(|b| b.is_ascii_digit() || b == b':');
                    good.then_some(&digits[..at])?
                }
                None => digits,
            };
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let ms: i64 = number.parse().ok()?;
            Timestamp(ms.checked_mul(sign)?.checked_mul(1000)?)
        }
    };
    let shown = chrono::DateTime::from_timestamp_micros(time.micros())?;
    (1..=9999).contains(&shown.year()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates_in_all_their_forms() {
        let t = Timestamp::from_millis(1_474_932_027_613);
        for text in [
            "/Date(1474932027613)/",
            r"\/Date(1474932027613)\/",
            "/Date(1474932027613+0000)/",
            "/Date(1474932027613-0700)/",
            "/Date(+1474932027613+05:30)/",
            " /Date(1474932027613)/ ",
            "2016-09-26T23:20:27.613Z",
            "2016-09-27T01:20:27.613+02:00",
        ] {
            assert_eq!(parse_date(text), Some(t), "{text}");
        }
        assert_eq!(parse_date("/Date(-1000)/"), Some(Timestamp::from_millis(-1000)));
        assert_eq!(parse_date("/Date(-1000-0800)/"), Some(Timestamp::from_millis(-1000)));
        for text in
            ["", "/Date()/", "/Date(1", "/Date(1+)/", "/Date(--1)/", "/Date(9223372036854775807)/", "/Date(x)/", "0"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_date("/Date(999999999999999)/"), None, "beyond the year 9999");
    }

    #[test]
    fn links_are_one_or_many_with_or_without_prefix() {
        let r = Resource::parse(
            br#"{"rel":"ms:rtc:saas:message","_links":{"self":{"href":"/m/1"},
            "ms:rtc:saas:participant":{"href":"/p","title":""},"contact":[{"href":"/c1","title":"A"},{"href":"/c2"},7],
            "empty":{"href":""},"odd":3,"none":null}}"#,
        )
        .unwrap();
        assert_eq!(r.rel().as_deref(), Some("message"));
        assert_eq!(r.href(), Some("/m/1"));
        assert_eq!(r.link("participant"), Some("/p"));
        assert_eq!(r.link("ms:rtc:saas:participant"), Some("/p"));
        assert_eq!(r.link("ms:rtc:saas:contact"), Some("/c1"));
        assert_eq!(r.link_title("participant"), None);
        assert_eq!(r.link_title("contact"), Some("A"));
        let all = r.links("ms:rtc:saas:contact");
        assert_eq!(all.iter().map(|l| l.href.as_str()).collect::<Vec<_>>(), ["/c1", "/c2"]);
        assert_eq!(all[0].rel, "contact");
        for rel in ["empty", "odd", "none", "absent"] {
            assert_eq!(r.link(rel), None, "{rel}");
            assert!(r.links(rel).is_empty(), "{rel}");
        }
    }

    #[test]
    fn properties_of_wrong_type_are_absent() {
        let r = Resource::from_value(json!({"t": 1, "yes": true, "no": "False", "maybe": "Enabled", "n": 3, "m": "4",
            "f": 1.5, "list": ["a", 1, "b"], "one": "c", "null": null}))
        .unwrap();
        assert_eq!(r.text("t"), None);
        assert_eq!((r.flag("yes"), r.flag("no"), r.flag("maybe"), r.flag("n")), (Some(true), Some(false), None, None));
        assert_eq!((r.int("n"), r.int("m"), r.int("f"), r.int("null")), (Some(3), Some(4), None, None));
        assert_eq!(r.texts("list"), ["a", "b"]);
        assert_eq!(r.texts("one"), ["c"]);
        assert!(r.texts("null").is_empty() && r.texts("absent").is_empty());
    }

    #[test]
    fn a_batch_keeps_what_it_does_not_understand() {
        let body = json!({"_links": {"self": {"href": "/e?ack=1"}, "next": [{"href": "/e?ack=2"}]}, "sender": [
            {"rel": "x:conversation", "href": "/c/1", "events": [
                {"link": {"rel": "x:new", "href": "/n"}, "type": "shaken", "status": "Perhaps", "in": {"rel": "y:v", "href": "/v"},
                 "_embedded": {"other": [{"rel": "r"}]}},
                {"type": "added"}, 5]},
            "text", {"rel": "conversation", "href": "/c/1", "events": {"link": {"rel": "a", "href": "/a"}}}]});
        let batch = parse_batch(&serde_json::to_vec(&body).unwrap()).unwrap();
        assert_eq!((batch.this.as_deref(), batch.next.as_deref()), (Some("/e?ack=1"), Some("/e?ack=2")));
        assert_eq!(batch.odd, [json!({"type": "added"}), json!(5), json!("text")]);
        assert_eq!(batch.senders.len(), 2);
        let event = &batch.senders[0].events[0];
        assert_eq!(event.link.rel, "new");
        assert_eq!(event.kind, EventType::Other("shaken".into()));
        assert_eq!(event.status, Some(Status::Other("Perhaps".into())));
        assert_eq!(event.inside.as_ref().map(|l| l.rel.as_str()), Some("v"));
        assert_eq!(event.resource.as_ref().and_then(Resource::rel).as_deref(), Some("r"));
        assert_eq!(event.raw, body["sender"][0]["events"][0]);
        assert_eq!(batch.senders[1].events[0].kind, EventType::Other(String::new()));
    }

    #[test]
    fn timeout_resume_and_resync_answers() {
        let batch = parse_batch(br#"{"_links":{"next":{"href":"/e?ack=2"}}}"#).unwrap();
        assert!(batch.senders.is_empty() && batch.resume.is_none() && batch.resync.is_none());
        let batch =
            parse_batch(br#"{"_links":{"resume":{"href":"/r"},"resync":{"href":"/s"}},"sender":null}"#).unwrap();
        assert_eq!((batch.resume.as_deref(), batch.resync.as_deref()), (Some("/r"), Some("/s")));
        assert_eq!(parse_batch(b"{}").unwrap(), Batch::default());
        assert_eq!(parse_batch(b"[]"), Err(WireError::NotAnObject));
    }

    #[test]
    fn errors_are_read_and_html_is_not() {
        let e = parse_error(br#"{"code":"Gone","subcode":"None","message":"m","debugInfo":{"a":"b"}}"#).unwrap();
        assert_eq!((e.code.as_deref(), e.subcode, e.message.as_deref()), (Some("Gone"), None, Some("m")));
        assert_eq!(e.debug, Some(json!({"a": "b"})));
        for body in [&b"<html>"[..], b"", b"{}", b"null", b"[1]"] {
            assert_eq!(parse_error(body), None);
        }
    }
}
