//! The sockets and the sink around a [`Session`]: performs actions, turns results into inputs, decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::capture::health::HealthState;
use crate::capture::{Append, Origin, PortFuture};
use crate::connector::{ConnectorError, Context};

use super::config::ResolvedUcwa;
use super::courier::{Courier, Credentials};
use super::origin::Trust;
use super::session::{Action, Earlier, Input, Report, Session, Settings, Ticket};
use super::transport::Transport;

/// Records until told to stop, or until the archive fails for good.
///
/// # Errors
/// [`ConnectorError::Configuration`] if the configuration cannot work; [`ConnectorError::Sink`] if the archive refuses
/// for good.
pub async fn run(config: ResolvedUcwa, context: Context) -> Result<(), ConnectorError> {
    let problem =
        |problem: String| ConnectorError::Configuration { connector: config.source.connector.clone(), problem };
    let transport = Transport::new(config.ca_pem.as_deref()).map_err(problem)?;
    let settings = settings(&config).map_err(problem)?;
    let earlier = earlier(&context).await?;
    let (trust, courier) = parties(&config).map_err(problem)?;
    let session = Session::new(settings, trust, courier, earlier, seed());
    Driver::new(session, transport, context).run().await
}

/// Who may be told secrets, and the secrets.
pub(super) fn parties(config: &ResolvedUcwa) -> Result<(Trust, Courier), String> {
    let trust = Trust::new(&config.domain, config.autodiscover.as_ref(), &config.trusted_hosts)
        .map_err(|error| error.to_string())?;
    let credentials = Credentials { username: config.username.clone(), password: config.password.clone() };
    Ok((trust.clone(), Courier::new(trust, credentials)))
}

pub(super) fn settings(config: &ResolvedUcwa) -> Result<Settings, String> {
    Ok(Settings {
        connector: config.source.connector.clone(),
        sign_in: config.sign_in.clone(),
        domain: config.domain.clone(),
        autodiscover: config.autodiscover.clone(),
        accept: crate::capture::policy::AcceptFrom::parse(&config.accept_from).map_err(|e| e.to_string())?,
        rejoin: config.rejoin,
        leave_after: config.leave_after,
        activity: config.activity,
        notice: config.notice.clone(),
    })
}

/// Feeds jitter and identifiers; nothing secret depends on it.
pub(super) fn seed() -> u64 {
    fastrand::u64(..)
}

/// Envelopes asked of the archive at a time.
const PAGE: usize = 1_000;

async fn earlier(context: &Context) -> Result<Earlier, ConnectorError> {
    let restored = insist(context, || context.sink.restore(&context.source)).await?;
    let mut pending = Vec::new();
    let mut after = None;
    loop {
        let page = insist(context, || context.sink.pending(&context.source, after, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(Earlier { restored, pending }) };
        after = Some(last.id);
        pending.extend(page);
    }
}

/// Asks the archive until it answers, or refuses for good, or the connector is told to stop.
async fn insist<'a, T>(context: &'a Context, ask: impl Fn() -> PortFuture<'a, T>) -> Result<T, ConnectorError> {
    let mut refused = false;
    loop {
        match ask().await {
            Ok(answer) => {
                if refused {
                    context.stored();
                }
                return Ok(answer);
            }
            Err(error) => match error.retry_after {
                Some(wait) => {
                    refused = true;
                    context.refused(&error);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = context.stop.cancelled() => return Err(error.into()),
                    }
                }
                None => return Err(error.into()),
            },
        }
    }
}

struct Driver {
    session: Session,
    transport: Arc<Transport>,
    context: Context,
    inputs: mpsc::UnboundedSender<Input>,
    inbox: mpsc::UnboundedReceiver<Input>,
}

impl Driver {
    fn new(session: Session, transport: Transport, context: Context) -> Driver {
        // Unbounded, but bounded by what the session has asked for: one reply per request, one receipt per append.
        let (inputs, inbox) = mpsc::unbounded_channel();
        Driver { session, transport: Arc::new(transport), context, inputs, inbox }
    }

