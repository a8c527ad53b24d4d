//! The words of an activity. `text` may have lost its formatting; the `text/html` attachment holds it all.

use serde_json::{Map, Value};

use super::{What, account};
use crate::connector::html::{html_to_text, sanitise};
use crate::connector::teams::look::{at, bare, id, list, text};
use crate::connector::teams::message::{attachments, markup, words::exact};
use crate::model::{Message, Person};

/// The message that an activity of this id carries.
pub fn message(json: &Value, own: &str, root: Option<&str>, tenant: &str) -> Message {
    let is_html = |a: &&Value| text(a, "contentType").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"));
    let raw = list(json, "attachments");
    let html = raw.iter().find(is_html).and_then(|a| text(a, "content"));
    let plain = at(json, "text").and_then(Value::as_str).unwrap_or_default();
    let marked = text(json, "textFormat").is_some_and(|format| format.eq_ignore_ascii_case("xml"));
    let html = html.or_else(|| marked.then_some(plain)).map(markup::readable);
    let mut said = match &html {
        Some(markup) => exact(&html_to_text(&markup.html)),
        // Mentions are the only markup that plain text has.
        None => exact(plain).replace("<at>", "").replace("</at>", ""),
    };
    let parts = attachments::read(raw, tenant);
    for words in &parts.words {
        if !said.is_empty() && !said.ends_with('\n') {
            said.push('\n');
        }
        said.push_str(words);
    }
    let mentions = list(json, "entities")
        .iter()
        .filter(|entity| text(entity, "type").is_some_and(|kind| kind.eq_ignore_ascii_case("mention")))
        .filter_map(|entity| account(at(entity, "mentioned")?, tenant))
        .collect::<Vec<Person>>();
    Message {
        attachments: parts.attachments,
        html: html.map(|markup| sanitise(&markup.html)),
        id: own.to_owned(),
        importance: text(json, "importance").map(str::to_ascii_lowercase),
        in_reply_to: id(json, "replyToId").or_else(|| root.filter(|root| *root != own).map(str::to_owned)),
        mentions,
        text: said,
    }
}

/// What of an activity has no member of its own.
pub fn detail(json: &Value) -> Map<String, Value> {
    const CONSUMED: &[&str] =
        &["text", "id", "type", "from", "recipient", "timestamp", "entities", "replyToId", "importance"];
    let Value::Object(all) = bare(json) else { return Map::new() };
    let mut detail: Map<String, Value> =
        all.into_iter().filter(|(name, _)| !CONSUMED.iter().any(|known| known.eq_ignore_ascii_case(name))).collect();
    detail.insert("witness".into(), "bot activity".into());
    detail
}

/// One sentence fragment about what is no message; `None` if there is nothing to say.
pub fn in_words(json: &Value, what: What, name: &str) -> Option<String> {
    let nothing = Value::Null;
    let data = at(json, "channelData").unwrap_or(&nothing);
    let named =
        |key: &str| at(data, key).and_then(|it| text(it, "name")).map(|name| format!(": {name}")).unwrap_or_default();
    let title = at(json, "value").and_then(|value| text(value, "Title")).map(|t| format!(": {t}")).unwrap_or_default();
    match what {
        What::MeetingStarted => return Some(format!("Meeting started{title}")),
        What::MeetingEnded => return Some(format!("Meeting ended{title}")),
        What::Removed => return Some("The recorder was removed".to_owned()),
        What::Typing | What::Invoke => return None,
        _ => {}
    }
    Some(match name.to_ascii_lowercase().as_str() {
        "channelcreated" => format!("Channel added{}", named("channel")),
        "channelrenamed" => format!("Channel renamed{}", named("channel")),
        "channeldeleted" => format!("Channel deleted{}", named("channel")),
        "channelrestored" => format!("Channel restored{}", named("channel")),
        "channelshared" => format!("Channel shared{}", named("channel")),
        "channelunshared" => format!("Channel is no longer shared{}", named("channel")),
        "teamrenamed" => format!("Team renamed{}", named("team")),
        "teamdeleted" | "teamharddeleted" => format!("Team deleted{}", named("team")),
        "teamarchived" => format!("Team archived{}", named("team")),
        "teamunarchived" => format!("Team is no longer archived{}", named("team")),
        "teamrestored" => format!("Team restored{}", named("team")),
        "add-upgrade" | "remove-upgrade" => "The recorder's app was upgraded".to_owned(),
        _ => match text(json, "topicName") {
            Some(topic) => format!("Chat renamed: {topic}"),
            None => return None,
        },
    })
}
