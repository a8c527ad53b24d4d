//! Proofs end to end: real archives, audited as they are and after tampering, exported, and checked by a stranger.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod attachments;
mod export;
mod formats;
mod support;
mod tamper;
mod vectors;
