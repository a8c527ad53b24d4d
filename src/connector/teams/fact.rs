//! What machines and readers say happened, before it is known in which conversation and from which envelope.

use serde_json::{Map, Value};

use crate::capture::{Captured, DedupeKey, Origin};
use crate::model::{Content, ConversationId, Kind, Timestamp};

/// One fact of a call or chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// What happened.
    pub kind: Kind,
    /// The platform's clock; absent where the platform tells none (call notifications carry no time).
    pub source_time: Option<Timestamp>,
    /// Identity of the fact, made of what the platform says; one field set off by `|` is a time in milliseconds where
    /// there is one.
    pub dedupe: String,
    /// The hashed part.
    pub content: Content,
}

impl Fact {
    /// A fact without content and without a time of the platform.
    pub fn new(kind: Kind, dedupe: impl Into<String>) -> Fact {
        Fact { kind, source_time: None, dedupe: dedupe.into(), content: Content::default() }
    }

    /// What the recorder itself did or found, for which the contract has no kind: `words`, one fragment without content, and
    /// members of `detail` beside it.
    pub fn of_recorder(words: impl Into<String>, dedupe: impl Into<String>, mut detail: Map<String, Value>) -> Fact {
        let mut fact = Fact::new(Kind::PlatformEvent, dedupe);
        detail.insert("recorder".to_owned(), words.into().into());
        fact.content.detail = Some(Value::Object(detail));
        fact
    }

    /// As the archive takes it.
    pub fn captured(self, origin: Origin, conversation: Option<ConversationId>) -> Captured {
        Captured {
            origin,
            conversation,
            kind: self.kind,
            source_time: self.source_time,
            dedupe: DedupeKey(self.dedupe),
            content: self.content,
        }
    }
}
