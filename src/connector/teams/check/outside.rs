//! The requests of `check`: each once, without the recorder's repetitions and budgets.

use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap, HeaderValue};
use url::Url;

use super::super::ask::Reply;
use super::super::budget;
use super::super::token::TokenRequest;
use crate::connector::secret::Secret;
use crate::connector::web;
use crate::model::Timestamp;

/// Largest answer read.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(15);

/// HTTP clients for URLs with TLS and for plain ones on loopback.
pub(super) struct Outside {
    tls: reqwest::Client,
    plain: reqwest::Client,
}

impl Outside {
    /// Sets up HTTP; sends nothing yet.
    ///
    /// # Errors
    /// What is wrong with `ca_file`.
    pub(super) fn new(ca_pem: Option<&[u8]>) -> Result<Outside, String> {
        let certificates = web::certificates(ca_pem)?;
        let client = |scheme| {
            let built = web::builder(&certificates, scheme).timeout(LIMIT).build();
            built.map_err(|error| format!("cannot set up HTTP: {error}"))
        };
        Ok(Outside { tls: client("https")?, plain: client("http")? })
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "http" { &self.plain } else { &self.tls }
    }

    /// GET, with a token or without.
    pub(super) async fn get(&self, url: &str, token: Option<&Secret>) -> Reply {
        let Ok(url) = Url::parse(url) else { return Reply::Failed("not a URL".to_owned()) };
        let mut request = self.client(&url).get(url);
        if let Some(token) = token {
            let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", token.expose())) else {
                return Reply::Failed("the access token cannot be sent".to_owned());
            };
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        exchange(request).await.0
    }

    /// POST of an empty text, as the handshake of a subscription comes.
    pub(super) async fn knock(&self, url: Url) -> Reply {
        exchange(self.client(&url).post(url).header(header::CONTENT_TYPE, "text/plain").body("")).await.0
    }

    /// Asks the login service; the form holds secrets and goes nowhere else. Also `Retry-After` of the answer in seconds.
    pub(super) async fn form(&self, request: &TokenRequest, now: Timestamp) -> (Reply, Option<Duration>) {
        let Ok(url) = Url::parse(&request.url) else { return (Reply::Failed("not a URL".to_owned()), None) };
        let post = self.client(&url).post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (reply, headers) = exchange(post.body(encoded(request))).await;
        let told = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        (reply, told.and_then(|told| budget::pause_told(told, now)))
    }
}

fn encoded(request: &TokenRequest) -> String {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &request.form {
        body.append_pair(name, value.expose());
    }
    body.finish()
}

async fn exchange(request: reqwest::RequestBuilder) -> (Reply, HeaderMap) {
    let began = Instant::now();
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return (Reply::Failed(web::trouble(&error).as_str().to_owned()), HeaderMap::new()),
    };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let content_type =
        headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let reply = match web::body(&mut response, LARGEST_BODY).await {
        Ok(body) => Reply::Answer { status, content_type, body, took: began.elapsed() },
        Err(_) => Reply::Failed(web::Trouble::Broken.as_str().to_owned()),
    };
    (reply, headers)
}
