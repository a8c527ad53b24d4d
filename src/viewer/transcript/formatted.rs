//! The HTML version of a message: formatting kept, everything that loads, runs, styles or pretends removed.

use url::Url;

/// HTML longer than this is not formatted, bytes: the text is there anyway.
const LONGEST: usize = 64 * 1024;

/// Tags allowed in one message; more would be a way to make a page slow.
const MOST_TAGS: usize = 4_000;

/// HTML that a page may hold as it is; `None` if it is too much, or formats nothing.
///
/// Only inline formatting, paragraphs, lists, quotes and links are kept, without any attribute but a link's address. Behind
/// each link stands where it leads.
pub fn formatted(html: &str) -> Option<String> {
    if html.len() > LONGEST || html.bytes().filter(|b| *b == b'<').count() > MOST_TAGS {
        return None;
    }
    let clean = ammonia::Builder::empty()
        .tags(["a", "b", "strong", "i", "em", "u", "s", "code", "sub", "sup", "br"].into())
        .generic_attributes(std::collections::HashSet::new())
        .tag_attributes([("a", ["href"].into())].into())
        .clean_content_tags(["script", "style", "title", "template"].into())
        .url_schemes(["http", "https", "mailto", "sip", "sips", "tel"].into())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .strip_comments(true)
        .clean(&blocks_to_breaks(html))
        .to_string();
    let clean = clean.trim().trim_start_matches("<br>").trim_end_matches("<br>").trim();
    clean.contains('<').then(|| told(clean))
}

/// Ends of blocks become line breaks, so that no structure of a stranger can nest into ours.
fn blocks_to_breaks(html: &str) -> String {
    const BLOCKS: [&str; 12] = ["p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre"];
    let mut out = String::with_capacity(html.len() + 64);
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        let name: String = rest[at + 2..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_block = BLOCKS.iter().any(|block| block.eq_ignore_ascii_case(&name));
        out.push_str(&rest[..at]);
        out.push_str(if is_block { "<br></" } else { "</" });
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    out
}

/// Writes behind each link the host or address it leads to. `clean` is what the sanitiser wrote: attributes are quoted, `<`
/// in text is escaped, links do not nest.
fn told(clean: &str) -> String {
    let mut out = String::with_capacity(clean.len() + 64);
    let mut rest = clean;
    let mut leads = String::new();
    while let Some(at) = rest.find("<a ").into_iter().chain(rest.find("</a>")).min() {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("</a>") {
            out.push_str("</a>");
            if !leads.is_empty() {
                out.push_str(&format!(" <span class=\"host\">{leads}</span>"));
            }
            rest = after;
            continue;
        }
        let mut quoted = false;
        let end = rest
            .find(|c| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .map_or(rest.len(), |end| end + 1);
        let tag = &rest[..end];
        leads = tag.split("href=\"").nth(1).and_then(|v| v.split('"').next()).map(host).unwrap_or_default();
        out.push_str(tag);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// What stands behind a link, escaped; `href` is escaped.
fn host(href: &str) -> String {
    let Ok(url) = Url::parse(&href.replace("&amp;", "&")) else { return String::new() };
    let shown = url.host_str().unwrap_or_else(|| url.path());
    shown.chars().take(120).collect::<String>().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formatting_stays_and_everything_else_goes() {
        let html = "<div class=\"top\" id=\"main\" style=\"position:fixed\"><p>one <b onclick=\"x()\">two</b></p><script>pwned=1</script>\
                    <img src=x onerror=alert(1)><ul><li>three</li></ul><style>*{display:none}</style></div>";
        assert_eq!(formatted(html).as_deref(), Some("one <b>two</b><br>three"));
        assert_eq!(formatted("<span>plain</span>"), None);
        assert_eq!(formatted(&"<b>x</b>".repeat(50_000)), None);
    }

    #[test]
    fn links_say_where_they_lead() {
        let html = "<a href=\"https://evil.example/?a=1&amp;b=%22>\" title=\"bank\">https://bank.example</a> \
                    <a href=\"javascript:alert(1)\">x</a> <a href=\"/settings\">y</a> <a href=\"sip:a@b.c\">z</a>";
        let rel = "rel=\"noopener noreferrer nofollow\"";
        let wanted = format!(
            "<a href=\"https://evil.example/?a=1&amp;b=%22>\" {rel}>https://bank.example</a> <span class=\"host\">evil.example</span> \
             <a {rel}>x</a> <a {rel}>y</a> <a href=\"sip:a@b.c\" {rel}>z</a> <span class=\"host\">a@b.c</span>"
        );
        let got = formatted(html).expect("formatted").replace("&gt;", ">");
        assert_eq!(got, wanted);
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_of_the_short_list(html in "(<(/?)(a|b|p|img|script|svg|math|style|title|iframe|form|x)( (href|src|onload|style|id)=(\"|')?(javascript:|https://h|x)(\"|')?)?(>|/>| )?|&lt;|\"|'|>|text){0,24}") {
            if let Some(out) = formatted(&html) {
                for tag in out.split('<').skip(1) {
                    let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                    prop_assert!(["a", "b", "br", "span"].contains(&name.as_str()), "{out}");
                }
                for never in ["onload", "style=", " id=", "src=", "href=\"javascript"] {
                    prop_assert!(!out.split('<').skip(1).filter_map(|t| t.split('>').next()).any(|t| t.contains(never)), "{out}");
                }
            }
        }
    }
}
