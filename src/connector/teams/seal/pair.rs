//! One key pair with its self-signed certificate.
//!
//! RSA of 2048 bits: what the service documents for certificates of notifications, and four times as fast as 4096 where
//! every message costs one private operation. The service checks neither issuer nor end of a certificate.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Datelike;
use rcgen::{CertificateParams, DnType, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use zeroize::Zeroizing;

use crate::connector::secret::Secret;
use crate::connector::teams::certificate::{PemProblem, belong_together, certificate_der, private_key};
use crate::model::Timestamp;

/// Years until a certificate ends. Nobody checks it; its use ends with the rotation of keys.
const YEARS: i32 = 30;

/// A certificate that notifications are sealed for, and the private key that opens them.
pub struct Pair {
    id: String,
    certificate: Vec<u8>,
    private: OaepPrivateDecryptingKey,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pair").field(&self.id).finish()
    }
}

impl Pair {
    /// Makes a new pair; its text is what [`Pair::from_pem`] reads. Takes some tenths of a second. `None` only if the
    /// system gives no random numbers.
    pub fn generate(now: Timestamp) -> Option<(Pair, Secret)> {
        let key = rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).ok()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "greffier");
        // Whole years, begun a day or more ago: clocks differ.
        let year = now.to_chrono().year().clamp(1971, 9000);
        params.not_before = date_time_ymd(year - 1, 1, 1);
        params.not_after = date_time_ymd(year + YEARS, 1, 1);
        let certificate = params.self_signed(&key).ok()?;
        let private = Zeroizing::new(key.serialize_pem());
        let text = Secret::new(format!("{}{}", certificate.pem(), *private));
        let pair = Pair::from_pem(text.expose().as_bytes()).ok()?;
        Some((pair, text))
    }

    /// Reads a certificate and its private key (PKCS#8) from one PEM text. The id follows from the certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Pair, PemProblem> {
        let certificate = certificate_der(pem)?;
        let (key, der) = private_key(pem)?;
        belong_together(&certificate, &key)?;
        let private = PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| PemProblem::BadKey)?;
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| PemProblem::BadKey)?;
        let print = hex(digest(&SHA256, &certificate).as_ref());
        let id = format!("greffier-{}", print.chars().take(16).collect::<String>());
        Ok(Pair { id, certificate, private })
    }

    /// `encryptionCertificateId`: `greffier-` and 16 hex digits of the certificate's SHA-256.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `encryptionCertificate`: the DER in base64.
    pub fn certificate_base64(&self) -> String {
        BASE64.encode(&self.certificate)
    }

    /// The certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// `encryptionCertificateThumbprint`: SHA-1 of the DER, upper-case hex.
    pub fn thumbprint(&self) -> String {
        hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.certificate).as_ref()).to_ascii_uppercase()
    }

    /// Bytes of a sealed key.
    pub(super) fn sealed_key_bytes(&self) -> usize {
        self.private.key_size_bytes()
    }

    /// The item's key that was sealed for this pair (RSA-OAEP, SHA-1 twice, no label); `None` if it was not, or if it is
    /// not 32 bytes.
    pub(super) fn unseal(&self, sealed: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut room = Zeroizing::new(vec![0u8; self.private.min_output_size()]);
        let key = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, sealed, &mut room, None).ok()?;
        Some(Zeroizing::new(<[u8; 32]>::try_from(&*key).ok()?))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
