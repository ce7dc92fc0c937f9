//! The audit log: the one statement that writes an entry, and its chain.
//!
//! **Invariant:** an entry is written by [`append`] alone, which links it to the one before in the
//! same transaction. The place in the chain is the place in the log, which has no gap: `seq` counts
//! up from 1 and nothing is ever deleted.

use cardveil_core::audit::Event;
use cardveil_core::audit::chain::{Hash, Link};
use cardveil_core::audit::personal::{Form, Salts};
use cardveil_core::id::ChainId;
use rusqlite::{Connection, params};

use crate::sql::rows::{link, seq};
use crate::sql::value::{Lossy, Row};

/// [`ENTRIES_AFTER`] of a copy from before entries had personal values beside them.
pub(super) const AFTER_OF_FORM_ONE: &str = "SELECT audit.seq, audit.event, audit.hash,
         meta.database_id, NULL
     FROM audit, meta WHERE audit.seq > ?1 ORDER BY audit.seq LIMIT ?2";

/// Where the chain of this database ends.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<Link> {
    const SQL: &str = "SELECT database_id, audit.seq, audit.chain_hash FROM meta
         LEFT JOIN audit ON audit.seq = (SELECT max(seq) FROM audit)";
    connection.prepare_cached(SQL)?.query_row([], |row| {
        let chain = ChainId::from_bytes(row.get(0)?);
        Ok(match row.get::<_, Option<i64>>(1)? {
            None => Link::start(chain),
            Some(seq) => link(chain, seq, Hash(row.get(2)?)),
        })
    })
}

/// Writes an entry behind `end`; tells where the chain ends then.
pub(super) fn append(
    connection: &Connection,
    end: &Link,
    (event, version): (&Event, Option<u64>),
    salts: &mut Salts,
) -> rusqlite::Result<Link> {
    const SQL: &str =
        "INSERT INTO audit (seq, event, chain_hash, personal) VALUES (?1, ?2, ?3, ?4)";
    let written = event
        .write_at(version, Form::Two, salts)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let next = end.next(written.stored.as_bytes());
    connection.prepare_cached(SQL)?.execute(params![
        seq(&next),
        written.stored,
        next.hash.0,
        written.personal
    ])?;
    Ok(next)
}

/// Chains the entries that were written before there was a chain, in their order.
pub(super) fn chain_what_is_there(connection: &Connection) -> rusqlite::Result<()> {
    let id = connection.query_row("SELECT database_id FROM meta", [], |row| row.get(0))?;
    let mut last = Link::start(ChainId::from_bytes(id));
    let mut rows = connection.prepare("SELECT seq, event FROM audit_before ORDER BY seq")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let Lossy(stored) = Row::get(row, 1)?;
        // Nothing was ever deleted, so this is the place before; else the gap stays to be seen.
        last.place = row.get::<_, i64>(0)?.try_into().unwrap_or(1) - 1;
        last = last.next(stored.as_bytes());
        connection
            .prepare_cached("INSERT INTO audit (seq, event, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![seq(&last), stored, last.hash.0])?;
    }
    Ok(())
}
