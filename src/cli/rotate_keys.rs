//! `greffier rotate-keys`.

use clap::Args;

use super::output::{Out, counted};
use super::{Exit, Globals};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConnectorConfig, Nearest, keys_folder, nearest};
use crate::connector::teams::seal::KeyStore;

/// Makes a new key pair for encrypted notifications; a running `serve` takes it up
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a new key pair for the encrypted notifications of a Teams connector. A running `serve` takes it up \
within 10 seconds: it gives the new certificate to every subscription. Old key pairs stay and go on opening what was sealed \
for them; do not delete them, and back the folder up. Without this verb a new pair is made every `key_rotation_days`."
)]
#[command(after_long_help = "Examples:
  greffier rotate-keys teams
  greffier --config /etc/greffier/greffier.toml rotate-keys teams

Run it as the account that `serve` runs as, so that `serve` can read the new file.")]
pub(super) struct RotateKeys {
    /// Name of the connector, as in the configuration
    #[arg(value_name = "CONNECTOR")]
    connector: String,
}

impl RotateKeys {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let config = Config::load(&globals.config_path())?;
        let source = match find(&config.connectors, &self.connector)? {
            ConnectorConfig::Teams(one) => &one.source,
            other => anyhow::bail!(
                "connector `{}` is of kind {}, which has no key pairs; only teams has",
                other.source().connector,
                other.source().platform
            ),
        };
        let folder = keys_folder(&config.archive.directory, source);
        let now = SystemClock.now();
        // Opening a folder without any makes the first pair: that one is new enough.
        let was_there = folder.exists();
        let mut store = KeyStore::open(&folder, now)?;
        if was_there {
            store.rotate(now)?;
        }
        let mut out = Out::new();
        for problem in store.problems() {
            super::remark(&format!("{} {}", problem.path.display(), problem.text));
        }
        out.line(&format!(
            "{}: new key pair {} in {}; {} can open notifications",
            source.connector,
            store.current().id(),
            folder.display(),
            counted(store.len() as u64, "pair")
        ))?;
        out.finish()?;
        Ok(Exit::Done)
    }
}

/// The connector of this name.
fn find<'c>(connectors: &'c [ConnectorConfig], name: &str) -> anyhow::Result<&'c ConnectorConfig> {
    if let Some(found) = connectors.iter().find(|one| one.source().connector == name) {
        return Ok(found);
    }
    let names: Vec<&str> = connectors.iter().map(|one| one.source().connector.as_str()).collect();
    let shown = name.escape_debug();
    match nearest(name, &names) {
        Nearest::Meant(known) => anyhow::bail!("there is no connector `{shown}`; did you mean `{known}`?"),
        Nearest::Far(_) => anyhow::bail!("there is no connector `{shown}`; configured: {}", names.join(", ")),
        Nearest::None => anyhow::bail!("there is no connector `{shown}`; none is configured"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::telemetry::LogFormat;

    const TEAMS: &str = "[[connector]]\nname = \"teams\"\nkind = \"teams\"\n\
                         tenant_id = \"11111111-1111-4111-8111-111111111111\"\n\
                         client_id = \"22222222-2222-4222-8222-222222222222\"\nclient_secret_env = \"X\"\n\
                         callback_url = \"https://recorder.contoso.com\"\n\
                         [[connector]]\nname = \"sfb\"\nkind = \"ucwa\"\nsign_in = \"r@c.de\"\npassword_env = \"P\"\n";

    fn rotate(folder: &Path, connector: &str) -> Result<(), String> {
        let config: PathBuf = folder.join("greffier.toml");
        std::fs::write(&config, TEAMS).expect("written");
        let globals = Globals { config: Some(config), log_format: LogFormat::default() };
        let verb = RotateKeys { connector: connector.to_owned() };
        verb.run(&globals).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_run_adds_one_pair_and_keeps_the_old_ones_without_any_secret_at_hand() {
        let dir = tempfile::tempdir().expect("folder");
        let keys = dir.path().join("archive/keys/teams-teams");
        for count in 1..=3 {
            rotate(dir.path(), "teams").expect("rotated");
            assert_eq!(std::fs::read_dir(&keys).expect("folder").count(), count);
        }
        #[cfg(unix)]
        for folder in ["archive", "archive/keys", "archive/keys/teams-teams"] {
            let found = std::fs::metadata(dir.path().join(folder)).expect("folder");
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777, 0o700, "{folder}");
        }
    }

    #[test]
    fn a_wrong_name_or_kind_is_told_what_there_is() {
        let dir = tempfile::tempdir().expect("folder");
        let says = |name: &str| rotate(dir.path(), name).expect_err(name);
        assert_eq!(says("temas"), "there is no connector `temas`; did you mean `teams`?");
        assert_eq!(says("x"), "there is no connector `x`; configured: teams, sfb");
        assert_eq!(says("sfb"), "connector `sfb` is of kind ucwa, which has no key pairs; only teams has");
    }
}
