//! From a configured connector to the code that runs and checks it: the one place where kinds are told apart.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::capture::supervise::Supervised;
use crate::clock::Clock;
use crate::config::{Environment, Resolved};
use crate::connector::{CheckLine, teams, ucwa};

/// Looks up secrets in the process's environment.
pub(super) const ENVIRONMENT: Environment<'static> = &|name| std::env::var(name).ok();

/// A connector as the supervisor takes it.
pub(super) fn supervised(connector: Resolved) -> Supervised {
    let source = connector.source().clone();
    match connector {
        Resolved::Ucwa(one) => {
            let run = move |context| Box::pin(ucwa::run((*one).clone(), context)) as _;
            Supervised { source, run: Box::new(run) }
        }
        Resolved::Teams(one) => {
            let run = move |context| Box::pin(teams::run((*one).clone(), context)) as _;
            Supervised { source, run: Box::new(run) }
        }
    }
}

/// Signs in and out again; each step is sent as it is known.
pub(super) async fn check(connector: Resolved, clock: Arc<dyn Clock>, lines: mpsc::Sender<CheckLine>) {
    match connector {
        Resolved::Ucwa(one) => ucwa::check(*one, clock, lines).await,
        Resolved::Teams(one) => teams::check(*one, clock, lines).await,
    }
}
