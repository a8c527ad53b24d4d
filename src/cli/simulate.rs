//! `greffier simulate`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::Exit;
use super::output::Out;
use super::signals::Signals;
use crate::config::parse_listen;
use crate::simulate::{Parameters, ucwa};

/// Runs a simulated platform alone, for trying a configuration or watching a recorder fail
#[derive(Debug, Args)]
#[command(
    long_about = "Runs a simulated platform alone: several origins, tickets, an event channel, and people who invite the \
recorder, talk, leave and break things as a scenario says. It prints the [[connector]] that records from it, then says in \
plain words what happens. It goes on listening when the scenario is over, until SIGINT or SIGTERM.

A scenario is a name (demo, seed-409, quiet, burst, many) or a TOML file; docs/SCENARIOS.md describes them."
)]
#[command(after_long_help = "Examples:
  greffier simulate ucwa --listen 127.0.0.1:8090 --scenario seed-409
  greffier simulate ucwa --listen 127.0.0.1:8090 --scenario burst --set messages=500
  greffier simulate ucwa --scenario ./my-scenario.toml

Then, in another terminal, with the printed [[connector]] in greffier.toml:
  GREFFIER_SIMULATED_PASSWORD=… greffier serve")]
pub(super) struct Simulate {
    /// Which platform
    #[arg(value_enum)]
    platform: Platform,

    /// Loopback address of discovery; the pool's other origins take the next ports
    #[arg(long, value_name = "ADDR", value_parser = parse_listen, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// What happens: a name or a file
    #[arg(long, value_name = "FILE|NAME", default_value = "demo")]
    scenario: String,

    /// Gives a parameter of the scenario another value; may be repeated
    #[arg(long = "set", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, u64)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Platform {
    /// Skype for Business Server, UCWA 2.0
    Ucwa,
}

fn parameter(text: &str) -> Result<(String, u64), &'static str> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    Ok((name.to_owned(), number.parse().map_err(|_| "the value must be a whole number")?))
}

impl Simulate {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let runtime = super::runtime()?;
        let Platform::Ucwa = self.platform;
        let parameters: Parameters = self.parameters.into_iter().collect();
        let mut out = Out::new();
        runtime.block_on(async {
            let mut signals = Signals::watch()?;
            let pool = ucwa::serve(self.listen, &self.scenario, &parameters).await?;
            out.line(&format!("# a simulated pool listens on {}; record from it with", pool.autodiscover_url()))?;
            out.line("")?;
            out.line(&pool.config_snippet())?;
            let password = pool.password().replace('\'', r"'\''");
            out.line(&format!("# GREFFIER_SIMULATED_PASSWORD='{password}' greffier serve"))?;
            out.line("")?;
            out.flush()?;
            let mut narration = pool.events();
            loop {
                tokio::select! {
                    line = narration.next() => match line {
                        Some(line) => out.line(&line)?,
                        None => break,
                    },
                    name = signals.next() => {
                        tracing::info!("{name}: closing the pool");
                        break;
                    }
                }
                out.flush()?;
            }
            pool.shutdown();
            anyhow::Ok(())
        })?;
        runtime.shutdown_background();
        out.finish()?;
        Ok(Exit::Done)
    }
}
