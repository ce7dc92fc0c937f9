//! Sealing what is too long to hold: a stream of chunks under a key of its own, which the root
//! wraps.
//!
//! ```text
//! "cardveil-sealed-1\n" | header length (u32) | header | wrapped key length (u16) | wrapped key | chunks
//! chunk    ciphertext (65,536; the last one 0 to 65,536) | tag (16)
//! nonce    0 (7) | number of the chunk, from 0 (u32) | 1 for the last chunk, else 0 (u8)
//! ```
//!
//! This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015) over AES-256-GCM. The
//! number makes the order of the chunks part of each, and the mark of the last one makes the end
//! part of the whole. The header can be read by everyone; it is bound to the key by the AAD under
//! which the root wraps it.
//!
//! **Invariant.** A key seals one stream, so nonces that count are safe: no other has them.
//!
//! **Invariant.** No byte of a chunk is given out before its tag was checked. What came out before
//! an error is the beginning of what was sealed, and must not be used as the whole.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{Entropy, Error, Key, Root, aead};

const MAGIC: &[u8; 18] = b"cardveil-sealed-1\n";
const CHUNK: usize = 64 << 10;
const TAG_LEN: usize = 16;
/// More than any header is long.
const HEADER_MAX: usize = 64 << 10;

/// Why a stream could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The system could not read or write.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins like nothing that was sealed here.
    #[error("it is not a sealed file of this program")]
    Foreign,
    /// The key does not open: another root key, or a header that was changed.
    #[error("its key does not open under this root key: {0}")]
    Key(Error),
    /// A chunk was changed or stands out of its order.
    #[error("it was changed or damaged behind byte {0} of what it holds")]
    Damaged(u64),
    /// Its end is missing.
    #[error("it is cut short: its end is missing behind byte {0} of what it holds")]
    Short(u64),
    /// More chunks than numbers.
    #[error("there is too much of it")]
    TooLong,
}

/// Seals all that `from` gives, under a new key. `header` is for those who have no key; `label`
/// says what the stream is of. Returns how many bytes it read.
pub fn seal_stream(
    root: &dyn Root,
    (label, header): (&str, &[u8]),
    entropy: &dyn Entropy,
    from: &mut dyn Read,
    to: &mut dyn Write,
) -> Result<u64, StreamError> {
    let key = Key::generate(entropy);
    let aad = key_aad(label, header)?;
    let wrapped = root.wrap(&key, &aad, entropy).map_err(StreamError::Key)?;
    let header_len = u32::try_from(header.len()).map_err(|_| StreamError::TooLong)?;
    let wrapped_len = u16::try_from(wrapped.len()).map_err(|_| StreamError::TooLong)?;
    to.write_all(MAGIC)?;
    to.write_all(&header_len.to_be_bytes())?;
    to.write_all(header)?;
    to.write_all(&wrapped_len.to_be_bytes())?;
    to.write_all(&wrapped)?;
    let cipher = Chunks::new(&key);
    let mut pieces = Pieces::new(from, CHUNK)?;
    let (mut number, mut length) = (0_u32, 0_u64);
    loop {
        let (mut piece, last) = pieces.next()?;
        length = length.saturating_add(to_u64(piece.len()));
        cipher.seal(number, last, &mut piece)?;
        to.write_all(&piece)?;
        if last {
            return Ok(length);
        }
        number = number.checked_add(1).ok_or(StreamError::TooLong)?;
    }
}

