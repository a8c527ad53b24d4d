//! Subscriptions and the change notifications that they bring (digest §12-14).

use serde_json::{Value, json};

use super::chat::{Chat, ChatKind};
use super::encrypt::{Certificate, Spoil, encrypt};
use super::fault::Effect;
use super::ledger::{Change, Path};
use super::outbox::{Content, Letter, Mark};
use super::tenant::{Tenant, Timer, time};

/// What a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// `/chats/getAllMessages`
    AllChats,
    /// `/users/{id}/chats/getAllMessages`
    UserChats(String),
    /// `/chats/{id}/messages`
    Chat(String),
    /// `/teams/getAllMessages`
    AllChannels,
    /// `/teams/{id}/channels/{id}/messages`
    Channel(String),
}

impl Scope {
    /// Reads a resource; `None`: not one of messages.
    pub fn read(resource: &str) -> Option<Self> {
        let path = resource.split('?').next().unwrap_or_default();
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
        // chats('id')/messages is the same as chats/id/messages.
        let parts: Vec<String> = decoded
            .replace("('", "/")
            .replace("')", "")
            .split('/')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect();
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["chats", "getAllMessages"] => Scope::AllChats,
            ["users", id, "chats", "getAllMessages"] => Scope::UserChats((*id).to_owned()),
            ["chats", id, "messages"] => Scope::Chat((*id).to_owned()),
            ["teams", "getAllMessages"] => Scope::AllChannels,
            ["teams", _, "channels", id, "messages"] => Scope::Channel((*id).to_owned()),
            _ => return None,
        })
    }

    /// The permission that it takes.
    pub fn permission(&self) -> &'static str {
        match self {
            Scope::AllChannels | Scope::Channel(_) => "ChannelMessage.Read.All",
            _ => "Chat.Read.All",
        }
    }
}

/// A subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub id: String,
    pub resource: String,
    pub scope: Scope,
    pub change_types: Vec<String>,
    pub url: String,
    pub lifecycle_url: Option<String>,
    pub client_state: Option<String>,
    /// With resource data: whom it is encrypted for.
    pub certificate: Option<Certificate>,
    pub expires_ms: i64,
    /// `model` was given.
    pub model: bool,
    /// Nothing is sent any more, and nobody is told.
    pub silent: bool,
}

/// One change notification that waits for its batch.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub subscription: String,
    pub change: &'static str,
    pub place: String,
    pub message: String,
    pub etag: String,
    pub chat: String,
    pub json: Value,
}

impl Tenant {
    /// Whether a subscription covers a chat.
    fn covers(&self, scope: &Scope, chat: &Chat) -> bool {
        let channel = matches!(chat.kind, ChatKind::Channel { .. });
        match scope {
            Scope::AllChats => !channel,
            Scope::AllChannels => channel,
            Scope::Chat(id) => !channel && chat.id.eq_ignore_ascii_case(id),
            Scope::Channel(id) => channel && chat.id.eq_ignore_ascii_case(id),
            Scope::UserChats(oid) => !channel && self.by_oid(oid).is_some_and(|m| chat.members.contains(&m.id)),
        }
    }

    /// Queues notifications of a message's new version for every subscription that covers it.
    pub fn notify_change(&mut self, c: usize, m: usize, change: Change, json: Value) {
        let chat = &self.chats[c];
        let message = &chat.messages[m];
        let kind = match change {
            Change::Sent => "created",
            Change::Deleted => "deleted",
            _ => "updated",
        };
        let mut place = format!("{}('{}')", chat.place(), message.id);
        if let Some(root) = &message.reply_to {
            place = format!("{}('{root}')/replies('{}')", chat.place(), message.id);
        }
        let wall = self.wall_ms();
        let wanted: Vec<(String, String)> = self
            .subscriptions
            .iter()
            .filter(|s| !s.silent && s.expires_ms > wall && s.change_types.iter().any(|t| t == kind))
            .filter(|s| !chat.foreign && self.covers(&s.scope, chat))
            .map(|s| (s.id.clone(), s.url.clone()))
            .collect();
        let (id, etag, chat_id) = (message.id.clone(), message.modified.to_string(), chat.id.clone());
        for (subscription, url) in wanted {
            if self.evaluation_is_over(&subscription) {
                continue;
            }
            let item = Item {
                subscription,
                change: kind,
                place: place.clone(),
                message: id.clone(),
                etag: etag.clone(),
                chat: chat_id.clone(),
                json: json.clone(),
            };
            let queue = self.waiting.entry(url.clone()).or_default();
            queue.push(item);
            if queue.len() == 1 {
                self.under_way += 1;
                self.later(self.options.notify_ms, Timer::Flush(url));
            }
        }
    }

    /// Without a model the service evaluates: after so many messages it stops, without a word.
    fn evaluation_is_over(&mut self, subscription: &str) -> bool {
        let found = self.subscriptions.iter().find(|s| s.id == subscription);
        let counted = found
            .is_some_and(|s| !s.model && matches!(s.scope, Scope::AllChats | Scope::UserChats(_) | Scope::AllChannels));
        if !counted || self.options.evaluation == 0 {
            return false;
        }
        self.evaluated += 1;
        self.evaluated > self.options.evaluation
    }

    /// Sends what waits for an address, in batches.
    pub fn flush(&mut self, url: &str) {
        self.under_way = self.under_way.saturating_sub(1);
        let items = self.waiting.remove(url).unwrap_or_default();
        let size = self.options.batch;
        for batch in items.chunks(size) {
            self.send_batch(url, batch.to_vec());
        }
    }

