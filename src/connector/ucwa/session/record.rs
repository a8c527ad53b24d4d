//! From stored batches to events: routing to conversations, waiting for lookups there, and the events themselves.
//!
//! Order within a conversation is the channel's order: an event that waits for a lookup holds up the later ones of its
//! conversation, nothing else. Every event of a batch ends as one or more of our events, as `platform.event`, or as a
//! repetition of something recorded; then its envelope counts as interpreted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::capture::EnvelopeId;
use crate::model::{Content, ConversationId, Kind, Message, Reason, Timestamp};

use super::super::wire::{self, Batch, ChannelEvent, EventType, Resource, Status};
use super::lookup::Look;
use super::talk::{Arrival, FirstText, Hint, Item, Talk, Uncovered};
use super::{Fetch, Session, TalkKey, Verdict};

/// Being in a conversation without its messages for longer than this is a gap.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Whether an item is recorded or waits for a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Done,
    Wait,
}

impl Session {
    /// Batches of an earlier run, oldest first. `history`: record the facts, do not act, do not look things up.
    pub(super) fn interpret_pending(&mut self, history: bool) {
        self.timers.clear(&super::timers::Timer::Pending);
        for stored in std::mem::take(&mut self.pending) {
            let url = stored.envelope.request.strip_prefix("GET ").unwrap_or(&stored.envelope.request).to_owned();
            match wire::parse_batch(&stored.envelope.body) {
                Ok(batch) => {
                    let at = stored.envelope.received_at;
                    let arrival = Arrival { at, earliest: at, date: stored.envelope.server_date };
                    self.interpret(stored.id, &url, batch, arrival, history);
                }
                Err(_) => self.outbox.interpreted.push(stored.id),
            }
        }
        self.pump();
    }

    /// Reads one stored batch: acts on it at once and queues it for recording.
    pub(super) fn interpret(&mut self, id: EnvelopeId, url: &str, batch: Batch, arrival: Arrival, history: bool) {
        let Arrival { at, earliest, date } = arrival;
        let hints = self.hints(&batch);
        let ends = self.ends(&batch);
        let incarnation = self.incarnation();
        let mut ordinals: BTreeMap<String, usize> = BTreeMap::new();
        let mut items = Vec::new();
        for sender in batch.senders {
            let sender_href = self.key(&sender.href);
            for event in sender.events {
                let href = self.key(&event.link.href);
                let inside = event.inside.as_ref().map(|l| self.key(&l.href)).unwrap_or_default();
                let base = format!(
                    "event|{incarnation}|{url}|{sender_href}|{}|{href}|{:?}|{inside}",
                    event.link.rel, event.kind
                );
                let ordinal = ordinals.entry(base.clone()).or_default();
                *ordinal += 1;
                let mut hint = hints.get(&href).cloned().unwrap_or_default();
                hint.ends = ends.contains(&sender_href);
                items.push(Item {
                    envelope: Some(id),
                    key: format!("{base}|{ordinal}"),
                    at,
                    earliest,
                    date,
                    sender: sender.rel.clone(),
                    sender_href: sender_href.clone(),
                    href,
                    event,
                    hint,
                    history,
                });
            }
        }
        for (n, odd) in batch.odd.into_iter().enumerate() {
            let content = Content { detail: Some(json!({"unreadable": odd})), ..Content::default() };
            self.event(None, Some(id), Kind::PlatformEvent, date, format!("odd|{incarnation}|{url}|{n}"), content);
        }
        if items.is_empty() {
            self.outbox.interpreted.push(id);
            return;
        }
        *self.open_envelopes.entry(id).or_default() += items.len();
        for item in &items {
            self.act_on(item);
        }
        self.prefetch(&items);
        self.routing.extend(items);
    }

