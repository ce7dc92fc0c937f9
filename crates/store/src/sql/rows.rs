//! Rows and the domain's types: which columns a kind has, and what is read from them.

use cardveil_core::audit::chain::{Chained, Hash, Link};
use cardveil_core::audit::sink::{History, Holder, Lease, Progress};
use cardveil_core::budget::Level;
use cardveil_core::card::{
    self, Attributes, Card, Fields, Guesses, LastFour, SealedCard, SealedCvv, SealedPin,
};
use cardveil_core::clock::Time;
use cardveil_core::hook::{self, Delivery, Subscription, Tried};
use cardveil_core::id::{
    AccountId, CardId, ChainId, CredentialId, DeliveryId, EmbedId, PersonId, SessionId,
    SubscriptionId, WalletTokenId,
};
use cardveil_core::keys::{self, ClassKey};
use cardveil_core::merchant::{Credential, Embed, Merchant, Permissions, Scope, SealedSecret};
use cardveil_core::mfa::{Person, Session, Totp};
use cardveil_core::port::{Class, ListedToken, WrappedKey};
use cardveil_core::token::{
    CredentialLife, EmbedLife, Epoch, Idempotency, Lives, LivesOf, MerchantLife, Operation, Record,
    State, Thumbprint, TokenHash, TokenKey,
};
use cardveil_core::vault::RowMacs;
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::deciding::{Deciding, Keeps, Places, Unchecked};
use super::kept::{CardSeen, Known};
use super::table::{Statement, Table};
use super::value::{Column, Json, Lossy, Name, Row, Text};
use crate::text;

/// All columns are in the MAC.
const ALL: Option<Deciding> = Some(Deciding {
    sealed: Places::NONE,
    keeps: Keeps::All,
});

/// A set of fields as `pan,cvv`.
struct FieldNames(Fields);

impl Column for FieldNames {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let fields = text::fields(&raw).ok_or("a field of no known name")?;
        Ok(Self(fields))
    }
}

struct OperationName(Operation);

impl Column for OperationName {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let operation = Operation::parse(&raw).ok_or("an operation of no known name")?;
        Ok(Self(operation))
    }
}

struct ClassCode(Class);

impl Column for ClassCode {
    type Raw = i64;
    fn from_raw(raw: i64) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let class = Class::from_code(raw.try_into()?).ok_or("a class of no known code")?;
        Ok(Self(class))
    }
}

