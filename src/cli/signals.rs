//! SIGINT and SIGTERM: the first asks to stop, the second ends at once.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, watched from the moment this exists.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Signals that come this soon after another are the same wish: `timeout` and shells signal the process and then its group.
const SAME_WISH: Duration = Duration::from_millis(2);

impl Signals {
    /// Starts watching. Must be called within a tokio runtime, before anything that needs an orderly end is started.
    pub(super) fn watch() -> anyhow::Result<Signals> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
        Ok(Signals { interrupt, terminate })
    }

    /// Waits for the next of them and says which. What comes together with it is the same wish and counts once.
    pub(super) async fn next(&mut self) -> &'static str {
        let name = self.one().await;
        tokio::time::sleep(SAME_WISH).await;
        while tokio::time::timeout(Duration::ZERO, self.one()).await.is_ok() {}
        name
    }

    async fn one(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// From now on a further signal ends the process at once, whatever hangs.
    pub(super) fn next_one_kills(mut self) {
        tokio::spawn(async move {
            let name = self.one().await;
            tracing::warn!("{name} again: ending at once");
            end_at_once();
        });
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the one way out that nothing hanging can hold up")]
fn end_at_once() -> ! {
    std::process::exit(130)
}

/// While this lives, SIGINT and SIGTERM clean up before they end the process.
pub(super) struct OnInterrupt {
    runtime: Option<tokio::runtime::Runtime>,
}

/// Makes SIGINT and SIGTERM call `clean_up` and then end the process, for verbs that block.
pub(super) fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> anyhow::Result<OnInterrupt> {
    let runtime = super::runtime()?;
    let mut signals = runtime.block_on(async { Signals::watch() })?;
    runtime.spawn(async move {
        signals.next().await;
        clean_up();
        end_at_once();
    });
    Ok(OnInterrupt { runtime: Some(runtime) })
}

impl Drop for OnInterrupt {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
