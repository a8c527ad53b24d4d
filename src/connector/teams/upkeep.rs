//! Keeps what reaches us complete: subscriptions alive, the past read after each gap, chats compared every night.
//!
//! One task around three machines: the [`Keeper`] of subscriptions, the [`Planner`] of readings, and a [`Backfill`] for each
//! reading. Requests and stored pages come back to it as lines.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ask::Reply;
use super::backfill::{self, Backfill, Target};
use super::change::{Item, Says};
use super::chats::{Concerned, Owed};
use super::desk::Desk;
use super::fact::Fact;
use super::moment;
use super::plan::{self, Ended, Job, Planner, Reason, Rules};
use super::subscription::{self, Cause, Certificate, Keeper, Terms, Token, Why};
use crate::capture::{Append, CursorChange, Envelope, Origin, SinkError};
use crate::model::{Gap, Timestamp};

/// Cursor entry of the secret that `clientState` is made with.
const SEED: &str = "seed";

/// With more subscriptions than this, those of quiet chats are let go: half of what an organisation may have.
const CROWDED: usize = 5_000;

/// What goes on not being readable is told so often.
const PIECE: Duration = Duration::from_secs(24 * 3600);

/// How long a note waits for the conversation of its chat: the facts of a call wait for their chat, too.
const NOTE_WAITS: Duration = Duration::from_secs(10);

/// Between tries of an archive that refuses.
const PROBE: Duration = Duration::from_secs(2);

/// Between looks at the notes that wait.
const NOTE_LOOK: Duration = Duration::from_millis(500);

/// What is asked of the task.
enum Line {
    Follow(Target),
    Heard(Target),
    CallEnded(Target),
    Keeper(subscription::Input, Option<Ack>),
    Missed,
}

/// What is to be done when what follows from a line is stored.
type Ack = Box<dyn FnOnce() + Send>;

/// The way to the task.
pub(super) struct Upkeep {
    lines: mpsc::UnboundedSender<Line>,
    keeper: Mutex<Option<Keeper>>,
}

fn target(thread: &str, team: Option<&str>) -> Target {
    match team {
        Some(team) => Target::Channel { team: team.to_owned(), channel: thread.to_owned() },
        None => Target::Chat { thread: thread.to_owned() },
    }
}

impl Upkeep {
    pub(super) fn new() -> (Upkeep, Requests) {
        // Unbounded in type; what is in it stands for something stored.
        let (sender, lines) = mpsc::unbounded_channel();
        (Upkeep { lines: sender, keeper: Mutex::new(None) }, Requests(lines))
    }

    fn tell(&self, line: Line) {
        let _ = self.lines.send(line);
    }

    /// A chat is to be recorded, or a channel of a team; all of its past with it.
    pub(super) fn follow(&self, thread: &str, team: Option<&str>) {
        self.tell(Line::Follow(target(thread, team)));
    }

    /// Something was heard of a chat.
    pub(super) fn heard(&self, thread: &str, team: Option<&str>) {
        self.tell(Line::Heard(target(thread, team)));
    }

    /// A call with this chat has ended.
    pub(super) fn call_ended(&self, thread: &str) {
        self.tell(Line::CallEnded(target(thread, None)));
    }

    /// A notification or an activity could not be stored; when the archive stores again, the chats are read.
    pub(super) fn missed(&self) {
        self.tell(Line::Missed);
    }

    /// Something about a subscription; `ack` is called when what follows from it is stored.
    pub(super) fn lifecycle(&self, item: &Item, ack: Ack) {
        match &item.says {
            Says::Lifecycle(event) => {
                let input = subscription::Input::Lifecycle {
                    subscription: item.subscription.clone(),
                    event: event.clone(),
                    expires: item.expires.as_deref().and_then(moment::time),
                };
                self.tell(Line::Keeper(input, Some(ack)));
            }
            _ => ack(),
        }
    }

    /// Notifications came through a subscription.
    pub(super) fn delivered(&self, subscription: &str) {
        let subscription = subscription.to_owned();
        self.tell(Line::Keeper(subscription::Input::Delivered { subscription, count: 1 }, None));
    }

