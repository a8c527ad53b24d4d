//! What a message says: text, mentions, attachments, and the readable parts of quotes and cards.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::versions::{plain, text};
use super::{Place, card, path};
use crate::connector::teams::ask::encoded;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::identity;
use crate::model::{Attachment, Message, Person};

/// Why files that a message refers to are not kept.
const ELSEWHERE: &str = "kept in SharePoint or OneDrive, which the recorder does not read";

/// A content of a message that is to be fetched and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which of the message's attachments.
    pub attachment: usize,
    /// Path below `/v1.0`, rebuilt from ids and never taken as received.
    pub path: String,
}

/// What a message says.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) message: Message,
    pub(super) wants: Vec<Want>,
    pub(super) detail: Map<String, Value>,
}

/// Notes in a message's event what became of one of its contents: digest, size and media type, or why it is not kept.
pub fn kept(fact: &mut Fact, want: &Want, outcome: Result<(String, u64, Option<String>), String>) {
    let Some(message) = &mut fact.content.message else { return };
    let Some(attachment) = message.attachments.get_mut(want.attachment) else { return };
    match outcome {
        Ok((sha256, size, media_type)) => {
            attachment.sha256 = Some(sha256);
            attachment.size = Some(size);
            let plain = media_type.filter(|kind| !kind.starts_with("application/json"));
            attachment.media_type = plain.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
        }
        Err(reason) => {
            let mut entry = json!({"reason": reason});
            entry["url"] = attachment.url.clone().into();
            let detail = fact.content.detail.get_or_insert_with(|| Value::Object(Map::new()));
            if let Some(detail) = detail.as_object_mut() {
                not_kept(detail, entry);
            }
        }
    }
}

fn not_kept(detail: &mut Map<String, Value>, entry: Value) {
    let list = detail.entry("attachments_not_kept").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = list.as_array_mut() {
        list.push(entry);
    }
}

pub(super) fn read(json: &Value, place: &Place<'_>) -> Said {
    let mut said = Said::default();
    let body = json.get("body").cloned().unwrap_or_default();
    let (mut words, html) = plain(&body);
    let message = &mut said.message;
    message.id = text(json, "id").or_else(|| text(json, "etag")).unwrap_or_default().to_owned();
    message.html = html;
    message.importance = text(json, "importance").map(str::to_lowercase);
    message.in_reply_to = text(json, "replyToId").map(str::to_owned);
    message.mentions = mentions(json, place);
    let mut quotes = Vec::new();
    let mut parts = Vec::new();
    let mut raw = Vec::new();
    for attachment in json.get("attachments").and_then(Value::as_array).into_iter().flatten() {
        let kind = text(attachment, "contentType").unwrap_or_default();
        let name = text(attachment, "name").map(str::to_owned);
        let content = attachment.get("content").and_then(Value::as_str);
        let inner = content.and_then(|content| serde_json::from_str::<Value>(content).ok());
        let inner = inner.or_else(|| attachment.get("content").filter(|content| content.is_object()).cloned());
        match kind.to_ascii_lowercase().as_str() {
            "messagereference" | "forwardedmessagereference" => {
                let inner = inner.unwrap_or_default();
                if kind.eq_ignore_ascii_case("messageReference") && said.message.in_reply_to.is_none() {
                    let quoted = text(&inner, "messageId").or_else(|| text(attachment, "id"));
                    said.message.in_reply_to = quoted.map(str::to_owned);
                }
                quotes.extend(quote(&inner));
                raw.push(json!({"contentType": kind, "content": inner}));
            }
            "reference" => {
                let url = text(attachment, "contentUrl").map(str::to_owned);
                let mut entry = json!({"reason": ELSEWHERE});
                if let Some(name) = &name {
                    entry["name"] = name.clone().into();
                }
                if let Some(url) = &url {
                    entry["url"] = url.clone().into();
                }
                not_kept(&mut said.detail, entry);
                said.message.attachments.push(Attachment { name, url, ..Attachment::default() });
            }
            kind if kind.starts_with("application/vnd.microsoft.card") || inner.is_some() => {
                let inner = inner.unwrap_or_default();
                parts.extend(card::text(&inner).filter(|text| !text.is_empty()));
                raw.push(json!({"contentType": kind, "content": inner}));
            }
            // A copy of the body in activities.
            "text/html" => {}
            _ => {
                let url = text(attachment, "contentUrl").map(str::to_owned);
                if content.is_some() {
                    raw.push(json!({"contentType": kind, "content": content}));
                }
                let reason = format!("an attachment of the kind {kind} is not fetched");
                not_kept(&mut said.detail, json!({"name": name, "reason": reason}));
                said.message.attachments.push(Attachment {
                    media_type: kind.contains('/').then(|| kind.to_owned()),
                    name,
                    url,
                    ..Attachment::default()
                });
            }
        }
    }
    if !raw.is_empty() {
        said.detail.insert("attachments".to_owned(), Value::Array(raw));
    }
    if !quotes.is_empty() {
        words = format!("{}\n{words}", quotes.join("\n"));
    }
    for part in parts {
        if !words.is_empty() {
            words.push('\n');
        }
        words.push_str(&part);
    }
    said.message.text = words.trim_end_matches('\n').to_owned();
    hosted(json, &body, place, &mut said);
    said
}

