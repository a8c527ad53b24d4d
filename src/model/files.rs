//! The files of a message, each with why its bytes are not kept, if they are not.

use std::borrow::Cow;

use serde_json::Value;

use super::{Attachment, Content};

/// Member of [`Content::detail`] that tells of files whose bytes are not kept: a list of objects with `name` or `url`, and
/// `reason`.
pub const NOT_KEPT: &str = "attachments_not_kept";

/// A file that an event speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOf<'c> {
    /// Its place in [`super::Message::attachments`], from 1; `None` = only the detail tells of it.
    pub number: Option<usize>,
    /// What was told about it.
    pub attachment: Cow<'c, Attachment>,
    /// Why its bytes are not kept, as the connector tells it; text of ours or of strangers.
    pub reason: Option<&'c str>,
}

impl FileOf<'_> {
    /// Whether the event says that its bytes are in the archive.
    pub fn is_kept(&self) -> bool {
        self.attachment.sha256.is_some()
    }
}

impl Content {
    /// The files that this event speaks of: those of the message in their order, then those that only `detail` tells of.
    pub fn files(&self) -> Vec<FileOf<'_>> {
        let told = self.detail.as_ref().and_then(|detail| detail.get(NOT_KEPT)?.as_array());
        let mut told: Vec<Option<&Value>> = told.into_iter().flatten().map(Some).collect();
        let text = |entry: &Value, member: &str| entry.get(member).and_then(Value::as_str).map(str::to_owned);
        let attachments = self.message.iter().flat_map(|message| &message.attachments);
        let mut files: Vec<FileOf<'_>> = attachments
            .zip(1..)
            .map(|(attachment, number)| {
                let same = |mine: &Option<String>, told: Option<String>| told.is_some() && *mine == told;
                let fits = |entry: &Value| {
                    same(&attachment.name, text(entry, "name")) || same(&attachment.url, text(entry, "url"))
                };
                // A file that is kept needs no excuse.
                let found = told
                    .iter_mut()
                    .filter(|_| attachment.sha256.is_none())
                    .find(|entry| entry.is_some_and(fits))
                    .and_then(Option::take);
                let reason = found.and_then(|entry| entry.get("reason")?.as_str());
                FileOf { number: Some(number), attachment: Cow::Borrowed(attachment), reason }
            })
            .collect();
        files.extend(told.into_iter().flatten().map(|entry| FileOf {
            number: None,
            attachment: Cow::Owned(Attachment {
                name: text(entry, "name"),
                url: text(entry, "url"),
                ..Attachment::default()
            }),
            reason: entry.get("reason").and_then(Value::as_str),
        }));
        files
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Message;

    fn attachment(name: &str, url: &str, sha256: Option<&str>) -> Attachment {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Attachment { name: given(name), url: given(url), sha256: sha256.map(str::to_owned), ..Attachment::default() }
    }

    #[test]
    fn reasons_are_found_by_name_or_address_each_once_and_what_is_left_is_told_too() {
        let attachments = vec![
            attachment("plan.docx", "", None),
            attachment("plan.docx", "", None),
            attachment("", "https://a.example/x", None),
            attachment("kept.png", "", Some("ab")),
            attachment("nothing told", "", None),
        ];
        let detail = json!({ "attachments_not_kept": [
            { "name": "plan.docx", "reason": "no permission" },
            { "url": "https://a.example/x", "reason": "too large" },
            { "name": "kept.png", "reason": "first try failed" },
            { "name": "gone", "reason": "not found" },
            { "reason": 7 }, 3, null,
        ] });
        let message = Message { attachments, ..Message::default() };
        let content = Content { message: Some(message), detail: Some(detail), ..Content::default() };
        let files = content.files();
        let told: Vec<_> = files.iter().map(|f| (f.number, f.attachment.name.as_deref(), f.reason)).collect();
        assert_eq!(
            told,
            [
                (Some(1), Some("plan.docx"), Some("no permission")),
                (Some(2), Some("plan.docx"), None),
                (Some(3), None, Some("too large")),
                (Some(4), Some("kept.png"), None),
                (Some(5), Some("nothing told"), None),
                (None, Some("kept.png"), Some("first try failed")),
                (None, Some("gone"), Some("not found")),
                (None, None, None),
                (None, None, None),
                (None, None, None),
            ]
        );
        assert!(files[3].is_kept() && !files[5].is_kept());
        assert!(Content::default().files().is_empty());
        let odd = Content { detail: Some(json!({ "attachments_not_kept": "text" })), ..Content::default() };
        assert!(odd.files().is_empty());
    }
}
