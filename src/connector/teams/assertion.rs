//! The assertion by which an application with a certificate proves itself to the login service (digest §2).

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::certificate::{PemProblem, belong_together, certificate_der, private_key};
use crate::connector::secret::Secret;
use crate::model::Timestamp;

pub use super::certificate::certificate_end;

/// How long an assertion is good for.
const LIFE: Duration = Duration::from_secs(600);
/// Begun so long ago: the login service's clock may be behind.
const EARLY: Duration = Duration::from_secs(60);

/// A certificate and its key, ready to sign.
#[derive(Debug)]
pub struct Signer {
    header: String,
    key: KeyPair,
}

impl Signer {
    /// From PEM texts: the first certificate, and an RSA key in PKCS#8 or PKCS#1 that belongs to it.
    pub fn new(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Signer, PemProblem> {
        let certificate = certificate_der(certificate_pem)?;
        let (key, _) = private_key(key_pem)?;
        belong_together(&certificate, &key)?;
        let header = json!({
            "alg": "PS256",
            "typ": "JWT",
            "x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate)),
            "x5t": URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate)),
        });
        Ok(Signer { header: URL_SAFE_NO_PAD.encode(header.to_string()), key })
    }

    /// An assertion for the token endpoint `audience` by the application `client_id`, PS256. `id` (`jti`) must be used
    /// once only. `None` only if the system gives no random numbers.
    pub fn assertion(&self, audience: &str, client_id: &str, id: &str, now: Timestamp) -> Option<Secret> {
        let seconds = |time: Timestamp| time.millis().div_euclid(1000);
        let early = i64::try_from(EARLY.as_secs()).unwrap_or_default();
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": id,
            "nbf": seconds(now) - early,
            "iat": seconds(now) - early,
            "exp": seconds(now.plus(LIFE)) - early,
        });
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::Value;

    use super::*;

    const ENDPOINT: &str = "https://login.microsoftonline.com/t/oauth2/v2.0/token";

    fn pair() -> (String, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(vec!["recorder.contoso.com".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2027, 3, 1);
        (params.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn an_assertion_is_proven_by_the_certificate_and_says_what_the_service_wants() {
        let (certificate, key) = pair();
        let signer = Signer::new(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let now = Timestamp::from_millis(1_795_225_034_999);
        let token = signer.assertion(ENDPOINT, "client", "id-1", now).unwrap();
        assert_eq!(format!("{token:?} {signer:?}").matches("BEGIN").count(), 0);

        let mut validation = Validation::new(Algorithm::PS256);
        validation.set_audience(&[ENDPOINT]);
        validation.validate_exp = false;
        let public = DecodingKey::from_rsa_pem(key.public_key_pem().as_bytes()).unwrap();
        let claims = decode::<Value>(token.expose(), &public, &validation).unwrap().claims;
        let times = (1_795_225_034 - 60, 1_795_225_034 + 540);
        assert_eq!(
            claims,
            json!({"aud": ENDPOINT, "iss": "client", "sub": "client", "jti": "id-1", "iat": times.0, "nbf": times.0, "exp": times.1})
        );

        let der = certificate_der(certificate.as_bytes()).unwrap();
        let header = decode_header(token.expose()).unwrap();
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        assert_eq!(header.x5t_s256, Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, &der))));
        assert_eq!(header.x5t, Some(URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der))));
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let (certificate, key) = pair();
        let (other, _) = pair();
        let curve = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let key = key.serialize_pem();
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let problem = |certificate: &str, key: &str| Signer::new(certificate.as_bytes(), key.as_bytes()).err();
        assert_eq!(problem(&certificate, &key), None);
        assert_eq!(problem(&format!("{key}{certificate}"), &format!("{certificate}{key}")), None, "both in one file");
        assert_eq!(problem(&other, &key), Some(PemProblem::Mismatch));
        assert_eq!(problem("", &key), Some(PemProblem::NoCertificate));
        assert_eq!(problem(&key, &key), Some(PemProblem::NoCertificate));
        assert_eq!(problem(hollow, &key), Some(PemProblem::BadCertificate));
        assert_eq!(problem(&certificate, ""), Some(PemProblem::NoKey));
        assert_eq!(problem(&certificate, &certificate), Some(PemProblem::NoKey));
        assert_eq!(problem(&certificate, locked), Some(PemProblem::EncryptedKey));
        assert_eq!(problem(&certificate, old), Some(PemProblem::EncryptedKey));
        assert_eq!(problem(&certificate, &curve), Some(PemProblem::BadKey));
        assert_eq!(problem(&certificate, &key[..key.len() / 2]), Some(PemProblem::NoKey));
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let (certificate, _) = pair();
        let end = certificate_end(certificate.as_bytes()).map(Timestamp::rfc3339);
        assert_eq!(end.as_deref(), Ok("2027-03-01T00:00:00.000Z"));
        assert_eq!(certificate_end(b"-----BEGIN"), Err(PemProblem::NoCertificate));
    }

    #[test]
    fn keys_as_openssl_wrote_them_before_pkcs8_are_read() {
        let (certificate, key) = pair();
        // PKCS#8 of RSA is a wrapper of 26 bytes around PKCS#1 at this key length.
        let der = key.serialize_der();
        let inner = base64::engine::general_purpose::STANDARD.encode(&der[26..]);
        let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n");
        assert!(Signer::new(certificate.as_bytes(), pem.as_bytes()).is_ok());
    }
}
