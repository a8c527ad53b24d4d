//! The bytes of one log leaf: header and salted commitments.

use sha2::{Digest, Sha256};

/// Everything of an event that is hashed into its leaf; holds no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name of the log.
    pub origin: &'a str,
    /// Position in the log, from 1.
    pub seq: u64,
    /// Configured name of the connector.
    pub connector: &'a str,
    /// Our id of the conversation, empty if there is none.
    pub conversation: &'a str,
    /// Kind of the event.
    pub kind: &'a str,
    /// The platform's clock, microseconds UTC.
    pub source_time: Option<i64>,
    /// Our clock, microseconds UTC.
    pub recorded_at: i64,
    /// Commitment of the envelope the event was read from.
    pub envelope: Option<[u8; 32]>,
    /// Commitment of the canonical content.
    pub content: [u8; 32],
}

/// SHA-256 of salt and bytes: binds to the bytes without telling them once the salt is gone.
pub fn commitment(salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(bytes).finalize().into()
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

impl Header<'_> {
    /// The canonical bytes: ten lines, each ended by a line feed.
    pub fn canonical(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(320);
        text.extend_from_slice(b"greffier/leaf/v1\n");
        for line in [self.origin, &self.seq.to_string(), self.connector, self.conversation, self.kind] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        if let Some(t) = self.source_time {
            text.extend_from_slice(t.to_string().as_bytes());
        }
        text.push(b'\n');
        text.extend_from_slice(self.recorded_at.to_string().as_bytes());
        text.push(b'\n');
        if let Some(envelope) = &self.envelope {
            push_hex(&mut text, envelope);
        }
        text.push(b'\n');
        push_hex(&mut text, &self.content);
        text.push(b'\n');
        text
    }

    /// RFC 6962 leaf hash of [`Header::canonical`].
    pub fn leaf_hash(&self) -> [u8; 32] {
        Sha256::new().chain_update([0u8]).chain_update(self.canonical()).finalize().into()
    }
}
