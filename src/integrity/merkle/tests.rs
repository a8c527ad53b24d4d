use std::collections::HashMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

use super::*;
use crate::integrity::{hash_from_hex, hex};

/// Nodes in memory, as the archive stores them.
#[derive(Default)]
struct Store(HashMap<(u8, u64), Hash>);

impl Nodes for Store {
    type Error = (u8, u64);
    fn node(&self, level: u8, index: u64) -> Result<Hash, (u8, u64)> {
        self.0.get(&(level, index)).copied().ok_or((level, index))
    }
}

fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0u8]).chain_update(bytes).finalize().into()
}

/// Our log and the oracle over the same leaves.
fn grown(leaves: &[Vec<u8>]) -> (Frontier, Store, MemoryBackedTree<Sha256, Vec<u8>>) {
    let (mut frontier, mut store, mut oracle) = (Frontier::empty(), Store::default(), MemoryBackedTree::new());
    for (index, bytes) in leaves.iter().enumerate() {
        let leaf = leaf_hash(bytes);
        store.0.insert((0, index as u64), leaf);
        frontier.append(leaf, &mut |level, index, hash| {
            assert!(store.0.insert((level, index), hash).is_none(), "a node is told once");
        });
        oracle.push(bytes.clone());
    }
    (frontier, store, oracle)
}

fn numbered(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("leaf {i}").into_bytes()).collect()
}

/// The eight leaves and the roots that the Certificate Transparency projects test with.
#[test]
fn roots_of_the_well_known_log() {
    let leaves: Vec<Vec<u8>> =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|text| (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect())
            .collect();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, root) in roots.iter().enumerate() {
        let (frontier, store, _) = grown(&leaves[..size]);
        assert_eq!(hex(&frontier.root()), *root, "size {size}");
        assert_eq!(root_at(&store, size as u64), Ok(hash_from_hex(root).unwrap()));
    }
    // RFC 9162, section 2.1.5: the proof of the first leaf of seven is [b, h, l].
    let (_, store, _) = grown(&leaves[..7]);
    let path = inclusion_proof(&store, 0, 7).unwrap();
    let l = node_hash(&store.0[&(1, 2)], &store.0[&(0, 6)]);
    assert_eq!(path, vec![store.0[&(0, 1)], store.0[&(1, 1)], l]);
    // … of the seventh [i, k]; from three to seven [c, d, g, l]; from four [l]; from six [i, j, k].
    assert_eq!(inclusion_proof(&store, 6, 7).unwrap(), vec![store.0[&(1, 2)], store.0[&(2, 0)]]);
    let (c, d, g, i, j, k) =
        (store.0[&(0, 2)], store.0[&(0, 3)], store.0[&(1, 0)], store.0[&(1, 2)], store.0[&(0, 6)], store.0[&(2, 0)]);
    assert_eq!(consistency_proof(&store, 3, 7).unwrap(), vec![c, d, g, l]);
    assert_eq!(consistency_proof(&store, 4, 7).unwrap(), vec![l]);
    assert_eq!(consistency_proof(&store, 6, 7).unwrap(), vec![i, j, k]);
}

#[test]
fn every_proof_of_every_small_log_agrees_with_the_oracle() {
    for size in 0..=40 {
        let (frontier, store, oracle) = grown(&numbered(size));
        assert_eq!(frontier.root()[..], oracle.root().as_bytes()[..], "size {size}");
        let root = frontier.root();
        for index in 0..size {
            let path = inclusion_proof(&store, index, size).unwrap();
            let expected = oracle.prove_inclusion(index as usize);
            assert_eq!(path.concat(), expected.as_bytes(), "leaf {index} of {size}");
            assert!(verify_inclusion(&store.0[&(0, index)], index, size, &path, &root));
        }
        for old in 1..size {
            let proof = consistency_proof(&store, old, size).unwrap();
            let expected = oracle.prove_consistency((size - old) as usize);
            assert_eq!(proof.concat(), expected.as_bytes(), "{old} to {size}");
            assert!(verify_consistency(old, size, &root_at(&store, old).unwrap(), &root, &proof));
        }
        assert!(verify_consistency(0, size, &empty_root(), &root, &[]));
        assert!(verify_consistency(size, size, &root, &root, &[]));
    }
}

