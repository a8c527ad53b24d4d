//! Whatever comes with a webhook's request: tokens, key sets, sealed items, certificates. No panic; nothing unsigned is
//! ever believed; what is rightly signed and not rightly sealed is refused.
#![no_main]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use greffier_fuzz::connector::teams::certificate;
use greffier_fuzz::connector::teams::seal::{Pair, open};
use greffier_fuzz::connector::teams::trust::{KeySet, jwt};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// The public vector: a pair, an item's key, and that key sealed.
struct Vector {
    pair: Arc<Pair>,
    key: Vec<u8>,
    sealed_key: String,
}

static VECTOR: LazyLock<Vector> = LazyLock::new(|| {
    let vector: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/graph/vector-encryptedcontent.json")).unwrap();
    let text = |pointer: &str| vector.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let (certificate, key) = (text("/certificateDerBase64"), text("/privateKeyPkcs8Pem"));
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n{key}");
    let hex = text("/expectedSymmetricKeyHex");
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    Vector {
        pair: Arc::new(Pair::from_pem(pem.as_bytes()).unwrap()),
        key: bytes.collect(),
        sealed_key: text("/encryptedContent/dataKey"),
    }
});

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let _ = certificate::certificate_end(input);
    let _ = certificate::private_key(input);
    let keys = KeySet::parse(input).unwrap_or_default();
    let _ = jwt::own_claims(&text);
    if let Ok(token) = jwt::Token::parse(&text) {
        assert!(token.verify(&keys).is_err());
    }
    if let Ok(content) = serde_json::from_slice::<Value>(input) {
        for content in [Some(&content), content.pointer("/value/0/encryptedContent"), content.get("encryptedContent")] {
            let _ = content.map(|content| open(content, |_| Some(VECTOR.pair.clone())));
        }
    }
    // Any bytes as data that the service signed.
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &VECTOR.key), input);
    let content = json!({
        "data": BASE64.encode(input),
        "dataKey": VECTOR.sealed_key,
        "dataSignature": BASE64.encode(signature.as_ref()),
        "encryptionCertificateId": "vector",
    });
    if let Ok(plain) = open(&content, |_| Some(VECTOR.pair.clone())) {
        assert!(plain.len() < input.len() && input.len().is_multiple_of(16));
    }
});
