//! The calls the recorder is in: answers them in time, feeds their machines, and puts what they say into the archive.
//!
//! Two readings of an incoming call. *Ringing* wants to be quick: the decision and the answer go out beside the fsync of the
//! body that told of the call. *Recording* wants to be right: it takes what is stored, in order. What a call says waits
//! until it is known to which conversation it belongs: a call and its chat are one, but the chat's id often comes only when
//! the call is established, and the archive never moves a fact from one conversation to another. Until then the
//! envelopes stay pending, so that a crash loses nothing.
//!
//! Storing goes on beside everything else: while the archive refuses, calls are still kept alive, and the platform is told
//! that recording has failed.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::ask::Reply;
use super::call::{Action, Call, CallSettings, Input, Phase, Token};
use super::desk::Desk;
use super::fact::Fact;
use super::media;
use super::notice::{CallId, CallNotice, NoticeKind};
use super::offer::{self, Decision, Offer};
use super::request;
use crate::capture::health::Storage;
use crate::capture::{Alias, Append, CursorChange, Envelope, EnvelopeId, Origin, SinkError};
use crate::model::{ConversationId, Kind, Timestamp};

/// Time for a decision, its answer and the way back; policy recording allows five seconds (digest §5).
const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);

/// How long what a call says waits for the chat's id after the call was answered.
const SETTLES_AFTER: Duration = Duration::from_secs(4);

/// Calls that have ended are remembered so long, for late notifications.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Cursor entries of calls.
const CURSOR: &str = "call/";

/// A body about calls that is stored.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) envelope: EnvelopeId,
    pub(super) notices: Vec<CallNotice>,
    /// Tenant of the token.
    pub(super) tid: String,
}

/// What reaches the task of calls.
#[derive(Debug)]
pub(super) enum Line {
    /// A stored body.
    Delivered(Delivered),
    /// What came of an offer.
    Outcome(CallId, Input),
    /// What came of a request that a call made: method and address, and the answer.
    Reply(CallId, Token, String, Reply),
    /// The archive was asked for these aliases of a call.
    Learnt(CallId, Result<Vec<Alias>, SinkError>),
    /// A body that told of these calls could not be stored; when it arrived.
    Missed(Vec<CallId>, Timestamp),
}

/// The way to the task of calls.
pub(super) struct Calls {
    lines: mpsc::UnboundedSender<Line>,
    /// Calls that have been decided about.
    offered: Mutex<HashSet<CallId>>,
}

impl Calls {
    pub(super) fn new() -> (Calls, mpsc::UnboundedReceiver<Line>) {
        // Unbounded in type; what is in it is on disk as well, and the webhook waits for that.
        let (lines, inbox) = mpsc::unbounded_channel();
        (Calls { lines, offered: Mutex::default() }, inbox)
    }

    pub(super) fn tell(&self, line: Line) {
        let _ = self.lines.send(line);
    }

    /// Whether this is the first offer of the call.
    fn first(&self, call: &CallId) -> bool {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).insert(call.clone())
    }

    fn forget(&self, call: &CallId) {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).remove(call);
    }

    /// Decides about what rings in a body, and answers it at once; the joining decision, if the reply has to bear one.
    pub(super) fn ring(
        &self,
        desk: &Arc<Desk>,
        notices: &[CallNotice],
        tid: &str,
        arrived: Timestamp,
    ) -> Option<Value> {
        let mut joining = None;
        for notice in notices {
            let Some(call) = &notice.call else { continue };
            match &notice.kind {
                NoticeKind::Incoming if self.first(call) => {
                    let offer = Offer::read(notice, tid);
                    let (desk, call, tid) = (Arc::clone(desk), call.clone(), tid.to_owned());
                    tokio::spawn(async move { decide_and_answer(&desk, call, offer, &tid, arrived).await });
                }
                NoticeKind::Joining => {
                    let answer = match decide_joining(desk, notice, tid) {
                        Decision::Accept { .. } => request::accept_join(),
                        Decision::Decline { .. } => request::reject_join(desk.config.reject_reason),
                    };
                    joining.get_or_insert(answer);
                }
                _ => {}
            }
        }
        joining
    }
}

