//! Checks an export as a stranger would: file, proofs and manifest against each other and against the checkpoint.
//!
//! Follows `docs/FORMATS.md`, section 7, and knows nothing of the archive. `tests/verify_export.py` is the same check by
//! another hand; both are tested on the same files.

mod json;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::checkpoint::{Note, Statement, VerifyingKey};
use super::finding::{Finding, FindingKind, Report};
use super::leaf::{Header, commitment};
use super::merkle::{Hash, verify_inclusion};
use super::{hash_from_hex, hex};
use crate::model::Timestamp;

/// Members of an event that are not content.
const NOT_CONTENT: [&str; 9] =
    ["v", "seq", "conversation", "connector", "platform", "kind", "source_time", "recorded_at", "leaf_hash"];

/// Longest line that is read, in bytes.
const LINE: u64 = 256 << 20;

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

/// Checks the export in the file `path`; `keys` = public keys that count, `None` = the one that the manifest names, which
/// shows only that the export agrees with itself.
///
/// Every finding is told; lines of a file that do not fit are findings with their seq.
///
/// # Errors
/// A file cannot be read, or the manifest is none.
pub fn verify_export(
    path: &Path,
    keys: Option<&[VerifyingKey]>,
    tell: &mut dyn FnMut(Finding),
) -> Result<Report, ExportCheckError> {
    let manifest_file = beside(path, ".manifest.json");
    let wrong = |problem| ExportCheckError::Manifest { path: manifest_file.clone(), problem };
    let text = std::fs::read_to_string(&manifest_file)
        .map_err(|source| ExportCheckError::Io { path: manifest_file.clone(), source })?;
    let manifest = json::object(&text).map_err(wrong)?;
    if manifest.get("greffier_export") != Some(&Value::from(1)) {
        return Err(wrong("it is not of version 1"));
    }
    let origin = text_of(&manifest, "origin").ok_or_else(|| wrong("it names no origin"))?;
    let format = text_of(&manifest, "format").ok_or_else(|| wrong("it names no format"))?;
    let mut report = Report { origin: origin.to_owned(), ..Report::default() };
    let mut tell = |finding: Finding, report: &mut Report| {
        report.count(&finding);
        tell(finding);
    };

    let mut expected = vec![path.to_owned()];
    if format == "jsonl" {
        expected.push(beside(path, ".proofs.jsonl"));
    }
    check_files(&manifest, &expected, &mut |finding| tell(finding, &mut report))?;
    let checkpoint = checkpoint_of(&manifest, origin, keys, &mut report, &mut tell);
    if format != "jsonl" {
        report
            .remarks
            .push(format!("only jsonl can be checked event by event; of {format} the file's hash was checked"));
        return Ok(report);
    }
    let mut lines = Lines {
        origin,
        checkpoint: checkpoint.as_ref(),
        last: 0,
        first: None,
        kinds: BTreeMap::new(),
        gaps: Vec::new(),
        newer: 0,
        erased: 0,
        damaged: false,
    };
    lines.check(&expected[0], &expected[1], &mut report, &mut tell)?;
    lines.against(&manifest, &mut report, &mut tell);
    Ok(report)
}

type Tell<'a> = dyn FnMut(Finding, &mut Report) + 'a;

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn text_of<'m>(object: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    object.get(name)?.as_str()
}

fn check_files(
    manifest: &Map<String, Value>,
    expected: &[PathBuf],
    tell: &mut dyn FnMut(Finding),
) -> Result<(), ExportCheckError> {
    let listed = manifest.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for path in expected {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let entry = listed.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(&*name));
        let io = |source| ExportCheckError::Io { path: path.clone(), source };
        let mut input = File::open(path).map_err(io)?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 16]);
        loop {
            match input.read(&mut buffer).map_err(io)? {
                0 => break,
                n => {
                    hash.update(&buffer[..n]);
                    size += n as u64;
                }
            }
        }
        let told = |member: &str| entry.and_then(|entry| entry.get(member));
        if told("bytes").and_then(Value::as_u64) != Some(size)
            || told("sha256").and_then(Value::as_str) != Some(&hex(&hash.finalize()))
        {
            tell(Finding::of(FindingKind::ChangedFile, format!("{name} is not the file that the manifest describes")));
        }
    }
    if listed.len() != expected.len() {
        tell(Finding::of(FindingKind::ChangedFile, "the manifest lists other files"));
    }
    Ok(())
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

/// The lines of an export and their proofs.
struct Lines<'a> {
    origin: &'a str,
    checkpoint: Option<&'a Statement>,
    last: u64,
    first: Option<u64>,
    kinds: BTreeMap<String, u64>,
    gaps: Vec<Value>,
    newer: u64,
    erased: u64,
    damaged: bool,
}

