//! Simulated platforms: servers on real sockets that act out scenarios, for tests, for `demo`, and for trying a configuration.
//!
//! The UCWA pool here is built from the protocol's documents and captures, and shares no type with the connector: a
//! misunderstanding that both shared would pass every test. It keeps a [`Ledger`] of what people said and did and of
//! what the recorder fetched and acknowledged, which is what an archive is compared with.
//!
//! State is plain data behind a lock (`pool`, `channel`, `conversation`, `roster`), answered by routes (`server`,
//! `commands`, `tickets`, `resources`), moved by a scenario (`scenario`, `play`) and spoiled by faults (`fault`);
//! `shell` and `http` hold the sockets.

mod channel;
mod commands;
mod conversation;
mod fault;
mod http;
mod ledger;
mod play;
mod pool;
mod resources;
mod roster;
mod scenario;
mod server;
mod shell;
pub mod teams;
mod text;
mod tickets;
pub mod ucwa;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::fault::{Effect, Fault, Target};
pub use self::ledger::{Entry, Fate, Happened, Ledger};
use self::pool::{Pool, Urls};
pub use self::scenario::{Detour, EMBEDDED, Parameters, Person, PoolOptions, Scenario, ScenarioError, Titles};
use self::server::Origin;
use self::shell::Shared;
pub use self::text::Encoding;
use crate::clock::{Clock, SystemClock};

/// Where a simulated pool listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the discovery origin; the pool origin takes the next port and a redirect target the one after. Port 0:
    /// any free ports.
    pub listen: SocketAddr,
    /// Host in the URLs that the pool hands out; default: the address listened on, `127.0.0.1` for all addresses.
    pub public_host: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), public_host: None }
    }
}

/// Why a simulated platform did not start or a scenario did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario's file cannot be read.
    #[error("cannot read scenario {path}: {source}; scenarios that come with the program: {known}")]
    Read {
        /// The path, or a name that is not known.
        path: String,
        /// The names that are known.
        known: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A step could not be played.
    #[error("the scenario stopped: {0}")]
    Stopped(String),
}

/// How a play stands: under way, or ended with its outcome.
type Outcome = Option<Result<(), String>>;

/// A pool that listens and plays a scenario. Dropping it shuts it down.
pub struct SimulatedPool {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Outcome>,
    autodiscover: String,
}

