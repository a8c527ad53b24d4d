//! The `greffier` program: arguments in, exit status out.

use std::process::ExitCode;

use clap::Parser;
use greffier::cli::{self, Cli, Exit};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are answers, not errors. A reader that has gone away is nobody's problem.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    let exit = match cli::run(cli) {
        Ok(exit) => exit,
        Err(error) => cli::report(&error),
    };
    ExitCode::from(exit as u8)
}
