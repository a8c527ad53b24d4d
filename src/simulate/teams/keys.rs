//! Keys of the simulated Microsoft: who signs what, the key sets that are published, and tokens right and wrong.
//!
//! Tokens are put together by hand, so that every wrong one can be made: no signature, a foreign key, HMAC with the
//! public key.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Base64 of tokens: URL-safe, without padding.
pub(super) fn url64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Ordinary base64.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Which of the three services signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signer {
    /// `api.aps.skype.com`: call notifications.
    Calls,
    /// `login.microsoftonline.com`: validation tokens and access tokens.
    Login,
    /// `login.botframework.com`: activities.
    Bot,
}

/// One signing key.
pub(super) struct SigningKey {
    pub kid: String,
    pair: RsaKeyPair,
}

impl SigningKey {
    /// A fresh key of 2048 bits.
    pub fn generate(kid: String) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key of 2048 bits can be made");
        SigningKey { kid, pair }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the buffer has the length of the modulus");
        signature
    }

    fn jwk(&self, endorsements: &[&str]) -> Value {
        let public = self.pair.public_key();
        let mut key = json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid, "alg": "RS256",
            "n": url64(public.modulus().big_endian_without_leading_zero()),
            "e": url64(public.exponent().big_endian_without_leading_zero()),
        });
        if !endorsements.is_empty() {
            key["endorsements"] = json!(endorsements);
        }
        key
    }

    fn public_der(&self) -> Vec<u8> {
        let der =
            self.pair.public_key().as_der().map(|d: aws_lc_rs::encoding::PublicKeyX509Der<'_>| d.as_ref().to_vec());
        der.expect("a public key has a DER form")
    }
}

/// How a token is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// `aud` is another application.
    Audience,
    /// `iss` is a stranger.
    Issuer,
    /// Signed by a key that is not published, under a published `kid`.
    Key,
    /// Signed by a key that is not published, under its own `kid`.
    UnknownKid,
    /// Expired an hour ago.
    Expired,
    /// Not valid for another hour.
    NotYet,
    /// Without `tid`.
    NoTenant,
    /// `tid` is another tenant.
    Tenant,
    /// `alg: none`, no signature.
    Unsigned,
    /// `alg: HS256` with the public key as secret.
    Hmac,
    /// No token at all.
    Missing,
    /// Not a token.
    Garbage,
    /// `appid` is another publisher (validation tokens).
    Publisher,
    /// `serviceurl` is another one (activities).
    ServiceUrl,
    /// The key is not endorsed for `msteams` (activities).
    Endorsement,
}

/// Every signing key of the tenant, with those of before a rotation.
pub(super) struct Keys {
    calls: Vec<Arc<SigningKey>>,
    login: Vec<Arc<SigningKey>>,
    bot: Vec<Arc<SigningKey>>,
    unendorsed: Arc<SigningKey>,
    stranger: Arc<SigningKey>,
    made: u32,
}

impl Keys {
    /// Fresh keys for everybody.
    pub fn generate() -> Self {
        let key = |kid: &str| Arc::new(SigningKey::generate(kid.to_owned()));
        Keys {
            calls: vec![key("calls-1")],
            login: vec![key("login-1")],
            bot: vec![key("bot-1")],
            unendorsed: key("bot-unendorsed"),
            stranger: key("stranger"),
            made: 1,
        }
    }

    fn of(&self, signer: Signer) -> &[Arc<SigningKey>] {
        match signer {
            Signer::Calls => &self.calls,
            Signer::Login => &self.login,
            Signer::Bot => &self.bot,
        }
    }

    /// A new key signs from now on; `forget` takes the old ones out of the published set.
    pub fn rotate(&mut self, signer: Signer, forget: bool) {
        self.made += 1;
        let made = self.made;
        let (list, name) = match signer {
            Signer::Calls => (&mut self.calls, "calls"),
            Signer::Login => (&mut self.login, "login"),
            Signer::Bot => (&mut self.bot, "bot"),
        };
        if forget {
            list.clear();
        }
        list.push(Arc::new(SigningKey::generate(format!("{name}-{made}"))));
    }

