//! A token's text: `cvt_test_` or `cvt_live_`, base62 of what it says and of a keyed check over
//! that, then a base62 CRC-32, so that scanners can spot one (docs/reference/protocol.md, "The
//! token").
//!
//! **Invariant:** a [`ClientToken`] was made here or its check was compared. What a stranger sends
//! is [`Unchecked`], and nothing is looked up or written for that.

use std::fmt;

use cardveil_seal::{Secret, constant_time_eq, sha256};

use super::{Epoch, TokenHash, TokenKey};
use crate::card::Environment;
use crate::clock::Time;
use crate::id::base62;

/// The version of the key that the check is under.
const VERSION_BYTES: usize = 4;
/// What the check is over: epoch, milliseconds, random bytes.
const SAID_BYTES: usize = 4 + 6 + 32;
/// 80 bits: whoever guesses needs 2^79 calls for one that is looked up, and has nothing then.
const CHECK_BYTES: usize = 10;
const BODY_BYTES: usize = VERSION_BYTES + SAID_BYTES + CHECK_BYTES;
/// Of the first form: epoch, seconds, random bytes.
const FIRST_BODY_BYTES: usize = 4 + 4 + 32;
const CRC_CHARS: usize = 6;

/// A client token in clear. Whoever has it may try to claim it, so it cannot be printed.
pub struct ClientToken {
    text: Secret,
    epoch: Epoch,
    issued_at: Time,
}

/// A text in the form of a token. Anybody can write one.
pub struct Unchecked {
    token: ClientToken,
    keyed: Option<Keyed>,
}

/// What says that a token is ours.
struct Keyed {
    version: u32,
    said: [u8; SAID_BYTES],
    check: [u8; CHECK_BYTES],
    environment: Environment,
}

/// What a token says.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    /// Where it is good.
    pub environment: Environment,
    pub epoch: Epoch,
    /// Since when.
    pub issued_at: Time,
    /// They make it unguessable: 256 bits.
    pub random: &'a [u8; 32],
}

/// The text is not a token of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a client token of this environment")]
pub struct Malformed;

impl ClientToken {
    /// Writes one, checked by `mac` under the key of this version.
    pub fn new<E>(
        said: &Said<'_>,
        version: u32,
        mac: impl FnOnce(&[&[u8]]) -> Result<[u8; 32], E>,
    ) -> Result<Self, E> {
        let [_, _, millis @ ..] = said.millis().to_be_bytes();
        let bytes: [u8; SAID_BYTES] = joined(&[&said.epoch.0.to_be_bytes(), &millis, said.random]);
        let check = mac(&parts(said.environment, &bytes))?;
        let body: [u8; BODY_BYTES] = joined(&[&version.to_be_bytes(), &bytes, &check]);
        Ok(Self::write(said, &body))
    }

    /// Writes one in the first form, which nodes of earlier versions read too. Nothing in it shows
    /// that it is ours.
    pub fn in_first_form(said: &Said<'_>) -> Self {
        let body: [u8; FIRST_BODY_BYTES] = joined(&[
            &said.epoch.0.to_be_bytes(),
            &said.issued_at.secs_u32().to_be_bytes(),
            said.random,
        ]);
        Self::write(said, &body)
    }

    fn write(said: &Said<'_>, body: &[u8]) -> Self {
        let mut text = format!("{}{}", prefix(said.environment), base62::encode(body));
        text.push_str(&base62::encode_crc(crc32fast::hash(text.as_bytes())));
        Self {
            text: Secret::new(text.into_bytes()),
            epoch: said.epoch,
            issued_at: Time::from_millis(said.millis().cast_signed()),
        }
    }

    /// The text, for the one answer that hands it out.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.text.expose()).unwrap_or_default()
    }

    /// The epoch that it was issued in.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where its row is.
    pub fn key(&self) -> TokenKey {
        TokenKey {
            issued_secs: self.issued_at.secs_u32(),
            hash: TokenHash(sha256(&[self.text.expose()])),
        }
    }
}

impl Said<'_> {
    /// In 48 bits, which last until the year 10889.
    fn millis(&self) -> u64 {
        let millis = u64::try_from(self.issued_at.millis()).unwrap_or(0);
        millis.min((1 << 48) - 1)
    }
}

