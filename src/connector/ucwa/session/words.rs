//! Messages: what was said, by whom, once (digest §10).

use serde_json::{Value, json};

use crate::model::{Content, Kind, Message, Person, Reason};

use super::super::datauri;
use super::super::wire::{EventType, Resource, Status};
use super::lookup::Look;
use super::people::Who;
use super::record::Flow;
use super::talk::{Item, Notice, Talk};
use super::{Session, TalkKey};

/// A repetition of an invitation's text is looked for among the first words after joining, not later.
const REPETITION: std::time::Duration = std::time::Duration::from_secs(60);

/// The decoded bodies of a message.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Body {
    pub(super) text: String,
    pub(super) html: Option<String>,
    damaged: bool,
    undecoded: Option<String>,
}

impl Body {
    /// From the plain, HTML, or either-kind data URIs.
    pub(super) fn of(plain: Option<&str>, html: Option<&str>, either: Option<&str>) -> Body {
        let mut body = Body::default();
        for href in [html, either, plain].into_iter().flatten() {
            match datauri::decode(href) {
                Ok(decoded) => {
                    body.damaged |= decoded.damaged;
                    let text = datauri::message_text(&decoded);
                    if decoded.media_type == "text/html" {
                        body.html = Some(datauri::sanitise(&decoded.text));
                        body.text = datauri::html_to_text(&decoded.text);
                    } else {
                        // The plain form is the exact one and comes last in the list above.
                        body.text = text;
                    }
                }
                Err(_) => body.undecoded = Some(href.to_owned()),
            }
        }
        body
    }

    /// From a message resource.
    fn of_message(resource: &Resource) -> Body {
        Body::of(resource.link("plainMessage"), resource.link("htmlMessage"), None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.html.is_none() && self.undecoded.is_none()
    }

    /// What a reader must know about the decoding, added to `extra`.
    pub(super) fn detail(&self, extra: Option<Value>) -> Option<Value> {
        let mut map = match extra {
            Some(Value::Object(map)) => map,
            _ => serde_json::Map::new(),
        };
        if self.damaged {
            map.insert("damaged".into(), Value::Bool(true));
        }
        if let Some(raw) = &self.undecoded {
            map.insert("undecoded".into(), Value::String(raw.clone()));
        }
        (!map.is_empty()).then_some(Value::Object(map))
    }
}

impl Session {
    pub(super) fn record_message(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        match item.event.kind {
            EventType::Deleted => return self.record_other(talk, item),
            EventType::Started => {
                let spoken = item
                    .event
                    .resource
                    .as_ref()
                    .is_some_and(|r| r.text("direction") != Some("Outgoing") && !Body::of_message(r).is_empty());
                if !spoken {
                    return Flow::Done;
                }
            }
            _ => {}
        }
        let resource = match self.resource(item) {
            Look::Ready(resource) => resource,
            Look::Waiting => return Flow::Wait,
            Look::Missing => {
                // Something was said that we could not read: the record says so.
                if let Some(id) = talk.id.clone() {
                    self.gap(&id, item.at, item.at, "a message was announced but could not be read");
                }
                return self.record_other(talk, item);
            }
        };
        if resource.text("direction") == Some("Outgoing") {
            return self.record_own_message(talk, key, item, &resource);
        }
        let failed = item.event.status == Some(Status::Failure) || resource.text("status") == Some("Failed");
        if talk.early.contains(&item.href) && !failed {
            talk.early.retain(|h| *h != item.href);
            return Flow::Done;
        }
        let (who, unresolved) = match self.sender(talk, item, &resource) {
            Who::Known(person) => (Some(person), false),
            Who::Guessed(person) => (Some(person), true),
            Who::Nobody => (None, true),
            Who::Waiting => return Flow::Wait,
        };
        let body = Body::of_message(&resource);
        if !failed && self.repeats_invitation(talk, item, who.as_ref(), &body) {
            return Flow::Done;
        }
        if item.event.kind == EventType::Started {
            talk.early.push(item.href.clone());
        }
        let extra = unresolved.then(|| json!({"unresolved_sender": true}));
        let content = Content {
            actor: who,
            detail: body.detail(extra),
            message: Some(Message {
                html: body.html,
                id: item.event.link.href.clone(),
                importance: resource.text("importance").map(str::to_lowercase),
                text: body.text,
                ..Message::default()
            }),
            reason: item.event.reason.clone(),
            source_id: Some(item.event.link.href.clone()),
            ..Content::default()
        };
        talk.conference |= talk.state.as_deref() == Some("Conferenced");
        let stamp = resource.date("timeStamp");
        let kind = if failed { Kind::MessageUndelivered } else { Kind::MessageSent };
        // The server's time stands alone in a field, in milliseconds: the archive keeps keys of one time together.
        let dedupe = format!(
            "message|{}|{}|{}|{}",
            self.incarnation(),
            item.href,
            stamp.map(|t| t.millis().to_string()).unwrap_or_default(),
            if failed { "failed" } else { "" }
        );
        let id = talk.id.clone();
        self.event(id.as_ref(), item.envelope, kind, stamp.or(item.date), dedupe, content);
        Flow::Done
    }

