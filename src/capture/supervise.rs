//! Starts, watches and restarts connectors, and stops them in order.
//!
//! A connector that panics or returns is started again after a pause that doubles up to a minute; one whose configuration
//! cannot work stays down with its alarm raised; an archive that refuses for good ends the whole process, because a recorder
//! that cannot store must not look alive.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::health::{Health, HealthState};
use super::{Sink, SinkError, Source};
use crate::clock::Clock;
use crate::connector::{ConnectorError, Context};

/// The future of one run of a connector.
pub type Running = Pin<Box<dyn Future<Output = Result<(), ConnectorError>> + Send>>;

/// Runs a connector until its context says stop; called again for every restart.
pub type RunFn = Box<dyn Fn(Context) -> Running + Send + Sync>;

/// One configured connector.
pub struct Supervised {
    /// Name and kind.
    pub source: Source,
    /// How to run it.
    pub run: RunFn,
}

/// Pauses between restarts.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first failure; doubles with each further one.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
    /// A connector that ran for so long starts anew with the first pause.
    pub forgiven_after: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            forgiven_after: Duration::from_secs(300),
        }
    }
}

/// The running connectors.
pub struct Supervisor {
    watched: Vec<(Source, Arc<Health>)>,
    tasks: Vec<(Source, JoinHandle<()>)>,
    stop: CancellationToken,
    fatal: tokio::sync::watch::Receiver<Option<SinkError>>,
}

impl Supervisor {
    /// Starts every connector. Must be called within a tokio runtime.
    pub fn start(connectors: Vec<Supervised>, sink: Arc<dyn Sink>, clock: Arc<dyn Clock>, pauses: Pauses) -> Self {
        let stop = CancellationToken::new();
        let (report, fatal) = tokio::sync::watch::channel(None);
        let mut watched = Vec::new();
        let mut tasks = Vec::new();
        for Supervised { source, run } in connectors {
            let health = Arc::new(Health::default());
            let context = Context {
                source: source.clone(),
                sink: Arc::clone(&sink),
                clock: Arc::clone(&clock),
                stop: stop.child_token(),
                health: Arc::clone(&health),
            };
            watched.push((source.clone(), health));
            tasks.push((source, tokio::spawn(keep_running(run, context, pauses, report.clone()))));
        }
        Supervisor { watched, tasks, stop, fatal }
    }

    /// Every connector with its state, in the order of the configuration.
    pub fn watched(&self) -> &[(Source, Arc<Health>)] {
        &self.watched
    }

    /// Waits until the archive refuses for good; then the process has to end. Never returns before.
    pub async fn fatal(&self) -> SinkError {
        let mut fatal = self.fatal.clone();
        loop {
            let found = fatal.borrow_and_update().clone();
            if let Some(error) = found {
                return error;
            }
            if fatal.changed().await.is_err() {
                // Every connector has ended and none reported: there is nothing left that could fail.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells every connector to leave, and waits at most `limit` for all of them. Returns the names of those that did not
    /// finish; they are abandoned.
    pub async fn stop(self, limit: Duration) -> Vec<String> {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + limit;
        let mut late = Vec::new();
        for (source, mut task) in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                tracing::warn!(connector.name = %source.connector, "connector did not stop in time and is abandoned");
                late.push(source.connector);
            }
        }
        late
    }
}

/// Aborts the connector's task when its keeper is dropped, so that an abandoned connector is really gone.
struct AbortOnDrop(JoinHandle<Result<(), ConnectorError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_running(
    run: RunFn,
    context: Context,
    pauses: Pauses,
    fatal: tokio::sync::watch::Sender<Option<SinkError>>,
) {
    let name = context.source.connector.clone();
    let mut failures: u32 = 0;
    while !context.stop.is_cancelled() {
        context.health.set(HealthState::Connecting);
        let began = Instant::now();
        // A task of its own, so that a panic ends the connector and not its keeper.
        let mut task = AbortOnDrop(tokio::spawn(run(context.clone())));
        let ended = (&mut task.0).await;
        if context.stop.is_cancelled() {
            if let Ok(Err(error)) = ended {
                tracing::warn!(connector.name = %name, %error, "connector {name} failed while stopping");
            }
            break;
        }
        if began.elapsed() >= pauses.forgiven_after {
            failures = 0;
        }
        let mut pause = pauses.first.saturating_mul(1 << failures.min(16)).min(pauses.longest);
        failures = failures.saturating_add(1);
        match ended {
            Ok(Ok(())) => tracing::warn!(connector.name = %name, "connector {name} ended without being asked"),
            Ok(Err(ConnectorError::Configuration { problem, .. })) => {
                tracing::error!(connector.name = %name, "connector {name} cannot work and stays down: {problem}");
                context.health.alarm(problem);
                context.stop.cancelled().await;
                break;
            }
            Ok(Err(ConnectorError::Sink(error))) => match error.retry_after {
                Some(after) => {
                    tracing::error!(connector.name = %name, %error, "the archive refuses; connector {name} waits");
                    context.health.alarm(error.to_string());
                    pause = after;
                }
                None => {
                    tracing::error!(connector.name = %name, %error, "the archive refuses for good");
                    context.health.alarm(error.to_string());
                    fatal.send_replace(Some(error));
                    break;
                }
            },
            Err(failure) if failure.is_panic() => {
                context
                    .health
                    .alarm("the connector failed because of an error in greffier; it is started again".into());
                tracing::error!(connector.name = %name, "connector {name} panicked");
            }
            // The runtime is going down.
            Err(_) => break,
        }
        tracing::info!(connector.name = %name, pause_ms = pause.as_millis() as u64, "connector {name} starts again soon");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.stop.cancelled() => break,
        }
    }
    context.health.set(HealthState::Stopped);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::capture::{
        Alias, Append, Appended, EnvelopeId, Kept, Known, PortFuture, Restored, SinkError, StoredEnvelope,
    };
    use crate::clock::SystemClock;

    /// No test here stores anything.
    struct NoSink;

    impl Sink for NoSink {
        fn append<'a>(&'a self, _: &'a Source, _: Append) -> PortFuture<'a, Appended> {
            Box::pin(async { Ok(Appended::default()) })
        }

        fn conversation_of<'a>(&'a self, _: &'a Source, _: &'a [Alias]) -> PortFuture<'a, Option<Known>> {
            Box::pin(async { Ok(None) })
        }

