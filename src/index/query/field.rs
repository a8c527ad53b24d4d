//! Fields: their names, and what their values may be.

use super::date::{self, When};
use super::{Calendar, Filter, Words};
use crate::model::{ConversationId, Kind};

/// A field of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    From,
    With,
    In,
    Kind,
    Platform,
    Connector,
    Conversation,
    Before,
    After,
    On,
    Has,
    Is,
}

/// Names as typed, and what to write after them.
const FIELDS: [(&str, Field, &str); 12] = [
    ("from", Field::From, "from:alice"),
    ("with", Field::With, "with:bob"),
    ("in", Field::In, "in:\"subject words\""),
    ("kind", Field::Kind, "kind:message"),
    ("platform", Field::Platform, "platform:ucwa"),
    ("connector", Field::Connector, "connector:sfb"),
    ("conversation", Field::Conversation, "conversation:c_…"),
    ("before", Field::Before, "before:2026-11-01"),
    ("after", Field::After, "after:2026-11-01"),
    ("on", Field::On, "on:2026-11-01"),
    ("has", Field::Has, "has:attachment"),
    ("is", Field::Is, "is:edited"),
];

/// What users of other programs write for our fields.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("to", "with"),
    ("sender", "from"),
    ("author", "from"),
    ("participant", "with"),
    ("subject", "in"),
    ("title", "in"),
    ("type", "kind"),
    ("since", "after"),
    ("until", "before"),
    ("date", "on"),
    ("during", "on"),
    ("channel", "in"),
    ("chat", "conversation"),
    ("source", "platform"),
];

/// Beginnings of addresses, which are words though a letter makes a field of some.
const SCHEMES: [&str; 14] =
    ["sip", "sips", "im", "tel", "http", "https", "ftp", "file", "mailto", "ssh", "git", "urn", "data", "ws"];

impl Field {
    /// The field of this name, in any case.
    pub(super) fn named(name: &str) -> Option<Field> {
        FIELDS.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(name)).map(|(_, field, _)| *field)
    }

    /// What to write, as an example.
    pub(super) fn example(self) -> &'static str {
        FIELDS.iter().find(|(_, field, _)| *field == self).map_or("", |(_, _, example)| example)
    }
}

/// The field that was probably meant by a name that is none; `None` if it was hardly meant as a field.
pub(super) fn nearest(name: &str) -> Option<Field> {
    let name = name.to_ascii_lowercase();
    if SCHEMES.contains(&name.as_str()) {
        return None;
    }
    if let Some((_, meant)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
        return Field::named(meant);
    }
    let allowed = match name.len() {
        0..=2 => return None,
        3 | 4 => 1,
        _ => 2,
    };
    FIELDS
        .iter()
        .filter(|(known, _, _)| known.len() >= 3)
        .map(|(known, field, _)| (strsim::osa_distance(known, &name), *field))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, field)| field)
}

/// A value as typed.
#[derive(Clone, Debug)]
pub(super) struct Value<'t> {
    pub(super) text: &'t str,
    pub(super) quoted: bool,
    /// A star follows it.
    pub(super) star: bool,
}

impl Value<'_> {
    pub(super) fn words(&self) -> Words {
        let text = self.text.to_owned();
        match (self.star, self.quoted) {
            (true, _) => Words::Prefix(text),
            (false, true) => Words::Phrase(text),
            (false, false) => Words::Word(text),
        }
    }
}

