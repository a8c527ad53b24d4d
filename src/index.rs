//! Search: a tantivy index that follows the log by seq, and the questions it answers.
//!
//! The index is derived data: it may be deleted at any time and is made anew from the archive. It holds no text; a hit is
//! a seq, and what is shown comes from the archive. A [`Query`](query::Query) is typed before it meets the engine, so that
//! the language of the search box does not depend on it.

pub mod analysis;
pub mod query;

use serde::Serialize;

use crate::archive::reader::Coverage;
use crate::model::{ConversationId, Event, Seq, Timestamp};

/// In which order hits come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// Best match first; the newer of equals first.
    #[default]
    Relevance,
    /// By time, newest first, then by seq.
    Newest,
    /// By time, oldest first, then by seq.
    Oldest,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request<'q> {
    /// The parsed query.
    pub query: &'q query::Query,
    /// Order of hits.
    pub sort: Sort,
    /// Hits at most.
    pub limit: usize,
    /// Where the page before ended; `None` = from the first hit.
    pub after: Option<Cursor>,
    /// Whether [`Answer::facets`] is wanted.
    pub facets: bool,
}

/// A place between two hits. As text it is opaque, fits into an address, and stays valid while the log grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Sort key of the last hit: bits of the score, or the time in µs.
    pub(crate) key: i64,
    /// Seq of the last hit.
    pub(crate) seq: u64,
    /// Log size when the first page was asked for: later events are no hits of this search.
    pub(crate) size: u64,
}

/// One page of hits.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The hits of this page.
    pub hits: Vec<Hit>,
    /// Number of all hits of the query.
    pub total: u64,
    /// Counts, if asked for.
    pub facets: Option<Facets>,
    /// Where the next page starts; `None` = this was the last.
    pub next: Option<Cursor>,
    /// Events up to this seq were searched.
    pub reached: Seq,
}

/// What became of a message that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It stands as found.
    Current,
    /// A later edit replaced these words.
    Superseded,
    /// It was deleted at its source.
    Deleted,
}

/// One event that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The event.
    pub event: Event,
    /// How well it matches; 0 when sorted by time.
    pub score: f32,
    /// The part of its text that matches best.
    pub snippet: Snippet,
    /// What became of it.
    pub standing: Standing,
    /// Subject of its conversation.
    pub subject: Option<String>,
    /// Whether the record of its conversation is whole.
    pub coverage: Option<Coverage>,
}

/// A piece of text, cut where words end, with the matches marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// Plain text and whether it matches, in order; never empty strings.
    pub parts: Vec<(String, bool)>,
    /// Text before was cut off.
    pub cut_before: bool,
    /// Text after was cut off.
    pub cut_after: bool,
}

/// Counts of all hits, largest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facets {
    /// By who said or did it.
    pub senders: Vec<FacetCount>,
    /// By conversation.
    pub conversations: Vec<FacetCount>,
    /// By platform.
    pub platforms: Vec<FacetCount>,
    /// By month, `2026-11`, in order of time.
    pub months: Vec<FacetCount>,
}

/// One value with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FacetCount {
    /// What a query says to get only these: a person's id, a conversation's id, a platform, a month.
    pub value: String,
    /// For people to read: a name, a subject.
    pub label: String,
    /// Number of hits.
    pub count: u64,
}

/// Bounds that a search is kept within besides its query; all given must hold.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these conversations; empty = all.
    pub conversations: Vec<ConversationId>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}
