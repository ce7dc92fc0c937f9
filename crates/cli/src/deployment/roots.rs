//! Root keys: opened when class keys are opened, and dropped again.
//!
//! **Invariant:** a server holds no root key while it serves. It opens the root at its start, and
//! again when there are other class keys in store.
//!
//! To add a provider: `cardveil_seal` says how; here, what the configuration calls it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use cardveil_core::port::WrappedKey;
use cardveil_core::vault::Opener;
use cardveil_seal::{
    Error, FileRoot, Key, Keyring, Pkcs11Place, Pkcs11Root, Root, Roots, Secret, SharesRoot,
    SystemEntropy,
};

use crate::deployment::config::{self, Config, Pkcs11, RootKey, Setting};
use crate::print::{explained, hinted};

/// More than any module takes.
const PIN_BYTES_MAX: usize = 256;

/// The root key in use, and the one that will take its place, if that is named.
pub(crate) fn open(keys: &config::Keys) -> anyhow::Result<Roots> {
    let first = open_one("keys.root", &keys.root).context(Setting::new("keys.root"))?;
    let mut others = Vec::new();
    if let Some(next) = &keys.next_root {
        refuse_two_pins(&keys.root, next)?;
        let name = "keys.next_root";
        let next = open_one(name, next).context(Setting::new(name))?;
        try_out(&*next)?;
        others.push(next);
    }
    Ok(Roots::new(first, others))
}

/// A token that is open by the one PIN is not asked for the other, which would show wrong at the
/// next start.
fn refuse_two_pins(root: &RootKey, next: &RootKey) -> anyhow::Result<()> {
    if let (RootKey::Module { pkcs11: one }, RootKey::Module { pkcs11: other }) = (root, next)
        && (&one.module, &one.token_label, &one.token_serial)
            == (&other.module, &other.token_label, &other.token_serial)
        && !pin(one)?.ct_eq(pin(other)?.expose())
    {
        return Err(hinted(
            "keys.root and keys.next_root are in one token, and their PINs differ",
            "give both the same pin_file",
        ));
    }
    Ok(())
}

/// Nothing is under the next root yet, so nothing else would tell before the class keys are moved
/// to it that this process cannot use it: a sandbox may be in a module's way that was in no
/// operator's.
fn try_out(next: &dyn Root) -> anyhow::Result<()> {
    let aad = b"cardveil trial";
    next.wrap(&Key::generate(&SystemEntropy), aad, &SystemEntropy)
        .and_then(|wrapped| next.unwrap(&wrapped, aad))
        .map(drop)
        .map_err(|error| {
            explained(
                error,
                format!("keys.next_root, {}, cannot be used", next.name()),
                "mend that before `cardveil key rotate --root`, or take keys.next_root out",
            )
        })
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
            let what = format!("there is no root key at {}", path.display());
            Err(hinted(what, hint))
        }
        RootKey::File(path) => Ok(Box::new(FileRoot::open(path)?)),
        RootKey::Shares { shares } => {
            let root = SharesRoot::open(shares).map_err(|error| shares_hint(name, error))?;
            Ok(Box::new(root))
        }
        RootKey::Module { pkcs11 } => {
            let root = Pkcs11Root::open(place(pkcs11), pin(pkcs11)?);
            Ok(Box::new(root.map_err(|error| module_hint(name, error))?))
        }
    }
}

/// Makes a root key where there is none; one in shares, so that so many of them open it.
pub(crate) fn create(root: &RootKey, threshold: Option<u8>) -> anyhow::Result<Box<dyn Root>> {
    let is_shared = matches!(root, RootKey::Shares { .. });
    if is_shared != threshold.is_some() {
        return Err(hinted(
            "how many shares open the key is said of a root key in shares, and of no other",
            "with keys.next_root = { shares = [...] } run `cardveil key create-root --threshold 3`",
        ));
    }
    match root {
        RootKey::Shares { shares } => {
            for folder in shares.iter().filter_map(|path| path.parent()) {
                crate::deployment::create_private_folder(folder)?;
            }
            let root = SharesRoot::create(shares, threshold.unwrap_or_default(), &SystemEntropy);
            Ok(Box::new(
                root.map_err(|error| shares_hint("keys.next_root", error))?,
            ))
        }
        RootKey::File(path) => {
            if let Some(folder) = path.parent() {
                crate::deployment::create_private_folder(folder)?;
            }
            Ok(Box::new(FileRoot::create(path, &SystemEntropy)?))
        }
        RootKey::Module { pkcs11 } => {
            let root = Pkcs11Root::create(place(pkcs11), pin(pkcs11)?);
            let root = root.map_err(|error| module_hint("keys.next_root", error))?;
            Ok(Box::new(root))
        }
    }
}

