//! What Teams writes into message HTML besides HTML: emoji, pictures of the service, code, quotes.
//!
//! The elements that hold words in attributes are replaced by these words before the HTML is read as text or sanitised;
//! both would drop them. What comes out is still untrusted HTML.

use std::borrow::Cow;

/// A picture, sound or film that the service keeps (`hostedContents`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// Id of the hosted content, not percent-encoded.
    pub id: String,
    /// Address as received.
    pub url: String,
    /// What stands in its place for those who cannot see it.
    pub alt: Option<String>,
}

/// HTML with everything readable, and what was found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup {
    /// HTML in which emoji and pictures are words.
    pub html: String,
    /// In order of appearance, each id once.
    pub hosted: Vec<Hosted>,
    /// Message id that an old-style quote (`blockquote itemtype=…/Reply`) names.
    pub quoted: Option<String>,
}

/// Elements that are looked at; the name must be followed by a blank, `/` or `>`.
const NAMES: &[&str] = &["emoji", "customemoji", "img", "video", "audio", "source", "blockquote"];

/// Makes Teams' markup readable. Linear in the length of the HTML: after a tag without an end nothing is looked for.
pub fn readable(html: &str) -> Markup {
    let mut markup = Markup { html: String::with_capacity(html.len()), ..Markup::default() };
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        markup.html.push_str(before);
        let name = NAMES.iter().find(|name| {
            let inside = tag.as_bytes().get(1..).unwrap_or_default();
            inside.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
                && inside.get(name.len()).is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>'))
        });
        let Some(name) = name else {
            markup.html.push('<');
            rest = tag.get(1..).unwrap_or_default();
            continue;
        };
        let Some(end) = end_of(tag) else {
            rest = tag;
            break;
        };
        let (whole, after) = tag.split_at(end);
        markup.take(name, whole);
        rest = after;
    }
    markup.html.push_str(rest);
    markup
}

impl Markup {
    fn take(&mut self, name: &str, tag: &str) {
        let inside = tag.get(name.len() + 1..tag.len().saturating_sub(1)).unwrap_or_default();
        let attributes = Attributes { rest: inside };
        let (mut alt, mut title, mut src, mut item_type, mut item_id) = (None, None, None, None, None);
        // A tag may have any number of attributes; the first of each name counts, as in browsers.
        for (key, value) in attributes {
            let slot = match () {
                () if key.eq_ignore_ascii_case("alt") => &mut alt,
                () if key.eq_ignore_ascii_case("title") => &mut title,
                () if key.eq_ignore_ascii_case("src") => &mut src,
                () if key.eq_ignore_ascii_case("itemtype") => &mut item_type,
                () if key.eq_ignore_ascii_case("itemid") => &mut item_id,
                () => continue,
            };
            slot.get_or_insert(value);
        }
        let alt = alt.filter(|alt| !alt.trim().is_empty());
        match name {
            "blockquote" => {
                self.html.push_str(tag);
                if item_type.is_some_and(|t| t.to_ascii_lowercase().ends_with("/reply")) && self.quoted.is_none() {
                    self.quoted = item_id.map(str::to_owned).filter(|id| !id.is_empty());
                }
            }
            "emoji" | "customemoji" => self.words(alt.or(title).unwrap_or_default()),
            _ => match src.and_then(|src| hosted_id(src).map(|id| (id, src))) {
                Some((id, url)) => {
                    let emoji = item_type.is_some_and(|t| t.to_ascii_lowercase().contains("emoji"));
                    match alt {
                        Some(alt) if emoji => self.words(alt),
                        _ => {
                            self.html.push('[');
                            self.words(alt.unwrap_or(if name == "img" { "image" } else { name }));
                            self.html.push(']');
                        }
                    }
                    let alt = alt.map(|alt| decoded(alt).into_owned());
                    if !self.hosted.iter().any(|known| known.id == id) && self.hosted.len() < HOSTED_LIMIT {
                        self.hosted.push(Hosted { id, url: decoded(url).into_owned(), alt });
                    }
                }
                None => self.words(alt.unwrap_or_default()),
            },
        }
    }

