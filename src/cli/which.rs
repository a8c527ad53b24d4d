//! From what a user typed to the conversation that is meant.

use super::Exit;
use crate::archive::Reader;
use crate::model::ConversationId;

/// Candidates named in an error.
const NAMED: usize = 3;

/// Finds the conversation whose id begins with what was typed, in any case, with or without `c_`. `None` if there is none.
///
/// # Errors
/// If several begin so, or the archive cannot be read.
pub(super) fn conversation(reader: &Reader, typed: &str) -> anyhow::Result<Option<ConversationId>> {
    let Some(prefix) = prefix(typed) else { return Ok(None) };
    let mut found = reader.conversations_with_prefix(&prefix, NAMED + 1)?;
    if found.len() > 1 {
        let more = if found.len() > NAMED { ", …" } else { "" };
        let names: Vec<&str> = found.iter().take(NAMED).map(ConversationId::as_str).collect();
        anyhow::bail!("`{}` begins several ids: {}{more}; type more of it", typed.escape_debug(), names.join(", "));
    }
    Ok(found.pop())
}

/// Says that there is no such conversation.
pub(super) fn none(reader: &Reader, typed: &str) -> Exit {
    let archive = reader.path().display();
    super::remark(&format!("no conversation `{}` in {archive}; `greffier list` shows all", typed.escape_debug()));
    Exit::NothingFound
}

/// The text ids begin with; `None` if no id can.
fn prefix(typed: &str) -> Option<String> {
    let typed = typed.trim();
    let body = typed.strip_prefix("c_").or_else(|| typed.strip_prefix("C_")).unwrap_or(typed);
    let fits = body.len() <= 26 && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| format!("c_{}", body.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn ids_may_be_typed_short_and_in_any_case() {
        assert_eq!(prefix("c_01jd").as_deref(), Some("c_01JD"));
        assert_eq!(prefix(" 01JD ").as_deref(), Some("c_01JD"));
        assert_eq!(prefix("C_").as_deref(), Some("c_"));
        assert_eq!(prefix("sip:alice@contoso.com"), None);
        assert_eq!(prefix("01%"), None);
    }
}
