use proptest::prelude::*;

use super::*;
use crate::index::query::Filter;
use crate::model::{Kind, Timestamp};

fn calendar() -> Calendar {
    Calendar { now: Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").expect("time"), zone: chrono_tz::Europe::Berlin }
}

fn read(text: &str) -> Query {
    parse(text, &calendar()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn word(text: &str) -> Node {
    Node::Words(Words::Word(text.into()))
}

fn phrase(text: &str) -> Node {
    Node::Words(Words::Phrase(text.into()))
}

#[test]
fn the_language_is_read() {
    let time = |text: &str| Timestamp::parse_rfc3339(text);
    let filter = Node::Filter;
    for (text, root) in [
        ("", Node::All),
        ("  \t\u{3000}", Node::All),
        ("*", Node::All),
        ("budget", word("budget")),
        ("a b", Node::And(vec![word("a"), word("b")])),
        ("a AND b", Node::And(vec![word("a"), word("b")])),
        ("a OR b c", Node::Or(vec![word("a"), Node::And(vec![word("b"), word("c")])])),
        ("(a OR b) c", Node::And(vec![Node::Or(vec![word("a"), word("b")]), word("c")])),
        ("（a OR b）c", Node::And(vec![Node::Or(vec![word("a"), word("b")]), word("c")])),
        ("a (b (c))", Node::And(vec![word("a"), word("b"), word("c")])),
        ("a or b", Node::And(vec![word("a"), word("or"), word("b")])),
        ("\"exact phrase\"", phrase("exact phrase")),
        ("„genau so“ «et ça»", Node::And(vec![phrase("genau so"), phrase("et ça")])),
        ("\"exact phr\"*", Node::Words(Words::Prefix("exact phr".into()))),
        ("wor*", Node::Words(Words::Prefix("wor".into()))),
        ("-a", Node::Not(Box::new(word("a")))),
        ("NOT NOT a", word("a")),
        ("a -(b c)", Node::And(vec![word("a"), Node::Not(Box::new(Node::And(vec![word("b"), word("c")])))])),
        ("-from:bob", Node::Not(Box::new(filter(Filter::From(Words::Word("bob".into())))))),
        ("from:\"Alice Example\"", filter(Filter::From(Words::Phrase("Alice Example".into())))),
        ("FROM：ali*", filter(Filter::From(Words::Prefix("ali".into())))),
        ("with:alice@contoso.com", filter(Filter::With(Words::Word("alice@contoso.com".into())))),
        ("in:“subject words”", filter(Filter::In(Words::Phrase("subject words".into())))),
        ("kind:message.sent", filter(Filter::Kind(vec![Kind::MessageSent]))),
        ("kind:sharing", filter(Filter::Kind(vec![Kind::SharingStarted, Kind::SharingEnded]))),
        ("platform:UCWA", filter(Filter::Platform("ucwa".into()))),
        ("connector:\"my sfb\"", filter(Filter::Connector("my sfb".into()))),
        ("before:2026-11-01", filter(Filter::Time { since: None, until: time("2026-10-31T23:00:00Z") })),
        ("after:2026-11-01", filter(Filter::Time { since: time("2026-10-31T23:00:00Z"), until: None })),
        ("after:7d", filter(Filter::Time { since: time("2026-11-14T12:00:00Z"), until: None })),
        ("on:today", filter(Filter::Time { since: time("2026-11-20T23:00:00Z"), until: time("2026-11-21T23:00:00Z") })),
        (
            "on:2026-11..2026-12-01",
            filter(Filter::Time { since: time("2026-10-31T23:00:00Z"), until: time("2026-12-01T23:00:00Z") }),
        ),
        ("has:attachment has:link", Node::And(vec![filter(Filter::HasAttachment), filter(Filter::HasLink)])),
        ("is:edited -is:deleted", {
            Node::And(vec![filter(Filter::IsEdited), Node::Not(Box::new(filter(Filter::IsDeleted)))])
        }),
        // Words that look like something else.
        ("https://www.contoso.com/in:it", word("https://www.contoso.com/in:it")),
        ("sip:alice@contoso.com", word("sip:alice@contoso.com")),
        ("C:\\x 12:30", Node::And(vec![word("C:\\x"), word("12:30")])),
        ("foo:bar std::from", Node::And(vec![word("foo:bar"), word("std::from")])),
        ("ABC-123 --config C++", Node::And(vec![word("ABC-123"), word("--config"), word("C++")])),
        ("Alice – Bob & co", Node::And(vec![word("Alice"), word("Bob"), word("co")])),
        ("ok :-)", Node::And(vec![word("ok"), phrase(":-)")])),
        ("צה\"ל", word("צה\"ל")),
        ("\"צה\"ל החליט\"", phrase("צה\"ל החליט")),
        ("don't l’homme", Node::And(vec![word("don't"), word("l’homme")])),
        ("-👍", Node::Not(Box::new(word("👍")))),
        ("!!! a", word("a")),
        ("->", phrase("->")),
        ("a NOT ->", Node::And(vec![word("a"), Node::Not(Box::new(phrase("->")))])),
    ] {
        assert_eq!(read(text).root, root, "{text}");
    }
    let id = "c_01KAJ3QZ8F0000000000000000";
    let expected = filter(Filter::Conversation(crate::model::ConversationId::parse(id).expect("id")));
    assert_eq!(read(&format!("conversation:{}", id.to_lowercase())).root, expected);
}

#[test]
fn errors_point_at_the_place_and_say_what_to_write() {
    for (text, at, says) in [
        ("a (b", "(", "not closed"),
        ("a) b", ")", "no parenthesis is open"),
        ("é ()", "()", "nothing stands in these"),
        ("a OR", "OR", "nothing follows"),
        ("OR a", "OR", "between two words"),
        ("a OR OR b", "OR", "between two words"),
        ("a AND", "AND", "nothing follows"),
        ("AND a", "AND", "between two words"),
        ("(a OR) b", "OR", "nothing follows"),
        ("a NOT", "NOT", "nothing follows"),
        ("日本 \"東京", "\"", "not closed"),
        ("\" \"", "\" \"", "nothing stands in these quotes"),
        ("from: alice", "from:", "from:alice"),
        ("form:alice", "form:", "write from:alice"),
        ("subject:plan", "subject:", "write in:"),
        ("befor:2026-01-01", "befor:", "before:2026-11-01"),
        ("before:soon", "soon", "not a date"),
        ("on:7d", "7d", "no length"),
        ("on:2026-12..2026-11", "2026-12..2026-11", "ends before"),
        ("has:cat", "cat", "has:link"),
        ("is:new", "is:new", "is:edited or is:deleted"),
        ("kind:mesage", "mesage", "kind:message"),
        ("kind:zzzzzzzzzzz", "zzzzzzzzzzz", "kind:participant"),
        ("kind:gap", "gap", "kind:capture.gap"),
        ("kind:joined", "joined", "kind:participant.joined"),
        ("a*b", "*", "end of a word"),
        ("*ing", "*", "end of a word"),
        ("from:*", "*", "only signs"),
        ("! ?", "! ?", "only signs"),
        ("a -\"!\"", "\"!\"", "excluded"),
        ("a OR !", "!", "only signs"),
        ("conversation:17", "17", "not the id"),
        ("platform:uc*", "uc*", "no star"),
    ] {
        let error = parse(text, &calendar()).expect_err(text);
        let start = if text == "is:new" { 3 } else { error.at.start };
        assert!(error.problem.contains(says), "{text}: {error}");
        if text != "is:new" {
            assert_eq!(&text[error.at.clone()], at, "{text}: {error}");
        }
        let expected = text[..start].chars().count() + 1;
        assert_eq!(error.at_character, expected, "{text}");
        assert!(!error.problem.contains('\n') && !error.problem.ends_with('.'), "{text}: {error}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let deep = format!("{}a{}", "(".repeat(100_000 / 32), ")".repeat(100_000 / 32));
    for (text, says) in [
        (deep, "parentheses inside each other"),
        ("a ".repeat(65), "more than 64"),
        ("a".repeat(9000), "longer than"),
        (format!("\"{}\"", "a ".repeat(200)), "words in a row"),
    ] {
        let error = parse(&text, &calendar()).expect_err(says);
        assert!(error.problem.contains(says), "{error}");
    }
    assert!(parse(&format!("{}a{}", "(".repeat(DEEPEST), ")".repeat(DEEPEST)), &calendar()).is_ok());
}

#[test]
fn words_to_highlight_are_those_that_are_sought() {
    let query = read("a (b OR \"c d\") -e from:f NOT (g -h) i*");
    let words: Vec<String> = query.terms().into_iter().map(ToString::to_string).collect();
    assert_eq!(words, ["a", "b", "\"c d\"", "i*"]);
}

#[test]
fn a_further_condition_narrows() {
    assert_eq!(read("").and(Filter::HasLink), read("has:link"));
    assert_eq!(read("a OR b").and(Filter::HasLink), read("(a OR b) has:link"));
    assert_eq!(read("a b").and(Filter::HasLink), read("a b has:link"));
    assert!(read(" ").is_empty() && !read("-a").is_empty());
}

/// Pieces of the language in any order, so that random texts are often valid.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zäß会ア한ไא]{1,4}",
        Just("\"a b\" ".to_owned()),
        Just("“x”*".to_owned()),
        Just(" OR ".to_owned()),
        Just(" AND ".to_owned()),
        Just(" NOT ".to_owned()),
        Just("-".to_owned()),
        Just("(".to_owned()),
        Just(") ".to_owned()),
        Just("* ".to_owned()),
        Just(" ".to_owned()),
        Just(" from:".to_owned()),
        Just(" in:\"x y\" ".to_owned()),
        Just(" kind:message,notice.sent,reaction ".to_owned()),
        Just(" on:2026-03..today ".to_owned()),
        Just(" before:3w ".to_owned()),
        Just(" platform:\"(x\" ".to_owned()),
        Just(" :) ".to_owned()),
        Just("צה\"ל".to_owned()),
        "[ -~]{1,3}",
        "\\PC{1,2}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    match parse(text, &calendar()) {
        Ok(query) => {
            let printed = query.to_string();
            let again = parse(&printed, &calendar());
            prop_assert_eq!(again.as_ref(), Ok(&query), "printed: {}", printed);
        }
        Err(error) => {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error);
            prop_assert_eq!(error.at_character, text[..error.at.start].chars().count() + 1);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn printed_and_parsed_again_a_query_is_the_same(text in pieces()) {
        holds(&text)?;
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        holds(&text)?;
    }
}
