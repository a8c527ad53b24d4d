//! Tokens both ways: for the recorder by secret or assertion, and those that notifications carry.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greffier::simulate::teams::{BadToken, CallKind, Effect, Fault, Invite, Path, Signer};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{LONG, quiet, start};

/// A client assertion with these claims.
fn assertion(pair: &rcgen::KeyPair, der: &[u8], algorithm: &str, claims: &Value) -> String {
    use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
    let key = RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let head = json!({ "alg": algorithm, "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(hash) });
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let encoding: &'static dyn RsaEncoding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_client_assertion_is_checked_against_the_registered_certificate() {
    let tenant = start(quiet(""), "http://127.0.0.1:1").await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
    tenant.register_certificate(&certificate.pem());
    let endpoint = format!("{}/{}/oauth2/v2.0/token", tenant.base_url(), tenant.tenant_id());
    let http = super::super::client::http();
    let post = async |token: String| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &tenant.client_id())
            .append_pair("scope", "https://graph.microsoft.com/.default")
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &token)
            .finish();
        http.post(&endpoint).body(form).send().await.unwrap().status().as_u16()
    };
    let now = greffier::clock::Clock::now(&greffier::clock::SystemClock).millis() / 1000;
    let client = tenant.client_id();
    let claims =
        |jti: &str| json!({ "aud": endpoint, "iss": client, "sub": client, "jti": jti, "nbf": now, "exp": now + 300 });
    let with = |name: &str, value: Value| {
        let mut claims = claims(&format!("with {name}"));
        claims[name] = value;
        claims
    };
    let der = certificate.der();
    assert_eq!(post(assertion(&pair, der, "PS256", &claims("1"))).await, 200);
    assert_eq!(post(assertion(&pair, der, "RS256", &claims("2"))).await, 200);
    assert_eq!(post(assertion(&pair, der, "PS256", &with("aud", json!("https://login.example/")))).await, 401);
    assert_eq!(post(assertion(&pair, der, "PS256", &with("exp", json!(now - 10)))).await, 401);
    assert_eq!(post(assertion(&pair, der, "PS256", &with("sub", json!("another")))).await, 401);
    assert_eq!(post(assertion(&pair, b"another certificate", "PS256", &claims("3"))).await, 401);
    let mut broken = assertion(&pair, der, "PS256", &claims("4"));
    broken.truncate(broken.len() - 4);
    assert_eq!(post(broken).await, 401);
    assert!(tenant.ledger().violations.is_empty());
    assert_eq!(post(assertion(&pair, der, "PS256", &claims("1"))).await, 200);
    assert_eq!(tenant.ledger().violations, ["a client assertion was used twice"]);
}

#[tokio::test]
async fn wrong_secrets_scopes_and_tenants_are_refused_as_the_documents_say() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let scope = recorder.fetch_token("https://vault.azure.net/.default").await.unwrap_err();
    assert_eq!(scope["error"], "invalid_scope");
    tenant.fail(Fault::Secret("another".to_owned()));
    let wrong = recorder.fetch_token("https://graph.microsoft.com/.default").await.unwrap_err();
    assert_eq!((&wrong["error"], &wrong["error_codes"][0]), (&json!("invalid_client"), &json!(7_000_215)));
    tenant.fail(Fault::SecretExpired);
    let expired = recorder.fetch_token("https://graph.microsoft.com/.default").await.unwrap_err();
    assert_eq!(expired["error_codes"][0], 7_000_222);
    tenant.fail(Fault::ExpireTokens);
    assert_eq!(recorder.ask("GET", "/subscriptions", None).await.0, 401);
    assert_eq!(tenant.ledger().refused_tokens, 3);
}

/// Whether a token verifies under the key set at this address.
async fn verifies(recorder: &Recorder, keys: &str, token: &str) -> bool {
    let answer = recorder.http.get(format!("{}{keys}", recorder.base)).send().await.unwrap();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
    let Some(key) = header.kid.and_then(|kid| set.find(&kid).cloned()) else { return false };
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_aud = false;
    validation.leeway = 300;
    jsonwebtoken::decode::<Value>(token, &jsonwebtoken::DecodingKey::from_jwk(&key).unwrap(), &validation).is_ok()
}

#[tokio::test]
async fn call_notifications_are_signed_and_wrong_ones_do_not_verify() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let bad = [BadToken::Key, BadToken::UnknownKid, BadToken::Expired, BadToken::Unsigned, BadToken::Hmac];
    for token in bad {
        let effect = Effect::Token(token);
        tenant.fail(Fault::Send { path: Path::Calls, what: "incoming".to_owned(), skip: 0, times: 1, effect });
        tenant.invite_call(Invite::new(format!("{token:?}"), "alice", CallKind::Meeting)).unwrap();
        assert!(tenant.wait_delivered(LONG).await);
        let got = recorder.got().pop().unwrap();
        assert!(!verifies(&recorder, "/aps/v1/keys", &got.token.unwrap()).await, "{token:?}");
    }
    tenant.invite_call(Invite::new("good", "alice", CallKind::Meeting)).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    let token = recorder.got().pop().unwrap().token.unwrap();
    assert!(verifies(&recorder, "/aps/v1/keys", &token).await);
    assert!(!verifies(&recorder, "/common/discovery/keys", &token).await, "other keys do not verify it");
    tenant.fail(Fault::RotateKeys(Signer::Calls, true));
    assert!(!verifies(&recorder, "/aps/v1/keys", &token).await, "the old key is gone");
    tenant.invite_call(Invite::new("rotated", "alice", CallKind::Meeting)).unwrap();
    assert!(tenant.wait_delivered(LONG).await);
    assert!(verifies(&recorder, "/aps/v1/keys", &recorder.got().pop().unwrap().token.unwrap()).await);
}

#[tokio::test]
async fn a_token_in_a_wrong_place_is_a_violation() {
    let mut recorder = Recorder::listen().await;
    let tenant = start(quiet(""), &recorder.url).await;
    recorder.sign_in(&tenant).await;
    let connector = recorder.fetch_token("https://api.botframework.com/.default").await.unwrap();
    let get = async |path: &str, token: &str| {
        let url = format!("{}{path}", recorder.base);
        recorder.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(get("/v1.0/subscriptions", &connector).await, 401);
    get("/aps/v1/keys", &recorder.token).await;
    assert_eq!(tenant.ledger().violations.len(), 2, "{:?}", tenant.ledger().violations);
}
