//! What is proven about the archive, and how.
//!
//! The log is a list of [`leaf`] hashes. A leaf binds a header (which log, which position, when, what kind) and two
//! salted commitments: to the content of the event and to the envelope it was read from. The leaves form the
//! [`merkle`] tree of RFC 6962/9162, and a [`checkpoint`] is a signed statement of the tree's size and root that is also
//! kept outside the archive. So whoever changes, removes, adds or moves a row has to change a root that somebody else
//! holds. `docs/FORMATS.md` gives every byte, so that a stranger can check without this program.
//!
//! Everything here is pure: no SQL, no async, no clock. Files are touched only for the key and the checkpoint file.

pub mod checkpoint;
pub mod export_check;
pub mod finding;
pub mod leaf;
pub mod merkle;
pub mod verify;

/// Lower-case hexadecimal text of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The 32 bytes of 64 lower-case hexadecimal digits; `None` for any other text.
pub fn hash_from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(hash)
}
