//! Who else could change what a deployment is made of: its configuration, its data, its keys, and
//! the programs that it loads. Whoever may write one of these files, or a folder on the way to it,
//! puts another in its place.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cardveil_core::card::Environment;

use crate::deployment::config::Config;
use crate::print::hinted;

/// Writable by the group, by everyone.
const WRITABLE: u32 = 0o022;
const WRITABLE_BY_ALL: u32 = 0o002;
/// In such a folder (`/tmp`), only its owner removes or renames a file (inode(7)).
const STICKY: u32 = 0o1000;

/// A file or folder that somebody else may write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untrusted {
    /// What it is of: the name of a setting.
    pub(crate) of: &'static str,
    path: PathBuf,
    why: Why,
}

#[derive(Debug, PartialEq, Eq)]
enum Why {
    Mode(u32),
    Owner(u32),
}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match self.why {
            Why::Mode(mode) => {
                write!(
                    out,
                    "{path} (mode {mode:o}) can be changed by others: chmod go-w {path}"
                )
            }
            Why::Owner(uid) => write!(
                out,
                "{path} belongs to uid {uid}, which is neither root nor the account that serves: \
                 chown it"
            ),
        }
    }
}

/// What somebody else may write, of all that a deployment trusts; each file and folder once.
pub(crate) fn untrusted(file: &Path, config: &Config) -> Vec<Untrusted> {
    let owners = Owners::of(config);
    let mut found: Vec<Untrusted> = Vec::new();
    for (of, path) in trusted_paths(file, config) {
        for part in parts(path) {
            if found.iter().any(|known| known.path == part) {
                continue;
            }
            // What is not there is told by whoever needs it.
            let why = part
                .symlink_metadata()
                .ok()
                .and_then(|meta| owners.wrong(&meta));
            if let Some(why) = why {
                found.push(Untrusted {
                    of,
                    path: part,
                    why,
                });
            }
        }
    }
    found
}

