//! Encrypted change notifications: the key pairs that messages are sealed for, and how they are opened (digest §13).
//!
//! The service seals each item with a key of its own and that key with our certificate. Envelopes keep what arrived, so
//! pairs are kept for ever: without its pair an old envelope could not be read again.

pub mod open;
pub mod pair;
pub mod store;

pub use open::{OpenFailure, open};
pub use pair::Pair;
pub use store::KeyStore;
