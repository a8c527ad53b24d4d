//! `greffier demo`.

mod stage;
mod story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::recorder::Recorder;
use super::signals::Signals;
use super::{Exit, connectors};
use crate::archive::Layout;
use crate::capture::supervise::Supervised;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, parse_listen};
use crate::viewer;
use stage::Stage;
use story::Story;

/// How long the recorder may take to fetch what was said last.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// Shows the whole thing: a simulated pool and tenant, the real recorder, a real archive
#[derive(Debug, Args)]
#[command(
    long_about = "Shows the whole thing on this machine alone: a simulated Skype for Business pool and a simulated Microsoft \
tenant on loopback act out meetings and chats side by side; the real recorder is invited to both, joins, says that it records, \
and captures them through real sockets into one real archive, which a browser can watch at the address it tells. In Teams a \
recording policy calls the recorder, and messages are edited and deleted; on the pool a break of the network leaves its gap on \
record. At the end it lists the conversations, verifies the archive, and says what to try next.

Nothing leaves the machine. The archive stays where it says; delete the folder when you are done."
)]
#[command(after_long_help = "Examples:
  greffier demo
  greffier demo --exit-when-done
  greffier demo --data /tmp/greffier --listen 127.0.0.1:9000

It stays up when both scenarios are over, until Ctrl-C, unless --exit-when-done is given.")]
pub(super) struct Demo {
    /// Loopback address of the viewer [default: 127.0.0.1:8080, or any free port if that is taken]
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    listen: Option<SocketAddr>,

    /// Folder for the archive [default: a fresh one below ./greffier-demo]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// End as soon as both scenarios have been played and recorded
    #[arg(long)]
    exit_when_done: bool,
}

/// How the play came to its end.
enum Ended {
    Played,
    Stopped(String),
    Interrupted,
}

impl Demo {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let dir = match &self.data {
            Some(dir) => dir.clone(),
            None => Path::new("greffier-demo").join(SystemClock.now().to_chrono().format("%Y%m%d-%H%M%S").to_string()),
        };
        anyhow::ensure!(
            !Layout::of(&dir).database.exists(),
            "{0} holds an archive already: name a fresh folder with --data, or look at it with: greffier list --archive {0}",
            dir.display(),
        );
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make folder {}", dir.display()))?;
        let runtime = super::runtime()?;
        let exit = runtime.block_on(self.play(&dir));
        runtime.shutdown_background();
        exit
    }

    async fn play(&self, dir: &Path) -> anyhow::Result<Exit> {
        let mut signals = Signals::watch()?;
        let stage = Stage::start().await?;
        let listener = listen(self.listen).await?;
        let address = listener.local_addr().context("cannot read the listener's address")?;
        let recorder = Recorder::start(dir, configure(dir, &stage)?, Some(listener), viewer::Options::default())?;
        let mut story = Story::begin(dir, &stage, &recorder);
        story.say(&format!(
            "A simulated Skype for Business pool and a simulated Microsoft tenant play on this machine; the real recorder\n\
             signs in to both and records.\n\
             {}\n\
             archive   {}\n\
             viewer    http://{address}/ (also /healthz, /readyz and /metrics)\n",
            stage.addresses(),
            dir.display(),
        ))?;

        let played = async {
            tokio::select! {
                played = stage.run_to_end() => match played {
                    Ok(()) => Ended::Played,
                    Err(error) => Ended::Stopped(error.to_string()),
                },
                _ = signals.next() => Ended::Interrupted,
            }
        };
        let ended = story.follow(&recorder, Box::pin(played)).await?;
        if matches!(ended, Ended::Played) {
            story.catch_up(&recorder, &stage, CATCHING_UP).await?;
        }
        let stays = matches!(ended, Ended::Played) && !self.exit_when_done;
        if stays {
            // The audit holds the log against its signatures; the first round of them may be yet to come.
            recorder.sign().await?;
            story.sum_up(&stage)?;
            story.say(&format!("\nStill recording, still showing it at http://{address}/. Ctrl-C ends."))?;
            story.follow(&recorder, Box::pin(signals.next())).await?;
        }
        signals.next_one_kills();
        story.say("\nThe recorder leaves its conversations and signs the log.")?;
        story.put_down();
        recorder.stop().await?;
        let exit = if stays { Exit::Done } else { story.sum_up(&stage)? };
        let lacking = story.lacking(&stage);
        story.finish()?;
        match ended {
            Ended::Played => match lacking {
                0 => Ok(exit),
                some => anyhow::bail!("demo: {some} messages of the tenant are not in the archive"),
            },
            Ended::Stopped(why) => anyhow::bail!("demo: {why}"),
            Ended::Interrupted if self.exit_when_done => {
                anyhow::bail!("demo: interrupted before the scenario was over")
            }
            Ended::Interrupted => Ok(exit),
        }
    }
}

/// Writes the configuration that records from both platforms, and reads it the way `serve` does.
fn configure(dir: &Path, stage: &Stage) -> anyhow::Result<Vec<Supervised>> {
    let path = dir.join("greffier.toml");
    let text = format!(
        "# Made by `greffier demo`; its pool and its tenant were gone when the demo ended.\n[archive]\ndirectory = \".\"\n\n{}",
        stage.config()
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let (_, resolved) = Config::load_resolved(&path, &stage.secrets())?;
    Ok(resolved.into_iter().map(connectors::supervised).collect())
}

async fn listen(asked: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = asked {
        return TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"));
    }
    match TcpListener::bind("127.0.0.1:8080").await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind("127.0.0.1:0").await.context("cannot listen on any port of 127.0.0.1"),
    }
}
