//! How a call says what happened: reasons, their meaning, and facts that may come again.

use serde_json::{Map, Value, json};

use super::{Action, Call, Turn};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::member::{bounded, digest, member, word};
use crate::connector::teams::notice::CallNotice;
use crate::connector::teams::offer::small;
use crate::model::{Kind, Reason};

/// How many keys a call remembers; the archive knows the older ones.
const SAID: usize = 512;

/// `resultInfo` raw: numbers and texts as text, `subCode` too. `None` if it says nothing.
pub(super) fn reason(result: Option<&Value>) -> Option<Reason> {
    let result = result.filter(|result| result.is_object())?;
    let reason = Reason {
        code: word(result, "code"),
        subcode: word(result, "subcode"),
        message: word(result, "message").map(|message| bounded(&message, 1024)),
    };
    (reason != Reason::default()).then_some(reason)
}

/// A reason in our own words.
pub(super) fn plain(message: impl Into<String>) -> Reason {
    Reason { message: Some(message.into()), ..Reason::default() }
}

/// What a result means, for those that have been seen (digest §9); the raw numbers are kept beside it.
pub fn meaning(reason: &Reason) -> Option<&'static str> {
    let code = reason.code.as_deref().unwrap_or_default();
    let subcode = reason.subcode.as_deref().unwrap_or_default();
    let family = |prefix: &str| subcode.len() == 6 && subcode.starts_with(prefix);
    Some(match (code, subcode) {
        ("404", "") => "the call is not known any more",
        (_, "8544") => "the callee was not reached: no answer in time",
        ("408", "10057") => "the request timed out",
        ("0" | "487", "487") | ("487", _) => "cancelled",
        (_, "603") => "declined",
        (_, "7106") => "setting up the media failed",
        ("500", "1999") => "server error in the call",
        ("200", "560000") => "ended normally",
        _ if family("540") => "ended on the inbound telephone leg; the last three digits are its SIP code",
        _ if family("560") => "ended on the outbound telephone leg; the last three digits are its SIP code",
        ("0", "0" | "") => "ended normally",
        (code, _) if code.starts_with('2') && code.len() == 3 => "success",
        (code, _) if code.starts_with('4') && code.len() == 3 => "failed on our side or a client's",
        (code, _) if code.starts_with('5') && code.len() == 3 => "failed on the service's side",
        _ => return None,
    })
}

/// A copy without members that are secrets.
fn scrubbed(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(object) if depth < 32 => Value::Object(
            object
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("token") && !name.eq_ignore_ascii_case("passcode"))
                .map(|(name, value)| (name.clone(), scrubbed(value, depth + 1)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) if depth < 32 => list.iter().map(|value| scrubbed(value, depth + 1)).collect(),
        other => other.clone(),
    }
}

impl Call {
    /// Says a fact that cannot come again.
    pub(super) fn say(&mut self, fact: Fact, turn: &mut Turn<'_>) {
        turn.out.push(Action::Fact(fact));
    }

    /// Says a fact unless one with its key was said.
    pub(super) fn say_once(&mut self, fact: Fact, turn: &mut Turn<'_>) {
        let key = digest(&fact.dedupe);
        if self.said.contains(&key) {
            return;
        }
        if self.said.len() >= SAID {
            self.said.pop_first();
        }
        self.said.insert(key);
        self.say(fact, turn);
    }

    /// Says facts of the roster; a hostile list may tell the same twice.
    pub(super) fn say_all(&mut self, facts: Vec<Fact>, turn: &mut Turn<'_>) {
        for fact in facts {
            self.say_once(fact, turn);
        }
    }

    /// Says a notice as it is. `late` tells why it is no fact of a kind: it came after what it announces was over.
    pub(super) fn platform_event(&mut self, notice: &CallNotice, what: &str, late: bool, turn: &mut Turn<'_>) {
        let content = digest(&format!("{}|{}|{}", notice.url, notice.change.as_str(), notice.data));
        let mut fact = Fact::new(Kind::PlatformEvent, format!("{}|platform|{content}", self.call_key()));
        let mut detail = json!({
            "notification": what,
            "change": notice.change.as_str(),
            "resource": notice.url,
        });
        if !notice.data.is_null() {
            detail["data"] = small(&scrubbed(&notice.data, 0));
        }
        if late {
            detail["late"] = json!(true);
        }
        fact.content.source_id = Some(self.id.as_str().to_owned());
        fact.content.reason = reason(member(&notice.data, "resultInfo"));
        fact.content.detail = Some(detail);
        self.say_once(fact, turn);
    }
}
