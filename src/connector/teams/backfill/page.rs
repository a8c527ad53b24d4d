//! One page as far as paging needs it: which versions it holds, and where it goes on.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::Target;
use crate::connector::teams::moment;
use crate::model::Timestamp;

/// One version of one message.
pub(super) struct Item {
    /// `lastModifiedDateTime`, else `createdDateTime`, else the time its version tells; `None` = unreadable.
    pub changed: Option<Timestamp>,
    /// Of place, id and version.
    pub fingerprint: u64,
}

/// Where more replies are.
pub(super) enum Replies {
    /// `replies@odata.nextLink`.
    Link(String),
    /// They were not sent along with this root.
    Of(String),
}

/// One page.
pub(super) struct Page {
    pub items: Vec<Item>,
    pub next: Option<String>,
    pub replies: Vec<Replies>,
    /// The latest change first.
    pub descending: bool,
}

impl Page {
    /// `None` if it is no list.
    pub fn read(json: &Value, target: &Target) -> Option<Page> {
        let value = member(json, "value")?.as_array()?;
        let mut page = Page { items: Vec::new(), next: None, replies: Vec::new(), descending: true };
        page.next =
            member(json, "@odata.nextLink").and_then(Value::as_str).filter(|l| !l.is_empty()).map(str::to_owned);
        let channel = matches!(target, Target::Channel { .. });
        let mut last: Option<Timestamp> = None;
        for message in value {
            let item = item(message);
            match item.changed {
                Some(changed) => {
                    page.descending &= last.is_none_or(|last| changed <= last);
                    last = Some(changed);
                }
                None => page.descending = false,
            }
            page.items.push(item);
            // Only roots have replies; what answers something is one itself.
            let is_reply = member(message, "replyToId").is_some_and(|reply| reply.is_string());
            if channel && !is_reply {
                page.replies_of(message);
            }
        }
        Some(page)
    }

    fn replies_of(&mut self, root: &Value) {
        match member(root, "replies").and_then(Value::as_array) {
            Some(replies) => {
                self.items.extend(replies.iter().map(item));
                let link = member(root, "replies@odata.nextLink").and_then(Value::as_str);
                self.replies.extend(link.map(|link| Replies::Link(link.to_owned())));
            }
            None => {
                let id = member(root, "id").and_then(Value::as_str).filter(|id| !id.is_empty());
                self.replies.extend(id.map(|id| Replies::Of(id.to_owned())));
            }
        }
    }
}

fn item(message: &Value) -> Item {
    let told = |name: &str| member(message, name).and_then(Value::as_str);
    let changed = told("lastModifiedDateTime")
        .and_then(moment::time)
        .or_else(|| told("createdDateTime").and_then(moment::time))
        .or_else(|| told("etag").and_then(moment::from_id))
        .or_else(|| told("id").and_then(moment::from_id));
    let mut hasher = DefaultHasher::new();
    (told("chatId"), told("replyToId"), told("id"), told("etag"), told("lastModifiedDateTime")).hash(&mut hasher);
    Item { changed, fingerprint: hasher.finish() }
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
