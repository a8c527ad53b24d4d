//! What the login service answers.

use std::time::Duration;

use serde_json::Value;

use crate::connector::secret::Secret;

/// The life of a token whose answer does not tell it.
const DEFAULT_LIFE: u64 = 3600;
/// No token is believed to live longer than a day.
const LONGEST_LIFE: u64 = 24 * 3600;

/// Why there is no token. Holds nothing secret, so that it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFailure {
    /// The service understood and refused: a person must mend something.
    #[error("the login service refused ({error}{}): {}", number(*.code), remedy(error, *.code))]
    Refused {
        /// `error` of the answer, for example `invalid_client`.
        error: String,
        /// First of `error_codes`, for example 7000215.
        code: Option<u64>,
    },
    /// The service, or something before it, does not work just now.
    #[error("the login service answered {status}")]
    Outage {
        /// HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No connection, or no answer in time.
    #[error("{0}")]
    Unreachable(String),
}

/// A token as it was given.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: Secret,
    pub(super) life: Duration,
}

/// Reads an answer of the token endpoint.
pub(super) fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Result<Granted, TokenFailure> {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let outage = TokenFailure::Outage { status, retry_after };
    match (status, text("error")) {
        (200..300, None) => {
            let bearer = text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
            // It goes into a header line: nothing but visible ASCII.
            let token =
                text("access_token").filter(|token| bearer && token.bytes().all(|byte| byte.is_ascii_graphic()));
            let token = token.ok_or(outage)?;
            Ok(Granted { token: Secret::new(token.to_owned()), life: life(body.get("expires_in")) })
        }
        // A proxy's or a gateway's page has no `error`; these two are the service's own words for an outage.
        (400..500, Some(error))
            if !matches!(status, 408 | 429) && error != "temporarily_unavailable" && error != "server_error" =>
        {
            let plain = error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let error = if plain { error.to_owned() } else { "error".to_owned() };
            Err(TokenFailure::Refused { error, code: code(&body) })
        }
        _ => Err(outage),
    }
}

/// Seconds, as a number or as a text of digits.
fn life(value: Option<&Value>) -> Duration {
    let seconds = match value {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64)),
        None => None,
    };
    Duration::from_secs(seconds.unwrap_or(DEFAULT_LIFE).clamp(1, LONGEST_LIFE))
}

/// The number of the error: listed, or at the beginning of the description (`AADSTS7000215: …`).
fn code(body: &Value) -> Option<u64> {
    let listed = body.get("error_codes").and_then(Value::as_array).and_then(|codes| codes.first()?.as_u64());
    listed.or_else(|| {
        let described = body.get("error_description")?.as_str()?.trim().strip_prefix("AADSTS")?;
        let digits: String = described.chars().take_while(char::is_ascii_digit).take(12).collect();
        digits.parse().ok()
    })
}

fn number(code: Option<u64>) -> String {
    code.map(|code| format!(", AADSTS{code}")).unwrap_or_default()
}

/// What to do about a refusal.
fn remedy(error: &str, code: Option<u64>) -> &'static str {
    match code {
        Some(7_000_215) => {
            "the client secret is wrong; put the secret's Value, not its Secret ID, into the file of client_secret_file"
        }
        Some(7_000_222) => {
            "the client secret has ended; make a new one in the app registration and put it into its file"
        }
        Some(700_016) => {
            "there is no such application in the tenant; check client_id and tenant_id, and give admin consent"
        }
        Some(700_027) => "the certificate is not known to the app registration, or has ended; upload the one in use",
        Some(700_024 | 700_021 | 50_013) => {
            "the assertion was not accepted; check this machine's clock and the certificate"
        }
        Some(90_002 | 900_023) => "there is no such tenant; check tenant_id and cloud",
        Some(7_000_112) => "the application is disabled in the tenant; enable it under Enterprise applications",
        Some(500_011 | 70_011 | 1_002_012) => {
            "the scope is not known in this cloud; check cloud, graph_scope and bot_scope"
        }
        Some(53_003) => "a Conditional Access policy blocks the application; exclude it or allow this address",
        _ => match error {
            "invalid_client" => "check client_id and the client secret or certificate in the app registration",
            "unauthorized_client" => "the application is not allowed in this tenant; check client_id and admin consent",
            "invalid_scope" => "check graph_scope and bot_scope",
            _ => "check tenant_id, client_id, cloud and the credentials",
        },
    }
}
