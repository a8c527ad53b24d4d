//! A query as text again, such that parsing it gives the same query.

use std::fmt::{self, Write};

use chrono::SecondsFormat;

use super::field::group_of;
use super::parse::{is_inside_word, is_quote, is_whole_word};
use super::{Filter, Node, Query, Words};
use crate::model::{Kind, Timestamp};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Node::All => Ok(()),
            root => node(root, f),
        }
    }
}

fn node(of: &Node, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match of {
        Node::All => f.write_str("*"),
        Node::And(nodes) => list(nodes, " ", f),
        Node::Or(nodes) => list(nodes, " OR ", f),
        Node::Not(inner) => {
            // A minus before signs is a sign.
            let word = match &**inner {
                Node::Words(Words::Word(text) | Words::Prefix(text)) => text.starts_with(char::is_alphanumeric),
                Node::Filter(_) | Node::And(_) | Node::Or(_) => true,
                _ => false,
            };
            f.write_str(if word { "-" } else { "NOT " })?;
            inside(inner, f)
        }
        Node::Words(words) => write!(f, "{words}"),
        Node::Filter(filter) => write!(f, "{filter}"),
    }
}

fn list(nodes: &[Node], between: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, of) in nodes.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        inside(of, f)?;
    }
    Ok(())
}

/// A node within another one.
fn inside(of: &Node, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if matches!(of, Node::And(_) | Node::Or(_)) {
        f.write_str("(")?;
        node(of, f)?;
        return f.write_str(")");
    }
    node(of, f)
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::Word(text) if is_whole_word(self) => f.write_str(text),
            Words::Prefix(text) if is_whole_word(self) => write!(f, "{text}*"),
            Words::Word(text) | Words::Phrase(text) => quoted(text, f),
            Words::Prefix(text) => {
                quoted(text, f)?;
                f.write_str("*")
            }
        }
    }
}

/// Quotes cannot stand inside quotes, and mean nothing to the search.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for (at, c) in text.char_indices() {
        f.write_char(if is_quote(c) && !is_inside_word(text, at) { ' ' } else { c })?;
    }
    f.write_str("\"")
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::From(words) => write!(f, "from:{}", Value(words)),
            Filter::With(words) => write!(f, "with:{}", Value(words)),
            Filter::In(words) => write!(f, "in:{}", Value(words)),
            Filter::Kind(kinds) => kinds_of(kinds, f),
            Filter::Platform(name) => write!(f, "platform:{}", Name(name)),
            Filter::Connector(name) => write!(f, "connector:{}", Name(name)),
            Filter::Conversation(id) => write!(f, "conversation:{id}"),
            Filter::Time { since: Some(since), until: Some(until) } => {
                write!(f, "on:{}..{}", exact(*since), exact(*until))
            }
            Filter::Time { since: Some(since), until: None } => write!(f, "after:{}", exact(*since)),
            Filter::Time { since: None, until: Some(until) } => write!(f, "before:{}", exact(*until)),
            Filter::Time { since: None, until: None } => f.write_str("*"),
            Filter::HasAttachment => f.write_str("has:attachment"),
            Filter::HasLink => f.write_str("has:link"),
            Filter::IsEdited => f.write_str("is:edited"),
            Filter::IsDeleted => f.write_str("is:deleted"),
        }
    }
}

fn exact(at: Timestamp) -> String {
    at.to_chrono().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn kinds_of(kinds: &[Kind], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("kind:")?;
    let mut rest = kinds;
    while let Some(first) = rest.first() {
        let group: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| group_of(*kind) == group_of(*first)).collect();
        let whole = rest.starts_with(&group);
        f.write_str(if whole { group_of(*first) } else { first.as_str() })?;
        rest = &rest[if whole { group.len() } else { 1 }..];
        if !rest.is_empty() {
            f.write_str(",")?;
        }
    }
    Ok(())
}

/// Words as the value of a field, where more signs mean something.
struct Value<'w>(&'w Words);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Words::Word(text) if is_value(text) => f.write_str(text),
            Words::Prefix(text) if is_value(text) => write!(f, "{text}*"),
            Words::Prefix(text) => {
                quoted(text, f)?;
                f.write_str("*")
            }
            Words::Word(text) | Words::Phrase(text) => quoted(text, f),
        }
    }
}

struct Name<'n>(&'n str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_value(self.0) { f.write_str(self.0) } else { quoted(self.0, f) }
    }
}

/// Whether it can stand after a field's colon without quotes.
fn is_value(text: &str) -> bool {
    super::parse::value_length(text) == text.len() && !text.is_empty() && !text.contains(['*', '＊'])
}
