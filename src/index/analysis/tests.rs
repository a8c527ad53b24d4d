use proptest::prelude::*;

use super::*;
use crate::index::query::Words;

/// Tokens as `a,b|c`, in the order of roles.
fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut last = 0;
    tokens(text, &mut |token| {
        if !out.is_empty() {
            out.push(if token.position == last { ',' } else { '|' });
        }
        last = token.position;
        out.push_str(token.text);
        assert!(text.get(token.from..token.to).is_some(), "{text:?}: {token:?}");
    });
    out
}

#[test]
fn texts_become_the_tokens_of_the_table() {
    for (text, expected) in [
        ("Straße STRASSE strasse", "strasse|strasse|strasse"),
        ("Müller MU\u{308}LLER Mueller", "muller,mueller|muller,mueller|mueller"),
        ("ABC-123 snake_case 1,234.5", "abc|123|snake|case|1|234|5"),
        ("don't don’t Alice's l'homme e-mail", "dont|dont|alice,alices|l,lhomme|homme|e,email|mail"),
        ("getUserName HTTPServer Alice", "getusername,get,user,name|httpserver,http,server|alice"),
        ("C++ c# .NET #budget @alice", "c++|c#|.net,net|#budget,budget|@alice,alice"),
        ("会议室", "会议|议室|室"),
        ("开会ok!", "开会|会|ok"),
        ("ｶﾞｽ ＡＢＣ１２", "ガス|ス|abc12"),
        ("👍🏽 👩\u{200d}💻 🇩🇪 ❤\u{fe0f}", "👍|👩\u{200d}💻,👩,💻|🇩🇪|❤"),
        ("ok :-) -> nice.", "ok|:-),->,nice"),
        ("alice@contoso.com", "alice|contoso|com"),
        ("İstanbul ISPARTA ısparta", "istanbul|isparta|isparta"),
        ("Ὀδυσσεύς ΟΔΥΣΣΕΥΣ", "οδυσσευσ|οδυσσευσ"),
        ("ёлка мой", "елка|мой"),
        ("مُحَمَّد مـحـمد أحمد مدرسة", "محمد|محمد|احمد|مدرسه"),
        ("שָׁלוֹם צה\"ל", "שלום|צהל"),
        ("об'єкт", "обєкт"),
        ("ação café naïve", "acao|cafe|naive"),
        ("co\u{ad}op ze\u{200b}ro", "coop|zero"),
        ("१२३ ٤٥", "123|45"),
        ("हिन्दी", "हिन्दी"),
        ("@“x #\u{200b}y .é", "x|#y,y|e"),
        ("", ""),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn words_that_are_too_long_are_cut_and_found() {
    let long = "x".repeat(150);
    assert_eq!(shown(&long), format!("{}|{}|{}", "x".repeat(64), "x".repeat(64), "x".repeat(22)));
    let long = "é".repeat(70);
    assert_eq!(shown(&long), format!("{}|{}", "e".repeat(64), "e".repeat(6)));
    let long = "ü".repeat(70);
    assert_eq!(shown(&long), format!("{}|{}", "u".repeat(64), "u".repeat(6)));
    assert_eq!(shown(&format!("{0}'{0}", "a".repeat(40))), format!("{0}|{0}", "a".repeat(40)));
    assert_eq!(pattern(&Words::Word("x".repeat(150))).slots.len(), 3);
}

#[test]
fn words_of_a_query_ask_for_what_texts_hold() {
    let slots = |words: Words| -> Vec<(u32, String, bool)> {
        pattern(&words).slots.into_iter().map(|slot| (slot.at, slot.any.join(","), slot.prefix)).collect()
    };
    assert_eq!(slots(Words::Word("Müller".into())), [(0, "muller,mueller".into(), false)]);
    assert_eq!(slots(Words::Prefix("Mül".into())), [(0, "mul,muel".into(), true)]);
    assert_eq!(slots(Words::Word("会".into())), [(0, "会".into(), true)]);
    assert_eq!(slots(Words::Prefix("会议".into())), [(0, "会议".into(), false)]);
    assert_eq!(slots(Words::Word("开会ok".into())), [(0, "开会".into(), false), (2, "ok".into(), false)]);
    assert_eq!(slots(Words::Word("GitHub".into())), [(0, "github".into(), false)]);
    assert_eq!(slots(Words::Prefix("abc.".into())), [(0, "abc".into(), false)]);
    assert_eq!(slots(Words::Word(":-)".into())), [(0, ":-)".into(), false)]);
    assert_eq!(slots(Words::Word("!".into())), []);
}

proptest! {
    #[test]
    fn no_letter_is_left_out(text in "([a-zA-Z]|[ .,'’\"#@_+-]|[äßçéøİ]|[会議]|[かガ]|[한글]|[ไทย]|[а-я]|[א-ת]|\u{301}|👍|\u{200d}|\\PC){0,40}") {
        let mut covered = vec![false; text.len()];
        let mut position = 0;
        tokens(&text, &mut |token| {
            assert!(token.position >= position && !token.text.is_empty() && token.text.len() <= LONGEST + 2, "{token:?}");
            assert!(token.from < token.to && text.get(token.from..token.to).is_some(), "{token:?}");
            covered[token.from..token.to].fill(true);
            position = token.position;
        });
        for (at, c) in text.char_indices() {
            // Letters that only modify others may stand alone and mean nothing; so may marks.
            let counts = c.is_ascii_alphanumeric() || "äßçéøİ会議かガ한글ไทяאת".contains(c);
            prop_assert!(!counts || covered[at], "{:?} at {} of {:?}", c, at, text);
        }
    }

    #[test]
    fn any_word_finds_itself(word in "\\PC{1,12}", before in "\\PC{0,4}") {
        let words = Words::Word(word.clone());
        let text = format!("{before} {word} ");
        if !pattern(&words).slots.is_empty() {
            let found = crate::index::snippet::Matcher::of(&[&words]).marks(&text);
            prop_assert!(!found.is_empty(), "{:?} in {:?}", word, text);
        }
    }
}
