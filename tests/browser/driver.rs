//! Node, which drives the browser: one process per suite.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running suite; killed when a test fails.
pub struct Driver {
    suite: String,
    child: Child,
    said: BufReader<ChildStdout>,
    _facts: tempfile::NamedTempFile,
}

impl Driver {
    /// Whether there is a browser to drive; if not, says so.
    pub fn possible(suite: &str) -> bool {
        let set = std::env::var_os("GREFFIER_BROWSER_MODULES").is_some_and(|at| Path::new(&at).is_dir());
        if !set {
            eprintln!(
                "SKIPPED {suite}: GREFFIER_BROWSER_MODULES names no folder; ./test sets it (needs chromium and npm)"
            );
        }
        set
    }

    /// Starts a suite over the viewer at `base`.
    pub fn start(suite: &str, base: &str, facts: &serde_json::Value) -> Driver {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        serde_json::to_writer_pretty(&mut file, facts).unwrap();
        file.flush().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shots: PathBuf = here.join("target/browser/shots");
        let mut command = Command::new("node");
        command.arg(here.join("tests/browser/run.mjs")).args([suite, base]).arg(file.path());
        command.env("GREFFIER_BROWSER_SHOTS", shots).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let said = BufReader::new(child.stdout.take().unwrap());
        Driver { suite: suite.to_owned(), child, said, _facts: file }
    }

    /// Waits until the suite says this word on a line of its own.
    pub fn wait(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "{} ended early or said something else; its problems are above", self.suite);
    }

    /// Waits for the suite's end; fails if it found a problem, which it has told on standard error.
    pub fn finish(mut self) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{} found problems; they are above", self.suite);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
