//! The simulated Microsoft tenant: login, Graph, bot connector and the senders of notifications, built from the
//! protocol's documents and samples, without a type shared with the connector.
//!
//! State is plain data behind a lock (`tenant`, `chat`, `call`, `subscription`); requests are answered by `server`,
//! `login` and `graph`; what people do comes from `act` (a scenario's `steps`, or a test); `outbox` and `shell` send
//! notifications, `fault` spoils them; `ledger` is what an archive is compared with.

mod act;
mod activity;
mod budget;
mod call;
mod call_json;
mod cast;
mod chat;
mod encrypt;
mod fault;
mod graph;
mod keys;
mod ledger;
mod login;
mod options;
mod outbox;
mod play;
mod request;
mod roster;
mod scenario;
mod server;
mod shell;
mod speech;
mod steps;
mod subscription;
mod tenant;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::act::Act;
pub use self::call::{CallKind, Invite};
pub use self::cast::{Kind, Member};
pub use self::chat::ChatKind;
pub use self::fault::{Effect, Fault, Spoiled};
pub use self::keys::{BadToken, Signer};
pub use self::ledger::{
    Asked, CallRecord, Change, ChatRecord, Delivery, Path, RosterChange, RosterEntry, Said, TeamsLedger, Version,
};
pub use self::options::TenantOptions;
pub use self::scenario::{EMBEDDED, TeamsScenario};
use self::server::Origin;
use self::shell::Shared;
pub use self::speech::Words;
use self::tenant::{Tenant, Urls};
use super::{Outcome, Parameters, SimulateError};
use crate::clock::{Clock, SystemClock};

/// Where a simulated tenant listens, and where the recorder does.
#[derive(Clone, Debug)]
pub struct TeamsOptions {
    /// Address of everything: login, Graph, key sets, bot connector. Port 0: any free one.
    pub listen: SocketAddr,
    /// `callback_url` of the recorder, to which notifications go.
    pub callback: String,
}

impl Default for TeamsOptions {
    fn default() -> Self {
        TeamsOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            callback: "http://127.0.0.1:8443".to_owned(),
        }
    }
}

/// Reads a scenario: the name of one that comes with the program, or else a file.
///
/// # Errors
/// No such file and no such name, or the scenario is wrong.
pub async fn scenario(name_or_file: &str, parameters: &Parameters) -> Result<TeamsScenario, SimulateError> {
    if let Some(embedded) = TeamsScenario::embedded(name_or_file, parameters) {
        return Ok(embedded?);
    }
    let read = tokio::fs::read_to_string(name_or_file).await;
    let text = read.map_err(|source| SimulateError::Read {
        path: name_or_file.to_owned(),
        known: EMBEDDED.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
        source,
    })?;
    Ok(TeamsScenario::parse(&text, parameters)?)
}

/// A tenant that listens and plays a scenario. Dropping it shuts it down.
pub struct SimulatedTenant {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Outcome>,
    base: String,
}

