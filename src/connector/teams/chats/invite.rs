//! Being put into a chat is an invitation: policy, acceptance, notice, capture. Being taken out ends what reaches us by
//! that way.

use serde_json::{Value, json};

use super::open::Work;
use super::{Came, Lane};
use crate::capture::{Origin, SinkError};
use crate::connector::teams::activity::{Activity, What as Form};
use crate::connector::teams::ask::{Address, Ask, Class, Method, Patience, Priority, Reply, encoded};
use crate::connector::teams::desk::Desk;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::identity::Principal;
use crate::connector::teams::moment;
use crate::connector::teams::offer::Decision;
use crate::model::{ConversationId, Kind, Message, Reason, Timestamp};

/// Whether somebody may put us into a chat: the rules of calls.
fn decide(desk: &Desk, activity: &Activity) -> Decision {
    let person = activity.from.clone();
    let (id, tenant) = match person.as_ref().and_then(|person| person.id.split_once('@')) {
        Some((id, tenant)) => (id.to_owned(), Some(tenant.to_owned())),
        None => (person.as_ref().map(|person| person.id.clone()).unwrap_or_default(), None),
    };
    let caller = person.map(|person| Principal { person, member: "user".to_owned(), id, tenant });
    match desk.rules.accept_from.allows(caller.as_ref(), &activity.tenant) {
        Some(rule) => Decision::Accept { rule: rule.to_owned() },
        None => {
            let who = caller.map_or("somebody without identity".to_owned(), |caller| caller.person.id);
            Decision::Decline { reason: format!("accept_from does not name {who}") }
        }
    }
}

/// What came of a notice.
pub(super) struct Sent {
    thread: String,
    conversation: ConversationId,
    asked_at: Timestamp,
    reply: Reply,
}

impl Lane {
    /// An activity that is told from what it says itself.
    pub(super) async fn activity(&mut self, work: Work, activity: Activity) -> Result<(), SinkError> {
        match activity.what {
            Form::Installed => self.installed(work, activity).await,
            // An upgrade of what was never told to be there is an installation that was missed.
            Form::Upgraded if self.rooms.get(&activity.thread).is_none_or(|room| !room.note.invited) => {
                self.installed(work, activity).await
            }
            Form::Removed => {
                let thread = activity.thread.clone();
                let mut fact = Fact::new(Kind::PlatformEvent, format!("removed|{thread}|{}", activity.stamp));
                fact.content.actor = activity.from.clone();
                fact.content.detail = Some(json!({"bot": "removed from the chat"}));
                if let Some(room) = self.rooms.get_mut(&thread) {
                    room.note.invited = false;
                }
                self.note(&thread);
                self.tell_in(&thread, work, vec![fact]).await
            }
            _ => {
                let mut activity = activity;
                let thread = activity.thread.clone();
                let room = self.rooms.get(&thread).and_then(|room| room.note.conversation.clone());
                if matches!(activity.what, Form::MeetingJoined | Form::MeetingLeft)
                    && let Some(conversation) = room
                    && self.desk.conversations.of_call(&conversation).await
                {
                    // The call's own roster tells who comes and goes; this witness is kept beside it.
                    for fact in &mut activity.facts {
                        fact.kind = Kind::PlatformEvent;
                        fact.content.detail =
                            Some(json!({"meeting": fact.content.participant.take(), "witness": "bot activity"}));
                    }
                }
                if thread.is_empty() {
                    for fact in activity.facts {
                        self.batch.events.push(fact.captured(Origin::Stored(work.envelope), None));
                    }
                    self.done(work.envelope);
                    return Ok(());
                }
                self.tell_in(&thread, work, activity.facts).await
            }
        }
    }

    async fn installed(&mut self, work: Work, activity: Activity) -> Result<(), SinkError> {
        let thread = activity.thread.clone();
        let room = self.rooms.entry(thread.clone()).or_default();
        if std::mem::replace(&mut room.note.invited, true) {
            // Told twice: as an installation, and as a new member.
            let mut fact = Fact::new(Kind::PlatformEvent, format!("installed|{thread}|{}|again", activity.stamp));
            fact.content.detail = Some(json!({"bot": "installed"}));
            return self.tell_in(&thread, work, vec![fact]).await;
        }
        if room.note.team.is_none() {
            room.note.team = activity.team.clone();
        }
        let desk = std::sync::Arc::clone(&self.desk);
        let decision = decide(&desk, &activity);
        let key = format!("installed|{thread}|{}", activity.stamp);
        let fact = |kind: Kind, part: &str| {
            let mut fact = Fact::new(kind, format!("{key}|{part}"));
            fact.content.actor = activity.from.clone();
            fact.content.source_id = Some(thread.clone());
            fact
        };
        let mut received = fact(Kind::InvitationReceived, "received");
        received.content.detail = Some(json!({"modality": "chat"}));
        let mut facts = vec![received];
        match decision {
            Decision::Accept { rule } => {
                let mut accepted = fact(Kind::InvitationAccepted, "outcome");
                accepted.content.detail = Some(json!({"rule": rule}));
                facts.push(accepted);
                let room = self.rooms.entry(thread.clone()).or_default();
                room.note.declined = false;
                room.note.notice = activity.service_url.clone().map(|url| (url, thread.clone()));
                self.note(&thread);
                if thread.starts_with("19:") {
                    desk.upkeep.follow(&thread, activity.team.as_deref());
                }
                tracing::info!(connector.name = desk.name(), "{}: was put into a chat", desk.name());
                self.tell_in(&thread, work, facts).await?;
                self.say_notice(&thread).await;
                Ok(())
            }
            Decision::Decline { reason } => {
                let mut declined = fact(Kind::InvitationDeclined, "outcome");
                declined.content.reason = Some(Reason { message: Some(reason.clone()), ..Reason::default() });
                facts.push(declined);
                tracing::info!(
                    connector.name = desk.name(),
                    "{}: declined to be put into a chat: {reason}",
                    desk.name()
                );
                self.decline(&thread, work, facts).await
            }
        }
    }

