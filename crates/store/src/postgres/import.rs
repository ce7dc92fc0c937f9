//! A whole deployment out of an SQLite file into an empty database, in one transaction.
//!
//! **Invariant:** all rows are there and counted, or none is; and the epoch was raised, so what the
//! file goes on to redeem, should anybody still serve from it, is good in one of the two places
//! alone.

use std::path::Path;
use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::audit::{Kind, Source, Target};
use cardveil_core::clock::Time;
use cardveil_core::mfa::Totp;
use cardveil_core::port::Error;
use cardveil_core::token::Epoch;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::audit;
use super::fault::Fault;
use super::keys;
use super::link::Link;
use super::options::Options;
use super::schema::{self, not_there};
use crate::sql::value::{Json, Row as _, Value, values};
use crate::sqlite;

const COUNTED: [&str; 3] = ["card", "subscription", "wallet_token"];

/// Copies the file's rows as the schema's owner. `progress` is told of each table and how many of
/// its rows are there. Nobody may serve from the file meanwhile or afterwards; nor after
/// [`Error::Unknown`], when all is there or nothing: the next call is refused if it is.
pub async fn from_sqlite(
    options: &Options,
    file: &Path,
    (now, entropy): (Time, &Arc<dyn Entropy>),
    mut progress: impl FnMut(&str, usize),
) -> Result<Epoch, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(file, flags);
    let source = opened.map_err(|error| unreadable(&error).nothing_written())?;
    let copied = async {
        check(&source)?;
        let link = Link::patient(options).await?;
        link.run("BEGIN").await?;
        let tables = tables().map_err(|error| unreadable(&error))?;
        refuse_full(&link, &tables).await?;
        for table in &tables {
            let count = copy(&source, &link, table).await?;
            progress(table, count);
        }
        let epoch = finish(&source, &link, now, entropy).await?;
        Ok((link, epoch))
    };
    let (link, epoch) = copied.await.map_err(Fault::nothing_written)?;
    link.commit().await?;
    Ok(epoch)
}

fn unreadable(error: &rusqlite::Error) -> Fault {
    Fault::Own(Error::Unavailable(format!("the SQLite file: {error}")))
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::Own(Error::Unavailable(why.into()))
}

/// From here on everything that is read is of one moment.
fn check(source: &Connection) -> Result<(), Fault> {
    let read = |sql: &str| source.query_row(sql, [], |row| row.get::<_, i64>(0));
    source
        .execute_batch("BEGIN")
        .map_err(|error| unreadable(&error))?;
    let version = read("SELECT user_version FROM pragma_user_version");
    let version = version.map_err(|error| unreadable(&error))?;
    if usize::try_from(version) == Ok(sqlite::VERSION) {
        Ok(())
    } else {
        Err(refused(format!(
            "the SQLite file is of version {version} and not {}: open it once with this program",
            sqlite::VERSION
        )))
    }
}

/// The tables that a file has, in the order in which migrations make them, so that nothing names
/// what is not there yet. [`finish`] sets `meta`, and a file that was opened has no `audit_before`.
fn tables() -> rusqlite::Result<Vec<String>> {
    const SQL: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'
         AND name NOT LIKE 'sqlite_%' AND name NOT IN ('meta', 'audit_before') ORDER BY rowid";
    let fresh = Connection::open_in_memory()?;
    for migration in sqlite::MIGRATIONS {
        fresh.execute_batch(migration)?;
    }
    let mut found = fresh.prepare(SQL)?;
    let names = found.query_map([], |row| row.get(0))?;
    names.collect()
}

async fn refuse_full(link: &Link, tables: &[String]) -> Result<(), Fault> {
    link.query(audit::HOLD, &values![]).await?;
    for table in tables {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        let rows = link.query(&sql, &values![]).await?;
        if rows.first().ok_or_else(not_there)?.get(0)? {
            return Err(refused(format!("the database is not empty: see {table}")));
        }
    }
    Ok(())
}

