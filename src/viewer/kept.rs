//! Pages that were made and cannot have changed: transcripts of conversations that have ended.
//!
//! A key holds everything that a page was made from: its address, the reader's zone, what the header says of the recorder,
//! and how many events the conversation has. A conversation that goes on after all has more events, and so other keys;
//! nothing has to be thrown away for that. What is asked rarely goes first, in the order it came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

/// Bytes of pages that are kept.
const ROOM: usize = 24 << 20;

/// The text of an answer, put beside it by [`super::page::html`].
#[derive(Clone)]
pub(super) struct Text(pub(super) Bytes);

/// Finished pages; at most [`ROOM`] bytes of them.
#[derive(Default)]
pub(super) struct Kept {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    pages: HashMap<String, (HeaderMap, Bytes)>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Kept {
    /// The page of this key, if it is kept.
    pub(super) fn get(&self, key: &str) -> Option<Response> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let (headers, text) = shelf.pages.get(key)?;
        Some((headers.clone(), Body::from(text.clone())).into_response())
    }

    /// Keeps a page that was answered with success.
    pub(super) fn keep(&self, key: String, answer: &Response) {
        let Some(Text(text)) = answer.extensions().get::<Text>().cloned() else { return };
        let size = text.len() + key.len();
        if size > ROOM / 16 || !answer.status().is_success() {
            return;
        }
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.pages.insert(key.clone(), (answer.headers().clone(), text)).is_some() {
            return;
        }
        shelf.order.push_back(key);
        shelf.bytes += size;
        while shelf.bytes > ROOM {
            let Some(oldest) = shelf.order.pop_front() else { break };
            if let Some((_, text)) = shelf.pages.remove(&oldest) {
                shelf.bytes -= text.len() + oldest.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: usize) -> Response {
        let mut answer = "x".into_response();
        answer.extensions_mut().insert(Text(Bytes::from(vec![b'x'; size])));
        answer
    }

    #[test]
    fn the_oldest_go_when_there_is_no_more_room() {
        let kept = Kept::default();
        let size = ROOM / 20;
        for number in 0..30 {
            kept.keep(number.to_string(), &page(size));
        }
        assert!(kept.get("0").is_none() && kept.get("29").is_some());
        assert!(kept.shelf.lock().unwrap().bytes <= ROOM);
        kept.keep("large".into(), &page(ROOM / 8));
        assert!(kept.get("large").is_none());
    }

    #[test]
    fn an_answer_without_text_is_not_kept() {
        let kept = Kept::default();
        kept.keep("a".into(), &"moved".into_response());
        assert!(kept.get("a").is_none());
    }
}
