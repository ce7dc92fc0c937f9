//! What the server is and what its role may do, for whoever looks after it.
//!
//! It is looked at by the server's role, over a connection as the store's are; nothing is judged
//! here, and nothing has to be right, so a standby can be looked at too.

use super::OpenError;
use super::fault::Fault;
use super::fit::{self, Unfit};
use super::link::Link;
use super::options::Options;
use super::row::Row;
use super::schema;
use crate::sql::value::Row as _;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub struct Survey {
    /// Such as 150010: 15.10.
    pub version: i32,
    /// It takes writes.
    pub is_primary: bool,
    /// The database's, such as `UTF8`.
    pub encoding: String,
    /// `fsync`.
    pub fsync: bool,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// Whether pages have checksums.
    pub checksums: bool,
    /// `synchronous_commit` of our sessions, whatever the database's default is.
    pub synchronous_commit: String,
    /// Standbys that a commit waits for: `synchronous_standby_names`.
    pub standbys: String,
    /// How this connection came there.
    pub way: Way,
    /// What the role can do that the server has no need of.
    pub excess: Vec<&'static str>,
    /// Whether it may make large objects, as everybody may until a superuser says otherwise.
    pub may_make_large_objects: bool,
    /// What the schema is, or why it is not served on.
    pub schema: Result<Schema, Unfit>,
}

/// How a connection came to the server, by what the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over a unix socket.
    Socket,
    /// Over TLS of this version.
    Tls(String),
    /// Over TCP, in the clear.
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    pub version: i32,
    /// Whether even its owner cannot change the audit log without taking the triggers off it.
    pub is_append_only: bool,
    /// Whether no program may serve on it that is older than this one.
    pub is_finished: bool,
}

const SERVER: &str = "SELECT current_setting('server_version_num')::int, NOT pg_is_in_recovery(),
        current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
        current_setting('data_checksums') = 'on', current_setting('synchronous_commit'),
        current_setting('synchronous_standby_names'), inet_server_addr() IS NULL,
        (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)";

/// What a role may be, whatever the schema says. The order is that of [`POWERS`].
const ROLE: &str = "SELECT me.rolsuper, me.rolcreaterole,
        pg_has_role('pg_execute_server_program', 'MEMBER')
            OR pg_has_role('pg_write_server_files', 'MEMBER'),
        EXISTS (SELECT FROM pg_shdepend, pg_database
            WHERE datname = current_database() AND refclassid = 'pg_authid'::regclass
                AND refobjid = me.oid AND deptype = 'o' AND (dbid = pg_database.oid
                    OR classid = 'pg_database'::regclass AND objid = pg_database.oid)),
        has_database_privilege(current_database(), 'TEMPORARY'),
        has_function_privilege('lo_creat(integer)', 'EXECUTE')
            OR has_function_privilege('lo_create(oid)', 'EXECUTE')
            OR has_function_privilege('lo_from_bytea(oid, bytea)', 'EXECUTE')
     FROM pg_roles AS me WHERE me.rolname = current_user";
const POWERS: [&str; 5] = [
    "it is a superuser",
    "it may make roles",
    "it may run programs or write files where the server runs",
    "it owns things in the database",
    "it may make temporary tables",
];

/// The order is that of [`RIGHTS`], and then the triggers that hold the owner.
const AUDIT: &str = "SELECT pg_has_role(relowner, 'MEMBER'),
        has_any_column_privilege(oid, 'UPDATE'), has_table_privilege(oid, 'DELETE'),
        has_table_privilege(oid, 'TRUNCATE'), has_table_privilege(oid, 'TRIGGER'),
        (SELECT count(*) = 2 FROM pg_trigger WHERE tgrelid = pg_class.oid
            AND tgname IN ('audit_is_not_changed', 'audit_is_not_emptied')
            AND tgenabled IN ('O', 'A'))
     FROM pg_class WHERE oid = 'audit'::regclass";
const RIGHTS: [&str; 5] = [
    "it can act as the owner of the audit log",
    "it may UPDATE the audit log",
    "it may DELETE from the audit log",
    "it may TRUNCATE the audit log",
    "it may put triggers on the audit log",
];

/// Looks at the server that these options lead to. Behind a pooler that keeps no sessions nothing
/// can be looked at.
pub async fn survey(options: &Options) -> Result<Survey, OpenError> {
    let encoding = fit::sessions(options).await?;
    let link = Link::connect(options).await?;
    Ok(look(&link, encoding).await?)
}

async fn look(link: &Link, encoding: String) -> Result<Survey, Fault> {
    let server = one(link, SERVER).await?;
    let role = one(link, ROLE).await?;
    let mut excess = which(&role, &POWERS)?;
    let schema = match schema::found(link).await {
        Ok(version) => {
            let audit = one(link, AUDIT).await?;
            excess.extend(which(&audit, &RIGHTS)?);
            let is_append_only = audit.get(RIGHTS.len())?;
            let works_with: i32 = one(link, "SELECT works_with FROM meta").await?.get(0)?;
            fit::rights(link).await.map(|()| Schema {
                version,
                is_append_only,
                is_finished: works_with >= schema::known(),
            })
        }
        Err(fault) => Err(fault),
    };
    let schema = match schema {
        Ok(schema) => Ok(schema),
        Err(Fault::Unfit(unfit)) => Err(unfit),
        Err(fault) => return Err(fault),
    };
    // Whoever is everything can do everything.
    if excess.first() == POWERS.first() {
        excess.truncate(1);
    }
    let version: Option<String> = server.get(8)?;
    let way = match (version, server.get(7)?) {
        (Some(version), _) => Way::Tls(version),
        (None, true) => Way::Socket,
        (None, false) => Way::Clear,
    };
    Ok(Survey {
        version: server.get(0)?,
        is_primary: server.get(1)?,
        encoding,
        fsync: server.get(2)?,
        full_page_writes: server.get(3)?,
        checksums: server.get(4)?,
        synchronous_commit: server.get(5)?,
        standbys: server.get(6)?,
        way,
        excess,
        may_make_large_objects: role.get(POWERS.len())?,
        schema,
    })
}

async fn one(link: &Link, sql: &str) -> Result<Row, Fault> {
    let rows = link.query(sql, &[]).await?;
    let none = || Fault::Connection("the server says nothing of itself".into());
    rows.into_iter().next().ok_or_else(none)
}

/// What the row's first columns say yes to.
fn which(row: &Row, words: &[&'static str]) -> Result<Vec<&'static str>, Fault> {
    let mut yes = Vec::new();
    for (place, words) in words.iter().enumerate() {
        if row.get(place)? {
            yes.push(*words);
        }
    }
    Ok(yes)
}
