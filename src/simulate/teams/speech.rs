//! What people do in chats: say, edit, delete, react. Every change makes a version, a notification and, with the app
//! installed, an activity.

use serde_json::{Value, json};

use super::chat::{ChatKind, From, Hosted, Message, Reaction};
use super::ledger::{Change, Said, Version};
use super::tenant::{Tenant, time};

/// What somebody says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Plain text.
    pub text: Option<String>,
    /// HTML; goes before plain text.
    pub html: Option<String>,
    /// People mentioned; a mark for each is put before the words.
    pub mentions: Vec<String>,
    /// An image hosted with the message: media type and bytes; its mark is put behind the words.
    pub image: Option<(String, Vec<u8>)>,
    /// A file that is referred to: name and address.
    pub file: Option<(String, String)>,
    /// A card: its JSON text.
    pub card: Option<String>,
    /// Label of the message that is quoted.
    pub quote: Option<String>,
    /// Label of the message that this is a reply to (channels).
    pub reply_to: Option<String>,
    /// `normal`, `high` or `urgent`.
    pub importance: Option<&'static str>,
    /// Subject (channels).
    pub subject: Option<String>,
}

impl Words {
    /// Plain text and nothing else.
    pub fn plain(text: impl Into<String>) -> Self {
        Words { text: Some(text.into()), ..Words::default() }
    }

    /// HTML and nothing else.
    pub fn html(html: impl Into<String>) -> Self {
        Words { html: Some(html.into()), ..Words::default() }
    }

    /// For those who watch.
    pub(super) fn shown(&self) -> String {
        let mut shown = self.text.clone().or_else(|| self.html.clone()).unwrap_or_default();
        for (there, what) in
            [(self.image.is_some(), "[image]"), (self.file.is_some(), "[file]"), (self.card.is_some(), "[card]")]
        {
            if there {
                shown = format!("{shown} {what}");
            }
        }
        shown
    }
}

