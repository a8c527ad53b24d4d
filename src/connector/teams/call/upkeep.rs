//! What a call does by the clock: keepAlive, checks after a start, leaving.

use std::time::Duration;

use serde_json::Value;

use super::say::plain;
use super::{Action, Call, Leaving, Phase, Purpose, Token, Turn};
use crate::connector::teams::ask::{Ask, Patience, Reply};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::member::{bounded, text};
use crate::connector::teams::request::{self, RecordingStatus};
use crate::model::{Gap, Kind, Reason, Timestamp};

/// Longest wait for `notRecording` before DELETE, when the process stops and otherwise.
const QUICK: Duration = Duration::from_secs(2);
const PATIENT: Duration = Duration::from_secs(15);
/// Longest wait for the platform's word of the end after DELETE.
const FAREWELL: Duration = Duration::from_secs(10);
/// A call of which nothing can be learnt is given up after so long.
const GIVEN_UP: Duration = Duration::from_secs(600);
/// The cause of a gap.
const MISSED: &str = "the archive could not store what the platform told of this call";
/// Pause before a failed keepAlive or DELETE is tried again.
const AGAIN: Duration = Duration::from_secs(60);

impl Call {
    /// Does everything that is due.
    pub(super) fn due(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Ended {
            return;
        }
        let now = turn.now;
        let passed = |at: Option<Timestamp>| at.is_some_and(|at| now >= at);
        if passed(self.timers.answer) {
            self.answer_is_lost(turn);
        }
        if passed(self.timers.settle) {
            self.timers.settle = None;
            self.settled(turn);
        }
        self.watch_humans(turn);
        if passed(self.timers.hang_up) {
            self.timers.hang_up = None;
            self.leave("no human is left in the call", false, turn);
        }
        if passed(self.timers.keep_alive) {
            self.keep_alive(turn);
        }
        self.drive_recording(turn);
        self.drive_leaving(turn);
    }

