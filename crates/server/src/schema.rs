//! Schemas that no Rust type says by itself. A description that is as strict as the code lets tools
//! find out where the two differ.

use cardveil_core::audit::Topic;
use cardveil_core::card::Field;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A set of a card's fields: at least one, each once.
pub(crate) struct FieldSet;

impl PartialSchema for FieldSet {
    fn schema() -> RefOr<Schema> {
        set_of(&Field::ALL.map(Field::as_str))
    }
}

impl ToSchema for FieldSet {}

/// A set of topics: at least one, each once.
pub(crate) struct TopicSet;

impl PartialSchema for TopicSet {
    fn schema() -> RefOr<Schema> {
        set_of(&Topic::ALL.map(Topic::as_str))
    }
}

impl ToSchema for TopicSet {}

fn set_of(names: &[&'static str]) -> RefOr<Schema> {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names.iter().copied()));
    ArrayBuilder::new()
        .items(name)
        .min_items(Some(1))
        .max_items(Some(names.len()))
        .unique_items(true)
        .into()
}
