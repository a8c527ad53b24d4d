//! Exports: transcripts for people and programs, each with a manifest and proofs.
//!
//! A [`Format`] writes a [`Source`] (a [`Selection`] of one archive) as one file or as many, streamed, and the same log
//! gives the same bytes. The rest is the same for all: where the files go ([`Output`]: one file with companions beside it,
//! a folder, a ZIP archive), `manifest.json` (what was asked, what is in it, what is missing, hashes, the checkpoint),
//! `proofs.jsonl` (what a stranger needs to check each event against the checkpoint) and `README.txt` for the recipient.
//! `docs/FORMATS.md`, section 7, says it byte by byte.
//!
//! An export that was interrupted leaves nothing under its name and is simply started again: it does not go on where it
//! was, because its hashes would have to be made again anyway.
//!
//! # A new format
//!
//! 1. One file here with a unit struct that implements [`Format`], and one line in [`FORMATS`]; that is all the wiring.
//! 2. A format whose result is one stream implements [`Format::write`]. One that makes several files returns
//!    [`Container::Many`] and implements [`Format::write_files`]: it calls [`Files::file`] for each, one after the other, with
//!    names made of ids, dates and numbers (`c_01JD….2026-11-21.eml`), never of what people typed.
//! 3. Take events from [`Source::conversations`] with [`Source::transcript`] (order of display), and then those of
//!    [`Source::loose`]; or all in order of the log from [`Source::events`]. Never ask the reader for events directly: what
//!    was not selected, or was logged later, must not come in.
//! 4. Call `seen` once for each event whose content goes in, in any order (a second call changes nothing). Counts, proofs
//!    and gaps of the manifest come from there. What the format cannot hold is told by [`Format::left_out`], or by [`Files::left_out`] while it writes.
//! 5. Hold no more than a bounded number of events; no clock, no randomness, no hash order: two runs give the same bytes.
//! 6. Everything that people typed is hostile: escape it, and make it harmless ([`crate::harmless`]) unless the format keeps
//!    it as data. Say coverage and gaps in the file itself, since files get separated from their manifest.
//! 7. Kept files (attachments) go beside the format's files by themselves. A format that can carry them in its own takes them
//!    from [`Source::shelf`], which gives only what is what the log says, limits its slices ([`slice::Limits::files`]), and
//!    says so ([`Format::carries_files`]).
//! 8. Tests: read it back with a reader by another hand; an archive of hostile texts; twice the same bytes.

pub mod actiance;
pub mod csv;
pub mod dat;
pub mod edrm;
pub mod files;
pub mod globalrelay;
pub mod html;
pub mod jsonl;
pub mod kept;
pub mod mail;
pub mod manifest;
pub mod markdown;
pub mod natives;
pub mod output;
pub mod pdf;
pub(crate) mod proofs;
mod readme;
pub mod rsmf;
pub mod seqs;
pub mod slice;
pub mod source;
pub mod text;
mod view;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::archive::ArchiveError;
use crate::model::{ConversationId, Event, Gap, Kind, Seq};

pub use files::{Body, FileEntry, Files};
pub use output::{Made, Output, to_file, to_writer, to_zip};
pub use seqs::SeqSet;
pub use source::{Search, Selection, Source};
pub use text::{TextOptions, write_transcript};

/// Program and version, as files of an export name what made them.
pub const PROGRAM: &str = concat!("greffier ", env!("CARGO_PKG_VERSION"));

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
    /// The output's folder holds something.
    #[error("folder {} is not empty, and an export of several files needs one of its own: name a new one, or a .zip file", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another export writes there.
    #[error("another export to {} is under way: wait for it, or name another path", path.display())]
    Busy {
        /// The file or folder.
        path: PathBuf,
    },
    /// More than one file comes out of it, and there is room for one.
    #[error("this makes several files: name a folder (ending in /) or a .zip file as output")]
    SeveralFiles,
    /// A document cannot be made.
    #[error("cannot make the PDF: {0}")]
    Pdf(#[from] pdf::PdfError),
    /// A conversation that was asked for is not in the archive.
    #[error("no conversation {id} in this archive: `greffier list` shows all")]
    UnknownConversation {
        /// As asked for.
        id: ConversationId,
    },
    /// The selection names a query, and nobody asked the index.
    #[error("a selection by query needs the hits of the search index")]
    Unsearched,
    /// The search behind the selection failed.
    #[error("{0}")]
    Search(String),
}

impl ExportError {
    /// Writing to the output failed.
    pub(crate) fn output(source: io::Error) -> Self {
        ExportError::Io { doing: "write the export".into(), source }
    }
}

