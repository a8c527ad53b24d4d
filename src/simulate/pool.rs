//! The pool's state as plain data: accounts, applications, talks, invitations. No sockets and no clock; the shell
//! around it (`shell.rs`) says what time it is and carries out the timers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::channel::{Channel, Priority, Queued};
use super::conversation::{Invitation, Talk, Timer};
use super::fault::{Fault, Faults};
use super::ledger::{Entry, Fate, Happened, Ledger};
use super::resources::{self, Account, Happening, Hrefs};
use super::scenario::{Person, PoolOptions, Titles};
use super::text::{guid, thread_id};
use super::tickets::Tickets;

/// Base URLs of the origins, without a slash at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Urls {
    /// Discovery and user resource (`lyncdiscover`, `webdir`).
    pub front: String,
    /// Where a user resource may redirect to.
    pub home: String,
    /// Applications.
    pub pool: String,
}

/// One application of the recorder's account.
#[derive(Debug)]
pub(super) struct Application {
    pub endpoint_id: String,
    pub user_agent: String,
    pub culture: String,
    pub available: bool,
    pub formats: Vec<String>,
    pub put_key: String,
    pub etag: u32,
    pub presence: String,
    pub note: String,
    pub channel: Channel,
    pub last_poll_ms: u64,
    pub last_activity_ms: u64,
}

/// Something only the shell can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop listening for so long, then come back.
    Down(Duration),
    /// Reset every open connection.
    Cut,
}

/// Who speaks in a block of events.
#[derive(Clone, Debug)]
pub(super) enum Sender<'a> {
    Me,
    Communication,
    Conversation(&'a str),
}

/// The whole pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub options: PoolOptions,
    pub cast: Vec<Person>,
    pub urls: Urls,
    /// Milliseconds since the pool started; set by the shell before every call.
    pub now_ms: u64,
    /// Milliseconds since 1970 at that start.
    pub wall_start_ms: i64,
    pub tickets: Tickets,
    pub faults: Faults,
    pub ledger: Ledger,
    pub apps: BTreeMap<String, Application>,
    /// Applications that are gone, with the status that says so.
    pub dead: BTreeMap<String, u16>,
    pub talks: Vec<Talk>,
    pub invitations: BTreeMap<String, Invitation>,
    /// Conversations that were and are no more.
    pub ended: BTreeSet<String>,
    pub timers: Vec<(u64, Timer)>,
    pub orders: Vec<Order>,
    pub narration: Vec<String>,
    pub redirect_root: Option<String>,
    pub redirect_loop: bool,
    /// Conversations in which the recorder missed something.
    pub missed: u32,
    counter: u64,
    stamps: i64,
}

impl Pool {
    pub fn new(options: PoolOptions, cast: Vec<Person>, urls: Urls, wall_start_ms: i64) -> Self {
        Pool {
            options,
            cast,
            urls,
            now_ms: 0,
            wall_start_ms,
            tickets: Tickets::default(),
            faults: Faults::default(),
            ledger: Ledger::default(),
            apps: BTreeMap::new(),
            dead: BTreeMap::new(),
            talks: Vec::new(),
            invitations: BTreeMap::new(),
            ended: BTreeSet::new(),
            timers: Vec::new(),
            orders: Vec::new(),
            narration: Vec::new(),
            redirect_root: None,
            redirect_loop: false,
            missed: 0,
            counter: 0,
            stamps: 0,
        }
    }

    /// A number never given before.
    pub fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A new GUID; the same in every run of the same scenario, as far as the order of happenings is.
    pub fn new_guid(&mut self) -> String {
        let n = self.count();
        guid(self.options.seed, n)
    }

    /// A new thread identifier.
    pub fn new_thread(&mut self) -> String {
        let n = self.count();
        thread_id(self.options.seed, n)
    }

    /// The server's time for the next message: real, or one second further from the fixed start.
    pub fn stamp(&mut self) -> i64 {
        self.stamps += 1;
        match self.options.epoch_ms {
            Some(start) => start + 1000 * (self.stamps - 1),
            None => self.wall_start_ms + i64::try_from(self.now_ms).unwrap_or(0),
        }
    }

    /// Says something to those who watch.
    pub fn tell(&mut self, line: impl Into<String>) {
        self.narration.push(line.into());
    }

    /// Notes something the client should not have done.
    pub fn complain(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.ledger.complaints.contains(&text) {
            self.ledger.complaints.push(text);
        }
    }

    /// Somebody of the cast.
    pub fn person(&self, id: &str) -> Option<&Person> {
        self.cast.iter().find(|p| p.id == id)
    }

