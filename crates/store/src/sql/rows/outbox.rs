//! Subscriptions and deliveries.

use cardveil_core::hook::{self, Delivery, Subscription, Tried};
use cardveil_core::id::{AccountId, CredentialId, DeliveryId, SubscriptionId};
use cardveil_core::merchant::SealedSecret;

use crate::sql::deciding::{Deciding, Keeps, Places, Unchecked};
use crate::sql::table::Table;
use crate::sql::value::{Column, Json, Name, Row, Text};

pub(crate) const SUBSCRIPTION: Table<Subscription> = Table {
    name: "subscription",
    deciding: Some(Deciding {
        sealed: Places::NONE.with(7, 11),
        keeps: Keeps::All,
    }),
    key: 1,
    fixed: 2,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("account", |it| {
            it.account.as_ref().map(AccountId::as_str).into()
        }),
        ("form", |it| Name(it.form).into()),
        ("url", |it| it.url.as_str().into()),
        ("topics", |it| Json(&it.topics).into()),
        ("enabled", |it| it.enabled.into()),
        ("secret_dek", |it| {
            it.secret.as_ref().map(|it| &it.dek).into()
        }),
        ("secret", |it| {
            it.secret.as_ref().map(|it| &it.sealed).into()
        }),
        ("authorization_dek", |it| {
            it.authorization.as_ref().map(|it| &it.dek).into()
        }),
        ("\"authorization\"", |it| {
            it.authorization.as_ref().map(|it| &it.sealed).into()
        }),
        ("credential", |it| {
            it.credential.as_ref().map(CredentialId::as_str).into()
        }),
        ("created_at", |it| it.created_at.into()),
        ("updated_at", |it| it.updated_at.into()),
    ],
};

pub(crate) fn subscription<R: Row>(row: &R) -> Result<Unchecked<Subscription>, R::Fault> {
    let sealed = |dek: usize| -> Result<Option<SealedSecret>, R::Fault> {
        let (wrapped, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.get(dek)?, row.get(dek + 1)?);
        Ok(wrapped
            .zip(sealed)
            .map(|(dek, sealed)| SealedSecret { dek, sealed }))
    };
    let account: Option<Text<_>> = row.get(2)?;
    let credential: Option<Text<_>> = row.get(11)?;
    Ok(Unchecked::new(Subscription {
        id: SubscriptionId::from_bytes(row.get(0)?),
        merchant: row.text(1)?,
        account: account.map(|Text(id)| id),
        form: row.name(3)?,
        url: row.text(4)?,
        topics: row.json(5)?,
        enabled: row.get(6)?,
        secret: sealed(7)?,
        authorization: sealed(9)?,
        credential: credential.map(|Text(id)| id),
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    }))
}

macro_rules! delivery_columns {
    () => {
        "delivery.id, delivery.subscription, delivery.merchant, delivery.line, delivery.seq, \
         delivery.topic, delivery.queued_at, delivery.since, delivery.attempts, delivery.due_at, \
         delivery.leased_until, delivery.state, delivery.ended_at, delivery.last"
    };
}
pub(crate) use delivery_columns;

/// The name of a delivery's state.
enum DeliveryState {
    Waiting,
    Delivered,
    Failed,
}

impl Column for DeliveryState {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        match &*raw {
            "waiting" => Ok(Self::Waiting),
            "delivered" => Ok(Self::Delivered),
            "failed" => Ok(Self::Failed),
            _ => Err("a delivery in no known state".into()),
        }
    }
}
pub(crate) fn delivery<R: Row>(row: &R) -> Result<Delivery, R::Fault> {
    let state = match row.get(11)? {
        DeliveryState::Waiting => hook::State::Waiting,
        DeliveryState::Delivered => hook::State::Delivered(row.get(12)?),
        DeliveryState::Failed => hook::State::Failed(row.get(12)?),
    };
    let last: Option<Json<Tried>> = row.get(13)?;
    Ok(Delivery {
        id: DeliveryId::from_bytes(row.get(0)?),
        subscription: SubscriptionId::from_bytes(row.get(1)?),
        merchant: row.text(2)?,
        line: row.text(3)?,
        seq: row.get(4)?,
        topic: row.name(5)?,
        queued_at: row.get(6)?,
        since: row.get(7)?,
        attempts: row.get(8)?,
        due_at: row.get(9)?,
        leased_until: row.get(10)?,
        state,
        last: last.map(|Json(tried)| tried),
    })
}
