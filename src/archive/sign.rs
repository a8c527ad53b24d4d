//! The checkpoint key as the archive's signer.

use super::CheckpointSigner;
use crate::integrity::checkpoint::{SigningKey, Statement};
use crate::integrity::merkle::Hash;
use crate::model::Timestamp;

impl CheckpointSigner for SigningKey {
    fn sign(&self, origin: &str, size: u64, root: &Hash, at: Timestamp) -> String {
        self.sign(&Statement { origin: origin.to_owned(), size, root: *root, time: Some(at) })
    }
}
