//! The `[[connector]]` table of kind `teams` (INTERFACES §4): as it stands in the file, and with its secrets read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::capture::Source;
use crate::connector::secret::Secret;

/// Which of Microsoft's clouds; gives the defaults of every endpoint and says which features its metadata has (digest §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, also GCC.
    Global,
    /// US Government L4, GCC High.
    UsGovL4,
    /// US Government L5, DoD.
    UsGovL5,
    /// China, operated by 21Vianet.
    China,
}

/// How the application proves itself to the login service.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// A client secret.
    Secret(Secret),
    /// A certificate and its private key, both PEM: client assertion.
    Certificate {
        /// PEM, the first certificate is ours.
        certificate_pem: Vec<u8>,
        /// PEM, PKCS#8 or PKCS#1.
        key_pem: Secret,
    },
}

/// Reason given when a call is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// `none`
    None,
    /// `busy`
    Busy,
    /// `forbidden`
    Forbidden,
}

impl RejectReason {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::None => "none",
            RejectReason::Busy => "busy",
            RejectReason::Forbidden => "forbidden",
        }
    }
}

/// Where the media configuration of `answer` comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    /// `serviceHostedMediaConfig`; `(uri, resourceId)` to fetch ahead.
    ServiceHosted {
        /// `preFetchMedia`.
        prefetch: Vec<(String, String)>,
    },
    /// `appHostedMediaConfig` with the text of this file as blob, final newline removed.
    BlobFile(PathBuf),
    /// The same with what this command prints.
    BlobCommand(Vec<String>),
}

/// PEM files of the webhook listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// Certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
}

/// Every place outside that the connector talks to, and what it expects in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `https://login.microsoftonline.com`, no slash at the end.
    pub login_url: String,
    /// `https://graph.microsoft.com`, no slash at the end.
    pub graph_url: String,
    /// `https://graph.microsoft.com/.default`.
    pub graph_scope: String,
    /// OpenID metadata of call notifications.
    pub calls_openid_url: String,
    /// `iss` of call notifications, any of them.
    pub calls_issuers: Vec<String>,
    /// OpenID metadata of validation tokens.
    pub notifications_openid_url: String,
    /// `iss` of validation tokens; `{tid}` stands for the token's own.
    pub notifications_issuers: Vec<String>,
    /// `appid` or `azp` of validation tokens.
    pub notifications_publisher: String,
    /// OpenID metadata of activities.
    pub bot_openid_url: String,
    /// `iss` of activities.
    pub bot_issuers: Vec<String>,
    /// Authority of the connector token.
    pub bot_tenant: String,
    /// Scope of the connector token.
    pub bot_scope: String,
    /// Prefixes of service URLs that may be sent a connector token.
    pub bot_service_urls: Vec<String>,
}

/// What the connector works with: everything read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedTeams {
    /// Name and kind.
    pub source: Source,
    /// Customer tenant, as configured, lower case.
    pub tenant_id: String,
    /// App registration, as configured, lower case.
    pub client_id: String,
    /// How we prove ourselves.
    pub credential: Credential,
    /// Which cloud.
    pub cloud: Cloud,
    /// PEM text of a private CA for everything outbound.
    pub ca_pem: Option<Vec<u8>>,
    /// Scheme, host, optional path prefix, no slash at the end.
    pub callback_url: Url,
    /// Where the webhooks listen.
    pub listen: SocketAddr,
    /// TLS of that listener; `None` = plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Everything outside.
    pub endpoints: Endpoints,
    /// Patterns: `<oid>`, `<oid>@<tid>`, `*@<tid>`, `tel:+49*`, `*`.
    pub accept_from: Vec<String>,
    /// Policy-recording invitations are accepted whoever calls.
    pub accept_policy_recording: bool,
    /// Reason of rejections.
    pub reject_reason: RejectReason,
    /// Media configuration of answers.
    pub media: Media,
    /// `acceptedModalities`, wire spelling.
    pub accepted_modalities: Vec<String>,
    /// `participantCapacity`, sent if over 1.
    pub participant_capacity: u32,
    /// `callOptions.isContentSharingNotificationEnabled`.
    pub content_sharing: bool,
    /// `callOptions.isDeltaRosterEnabled`.
    pub delta_roster: bool,
    /// `updateRecordingStatus` is sent.
    pub report_recording_status: bool,
    /// Between keepAlives.
    pub keep_alive: Duration,
    /// After the last human left.
    pub hang_up_after: Duration,
    /// The chat of a call is recorded.
    pub follow_call_chats: bool,
    /// Further subscription resources.
    pub chat_scopes: Vec<String>,
    /// `?model=`; empty = not sent.
    pub model: String,
    /// `includeResourceData`.
    pub encrypted_notifications: bool,
    /// Life asked for.
    pub subscription_life: Duration,
    /// Between reconciliations.
    pub reconcile_every: Duration,
    /// How far back they reach.
    pub reconcile_window: Duration,
    /// How far a backfill reaches behind its checkpoint.
    pub backfill_overlap: Duration,
    /// After a call's end.
    pub chat_polls_after_call: Vec<Duration>,
    /// A new key pair for encrypted notifications after so long; zero = never by itself.
    pub rotate_keys_every: Duration,
    /// Folder of the key pairs for encrypted notifications: `<archive>/keys/<connector>`.
    pub keys: PathBuf,
    /// What to say in chats; empty = nothing.
    pub notice: String,
}

impl Cloud {
    /// Whether `answer` takes `participantCapacity` and `callOptions` there (digest §3).
    pub fn has_call_options(self) -> bool {
        self == Cloud::Global
    }

    /// Whether there are calls at all.
    pub fn has_calls(self) -> bool {
        self != Cloud::China
    }
}

/// A JSON object without members whose value is `Null`.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