/// Decides about a joining user by the same rules as about a call; it is a policy that brings them.
fn decide_joining(desk: &Desk, notice: &CallNotice, tid: &str) -> Decision {
    offer::decide(&Offer { policy: true, ..Offer::read(notice, tid) }, &desk.rules, tid)
}

async fn decide_and_answer(desk: &Arc<Desk>, call: CallId, offer: Offer, tid: &str, arrived: Timestamp) {
    let until = arrived.plus(ANSWER_WITHIN);
    match offer::decide(&offer, &desk.rules, tid) {
        Decision::Accept { rule } => {
            let reply = match media::configuration(&desk.config.media).await {
                Ok(media) => {
                    let callback = desk.callback(&format!("/api/calls/{}", call.key()));
                    let answer = request::Answer {
                        callback_uri: &callback,
                        media: media.as_request(),
                        modalities: &desk.config.accepted_modalities,
                        capacity: desk.config.participant_capacity,
                        content_sharing: desk.config.content_sharing,
                        delta_roster: desk.config.delta_roster,
                        cloud: desk.config.cloud,
                    };
                    desk.client.ask(request::answer(&call, &answer, until)).await
                }
                Err(why) => Reply::Failed(why),
            };
            let took = desk.now().since(arrived);
            let outcome = if reply.is_success() { "accepted".to_owned() } else { reply.trouble() };
            tracing::info!(
                connector.name = desk.name(),
                call.id = call.key(),
                call.answer_ms = took.as_millis() as u64,
                "{}: answered a call ({rule}): {outcome}",
                desk.name(),
            );
            desk.context.health.count(if reply.is_success() { "calls_answered" } else { "calls_not_answered" });
            desk.calls.tell(Line::Outcome(call, Input::Answered(reply, took)));
        }
        Decision::Decline { reason } => {
            desk.context.health.count("calls_declined");
            tracing::info!(
                connector.name = desk.name(),
                call.id = call.key(),
                "{}: declined a call: {reason}",
                desk.name()
            );
            let latency = desk.now().since(arrived);
            desk.calls.tell(Line::Outcome(call.clone(), Input::Declined { reason, latency }));
            let reply = desk.client.ask(request::reject(&call, desk.config.reject_reason, until)).await;
            desk.calls.tell(Line::Outcome(call, Input::Rejected(reply)));
        }
    }
}

/// One call with what it has said and is not stored.
struct Leg {
    call: Call,
    conversation: Option<ConversationId>,
    /// The archive is asked for it.
    looking: bool,
    /// The aliases that the archive was asked for.
    learnt: Vec<Alias>,
    /// Said, and not stored: the fact and the envelope it was read from.
    said: Vec<(Fact, Source)>,
    /// Envelopes to be marked as interpreted with the next append.
    read: Vec<EnvelopeId>,
    /// From when on nobody waits any more for the chat's id.
    settles_at: Timestamp,
    /// What came of the offer before the offer itself was read.
    early: Vec<Input>,
    /// It has been asked for since it was established: what is not known of its chat by now will not be.
    asked: bool,
    /// The machine has changed since it was stored.
    dirty: bool,
    ended_at: Option<Timestamp>,
}

/// Where a fact was read.
#[derive(Clone)]
enum Source {
    Stored(EnvelopeId),
    /// An answer of the service, stored with the fact.
    Answer(Arc<Envelope>),
    Recorder,
}

/// The task of calls.
pub(super) struct Switchboard {
    desk: Arc<Desk>,
    inbox: mpsc::UnboundedReceiver<Line>,
    legs: HashMap<CallId, Leg>,
    settings: CallSettings,
    /// Legs whose part of an envelope is not stored yet.
    parts: HashMap<EnvelopeId, usize>,
    /// Notices that name no call.
    homeless: Vec<(EnvelopeId, CallNotice)>,
    /// The append that is under way.
    landing: Option<Landing>,
    /// The archive has refused for good.
    failed: Option<SinkError>,
    /// Whether the archive stores.
    storage: watch::Receiver<Storage>,
    /// Calls of which something could not be stored, and since when.
    missed: HashMap<CallId, Timestamp>,
}

