//! Search over real archives on real disks: what is found, in which order, and what the index survives.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod following;
mod kills;
mod paging;
mod support;
mod words;
