//! Checks an export as a stranger would: file, proofs and manifest against each other and against the checkpoint.
//!
//! Follows `docs/FORMATS.md`, section 7, and knows nothing of the archive. `tests/verify_export.py` is the same check by
//! another hand; both are tested on the same files.

mod json;
mod lines;
mod package;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::checkpoint::{Note, Statement, VerifyingKey};
use super::finding::{Finding, FindingKind, Report};
use super::hex;

use lines::Lines;
use package::Package;

/// Members of an event that are not content.
const NOT_CONTENT: [&str; 9] =
    ["v", "seq", "conversation", "connector", "platform", "kind", "source_time", "recorded_at", "leaf_hash"];

/// Why an export cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum ExportCheckError {
    /// A file of it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest does not have the form of one.
    #[error("{} is not the manifest of an export: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

impl ExportCheckError {
    /// Whether the bytes are to blame, and not the system: a ZIP archive that cannot be unpacked.
    fn is_damage(&self) -> bool {
        matches!(self, ExportCheckError::Io { source, .. } if source.raw_os_error().is_none())
    }
}

/// Checks the export at `path`: a file with its companions beside it, a folder, or a ZIP archive. `keys` = public keys that
/// count, `None` = the one that the manifest names, which shows only that the export agrees with itself.
///
/// Every finding is told; lines of a file that do not fit are findings with their seq.
///
/// A ZIP archive that cannot be unpacked, and an export without a readable manifest, are findings too.
///
/// # Errors
/// A file cannot be read, or there is no export at `path`.
pub fn verify_export(
    path: &Path,
    keys: Option<&[VerifyingKey]>,
    tell: &mut dyn FnMut(Finding),
) -> Result<Report, ExportCheckError> {
    let mut report = Report::default();
    let mut tell = |finding: Finding, report: &mut Report| {
        report.count(&finding);
        tell(finding);
    };
    match check(path, keys, &mut report, &mut tell) {
        Err(error) if error.is_damage() => {
            tell(Finding::of(FindingKind::ChangedFile, error.to_string()), &mut report);
            Ok(report)
        }
        checked => checked.map(|()| report),
    }
}

fn check(
    path: &Path,
    keys: Option<&[VerifyingKey]>,
    report: &mut Report,
    tell: &mut Tell<'_>,
) -> Result<(), ExportCheckError> {
    let package = Package::at(path)?;
    let manifest_name = package.companion("manifest.json");
    let wrong = |problem| ExportCheckError::Manifest { path: package.place(&manifest_name), problem };
    let manifest = match manifest_of(&package, &manifest_name) {
        // Only an export has such companions: then the manifest is what was damaged.
        Err(ExportCheckError::Manifest { problem, .. }) if package.has_companion() => {
            let what = format!("{manifest_name} is not the manifest of an export: {problem}");
            tell(Finding::of(FindingKind::ChangedFile, what), report);
            return Ok(());
        }
        manifest => manifest?,
    };
    if manifest.get("greffier_export") != Some(&Value::from(1)) {
        return Err(wrong("it is not of version 1"));
    }
    let origin = text_of(&manifest, "origin").ok_or_else(|| wrong("it names no origin"))?;
    let format = text_of(&manifest, "format").ok_or_else(|| wrong("it names no format"))?;
    origin.clone_into(&mut report.origin);

    let proofs = package.companion("proofs.jsonl");
    let content = check_files(&package, &manifest, &manifest_name, &mut |finding| tell(finding, report))?;
    let checkpoint = checkpoint_of(&manifest, origin, keys, report, tell);
    if !content.has_proofs && format != "jsonl" {
        report.remarks.push(format!("this {format} has no proofs: only the hashes of its files were checked"));
        return Ok(());
    }
    // The format whose lines are events as they are.
    let events = content.names.first().filter(|_| format == "jsonl");
    if format == "jsonl" && content.names.len() != 1 {
        tell(Finding::of(FindingKind::ChangedFile, "the manifest lists other files"), report);
    }
    let mut lines = Lines::new(origin, checkpoint.as_ref(), events.is_some());
    lines.check(&package, events.map(String::as_str), &proofs, report, tell)?;
    lines.against(&manifest, &content.kept, report, tell);
    if events.is_none() {
        report.remarks.push(format!(
            "time, kind, conversation and place of each event were proven; that the words in the files of a {format} export \
             are those of the log is bound by the hashes of the manifest alone"
        ));
    }
    Ok(())
}

/// The manifest, read whole.
fn manifest_of(package: &Package, name: &str) -> Result<Map<String, Value>, ExportCheckError> {
    let wrong = |problem| ExportCheckError::Manifest { path: package.place(name), problem };
    let mut manifest = None;
    package.with(name, &mut |file| {
        let file = file.ok_or_else(|| wrong("it is not there"))?;
        let mut read = Vec::new();
        let io = |source| ExportCheckError::Io { path: package.place(name), source };
        file.take(MANIFEST).read_to_end(&mut read).map_err(io)?;
        let text = std::str::from_utf8(&read).map_err(|_| wrong("it is not UTF-8"))?;
        manifest = Some(json::object(text).map_err(wrong)?);
        Ok(())
    })?;
    manifest.ok_or_else(|| wrong("it is not there"))
}

