//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::sink::Progress;
use cardveil_core::port::{self, Sinks};

use super::{Sqlite, all};
use crate::sql::rows::{self, SINK};
use crate::sql::table::Statement;

static ALL: Statement = Statement::new(|| SINK.all("name"));

#[async_trait]
impl Sinks for Sqlite {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers
            .read(|connection| all(connection, &ALL, [], |row| rows::progress(row)))
    }
}
