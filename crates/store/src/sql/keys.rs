//! Class keys, and where the records under them are.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which an
//! adapter finds it are those of its indexes.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::card::{Field, SealedCard};
use cardveil_core::id::{CardId, PersonId, SubscriptionId};
use cardveil_core::keys::{ClassKey, Envelope, Moved, Slot, Sought, Use};
use cardveil_core::mfa::Totp;
use cardveil_core::port::rows::{FactorRows as _, GuardRows as _, KeyRows, Loaded};
use cardveil_core::port::{Class, Keys, Result};
use cardveil_core::vault::RowMacs;

use super::lookups::Lookups;
use super::rows::{self, CLASS_KEY, CLASS_KEYS};
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
        self.0.has_records(class, version).map_err(Into::into)
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
}

#[async_trait]
impl<D: Lookups> Keys for Store<D> {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        let keys = self.list(&CLASS_KEY, &CLASS_KEYS, |row| rows::class_key(row));
        let keys = keys.await?;
        self.macs().learn(&keys);
        Ok(keys)
    }

    async fn guards_rows(&self) -> Result<bool> {
        self.0.guards_rows().await
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
}
