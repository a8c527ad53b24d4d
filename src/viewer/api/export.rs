//! Exports, as the command line makes them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Failure, Given, time, unknown, zone};
use crate::export::{Search, Selection};
use crate::index::query::{self, Calendar};
use crate::model::ConversationId;
use crate::viewer::Viewer;
use crate::viewer::download::{Wanted, download, format};
use crate::viewer::page::PageError;

/// Messages around a hit, at most.
const CONTEXT: u64 = 1000;

/// What is taken away; everything given must hold, and one of `conversation`, `q`, `since`, `until` must be given.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Name of the format: `jsonl`, `text`, `html` …; /api/v1/formats lists all.
    format: String,
    /// Ids of conversations, with commas between them.
    conversation: Option<String>,
    /// Only what this query finds, in the language of the search box.
    q: Option<String>,
    /// Messages before and after each hit that go in as well, at most 1000.
    context: Option<u64>,
    /// Events at or after this time (RFC 3339, or a date in UTC).
    since: Option<String>,
    /// Events before this time.
    until: Option<String>,
    /// Only conversations with somebody whose id or name contains this.
    participant: Option<String>,
    /// Only what came through the connector of this name.
    connector: Option<String>,
    /// IANA time zone of the query's dates, and of times in the files; default that of the viewer.
    tz: Option<String>,
    /// `only`: the format's one file alone; default: a ZIP archive with manifest, proofs and README.
    file: Option<String>,
}

impl Asked {
    fn wanted(self, viewer: &Viewer) -> Result<Wanted, PageError> {
        let format = format(&self.format)?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let bad = |problem: &str, hint: &str| PageError::BadRequest { problem: problem.into(), hint: hint.into() };
        let alone = match self.file.as_deref() {
            None | Some("") => false,
            Some("only") => true,
            Some(_) => return Err(bad("`file` can only be `only`.", "Leave it out for the whole export.")),
        };
        let zone = zone(self.tz.as_deref(), viewer.options.zone)?;
        let now = viewer.clock.now();
        let text = given(self.q);
        let calendar = Calendar { now, zone };
        let query = match &text {
            Some(text) => Some(query::parse(text, &calendar).map_err(|error| PageError::BadRequest {
                problem: format!("The query cannot be read: {error}."),
                hint: "The search page explains what can be asked.".into(),
            })?),
            None => None,
        };
        let context = self.context.unwrap_or(0);
        if context > CONTEXT {
            return Err(bad("`context` can be 1000 at most.", "Export the conversations as a whole."));
        }
        let conversations = given(self.conversation).unwrap_or_default();
        let conversations = conversations.split(',').filter(|id| !id.is_empty()).map(|id| {
            let none = || unknown("There is no such conversation.", "/api/v1/conversations lists all.");
            ConversationId::parse(id).ok_or_else(none)
        });
        let selection = Selection {
            conversations: conversations.collect::<Result<_, _>>()?,
            since: time("since", self.since.as_deref())?,
            until: time("until", self.until.as_deref())?,
            participant: given(self.participant),
            connector: given(self.connector),
            search: text.map(|query| Search { query, zone: zone.name().into(), now, context }),
            zone: Some(zone),
        };
        let whole = selection.conversations.is_empty() && selection.since.is_none() && selection.until.is_none();
        if whole && selection.search.is_none() {
            return Err(bad(
                "It does not say what is wanted.",
                "Give `conversation`, `q`, `since` or `until`; since=1970-01-01 is everything.",
            ));
        }
        Ok(Wanted { selection, query, format, alone })
    }
}

/// An export to take away, made while it is sent.
#[utoipa::path(get, path = "/api/v1/export", tag = "exports", params(Asked),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/zip",
            description = "The export; with `file=only` the format's own media type."),
        (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 503, body = Failure, description = "Other exports are being made.")))]
pub(super) async fn export(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Asked>,
) -> Result<Response, PageError> {
    let wanted = asked.wanted(&viewer)?;
    download(&viewer, wanted).await
}

/// A format of exports.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct FormatRow {
    /// Its name.
    name: &'static str,
    /// What it is.
    about: &'static str,
    /// Media type of its files.
    media_type: &'static str,
    /// Whether it is always one file, so that `file=only` is possible for several conversations.
    one_file: bool,
}

/// The formats of exports.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct Formats {
    /// All of them.
    formats: Vec<FormatRow>,
}

/// The formats of exports.
#[utoipa::path(get, path = "/api/v1/formats", tag = "exports", responses((status = 200, body = Formats)))]
pub(super) async fn formats() -> Result<Response, PageError> {
    let formats = crate::export::FORMATS.iter().map(|format| FormatRow {
        name: format.name(),
        about: format.about(),
        media_type: format.media_type(),
        one_file: format.container() == crate::export::Container::One,
    });
    super::json(&Formats { formats: formats.collect() })
}
