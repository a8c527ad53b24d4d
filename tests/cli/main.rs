//! The real binary on the command line: usage, configuration errors, exit statuses, and the verbs that read an archive.

mod archive;
mod serve;
mod usage;

use std::path::Path;

use assert_cmd::Command;

/// The binary in a folder of its own, without the environment's say.
fn greffier(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("greffier").expect("the binary is built");
    command.current_dir(dir).env_remove("GREFFIER_CONFIG").env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// What a finished run left.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    let output = greffier(dir).args(args).output().expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("utf-8").replace(&format!("{}/", dir.display()), "");
    Ran { status: output.status.code().expect("no signal"), stdout: text(output.stdout), stderr: text(output.stderr) }
}
