//! Search, as `search --json` answers, in pages and with counts.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Failure, Given, json, limit, read, zone};
use crate::archive::reader::Coverage;
use crate::index::query::{self, Calendar};
use crate::index::{Cursor, Facets, Hit, Request, Sort, Standing};
use crate::model::Event;
use crate::viewer::Viewer;
use crate::viewer::page::PageError;

/// What is looked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The query, in the language of the search box.
    q: String,
    /// `relevance` (default), `newest` or `oldest`.
    sort: Option<String>,
    /// Hits at most, 1 to 1000; default 100.
    limit: Option<usize>,
    /// `next` of the page before.
    after: Option<String>,
    /// `true`: with counts by sender, conversation, platform and month.
    #[serde(default)]
    facets: bool,
    /// IANA time zone in which dates of the query begin and end; default that of the viewer.
    tz: Option<String>,
}

/// An event that was found: the event itself, and how.
#[derive(Serialize, ToSchema)]
pub(super) struct Row {
    #[serde(flatten)]
    event: Event,
    /// The part of its text that matches best: HTML in which everything is escaped but `<mark>`.
    snippet: String,
    /// How well it matches; 0 when sorted by time.
    score: f32,
    /// `current`; `superseded` by a later edit; `deleted` at its source.
    standing: Standing,
    /// Subject of its conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_subject: Option<String>,
    /// Whether the record of its conversation is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
}

/// A page of hits.
#[derive(Serialize, ToSchema)]
pub(super) struct Hits {
    /// The hits of this page.
    hits: Vec<Row>,
    /// Number of all hits.
    total: u64,
    /// Counts of all hits, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<Facets>,
    /// `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Events up to this seq were searched.
    searched_to: u64,
}

/// Finds messages, people's coming and going, subjects, attachments.
#[utoipa::path(get, path = "/api/v1/search", tag = "search", params(Asked),
    responses((status = 200, body = Hits), (status = 400, body = Failure), (status = 503, body = Failure)))]
pub(super) async fn search(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Asked>,
) -> Result<Response, PageError> {
    let calendar = Calendar { now: viewer.clock.now(), zone: zone(asked.tz.as_deref(), viewer.options.zone)? };
    let query = query::parse(&asked.q, &calendar).map_err(|error| PageError::BadRequest {
        problem: format!("The query cannot be read: {error}."),
        hint: "The search page explains what can be asked.".into(),
    })?;
    let sort = match asked.sort.as_deref() {
        None | Some("" | "relevance") => Sort::Relevance,
        Some("newest") => Sort::Newest,
        Some("oldest") => Sort::Oldest,
        Some(_) => {
            return Err(PageError::BadRequest {
                problem: "`sort` is none of relevance, newest, oldest.".into(),
                hint: "Leave it out for relevance.".into(),
            });
        }
    };
    let limit = limit(asked.limit)?;
    let after: Option<Cursor> = read("after", asked.after.as_deref())?;
    let facets = asked.facets;
    let index = viewer.index()?;
    let answer = viewer.readers.ask(move |reader| -> Result<Hits, PageError> {
        let found = index.search(reader, &Request { query: &query, sort, limit, after, facets })?;
        Ok(Hits {
            hits: found.hits.into_iter().map(row).collect(),
            total: found.total,
            facets: found.facets,
            next: found.next.map(|next| next.to_string()),
            searched_to: found.reached.0,
        })
    });
    json(&answer.await?)
}

fn row(hit: Hit) -> Row {
    Row {
        snippet: hit.snippet.to_html(),
        event: hit.event,
        score: hit.score,
        standing: hit.standing,
        conversation_subject: hit.subject,
        coverage: hit.coverage,
    }
}
