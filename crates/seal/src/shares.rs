//! The root key in shares: `n` files of which any `k` open it, and fewer tell nothing of it
//! (Shamir).
//!
//! ```text
//! cardveil-share-1
//! split 9f2c41d07be6a853
//! root  5d1f00c2
//! share 2 of 5, 3 open
//! key   1b06 5e7a 90c4 d2f8 33ab 417e 08d5 c96f
//! key   e214 7788 0a5b 3cd1 f6e9 24b0 5c17 8d3a
//! check 6c02 91fe
//! ```
//!
//! A share is text that can be written down and typed in: blanks, empty lines and capitals do not
//! matter. `split` is chance that tells one split from another, `root` is the key's id as operators
//! see it, and `check` covers all the rest, so that a mistyped share is named.
//!
//! **Invariant:** the key is whole in memory only, and the shares of two splits are never put
//! together.
//!
//! The field arithmetic of blahaj looks into tables, so its time can depend on the shares. It runs
//! at a start and at a split, and nobody can ask for it from outside.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use blahaj::{Share as Point, Sharks};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::aead::{self, Cipher};
use crate::root::{hex_digit, hex_value, id_of, read_key, read_private, write_new};
use crate::{Entropy, Error, Key, Root, sha256};

/// How many shares a root key can have.
pub const SHARES_MAX: u8 = 16;
/// Fewer than two would be a copy.
const THRESHOLD_MIN: u8 = 2;

const MAGIC: &str = "cardveil-share-1";
const CHECK_LABEL: &[u8] = b"cardveil/share-check";
/// Longer than any share, with room for blanks.
const FILE_MAX: usize = 1_024;
const SPLIT_LEN: usize = 8;
const CHECK_LEN: usize = 4;

/// A root key that is put together from shares.
///
/// ```compile_fail,E0277
/// fn show(root: cardveil_seal::SharesRoot) {
///     println!("{root:?}");
/// }
/// ```
pub struct SharesRoot {
    cipher: Cipher,
    name: String,
}

impl SharesRoot {
    /// Makes a new key, as a new share in each of these files, of which any `threshold` open it.
    /// The key itself is written nowhere.
    pub fn create(paths: &[PathBuf], threshold: u8, entropy: &dyn Entropy) -> Result<Self, Error> {
        Self::write(&Key::generate(entropy), paths, threshold, entropy)
    }

    /// Splits the key of a root key's file, which stays as it is.
    pub fn split(
        file: &Path,
        paths: &[PathBuf],
        threshold: u8,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        Self::write(&read_key(file)?, paths, threshold, entropy)
    }

    /// Puts the key together from those of these files that are there. One that is there and is not
    /// whole is refused, so that it is noticed while there are others.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut found: Vec<(&PathBuf, Share)> = Vec::new();
        for path in paths {
            if !path.exists() {
                continue;
            }
            let share = Share::read(path)?;
            for (other, before) in &found {
                if let Some(why) = share.conflict(before) {
                    return Err(Error::SharesDiffer {
                        path: path.clone(),
                        other: (*other).clone(),
                        why,
                    });
                }
            }
            found.push((path, share));
        }
        let shares: Vec<_> = found.into_iter().map(|(_, share)| share).collect();
        Ok(Self::new(&join(&shares)?))
    }

    fn write(
        key: &Key,
        paths: &[PathBuf],
        threshold: u8,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let shares = deal(key, paths.len(), threshold, entropy)?;
        for (at, (path, share)) in paths.iter().zip(&shares).enumerate() {
            if let Err(error) = write_new(path, share.text().as_bytes()) {
                // Some of the shares are of no use without the others.
                paths
                    .iter()
                    .take(at)
                    .for_each(|path| drop(fs::remove_file(path)));
                return Err(error);
            }
        }
        // What was written is what will be read, one day when there is no other copy.
        Self::open(paths)
    }

    fn new(key: &Key) -> Self {
        Self {
            cipher: Cipher::new(key),
            name: format!("shares:{:08x}", id_of(key)),
        }
    }
}

