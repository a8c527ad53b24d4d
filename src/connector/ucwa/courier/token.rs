//! Web tickets: how to ask for one, and what the answer says.

use std::time::Duration;

use url::Url;

use super::failure::{SignInFailure, diagnostics_code};
use super::{Authorization, Body, Credentials, Secret};
use crate::connector::ucwa::http::Answer;
use crate::connector::ucwa::wire::Resource;
use crate::model::Timestamp;

/// The ways to a ticket that an unattended recorder can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Name and password in the form.
    Password,
    /// Integrated Windows Authentication at the token address.
    Windows,
}

const WINDOWS: &str = "urn:microsoft.rtc:windows";

impl Grant {
    /// Its name in a challenge.
    pub(super) fn name(self) -> &'static str {
        match self {
            Grant::Password => "password",
            Grant::Windows => WINDOWS,
        }
    }

    /// `password` if it is offered, else the Windows grant.
    pub(super) fn choose(offered: &[String]) -> Option<Grant> {
        let has = |name: &str| offered.iter().any(|grant| grant.eq_ignore_ascii_case(name));
        if has("password") { Some(Grant::Password) } else { has(WINDOWS).then_some(Grant::Windows) }
    }

    /// Form and header of the token request.
    pub(super) fn proof(self, credentials: &Credentials) -> (Body, Authorization) {
        match self {
            Grant::Password => {
                let form = vec![
                    ("grant_type", Secret::new("password".to_owned())),
                    ("username", Secret::new(credentials.username.clone())),
                    ("password", credentials.password.clone()),
                ];
                (Body::Form(form), Authorization::None)
            }
            Grant::Windows => {
                let windows = Authorization::Windows {
                    username: credentials.username.clone(),
                    password: credentials.password.clone(),
                };
                (Body::Form(vec![("grant_type", Secret::new(WINDOWS.to_owned()))]), windows)
            }
        }
    }
}

/// A ticket of one origin.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Which of our tickets; from 1.
    pub(super) number: u64,
    pub(super) token: Secret,
    pub(super) expires: Timestamp,
    pub(super) renew_at: Timestamp,
    pub(super) issuer: Url,
    pub(super) grant: Grant,
}

/// Warning time before the end of a ticket.
const MARGIN: Duration = Duration::from_secs(600);

impl Ticket {
    pub(super) fn new(number: u64, token: Secret, life: Duration, issuer: Url, grant: Grant, now: Timestamp) -> Ticket {
        // 80 % of the life or ten minutes before its end, whichever is first; but ten minutes mean nothing to a ticket
        // that lives not much longer.
        let early = life.saturating_sub(MARGIN);
        let eighty = life * 4 / 5;
        let renew_after = if early >= life / 2 { eighty.min(early) } else { eighty };
        Ticket { number, token, expires: now.plus(life), renew_at: now.plus(renew_after), issuer, grant }
    }
}

/// A ticket as the token address gave it.
pub(super) struct Reply {
    pub(super) token: Secret,
    pub(super) life: Duration,
}

/// The life of a ticket whose answer does not tell it.
const DEFAULT_LIFE: i64 = 3600;
/// No ticket is believed to live longer than a week.
const LONGEST_LIFE: i64 = 7 * 24 * 3600;

/// Reads the answer of a token address.
pub(super) fn read(answer: &Answer, grant: Grant) -> Result<Reply, SignInFailure> {
    let code = answer.diagnostics.as_deref().and_then(diagnostics_code);
    let server = SignInFailure::TokenServer { status: answer.status, code, retry_after: answer.retry_after };
    let resource = Resource::parse(&answer.body).ok();
    let text = |name: &str| resource.as_ref().and_then(|r| r.text(name)).map(str::trim).filter(|t| !t.is_empty());
    match (answer.status, text("error")) {
        (200, None) => {
            let bearer = text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
            // It goes into a header line: nothing but visible ASCII.
            let token = text("access_token").filter(|token| bearer && token.bytes().all(|b| b.is_ascii_graphic()));
            let life = resource.as_ref().and_then(|r| r.int("expires_in")).unwrap_or(DEFAULT_LIFE);
            let life = Duration::from_secs(life.clamp(1, LONGEST_LIFE).unsigned_abs());
            token.map(|token| Reply { token: Secret::new(token.to_owned()), life }).ok_or(server)
        }
        (401, _) | (_, Some("invalid_grant")) => Err(SignInFailure::WrongCredentials { code }),
        (_, Some("unsupported_grant_type")) => Err(SignInFailure::GrantRefused { grant: grant.name(), code }),
        _ => Err(server),
    }
}