async fn copy(source: &Connection, link: &Link, table: &str) -> Result<usize, Fault> {
    let columns = columns(source, link, table).await?;
    let quoted = |name: &str| format!("\"{name}\"");
    let names: Vec<_> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let names = names.join(", ");
    let here: Vec<_> = columns
        .iter()
        .map(|(name, _)| quoted(name_here(table, name)))
        .collect();
    let here = here.join(", ");
    let places: Vec<_> = (1..=columns.len()).map(|n| format!("${n}")).collect();
    let insert = format!(
        "INSERT INTO {table} ({here}) VALUES ({})",
        places.join(", ")
    );
    let broken = |error: rusqlite::Error| unreadable(&error);
    let mut select = source
        .prepare(&format!("SELECT {names} FROM {table}"))
        .map_err(broken)?;
    let mut rows = select.query([]).map_err(broken)?;
    let mut copied = 0;
    while let Some(row) = rows.next().map_err(broken)? {
        let values: Result<Vec<_>, Fault> = columns
            .iter()
            .enumerate()
            .map(|(at, (_, kind))| value(row.get_ref(at).map_err(broken)?, kind))
            .collect();
        link.execute(&insert, &values?).await?;
        copied += 1;
    }
    let sql = format!("SELECT count(*) FROM {table}");
    let there = link.query(&sql, &values![]).await?;
    let there: i64 = there.first().ok_or_else(not_there)?.get(0)?;
    if usize::try_from(there) == Ok(copied) {
        Ok(copied)
    } else {
        Err(refused(format!("{there} of {copied} rows of {table} came")))
    }
}

/// What a column of SQLite is called in PostgreSQL.
fn name_here<'a>(table: &str, name: &'a str) -> &'a str {
    match (table, name) {
        ("audit", "chain_hash") => "hash",
        _ => name,
    }
}

/// The columns that both have. What SQLite has alone would be lost, and is refused.
async fn columns(
    source: &Connection,
    link: &Link,
    table: &str,
) -> Result<Vec<(String, String)>, Fault> {
    let broken = |error: rusqlite::Error| unreadable(&error);
    let mut names = source
        .prepare("SELECT name FROM pragma_table_info(?1)")
        .map_err(broken)?;
    let names = names
        .query_map([table], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(broken)?;
    let mut columns = Vec::new();
    for name in names {
        let kind = link
            .query(
                "SELECT data_type::text FROM information_schema.columns
                 WHERE table_schema = 'cardveil' AND table_name = $1 AND column_name = $2",
                &values![table, name_here(table, &name)],
            )
            .await?;
        let kind = kind
            .first()
            .ok_or_else(|| refused(format!("there is no place for {table}.{name}")))?;
        columns.push((name, kind.get(0)?));
    }
    Ok(columns)
}

fn value(value: ValueRef<'_>, kind: &str) -> Result<Value, Fault> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (value, kind) {
        (ValueRef::Null, _) => Ok(Value::Null),
        (ValueRef::Integer(number), "boolean") => Ok(Value::Bool(number != 0)),
        (ValueRef::Integer(number), "bigint") => Ok(Value::Int(number)),
        (ValueRef::Text(bytes), "text") => Ok(Value::Text(text(bytes))),
        (ValueRef::Blob(bytes), "bytea") => Ok(Value::Bytes(bytes.to_vec())),
        (
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_),
            kind,
        ) => Err(refused(format!("a value of another type than {kind}"))),
    }
}

/// What no row says: places that count on, the chain's name, end and form, and the epoch.
async fn finish(
    source: &Connection,
    link: &Link,
    now: Time,
    entropy: &Arc<dyn Entropy>,
) -> Result<Epoch, Fault> {
    for table in COUNTED {
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'seq'), coalesce(max(seq), 1),
                 max(seq) IS NOT NULL) FROM {table}"
        );
        link.query(&sql, &values![]).await?;
    }
    let people = "SELECT merchant, person, totp FROM mfa_person WHERE totp IS NOT NULL";
    for person in link.query(people, &values![]).await? {
        let Json(totp): Json<Totp> = person.get(2)?;
        let (merchant, id): (String, Vec<u8>) = (person.get(0)?, person.get(1)?);
        link.execute(
            "UPDATE mfa_person SET totp_key = $3 WHERE merchant = $1 AND person = $2",
            &values![merchant, id, keys::key_column(Some(&totp))],
        )
        .await?;
    }
    let (id, before): ([u8; 16], u32) = source
        .query_row("SELECT database_id, epoch FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(|error| unreadable(&error))?;
    let raised = Epoch(before)
        .next(now)
        .ok_or_else(|| refused("the epoch is at its end"))?;
    link.execute(
        "UPDATE meta SET database_id = $1, epoch = $2,
             audit_seq = coalesce((SELECT max(seq) FROM audit), 0),
             audit_hash = (SELECT hash FROM audit ORDER BY seq DESC LIMIT 1),
             works_with = greatest(works_with, $3)",
        &values![id, raised.0, i64::from(schema::known())],
    )
    .await?;
    let target = Target {
        resource: Some("epoch".into()),
        ..Target::default()
    };
    let mut event = Source::server().event(now, Kind::EpochRaised, None, target);
    event.detail.note = Some(format!("raised to {}: moved out of SQLite", raised.0).into());
    audit::append_one(link, &event, entropy).await?;
    Ok(raised)
}
