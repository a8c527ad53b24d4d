//! Skype for Business Server through UCWA 2.0.

pub mod challenge;
pub mod config;
pub mod courier;
pub mod datauri;
pub mod discovery;
pub mod http;
pub mod origin;
pub mod wire;
