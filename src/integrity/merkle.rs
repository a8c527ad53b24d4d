//! The append-only tree of RFC 6962 and RFC 9162.

use sha2::{Digest, Sha256};

/// One hash of the tree.
pub type Hash = [u8; 32];

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1u8]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the empty log: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of the tree: what appending needs to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// Number of leaves.
    pub size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Of the log without leaves.
    pub fn empty() -> Self {
        Frontier { size: 0, peaks: Vec::new() }
    }

    /// From the roots of the complete subtrees of `size` leaves, largest first.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Self {
        Frontier { size, peaks }
    }

    /// Appends a leaf hash; tells each subtree that it completes (level from 1, index from 0).
    pub fn append(&mut self, leaf: Hash, completed: &mut impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        let mut index = self.size;
        let mut level = 0u8;
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            completed(level, index, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Root of the tree as it stands.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }
}

/// Where nodes are read from.
pub trait Nodes {
    /// Why a node cannot be read.
    type Error;

    /// The node of a complete subtree; level 0 is the leaves, index from 0 (= seq - 1).
    ///
    /// # Errors
    /// When the store cannot answer.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Root over the first `size` leaves.
///
/// # Errors
/// Those of the store.
pub fn root_at<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    let mut root: Option<Hash> = None;
    for level in 0..64u8 {
        if size >> level & 1 == 1 {
            let peak = nodes.node(level, (size >> level) - 1)?;
            root = Some(match root {
                Some(right) => node_hash(&peak, &right),
                None => peak,
            });
        }
    }
    Ok(root.unwrap_or_else(empty_root))
}
