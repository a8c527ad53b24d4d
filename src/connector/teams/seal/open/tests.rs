//! The public vector of Microsoft's own SDK tests, and items sealed here.

use std::sync::LazyLock;

use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::engine::general_purpose::STANDARD as STRICT;
use proptest::prelude::*;
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::model::Timestamp;

const VECTOR: &str = include_str!("../../../../../tests/fixtures/graph/vector-encryptedcontent.json");
const ID: &str = "custom-id-for-testing";

static PAIR: LazyLock<Arc<Pair>> =
    LazyLock::new(|| Arc::new(Pair::generate(Timestamp::from_millis(1_795_225_034_000)).unwrap().0));

/// Vector, and the pair that belongs to it.
fn vector() -> (Value, Arc<Pair>) {
    let vector: Value = serde_json::from_str(VECTOR).unwrap();
    let certificate = vector["certificateDerBase64"].as_str().unwrap();
    let key = vector["privateKeyPkcs8Pem"].as_str().unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n{key}");
    (vector, Arc::new(Pair::from_pem(pem.as_bytes()).unwrap()))
}

/// An item as the service seals it.
fn sealed(plain: &[u8]) -> Value {
    sealed_with(plain, &[7u8; 32], &OAEP_SHA1_MGF1SHA1)
}

fn sealed_with(plain: &[u8], key: &[u8], oaep: &'static aws_lc_rs::rsa::OaepAlgorithm) -> Value {
    let (_, certificate) = X509Certificate::from_der(PAIR.certificate_der()).unwrap();
    let public = PublicEncryptingKey::from_der(certificate.public_key().raw).unwrap();
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    let mut room = vec![0; public.ciphertext_size()];
    let sealed_key = public.encrypt(oaep, key, &mut room, None).unwrap().to_vec();
    let mut data = plain.to_vec();
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &[7u8; 32]).unwrap()).unwrap();
    let context = EncryptionContext::Iv128(FixedLength::from(&[7u8; 16]));
    cipher.less_safe_encrypt(&mut data, context).unwrap();
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7u8; 32]), &data);
    json!({
        "data": STRICT.encode(&data), "dataKey": STRICT.encode(sealed_key), "dataSignature": STRICT.encode(signature.as_ref()),
        "encryptionCertificateId": PAIR.id(), "encryptionCertificateThumbprint": PAIR.thumbprint(),
    })
}

fn opened(content: &Value) -> Result<Vec<u8>, OpenFailure> {
    open(content, |id| (id == PAIR.id()).then(|| PAIR.clone()))
}

/// The item with one bit of the decoded member turned over.
fn one_bit_off(content: &Value, member: &str, byte: usize) -> Value {
    let mut bytes = STRICT.decode(content[member].as_str().unwrap()).unwrap();
    bytes[byte] ^= 1;
    let mut content = content.clone();
    content[member] = json!(STRICT.encode(bytes));
    content
}

#[test]
fn the_public_vector_opens() {
    let (vector, pair) = vector();
    assert_eq!(pair.thumbprint(), vector["certificateSha1Thumbprint"].as_str().unwrap());
    let plain = open(&vector["encryptedContent"], |id| (id == ID).then(|| pair.clone())).unwrap();
    assert_eq!(String::from_utf8(plain).unwrap(), vector["expectedPlaintextUtf8"].as_str().unwrap());
}

#[test]
fn a_change_anywhere_in_the_vector_is_noticed() {
    let (vector, pair) = vector();
    let content = &vector["encryptedContent"];
    let opened = |content: &Value| open(content, |id| (id == ID).then(|| pair.clone()));
    for byte in [0, 17, 31] {
        assert_eq!(opened(&one_bit_off(content, "dataSignature", byte)), Err(OpenFailure::BadSignature));
    }
    for byte in [0, 100, 1000] {
        assert_eq!(opened(&one_bit_off(content, "data", byte)), Err(OpenFailure::BadSignature));
        let key = opened(&one_bit_off(content, "dataKey", byte % 512));
        assert!(matches!(key, Err(OpenFailure::WrongKey | OpenFailure::BadSignature)), "{key:?}");
    }
    let mut renamed = content.clone();
    renamed["encryptionCertificateId"] = json!("another");
    let failure = opened(&renamed);
    assert_eq!(failure, Err(OpenFailure::UnknownCertificate("another".into())));
    assert!(failure.is_err_and(|failure| failure.may_pass_with_more_pairs()));
    // The thumbprint is only a cross-check of the service's own.
    renamed["encryptionCertificateId"] = json!(ID);
    renamed["encryptionCertificateThumbprint"] = json!("AA");
    assert!(opened(&renamed).is_ok());
}

