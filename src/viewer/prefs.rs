//! What a reader has chosen: the time zone in which times are shown. Kept in a cookie, or given by the address.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use chrono_tz::Tz;

use super::Viewer;
use super::time;
use crate::model::Timestamp;

/// Name of the cookie, and of the address's parameter that goes before it.
pub const ZONE: &str = "tz";

/// The reader's choices for one request; an extractor of every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefs {
    /// Zone of all times on the page.
    pub zone: Tz,
    /// What the header calls it: `UTC`, `Europe/Berlin, UTC+01:00`.
    pub zone_label: String,
    /// Whether the reader chose it.
    pub chosen: bool,
    /// Path and query of the page, for ways back to it.
    pub here: String,
}

impl Prefs {
    /// Reads them from a request; what cannot be understood counts as not given.
    pub fn read(zone: Tz, now: Timestamp, uri: &Uri, headers: &HeaderMap) -> Prefs {
        let given = uri.query().and_then(|query| parameter(query, ZONE)).and_then(|name| name.parse().ok());
        let kept = || cookie(headers, ZONE).and_then(|name| name.parse().ok());
        let own: Option<Tz> = given.or_else(kept);
        let chosen = own.is_some();
        let zone = own.unwrap_or(zone);
        let here = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Prefs { zone, zone_label: label(zone, now), chosen, here }
    }
}

impl FromRequestParts<Arc<Viewer>> for Prefs {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, viewer: &Arc<Viewer>) -> Result<Prefs, Infallible> {
        Ok(Prefs::read(viewer.options.zone, viewer.clock.now(), &parts.uri, &parts.headers))
    }
}

/// A zone with its present distance from UTC.
pub fn label(zone: Tz, now: Timestamp) -> String {
    match (zone.name(), time::offset(now, zone)) {
        (name, offset) if name == offset => offset,
        (name, offset) => format!("{}, {offset}", name.replace('_', " ")),
    }
}

/// The first value of a parameter of a query string, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The value of a cookie, decoded.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let sent = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, cookie: &str) -> (String, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        let now = Timestamp::parse_rfc3339("2026-11-21T07:00:00Z").unwrap();
        let prefs = Prefs::read(Tz::UTC, now, &uri.parse().unwrap(), &headers);
        (prefs.zone_label, prefs.chosen)
    }

    #[test]
    fn the_address_goes_before_the_cookie_and_nonsense_counts_as_nothing() {
        assert_eq!(read("/", ""), ("UTC".into(), false));
        assert_eq!(read("/", "a=b; tz=Europe%2FBerlin"), ("Europe/Berlin, UTC+01:00".into(), true));
        assert_eq!(read("/?tz=Asia/Kathmandu", "tz=Europe/Berlin"), ("Asia/Kathmandu, UTC+05:45".into(), true));
        assert_eq!(read("/?tz=Mars/Olympus", "tz=<script>"), ("UTC".into(), false));
        assert_eq!(read("/?tz=America/New_York", "").0, "America/New York, UTC-05:00".replace('-', "\u{2212}"));
    }
}
