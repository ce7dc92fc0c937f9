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

use super::kept::{COUNTED, Count, are_whole, count};
use super::lookups::{By, Lookup, Lookups};
use super::rows::{
    self, CARD, CARD_COLUMNS, CREDENTIAL, EMBED, LIVES_END, MERCHANT, lives_columns,
};
use super::table::Statement;
use super::value::{Json, Row, Text, Value, values};
use super::{Loads, Sql};
use crate::Store;

impl<B: Sql> RegistryRows for Loads<'_, B> {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>> {
        static FIND: Statement = Statement::new(|| MERCHANT.find());
        self.row(&MERCHANT, &FIND, values![id.as_str()], |row| {
            rows::merchant(row, 0)
        })
    }

    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| MERCHANT.add());
        self.add_row(&MERCHANT, &ADD, merchant)
    }

    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| MERCHANT.save());
        self.save_row(&MERCHANT, &SAVE, merchant)
    }

    /// A rewrap changes a credential too, so its row is held.
    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", CREDENTIAL.find()));
        self.row(&CREDENTIAL, &FIND, values![id.as_str()], |row| {
            rows::credential(row)
        })
    }

    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool> {
        const SQL: &str = "SELECT 1 FROM credential WHERE key_hash = $1 AND id <> $2";
        let others = self.first(SQL, values![key_hash, id.as_str()], |_| Ok(()))?;
        Ok(others.is_some())
    }

    fn add_credential(&self, credential: &Credential) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| CREDENTIAL.add());
        self.add_row(&CREDENTIAL, &ADD, credential)
    }

    fn save_credential(&self, credential: &Credential) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| CREDENTIAL.save());
        self.save_row(&CREDENTIAL, &SAVE, credential)
    }

    /// What tokens live by is not changed by it, and adapters count changes of that.
    fn save_allowlist(&self, credential: &Credential) -> Loaded<()> {
        const SQL: &str =
            "UPDATE credential SET allowed_ips = $2, row_version = $3, mac = $4 WHERE id = $1";
        let values = self.values_of(&CREDENTIAL, credential)?;
        let guards = values.get(CREDENTIAL.columns.len()..).unwrap_or_default();
        let networks = Json(&credential.allowed_ips);
        let changed = values![credential.id.as_str(), networks];
        self.send(SQL, [&changed, guards].concat())
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
        self.row(&EMBED, &FIND, values![id.as_str()], |row| rows::embed(row))
    }

    fn add_embed(&self, embed: &Embed) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| EMBED.add());
        self.add_row(&EMBED, &ADD, embed)
    }

    fn save_embed(&self, embed: &Embed) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| EMBED.save());
        self.save_row(&EMBED, &SAVE, embed)
    }
}

