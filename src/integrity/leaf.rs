//! The bytes of one log leaf: header and salted commitments.
//!
//! The header holds no personal data; content and envelope are bound by commitments whose salt is stored with them. When
//! content and salt are erased, the leaf and every proof stay valid, and nothing can be guessed from what is left.
//! Source of the leaf hash: RFC 9162, section 2.1.1.

use sha2::{Digest, Sha256};

/// Everything of an event that is hashed into its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name of the log.
    pub origin: &'a str,
    /// Position in the log, from 1.
    pub seq: u64,
    /// Configured name of the connector.
    pub connector: &'a str,
    /// Our id of the conversation; empty if there is none.
    pub conversation: &'a str,
    /// Kind of the event, for example `message.sent`.
    pub kind: &'a str,
    /// The platform's clock: microseconds since 1970-01-01 UTC.
    pub source_time: Option<i64>,
    /// Our clock: microseconds since 1970-01-01 UTC.
    pub recorded_at: i64,
    /// Commitment of the envelope the event was read from; `None` for the recorder's own statements.
    pub envelope: Option<[u8; 32]>,
    /// Commitment of the canonical content.
    pub content: [u8; 32],
}

/// SHA-256(salt ‖ bytes): binds to the bytes, and tells nothing about them once the salt is gone.
pub fn commitment(salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(bytes).finalize().into()
}

/// Everything of an envelope that its commitment binds; the body by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeHead<'a> {
    /// Configured name of the connector.
    pub connector: &'a str,
    /// Kind of the connector.
    pub platform: &'a str,
    /// Our clock: microseconds since 1970-01-01 UTC.
    pub received_at: i64,
    /// The answer's HTTP `Date`: microseconds since 1970-01-01 UTC.
    pub server_date: Option<i64>,
    /// What was asked.
    pub request: &'a str,
    /// HTTP status; 0 = bytes sent to us.
    pub status: u16,
    /// `Content-Type`; empty if there was none.
    pub content_type: &'a str,
    /// SHA-256 of the body as received.
    pub digest: [u8; 32],
}

impl EnvelopeHead<'_> {
    /// The bytes that the commitment binds: nine lines, each ended by a line feed.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        push_line(&mut bytes, "greffier/envelope/v1");
        push_line(&mut bytes, self.connector);
        push_line(&mut bytes, self.platform);
        push_signed(&mut bytes, self.received_at);
        match self.server_date {
            Some(date) => push_signed(&mut bytes, date),
            None => bytes.push(b'\n'),
        }
        push_line(&mut bytes, self.request);
        push_number(&mut bytes, u64::from(self.status));
        push_line(&mut bytes, self.content_type);
        push_hex(&mut bytes, &self.digest);
        bytes.push(b'\n');
        bytes
    }
}

fn push_line(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
}

/// Decimal digits and a line feed.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'\n'; 21];
    let mut at = 20;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
}

fn push_signed(bytes: &mut Vec<u8>, number: i64) {
    if number < 0 {
        bytes.push(b'-');
    }
    push_number(bytes, number.unsigned_abs());
}

fn push_hex(bytes: &mut Vec<u8>, hash: &[u8; 32]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in hash {
        bytes.push(DIGITS[usize::from(byte >> 4)]);
        bytes.push(DIGITS[usize::from(byte & 15)]);
    }
}

impl Header<'_> {
    /// The canonical bytes: ten lines of UTF-8, each ended by one line feed.
    ///
    /// ```text
    /// greffier/leaf/v1
    /// <origin>
    /// <seq>
    /// <connector>
    /// <conversation, or nothing>
    /// <kind>
    /// <source_time in microseconds, or nothing>
    /// <recorded_at in microseconds>
    /// <envelope commitment in hex, or nothing>
    /// <content commitment in hex>
    /// ```
    ///
    /// The bytes are unambiguous as long as no text has a line break in it; see [`Header::is_plain`].
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(320);
        self.write_canonical(&mut bytes);
        bytes
    }

    /// Made for every event that is logged or audited, so without the general formatting code.
    fn write_canonical(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(b"greffier/leaf/v1\n");
        push_line(bytes, self.origin);
        push_number(bytes, self.seq);
        push_line(bytes, self.connector);
        push_line(bytes, self.conversation);
        push_line(bytes, self.kind);
        match self.source_time {
            Some(time) => push_signed(bytes, time),
            None => bytes.push(b'\n'),
        }
        push_signed(bytes, self.recorded_at);
        if let Some(envelope) = &self.envelope {
            push_hex(bytes, envelope);
        }
        bytes.push(b'\n');
        push_hex(bytes, &self.content);
        bytes.push(b'\n');
    }

    /// SHA-256(0x00 ‖ canonical bytes): the leaf of RFC 6962.
    pub fn leaf_hash(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(320);
        bytes.push(0);
        self.write_canonical(&mut bytes);
        Sha256::digest(&bytes).into()
    }

    /// Whether every text of the header is free of control characters, so that the lines cannot be read in two ways.
    pub fn is_plain(&self) -> bool {
        [self.origin, self.connector, self.conversation, self.kind].iter().all(|text| !text.contains(char::is_control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header<'static> {
        Header {
            origin: "greffier/01JD",
            seq: 42,
            connector: "sfb",
            conversation: "c_01JD",
            kind: "message.sent",
            source_time: Some(1_795_225_034_123_000),
            recorded_at: 1_795_225_034_456_000,
            envelope: Some([0xab; 32]),
            content: commitment(&[7; 32], b"{}"),
        }
    }

    #[test]
    fn canonical_bytes_are_ten_lines() {
        let text = String::from_utf8(header().canonical()).unwrap();
        assert_eq!(text.matches('\n').count(), 10);
        assert!(text.starts_with(
            "greffier/leaf/v1\ngreffier/01JD\n42\nsfb\nc_01JD\nmessage.sent\n1795225034123000\n1795225034456000\nabab"
        ));
        let bare = Header { conversation: "", source_time: None, envelope: None, ..header() };
        let text = String::from_utf8(bare.canonical()).unwrap();
        assert!(
            text.starts_with("greffier/leaf/v1\ngreffier/01JD\n42\nsfb\n\nmessage.sent\n\n1795225034456000\n\n"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_plain_decimal() {
        for number in [0, 1, 9, 10, 1_000_000, u64::MAX] {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("{number}\n"));
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            push_signed(&mut bytes, number);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("{number}\n"));
        }
    }

    #[test]
    fn every_field_changes_the_leaf() {
        let leaf = header().leaf_hash();
        let changed = [
            Header { origin: "x", ..header() },
            Header { seq: 43, ..header() },
            Header { connector: "sfc", ..header() },
            Header { conversation: "", ..header() },
            Header { kind: "message.edited", ..header() },
            Header { source_time: None, ..header() },
            Header { source_time: Some(0), ..header() },
            Header { recorded_at: 0, ..header() },
            Header { envelope: None, ..header() },
            Header { content: [0; 32], ..header() },
        ];
        for other in changed {
            assert_ne!(other.leaf_hash(), leaf, "{other:?}");
        }
    }

    #[test]
    fn salt_and_bytes_both_bind() {
        let hash = commitment(&[1; 32], b"text");
        assert_ne!(hash, commitment(&[2; 32], b"text"));
        assert_ne!(hash, commitment(&[1; 32], b"tent"));
    }

    #[test]
    fn a_line_break_in_a_name_is_seen() {
        assert!(header().is_plain());
        assert!(!Header { connector: "a\nb", ..header() }.is_plain());
    }
}
