//! People: who has ever taken part.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Failure, Given, json, limit, unknown};
use crate::archive::reader::{NameRow, PersonRow};
use crate::viewer::Viewer;
use crate::viewer::page::PageError;

/// Which people.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Id or a name contains this.
    q: Option<String>,
    /// People at most, 1 to 1000; default 100.
    limit: Option<usize>,
    /// Id of the last person of the page before.
    after: Option<String>,
}

/// A page of people.
#[derive(Serialize, ToSchema)]
pub(super) struct People {
    /// By id.
    people: Vec<PersonRow>,
    /// `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// People by their address.
#[utoipa::path(get, path = "/api/v1/people", tag = "people", params(Asked),
    responses((status = 200, body = People), (status = 400, body = Failure)))]
pub(super) async fn people(
    State(viewer): State<Arc<Viewer>>,
    Given(asked): Given<Asked>,
) -> Result<Response, PageError> {
    let limit = limit(asked.limit)?;
    let answer = viewer.readers.ask(move |reader| -> Result<People, PageError> {
        let after = asked.after.as_deref();
        let people = match asked.q.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => reader.people_matching(text, after, limit)?,
            None => reader.people(after, limit)?,
        };
        let next = people.last().filter(|_| people.len() >= limit).map(|person| person.id.clone());
        Ok(People { people, next })
    });
    json(&answer.await?)
}

/// One person.
#[derive(Serialize, ToSchema)]
pub(super) struct PersonDetail {
    #[serde(flatten)]
    person: PersonRow,
    /// The names borne, with the times between which they were told.
    names: Vec<NameRow>,
}

/// One person and the names they bore. Conversations: `/api/v1/conversations?person=`; messages: `/api/v1/search?q=from:`.
#[utoipa::path(get, path = "/api/v1/people/{id}", tag = "people",
    params(("id" = String, Path, description = "The platform's stable address.")),
    responses((status = 200, body = PersonDetail), (status = 404, body = Failure)))]
pub(super) async fn person(State(viewer): State<Arc<Viewer>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let answer = viewer.readers.ask(move |reader| -> Result<PersonDetail, PageError> {
        let person =
            reader.person(&id)?.ok_or_else(|| unknown("There is no such person.", "/api/v1/people lists all."))?;
        let names = reader.names_of(&id)?;
        Ok(PersonDetail { person, names })
    });
    json(&answer.await?)
}
