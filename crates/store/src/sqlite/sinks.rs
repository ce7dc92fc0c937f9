//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::chain::Link;
use cardveil_core::audit::sink::{History, Holder, Lease, Progress};
use cardveil_core::clock::Time;
use cardveil_core::id::SinkName;
use cardveil_core::port::rows::{Loaded, LogRows};
use cardveil_core::port::{self, Sinks};
use cardveil_core::token::Epoch;
use rusqlite::{Row, params};

use super::rows::Text;
use super::writer::Batch;
use super::{Sqlite, all, audit};

const ALL: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink ORDER BY name";
const FIND: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink WHERE name = ?1";

#[async_trait]
impl Sinks for Sqlite {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers
            .read(|connection| all(connection, ALL, [], progress))
    }
}

impl LogRows for Batch<'_> {
    fn has_link(&self, link: &Link) -> Loaded<bool> {
        let at = params![audit::seq(link) - 1, 1];
        let found = self.first(audit::AFTER, at, audit::chained)?;
        Ok(found.is_some_and(|entry| entry.link == *link))
    }

    fn last_entry(&self) -> Loaded<i64> {
        const END: &str = "SELECT coalesce(max(seq), 0) FROM audit";
        Ok(self.first(END, [], |row| row.get(0))?.unwrap_or(0))
    }

    fn sink(&self, name: &SinkName) -> Loaded<Option<Progress>> {
        Ok(self.first(FIND, [name.as_str()], progress)?)
    }

    fn save_sink(&self, next: &Progress) -> Loaded<()> {
        self.execute(
            "INSERT OR REPLACE INTO sink (name, place, taken_at, holder, lease_until, error,
                 history_place, history_end)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                next.name.as_str(),
                next.place,
                next.taken_at.map(Time::millis),
                next.lease.map(|lease| lease.holder.0),
                next.lease.map(|lease| lease.until.millis()),
                next.error,
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

fn progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    let (holder, until): (Option<[u8; 16]>, Option<i64>) = (row.get(3)?, row.get(4)?);
    let history: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(Progress {
        name: row.get(0).map(|Text(name)| name)?,
        place: row.get(1)?,
        taken_at: row.get::<_, Option<_>>(2)?.map(Time::from_millis),
        lease: holder.zip(until).map(|(holder, until)| Lease {
            holder: Holder(holder),
            until: Time::from_millis(until),
        }),
        error: row.get(5)?,
        history: history
            .0
            .zip(history.1)
            .map(|(place, end)| History { place, end }),
    })
}
