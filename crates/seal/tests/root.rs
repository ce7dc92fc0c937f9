//! The root provider's contract, and the file's own rules.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cardveil_seal::{
    Error, FileRoot, Key, Keyring, Root, SeededEntropy, SharesRoot, SystemEntropy,
};
use tempfile::TempDir;

fn new_path() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("root.key");
    (dir, path)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) {}

/// What every provider keeps.
fn contract(root: &dyn Root, other: &dyn Root) {
    let entropy = SeededEntropy::new(1);
    let key = Key::generate(&entropy);
    let wrapped = root.wrap(&key, b"aad", &entropy).unwrap();
    assert!(root.unwrap(&wrapped, b"aad").unwrap().ct_eq(key.expose()));
    assert!(
        !wrapped
            .windows(8)
            .any(|window| window == &key.expose()[..8])
    );
    assert_ne!(wrapped, root.wrap(&key, b"aad", &entropy).unwrap());

    let refused = |result: Result<Key, Error>| matches!(result, Err(Error::Refused));
    assert!(refused(root.unwrap(&wrapped, b"aae")));
    assert!(refused(root.unwrap(&wrapped, b"")));
    assert!(refused(other.unwrap(&wrapped, b"aad")));
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(root.unwrap(&altered, b"aad").is_err(), "{at}");
        assert!(root.unwrap(&wrapped[..at], b"aad").is_err(), "{at}");
    }
    assert_ne!(root.name(), other.name());
    assert!(!root.name().is_empty());
}

#[test]
fn a_file_root_keeps_the_contract() {
    let (_dir, path) = new_path();
    let (_other_dir, other_path) = new_path();
    let root = FileRoot::create(&path, &SystemEntropy).unwrap();
    let other = FileRoot::create(&other_path, &SystemEntropy).unwrap();
    contract(&root, &other);
    contract(&FileRoot::open(&path).unwrap(), &other);
}

#[test]
fn a_root_in_shares_keeps_the_contract() {
    let (dir, other_path) = new_path();
    let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
    let root = SharesRoot::create(&paths, 2, &SystemEntropy).unwrap();
    let other = FileRoot::create(&other_path, &SystemEntropy).unwrap();
    contract(&root, &other);
    contract(&SharesRoot::open(&paths[1..]).unwrap(), &other);
}

#[test]
fn the_algorithm_byte_is_known_or_refused() {
    let (_dir, path) = new_path();
    let root = FileRoot::create(&path, &SystemEntropy).unwrap();
    let mut wrapped = root
        .wrap(&Key::generate(&SystemEntropy), b"aad", &SystemEntropy)
        .unwrap();
    assert_eq!(wrapped[0], 1);
    wrapped[0] = 2;
    assert!(matches!(
        root.unwrap(&wrapped, b"aad"),
        Err(Error::UnknownAlgorithm)
    ));
    assert!(matches!(root.unwrap(&[], b"aad"), Err(Error::TooShort)));
}

#[test]
fn what_is_created_opens_again() {
    let (_dir, path) = new_path();
    let created = FileRoot::create(&path, &SystemEntropy).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let digits = text
        .strip_prefix("cardveil-root-1 ")
        .unwrap()
        .strip_suffix('\n')
        .unwrap();
    assert_eq!(digits.len(), 64);
    assert!(
        digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    );

    let opened = FileRoot::open(&path).unwrap();
    assert_eq!(created.name(), opened.name());
    assert!(opened.name().starts_with("file:") && opened.name().len() == 13);
    assert!(!text.contains(&opened.name()[5..]));
    let wrapped = Keyring::generate(&created, "test", &SystemEntropy).unwrap();
    assert!(Keyring::open(&opened, "test", &wrapped).is_ok());
}

#[test]
fn the_same_file_is_the_same_root() {
    // Pins the format and the name: a change here locks operators out of their data.
    let (_dir, path) = new_path();
    let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    write(&path, &format!("cardveil-root-1 {digits}\n"));
    assert_eq!(FileRoot::open(&path).unwrap().name(), "file:01124acc");
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (_dir, path) = new_path();
    fs::write(&path, "precious").unwrap();
    let error = FileRoot::create(&path, &SystemEntropy).err().unwrap();
    assert!(matches!(error, Error::RootExists { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_missing_file_or_directory_is_told() {
    let (dir, path) = new_path();
    let error = FileRoot::open(&path).err().unwrap();
    assert!(matches!(error, Error::RootIo { action: "open", .. }));
    let error = FileRoot::create(&dir.path().join("no/root.key"), &SystemEntropy)
        .err()
        .unwrap();
    assert!(matches!(
        error,
        Error::RootIo {
            action: "create",
            ..
        }
    ));
    let error = FileRoot::open(dir.path()).err().unwrap();
    assert!(matches!(
        error,
        Error::RootIo { .. } | Error::RootExposed { .. }
    ));
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_touch_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = new_path();
    drop(FileRoot::create(&path, &SystemEntropy).unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for mode in [
        0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o660, 0o666, 0o777,
    ] {
        set_mode(&path, mode);
        let error = FileRoot::open(&path).err().unwrap();
        assert!(matches!(error, Error::RootExposed { mode: told, .. } if told == mode));
        let hint = format!(
            "mode {mode:03o}, so others than its owner can use the root key; run: chmod 600 '{}'",
            path.display()
        );
        assert!(error.to_string().ends_with(&hint), "{error}");
    }
    for mode in [0o400, 0o600] {
        set_mode(&path, mode);
        assert!(FileRoot::open(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn anything_else_is_not_a_root_key() {
    let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let (_dir, path) = new_path();
    let good = format!("cardveil-root-1 {digits}");
    for text in [
        good.clone(),
        format!("{good}\n"),
        good.to_uppercase()
            .replace("CARDVEIL-ROOT", "cardveil-root"),
    ] {
        write(&path, &text);
        assert!(FileRoot::open(&path).is_ok(), "{text:?}");
    }
    for text in [
        String::new(),
        "\n".to_owned(),
        digits.to_owned(),
        format!("cardveil-root-2 {digits}"),
        format!("cardveil-root-1  {digits}"),
        format!("cardveil-root-1 {}", &digits[2..]),
        format!("cardveil-root-1 {}", &digits[1..]),
        format!("cardveil-root-1 {digits}00"),
        format!("{good}\n\n"),
        format!("{good}\r\n"),
        format!("{good} \n"),
        format!("{good}\n{good}\n"),
        good.replace("1f", "1g"),
        good.replace("1f", "+f"),
        "x".repeat(1_000_000),
    ] {
        write(&path, &text);
        let error = FileRoot::open(&path).err().unwrap();
        assert!(matches!(error, Error::RootFormat { .. }), "{text:.100?}");
        assert!(
            !error.to_string().contains("0001020304"),
            "an error carries no key"
        );
    }
}
