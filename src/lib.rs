//! Greffier: a recorder that is invited to conversations and keeps a record that can be trusted.

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
pub mod model;
pub mod simulate;
pub mod telemetry;
pub mod viewer;
