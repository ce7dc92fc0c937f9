//! The vault: clear card data in, sealed card out, and back for the length of one answer.
//!
//! **Invariant:** clear values leave this module in three shapes only: sealed for a store, sealed
//! to a holder key, or encrypted under a credential's secret (`export`). Whether a number begins
//! with given digits is told as yes or no, an expiry may leave alone, without its number
//! ([`Vault::expiry`]), and a PIN as one contract has it, for the length of an answer
//! ([`Vault::open_pin`]). `Opened` lives between the two, is wiped when dropped, and cannot be
//! printed.
//!
//! A card has a DEK of the class PAN (number, expiry, name) and, where a CVV or a PIN is kept, one
//! of its class. In the place of a CVV it can have the name of the key that gives it (`cvv`). A
//! wrapped DEK is bound to environment, table, row, merchant, class and the class key's version; a
//! field is bound to the same without the version, and to its name. So neither opens anywhere else,
//! and a record moves to another version ([`Vault::rewrap`]) without a new ciphertext of its
//! fields.

mod cvv;
mod export;
mod pin;
mod proof;
mod rewrap;
mod row_macs;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use cardveil_seal::{
    Class, Dek, Entropy, HolderKey, Keyring, Place, PublicKey, Secret, WrappedKey, hpke,
};

use crate::audit::chain::{self, ByteText, Checkpoint, Link};
use crate::card::{
    Card, CardNumber, CardholderName, Cvv, Environment, Expiry, Field, Fields, InvalidCard,
    PanIndexes, SealedCard,
};
use crate::clock::Time;
use crate::id::{CardId, CredentialId, FactorId, MerchantId, PersonId, SubscriptionId};
use crate::merchant::SealedSecret;
use crate::wallet::Bin;

pub use self::row_macs::{AlteredRow, RowMacs, tellable};

/// What the index of a number is the MAC of, before the number. Never change it.
const PAN_INDEX: &[u8] = b"pan";
/// The label of a redemption's HPKE context (docs/reference/protocol.md, "Open the answer").
const REDEEM_INFO: &[u8] = b"cardveil/redeem/v1";

/// What secrets are sealed as, besides the fields of cards. Bound into them: never change one.
const API_SECRET: &str = "api_secret";
const TOTP_SECRET: &str = "totp_secret";
const WEBHOOK_SECRET: &str = "secret";
const WEBHOOK_AUTHORIZATION: &str = "authorization";

/// A card's clear values, on their way in.
pub struct ClearCard {
    pub number: CardNumber,
    pub expiry: Expiry,
    pub name: CardholderName,
    /// The CVV, where one is kept.
    pub cvv: Option<Cvv>,
}

