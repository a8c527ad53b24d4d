//! A client that none of us wrote (the PyPI package `ucwa`) registers, accepts and reads a message.

use std::process::{Command, Stdio};

use greffier::simulate::Fate;

use crate::start_text;

const SCENARIO: &str = r#"
title = "an independent client"
[pool]
medium_ms = 100
poll_timeout_ms = 3000
[[person]]
id = "alice"
address = "sip:alice@contoso.example"
name = "Alice"
[[step]]
do = "wait_for"
what = "available"
[[step]]
do = "invite_chat"
in = "chat"
by = "alice"
text = "First words"
[[step]]
do = "wait_for"
what = "connected"
in = "chat"
[[step]]
do = "say"
in = "chat"
by = "alice"
text = "Grüezi 日本"
[[step]]
do = "wait_for"
what = "acknowledged"
"#;

#[tokio::test]
async fn an_independent_client_registers_accepts_and_reads() {
    let Ok(python) = std::env::var("GREFFIER_UCWA_PYTHON") else {
        println!("skipped: no python with the ucwa package (GREFFIER_UCWA_PYTHON)");
        return;
    };
    let pool = start_text(SCENARIO).await;
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counterparts/ucwa_client.py"))
        .args([pool.pool_url(), pool.username(), pool.password(), "Grüezi 日本".to_owned()])
        .env("PYTHONIOENCODING", "utf-8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("understood: Grüezi 日本"), "{text}");
    let ledger = pool.ledger();
    assert!(ledger.said().last().unwrap().fate >= Fate::Fetched);
}
