//! Keeps what reaches us complete: subscriptions alive, the past read after each gap, chats compared every night.
//!
//! One task. It owns the [`Keeper`] of subscriptions and the list of chats with what was read of each; requests and stored
//! pages come back to it as lines. Chats are read two at a time, so that the budgets serve the present.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ask::{Priority, Reply};
use super::backfill::{Backfill, Past, Step};
use super::change::{Item, Says};
use super::chats::{Concerned, Order};
use super::desk::Desk;
use super::scope::Scope;
use super::subscription::{Action, Certificate, Input, Keeper, Terms, Token};
use crate::capture::{Append, CursorChange, Envelope, SinkError};
use crate::model::{Gap, Timestamp};

/// Chats read at a time.
const AT_A_TIME: usize = 2;

/// A chat that could not be read is tried again after this.
const AGAIN: Duration = Duration::from_secs(300);

/// Downtime beyond which the service no longer repeats what we did not take (digest §12).
const REPEATED_FOR: Duration = Duration::from_secs(4 * 3600);

/// Cursor entry of the secret that `clientState` is made with.
const SEED: &str = "seed";
/// Cursor entries of chats.
const CURSOR: &str = "chat/";

/// What is asked of the task.
#[derive(Debug)]
enum Line {
    Follow(String, Option<String>),
    Heard(String, Option<String>),
    CallEnded(String, Timestamp),
    Lifecycle(String, String),
    Delivered(String),
    NewKey(Certificate),
}

/// The way to the task.
pub(super) struct Upkeep {
    lines: mpsc::UnboundedSender<Line>,
    states: RwLock<HashSet<String>>,
}

/// What the task takes up.
pub(super) struct Requests {
    lines: mpsc::UnboundedReceiver<Line>,
    seed: Vec<u8>,
    fresh_seed: bool,
}

impl Upkeep {
    /// `cursor`: the entries of an earlier run.
    pub(super) fn new(cursor: &[(String, Vec<u8>)]) -> (Upkeep, Requests) {
        let (sender, lines) = mpsc::unbounded_channel();
        let known = cursor.iter().find(|(key, _)| key == SEED).map(|(_, seed)| seed.clone());
        let fresh_seed = known.is_none();
        let seed = known.unwrap_or_else(|| {
            let mut seed = vec![0; 32];
            // Without randomness of the system there would be no TLS either.
            let _ = aws_lc_rs::rand::fill(&mut seed);
            seed
        });
        let upkeep = Upkeep { lines: sender, states: RwLock::default() };
        (upkeep, Requests { lines, seed, fresh_seed })
    }

    fn tell(&self, line: Line) {
        let _ = self.lines.send(line);
    }

    /// A chat is to be recorded, or a channel of a team.
    pub(super) fn follow(&self, thread: &str, team: Option<&str>) {
        self.tell(Line::Follow(thread.to_owned(), team.map(str::to_owned)));
    }

    /// Something was heard of a chat.
    pub(super) fn heard(&self, thread: &str, team: Option<&str>) {
        self.tell(Line::Heard(thread.to_owned(), team.map(str::to_owned)));
    }

    /// A call with this chat has ended.
    pub(super) fn call_ended(&self, thread: &str, at: Timestamp) {
        self.tell(Line::CallEnded(thread.to_owned(), at));
    }

    /// Something about a subscription.
    pub(super) fn lifecycle(&self, item: &Item) {
        if let Says::Lifecycle(event) = &item.says {
            self.tell(Line::Lifecycle(item.subscription.clone(), event.clone()));
        }
    }

    /// A notification came through a subscription.
    pub(super) fn delivered(&self, subscription: &str) {
        self.tell(Line::Delivered(subscription.to_owned()));
    }

    /// There is a new key pair.
    pub(super) fn new_key(&self, id: String, base64: String) {
        self.tell(Line::NewKey(Certificate { id, base64 }));
    }

    /// Whether this is the secret of one of our subscriptions. Takes the same time for every wrong one.
    pub(super) fn knows(&self, state: &str) -> bool {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states
            .iter()
            .fold(false, |found, one| found | verify_slices_are_equal(one.as_bytes(), state.as_bytes()).is_ok())
    }
}