#[test]
fn every_flipped_bit_of_a_proof_breaks_it() {
    let (frontier, store, _) = grown(&numbered(11));
    let (root, old_root) = (frontier.root(), root_at(&store, 6).unwrap());
    let flipped = |hashes: &[Hash]| {
        let hashes = hashes.to_vec();
        (0..hashes.len() * 256).map(move |bit| {
            let mut bad = hashes.clone();
            bad[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            bad
        })
    };
    for index in 0..11 {
        let path = inclusion_proof(&store, index, 11).unwrap();
        for bad in flipped(&path) {
            assert!(!verify_inclusion(&store.0[&(0, index)], index, 11, &bad, &root));
        }
        assert!(!verify_inclusion(&store.0[&(0, index)], (index + 1) % 11, 11, &path, &root), "another place");
    }
    for bad in flipped(&consistency_proof(&store, 6, 11).unwrap()) {
        assert!(!verify_consistency(6, 11, &old_root, &root, &bad));
    }
}

#[test]
fn a_proof_out_of_range_proves_nothing() {
    let (frontier, store, _) = grown(&numbered(5));
    assert_eq!(inclusion_proof(&store, 5, 5), Ok(vec![]));
    assert!(!verify_inclusion(&store.0[&(0, 0)], 5, 5, &[], &frontier.root()));
    assert!(!verify_inclusion(&store.0[&(0, 0)], 0, 0, &[], &empty_root()));
    assert!(!verify_consistency(6, 5, &frontier.root(), &frontier.root(), &[]));
    assert_eq!(consistency_proof(&store, 6, 5), Ok(vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_hold_and_every_flipped_bit_breaks_them(
        leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 1..200),
        pick in any::<proptest::sample::Index>(),
        other in any::<proptest::sample::Index>(),
        bit in 0usize..256,
    ) {
        let (frontier, store, oracle) = grown(&leaves);
        let size = leaves.len() as u64;
        let root = frontier.root();
        let expected = oracle.root();
        prop_assert_eq!(&root[..], &expected.as_bytes()[..]);
        prop_assert_eq!(Frontier::from_parts(size, frontier.peaks().to_vec()).root(), root);

        let index = pick.index(leaves.len()) as u64;
        let leaf = store.0[&(0, index)];
        let path = inclusion_proof(&store, index, size).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, size, &path, &root));
        let flip = |hash: &Hash| { let mut h = *hash; h[bit / 8] ^= 1 << (bit % 8); h };
        prop_assert!(!verify_inclusion(&flip(&leaf), index, size, &path, &root));
        prop_assert!(!verify_inclusion(&leaf, index, size, &path, &flip(&root)));
        for at in 0..path.len() {
            let mut bad = path.clone();
            bad[at] = flip(&bad[at]);
            prop_assert!(!verify_inclusion(&leaf, index, size, &bad, &root));
            bad.remove(at);
            prop_assert!(!verify_inclusion(&leaf, index, size, &bad, &root));
        }
        let mut longer = path.clone();
        longer.push(root);
        prop_assert!(!verify_inclusion(&leaf, index, size, &longer, &root));

        let old = other.index(leaves.len()) as u64 + 1;
        let old_root = root_at(&store, old).unwrap();
        let proof = consistency_proof(&store, old, size).unwrap();
        prop_assert!(verify_consistency(old, size, &old_root, &root, &proof));
        prop_assert!(!verify_consistency(old, size, &flip(&old_root), &root, &proof));
        prop_assert!(!verify_consistency(old, size, &old_root, &flip(&root), &proof));
        for at in 0..proof.len() {
            let mut bad = proof.clone();
            bad[at] = flip(&bad[at]);
            prop_assert!(!verify_consistency(old, size, &old_root, &root, &bad));
            bad.remove(at);
            prop_assert!(!verify_consistency(old, size, &old_root, &root, &bad));
        }
    }
}
