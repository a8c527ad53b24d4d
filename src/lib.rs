//! Greffier: a recorder that is invited to conversations and keeps a record that can be trusted.
//!
//! A [`connector`] receives, the [`archive`] keeps, [`integrity`] proves, the [`index`] finds, the [`viewer`] shows and [`export`]
//! hands over; [`cli`] is what people type, and [`model`] the words that all of them use. The life of a message, of a search and
//! of a page through these modules, and who may know whom: `ARCHITECTURE.md`.

pub mod archive;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connector;
pub mod export;
pub mod harmless;
pub mod health;
pub mod index;
pub mod integrity;
pub mod listen;
pub mod model;
pub mod simulate;
pub mod telemetry;
pub mod viewer;

// The sample archive is shared with tests outside, which know this crate by its name.
#[cfg(test)]
extern crate self as greffier;
#[cfg(test)]
#[path = "../tests/support/archive.rs"]
#[allow(dead_code)]
mod sample;