    fn send_batch(&mut self, url: &str, items: Vec<Item>) {
        let what = items.first().map(|i| i.change).unwrap_or_default().to_owned();
        self.dispatch(Letter {
            lane: url.to_owned(),
            url: url.to_owned(),
            path: Path::Changes,
            what,
            content: Content::Changes { items },
            bad: None,
            wrong: false,
        });
    }

    /// The body of a batch, with the marks of what it tells. Subscriptions that ended meanwhile tell nothing.
    pub fn batch_body(
        &self,
        items: &[Item],
        effect: Option<&Effect>,
        bad: Option<super::keys::BadToken>,
    ) -> (Value, Vec<Mark>) {
        let spoil = match effect {
            Some(Effect::BadSignature) => Spoil::Signature,
            Some(Effect::ChangedData) => Spoil::Data,
            Some(Effect::UnknownCertificate) => Spoil::CertificateId,
            _ => Spoil::Nothing,
        };
        let mut value = Vec::new();
        let mut marks = Vec::new();
        let mut encrypted = false;
        for item in items {
            let Some(s) = self.subscriptions.iter().find(|s| s.id == item.subscription) else { continue };
            let mut shown = json!({
                "subscriptionId": s.id,
                "changeType": item.change,
                "subscriptionExpirationDateTime": time(s.expires_ms),
                "resource": item.place,
                "resourceData": {
                    "id": item.message,
                    "@odata.type": "#Microsoft.Graph.chatMessage",
                    "@odata.id": item.place,
                },
                "tenantId": self.options.tenant_id,
            });
            if let Some(state) = &s.client_state {
                shown["clientState"] = json!(match effect {
                    Some(Effect::ClientState) => "somebody else's secret",
                    _ => state.as_str(),
                });
            }
            if let Some(certificate) = &s.certificate {
                encrypted = true;
                shown["encryptedContent"] = encrypt(certificate, &item.json, spoil);
            }
            value.push(shown);
            marks.push(Mark { chat: item.chat.clone(), message: item.message.clone(), etag: item.etag.clone() });
        }
        let mut body = json!({ "value": value });
        if encrypted {
            let tokens: Vec<String> = match effect {
                Some(Effect::NoTokens) => Vec::new(),
                _ => self.validation_token(bad).into_iter().collect(),
            };
            body["validationTokens"] = json!(tokens);
        }
        (body, marks)
    }

    /// Tells about the life of a subscription.
    pub fn lifecycle(&mut self, id: &str, event: &str) -> Result<(), String> {
        let found = self.subscriptions.iter().find(|s| s.id == id).cloned();
        let s = found.ok_or_else(|| format!("there is no subscription {id}"))?;
        let Some(url) = s.lifecycle_url.clone() else { return Ok(()) };
        let mut item = json!({
            "lifecycleEvent": event,
            "subscriptionId": s.id,
            "subscriptionExpirationDateTime": time(s.expires_ms),
            "tenantId": self.options.tenant_id,
        });
        if let Some(state) = &s.client_state {
            item["clientState"] = json!(state);
        }
        self.dispatch(Letter {
            lane: url.clone(),
            url,
            path: Path::Lifecycle,
            what: event.to_owned(),
            content: Content::Lifecycle { body: json!({ "value": [item] }) },
            bad: None,
            wrong: false,
        });
        Ok(())
    }

    /// Takes subscriptions away whose resource contains `part`.
    pub fn remove_subscriptions(&mut self, part: &str, tell: bool) {
        let ids: Vec<String> =
            self.subscriptions.iter().filter(|s| s.resource.contains(part)).map(|s| s.id.clone()).collect();
        for id in ids {
            if tell {
                let _ = self.lifecycle(&id, "subscriptionRemoved");
            }
            self.subscriptions.retain(|s| s.id != id);
        }
    }

    /// A subscription as Graph shows it.
    pub fn subscription_json(&self, s: &Subscription, with_state: bool) -> Value {
        json!({
            "id": s.id,
            "resource": s.resource,
            "applicationId": self.options.client_id,
            "changeType": s.change_types.join(","),
            "clientState": if with_state { json!(s.client_state) } else { Value::Null },
            "notificationUrl": s.url,
            "lifecycleNotificationUrl": s.lifecycle_url,
            "expirationDateTime": time(s.expires_ms),
            "creatorId": super::cast::invented("creator"),
            "includeResourceData": s.certificate.is_some(),
            "latestSupportedTlsVersion": "v1_2",
            "encryptionCertificate": null,
            "encryptionCertificateId": s.certificate.as_ref().map(|c| c.id.clone()),
            "notificationQueryOptions": null,
            "notificationUrlAppId": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_in_every_spelling() {
        let chat = Scope::Chat("19:a@thread.v2".to_owned());
        assert_eq!(Scope::read("/chats/19:a@thread.v2/messages"), Some(chat.clone()));
        assert_eq!(Scope::read("chats/19%3Aa%40thread.v2/messages"), Some(chat.clone()));
        assert_eq!(Scope::read("chats('19:a@thread.v2')/messages"), Some(chat));
        assert_eq!(Scope::read("/chats/getAllMessages?model=A"), Some(Scope::AllChats));
        assert_eq!(Scope::read("/users/u/chats/getAllMessages"), Some(Scope::UserChats("u".to_owned())));
        assert_eq!(Scope::read("/teams/t/channels/c/messages"), Some(Scope::Channel("c".to_owned())));
        assert_eq!(Scope::read("/me/messages"), None);
    }
}
