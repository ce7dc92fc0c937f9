//! What tokens are looked up by.

use cardveil_core::token::{Lives, LivesOf};
use rusqlite::{Connection, params};

use crate::sql::for_sqlite;
use crate::sql::rows::{self, TOKEN, lives_columns};
use crate::sql::table::Statement;

pub(super) static FIND: Statement = Statement::new(|| for_sqlite(&TOKEN.find()));

/// What a token lives by.
pub(super) fn lives(connection: &Connection, of: &LivesOf) -> rusqlite::Result<Lives> {
    const FIND: &str = concat!(
        "SELECT ",
        lives_columns!(),
        " FROM (SELECT 1)
             LEFT JOIN credential ON credential.id = ?1 AND credential.merchant = ?2
             LEFT JOIN merchant ON merchant.id = ?2
             LEFT JOIN embed ON embed.id = ?3"
    );
    connection.prepare_cached(FIND)?.query_row(
        params![
            of.credential.as_str(),
            of.merchant.as_str(),
            of.embed.as_str()
        ],
        |row| rows::lives(row),
    )
}
