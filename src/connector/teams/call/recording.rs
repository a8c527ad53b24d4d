//! The recording status of a leg: `updateRecordingStatus` and what comes of it (digest §7).
//!
//! `recording` is reported only when everything said so far is on stable storage (trap 30). A result comes in the reply
//! or, later or even earlier, as an operation notification with the same `clientContext`. Without
//! `report_recording_status` nothing is sent, and recording begins with `established`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::say::{meaning, plain, reason};
use super::{Call, Phase, Purpose, Turn};
use crate::connector::teams::ask::Reply;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::member::{bounded, member, text};
use crate::connector::teams::notice::CallNotice;
use crate::connector::teams::request::{self, RecordingStatus};
use crate::model::{Kind, Reason, Timestamp};

/// How long a result may take.
const RESULT: Duration = Duration::from_secs(30);
/// First pause before `recording` is tried again; doubles with each try.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A request whose result is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    status: RecordingStatus,
    context: String,
    #[serde(default)]
    asked_at: Option<Timestamp>,
    /// The operation's id, once told.
    operation: Option<String>,
    /// Without a result by then, it failed.
    by: Timestamp,
}

/// What the platform was told of recording, and what is to be told next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Everything said before and with `established` is stored.
    pub(super) durable: bool,
    /// What arrives cannot be kept.
    pub(super) broken: bool,
    /// The status that was confirmed last.
    reported: Option<RecordingStatus>,
    under_way: Option<UnderWay>,
    /// Not before this time again.
    retry_at: Option<Timestamp>,
    failures: u32,
    /// When the status was sent whose result came last.
    #[serde(default)]
    asked_at: Option<Timestamp>,
    /// Requests so far; makes contexts unique.
    count: u32,
}

impl Recording {
    /// Whether the platform shows people that we record.
    pub fn is_on(&self) -> bool {
        self.reported == Some(RecordingStatus::Recording)
    }

    /// Whether a result is waited for.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let retry = self.retry_at.filter(|_| self.under_way.is_none() && self.durable && !self.broken && !self.is_on());
        self.under_way.as_ref().map(|way| way.by).or(retry)
    }

    /// After a start nothing is under way any more; what has no result is asked again.
    pub(super) fn restored(&mut self) {
        self.under_way = None;
        self.broken = false;
        self.durable = false;
    }
}

impl Call {
    /// Reports what differs from what was reported.
    pub(super) fn drive_recording(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Established {
            return;
        }
        if let Some(way) = self.recording.under_way.as_ref().filter(|way| turn.now >= way.by) {
            let context = way.context.clone();
            self.recording_result(&context, Err(plain("no result of updateRecordingStatus came")), turn);
        }
        let recording = &self.recording;
        let ever = recording.reported.is_some_and(|status| status != RecordingStatus::NotRecording);
        let wanted = if let Some(leaving) = &self.leaving {
            (ever && !leaving.deleting && turn.now < leaving.by).then_some(RecordingStatus::NotRecording)
        } else if recording.broken {
            recording.is_on().then_some(RecordingStatus::Failed)
        } else if !turn.settings.report_recording_status {
            (!recording.is_on()).then_some(RecordingStatus::Recording)
        } else {
            let may = recording.durable && recording.retry_at.is_none_or(|at| turn.now >= at);
            (may && !recording.is_on()).then_some(RecordingStatus::Recording)
        };
        let Some(status) = wanted.filter(|_| !recording.is_under_way()) else { return };
        self.recording.count = self.recording.count.saturating_add(1);
        self.recording.retry_at = None;
        let context = format!("{}-{}", self.id.key(), self.recording.count);
        let by = turn.now.plus(RESULT);
        self.recording.under_way =
            Some(UnderWay { status, context: context.clone(), asked_at: Some(turn.now), operation: None, by });
        if turn.settings.report_recording_status {
            let ask = request::recording(&self.id, status, &context);
            self.ask(Purpose::Recording { status, context }, ask, turn);
        } else {
            self.recording_result(&context, Ok(()), turn);
        }
    }

    /// The reply to `updateRecordingStatus`.
    pub(super) fn recording_reply(&mut self, context: &str, reply: &Reply, turn: &mut Turn<'_>) {
        if !reply.is_success() {
            let gone = reply.status() == 404;
            let code = (reply.status() != 0).then(|| reply.status().to_string());
            let why = Reason { code, ..plain(format!("updateRecordingStatus was refused: {}", reply.trouble())) };
            self.recording_result(context, Err(why), turn);
            if gone {
                self.get_call(turn);
            }
            return;
        }
        let body = reply.json();
        match outcome(&body) {
            Some(result) => self.recording_result(context, result, turn),
            None => {
                if let Some(way) = self.recording.under_way.as_mut().filter(|way| way.context == context) {
                    way.operation = text(&body, &["id"]).map(|id| bounded(id, 256));
                }
            }
        }
    }