/// What is known of the reading of one chat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Chat {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// Newest change that a complete reading met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Timestamp>,
    /// When it was compared last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared: Option<Timestamp>,
    /// It was followed, so its whole past was or is to be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    followed: bool,
    /// After a call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    polls: Vec<Timestamp>,
}

/// Why a chat is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// The newest, after a call.
    Poll,
    /// After a gap, or for the first time.
    Behind,
    /// Reaching back, whatever is known.
    Compare,
}

struct Job {
    past: Past,
    why: Why,
    /// Read what changed after this, if not what the checkpoint says.
    since: Option<Timestamp>,
    not_before: Timestamp,
}

enum Came {
    Subscription(Token, Reply),
    Read(String, Why, Step),
}

/// The task. See the module.
pub(super) struct Housekeeping {
    desk: Arc<Desk>,
    lines: mpsc::UnboundedReceiver<Line>,
    keeper: Keeper,
    chats: BTreeMap<String, Chat>,
    jobs: HashMap<String, Job>,
    reading: HashSet<String>,
    tasks: JoinSet<Result<Came, SinkError>>,
    changes: Vec<CursorChange>,
    refused: HashSet<String>,
    wide_since: HashMap<String, Timestamp>,
}

impl Housekeeping {
    pub(super) fn new(desk: Arc<Desk>, requests: Requests, cursor: &[(String, Vec<u8>)]) -> Housekeeping {
        let config = &desk.config;
        let terms = Terms {
            notification_url: desk.callback("/api/notifications"),
            lifecycle_url: desk.callback("/api/lifecycle"),
            model: config.model.clone(),
            encrypted: config.encrypted_notifications,
            life: config.subscription_life,
            seed: requests.seed.clone(),
        };
        let pair = Arc::clone(desk.seals().current());
        let certificate = Certificate { id: pair.id().to_owned(), base64: pair.certificate_base64() };
        let mut keeper = Keeper::new(terms, certificate, cursor);
        // What the configuration no longer names is a stray; chats that were followed stay.
        let scopes: Vec<String> = config.chat_scopes.clone();
        let gone = keeper.drop_unwanted(|resource| match Scope::of(resource) {
            Scope::Chat(_) | Scope::Channel(..) => true,
            Scope::User(_) | Scope::Wide => scopes.iter().any(|scope| scope == resource),
        });
        let mut changes: Vec<CursorChange> = gone
            .into_iter()
            .map(|resource| CursorChange { key: format!("{}{resource}", super::subscription::CURSOR), value: None })
            .collect();
        if requests.fresh_seed {
            changes.push(CursorChange { key: SEED.to_owned(), value: Some(requests.seed) });
        }
        let read = |(key, value): &(String, Vec<u8>)| {
            Some((key.strip_prefix(CURSOR)?.to_owned(), serde_json::from_slice(value).ok()?))
        };
        Housekeeping {
            chats: cursor.iter().filter_map(read).collect(),
            lines: requests.lines,
            keeper,
            desk,
            jobs: HashMap::new(),
            reading: HashSet::new(),
            tasks: JoinSet::new(),
            changes,
            refused: HashSet::new(),
            wide_since: HashMap::new(),
        }
    }

