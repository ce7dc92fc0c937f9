//! The operators' writes: the registry, the epoch and the wrapped keys, each inside a batch.

use cardveil_core::audit::Event;
use cardveil_core::card::Card;
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::{Credential, Embed, Merchant};
use cardveil_core::port::{Change, Error, Set, Taken};
use cardveil_core::token::Epoch;
use rusqlite::{Params, params};

use super::fault::Fault;
use super::rows::{self, Json, Name, credential_columns, embed_columns, merchant_columns};
use super::writer::Batch;
use super::{keys, outbox};
use crate::epoch;

/// Whether SQLite could, and then whether the change was refused.
type Made = Result<Result<(), Taken>, Fault>;

pub(super) fn change_all(
    batch: &Batch<'_>,
    changes: &[(Change, Event)],
) -> Result<Vec<Result<(), Taken>>, Fault> {
    for (change, _) in changes {
        keys::refuse_retired(batch, change.deks())?;
    }
    changes
        .iter()
        .map(|(change, event)| {
            let made = make(batch, change)?;
            if made.is_ok() {
                batch.log(&change.record(event))?;
            }
            Ok(made)
        })
        .collect()
}

fn make(batch: &Batch<'_>, change: &Change) -> Made {
    match change {
        Change::AddMerchant(merchant) => add_merchant(batch, merchant),
        Change::SetMerchant(set) => set_merchant(batch, set),
        Change::AddCredential(credential) => of_merchant(batch, &credential.merchant, || {
            add_credential(batch, credential)
        }),
        Change::SetCredential(set) => {
            of_merchant(batch, &set.to.merchant, || set_credential(batch, set))
        }
        Change::AddEmbed(embed) => of_merchant(batch, &embed.merchant, || add_embed(batch, embed)),
        Change::SetEmbed(set) => of_merchant(batch, &set.to.merchant, || set_embed(batch, set)),
        Change::AddCard(card) => of_merchant(batch, &card.merchant, || add_card(batch, card)),
        Change::AddSubscription(new) => {
            of_merchant(batch, &new.merchant, || outbox::add(batch, new))
        }
        Change::RemoveSubscription(id) => outbox::remove(batch, *id),
    }
}

/// Foreign keys guard it too; asking first tells what is missing without failing the batch.
fn of_merchant(batch: &Batch<'_>, id: &MerchantId, make: impl FnOnce() -> Made) -> Made {
    let known = batch.first(
        "SELECT 1 FROM merchant WHERE id = ?1",
        [id.as_str()],
        |_| Ok(()),
    )?;
    match known {
        Some(()) => make(),
        None => Ok(Err(Taken::NoMerchant)),
    }
}

/// An insert that does nothing where a unique column is in use.
fn add(batch: &Batch<'_>, sql: &str, params: impl Params) -> Made {
    Ok(match batch.execute(sql, params)? {
        0 => Err(Taken::Exists),
        _ => Ok(()),
    })
}

/// An update of the one row that is there.
fn update(batch: &Batch<'_>, sql: &str, params: impl Params) -> Made {
    Ok(match batch.execute(sql, params)? {
        0 => Err(Taken::NoMerchant),
        _ => Ok(()),
    })
}

fn add_merchant(batch: &Batch<'_>, merchant: &Merchant) -> Made {
    add(
        batch,
        "INSERT INTO merchant (id, name, state, pci_enabled, created_at, wallets, mfa,
             may_export, may_read_pins, may_set_pins)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        merchant_params!(merchant),
    )
}

fn set_merchant(batch: &Batch<'_>, set: &Set<Merchant>) -> Made {
    const FIND: &str = concat!(
        "SELECT ",
        merchant_columns!(),
        " FROM merchant WHERE id = ?1"
    );
    let row = batch.first(FIND, [set.to.id.as_str()], |row| rows::merchant(row, 0))?;
    let merchant = match set.decide(row.as_ref()) {
        Ok(merchant) => merchant,
        Err(taken) => return Ok(Err(taken)),
    };
    update(
        batch,
        "UPDATE merchant SET name = ?2, state = ?3, pci_enabled = ?4, created_at = ?5,
             wallets = ?6, mfa = ?7, may_export = ?8, may_read_pins = ?9,
             may_set_pins = ?10
         WHERE id = ?1",
        merchant_params!(merchant),
    )
}

macro_rules! merchant_params {
    ($merchant:ident) => {
        params![
            $merchant.id.as_str(),
            $merchant.name,
            Name($merchant.state),
            $merchant.pci_enabled,
            $merchant.created_at.millis(),
            Json(&$merchant.wallets),
            Json($merchant.mfa),
            $merchant.permissions.export,
            $merchant.permissions.read_pins,
            $merchant.permissions.set_pins,
        ]
    };
}
use merchant_params;

fn add_credential(batch: &Batch<'_>, credential: &Credential) -> Made {
    add(
        batch,
        "INSERT INTO credential (id, merchant, key_hash, dek, sealed, allowed_ips, scopes, person,
             state, expires_at, created_at, rights, ip_ceiling, inherited,
             client_certificates)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT DO NOTHING",
        credential_params!(credential),
    )
}

