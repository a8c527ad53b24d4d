//! A running `greffier serve`, with its log and its health pages.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::viewer::Viewer;

/// The binary under test, with an environment that says nothing about configurations.
pub fn greffier() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greffier"));
    command.env_remove("GREFFIER_CONFIG").env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

/// What a process has written on standard error so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// A process that records. Dropping it kills it.
pub struct Recorder {
    child: Child,
    log: Log,
    /// Number of lines so far; closed when standard error is, which is when the process ends.
    grown: watch::Receiver<usize>,
}

impl Recorder {
    /// Starts `greffier --config … serve`, as chatty as it gets.
    pub fn start(config: &Path) -> Recorder {
        let mut command = greffier();
        command.arg("--config").arg(config).arg("serve").env("RUST_LOG", "greffier=trace");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Log::default();
        let (tell, grown) = watch::channel(0);
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
                tell.send_modify(|n| *n += 1);
            }
        });
        Recorder { child, log, grown }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Waits for a line of the log that contains `text`.
    pub async fn line_with(&mut self, text: &str, within: Duration) -> String {
        let log = self.log.clone();
        let find = || log.lines().into_iter().find(|line| line.contains(text));
        let wait = async {
            loop {
                self.grown.borrow_and_update();
                if let Some(line) = find() {
                    return Some(line);
                }
                if self.grown.changed().await.is_err() {
                    return find();
                }
            }
        };
        let found = tokio::time::timeout(within, wait).await.ok().flatten();
        found.unwrap_or_else(|| panic!("no log line with {text:?} within {within:?}:\n{}", log.text()))
    }

    /// The viewer, at the address that the log tells.
    pub async fn viewer(&mut self) -> Viewer {
        Viewer::at(&self.address().await)
    }

    /// Address of the health pages, as the log tells it.
    async fn address(&mut self) -> String {
        let line = self.line_with("listening on http://", Duration::from_secs(20)).await;
        let rest = line.split("listening on http://").nth(1).unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// Status and body of a health page.
    pub async fn get(&mut self, path: &str) -> (u16, String) {
        let address = self.address().await;
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// Waits until `/readyz` answers with this status; gives the body.
    pub async fn readyz(&mut self, wanted: u16, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let (status, body) = self.get("/readyz").await;
            if status == wanted {
                return body;
            }
            assert!(Instant::now() < deadline, "/readyz is {status} {body:?}, not {wanted}:\n{}", self.log.text());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").arg("-c").arg(line).status().unwrap().success());
    }

    /// Kills it without a word of warning, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end by itself.
    pub async fn ended(mut self, within: Duration) -> ExitStatus {
        let closed = async { while self.grown.changed().await.is_ok() {} };
        let done = tokio::time::timeout(within, closed).await;
        assert!(done.is_ok(), "still running after {within:?}:\n{}", self.log.text());
        self.child.wait().unwrap()
    }

    /// SIGTERM; must end with exit status 0 within 10 s. Says how long it took.
    pub async fn terminate(self) -> Duration {
        let begin = Instant::now();
        let log = self.log();
        self.signal("TERM");
        let status = self.ended(Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "{}", log.text());
        begin.elapsed()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
