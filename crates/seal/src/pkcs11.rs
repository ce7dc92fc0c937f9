//! The root key in a hardware module, by PKCS #11: an AES-256 key that cannot leave the module,
//! under which class keys are sealed by AES-256-GCM inside it.
//!
//! The module is asked at start, at a rotation and when there are other class keys, and never for a
//! request. Each call opens a session of its own, and logs in where nobody is, so there is none
//! that could be lost; what a module wrapped has the format of [`FileRoot`](crate::FileRoot)'s.
//!
//! **Invariant:** a key that could be read out of the module, or that two objects could be meant
//! by, is not used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::aead::{ALGORITHM, strip_algorithm};
use crate::{Entropy, Error, Key, Root, Secret};

const NONCE_LEN: usize = 12;
const TAG_BITS: u64 = 128;

/// How often a session is tried to be opened, and the pause between. While another process logs in,
/// modules whose token is files (`SoftHSM`) may find it damaged or gone for a moment. The PIN is
/// entered after it.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Where the root key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11Place {
    /// The module: a shared library of its maker.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// Its serial number, where several tokens have that label.
    pub serial: Option<String>,
    /// The label of the key.
    pub key: String,
}

/// A module, and its token's label and serial number.
type Token = (PathBuf, String, Option<String>);

/// The PINs that were wrong of each module and token, so that this process enters none twice.
static REFUSED: Mutex<BTreeMap<Token, Vec<Secret>>> = Mutex::new(BTreeMap::new());

/// A root key in a hardware module.
///
/// ```compile_fail,E0277
/// fn show(root: cardveil_seal::Pkcs11Root) {
///     println!("{root:?}");
/// }
/// ```
pub struct Pkcs11Root {
    place: Pkcs11Place,
    pin: Secret,
    /// While one session is logged in, all others of the process are: software modules write down
    /// each login, and processes that log in at once get in each other's way.
    login: Mutex<Option<Session>>,
}

impl Pkcs11Root {
    /// The key that is there. `pin` is the user's.
    pub fn open(place: Pkcs11Place, pin: Secret) -> Result<Self, Error> {
        let root = Self::new(place, pin);
        let session = root.session(false)?;
        root.key(&session)?;
        root.stay_logged_in(session);
        Ok(root)
    }

    /// Makes the key inside the module. Never in the place of another one.
    pub fn create(place: Pkcs11Place, pin: Secret) -> Result<Self, Error> {
        let root = Self::new(place, pin);
        let session = root.session(true)?;
        if root.find(&session)?.is_some() {
            return Err(root.unavailable("the key exists already, and is never overwritten"));
        }
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Label(root.place.key.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ];
        session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .map_err(|error| root.failed(&error))?;
        root.stay_logged_in(session);
        Ok(root)
    }

    const fn new(place: Pkcs11Place, pin: Secret) -> Self {
        let login = Mutex::new(None);
        Self { place, pin, login }
    }

