//! What a database must be before anything is served on it: one whose connections keep their
//! sessions, that holds UTF-8, and in which the server's role has the rights that the schema's
//! owner gives it.
//!
//! **Invariant:** what is looked at before it is known that sessions are kept is sent without a
//! prepared statement and without a setting: behind a pooler both would be somebody else's.
//!
//! # To add one
//!
//! A variant of [`Unfit`], where it is looked for, its next step in
//! `cli/src/deployment/backend.rs`, and its row in `docs/operate/postgresql.md`.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::fault::Fault;
use super::link::Link;
use super::options::Options;
use crate::sql::value::Row as _;

/// Why a database is not served on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is no schema.
    #[error("the database has no Cardveil schema")]
    Missing,
    /// The schema is older than the program.
    #[error("the schema is of version {found} and this program needs version {needed}")]
    Older {
        /// The schema's version.
        found: i32,
        /// The program's.
        needed: i32,
    },
    /// The schema is newer than the program, and not made to work with it.
    #[error(
        "the schema is of version {found}, which works with programs that know version \
         {works_with}; this one knows version {known}"
    )]
    Newer {
        /// The schema's version.
        found: i32,
        /// The oldest program that it works with.
        works_with: i32,
        /// The program's version.
        known: i32,
    },
    /// Each transaction of one connection may be in another session of the server.
    #[error(
        "a pooler hands out the server by the transaction or the statement: locks, settings and \
         prepared statements of a session get lost"
    )]
    Pooled,
    /// Its encoding is not UTF-8.
    #[error("the database's encoding is {0}, which does not hold all names; UTF8 is needed")]
    Encoding(String),
    /// The server's role may not do what the server does.
    #[error("{0}")]
    Rights(Lacking),
    /// The role may not ask which server this is.
    #[error(
        "the role {role} may not call pg_control_system(), by which a restored database is noticed"
    )]
    ControlRevoked {
        /// Who may not, as SQL writes it.
        role: String,
    },
}

/// Rights that are not there, as after a restore without the grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Who has not got them, as SQL writes it.
    pub role: String,
    /// Who can give them.
    pub owner: String,
    /// Such as `SELECT, INSERT on audit`.
    pub rights: Vec<String>,
}

/// How many rights are named.
const RIGHTS_NAMED: usize = 3;

impl std::fmt::Display for Lacking {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (named, others) = self.rights.split_at(self.rights.len().min(RIGHTS_NAMED));
        let named = named.join("; ");
        write!(out, "the role {} has not been granted {named}", self.role)?;
        match others.len() {
            0 => Ok(()),
            more => write!(out, "; and {more} more"),
        }
    }
}

/// How long the second of two transactions may wait while the first is open.
const BESIDE_WITHIN: Duration = Duration::from_secs(3);
/// The process of the server that works for a session: as good as the session's name.
const SESSION: &str = "SELECT pg_backend_pid()";
const ENCODING: &str = "SHOW server_encoding";

/// Refuses a database on which no schema could serve.
pub(super) async fn examine(options: &Options) -> Result<(), Fault> {
    let encoding = sessions(options).await?;
    if encoding == "UTF8" {
        Ok(())
    } else {
        Err(Fault::Unfit(Unfit::Encoding(encoding)))
    }
}

/// Refuses connections that do not keep their sessions. Tells the database's encoding, which is
/// asked for on the way.
///
/// Two connections each have a transaction open at the same time, again and again. A pooler that
/// hands out its servers by the transaction gives the first that asks the server which was returned
/// last, or the one that has waited longest: in one of the two orders that is the other's of
/// before. It may carry prepared statements over and repeat settings; a session it cannot carry
/// over.
pub(super) async fn sessions(options: &Options) -> Result<String, Fault> {
    let (one, two) = (Link::bare(options).await?, Link::bare(options).await?);
    let encoding = one.word(ENCODING).await?;
    // A pooler that gives away whole sessions may have one alone.
    match two.word(SESSION).await {
        Err(Fault::Connection(_)) => {
            let text = "the first of two connections is answered and the second is not: does a pooler \
                        allow too few of them?";
            return Err(Fault::Connection(text.into()));
        }
        answered => drop(answered?),
    }
    let home = beside([&one, &two]).await?;
    for turned in [false, true, true, false] {
        let found = if turned {
            let [second, first] = beside([&two, &one]).await?;
            [first, second]
        } else {
            beside([&one, &two]).await?
        };
        if found != home {
            return Err(Fault::Unfit(Unfit::Pooled));
        }
    }
    Ok(encoding)
}

