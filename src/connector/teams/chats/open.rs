//! From a stored envelope to the things it tells, one [`What`] each: tokens checked, content decrypted, nothing fetched.

use std::time::Duration;

use serde_json::Value;

use crate::capture::{EnvelopeId, StoredEnvelope};
use crate::connector::teams::activity::{self, Activity, What as Form};
use crate::connector::teams::change::{self, Item, Resource, Says};
use crate::connector::teams::desk::Desk;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::moment;
use crate::connector::teams::seal;
use crate::connector::teams::trust::{Refusal, rules};
use crate::model::Timestamp;

/// How long a notification signed by an unknown key is judged again.
const UNKNOWN_FOR: Duration = Duration::from_secs(3600);

/// One thing an envelope tells.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// Where it was read.
    pub(super) envelope: EnvelopeId,
    /// When that arrived.
    pub(super) received_at: Timestamp,
    /// What it tells.
    pub(super) what: What,
}

/// What is told.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A version of a message.
    Message {
        /// The chatMessage.
        json: Value,
        /// It was announced just now, rather than read from the past.
        live: bool,
    },
    /// A message that has to be read from the service.
    Fetch {
        /// Which.
        resource: Resource,
        /// `created`, `updated`, `deleted`.
        change: String,
        /// Why it has to be, if that is a fault.
        fault: Option<String>,
        /// What the witness who told us says, in case that it cannot be read.
        witness: Option<Box<Activity>>,
    },
    /// An activity that is no message.
    Activity(Box<Activity>),
    /// A call of an online meeting, told without a bot in it.
    Meeting(Value),
    /// A change of a chat's members.
    Member {
        /// Chat.
        chat: String,
        /// The member, or what is known of it.
        json: Value,
        /// `created`, `updated`, `deleted`.
        change: String,
    },
    /// A change of a chat itself.
    Chat {
        /// Chat.
        chat: String,
        /// The chat, or what is known of it.
        json: Value,
    },
    /// Something about a subscription.
    Lifecycle(Box<Item>),
    /// Kept with its JSON as `platform.event`.
    Unknown {
        /// Chat, if it names one.
        thread: Option<String>,
        /// The JSON.
        json: Value,
        /// What could not be done with it, if that is a fault.
        fault: Option<String>,
    },
}

/// What became of an envelope.
pub(super) enum Opened {
    /// What it tells; nothing, where proof is missing.
    Told(Vec<What>),
    /// It cannot be checked at the moment.
    Later,
    /// It is about calls, which are read elsewhere.
    NotOurs,
}

/// Opens one envelope.
pub(super) async fn open(desk: &Desk, stored: &StoredEnvelope) -> Opened {
    let envelope = &stored.envelope;
    let request = envelope.request.as_str();
    let json: Value = match serde_json::from_slice(&envelope.body) {
        Ok(json) => json,
        Err(_) => return Opened::Told(Vec::new()),
    };
    if request.starts_with("GET ") {
        return Opened::Told(page(json));
    }
    if request.contains("/api/calls") {
        return Opened::NotOurs;
    }
    if request.contains("/api/messages") {
        return Opened::Told(vec![of_activity(json, desk)]);
    }
    notifications(desk, &json, envelope.received_at).await
}

/// A page of messages read from the service.
fn page(mut json: Value) -> Vec<What> {
    match json.get_mut("value").map(Value::take) {
        Some(Value::Array(list)) => list.into_iter().flat_map(with_replies).collect(),
        _ if json.get("id").is_some() => with_replies(json),
        _ => Vec::new(),
    }
}

/// A message, and the replies it was expanded with.
fn with_replies(mut json: Value) -> Vec<What> {
    let replies = json.get_mut("replies").map(Value::take);
    let mut messages = vec![What::Message { json, live: false }];
    if let Some(Value::Array(replies)) = replies {
        messages.extend(replies.into_iter().map(|json| What::Message { json, live: false }));
    }
    messages
}

fn of_activity(json: Value, desk: &Desk) -> What {
    let activity = activity::read(&json, &desk.config.tenant_id, &desk.config.client_id);
    match readable(&activity) {
        // The message itself is read from Graph, so that both witnesses give one event.
        Some((resource, change)) => {
            What::Fetch { resource, change: change.to_owned(), fault: None, witness: Some(Box::new(activity)) }
        }
        None => What::Activity(Box::new(activity)),
    }
}

/// The message in Graph that an activity is about, and what happened to it; `None` for what is no message, or in a chat that
/// has no name there.
fn readable(activity: &Activity) -> Option<(Resource, &'static str)> {
    let change = match activity.what {
        Form::Message => "created",
        Form::Edited | Form::Undeleted => "updated",
        Form::Deleted => "deleted",
        _ => return None,
    };
    let message = activity.message.clone()?;
    if !activity.thread.starts_with("19:") {
        return None;
    }
    let channel = activity.thread.ends_with("@thread.tacv2") || activity.thread.ends_with("@thread.skype");
    let resource = match (&activity.team, &activity.root, channel) {
        (_, _, false) => Resource::ChatMessage { chat: activity.thread.clone(), message },
        (Some(team), Some(root), true) => Resource::ChannelMessage {
            team: team.clone(),
            channel: activity.thread.clone(),
            message: root.clone(),
            reply: (*root != message).then_some(message),
        },
        // A team that is told by a name of the Bot Framework only.
        _ => return None,
    };
    Some((resource, change))
}

