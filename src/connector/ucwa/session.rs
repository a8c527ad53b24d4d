//! The UCWA recorder as a sans-IO machine: inputs and the time go in, actions come out.
//!
//! The rule that everything else serves: **a batch of the event channel is durable before its `next` link is asked**,
//! because that GET is the acknowledgement. In the types: the `Send` that acknowledges a batch is only emitted in reply
//! to `Stored` for the ticket under which the batch was handed to the sink.
//!
//! Each stored batch is then read twice. `control` acts on it at once (accept, join messaging, look again);
//! `record` turns it into events, conversation by conversation, and may wait there for a lookup (a participant's
//! name) without holding up the channel or other conversations.
//!
//! Rooms: `phase` signs in and keeps the application; `channel` polls; `control` takes part; `census` compares
//! rosters; `record` writes events (`identity`, `lookup`, `people`, `words` are its parts); `outage` and `stop` close what
//! is lost or left; `notice` says that we record; `talk` is one conversation; `timers` deadlines.

mod census;
mod channel;
mod control;
mod identity;
mod lookup;
mod notice;
mod outage;
mod people;
mod phase;
mod record;
mod stop;
mod talk;
#[cfg(test)]
mod tests;
mod timers;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::capture::policy::AcceptFrom;
use crate::capture::{
    Alias, Append, Captured, CursorChange, DedupeKey, Envelope, EnvelopeId, Known, Origin, Restored, StoredEnvelope,
};
use crate::model::{Content, ConversationId, Kind, Timestamp};

use super::courier::{Alarm, Call, CallFailure, CallId, Courier, Step};
use super::discovery::Discovery;
use super::http::{Answer, Body, Lane, Method, Outcome, Request, RequestId};
use super::origin;
use super::wire::Resource;

pub use talk::TalkKey;
use talk::{Item, Talk};
use timers::{Timer, Timers};

/// What a session is told to be; from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the connector, for reports.
    pub connector: String,
    /// `sip:recorder@contoso.com`, lower case.
    pub sign_in: String,
    /// Part after `@`.
    pub domain: String,
    /// Configured root of autodiscovery.
    pub autodiscover: Option<Url>,
    /// Who may invite.
    pub accept: AcceptFrom,
    /// Rejoin meetings after an outage.
    pub rejoin: bool,
    /// Leave after being alone for so long.
    pub leave_after: Duration,
    /// Spacing of reportMyActivity.
    pub activity: Duration,
    /// Text of the notice; empty = none.
    pub notice: String,
}

/// Names one append until it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names one question to the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin.
    Start,
    /// A request ended.
    Reply(RequestId, Outcome),
    /// The append is on stable storage; ids of its envelopes in order.
    Stored(Ticket, Vec<EnvelopeId>),
    /// The archive's answer.
    Found(AskId, Option<Known>),
    /// A deadline may have passed.
    Tick,
    /// Leave everything, sign out, finish.
    Stop,
}

/// What shall be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put this request on the wire; answer with [`Input::Reply`].
    Send(RequestId, Request),
    /// Hand this to the sink after everything handed over before; answer with [`Input::Stored`].
    Store(Ticket, Append),
    /// Ask the archive; answer with [`Input::Found`].
    Find(AskId, Vec<Alias>),
    /// Tell people and monitoring.
    Report(Report),
    /// The session is over; nothing is outstanding.
    Finished,
}

/// How things are; never holds message content or secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Signing in.
    Connecting,
    /// Signed in, available, polling.
    Listening,
    /// Recording is not possible until this is mended; needs a person.
    Alarm(String),
    /// Recording goes on, but something needs a person's attention.
    Warning(String),
    /// Worth a line in the log.
    Note(String),
}

/// The application at the server, as kept in the cursor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Application {
    /// Absolute URL of the application.
    #[serde(with = "url_text")]
    href: Url,
    /// Sets this application apart from one that bears the same URL before or after it.
    incarnation: String,
    /// Where the event channel goes on.
    #[serde(with = "url_text")]
    next: Url,
    #[serde(skip)]
    links: BTreeMap<&'static str, String>,
}

