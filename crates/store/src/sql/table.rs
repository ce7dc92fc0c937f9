//! The columns of a stored kind, each once: what is written to them is beside their names, and all
//! statements about them are made of that.

use std::sync::LazyLock;

use super::deciding::Deciding;
use super::value::Value;

/// A kind, its table, and its columns with what is written to each.
pub(crate) struct Table<T: 'static> {
    pub(crate) name: &'static str,
    /// How rows that decide are guarded. Behind their columns they have two more, [`VERSION`] and
    /// [`MAC`].
    pub(crate) deciding: Option<Deciding>,
    /// How many of the columns, from the first on, are its key.
    pub(crate) key: usize,
    /// How many of the columns, from the first on, are as the row was added: the key, and what no
    /// save changes.
    pub(crate) fixed: usize,
    pub(crate) columns: &'static [Column<T>],
}

/// How often a row has been changed, counted from 1.
const VERSION: &str = "row_version";
/// The MAC over what a row says, where it stands and its version.
const MAC: &str = "mac";

/// A column's name, and what is written to it.
type Column<T> = (&'static str, fn(&T) -> Value);

/// A statement that is made once.
pub(crate) type Statement = LazyLock<String>;

impl<T> Table<T> {
    /// What a row holds, in the order of the columns.
    pub(crate) fn values(&self, row: &T) -> Vec<Value> {
        self.columns.iter().map(|(_, value)| value(row)).collect()
    }

    /// Of all values what [`save`](Self::save) takes: the key, and what may have changed.
    pub(crate) fn changes(&self, mut values: Vec<Value>) -> Vec<Value> {
        values.drain(self.key..self.fixed);
        values
    }

    /// How many columns a row has, as it is read.
    pub(crate) const fn width(&self) -> usize {
        match self.deciding {
            Some(_) => self.columns.len() + 2,
            None => self.columns.len(),
        }
    }

    /// Adds a row, where no unique column is in use.
    pub(crate) fn add(&self) -> String {
        self.insert_with(&[])
    }

    /// The same with further columns, which SQL gives their values.
    pub(crate) fn insert_with(&self, further: &[(&'static str, &str)]) -> String {
        let names = self.names().chain(further.iter().map(|(name, _)| *name));
        let names = names.collect::<Vec<_>>().join(", ");
        let places = (1..=self.width()).map(|place| format!("${place}"));
        let places = places.chain(further.iter().map(|(_, sql)| (*sql).to_owned()));
        let places = places.collect::<Vec<_>>().join(", ");
        let table = self.name;
        format!("INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING")
    }

    /// Adds many rows, given as [`columns`](super::value::columns) of these types of PostgreSQL.
    pub(crate) fn add_many(&self, types: &[&str]) -> String {
        let names = self.names().collect::<Vec<_>>().join(", ");
        let lists = (1..)
            .zip(types)
            .map(|(place, of)| format!("${place}::{of}[]"));
        let lists = lists.collect::<Vec<_>>().join(", ");
        format!(
            "INSERT INTO {} ({names}) SELECT * FROM unnest({lists})",
            self.name
        )
    }

    /// A row's next form, where there is the row.
    pub(crate) fn save(&self) -> String {
        let set = (self.key + 1..).zip(self.names().skip(self.fixed));
        let set = set.map(|(place, name)| format!("{name} = ${place}"));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("UPDATE {} SET {set} WHERE {}", self.name, self.by_key())
    }

    /// Deletes the row with a key.
    pub(crate) fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.name, self.by_key())
    }

    /// A row's next form, or a new row.
    pub(crate) fn put(&self) -> String {
        let key = self.names().take(self.key).collect::<Vec<_>>().join(", ");
        let set = self.names().skip(self.fixed);
        let set = set.map(|name| format!("{name} = excluded.{name}"));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("{} ON CONFLICT ({key}) DO UPDATE SET {set}", self.insert())
    }

    /// The columns of the row with a key.
    pub(crate) fn find(&self) -> String {
        let names = self.select();
        format!("SELECT {names} FROM {} WHERE {}", self.name, self.by_key())
    }

    /// The columns of all rows, in an order.
    pub(crate) fn all(&self, order: &str) -> String {
        let (names, table) = (self.select(), self.name);
        format!("SELECT {names} FROM {table} ORDER BY {order}")
    }

    /// The names of the columns, each with its table.
    pub(crate) fn select(&self) -> String {
        let names = self.names().map(|name| format!("{}.{name}", self.name));
        names.collect::<Vec<_>>().join(", ")
    }

    fn insert(&self) -> String {
        let names = self.names().collect::<Vec<_>>().join(", ");
        let places = (1..=self.width()).map(|place| format!("${place}"));
        let places = places.collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} ({names}) VALUES ({places})", self.name)
    }

    fn by_key(&self) -> String {
        let parts = (1..).zip(self.names()).take(self.key);
        let parts = parts.map(|(place, name)| format!("{name} = ${place}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let guards = self.deciding.iter().flat_map(|_| [VERSION, MAC]);
        self.columns.iter().map(|(name, _)| *name).chain(guards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_makes_all_statements_of_its_columns() {
        let table: Table<(i64, i64)> = Table {
            name: "pair",
            deciding: None,
            key: 1,
            fixed: 2,
            columns: &[
                ("id", |row| row.0.into()),
                ("made", |row| row.0.into()),
                ("at", |row| row.1.into()),
            ],
        };
        assert_eq!(table.values(&(1, 2)), [1, 1, 2].map(Value::Int));
        assert_eq!(table.changes(table.values(&(1, 2))), [1, 2].map(Value::Int));
        let inserted = "INSERT INTO pair (id, made, at)";
        assert_eq!(
            table.add(),
            format!("{inserted} VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        );
        assert_eq!(
            table.add_many(&["bigint", "text", "bytea"]),
            format!("{inserted} SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])")
        );
        assert_eq!(table.save(), "UPDATE pair SET at = $2 WHERE id = $1");
        assert_eq!(table.delete(), "DELETE FROM pair WHERE id = $1");
        assert_eq!(
            table.put(),
            format!(
                "{inserted} VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
            )
        );
        assert_eq!(
            table.find(),
            "SELECT pair.id, pair.made, pair.at FROM pair WHERE id = $1"
        );
    }
}
