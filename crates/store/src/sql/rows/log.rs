//! The audit log and its sinks.

use cardveil_core::audit::chain::{Chained, Hash, Link};
use cardveil_core::audit::sink::{History, Holder, Lease, Progress};
use cardveil_core::clock::Time;
use cardveil_core::id::ChainId;

use crate::sql::table::Table;
use crate::sql::value::{Lossy, Row, Text};

pub(crate) const SINK: Table<Progress> = Table {
    name: "sink",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("name", |it| it.name.as_str().into()),
        ("place", |it| it.place.into()),
        ("taken_at", |it| it.taken_at.into()),
        ("holder", |it| it.lease.map(|lease| lease.holder.0).into()),
        ("lease_until", |it| it.lease.map(|lease| lease.until).into()),
        ("error", |it| it.error.as_deref().into()),
        ("history_place", |it| {
            it.history.map(|history| history.place).into()
        }),
        ("history_end", |it| {
            it.history.map(|history| history.end).into()
        }),
    ],
};

pub(crate) fn progress<R: Row>(row: &R) -> Result<Progress, R::Fault> {
    let (holder, until): (Option<[u8; 16]>, Option<Time>) = (row.get(3)?, row.get(4)?);
    let Text(name) = row.get(0)?;
    let history: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(Progress {
        name,
        place: row.get(1)?,
        taken_at: row.get(2)?,
        lease: holder.zip(until).map(|(holder, until)| Lease {
            holder: Holder(holder),
            until,
        }),
        error: row.get(5)?,
        history: history
            .0
            .zip(history.1)
            .map(|(place, end)| History { place, end }),
    })
}

/// Entries of the audit log, as [`chained`] reads them. SQLite calls the hash otherwise.
macro_rules! chained_from {
    () => {
        "SELECT audit.seq, audit.event, audit.hash, meta.database_id, audit.personal FROM audit, meta"
    };
}
/// After a place, up to so many.
pub(crate) const ENTRIES_AFTER: &str = concat!(
    chained_from!(),
    " WHERE audit.seq > $1 ORDER BY audit.seq LIMIT $2"
);
pub(crate) const LAST_ENTRY: &str = concat!(chained_from!(), " ORDER BY audit.seq DESC LIMIT 1");

/// The place in the log that a link is at.
pub(crate) fn seq(link: &Link) -> i64 {
    i64::try_from(link.place).unwrap_or(i64::MAX)
}

/// The link at a place in the log.
pub(crate) fn link(chain: ChainId, seq: i64, hash: Hash) -> Link {
    Link {
        chain,
        place: u64::try_from(seq).unwrap_or(0),
        hash,
    }
}

/// An entry with its link. A text that somebody made no text is not what was hashed either.
pub(crate) fn chained<R: Row>(row: &R) -> Result<Chained, R::Fault> {
    let seq = row.get(0)?;
    let Lossy(stored) = row.get(1)?;
    let hash: Vec<u8> = row.get(2)?;
    // A hash that somebody cut is no hash; the verifier says so.
    let hash = Hash(hash.try_into().unwrap_or_default());
    let personal: Option<Lossy> = row.get(4)?;
    Ok(Chained {
        seq,
        link: link(ChainId::from_bytes(row.get(3)?), seq, hash),
        stored,
        personal: personal.map(|Lossy(personal)| personal),
    })
}
