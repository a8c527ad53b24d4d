//! `README.txt`: the export explained to whoever gets it, in words.

use std::io::Write;

use super::manifest::{Trust, left_out};
use super::{ExportError, FileEntry, Format, PROGRAM, Source, Written};
use crate::harmless::one_line;

/// Writes it. Nothing in it depends on who makes the export and when.
pub(super) fn write(
    out: &mut dyn Write,
    source: &Source<'_>,
    format: &dyn Format,
    written: &Written,
    files: &[FileEntry],
    trust: &Trust,
) -> Result<(), ExportError> {
    let text = text(source, format, written, files, trust)?;
    out.write_all(text.as_bytes()).map_err(ExportError::output)
}

/// Files, conversations and gaps that are named one by one; the manifest has all.
const NAMED: usize = 20;

fn text(
    source: &Source<'_>,
    format: &dyn Format,
    written: &Written,
    files: &[FileEntry],
    trust: &Trust,
) -> Result<String, ExportError> {
    let reader = source.reader();
    let (proofs, content) = files.split_last().map_or((None, files), |(last, rest)| (Some(last), rest));
    let proofs = proofs.map_or_else(String::new, |entry| entry.name.clone());
    // Beside a single file, the companions begin with its name.
    let beside = proofs.strip_suffix("proofs.jsonl").unwrap_or_default().to_owned();
    let manifest = format!("{beside}manifest.json");
    let mut text = String::new();
    let mut put = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    put("An export from an archive of recorded conversations");
    put("====================================================");
    put("");
    put(&format!("Made by {PROGRAM} from the archive {}, in the form \"{}\":", reader.origin()?, format.name()));
    put(&format!("{}.", format.about()));
    put(&format!("Who made it and when: {manifest}, member \"made\". Times are UTC unless a file says otherwise."));
    put("");
    put("What is in it");
    put("-------------");
    let counted = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    put(&format!(
        "{} of {}, of a log that had {} then.",
        counted(written.events, "event"),
        counted(written.conversations.len() as u64, "conversation"),
        counted(source.size(), "event")
    ));
    for line in asked(source) {
        put(&line);
    }
    put("");
    for entry in content.iter().take(NAMED) {
        put(&format!("  {}  ({})", entry.name, counted(entry.bytes, "byte")));
    }
    if content.len() > NAMED {
        put(&format!("  and {} more, all listed in {manifest}", content.len() - NAMED));
    }
    if !written.kept.is_empty() {
        put(match format.carries_files() {
            true => {
                "Files that people sent are carried in these files; their names hold the place in the log and a number."
            }
            false => {
                "Files that people sent are in the folder \"attachments\", each called by its SHA-256, which the events name."
            }
        });
        put("They are what people sent: open them with the care that any file from a stranger deserves.");
    }
    put(&format!(
        "  {manifest}  what was asked for, counts, SHA-256 of each file, coverage, gaps, the signed checkpoint"
    ));
    put(&format!("  {proofs}  for each event, the proof that it is in the signed log"));
    put(&format!("  {beside}README.txt  this text"));
    put("");
    put("What is missing");
    put("---------------");
    let mut incomplete = 0;
    for id in &written.conversations {
        let Some(coverage) = reader.coverage_of(id)? else { continue };
        let said = coverage.to_string();
        if coverage.is_complete() {
            continue;
        }
        incomplete += 1;
        if incomplete <= NAMED {
            put(&format!("{id}: {}.", one_line(&said)));
        }
    }
    match incomplete {
        0 => put("Of each conversation in it, the record is complete as far as the recorder knows."),
        n if n > NAMED => put(&format!("and {} more conversations are incomplete: see {manifest}.", n - NAMED)),
        _ => {}
    }
    match written.gaps.len() {
        0 => put("No gap in the record falls into this export."),
        gaps => put(&format!(
            "{} in which something may have been missed: see {manifest}, member \"gaps\".",
            counted(gaps as u64, "span")
        )),
    }
    if !source.is_whole() {
        put("Only parts of conversations were asked for; what was said before, after and between is not here.");
    }
    for left_out in left_out(source, format, written) {
        put(&format!("Not here: {} ({}): {}.", one_line(&left_out.what), left_out.count, left_out.why));
    }
    put("");
    put("How to check it");
    put("---------------");
    put("With the program (no archive is needed; PATH is the file, the folder or the ZIP archive):");
    put("");
    put("    greffier verify --export PATH --key FILE");
    put("");
    put("FILE holds the public key of the archive, as its keeper gave it to you by other means.");
    put("Without the program: compare the SHA-256 of each file with the manifest (sha256sum FILE). The proofs follow");
    put("RFC 9162 (Merkle trees) and the checkpoint is a signed note with an Ed25519 key; docs/FORMATS.md of the");
    put("program's source gives every byte, and tests/verify_export.py there is a small independent checker.");
    put("");
    match (format.provable(), trust.size()) {
        (_, 0) => {
            put("There was no signed checkpoint yet: the hashes of the manifest bind the files, and nobody signed.")
        }
        (true, size) => put(&format!(
            "The proofs bind the content of each event, unchanged and at its place, to a signed checkpoint of {size} events."
        )),
        (false, size) => put(&format!(
            "The proofs bind time, kind, conversation and place of each event to a signed checkpoint of {size} events. That\n\
             the words in these files are those of the log is bound by the manifest's hashes only; an export in the form\n\
             jsonl proves the words too."
        )),
    }
    put("No export can prove that nothing was left out of a selection; the whole log, or the archive itself, can.");
    Ok(text)
}

/// The selection in words.
fn asked(source: &Source<'_>) -> Vec<String> {
    let selection = source.selection();
    let mut lines = Vec::new();
    if !selection.conversations.is_empty() {
        lines.push(format!(
            "Asked for: {} by id.",
            match selection.conversations.len() {
                1 => "1 conversation".to_owned(),
                n => format!("{n} conversations"),
            }
        ));
    }
    if let Some(since) = selection.begins() {
        lines.push(format!("Only what happened at or after {}.", since.rfc3339()));
    }
    if let Some(until) = selection.until {
        lines.push(format!("Only what happened before {}.", until.rfc3339()));
    }
    if let Some(who) = &selection.participant {
        lines.push(format!("Only conversations with somebody whose address or name contains: {}", one_line(who)));
    }
    if let Some(connector) = &selection.connector {
        lines.push(format!("Only what came through the connector: {}", one_line(connector)));
    }
    if let Some(search) = &selection.search {
        lines.push(format!(
            "Only the {} events that this search found, and {} messages before and after each:",
            source.hits().unwrap_or(0),
            search.context
        ));
        lines.push(format!("    {}", one_line(&search.query)));
        lines.push(format!("(its dates are read in the zone {}, as of {})", search.zone, search.now.rfc3339()));
    }
    if lines.is_empty() {
        lines.push("Asked for: the whole log.".into());
    }
    lines
}