/// Pictures and the like that the service hosts itself, by their ids in the body and in the list.
fn hosted(json: &Value, body: &Value, place: &Place<'_>, said: &mut Said) {
    let Some(base) = path(json, place) else { return };
    let mut known = BTreeSet::new();
    let content = body.get("content").and_then(Value::as_str).unwrap_or_default();
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for piece in content.split("hostedContents/").skip(1) {
        let id: String = piece.chars().take_while(|c| !matches!(c, '/' | '"' | '\'' | '?' | '<' | ' ' | '&')).collect();
        found.push((id, None));
    }
    for one in json.get("hostedContents").and_then(Value::as_array).into_iter().flatten() {
        if let Some(id) = text(one, "id") {
            found.push((id.to_owned(), text(one, "contentType").map(str::to_owned)));
        }
    }
    for (id, media_type) in found {
        let id = percent_encoding::percent_decode_str(&id).decode_utf8().map_or(id.clone(), |id| id.into_owned());
        if id.is_empty() || id.len() > 2_000 || !known.insert(id.clone()) {
            continue;
        }
        let path = format!("{base}/hostedContents/{}/$value", encoded(&id));
        said.wants.push(Want { attachment: said.message.attachments.len(), path: path.clone() });
        said.message.attachments.push(Attachment { media_type, url: Some(path), ..Attachment::default() });
    }
}

fn mentions(json: &Value, place: &Place<'_>) -> Vec<Person> {
    let list = json.get("mentions").and_then(Value::as_array);
    let read = |mention: &Value| {
        let principal = identity::principal(mention.get("mentioned")?, place.tenant)?;
        let name = principal.person.name.or_else(|| text(mention, "mentionText").map(str::to_owned));
        Some(Person { id: principal.person.id, name })
    };
    let mut mentions: Vec<Person> = Vec::new();
    for person in list.into_iter().flatten().filter_map(read) {
        if !mentions.iter().any(|known| known.id == person.id) {
            mentions.push(person);
        }
    }
    mentions
}

/// A quoted or forwarded message as a line of its own.
fn quote(inner: &Value) -> Option<String> {
    let names = ["messagePreview", "originalMessageContent", "content"];
    let preview = names.iter().find_map(|name| text(inner, name))?;
    let preview = crate::connector::html::html_to_text(preview);
    let senders = ["/messageSender", "/originalMessageSender"];
    let sender = senders.iter().find_map(|pointer| inner.pointer(pointer)?.as_object());
    let name = sender.and_then(|set| set.values().find_map(|one| one.get("displayName").and_then(Value::as_str)));
    let quoted = preview.trim().replace('\n', "\n> ");
    Some(match name {
        Some(name) => format!("> {name}: {quoted}"),
        None => format!("> {quoted}"),
    })
}
