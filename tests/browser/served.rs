//! The real binary, started as a user starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `greffier serve` or `greffier demo`; killed when a test fails.
pub struct Served {
    child: Child,
    address: String,
    _dir: Option<tempfile::TempDir>,
}

impl Served {
    /// `greffier serve` over the archive in `dir`, with a connector whose server is not there.
    pub fn serve(dir: &Path) -> Served {
        // Nothing listens on port 9 of this machine, and nothing else is asked.
        let config = "[archive]\ndirectory = \".\"\n[viewer]\nlisten = \"127.0.0.1:0\"\n[[connector]]\nname = \"sfb\"\n\
                      kind = \"ucwa\"\nsign_in = \"sip:recorder@contoso.com\"\npassword_env = \"SFB_PASSWORD\"\n\
                      autodiscover = \"https://127.0.0.1:9/\"\n";
        std::fs::write(dir.join("greffier.toml"), config).unwrap();
        let mut command = Served::command();
        command.arg("--config").arg(dir.join("greffier.toml")).arg("serve").env("SFB_PASSWORD", "not a secret");
        Served::start(command.stdout(Stdio::null()).stderr(Stdio::piped()), None)
    }

    /// `greffier demo` in a folder of its own.
    pub fn demo() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Served::command();
        command.arg("demo").arg("--data").arg(dir.path().join("demo")).args(["--listen", "127.0.0.1:0"]);
        Served::start(command.stdout(Stdio::piped()).stderr(Stdio::null()), Some(dir))
    }

    fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffier"));
        command.env_remove("GREFFIER_CONFIG").env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    fn start(command: &mut Command, dir: Option<tempfile::TempDir>) -> Served {
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let told: Box<dyn BufRead + Send> = match (out, err) {
            (Some(out), _) => Box::new(BufReader::new(out)),
            (_, err) => Box::new(BufReader::new(err.unwrap())),
        };
        let mut served = Served { child, address: String::new(), _dir: dir };
        let mut lines = told.lines();
        let mut before = Vec::new();
        while served.address.is_empty() {
            let Some(Ok(line)) = lines.next() else { panic!("ended before it listened: {}", before.join("\n")) };
            if let Some((_, rest)) = line.split_once("http://").filter(|_| line.contains("viewer")) {
                served.address = rest.split('/').next().unwrap().to_owned();
            }
            before.push(line);
        }
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        served
    }

    /// Where it listens, without a path.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// SIGTERM; it must end well.
    pub fn end(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
