//! The `[[connector]]` table of kind `teams` (INTERFACES §4): as it stands in the file, and with its secrets read.

mod endpoints;
mod read;
mod shape;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::assertion::Signer;
use super::listener;
use crate::capture::Source;
use crate::config::secrets::{SecretFrom, SecretKeys, certificate_file, secret_file};
use crate::config::{Environment, Placed, Problems, keys_folder};
use crate::connector::secret::Secret;

pub use super::cloud::{Cloud, Endpoints};

/// A `teams` connector as it stands in the file: validated, paths absolute, secrets not read. Fields that
/// [`ResolvedTeams`] has too are described there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamsConfig {
    /// `name` (unique) and `kind`.
    pub source: Source,
    /// GUID, lower case.
    pub tenant_id: String,
    /// GUID, lower case.
    pub client_id: String,
    /// Where the proof of the application comes from.
    pub credential: CredentialFrom,
    /// Default global.
    pub cloud: Cloud,
    /// PEM file of a private certificate authority.
    pub ca_file: Option<Placed<PathBuf>>,
    /// Required.
    pub callback_url: Url,
    /// Default 127.0.0.1:8443.
    pub listen: SocketAddr,
    /// Default none.
    pub tls: Option<Placed<ListenerTls>>,
    /// Default from `cloud`.
    pub endpoints: Endpoints,
    /// Default everybody of the tenant.
    pub accept_from: Vec<String>,
    /// Default true.
    pub accept_policy_recording: bool,
    /// Default forbidden.
    pub reject_reason: RejectReason,
    /// Default service-hosted, nothing to fetch ahead.
    pub media: Media,
    /// Default audio.
    pub accepted_modalities: Vec<String>,
    /// Default 0.
    pub participant_capacity: u32,
    /// Default true.
    pub content_sharing: bool,
    /// Default false.
    pub delta_roster: bool,
    /// Default true.
    pub report_recording_status: bool,
    /// Default 10 min.
    pub keep_alive: Duration,
    /// Default 60 s.
    pub hang_up_after: Duration,
    /// Default true.
    pub follow_call_chats: bool,
    /// Default none.
    pub chat_scopes: Vec<String>,
    /// Default A.
    pub model: String,
    /// Default true.
    pub encrypted_notifications: bool,
    /// Default 3 days.
    pub subscription_life: Duration,
    /// Default 1 day.
    pub reconcile_every: Duration,
    /// Default 2 days.
    pub reconcile_window: Duration,
    /// Default 5 min.
    pub backfill_overlap: Duration,
    /// Default 2 min and 1 h.
    pub chat_polls_after_call: Vec<Duration>,
    /// Default 180 days.
    pub rotate_keys_every: Duration,
}

/// Where the proof of the application comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFrom {
    /// `client_secret_file` or `client_secret_env`.
    Secret(Placed<SecretFrom>),
    /// `certificate_file` and `private_key_file`.
    Certificate {
        /// PEM; the first certificate is ours.
        certificate: Placed<PathBuf>,
        /// PEM, mode 0600 or stricter.
        key: Placed<PathBuf>,
    },
}

const CLIENT_SECRET: SecretKeys = SecretKeys {
    file: "client_secret_file",
    env: "client_secret_env",
    itself: "client_secret",
    noun: "client secret",
    example: "TEAMS_SECRET",
};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
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
    /// Where that was read, to be read again.
    pub credential_from: CredentialFrom,
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
    /// Further subscription resources, in the spelling of the contract; identifiers are not percent-encoded.
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

