//! What is remembered of one target across restarts, and where it stands in this run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::connector::teams::backfill::Target;
use crate::model::Timestamp;

/// The cursor entry of a target: `chat/<thread>`, `channel/<team>/<channel>` or `user/<id>`.
pub fn key_of(target: &Target) -> String {
    match target {
        Target::Chat { thread } => format!("chat/{thread}"),
        Target::Channel { team, channel } => format!("channel/{team}/{channel}"),
        Target::User { id } => format!("user/{id}"),
    }
}

/// The target of a cursor entry; `None` for entries of others.
pub fn target_of(key: &str) -> Option<Target> {
    let (kind, rest) = key.split_once('/')?;
    if rest.is_empty() {
        return None;
    }
    match kind {
        "chat" => Some(Target::Chat { thread: rest.to_owned() }),
        "channel" => {
            let (team, channel) = rest.split_once('/')?;
            Some(Target::Channel { team: team.to_owned(), channel: channel.to_owned() })
        }
        "user" => Some(Target::User { id: rest.to_owned() }),
        _ => None,
    }
}

/// The durable part; times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// Everything changed until then is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<i64>,
    /// The past before that does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// When it was followed for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed: Option<i64>,
    /// When the last reading began that came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<i64>,
    /// When the last whole reading began, or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<i64>,
    /// When it is to be read after a call's end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub polls: Vec<i64>,
}

impl Record {
    /// A new one whose past begins to matter then.
    pub fn from(since: Option<Timestamp>) -> Self {
        let since = since.map(Timestamp::millis);
        Record { checkpoint: since, from: since, ..Record::default() }
    }

    /// An unreadable record is an empty one: the target is read from the beginning.
    pub fn read(key: &str, bytes: &[u8]) -> Option<(Target, Self)> {
        Some((target_of(key)?, serde_json::from_slice(bytes).unwrap_or_default()))
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Until when everything is known to have been read; of what never was, when it was first followed.
    pub fn good_until(&self) -> Option<Timestamp> {
        self.checkpoint.max(self.read).or(self.followed).map(Timestamp::from_millis)
    }

    pub fn checkpoint(&self) -> Option<Timestamp> {
        self.checkpoint.map(Timestamp::from_millis)
    }
}

/// One target at work.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub record: Record,
    /// Its place in the queue.
    pub queued: Option<(Reason, u64)>,
    /// It fell due while it was being read.
    pub once_more: Option<Reason>,
    /// When the present or last reading began.
    pub began: Option<Timestamp>,
    /// Readings in a row that broke off.
    pub failures: u32,
    /// When the next try is.
    pub retry: Option<Timestamp>,
    /// Its place in the agenda.
    pub planned: Option<Timestamp>,
}

impl Standing {
    pub fn new(record: Record) -> Self {
        Standing { record, queued: None, once_more: None, began: None, failures: 0, retry: None, planned: None }
    }

    /// When it falls due by itself.
    pub fn next(&self, every: Duration) -> Option<Timestamp> {
        let poll = self.record.polls.first().map(|poll| Timestamp::from_millis(*poll));
        let begun = self.record.reconciled.map(Timestamp::from_millis).or(self.began);
        // While it breaks off again and again, the pauses between tries decide and not the age of the last whole reading.
        let reconcile = if self.retry.is_some() { None } else { begun.map(|begun| begun.plus(every)) };
        let poll = if self.retry.is_some() { None } else { poll };
        self.retry.into_iter().chain(poll).chain(reconcile).min()
    }
}
