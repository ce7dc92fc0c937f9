//! A SQLite database is of one node, so there is nobody to tell what it has admitted, and no table.

use async_trait::async_trait;
use cardveil_core::port::{Counters, Heard, Result, Told};

use super::Sqlite;

#[async_trait]
impl Counters for Sqlite {
    async fn exchange(&self, _told: Told, _heard: &Heard) -> Result<Option<Vec<Told>>> {
        Ok(None)
    }
}
