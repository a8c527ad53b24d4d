//! Addresses of pages; the only place that knows their shape.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{ConversationId, Seq};

/// What may stand in a path segment or a value as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one path segment or one value of a query string.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A conversation's transcript.
pub fn conversation(id: &ConversationId) -> String {
    format!("/conversations/{id}")
}

/// An event's permanent place in its transcript.
pub fn event(id: &ConversationId, seq: Seq) -> String {
    format!("/conversations/{id}?at={seq}#e{seq}")
}

/// A kept file of an event, by its number from 1.
pub fn attachment(seq: Seq, number: usize) -> String {
    format!("/events/{seq}/attachments/{number}")
}

/// A person.
pub fn person(id: &str) -> String {
    format!("/people/{}", encode(id))
}

/// What a query finds.
pub fn search(query: &str) -> String {
    with("/search", &[("q", query)])
}

/// A path with parameters; empty values are left out.
pub fn with(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        address.push(separator);
        address.push_str(name);
        address.push('=');
        address.push_str(&encode(value));
        separator = '&';
    }
    address
}

/// A way back that a request named, if it leads to a page of ours and nowhere else; `/` otherwise.
pub fn back(asked: &str) -> &str {
    let ours = asked.starts_with('/')
        && !asked.starts_with("//")
        && !asked.contains('\\')
        && asked.bytes().all(|b| b.is_ascii_graphic());
    if ours { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_any_text() {
        assert_eq!(person("sip:a/b?c#d@x.y"), "/people/sip%3Aa%2Fb%3Fc%23d%40x.y");
        assert_eq!(search("\"天気\" from:a&b"), "/search?q=%22%E5%A4%A9%E6%B0%97%22%20from%3Aa%26b");
        assert_eq!(with("/", &[("a", ""), ("b", "1"), ("c", "2 3")]), "/?b=1&c=2%203");
    }

    #[test]
    fn a_way_back_stays_here() {
        assert_eq!(back("/people?q=x"), "/people?q=x");
        for elsewhere in
            ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\r\nX: y"]
        {
            assert_eq!(back(elsewhere), "/", "{elsewhere}");
        }
    }
}
