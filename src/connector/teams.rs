//! Microsoft Teams: calls through the Graph communications API, chats through change notifications and paging, bot
//! activities as a second witness.
//!
//! Three ways in, each with its own proof of who speaks: **A** call notifications, **B** Graph change notifications,
//! **C** Bot Framework activities. Everything that arrives is stored before it is answered, and read afterwards, by
//! machines and functions that know no socket.
//!
//! Source of the protocol's rules, wherever a section is named: the digest of Microsoft's documents that this connector
//! was built from; how far each statement can be trusted is said there.

pub mod ask;
pub mod assertion;
pub mod certificate;
mod check;
pub mod cloud;
pub mod config;
pub mod fact;
pub mod identity;
mod listener;
pub mod moment;
pub mod seal;
pub mod token;
pub mod trust;

pub use check::check;

use crate::connector::{ConnectorError, Context};

/// Records until told to stop.
///
/// # Errors
/// Always, on this branch: the driver brings its own.
pub async fn run(config: config::ResolvedTeams, _context: Context) -> Result<(), ConnectorError> {
    let problem = "the Teams driver is not part of this build".to_owned();
    Err(ConnectorError::Configuration { connector: config.source.connector, problem })
}
