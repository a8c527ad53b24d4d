//! The notice that we record: once per conversation, told again only when it certainly or probably did not go out.

use std::time::Duration;

use crate::capture::EnvelopeId;
use crate::model::{Content, ConversationId, Kind, Message, Person, Reason};

use super::super::courier::CallFailure;
use super::super::http::{Answer, Body, Method};
use super::super::wire;
use super::talk::{Notice, Talk};
use super::timers::Timer;
use super::{Phase, Purpose, Session, TalkKey};

/// POSTs of one notice.
const TRIES: u32 = 3;
/// The channel tells of a message that went out well within this time.
const FATE: Duration = Duration::from_secs(20);

impl Session {
    /// Sends the notice once the conversation is known not to have had it.
    pub(super) fn maybe_notice(&mut self, key: &TalkKey) {
        let Some(talk) = self.talks.get(key).filter(|t| t.id.is_some()) else { return };
        match &talk.notice {
            Notice::Due => self.send_notice(key),
            // Whether the POST of an earlier run arrived is for the channel to tell; if it is silent, ask again.
            Notice::Sending { href: None, .. } => {
                self.timers.set_if_unset(Timer::Notice(key.clone()), self.now.plus(FATE));
            }
            _ => {}
        }
    }

    pub(super) fn send_notice(&mut self, key: &TalkKey) {
        if self.phase != Phase::Running || self.settings.notice.is_empty() {
            return;
        }
        let fresh = self.guid();
        let Some(talk) = self.talks.get_mut(key) else { return };
        if talk.part.messaging.as_deref() != Some("Connected") || talk.part.leaving.is_some() || talk.declined {
            return;
        }
        if talk.part.send.is_none() {
            return;
        }
        let (operation, tries) = match &talk.notice {
            Notice::Due => (fresh, 0),
            Notice::Sending { operation, tries, href: None } if *tries < TRIES => (operation.clone(), *tries),
            _ => return,
        };
        if tries > 0 && self.channel.is_broken() {
            // The channel cannot tell now whether it went out.
            return self.timers.set(Timer::Notice(key.clone()), self.now.plus(FATE));
        }
        talk.notice = Notice::Sending { operation, href: None, tries: tries + 1 };
        talk.changed = true;
        self.notice_meant.push(key.clone());
    }

    /// That the notice goes out is durable: a process that dies now finds its operation in the cursor, and the channel
    /// tells whether it went out.
    pub(super) fn post_notice(&mut self, key: &TalkKey) {
        let Some(talk) = self.talks.get_mut(key).filter(|t| t.part.leaving.is_none() && !t.part.gone) else { return };
        let Notice::Sending { operation, href: None, .. } = talk.notice.clone() else { return };
        let Some(href) = talk.part.send.clone() else {
            // Messaging dropped meanwhile: it certainly has not gone out, and does when messaging is back.
            talk.notice = Notice::Due;
            talk.changed = true;
            return;
        };
        let Some(mut url) = self.resolve(&href) else { return };
        url.query_pairs_mut().append_pair("operationId", &operation);
        let body = Body::Text(self.settings.notice.clone());
        self.call(Purpose::SendNotice { talk: key.clone() }, Method::Post, url, body);
    }

    pub(super) fn notice_posted(&mut self, key: &TalkKey, result: Result<Answer, CallFailure>) {
        let location = match &result {
            Ok(answer) => answer.location.as_deref().map(|l| self.key(l)),
            Err(_) => None,
        };
        let Some(talk) = self.talks.get_mut(key) else { return };
        let Notice::Sending { operation, tries, .. } = talk.notice.clone() else { return };
        match result {
            Ok(answer) if answer.status < 300 => {
                talk.notice = Notice::Sending { operation, href: location, tries };
                talk.changed = true;
                self.timers.clear(&Timer::Notice(key.clone()));
            }
            Ok(answer) if tries < TRIES && !is_final(answer.status) => {
                // A refusal with a status is certain: nothing was sent, so it may be sent again.
                let wait = self.back_off(tries - 1).max(answer.retry_after.unwrap_or_default());
                self.timers.set(Timer::Notice(key.clone()), self.now.plus(wait));
            }
            Ok(answer) => {
                talk.notice = Notice::Failed;
                talk.changed = true;
                let id = talk.id.clone();
                let error = wire::parse_error(&answer.body).unwrap_or_default();
                let reason = Reason {
                    code: error.code.or(Some(format!("HTTP {}", answer.status))),
                    message: error.message,
                    subcode: error.subcode,
                };
                self.notice_failed(id.as_ref(), None, key, &operation, reason);
            }
            // Unknown fate: first the channel is given time to tell.
            Err(_) => self.timers.set(Timer::Notice(key.clone()), self.now.plus(FATE)),
        }
    }

    /// The conversation ended before the server took the notice: it has not been told.
    pub(super) fn notice_unsent(&mut self, talk: &mut Talk, key: &TalkKey, origin: Option<EnvelopeId>) {
        let Notice::Sending { operation, href: None, .. } = talk.notice.clone() else { return };
        talk.notice = Notice::Failed;
        let reason = Reason {
            message: Some("the conversation ended before the notice could be sent".into()),
            ..Reason::default()
        };
        let id = talk.id.clone();
        self.notice_failed(id.as_ref(), origin, key, &operation, reason);
    }

    fn notice_failed(
        &mut self,
        id: Option<&ConversationId>,
        origin: Option<EnvelopeId>,
        key: &TalkKey,
        operation: &str,
        reason: Reason,
    ) {
        let content = Content {
            actor: Some(Person { id: self.settings.sign_in.clone(), name: None }),
            message: Some(Message {
                id: operation.to_owned(),
                text: self.settings.notice.clone(),
                ..Message::default()
            }),
            reason: Some(reason),
            ..Content::default()
        };
        let dedupe = format!("notice|{}|{key}|{operation}|undelivered", self.incarnation());
        self.event(id, origin, Kind::MessageUndelivered, None, dedupe, content);
        self.warn("the notice that we record could not be sent in a conversation".into());
    }
}

/// A refusal that another try does not change.
fn is_final(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 406 | 413 | 415)
}
