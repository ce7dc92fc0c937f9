//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::chain::Link;
use cardveil_core::audit::sink::{History, Holder, Lease, Progress};
use cardveil_core::clock::Time;
use cardveil_core::id::SinkName;
use cardveil_core::port::rows::{Loaded, LogRows};
use cardveil_core::port::{self, Sinks};
use cardveil_core::token::Epoch;

use super::batch::Batch;
use super::fault::Fault;
use super::value::{Row, Text, values};
use super::{Postgres, audit};

const ALL: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink ORDER BY name";
const FIND: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink WHERE name = $1";

#[async_trait]
impl Sinks for Postgres {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers.all(ALL, &values![], progress).await
    }
}

/// Under the head, so that no two look at once.
impl LogRows for Batch<'_> {
    /// A batch that failed may be run again on another server, so it is looked at in the batch.
    fn has_link(&self, link: &Link) -> Loaded<bool> {
        let at = values![audit::seq(link) - 1, 1_i64];
        let found = self.first(audit::AFTER, at, audit::chained)?;
        Ok(found.is_some_and(|entry| entry.link == *link))
    }

    fn last_entry(&self) -> Loaded<i64> {
        const END: &str = "SELECT audit_seq FROM meta";
        Ok(self.first(END, values![], |row| row.get(0))?.unwrap_or(0))
    }

    fn sink(&self, name: &SinkName) -> Loaded<Option<Progress>> {
        Ok(self.first(FIND, values![name.as_str()], progress)?)
    }

    fn save_sink(&self, next: &Progress) -> Loaded<()> {
        self.execute(
            "INSERT INTO sink (name, place, taken_at, holder, lease_until, error,
                 history_place, history_end)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (name) DO UPDATE SET place = excluded.place, taken_at = excluded.taken_at,
                 holder = excluded.holder, lease_until = excluded.lease_until, error = excluded.error,
                 history_place = excluded.history_place, history_end = excluded.history_end",
            values![
                next.name.as_str(),
                next.place,
                next.taken_at.map(Time::millis),
                next.lease.map(|lease| lease.holder.0.to_vec()),
                next.lease.map(|lease| lease.until.millis()),
                next.error.clone(),
                next.history.map(|history| history.place),
                next.history.map(|history| history.end),
            ],
        )?;
        Ok(())
    }

    fn save_epoch(&self, epoch: Epoch) -> Loaded<()> {
        Ok(self.set_epoch(epoch)?)
    }
}

fn progress(row: &Row) -> Result<Progress, Fault> {
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
