//! What an incoming or joining call offers, and whether we take it: pure policy.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::accept::AcceptFrom;
use super::identity::{self, Principal};
use super::member::{at, bounded, list, member, text, type_name};
use super::notice::{CallId, CallNotice};
use crate::model::Person;

/// Another recorder that the platform names in `botData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Its application, as received.
    pub id: String,
    /// Its participant id in the call.
    pub participant: Option<String>,
}

/// What a ringing call says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The leg.
    pub call: Option<CallId>,
    /// `source`: who calls.
    pub caller: Option<Principal>,
    /// `incomingContext.onBehalfOf`.
    pub on_behalf_of: Option<Principal>,
    /// `call.tenantId`, lower case.
    pub tenant: Option<String>,
    /// `callChainId`, as received.
    pub chain: Option<String>,
    /// A recording policy sends this call: `botData.inviteReasons` tells any, or a meeting token and an incoming context
    /// come to an application instance (digest §8).
    pub policy: bool,
    /// `incomingContext.observedParticipantId`: with a policy the recorded user's participant id.
    pub observed: Option<String>,
    /// `botData.user.policyHolderId` as contract id: the recorded user.
    pub policy_holder: Option<String>,
    /// `botData.pairedRecorders`.
    pub paired: Vec<Recorder>,
    /// `botData.otherRecorders`.
    pub others: Vec<Recorder>,
    /// `requestedModalities`, lower case.
    pub modalities: Vec<String>,
    /// `subject`, if not empty.
    pub subject: Option<String>,
    /// `chatInfo.threadId`.
    pub thread: Option<String>,
}

/// Whose calls are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `accept_from`.
    pub accept_from: AcceptFrom,
    /// `accept_policy_recording`.
    pub accept_policy_recording: bool,
}

/// What becomes of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is taken.
    Accept {
        /// The pattern that lets the caller in, or `accept_policy_recording`.
        rule: String,
    },
    /// It is refused.
    Decline {
        /// In words, for `invitation.declined`.
        reason: String,
    },
}

impl Offer {
    /// Reads an incoming or joining notification. `token_tid` is the tenant that the notification's token proves.
    pub fn read(notice: &CallNotice, token_tid: &str) -> Offer {
        let call = notice.call_object();
        let tenant = text(call, &["tenantId"]).map(str::to_lowercase);
        let home = tenant.clone().unwrap_or_else(|| token_tid.to_lowercase());
        let bot = bot_data(call).unwrap_or(&Value::Null);
        Offer {
            call: notice.call.clone(),
            caller: at(call, &["source", "identity"]).and_then(|set| identity::principal(set, &home)),
            on_behalf_of: at(call, &["incomingContext", "onBehalfOf"]).and_then(|set| identity::principal(set, &home)),
            chain: text(call, &["callChainId"]).map(|id| bounded(id, 256)),
            policy: is_policy(call),
            observed: text(call, &["incomingContext", "observedParticipantId"]).map(|id| bounded(id, 256)),
            policy_holder: text(bot, &["user", "policyHolderId"]).map(|id| {
                identity::contract_id("user", id, text(bot, &["user", "policyHolderTenantId"]).unwrap_or(&home))
            }),
            paired: recorders(bot, "pairedRecorders"),
            others: recorders(bot, "otherRecorders"),
            modalities: modalities(call),
            subject: text(call, &["subject"]).map(|subject| bounded(subject, 1024)),
            thread: thread(call),
            tenant,
        }
    }

    /// How long after the notification the service waits for `answer` (digest §5).
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(if self.policy { 5 } else { 15 })
    }

    /// The user whom a policy records: the policy's holder, else the caller.
    pub fn recorded(&self) -> Option<Person> {
        let caller = self.caller.as_ref().map(|caller| caller.person.clone());
        match (&self.policy_holder, caller) {
            (Some(holder), Some(caller)) if *holder == caller.id => Some(caller),
            (Some(holder), _) => Some(Person { id: holder.clone(), name: None }),
            (None, caller) => caller,
        }
    }
}

