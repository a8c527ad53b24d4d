//! The port between connectors and the archive.
//!
//! A connector knows this module and [`crate::model`], nothing else of ours. It hands over [`Append`] batches; when
//! [`Sink::append`] returns, everything in the batch is on stable storage, together with the connector's cursor.

pub mod coverage;
pub mod health;
pub mod policy;
pub mod supervise;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{Content, ConversationId, Kind, Seq, Timestamp};

/// Which configured sign-in something came through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Configured, unique name, for example `sfb`.
    pub connector: String,
    /// Kind of connector: `ucwa`, `teams`, …; shown as `platform`.
    pub platform: String,
}

/// Row number of a stored envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeId(pub i64);

/// The bytes exactly as a platform delivered them: one HTTP body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Our clock when the last byte had arrived.
    pub received_at: Timestamp,
    /// The HTTP `Date` of the answer, if any.
    pub server_date: Option<Timestamp>,
    /// What was asked: `GET https://…` (the whole URL), or the webhook path. Never holds a secret.
    pub request: String,
    /// HTTP status of the answer; 0 for bytes that were sent to us.
    pub status: u16,
    /// `Content-Type` as received.
    pub content_type: Option<String>,
    /// The body, after removal of transfer and content encoding, otherwise untouched.
    pub body: Bytes,
    /// The body still has to be interpreted: it is handed back by [`Sink::pending`] until an append names it in
    /// [`Append::interpreted`].
    pub pending: bool,
}

/// An envelope read back for interpretation after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEnvelope {
    /// Its row.
    pub id: EnvelopeId,
    /// Its content; `pending` is true.
    pub envelope: Envelope,
}

/// What makes a fact the same fact when it comes again: text made only of what the platform says about it.
///
/// Unique per connector. Example: `message|<application>|<conversation href>|<message href>|<server time>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DedupeKey(pub String);

/// The envelope a captured event was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Stored by an earlier append.
    Stored(EnvelopeId),
    /// The n-th envelope (from 0) of the same append.
    Here(usize),
    /// None: the recorder's own statement (a gap, a decision).
    Recorder,
}

/// One fact, ready to become an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// Where it was read.
    pub origin: Origin,
    /// The conversation, if it belongs to one.
    pub conversation: Option<ConversationId>,
    /// What happened.
    pub kind: Kind,
    /// The platform's clock.
    pub source_time: Option<Timestamp>,
    /// Identity of the fact.
    pub dedupe: DedupeKey,
    /// The hashed part.
    pub content: Content,
}

/// A platform's identifier for one of our conversations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alias {
    /// What kind of identifier: `thread`, `meeting`, `href`, …
    pub scope: String,
    /// The identifier.
    pub value: String,
}

/// A change of one entry of the connector's cursor: its own durable notes, opaque to the archive.
///
/// There may be millions of entries whose name begins with `~` (one per message, say): they are read by name, with
/// [`Sink::recall`], and not handed back at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorChange {
    /// Name of the entry.
    pub key: String,
    /// New bytes; `None` removes the entry.
    pub value: Option<Vec<u8>>,
}

/// One atomic addition to the archive: all of it becomes durable or none.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Append {
    /// Bodies to store, in order.
    pub envelopes: Vec<Envelope>,
    /// Events to log, in order.
    pub events: Vec<Captured>,
    /// Aliases to add (already known pairs are fine; an alias never moves to another conversation).
    pub aliases: Vec<(ConversationId, Alias)>,
    /// Cursor entries to write.
    pub cursor: Vec<CursorChange>,
    /// Pending envelopes that are now interpreted.
    pub interpreted: Vec<EnvelopeId>,
}

/// What became of one captured event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its position in the log.
    pub seq: Seq,
    /// The same fact (same [`DedupeKey`]) had been there before; nothing was added.
    pub duplicate: bool,
}

/// The receipt of an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Appended {
    /// Ids of the envelopes, in order.
    pub envelopes: Vec<EnvelopeId>,
    /// Fate of the events, in order.
    pub events: Vec<Recorded>,
}

/// What the archive knows of a conversation found by an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Our id.
    pub id: ConversationId,
    /// `conversation.started` is logged.
    pub started: bool,
    /// `notice.sent` is logged.
    pub notice_sent: bool,
}

/// What a connector finds when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Restored {
    /// The cursor entries, by name, without those whose name begins with `~`.
    pub cursor: Vec<(String, Vec<u8>)>,
    /// `recorded_at` of this connector's newest event or envelope.
    pub last_seen: Option<Timestamp>,
}

/// The receipt for the bytes of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the bytes, 64 hex digits in lower case; what [`crate::model::Attachment::sha256`] names.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The archive cannot take or answer at the moment. Nothing of the batch is stored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct SinkError {
    /// What was being done, for example `append to archive …/archive.db`.
    pub doing: String,
    /// Why it failed and what to do.
    pub cause: String,
    /// Whether trying again can help (`None` = it cannot: the process must stop).
    pub retry_after: Option<Duration>,
}

/// A future that a port returns.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// Where connectors put what they receive.
pub trait Sink: Send + Sync {
    /// Stores a batch; returns after it is on stable storage.
    ///
    /// # Errors
    /// [`SinkError`] when it cannot be made durable (disk full, I/O error, shutting down); then none of it is stored and
    /// the platform must not be told that we have it.
    fn append<'a>(&'a self, source: &'a Source, batch: Append) -> PortFuture<'a, Appended>;

    /// Finds the conversation that bears any of these aliases; the first in the list that is known wins.
    ///
    /// # Errors
    /// [`SinkError`] when the archive cannot be read.
    fn conversation_of<'a>(&'a self, source: &'a Source, aliases: &'a [Alias]) -> PortFuture<'a, Option<Known>>;

    /// Reads the connector's cursor, without the entries that [`Sink::recall`] is for.
    ///
    /// # Errors
    /// [`SinkError`] when the archive cannot be read.
    fn restore<'a>(&'a self, source: &'a Source) -> PortFuture<'a, Restored>;

    /// Reads envelopes of this connector that were stored but not interpreted: the next ones after `after` (`None` = from
    /// the first), oldest first, at most `most` and not many more than 16 MB of bodies. Empty = there are no more.
    ///
    /// # Errors
    /// [`SinkError`] when the archive cannot be read.
    fn pending<'a>(
        &'a self,
        source: &'a Source,
        after: Option<EnvelopeId>,
        most: usize,
    ) -> PortFuture<'a, Vec<StoredEnvelope>>;

    /// Reads entries of the connector's cursor by name, in the order asked; `None` for those that are not there. Sees every
    /// append that was acknowledged before. Meant for some hundred names at a time.
    ///
    /// # Errors
    /// [`SinkError`] when the archive cannot be read.
    fn recall<'a>(&'a self, source: &'a Source, keys: Vec<String>) -> PortFuture<'a, Vec<Option<Vec<u8>>>>;

    /// Keeps the bytes of an attachment under their hash; returns after they are on stable storage. The same bytes again
    /// are kept once. An event that names the hash is appended afterwards.
    ///
    /// # Errors
    /// [`SinkError`] when they cannot be made durable (disk full, I/O error); then no event may say that we have them.
    fn keep(&self, bytes: Bytes) -> PortFuture<'_, Kept>;
}
