//! Which fields the index has, and how an event becomes a document.
//!
//! One document per event and nothing stored: a document's number tells its seq (see [`super::segments`]). What people say
//! goes into `body`; addresses, subjects and the rest have fields of their own, so that plain words do not meet them.

use std::borrow::Cow;

use serde::Deserialize;
use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf, Value};
use tantivy::schema::{
    Document, FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};

use super::tokenizer;
use crate::archive::reader::IndexRow;
use crate::model::Kind;

/// Number of this set of fields, analysis and meaning of numbers. An index of another number is built anew.
pub(super) const VERSION: u32 = 1;

/// Between address and name in terms of `who`.
pub(super) const NAME: char = '\u{1f}';

/// Value of `has` for a document with a link.
pub(super) const LINK: u64 = 1;

/// Value of `has` for a document with an attachment.
pub(super) const ATTACHMENT: u64 = 2;

/// Stands where no kind is known; below 64, and no number of a kind.
const NO_KIND: u64 = 63;

/// Bits of a message's key.
const KEY_BITS: u32 = 40;

/// The fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Words: message and notice text, attachment names, subjects.
    pub(super) body: Field,
    /// Words of subjects, for `in:`.
    pub(super) subject: Field,
    /// Who said or did it, and whom a `participant.*` event is about: address, [`NAME`], name at that moment.
    pub(super) who: Field,
    /// Id of the conversation.
    pub(super) conversation: Field,
    /// [`kind_number`].
    pub(super) kind: Field,
    /// Kind of the connector.
    pub(super) platform: Field,
    /// Name of the connector.
    pub(super) connector: Field,
    /// [`LINK`], [`ATTACHMENT`].
    pub(super) has: Field,
    seq: Field,
    time: Field,
    number: Field,
    sender: Field,
    message: Field,
}

/// Names of columns, for readers of them.
pub(super) mod column {
    /// Position in the log.
    pub(in crate::index) const SEQ: &str = "seq";
    /// The time that people ask for, µs.
    pub(in crate::index) const TIME: &str = "time";
    /// Row of the conversation in the archive; 0 = none.
    pub(in crate::index) const NUMBER: &str = "number";
    /// Address of who said or did it.
    pub(in crate::index) const SENDER: &str = "sender";
    /// Key of the message that it speaks about.
    pub(in crate::index) const MESSAGE: &str = "message";
    /// Kind of the connector.
    pub(in crate::index) const PLATFORM: &str = "platform";
    /// Number of the kind.
    pub(in crate::index) const KIND: &str = "kind";
}

impl Fields {
    /// The schema and its fields.
    pub(super) fn schema() -> (Schema, Fields) {
        let mut schema = Schema::builder();
        let words = |fieldnorms| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(tokenizer::NAME)
                .set_index_option(IndexRecordOption::WithFreqsAndPositions)
                .set_fieldnorms(fieldnorms);
            TextOptions::default().set_indexing_options(indexing)
        };
        let exact = TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("raw")
                .set_index_option(IndexRecordOption::Basic)
                .set_fieldnorms(false),
        );
        let body = schema.add_text_field("body", words(true));
        let subject = schema.add_text_field("subject", words(false));
        let who = schema.add_text_field("who", exact.clone());
        let conversation = schema.add_text_field("conversation", exact.clone());
        let kind = schema.add_u64_field(column::KIND, NumericOptions::default().set_indexed().set_fast());
        let platform = schema.add_text_field(column::PLATFORM, exact.clone() | FAST);
        let connector = schema.add_text_field("connector", exact);
        let has = schema.add_u64_field("has", INDEXED);
        let seq = schema.add_u64_field(column::SEQ, FAST);
        let time = schema.add_i64_field(column::TIME, FAST);
        let number = schema.add_u64_field(column::NUMBER, FAST);
        let sender = schema.add_text_field(column::SENDER, TextOptions::default() | FAST);
        let message = schema.add_u64_field(column::MESSAGE, FAST);
        let fields = Fields {
            body,
            subject,
            who,
            conversation,
            kind,
            platform,
            connector,
            has,
            seq,
            time,
            number,
            sender,
            message,
        };
        (schema.build(), fields)
    }
}

/// A kind as it is indexed: its place in [`Kind::ALL`].
pub(super) fn kind_number(kind: Kind) -> u64 {
    kind as u64
}

/// Key of a message within its conversation: 40 bits of a hash, so that the index stays small. Two messages of one
/// conversation of a million events share a key with a probability of about a half in a million.
pub(super) fn message_key(message: &str) -> u64 {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(message.as_bytes());
    let bytes: [u8; 8] = std::array::from_fn(|i| hash[i]);
    u64::from_be_bytes(bytes) >> (64 - KEY_BITS)
}

/// What the index wants of an event's content.
#[derive(Debug, Default, Deserialize)]
struct Wanted<'a> {
    #[serde(borrow, default)]
    actor: Option<Who<'a>>,
    #[serde(borrow, default)]
    participant: Option<Who<'a>>,
    #[serde(borrow, default)]
    message: Option<Said<'a>>,
    #[serde(default)]
    subject: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Who<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(default)]
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<Attached>,
}

#[derive(Debug, Deserialize)]
struct Attached {
    #[serde(default)]
    name: Option<String>,
}

/// One event on its way into the index.
#[derive(Debug)]
pub(super) struct EventDocument {
    values: Vec<(Field, Owned)>,
}

