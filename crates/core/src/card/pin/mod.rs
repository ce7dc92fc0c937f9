//! A card's PIN: which digits are one, how one is made, and how one is set and told.
//!
//! The two contracts have PINs of different lengths (KeySecure: six digits; Equals: four). A card
//! has one PIN, which the last who set it has chosen.
//!
//! **Invariant:** no PIN is weak: no three digits in a row are the same, and none run up or down by
//! one (KeySecure: card/pin/set, 4016). 9 and 0 are no neighbours.

mod handover;

use cardveil_seal::{Entropy, Secret};

pub use handover::{PinRelease, PinReleased, PinSet, PinSetting};

/// How many digits a contract's PINs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinLength {
    /// Four (Equals: "Update a card's PIN").
    Four,
    /// Six (KeySecure: card/pin/set).
    Six,
}

impl PinLength {
    const fn digits(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Six => 6,
        }
    }
}

/// Why digits are no PIN. It does not say which they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPin {
    /// Not so many digits, and nothing else.
    #[error("pin: not as many digits as it must have")]
    Form,
    /// Three in a row are the same or run up or down by one.
    #[error("pin: three digits in a row are the same or sequential")]
    Weak,
}

/// A clear PIN, in memory only.
pub struct Pin(Secret);

impl Pin {
    /// Takes digits that somebody has chosen.
    pub fn parse(digits: &[u8], length: PinLength) -> Result<Self, InvalidPin> {
        if digits.len() != length.digits() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(InvalidPin::Form);
        }
        if is_weak(digits) {
            return Err(InvalidPin::Weak);
        }
        Ok(Self(Secret::new(digits.to_vec())))
    }

    /// Chooses four digits: any four that are not weak, and none likelier than another by more than
    /// one in 10^15.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let count = u64::try_from(strong().count()).unwrap_or(u64::MAX).max(1);
        let place = u64::from_be_bytes(random) % count;
        let chosen = strong().nth(usize::try_from(place).unwrap_or_default());
        // There always is one: the place is below their count.
        Self(Secret::new(chosen.unwrap_or_default().to_vec()))
    }

    /// What the vault has opened. It was a PIN when it was sealed.
    pub(crate) const fn opened(secret: Secret) -> Self {
        Self(secret)
    }

    /// Whether it has so many digits.
    pub fn is_of(&self, length: PinLength) -> bool {
        self.0.expose().len() == length.digits()
    }

    /// The digits. Whoever copies them answers for the copy.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// All PINs of four digits that are not weak, in ascending order.
fn strong() -> impl Iterator<Item = [u8; 4]> {
    let digits = b'0'..=b'9';
    let all = digits.clone().flat_map(move |a| {
        let digits = b'0'..=b'9';
        digits.clone().flat_map(move |b| {
            let digits = digits.clone();
            digits
                .clone()
                .flat_map(move |c| digits.clone().map(move |d| [a, b, c, d]))
        })
    });
    all.filter(|digits| !is_weak(digits))
}

fn is_weak(digits: &[u8]) -> bool {
    digits.windows(3).any(|three| match three {
        [a, b, c] => {
            let steps = (i16::from(*b) - i16::from(*a), i16::from(*c) - i16::from(*b));
            matches!(steps, (0, 0) | (1, 1) | (-1, -1))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cardveil_seal::SeededEntropy;
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str, length: PinLength) -> Option<InvalidPin> {
        Pin::parse(text.as_bytes(), length).err()
    }

    #[test]
    fn a_pin_has_exactly_so_many_digits() {
        for wrong in [
            "",
            "25803",
            "2580361",
            "25803a",
            "２５８０",
            "25 803",
            "-25803",
        ] {
            assert_eq!(
                told(wrong, PinLength::Six),
                Some(InvalidPin::Form),
                "{wrong}"
            );
        }
        for wrong in ["", "258", "25803", "258a", "2580\n", "+258"] {
            assert_eq!(
                told(wrong, PinLength::Four),
                Some(InvalidPin::Form),
                "{wrong}"
            );
        }
        assert_eq!(told("258036", PinLength::Six), None);
        assert_eq!(told("2580", PinLength::Four), None);
        assert!(
            Pin::parse(b"2580", PinLength::Four)
                .unwrap()
                .is_of(PinLength::Four)
        );
        assert!(
            !Pin::parse(b"258036", PinLength::Six)
                .unwrap()
                .is_of(PinLength::Four)
        );
    }

    #[test]
    fn two_in_a_row_are_no_run_and_three_are() {
        for weak in [
            "111258", "251118", "258111", "123580", "580123", "987250", "250210", "000000",
        ] {
            assert_eq!(told(weak, PinLength::Six), Some(InvalidPin::Weak), "{weak}");
        }
        for strong in [
            "112258", "125690", "890215", "109258", "135791", "121212", "908070",
        ] {
            assert_eq!(told(strong, PinLength::Six), None, "{strong}");
        }
        assert_eq!(told("1112", PinLength::Four), Some(InvalidPin::Weak));
        assert_eq!(told("1121", PinLength::Four), None);
    }

    /// The rule a second time: three in a row lie on a line whose step is -1, 0 or 1.
    fn has_a_run(digits: &[u8]) -> bool {
        (2..digits.len()).any(|end| {
            let at = |place: usize| i32::from(digits[place]);
            (-1..=1).any(|step| at(end) - at(end - 1) == step && at(end) - at(end - 2) == 2 * step)
        })
    }

    #[test]
    fn of_all_pins_of_four_digits_the_weak_ones_are_refused() {
        let mut count = 0;
        for number in 0..10_000 {
            let text = format!("{number:04}");
            let refused = told(&text, PinLength::Four).is_some();
            assert_eq!(refused, has_a_run(text.as_bytes()), "{text}");
            count += usize::from(!refused);
        }
        assert_eq!(strong().count(), count);
        assert!(strong().all(|pin| !has_a_run(&pin)));
    }

    #[test]
    fn a_pin_that_is_made_is_any_strong_one() {
        let entropy = SeededEntropy::new(7);
        let mut seen = BTreeMap::<Vec<u8>, u32>::new();
        for _ in 0..500 {
            let pin = Pin::generate(&entropy);
            assert!(Pin::parse(pin.expose(), PinLength::Four).is_ok());
            *seen.entry(pin.expose().to_vec()).or_default() += 1;
        }
        // Of 9,000 and more: few draws fall on one that was drawn.
        assert!(seen.len() > 450, "{}", seen.len());
        assert!(seen.values().all(|times| *times < 5));
        for first in b'0'..=b'9' {
            let share = seen.keys().filter(|pin| pin[0] == first).count();
            assert!((20..90).contains(&share), "{first}: {share}");
        }
    }

    proptest! {
        #[test]
        fn six_digits_are_a_pin_unless_three_in_a_row_run(number in 0_u32..1_000_000) {
            let text = format!("{number:06}");
            let expected = has_a_run(text.as_bytes()).then_some(InvalidPin::Weak);
            prop_assert_eq!(told(&text, PinLength::Six), expected);
        }

        #[test]
        fn nothing_but_digits_is_a_pin(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
            for (length, count) in [(PinLength::Four, 4), (PinLength::Six, 6)] {
                let digits = bytes.len() == count && bytes.iter().all(u8::is_ascii_digit);
                let form = Pin::parse(&bytes, length).err() == Some(InvalidPin::Form);
                prop_assert_eq!(form, !digits);
            }
        }
    }
}
