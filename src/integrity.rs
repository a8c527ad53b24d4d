//! What is proven about the archive, and how.

pub mod leaf;
pub mod merkle;
