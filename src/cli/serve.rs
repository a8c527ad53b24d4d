//! `greffier serve`.

use anyhow::Context as _;
use clap::Args;
use sd_notify::NotifyState;

use super::recorder::Recorder;
use super::signals::Signals;
use super::{Exit, Globals, connectors};
use crate::archive::ArchiveError;
use crate::archive::lock::Lock;
use crate::config::Config;
use crate::viewer;

/// Records: runs every connector and the viewer's address until SIGINT or SIGTERM
#[derive(Debug, Args)]
#[command(
    long_about = "Records: opens the archive, signs in with every connector, takes the invitations that accept_from \
admits, keeps the search index, and shows the archive on the viewer's address, with /healthz, /readyz and /metrics beside it. Logs \
go to standard error.

It stays up when a pool is unreachable or a password is wrong: /readyz and the log say so, and it tries again. SIGINT or \
SIGTERM makes it leave every conversation, sign the log and end within 10 seconds; a second signal ends it at once. What \
has been acknowledged to a platform is on disk, however it ends."
)]
#[command(after_long_help = "Examples:
  greffier serve
  greffier --config /etc/greffier/greffier.toml --log-format json serve
  RUST_LOG=greffier=debug greffier serve

The least configuration, in greffier.toml:
  [[connector]]
  name = \"sfb\"
  kind = \"ucwa\"
  sign_in = \"sip:recorder@contoso.com\"
  password_file = \"secrets/sfb\"      # chmod 600

Under systemd use Type=notify; readiness, stopping and the watchdog are reported.")]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let (config, resolved) = Config::load_resolved(&globals.config_path(), connectors::ENVIRONMENT)?;
        let runtime = super::runtime()?;
        let served = runtime.block_on(serve(&config, resolved.into_iter().map(connectors::supervised).collect()));
        // Whatever a connector still does in a blocking thread shall not hold up the end.
        runtime.shutdown_background();
        served.map(|()| Exit::Done)
    }
}

async fn serve(config: &Config, connectors: Vec<crate::capture::supervise::Supervised>) -> anyhow::Result<()> {
    let mut signals = Signals::watch()?;
    let listener = match tokio::net::TcpListener::bind(config.viewer.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            // Both the address and the archive are taken when the same recorder runs already: name that one.
            if let Err(locked @ ArchiveError::Locked { .. }) = Lock::take(&config.archive.directory) {
                return Err(locked.into());
            }
            let what = format!("cannot listen on {}; choose another `listen` in [viewer]", config.viewer.listen);
            return Err(anyhow::Error::new(error).context(what));
        }
    };
    let names: Vec<String> = connectors.iter().map(|one| one.source.connector.clone()).collect();
    let address = listener.local_addr().context("cannot read the listener's address")?;
    let options =
        viewer::Options { hosts: config.viewer.hosts.clone(), zone: config.viewer.zone, ..viewer::Options::default() };
    let recorder = Recorder::start(&config.archive.directory, connectors, Some(listener), options)?;
    tracing::info!("archive in {}", config.archive.directory.display());
    match names.as_slice() {
        [] => tracing::warn!(
            "no connector is configured: nothing is recorded; add a [[connector]] to {}",
            config.path.display()
        ),
        names => tracing::info!("connectors: {}", names.join(", ")),
    }
    tracing::info!(viewer.listen = %address, "listening on http://{address}/ for the viewer, /healthz /readyz /metrics");
    notify(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled();

    let failed = loop {
        let half = watchdog.map_or(std::time::Duration::from_secs(3600), |limit| limit / 2);
        tokio::select! {
            name = signals.next() => {
                tracing::info!("{name}: leaving every conversation; a second signal ends at once");
                break None;
            }
            error = recorder.failure() => {
                tracing::error!(%error, "recording cannot go on; stopping");
                break Some(error);
            }
            () = tokio::time::sleep(half) => {
                if watchdog.is_some() && recorder.vitals().writer_lives() {
                    notify(&[NotifyState::Watchdog]);
                }
            }
        }
    };
    notify(&[NotifyState::Stopping]);
    signals.next_one_kills();
    let stopped = recorder.stop().await;
    match failed {
        Some(error) => Err(error),
        None => {
            stopped?;
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// Without systemd there is nobody to tell, and a supervisor that cannot be told must not stop the recorder.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