    /// Tells a refusal in a conversation of its own; nothing else of the chat is recorded.
    async fn decline(&mut self, thread: &str, work: Work, facts: Vec<Fact>) -> Result<(), SinkError> {
        let desk = std::sync::Arc::clone(&self.desk);
        let alias = crate::connector::teams::conversations::thread(thread);
        let here = desk.conversations.find_or_open(&desk, std::slice::from_ref(&alias)).await?;
        let room = self.rooms.entry(thread.to_owned()).or_default();
        // What is recorded through another invitation goes on.
        room.note.declined = !here.started;
        room.note.conversation = Some(here.id.clone());
        self.batch.aliases.push((here.id.clone(), alias));
        for fact in facts {
            self.batch.events.push(fact.captured(Origin::Stored(work.envelope), Some(here.id.clone())));
        }
        self.note(thread);
        self.done(work.envelope);
        Ok(())
    }

    /// Says in a chat that it is recorded, once, as soon as the chat is open.
    pub(super) async fn say_notice(&mut self, thread: &str) {
        let desk = std::sync::Arc::clone(&self.desk);
        let Some(room) = self.rooms.get_mut(thread) else { return };
        let Some(conversation) = room.note.conversation.clone() else { return };
        let Some((service_url, reference)) = room.note.notice.clone().filter(|_| !room.telling) else { return };
        if desk.config.notice.is_empty() || !desk.conversations.notify(&conversation).await {
            room.note.notice = None;
            self.note(thread);
            return;
        }
        room.telling = true;
        let path = format!("/v3/conversations/{}/activities", encoded(&reference));
        let body =
            json!({"type": "message", "text": desk.config.notice, "channelData": {"notification": {"alert": true}}});
        let ask = Ask {
            method: Method::Post,
            address: Address::Connector { service_url, path },
            body: Some(body),
            priority: Priority::Live,
            class: Class::Post,
            thread: Some(thread.to_owned()),
            patience: Patience::Tries(4),
        };
        let (thread, asked_at) = (thread.to_owned(), desk.now());
        self.ask(ask, move |reply| Came::Notice(Sent { thread, conversation, asked_at, reply }));
    }

    /// The notice was sent, or not.
    pub(super) async fn noticed(&mut self, sent: Sent) -> Result<(), SinkError> {
        let Sent { thread, conversation, asked_at, reply } = sent;
        if let Some(room) = self.rooms.get_mut(&thread) {
            room.telling = false;
            room.note.notice = None;
        }
        self.note(&thread);
        let answer = reply.json();
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = Message { id: id.clone(), text: self.desk.config.notice.clone(), ..Message::default() };
        let mut fact = if reply.is_success() {
            // The same key as the message that comes back: two witnesses, one event.
            let at = moment::from_id(&id);
            let at_ms = at.unwrap_or(asked_at).millis();
            let mut fact = Fact::new(Kind::NoticeSent, format!("message|{thread}|{id}|{at_ms}"));
            fact.source_time = at;
            fact
        } else {
            self.desk.conversations.unnotified(&conversation).await;
            let trouble = reply.trouble();
            tracing::warn!(
                connector.name = self.desk.name(),
                "{}: the notice could not be sent: {trouble}",
                self.desk.name()
            );
            let mut fact = Fact::new(Kind::MessageUndelivered, format!("notice|{thread}|{}", asked_at.millis()));
            fact.content.reason = Some(Reason { message: Some(trouble), ..Reason::default() });
            fact
        };
        fact.content.message = Some(message);
        self.batch.events.push(fact.captured(Origin::Recorder, Some(conversation)));
        Ok(())
    }

    /// Whether a message of our own application is the notice.
    pub(super) fn is_notice(&self, json: &Value) -> bool {
        let content = json.pointer("/body/content").and_then(Value::as_str).unwrap_or_default();
        !self.desk.config.notice.is_empty()
            && crate::connector::html::html_to_text(content).trim() == self.desk.config.notice.trim()
    }
}
