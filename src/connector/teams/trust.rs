//! Who is speaking: the tokens of those who call our webhooks.
//!
//! Three ways in, three issuers, three rules ([`rules`]); they are never mixed. All tokens are compact JWS, signed with
//! RS256 and nothing else ([`jwt`]), by keys that the issuer publishes and that [`keyring`] keeps up to date.

pub mod jwt;
pub mod keyring;
pub mod rules;

pub use jwt::{Claims, KeySet};
pub use keyring::KeyRing;
pub use rules::{CallCaller, Expected, bot_token, call_token, validation_tokens};

/// Why a token is not accepted. Holds nothing of the token, so that it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no bearer token.
    #[error("no bearer token")]
    Absent,
    /// Longer than [`jwt::TOKEN_LIMIT`], or more tokens at once than [`rules::TOKENS_LIMIT`].
    #[error("token too long, or too many of them")]
    TooLong,
    /// It is not a compact JWS with a JSON object in it.
    #[error("not a JSON web token")]
    Malformed,
    /// Signed with something else than RS256, or with extensions that must be understood.
    #[error("not signed with RS256")]
    Algorithm,
    /// Signed by a key that is not in the set: it may have been published since. Refreshing the keys may help, nothing
    /// else will.
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The signature is not of the key that the token names.
    #[error("wrong signature")]
    Signature,
    /// Over, or it says no end.
    #[error("expired")]
    Expired,
    /// Not valid yet.
    #[error("not valid yet")]
    NotYet,
    /// For somebody else.
    #[error("wrong audience")]
    Audience,
    /// From somebody else.
    #[error("wrong issuer")]
    Issuer,
    /// It names no tenant, two of them, or not ours.
    #[error("wrong tenant")]
    Tenant,
    /// The application that it was given to is not the publisher of change notifications.
    #[error("wrong publisher")]
    Publisher,
    /// `serviceurl` is missing or differs from that of the activity.
    #[error("wrong service URL")]
    ServiceUrl,
    /// The key does not speak for the channel of the activity.
    #[error("key without endorsement for the channel")]
    Endorsement,
}

impl Refusal {
    /// Whether the same token may be accepted after the keys were fetched again.
    pub fn may_pass_with_new_keys(self) -> bool {
        self == Refusal::UnknownKey
    }
}

/// The token in the value of an `Authorization` header.
pub fn bearer(header: Option<&str>) -> Result<&str, Refusal> {
    let (scheme, token) = header.and_then(|value| value.trim().split_once(' ')).ok_or(Refusal::Absent)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(token) } else { Err(Refusal::Absent) }
}

#[cfg(test)]
mod tests;
