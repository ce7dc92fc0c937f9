//! The root key provider: the key that wraps all class keys and nothing else.
//!
//! [`FileRoot`] keeps it in a file outside the data directory,
//! [`SharesRoot`](crate::SharesRoot) in several. A hardware module or a key service
//! implements [`Root`] too, and then the key never enters this process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{
    Entropy, Error, Key, WrappedKey,
    aead::{self, Cipher},
    sha256,
};

/// A key that can wrap other keys.
///
/// `unwrap` must give back the key only for the very `aad` it was wrapped with, and must refuse
/// anything else as [`Error::Refused`]. Calls may block (a module or a network may stand behind
/// them); they happen at start and at rotation only.
pub trait Root: Send + Sync {
    /// Seals `key`, bound to `aad`.
    fn wrap(&self, key: &Key, aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Error>;

    /// Opens what [`Root::wrap`] sealed with the same `aad`.
    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Key, Error>;

    /// Which root this is, for operators and logs. Stable, and not secret.
    fn name(&self) -> String;
}

/// Several roots while one takes the other's place: what any of them wrapped opens, and the first
/// one wraps.
///
/// **Invariant:** there is a first one.
pub struct Roots {
    first: Box<dyn Root>,
    others: Vec<Box<dyn Root>>,
}

impl Roots {
    /// One root, and those that may have wrapped what is there too.
    pub fn new(first: Box<dyn Root>, others: Vec<Box<dyn Root>>) -> Self {
        Self { first, others }
    }

    /// The one that wraps.
    pub fn first(&self) -> &dyn Root {
        &*self.first
    }

    /// The one that comes after it, if there is one.
    pub fn next(&self) -> Option<&dyn Root> {
        self.others.first().map(|root| &**root)
    }

    /// The one that these class keys are under; the first one while there are none.
    pub fn of(&self, keys: &[WrappedKey], environment: &str) -> &dyn Root {
        let holds = |root: &&dyn Root| keys.iter().any(|key| key.opens_under(*root, environment));
        self.iter().find(holds).unwrap_or(&*self.first)
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Root> {
        std::iter::once(&*self.first).chain(self.others.iter().map(|root| &**root))
    }
}

impl Root for Roots {
    fn wrap(&self, key: &Key, aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Error> {
        self.first.wrap(key, aad, entropy)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Key, Error> {
        let mut refused = match self.first.unwrap(wrapped, aad) {
            Ok(key) => return Ok(key),
            Err(refused) => refused,
        };
        for root in &self.others {
            match root.unwrap(wrapped, aad) {
                Ok(key) => return Ok(key),
                // What is not a refusal says more: a module that is gone, say.
                Err(Error::Refused) => {}
                Err(other) => refused = other,
            }
        }
        Err(refused)
    }

    fn name(&self) -> String {
        self.first.name()
    }
}

const MAGIC: &str = "cardveil-root-1 ";
const FILE_LEN: usize = MAGIC.len() + 2 * Key::LEN + 1;

/// A root key in a file: one line, `cardveil-root-1` and 64 hex digits, for its owner's eyes only.
///
/// ```compile_fail,E0277
/// fn show(root: cardveil_seal::FileRoot) {
///     println!("{root:?}");
/// }
/// ```
/// ```compile_fail,E0599
/// fn copy(root: cardveil_seal::FileRoot) {
///     root.clone();
/// }
/// ```
pub struct FileRoot {
    cipher: Cipher,
    name: String,
}

impl FileRoot {
    /// Makes a new key in a new file, durable when this returns. Never overwrites.
    pub fn create(path: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        let key = Key::generate(entropy);
        write_new(path, &line_of(&key))?;
        Ok(Self::new(&key))
    }

    /// Reads the key. Refuses a file that others can read ([`crate::is_exposed`]).
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(&read_key(path)?))
    }

    fn new(key: &Key) -> Self {
        Self {
            cipher: Cipher::new(key),
            name: format!("file:{:08x}", id_of(key)),
        }
    }
}

/// What tells root keys apart. One cannot get from it to the key.
pub(crate) fn id_of(key: &Key) -> u32 {
    let [a, b, c, d, ..] = sha256(&[b"cardveil/root-id", key.expose()]);
    u32::from_be_bytes([a, b, c, d])
}

pub(crate) fn read_key(path: &Path) -> Result<Key, Error> {
    let line = read_private(path, FILE_LEN)?;
    parse(&line).ok_or_else(|| Error::RootFormat { path: path.into() })
}

/// Reads a file that nobody else may read, of at most so many bytes: of one that is longer, a byte
/// more.
pub(crate) fn read_private(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io_error = |action| {
        move |source| Error::RootIo {
            action,
            path: path.into(),
            source,
        }
    };
    let file = File::open(path).map_err(io_error("open"))?;
    refuse_exposed(&file, path)?;
    let room = most.saturating_add(1);
    // The capacity is there from the start: a buffer that grows would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(room as u64)
        .read_to_end(&mut bytes)
        .map_err(io_error("read"))?;
    Ok(bytes)
}

/// Writes a new file that nobody else can read, durable when this returns. Never overwrites.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = new_private_file(path).map_err(|source| {
        let path = path.into();
        if source.kind() == io::ErrorKind::AlreadyExists {
            Error::RootExists { path }
        } else {
            Error::RootIo {
                action: "create",
                path,
                source,
            }
        }
    })?;
    write_durably(&mut file, path, bytes).map_err(|source| {
        // Half a key is of no use, and would stand in the way of the next attempt. If it cannot
        // be removed either, that attempt says so.
        drop(fs::remove_file(path));
        Error::RootIo {
            action: "write",
            path: path.into(),
            source,
        }
    })
}

impl Root for FileRoot {
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

fn new_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn line_of(key: &Key) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(FILE_LEN));
    line.extend_from_slice(MAGIC.as_bytes());
    for byte in key.expose() {
        line.extend([byte >> 4, byte & 0x0f].map(hex_digit));
    }
    line.push(b'\n');
    line
}

fn write_durably(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    // The name of a new file is durable once its directory is.
    #[cfg(unix)]
    {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Asks the open file, not the path, so that nothing can be swapped in between.
#[cfg(unix)]
fn refuse_exposed(file: &File, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| Error::RootIo {
        action: "read",
        path: path.into(),
        source,
    })?;
    if crate::is_exposed(&metadata) {
        let mode = metadata.permissions().mode() & 0o777;
        return Err(Error::RootExposed {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_file: &File, _path: &Path) -> Result<(), Error> {
    Ok(())
}

/// The final newline may be missing: editors and secret stores drop it.
fn parse(line: &[u8]) -> Option<Key> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let digits = line.strip_prefix(MAGIC.as_bytes())?;
    if digits.len() != 2 * Key::LEN {
        return None;
    }
    let mut key = Key::zeroed();
    for (byte, pair) in key.expose_mut().iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            *byte = *byte << 4 | hex_value(digit)?;
        }
    }
    Some(key)
}

/// `nibble` is under 16.
pub(crate) fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    }
}

pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
