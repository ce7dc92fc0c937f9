//! Digital wallet tokens.

use cardveil_core::card::LastFour;
use cardveil_core::id::{CardId, WalletTokenId};
use cardveil_core::port::ListedToken;
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::cards::{index_key, index_key_column};
use crate::sql::table::Table;
use crate::sql::value::{Name, Row};

pub(crate) const WALLET_TOKEN: Table<WalletToken> = Table {
    name: "wallet_token",
    deciding: None,
    key: 1,
    fixed: 7,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("card", |it| it.card.as_bytes().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("pan_index", |it| it.pan_index.into()),
        ("wallet", |it| Name(it.device.wallet).into()),
        ("device_type", |it| Name(it.device.device_type).into()),
        ("device_id", |it| it.device.device_id.as_str().into()),
        ("state", |it| Name(it.state).into()),
        ("fulfilment", |it| Name(it.fulfilment).into()),
        ("created_at", |it| it.created_at.into()),
        ("updated_at", |it| it.updated_at.into()),
        ("index_key", |it| index_key_column(it.index_key).into()),
    ],
};

/// The columns of [`WALLET_TOKEN`].
macro_rules! wallet_token_columns {
    () => {
        "wallet_token.id, wallet_token.card, wallet_token.merchant, wallet_token.pan_index, \
         wallet_token.wallet, wallet_token.device_type, wallet_token.device_id, \
         wallet_token.state, wallet_token.fulfilment, wallet_token.created_at, \
         wallet_token.updated_at, wallet_token.index_key"
    };
}

pub(crate) use wallet_token_columns;

/// The columns that [`listed_token`] reads, with the tables that they are of.
macro_rules! listed_from {
    () => {
        concat!(
            $crate::sql::rows::wallet_token_columns!(),
            ", card.label, card.last_four
             FROM wallet_token JOIN card ON card.id = wallet_token.card"
        )
    };
}

pub(crate) use listed_from;

/// What a card number has, as seen from a device. By both of its indexes in one statement: a token
/// that moves from one to the other is counted once.
pub(crate) const CENSUS: &str = "SELECT count(*) FILTER (WHERE state IN ('ACTIVE', 'SUSPENDED')),
     count(*) FILTER (WHERE wallet = $3 AND device_id = $4
         AND state NOT IN ('TERMINATED', 'REQUEST_DECLINED'))
     FROM wallet_token WHERE pan_index IN ($1, $2)";

pub(crate) fn wallet_token<R: Row>(row: &R) -> Result<WalletToken, R::Fault> {
    Ok(WalletToken {
        id: WalletTokenId::from_bytes(row.get(0)?),
        card: CardId::from_bytes(row.get(1)?),
        merchant: row.text(2)?,
        pan_index: row.get(3)?,
        index_key: index_key(row, 11)?,
        device: Device {
            wallet: row.name(4)?,
            device_type: row.name(5)?,
            device_id: row.text(6)?,
        },
        state: row.name(7)?,
        fulfilment: row.name(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

pub(crate) fn listed_token<R: Row>(row: &R) -> Result<ListedToken, R::Fault> {
    Ok(ListedToken {
        token: wallet_token(row)?,
        label: row.get(12)?,
        last_four: row.name::<LastFour>(13)?,
    })
}

pub(crate) fn census<R: Row>(row: &R) -> Result<Census, R::Fault> {
    let on_device: i64 = row.get(1)?;
    Ok(Census {
        counted: row.get::<i64>(0)?.try_into().unwrap_or(usize::MAX),
        on_device: on_device > 0,
    })
}