/// Why a call was made; decides what its answer means.
#[derive(Clone, Debug, PartialEq)]
enum Purpose {
    Discover,
    Resume,
    Create,
    MakeAvailable,
    Refresh,
    Verify,
    /// Presence, note, policies, userAcknowledged, leftovers: the answer changes nothing.
    Courtesy(&'static str),
    Activity,
    Poll,
    Accept {
        invitation: String,
    },
    Decline {
        invitation: String,
    },
    LookAtInvitation {
        invitation: String,
    },
    AddMessaging {
        talk: TalkKey,
    },
    LookAtMessaging {
        talk: TalkKey,
        /// What the channel had told of it when we asked.
        told: u32,
    },
    LookAtTalk {
        talk: TalkKey,
    },
    SendNotice {
        talk: TalkKey,
    },
    Fetch {
        slot: FetchSlot,
        tries: u32,
    },
    List {
        talk: TalkKey,
        list: String,
    },
    Leave {
        talk: TalkKey,
    },
    Rejoin {
        conversation: ConversationId,
    },
    SignOut,
}

/// Where the result of a lookup goes: for this item, this URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FetchSlot {
    item: String,
    url: String,
}

/// State of a lookup.
#[derive(Clone, Debug)]
enum Fetch {
    Waiting,
    Got(Resource),
    Gone,
}

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was started.
    New,
    /// Between tries.
    Waiting,
    /// Finding the applications resource.
    Discovering,
    /// Asking whether the application of the cursor lives.
    Resuming,
    /// POST applications.
    Creating,
    /// makeMeAvailable and the look at the application afterwards.
    Preparing,
    /// Polling.
    Running,
    /// Leaving; see `stop`.
    Stopping(stop::Stage),
    /// Finished.
    Done,
}

/// An incoming invitation.
#[derive(Clone, Debug, Default)]
struct Invitation {
    talk: Option<TalkKey>,
    decision: Option<Verdict>,
    accept: Option<String>,
    decline: Option<String>,
    answered: bool,
    tries: u32,
    completed: bool,
    looked: bool,
    /// Looked at after a restart; the channel may not speak of it any more.
    recheck: bool,
    inviter: Option<crate::model::Person>,
}

/// What policy said about an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept { rule: String },
    Decline { reason: String },
}

/// Most lookups out at the same time (the server allows 100 requests per user).
const LOOKUPS: usize = 16;
/// Time limit of an ordinary request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of a P-GET: the server holds it 180 s.
const POLL_TIMEOUT: Duration = Duration::from_secs(215);

/// The recorder's side of one UCWA sign-in.
pub struct Session {
    settings: Settings,
    rng: fastrand::Rng,
    now: Timestamp,
    phase: Phase,
    courier: Courier,
    trust: origin::Trust,
    calls: HashMap<CallId, Purpose>,
    timers: Timers,
    discovery: Option<Discovery>,
    applications: Option<Url>,
    endpoint: String,
    application: Option<Application>,
    /// Consecutive failures to sign in or create.
    setbacks: u32,
    available: bool,
    /// makeMeAvailable was taken by the server and not withdrawn since.
    asked_available: bool,
    channel: channel::Channel,
    talks: BTreeMap<TalkKey, Talk>,
    /// Conversations whose handle died with the application or the channel.
    lost: BTreeMap<ConversationId, outage::Lost>,
    invitations: BTreeMap<String, Invitation>,
    /// Stored batches being routed, in order.
    routing: VecDeque<Item>,
    /// Batches of an earlier run.
    pending: Vec<StoredEnvelope>,
    /// Last moment of the earlier run, if conversations were open then.
    down_since: Option<Timestamp>,
    fetches: BTreeMap<FetchSlot, Fetch>,
    fetch_queue: VecDeque<FetchSlot>,
    fetching: usize,
    /// Lookups to repeat, with the number of the coming try.
    fetch_again: Vec<(FetchSlot, u32)>,
    finds: HashMap<AskId, TalkKey>,
    /// Conversations with something to record, and those that wait for a lookup.
    busy: BTreeSet<TalkKey>,
    waiting: BTreeSet<TalkKey>,
    /// Ended handles, for late words about them.
    closed: BTreeMap<TalkKey, Option<ConversationId>>,
    /// Conversations just identified: their notice may be due.
    notice_due: BTreeSet<TalkKey>,
    /// Conversations whose notice is about to go out; the intention goes into the next append.
    notice_meant: Vec<TalkKey>,
    /// Appends that make such an intention durable.
    notice_noted: BTreeMap<Ticket, Vec<TalkKey>>,
    /// Invitation texts recorded by this process.
    first_texts: HashSet<String>,
    /// Conversations to look after once the whole batch has been seen: our messaging may be missing.
    wanting: BTreeSet<TalkKey>,
    /// When the current application was made.
    created_at: Option<Timestamp>,
    /// Conversations found empty, to be left.
    leave_next: BTreeSet<TalkKey>,
    /// No lookup is waited for any more.
    settling: bool,
    /// Events of each stored batch that are not recorded yet.
    open_envelopes: BTreeMap<EnvelopeId, usize>,
    /// What this call of `handle` adds to the archive.
    outbox: Append,
    /// Appends not confirmed yet.
    unconfirmed: BTreeMap<Ticket, Option<channel::Batched>>,
    count: u64,
    out: Vec<Action>,
}

