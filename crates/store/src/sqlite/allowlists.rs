//! Changes that credentials make to their own lists of networks.

use async_trait::async_trait;
use cardveil_core::merchant::allowlist::{AllowlistChange, AllowlistChanged};
use cardveil_core::port::{self, Allowlists};
use rusqlite::params;

use super::Sqlite;
use super::fault::Fault;
use super::rows::{self, Json, credential_columns};
use super::writer::Batch;

#[async_trait]
impl Allowlists for Sqlite {
    async fn change_allowlist(&self, change: AllowlistChange) -> port::Result<AllowlistChanged> {
        let work = move |batch: &Batch<'_>| apply(batch, &change);
        self.writer.submit(work).await
    }
}

fn apply(batch: &Batch<'_>, change: &AllowlistChange) -> Result<AllowlistChanged, Fault> {
    const FIND: &str = concat!(
        "SELECT ",
        credential_columns!(),
        " FROM credential WHERE id = ?1"
    );
    let row = batch.first(FIND, [change.credential.as_str()], rows::credential)?;
    let decided = change.decide(row.as_ref());
    if let Some((next, event)) = &decided.write {
        batch.execute(
            "UPDATE credential SET allowed_ips = ?2 WHERE id = ?1",
            params![next.id.as_str(), Json(&next.allowed_ips)],
        )?;
        batch.log(event)?;
    }
    Ok(decided.verdict)
}