/// Splits the root key in use, which must be a file, into new files of a folder; tells its name.
pub(crate) fn split(config: &Config, to: &Split) -> anyhow::Result<String> {
    let RootKey::File(path) = &config.keys.root else {
        return Err(hinted(
            "keys.root is not a file",
            "a key of a module does not leave it; to have other shares make a new root key: \
             `cardveil key create-root`",
        ));
    };
    crate::deployment::create_private_folder(&to.out)?;
    let files: Vec<_> = (1..=to.shares)
        .map(|n| to.out.join(format!("share-{n}")))
        .collect();
    let root = SharesRoot::split(path, &files, to.threshold, &SystemEntropy);
    Ok(root
        .map_err(|error| shares_hint("keys.root", error))?
        .name())
}

/// How a root key is to be split.
#[derive(clap::Args)]
pub(crate) struct Split {
    /// How many shares to make: at most 16
    #[arg(long)]
    shares: u8,
    /// How many of them open the key: at least 2
    #[arg(long)]
    threshold: u8,
    /// The folder for them, on no disk that lasts
    #[arg(long)]
    out: PathBuf,
}

fn shares_hint(name: &str, error: Error) -> anyhow::Error {
    let hint = if let Error::SharesMissing { .. } = error {
        format!("bring more of the files that {name} lists; each holder brings one")
    } else if let Error::ShareFormat { .. } = error {
        "compare it with its holder's copy, or take it out of the list if others are enough".into()
    } else if let Error::SharesAltered = error {
        "try other shares in its place, to learn which one it is".into()
    } else if let Error::SharesDiffer { .. } = error {
        "only shares that were made together go together".into()
    } else {
        return error.into();
    };
    hinted(error.to_string(), hint)
}

fn module_hint(name: &str, error: Error) -> anyhow::Error {
    let hint = format!(
        "check {name}: the module's path, the labels, the PIN in its file, and whether this account may \
         read the module's own files; `cardveil key create-root` makes the key that keys.next_root names"
    );
    explained(error, format!("{name} does not open"), hint)
}

fn place(module: &Pkcs11) -> Pkcs11Place {
    Pkcs11Place {
        module: module.module.clone(),
        token: module.token_label.clone(),
        serial: module.token_serial.clone(),
        key: module.key_label.clone(),
    }
}

/// The PIN, from a file that nobody else can read. The newline at its end is none of it. What a
/// person does not see in an editor is refused here: it would cost a try of the PIN, for all nodes.
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
    while pin.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        pin.pop();
    }
    let pin = Secret::new(pin);
    match unseen(pin.expose()) {
        None => Ok(pin),
        Some(what) => Err(hinted(
            format!(
                "the PIN's file {} {what}; the token was not asked, and no try of the PIN was spent",
                path.display()
            ),
            format!("write it anew: printf %s 'THE PIN' > {}", path.display()),
        )),
    }
}

/// What an editor does not show of a PIN.
fn unseen(pin: &[u8]) -> Option<&'static str> {
    let marks: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"];
    if marks.iter().any(|mark| pin.starts_with(mark)) {
        return Some("begins with a byte-order mark");
    }
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| b" \t".contains(byte));
    match pin {
        [] => Some("is empty"),
        _ if is_blank(pin.first()) => Some("begins with a blank"),
        _ if is_blank(pin.last()) => Some("ends in a blank"),
        _ if pin.contains(&b'\n') || pin.contains(&b'\r') => Some("has more than one line"),
        _ if pin.iter().any(u8::is_ascii_control) => Some("holds a control character"),
        _ => None,
    }
}

/// Refuses a root key in the database's folder or below it, by whatever name: whoever copies the
/// one must not get the other (PCI DSS 3.6.1.2).
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

#[async_trait]
impl Opener for FromConfig {
    async fn open(&self, keys: Vec<WrappedKey>) -> Result<Keyring, Error> {
        let (config, environment) = (self.keys.clone(), self.environment);
        let opened = tokio::task::spawn_blocking(move || {
            let roots = open(&config).map_err(|error| match error.downcast::<Error>() {
                Ok(error) => error,
                Err(other) => Error::RootUnavailable(format!("{other:#}")),
            })?;
            Keyring::open(&roots, environment, &keys)
        });
        opened
            .await
            // What it says is left out: it may be of a key.
            .unwrap_or_else(|_| Err(Error::RootUnavailable("opening it panicked".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use cardveil_seal::Entropy;

    use super::*;

    /// A module that is there, seals, and then is not there any more.
    struct Lost;

    impl Root for Lost {
        fn wrap(&self, _: &Key, _: &[u8], _: &dyn Entropy) -> Result<Vec<u8>, Error> {
            Ok(vec![0; 60])
        }

        fn unwrap(&self, _: &[u8], _: &[u8]) -> Result<Key, Error> {
            Err(Error::Refused)
        }

        fn name(&self) -> String {
            "pkcs11:cards/root".to_owned()
        }
    }

    #[test]
    fn a_next_root_that_cannot_be_used_is_told_before_anything_is_under_it() {
        let told = try_out(&Lost).unwrap_err().to_string();
        assert!(
            told.starts_with("keys.next_root, pkcs11:cards/root, cannot be used"),
            "{told}"
        );
        let folder = tempfile::tempdir().unwrap();
        let root = FileRoot::create(&folder.path().join("root.key"), &SystemEntropy).unwrap();
        try_out(&root).unwrap();
    }
}
