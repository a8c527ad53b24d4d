//! `/people`: everybody who ever took part, with a search; and `/people/{id}`: what the archive knows of one of them.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use chrono_tz::Tz;
use serde::Deserialize;

use crate::archive::reader::{Attendance, Conversation, ConversationFilter, ConversationState, NameRow, PersonRow};
use crate::archive::{ArchiveError, Reader};
use crate::harmless;
use crate::viewer::listing::{Day, days};
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::{Viewer, links, time, words};

/// People on a page of the directory.
const PAGE: usize = 100;

/// Conversations on a person's page; the list of conversations has the rest.
const NEWEST: usize = 12;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/people", get(people)).route("/people/{id}", get(person))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    /// Part of a name or address.
    name: String,
    /// Address after which the page begins.
    after: String,
}

/// One person of the directory.
struct Row {
    href: String,
    name: String,
    address: String,
    misleading: bool,
    conversations: String,
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    shell: Shell,
    name: String,
    rows: Vec<Row>,
    next: String,
    first: String,
}

async fn people(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let name = asked.name.trim().to_owned();
    let after = Some(asked.after).filter(|after| !after.is_empty());
    let (text, from) = (name.clone(), after.clone());
    let rows: Vec<PersonRow> = viewer
        .readers
        .ask(move |reader| match text.as_str() {
            "" => reader.people(from.as_deref(), PAGE + 1),
            text => reader.people_matching(text, from.as_deref(), PAGE + 1),
        })
        .await?;
    let more = rows.len() > PAGE;
    let next =
        rows.get(PAGE - 1).filter(|_| more).map(|last| links::with("/people", &[("name", &name), ("after", &last.id)]));
    let page = People {
        rows: rows.iter().take(PAGE).map(Row::new).collect(),
        next: next.unwrap_or_default(),
        first: after.map(|_| links::with("/people", &[("name", &name)])).unwrap_or_default(),
        shell: Shell::new(&viewer, prefs, "people", "People"),
        name,
    };
    Ok(html(page, Cache::Ask))
}

impl Row {
    fn new(person: &PersonRow) -> Row {
        Row {
            href: links::person(&person.id),
            name: words::named(person.name.as_deref(), &person.id),
            address: harmless::one_line(words::address(&person.id)),
            misleading: words::may_mislead(&person.id),
            conversations: words::count(person.conversations),
        }
    }
}

/// A name and when it was borne.
struct Name {
    name: String,
    span: String,
}

/// One stay in a conversation.
struct Stay {
    href: String,
    title: String,
    joined: time::Moment,
    left: Option<time::Moment>,
    /// Instead of when they left.
    instead: &'static str,
    length: String,
}

#[derive(Template)]
#[template(path = "person.html")]
struct Person {
    shell: Shell,
    address: String,
    misleading: bool,
    conversations: String,
    names: Vec<Name>,
    days: Vec<Day>,
    all: String,
    more: bool,
    messages: String,
    with: String,
    stays: Vec<Stay>,
}

/// What the archive answered about a person.
struct Known {
    person: PersonRow,
    names: Vec<NameRow>,
    conversations: Vec<Conversation>,
    stays: Vec<(usize, Attendance)>,
}

async fn person(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let zone = prefs.zone;
    let known = viewer.readers.ask(move |reader| known(reader, &id)).await?.ok_or_else(|| PageError::NotFound {
        what: "The archive knows nobody of this address.".into(),
        hint: "Addresses are written as the platform writes them, such as sip:alice@contoso.com; look the person up under People."
            .into(),
    })?;
    let id = &known.person.id;
    let name = words::named(known.person.name.as_deref(), id);
    let page = Person {
        address: harmless::one_line(words::address(id)),
        misleading: words::may_mislead(id),
        conversations: words::count(known.person.conversations),
        names: known.names.iter().map(|name| Name::new(name, zone)).collect(),
        all: links::with("/", &[("person", id)]),
        more: known.person.conversations > known.conversations.len() as u64,
        messages: links::search(&format!("from:{} kind:message", quoted(id))),
        with: links::search(&format!("with:{}", quoted(id))),
        stays: known.stays.iter().map(|(of, stay)| Stay::new(&known.conversations[*of], stay, zone)).collect(),
        days: days(&known.conversations, zone),
        shell: Shell::new(&viewer, prefs, "people", name),
    };
    Ok(html(page, Cache::Ask))
}

