//! A simulated pool with a recorder's configuration and archive folder beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use greffier::archive::Reader;
use greffier::model::Seq;
use greffier::simulate::{Ledger, Options, Parameters, Person, Scenario, SimulatedPool};
use serde_json::Value;

use crate::record::Record;
use crate::recorder::{Log, Recorder, greffier};

/// The cast of every scenario written in these tests. Mallory is not of the recorder's domain.
const CAST: &str = r#"
person = [
  { id = "ann", address = "sip:ann@contoso.example", name = "Ann Über", role = "Leader" },
  { id = "bob", address = "sip:bob@contoso.example", name = "Bob O'Neil" },
  { id = "cai", address = "sip:cai@contoso.example", name = "蔡 Cai" },
  { id = "mallory", address = "sip:mallory@evil.example", name = "Mallory", network = "Federated" },
]
"#;

/// A scenario from the inside of its `pool` table and of its list of steps; it begins when the recorder polls.
pub fn scenario(pool: &str, steps: &str) -> Scenario {
    let text = format!(
        "title = \"end to end\"\npool = {{ {pool} }}\n{CAST}\nstep = [\n\
         {{ do = \"wait_for\", what = \"available\", within_ms = 60000 }},\n\
         {{ do = \"wait_for\", what = \"polling\", within_ms = 60000 }},\n{steps}\n]\n"
    );
    Scenario::parse(&text, &Parameters::new()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// One of the scenarios that come with the program.
pub fn embedded(name: &str) -> Scenario {
    Scenario::embedded(name, &Parameters::new()).unwrap().unwrap()
}

pub struct Rig {
    dir: tempfile::TempDir,
    archive: PathBuf,
    config: PathBuf,
    pub pool: SimulatedPool,
    pub cast: Vec<Person>,
    logs: Mutex<Vec<Log>>,
}

impl Rig {
    /// A pool that plays, and a configuration for it; `keys` are further lines of the connector's table.
    pub async fn new(scenario: Scenario, keys: &str) -> Rig {
        Rig::with_archive(scenario, keys, None).await
    }

    /// As [`Rig::new`], with the archive in another folder.
    pub async fn with_archive(scenario: Scenario, keys: &str, archive: Option<&Path>) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let cast = scenario.cast.clone();
        let pool = SimulatedPool::start(Options::default(), scenario).await.unwrap();
        let archive = archive.map_or_else(|| dir.path().join("archive"), Path::to_owned);
        let secret = dir.path().join("password");
        fs::write(&secret, format!("{}\n", pool.password())).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let config = dir.path().join("greffier.toml");
        let text = format!(
            "[archive]\ndirectory = {:?}\n\n[viewer]\nlisten = \"127.0.0.1:0\"\n\n[[connector]]\nname = \"sfb\"\nkind = \"ucwa\"\n\
             sign_in = \"{}\"\nusername = '{}'\npassword_file = \"password\"\nautodiscover = \"{}\"\n\
             trusted_hosts = [\"127.0.0.1\"]\n{keys}\n",
            archive.to_str().unwrap(),
            pool.sign_in(),
            pool.username(),
            pool.autodiscover_url(),
        );
        fs::write(&config, text).unwrap();
        Rig { dir, archive, config, pool, cast, logs: Mutex::default() }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn archive(&self) -> &Path {
        &self.archive
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Puts another password into the file that the configuration names.
    pub fn set_password(&self, password: &str) {
        fs::write(self.dir.path().join("password"), password).unwrap();
    }

    /// Starts `serve`.
    pub fn start(&self) -> Recorder {
        let recorder = Recorder::start(&self.config);
        self.logs.lock().unwrap().push(recorder.log());
        recorder
    }

    /// Runs another verb to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = greffier();
        command.arg("--config").arg(&self.config).args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs another verb, which must exit with this status; gives its standard output.
    pub async fn ask(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments).await;
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(status), "greffier {arguments:?}\n{out}\n{err}");
        out
    }

    /// A verb that answers in JSON Lines.
    pub async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.ask(arguments, 0).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The whole log, as an export gives it.
    pub async fn record(&self) -> Record {
        let all = ["export", "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-"];
        Record::new(self.json(&all).await)
    }

    /// Waits until what the archive holds satisfies `holds`, reading it while it is written.
    pub async fn until(&self, within: Duration, what: &str, holds: impl Fn(&Record) -> bool) -> Record {
        let deadline = Instant::now() + within;
        let mut size = 0;
        loop {
            let now = self.peek();
            if now.events.len() != size || size == 0 {
                size = now.events.len();
                if holds(&now) {
                    return now;
                }
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; the archive holds\n{}\n{}",
                now.told(),
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The log as the library reads it now; empty while there is no archive.
    fn peek(&self) -> Record {
        let events =
            Reader::open(&self.archive).and_then(|reader| reader.events(Seq(1), 1_000_000)).unwrap_or_default();
        Record::new(events.iter().map(|event| serde_json::to_value(event).unwrap()).collect())
    }

    /// Plays the scenario to its end.
    pub async fn play(&self) {
        if let Err(error) = self.pool.run_to_end().await {
            panic!("{error}\n{}\n{}", self.peek().told(), self.logs());
        }
    }

    fn logs(&self) -> String {
        self.logs.lock().unwrap().iter().map(Log::text).collect::<Vec<_>>().join("\n--- another process\n")
    }

    /// What must hold whatever a test was about: `verify` finds nothing, the record agrees with the ledger, and no log
    /// has the password or anything that was said. To be called when the recorder has ended.
    pub async fn settle(&self) -> (Record, Ledger) {
        self.settle_but(&[]).await
    }

    /// As [`Rig::settle`]; what was said in these conversations must not be in the record.
    pub async fn settle_but(&self, declined: &[&str]) -> (Record, Ledger) {
        self.ask(&["verify"], 0).await;
        let (record, ledger) = (self.record().await, self.pool.ledger());
        record.compare(&ledger, &self.cast, declined);
        self.logs_are_discreet(&ledger);
        (record, ledger)
    }

    /// No log has the password, nor anything said.
    pub fn logs_are_discreet(&self, ledger: &Ledger) {
        let logs = self.logs();
        let password = self.pool.password();
        assert!(!logs.is_empty());
        assert!(!logs.contains(&password), "the password is in the log");
        for said in ledger.said() {
            let text = said.text.as_deref().or(said.html.as_deref()).unwrap();
            assert!(!logs.contains(text), "{text:?} is in the log");
        }
    }
}
