//! The configuration file (INTERFACES §4): one type for the whole file, every problem reported with its place.
//!
//! Two steps, because they need different rights. [`Config::load`] reads and validates the file alone: that is enough
//! for verbs that read the archive, and they may run as a user who cannot read the secrets. [`Config::load_resolved`]
//! also reads secrets and certificate files, for the verbs that sign in; it reports the problems of both steps together.

pub mod address;
mod connector;
pub mod secrets;
mod section;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use connector::{ConnectorConfig, KINDS, Resolved, keys_folder};
pub use section::{Nearest, Placed, Problem, Problems, Section, nearest};

/// A commented sample of the file; the README shows it and a test parses it.
pub const SAMPLE: &str = include_str!("../greffier.sample.toml");

/// The whole file, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[archive]`.
    pub archive: ArchiveConfig,
    /// `[viewer]`.
    pub viewer: ViewerConfig,
    /// `[notice]`.
    pub notice: NoticeConfig,
    /// Every `[[connector]]`, in order.
    pub connectors: Vec<ConnectorConfig>,
}

/// `[archive]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// Folder of `archive.db` and `keys/`; a relative path starts at the file's folder. Default `archive`.
    pub directory: PathBuf,
}

impl ArchiveConfig {
    const DIRECTORY: &str = "archive";

    fn read(mut section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> Self {
        let directory = section.string("directory", problems).map_or_else(
            || Self::DIRECTORY.to_owned(),
            |given| {
                if given.value.trim().is_empty() {
                    problems.add(Some(given.span), "`directory` in [archive] is empty: name a folder");
                }
                given.value
            },
        );
        section.finish(&[], problems);
        ArchiveConfig { directory: folder.join(directory) }
    }
}

/// `[viewer]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerConfig {
    /// Loopback address of the HTTP listener; port 0 = any free port. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Names, besides those of loopback, under which the viewer answers; lower case, without a port.
    pub hosts: Vec<String>,
    /// The archive's time zone, in which readers see times until they choose another. Default UTC.
    pub zone: chrono_tz::Tz,
}

impl ViewerConfig {
    const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

    fn read(mut section: Section<'_>, problems: &mut Problems<'_>) -> Self {
        let listen = section.string("listen", problems).map(|given| match parse_listen(&given.value) {
            Ok(address) => address,
            Err(why) => {
                problems.add(Some(given.span), format!("`listen` in [viewer]: {why}"));
                Self::LISTEN
            }
        });
        let mut hosts = Vec::new();
        for given in section.strings("hosts", problems).unwrap_or_default() {
            let name = given.value.to_ascii_lowercase();
            if good_host(&name) {
                hosts.push(name);
            } else {
                let text = "`hosts` in [viewer] takes names alone, without scheme, port or path, for example \
                            \"archive.contoso.com\"";
                problems.add(Some(given.span), text);
            }
        }
        let zone = section.string("zone", problems).map_or(chrono_tz::Tz::UTC, |given| {
            given.value.parse().unwrap_or_else(|_| {
                let text =
                    "`zone` in [viewer] is no name of a time zone; write for example \"Europe/Berlin\" or \"UTC\"";
                problems.add(Some(given.span), text);
                chrono_tz::Tz::UTC
            })
        });
        section.finish(&[], problems);
        ViewerConfig { listen: listen.unwrap_or(Self::LISTEN), hosts, zone }
    }
}

/// A host name or an IPv4 address, as it stands in a `Host` header before the port.
fn good_host(name: &str) -> bool {
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.len() <= 253 && name.split('.').all(label)
}

/// Reads a listen address. This build speaks plain HTTP there, which the contract allows on loopback only.
///
/// # Errors
/// A text that says what is wrong and what to write instead.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "not an address and port; write for example 127.0.0.1:8080 or [::1]:8080".to_owned())?;
    if !address.ip().is_loopback() {
        return Err(
            "plain HTTP is served on loopback only; listen on 127.0.0.1 and put a TLS proxy in front".to_owned()
        );
    }
    Ok(address)
}

