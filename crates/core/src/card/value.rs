//! The clear values of a card. They live in memory only, and only what passed its check is one.

use std::fmt;

use cardveil_seal::Secret;
use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::named;
use crate::text::{InvalidText, check_seen, luhn};

/// Why a card's value is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCard {
    /// A card number has 12 to 19 digits (ISO/IEC 7812-1; no scheme issues shorter ones).
    #[error("pan: must be 12 to 19 digits")]
    PanForm,
    /// The last digit is a check digit (ISO/IEC 7812-1 annex B).
    #[error("pan: the check digit is wrong")]
    PanCheckDigit,
    /// A sandbox takes the schemes' published test numbers only (PCI DSS 6.5.5).
    #[error("pan: a sandbox takes only the card schemes' published test numbers")]
    PanNotTest,
    /// A live system refuses the schemes' published test numbers (PCI DSS 6.5.6).
    #[error("pan: a live system refuses the card schemes' test numbers")]
    PanIsTest,
    /// A month from 01 to 12 and a year from 2000 to 2099.
    #[error(
        "expiry: must be MM/YYYY, MM/YY, MMYY or YYYY-MM, with a month from 01 to 12 and a year from \
         2000 to 2099"
    )]
    Expiry,
    /// Three digits, or four for American Express.
    #[error("cvv: must be 3 digits, or 4 for American Express")]
    Cvv,
    /// 1 to 64 characters that can be printed, some of them to be seen, and no card number.
    #[error("name: {0}")]
    Name(InvalidText),
}

/// A card number: 12 to 19 digits whose check digit is right.
pub struct CardNumber(Secret);

impl CardNumber {
    /// Checks the digits; takes no separators.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        let digits = text.as_bytes();
        if !(12..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(InvalidCard::PanForm);
        }
        if !luhn(digits) {
            return Err(InvalidCard::PanCheckDigit);
        }
        Ok(Self(Secret::new(digits.to_vec())))
    }

    /// The digits, for sealing.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The last four digits, which anyone may see (PCI DSS 3.4.1).
    pub fn last_four(&self) -> LastFour {
        let digits = self.expose();
        let mut last = [b'0'; 4];
        for (to, from) in last.iter_mut().rev().zip(digits.iter().rev()) {
            *to = *from;
        }
        LastFour(last)
    }

    /// The network that the first digits name.
    pub fn network(&self) -> Network {
        Network::of(self.expose())
    }
}

/// The last four digits of a card number.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LastFour([u8; 4]);

impl LastFour {
    /// The four digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("0000")
    }
}

impl TryFrom<String> for LastFour {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match <[u8; 4]>::try_from(text.as_bytes()) {
            Ok(digits) if digits.iter().all(u8::is_ascii_digit) => Ok(Self(digits)),
            Ok(_) | Err(_) => Err("not four digits"),
        }
    }
}

impl From<LastFour> for String {
    fn from(last: LastFour) -> Self {
        last.as_str().to_owned()
    }
}

impl fmt::Debug for LastFour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

named! {
    /// A card scheme.
    pub enum Network {
        Visa = "visa",
        Mastercard = "mastercard",
        /// American Express.
        Amex = "amex",
        Discover = "discover",
        /// Diners Club.
        Diners = "diners",
        Jcb = "jcb",
        /// `UnionPay`.
        Unionpay = "unionpay",
        /// Any other.
        Other = "other",
    }
}

impl Network {
    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Visa => "Visa",
            Self::Mastercard => "Mastercard",
            Self::Amex => "American Express",
            Self::Discover => "Discover",
            Self::Diners => "Diners Club",
            Self::Jcb => "JCB",
            Self::Unionpay => "UnionPay",
            Self::Other => "Card",
        }
    }

    fn of(digits: &[u8]) -> Self {
        let first_four = digits
            .iter()
            .take(4)
            .fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'));
        match first_four {
            4000..=4999 => Self::Visa,
            5100..=5599 | 2221..=2720 => Self::Mastercard,
            3400..=3499 | 3700..=3799 => Self::Amex,
            6011 | 6440..=6599 => Self::Discover,
            3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => Self::Diners,
            3528..=3589 => Self::Jcb,
            6200..=6299 | 8100..=8171 => Self::Unionpay,
            _ => Self::Other,
        }
    }
}

/// The month after whose last day a card is no longer good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    month: u8,
    year: u16,
}

impl Expiry {
    /// A month from 1 to 12 and a year from 2000 to 2099.
    pub fn new(month: u8, year: u16) -> Result<Self, InvalidCard> {
        if (1..=12).contains(&month) && (2000..=2099).contains(&year) {
            Ok(Self { month, year })
        } else {
            Err(InvalidCard::Expiry)
        }
    }

