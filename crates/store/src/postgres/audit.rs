//! The audit log: the one function that writes entries, and its chain.
//!
//! **Invariant:** entries are written by [`append`] alone, under the head (the row of `meta`, which
//! knows where the chain ends), so the chain is one over all nodes and its places have no gap.

use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::audit::Event;
use cardveil_core::audit::chain::{Hash, Link as Chain};
use cardveil_core::audit::personal::{Form, Salts, Written};
use cardveil_core::id::ChainId;
use cardveil_core::port::Error;
use cardveil_core::token::Epoch;

use super::fault::Fault;
use super::link::Link;
use super::row::Row;
use super::schema::{self, not_there};
use crate::sql::rows::{link, seq};
use crate::sql::value::{Row as _, Value, columns, values};

/// Holds the head until the commit. Whoever migrates holds it too, so that no program writes to a
/// schema that it must not serve on, on connections that it has had for long.
pub(super) const HOLD: &str =
    "SELECT epoch, database_id, audit_seq, audit_hash, version, works_with,
         written_by::xid IS NOT DISTINCT FROM xmin, lives
     FROM meta FOR UPDATE";
pub(super) const ADVANCE: &str = "UPDATE meta SET audit_seq = $1, audit_hash = $2";
pub(super) const APPEND: &str = "INSERT INTO audit (seq, event, hash, personal)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[])";

/// The head of the log, while it is held.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Where the chain ends.
    pub(super) end: Chain,
    /// How entries are to be written.
    pub(super) form: Form,
}

/// The epoch and the head, from the columns of [`HOLD`].
pub(super) fn head(row: &Row) -> Result<(Epoch, Head), Fault> {
    let works_with = row.get(5)?;
    schema::check(row.get(4)?, works_with)?;
    if !row.get(6)? {
        // On a connection that was there before: the next one raises the epoch (`home`).
        let restored = "what the database says of itself was put back from a dump";
        return Err(Fault::Connection(restored.into()));
    }
    let chain = ChainId::from_bytes(row.get(1)?);
    let end = match row.get(2)? {
        0 => Chain::start(chain),
        seq => link(chain, seq, Hash(row.get(3)?)),
    };
    let form = schema::form(works_with);
    Ok((Epoch(row.get(0)?), Head { end, form }))
}

/// An event as it is to be stored.
pub(super) fn write(
    event: &Event,
    version: Option<u64>,
    form: Form,
    salts: &mut Salts,
) -> Result<Written, Fault> {
    event
        .write_at(version, form, salts)
        .map_err(|error| Fault::Own(Error::Unavailable(error.to_string())))
}

/// Entries behind `end`: the parameters of [`APPEND`], those of [`ADVANCE`], and where the chain
/// ends.
pub(super) fn append(end: Chain, written: Vec<Written>) -> (Vec<Value>, [Value; 2], Chain) {
    let mut last = end;
    let entry = |Written { stored, personal }| {
        last = last.next(String::as_bytes(&stored));
        values![seq(&last), stored, last.hash.0, personal].into()
    };
    let entries = columns(written.into_iter().map(entry).collect());
    (entries, values![seq(&last), last.hash.0], last)
}

/// Writes an entry outside a batch, in the transaction that holds the head; tells its place.
pub(super) async fn append_one(
    to: &Link,
    event: &Event,
    entropy: &Arc<dyn Entropy>,
) -> Result<i64, Fault> {
    let held = to.query(HOLD, &values![]).await?;
    let (_, Head { end, form }) = head(held.first().ok_or_else(not_there)?)?;
    let written = write(event, None, form, &mut Salts::new(Arc::clone(entropy)))?;
    let (entries, place, last) = append(end, vec![written]);
    to.execute(ADVANCE, &place).await?;
    to.execute(APPEND, &entries).await?;
    Ok(seq(&last))
}
