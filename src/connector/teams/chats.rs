//! Reading what is stored of chats: change notifications, pages of the past, activities, in order of arrival.
//!
//! The lane takes pending envelopes from the archive, never from memory: what was read live and what is read after a crash
//! goes the same way. One thing an envelope tells is a piece of [`open::Work`]; a piece may have to wait for the service (a
//! message that was only announced, a picture, the head of a chat not seen before), and meanwhile the pieces of other
//! messages go on. What is ready becomes events in one append, together with what is remembered of each message, and
//! with the envelopes that are told completely.

mod invite;
mod open;
mod room;
mod tell;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use self::open::{Opened, What, Work};
use self::room::Room;
use super::ask::{Ask, Class, Method, Patience, Priority, Reply};
use super::change::Resource;
use super::desk::Desk;
use super::message::{self, Kept, Seen, Want};
use crate::capture::{Append, CursorChange, Envelope, EnvelopeId, SinkError, StoredEnvelope};
use crate::model::{Content, Gap, Kind, Timestamp};

/// Envelopes read in one go.
const PAGE: usize = 256;

/// Pieces that may wait for the service at a time; beyond, no further envelopes are read.
const AWAITED: usize = 1_000;

/// Messages of which the newest version is remembered without asking the archive.
const REMEMBERED: usize = 20_000;

/// How long an edited message of which no earlier version is known waits for that one: notifications overtake each other.
const HOLD: Duration = Duration::from_secs(2);

/// How long an envelope waits that cannot be checked at the moment.
const LATER: Duration = Duration::from_secs(1);

/// How long a message that the service does not give for the moment is asked for again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// A gap that is to be logged. It is in the cursor until it is, so that a crash in between forgets none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// Which chats.
    pub(super) of: Concerned,
    /// The span.
    pub(super) gap: Gap,
}

/// Cursor entries of gaps that are to be logged.
const OWED: &str = "gap/";

impl Owed {
    /// The entry that keeps it.
    pub(super) fn entry(&self) -> CursorChange {
        CursorChange { key: self.key(), value: serde_json::to_vec(self).ok() }
    }

    fn key(&self) -> String {
        let thread = match &self.of {
            Concerned::Thread(thread) => thread,
            Concerned::Scope => "",
        };
        format!("{OWED}{}/{}/{thread}", self.gap.from.micros(), self.gap.to.micros())
    }
}

/// Which chats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Concerned {
    /// One.
    Thread(String),
    /// All that are known.
    Scope,
}

/// What comes back from the service.
enum Came {
    /// A message that was asked for.
    Message(Box<Work>, Reply),
    /// The contents that a message holds.
    Contents(Box<Ready>, Contents),
    /// The newest version of a message after an older one was told.
    Newest(Box<Ready>, Reply),
    /// The head of a chat.
    Head(String, Reply),
    /// The notice was sent, or not.
    Notice(invite::Sent),
    /// What follows from this envelope is stored.
    Kept(EnvelopeId),
}

/// What became of the contents of a message: what is kept, or why not.
type Contents = Vec<(Want, Result<Kept, String>)>;

/// A version of a message that can be read.
struct Ready {
    work: Work,
    json: Value,
    live: bool,
    /// Why it had to be fetched, if by a fault.
    fault: Option<String>,
    /// The answer it came in.
    answer: Option<Envelope>,
    held: bool,
    contents: Option<Contents>,
    /// Where it was found, if it does not say so itself.
    thread: Option<String>,
}

/// The reading of chats.
pub(super) struct Lane {
    desk: Arc<Desk>,
    /// Gaps that the rest of the connector has found.
    gaps: mpsc::UnboundedReceiver<Owed>,
    /// Gaps that an earlier run did not come to log.
    owed: Vec<Owed>,
    after: Option<EnvelopeId>,
    /// Pieces of each envelope that are not told yet.
    parts: HashMap<EnvelopeId, usize>,
    told: Vec<EnvelopeId>,
    came: (mpsc::UnboundedSender<Came>, mpsc::UnboundedReceiver<Came>),
    awaited: usize,
    ready: Vec<Ready>,
    /// Threads of which a message is being fetched, with those that are next: what is told at the same time stays in order.
    fetching: HashMap<String, VecDeque<Work>>,
    /// Threads that the upkeep knows of.
    heard: HashSet<String>,
    /// Messages whose contents are being fetched, with what came for them since.
    busy: HashMap<String, VecDeque<Ready>>,
    held: Vec<(Timestamp, Ready)>,
    later: Vec<(Timestamp, StoredEnvelope)>,
    again: Vec<(Timestamp, Work)>,
    seen: HashMap<String, Option<Seen>>,
    rooms: HashMap<String, Room>,
    batch: Append,
    /// Messages told in this batch: what is remembered of them is written with it.
    touched: HashSet<String>,
}

