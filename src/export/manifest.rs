//! What an export says about itself. Byte by byte in `docs/FORMATS.md`.

use std::io::Write;

use serde::Serialize;

use super::{ExportError, FileEntry, Format, LeftOut, Made, Source, Written};
use crate::archive::{Layout, Reader};
use crate::capture::coverage::Statement as Coverage;
use crate::integrity::checkpoint::{Note, Statement, VerifyingKey};
use crate::model::{ConversationId, Gap, Seq};

/// What the proofs of an export lead to: the newest checkpoint of the archive, and the key that signed it.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    checkpoint: Option<(u64, String)>,
    public_key: Option<String>,
}

impl Trust {
    /// Of an archive as it stands.
    ///
    /// # Errors
    /// The archive cannot be read. Key files that cannot be read only mean that the manifest names no key.
    pub fn of(reader: &Reader) -> Result<Trust, ExportError> {
        let Some(checkpoint) = reader.latest_checkpoint()? else { return Ok(Trust::default()) };
        let keys = VerifyingKey::load_all(&Layout::of(reader.path()).keys).unwrap_or_default();
        let note = Note::parse(&checkpoint.text);
        let signer = keys.iter().find(|key| {
            note.as_ref().is_ok_and(|note| {
                let said: Result<Statement, _> = note.verify(std::slice::from_ref(*key));
                said.is_ok()
            })
        });
        Ok(Trust { checkpoint: Some((checkpoint.size, checkpoint.text)), public_key: signer.map(ToString::to_string) })
    }

    /// Number of events that the checkpoint covers; 0 without one.
    pub fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(size, _)| *size)
    }

    /// The signed checkpoint, as text.
    pub fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_ref().map(|(_, text)| text.as_str())
    }

    /// The key that its signature can be checked with, if the archive has it.
    pub fn public_key(&self) -> Option<&str> {
        self.public_key.as_deref()
    }
}

/// What is in the record, or should be, and not in the files of this export.
pub(super) fn left_out(source: &Source<'_>, format: &dyn Format, written: &Written) -> Vec<LeftOut> {
    let mut left_out = format.left_out(written);
    if source.unsearched() > 0 {
        left_out.push(LeftOut {
            what: "newest event of the log".into(),
            count: source.unsearched(),
            why: "the search index had not reached them; export again for these".into(),
        });
    }
    left_out.extend(written.left_out.iter().cloned());
    let html = "HTML form of a message";
    if written.html > 0 && !format.provable() && !left_out.iter().any(|told| told.what == html) {
        left_out.push(LeftOut {
            what: html.into(),
            count: written.html,
            why: "its plain text is shown; the format jsonl has both forms".into(),
        });
    }
    // Many formats say themselves what they put in the place of files.
    if written.unkept > 0 && !left_out.iter().any(|told| told.what == "attachment") {
        left_out.push(LeftOut {
            what: "attachment".into(),
            count: written.unkept,
            why: "the archive holds what was told about these files (name, type, size), not their bytes".into(),
        });
    }
    if written.lost > 0 {
        left_out.push(LeftOut {
            what: "attachment that was lost".into(),
            count: written.lost,
            why: "its file is missing in the archive or not what was kept; run `greffier verify`, look for it in a backup"
                .into(),
        });
    }
    left_out
}

#[derive(Serialize)]
struct ConversationEntry<'a> {
    id: &'a ConversationId,
    connector: String,
    platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(flatten)]
    coverage: Option<Coverage>,
}

#[derive(Serialize)]
struct GapEntry<'a> {
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a ConversationId>,
    #[serde(flatten)]
    gap: &'a Gap,
}

/// Writes the manifest: one JSON object, a member per line, list entries on lines of their own.
pub(super) fn write(
    out: &mut dyn Write,
    source: &Source<'_>,
    format: &dyn Format,
    made: &Made,
    written: &Written,
    files: &[FileEntry],
    trust: &Trust,
) -> Result<(), ExportError> {
    let mut members = Members { out, first: true };
    members.put("greffier_export", &1)?;
    members.put("origin", &source.reader().origin()?)?;
    members.put("format", &format.name())?;
    members.put("selection", source.selection())?;
    members.put("zone", &source.zone().name())?;
    members.put("made", made)?;
    members.put("log_size", &source.size())?;
    members.put("events", &written.events)?;
    if let Some((first, last)) = written.span {
        members.put("first_seq", &first)?;
        members.put("last_seq", &last)?;
    }
    members.put("kinds", &written.kinds)?;
    if let Some(hits) = source.hits() {
        members.put("hits", &hits)?;
    }
    members.put_list("left_out", left_out(source, format, written).iter().map(Ok))?;
    members.put_list("files", files.iter().map(Ok))?;
    if let Some((size, note)) = &trust.checkpoint {
        members.put("checkpoint_size", size)?;
        members.put("checkpoint", note)?;
    }
    if let Some(key) = &trust.public_key {
        members.put("public_key", key)?;
    }
    let reader = source.reader();
    let conversations = written.conversations.iter().map(|id| {
        let found = reader.conversation(id)?;
        let coverage = reader.coverage_of(id)?;
        let (connector, platform, subject) = found.map(|c| (c.connector, c.platform, c.subject)).unwrap_or_default();
        Ok(ConversationEntry { id, connector, platform, subject, coverage })
    });
    members.put_list("conversations", conversations)?;
    let gaps = written.gaps.iter();
    members.put_list("gaps", gaps.map(|(seq, id, gap)| Ok(GapEntry { seq: *seq, conversation: id.as_ref(), gap })))?;
    members.finish()
}

struct Members<'w> {
    out: &'w mut dyn Write,
    first: bool,
}

impl Members<'_> {
    fn name(&mut self, name: &str) -> Result<(), ExportError> {
        let before = if std::mem::take(&mut self.first) { "{\n" } else { ",\n" };
        write!(self.out, "{before} \"{name}\": ").map_err(ExportError::output)
    }

    fn value(&mut self, value: &impl Serialize) -> Result<(), ExportError> {
        serde_json::to_writer(&mut *self.out, value).map_err(|e| ExportError::output(e.into()))
    }

    fn put(&mut self, name: &str, value: &impl Serialize) -> Result<(), ExportError> {
        self.name(name)?;
        self.value(value)
    }

    fn put_list<T: Serialize>(
        &mut self,
        name: &str,
        rows: impl Iterator<Item = Result<T, ExportError>>,
    ) -> Result<(), ExportError> {
        self.name(name)?;
        let mut between = "[\n  ";
        for row in rows {
            self.out.write_all(between.as_bytes()).map_err(ExportError::output)?;
            self.value(&row?)?;
            between = ",\n  ";
        }
        let end = if between == "[\n  " { "[]" } else { "]" };
        self.out.write_all(end.as_bytes()).map_err(ExportError::output)
    }

    fn finish(self) -> Result<(), ExportError> {
        self.out.write_all(b"\n}\n").map_err(ExportError::output)
    }
}