impl SimulatedTenant {
    /// Listens, and starts to play the scenario.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(options: TeamsOptions, scenario: TeamsScenario) -> Result<Self, SimulateError> {
        let bind = async |address: SocketAddr| {
            let failed = |source| SimulateError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Ok::<_, SimulateError>((listener, bound))
        };
        let (home, bound) = bind(options.listen).await?;
        let (elsewhere, other) = bind(SocketAddr::new(options.listen.ip(), 0)).await?;
        let host = match bound.ip() {
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        let base = format!("http://{host}:{}", bound.port());
        let urls = Urls { base: base.clone(), elsewhere: format!("http://{host}:{}", other.port()) };
        // Notifications follow no redirect on their own, and know no proxy.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .danger_accept_invalid_certs(true)
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|e| SimulateError::Stopped(format!("no HTTP client: {e}")))?;
        let started_ms = SystemClock.now().millis();
        let tenant = Tenant::new(scenario.tenant, scenario.cast, urls, options.callback, started_ms);
        let shared = Shared::new(tenant, client);
        for (origin, listener) in [(Origin::Home, home), (Origin::Elsewhere, elsewhere)] {
            shared.spawn(shell::listen(Arc::clone(&shared), origin, listener));
        }
        let (told, outcome) = watch::channel(None);
        let player = Arc::clone(&shared);
        shared.spawn(async move {
            let result = play::play(Arc::clone(&player), scenario.steps).await;
            player.with(|tenant| match &result {
                Ok(()) => tenant.tell("The scenario is over"),
                Err(why) => tenant.tell(format!("The scenario stops: {why}")),
            });
            told.send_replace(Some(result));
        });
        Ok(SimulatedTenant { shared, outcome, base })
    }

    /// Base of every address, without a slash at the end: `http://127.0.0.1:8095`.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// Tenant id.
    pub fn tenant_id(&self) -> String {
        self.shared.look(|t| t.options.tenant_id.clone())
    }

    /// Application id of the recorder.
    pub fn client_id(&self) -> String {
        self.shared.look(|t| t.options.client_id.clone())
    }

    /// Its secret.
    pub fn client_secret(&self) -> String {
        self.shared.look(|t| t.options.client_secret.clone())
    }

    /// Registers a certificate (PEM) for client assertions.
    pub fn register_certificate(&self, pem: &str) {
        self.shared.with(|t| t.options.certificate_pem = pem.to_owned());
    }

    /// Sends notifications to another address from now on; those queued keep theirs.
    pub fn set_callback(&self, url: &str) {
        self.shared.with(|t| url.trim_end_matches('/').clone_into(&mut t.callback));
    }

    /// A `[[connector]]` table that records from this tenant, listening at `listen` and reached at `callback_url`; the
    /// secret is to be put into the environment variable it names. `callback_url` should be the tenant's.
    pub fn config_snippet(&self, callback_url: &str, listen: SocketAddr) -> String {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let base = &self.base;
        format!(
            "[[connector]]\nname = \"simulated-teams\"\nkind = \"teams\"\ntenant_id = {}\nclient_id = {}\n\
             client_secret_env = \"GREFFIER_SIMULATED_SECRET\"\ncallback_url = {}\nlisten = {}\n\
             login_url = {}\ngraph_url = {}\ncalls_openid_url = {}\nnotifications_openid_url = {}\nbot_openid_url = {}\n\
             bot_service_urls = [{}]\nnotifications_publisher = {}\naccept_from = [\"*\"]\n",
            quote(&self.tenant_id()),
            quote(&self.client_id()),
            quote(callback_url),
            quote(&listen.to_string()),
            quote(base),
            quote(base),
            quote(&format!("{base}/aps/v1/.well-known/OpenIdConfiguration")),
            quote(&format!("{base}/common/.well-known/openid-configuration")),
            quote(&format!("{base}/bot/v1/.well-known/openidconfiguration")),
            quote(&format!("{base}/smba/")),
            quote(&self.shared.look(|t| t.options.publisher.clone())),
        )
    }

    /// What the tenant considers to have happened so far.
    pub fn ledger(&self) -> TeamsLedger {
        self.shared.look(|t| t.ledger.clone())
    }

    /// Does something, as a step of a scenario would. The text is what came of it: the id of a message, of a chat, of
    /// the legs of a call (with blanks between); else empty.
    ///
    /// # Errors
    /// It cannot be done; the text says why.
    pub fn act(&self, act: &Act) -> Result<String, SimulateError> {
        self.shared.with(|t| t.act(act)).map_err(SimulateError::Stopped)
    }

    /// Makes a chat; its thread id.
    ///
    /// # Errors
    /// There is one of this name, or somebody is not in the cast.
    pub fn create_chat(&self, name: &str, kind: ChatKind, people: &[&str]) -> Result<String, SimulateError> {
        let people = people.iter().map(|p| (*p).to_owned()).collect();
        self.act(&Act::CreateChat { chat: name.to_owned(), kind, topic: String::new(), people })
    }

    /// Calls the recorder; the ids of the legs.
    ///
    /// # Errors
    /// Somebody is not in the cast, or the call is under way.
    pub fn invite_call(&self, invite: Invite) -> Result<Vec<String>, SimulateError> {
        Ok(self.act(&Act::Invite(invite))?.split(' ').map(str::to_owned).collect())
    }

    /// Somebody says something; the id of the message.
    ///
    /// # Errors
    /// There is no such chat or person.
    pub fn say(&self, chat: &str, by: &str, words: Words) -> Result<String, SimulateError> {
        self.act(&Act::Say { chat: chat.to_owned(), by: by.to_owned(), words: Box::new(words), label: None })
    }

    /// A message, by id, gets other words.
    ///
    /// # Errors
    /// There is no such chat or message.
    pub fn edit(&self, chat: &str, message: &str, text: &str) -> Result<(), SimulateError> {
        let label = Some(message.to_owned());
        self.act(&Act::Edit { chat: chat.to_owned(), label, text: text.to_owned() }).map(|_| ())
    }

    /// A message, by id, is deleted.
    ///
    /// # Errors
    /// There is no such chat or message.
    pub fn delete(&self, chat: &str, message: &str) -> Result<(), SimulateError> {
        self.act(&Act::Delete { chat: chat.to_owned(), label: Some(message.to_owned()) }).map(|_| ())
    }

    /// Breaks something.
    pub fn fail(&self, fault: Fault) {
        self.shared.with(|t| t.strike(fault));
    }

    /// Object id (or number, or other id) of a person of the cast.
    pub fn oid(&self, person: &str) -> Option<String> {
        self.shared.look(|t| t.member(person).ok().map(|m| m.oid.clone()))
    }

    /// Thread id of a chat by its name.
    pub fn thread(&self, chat: &str) -> Option<String> {
        self.shared.look(|t| t.chat_named(chat).and_then(|c| t.chats.get(c)).map(|c| c.id.clone()))
    }

    /// Join URL of a meeting's chat by its name.
    pub fn join_url(&self, chat: &str) -> Option<String> {
        self.shared.look(|t| t.chat_named(chat).and_then(|c| t.chats.get(c)).map(|c| c.join_url.clone()))
    }

    /// Subscriptions that live: id, resource, address, expiry (milliseconds since 1970), with resource data.
    pub fn subscriptions(&self) -> Vec<(String, String, String, i64, bool)> {
        self.shared.look(|t| {
            let wall = t.wall_ms();
            let alive = t.subscriptions.iter().filter(|s| s.expires_ms > wall);
            alive
                .map(|s| (s.id.clone(), s.resource.clone(), s.url.clone(), s.expires_ms, s.certificate.is_some()))
                .collect()
        })
    }

    /// Follows the narration from its beginning; nothing is skipped.
    pub fn events(&self) -> TeamsNarration {
        TeamsNarration { shared: Arc::clone(&self.shared), changes: self.shared.changes(), next: 0 }
    }

    /// Waits until the scenario has been played.
    ///
    /// # Errors
    /// A step could not be played, or waited in vain; the tenant goes on listening all the same.
    pub async fn run_to_end(&self) -> Result<(), SimulateError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Ok(())).map_err(SimulateError::Stopped),
            Err(_) => Err(SimulateError::Stopped("the tenant was shut down".to_owned())),
        }
    }

    /// Waits until the ledger satisfies `holds`; `false` when it does not within the time.
    pub async fn wait_ledger(&self, within: Duration, holds: impl Fn(&TeamsLedger) -> bool) -> bool {
        self.shared.until(within, |t| holds(&t.ledger)).await
    }

    /// Waits until no notification is queued or under way, retries included; `false` when that takes longer.
    pub async fn wait_delivered(&self, within: Duration) -> bool {
        self.shared.until(within, |t| t.under_way == 0).await
    }

    /// Stops listening and ends every task.
    pub fn shutdown(&self) {
        self.shared.stop.cancel();
    }
}

impl Drop for SimulatedTenant {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The tenant's narration in plain words, line by line.
pub struct TeamsNarration {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    next: usize,
}

impl TeamsNarration {
    /// The next line; `None` when the tenant was shut down and all was told.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            self.changes.borrow_and_update();
            if let Some(line) = self.shared.look(|t| t.narration.get(self.next).cloned()) {
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
