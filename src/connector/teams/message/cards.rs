//! The words of cards, in the order in which people read them.
//!
//! Cards are JSON that programs make: adaptive cards, hero, thumbnail, list and connector cards, and kinds that will be
//! invented. So nothing is validated; members that are known to be shown give their text, wherever they stand.

use serde_json::Value;

use crate::connector::html::html_to_text;

/// Members that are shown, first to last. Others are addresses, identifiers or payload.
const SHOWN: &[&str] = &[
    "title",
    "subject",
    "subtitle",
    "header",
    "activityTitle",
    "activitySubtitle",
    "activityText",
    "text",
    "label",
    "altText",
    "fallbackText",
    "name",
    "placeholder",
    "value",
];
/// Members whose children come first, in this order; children of other members follow.
const CHILDREN: &[&str] = &[
    "body",
    "heroImage",
    "sections",
    "items",
    "columns",
    "rows",
    "cells",
    "facts",
    "inlines",
    "images",
    "choices",
    "card",
    "inlineAction",
    "buttons",
    "actions",
    "potentialAction",
];
/// Members whose inside is never shown.
const HIDDEN: &[&str] = &["data", "msteams", "metadata", "authentication", "refresh", "value", "entities"];
/// Bytes of text after which a card is read no further.
const LIMIT: usize = 256 * 1024;

/// Everything of a card that people can read, one piece a line. Linear in the size of the card.
pub fn words(card: &Value, kind: &str) -> String {
    // Adaptive cards hold Markdown; the older kinds hold HTML in some of their texts.
    let mut reader = Reader { out: String::new(), html: !kind.to_ascii_lowercase().ends_with("adaptive") };
    reader.value(card, false);
    reader.out
}

struct Reader {
    out: String,
    html: bool,
}

impl Reader {
    fn value(&mut self, value: &Value, shown: bool) {
        match value {
            _ if self.out.len() > LIMIT => {}
            Value::String(text) if shown => self.line(text),
            Value::Array(list) => list.iter().for_each(|element| self.value(element, shown)),
            Value::Object(map) => {
                let kind = map.get("type").or(map.get("@type")).and_then(Value::as_str).unwrap_or_default();
                let text = |key: &str| map.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
                let fact = kind.is_empty().then(|| Some((text("title").or(text("name"))?, text("value")?))).flatten();
                if let Some((title, value)) = fact {
                    let colon = if title.trim_end().ends_with(':') { "" } else { ":" };
                    self.line(&format!("{}{colon} {value}", title.trim_end()));
                } else {
                    let is_button = is_button(kind);
                    for key in SHOWN {
                        let value_of_input = *key != "value" || kind.starts_with("Input.");
                        // The text of a button is what is sent when it is pressed.
                        if let Some(text) =
                            text(key).filter(|_| value_of_input && (!is_button || *key == "title" || *key == "name"))
                        {
                            self.line(text);
                        }
                    }
                }
                for key in CHILDREN {
                    if let Some(child) = map.get(*key) {
                        self.value(child, *key == "inlines");
                    }
                }
                for (key, child) in map {
                    if !CHILDREN.contains(&key.as_str()) && !HIDDEN.contains(&key.as_str()) {
                        self.value(child, false);
                    }
                }
            }
            _ => {}
        }
    }

    fn line(&mut self, text: &str) {
        let text = if self.html && text.contains(['<', '&']) { html_to_text(text) } else { text.replace("\r\n", "\n") };
        let text = text.trim();
        if text.is_empty() || self.out.len() > LIMIT {
            return;
        }
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(text);
    }
}

fn is_button(kind: &str) -> bool {
    kind.starts_with("Action.")
        || ["messageBack", "imBack", "postBack", "openUrl", "openApp", "invoke", "signin", "call", "downloadFile"]
            .iter()
            .any(|button| button.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cards_are_read_as_people_read_them() {
        let card = json!({
            "type": "AdaptiveCard", "version": "1.4", "$schema": "x",
            "body": [
                {"type": "TextBlock", "text": "Order 7 < 8"},
                {"type": "ColumnSet", "columns": [{"items": [{"type": "TextBlock", "text": "left"}]},
                    {"items": [{"type": "RichTextBlock", "inlines": ["rich ", {"type": "TextRun", "text": "text"}]}]}]},
                {"type": "FactSet", "facts": [{"title": "Due:", "value": "today"}, {"title": "By", "value": "Bob"}]},
                {"type": "Input.Text", "id": "i", "label": "Why?", "value": "because"},
                {"type": "Image", "url": "https://x/y.png", "altText": "a map"}
            ],
            "actions": [{"type": "Action.Submit", "title": "Approve", "data": {"text": "hidden"}},
                {"type": "Action.ShowCard", "title": "More", "card": {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "inner"}]}}]
        });
        assert_eq!(
            words(&card, "application/vnd.microsoft.card.adaptive"),
            "Order 7 < 8\nleft\nrich\ntext\nDue: today\nBy: Bob\nWhy?\nbecause\na map\nApprove\nMore\ninner"
        );
        let hero = json!({"title": "T", "subtitle": "<h3>Sub</h3>", "text": "a<br>b", "buttons": [{"type": "messageBack", "title": "Go", "text": "login"}]});
        assert_eq!(words(&hero, "application/vnd.microsoft.card.hero"), "T\nSub\na\nb\nGo");
        let connector = json!({"@type": "MessageCard", "summary": "s", "sections": [{"activityTitle": "A", "facts": [{"name": "n", "value": "v"}]}],
            "potentialAction": [{"@type": "OpenUri", "name": "View", "targets": [{"uri": "u"}]}]});
        assert_eq!(words(&connector, "application/vnd.microsoft.teams.card.o365connector"), "A\nn: v\nView");
        assert_eq!(words(&json!("text"), "x"), "");
    }

    #[test]
    fn enormous_cards_are_read_to_a_limit() {
        let many: Vec<_> = (0..100_000).map(|n| json!({"type": "TextBlock", "text": format!("word {n}")})).collect();
        assert!(words(&json!({"body": many}), "adaptive").len() < LIMIT + 100);
    }
}
