//! Schemas that no Rust type says by itself. A description that is as strict as the code lets tools
//! find out where the two differ.

use cardveil_core::audit::Topic;
use cardveil_core::card::Field;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A set of a card's fields: at least one, each once.
pub(crate) struct FieldSet;

impl PartialSchema for FieldSet {
    fn schema() -> RefOr<Schema> {
        set_of("CardField", Field::ALL.len())
    }
}

impl ToSchema for FieldSet {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let names = Field::ALL.map(Field::as_str);
        schemas.push(("CardField".into(), one_of(&names, "A field of a card.")));
    }
}

/// A set of topics: at least one, each once.
pub(crate) struct TopicSet;

impl PartialSchema for TopicSet {
    fn schema() -> RefOr<Schema> {
        set_of("EventTopic", Topic::ALL.len())
    }
}

impl ToSchema for TopicSet {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let names = Topic::ALL.map(Topic::as_str);
        let what = "What a webhook tells of.";
        schemas.push(("EventTopic".into(), one_of(&names, what)));
    }
}

/// The names have a schema of their own: Java's generator makes what does not compile of those that
/// a list names in its own place.
fn set_of(names: &str, most: usize) -> RefOr<Schema> {
    ArrayBuilder::new()
        .items(Ref::from_schema_name(names))
        .min_items(Some(1))
        .max_items(Some(most))
        .unique_items(true)
        .into()
}

fn one_of(names: &[&'static str], what: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(what))
        .enum_values(Some(names.iter().copied()))
        .into()
}
