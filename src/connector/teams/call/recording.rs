//! The recording status of a call: `recording` only when capture is durable, `notRecording` before we leave.
//!
//! It switches the notice that people see (digest §7). What it came to is told in the answer, or later by an operation
//! with the same client context.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Call, FAREWELL, Token, reason_of, text};
use crate::connector::teams::ask::{Method, Reply};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::request;
use crate::model::{Kind, Reason, Timestamp};

/// Pauses before a refused `recording` is reported again; after the last it stays failed.
const AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// How the recording of one leg stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    phase: Phase,
    /// Requests made so far; part of their contexts.
    requests: u32,
    failures: usize,
    again_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Idle,
    /// `recording` was sent with this context.
    Starting(String),
    On,
    /// `notRecording` was sent with this context.
    Stopping(String),
    Off,
    Failed,
}

impl Recording {
    /// When it wants to be reported again.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.again_at
    }

    /// Whether an operation with this context is ours and not finished.
    pub(super) fn awaits(&self, context: &str) -> bool {
        matches!(&self.phase, Phase::Starting(mine) | Phase::Stopping(mine) if mine == context)
    }

    /// After a restart no answer comes to what was asked before.
    pub(super) fn forget_requests(&mut self) {
        match self.phase {
            Phase::Starting(_) => self.phase = Phase::Idle,
            Phase::Stopping(_) => self.phase = Phase::On,
            _ => {}
        }
    }
}

impl Call {
    fn report(&mut self, status: &'static str, out: &mut Vec<Action>) -> String {
        self.recording.requests += 1;
        let context = format!("greffier-{}-{}", self.id.key(), self.recording.requests);
        let body = request::recording_status(status, &context);
        let ask = self.request(Method::Post, "/updateRecordingStatus").with_body(body);
        out.push(Action::Ask(Token::Recording(status, context.clone()), ask));
        context
    }

    /// Everything said is stored: from here on it is true that we record.
    pub(super) fn begin_recording(&mut self, report: bool, out: &mut Vec<Action>) {
        if self.recording.phase != Phase::Idle {
            return;
        }
        if report {
            let context = self.report("recording", out);
            self.recording.phase = Phase::Starting(context);
        } else {
            self.recording.phase = Phase::On;
            self.tell(Kind::RecordingStarted, None, None, out);
        }
    }

    fn tell(&self, kind: Kind, operation: Option<String>, reason: Option<Reason>, out: &mut Vec<Action>) {
        let key = format!("recording|{}|{}|{kind}", self.id.key(), self.recording.requests);
        let mut fact = Fact::new(kind, key);
        fact.content.source_id = operation;
        fact.content.reason = reason;
        out.push(Action::Fact(fact));
    }

    pub(super) fn recording_reply(
        &mut self,
        status: &'static str,
        context: &str,
        reply: &Reply,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        if !self.recording.awaits(context) {
            if status == "failed" && !reply.is_success() {
                out.push(Action::Warn(format!("a broken recording could not be reported: {}", reply.trouble())));
            }
            return;
        }
        if reply.is_success() {
            self.recording_result(&reply.json(), now, out);
        } else {
            let code = (reply.status() != 0).then(|| reply.status().to_string());
            let message = Some(format!("updateRecordingStatus {status}: {}", reply.trouble()));
            self.recording_failed(Reason { code, subcode: None, message }, now, out);
        }
    }

    /// The operation as the answer or a notification tells it.
    pub(super) fn recording_result(&mut self, operation: &Value, now: Timestamp, out: &mut Vec<Action>) {
        let status = text(operation, "status").unwrap_or_default().to_ascii_lowercase();
        let id = text(operation, "id");
        match status.as_str() {
            "completed" => match self.recording.phase {
                Phase::Starting(_) => {
                    self.recording.phase = Phase::On;
                    self.recording.again_at = None;
                    self.tell(Kind::RecordingStarted, id, None, out);
                }
                Phase::Stopping(_) => {
                    self.recording.phase = Phase::Off;
                    self.tell(Kind::RecordingStopped, id, None, out);
                    self.hang_up(now, out);
                }
                _ => {}
            },
            "failed" => self.recording_failed(reason_of(operation).unwrap_or_default(), now, out),
            // `notStarted`, `running`, or nothing: the result comes by notification.
            _ => {}
        }
    }

    fn recording_failed(&mut self, reason: Reason, now: Timestamp, out: &mut Vec<Action>) {
        match self.recording.phase {
            Phase::Starting(_) => {
                self.tell(Kind::RecordingFailed, None, Some(reason), out);
                self.recording.again_at = AGAIN.get(self.recording.failures).map(|pause| now.plus(*pause));
                self.recording.failures += 1;
                self.recording.phase = if self.recording.again_at.is_some() { Phase::Idle } else { Phase::Failed };
                if self.recording.again_at.is_some() {
                    // Not at once when the failure is stored, but when its time has come.
                    self.recording.phase = Phase::Failed;
                } else {
                    out.push(Action::Warn(
                        "the recording of a call could not be reported; see recording.failed".into(),
                    ));
                }
            }
            Phase::Stopping(_) => {
                self.recording.phase = Phase::Off;
                self.tell(Kind::RecordingStopped, None, Some(reason), out);
                self.hang_up(now, out);
            }
            _ => {}
        }
    }

    pub(super) fn recording_tick(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.recording.again_at.is_some_and(|at| at <= now) && self.recording.phase == Phase::Failed {
            self.recording.again_at = None;
            let context = self.report("recording", out);
            self.recording.phase = Phase::Starting(context);
        }
    }

    /// The call is over: what was recorded ends with it.
    pub(super) fn recording_over(&mut self, out: &mut Vec<Action>) {
        if matches!(self.recording.phase, Phase::On | Phase::Stopping(_)) {
            self.recording.phase = Phase::Off;
            self.tell(Kind::RecordingStopped, None, None, out);
        }
    }

    /// Leaves: first the status, then the call.
    pub(super) fn leave(&mut self, why: &str, farewell: Duration, now: Timestamp, out: &mut Vec<Action>) {
        self.hang_up_reason = Some(why.to_owned());
        self.leaving = Some(now.plus(farewell));
        self.alone_since = None;
        // Without a request nothing was reported that would have to be taken back.
        if self.recording.phase == Phase::On && self.recording.requests > 0 {
            let context = self.report("notRecording", out);
            self.recording.phase = Phase::Stopping(context);
        } else {
            self.recording_over(out);
            self.hang_up(now, out);
        }
    }

    fn hang_up(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.leaving.is_some() {
            let _ = now;
            out.push(Action::Ask(Token::HangUp, self.request(Method::Delete, "")));
        }
    }

    /// The service did not tell the end of what we left in time.
    pub(super) fn farewell(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if let Phase::Stopping(_) = self.recording.phase {
            self.recording_over(out);
            self.leaving = Some(now.plus(FAREWELL));
            self.hang_up(now, out);
            return;
        }
        self.end(None, now, out);
    }
}
