//! Certificates and private keys as PEM files hold them.

use aws_lc_rs::rsa::{KeyPair, PublicKey};
use aws_lc_rs::signature::KeyPair as _;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::model::Timestamp;

/// Why a PEM text cannot be used. Holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemProblem {
    /// No `CERTIFICATE` block.
    #[error("there is no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// Such a block, but no certificate in it.
    #[error("the certificate is damaged")]
    BadCertificate,
    /// No `PRIVATE KEY` and no `RSA PRIVATE KEY` block.
    #[error("there is no private key in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// The key needs a passphrase.
    #[error("the private key is encrypted: store it without passphrase (openssl pkey -in KEY -out PLAIN), mode 0600")]
    EncryptedKey,
    /// No RSA key of 2048 to 8192 bits.
    #[error("the private key is damaged, or not an RSA key of 2048 bits or more")]
    BadKey,
    /// Certificate and key are not of one pair.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

/// The first certificate of a PEM text, as DER.
pub fn certificate_der(pem: &[u8]) -> Result<Vec<u8>, PemProblem> {
    let block = blocks(pem).find(|block| block.label == "CERTIFICATE").ok_or(PemProblem::NoCertificate)?;
    parsed(&block.contents)?;
    Ok(block.contents)
}

/// The private RSA key of a PEM text (PKCS#8 or PKCS#1), and its DER as it stands there.
pub fn private_key(pem: &[u8]) -> Result<(KeyPair, Zeroizing<Vec<u8>>), PemProblem> {
    if contains(pem, b"ENCRYPTED") {
        return Err(PemProblem::EncryptedKey);
    }
    let mut found = blocks(pem).filter(|block| block.label == "PRIVATE KEY" || block.label == "RSA PRIVATE KEY");
    let block = found.next().ok_or(PemProblem::NoKey)?;
    let pkcs8 = block.label == "PRIVATE KEY";
    let der = Zeroizing::new(block.contents);
    let key = if pkcs8 { KeyPair::from_pkcs8(&der) } else { KeyPair::from_der(&der) };
    Ok((key.map_err(|_| PemProblem::BadKey)?, der))
}

/// Whether the key is that of the certificate.
pub fn belong_together(certificate_der: &[u8], key: &KeyPair) -> Result<(), PemProblem> {
    let certificate = parsed(certificate_der)?;
    let public = PublicKey::from_der(certificate.public_key().raw).map_err(|_| PemProblem::Mismatch)?;
    if public.as_ref() == key.public_key().as_ref() { Ok(()) } else { Err(PemProblem::Mismatch) }
}

/// When the first certificate of a PEM text ends.
pub fn certificate_end(pem: &[u8]) -> Result<Timestamp, PemProblem> {
    let der = certificate_der(pem)?;
    let certificate = parsed(&der)?;
    Ok(Timestamp::from_millis(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}

fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, PemProblem> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|_| PemProblem::BadCertificate)
}

/// The blocks that can be read; what stands between them does not matter.
fn blocks(pem: &[u8]) -> impl Iterator<Item = Pem> {
    Pem::iter_from_buffer(pem).map_while(Result::ok)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
