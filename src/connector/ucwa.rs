//! Skype for Business Server through UCWA 2.0.

pub mod config;
pub mod datauri;
pub mod http;
pub mod wire;
