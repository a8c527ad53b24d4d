//! Graph change notifications as they arrive: items, what each is about, and where that can be read (digest §12–14).

use serde_json::Value;

use super::ask::{Class, encoded};

/// One item of a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `subscriptionId`.
    pub subscription: String,
    /// `clientState`, our secret.
    pub client_state: Option<String>,
    /// `changeType` or `lifecycleEvent`.
    pub says: Says,
    /// `tenantId`, else `organizationId`.
    pub tenant: Option<String>,
    /// `subscriptionExpirationDateTime` as received.
    pub expires: Option<String>,
    /// What it is about, from `resourceData.@odata.id`, else `resource`.
    pub resource: Option<Resource>,
    /// `resourceData.@odata.type` in lower case without `#microsoft.graph.`.
    pub resource_type: String,
    /// `encryptedContent`.
    pub encrypted: Option<Value>,
    /// The item as it came, without `encryptedContent` and `clientState`.
    pub rest: Value,
}

/// What an item tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// `created`, `updated`, `deleted`, as received.
    Change(String),
    /// `reauthorizationRequired`, `subscriptionRemoved`, `missed`, …
    Lifecycle(String),
}

/// What a resource path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A message of a chat.
    ChatMessage {
        /// Chat.
        chat: String,
        /// Message.
        message: String,
    },
    /// A message of a channel, or a reply.
    ChannelMessage {
        /// Team.
        team: String,
        /// Channel.
        channel: String,
        /// Root message.
        message: String,
        /// Reply to it.
        reply: Option<String>,
    },
    /// Something else of a chat: itself, its members.
    Chat {
        /// Chat.
        chat: String,
    },
    /// Anything else, as received.
    Other(String),
}

impl Resource {
    /// What the service counts requests about it to: the chat, and for all channels of a team the team (digest §18).
    pub fn budget(&self) -> Option<&str> {
        match self {
            Resource::ChannelMessage { team, .. } => Some(team),
            other => other.thread(),
        }
    }

    /// The chat or channel.
    pub fn thread(&self) -> Option<&str> {
        match self {
            Resource::ChatMessage { chat, .. } | Resource::Chat { chat } => Some(chat),
            Resource::ChannelMessage { channel, .. } => Some(channel),
            Resource::Other(_) => None,
        }
    }

    /// The message's own id.
    pub fn message(&self) -> Option<&str> {
        match self {
            Resource::ChatMessage { message, .. } => Some(message),
            Resource::ChannelMessage { message, reply, .. } => Some(reply.as_deref().unwrap_or(message)),
            Resource::Chat { .. } | Resource::Other(_) => None,
        }
    }

    /// Path below `/v1.0` at which the message can be read, rebuilt from the ids and never taken as received; and what the
    /// service counts reading it as. `None` for what is no message.
    pub fn path(&self) -> Option<(String, Class)> {
        match self {
            Resource::ChatMessage { chat, message } => {
                Some((format!("/chats/{}/messages/{}", encoded(chat), encoded(message)), Class::ChatMessages))
            }
            Resource::ChannelMessage { team, channel, message, reply } => {
                let mut path =
                    format!("/teams/{}/channels/{}/messages/{}", encoded(team), encoded(channel), encoded(message));
                if let Some(reply) = reply {
                    path.push_str(&format!("/replies/{}", encoded(reply)));
                }
                Some((path, Class::ChannelMessages))
            }
            Resource::Chat { .. } | Resource::Other(_) => None,
        }
    }

    /// Reads `chats('19:a')/messages('1')` and `/chats/19:a/messages/1`, with or without a leading slash, host or query.
    pub fn parse(text: &str) -> Resource {
        let pieces = pieces(text);
        let mut named = Vec::new();
        let mut rest = pieces.iter();
        while let Some((name, key)) = rest.next() {
            let key = match key {
                Some(key) => Some(key.clone()),
                // The slash form has the key in the next piece.
                None if COLLECTIONS.contains(&name.as_str()) => rest.next().map(|(next, _)| next.clone()),
                None => None,
            };
            named.push((name.to_ascii_lowercase(), key));
        }
        let key = |wanted: &str| named.iter().find(|(name, _)| name == wanted).and_then(|(_, key)| key.clone());
        match (key("chats"), key("teams"), key("channels"), key("messages")) {
            (Some(chat), _, _, Some(message)) => Resource::ChatMessage { chat, message },
            (_, Some(team), Some(channel), Some(message)) => {
                Resource::ChannelMessage { team, channel, message, reply: key("replies") }
            }
            (Some(chat), ..) => Resource::Chat { chat },
            _ => Resource::Other(text.to_owned()),
        }
    }
}

/// Collections whose next piece is a key.
const COLLECTIONS: &[&str] = &["chats", "teams", "channels", "messages", "replies", "users", "members"];

