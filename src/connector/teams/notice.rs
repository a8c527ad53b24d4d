//! Call notifications: from the body of a webhook request to notices, in order (digest §6).
//!
//! A notice is sorted by the type that its `resourceData` names, then by the end of its address. Nothing here fails on
//! what it does not know: that becomes [`NoticeKind::Unknown`] and later a `platform.event`.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::member::{bounded, key, list, member, text, type_name};

/// Identifier of one leg of a call: a GUID, in addresses sometimes in upper case and without dashes. Two are equal when
/// their [`CallId::key`]s are.
#[derive(Clone, Serialize, Deserialize)]
pub struct CallId {
    key: String,
    raw: String,
}

impl CallId {
    /// From an identifier as received; `None` if it is blank.
    pub fn new(raw: &str) -> Option<CallId> {
        let raw = raw.trim();
        let key = key(raw).replace('-', "");
        (!key.is_empty()).then(|| CallId { key, raw: bounded(raw, 256) })
    }

    /// Lower case, without dashes: for comparing, for names of cursor entries.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// As received first.
    pub fn as_str(&self) -> &str {
        &self.raw
    }
}

impl PartialEq for CallId {
    fn eq(&self, other: &CallId) -> bool {
        self.key == other.key
    }
}

impl Eq for CallId {}

impl Hash for CallId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// `changeType` of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `created`
    Created,
    /// `updated`
    Updated,
    /// `deleted`
    Deleted,
    /// Absent or another word.
    Other,
}

impl Change {
    /// As on the wire; `other` for what is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Deleted => "deleted",
            Change::Other => "other",
        }
    }

    fn of(item: &Value) -> Change {
        match text(item, &["changeType"]).unwrap_or_default().to_ascii_lowercase().as_str() {
            "created" => Change::Created,
            "updated" => Change::Updated,
            "deleted" => Change::Deleted,
            _ => Change::Other,
        }
    }
}

/// How a roster notification tells who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterForm {
    /// Everybody who is there; who is missing has left.
    Full,
    /// Only what changed.
    Delta,
    /// Nothing but that something changed: the list has to be fetched.
    Bare,
}

/// What a notification is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A call rings.
    Incoming,
    /// A call changed; `state` may be absent.
    State,
    /// The call is over for us.
    Ended,
    /// Who is in the call.
    Roster(RosterForm),
    /// A content sharing session; [`CallNotice::change`] tells started, changed, ended.
    Sharing {
        /// Its id as received.
        session: String,
        /// Only the address named it.
        bare: bool,
    },
    /// Progress or result of an operation. A finished one comes with changeType `deleted` and ends nothing (trap 4).
    Operation {
        /// Its id as received.
        id: Option<String>,
    },
    /// Another user of the recording policy wants to join this leg; the answer is in the webhook's reply (trap 9).
    Joining,
    /// A user of the recording policy left this leg.
    Left,
    /// A key was pressed; may carry a state too.
    Tone,
    /// Something else: kept as `platform.event`.
    Unknown,
}

/// One notification about a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallNotice {
    /// The leg; `None` if neither the address nor the data names one.
    pub call: Option<CallId>,
    /// What happened to the resource.
    pub change: Change,
    /// What it is about.
    pub kind: NoticeKind,
    /// `resourceUrl`, else `resource`, as received; at most 1,000 characters.
    pub url: String,
    /// `resourceData`: object, list, or `Null`. Of a sharing session: that session's element.
    pub data: Value,
}

impl CallNotice {
    /// The call object of the notification: the data itself, or its member `call` for joining and left. `Null` if none.
    pub fn call_object(&self) -> &Value {
        const NOTHING: &Value = &Value::Null;
        match self.kind {
            NoticeKind::Joining | NoticeKind::Left => member(&self.data, "call").unwrap_or(NOTHING),
            NoticeKind::Incoming | NoticeKind::State | NoticeKind::Ended | NoticeKind::Tone => first(&self.data),
            _ => NOTHING,
        }
    }
}

/// The body is not a list of Graph notifications: the webhook answers 204 and the service sends it again in Graph's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of Graph notifications")]
pub struct NotGraph;

/// Reads the body of a call webhook.
///
/// # Errors
/// [`NotGraph`] if it is not JSON or not in Graph's form.
pub fn read(body: &[u8]) -> Result<Vec<CallNotice>, NotGraph> {
    let body: Value = serde_json::from_slice(body).map_err(|_| NotGraph)?;
    let items = member(&body, "value").and_then(Value::as_array).ok_or(NotGraph)?;
    let named = type_name(&body).is_some_and(|name| name.starts_with("commsnotification"));
    let like = |item: &Value| ["resourceUrl", "resource", "resourceData"].iter().any(|m| member(item, m).is_some());
    if !named && !items.iter().any(like) {
        return Err(NotGraph);
    }
    Ok(items.iter().flat_map(notices).collect())
}

