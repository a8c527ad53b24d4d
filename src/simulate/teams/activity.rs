//! Path C: activities of the Bot Framework, and what a bot may post (digest §19).

use serde_json::{Value, json};

use super::chat::{ChatKind, From};
use super::ledger::{Change, Path};
use super::outbox::{Content, Letter};
use super::tenant::{Tenant, time};

impl Tenant {
    /// The members that every activity has.
    pub fn activity(&self, c: usize, kind: &str, id: &str, by: &str) -> Value {
        let chat = &self.chats[c];
        let (conversation_type, group) = match chat.kind {
            ChatKind::OneOnOne => ("personal", false),
            ChatKind::Channel { .. } => ("channel", true),
            _ => ("groupChat", true),
        };
        let mut conversation = json!({
            "isGroup": group, "conversationType": conversation_type, "id": chat.id, "tenantId": self.options.tenant_id,
        });
        if !chat.topic.is_empty() {
            conversation["name"] = json!(chat.topic);
        }
        let mut data = json!({ "tenant": { "id": self.options.tenant_id } });
        if let ChatKind::Channel { team } = &chat.kind {
            data["team"] = json!({ "id": chat.id, "aadGroupId": team, "name": chat.topic });
            data["channel"] = json!({ "id": chat.id });
        }
        let mut activity = json!({
            "type": kind,
            "id": id,
            "timestamp": time(self.wall_ms()),
            "serviceUrl": self.faults.service_url.clone().unwrap_or_else(|| self.service_url()),
            "channelId": "msteams",
            "recipient": { "id": format!("28:{}", self.options.client_id), "name": self.options.name },
            "conversation": conversation,
            "channelData": data,
        });
        if let Ok(m) = self.member(by) {
            activity["from"] =
                json!({ "id": format!("29:1{}", m.oid.replace('-', "")), "aadObjectId": m.oid, "name": m.name });
        }
        activity
    }

    /// Queues an activity for the messaging endpoint.
    pub fn send_activity(&mut self, what: &str, body: Value) {
        let url = format!("{}/api/messages", self.callback);
        self.dispatch(Letter {
            lane: "activities".to_owned(),
            url,
            path: Path::Activities,
            what: what.to_owned(),
            content: Content::Activity { body },
            bad: None,
            wrong: false,
        });
    }

    /// The app is put into a chat, or taken out.
    pub fn install(&mut self, c: usize, by: &str, on: bool) {
        self.chats[c].installed = on;
        let id = format!("f:{}", self.guid());
        let mut update = self.activity(c, "conversationUpdate", &id, by);
        let bot = json!([{ "id": format!("28:{}", self.options.client_id) }]);
        update[if on { "membersAdded" } else { "membersRemoved" }] = bot;
        if matches!(self.chats[c].kind, ChatKind::Channel { .. }) {
            update["channelData"]["eventType"] = json!(if on { "teamMemberAdded" } else { "teamMemberRemoved" });
        }
        self.send_activity("conversationUpdate", update);
        let id = format!("f:{}", self.guid());
        let mut installed = self.activity(c, "installationUpdate", &id, by);
        installed["action"] = json!(if on { "add" } else { "remove" });
        installed["locale"] = json!("en-US");
        self.send_activity("installationUpdate", installed);
    }

    /// A meeting starts or ends, or somebody comes or goes, for the bot.
    pub fn meeting_event(&mut self, c: usize, name: &str, who: &str) {
        if !self.chats[c].installed {
            return;
        }
        let id = self.wall_ms().to_string();
        let mut event = self.activity(c, "event", &id, who);
        let chat = &self.chats[c];
        let meeting = super::keys::base64(format!("0#{}#0", chat.id));
        event["name"] = json!(format!("application/vnd.microsoft.{name}"));
        event["value"] = match name {
            "meetingStart" | "meetingEnd" => {
                let mut value = json!({
                    "Id": meeting, "MeetingType": "Scheduled", "JoinUrl": chat.join_url, "Title": chat.topic,
                });
                value[if name == "meetingStart" { "StartTime" } else { "EndTime" }] = json!(time(self.wall_ms()));
                value
            }
            _ => {
                let Ok(m) = self.member(who) else { return };
                json!({ "members": [{
                    "user": { "id": format!("29:1{}", m.oid.replace('-', "")), "name": m.name, "aadObjectId": m.oid, "tenantId": m.tenant },
                    "meeting": {
                        "inMeeting": name == "meetingParticipantJoin",
                        "role": if who == chat.organizer { "Organizer" } else { "Attendee" },
                    },
                }] })
            }
        };
        event["channelData"]["meeting"] = json!({ "id": meeting });
        self.send_activity(name, event);
    }

    /// With the app installed and consent for it, messages come as activities, too.
    pub fn mirror(&mut self, c: usize, m: usize, change: Change, by: &str, _reaction: &str) {
        let chat = &self.chats[c];
        let message = &chat.messages[m];
        if !chat.installed || !self.options.rsc || message.event.is_some() || message.from == From::Recorder {
            return;
        }
        let (kind, event) = match change {
            Change::Sent => ("message", None),
            Change::Edited => ("messageUpdate", Some("editMessage")),
            Change::Undeleted => ("messageUpdate", Some("undeleteMessage")),
            Change::Deleted => ("messageDelete", Some("softDeleteMessage")),
            // Reactions reach a bot for its own messages only.
            Change::Reacted | Change::Unreacted => return,
        };
        let (id, html, content) = (message.id.clone(), message.html, message.content.clone());
        let root = message.reply_to.clone();
        let mut activity = self.activity(c, kind, &id, by);
        if let Some(event) = event {
            activity["channelData"]["eventType"] = json!(event);
        }
        if matches!(self.chats[c].kind, ChatKind::Channel { .. }) {
            let thread = format!("{};messageid={}", self.chats[c].id, root.as_ref().unwrap_or(&id));
            activity["conversation"]["id"] = json!(thread);
        }
        if change != Change::Deleted {
            activity["text"] = json!(if html { plain(&content) } else { content.clone() });
            activity["textFormat"] = json!("plain");
            if html {
                activity["attachments"] = json!([{ "contentType": "text/html", "content": content }]);
            }
        }
        self.send_activity(kind, activity);
    }
}

/// HTML as an activity's `text` has it: without marks.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
