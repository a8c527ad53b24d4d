//! Why a call came to nothing, in words that say what to do and hold no secret.

use std::fmt;
use std::time::Duration;

use crate::connector::ucwa::http::NetFailure;
use crate::model::Timestamp;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The network, of the call itself or of the token request that it needed.
    Net(NetFailure),
    /// The next step would tell a secret to a host that is not trusted, or over plain http; nothing was sent there.
    Untrusted {
        /// The origin, for example `https://pool.example`.
        host: String,
    },
    /// Signing in failed.
    SignIn(SignInFailure),
}

/// Why there is no usable ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInFailure {
    /// The server calls name or password wrong. Nothing more is tried until [`super::Courier::reset_credentials_block`].
    WrongCredentials {
        /// `X-Ms-diagnostics` of the answer.
        code: Option<u32>,
    },
    /// The challenge offers no grant that a recorder can use.
    NoUsableGrant {
        /// What it offers.
        offered: Vec<String>,
    },
    /// The token address refuses the kind of grant that the challenge offered.
    GrantRefused {
        /// The one we used.
        grant: &'static str,
        /// `X-Ms-diagnostics` of the answer.
        code: Option<u32>,
    },
    /// The token address asks for Windows authentication, but takes no NTLM. The password was not sent.
    NoNtlm,
    /// 401 without a challenge that leads to a ticket.
    NoChallenge,
    /// A fresh ticket was refused as well.
    Unauthorised {
        /// `X-Ms-diagnostics` of the answer.
        code: Option<u32>,
    },
    /// The token address is not working or gave an unreadable answer: back off.
    TokenServer {
        /// HTTP status.
        status: u16,
        /// `X-Ms-diagnostics` of the answer.
        code: Option<u32>,
        /// What the server asked for.
        retry_after: Option<Duration>,
    },
}

/// Something a person should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Name or password is wrong; signing in has stopped. Only raised where no call waits that could tell it by its failure.
    WrongCredentials(SignInFailure),
    /// A ticket could not be renewed; it is tried again every minute.
    NotRenewed {
        /// The pool.
        origin: String,
        /// When the ticket at hand ends.
        expires: Timestamp,
        /// Why.
        failure: CallFailure,
    },
}

struct Code(Option<u32>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, " (diagnostics {code})"),
            None => Ok(()),
        }
    }
}

impl SignInFailure {
    /// What happened and what to do.
    pub fn text(&self) -> String {
        match self {
            SignInFailure::WrongCredentials { code } => format!(
                "the server refuses the user name or password{}; check `username` and the password, and that the account is enabled and not locked",
                Code(*code)
            ),
            SignInFailure::NoUsableGrant { offered } => format!(
                "the server offers no way to sign in that a recorder can use (offered: {}); allow `password` or `urn:microsoft.rtc:windows` for web tickets on the pool",
                listed(offered)
            ),
            SignInFailure::GrantRefused { grant, code } => format!(
                "the server offered the grant `{grant}` but refuses it{}; allow it for web tickets on the pool",
                Code(*code)
            ),
            SignInFailure::NoNtlm => "the web ticket service takes no NTLM (Kerberos alone does not do for this version); allow NTLM in the Windows authentication of the pool's web services, or the grant `password` for web tickets".to_owned(),
            SignInFailure::NoChallenge => "the server refuses access without saying where to get a web ticket; check that the URL belongs to a Skype for Business pool and that no proxy in between asks for a sign-in of its own".to_owned(),
            SignInFailure::Unauthorised { code } => format!(
                "the server refuses the web ticket that it has just issued{}; check that the account is enabled for Skype for Business and homed on this pool",
                Code(*code)
            ),
            SignInFailure::TokenServer { status, code, .. } => format!(
                "the web ticket service answered {status} and issued no ticket{}; it will be tried again",
                Code(*code)
            ),
        }
    }
}

/// Names that a server wrote, made short and printable.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut list: Vec<String> =
        names.iter().take(8).map(|name| name.chars().filter(|c| !c.is_control()).take(60).collect()).collect();
    if names.len() > list.len() {
        list.push("…".to_owned());
    }
    list.join(", ")
}

impl CallFailure {
    /// Name or password is wrong: trying again would lock the account.
    pub fn wrong_credentials(&self) -> bool {
        matches!(self, CallFailure::SignIn(SignInFailure::WrongCredentials { .. }))
    }

    /// What happened and what to do.
    pub fn text(&self) -> String {
        match self {
            CallFailure::Net(failure) => failure.text().to_owned(),
            CallFailure::Untrusted { host } => format!(
                "{host} may not be told credentials; if it belongs to your organisation, add its host name to `trusted_hosts` (https only, except on this machine)"
            ),
            CallFailure::SignIn(failure) => failure.text(),
        }
    }
}

impl Alarm {
    /// What happened and what to do.
    pub fn text(&self) -> String {
        match self {
            Alarm::WrongCredentials(failure) => failure.text(),
            Alarm::NotRenewed { origin, expires, failure } => {
                format!("cannot renew the web ticket of {origin}, which ends at {expires}: {}", failure.text())
            }
        }
    }
}

macro_rules! shown {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text())
            }
        }
    )*};
}
shown!(CallFailure, SignInFailure, Alarm);
impl std::error::Error for CallFailure {}
impl std::error::Error for SignInFailure {}

/// The number at the start of `X-Ms-diagnostics: 28032;source="…";reason="…"`, whatever follows it.
pub fn diagnostics_code(field: &str) -> Option<u32> {
    let text = field.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}
