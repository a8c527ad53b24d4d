//! Texts as the wire carries them: data URIs in their many spellings, JSON dates, invented identifiers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How the bytes of a data URI are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Form style: `+` for a blank, lower-case hex for the rest.
    #[default]
    Form,
    /// Base 64.
    Base64,
}

/// Writes `text` as a data URI. `charset` is the label as it shall stand there; an empty one is left out (UTF-8 bytes).
pub(super) fn data_uri(mime: &str, text: &str, charset: &str, encoding: Encoding) -> String {
    let label = encoding_rs::Encoding::for_label(charset.as_bytes()).unwrap_or(encoding_rs::UTF_8);
    // The encoding library writes UTF-8 for the two that browsers never send.
    let bytes: Vec<u8> = if label == encoding_rs::UTF_16LE {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else if label == encoding_rs::UTF_16BE {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    } else {
        label.encode(text).0.into_owned()
    };
    let charset = if charset.is_empty() { String::new() } else { format!(";charset={charset}") };
    match encoding {
        Encoding::Form => format!("data:{mime}{charset},{}", form(&bytes)),
        Encoding::Base64 => format!("data:{mime}{charset};base64,{}", STANDARD.encode(&bytes)),
    }
}

fn form(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for &b in bytes {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'*' | b'(' | b')' => {
                out.push(char::from(b));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{b:02x}")),
        }
    }
    out
}

/// Strict reading of an `application/x-www-form-urlencoded` body: only what the encoding lets stand may stand, so a
/// client that forgets to encode `&`, `+`, `%` or a letter outside ASCII is found out.
pub(super) fn strict_form(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the form is not ASCII".to_owned())?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').ok_or("a form field has no `=`")?;
        let (name, value) = (form_decode(name)?, form_decode(value)?);
        if pairs.iter().any(|(n, _)| *n == name) {
            return Err(format!("form field {name} stands twice"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn form_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
                bytes.push(hex.and_then(|h| u8::from_str_radix(h, 16).ok()).ok_or("a bare `%` in the form")?);
                rest = &tail[2..];
            }
            b if b.is_ascii_alphanumeric() || b"-._*~".contains(b) => bytes.push(*b),
            b => return Err(format!("unencoded byte {b:#04x} in the form")),
        }
    }
    String::from_utf8(bytes).map_err(|_| "the form is not UTF-8 after decoding".to_owned())
}

/// Reads the text of a data URI that a client sent as a first message; `None` if it is none.
pub(super) fn data_uri_text(uri: &str) -> Option<String> {
    let (head, payload) = uri.strip_prefix("data:")?.split_once(',')?;
    let bytes = if head.to_ascii_lowercase().ends_with(";base64") {
        STANDARD.decode(payload).ok()?
    } else {
        percent_encoding::percent_decode_str(&payload.replace('+', " ")).collect()
    };
    String::from_utf8(bytes).ok()
}

/// `/Date(1795225034000)/`; the slashes are escaped later, when the whole body is written.
pub(super) fn json_date(millis: i64) -> String {
    format!("/Date({millis})/")
}

/// A GUID-shaped identifier from a counter: deterministic, yet unlike its neighbours.
pub(super) fn guid(salt: u64, number: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let bits = rng.u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A thread identifier as Lync makes them: base 64 with `+`, `/` and `=`.
pub(super) fn thread_id(salt: u64, number: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(salt.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number ^ 0x7468_7265_6164);
    let mut bytes = [0u8; 22];
    rng.fill(&mut bytes);
    bytes[..2].copy_from_slice(&[0x01, 0xd2]);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_uris_are_spelled_as_in_the_captures() {
        assert_eq!(
            data_uri("text/plain", "Hi Tosh\r\n", "utf-8", Encoding::Form),
            "data:text/plain;charset=utf-8,Hi+Tosh%0d%0a"
        );
        assert_eq!(
            data_uri("text/plain", "1+1=2 ü", "utf8", Encoding::Form),
            "data:text/plain;charset=utf8,1%2b1%3d2+%c3%bc"
        );
        assert_eq!(
            data_uri("text/plain", "ü", "windows-1252", Encoding::Form),
            "data:text/plain;charset=windows-1252,%fc"
        );
        assert_eq!(data_uri("text/plain", "ü", "utf-16le", Encoding::Form), "data:text/plain;charset=utf-16le,%fc%00");
        assert_eq!(data_uri("text/html", "<b>x</b>", "", Encoding::Base64), "data:text/html;base64,PGI+eDwvYj4=");
    }

    #[test]
    fn a_form_must_be_encoded_throughout() {
        let good =
            strict_form(b"grant_type=password&username=CONTOSO%5Crec&password=a%26b%2Bc%3Dd%25e%5C%C3%BC+f").unwrap();
        assert_eq!(good[1].1, "CONTOSO\\rec");
        assert_eq!(good[2].1, "a&b+c=d%e\\ü f");
        for bad in
            [&b"password=a%zz"[..], b"password=a%2", b"username=a\\b", "password=ü".as_bytes(), b"password", b"a=1&a=2"]
        {
            assert!(strict_form(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_depend_on_their_number_only() {
        assert_eq!(guid(1, 7), guid(1, 7));
        assert_ne!(guid(1, 7), guid(1, 8));
        assert!(thread_id(1, 3).ends_with("=="));
    }
}
