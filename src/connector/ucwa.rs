//! Skype for Business Server through UCWA 2.0.
//!
//! Plain functions over what the server sends (`wire`, `datauri`, `challenge`), machines without sockets (`courier` for
//! tickets, `discovery` for the way to the pool, `session` for everything after), and around them the sockets
//! (`transport`) and the sink (`driver`). `check` signs in step by step for an administrator.

pub mod challenge;
pub mod check;
pub mod config;
pub mod courier;
pub mod datauri;
pub mod discovery;
pub mod driver;
pub mod http;
pub mod origin;
pub mod session;
mod transport;
pub mod wire;

pub use check::check;
pub use driver::run;
