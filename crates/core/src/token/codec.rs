//! A token's text: `cvt_test_` or `cvt_live_`, base62 of the epoch, the second of issue and 32
//! random bytes, then a base62 CRC-32, so that scanners can spot one and garbage is refused without
//! a lookup.

use std::fmt;

use cardveil_seal::{Secret, sha256};

use super::{Epoch, TokenHash, TokenKey, base62};
use crate::card::Environment;
use crate::clock::Time;

const BODY_BYTES: usize = 40;
const CRC_CHARS: usize = 6;

/// A client token in clear. Whoever has it may try to claim it, so it cannot be printed.
pub struct ClientToken {
    text: Secret,
    epoch: Epoch,
    issued_secs: u32,
}

/// The text is not a token of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a client token of this environment")]
pub struct Malformed;

impl ClientToken {
    /// Writes one from its parts. The random bytes make it unguessable: 256 bits.
    pub fn new(environment: Environment, epoch: Epoch, issued_at: Time, random: &[u8; 32]) -> Self {
        let issued_secs = issued_at.secs_u32();
        let mut body = [0; BODY_BYTES];
        let parts = epoch
            .0
            .to_be_bytes()
            .into_iter()
            .chain(issued_secs.to_be_bytes());
        for (to, from) in body.iter_mut().zip(parts.chain(random.iter().copied())) {
            *to = from;
        }
        let mut text = format!("{}{}", prefix(environment), base62::encode(&body));
        text.push_str(&base62::encode_crc(crc32fast::hash(text.as_bytes())));
        Self {
            text: Secret::new(text.into_bytes()),
            epoch,
            issued_secs,
        }
    }

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
        let body: [u8; BODY_BYTES] = base62::decode(body).ok_or(Malformed)?;
        let ([e0, e1, e2, e3, s0, s1, s2, s3, ..],) = (body,);
        Ok(Self {
            text: Secret::new(text.as_bytes().to_vec()),
            epoch: Epoch(u32::from_be_bytes([e0, e1, e2, e3])),
            issued_secs: u32::from_be_bytes([s0, s1, s2, s3]),
        })
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
            issued_secs: self.issued_secs,
            hash: TokenHash(sha256(&[self.text.expose()])),
        }
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientToken(..)")
    }
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
    use proptest::prelude::*;

    use super::*;

    const SANDBOX: Environment = Environment::Sandbox;

    #[test]
    fn the_text_is_pinned() {
        let token = ClientToken::new(
            SANDBOX,
            Epoch(7),
            Time::from_millis(1_716_307_200_999),
            &[9; 32],
        );
        assert_eq!(
            token.expose(),
            "cvt_test_00000YgoAGe0m5rrmuNheb0m5rrmuNheb0m5rrmuNheb0m5rrmuNheb3G4q6a"
        );
        assert_eq!(format!("{token:?}"), "ClientToken(..)");
    }

    proptest! {
        #[test]
        fn a_token_is_read_back(epoch: u32, millis in 0_i64..4_000_000_000_000, random: [u8; 32]) {
            let token = ClientToken::new(SANDBOX, Epoch(epoch), Time::from_millis(millis), &random);
            let read = ClientToken::parse(token.expose(), SANDBOX).unwrap();
            prop_assert_eq!(read.epoch(), Epoch(epoch));
            prop_assert_eq!(read.key(), token.key());
            prop_assert!(ClientToken::parse(token.expose(), Environment::Live).is_err());
        }

        #[test]
        fn one_changed_character_is_refused(random: [u8; 32], place in 0_usize..70, to in 33_u8..127) {
            let token = ClientToken::new(SANDBOX, Epoch(1), Time::from_millis(0), &random);
            let mut text = token.expose().as_bytes().to_vec();
            prop_assume!(text[place] != to);
            text[place] = to;
            let text = String::from_utf8(text).unwrap();
            prop_assert!(ClientToken::parse(&text, SANDBOX).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = ClientToken::parse(&text, SANDBOX);
            let _ = ClientToken::parse(&format!("cvt_test_{text}"), SANDBOX);
        }
    }
}
