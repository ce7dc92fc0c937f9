//! Class keys under the root, a DEK per record under a class key, fields under the DEK.
//!
//! **Invariant.** A class key wraps DEKs, authenticates or signs, never two of them, and is never
//! exposed.
//! Deleting a record's wrapped DEK shreds the record.

use std::{collections::BTreeMap, ops::RangeInclusive};

use aws_lc_rs::{cmac, hmac};

use crate::{
    Class, Entropy, Error, Key, Root, Secret, WrappedKey,
    aead::{self, Cipher},
    class::Purpose,
    constant_time_eq,
    cvk::{Cvk, CvkError, CvkNote, CvkParts, ExpiryOrder},
    digest::{cmac, mac},
    sign::{PublicKey, Signer},
};

/// What the algorithm of a DEK is, for a cryptographic inventory.
pub const DEK_ALGORITHM: &str = "AES-256-GCM";

/// What a class key is bound to beside its place. No hand in the database binds it to anything else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    /// Nothing: it is of an environment from before rows had MACs.
    Not,
    /// That every row has a MAC.
    ToMacs,
    /// That too, and to the keys that it goes with: no other is taken beside it.
    To(Birth),
}

impl Bound {
    fn goes_with(self, other: Self) -> bool {
        let is_to_none = |bound| matches!(bound, Self::Not | Self::ToMacs);
        self == other || (is_to_none(self) && is_to_none(other))
    }
}

/// Tells the class keys that were bound together from all others, those of another deployment under
/// the same root key among them. It is random, and not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Birth([u8; Self::LEN]);

impl Birth {
    const LEN: usize = 16;

    /// Of keys that are bound now.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut birth = [0; Self::LEN];
        entropy.fill(&mut birth);
        Self(birth)
    }
}

/// What a key that says so is bound to.
const ROWS_HAVE_MACS: &[u8] = b"every row has a MAC";
/// What a key that names its birth begins with. What a root returns begins with an algorithm.
const WITH_BIRTH: u8 = 0x10;

impl WrappedKey {
    fn wrap(
        root: &dyn Root,
        environment: &str,
        (class, version, key): (Class, u32, &Key),
        bound: Bound,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let aad = kek_aad(environment, class, version, bound)?;
        let mut wrapped = match bound {
            Bound::Not | Bound::ToMacs => Vec::new(),
            Bound::To(Birth(birth)) => [&[WITH_BIRTH][..], &birth].concat(),
        };
        wrapped.extend(root.wrap(key, &aad, entropy)?);
        Ok(Self {
            class,
            version,
            wrapped,
        })
    }

    fn open(&self, root: &dyn Root, environment: &str) -> Result<(Key, Bound), Error> {
        let open = |bound, wrapped: &[u8]| {
            let aad = kek_aad(environment, self.class, self.version, bound)?;
            Ok((root.unwrap(wrapped, &aad)?, bound))
        };
        if let Some((&WITH_BIRTH, rest)) = self.wrapped.split_first() {
            let (birth, wrapped) = rest.split_first_chunk().ok_or(Error::TooShort)?;
            return open(Bound::To(Birth(*birth)), wrapped);
        }
        match open(Bound::ToMacs, &self.wrapped) {
            Err(Error::Refused) => open(Bound::Not, &self.wrapped),
            opened => opened,
        }
    }

    /// Whether a root opens it.
    pub fn opens_under(&self, root: &dyn Root, environment: &str) -> bool {
        self.open(root, environment).is_ok()
    }

    /// The same key under another root. What is sealed under the key is untouched.
    pub fn rewrap(
        &self,
        from: &dyn Root,
        to: &dyn Root,
        environment: &str,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let (key, bound) = self.open(from, environment)?;
        let key = (self.class, self.version, &key);
        Self::wrap(to, environment, key, bound, entropy)
    }

    /// The same key under the same root, bound to the keys of this birth, and saying that every row
    /// has a MAC.
    pub fn bound_to(
        &self,
        birth: Birth,
        root: &dyn Root,
        environment: &str,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let (key, _) = self.open(root, environment)?;
        let key = (self.class, self.version, &key);
        Self::wrap(root, environment, key, Bound::To(birth), entropy)
    }
}

/// The version of the class key that a wrapped DEK is under. It is bound into the DEK's own AAD, so
/// a DEK that names another one does not open.
pub fn version_of(wrapped: &[u8]) -> Result<u32, Error> {
    let (version, _) = aead::strip_algorithm(wrapped)?
        .split_first_chunk()
        .ok_or(Error::TooShort)?;
    Ok(u32::from_be_bytes(*version))
}

