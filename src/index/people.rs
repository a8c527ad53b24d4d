//! Who is named in the index: so that `from:` and `with:` are looked up among people, not among messages.

use std::collections::{HashMap, HashSet};

use tantivy::index::SegmentId;

use super::IndexError;
use super::analysis::{self, Role};
use super::query::Words;
use super::schema::NAME;
use super::segments::Snapshot;

/// Everybody under every name they bore; grows with the log.
#[derive(Default)]
pub(super) struct People {
    read: HashSet<SegmentId>,
    people: HashMap<Box<str>, Tokens>,
}

struct Tokens {
    id: Vec<(Box<str>, u32)>,
    name: Vec<(Box<str>, u32)>,
}

impl People {
    /// Reads the names in segments that are new.
    ///
    /// # Errors
    /// The files are damaged.
    pub(super) fn learn(&mut self, snapshot: &Snapshot) -> Result<(), IndexError> {
        let doing = |source: std::io::Error| IndexError::engine("read names of the index", source.into());
        for segment in &snapshot.segments {
            if self.read.contains(&segment.reader.segment_id()) {
                continue;
            }
            let names = segment
                .reader
                .inverted_index(snapshot.fields.who)
                .map_err(|source| IndexError::engine("read names of the index", source))?;
            let mut terms = names.terms().stream().map_err(doing)?;
            while terms.advance() {
                let Ok(term) = std::str::from_utf8(terms.key()) else { continue };
                if !self.people.contains_key(term) {
                    self.people.insert(term.into(), Tokens::of(term));
                }
            }
            self.read.insert(segment.reader.segment_id());
        }
        self.read.retain(|id| snapshot.segments.iter().any(|segment| segment.reader.segment_id() == *id));
        Ok(())
    }

    /// Terms of `who` for everybody whose address or name has these words.
    pub(super) fn matching(&self, words: &Words) -> Vec<&str> {
        let text = match words {
            Words::Word(text) | Words::Phrase(text) | Words::Prefix(text) => text,
        };
        let prefix = matches!(words, Words::Prefix(_));
        let slots = analysis::pattern(words).slots;
        let mut found: Vec<&str> = self
            .people
            .iter()
            .filter(|(term, tokens)| {
                // An address may hold nothing that the analysis takes for a word.
                let id = term.split(NAME).next().unwrap_or_default();
                let exact = if prefix { id.starts_with(text.as_str()) } else { id == text };
                exact || matches(&slots, &tokens.id) || matches(&slots, &tokens.name)
            })
            .map(|(term, _)| &**term)
            .collect();
        found.sort_unstable();
        found
    }
}

impl Tokens {
    fn of(term: &str) -> Tokens {
        let (id, name) = term.split_once(NAME).unwrap_or((term, ""));
        let of = |text: &str| {
            let mut found = Vec::new();
            analysis::tokens(text, &mut |token| {
                if token.role != Role::Sign {
                    found.push((token.text.into(), token.position));
                }
            });
            found
        };
        Tokens { id: of(id), name: of(name) }
    }
}

/// Whether the slots occur in the tokens, at their distances.
fn matches(slots: &[analysis::Slot], tokens: &[(Box<str>, u32)]) -> bool {
    let Some((first, others)) = slots.split_first() else { return false };
    tokens.iter().filter(|(text, _)| first.takes(text)).any(|(_, base)| {
        others.iter().all(|slot| {
            let place = base + (slot.at - first.at);
            tokens.iter().any(|(text, at)| *at == place && slot.takes(text))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(terms: &[&str]) -> People {
        let people = terms.iter().map(|term| ((*term).into(), Tokens::of(term))).collect();
        People { read: HashSet::new(), people }
    }

    #[test]
    fn people_are_found_by_parts_of_address_and_name() {
        let people = people(&[
            "sip:alice@contoso.com\u{1f}Alice Müller",
            "sip:alan@contoso.com\u{1f}Alan Smith",
            "tel:+4930123\u{1f}",
            "sip:li@fabrikam.example\u{1f}李娜",
        ]);
        let word = |text: &str| people.matching(&Words::Word(text.into())).len();
        assert_eq!(word("alice"), 1);
        assert_eq!(word("ALICE@contoso.com"), 1);
        assert_eq!(word("sip:alice@contoso.com"), 1);
        assert_eq!(word("mueller"), 1);
        assert_eq!(word("muller"), 1);
        assert_eq!(word("contoso.com"), 2);
        assert_eq!(word("al"), 0);
        assert_eq!(word("李"), 1);
        assert_eq!(word("tel:+4930123"), 1);
        assert_eq!(people.matching(&Words::Prefix("al".into())).len(), 2);
        assert_eq!(people.matching(&Words::Phrase("alan smith".into())).len(), 1);
        assert_eq!(people.matching(&Words::Phrase("smith alan".into())).len(), 0);
    }
}
