//! Schemas that no Rust type says by itself. A description that is as strict as the code lets tools
//! find out where the two differ.

use cardveil_core::card::Field;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A set of a card's fields: at least one, each once.
pub(crate) struct FieldSet;

impl PartialSchema for FieldSet {
    fn schema() -> RefOr<Schema> {
        let field = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Field::ALL.map(Field::as_str)));
        ArrayBuilder::new()
            .items(field)
            .min_items(Some(1))
            .max_items(Some(Field::ALL.len()))
            .unique_items(true)
            .into()
    }
}

impl ToSchema for FieldSet {}
