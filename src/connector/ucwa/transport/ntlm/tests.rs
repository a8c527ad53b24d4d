use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::connector::ucwa::courier::{Call, CallFailure, Courier, Credentials, SignInFailure, Step};
use crate::connector::ucwa::http::{Authorization, Body, Lane, Method, Outcome};
use crate::connector::ucwa::origin::Trust;
use crate::connector::ucwa::transport::Transport;

const PASSWORD: &str = "Grüße 日本 😀 p&ss";

// ---- opposite an acceptor that others wrote

/// `ntlm_acceptor.py`, running.
struct Acceptor {
    child: Child,
    base: Url,
    ca: Option<Vec<u8>>,
    _folder: tempfile::TempDir,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Acceptor {
    /// `None`, and says so, where Python or its package is missing.
    fn start(scheme: &str, tls: bool) -> Option<Acceptor> {
        let python = std::env::var("GREFFIER_UCWA_PYTHON").ok().filter(|python| {
            let mut probe = Command::new(python);
            probe.args(["-c", "import spnego"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        });
        let Some(python) = python else {
            println!("skipped: no python with the package pyspnego (GREFFIER_UCWA_PYTHON)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let (users, ca_file) = (folder.path().join("users"), folder.path().join("ca.pem"));
        let lines = format!("CONTOSO:recorder:{PASSWORD}\n:recorder@contoso.example:{PASSWORD}\n");
        std::fs::write(&users, lines).unwrap();
        let mut child = Command::new(python)
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counterparts/ntlm_acceptor.py"), scheme])
            .args(tls.then_some(&ca_file))
            .env("NTLM_USER_FILE", users)
            .env("PYTHONIOENCODING", "utf-8")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("port ").unwrap();
        let base = Url::parse(&format!("{}://127.0.0.1:{port}/", if tls { "https" } else { "http" })).unwrap();
        let ca = tls.then(|| std::fs::read(ca_file).unwrap());
        Some(Acceptor { child, base, ca, _folder: folder })
    }

    async fn counts(&self) -> Value {
        let request = bare(self.base.join("/counts").unwrap());
        let transport = Transport::new(self.ca.as_deref()).unwrap();
        let Outcome::Answer(answer) = transport.perform(request).await else { panic!() };
        serde_json::from_slice(&answer.body).unwrap()
    }
}

fn bare(url: Url) -> Request {
    Request {
        method: Method::Get,
        url,
        body: Body::Empty,
        authorization: Authorization::None,
        lane: Lane::Command,
        timeout: Duration::from_secs(10),
    }
}

/// The courier and the transport as the driver puts them together.
struct Account(Courier, Transport);

impl Account {
    fn new(acceptor: &Acceptor, username: &str, password: &str) -> Account {
        let trust = Trust::new("contoso.example", None, &["127.0.0.1".to_owned()]).unwrap();
        let credentials = Credentials { username: username.into(), password: Secret::new(password.into()) };
        Account(Courier::new(trust, credentials), Transport::new(acceptor.ca.as_deref()).unwrap())
    }

    async fn call(&mut self, url: Url) -> Result<Answer, CallFailure> {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let call = Call {
            method: Method::Get,
            url,
            body: Body::Empty,
            lane: Lane::Command,
            timeout: Duration::from_secs(10),
            anonymous: false,
        };
        let mut steps = VecDeque::from(self.0.call(call, now).1);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Send(id, request) => {
                    let outcome = self.1.perform(request).await;
                    steps.extend(self.0.answer(id, outcome, now));
                }
                Step::Done(_, result) => return result,
                Step::Raise(_) => {}
            }
        }
        panic!("the call has no end");
    }
}

#[tokio::test]
async fn the_right_password_gets_a_ticket() {
    for (scheme, tls) in [("NTLM", false), ("NTLM", true), ("Negotiate", true)] {
        let Some(acceptor) = Acceptor::start(scheme, tls) else { return };
        for username in ["CONTOSO\\recorder", "contoso\\Recorder", "recorder@contoso.example"] {
            let mut account = Account::new(&acceptor, username, PASSWORD);
            let answer = account.call(acceptor.base.join("/account").unwrap()).await.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"welcome": true}"#[..]), "{scheme} {username}");
        }
        let counts = acceptor.counts().await;
        assert_eq!(
            counts,
            serde_json::json!({
                "connections": 3, "negotiate": 3, "authenticate": 3, "granted": 3,
                "users": ["CONTOSO\\recorder", "contoso\\Recorder", "recorder@contoso.example"],
            }),
            "{scheme}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let Some(acceptor) = Acceptor::start("NTLM", true) else { return };
    let url = acceptor.base.join("/account").unwrap();
    for (tried, username) in [(1, "CONTOSO\\recorder"), (2, "recorder@contoso.example"), (3, "CONTOSO\\nobody")] {
        let mut account = Account::new(&acceptor, username, "Grüße 日本 😁 p&ss");
        for _ in 0..2 {
            let result = account.call(url.clone()).await;
            assert!(
                matches!(result, Err(CallFailure::SignIn(SignInFailure::WrongCredentials { .. }))),
                "{username} {result:?}"
            );
        }
        let counts = acceptor.counts().await;
        assert_eq!((&counts["authenticate"], &counts["granted"]), (&tried.into(), &0.into()), "{username}");
    }
}

// ---- opposite servers that do not do what they should

/// A challenge as a Windows server gives it, laid out by hand ([MS-NLMP] 2.2.1.2).
fn challenge(stamp: Option<i64>) -> Vec<u8> {
    let name: Vec<u8> = "CONTOSO".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let pair = |id: u16, value: &[u8]| [&id.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat();
    let time = stamp.map(|stamp| pair(7, &stamp.to_le_bytes())).unwrap_or_default();
    let target = [pair(2, &name), time, pair(0, &[])].concat();
    let place = |length: usize, offset: usize| {
        [&(length as u16).to_le_bytes()[..], &(length as u16).to_le_bytes(), &(offset as u32).to_le_bytes()].concat()
    };
    [
        b"NTLMSSP\0\x02\0\0\0",
        &place(name.len(), 56)[..],
        &0xE289_8215u32.to_le_bytes(),
        b"01234567",
        &[0; 8],
        &place(target.len(), 56 + name.len()),
        &[10, 0, 0x63, 0x45, 0, 0, 0, 15],
        &name,
        &target,
    ]
    .concat()
}

/// Gives these answers in order, one per request, and closes the connection after those that say so. Returns its address
/// and, at the end of the task, the `Authorization` of every request with the number of the connection it came by.
async fn scripted(answers: Vec<String>) -> (Url, tokio::task::JoinHandle<Vec<(usize, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/token", listener.local_addr().unwrap())).unwrap();
    let task = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut answers = VecDeque::from(answers);
        for connection in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut input = Vec::new();
            while !answers.is_empty() {
                let mut buffer = [0; 4096];
                while !input.ends_with(b"windows") {
                    match stream.read(&mut buffer).await.unwrap() {
                        0 => break,
                        n => input.extend_from_slice(&buffer[..n]),
                    }
                }
                let text = String::from_utf8(std::mem::take(&mut input)).unwrap();
                if text.is_empty() {
                    break;
                }
                let line = text.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
                seen.push((connection, line.to_owned()));
                let answer = answers.pop_front().unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("close") {
                    break;
                }
            }
            if answers.is_empty() {
                break;
            }
        }
        seen
    });
    (url, task)
}

fn refusal(fields: &str) -> String {
    format!("HTTP/1.1 401 Unauthorized\r\n{fields}content-length: 4\r\n\r\nnope")
}

async fn ask(url: Url, timeout: Duration) -> Outcome {
    let request = Request {
        method: Method::Post,
        body: Body::Form(vec![("grant_type", Secret::new("urn:microsoft.rtc:windows".into()))]),
        authorization: Authorization::Windows {
            username: "CONTOSO\\recorder".into(),
            password: Secret::new(PASSWORD.into()),
        },
        timeout,
        ..bare(url)
    };
    Transport::new(None).unwrap().perform(request).await
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_lost_connection_is_no_wrong_password() {
    let token = BASE64.encode(challenge(Some(1)));
    let first = refusal(&format!("www-authenticate: NTLM {token}\r\nconnection: close\r\n"));
    let (url, task) = scripted(vec![first, refusal("www-authenticate: NTLM\r\n")]).await;
    assert_eq!(ask(url, LONG).await, Outcome::Failed(NetFailure::Broken));
    // Nothing was sent on a second connection: the server still waits for one.
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn without_a_challenge_nothing_is_proved() {
    let junk = format!("www-authenticate: NTLM {}\r\n", BASE64.encode(b"NTLMSSP\0\x02\0\0\0short"));
    for fields in
        ["", "www-authenticate: Basic\r\n", "www-authenticate: NTLM\r\n", "www-authenticate: NTLM %%\r\n", &junk]
    {
        let (url, task) = scripted(vec![refusal(fields)]).await;
        assert_eq!(ask(url, LONG).await, Outcome::Failed(NetFailure::NoNtlm), "{fields}");
        assert_eq!(task.await.unwrap().len(), 1);
    }
    // Kerberos alone: the hello is offered once more as Negotiate, then no more.
    let kerberos = refusal("www-authenticate: Negotiate\r\n");
    let (url, task) = scripted(vec![kerberos.clone(), kerberos]).await;
    assert_eq!(ask(url, LONG).await, Outcome::Failed(NetFailure::NoNtlm));
    let seen = task.await.unwrap();
    assert!(seen[0].1.starts_with("NTLM TlRM") && seen[1].1.starts_with("Negotiate TlRM"), "{seen:?}");
}

#[tokio::test]
async fn the_time_of_the_request_holds_for_the_exchange() {
    let token = BASE64.encode(challenge(Some(1)));
    let first = refusal(&format!("www-authenticate: Negotiate, NTLM {token}\r\n"));
    let (url, task) = scripted(vec![first, String::new(), "never".into()]).await;
    assert_eq!(ask(url, Duration::from_millis(300)).await, Outcome::Failed(NetFailure::Timeout));
    task.abort();
}

#[tokio::test]
async fn both_messages_take_one_connection_and_the_last_answer_counts() {
    let token = BASE64.encode(challenge(Some(1)));
    let first = refusal(&format!("www-authenticate: Negotiate\r\nwww-authenticate: ntlm {token}\r\n"));
    for (last, status) in
        [(refusal("www-authenticate: NTLM\r\n"), 401), ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".into(), 503)]
    {
        let (url, task) = scripted(vec![first.clone(), last]).await;
        let Outcome::Answer(answer) = ask(url, LONG).await else { panic!() };
        assert_eq!(answer.status, status);
        let seen = task.await.unwrap();
        assert_eq!(seen.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [1, 1]);
        assert!(seen[1].1.starts_with("NTLM TlRM"), "{seen:?}");
    }
    let (url, task) = scripted(vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into()]).await;
    assert!(matches!(ask(url, LONG).await, Outcome::Answer(answer) if answer.status == 200));
    assert_eq!(task.await.unwrap().len(), 1);
}

// ---- messages

fn read(reply: Option<Vec<u8>>) -> AuthenticateMessage {
    match Message::try_from(reply.unwrap().as_slice()) {
        Ok(Message::Authenticate(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_takes_the_time_of_the_server_and_tells_no_session_key() {
    let secret = Secret::new(PASSWORD.into());
    let date = Timestamp::from_millis(1_800_000_000_000);
    for (stamp, expected) in [(Some(77), 77), (None, 1_800_000_000 * 10_000_000 + FILETIME_OF_EPOCH)] {
        let text = BASE64.encode(challenge(stamp));
        let message = read(reply(&text, Some(date), "CONTOSO\\recorder", &secret));
        assert_eq!((message.domain_name.as_str(), message.user_name.as_str()), ("CONTOSO", "recorder"));
        assert_eq!(message.session_key, [0u8; 0]);
        assert_eq!(message.lm_response == [0; 24], stamp.is_some());
        assert_eq!(message.ntlm_response[16..18], [1, 1]);
        assert_eq!(message.ntlm_response[24..32], i64::to_le_bytes(expected));
        assert!(!message.flags.contains(Flags::NEGOTIATE_KEY_EXCHANGE));
    }
    assert_eq!(reply(&BASE64.encode(challenge(None)), None, "CONTOSO\\recorder", &secret), None);
    let message = read(reply(&BASE64.encode(challenge(Some(7))), None, "recorder@contoso.example", &secret));
    assert_eq!((message.domain_name.as_str(), message.user_name.as_str()), ("", "recorder@contoso.example"));
}

proptest! {
    #[test]
    fn no_challenge_panics(
        mut bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::option::of(any::<i64>()).prop_map(challenge),
        ],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        username in ".{0,2000}",
    ) {
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        if !whole && !bytes.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        reply(&BASE64.encode(&bytes), None, &username, &Secret::new(PASSWORD.into()));
    }
}
