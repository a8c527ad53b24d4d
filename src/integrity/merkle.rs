//! The append-only tree of RFC 6962 and RFC 9162: roots, inclusion proofs, consistency proofs.
//!
//! Only subtrees that are complete are ever stored, so a stored node never changes. What lies at the right edge is put
//! together from at most one node per level. Source: RFC 9162, section 2.1.

use sha2::{Digest, Sha256};

/// One hash of the tree.
pub type Hash = [u8; 32];

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1u8]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the log without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of the tree: all that appending has to remember.
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

    /// From the roots of the complete subtrees that `size` leaves consist of, largest first: one per set bit of `size`.
    ///
    /// # Panics
    /// In debug builds, when the number of peaks does not fit the size.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Self {
        debug_assert_eq!(u32::try_from(peaks.len()).ok(), Some(size.count_ones()), "one peak per set bit");
        Frontier { size, peaks }
    }

    /// Appends a leaf hash and tells each subtree that it completes: level from 1, index from 0, hash.
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

    /// The root of a complete subtree. Level 0 is the leaves, whose index is seq - 1; node `(level, index)` covers the
    /// leaves from `index·2^level` up to, but without, `(index + 1)·2^level`.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &N {
    type Error = N::Error;
    fn node(&self, level: u8, index: u64) -> Result<Hash, N::Error> {
        (**self).node(level, index)
    }
}

/// Root over the leaves from `begin` up to, but without, `end`, where `begin` is a multiple of a power of two that is
/// not smaller than the number of leaves: then every complete part is a stored node.
fn range_root<N: Nodes>(nodes: &N, begin: u64, end: u64) -> Result<Hash, N::Error> {
    let count = end - begin;
    let mut root: Option<Hash> = None;
    let mut right = end;
    for level in 0..64u8 {
        if count >> level & 1 == 1 {
            right -= 1 << level;
            let peak = nodes.node(level, right >> level)?;
            root = Some(root.map_or(peak, |below| node_hash(&peak, &below)));
        }
    }
    Ok(root.unwrap_or_else(empty_root))
}

/// Root over the first `size` leaves.
///
/// # Errors
/// Those of the store.
pub fn root_at<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    range_root(nodes, 0, size)
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// Proof that the leaf with this index (seq - 1) is in the log of `size` leaves: the siblings from the leaf up to the
/// root (RFC 9162, section 2.1.3.1). Empty, and of no use, if `leaf` is not below `size`.
///
/// # Errors
/// Those of the store.
pub fn inclusion_proof<N: Nodes>(nodes: &N, leaf: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    if leaf >= size {
        return Ok(path);
    }
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if leaf < middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the log of `old` leaves is the beginning of the log of `new` leaves (RFC 9162, section 2.1.4.1). Empty if
/// `old` is 0 or not below `new`.
///
/// # Errors
/// Those of the store.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0, new);
    // While nothing has been cut off on the left, the verifier knows the root of the old part: it is the old root.
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    if begin != 0 {
        proof.push(range_root(nodes, begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `path` proves that `leaf` is the leaf with this index (seq - 1) in the log of `size` leaves with this root.
/// Source: RFC 9162, section 2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` proves that the log of `old` leaves is the beginning of the log of `new` leaves.
/// Source: RFC 9162, section 2.1.4.2; the empty log is the beginning of every log.
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut rest = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests;