/// Largest manifest that is read, in bytes.
const MANIFEST: u64 = 1 << 30;

type Tell<'a> = dyn FnMut(Finding, &mut Report) + 'a;

fn text_of<'m>(object: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    object.get(name)?.as_str()
}

/// The files of the manifest but for companions.
struct Content {
    names: Vec<String>,
    has_proofs: bool,
    /// SHA-256 of the kept files.
    kept: BTreeSet<String>,
}

fn check_files(
    package: &Package,
    manifest: &Map<String, Value>,
    manifest_name: &str,
    tell: &mut dyn FnMut(Finding),
) -> Result<Content, ExportCheckError> {
    let listed = manifest.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (proofs, readme) = (package.companion("proofs.jsonl"), package.companion("README.txt"));
    let folder = format!("{}/", package.companion("attachments"));
    let mut content = Content { names: Vec::new(), has_proofs: false, kept: BTreeSet::new() };
    let mut found = package.names()?;
    if let Some(found) = &mut found {
        found.remove(manifest_name);
    }
    let mut changed = |what: String| tell(Finding::of(FindingKind::ChangedFile, what));
    for entry in listed {
        let Some(name) = entry.get("name").and_then(Value::as_str) else {
            changed("the manifest lists a file without name".into());
            continue;
        };
        if name == proofs {
            content.has_proofs = true;
        } else if let Some(hash) = name.strip_prefix(&folder) {
            // Kept files are called by their hash, which events name.
            content.kept.insert(hash.to_owned());
            if entry.get("sha256").and_then(Value::as_str) != Some(hash) {
                changed(format!("{name} is not called by the hash that the manifest gives it"));
            }
        } else if name != readme {
            content.names.push(name.to_owned());
        }
        if let Some(found) = &mut found {
            found.remove(name);
        }
        package.with(name, &mut |file| {
            let Some(file) = file else {
                changed(format!("{name} is not there"));
                return Ok(());
            };
            let io = |source| ExportCheckError::Io { path: package.place(name), source };
            let (size, hash) = match sum(file).map_err(io) {
                Err(damage) if damage.is_damage() => {
                    changed(damage.to_string());
                    return Ok(());
                }
                sum => sum?,
            };
            if entry.get("bytes").and_then(Value::as_u64) != Some(size)
                || entry.get("sha256").and_then(Value::as_str) != Some(&hash)
            {
                changed(format!("{name} is not the file that the manifest describes"));
            }
            Ok(())
        })?;
    }
    // Beside a file the manifest may list that file, kept files and what accompanies them, and nothing else.
    if matches!(package, Package::File(path) if content.names.as_slice() != [path.file_name().unwrap_or_default().to_string_lossy()])
    {
        changed("the manifest lists other files".into());
    }
    for name in found.into_iter().flatten() {
        changed(format!("{name} is not listed in the manifest"));
    }
    if package.has_name_twice() {
        changed("two files have one name".into());
    }
    Ok(content)
}

/// Size and hex SHA-256.
fn sum(input: &mut dyn Read) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 16]);
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok((size, hex(&hash.finalize()))),
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

fn checkpoint_of(
    manifest: &Map<String, Value>,
    origin: &str,
    keys: Option<&[VerifyingKey]>,
    report: &mut Report,
    tell: &mut Tell<'_>,
) -> Option<Statement> {
    let mut bad = |what: String, report: &mut Report| {
        tell(Finding::of(FindingKind::BadSignature, what), report);
        None
    };
    let Some(note) = manifest.get("checkpoint") else {
        if keys.is_some() {
            return bad("there is no checkpoint: nothing is signed by the key that was given".into(), report);
        }
        report.remarks.push("there was no checkpoint: nothing is signed".into());
        return None;
    };
    let named: Vec<VerifyingKey> = text_of(manifest, "public_key").and_then(VerifyingKey::parse).into_iter().collect();
    let keys = match keys {
        Some(keys) => keys,
        None => {
            if let Some(key) = named.first() {
                report
                    .remarks
                    .push(format!("the key was taken from the manifest; compare it with the one you trust: {key}"));
            }
            &named
        }
    };
    let said = Note::parse(note.as_str().unwrap_or_default()).and_then(|note| note.verify(keys));
    match said {
        Err(error) => bad(format!("the checkpoint of the manifest: {error}"), report),
        Ok(said) if said.origin != origin || manifest.get("checkpoint_size") != Some(&Value::from(said.size)) => {
            bad("the checkpoint of the manifest is of another log or size".into(), report)
        }
        Ok(said) => {
            report.checkpoints = 1;
            Some(said)
        }
    }
}
