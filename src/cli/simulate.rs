//! `greffier simulate`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::Exit;
use super::output::Out;
use super::signals::Signals;
use crate::config::parse_listen;
use crate::simulate::{Parameters, teams, ucwa};

/// Runs a simulated platform alone, for trying a configuration or watching a recorder fail
#[derive(Debug, Args)]
#[command(
    long_about = "Runs a simulated platform alone: a Skype for Business pool or a Microsoft tenant, and people who invite the \
recorder, talk, leave and break things as a scenario says. It prints the [[connector]] that records from it, then says in \
plain words what happens. It goes on listening when the scenario is over, until SIGINT or SIGTERM.

A scenario is a name (ucwa: demo, seed-409, quiet, burst, many; teams: teams-demo, quiet, burst, policy) or a TOML file; \
docs/SCENARIOS.md describes them."
)]
#[command(after_long_help = "Examples:
  greffier simulate ucwa --listen 127.0.0.1:8090 --scenario seed-409
  greffier simulate ucwa --listen 127.0.0.1:8090 --scenario burst --set messages=500
  greffier simulate ucwa --scenario ./my-scenario.toml
  greffier simulate teams --listen 127.0.0.1:8095 --scenario teams-demo --callback http://127.0.0.1:8443

Then, in another terminal, with the printed [[connector]] in greffier.toml:
  GREFFIER_SIMULATED_PASSWORD=… greffier serve        (teams: GREFFIER_SIMULATED_SECRET=…)")]
pub(super) struct Simulate {
    /// Which platform
    #[arg(value_enum)]
    platform: Platform,

    /// Loopback address: of discovery (ucwa), whose other origins take the next ports; of everything (teams)
    #[arg(long, value_name = "ADDR", value_parser = parse_listen, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// What happens: a name or a file [default: demo, or teams-demo]
    #[arg(long, value_name = "FILE|NAME")]
    scenario: Option<String>,

    /// callback_url of the recorder: where a tenant sends its notifications (teams)
    #[arg(long, value_name = "URL", value_parser = callback, default_value = "http://127.0.0.1:8443")]
    callback: url::Url,

    /// Gives a parameter of the scenario another value; may be repeated
    #[arg(long = "set", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, u64)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Platform {
    /// Skype for Business Server, UCWA 2.0
    Ucwa,
    /// Microsoft Teams: login, Graph, calls and chats
    Teams,
}

fn callback(text: &str) -> Result<url::Url, &'static str> {
    url::Url::parse(text).ok().filter(|u| u.has_host()).ok_or("write an address such as http://127.0.0.1:8443")
}

fn parameter(text: &str) -> Result<(String, u64), &'static str> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    Ok((name.to_owned(), number.parse().map_err(|_| "the value must be a whole number")?))
}

impl Simulate {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let runtime = super::runtime()?;
        let mut out = Out::new();
        runtime.block_on(async {
            match self.platform {
                Platform::Ucwa => self.pool(&mut out).await,
                Platform::Teams => self.tenant(&mut out).await,
            }
        })?;
        runtime.shutdown_background();
        out.finish()?;
        Ok(Exit::Done)
    }

    async fn pool(self, out: &mut Out) -> anyhow::Result<()> {
        let mut signals = Signals::watch()?;
        let parameters: Parameters = self.parameters.into_iter().collect();
        let scenario = self.scenario.as_deref().unwrap_or("demo");
        let pool = ucwa::serve(self.listen, scenario, &parameters).await?;
        out.line(&format!("# a simulated pool listens on {}; record from it with", pool.autodiscover_url()))?;
        out.line("")?;
        out.line(&pool.config_snippet())?;
        say_secret(out, "GREFFIER_SIMULATED_PASSWORD", &pool.password())?;
        let mut narration = pool.events();
        loop {
            let line = tokio::select! {
                line = narration.next() => line,
                name = signals.next() => {
                    tracing::info!("{name}: closing the pool");
                    break;
                }
            };
            let Some(line) = line else { break };
            out.line(&line)?;
            out.flush()?;
        }
        pool.shutdown();
        Ok(())
    }

    async fn tenant(self, out: &mut Out) -> anyhow::Result<()> {
        let mut signals = Signals::watch()?;
        let parameters: Parameters = self.parameters.into_iter().collect();
        let scenario = teams::scenario(self.scenario.as_deref().unwrap_or("teams-demo"), &parameters).await?;
        let callback = self.callback.as_str().trim_end_matches('/').to_owned();
        let options = teams::TeamsOptions { listen: self.listen, callback: callback.clone() };
        let tenant = teams::SimulatedTenant::start(options, scenario).await?;
        out.line(&format!("# a simulated tenant listens on {}; record from it with", tenant.base_url()))?;
        out.line("")?;
        let port = self.callback.port_or_known_default().unwrap_or(8443);
        out.line(&tenant.config_snippet(&callback, SocketAddr::from(([127, 0, 0, 1], port))))?;
        say_secret(out, "GREFFIER_SIMULATED_SECRET", &tenant.client_secret())?;
        let mut narration = tenant.events();
        loop {
            let line = tokio::select! {
                line = narration.next() => line,
                name = signals.next() => {
                    tracing::info!("{name}: closing the tenant");
                    break;
                }
            };
            let Some(line) = line else { break };
            out.line(&line)?;
            out.flush()?;
        }
        tenant.shutdown();
        Ok(())
    }
}

/// The command that starts the recorder with the secret in its environment.
fn say_secret(out: &mut Out, variable: &str, secret: &str) -> anyhow::Result<()> {
    let secret = secret.replace('\'', r"'\''");
    out.line(&format!("# {variable}='{secret}' greffier serve"))?;
    out.line("")?;
    out.flush()?;
    Ok(())
}