    /// Whether this is the invitation's text, delivered once more as a message: the inviter's first words here.
    fn repeats_invitation(&self, talk: &mut Talk, item: &Item, who: Option<&Person>, body: &Body) -> bool {
        let Some(first) = &talk.first_text else { return false };
        let same_person = who.is_none_or(|w| w.id == first.from);
        if !same_person {
            return false;
        }
        let repeated = body.text == first.text && item.at.since(first.at) <= REPETITION;
        talk.first_text = None;
        repeated
    }

    fn record_own_message(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item, resource: &Resource) -> Flow {
        if item.event.kind == EventType::Started {
            return Flow::Done;
        }
        let body = Body::of_message(resource);
        let operation = resource.text("operationId");
        let ours = match &talk.notice {
            Notice::Sending { operation: mine, href, .. } => {
                operation == Some(mine.as_str())
                    || href.as_ref() == Some(&item.href)
                    || (operation.is_none() && href.is_none() && body.is_empty())
            }
            _ => false,
        };
        let failed = item.event.status == Some(Status::Failure) || resource.text("status") == Some("Failed");
        let missed: Vec<String> =
            resource.links("failedDeliveryParticipant").iter().map(|l| super::people::address_of(&l.href)).collect();
        let text = if ours { self.settings.notice.clone() } else { body.text.clone() };
        if !ours && body.is_empty() && !failed {
            return self.record_other(talk, item);
        }
        let content = |reason: Option<Reason>, missed: &[String]| Content {
            actor: Some(Person { id: self.settings.sign_in.clone(), name: None }),
            detail: (!missed.is_empty()).then(|| json!({"not_delivered_to": missed})),
            message: Some(Message {
                html: body.html.clone(),
                id: item.event.link.href.clone(),
                text: text.clone(),
                ..Message::default()
            }),
            reason,
            source_id: Some(item.event.link.href.clone()),
            ..Content::default()
        };
        let stamp = resource.date("timeStamp").or(item.date);
        let told = content(item.event.reason.clone(), &[]);
        let undelivered = content(item.event.reason.clone(), &missed);
        let id = talk.id.clone();
        let unique = format!("own|{}|{}", self.incarnation(), item.href);
        if !failed {
            let kind = if ours { Kind::NoticeSent } else { Kind::MessageSent };
            self.event(id.as_ref(), item.envelope, kind, stamp, format!("{unique}|sent"), told);
        }
        if failed || !missed.is_empty() {
            let dedupe = format!("{unique}|undelivered");
            self.event(id.as_ref(), item.envelope, Kind::MessageUndelivered, stamp, dedupe, undelivered);
        }
        if ours {
            talk.notice = if failed { Notice::Failed } else { Notice::Sent };
            talk.changed = true;
            self.timers.clear(&super::Timer::Notice(key.clone()));
            if failed {
                self.warn("the notice that we record could not be delivered in a conversation".into());
            }
        }
        Flow::Done
    }
}
