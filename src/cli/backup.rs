//! `greffier backup`.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::output::Out;
use super::{ArchiveArg, Exit, Globals, verify};
use crate::archive;
use crate::archive::audit::AuditOptions;

/// Makes a consistent copy of the archive while it is being written, and verifies the copy
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a consistent copy of the archive, also while `serve` writes it, and verifies the copy. PATH \
becomes a folder with archive.db, the attachments, the checkpoints and the public keys; private keys stay where they are. A \
PATH ending in .db becomes the database alone, for an archive without attachments. Nothing is overwritten.

To restore, name the copy as `directory` under [archive]; a recorder that goes on in it makes itself a new signing key."
)]
#[command(after_long_help = "Examples:
  greffier backup /backup/greffier-$(date +%F)
  greffier backup --archive /var/lib/greffier/archive /backup/today.db
  greffier verify --archive /backup/greffier-2026-11-21

Exit status 4 if the copy does not verify.")]
pub(super) struct Backup {
    /// What to make: a folder, or a file ending in .db
    path: PathBuf,

    #[command(flatten)]
    archive: ArchiveArg,
}

impl Backup {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let layout = self.archive.layout(globals)?;
        let bar = ProgressBar::new(0);
        bar.set_style(super::bar_style("copying", "{bytes}/{total_bytes}"));
        let copy = archive::backup(&layout.database, &self.path, &mut |progress| {
            const PAGE_BYTES: u64 = 4096;
            bar.set_length(progress.total.saturating_mul(PAGE_BYTES));
            bar.set_position(progress.done.saturating_mul(PAGE_BYTES));
        })?;
        bar.finish_and_clear();
        let mut out = Out::new();
        out.line(&format!("copied to {}", copy.display()))?;
        let exit = verify::audit(&copy, &AuditOptions::default(), &mut out, verify::Form::Text)?;
        out.finish()?;
        Ok(exit)
    }
}