impl TeamsConfig {
    /// Reads secrets, certificates and keys. `None` if one is unusable, which is then among the problems. `archive` is
    /// the archive's directory.
    pub fn resolve(
        &self,
        notice: &str,
        archive: &Path,
        env: Environment<'_>,
        problems: &mut Problems<'_>,
    ) -> Option<ResolvedTeams> {
        let credential = self.credential.read(env).map_err(|found| {
            for (span, text) in found {
                problems.add(Some(span), text);
            }
        });
        let ca_pem = match &self.ca_file {
            None => Some(None),
            Some(file) => good(certificate_file("ca_file", &file.value), file, problems).map(Some),
        };
        let tls = match &self.tls {
            None => Some(None),
            Some(tls) => good(usable(&tls.value), tls, problems).map(Some),
        };
        Some(ResolvedTeams {
            source: self.source.clone(),
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
            credential: credential.ok()?,
            credential_from: self.credential.clone(),
            cloud: self.cloud,
            ca_pem: ca_pem?,
            callback_url: self.callback_url.clone(),
            listen: self.listen,
            tls: tls?,
            endpoints: self.endpoints.clone(),
            accept_from: self.accept_from.clone(),
            accept_policy_recording: self.accept_policy_recording,
            reject_reason: self.reject_reason,
            media: self.media.clone(),
            accepted_modalities: self.accepted_modalities.clone(),
            participant_capacity: self.participant_capacity,
            content_sharing: self.content_sharing,
            delta_roster: self.delta_roster,
            report_recording_status: self.report_recording_status,
            keep_alive: self.keep_alive,
            hang_up_after: self.hang_up_after,
            follow_call_chats: self.follow_call_chats,
            chat_scopes: self.chat_scopes.clone(),
            model: self.model.clone(),
            encrypted_notifications: self.encrypted_notifications,
            subscription_life: self.subscription_life,
            reconcile_every: self.reconcile_every,
            reconcile_window: self.reconcile_window,
            backfill_overlap: self.backfill_overlap,
            chat_polls_after_call: self.chat_polls_after_call.clone(),
            rotate_keys_every: self.rotate_keys_every,
            keys: keys_folder(archive, &self.source),
            notice: notice.to_owned(),
        })
    }
}

impl CredentialFrom {
    /// Reads what is there now.
    ///
    /// # Errors
    /// What is wrong and what to do, each with its place in the configuration file.
    pub fn read(&self, env: Environment<'_>) -> Result<Credential, Vec<(Range<usize>, String)>> {
        match self {
            CredentialFrom::Secret(from) => match CLIENT_SECRET.fetch(&from.value, env) {
                Ok(secret) => Ok(Credential::Secret(secret)),
                Err(text) => Err(vec![(from.span.clone(), text)]),
            },
            CredentialFrom::Certificate { certificate, key } => {
                let pem = certificate_file("certificate_file", &certificate.value);
                let secret = secret_file("private_key_file", "private key", &key.value);
                let (certificate_pem, key_pem) = match (pem, secret) {
                    (Ok(pem), Ok(secret)) => (pem, secret),
                    (pem, secret) => {
                        let of_pem = pem.err().map(|text| (certificate.span.clone(), text));
                        let of_key = secret.err().map(|text| (key.span.clone(), text));
                        return Err(of_pem.into_iter().chain(of_key).collect());
                    }
                };
                match Signer::new(&certificate_pem, key_pem.expose().as_bytes()) {
                    Ok(_) => Ok(Credential::Certificate { certificate_pem, key_pem }),
                    Err(problem) => {
                        let text = format!("`certificate_file` and `private_key_file`: {problem}");
                        Err(vec![(certificate.span.clone(), text)])
                    }
                }
            }
        }
    }
}

/// The value, or its problem reported at the place of what it was read from.
fn good<T, U>(read: Result<T, String>, place: &Placed<U>, problems: &mut Problems<'_>) -> Option<T> {
    read.map_err(|why| problems.add(Some(place.span.clone()), why)).ok()
}

/// The listener reads its files itself, and again when they change; here they are only tried.
fn usable(files: &ListenerTls) -> Result<ListenerTls, String> {
    secret_file("tls_private_key_file", "private key", &files.key_file)?;
    listener::load(files)?;
    Ok(files.clone())
}

/// A JSON object without members whose value is `Null`.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