    /// From `MM/YYYY`, `MM/YY`, `MMYY` or `YYYY-MM`. Others are not guessed at: `11-12` may be
    /// either.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        let (month, year) = match text.as_bytes() {
            [m1, m2, b'/', y1, y2] | [m1, m2, y1, y2] => ([m1, m2], [&b'2', &b'0', y1, y2]),
            [m1, m2, b'/', y1, y2, y3, y4] | [y1, y2, y3, y4, b'-', m1, m2] => {
                ([m1, m2], [y1, y2, y3, y4])
            }
            _ => return Err(InvalidCard::Expiry),
        };
        let number = |digits: &[&u8]| {
            digits.iter().try_fold(0_u16, |number, digit| {
                let digit = digit.is_ascii_digit().then(|| u16::from(**digit - b'0'))?;
                Some(number * 10 + digit)
            })
        };
        let month = number(&month).and_then(|month| u8::try_from(month).ok());
        match (month, number(&year)) {
            (Some(month), Some(year)) => Self::new(month, year),
            (None, _) | (_, None) => Err(InvalidCard::Expiry),
        }
    }

    /// The first moment after its last month, in UTC.
    pub fn ends_at(self) -> Time {
        let (year, month) = match self.month {
            12 => (self.year.saturating_add(1), 1),
            month => (self.year, month.saturating_add(1)),
        };
        // The years are held to 2000 to 2100, so it is a time.
        Time::parse_rfc3339(&format!("{year:04}-{month:02}-01T00:00:00Z"))
            .unwrap_or(Time::from_millis(i64::MAX))
    }

    /// Two digits.
    pub fn month(self) -> String {
        format!("{:02}", self.month)
    }

    /// Four digits.
    pub fn year(self) -> String {
        self.year.to_string()
    }

    /// `MMYYYY`, the form that is sealed.
    pub fn to_bytes(self) -> [u8; 6] {
        let mut bytes = [b'0'; 6];
        for (to, from) in bytes
            .iter_mut()
            .zip(format!("{:02}{:04}", self.month, self.year).bytes())
        {
            *to = from;
        }
        bytes
    }

    /// From the form that is sealed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCard> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidCard::Expiry)?;
        let (month, year) = text.split_at_checked(2).ok_or(InvalidCard::Expiry)?;
        Self::parse(&format!("{month}/{year}"))
    }
}

/// A CVV2.
pub struct Cvv(Secret);

impl Cvv {
    /// Three digits, or four on an American Express card.
    pub fn parse(text: &str, network: Network) -> Result<Self, InvalidCard> {
        let length = if network == Network::Amex { 4 } else { 3 };
        if text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(Secret::new(text.as_bytes().to_vec())))
        } else {
            Err(InvalidCard::Cvv)
        }
    }

    /// The digits, for sealing.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The name on a card: personal data, so it is sealed like the number.
pub struct CardholderName(Secret);

impl CardholderName {
    /// How many characters it may have.
    const CHARS_MAX: usize = 64;

    /// 1 to 64 printable characters that hold no card number.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        check_seen(text, Self::CHARS_MAX).map_err(InvalidCard::Name)?;
        Ok(Self(Secret::new(text.as_bytes().to_vec())))
    }

    /// The UTF-8 bytes, for sealing.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_of_the_right_length_and_check_digit() {
        for wrong in [
            "",
            "4111 1111 1111 1111",
            "41111111111",
            "41111111111111111111",
            "４１１１",
        ] {
            assert_eq!(
                CardNumber::parse(wrong).err(),
                Some(InvalidCard::PanForm),
                "{wrong}"
            );
        }
        assert_eq!(
            CardNumber::parse("4111111111111112").err(),
            Some(InvalidCard::PanCheckDigit)
        );
        assert_eq!(
            CardNumber::parse("4111111111111111")
                .unwrap()
                .last_four()
                .as_str(),
            "1111"
        );
    }

    #[test]
    fn an_expiry_has_four_ways_to_be_written_and_one_to_be_kept() {
        for text in ["03/2031", "03/31", "0331", "2031-03"] {
            let expiry = Expiry::parse(text).unwrap();
            assert_eq!(
                (expiry.month().as_str(), expiry.year().as_str()),
                ("03", "2031"),
                "{text}"
            );
            assert!(Expiry::from_bytes(&expiry.to_bytes()) == Ok(expiry));
        }
        for wrong in [
            "",
            "13/2031",
            "00/31",
            "3/31",
            "03/1999",
            "é31",
            "+3/31",
            "0331x",
            "03/20311",
            "11-12",
            "12-2031",
            "032031",
            "2031/03",
            "0003/31",
            "31-12",
            "03/ 31",
            "2031-03-01",
        ] {
            assert!(Expiry::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_can_be_read_and_is_no_card_number() {
        for fine in ["A CARDHOLDER", "Zoë Müller-O'Neil", "王小明", "N"] {
            assert!(CardholderName::parse(fine).is_ok(), "{fine}");
        }
        for (wrong, why) in [
            ("", InvalidText::Blank),
            (" \u{a0}\u{200b}", InvalidText::Blank),
            ("A\tCARDHOLDER", InvalidText::Form(64)),
            ("A \u{202e}REDLOHDRAC", InvalidText::Form(64)),
            ("A 4111 1111 1111 1111", InvalidText::CardNumber),
        ] {
            let refused = CardholderName::parse(wrong).err();
            assert_eq!(refused, Some(InvalidCard::Name(why)), "{wrong:?}");
        }
    }

    #[test]
    fn a_cvv_has_four_digits_on_american_express_only() {
        assert!(Cvv::parse("123", Network::Visa).is_ok());
        assert!(Cvv::parse("1234", Network::Amex).is_ok());
        assert!(Cvv::parse("1234", Network::Visa).is_err());
        assert!(Cvv::parse("12a", Network::Visa).is_err());
    }
}
