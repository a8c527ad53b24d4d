//! Reading the past of one chat, channel or user (digest §15, traps 21, 22 and 32).
//!
//! A run walks all pages; each page is stored before the next is asked for. While a run pages, changed messages move to the
//! front and others shift: a run of several pages is therefore repeated until one brings nothing new, three times at most.
//! **The checkpoint is the newest change on the first page of the last whole run**: whatever that run can have missed was
//! changed after its first page was read, so it lies behind the checkpoint and is read next time. It is made of the
//! service's clock alone, and comes only at the end of a whole run; a run that breaks off leaves it where it was.
//!
//! (Channels and users' chats are not in the order of change: there two runs that agree make the newest change they saw the
//! checkpoint.)
//!
//! Channels are listed whole, with their replies: neither the list nor its delta can be asked for changed replies, and a
//! reply does not change its root for certain. Pages that hold nothing newer than `since` are not handed on.

mod page;
mod target;

use std::collections::{HashSet, VecDeque};

pub use target::Target;

use self::page::Page;
use super::ask::{Address, Ask, Reply};
use crate::model::Timestamp;

/// Runs of one backfill, the first included.
pub const RUNS: u32 = 3;
/// A further run reaches so far behind what stood first in the one before: clocks of the service need not agree.
const SHIFTED: std::time::Duration = std::time::Duration::from_secs(60);
/// Pages of one run.
const PAGES: u64 = 200_000;
/// A page token that the service no longer knows (410) starts the run anew so many times.
const RESTARTS: u32 = 3;

/// What the machine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begin.
    Start,
    /// What came of the [`Action::Ask`].
    Reply(Reply),
    /// The page of the [`Action::Page`] is durable.
    Stored,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Perform this; never more than one at a time.
    Ask(Ask),
    /// The body of the last reply is a page: store and read it, then say [`Input::Stored`]. `value` holds messages; with
    /// channels each may hold `replies`.
    Page,
    /// Everything was read.
    Done(Done),
    /// The service does not let it be read: `capture.gap`. Asking again soon is pointless.
    Refused {
        /// 402, 403 or 404.
        status: u16,
        /// Status and the service's code.
        trouble: String,
    },
    /// It broke off; pages so far are stored, the checkpoint stays where it was. To be tried again later.
    Failed(String),
}

/// The end of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Everything changed until then has been read and stored; `None` = there was nothing, the old one stays.
    pub checkpoint: Option<Timestamp>,
    /// Pages handed on.
    pub pages: u64,
    /// Versions of messages that were newer than `since`, each counted once.
    pub messages: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Asked,
    Storing,
    Over,
}

/// One backfill, from its first request to its end. Keeps nothing across restarts: it is begun again from the checkpoint.
#[derive(Debug)]
pub struct Backfill {
    target: Target,
    since: Option<Timestamp>,
    until: Timestamp,
    model: String,
    step: Step,
    /// The request that is out is the first of its run.
    first: bool,
    links: HashSet<String>,
    /// Pages to be asked for, next first.
    todo: VecDeque<Ask>,
    run: u32,
    restarts: u32,
    /// `$orderby` and `$filter` are sent.
    filtered: bool,
    /// Every page so far was in descending order of change.
    ordered: bool,
    run_pages: u64,
    run_new: u64,
    top: Option<Timestamp>,
    /// The newest that stood first in an earlier run.
    earlier: Option<Timestamp>,
    greatest: Option<Timestamp>,
    seen: HashSet<u64>,
    pages: u64,
}

impl Backfill {
    /// Reads what changed after `since` (`None` = everything). `until` is now: only users' chats are asked for with an upper
    /// bound. `model` is sent with users' chats if not empty.
    pub fn new(target: Target, since: Option<Timestamp>, until: Timestamp, model: &str) -> Self {
        Backfill {
            target,
            since,
            until,
            model: model.to_owned(),
            step: Step::Idle,
            first: true,
            links: HashSet::new(),
            todo: VecDeque::new(),
            run: 0,
            restarts: 0,
            filtered: true,
            ordered: true,
            run_pages: 0,
            run_new: 0,
            top: None,
            earlier: None,
            greatest: None,
            seen: HashSet::new(),
            pages: 0,
        }
    }

    /// What is read.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether an end has been told.
    pub fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// Takes what happened; gives what is to be done. Input that does not fit the state is ignored.
    pub fn handle(&mut self, input: Input) -> Vec<Action> {
        match (self.step, input) {
            (Step::Idle, Input::Start) => self.begin_run(),
            (Step::Asked, Input::Reply(reply)) => self.replied(&reply),
            (Step::Storing, Input::Stored) => self.go_on(),
            _ => Vec::new(),
        }
    }

