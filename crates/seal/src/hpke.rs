//! Sealing to the key that a cardholder's frame or device made: RFC 9180, base mode, one shot, with
//! DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.
//!
//! **Invariant.** A [`HolderKey`] is a point of P-256 other than the identity; nothing downstream
//! checks it again. The server can seal and never open: the opening half is compiled for tests
//! only.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256 as SUITE,
    hpke::{Hpke, HpkePublicKey},
};

use crate::{Error, sha256};

const COORDINATE_LEN: usize = 32;
const POINT_LEN: usize = 1 + 2 * COORDINATE_LEN;
/// SEC 1, 2.3.3: what an uncompressed point starts with.
const UNCOMPRESSED: u8 = 0x04;

/// A validated P-256 public key. Public data: it may be shown and copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HolderKey {
    x: [u8; COORDINATE_LEN],
    y: [u8; COORDINATE_LEN],
}

impl HolderKey {
    /// A key from a JWK's `x` and `y`, decoded. Each is exactly 32 bytes, big endian, zeros in
    /// front included (RFC 7518 6.2.1.2). The point must be on the curve (RFC 9180 7.1.4); the
    /// identity has no coordinates and so cannot be given.
    pub fn from_coordinates(x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let key = Self {
            x: x.try_into().map_err(|_| Error::InvalidHolderKey)?,
            y: y.try_into().map_err(|_| Error::InvalidHolderKey)?,
        };
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, key.point()))
            .map_err(|_| Error::InvalidHolderKey)?;
        Ok(key)
    }

    /// The JWK's `x`: 32 bytes, big endian.
    pub fn x(&self) -> &[u8; COORDINATE_LEN] {
        &self.x
    }

    /// The JWK's `y`: 32 bytes, big endian.
    pub fn y(&self) -> &[u8; COORDINATE_LEN] {
        &self.y
    }

    /// The key's name: the SHA-256 thumbprint of its JWK (RFC 7638).
    pub fn thumbprint(&self) -> [u8; 32] {
        let x = URL_SAFE_NO_PAD.encode(self.x);
        let y = URL_SAFE_NO_PAD.encode(self.y);
        sha256(&[format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()])
    }

    fn point(&self) -> [u8; POINT_LEN] {
        let mut point = [UNCOMPRESSED; POINT_LEN];
        let coordinates = self.x.iter().chain(&self.y);
        for (to, from) in point.iter_mut().skip(1).zip(coordinates) {
            *to = *from;
        }
        point
    }
}

impl fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HolderKey({})",
            URL_SAFE_NO_PAD.encode(self.thumbprint())
        )
    }
}

/// What only the holder of the private key can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulated key: an uncompressed point, 65 bytes.
    pub enc: Vec<u8>,
    /// As long as the plaintext, and 16 bytes of tag.
    pub ciphertext: Vec<u8>,
}

/// Seals `plaintext` to `key`. The holder must know the same `info` and `aad` to open it.
///
/// rustls copies the plaintext into a vector that grows for its tag. Where it moves, the copy is
/// left in freed heap: the program's allocator must wipe what is freed.
pub fn seal_to(
    key: &HolderKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, Error> {
    let (enc, ciphertext) = SUITE
        .seal(info, aad, plaintext, &HpkePublicKey(key.point().to_vec()))
        .map_err(|_| Error::Library)?;
    Ok(Sealed {
        enc: enc.0,
        ciphertext,
    })
}

/// The other side of [`seal_to`], for tests and the load generator.
#[cfg(any(test, feature = "testing"))]
pub mod holder {
    use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey};

    use super::{COORDINATE_LEN, HolderKey, SUITE, Sealed};
    use crate::{Error, Secret};

    /// A P-256 key pair, as a frame or a device has one.
    pub struct Holder {
        private: HpkePrivateKey,
        key: HolderKey,
    }

    impl Holder {
        /// A new key pair.
        pub fn generate() -> Result<Self, Error> {
            let (public, private) = SUITE.generate_key_pair().map_err(|_| Error::Library)?;
            let (x, y) = public
                .0
                .split_first()
                .and_then(|(_, coordinates)| coordinates.split_at_checked(COORDINATE_LEN))
                .ok_or(Error::Library)?;
            Ok(Self {
                key: HolderKey::from_coordinates(x, y)?,
                private,
            })
        }

        /// The public half.
        pub fn key(&self) -> &HolderKey {
            &self.key
        }

        /// Opens what was sealed to this key.
        pub fn open(&self, sealed: &Sealed, info: &[u8], aad: &[u8]) -> Result<Secret, Error> {
            SUITE
                .open(
                    &EncapsulatedSecret(sealed.enc.clone()),
                    info,
                    aad,
                    &sealed.ciphertext,
                    &self.private,
                )
                .map(Secret::new)
                .map_err(|_| Error::Refused)
        }
    }
}
