//! Microsoft Teams: calls through the Graph communications API, chats through change notifications and paging, bot
//! activities as a second witness.
//!
//! Three ways in, each with its own proof of who speaks: **A** call notifications, **B** Graph change notifications,
//! **C** Bot Framework activities. Everything that arrives is stored before it is answered, and read afterwards, by
//! machines and functions that know no socket.
//!
//! Source of the protocol's rules, wherever a section is named: the digest of Microsoft's documents that this connector
//! was built from; how far each statement can be trusted is said there.

pub mod accept;
pub mod activity;
pub mod ask;
pub mod assertion;
pub mod backfill;
pub mod budget;
pub mod call;
mod calls;
pub mod certificate;
pub mod change;
mod chats;
mod check;
mod client;
pub mod cloud;
pub mod config;
mod conversations;
mod credentials;
mod desk;
pub mod destination;
mod driver;
pub mod fact;
mod gate;
pub mod identity;
mod listener;
pub mod look;
pub mod media;
pub mod meeting;
pub mod member;
pub mod membership;
pub mod message;
pub mod moment;
pub mod notice;
pub mod offer;
pub mod plan;
mod purse;
pub mod request;
mod ring;
pub mod roster;
pub mod seal;
pub mod subscription;
pub mod token;
pub mod trust;
mod upkeep;
mod webhook;

#[cfg(test)]
mod samples;

pub use check::check;
pub use driver::run;
