//! The tables of tokens, signed here by another implementation (jsonwebtoken) with keys made at run time.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::Timestamp;

const APP: &str = "11111111-2222-3333-4444-555555555555";
const TENANT: &str = "932899f8-2ea1-4604-8413-27bd2892079f";
const PUBLISHER: &str = "0bf30f3b-4a52-48df-9a82-234910c4a086";
const SERVICE: &str = "https://smba.trafficmanager.net/emea/";
const BOT_ISSUER: &str = "https://api.botframework.com";
const NOW: i64 = 1_795_225_034;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

/// Somebody who signs.
struct Issuer {
    pem: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Issuer {
    fn new() -> Issuer {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let base64 = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let public = key.public_key();
        Issuer {
            pem: format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"),
            modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
            exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "kid": kid, "x5t": format!("print of {kid}"), "endorsements": ["msteams", "webchat"],
            "n": URL_SAFE_NO_PAD.encode(&self.modulus), "e": URL_SAFE_NO_PAD.encode(&self.exponent),
        })
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap()).unwrap()
    }
}

static OURS: LazyLock<Issuer> = LazyLock::new(Issuer::new);
static OTHER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn keys() -> KeySet {
    set(&[json!({"kty": "EC", "kid": "k0"}), OURS.jwk("k1"), json!(7)])
}

/// `claims` with the members of `changes`; `null` removes one.
fn changed(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        let claims = claims.as_object_mut().unwrap();
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn compact(header: Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(signature))
}

mod bot {
    use super::*;

    fn claims(changes: Value) -> Value {
        let good = json!({"iss": BOT_ISSUER, "aud": APP, "serviceurl": SERVICE, "nbf": NOW - 60, "exp": NOW + 600});
        changed(good, changes)
    }

    fn judge(token: &str, keys: &KeySet, channel: &str) -> Result<(), Refusal> {
        let issuers = [BOT_ISSUER.to_owned()];
        let expected = Expected { issuers: &issuers, client_id: APP };
        bot_token(token, keys, expected, channel, SERVICE, now()).map(|_| ())
    }

    fn verdict(changes: Value) -> Result<(), Refusal> {
        judge(&OURS.sign("k1", &claims(changes)), &keys(), "msteams")
    }

    #[test]
    fn activities_are_judged_as_by_microsofts_own_sdk() {
        let accepted = [
            json!({}),
            json!({"exp": NOW - 240, "nbf": NOW - 7200}),
            json!({"nbf": null}),
            json!({"nbf": NOW + 240}),
            json!({"aud": [APP, "other"]}),
            json!({"serviceurl": null, "serviceUrl": SERVICE}),
        ];
        for changes in accepted {
            assert_eq!(verdict(changes.clone()), Ok(()), "{changes}");
        }
        let refused = [
            (json!({"aud": "other"}), Refusal::Audience),
            (json!({"aud": null}), Refusal::Audience),
            (json!({"aud": ["other"]}), Refusal::Audience),
            (json!({"iss": "https://evil"}), Refusal::Issuer),
            (json!({"iss": null}), Refusal::Issuer),
            (json!({"exp": NOW - 3600, "nbf": NOW - 7200}), Refusal::Expired),
            (json!({"exp": NOW - 360, "nbf": NOW - 7200}), Refusal::Expired),
            (json!({"exp": null}), Refusal::Expired),
            (json!({"exp": "soon"}), Refusal::Malformed),
            (json!({"nbf": NOW + 3600, "exp": NOW + 7200}), Refusal::NotYet),
            (json!({"iat": NOW + 3600, "exp": NOW + 7200}), Refusal::NotYet),
            (json!({"serviceurl": "https://evil/"}), Refusal::ServiceUrl),
            (json!({"serviceurl": null}), Refusal::ServiceUrl),
            (json!({"serviceurl": SERVICE.trim_end_matches('/')}), Refusal::ServiceUrl),
        ];
        for (changes, refusal) in refused {
            assert_eq!(verdict(changes.clone()), Err(refusal), "{changes}");
        }
    }

