//! The `[[connector]]` table of kind `ucwa` (INTERFACES §4): as it stands in the file, and with its secrets read.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::http::Secret;
use crate::capture::Source;
use crate::capture::policy::AcceptFrom;
use crate::config::{Environment, Placed, Problems, Section, shell_quoted};

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
    pub password: Placed<PasswordFrom>,
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

/// Where a password comes from; never from the configuration file itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordFrom {
    /// A file of mode 0600 or stricter; one trailing newline is not part of the password.
    File(PathBuf),
    /// An environment variable.
    Env(String),
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

const PASSWORD_REMEDY: &str = "put the password into a file of mode 0600 and name that with `password_file`, or name \
                               an environment variable with `password_env`";

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
        let password = read_password(&mut section, folder, problems);
        let autodiscover = section.string("autodiscover", problems).and_then(|given| {
            let url = parse_url(&given.value);
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
        section.refuse("password", PASSWORD_REMEDY, problems);
        section.finish(&["password"], problems);

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
        let password = match &self.password.value {
            PasswordFrom::File(path) => secret_from_file(path),
            PasswordFrom::Env(name) => secret_from_env(name, env),
        };
        let password = password.map_err(|why| fail(&self.password.span, why)).ok();
        let ca_pem = match &self.ca_file {
            None => Some(None),
            Some(file) => read_ca(&file.value).map_err(|why| fail(&file.span, why)).ok().map(Some),
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

fn parse_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL; write for example \"https://lyncdiscover.contoso.com/\"")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("the URL names no host"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user name or password in it; secrets do not belong into this file");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("plain http:// is accepted to loopback addresses only; write https://"),
        _ => Err("must be an https:// URL"),
    }
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

fn read_password(
    section: &mut Section<'_>,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Option<Placed<PasswordFrom>> {
    let (span, refused) = (section.span(), section.has("password"));
    let file = section.string("password_file", problems);
    let env = section.string("password_env", problems);
    match (file, env) {
        (Some(_), Some(env)) => {
            problems.add(Some(env.span), "`password_file` and `password_env` are both given; keep one of them");
            None
        }
        (Some(file), None) => Some(Placed { value: PasswordFrom::File(folder.join(file.value)), span: file.span }),
        (None, Some(env)) => {
            // Not echoed: people put the password itself here.
            let name = &env.value;
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(is_env_byte) {
                let text = "`password_env` must be the name of an environment variable, for example \"SFB_PASSWORD\"";
                problems.add(Some(env.span), text);
                return None;
            }
            Some(Placed { value: PasswordFrom::Env(env.value), span: env.span })
        }
        (None, None) => {
            // A `password` key is refused with the remedy in its own words; a wrong type has been reported as well.
            if !refused && !section.has("password_file") && !section.has("password_env") {
                problems.add(Some(span), format!("[[connector]] has no password: {PASSWORD_REMEDY}"));
            }
            None
        }
    }
}

fn is_env_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn secret_from_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("`password_file`: cannot read {shown}: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() {
        return Err(format!("`password_file`: {shown} is not a file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o177 != 0 {
            return Err(format!(
                "`password_file`: {shown} has mode {mode:04o} and may be read by others; run: chmod 600 {}",
                shell_quoted(path)
            ));
        }
    }
    let mut text = String::new();
    // A password is short; a device or a huge file is a mistake.
    std::io::Read::read_to_string(&mut std::io::Read::take(file, 64 * 1024), &mut text).map_err(cannot)?;
    let text = zeroize::Zeroizing::new(text);
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if secret.is_empty() {
        return Err(format!("`password_file`: {shown} is empty; write the password into it"));
    }
    Ok(Secret::new(secret.to_owned()))
}

fn secret_from_env(name: &str, env: Environment<'_>) -> Result<Secret, String> {
    match env(name) {
        Some(text) if !text.is_empty() => Ok(Secret::new(text)),
        Some(_) => {
            Err("the environment variable named by `password_env` is empty; put the password into it".to_owned())
        }
        None => Err("the environment variable named by `password_env` is not set (or not UTF-8); set it where \
                     greffier is started"
            .to_owned()),
    }
}

/// Reads a PEM file and makes sure that it holds certificates, all of them whole.
fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    use base64::Engine;
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("`ca_file`: cannot read {shown}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut count = 0;
    for block in text.split(BEGIN).skip(1) {
        let body: String = block
            .split("-----END CERTIFICATE-----")
            .next()
            .unwrap_or("")
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        let der = base64::engine::general_purpose::STANDARD.decode(&body).unwrap_or_default();
        if !block.contains("-----END CERTIFICATE-----") || der.first() != Some(&0x30) {
            return Err(format!("`ca_file`: certificate {} in {shown} is damaged", count + 1));
        }
        count += 1;
    }
    if count == 0 {
        return Err(format!("`ca_file`: {shown} holds no certificate; a PEM file with `{BEGIN}` is needed"));
    }
    Ok(bytes)
}
