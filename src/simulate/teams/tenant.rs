//! The tenant as plain data: who is there, what was said, which calls and subscriptions live. The sockets are elsewhere.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::budget::Budgets;
use super::call::Gathering;
use super::cast::{Kind, Member};
use super::chat::Chat;
use super::fault::Faults;
use super::keys::{BadToken, Keys, Signer};
use super::ledger::TeamsLedger;
use super::options::TenantOptions;
use super::outbox::Letter;
use super::subscription::{Item, Subscription};
use crate::model::Timestamp;

/// Audience of Graph tokens.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";
/// Audience of bot connector tokens.
pub(super) const CONNECTOR: &str = "https://api.botframework.com";

/// Where the tenant is reached.
#[derive(Clone, Debug)]
pub(super) struct Urls {
    /// `http://127.0.0.1:8095`, no slash at the end.
    pub base: String,
    /// Another origin, to which no token may ever be sent.
    pub elsewhere: String,
}

/// A token that was given out.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub audience: &'static str,
    pub roles: Vec<String>,
    pub until_ms: u64,
}

/// What happens later.
#[derive(Clone, Debug)]
pub(super) enum Timer {
    Deadline(String),
    Establish(String),
    Connect(String),
    Recorded { call: String, operation: Value },
    Flush(String),
    Post(Box<Letter>),
    KeepAlive(String),
}

/// Everything the tenant knows.
pub(super) struct Tenant {
    pub options: TenantOptions,
    pub cast: Vec<Member>,
    pub urls: Urls,
    /// Address of the recorder's webhooks, without the paths and without a slash at the end.
    pub callback: String,
    pub keys: Keys,
    pub rng: fastrand::Rng,
    /// Milliseconds since the start; set before every use.
    pub now_ms: u64,
    /// Wall clock at the start, milliseconds since 1970.
    pub started_ms: i64,
    pub issued: HashMap<String, Issued>,
    /// `jti` of client assertions, which may be used once.
    pub assertions: Vec<String>,
    pub chats: Vec<Chat>,
    pub gatherings: Vec<Gathering>,
    pub subscriptions: Vec<Subscription>,
    /// Change notifications that wait for their batch, by address.
    pub waiting: BTreeMap<String, Vec<Item>>,
    /// Messages notified without a model, which the evaluation counts.
    pub evaluated: u64,
    pub budgets: Budgets,
    pub faults: Faults,
    pub outbox: Vec<Letter>,
    /// Letters queued or under way.
    pub under_way: usize,
    pub timers: Vec<(u64, Timer)>,
    pub ledger: TeamsLedger,
    pub narration: Vec<String>,
}

impl Tenant {
    pub fn new(options: TenantOptions, cast: Vec<Member>, urls: Urls, callback: String, started_ms: i64) -> Self {
        let seed = options.seed.unwrap_or(started_ms.unsigned_abs());
        Tenant {
            budgets: Budgets::new(options.throttle),
            options,
            cast,
            urls,
            callback: callback.trim_end_matches('/').to_owned(),
            keys: Keys::generate(),
            rng: fastrand::Rng::with_seed(seed),
            now_ms: 0,
            started_ms,
            issued: HashMap::new(),
            assertions: Vec::new(),
            chats: Vec::new(),
            gatherings: Vec::new(),
            subscriptions: Vec::new(),
            waiting: BTreeMap::new(),
            evaluated: 0,
            faults: Faults::default(),
            outbox: Vec::new(),
            under_way: 0,
            timers: Vec::new(),
            ledger: TeamsLedger::default(),
            narration: Vec::new(),
        }
    }

    /// Says something to those who watch.
    pub fn tell(&mut self, line: impl Into<String>) {
        self.narration.push(line.into());
    }