    fn begin_run(&mut self) -> Vec<Action> {
        self.links.clear();
        self.run_pages = 0;
        self.run_new = 0;
        self.top = None;
        self.ordered = true;
        self.first = true;
        self.todo = VecDeque::from([self.target.first(self.since, self.until, &self.model, self.filtered)]);
        self.go_on()
    }

    fn go_on(&mut self) -> Vec<Action> {
        match self.todo.pop_front() {
            Some(ask) => {
                self.step = Step::Asked;
                vec![Action::Ask(ask)]
            }
            None => self.run_over(),
        }
    }

    fn run_over(&mut self) -> Vec<Action> {
        self.run += 1;
        // One answer shows one moment: nothing can have shifted.
        let settled = self.run_pages <= 1 || (self.run > 1 && self.run_new == 0);
        if !settled && self.run < RUNS {
            if self.ordered
                && self.filtered
                && matches!(self.target, Target::Chat { .. })
                && let Some(top) = self.top
            {
                // What shifted while we read was changed after the run began, so it is newer than what stood first then.
                self.earlier = self.earlier.max(Some(top));
                self.since = self.since.max(Some(Timestamp::from_millis(top.millis() - SHIFTED.as_millis() as i64)));
            }
            return self.begin_run();
        }
        let checkpoint = match self.target {
            // Its order is not promised, so an unsettled reading proves nothing.
            Target::User { .. } if !settled => None,
            Target::User { .. } => self.greatest.map(|greatest| greatest.min(self.until)),
            // Channels are not in the order of change. What the last two runs agree on was there before the last began.
            Target::Channel { .. } if settled => self.greatest,
            _ => self.top.max(self.earlier),
        };
        self.step = Step::Over;
        vec![Action::Done(Done { checkpoint, pages: self.pages, messages: self.seen.len() as u64 })]
    }

    fn replied(&mut self, reply: &Reply) -> Vec<Action> {
        let first = std::mem::take(&mut self.first);
        if !reply.is_success() {
            return self.unread(reply, first);
        }
        let Some(page) = Page::read(&reply.json(), &self.target) else {
            return self.fail("the answer is not a list of messages".into());
        };
        self.run_pages += 1;
        if self.run_pages > PAGES {
            return self.fail("there are more pages than there can be".into());
        }
        let since = self.since;
        let newer = |item: &&page::Item| since.is_none_or(|since| item.changed.is_none_or(|changed| changed > since));
        let fresh: Vec<&page::Item> = page.items.iter().filter(newer).collect();
        for item in &fresh {
            self.greatest = self.greatest.max(item.changed);
            if self.seen.insert(item.fingerprint) {
                self.run_new += 1;
            }
        }
        self.ordered &= page.descending;
        if first || (self.top.is_none() && self.ordered) {
            self.top = page.items.iter().filter_map(|item| item.changed).max();
        }
        // The service may ignore the filter (trap 21): older and older pages end the run, if they come in that order.
        let all_old = fresh.is_empty() && !page.items.is_empty();
        let sorted_by_change = self.ordered && self.filtered && matches!(self.target, Target::Chat { .. });
        if let Some(next) = page.next
            && !(all_old && sorted_by_change)
            && let Err(trouble) = self.follow(next)
        {
            return self.fail(trouble);
        }
        for next in page.replies {
            match next {
                page::Replies::Link(link) => {
                    if let Err(trouble) = self.follow(link) {
                        return self.fail(trouble);
                    }
                }
                page::Replies::Of(root) => self.todo.extend(self.target.replies(&root)),
            }
        }
        if fresh.is_empty() {
            return self.go_on();
        }
        self.pages += 1;
        self.step = Step::Storing;
        vec![Action::Page]
    }

    /// Queues a link; refuses one that was followed in this run already.
    fn follow(&mut self, link: String) -> Result<(), String> {
        if !self.links.insert(link.clone()) {
            return Err("the pages run in a circle".into());
        }
        self.todo.push_back(self.target.ask(Address::Link(link)));
        Ok(())
    }

    fn unread(&mut self, reply: &Reply, first: bool) -> Vec<Action> {
        match reply.status() {
            // Some clouds do not take the order (digest §3): then everything is read.
            400 | 501 if first && self.filtered && self.target.is_plain_without_filter() => {
                self.filtered = false;
                self.begin_run()
            }
            410 if !first && self.restarts < RESTARTS => {
                self.restarts += 1;
                self.begin_run()
            }
            status @ (402..=404) => {
                self.step = Step::Over;
                vec![Action::Refused { status, trouble: reply.trouble() }]
            }
            _ => self.fail(reply.trouble()),
        }
    }

    fn fail(&mut self, trouble: String) -> Vec<Action> {
        self.step = Step::Over;
        vec![Action::Failed(trouble)]
    }
}

#[cfg(test)]
mod tests;
