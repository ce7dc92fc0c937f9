//! Root keys: opened when class keys are opened, and dropped again.
//!
//! **Invariant:** a server holds no root key while it serves. It opens the root at its start, and again
//! when there are other class keys in store.
//!
//! To add a provider: `cardveil_seal` says how; here, what the configuration calls it.

use std::path::Path;
use std::sync::Arc;

use cardveil_core::port::WrappedKey;
use cardveil_core::vault::Opener;
use cardveil_seal::{Error, FileRoot, Keyring, Root, Roots};

use crate::config::{self, Config};
use crate::print::hinted;

/// The root key in use, and the one that will take its place, if that is named.
pub(crate) fn open(keys: &config::Keys) -> anyhow::Result<Roots> {
    let first = open_one("keys.root", &keys.root)?;
    let mut others = Vec::new();
    if let Some(next) = &keys.next_root {
        others.push(open_one("keys.next_root", next)?);
    }
    Ok(Roots::new(first, others))
}

fn open_one(name: &str, path: &Path) -> anyhow::Result<Box<dyn Root>> {
    if !path.exists() {
        let hint = match name {
            "keys.root" => {
                "run `cardveil init`, or put the key back: without it no card can be opened"
            }
            _ => "make it with `cardveil key create-root`, or take keys.next_root out",
        };
        let what = format!("there is no root key at {} ({name})", path.display());
        return Err(hinted(what, hint));
    }
    Ok(Box::new(FileRoot::open(path)?))
}

/// Makes a root key where there is none.
pub(crate) fn create(path: &Path) -> anyhow::Result<Box<dyn Root>> {
    if let Some(folder) = path.parent() {
        crate::deployment::create_private_folder(folder)?;
    }
    Ok(Box::new(FileRoot::create(
        path,
        &cardveil_seal::SystemEntropy,
    )?))
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
    let roots = [Some(&config.keys.root), config.keys.next_root.as_ref()];
    for path in roots.into_iter().flatten() {
        // What is not there is told of when it is opened.
        let (Ok(data), Ok(root)) = (&data, path.canonicalize()) else {
            continue;
        };
        if root.starts_with(data) {
            return Err(hinted(
                format!(
                    "the root key {} is in the database's folder",
                    path.display()
                ),
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
