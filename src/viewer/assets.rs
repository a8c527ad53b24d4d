//! The files that pages need besides their HTML: one style sheet, one small script, an icon. All our own, all in the binary.
//!
//! Their address carries a hash of what they hold, so that a browser may keep them for ever and still gets new ones at once.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::Viewer;
use super::page::{Cache, PageError};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static str,
    /// `/assets/style.css?v=0123456789abcdef`
    address: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let style = concat!(
        include_str!("../../templates/assets/style.css"),
        "\n",
        include_str!("../../templates/assets/transcript.css")
    );
    [
        Asset::new("style.css", "text/css; charset=utf-8", style),
        Asset::new("greffier.js", "text/javascript; charset=utf-8", include_str!("../../templates/assets/greffier.js")),
        Asset::new("icon.svg", "image/svg+xml", include_str!("../../templates/assets/icon.svg")),
    ]
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, body: &'static str) -> Asset {
        let address = format!("/assets/{name}?v={}", &fingerprint(body.as_bytes())[..16]);
        Asset { name, media_type, body, address }
    }
}

/// Hex SHA-256.
pub fn fingerprint(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where an asset is found, `/` and all; its plain address if there is none of that name.
pub fn address(name: &str) -> String {
    ASSETS.iter().find(|asset| asset.name == name).map_or_else(|| format!("/assets/{name}"), |a| a.address.clone())
}

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/assets/{name}", get(asset)).route("/favicon.ico", get(|| asset(Path("icon.svg".into()))))
}

async fn asset(Path(name): Path<String>) -> Result<Response, PageError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| PageError::NotFound {
        what: "There is no such file.".into(),
        hint: "The viewer has a style sheet, a script and an icon, and nothing else to load.".into(),
    })?;
    let mut answer = asset.body.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    Cache::Forever.mark(headers, asset.body.as_bytes());
    Ok(answer)
}