    /// What a whole batch says about each participant, so that one event can be read in the light of the others.
    fn hints(&self, batch: &Batch) -> BTreeMap<String, Hint> {
        let mut hints: BTreeMap<String, Hint> = BTreeMap::new();
        for event in batch.senders.iter().flat_map(|s| &s.events).filter(|e| e.link.rel == "participant") {
            let hint = hints.entry(self.key(&event.link.href)).or_default();
            match (event.inside.as_ref().map(|l| l.rel.as_str()), &event.kind) {
                (Some("leaders"), EventType::Added) => {
                    hint.role = Some("Leader".into());
                    hint.admitted = true;
                }
                (Some("attendees"), EventType::Added) => {
                    hint.role.get_or_insert("Attendee".into());
                    hint.admitted = true;
                }
                (None, EventType::Added) => hint.admitted = true,
                (None, EventType::Deleted) => hint.left = true,
                _ => {}
            }
        }
        hints
    }

    /// The conversations that end in a batch.
    fn ends(&self, batch: &Batch) -> BTreeSet<TalkKey> {
        let over = |e: &&ChannelEvent| {
            let state = e.resource.as_ref().and_then(|r| r.text("state"));
            e.link.rel == "conversation" && (e.kind == EventType::Deleted || state == Some("Disconnected"))
        };
        batch.senders.iter().flat_map(|s| &s.events).filter(over).map(|e| self.key(&e.link.href)).collect()
    }

    /// Asks for the participants of a batch side by side instead of one after the other.
    fn prefetch(&mut self, items: &[Item]) {
        for item in items {
            let joins = item.event.link.rel == "participant"
                && item.event.inside.is_none()
                && item.event.kind == EventType::Added
                && item.event.resource.is_none();
            if joins {
                self.look(item, &item.href.clone());
            }
        }
    }

    /// Moves everything on that can move.
    pub(super) fn pump(&mut self) {
        while let Some(item) = self.routing.pop_front() {
            match self.route(&item) {
                None => {
                    self.routing.push_front(item);
                    break;
                }
                Some(Some(key)) => {
                    let talk = self.talks.entry(key.clone()).or_default();
                    talk.queue.push_back(item);
                    self.busy.insert(key);
                }
                Some(None) => {
                    let conversation = self.closed.get(&item.sender_href).or_else(|| self.closed.get(&item.href));
                    let conversation = conversation.cloned().flatten();
                    self.platform_event(conversation.as_ref(), &item);
                    self.item_done(&item);
                }
            }
        }
        for key in std::mem::take(&mut self.busy) {
            self.work(&key);
        }
        self.forget_ended();
    }

    /// The conversation an item belongs to: `None` = not known yet, `Some(None)` = to none.
    fn route(&mut self, item: &Item) -> Option<Option<TalkKey>> {
        let rel = item.event.link.rel.as_str();
        let key = match (item.sender.as_str(), rel) {
            ("conversation", _) => item.sender_href.clone(),
            (_, "conversation") => item.href.clone(),
            (_, rel) if rel.ends_with("Invitation") => {
                if let Some(talk) = self.invitations.get(&item.href).and_then(|i| i.talk.clone()) {
                    talk
                } else {
                    match self.resource(item) {
                        Look::Waiting => return None,
                        Look::Missing => return Some(None),
                        Look::Ready(resource) => match resource.link("conversation") {
                            Some(href) => self.key(href),
                            None => return Some(None),
                        },
                    }
                }
            }
            _ => return Some(None),
        };
        if self.talks.contains_key(&key) {
            return Some(Some(key));
        }
        // The end of something we never saw begin, or a late word about something closed, opens nothing.
        let over = item.event.kind == EventType::Deleted
            || item.event.resource.as_ref().and_then(|r| r.text("state")) == Some("Disconnected");
        let begins = matches!(rel, "conversation") || rel.ends_with("Invitation");
        if over && (rel == "conversation" || self.closed.contains_key(&key)) {
            return Some(None);
        }
        if let Some(id) = self.closed.remove(&key)
            && !begins
        {
            // Said before the end, delivered after it: it belongs to the conversation, which stays ended.
            let talk = Talk { id, started: true, ended: true, ..Talk::default() };
            self.talks.insert(key.clone(), talk);
        }
        Some(Some(key))
    }