/// Why the vault could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The card may not be kept in this environment.
    #[error(transparent)]
    Card(#[from] InvalidCard),
    /// A key is missing or does not fit, or a ciphertext was altered or moved.
    #[error("the vault could not seal or open a record")]
    Seal(#[from] cardveil_seal::Error),
    /// A field was asked for that the card does not have.
    #[error("the card has no {}", .0.as_str())]
    NoSuchField(Field),
    /// What the envelope held is not what was put in.
    #[error("an opened record does not have its form")]
    Form,
}

impl Error {
    /// Whether a record was altered or moved, as far as can be told: what opens nowhere looks so.
    pub const fn is_tampering(&self) -> bool {
        use cardveil_seal::Error as Seal;
        matches!(
            self,
            Self::Form
                | Self::Seal(
                    Seal::Refused
                        | Seal::TooShort
                        | Seal::UnknownAlgorithm
                        | Seal::UnknownVersion { .. }
                )
        )
    }

    /// Whether a record names a class key that is not open here.
    pub const fn is_unknown_key(&self) -> bool {
        matches!(
            self,
            Self::Seal(cardveil_seal::Error::UnknownVersion { .. })
        )
    }
}

/// Opens wrapped class keys: whoever can reach the root key.
#[async_trait]
pub trait Opener: Send + Sync {
    /// The keyring of these keys. It may take seconds, as a hardware module does, and blocks no
    /// thread that serves requests.
    async fn open(&self, keys: Vec<WrappedKey>) -> Result<Keyring, cardveil_seal::Error>;
}

/// Seals and opens cards and secrets.
///
/// **Invariant:** the open class keys are here and nowhere else, so that those which
/// [`Vault::reload`] brings are in use at once.
pub struct Vault {
    open: RwLock<Open>,
    opener: Option<Arc<dyn Opener>>,
    environment: Environment,
    entropy: Arc<dyn Entropy>,
    alarms: AtomicU64,
}

/// The open class keys, and what they were opened from.
struct Open {
    keyring: Arc<Keyring>,
    from: Vec<WrappedKey>,
}

impl Vault {
    /// Over an open keyring of the same environment.
    pub fn new(keyring: Keyring, environment: Environment, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            open: RwLock::new(Open {
                keyring: Arc::new(keyring),
                from: Vec::new(),
            }),
            opener: None,
            environment,
            entropy,
            alarms: AtomicU64::new(0),
        }
    }

    /// The same, which can open other class keys later.
    #[must_use]
    pub fn reloading(mut self, opener: Arc<dyn Opener>, from: Vec<WrappedKey>) -> Self {
        self.opener = Some(opener);
        let open = self.open.get_mut();
        open.unwrap_or_else(PoisonError::into_inner).from = from;
        self
    }

    /// Puts these class keys in the place of those that are open, if they are others; tells whether
    /// they are. If they do not open, those that are open stay so.
    pub async fn reload(&self, keys: Vec<WrappedKey>) -> Result<bool, Error> {
        let Some(opener) = &self.opener else {
            return Ok(false);
        };
        let is_same = |open: &Open| open.from == keys;
        if is_same(&self.open.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(false);
        }
        let keyring = Arc::new(opener.open(keys.clone()).await?);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = Open {
            keyring,
            from: keys,
        };
        Ok(true)
    }

    pub fn sealing_version(&self, class: Class) -> Result<u32, Error> {
        Ok(self.keyring().current_version(class)?)
    }

    /// How often a record did not open because it was altered or moved.
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::Relaxed)
    }

    /// One more of them.
    pub(crate) fn alarm(&self) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
    }

    fn keyring(&self) -> Arc<Keyring> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&open.keyring)
    }

    /// Whether a class key says that every row has a MAC.
    pub fn says_rows_have_macs(&self) -> bool {
        self.keyring().says_rows_have_macs()
    }

    /// Which cards it takes.
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// Seals a card for the row `id` of `merchant`, with its number's index under version
    /// `index_key`.
    pub fn seal_card(
        &self,
        id: CardId,
        merchant: &MerchantId,
        clear: &ClearCard,
        index_key: u32,
    ) -> Result<SealedCard, Error> {
        self.environment.admits(&clear.number)?;
        let entropy = &*self.entropy;
        let place = place_of_card(&id, merchant);
        let (dek, wrapped) = self.keyring().new_dek(Class::Pan, &place, entropy)?;
        let cvv = self.seal_cvv(&place, clear)?;
        let seal = |field: Field, bytes: &[u8]| dek.seal(field.as_str(), bytes, entropy);
        Ok(SealedCard {
            pan: seal(Field::Pan, clear.number.expose())?,
            expiry: seal(Field::Expiry, &clear.expiry.to_bytes())?,
            name: seal(Field::Name, clear.name.expose())?,
            dek: wrapped,
            cvv,
            pin: None,
            pan_index: pan_index(&self.keyring(), index_key, clear.number.expose())?,
            index_key,
        })
    }

    /// The index of a card's number under a version of the key. The number is in memory for as long
    /// as that takes (P3).
    pub fn pan_index(&self, card: &Card, index_key: u32) -> Result<[u8; 32], Error> {
        let keyring = self.keyring();
        pan_index(&keyring, index_key, number(&keyring, card)?.expose())
    }

    /// The same under each version that is open. Where the card's own index is under one that is
    /// not open here, that is an unknown key, and not an index fewer.
    pub fn pan_indexes(&self, card: &Card) -> Result<PanIndexes, Error> {
        let (class, version) = (Class::Index, card.sealed.index_key);
        let keyring = self.keyring();
        if !keyring.knows_mac(class, version) {
            return Err(cardveil_seal::Error::UnknownVersion { class, version }.into());
        }
        let number = number(&keyring, card)?;
        let parts = [PAN_INDEX, number.expose()];
        let mut macs = keyring.macs(class, &parts)?;
        let (_, newest) = macs
            .next()
            .ok_or(cardveil_seal::Error::MissingClass(class))?;
        let before = macs.next().map_or(newest, |(_, before)| before);
        // A third would go uncounted. No rotation begins while another is under way.
        match macs.next() {
            None => Ok(PanIndexes([newest, before])),
            Some(_) => Err(cardveil_seal::Error::VersionsExhausted(class).into()),
        }
    }

    /// Opens the asked fields of a card and seals them to `key`. In between they are in memory and
    /// nowhere else (P3).
    pub fn release(
        &self,
        card: &Card,
        fields: Fields,
        key: &HolderKey,
        header: &[u8],
    ) -> Result<hpke::Sealed, Error> {
        let opened = self.open(card, fields)?;
        Ok(hpke::seal_to(key, REDEEM_INFO, header, opened.0.expose())?)
    }

    /// A card's expiry, for the list that a merchant's server asks for. Alone it is no cardholder
    /// data (PCI DSS, "Account Data": so it is where it stands with the number), yet it is opened
    /// for the answer and kept nowhere.
    pub fn expiry(&self, card: &Card) -> Result<Expiry, Error> {
        let place = place_of_card(&card.id, &card.merchant);
        let dek = self
            .keyring()
            .open_dek(Class::Pan, &place, &card.sealed.dek)?;
        let opened = open(&dek, Field::Expiry, &card.sealed.expiry)?;
        Expiry::from_bytes(opened.expose()).map_err(|_| Error::Form)
    }

    /// Whether the card's number begins with one of these. The number is in memory for as long as
    /// it takes to compare, and the answer is all that leaves (P3).
    pub fn begins_with(&self, card: &Card, bins: &[Bin]) -> Result<bool, Error> {
        let number = number(&self.keyring(), card)?;
        let begins = |bin: &Bin| number.expose().starts_with(bin.as_str().as_bytes());
        Ok(bins.iter().any(begins))
    }

    /// Seals a credential's apiSecret.
    pub fn seal_secret(
        &self,
        id: &CredentialId,
        merchant: &MerchantId,
        secret: &[u8],
    ) -> Result<SealedSecret, Error> {
        self.seal_at(&SecretPlace::credential(id, merchant), secret)
    }

    /// Opens a credential's apiSecret.
    pub fn open_secret(
        &self,
        id: &CredentialId,
        merchant: &MerchantId,
        sealed: &SealedSecret,
    ) -> Result<Secret, Error> {
        self.open_at(&SecretPlace::credential(id, merchant), sealed)
    }

    /// Seals a secret text of a row.
    pub fn seal_at(&self, at: &SecretPlace<'_>, secret: &[u8]) -> Result<SealedSecret, Error> {
        let entropy = &*self.entropy;
        let (dek, wrapped) = self
            .keyring()
            .new_dek(Class::Credential, &at.place, entropy)?;
        Ok(SealedSecret {
            sealed: dek.seal(at.field, secret, entropy)?,
            dek: wrapped,
        })
    }

    /// Opens a secret text of a row.
    pub fn open_at(&self, at: &SecretPlace<'_>, sealed: &SealedSecret) -> Result<Secret, Error> {
        let dek = self
            .keyring()
            .open_dek(Class::Credential, &at.place, &sealed.dek)?;
        Ok(dek.open(at.field, &sealed.sealed)?)
    }

    /// Seals the secret of an authenticator app.
    pub fn seal_totp(&self, of: &FactorOf<'_>, secret: &Secret) -> Result<SealedSecret, Error> {
        let row = of.row();
        let (dek, wrapped) =
            self.keyring()
                .new_dek(Class::Credential, &of.place(&row), &*self.entropy)?;
        let sealed = dek.seal(TOTP_SECRET, secret.expose(), &*self.entropy)?;
        Ok(SealedSecret {
            dek: wrapped,
            sealed,
        })
    }

    /// Opens the secret of an authenticator app.
    pub fn open_totp(&self, of: &FactorOf<'_>, sealed: &SealedSecret) -> Result<Secret, Error> {
        let row = of.row();
        let dek = self
            .keyring()
            .open_dek(Class::Credential, &of.place(&row), &sealed.dek)?;
        Ok(dek.open(TOTP_SECRET, &sealed.sealed)?)
    }

    /// The MAC of a row that decides, under this version.
    pub(crate) fn row_mac(&self, version: u32, message: &[u8]) -> Result<[u8; 16], Error> {
        Ok(self.keyring().row_mac(version, message)?)
    }

    /// A keyed digest that only this deployment can make.
    pub fn mac(&self, parts: &[&[u8]]) -> Result<[u8; 32], Error> {
        Ok(self.keyring().mac(Class::Access, parts)?)
    }

    /// Whether the class key of this version is open.
    pub fn knows_mac_key(&self, version: u32) -> bool {
        self.keyring().knows_mac(Class::Access, version)
    }

    /// The same under the class key of this version, for what names its version.
    pub fn mac_under(&self, version: u32, parts: &[&[u8]]) -> Result<[u8; 32], Error> {
        Ok(self.keyring().mac_under(Class::Access, version, parts)?)
    }

    /// The same under each class key that is open, with its version, the newest first: for what was
    /// made before a rotation, is still good, and does not name the one that it was made under.
    pub fn macs_by_version(&self, parts: &[&[u8]]) -> Result<Vec<(u32, [u8; 32])>, Error> {
        Ok(self.keyring().macs(Class::Access, parts)?.collect())
    }

    /// The same without the versions.
    pub fn macs(&self, parts: &[&[u8]]) -> Result<Vec<[u8; 32]>, Error> {
        let keyring = self.keyring();
        let macs = keyring.macs(Class::Access, parts)?;
        Ok(macs.map(|(_, mac)| mac).collect())
    }

    /// Signs a manifest of the served scripts.
    pub fn sign_manifest(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.keyring().sign(Class::Manifest, message)?)
    }

    /// Whose signature that is.
    pub fn manifest_key(&self) -> Result<PublicKey, Error> {
        Ok(self.keyring().public_key(Class::Manifest)?)
    }

    /// Signs how far a chain of the audit log had come.
    pub fn checkpoint(&self, link: Link, at: Time) -> Result<Checkpoint, Error> {
        let message = chain::checkpoint_message(&link, at);
        // Key and signature of one keyring: another may take its place in between.
        let keyring = self.keyring();
        Ok(Checkpoint {
            link,
            key: ByteText(*keyring.public_key(Class::Audit)?.as_bytes()),
            signature: ByteText(
                keyring
                    .sign(Class::Audit, &message)?
                    .try_into()
                    .map_err(|_| Error::Form)?,
            ),
        })
    }

    /// Whose checkpoints of the audit log are ours: the public halves of all versions of the key,
    /// the current one first.
    pub fn audit_keys(&self) -> Result<Vec<PublicKey>, Error> {
        Ok(self.keyring().public_keys(Class::Audit)?)
    }

    fn open(&self, card: &Card, fields: Fields) -> Result<Opened, Error> {
        let place = place_of_card(&card.id, &card.merchant);
        let dek = self
            .keyring()
            .open_dek(Class::Pan, &place, &card.sealed.dek)?;
        let mut json = Json::default();
        for field in fields.iter() {
            match field {
                Field::Pan => json.text("pan", open(&dek, field, &card.sealed.pan)?.expose())?,
                Field::Name => json.text("name", open(&dek, field, &card.sealed.name)?.expose())?,
                Field::Expiry => {
                    let opened = open(&dek, field, &card.sealed.expiry)?;
                    let expiry = Expiry::from_bytes(opened.expose()).map_err(|_| Error::Form)?;
                    json.expiry(expiry);
                }
                Field::Cvv => {
                    let cvv = self.cvv(card)?.ok_or(Error::NoSuchField(field))?;
                    json.text("cvv", cvv.expose())?;
                }
            }
        }
        Ok(json.close())
    }
}

