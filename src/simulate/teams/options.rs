//! `[tenant]`: how the tenant behaves.

use super::super::scenario::reader::{Reader, ScenarioError};

/// How the tenant behaves; see `docs/SCENARIOS.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantOptions {
    /// Tenant id, a GUID.
    pub tenant_id: String,
    /// Application id of the recorder.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Its registered certificate, PEM; empty for none.
    pub certificate_pem: String,
    /// Its display name.
    pub name: String,
    /// `appid` of validation tokens.
    pub publisher: String,
    /// Application permissions granted.
    pub roles: Vec<String>,
    /// Of all invented identifiers; default: the clock.
    pub seed: Option<u64>,
    /// Deadline of `answer`, ordinary calls.
    pub answer_ms: u64,
    /// Deadline of `answer`, policy recording.
    pub policy_answer_ms: u64,
    /// From `answer` to establishing.
    pub establish_ms: u64,
    /// From establishing to established.
    pub connect_ms: u64,
    /// How long change notifications wait for company.
    pub notify_ms: u64,
    /// Items in one change notification at most.
    pub batch: usize,
    /// First pause before a change notification is sent again; doubles up to 10 minutes.
    pub retry_first_ms: u64,
    /// For how long it is sent again.
    pub retry_for_ms: u64,
    /// Answers later than this count as failures.
    pub slow_ms: u64,
    /// Life of tokens.
    pub token_seconds: u64,
    /// Whether budgets of requests are enforced (429).
    pub throttle: bool,
    /// Messages notified without a model, after which notifications stop without a word; 0: never.
    pub evaluation: u64,
    /// How `updateRecordingStatus` ends: `completed`, `running` (completed by notification), `failed`.
    pub recording: &'static str,
    /// Whether messages of chats with the app are also sent as activities (RSC).
    pub rsc: bool,
    /// Subscriptions at most.
    pub max_subscriptions: usize,
    /// A call without keepAlive for so long is released.
    pub keep_alive_ms: u64,
    /// Whether an application access policy for online meetings exists.
    pub access_policy: bool,
    /// Whether 1:1 calls come with a roster.
    pub roster_in_pairs: bool,
}

impl Default for TenantOptions {
    fn default() -> Self {
        TenantOptions {
            tenant_id: "6f2b0c1d-3a4e-4c5f-8a9b-1c2d3e4f5a6b".to_owned(),
            client_id: "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d".to_owned(),
            client_secret: "S3~cret+with &=% and ü".to_owned(),
            certificate_pem: String::new(),
            name: "Recorder".to_owned(),
            publisher: "0bf30f3b-4a52-48df-9a82-234910c4a086".to_owned(),
            roles: ROLES.iter().map(|r| (*r).to_owned()).collect(),
            seed: None,
            answer_ms: 15_000,
            policy_answer_ms: 5_000,
            establish_ms: 60,
            connect_ms: 60,
            notify_ms: 40,
            batch: 20,
            retry_first_ms: 10_000,
            retry_for_ms: 4 * 3_600_000,
            slow_ms: 3_000,
            token_seconds: 3_599,
            throttle: true,
            evaluation: 500,
            recording: "completed",
            rsc: true,
            max_subscriptions: 10_000,
            keep_alive_ms: 45 * 60_000,
            access_policy: true,
            roster_in_pairs: false,
        }
    }
}

/// What a recorder asks consent for.
const ROLES: &[&str] = &[
    "Calls.JoinGroupCall.All",
    "Calls.AccessMedia.All",
    "Chat.Read.All",
    "ChatMember.Read.All",
    "ChannelMessage.Read.All",
    "OnlineMeetings.Read.All",
];

impl TenantOptions {
    pub(super) fn read(r: &Reader<'_>) -> Result<Self, ScenarioError> {
        let d = TenantOptions::default();
        let text = |key: &'static str, default: String| Ok::<_, ScenarioError>(r.opt_text(key)?.unwrap_or(default));
        let size = |key: &'static str, default: usize| {
            Ok::<_, ScenarioError>(usize::try_from(r.number(key, default as u64)?).unwrap_or(usize::MAX))
        };
        let options = TenantOptions {
            tenant_id: text("tenant_id", d.tenant_id)?,
            client_id: text("client_id", d.client_id)?,
            client_secret: text("client_secret", d.client_secret)?,
            certificate_pem: text("certificate_pem", d.certificate_pem)?,
            name: text("name", d.name)?,
            publisher: text("publisher", d.publisher)?,
            roles: r.texts("roles")?.unwrap_or(d.roles),
            seed: r.opt_number("seed")?,
            answer_ms: r.number("answer_ms", d.answer_ms)?,
            policy_answer_ms: r.number("policy_answer_ms", d.policy_answer_ms)?,
            establish_ms: r.number("establish_ms", d.establish_ms)?,
            connect_ms: r.number("connect_ms", d.connect_ms)?,
            notify_ms: r.number("notify_ms", d.notify_ms)?,
            batch: size("batch", d.batch)?.max(1),
            retry_first_ms: r.number("retry_first_ms", d.retry_first_ms)?.max(1),
            retry_for_ms: r.number("retry_for_ms", d.retry_for_ms)?,
            slow_ms: r.number("slow_ms", d.slow_ms)?,
            token_seconds: r.number("token_seconds", d.token_seconds)?,
            throttle: r.flag("throttle", d.throttle)?,
            evaluation: r.number("evaluation", d.evaluation)?,
            recording: r.word("recording", &["completed", "running", "failed"], d.recording)?,
            rsc: r.flag("rsc", d.rsc)?,
            max_subscriptions: size("max_subscriptions", d.max_subscriptions)?,
            keep_alive_ms: r.number("keep_alive_ms", d.keep_alive_ms)?,
            access_policy: r.flag("access_policy", d.access_policy)?,
            roster_in_pairs: r.flag("roster_in_pairs", d.roster_in_pairs)?,
        };
        r.finish()?;
        Ok(options)
    }
}
