//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::sink::{Fed, History, Hold, Holder, Lease, Progress};
use cardveil_core::clock::Time;
use cardveil_core::id::SinkName;
use cardveil_core::port::{self, Sinks};

use super::Postgres;
use super::batch::Batch;
use super::fault::Fault;
use super::value::{Row, Text, values};
use super::writer::Turn;

const ALL: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink ORDER BY name";
const FIND: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink WHERE name = $1";

#[async_trait]
impl Sinks for Postgres {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers.all(ALL, &values![], progress).await
    }

    async fn hold_sink(&self, hold: Hold) -> port::Result<Option<Progress>> {
        let work = move |batch: &Batch<'_>| {
            const END: &str = "SELECT audit_seq FROM meta";
            let end = batch.first(END, values![], |row| row.get(0))?.unwrap_or(0);
            let next = hold.decide(find(batch, &hold.name)?.as_ref(), end);
            put(batch, next)
        };
        self.writer.submit(Turn::Head, work).await
    }

    async fn record_fed(&self, fed: Fed) -> port::Result<Option<Progress>> {
        let work = move |batch: &Batch<'_>| {
            let next = fed.decide(find(batch, &fed.name)?.as_ref());
            put(batch, next)
        };
        self.writer.submit(Turn::Head, work).await
    }
}

/// Under the head, so that no two look at once.
fn find(batch: &Batch<'_>, name: &SinkName) -> Result<Option<Progress>, Fault> {
    batch.first(FIND, values![name.as_str()], progress)
}

fn put(batch: &Batch<'_>, next: Option<Progress>) -> Result<Option<Progress>, Fault> {
    if let Some(next) = &next {
        batch.execute(
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
    }
    Ok(next)
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
