//! `/events/{seq}/attachments/{number}`: the bytes of a kept file, for whoever wants to have it.
//!
//! Files come from strangers. A raster image, known by its first bytes and not by what was told about it, may be shown in
//! a page; everything else is handed over to be saved, as bytes without a type, under a name made harmless. Nothing is ever
//! answered as markup or script. The bytes are compared with their hash before the first of them goes out.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::transcript::{no_event, seq_of};
use crate::archive::Attachments;
use crate::harmless::is_harmful;
use crate::integrity::hex;
use crate::model::{Attachment, Seq};
use crate::viewer::page::PageError;
use crate::viewer::{Viewer, download, links};

/// Files up to this size are answered in one piece; larger ones are read while they are sent, a few at a time.
const WHOLE: u64 = 1 << 20;

/// Larger pictures are not shown in a page, only linked.
const PICTURE: u64 = 20 << 20;

/// Nothing in such an answer may run, load or be framed, whatever a browser takes it for.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/events/{seq}/attachments/{number}", get(attachment))
}

async fn attachment(
    State(viewer): State<Arc<Viewer>>,
    headers: HeaderMap,
    Path((seq, number)): Path<(String, String)>,
) -> Result<Response, PageError> {
    answer(&viewer, &headers, seq_of(&seq)?, &number).await
}

/// The file with this number (from 1) of an event, as pages and API give it.
///
/// # Errors
/// There is no such event or file, its bytes are not kept, missing or changed, or many files are being sent just now.
pub(in crate::viewer) async fn answer(
    viewer: &Arc<Viewer>,
    asked: &HeaderMap,
    seq: Seq,
    number: &str,
) -> Result<Response, PageError> {
    let number: usize = number.parse().map_err(|_| no_file())?;
    let event = viewer.readers.ask(move |reader| reader.event(seq).map_err(PageError::from)).await?;
    let event = event.ok_or_else(|| no_event(seq))?;
    let files = event.content.message.map(|message| message.attachments).unwrap_or_default();
    let told = number.checked_sub(1).and_then(|at| files.into_iter().nth(at)).ok_or_else(no_file)?;
    let Some(sha256) = told.sha256.clone() else { return Err(not_kept()) };
    let tag = format!("W/\"{sha256}\"");
    let name = disposition(&told, seq, number);
    let known = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|line| line.to_str().ok());
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    // Spares reading the file.
    if known.flat_map(|line| line.split(',')).any(|known| known.trim().trim_start_matches("W/") == &tag[2..]) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let kept = viewer.attachments();
    let opened = tokio::task::spawn_blocking(move || open(&kept, &sha256)).await.map_err(|_| PageError::Internal)??;
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(opened.size));
    let (media_type, disposition) = match opened.picture {
        Some(media_type) => (media_type, HeaderValue::from_static("inline")),
        None => ("application/octet-stream", name),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    let body = match opened.bytes {
        Bytes::Whole(bytes) => Body::from(bytes),
        Bytes::Long(file) => {
            let none = || PageError::Unavailable { why: "Many files are being sent at this moment.".into() };
            download::file(viewer, file).await.ok_or_else(none)?
        }
    };
    Ok((headers, body).into_response())
}

/// A file whose bytes are those that were kept.
struct Opened {
    size: u64,
    picture: Option<&'static str>,
    bytes: Bytes,
}

enum Bytes {
    Whole(Vec<u8>),
    Long(File),
}

fn open(kept: &Attachments, sha256: &str) -> Result<Opened, PageError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a kept file cannot be read");
        PageError::Internal
    };
    let mut file = kept.open(sha256).map_err(|error| failed(&error))?.ok_or_else(missing)?;
    let (mut hash, mut buffer, mut whole, mut size) = (Sha256::new(), vec![0; 1 << 16], Vec::new(), 0u64);
    loop {
        let read = file.read(&mut buffer).map_err(|error| failed(&error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        size += part.len() as u64;
        if size <= WHOLE || whole.is_empty() {
            whole.extend_from_slice(part);
        }
    }
    if hex(&hash.finalize()) != sha256 {
        return Err(changed());
    }
    let picture = picture(&whole).filter(|_| size <= PICTURE);
    if size <= WHOLE {
        return Ok(Opened { size, picture, bytes: Bytes::Whole(whole) });
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
    Ok(Opened { size, picture, bytes: Bytes::Long(file) })
}

/// The media type of a raster image, by its first bytes; `None` for anything else.
pub(in crate::viewer) fn picture(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Whether the kept file with this hash is a picture that a page may show.
pub(in crate::viewer) fn is_picture(kept: &Attachments, sha256: &str) -> bool {
    let mut head = Vec::with_capacity(16);
    let Ok(Some(file)) = kept.open(sha256) else { return false };
    file.metadata().is_ok_and(|found| found.len() <= PICTURE)
        && file.take(16).read_to_end(&mut head).is_ok()
        && picture(&head).is_some()
}

/// `attachment` with the file's name, in which nothing could be taken for a path, another name, or the end of the header.
fn disposition(told: &Attachment, seq: Seq, number: usize) -> HeaderValue {
    let safe = |c: char| if is_harmful(c) || "/\\:*?\"<>|".contains(c) { '_' } else { c };
    let name: String = told.name.as_deref().unwrap_or_default().chars().take(150).map(safe).collect();
    let mut name = name.trim_matches(|c: char| c == '.' || c.is_whitespace()).to_owned();
    if name.is_empty() {
        name = format!("attachment-{seq}-{number}");
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", links::encode(&name));
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

fn no_file() -> PageError {
    PageError::NotFound {
        what: "The event has no file of this number.".into(),
        hint: "The page of the event lists its files; they are numbered from 1.".into(),
    }
}

fn not_kept() -> PageError {
    PageError::NotFound {
        what: "The bytes of this file are not in the archive.".into(),
        hint: "The page of the event tells what is known about it, and why.".into(),
    }
}

fn missing() -> PageError {
    PageError::NotFound {
        what: "This file was kept, and is missing in the archive's folder now.".into(),
        hint: "Run `greffier verify`, and look for it in a backup.".into(),
    }
}

fn changed() -> PageError {
    PageError::NotFound {
        what: "The bytes of this file are not those that were kept, so it is not handed out.".into(),
        hint: "Run `greffier verify`, and look for it in a backup.".into(),
    }
}

#[cfg(test)]
mod tests;