    /// The published key set (JWKS).
    pub fn set(&self, signer: Signer) -> Value {
        let endorsements: &[&str] = if signer == Signer::Bot { &["msteams", "skype"] } else { &[] };
        let mut keys: Vec<Value> = self.of(signer).iter().map(|k| k.jwk(endorsements)).collect();
        if signer == Signer::Bot {
            keys.push(self.unendorsed.jwk(&["webchat"]));
        }
        json!({ "keys": keys })
    }

    /// A token with these claims, right or wrong. `None`: no token at all.
    pub fn token(&self, signer: Signer, mut claims: Value, bad: Option<BadToken>) -> Option<String> {
        let current = self.of(signer).last().unwrap_or(&self.stranger);
        let mut key = Arc::clone(current);
        let mut kid = key.kid.clone();
        let mut alg = "RS256";
        let shift = |claims: &mut Value, seconds: i64| {
            for name in ["iat", "nbf", "exp"] {
                if let Some(t) = claims[name].as_i64() {
                    claims[name] = json!(t + seconds);
                }
            }
        };
        match bad {
            None => {}
            Some(BadToken::Missing) => return None,
            Some(BadToken::Garbage) => return Some("not.a.token".to_owned()),
            Some(BadToken::Audience) => claims["aud"] = json!("99999999-0000-4000-8000-000000000000"),
            Some(BadToken::Issuer) => claims["iss"] = json!("https://issuer.invalid/"),
            Some(BadToken::Key) => key = Arc::clone(&self.stranger),
            Some(BadToken::UnknownKid) => {
                key = Arc::clone(&self.stranger);
                kid.clone_from(&key.kid);
            }
            Some(BadToken::Endorsement) => {
                key = Arc::clone(&self.unendorsed);
                kid.clone_from(&key.kid);
            }
            Some(BadToken::Expired) => {
                let life = claims["exp"].as_i64().unwrap_or(0) - claims["iat"].as_i64().unwrap_or(0);
                shift(&mut claims, -(life + 3600));
            }
            Some(BadToken::NotYet) => shift(&mut claims, 3600),
            Some(BadToken::NoTenant) => {
                if let Some(all) = claims.as_object_mut() {
                    all.remove("tid");
                }
            }
            Some(BadToken::Tenant) => claims["tid"] = json!("99999999-1111-4000-8000-000000000000"),
            Some(BadToken::Publisher) => claims["appid"] = json!("99999999-2222-4000-8000-000000000000"),
            Some(BadToken::ServiceUrl) => claims["serviceurl"] = json!("https://service.invalid/"),
            Some(BadToken::Unsigned) => alg = "none",
            Some(BadToken::Hmac) => alg = "HS256",
        }
        let head = json!({ "alg": alg, "typ": "JWT", "kid": kid, "x5t": kid });
        let signed = format!("{}.{}", url64(head.to_string()), url64(claims.to_string()));
        let signature = match alg {
            "none" => Vec::new(),
            "HS256" => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.public_der());
                hmac::sign(&secret, signed.as_bytes()).as_ref().to_vec()
            }
            _ => key.sign(signed.as_bytes()),
        };
        Some(format!("{signed}.{}", url64(signature)))
    }
}

/// SHA-1 of a certificate in upper-case hex, as thumbprints are written.
pub(super) fn thumbprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    hash.as_ref().iter().map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn a_token_is_verified_by_the_published_key_and_a_wrong_one_is_not() {
        let keys = Keys::generate();
        let set = keys.set(Signer::Calls);
        let part = |name: &str| URL_SAFE_NO_PAD.decode(set["keys"][0][name].as_str().unwrap()).unwrap();
        let public = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        let check = |token: &str| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).is_ok()
        };
        let claims = json!({ "aud": "a", "iat": 10, "nbf": 10, "exp": 20 });
        assert!(check(&keys.token(Signer::Calls, claims.clone(), None).unwrap()));
        for bad in [BadToken::Key, BadToken::UnknownKid, BadToken::Unsigned, BadToken::Hmac] {
            assert!(!check(&keys.token(Signer::Calls, claims.clone(), Some(bad)).unwrap()), "{bad:?}");
        }
    }
}
