//! A deployment: what it is made of, and how it is opened.

pub(crate) mod archive;
pub(crate) mod backend;
mod change;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod jwk;
pub(crate) mod networks;
mod operator;
pub(crate) mod permitted;
pub(crate) mod process;
pub(crate) mod roots;
pub(crate) mod scratch;
pub(crate) mod sinks;
pub(crate) mod trust;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cardveil_core::audit::sink::Gate;
use cardveil_core::audit::{Event, Kind, Target};
use cardveil_core::clock::{Clock as _, SystemClock, Time};
use cardveil_core::keys::{ClassKey, RootChange};
use cardveil_core::port::{Store, WrappedKey};
use cardveil_core::text::Numbering;
use cardveil_core::vault::Vault;
use cardveil_core::verb::{Commit, CreateKeys};
use cardveil_core::{Entropy, Service};
use cardveil_seal::{Birth, Class, Keyring, Roots, SystemEntropy};

use self::backend::Backend;
pub(crate) use self::change::{missing, refused};
use self::config::{Config, RootKey};
pub(crate) use self::operator::operator;
use crate::print::{explained, hinted};

/// An open deployment.
pub(crate) struct Deployment {
    pub(crate) config: Config,
    pub(crate) service: Service,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) backend: Backend,
}

impl Deployment {
    /// Opens the one that a configuration file describes.
    pub(crate) async fn load(config: &Path) -> anyhow::Result<Self> {
        let loaded = Config::load(config)?;
        trust::refuse_open_to_all(config, &loaded)?;
        Self::open(loaded).await
    }

    /// Opens it; the root key and the class keys must be there.
    pub(crate) async fn open(config: Config) -> anyhow::Result<Self> {
        Self::put_together(config).await
    }

    /// Opens it, and makes what is not there yet.
    pub(crate) async fn create(config: Config) -> anyhow::Result<Self> {
        Self::create_root(&config)?;
        Self::put_together(config).await
    }

    /// Makes the folders and the root key, if they are not there yet.
    pub(crate) fn create_root(config: &Config) -> anyhow::Result<()> {
        let keys = config.keys.files().map(|(_, path)| path);
        for path in [&config.store.database, &config.store.fence]
            .into_iter()
            .chain(keys)
        {
            if let Some(folder) = path.parent() {
                create_private_folder(folder)?;
            }
        }
        if let RootKey::File(path) = &config.keys.root
            && !path.exists()
        {
            roots::create(&config.keys.root, None)?;
        }
        Ok(())
    }

    async fn put_together(config: Config) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let roots = roots::open(&config.keys)?;
        roots::refuse_beside_data(&config)?;
        let backend = Backend::open(&config.store).await?;
        let store = backend.store();
        let environment = config.environment.as_str();
        let now = clock.now();
        let (wrapped, is_new) = class_keys(&*store, &roots, environment, now).await?;
        let keyring = Keyring::open(&roots, environment, &wrapped).map_err(unfit)?;
        let are_bound = keyring.is_bound();
        if !are_bound && store.is_finished().await? && were_bound(&*store).await? {
            if store.wrapped_keys().await? != wrapped {
                return Err(keys_changed());
            }
            return Err(hinted(
                "the class keys are as they were before they were bound to each other, and the log says \
                 that they were bound",
                "somebody writes to the database: keep a copy of it as it is, find out who may write, and \
                 restore a backup",
            ));
        }
        let vault = Vault::new(keyring, config.environment, Arc::clone(&entropy))
            .reloading(roots::FromConfig::of(&config), wrapped.clone());
        let vault = Arc::new(vault);
        store.row_macs().open(Arc::clone(&vault));
        if is_new {
            let keys = wrapped.iter().cloned().map(|key| ClassKey::new(key, now));
            store.row_macs().learn(&keys.collect::<Vec<_>>());
            let made = create(&*store, Vec::new(), wrapped.clone(), now).await;
            if !matches!(made, Ok(true)) && has_begun(&*store).await? {
                return Err(hinted(
                    "another program has made the class keys just now",
                    "run this again: it opens those",
                ));
            }
            made?;
        }
        let right = store.wrapped_keys().await?;
        if right.iter().any(|key| !wrapped.contains(key)) {
            return Err(keys_changed());
        }
        if right != wrapped {
            return Err(hinted(
                "a class key's row is not what was written",
                "somebody writes to the database: keep a copy of it as it is, and find out who may write",
            ));
        }
        let service = Service::new(Arc::clone(&store), vault, clock, entropy)
            .with_budgets(config.budgets.budgets()?)
            .with_numbering(Numbering::with_own(config.numbering.own.clone()))
            .with_gate(if config.audit.can_stop() {
                Gate::kept()
            } else {
                Gate::open()
            });
        if !are_bound {
            bind_keys(&*store, &roots, environment, service.now()).await?;
        }
        drop(roots);
        Ok(Self {
            config,
            service,
            store,
            backend,
        })
    }
}

