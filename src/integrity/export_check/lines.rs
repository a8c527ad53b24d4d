//! An export event by event: lines and their proofs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::package::Package;
use super::{ExportCheckError, NOT_CONTENT, Tell, json, text_of};
use crate::integrity::checkpoint::Statement;
use crate::integrity::finding::{Finding, FindingKind, Report};
use crate::integrity::hash_from_hex;
use crate::integrity::leaf::{Header, commitment};
use crate::integrity::merkle::{Hash, verify_inclusion};
use crate::model::Timestamp;

/// Longest line that is read, in bytes.
const LINE: u64 = 256 << 20;

/// The lines of an export and their proofs.
pub(super) struct Lines<'a> {
    origin: &'a str,
    checkpoint: Option<&'a Statement>,
    /// The files hold the events as they are; else the proofs tell what the leaves are made of.
    of_content: bool,
    last: u64,
    first: Option<u64>,
    kinds: BTreeMap<String, u64>,
    conversations: BTreeSet<String>,
    gaps: Vec<Value>,
    /// Seq and conversation of each `capture.gap`.
    gap_events: BTreeMap<u64, String>,
    /// SHA-256 of the kept files that events name.
    named: BTreeSet<String>,
    newer: u64,
    erased: u64,
    damaged: bool,
}

/// How a manifest calls kept files that are missing in the archive.
const LOST: &str = "attachment that was lost";

/// The hashes of the kept files that an event names.
fn files_of(event: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let files = event.get("message").and_then(|message| message.get("attachments")?.as_array());
    files.into_iter().flatten().filter_map(|file| file.get("sha256")?.as_str())
}

