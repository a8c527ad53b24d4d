//! The table of what is found in which language: `tests/fixtures/search/languages.tsv`.

use super::query::{Calendar, Node, Query, parse};
use super::snippet::Matcher;
use crate::model::Timestamp;

/// One line of the table.
pub(crate) struct Case {
    /// Number of the line, for messages.
    pub(crate) line: usize,
    /// ISO 639-1, or `-`.
    pub(crate) language: &'static str,
    /// Text of a message.
    pub(crate) text: String,
    /// The query as typed.
    pub(crate) query: String,
    /// Whether the query finds the text.
    pub(crate) found: bool,
}

/// The table.
pub(crate) fn cases() -> Vec<Case> {
    let table = include_str!("../../tests/fixtures/search/languages.tsv");
    let mut cases = Vec::new();
    for (number, line) in table.lines().enumerate() {
        if line.is_empty() || line == "#" || line.starts_with("# ") {
            continue;
        }
        let number = number + 1;
        let [language, text, query, found, _comment] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("line {number}: not five columns");
        };
        let found = match found {
            "yes" => true,
            "no" => false,
            _ => panic!("line {number}: neither yes nor no"),
        };
        cases.push(Case { line: number, language, text: unescaped(text), query: unescaped(query), found });
    }
    cases
}

/// `\n`, `\\` and `\u{…}`.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (c, end) = match after.as_bytes() {
            [b'n', ..] => ('\n', 1),
            [b'\\', ..] => ('\\', 1),
            [b'u', b'{', ..] => {
                let end = after.find('}').expect("closed");
                (u32::from_str_radix(&after[2..end], 16).ok().and_then(char::from_u32).expect("character"), end + 1)
            }
            _ => panic!("unknown escape in {text}"),
        };
        out.push(c);
        rest = &after[end..];
    }
    out + rest
}

/// How dates of the table's queries are read.
pub(crate) fn calendar() -> Calendar {
    Calendar { now: Timestamp(0), zone: chrono_tz::UTC }
}

/// The query over one text, without an index.
fn finds(node: &Node, text: &str) -> bool {
    match node {
        Node::All => true,
        Node::And(nodes) => nodes.iter().all(|node| finds(node, text)),
        Node::Or(nodes) => nodes.iter().any(|node| finds(node, text)),
        Node::Not(node) => !finds(node, text),
        Node::Words(words) => !Matcher::of(&[words]).marks(text).is_empty(),
        Node::Filter(filter) => panic!("the table is about words, not {filter}"),
    }
}

#[test]
fn the_table_holds_for_the_analysis() {
    let cases = cases();
    let languages: std::collections::BTreeSet<_> = cases.iter().map(|case| case.language).collect();
    assert!(cases.len() >= 120 && languages.len() >= 12, "{} cases in {languages:?}", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let found = match parse(&case.query, &calendar()) {
                Ok(Query { root }) => finds(&root, &case.text),
                Err(error) => return Some(format!("line {}: {error}", case.line)),
            };
            (found != case.found).then(|| {
                let Case { line, text, query, found, .. } = case;
                format!("line {line}: {query:?} in {text:?} should be found: {found}")
            })
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
