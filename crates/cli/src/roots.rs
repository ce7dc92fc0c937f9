//! Root keys: opened when class keys are opened, and dropped again.
//!
//! **Invariant:** a server holds no root key while it serves. It opens the root at its start, and again
//! when there are other class keys in store.
//!
//! To add a provider: `cardveil_seal` says how; here, what the configuration calls it.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cardveil_core::port::WrappedKey;
use cardveil_core::vault::Opener;
use cardveil_seal::{
    Error, FileRoot, Keyring, Pkcs11Place, Pkcs11Root, Root, Roots, Secret, SystemEntropy,
};

use crate::config::{self, Config, Pkcs11, RootKey};
use crate::print::hinted;

/// More than any module takes.
const PIN_BYTES_MAX: usize = 256;

/// The root key in use, and the one that will take its place, if that is named.
pub(crate) fn open(keys: &config::Keys) -> anyhow::Result<Roots> {
    let first = open_one("keys.root", &keys.root)?;
    let mut others = Vec::new();
    if let Some(next) = &keys.next_root {
        others.push(open_one("keys.next_root", next)?);
    }
    Ok(Roots::new(first, others))
}

fn open_one(name: &str, root: &RootKey) -> anyhow::Result<Box<dyn Root>> {
    match root {
        RootKey::File(path) if !path.exists() => {
            let hint = match name {
                "keys.root" => {
                    "run `cardveil init`, or put the key back: without it no card can be opened"
                }
                _ => "make it with `cardveil key create-root`, or take keys.next_root out",
            };
            let what = format!("there is no root key at {} ({name})", path.display());
            Err(hinted(what, hint))
        }
        RootKey::File(path) => Ok(Box::new(FileRoot::open(path)?)),
        RootKey::Module { pkcs11 } => {
            let root = Pkcs11Root::open(place(pkcs11), pin(pkcs11)?);
            Ok(Box::new(root.map_err(|error| module_hint(name, &error))?))
        }
    }
}

/// Makes a root key where there is none.
pub(crate) fn create(root: &RootKey) -> anyhow::Result<Box<dyn Root>> {
    match root {
        RootKey::File(path) => {
            if let Some(folder) = path.parent() {
                crate::deployment::create_private_folder(folder)?;
            }
            Ok(Box::new(FileRoot::create(path, &SystemEntropy)?))
        }
        RootKey::Module { pkcs11 } => {
            let root = Pkcs11Root::create(place(pkcs11), pin(pkcs11)?);
            let root = root.map_err(|error| module_hint("keys.next_root", &error))?;
            Ok(Box::new(root))
        }
    }
}

fn module_hint(name: &str, error: &Error) -> anyhow::Error {
    hinted(
        error.to_string(),
        format!(
            "check {name}: the module's path, the labels, and the PIN in its file; \
             `cardveil key create-root` makes the key that keys.next_root names"
        ),
    )
}

fn place(module: &Pkcs11) -> Pkcs11Place {
    Pkcs11Place {
        module: module.module.clone(),
        token: module.token_label.clone(),
        key: module.key_label.clone(),
    }
}

/// The PIN, from a file that nobody else can read. The newline at its end is none of it.
fn pin(module: &Pkcs11) -> anyhow::Result<Secret> {
    let path = &module.pin_file;
    let cannot = || format!("cannot read the PIN's file {}", path.display());
    let mut file = std::fs::File::open(path).with_context(cannot)?;
    if cardveil_seal::is_exposed(&file.metadata().with_context(cannot)?) {
        return Err(hinted(
            format!("others can read the PIN's file {}", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    // From the start of a size that is not outgrown: a buffer that grows leaves a copy behind.
    let mut pin = Vec::with_capacity(PIN_BYTES_MAX);
    let most = u64::try_from(PIN_BYTES_MAX).unwrap_or(u64::MAX);
    std::io::Read::take(&mut file, most)
        .read_to_end(&mut pin)
        .with_context(cannot)?;
    while pin.last().is_some_and(u8::is_ascii_whitespace) {
        pin.pop();
    }
    Ok(Secret::new(pin))
}

/// Refuses a root key in the database's folder or below it, by whatever name: whoever copies the one
/// must not get the other (PCI DSS 3.6.1.2).
pub(crate) fn refuse_beside_data(config: &Config) -> anyhow::Result<()> {
    if config.store.postgres.is_some() {
        return Ok(());
    }
    let folder = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or_else(|| Path::new(".")).canonicalize()
    };
    let data = folder(&config.store.database);
    for (name, path) in config.keys.files() {
        // What is not there is told of when it is opened.
        let (Ok(data), Ok(root)) = (&data, path.canonicalize()) else {
            continue;
        };
        if root.starts_with(data) {
            return Err(hinted(
                format!("{name} ({}) is in the database's folder", path.display()),
                "whoever copies the one must not get the other: move it to a folder of its own",
            ));
        }
    }
    Ok(())
}

/// Opens class keys with the root keys as they are at that moment.
pub(crate) struct FromConfig {
    pub(crate) keys: config::Keys,
    pub(crate) environment: &'static str,
}

impl FromConfig {
    pub(crate) fn of(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            keys: config.keys.clone(),
            environment: config.environment.as_str(),
        })
    }
}

impl Opener for FromConfig {
    fn open(&self, keys: &[WrappedKey]) -> Result<Keyring, Error> {
        let roots = open(&self.keys).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(other) => Error::RootUnavailable(format!("{other:#}")),
        })?;
        Keyring::open(&roots, self.environment, keys)
    }
}
