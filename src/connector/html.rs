//! HTML of messages: as plain text, and made harmless for display.
//!
//! The text is drawn from html5ever's token stream, not from a tree: linear in time, no depth to overflow. Whoever
//! writes messages may write anything, so nesting and attribute counts that would cost more than linear time are
//! noticed first and such HTML is shown as text.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
};

/// HTML as the reader would see it, without any layout: block elements and `br` are line breaks, links keep their text
/// and show their address behind it in `<>` if it says something else, entities are decoded, white space collapses as
/// browsers do it (not in `pre`). Scripts and styles are left out. No wrapping, no decoration.
pub fn html_to_text(html: &str) -> String {
    let sink = Scan { text: Some(RefCell::new(Text::default())), ..Scan::default() };
    let (sink, unread) = tokenize(html, sink);
    let mut text = sink.text.map(RefCell::into_inner).unwrap_or_default();
    // Only a tag with thousands of attributes leaves something: its words are kept without looking at structure.
    strip(unread, &mut text);
    text.finish()
}

/// Keeps harmless formatting and `http`, `https`, `mailto`, `tel`, `sip` links; removes everything else, scripts and
/// remote images among it. HTML made to exhaust a reader comes back as escaped plain text.
pub fn sanitise(html: &str) -> String {
    let ampersands = html.bytes().filter(|b| *b == b'&').count();
    let (sink, unread) = tokenize(html, Scan::default());
    if ampersands > AMPERSAND_LIMIT
        || !unread.is_empty()
        || sink.work.get() > WORK_LIMIT
        || sink.deepest.get() > DEPTH_LIMIT
    {
        return escape(&html_to_text(html));
    }
    ammonia::Builder::default()
        .url_schemes(["http", "https", "mailto", "tel", "sip"].into())
        .url_relative(ammonia::UrlRelative::Deny)
        .rm_tags(["img"])
        .link_rel(Some("noopener noreferrer nofollow"))
        .clean(html)
        .to_string()
}

/// Escapes what HTML would take for markup; line breaks become `br`.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}

/// Open elements allowed at once. Real messages stay below twenty.
const DEPTH_LIMIT: usize = 256;
/// Sum over all start tags of the elements open then: what a tree builder may have to walk or repeat.
const WORK_LIMIT: usize = 4_000_000;
/// Ampersands allowed; sanitising `&a&a&a…` takes time quadratic in their number.
const AMPERSAND_LIMIT: usize = 8 * 1024;
/// The tokenizer is fed in pieces of so many bytes, to notice a tag that does not end.
const PIECE: usize = 4 * 1024;
/// Attributes that one tag may have before reading stops; the tokenizer compares each with all before it.
const ATTRIBUTE_LIMIT: usize = 4 * 1024;

/// Feeds everything to the sink; returns what was not fed because a tag had too many attributes.
fn tokenize(html: &str, sink: Scan) -> (Scan, &str) {
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest = html;
    let mut separators = 0;
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, after) = rest.split_at(end);
        tokenizer.sink.tokens.set(0);
        queue.push_back(StrTendril::from_slice(piece));
        while let html5ever::TokenizerResult::Script(()) = tokenizer.feed(&queue) {}
        rest = after;
        if tokenizer.sink.tokens.get() == 0 {
            // Still inside one tag or comment.
            separators += piece.bytes().filter(|b| b.is_ascii_whitespace() || b"/\"'".contains(b)).count();
            if separators > ATTRIBUTE_LIMIT {
                break;
            }
        } else {
            separators = 0;
        }
    }
    tokenizer.end();
    (tokenizer.sink, rest)
}

/// Drops everything between angle brackets; for input that cannot be tokenized.
fn strip(html: &str, text: &mut Text) {
    let mut inside = true;
    for piece in html.split_inclusive(['<', '>']) {
        let (body, last) = piece.split_at(piece.len() - piece.ends_with(['<', '>']) as usize);
        if !inside {
            text.push(body);
        }
        match last {
            "<" => inside = true,
            ">" => inside = false,
            _ => {}
        }
    }
}

