//! Merchants, credentials and embeds, and what tokens live by.

use cardveil_core::id::PersonId;
use cardveil_core::merchant::{Credential, Embed, Merchant, Permissions, Scope, SealedSecret};
use cardveil_core::token::{CredentialLife, EmbedLife, Lives, LivesOf, MerchantLife};
use cardveil_core::vault::RowMacs;

use super::ALL;
use crate::sql::deciding::{Deciding, Keeps, Places, Unchecked};
use crate::sql::table::Table;
use crate::sql::value::{Json, Name, Row};

pub(crate) const MERCHANT: Table<Merchant> = Table {
    name: "merchant",
    deciding: ALL,
    key: 1,
    fixed: 1,
    columns: &[
        ("id", |it| it.id.as_str().into()),
        ("name", |it| it.name.as_str().into()),
        ("state", |it| Name(it.state).into()),
        ("pci_enabled", |it| it.pci_enabled.into()),
        ("created_at", |it| it.created_at.into()),
        ("wallets", |it| Json(&it.wallets).into()),
        ("mfa", |it| Json(it.mfa).into()),
        ("may_export", |it| it.permissions.export.into()),
        ("may_read_pins", |it| it.permissions.read_pins.into()),
        ("may_set_pins", |it| it.permissions.set_pins.into()),
    ],
};

/// A merchant whose columns begin at `first`.
pub(crate) fn merchant<R: Row>(row: &R, first: usize) -> Result<Unchecked<Merchant>, R::Fault> {
    Ok(Unchecked::new(Merchant {
        id: row.text(first)?,
        name: row.get(first + 1)?,
        state: row.name(first + 2)?,
        pci_enabled: row.get(first + 3)?,
        created_at: row.get(first + 4)?,
        wallets: row.json(first + 5)?,
        mfa: row.json(first + 6)?,
        permissions: Permissions {
            export: row.get(first + 7)?,
            read_pins: row.get(first + 8)?,
            set_pins: row.get(first + 9)?,
        },
    }))
}

pub(crate) const CREDENTIAL: Table<Credential> = Table {
    name: "credential",
    deciding: Some(Deciding {
        sealed: Places::NONE.with(3, 5),
        keeps: Keeps::All,
    }),
    key: 1,
    fixed: 1,
    columns: &[
        ("id", |it| it.id.as_str().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("key_hash", |it| it.key_hash.into()),
        ("dek", |it| (&it.sealed_secret.dek).into()),
        ("sealed", |it| (&it.sealed_secret.sealed).into()),
        ("allowed_ips", |it| Json(&it.allowed_ips).into()),
        ("scopes", |it| Json(it.scopes_before()).into()),
        ("person", |it| it.person.map(|id| *id.as_bytes()).into()),
        ("state", |it| Name(it.state).into()),
        ("expires_at", |it| it.expires_at.into()),
        ("created_at", |it| it.created_at.into()),
        ("rights", |it| Json(&it.scopes).into()),
        ("ip_ceiling", |it| it.ip_ceiling.as_ref().map(Json).into()),
        ("inherited", |it| it.inherited.into()),
        ("client_certificates", |it| {
            Json(&it.client_certificates).into()
        }),
    ],
};

pub(crate) fn credential<R: Row>(row: &R) -> Result<Unchecked<Credential>, R::Fault> {
    Ok(Unchecked::new(Credential {
        id: row.text(0)?,
        merchant: row.text(1)?,
        key_hash: row.get(2)?,
        sealed_secret: SealedSecret {
            dek: row.get(3)?,
            sealed: row.get(4)?,
        },
        allowed_ips: row.json(5)?,
        scopes: scopes(row)?,
        ip_ceiling: row.get::<Option<_>>(12)?.map(|Json(nets)| nets),
        inherited: row.get(13)?,
        client_certificates: row.json(14)?,
        person: row.get::<Option<_>>(7)?.map(PersonId::from_bytes),
        state: row.name(8)?,
        expires_at: row.get(9)?,
        created_at: row.get(10)?,
    }))
}

/// What a program of the version before wrote has no rights of its own.
fn scopes<R: Row>(row: &R) -> Result<Vec<Scope>, R::Fault> {
    match row.get::<Option<_>>(11)? {
        Some(Json(scopes)) => Ok(scopes),
        None => row.json(6),
    }
}

pub(crate) const EMBED: Table<Embed> = Table {
    name: "embed",
    deciding: ALL,
    key: 1,
    fixed: 2,
    columns: &[
        ("id", |it| it.id.as_str().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("origins", |it| Json(&it.origins).into()),
        ("copy_cvv", |it| it.copy_cvv.into()),
        ("enabled", |it| it.enabled.into()),
        ("created_at", |it| it.created_at.into()),
        ("transparent", |it| it.transparent.into()),
    ],
};

pub(crate) fn embed<R: Row>(row: &R) -> Result<Unchecked<Embed>, R::Fault> {
    Ok(Unchecked::new(Embed {
        id: row.text(0)?,
        merchant: row.text(1)?,
        origins: row.json(2)?,
        copy_cvv: row.get(3)?,
        transparent: row.get(6)?,
        enabled: row.get(4)?,
        created_at: row.get(5)?,
    }))
}

/// The columns that [`lives`] reads: those of the three rows, whole, since each has to be checked.
pub(crate) fn lives_columns() -> String {
    let (credential, merchant) = (CREDENTIAL.select(), MERCHANT.select());
    format!("{credential}, {merchant}, {}", EMBED.select())
}

/// Where the columns of the merchant, of the embed, and of what comes after them begin.
const LIVES_MERCHANT: usize = CREDENTIAL.width();
const LIVES_EMBED: usize = LIVES_MERCHANT + MERCHANT.width();
pub(crate) const LIVES_END: usize = LIVES_EMBED + EMBED.width();

/// Whose rows they are, after the columns of [`lives`].
pub(crate) fn lives_of<R: Row>(row: &R) -> Result<LivesOf, R::Fault> {
    Ok(LivesOf {
        credential: row.text(LIVES_END)?,
        merchant: row.text(LIVES_END + 1)?,
        embed: row.text(LIVES_END + 2)?,
    })
}

/// What of the rows decides. A part that is not there, or is not what was written, is none. Not all
/// of a row is read: most of it is JSON.
pub(crate) fn lives<R: Row>(macs: &RowMacs, row: &R) -> Result<Lives, R::Fault> {
    let is_there = |first: usize| row.get::<Option<String>>(first).map(|id| id.is_some());
    let mut lives = Lives::default();
    if is_there(0)? && CREDENTIAL.version(macs, row, 0)?.is_some() {
        lives.credential = Some(CredentialLife {
            state: row.name(8)?,
            expires_at: row.get(9)?,
            scopes: scopes(row)?,
            person: row.get::<Option<_>>(7)?.map(PersonId::from_bytes),
        });
    }
    if is_there(LIVES_MERCHANT)? && MERCHANT.version(macs, row, LIVES_MERCHANT)?.is_some() {
        lives.merchant = Some(MerchantLife {
            state: row.name(LIVES_MERCHANT + 2)?,
            pci_enabled: row.get(LIVES_MERCHANT + 3)?,
        });
    }
    if is_there(LIVES_EMBED)? && EMBED.version(macs, row, LIVES_EMBED)?.is_some() {
        let origins: String = row.get(LIVES_EMBED + 2)?;
        lives.embed = Some(EmbedLife {
            merchant: row.text(LIVES_EMBED + 1)?,
            enabled: row.get(LIVES_EMBED + 4)?,
            is_web: origins != "[]",
        });
    }
    Ok(lives)
}