/// What is wrong with a line.
type Problem = (FindingKind, &'static str);

fn changed(what: &'static str) -> Problem {
    (FindingKind::ChangedContent, what)
}

fn unproven(what: &'static str) -> Problem {
    (FindingKind::BadProof, what)
}

fn next_line(input: &mut impl BufRead, path: &Path) -> Result<Option<Vec<u8>>, ExportCheckError> {
    let mut line = Vec::new();
    let read = input.take(LINE).read_until(b'\n', &mut line);
    read.map_err(|source| ExportCheckError::Io { path: path.to_owned(), source })?;
    Ok((!line.is_empty()).then_some(line))
}

impl Lines<'_> {
    fn check(
        &mut self,
        events: &Path,
        proofs: &Path,
        report: &mut Report,
        tell: &mut Tell<'_>,
    ) -> Result<(), ExportCheckError> {
        let open = |path: &Path| {
            File::open(path)
                .map(BufReader::new)
                .map_err(|source| ExportCheckError::Io { path: path.to_owned(), source })
        };
        let (mut event_lines, mut proof_lines) = (open(events)?, open(proofs)?);
        for number in 1u64.. {
            let (event, proof) = (next_line(&mut event_lines, events)?, next_line(&mut proof_lines, proofs)?);
            let (event, proof) = match (event, proof) {
                (None, None) => break,
                (event, proof) => (event.unwrap_or_default(), proof.unwrap_or_default()),
            };
            report.events = number;
            report.bytes += event.len() as u64;
            let mut seq = None;
            if let Err((kind, what)) = self.line(&event, &proof, &mut seq) {
                self.damaged = true;
                tell(Finding { seq, kind, what: format!("line {number}: {what}") }, report);
            }
        }
        if self.newer > 0 {
            report.remarks.push(match self.newer {
                1 => "1 event is newer than the checkpoint".to_owned(),
                newer => format!("{newer} events are newer than the checkpoint"),
            });
        }
        if self.erased > 0 {
            report.remarks.push(match self.erased {
                1 => "the content of 1 event was erased".to_owned(),
                erased => format!("the content of {erased} events was erased"),
            });
        }
        Ok(())
    }

    fn line(&mut self, event: &[u8], proof: &[u8], at: &mut Option<u64>) -> Result<(), Problem> {
        if event.is_empty() {
            return Err((FindingKind::MissingRow, "the export has no line for this proof"));
        }
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
        let event = text(event).map_err(|_| changed("it is not UTF-8"))?;
        let event = json::object(&event).map_err(changed)?;
        let seq = event.get("seq").and_then(Value::as_u64).filter(|seq| *seq > 0).ok_or(changed("it has no seq"))?;
        *at = Some(seq);
        self.first = self.first.or(Some(seq));
        if proof.is_empty() {
            return Err((FindingKind::MissingRow, "there is no proof for this line"));
        }
        let in_order = seq > self.last;
        self.last = self.last.max(seq);
        if !in_order {
            return Err((FindingKind::Reordered, "its seq is not above the one before"));
        }
        let proof = text(proof).map_err(|_| unproven("the proof is not UTF-8"))?;
        let proof = json::object(&proof).map_err(unproven)?;
        self.event(seq, &event, &proof)?;
        let kind = text_of(&event, "kind").unwrap_or_default().to_owned();
        if kind == "capture.gap"
            && let Some(Value::Object(gap)) = event.get("gap")
        {
            let mut gap = gap.clone();
            gap.insert("seq".into(), seq.into());
            if let Some(id) = event.get("conversation") {
                gap.insert("conversation".into(), id.clone());
            }
            self.gaps.push(Value::Object(gap));
        }
        *self.kinds.entry(kind).or_default() += 1;
        Ok(())
    }

    fn event(&mut self, seq: u64, event: &Map<String, Value>, proof: &Map<String, Value>) -> Result<(), Problem> {
        if event.get("v") != Some(&Value::from(1)) {
            return Err(changed("it is not an event of version 1"));
        }
        if proof.get("seq").and_then(Value::as_u64) != Some(seq) || text_of(proof, "origin") != Some(self.origin) {
            return Err(unproven("the proof is of another event"));
        }
        let recorded_at =
            proof.get("recorded_at").and_then(Value::as_i64).ok_or(unproven("the proof has no recorded_at"))?;
        let source_time = match proof.get("source_time") {
            None => None,
            Some(time) => Some(time.as_i64().ok_or(unproven("the proof's source_time is no integer"))?),
        };
        same_time(event.get("recorded_at"), Some(recorded_at), "recorded_at is not the one that was hashed")?;
        same_time(event.get("source_time"), source_time, "source_time is not the one that was hashed")?;
        let content: Map<String, Value> = event
            .iter()
            .filter(|(name, _)| !NOT_CONTENT.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let hash = |name: &str| proof.get(name).map(|value| value.as_str().and_then(hash_from_hex));
        let malformed = unproven("a hash of the proof is not 64 hex digits");
        let committed = match hash("salt") {
            // Maps are sorted by code point here, so writing them is the canonical form.
            Some(salt) => {
                let canonical = serde_json::to_vec(&content).map_err(|_| changed("its content cannot be written"))?;
                commitment(&salt.ok_or(malformed)?, &canonical)
            }
            None if !content.is_empty() => return Err(unproven("the proof has no salt, but the event has content")),
            None => {
                self.erased += 1;
                hash("content").flatten().ok_or(malformed)?
            }
        };
        let envelope = hash("envelope").map(|hash| hash.ok_or(malformed)).transpose()?;
        let conversation = match event.get("conversation") {
            None => "",
            Some(id) => id.as_str().filter(|id| !id.is_empty()).ok_or(changed("its conversation is no id"))?,
        };
        let header = Header {
            origin: self.origin,
            seq,
            connector: text_of(event, "connector").ok_or(changed("it has no connector"))?,
            conversation,
            kind: text_of(event, "kind").ok_or(changed("it has no kind"))?,
            source_time,
            recorded_at,
            envelope,
            content: committed,
        };
        if !header.is_plain() {
            return Err(changed("a name in its header has control characters"));
        }
        let leaf = header.leaf_hash();
        let told = |object: &Map<String, Value>, name: &str| text_of(object, name).and_then(hash_from_hex);
        if told(event, "leaf_hash") != Some(leaf) || told(proof, "leaf") != Some(leaf) {
            return Err(changed("the event is not what was hashed"));
        }
        match self.checkpoint {
            Some(checkpoint) if seq <= checkpoint.size => {
                let path = proof
                    .get("path")
                    .and_then(Value::as_array)
                    .ok_or(unproven("there is no path to the checkpoint"))?;
                let path: Option<Vec<Hash>> = path.iter().map(|hash| hash_from_hex(hash.as_str()?)).collect();
                let path = path.ok_or(malformed)?;
                if !verify_inclusion(&leaf, seq - 1, checkpoint.size, &path, &checkpoint.root) {
                    return Err(unproven("the path does not lead to the signed root"));
                }
            }
            _ => self.newer += 1,
        }
        Ok(())
    }

    /// Compares what the manifest tells with what the lines hold.
    fn against(&self, manifest: &Map<String, Value>, report: &mut Report, tell: &mut Tell<'_>) {
        let events = report.events;
        let mut wrong = |what: &str| tell(Finding::of(FindingKind::ChangedFile, what), report);
        let number = |name: &str| manifest.get(name).and_then(Value::as_u64);
        let last = (self.last > 0).then_some(self.last);
        if (number("events"), number("first_seq"), number("last_seq")) != (Some(events), self.first, last) {
            wrong("the manifest tells other numbers of events than the file holds");
        }
        if !self.damaged {
            let kinds: Map<String, Value> = self.kinds.iter().map(|(kind, n)| (kind.clone(), (*n).into())).collect();
            if manifest.get("kinds") != Some(&Value::Object(kinds)) {
                wrong("the manifest tells other kinds of events than the file holds");
            }
            if manifest.get("gaps") != Some(&Value::Array(self.gaps.clone())) {
                wrong("the manifest tells other gaps than the file holds");
            }
        }
        let whole = match manifest.get("selection").and_then(Value::as_object) {
            None => false,
            Some(selection) => selection.iter().all(|(name, value)| {
                let since = value.as_str().filter(|_| name == "since").and_then(Timestamp::parse_rfc3339);
                since.is_some_and(|since| since <= Timestamp(0))
            }),
        };
        if whole && number("log_size") != Some(events) {
            wrong("the whole log was asked for, and the file holds another number of events than the log had");
        }
    }
}

fn same_time(shown: Option<&Value>, stored: Option<i64>, problem: &'static str) -> Result<(), Problem> {
    let shown = match shown {
        None => None,
        Some(text) => Some(text.as_str().and_then(Timestamp::parse_rfc3339).ok_or(changed("a time is not RFC 3339"))?),
    };
    let cut = stored.map(|micros| Timestamp::from_millis(Timestamp(micros).millis()));
    if shown == cut { Ok(()) } else { Err(changed(problem)) }
}
