//! What a message says: data URIs in `plainMessage`, `htmlMessage` and `message` links, and the text in HTML.
//!
//! UCWA form-encodes what it does not put into base64: `+` is a blank there, and must be replaced *before* the one and
//! only percent-decoding, or a literal plus (`%2b`) would be lost. In base64 `+` is a digit.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::{Encoding, REPLACEMENT, UTF_8};
use percent_encoding::percent_decode;

pub use crate::connector::html::{html_to_text, sanitise};

/// A decoded data URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Lower case, without parameters; `text/plain` if none was given. `html/plain`, which some clients write, is
    /// `text/html` here.
    pub media_type: String,
    /// The text with its line breaks as sent; bytes that could not be read are U+FFFD.
    pub text: String,
    /// Something could not be read (bad base64, bytes not of the charset, an unknown charset).
    pub damaged: bool,
}

/// The link holds no data URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataUriError {
    /// It does not begin with `data:`.
    #[error("the link of a message body is not a data URI")]
    NotData,
    /// There is no comma between header and payload.
    #[error("the data URI of a message body has no comma, so no payload")]
    NoComma,
}

/// Whether the link is a data URI at all (blanks before the colon allowed); others must be fetched.
pub fn is_data_uri(href: &str) -> bool {
    after_scheme(href).is_some()
}

fn after_scheme(href: &str) -> Option<&str> {
    let (scheme, rest) = href.split_once(':')?;
    scheme.trim().eq_ignore_ascii_case("data").then_some(rest)
}

/// Decodes `data:[type][;charset=c][;base64],payload`.
///
/// Blanks in the header do not matter. Base64 may be percent-encoded, broken by white space, unpadded or URL-safe.
/// # Errors
/// [`DataUriError`] when it is no data URI; a damaged payload is no error, see [`Decoded::damaged`].
pub fn decode(href: &str) -> Result<Decoded, DataUriError> {
    let rest = after_scheme(href).ok_or(DataUriError::NotData)?;
    let (header, payload) = rest.split_once(',').ok_or(DataUriError::NoComma)?;
    let mut media_type = None;
    let mut charset = None;
    let mut base64 = false;
    for (position, token) in header.split(';').enumerate() {
        let token: String = token.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        if token == "base64" {
            base64 = true;
        } else if let Some(name) = token.strip_prefix("charset=") {
            charset = Some(name.trim_matches(['"', '\'']).to_owned());
        } else if position == 0 && token.contains('/') {
            media_type = Some(token);
        }
    }
    let media_type = match media_type.as_deref() {
        None => "text/plain".to_owned(),
        Some("html/plain") => "text/html".to_owned(),
        Some(other) => other.to_owned(),
    };
    let (charset, known) = match charset.as_deref().filter(|name| !name.is_empty()) {
        None => (UTF_8, true),
        // `REPLACEMENT` stands for charsets whose decoder would throw everything away.
        Some(name) => match Encoding::for_label(name.as_bytes()).filter(|charset| *charset != REPLACEMENT) {
            Some(charset) => (charset, true),
            None => (UTF_8, false),
        },
    };
    let (text, mut damaged) = if base64 { from_base64(payload, charset) } else { from_form(payload, charset) };
    damaged |= !known && !text.is_ascii();
    Ok(Decoded { media_type, text, damaged })
}

fn to_text(bytes: &[u8], charset: &'static Encoding) -> (String, bool) {
    let (text, damaged) = charset.decode_with_bom_removal(bytes);
    (text.into_owned(), damaged)
}

fn from_form(payload: &str, charset: &'static Encoding) -> (String, bool) {
    let decode = |piece: &str| -> Vec<u8> {
        let blanks = piece.replace('+', " ");
        percent_decode(blanks.as_bytes()).collect()
    };
    if charset == UTF_8 || payload.is_ascii() {
        return to_text(&decode(payload), charset);
    }
    // Characters beyond ASCII that stand in the link as themselves are text already; only the rest has a charset.
    let mut out = String::new();
    let mut damaged = false;
    let mut rest = payload;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len());
        let (text, bad) = to_text(&decode(&rest[..end]), charset);
        out.push_str(&text);
        damaged |= bad;
        let plain = rest[end..].find(|c: char| c.is_ascii()).map_or(rest.len(), |n| end + n);
        out.push_str(&rest[end..plain]);
        rest = &rest[plain..];
    }
    (out, damaged)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn from_base64(payload: &str, charset: &'static Encoding) -> (String, bool) {
    let mut damaged = false;
    let mut digits: Vec<u8> = Vec::with_capacity(payload.len());
    for byte in percent_decode(payload.as_bytes()) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => digits.push(byte),
            b'-' => digits.push(b'+'),
            b'_' => digits.push(b'/'),
            b'=' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => damaged = true,
        }
    }
    if digits.len() % 4 == 1 {
        // A single digit is 6 bits and no byte: the end is missing.
        digits.pop();
        damaged = true;
    }
    let bytes = LENIENT.decode(&digits).unwrap_or_else(|_| {
        damaged = true;
        Vec::new()
    });
    let (text, bad) = to_text(&bytes, charset);
    (text, damaged || bad)
}

