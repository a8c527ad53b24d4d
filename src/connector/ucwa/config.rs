//! The `[[connector]]` table of kind `ucwa` (INTERFACES §4): as it stands in the file, and with its secrets read.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use crate::capture::Source;
use crate::capture::policy::AcceptFrom;
use crate::config::secrets::{SecretFrom, SecretKeys, certificate_file};
use crate::config::{Environment, Placed, Problems, Section, address};
use crate::connector::secret::Secret;

/// A `ucwa` connector as it stands in the file: validated, paths absolute, secrets not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UcwaConfig {
    /// `name` (unique) and `kind`.
    pub source: Source,
    /// `sip:recorder@contoso.com`, lower case.
    pub sign_in: String,
    /// Host part of the sign-in address, lower-case ASCII.
    pub domain: String,
    /// `contoso\recorder` or `recorder@contoso.com`; default: the sign-in address without `sip:`.
    pub username: String,
    /// Where the password comes from.
    pub password: Placed<SecretFrom>,
    /// Root of autodiscovery; default: `https://lyncdiscoverinternal.<domain>/`, then `https://lyncdiscover.<domain>/`.
    pub autodiscover: Option<Url>,
    /// Hosts besides those under the sign-in domain that may be sent credentials or tickets: names, `*.suffix`, IP
    /// literals without brackets; any port. Lower case.
    pub trusted_hosts: Vec<String>,
    /// PEM file of a private certificate authority.
    pub ca_file: Option<Placed<PathBuf>>,
    /// Who may invite: `*@contoso.com`, `alice@contoso.com`, `*`; default: the sign-in domain.
    pub accept_from: Vec<String>,
    /// Rejoin a meeting after an outage. Default true.
    pub rejoin: bool,
    /// Leave when no other person has been in the conversation for so long. Default 60 s.
    pub leave_after: Duration,
    /// Spacing of reportMyActivity, 10 to 230 s. Default 180 s.
    pub activity: Duration,
}

/// What the connector works with: everything read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedUcwa {
    /// Name and kind.
    pub source: Source,
    /// `sip:recorder@contoso.com`, lower case.
    pub sign_in: String,
    /// Host part of the sign-in address, lower-case ASCII.
    pub domain: String,
    /// `contoso\recorder` or `recorder@contoso.com`.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Configured root of autodiscovery.
    pub autodiscover: Option<Url>,
    /// See [`UcwaConfig::trusted_hosts`].
    pub trusted_hosts: Vec<String>,
    /// PEM text with at least one certificate.
    pub ca_pem: Option<Vec<u8>>,
    /// Patterns that [`AcceptFrom::parse`] takes.
    pub accept_from: Vec<String>,
    /// Rejoin a meeting after an outage.
    pub rejoin: bool,
    /// Leave when alone for so long.
    pub leave_after: Duration,
    /// Spacing of reportMyActivity.
    pub activity: Duration,
    /// What to say on joining; empty = nothing.
    pub notice: String,
}

const PASSWORD: SecretKeys = SecretKeys {
    file: "password_file",
    env: "password_env",
    itself: "password",
    noun: "password",
    example: "SFB_PASSWORD",
};