    /// Something that should have been told was not.
    fn settled(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            // Declined or refused, and the end was never told: nothing more is to come.
            Phase::Refused => self.end(None, None, turn),
            // Nothing but a notification that could not be stored was ever heard of it, and nobody can tell more.
            Phase::New if self.missed_from.is_none_or(|from| turn.now.since(from) > GIVEN_UP) => {
                self.end(None, None, turn)
            }
            // It rang and nothing followed; the call itself knows.
            Phase::New | Phase::Offered | Phase::Answering => {
                self.timers.settle = Some(turn.now.plus(AGAIN));
                self.get_call(turn);
            }
            // DELETE was taken.
            _ => self.end(None, None, turn),
        }
    }

    fn watch_humans(&mut self, turn: &mut Turn<'_>) {
        let alone = self.phase == Phase::Established && self.roster.had_humans() && self.roster.humans() == 0;
        match (alone && self.leaving.is_none(), self.timers.hang_up) {
            (true, None) => self.timers.hang_up = Some(turn.now.plus(turn.settings.hang_up_after)),
            (false, Some(_)) => self.timers.hang_up = None,
            _ => {}
        }
    }

    fn keep_alive(&mut self, turn: &mut Turn<'_>) {
        self.timers.keep_alive = Some(turn.now.plus(turn.settings.keep_alive));
        if self.asks.values().any(|purpose| *purpose == Purpose::KeepAlive) {
            return;
        }
        let ask = request::keep_alive(&self.id);
        self.ask(Purpose::KeepAlive, ask, turn);
        self.get_call(turn);
        self.get_participants(turn);
    }

    /// Begins to leave: `notRecording`, then DELETE.
    pub(super) fn leave(&mut self, why: &str, stopping: bool, turn: &mut Turn<'_>) {
        let live =
            matches!(self.phase, Phase::Answering | Phase::Establishing | Phase::Established | Phase::Terminating);
        if !live {
            return;
        }
        if stopping && self.leaving.is_some() && self.timers.settle.is_some() {
            // DELETE was taken; only the platform's word was waited for.
            return self.end(None, None, turn);
        }
        let by = turn.now.plus(if stopping { QUICK } else { PATIENT });
        match &mut self.leaving {
            None => self.leaving = Some(Leaving { why: why.to_owned(), by, deleting: false, stopping }),
            Some(leaving) if stopping => {
                leaving.stopping = true;
                leaving.by = leaving.by.min(by);
            }
            Some(_) => {}
        }
    }

    fn drive_leaving(&mut self, turn: &mut Turn<'_>) {
        let waits = self.recording.is_under_way();
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| !leaving.deleting) else { return };
        if waits && turn.now < leaving.by {
            return;
        }
        leaving.deleting = true;
        let ask = request::leave(&self.id);
        let ask = if leaving.stopping { Ask { patience: Patience::Tries(1), ..ask } } else { ask };
        self.ask(Purpose::Delete, ask, turn);
    }

    /// What came of a request.
    pub(super) fn reply(&mut self, token: Token, reply: &Reply, turn: &mut Turn<'_>) {
        let Some(purpose) = self.asks.remove(&token.0) else { return };
        if self.phase == Phase::Ended {
            return;
        }
        let gone = reply.status() == 404;
        match purpose {
            Purpose::KeepAlive if gone => self.vanished("keepAlive", turn),
            Purpose::GetCall if gone => self.vanished("the check of the call", turn),
            Purpose::GetParticipants { .. } if gone && self.phase < Phase::Established => {
                // Too early for a roster, perhaps; the call itself knows.
                self.get_call(turn);
            }
            Purpose::GetParticipants { .. } if gone => self.vanished("the check of the roster", turn),
            Purpose::KeepAlive if !reply.is_success() => {
                turn.warn(&self.id, &format!("keepAlive failed: {}", reply.trouble()));
                self.note(format!("keepAlive failed: {}", reply.trouble()), "keep_alive", turn);
                let soon = turn.now.plus(AGAIN);
                self.timers.keep_alive = Some(self.timers.keep_alive.map_or(soon, |at| at.min(soon)));
            }
            Purpose::KeepAlive => {}
            Purpose::GetCall if reply.is_success() => {
                let call = reply.json();
                if matches!(call, Value::Object(_)) {
                    if let Some(why) = self.checks.take() {
                        let state = text(&call, &["state"]).map(|state| bounded(state, 64)).unwrap_or_default();
                        self.note(format!("asked how the call stands, because {why}: {state}"), "check", turn);
                    }
                    self.observe(&call, None, turn);
                    self.look_for_chat(turn);
                }
            }
            Purpose::GetParticipants { began_at } if reply.is_success() => {
                let scope = self.scope(turn.settings);
                let applied = self.roster.apply_fetched(&reply.json(), began_at, &scope);
                self.say_all(applied.facts, turn);
            }
            Purpose::GetCall => {
                turn.warn(&self.id, &format!("the check of the call failed: {}", reply.trouble()));
                if let Some(why) = self.checks.take() {
                    let trouble = reply.trouble();
                    self.note(format!("asked how the call stands, because {why}; no answer: {trouble}"), "check", turn);
                }
            }
            Purpose::GetParticipants { .. } => {
                turn.warn(&self.id, &format!("the check of the roster failed: {}", reply.trouble()));
            }
            Purpose::Recording { status, context } => {
                if status == RecordingStatus::NotRecording && gone {
                    // Nothing to leave any more; DELETE will say so.
                    turn.warn(&self.id, "notRecording: the call is not known any more");
                }
                self.recording_reply(&context, reply, turn);
            }
            Purpose::FindChat { thread } => self.found_chat(thread, reply, turn),
            Purpose::Delete => self.deleted(reply, turn),
        }
    }

    fn deleted(&mut self, reply: &Reply, turn: &mut Turn<'_>) {
        let done = reply.is_success() || reply.status() == 404;
        let stopping = self.leaving.as_ref().is_some_and(|leaving| leaving.stopping);
        if done && (stopping || reply.status() == 404) {
            self.end(None, None, turn);
        } else if done {
            self.timers.settle = Some(turn.now.plus(FAREWELL));
        } else {
            turn.warn(&self.id, &format!("leaving failed: {}", reply.trouble()));
            match &self.leaving {
                // The state stays live: the next start looks after it.
                Some(_) if stopping => {}
                // Still in the call, so still recording; the next try comes after a pause.
                Some(_) => {
                    self.leaving = None;
                    self.timers.hang_up = Some(turn.now.plus(AGAIN));
                }
                None => {}
            }
        }
    }

    fn vanished(&mut self, what: &str, turn: &mut Turn<'_>) {
        let why = Reason { code: Some("404".to_owned()), ..plain(format!("{what} found that the call is gone")) };
        self.end(None, Some(why), turn);
    }

    /// What arrived could not be stored for a while: a gap, and the service is asked what is.
    pub(super) fn missed(&mut self, from: Timestamp, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Refused | Phase::Ended => {}
            Phase::New | Phase::Offered | Phase::Answering => {
                self.missed_from.get_or_insert(from);
                self.timers.settle.get_or_insert(turn.now.plus(AGAIN));
                self.get_call(turn);
            }
            Phase::Establishing | Phase::Established | Phase::Terminating => {
                self.gap("missed", MISSED, from, turn);
                self.checks = Some("something could not be stored".to_owned());
                self.get_call(turn);
                self.get_participants(turn);
            }
        }
    }

    /// Puts on record what we did or found, once the conversation is.
    fn note(&mut self, words: String, what: &str, turn: &mut Turn<'_>) {
        if self.started {
            let key = format!("{}|{what}|{}", self.call_key(), turn.now.millis());
            self.say(Fact::of_recorder(words, key, serde_json::Map::new()), turn);
        }
    }

    /// It has begun here: what was missed before is said.
    pub(super) fn missed_before(&mut self, turn: &mut Turn<'_>) {
        if let Some(from) = self.missed_from.take() {
            self.gap("missed", MISSED, from, turn);
        }
    }

    fn gap(&mut self, key: &str, cause: &str, from: Timestamp, turn: &mut Turn<'_>) {
        if self.started && turn.now > from {
            let mut fact = Fact::new(Kind::CaptureGap, format!("{}|{key}|{}", self.call_key(), from.millis()));
            fact.content.gap = Some(Gap { cause: cause.to_owned(), from, to: turn.now });
            self.say(fact, turn);
        }
    }

    /// The process was not running for a while: a gap, and the service is asked what is.
    pub(super) fn restored(&mut self, last_seen: Option<Timestamp>, turn: &mut Turn<'_>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.asks.clear();
        self.leaving = None;
        self.recording.restored();
        let from = last_seen.map_or(self.last_sign, |seen| seen.max(self.last_sign));
        self.gap("gap", "the recorder was not running", from, turn);
        self.checks = Some("the recorder was not running".to_owned());
        // Whoever follows chats may not have come to store it.
        if let Some(thread) = self.thread.clone().filter(|_| self.phase >= Phase::Establishing) {
            turn.out.push(Action::Chat(thread));
        }
        match self.phase {
            Phase::New | Phase::Refused | Phase::Ended => {}
            Phase::Offered | Phase::Answering => self.get_call(turn),
            Phase::Establishing | Phase::Established | Phase::Terminating => {
                self.get_call(turn);
                // Also the call's sign of life, with the checks.
                self.keep_alive(turn);
            }
        }
    }
}