    /// Records what can be recorded of one conversation's queue.
    fn work(&mut self, key: &TalkKey) {
        let Some(mut talk) = self.talks.remove(key) else { return };
        while let Some(item) = talk.queue.front().cloned() {
            if let Some(resource) = &item.event.resource {
                self.learn(&mut talk, &item.event.link.rel, resource);
            }
            if !self.identify(&mut talk, key, &item) || self.record(&mut talk, key, &item) == Flow::Wait {
                break;
            }
            talk.queue.pop_front();
            talk.changed = true;
            self.item_done(&item);
        }
        let waiting = !talk.queue.is_empty();
        self.talks.insert(key.clone(), talk);
        if waiting {
            self.waiting.insert(key.clone());
        }
    }

    /// A lookup came back: whatever waited may go on.
    pub(super) fn wake(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.busy.extend(waiting);
    }

    fn item_done(&mut self, item: &Item) {
        self.fetches.retain(|slot, _| slot.item != item.key);
        let Some(id) = item.envelope else { return };
        if let Some(left) = self.open_envelopes.get_mut(&id) {
            *left -= 1;
            if *left == 0 {
                self.open_envelopes.remove(&id);
                self.outbox.interpreted.push(id);
            }
        }
    }

    /// Stops waiting for lookups: what is queued is recorded with what is known.
    pub(super) fn settle_routing(&mut self) {
        for fetch in self.fetches.values_mut() {
            if matches!(fetch, Fetch::Waiting) {
                *fetch = Fetch::Gone;
            }
        }
        self.fetch_queue.clear();
        self.fetch_again.clear();
        self.settling = true;
        self.wake();
        self.pump();
        self.settling = false;
    }

    /// Conversations that ended and have nothing queued are forgotten; their address is remembered for late words.
    pub(super) fn forget_ended(&mut self) {
        let over: Vec<TalkKey> =
            self.talks.iter().filter(|(_, t)| t.ended && t.queue.is_empty()).map(|(k, _)| k.clone()).collect();
        for key in over {
            self.save_talk(&key);
            self.timers.clear_talk(&key);
            if let Some(talk) = self.talks.remove(&key) {
                self.invitations.retain(|_, i| i.talk.as_ref() != Some(&key));
                if self.closed.len() > 10_000 {
                    self.closed.clear();
                }
                self.closed.insert(key, talk.id);
            }
        }
    }

    /// Writes down one item.
    fn record(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        let rel = item.event.link.rel.as_str();
        match rel {
            "participantInvitation" => self.record_other(talk, item),
            _ if rel.ends_with("Invitation") => self.record_invitation(talk, item),
            "conversation" => self.record_conversation(talk, key, item),
            _ if talk.declined => Flow::Done,
            "messaging" => self.record_messaging(talk, key, item),
            "message" => self.record_message(talk, key, item),
            "participant" | "localParticipant" => self.record_participant(talk, key, item),
            super::census::END => self.record_census_end(talk, key, item),
            "participantAudio"
            | "participantVideo"
            | "participantPanoramicVideo"
            | "participantApplicationSharing"
            | "participantDataCollaboration" => self.record_modality(talk, item),
            "applicationSharer" => self.record_sharing(talk, item),
            _ => self.record_other(talk, item),
        }
    }

    pub(super) fn record_other(&mut self, talk: &Talk, item: &Item) -> Flow {
        let id = talk.id.clone();
        self.platform_event(id.as_ref(), item);
        Flow::Done
    }

    /// Anything without a kind of its own: kept with its JSON.
    fn platform_event(&mut self, conversation: Option<&ConversationId>, item: &Item) {
        // A declined stranger's words stay in the envelope only.
        let declined =
            self.invitations.get(&item.href).is_some_and(|i| matches!(i.decision, Some(Verdict::Decline { .. })));
        let event = if declined { without_message(&item.event) } else { item.event.raw.clone() };
        let content = Content {
            detail: Some(json!({"rel": item.event.link.rel, "sender": item.sender, "event": event})),
            source_id: Some(item.event.link.href.clone()),
            reason: item.event.reason.clone(),
            ..Content::default()
        };
        let key = format!("{}|platform.event", item.key);
        self.event(conversation, item.envelope, Kind::PlatformEvent, item.date, key, content);
    }

    /// An event of a conversation, dated by the batch.
    pub(super) fn say(&mut self, talk: &Talk, item: &Item, kind: Kind, content: Content) {
        let id = talk.id.clone();
        self.event(id.as_ref(), item.envelope, kind, item.date, format!("{}|{kind}", item.key), content);
    }

