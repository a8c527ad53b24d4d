//! Stopping on request: leave every conversation, drain the channel, delete the application (digest §12).

use std::time::Duration;

use crate::model::{Content, Kind, Reason};

use super::super::http::{Body, Method};
use super::talk::Leaving;
use super::timers::Timer;
use super::{Action, Application, Phase, Purpose, Session, TalkKey};

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Requests to leave are out.
    Leaving,
    /// Reading what the channel still has.
    Draining,
    /// DELETE application is out.
    SigningOut,
    /// Only appends are outstanding.
    Closing,
}

/// The whole stop must fit into 10 s with room for the archive: each stage has its share.
const LEAVE: Duration = Duration::from_millis(3000);
const DRAIN: Duration = Duration::from_millis(700);
const SIGN_OUT: Duration = Duration::from_millis(2500);
const CLOSE: Duration = Duration::from_millis(1500);

impl Session {
    pub(super) fn stop(&mut self) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Done) {
            return;
        }
        let running = self.phase == Phase::Running;
        self.timers.clear(&Timer::SignIn);
        self.timers.clear(&Timer::Activity);
        if self.application.is_none() || !running {
            // Nothing to leave that we could reach; a living application is kept in the cursor for the next start.
            return self.close();
        }
        self.phase = Phase::Stopping(Stage::Leaving);
        let open: Vec<TalkKey> = self.talks.iter().filter(|(_, t)| !t.ended).map(|(k, _)| k.clone()).collect();
        for key in &open {
            self.leave(key, "the recorder was stopped");
        }
        self.timers.set(Timer::Stop, self.now.plus(LEAVE));
        self.stop_if_left();
    }

    fn stage(&mut self, stage: Stage, patience: Duration) {
        self.phase = Phase::Stopping(stage);
        self.timers.set(Timer::Stop, self.now.plus(patience));
    }

    /// All DELETEs answered: drain.
    pub(super) fn stop_if_left(&mut self) {
        let all = self.talks.values().all(|t| t.ended || t.part.leaving.as_ref().is_none_or(|l| l.done));
        if self.phase == Phase::Stopping(Stage::Leaving) && all {
            self.stage(Stage::Draining, DRAIN);
        }
    }

    /// A batch came while stopping: as long as there are facts, more may follow.
    pub(super) fn batch_for_stop(&mut self, has_facts: bool) {
        if self.phase == Phase::Stopping(Stage::Draining) {
            let wait = if has_facts { DRAIN } else { Duration::ZERO };
            self.timers.set(Timer::Stop, self.now.plus(wait));
        }
    }

    pub(super) fn stop_without_channel(&mut self) {
        self.drop_poll();
    }

    /// The current stage had its time.
    pub(super) fn stop_step(&mut self) {
        match self.phase {
            Phase::Stopping(Stage::Leaving) => self.stage(Stage::Draining, DRAIN),
            Phase::Stopping(Stage::Draining) => {
                self.stage(Stage::SigningOut, SIGN_OUT);
                match self.application.as_ref().map(|a| a.href.clone()) {
                    Some(url) => {
                        self.call(Purpose::SignOut, Method::Delete, url, Body::Empty);
                    }
                    None => self.signed_out(),
                }
            }
            Phase::Stopping(Stage::SigningOut) => self.signed_out(),
            Phase::Stopping(Stage::Closing) => {
                self.phase = Phase::Done;
                self.out.push(Action::Finished);
            }
            _ => {}
        }
    }

    pub(super) fn signed_out(&mut self) {
        if self.phase != Phase::Stopping(Stage::SigningOut) {
            return;
        }
        self.drop_poll();
        self.settle_routing();
        let open: Vec<TalkKey> = self.talks.iter().filter(|(_, t)| !t.ended).map(|(k, _)| k.clone()).collect();
        for key in open {
            self.end_by_ourselves(&key, "the recorder was stopped");
        }
        self.set_cursor::<Application>("application".into(), None);
        self.application = None;
        self.close();
    }

    fn close(&mut self) {
        self.drop_poll();
        self.stage(Stage::Closing, CLOSE);
    }

    /// Reports the end once everything handed to the sink is durable.
    pub(super) fn finish_if_idle(&mut self) {
        if self.phase == Phase::Stopping(Stage::Closing) && self.unconfirmed.is_empty() {
            self.phase = Phase::Done;
            self.timers.clear(&Timer::Stop);
            self.out.push(Action::Finished);
        }
    }

    /// Leaves one conversation: first its messaging, then all of it.
    pub(super) fn leave(&mut self, key: &TalkKey, why: &'static str) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        if talk.part.leaving.is_some() {
            return;
        }
        talk.part.leaving = Some(Leaving { why, done: false });
        let stop = talk.part.stop.clone().filter(|_| talk.part.messaging.as_deref() == Some("Connected"));
        self.timers.clear_talk(key);
        if let Some(href) = stop {
            self.follow(Purpose::Courtesy("stopMessaging"), Method::Post, &href, Body::Empty);
        }
        if !self.follow(Purpose::Leave { talk: key.clone() }, Method::Delete, key, Body::Empty) {
            self.left(key);
        }
    }

    /// DELETE of the conversation was answered (whatever the answer: it is gone or will not go).
    pub(super) fn left(&mut self, key: &TalkKey) {
        if let Some(leaving) = self.talks.get_mut(key).and_then(|t| t.part.leaving.as_mut()) {
            leaving.done = true;
            self.timers.set(Timer::Left(key.clone()), self.now.plus(Duration::from_secs(5)));
        }
        self.stop_if_left();
    }

    /// We left, and the channel has not said that the conversation ended for us.
    pub(super) fn close_left(&mut self, key: &TalkKey) {
        let why = self.talks.get(key).and_then(|t| t.part.leaving.as_ref()).map(|l| l.why);
        if let Some(why) = why {
            self.end_by_ourselves(key, why);
        }
    }

    /// Records the end of a conversation that the server did not report.
    pub(super) fn end_by_ourselves(&mut self, key: &TalkKey, why: &str) {
        let Some(mut talk) = self.talks.remove(key) else { return };
        let reason = Reason { message: Some(why.to_owned()), ..Reason::default() };
        self.end_talk(&mut talk, key, None, None, Some(reason), self.now);
        self.talks.insert(key.clone(), talk);
        self.forget_ended();
    }

    /// The content of an event that only has a reason.
    pub(super) fn because(reason: Option<Reason>) -> Content {
        Content { reason, ..Content::default() }
    }

    /// `recording.stopped` for a talk that was being recorded.
    pub(super) fn stop_recording(
        &mut self,
        talk: &mut super::talk::Talk,
        item: Option<&super::talk::Item>,
        key: &TalkKey,
        reason: Option<Reason>,
    ) {
        if let (true, Some(id)) = (talk.recording, talk.id.clone()) {
            talk.recording = false;
            talk.changed = true;
            let dedupe = match item {
                Some(item) => format!("{}|recording.stopped", item.key),
                None => format!("recording.stopped|{}|{key}|{}", self.incarnation(), self.now.micros()),
            };
            let origin = item.and_then(|i| i.envelope);
            let date = item.and_then(|i| i.date);
            self.event(Some(&id), origin, Kind::RecordingStopped, date, dedupe, Self::because(reason));
        }
    }
}
