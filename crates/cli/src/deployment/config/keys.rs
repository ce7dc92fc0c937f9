//! `[keys]`: where the root key is, and the one that is to take its place.

use std::path::{Path, PathBuf};

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
    /// The files that must not lie beside the data, and what names them: of each root key its own,
    /// or its module's PIN.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let roots = [
            (["keys.root", "keys.root.pkcs11.pin_file"], Some(&self.root)),
            (
                ["keys.next_root", "keys.next_root.pkcs11.pin_file"],
                self.next_root.as_ref(),
            ),
        ];
        roots.into_iter().flat_map(|([own, pin], root)| {
            let (name, files) = match root {
                None => (own, &[][..]),
                Some(root @ RootKey::Module { .. }) => (pin, root.files()),
                Some(root @ (RootKey::File(_) | RootKey::Shares { .. })) => (own, root.files()),
            };
            files.iter().map(move |path| (name, path))
        })
    }

    /// The shared libraries that are loaded for them.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Path> {
        let roots = [Some(&self.root), self.next_root.as_ref()];
        roots.into_iter().flatten().filter_map(|root| match root {
            RootKey::Module { pkcs11 } => Some(pkcs11.module.as_path()),
            RootKey::File(_) | RootKey::Shares { .. } => None,
        })
    }

    /// Whether a file is one of several that need not all be there.
    pub(crate) fn is_share(&self, file: &PathBuf) -> bool {
        let roots = [Some(&self.root), self.next_root.as_ref()];
        roots
            .into_iter()
            .flatten()
            .any(|root| matches!(root, RootKey::Shares { shares } if shares.contains(file)))
    }
}

/// Where a root key is: a file, a hardware module, or shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a path, { pkcs11 = { ... } } or { shares = [...] }, each whole"
)]
pub(crate) enum RootKey {
    /// The key's file.
    File(PathBuf),
    /// A key inside a module.
    Module {
        /// By PKCS #11.
        pkcs11: Pkcs11,
    },
    /// Files of which some are enough.
    Shares {
        /// All of them, or those that are brought here.
        shares: Vec<PathBuf>,
    },
}

/// A key in a hardware module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pkcs11 {
    /// The shared library of its maker.
    pub(crate) module: PathBuf,
    pub(crate) token_label: String,
    /// Where several tokens have that label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_serial: Option<String>,
    pub(crate) key_label: String,
    /// A file with the user's PIN, for its owner's eyes only.
    pub(crate) pin_file: PathBuf,
}

impl RootKey {
    /// Its own files, or its module's PIN.
    fn files(&self) -> &[PathBuf] {
        match self {
            Self::File(path) => std::slice::from_ref(path),
            Self::Module { pkcs11 } => std::slice::from_ref(&pkcs11.pin_file),
            Self::Shares { shares } => shares,
        }
    }

    /// Makes its files relative to a folder.
    pub(super) fn under(&mut self, base: &Path) {
        let files = match self {
            Self::File(path) => std::slice::from_mut(path),
            Self::Module { pkcs11 } => std::slice::from_mut(&mut pkcs11.pin_file),
            Self::Shares { shares } => shares,
        };
        for file in files {
            *file = base.join(&*file);
        }
    }
}
