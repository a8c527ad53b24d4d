//! `/settings`: in which time zone times are shown. A form that needs no script; the choice is kept in a cookie.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::Deserialize;

use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::prefs::{ZONE, label};
use crate::viewer::time::Moment;
use crate::viewer::{Viewer, links};

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/settings", get(settings))
}

#[derive(Deserialize)]
struct Asked {
    /// Where the reader came from.
    #[serde(default)]
    back: String,
    /// The zone to keep; empty = the archive's.
    keep: Option<String>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    shell: Shell,
    back: String,
    now: Moment,
    archive_zone: String,
    utc_chosen: bool,
    areas: Vec<Area>,
}

struct Area {
    name: String,
    zones: Vec<Zone>,
}

struct Zone {
    name: &'static str,
    label: String,
    chosen: bool,
}

async fn settings(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let back = links::back(&asked.back).to_owned();
    if let Some(zone) = asked.keep {
        return keep(&zone, &back);
    }
    let now = viewer.clock.now();
    let page = Settings {
        back,
        now: Moment::new(now, prefs.zone),
        archive_zone: label(viewer.options.zone, now),
        utc_chosen: prefs.zone == Tz::UTC,
        areas: areas(prefs.zone),
        shell: Shell::new(&viewer, prefs, "settings", "Time zone"),
    };
    Ok(html(page, Cache::Never))
}

/// Remembers a choice for a year, or forgets it.
fn keep(zone: &str, back: &str) -> Result<Response, PageError> {
    let (value, age) = match zone {
        "" => (String::new(), 0),
        name => {
            let zone: Tz = name.parse().map_err(|_| PageError::BadRequest {
                problem: "There is no time zone of that name.".into(),
                hint: "Choose one from the list at /settings, such as Europe/Berlin.".into(),
            })?;
            (links::encode(zone.name()), 31_536_000)
        }
    };
    let cookie = format!("{ZONE}={value}; Path=/; Max-Age={age}; SameSite=Lax; HttpOnly");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(back)).into_response())
}

/// Every zone of the IANA database that is named after a place, by area.
fn areas(chosen: Tz) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for zone in TZ_VARIANTS {
        let Some((area, place)) = zone.name().split_once('/') else { continue };
        let entry =
            Zone { name: zone.name(), label: place.replace('_', " ").replace('/', " / "), chosen: chosen == zone };
        match areas.iter_mut().find(|known| known.name == area) {
            Some(known) => known.zones.push(entry),
            None => areas.push(Area { name: area.to_owned(), zones: vec![entry] }),
        }
    }
    areas.sort_by(|a, b| a.name.cmp(&b.name));
    areas
}

#[cfg(test)]
mod tests {
    use crate::viewer::tests::{ask, block_on, get, told};

    #[test]
    fn a_choice_is_remembered_and_can_be_forgotten() {
        let (_dir, viewer) = told();
        block_on(async {
            let page = get(&viewer, "/settings?back=/people%3Fname%3Dx").await.text();
            assert!(page.contains("<option value=\"Asia/Tokyo\">Tokyo</option>"), "{page}");
            assert!(page.contains("href=\"/people?name=x\""), "{page}");
            let got = get(&viewer, "/settings?keep=Asia/Tokyo&back=/people%3Fname%3Dx").await;
            assert_eq!((got.status, got.header("location").as_str()), (303, "/people?name=x"));
            let cookie = got.header("set-cookie");
            assert_eq!(cookie, "tz=Asia%2FTokyo; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
            let kept = cookie.split(';').next().expect("a pair");
            let page = ask(&viewer, "GET", "/", &[("cookie", kept)]).await.text();
            assert!(page.contains("Times in Asia/Tokyo, UTC+09:00"), "{page}");
            assert!(page.contains("datetime=\"2026-11-21T20:00:00.000+09:00\""), "{page}");
            let got = get(&viewer, "/settings?keep=&back=//evil.example").await;
            assert_eq!((got.status, got.header("location").as_str()), (303, "/"));
            assert!(got.header("set-cookie").starts_with("tz=; Path=/; Max-Age=0;"));
            assert_eq!(get(&viewer, "/settings?keep=Mars%0d%0aX:%20y").await.status, 400);
        });
    }
}