        fn restore<'a>(&'a self, _: &'a Source) -> PortFuture<'a, Restored> {
            Box::pin(async { Ok(Restored::default()) })
        }

        fn pending<'a>(
            &'a self,
            _: &'a Source,
            _: Option<EnvelopeId>,
            _: usize,
        ) -> PortFuture<'a, Vec<StoredEnvelope>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn recall<'a>(&'a self, _: &'a Source, keys: Vec<String>) -> PortFuture<'a, Vec<Option<Vec<u8>>>> {
            Box::pin(async move { Ok(vec![None; keys.len()]) })
        }

        fn keep(&self, _: bytes::Bytes) -> PortFuture<'_, Kept> {
            let refused = SinkError { doing: "keep".into(), cause: "no archive".into(), retry_after: None };
            Box::pin(async { Err(refused) })
        }
    }

    const QUICK: Pauses = Pauses {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        forgiven_after: Duration::from_secs(3600),
    };

    fn supervise(run: impl Fn(Context, u32) -> Running + Send + Sync + 'static) -> Supervisor {
        let count = AtomicU32::new(0);
        let run: RunFn = Box::new(move |context| run(context, count.fetch_add(1, Ordering::SeqCst)));
        let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
        Supervisor::start(vec![Supervised { source, run }], Arc::new(NoSink), Arc::new(SystemClock), QUICK)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().expect("runtime").block_on(future)
    }

    #[test]
    fn a_connector_that_panics_or_returns_is_started_again() {
        block_on(async {
            let (third, reached) = tokio::sync::oneshot::channel();
            let third = std::sync::Mutex::new(Some(third));
            let supervisor = supervise(move |context, attempt| match attempt {
                0 => Box::pin(async { panic!("first attempt") }),
                1 => Box::pin(async { Ok(()) }),
                _ => {
                    let third = third.lock().expect("lock").take();
                    Box::pin(async move {
                        context.health.set(HealthState::Listening);
                        let _ = third.map(|third| third.send(()));
                        context.stop.cancelled().await;
                        Ok(())
                    })
                }
            });
            reached.await.expect("a third attempt");
            let health = Arc::clone(&supervisor.watched()[0].1);
            assert_eq!(health.state(), HealthState::Listening);
            assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
            assert_eq!(health.state(), HealthState::Stopped);
        });
    }

    #[test]
    fn an_archive_that_refuses_for_good_is_fatal() {
        block_on(async {
            let supervisor = supervise(|_, _| {
                let error = SinkError { doing: "append".into(), cause: "broken".into(), retry_after: None };
                Box::pin(async { Err(ConnectorError::Sink(error)) })
            });
            assert_eq!(supervisor.fatal().await.to_string(), "append: broken");
        });
    }

    #[test]
    fn a_configuration_that_cannot_work_is_not_tried_again() {
        block_on(async {
            let (tried, mut attempts) = tokio::sync::mpsc::unbounded_channel();
            let supervisor = supervise(move |context, attempt| {
                let tried = tried.clone();
                Box::pin(async move {
                    tried.send(attempt).expect("open");
                    let connector = context.source.connector;
                    Err(ConnectorError::Configuration { connector, problem: "no".into() })
                })
            });
            assert_eq!(attempts.recv().await, Some(0));
            let health = Arc::clone(&supervisor.watched()[0].1);
            assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
            assert_eq!(attempts.recv().await, None, "one attempt only");
            assert_eq!(health.state(), HealthState::Stopped);
        });
    }

    #[test]
    fn a_connector_that_does_not_stop_is_abandoned_and_named() {
        block_on(async {
            let (began, running) = tokio::sync::oneshot::channel();
            let (gone, dropped) = tokio::sync::oneshot::channel::<()>();
            let held = std::sync::Mutex::new(Some((began, gone)));
            let supervisor = supervise(move |_, _| {
                let held = held.lock().expect("lock").take();
                Box::pin(async move {
                    let (began, _gone) = held.expect("one attempt");
                    began.send(()).expect("the test waits");
                    std::future::pending().await
                })
            });
            running.await.expect("started");
            assert_eq!(supervisor.stop(Duration::from_millis(50)).await, ["sfb"]);
            assert!(dropped.await.is_err(), "its task is dropped");
        });
    }
}
