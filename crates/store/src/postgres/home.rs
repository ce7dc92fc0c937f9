//! Which server this is, and whether the database went back in time.
//!
//! A restored backup and a promoted standby un-spend tokens. So the database knows the server that
//! its epoch is of, by its system identifier and its timeline: each recovery to a point in time and
//! each promotion begins a timeline, and a new cluster has another identifier ("System
//! Administration Functions", `pg_control_system`; "Continuous Archiving", timelines). The timeline
//! is read from the name of the WAL file that is written now, since the control file tells it only
//! after the next checkpoint. Each connection compares before it serves, and the first that finds
//! another server raises the epoch there, in the same transaction in which it writes the server
//! down.
//!
//! A dump says what the rows were, and so puts them back into the same cluster, too. But each row
//! of `meta` and of `token` holds the id of the transaction that wrote it, which PostgreSQL keeps
//! beside the row as well (`xmin`; freezing leaves it readable, "System Columns" and "Preventing
//! Transaction ID Wraparound Failures"). A row that a dump brought has another, and nothing but a
//! raise of the epoch makes the two equal again: not a node of the version before, a migration, nor
//! the owner. Where `meta` has been brought back, the epoch is raised; a token's row alone is read
//! as one of no epoch, so no key gets it. A copy that `CREATE DATABASE ... TEMPLATE` made has the
//! ids of its template, and is known by its own id in `pg_database`. What is not known: rows that
//! somebody with the owner's rights stamps by hand.
//!
//! A process also remembers how far it has seen the audit log in the newest epoch that it has seen:
//! a database that holds less of that epoch went back, whatever the server says of itself. That
//! covers a cluster which was put back as files, for as long as one process has seen it before. One
//! of a newer epoch may hold less: another node has raised it, for all that was seen before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardveil_core::Entropy;
use cardveil_core::audit::{Kind, Source, Target};
use cardveil_core::clock::Time;
use cardveil_core::port::Error;
use cardveil_core::token::Epoch;

use super::audit;
use super::fault::Fault;
use super::link::Link;
use super::row::Row;
use super::schema;
use crate::sql::value::{Row as _, values};

/// A raise of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    pub why: Why,
    /// The epoch now.
    pub epoch: Epoch,
}

/// Why the epoch had to be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The database is on another cluster: a dump was restored, or a copy of the tables.
    OtherCluster,
    /// The cluster is on another timeline: a standby was promoted, or a backup was recovered.
    OtherTimeline,
    /// What the database says of itself was put there by a restore, and not by a program of ours.
    Restored,
    /// The database is a copy of another one of its cluster.
    OtherDatabase,
    /// The database holds less than this process has seen.
    Behind,
}

impl std::fmt::Display for Why {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::OtherCluster => "the database is on another cluster: a backup was restored",
            Self::OtherTimeline => {
                "the cluster is on another timeline: a standby was promoted, or a backup recovered"
            }
            Self::Restored => "rows were put back from a dump",
            Self::OtherDatabase => "the database is a copy of another one in its cluster",
            Self::Behind => "the database holds less than was seen before: a backup was restored",
        })
    }
}

/// What a process has seen of the database: the epoch comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    epoch: u32,
    audit_seq: i64,
}

/// What the connections of one process share.
pub(super) struct Home {
    seen: Mutex<Seen>,
    entropy: Arc<dyn Entropy>,
}

