//! The real binary, started as a user starts it, records from the simulated pool over real sockets; then the command line
//! is asked what is in the archive, and the answer is held against the pool's ledger.
//!
//! `rig` is a pool with a recorder's configuration and archive, `recorder` a running `greffier serve`, `viewer` its pages and
//! API, `record` what the archive says and how it compares. The other modules are the tests, one topic each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod record;
mod recorder;
mod rig;
mod viewer;

mod credentials;
mod disk;
mod faults;
mod find;
mod gaps;
mod handover;
mod index;
mod kills;
mod policy;
mod seed;
mod stops;
mod variants;
mod verbs;
