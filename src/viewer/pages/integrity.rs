//! `/integrity`: what the archive can prove, what was looked at just now, how complete the record is, and how the
//! connectors are; in words for somebody who has to rely on it.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::archive::reader::{Conversation, GapRow, Totals};
use crate::archive::{ArchiveError, Checkpoint, Layout, Reader};
use crate::capture::health::{Health, HealthState};
use crate::harmless;
use crate::index;
use crate::integrity::checkpoint::{Note, VerifyingKey};
use crate::integrity::merkle::root_at;
use crate::model::Seq;
use crate::viewer::page::{Cache, PageError, Prefs, Shell, html};
use crate::viewer::{Viewer, links, time, words};

/// Gaps on a page.
const GAPS: usize = 15;

pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new().route("/integrity", get(integrity))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    /// Where the list of gaps goes on.
    gaps: String,
}

/// What was looked at while the page was made.
struct Check {
    good: bool,
    words: String,
}

/// The newest signed statement.
struct Signed {
    text: String,
    size: String,
    at: time::Moment,
    /// Events that came after it.
    since: String,
    checks: Vec<Check>,
}

/// A span in which something may have been missed.
struct GapView {
    href: String,
    title: String,
    cause: String,
    from: time::Moment,
    length: String,
}

/// A connector of this recorder.
struct ConnectorView {
    name: String,
    platform: String,
    class: &'static str,
    state: &'static str,
    trouble: String,
}

#[derive(Template)]
#[template(path = "integrity.html")]
struct Integrity {
    shell: Shell,
    origin: String,
    created: time::Moment,
    events: String,
    messages: String,
    conversations: String,
    incomplete: u64,
    incomplete_words: String,
    signed: Option<Signed>,
    gaps: Vec<GapView>,
    gaps_total: u64,
    gaps_words: String,
    more_gaps: String,
    connectors: Vec<ConnectorView>,
    writes: bool,
    index: Option<String>,
}

/// What the archive answered.
struct Answered {
    origin: String,
    created: crate::model::Timestamp,
    size: u64,
    totals: Totals,
    checkpoint: Option<(Checkpoint, Vec<Check>)>,
    /// With the conversation of each; one more than fit, if there is one.
    gaps: Vec<(GapRow, Option<Conversation>)>,
}

async fn integrity(
    State(viewer): State<Arc<Viewer>>,
    prefs: Prefs,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let zone = prefs.zone;
    let before = match asked.gaps.as_str() {
        "" => None,
        text => Some(text.parse().map(Seq).map_err(|_| PageError::BadRequest {
            problem: "The place in the list of gaps cannot be understood.".into(),
            hint: "Begin again at /integrity.".into(),
        })?),
    };
    let answer = viewer.readers.ask(move |reader| answer(reader, before)).await?;
    let totals = answer.totals;
    let signed = answer.checkpoint.map(|(checkpoint, checks)| Signed {
        size: words::count(checkpoint.size),
        at: time::Moment::new(checkpoint.at, zone),
        since: words::plural(answer.size.saturating_sub(checkpoint.size), "event"),
        text: checkpoint.text,
        checks,
    });
    let page = Integrity {
        origin: answer.origin,
        created: time::Moment::new(answer.created, zone),
        events: words::count(answer.size),
        messages: words::count(totals.messages),
        conversations: words::count(totals.conversations),
        incomplete: totals.incomplete,
        incomplete_words: words::plural(totals.incomplete, "conversation"),
        signed,
        gaps: answer.gaps.iter().take(GAPS).map(|(gap, of)| GapView::new(gap, of.as_ref(), zone)).collect(),
        gaps_total: totals.gaps,
        gaps_words: words::plural(totals.gaps, "gap"),
        more_gaps: match answer.gaps.get(GAPS - 1) {
            Some((last, _)) if answer.gaps.len() > GAPS => {
                links::with("/integrity", &[("gaps", &last.seq.to_string())])
            }
            _ => String::new(),
        },
        connectors: connectors(&viewer),
        writes: viewer.vitals.writer_lives(),
        index: viewer.index.as_ref().map(|index| indexed(&index.status(), answer.size)),
        shell: Shell::new(&viewer, prefs, "integrity", "Integrity"),
    };
    Ok(html(page, Cache::Ask))
}

fn answer(reader: &Reader, before: Option<Seq>) -> Result<Answered, ArchiveError> {
    let layout = Layout::of(reader.path());
    let checkpoint = match reader.latest_checkpoint()? {
        Some(checkpoint) => {
            let checks = checks(reader, &layout, &checkpoint)?;
            Some((checkpoint, checks))
        }
        None => None,
    };
    let mut gaps = Vec::new();
    for gap in reader.gaps(before, GAPS + 1)? {
        let of = gap.conversation.as_ref().map_or(Ok(None), |id| reader.conversation(id))?;
        gaps.push((gap, of));
    }
    Ok(Answered {
        origin: reader.origin()?,
        created: reader.created_at()?,
        size: reader.log_size()?,
        totals: reader.totals()?,
        checkpoint,
        gaps,
    })
}