/// The condition that a field and its value make.
///
/// # Errors
/// What is wrong with the value, and what to write.
pub(super) fn filter(field: Field, value: &Value<'_>, calendar: &Calendar) -> Result<Filter, String> {
    let exact = |what: &str| if value.star { Err(format!("no star here; write {what}")) } else { Ok(value.text) };
    match field {
        Field::From => Ok(Filter::From(value.words())),
        Field::With => Ok(Filter::With(value.words())),
        Field::In => Ok(Filter::In(value.words())),
        Field::Kind => kinds(exact("a kind whole, such as kind:message")?),
        Field::Platform => Ok(Filter::Platform(exact("the platform's name whole")?.to_ascii_lowercase())),
        Field::Connector => Ok(Filter::Connector(exact("the connector's name whole")?.to_owned())),
        Field::Conversation => {
            let typed = exact("the id whole")?;
            let upper = typed.get(2..).map(|rest| format!("c_{}", rest.to_ascii_uppercase()));
            let id = upper.filter(|_| typed.starts_with(['c', 'C'])).and_then(|id| ConversationId::parse(&id));
            id.map(Filter::Conversation).ok_or_else(|| {
                "not the id of a conversation, which is c_ and 26 letters and digits; for a subject write in:\"some words\""
                    .to_owned()
            })
        }
        Field::Before => Ok(Filter::Time { since: None, until: Some(when(exact(DATES)?, calendar)?.start()) }),
        Field::After => Ok(Filter::Time { since: Some(when(exact(DATES)?, calendar)?.start()), until: None }),
        Field::On => on(exact(DATES)?, calendar),
        Field::Has => one_of(
            exact("has:attachment or has:link")?,
            "has",
            &[
                ("attachment", Filter::HasAttachment),
                ("attachments", Filter::HasAttachment),
                ("file", Filter::HasAttachment),
                ("link", Filter::HasLink),
                ("links", Filter::HasLink),
            ],
            "has:attachment or has:link",
        ),
        Field::Is => one_of(
            exact("is:edited or is:deleted")?,
            "is",
            &[("edited", Filter::IsEdited), ("deleted", Filter::IsDeleted)],
            "is:edited or is:deleted",
        ),
    }
}

const DATES: &str = "a date such as 2026-11-01, 2026-11 or 2026, a time such as 2026-11-01T09:30:00Z, today, yesterday, \
                     or a span back such as 7d or 12h";

fn when(text: &str, calendar: &Calendar) -> Result<When, String> {
    date::read(text, calendar).ok_or_else(|| format!("not a date; write {DATES}"))
}

fn on(text: &str, calendar: &Calendar) -> Result<Filter, String> {
    let (since, until) = match text.split_once("..") {
        Some((first, last)) => (when(first, calendar)?.start(), when(last, calendar)?.end()),
        None => match when(text, calendar)? {
            When::Span(since, until) => (since, until),
            When::At(_) => {
                return Err("a point in time has no length; write a day or month, such as on:2026-11-01, or \
                            after:… for what came since"
                    .to_owned());
            }
        },
    };
    if since >= until {
        return Err("this span ends before it begins; write the earlier date first".to_owned());
    }
    Ok(Filter::Time { since: Some(since), until: Some(until) })
}

/// `message`, `message.sent`, or several with commas between.
fn kinds(text: &str) -> Result<Filter, String> {
    let mut kinds: Vec<Kind> = Vec::new();
    for name in text.split(',') {
        let name = name.trim().to_ascii_lowercase();
        let is_named = |kind: &&Kind| kind.as_str() == name || group_of(**kind) == name;
        let found: Vec<Kind> = Kind::ALL.iter().filter(is_named).copied().collect();
        if found.is_empty() {
            let all = Kind::ALL.iter().flat_map(|kind| [kind.as_str(), group_of(*kind)]);
            let near = all.min_by_key(|known| strsim::osa_distance(known, &name));
            let near = near.filter(|known| strsim::osa_distance(known, &name) <= 3);
            // `gap` for `capture.gap`.
            let ends = |kind: &&Kind| kind.as_str().split('.').next_back() == Some(&*name);
            let near = Kind::ALL.iter().find(ends).map(|kind| kind.as_str()).or(near);
            return Err(match near {
                Some(known) => format!("no such kind of event; did you mean kind:{known}?"),
                None => "no such kind of event; write kind:message, kind:participant, kind:message.edited or the like"
                    .to_owned(),
            });
        }
        for kind in found {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    Ok(Filter::Kind(kinds))
}

/// `message` of `message.sent`.
pub(super) fn group_of(kind: Kind) -> &'static str {
    kind.as_str().split('.').next().unwrap_or_default()
}

fn one_of(text: &str, field: &str, known: &[(&str, Filter)], all: &str) -> Result<Filter, String> {
    if let Some((_, filter)) = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(filter.clone());
    }
    Err(format!("{field}: takes nothing but what it knows; write {all}"))
}