/// What a token lives by, by credential, merchant and embed: all three, whether they are there.
pub(crate) static LIVES: Lookup = Lookup::new(|| {
    let columns = lives_columns();
    By {
        one: format!(
            "SELECT {columns}, $1, $2, $3, {COUNTED} FROM (SELECT 1)
                 LEFT JOIN credential ON credential.id = $1 AND credential.merchant = $2
                 LEFT JOIN merchant ON merchant.id = $2
                 LEFT JOIN embed ON embed.id = $3"
        ),
        many: format!(
            "SELECT {columns}, wanted.credential, wanted.merchant, wanted.embed, {COUNTED},
                 wanted.place
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
                &format!("{credential}, {merchant}, {COUNTED}"),
                "credential",
                &[("key_hash", "bytea")],
                "LEFT JOIN merchant ON merchant.id = credential.merchant",
            )
        });
        let read = |row: &D::Row<'_>| {
            let at = CREDENTIAL.width();
            let has_merchant: Option<Text<MerchantId>> = row.get(at)?;
            let merchant = match has_merchant {
                Some(_) => MERCHANT.load(self.macs(), row, at, || rows::merchant(row, at))?,
                None => None,
            };
            let count = count(row, at + MERCHANT.width())?;
            let credential = CREDENTIAL.load(self.macs(), row, 0, || rows::credential(row))?;
            let admission = |credential| Admission {
                credential,
                merchant,
                epoch: count.epoch,
            };
            Ok((count, credential.map(admission)))
        };
        let is_it = |(_, found): &(Count, Option<Admission>)| {
            let found = found.as_ref();
            found.is_none_or(|found| found.credential.key_hash == *key_hash)
        };
        let kept = (&self.registered().admissions, *key_hash);
        let is_whole = |found: &Admission| found.merchant.is_some();
        let found = self.find(&BY_KEY, values![key_hash].into(), read, is_it);
        self.find_kept(kept, is_whole, found).await
    }

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        static BY_ID: Lookup = Lookup::new(|| {
            let columns = format!("{}, {COUNTED}", EMBED.select());
            By::new(&columns, "embed", &[("id", "text")], "")
        });
        let read = |row: &D::Row<'_>| {
            let found = EMBED.load(self.macs(), row, 0, || rows::embed(row))?;
            Ok((count(row, EMBED.width())?, found))
        };
        let is_it = |(_, found): &(Count, Option<Embed>)| {
            found.as_ref().is_none_or(|found| found.id == *id)
        };
        let kept = (&self.registered().embeds, id.clone());
        let found = self.find(&BY_ID, values![id.as_str()].into(), read, is_it);
        self.find_kept(kept, |_| true, found).await
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        static BY_ID: Lookup =
            Lookup::new(|| By::new(&MERCHANT.select(), "merchant", &[("id", "text")], ""));
        let key = values![id.as_str()].into();
        let read = |row: &D::Row<'_>| MERCHANT.load(self.macs(), row, 0, || rows::merchant(row, 0));
        let is_it = |found: &Option<Merchant>| found.as_ref().is_none_or(|it| it.id == *id);
        Ok(self.find(&BY_ID, key, read, is_it).await?.flatten())
    }

    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        let read = |row: &D::Row<'_>| {
            let found = (count(row, LIVES_END + 3)?, rows::lives(self.macs(), row)?);
            Ok((rows::lives_of(row)?, found))
        };
        let is_it = |(whose, _): &(LivesOf, _)| whose == of;
        let look_up = async {
            let found = self.find(&LIVES, lives_key(of), read, is_it).await?;
            Ok(found.map(|(_, (count, lives))| (count, Some(lives))))
        };
        let kept = (&self.registered().lives, of.clone());
        let found = self.find_kept(kept, are_whole, look_up).await?;
        Ok(found.unwrap_or_default())
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
        let is_of = |found: &Card| {
            found.merchant == *merchant
                && match card {
                    CardRef::No(no) => found.no == *no,
                    CardRef::Id(id) => found.id == *id,
                }
        };
        let is_it = |found: &Option<Card>| found.as_ref().is_none_or(is_of);
        let read = |row: &D::Row<'_>| {
            let found = CARD.load(self.macs(), row, 0, || rows::card(row))?;
            if found.is_some()
                && let Some((key, seen)) = CARD.as_guarded(row, rows::card_seen(row)?)?
            {
                self.checked().cards.note(key, seen);
            }
            Ok(found)
        };
        Ok(self.find(by, key.into(), read, is_it).await?.flatten())
    }
}

#[async_trait]
impl<D: Lookups> Admin for Store<D> {
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        static SQL: Statement = Statement::new(|| MERCHANT.all("id"));
        self.list(&MERCHANT, &SQL, |row| rows::merchant(row, 0))
            .await
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        static SQL: Statement = Statement::new(|| CREDENTIAL.all("id"));
        self.list(&CREDENTIAL, &SQL, |row| rows::credential(row))
            .await
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        const SQL: &str = "SELECT credential, used_at FROM credential_use";
        let read = |row: &D::Row<'_>| {
            let used = row.text(0).and_then(|id| Ok((id, row.get(1)?)));
            row.keep(self.0.left_out(), "credential_use", used)
        };
        let uses = self.all(SQL, [], read).await?;
        Ok(uses.into_iter().flatten().collect())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        static SQL: Statement = Statement::new(|| EMBED.all("id"));
        self.list(&EMBED, &SQL, |row| rows::embed(row)).await
    }

    async fn time(&self) -> Result<Option<Time>> {
        self.0.time().await
    }

    async fn epoch(&self) -> Result<Epoch> {
        self.0.epoch().await
    }

    fn left_out(&self) -> Vec<String> {
        let altered = self.macs().all_altered().into_iter();
        let altered = altered.map(|(table, key)| format!("{table} {key}"));
        let mut all: Vec<_> = self.0.left_out().all().into_iter().chain(altered).collect();
        all.sort();
        all
    }

    fn writes(&self) -> Writes {
        self.0.writes()
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}
