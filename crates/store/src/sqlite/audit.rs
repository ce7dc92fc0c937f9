//! The audit log: the one statement that writes an entry, and its chain.
//!
//! **Invariant:** an entry is written by [`append`] alone, which links it to the one before in the
//! same transaction. The place in the chain is the place in the log, which has no gap: `seq` counts
//! up from 1 and nothing is ever deleted.

use cardveil_core::audit::Event;
use cardveil_core::audit::chain::{Chained, Hash, Link};
use cardveil_core::audit::personal::{Form, Salts};
use cardveil_core::id::ChainId;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row, params};

/// After a place, up to so many.
pub(super) const AFTER: &str =
    "SELECT audit.seq, audit.event, audit.link_hash, meta.database_id, audit.personal
     FROM audit, meta WHERE audit.seq > ?1 ORDER BY audit.seq LIMIT ?2";
/// The same of a copy from before entries had personal values beside them.
pub(super) const AFTER_OF_FORM_ONE: &str = "SELECT audit.seq, audit.event, audit.hash,
         meta.database_id, NULL
     FROM audit, meta WHERE audit.seq > ?1 ORDER BY audit.seq LIMIT ?2";
pub(super) const LAST: &str = "SELECT audit.seq, audit.event, audit.link_hash, meta.database_id,
         audit.personal
     FROM audit, meta ORDER BY audit.seq DESC LIMIT 1";

/// Where the chain of this database ends.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<Link> {
    const SQL: &str = "SELECT database_id, audit.seq, audit.link_hash FROM meta
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
    event: &Event,
    salts: &mut Salts,
) -> rusqlite::Result<Link> {
    const SQL: &str = "INSERT INTO audit (seq, event, link_hash, personal) VALUES (?1, ?2, ?3, ?4)";
    let written = event
        .write(Form::Two, salts)
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

/// The place in the log that a link is at.
pub(super) fn seq(link: &Link) -> i64 {
    i64::try_from(link.place).unwrap_or(i64::MAX)
}

/// An entry with its link, from the columns of [`AFTER`].
pub(super) fn chained(row: &Row<'_>) -> rusqlite::Result<Chained> {
    let seq = row.get(0)?;
    let Bytes(stored) = row.get(1)?;
    let hash: Vec<u8> = row.get(2)?;
    // A hash that somebody cut is no hash; the verifier says so.
    let hash = Hash(hash.try_into().unwrap_or_default());
    Ok(Chained {
        seq,
        link: link(ChainId::from_bytes(row.get(3)?), seq, hash),
        stored,
        personal: row
            .get::<_, Option<Bytes>>(4)?
            .map(|Bytes(personal)| personal),
    })
}

/// Chains the entries that were written before there was a chain, in their order.
pub(super) fn chain_what_is_there(connection: &Connection) -> rusqlite::Result<()> {
    let id = connection.query_row("SELECT database_id FROM meta", [], |row| row.get(0))?;
    let mut last = Link::start(ChainId::from_bytes(id));
    let mut rows = connection.prepare("SELECT seq, event FROM audit_before ORDER BY seq")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let Bytes(stored) = row.get(1)?;
        // Nothing was ever deleted, so this is the place before; else the gap stays to be seen.
        last.place = row.get::<_, i64>(0)?.try_into().unwrap_or(1) - 1;
        last = last.next(stored.as_bytes());
        connection
            .prepare_cached("INSERT INTO audit (seq, event, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![seq(&last), stored, last.hash.0])?;
    }
    Ok(())
}

fn link(chain: ChainId, seq: i64, hash: Hash) -> Link {
    Link {
        chain,
        place: u64::try_from(seq).unwrap_or(0),
        hash,
    }
}

/// A text as it is stored, even if somebody made it no text: then it is not what was hashed either.
struct Bytes(String);

impl FromSql for Bytes {
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
