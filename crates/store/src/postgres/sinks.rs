//! How far the sinks of the audit log have come.

use async_trait::async_trait;
use cardveil_core::audit::sink::Progress;
use cardveil_core::port::{self, Sinks};

use super::Postgres;
use crate::sql::rows::{self, SINK};
use crate::sql::table::Statement;
use crate::sql::value::values;

static ALL: Statement = Statement::new(|| SINK.all("name"));

#[async_trait]
impl Sinks for Postgres {
    async fn sinks(&self) -> port::Result<Vec<Progress>> {
        self.readers.all(&ALL, &values![], rows::progress).await
    }
}