/// What can be said without walking the log: the signature holds, and the stored tree leads to the signed root.
fn checks(reader: &Reader, layout: &Layout, checkpoint: &Checkpoint) -> Result<Vec<Check>, ArchiveError> {
    let keys = VerifyingKey::load_all(&layout.keys).unwrap_or_default();
    let signature = match Note::parse(&checkpoint.text).and_then(|note| note.verify(&keys)) {
        Ok(said) if said.size == checkpoint.size && said.root == checkpoint.root => {
            Check { good: true, words: "The checkpoint carries a valid signature of this archive’s key.".into() }
        }
        Ok(_) => Check { good: false, words: "The signed text speaks of another log than the archive says.".into() },
        Err(_) if keys.is_empty() => Check {
            good: false,
            words: "The signature could not be looked at: the public key is not beside the archive.".into(),
        },
        Err(_) => {
            Check { good: false, words: "The checkpoint carries no valid signature of this archive’s key.".into() }
        }
    };
    let root = match root_at(reader, checkpoint.size) {
        Ok(root) => root == checkpoint.root,
        Err(ArchiveError::Broken { .. }) => false,
        Err(other) => return Err(other),
    };
    let events = words::plural(checkpoint.size, "event");
    let tree = match root {
        true => {
            Check { good: true, words: format!("The stored tree over the first {events} leads to the signed root.") }
        }
        false => Check {
            good: false,
            words: format!("The stored tree over the first {events} does not lead to the signed root."),
        },
    };
    Ok(vec![signature, tree])
}

impl GapView {
    fn new(row: &GapRow, of: Option<&Conversation>, zone: chrono_tz::Tz) -> GapView {
        GapView {
            href: row.conversation.as_ref().map(|id| links::event(id, row.seq)).unwrap_or_default(),
            title: match of {
                Some(conversation) => words::title(conversation),
                None => format!("All of connector {}", harmless::one_line(&row.connector)),
            },
            cause: harmless::one_line(&row.gap.cause),
            from: time::Moment::new(row.gap.from, zone),
            length: time::length(row.gap.to.since(row.gap.from)),
        }
    }
}

/// How far the search index is, in a sentence.
fn indexed(status: &index::Status, size: u64) -> String {
    let reached = words::count(status.reached.0);
    match &status.state {
        index::State::Rebuilding { done, of } => format!(
            "It is being made anew: {} of {} events so far; searches use the old one meanwhile.",
            words::count(*done),
            words::count(*of)
        ),
        _ if status.reached.0 >= size => "Every event can be found.".to_owned(),
        _ => format!("Events up to number {reached} of {} can be found.", words::count(size)),
    }
}

fn connectors(viewer: &Viewer) -> Vec<ConnectorView> {
    let view = |(source, health): &(crate::capture::Source, Arc<Health>)| {
        let (class, state) = match health.state() {
            HealthState::Listening => ("good", "Listening"),
            HealthState::Connecting => ("idle", "Signing in"),
            HealthState::Alarm => ("bad", "Needs attention"),
            HealthState::Stopped => ("idle", "Stopped"),
        };
        ConnectorView {
            name: source.connector.clone(),
            platform: words::platform(&source.platform),
            class,
            state,
            trouble: health.alarm_text().map(|text| harmless::one_line(&text)).unwrap_or_default(),
        }
    };
    viewer.vitals.connectors.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use crate::archive::Reader;
    use crate::viewer::tests::{block_on, empty, get, main_of, told};

    #[test]
    fn the_page_shows_the_checkpoint_and_what_holds() {
        let (dir, viewer) = told();
        let page = block_on(get(&viewer, "/integrity")).text();
        let reader = Reader::open(dir.path()).expect("a reader");
        let signed = reader.latest_checkpoint().expect("readable").expect("signed");
        // Every line of it stands on the page as it is, so that it can be copied.
        assert!(page.contains(&format!("<pre>{}</pre>", signed.text)), "{page}");
        let shown = page.replace(&signed.text, "CHECKPOINT").replace(&reader.origin().expect("readable"), "ORIGIN");
        insta::assert_snapshot!(main_of(&shown));
    }

    #[test]
    fn a_signature_of_another_key_does_not_hold() {
        let (dir, viewer) = told();
        let keys = dir.path().join("keys");
        let another = crate::integrity::checkpoint::SigningKey::from_seed("greffier/other", &[7; 32]).expect("a key");
        let line = format!("{}\n", another.verifying_key());
        std::fs::write(keys.join("checkpoint.pub"), line).expect("written");
        let page = block_on(get(&viewer, "/integrity")).text();
        assert!(page.contains("The checkpoint carries no valid signature of this archive’s key."), "{page}");
        std::fs::remove_file(keys.join("checkpoint.pub")).expect("removed");
        let page = block_on(get(&viewer, "/integrity")).text();
        assert!(page.contains("the public key is not beside the archive"), "{page}");
    }

    #[test]
    fn an_empty_archive_has_nothing_to_show_and_says_so() {
        let (_dir, viewer) = empty();
        let page = block_on(get(&viewer, "/integrity")).text();
        assert!(page.contains("Nothing has been signed yet.") && page.contains("No gap is on record"), "{page}");
    }
}
