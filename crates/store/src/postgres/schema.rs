//! The schema: its migrations, and which programs may serve on it.
//!
//! Only the owner migrates, by `cardveil migrate`; the server's role may read and write rows, and
//! of the audit log it may only append. A migration that is out is never changed.
//!
//! # Old and new side by side
//!
//! A program serves on the schema that it knows, and on newer ones whose `works_with` says that it
//! may; never on an older one. So an upgrade is: migrate, then exchange the nodes one by one. For
//! that a migration adds what has a default, and what an older program writes must stay right; what
//! it no longer needs is taken away one version later. A migration that cannot be so raises
//! `WORKS_WITH` to its own version, and then all nodes must be stopped for it: those that were left
//! running release nothing more and say that they are not ready, since whoever writes looks under
//! the head of the audit log, which the migration holds.
//!
//! An index on what may be large is built before the migration, while the nodes serve (`ONLINE`).
//!
//! # To add a migration
//!
//! `migrations/NNNN_what.sql`, and where it changes rows that are there, a test in `tests/postgres`
//! that migrates a database of the version before.

use cardveil_core::Entropy;
use cardveil_core::audit::personal::Form;
use cardveil_core::clock::Time;
use cardveil_core::token::Epoch;
use tokio_postgres::error::SqlState;

use super::OpenError;
use super::fault::Fault;
use super::fit::{self, Unfit};
use super::home;
use super::link::Link;
use super::options::Options;
use crate::sql::value::{Row as _, values};

/// Each brings the schema from the version before to its own, which is its place in this list,
/// counted from 1. They are the files of `migrations`, in their order.
const MIGRATIONS: &[&str] = include!(concat!(env!("OUT_DIR"), "/postgres.rs"));
/// Indexes on what may be large, which are built while nodes serve: a migration's own `CREATE
/// INDEX` would have all writes of the table wait for it. The migration that needs one says the
/// same with `IF NOT EXISTS`.
const ONLINE: [(&str, &str); 3] = [
    ("card_created", "card (merchant, created_at, seq)"),
    ("card_label", "card (merchant, lower(label), seq)"),
    ("card_last_four", "card (merchant, last_four, seq)"),
];
/// The oldest program that may serve on the newest schema.
const WORKS_WITH: i32 = 1;
/// The version whose programs read entries of form 2 of the audit log.
pub(super) const FORM_TWO: i32 = 15;
/// Held while one process migrates.
const MIGRATION_LOCK: i64 = 0x4356_4549;

/// The version that this program knows.
pub fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// How entries of the audit log are written where programs of this version, and no earlier ones,
/// may serve.
pub(super) fn form(works_with: i32) -> Form {
    if works_with < FORM_TWO {
        Form::One
    } else {
        Form::Two
    }
}

pub(super) fn unfit(version: i32, works_with: i32) -> Option<Unfit> {
    let known = known();
    if version < known {
        Some(Unfit::Older {
            found: version,
            needed: known,
        })
    } else if works_with > known {
        Some(Unfit::Newer {
            found: version,
            works_with,
            known,
        })
    } else {
        None
    }
}

pub(super) fn check(version: i32, works_with: i32) -> Result<(), Fault> {
    match unfit(version, works_with) {
        Some(unfit) => Err(Fault::Unfit(unfit)),
        None => Ok(()),
    }
}

pub(super) fn not_there() -> Fault {
    Fault::Unfit(Unfit::Missing)
}

/// What is said of a table that cannot be read: there is no schema, or the role was not let into
/// it.
pub(super) async fn unreadable(link: &Link, fault: Fault) -> Fault {
    if !fit::may_be_of_rights(&fault) {
        return fault;
    }
    match Box::pin(fit::rights(link)).await {
        Err(unfit) => unfit,
        Ok(()) => not_there(),
    }
}

/// Whether what was asked for is of a newer schema than the one that is there.
pub(super) fn is_older(fault: &Fault) -> bool {
    match fault {
        Fault::Postgres(error) => error.code() == Some(&SqlState::UNDEFINED_COLUMN),
        Fault::Connection(_) | Fault::Stale | Fault::Unfit(_) | Fault::Own(_) => false,
    }
}