/// A live deployment is not opened while everyone may change what it trusts: a module would be
/// loaded, a configuration followed. A group that may, or a stranger that owns it, is told by
/// `doctor` alone, since Kubernetes hands out volumes so (`fsGroup`).
pub(crate) fn refuse_open_to_all(file: &Path, config: &Config) -> anyhow::Result<()> {
    let open = |one: &Untrusted| matches!(one.why, Why::Mode(mode) if mode & WRITABLE_BY_ALL != 0);
    match untrusted(file, config).into_iter().find(open) {
        Some(open) if config.environment == Environment::Live => Err(hinted(
            format!("{}: {open}", open.of),
            "`cardveil doctor` lists all of them",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The account that looks, root, and, where root looks, the account that serves.
struct Owners(Vec<u32>);

impl Owners {
    fn of(config: &Config) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let mut owners = vec![0, own];
        if own == 0 {
            let kept = [&config.store.database, &config.store.fence];
            let there = kept.into_iter().filter_map(|path| path.metadata().ok());
            owners.extend(there.map(|meta| meta.uid()));
        }
        Self(owners)
    }

    fn wrong(&self, meta: &Metadata) -> Option<Why> {
        // A link's own mode says nothing, and what it leads to is looked at as well.
        let mode = meta.mode() & 0o7777;
        let shared = meta.is_dir() && mode & STICKY != 0;
        if !meta.is_symlink() && mode & WRITABLE != 0 && !shared {
            return Some(Why::Mode(mode));
        }
        (!self.0.contains(&meta.uid())).then(|| Why::Owner(meta.uid()))
    }
}

fn trusted_paths<'a>(file: &'a Path, config: &'a Config) -> Vec<(&'static str, &'a Path)> {
    let mut paths = vec![("configuration", file)];
    if config.store.postgres.is_none() {
        paths.push(("store.database", &config.store.database));
        paths.push(("store.fence", &config.store.fence));
    }
    let optional = [
        ("store.password_file", config.store.password_file.as_deref()),
        ("store.postgres_ca", config.store.postgres_ca.as_deref()),
        ("webhooks.ca_file", config.webhooks.ca_file.as_deref()),
    ];
    paths.extend(
        optional
            .into_iter()
            .filter_map(|(of, path)| Some((of, path?))),
    );
    paths.extend(config.keys.files().map(|(of, path)| (of, path.as_path())));
    paths.extend(config.keys.modules().map(|path| ("PKCS #11 module", path)));
    paths
}

/// A path, what it leads to if it is a link, and all folders on both ways, the outermost first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let given = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = given.canonicalize().ok();
    let mut parts: Vec<PathBuf> = Vec::new();
    for path in [Some(given), real].into_iter().flatten() {
        for part in path.ancestors() {
            if !parts.iter().any(|known| known == part) {
                parts.push(part.to_owned());
            }
        }
    }
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A deployment's files in a folder that nobody else may write.
    fn laid_out() -> (tempfile::TempDir, PathBuf, Config) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = Config::fresh(Environment::Live);
        config.store.database = at("data/cardveil.db");
        config.store.fence = at("fence/cardveil.fence");
        config.keys.root = crate::deployment::config::RootKey::File(at("keys/root.key"));
        for name in ["data", "fence", "keys"] {
            fs::create_dir(at(name)).unwrap();
            set(&at(name), 0o700);
        }
        for path in [
            &config.store.database,
            &config.store.fence,
            &at("keys/root.key"),
            &at("c.toml"),
        ] {
            fs::write(path, "").unwrap();
            set(path, 0o600);
        }
        let file = at("c.toml");
        (folder, file, config)
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn told(file: &Path, config: &Config, root: &Path) -> Vec<(&'static str, PathBuf)> {
        let found = untrusted(file, config);
        let inside = found.into_iter().filter(|one| one.path.starts_with(root));
        inside.map(|one| (one.of, one.path)).collect()
    }

    #[test]
    fn a_file_or_folder_that_others_may_write_is_found() {
        let (folder, file, config) = laid_out();
        let root = folder.path();
        assert_eq!(told(&file, &config, root), []);
        for (of, name, mode, before) in [
            ("configuration", "c.toml", 0o666, 0o600),
            ("configuration", "c.toml", 0o660, 0o600),
            ("store.database", "data", 0o777, 0o700),
            ("store.database", "data/cardveil.db", 0o602, 0o600),
            ("store.fence", "fence", 0o720, 0o700),
            ("keys.root", "keys", 0o777, 0o700),
        ] {
            set(&root.join(name), mode);
            let found = told(&file, &config, root);
            assert_eq!(found, [(of, root.join(name))], "{name} {mode:o}");
            set(&root.join(name), before);
        }
        set(root, 0o777);
        assert_eq!(
            told(&file, &config, root),
            [("configuration", root.to_owned())]
        );
        set(root, 0o1777);
        assert_eq!(told(&file, &config, root), [], "as /tmp is");
    }

    #[test]
    fn a_live_deployment_that_everyone_may_change_is_not_opened() {
        let (folder, file, mut config) = laid_out();
        let data = folder.path().join("data");
        assert!(refuse_open_to_all(&file, &config).is_ok());
        set(&data, 0o770);
        assert!(refuse_open_to_all(&file, &config).is_ok(), "fsGroup");
        set(&data, 0o777);
        let refused = refuse_open_to_all(&file, &config).unwrap_err().to_string();
        assert!(refused.starts_with("store.database: "), "{refused}");
        config.environment = Environment::Sandbox;
        assert!(refuse_open_to_all(&file, &config).is_ok());
    }

    #[test]
    fn what_a_link_leads_to_is_looked_at_too() {
        let (folder, file, config) = laid_out();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::write(open.join("real.toml"), "").unwrap();
        set(&open, 0o777);
        fs::remove_file(&file).unwrap();
        symlink(open.join("real.toml"), &file).unwrap();
        let found = told(&file, &config, folder.path());
        assert_eq!(found, [("configuration", open)]);
    }
}
