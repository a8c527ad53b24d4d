//! Numbers and names as pages write them.

use crate::archive::reader::Conversation;
use crate::harmless;
use crate::model::Person;

/// Characters of a name or subject that a list shows; nobody sets more to be read.
const LONGEST: usize = 250;

/// The first so many characters; what is cut off is marked by an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

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
    cut(&harmless::one_line(told.unwrap_or(address(id))), LONGEST)
}

/// Names of the first few people in order, and how many more there are; harmless. Each name is isolated, so that one
/// written from right to left does not turn the list around.
pub fn people(people: &[Person], most: usize) -> String {
    // One more is no longer than saying that there is one more.
    let shown = if people.len() == most + 1 { most + 1 } else { most };
    let mut text = people.iter().take(shown).map(|one| isolated(&name(one))).collect::<Vec<_>>().join(", ");
    if people.len() > shown {
        text.push_str(&format!(" and {} more", count((people.len() - shown) as u64)));
    }
    text
}

/// A text between characters that keep its direction to itself.
pub fn isolated(text: &str) -> String {
    format!("\u{2068}{text}\u{2069}")
}

/// A subject fit to be shown; `None` if there is none to see.
pub fn subject(subject: Option<&str>) -> Option<String> {
    let text = subject.map(str::trim).filter(|text| !text.is_empty())?;
    Some(cut(&harmless::one_line(text), LONGEST))
}

/// What a conversation is called in lists: its subject, else who took part; harmless.
pub fn title(conversation: &Conversation) -> String {
    let named = || match people(&conversation.participants, 5) {
        names if names.is_empty() => "No subject, nobody named".to_owned(),
        names => names,
    };
    subject(conversation.subject.as_deref()).unwrap_or_else(named)
}

/// What people call a platform.
pub fn platform(kind: &str) -> String {
    match kind {
        "ucwa" => "Skype for Business".to_owned(),
        "teams" => "Microsoft Teams".to_owned(),
        other => harmless::one_line(other),
    }
}

/// Whether an address has letters that look like others: real ones are plain ASCII almost everywhere, and `а` is not `a`.
pub fn may_mislead(id: &str) -> bool {
    !id.is_ascii()
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
    fn long_lists_of_people_are_cut() {
        let person = |id: &str| Person { id: id.to_owned(), name: None };
        let all = ["a", "b", "c", "d"].map(person);
        assert_eq!(people(&all, 2), "\u{2068}a\u{2069}, \u{2068}b\u{2069} and 2 more");
        assert_eq!(people(&all, 3).replace(['\u{2068}', '\u{2069}'], ""), "a, b, c, d");
        assert_eq!(people(&[], 3), "");
    }

    #[test]
    fn endless_subjects_end() {
        assert_eq!(cut("天気 ok", 2), "天気…");
        assert_eq!(cut("ok", 2), "ok");
        assert_eq!(subject(Some(&"x".repeat(1 << 20))).map(|text| text.chars().count()), Some(LONGEST + 1));
        assert_eq!(subject(Some(" \n ")), None);
    }

    #[test]
    fn names_are_harmless_and_never_empty() {
        let person = |name: Option<&str>| Person { id: "sip:eve@x.y".into(), name: name.map(str::to_owned) };
        assert_eq!(name(&person(Some("Eve\u{202e}<b>"))), "Eve<U+202E><b>");
        assert_eq!(name(&person(Some(" "))), "eve@x.y");
        assert_eq!(name(&person(None)), "eve@x.y");
    }
}