pub(crate) const TOKEN: Table<Record> = Table {
    name: "token",
    deciding: Some(Deciding {
        sealed: Places::NONE,
        keeps: Keeps::Later,
    }),
    key: 2,
    fixed: 11,
    columns: &[
        ("issued_secs", |it| it.key.issued_secs.into()),
        ("hash", |it| it.key.hash.0.into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("credential", |it| it.credential.as_str().into()),
        ("card", |it| it.card.as_bytes().into()),
        ("operation", |it| it.operation.as_str().into()),
        ("allowed", |it| text::field_names(it.allowed).into()),
        ("bound_to", |it| it.bound_to.map(|key| key.0).into()),
        ("issued_at", |it| it.issued_at.into()),
        ("expires_at", |it| it.expires_at.into()),
        ("embed", |it| it.embed.as_ref().map(EmbedId::as_str).into()),
        // Saved too: that of a row which a dump put back is none.
        ("epoch", |it| it.epoch.0.into()),
        ("conflict", |it| it.conflict.into()),
        ("state", |it| state_column(&it.state).into()),
        ("sweep_due_at", |it| it.sweep_due_at().into()),
        ("refusals", |it| it.refusals.into()),
    ],
};

/// PostgreSQL's types of the columns of [`TOKEN`].
pub(crate) const TOKEN_TYPES: &[&str] = &[
    "bigint", "bytea", "text", "text", "bytea", "text", "text", "bytea", "bigint", "bigint",
    "text", "bigint", "boolean", "text", "bigint", "bigint", "bigint", "bytea",
];

/// Whether the row of a token was put back by a dump, in PostgreSQL: its stamp is not of the
/// transaction that wrote it (`home`).
pub(crate) const PUT_BACK: &str = "coalesce(token.written_by::xid <> token.xmin, false)";

/// The columns of [`TOKEN`], and whether the row was put back.
pub(crate) static TOKEN_COLUMNS: Statement =
    Statement::new(|| format!("{}, {PUT_BACK}", TOKEN.select()));

/// How many columns [`TOKEN_COLUMNS`] has.
const TOKEN_WIDTH: usize = TOKEN.width() + 1;

pub(crate) fn token_key<R: Row>(row: &R) -> Result<TokenKey, R::Fault> {
    Ok(TokenKey {
        issued_secs: row.get(0)?,
        hash: TokenHash(row.get(1)?),
    })
}

pub(crate) fn record<R: Row>(row: &R) -> Result<Unchecked<Record>, R::Fault> {
    let state: Option<Json<State>> = row.get(13)?;
    let was_put_back: bool = row.get(TOKEN.width())?;
    Ok(Unchecked::new(Record {
        key: token_key(row)?,
        // One that was put back is of none.
        epoch: Epoch(if was_put_back { 0 } else { row.get(11)? }),
        merchant: row.text(2)?,
        credential: row.text(3)?,
        card: CardId::from_bytes(row.get(4)?),
        operation: row.get(5).map(|OperationName(operation)| operation)?,
        allowed: row.get(6).map(|FieldNames(fields)| fields)?,
        bound_to: row.get::<Option<_>>(7)?.map(Thumbprint),
        issued_at: row.get(8)?,
        expires_at: row.get(9)?,
        embed: row.get::<Option<_>>(10)?.map(|Text(id)| id),
        conflict: row.get(12)?,
        refusals: row.get(15)?,
        state: state.map_or(State::Issued, |Json(state)| state),
    }))
}

/// The state's column: nothing while nobody has claimed it, so that most rows are short.
fn state_column(state: &State) -> Option<Json<&State>> {
    match state {
        State::Issued => None,
        State::Held(_) | State::Revoked(_) => Some(Json(state)),
    }
}

/// The name of a request, and the token that it was given.
pub(crate) const NAME: Table<(Idempotency, TokenKey)> = Table {
    name: "name",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("key", |(it, _)| it.key.into()),
        ("fingerprint", |(it, _)| it.fingerprint.into()),
        ("seed", |(it, _)| it.seed.into()),
        ("expires_at", |(it, _)| it.expires_at.into()),
        ("issued_secs", |(_, token)| token.issued_secs.into()),
        ("hash", |(_, token)| token.hash.0.into()),
    ],
};

/// A named request, after the columns of its token.
pub(crate) fn name<R: Row>(row: &R) -> Result<Idempotency, R::Fault> {
    let first = TOKEN_WIDTH;
    Ok(Idempotency {
        key: row.get(first)?,
        fingerprint: row.get(first + 1)?,
        seed: row.get(first + 2)?,
        expires_at: row.get(first + 3)?,
    })
}

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