    /// An operation notification: the result of ours, or somebody else's business.
    pub(super) fn operation(&mut self, notice: &CallNotice, id: Option<&str>, turn: &mut Turn<'_>) {
        let context = text(&notice.data, &["clientContext"]);
        let ours = self.recording.under_way.as_ref().filter(|way| match (context, id) {
            (Some(context), _) => context == way.context,
            (None, Some(id)) => way.operation.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(id)),
            (None, None) => false,
        });
        match (ours.map(|way| way.context.clone()), outcome(&notice.data)) {
            (Some(context), Some(result)) => self.recording_result(&context, result, turn),
            _ => self.platform_event(notice, "operation", false, turn),
        }
    }

    fn recording_result(&mut self, context: &str, result: Result<(), Reason>, turn: &mut Turn<'_>) {
        let Some(way) = self.recording.under_way.take_if(|way| way.context == context) else { return };
        self.recording.asked_at = way.asked_at.filter(|_| turn.settings.report_recording_status);
        match (way.status, result) {
            (RecordingStatus::Recording, Ok(())) => {
                self.recording.reported = Some(RecordingStatus::Recording);
                self.recording.failures = 0;
                self.say_recording(Kind::RecordingStarted, context, None, turn);
            }
            (RecordingStatus::Recording, Err(why)) => {
                self.recording.failures = self.recording.failures.saturating_add(1);
                let pause = PAUSE.saturating_mul(1 << (self.recording.failures - 1).min(5)).min(LONGEST_PAUSE);
                self.recording.retry_at = Some(turn.now.plus(pause));
                turn.warn(&self.id, "the platform does not confirm that we record");
                self.say_recording(Kind::RecordingFailed, context, Some(why), turn);
            }
            (RecordingStatus::Failed, result) => {
                // Recording did break, whether the platform took the news or not.
                self.recording.reported = Some(RecordingStatus::Failed);
                // This has to be stored before people are told that we record again.
                self.recording.durable = false;
                let mut why = result.err().unwrap_or_default();
                let more = why.message.take().map(|message| format!("; {message}")).unwrap_or_default();
                why.message = Some(format!("what arrives could not be stored{more}"));
                self.say_recording(Kind::RecordingFailed, context, Some(why), turn);
            }
            (RecordingStatus::NotRecording, Ok(())) => {
                let was_on = self.recording.is_on();
                self.recording.reported = Some(RecordingStatus::NotRecording);
                if was_on {
                    let why = self.leaving.as_ref().map(|leaving| plain(leaving.why.clone()));
                    self.say_recording(Kind::RecordingStopped, context, why, turn);
                }
            }
            (RecordingStatus::NotRecording, Err(why)) => {
                // We leave all the same; the end of the call says that recording stopped.
                turn.warn(&self.id, &format!("notRecording failed: {}", why.message.as_deref().unwrap_or_default()));
                if let Some(leaving) = &mut self.leaving {
                    leaving.by = turn.now;
                }
            }
        }
    }

    /// The call is over: recording is over with it.
    pub(super) fn recording_ends(&mut self, turn: &mut Turn<'_>) {
        let way = self.recording.under_way.take();
        if self.recording.is_on() {
            self.recording.reported = Some(RecordingStatus::NotRecording);
            self.say_recording(Kind::RecordingStopped, "end", Some(plain("the call ended")), turn);
        } else if let Some(way) = way.filter(|way| way.status == RecordingStatus::Recording) {
            let why = plain("the call ended before recording was confirmed");
            self.say_recording(Kind::RecordingFailed, &way.context, Some(why), turn);
        }
    }

    fn say_recording(&mut self, kind: Kind, context: &str, why: Option<Reason>, turn: &mut Turn<'_>) {
        let mut fact = Fact::new(kind, format!("{}|{}|{context}", self.call_key(), kind.as_str()));
        fact.content.source_id = Some(self.id.as_str().to_owned());
        let reported = turn.settings.report_recording_status;
        let mut detail = json!({});
        if kind == Kind::RecordingStarted && !reported {
            detail["reported"] = json!(false);
        }
        if let Some(at) = self.recording.asked_at.take() {
            detail["asked_at"] = json!(at.to_string());
        }
        if let Some(meaning) = why.as_ref().and_then(meaning) {
            detail["meaning"] = json!(meaning);
        }
        if kind == Kind::RecordingFailed && self.recording.failures > 1 {
            detail["attempt"] = json!(self.recording.failures);
        }
        fact.content.detail = detail.as_object().is_some_and(|detail| !detail.is_empty()).then_some(detail);
        fact.content.reason = why;
        self.say(fact, turn);
    }
}

/// What an operation says of its end; `None` while it goes on, or if there is no operation.
fn outcome(operation: &Value) -> Option<Result<(), Reason>> {
    match text(operation, &["status"])?.to_ascii_lowercase().as_str() {
        "completed" => Some(Ok(())),
        "failed" => {
            Some(Err(reason(member(operation, "resultInfo"))
                .unwrap_or_else(|| plain("the operation failed without a reason"))))
        }
        _ => None,
    }
}
