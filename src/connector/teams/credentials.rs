//! Secrets and certificates while the recorder runs: new ones are taken up, and those that end are told of in time.
//!
//! A secret that has ended breaks the answering of calls first, at the worst moment (trap 29). How long a client secret lasts
//! is known to the app registration alone; certificates say it themselves.

use std::sync::Arc;
use std::time::Duration;

use super::assertion::certificate_end;
use super::check::{self, RENEW_CLIENT, RENEW_TLS};
use super::config::Credential;
use super::desk::Desk;
use crate::connector::CheckOutcome;

/// Between looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// Between warnings of an end that comes near.
const WARN: Duration = Duration::from_secs(86_400);

/// Takes up new credentials as soon as they stand in their files; what cannot be used changes nothing.
pub(super) async fn follow(desk: &Arc<Desk>) {
    let mut tick = tokio::time::interval(LOOK);
    let mut refused = None;
    loop {
        tick.tick().await;
        let from = desk.config.credential.clone();
        let read = tokio::task::spawn_blocking(move || from.read(&|name| std::env::var(name).ok())).await;
        let trouble = match read {
            Ok(Ok(credential)) => take(desk, &credential).await.err(),
            Ok(Err(problems)) => Some(problems.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")),
            Err(_) => continue,
        };
        // Said once: the file may stay so for long, and the credentials at hand go on working.
        if let Some(text) = trouble.as_ref().filter(|text| refused.as_ref() != Some(*text)) {
            tracing::error!(
                connector.name = desk.name(),
                "{}: {text}; the credentials at hand stay in use",
                desk.name()
            );
        }
        refused = trouble;
    }
}

async fn take(desk: &Desk, credential: &Credential) -> Result<(), String> {
    let graph = desk.client.graph.renew_credential(credential, &desk.context.clock).await?;
    let connector = desk.client.connector.renew_credential(credential, &desk.context.clock).await?;
    if graph || connector {
        tracing::info!(connector.name = desk.name(), "{}: new credentials are in use", desk.name());
        warn(desk, credential);
    }
    Ok(())
}

/// Tells of certificates that end soon, at the start and once a day.
pub(super) async fn warn_daily(desk: &Arc<Desk>) {
    let mut tick = tokio::time::interval(WARN);
    loop {
        tick.tick().await;
        let one = Arc::clone(desk);
        let told = tokio::task::spawn_blocking(move || {
            if let Ok(credential) = one.config.credential.read(&|name| std::env::var(name).ok()) {
                warn(&one, &credential);
            }
            if let Some(tls) = &one.config.tls
                && let Ok(pem) = std::fs::read(&tls.value.certificate_file)
            {
                end(&one, "tls_certificate_file", &pem, RENEW_TLS);
            }
        });
        let _ = told.await;
    }
}

fn warn(desk: &Desk, credential: &Credential) {
    if let Credential::Certificate { certificate_pem, .. } = credential {
        end(desk, "certificate_file", certificate_pem, RENEW_CLIENT);
    }
}

fn end(desk: &Desk, key: &str, pem: &[u8], renew: &str) {
    let Ok(end) = certificate_end(pem) else { return };
    let (outcome, note) = check::certificate(end, renew, desk.now());
    if outcome != CheckOutcome::Good {
        desk.context.health.count("certificate_warnings");
        tracing::error!(connector.name = desk.name(), "{}: the certificate of {key} {note}", desk.name());
    }
}
