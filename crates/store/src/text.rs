//! The texts of columns that both adapters write alike.

use cardveil_core::card::{Field, Fields};
use serde::Serialize;
use serde::de::value::Error as NameError;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Why a value has no text.
pub(crate) type Unwritable = Box<dyn std::error::Error + Send + Sync>;

/// The name of a variant, as serde knows it.
pub(crate) fn name<T: Serialize>(variant: &T) -> Result<String, Unwritable> {
    let value = serde_json::to_value(variant)?;
    let name = value.as_str().ok_or("a variant with data has no name")?;
    Ok(name.to_owned())
}

/// The variant of a name.
pub(crate) fn named<T: DeserializeOwned>(name: &str) -> Result<T, NameError> {
    T::deserialize(IntoDeserializer::<NameError>::into_deserializer(name))
}

/// A set of fields as `pan,cvv`.
pub(crate) fn field_names(fields: Fields) -> String {
    fields.names().join(",")
}

/// The set of fields of such a text.
pub(crate) fn fields(names: &str) -> Option<Fields> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(Field::parse).collect()
}
