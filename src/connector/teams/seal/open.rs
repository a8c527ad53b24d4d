//! Opens the `encryptedContent` of a change notification.
//!
//! Order matters: first the signature over the sealed bytes, in constant time, then decryption; nobody learns from our
//! answer whether padding was right.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::Pair;

/// Bytes of sealed data at most. Messages have some ten kB; hosted content is never inside.
pub const DATA_LIMIT: usize = 16 * 1024 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why an item cannot be opened. Holds no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFailure {
    /// A member is missing or not a text.
    #[error("encryptedContent has no {0}")]
    Missing(&'static str),
    /// A member is not base64, or not of a possible length.
    #[error("{0} of encryptedContent is damaged")]
    Damaged(&'static str),
    /// Longer than [`DATA_LIMIT`].
    #[error("encryptedContent is too long")]
    TooLong,
    /// No pair has this id. A pair of another recorder, or one whose file was lost.
    #[error("no key pair {0} for encrypted notifications: restore its file in the connector's keys folder")]
    UnknownCertificate(String),
    /// The item's key was not sealed for the pair of this id.
    #[error("dataKey was not sealed for the named certificate")]
    WrongKey,
    /// `dataSignature` is not that of `data`.
    #[error("dataSignature does not fit the data")]
    BadSignature,
    /// The signature is good and the padding is not.
    #[error("data cannot be decrypted")]
    Undecryptable,
}

impl OpenFailure {
    /// Whether the same item may be opened once a missing pair is there; anything else fails for ever.
    pub fn may_pass_with_more_pairs(&self) -> bool {
        matches!(self, OpenFailure::UnknownCertificate(_))
    }
}

/// The resource inside an `encryptedContent` object, as the bytes of its JSON. `find` gives the pair of an
/// `encryptionCertificateId`; the thumbprint is not looked at, the id is ours and says enough.
pub fn open(content: &Value, find: impl FnOnce(&str) -> Option<Arc<Pair>>) -> Result<Vec<u8>, OpenFailure> {
    let id = text(content, "encryptionCertificateId")?;
    let sealed_key = decoded(content, "dataKey")?;
    let signature = decoded(content, "dataSignature")?;
    let mut data = decoded(content, "data")?;
    let pair = find(id).ok_or_else(|| OpenFailure::UnknownCertificate(harmless(id)))?;
    if sealed_key.len() != pair.sealed_key_bytes() {
        return Err(OpenFailure::Damaged("dataKey"));
    }
    let key = pair.unseal(&sealed_key).ok_or(OpenFailure::WrongKey)?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &*key), &data, &signature)
        .map_err(|_| OpenFailure::BadSignature)?;
    if data.is_empty() || !data.len().is_multiple_of(16) {
        return Err(OpenFailure::Damaged("data"));
    }
    // The first half of the key is also the initialisation vector; nothing stands before the data.
    let iv: &[u8; 16] = key.first_chunk().ok_or(OpenFailure::WrongKey)?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let cipher = UnboundCipherKey::new(&AES_256, &*key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .map_err(|_| OpenFailure::Undecryptable)?;
    let length = cipher.decrypt(&mut data, context).map_err(|_| OpenFailure::Undecryptable)?.len();
    data.truncate(length);
    Ok(data)
}

fn text<'c>(content: &'c Value, name: &'static str) -> Result<&'c str, OpenFailure> {
    let members = content.as_object().into_iter().flatten();
    let mut found = members.filter(|(member, _)| member.eq_ignore_ascii_case(name));
    found.next().and_then(|(_, value)| value.as_str()).ok_or(OpenFailure::Missing(name))
}

fn decoded(content: &Value, name: &'static str) -> Result<Vec<u8>, OpenFailure> {
    let text = text(content, name)?.trim();
    if text.len() / 4 * 3 > DATA_LIMIT {
        return Err(OpenFailure::TooLong);
    }
    match BASE64.decode(text) {
        Ok(bytes) => Ok(bytes),
        // Some encoders break lines.
        Err(_) if text.contains(char::is_whitespace) => {
            BASE64.decode(text.split_whitespace().collect::<String>()).map_err(|_| OpenFailure::Damaged(name))
        }
        Err(_) => Err(OpenFailure::Damaged(name)),
    }
}

/// An id as it may stand in a log line: ours are short and plain.
fn harmless(id: &str) -> String {
    let plain = id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { id.to_owned() } else { "with an unreadable id".to_owned() }
}

#[cfg(test)]
mod tests;