/// What is wrong with a line.
type Problem = (FindingKind, &'static str);

fn changed(what: &'static str) -> Problem {
    (FindingKind::ChangedContent, what)
}

fn unproven(what: &'static str) -> Problem {
    (FindingKind::BadProof, what)
}

/// The next line with its line break; empty at the end.
fn next_line(input: &mut dyn BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

impl<'a> Lines<'a> {
    pub(super) fn new(origin: &'a str, checkpoint: Option<&'a Statement>, of_content: bool) -> Self {
        Lines {
            origin,
            checkpoint,
            of_content,
            last: 0,
            first: None,
            kinds: BTreeMap::new(),
            conversations: BTreeSet::new(),
            gaps: Vec::new(),
            gap_events: BTreeMap::new(),
            named: BTreeSet::new(),
            newer: 0,
            erased: 0,
            damaged: false,
        }
    }

    /// Checks each line of the file `events` (if the format shows events as they are) and of the proofs.
    pub(super) fn check(
        &mut self,
        package: &Package,
        events: Option<&str>,
        proofs: &str,
        report: &mut Report,
        tell: &mut Tell<'_>,
    ) -> Result<(), ExportCheckError> {
        package.with(proofs, &mut |opened| {
            // That a file is missing was told before.
            let Some(proof_lines) = opened else { return Ok(()) };
            let mut proof_lines = BufReader::new(proof_lines);
            match events {
                None => self.walk(package, None, (proofs, &mut proof_lines), report, tell),
                Some(events) => package.with(events, &mut |opened| match opened {
                    None => Ok(()),
                    Some(lines) => {
                        let mut lines = BufReader::new(lines);
                        self.walk(package, Some((events, &mut lines)), (proofs, &mut proof_lines), report, tell)
                    }
                }),
            }
        })?;
        let noted = |n: u64, one: &str, more: &str| match n {
            1 => one.to_owned(),
            n => more.replace('#', &n.to_string()),
        };
        if self.newer > 0 {
            let (one, more) = ("1 event is newer than the checkpoint", "# events are newer than the checkpoint");
            report.remarks.push(noted(self.newer, one, more));
        }
        if self.erased > 0 {
            let (one, more) = ("the content of 1 event was erased", "the content of # events was erased");
            report.remarks.push(noted(self.erased, one, more));
        }
        Ok(())
    }

    fn walk(
        &mut self,
        package: &Package,
        mut events: Option<(&str, &mut dyn BufRead)>,
        (proofs, proof_lines): (&str, &mut dyn BufRead),
        report: &mut Report,
        tell: &mut Tell<'_>,
    ) -> Result<(), ExportCheckError> {
        let io = |name: &str| {
            let path = package.place(name);
            move |source| ExportCheckError::Io { path, source }
        };
        for number in 1u64.. {
            let proof = next_line(proof_lines).map_err(io(proofs))?;
            let event = match &mut events {
                Some((name, lines)) => Some(next_line(*lines).map_err(io(name))?),
                None => None,
            };
            if proof.is_empty() && event.as_ref().is_none_or(Vec::is_empty) {
                break;
            }
            report.events = number;
            report.bytes += event.as_ref().map_or(proof.len(), Vec::len) as u64;
            let mut seq = None;
            if let Err((kind, what)) = self.line(event.as_deref(), &proof, &mut seq) {
                self.damaged = true;
                tell(Finding { seq, kind, what: format!("line {number}: {what}") }, report);
            }
        }
        Ok(())
    }

    fn line(&mut self, event: Option<&[u8]>, proof: &[u8], at: &mut Option<u64>) -> Result<(), Problem> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
        let seq_of = |line: &Map<String, Value>| line.get("seq").and_then(Value::as_u64).filter(|seq| *seq > 0);
        let event = match event {
            None => None,
            Some([]) => return Err((FindingKind::MissingRow, "the export has no line for this proof")),
            Some(event) => {
                let event = text(event).map_err(|_| changed("it is not UTF-8"))?;
                let event = json::object(&event).map_err(changed)?;
                *at = Some(seq_of(&event).ok_or(changed("it has no seq"))?);
                self.first = self.first.or(*at);
                if proof.is_empty() {
                    return Err((FindingKind::MissingRow, "there is no proof for this line"));
                }
                Some(event)
            }
        };
        let parsed = text(proof).map_err(|_| unproven("the proof is not UTF-8"));
        let mut parsed = parsed.and_then(|proof| json::object(&proof).map_err(unproven));
        if at.is_none()
            && let Ok(proof) = &parsed
        {
            *at = Some(seq_of(proof).ok_or(unproven("the proof has no seq"))?);
            self.first = self.first.or(*at);
        }
        if let Some(seq) = *at {
            let in_order = seq > self.last;
            self.last = self.last.max(seq);
            if !in_order {
                return Err((FindingKind::Reordered, "its seq is not above the one before"));
            }
        }
        let proof = std::mem::replace(&mut parsed, Err(unproven("")))?;
        let seq = at.unwrap_or_default();
        let told = match &event {
            Some(event) => {
                self.event(seq, event, &proof)?;
                event
            }
            None => {
                self.header(seq, &proof)?;
                &proof
            }
        };
        if let Some(event) = &event {
            self.named.extend(files_of(event).map(str::to_owned));
        }
        let kind = text_of(told, "kind").unwrap_or_default().to_owned();
        let conversation = text_of(told, "conversation").unwrap_or_default().to_owned();
        if kind == "capture.gap" {
            self.gap_events.insert(seq, conversation.clone());
            if let Some(Value::Object(gap)) = told.get("gap").filter(|_| event.is_some()) {
                let mut gap = gap.clone();
                gap.insert("seq".into(), seq.into());
                if let Some(id) = told.get("conversation") {
                    gap.insert("conversation".into(), id.clone());
                }
                self.gaps.push(Value::Object(gap));
            }
        }
        if !conversation.is_empty() && !self.conversations.contains(&conversation) {
            self.conversations.insert(conversation);
        }
        *self.kinds.entry(kind).or_default() += 1;
        Ok(())
    }

    /// Checks a proof that tells itself what its leaf is made of.
    fn header(&mut self, seq: u64, proof: &Map<String, Value>) -> Result<(), Problem> {
        if text_of(proof, "origin") != Some(self.origin) {
            return Err(unproven("the proof is of another log"));
        }
        let malformed = unproven("a hash of the proof is not 64 hex digits");
        let hash = |name: &str| text_of(proof, name).and_then(hash_from_hex);
        self.leads_there(seq, proof, proof, hash("content").ok_or(malformed)?)
    }

    fn event(&mut self, seq: u64, event: &Map<String, Value>, proof: &Map<String, Value>) -> Result<(), Problem> {
        if event.get("v") != Some(&Value::from(1)) {
            return Err(changed("it is not an event of version 1"));
        }
        if proof.get("seq").and_then(Value::as_u64) != Some(seq) || text_of(proof, "origin") != Some(self.origin) {
            return Err(unproven("the proof is of another event"));
        }
        let (source_time, recorded_at) = times(proof)?;
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
        if text_of(event, "leaf_hash") != text_of(proof, "leaf") {
            return Err(changed("the event is not what was hashed"));
        }
        self.leads_there(seq, event, proof, committed)
    }

    /// Makes the leaf of connector, conversation and kind of `told` and of the rest of the proof, and follows its path.
    fn leads_there(
        &mut self,
        seq: u64,
        told: &Map<String, Value>,
        proof: &Map<String, Value>,
        content: Hash,
    ) -> Result<(), Problem> {
        let malformed = unproven("a hash of the proof is not 64 hex digits");
        let hash = |name: &str| proof.get(name).map(|value| value.as_str().and_then(hash_from_hex).ok_or(malformed));
        let (source_time, recorded_at) = times(proof)?;
        let conversation = match told.get("conversation") {
            None => "",
            Some(id) => id.as_str().filter(|id| !id.is_empty()).ok_or(changed("its conversation is no id"))?,
        };
        let header = Header {
            origin: self.origin,
            seq,
            connector: text_of(told, "connector").ok_or(changed("it has no connector"))?,
            conversation,
            kind: text_of(told, "kind").ok_or(changed("it has no kind"))?,
            source_time,
            recorded_at,
            envelope: hash("envelope").transpose()?,
            content,
        };
        if !header.is_plain() {
            return Err(changed("a name in its header has control characters"));
        }
        let leaf = header.leaf_hash();
        if hash("leaf").transpose()? != Some(leaf) {
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

    /// Whether the kept files that events name are listed, or told to be lost, and no others are listed.
    fn files_fit(&self, manifest: &Map<String, Value>, files: &BTreeSet<String>) -> bool {
        let left_out = manifest.get("left_out").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let told = left_out.iter().find(|told| told.get("what").and_then(Value::as_str) == Some(LOST));
        let told = told.map_or(Some(0), |told| told.get("count")?.as_u64());
        files.is_subset(&self.named) && told == Some(self.named.difference(files).count() as u64)
    }

    /// Compares what the manifest tells with what the lines hold; `files` are the hashes of the kept files that it lists.
    pub(super) fn against(
        &self,
        manifest: &Map<String, Value>,
        files: &BTreeSet<String>,
        report: &mut Report,
        tell: &mut Tell<'_>,
    ) {
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
            if !self.gaps_fit(manifest.get("gaps")) {
                wrong("the manifest tells other gaps than the file holds");
            }
            if self.of_content && !self.files_fit(manifest, files) {
                wrong("the kept files are not those that the events name, and the manifest does not tell it");
            }
            let listed = manifest.get("conversations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let with_gaps: BTreeSet<&str> = self.gap_events.values().map(String::as_str).collect();
            if listed.iter().any(|one| {
                let id = one.get("id").and_then(Value::as_str).unwrap_or_default();
                one.get("coverage").and_then(Value::as_str) != Some("incomplete") && with_gaps.contains(id)
            }) {
                wrong("the manifest calls a record complete in which there is a gap");
            }
            let listed: Option<BTreeSet<&str>> = listed.iter().map(|one| one.get("id")?.as_str()).collect();
            if !listed.is_some_and(|listed| listed.into_iter().eq(self.conversations.iter().map(String::as_str))) {
                wrong("the manifest tells other conversations than the file holds");
            }
        }
        let whole = match manifest.get("selection").and_then(Value::as_object) {
            None => false,
            Some(selection) => selection.iter().all(|(name, value)| {
                let since = value.as_str().filter(|_| name == "since").and_then(Timestamp::parse_rfc3339);
                since.is_some_and(|since| since <= Timestamp(0))
            }),
        };
        if self.of_content && whole && number("log_size") != Some(events) {
            wrong("the whole log was asked for, and the file holds another number of events than the log had");
        }
        let untold = match manifest.get("gaps").and_then(Value::as_array) {
            Some(told) if !self.of_content => self.gap_events.len().saturating_sub(told.len()),
            _ => 0,
        };
        if untold > 0 {
            report.remarks.push(format!("the manifest does not describe {untold} of the recorded gaps"));
        }
    }

    /// Where the events are shown, the gaps are theirs; else each that is told is the gap of an event that is proven.
    fn gaps_fit(&self, told: Option<&Value>) -> bool {
        if self.of_content {
            return told == Some(&Value::Array(self.gaps.clone()));
        }
        let Some(Value::Array(told)) = told else { return false };
        told.iter().all(|gap| {
            let seq = gap.get("seq").and_then(Value::as_u64);
            let conversation = gap.get("conversation").map_or(Some(""), Value::as_str);
            seq.and_then(|seq| self.gap_events.get(&seq)).map(String::as_str) == conversation && conversation.is_some()
        })
    }
}

/// `source_time` and `recorded_at` of a proof.
fn times(proof: &Map<String, Value>) -> Result<(Option<i64>, i64), Problem> {
    let recorded_at =
        proof.get("recorded_at").and_then(Value::as_i64).ok_or(unproven("the proof has no recorded_at"))?;
    let source_time = match proof.get("source_time") {
        None => None,
        Some(time) => Some(time.as_i64().ok_or(unproven("the proof's source_time is no integer"))?),
    };
    Ok((source_time, recorded_at))
}

fn same_time(shown: Option<&Value>, stored: Option<i64>, problem: &'static str) -> Result<(), Problem> {
    let shown = match shown {
        None => None,
        Some(text) => Some(text.as_str().and_then(Timestamp::parse_rfc3339).ok_or(changed("a time is not RFC 3339"))?),
    };
    let cut = stored.map(|micros| Timestamp::from_millis(Timestamp(micros).millis()));
    if shown == cut { Ok(()) } else { Err(changed(problem)) }
}