/// Whose authenticator app, and which: a sealed secret opens for no other.
#[derive(Clone, Copy, Debug)]
pub struct FactorOf<'a> {
    /// At which merchant.
    pub merchant: &'a MerchantId,
    pub person: &'a PersonId,
    /// The enrolment.
    pub factor: &'a FactorId,
}

impl FactorOf<'_> {
    fn row(&self) -> [u8; 32] {
        let mut row = [0; 32];
        let ids = self.person.as_bytes().iter().chain(self.factor.as_bytes());
        for (to, from) in row.iter_mut().zip(ids) {
            *to = *from;
        }
        row
    }

    fn place<'p>(&'p self, row: &'p [u8; 32]) -> Place<'p> {
        Place {
            table: "mfa_person",
            row,
            merchant: self.merchant.as_str(),
        }
    }
}

/// Where a secret text is: a field of a row of a merchant. It opens nowhere else.
pub struct SecretPlace<'a> {
    place: Place<'a>,
    field: &'static str,
}

impl<'a> SecretPlace<'a> {
    /// A credential's apiSecret.
    fn credential(id: &'a CredentialId, merchant: &'a MerchantId) -> Self {
        Self::of("credential", id.as_str().as_bytes(), merchant, API_SECRET)
    }

    /// What a subscription's messages are signed with.
    pub fn webhook_secret(id: &'a SubscriptionId, merchant: &'a MerchantId) -> Self {
        Self::of("subscription", id.as_bytes(), merchant, WEBHOOK_SECRET)
    }