impl SimulatedPool {
    /// Listens, and starts to play the scenario.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub async fn start(options: Options, scenario: Scenario) -> Result<Self, SimulateError> {
        let single = scenario.pool.single_origin;
        let mut listeners = Vec::new();
        for (step, origin) in [(0, Origin::Front), (1, Origin::Pool), (2, Origin::Home)] {
            let wanted = match options.listen.port() {
                0 => 0,
                port => port.saturating_add(step),
            };
            if (origin == Origin::Home && scenario.pool.detour != scenario::Detour::User)
                || (origin == Origin::Pool && single)
            {
                continue;
            }
            let address = SocketAddr::new(options.listen.ip(), wanted);
            let listener =
                TcpListener::bind(address).await.map_err(|source| SimulateError::Listen { address, source })?;
            let bound = listener.local_addr().map_err(|source| SimulateError::Listen { address, source })?;
            listeners.push((origin, listener, bound));
        }
        let host = options.public_host.unwrap_or_else(|| match options.listen.ip() {
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        });
        let url = |wanted: Origin| {
            let bound = listeners.iter().find(|(origin, ..)| *origin == wanted).map(|(.., bound)| bound.port());
            bound.map(|port| format!("http://{host}:{port}"))
        };
        let front = url(Origin::Front).unwrap_or_default();
        let urls = Urls {
            home: url(Origin::Home).unwrap_or_else(|| front.clone()),
            pool: url(Origin::Pool).unwrap_or_else(|| front.clone()),
            front: front.clone(),
        };
        let wall_start_ms = SystemClock.now().millis();
        let shared = Shared::new(Pool::new(scenario.pool, scenario.cast, urls, wall_start_ms));
        for (origin, listener, bound) in listeners {
            shared.spawn(shell::listen(Arc::clone(&shared), origin, listener, bound));
        }
        shared.spawn(shell::keep_house(Arc::clone(&shared)));
        let (told, outcome) = watch::channel(None);
        let player = Arc::clone(&shared);
        shared.spawn(async move {
            let result = play::play(Arc::clone(&player), scenario.steps).await;
            player.with(|pool| match &result {
                Ok(()) => pool.tell("The scenario is over"),
                Err(why) => pool.tell(format!("The scenario stops: {why}")),
            });
            told.send_replace(Some(result));
        });
        Ok(SimulatedPool { shared, outcome, autodiscover: format!("{front}/") })
    }

    /// URL of the discovery root, for `autodiscover`.
    pub fn autodiscover_url(&self) -> &str {
        &self.autodiscover
    }

    /// Base URL of the pool origin, without a slash at the end.
    pub fn pool_url(&self) -> String {
        self.shared.look(|pool| pool.urls.pool.clone())
    }

    /// The recorder's sign-in address.
    pub fn sign_in(&self) -> String {
        self.shared.look(|pool| pool.options.sign_in.clone())
    }

    /// The recorder's user name.
    pub fn username(&self) -> String {
        self.shared.look(|pool| pool.options.username.clone())
    }

    /// The recorder's password.
    pub fn password(&self) -> String {
        self.shared.look(|pool| pool.options.password.clone())
    }

    /// A `[[connector]]` table that records from this pool; the password is to be put into the environment variable it names.
    pub fn config_snippet(&self) -> String {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let host = self.autodiscover.trim_start_matches("http://").rsplit_once(':').map_or("", |(host, _)| host);
        format!(
            "[[connector]]\nname = \"simulated\"\nkind = \"ucwa\"\nsign_in = {}\nusername = {}\npassword_env = \"GREFFIER_SIMULATED_PASSWORD\"\n\
             autodiscover = {}\ntrusted_hosts = [{}]\naccept_from = [\"*\"]\n",
            quote(&self.sign_in()),
            quote(&self.username()),
            quote(&self.autodiscover),
            quote(host),
        )
    }

    /// What the pool considers to have happened so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.look(|pool| pool.ledger.clone())
    }

    /// Breaks something.
    pub fn fail(&self, fault: Fault) {
        self.shared.with(|pool| pool.strike(fault));
    }

    /// Follows the narration from its beginning; nothing is skipped.
    pub fn events(&self) -> Narration {
        Narration { shared: Arc::clone(&self.shared), changes: self.shared.changes(), next: 0 }
    }

    /// Waits until the scenario has been played.
    ///
    /// # Errors
    /// A step could not be played, or waited in vain; the pool goes on listening all the same.
    pub async fn run_to_end(&self) -> Result<(), SimulateError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Ok(())).map_err(SimulateError::Stopped),
            Err(_) => Err(SimulateError::Stopped("the pool was shut down".to_owned())),
        }
    }

    /// Waits until the ledger satisfies `holds`; `false` when it does not within the time.
    pub async fn wait_ledger(&self, within: Duration, holds: impl Fn(&Ledger) -> bool) -> bool {
        self.shared.until(within, |pool| holds(&pool.ledger)).await
    }

    /// Stops listening and ends every task. Open connections are closed.
    pub fn shutdown(&self) {
        self.shared.stop.cancel();
    }
}

impl Drop for SimulatedPool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The pool's narration in plain words, line by line.
pub struct Narration {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    next: usize,
}

impl Narration {
    /// The next line; `None` when the pool was shut down and all was told.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            self.changes.borrow_and_update();
            if let Some(line) = self.shared.look(|pool| pool.narration.get(self.next).cloned()) {
                self.next += 1;
                return Some(line);
            }
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return None },
                () = self.shared.stop.cancelled() => return None,
            }
        }
    }
}