pub(crate) const CARD: Table<Card> = Table {
    name: "card",
    deciding: Some(Deciding {
        sealed: Places::NONE.with(8, 14).with(22, 24),
        keeps: Keeps::All,
    }),
    key: 1,
    fixed: 19,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("no", |it| it.no.as_str().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("account", |it| it.account.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("kind", |it| Name(it.kind).into()),
        ("network", |it| Name(it.network).into()),
        ("last_four", |it| it.last_four.as_str().into()),
        ("dek", |it| (&it.sealed.dek).into()),
        ("pan", |it| (&it.sealed.pan).into()),
        ("expiry", |it| (&it.sealed.expiry).into()),
        ("name", |it| (&it.sealed.name).into()),
        ("cvv_dek", |it| {
            it.sealed.cvv.as_ref().map(|cvv| &cvv.dek).into()
        }),
        ("cvv", |it| {
            it.sealed.cvv.as_ref().map(|cvv| &cvv.cvv).into()
        }),
        ("pan_index", |it| it.sealed.pan_index.into()),
        ("created_at", |it| it.created_at.into()),
        ("product", |it| it.attributes.product.as_deref().into()),
        ("unique_no", |it| it.attributes.unique_no.as_deref().into()),
        ("holder_no", |it| it.attributes.holder_no.as_deref().into()),
        ("state", |it| Name(it.state).into()),
        ("label", |it| it.label.as_str().into()),
        ("updated_at", |it| it.updated_at.into()),
        ("pin_dek", |it| {
            it.sealed.pin.as_ref().map(|pin| &pin.dek).into()
        }),
        ("pin", |it| {
            it.sealed.pin.as_ref().map(|pin| &pin.pin).into()
        }),
        ("index_key", |it| {
            index_key_column(it.sealed.index_key).into()
        }),
    ],
};

/// The first version of the index's key, which rows do not name: those from before cannot, and
/// their MACs stay right.
const FIRST_INDEX_KEY: u32 = 1;

pub(crate) fn index_key_column(version: u32) -> Option<u32> {
    (version != FIRST_INDEX_KEY).then_some(version)
}

fn index_key<R: Row>(row: &R, place: usize) -> Result<u32, R::Fault> {
    Ok(row.get::<Option<u32>>(place)?.unwrap_or(FIRST_INDEX_KEY))
}

/// PostgreSQL's types of the columns of [`CARD`].
pub(crate) const CARD_TYPES: &[&str] = &[
    "bytea", "text", "text", "text", "bytea", "text", "text", "text", "bytea", "bytea", "bytea",
    "bytea", "bytea", "bytea", "bytea", "bigint", "text", "text", "text", "text", "text", "bigint",
    "bytea", "bytea", "bigint", "bigint", "bytea",
];

/// The columns of [`CARD`], and the card's place in the order in which they came.
pub(crate) static CARD_COLUMNS: Statement =
    Statement::new(|| format!("{}, card.seq", CARD.select()));

pub(crate) fn card<R: Row>(row: &R) -> Result<Unchecked<Card>, R::Fault> {
    let cvv_dek: Option<Vec<u8>> = row.get(12)?;
    let cvv: Option<Vec<u8>> = row.get(13)?;
    let pin_dek: Option<Vec<u8>> = row.get(22)?;
    let pin: Option<Vec<u8>> = row.get(23)?;
    let created_at: Time = row.get(15)?;
    Ok(Unchecked::new(Card {
        id: CardId::from_bytes(row.get(0)?),
        no: row.text(1)?,
        merchant: row.text(2)?,
        account: row.text(3)?,
        person: PersonId::from_bytes(row.get(4)?),
        kind: row.name(5)?,
        state: row.name(19)?,
        network: row.name(6)?,
        last_four: row.name(7)?,
        label: row.get(20)?,
        sealed: SealedCard {
            dek: row.get(8)?,
            pan: row.get(9)?,
            expiry: row.get(10)?,
            name: row.get(11)?,
            cvv: cvv_dek.zip(cvv).map(|(dek, cvv)| SealedCvv { dek, cvv }),
            pin: pin_dek.zip(pin).map(|(dek, pin)| SealedPin { dek, pin }),
            pan_index: row.get(14)?,
            index_key: index_key(row, 24)?,
        },
        attributes: Attributes {
            product: row.get(16)?,
            unique_no: row.get(17)?,
            holder_no: row.get(18)?,
        },
        created_at,
        updated_at: row.get::<Option<Time>>(21)?.unwrap_or(created_at),
    }))
}

/// What decides of a card that is claimed, from the columns of [`CARD`].
pub(crate) fn card_seen<R: Row>(row: &R) -> Result<CardSeen, R::Fault> {
    Ok((row.text(2)?, row.name(19)?))
}

/// Its state; nothing where the row is not what was written.
pub(crate) fn card_state<R: Row>(
    (macs, known): (&RowMacs, &Known<CardSeen>),
    row: &R,
) -> Result<Option<card::State>, R::Fault> {
    if let Ok(seen) = card_seen(row)
        && let Some((key, found)) = CARD.as_guarded(row, seen)?
        && known.has(&key, &found)
    {
        return Ok(Some(found.read.1));
    }
    let version = CARD.version(macs, row, 0)?;
    version.map(|_| row.name(19)).transpose()
}

/// The row of one card.
pub(crate) static FIND_CARD: Statement = Statement::new(|| CARD.find());

/// Its account; nothing where the row is not what was written.
pub(crate) fn card_account<R: Row>(macs: &RowMacs, row: &R) -> Result<Option<AccountId>, R::Fault> {
    let version = CARD.version(macs, row, 0)?;
    version.map(|_| row.text(3)).transpose()
}

/// A card's place in the order in which they came.
pub(crate) fn place_of_card<R: Row>(row: &R) -> Result<i64, R::Fault> {
    row.get(CARD.width())
}

pub(crate) const CLASS_KEY: Table<ClassKey> = Table {
    name: "wrapped_key",
    deciding: ALL,
    key: 2,
    fixed: 2,
    columns: &[
        ("class", |it| it.key.class.code().into()),
        ("version", |it| it.key.version.into()),
        ("wrapped", |it| (&it.key.wrapped).into()),
        ("created_at", |it| it.created_at.into()),
        ("retiring_at", |it| it.state.dates().0.into()),
        ("retired_at", |it| it.state.dates().1.into()),
        ("complete_at", |it| it.complete_at.into()),
    ],
};

pub(crate) static CLASS_KEYS: Statement = Statement::new(|| CLASS_KEY.all("class, version"));

pub(crate) fn class_key<R: Row>(row: &R) -> Result<Unchecked<ClassKey>, R::Fault> {
    let ClassCode(class) = row.get(0)?;
    Ok(Unchecked::new(ClassKey {
        key: WrappedKey {
            class,
            version: row.get(1)?,
            wrapped: row.get(2)?,
        },
        created_at: row.get(3)?,
        state: keys::State::from_dates(row.get(4)?, row.get(5)?),
        complete_at: row.get(6)?,
    }))
}

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

pub(crate) const SESSION: Table<Session> = Table {
    name: "mfa_session",
    deciding: Some(Deciding {
        sealed: Places::NONE,
        keeps: Keeps::Nothing,
    }),
    key: 1,
    fixed: 9,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("epoch", |it| it.epoch.0.into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("card", |it| it.card.as_bytes().into()),
        ("operation", |it| Name(it.purpose).into()),
        ("factor", |it| Name(it.factor).into()),
        ("opened_at", |it| it.opened_at.into()),
        ("expires_at", |it| it.expires_at.into()),
        ("state", |it| Json(it.state).into()),
    ],
};

pub(crate) const PERSON: Table<Person> = Table {
    name: "mfa_person",
    deciding: ALL,
    key: 2,
    fixed: 2,
    columns: &[
        ("merchant", |it| it.merchant.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("totp", |it| it.totp.as_ref().map(Json).into()),
        ("wrong", |it| it.wrong.into()),
        ("paused_until", |it| it.paused_until.into()),
        ("opened", |it| Json(&it.opened).into()),
    ],
};

pub(crate) fn session<R: Row>(row: &R) -> Result<Unchecked<Session>, R::Fault> {
    Ok(Unchecked::new(Session {
        id: SessionId::from_bytes(row.get(0)?),
        epoch: Epoch(row.get(1)?),
        merchant: row.text(2)?,
        person: PersonId::from_bytes(row.get(3)?),
        card: CardId::from_bytes(row.get(4)?),
        purpose: row.name(5)?,
        factor: row.name(6)?,
        opened_at: row.get(7)?,
        expires_at: row.get(8)?,
        state: row.json(9)?,
    }))
}

pub(crate) fn person<R: Row>(row: &R) -> Result<Unchecked<Person>, R::Fault> {
    let totp: Option<Json<Totp>> = row.get(2)?;
    Ok(Unchecked::new(Person {
        merchant: row.text(0)?,
        person: PersonId::from_bytes(row.get(1)?),
        totp: totp.map(|Json(totp)| totp),
        wrong: row.get(3)?,
        paused_until: row.get(4)?,
        opened: row.json(5)?,
    }))
}

/// How far a budget is used, by the budget's key.
pub(crate) const BUDGET: Table<(Vec<u8>, Level)> = Table {
    name: "budget",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("key", |(key, _)| key.into()),
        ("whole_at", |(_, it)| it.whole_at.into()),
        ("charged_at", |(_, it)| it.charged_at.into()),
    ],
};

pub(crate) fn budget<R: Row>(row: &R) -> Result<(Vec<u8>, Level), R::Fault> {
    let level = Level {
        whole_at: row.get(1)?,
        charged_at: row.get(2)?,
    };
    Ok((row.get(0)?, level))
}

/// The wrong proofs for a card.
pub(crate) const GUESSES: Table<(CardId, Guesses)> = Table {
    name: "card_guess",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("card", |(card, _)| card.as_bytes().into()),
        ("at", |(_, it)| Json(it).into()),
    ],
};