/// The sessions of two transactions that are open at the same time.
async fn beside([first, second]: [&Link; 2]) -> Result<[String; 2], Fault> {
    begin(first).await?;
    let mut begun = std::pin::pin!(begin(second));
    if let Ok(begun) = tokio::time::timeout(BESIDE_WITHIN, &mut begun).await {
        begun?;
    } else {
        first.run("ROLLBACK").await?;
        // It was the first that the second had to wait for, and not the server.
        let begun = tokio::time::timeout(BESIDE_WITHIN, begun).await;
        let silent = |_| Fault::Connection("the server does not answer".into());
        begun.map_err(silent)??;
        return Err(Fault::Unfit(Unfit::Pooled));
    }
    let found = [first.word(SESSION).await?, second.word(SESSION).await?];
    first.run("ROLLBACK").await?;
    second.run("ROLLBACK").await?;
    Ok(found)
}

/// A pooler that hands out servers by the statement knows no transactions.
async fn begin(link: &Link) -> Result<(), Fault> {
    match link.run("BEGIN").await {
        Err(Fault::Postgres(error)) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {
            Err(Fault::Unfit(Unfit::Pooled))
        }
        begun => begun,
    }
}

/// Whether a fault may be one of rights: to whom a schema is not granted, its tables are not there.
pub(super) fn may_be_of_rights(fault: &Fault) -> bool {
    match fault {
        Fault::Postgres(error) => matches!(
            error.code(),
            Some(
                &SqlState::UNDEFINED_TABLE
                    | &SqlState::INVALID_SCHEMA_NAME
                    | &SqlState::INSUFFICIENT_PRIVILEGE
            )
        ),
        Fault::Connection(_) | Fault::Stale | Fault::Unfit(_) | Fault::Own(_) => false,
    }
}

/// Refuses a schema that is not there, and one that the server's role may not use: it needs what
/// [`super::schema`] grants, and no more.
pub(super) async fn rights(link: &Link) -> Result<(), Fault> {
    const SCHEMA: &str = "SELECT quote_ident(current_user), quote_ident(pg_get_userbyid(nspowner)),
             has_schema_privilege(oid, 'USAGE')
         FROM pg_namespace WHERE nspname = 'cardveil'";
    const TABLES: &str = "SELECT string_agg(wanted, ', ' ORDER BY place) || ' on ' || relname
         FROM pg_class, unnest(CASE
                 WHEN relkind = 'S' THEN ARRAY['USAGE']
                 WHEN relname = 'audit' THEN ARRAY['SELECT', 'INSERT']
                 WHEN relname IN ('meta', 'guard') THEN ARRAY['SELECT', 'UPDATE']
                 ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
             END) WITH ORDINALITY AS wanted (wanted, place)
         WHERE relnamespace = 'cardveil'::regnamespace AND relkind IN ('r', 'S')
             AND NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(pg_class.oid, wanted)
                 ELSE has_table_privilege(pg_class.oid, wanted) END
         GROUP BY relname ORDER BY relname";
    control(link).await?;
    let schema = link.query(SCHEMA, &[]).await?;
    let schema = schema.first().ok_or(Fault::Unfit(Unfit::Missing))?;
    let mut rights = Vec::new();
    if !schema.get::<bool>(2)? {
        rights.push("USAGE on schema cardveil".to_owned());
    }
    for table in link.query(TABLES, &[]).await? {
        rights.push(table.get(0)?);
    }
    if rights.is_empty() {
        return Ok(());
    }
    Err(Fault::Unfit(Unfit::Rights(Lacking {
        role: schema.get(0)?,
        owner: schema.get(1)?,
        rights,
    })))
}

/// Refuses a role that may not ask for the system identifier: hardened servers keep it to
/// superusers.
pub(super) async fn control(link: &Link) -> Result<(), Fault> {
    const MAY: &str = "SELECT quote_ident(current_user),
             has_function_privilege('pg_control_system()', 'EXECUTE')";
    let rows = link.query(MAY, &[]).await?;
    match rows.first() {
        Some(row) if !row.get::<bool>(1)? => {
            let role = row.get(0)?;
            Err(Fault::Unfit(Unfit::ControlRevoked { role }))
        }
        Some(_) | None => Ok(()),
    }
}
