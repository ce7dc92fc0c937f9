//! Class keys, and where the records under them are.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which an
//! adapter finds it are those of its indexes.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::card::{Field, SealedCard};
use cardveil_core::id::{CardId, PersonId, SubscriptionId};
use cardveil_core::keys::{
    ClassKey, Envelope, IndexPage, IndexedCards, Moved, Reindexed, Slot, Sought, Use,
};
use cardveil_core::mfa::Totp;
use cardveil_core::port::rows::{CardRows as _, FactorRows as _, GuardRows as _, KeyRows, Loaded};
use cardveil_core::port::{Class, Keys, Result};
use cardveil_core::vault::RowMacs;

use super::lookups::Lookups;
use super::rows::{self, CARD, CLASS_KEY, CLASS_KEYS, index_key_column};
use super::table::Statement;
use super::value::{Json, Row, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

/// The columns of what a card's own DEK seals.
pub(crate) static CARD_FIELDS: Statement =
    Statement::new(|| SealedCard::UNDER_DEK.map(Field::as_str).join(", "));

/// The kinds of records that have a wrapped DEK.
#[derive(Clone, Copy)]
pub(crate) enum RecordKind {
    Card,
    Cvv,
    Pin,
    Credential,
    Totp,
    WebhookSecret,
    WebhookAuthorization,
}

pub(crate) const fn record_kinds(class: Class) -> &'static [RecordKind] {
    match class {
        Class::Pan => &[RecordKind::Card],
        Class::Cvv => &[RecordKind::Cvv],
        Class::Pin => &[RecordKind::Pin],
        Class::Credential => &[
            RecordKind::Credential,
            RecordKind::Totp,
            RecordKind::WebhookSecret,
            RecordKind::WebhookAuthorization,
        ],
        Class::Index | Class::Access | Class::Manifest | Class::Audit | Class::Cvk | Class::Row => {
            &[]
        }
    }
}

impl RecordKind {
    /// What is under a version, from the columns that an adapter's statement for the place names.
    pub(crate) fn envelope<R: Row>(self, row: &R) -> std::result::Result<Envelope, R::Fault> {
        if let Self::Totp = self {
            return totp(row);
        }
        let merchant = row.text(1)?;
        let card = || row.get(0).map(CardId::from_bytes);
        let subscription = || row.get(0).map(SubscriptionId::from_bytes);
        let (slot, fields) = match self {
            Self::Card => (
                Slot::Card(card()?, merchant),
                3..3 + SealedCard::UNDER_DEK.len(),
            ),
            Self::Cvv => (Slot::Cvv(card()?, merchant), 3..4),
            Self::Pin => (Slot::Pin(card()?, merchant), 3..4),
            Self::Credential | Self::Totp => (Slot::Credential(row.text(0)?, merchant), 3..4),
            Self::WebhookSecret => (Slot::WebhookSecret(subscription()?, merchant), 3..4),
            Self::WebhookAuthorization => {
                (Slot::WebhookAuthorization(subscription()?, merchant), 3..4)
            }
        };
        Ok(Envelope {
            slot,
            dek: row.get(2)?,
            sealed: fields
                .map(|field| row.get(field))
                .collect::<std::result::Result<_, _>>()?,
        })
    }
}

fn totp<R: Row>(row: &R) -> std::result::Result<Envelope, R::Fault> {
    let Json(totp): Json<Totp> = row.get(2)?;
    Ok(Envelope {
        slot: Slot::Totp(row.text(0)?, PersonId::from_bytes(row.get(1)?), totp.id),
        dek: totp.sealed.dek,
        sealed: vec![totp.sealed.sealed],
    })
}