    /// What a subscription's messages are sent as `Authorization` with.
    pub fn webhook_authorization(id: &'a SubscriptionId, merchant: &'a MerchantId) -> Self {
        Self::of(
            "subscription",
            id.as_bytes(),
            merchant,
            WEBHOOK_AUTHORIZATION,
        )
    }

    fn of(
        table: &'static str,
        row: &'a [u8],
        merchant: &'a MerchantId,
        field: &'static str,
    ) -> Self {
        let merchant = merchant.as_str();
        Self {
            place: Place {
                table,
                row,
                merchant,
            },
            field,
        }
    }
}

/// The plaintext of an answer. Wiped when dropped.
struct Opened(Secret);

fn open(dek: &Dek, field: Field, sealed: &[u8]) -> Result<Secret, Error> {
    Ok(dek.open(field.as_str(), sealed)?)
}

/// A card's number, opened.
fn number(keyring: &Keyring, card: &Card) -> Result<Secret, Error> {
    let place = place_of_card(&card.id, &card.merchant);
    let dek = keyring.open_dek(Class::Pan, &place, &card.sealed.dek)?;
    open(&dek, Field::Pan, &card.sealed.pan)
}

fn pan_index(keyring: &Keyring, version: u32, number: &[u8]) -> Result<[u8; 32], Error> {
    Ok(keyring.mac_under(Class::Index, version, &[PAN_INDEX, number])?)
}

