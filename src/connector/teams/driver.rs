//! Starts the connector's tasks, watches them, and stops them in order.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::serve::Listener as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accept::AcceptFrom;
use super::calls::{Calls, Switchboard};
use super::chats::Lane;
use super::client::Client;
use super::config::ResolvedTeams;
use super::conversations::Conversations;
use super::credentials;
use super::desk::Desk;
use super::listener::Tls;
use super::offer::Rules;
use super::ring::Keys;
use super::seal::KeyStore;
use super::upkeep::{Housekeeping, Upkeep};
use super::webhook;
use crate::capture::health::HealthState;
use crate::capture::{Restored, SinkError};
use crate::connector::{ConnectorError, Context};
use crate::listen::{Limited, Patience};

/// Connections to the webhooks at a time.
const CONNECTIONS: usize = 1_024;

/// How long a connection may be of no use.
const PATIENCE: Patience = Patience { idle: Duration::from_secs(120), crowded: Duration::from_secs(5) };

/// Between attempts to listen on an address that is taken.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Between requests that keep the connection to Graph open.
const WARM: Duration = Duration::from_secs(45);

/// Between looks into the folder of key pairs.
const LOOK_FOR_KEYS: Duration = Duration::from_secs(3);

/// Time for leaving calls when stopping.
const LEAVING: Duration = Duration::from_secs(7);

/// Records until told to stop, or until the archive fails for good.
///
/// # Errors
/// [`ConnectorError::Configuration`] if the configuration cannot work; [`ConnectorError::Sink`] if the archive refuses
/// for good.
pub async fn run(config: ResolvedTeams, context: Context) -> Result<(), ConnectorError> {
    let problem =
        |problem: String| ConnectorError::Configuration { connector: config.source.connector.clone(), problem };
    let client = Client::new(&config, Arc::clone(&context.clock)).map_err(problem)?;
    let accept_from = AcceptFrom::parse(&config.accept_from).map_err(|error| problem(error.to_string()))?;
    let rules = Rules { accept_from, accept_policy_recording: config.accept_policy_recording };
    let seals = KeyStore::open(&config.keys, context.clock.now()).map_err(|error| problem(error.to_string()))?;
    // Listening comes before everything that needs the network: a call may ring at once.
    let Some(listener) = listen(&config, &context).await else { return Ok(()) };
    let Some(restored) = restore(&context).await? else { return Ok(()) };
    let (calls, lines) = Calls::new();
    let (upkeep, requests) = Upkeep::new();
    let (gaps, found) = mpsc::unbounded_channel();
    let clock = Arc::clone(&context.clock);
    let ring = |url: &str| Keys::new(url, Arc::clone(&clock));
    let desk = Arc::new(Desk {
        keys_of_calls: ring(&config.endpoints.calls_openid_url),
        keys_of_notifications: ring(&config.endpoints.notifications_openid_url),
        keys_of_bot: ring(&config.endpoints.bot_openid_url),
        conversations: Conversations::default(),
        arrived: Notify::new(),
        seals: RwLock::new(seals),
        last_seen: restored.last_seen,
        over: CancellationToken::new(),
        gaps,
        rules,
        config,
        context,
        client,
        calls,
        upkeep,
    });
    let switchboard = Switchboard::new(Arc::clone(&desk), lines, &restored.cursor);
    let lane = Lane::new(Arc::clone(&desk), found, &restored.cursor);
    let housekeeping = Housekeeping::new(Arc::clone(&desk), requests, &restored.cursor);

    let mut services = JoinSet::new();
    serve(&mut services, Arc::clone(&desk), listener)
        .map_err(|why| ConnectorError::Configuration { connector: desk.name().to_owned(), problem: why })?;
    fresh(&mut services, &desk);
    let mut work = JoinSet::new();
    work.spawn(Box::pin(lane.run()));
    work.spawn(Box::pin(housekeeping.run()));
    let mut calls = tokio::spawn(Box::pin(switchboard.run()));
    let ended = |ended: Result<Result<(), SinkError>, tokio::task::JoinError>| match ended {
        Ok(result) => result.map_err(ConnectorError::Sink),
        // A panic is told by the supervisor, which starts the connector again.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let stopped = desk.context.stop.cancelled();
    tokio::select! {
        result = &mut calls => return ended(result),
        Some(result) = work.join_next() => if !desk.context.stop.is_cancelled() { return ended(result) },
        () = stopped => {}
    }
    // Webhooks, tokens and the archive go on while the calls are left.
    if let Ok(result) = tokio::time::timeout(LEAVING, &mut calls).await {
        ended(result)?;
    } else {
        calls.abort();
        tracing::warn!(connector.name = desk.name(), "{}: some calls did not confirm that we left", desk.name());
    }
    // What cannot be stored now is not acknowledged, or is read again after the next start.
    desk.over.cancel();
    while let Some(result) = work.join_next().await {
        match ended(result) {
            Err(ConnectorError::Sink(error)) if error.retry_after.is_some() => {
                tracing::warn!(connector.name = desk.name(), "{}: stops while the archive refuses", desk.name());
            }
            result => result?,
        }
    }
    desk.context.health.set(HealthState::Stopped);
    Ok(())
}

/// Listens; waits while somebody else has the address. `None` = told to stop.
async fn listen(config: &ResolvedTeams, context: &Context) -> Option<tokio::net::TcpListener> {
    loop {
        match tokio::net::TcpListener::bind(config.listen).await {
            Ok(listener) => return Some(listener),
            Err(error) => {
                let text = format!("cannot listen on {}: {error}; choose another `listen`", config.listen);
                tracing::error!(connector.name = %context.source.connector, "{}: {text}", context.source.connector);
                context.health.alarm(text);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LISTEN_AGAIN) => {}
            () = context.stop.cancelled() => return None,
        }
    }
}

async fn restore(context: &Context) -> Result<Option<Restored>, ConnectorError> {
    let mut refused = false;
    loop {
        match context.sink.restore(&context.source).await {
            Ok(restored) => {
                if refused {
                    context.stored();
                }
                return Ok(Some(restored));
            }
            Err(error) => {
                let Some(wait) = error.retry_after else { return Err(error.into()) };
                refused = true;
                context.refused(&error);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = context.stop.cancelled() => return Ok(None),
                }
            }
        }
    }
}

