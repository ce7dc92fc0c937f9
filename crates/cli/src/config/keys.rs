//! `[keys]`: where the root key is, and the one that is to take its place.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// The root key's file, outside the database's folder (PCI DSS 3.6.1.2).
    pub(crate) root: RootKey,
    /// The root key that is to take its place: what is under it opens too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_root: Option<RootKey>,
}

impl Keys {
    /// The files that must not lie beside the data: of each root key its own, or its module's PIN.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let roots = [
            (["keys.root", "keys.root.pkcs11.pin_file"], Some(&self.root)),
            (
                ["keys.next_root", "keys.next_root.pkcs11.pin_file"],
                self.next_root.as_ref(),
            ),
        ];
        roots
            .into_iter()
            .filter_map(|([file, pin], root)| match root? {
                RootKey::File(path) => Some((file, path)),
                RootKey::Module { pkcs11 } => Some((pin, &pkcs11.pin_file)),
            })
    }
}

/// Where a root key is: a file, or a hardware module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum RootKey {
    /// The key's file.
    File(PathBuf),
    /// A key inside a module.
    Module {
        /// By PKCS #11.
        pkcs11: Pkcs11,
    },
}

/// A key in a hardware module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pkcs11 {
    /// The shared library of its maker.
    pub(crate) module: PathBuf,
    pub(crate) token_label: String,
    pub(crate) key_label: String,
    /// A file with the user's PIN, for its owner's eyes only.
    pub(crate) pin_file: PathBuf,
}

impl RootKey {
    /// The file that is to be relative to the configuration's.
    pub(super) const fn file(&mut self) -> &mut PathBuf {
        match self {
            Self::File(path) => path,
            Self::Module { pkcs11 } => &mut pkcs11.pin_file,
        }
    }
}
