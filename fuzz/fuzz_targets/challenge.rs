//! Any `WWW-Authenticate` fields, one per line: no panic; an offer always has an address.
#![no_main]

use greffier_fuzz::connector::ucwa::challenge::{Challenge, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let fields: Vec<String> = input.lines().map(str::to_owned).collect();
    for challenge in parse(&fields) {
        if let Challenge::MsRtcOauth { href, grants } = challenge {
            assert!(!href.trim().is_empty());
            assert!(grants.iter().all(|grant| !grant.is_empty() && !grant.contains(',')));
        }
    }
});
