//! Programs that others wrote against the tenant: Microsoft's Graph SDK and MSAL, PyJWT and OpenSSL through Python.

use std::io::Write;
use std::process::{Command, Stdio};

use greffier::simulate::teams::{Act, CallKind, ChatKind, Invite, Words};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{LONG, quiet, start};

/// Runs a script; `None`: there is no such Python here.
async fn python(script: &str, arguments: Option<Value>, input: Option<Value>) -> Option<String> {
    let Ok(python) = std::env::var("GREFFIER_GRAPH_PYTHON") else {
        println!("skipped: no python with msgraph-sdk, msal and pyjwt (GREFFIER_GRAPH_PYTHON)");
        return None;
    };
    let mut command = Command::new(python);
    command
        .arg(format!("{}/tests/counterparts/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments.map(|a| a.to_string()))
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(input) = input {
            stdin.write_all(input.to_string().as_bytes()).unwrap();
        }
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[tokio::test]
async fn microsofts_sdk_knows_everything_that_graph_answers() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet("throttle = false"), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let people = ["bob", "guest", "phone"].map(str::to_owned).to_vec();
    let id = tenant.invite_call(Invite { people, ..Invite::new("m", "alice", CallKind::Meeting) }).unwrap().remove(0);
    recorder.wait_state("incoming").await;
    recorder.answer(&id, 0, false).await;
    recorder.wait_state("established").await;
    tenant.act(&Act::Share { call: "m".to_owned(), who: "bob".to_owned(), on: true }).unwrap();
    let image = Some(("image/png".to_owned(), b"png".to_vec()));
    let mentions = vec!["bob".to_owned()];
    let file = Some(("a.xlsx".to_owned(), "https://contoso.example/a.xlsx".to_owned()));
    let message = tenant.say("m", "alice", Words { image, mentions, file, ..Words::plain("all") }).unwrap();
    for on in [true, false, true] {
        let (by, reaction) = ("bob".to_owned(), "like".to_owned());
        tenant.act(&Act::React { chat: "m".to_owned(), label: Some(message.clone()), by, reaction, on }).unwrap();
    }
    tenant.act(&Act::Block { chat: "m".to_owned(), label: Some(message.clone()) }).unwrap();
    tenant.say("m", "guest", Words { quote: Some(message.clone()), ..Words::plain("quoted") }).unwrap();
    tenant.act(&Act::Delete { chat: "m".to_owned(), label: None }).unwrap();
    tenant.act(&Act::Rename { chat: "m".to_owned(), by: "bob".to_owned(), topic: "New".to_owned() }).unwrap();
    let people = vec!["carol".to_owned()];
    tenant.act(&Act::AddMembers { chat: "m".to_owned(), by: "bob".to_owned(), people }).unwrap();
    let team = "f0000000-0000-4000-8000-000000000001";
    let kind = ChatKind::Channel { team: team.to_owned() };
    let channel = tenant.create_chat("general", kind, &["alice"]).unwrap();
    let root = tenant.say("general", "alice", Words::plain("root")).unwrap();
    tenant.say("general", "bob", Words { reply_to: Some(root), ..Words::plain("reply") }).unwrap();
    let arguments = json!({
        "base": recorder.base, "token": recorder.token, "chat": tenant.thread("m"), "call": id, "user": tenant.oid("alice"),
        "message": message, "team": team, "channel": channel, "join_url": tenant.join_url("m"),
        "notify": format!("{}/api/notifications", recorder.url),
    });
    if let Some(text) = python("graph_client.py", Some(arguments), None).await {
        assert!(text.contains("read: chat, members, messages"), "{text}");
        assert_eq!(tenant.ledger().violations, Vec::<String>::new());
    }
}

#[tokio::test]
async fn msal_gets_tokens_by_secret_and_by_certificate() {
    let tenant = start(quiet(""), "http://127.0.0.1:1").await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
    tenant.register_certificate(&certificate.pem());
    let arguments = json!({
        "base": tenant.base_url(), "tenant": tenant.tenant_id(), "client": tenant.client_id(),
        "secret": tenant.client_secret(), "key": pair.serialize_pem(), "certificate": certificate.pem(),
    });
    if python("graph_login.py", Some(arguments), None).await.is_some() {
        let ledger = tenant.ledger();
        assert_eq!((ledger.tokens.values().sum::<u32>(), ledger.refused_tokens), (3, 1));
        assert!(ledger.violations.is_empty());
    }
}

#[tokio::test]
async fn pyjwt_and_openssl_validate_and_decrypt_what_is_sent() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    recorder.subscribe("/chats/getAllMessages?model=A").await;
    tenant.invite_call(Invite::new("m", "alice", CallKind::Meeting)).unwrap();
    tenant.act(&Act::Install { chat: "m".to_owned(), by: "alice".to_owned(), on: true }).unwrap();
    tenant.say("m", "alice", Words::plain("Grüezi 日本")).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    let got: Vec<Value> =
        recorder.got().into_iter().map(|g| json!({ "path": g.path, "token": g.token, "body": g.body })).collect();
    let input = json!({
        "base": recorder.base, "client": tenant.client_id(), "tenant": tenant.tenant_id(),
        "key": recorder.key_pem(), "got": got,
    });
    python("graph_webhook.py", None, Some(input)).await;
}
