//! Search: a tantivy index that follows the log by seq, and the questions it answers.
//!
//! The index is derived data: it may be deleted at any time and is made anew from the archive. It holds no text; a hit is
//! a seq, and what is shown comes from the archive. A [`Query`](query::Query) is typed before it meets the engine, so that
//! the language of the search box does not depend on it.

pub mod analysis;
#[cfg(test)]
mod languages;
pub mod query;
pub mod snippet;

mod facets;
mod follow;
mod generation;
mod lists;
mod open;
mod people;
mod place;
mod plan;
mod schema;
mod search;
mod segments;
mod slots;
mod tokenizer;
mod top;

use std::path::PathBuf;

use serde::Serialize;

use crate::archive::ArchiveError;
use crate::archive::reader::Coverage;
use crate::model::{ConversationId, Event, Seq, Timestamp};

pub use follow::{Indexer, catch_up, rebuild};
pub use open::{Index, Matches};
pub use top::BadCursor;

/// Why the index could not do something. Never holds text of a query or of a message.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The archive could not be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Another process writes this index.
    #[error("the search index in {} is kept by another process, which makes it anew by itself when that is needed; to do it now, stop that process first", dir.display())]
    Busy {
        /// The index's directory.
        dir: PathBuf,
    },
    /// There is no index that could answer.
    #[error("there is no search index yet in {}: a running `serve` makes it, and so does `greffier reindex`", dir.display())]
    Missing {
        /// The index's directory.
        dir: PathBuf,
    },
    /// The index does not belong to the archive as it stands.
    #[error("the search index cannot be used: {why}; `greffier reindex` makes it anew")]
    Stale {
        /// In what way.
        why: &'static str,
    },
    /// Files are not what was written.
    #[error("the search index is damaged ({why}); `greffier reindex` makes it anew")]
    Damaged {
        /// What is wrong.
        why: &'static str,
    },
    /// The engine gave up in the middle, which it does over damaged files.
    #[error("cannot {doing}: its files may be damaged; `greffier reindex` makes it anew")]
    Broken {
        /// What was being done.
        doing: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine refused.
    #[error("cannot {doing}: {problem}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What the engine said.
        problem: String,
        /// Whether the file system is to blame, and not the files' content.
        io: bool,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl IndexError {
    pub(crate) fn engine(doing: &'static str, source: tantivy::TantivyError) -> IndexError {
        let io = matches!(
            source,
            tantivy::TantivyError::IoError(_)
                | tantivy::TantivyError::OpenWriteError(_)
                | tantivy::TantivyError::LockFailure(..)
                | tantivy::TantivyError::ErrorInThread(_)
        );
        IndexError::Engine { doing, problem: source.to_string(), io }
    }

    /// Whether making the index anew would help.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            IndexError::Stale { .. } | IndexError::Damaged { .. } | IndexError::Broken { .. } => true,
            IndexError::Engine { io, .. } => !io,
            _ => false,
        }
    }
}

/// What the index is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    /// It follows the log.
    Following,
    /// It is taking in what it missed.
    #[serde(rename = "catching up")]
    CatchingUp {
        /// Events done.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// It is being made anew; what was there before answers meanwhile, if it can.
    Rebuilding {
        /// Events done.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// It cannot be written; it tries again.
    Waiting,
    /// Nobody in this process writes it.
    Resting,
}

/// How far the index is, and what it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Events up to this seq can be found.
    pub reached: Seq,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Why, if that needs an explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

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
    /// Sort key of the last hit: bits of the score, the time in µs, or its complement (oldest first).
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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

#[cfg(test)]
mod tests;
