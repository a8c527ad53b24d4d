//! How the model's scalars look in an OpenAPI document; structs derive theirs.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{ConversationId, Kind, Seq, Timestamp};

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let at = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC, with milliseconds."))
            .examples(["2026-11-21T09:30:00.123Z"]);
        at.into()
    }
}

impl ToSchema for Timestamp {}

impl PartialSchema for Seq {
    fn schema() -> RefOr<Schema> {
        let seq = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1))
            .description(Some("Position in the log: 1, 2, 3 … without holes, in order of capture."));
        seq.into()
    }
}

impl ToSchema for Seq {}

impl PartialSchema for ConversationId {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^c_[0-9A-HJKMNP-TV-Z]{26}$"))
            .description(Some("Our identifier of a conversation."));
        id.into()
    }
}

impl ToSchema for ConversationId {}

impl PartialSchema for Kind {
    fn schema() -> RefOr<Schema> {
        let kinds = Kind::ALL.iter().map(|kind| kind.as_str());
        let kind = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(kinds))
            .description(Some("What happened. Further kinds may be added."));
        kind.into()
    }
}

impl ToSchema for Kind {}
