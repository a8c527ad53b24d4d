//! Who may invite: from an incoming call, or a bot's installation, to a decision with its reason.
//!
//! A pure function. A caller without `tenantId` counts to the call's `tenantId`, else to the tenant of the token
//! (INTERFACES §4). Policy-recording invitations are accepted whoever calls, if the configuration says so.

use serde_json::Value;

use super::identity::{self, Principal};
use super::notice::type_of;

/// An invitation to a call, as the service words it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// `call.source.identity`, as received.
    pub(super) source: Value,
    /// `call.tenantId`.
    pub tenant: Option<String>,
    /// It is a compliance-recording invitation (digest §8).
    pub policy_recording: bool,
}

/// Whom `accept_from` admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptFrom {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    written: String,
    pattern: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Anybody,
    /// A user of the connector's own tenant.
    User(String),
    UserOf(String, String),
    Tenant(String),
    /// Digits after `tel:`, and whether more may follow.
    Telephone(String, bool),
}

/// A pattern that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{pattern}` is not a pattern; write an object id, <object id>@<tenant id>, *@<tenant id>, tel:+4930123, tel:+49*, or * for everybody"
)]
pub struct PatternError {
    /// As written.
    pub pattern: String,
}

/// What to do with an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it.
    Accept {
        /// The pattern that admitted it, as written, or `policy recording`.
        rule: String,
    },
    /// Refuse it.
    Decline {
        /// Why, for the event and the log.
        reason: String,
    },
}

impl AcceptFrom {
    /// Compiles patterns. An empty list admits nobody.
    ///
    /// # Errors
    /// [`PatternError`] for the first that is none.
    pub fn parse(patterns: &[String]) -> Result<AcceptFrom, PatternError> {
        let rule = |written: &String| {
            let pattern = parse(written).ok_or_else(|| PatternError { pattern: written.escape_debug().to_string() })?;
            Ok(Rule { written: written.clone(), pattern })
        };
        Ok(AcceptFrom { rules: patterns.iter().map(rule).collect::<Result<_, _>>()? })
    }

    /// Decides about somebody; `own` is the connector's tenant. The person's id is the contract's.
    pub fn decide(&self, person: Option<&str>, own: &str) -> Decision {
        let Some(person) = person.filter(|person| !person.is_empty()) else {
            return match self.rules.iter().find(|rule| rule.pattern == Pattern::Anybody) {
                Some(rule) => Decision::Accept { rule: rule.written.clone() },
                None => Decision::Decline { reason: "the invitation does not say who sent it".to_owned() },
            };
        };
        match self.rules.iter().find(|rule| rule.pattern.admits(person, own)) {
            Some(rule) => Decision::Accept { rule: rule.written.clone() },
            None => Decision::Decline { reason: format!("no pattern in accept_from admits {person}") },
        }
    }
}

impl Pattern {
    fn admits(&self, person: &str, own: &str) -> bool {
        let user = person.split_once('@').filter(|(id, _)| !id.contains(':'));
        match (self, user) {
            (Pattern::Anybody, _) => true,
            (Pattern::User(wanted), Some((id, tenant))) => id == wanted && tenant.eq_ignore_ascii_case(own),
            (Pattern::UserOf(wanted, of), Some((id, tenant))) => id == wanted && tenant == of,
            (Pattern::Tenant(of), Some((_, tenant))) => tenant == of,
            (Pattern::Telephone(digits, more), None) => match person.strip_prefix("tel:") {
                Some(number) if *more => number.starts_with(digits.as_str()),
                Some(number) => number == digits,
                None => false,
            },
            _ => false,
        }
    }
}

fn parse(written: &str) -> Option<Pattern> {
    let text = written.trim().to_ascii_lowercase();
    if text == "*" {
        return Some(Pattern::Anybody);
    }
    if let Some(number) = text.strip_prefix("tel:") {
        let (digits, more) = number.strip_suffix('*').map_or((number, false), |digits| (digits, true));
        let body = digits.strip_prefix('+').unwrap_or(digits);
        let good = body.bytes().all(|b| b.is_ascii_digit()) && (more || !body.is_empty());
        return good.then(|| Pattern::Telephone(digits.to_owned(), more));
    }
    let id = |text: &str| {
        let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        good.then(|| text.to_owned())
    };
    match text.split_once('@') {
        None => identity::is_guid(&text).then_some(Pattern::User(text)),
        Some(("*", tenant)) => Some(Pattern::Tenant(id(tenant)?)),
        Some((user, tenant)) => Some(Pattern::UserOf(id(user)?, id(tenant)?)),
    }
}

impl Offer {
    /// Reads an incoming call, or the call inside a joining notification.
    pub fn read(data: &Value) -> Offer {
        let call = data.get("call").filter(|call| call.is_object()).unwrap_or(data);
        Offer {
            source: call.pointer("/source/identity").cloned().unwrap_or_default(),
            tenant: call.get("tenantId").and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned),
            policy_recording: is_policy_recording(call),
        }
    }

    /// Who calls; `tid` is the token's tenant.
    pub fn caller(&self, tid: &str) -> Option<Principal> {
        identity::principal(&self.source, self.tenant.as_deref().unwrap_or(tid))
    }
}

