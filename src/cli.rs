//! The command line (INTERFACES §3): the tree of verbs, and what all of them share.
//!
//! Each verb is one file with its arguments, its help and its `run`. A verb returns an [`Exit`] or an error; `main` turns
//! either into an exit status, so nothing in here ends the process.

mod connectors;
mod output;
mod recorder;
mod signals;
mod when;
mod which;

mod backup;
mod check;
mod completions;
mod demo;
mod export;
mod list;
mod raw;
mod reindex;
mod rotate_keys;
mod search;
mod serve;
mod show;
mod simulate;
mod verify;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::archive::{Layout, Reader};
use crate::config::Config;
use crate::telemetry::{self, LogFormat};

/// How a verb ended; the number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; standard error says what, where, what to do.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// There is nothing of the kind that was asked for.
    NothingFound = 3,
    /// The archive is not what was recorded.
    Violated = 4,
}

/// A clerk who keeps the record: joins conversations by invitation, captures them, and proves that nothing was altered.
#[derive(Debug, Parser)]
#[command(name = "greffier", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Start with `greffier demo`. Each verb explains itself: greffier help VERB.

Exit status: 0 done; 1 failed (standard error says why); 2 wrong usage; 3 found nothing; 4 integrity violated.")]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Options every verb takes.
#[derive(Debug, Args)]
struct Globals {
    /// Configuration file [default: $GREFFIER_CONFIG, else ./greffier.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every verb")]
    config: Option<PathBuf>,

    /// How log lines on standard error look; RUST_LOG says which are wanted
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        help_heading = "Options of every verb"
    )]
    log_format: LogFormat,
}

impl Globals {
    /// An environment variable that is set to nothing counts as not set.
    fn config_path(&self) -> PathBuf {
        let environment = || std::env::var_os("GREFFIER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        self.config.clone().or_else(environment).unwrap_or_else(|| PathBuf::from("greffier.toml"))
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Check(check::Check),
    List(list::List),
    Show(show::Show),
    Raw(raw::Raw),
    Search(search::Search),
    Export(export::Export),
    Verify(verify::Verify),
    Reindex(reindex::Reindex),
    Backup(backup::Backup),
    RotateKeys(rotate_keys::RotateKeys),
    Simulate(simulate::Simulate),
    Completions(completions::Completions),
}

/// Runs what was asked for.
///
/// # Errors
/// Whatever the verb could not do, as a chain that reads as one sentence.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    let level = match cli.verb {
        Verb::Serve(_) | Verb::Simulate(_) => "info",
        _ => "warn",
    };
    telemetry::start(cli.globals.log_format, level);
    let globals = &cli.globals;
    match cli.verb {
        Verb::Demo(verb) => verb.run(),
        Verb::Serve(verb) => verb.run(globals),
        Verb::Check(verb) => verb.run(globals),
        Verb::List(verb) => verb.run(globals),
        Verb::Show(verb) => verb.run(globals),
        Verb::Raw(verb) => verb.run(globals),
        Verb::Search(verb) => verb.run(globals),
        Verb::Export(verb) => verb.run(globals),
        Verb::Verify(verb) => verb.run(globals),
        Verb::Reindex(verb) => verb.run(globals),
        Verb::Backup(verb) => verb.run(globals),
        Verb::RotateKeys(verb) => verb.run(globals),
        Verb::Simulate(verb) => verb.run(),
        Verb::Completions(verb) => verb.run(),
    }
}

/// Says on standard error why a verb failed, and how the process shall end. One line; a configuration with several
/// problems gives one line each. A reader of our output that has gone away (`| head`) is no failure.
pub fn report(error: &anyhow::Error) -> Exit {
    if output::reader_has_gone(error) {
        return Exit::Done;
    }
    message(error).lines().for_each(remark);
    Exit::Failed
}

/// The chain as one sentence. Causes that their parent's text already contains are not said twice.
fn message(error: &anyhow::Error) -> String {
    if let Some(config) = error.downcast_ref::<crate::config::ConfigError>() {
        return config.to_string();
    }
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().replace(['\n', '\r'], " ");
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Which archive a reading verb reads.
#[derive(Debug, Args)]
struct ArchiveArg {
    /// Archive to read instead of the configured one: its directory, or a backup's .db file
    #[arg(long, value_name = "PATH")]
    archive: Option<PathBuf>,
}

impl ArchiveArg {
    fn layout(&self, globals: &Globals) -> anyhow::Result<Layout> {
        let path = match &self.archive {
            Some(path) => path.clone(),
            None => Config::load(&globals.config_path())?.archive.directory,
        };
        Ok(Layout::of(&path))
    }

    fn reader(&self, globals: &Globals) -> anyhow::Result<Reader> {
        Ok(Reader::open(&self.layout(globals)?.database)?)
    }
}

/// One line on standard error that is no failure of its own: why there is nothing, what would help.
fn remark(text: &str) {
    // Standard error may be closed; then nobody wants to know.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("greffier: {text}\n").as_bytes());
}

/// A progress bar as all verbs draw it: on standard error, on a terminal only.
fn bar_style(doing: &str, unit: &str) -> indicatif::ProgressStyle {
    let template = format!("{doing} [{{bar:40}}] {unit} {{eta}}");
    indicatif::ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The runtime of the verbs that wait for networks.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}
