//! Messages of earlier slices, as they stood when the slice at hand began.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::model::{Event, Kind, Person, Seq, Timestamp};

/// A message that was sent before the slice at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The event that it was sent with.
    pub seq: Seq,
    /// When it was sent.
    pub at: Timestamp,
    /// Who sent it, if told.
    pub actor: Option<Person>,
    /// Its newest text before the slice.
    pub text: String,
    /// Number of edits before the slice.
    pub edits: u32,
    /// Whether it was deleted before the slice.
    pub deleted: bool,
}

/// What is remembered at most, in bytes by estimate.
const LIMIT: usize = 48 << 20;

/// The newest messages; older ones are forgotten.
#[derive(Debug)]
pub(super) struct Memory {
    known: HashMap<String, Earlier>,
    order: VecDeque<String>,
    bytes: usize,
    limit: usize,
    forgot: bool,
    /// Where not everything is of interest: the message ids that are.
    only: Option<HashSet<String>>,
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory::with_limit(LIMIT)
    }

    pub(super) fn with_limit(limit: usize) -> Memory {
        let (known, order) = (HashMap::new(), VecDeque::new());
        Memory { known, order, bytes: 0, limit, forgot: false, only: None }
    }

    /// Remembers these messages alone, and all of them.
    pub(super) fn of(only: HashSet<String>) -> Memory {
        Memory { only: Some(only), ..Memory::with_limit(usize::MAX) }
    }

    /// A message that is not known may have been forgotten.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgot
    }

    pub(super) fn get(&self, id: &str) -> Option<&Earlier> {
        self.known.get(id)
    }

    pub(super) fn take(&mut self, event: &Event) {
        let Some(message) = &event.content.message else { return };
        if self.only.as_ref().is_some_and(|only| !only.contains(&message.id)) {
            return;
        }
        match event.kind {
            Kind::MessageSent => {
                let earlier = Earlier {
                    seq: event.seq,
                    at: super::time_of(event),
                    actor: event.content.actor.clone(),
                    text: message.text.clone(),
                    edits: 0,
                    deleted: false,
                };
                self.bytes += weight(&message.id, &earlier);
                match self.known.insert(message.id.clone(), earlier) {
                    Some(replaced) => self.bytes -= weight(&message.id, &replaced),
                    None => self.order.push_back(message.id.clone()),
                }
                self.forget();
            }
            Kind::MessageEdited => {
                if let Some(earlier) = self.known.get_mut(&message.id) {
                    self.bytes = self.bytes + message.text.len() - earlier.text.len();
                    earlier.text.clone_from(&message.text);
                    earlier.edits += 1;
                    earlier.deleted = false;
                }
                self.forget();
            }
            Kind::MessageDeleted => {
                if let Some(earlier) = self.known.get_mut(&message.id) {
                    earlier.deleted = true;
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self) {
        while self.bytes > self.limit {
            let Some(id) = self.order.pop_front() else { return };
            if let Some(earlier) = self.known.remove(&id) {
                self.bytes -= weight(&id, &earlier);
                self.forgot = true;
            }
        }
    }
}

/// Bytes that a remembered message takes, with what the maps need.
fn weight(id: &str, earlier: &Earlier) -> usize {
    let actor = earlier.actor.as_ref().map_or(0, |actor| actor.id.len() + actor.name.as_ref().map_or(0, String::len));
    256 + 2 * id.len() + earlier.text.len() + actor
}
