//! Where a text matches a query, and the piece of it that shows this best.
//!
//! The index holds no text and no offsets; the text from the archive is analysed again, by the same analysis, so that
//! what is marked is what was found.

mod matcher;
mod window;

use std::borrow::Cow;
use std::ops::Range;

pub use matcher::Matcher;

use super::Snippet;
use super::query::Query;
use crate::harmless;

/// The part of a text that matches best, of at most `max_chars` characters; its beginning, if no words are sought or
/// the text was found for something else than its words.
///
/// For many texts and one query make a [`Matcher`] once.
pub fn snippet(text: &str, query: &Query, max_chars: usize) -> Snippet {
    Matcher::new(query).snippet(text, max_chars)
}

/// Where the words of a query are in a text: ranges of bytes, in order, apart from each other, none empty.
///
/// Words that the query excludes are not marked. For many texts and one query make a [`Matcher`] once.
pub fn marks(text: &str, query: &Query) -> Vec<Range<usize>> {
    Matcher::new(query).marks(text)
}

impl Snippet {
    /// As HTML: escaped, matches in `<mark>`, `…` where text was cut off, nothing that could reorder or hide text.
    pub fn to_html(&self) -> String {
        self.shown("<mark>", "</mark>", |text| {
            let text = harmless::one_line(text);
            let mut html = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '&' => html.push_str("&amp;"),
                    '<' => html.push_str("&lt;"),
                    '>' => html.push_str("&gt;"),
                    '"' => html.push_str("&quot;"),
                    '\'' => html.push_str("&#39;"),
                    c => html.push(c),
                }
            }
            Cow::Owned(html)
        })
    }

    /// For a terminal: matches between `on` and `off` (escape sequences, or nothing), `…` where text was cut off,
    /// nothing in the text that could drive the terminal.
    pub fn to_terminal(&self, on: &str, off: &str) -> String {
        self.shown(on, off, |text| Cow::Owned(harmless::one_line(text)))
    }

    fn shown(&self, on: &str, off: &str, safe: impl Fn(&str) -> Cow<'_, str>) -> String {
        let mut shown = String::new();
        if self.cut_before {
            shown.push('…');
        }
        for (text, matches) in &self.parts {
            if *matches {
                shown.push_str(on);
            }
            shown.push_str(&safe(text));
            if *matches {
                shown.push_str(off);
            }
        }
        if self.cut_after {
            shown.push('…');
        }
        shown
    }
}

#[cfg(test)]
mod tests;