#[test]
fn items_sealed_for_our_own_certificate_open() {
    for length in [0, 1, 15, 16, 17, 100_000] {
        let plain = vec![b'x'; length];
        assert_eq!(opened(&sealed(&plain)), Ok(plain));
    }
}

#[test]
fn members_come_in_any_letter_case_and_base64_with_line_breaks_or_without_padding() {
    let content = sealed(b"hello");
    let bare = content["dataKey"].as_str().unwrap().trim_end_matches('=').to_owned();
    let broken = content["data"].as_str().unwrap().to_owned();
    let (left, right) = broken.split_at(8);
    let odd = json!({
        "Data": format!("{left}\r\n{right}\n"), "DataKey": bare, "datasignature": content["dataSignature"],
        "EncryptionCertificateId": PAIR.id(), "more": null,
    });
    assert_eq!(opened(&odd), Ok(b"hello".to_vec()));
}

#[test]
fn every_damage_has_its_name() {
    let content = sealed(b"hello");
    for member in ["data", "dataKey", "dataSignature", "encryptionCertificateId"] {
        for value in [json!(null), json!(7), json!(["x"])] {
            let mut content = content.clone();
            content[member] = value;
            assert_eq!(opened(&content), Err(OpenFailure::Missing(member)));
        }
    }
    for member in ["data", "dataKey", "dataSignature"] {
        let mut content = content.clone();
        content[member] = json!("not base64!");
        assert_eq!(opened(&content), Err(OpenFailure::Damaged(member)));
    }
    let mut short = content.clone();
    short["dataKey"] = json!("AAAA");
    assert_eq!(opened(&short), Err(OpenFailure::Damaged("dataKey")));
    let mut huge = content.clone();
    huge["data"] = json!("A".repeat(DATA_LIMIT / 3 * 4 + 8));
    assert_eq!(opened(&huge), Err(OpenFailure::TooLong));
    let mut hostile = content.clone();
    hostile["encryptionCertificateId"] = json!("line\nbreak");
    assert_eq!(opened(&hostile), Err(OpenFailure::UnknownCertificate("with an unreadable id".into())));
    // SHA-256 in OAEP, and a key of another length.
    assert_eq!(opened(&sealed_with(b"x", &[7; 32], &OAEP_SHA256_MGF1SHA256)), Err(OpenFailure::WrongKey));
    assert_eq!(opened(&sealed_with(b"x", &[7; 16], &OAEP_SHA1_MGF1SHA1)), Err(OpenFailure::WrongKey));
    for nothing in [json!(null), json!([]), json!("x"), json!({})] {
        assert_eq!(opened(&nothing), Err(OpenFailure::Missing("encryptionCertificateId")));
    }
    // Signed rightly, and still nothing that was ever encrypted.
    for (data, failure) in [
        (&b""[..], OpenFailure::Damaged("data")),
        (&[1; 15][..], OpenFailure::Damaged("data")),
        (&[1; 32][..], OpenFailure::Undecryptable),
    ] {
        let mut content = content.clone();
        content["data"] = json!(STRICT.encode(data));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7u8; 32]), data);
        content["dataSignature"] = json!(STRICT.encode(signature.as_ref()));
        assert_eq!(opened(&content), Err(failure));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sealed_comes_out_again(plain in any::<Vec<u8>>()) {
        prop_assert_eq!(opened(&sealed(&plain)), Ok(plain));
    }

    #[test]
    fn garbage_never_panics(data in any::<Vec<u8>>(), key in any::<Vec<u8>>(), signature in any::<Vec<u8>>(), whole in any::<bool>()) {
        let key = if whole { [&key[..], &[0; 256]].concat()[..256].to_vec() } else { key };
        let content = json!({
            "data": STRICT.encode(data), "dataKey": STRICT.encode(key), "dataSignature": STRICT.encode(signature),
            "encryptionCertificateId": PAIR.id(),
        });
        prop_assert!(opened(&content).is_err());
    }
}
