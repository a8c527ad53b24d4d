//! `greffier check`.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::output::{Colour, Out, counted};
use super::{Exit, Globals, connectors};
use crate::archive::{ArchiveError, Layout, Reader, lock};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::connector::{CheckLine, CheckOutcome};

/// Validates the configuration, signs in to every connector and out again, says what works
#[derive(Debug, Args)]
#[command(
    long_about = "Validates the configuration, signs in to every connector and out again, and says line by line what \
works and what to do about what does not. It joins nothing and records nothing. A wrong password is tried at most twice, \
so that the account is not locked."
)]
#[command(after_long_help = "Examples:
  greffier check
  greffier --config /etc/greffier/greffier.toml check
  greffier check --json | jq 'select(.outcome != \"good\")'

Exit status 1 if anything does not work.")]
pub(super) struct Check {
    /// One JSON object per step
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<&'a str>,
    step: &'a str,
    outcome: &'static str,
    note: &'a str,
}

impl Check {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let (config, resolved) = Config::load_resolved(&globals.config_path(), connectors::ENVIRONMENT)?;
        let mut report = Report { out: Out::new(), json: self.json, bad: 0 };
        let step = format!("configuration {}", config.path.display());
        let count = resolved.len();
        let note = counted(count as u64, "connector");
        report.line(None, &CheckLine { step, outcome: CheckOutcome::Good, note })?;
        report.line(None, &archive_line(&config))?;
        if resolved.is_empty() {
            let note = "none is configured, so there is nothing to record; add a [[connector]]".to_owned();
            report.line(None, &CheckLine { step: "connectors".to_owned(), outcome: CheckOutcome::Bad, note })?;
        }
        let runtime = super::runtime()?;
        for connector in resolved {
            let name = connector.source().connector.clone();
            runtime.block_on(async {
                let (sender, mut lines) = tokio::sync::mpsc::channel(16);
                let task = tokio::spawn(connectors::check(connector, Arc::new(SystemClock), sender));
                while let Some(line) = lines.recv().await {
                    report.line(Some(&name), &line)?;
                }
                if task.await.is_err() {
                    let note = "stopped by an error in greffier; please report it".to_owned();
                    report
                        .line(Some(&name), &CheckLine { step: "check".to_owned(), outcome: CheckOutcome::Bad, note })?;
                }
                anyhow::Ok(())
            })?;
        }
        let bad = report.bad;
        report.out.finish()?;
        match bad {
            0 => Ok(Exit::Done),
            1 => anyhow::bail!("check: 1 step does not work; its line above says what to do"),
            _ => anyhow::bail!("check: {bad} steps do not work; their lines above say what to do"),
        }
    }
}

fn archive_line(config: &Config) -> CheckLine {
    let layout = Layout::of(&config.archive.directory);
    let step = format!("archive {}", layout.dir.display());
    let found = match Reader::open(&layout.database) {
        Ok(_) => Ok("is there"),
        Err(ArchiveError::Missing { .. }) => Ok("will be made at the first `serve`"),
        Err(error) => Err(error.to_string()),
    };
    let (outcome, note) = match found.and_then(|found| Ok(format!("{found}{}", may_be_written(&layout.dir)?))) {
        Ok(note) => (CheckOutcome::Good, note),
        Err(problem) => (CheckOutcome::Bad, problem),
    };
    CheckLine { step, outcome, note }
}

/// Whether `serve` could write here: nothing more to say, or who writes already, or what is in the way.
fn may_be_written(dir: &Path) -> Result<String, String> {
    if let Some(process) = lock::holder(dir).map_err(|error| format!("cannot look at its lock: {error}"))? {
        // Checking beside a running recorder is what people do.
        return Ok(match process {
            0 => "; a recorder writes it now".to_owned(),
            process => format!("; process {process} writes it now"),
        });
    }
    let mut place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    while !place.exists() {
        place = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    // Only trying tells: rights, read-only mounts and full disks all have a say.
    let trial = place.join(format!(".greffier-check-{}", std::process::id()));
    std::fs::File::create_new(&trial).and_then(|_| std::fs::remove_file(&trial)).map_err(|error| {
        format!("cannot write in {}: {error}; give the account that records the right to", place.display())
    })?;
    Ok(", can be written".to_owned())
}

struct Report {
    out: Out,
    json: bool,
    bad: usize,
}

impl Report {
    fn line(&mut self, connector: Option<&str>, line: &CheckLine) -> std::io::Result<()> {
        let (word, colour, json) = match line.outcome {
            CheckOutcome::Good => ("ok  ", Colour::Green, "good"),
            CheckOutcome::Warning => ("look", Colour::Yellow, "warning"),
            CheckOutcome::Bad => ("FAIL", Colour::Red, "bad"),
        };
        self.bad += usize::from(line.outcome == CheckOutcome::Bad);
        if self.json {
            self.out.json(&Line { connector, step: &line.step, outcome: json, note: &line.note })?;
        } else {
            // Notes may quote a server.
            let clean = |text: &str| text.replace(char::is_control, " ");
            let place = connector.map(|name| format!("{}: ", clean(name))).unwrap_or_default();
            let note = if line.note.is_empty() { String::new() } else { format!(" — {}", clean(&line.note)) };
            let word = self.out.paint(colour, word);
            self.out.ours(&format!("{word}  {place}{}{note}", clean(&line.step)))?;
        }
        self.out.flush()
    }
}
