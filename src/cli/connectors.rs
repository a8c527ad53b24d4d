//! From a configured connector to the code that runs and checks it: the one place where kinds are told apart.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::capture::supervise::Supervised;
use crate::clock::Clock;
use crate::config::Environment;
use crate::connector::ucwa::config::ResolvedUcwa;
use crate::connector::{CheckLine, CheckOutcome, ConnectorError};

/// Looks up secrets in the process's environment.
pub(super) const ENVIRONMENT: Environment<'static> = &|name| std::env::var(name).ok();

/// A connector as the supervisor takes it.
pub(super) fn supervised(connector: ResolvedUcwa) -> Supervised {
    let source = connector.source.clone();
    // MERGE: Box::new(move |context| Box::pin(ucwa::run(connector.clone(), context)))
    let run = move |_| {
        let connector = connector.source.connector.clone();
        let problem = "this branch has no ucwa driver yet".to_owned();
        Box::pin(async move { Err(ConnectorError::Configuration { connector, problem }) }) as _
    };
    Supervised { source, run: Box::new(run) }
}

/// Signs in and out again; each step is sent as it is known.
pub(super) async fn check(connector: ResolvedUcwa, _clock: Arc<dyn Clock>, lines: mpsc::Sender<CheckLine>) {
    // MERGE: ucwa::check(connector, clock, lines).await
    let note = "this branch has no ucwa driver yet".to_owned();
    let step = format!("sign in as {}", connector.sign_in);
    let _ = lines.send(CheckLine { step, outcome: CheckOutcome::Bad, note }).await;
}
