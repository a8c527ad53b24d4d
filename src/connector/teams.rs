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
pub mod backfill;
pub mod budget;
pub mod config;
pub mod fact;
pub mod identity;
pub mod moment;
pub mod plan;
pub mod subscription;