/// Where a record lives. A DEK opens there and nowhere else; the environment comes from the
/// keyring.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The row's primary key, as bytes that never change.
    pub row: &'a [u8],
    /// The id of the merchant whose record it is.
    pub merchant: &'a str,
}

/// All class keys of one environment, scheduled and ready.
///
/// ```compile_fail,E0277
/// fn show(keyring: cardveil_seal::Keyring) {
///     println!("{keyring:?}");
/// }
/// ```
/// ```compile_fail,E0599
/// fn copy(keyring: cardveil_seal::Keyring) {
///     keyring.clone();
/// }
/// ```
pub struct Keyring {
    environment: String,
    /// What new keys are bound to: what any of them is.
    bound: Bound,
    keks: BTreeMap<(Class, u32), Cipher>,
    macs: BTreeMap<(Class, u32), hmac::Key>,
    /// Each behind what the MACs of all rows begin with.
    rows: BTreeMap<u32, cmac::Context>,
    signers: BTreeMap<(Class, u32), Signer>,
    cvks: BTreeMap<u32, Cvk>,
}

impl Keyring {
    /// Version 1 of every class, for a new environment: it has no row without a MAC, and its keys say
    /// so and are bound to each other from the first.
    pub fn begin(
        root: &dyn Root,
        environment: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, Error> {
        let bound = Bound::To(Birth::generate(entropy));
        let make = |class| {
            let key = Key::generate(entropy);
            WrappedKey::wrap(root, environment, (class, 1, &key), bound, entropy)
        };
        let classes = Class::ALL.into_iter().chain([Class::Row]);
        classes.map(make).collect()
    }

    /// Version 1 of every class but that of rows, as environments had them before it.
    pub fn generate(
        root: &dyn Root,
        environment: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, Error> {
        Self::missing(root, environment, &[], entropy)
    }

    /// Version 1 of one class, for an environment that is older than the class.
    pub fn first(
        root: &dyn Root,
        environment: &str,
        class: Class,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, Error> {
        let key = Key::generate(entropy);
        WrappedKey::wrap(root, environment, (class, 1, &key), Bound::Not, entropy)
    }

    /// Version 1 of each class that is younger than an environment. If a key that is there does not
    /// open, nothing is made, or the set would hold keys of two roots. Where one says that every row
    /// has a MAC, all were there once: one that is gone is not made again.
    pub fn missing(
        root: &dyn Root,
        environment: &str,
        wrapped: &[WrappedKey],
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, Error> {
        let there = |class| wrapped.iter().any(|key| key.class == class);
        let missing = Class::ALL.into_iter().chain([Class::Row]);
        let missing: Vec<_> = missing.filter(|class| !there(*class)).collect();
        for key in wrapped {
            let (_, bound) = key.open(root, environment)?;
            if let Some(class) = missing.first().filter(|_| bound != Bound::Not) {
                return Err(Error::MissingClass(*class));
            }
        }
        missing
            .into_iter()
            .filter(|class| *class != Class::Row)
            .map(|class| Self::first(root, environment, class, entropy))
            .collect()
    }

    /// A card verification key under the root, as this version of [`Class::Cvk`]: for cards whose
    /// numbers begin with `prefix`.
    pub fn import_cvk(
        &self,
        root: &dyn Root,
        (version, cvk): (u32, &CvkParts),
        (prefix, order): (&str, ExpiryOrder),
        entropy: &dyn Entropy,
    ) -> Result<Result<WrappedKey, CvkError>, Error> {
        let key = match cvk.key(prefix, order) {
            Ok(key) => key,
            Err(refused) => return Ok(Err(refused)),
        };
        let key = (Class::Cvk, version, &key);
        WrappedKey::wrap(root, &self.environment, key, self.bound, entropy).map(Ok)
    }

    /// The card verification key of new cards of this number: of those that are for it, the one
    /// that says most of it, and of these the newest.
    pub fn cvk_for(&self, number: &[u8]) -> Option<u32> {
        let fitting = self.cvks.iter();
        let fitting = fitting.filter_map(|(version, cvk)| Some((cvk.fits(number)?, *version)));
        fitting.max().map(|(_, version)| version)
    }

    /// The CVV2 that a card verification key gives for a number and two digits each of month and
    /// year.
    pub fn derive_cvv(
        &self,
        version: u32,
        number: &[u8],
        (month, year): (&[u8], &[u8]),
    ) -> Result<Secret, Error> {
        let class = Class::Cvk;
        let cvk = self.cvks.get(&version);
        let cvk = cvk.ok_or(Error::UnknownVersion { class, version })?;
        cvk.cvv2(number, month, year)
    }

    /// What operators may know of the card verification keys.
    pub fn cvks(&self) -> impl Iterator<Item = CvkNote> {
        self.cvks.iter().map(|(version, cvk)| cvk.note(*version))
    }

    /// Unwraps all keys. There may be several versions of a class: the highest seals, all open. Where
    /// one is bound to the keys that it goes with, all are these.
    pub fn open(root: &dyn Root, environment: &str, wrapped: &[WrappedKey]) -> Result<Self, Error> {
        let mut keyring = Self {
            environment: environment.to_owned(),
            bound: Bound::Not,
            keks: BTreeMap::new(),
            macs: BTreeMap::new(),
            rows: BTreeMap::new(),
            signers: BTreeMap::new(),
            cvks: BTreeMap::new(),
        };
        let mut all = None;
        for wrapped in wrapped {
            let (class, version) = (wrapped.class, wrapped.version);
            let (key, bound) = wrapped.open(root, environment)?;
            if all.is_some_and(|all: Bound| !all.goes_with(bound)) {
                return Err(Error::OfOtherKeys { class, version });
            }
            all = all.max(Some(bound));
            if !keyring.insert(class, version, &key)? {
                return Err(Error::DuplicateKey { class, version });
            }
        }
        keyring.bound = all.unwrap_or(Bound::Not);
        let with_rows = keyring.says_rows_have_macs().then_some(Class::Row);
        for class in Class::ALL.into_iter().chain(with_rows) {
            keyring.current_version(class)?;
        }
        Ok(keyring)
    }

    /// The next version of a class. Store it and open the keyring again to use it; keep the older
    /// versions for as long as anything is sealed under them.
    pub fn rotate(
        &self,
        root: &dyn Root,
        class: Class,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, Error> {
        let next = self
            .current_version(class)?
            .checked_add(1)
            .ok_or(Error::VersionsExhausted(class))?;
        let key = Key::generate(entropy);
        let key = (class, next, &key);
        WrappedKey::wrap(root, &self.environment, key, self.bound, entropy)
    }

    /// Whether a key says that every row has a MAC.
    pub fn says_rows_have_macs(&self) -> bool {
        self.bound != Bound::Not
    }

    /// Whether the keys are bound to each other.
    pub fn is_bound(&self) -> bool {
        matches!(self.bound, Bound::To(_))
    }

    /// The environment that all keys are bound to.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The version that seals now.
    pub fn current_version(&self, class: Class) -> Result<u32, Error> {
        let current = match class.purpose() {
            Purpose::Wrap => highest(&self.keks, class),
            Purpose::Authenticate => highest(&self.macs, class),
            Purpose::AuthenticateRows => self.rows.keys().next_back().copied(),
            Purpose::Sign => highest(&self.signers, class),
            Purpose::Derive => self.cvks.keys().next_back().copied(),
        };
        current.ok_or(Error::MissingClass(class))
    }

    /// The MAC of `parts` under the current version of [`Class::Index`] or [`Class::Access`]. Parts
    /// cannot run into each other. Let the first one say what the MAC is for.
    pub fn mac(&self, class: Class, parts: &[&[u8]]) -> Result<[u8; 32], Error> {
        let (_, current) = self
            .macs(class, parts)?
            .next()
            .ok_or(Error::MissingClass(class))?;
        Ok(current)
    }

    /// The MAC of `parts` under each version, with the version, the current one first: what to
    /// look for while an index is being moved to a newer key.
    pub fn macs(
        &self,
        class: Class,
        parts: &[&[u8]],
    ) -> Result<impl Iterator<Item = (u32, [u8; 32])>, Error> {
        if class.purpose() != Purpose::Authenticate {
            return Err(Error::WrongPurpose(class));
        }
        let mut message = Vec::new();
        aead::bind(&mut message, parts)?;
        let keys = self.macs.range(versions(class)).rev();
        Ok(keys.map(move |(&(_, version), key)| (version, mac(key, &[&message]))))
    }

    /// The MAC of a row under this version of [`Class::Row`]: AES-256-CMAC (NIST SP 800-38B), which
    /// takes no nonce, so that a row that is written again in a commit that failed costs nothing.
    /// `message` says the row without a doubt about where one of its parts ends.
    pub fn row_mac(&self, version: u32, message: &[u8]) -> Result<[u8; 16], Error> {
        let class = Class::Row;
        let key = self.rows.get(&version);
        let key = key.ok_or(Error::UnknownVersion { class, version })?;
        cmac(key.clone(), message)
    }

    /// Whether there is a key of this version to MAC with.
    pub fn knows_mac(&self, class: Class, version: u32) -> bool {
        self.macs.contains_key(&(class, version))
    }

    /// The MAC of `parts` under this version alone, for what names its version.
    pub fn mac_under(
        &self,
        class: Class,
        version: u32,
        parts: &[&[u8]],
    ) -> Result<[u8; 32], Error> {
        if class.purpose() != Purpose::Authenticate {
            return Err(Error::WrongPurpose(class));
        }
        let key = self.macs.get(&(class, version));
        let key = key.ok_or(Error::UnknownVersion { class, version })?;
        let mut message = Vec::new();
        aead::bind(&mut message, parts)?;
        Ok(mac(key, &[&message]))
    }

    /// Whether `tag` is the MAC of `parts` under any version. Constant time for each version.
    pub fn verify_mac(&self, class: Class, parts: &[&[u8]], tag: &[u8]) -> Result<bool, Error> {
        Ok(self
            .macs(class, parts)?
            .fold(false, |found, (_, mac)| found | constant_time_eq(&mac, tag)))
    }

    /// A fresh DEK for the record at `place`, and the wrapped form to store with it.
    pub fn new_dek(
        &self,
        class: Class,
        place: &Place<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(Dek, Vec<u8>), Error> {
        let key = Key::generate(entropy);
        let wrapped = self.wrap_dek(class, place, &key, entropy)?;
        Ok((self.dek(class, place, &key)?, wrapped))
    }

    /// The DEK of the record at `place`.
    pub fn open_dek(&self, class: Class, place: &Place<'_>, wrapped: &[u8]) -> Result<Dek, Error> {
        let (_, key) = self.unwrap_dek(class, place, wrapped)?;
        self.dek(class, place, &key)
    }

    /// The same DEK under the current class key, or `None` if it is already. Fields stay as they
    /// are.
    pub fn rewrap_dek(
        &self,
        class: Class,
        place: &Place<'_>,
        wrapped: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, Error> {
        let (version, key) = self.unwrap_dek(class, place, wrapped)?;
        if version == self.current_version(class)? {
            return Ok(None);
        }
        self.wrap_dek(class, place, &key, entropy).map(Some)
    }

    /// False if the version is there already.
    fn insert(&mut self, class: Class, version: u32, key: &Key) -> Result<bool, Error> {
        let at = (class, version);
        Ok(match class.purpose() {
            Purpose::Wrap => self.keks.insert(at, Cipher::new(key)).is_none(),
            Purpose::Authenticate => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
                self.macs.insert(at, key).is_none()
            }
            Purpose::AuthenticateRows => {
                let key = cmac::Key::new(cmac::AES_256, key.expose());
                let mut context = cmac::Context::with_key(&key.map_err(|_| Error::Refused)?);
                let mut place = Vec::new();
                let parts: [&[u8]; 2] = [b"cardveil/row/v1", self.environment.as_bytes()];
                aead::bind(&mut place, &parts)?;
                context.update(&place).map_err(|_| Error::Refused)?;
                self.rows.insert(version, context).is_none()
            }
            Purpose::Sign => self.signers.insert(at, Signer::new(key)?).is_none(),
            Purpose::Derive => self.cvks.insert(version, Cvk::open(key)?).is_none(),
        })
    }

    /// The signature of `message` under the current version of a class that signs: 64 bytes, the
    /// same each time.
    pub fn sign(&self, class: Class, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.signer(class)?.sign(message)
    }

    /// The public half of the current version of a class that signs.
    pub fn public_key(&self, class: Class) -> Result<PublicKey, Error> {
        self.signer(class)?.public_key()
    }

    /// The public halves of all versions, the current one first: what was signed before a rotation
    /// stays as good as it was.
    pub fn public_keys(&self, class: Class) -> Result<Vec<PublicKey>, Error> {
        self.signers(class)?.map(Signer::public_key).collect()
    }

    fn signer(&self, class: Class) -> Result<&Signer, Error> {
        if class.purpose() != Purpose::Sign {
            return Err(Error::WrongPurpose(class));
        }
        let current = (class, self.current_version(class)?);
        self.signers.get(&current).ok_or(Error::MissingClass(class))
    }

    /// All that have signed for a class, the current one first.
    fn signers(&self, class: Class) -> Result<impl Iterator<Item = &Signer>, Error> {
        if class.purpose() != Purpose::Sign {
            return Err(Error::WrongPurpose(class));
        }
        let signers = self.signers.range(versions(class)).rev();
        Ok(signers.map(|(_, signer)| signer))
    }

    fn wrap_dek(
        &self,
        class: Class,
        place: &Place<'_>,
        key: &Key,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        let version = self.current_version(class)?;
        let kek = self.kek(class, version)?;
        let [v0, v1, v2, v3] = version.to_be_bytes();
        let aad = self.dek_aad(class, place, version)?;
        kek.seal(
            &[aead::ALGORITHM, v0, v1, v2, v3],
            &aad,
            key.expose(),
            entropy,
        )
    }

    fn unwrap_dek(
        &self,
        class: Class,
        place: &Place<'_>,
        wrapped: &[u8],
    ) -> Result<(u32, Key), Error> {
        let (version, body): (&[u8; 4], _) = aead::strip_algorithm(wrapped)?
            .split_first_chunk()
            .ok_or(Error::TooShort)?;
        let version = u32::from_be_bytes(*version);
        let kek = self.kek(class, version)?;
        let aad = self.dek_aad(class, place, version)?;
        Ok((version, kek.open_key(&aad, body)?))
    }

    fn kek(&self, class: Class, version: u32) -> Result<&Cipher, Error> {
        if class.purpose() != Purpose::Wrap {
            return Err(Error::WrongPurpose(class));
        }
        self.keks
            .get(&(class, version))
            .ok_or(Error::UnknownVersion { class, version })
    }

    fn dek(&self, class: Class, place: &Place<'_>, key: &Key) -> Result<Dek, Error> {
        let aad = self.place_aad(b"cardveil/field/v1", class, place)?;
        Ok(Dek {
            cipher: Cipher::new(key),
            aad,
        })
    }

    fn dek_aad(&self, class: Class, place: &Place<'_>, version: u32) -> Result<Vec<u8>, Error> {
        let mut aad = self.place_aad(b"cardveil/dek/v1", class, place)?;
        aead::bind(&mut aad, &[&version.to_be_bytes()])?;
        Ok(aad)
    }

    fn place_aad(&self, label: &[u8], class: Class, place: &Place<'_>) -> Result<Vec<u8>, Error> {
        let Place {
            table,
            row,
            merchant,
        } = place;
        let mut aad = Vec::new();
        aead::bind(
            &mut aad,
            &[
                label,
                self.environment.as_bytes(),
                table.as_bytes(),
                row,
                merchant.as_bytes(),
                &[class.code()],
            ],
        )?;
        Ok(aad)
    }
}

/// The version of a class that is used now.
fn highest<T>(keys: &BTreeMap<(Class, u32), T>, class: Class) -> Option<u32> {
    let (&(_, version), _) = keys.range(versions(class)).next_back()?;
    Some(version)
}

fn versions(class: Class) -> RangeInclusive<(Class, u32)> {
    (class, u32::MIN)..=(class, u32::MAX)
}

fn kek_aad(environment: &str, class: Class, version: u32, bound: Bound) -> Result<Vec<u8>, Error> {
    let mut aad = Vec::new();
    aead::bind(
        &mut aad,
        &[
            b"cardveil/kek/v1",
            environment.as_bytes(),
            &[class.code()],
            &version.to_be_bytes(),
        ],
    )?;
    match bound {
        Bound::Not => {}
        Bound::ToMacs => aead::bind(&mut aad, &[ROWS_HAVE_MACS])?,
        Bound::To(Birth(birth)) => aead::bind(&mut aad, &[ROWS_HAVE_MACS, &birth])?,
    }
    Ok(aad)
}

/// The key of one record, bound to the record's place.
///
/// ```compile_fail,E0277
/// fn show(dek: cardveil_seal::Dek) {
///     println!("{dek:?}");
/// }
/// ```
/// ```compile_fail,E0599
/// fn copy(dek: cardveil_seal::Dek) {
///     dek.clone();
/// }
/// ```
pub struct Dek {
    cipher: Cipher,
    /// The AAD of every field, but for the field's name.
    aad: Vec<u8>,
}

impl Dek {
    /// Seals one field of the record.
    pub fn seal(
        &self,
        field: &str,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        self.cipher.seal(
            &[aead::ALGORITHM],
            &self.field_aad(field)?,
            plaintext,
            entropy,
        )
    }

    /// Opens what was sealed as the same field of the same record.
    pub fn open(&self, field: &str, sealed: &[u8]) -> Result<Secret, Error> {
        self.cipher
            .open(&self.field_aad(field)?, aead::strip_algorithm(sealed)?)
    }

    fn field_aad(&self, field: &str) -> Result<Vec<u8>, Error> {
        let mut aad = self.aad.clone();
        aead::bind(&mut aad, &[field.as_bytes()])?;
        Ok(aad)
    }
}
