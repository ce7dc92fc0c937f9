//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::sink::Progress;
use cardveil_core::port::{self, Sinks};

use super::{Sqlite, all};
use crate::sql::rows;

const ALL: &str = "SELECT name, place, taken_at, holder, lease_until, error, history_place, history_end FROM sink ORDER BY name";

#[async_trait]
impl Sinks for Sqlite {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers
            .read(|connection| all(connection, ALL, [], |row| rows::progress(row)))
    }
}