fn place_of_card<'a>(id: &'a CardId, merchant: &'a MerchantId) -> Place<'a> {
    Place {
        table: "card",
        row: id.as_bytes(),
        merchant: merchant.as_str(),
    }
}

/// Writes the plaintext's JSON into one buffer of a size that is never outgrown, so that no copy of
/// a clear value is left behind in memory that was given back. A JSON library would grow its own.
struct Json(Vec<u8>);

/// Four fields: 19 + 4 digits, an expiry, a name of 64 characters of at most 12 bytes when escaped,
/// and their keys.
const JSON_BYTES_MAX: usize = 1_024;

impl Default for Json {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(JSON_BYTES_MAX);
        bytes.push(b'{');
        Self(bytes)
    }
}

impl Json {
    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.key(key);
        let value = std::str::from_utf8(value).map_err(|_| Error::Form)?;
        serde_json::to_writer(&mut self.0, value).map_err(|_| Error::Form)
    }

    fn expiry(&mut self, expiry: Expiry) {
        self.key("expiry");
        let json = format!(
            r#"{{"month":"{}","year":"{}"}}"#,
            expiry.month(),
            expiry.year()
        );
        self.0.extend_from_slice(json.as_bytes());
    }

    fn close(mut self) -> Opened {
        self.0.push(b'}');
        debug_assert!(self.0.len() <= JSON_BYTES_MAX, "the buffer was outgrown");
        Opened(Secret::new(self.0))
    }
}
