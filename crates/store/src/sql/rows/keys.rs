//! Class keys.

use cardveil_core::keys::{self, ClassKey};
use cardveil_core::port::{Class, WrappedKey};

use super::ALL;
use crate::sql::deciding::Unchecked;
use crate::sql::table::{Statement, Table};
use crate::sql::value::{Column, Row};

struct ClassCode(Class);

impl Column for ClassCode {
    type Raw = i64;
    fn from_raw(raw: i64) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let class = Class::from_code(raw.try_into()?).ok_or("a class of no known code")?;
        Ok(Self(class))
    }
}

pub(crate) const CLASS_KEY: Table<ClassKey> = Table {
    name: "wrapped_key",
    deciding: ALL,
    key: 2,
    fixed: 2,
    columns: &[
        ("class", |it| it.key.class.code().into()),
        ("version", |it| it.key.version.into()),
        ("wrapped", |it| (&it.key.wrapped).into()),
        ("created_at", |it| it.created_at.into()),
        ("retiring_at", |it| it.state.dates().0.into()),
        ("retired_at", |it| it.state.dates().1.into()),
        ("complete_at", |it| it.complete_at.into()),
    ],
};

pub(crate) static CLASS_KEYS: Statement = Statement::new(|| CLASS_KEY.all("class, version"));

pub(crate) fn class_key<R: Row>(row: &R) -> Result<Unchecked<ClassKey>, R::Fault> {
    let ClassCode(class) = row.get(0)?;
    Ok(Unchecked::new(ClassKey {
        key: WrappedKey {
            class,
            version: row.get(1)?,
            wrapped: row.get(2)?,
        },
        created_at: row.get(3)?,
        state: keys::State::from_dates(row.get(4)?, row.get(5)?),
        complete_at: row.get(6)?,
    }))
}
