//! Merchants, credentials and embeds, and what a caller and a token live by.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cardveil_core::card::{Card, CardRef};
use cardveil_core::clock::Time;
use cardveil_core::id::{CredentialId, EmbedId, MerchantId};
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::port::rows::{Loaded, RegistryRows};
use cardveil_core::port::{Admin, Load, Registry, Result, Writes};
use cardveil_core::token::{Epoch, Lives, LivesOf};

use super::lookups::{By, Lookup, Lookups};
use super::rows::{self, CARD_COLUMNS, CREDENTIAL, EMBED, MERCHANT, lives_columns};
use super::table::Statement;
use super::value::{Json, Row as _, Text, Value, values};
use super::{Loads, Sql};
use crate::Store;

impl<B: Sql> RegistryRows for Loads<'_, B> {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>> {
        static FIND: Statement = Statement::new(|| MERCHANT.find());
        self.first(&FIND, values![id.as_str()], |row| rows::merchant(row, 0))
    }

    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| MERCHANT.add());
        self.add(&ADD, MERCHANT.values(merchant))
    }

    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| MERCHANT.save());
        self.send(&SAVE, MERCHANT.changes(merchant))
    }

    /// A rewrap changes a credential too, so its row is held.
    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", CREDENTIAL.find()));
        self.first(&FIND, values![id.as_str()], |row| rows::credential(row))
    }

    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool> {
        const SQL: &str = "SELECT 1 FROM credential WHERE key_hash = $1 AND id <> $2";
        let others = self.first(SQL, values![key_hash, id.as_str()], |_| Ok(()))?;
        Ok(others.is_some())
    }

    fn add_credential(&self, credential: &Credential) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| CREDENTIAL.add());
        self.add(&ADD, CREDENTIAL.values(credential))
    }

    fn save_credential(&self, credential: &Credential) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| CREDENTIAL.save());
        self.send(&SAVE, CREDENTIAL.changes(credential))
    }

    /// What tokens live by is not changed by it, and adapters count changes of that.
    fn save_allowlist(&self, credential: &Credential) -> Loaded<()> {
        const SQL: &str = "UPDATE credential SET allowed_ips = $2 WHERE id = $1";
        let networks = Json(&credential.allowed_ips);
        self.send(SQL, values![credential.id.as_str(), networks])
    }

    /// In the order of the ids, so that nodes that write the same rows do not wait for each other.
    fn save_uses(&self, uses: &BTreeMap<CredentialId, Time>) -> Loaded<()> {
        const PUT: &str = "INSERT INTO credential_use (credential, used_at) VALUES ($1, $2)
             ON CONFLICT (credential) DO UPDATE SET used_at = excluded.used_at";
        for (credential, at) in uses {
            self.send(PUT, values![credential.as_str(), *at])?;
        }
        Ok(())
    }

    fn embed(&self, id: &EmbedId) -> Loaded<Option<Embed>> {
        static FIND: Statement = Statement::new(|| EMBED.find());
        self.first(&FIND, values![id.as_str()], |row| rows::embed(row))
    }

    fn add_embed(&self, embed: &Embed) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| EMBED.add());
        self.add(&ADD, EMBED.values(embed))
    }

    fn save_embed(&self, embed: &Embed) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| EMBED.save());
        self.send(&SAVE, EMBED.changes(embed))
    }
}

/// What a token lives by, by credential, merchant and embed: all three, whether they are there.
pub(crate) static LIVES: Lookup = Lookup::new(|| {
    const COLUMNS: &str = lives_columns!();
    By {
        one: format!(
            "SELECT {COLUMNS}, $1, $2, $3 FROM (SELECT 1)
                 LEFT JOIN credential ON credential.id = $1 AND credential.merchant = $2
                 LEFT JOIN merchant ON merchant.id = $2
                 LEFT JOIN embed ON embed.id = $3"
        ),
        many: format!(
            "SELECT {COLUMNS}, wanted.credential, wanted.merchant, wanted.embed, wanted.place
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                     AS wanted (credential, merchant, embed, place)
                 LEFT JOIN LATERAL (SELECT * FROM credential
                     WHERE id = wanted.credential AND merchant = wanted.merchant LIMIT 1)
                     AS credential ON true
                 LEFT JOIN LATERAL (SELECT * FROM merchant WHERE id = wanted.merchant LIMIT 1)
                     AS merchant ON true
                 LEFT JOIN LATERAL (SELECT * FROM embed WHERE id = wanted.embed LIMIT 1)
                     AS embed ON true"
        ),
    }
});