async fn notifications(desk: &Desk, body: &Value, received_at: Timestamp) -> Opened {
    let known: Vec<Item> = change::items(body).into_iter().filter(|item| desk.knows(item)).collect();
    let (ours, foreign): (Vec<Item>, Vec<Item>) = known.into_iter().partition(|item| {
        item.tenant.as_deref().is_none_or(|tenant| tenant.eq_ignore_ascii_case(&desk.config.tenant_id))
    });
    if !foreign.is_empty() {
        tracing::warn!("{}: {} change notifications of another tenant were dropped", desk.name(), foreign.len());
    }
    let tokens = change::validation_tokens(body);
    if ours.iter().any(|item| item.encrypted.is_some()) || !tokens.is_empty() {
        let tenants: Vec<&str> = ours.iter().filter_map(|item| item.tenant.as_deref()).collect();
        let endpoints = &desk.config.endpoints;
        // Reading waits for nobody's key server: what cannot be judged yet is taken up again.
        let Some(keys) = desk.keys_of_notifications.at_hand() else { return Opened::Later };
        let expected = desk.expected(&endpoints.notifications_issuers);
        let (publisher, tenant) = (&endpoints.notifications_publisher, &desk.config.tenant_id);
        let now = desk.now();
        match rules::validation_tokens(&tokens, &keys, expected, publisher, tenant, &tenants, now) {
            // It may be published, and not read yet. Who sends knows our secret, so it is judged for a while before it is
            // dropped.
            Err(Refusal::UnknownKey) if now.since(received_at) < UNKNOWN_FOR => {
                desk.keys_of_notifications.nudge().await;
                return Opened::Later;
            }
            Err(refusal) => {
                tracing::warn!(
                    "{}: change notifications whose validation tokens do not hold were dropped: {refusal}",
                    desk.name()
                );
                return Opened::Told(Vec::new());
            }
            Ok(()) => {}
        }
    }
    for item in &ours {
        desk.upkeep.delivered(&item.subscription);
    }
    Opened::Told(ours.into_iter().map(|item| of_item(desk, item)).collect())
}

fn of_item(desk: &Desk, item: Item) -> What {
    let change = match &item.says {
        Says::Lifecycle(_) => return What::Lifecycle(Box::new(item)),
        Says::Change(change) => change.clone(),
    };
    let thread = item.resource.as_ref().and_then(Resource::thread).map(str::to_owned);
    let fault = match &item.encrypted {
        None => None,
        Some(content) => match seal::open(content, |id| desk.seals().by_id(id)) {
            Ok(plain) => match serde_json::from_slice::<Value>(&plain) {
                Ok(mut json) => {
                    // A notification within a notification would bring our secret into what is told and exported.
                    if let Some(members) = json.as_object_mut() {
                        members.retain(|name, _| !name.eq_ignore_ascii_case("clientState"));
                    }
                    return of_resource(&item, json, change, thread);
                }
                Err(_) => Some("what was decrypted is no JSON".to_owned()),
            },
            Err(failure) => Some(failure.to_string()),
        },
    };
    match item.resource {
        Some(resource) if resource.path().is_some() => What::Fetch { resource, change, fault, witness: None },
        _ if fault.is_some() => What::Unknown { thread, json: item.rest, fault },
        _ => {
            // Ids only: what there is stands in `resourceData`.
            let about = item.rest.get("resourceData").cloned().unwrap_or(item.rest.clone());
            of_resource(&item, about, change, thread)
        }
    }
}

fn of_resource(item: &Item, json: Value, change: String, thread: Option<String>) -> What {
    let told = json.get("@odata.type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let kind =
        if item.resource_type.is_empty() { told.trim_start_matches("#microsoft.graph.") } else { &item.resource_type };
    match (kind, thread) {
        ("chatmessage", _) => What::Message { json, live: true },
        ("chat", Some(chat)) => What::Chat { chat, json },
        (kind, Some(chat)) if kind.ends_with("conversationmember") => What::Member { chat, json, change },
        ("onlinemeeting", _) => What::Meeting(json),
        _ if json.get("eventType").is_some_and(Value::is_string) => What::Meeting(json),
        (_, thread) if json.get("messageType").is_some() => {
            let _ = thread;
            What::Message { json, live: true }
        }
        (_, thread) => What::Unknown { thread, json, fault: None },
    }
}

/// The deletion of a message that can no longer be read, as the notification alone tells it.
pub(super) fn deletion(resource: &Resource, received_at: Timestamp) -> Option<Fact> {
    let (thread, id) = (resource.thread()?, resource.message()?);
    let mut fact = Fact::new(
        crate::model::Kind::MessageDeleted,
        format!("message|{thread}|{id}|{}|deleted", moment::from_id(id).unwrap_or(received_at).millis()),
    );
    fact.content.message = Some(crate::model::Message { id: id.to_owned(), ..Default::default() });
    fact.content.detail = Some(serde_json::json!({"told_by": "change notification"}));
    Some(fact)
}
