//! `serve` as a process: what it answers, that it holds its archive, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::{greffier, run};

/// A running `serve`; killed when a test fails.
struct Serving {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    address: String,
}

impl Serving {
    /// Starts it and waits until it says where it listens.
    fn start(dir: &Path) -> Serving {
        let mut command = Command::new(greffier(dir).get_program());
        command.current_dir(dir).arg("serve").env_remove("GREFFIER_CONFIG").env_remove("RUST_LOG");
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        // Owned before anything can fail, so that it is always killed and waited for.
        let mut serving = Serving { child, log: None, address: String::new() };
        let mut log = BufReader::new(serving.child.stderr.take().expect("piped"));
        let mut line = String::new();
        while serving.address.is_empty() {
            line.clear();
            assert!(log.read_line(&mut line).expect("log") > 0, "ended before it listened");
            if let Some((_, rest)) = line.split_once("listening on http://") {
                serving.address = rest.split('/').next().expect("address").to_owned();
            }
        }
        serving.log = Some(log);
        serving
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).expect("connect");
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).expect("send");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("status");
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for the end: exit status and the rest of the log.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.take().expect("not ended yet").read_to_string(&mut rest).expect("log");
        (self.child.wait().expect("wait").code(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Has ended already in a test that passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("greffier.toml"), "[viewer]\nlisten = \"127.0.0.1:0\"\n").expect("write");
    dir
}

#[test]
fn serve_answers_holds_its_archive_and_ends_on_either_signal() {
    let dir = place();
    for signal in ["-TERM", "-INT"] {
        let mut serving = Serving::start(dir.path());
        assert_eq!(serving.get("/healthz"), (200, "ok\n".to_owned()));
        assert_eq!(serving.get("/readyz"), (503, "no connector is configured\n".to_owned()));
        assert!(serving.get("/metrics").1.contains("\ngreffier_log_size 0\n"));

        let second = run(dir.path(), &["serve"]);
        assert_eq!(second.status, 1);
        let last = second.stderr.lines().last().expect("a line");
        assert!(last.starts_with("greffier: ") && last.contains(&serving.child.id().to_string()), "{last}");
        let list = run(dir.path(), &["list"]);
        assert_eq!((list.status, list.stdout.as_str()), (3, ""), "reads while it is written");
        assert_eq!(list.stderr, "greffier: no conversation has been recorded yet\n");
        let check = run(dir.path(), &["check"]).stdout;
        let note = format!("ok    archive archive — is there; process {} writes it now\n", serving.child.id());
        assert!(check.contains(&note), "{check}");

        serving.signal(signal);
        let (status, log) = serving.end();
        assert_eq!(status, Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
        let check = run(dir.path(), &["check"]).stdout;
        assert!(check.contains("ok    archive archive — is there, can be written\n"), "{check}");
        let left: Vec<_> = std::fs::read_dir(dir.path().join("archive")).expect("folder").flatten().collect();
        assert!(left.iter().all(|file| !file.file_name().to_string_lossy().contains("check-")), "{left:?}");
    }
    assert_eq!(run(dir.path(), &["verify"]).status, 0);
}

#[test]
fn an_address_that_is_taken_is_told_before_the_archive_is_touched() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = taken.local_addr().expect("address");
    std::fs::write(dir.path().join("greffier.toml"), format!("[viewer]\nlisten = \"{address}\"\n")).expect("write");
    let ran = run(dir.path(), &["serve"]);
    assert_eq!(ran.status, 1);
    let expected = format!("greffier: cannot listen on {address}; choose another `listen` in [viewer]: ");
    assert!(ran.stderr.lines().last().expect("a line").starts_with(&expected), "{}", ran.stderr);
    assert!(!dir.path().join("archive").exists());
}
