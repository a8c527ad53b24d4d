//! The two simulated platforms of the demo: how they start, what they tell, and what they know to have been said.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::simulate::teams::{Change, SimulatedTenant, TeamsLedger, TeamsNarration, TeamsOptions};
use crate::simulate::{
    Fate, Happened, Ledger, Narration, Options, Parameters, SimulateError, SimulatedPool, teams, ucwa,
};

/// The name under which the configuration finds the simulated account's password.
const PASSWORD: &str = "GREFFIER_SIMULATED_PASSWORD";

/// The name under which it finds the secret of the simulated app registration.
const SECRET: &str = "GREFFIER_SIMULATED_SECRET";

/// A pool and a tenant that play beside one another.
pub(super) struct Stage {
    pool: SimulatedPool,
    tenant: SimulatedTenant,
    /// Where the recorder's webhooks shall listen.
    webhooks: SocketAddr,
}

impl Stage {
    pub(super) async fn start() -> anyhow::Result<Stage> {
        let webhooks = free_port().await?;
        let pool = SimulatedPool::start(Options::default(), ucwa::scenario("demo", &Parameters::new()).await?).await?;
        let options = TeamsOptions { callback: callback(webhooks), ..TeamsOptions::default() };
        let scenario = teams::scenario("teams-demo", &Parameters::new()).await?;
        let tenant = SimulatedTenant::start(options, scenario).await?;
        Ok(Stage { pool, tenant, webhooks })
    }

    /// The `[[connector]]` tables that record from both.
    pub(super) fn config(&self) -> String {
        let tenant = self.tenant.config_snippet(&callback(self.webhooks), self.webhooks);
        format!("{}\n{tenant}", self.pool.config_snippet())
    }

    /// The secrets that these tables name, by name.
    pub(super) fn secrets(&self) -> impl Fn(&str) -> Option<String> + use<> {
        let (password, secret) = (self.pool.password(), self.tenant.client_secret());
        move |name| match name {
            PASSWORD => Some(password.clone()),
            SECRET => Some(secret.clone()),
            _ => None,
        }
    }

    /// Where both are, a line each.
    pub(super) fn addresses(&self) -> String {
        format!("pool      {}\ntenant    {}", self.pool.autodiscover_url(), self.tenant.base_url())
    }

    /// What both tell, from the beginning.
    pub(super) fn narration(&self) -> StageNarration {
        StageNarration { pool: self.pool.events(), tenant: self.tenant.events() }
    }

    /// Waits until both scenarios have been played.
    pub(super) async fn run_to_end(&self) -> Result<(), SimulateError> {
        tokio::try_join!(self.pool.run_to_end(), self.tenant.run_to_end()).map(|((), ())| ())
    }

    /// Waits until the recorder has got what it can get, or so long.
    pub(super) async fn settle(&self, within: Duration) {
        tokio::join!(
            self.pool.wait_ledger(within, |ledger| {
                ledger.said().all(|entry| !matches!(entry.fate, Fate::Queued | Fate::Fetched))
            }),
            self.tenant.wait_ledger(within, TeamsLedger::all_taken),
            self.tenant.wait_delivered(within),
        );
    }

    /// How many messages of people in the tenant are not among these ids.
    pub(super) fn lacking(&self, recorded: &BTreeSet<String>) -> usize {
        lacking(&self.tenant.ledger(), recorded)
    }

    /// What was said on both platforms and what became of it, as sentences; `recorded` as in [`Stage::lacking`].
    pub(super) fn tally(&self, recorded: &BTreeSet<String>) -> Vec<String> {
        let mut lines = tally_pool(&self.pool.ledger());
        lines.extend(tally_tenant(&self.tenant.ledger(), recorded));
        lines
    }
}

/// The narrations of both, as they come.
pub(super) struct StageNarration {
    pool: Narration,
    tenant: TeamsNarration,
}

impl StageNarration {
    /// Who tells, and the next line; `None` when all was told by both. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<(&'static str, String)> {
        tokio::select! {
            Some(line) = self.pool.next() => Some(("pool", line)),
            Some(line) = self.tenant.next() => Some(("tenant", line)),
            else => None,
        }
    }
}

/// A port of 127.0.0.1 that was free a moment ago: the tenant must know where it sends to before the recorder listens.
async fn free_port() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on any port of 127.0.0.1")?;
    listener.local_addr().context("cannot read the listener's address")
}

fn callback(webhooks: SocketAddr) -> String {
    format!("http://{webhooks}")
}

/// Ids of what people said; not of what Teams or the recorder put into the chats.
fn said_in(ledger: &TeamsLedger) -> impl Iterator<Item = &str> {
    let messages = ledger.chats.values().flat_map(|chat| &chat.messages);
    messages.filter(|said| !said.ours && said.event.is_empty()).map(|said| said.id.as_str())
}

fn lacking(ledger: &TeamsLedger, recorded: &BTreeSet<String>) -> usize {
    said_in(ledger).filter(|id| !recorded.contains(*id)).count()
}

fn tally_pool(ledger: &Ledger) -> Vec<String> {
    let count = |fate: &[Fate]| ledger.said().filter(|entry| fate.contains(&entry.fate)).count();
    let mut lines = vec![format!(
        "Skype for Business: people said {} things; the recorder fetched and confirmed {}.",
        ledger.said().count(),
        count(&[Fate::Acknowledged]),
    )];
    let missed = count(&[Fate::NotOffered, Fate::Undelivered]);
    if missed > 0 {
        lines.push(format!(
            "{missed} of them came while it was not connected and cannot be recorded; each record says from when to when it is complete."
        ));
    }
    if ledger.conflicts > 0 && ledger.count(Happened::MessagingConnected) > 0 {
        lines.push(format!(
            "The pool answered addMessaging with 409 ({}×); the recorder asked again until it worked.",
            ledger.conflicts
        ));
    }
    lines
}

fn tally_tenant(ledger: &TeamsLedger, recorded: &BTreeSet<String>) -> Vec<String> {
    let said = said_in(ledger).count();
    let later = ledger.versions().filter(|(_, _, version)| version.change != Change::Sent).count();
    let mut lines = vec![format!(
        "Teams: people said {said} things, and edited, deleted or reacted {later} times; the archive has {} of the {said}.",
        said - lacking(ledger, recorded),
    )];
    if !ledger.all_taken() {
        lines.push("Some of it had not reached the recorder when this was counted.".to_owned());
    }
    lines
}