/// The version of the one that is there, if this program serves on it.
pub(super) async fn found(link: &Link) -> Result<i32, Fault> {
    let rows = link.query("SELECT version, works_with FROM meta", &[]);
    let rows = match rows.await {
        Ok(rows) => rows,
        Err(fault) => return Err(unreadable(link, fault).await),
    };
    let row = rows.first().ok_or_else(not_there)?;
    let version = row.get(0)?;
    check(version, row.get(1)?)?;
    Ok(version)
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 when there was none.
    pub from: i32,
    /// The version now.
    pub to: i32,
    /// No program that is older than this one may serve on it.
    pub is_finished: bool,
}

/// Brings the schema to the newest version as its owner, all in one transaction, and lets `server`
/// use it. `now` and chance are for a new database's epoch and id. After `Error::Unknown` it was
/// migrated or not: the next call tells.
pub async fn migrate(
    options: &Options,
    server: Option<&str>,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<Migrated, OpenError> {
    let done = async {
        fit::examine(options).await?;
        let link = Link::patient(options).await?;
        build_online(&link).await?;
        link.run("BEGIN").await?;
        let migrated = migrate_in(&link, server, now, entropy).await?;
        Ok::<_, Fault>((link, migrated))
    };
    let (link, migrated) = done.await?;
    link.commit().await?;
    Ok(migrated)
}

/// All tables that a migration may change, before it changes one. A lookup takes its tables in an
/// order of its own, so each can hold what the other waits for; after a second (`deadlock_timeout`)
/// PostgreSQL ends one of them, which may be a node's request. So this waits for less at each, lets
/// go of all, and begins anew. First it keeps autovacuum away, which no node waits for, and which
/// gives way only to who waits for a second.
const LOCKS: &str = "
    DO $$
    DECLARE
        tables TEXT := (SELECT string_agg(oid::regclass::text, ', ' ORDER BY relname = 'meta' DESC, relname)
            FROM pg_class
            WHERE relnamespace = 'cardveil'::regnamespace AND relkind = 'r' AND relname <> 'audit');
    BEGIN
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', tables);
        SET LOCAL lock_timeout = '30ms';
        FOR tried IN 1..1000 LOOP
            BEGIN
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tables);
                SET LOCAL lock_timeout = 0;
                RETURN;
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                PERFORM pg_sleep(0.05);
            END;
        END LOOP;
        RAISE lock_not_available USING MESSAGE = 'the tables are in use';
    END
    $$;
";

