//! The viewer in a real browser: what people see, reach, print and take away, judged by axe-core and the Nu HTML checker.
//!
//! `stage` makes an archive and shows it; each test is a suite of `run.mjs`, which drives Chromium. Without
//! `GREFFIER_BROWSER_MODULES` (which `./test` sets) nothing here can be tested, and each test says so. What was seen is kept
//! in `target/browser/shots`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod driver;
#[path = "../support/archive.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod sample;
mod served;
mod stage;

use driver::Driver;
use sample::{Scribe, add, person};
use served::Served;
use stage::Stage;

/// Runs a suite over a viewer in this process, at the time of the story.
fn shown(suite: &str) {
    if Driver::possible(suite) {
        let stage = Stage::set();
        let shown = stage.show();
        Driver::start(suite, &shown.base(), &stage.facts()).finish();
    }
}

/// Runs a suite over `greffier serve`, with a connector that finds no server.
fn served(suite: &str) {
    if Driver::possible(suite) {
        let mut stage = Stage::set();
        let mut served = Served::serve(stage.close());
        let facts = stage.facts();
        Driver::start(suite, &served.base(), &facts).finish();
        served.end();
    }
}

#[test]
fn every_page_on_a_wide_screen() {
    shown("pages:wide");
}

#[test]
fn every_page_in_the_dark() {
    shown("pages:dark");
}

#[test]
fn every_page_on_a_phone() {
    shown("pages:narrow");
}

#[test]
fn every_page_is_valid_html() {
    shown("valid");
}

#[test]
fn every_page_can_be_enlarged_and_spaced() {
    shown("zoom");
}

#[test]
fn every_page_with_the_reader_s_own_colours_and_without_motion() {
    shown("forced");
}

#[test]
fn by_keyboard_alone() {
    served("keyboard");
}

#[test]
fn without_scripts() {
    served("noscript");
}

#[test]
fn on_paper() {
    served("print");
}

#[test]
fn strangers_cannot_run_anything_or_pretend_to_be_the_viewer() {
    served("hostile");
}

#[test]
fn what_is_taken_away_can_be_read_anywhere() {
    served("exported");
}

#[test]
fn what_the_recorder_does_is_shown() {
    served("recorder");
}

#[test]
fn what_is_said_arrives_while_somebody_reads() {
    if !Driver::possible("live") {
        return;
    }
    let stage = Stage::set();
    let shown = stage.show();
    let mut driver = Driver::start("live", &shown.base(), &stage.facts());
    let (bob, live) = (person("Bob Lee"), &stage.sample.live);
    // Each step waits until the browser looks.
    let mut said = Scribe::new(live.clone(), 95_100);
    said.says("l3", &bob, "The crane has arrived a moment ago.");
    driver.wait("ready");
    shown.block_on(add(stage.archive(), said.batch()));
    let mut edited = Scribe::new(live.clone(), 95_130);
    edited.edits("l3", &bob, "The crane has arrived, both of them.");
    driver.wait("said");
    shown.block_on(add(stage.archive(), edited.batch()));
    let mut gone = Scribe::new(live.clone(), 95_160);
    gone.gap(20, "event channel lost").deletes("l3", &bob);
    driver.wait("edited");
    shown.block_on(add(stage.archive(), gone.batch()));
    driver.wait("deleted");
    let mut many = Scribe::new(live.clone(), 95_200);
    for n in 0..40 {
        many.says(&format!("m{n}"), &bob, &format!("and then {n}"));
    }
    shown.block_on(add(stage.archive(), many.batch()));
    driver.finish();
}

#[test]
fn the_demo_is_shown_while_it_plays() {
    if Driver::possible("demo") {
        let served = Served::demo();
        Driver::start("demo", &served.base(), &serde_json::json!({})).finish();
    }
}
