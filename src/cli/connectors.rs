//! From a configured connector to the code that runs and checks it: the one place where kinds are told apart.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::capture::supervise::Supervised;
use crate::clock::Clock;
use crate::config::Environment;
use crate::connector::CheckLine;
use crate::connector::ucwa::{self, config::ResolvedUcwa};

/// Looks up secrets in the process's environment.
pub(super) const ENVIRONMENT: Environment<'static> = &|name| std::env::var(name).ok();

/// A connector as the supervisor takes it.
pub(super) fn supervised(connector: ResolvedUcwa) -> Supervised {
    let source = connector.source.clone();
    let run = move |context| Box::pin(ucwa::run(connector.clone(), context)) as _;
    Supervised { source, run: Box::new(run) }
}

/// Signs in and out again; each step is sent as it is known.
pub(super) async fn check(connector: ResolvedUcwa, clock: Arc<dyn Clock>, lines: mpsc::Sender<CheckLine>) {
    ucwa::check(connector, clock, lines).await;
}
