//! `greffier check` for a Teams connector: gets a token, asks what may be asked without changing anything, and says what
//! works and what to do about what does not.
//!
//! It creates no subscription and no key, answers no call and says nothing in any chat, so it may run beside a recorder.

mod echo;
mod judge;
mod outside;
mod roles;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::Sender;

pub(super) use self::judge::certificate;

use self::echo::Place;
use self::judge::Verdict;
use self::outside::Outside;
use super::ask::{Reply, odata_text};
use super::assertion::certificate_end;
use super::config::{Credential, Media, ResolvedTeams};
use super::media;
use super::seal::KeyStore;
use super::token::{Action, Input, TokenDesk};
use super::trust::jwt::own_claims;
use crate::clock::Clock;
use crate::connector::CheckOutcome::{Bad, Good, Warning};
use crate::connector::secret::Secret;
use crate::connector::{CheckLine, CheckOutcome};

/// What to do about a certificate that ends.
pub(super) const RENEW_CLIENT: &str = "make a new one, upload it to the app registration, then change certificate_file";
/// The same for the listener's.
pub(super) const RENEW_TLS: &str = "renew it; a running `serve` takes the new file up by itself";

/// Tries every step; sends one line each. Ends early when a step makes the following ones pointless.
pub async fn check(config: ResolvedTeams, clock: Arc<dyn Clock>, lines: Sender<CheckLine>) {
    match Outside::new(config.ca_pem.as_deref()) {
        Ok(outside) => Probe { config, clock, lines, outside }.run().await,
        Err(problem) => {
            let line = CheckLine { step: "prepare".to_owned(), outcome: Bad, note: problem };
            // A closed receiver means that nobody reads any more.
            let _ = lines.send(line).await;
        }
    }
}

struct Probe {
    config: ResolvedTeams,
    clock: Arc<dyn Clock>,
    lines: Sender<CheckLine>,
    outside: Outside,
}

/// A token with what it says.
struct Held {
    secret: Secret,
    roles: Vec<String>,
    tenant: Option<String>,
    minutes: u64,
}

impl Probe {
    async fn say(&self, step: impl Into<String>, outcome: CheckOutcome, note: impl Into<String>) {
        self.line(CheckLine { step: step.into(), outcome, note: note.into() }).await;
    }

    async fn line(&self, line: CheckLine) {
        let _ = self.lines.send(line).await;
    }

    async fn verdict(&self, step: impl Into<String>, (outcome, note): Verdict) {
        self.say(step, outcome, note).await;
    }

    async fn run(self) {
        self.certificates().await;
        self.key_pairs().await;
        self.media().await;
        self.webhooks().await;
        self.signing_keys().await;
        if let Some(token) = self.graph_token().await {
            self.graph(&token).await;
            self.bot_token().await;
        }
        if !self.config.cloud.has_calls() {
            let note = format!("there are none in cloud {}: only chats are recorded", self.config.cloud.as_str());
            self.say("calls", Warning, note).await;
        }
        if self.config.notice.is_empty() {
            self.say("notice", Warning, "[notice] text is empty: people are not told that they are recorded").await;
        }
    }

    /// Those that prove us to others; they end at the worst moment.
    async fn certificates(&self) {
        let now = self.clock.now();
        let judged = |pem: &[u8], renew: &str| match certificate_end(pem) {
            Ok(end) => judge::certificate(end, renew, now),
            Err(problem) => (Bad, problem.to_string()),
        };
        if let Credential::Certificate { certificate_pem, .. } = &self.config.proof {
            self.verdict("certificate_file", judged(certificate_pem, RENEW_CLIENT)).await;
        }
        if let Some(tls) = &self.config.tls {
            let verdict = match std::fs::read(&tls.value.certificate_file) {
                Ok(pem) => judged(&pem, RENEW_TLS),
                Err(error) => (Bad, format!("cannot read {}: {error}", tls.value.certificate_file.display())),
            };
            self.verdict("tls_certificate_file", verdict).await;
        }
    }