    fn stay_logged_in(&self, session: Session) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    /// A session of its own, logged in.
    fn session(&self, writes: bool) -> Result<Session, Error> {
        let failed = |error: ModuleError| self.failed(&error);
        let module = module(&self.place.module)?;
        let mut tries = 1;
        let session = loop {
            match self.open_session(&module, writes) {
                Err(Error::RootUnavailable(_)) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                opened => break opened?,
            }
        };
        let pin = std::str::from_utf8(self.pin.expose())
            .map_err(|_| self.unavailable("the PIN is not text"))?;
        match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
            // All sessions of a process are logged in together.
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(ModuleError::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
                let wrong = Secret::new(self.pin.expose().to_vec());
                refused.entry(self.token()).or_default().push(wrong);
                Err(self.pin_refused("the PIN is wrong; too many wrong ones lock the token"))
            }
            Err(ModuleError::Pkcs11(RvError::PinLocked, _)) => {
                Err(self.pin_refused("the PIN is locked: its security officer must set a new one"))
            }
            Err(ModuleError::Pkcs11(RvError::PinExpired, _)) => {
                Err(self
                    .pin_refused("the PIN has expired: set a new one with the maker's own tool"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A session, before the PIN is entered.
    fn open_session(&self, module: &Pkcs11, writes: bool) -> Result<Session, Error> {
        let failed = |error: ModuleError| self.failed(&error);
        let mut found = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(failed)? {
            let token = module.get_token_info(slot).map_err(failed)?;
            let serial = self.place.serial.as_deref();
            if token.label() == self.place.token
                && serial.is_none_or(|serial| serial == token.serial_number())
            {
                found.push((slot, token));
            }
        }
        let serials: Vec<_> = found
            .iter()
            .map(|(_, token)| token.serial_number())
            .collect();
        let serials = serials.join(", ");
        let mut found = found.into_iter();
        let (slot, token) = match (found.next(), found.next(), &self.place.serial) {
            (Some(one), None, _) => one,
            (Some(_), Some(_), _) => {
                return Err(self.unavailable(&format!(
                    "there are several tokens of this label: name the serial number of one with \
                     token_serial, of {serials}"
                )));
            }
            (None, _, None) => return Err(self.unavailable("there is no token of this label")),
            (None, _, Some(_)) => {
                return Err(self.unavailable("there is no token of this label and serial number"));
            }
        };
        self.spare_tries(&token)?;
        let session = if writes {
            module.open_rw_session(slot)
        } else {
            module.open_ro_session(slot)
        };
        session.map_err(failed)
    }

    /// A wrong PIN is not entered a second time by this process, and no PIN at all where one more
    /// wrong one would lock the token, for all nodes: a person who knows it logs in first.
    fn spare_tries(&self, token: &TokenInfo) -> Result<(), Error> {
        if token.user_pin_locked() || token.user_pin_final_try() {
            return Err(self.pin_refused(
                "the token has one try of its PIN left, or none: put the right PIN into its file, and log in \
                 once with the maker's own tool",
            ));
        }
        let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        if refused
            .get(&self.token())
            .is_some_and(|pins| pins.iter().any(|pin| pin.ct_eq(self.pin.expose())))
        {
            return Err(self.pin_refused(
                "its PIN is one that was wrong, and was not entered again: put the right one into \
                 its file, or restart if it is right now",
            ));
        }
        Ok(())
    }

    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, Error> {
        let failed = |error: ModuleError| self.failed(&error);
        let sought = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.place.key.as_bytes().to_vec()),
        ];
        let found = session.find_objects(&sought).map_err(failed)?;
        let key = match found.as_slice() {
            [] => return Ok(None),
            [key] => *key,
            [_, ..] => return Err(self.unavailable("there are several keys of this label")),
        };
        let asked = [AttributeType::Sensitive, AttributeType::Extractable];
        let has = session.get_attributes(key, &asked).map_err(failed)?;
        let kept = [Attribute::Sensitive(true), Attribute::Extractable(false)];
        if kept.iter().all(|attribute| has.contains(attribute)) {
            Ok(Some(key))
        } else {
            Err(self.unavailable("the key can be read out of the module, so it is not used"))
        }
    }

    fn key(&self, session: &Session) -> Result<ObjectHandle, Error> {
        self.find(session)?
            .ok_or_else(|| self.unavailable("there is no such key in the token"))
    }

    fn token(&self) -> Token {
        let Pkcs11Place {
            module,
            token,
            serial,
            key: _,
        } = self.place.clone();
        (module, token, serial)
    }

    fn failed(&self, error: &ModuleError) -> Error {
        self.unavailable(&error.to_string())
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::RootUnavailable(self.told(why))
    }

    fn pin_refused(&self, why: &str) -> Error {
        Error::PinRefused(self.told(why))
    }

    fn told(&self, why: &str) -> String {
        let Pkcs11Place {
            module,
            token,
            serial: _,
            key,
        } = &self.place;
        let module = module.display();
        format!("key {key:?} of token {token:?} in {module}: {why}")
    }
}

impl Root for Pkcs11Root {
    fn wrap(&self, key: &Key, aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Error> {
        let session = self.session(false)?;
        let own = self.key(&session)?;
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut wrapped = vec![ALGORITHM];
        wrapped.extend(nonce);
        let parameters = GcmParams::new(&mut nonce, aad, TAG_BITS.into());
        let parameters = parameters.map_err(|_| Error::TooLong)?;
        let sealed = session
            .encrypt(&Mechanism::AesGcm(parameters), own, key.expose())
            .map_err(|error| self.failed(&error))?;
        wrapped.extend(sealed);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Key, Error> {
        let (nonce, sealed) = strip_algorithm(wrapped)?
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(Error::TooShort)?;
        if sealed.len() != Key::LEN + 16 {
            return Err(Error::TooShort);
        }
        let session = self.session(false)?;
        let own = self.key(&session)?;
        let mut nonce = *nonce;
        let parameters = GcmParams::new(&mut nonce, aad, TAG_BITS.into());
        let parameters = parameters.map_err(|_| Error::TooLong)?;
        match session.decrypt(&Mechanism::AesGcm(parameters), own, sealed) {
            Ok(key) => Key::from_slice(&Zeroizing::new(key)),
            Err(error) if is_refusal(&error) => Err(Error::Refused),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn name(&self) -> String {
        format!("pkcs11:{}/{}", self.place.token, self.place.key)
    }
}

/// What modules say where the tag does not fit. PKCS #11 2.40 names no error for it, and `SoftHSM`
/// says "general error".
const fn is_refusal(error: &ModuleError) -> bool {
    matches!(
        error,
        ModuleError::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::DataInvalid
                | RvError::DataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed,
            Function::Decrypt
        )
    )
}

/// The module, loaded and initialised once in a process, as PKCS #11 wants it.
fn module(path: &Path) -> Result<Pkcs11, Error> {
    static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let failed = |what: &str, error: ModuleError| {
        let path = path.display();
        Error::RootUnavailable(format!(
            "the PKCS #11 module {path} cannot be {what}: {error}"
        ))
    };
    let module = Pkcs11::new(path).map_err(|error| failed("loaded", error))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| failed("initialised", error))?;
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}
