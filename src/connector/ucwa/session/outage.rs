//! What an interruption costs: gaps in every conversation concerned, and the way back into meetings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::{Content, ConversationId, Gap, Kind, Reason, Timestamp};

use super::super::courier::CallFailure;
use super::super::http::{Answer, Body, Method};
use super::super::wire;
use super::talk::{Talk, Uncovered};
use super::timers::Timer;
use super::{Phase, Purpose, Session, TalkKey};

/// A conversation whose handle is gone; it may come back under another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lost {
    /// Our id.
    pub id: ConversationId,
    /// What was known of it; `uncovered` says since when and why nothing is captured.
    pub talk: Talk,
    /// Rejoin attempts so far.
    #[serde(default)]
    pub tries: u32,
    /// Operation id of the current rejoin.
    #[serde(default)]
    pub operation: Option<String>,
}

/// Rejoin attempts before giving up.
const REJOINS: u32 = 6;
/// A rejoin that has not led to a conversation by then is tried again.
const REJOIN_PATIENCE: Duration = Duration::from_secs(45);

impl Session {
    /// A gap in one conversation.
    pub(super) fn gap(&mut self, id: &ConversationId, from: Timestamp, to: Timestamp, cause: &str) {
        let content =
            Content { gap: Some(Gap { cause: cause.to_owned(), from, to: to.max(from) }), ..Content::default() };
        self.event(Some(id), None, Kind::CaptureGap, None, format!("gap|{id}|{}|{cause}", from.micros()), content);
    }

    /// A gap in every conversation that was being captured: the channel was out.
    pub(super) fn channel_gap(&mut self, from: Timestamp, cause: &str) {
        let ids: Vec<ConversationId> = self
            .talks
            .values()
            .filter(|t| t.started && !t.ended && t.uncovered.is_none())
            .filter_map(|t| t.id.clone())
            .collect();
        for id in ids {
            self.gap(&id, from, self.now, cause);
        }
    }

    /// The recorder was not running while conversations were open and their handles live on.
    pub(super) fn close_downtime(&mut self) {
        if let Some(since) = self.down_since.take() {
            self.channel_gap(since, "the recorder was not running");
        }
    }

    /// Every conversation handle is gone: nothing is captured from `since` on.
    pub(super) fn lose_talks(&mut self, cause: &str, since: Timestamp) {
        self.settle_routing();
        let keys: Vec<TalkKey> = self.talks.keys().cloned().collect();
        for key in keys {
            self.timers.clear_talk(&key);
            let Some(mut talk) = self.talks.remove(&key) else { continue };
            self.set_cursor::<Talk>(format!("talk/{key}"), None);
            let Some(id) = talk.id.clone().filter(|_| !talk.ended) else { continue };
            if talk.recording {
                talk.recording = false;
                let content = Content {
                    reason: Some(Reason { message: Some(cause.to_owned()), ..Reason::default() }),
                    ..Content::default()
                };
                let dedupe = format!("recording.stopped|{}|{key}|{}", self.incarnation(), since.micros());
                self.event(Some(&id), None, Kind::RecordingStopped, None, dedupe, content);
            }
            talk.uncovered.get_or_insert(Uncovered { since, cause: cause.to_owned(), certain: true });
            talk.part = super::talk::Part::default();
            talk.people.clear();
            talk.early.clear();
            talk.state = None;
            let lost = Lost { id: id.clone(), talk, tries: 0, operation: None };
            self.set_cursor(format!("lost/{id}"), Some(&lost));
            self.lost.insert(id, lost);
        }
        self.invitations.clear();
    }

    /// The channel works again: rejoin the meetings, close the rest.
    pub(super) fn take_up_lost(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        let ids: Vec<ConversationId> = self.lost.keys().cloned().collect();
        for id in ids {
            self.rejoin(&id);
        }
    }

