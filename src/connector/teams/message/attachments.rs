//! `attachments[]` of a message: files kept elsewhere, cards, quotes, code, and what is not known yet.

use serde_json::Value;

use super::cards;
use super::markup::hosted_id;
use super::people;
use crate::connector::html::html_to_text;
use crate::connector::teams::look::{at, id, list, text};
use crate::model::Attachment;

/// What the attachments of a message come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Which of them (index) the service keeps as hosted content, and its id.
    pub hosted: Vec<(usize, String)>,
    /// Files whose bytes are not fetched: name and why.
    pub not_kept: Vec<(String, &'static str)>,
    /// Words of cards and quotes, in order.
    pub words: Vec<String>,
    /// Message id that the first quote names.
    pub quoted: Option<String>,
}

/// Why files of SharePoint and OneDrive have no bytes in the archive.
pub const NOT_READ: &str = "kept in SharePoint or OneDrive, which the recorder does not read";
const ELSEWHERE: &str = "kept at an address that the recorder does not read";

/// Reads the list. `tenant` is where people without a tenant count to.
pub fn read(attachments: &[Value], tenant: &str) -> Parts {
    let mut parts = Parts::default();
    for attachment in attachments {
        parts.take(attachment, tenant);
    }
    parts
}

impl Parts {
    fn take(&mut self, attachment: &Value, tenant: &str) {
        let kind = text(attachment, "contentType").unwrap_or_default().trim().to_ascii_lowercase();
        let content = content(attachment);
        match kind.as_str() {
            "reference" => self.file(attachment, NOT_READ),
            "messagereference" => {
                if let Some(content) = &content {
                    self.quoted = self.quoted.take().or_else(|| id(content, "messageId"));
                    self.quote(content, "", "messageSender", "messagePreview", tenant);
                }
            }
            "forwardedmessagereference" => {
                if let Some(content) = &content {
                    self.quote(content, "Forwarded: ", "originalMessageSender", "originalMessageContent", tenant);
                    for inner in list(content, "attachments") {
                        // One level only: what was forwarded may not forward.
                        if text(inner, "contentType").is_some_and(|kind| kind.eq_ignore_ascii_case("reference")) {
                            self.file(inner, NOT_READ);
                        }
                    }
                }
            }
            "application/vnd.microsoft.card.codesnippet" => {
                if let Some(url) = content.as_ref().and_then(|content| text(content, "codeSnippetUrl")) {
                    self.snippet(attachment, url);
                } else if let Some(content) = &content {
                    self.say(cards::words(content, &kind));
                }
            }
            "text/html" | "text/plain" => {}
            _ => {
                // Cards, and whatever is not known: its words, and its file if it names one.
                if let Some(content) = &content {
                    self.say(cards::words(content, &kind));
                }
                match text(attachment, "contentUrl") {
                    Some(url) if hosted_id(url).is_some() => self.snippet(attachment, url),
                    Some(_) if !kind.contains("card.") => self.file(attachment, ELSEWHERE),
                    _ if content.is_none() => self.say(text(attachment, "name").unwrap_or_default().to_owned()),
                    _ => {}
                }
            }
        }
    }

    fn say(&mut self, words: String) {
        if !words.trim().is_empty() {
            self.words.push(words.trim().to_owned());
        }
    }

    fn file(&mut self, attachment: &Value, reason: &'static str) {
        let file = described(attachment, text(attachment, "contentUrl"));
        self.not_kept.push((file.name.clone().or(file.url.clone()).unwrap_or_else(|| "file".into()), reason));
        self.attachments.push(file);
    }

    fn snippet(&mut self, attachment: &Value, url: &str) {
        match hosted_id(url) {
            Some(hosted) => {
                self.hosted.push((self.attachments.len(), hosted));
                self.attachments.push(described(attachment, Some(url)));
            }
            None => self.file(attachment, ELSEWHERE),
        }
    }

    fn quote(&mut self, content: &Value, before: &str, sender: &str, preview: &str, tenant: &str) {
        let who = at(content, sender).and_then(|set| people::of_set(set, tenant));
        let said = text(content, preview).unwrap_or_default();
        let said = if said.contains(['<', '&']) { html_to_text(said) } else { said.to_owned() };
        let who = who.map(|who| format!("{}: ", people::called(&who.person))).unwrap_or_default();
        let lines: Vec<_> = said.trim().lines().map(str::to_owned).collect();
        if !lines.is_empty() || !who.is_empty() {
            self.words.push(format!("> {before}{who}{}", lines.join("\n> ")));
        }
    }
}

/// `content` as JSON: it is a text that holds JSON, or JSON itself.
fn content(attachment: &Value) -> Option<Value> {
    match at(attachment, "content")? {
        Value::String(text) => {
            serde_json::from_str(text).ok().filter(|json: &Value| json.is_object() || json.is_array())
        }
        json @ (Value::Object(_) | Value::Array(_)) => Some(json.clone()),
        _ => None,
    }
}

fn described(attachment: &Value, url: Option<&str>) -> Attachment {
    let name = text(attachment, "name").map(str::to_owned);
    let kind = text(attachment, "contentType").filter(|kind| kind.contains('/') && !kind.contains("vnd.microsoft"));
    let media_type = kind.or_else(|| name.as_deref().and_then(by_extension)).map(str::to_owned);
    Attachment { media_type, name, url: url.map(str::to_owned), ..Attachment::default() }
}

/// Media type by the end of a file's name, for the kinds that people send each other.
fn by_extension(name: &str) -> Option<&'static str> {
    let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match extension.as_str() {
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "doc" => "application/msword",
        "xls" => "application/vnd.ms-excel",
        "ppt" => "application/vnd.ms-powerpoint",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "json" => "application/json",
        "txt" | "log" => "text/plain",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_cards_quotes_and_code_are_told_apart() {
        let parts = read(
            &[
                json!({"id": "1", "contentType": "reference", "contentUrl": "https://s/a.docx", "name": "Budget.docx"}),
                json!({"id": "2", "contentType": "messageReference", "content": json!({"messageId": "77", "messagePreview": "old\nwords",
                    "messageSender": {"user": {"id": "u", "displayName": "Robin"}}}).to_string()}),
                json!({"id": "3", "contentType": "application/vnd.microsoft.card.thumbnail", "content": "{\"title\":\"T\"}"}),
                json!({"id": "4", "contentType": "application/vnd.microsoft.card.codesnippet", "name": "x.py",
                    "content": json!({"language": "python", "codeSnippetUrl": "https://g/chats/c/messages/1/hostedContents/c0de/$value"}).to_string()}),
                json!({"id": "5", "contentType": "forwardedMessageReference", "content": json!({"originalMessageId": "5",
                    "originalMessageContent": "<p>far &amp; wide</p>", "originalMessageSender": {"user": {"id": "u", "displayName": "Ann"}}}).to_string()}),
                json!({"id": "6", "contentType": "hologram", "name": "H"}),
                json!("text"),
            ],
            "t",
        );
        assert_eq!(parts.words, ["> Robin: old\n> words", "T", "> Forwarded: Ann: far & wide", "H"]);
        assert_eq!(
            parts.attachments.iter().filter_map(|a| a.name.as_deref()).collect::<Vec<_>>(),
            ["Budget.docx", "x.py"]
        );
        assert_eq!(parts.hosted, [(1, "c0de".to_owned())]);
        assert_eq!(parts.not_kept, [("Budget.docx".to_owned(), NOT_READ)]);
        assert_eq!(parts.quoted.as_deref(), Some("77"));
    }
}