/// What `meta` says, and what the server says of itself.
struct Found {
    version: i32,
    works_with: i32,
    epoch: Epoch,
    audit_seq: i64,
    kept: Server,
    /// Nothing while it is in recovery.
    server: Option<Server>,
    fsync: String,
    /// The row of `meta` was written where it is.
    is_written_here: bool,
    /// It was written in this database.
    is_this_database: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Server {
    system_identifier: i64,
    timeline: i64,
}

/// What [`Found`] is read from.
macro_rules! find {
    ($hold:literal) => {
        concat!(
            "SELECT version, works_with, epoch, audit_seq, meta.system_identifier, meta.timeline,
                 control.system_identifier,
                 CASE WHEN pg_is_in_recovery() THEN NULL
                     ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
                 current_setting('fsync'), written_by::xid IS NOT DISTINCT FROM meta.xmin,
                 database_oid IS NOT DISTINCT FROM here.oid::bigint
             FROM meta, pg_control_system() AS control, pg_database AS here
             WHERE here.datname = current_database()",
            $hold
        )
    };
}
const FIND: &str = find!("");
const FIND_AND_HOLD: &str = find!(" FOR UPDATE OF meta");
/// What a new database is told of its server.
pub(super) const SERVER_NOW: &str = "SELECT system_identifier,
         substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()";

impl Home {
    /// Of a process that has seen nothing. Chance is for the record of a raise.
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            seen: Mutex::default(),
            entropy,
        }
    }

    /// Takes down that something was committed.
    pub(super) fn saw(&self, audit_seq: i64, epoch: Epoch) {
        let mut seen = self.seen();
        *seen = (*seen).max(Seen {
            epoch: epoch.0,
            audit_seq,
        });
    }

    /// Lets a connection serve: the server writes, keeps what it says, has our schema, and is the
    /// one that the epoch is of, which is raised otherwise.
    pub(super) async fn admit(&self, link: &Link, now: Time) -> Result<Option<Raised>, Fault> {
        // Before the database is read: what is there then is no less.
        let seen = *self.seen();
        let found = Found::read(link, FIND).await?;
        found.check()?;
        if found.why(seen)?.is_none() {
            self.saw(found.audit_seq, found.epoch);
            return Ok(None);
        }
        link.run("BEGIN").await?;
        let raised = raise(link, (seen, now), &self.entropy).await;
        match raised {
            Ok(_) => link.run("COMMIT").await?,
            Err(_) => link.run("ROLLBACK").await?,
        }
        let (raised, audit_seq) = raised?;
        if let Some(raised) = raised {
            self.saw(audit_seq, raised.epoch);
            tracing::warn!(
                store.epoch = raised.epoch.0,
                "the epoch was raised: {}",
                raised.why
            );
        }
        Ok(raised)
    }

    /// Whether this process has seen a later one. Then the connection that says so has to be
    /// [admitted](Self::admit) anew.
    pub(super) fn has_passed(&self, epoch: Epoch) -> bool {
        epoch.0 < self.seen().epoch
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever comes second finds that it is done.
async fn raise(
    link: &Link,
    (seen, now): (Seen, Time),
    entropy: &Arc<dyn Entropy>,
) -> Result<(Option<Raised>, i64), Fault> {
    let found = Found::read(link, FIND_AND_HOLD).await?;
    let (Some(why), Some(server)) = (found.why(seen)?, found.server) else {
        return Ok((None, found.audit_seq));
    };
    let latest = Epoch(found.epoch.0.max(seen.epoch));
    let next = latest
        .next(now)
        .ok_or_else(|| Fault::Own(Error::Unavailable("the epoch is at its end".into())))?;
    let target = Target {
        resource: Some("epoch".into()),
        ..Target::default()
    };
    let mut event = Source::server().event(now, Kind::EpochRaised, None, target);
    event.detail.note = Some(format!("raised to {}: {why}", next.0).into());
    // Where the head alone was put back, the log goes on from its own end, and in its form.
    link.execute(
        "UPDATE meta SET audit_seq = log.seq, audit_hash = log.hash,
                 works_with = CASE WHEN starts_with(log.event, '{\"form\":2,')
                     THEN greatest(works_with, $1) ELSE works_with END
             FROM (SELECT seq, hash, event FROM audit ORDER BY seq DESC LIMIT 1) AS log
             WHERE log.seq > meta.audit_seq",
        &values![i64::from(schema::FORM_TWO)],
    )
    .await?;
    link.execute(
        "UPDATE meta SET epoch = $1, system_identifier = $2, timeline = $3,
             written_by = pg_current_xact_id(), database_oid =
                 (SELECT oid::bigint FROM pg_database WHERE datname = current_database())",
        &values![next.0, server.system_identifier, server.timeline],
    )
    .await?;
    let seq = audit::append_one(link, &event, entropy).await?;
    let raised = Raised { why, epoch: next };
    Ok((Some(raised), seq))
}

impl Found {
    async fn read(link: &Link, sql: &str) -> Result<Self, Fault> {
        let rows = match link.query(sql, &[]).await {
            Err(fault) if schema::is_older(&fault) => {
                schema::found(link).await?;
                return Err(fault);
            }
            Err(fault) => return Err(schema::unreadable(link, fault).await),
            Ok(rows) => rows,
        };
        let row = rows.first().ok_or_else(schema::not_there)?;
        let timeline: Option<String> = row.get(7)?;
        Ok(Self {
            version: row.get(0)?,
            works_with: row.get(1)?,
            epoch: Epoch(row.get(2)?),
            audit_seq: row.get(3)?,
            kept: Server {
                system_identifier: row.get(4)?,
                timeline: row.get(5)?,
            },
            server: match timeline {
                None => None,
                Some(hex) => Some(Server {
                    system_identifier: row.get(6)?,
                    timeline: parse_timeline(&hex)?,
                }),
            },
            fsync: row.get(8)?,
            is_written_here: row.get(9)?,
            is_this_database: row.get(10)?,
        })
    }

    fn check(&self) -> Result<(), Fault> {
        if self.fsync != "on" {
            let text = "the server has fsync off: what it commits may be lost";
            return Err(Fault::Connection(text.into()));
        }
        schema::check(self.version, self.works_with)
    }

    fn seen(&self) -> Seen {
        Seen {
            epoch: self.epoch.0,
            audit_seq: self.audit_seq,
        }
    }

    fn why(&self, seen: Seen) -> Result<Option<Why>, Fault> {
        let Some(server) = self.server else {
            let text = "the server is a standby: it takes no writes";
            return Err(Fault::Connection(text.into()));
        };
        Ok(if server.system_identifier != self.kept.system_identifier {
            Some(Why::OtherCluster)
        } else if server.timeline != self.kept.timeline {
            Some(Why::OtherTimeline)
        } else if !self.is_this_database {
            Some(Why::OtherDatabase)
        } else if !self.is_written_here {
            Some(Why::Restored)
        } else if self.seen() < seen {
            Some(Why::Behind)
        } else {
            None
        })
    }
}

/// The server's identity as `meta` keeps it.
pub(super) fn server_now(row: &Row) -> Result<(i64, i64), Fault> {
    let hex: String = row.get(1)?;
    Ok((row.get(0)?, parse_timeline(&hex)?))
}

/// "The first 8 hexadecimal digits" of a WAL file's name.
fn parse_timeline(hex: &str) -> Result<i64, Fault> {
    i64::from_str_radix(hex, 16)
        .map_err(|_| Fault::Own(Error::Corrupt("the WAL file's name has no timeline".into())))
}