/// What the archive kept of an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Cursor and last sign of life.
    pub restored: Restored,
    /// Envelopes that were stored but not interpreted, oldest first.
    pub pending: Vec<StoredEnvelope>,
}

impl Session {
    /// Makes a session from its settings, credentials and what the archive kept of an earlier run.
    ///
    /// `seed` feeds identifiers and jitter only, nothing secret.
    pub fn new(settings: Settings, trust: origin::Trust, courier: Courier, earlier: Earlier, seed: u64) -> Session {
        let mut session = Session {
            rng: fastrand::Rng::with_seed(seed),
            now: Timestamp::default(),
            phase: Phase::New,
            courier,
            trust,
            calls: HashMap::new(),
            timers: Timers::default(),
            discovery: None,
            applications: None,
            endpoint: String::new(),
            application: None,
            setbacks: 0,
            available: false,
            asked_available: false,
            channel: channel::Channel::default(),
            talks: BTreeMap::new(),
            lost: BTreeMap::new(),
            invitations: BTreeMap::new(),
            routing: VecDeque::new(),
            pending: earlier.pending,
            down_since: None,
            fetches: BTreeMap::new(),
            fetch_queue: VecDeque::new(),
            fetching: 0,
            fetch_again: Vec::new(),
            finds: HashMap::new(),
            busy: BTreeSet::new(),
            waiting: BTreeSet::new(),
            closed: BTreeMap::new(),
            notice_due: BTreeSet::new(),
            notice_meant: Vec::new(),
            notice_noted: BTreeMap::new(),
            first_texts: HashSet::new(),
            wanting: BTreeSet::new(),
            created_at: None,
            leave_next: BTreeSet::new(),
            settling: false,
            open_envelopes: BTreeMap::new(),
            outbox: Append::default(),
            unconfirmed: BTreeMap::new(),
            count: 0,
            out: Vec::new(),
            settings,
        };
        session.take_up_cursor(&earlier.restored.cursor, earlier.restored.last_seen);
        session
    }

