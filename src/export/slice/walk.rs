//! The events of a selection in one conversation, in order of display, page by page; a walk can be forked to look ahead.

use std::collections::VecDeque;

use crate::archive::reader::{Order, Position};
use crate::export::{ExportError, Source};
use crate::model::{ConversationId, Event};

/// Events read at once.
const PAGE: usize = 500;

#[derive(Clone)]
pub(super) struct Walk<'s> {
    source: &'s Source<'s>,
    /// `None` = what belongs to no conversation, in order of seq.
    id: Option<ConversationId>,
    after: Option<Position>,
    page: VecDeque<Event>,
    ended: bool,
}

impl<'s> Walk<'s> {
    pub(super) fn new(source: &'s Source<'s>, id: Option<ConversationId>) -> Walk<'s> {
        Walk { source, id, after: None, page: VecDeque::new(), ended: false }
    }

    pub(super) fn next(&mut self) -> Result<Option<Event>, ExportError> {
        while self.page.is_empty() && !self.ended {
            self.fetch()?;
        }
        Ok(self.page.pop_front())
    }

    fn fetch(&mut self) -> Result<(), ExportError> {
        let (reader, selection) = (self.source.reader(), self.source.selection());
        let page = match &self.id {
            Some(id) => reader.events_of_conversation(id, Order::Time, self.after, PAGE)?,
            None if self.source.hits().is_some() => reader.events_between(None, None, self.after, PAGE)?,
            None => reader.events_between(selection.since, selection.until, self.after, PAGE)?,
        };
        let past = |event: &Event| {
            // Within a second the order is that of capture: an event before `until` may still follow.
            let second = super::time_of(event).micros().div_euclid(1_000_000);
            // What surrounds a hit may lie outside of the times.
            let until = selection.until.filter(|_| self.source.hits().is_none());
            until.is_some_and(|until| second > until.micros().div_euclid(1_000_000))
        };
        let last = page.rows.last();
        self.ended = page.next.is_none()
            || match self.id {
                Some(_) => last.is_some_and(past),
                None => last.is_some_and(|event| event.seq.0 > self.source.size()),
            };
        self.after = page.next;
        let (source, none) = (self.source, self.id.is_none());
        let ours = |event: &Event| {
            event.seq.0 <= source.size() && source.takes(event) && (!none || event.conversation.is_none())
        };
        self.page = page.rows.into_iter().filter(ours).collect();
        Ok(())
    }
}