/// `[notice]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeConfig {
    /// What the recorder says on joining; empty = it says nothing. Default: see [`NoticeConfig::TEXT`].
    pub text: String,
}

impl NoticeConfig {
    /// The default notice.
    pub const TEXT: &str = "This conversation is being recorded and archived.";

    fn read(mut section: Section<'_>, problems: &mut Problems<'_>) -> Self {
        let text = section.string("text", problems).map_or_else(|| Self::TEXT.to_owned(), |given| given.value);
        section.finish(&[], problems);
        NoticeConfig { text }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "no configuration file at {}: write one (see `greffier serve --help`), or name it with --config FILE or \
         $GREFFIER_CONFIG",
        path.display()
    )]
    Absent {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says things that cannot be; one line each.
    #[error("{}", lines(path, problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem.place {
        Some((line, column)) => format!("{}:{line}:{column}: {}", path.display(), problem.text),
        None => format!("{}: {}", path.display(), problem.text),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Looks up an environment variable; a parameter so that tests need no real one.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads and validates the file, without secrets.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path)?;
        let mut problems = Problems::new(&text);
        let config = Config::parse(path, &text, &mut problems);
        finish(path, problems, config)
    }

    /// Reads and validates the file together with the secrets and certificates it names.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once, those of the secrets included.
    pub fn load_resolved(path: &Path, env: Environment<'_>) -> Result<(Config, Vec<Resolved>), ConfigError> {
        let text = read(path)?;
        let mut problems = Problems::new(&text);
        let config = Config::parse(path, &text, &mut problems);
        let resolved: Vec<Option<Resolved>> = config
            .connectors
            .iter()
            .map(|one| one.resolve(&config.notice.text, &config.archive.directory, env, &mut problems))
            .collect();
        let resolved: Option<Vec<Resolved>> = resolved.into_iter().collect();
        // Without problems every connector has resolved.
        finish(path, problems, (config, resolved.unwrap_or_default()))
    }

    fn parse(path: &Path, text: &str, problems: &mut Problems<'_>) -> Config {
        let (document, errors) = DeTable::parse_recoverable(text);
        let folder = path.parent().unwrap_or(Path::new(""));
        for error in &errors {
            // Only the message: the error's own display quotes the line, which may hold a secret.
            problems.add(error.span(), format!("not TOML: {}", error.message().replace('\n', ", ")));
        }
        let empty = DeTable::new();
        // After a syntax error what follows from the broken text would only mislead.
        let table = if errors.is_empty() { document.get_ref() } else { &empty };
        let mut top = Section::new(String::new(), table, 0..0);
        let none = |title: &str| Section::new(format!("[{title}]"), &empty, 0..0);

        let archive = top.section("archive", problems).unwrap_or_else(|| none("archive"));
        let archive = ArchiveConfig::read(archive, folder, problems);
        let viewer = top.section("viewer", problems).unwrap_or_else(|| none("viewer"));
        let viewer = ViewerConfig::read(viewer, problems);
        let notice = top.section("notice", problems).unwrap_or_else(|| none("notice"));
        let notice = NoticeConfig::read(notice, problems);
        let connectors = connector::read(top.sections("connector", problems), folder, problems);
        top.finish(&[], problems);
        Config { path: path.to_owned(), archive, viewer, notice, connectors }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Absent { path: path.to_owned() },
        _ => ConfigError::Read { path: path.to_owned(), source },
    })
}

fn finish<T>(path: &Path, problems: Problems<'_>, value: T) -> Result<T, ConfigError> {
    let problems = problems.into_list();
    if problems.is_empty() { Ok(value) } else { Err(ConfigError::Problems { path: path.to_owned(), problems }) }
}

/// A path as it can be pasted into a shell.
pub fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | ':' | '@');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