    #[test]
    fn only_the_named_key_and_only_rs256_prove_anything() {
        let good = claims(json!({}));
        let judge = |token: &str| judge(token, &keys(), "msteams");
        assert_eq!(judge(&OTHER.sign("k1", &good)), Err(Refusal::Signature));
        assert_eq!(judge(&OURS.sign("zz", &good)), Err(Refusal::UnknownKey));
        assert_eq!(judge("abc"), Err(Refusal::Malformed));
        assert_eq!(judge(""), Err(Refusal::Malformed));

        // HMAC with the public key as secret, in the forms that a confused library would take.
        let der = base64::engine::general_purpose::STANDARD.encode(&OURS.modulus);
        for secret in [OURS.modulus.as_slice(), der.as_bytes()] {
            let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
            let token = encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(judge(&token), Err(Refusal::Algorithm));
        }
        for algorithm in ["none", "None", "NONE", "rs256", "PS256", "RS512", ""] {
            assert_eq!(judge(&compact(json!({"alg": algorithm, "kid": "k1"}), &good, b"")), Err(Refusal::Algorithm));
        }
        let empty = compact(json!({"alg": "RS256", "kid": "k1"}), &good, b"");
        assert_eq!(judge(&empty), Err(Refusal::Signature));
        let nameless = compact(json!({"alg": "RS256"}), &good, b"x");
        assert_eq!(judge(&nameless), Err(Refusal::Malformed));
        let extended = compact(json!({"alg": "RS256", "kid": "k1", "crit": ["b64"], "b64": false}), &good, b"x");
        assert_eq!(judge(&extended), Err(Refusal::Algorithm));
        let endless = claims(json!({"serviceurl": SERVICE, "padding": "x".repeat(jwt::TOKEN_LIMIT)}));
        assert_eq!(judge(&OURS.sign("k1", &endless)), Err(Refusal::TooLong));
    }

    #[test]
    fn changing_any_part_of_a_good_token_makes_it_bad() {
        let token = OURS.sign("k1", &claims(json!({})));
        assert_eq!(judge(&token, &keys(), "msteams"), Ok(()));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(judge(&changed, &keys(), "msteams").is_err(), "byte {at}");
        }
        assert!(judge(&format!("{token}="), &keys(), "msteams").is_err());
        assert!(judge(&format!("{token}.x"), &keys(), "msteams").is_err());
    }

    #[test]
    fn a_key_speaks_only_for_the_channels_that_it_is_endorsed_for() {
        let token = OURS.sign("k1", &claims(json!({})));
        assert_eq!(judge(&token, &keys(), "webchat"), Ok(()));
        assert_eq!(judge(&token, &keys(), "skype"), Err(Refusal::Endorsement));
        assert_eq!(judge(&token, &keys(), ""), Err(Refusal::Endorsement));
        let silent = set(&[changed(OURS.jwk("k1"), json!({"endorsements": null}))]);
        assert_eq!(judge(&token, &silent, "msteams"), Err(Refusal::Endorsement));
    }

    #[test]
    fn a_refusal_that_new_keys_cannot_mend_does_not_ask_for_them() {
        let bad = OURS.sign("zz", &claims(json!({"aud": "other"})));
        assert_eq!(judge(&bad, &keys(), "msteams"), Err(Refusal::Audience));
        assert!(Refusal::UnknownKey.may_pass_with_new_keys());
        assert!(!Refusal::Signature.may_pass_with_new_keys());
    }
}

mod call {
    use super::*;

    const SAMPLE: &str = include_str!("../../../../tests/fixtures/graph/auth-call-webhook-jwt-payload.json");

    fn judge(token: &str) -> Result<CallCaller, Refusal> {
        let issuers = ["https://graph.microsoft.com".to_owned(), BOT_ISSUER.to_owned()];
        call_token(token, &keys(), Expected { issuers: &issuers, client_id: APP }, TENANT, now())
    }