/// Whether a call is a compliance-recording invitation: it gives reasons for inviting, or it has a join token and a context
/// and rings at an application instance (digest §8).
pub fn is_policy_recording(call: &Value) -> bool {
    let reasons = call.pointer("/applicationMetadata/botData/inviteReasons").and_then(Value::as_array);
    if reasons.is_some_and(|reasons| !reasons.is_empty()) {
        return true;
    }
    let token =
        call.get("meetingInfo").is_some_and(|info| type_of(info) == "tokenmeetinginfo" || info.get("token").is_some());
    let context = call.get("incomingContext").is_some_and(Value::is_object);
    let instance = call.get("targets").and_then(Value::as_array).is_some_and(|targets| {
        targets.iter().any(|target| {
            let set = target.get("identity").and_then(Value::as_object);
            set.is_some_and(|set| {
                set.iter().any(|(name, value)| name.eq_ignore_ascii_case("applicationInstance") && value.is_object())
            })
        })
    });
    token && context && instance
}

/// Decides about a call.
pub fn decide(offer: &Offer, accept: &AcceptFrom, policy_recording: bool, tid: &str, own: &str) -> Decision {
    if offer.policy_recording && policy_recording {
        return Decision::Accept { rule: "policy recording".to_owned() };
    }
    accept.decide(offer.caller(tid).map(|caller| caller.person.id).as_deref(), own)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWN: &str = "932899f8-2ea1-4604-8413-27bd2892079f";
    const ALICE: &str = "8a34a46b-3d17-4adc-8dce-dc4e7d572698";

    fn accepts(pattern: &str, person: &str) -> bool {
        let accept = AcceptFrom::parse(&[pattern.to_owned()]).expect("pattern");
        matches!(accept.decide(Some(person), OWN), Decision::Accept { rule } if rule == pattern)
    }

    #[test]
    fn patterns_admit_exactly_whom_they_name() {
        let own = format!("{ALICE}@{OWN}");
        let other = format!("{ALICE}@1540a1a5-2394-4a41-aa72-9ee6fa18cfc8");
        for (pattern, person, expected) in [
            (format!("*@{OWN}"), own.as_str(), true),
            (format!("*@{}", OWN.to_uppercase()), &own, true),
            (format!("*@{OWN}"), &other, false),
            (format!("*@{OWN}"), "tel:+4930", false),
            (format!("*@{OWN}"), "guest:x", false),
            (ALICE.to_owned(), &own, true),
            (ALICE.to_uppercase(), &own, true),
            (ALICE.to_owned(), &other, false),
            (format!("{ALICE}@1540a1a5-2394-4a41-aa72-9ee6fa18cfc8"), &other, true),
            (format!("{ALICE}@1540a1a5-2394-4a41-aa72-9ee6fa18cfc8"), &own, false),
            ("tel:+49*".to_owned(), "tel:+4930123", true),
            ("tel:+49*".to_owned(), "tel:+4130123", false),
            ("tel:+4930123".to_owned(), "tel:+4930123", true),
            ("tel:+4930123".to_owned(), "tel:+49301234", false),
            ("tel:+49*".to_owned(), &own, false),
            ("*".to_owned(), &other, true),
            ("*".to_owned(), "tel:+1", true),
            ("*".to_owned(), "guest:x@evil", true),
            (format!("*@{OWN}"), &format!("guest:x@{OWN}"), false),
        ] {
            assert_eq!(accepts(&pattern, person), expected, "{pattern} and {person}");
        }
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_the_right_forms() {
        for pattern in ["", "alice", "alice@", "@x", "*@", "tel:", "tel:+49x", "a@b@c", "sip:a@b", "tel:*9"] {
            let error = AcceptFrom::parse(&[pattern.to_owned()]).expect_err(pattern);
            assert!(error.to_string().contains("*@<tenant id>"), "{error}");
        }
    }

    #[test]
    fn a_caller_without_tenant_counts_to_the_call_and_then_to_the_token() {
        let call = |tenant: Value| json!({"source": {"identity": {"user": {"id": ALICE}}}, "tenantId": tenant});
        let accept = AcceptFrom::parse(&[format!("*@{OWN}")]).expect("pattern");
        let decided = |call: Value, tid: &str| decide(&Offer::read(&call), &accept, true, tid, OWN);
        assert!(matches!(decided(call(json!(null)), OWN), Decision::Accept { .. }));
        assert!(matches!(decided(call(json!(OWN.to_uppercase())), "other"), Decision::Accept { .. }));
        assert!(matches!(decided(call(json!("other")), OWN), Decision::Decline { .. }));
        let nobody = decided(json!({}), OWN);
        assert_eq!(nobody, Decision::Decline { reason: "the invitation does not say who sent it".into() });
    }

    #[test]
    fn policy_recording_is_accepted_whoever_calls_if_so_configured() {
        let accept = AcceptFrom::parse(&[]).expect("nobody");
        let reasons = json!({"source": {"identity": {"user": {"id": ALICE, "tenantId": "stranger"}}},
            "applicationMetadata": {"botData": {"inviteReasons": ["ComplianceRecording"]}}});
        let offer = Offer::read(&reasons);
        assert!(matches!(decide(&offer, &accept, true, OWN, OWN), Decision::Accept { .. }));
        assert!(matches!(decide(&offer, &accept, false, OWN, OWN), Decision::Decline { .. }));
        let bare = json!({"meetingInfo": {"@odata.type": "#microsoft.graph.tokenMeetingInfo"}, "incomingContext": {},
            "targets": [{"identity": {"applicationInstance": {"id": "x"}}}]});
        assert!(is_policy_recording(&bare));
        assert!(is_policy_recording(&json!({"applicationMetadata": {"botData": {"inviteReasons": ["x"]}}})));
        assert!(!is_policy_recording(&json!({"targets": [{"identity": {"applicationInstance": {"id": "x"}}}]})));
    }
}