/// Serves the webhooks.
fn serve(services: &mut JoinSet<()>, desk: Arc<Desk>, listener: tokio::net::TcpListener) -> Result<(), String> {
    let router = webhook::router(Arc::clone(&desk));
    let limited = Limited::new(listener, CONNECTIONS, PATIENCE);
    let address = limited.local_addr().map_err(|error| format!("cannot read the listener's address: {error}"))?;
    let name = desk.name().to_owned();
    match desk.config.tls.clone() {
        Some(files) => {
            let tls = Tls::new(limited, files.value)?;
            services.spawn(async move { report(&name, axum::serve(tls, router).await) });
        }
        None => {
            services.spawn(async move { report(&name, axum::serve(limited, router).await) });
        }
    }
    tracing::info!(
        connector.name = desk.name(),
        "{}: webhooks listen on {address} for {}",
        desk.name(),
        desk.config.callback_url
    );
    Ok(())
}

fn report(name: &str, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!("{name}: the webhook listener has ended: {error}");
    }
}

/// Keeps tokens, keys and the connection to Graph fresh, and says how the connector is.
fn fresh(services: &mut JoinSet<()>, desk: &Arc<Desk>) {
    let all = |desk: &Arc<Desk>| Arc::clone(desk);
    let one = all(desk);
    services.spawn(async move { one.client.graph.keep(&one.client, &one.context.clock).await });
    let one = all(desk);
    services.spawn(async move { one.client.connector.keep(&one.client, &one.context.clock).await });
    let one = all(desk);
    services.spawn(async move { one.keys_of_calls.keep(&one.client).await });
    let one = all(desk);
    services.spawn(async move { one.keys_of_notifications.keep(&one.client).await });
    let one = all(desk);
    services.spawn(async move { one.keys_of_bot.keep(&one.client).await });
    let one = all(desk);
    services.spawn(async move {
        let mut tick = tokio::time::interval(WARM);
        loop {
            tick.tick().await;
            one.client.warm().await;
        }
    });
    let one = all(desk);
    services.spawn(async move { tell_health(&one).await });
    let one = all(desk);
    services.spawn(async move { watch_keys(&one).await });
    let one = all(desk);
    services.spawn(async move { credentials::follow(&one).await });
    let one = all(desk);
    services.spawn(async move { credentials::warn_daily(&one).await });
}

/// Ready means: webhooks listen, and a Graph token is at hand.
async fn tell_health(desk: &Desk) {
    let mut token = desk.client.graph.watch();
    let mut trouble = desk.client.graph.trouble();
    let health = &desk.context.health;
    let mut told = None;
    loop {
        let has_token = token.borrow_and_update().is_some();
        let why = trouble.borrow_and_update().clone();
        if told.as_ref() != Some(&(has_token, why.clone())) {
            match (has_token, &why) {
                (true, _) => {
                    if health.own_state() != HealthState::Listening {
                        tracing::info!(connector.name = desk.name(), "{}: signed in and listening", desk.name());
                    }
                    health.set(HealthState::Listening);
                }
                (false, Some(why)) => {
                    tracing::error!(connector.name = desk.name(), "{}: {why}", desk.name());
                    health.alarm(why.clone());
                }
                (false, None) => {
                    if health.own_state() != HealthState::Alarm {
                        health.set(HealthState::Connecting);
                    }
                }
            }
            told = Some((has_token, why));
        }
        tokio::select! {
            changed = token.changed() => if changed.is_err() { return },
            changed = trouble.changed() => if changed.is_err() { return },
        }
    }
}

/// Takes up key pairs made by `rotate-keys`, and makes one when the schedule says so.
async fn watch_keys(desk: &Arc<Desk>) {
    let mut tick = tokio::time::interval(LOOK_FOR_KEYS);
    loop {
        tick.tick().await;
        let now = desk.now();
        let every = desk.config.rotate_keys_every;
        let one = Arc::clone(desk);
        // Making a pair takes tenths of a second, and the folder is a disk's.
        let changed = tokio::task::spawn_blocking(move || {
            let mut seals = one.seals.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let before = seals.current().id().to_owned();
            let due = !every.is_zero() && seals.current_since().is_some_and(|since| now.since(since) >= every);
            let done = if due { seals.rotate(now).map(|_| true) } else { seals.reload() };
            if let Err(error) = done {
                tracing::error!(connector.name = one.name(), "{}: {error}", one.name());
            }
            let pair = seals.current();
            (pair.id() != before).then(|| (pair.id().to_owned(), pair.certificate_base64()))
        })
        .await
        .unwrap_or_default();
        if let Some((id, certificate)) = changed {
            tracing::info!(
                connector.name = desk.name(),
                key.id = id,
                "{}: a new key pair for notifications",
                desk.name()
            );
            desk.upkeep.new_key(id, certificate);
        }
    }
}