/// Receives tokens; always measures, and writes text if asked to.
#[derive(Default)]
struct Scan {
    text: Option<RefCell<Text>>,
    tokens: Cell<usize>,
    open: Cell<usize>,
    deepest: Cell<usize>,
    work: Cell<usize>,
    counts: RefCell<HashMap<String, usize>>,
}

impl TokenSink for Scan {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if !matches!(token, Token::ParseError(_)) {
            self.tokens.set(self.tokens.get() + 1);
        }
        match token {
            Token::TagToken(tag) => {
                self.measure(&tag);
                if let Some(text) = &self.text {
                    text.borrow_mut().tag(&tag);
                }
                if tag.kind == TagKind::StartTag {
                    return match &*tag.name {
                        "script" | "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                            TokenSinkResult::RawData(RawKind::Rawtext)
                        }
                        "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                        _ => TokenSinkResult::Continue,
                    };
                }
            }
            Token::CharacterTokens(characters) => {
                if let Some(text) = &self.text {
                    text.borrow_mut().push(&characters);
                }
            }
            Token::NullCharacterToken => {
                if let Some(text) = &self.text {
                    text.borrow_mut().push("\u{fffd}");
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that end when the next of their kind begins.
const SELF_ENDING: [&str; 10] = ["p", "li", "dd", "dt", "td", "th", "tr", "option", "optgroup", "rp"];

impl Scan {
    fn measure(&self, tag: &Tag) {
        let name = &*tag.name;
        if VOID.contains(&name) {
            self.work.set(self.work.get() + self.open.get());
            return;
        }
        let mut counts = self.counts.borrow_mut();
        match tag.kind {
            TagKind::StartTag => {
                self.work.set(self.work.get() + self.open.get());
                let count = counts.entry(name.to_owned()).or_default();
                if *count == 0 || !SELF_ENDING.contains(&name) {
                    *count += 1;
                    self.open.set(self.open.get() + 1);
                    self.deepest.set(self.deepest.get().max(self.open.get()));
                }
            }
            TagKind::EndTag => {
                if let Some(count) = counts.get_mut(name).filter(|count| **count > 0) {
                    *count -= 1;
                    self.open.set(self.open.get() - 1);
                }
            }
        }
    }
}

/// The text so far and what white space is owed to it.
#[derive(Default)]
struct Text {
    out: String,
    /// White space was read that becomes one blank if more words follow on this line.
    blank: bool,
    /// A block ended or began: the next words stand on a new line.
    fresh_line: bool,
    /// Depth of `pre` and `textarea`.
    kept: usize,
    /// Name of the element whose content is left out, until its end tag.
    skipped: Option<String>,
    /// Address of the open link, and where its text begins.
    link: Option<(String, usize)>,
}

impl Text {
    fn push(&mut self, characters: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.kept > 0 {
            self.start_line_if_owed();
            self.out.push_str(&characters.replace("\r\n", "\n"));
            return;
        }
        let white = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        let mut rest = characters;
        while !rest.is_empty() {
            let words = rest.trim_start_matches(white);
            self.blank |= words.len() < rest.len();
            let end = words.find(white).unwrap_or(words.len());
            if end > 0 {
                self.start_line_if_owed();
                if self.blank && !self.out.is_empty() && !self.out.ends_with('\n') {
                    self.out.push(' ');
                }
                self.blank = false;
                self.out.push_str(&words[..end]);
            }
            rest = &words[end..];
        }
    }

    fn start_line_if_owed(&mut self) {
        if std::mem::take(&mut self.fresh_line) {
            self.blank = false;
            if !self.out.is_empty() && !self.out.ends_with('\n') {
                self.out.push('\n');
            }
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let name = &*tag.name;
        if let Some(skipped) = &self.skipped {
            if tag.kind == TagKind::EndTag && name == skipped {
                self.skipped = None;
            }
            return;
        }
        let attribute = |wanted: &str| tag.attrs.iter().find(|a| &*a.name.local == wanted).map(|a| &*a.value);
        match (name, tag.kind) {
            ("script" | "style" | "title" | "iframe", TagKind::StartTag) => {
                self.skipped = Some(name.to_owned());
            }
            ("br", _) => {
                self.start_line_if_owed();
                self.blank = false;
                self.out.push('\n');
            }
            ("pre" | "textarea", TagKind::StartTag) => {
                self.fresh_line = true;
                self.kept += 1;
            }
            ("pre" | "textarea", TagKind::EndTag) => {
                self.fresh_line = true;
                self.kept = self.kept.saturating_sub(1);
            }
            ("a", kind) => {
                self.end_link();
                if kind == TagKind::StartTag
                    && let Some(href) = attribute("href").map(str::trim).filter(|href| !href.is_empty())
                {
                    self.link = Some((href.to_owned(), self.out.len()));
                }
            }
            // Teams writes emoji as elements of their own.
            ("img" | "emoji", TagKind::StartTag) => {
                if let Some(alt) = attribute("alt") {
                    self.push(alt);
                }
            }
            ("td" | "th", TagKind::EndTag) => self.blank = true,
            (
                "address" | "article" | "aside" | "blockquote" | "body" | "center" | "dd" | "details" | "div" | "dl"
                | "dt" | "fieldset" | "figcaption" | "figure" | "footer" | "form" | "h1" | "h2" | "h3" | "h4" | "h5"
                | "h6" | "head" | "header" | "hr" | "html" | "legend" | "li" | "main" | "nav" | "ol" | "option" | "p"
                | "section" | "summary" | "table" | "tbody" | "tfoot" | "thead" | "tr" | "ul" | "caption" | "xmp",
                _,
            ) => self.fresh_line = true,
            _ => {}
        }
    }

    fn end_link(&mut self) {
        let Some((href, from)) = self.link.take() else { return };
        let shown = self.out.get(from..).unwrap_or_default().trim().to_owned();
        if essence(&shown) == essence(&href) {
            return;
        }
        if !shown.is_empty() && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        } else if shown.is_empty() {
            self.push("");
            self.start_line_if_owed();
            if self.blank && !self.out.is_empty() && !self.out.ends_with('\n') {
                self.out.push(' ');
            }
            self.blank = false;
        }
        self.out.push('<');
        self.out.extend(href.chars().filter(|c| !c.is_control()));
        self.out.push('>');
    }

    fn finish(mut self) -> String {
        self.end_link();
        self.out
    }
}

/// What two spellings of one address have in common.
fn essence(address: &str) -> &str {
    let bare = ["https://", "http://", "mailto:", "tel:", "sip:"]
        .iter()
        .find_map(|scheme| address.get(..scheme.len()).filter(|a| a.eq_ignore_ascii_case(scheme)).map(|a| a.len()))
        .map_or(address, |length| &address[length..]);
    bare.strip_suffix('/').unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn text_of_messages() {
        for (html, text) in [
            ("<span style=\"font-size:10pt\">Hello</span>", "Hello"),
            ("<div>a</div><div>b</div>", "a\nb"),
            ("<p>a</p>\r\n<p>b</p>\n", "a\nb"),
            ("a<br>b<br/>", "a\nb\n"),
            ("<div>a<br></div><div><br></div><div>b</div>", "a\n\nb"),
            ("a \r\n  b<b> c</b>", "a b c"),
            ("<div> a </div> b ", "a\nb"),
            ("&lt;b&gt; &amp; &#x1F600; &eacute;&nbsp;x &copy", "<b> & 😀 é\u{a0}x ©"),
            ("<pre>a\r\n  b</pre>c", "a\n  b\nc"),
            ("<ul><li>one<li>two</ul>three", "one\ntwo\nthree"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("<script>alert('x')</script><style>p{}</style><title>t</title>x<!-- c -->", "x"),
            ("<img alt=\":-)\" src=x> ok", ":-) ok"),
            ("1 < 2 and <unclosed", "1 < 2 and"),
            ("", ""),
            ("\u{200f}שלום\u{200f} <i>עולם</i>", "\u{200f}שלום\u{200f} עולם"),
        ] {
            assert_eq!(html_to_text(html), text, "{html}");
        }
    }

    #[test]
    fn links_keep_their_address_when_it_says_more() {
        for (html, text) in [
            ("<a href=\"https://a.example/x\">https://a.example/x</a>.", "https://a.example/x."),
            ("see <a href='https://a.example/'>a.example</a> now", "see a.example now"),
            ("see <a href='https://a.example/?q=1&amp;r=2'>this</a> now", "see this <https://a.example/?q=1&r=2> now"),
            ("<a href='https://evil.example'>https://good.example</a>", "https://good.example <https://evil.example>"),
            ("<a href='mailto:a@b.c'>a@b.c</a>", "a@b.c"),
            ("x <a href='https://a.example'><img src=y></a>", "x <https://a.example>"),
            ("<a href='https://a.example'>t", "t <https://a.example>"),
            ("<a name=x>t</a>", "t"),
        ] {
            assert_eq!(html_to_text(html), text, "{html}");
        }
    }

    #[test]
    fn sanitised_html_is_harmless_and_keeps_formatting() {
        assert_eq!(sanitise("<b onclick=x()>a</b><script>x()</script>"), "<b>a</b>");
        assert_eq!(sanitise("<a href='javascript:x()'>a</a>"), "<a rel=\"noopener noreferrer nofollow\">a</a>");
        assert!(!sanitise("<img src=https://t.example/pixel><svg onload=x()>").contains("src"));
        assert!(sanitise("<a href='https://a.example'>a</a>").contains("href=\"https://a.example\""));
        let deep = format!("{}<script>x</script>&lt;i&gt;", "<div>".repeat(1000));
        assert_eq!(sanitise(&deep), "&lt;i&gt;");
    }

    /// Inputs that are quadratic for careless readers. The limit is generous: builds without optimisation run it too.
    #[test]
    fn hostile_html_takes_linear_time() {
        let size = 240_000;
        let distinct: String = (0..size / 6).map(|n| format!(" a{n:x}")).collect();
        for (name, html) in [
            ("text", "word ".repeat(size / 5)),
            ("bold", "<b>x</b>".repeat(size / 8)),
            ("deep", "<div>".repeat(size / 5)),
            ("formatting", (0..size / 12).map(|n| format!("<font a={n}>x<p>")).collect()),
            ("links", "<a href=x>y".repeat(size / 11)),
            ("attributes", format!("<p{distinct}>kept</p>")),
            ("comment", format!("<!--{}", "- ".repeat(size / 2))),
            ("less-than", "<".repeat(size)),
            ("ampersand", "&a".repeat(size / 2)),
        ] {
            let start = Instant::now();
            let text = html_to_text(&html);
            let clean = sanitise(&html);
            assert!(start.elapsed() < Duration::from_secs(30), "{name} took {:?}", start.elapsed());
            assert!(text.len() <= 2 * html.len() && clean.len() <= 12 * html.len(), "{name}");
            if name == "attributes" {
                assert!(text.ends_with("kept"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_escaping(text in "[^\r\0]*") {
            let shown = html_to_text(&format!("<pre>{}</pre>", text.replace('&', "&amp;").replace('<', "&lt;")));
            prop_assert_eq!(shown, text);
        }

        #[test]
        fn never_panics_and_never_lets_scripts_through(html in "(<[/a-z!-]{0,8}[ a-z=\"'>]{0,12}|&[a-z#0-9;]{0,6}|\\PC{0,6}|<script|on[a-z]+=|<a href=javascript:x>){0,30}") {
            let _ = html_to_text(&html);
            let clean = sanitise(&html).to_ascii_lowercase();
            prop_assert!(!clean.contains("<script") && !clean.contains("href=\"javascript"));
        }
    }
}