#[derive(Debug)]
enum Owned {
    Text(String),
    U64(u64),
    I64(i64),
}

/// A value of an [`EventDocument`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Borrowed<'a> {
    Text(&'a str),
    U64(u64),
    I64(i64),
}

impl EventDocument {
    /// Stands for an event that cannot be read.
    pub(super) fn missing(fields: &Fields, seq: u64) -> EventDocument {
        let values = vec![
            (fields.seq, Owned::U64(seq)),
            (fields.time, Owned::I64(0)),
            (fields.number, Owned::U64(0)),
            (fields.kind, Owned::U64(NO_KIND)),
        ];
        EventDocument { values }
    }

    /// The document of an event.
    ///
    /// # Errors
    /// Its content is not the JSON of an event's content.
    pub(super) fn of(fields: &Fields, row: &IndexRow<'_>) -> Result<EventDocument, serde_json::Error> {
        let wanted: Wanted<'_> = match row.canonical {
            Some(canonical) => serde_json::from_slice(canonical)?,
            None => Wanted::default(),
        };
        let mut values = Vec::with_capacity(16);
        let text = |text: &str| Owned::Text(text.to_owned());
        values.push((fields.seq, Owned::U64(row.seq)));
        values.push((fields.time, Owned::I64(row.at)));
        values.push((fields.number, Owned::U64(row.number)));
        values.push((fields.kind, Owned::U64(kind_number(row.kind))));
        values.push((fields.platform, text(&row.platform)));
        values.push((fields.connector, text(&row.connector)));
        if let Some(id) = &row.conversation {
            values.push((fields.conversation, text(id)));
        }
        if let Some(subject) = wanted.subject.filter(|subject| !subject.is_empty()) {
            values.push((fields.body, Owned::Text(subject.clone())));
            values.push((fields.subject, Owned::Text(subject)));
        }
        let actor = wanted.actor.filter(|who| !who.id.is_empty());
        let participant = wanted.participant.filter(|who| !who.id.is_empty());
        if let Some(sender) = actor.as_ref().or(participant.as_ref()) {
            values.push((fields.sender, text(&sender.id)));
        }
        for who in actor.into_iter().chain(participant) {
            values.push((fields.who, Owned::Text(format!("{}{NAME}{}", who.id, who.name.unwrap_or_default()))));
        }
        if let Some(said) = wanted.message {
            if !said.id.is_empty() {
                values.push((fields.message, Owned::U64(message_key(&said.id))));
            }
            if has_link(&said.text) || said.html.as_deref().is_some_and(|html| html.contains("href=")) {
                values.push((fields.has, Owned::U64(LINK)));
            }
            if !said.attachments.is_empty() {
                values.push((fields.has, Owned::U64(ATTACHMENT)));
            }
            if !said.text.is_empty() {
                values.push((fields.body, Owned::Text(said.text.into_owned())));
            }
            let names = said.attachments.into_iter().filter_map(|attached| attached.name);
            values.extend(names.map(|name| (fields.body, Owned::Text(name))));
        }
        Ok(EventDocument { values })
    }
}

/// Whether a text shows a web address.
fn has_link(text: &str) -> bool {
    let bytes = text.as_bytes();
    let scheme = |at: usize| {
        bytes[at..].starts_with(b"://") && at > 1 && bytes[at - 1].is_ascii_alphabetic() && at + 3 < bytes.len()
    };
    bytes.iter().enumerate().any(|(at, byte)| match byte {
        b':' => scheme(at),
        b'w' | b'W' => {
            bytes.get(at..at + 4).is_some_and(|head| head.eq_ignore_ascii_case(b"www."))
                && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric())
        }
        _ => false,
    })
}

impl Document for EventDocument {
    type Value<'a> = Borrowed<'a>;
    type FieldsValuesIter<'a> = Values<'a>;

    fn iter_fields_and_values(&self) -> Values<'_> {
        Values(self.values.iter())
    }
}

/// Walks the values of an [`EventDocument`].
pub(super) struct Values<'a>(std::slice::Iter<'a, (Field, Owned)>);

impl<'a> Iterator for Values<'a> {
    type Item = (Field, Borrowed<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(field, value)| {
            let value = match value {
                Owned::Text(text) => Borrowed::Text(text),
                Owned::U64(number) => Borrowed::U64(*number),
                Owned::I64(number) => Borrowed::I64(*number),
            };
            (*field, value)
        })
    }
}

impl<'a> Value<'a> for Borrowed<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match self {
            Borrowed::Text(text) => ReferenceValueLeaf::Str(text),
            Borrowed::U64(number) => ReferenceValueLeaf::U64(*number),
            Borrowed::I64(number) => ReferenceValueLeaf::I64(*number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_seen_and_nothing_else_is_taken_for_one() {
        for text in ["see https://a.example/x", "www.example.org", "(www.example.org)", "sip+x://host"] {
            assert!(has_link(text), "{text}");
        }
        for text in ["", ":", "a:b", "://", "wwwx", "awww.nice", "12:30", "//host", "x ://y"] {
            assert!(!has_link(text), "{text}");
        }
    }

    #[test]
    fn keys_of_messages_keep_forty_bits() {
        assert!(message_key("a") < 1 << KEY_BITS);
        assert_ne!(message_key("a"), message_key("b"));
    }
}