    /// There is a new key pair.
    pub(super) fn new_key(&self, id: String, base64: String) {
        self.tell(Line::Keeper(subscription::Input::NewKey(Certificate { id, base64 }), None));
    }

    /// Whether a notification bears the secret of its subscription.
    pub(super) fn knows(&self, subscription: &str, client_state: &str) -> bool {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.as_ref().is_some_and(|keeper| keeper.recognise(subscription, client_state).is_some())
    }

    fn keeper<T>(&self, act: impl FnOnce(&mut Keeper) -> T) -> Option<T> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
    }
}

/// What the task takes up.
pub(super) struct Requests(mpsc::UnboundedReceiver<Line>);

enum Came {
    Subscription(Token, Reply),
    Read(Job, Read),
}

/// What is to be on record, in the conversation of this chat.
struct Note {
    thread: Option<String>,
    fact: Fact,
    /// From then on without a conversation: a chat in which nothing was ever said has none.
    until: Timestamp,
}

/// How a reading of the past ended.
enum Read {
    Done(backfill::Done),
    Refused(String),
    Failed(String),
}

/// The task. See the module.
pub(super) struct Housekeeping {
    desk: Arc<Desk>,
    lines: mpsc::UnboundedReceiver<Line>,
    planner: Planner,
    tasks: JoinSet<Result<Came, SinkError>>,
    changes: Vec<CursorChange>,
    /// What is to be on record.
    notes: Vec<Note>,
    /// Gaps that are to be logged as soon as they are owed on disk.
    gaps: Vec<Owed>,
    /// What the keeper wanted before there was a token.
    first: Vec<subscription::Action>,
    /// To be called when everything so far is stored.
    acks: Vec<Ack>,
    /// A body was refused: the chats are read when the archive stores again.
    missed: bool,
    /// When the archive that refuses was tried last.
    probed: Option<Timestamp>,
    /// When the notes that wait were looked at last.
    looked: Option<Timestamp>,
    /// Targets of which something was heard and nothing read yet.
    heard: HashSet<Target>,
    /// Targets that cannot be read, with the time until which that is told.
    broken: HashMap<Target, Timestamp>,
    cursor: Vec<(String, Vec<u8>)>,
}

impl Housekeeping {
    /// Takes up what an earlier run kept; from here on notifications are recognised.
    pub(super) fn new(desk: Arc<Desk>, requests: Requests, cursor: &[(String, Vec<u8>)]) -> Housekeeping {
        let config = &desk.config;
        let mut changes = Vec::new();
        let known =
            cursor.iter().find(|(key, _)| key == SEED).and_then(|(_, seed)| <[u8; 32]>::try_from(&seed[..]).ok());
        let seed = known.unwrap_or_else(|| {
            let mut seed = [0; 32];
            // Without randomness of the system there would be no TLS either.
            let _ = aws_lc_rs::rand::fill(&mut seed);
            changes.push(CursorChange { key: SEED.to_owned(), value: Some(seed.to_vec()) });
            seed
        });
        let pair = Arc::clone(desk.seals().current());
        let certificate = Certificate { id: pair.id().to_owned(), base64: pair.certificate_base64() };
        let terms = Terms {
            notification_url: desk.callback("/api/notifications"),
            lifecycle_url: desk.callback("/api/lifecycle"),
            model: config.model.clone(),
            life: config.subscription_life,
            certificate: config.encrypted_notifications.then_some(certificate),
            crowded: CROWDED,
            seed,
        };
        let mut keeper = Keeper::new(terms, fastrand::u64(..));
        let start = subscription::Input::Start {
            entries: cursor.to_vec(),
            scopes: config.chat_scopes.clone(),
            last_seen: desk.last_seen,
        };
        let first = keeper.handle(start, desk.now());
        *desk.upkeep.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        let planner = Planner::new(Rules {
            every: config.reconcile_every,
            window: config.reconcile_window,
            overlap: config.backfill_overlap,
            polls: config.chat_polls_after_call.clone(),
        });
        Housekeeping {
            lines: requests.0,
            planner,
            tasks: JoinSet::new(),
            changes,
            notes: Vec::new(),
            gaps: Vec::new(),
            acks: Vec::new(),
            missed: false,
            probed: None,
            looked: None,
            first,
            heard: HashSet::new(),
            broken: HashMap::new(),
            cursor: cursor.to_vec(),
            desk,
        }
    }

