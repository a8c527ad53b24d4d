//! What the viewer asks, timed on a large archive: 100,000 conversations with 900,000 messages, and one with 100,000.
//!
//! The archive comes through the real sink. Run: `cargo bench --bench questions`; without `--bench` (as under
//! `cargo test --benches`) a small archive shows that it works.

use std::time::Instant;

use greffier::archive::ArchiveError;
use greffier::archive::reader::{
    ConversationFilter, ConversationPosition, ConversationState, Coverage, KindSet, Order, Reader,
};
use greffier::model::{Kind, Seq, Timestamp};

#[path = "support/large.rs"]
mod large;

use large::{APART, Shape, T0, id};

fn main() {
    let full = std::env::args().any(|a| a == "--bench");
    let (conversations, long, rounds) = if full { (100_000, 100_000, 15) } else { (200, 300, 1) };
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let start = Instant::now();
    let shape = Shape { conversations, messages: 9, long };
    runtime.block_on(large::fill(dir.path(), &shape));
    println!("filled in {:.1} s", start.elapsed().as_secs_f64());
    let reader = Reader::open(dir.path()).expect("reader");
    questions(&reader, conversations, rounds).expect("answers");
}

fn questions(reader: &Reader, conversations: usize, rounds: usize) -> Result<(), ArchiveError> {
    let none = ConversationFilter::default;
    let text = |s: &str| Some(s.to_owned());
    let (big, small) = (id(conversations), id(conversations / 2));
    let middle = Timestamp(T0 + APART * i64::try_from(conversations / 2).unwrap_or(0));
    let list =
        |filter: &ConversationFilter, after| reader.conversations_newest(filter, after, 50).map(|page| page.rows.len());
    println!("{:<58} {:>9} {:>9} {:>8}", "question", "median ms", "worst ms", "rows");
    let time = |name: &str, ask: &mut dyn FnMut() -> Result<usize, ArchiveError>| -> Result<(), ArchiveError> {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..rounds {
            let start = Instant::now();
            rows = ask()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("{name:<58} {:>9.2} {:>9.2} {rows:>8}", times[times.len() / 2], times[times.len() - 1]);
        Ok(())
    };
    time("newest 50 conversations", &mut || list(&none(), None))?;
    time("50 from the middle of the archive", &mut || list(&none(), Some(ConversationPosition::at(middle))))?;
    let live = ConversationFilter { state: Some(ConversationState::Live), ..none() };
    time("live", &mut || list(&live, None))?;
    let incomplete = ConversationFilter { coverage: Some(Coverage::Incomplete), ..none() };
    time("incomplete", &mut || list(&incomplete, None))?;
    let rare = ConversationFilter { connector: text("rare"), ..none() };
    time("a rare connector", &mut || list(&rare, None))?;
    for (name, who) in [("a person in all", "sip:everybody@contoso.com"), ("a person in few", "sip:p7@contoso.com")] {
        let filter = ConversationFilter { person: text(who), ..none() };
        time(name, &mut || list(&filter, None))?;
    }
    let subject = |wanted: &str| ConversationFilter { subject: text(wanted), ..none() };
    time("subject, often", &mut || list(&subject("budget"), None))?;
    time("subject, never: walks all conversations", &mut || list(&subject("nowhere"), None))?;
    let never = ConversationFilter { participant: text("nowhere"), ..none() };
    time("part of a participant's name, never: walks all", &mut || list(&never, None))?;
    let until = ConversationFilter { until: Some(Timestamp(T0 + APART * 100)), ..none() };
    time("until long ago: walks what came since", &mut || list(&until, None))?;
    time("count, capped at 10,000", &mut || {
        reader.count_conversations(&none(), 10_000).map(|n| usize::try_from(n).unwrap_or(0))
    })?;
    time("large transcript, first page of 200", &mut || {
        reader.events_of_conversation(&big, Order::Time, None, 200).map(|p| p.rows.len())
    })?;
    time("large transcript, last page of 200", &mut || reader.events_before(&big, None, 200).map(|p| p.rows.len()))?;
    let halfway = reader.log_size()? - reader.conversation(&big)?.map_or(0, |c| c.messages / 2);
    time("large transcript, 100 around a seq in the middle", &mut || {
        reader.around(Seq(halfway), 50, 50).map(|e| e.len())
    })?;
    time("large transcript, place of a time", &mut || {
        reader.position_at(&big, Timestamp(T0 + APART * 3)).map(|p| usize::from(p.is_some()))
    })?;
    let notices = KindSet::of(&[Kind::CaptureGap]);
    time("large transcript, a kind that is not there: walks it", &mut || {
        reader.events_of_kinds(&big, notices, None, 50).map(|p| p.rows.len())
    })?;
    time("large transcript, days", &mut || reader.days_of(&big).map(|d| d.len()))?;
    let page = reader.events_of_conversation(&big, Order::Time, None, 200)?.rows;
    let ids: Vec<&str> = page.iter().filter_map(|e| e.content.message.as_ref()).map(|m| m.id.as_str()).collect();
    time("changes of a page's messages", &mut || reader.changes_of(&big, &ids).map(|e| e.len()))?;
    time("small transcript", &mut || {
        reader.events_of_conversation(&small, Order::Time, None, 200).map(|p| p.rows.len())
    })?;
    time("activity of all days", &mut || reader.activity(i64::MIN, i64::MAX, &none()).map(|d| d.len()))?;
    time("totals", &mut || reader.totals().map(|_| 1))?;
    time("busiest 20: walks all conversations", &mut || reader.busiest(None, 20).map(|c| c.len()))?;
    time("newest 50 gaps", &mut || reader.gaps(None, 50).map(|g| g.len()))?;
    time("days with gaps", &mut || reader.gap_days(0, 40_000).map(|d| d.len()))?;
    time("people, 50", &mut || reader.people(None, 50).map(|p| p.len()))?;
    time("people matching, never: walks the directory", &mut || {
        reader.people_matching("nowhere", None, 50).map(|p| p.len())
    })?;
    time("names of a person", &mut || reader.names_of("sip:everybody@contoso.com").map(|n| n.len()))
}