impl<B: Sql> KeyRows for Loads<'_, B> {
    fn class_keys(&self) -> Loaded<Vec<ClassKey>> {
        let keys = self.all(&CLASS_KEYS, [], |row| {
            self.load(&CLASS_KEY, row, || rows::class_key(row))
        })?;
        Ok(keys.into_iter().flatten().collect())
    }

    fn has_class_keys(&self) -> Loaded<bool> {
        let found = self.first("SELECT 1 FROM wrapped_key LIMIT 1", [], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn save_class_key(&self, key: &ClassKey) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| CLASS_KEY.put());
        self.send(&PUT, self.values_of(&CLASS_KEY, key)?)
    }

    fn is_retired(&self, class: Class, version: u32) -> Loaded<bool> {
        const SQL: &str = "SELECT retired_at IS NOT NULL FROM wrapped_key
             WHERE class = $1 AND version = $2 FOR SHARE";
        let retired = self.first(SQL, values![class.code(), version], |row| row.get(0))?;
        Ok(retired.unwrap_or(false))
    }

    fn has_records(&self, class: Class, version: u32) -> Loaded<bool> {
        if class == Class::Row {
            return self.has_guarded(version);
        }
        // Before it is looked whether there are any: from here on none is added.
        if self.0.has_records(class, version).map_err(Into::into)? {
            return Ok(true);
        }
        Ok(class == Class::Index && self.has_indexed(version)?)
    }

    fn move_envelope(&self, one: &Moved) -> Loaded<bool> {
        let sealed = |at: usize| one.sealed.as_ref().and_then(|sealed| sealed.get(at));
        let (was, dek) = (&one.was, &one.dek);
        let changed = match &one.slot {
            Slot::Card(id, _) => {
                static MOVE: Statement = Statement::new(|| {
                    let fields = (4..).zip(SealedCard::UNDER_DEK.map(Field::as_str));
                    let set = fields.map(|(at, name)| format!(", {name} = coalesce(${at}, {name})"));
                    let set: String = set.collect();
                    format!("UPDATE card SET dek = $3{set} WHERE id = $1 AND dek = $2")
                });
                let mut values = values![id.as_bytes(), was, dek].to_vec();
                values.extend((0..SealedCard::UNDER_DEK.len()).map(|at| sealed(at).into()));
                self.execute(&MOVE, values)?
            }
            Slot::Cvv(id, _) => self.execute(
                "UPDATE card SET cvv_dek = $3, cvv = coalesce($4, cvv) WHERE id = $1 AND cvv_dek = $2",
                values![id.as_bytes(), was, dek, sealed(0)],
            )?,
            Slot::Pin(id, _) => self.execute(
                "UPDATE card SET pin_dek = $3, pin = coalesce($4, pin) WHERE id = $1 AND pin_dek = $2",
                values![id.as_bytes(), was, dek, sealed(0)],
            )?,
            Slot::Credential(id, _) => self.execute(
                "UPDATE credential SET dek = $3, sealed = coalesce($4, sealed)
                 WHERE id = $1 AND dek = $2",
                values![id.as_str(), was, dek, sealed(0)],
            )?,
            Slot::WebhookSecret(id, _) => self.execute(
                "UPDATE subscription SET secret_dek = $3, secret = coalesce($4, secret)
                 WHERE id = $1 AND secret_dek = $2",
                values![id.as_bytes(), was, dek, sealed(0)],
            )?,
            Slot::WebhookAuthorization(id, _) => self.execute(
                "UPDATE subscription SET authorization_dek = $3,
                     \"authorization\" = coalesce($4, \"authorization\")
                 WHERE id = $1 AND authorization_dek = $2",
                values![id.as_bytes(), was, dek, sealed(0)],
            )?,
            Slot::Totp(merchant, person, factor) => {
                let is_it = |totp: &Totp| totp.id == *factor && totp.sealed.dek == *was;
                let Some(mut row) = self.person(merchant, person)? else {
                    return Ok(false);
                };
                let Some(totp) = row.totp.as_mut().filter(|totp| is_it(totp)) else {
                    return Ok(false);
                };
                totp.sealed.dek.clone_from(dek);
                if let Some(sealed) = sealed(0) {
                    totp.sealed.sealed.clone_from(sealed);
                }
                self.save_person(&row)?;
                1
            }
        };
        Ok(changed == 1)
    }

    fn move_index(&self, moved: &Reindexed, index_key: u32) -> Loaded<bool> {
        static MOVE: Statement = Statement::new(|| {
            "UPDATE card SET pan_index = $2, index_key = $3, row_version = $4, mac = $5
             WHERE id = $1"
                .into()
        });
        const FOLLOW: &str =
            "UPDATE wallet_token SET pan_index = $2, index_key = $3 WHERE card = $1";
        let Some(mut card) = self.card_of_any_merchant(moved.card)? else {
            return Ok(false);
        };
        if card.sealed.pan_index != moved.was {
            return Ok(false);
        }
        card.sealed.pan_index = moved.index;
        card.sealed.index_key = index_key;
        let mut values = self.values_at(&CARD, &card, false)?;
        let guards = values.split_off(CARD.columns.len());
        let key = index_key_column(index_key);
        let index = values![card.id.as_bytes(), moved.index, key];
        self.send(&MOVE, [&index[..], &guards].concat())?;
        self.send(FOLLOW, index)?;
        Ok(true)
    }
}

