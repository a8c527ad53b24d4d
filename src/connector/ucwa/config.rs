//! The `[[connector]]` table of kind `ucwa` (INTERFACES §4).

use std::path::PathBuf;

use serde::Deserialize;

/// Keys of a `ucwa` connector as they stand in the file; paths are made absolute and secrets read by [`crate::config`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UcwaConfig {
    /// Unique name.
    pub name: String,
    /// Always `ucwa`.
    pub kind: String,
    /// `sip:recorder@contoso.com`.
    pub sign_in: String,
    /// `contoso\recorder` or `recorder@contoso.com`; default: the sign-in address without `sip:`.
    #[serde(default)]
    pub username: Option<String>,
    /// File (mode 0600 or stricter) with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Environment variable with the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// Root of autodiscovery; default: `https://lyncdiscoverinternal.<domain>/`, then `https://lyncdiscover.<domain>/`.
    #[serde(default)]
    pub autodiscover: Option<String>,
    /// Hosts besides those under the sign-in domain that may be sent credentials or tickets: names, `*.suffix`, IP literals.
    #[serde(default)]
    pub trusted_hosts: Vec<String>,
    /// PEM file of a private certificate authority.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who may invite: `*@contoso.com`, `alice@contoso.com`, `*`; default: the sign-in domain.
    #[serde(default)]
    pub accept_from: Option<Vec<String>>,
    /// Rejoin a meeting after an outage.
    #[serde(default = "yes")]
    pub rejoin: bool,
    /// Leave when no other person has been in the conversation for so long.
    #[serde(default = "sixty")]
    pub leave_after_seconds: u64,
    /// Spacing of reportMyActivity, 10 to 230.
    #[serde(default = "activity")]
    pub activity_seconds: u64,
}

fn yes() -> bool {
    true
}

fn sixty() -> u64 {
    60
}

fn activity() -> u64 {
    180
}