    async fn run(mut self) -> Result<(), ConnectorError> {
        let (appends, queue) = mpsc::unbounded_channel();
        let mut writer = tokio::spawn(write(self.context.clone(), queue, self.inputs.clone()));
        let mut stopping = false;
        let mut input = Input::Start;
        loop {
            let actions = self.session.handle(input, self.context.clock.now());
            for action in actions {
                match action {
                    Action::Finished => {
                        self.context.health.set(HealthState::Stopped);
                        drop(appends);
                        // An archive that cannot write must not hold up the end; nothing more is acknowledged anyway.
                        return match tokio::time::timeout(Duration::from_secs(1), writer).await {
                            Ok(Ok(result)) => result.map_err(ConnectorError::Sink),
                            Ok(Err(_)) | Err(_) => Ok(()),
                        };
                    }
                    other => self.perform(other, &appends),
                }
            }
            let deadline = self.session.deadline().map(|at| at.since(self.context.clock.now()));
            input = tokio::select! {
                Some(input) = self.inbox.recv() => input,
                () = sleep(deadline) => Input::Tick,
                () = self.context.stop.cancelled(), if !stopping => {
                    stopping = true;
                    Input::Stop
                }
                // The writer only ends by itself when the archive refuses for good.
                result = &mut writer => {
                    return match result {
                        Ok(result) => result.map_err(ConnectorError::Sink),
                        Err(_) => Err(ConnectorError::Configuration {
                            connector: self.context.source.connector.clone(),
                            problem: "the connector's writer stopped unexpectedly".into(),
                        }),
                    };
                }
            };
        }
    }

    fn perform(&self, action: Action, appends: &mpsc::UnboundedSender<(Ticket, Append)>) {
        let inputs = self.inputs.clone();
        match action {
            Action::Send(id, request) => {
                let transport = self.transport.clone();
                tokio::spawn(async move {
                    let outcome = transport.perform(request).await;
                    let _ = inputs.send(Input::Reply(id, outcome));
                });
            }
            Action::Store(ticket, append) => {
                let _ = appends.send((ticket, append));
            }
            Action::Find(ask, aliases) => {
                let context = self.context.clone();
                tokio::spawn(async move {
                    let mut refused = false;
                    let known = loop {
                        match context.sink.conversation_of(&context.source, &aliases).await {
                            Ok(known) => break known,
                            Err(error) => {
                                refused = true;
                                context.refused(&error);
                                tokio::time::sleep(error.retry_after.unwrap_or(Duration::from_secs(1))).await;
                            }
                        }
                    };
                    if refused {
                        context.stored();
                    }
                    let _ = inputs.send(Input::Found(ask, known));
                });
            }
            Action::Report(report) => self.report(report),
            Action::Finished => {}
        }
    }

    fn report(&self, report: Report) {
        let connector = self.context.source.connector.as_str();
        match report {
            Report::Connecting => {
                if self.context.health.own_state() != HealthState::Alarm {
                    self.context.health.set(HealthState::Connecting);
                }
                tracing::info!(connector.name = connector, "{connector}: signing in");
            }
            Report::Listening => {
                self.context.health.set(HealthState::Listening);
                tracing::info!(connector.name = connector, "{connector}: signed in and listening");
            }
            Report::Alarm(text) => {
                tracing::error!(connector.name = connector, "{connector}: {text}");
                self.context.health.alarm(text);
            }
            Report::Warning(text) => tracing::warn!(connector.name = connector, "{connector}: {text}"),
            Report::Note(text) => tracing::info!(connector.name = connector, "{connector}: {text}"),
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        // One millisecond more, because the clock is cut to milliseconds and must not wake before the deadline.
        Some(time) => tokio::time::sleep(time + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

/// Most appends put into one.
const MERGE: usize = 256;

/// Hands appends to the sink in order, merging what has queued meanwhile; keeps trying while the archive cannot write.
///
/// Nothing is confirmed to the session before it is durable, so while this waits the platform is not acknowledged.
async fn write(
    context: Context,
    mut queue: mpsc::UnboundedReceiver<(Ticket, Append)>,
    inputs: mpsc::UnboundedSender<Input>,
) -> Result<(), crate::capture::SinkError> {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MERGE).await > 0 {
        let mut receipts = VecDeque::new();
        let mut merged = Append::default();
        for (ticket, append) in waiting.drain(..) {
            receipts.push_back((ticket, append.envelopes.len()));
            merge(&mut merged, append);
        }
        let mut trying = None;
        let appended = loop {
            match context.sink.append(&context.source, merged.clone()).await {
                Ok(appended) => break appended,
                Err(error) => {
                    let Some(wait) = error.retry_after else { return Err(error) };
                    trying.get_or_insert_with(|| context.refused_again(&error));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        drop(trying);
        context.stored();
        let mut ids = appended.envelopes.into_iter();
        for (ticket, count) in receipts {
            let mine = ids.by_ref().take(count).collect();
            let _ = inputs.send(Input::Stored(ticket, mine));
        }
    }
    Ok(())
}

fn merge(all: &mut Append, one: Append) {
    let offset = all.envelopes.len();
    all.envelopes.extend(one.envelopes);
    all.events.extend(one.events.into_iter().map(|mut event| {
        if let Origin::Here(n) = &mut event.origin {
            *n += offset;
        }
        event
    }));
    all.aliases.extend(one.aliases);
    all.cursor.extend(one.cursor);
    all.interpreted.extend(one.interpreted);
}
