//! One version of a message as the archive's [`Message`], and everything of it that has no member there.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::attachments;
use super::markup;
use super::people;
use super::{Place, thread_of};
use crate::connector::html::{html_to_text, sanitise};
use crate::connector::teams::ask::encoded;
use crate::connector::teams::identity;
use crate::connector::teams::look::{at, bare, id, list, text};
use crate::model::{Attachment, Message, Person};

/// What one version says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    /// As the archive shows it.
    pub message: Message,
    /// Everything else.
    pub detail: Map<String, Value>,
    /// Attachments (index) to fetch, and their Graph path.
    pub wants: Vec<(usize, String)>,
    /// Nothing was said: no text, no attachments; what remains of a deleted message.
    pub empty: bool,
    /// Digest of what people see, to tell versions apart.
    pub hash: u64,
}

/// Members that are shown elsewhere, or say nothing.
const CONSUMED: &[&str] = &[
    "id",
    "chatId",
    "createdDateTime",
    "body",
    "mentions",
    "reactions",
    "importance",
    "replyToId",
    "hostedContents",
    "replies",
    "policyViolation",
    "from",
    "attachments",
    "messageType",
    "locale",
    "messageHistory",
];

/// Reads the words of a message.
pub fn read(json: &Value, place: &Place<'_>) -> Words {
    let body = at(json, "body").unwrap_or(&Value::Null);
    let content = at(body, "content").and_then(Value::as_str).unwrap_or_default();
    let is_html = text(body, "contentType").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("html"));
    let (mut said, html, hosted, quote) = if is_html {
        let markup = markup::readable(content);
        let html = (!content.is_empty()).then(|| sanitise(&markup.html));
        (exact(&html_to_text(&markup.html)), html, markup.hosted, markup.quoted)
    } else {
        (exact(content), None, Vec::new(), None)
    };
    let raw = list(json, "attachments");
    let mut parts = attachments::read(raw, place.tenant);
    for picture in hosted {
        if !parts.hosted.iter().any(|(_, known)| *known == picture.id) {
            parts.hosted.push((parts.attachments.len(), picture.id));
            let name = picture.alt.filter(|alt| !alt.trim().is_empty());
            parts.attachments.push(Attachment { name, url: Some(picture.url), ..Attachment::default() });
        }
    }
    let known: std::collections::HashSet<String> = parts.hosted.iter().map(|(_, id)| id.clone()).collect();
    for hosted in list(json, "hostedContents").iter().take(HOSTED_LIMIT) {
        if let Some(id) = id(hosted, "id").filter(|id| !known.contains(id)) {
            let media_type = text(hosted, "contentType").map(str::to_owned);
            parts.hosted.push((parts.attachments.len(), id));
            parts.attachments.push(Attachment { media_type, ..Attachment::default() });
        }
    }
    let empty = said.trim().is_empty() && parts.attachments.is_empty() && parts.words.is_empty();
    for words in &parts.words {
        if !said.is_empty() && !said.ends_with('\n') {
            said.push('\n');
        }
        said.push_str(words);
    }
    // A channel post's subject is its headline; people see it, so people search for it.
    if let Some(subject) = text(json, "subject") {
        said = if said.is_empty() { subject.to_owned() } else { format!("{subject}\n{said}") };
    }
    let mut detail = rest(json);
    let mut not_kept: Vec<Value> =
        parts.not_kept.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
    let mut wants = Vec::new();
    for (index, hosted) in &parts.hosted {
        match hosted_path(json, place, hosted) {
            Some(path) => wants.push((*index, path)),
            None => not_kept.push(json!({"name": hosted, "reason": "the message's own address is not known"})),
        }
    }
    if !not_kept.is_empty() {
        detail.insert("attachments_not_kept".into(), not_kept.into());
    }
    let mentions = list(json, "mentions");
    let people: Vec<Person> = mentions.iter().filter_map(|mention| mentioned(mention, place.tenant)).collect();
    if people.len() < mentions.len() {
        detail.insert("mentions".into(), bare(&Value::Array(mentions.to_vec())));
    }
    let message = Message {
        attachments: parts.attachments,
        html,
        id: super::id_of(json).unwrap_or_default(),
        importance: text(json, "importance").map(|word| word.trim().to_ascii_lowercase()),
        in_reply_to: id(json, "replyToId").or(parts.quoted).or(quote),
        mentions: people,
        text: said,
    };
    let hash = hash(json, &message, raw);
    Words { message, detail, wants, empty, hash }
}