    async fn key_pairs(&self) {
        const STEP: &str = "key pairs for encrypted notifications";
        if !self.config.encrypted_notifications {
            return self.say(STEP, Good, "not needed: encrypted_notifications is false").await;
        }
        let folder = &self.config.keys;
        let entries = std::fs::read_dir(folder).map(|list| list.flatten().any(|one| is_pem(&one.path())));
        match entries {
            // Opening the store would make what `check` must not make.
            Ok(false) => self.say(STEP, Good, "the first will be made by `serve`").await,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.say(STEP, Good, "the first will be made by `serve`").await;
            }
            Err(error) => self.say(STEP, Bad, format!("cannot read {}: {error}", folder.display())).await,
            Ok(true) => match KeyStore::look(folder) {
                Ok(Some(store)) => {
                    let since = store
                        .current_since()
                        .map(|time| time.to_chrono().format(", the newest of %Y-%m-%d").to_string());
                    let note = format!("{} in {}{}", store.len(), folder.display(), since.unwrap_or_default());
                    self.say(STEP, Good, note).await;
                    for problem in store.problems() {
                        self.say(STEP, Warning, format!("{} {}", problem.path.display(), problem.text)).await;
                    }
                }
                Ok(None) => {
                    let note = format!(
                        "none in {} can be read: restore them from a backup; `serve` will make a new one, and what was sealed for the old ones is fetched again",
                        folder.display()
                    );
                    self.say(STEP, Bad, note).await;
                }
                Err(error) => self.say(STEP, Bad, error.to_string()).await,
            },
        }
    }

    async fn media(&self) {
        if matches!(self.config.media, Media::ServiceHosted { .. }) || !self.config.cloud.has_calls() {
            return;
        }
        match media::configuration(&self.config.media).await {
            Ok(_) => self.say("app-hosted media", Good, "there is a blob").await,
            Err(why) => self.say("app-hosted media", Bad, format!("calls could not be answered: {why}")).await,
        }
    }

    /// Whether the way from `callback_url` leads to our listener.
    async fn webhooks(&self) {
        let (callback, listen) = (&self.config.callback_url, self.config.listen);
        let step = format!("listen on {listen}");
        let (place, stand_in) = echo::stand_in(&self.config).await;
        match place {
            Place::Free => self.say(step, Good, "the address is free").await,
            Place::Taken => self.say(step, Good, "taken, by a running `serve` as it seems").await,
            Place::Unusable(why) => {
                self.say(step, Bad, format!("{why}; choose another `listen`")).await;
                return;
            }
        }
        let token = format!("greffier {:032x}", fastrand::u128(..));
        let mut url = callback.clone();
        url.set_path(&format!("{}/api/notifications", callback.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("validationToken", &token);
        let reply = self.outside.knock(url).await;
        drop(stand_in);
        self.verdict(format!("reach {callback}"), judge::knock(&reply, &token, callback, listen)).await;
    }

    /// The three issuers of those who call the webhooks.
    async fn signing_keys(&self) {
        let endpoints = &self.config.endpoints;
        let calls = self.config.cloud.has_calls().then_some(("call notifications", &endpoints.calls_openid_url));
        let others = [
            ("change notifications", &endpoints.notifications_openid_url),
            ("bot activities", &endpoints.bot_openid_url),
        ];
        for (whose, url) in calls.into_iter().chain(others) {
            let metadata = self.outside.get(url, None).await;
            let verdict = match metadata.json().get("jwks_uri").and_then(Value::as_str) {
                Some(uri) if crate::config::address::url(uri, url).is_ok() => {
                    judge::keys(&self.outside.get(uri, None).await)
                }
                Some(_) => (Bad, "its jwks_uri is not https".to_owned()),
                None => (Bad, format!("no OpenID document: {}", metadata.trouble())),
            };
            self.verdict(format!("keys of {whose}, {url}"), verdict).await;
        }
    }

    /// One try: a wrong secret tried again would only make noise.
    async fn token(&self, authority: &str, scope: &str) -> Result<Held, String> {
        let config = &self.config;
        let login = &config.endpoints.login_url;
        let seed = fastrand::u64(..);
        let mut desk = TokenDesk::new(login, authority, &config.client_id, scope, &config.proof, seed)
            .map_err(|problem| problem.to_string())?;
        for action in desk.handle(Input::Tick, self.clock.now()) {
            if let Action::Request(request) = action {
                let (reply, retry_after) = self.outside.form(&request, self.clock.now()).await;
                let input = match reply {
                    Reply::Answer { status, body, .. } => Input::Answered { status, retry_after, body },
                    Reply::Failed(why) => Input::Unreachable(why),
                };
                desk.handle(input, self.clock.now());
            }
        }
        let now = self.clock.now();
        let failure = || desk.failure().map_or_else(|| "no answer".to_owned(), ToString::to_string);
        let token = desk.current(now).ok_or_else(failure)?;
        let claims = own_claims(token.secret.expose());
        Ok(Held {
            roles: desk.roles(),
            tenant: claims.as_ref().and_then(|claims| claims.tenant().map(str::to_owned)),
            minutes: token.expires.since(now).as_secs() / 60,
            secret: token.secret.clone(),
        })
    }

    async fn graph_token(&self) -> Option<Held> {
        let (config, step) = (&self.config, format!("token for {}", self.config.endpoints.graph_scope));
        match self.token(&config.tenant_id, &config.endpoints.graph_scope).await {
            Ok(held) => {
                let foreign = held.tenant.as_ref().filter(|tenant| !tenant.eq_ignore_ascii_case(&config.tenant_id));
                match foreign {
                    Some(tenant) => {
                        self.say(step, Warning, format!("it is of tenant {tenant}, not of tenant_id")).await
                    }
                    None => self.say(step, Good, format!("good for {} minutes", held.minutes)).await,
                }
                Some(held)
            }
            Err(why) => {
                self.say(step, Bad, why).await;
                None
            }
        }
    }

    async fn graph(&self, token: &Held) {
        for line in roles::judge(&roles::needed(&self.config), &token.roles) {
            self.line(line).await;
        }
        let graph = format!("{}/v1.0", self.config.endpoints.graph_url);
        let reply = self.outside.get(&format!("{graph}/subscriptions"), Some(&token.secret)).await;
        self.verdict("subscriptions", judge::subscriptions(&reply, &self.config)).await;

        // Only in the name of a user can this be known, and only with the permission that it limits.
        let may_read = token.roles.iter().any(|role| role.starts_with("OnlineMeetings.Read"));
        if let Some(user) = self.some_user().filter(|_| may_read) {
            let absent = odata_text("https://teams.microsoft.com/l/meetup-join/greffier-check");
            let url = format!("{graph}/users/{user}/onlineMeetings?$filter=JoinWebUrl%20eq%20{absent}");
            let reply = self.outside.get(&url, Some(&token.secret)).await;
            self.verdict(format!("application access policy, user {user}"), judge::access_policy(&reply)).await;
        }
    }

    /// A user that the configuration names.
    fn some_user(&self) -> Option<&str> {
        let scopes = self.config.chat_scopes.iter();
        scopes.filter_map(|scope| scope.strip_prefix("/users/")?.split('/').next()).next()
    }

    /// Without it nothing can be said in chats, the notice least of all.
    async fn bot_token(&self) {
        let endpoints = &self.config.endpoints;
        let step = format!("token for {}", endpoints.bot_scope);
        if self.config.notice.is_empty() || endpoints.bot_service_urls.is_empty() {
            return self.say(step, Good, "not needed: nothing is said in chats").await;
        }
        match self.token(&endpoints.bot_tenant, &endpoints.bot_scope).await {
            Ok(held) => self.say(step, Good, format!("good for {} minutes", held.minutes)).await,
            Err(why) => self.say(step, Bad, format!("no notice can be given in chats: {why}; see bot_tenant")).await,
        }
    }
}

fn is_pem(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pem")
}

#[cfg(test)]
mod tests;