    fn verdict(changes: Value) -> Result<CallCaller, Refusal> {
        let good =
            json!({"iss": BOT_ISSUER, "aud": APP, "tid": TENANT, "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3840});
        judge(&OURS.sign("k1", &changed(good, changes)))
    }

    #[test]
    fn calls_come_from_either_issuer_and_name_our_tenant() {
        let caller = Ok(CallCaller { tid: TENANT.to_owned() });
        let long = "http://schemas.microsoft.com/identity/claims/tenantid";
        assert_eq!(verdict(json!({})), caller);
        assert_eq!(verdict(json!({"iss": "https://graph.microsoft.com"})), caller);
        assert_eq!(verdict(json!({"tid": TENANT.to_uppercase()})), caller);
        assert_eq!(verdict(json!({"tid": null, long: TENANT})), caller);
        assert_eq!(verdict(json!({"aud": APP.to_uppercase()})), caller);
        for changes in [
            json!({"tid": null}),
            json!({"tid": ""}),
            json!({"tid": 7}),
            json!({"tid": "1fdd12d0-4620-44ed-baec-459b611f84b2"}),
            json!({long: "1fdd12d0-4620-44ed-baec-459b611f84b2"}),
        ] {
            assert_eq!(verdict(changes.clone()), Err(Refusal::Tenant), "{changes}");
        }
        assert_eq!(verdict(json!({"iss": "https://sts.windows.net/x/"})), Err(Refusal::Issuer));
        assert_eq!(verdict(json!({"exp": NOW - 301})), Err(Refusal::Expired));
    }

    #[test]
    fn the_documented_sample_is_accepted_at_its_time() {
        let claims: Value = serde_json::from_str(SAMPLE).unwrap();
        let token = OURS.sign("k1", &claims);
        let issuers = [BOT_ISSUER.to_owned()];
        let expected = Expected { issuers: &issuers, client_id: claims["aud"].as_str().unwrap() };
        let judge = |seconds: i64| {
            let now = Timestamp::from_millis(seconds * 1000);
            call_token(&token, &keys(), expected, claims["tid"].as_str().unwrap(), now)
        };
        assert!(judge(1_466_741_440).is_ok());
        assert_eq!(judge(1_466_741_440 - 301), Err(Refusal::NotYet));
        assert_eq!(judge(1_466_745_340 + 300), Err(Refusal::Expired));
    }

    #[test]
    fn a_token_may_name_its_key_by_thumbprint_only() {
        let claims = json!({"iss": BOT_ISSUER, "aud": APP, "tid": TENANT, "exp": NOW + 60});
        let header = Header { x5t: Some("print of k1".into()), ..Header::new(Algorithm::RS256) };
        let key = EncodingKey::from_rsa_pem(OURS.pem.as_bytes()).unwrap();
        assert!(judge(&encode(&header, &claims, &key).unwrap()).is_ok());
    }

    #[test]
    fn two_keys_of_one_name_are_both_tried() {
        let keys = set(&[OTHER.jwk("k1"), OURS.jwk("k1")]);
        let token = OURS.sign("k1", &json!({"iss": BOT_ISSUER, "aud": APP, "tid": TENANT, "exp": NOW + 60}));
        let issuers = [BOT_ISSUER.to_owned()];
        assert!(call_token(&token, &keys, Expected { issuers: &issuers, client_id: APP }, TENANT, now()).is_ok());
    }
}

mod notifications {
    use super::*;

    const NONE: [&str; 0] = [];

    fn token(changes: Value) -> String {
        let issuer = format!("https://sts.windows.net/{TENANT}/");
        let good = json!({"iss": issuer, "aud": APP, "tid": TENANT, "appid": PUBLISHER, "exp": NOW + 600});
        OURS.sign("k1", &changed(good, changes))
    }

    fn judge(tokens: &[String], items: &[&str]) -> Result<(), Refusal> {
        let issuers =
            ["https://sts.windows.net/{tid}/".to_owned(), "https://login.microsoftonline.com/{tid}/v2.0".to_owned()];
        let expected = Expected { issuers: &issuers, client_id: APP };
        validation_tokens(tokens, &keys(), expected, PUBLISHER, TENANT, items, now())
    }

    #[test]
    fn every_token_must_be_good_and_no_token_proves_nothing() {
        let other = "1fdd12d0-4620-44ed-baec-459b611f84b2";
        let v2 =
            json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "appid": null, "azp": PUBLISHER});
        assert_eq!(judge(&[token(json!({}))], &[TENANT]), Ok(()));
        assert_eq!(judge(&[token(v2.clone()), token(json!({}))], &[&TENANT.to_uppercase()]), Ok(()));
        assert_eq!(judge(&[token(json!({}))], &NONE), Ok(()));

        assert_eq!(judge(&[], &NONE), Err(Refusal::Absent));
        assert_eq!(judge(&vec![token(json!({})); rules::TOKENS_LIMIT + 1], &NONE), Err(Refusal::TooLong));
        assert_eq!(judge(&[token(json!({}))], &[TENANT, other]), Err(Refusal::Tenant));
        for (changes, refusal) in [
            (json!({"tid": null}), Refusal::Issuer),
            (json!({"tid": other}), Refusal::Issuer),
            (json!({"tid": other, "iss": format!("https://sts.windows.net/{other}/")}), Refusal::Tenant),
            (json!({"iss": "https://sts.windows.net/{tid}/"}), Refusal::Issuer),
            (json!({"appid": null}), Refusal::Publisher),
            (json!({"appid": APP}), Refusal::Publisher),
            (json!({"azp": APP}), Refusal::Publisher),
            (json!({"aud": PUBLISHER}), Refusal::Audience),
            (json!({"exp": NOW - 301}), Refusal::Expired),
        ] {
            assert_eq!(judge(&[token(changes.clone())], &[TENANT]), Err(refusal), "{changes}");
            assert_eq!(judge(&[token(json!({})), token(changes.clone())], &[TENANT]), Err(refusal), "{changes}");
        }
    }

