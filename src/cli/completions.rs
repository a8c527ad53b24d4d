//! `greffier completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::output::Out;
use super::{Cli, Exit};
use std::io::Write as _;

/// Prints a completion script for your shell
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  greffier completions bash > ~/.local/share/bash-completion/completions/greffier
  greffier completions zsh  > ~/.zfunc/_greffier
  greffier completions fish > ~/.config/fish/completions/greffier.fish")]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "greffier", &mut script);
        let mut out = Out::new();
        out.raw().write_all(&script)?;
        out.finish()?;
        Ok(Exit::Done)
    }
}
