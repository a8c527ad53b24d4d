//! Compact JWS with RS256, and the key sets that prove them.
//!
//! Time comes in as a value. Nothing that a stranger writes can make this panic or choose the way of checking: the
//! algorithm is ours, the header may only agree with it.

use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::Refusal;
use crate::model::Timestamp;

/// Bytes of a token at most. Real ones have 1 to 3 kB.
pub const TOKEN_LIMIT: usize = 16 * 1024;
/// By how much clocks may differ (digest §4, §19).
pub const SKEW: Duration = Duration::from_secs(300);
/// Keys of a set that are looked at.
const KEYS_LIMIT: usize = 256;
/// Bytes of a modulus at most: 8192 bits.
const MODULUS_LIMIT: usize = 1024;

const TOLERANT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const TOLERANT_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, TOLERANT);
const TOLERANT_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, TOLERANT);

/// A public RSA key of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `kid`.
    pub id: String,
    /// `x5t`, the certificate's thumbprint, as published.
    pub thumbprint: Option<String>,
    /// Channels that the key may speak for; only the Bot Connector publishes any.
    pub endorsements: Vec<String>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Key {
    /// `None` for keys that cannot have made an RS256 signature, and for damaged ones.
    fn read(jwk: &Value) -> Option<Key> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let fits = |name: &str, wanted: &str| text(name).is_none_or(|found| found.eq_ignore_ascii_case(wanted));
        if !text("kty")?.eq_ignore_ascii_case("RSA") || !fits("use", "sig") || !fits("alg", "RS256") {
            return None;
        }
        let number = |name: &str| {
            let written = text(name)?;
            let bytes = TOLERANT_URL.decode(written).or_else(|_| TOLERANT_STANDARD.decode(written)).ok()?;
            // The library takes no leading zeros; some publishers write them.
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes.into_iter().skip(zeros).collect::<Vec<u8>>())
        };
        let endorsements = jwk.get("endorsements").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let key = Key {
            id: text("kid").or_else(|| text("x5t"))?.to_owned(),
            thumbprint: text("x5t").map(str::to_owned),
            endorsements: endorsements.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            modulus: number("n")?,
            exponent: number("e")?,
        };
        let sound = (256..=MODULUS_LIMIT).contains(&key.modulus.len()) && (1..=8).contains(&key.exponent.len());
        sound.then_some(key)
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: self.modulus.as_slice(), e: self.exponent.as_slice() };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Reads a JWKS document. What is not a usable RSA key of 2048 to 8192 bits is left out; `None` if there is no list.
    pub fn parse(document: &[u8]) -> Option<KeySet> {
        let document: Value = serde_json::from_slice(document).ok()?;
        let keys = document.get("keys")?.as_array()?;
        Some(KeySet { keys: keys.iter().take(KEYS_LIMIT).filter_map(Key::read).collect() })
    }

    /// How many usable keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// How a token names its key.
#[derive(Debug)]
enum KeyName {
    Id(String),
    /// Only where there is no `kid`.
    Thumbprint(String),
}

impl KeyName {
    fn names(&self, key: &Key) -> bool {
        match self {
            KeyName::Id(id) => key.id == *id,
            KeyName::Thumbprint(thumbprint) => key.thumbprint.as_ref() == Some(thumbprint),
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(pub Map<String, Value>);

/// The claim that .NET makes of `tid`.
const LONG_TENANT: &str = "http://schemas.microsoft.com/identity/claims/tenantid";

impl Claims {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// Whether `aud`, a text or a list of texts, names this application; letter case does not count.
    pub fn is_for(&self, client_id: &str) -> bool {
        let is_us = |value: &Value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(client_id));
        match self.0.get("aud") {
            Some(Value::Array(list)) => list.iter().any(is_us),
            Some(value) => is_us(value),
            None => false,
        }
    }

    /// `tid` under either of its names; `None` also if the two disagree.
    pub fn tenant(&self) -> Option<&str> {
        match (self.text("tid"), self.text(LONG_TENANT)) {
            (Some(short), Some(long)) if !short.eq_ignore_ascii_case(long) => None,
            (short, long) => short.or(long),
        }
    }

    /// `appid`: the application that a v1 token was given to.
    pub fn appid(&self) -> Option<&str> {
        self.text("appid")
    }

    /// `azp`: the same in a v2 token.
    pub fn azp(&self) -> Option<&str> {
        self.text("azp")
    }

    /// `serviceurl` in any letter case of its name.
    pub fn service_url(&self) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case("serviceurl")).and_then(|(_, value)| value.as_str())
    }

    /// `roles`: the permissions that an application's token carries.
    pub fn roles(&self) -> Vec<&str> {
        self.0.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Checks `exp` (which must be there), `nbf` and `iat`, each with [`SKEW`].
    pub fn in_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let seconds = |name: &str| self.0.get(name).map(|value| value.as_f64().filter(|number| number.is_finite()));
        // Exact enough: seconds of this millennium have ten digits, an f64 fifteen.
        let now = now.millis() as f64 / 1000.0;
        let skew = SKEW.as_secs_f64();
        match seconds("exp") {
            Some(Some(end)) if now < end + skew => {}
            Some(None) => return Err(Refusal::Malformed),
            _ => return Err(Refusal::Expired),
        }
        for name in ["nbf", "iat"] {
            match seconds(name) {
                None => {}
                Some(Some(start)) if start <= now + skew => {}
                Some(Some(_)) => return Err(Refusal::NotYet),
                Some(None) => return Err(Refusal::Malformed),
            }
        }
        Ok(())
    }
}

/// A token taken apart and not proven yet.
#[derive(Debug)]
pub struct Token<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    key: KeyName,
    claims: Claims,
}

impl<'t> Token<'t> {
    /// Takes a compact JWS apart; refuses every algorithm but RS256, and extensions (`crit`).
    pub fn parse(text: &'t str) -> Result<Token<'t>, Refusal> {
        if text.len() > TOKEN_LIMIT {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let header = object(header).ok_or(Refusal::Malformed)?;
        if header.get("alg").and_then(Value::as_str) != Some("RS256") || header.contains_key("crit") {
            return Err(Refusal::Algorithm);
        }
        let name = |name: &str| header.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let key = match (name("kid"), name("x5t")) {
            (Some(id), _) => KeyName::Id(id.to_owned()),
            (None, Some(thumbprint)) => KeyName::Thumbprint(thumbprint.to_owned()),
            (None, None) => return Err(Refusal::Malformed),
        };
        let claims = Claims(object(payload).ok_or(Refusal::Malformed)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?;
        Ok(Token { signed, signature, key, claims })
    }

    /// What the token says of itself; good for refusing it early, for nothing else.
    pub(super) fn unproven(&self) -> &Claims {
        &self.claims
    }

    /// The claims, and the key that signed them.
    pub fn verify(self, keys: &KeySet) -> Result<(Claims, &Key), Refusal> {
        let mut refusal = Refusal::UnknownKey;
        // All of that name: publishers have been seen to repeat one.
        for key in keys.keys.iter().filter(|key| self.key.names(key)) {
            if key.signed(self.signed.as_bytes(), &self.signature) {
                return Ok((self.claims, key));
            }
            refusal = Refusal::Signature;
        }
        Err(refusal)
    }
}

/// The claims of a token that we were given ourselves by the login service over TLS; its signature is not for us to
/// check. `None` if it is no JSON web token, which it need not be.
pub fn own_claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    (token.len() <= 4 * TOKEN_LIMIT && parts.next().is_none()).then(|| object(payload).map(Claims)).flatten()
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