    /// Works until told to stop.
    pub(super) async fn run(mut self) -> Result<(), SinkError> {
        let desk = Arc::clone(&self.desk);
        // The seed is on disk before anybody is told a secret made with it.
        self.store().await?;
        for scope in desk.config.chat_scopes.clone() {
            self.want(&scope);
        }
        self.publish();
        let mut token = desk.client.graph.watch();
        tokio::select! {
            _ = token.wait_for(Option::is_some) => {}
            () = desk.context.stop.cancelled() => return Ok(()),
        }
        self.started();
        self.keep(Input::Start { last_seen: desk.last_seen });
        loop {
            self.store().await?;
            let pause = self.deadline().map(|at| at.since(desk.now()) + Duration::from_millis(1));
            tokio::select! {
                Some(line) = self.lines.recv() => self.take(line),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(came) => self.came(came?),
                    Err(error) => tracing::error!("{}: a task of the upkeep failed: {error}", desk.name()),
                },
                () = sleep(pause) => {}
                () = desk.context.stop.cancelled() => return self.store().await,
            }
            self.keep(Input::Tick);
            self.due();
        }
    }

    /// After a start every chat that was behind is read on from its checkpoint.
    fn started(&mut self) {
        let now = self.desk.now();
        let Some(seen) = self.desk.last_seen else { return };
        let threads: Vec<String> = self.chats.keys().cloned().collect();
        for thread in threads {
            self.read(&thread, Why::Behind, None, now);
            if now.since(seen) > REPEATED_FOR {
                let cause = "the recorder was not running for longer than the service repeats notifications";
                self.gap(Concerned::Thread(thread), seen, now, cause.to_owned());
            }
        }
    }

    fn gap(&self, of: Concerned, from: Timestamp, to: Timestamp, cause: String) {
        let _ = self.desk.orders.send(Order::Gap { of, gap: Gap { cause, from, to } });
    }

    fn want(&mut self, resource: &str) {
        match Scope::of(resource) {
            Scope::Chat(chat) => self.know(&chat, None),
            Scope::Channel(team, channel) => self.know(&channel, Some(&team)),
            Scope::User(_) | Scope::Wide => {}
        }
        self.keep(Input::Want(resource.to_owned()));
    }

    fn know(&mut self, thread: &str, team: Option<&str>) {
        if self.chats.contains_key(thread) {
            return;
        }
        self.chats.insert(thread.to_owned(), Chat { team: team.map(str::to_owned), ..Chat::default() });
        self.note(thread);
    }

    fn note(&mut self, thread: &str) {
        let value = self.chats.get(thread).and_then(|chat| serde_json::to_vec(chat).ok());
        self.changes.push(CursorChange { key: format!("{CURSOR}{thread}"), value });
    }

    fn publish(&self) {
        *self.desk.upkeep.states.write().unwrap_or_else(PoisonError::into_inner) = self.keeper.client_states();
    }

    fn take(&mut self, line: Line) {
        let now = self.desk.now();
        match line {
            Line::Follow(thread, team) => {
                let known = self.chats.contains_key(&thread);
                self.know(&thread, team.as_deref());
                if let Some(chat) = self.chats.get_mut(&thread)
                    && !std::mem::replace(&mut chat.followed, true)
                {
                    // What was only heard of has no past here yet.
                    chat.checkpoint = None;
                    self.note(&thread);
                }
                let resource = Scope::resource(&thread, team.as_deref());
                let covered = self.keeper.resources().any(|one| one.eq_ignore_ascii_case("/chats/getAllMessages"));
                if covered && team.is_none() {
                    // Everything comes already; only the past is wanted.
                    self.read(&thread, Why::Behind, None, now);
                } else {
                    self.want(&resource);
                    self.publish();
                    if known {
                        self.read(&thread, Why::Behind, None, now);
                    }
                }
            }
            Line::Heard(thread, team) => {
                if !self.chats.contains_key(&thread) {
                    self.know(&thread, team.as_deref());
                    // What came before is not ours; what comes now is compared every night.
                    if let Some(chat) = self.chats.get_mut(&thread) {
                        chat.checkpoint = Some(now);
                        chat.compared = Some(now);
                    }
                    self.note(&thread);
                }
            }
            Line::CallEnded(thread, at) => {
                let polls: Vec<Timestamp> =
                    self.desk.config.chat_polls_after_call.iter().map(|pause| at.plus(*pause)).collect();
                if let Some(chat) = self.chats.get_mut(&thread) {
                    chat.polls.extend(polls);
                    chat.polls.sort_unstable();
                    self.note(&thread);
                }
            }
            Line::Lifecycle(subscription, event) => self.keep(Input::Lifecycle { subscription, event }),
            Line::Delivered(subscription) => self.keep(Input::Delivered(subscription)),
            Line::NewKey(certificate) => self.keep(Input::NewKey(certificate)),
        }
    }

    /// Gives the keeper an input and performs what it says.
    fn keep(&mut self, input: Input) {
        let now = self.desk.now();
        for action in self.keeper.handle(input, now) {
            match action {
                Action::Ask(token, ask) => {
                    let desk = Arc::clone(&self.desk);
                    self.tasks.spawn(async move { Ok(Came::Subscription(token, desk.client.ask(ask).await)) });
                }
                Action::Lapsed { resource, from, to, cause } => {
                    let of = match Scope::of(&resource) {
                        Scope::Chat(thread) | Scope::Channel(_, thread) => Concerned::Thread(thread),
                        Scope::User(_) | Scope::Wide => Concerned::Scope,
                    };
                    self.wide_since.insert(resource, from);
                    self.gap(of, from, to, cause);
                }
                Action::Backfill(resource) => self.backfill(&resource),
                Action::Store(key, value) => self.changes.push(CursorChange { key, value }),
                Action::Alarm(text) => {
                    self.desk.context.health.count("subscription_alarms");
                    tracing::error!(connector.name = self.desk.name(), "{}: {text}", self.desk.name());
                }
                Action::Warn(text) => tracing::warn!(connector.name = self.desk.name(), "{}: {text}", self.desk.name()),
            }
        }
    }

    fn backfill(&mut self, resource: &str) {
        let now = self.desk.now();
        let lapsed = self.wide_since.remove(resource);
        match Scope::of(resource) {
            Scope::Chat(thread) | Scope::Channel(_, thread) => self.read(&thread, Why::Behind, None, now),
            Scope::User(user) => {
                if let Some(since) = lapsed {
                    let job =
                        Job { past: Past::User(user.clone()), why: Why::Behind, since: Some(since), not_before: now };
                    self.jobs.insert(format!("user:{user}"), job);
                }
            }
            Scope::Wide => {
                // There is no reading of everything; every chat that is known is read from where it lapsed.
                if lapsed.is_some() {
                    let threads: Vec<String> = self.chats.keys().cloned().collect();
                    for thread in threads {
                        self.read(&thread, Why::Behind, lapsed, now);
                    }
                }
            }
        }
    }

    /// Puts a chat on the list of those to be read; a wish that reaches further back wins.
    fn read(&mut self, thread: &str, why: Why, since: Option<Timestamp>, not_before: Timestamp) {
        let Some(chat) = self.chats.get(thread) else { return };
        let past = match &chat.team {
            Some(team) => Past::Channel(team.clone(), thread.to_owned()),
            None => Past::Chat(thread.to_owned()),
        };
        let job = Job { past, why, since, not_before };
        match self.jobs.get_mut(thread) {
            Some(known) => {
                known.why = known.why.max(why);
                known.not_before = known.not_before.min(not_before);
            }
            None => {
                self.jobs.insert(thread.to_owned(), job);
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let config = &self.desk.config;
        let free = self.reading.len() < AT_A_TIME;
        let jobs =
            self.jobs.iter().filter(|(key, _)| free && !self.reading.contains(*key)).map(|(_, job)| job.not_before);
        let polls = self.chats.values().filter_map(|chat| chat.polls.first().copied());
        let compares =
            self.chats.values().map(|chat| chat.compared.map_or(Timestamp(0), |at| at.plus(config.reconcile_every)));
        jobs.chain(polls).chain(compares).chain(self.keeper.deadline()).min()
    }

    /// Begins what is due.
    fn due(&mut self) {
        let now = self.desk.now();
        let every = self.desk.config.reconcile_every;
        let mut poll = Vec::new();
        let mut compare = Vec::new();
        for (thread, chat) in &mut self.chats {
            if chat.polls.first().is_some_and(|at| *at <= now) {
                chat.polls.retain(|at| *at > now);
                poll.push(thread.clone());
            }
            match chat.compared {
                // The first reading is one from the beginning.
                None => chat.compared = Some(now),
                Some(at) if at.plus(every) <= now => {
                    chat.compared = Some(now);
                    compare.push(thread.clone());
                }
                Some(_) => continue,
            }
        }
        for thread in poll {
            self.read(&thread, Why::Poll, None, now);
            self.note(&thread);
        }
        for thread in compare {
            self.read(&thread, Why::Compare, None, now);
            self.note(&thread);
        }
        while self.reading.len() < AT_A_TIME {
            let ready = self.jobs.iter().filter(|(key, job)| job.not_before <= now && !self.reading.contains(*key));
            let Some(key) = ready.min_by_key(|(_, job)| job.why).map(|(key, _)| key.clone()) else { return };
            if let Some(job) = self.jobs.remove(&key) {
                self.begin(key, job, now);
            }
        }
    }

    fn begin(&mut self, key: String, job: Job, now: Timestamp) {
        let config = &self.desk.config;
        let back = |at: Timestamp, by: Duration| Timestamp(at.micros() - i64::try_from(by.as_micros()).unwrap_or(0));
        let checkpoint = self.chats.get(&key).and_then(|chat| chat.checkpoint);
        let since = match job.why {
            Why::Compare => Some(back(now, config.reconcile_window)),
            // From the beginning, if there is no checkpoint.
            Why::Poll | Why::Behind => {
                job.since.map_or(checkpoint, |since| Some(checkpoint.map_or(since, |c| c.min(since))))
            }
        };
        let since = since.map(|at| back(at, config.backfill_overlap));
        let priority = if job.why == Why::Poll { Priority::Upkeep } else { Priority::Backfill };
        let backfill = Backfill::new(job.past, since, &config.model, priority);
        self.reading.insert(key.clone());
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move { Ok(Came::Read(key, job.why, read(&desk, backfill).await?)) });
    }

    fn came(&mut self, came: Came) {
        let now = self.desk.now();
        match came {
            Came::Subscription(token, reply) => {
                self.keep(Input::Reply(token, reply, fastrand::f64()));
                self.publish();
            }
            Came::Read(key, why, step) => {
                self.reading.remove(&key);
                match step {
                    Step::Done { checkpoint, messages } => {
                        self.refused.remove(&key);
                        tracing::debug!(
                            chat.messages = messages,
                            "{}: the past of a chat is read ({why:?})",
                            self.desk.name()
                        );
                        if let Some(chat) = self.chats.get_mut(&key) {
                            chat.checkpoint = chat.checkpoint.max(checkpoint);
                            chat.compared.get_or_insert(now);
                            self.note(&key);
                        }
                    }
                    Step::Refused(trouble) => {
                        tracing::warn!(
                            "{}: the service does not give the messages of a chat: {trouble}",
                            self.desk.name()
                        );
                        if self.chats.contains_key(&key) && self.refused.insert(key.clone()) {
                            let from = self.chats.get(&key).and_then(|chat| chat.checkpoint).unwrap_or(now);
                            let cause = format!("the service refused the messages of this conversation ({trouble})");
                            self.gap(Concerned::Thread(key), from.min(now), now, cause);
                        }
                    }
                    Step::Failed(trouble) => {
                        tracing::warn!("{}: the past of a chat could not be read yet: {trouble}", self.desk.name());
                        self.read(&key, why, None, now.plus(AGAIN));
                    }
                    Step::Ask(_) => {}
                }
            }
        }
    }

    async fn store(&mut self) -> Result<(), SinkError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let batch = Append { cursor: std::mem::take(&mut self.changes), ..Append::default() };
        self.desk.append(batch).await.map(|_| ())
    }
}

