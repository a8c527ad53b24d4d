use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::index::query::{Calendar, parse};
use crate::model::Timestamp;

fn query(text: &str) -> Query {
    parse(text, &Calendar { now: Timestamp(0), zone: chrono_tz::UTC }).expect("query")
}

/// The text with `[` and `]` around what is marked.
fn marked(text: &str, typed: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    for mark in marks(text, &query(typed)) {
        out.push_str(&format!("{}[{}]", &text[at..mark.start], &text[mark.clone()]));
        at = mark.end;
    }
    out + &text[at..]
}

fn cut(text: &str, typed: &str, max: usize) -> String {
    snippet(text, &query(typed), max).to_terminal("[", "]")
}

#[test]
fn what_was_found_is_marked() {
    for (text, typed, expected) in [
        ("Die Straße nach Köln", "strasse koeln", "Die [Straße] nach [Köln]"),
        ("plan the plan", "pla*", "[plan] the [plan]"),
        ("the exact phrase, phrase exact", "\"exact phrase\"", "the [exact phrase], phrase exact"),
        ("mail alice@contoso.com now", "alice@contoso.com", "mail [alice@contoso.com] now"),
        ("mail alice@contoso.com now", "contoso", "mail alice@[contoso].com now"),
        ("明天的会议室很大", "会议室", "明天的[会议室]很大"),
        ("明天的会议室很大", "会", "明天的[会]议室很大"),
        ("a b a c", "a -b", "[a] b [a] c"),
        ("call getUserName()", "user", "call get[User]Name()"),
        ("thanks 👍🏽!", "👍", "thanks [👍🏽]!"),
        ("cafe\u{301} time", "café", "[cafe\u{301}] time"),
        ("A-1 a 1 a2", "a-1", "[A-1] [a 1] a2"),
        ("nothing", "from:alice", "nothing"),
    ] {
        assert_eq!(marked(text, typed), expected, "{text} / {typed}");
    }
}

#[test]
fn the_best_piece_is_shown_and_cut_between_words() {
    let text = "The budget was late. Nobody minded at all, and then we talked for an hour about the plan \
                and about the budget of the plan, before lunch came in and everybody left the room.";
    assert_eq!(cut(text, "budget plan", 60), "…the [plan] and about the [budget] of the [plan], before lunch…");
    assert_eq!(cut(text, "from:alice", 30), "The budget was late. Nobody…");
    assert_eq!(cut(text, "room", 30), "…and everybody left the [room].");
    assert_eq!(cut("short text", "text", 60), "short [text]");
    assert_eq!(cut("", "text", 60), "");
    assert_eq!(cut("one\r\ntwo\nthree", "two", 60), "one [two] three");
    let chinese = "我们明天上午开会讨论预算的问题".repeat(20);
    assert_eq!(cut(&chinese, "预算", 12).chars().count(), 12 + 4);
    let long = format!("{} needle {}", "x".repeat(500), "y".repeat(500));
    assert!(cut(&long, "needle", 40).contains("[needle]"));
    assert_eq!(cut("abcdefgh", "abcdefgh", 3), "[abc]…");
}

#[test]
fn neither_markup_nor_controls_get_through() {
    let snippet = snippet("<b>plan</b> & \"x\"\u{202e}\u{1b}[2J 'y'", &query("plan"), 80);
    assert_eq!(
        snippet.to_html(),
        "&lt;b&gt;<mark>plan</mark>&lt;/b&gt; &amp; &quot;x&quot;&lt;U+202E&gt;&lt;U+001B&gt;[2J &#39;y&#39;"
    );
    assert!(!snippet.to_terminal("", "").contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_line_of_a_megabyte_is_no_trouble() {
    for piece in ["x", "plan ", "e\u{301}\u{302}\u{303}", "会", "\u{300}", "a@b.", "👩\u{200d}"] {
        let text = piece.repeat(1_000_000 / piece.len());
        let started = Instant::now();
        let snippet = snippet(&text, &query("plan a-b 会 \"plan plan\" x*"), 200);
        // A hundred times what it takes; debug builds are slow.
        assert!(started.elapsed() < Duration::from_secs(20), "{piece}: {:?}", started.elapsed());
        assert!(snippet.parts.iter().map(|(text, _)| text.chars().count()).sum::<usize>() <= 200);
    }
}

proptest! {
    #[test]
    fn marks_and_snippets_hold_for_any_text(
        text in "([a-c]|[ .\n'@-]|ü|会|é|e\u{301}|한|👍|👩\u{200d}💻|[א-ג]|\\PC){0,60}",
        typed in "(a|b|c|ab|\"a b\"|b\\*|ü|会|会é|👍|a-b| ){1,6}",
        max in 0_usize..40,
    ) {
        let Ok(query) = parse(&typed, &Calendar { now: Timestamp(0), zone: chrono_tz::UTC }) else { return Ok(()) };
        let mut end = 0;
        for mark in marks(&text, &query) {
            prop_assert!(mark.start >= end && mark.start < mark.end && text.get(mark.clone()).is_some());
            end = mark.end;
        }
        let snippet = snippet(&text, &query, max);
        let whole: String = snippet.parts.iter().map(|(text, _)| text.as_str()).collect();
        prop_assert!(whole.chars().count() <= max);
        let lines = text.replace(['\n', '\r', '\t', '\u{2028}', '\u{2029}'], " ");
        prop_assert!(lines.contains(&whole));
        prop_assert!(snippet.parts.iter().all(|(text, _)| !text.is_empty()));
        if !marks(&text, &query).is_empty() && max > 0 {
            prop_assert!(snippet.parts.iter().any(|(_, matches)| *matches), "{:?}", snippet);
        }
    }
}
