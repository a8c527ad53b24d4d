//! The real binary opposite a Microsoft tenant that shares nothing with it: `counterparts/tenant.py`, written in another
//! language from the protocol description and the payload samples alone. The scenarios and what the contract promises for
//! each are in `counterparts/tenant_*.py`, a group a file; run one with
//! `"$(sh tests/counterparts/graph_setup.sh)" -B tests/counterparts/tenant_check.py --log --events one_call_from_offer_to_end`.

use std::process::{Command, Output, Stdio};

const PYTHON: &str = "GREFFIER_GRAPH_PYTHON";

/// Runs a script below `counterparts` with the Python that has what the tenant needs; `None`, and a word, without one.
fn python(script: &str, arguments: &[&str]) -> Option<Output> {
    let Ok(python) = std::env::var(PYTHON) else {
        println!("skipped: no python with PyJWT and cryptography ({PYTHON})");
        return None;
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counterparts");
    let output = Command::new(python)
        .arg("-B")
        .arg(format!("{folder}/{script}"))
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::null())
        .output()
        .expect("the configured python starts");
    Some(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn play(group: &str) {
    let binary = env!("CARGO_BIN_EXE_greffier");
    if let Some(output) = python("tenant_check.py", &["--binary", binary, "--log", "--group", group]) {
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(" 0 deviations"), "{said}");
    }
}

#[test]
fn the_tenant_itself_is_judged_by_the_published_vector_and_by_foreign_clients() {
    if let Some(output) = python("tenant_self.py", &[]) {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn calls_are_answered_in_time_and_in_the_configured_words() {
    play("answer");
}

#[test]
fn calls_are_recorded_from_the_answer_to_the_end() {
    play("calls");
}

#[test]
fn rosters_are_understood_whole_and_by_deltas() {
    play("roster");
}

#[test]
fn only_tokens_of_the_right_kind_are_believed() {
    play("tokens");
}

#[test]
fn subscriptions_are_kept_alive_and_their_loss_is_said() {
    play("subscriptions");
}

#[test]
fn every_version_of_a_message_is_archived() {
    play("messages");
}

#[test]
fn what_was_never_told_is_found_by_reading() {
    play("backfill");
}

#[test]
fn bot_activities_are_invitations_and_second_witnesses() {
    play("bot");
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash() {
    play("faults");
}

#[test]
fn a_full_disk_is_told_to_the_people_in_a_call_and_loses_nothing() {
    play("disk");
}

#[test]
fn new_secrets_are_taken_up_without_a_restart() {
    play("secrets");
}

#[test]
fn calls_legs_and_chats_that_belong_together_are_one() {
    play("links");
}

#[test]
fn odd_payloads_silence_and_kills_lose_nothing() {
    play("odd");
}

#[test]
fn what_was_recorded_is_found_exported_and_verified() {
    play("reading");
}

#[test]
fn tokens_and_activities_are_judged_as_by_foreign_programs() {
    if std::env::var_os("GREFFIER_BOT_MODULES").is_none() {
        println!("skipped: no bot library (GREFFIER_BOT_MODULES)");
        return;
    }
    play("oracle");
}
