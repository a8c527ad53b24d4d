//! Exports, read back by readers of other hands and compared with the archive.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod review;