impl Unchecked {
    /// Reads one. Says nothing of why a text is none.
    pub fn parse(text: &str, environment: Environment) -> Result<Self, Malformed> {
        let body_and_crc = text.strip_prefix(prefix(environment)).ok_or(Malformed)?;
        let split = body_and_crc.len().checked_sub(CRC_CHARS).ok_or(Malformed)?;
        let (body, crc) = body_and_crc.split_at_checked(split).ok_or(Malformed)?;
        let signed = text.len() - CRC_CHARS;
        let expected = crc32fast::hash(text.as_bytes().get(..signed).ok_or(Malformed)?);
        if base62::encode_crc(expected) != crc {
            return Err(Malformed);
        }
        let read = |epoch: [u8; 4], issued_at| ClientToken {
            text: Secret::new(text.as_bytes().to_vec()),
            epoch: Epoch(u32::from_be_bytes(epoch)),
            issued_at,
        };
        if let Some([e0, e1, e2, e3, s0, s1, s2, s3, ..]) = base62::decode::<FIRST_BODY_BYTES>(body)
        {
            let secs = u32::from_be_bytes([s0, s1, s2, s3]);
            let issued_at = Time::from_millis(i64::from(secs) * 1_000);
            let token = read([e0, e1, e2, e3], issued_at);
            return Ok(Self { token, keyed: None });
        }
        let body = base62::decode::<BODY_BYTES>(body).ok_or(Malformed)?;
        let (version, rest) = body.split_first_chunk().ok_or(Malformed)?;
        let (said, check) = rest.split_first_chunk::<SAID_BYTES>().ok_or(Malformed)?;
        let [e0, e1, e2, e3, m0, m1, m2, m3, m4, m5, ..] = *said;
        let issued_at = Time::from_millis(i64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]));
        Ok(Self {
            token: read([e0, e1, e2, e3], issued_at),
            keyed: Some(Keyed {
                version: u32::from_be_bytes(*version),
                said: *said,
                check: check.try_into().map_err(|_| Malformed)?,
                environment,
            }),
        })
    }

    /// The version of the key that its check is under; none for the first form.
    pub fn version(&self) -> Option<u32> {
        self.keyed.as_ref().map(|keyed| keyed.version)
    }

    /// When it says that it was issued.
    pub const fn issued_at(&self) -> Time {
        self.token.issued_at
    }

    /// Where its row would be.
    pub fn key(&self) -> TokenKey {
        self.token.key()
    }

    /// The token, if `mac` under the key of its [version](Self::version) makes its check. The first
    /// form has none.
    pub fn check<E>(
        self,
        mac: impl FnOnce(&[&[u8]]) -> Result<[u8; 32], E>,
    ) -> Result<Result<ClientToken, Malformed>, E> {
        let Some(keyed) = &self.keyed else {
            return Ok(Err(Malformed));
        };
        let whole = mac(&parts(keyed.environment, &keyed.said))?;
        let (check, _) = whole.split_at(CHECK_BYTES);
        // Constant time, so that nobody finds a check out byte by byte.
        Ok(if constant_time_eq(check, &keyed.check) {
            Ok(self.token)
        } else {
            Err(Malformed)
        })
    }

    /// The token of the first form, taken at its word: only its row shows that it is ours.
    pub fn first_form(self) -> Result<ClientToken, Malformed> {
        match self.keyed {
            None => Ok(self.token),
            Some(_) => Err(Malformed),
        }
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientToken(..)")
    }
}

impl fmt::Debug for Unchecked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Unchecked(..)")
    }
}

/// What the MAC is over: 55 bytes with the parts' lengths, which is one block of its hash. Never
/// change it: tokens that are out would be refused.
const fn parts(environment: Environment, said: &[u8; SAID_BYTES]) -> [&[u8]; 2] {
    let purpose = match environment {
        Environment::Sandbox => b"cvt_t",
        Environment::Live => b"cvt_l",
    };
    [purpose, said]
}

/// The first `N` bytes of the parts, one behind the other.
fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    for part in parts {
        let length = part.len().min(rest.len());
        let (to, after) = rest.split_at_mut(length);
        let (part, _) = part.split_at(length);
        to.copy_from_slice(part);
        rest = after;
    }
    bytes
}