    #[test]
    fn an_unknown_key_is_said_only_if_nothing_else_is_wrong() {
        let claims = json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "aud": APP, "tid": TENANT, "appid": PUBLISHER, "exp": NOW + 600});
        let unknown = OURS.sign("k9", &claims);
        assert_eq!(judge(&[unknown.clone(), token(json!({}))], &[TENANT]), Err(Refusal::UnknownKey));
        assert_eq!(judge(&[unknown, token(json!({"appid": APP}))], &[TENANT]), Err(Refusal::Publisher));
    }
}

#[test]
fn key_sets_are_read_tolerantly() {
    let padded = json!({
        "kty": "rsa", "kid": "padded", "e": "AQAB",
        "n": base64::engine::general_purpose::URL_SAFE.encode([&[0u8][..], &OURS.modulus].concat()),
    });
    let unusable = [
        json!({"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "no number", "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "spaces", "n": "a b", "e": "AQAB"}),
        changed(OURS.jwk("for sealing"), json!({"use": "enc"})),
        changed(OURS.jwk("another algorithm"), json!({"alg": "RS512"})),
        changed(OURS.jwk(""), json!({"x5t": null})),
        json!(null),
    ];
    let found = set(&[&unusable[..], &[padded]].concat());
    assert_eq!(found.len(), 1);
    let token = OURS.sign("padded", &json!({}));
    assert!(jwt::Token::parse(&token).unwrap().verify(&found).is_ok());
    for none in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>"] {
        assert_eq!(KeySet::parse(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn bearer_tokens_are_found_in_headers() {
    assert_eq!(bearer(Some("Bearer a.b.c")), Ok("a.b.c"));
    assert_eq!(bearer(Some(" bearer   a.b.c ")), Ok("a.b.c"));
    for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic a.b.c"), Some("a.b.c")] {
        assert_eq!(bearer(header), Err(Refusal::Absent), "{header:?}");
    }
}

#[test]
fn refusals_are_one_line_without_content() {
    assert_eq!(Refusal::UnknownKey.to_string(), "signed by an unknown key");
}

proptest! {
    #[test]
    fn garbage_is_refused_without_panic(text in ".{0,300}", header in ".{0,60}", payload in ".{0,60}", signature in any::<Vec<u8>>()) {
        prop_assert!(jwt::Token::parse(&text).and_then(|token| token.verify(&keys()).map(|_| ())).is_err());
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.{}", part(&header), part(&payload), URL_SAFE_NO_PAD.encode(&signature));
        prop_assert!(jwt::Token::parse(&token).is_err());
        let claims = format!(r#"{{"exp":{payload:?},"aud":[{header:?},1,null],"nbf":1e999}}"#);
        let token = format!("{}.{}.{}", part(r#"{"alg":"RS256","kid":"k1"}"#), part(&claims), URL_SAFE_NO_PAD.encode(&signature));
        let _ = jwt::own_claims(&token);
        prop_assert!(jwt::Token::parse(&token).and_then(|token| token.verify(&keys()).map(|_| ())).is_err());
        let _ = KeySet::parse(text.as_bytes());
    }

    #[test]
    fn any_numbers_as_times_are_judged_without_panic(exp in any::<f64>(), nbf in any::<i64>(), now in any::<i64>()) {
        let claims = Claims(json!({"exp": exp, "nbf": nbf}).as_object().unwrap().clone());
        let _ = claims.in_time(Timestamp(now));
    }
}
