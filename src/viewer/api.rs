//! `/api/v1`: the pages' abilities as JSON, and the OpenAPI document that describes them, made from the same code.
//!
//! Events, conversations and the other objects are those of the command line and the exports. Lists come in pages: `next`
//! is given back as `after` and stays valid while the archive grows. An error is `{"error":{"status":…,"message":…,"hint":…}}`.

mod conversations;
mod events;
mod export;
mod live;
mod people;
mod record;
mod search;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::{ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Viewer;
use super::page::{Cache, PageError};
use crate::model::{Seq, Timestamp};

/// Rows of a page where the request does not say.
const PAGE: usize = 100;

/// Rows of a page at most.
const LARGEST: usize = 1000;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    let (router, document) = described();
    let document = Arc::new(document.to_json().unwrap_or_default());
    router.route(
        "/api/v1/openapi.json",
        get(move || {
            let document = Arc::clone(&document);
            async move { bytes(document.as_bytes().to_vec(), "application/vnd.oai.openapi+json", Cache::Ask) }
        }),
    )
}

/// The routes and the document that describes them.
fn described() -> (Router<Arc<Viewer>>, OpenApi) {
    let info = InfoBuilder::new()
        .title("Greffier")
        .version("1")
        .description(Some(
            "Read-only access to an archive of conversations. Events are facts and never change; what is listed as \
             `incomplete` says itself that something may be missing.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .contact(Some(ContactBuilder::new().name(Some("Greffier")).build()));
    let empty = OpenApiBuilder::new().info(info.build()).build();
    let (router, mut document) = OpenApiRouter::with_openapi(empty)
        .routes(routes!(conversations::conversations))
        .routes(routes!(conversations::conversation))
        .routes(routes!(conversations::events_of_conversation))
        .routes(routes!(events::events))
        .routes(routes!(events::event))
        .routes(routes!(events::proof))
        .routes(routes!(events::attachment))
        .routes(routes!(live::live))
        .routes(routes!(search::search))
        .routes(routes!(people::people))
        .routes(routes!(people::person))
        .routes(routes!(record::status))
        .routes(routes!(record::checkpoint))
        .routes(routes!(record::activity))
        .routes(routes!(record::totals))
        .routes(routes!(record::gaps))
        .routes(routes!(export::formats))
        .routes(routes!(export::export))
        .split_for_parts();
    for operation in document.paths.paths.values_mut().filter_map(|path| path.get.as_mut()) {
        for (status, response) in &mut operation.responses.responses {
            // A description is required; where the operation has none of its own, the status says it all.
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = told(status).into();
            }
        }
    }
    (router, document)
}

fn told(status: &str) -> &'static str {
    match status {
        "200" => "The answer.",
        "400" => "A parameter says something that cannot be.",
        "404" => "There is no such thing.",
        "503" => "Just now it cannot be done; come again in a moment.",
        _ => "See the status.",
    }
}

/// The parameters of a request. One that is not known is an error: a filter that is spelled wrong and left out would give
/// more than was asked for.
struct Given<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Given<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Given<T>, PageError> {
        let asked = Query::<T>::try_from_uri(&parts.uri).map_err(|refusal| PageError::BadRequest {
            problem: format!("The parameters cannot be read: {}.", reason(&refusal)),
            hint: "/api/v1/openapi.json describes them.".into(),
        })?;
        Ok(Given(asked.0))
    }
}

/// The innermost reason, which names the parameter.
fn reason(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

/// The seq that an address names.
fn seq(text: &str) -> Result<Seq, PageError> {
    text.parse().map(Seq).map_err(|_| PageError::BadRequest {
        problem: "An event is named by its seq.".into(),
        hint: "Write its number in the log, such as /api/v1/events/42.".into(),
    })
}

/// Why a request failed.
#[derive(Serialize, utoipa::ToSchema)]
struct Failure {
    error: FailureText,
}

/// Status and words.
#[derive(Serialize, utoipa::ToSchema)]
struct FailureText {
    /// HTTP status.
    status: u16,
    /// What is wrong.
    message: String,
    /// What to do.
    hint: String,
}

/// An answer as JSON.
fn json(value: &impl Serialize) -> Result<Response, PageError> {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "cannot write an answer as JSON");
        PageError::Internal
    })?;
    Ok(bytes(text, "application/json", Cache::Ask))
}

fn bytes(text: Vec<u8>, media_type: &'static str, cache: Cache) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    cache.mark(&mut headers, &text);
    (headers, Body::from(text)).into_response()
}

fn limit(asked: Option<usize>) -> Result<usize, PageError> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=LARGEST => Ok(limit),
        _ => Err(PageError::BadRequest {
            problem: format!("`limit` must be a number from 1 to {LARGEST}."),
            hint: "Fetch further rows with `after`.".into(),
        }),
    }
}

/// Reads a parameter that has a text form.
fn read<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, PageError> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|_| PageError::BadRequest {
        problem: format!("`{name}` cannot be read."),
        hint: "Give it back exactly as an earlier answer wrote it.".into(),
    })
}

/// Reads a time: RFC 3339 or a date, which begins at midnight UTC.
fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, PageError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let date = || {
        let day = text.parse::<NaiveDate>().ok()?;
        Some(Timestamp::from(day.and_time(chrono::NaiveTime::MIN).and_utc()))
    };
    let at = Timestamp::parse_rfc3339(text).or_else(date);
    at.map(Some).ok_or_else(|| PageError::BadRequest {
        problem: format!("`{name}` is no time."),
        hint: "Write 2026-11-21T09:30:00Z, or a date such as 2026-11-21.".into(),
    })
}

fn zone(text: Option<&str>, default: Tz) -> Result<Tz, PageError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(default) };
    text.parse().map_err(|_| PageError::BadRequest {
        problem: "`tz` is no time zone.".into(),
        hint: "Write a name of the IANA database, such as Europe/Berlin.".into(),
    })
}

fn unknown(what: &str, hint: &str) -> PageError {
    PageError::NotFound { what: what.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests;
