//! Numbers and names as pages write them.

use crate::harmless;
use crate::model::Person;

/// A number in groups of three: `1 234 567`, with narrow blanks that do not break.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`: for words whose plural takes an s.
pub fn plural(number: u64, one: &str) -> String {
    format!("{}\u{a0}{one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Somebody's name, or the address where none is known; on one line, harmless.
pub fn name(person: &Person) -> String {
    named(person.name.as_deref(), &person.id)
}

/// As [`name`], of parts.
pub fn named(name: Option<&str>, id: &str) -> String {
    let told = name.map(str::trim).filter(|name| !name.is_empty());
    harmless::one_line(told.unwrap_or(address(id)))
}

/// An address without the scheme that says nothing to people.
pub fn address(id: &str) -> &str {
    id.strip_prefix("sip:").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_groups() {
        let shown = [0, 999, 1000, 1_234_567].map(count).join("|");
        assert_eq!(shown.replace('\u{202f}', "_"), "0|999|1_000|1_234_567");
        assert_eq!(plural(1, "message"), "1\u{a0}message");
        assert_eq!(plural(1200, "message"), "1\u{202f}200\u{a0}messages");
    }

    #[test]
    fn names_are_harmless_and_never_empty() {
        let person = |name: Option<&str>| Person { id: "sip:eve@x.y".into(), name: name.map(str::to_owned) };
        assert_eq!(name(&person(Some("Eve\u{202e}<b>"))), "Eve<U+202E><b>");
        assert_eq!(name(&person(Some(" "))), "eve@x.y");
        assert_eq!(name(&person(None)), "eve@x.y");
    }
}