async fn migrate_in(
    link: &Link,
    server: Option<&str>,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<Migrated, Fault> {
    link.query("SELECT pg_advisory_xact_lock($1)", &values![MIGRATION_LOCK])
        .await?;
    link.run("CREATE SCHEMA IF NOT EXISTS cardveil").await?;
    let table = link
        .query("SELECT to_regclass('cardveil.meta') IS NOT NULL", &[])
        .await?;
    let there = table.first().map_or(Ok(false), |row| row.get(0))?;
    let from = if there { version(link).await? } else { 0 };
    let to = known();
    if from > to {
        return Err(Fault::Unfit(Unfit::Newer {
            found: from,
            works_with: from,
            known: to,
        }));
    }
    if there && from < to {
        link.run(LOCKS).await?;
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        link.run(migration).await?;
    }
    if from == 0 {
        fit::control(link).await?;
        begin(link, now, entropy).await?;
    }
    // No program serves on a new database, so none that is older than this one need be let in.
    let works_with = if from == 0 { to } else { WORKS_WITH };
    let rows = link
        .query(
            "UPDATE meta SET version = $1, works_with = greatest(works_with, $2)
             RETURNING works_with >= $1",
            &values![i64::from(to), i64::from(works_with)],
        )
        .await?;
    let is_finished = rows.first().ok_or_else(not_there)?.get(0)?;
    if let Some(server) = server {
        grant(link, server).await?;
    }
    Ok(Migrated {
        from,
        to,
        is_finished,
    })
}

/// Says that no program serves any more that is older than this one, and lets none in: from then on
/// the audit log goes on in form 2. Tells whether earlier ones were let in before. After
/// `Error::Unknown` it was done or not: the next call tells.
pub async fn finish(options: &Options) -> Result<bool, OpenError> {
    const FINISH: &str = "UPDATE meta SET works_with = $1 WHERE works_with < $1";
    let done = async {
        let link = Link::patient(options).await?;
        link.run("BEGIN").await?;
        found(&link).await?;
        let changed = link.execute(FINISH, &values![i64::from(known())]).await?;
        Ok::<_, Fault>((link, changed > 0))
    };
    let (link, changed) = done.await?;
    link.commit().await?;
    Ok(changed)
}

/// Builds what is missing of [`ONLINE`]. Reads and writes go on meanwhile; it waits for
/// transactions that are under way, a dump among them. One that was ended half-way left an index
/// that is not valid, which goes first.
async fn build_online(link: &Link) -> Result<(), Fault> {
    const FOUND: &str = "SELECT pg_index.indisvalid FROM pg_index
         JOIN pg_class ON pg_class.oid = pg_index.indexrelid
         WHERE pg_class.relname = $1
             AND pg_index.indrelid = to_regclass('cardveil.card')";
    let table = link
        .query("SELECT to_regclass('cardveil.card') IS NOT NULL", &[])
        .await?;
    if !table.first().map_or(Ok(false), |row| row.get(0))? {
        return Ok(());
    }
    link.run("SET lock_timeout = 0").await?;
    for (name, on) in ONLINE {
        let found = link.query(FOUND, &values![name]).await?;
        match found.first().map(|row| row.get(0)).transpose()? {
            Some(true) => continue,
            Some(false) => link.run(&format!("DROP INDEX CONCURRENTLY {name}")).await?,
            None => {}
        }
        link.run(&format!("CREATE INDEX CONCURRENTLY {name} ON {on}"))
            .await?;
    }
    Ok(())
}

async fn version(link: &Link) -> Result<i32, Fault> {
    let rows = link.query("SELECT version FROM meta", &[]).await?;
    rows.first().ok_or_else(not_there)?.get(0)
}

/// The one row of `meta`.
async fn begin(link: &Link, now: Time, entropy: &dyn Entropy) -> Result<(), Fault> {
    let mut database_id = [0; 16];
    entropy.fill(&mut database_id);
    let epoch = Epoch(0).next(now).unwrap_or(Epoch(1));
    let rows = link.query(home::SERVER_NOW, &[]).await?;
    let (system, timeline) = home::server_now(rows.first().ok_or_else(not_there)?)?;
    link.execute(
        "INSERT INTO meta (one, version, works_with, database_id, epoch, system_identifier, timeline,
             written_by, database_oid)
         SELECT 1, 0, 0, $1, $2, $3, $4, pg_current_xact_id(), oid::bigint
             FROM pg_database WHERE datname = current_database()",
        &values![database_id, epoch.0, system, timeline],
    )
    .await?;
    Ok(())
}

/// The least that a server needs. Of the audit log it may only append and read: `UPDATE`, `DELETE`
/// and `TRUNCATE` are never granted.
async fn grant(link: &Link, server: &str) -> Result<(), Fault> {
    const DATABASE: &str = "SELECT quote_ident(datname), pg_has_role(datdba, 'MEMBER')
        FROM pg_database WHERE datname = current_database()";
    const GRANTS: &str = "
        GRANT USAGE ON SCHEMA cardveil TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA cardveil TO {role};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA cardveil TO {role};
        REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON audit FROM {role};
        REVOKE INSERT, DELETE ON meta, guard FROM {role}";
    let quoted = format!("\"{}\"", server.replace('"', "\"\""));
    link.run(&GRANTS.replace("{role}", &quoted)).await?;
    // Temporary tables are anybody's in a new database. Only its owner can change that.
    let rows = link.query(DATABASE, &[]).await?;
    let row = rows.first().ok_or_else(not_there)?;
    let database: String = row.get(0)?;
    if row.get(1)? {
        let sql = format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {quoted}");
        link.run(&sql).await?;
    }
    Ok(())
}
