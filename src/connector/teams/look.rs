//! Looking into JSON that others wrote: no member is required, the case of names does not count, `null` is the same as
//! nothing (digest §22: members are missing, surplus, or spelt in PascalCase inside decrypted payloads).

use serde_json::{Map, Value};

use crate::connector::teams::moment;
use crate::model::Timestamp;

/// The member of this name; an exact name goes before another case.
pub fn at<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let map = value.as_object()?;
    map.get(key)
        .or_else(|| map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, member)| member))
        .filter(|member| !member.is_null())
}

/// A text member that says something; as received, blanks at its ends included.
pub fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    at(value, key).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// The elements of a list member; none if it is absent or no list.
pub fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    at(value, key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member that is a time. "From the beginning" (the year 1) counts as none.
pub fn time(value: &Value, key: &str) -> Option<Timestamp> {
    text(value, key).and_then(moment::time).filter(|time| time.micros() > 0)
}

/// An identifier written as text or as a number.
pub fn id(value: &Value, key: &str) -> Option<String> {
    match at(value, key)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The same JSON without members that are `null` or empty lists, at every level. Depth is bounded by the parser's limit.
pub fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, member)| !member.is_null() && member.as_array().is_none_or(|list| !list.is_empty()))
                .map(|(name, member)| (name.clone(), bare(member)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(bare).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_null_is_nothing() {
        let value = json!({"Id": "x", "n": null, "list": [1], "t": "0001-01-01T00:00:00Z", "k": 7});
        assert_eq!(text(&value, "id"), Some("x"));
        assert_eq!(at(&value, "n"), None);
        assert_eq!(list(&value, "LIST").len(), 1);
        assert_eq!(time(&value, "t"), None);
        assert_eq!(id(&value, "k").as_deref(), Some("7"));
        assert_eq!(bare(&json!({"a": null, "b": {"c": null}, "d": [], "e": [null]})), json!({"b": {}, "e": [null]}));
        assert!(list(&json!("text"), "x").is_empty());
    }
}