    /// The next moment at which [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Takes one input; returns what to do, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        self.now = now;
        match input {
            Input::Start => self.start(),
            Input::Reply(id, outcome) => {
                let steps = self.courier.answer(id, outcome, now);
                self.take_steps(steps);
            }
            Input::Stored(ticket, envelopes) => self.stored(ticket, &envelopes),
            Input::Found(ask, known) => self.found(ask, known),
            Input::Tick => {}
            Input::Stop => self.stop(),
        }
        while let Some(timer) = self.timers.pop_due(now) {
            self.fall_due(timer);
        }
        self.pump();
        for key in std::mem::take(&mut self.wanting) {
            self.join_messaging(&key);
        }
        for key in std::mem::take(&mut self.notice_due) {
            self.maybe_notice(&key);
        }
        for key in std::mem::take(&mut self.leave_next) {
            self.leave(&key, "nobody else was left in the conversation");
        }
        self.flush();
        self.finish_if_idle();
        std::mem::take(&mut self.out)
    }

    /// Puts a timer's work where it belongs.
    fn fall_due(&mut self, timer: Timer) {
        match timer {
            Timer::SignIn => self.sign_in(),
            Timer::Poll => self.poll(),
            Timer::Activity => self.report_activity(),
            Timer::Renew => {
                let steps = self.courier.renew(self.now);
                self.take_steps(steps);
                self.schedule_renewal();
            }
            Timer::Pending => self.interpret_pending(true),
            Timer::Lookup => self.look_again(),
            Timer::Stop => self.stop_step(),
            Timer::Join(talk) => self.join_step(&talk),
            Timer::NotCapturing(talk) => self.not_capturing(&talk),
            Timer::Roster(talk) => self.start_census(&talk, false),
            Timer::Alone(talk) => self.start_census(&talk, true),
            Timer::Notice(talk) => self.send_notice(&talk),
            Timer::Left(talk) => self.close_left(&talk),
            Timer::Rejoin(conversation) => self.rejoin(&conversation),
        }
    }

    /// Sends a call and remembers why.
    fn call(&mut self, purpose: Purpose, method: Method, url: Url, body: Body) -> CallId {
        let poll = purpose == Purpose::Poll;
        let call = Call {
            method,
            url,
            body,
            lane: if poll { Lane::Channel } else { Lane::Command },
            timeout: if poll { POLL_TIMEOUT } else { COMMAND_TIMEOUT },
            anonymous: false,
        };
        self.send(purpose, call)
    }

    fn send(&mut self, purpose: Purpose, call: Call) -> CallId {
        let (id, steps) = self.courier.call(call, self.now);
        self.calls.insert(id, purpose);
        self.take_steps(steps);
        id
    }

    /// Sends a call to a link of a payload; `false` if the link cannot be followed (then nothing was sent).
    fn follow(&mut self, purpose: Purpose, method: Method, href: &str, body: Body) -> bool {
        match self.resolve(href) {
            Some(url) => {
                self.call(purpose, method, url, body);
                true
            }
            None => {
                self.note("a link in a payload leads elsewhere and was not followed".to_owned());
                false
            }
        }
    }

    /// Makes a payload's link absolute; `None` unless it stays on the application's origin (links are data).
    fn resolve(&self, href: &str) -> Option<Url> {
        let base = &self.application.as_ref()?.href;
        let url = origin::resolve(base, href).ok()?;
        (origin::Origin::of(&url) == origin::Origin::of(base)).then_some(url)
    }

    /// The absolute form under which a link is remembered.
    fn key(&self, href: &str) -> String {
        match self.application.as_ref().map(|a| origin::resolve(&a.href, href)) {
            Some(Ok(url)) => url.into(),
            _ => href.to_owned(),
        }
    }

    fn take_steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(id, request) => self.out.push(Action::Send(id, request)),
                Step::Raise(alarm @ Alarm::NotRenewed { .. }) => self.warn(alarm.text()),
                Step::Raise(alarm) => self.alarm(alarm.text()),
                Step::Done(id, result) => {
                    if let Some(purpose) = self.calls.remove(&id) {
                        self.done(purpose, result);
                    }
                }
            }
        }
        self.schedule_renewal();
    }

    fn schedule_renewal(&mut self) {
        match self.courier.renewal_due() {
            Some(at) => self.timers.set(Timer::Renew, at.max(self.now.plus(Duration::from_secs(1)))),
            None => self.timers.clear(&Timer::Renew),
        }
    }

    /// Gives a call's result to the room that asked.
    fn done(&mut self, purpose: Purpose, result: Result<Answer, CallFailure>) {
        match purpose {
            Purpose::Discover => self.discovered(result),
            Purpose::Resume => self.resumed(result),
            Purpose::Create => self.created(result),
            Purpose::MakeAvailable => self.made_available(result),
            Purpose::Refresh => self.refreshed(result),
            Purpose::Verify => self.verified(result),
            Purpose::Courtesy(what) => self.courtesy(what, &result),
            Purpose::Activity => self.activity_reported(result),
            Purpose::Poll => self.polled(result),
            Purpose::Accept { invitation } => self.accepted(&invitation, &result),
            Purpose::Decline { .. } => {}
            Purpose::LookAtInvitation { invitation } => self.looked_at_invitation(&invitation, result),
            Purpose::AddMessaging { talk } => self.added_messaging(&talk, result),
            Purpose::LookAtMessaging { talk, told } => self.looked_at_messaging(&talk, told, result),
            Purpose::LookAtTalk { talk } => self.looked_at_talk(&talk, result),
            Purpose::SendNotice { talk } => self.notice_posted(&talk, result),
            Purpose::Fetch { slot, tries } => self.fetched(slot, tries, result),
            Purpose::List { talk, list } => self.listed(&talk, &list, result),
            Purpose::Leave { talk } => self.left(&talk),
            Purpose::Rejoin { conversation } => self.rejoined(&conversation, result),
            Purpose::SignOut => self.signed_out(),
        }
    }

    // ---- what goes to the archive -------------------------------------------------------------------------------

    /// Adds one event of a conversation (or of none) to what will be stored.
    fn event(
        &mut self,
        conversation: Option<&ConversationId>,
        origin: Option<EnvelopeId>,
        kind: Kind,
        source_time: Option<Timestamp>,
        key: String,
        content: Content,
    ) {
        self.outbox.events.push(Captured {
            origin: origin.map_or(Origin::Recorder, Origin::Stored),
            conversation: conversation.cloned(),
            kind,
            source_time: source_time.map(|t| Timestamp::from_millis(t.millis())),
            dedupe: DedupeKey(key),
            content,
        });
    }

    fn set_cursor<T: Serialize>(&mut self, key: String, value: Option<&T>) {
        // The cursor types hold only strings, integers and maps with string keys.
        let value = value.map(|v| serde_json::to_vec(v).unwrap_or_default());
        self.outbox.cursor.retain(|change| change.key != key);
        self.outbox.cursor.push(CursorChange { key, value });
    }

    /// An answer worth keeping that is not a batch: stored as received, needs no interpretation.
    fn keep(&mut self, url: &str, answer: &Answer) {
        let envelope = self.envelope(url, answer, false);
        self.outbox.envelopes.push(envelope);
    }

    fn envelope(&self, url: &str, answer: &Answer, pending: bool) -> Envelope {
        Envelope {
            received_at: self.now,
            server_date: answer.server_date,
            request: format!("GET {url}"),
            status: answer.status,
            content_type: answer.content_type.clone(),
            body: answer.body.clone(),
            pending,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.count += 1;
        Ticket(self.count)
    }

    /// Hands over everything this call of `handle` produced, in one append.
    fn flush(&mut self) {
        let changed: Vec<TalkKey> = self.talks.iter().filter(|(_, t)| t.changed).map(|(k, _)| k.clone()).collect();
        for key in changed {
            self.save_talk(&key);
        }
        if self.outbox == Append::default() {
            return;
        }
        let ticket = self.ticket();
        self.unconfirmed.insert(ticket, None);
        let meant = std::mem::take(&mut self.notice_meant);
        if !meant.is_empty() {
            self.notice_noted.insert(ticket, meant);
        }
        let append = std::mem::take(&mut self.outbox);
        self.out.push(Action::Store(ticket, append));
    }

    fn save_talk(&mut self, key: &TalkKey) {
        let Some(mut talk) = self.talks.remove(key) else { return };
        talk.changed = false;
        // A conversation that is not identified yet has nothing recorded; its events wait in stored batches.
        if talk.id.is_some() {
            let value = (!talk.ended).then_some(&talk);
            self.set_cursor(format!("talk/{key}"), value);
        }
        self.talks.insert(key.clone(), talk);
    }

    fn stored(&mut self, ticket: Ticket, envelopes: &[EnvelopeId]) {
        if let Some(Some(batch)) = self.unconfirmed.remove(&ticket) {
            self.batch_stored(batch, envelopes);
        }
        for key in self.notice_noted.remove(&ticket).unwrap_or_default() {
            self.post_notice(&key);
        }
    }

    fn note(&mut self, text: String) {
        self.out.push(Action::Report(Report::Note(text)));
    }

    fn warn(&mut self, text: String) {
        self.out.push(Action::Report(Report::Warning(text)));
    }

    fn alarm(&mut self, text: String) {
        self.out.push(Action::Report(Report::Alarm(text)));
    }

    fn guid(&mut self) -> String {
        let mut bytes = [0u8; 16];
        self.rng.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// `base` plus or minus a fifth, so that many recorders do not march in step.
    fn jitter(&mut self, base: Duration) -> Duration {
        base.mul_f64(0.8 + 0.4 * self.rng.f64())
    }

    /// 1, 2, 4 … 30 s with jitter.
    fn back_off(&mut self, attempt: u32) -> Duration {
        let base = Duration::from_secs(1 << attempt.min(5)).min(Duration::from_secs(30));
        self.jitter(base)
    }
}

/// URLs as text in the cursor.
mod url_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Url, D::Error> {
        let text = String::deserialize(d)?;
        Url::parse(&text).map_err(serde::de::Error::custom)
    }
}