/// The pieces of a path: names, and keys in `('…')` with doubled quotes undone. Slashes inside quotes do not part.
fn pieces(text: &str) -> Vec<(String, Option<String>)> {
    let mut pieces = Vec::new();
    let (mut name, mut key, mut quoted) = (String::new(), None::<String>, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' if quoted && characters.peek() == Some(&'\'') => {
                characters.next();
                if let Some(key) = &mut key {
                    key.push('\'');
                }
            }
            '\'' => quoted = !quoted,
            _ if quoted => {
                if let Some(key) = &mut key {
                    key.push(c);
                }
            }
            '(' => key = Some(String::new()),
            ')' => {}
            '/' => {
                pieces.push((std::mem::take(&mut name), key.take()));
            }
            '?' => break,
            _ => match &mut key {
                Some(key) => key.push(c),
                None => name.push(c),
            },
        }
    }
    pieces.push((name, key));
    pieces.retain(|(name, key)| !name.is_empty() || key.is_some());
    let decode = |text: String| {
        percent_encoding::percent_decode_str(&text).decode_utf8().map_or(text.clone(), |t| t.into_owned())
    };
    pieces.into_iter().map(|(name, key)| (decode(name), key.map(decode))).collect()
}

/// The items of a body: of its `value`, or the body itself where it comes without that envelope. Empty for anything else.
pub fn items(body: &Value) -> Vec<Item> {
    match body.get("value").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(item).collect(),
        None => item(body).into_iter().collect(),
    }
}

/// The body's `validationTokens`.
pub fn validation_tokens(body: &Value) -> Vec<&str> {
    let tokens = body.get("validationTokens").and_then(Value::as_array);
    tokens.map(|tokens| tokens.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn item(value: &Value) -> Option<Item> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let subscription = text("subscriptionId")?.to_owned();
    let says = match (text("lifecycleEvent"), text("changeType")) {
        (Some(event), _) => Says::Lifecycle(event.to_owned()),
        (None, Some(change)) => Says::Change(change.to_owned()),
        (None, None) => return None,
    };
    let about = value.get("resourceData");
    let inside = |key: &str| about.and_then(|about| about.get(key)).and_then(Value::as_str);
    // The two may disagree on the id in samples; `@odata.id` is right (digest §13).
    let resource = [inside("@odata.id"), text("resource")].into_iter().flatten().map(Resource::parse);
    let resource = resource.reduce(|first, second| if matches!(first, Resource::Other(_)) { second } else { first });
    let kind = inside("@odata.type").unwrap_or_default().trim_start_matches('#').to_ascii_lowercase();
    let mut rest = value.clone();
    if let Some(members) = rest.as_object_mut() {
        members.retain(|name, _| {
            !["clientState", "encryptedContent"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
        });
    }
    Some(Item {
        subscription,
        client_state: text("clientState").map(str::to_owned),
        says,
        tenant: text("tenantId").or_else(|| text("organizationId")).map(str::to_owned),
        expires: text("subscriptionExpirationDateTime").map(str::to_owned),
        resource,
        resource_type: kind.strip_prefix("microsoft.graph.").unwrap_or(&kind).to_owned(),
        encrypted: value.get("encryptedContent").filter(|content| content.is_object()).cloned(),
        rest,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_read_in_every_spelling() {
        let chat = Resource::ChatMessage { chat: "19:a_b@unq.gbl.spaces".into(), message: "16".into() };
        for text in [
            "chats('19:a_b@unq.gbl.spaces')/messages('16')",
            "/chats/19%3Aa_b%40unq.gbl.spaces/messages/16",
            "chats/19:a_b@unq.gbl.spaces/messages/16?x=y",
            "Chats('19%3Aa_b%40unq.gbl.spaces')/Messages('16')",
        ] {
            assert_eq!(Resource::parse(text), chat, "{text}");
        }
        let reply = Resource::parse("teams('t')/channels('19:c@thread.tacv2')/messages('1')/replies('2')");
        assert_eq!(reply.message(), Some("2"));
        assert_eq!(reply.thread(), Some("19:c@thread.tacv2"));
        assert_eq!(
            reply.path().map(|(path, _)| path).as_deref(),
            Some("/teams/t/channels/19%3Ac%40thread.tacv2/messages/1/replies/2")
        );
        assert_eq!(Resource::parse("chats('o''brien/x')"), Resource::Chat { chat: "o'brien/x".into() });
        assert_eq!(
            Resource::parse("communications/onlineMeetings"),
            Resource::Other("communications/onlineMeetings".into())
        );
        for hostile in ["", "('", "chats(", "''''''", "/////", "chats('a", "%ff%zz"] {
            let _ = Resource::parse(hostile);
        }
    }

    #[test]
    fn items_come_with_and_without_their_envelope() {
        let one = json!({"subscriptionId": "s", "clientState": "c", "changeType": "created", "resource": "chats('a')/messages('1')",
            "resourceData": {"@odata.type": "#Microsoft.Graph.chatMessage", "@odata.id": "chats('a')/messages('2')"}, "organizationId": "t"});
        let alone = items(&one);
        assert_eq!(alone, items(&json!({"value": [one, 7, {"x": 1}]})));
        assert_eq!(alone[0].resource.as_ref().and_then(Resource::message), Some("2"));
        assert_eq!((alone[0].resource_type.as_str(), alone[0].tenant.as_deref()), ("chatmessage", Some("t")));
        assert!(alone[0].rest.get("clientState").is_none());
        assert!(items(&json!([1])).is_empty() && items(&json!({"value": "x"})).is_empty());
    }
}
