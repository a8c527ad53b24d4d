//! What somebody said, cut into pieces that a template can escape: text, search hits, links that do not lie.

use std::ops::Range;

use url::Url;

use crate::harmless;
use crate::viewer::words;

/// Characters of a message that a transcript shows; the rest is on the page of the message.
pub const SHOWN: usize = 4_000;

/// Lines of a message that a transcript shows.
const LINES: usize = 60;

/// Longest address that becomes a link, bytes.
const LONGEST_LINK: usize = 2_048;

/// Text of a stranger, ready to be shown with its line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// In order.
    pub pieces: Vec<Piece>,
    /// Characters that were left out at the end.
    pub left_out: usize,
}

/// A part of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where it leads, for an address that can be followed: `http`, `https`, `mailto`, `sip`, `sips` or `tel`.
    pub href: Option<String>,
    /// The host it really leads to, where the text shows another or none that can be told apart.
    pub host: Option<String>,
    /// The text, as typed.
    pub runs: Vec<Run>,
}

/// A stretch of text that is a hit of the search, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Harmless, not escaped.
    pub text: String,
    /// Whether it is marked.
    pub hit: bool,
}

impl Said {
    /// The whole of a text.
    pub fn whole(text: &str, marks: &[Range<usize>]) -> Said {
        Said::cut(text, marks, usize::MAX)
    }

    /// The first `end` bytes of a text; `marks` are byte ranges of hits.
    pub fn cut(text: &str, marks: &[Range<usize>], end: usize) -> Said {
        let shown = text.get(..end).unwrap_or(text);
        let left_out = text[shown.len()..].chars().count();
        let mut pieces = Vec::new();
        let mut from = 0;
        for (range, href, host) in links(shown) {
            if from < range.start {
                pieces.push(Piece { runs: runs(text, from..range.start, marks), ..Piece::default() });
            }
            from = range.end;
            pieces.push(Piece { href: Some(href), host, runs: runs(text, range, marks) });
        }
        if from < shown.len() {
            pieces.push(Piece { runs: runs(text, from..shown.len(), marks), ..Piece::default() });
        }
        Said { pieces, left_out }
    }

    /// How many characters were left out, for people.
    pub fn more(&self) -> String {
        words::count(u64::try_from(self.left_out).unwrap_or(u64::MAX))
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether something in it is a hit.
    pub fn has_hit(&self) -> bool {
        self.pieces.iter().flat_map(|piece| &piece.runs).any(|run| run.hit)
    }
}

/// Where a text is cut to what a transcript shows, in bytes.
pub fn shown_end(text: &str) -> usize {
    let characters = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    text[..characters].match_indices('\n').nth(LINES - 1).map_or(characters, |(end, _)| end)
}

/// The beginning of a text on one line, short: for quotes.
pub fn glimpse(text: &str, limit: usize) -> String {
    let mut characters = text.trim().chars();
    let shown: String = characters.by_ref().take(limit).collect();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    harmless::one_line(&shown) + if characters.next().is_some() { "…" } else { "" }
}

/// The text of a range, split where marks begin and end. Marks that lie across a character or beyond the text are ignored.
fn runs(text: &str, range: Range<usize>, marks: &[Range<usize>]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut push = |from: usize, to: usize, hit: bool| {
        if let Some(part) = text.get(from..to).filter(|part| !part.is_empty()) {
            runs.push(Run { text: harmless::lines(part), hit });
        }
    };
    let mut from = range.start;
    for mark in marks {
        let (start, end) = (mark.start.max(from), mark.end.min(range.end));
        if start >= end || !text.is_char_boundary(start) || !text.is_char_boundary(end) {
            continue;
        }
        push(from, start, false);
        push(start, end, true);
        from = end;
    }
    push(from, range.end, false);
    runs
}

const SCHEMES: [&str; 6] = ["https://", "http://", "mailto:", "sips:", "sip:", "tel:"];

/// Addresses in a text, in order: where, leading where, and the host if the text does not show it. Linear in the text.
fn links(text: &str) -> Vec<(Range<usize>, String, Option<String>)> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(colon) = bytes[from..].iter().position(|b| *b == b':').map(|at| at + from) {
        let begins = SCHEMES.iter().find_map(|scheme| {
            let name = scheme.find(':').unwrap_or_default();
            let start = colon.checked_sub(name)?;
            let there = bytes.get(start..start + scheme.len())?.eq_ignore_ascii_case(scheme.as_bytes());
            // Scripts without blanks put an address right behind a word.
            let alone = start == 0 || !bytes[start - 1].is_ascii_alphanumeric();
            (there && alone && start >= from).then_some((start, start + scheme.len()))
        });
        from = colon + 1;
        let Some((start, rest)) = begins else { continue };
        let end = rest + trimmed(&text[rest..]);
        if let Some((href, host)) = target(&text[start..end]) {
            found.push((start..end, href, host));
        }
        from = end.max(from);
    }
    found
}

/// How many bytes belong to an address: up to what cannot be part of one, without the punctuation around it.
fn trimmed(rest: &str) -> usize {
    let ends = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '«' | '»' | '“' | '”' | '„' | '`' | '|' | '\\')
            || matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff1f}' | '\u{ff5b}'..='\u{ff65}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut address = &rest[..rest.find(ends).unwrap_or(rest.len())];
    loop {
        let last = address.chars().next_back();
        let drop = match last {
            Some('.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '…' | '’') => true,
            Some(')') => address.matches(')').count() > address.matches('(').count(),
            Some(']') => address.matches(']').count() > address.matches('[').count(),
            _ => false,
        };
        let (true, Some(last)) = (drop && address.len() <= LONGEST_LINK, last) else { break };
        address = &address[..address.len() - last.len_utf8()];
    }
    address.len()
}