    /// Works until told to stop.
    pub(super) async fn run(mut self) -> Result<(), SinkError> {
        let desk = Arc::clone(&self.desk);
        // The seed is on disk before anybody is told a secret made with it.
        self.store().await?;
        let mut token = desk.client.graph.watch();
        tokio::select! {
            _ = token.wait_for(Option::is_some) => {}
            () = desk.context.stop.cancelled() => return Ok(()),
        }
        let first = std::mem::take(&mut self.first);
        self.perform(first);
        // Nothing is read that nobody wants any more: what was heard of through a scope that is gone, or was one itself.
        let mut cursor = std::mem::take(&mut self.cursor);
        let spelt = |resource: &str| subscription::canonical(resource).to_ascii_lowercase();
        let alone = |keeper: &mut Keeper| keeper.resources().map(|(resource, _)| spelt(resource)).collect();
        let alone: HashSet<String> = desk.upkeep.keeper(alone).unwrap_or_default();
        cursor.retain(|(key, _)| match plan::target_of(key) {
            Some(target) if !self.is_wanted(&target) && !alone.contains(&spelt(&target.resource())) => {
                self.changes.push(CursorChange { key: key.clone(), value: None });
                false
            }
            _ => true,
        });
        self.plan(plan::Input::Start(cursor));
        for scope in desk.config.chat_scopes.clone() {
            match Target::of_resource(&scope) {
                // All the past of single chats; of a person's chats what comes from now on, and what is missed of that.
                Some(target @ Target::User { .. }) => {
                    self.plan(plan::Input::Follow { target, since: Some(desk.now()) });
                }
                Some(target) => self.plan(plan::Input::Follow { target, since: None }),
                None => {}
            }
        }
        let mut storage = desk.context.health.storage();
        loop {
            self.store().await?;
            let refuses = storage.borrow_and_update().refuses.is_some();
            if refuses && self.probed.is_none_or(|at| desk.now().since(at) >= PROBE) {
                // A webhook was refused and nobody else may have anything to store: whether the archive stores again is tried.
                self.probed = Some(desk.now());
                let value = Some(desk.now().millis().to_string().into_bytes());
                self.changes.push(CursorChange { key: "probe".to_owned(), value });
                continue;
            }
            if !refuses && std::mem::take(&mut self.missed) {
                tracing::info!("{}: reads the chats for what could not be stored", desk.name());
                self.plan(plan::Input::Everything(Reason::Gap));
                continue;
            }
            let probe = refuses.then(|| desk.now().plus(PROBE));
            let keeper = desk.upkeep.keeper(|keeper| keeper.deadline()).flatten();
            let notes = (!self.notes.is_empty()).then(|| desk.now().plus(NOTE_LOOK));
            let deadline = keeper.into_iter().chain(self.planner.deadline()).chain(notes).chain(probe).min();
            let pause = deadline.map(|at| at.since(desk.now()) + Duration::from_millis(1));
            tokio::select! {
                Some(line) = self.lines.recv() => self.take(line),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(came) => self.came(came?),
                    Err(error) => tracing::error!("{}: a task of the upkeep failed: {error}", desk.name()),
                },
                () = sleep(pause) => {
                    self.keep(subscription::Input::Tick);
                    self.plan(plan::Input::Tick);
                }
                _ = storage.changed() => {}
                () = desk.context.stop.cancelled() => {
                    self.keep(subscription::Input::Stop);
                    return self.store().await;
                }
            }
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Follow(target) => {
                let Some(target) = self.readable(target) else { return };
                if self.heard.remove(&target) {
                    // What was only heard of has no past here yet.
                    self.plan(plan::Input::Drop(target.clone()));
                }
                let wide = self.desk.config.chat_scopes.iter().any(|scope| {
                    subscription::same(scope, "/chats/getAllMessages") && matches!(target, Target::Chat { .. })
                });
                if !wide {
                    self.keep(subscription::Input::Want(target.resource(), Why::Call));
                }
                self.plan(plan::Input::Follow { target, since: None });
            }
            Line::Heard(target) => {
                let now = self.desk.now();
                if !self.planner.follows(&target) {
                    self.heard.insert(target.clone());
                    self.plan(plan::Input::Follow { target, since: Some(now) });
                }
            }
            Line::CallEnded(target) => {
                let target = match &target {
                    Target::Chat { thread } => self.planner.channel(thread).unwrap_or(target),
                    _ => target,
                };
                self.plan(plan::Input::CallEnded(target));
            }
            Line::Keeper(input, ack) => {
                self.keep(input);
                self.acks.extend(ack);
            }
            Line::Missed => self.missed = true,
        }
    }

    /// Whether a scope of the configuration stands for a target.
    fn is_wanted(&self, target: &Target) -> bool {
        let scopes = &self.desk.config.chat_scopes;
        let scope = |of: &str| scopes.iter().any(|scope| subscription::same(scope, of));
        let person = || scopes.iter().any(|scope| matches!(Target::of_resource(scope), Some(Target::User { .. })));
        match target {
            Target::User { .. } => scope(&target.resource()),
            Target::Chat { .. } => scope("/chats/getAllMessages") || person(),
            Target::Channel { .. } => scope("/teams/getAllMessages"),
        }
    }

    /// The chat of a meeting in a channel is that channel's, and is reached through its team alone: from the configuration, or
    /// from what the bot heard of it. `None`, and a gap, where the team is not known.
    fn readable(&mut self, target: Target) -> Option<Target> {
        let Target::Chat { thread } = &target else { return Some(target) };
        if !thread.ends_with("@thread.tacv2") {
            return Some(target);
        }
        if let Some(channel) = self.planner.channel(thread) {
            return Some(channel);
        }
        let all = self.desk.config.chat_scopes.iter().any(|scope| subscription::same(scope, "/teams/getAllMessages"));
        if !all {
            let now = self.desk.now();
            let cause =
                "the chat of a meeting in a channel is followed only if its channel is among chat_scopes".to_owned();
            tracing::warn!(connector.name = self.desk.name(), "{}: {thread}: {cause}", self.desk.name());
            self.gap(&target.resource(), now, now, cause);
        }
        None
    }

    fn keep(&mut self, input: subscription::Input) {
        let now = self.desk.now();
        let actions = self.desk.upkeep.keeper(|keeper| keeper.handle(input, now)).unwrap_or_default();
        self.perform(actions);
    }

    /// Performs what the keeper says.
    fn perform(&mut self, actions: Vec<subscription::Action>) {
        use subscription::Action;
        for action in actions {
            match action {
                Action::Ask(token, ask) => {
                    let desk = Arc::clone(&self.desk);
                    self.tasks.spawn(async move { Ok(Came::Subscription(token, desk.client.ask(ask).await)) });
                }
                Action::Lapsed { resource, from, to, cause } => self.gap(&resource, from, to, cause),
                Action::Backfill { resource, cause } => {
                    let reason = if cause == Cause::New { Reason::New } else { Reason::Gap };
                    self.plan(plan::Input::Due { resource, reason });
                }
                Action::Store { key, value } => self.changes.push(CursorChange { key, value }),
                Action::Alarm { text, .. } => {
                    self.desk.context.health.count("subscription_alarms");
                    tracing::error!(connector.name = self.desk.name(), "{}: {text}", self.desk.name());
                }
                Action::Clear { key } => tracing::info!("{}: settled: {key}", self.desk.name()),
                Action::Warn(text) => tracing::warn!(connector.name = self.desk.name(), "{}: {text}", self.desk.name()),
                Action::Told { resource, subscription, what, expires, trouble } => {
                    let said = trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
                    let words = format!("subscription to {resource}: {what}{said}");
                    let id = subscription.as_deref().unwrap_or_default();
                    let at = self.desk.now().millis();
                    let mut detail = serde_json::Map::new();
                    let expires = expires.map(|at| at.to_string());
                    for (name, value) in [("subscription", &subscription), ("expires", &expires), ("trouble", &trouble)]
                    {
                        detail.extend(value.as_ref().map(|value| (name.to_owned(), value.as_str().into())));
                    }
                    detail.insert("resource".to_owned(), resource.as_str().into());
                    detail.insert("what".to_owned(), what.as_str().into());
                    self.note(
                        &resource,
                        Fact::of_recorder(words, format!("subscription|{resource}|{what}|{id}|{at}"), detail),
                    );
                }
                Action::Ready { resource } => {
                    tracing::info!("{}: notifications of {resource} will come", self.desk.name())
                }
            }
        }
    }

    fn plan(&mut self, input: plan::Input) {
        for action in self.planner.handle(input, self.desk.now()) {
            match action {
                plan::Action::Begin(job) => self.begin(job),
                plan::Action::Store { key, value } => self.changes.push(CursorChange { key, value }),
            }
        }
    }

    fn begin(&mut self, job: Job) {
        tracing::debug!("{}: reads the past of a chat: {:?}", self.desk.name(), job.reason);
        let backfill = Backfill::new(job.target.clone(), job.since, job.until, &self.desk.config.model);
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move { Ok(Came::Read(job, read(&desk, backfill).await?)) });
    }

    /// Puts something on record, in the conversation of the chat if the archive has it.
    fn note(&mut self, resource: &str, fact: Fact) {
        let thread = match Target::of_resource(resource) {
            Some(Target::Chat { thread }) => Some(thread),
            Some(Target::Channel { channel, .. }) => Some(channel),
            Some(Target::User { .. }) | None => None,
        };
        self.notes.push(Note { thread, fact, until: self.desk.now().plus(NOTE_WAITS) });
    }

    /// Puts on record that something was read.
    fn note_reading(&mut self, job: &Job, done: &backfill::Done) {
        let why = match job.reason {
            Reason::Gap => "something may have been missed",
            Reason::New => "it is new here",
            Reason::Again => "it broke off before",
            // Where nothing was said, a line a day would only be noise.
            _ if done.messages == 0 => return,
            Reason::Start => "the recorder has started",
            Reason::CallEnded => "a call in it has ended",
            Reason::Reconcile => "it is compared every so often",
        };
        let resource = job.target.resource();
        let from = job.since.map_or("the beginning".to_owned(), |at| at.to_string());
        let (until, versions) = (job.until, done.messages);
        let words = format!("read {resource} from {from} to {until}, because {why}: {versions} versions of messages");
        let mut detail = serde_json::Map::new();
        detail.insert("resource".to_owned(), resource.as_str().into());
        detail.insert("what".to_owned(), "read".into());
        detail.extend(job.since.map(|at| ("from".to_owned(), at.to_string().into())));
        detail.insert("to".to_owned(), until.to_string().into());
        detail.insert("versions".to_owned(), versions.into());
        self.note(&resource, Fact::of_recorder(words, format!("read|{resource}|{}", until.millis()), detail));
    }

    fn gap(&mut self, resource: &str, from: Timestamp, to: Timestamp, cause: String) {
        let of = match Target::of_resource(resource) {
            Some(Target::Chat { thread }) => Concerned::Thread(thread),
            Some(Target::Channel { channel, .. }) => Concerned::Thread(channel),
            Some(Target::User { .. }) | None => Concerned::Scope,
        };
        self.gaps.push(Owed { of, gap: Gap { cause, from, to } });
    }

    fn came(&mut self, came: Came) {
        let now = self.desk.now();
        match came {
            Came::Subscription(token, reply) => self.keep(subscription::Input::Reply(token, reply)),
            Came::Read(job, read) => {
                let ended = match read {
                    Read::Done(done) => {
                        self.note_reading(&job, &done);
                        // The overlap alone is no news.
                        if done.checkpoint > self.planner.checkpoint(&job.target) {
                            self.keep(subscription::Input::Active(job.target.resource()));
                        }
                        self.broken.remove(&job.target);
                        tracing::debug!("{}: read {} versions of messages", self.desk.name(), done.messages);
                        Ended::Done(done)
                    }
                    Read::Refused(trouble) => {
                        let text = format!("the service refused the messages of this conversation ({trouble})");
                        self.unread(&job.target, text, now);
                        Ended::Refused
                    }
                    Read::Failed(trouble) => {
                        let text =
                            format!("the messages of this conversation could not be read completely ({trouble})");
                        self.unread(&job.target, text, now);
                        Ended::Failed
                    }
                };
                self.plan(plan::Input::Ended(job.target, ended));
            }
        }
    }

    /// A gap for what could not be read: at once, then for each further day until it can.
    fn unread(&mut self, target: &Target, cause: String, now: Timestamp) {
        let resource = target.resource();
        tracing::warn!(connector.name = self.desk.name(), "{}: {resource}: {cause}", self.desk.name());
        let told = self.broken.get(target).copied();
        if told.is_some_and(|until| now.since(until) < PIECE) {
            return;
        }
        self.broken.insert(target.clone(), now);
        if let Target::User { .. } = target {
            // Which conversations that concerns nobody knows; those that are told of are complete without it.
            let words = format!("{resource} cannot be read: {cause}");
            let mut detail = serde_json::Map::new();
            detail.insert("resource".to_owned(), resource.as_str().into());
            detail.insert("what".to_owned(), "unread".into());
            return self
                .note(&resource, Fact::of_recorder(words, format!("unread|{resource}|{}", now.millis()), detail));
        }
        let from = told.or_else(|| self.planner.good_until(target)).unwrap_or(now);
        self.gap(&resource, from.min(now), now, cause);
    }

    async fn store(&mut self) -> Result<(), SinkError> {
        let gaps = std::mem::take(&mut self.gaps);
        self.changes.extend(gaps.iter().map(Owed::entry));
        let mut events = Vec::new();
        let now = self.desk.now();
        let stopping = self.desk.context.stop.is_cancelled();
        let look = stopping || self.looked.is_none_or(|at| now.since(at) >= NOTE_LOOK);
        self.looked = if look { Some(now) } else { self.looked };
        for note in if look { std::mem::take(&mut self.notes) } else { Vec::new() } {
            let conversation = match &note.thread {
                Some(thread) => self.desk.conversations.of_thread(&self.desk, thread).await?,
                None => None,
            };
            let waits = conversation.is_none() && note.thread.is_some() && now < note.until;
            if waits && !stopping {
                self.notes.push(note);
            } else {
                events.push(note.fact.captured(Origin::Recorder, conversation));
            }
        }
        let batch = Append { cursor: std::mem::take(&mut self.changes), events, ..Append::default() };
        if batch != Append::default() {
            self.desk.append(batch).await?;
        }
        for owed in gaps {
            let _ = self.desk.gaps.send(owed);
        }
        for ack in self.acks.drain(..) {
            ack();
        }
        Ok(())
    }
}