/// What an export holds, counted while it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of events.
    pub events: u64,
    /// Which they are.
    pub seqs: SeqSet,
    /// Number of events of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Lowest and highest seq.
    pub span: Option<(Seq, Seq)>,
    /// Conversations that events belong to.
    pub conversations: BTreeSet<ConversationId>,
    /// Every `capture.gap` in it, by seq.
    pub gaps: Vec<(Seq, Option<ConversationId>, Gap)>,
    /// Number of files that events speak of and whose bytes the archive does not keep.
    pub unkept: u64,
    /// SHA-256 of the files that the archive keeps, each once.
    pub kept: BTreeSet<String>,
    /// Number of these that are missing, or not what was kept, and so not in the export; told at the end.
    pub lost: u64,
    /// Number of messages that have an HTML form.
    pub html: u64,
    /// Number of messages that answer another.
    pub replies: u64,
    /// What the format told while it wrote ([`Files::left_out`]).
    pub left_out: Vec<LeftOut>,
}

impl Written {
    /// Counts an event; one that was counted before changes nothing.
    fn count(&mut self, event: &Event) {
        if !self.seqs.insert(event.seq) {
            return;
        }
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
        for file in event.content.files() {
            match &file.attachment.sha256 {
                Some(sha256) if !self.kept.contains(sha256) => drop(self.kept.insert(sha256.clone())),
                Some(_) => {}
                None => self.unkept += 1,
            }
        }
        if let Some(message) = &event.content.message {
            self.html += u64::from(message.html.is_some());
            self.replies += u64::from(message.in_reply_to.is_some());
        }
    }

    /// All events were counted.
    fn seal(&mut self) {
        self.gaps.sort_by_key(|(seq, ..)| *seq);
    }

    /// Number of events of a kind.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds.get(kind.as_str()).copied().unwrap_or(0)
    }
}

/// Something that is in the record, or was, and not in the files of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What, for example `platform.event`.
    pub what: String,
    /// How many.
    pub count: u64,
    /// Why, and where it can be had; a sentence without full stop.
    pub why: String,
}

/// Called with each event that a format has written.
pub type Seen<'a> = dyn FnMut(&Event) -> Result<(), ExportError> + 'a;

/// How many files a format makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// One, always.
    One,
    /// One or more: one for each conversation, say.
    Many,
}

/// One export format. The module's text says how to add one.
pub trait Format: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Extension of its (main) files, without the dot.
    fn extension(&self) -> &'static str;

    /// Media type of its (main) files, with charset where it is text.
    fn media_type(&self) -> &'static str;

    /// What it is, in one line; no capital letter, no full stop.
    fn about(&self) -> &'static str;

    /// How many files it makes.
    fn container(&self) -> Container {
        Container::One
    }

    /// Whether each line of its one file is an event that can be read back exactly, in order of seq, so that proofs can be
    /// checked against the file.
    fn provable(&self) -> bool {
        false
    }

    /// Whether its files carry the kept files in them, as mail carries attachments. The kept files of any other format
    /// stand beside its files, in [`kept::FOLDER`].
    fn carries_files(&self) -> bool {
        false
    }

    /// What of the events that were written is not to be seen in the files, and why.
    fn left_out(&self, written: &Written) -> Vec<LeftOut> {
        let _ = written;
        Vec::new()
    }

    /// Writes the selection as one stream and tells `seen` every event. For [`Container::One`].
    ///
    /// # Errors
    /// The archive cannot be read or the output not be written.
    fn write(&self, source: &Source<'_>, out: &mut dyn Write, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        let _ = (source, out, seen);
        Err(ExportError::SeveralFiles)
    }

    /// Writes the selection as files and tells `seen` every event. For [`Container::Many`].
    ///
    /// # Errors
    /// The archive cannot be read or the output not be written.
    fn write_files(&self, source: &Source<'_>, files: &mut dyn Files, seen: &mut Seen<'_>) -> Result<(), ExportError> {
        files.file(&format!("export.{}", self.extension()), &mut |out| self.write(source, out, seen))
    }
}

/// Every format.
pub static FORMATS: &[&dyn Format] = &[
    &jsonl::JsonLines,
    &text::Text,
    &html::Html,
    &markdown::Markdown,
    &pdf::Pdf,
    &csv::Csv,
    &mail::Eml,
    &mail::Mbox,
    &rsmf::Rsmf,
    &actiance::Actiance,
    &globalrelay::GlobalRelay,
    &edrm::Edrm,
    &dat::LoadFile,
];

/// The format of this name.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// A name for a file that a browser saves: the conversation's id if there is one, else `greffier-export`.
///
/// `zip` = the whole export ([`to_zip`], media type [`ZIP`]); else the format's bytes alone ([`to_writer`],
/// [`Format::media_type`]).
pub fn file_name(source: &Source<'_>, format: &dyn Format, zip: bool) -> String {
    let stem = match source.selection().conversations.as_slice() {
        [one] => one.as_str(),
        _ => "greffier-export",
    };
    let extension = format.extension();
    if zip { format!("{stem}.{}.zip", format.name()) } else { format!("{stem}.{extension}") }
}

/// Media type of [`to_zip`].
pub const ZIP: &str = "application/zip";
