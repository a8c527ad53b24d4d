//! Exports: transcripts for people and programs, each with a manifest and proofs.
//!
//! A [`Format`] writes a [`Selection`] of the archive to any writer, streamed, and the same log gives the same bytes. An
//! export to a file is three files: `FILE`, `FILE.manifest.json` (what was asked, what is in it, hashes, coverage and gaps,
//! the checkpoint) and `FILE.proofs.jsonl` (what a stranger needs to check each event against the checkpoint). A new
//! format is one file here and one line in [`FORMATS`].

pub mod file;
pub mod jsonl;
pub mod manifest;
pub mod pdf;
pub mod text;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::archive::reader::{ConversationFilter, EventPages, Order};
use crate::archive::{ArchiveError, Reader};
use crate::model::{ConversationId, Event, Gap, Kind, Seq, Timestamp};

pub use file::{Made, drafts_of, to_file};
pub use text::{TextOptions, write_transcript};

/// Why an export could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The output cannot be written.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is something at the output's place.
    #[error("{} exists already, and an export overwrites nothing: name another path", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A document cannot be made.
    #[error("cannot make the PDF: {0}")]
    Pdf(#[from] pdf::PdfError),
    /// A conversation that was asked for is not in the archive.
    #[error("no conversation {id} in this archive: `greffier list` shows all")]
    UnknownConversation {
        /// As asked for.
        id: ConversationId,
    },
}

impl ExportError {
    /// Writing to the output failed.
    pub(crate) fn output(source: io::Error) -> Self {
        ExportError::Io { doing: "write the export".into(), source }
    }
}

/// What is exported; everything given must hold. Nothing given = the whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these conversations; empty = all, and the events of none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conversations: Vec<ConversationId>,
    /// Events at or after this time (`source_time`, or `recorded_at` where absent).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Events before this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
    /// Only conversations with somebody whose id equals this, or whose id or name contains it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant: Option<String>,
    /// Only what came through the connector of this name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connector: Option<String>,
}

impl Selection {
    /// Whether an event happened in the time that is asked for.
    fn has_time(&self, event: &Event) -> bool {
        let at = event.source_time.unwrap_or(event.recorded_at);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// A selection of one archive, fixed at the moment it was made: events that are logged later are not part of it.
pub struct Source<'r> {
    reader: &'r Reader,
    selection: &'r Selection,
    size: u64,
    only: Option<HashSet<ConversationId>>,
}

/// Up to so many conversations are read each by its own walk; more are picked from a walk over the log.
const OWN_WALK: usize = 16;

impl<'r> Source<'r> {
    /// Applies a selection to an archive as it stands.
    ///
    /// # Errors
    /// [`ExportError::UnknownConversation`], or the archive cannot be read.
    pub fn new(reader: &'r Reader, selection: &'r Selection) -> Result<Self, ExportError> {
        let size = reader.log_size()?;
        for id in &selection.conversations {
            if reader.conversation(id)?.is_none() {
                return Err(ExportError::UnknownConversation { id: id.clone() });
            }
        }
        let mut source = Source { reader, selection, size, only: None };
        if selection.participant.is_some() || !selection.conversations.is_empty() {
            source.only = Some(source.conversations().collect::<Result<_, _>>()?);
        }
        Ok(source)
    }

    /// The archive.
    pub fn reader(&self) -> &'r Reader {
        self.reader
    }

