//! What is asked of a parsed query.

use super::{Filter, Node, Query, Words};

impl Query {
    /// Whether it finds everything, as an empty text does.
    pub fn is_empty(&self) -> bool {
        self.root == Node::All
    }

    /// The words that hits have, in the order typed: those that are not excluded. Words of fields are not among them.
    pub fn terms(&self) -> Vec<&Words> {
        let mut terms = Vec::new();
        gather(&self.root, &mut terms);
        terms
    }

    /// This query, kept within a further condition.
    #[must_use]
    pub fn and(self, filter: Filter) -> Query {
        let mut all = Vec::new();
        push_all(&mut all, self.root);
        all.push(Node::Filter(filter));
        Query { root: together(all) }
    }
}

/// A parsed query is at most [`super::DEEPEST`] deep, so this may recurse.
fn gather<'q>(node: &'q Node, terms: &mut Vec<&'q Words>) {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| gather(node, terms)),
        Node::Words(words) => terms.push(words),
        Node::All | Node::Not(_) | Node::Filter(_) => {}
    }
}

/// Adds a condition to those of an `And`: one within the other is the same as one, and everything is no condition.
pub(super) fn push_all(all: &mut Vec<Node>, node: Node) {
    match node {
        Node::All => {}
        Node::And(nodes) => all.extend(nodes),
        node => all.push(node),
    }
}

/// Adds an alternative to those of an `Or`.
pub(super) fn push_any(any: &mut Vec<Node>, node: Node) {
    match node {
        Node::Or(nodes) => any.extend(nodes),
        node => any.push(node),
    }
}

/// All of these.
pub(super) fn together(mut nodes: Vec<Node>) -> Node {
    match nodes.len() {
        0 => Node::All,
        1 => nodes.swap_remove(0),
        _ => Node::And(nodes),
    }
}

/// Not this; the opposite of the opposite is the thing itself.
pub(super) fn not(node: Node) -> Node {
    match node {
        Node::Not(inner) => *inner,
        node => Node::Not(Box::new(node)),
    }
}
