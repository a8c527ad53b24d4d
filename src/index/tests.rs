//! The language table through a real index.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::languages::{calendar, cases};
use super::*;
use crate::archive::{Archive, Layout, Reader};
use crate::capture::{Append, Captured, DedupeKey, Origin, Source};
use crate::clock::SystemClock;
use crate::model::{Content, Kind, Message};

#[tokio::test]
async fn every_line_of_the_language_table_holds() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path(), Arc::new(SystemClock)).unwrap();
    let source = Source { connector: "sfb".into(), platform: "ucwa".into() };
    let cases = cases();
    let events = cases.iter().map(|case| {
        let message = Message { id: case.line.to_string(), text: case.text.clone(), ..Message::default() };
        Captured {
            origin: Origin::Recorder,
            conversation: Some(ConversationId::new(Timestamp(0), [1; 10])),
            kind: Kind::MessageSent,
            source_time: Some(Timestamp(0)),
            dedupe: DedupeKey(case.line.to_string()),
            content: Content { message: Some(message), ..Content::default() },
        }
    });
    let append = Append { events: events.collect(), ..Append::default() };
    archive.sink().append(&source, append).await.unwrap();
    archive.close().await.unwrap();
    let index = catch_up(&Layout::of(dir.path()), &Arc::new(AtomicBool::new(false)), &mut |_, _| ()).unwrap();
    assert_eq!(index.reached().0, Reader::open(dir.path()).unwrap().log_size().unwrap());
    let mut wrong = Vec::new();
    for (case, seq) in cases.iter().zip(1..) {
        let query = query::parse(&case.query, &calendar()).unwrap();
        let found = index.matches(&query, &Scope::default()).unwrap().any(|found| found.unwrap() == Seq(seq));
        if found != case.found {
            wrong.push(format!("line {} ({}): {} in {}", case.line, case.language, case.query, case.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