/// What the archive shows as the words said: HTML as text, CRLF as LF, at most one trailing line break dropped.
/// Blanks and direction marks stay.
pub fn message_text(decoded: &Decoded) -> String {
    let mut text = if decoded.media_type == "text/html" {
        html_to_text(&decoded.text)
    } else {
        decoded.text.replace("\r\n", "\n")
    };
    if text.ends_with(['\n', '\r']) {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;

    fn text(href: &str) -> String {
        let decoded = decode(href).unwrap();
        assert!(!decoded.damaged, "{href}");
        decoded.text
    }

    #[test]
    fn plus_is_a_blank_and_percent_2b_a_plus() {
        assert_eq!(text("data:text/plain;charset=utf-8,1%2b1+%3d+2%0d%0a"), "1+1 = 2\r\n");
        assert_eq!(text("data:,a%252bb"), "a%2bb", "decoded once");
        assert_eq!(text("data:text/plain,a,b;c"), "a,b;c", "split at the first comma");
        assert_eq!(text("data:text/plain,100%"), "100%");
        assert_eq!(text("data:text/plain,%E2%82%AC%f0%9f%98%80"), "€😀");
        assert_eq!(text("data:text/plain,€ öffnen"), "€ öffnen");
    }

    #[test]
    fn base64_in_all_its_states() {
        let said = "Grüße > ÿÿ 😀";
        let full = BASE64_STANDARD.encode(said);
        assert!(full.contains('+') || full.contains('/') || full.ends_with('='));
        for form in [
            full.clone(),
            BASE64_STANDARD_NO_PAD.encode(said),
            full.replace('=', "%3D").replace('+', "%2b").replace('/', "%2F"),
            full.replace('+', "-").replace('/', "_"),
            full.chars().flat_map(|c| [c, '\n', ' ']).collect(),
        ] {
            assert_eq!(text(&format!("data:text/plain;charset=utf-8;base64,{form}")), said);
        }
        assert_eq!(text("data:;base64,Pj4+"), ">>>", "plus is a digit");
        let cut = decode("data:text/plain;base64,YWJjZ").unwrap();
        assert_eq!((cut.text.as_str(), cut.damaged), ("abc", true));
        let dirty = decode("data:text/plain;base64,YW!Jj").unwrap();
        assert_eq!((dirty.text.as_str(), dirty.damaged), ("abc", true));
    }

    #[test]
    fn headers_as_they_come() {
        for (header, media_type) in [
            ("data:", "text/plain"),
            ("data:;charset=utf8", "text/plain"),
            ("data : text/plain ; charset = UTF-8", "text/plain"),
            ("DATA:Text/HTML;Charset=\"utf-8\"", "text/html"),
            ("data:html/plain;charset=utf-8", "text/html"),
            ("data:text/plain;format=flowed", "text/plain"),
            ("data:application/json;x=1", "application/json"),
        ] {
            let decoded = decode(&format!("{header},%c3%a4")).unwrap();
            assert_eq!((decoded.media_type.as_str(), decoded.text.as_str()), (media_type, "ä"), "{header}");
        }
        assert_eq!(decode("https://a/b,c"), Err(DataUriError::NotData));
        assert_eq!(decode("/relative"), Err(DataUriError::NotData));
        assert_eq!(decode("data:text/plain"), Err(DataUriError::NoComma));
        assert!(is_data_uri("Data :x") && !is_data_uri("sip:a@b"));
    }

    #[test]
    fn charsets() {
        assert_eq!(text("data:text/plain;charset=iso-8859-1,%e4"), "ä");
        assert_eq!(text("data:text/plain;charset=windows-1251,%cf%f0ж"), "Прж");
        assert_eq!(text("data:text/plain;charset=utf-16le;base64,PdgA3g=="), "😀");
        let bad = decode("data:text/plain;charset=utf-8,a%ffb").unwrap();
        assert_eq!((bad.text.as_str(), bad.damaged), ("a\u{fffd}b", true));
        let unknown = decode("data:text/plain;charset=klingon,a%c3%a4").unwrap();
        assert_eq!((unknown.text.as_str(), unknown.damaged), ("aä", true));
        assert!(!decode("data:text/plain;charset=klingon,abc").unwrap().damaged);
        assert_eq!(text("data:text/plain;charset=iso-2022-kr,abc"), "abc");
    }

    #[test]
    fn one_trailing_line_break_is_dropped_and_no_more() {
        let said =
            |t: &str| message_text(&Decoded { media_type: "text/plain".into(), text: t.to_owned(), damaged: false });
        assert_eq!(said("a\r\nb\r\n"), "a\nb");
        assert_eq!(said(" a \r\n\r\n"), " a \n");
        assert_eq!(said("\u{200f}שלום \n"), "\u{200f}שלום ");
        assert_eq!(said(""), "");
        assert_eq!(said("\r\n"), "");
    }

    #[test]
    fn html_messages_become_text() {
        let href = "data:text/html;charset=utf-8,%3cspan+style%3d%22margin-bottom%3a0pt%3b%22%3e%3cb%3e1%2b1+%26lt%3b+3%3c%2fb%3e%3c%2fspan%3e";
        assert_eq!(message_text(&decode(href).unwrap()), "1+1 < 3");
    }

    /// Encodes the way the platform does: everything but letters and digits in lower-case hex, blank as plus.
    fn form(text: &str) -> String {
        text.bytes()
            .map(|b| match b {
                b' ' => "+".to_owned(),
                b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
                b => format!("%{b:02x}"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(said in any::<String>()) {
            // A byte order mark in front is a mark, not text.
            prop_assume!(!said.starts_with('\u{feff}'));
            prop_assert_eq!(text(&format!("data:text/plain;charset=utf-8,{}", form(&said))), said.clone());
            prop_assert_eq!(text(&format!("data:text/plain;base64,{}", BASE64_STANDARD.encode(&said))), said);
        }

        #[test]
        fn never_panics(header in "[a-z/;=\"0-9 -]{0,30}", payload in any::<String>()) {
            let _ = decode(&payload);
            for form in [format!("data:{header},{payload}"), format!("data:{header};base64,{payload}")] {
                if let Ok(decoded) = decode(&form) {
                    let _ = message_text(&decoded);
                }
            }
        }
    }
}