/// Reads the past; each page is stored before the next is asked for.
async fn read(desk: &Desk, mut backfill: Backfill) -> Result<Read, SinkError> {
    use backfill::{Action, Input};
    let mut actions = std::collections::VecDeque::from(backfill.handle(Input::Start));
    let mut last: Option<(String, Reply)> = None;
    while let Some(action) = actions.pop_front() {
        match action {
            Action::Ask(ask) => {
                let asked = ask.described(&desk.config.endpoints.graph_url);
                let reply = desk.client.ask(ask).await;
                last = Some((asked, reply.clone()));
                actions.extend(backfill.handle(Input::Reply(reply)));
            }
            Action::Page => {
                if let Some((request, Reply::Answer { status, content_type, body, .. })) = last.take() {
                    let envelope = Envelope {
                        received_at: desk.now(),
                        server_date: None,
                        request,
                        status,
                        content_type,
                        body,
                        pending: true,
                    };
                    desk.append(Append { envelopes: vec![envelope], ..Append::default() }).await?;
                    desk.arrived.notify_one();
                }
                actions.extend(backfill.handle(Input::Stored));
            }
            Action::Done(done) => return Ok(Read::Done(done)),
            Action::Refused { trouble, .. } => return Ok(Read::Refused(trouble)),
            Action::Failed(trouble) => return Ok(Read::Failed(trouble)),
        }
    }
    Ok(Read::Failed("the reading came to no end".to_owned()))
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