impl Root for SharesRoot {
    fn wrap(&self, key: &Key, aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Error> {
        self.cipher
            .seal(&[aead::ALGORITHM], aad, key.expose(), entropy)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Key, Error> {
        self.cipher.open_key(aad, aead::strip_algorithm(wrapped)?)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// One of them.
struct Share {
    split: [u8; SPLIT_LEN],
    root: u32,
    number: u8,
    of: u8,
    threshold: u8,
    /// The values of the polynomials at `number`, one for each byte of the key.
    values: Key,
}

/// The shares of a key, numbered from 1.
fn deal(
    key: &Key,
    count: usize,
    threshold: u8,
    entropy: &dyn Entropy,
) -> Result<Vec<Share>, Error> {
    let of = u8::try_from(count).map_err(|_| Error::ShareCount)?;
    if !(THRESHOLD_MIN..=of).contains(&threshold) || of > SHARES_MAX {
        return Err(Error::ShareCount);
    }
    let mut split = [0; SPLIT_LEN];
    entropy.fill(&mut split);
    let root = id_of(key);
    let mut chance = Chance(entropy);
    let points = Sharks(threshold).dealer_rng(key.expose(), &mut chance);
    let share = |point: Point| {
        let bytes = Zeroizing::new(Vec::from(&point));
        let (&number, values) = bytes.split_first().ok_or(Error::Library)?;
        Ok(Share {
            split,
            root,
            number,
            of,
            threshold,
            values: Key::from_slice(values)?,
        })
    };
    points.take(count).map(share).collect()
}

/// The key, from shares that go together.
fn join(shares: &[Share]) -> Result<Key, Error> {
    let there = u8::try_from(shares.len()).map_err(|_| Error::ShareCount)?;
    let threshold = shares.first().map_or(THRESHOLD_MIN, |one| one.threshold);
    let missing = threshold.saturating_sub(there);
    if missing > 0 {
        return Err(Error::SharesMissing {
            missing,
            there,
            threshold,
        });
    }
    let point = |share: &Share| {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + Key::LEN));
        bytes.push(share.number);
        bytes.extend_from_slice(share.values.expose());
        Point::try_from(bytes.as_slice()).map_err(|_| Error::Library)
    };
    let points = shares.iter().map(point).collect::<Result<Vec<_>, _>>()?;
    let scheme = Sharks(threshold);
    let joined = scheme.recover(&points).map(Zeroizing::new);
    let key = Key::from_slice(&joined.map_err(|_| Error::Library)?)?;
    if shares.iter().all(|share| share.root == id_of(&key)) {
        Ok(key)
    } else {
        Err(Error::SharesAltered)
    }
}

impl Share {
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_private(path, FILE_MAX)?;
        Self::parse(&bytes).map_err(|why| Error::ShareFormat {
            path: path.into(),
            why,
        })
    }

    /// Why two shares cannot be put together.
    fn conflict(&self, other: &Self) -> Option<&'static str> {
        let of = |share: &Self| (share.split, share.root, share.of, share.threshold);
        if of(self) != of(other) {
            Some("are of different splits")
        } else if self.number == other.number {
            Some("are the same share")
        } else {
            None
        }
    }

    fn check(&self) -> [u8; CHECK_LEN] {
        let numbers = [self.number, self.of, self.threshold];
        let root = self.root.to_be_bytes();
        let parts: [&[u8]; 5] = [
            CHECK_LABEL,
            &self.split,
            &root,
            &numbers,
            self.values.expose(),
        ];
        let [a, b, c, d, ..] = sha256(&parts);
        [a, b, c, d]
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX));
        let mut line = |name: &str, hex: &[u8], group: usize| {
            text.push_str(name);
            for (at, byte) in hex.iter().enumerate() {
                if at % group == 0 {
                    text.push(' ');
                }
                text.extend([byte >> 4, byte & 0x0f].map(|nibble| char::from(hex_digit(nibble))));
            }
            text.push('\n');
        };
        line(MAGIC, &[], 2);
        line("split", &self.split, SPLIT_LEN);
        line("root ", &self.root.to_be_bytes(), 4);
        line(
            &format!(
                "share {} of {}, {} open",
                self.number, self.of, self.threshold
            ),
            &[],
            2,
        );
        for half in self.values.expose().chunks(Key::LEN / 2) {
            line("key  ", half, 2);
        }
        line("check", &self.check(), 2);
        text
    }

    /// The text may have been typed in.
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > FILE_MAX {
            return Err("it is too long");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines
            .next()
            .is_none_or(|line| !line.eq_ignore_ascii_case(MAGIC))
        {
            return Err("it does not begin with cardveil-share-1");
        }
        let (mut split, mut root, mut check) = ([0; SPLIT_LEN], [0; 4], [0; CHECK_LEN]);
        hex(lines.next(), "split", &mut split).ok_or("its line `split` is wrong")?;
        hex(lines.next(), "root", &mut root).ok_or("its line `root` is wrong")?;
        let [number, of, threshold] = numbers(lines.next()).ok_or("its line `share` is wrong")?;
        let mut values = Key::zeroed();
        for half in values.expose_mut().chunks_mut(Key::LEN / 2) {
            hex(lines.next(), "key", half).ok_or("a line `key` is wrong")?;
        }
        hex(lines.next(), "check", &mut check).ok_or("its line `check` is wrong")?;
        if lines.next().is_some() {
            return Err("there is more after its line `check`");
        }
        let root = u32::from_be_bytes(root);
        let share = Self {
            split,
            root,
            number,
            of,
            threshold,
            values,
        };
        let may_be = (1..=of).contains(&number)
            && of <= SHARES_MAX
            && (THRESHOLD_MIN..=of).contains(&threshold);
        if share.check() == check && may_be {
            Ok(share)
        } else {
            Err("its line `check` does not fit the others: a character is wrong")
        }
    }
}

/// The bytes of a line `name hex`, as many as there is room for.
fn hex(line: Option<&str>, name: &str, out: &mut [u8]) -> Option<()> {
    let (word, rest) = line?.split_once(char::is_whitespace)?;
    let mut digits = rest.bytes().filter(|byte| !byte.is_ascii_whitespace());
    if !word.eq_ignore_ascii_case(name) {
        return None;
    }
    for byte in out {
        *byte = hex_value(digits.next()?)? << 4 | hex_value(digits.next()?)?;
    }
    digits.next().is_none().then_some(())
}

/// The numbers of `share 2 of 5, 3 open`.
fn numbers(line: Option<&str>) -> Option<[u8; 3]> {
    let line = line?.to_ascii_lowercase().replace(',', " ");
    let words: Vec<_> = line.split_whitespace().collect();
    let &["share", number, "of", of, threshold, "open"] = words.as_slice() else {
        return None;
    };
    let number_of = |text: &str| text.parse::<u8>().ok();
    Some([number_of(number)?, number_of(of)?, number_of(threshold)?])
}

/// Our entropy, as blahaj asks for it.
struct Chance<'a>(&'a dyn Entropy);

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Chance<'_> {}