/// Never change these: secret scanners know them.
const fn prefix(environment: Environment) -> &'static str {
    match environment {
        Environment::Sandbox => "cvt_test_",
        Environment::Live => "cvt_live_",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const SANDBOX: Environment = Environment::Sandbox;

    fn said(random: &[u8; 32]) -> Said<'_> {
        Said {
            environment: SANDBOX,
            epoch: Epoch(7),
            issued_at: Time::from_millis(1_716_307_200_999),
            random,
        }
    }

    /// No MAC, but it depends on every byte and on where the parts end.
    fn mac(key: u8) -> impl Fn(&[&[u8]]) -> Result<[u8; 32], Infallible> {
        move |parts| {
            let mut all = vec![vec![key]];
            for part in parts {
                all.push(vec![u8::try_from(part.len()).unwrap_or(0)]);
                all.push(part.to_vec());
            }
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            Ok(sha256(&all))
        }
    }

    fn made(said: &Said<'_>) -> ClientToken {
        ClientToken::new(said, 3, mac(1)).unwrap()
    }

    fn checked(text: &str, key: u8) -> Result<ClientToken, Malformed> {
        let parsed = Unchecked::parse(text, SANDBOX)?;
        // Each version has a key of its own.
        let key = if parsed.version() == Some(3) { key } else { 0 };
        parsed.check(mac(key)).unwrap_or(Err(Malformed))
    }

    #[test]
    fn the_text_is_pinned() {
        let token = made(&said(&[9; 32]));
        assert_eq!(
            token.expose(),
            "cvt_test_00000E3zjaJ08J9rrvUHnd0m5rrmuNheb0m5rrmuNheb0m5rrmuNheb0m5rrmuNj\
             IBHinovJFOymk49Gl1l"
        );
        assert_eq!(format!("{token:?}"), "ClientToken(..)");
    }

    #[test]
    fn the_text_of_the_first_form_is_pinned() {
        let token = ClientToken::in_first_form(&said(&[9; 32]));
        assert_eq!(
            token.expose(),
            "cvt_test_00000YgoAGe0m5rrmuNheb0m5rrmuNheb0m5rrmuNheb0m5rrmuNheb3G4q6a"
        );
        let read = Unchecked::parse(token.expose(), SANDBOX).unwrap();
        assert_eq!(read.version(), None);
        assert_eq!(read.key(), token.key());
        assert!(checked(token.expose(), 1).is_err(), "it has no check");
    }

    /// Every bit of the check counts, and every bit of what it is over.
    #[test]
    fn one_bit_of_a_body_is_refused() {
        let token = made(&said(&[9; 32]));
        let text = token.expose();
        let body = text.get(9..text.len() - CRC_CHARS).unwrap();
        let body: [u8; BODY_BYTES] = base62::decode(body).unwrap();
        for bit in 0..BODY_BYTES * 8 {
            let mut forged = body;
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = ClientToken::write(&said(&[9; 32]), &forged);
            assert!(checked(forged.expose(), 1).is_err(), "bit {bit}");
        }
        assert!(checked(text, 1).is_ok());
        assert!(checked(text, 2).is_err(), "under another key");
    }

    #[test]
    fn a_check_is_of_one_environment() {
        let random = [9; 32];
        let live = Said {
            environment: Environment::Live,
            ..said(&random)
        };
        let live = made(&live);
        let renamed = live.expose().replace("cvt_live_", "cvt_test_");
        let crc_at = renamed.len() - CRC_CHARS;
        let crc = base62::encode_crc(crc32fast::hash(renamed.get(..crc_at).unwrap().as_bytes()));
        let renamed = format!("{}{crc}", renamed.get(..crc_at).unwrap());
        assert!(Unchecked::parse(&renamed, SANDBOX).is_ok());
        assert!(checked(&renamed, 1).is_err());
    }

    #[test]
    fn a_time_that_48_bits_do_not_hold_is_held_at_their_ends() {
        for (millis, held) in [(-1, 0), (i64::MAX, (1 << 48) - 1)] {
            let random = [0; 32];
            let said = Said {
                issued_at: Time::from_millis(millis),
                ..said(&random)
            };
            let token = made(&said);
            let read = Unchecked::parse(token.expose(), SANDBOX).unwrap();
            assert_eq!(read.issued_at(), Time::from_millis(held));
            assert_eq!(read.key(), token.key());
        }
    }

    proptest! {
        #[test]
        fn a_token_is_read_back(epoch: u32, millis in 0_i64..4_000_000_000_000, random: [u8; 32]) {
            let said = Said {
                environment: SANDBOX,
                epoch: Epoch(epoch),
                issued_at: Time::from_millis(millis),
                random: &random,
            };
            let token = made(&said);
            prop_assert_eq!(token.expose().len(), 92);
            let read = Unchecked::parse(token.expose(), SANDBOX).unwrap();
            prop_assert_eq!(read.version(), Some(3));
            prop_assert_eq!(read.issued_at(), said.issued_at);
            let read = read.check(mac(1)).unwrap().unwrap();
            prop_assert_eq!(read.epoch(), Epoch(epoch));
            prop_assert_eq!(read.key(), token.key());
            prop_assert!(Unchecked::parse(token.expose(), Environment::Live).is_err());
        }

        #[test]
        fn one_changed_character_is_refused(random: [u8; 32], place in 0_usize..92, to in 33_u8..127) {
            let token = made(&said(&random));
            let mut text = token.expose().as_bytes().to_vec();
            prop_assume!(text[place] != to);
            text[place] = to;
            let text = String::from_utf8(text).unwrap();
            prop_assert!(Unchecked::parse(&text, SANDBOX).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = Unchecked::parse(&text, SANDBOX);
            let _ = Unchecked::parse(&format!("cvt_test_{text}"), SANDBOX);
        }
    }
}