    /// Notes what the client must not do.
    pub fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("VIOLATION: {what}"));
        self.ledger.violations.push(what);
    }

    /// Notes what the client had better not do.
    pub fn complain(&mut self, what: impl Into<String>) {
        self.ledger.complaints.push(what.into());
    }

    /// Wall clock, milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        self.started_ms.saturating_add_unsigned(self.now_ms)
    }

    /// Wall clock as Graph writes it.
    pub fn wall(&self) -> String {
        time(self.wall_ms())
    }

    /// A new GUID.
    pub fn guid(&mut self) -> String {
        guid(self.rng.u128(..))
    }

    pub fn member(&self, id: &str) -> Result<&Member, String> {
        self.cast.iter().find(|m| m.id == id).ok_or_else(|| format!("\"{id}\" is not in the cast"))
    }

    /// The name to be shown to those who watch.
    pub fn display(&self, id: &str) -> String {
        match self.member(id) {
            Ok(m) if !m.name.is_empty() => m.name.clone(),
            _ => id.to_owned(),
        }
    }

    /// The person with this object id, number or other id.
    pub fn by_oid(&self, oid: &str) -> Option<&Member> {
        self.cast.iter().find(|m| m.oid.eq_ignore_ascii_case(oid))
    }

    /// The identity set of somebody, as calls carry it.
    pub fn identity(&self, id: &str) -> Value {
        let Ok(m) = self.member(id) else { return json!({ "@odata.type": "#microsoft.graph.identitySet" }) };
        let mut identity = json!({ "@odata.type": "#microsoft.graph.identity", "id": m.oid });
        if !m.name.is_empty() {
            identity["displayName"] = json!(m.name);
        }
        if let Kind::User | Kind::External = m.kind {
            identity["tenantId"] = json!(m.tenant);
            identity["identityProvider"] = json!("AAD");
        }
        let mut set = json!({ "@odata.type": "#microsoft.graph.identitySet" });
        set[m.kind.call_member()] = identity;
        set
    }

    /// The identity of the recorder's application.
    pub fn application(&self) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.identitySet",
            "application": {
                "@odata.type": "#microsoft.graph.identity",
                "id": self.options.client_id,
                "displayName": self.options.name,
            },
        })
    }

    /// A token for the recorder's webhooks. `None`: none is sent.
    pub fn call_token(&self, bad: Option<BadToken>) -> Option<String> {
        let now = self.wall_ms() / 1000;
        let claims = json!({
            "aud": self.options.client_id, "iss": CONNECTOR,
            "iat": now, "nbf": now, "exp": now + 3900, "tid": self.options.tenant_id,
        });
        self.keys.token(Signer::Calls, claims, bad)
    }

    /// A validation token for change notifications.
    pub fn validation_token(&self, bad: Option<BadToken>) -> Option<String> {
        let now = self.wall_ms() / 1000;
        let issuer = format!("https://sts.windows.net/{}/", self.options.tenant_id);
        let claims = json!({
            "aud": self.options.client_id, "iss": issuer, "iat": now, "nbf": now, "exp": now + 3900,
            "aio": "42FgYKhZ+uOZrHa7p+7tfruauq1HAA==", "appid": self.options.publisher, "appidacr": "2",
            "idp": issuer, "tid": self.options.tenant_id, "uti": "-KoJHevhgEGnN4kwuixpAA", "ver": "1.0",
        });
        self.keys.token(Signer::Login, claims, bad)
    }

    /// A token for activities.
    pub fn activity_token(&self, service_url: &str, bad: Option<BadToken>) -> Option<String> {
        let now = self.wall_ms() / 1000;
        let claims = json!({
            "serviceurl": service_url, "aud": self.options.client_id, "iss": CONNECTOR,
            "iat": now, "nbf": now, "exp": now + 3600,
        });
        self.keys.token(Signer::Bot, claims, bad)
    }

    /// `serviceUrl` of activities.
    pub fn service_url(&self) -> String {
        format!("{}/smba/emea/", self.urls.base)
    }

    /// Lets a timer go off after so long.
    pub fn later(&mut self, delay_ms: u64, timer: Timer) {
        self.timers.push((delay_ms, timer));
    }

    /// A timer has gone off.
    pub fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Deadline(call) => self.deadline(&call),
            Timer::Establish(call) => self.establish(&call),
            Timer::Connect(call) => self.connect(&call),
            Timer::Recorded { call, operation } => self.recorded(&call, operation),
            Timer::Flush(url) => self.flush(&url),
            Timer::Post(letter) => {
                self.under_way = self.under_way.saturating_sub(1);
                self.dispatch(*letter);
            }
            Timer::KeepAlive(call) => self.expect_keep_alive(&call),
        }
    }
}

/// Milliseconds since 1970 as Graph writes them.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millis(ms).rfc3339()
}

/// A GUID, version 4, from random bits.
pub(super) fn guid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Text with every character but the unreserved ones escaped, as for one segment of a path.
pub(super) fn escape(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}