/// Text as HTML.
pub(super) fn as_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Tenant {
    /// The number of an existing chat.
    pub fn chat(&self, name: &str) -> Result<usize, String> {
        self.chat_named(name).ok_or_else(|| format!("there is no chat \"{name}\" yet"))
    }

    /// The message with this label or id, or the last one in the chat.
    fn find(&self, c: usize, label: Option<&str>) -> Result<usize, String> {
        let chat = &self.chats[c];
        let found = match label {
            None => chat.messages.iter().rposition(|m| m.event.is_none()),
            Some(label) => {
                let id = chat.labels.get(label).map_or(label, String::as_str);
                chat.messages.iter().position(|m| m.id == id)
            }
        };
        found.ok_or_else(|| format!("there is no message {} in \"{}\"", label.unwrap_or("yet"), chat.name))
    }

    /// Somebody says something; the id of the message.
    pub fn say(&mut self, chat: &str, by: &str, words: &Words, label: Option<&str>) -> Result<String, String> {
        let c = self.chat(chat)?;
        self.member(by)?;
        let wall = self.wall_ms();
        let at = self.chats[c].tick(wall);
        let mut message = Message {
            html: words.html.is_some(),
            importance: words.importance.unwrap_or("normal"),
            subject: words.subject.clone(),
            ..Message::new(
                at,
                From::Person(by.to_owned()),
                words.html.clone().or_else(|| words.text.clone()).unwrap_or_default(),
            )
        };
        let rich = !words.mentions.is_empty()
            || words.image.is_some()
            || words.file.is_some()
            || words.card.is_some()
            || words.quote.is_some();
        if rich && !message.html {
            message.content = as_html(&message.content);
            message.html = true;
        }
        self.decorate(c, &mut message, words)?;
        if let Some(parent) = &words.reply_to {
            let p = self.find(c, Some(parent))?;
            let root = &self.chats[c].messages[p];
            message.reply_to = Some(root.reply_to.clone().unwrap_or_else(|| root.id.clone()));
        }
        let id = message.id.clone();
        if let Some(label) = label {
            self.chats[c].labels.insert(label.to_owned(), id.clone());
        }
        let m = self.chats[c].messages.len();
        self.chats[c].messages.push(message);
        self.changed(c, m, Change::Sent, by, "");
        Ok(id)
    }

    /// Mentions, image, file, card and quotation of a new message.
    fn decorate(&mut self, c: usize, message: &mut Message, words: &Words) -> Result<(), String> {
        let mut marks = String::new();
        for (n, who) in words.mentions.iter().enumerate() {
            let name = self.member(who)?.name.clone();
            marks += &format!("<at id=\"{n}\">{}</at>&nbsp;", as_html(&name));
            message.mentions.push(json!({
                "id": n, "mentionText": name,
                "mentioned": { "application": null, "device": null, "conversation": null, "user": self.chat_identity(who) },
            }));
        }
        message.content = format!("{marks}{}", message.content);
        if let Some(quote) = &words.quote {
            let q = self.find(c, Some(quote))?;
            let quoted = &self.chats[c].messages[q];
            let content = json!({
                "messageId": quoted.id, "messagePreview": quoted.content,
                "messageSender": match &quoted.from {
                    From::Person(id) => self.chat_identity_set(id),
                    _ => Value::Null,
                },
            });
            message.attachments.push(json!({
                "id": quoted.id, "contentType": "messageReference", "contentUrl": null,
                "content": content.to_string(), "name": null, "thumbnailUrl": null,
            }));
            message.content = format!("<attachment id=\"{}\"></attachment>{}", quoted.id, message.content);
        }
        if let Some((media_type, bytes)) = &words.image {
            let id = super::keys::url64(format!("id={},type=1", self.guid()));
            let chat = &self.chats[c];
            let place = match &chat.kind {
                ChatKind::Channel { team } => format!("teams/{team}/channels/{}", chat.id),
                _ => format!("chats/{}", chat.id),
            };
            message.content += &format!(
                "<div><img src=\"{}/v1.0/{place}/messages/{}/hostedContents/{id}/$value\" width=\"297\" height=\"297\"></div>",
                self.urls.base, message.id,
            );
            message.hosted.push(Hosted { id, media_type: media_type.clone(), bytes: bytes.clone() });
        }
        if let Some((name, url)) = &words.file {
            let id = self.guid();
            message.content += &format!("<attachment id=\"{id}\"></attachment>");
            message.attachments.push(json!({
                "id": id, "contentType": "reference", "contentUrl": url, "content": null, "name": name, "thumbnailUrl": null,
            }));
        }
        if let Some(card) = &words.card {
            let id = self.guid().replace('-', "");
            message.content += &format!("<attachment id=\"{id}\"></attachment>");
            message.attachments.push(json!({
                "id": id, "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                "content": card, "name": null, "thumbnailUrl": null,
            }));
        }
        Ok(())
    }

    /// A message gets other words; HTML stays HTML.
    pub fn edit(&mut self, chat: &str, label: Option<&str>, text: &str) -> Result<(), String> {
        let c = self.chat(chat)?;
        let m = self.find(c, label)?;
        let (by, at) = self.touch(c, m);
        let message = &mut self.chats[c].messages[m];
        message.content = if message.html { as_html(text) } else { text.to_owned() };
        message.edited = Some(at);
        self.changed(c, m, Change::Edited, &by, "");
        Ok(())
    }

    /// A message is deleted softly.
    pub fn delete(&mut self, chat: &str, label: Option<&str>) -> Result<(), String> {
        let c = self.chat(chat)?;
        let m = self.find(c, label)?;
        let (by, at) = self.touch(c, m);
        let message = &mut self.chats[c].messages[m];
        message.deleted = Some(at);
        message.kept = Some(std::mem::take(&mut message.content));
        self.changed(c, m, Change::Deleted, &by, "");
        Ok(())
    }

    /// A deletion is undone.
    pub fn undelete(&mut self, chat: &str, label: Option<&str>) -> Result<(), String> {
        let c = self.chat(chat)?;
        let m = self.find(c, label)?;
        let (by, _) = self.touch(c, m);
        let message = &mut self.chats[c].messages[m];
        message.deleted = None;
        if let Some(kept) = message.kept.take() {
            message.content = kept;
        }
        self.changed(c, m, Change::Undeleted, &by, "");
        Ok(())
    }

    /// Somebody reacts, or takes a reaction back.
    pub fn react(&mut self, chat: &str, label: Option<&str>, by: &str, kind: &str, on: bool) -> Result<(), String> {
        let c = self.chat(chat)?;
        self.member(by)?;
        let m = self.find(c, label)?;
        let (_, at) = self.touch(c, m);
        let reaction = Reaction { by: by.to_owned(), kind: kind.to_owned(), at_ms: at };
        let shown = self.reaction_json(&reaction);
        let message = &mut self.chats[c].messages[m];
        message.reactions.retain(|r| r.by != by || r.kind != kind);
        if on {
            message.reactions.push(reaction);
        }
        message.history.push(json!({
            "modifiedDateTime": time(at),
            "actions": if on { "reactionAdded" } else { "reactionRemoved" },
            "reaction": shown,
        }));
        self.changed(c, m, if on { Change::Reacted } else { Change::Unreacted }, by, kind);
        Ok(())
    }

    /// A rule of the tenant hides a message.
    pub fn block(&mut self, chat: &str, label: Option<&str>) -> Result<(), String> {
        let c = self.chat(chat)?;
        let m = self.find(c, label)?;
        let (by, _) = self.touch(c, m);
        self.chats[c].messages[m].violation = Some(json!({
            "dlpAction": "notifySender, blockAccess", "justificationText": null, "userAction": "none",
            "policyTip": { "generalText": "This item has been blocked.", "complianceUrl": null, "matchedConditionDescriptions": [] },
            "verdictDetails": "allowOverrideWithJustification",
        }));
        self.changed(c, m, Change::Edited, &by, "");
        Ok(())
    }

    /// A system message; `detail` without its initiator.
    pub fn system(&mut self, c: usize, kind: &str, mut detail: Value, by: &str) -> String {
        let wall = self.wall_ms();
        let at = self.chats[c].tick(wall);
        detail["@odata.type"] = json!(format!("#microsoft.graph.{kind}EventMessageDetail"));
        if kind != "callTranscript" {
            detail["initiator"] = if by.is_empty() { Value::Null } else { self.chat_identity_set(by) };
        }
        let message = Message { event: Some(detail), ..Message::new(at, From::Nobody, String::new()) };
        let id = message.id.clone();
        let m = self.chats[c].messages.len();
        self.chats[c].messages.push(message);
        self.changed(c, m, Change::Sent, by, "");
        id
    }

    /// What the recorder posted through the bot connector appears as a message.
    pub fn post(&mut self, c: usize, text: &str) -> String {
        let wall = self.wall_ms();
        let at = self.chats[c].tick(wall);
        let message = Message::new(at, From::Recorder, format!("<p>{}</p>", as_html(text)));
        let id = message.id.clone();
        let m = self.chats[c].messages.len();
        self.chats[c].messages.push(message);
        self.changed(c, m, Change::Sent, "", "");
        id
    }

    /// Moves a message's `lastModifiedDateTime`; its author and the moment.
    fn touch(&mut self, c: usize, m: usize) -> (String, i64) {
        let wall = self.wall_ms();
        let at = self.chats[c].tick(wall);
        let message = &mut self.chats[c].messages[m];
        message.modified = at;
        let by = match &message.from {
            From::Person(id) => id.clone(),
            _ => String::new(),
        };
        (by, at)
    }

    /// Enters a version into the ledger and tells subscribers and, with the app installed, the bot.
    fn changed(&mut self, c: usize, m: usize, change: Change, by: &str, reaction: &str) {
        let chat = &self.chats[c];
        let message = &chat.messages[m];
        let json = self.message_json(chat, message);
        let oid = self.member(by).map(|p| p.oid.clone()).unwrap_or_default();
        let version = Version {
            change,
            etag: message.modified.to_string(),
            at_ms: self.now_ms,
            by: oid.clone(),
            reaction: reaction.to_owned(),
            json: json.clone(),
            acknowledged: false,
            read: false,
        };
        let record = self.ledger.chats.entry(chat.id.clone()).or_default();
        match record.messages.iter_mut().find(|s| s.id == message.id) {
            Some(said) => said.versions.push(version),
            None => record.messages.push(Said {
                id: message.id.clone(),
                from: if message.from == From::Recorder { self.options.client_id.clone() } else { oid },
                name: self.cast.iter().find(|p| p.id == by).map(|p| p.name.clone()).unwrap_or_default(),
                text: message.content.clone(),
                html: message.html,
                event: message.event.as_ref().map(event_kind).unwrap_or_default(),
                ours: message.from == From::Recorder,
                versions: vec![version],
            }),
        }
        self.notify_change(c, m, change, json);
        self.mirror(c, m, change, by, reaction);
    }
}

fn event_kind(detail: &Value) -> String {
    let kind = detail["@odata.type"].as_str().unwrap_or_default();
    kind.trim_start_matches("#microsoft.graph.").trim_end_matches("EventMessageDetail").to_owned()
}