    pub(super) fn rejoin(&mut self, id: &ConversationId) {
        if self.phase != Phase::Running {
            return;
        }
        let joinable = self.application.as_ref().and_then(|a| a.links.get("joinOnlineMeeting").cloned());
        let allowed = self.settings.rejoin;
        let operation = self.guid();
        let Some(lost) = self.lost.get_mut(id) else { return };
        let meeting = lost.talk.meeting.clone().filter(|_| allowed && lost.talk.started && !lost.talk.ejected);
        let (Some(meeting), Some(href)) = (meeting, joinable) else {
            return self.give_up(id, "the conversation ended for the recorder");
        };
        if lost.tries >= REJOINS {
            self.warn("a meeting could not be rejoined after an outage; its record ends with a gap".into());
            return self.give_up(id, "the meeting could not be rejoined");
        }
        lost.tries += 1;
        let operation = lost.operation.get_or_insert(operation).clone();
        let body = Body::Json(json!({"onlineMeetingUri": meeting, "operationId": operation, "importance": "Normal"}));
        self.timers.set(Timer::Rejoin(id.clone()), self.now.plus(REJOIN_PATIENCE));
        self.follow(Purpose::Rejoin { conversation: id.clone() }, Method::Post, &href, body);
    }

    pub(super) fn rejoined(&mut self, id: &ConversationId, result: Result<Answer, CallFailure>) {
        match result {
            Ok(answer) if answer.status < 300 => {}
            Ok(answer) if answer.status == 404 => self.give_up(id, "the meeting is over"),
            Ok(answer) => {
                let code = wire::parse_error(&answer.body).and_then(|e| e.subcode.or(e.code)).unwrap_or_default();
                self.note(format!("rejoining a meeting was refused (HTTP {} {code}); trying again", answer.status));
                self.rejoin_later(id);
            }
            Err(_) => self.rejoin_later(id),
        }
    }

    fn rejoin_later(&mut self, id: &ConversationId) {
        let tries = self.lost.get(id).map_or(0, |l| l.tries);
        let wait = self.back_off(tries);
        self.timers.set(Timer::Rejoin(id.clone()), self.now.plus(wait));
        // A refused operation is over; the next one gets a name of its own.
        if let Some(lost) = self.lost.get_mut(id) {
            lost.operation = None;
        }
    }

    /// The conversation does not come back under our own power: close its record honestly.
    fn give_up(&mut self, id: &ConversationId, why: &str) {
        self.timers.clear(&Timer::Rejoin(id.clone()));
        let Some(lost) = self.lost.remove(id) else { return };
        self.set_cursor::<Lost>(format!("lost/{id}"), None);
        if !lost.talk.started {
            return;
        }
        let since = lost.talk.uncovered.as_ref().map_or(self.now, |u| u.since);
        if let Some(uncovered) = lost.talk.uncovered {
            self.gap(id, uncovered.since, self.now, &uncovered.cause);
        }
        let content = Content {
            reason: Some(Reason { code: Some("Lost".into()), message: Some(why.to_owned()), subcode: None }),
            ..Content::default()
        };
        self.event(Some(id), None, Kind::ConversationEnded, None, format!("lost|{id}|{}", since.micros()), content);
    }

    /// A new handle turned out to be a conversation that was lost: carry over what was known.
    pub(super) fn attach_lost(&mut self, talk: &mut Talk, id: &ConversationId) {
        let Some(lost) = self.lost.remove(id) else { return };
        self.timers.clear(&Timer::Rejoin(id.clone()));
        self.set_cursor::<Lost>(format!("lost/{id}"), None);
        let old = lost.talk;
        talk.started |= old.started;
        talk.roster = old.roster;
        talk.subject = talk.subject.take().or(old.subject);
        talk.uncovered = old.uncovered;
        talk.meeting = talk.meeting.take().or(old.meeting);
        talk.thread = talk.thread.take().or(old.thread);
        // One that was on its way when the handle was lost may never have arrived: it goes out again.
        if old.notice == super::talk::Notice::Sent {
            talk.notice = old.notice;
        }
        talk.changed = true;
    }
}
