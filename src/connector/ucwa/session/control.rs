//! Taking part: accepting, joining messaging, saying that we record. Acts on a batch as soon as it is durable.

use std::time::Duration;

use serde_json::{Value, json};

use crate::capture::policy::Decision;
use crate::model::{Person, Reason};

use super::super::courier::CallFailure;
use super::super::http::{Answer, Body, Method};
use super::super::wire::{self, ChannelEvent, EventType, LinkRef, Resource};
use super::people::participant_id;
use super::talk::{Hint, Item};
use super::timers::Timer;
use super::{Phase, Purpose, Session, TalkKey, Verdict};

/// In a conversation without its messages for so long: tell the operator.
const NOT_CAPTURING: Duration = Duration::from_secs(30);
/// After addMessaging was taken, look whether it worked if the channel is silent.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

impl Session {
    /// Reacts to one event of a stored batch.
    pub(super) fn act_on(&mut self, item: &Item) {
        let rel = item.event.link.rel.as_str();
        match rel {
            _ if item.history => {}
            "participantInvitation" => {}
            _ if rel.ends_with("Invitation") => match &item.event.resource {
                Some(resource) => {
                    let resource = resource.clone();
                    self.consider(item, &resource, true);
                }
                None => {
                    self.see_completion(item);
                    self.look_at_invitation(&item.href);
                }
            },
            "conversation" => self.see_talk(item),
            "messaging" => self.see_messaging(item),
            "localParticipant" if item.event.kind == EventType::Deleted && item.event.inside.is_none() => {
                self.see_exit(&item.sender_href, item.event.reason.as_ref());
            }
            _ => {}
        }
    }

