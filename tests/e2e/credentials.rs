//! A wrong password must not lock the account, and nothing secret or said may get into logs.

use std::time::Duration;

use crate::rig::{Rig, scenario};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_twice_at_most_by_check() {
    let rig = Rig::new(scenario("", ""), "").await;
    rig.set_password("wrong&password%41");
    let output = rig.run(&["check"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(told.contains("FAIL") && told.contains("password"), "{told}");
    assert!(!told.contains("wrong&password%41"), "{told}");
    let ledger = rig.pool.ledger();
    assert!((1..=2).contains(&ledger.refused_passwords), "{} tries", ledger.refused_passwords);
    assert_eq!(ledger.applications, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_leaves_serve_up_with_an_alarm_and_is_not_hammered() {
    let rig = Rig::new(scenario("", ""), "").await;
    rig.set_password("wrong&password%41");
    let mut recorder = rig.start();
    let why = loop {
        let why = recorder.readyz(503, Duration::from_secs(10)).await;
        if why.contains("password") {
            break why;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    };
    assert!(why.contains("connector sfb"), "{why}");
    // That something does not happen can only be seen by letting time pass.
    let more = rig.pool.wait_ledger(Duration::from_secs(10), |l| l.refused_passwords > 2).await;
    assert!(!more, "{} tries within 10 s", rig.pool.ledger().refused_passwords);
    assert_eq!(recorder.get("/healthz").await.0, 200);
    assert_eq!(recorder.get("/readyz").await.0, 503);
    let log = recorder.log();
    recorder.terminate().await;
    assert_eq!(log.text().matches("ERROR").count(), 1, "{}", log.text());
    assert!(!log.text().contains("wrong&password%41"), "{}", log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_works_and_signs_out_again() {
    let rig = Rig::new(scenario("", ""), "").await;
    let lines = rig.json(&["check", "--json"]).await;
    assert!(lines.len() > 5, "{lines:?}");
    assert!(lines.iter().all(|line| line["outcome"] == "good"), "{lines:?}");
    assert!(lines.iter().any(|line| line.to_string().contains("messageArchiving")), "{lines:?}");
    let text = rig.ask(&["check"], 0).await;
    assert!(!text.contains(&rig.pool.password()), "{text}");
    let ledger = rig.pool.ledger();
    assert_eq!(ledger.applications, 2);
    let signed_out = ledger.entries.iter().filter(|e| e.detail.contains("deleted by the client")).count();
    assert_eq!(signed_out, 2);
    assert_eq!(ledger.refused_passwords, 0);
    assert_eq!(ledger.complaints, Vec::<String>::new());
}
