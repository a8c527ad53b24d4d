//! Requests and answers as plain values.

use serde_json::{Value, json};

/// A request of the recorder.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: String,
    /// Path and query as they came.
    pub raw: String,
    /// Segments of the path, decoded; `chats('x')` counts as two.
    pub segments: Vec<String>,
    /// Query, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads method, path with query, headers and body.
    pub fn new(method: &str, raw: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let mut segments = Vec::new();
        for part in path.split('/').filter(|p| !p.is_empty()) {
            let part = percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
            match part.strip_suffix("')").and_then(|p| p.split_once("('")) {
                Some((name, key)) => segments.extend([name.to_owned(), key.replace("''", "'")]),
                None => segments.push(part),
            }
        }
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Request { method: method.to_owned(), raw: raw.to_owned(), segments, query, headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A query option; names without regard to case and to the dollar sign.
    pub fn option(&self, name: &str) -> Option<&str> {
        let bare = |n: &str| n.trim_start_matches('$').to_ascii_lowercase();
        self.query.iter().find(|(n, _)| bare(n) == name.to_ascii_lowercase()).map(|(_, v)| v.as_str())
    }

    pub fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    pub fn json(&self) -> Result<Value, Reply> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Reply::error(400, "BadRequest", "Unable to read JSON request payload."))
    }

    /// Whether unknown members of enumerations are asked for.
    pub fn prefers_unknown(&self) -> bool {
        self.headers
            .iter()
            .filter(|(n, _)| n == "prefer")
            .any(|(_, v)| v.split(',').any(|p| p.trim() == "include-unknown-enum-members"))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn empty(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type", "application/json;odata.metadata=minimal;charset=utf-8".to_owned())];
        Reply { status, headers, body: value.to_string().into_bytes() }
    }

    /// An error as Graph puts it; its ids and date are filled in on the way out.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Reply::json(status, &json!({ "error": { "code": code, "message": message, "innerError": {} } }))
    }

    pub fn not_found() -> Self {
        Reply::error(404, "NotFound", "Resource not found.")
    }

    pub fn forbidden(permission: &str) -> Self {
        Reply::error(
            403,
            "Forbidden",
            &format!("Missing role permissions on the request. API requires one of '{permission}'."),
        )
    }

    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A collection as Graph puts it.
pub(super) fn collection(context: String, value: Vec<Value>, next: Option<String>) -> Reply {
    let mut shown = json!({ "@odata.context": context, "@odata.count": value.len(), "value": value });
    if let Some(next) = next {
        shown["@odata.nextLink"] = json!(next);
    }
    Reply::json(200, &shown)
}