/// Reads the header. Nothing vouches for it before the stream has been opened.
pub fn read_header(from: &mut dyn Read) -> Result<Vec<u8>, StreamError> {
    let mut magic = [0; MAGIC.len()];
    let found = from.read_exact(&mut magic);
    if found.is_err() || magic != *MAGIC {
        return Err(StreamError::Foreign);
    }
    let mut length = [0; 4];
    read_exactly(from, &mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > HEADER_MAX {
        return Err(StreamError::Foreign);
    }
    let mut header = vec![0; length];
    read_exactly(from, &mut header)?;
    Ok(header)
}

/// Opens what [`seal_stream`] has sealed, from behind its `header`. Returns how many bytes it
/// wrote.
pub fn open_stream(
    root: &dyn Root,
    (label, header): (&str, &[u8]),
    from: &mut dyn Read,
    to: &mut dyn Write,
) -> Result<u64, StreamError> {
    let mut length = [0; 2];
    read_exactly(from, &mut length)?;
    let mut wrapped = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exactly(from, &mut wrapped)?;
    let aad = key_aad(label, header)?;
    let key = root.unwrap(&wrapped, &aad).map_err(StreamError::Key)?;
    let cipher = Chunks::new(&key);
    let mut pieces = Pieces::new(from, CHUNK + TAG_LEN)?;
    let (mut number, mut length) = (0_u32, 0_u64);
    loop {
        let (mut piece, last) = pieces.next()?;
        if !cipher.open(number, last, &mut piece) {
            // A chunk that fits if it is not the last one has lost what followed it.
            let is_short =
                last && (piece.len() < TAG_LEN || cipher.open(number, false, &mut piece));
            return Err(if is_short {
                StreamError::Short(length)
            } else {
                StreamError::Damaged(length)
            });
        }
        to.write_all(&piece)?;
        length = length.saturating_add(to_u64(piece.len()));
        if last {
            return Ok(length);
        }
        number = number.checked_add(1).ok_or(StreamError::TooLong)?;
    }
}

fn key_aad(label: &str, header: &[u8]) -> Result<Vec<u8>, StreamError> {
    let mut aad = Vec::new();
    aead::bind(&mut aad, &[b"cardveil/stream/v1", label.as_bytes(), header])
        .map_err(StreamError::Key)?;
    Ok(aad)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A part that must be there.
fn read_exactly(from: &mut dyn Read, into: &mut [u8]) -> Result<(), StreamError> {
    from.read_exact(into).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            StreamError::Short(0)
        } else {
            error.into()
        }
    })
}

struct Chunks(LessSafeKey);

impl Chunks {
    #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
    fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes any 32 bytes");
        Self(LessSafeKey::new(key))
    }

    fn seal(&self, number: u32, last: bool, piece: &mut Vec<u8>) -> Result<(), StreamError> {
        let nonce = nonce(number, last);
        self.0
            .seal_in_place_append_tag(nonce, Aad::empty(), piece)
            .map_err(|_| StreamError::TooLong)
    }

    /// Whether it fits; then `piece` is what was sealed, and else as it was.
    fn open(&self, number: u32, last: bool, piece: &mut Vec<u8>) -> bool {
        let Some((ciphertext, tag)) = piece.split_last_chunk::<TAG_LEN>() else {
            return false;
        };
        let mut plain = vec![0; ciphertext.len()];
        let nonce = nonce(number, last);
        let opened = self
            .0
            .open_separate_gather(nonce, Aad::empty(), ciphertext, tag, &mut plain);
        let fits = opened.is_ok();
        if fits {
            *piece = plain;
        }
        fits
    }
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    let [a, b, c, d] = number.to_be_bytes();
    let counted = [a, b, c, d, u8::from(last)];
    for (to, from) in nonce.iter_mut().rev().zip(counted.iter().rev()) {
        *to = *from;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// A reader cut into pieces of one length, and whether each is the last.
struct Pieces<'a> {
    from: &'a mut dyn Read,
    length: usize,
    ahead: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn new(from: &'a mut dyn Read, length: usize) -> io::Result<Self> {
        let ahead = read_piece(from, length)?;
        Ok(Self {
            from,
            length,
            ahead,
        })
    }

    /// What has been read; the next piece is read first, to know whether there is one.
    fn next(&mut self) -> io::Result<(Vec<u8>, bool)> {
        if self.ahead.len() < self.length {
            return Ok((std::mem::take(&mut self.ahead), true));
        }
        let next = read_piece(self.from, self.length)?;
        let last = next.is_empty();
        Ok((std::mem::replace(&mut self.ahead, next), last))
    }
}

