//! Integrated Windows Authentication by NTLM, for the token address.
//!
//! NTLM proves a connection, not a request: the server's challenge and our reply must travel on the same one. So each
//! exchange has a client of its own that speaks HTTP/1.1 and can open one connection only; if the server closes it in
//! between, the exchange fails as broken and nobody mistakes that for a wrong password. Only NTLMv2 is spoken.
//!
//! Not done: channel bindings (a server whose Extended Protection is set to "required" refuses us), and Kerberos.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ntlmclient::{
    AuthenticateMessage, ChallengeMessage, Flags, Message, NegotiateMessage, TargetInfoEntry, TargetInfoType,
};
use tower_layer::Layer;
use tower_service::Service;
use zeroize::Zeroize as _;

use super::send;
use crate::connector::ucwa::http::{Answer, NetFailure, Request, Secret};
use crate::model::Timestamp;

/// What we can do; 128 bit and session security are there because servers may insist on them being negotiated.
const ABILITIES: Flags = Flags::NEGOTIATE_UNICODE
    .union(Flags::REQUEST_TARGET)
    .union(Flags::NEGOTIATE_NTLM)
    .union(Flags::NEGOTIATE_ALWAYS_SIGN)
    .union(Flags::NEGOTIATE_NTLM2_KEY)
    .union(Flags::NEGOTIATE_TARGET_INFO)
    .union(Flags::NEGOTIATE_128BIT)
    .union(Flags::NEGOTIATE_56BIT);
/// Longest challenge read, in base64; real ones have some hundred characters. Lengths inside are 16 bit.
const LONGEST_CHALLENGE: usize = 32 * 1024;
/// Longest user name; Windows knows 104 characters and a domain.
const LONGEST_NAME: usize = 1024;
/// How long the connection may take to become free again after the challenge.
const GRACE: Duration = Duration::from_secs(1);
/// 100 ns units between 1601 and 1970.
const FILETIME_OF_EPOCH: i64 = 116_444_736_000_000_000;

/// Sends the request and answers the challenge it gets; the password is tried at most once.
///
/// # Errors
/// [`NetFailure::NoNtlm`] if there is no NTLM challenge to answer; [`NetFailure::Broken`] if the server did not keep the
/// connection.
pub(super) async fn exchange(
    builder: reqwest::ClientBuilder,
    request: &Request,
    username: &str,
    password: &Secret,
) -> Result<Answer, NetFailure> {
    let client = builder
        .http1_only()
        .pool_max_idle_per_host(1)
        .retry(reqwest::retry::never())
        .connector_layer(OneConnection::default())
        .build()
        .map_err(|_| NetFailure::Tls)?;
    let hello = hello()?;
    let mut scheme = "NTLM";
    let mut answer = send(&client, request, Some(proof(scheme, &hello))).await?;
    if answer.status == 401 && offer(&answer, "NTLM").is_none() && offer(&answer, "Negotiate").is_some() {
        scheme = "Negotiate";
        answer = send(&client, request, Some(proof(scheme, &hello))).await.map_err(later)?;
    }
    if answer.status != 401 {
        return Ok(answer);
    }
    let challenge = offer(&answer, scheme).filter(|token| !token.is_empty()).ok_or(NetFailure::NoNtlm)?;
    let reply = reply(challenge, answer.server_date, username, password).ok_or(NetFailure::NoNtlm)?;
    send(&client, request, Some(proof(scheme, &reply))).await.map_err(later)
}

/// A connection that cannot be opened again was lost.
fn later(failure: NetFailure) -> NetFailure {
    if failure == NetFailure::Connect { NetFailure::Broken } else { failure }
}

fn proof(scheme: &str, message: &[u8]) -> String {
    format!("{scheme} {}", BASE64.encode(message))
}

