//! `greffier reindex`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::ProgressBar;

use super::output::{Out, counted};
use super::{ArchiveArg, Exit, Globals, signals};
use crate::index;

/// Makes the search index anew from the archive
#[derive(Debug, Args)]
#[command(
    long_about = "Makes the search index anew from the archive. The index is derived data; this loses nothing, and an \
index of another version or a damaged one is made anew without being asked. The old one answers until the new one is \
complete. A running `serve` holds the index: stop it first, or let it do this itself."
)]
#[command(after_long_help = "Examples:
  greffier reindex
  greffier reindex --archive /backup/archive")]
pub(super) struct Reindex {
    #[command(flatten)]
    archive: ArchiveArg,
}

impl Reindex {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let layout = self.archive.layout(globals)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let watch = signals::on_interrupt(move || interrupt(&asked))?;
        let bar = ProgressBar::new(0);
        bar.set_style(super::bar_style("indexing", "{pos}/{len} events"));
        let made = index::rebuild(&layout, &stop, &mut |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        });
        drop(watch);
        bar.finish_and_clear();
        let mut out = Out::new();
        out.line(&format!("{} searchable", counted(made?, "event")))?;
        out.finish()?;
        Ok(Exit::Done)
    }
}

/// Asks an indexing that runs to end in good order; if it does not, the process ends all the same.
pub(super) fn interrupt(stop: &AtomicBool) {
    stop.store(true, Ordering::Relaxed);
    std::thread::sleep(std::time::Duration::from_secs(3));
}