fn read_piece(from: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(length + TAG_LEN);
    from.take(to_u64(length)).read_to_end(&mut piece)?;
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FileRoot, SeededEntropy, SystemEntropy};

    const LABEL: &str = "test";
    const HEADER: &[u8] = b"{\"made\":\"today\"}";

    fn root(seed: u64) -> FileRoot {
        let folder = tempfile::tempdir().unwrap();
        FileRoot::create(&folder.path().join("root"), &SeededEntropy::new(seed)).unwrap()
    }

    fn sealed(root: &FileRoot, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let parts = (LABEL, HEADER);
        let length = seal_stream(root, parts, &SystemEntropy, &mut &*plain, &mut out).unwrap();
        assert_eq!(length, plain.len() as u64);
        out
    }

    fn opened(root: &FileRoot, sealed: &[u8]) -> Result<Vec<u8>, StreamError> {
        let mut from = sealed;
        let header = read_header(&mut from)?;
        let mut out = Vec::new();
        open_stream(root, (LABEL, &header), &mut from, &mut out)?;
        Ok(out)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..=250_u8).cycle().take(length).collect()
    }

    /// Where the chunks begin.
    fn body(sealed: &[u8], plain: usize) -> usize {
        let chunks = plain.div_ceil(CHUNK).max(1);
        sealed.len() - plain - chunks * TAG_LEN
    }

    #[test]
    fn every_length_comes_back() {
        let root = root(1);
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
            let plain = pattern(length);
            let sealed = sealed(&root, &plain);
            assert!(opened(&root, &sealed).unwrap() == plain, "{length}");
            assert!(length < 64 || !sealed.windows(64).any(|w| w == &plain[..64]));
        }
    }

    #[test]
    fn a_cut_is_told_apart_from_damage() {
        let root = root(1);
        let length = 3 * CHUNK;
        let sealed = sealed(&root, &pattern(length));
        let body = body(&sealed, length);
        let chunk = CHUNK + TAG_LEN;
        for chunks in 1..3 {
            let cut = opened(&root, &sealed[..body + chunks * chunk]);
            let at = ((chunks - 1) * CHUNK) as u64;
            assert!(matches!(cut, Err(StreamError::Short(behind)) if behind == at));
        }
        for cut in [0, 5, 17, 20, 40, body - 1] {
            let error = opened(&root, &sealed[..cut]).unwrap_err();
            let told = matches!(error, StreamError::Foreign | StreamError::Short(0));
            assert!(told, "{cut}: {error}");
        }
        assert!(matches!(
            opened(&root, &sealed[..body]),
            Err(StreamError::Short(0))
        ));
        assert!(matches!(
            opened(&root, &sealed[..sealed.len() - 1]),
            Err(StreamError::Damaged(_))
        ));
    }

    #[test]
    fn chunks_out_of_their_order_are_refused() {
        let root = root(1);
        let length = 4 * CHUNK;
        let good = sealed(&root, &vec![7; length]);
        let body = body(&good, length);
        let chunk = CHUNK + TAG_LEN;
        let chunks: Vec<_> = good[body..].chunks(chunk).collect();
        let with = |order: &[usize]| {
            let mut moved = good[..body].to_vec();
            for n in order {
                moved.extend_from_slice(chunks[*n]);
            }
            opened(&root, &moved)
        };
        assert!(with(&[0, 1, 2, 3]).is_ok());
        for order in [
            &[1, 0, 2, 3][..],
            &[0, 2, 1, 3],
            &[0, 0, 1, 2, 3],
            &[0, 2, 3],
        ] {
            assert!(
                matches!(with(order), Err(StreamError::Damaged(_))),
                "{order:?}"
            );
        }
        let other = sealed(&root, &vec![7; length]);
        let mut mixed = good[..body + chunk].to_vec();
        mixed.extend_from_slice(&other[body + chunk..]);
        assert!(matches!(
            opened(&root, &mixed),
            Err(StreamError::Damaged(at)) if at == CHUNK as u64
        ));
        let mut longer = good.clone();
        longer.push(0);
        assert!(opened(&root, &longer).is_err());
    }

    #[test]
    fn another_root_label_or_header_opens_nothing() {
        let (ours, other) = (root(1), root(2));
        let good = sealed(&ours, b"plain");
        assert!(matches!(opened(&other, &good), Err(StreamError::Key(_))));
        let mut edited = good.clone();
        edited[MAGIC.len() + 4 + 3] ^= 1;
        assert!(matches!(opened(&ours, &edited), Err(StreamError::Key(_))));
        let mut from = &good[..];
        let header = read_header(&mut from).unwrap();
        assert_eq!(header, HEADER);
        let elsewhere = open_stream(&ours, ("other", &header), &mut from, &mut Vec::new());
        assert!(matches!(elsewhere, Err(StreamError::Key(_))));
        assert!(matches!(
            opened(&ours, b"cardveil-sealed-2\n"),
            Err(StreamError::Foreign)
        ));
        let mut huge = MAGIC.to_vec();
        huge.extend_from_slice(&[0xff; 4]);
        assert!(matches!(opened(&ours, &huge), Err(StreamError::Foreign)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// No single bit can be changed.
        #[test]
        fn every_bit_counts(at in any::<prop::sample::Index>(), bit in 0..8) {
            let root = root(1);
            let mut sealed = sealed(&root, &pattern(CHUNK + 99));
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(opened(&root, &sealed).is_err());
        }
    }
}
