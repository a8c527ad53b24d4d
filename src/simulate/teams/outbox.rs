//! Notifications on their way out: queued here, spoiled by faults, and entered into the ledger when they were answered.

use serde_json::{Value, json};

use super::fault::Effect;
use super::keys::BadToken;
use super::ledger::{Delivery, Path};
use super::subscription::Item;
use super::tenant::{Tenant, Timer};

/// A version of a message that a notification tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub chat: String,
    pub message: String,
    pub etag: String,
}

/// What a letter holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A call notification; `call`: id of the leg.
    Call { body: Value, call: String },
    /// Joining of a policy user, which wants a decision in the answer.
    Joining { body: Value, call: String, who: String },
    /// Changes; made into a body when sent.
    Changes { items: Vec<Item> },
    /// Lifecycle.
    Lifecycle { body: Value },
    /// An activity.
    Activity { body: Value },
    /// Not JSON.
    Garbage,
    /// A batch made ready: sent the same at every attempt.
    Ready { body: Value, marks: Vec<Mark> },
}

/// One notification.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Letters of one lane go one after the other.
    pub lane: String,
    pub url: String,
    pub path: Path,
    /// Its kind, for faults and the ledger.
    pub what: String,
    pub content: Content,
    pub bad: Option<BadToken>,
    /// Wrong on purpose: it must have no effect.
    pub wrong: bool,
}

/// A letter as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub body: String,
    pub token: Option<String>,
    pub headers: Vec<(&'static str, String)>,
}

/// How a POST to the recorder went.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// 0: nobody answered.
    pub status: u16,
    pub body: Vec<u8>,
    pub location: Option<String>,
    pub took_ms: u64,
}

impl Tenant {
    /// Queues a letter, spoiled if a fault says so.
    pub fn dispatch(&mut self, mut letter: Letter) {
        let effect = self.faults.meet_send(letter.path, &letter.what);
        if let Content::Changes { items } = &letter.content {
            let bad = match effect {
                Some(Effect::Token(bad)) => Some(bad),
                _ => None,
            };
            let (body, marks) = self.batch_body(items, effect.as_ref(), bad);
            let hidden = effect.as_ref().is_some_and(Effect::hides);
            letter.content = Content::Ready { body, marks: if hidden { Vec::new() } else { marks } };
        }
        letter.wrong |= effect.as_ref().is_some_and(Effect::forbids);
        match effect {
            None => {}
            Some(Effect::Duplicate) => self.push(letter.clone()),
            Some(Effect::Drop) => {
                self.tell(format!("(A {} notification is lost: {})", path_name(letter.path), letter.what));
                return;
            }
            Some(Effect::Swap) => {
                self.under_way += 1;
                self.faults.held.push_back(letter);
                return;
            }
            Some(Effect::Together) => {
                self.under_way += 1;
                self.faults.together.push(letter);
                return;
            }
            Some(Effect::Untyped) => {
                for data in call_data(&mut letter.content).into_iter().flat_map(serde_json::Map::values_mut) {
                    untype(data);
                }
            }
            Some(Effect::Delay(length)) => {
                self.under_way += 1;
                let delay = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                self.later(delay, Timer::Post(Box::new(letter)));
                return;
            }
            Some(Effect::Token(bad)) => letter.bad = Some(bad),
            Some(Effect::Garbage) => letter.content = Content::Garbage,
            Some(Effect::Bare) => {
                if let Some(data) = call_data(&mut letter.content) {
                    data.remove("state");
                    data.remove("resultInfo");
                }
            }
            Some(Effect::CodeString) => {
                if let Some(code) = call_data(&mut letter.content).and_then(|d| d.get_mut("resultInfo")) {
                    let text = code["code"].to_string();
                    code["code"] = json!(text);
                }
            }
            Some(Effect::PascalCase) => {
                if let Some(Value::String(state)) = call_data(&mut letter.content).and_then(|d| d.get_mut("state")) {
                    let mut letters = state.chars();
                    *state = letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default();
                }
            }
            Some(_) => {}
        }
        self.put_together(&mut letter);
        let path = letter.path;
        self.push(letter);
        let overtaken: Vec<Letter> = {
            let held = std::mem::take(&mut self.faults.held);
            let (now, still): (Vec<_>, Vec<_>) = held.into_iter().partition(|l| l.path == path);
            self.faults.held = still.into();
            now
        };
        for letter in overtaken {
            self.under_way = self.under_way.saturating_sub(1);
            self.push(letter);
        }
    }

    /// Puts letters that wait for company, and are for the same call, in front of this one's items.
    fn put_together(&mut self, letter: &mut Letter) {
        let Content::Call { body, .. } = &mut letter.content else { return };
        let waiting = std::mem::take(&mut self.faults.together);
        let (with, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|l| l.lane == letter.lane);
        self.faults.together = still;
        let Some(items) = body["value"].as_array_mut() else { return };
        for (place, other) in with.into_iter().enumerate() {
            self.under_way = self.under_way.saturating_sub(1);
            if let Content::Call { body: mut first, .. } = other.content {
                items.insert(place, first["value"][0].take());
            }
        }
    }

    fn push(&mut self, letter: Letter) {
        self.under_way += 1;
        self.outbox.push(letter);
    }

