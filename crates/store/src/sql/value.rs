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

impl Value {
    /// Appends it so that no doubt is left about what it is and where it ends; nothing for null. The
    /// same for both databases, whose truths differ.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => put_int(i64::from(*value), out),
            Self::Int(value) => put_int(*value, out),
            Self::Text(value) => put_bytes(b't', value.as_bytes(), out),
            Self::Bytes(value) => put_bytes(b'b', value, out),
            // No column holds one, and what cannot be written fails its statement.
            Self::Null | Self::List(_) | Self::Unwritable(_) => {}
        }
    }
}

impl Value {
    /// For people, as part of a key.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.chars().take(64).collect(),
            Self::Bytes(bytes) => name_of(bytes.get(..32).unwrap_or(bytes)),
            Self::Int(number) => number.to_string(),
            Self::Bool(_) | Self::Null | Self::List(_) | Self::Unwritable(_) => "?".into(),
        }
    }
}

fn put_int(value: i64, out: &mut Vec<u8>) {
    put_head(b'i', value.to_be_bytes(), out);
}

fn put_bytes(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    put_head(kind, (value.len() as u64).to_be_bytes(), out);
    out.extend_from_slice(value);
}

/// At once: a row's MAC is over many of them.
fn put_head(kind: u8, number: [u8; 8], out: &mut Vec<u8>) {
    let mut head = [kind; 9];
    let [_, rest @ ..] = &mut head;
    *rest = number;
    out.extend_from_slice(&head);
}

/// What a column of SQLite holds, as [`Value::put`] appends it.
pub(crate) fn put_column(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => {}
        ValueRef::Integer(value) => put_int(value, out),
        ValueRef::Text(value) => put_bytes(b't', value, out),
        ValueRef::Blob(value) => put_bytes(b'b', value, out),
        // No column holds one that we wrote.
        ValueRef::Real(value) => put_bytes(b'r', &value.to_be_bytes(), out),
    }
}

/// What a column of PostgreSQL holds, as [`Value::put`] appends it.
pub(crate) enum Raw<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Raw<'_> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => put_int(*value, out),
            Self::Text(value) => put_bytes(b't', value.as_bytes(), out),
            Self::Bytes(value) => put_bytes(b'b', value, out),
        }
    }
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        Ok(match *kind {
            Type::BOOL => Self::Int(bool::from_sql(kind, raw)?.into()),
            Type::INT4 => Self::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::BYTEA => Self::Bytes(<&[u8]>::from_sql(kind, raw)?),
            _ => Self::Text(<&str>::from_sql(kind, raw)?),
        })
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::BOOL | Type::INT4 | Type::INT8 | Type::BYTEA)
            || <&str as FromSql<'_>>::accepts(kind)
    }
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

    /// What goes wrong with a row that this program did not write.
    fn unreadable(why: &'static str) -> Self::Fault;

    /// Appends what a column holds, as [`Value::put`] does.
    fn put(&self, column: usize, out: &mut Vec<u8>) -> Result<(), Self::Fault>;

    /// A column of a key, for people.
    fn shown(&self, column: usize) -> String {
        let told = self.told(column).unwrap_or_else(|| "?".into());
        told.chars().take(64).collect()
    }

    /// A column, for people. `None`: it is null, or none of ours.
    fn told(&self, column: usize) -> Option<String> {
        if let Ok(text) = self.get::<Option<String>>(column) {
            return text;
        }
        if let Ok(bytes) = self.get::<Option<Vec<u8>>>(column) {
            return bytes.map(|bytes| name_of(&bytes));
        }
        if let Ok(number) = self.get::<Option<i64>>(column) {
            return number.map(|number| number.to_string());
        }
        let flag = self.get::<Option<bool>>(column).ok()?;
        flag.map(|flag| flag.to_string())
    }

    /// Of a row of many: what was read, or nothing where the row cannot be read and is left out.
    fn keep<T>(
        &self,
        left_out: &LeftOut,
        table: &'static str,
        read: Result<T, Self::Fault>,
    ) -> Result<Option<T>, Self::Fault> {
        match read {
            Err(fault) if Self::is_unreadable(&fault) => {
                left_out.note(table, &self.shown(0));
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