    /// An attribute's value as content. It is still encoded; a bare `<` in it must not become a tag.
    fn words(&mut self, value: &str) {
        self.html.push_str(&value.replace('<', "&lt;"));
    }
}

/// Hosted contents looked at in one message; bounds the search for repetitions.
const HOSTED_LIMIT: usize = 256;

/// Where a tag ends, its `>` included; `>` in quotes does not count.
fn end_of(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    None
}

/// Id of the hosted content that an address names: what stands between `/hostedContents/` and the next `/` or `?`.
pub fn hosted_id(url: &str) -> Option<String> {
    const MARK: &str = "/hostedcontents/";
    let at = url.to_ascii_lowercase().find(MARK)?;
    let rest = url.get(at + MARK.len()..)?;
    let id = rest.split(['/', '?', '#']).next().filter(|id| !id.is_empty())?;
    let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?;
    Some(id.into_owned())
}

fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('&') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// Attributes of one tag, values as written.
struct Attributes<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Attributes<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let white = |c: char| c.is_ascii_whitespace() || c == '/';
        let text = self.rest.trim_start_matches(white);
        let (name, rest) = text.split_at(text.find(|c: char| white(c) || c == '=').unwrap_or(text.len()));
        let after = rest.trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
            self.rest = rest;
            return (!name.is_empty()).then_some((name, ""));
        };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, rest) = match quote {
            Some(quote) => value.get(1..).unwrap_or_default().split_once(quote).unwrap_or((value, "")),
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        self.rest = rest;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connector::html::html_to_text;

    #[test]
    fn emoji_and_pictures_become_words() {
        for (html, text) in [
            ("<p>Hi <emoji id=\"smile\" alt=\"🙂\" title=\"Smile\"></emoji>!</p>", "Hi 🙂!"),
            ("<EMOJI title='Party'></EMOJI>", "Party"),
            ("<img alt=\"👍\" itemtype=\"http://schema.skype.com/Emoji\" src=\"https://s/x.png\">", "👍"),
            ("a <img src=\"https://g/chats/c/messages/1/hostedContents/aWQ/$value\" alt='image'> b", "a [image] b"),
            ("<img src=https://g/hostedContents/a%3D%3D/$value>", "[image]"),
            ("<img alt=\"<b>\" src=x>", "<b>"),
            ("Hello World <at id=\"0\">Jane Smith</at>", "Hello World Jane Smith"),
            ("<systemEventMessage/>", ""),
            ("1 < 2 <img alt=\"x", "1 < 2"),
        ] {
            assert_eq!(html_to_text(&readable(html).html), text, "{html}");
        }
    }

    #[test]
    fn hosted_contents_and_quotes_are_found() {
        let markup = readable(
            "<blockquote itemscope=\"\" itemtype=\"http://schema.skype.com/Reply\" itemid=\"1600\">x</blockquote>\
             <img src=\"https://g/v1.0/chats/19:x@thread.v2/messages/1/hostedContents/aWQ9eA%3D%3D/$value\">\
             <IMG SRC='https://g/hostedcontents/aWQ9eA==/$value'><video src='/hostedContents/v?x'>",
        );
        assert_eq!(markup.quoted.as_deref(), Some("1600"));
        assert_eq!(markup.hosted.iter().map(|h| h.id.as_str()).collect::<Vec<_>>(), ["aWQ9eA==", "v"]);
    }

    #[test]
    fn hostile_markup_takes_linear_time() {
        let start = std::time::Instant::now();
        for piece in ["<img alt=\"", "<img ", "<emoji", "<img a=b ", "<<<", "<img alt='x' src=/hostedContents/"] {
            let _ = readable(&piece.repeat(100_000));
        }
        let many: String = (0..50_000).map(|n| format!("<img src=/hostedContents/{n}>")).collect();
        assert_eq!(readable(&many).hosted.len(), HOSTED_LIMIT);
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn never_panics(html in "(<(img|emoji|video|blockquote)( [a-z]{0,4}=?[\"']?\\PC{0,4})*/?>?|\\PC{0,4}){0,12}") {
            let _ = readable(&html);
        }
    }
}
