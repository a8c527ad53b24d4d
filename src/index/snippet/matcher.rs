//! Finds the words of a query in texts.

use std::collections::HashMap;
use std::ops::Range;

use super::window;
use crate::index::Snippet;
use crate::index::analysis::{Pattern, pattern, tokens};
use crate::index::query::{Query, Words};

/// Of longer texts only so many bytes are searched for a snippet if something is found in them.
const ENOUGH: usize = 64 * 1024;

/// The words that a query seeks, ready to be looked for in texts.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    /// Tokens, and the slots they fill.
    exact: HashMap<String, Vec<Place>>,
    /// Beginnings of tokens, and the slots they fill.
    prefixes: Vec<(String, Place)>,
}

/// A slot of a pattern.
#[derive(Clone, Copy, Debug)]
struct Place {
    pattern: usize,
    slot: usize,
}

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes of the text.
    pub(super) at: Range<usize>,
    /// Which of the query's words.
    pub(super) pattern: usize,
}

/// A token that fills a slot.
#[derive(Clone, Copy)]
struct Filled {
    position: u32,
    from: usize,
    to: usize,
}

impl Matcher {
    /// Looks for the words of this query.
    pub fn new(query: &Query) -> Matcher {
        Matcher::of(&query.terms())
    }

    /// Looks for these words.
    pub fn of(words: &[&Words]) -> Matcher {
        let mut matcher = Matcher::default();
        for words in words {
            let pattern = pattern(words);
            if pattern.slots.is_empty() || matcher.patterns.contains(&pattern) {
                continue;
            }
            for (slot, asked) in pattern.slots.iter().enumerate() {
                let place = Place { pattern: matcher.patterns.len(), slot };
                for term in &asked.any {
                    if asked.prefix {
                        matcher.prefixes.push((term.clone(), place));
                    } else {
                        matcher.exact.entry(term.clone()).or_default().push(place);
                    }
                }
            }
            matcher.patterns.push(pattern);
        }
        matcher
    }

    /// As [`super::marks`].
    pub fn marks(&self, text: &str) -> Vec<Range<usize>> {
        let mut merged: Vec<Range<usize>> = Vec::new();
        for mark in self.find(text) {
            match merged.last_mut() {
                Some(last) if mark.at.start < last.end => last.end = last.end.max(mark.at.end),
                _ => merged.push(mark.at),
            }
        }
        merged
    }

    /// As [`super::snippet`].
    pub fn snippet(&self, text: &str, max_chars: usize) -> Snippet {
        let mut marks = Vec::new();
        if text.len() > 2 * ENOUGH {
            let end = (ENOUGH..ENOUGH + 4).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
            // The last word may be half of one.
            let end = text[..end].rfind(char::is_whitespace).unwrap_or(end);
            marks = self.find(&text[..end]);
        }
        if marks.is_empty() {
            marks = self.find(text);
        }
        window::cut(text, &marks, max_chars)
    }

    /// All matches, by where they begin.
    pub(super) fn find(&self, text: &str) -> Vec<Mark> {
        let mut found: Vec<Mark> = Vec::new();
        if self.patterns.is_empty() {
            return found;
        }
        let mut filled: Vec<Vec<Vec<Filled>>> =
            self.patterns.iter().map(|pattern| vec![Vec::new(); pattern.slots.len()]).collect();
        tokens(text, &mut |token| {
            let exact = self.exact.get(token.text).into_iter().flatten();
            let begun = self.prefixes.iter().filter(|(term, _)| token.text.starts_with(term.as_str()));
            for place in exact.chain(begun.map(|(_, place)| place)) {
                let slots = &self.patterns[place.pattern].slots;
                let mut to = token.to;
                if slots[place.slot].prefix && slots[place.slot].any[0].chars().nth(1).is_none() {
                    to = first_only(&text[token.from..token.to], &slots[place.slot].any[0])
                        .map_or(to, |n| token.from + n);
                }
                if slots.len() == 1 {
                    found.push(Mark { at: token.from..to, pattern: place.pattern });
                } else {
                    filled[place.pattern][place.slot].push(Filled { position: token.position, from: token.from, to });
                }
            }
        });
        for (number, slots) in filled.iter().enumerate() {
            self.in_a_row(number, slots, &mut found);
        }
        found.sort_by_key(|mark| (mark.at.start, mark.at.end));
        found
    }

    /// Adds what fills all slots of a pattern at the right distances.
    fn in_a_row(&self, number: usize, filled: &[Vec<Filled>], found: &mut Vec<Mark>) {
        let asked = &self.patterns[number].slots;
        let (Some(first), true) = (asked.first(), asked.len() > 1) else { return };
        'next: for start in &filled[0] {
            let mut at = start.from..start.to;
            for (slot, filled) in asked.iter().zip(filled).skip(1) {
                let position = start.position + (slot.at - first.at);
                let index = filled.partition_point(|other| other.position < position);
                match filled.get(index).filter(|other| other.position == position) {
                    Some(other) => at.end = at.end.max(other.to),
                    None => continue 'next,
                }
            }
            found.push(Mark { at, pattern: number });
        }
    }
}

/// Of a pair of characters that was found by its first: where that ends. `None` if it is a word.
fn first_only(original: &str, term: &str) -> Option<usize> {
    let first = original.chars().next()?;
    (!first.is_ascii() && term.starts_with(first)).then(|| first.len_utf8())
}