fn target(typed: &str) -> Option<(String, Option<String>)> {
    if typed.len() > LONGEST_LINK {
        return None;
    }
    let mut url = Url::parse(typed).ok()?;
    match url.scheme() {
        "http" | "https" => {
            let host = url.host_str()?.to_owned();
            let told = typed.split_once("://")?.1.to_ascii_lowercase();
            let after = told.strip_prefix(&host);
            let honest =
                after.is_some_and(|after| after.is_empty() || after.starts_with(['/', '?', '#']) || port(after));
            // A name or password before the host is there to mislead, or is nobody else's business.
            url.set_username("").and_then(|()| url.set_password(None)).ok()?;
            Some((url.to_string(), (!honest).then_some(host)))
        }
        "tel" => url.path().starts_with(|c: char| c == '+' || c.is_ascii_digit()).then(|| (url.to_string(), None)),
        "mailto" | "sip" | "sips" => {
            let (user, host) = url.path().split_once('@')?;
            (!user.is_empty() && !host.is_empty()).then(|| (url.to_string(), None))
        }
        _ => None,
    }
}

/// `:8443` and then nothing or a path; not `:secret@elsewhere`.
fn port(after: &str) -> bool {
    let Some(digits) = after.strip_prefix(':') else { return false };
    digits.trim_start_matches(|c: char| c.is_ascii_digit()).chars().next().is_none_or(|c| matches!(c, '/' | '?' | '#'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn linked(text: &str) -> Vec<(String, String, Option<String>)> {
        links(text).into_iter().map(|(range, href, host)| (text[range].to_owned(), href, host)).collect()
    }

    #[test]
    fn addresses_become_links_without_the_punctuation_around_them() {
        let text =
            "see (https://contoso.com/a_(b)), mailto:a@b.c, sip:bob@contoso.com; tel:+49.30 or 见https://x.y/天气。好";
        let found: Vec<String> = linked(text).into_iter().map(|(typed, ..)| typed).collect();
        let wanted =
            ["https://contoso.com/a_(b)", "mailto:a@b.c", "sip:bob@contoso.com", "tel:+49.30", "https://x.y/天气"];
        assert_eq!(found, wanted);
        assert_eq!(linked("天气 https://x.y/天气。好")[0].1, "https://x.y/%E5%A4%A9%E6%B0%94");
    }

    #[test]
    fn nothing_that_runs_becomes_a_link() {
        for text in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "file:///etc/passwd",
            "http://",
            "https://?",
            "mailto:",
            "mailto:nobody",
            "sip:@",
            "tel:abc",
            "xhttps://a.b",
            "blob:https",
        ] {
            assert_eq!(linked(text), [], "{text}");
        }
        // What follows a scheme of that kind is not executed: it is the plain address that is linked.
        assert_eq!(linked("javascript:https://a.b")[0].1, "https://a.b/");
    }

    #[test]
    fn the_real_host_is_shown_where_the_text_hides_it() {
        let host = |text: &str| linked(text).remove(0).2;
        assert_eq!(host("https://Contoso.com/x"), None);
        assert_eq!(host("https://contoso.com:8443?x"), None);
        assert_eq!(host("https://contoso.com@evil.example/"), Some("evil.example".into()));
        assert_eq!(host("https://contoso.com:443@evil.example/"), Some("evil.example".into()));
        assert_eq!(host("https://аррӏе.com"), Some("xn--80ak6aa92e.com".into()));
        assert_eq!(host("http://2130706433/"), Some("127.0.0.1".into()));
    }

    #[test]
    fn hits_are_marked_inside_and_outside_of_links() {
        let text = "go https://go.example now";
        let said = Said::whole(text, &[0..2, 11..13]);
        let run = |text: &str, hit| Run { text: text.into(), hit };
        assert_eq!(
            said.pieces,
            [
                Piece { runs: vec![run("go", true), run(" ", false)], ..Piece::default() },
                Piece {
                    href: Some("https://go.example/".into()),
                    host: None,
                    runs: vec![run("https://", false), run("go", true), run(".example", false)]
                },
                Piece { runs: vec![run(" now", false)], ..Piece::default() },
            ]
        );
        assert!(said.has_hit() && !Said::whole(text, &[]).has_hit());
    }

    #[test]
    fn long_texts_are_cut_and_say_by_how_much() {
        let text = "ä".repeat(5_000);
        assert_eq!(Said::cut(&text, &[], shown_end(&text)).left_out, 1_000);
        let text = "x\n".repeat(100);
        assert_eq!(shown_end(&text), 119);
        assert_eq!(glimpse("\n first line \nsecond", 80), "first line second");
        assert_eq!(glimpse("abcdef", 3), "abc…");
        assert_eq!(glimpse("abc", 3), "abc");
    }

    proptest! {
        #[test]
        fn every_character_is_shown_once(text in "[a-zä:/@.()天 \n\u{202e}]{0,80}|(https?://|mailto:|x )[a-z./:@)]{0,30}", from in 0usize..60, len in 0usize..20) {
            let said = Said::whole(&text, std::slice::from_ref(&(from..from + len)));
            let runs = said.pieces.iter().flat_map(|piece| &piece.runs);
            let shown: String = runs.map(|run| run.text.as_str()).collect();
            prop_assert_eq!(shown, harmless::lines(&text));
        }

        #[test]
        fn links_lead_to_harmless_schemes(text in "(java|vb)?(script)?:?(https?://|sip:|mailto:|tel:|HTTP://)\\PC{0,30}") {
            for (_, href, _) in links(&text) {
                prop_assert!(["http://", "https://", "mailto:", "sip:", "sips:", "tel:"].iter().any(|s| href.starts_with(s)), "{}", href);
            }
        }
    }
}