/// By a program of ours: their rows are right.
fn keys_changed() -> anyhow::Error {
    hinted(
        "another program has changed the class keys just now",
        "run this again: it opens those",
    )
}

fn unfit(error: cardveil_seal::Error) -> anyhow::Error {
    use cardveil_seal::Error::{MissingClass, OfOtherKeys, PinRefused, RootUnavailable};
    let hint = if let OfOtherKeys { .. } = error {
        "somebody has put a key there that is another deployment's, or of another time: keep a copy of \
         the database as it is, find out who may write to it, and restore a backup"
    } else if let MissingClass(_) = error {
        "it was there: somebody writes to the database. Keep a copy of it as it is, find out who may \
         write, and restore a backup"
    } else if let RootUnavailable(_) = error {
        "it was reached a moment ago: run this again, and if that does not help look at its module"
    } else if let PinRefused(_) = error {
        "put the right PIN into its file before this is run again: each run enters it once"
    } else {
        "the root key or the environment is not the one that this database was made with, or somebody has \
         written to the database"
    };
    explained(error, "the class keys do not open", hint)
}

/// The wrapped class keys. Those of an older environment that are not there yet are made; of a new
/// one, all, and it is told that they are not stored yet: their rows have MACs under one of them.
async fn class_keys(
    store: &dyn Store,
    roots: &Roots,
    environment: &str,
    now: Time,
) -> anyhow::Result<(Vec<WrappedKey>, bool)> {
    let mut wrapped = store.wrapped_keys().await?;
    if wrapped.is_empty() && has_begun(store).await? {
        // Another program may have made them just now. Whoever took them away is given none to go
        // on with.
        wrapped = store.wrapped_keys().await?;
        if wrapped.is_empty() {
            return Err(hinted(
                "the class keys are gone from the database, and its log says that there were some",
                "somebody writes to the database: keep a copy of it as it is, find out who may write, and \
                 restore a backup",
            ));
        }
    }
    // While one root key takes the other's place: under the one that the others are under.
    let root = roots.of(&wrapped, environment);
    if wrapped.is_empty() {
        if !store.is_finished().await? {
            return Err(hinted(
                "programs of the version before may serve on this schema, and there are no class keys",
                "run cardveil migrate --finish",
            ));
        }
        let keys = Keyring::begin(root, environment, &SystemEntropy).map_err(unfit)?;
        return Ok((keys, true));
    }
    let mut missing =
        Keyring::missing(root, environment, &wrapped, &SystemEntropy).map_err(unfit)?;
    let of_rows = Class::Row;
    if !wrapped.iter().any(|key| key.class == of_rows) && store.is_finished().await? {
        let first = Keyring::first(root, environment, of_rows, &SystemEntropy);
        missing.push(first.map_err(unfit)?);
    }
    if missing.is_empty() {
        return Ok((wrapped, false));
    }
    // Another process may have been first; then its keys are the keys.
    create(store, wrapped, missing, now).await?;
    Ok((store.wrapped_keys().await?, false))
}

/// Whether the log says that there were class keys: all but a raised epoch needs them.
async fn has_begun(store: &dyn Store) -> anyhow::Result<bool> {
    const FIRST: usize = 10;
    let entries = store.entries(0, FIRST).await?;
    Ok(entries
        .iter()
        .any(|entry| entry.event.kind != Kind::EpochRaised))
}

async fn create(
    store: &dyn Store,
    from: Vec<WrappedKey>,
    keys: Vec<WrappedKey>,
    now: Time,
) -> anyhow::Result<bool> {
    let classes: Vec<_> = keys.iter().map(|key| key.class.name()).collect();
    let target = Target {
        resource: Some(format!("class keys: {}", classes.join(", ")).into()),
        ..Target::default()
    };
    let event: Event = operator().event(now, Kind::KeysCreated, None, target);
    Ok(store.commit(CreateKeys { from, keys, event }).await?)
}

/// What the log says was bound.
const ONE_BIRTH: &str = "class keys of one birth";

/// Whether the log says that the class keys were bound to each other. It is read while they are not:
/// once, but where a deployment is from before.
async fn were_bound(store: &dyn Store) -> anyhow::Result<bool> {
    const PAGE: usize = 1_000;
    let has = |stored: &[u8]| {
        let says = ONE_BIRTH.as_bytes();
        stored.windows(says.len()).any(|part| part == says)
    };
    let mut after = 0;
    loop {
        let entries = store.chained(after, PAGE).await?;
        if entries.iter().any(|entry| has(entry.stored.as_bytes())) {
            return Ok(true);
        }
        let Some(last) = entries.last() else {
            return Ok(false);
        };
        after = last.seq;
    }
}