pub(crate) const SINK: Table<Progress> = Table {
    name: "sink",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("name", |it| it.name.as_str().into()),
        ("place", |it| it.place.into()),
        ("taken_at", |it| it.taken_at.into()),
        ("holder", |it| it.lease.map(|lease| lease.holder.0).into()),
        ("lease_until", |it| it.lease.map(|lease| lease.until).into()),
        ("error", |it| it.error.as_deref().into()),
        ("history_place", |it| {
            it.history.map(|history| history.place).into()
        }),
        ("history_end", |it| {
            it.history.map(|history| history.end).into()
        }),
    ],
};

pub(crate) fn progress<R: Row>(row: &R) -> Result<Progress, R::Fault> {
    let (holder, until): (Option<[u8; 16]>, Option<Time>) = (row.get(3)?, row.get(4)?);
    let Text(name) = row.get(0)?;
    let history: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(Progress {
        name,
        place: row.get(1)?,
        taken_at: row.get(2)?,
        lease: holder.zip(until).map(|(holder, until)| Lease {
            holder: Holder(holder),
            until,
        }),
        error: row.get(5)?,
        history: history
            .0
            .zip(history.1)
            .map(|(place, end)| History { place, end }),
    })
}

/// Entries of the audit log, as [`chained`] reads them. SQLite calls the hash otherwise.
macro_rules! chained_from {
    () => {
        "SELECT audit.seq, audit.event, audit.hash, meta.database_id, audit.personal FROM audit, meta"
    };
}
/// After a place, up to so many.
pub(crate) const ENTRIES_AFTER: &str = concat!(
    chained_from!(),
    " WHERE audit.seq > $1 ORDER BY audit.seq LIMIT $2"
);
pub(crate) const LAST_ENTRY: &str = concat!(chained_from!(), " ORDER BY audit.seq DESC LIMIT 1");

