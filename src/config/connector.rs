//! `[[connector]]`: what all kinds have in common, and which kinds there are.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Environment, Nearest, Problems, Section, nearest};
use crate::capture::Source;
use crate::connector::teams::config::{ResolvedTeams, TeamsConfig};
use crate::connector::ucwa::config::{ResolvedUcwa, UcwaConfig};

/// Kinds of connector this build can run.
pub const KINDS: &[&str] = &["ucwa", "teams"];

/// One `[[connector]]` as it stands in the file: validated, paths absolute, secrets not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorConfig {
    /// Skype for Business.
    Ucwa(Box<UcwaConfig>),
    /// Microsoft Teams.
    Teams(Box<TeamsConfig>),
}

/// What a connector works with: everything read and checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    /// Skype for Business.
    Ucwa(Box<ResolvedUcwa>),
    /// Microsoft Teams.
    Teams(Box<ResolvedTeams>),
}

impl ConnectorConfig {
    /// Name and kind.
    pub fn source(&self) -> &Source {
        match self {
            ConnectorConfig::Ucwa(one) => &one.source,
            ConnectorConfig::Teams(one) => &one.source,
        }
    }

    /// Reads secrets and certificate files. `None` if one is unusable, which is then among the problems. `archive` is
    /// the archive's directory.
    pub fn resolve(
        &self,
        notice: &str,
        archive: &Path,
        env: Environment<'_>,
        problems: &mut Problems<'_>,
    ) -> Option<Resolved> {
        match self {
            ConnectorConfig::Ucwa(one) => one.resolve(notice, env, problems).map(Box::new).map(Resolved::Ucwa),
            ConnectorConfig::Teams(one) => {
                one.resolve(notice, archive, env, problems).map(Box::new).map(Resolved::Teams)
            }
        }
    }
}

impl Resolved {
    /// Name and kind.
    pub fn source(&self) -> &Source {
        match self {
            Resolved::Ucwa(one) => &one.source,
            Resolved::Teams(one) => &one.source,
        }
    }
}

/// Folder of the key pairs of one connector: `<archive>/keys/<kind>-<name made safe>`. Other names give other folders.
pub fn keys_folder(archive: &Path, source: &Source) -> PathBuf {
    /// Longer names end in their hash: file systems take 255 bytes.
    const LONGEST: usize = 120;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Everything else is written in hexadecimal: some file systems take `A` for `a`, and none takes `/`.
    let bytes = source.connector.bytes();
    let mut name: String =
        bytes.map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("_{byte:02x}") }).collect();
    if name.len() > LONGEST {
        name.truncate(LONGEST - 66);
        name = format!("{name}__{}", hex(&Sha256::digest(source.connector.as_bytes())));
    }
    archive.join("keys").join(format!("{}-{name}", source.platform))
}

/// Reads every `[[connector]]`; one that cannot be used is among the problems and not in the list.
pub(super) fn read(sections: Vec<Section<'_>>, folder: &Path, problems: &mut Problems<'_>) -> Vec<ConnectorConfig> {
    let mut connectors = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for mut section in sections {
        let name = section.required("name", "a name of your choice, for example name = \"sfb\"", problems);
        if let Some(name) = &name {
            if !good_name(&name.value) {
                let text = "`name` of [[connector]] must be 1 to 64 characters without blanks at its ends or control characters";
                problems.add(Some(name.span.clone()), text);
            } else if names.contains(&name.value) {
                let text = format!("`name` of [[connector]]: `{}` is taken by another connector", name.value);
                problems.add(Some(name.span.clone()), text);
            }
            names.push(name.value.clone());
        }
        let remedy = "write kind = \"ucwa\" (Skype for Business) or kind = \"teams\" (Microsoft Teams)";
        let Some(kind) = section.required("kind", remedy, problems) else { continue };
        // Without a name the other keys are still read, for their problems.
        let connector = name.map(|name| name.value).unwrap_or_default();
        let source = Source { connector, platform: kind.value };
        match source.platform.as_str() {
            "ucwa" => {
                let one = UcwaConfig::read(source, section, folder, problems);
                connectors.extend(one.map(Box::new).map(ConnectorConfig::Ucwa));
            }
            "teams" => {
                let one = TeamsConfig::read(source, section, folder, problems);
                connectors.extend(one.map(Box::new).map(ConnectorConfig::Teams));
            }
            unknown => problems.add(Some(kind.span), unknown_kind(unknown)),
        }
    }
    connectors
}

fn good_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.chars().count() <= 64 && !name.chars().any(char::is_control)
}

fn unknown_kind(kind: &str) -> String {
    let kind = kind.escape_debug();
    match nearest(&kind.to_string(), KINDS) {
        Nearest::Meant(known) => format!("`kind` of [[connector]]: unknown kind `{kind}`; did you mean `{known}`?"),
        _ => format!("`kind` of [[connector]]: unknown kind `{kind}`; known: {}", KINDS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_a_folder_of_its_own_below_the_archive() {
        let folder = |name: &str| {
            let source = Source { connector: name.to_owned(), platform: "teams".to_owned() };
            keys_folder(Path::new("/a"), &source).display().to_string()
        };
        assert_eq!(folder("teams"), "/a/keys/teams-teams");
        assert_eq!(folder("../x"), "/a/keys/teams-_2e_2e_2fx");
        assert_ne!(folder("Teams"), folder("teams"));
        assert_ne!(folder("a_2f"), folder("a/"));
        let long = |last: &str| folder(&format!("{}{last}", "\u{1f4d6}".repeat(63)));
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() < 200);
    }
}