/// The keys of [`LIVES`].
pub(crate) fn lives_key(of: &LivesOf) -> Vec<Value> {
    let keys = values![
        of.credential.as_str(),
        of.merchant.as_str(),
        of.embed.as_str()
    ];
    keys.into()
}

#[async_trait]
impl<D: Lookups> Registry for Store<D> {
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>> {
        static BY_KEY: Lookup = Lookup::new(|| {
            let (credential, merchant) = (CREDENTIAL.select(), MERCHANT.select());
            By::new(
                &format!("{credential}, {merchant}, (SELECT epoch FROM meta)"),
                "credential",
                &[("key_hash", "bytea")],
                "LEFT JOIN merchant ON merchant.id = credential.merchant",
            )
        });
        let admission = |row: &D::Row<'_>| {
            let at = CREDENTIAL.columns.len();
            let has_merchant: Option<Text<MerchantId>> = row.get(at)?;
            let merchant = has_merchant.map(|_| rows::merchant(row, at)).transpose()?;
            Ok(Admission {
                credential: rows::credential(row)?,
                merchant,
                epoch: Epoch(row.get(at + MERCHANT.columns.len())?),
            })
        };
        let is_it = |found: &Admission| found.credential.key_hash == *key_hash;
        self.find(&BY_KEY, values![key_hash].into(), admission, is_it)
            .await
    }

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        static BY_ID: Lookup =
            Lookup::new(|| By::new(&EMBED.select(), "embed", &[("id", "text")], ""));
        let key = values![id.as_str()].into();
        self.find(&BY_ID, key, |row| rows::embed(row), |it| it.id == *id)
            .await
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        static BY_ID: Lookup =
            Lookup::new(|| By::new(&MERCHANT.select(), "merchant", &[("id", "text")], ""));
        let key = values![id.as_str()].into();
        self.find(&BY_ID, key, |row| rows::merchant(row, 0), |it| it.id == *id)
            .await
    }

    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        let read = |row: &D::Row<'_>| Ok((rows::lives_of(row)?, rows::lives(row)?));
        let is_it = |(whose, _): &(LivesOf, Lives)| whose == of;
        let found = self.find(&LIVES, lives_key(of), read, is_it).await?;
        Ok(found.map_or_else(Lives::default, |(_, lives)| lives))
    }

    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>> {
        fn by(key: (&str, &str)) -> By {
            By::new(&CARD_COLUMNS, "card", &[("merchant", "text"), key], "")
        }
        static BY_NO: Lookup = Lookup::new(|| by(("no", "text")));
        static BY_ID: Lookup = Lookup::new(|| by(("id", "bytea")));
        let (by, key) = match card {
            CardRef::No(no) => (&BY_NO, values![merchant.as_str(), no.as_str()]),
            CardRef::Id(id) => (&BY_ID, values![merchant.as_str(), id.as_bytes()]),
        };
        let is_it = |found: &Card| {
            found.merchant == *merchant
                && match card {
                    CardRef::No(no) => found.no == *no,
                    CardRef::Id(id) => found.id == *id,
                }
        };
        self.find(by, key.into(), |row| rows::card(row), is_it)
            .await
    }
}

#[async_trait]
impl<D: Lookups> Admin for Store<D> {
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        static SQL: Statement = Statement::new(|| MERCHANT.all("id"));
        self.list("merchant", &SQL, |row| rows::merchant(row, 0))
            .await
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        static SQL: Statement = Statement::new(|| CREDENTIAL.all("id"));
        self.list("credential", &SQL, |row| rows::credential(row))
            .await
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        const SQL: &str = "SELECT credential, used_at FROM credential_use";
        let uses = self.list("credential_use", SQL, |row| Ok((row.text(0)?, row.get(1)?)));
        Ok(uses.await?.into_iter().collect())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        static SQL: Statement = Statement::new(|| EMBED.all("id"));
        self.list("embed", &SQL, |row| rows::embed(row)).await
    }

    async fn time(&self) -> Result<Option<Time>> {
        self.0.time().await
    }

    async fn epoch(&self) -> Result<Epoch> {
        self.0.epoch().await
    }

    fn left_out(&self) -> Vec<String> {
        self.0.left_out().all()
    }

    fn writes(&self) -> Writes {
        self.0.writes()
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}