    fn record_invitation(&mut self, talk: &mut Talk, item: &Item) -> Flow {
        let resource = match self.resource(item) {
            Look::Ready(resource) => resource,
            Look::Waiting => return Flow::Wait,
            Look::Missing => return self.record_other(talk, item),
        };
        self.learn(talk, &item.event.link.rel, &resource);
        if resource.text("direction") == Some("Outgoing") {
            return self.record_other(talk, item);
        }
        self.learn_inviter(talk, &resource);
        if item.history {
            self.consider(item, &resource, false);
        }
        let Some(invitation) = self.invitations.get(&item.href).cloned() else {
            return self.record_other(talk, item);
        };
        if invitation.decision.is_none() && self.settling {
            self.decide(&item.href, &item.event.link.rel);
        }
        let decision = self.invitations.get(&item.href).and_then(|i| i.decision.clone());
        let Some(verdict) = decision else { return Flow::Wait };
        let incarnation = self.incarnation();
        let unique = |what: &str| format!("invitation|{incarnation}|{}|{what}", item.href);
        let id = talk.id.clone();
        let modality = modality_of(&item.event.link.rel);
        let about = |reason: Option<Reason>| Content {
            actor: invitation.inviter.clone(),
            detail: Some(json!({"modality": modality})),
            reason,
            source_id: Some(item.event.link.href.clone()),
            subject: resource.text("subject").filter(|s| !s.is_empty()).map(str::to_owned),
            ..Content::default()
        };
        let mut received = about(None);
        if let Some(behalf) = resource.link("onBehalfOf")
            && let Some(detail) = received.detail.as_mut()
        {
            detail["on_behalf_of"] = Value::String(super::people::address_of(behalf));
        }
        self.event(id.as_ref(), item.envelope, Kind::InvitationReceived, item.date, unique("received"), received);
        let talks = matches!(modality, "messaging" | "meeting");
        let result = match (&item.event.kind, &item.event.status) {
            (EventType::Completed, Some(Status::Success)) => Some(true),
            (EventType::Completed, _) => Some(false),
            _ => None,
        };
        match verdict {
            Verdict::Decline { reason } => {
                if talks && !talk.started {
                    talk.declined = true;
                }
                let reason = Reason { code: Some("Policy".into()), message: Some(reason), subcode: None };
                let content = about(Some(reason));
                self.event(
                    id.as_ref(),
                    item.envelope,
                    Kind::InvitationDeclined,
                    item.date,
                    unique("declined"),
                    content,
                );
            }
            Verdict::Accept { rule } => {
                talk.declined = false;
                self.record_first_text(talk, item, &resource, invitation.inviter.as_ref());
                let kind = match result {
                    Some(true) => Kind::InvitationAccepted,
                    Some(false) => Kind::InvitationFailed,
                    None => {
                        talk.open_invitation = Some(item.href.clone());
                        return Flow::Done;
                    }
                };
                talk.open_invitation = None;
                let mut content = about(item.event.reason.clone());
                if let Some(detail) = content.detail.as_mut() {
                    detail["rule"] = Value::String(rule);
                }
                self.event(id.as_ref(), item.envelope, kind, item.date, unique("outcome"), content);
            }
        }
        Flow::Done
    }

    /// The text inside an invitation is the first message.
    fn record_first_text(
        &mut self,
        talk: &mut Talk,
        item: &Item,
        resource: &Resource,
        inviter: Option<&crate::model::Person>,
    ) {
        let Some(href) = resource.link("message") else { return };
        let key = format!("invitation|{}|{}|text", self.incarnation(), item.href);
        if self.first_texts.contains(&key) {
            return;
        }
        self.first_texts.insert(key.clone());
        let body = super::words::Body::of(None, None, Some(href));
        if body.is_empty() {
            return;
        }
        if let Some(person) = inviter {
            talk.first_text = Some(FirstText { from: person.id.clone(), text: body.text.clone(), at: item.at });
        }
        let content = Content {
            actor: inviter.cloned(),
            detail: body.detail(Some(json!({"in_invitation": true}))),
            message: Some(Message {
                html: body.html,
                id: item.event.link.href.clone(),
                importance: resource.text("importance").map(str::to_lowercase),
                text: body.text,
                ..Message::default()
            }),
            source_id: Some(item.event.link.href.clone()),
            ..Content::default()
        };
        let id = talk.id.clone();
        self.event(id.as_ref(), item.envelope, Kind::MessageSent, item.date, key, content);
    }

