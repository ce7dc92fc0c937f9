//! The root key in shares: enough of them open it, and fewer, others or altered ones do not.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cardveil_seal::{Error, FileRoot, Key, Root, SHARES_MAX, SeededEntropy, SharesRoot};
use proptest::prelude::*;
use tempfile::TempDir;

fn paths(dir: &Path, count: usize) -> Vec<PathBuf> {
    (1..=count)
        .map(|n| dir.join(format!("share-{n}")))
        .collect()
}

/// Those of the files whose bit is set.
fn some(paths: &[PathBuf], bits: u32) -> Vec<PathBuf> {
    let is_in = |at: &usize| bits >> at & 1 == 1;
    let chosen = (0..paths.len()).filter(is_in);
    chosen.map(|at| paths[at].clone()).collect()
}

/// A key that the root has wrapped opens again.
fn opens(root: &dyn Root, wrapped: &[u8]) -> bool {
    root.unwrap(wrapped, b"aad").is_ok()
}

fn wrapped(root: &dyn Root) -> Vec<u8> {
    let entropy = SeededEntropy::new(9);
    root.wrap(&Key::generate(&entropy), b"aad", &entropy)
        .unwrap()
}

#[test]
fn any_three_of_five_open_it_and_no_fewer() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 5);
    let root = SharesRoot::create(&paths, 3, &SeededEntropy::new(1)).unwrap();
    let sealed = wrapped(&root);
    let (mut enough, mut few) = (0, 0);
    for bits in 0..32_u32 {
        let chosen = some(&paths, bits);
        let there = u8::try_from(bits.count_ones()).unwrap();
        match SharesRoot::open(&chosen) {
            Ok(again) => {
                assert!(there >= 3, "{bits:05b}");
                assert!(opens(&again, &sealed));
                assert_eq!(again.name(), root.name());
                enough += 1;
            }
            Err(Error::SharesMissing { missing, .. }) => {
                // Without a share there is none that says how many are needed: two at the least.
                let needed = if there == 0 { 2 } else { 3 };
                assert_eq!(missing, needed - there, "{bits:05b}");
                few += 1;
            }
            Err(other) => panic!("{bits:05b}: {other}"),
        }
    }
    assert_eq!((enough, few), (16, 16));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn as_many_as_the_threshold_are_enough(
        count in 2..=usize::from(SHARES_MAX),
        less in 0_usize..16,
        seed: u64,
        order in Just((0..16_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let threshold = count.saturating_sub(less).max(2);
        let dir = TempDir::new().unwrap();
        let made = paths(dir.path(), count);
        let k = u8::try_from(threshold).unwrap();
        let root = SharesRoot::create(&made, k, &SeededEntropy::new(seed)).unwrap();
        let sealed = wrapped(&root);
        let paths: Vec<_> = order.iter().filter_map(|&at| made.get(at).cloned()).collect();
        let again = SharesRoot::open(&paths[..threshold]).unwrap();
        prop_assert!(opens(&again, &sealed));
        let few = SharesRoot::open(&paths[..threshold - 1]);
        let is_refused = matches!(few, Err(Error::SharesMissing { missing: 1, .. }));
        prop_assert!(is_refused);
    }

    /// Whatever is typed in place of a character, the share is named.
    #[test]
    fn a_mistyped_share_is_named(at: prop::sample::Index, typed in "[0-9a-z ]", seed: u64) {
        let dir = TempDir::new().unwrap();
        let paths = paths(dir.path(), 3);
        SharesRoot::create(&paths, 2, &SeededEntropy::new(seed)).unwrap();
        let mut bytes = fs::read(&paths[1]).unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != typed.as_bytes()[0]);
        // Blanks say nothing, nor does the comma, which one may stand for.
        prop_assume!(!b" \n,".contains(&bytes[at]));
        bytes[at] = typed.as_bytes()[0];
        fs::write(&paths[1], bytes).unwrap();
        match SharesRoot::open(&paths) {
            Err(Error::ShareFormat { path, .. }) => prop_assert_eq!(&path, &paths[1]),
            Err(other) => prop_assert!(false, "{}", other),
            Ok(_) => prop_assert!(false, "it opened"),
        }
    }
}