/// The notices of one item: one, or one for each sharing session of a list.
fn notices(item: &Value) -> Vec<CallNotice> {
    let url = text(item, &["resourceUrl"]).or_else(|| text(item, &["resource"])).unwrap_or_default();
    let (id, tail) = address(url);
    let data = member(item, "resourceData").cloned().unwrap_or(Value::Null);
    let change = Change::of(item);
    let inner = ["id"].iter().find_map(|name| text(&data, &[name])).filter(|_| is_call(&data));
    let call = id.or(text(&data, &["call", "id"])).or(inner).and_then(CallId::new);
    let notice = |kind, data| CallNotice { call: call.clone(), change, kind, url: bounded(url, 1000), data };
    let tail: Vec<&str> = tail.split('/').filter(|part| !part.is_empty()).collect();
    if is_sharing(&data, &tail) {
        let elements = data.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(&data));
        let sessions: Vec<CallNotice> = elements
            .iter()
            .filter_map(|element| {
                let told = text(element, &["id"]);
                let session = told.or(tail.get(1).copied())?.to_owned();
                Some(notice(NoticeKind::Sharing { session, bare: told.is_none() }, element.clone()))
            })
            .collect();
        return if sessions.is_empty() { vec![notice(NoticeKind::Unknown, data)] } else { sessions };
    }
    let kind = kind(&data, &tail, change);
    vec![notice(kind, data)]
}

fn kind(data: &Value, tail: &[&str], change: Change) -> NoticeKind {
    let name = type_name(first(data)).or_else(|| type_name(data)).unwrap_or_default();
    match name.as_str() {
        "call" => of_call(first(data), tail, change),
        "participant" | "deltaparticipants" => NoticeKind::Roster(form(data, tail)),
        "participantjoiningnotification" => NoticeKind::Joining,
        "participantleftnotification" => NoticeKind::Left,
        name if name.ends_with("operation") => operation(data, tail),
        _ => match tail.first().map(|part| part.to_ascii_lowercase()).as_deref() {
            None if !name.is_empty() && member(data, "state").is_none() => NoticeKind::Unknown,
            None => of_call(first(data), tail, change),
            Some("participants") => NoticeKind::Roster(form(data, tail)),
            Some("operations") => operation(data, tail),
            Some(_) => NoticeKind::Unknown,
        },
    }
}

fn of_call(call: &Value, tail: &[&str], change: Change) -> NoticeKind {
    if tail.first().is_some_and(|part| part.eq_ignore_ascii_case("operations")) {
        return operation(call, tail);
    }
    let state = text(call, &["state"]).unwrap_or_default();
    let ended = state.eq_ignore_ascii_case("terminated") || (change == Change::Deleted && tail.is_empty());
    if ended {
        NoticeKind::Ended
    } else if state.eq_ignore_ascii_case("incoming") {
        NoticeKind::Incoming
    } else if member(call, "toneInfo").is_some() {
        NoticeKind::Tone
    } else if change == Change::Deleted {
        NoticeKind::Unknown
    } else {
        NoticeKind::State
    }
}

fn operation(data: &Value, tail: &[&str]) -> NoticeKind {
    let id = tail.get(1).copied().or_else(|| text(data, &["id"]));
    NoticeKind::Operation { id: id.map(|id| bounded(id, 256)) }
}

/// A list of participants is the whole roster only below `/participants` itself (digest §10).
fn form(data: &Value, tail: &[&str]) -> RosterForm {
    match data {
        Value::Array(elements) if elements.iter().any(is_delta) => RosterForm::Delta,
        Value::Array(_) if tail.len() <= 1 => RosterForm::Full,
        Value::Array(_) | Value::Object(_) => RosterForm::Delta,
        _ => RosterForm::Bare,
    }
}

fn is_delta(element: &Value) -> bool {
    type_name(element).is_some_and(|name| name == "deltaparticipants") || !list(element, &["participants"]).is_empty()
}

fn is_sharing(data: &Value, tail: &[&str]) -> bool {
    match type_name(first(data)) {
        Some(name) => name == "contentsharingsession",
        None => tail.first().is_some_and(|part| part.eq_ignore_ascii_case("contentsharingsessions")),
    }
}

fn is_call(data: &Value) -> bool {
    type_name(data).is_some_and(|name| name == "call")
}

/// The first element of a list, or the value itself.
fn first(data: &Value) -> &Value {
    match data {
        Value::Array(elements) => elements.first().unwrap_or(data),
        other => other,
    }
}

/// The call id in an address and what follows it: `/communications/calls/{id}/participants`, `/app/calls/{id}`.
fn address(url: &str) -> (Option<&str>, &str) {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut rest = path;
    while let Some((segment, after)) = rest.split_once('/') {
        if segment.eq_ignore_ascii_case("calls") {
            let (id, tail) = after.split_once('/').unwrap_or((after, ""));
            return ((!id.is_empty()).then_some(id), tail);
        }
        rest = after;
    }
    (None, "")
}

#[cfg(test)]
mod tests;