/// Once every row has a MAC, has each class key say so under the root key, and binds them to each
/// other. It needs to be done once; another process may be first.
async fn bind_keys(
    store: &dyn Store,
    roots: &Roots,
    environment: &str,
    now: Time,
) -> anyhow::Result<()> {
    if !store.row_macs().are_complete() || !store.is_finished().await? {
        return Ok(());
    }
    let from = store.wrapped_keys().await?;
    let root = roots.of(&from, environment);
    let birth = Birth::generate(&SystemEntropy);
    let to = from
        .iter()
        .map(|key| key.bound_to(birth, root, environment, &SystemEntropy))
        .collect::<Result<Vec<_>, _>>()?;
    let target = Target {
        resource: Some(ONE_BIRTH.into()),
        ..Target::default()
    };
    let event = operator().event(now, Kind::KeysBound, None, target);
    store.commit(RootChange { from, to, event }).await?;
    Ok(())
}

/// A folder that only its owner can look into.
pub(crate) fn create_private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use cardveil_core::card::Environment;
    use cardveil_core::verb::RecordEvent;
    use cardveil_seal::FileRoot;
    use cardveil_store::sqlite::{Options, Sqlite};

    use super::*;
    use crate::print::hint;

    /// A database from before the last class, its root key, and the keys that it has.
    async fn older(dir: &Path) -> (Config, FileRoot, Vec<WrappedKey>) {
        let mut config = Config::fresh(Environment::Sandbox);
        for path in [&mut config.store.database, &mut config.store.fence] {
            *path = dir.join(&*path);
            create_private_folder(path.parent().unwrap()).unwrap();
        }
        let path = dir.join("keys/root.key");
        config.keys.root = RootKey::File(path.clone());
        create_private_folder(path.parent().unwrap()).unwrap();
        let root = FileRoot::create(&path, &SystemEntropy).unwrap();
        let mut keys = Keyring::generate(&root, "sandbox", &SystemEntropy).unwrap();
        keys.retain(|key| key.class != Class::Manifest);
        let options = Options {
            database: config.store.database.clone(),
            fence: config.store.fence.clone(),
        };
        let (store, _) =
            Sqlite::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
        let event = operator().event(
            SystemClock.now(),
            Kind::KeysCreated,
            None,
            Target::default(),
        );
        assert!(
            store
                .commit(CreateKeys {
                    from: Vec::new(),
                    keys: keys.clone(),
                    event
                })
                .await
                .unwrap()
        );
        store.close();
        (config, root, keys)
    }

    #[tokio::test]
    async fn an_older_deployment_gets_the_class_keys_that_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let (config, _, keys) = older(dir.path()).await;
        let deployment = Deployment::open(config.clone()).await.unwrap();
        let key = deployment.service.vault().manifest_key().unwrap();
        let now = deployment.store.wrapped_keys().await.unwrap();
        assert_eq!(now.len(), keys.len() + 2);
        assert!(keys.iter().all(|key| now.contains(key)));
        let log = deployment.store.entries(0, 100).await.unwrap();
        let last = &log.last().unwrap().event;
        assert_eq!(last.kind, Kind::KeysCreated);
        let resource = last.target.resource.as_deref();
        assert_eq!(resource, Some("class keys: manifest, row"));
        let again = Deployment::open(config).await.unwrap();
        assert_eq!(again.service.vault().manifest_key().unwrap(), key);
        assert_eq!(again.store.wrapped_keys().await.unwrap(), now);
    }

    /// Those of a copy from before, put back.
    #[tokio::test]
    async fn keys_that_were_bound_are_not_taken_as_they_were_before() {
        let dir = tempfile::tempdir().unwrap();
        let (config, _, _) = older(dir.path()).await;
        let deployment = Deployment::open(config.clone()).await.unwrap();
        let target = Target {
            resource: Some(ONE_BIRTH.into()),
            ..Target::default()
        };
        let bound = operator().event(SystemClock.now(), Kind::KeysBound, None, target);
        deployment.store.commit(RecordEvent(bound)).await.unwrap();
        let error = Deployment::open(config).await.err().unwrap();
        assert!(hint(&error).unwrap().contains("somebody writes"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_root_key_adds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (config, _, keys) = older(dir.path()).await;
        let mut wrong = config.clone();
        let path = dir.path().join("keys/other.key");
        FileRoot::create(&path, &SystemEntropy).unwrap();
        wrong.keys.root = RootKey::File(path);
        let error = Deployment::open(wrong).await.err().unwrap();
        assert!(hint(&error).unwrap().contains("the root key"));
        let deployment = Deployment::open(config).await.unwrap();
        let now = deployment.store.wrapped_keys().await.unwrap();
        assert_eq!(now.len(), keys.len() + 2);
    }
}