/// A value as the query language takes any text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', " "))
}

fn known(reader: &Reader, id: &str) -> Result<Option<Known>, ArchiveError> {
    let Some(person) = reader.person(id)? else { return Ok(None) };
    let filter = ConversationFilter { person: Some(id.to_owned()), ..ConversationFilter::default() };
    let conversations = reader.conversations_newest(&filter, None, NEWEST)?.rows;
    let mut stays = Vec::new();
    for (of, conversation) in conversations.iter().enumerate() {
        let all = reader.attendance_of(&conversation.id)?;
        stays.extend(all.into_iter().filter(|stay| stay.person.id == id).map(|stay| (of, stay)));
    }
    Ok(Some(Known { names: reader.names_of(id)?, person, conversations, stays }))
}

impl Name {
    fn new(row: &NameRow, zone: Tz) -> Name {
        let (first, last) = (time::date(row.first_at, zone), time::date(row.last_at, zone));
        let span = match first == last {
            true => time::short_day(first),
            false => format!("{} – {}", time::short_day(first), time::short_day(last)),
        };
        Name { name: harmless::one_line(&row.name), span }
    }
}

impl Stay {
    fn new(conversation: &Conversation, stay: &Attendance, zone: Tz) -> Stay {
        Stay {
            href: links::conversation(&conversation.id),
            title: words::title(conversation),
            joined: time::Moment::new(stay.joined_at, zone),
            left: stay.left_at.map(|left| time::Moment::new(left, zone)),
            instead: if conversation.state == ConversationState::Live { "still there" } else { "not told" },
            length: stay.left_at.map(|left| time::length(left.since(stay.joined_at))).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::viewer::links;
    use crate::viewer::tests::{block_on, empty, get, main_of, story, told};

    #[test]
    fn the_directory_tells_look_alikes_apart() {
        let (_dir, viewer) = told();
        let page = main_of(&block_on(get(&viewer, "/people")).text());
        insta::assert_snapshot!(page);
        assert!(page.contains("<bdi>alice@contoso.com</bdi></td>"));
        assert!(page.contains("<bdi>\u{430}lice@contoso.com</bdi> <span class=\"mark mark-warn\">"));
        assert!(page.contains(&format!("href=\"{}\"", links::person(story::LOOKALIKE))));
        assert!(!page.contains("<img"));
    }

    #[test]
    fn people_are_found_by_name_and_address() {
        let (_dir, viewer) = told();
        block_on(async {
            let bob = get(&viewer, "/people?name=BUILDER").await.text();
            assert!(bob.contains("Bob Builder") && !bob.contains("Alice Example"), "{bob}");
            assert!(get(&viewer, "/people?name=%E7%94%B0%E4%B8%AD").await.text().contains("tanaka@contoso.com"));
            assert!(
                get(&viewer, "/people?name=nobody").await.text().contains("Nobody’s name or address contains this.")
            );
        });
    }

    #[test]
    fn a_person_has_conversations_attendance_and_names() {
        let (_dir, viewer) = told();
        let page = main_of(&block_on(get(&viewer, "/people/sip:bob@contoso.com")).text());
        insta::assert_snapshot!(page);
        for part in ["Bob Builder", "Names borne", "Budget 2027", "/search?q=from%3A%22sip%3Abob%40contoso.com%22"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn hostile_names_are_text() {
        let (_dir, viewer) = told();
        let got = block_on(get(&viewer, "/people/sip%3Aeve%40contoso.com"));
        assert_eq!(got.status, 200);
        assert!(
            got.text().contains("<title>&#34;&#62;&#60;img src=x onerror=alert(3)&#62; · Greffier</title>"),
            "{}",
            got.text()
        );
        assert!(!got.text().contains("<img"));
    }

    #[test]
    fn nobody_is_nobody() {
        let (_dir, viewer) = empty();
        block_on(async {
            assert!(get(&viewer, "/people").await.text().contains("Nobody is on record yet."));
            let got = get(&viewer, "/people/%3Cscript%3E").await;
            assert_eq!(got.status, 404);
            assert!(got.text().contains("knows nobody of this address") && !got.text().contains("<script>"));
        });
    }
}