    /// Somebody by address, without regard to case.
    pub fn by_address(&self, address: &str) -> Option<&Person> {
        let wanted = resources::bare(address);
        self.cast.iter().find(|p| resources::bare(&p.address).eq_ignore_ascii_case(wanted))
    }

    /// The recorder.
    pub fn account(&self) -> Account<'_> {
        Account { name: &self.options.name, address: &self.options.sign_in }
    }

    /// Hrefs of an application.
    pub fn hrefs(&self, app: &str) -> Hrefs {
        let base = if self.options.absolute_hrefs { self.urls.pool.as_str() } else { "" };
        Hrefs { root: format!("{base}/ucwa/oauth/v1/applications/{app}") }
    }

    /// The name that stands in a link's title.
    pub fn title<'a>(&self, name: &'a str, meeting: bool) -> &'a str {
        match self.options.titles {
            Titles::Filled => name,
            Titles::ByKind if meeting => name,
            _ => "",
        }
    }

    /// The application that invitations go to: the newest that is available.
    pub fn available_app(&self) -> Option<String> {
        self.apps.iter().rev().find(|(_, a)| a.available).map(|(id, _)| id.clone())
    }

    /// Writes a line into the ledger; gives its number.
    pub fn note(
        &mut self,
        happened: Happened,
        talk: &str,
        conversation: &str,
        who: &str,
        detail: impl Into<String>,
    ) -> usize {
        self.ledger.entries.push(Entry {
            at_ms: self.now_ms,
            happened,
            talk: talk.to_owned(),
            conversation: conversation.to_owned(),
            who: who.to_owned(),
            text: None,
            html: None,
            time_ms: 0,
            href: String::new(),
            fate: Fate::NotApplicable,
            detail: detail.into(),
        });
        self.ledger.entries.len() - 1
    }

    /// Moves lines of the ledger on, never back.
    pub fn advance(&mut self, lines: &[usize], fate: Fate) {
        for line in lines {
            let entry = &mut self.ledger.entries[*line];
            entry.fate = entry.fate.max(fate);
        }
    }

    /// Queues an event for an application.
    pub fn emit(&mut self, app: &str, sender: Sender<'_>, priority: Priority, happening: Happening) {
        self.emit_entry(app, sender, priority, happening, None, false);
    }

    /// As [`Pool::emit`], for an event that delivers a line of the ledger.
    pub fn emit_entry(
        &mut self,
        app: &str,
        sender: Sender<'_>,
        priority: Priority,
        mut happening: Happening,
        entry: Option<usize>,
        perishable: bool,
    ) {
        let hrefs = self.hrefs(app);
        let sender = match sender {
            Sender::Me => ("me", hrefs.of("me")),
            Sender::Communication => ("communication", hrefs.communication()),
            Sender::Conversation(id) => ("conversation", hrefs.conversation(id)),
        };
        if self.options.link_only.contains(&happening.rel) {
            happening.body = None;
        }
        if let (true, Some(Value::Object(body))) = (self.options.strangers, &mut happening.body) {
            body.insert("propertyOfALaterRevision".to_owned(), serde_json::json!({ "x": [1, null, "…"] }));
            if let Some(Value::Object(links)) = body.get_mut("_links") {
                links.insert("linkOfALaterRevision".to_owned(), resources::link(hrefs.of("unheardOf")));
            }
        }
        let queued =
            Queued { sender, event: happening.into_event(), priority, queued_ms: self.now_ms, entry, perishable };
        if let Some(app) = self.apps.get_mut(app) {
            app.channel.push(queued);
        }
    }

    /// The `application` resource.
    pub fn application_body(&self, id: &str) -> Option<Value> {
        let app = self.apps.get(id)?;
        let h = self.hrefs(id);
        let me = resources::me(&h, &self.account(), app.available);
        Some(resources::application(&h, &app.culture, &app.user_agent, me, self.communication_body(id)?))
    }

    /// The `communication` resource.
    pub fn communication_body(&self, id: &str) -> Option<Value> {
        let app = self.apps.get(id)?;
        Some(resources::communication(
            &self.hrefs(id),
            &app.put_key,
            &app.etag.to_string(),
            app.available,
            &app.formats,
        ))
    }

    /// Takes an application away; its conversations go with it and unfetched messages fail.
    pub fn end_application(&mut self, id: &str, status: u16, why: &str) {
        let Some(app) = self.apps.remove(id) else { return };
        self.dead.insert(id.to_owned(), status);
        for line in app.channel.close() {
            let entry = &mut self.ledger.entries[line];
            if entry.fate == Fate::Queued {
                entry.fate = Fate::Undelivered;
            }
        }
        for t in 0..self.talks.len() {
            if self.talks[t].session.as_ref().is_some_and(|s| s.app == id) {
                self.drop_session(t, why);
            }
        }
        self.invitations.retain(|_, i| i.app != id);
        self.note(Happened::Fault, "", "", "", format!("application ended: {why}"));
    }

    /// What time alone brings about: forgotten messages, applications that nobody asks after. Says whether anything happened.
    pub fn housekeep(&mut self) -> bool {
        let (now, after) = (self.now_ms, self.options.forget_after_ms);
        let mut changed = false;
        let mut ending: Vec<(String, &str)> = Vec::new();
        let mut closing: Vec<String> = Vec::new();
        let mut forgotten: Vec<usize> = Vec::new();
        for (id, app) in &mut self.apps {
            forgotten.extend(app.channel.forget(now, after));
            if app.channel.holding() {
                app.last_poll_ms = now;
            }
            let silent = now.saturating_sub(app.last_poll_ms);
            if silent >= self.options.poll_patience_ms {
                ending.push((id.clone(), "no poll for too long"));
            } else if app.available && now.saturating_sub(app.last_activity_ms) >= self.options.activity_patience_ms {
                ending.push((id.clone(), "no activity reported for too long"));
            } else if self.options.resume_after_ms > 0 && silent >= self.options.resume_after_ms && !app.channel.resume
            {
                app.channel.resume = true;
                closing.push(id.clone());
            }
        }
        if !forgotten.is_empty() {
            changed = true;
            self.tell(match forgotten.len() {
                1 => "A message was not fetched in time; its sender is told".to_owned(),
                many => format!("{many} messages were not fetched in time; their senders are told"),
            });
            self.advance(&forgotten, Fate::Undelivered);
        }
        for (id, why) in ending {
            changed = true;
            self.tell(format!("The application ends: {why}"));
            self.end_application(&id, 404, why);
        }
        for id in closing {
            changed = true;
            self.close_conversations(&id);
        }
        changed
    }

    /// Closes every conversation of an application without an event, as after a long silence.
    pub fn close_conversations(&mut self, app: &str) {
        for t in 0..self.talks.len() {
            if self.talks[t].session.as_ref().is_some_and(|s| s.app == app) {
                self.drop_session(t, "closed by the server after a long silence");
            }
        }
        self.invitations.retain(|_, i| i.app != app);
    }

    /// Breaks something now, or arms it for the requests to come.
    pub fn strike(&mut self, fault: Fault) {
        self.note(Happened::Fault, "", "", "", format!("{fault:?}"));
        let newest = self.apps.keys().next_back().cloned();
        match fault {
            Fault::Answers { target, skip, times, effect } => self.faults.arm(target, skip, times, effect),
            Fault::ExpireTickets => self.tickets.expire_all(self.now_ms),
            Fault::KillApplication | Fault::ExpireApplication => {
                let status = if fault == Fault::KillApplication { 404 } else { 410 };
                for id in self.apps.keys().cloned().collect::<Vec<_>>() {
                    self.end_application(&id, status, "ended by the scenario");
                }
            }
            Fault::Resync => self.channel(newest, |c| c.resync = true),
            Fault::DuplicateBatch => self.channel(newest, |c| c.duplicate = true),
            Fault::SecondClient => self.channel(newest, Channel::take_over),
            Fault::Resume => {
                if let Some(id) = newest {
                    self.close_conversations(&id);
                    self.channel(Some(id), |c| c.resume = true);
                }
            }
            Fault::Down { length, lost } => {
                if lost {
                    // They end with the pool, not with its return: what is said meanwhile reaches no one.
                    for id in self.apps.keys().cloned().collect::<Vec<_>>() {
                        self.end_application(&id, 404, "the pool went down");
                    }
                }
                self.orders.push(Order::Down(length));
            }
            Fault::CutConnections => self.orders.push(Order::Cut),
            Fault::Password(password) => self.options.password = password,
            Fault::RedirectRoot(url) => self.redirect_root = Some(url).filter(|u| !u.is_empty()),
            Fault::RedirectLoop => self.redirect_loop = true,
        }
    }

    fn channel(&mut self, app: Option<String>, change: impl FnOnce(&mut Channel)) {
        if let Some(app) = app.and_then(|id| self.apps.get_mut(&id)) {
            change(&mut app.channel);
        }
    }
}