/// Hosted contents taken from the list; the service allows far fewer.
const HOSTED_LIMIT: usize = 256;

/// The contract's text: CRLF becomes LF, at most one trailing line break is dropped.
pub fn exact(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn mentioned(mention: &Value, tenant: &str) -> Option<Person> {
    let principal = people::of_set(at(mention, "mentioned")?, tenant)?;
    let shown = text(mention, "mentionText").map(|name| name.trim().to_owned());
    Some(Person { name: principal.person.name.or(shown), ..principal.person })
}

/// Where Graph has a hosted content of this message, below `/v1.0`; made of identifiers, never of an address received.
fn hosted_path(json: &Value, place: &Place<'_>, hosted: &str) -> Option<String> {
    let message = super::id_of(json)?;
    let own = format!("{}/hostedContents/{}/$value", encoded(&message), encoded(hosted));
    let channel = at(json, "channelIdentity").filter(|_| text(json, "chatId").is_none());
    if let Some(channel) = channel.filter(|channel| text(channel, "channelId").is_some()) {
        let (team, channel) = (text(channel, "teamId")?, text(channel, "channelId")?);
        let messages = format!("/teams/{}/channels/{}/messages", encoded(team), encoded(channel));
        return Some(match id(json, "replyToId") {
            Some(root) => format!("{messages}/{}/replies/{own}", encoded(&root)),
            None => format!("{messages}/{own}"),
        });
    }
    let thread = thread_of(json).unwrap_or_else(|| place.thread.to_owned());
    (!thread.is_empty()).then(|| format!("/chats/{}/messages/{own}", encoded(&thread)))
}

/// Everything that has no member of its own, under its name on the wire.
fn rest(json: &Value) -> Map<String, Value> {
    let Value::Object(all) = bare(json) else { return Map::new() };
    let mut detail: Map<String, Value> = all
        .iter()
        .filter(|(name, _)| !name.contains("@odata.") && !CONSUMED.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|(name, member)| (name.clone(), member.clone()))
        .collect();
    let mut keep = |name: &str, value: Option<&Value>| {
        if let Some(value) = value {
            detail.insert(name.to_owned(), bare(value));
        }
    };
    keep("attachments", at(json, "attachments").filter(|list| list.as_array().is_some_and(|list| !list.is_empty())));
    keep(
        "messageHistory",
        at(json, "messageHistory").filter(|list| list.as_array().is_some_and(|list| !list.is_empty())),
    );
    keep("policy_violation", at(json, "policyViolation"));
    keep("locale", at(json, "locale").filter(|l| l.as_str().is_none_or(|l| !l.eq_ignore_ascii_case("en-us"))));
    keep(
        "messageType",
        at(json, "messageType").filter(|t| t.as_str().is_none_or(|t| !t.eq_ignore_ascii_case("message"))),
    );
    // Who it is stands in the actor; what kind of sender it is only where it is not the usual one.
    let usual = at(json, "from").and_then(|from| at(from, "user")).is_some_and(|user| {
        text(user, "userIdentityType").is_none_or(|kind| kind.eq_ignore_ascii_case("aadUser"))
            && text(user, "id").is_some_and(identity::is_guid)
    });
    keep("from", at(json, "from").filter(|_| !usual));
    detail
}

/// Digest over everything by which people tell one version from another. Addresses of hosted contents do not count: they
/// differ by the way a message came.
fn hash(json: &Value, message: &Message, raw: &[Value]) -> u64 {
    let attachments: Vec<_> = message.attachments.iter().map(|file| (&file.name, &file.media_type)).collect();
    let raw: Vec<_> = raw
        .iter()
        .map(|a| {
            (
                id(a, "id"),
                text(a, "contentType"),
                text(a, "contentUrl").filter(|u| markup::hosted_id(u).is_none()),
                at(a, "content"),
            )
        })
        .collect();
    let mentions: Vec<_> = message.mentions.iter().map(|person| &person.id).collect();
    let edited = super::time_ms(json, "lastEditedDateTime");
    digest(&json!([
        message.text,
        message.html,
        message.importance,
        attachments,
        mentions,
        raw,
        text(json, "subject"),
        edited,
        at(json, "eventDetail").map(bare),
    ]))
}

/// The first 8 bytes of the SHA-256 of a JSON value.
pub fn digest(value: &Value) -> u64 {
    let hash = Sha256::digest(value.to_string().as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
