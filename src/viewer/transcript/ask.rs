//! What a page of a transcript asks the archive: bounded questions, whatever the length of the conversation.

use std::collections::{HashMap, HashSet};

use super::line::Group;
use super::page::{Context, Target, is_change};
use crate::archive::reader::{Attendance, Conversation, KindSet, Page, Position};
use crate::archive::{ArchiveError, Reader};
use crate::capture::coverage::Statement;
use crate::model::{ConversationId, Event, Gap, Kind, Seq, Timestamp};

/// Events on a page.
pub const PAGE: usize = 150;

/// Messages elsewhere that one page looks up, at most.
const LOOKED_UP: usize = 50;

/// Which part of a transcript is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The beginning.
    First,
    /// The end.
    Newest,
    /// Around this event.
    At(Seq),
    /// After a position.
    After(Position),
    /// Before a position.
    Before(Position),
    /// From a time on.
    From(Timestamp),
}

/// One page's events and what leads on.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// In order of display.
    pub events: Vec<Event>,
    /// Where an earlier page ends, if there is one.
    pub earlier: Option<Position>,
    /// Where a later page begins, if there is one.
    pub later: Option<Position>,
}

/// Everything about a conversation but its events.
#[derive(Clone, Debug)]
pub struct Head {
    /// The conversation.
    pub conversation: Conversation,
    /// Stays of everybody.
    pub stays: Vec<Attendance>,
    /// Gaps with the events that state them.
    pub gaps: Vec<(Seq, Gap)>,
    /// How complete the record is.
    pub coverage: Statement,
}

/// Kinds that are shown when these groups are hidden.
pub fn kinds(hidden: &[Group]) -> KindSet {
    Kind::ALL
        .iter()
        .filter(|kind| Group::of(**kind).is_some_and(|group| hidden.contains(&group)))
        .fold(KindSet::ALL, |set, kind| set.without(*kind))
}

/// The head of a conversation; `None` if there is no such conversation.
///
/// # Errors
/// The archive cannot be read.
pub fn head(reader: &Reader, id: &ConversationId) -> Result<Option<Head>, ArchiveError> {
    let Some(conversation) = reader.conversation(id)? else { return Ok(None) };
    let Some(coverage) = reader.coverage_of(id)? else { return Ok(None) };
    Ok(Some(Head { conversation, stays: reader.attendance_of(id)?, gaps: reader.gaps_of(id)?, coverage }))
}

/// The events of a page of at most `limit`. An event that is asked for is shown even if its kind is hidden.
///
/// # Errors
/// The archive cannot be read.
pub fn stretch(
    reader: &Reader,
    id: &ConversationId,
    kinds: KindSet,
    place: Place,
    limit: usize,
) -> Result<Stretch, ArchiveError> {
    let mut kinds = kinds;
    let after = |kinds, position, limit| reader.events_of_kinds(id, kinds, position, limit);
    let before = |kinds, position, limit| reader.events_of_kinds_before(id, kinds, position, limit);
    // Whether more follows on the side to which a page was read is known with it.
    let (events, ends) = match place {
        Place::First => read_on(after(kinds, None, limit)?),
        Place::After(position) => read_on(after(kinds, Some(position), limit)?),
        Place::Newest => read_back(before(kinds, None, limit)?),
        Place::Before(position) => read_back(before(kinds, Some(position), limit)?),
        Place::From(time) => match reader.position_at(id, time)? {
            Some(position) => read_on(after(kinds, Some(position), limit)?),
            None => read_back(before(kinds, None, limit)?),
        },
        Place::At(seq) => match reader.position_of(seq)? {
            Some((_, position)) => {
                kinds = reader.event(seq)?.map_or(kinds, |event| kinds.with(event.kind));
                let earlier = before(kinds, Some(position), limit / 3)?;
                let later = after(kinds, Some(position.just_before()), limit - earlier.rows.len())?;
                // A short page on one side has no room to tell.
                let ends = Ends { earlier: earlier.next.map(Some), later: Some(later.next) };
                (earlier.rows.into_iter().chain(later.rows).collect(), ends)
            }
            None => read_on(after(kinds, None, limit)?),
        },
    };
    let ends = if place == Place::First { Ends { earlier: Some(None), ..ends } } else { ends };
    let position = |event: Option<&Event>| -> Result<Option<Position>, ArchiveError> {
        let Some(event) = event else { return Ok(None) };
        Ok(reader.position_of(event.seq)?.map(|(_, position)| position))
    };
    let earlier = match ends.earlier {
        Some(known) => known,
        None => match position(events.first())? {
            Some(first) if !before(kinds, Some(first), 1)?.rows.is_empty() => Some(first),
            _ => None,
        },
    };
    let later = match ends.later {
        Some(known) => known,
        None => match position(events.last())? {
            Some(last) if !after(kinds, Some(last), 1)?.rows.is_empty() => Some(last),
            _ => None,
        },
    };
    Ok(Stretch { events, earlier, later })
}

/// What a page knows of its ends: `None` = nothing yet, `Some(None)` = there is no more.
struct Ends {
    earlier: Option<Option<Position>>,
    later: Option<Option<Position>>,
}

fn read_on(page: Page<Event>) -> (Vec<Event>, Ends) {
    (page.rows, Ends { earlier: None, later: Some(page.next) })
}

fn read_back(page: Page<Event>) -> (Vec<Event>, Ends) {
    (page.rows, Ends { earlier: Some(page.next), later: None })
}

/// What these events need to know of others: later changes of their messages, and the messages they are about. `about` tells
/// the events that carry a message's identifier.
///
/// # Errors
/// The archive cannot be read.
pub fn context(
    reader: &Reader,
    id: &ConversationId,
    events: &[Event],
    about: &dyn Fn(&str) -> Vec<Seq>,
) -> Result<Context, ArchiveError> {
    let own = |event: &&Event| event.kind == Kind::MessageSent;
    let sent: Vec<&str> = events.iter().filter(own).filter_map(message_id).collect();
    let changes = if sent.is_empty() { Vec::new() } else { reader.changes_of(id, &sent)? };
    let known: HashSet<&str> = sent.iter().copied().collect();
    let mut targets = HashMap::new();
    let replies = events.iter().filter_map(|event| event.content.message.as_ref()?.in_reply_to.as_deref());
    let changed = events.iter().filter(|event| is_change(event.kind)).filter_map(message_id);
    let mut wanted: Vec<&str> = replies.chain(changed).filter(|id| !known.contains(id)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for message in wanted.into_iter().take(LOOKED_UP) {
        for seq in about(message) {
            let Some(event) = reader.event(seq)? else { continue };
            if event.kind == Kind::MessageSent && event.conversation.as_ref() == Some(id) {
                targets.insert(message.to_owned(), Target::of(&event));
                break;
            }
        }
    }
    Ok(Context::new(events, changes, targets))
}

fn message_id(event: &Event) -> Option<&str> {
    event.content.message.as_ref().map(|message| message.id.as_str()).filter(|id| !id.is_empty())
}

/// New events of a conversation in order of capture, at most `limit` looked at, and the seq up to which was looked.
///
/// # Errors
/// The archive cannot be read.
pub fn news(
    reader: &Reader,
    id: Option<&ConversationId>,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Event>, Seq), ArchiveError> {
    let events = reader.events(Seq(after.0.saturating_add(1)), limit)?;
    let reached = events.last().map_or(after, |event| event.seq);
    let wanted = |event: &Event| id.is_none() || event.conversation.as_ref() == id;
    Ok((events.into_iter().filter(wanted).collect(), reached))
}
