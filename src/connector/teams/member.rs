//! Members of JSON objects from the wire: letter case varies, `null` is nothing, and any member may have any type.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The member of an object, found without regard to letter case; `null` counts as absent.
pub fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let object = value.as_object()?;
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

/// The member at the end of a path of names.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| member(value, name))
}

/// A text that is not empty at the end of a path.
pub fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A list at the end of a path; nothing for anything else.
pub fn list<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A number or a text as text: result codes come as both (digest trap 5).
pub fn word(value: &Value, name: &str) -> Option<String> {
    match member(value, name)? {
        Value::String(text) => Some(bounded(text, 256)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The name of an object's type without `#` and `microsoft.graph.`, in lower case; `None` if none is told.
pub fn type_name(value: &Value) -> Option<String> {
    let name = text(value, &["@odata.type"])?.trim_start_matches('#').to_ascii_lowercase();
    Some(name.strip_prefix("microsoft.graph.").map(str::to_owned).unwrap_or(name))
}

/// At most `most` characters of a text.
pub fn bounded(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// 24 hexadecimal digits that stand for a text of any length.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// An identifier in a form fit for keys: without blanks at its ends, lower case, and never longer than 200 bytes.
pub fn key(id: &str) -> String {
    let id = id.trim().to_lowercase();
    if id.len() <= 200 { id.replace('|', "%7c") } else { digest(&id) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_in_any_letter_case_and_null_is_nothing() {
        let value = json!({"State": "x", "b": {"C": 1}, "n": null, "@odata.type": "microsoft.graph.Call"});
        assert_eq!(text(&value, &["state"]), Some("x"));
        assert_eq!(at(&value, &["B", "c"]), Some(&json!(1)));
        assert_eq!(member(&value, "n"), None);
        assert_eq!(type_name(&value).as_deref(), Some("call"));
        assert_eq!(member(&json!([1]), "n"), None);
    }

    #[test]
    fn keys_are_bounded_and_hold_no_separator() {
        assert_eq!(key(" A|B "), "a%7cb");
        assert_eq!(key(&"x".repeat(5000)).len(), 24);
    }
}