    fn record_conversation(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        let resource = match self.resource(item) {
            Look::Ready(resource) => resource,
            Look::Waiting => return Flow::Wait,
            Look::Missing if item.event.kind == EventType::Deleted => {
                let reason = item.event.reason.clone();
                self.end_talk(talk, key, item.envelope, Some(item), reason, item.at);
                return Flow::Done;
            }
            Look::Missing => return self.record_other(talk, item),
        };
        self.learn(talk, "conversation", &resource);
        let state = resource.text("state").map(str::to_owned);
        if state.as_deref() == Some("Disconnected") || item.event.kind == EventType::Deleted {
            let reason = item.event.reason.clone();
            self.end_talk(talk, key, item.envelope, Some(item), reason, item.at);
            return Flow::Done;
        }
        if talk.declined || talk.ended {
            return Flow::Done;
        }
        let subject = resource.text("subject").filter(|s| !s.is_empty()).map(str::to_owned);
        let modalities: Option<Vec<String>> = resource
            .value()
            .get("activeModalities")
            .map(|_| resource.texts("activeModalities").iter().map(|m| m.to_lowercase()).collect());
        let news = Content {
            state: state
                .clone()
                .filter(|s| talk.state.as_ref() != Some(s) && !matches!(s.as_str(), "Incoming" | "Connecting")),
            subject: subject.clone().filter(|s| talk.subject.as_ref() != Some(s)),
            modalities: modalities.clone().filter(|m| talk.modalities != *m),
            ..Content::default()
        };
        let established = matches!(state.as_deref(), Some("Connected" | "Conferenced"));
        if established && !talk.started {
            talk.started = true;
            let content = Content {
                state: state.clone(),
                subject: subject.clone().or(talk.subject.clone()),
                modalities: modalities.clone(),
                detail: details(talk),
                source_id: Some(item.event.link.href.clone()),
                ..Content::default()
            };
            let dedupe = format!("conversation.started|{}", talk.id.as_ref().map_or("", |id| id.as_str()));
            let id = talk.id.clone();
            self.event(id.as_ref(), item.envelope, Kind::ConversationStarted, item.date, dedupe, content);
        } else if news != Content::default() && (talk.started || state.as_deref() == Some("InLobby")) {
            let mut content = news;
            content.source_id = Some(item.event.link.href.clone());
            self.say(talk, item, Kind::ConversationChanged, content);
        }
        if established && !talk.recording && talk.uncovered.is_none() {
            talk.uncovered = Some(Uncovered {
                since: item.at,
                cause: "in the conversation, but not connected to its messages".into(),
                certain: false,
            });
        }
        talk.state = state.or(talk.state.take());
        talk.subject = subject.or(talk.subject.take());
        talk.modalities = modalities.unwrap_or_else(|| std::mem::take(&mut talk.modalities));
        Flow::Done
    }

    fn record_messaging(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        if talk.ended {
            // Told before the end that a lookup has meanwhile found.
            return Flow::Done;
        }
        let state = match self.resource(item) {
            Look::Ready(resource) => resource.text("state").map(str::to_owned),
            Look::Waiting => return Flow::Wait,
            Look::Missing => Some("Disconnected".to_owned()),
        };
        match state.as_deref() {
            Some("Connected") if !talk.recording => {
                talk.recording = true;
                talk.conference = talk.state.as_deref() == Some("Conferenced");
                if let (Some(uncovered), Some(id)) = (talk.uncovered.take(), talk.id.clone())
                    && (uncovered.certain || item.at.since(uncovered.since) > GRACE)
                {
                    self.gap(&id, uncovered.since, item.at, &uncovered.cause);
                }
                self.say(talk, item, Kind::RecordingStarted, Content::default());
            }
            // Messaging that ends with its conversation did not stop while the conversation went on.
            Some("Disconnected" | "Disconnecting") if item.hint.ends => {}
            Some("Disconnected" | "Disconnecting") if talk.recording => {
                let reason = item.event.reason.clone();
                let why = reason.as_ref().and_then(|r| r.subcode.clone().or(r.code.clone()));
                self.stop_recording(talk, Some(item), key, reason);
                if talk.part.leaving.is_none() {
                    talk.uncovered = Some(Uncovered {
                        since: item.earliest,
                        cause: match why {
                            Some(why) => format!("disconnected from the messages of the conversation ({why})"),
                            None => "disconnected from the messages of the conversation".into(),
                        },
                        // A two-party session ends when its talk becomes a conference: as when joining one.
                        certain: talk.conference,
                    });
                }
            }
            _ => {}
        }
        Flow::Done
    }