/// What follows the scheme where a 401 offers it: nothing, or a challenge in base64.
fn offer<'a>(answer: &'a Answer, scheme: &str) -> Option<&'a str> {
    answer.www_authenticate.iter().flat_map(|field| field.split(',')).find_map(|item| {
        let (name, token) = item.trim().split_once(char::is_whitespace).unwrap_or((item.trim(), ""));
        name.eq_ignore_ascii_case(scheme).then_some(token.trim())
    })
}

fn hello() -> Result<Vec<u8>, NetFailure> {
    let message = NegotiateMessage {
        flags: ABILITIES,
        supplied_domain: String::new(),
        supplied_workstation: String::new(),
        os_version: Default::default(),
    };
    Message::Negotiate(message).to_bytes().map_err(|_| NetFailure::Broken)
}

/// The reply to a challenge; `None` if that is not one that NTLMv2 can answer.
fn reply(challenge: &str, date: Option<Timestamp>, username: &str, password: &Secret) -> Option<Vec<u8>> {
    if challenge.len() > LONGEST_CHALLENGE || username.len() > LONGEST_NAME {
        return None;
    }
    let bytes = BASE64.decode(challenge).ok()?;
    let Ok(Message::Challenge(challenge)) = Message::try_from(bytes.as_slice()) else { return None };
    // The server's clock counts: it refuses replies that are far from it.
    let stamp = stamp(&challenge);
    let time = stamp.or_else(|| Some(date?.0.checked_mul(10)? + FILETIME_OF_EPOCH))?;
    let target: Vec<u8> = challenge.target_information.iter().flat_map(TargetInfoEntry::to_bytes).collect();
    let (domain, user) = names(username);
    let mut credentials = ntlmclient::Credentials {
        username: user.to_owned(),
        password: password.expose().to_owned(),
        domain: domain.to_owned(),
    };
    let response = ntlmclient::respond_challenge_ntlm_v2(challenge.challenge, &target, time, &credentials);
    credentials.password.zeroize();
    let message = AuthenticateMessage {
        // A server that tells its time gets no LMv2 response.
        lm_response: if stamp.is_some() { vec![0; 24] } else { response.lm_response },
        ntlm_response: response.ntlm_response,
        domain_name: credentials.domain,
        user_name: credentials.username,
        workstation_name: String::new(),
        // No key exchange was negotiated; the crate's own conversion would send the session key in clear.
        session_key: Vec::new(),
        flags: (ABILITIES & challenge.flags) | Flags::NEGOTIATE_UNICODE,
        os_version: Default::default(),
    };
    Message::Authenticate(message).to_bytes().ok()
}

/// The server's time, in 100 ns since 1601, if the challenge tells it.
fn stamp(challenge: &ChallengeMessage) -> Option<i64> {
    let entry = challenge.target_information.iter().find(|entry| entry.entry_type == TargetInfoType::Timestamp)?;
    Some(i64::from_le_bytes(entry.data.as_slice().try_into().ok()?))
}

/// Domain and user of `DOMAIN\user`; `user@domain` is a user without domain, which the server resolves.
fn names(username: &str) -> (&str, &str) {
    username.split_once('\\').unwrap_or(("", username))
}

/// Lets a client open one connection, ever.
#[derive(Clone, Default)]
struct OneConnection(Arc<AtomicBool>);

impl<S> Layer<S> for OneConnection {
    type Service = Once<S>;

    fn layer(&self, inner: S) -> Once<S> {
        Once { inner, used: self.0.clone() }
    }
}

#[derive(Clone)]
struct Once<S> {
    inner: S,
    used: Arc<AtomicBool>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, R> Service<R> for Once<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        if !self.used.swap(true, Ordering::Relaxed) {
            return Box::pin(self.inner.call(target));
        }
        // The client asks for a second connection whenever the first one is not free yet, and takes whichever comes
        // first; so the refusal gives the first one a moment.
        Box::pin(async {
            tokio::time::sleep(GRACE).await;
            Err("the server did not keep the connection".into())
        })
    }
}