/// The place in the log that a link is at.
pub(crate) fn seq(link: &Link) -> i64 {
    i64::try_from(link.place).unwrap_or(i64::MAX)
}

/// The link at a place in the log.
pub(crate) fn link(chain: ChainId, seq: i64, hash: Hash) -> Link {
    Link {
        chain,
        place: u64::try_from(seq).unwrap_or(0),
        hash,
    }
}

/// An entry with its link. A text that somebody made no text is not what was hashed either.
pub(crate) fn chained<R: Row>(row: &R) -> Result<Chained, R::Fault> {
    let seq = row.get(0)?;
    let Lossy(stored) = row.get(1)?;
    let hash: Vec<u8> = row.get(2)?;
    // A hash that somebody cut is no hash; the verifier says so.
    let hash = Hash(hash.try_into().unwrap_or_default());
    let personal: Option<Lossy> = row.get(4)?;
    Ok(Chained {
        seq,
        link: link(ChainId::from_bytes(row.get(3)?), seq, hash),
        stored,
        personal: personal.map(|Lossy(personal)| personal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_leave_out_what_is_sealed_in_its_own_right_and_nothing_else() {
        fn left_out<T>(table: &Table<T>) -> Vec<&'static str> {
            let sealed = table.deciding.unwrap().sealed;
            let columns = table.columns.iter().enumerate();
            let left_out = columns.filter(|(place, _)| sealed.has(*place));
            left_out.map(|(_, (name, _))| *name).collect()
        }
        let card = "dek pan expiry name cvv_dek cvv pin_dek pin";
        assert_eq!(left_out(&CARD).join(" "), card);
        assert_eq!(left_out(&CREDENTIAL), ["dek", "sealed"]);
        let secrets = "secret_dek secret authorization_dek \"authorization\"";
        assert_eq!(left_out(&SUBSCRIPTION).join(" "), secrets);
        let none = [left_out(&MERCHANT), left_out(&EMBED), left_out(&TOKEN)];
        assert!(none.iter().all(Vec::is_empty));
        let none = [left_out(&CLASS_KEY), left_out(&SESSION), left_out(&PERSON)];
        assert!(none.iter().all(Vec::is_empty));
    }

    #[test]
    fn each_column_that_is_added_by_many_has_a_type() {
        assert_eq!(TOKEN_TYPES.len(), TOKEN.width());
        assert_eq!(CARD_TYPES.len(), CARD.width());
    }
}