/// An append under way.
struct Landing {
    append: Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>,
    conversations: Vec<ConversationId>,
    calls: Vec<CallId>,
}

impl Switchboard {
    /// Takes up the calls of an earlier run.
    pub(super) fn new(
        desk: Arc<Desk>,
        inbox: mpsc::UnboundedReceiver<Line>,
        cursor: &[(String, Vec<u8>)],
    ) -> Switchboard {
        let settings = CallSettings::from(&desk.config);
        let mut board = Switchboard {
            storage: desk.context.health.storage(),
            desk,
            inbox,
            legs: HashMap::new(),
            settings,
            parts: HashMap::new(),
            homeless: Vec::new(),
            landing: None,
            failed: None,
            missed: HashMap::new(),
        };
        for (key, value) in cursor {
            if !key.starts_with(CURSOR) {
                continue;
            }
            match serde_json::from_slice::<Call>(value) {
                Ok(call) => {
                    board.desk.calls.first(call.id());
                    let now = board.desk.now();
                    board.legs.insert(call.id().clone(), Leg::new(call, now));
                }
                Err(_) => tracing::error!(
                    "{}: the stored state of a call cannot be read; it is asked for anew",
                    board.desk.name()
                ),
            }
        }
        board
    }

    /// Works until told to stop, then leaves every call.
    pub(super) async fn run(mut self) -> Result<(), SinkError> {
        self.restore().await?;
        let mut lines = Vec::new();
        let mut leaving = false;
        loop {
            let now = self.desk.now();
            let deadline = self.deadline().map(|at| at.since(now) + Duration::from_millis(1));
            tokio::select! {
                count = self.inbox.recv_many(&mut lines, 256) => if count == 0 { return Ok(()) },
                () = sleep(deadline) => {}
                landed = landed(&mut self.landing) => self.landed(landed?).await,
                Ok(()) = self.storage.changed() => self.storage_changed(),
                () = self.desk.context.stop.cancelled(), if !leaving => {
                    leaving = true;
                    let calls: Vec<CallId> = self.legs.keys().cloned().collect();
                    for call in calls {
                        self.feed(&call, "", Input::Stop, Source::Recorder);
                    }
                }
            }
            for line in lines.drain(..) {
                self.take(line);
            }
            self.tick();
            self.store().await?;
            // An archive that refuses must not hold up the end: the next start asks how the calls stand.
            let stored = (self.landing.is_none() && !self.legs.values().any(|leg| leg.looking))
                || self.storage.borrow().refuses.is_some();
            if leaving && stored && self.legs.values().all(|leg| leg.ended_at.is_some() || leg.is_idle()) {
                return Ok(());
            }
        }
    }