    fn acting(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Preparing)
    }

    // ---- invitations --------------------------------------------------------------------------------------------

    /// Takes in an invitation and answers it. `act` is false for events of an earlier run that only get recorded.
    pub(super) fn consider(&mut self, item: &Item, resource: &Resource, act: bool) {
        let href = item.href.clone();
        if resource.text("direction") == Some("Outgoing") {
            return self.own_operation(item, resource);
        }
        let talk = resource.link("conversation").map(|h| self.key(h));
        let completed = item.event.kind == EventType::Completed;
        let inviter = self.inviter(resource);
        let invitation = self.invitations.entry(href.clone()).or_default();
        invitation.talk = talk.clone().or(invitation.talk.take());
        invitation.accept = resource.link("accept").map(str::to_owned);
        invitation.decline = resource.link("decline").map(str::to_owned).or(invitation.decline.take());
        invitation.completed |= completed;
        let named = invitation.inviter.is_none() && inviter.is_some();
        if named {
            invitation.inviter = inviter;
        }
        // What was decided without knowing who invites is decided anew, unless it has been answered.
        let undecided = invitation.decision.is_none() || (named && !invitation.answered);
        let nameless = invitation.inviter.is_none() && !invitation.looked && !completed && act;
        if let Some(key) = &talk {
            let part = &mut self.talks.entry(key.clone()).or_default().part;
            if completed {
                part.invitation = None;
            } else if part.state.is_none() || part.invitation.is_some() {
                part.invitation = Some(href.clone());
            }
        }
        if nameless {
            return self.look_at_invitation(&href);
        }
        if undecided {
            self.decide(&href, &item.event.link.rel);
        }
        if act && self.acting() && !completed {
            self.answer_invitation(&href);
        }
        let elsewhere = item.event.reason.as_ref().and_then(|r| r.subcode.as_deref()) == Some("ConnectedElsewhere");
        if elsewhere {
            self.warn(
                "an invitation was taken by another device of the recorder's account: sign it out there, or messages are lost"
                    .into(),
            );
        }
        if let (true, Some(key)) = (completed, talk) {
            self.want_messaging(&key);
            self.leave_if_declined(&href, &key);
        }
    }

    /// That an invitation is completed stands on the event, also when the invitation itself is only a link.
    fn see_completion(&mut self, item: &Item) {
        if item.event.kind != EventType::Completed {
            return;
        }
        let invitation = self.invitations.entry(item.href.clone()).or_default();
        invitation.completed = true;
        let Some(key) = invitation.talk.clone() else { return };
        if let Some(talk) = self.talks.get_mut(&key) {
            talk.part.invitation = None;
        }
        self.want_messaging(&key);
        self.leave_if_declined(&item.href, &key);
    }

    /// Who invites: the embedded `from`, else the organiser in the meeting's address.
    fn inviter(&self, resource: &Resource) -> Option<Person> {
        let from = resource.embedded("from").or_else(|| resource.embedded("participant"));
        if let Some(uri) = from.as_ref().and_then(|f| f.text("uri")) {
            let name = from.as_ref().and_then(|f| f.text("name")).filter(|n| !n.is_empty()).map(str::to_owned);
            return Some(Person { id: participant_id(uri), name });
        }
        if let Some(link) = resource.links("from").into_iter().next() {
            let address = super::people::address_of(&link.href);
            if address.contains('@') {
                return Some(Person { id: address, name: link.title });
            }
        }
        let meeting = resource.text("onlineMeetingUri")?;
        let organiser = meeting.split(';').next().unwrap_or(meeting);
        organiser.contains('@').then(|| Person { id: participant_id(organiser), name: None })
    }

    pub(super) fn decide(&mut self, href: &str, rel: &str) {
        let Some(invitation) = self.invitations.get_mut(href) else { return };
        let address = invitation.inviter.as_ref().map_or("", |p| p.id.as_str());
        let verdict = match rel {
            "messagingInvitation" | "onlineMeetingInvitation" => match self.settings.accept.decide(address) {
                Decision::Accept { rule } => Verdict::Accept { rule },
                Decision::Decline { reason } => Verdict::Decline { reason },
            },
            _ => Verdict::Decline {
                reason: format!(
                    "the recorder takes part in messaging only, not in {}",
                    super::record::modality_of(rel)
                ),
            },
        };
        invitation.decision = Some(verdict);
    }

    /// Answers at once, each invitation once: callers give up after 30 s.
    fn answer_invitation(&mut self, href: &str) {
        let Some(invitation) = self.invitations.get_mut(href).filter(|i| !i.answered && !i.completed) else { return };
        let purpose_href = href.to_owned();
        match (&invitation.decision, invitation.accept.clone(), invitation.decline.clone()) {
            (Some(Verdict::Accept { .. }), Some(accept), _) => {
                invitation.answered = true;
                invitation.tries += 1;
                self.follow(Purpose::Accept { invitation: purpose_href }, Method::Post, &accept, Body::Empty);
            }
            (Some(Verdict::Decline { .. }), _, Some(decline)) => {
                invitation.answered = true;
                self.note("declined an invitation by policy; the record says whose and why".to_owned());
                let body = Body::Json(json!({"reason": "Local"}));
                self.follow(Purpose::Decline { invitation: purpose_href }, Method::Post, &decline, body);
            }
            _ => {}
        }
    }

    /// The 204 proves nothing; anything else is looked into, because the POST must not be repeated blindly.
    pub(super) fn accepted(&mut self, href: &str, result: &Result<Answer, CallFailure>) {
        let fine = matches!(result, Ok(answer) if answer.status < 300 || matches!(answer.status, 404 | 410));
        if !fine {
            self.look_at_invitation(href);
        }
    }

    pub(super) fn look_at_invitation(&mut self, href: &str) {
        if self.acting() {
            self.invitations.entry(href.to_owned()).or_default().looked = true;
            let purpose = Purpose::LookAtInvitation { invitation: href.to_owned() };
            self.follow(purpose, Method::Get, href, Body::Empty);
        }
    }

    pub(super) fn looked_at_invitation(&mut self, href: &str, result: Result<Answer, CallFailure>) {
        let read = match &result {
            Ok(answer) if answer.status == 200 => Resource::parse(&answer.body).ok(),
            _ => None,
        };
        if let (Some(_), Ok(answer)) = (&read, &result) {
            self.keep(href, answer);
        }
        let rel = read.as_ref().and_then(Resource::rel).unwrap_or_else(|| invitation_rel(href).to_owned());
        let inviter = read.as_ref().and_then(|r| self.inviter(r));
        let talk = read.as_ref().and_then(|r| r.link("conversation")).map(|h| self.key(h));
        if read.as_ref().and_then(|r| r.text("direction")) == Some("Outgoing") {
            self.invitations.remove(href);
            return self.wake();
        }
        let Some(invitation) = self.invitations.get_mut(href) else { return };
        if read.is_none() && invitation.recheck && invitation.decision.is_none() {
            self.invitations.remove(href);
            return self.wake();
        }
        if let Some(resource) = &read {
            invitation.accept = resource.link("accept").map(str::to_owned);
            invitation.decline = resource.link("decline").map(str::to_owned);
            invitation.talk = talk.clone().or(invitation.talk.take());
        }
        invitation.inviter = invitation.inviter.take().or(inviter);
        // Asked again only while the server still offers it.
        if invitation.answered && invitation.accept.is_some() && invitation.tries < 3 {
            invitation.answered = false;
        }
        let completed = invitation.completed;
        if let Some(key) = talk {
            let part = &mut self.talks.entry(key.clone()).or_default().part;
            if completed {
                part.invitation = None;
                self.want_messaging(&key);
            } else if part.state.is_none() {
                part.invitation = Some(href.to_owned());
            }
        }
        if self.invitations.get(href).is_some_and(|i| i.decision.is_none()) {
            self.decide(href, &rel);
        }
        if self.acting() {
            self.answer_invitation(href);
        }
        self.wake();
    }

    /// The server took a declined invitation for us (auto-accept): leave again.
    fn leave_if_declined(&mut self, href: &str, key: &TalkKey) {
        let declined = self.invitations.get(href).is_some_and(|i| matches!(i.decision, Some(Verdict::Decline { .. })));
        let inside = self.talks.get(key).is_some_and(|t| {
            !t.started && matches!(t.part.state.as_deref(), Some("Connected" | "Conferenced" | "Conferencing"))
        });
        if declined && inside && self.acting() {
            self.leave(key, "the inviter is not allowed to invite the recorder");
        }
    }

    /// Progress of something we started ourselves: addMessaging or a rejoin.
    fn own_operation(&mut self, item: &Item, resource: &Resource) {
        let failed = item.event.kind == EventType::Completed && item.event.status != Some(wire::Status::Success);
        let Some(key) = resource.link("conversation").map(|h| self.key(h)) else { return };
        if item.event.link.rel == "messagingInvitation" && failed {
            if let Some(talk) = self.talks.get_mut(&key) {
                talk.part.refusals += 1;
                talk.part.joining = false;
                talk.part.operation = None;
            }
            self.look_at_messaging(&key);
        } else if item.event.kind == EventType::Completed {
            self.want_messaging(&key);
        }
    }

    // ---- the conversation and its messaging ---------------------------------------------------------------------

    fn see_talk(&mut self, item: &Item) {
        let key = item.href.clone();
        if item.event.kind == EventType::Deleted {
            return self.see_exit(&key, item.event.reason.as_ref());
        }
        match &item.event.resource {
            Some(resource) => {
                let resource = resource.clone();
                let over = resource.text("state") == Some("Disconnected");
                if over && !self.talks.contains_key(&key) {
                    return;
                }
                self.talk_seen(&key, &resource);
                if over {
                    self.see_exit(&key, item.event.reason.as_ref());
                }
            }
            None => self.look_at_talk(&key),
        }
    }

    /// Takes the newest state and links of a conversation.
    fn talk_seen(&mut self, key: &TalkKey, resource: &Resource) {
        let lists: Vec<(String, String)> = if let Some(href) = resource.link("participants") {
            vec![("participants".to_owned(), self.key(href))]
        } else {
            ["leaders", "attendees", "lobby"]
                .iter()
                .filter_map(|rel| Some(((*rel).to_owned(), self.key(resource.link(rel)?))))
                .collect()
        };
        let messaging = resource.link("messaging").map(|h| self.key(h));
        let acknowledged = resource.link("userAcknowledged").map(str::to_owned);
        let count = resource.int("participantCount");
        let state = resource.text("state").map(str::to_owned);
        let talk = self.talks.entry(key.clone()).or_default();
        let recount = count.is_some() && talk.part.count != count && talk.recording;
        talk.part.state = state.or(talk.part.state.take());
        talk.part.count = count.or(talk.part.count);
        talk.part.messaging_href = messaging.or(talk.part.messaging_href.take());
        if !lists.is_empty() {
            talk.part.lists = lists;
        }
        if recount && count.is_some_and(|c| usize::try_from(c - 1).unwrap_or(0) != talk.present()) {
            self.timers.set_if_unset(Timer::Roster(key.clone()), self.now.plus(Duration::from_secs(3)));
        }
        if let Some(href) = acknowledged.filter(|_| self.acting()) {
            self.follow(Purpose::Courtesy("userAcknowledged"), Method::Post, &href, Body::Empty);
        }
        self.want_messaging(key);
    }

    /// We are out of a conversation.
    fn see_exit(&mut self, key: &TalkKey, reason: Option<&Reason>) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        talk.part.gone = true;
        if reason.and_then(|r| r.subcode.as_deref()) == Some("Ejected") {
            talk.ejected = true;
            talk.changed = true;
        }
        self.timers.clear_talk(key);
        if let Some(leaving) = self.talks.get_mut(key).and_then(|t| t.part.leaving.as_mut()) {
            leaving.done = true;
        }
        self.stop_if_left();
    }

    pub(super) fn look_at_talk(&mut self, key: &TalkKey) {
        if self.acting() {
            self.follow(Purpose::LookAtTalk { talk: key.clone() }, Method::Get, key, Body::Empty);
        }
    }

    pub(super) fn looked_at_talk(&mut self, key: &TalkKey, result: Result<Answer, CallFailure>) {
        match &result {
            Ok(answer) if answer.status == 200 => {
                let Ok(resource) = Resource::parse(&answer.body) else { return };
                if resource.text("state") == Some("Disconnected") && !self.talks.contains_key(key) {
                    // Its end is recorded already.
                    return;
                }
                self.keep(key, answer);
                // What the channel says in the meantime is newer than this answer; the record takes it as a state
                // found by asking, which adds nothing if it is known.
                let unseen = self.talks.get(key).is_some_and(|t| t.part.state.is_none());
                self.talk_seen(key, &resource);
                if unseen {
                    self.found_by_asking(key, "conversation", key, EventType::Updated, Some(resource), None);
                }
                let unknown = self.talks.get(key).is_some_and(|t| t.part.messaging.is_none());
                if unknown {
                    self.look_at_messaging(key);
                }
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => {
                let reason = Reason {
                    code: wire::parse_error(&answer.body).and_then(|e| e.code),
                    message: Some("the server no longer has the conversation".into()),
                    subcode: None,
                };
                self.see_exit(key, None);
                self.found_by_asking(key, "conversation", key, EventType::Deleted, None, Some(reason));
            }
            _ => self.timers.set_if_unset(Timer::Join(key.clone()), self.now.plus(Duration::from_secs(5))),
        }
    }

    /// Queues a state that we asked for as if the channel had brought it.
    fn found_by_asking(
        &mut self,
        key: &TalkKey,
        rel: &str,
        href: &str,
        kind: EventType,
        resource: Option<Resource>,
        reason: Option<Reason>,
    ) {
        self.count += 1;
        let item = Item {
            envelope: None,
            key: format!("asked|{}|{href}|{}|{}", self.incarnation(), self.now.micros(), self.count),
            at: self.now,
            earliest: self.now,
            date: None,
            sender: "communication".into(),
            sender_href: String::new(),
            href: href.to_owned(),
            event: ChannelEvent {
                link: LinkRef { rel: rel.into(), href: href.to_owned(), title: None },
                kind,
                inside: None,
                status: None,
                reason,
                resource,
                raw: Value::Null,
            },
            hint: Hint::default(),
            history: false,
        };
        if let Some(talk) = self.talks.get_mut(key) {
            talk.queue.push_back(item);
            self.busy.insert(key.clone());
        }
    }

    fn see_messaging(&mut self, item: &Item) {
        let key = item.sender_href.clone();
        if let Some(talk) = self.talks.get_mut(&key) {
            talk.part.told += 1;
        }
        if item.event.kind == EventType::Deleted {
            if let Some(talk) = self.talks.get_mut(&key) {
                talk.part.messaging = Some("Disconnected".into());
                talk.part.add = None;
            }
            return;
        }
        let href = item.href.clone();
        self.talks.entry(key.clone()).or_default().part.messaging_href = Some(href);
        match &item.event.resource {
            Some(resource) => {
                let resource = resource.clone();
                self.messaging_seen(&key, &resource);
            }
            None => self.look_at_messaging(&key),
        }
    }

    /// Takes the newest state and links of our messaging, and acts on it.
    fn messaging_seen(&mut self, key: &TalkKey, resource: &Resource) {
        let link = |rel: &str| resource.link(rel).map(str::to_owned);
        let Some(talk) = self.talks.get_mut(key) else { return };
        let part = &mut talk.part;
        part.messaging = resource.text("state").map(str::to_owned).or(part.messaging.take());
        part.add = link("addMessaging");
        part.send = link("sendMessage");
        part.stop = link("stopMessaging");
        if part.messaging.as_deref() == Some("Connected") {
            part.refusals = 0;
            part.operation = None;
            part.joining = false;
            let known = part.roster_known;
            self.timers.clear(&Timer::Join(key.clone()));
            self.timers.clear(&Timer::NotCapturing(key.clone()));
            if !known {
                self.timers.set_if_unset(Timer::Roster(key.clone()), self.now.plus(Duration::from_secs(1)));
            }
            self.maybe_notice(key);
        } else {
            self.want_messaging(key);
        }
    }

    /// Our messaging may be missing; looked into when the whole batch has been seen.
    pub(super) fn want_messaging(&mut self, key: &TalkKey) {
        self.wanting.insert(key.clone());
    }

    /// Joins messaging if we are in the conversation, may, and are not connected (digest §9).
    pub(super) fn join_messaging(&mut self, key: &TalkKey) {
        if !self.acting() {
            return;
        }
        let Some(talk) = self.talks.get(key) else { return };
        let part = &talk.part;
        let inside = matches!(part.state.as_deref(), Some("Conferenced" | "Connected"));
        let pending = part.invitation.as_ref().is_some_and(|i| self.invitations.get(i).is_some_and(|i| !i.completed));
        let refused = part.leaving.is_some() || part.gone || talk.ended || talk.declined;
        if part.state.is_none() && part.add.is_some() && !part.asked_state && !pending && !refused {
            if let Some(talk) = self.talks.get_mut(key) {
                talk.part.asked_state = true;
            }
            return self.look_at_talk(key);
        }
        if !inside || pending || refused || part.joining || part.looking || part.rested {
            return;
        }
        match part.messaging.as_deref() {
            Some("Connected" | "Connecting") => return,
            Some(_) if part.add.is_some() => self.add_messaging(key),
            Some(_) => {}
            None => self.look_at_messaging(key),
        }
        self.timers.set_if_unset(Timer::NotCapturing(key.clone()), self.now.plus(NOT_CAPTURING));
    }

    fn add_messaging(&mut self, key: &TalkKey) {
        let operation = self.guid();
        let Some(talk) = self.talks.get_mut(key) else { return };
        let Some(href) = talk.part.add.clone() else { return };
        talk.part.joining = true;
        let operation = talk.part.operation.get_or_insert(operation).clone();
        self.timers.clear(&Timer::Join(key.clone()));
        let body = Body::Json(json!({"operationId": operation}));
        if !self.follow(Purpose::AddMessaging { talk: key.clone() }, Method::Post, &href, body)
            && let Some(talk) = self.talks.get_mut(key)
        {
            talk.part.joining = false;
        }
    }

    pub(super) fn added_messaging(&mut self, key: &TalkKey, result: Result<Answer, CallFailure>) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        talk.part.joining = false;
        match result {
            Ok(answer) if answer.status < 300 => {
                // Its success shows in the channel; look if it does not.
                talk.part.joining = talk.part.messaging.as_deref() != Some("Connected");
                self.timers.set(Timer::Join(key.clone()), self.now.plus(JOIN_PATIENCE));
            }
            Ok(answer) if matches!(answer.status, 404 | 410) => self.look_at_talk(key),
            Ok(answer) => {
                talk.part.refusals += 1;
                self.note(format!("addMessaging was refused (HTTP {}); looking and trying again", answer.status));
                self.look_at_messaging(key);
            }
            Err(_) => {
                talk.part.refusals += 1;
                self.look_at_messaging(key);
            }
        }
    }

    /// The pause is over, or the channel has been silent for too long: look.
    pub(super) fn join_step(&mut self, key: &TalkKey) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        talk.part.joining = false;
        match talk.part.messaging_href {
            Some(_) => self.look_at_messaging(key),
            None => self.look_at_talk(key),
        }
    }

    pub(super) fn look_at_messaging(&mut self, key: &TalkKey) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        if talk.part.gone || talk.ended || talk.part.leaving.is_some() {
            return;
        }
        if talk.part.looking {
            talk.part.look_again = true;
            return;
        }
        let Some(href) = talk.part.messaging_href.clone() else {
            // Its address stands in the conversation resource, which may not show it yet.
            return self.timers.set_if_unset(Timer::Join(key.clone()), self.now.plus(Duration::from_secs(2)));
        };
        if !self.acting() {
            return;
        }
        // The call may fail before it returns, so the mark comes first.
        let Some(talk) = self.talks.get_mut(key) else { return };
        talk.part.looking = true;
        let told = talk.part.told;
        if !self.follow(Purpose::LookAtMessaging { talk: key.clone(), told }, Method::Get, &href, Body::Empty)
            && let Some(talk) = self.talks.get_mut(key)
        {
            talk.part.looking = false;
        }
    }

    pub(super) fn looked_at_messaging(&mut self, key: &TalkKey, told: u32, result: Result<Answer, CallFailure>) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        talk.part.looking = false;
        if std::mem::take(&mut talk.part.look_again) {
            return self.look_at_messaging(key);
        }
        if talk.part.told != told {
            // The channel has told more since: this answer is older than what is known.
            return self.want_messaging(key);
        }
        let resource = match &result {
            Ok(answer) if answer.status == 200 => Resource::parse(&answer.body).ok(),
            Ok(answer) if matches!(answer.status, 404 | 410) => {
                // Known to be absent: the next word about it comes from the channel.
                talk.part.messaging = Some("Absent".into());
                return self.look_at_talk(key);
            }
            _ => None,
        };
        let Some(resource) = resource else {
            return self.timers.set_if_unset(Timer::Join(key.clone()), self.now.plus(Duration::from_secs(5)));
        };
        if let Ok(answer) = &result {
            let url = talk.part.messaging_href.clone().unwrap_or_else(|| key.clone());
            self.keep(&url, answer);
        }
        let connected = resource.text("state") == Some("Connected");
        let Some(talk) = self.talks.get_mut(key) else { return };
        let (refusals, unseen, recording) = (talk.part.refusals, talk.part.messaging.is_none(), talk.recording);
        // A refusal is answered with patience: 1, 2, 4 … 30 s, each time with a fresh link and the same operation.
        let must_wait = refusals > 0 && !connected && !talk.part.rested;
        talk.part.rested = false;
        self.messaging_seen(key, &resource);
        if must_wait {
            if let Some(talk) = self.talks.get_mut(key) {
                talk.part.rested = true;
            }
            let wait = self.back_off(refusals - 1);
            self.timers.set(Timer::Join(key.clone()), self.now.plus(wait));
        }
        if (connected && !recording) || (unseen && recording && !connected) {
            let href = self.talks.get(key).and_then(|t| t.part.messaging_href.clone()).unwrap_or_default();
            self.found_by_asking(key, "messaging", &href, EventType::Updated, Some(resource), None);
        }
    }

    pub(super) fn not_capturing(&mut self, key: &TalkKey) {
        let silent = self.talks.get(key).is_some_and(|t| t.part.messaging.as_deref() != Some("Connected") && !t.ended);
        if silent {
            self.warn("in a conversation for 30 s without receiving its messages; still trying".into());
        }
    }
}

fn invitation_rel(href: &str) -> &str {
    if href.contains("/messagingInvitations/") {
        "messagingInvitation"
    } else if href.contains("/onlineMeetingInvitations/") {
        "onlineMeetingInvitation"
    } else {
        "Invitation"
    }
}
