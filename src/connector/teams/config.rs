//! The `[[connector]]` table of kind `teams` (INTERFACES §4): as it stands in the file, and with its secrets read.

mod endpoints;
mod read;
mod shape;

use std::net::SocketAddr;
use std::ops::{Deref, Range};
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

/// A `teams` connector as it stands in the file: validated, paths absolute, secrets not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamsConfig {
    /// Name and kind.
    pub source: Source,
    /// Customer tenant, as configured, lower case.
    pub tenant_id: String,
    /// App registration, as configured, lower case.
    pub client_id: String,
    /// Where the proof of the application comes from.
    pub credential: CredentialFrom,
    /// Which cloud. Default global.
    pub cloud: Cloud,
    /// PEM file of a private certificate authority.
    pub ca_file: Option<Placed<PathBuf>>,
    /// Scheme, host, optional path prefix, no slash at the end. Required.
    pub callback_url: Url,
    /// Where the webhooks listen. Default 127.0.0.1:8443.
    pub listen: SocketAddr,
    /// TLS of that listener. Default none: plain HTTP.
    pub tls: Option<Placed<ListenerTls>>,
    /// Everything outside. Default from `cloud`.
    pub endpoints: Endpoints,
    /// Patterns: `<oid>`, `<oid>@<tid>`, `*@<tid>`, `tel:+49*`, `*`. Default everybody of the tenant.
    pub accept_from: Vec<String>,
    /// Policy-recording invitations are accepted whoever calls. Default true.
    pub accept_policy_recording: bool,
    /// Reason of rejections. Default forbidden.
    pub reject_reason: RejectReason,
    /// Media configuration of answers. Default service-hosted, nothing to fetch ahead.
    pub media: Media,
    /// `acceptedModalities`, wire spelling. Default audio.
    pub accepted_modalities: Vec<String>,
    /// `participantCapacity`, sent if over 1. Default 0.
    pub participant_capacity: u32,
    /// `callOptions.isContentSharingNotificationEnabled`. Default true.
    pub content_sharing: bool,
    /// `callOptions.isDeltaRosterEnabled`. Default false.
    pub delta_roster: bool,
    /// `updateRecordingStatus` is sent. Default true.
    pub report_recording_status: bool,
    /// Between keepAlives. Default 10 min.
    pub keep_alive: Duration,
    /// After the last human left. Default 60 s.
    pub hang_up_after: Duration,
    /// The chat of a call is recorded. Default true.
    pub follow_call_chats: bool,
    /// Further subscription resources, in the spelling of the contract; identifiers are not percent-encoded. Default none.
    pub chat_scopes: Vec<String>,
    /// `?model=`; empty = not sent. Default A.
    pub model: String,
    /// `includeResourceData`. Default true.
    pub encrypted_notifications: bool,
    /// Life asked for. Default 3 days.
    pub subscription_life: Duration,
    /// Between reconciliations. Default 1 day.
    pub reconcile_every: Duration,
    /// How far back they reach. Default 2 days.
    pub reconcile_window: Duration,
    /// How far a backfill reaches behind its checkpoint. Default 5 min.
    pub backfill_overlap: Duration,
    /// After a call's end. Default 2 min and 1 h.
    pub chat_polls_after_call: Vec<Duration>,
    /// A new key pair for encrypted notifications after so long; zero = never by itself. Default 180 days.
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
    config: TeamsConfig,
    /// How we prove ourselves; [`TeamsConfig::credential`] says where it was read, to be read again.
    pub proof: Credential,
    /// PEM text of a private CA for everything outbound.
    pub ca_pem: Option<Vec<u8>>,
    /// Folder of the key pairs for encrypted notifications: `<archive>/keys/<connector>`.
    pub keys: PathBuf,
    /// What to say in chats; empty = nothing.
    pub notice: String,
}

/// Everything that needs no secret is as it stands in the file.
impl Deref for ResolvedTeams {
    type Target = TeamsConfig;

    fn deref(&self) -> &TeamsConfig {
        &self.config
    }
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
            None => Some(()),
            Some(tls) => good(usable(&tls.value), tls, problems),
        };
        tls?;
        Some(ResolvedTeams {
            proof: credential.ok()?,
            ca_pem: ca_pem?,
            keys: keys_folder(archive, &self.source),
            notice: notice.to_owned(),
            config: self.clone(),
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
fn usable(files: &ListenerTls) -> Result<(), String> {
    secret_file("tls_private_key_file", "private key", &files.key_file)?;
    listener::load(files)?;
    Ok(())
}

/// A JSON object without members whose value is `Null`.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