/// Reads the past; each page is stored before the next is asked for.
async fn read(desk: &Desk, mut backfill: Backfill) -> Result<Step, SinkError> {
    loop {
        let ask = match backfill.step() {
            Step::Ask(ask) => ask,
            other => return Ok(other),
        };
        let asked = match &ask.address {
            super::ask::Address::Graph(path) => format!("GET {}/v1.0{path}", desk.config.endpoints.graph_url),
            super::ask::Address::Link(link) => format!("GET {link}"),
            super::ask::Address::Connector { path, .. } => format!("GET {path}"),
        };
        let reply = desk.client.ask(ask).await;
        if let (true, Reply::Answer { status, content_type, body, .. }) = (reply.is_success(), &reply) {
            let has_messages =
                reply.json().get("value").and_then(serde_json::Value::as_array).is_some_and(|l| !l.is_empty());
            if has_messages {
                let envelope = Envelope {
                    received_at: desk.now(),
                    server_date: None,
                    request: asked,
                    status: *status,
                    content_type: content_type.clone(),
                    body: body.clone(),
                    pending: true,
                };
                desk.append(Append { envelopes: vec![envelope], ..Append::default() }).await?;
                desk.arrived.notify_one();
            }
        }
        if let Some(step) = backfill.answered(&reply) {
            return Ok(step);
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