    /// What was stored and not read in the last run is read now; then each call asks how it stands.
    async fn restore(&mut self) -> Result<(), SinkError> {
        let desk = Arc::clone(&self.desk);
        let mut after = None;
        loop {
            let page = desk.pending(after, 1_000).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for stored in page.iter().filter(|one| one.envelope.request.contains("/api/calls")) {
                let arrived = stored.envelope.received_at;
                let notices = super::notice::read(&stored.envelope.body).unwrap_or_default();
                // Still ringing, perhaps: a restart within seconds must not miss the call.
                if desk.now().since(arrived) < ANSWER_WITHIN {
                    let _ = desk.calls.ring(&desk, &notices, &desk.config.tenant_id, arrived);
                }
                self.take(Line::Delivered(Delivered {
                    envelope: stored.id,
                    notices,
                    tid: desk.config.tenant_id.clone(),
                }));
            }
        }
        let calls: Vec<CallId> = self.legs.keys().cloned().collect();
        for call in calls {
            self.feed(&call, "", Input::Restored { last_seen: desk.last_seen }, Source::Recorder);
        }
        self.store().await
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Delivered(delivered) => self.delivered(delivered),
            Line::Outcome(call, input) => {
                let now = self.desk.now();
                let tenant = &self.desk.config.tenant_id;
                let leg = self
                    .legs
                    .entry(call.clone())
                    .or_insert_with(|| Leg::new(Call::new(call.clone(), tenant, now), now));
                if leg.call.phase() == Phase::New {
                    // The answer was quicker than the fsync: the invitation comes first.
                    leg.early.push(input);
                } else {
                    self.feed(&call, "", input, Source::Recorder);
                }
            }
            Line::Reply(call, token, asked, reply) => {
                let source =
                    self.answer(asked, &reply).map_or(Source::Recorder, |envelope| Source::Answer(Arc::new(envelope)));
                let is_call = reply.is_success() && reply.json().get("state").is_some_and(Value::is_string);
                if let Some(leg) = self.legs.get_mut(&call) {
                    leg.asked |= is_call && leg.call.phase() >= Phase::Established;
                }
                self.feed(&call, "", Input::Reply(token, reply), source);
            }
            Line::Learnt(call, learnt) => {
                let Some(leg) = self.legs.get_mut(&call) else { return };
                leg.looking = false;
                match learnt {
                    Ok(aliases) => leg.learnt = aliases,
                    Err(error) => self.failed = Some(error),
                }
            }
            Line::Missed(calls, at) => {
                for call in calls {
                    self.missed.entry(call).or_insert(at);
                }
                self.ask_for_missed();
            }
        }
    }

    /// The archive has begun to refuse, or stores again.
    fn storage_changed(&mut self) {
        let refuses = self.storage.borrow_and_update().refuses.is_some();
        let input = if refuses { Input::CaptureBroken } else { Input::CaptureMended };
        let live = self.legs.iter().filter(|(_, leg)| leg.ended_at.is_none());
        for call in live.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.feed(&call, "", input.clone(), Source::Recorder);
        }
        self.ask_for_missed();
    }

    /// As soon as answers can be stored.
    fn ask_for_missed(&mut self) {
        if self.storage.borrow().refuses.is_some() {
            return;
        }
        for (call, from) in std::mem::take(&mut self.missed) {
            self.feed(&call, "", Input::Missed { from }, Source::Recorder);
        }
    }

    fn delivered(&mut self, delivered: Delivered) {
        let Delivered { envelope, notices, tid } = delivered;
        let mut concerned: Vec<CallId> = Vec::new();
        for notice in notices {
            let Some(call) = notice.call.clone() else {
                self.homeless.push((envelope, notice));
                continue;
            };
            if !concerned.contains(&call) {
                concerned.push(call.clone());
            }
            let input = match notice.kind {
                NoticeKind::Joining => {
                    let decision = decide_joining(&self.desk, &notice, &tid);
                    Input::Joining(notice, decision)
                }
                _ => Input::Notice(notice),
            };
            self.feed(&call, &tid, input, Source::Stored(envelope));
        }
        self.parts.insert(envelope, concerned.len());
        for call in concerned {
            if let Some(leg) = self.legs.get_mut(&call) {
                leg.read.push(envelope);
            }
        }
    }

    /// Gives one input to a call's machine, then what came early for it.
    fn feed(&mut self, id: &CallId, tid: &str, input: Input, source: Source) {
        self.feed_one(id, tid, input, source);
        let known = self.legs.get_mut(id).filter(|leg| leg.call.phase() != Phase::New);
        for input in known.map(|leg| std::mem::take(&mut leg.early)).unwrap_or_default() {
            self.feed_one(id, tid, input, Source::Recorder);
        }
    }

    /// Gives one input to a call's machine and performs what it says.
    fn feed_one(&mut self, id: &CallId, tid: &str, input: Input, source: Source) {
        let now = self.desk.now();
        let tid = if tid.is_empty() { &self.desk.config.tenant_id } else { tid };
        let leg = self.legs.entry(id.clone()).or_insert_with(|| Leg::new(Call::new(id.clone(), tid, now), now));
        let actions = leg.call.handle(input, now, &self.settings);
        leg.dirty = true;
        for action in actions {
            match action {
                Action::Fact(fact) => leg.said.push((fact, source.clone())),
                Action::Ask(token, ask) => {
                    let (desk, call) = (Arc::clone(&self.desk), id.clone());
                    tokio::spawn(async move {
                        let asked = ask.described(&desk.config.endpoints.graph_url);
                        let reply = desk.client.ask(ask).await;
                        desk.calls.tell(Line::Reply(call, token, asked, reply));
                    });
                }
                Action::Chat(thread) => {
                    // `19:<guid>` alone is the thread of an ad hoc group call, which is no chat that could be read (digest §11).
                    if self.desk.config.follow_call_chats && thread.contains('@') {
                        self.desk.upkeep.follow(&thread, None);
                    }
                }
                Action::Ended => {
                    leg.ended_at = Some(now);
                    if let Some(thread) = leg.call.thread().filter(|_| self.desk.config.follow_call_chats) {
                        self.desk.upkeep.call_ended(thread);
                    }
                }
                Action::Warn(text) => tracing::warn!(call.id = id.key(), "{}: {text}", self.desk.name()),
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let waiting = |leg: &Leg| {
            let waits = leg.conversation.is_none() && !leg.looking && !leg.said.is_empty();
            waits.then_some(leg.settles_at)
        };
        let machines = self.legs.values().filter_map(|leg| leg.call.deadline());
        let ended = self.legs.values().filter(|leg| !leg.looking);
        let ended = ended.filter_map(|leg| leg.ended_at.map(|at| at.plus(REMEMBERED)));
        // What has to be stored waits for the append under way, not for a time.
        let storing = self.legs.values().filter_map(waiting).chain(ended).filter(|_| self.landing.is_none());
        machines.chain(storing).min()
    }

    fn tick(&mut self) {
        let now = self.desk.now();
        let due = self.legs.iter().filter(|(_, leg)| leg.call.deadline().is_some_and(|at| at <= now));
        let due: Vec<CallId> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            self.feed(&id, "", Input::Tick, Source::Recorder);
        }
    }

    /// Finds where the calls belong that have said something. The archive is asked beside everything else.
    async fn look_up(&mut self) {
        let now = self.desk.now();
        for (id, leg) in &mut self.legs {
            let wants = leg.conversation.is_none() && !leg.looking && !leg.said.is_empty();
            if !wants || !leg.is_settled(now) {
                continue;
            }
            let aliases = leg.call.aliases();
            // Its chat may have become known while the archive was asked.
            if leg.learnt == aliases {
                let here = self.desk.conversations.learnt(&self.desk, &aliases).await;
                self.desk.conversations.is_of_call(&here.id).await;
                leg.conversation = Some(here.id);
                continue;
            }
            leg.looking = true;
            let (desk, id) = (Arc::clone(&self.desk), id.clone());
            tokio::spawn(async move {
                let learnt = desk.conversations.learn(&desk, &aliases).await;
                desk.calls.tell(Line::Learnt(id, learnt.map(|()| aliases)));
            });
        }
    }

    /// Begins to store what the calls have said, as far as it is known where it belongs, unless that is under way.
    async fn store(&mut self) -> Result<(), SinkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.look_up().await;
        if self.landing.is_some() {
            return Ok(());
        }
        let (batch, calls) = self.batch().await;
        if batch == Append::default() {
            return Ok(());
        }
        let conversations = batch.aliases.iter().map(|(id, _)| id.clone()).collect();
        let desk = Arc::clone(&self.desk);
        let append = Box::pin(async move { desk.append(batch).await.map(drop) });
        self.landing = Some(Landing { append, conversations, calls });
        Ok(())
    }

    /// What these calls have said is stored.
    async fn landed(&mut self, landed: Landing) {
        self.desk.conversations.stored(landed.conversations.iter()).await;
        for call in landed.calls {
            // What was said meanwhile is in the next append.
            if self.legs.get(&call).is_some_and(|leg| leg.said.is_empty()) {
                self.feed(&call, "", Input::Durable, Source::Recorder);
            }
        }
    }

    async fn batch(&mut self) -> (Append, Vec<CallId>) {
        let now = self.desk.now();
        let mut batch = Append::default();
        let mut stored = Vec::new();
        let mut forgotten = Vec::new();
        for (envelope, notice) in self.homeless.drain(..) {
            let mut fact = Fact::new(Kind::PlatformEvent, format!("notice|{}|{}", notice.url, notice.data));
            fact.content.detail = Some(notice.data);
            batch.events.push(fact.captured(Origin::Stored(envelope), None));
        }
        for (id, leg) in &mut self.legs {
            if !leg.said.is_empty() {
                let Some(conversation) = leg.conversation.clone() else { continue };
                batch.aliases.extend(leg.call.aliases().into_iter().map(|alias| (conversation.clone(), alias)));
                for (fact, source) in leg.said.drain(..) {
                    if fact.kind == Kind::ConversationStarted && !self.desk.conversations.start(&conversation).await {
                        continue;
                    }
                    let origin = origin(&mut batch, source);
                    batch.events.push(fact.captured(origin, Some(conversation.clone())));
                }
                stored.push(id.clone());
            }
            for envelope in leg.read.drain(..) {
                if let Some(parts) = self.parts.get_mut(&envelope) {
                    *parts = parts.saturating_sub(1);
                }
            }
            let gone = leg.ended_at.is_some_and(|at| at.plus(REMEMBERED) <= now);
            if gone {
                forgotten.push(id.clone());
            }
            if gone || std::mem::take(&mut leg.dirty) {
                let value = if gone { None } else { serde_json::to_vec(&leg.call).ok() };
                batch.cursor.push(CursorChange { key: format!("{CURSOR}{}", id.key()), value });
            }
        }
        self.parts.retain(|envelope, parts| {
            if *parts == 0 {
                batch.interpreted.push(*envelope);
            }
            *parts > 0
        });
        for id in forgotten {
            self.legs.remove(&id);
            self.desk.calls.forget(&id);
        }
        (batch, stored)
    }

    /// An answer as an envelope, so that what is read from it can be proved.
    fn answer(&self, asked: String, reply: &Reply) -> Option<Envelope> {
        let Reply::Answer { status, content_type, body, .. } = reply else { return None };
        (!body.is_empty()).then(|| Envelope {
            received_at: self.desk.now(),
            server_date: None,
            request: asked,
            status: *status,
            content_type: content_type.clone(),
            body: body.clone(),
            pending: false,
        })
    }
}

