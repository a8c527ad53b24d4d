//! The pinned examples of `tests/vectors`: checked here and, by another hand, in `verify_export.py`.

use greffier::integrity::checkpoint::{Note, SigningKey, Statement, VerifyingKey};
use greffier::integrity::leaf::{Header, commitment};
use greffier::integrity::merkle::{Frontier, Hash, verify_consistency, verify_inclusion};
use greffier::integrity::{hash_from_hex, hex};
use greffier::model::{Content, Timestamp};
use serde_json::Value;

use crate::support::python;

fn vectors(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hash(value: &Value) -> Hash {
    hash_from_hex(value.as_str().unwrap()).unwrap()
}

fn hashes(list: &Value) -> Vec<Hash> {
    list.as_array().unwrap().iter().map(hash).collect()
}

#[test]
fn leaves_are_made_as_pinned() {
    for vector in vectors("leaf.json").as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let content: Content = serde_json::from_value(vector["content"].clone()).unwrap();
        let canonical = content.canonical();
        assert_eq!(String::from_utf8_lossy(&canonical), text("canonical"), "{}", text("name"));
        let committed = commitment(&hash(&vector["salt"]), &canonical);
        assert_eq!(hex(&committed), text("commitment"));
        let header = Header {
            origin: text("origin"),
            seq: vector["seq"].as_u64().unwrap(),
            connector: text("connector"),
            conversation: text("conversation"),
            kind: text("kind"),
            source_time: vector["source_time"].as_i64(),
            recorded_at: vector["recorded_at"].as_i64().unwrap(),
            envelope: vector.get("envelope").map(hash),
            content: committed,
        };
        assert_eq!(String::from_utf8(header.canonical()).unwrap(), text("header"));
        assert_eq!(hex(&header.leaf_hash()), text("leaf"));
    }
}

#[test]
fn trees_are_made_as_pinned() {
    let tree = vectors("tree.json");
    let (leaves, roots) = (hashes(&tree["leaves"]), hashes(&tree["roots"]));
    let mut frontier = Frontier::empty();
    for (n, root) in roots.iter().enumerate() {
        assert_eq!(frontier.root(), *root, "{n} leaves");
        if let Some(leaf) = leaves.get(n) {
            frontier.append(*leaf, &mut |_, _, _| {});
        }
    }
    let number = |value: &Value| value.as_u64().unwrap();
    for proof in tree["inclusion"].as_array().unwrap() {
        let (index, size) = (number(&proof["index"]), number(&proof["size"]));
        let path = hashes(&proof["path"]);
        assert!(
            verify_inclusion(&leaves[index as usize], index, size, &path, &roots[size as usize]),
            "{index} of {size}"
        );
    }
    for proof in tree["consistency"].as_array().unwrap() {
        let (old, new) = (number(&proof["old"]), number(&proof["new"]));
        let path = hashes(&proof["proof"]);
        assert!(verify_consistency(old, new, &roots[old as usize], &roots[new as usize], &path), "{old} to {new}");
    }
}

#[test]
fn checkpoints_are_signed_and_refused_as_pinned() {
    for vector in vectors("checkpoint.json").as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let key = VerifyingKey::parse(text("vkey")).unwrap();
        let statement = Statement {
            origin: text("origin").into(),
            size: vector["size"].as_u64().unwrap(),
            root: hash(&vector["root"]),
            time: Timestamp::parse_rfc3339(text("time")),
        };
        let said = Note::parse(text("note")).and_then(|note| note.verify(std::slice::from_ref(&key)));
        assert_eq!(said.ok(), vector["good"].as_bool().unwrap().then(|| statement.clone()), "{}", text("name"));
        let signing = SigningKey::from_seed(text("origin"), &hash(&vector["seed"])).unwrap();
        assert_eq!(signing.verifying_key(), key);
        if text("name") == "ours" {
            assert_eq!(signing.sign(&statement), text("note"));
        }
    }
}

#[test]
fn the_independent_verifier_agrees_with_every_vector() {
    let (status, said) = python(&["--vectors", &format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"))]);
    assert_eq!(status, 0, "{said}");
}