impl UcwaConfig {
    /// Reads the table; `name` and `kind` have been read by the caller. `None` if a required key is missing or unusable, which is
    /// then among the problems.
    pub fn read(source: Source, mut section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Self> {
        let sign_in = section.required("sign_in", "for example sign_in = \"sip:recorder@contoso.com\"", problems);
        let address = sign_in.as_ref().and_then(|given| match parse_sign_in(&given.value) {
            Ok(address) => Some(address),
            Err(why) => {
                problems.add(Some(given.span.clone()), format!("`sign_in` of [[connector]]: {why}"));
                None
            }
        });
        let username = section.string("username", problems);
        if let Some(empty) = username.as_ref().filter(|name| name.value.trim().is_empty()) {
            let text = "`username` of [[connector]] is empty; leave it out to use the sign-in address";
            problems.add(Some(empty.span.clone()), text);
        }
        if !PASSWORD.given(&section) {
            problems.add(Some(section.span()), format!("[[connector]] has no password: {}", PASSWORD.remedy()));
        }
        let password = PASSWORD.read(&mut section, folder, problems);
        let autodiscover = section.string("autodiscover", problems).and_then(|given| {
            let url = address::url(&given.value, "https://lyncdiscover.contoso.com/");
            let text = |why| format!("`autodiscover` of [[connector]]: {why}");
            url.map_err(|why| problems.add(Some(given.span), text(why))).ok()
        });
        let mut trusted_hosts = Vec::new();
        for given in section.strings("trusted_hosts", problems).unwrap_or_default() {
            match parse_trusted_host(&given.value) {
                Ok(host) => trusted_hosts.push(host),
                Err(why) => problems.add(Some(given.span), format!("`trusted_hosts` of [[connector]]: {why}")),
            }
        }
        let ca_file = section
            .string("ca_file", problems)
            .map(|given| Placed { value: folder.join(given.value), span: given.span });
        let accept_from = section.strings("accept_from", problems).map(|list| {
            for given in &list {
                if let Err(error) = AcceptFrom::parse(std::slice::from_ref(&given.value)) {
                    problems.add(Some(given.span.clone()), format!("`accept_from` of [[connector]]: {error}"));
                }
            }
            list.into_iter().map(|given| given.value).collect()
        });
        let rejoin = section.boolean("rejoin", problems).unwrap_or(true);
        let leave_after = section.integer("leave_after_seconds", 0..=86_400, problems).unwrap_or(60);
        let activity = section.integer("activity_seconds", 10..=230, problems).unwrap_or(180);
        section.finish(&[PASSWORD.itself], problems);

        let (as_written, sign_in, domain) = address?;
        Some(UcwaConfig {
            source,
            username: username.map_or(as_written, |given| given.value),
            accept_from: accept_from.unwrap_or_else(|| vec![format!("*@{domain}")]),
            sign_in,
            domain,
            password: password?,
            autodiscover,
            trusted_hosts,
            ca_file,
            rejoin,
            leave_after: Duration::from_secs(leave_after),
            activity: Duration::from_secs(activity),
        })
    }

    /// Reads the secret and the certificate file. `None` if one is unusable, which is then among the problems.
    pub fn resolve(&self, notice: &str, env: Environment<'_>, problems: &mut Problems<'_>) -> Option<ResolvedUcwa> {
        let mut fail = |span: &Range<usize>, text: String| problems.add(Some(span.clone()), text);
        let password = PASSWORD.fetch(&self.password.value, env).map_err(|why| fail(&self.password.span, why)).ok();
        let ca_pem = match &self.ca_file {
            None => Some(None),
            Some(file) => certificate_file("ca_file", &file.value).map_err(|why| fail(&file.span, why)).ok().map(Some),
        };
        Some(ResolvedUcwa {
            source: self.source.clone(),
            sign_in: self.sign_in.clone(),
            domain: self.domain.clone(),
            username: self.username.clone(),
            password: password?,
            autodiscover: self.autodiscover.clone(),
            trusted_hosts: self.trusted_hosts.clone(),
            ca_pem: ca_pem?,
            accept_from: self.accept_from.clone(),
            rejoin: self.rejoin,
            leave_after: self.leave_after,
            activity: self.activity,
            notice: notice.to_owned(),
        })
    }
}

/// The address as written without `sip:`, the lower-case `sip:` URI, and its host in lower-case ASCII.
fn parse_sign_in(text: &str) -> Result<(String, String, String), &'static str> {
    const SHAPE: &str = "not an address; write for example \"sip:recorder@contoso.com\"";
    let text = text.trim();
    let scheme = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    let address = if scheme.is_some() { &text[4..] } else { text };
    let (user, domain) = address.split_once('@').ok_or(SHAPE)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | ':' | ';' | '?' | '/' | '<' | '>');
    if user.is_empty()
        || domain.is_empty()
        || address.matches('@').count() > 1
        || address.chars().any(|c| odd(c) && c != '@')
    {
        return Err(SHAPE);
    }
    let host = Host::parse(domain).map_err(|_| SHAPE)?.to_string();
    Ok((address.to_owned(), format!("sip:{}@{host}", user.to_lowercase()), host))
}

fn parse_trusted_host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let shown = text.escape_debug();
    let shape = || {
        format!(
            "`{shown}` is not a host; write a name, `*.contoso.com`, or an IP address, without scheme, port or path"
        )
    };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        return Ok(ip.to_string());
    }
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    if name.contains('*') {
        return Err(format!(
            "`{shown}`: `*` may only stand before a suffix, as in `*.contoso.com`; credentials must not go to any host there is"
        ));
    }
    match Host::parse(name) {
        Ok(Host::Domain(host)) if !name.contains([':', '/', '@', ' ']) => Ok(format!("{wildcard}{host}")),
        _ => Err(shape()),
    }
}
