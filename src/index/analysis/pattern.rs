//! From the words of a query to the tokens that are asked for.

use super::{Role, fold, tokens};
use crate::index::query::Words;

/// Tokens that must occur at places fixed to each other: what [`Words`] mean to the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// In order of place; one alone is a plain term. Empty if the words hold nothing that is indexed.
    pub slots: Vec<Slot>,
}

/// One place of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Place; only differences count. They may be greater than 1.
    pub at: u32,
    /// Tokens of which any will do; never empty, rarely two.
    pub any: Vec<String>,
    /// Whether tokens that only begin with one of them will do.
    pub prefix: bool,
}

impl Slot {
    /// Whether a token will do.
    pub fn takes(&self, token: &str) -> bool {
        self.any.iter().any(|term| if self.prefix { token.starts_with(term.as_str()) } else { token == term })
    }
}

/// What must occur for the words to be found.
///
/// A single character of Chinese, Japanese, Korean, Thai … is asked for as a prefix, since texts hold pairs. The star of
/// a prefix counts for the last token.
pub fn pattern(words: &Words) -> Pattern {
    let (text, star) = match words {
        Words::Word(text) | Words::Phrase(text) => (text, false),
        Words::Prefix(text) => (text, true),
    };
    let mut slots: Vec<Slot> = Vec::new();
    let mut signs: Vec<Slot> = Vec::new();
    let mut end = 0;
    tokens(text, &mut |token| {
        let slot = || Slot { at: token.position, any: vec![token.text.to_owned()], prefix: false };
        match token.role {
            Role::Word => {
                slots.push(slot());
                end = token.to;
            }
            Role::Spelling => {
                if let Some(slot) = slots.last_mut() {
                    slot.any.push(token.text.to_owned());
                }
            }
            Role::Sign => signs.push(Slot { at: u32::try_from(signs.len()).unwrap_or(u32::MAX), ..slot() }),
            Role::Part => {}
        }
    });
    if slots.is_empty() {
        // Signs take no position, so only the first can be asked for.
        signs.truncate(1);
        return Pattern { slots: signs };
    }
    let last = slots.len() - 1;
    for (i, slot) in slots.iter_mut().enumerate() {
        let mut chars = slot.any[0].chars();
        let gram = chars.next().is_some_and(fold::is_gram);
        let alone = chars.next().is_none();
        slot.prefix = if gram { alone } else { star && i == last && end == text.len() };
    }
    Pattern { slots }
}