#[test]
fn a_share_can_be_typed_in() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    let root = SharesRoot::create(&paths, 2, &SeededEntropy::new(2)).unwrap();
    let sealed = wrapped(&root);
    let text = fs::read_to_string(&paths[0]).unwrap();
    assert!(text.starts_with("cardveil-share-1\nsplit "), "{text}");
    assert!(text.contains("\nshare 1 of 2, 2 open\n"), "{text}");
    assert_eq!(text.lines().count(), 7);
    let typed = text
        .to_uppercase()
        .replace('\n', " \r\n\n ")
        .replace("  ", "   ");
    fs::write(&paths[0], typed).unwrap();
    assert!(opens(&SharesRoot::open(&paths).unwrap(), &sealed));
    for (typed, why) in [
        (String::new(), "it does not begin with cardveil-share-1"),
        (
            format!("{text}more"),
            "there is more after its line `check`",
        ),
        (text.replace("share 1", "share 2"), "a character is wrong"),
        (
            text.replace("share 1 of 2", "share 1 of 300"),
            "its line `share` is wrong",
        ),
        (
            text.replace("split ", "split 0"),
            "its line `split` is wrong",
        ),
        ("\n".repeat(2_000), "it is too long"),
    ] {
        fs::write(&paths[0], &typed).unwrap();
        let Err(refused) = SharesRoot::open(&paths) else {
            panic!("{typed}");
        };
        let refused = refused.to_string();
        assert!(refused.contains(why), "{refused}");
        assert!(refused.contains("share-1"), "{refused}");
    }
}

#[test]
fn shares_of_two_splits_and_one_twice_are_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("root.key");
    let whole = FileRoot::create(&file, &SeededEntropy::new(3)).unwrap();
    let sealed = wrapped(&whole);
    let [one, two] = ["one", "two"].map(|name| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        paths(&folder, 3)
    });
    // The same key, and still not to be mixed.
    for (seed, paths) in [(4, &one), (5, &two)] {
        let root = SharesRoot::split(&file, paths, 2, &SeededEntropy::new(seed)).unwrap();
        assert!(opens(&root, &sealed));
        assert_eq!(root.name(), whole.name().replace("file:", "shares:"));
    }
    let refused = |paths: &[&PathBuf]| {
        let paths: Vec<_> = paths.iter().map(|path| (*path).clone()).collect();
        match SharesRoot::open(&paths) {
            Err(error @ Error::SharesDiffer { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opened"),
        }
    };
    let mixed = refused(&[&one[0], &two[1]]);
    assert!(mixed.ends_with("are of different splits"), "{mixed}");
    let copy = dir.path().join("copy");
    fs::copy(&one[0], &copy).unwrap();
    let twice = refused(&[&one[0], &copy]);
    assert!(twice.ends_with("are the same share"), "{twice}");
}

#[test]
fn only_sound_splits_are_made_and_none_in_part() {
    let dir = TempDir::new().unwrap();
    let all = paths(dir.path(), 17);
    for (count, threshold) in [(0, 0), (1, 1), (2, 1), (2, 0), (2, 3), (17, 2)] {
        let made = SharesRoot::create(&all[..count], threshold, &SeededEntropy::new(6));
        assert!(
            matches!(made, Err(Error::ShareCount)),
            "{count} {threshold}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    fs::write(&all[2], "something else").unwrap();
    let made = SharesRoot::create(&all[..4], 2, &SeededEntropy::new(6));
    assert!(matches!(made, Err(Error::RootExists { .. })));
    let left: BTreeSet<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, BTreeSet::from([all[2].clone()]));
    assert_eq!(fs::read_to_string(&all[2]).unwrap(), "something else");
}

/// A custodian who alters a share and its check too: the key that comes out is told to be another.
#[test]
fn an_altered_share_gives_no_key() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    SharesRoot::create(&paths, 2, &SeededEntropy::new(7)).unwrap();
    let text = fs::read_to_string(&paths[0]).unwrap();
    let hex = |name: &str| -> Vec<u8> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let digits: String = lines.collect::<String>().replace(' ', "");
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let mut values = hex("key");
    let (split, root, check) = (hex("split"), hex("root"), hex("check"));
    let check_of = |values: &[u8]| {
        let parts: [&[u8]; 5] = [b"cardveil/share-check", &split, &root, &[1, 2, 2], values];
        cardveil_seal::sha256(&parts)[..4].to_vec()
    };
    assert_eq!(check_of(&values), check);
    values[5] ^= 1;
    let group = |bytes: &[u8]| format!("{:02x}{:02x}", bytes[0], bytes[1]);
    let groups = |bytes: &[u8]| bytes.chunks(2).map(group).collect::<Vec<_>>().join(" ");
    let line = |at: usize| text.lines().nth(at).unwrap();
    let altered = text
        .replace(line(4), &format!("key   {}", groups(&values[..16])))
        .replace(line(6), &format!("check {}", groups(&check_of(&values))));
    assert_ne!(altered, text);
    fs::write(&paths[0], altered).unwrap();
    let refused = SharesRoot::open(&paths);
    assert!(matches!(refused, Err(Error::SharesAltered)));
}

#[cfg(unix)]
#[test]
fn a_share_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    SharesRoot::create(&paths, 2, &SeededEntropy::new(8)).unwrap();
    let mode = fs::metadata(&paths[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&paths[0], fs::Permissions::from_mode(0o644)).unwrap();
    let refused = SharesRoot::open(&paths);
    assert!(matches!(refused, Err(Error::RootExposed { .. })));
}
