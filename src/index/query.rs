//! The query language (INTERFACES §3): from text to a typed tree.
//!
//! | typed | finds |
//! |---|---|
//! | `budget plan` | both words; `AND` may stand between |
//! | `"exact phrase"`, `“…”`, `„…“`, `«…»` | these words in a row; `"exact phr"*` leaves the end open |
//! | `a OR b`, `( )` | either; `OR` binds looser than blanks |
//! | `-word`, `NOT word`, `-( )` | not that; a query that only excludes finds all else |
//! | `wor*` | words that begin so |
//! | `from:` `with:` `in:` `kind:` `platform:` `connector:` `conversation:` | fields; a value with blanks stands in quotes |
//! | `before:2026-11-01` `after:2026-11` `on:today` `after:7d` | times: years, months, days, RFC 3339, `today`, `yesterday`, spans back (`s m h d w`); `after:` includes the day it names; `on:A..B` is a span |
//! | `has:attachment` `has:link` `is:edited` `is:deleted` | |
//! | `*` | everything |
//!
//! Words are searched as [`analysis`](super::analysis) takes them: case and accents do not count. Signs between words
//! mean nothing, so that pasted text can be searched for.

mod date;
mod field;
mod parse;
mod print;
mod tree;

use std::ops::Range;

pub use parse::{DEEPEST, LONGEST_TEXT, MOST_CONDITIONS, parse};

use crate::model::{ConversationId, Kind, Timestamp};

/// A parsed query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The tree; `Node::All` for an empty text.
    pub root: Node,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Everything.
    All,
    /// All of these.
    And(Vec<Node>),
    /// At least one of these.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// Words that occur in what was said.
    Words(Words),
    /// Anything but words.
    Filter(Filter),
}

/// Words as typed; the index's analysis decides what they match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// `budget`: one typed word. May analyse into several tokens, which then must follow each other.
    Word(String),
    /// `"exact phrase"`.
    Phrase(String),
    /// `wor*`, or `"some wor"*`; without the star.
    Prefix(String),
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `from:` who said or did it: an address, or part of an address or name.
    From(Words),
    /// `with:` took part in the conversation.
    With(Words),
    /// `in:` words of a subject of the conversation.
    In(Words),
    /// `kind:message` (a group) or `kind:message.sent`.
    Kind(Vec<Kind>),
    /// `platform:`.
    Platform(String),
    /// `connector:`.
    Connector(String),
    /// `conversation:` an id.
    Conversation(ConversationId),
    /// `before:`, `after:`, `on:`, as `since <= time < until`.
    Time {
        /// At or after; `None` = from the beginning.
        since: Option<Timestamp>,
        /// Before; `None` = to the end.
        until: Option<Timestamp>,
    },
    /// `has:attachment`.
    HasAttachment,
    /// `has:link`.
    HasLink,
    /// `is:edited`: messages of which there is more than one version, and those versions.
    IsEdited,
    /// `is:deleted`: messages that were deleted at their source.
    IsDeleted,
}

/// How dates of a query are read.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    /// Now, for spans back such as `after:7d`.
    pub now: Timestamp,
    /// The zone in which a date begins and ends.
    pub zone: chrono_tz::Tz,
}

/// Why a query cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {problem}", at_character)]
pub struct QueryError {
    /// Bytes of the query that are meant.
    pub at: Range<usize>,
    /// The first of them, counted in characters from 1.
    pub at_character: usize,
    /// What is wrong and what to write instead; one line, lower case, no full stop.
    pub problem: String,
}
