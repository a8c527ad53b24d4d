//! The words of a card, in reading order, whatever kind of card it is. Cards are made by strangers: depth and size are
//! bounded, and what is not known to be words is left out.

use serde_json::Value;

use crate::connector::html::html_to_text;

/// Levels looked into.
const DEPTH: usize = 32;
/// Characters taken.
const LENGTH: usize = 64 * 1024;

/// Members that hold words, in the order in which people read them.
const WORDS: &[&str] = &[
    "title",
    "subtitle",
    "summary",
    "activityTitle",
    "activitySubtitle",
    "activityText",
    "text",
    "altText",
    "label",
    "placeholder",
    "fallbackText",
    "name",
    "value",
    "displayText",
    "codeSnippet",
    "description",
];

/// Members that hold further parts, in that order.
const PARTS: &[&str] = &[
    "card", "content", "body", "sections", "columns", "items", "rows", "cells", "inlines", "facts", "images",
    "choices", "actions", "buttons", "tap", "members", "lines",
];

/// The words of a card, a line for each piece.
pub(super) fn text(card: &Value) -> Option<String> {
    let mut lines = Vec::new();
    let mut left = LENGTH;
    gather(card, 0, &mut left, &mut lines);
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn gather(value: &Value, depth: usize, left: &mut usize, lines: &mut Vec<String>) {
    if depth > DEPTH || *left == 0 {
        return;
    }
    match value {
        Value::Array(list) => list.iter().for_each(|one| match one {
            Value::String(text) => push(text, left, lines),
            other => gather(other, depth + 1, left, lines),
        }),
        Value::Object(members) => {
            // A fact is one line: its name and its value.
            if let (Some(name), Some(fact)) = (
                members.get("title").or_else(|| members.get("name")).and_then(Value::as_str),
                members.get("value").and_then(Value::as_str),
            ) && members.len() <= 3
                && !members.contains_key("type")
            {
                push(&format!("{name}: {fact}"), left, lines);
                return;
            }
            let action = members.get("type").and_then(Value::as_str).is_some_and(|kind| {
                kind.contains("Action")
                    || kind == "messageBack"
                    || kind == "openUrl"
                    || kind == "invoke"
                    || kind == "imBack"
            });
            for name in WORDS {
                // What a button does is not what it says.
                if action && matches!(*name, "value" | "text" | "displayText") {
                    continue;
                }
                if let Some(text) = members.get(*name).and_then(Value::as_str) {
                    push(text, left, lines);
                }
            }
            for name in PARTS {
                match members.get(*name) {
                    Some(Value::String(_)) | None => {}
                    Some(part) => gather(part, depth + 1, left, lines),
                }
            }
        }
        _ => {}
    }
}

fn push(text: &str, left: &mut usize, lines: &mut Vec<String>) {
    let words = html_to_text(text);
    let words: String = words.trim().chars().take(*left).collect();
    *left = left.saturating_sub(words.chars().count());
    if !words.is_empty() && lines.last() != Some(&words) {
        lines.push(words);
    }
}