    /// A letter as it goes over the wire now: with a token of now.
    pub fn posted(&mut self, letter: &Letter) -> Posted {
        let mut headers = Vec::new();
        let (body, token) = match &letter.content {
            Content::Call { body, call } | Content::Joining { body, call, .. } => {
                let chain = self.leg(call).map(|(g, _)| self.gatherings[g].chain.clone()).unwrap_or_default();
                let message = self.guid();
                headers = vec![
                    ("X-Microsoft-Skype-Chain-ID", chain.clone()),
                    ("Scenario-Id", chain),
                    ("X-Microsoft-Skype-Message-ID", message.clone()),
                    ("Client-Request-Id", message.clone()),
                    ("X-Microsoft-Skype-Original-Message-ID", message),
                    ("MS-Teams-Ring", "general".to_owned()),
                    ("MS-Teams-Region", "emea".to_owned()),
                    ("User-Agent", "Microsoft-Skype/3.0,(Calling/1.0)".to_owned()),
                ];
                (body.to_string(), self.call_token(letter.bad))
            }
            Content::Ready { body, .. } | Content::Lifecycle { body } => (body.to_string(), None),
            Content::Changes { items } => (self.batch_body(items, None, letter.bad).0.to_string(), None),
            Content::Activity { body } => {
                let service = body["serviceUrl"].as_str().unwrap_or_default().to_owned();
                (body.to_string(), self.activity_token(&service, letter.bad))
            }
            Content::Garbage => {
                let token = match letter.path {
                    Path::Activities => self.activity_token(&self.service_url(), letter.bad),
                    _ => self.call_token(letter.bad),
                };
                ("{\"value\":[{\"this is".to_owned(), token)
            }
        };
        Posted { body, token, headers }
    }

    /// Enters an attempt into the ledger and does what its answer means. `Some`: it is to be sent again after so many
    /// milliseconds, because of what the answer said.
    pub fn answered(&mut self, letter: &Letter, attempt: u32, first_ms: u64, answer: &Answered) -> Option<u64> {
        self.ledger.deliveries.push(Delivery {
            at_ms: self.now_ms,
            path: letter.path,
            url: letter.url.clone(),
            what: letter.what.clone(),
            attempt,
            status: answer.status,
            took_ms: answer.took_ms,
            wrong: letter.wrong,
        });
        let success = (200..300).contains(&answer.status) && answer.took_ms <= self.options.slow_ms;
        if success {
            self.taken(letter, answer);
            self.under_way = self.under_way.saturating_sub(1);
            return None;
        }
        if (200..300).contains(&answer.status) {
            self.complain(format!(
                "a {} notification was answered after {} ms",
                path_name(letter.path),
                answer.took_ms
            ));
        }
        if letter.wrong && matches!(answer.status, 401 | 403) {
            self.under_way = self.under_way.saturating_sub(1);
            return None;
        }
        if matches!(answer.status, 401 | 403) && letter.path != Path::Changes {
            self.complain(format!("a rightful {} notification was refused: {}", path_name(letter.path), answer.status));
            self.under_way = self.under_way.saturating_sub(1);
            return None;
        }
        let pause = self.pause(letter.path, attempt);
        let spent = self.now_ms.saturating_sub(first_ms);
        let patience = match letter.path {
            Path::Changes | Path::Lifecycle => self.options.retry_for_ms,
            // Nothing is promised for calls and activities; a handful of attempts is what bots have seen.
            _ => pause.saturating_mul(4),
        };
        if spent.saturating_add(pause) > patience
            || (attempt >= 4 && !matches!(letter.path, Path::Changes | Path::Lifecycle))
        {
            self.tell(format!("(A {} notification is given up: {})", path_name(letter.path), letter.what));
            self.under_way = self.under_way.saturating_sub(1);
            return None;
        }
        Some(pause)
    }

    fn pause(&self, path: Path, attempt: u32) -> u64 {
        let first = match path {
            Path::Changes | Path::Lifecycle => self.options.retry_first_ms,
            _ => self.options.retry_first_ms / 10,
        };
        first.saturating_mul(1 << (attempt - 1).min(16)).clamp(1, 600_000)
    }

    /// The recorder has it now.
    fn taken(&mut self, letter: &Letter, answer: &Answered) {
        match &letter.content {
            Content::Ready { marks, .. } => self.acknowledged(marks),
            Content::Call { call, .. } if letter.what == "incoming" && !letter.wrong => {
                let now = self.now_ms;
                if let Some(record) = self.record(call) {
                    record.told_ms.get_or_insert(now);
                }
            }
            Content::Joining { call, who, .. } => {
                let decision: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                self.decided(call, who, &decision);
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, marks: &[Mark]) {
        for mark in marks {
            let chat = self.ledger.chats.get_mut(&mark.chat);
            let said = chat.and_then(|c| c.messages.iter_mut().rfind(|m| m.id == mark.message));
            if let Some(version) = said.and_then(|s| s.versions.iter_mut().find(|v| v.etag == mark.etag)) {
                version.acknowledged = true;
            }
        }
    }
}

/// Takes every `@odata.type` out.
fn untype(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(untype),
        Value::Object(members) => {
            members.remove("@odata.type");
            members.values_mut().for_each(untype);
        }
        _ => {}
    }
}

/// `resourceData` of a call notification.
fn call_data(content: &mut Content) -> Option<&mut serde_json::Map<String, Value>> {
    match content {
        Content::Call { body, .. } => body["value"][0]["resourceData"].as_object_mut(),
        _ => None,
    }
}

/// In words.
pub(super) fn path_name(path: Path) -> &'static str {
    match path {
        Path::Calls => "call",
        Path::Changes => "change",
        Path::Lifecycle => "lifecycle",
        Path::Activities => "bot",
        Path::Validation => "validation",
    }
}