/// Whether an offer is taken. `token_tid` is the tenant that the token of the notification proves.
pub fn decide(offer: &Offer, rules: &Rules, token_tid: &str) -> Decision {
    if offer.policy && rules.accept_policy_recording {
        return Decision::Accept { rule: "accept_policy_recording".to_owned() };
    }
    let tenant = offer.tenant.as_deref().unwrap_or(token_tid);
    match rules.accept_from.allows(offer.caller.as_ref(), tenant) {
        Some(rule) => Decision::Accept { rule: rule.to_owned() },
        None => {
            let who = offer.caller.as_ref().map_or("a caller without identity", |caller| caller.person.id.as_str());
            let policy = if offer.policy { ", and policy recording is not accepted" } else { "" };
            Decision::Decline { reason: format!("accept_from does not name {who}{policy}") }
        }
    }
}

/// `chatInfo.threadId` of a call.
pub fn thread(call: &Value) -> Option<String> {
    text(call, &["chatInfo", "threadId"]).filter(|id| id.len() <= 1000).map(str::to_owned)
}

/// `requestedModalities`, lower case; the `activeModalities` that the wire has beside them are not asked.
pub fn modalities(call: &Value) -> Vec<String> {
    list(call, &["requestedModalities"])
        .iter()
        .filter_map(Value::as_str)
        .take(16)
        .map(|word| bounded(word, 64).to_lowercase())
        .collect()
}

/// What `invitation.received` keeps in `detail`: everything about the offer that has no member of its own. The meeting's
/// token and passcode are secrets and stay in the envelope.
pub fn detail(call: &Value, offer: &Offer) -> Value {
    let mut detail = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            detail.insert(name.to_owned(), value);
        }
    };
    put("policy_recording", offer.policy.then_some(Value::Bool(true)));
    put("call_chain_id", offer.chain.clone().map(Value::String));
    put("tenant_id", offer.tenant.clone().map(Value::String));
    put("observed_participant_id", offer.observed.clone().map(Value::String));
    put("observed_user", offer.policy_holder.clone().map(Value::String));
    put("on_behalf_of", offer.on_behalf_of.as_ref().map(|who| json!(who.person.id)));
    put("thread_id", offer.thread.clone().map(Value::String));
    put("bot_data", bot_data(call).map(small));
    put("meeting_info", member(call, "meetingInfo").map(without_secrets));
    put("targets", member(call, "targets").map(small));
    put("call_routes", member(call, "callRoutes").map(small));
    put("incoming_context", member(call, "incomingContext").map(small));
    Value::Object(detail)
}

/// A value, or only its size if it is huge: what strangers send must not swell events; the envelope has all of it.
pub fn small(value: &Value) -> Value {
    let size = value.to_string().len();
    if size <= 16_384 { value.clone() } else { json!({ "omitted_bytes": size }) }
}

fn without_secrets(meeting: &Value) -> Value {
    let Some(object) = meeting.as_object() else { return Value::Null };
    let secret = |name: &str| name.eq_ignore_ascii_case("token") || name.eq_ignore_ascii_case("passcode");
    small(&Value::Object(
        object.iter().filter(|(name, _)| !secret(name)).map(|(n, v)| (n.clone(), v.clone())).collect(),
    ))
}

fn bot_data(call: &Value) -> Option<&Value> {
    at(call, &["applicationMetadata", "botData"])
}

fn is_policy(call: &Value) -> bool {
    let reasons = bot_data(call).map(|bot| list(bot, &["inviteReasons"])).unwrap_or_default();
    let token = member(call, "meetingInfo").is_some_and(|meeting| {
        type_name(meeting).is_some_and(|name| name == "tokenmeetinginfo") || member(meeting, "token").is_some()
    });
    let instance =
        list(call, &["targets"]).iter().any(|target| at(target, &["identity", "applicationInstance"]).is_some());
    !reasons.is_empty() || (token && instance && member(call, "incomingContext").is_some())
}

fn recorders(bot: &Value, name: &str) -> Vec<Recorder> {
    let of = |entry: &Value| {
        let id = text(entry, &["id"])?;
        let participant = text(entry, &["participantId"]).map(|id| bounded(id, 256));
        Some(Recorder { id: bounded(id, 256), participant })
    };
    list(bot, &[name]).iter().take(64).filter_map(of).collect()
}

#[cfg(test)]
mod tests;
