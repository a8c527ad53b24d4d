//! Text of strangers, made fit to be shown: no control characters, no reordering, no lines of its own.
//!
//! Terminals and pages use it alike; a page escapes markup besides.

use std::fmt::Write;

/// Whether a character could drive a terminal, hide, end a line, or change the order in which others are shown.
///
/// Control characters, line and paragraph separators, bidirectional embeddings, overrides and isolates, interlinear
/// annotation, tags. Marks that only hint a direction (LRM, RLM) stay: right-to-left text needs them, and they move
/// nothing but their neighbours.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line; what is harmful is shown by its number, as in `<U+001B>`.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if is_harmful(c) => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "<U+{:04X}>", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The text with its line breaks and tabs; all else that is harmful is shown by its number, as in `<U+001B>`.
pub fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if is_harmful(c) => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "<U+{:04X}>", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// A name as it may stand before a colon: in quotes unless it is made of letters, digits, blanks and `.,'()-_@&/` alone
/// and begins and ends with none of the signs that the transcript uses.
pub fn name(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " .,'’()-_@&/".contains(c) || is_mark(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "().".contains(c) || is_mark(c));
    if text.chars().all(plain) && edge(text.chars().next()) && edge(text.chars().next_back()) {
        return text.to_owned();
    }
    format!("\"{}\"", one_line(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// Combining marks and joiners that names of many languages are written with.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}' | '\u{0591}'..='\u{05c7}' | '\u{064b}'..='\u{065f}' | '\u{0900}'..='\u{0dff}'
        | '\u{0e31}'..='\u{0e4e}' | '\u{200c}'..='\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_line_breaks_and_overrides_are_shown_by_number() {
        assert_eq!(
            one_line("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}e\tf"),
            "a<U+001B>[2Jb<U+000D><U+000A>c<U+202E>d<U+009B>e f"
        );
        assert_eq!(one_line("שלום\u{200f} 天气 👍🏽"), "שלום\u{200f} 天气 👍🏽");
    }

    #[test]
    fn lines_keep_their_breaks_and_nothing_else_that_moves_text() {
        assert_eq!(lines("a\n\tb\rc\u{2067}d\u{2028}e"), "a\n\tb<U+000D>c<U+2067>d<U+2028>e");
    }

    #[test]
    fn names_that_could_be_mistaken_are_quoted() {
        for plain in ["Alice", "Jean-Luc O’Neill (Contoso)", "Łukasz", "田中 太郎", "a.b@contoso.com", "रमेश"]
        {
            assert_eq!(name(plain), plain);
        }
        assert_eq!(name("Bob: I agree"), "\"Bob: I agree\"");
        assert_eq!(name("- Bob left"), "\"- Bob left\"");
        assert_eq!(name("[42] Bob"), "\"[42] Bob\"");
        assert_eq!(name("a\"b\nc"), "\"a\\\"b<U+000A>c\"");
        assert_eq!(name(" "), "\" \"");
        assert_eq!(name(""), "\"\"");
    }

    proptest! {
        #[test]
        fn nothing_harmful_gets_through(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(is_harmful));
            prop_assert!(!name(&text).contains(is_harmful));
        }
    }
}