    /// What was asked for.
    pub fn selection(&self) -> &'r Selection {
        self.selection
    }

    /// Number of events in the log when the selection was made.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The conversations of the selection: in the order asked for, else by start.
    pub fn conversations(&self) -> Box<dyn Iterator<Item = Result<ConversationId, ExportError>> + 'r> {
        let selection = self.selection;
        let filter = ConversationFilter {
            since: selection.since,
            until: selection.until,
            participant: selection.participant.clone(),
            connector: selection.connector.clone(),
        };
        let reader = self.reader;
        let mut after = None;
        let mut ended = false;
        let pages = std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let page = reader.conversations(&filter, after, 500);
            match page {
                Ok(page) => {
                    after = page.next;
                    ended = page.next.is_none();
                    Some(Ok(page.rows.into_iter().map(|c| c.id).collect::<Vec<_>>()))
                }
                Err(error) => {
                    ended = true;
                    Some(Err(ExportError::from(error)))
                }
            }
        });
        let all = pages.flat_map(|page| match page {
            Ok(ids) => ids.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        if selection.conversations.is_empty() {
            return Box::new(all);
        }
        let mut seen = HashSet::new();
        let named = selection.conversations.iter().filter(move |id| seen.insert((*id).clone()));
        if selection.participant.is_none() && selection.connector.is_none() {
            return Box::new(named.map(|id| Ok(id.clone())));
        }
        // Few enough to be compared one by one.
        let fitting: Result<HashSet<_>, _> = all.collect();
        match fitting {
            Ok(fitting) => Box::new(named.filter(move |id| fitting.contains(*id)).map(|id| Ok(id.clone()))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// The events of the selection in the order of the log.
    pub fn events(&self) -> impl Iterator<Item = Result<Event, ExportError>> + '_ {
        let mut walks: Vec<std::iter::Peekable<EventPages<'r>>> = match &self.only {
            Some(only) if only.len() <= OWN_WALK => {
                only.iter().map(|id| self.reader.transcript(id, Order::Capture).peekable()).collect()
            }
            _ => vec![self.reader.log_between(self.selection.since, self.selection.until).peekable()],
        };
        std::iter::from_fn(move || {
            loop {
                // The walk whose next event is the earliest; a walk that failed comes first, to be told.
                let next = walks
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(at, walk)| match walk.peek()? {
                        Ok(event) => Some((event.seq.0, at)),
                        Err(_) => Some((0, at)),
                    })
                    .min()?;
                match walks[next.1].next()? {
                    Ok(event) if event.seq.0 > self.size => {
                        drop(walks.swap_remove(next.1));
                    }
                    Ok(event) if self.takes(&event) => return Some(Ok(event)),
                    Ok(_) => {}
                    Err(error) => return Some(Err(error.into())),
                }
            }
        })
    }

    fn takes(&self, event: &Event) -> bool {
        let conversation = match (&self.only, &event.conversation) {
            (None, _) => true,
            (Some(only), Some(id)) => only.contains(id),
            (Some(_), None) => false,
        };
        conversation
            && self.selection.connector.as_ref().is_none_or(|name| *name == event.connector)
            && self.selection.has_time(event)
    }
}

/// What an export holds, counted while it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of events.
    pub events: u64,
    /// Number of events of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Lowest and highest seq.
    pub span: Option<(Seq, Seq)>,
    /// Conversations that events belong to.
    pub conversations: BTreeSet<ConversationId>,
    /// Every `capture.gap` in it.
    pub gaps: Vec<(Seq, Option<ConversationId>, Gap)>,
}

impl Written {
    fn count(&mut self, event: &Event) {
        self.events += 1;
        *self.kinds.entry(event.kind.as_str()).or_default() += 1;
        let (low, high) = self.span.unwrap_or((event.seq, event.seq));
        self.span = Some((low.min(event.seq), high.max(event.seq)));
        if let Some(id) = &event.conversation
            && !self.conversations.contains(id)
        {
            self.conversations.insert(id.clone());
        }
        if let (Kind::CaptureGap, Some(gap)) = (event.kind, &event.content.gap) {
            self.gaps.push((event.seq, event.conversation.clone(), gap.clone()));
        }
    }
}

/// Called with each event that a format has written.
pub type Seen<'a> = dyn FnMut(&Event) -> Result<(), ExportError> + 'a;

/// One export format.
pub trait Format: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Extension of its files, without the dot.
    fn extension(&self) -> &'static str;

    /// What it is, in one line.
    fn about(&self) -> &'static str;

    /// Whether each event can be read back exactly, so that proofs can be checked against the file.
    fn provable(&self) -> bool;

    /// Writes the selection and tells `seen` every event, once.
    ///
    /// # Errors
    /// The archive cannot be read or the output not be written.
    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError>;
}

/// Every format.
pub static FORMATS: &[&dyn Format] = &[&jsonl::JsonLines, &text::Text];

/// The format of this name.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// Writes only the format's bytes, for standard output and HTTP; `progress` is told the newest seq and the log's size.
///
/// # Errors
/// The archive cannot be read or the output not be written.
pub fn to_writer(
    source: &Source<'_>,
    format: &dyn Format,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, ExportError> {
    let mut written = Written::default();
    let size = source.size();
    format.write(source, out, &mut |event| {
        written.count(event);
        progress(event.seq.0, size);
        Ok(())
    })?;
    out.flush().map_err(ExportError::output)?;
    Ok(written)
}
