//! The three rules by which tokens are judged: call notifications (digest §4), change notifications (§13), activities
//! (§19).
//!
//! What a token says of itself is looked at before its key is: so a token that is not for us never makes anybody fetch
//! keys. All checks must pass, in whatever order.

use super::Refusal;
use super::jwt::{Claims, Key, KeySet, Token};
use crate::model::Timestamp;

/// Validation tokens of one delivery at most; documents speak of one per tenant.
pub const TOKENS_LIMIT: usize = 64;

/// Whom a token must be from and for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// `iss`, any of them; `{tid}` in one stands for the token's own tenant.
    pub issuers: &'e [String],
    /// `aud`: our application.
    pub client_id: &'e str,
}

/// Who sends a call notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCaller {
    /// The tenant, lower case.
    pub tid: String,
}

/// Judges the token of a call notification: it must carry the tenant `tenant`.
pub fn call_token(
    token: &str,
    keys: &KeySet,
    expected: Expected<'_>,
    tenant: &str,
    now: Timestamp,
) -> Result<CallCaller, Refusal> {
    let token = plausible(token, expected, now)?;
    let tid = tenant_of(token.unproven(), tenant)?;
    token.verify(keys)?;
    Ok(CallCaller { tid })
}

/// Judges the token of a Bot Framework activity with this `channelId` and this `serviceUrl`, which must be equal to the
/// byte.
pub fn bot_token(
    token: &str,
    keys: &KeySet,
    expected: Expected<'_>,
    channel_id: &str,
    service_url: &str,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let token = plausible(token, expected, now)?;
    if service_url.is_empty() || token.unproven().service_url() != Some(service_url) {
        return Err(Refusal::ServiceUrl);
    }
    let (claims, key) = token.verify(keys)?;
    if !endorses(key, channel_id) {
        return Err(Refusal::Endorsement);
    }
    Ok(claims)
}

/// Judges the `validationTokens` of change notifications that carry resource data. Every token must be good, be given to
/// `publisher` and carry the tenant `tenant`; together they must cover the tenants that the items name. No tokens are no
/// proof.
pub fn validation_tokens(
    tokens: &[impl AsRef<str>],
    keys: &KeySet,
    expected: Expected<'_>,
    publisher: &str,
    tenant: &str,
    item_tenants: &[impl AsRef<str>],
    now: Timestamp,
) -> Result<(), Refusal> {
    if tokens.is_empty() {
        return Err(Refusal::Absent);
    }
    if tokens.len() > TOKENS_LIMIT {
        return Err(Refusal::TooLong);
    }
    let mut tenants = Vec::new();
    let mut unknown_key = false;
    for token in tokens {
        let token = plausible(token.as_ref(), expected, now)?;
        let claims = token.unproven();
        // A token that names two applications must mean the same one.
        let given_to: Vec<&str> = [claims.appid(), claims.azp()].into_iter().flatten().collect();
        if given_to.is_empty() || !given_to.iter().all(|app| app.eq_ignore_ascii_case(publisher)) {
            return Err(Refusal::Publisher);
        }
        tenants.push(tenant_of(claims, tenant)?);
        match token.verify(keys) {
            Ok(_) => {}
            // Another token may settle the matter without new keys.
            Err(Refusal::UnknownKey) => unknown_key = true,
            Err(refusal) => return Err(refusal),
        }
    }
    let covered = |item: &str| tenants.iter().any(|tenant| tenant.eq_ignore_ascii_case(item));
    if !item_tenants.iter().all(|item| covered(item.as_ref())) {
        return Err(Refusal::Tenant);
    }
    if unknown_key { Err(Refusal::UnknownKey) } else { Ok(()) }
}

/// A token whose own words fit: form, time, issuer, audience.
fn plausible<'t>(token: &'t str, expected: Expected<'_>, now: Timestamp) -> Result<Token<'t>, Refusal> {
    let token = Token::parse(token)?;
    let claims = token.unproven();
    claims.in_time(now)?;
    if !expected.issuers.iter().any(|issuer| is_issuer(claims, issuer)) {
        return Err(Refusal::Issuer);
    }
    if !claims.is_for(expected.client_id) {
        return Err(Refusal::Audience);
    }
    Ok(token)
}

fn is_issuer(claims: &Claims, template: &str) -> bool {
    let Some(issuer) = claims.issuer() else { return false };
    match (template.contains("{tid}"), claims.tenant()) {
        (false, _) => issuer == template,
        (true, Some(tenant)) => issuer == template.replace("{tid}", tenant),
        (true, None) => false,
    }
}

fn tenant_of(claims: &Claims, wanted: &str) -> Result<String, Refusal> {
    let tenant = claims.tenant().filter(|tenant| tenant.eq_ignore_ascii_case(wanted)).ok_or(Refusal::Tenant)?;
    Ok(tenant.to_ascii_lowercase())
}

fn endorses(key: &Key, channel_id: &str) -> bool {
    !channel_id.is_empty() && key.endorsements.iter().any(|endorsed| endorsed == channel_id)
}