impl<B: Sql> Loads<'_, B> {
    /// Whether the index of a card or of a digital wallet token is under a version.
    fn has_indexed(&self, version: u32) -> Loaded<bool> {
        for sql in [
            "SELECT 1 FROM card WHERE coalesce(index_key, 1) = $1 LIMIT 1",
            "SELECT 1 FROM wallet_token WHERE coalesce(index_key, 1) = $1 LIMIT 1",
        ] {
            if self.first(sql, values![version], |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[async_trait]
impl<D: Lookups> Keys for Store<D> {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        let keys = self.list(&CLASS_KEY, &CLASS_KEYS, |row| rows::class_key(row));
        let keys = keys.await?;
        self.macs().learn(&keys);
        Ok(keys)
    }

    async fn is_finished(&self) -> Result<bool> {
        self.0.is_finished().await
    }

    fn row_macs(&self) -> Arc<RowMacs> {
        Arc::clone(self.macs())
    }

    async fn key_uses(&self) -> Result<Vec<Use>> {
        let counted = self.uses().await?.into_iter();
        // What names no version is none of ours, and will not open.
        let uses = counted.filter_map(|(class, version, records)| {
            Some(Use {
                class,
                version: u32::from_be_bytes(version.try_into().ok()?),
                records: records.unsigned_abs(),
            })
        });
        Ok(uses.collect())
    }

    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>> {
        let mut found = Vec::new();
        for place in record_kinds(sought.class) {
            let limit = sql_count(sought.limit - found.len());
            found.extend(self.under(*place, sought.version, limit).await?);
        }
        Ok(found)
    }

    async fn indexed_cards(&self, version: u32, page: IndexPage) -> Result<IndexedCards> {
        // All of them in the order of the key: no plan for this goes by anything else.
        static PAGE: Statement = Statement::new(|| {
            let columns = CARD.select();
            format!("SELECT {columns} FROM card WHERE id > $1 ORDER BY id LIMIT $2")
        });
        let after = page
            .after
            .map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let values = values![after, sql_count(page.limit)];
        let load = |row: &D::Row<'_>| {
            let card = CARD.load(self.0.macs(), row, 0, || rows::card(row))?;
            Ok((CardId::from_bytes(row.get(0)?), card))
        };
        let found = self.0.all(&PAGE, values, load).await?;
        let is_full = found.len() == page.limit;
        let last = found.last().map(|(id, _)| *id).filter(|_| is_full);
        let altered = found.iter().filter(|(_, card)| card.is_none()).count();
        let cards = found.into_iter().filter_map(|(_, card)| card);
        Ok(IndexedCards {
            cards: cards
                .filter(|card| card.sealed.index_key == version)
                .collect(),
            altered,
            last,
        })
    }
}