    /// The conversation is over for this handle, from whichever side.
    pub(super) fn end_talk(
        &mut self,
        talk: &mut Talk,
        key: &TalkKey,
        origin: Option<EnvelopeId>,
        item: Option<&Item>,
        reason: Option<Reason>,
        at: Timestamp,
    ) {
        if talk.ended {
            return;
        }
        talk.ended = true;
        talk.changed = true;
        self.timers.clear_talk(key);
        let Some(id) = talk.id.clone().filter(|_| talk.started || talk.recording) else { return };
        // The last word on a handle whose end was found by asking, or told before, is not another end.
        if self.closed.contains_key(key) && talk.state.is_none() && !talk.recording {
            return;
        }
        // Another handle goes on with the same conversation (escalation): this is not its end.
        let heir = self
            .talks
            .iter()
            .find(|(_, t)| t.id.as_ref() == Some(&id) && !t.ended && !t.declined)
            .map(|(k, _)| k.clone());
        if let Some(heir) = heir {
            if let Some(other) = self.talks.get_mut(&heir)
                && !other.recording
                && other.uncovered.is_none()
            {
                let cause = "the conversation moved and its messages were not connected yet".to_owned();
                other.uncovered = Some(Uncovered { since: at, cause, certain: false });
                other.changed = true;
            }
            if !self.talks.get(&heir).is_some_and(|t| t.recording) {
                self.stop_recording(talk, item, key, reason);
            }
            return;
        }
        if let Some(uncovered) = talk.uncovered.take()
            && at.since(uncovered.since) > GRACE
            && talk.part.leaving.is_none()
        {
            self.gap(&id, uncovered.since, at, &uncovered.cause);
        }
        self.notice_unsent(talk, key, origin);
        let reason = match (&reason, &talk.part.leaving) {
            (None, Some(leaving)) => Some(Reason { message: Some(leaving.why.into()), ..Reason::default() }),
            _ => reason,
        };
        let dedupe = match item {
            Some(item) => format!("{}|conversation.ended", item.key),
            None => format!("conversation.ended|{}|{key}|{}", self.incarnation(), at.micros()),
        };
        let date = item.and_then(|i| i.date);
        self.event(Some(&id), origin, Kind::ConversationEnded, date, dedupe, Self::because(reason));
        talk.recording = false;
    }
}

fn details(talk: &Talk) -> Option<Value> {
    let mut detail = serde_json::Map::new();
    if let Some(thread) = &talk.thread {
        detail.insert("thread".into(), thread.clone().into());
    }
    if let Some(meeting) = &talk.meeting {
        detail.insert("meeting".into(), meeting.clone().into());
    }
    (!detail.is_empty()).then_some(Value::Object(detail))
}

/// The contract's word for what an invitation offers.
pub(super) fn modality_of(rel: &str) -> &str {
    match rel {
        "messagingInvitation" => "messaging",
        "onlineMeetingInvitation" => "meeting",
        "phoneAudioInvitation" => "phone audio",
        "audioVideoInvitation" => "audio and video",
        "applicationSharingInvitation" => "application sharing",
        _ => rel.strip_suffix("Invitation").unwrap_or(rel),
    }
}

/// The raw event without the text of an invitation.
fn without_message(event: &ChannelEvent) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|k, _| !matches!(k.as_str(), "message" | "plainMessage" | "htmlMessage" | "customContent"));
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut raw = event.raw.clone();
    strip(&mut raw);
    raw
}