impl Leg {
    fn new(call: Call, now: Timestamp) -> Leg {
        Leg {
            call,
            conversation: None,
            looking: false,
            learnt: Vec::new(),
            said: Vec::new(),
            read: Vec::new(),
            settles_at: now.plus(SETTLES_AFTER),
            early: Vec::new(),
            asked: false,
            dirty: false,
            ended_at: None,
        }
    }

    /// Whether nothing has to be waited for when the recorder stops.
    fn is_idle(&self) -> bool {
        matches!(self.call.phase(), Phase::New | Phase::Offered | Phase::Refused | Phase::Ended)
    }

    /// Whether it is known to which conversation the call belongs, or will not become known.
    fn is_settled(&self, now: Timestamp) -> bool {
        self.call.thread().is_some()
            || matches!(self.call.phase(), Phase::Refused | Phase::Ended)
            || (self.asked && self.call.phase() >= Phase::Established)
            || self.settles_at <= now
    }
}

/// Where an event says it was read; an answer is stored once, whatever number of events it gave.
fn origin(batch: &mut Append, source: Source) -> Origin {
    match source {
        Source::Stored(id) => Origin::Stored(id),
        Source::Recorder => Origin::Recorder,
        Source::Answer(envelope) => {
            let known = batch.envelopes.iter().position(|one| *one == *envelope);
            Origin::Here(known.unwrap_or_else(|| {
                batch.envelopes.push((*envelope).clone());
                batch.envelopes.len() - 1
            }))
        }
    }
}

/// Waits for the append under way, for ever if there is none.
async fn landed(landing: &mut Option<Landing>) -> Result<Landing, SinkError> {
    if let Some(under_way) = landing {
        under_way.append.as_mut().await?;
        if let Some(landed) = landing.take() {
            return Ok(landed);
        }
    }
    std::future::pending().await
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
