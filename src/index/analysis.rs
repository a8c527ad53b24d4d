//! From text to the tokens that are indexed, and from the words of a query to the tokens that are asked for.
//!
//! One analysis for all languages, since one archive, and often one message, holds several. The idea that surprises:
//! there is no token for an address, a link or a ticket number as a whole. `alice@contoso.com` is `alice`, `contoso`,
//! `com` at three positions, and whoever asks for it asks for these three in a row. That finds the whole, each part and
//! `contoso.com`, and the dictionary does not grow with every link anybody ever sent.
//!
//! | text | tokens (`|` between positions, `,` between tokens that share one) |
//! |---|---|
//! | `Straße`, `STRASSE` | `strasse` |
//! | `Müller` | `muller`, `mueller` |
//! | `ABC-123`, `snake_case`, `1,234.5` | `abc` \| `123` … |
//! | `don't`, `Alice's`, `l'homme`, `e-mail` | `dont` · `alice`, `alices` · `l`, `lhomme` \| `homme` · `e`, `email` \| `mail` |
//! | `getUserName` | `getusername`, `get`, `user`, `name` |
//! | `C++`, `C#`, `.NET`, `#budget`, `@alice` | `c++` · `c#` · `.net`, `net` · `#budget`, `budget` · `@alice`, `alice` |
//! | `会议室`, Kana, Hangul, Thai, Lao, Khmer, Myanmar | `会议` \| `议室` \| `室` |
//! | `👍🏽`, `👩‍💻`, `🇩🇪` | `👍` · `👩‍💻`, `👩`, `💻` · `🇩🇪` |
//! | `:-)`, `->` standing alone | as typed |
//!
//! Not done: German compounds are not taken apart (that needs a dictionary; `Sitzung*` finds `Sitzungsprotokoll`, but
//! `Protokoll` does not), nothing is stemmed, and traditional and simplified Chinese are different characters.

mod fold;
mod machine;
mod pattern;

pub use pattern::{Pattern, Slot, pattern};

/// Longest token in bytes, a sigil such as `#` not counted. What is longer becomes several tokens in a row.
pub const LONGEST: usize = 64;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// Folded text: lower case, without accents.
    pub text: &'t str,
    /// Place among the tokens; several may share one, and it never falls.
    pub position: u32,
    /// First byte in the original text.
    pub from: usize,
    /// End in the original text, in bytes.
    pub to: usize,
    /// What it is to those who share its position.
    pub role: Role,
}

/// What a token is to others at its position. Documents are indexed with all of them; see [`pattern()`] for queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is written there.
    Word,
    /// Another spelling of the same word, as good as the first: `mueller` for `Müller`.
    Spelling,
    /// A piece of what is written, or it and what follows in one: found when asked for, and never asked for by a query
    /// that holds the whole.
    Part,
    /// Signs that stand alone; they take no position of their own.
    Sign,
}

/// Finds the tokens of a text, in order of position.
///
/// Never fails; every letter and digit of the text is in some token. Time is linear in the length of the text.
pub fn tokens(text: &str, emit: &mut dyn FnMut(Token<'_>)) {
    machine::Machine::new(text, emit).run();
}

#[cfg(test)]
mod tests;
