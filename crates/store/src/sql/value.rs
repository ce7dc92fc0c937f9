//! Columns and the domain's types, in both directions and for both adapters.
//!
//! Parameters are owned ([`Value`]), so that a statement can be sent before the one ahead of it was
//! answered.

use std::error::Error as StdError;
use std::str::FromStr;

use bytes::BytesMut;
use cardveil_core::clock::Time;
use rusqlite::types::{FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::left_out::{LeftOut, name_of};
use crate::text;

type Boxed = Box<dyn StdError + Send + Sync>;

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    /// What could not be made into a column's text; the statement fails before it is sent.
    Unwritable(String),
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let unwritable = |why: &str| rusqlite::Error::ToSqlConversionFailure(why.into());
        Ok(match self {
            Self::Null => rusqlite::types::Null.into(),
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Bytes(value) => value.as_slice().into(),
            Self::List(_) => return Err(unwritable("a list is no value of a column")),
            Self::Unwritable(why) => return Err(unwritable(why)),
        })
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bool(value) => value.to_sql_checked(ty, out),
            Self::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql_checked(ty, out),
            Self::Int(value) => value.to_sql_checked(ty, out),
            Self::Text(value) => value.to_sql_checked(ty, out),
            Self::Bytes(value) => value.to_sql_checked(ty, out),
            Self::List(values) => values.to_sql_checked(ty, out),
            Self::Unwritable(why) => Err(why.clone().into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

macro_rules! into_value {
    ($($type:ty => $variant:ident;)+) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

into_value! {
    bool => Bool;
    i64 => Int;
    u32 => Int;
    u16 => Int;
    u8 => Int;
    String => Text;
    &str => Text;
    &String => Text;
    Vec<u8> => Bytes;
    &[u8] => Bytes;
}

impl From<&Vec<u8>> for Value {
    fn from(value: &Vec<u8>) -> Self {
        Self::Bytes(value.clone())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(value.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Time> for Value {
    fn from(value: Time) -> Self {
        Self::Int(value.millis())
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Serialize> From<Name<T>> for Value {
    fn from(Name(value): Name<T>) -> Self {
        text::name(&value).map_or_else(|error| Self::Unwritable(error.to_string()), Self::Text)
    }
}

impl<T: Serialize> From<Json<T>> for Value {
    fn from(Json(value): Json<T>) -> Self {
        let json = serde_json::to_string(&value);
        json.map_or_else(|error| Self::Unwritable(error.to_string()), Self::Text)
    }
}

/// Rows of one width, as one list for each column: what `unnest` takes.
pub(crate) fn columns(rows: Vec<Vec<Value>>) -> Vec<Value> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns = vec![Vec::with_capacity(rows.len()); width];
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns.into_iter().map(Value::List).collect()
}

/// The parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::sql::value::Value::from($value)),*]
    };
}
pub(crate) use values;

/// What a column is read as.
pub(crate) trait Column: Sized {
    /// How it arrives.
    type Raw: for<'a> FromSql<'a> + rusqlite::types::FromSql;
    fn from_raw(raw: Self::Raw) -> Result<Self, Boxed>;
}

macro_rules! as_it_is {
    ($($type:ty),+) => {
        $(impl Column for $type {
            type Raw = Self;
            fn from_raw(raw: Self) -> Result<Self, Boxed> {
                Ok(raw)
            }
        })+
    };
}

as_it_is!(bool, i32, i64, String, Vec<u8>);

macro_rules! narrowed {
    ($($type:ty),+) => {
        $(impl Column for $type {
            type Raw = i64;
            fn from_raw(raw: i64) -> Result<Self, Boxed> {
                Ok(raw.try_into()?)
            }
        })+
    };
}

narrowed!(u8, u16, u32, usize);

impl<const N: usize> Column for [u8; N] {
    type Raw = Vec<u8>;
    fn from_raw(raw: Vec<u8>) -> Result<Self, Boxed> {
        Self::try_from(raw).map_err(|raw| format!("{} bytes and not {N}", raw.len()).into())
    }
}

impl Column for Time {
    type Raw = i64;
    fn from_raw(raw: i64) -> Result<Self, Boxed> {
        Ok(Self::from_millis(raw))
    }
}

impl<T: Column> Column for Option<T> {
    type Raw = Option<T::Raw>;
    fn from_raw(raw: Self::Raw) -> Result<Self, Boxed> {
        raw.map(T::from_raw).transpose()
    }
}

/// A column with the text of an id.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: FromStr<Err: StdError + Send + Sync + 'static>> Column for Text<T> {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Boxed> {
        Ok(Self(raw.parse()?))
    }
}

/// A column with the name of a variant, as serde knows it.
pub(crate) struct Name<T>(pub(crate) T);

impl<T: DeserializeOwned> Column for Name<T> {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Boxed> {
        Ok(Self(text::named(&raw)?))
    }
}

pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> Column for Json<T> {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Boxed> {
        Ok(Self(serde_json::from_str(&raw)?))
    }
}

/// A text as it is stored, even if somebody made it no text.
pub(crate) struct Lossy(pub(crate) String);

impl Column for Lossy {
    type Raw = Self;
    fn from_raw(raw: Self) -> Result<Self, Boxed> {
        Ok(raw)
    }
}

impl rusqlite::types::FromSql for Lossy {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
            }
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {
                Err(FromSqlError::InvalidType)
            }
        }
    }
}

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        String::from_sql(kind, raw).map(Self)
    }

    fn accepts(kind: &Type) -> bool {
        <String as FromSql<'_>>::accepts(kind)
    }
}

/// A row that a query found, of either adapter.
pub(crate) trait Row {
    /// What the adapter calls what goes wrong.
    type Fault;

    fn get<T: Column>(&self, column: usize) -> Result<T, Self::Fault>;

    /// Whether a column holds what this program does not write.
    fn is_unreadable(fault: &Self::Fault) -> bool;

    /// Of a row of many: what was read, or nothing where the row cannot be read and is left out.
    fn keep<T>(
        &self,
        left_out: &LeftOut,
        table: &'static str,
        read: Result<T, Self::Fault>,
    ) -> Result<Option<T>, Self::Fault> {
        match read {
            Err(fault) if Self::is_unreadable(&fault) => {
                let text = || {
                    self.get(0)
                        .ok()
                        .map(|key: String| key.chars().take(64).collect())
                };
                let bytes = || self.get(0).ok().map(|key: Vec<u8>| key);
                let key =
                    text().or_else(|| bytes().map(|key| name_of(key.get(..32).unwrap_or(&key))));
                left_out.note(table, key.as_deref().unwrap_or("?"));
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// A column with the text of an id.
    fn text<T>(&self, column: usize) -> Result<T, Self::Fault>
    where
        T: FromStr<Err: StdError + Send + Sync + 'static>,
    {
        self.get(column).map(|Text(id)| id)
    }

    /// A column with the name of a variant.
    fn name<T: DeserializeOwned>(&self, column: usize) -> Result<T, Self::Fault> {
        self.get(column).map(|Name(variant)| variant)
    }

    fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, Self::Fault> {
        self.get(column).map(|Json(value)| value)
    }
}