fn set_credential(batch: &Batch<'_>, set: &Set<Credential>) -> Made {
    const FIND: &str = concat!(
        "SELECT ",
        credential_columns!(),
        " FROM credential WHERE id = ?1"
    );
    let row = batch.first(FIND, [set.to.id.as_str()], rows::credential)?;
    let credential = match set.decide(row.as_ref()) {
        Ok(credential) => credential,
        Err(taken) => return Ok(Err(taken)),
    };
    let others = batch.first(
        "SELECT 1 FROM credential WHERE key_hash = ?1 AND id <> ?2",
        params![credential.key_hash, credential.id.as_str()],
        |_| Ok(()),
    )?;
    if others.is_some() {
        return Ok(Err(Taken::Exists));
    }
    update(
        batch,
        "UPDATE credential SET merchant = ?2, key_hash = ?3, dek = ?4, sealed = ?5,
             allowed_ips = ?6, scopes = ?7, person = ?8, state = ?9, expires_at = ?10,
             created_at = ?11, rights = ?12, ip_ceiling = ?13, inherited = ?14,
             client_certificates = ?15
         WHERE id = ?1",
        credential_params!(credential),
    )
}

macro_rules! credential_params {
    ($credential:ident) => {
        params![
            $credential.id.as_str(),
            $credential.merchant.as_str(),
            $credential.key_hash,
            $credential.sealed_secret.dek,
            $credential.sealed_secret.sealed,
            Json(&$credential.allowed_ips),
            Json($credential.scopes_before()),
            $credential.person.map(|person| *person.as_bytes()),
            Name($credential.state),
            $credential.expires_at.map(cardveil_core::Time::millis),
            $credential.created_at.millis(),
            Json(&$credential.scopes),
            $credential.ip_ceiling.as_ref().map(Json),
            $credential.inherited,
            Json(&$credential.client_certificates),
        ]
    };
}
use credential_params;

fn add_embed(batch: &Batch<'_>, embed: &Embed) -> Made {
    add(
        batch,
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at, transparent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        params![
            embed.id.as_str(),
            embed.merchant.as_str(),
            Json(&embed.origins),
            embed.copy_cvv,
            embed.enabled,
            embed.created_at.millis(),
            embed.transparent,
        ],
    )
}

fn set_embed(batch: &Batch<'_>, set: &Set<Embed>) -> Made {
    const FIND: &str = concat!("SELECT ", embed_columns!(), " FROM embed WHERE id = ?1");
    let row = batch.first(FIND, [set.to.id.as_str()], rows::embed)?;
    let embed = match set.decide(row.as_ref()) {
        Ok(embed) => embed,
        Err(taken) => return Ok(Err(taken)),
    };
    update(
        batch,
        "UPDATE embed SET merchant = ?2, origins = ?3, copy_cvv = ?4, enabled = ?5, created_at = ?6,
             transparent = ?7
         WHERE id = ?1",
        params![
            embed.id.as_str(),
            embed.merchant.as_str(),
            Json(&embed.origins),
            embed.copy_cvv,
            embed.enabled,
            embed.created_at.millis(),
            embed.transparent,
        ],
    )
}

fn add_card(batch: &Batch<'_>, card: &Card) -> Made {
    let cvv = card.sealed.cvv.as_ref();
    let pin = card.sealed.pin.as_ref();
    add(
        batch,
        "INSERT INTO card (id, no, merchant, account, person, kind, state, network, last_four,
             label, dek, pan, expiry, name, cvv_dek, cvv, pan_index, created_at, updated_at,
             product, unique_no, holder_no, pin_dek, pin, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19, ?20, ?21, ?22, ?23, ?24,
             (SELECT max(last_card, (SELECT coalesce(max(seq), 0) FROM card)) + 1 FROM meta))
         ON CONFLICT DO NOTHING",
        params![
            card.id.as_bytes(),
            card.no.as_str(),
            card.merchant.as_str(),
            card.account.as_str(),
            card.person.as_bytes(),
            Name(card.kind),
            Name(card.state),
            Name(card.network),
            card.last_four.as_str(),
            card.label,
            card.sealed.dek,
            card.sealed.pan,
            card.sealed.expiry,
            card.sealed.name,
            cvv.map(|cvv| &cvv.dek),
            cvv.map(|cvv| &cvv.cvv),
            card.sealed.pan_index,
            card.created_at.millis(),
            card.updated_at.millis(),
            card.product,
            card.unique_no,
            card.holder_no,
            pin.map(|pin| &pin.dek),
            pin.map(|pin| &pin.pin),
        ],
    )
}

pub(super) fn raise_epoch(batch: &Batch<'_>, event: &Event) -> Result<Epoch, Fault> {
    let raised = epoch::next(batch.epoch(), event.at).ok_or_else(|| {
        Fault::Own(Error::Unavailable(
            "the epoch cannot be raised further".into(),
        ))
    })?;
    batch.set_epoch(raised)?;
    batch.log(event)?;
    Ok(raised)
}
