//! Which cards a deployment may hold: test numbers, or all others.

use super::{CardNumber, InvalidCard};
use crate::named;

named! {
    /// Which cards a deployment may hold. The name is bound into every ciphertext.
    pub enum Environment {
        /// The schemes' published test numbers only.
        Sandbox = "sandbox",
        /// Everything but those.
        Live = "live",
    }
}

impl Environment {
    /// Whether a card of this number may be kept here.
    pub fn admits(self, number: &CardNumber) -> Result<(), InvalidCard> {
        let is_test = TEST_NUMBERS
            .iter()
            .any(|test| test.as_bytes() == number.expose());
        match (self, is_test) {
            (Self::Sandbox, false) => Err(InvalidCard::PanNotTest),
            (Self::Live, true) => Err(InvalidCard::PanIsTest),
            (Self::Sandbox, true) | (Self::Live, false) => Ok(()),
        }
    }
}

/// Numbers that the schemes, or processors in their name, publish for tests.
pub const TEST_NUMBERS: [&str; 33] = [
    "4111111111111111",
    "4012888888881881",
    "4242424242424242",
    "4000056655665556",
    "4222222222222",
    "4761120010000492",
    "4761349750010326",
    "4761209980011439",
    "4917610000000000003",
    "5555555555554444",
    "5105105105105100",
    "5200828282828210",
    "5454545454545454",
    "2223003122003222",
    "2223000048400011",
    "2222400070000005",
    "5204247750001471",
    "5204247750001505",
    "5204247750001497",
    "378282246310005",
    "371449635398431",
    "378734493671000",
    "341111111111111",
    "6011111111111117",
    "6011000990139424",
    "6011000000000004",
    "30569309025904",
    "38520000023237",
    "36227206271667",
    "3530111333300000",
    "3566002020360505",
    "6200000000000005",
    "6205500000000000004",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Network;

    #[test]
    fn every_test_number_is_a_number_of_its_network() {
        for number in TEST_NUMBERS {
            let parsed = CardNumber::parse(number).unwrap_or_else(|e| panic!("{number}: {e}"));
            assert_ne!(parsed.network(), Network::Other, "{number}");
            assert_eq!(Environment::Sandbox.admits(&parsed), Ok(()));
            assert_eq!(
                Environment::Live.admits(&parsed),
                Err(InvalidCard::PanIsTest)
            );
        }
        let other = CardNumber::parse("4539578763621486").unwrap();
        assert_eq!(
            Environment::Sandbox.admits(&other),
            Err(InvalidCard::PanNotTest)
        );
        assert_eq!(Environment::Live.admits(&other), Ok(()));
    }
}
