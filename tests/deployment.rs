//! The real binary opposite a deployment that shares nothing with it: `counterparts/deployment.py`, a small UCWA server in
//! another language, written from the protocol description and the payload samples alone. The scenarios and what the
//! contract promises for each are in `counterparts/deployment_*.py`; run one with
//! `python3 tests/counterparts/deployment_check.py --log --events chat`.

use std::process::{Command, Stdio};

#[test]
fn the_contract_is_kept_opposite_an_independent_deployment() {
    let output = Command::new("python3")
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counterparts/deployment_check.py"))
        .args(["--binary", env!("CARGO_BIN_EXE_greffier"), "--log"])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::null())
        .output()
        .expect("python3 is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" 0 deviations"), "{said}");
}
