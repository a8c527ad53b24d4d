//! What the HTTP clients of all connectors have in common: no redirects, limits, and failures without their texts.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// Reads a PEM bundle of certificate authorities; nothing configured is none.
///
/// # Errors
/// A text that names `ca_file`.
pub fn certificates(ca_pem: Option<&[u8]>) -> Result<Vec<reqwest::Certificate>, String> {
    match ca_pem {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|e| format!("ca_file holds no usable PEM certificate: {e}")),
        None => Ok(Vec::new()),
    }
}

/// What all clients for URLs of this scheme have in common.
pub fn builder(certificates: &[reqwest::Certificate], scheme: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_keepalive(Duration::from_secs(20))
        .tcp_nodelay(true)
        .referer(false)
        .user_agent(concat!("Greffier/", env!("CARGO_PKG_VERSION")));
    match scheme {
        "http" => builder.no_proxy(),
        _ if certificates.is_empty() => builder,
        _ => builder.tls_certs_merge(certificates.iter().cloned()),
    }
}

/// What kind of failure an error of the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Too slow.
    Timeout,
    /// No trust, or no common ground, in TLS.
    Tls,
    /// Nobody answers there.
    Connect,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

impl Trouble {
    /// In words, without address or content.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Timeout => "no answer in time",
            Trouble::Tls => {
                "TLS failed: the certificate is not trusted or not for this host (a private CA goes into `ca_file`)"
            }
            Trouble::Connect => "no connection",
            Trouble::Broken => "the connection broke",
        }
    }
}

/// What kind of failure an error is; its text may hold the URL and is not used.
pub fn trouble(error: &reqwest::Error) -> Trouble {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    let mut chain = String::new();
    while let Some(e) = source {
        chain.push_str(&e.to_string());
        chain.push('\n');
        source = e.source();
    }
    if error.is_timeout() {
        Trouble::Timeout
    } else if chain.contains("certificate") || chain.contains("HandshakeFailure") || chain.contains("TLS") {
        Trouble::Tls
    } else if error.is_connect() {
        Trouble::Connect
    } else {
        Trouble::Broken
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyTrouble {
    /// Longer than allowed.
    TooLarge,
    /// The connection broke before its end.
    Broken,
}

/// Reads the whole body, at most `most` bytes of it.
///
/// # Errors
/// [`BodyTrouble`].
pub async fn body(response: &mut reqwest::Response, most: usize) -> Result<Bytes, BodyTrouble> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyTrouble::Broken)? {
        if body.len() + chunk.len() > most {
            return Err(BodyTrouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
