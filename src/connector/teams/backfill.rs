//! Reading the past of one chat, channel or user, page by page (digest §15).
//!
//! Pages come newest first, and what changes while they are read moves to their front: so a run that met anything new is
//! followed by another, from where the first began, until one meets nothing new. Each page is stored before the next is
//! asked for; what it says is read from the archive like everything else.

use std::collections::HashSet;

use serde_json::Value;

use super::ask::{Address, Ask, Class, Method, Patience, Priority, Reply};
use super::moment;
use super::scope::Scope;
use crate::model::Timestamp;

/// Runs at most: somebody who edits without end must not keep us reading.
const RUNS: u32 = 3;

/// Pages of one run at most.
const PAGES: u32 = 100_000;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Past {
    /// A chat.
    Chat(String),
    /// A channel: team, channel.
    Channel(String, String),
    /// The chats of a user, by export.
    User(String),
}

/// What a backfill does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Asks; the answer is to be given to [`Backfill::answered`], and a page to be stored before.
    Ask(Ask),
    /// It is over.
    Done {
        /// Newest change that was met.
        checkpoint: Option<Timestamp>,
        /// Messages met, each version once.
        messages: u64,
    },
    /// The service does not let us: chat of another tenant, deleted, licence, permission.
    Refused(String),
    /// It did not work for the moment.
    Failed(String),
}

/// One reading of the past.
#[derive(Clone, Debug)]
pub struct Backfill {
    past: Past,
    since: Option<Timestamp>,
    model: String,
    met: HashSet<String>,
    links: HashSet<String>,
    newest: Option<Timestamp>,
    fresh: u64,
    messages: u64,
    runs: u32,
    pages: u32,
    /// Root messages of a channel whose replies are still to be listed.
    roots: Vec<String>,
    next: Option<Ask>,
    priority: Priority,
}

impl Backfill {
    /// Reads what changed after `since`; everything without it. `model` as configured, for exports.
    pub fn new(past: Past, since: Option<Timestamp>, model: &str, priority: Priority) -> Backfill {
        let mut backfill = Backfill {
            past,
            since,
            model: model.to_owned(),
            met: HashSet::new(),
            links: HashSet::new(),
            newest: None,
            fresh: 0,
            messages: 0,
            runs: 0,
            pages: 0,
            roots: Vec::new(),
            next: None,
            priority,
        };
        backfill.begin();
        backfill
    }

    fn begin(&mut self) {
        self.fresh = 0;
        self.links.clear();
        let path = match &self.past {
            // The filter works only together with ordering by the same property, and that only downwards (trap 21).
            Past::Chat(chat) => {
                let mut path = format!("{}?$top=50&$orderby=lastModifiedDateTime%20desc", Scope::path(chat, None));
                if let Some(since) = self.since {
                    path.push_str(&format!("&$filter=lastModifiedDateTime%20gt%20{}", since.rfc3339()));
                }
                path
            }
            Past::Channel(team, channel) => {
                format!("{}?$top=50&$expand=replies", Scope::path(channel, Some(team)))
            }
            Past::User(user) => {
                let mut path = format!("/users/{}/chats/getAllMessages?$top=50", super::ask::encoded(user));
                if !self.model.is_empty() {
                    path.push_str(&format!("&model={}", self.model));
                }
                if let Some(since) = self.since {
                    path.push_str(&format!("&$filter=lastModifiedDateTime%20gt%20{}", since.rfc3339()));
                }
                path
            }
        };
        self.next = Some(self.ask(Address::Graph(path)));
    }

    fn ask(&self, address: Address) -> Ask {
        let (class, thread) = match &self.past {
            Past::Chat(chat) => (Class::ChatMessages, Some(chat.clone())),
            Past::Channel(_, channel) => (Class::ChannelMessages, Some(channel.clone())),
            Past::User(_) => (Class::Export, None),
        };
        Ask {
            method: Method::Get,
            address,
            body: None,
            priority: self.priority,
            class,
            thread,
            patience: Patience::Tries(6),
        }
    }

    /// What to do.
    pub fn step(&mut self) -> Step {
        match self.next.take() {
            Some(ask) => Step::Ask(ask),
            None => Step::Done { checkpoint: self.newest, messages: self.messages },
        }
    }

    /// Takes an answer; a page among them must be stored by now. Ends with a step if there is nothing to be asked.
    pub fn answered(&mut self, reply: &Reply) -> Option<Step> {
        if !reply.is_success() {
            let trouble = reply.trouble();
            return Some(match reply.status() {
                401..=404 | 410 => Step::Refused(trouble),
                _ => Step::Failed(trouble),
            });
        }
        self.pages += 1;
        let page = reply.json();
        let mut older = true;
        for message in page.get("value").and_then(Value::as_array).into_iter().flatten() {
            older &= self.meet(message);
            for reply in message.get("replies").and_then(Value::as_array).into_iter().flatten() {
                older &= self.meet(reply);
            }
            // Replies beyond those expanded are listed on their own.
            if message.get("replies@odata.nextLink").is_some()
                && let Some(id) = message.get("id").and_then(Value::as_str)
            {
                self.roots.push(id.to_owned());
            }
        }
        let has_items = page.get("value").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        let link = page.get("@odata.nextLink").and_then(Value::as_str);
        // Newest first: a page that is older than what is wanted is the last. Channels are ordered by their threads.
        let enough = matches!(self.past, Past::Chat(_)) && self.since.is_some() && has_items && older;
        match link.filter(|_| !enough && self.pages < PAGES) {
            // An empty page with a link is legal; the same link twice is a circle.
            Some(link) if self.links.insert(link.to_owned()) => {
                self.next = Some(self.ask(Address::Link(link.to_owned())));
            }
            _ => self.turn(),
        }
        None
    }

    fn turn(&mut self) {
        if let (Some(root), Past::Channel(team, channel)) = (self.roots.pop(), &self.past) {
            let path = format!("{}/{}/replies?$top=50", Scope::path(channel, Some(team)), super::ask::encoded(&root));
            self.next = Some(self.ask(Address::Graph(path)));
            return;
        }
        self.runs += 1;
        // A channel is not read in order of change, and is compared every night.
        let again = self.fresh > 0 && self.pages > self.runs && self.runs < RUNS && matches!(self.past, Past::Chat(_));
        if again {
            // What moved while we read is at the front now.
            self.since = self.since.max(self.newest.map(|at| Timestamp(at.micros() - 300_000_000)));
            self.begin();
        }
    }

    /// Notes a message; whether it is older than what is wanted.
    fn meet(&mut self, message: &Value) -> bool {
        let text = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default();
        let modified = moment::time(text("lastModifiedDateTime")).or_else(|| moment::from_id(text("etag")));
        if self.met.insert(format!("{}|{}|{:?}", text("id"), text("etag"), modified)) {
            self.fresh += 1;
            self.messages += 1;
        }
        self.newest = self.newest.max(modified);
        matches!((modified, self.since), (Some(modified), Some(since)) if modified <= since)
    }
}

#[cfg(test)]
mod tests;
