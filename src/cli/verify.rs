//! `greffier verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::output::{Colour, Out, counted};
use super::{ArchiveArg, Exit, Globals};
use crate::archive::audit::{AuditOptions, audit as audit_archive};
use crate::integrity::checkpoint::VerifyingKey;
use crate::integrity::export_check::verify_export;
use crate::integrity::finding::{Finding, Report};

/// Recomputes every hash and signature; reports everything that was altered
#[derive(Debug, Args)]
#[command(
    long_about = "Recomputes every commitment, leaf, tree node and checkpoint signature from what is stored, compares the \
derived tables with the log and the attachments with the hashes that events name, and reports every finding with its place in the log and the kind of damage. It reads while a \
recorder writes.

An insider with the database file could rewrite rows, hashes and checkpoints alike. What shows that is a checkpoint that \
somebody else holds: keep copies of checkpoints.txt elsewhere and name one with --checkpoints."
)]
#[command(after_long_help = "Examples:
  greffier verify
  greffier verify --archive /backup/greffier-2026-11-21
  greffier verify --checkpoints /mnt/notary/checkpoints.txt
  greffier verify --export case-17.jsonl --key checkpoint.pub
  greffier verify --export found.zip --key checkpoint.pub
  greffier verify --json | jq 'select(.finding)'

Exit status 4 if anything was altered; the first bad seq is named on standard error.")]
pub(super) struct Verify {
    /// Signed checkpoints to hold the log against [default: checkpoints.txt beside the archive]
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,

    /// Verify this export instead of an archive: its file with manifest and proofs beside it, its folder, or its ZIP archive
    #[arg(long, value_name = "PATH", conflicts_with_all = ["archive", "checkpoints"])]
    export: Option<PathBuf>,

    /// File with the public key that counts [default: keys/checkpoint.pub beside the archive; for an export, the key that its
    /// own manifest names, which shows only that it agrees with itself]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// One JSON object per finding, then one with the summary
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    archive: ArchiveArg,
}

/// How the outcome is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    Finding(&'a Finding),
    Summary(Summary<'a>),
}

#[derive(Serialize)]
struct Summary<'a> {
    intact: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl Verify {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let keys = self.key.as_deref().map(read_keys).transpose()?;
        let form = if self.json { Form::Json } else { Form::Text };
        let mut out = Out::new();
        let exit = match &self.export {
            Some(file) => told(file, &mut out, form, |tell, _| Ok(verify_export(file, keys.as_deref(), tell)?))?,
            None => {
                let database = self.archive.layout(globals)?.database;
                audit(&database, &AuditOptions { checkpoints: self.checkpoints, keys }, &mut out, form)?
            }
        };
        out.finish()?;
        Ok(exit)
    }
}

fn read_keys(path: &Path) -> anyhow::Result<Vec<VerifyingKey>> {
    use anyhow::Context as _;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read key {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Option<Vec<VerifyingKey>> = lines.map(VerifyingKey::parse).collect();
    keys.filter(|keys| !keys.is_empty())
        .with_context(|| format!("{} holds no public key; name a copy of keys/checkpoint.pub", path.display()))
}

/// Audits an archive, tells every finding, and says how it came out.
pub(super) fn audit(database: &Path, options: &AuditOptions, out: &mut Out, form: Form) -> anyhow::Result<Exit> {
    told(database, out, form, |tell, progress| Ok(audit_archive(database, options, tell, progress)?))
}

/// Runs an audit of what lies at `path`, which is given where to tell findings and progress, and says how it came out.
fn told(
    path: &Path,
    out: &mut Out,
    form: Form,
    run: impl FnOnce(&mut dyn FnMut(Finding), &mut dyn FnMut(u64, u64)) -> anyhow::Result<Report>,
) -> anyhow::Result<Exit> {
    let bar = ProgressBar::new(0);
    bar.set_style(super::bar_style("verifying", "{pos}/{len} rows"));
    let mut unwritten = None;
    let mut tell = |finding: Finding| {
        let written = match form {
            Form::Text => bar.suspend(|| out.line(&finding.to_string())),
            Form::Json => bar.suspend(|| out.json(&Line::Finding(&finding))),
        };
        // The audit goes on; whether its findings reached anybody is told at the end.
        if let Err(error) = written {
            unwritten.get_or_insert(error);
        }
    };
    let report = run(&mut tell, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if let Some(error) = unwritten {
        return Err(error.into());
    }
    match form {
        Form::Json => out.json(&Line::Summary(Summary { intact: report.is_good(), report: &report }))?,
        Form::Text => in_words(path, &report, out)?,
    }
    out.flush()?;
    if report.is_good() {
        return Ok(Exit::Done);
    }
    let first = report.first_seq.map_or_else(String::new, |seq| format!("; first bad seq {seq}"));
    let total: u64 = report.findings.values().sum();
    super::remark(&format!("{} is not what was recorded: {}{first}", path.display(), counted(total, "finding")));
    Ok(Exit::Violated)
}

fn in_words(path: &Path, report: &Report, out: &mut Out) -> anyhow::Result<()> {
    for remark in &report.remarks {
        out.line(&format!("note: {remark}"))?;
    }
    for (kind, count) in &report.findings {
        out.line(&format!("{count:>8}  {kind}"))?;
    }
    let verdict = if report.is_good() { out.paint(Colour::Green, "intact") } else { out.paint(Colour::Red, "ALTERED") };
    let files =
        if report.attachments > 0 { format!("{}, ", counted(report.attachments, "attachment")) } else { String::new() };
    let seen = format!(
        "{}, {}, {files}{} in it and {} outside; log {}",
        counted(report.events, "event"),
        counted(report.envelopes, "envelope"),
        counted(report.checkpoints, "checkpoint"),
        report.outside_checkpoints,
        report.origin
    );
    out.ours(&format!("{verdict}  {}: {seen}", path.display()))?;
    if let Some(root) = &report.root {
        out.line(&format!("        root {root}"))?;
    }
    Ok(())
}