impl Lane {
    /// Takes up the chats of an earlier run.
    pub(super) fn new(desk: Arc<Desk>, gaps: mpsc::UnboundedReceiver<Owed>, cursor: &[(String, Vec<u8>)]) -> Lane {
        let rooms = room::restored(cursor);
        let owed = cursor.iter().filter(|(key, _)| key.starts_with(OWED));
        let owed = owed.filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect();
        Lane {
            desk,
            gaps,
            owed,
            after: None,
            parts: HashMap::new(),
            told: Vec::new(),
            came: mpsc::unbounded_channel(),
            awaited: 0,
            ready: Vec::new(),
            fetching: HashMap::new(),
            heard: HashSet::new(),
            busy: HashMap::new(),
            held: Vec::new(),
            later: Vec::new(),
            again: Vec::new(),
            seen: HashMap::new(),
            rooms,
            batch: Append::default(),
            touched: HashSet::new(),
        }
    }

    /// Reads for ever; ends when told to stop, with everything stored that is ready.
    pub(super) async fn run(mut self) -> Result<(), SinkError> {
        let desk = Arc::clone(&self.desk);
        for owed in std::mem::take(&mut self.owed) {
            self.owe(owed).await?;
        }
        // Notices that the last run did not come to send, or of which it did not hear what came of them.
        let unsaid = self.rooms.iter().filter(|(_, room)| room.note.notice.is_some());
        for thread in unsaid.map(|(thread, _)| thread.clone()).collect::<Vec<_>>() {
            self.say_notice(&thread).await;
        }
        loop {
            let mut idle = true;
            if self.awaited < AWAITED {
                let page = desk.pending(self.after, PAGE).await?;
                idle = page.len() < PAGE;
                if let Some(last) = page.last() {
                    self.after = Some(last.id);
                }
                for stored in page {
                    self.open(stored).await?;
                    // Opening may be half a millisecond of RSA: a full page of it must not hold up those who answer.
                    tokio::task::yield_now().await;
                }
            }
            self.store().await?;
            if !idle {
                continue;
            }
            let deadline = self.deadline().map(|at| at.since(desk.now()) + Duration::from_millis(1));
            tokio::select! {
                () = desk.arrived.notified() => {}
                Some(came) = self.came.1.recv() => {
                    self.take(came).await?;
                    while let Ok(came) = self.came.1.try_recv() {
                        self.take(came).await?;
                    }
                }
                Some(owed) = self.gaps.recv() => self.owe(owed).await?,
                () = sleep(deadline) => {}
                () = desk.context.stop.cancelled() => return Ok(()),
            }
            self.due().await?;
            self.store().await?;
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let held = self.held.iter().map(|(at, _)| *at);
        let later = self.later.iter().map(|(at, _)| *at);
        held.chain(later).chain(self.again.iter().map(|(at, _)| *at)).min()
    }

    /// What has waited long enough.
    async fn due(&mut self) -> Result<(), SinkError> {
        let now = self.desk.now();
        self.ready.extend(self.held.extract_if(.., |(at, _)| *at <= now).map(|(_, ready)| ready));
        let later: Vec<StoredEnvelope> = self.later.extract_if(.., |(at, _)| *at <= now).map(|(_, one)| one).collect();
        for stored in later {
            self.open(stored).await?;
        }
        let again: Vec<Work> = self.again.extract_if(.., |(at, _)| *at <= now).map(|(_, work)| work).collect();
        for work in again {
            self.begin(work).await?;
        }
        Ok(())
    }

    async fn open(&mut self, stored: StoredEnvelope) -> Result<(), SinkError> {
        let desk = Arc::clone(&self.desk);
        let told = match open::open(&desk, &stored).await {
            Opened::NotOurs => return Ok(()),
            Opened::Later => {
                self.later.push((desk.now().plus(LATER), stored));
                return Ok(());
            }
            Opened::Told(told) => told,
        };
        if told.is_empty() {
            self.told.push(stored.id);
            return Ok(());
        }
        self.parts.insert(stored.id, told.len());
        for what in told {
            let work = Work { envelope: stored.id, received_at: stored.envelope.received_at, what };
            self.begin(work).await?;
        }
        Ok(())
    }

    /// One piece of an envelope is told.
    fn done(&mut self, envelope: EnvelopeId) {
        if let Some(parts) = self.parts.get_mut(&envelope) {
            *parts -= 1;
            if *parts == 0 {
                self.parts.remove(&envelope);
                self.told.push(envelope);
            }
        }
    }

    async fn begin(&mut self, work: Work) -> Result<(), SinkError> {
        match work.what {
            What::Message { ref json, live } => {
                let json = json.clone();
                self.ready.push(Ready {
                    work,
                    json,
                    live,
                    fault: None,
                    answer: None,
                    held: false,
                    contents: None,
                    thread: None,
                });
            }
            What::Fetch { ref resource, .. } => match (resource.path(), resource.thread()) {
                (Some(_), Some(thread)) => match self.fetching.get_mut(thread) {
                    Some(next) => next.push_back(work),
                    None => {
                        self.fetching.insert(thread.to_owned(), VecDeque::new());
                        self.fetch(work);
                    }
                },
                _ => self.unreadable(work, "it names no message").await?,
            },
            _ => self.tell_other(work).await?,
        }
        Ok(())
    }

    fn fetch(&mut self, work: Work) {
        let What::Fetch { resource, .. } = &work.what else { return };
        let (Some((path, class)), Some(budget)) = (resource.path(), resource.budget()) else { return };
        let ask = Ask::graph(Method::Get, path, class, Priority::Live).of_thread(budget);
        let ask = Ask { patience: Patience::Tries(3), ..ask };
        self.ask(ask, move |reply| Came::Message(Box::new(work), reply));
    }

    /// Asks the service beside everything else.
    fn ask(&mut self, ask: Ask, come: impl FnOnce(Reply) -> Came + Send + 'static) {
        let (desk, came) = (Arc::clone(&self.desk), self.came.0.clone());
        self.awaited += 1;
        tokio::spawn(async move {
            let reply = desk.client.ask(ask).await;
            let _ = came.send(come(reply));
        });
    }

    async fn take(&mut self, came: Came) -> Result<(), SinkError> {
        self.awaited = self.awaited.saturating_sub(1);
        match came {
            Came::Message(work, reply) => {
                if let What::Fetch { resource, .. } = &work.what
                    && let Some(thread) = resource.thread()
                {
                    match self.fetching.get_mut(thread).and_then(VecDeque::pop_front) {
                        Some(next) => self.fetch(next),
                        None => {
                            self.fetching.remove(thread);
                        }
                    }
                }
                self.fetched(*work, reply).await
            }
            Came::Contents(ready, kept) => {
                let ready = Ready { contents: Some(kept), ..*ready };
                let waiting = ready.key().and_then(|key| self.busy.remove(&key));
                self.ready.push(ready);
                self.ready.extend(waiting.into_iter().flatten());
                Ok(())
            }
            Came::Newest(ready, reply) => {
                self.restate(*ready, &reply);
                Ok(())
            }
            Came::Head(thread, reply) => self.head(&thread, &reply).await,
            Came::Notice(sent) => self.noticed(sent).await,
            Came::Kept(envelope) => {
                self.done(envelope);
                Ok(())
            }
        }
    }

    /// A message that was asked for.
    async fn fetched(&mut self, work: Work, reply: Reply) -> Result<(), SinkError> {
        let What::Fetch { resource, change, fault, witness } = &work.what else { return Ok(()) };
        if reply.is_success() && reply.json().is_object() {
            let answer = self.answer(resource, &reply);
            let (json, fault) = (reply.json(), fault.clone());
            let thread = resource.thread().map(str::to_owned);
            self.ready.push(Ready { work, json, live: true, fault, answer, held: false, contents: None, thread });
            return Ok(());
        }
        let now = self.desk.now();
        let transient = matches!(reply.status(), 0 | 429) || reply.status() >= 500;
        if transient && now.since(work.received_at) < GIVE_UP_AFTER {
            self.again.push((now.plus(Duration::from_secs(20)), work));
            return Ok(());
        }
        if let Some(witness) = witness {
            // The bot's word is all there is.
            let work = Work { what: What::Activity(witness.clone()), ..work.clone() };
            return self.tell_other(work).await;
        }
        let gone = matches!(reply.status(), 404 | 410);
        if change.eq_ignore_ascii_case("deleted")
            && gone
            && let Some(fact) = open::deletion(resource, work.received_at)
        {
            let thread = resource.thread().unwrap_or_default().to_owned();
            return self.tell_in(&thread, work, vec![fact]).await;
        }
        self.unreadable(work, &reply.trouble()).await
    }

    /// The answer that a message came in, as an envelope: it is the evidence.
    fn answer(&self, resource: &Resource, reply: &Reply) -> Option<Envelope> {
        let Reply::Answer { status, content_type, body, .. } = reply else { return None };
        let (path, _) = resource.path()?;
        Some(Envelope {
            received_at: self.desk.now(),
            server_date: None,
            request: format!("GET {}/v1.0{path}", self.desk.config.endpoints.graph_url),
            status: *status,
            content_type: content_type.clone(),
            body: body.clone(),
            pending: false,
        })
    }

    /// Something was announced and can be had in no way: a gap, with what is known of it.
    async fn unreadable(&mut self, work: Work, why: &str) -> Result<(), SinkError> {
        let What::Fetch { resource, fault, .. } = &work.what else { return Ok(()) };
        let cause = match fault {
            Some(fault) => format!("a message was announced that could not be decrypted ({fault}) nor fetched ({why})"),
            None => format!("a message was announced that could not be fetched ({why})"),
        };
        tracing::error!(connector.name = self.desk.name(), "{}: {cause}", self.desk.name());
        let thread = resource.thread().unwrap_or_default().to_owned();
        let id = resource.message().unwrap_or_default().to_owned();
        let said = super::moment::from_id(&id).unwrap_or(work.received_at);
        let gap = Gap { cause, from: said.min(work.received_at), to: work.received_at };
        let mut fact =
            super::fact::Fact::new(Kind::CaptureGap, format!("gap|{thread}|{id}|{}", work.received_at.millis()));
        fact.content = Content { gap: Some(gap), source_id: Some(id), ..Content::default() };
        self.tell_in(&thread, work, vec![fact]).await
    }

    /// Logs a gap in the chats concerned.
    async fn owe(&mut self, owed: Owed) -> Result<(), SinkError> {
        let mut logged = true;
        for thread in self.threads_of(&owed.of) {
            self.gap(&thread, owed.gap.clone()).await?;
            logged &= !self.is_opening(&thread);
        }
        // One that waits for the head of its chat stays owed; the next start looks after it.
        if logged {
            self.batch.cursor.push(CursorChange { key: owed.key(), value: None });
        }
        Ok(())
    }

    /// Contents of a message, fetched beside everything else.
    fn fetch_contents(&mut self, ready: Ready, key: String, wants: Vec<Want>) {
        self.busy.insert(key, VecDeque::new());
        self.awaited += 1;
        let (desk, came) = (Arc::clone(&self.desk), self.came.0.clone());
        let priority = if ready.live { Priority::Live } else { Priority::Backfill };
        let team =
            ready.thread.as_ref().and_then(|thread| self.rooms.get(thread)).and_then(|room| room.note.team.clone());
        let budget = team.or_else(|| ready.thread.clone());
        tokio::spawn(async move {
            let mut kept = Vec::with_capacity(wants.len());
            for want in wants {
                // As patient as with the message itself: without the bytes the record would be poorer for ever.
                let ask = Ask {
                    patience: Patience::Tries(9),
                    ..Ask::graph(Method::Get, want.path.clone(), Class::Other, priority)
                };
                let ask = match &budget {
                    Some(budget) => ask.of_thread(budget.clone()),
                    None => ask,
                };
                let outcome = match desk.client.ask(ask).await {
                    Reply::Answer { status: 200..=299, content_type, body, .. } => match desk.keep(body).await {
                        Ok(stored) => {
                            Ok(Kept { sha256: stored.sha256, size: stored.size, media_type: plain(content_type) })
                        }
                        Err(error) => Err(format!("could not be stored: {error}")),
                    },
                    other => Err(format!("could not be fetched: {}", other.trouble())),
                };
                kept.push((want, outcome));
            }
            let _ = came.send(Came::Contents(Box::new(ready), kept));
        });
    }

    /// Reads what is ready and stores what it tells.
    async fn store(&mut self) -> Result<(), SinkError> {
        self.read_ready().await?;
        self.batch.interpreted.append(&mut self.told);
        if self.batch == Append::default() {
            return Ok(());
        }
        for key in self.touched.drain() {
            let value = self.seen.get(&key).and_then(Option::as_ref).map(Seen::to_bytes);
            self.batch.cursor.push(CursorChange { key, value });
        }
        let batch = std::mem::take(&mut self.batch);
        let conversations: Vec<_> = batch.events.iter().filter_map(|event| event.conversation.clone()).collect();
        self.desk.append(batch).await?;
        self.desk.conversations.stored(conversations.iter()).await;
        if self.seen.len() > REMEMBERED {
            self.seen.clear();
        }
        Ok(())
    }
}

impl Ready {
    /// The cursor entry of its message.
    fn key(&self) -> Option<String> {
        let identity = message::identify(&self.json)?;
        let thread = identity.thread.or_else(|| self.thread.clone())?;
        Some(message::key(&thread, &identity.id))
    }
}

/// The media type alone; none for what a service says of everything.
fn plain(content_type: Option<String>) -> Option<String> {
    let kind = content_type?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!kind.is_empty() && kind != "application/octet-stream" && kind != "application/json").then_some(kind)
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
