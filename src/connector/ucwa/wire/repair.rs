//! JSON as real servers send it: perhaps with a byte order mark, half a surrogate pair, or stray bytes.

use serde_json::Value;

use super::WireError;

/// Parses a body; repairs it only when the strict reader refuses it.
pub(super) fn parse(body: &[u8]) -> Result<Value, WireError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body)
        .or_else(|_| {
            let text = String::from_utf8_lossy(body);
            serde_json::from_str(&pair_surrogates(&text))
        })
        .map_err(|error| WireError::NotJson { line: error.line(), column: error.column() })
}

/// Writes every `\uD8xx` without its `\uDCxx`, and the reverse, as `\uFFFD`; all else stays.
fn pair_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let take = match escaped_unit(rest) {
            Some(0xd800..=0xdbff) => {
                if matches!(rest.get(6..).and_then(escaped_unit), Some(0xdc00..=0xdfff)) {
                    out.push_str(&rest[..12]);
                    12
                } else {
                    out.push_str("\\ufffd");
                    6
                }
            }
            Some(0xdc00..=0xdfff) => {
                out.push_str("\\ufffd");
                6
            }
            _ => {
                // A backslash and the character after it, so that `\\ud83d` is not taken for an escape.
                let take = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..take]);
                take
            }
        };
        rest = &rest[take..];
    }
    out.push_str(rest);
    out
}

/// The UTF-16 unit of a `\uXXXX` at the start of `text`.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(json: &str) -> String {
        parse(json.as_bytes()).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn lone_surrogates_become_the_replacement_character() {
        assert_eq!(text_of(r#""a\ud83d""#), "a\u{fffd}");
        assert_eq!(text_of(r#""\ud83dx\ude00""#), "\u{fffd}x\u{fffd}");
        assert_eq!(text_of(r#""\ud83d\ud83d\ude00""#), "\u{fffd}\u{1f600}");
        assert_eq!(text_of(r#""\ude00\ud83d\n""#), "\u{fffd}\u{fffd}\n");
        assert_eq!(text_of(r#""\\ud83d \ud83d""#), "\\ud83d \u{fffd}");
        assert_eq!(text_of(r#""\ud83d\u0041""#), "\u{fffd}A");
    }

    #[test]
    fn marks_and_stray_bytes_do_not_matter() {
        assert_eq!(parse(b"\xef\xbb\xbf{}"), Ok(serde_json::json!({})));
        assert_eq!(parse(b"\"a\xffb\""), Ok(serde_json::json!("a\u{fffd}b")));
    }

    #[test]
    fn errors_tell_the_place_but_no_content() {
        let error = parse(b"{\n\"secret\": nope}").unwrap_err();
        assert_eq!(error, WireError::NotJson { line: 2, column: 12 });
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn depth_is_limited() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(parse(deep.as_bytes()), Err(WireError::NotJson { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
            let _ = super::super::parse_batch(&body);
            let _ = super::super::parse_error(&body);
        }

        #[test]
        fn every_string_of_utf16_units_is_read(units in proptest::collection::vec(any::<u16>(), 0..40)) {
            let escaped: String = units.iter().map(|u| format!("\\u{u:04x}")).collect();
            prop_assert_eq!(text_of(&format!("\"{escaped}\"")), String::from_utf16_lossy(&units));
        }

        #[test]
        fn dates_never_panic(text in "\\PC{0,10}|/Date\\([-+0-9:]{0,24}\\)/") {
            let _ = super::super::parse_date(&text);
        }
    }
}
