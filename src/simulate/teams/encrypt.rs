//! Resource data of change notifications, encrypted for the subscriber's certificate (digest §13): RSA-OAEP with SHA-1
//! around a fresh AES-256 key, AES-CBC with the key's first 16 bytes as IV, HMAC-SHA256 over the ciphertext.

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::keys::{base64, thumbprint};

/// The certificate of a subscription, as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub id: String,
    der: Vec<u8>,
    public: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate given in base64 DER, and says what is wrong with it.
    pub fn read(id: &str, text: &str) -> Result<Self, String> {
        use base64::Engine;
        let der = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| "EncryptionCertificate is not base64".to_owned())?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|_| "EncryptionCertificate is not an X.509 certificate".to_owned())?;
        let public = certificate.public_key().raw.to_vec();
        let bits = PublicEncryptingKey::from_der(&public)
            .map(|k| k.key_size_bits())
            .map_err(|_| "EncryptionCertificate has no RSA key".to_owned())?;
        if !(2048..=4096).contains(&bits) {
            return Err(format!("EncryptionCertificate has a key of {bits} bits; it must be 2048 to 4096"));
        }
        Ok(Certificate { id: id.to_owned(), der, public })
    }
}

/// What is spoiled in an encrypted item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoil {
    Nothing,
    Signature,
    Data,
    CertificateId,
}

/// The `encryptedContent` of one item; every item has a key of its own.
pub(super) fn encrypt(certificate: &Certificate, plain: &Value, spoil: Spoil) -> Value {
    let mut key = [0_u8; 32];
    SystemRandom::new().fill(&mut key).expect("the system has randomness");
    let mut iv = [0_u8; 16];
    iv.copy_from_slice(&key[..16]);
    let mut data = plain.to_string().into_bytes();
    let cipher = UnboundCipherKey::new(&AES_256, &key)
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .expect("32 bytes are an AES-256 key");
    cipher
        .less_safe_encrypt(&mut data, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("CBC takes an IV of 16 bytes");
    let mut signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &data).as_ref().to_vec();
    let wrapped = wrap(&certificate.public, &key);
    let mut id = certificate.id.clone();
    match spoil {
        Spoil::Nothing => {}
        Spoil::Signature => signature[0] ^= 1,
        Spoil::Data => data[0] ^= 1,
        Spoil::CertificateId => id = format!("{id}-unknown"),
    }
    json!({
        "data": base64(&data),
        "dataSignature": base64(signature),
        "dataKey": base64(wrapped),
        "encryptionCertificateId": id,
        "encryptionCertificateThumbprint": thumbprint(&certificate.der),
    })
}

fn wrap(public: &[u8], key: &[u8]) -> Vec<u8> {
    let rsa = PublicEncryptingKey::from_der(public)
        .and_then(|k| OaepPublicEncryptingKey::new(k).map_err(|_| aws_lc_rs::error::Unspecified.into()))
        .expect("the key was read when the subscription was made");
    let mut wrapped = vec![0; rsa.ciphertext_size()];
    rsa.encrypt(&OAEP_SHA1_MGF1SHA1, key, &mut wrapped, None).expect("32 bytes fit into an RSA key of 2048 bits");
    wrapped
}
