//! HTTP as plain data: what the sans-IO parts ask for and what comes back. No sockets here.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

pub use crate::connector::secret::Secret;
use crate::model::Timestamp;

/// Number of one request on the wire; given out by the machine that sends it, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Request methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// Upper-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing; a POST still says `Content-Length: 0`.
    Empty,
    /// `application/json`.
    Json(serde_json::Value),
    /// `text/plain; charset=utf-8` with exactly this text.
    Text(String),
    /// `application/x-www-form-urlencoded;charset=utf-8`; the driver encodes names and values.
    Form(Vec<(&'static str, Secret)>),
}

/// Which connection a request uses. The event channel has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The long poll.
    Channel,
    /// Everything else.
    Command,
}

/// How the request proves who we are.
#[derive(Clone, Debug, PartialEq)]
pub enum Authorization {
    /// No header.
    None,
    /// `Authorization: Bearer <token>`.
    Bearer(Secret),
    /// Answer an NTLM or Negotiate challenge on this connection with these credentials.
    Windows {
        /// `DOMAIN\user` or `user@domain`.
        username: String,
        /// The password.
        password: Secret,
    },
}

/// One request, ready to be put on the wire. Redirects are never followed by the driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URL, byte for byte as the server gave it where it came from a link.
    pub url: Url,
    /// Body.
    pub body: Body,
    /// Credentials; decided by the courier alone.
    pub authorization: Authorization,
    /// Connection.
    pub lane: Lane,
    /// Time until the whole answer must be there.
    pub timeout: Duration,
}

/// An HTTP answer whose body has arrived whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Every `WWW-Authenticate` field, in order.
    pub www_authenticate: Vec<String>,
    /// `X-Ms-diagnostics`.
    pub diagnostics: Option<String>,
    /// `Retry-After` in seconds, rounded up (HTTP dates are turned into seconds by the driver).
    pub retry_after: Option<Duration>,
    /// `Location`.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Date`.
    pub server_date: Option<Timestamp>,
    /// Body after content decoding; at most the driver's size limit.
    pub body: Bytes,
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetFailure {
    /// No whole answer within the request's time.
    Timeout,
    /// Name, TCP or proxy failure before anything was sent.
    Connect,
    /// Certificate or TLS failure.
    Tls,
    /// The connection broke, or the body was shorter than announced.
    Broken,
    /// The body is larger than the driver reads.
    TooLarge,
    /// NTLM was to be spoken, but the server gave no NTLM challenge; the password was not tried.
    NoNtlm,
}

impl NetFailure {
    /// A fragment for messages, for example `no answer in time`.
    pub fn text(self) -> &'static str {
        match self {
            NetFailure::Timeout => "no answer in time",
            NetFailure::Connect => "no connection",
            NetFailure::Tls => "the TLS certificate or handshake was refused (a private authority goes into `ca_file`)",
            NetFailure::Broken => "the connection broke",
            NetFailure::TooLarge => "the answer is larger than a recorder reads",
            NetFailure::NoNtlm => "the server gave no NTLM challenge",
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A whole answer, whatever its status.
    Answer(Answer),
    /// None.
    Failed(NetFailure),
}
