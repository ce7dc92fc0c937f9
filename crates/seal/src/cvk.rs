//! Card verification keys (CVKs), and the CVV2 or CVC2 that one gives for a number and an expiry.
//!
//! A CVK is two DES keys, A and B. The value of `number | expiry | 000`, padded with zeros to 32
//! digits and read as two blocks of 8 bytes, is: the first block under A, XOR the second, under A,
//! decrypted under B, under A again; of the 16 hex digits that gives, the decimal ones and then the
//! others less ten, of which the first three count (IBM z/OS ICSF, "Verifying credit card data" and
//! "CVV generate"). The service code 000 is what tells a CVV2 from the value on the magnetic
//! stripe. Whether the expiry is YYMM or MMYY differs between programmes, so each CVK says it.
//!
//! DES is what the card schemes have: it comes from `RustCrypto`, because AWS-LC's is not
//! reachable, and nothing else may be sealed by it.
//!
//! **Invariant:** a CVK comes in as components that must be put together, each of odd parity, and
//! leaves sealed under the root only. A value is a [`Secret`].

use des::Des;
use des::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use zeroize::Zeroizing;

use crate::root::hex_value;
use crate::{Error, Key, Secret};

/// Bytes of a CVK.
const CVK_LEN: usize = 16;
const BLOCK_LEN: usize = 8;
/// How many digits the two blocks have.
const DIGITS: usize = 32;
/// What a CVK is for other than the magnetic stripe or the chip.
const SERVICE_CODE: &[u8; 3] = b"000";
const CVV2_LEN: usize = 3;
/// How many digits of a number can say which CVK it has.
const PREFIX_MAX: usize = 12;
/// The form that is sealed: key, this byte, order, length of the prefix, prefix.
const FORM: u8 = 1;

type Block = Zeroizing<[u8; BLOCK_LEN]>;

/// In which order a programme writes the expiry that goes into the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExpiryOrder {
    /// YYMM.
    YearMonth = 0,
    /// MMYY.
    MonthYear = 1,
}

impl ExpiryOrder {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YearMonth => "yymm",
            Self::MonthYear => "mmyy",
        }
    }

    /// The order of this name.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::YearMonth, Self::MonthYear];
        all.into_iter().find(|order| order.as_str() == text)
    }
}

/// Why a CVK is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CvkError {
    /// Not 32 hex digits.
    #[error("a component is 32 hex digits")]
    Form,
    /// A byte has an even number of bits: it was mistyped.
    #[error("a byte of the component has no odd parity: a digit is wrong")]
    Parity,
    /// A key in one piece is known to whoever brings it.
    #[error("a key is put together from 2 or 3 components")]
    Count,
    /// The halves are the same, or one of them is weak.
    #[error("the components give a weak key: one of them is not the right one")]
    Weak,
    /// The digits that cards begin with.
    #[error("a prefix is at most 12 digits")]
    Prefix,
    /// American Express computes its value otherwise.
    #[error("numbers of American Express (34, 37) have another algorithm, which is not there")]
    Amex,
}

/// A component of a CVK, or the CVK that they give.
pub struct CvkParts(Secret);

impl CvkParts {
    /// A component, as its custodian enters it: 32 hex digits, blanks between them or not.
    pub fn parse(text: &[u8]) -> Result<Self, CvkError> {
        let mut bytes = Secret::zeroed(CVK_LEN);
        let mut digits = text.iter().filter(|byte| !byte.is_ascii_whitespace());
        for byte in bytes.expose_mut() {
            for _ in 0..2 {
                let digit = digits.next().and_then(|digit| hex_value(*digit));
                *byte = *byte << 4 | digit.ok_or(CvkError::Form)?;
            }
        }
        if digits.next().is_some() {
            return Err(CvkError::Form);
        }
        if bytes.expose().iter().any(|byte| byte.count_ones() % 2 == 0) {
            return Err(CvkError::Parity);
        }
        Ok(Self(bytes))
    }

    /// The key that the components give.
    pub fn combine(components: &[Self]) -> Result<Self, CvkError> {
        if !(2..=3).contains(&components.len()) {
            return Err(CvkError::Count);
        }
        let mut key = Secret::zeroed(CVK_LEN);
        for component in components {
            for (byte, other) in key.expose_mut().iter_mut().zip(component.0.expose()) {
                *byte ^= other;
            }
        }
        for byte in key.expose_mut() {
            *byte ^= u8::from(byte.count_ones() % 2 == 0);
        }
        // With two halves that are the same it would be single DES.
        if des::weak_key_test(key.expose()).is_err() {
            return Err(CvkError::Weak);
        }
        Ok(Self(key))
    }

    /// The key check value: the first three bytes of zeros encrypted under it (ANSI X9.24). Not
    /// secret.
    pub fn check_value(&self) -> Result<[u8; 3], Error> {
        Ok(Halves::new(self.0.expose())?.check_value())
    }

    /// For cards whose numbers begin with these digits; with none, for all that no other CVK is
    /// for.
    pub(crate) fn key(&self, prefix: &str, order: ExpiryOrder) -> Result<Key, CvkError> {
        let is_prefix = prefix.len() <= PREFIX_MAX && prefix.bytes().all(|b| b.is_ascii_digit());
        if !is_prefix {
            return Err(CvkError::Prefix);
        }
        if is_amex(prefix.as_bytes()) {
            return Err(CvkError::Amex);
        }
        let length = u8::try_from(prefix.len()).map_err(|_| CvkError::Prefix)?;
        let parts = [
            self.0.expose(),
            &[FORM, order as u8, length],
            prefix.as_bytes(),
        ];
        let mut key = Key::zeroed();
        for (byte, part) in key.expose_mut().iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *part;
        }
        Ok(key)
    }
}

/// Whether a number is American Express'.
fn is_amex(digits: &[u8]) -> bool {
    digits.starts_with(b"34") || digits.starts_with(b"37")
}

/// A CVK that is open.
pub(crate) struct Cvk {
    halves: Halves,
    prefix: Vec<u8>,
    order: ExpiryOrder,
}

/// What operators may know of a CVK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CvkNote {
    pub version: u32,
    /// For cards whose numbers begin with this.
    pub prefix: String,
    /// How the expiry goes in.
    pub order: ExpiryOrder,
    /// The key check value.
    pub check_value: [u8; 3],
}

impl Cvk {
    /// From the form that is sealed.
    pub(crate) fn open(key: &Key) -> Result<Self, Error> {
        let (bytes, rest) = key.expose().split_at(CVK_LEN);
        let (head, digits) = rest.split_at(3);
        let &[FORM, order, length] = head else {
            return Err(Error::Refused);
        };
        let order = match order {
            0 => ExpiryOrder::YearMonth,
            1 => ExpiryOrder::MonthYear,
            _ => return Err(Error::Refused),
        };
        let prefix = digits.get(..usize::from(length)).ok_or(Error::Refused)?;
        Ok(Self {
            halves: Halves::new(bytes)?,
            prefix: prefix.to_vec(),
            order,
        })
    }

    /// How many digits say that it is for this number; none if it is not.
    pub(crate) fn fits(&self, number: &[u8]) -> Option<usize> {
        (number.starts_with(&self.prefix) && !is_amex(number)).then_some(self.prefix.len())
    }

    /// The CVV2 of a number and an expiry, two digits each of month and year.
    pub(crate) fn cvv2(&self, number: &[u8], month: &[u8], year: &[u8]) -> Result<Secret, Error> {
        let expiry = match self.order {
            ExpiryOrder::YearMonth => [year, month],
            ExpiryOrder::MonthYear => [month, year],
        };
        let [first, second] = expiry;
        self.halves.value(&[number, first, second, SERVICE_CODE])
    }

    pub(crate) fn note(&self, version: u32) -> CvkNote {
        CvkNote {
            version,
            prefix: String::from_utf8_lossy(&self.prefix).into_owned(),
            order: self.order,
            check_value: self.halves.check_value(),
        }
    }
}

/// The two DES keys. Their schedules are wiped when they are dropped.
struct Halves {
    a: Des,
    b: Des,
}

impl Halves {
    fn new(bytes: &[u8]) -> Result<Self, Error> {
        let (a, b) = bytes.split_at_checked(BLOCK_LEN).ok_or(Error::KeyLength)?;
        let schedule = |half: &[u8]| Des::new_from_slice(half).map_err(|_| Error::KeyLength);
        Ok(Self {
            a: schedule(a)?,
            b: schedule(b)?,
        })
    }

    fn under_a(&self, block: &mut Block) {
        self.a.encrypt_block((&mut **block).into());
    }

    fn triple(&self, block: &mut Block) {
        self.under_a(block);
        self.b.decrypt_block((&mut **block).into());
        self.under_a(block);
    }

    fn check_value(&self) -> [u8; 3] {
        let mut block = Block::default();
        self.triple(&mut block);
        let [x, y, z, ..] = *block;
        [x, y, z]
    }

    /// The value of these digits, in ASCII, together at most 32.
    fn value(&self, digits: &[&[u8]]) -> Result<Secret, Error> {
        let mut blocks = [Block::default(), Block::default()];
        let mut left = DIGITS;
        let mut at = blocks.iter_mut().flat_map(|block| block.iter_mut());
        let mut high: Option<u8> = None;
        for digit in digits.iter().copied().flatten() {
            left = left.checked_sub(1).ok_or(Error::TooLong)?;
            let value = digit.wrapping_sub(b'0');
            if value > 9 {
                return Err(Error::Refused);
            }
            match high.take() {
                None => high = Some(value),
                Some(before) => {
                    let byte = at.next().ok_or(Error::TooLong)?;
                    *byte = before << 4 | value;
                }
            }
        }
        if let (Some(before), Some(byte)) = (high, at.next()) {
            *byte = before << 4;
        }
        let [mut block, second] = blocks;
        self.under_a(&mut block);
        for (byte, other) in block.iter_mut().zip(second.iter()) {
            *byte ^= other;
        }
        self.triple(&mut block);
        let nibbles = || block.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        let decimal = nibbles().filter(|nibble| *nibble < 10);
        let others = nibbles()
            .filter(|nibble| *nibble > 9)
            .map(|nibble| nibble - 10);
        let mut value = Secret::zeroed(CVV2_LEN);
        for (digit, nibble) in value.expose_mut().iter_mut().zip(decimal.chain(others)) {
            *digit = b'0' + nibble;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(hex: &str) -> Halves {
        let mut bytes = [0; CVK_LEN];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = hex_value(pair[0]).unwrap() << 4 | hex_value(pair[1]).unwrap();
        }
        Halves::new(&bytes).unwrap()
    }

    const TEST_KEY: &str = "0123456789ABCDEFFEDCBA9876543210";

    /// key, number, expiry, service code, value.
    const PUBLISHED: [(&str, &str, &str, &str, &str); 7] = [
        // The key and card of the schemes' own examples, as many simulators of HSMs give them.
        (TEST_KEY, "4123456789012345", "8701", "101", "561"),
        // psec (knovichikhin/psec, psec/cvv.py, the documentation's example).
        (TEST_KEY, "1234567890123456", "9912", "220", "170"),
        // psec (tests/test_cvv.py).
        (
            "99999999999999998888888888888888",
            "2222222222222222",
            "3333",
            "111",
            "361",
        ),
        // go-cavv (pablom/go-cavv, visa_cavv_test.go): a CAVV is the same value over other fields.
        (TEST_KEY, "4123456789012345", "7993", "700", "972"),
        // go-cavv (mcard_aav_test.go).
        (
            "00112233445566778899AABBCCDDEEFF",
            "5432109876543210",
            "0047",
            "140",
            "439",
        ),
        // jPOS (JCESecurityModuleTest, testVerifyCVVImpl): twice the same half, and service code
        // 000.
        (
            "12345678123456781234567812345678",
            "123456789012",
            "1108",
            "000",
            "204",
        ),
        // jPOS (JCESecurityModuleTest, testCalculateCVVImpl2).
        (
            "12345678123456788765432187654321",
            "123456789012",
            "1108",
            "000",
            "453",
        ),
    ];

    #[test]
    fn published_values_come_out() {
        let mut ran = 0;
        for (key, number, expiry, code, expected) in PUBLISHED {
            let digits = [number.as_bytes(), expiry.as_bytes(), code.as_bytes()];
            let value = halves(key).value(&digits).unwrap();
            let value = std::str::from_utf8(value.expose()).unwrap();
            assert_eq!(value, expected, "{key} {number}");
            ran += 1;
        }
        assert_eq!(ran, 7);
    }

    /// jPOS (JCESecurityModuleTest): check values of its test keys; and of the usual test key.
    #[test]
    fn published_check_values_come_out() {
        let of = |key: &str| halves(key).check_value();
        assert_eq!(of("12345678123456781234567812345678")[..2], [0x6F, 0xB1]);
        assert_eq!(of("87654321876543218765432187654321")[..2], [0xAA, 0xB1]);
        assert_eq!(of(TEST_KEY), [0x08, 0xD7, 0xB4]);
    }

    fn parts(text: &str) -> CvkParts {
        CvkParts::parse(text.as_bytes()).unwrap()
    }

    /// Components of the test key with their parity put right.
    fn components() -> [CvkParts; 2] {
        [
            parts("0101010101010101 FEFEFEFEFEFEFEFE"),
            parts("0123456789ABCDEF 01234567 89ABCDEF"),
        ]
    }

    #[test]
    fn components_give_a_key_of_odd_parity() {
        let key = CvkParts::combine(&components()).unwrap();
        assert!(key.0.expose().iter().all(|b| b.count_ones() % 2 == 1));
        // 01.. ^ 0123.. = 0022.., and FE.. ^ 0123.. = FFDD..: the parity bit does not count.
        let by_hand = halves("0022446688AACCEEFFDDBB9977553311");
        assert_eq!(key.check_value().unwrap(), by_hand.check_value());
        let again = CvkParts::combine(&[parts(&"01".repeat(16)), parts(&"01".repeat(16))]);
        assert_eq!(again.err(), Some(CvkError::Weak));
        let [one, two] = components();
        assert_eq!(CvkParts::combine(&[one]).err(), Some(CvkError::Count));
        let zero = CvkParts::combine(&[two, parts("0123456789ABCDEF0123456789ABCDEF")]);
        assert_eq!(zero.err(), Some(CvkError::Weak));
    }

    #[test]
    fn a_mistyped_component_is_refused() {
        let right = "0123456789ABCDEFFEDCBA9876543210";
        assert!(CvkParts::parse(right.as_bytes()).is_ok());
        for at in 0..right.len() {
            let mut wrong = right.as_bytes().to_vec();
            // Another bit in it, so another parity.
            wrong[at] = b"1032547698BADCFE"[usize::from(hex_value(wrong[at]).unwrap())];
            assert_eq!(
                CvkParts::parse(&wrong).err(),
                Some(CvkError::Parity),
                "{at}"
            );
            wrong[at] = b'G';
            assert_eq!(CvkParts::parse(&wrong).err(), Some(CvkError::Form), "{at}");
        }
        for wrong in ["", "01", &format!("{right}01"), &right[1..]] {
            let refused = CvkParts::parse(wrong.as_bytes()).err();
            assert_eq!(refused, Some(CvkError::Form), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_the_expiry_counts_and_american_express_has_none() {
        let key = CvkParts::combine(&components()).unwrap();
        let open = |order| Cvk::open(&key.key("411111", order).unwrap()).unwrap();
        let value = |order| open(order).cvv2(b"4111111111111111", b"01", b"12").unwrap();
        let swapped = open(ExpiryOrder::MonthYear)
            .cvv2(b"4111111111111111", b"12", b"01")
            .unwrap();
        assert!(value(ExpiryOrder::YearMonth).ct_eq(swapped.expose()));
        let one = value(ExpiryOrder::MonthYear);
        assert!(!value(ExpiryOrder::YearMonth).ct_eq(one.expose()));
        assert!(one.expose().iter().all(u8::is_ascii_digit));
        let order = ExpiryOrder::YearMonth;
        assert_eq!(open(order).fits(b"4111111111111111"), Some(6));
        assert_eq!(open(order).fits(b"4222222222222222"), None);
        let any = Cvk::open(&key.key("", order).unwrap()).unwrap();
        assert_eq!(any.fits(b"5555555555554444"), Some(0));
        assert_eq!(any.fits(b"378282246310005"), None);
        for (prefix, why) in [
            ("37", CvkError::Amex),
            ("3456", CvkError::Amex),
            ("4x", CvkError::Prefix),
            ("4111111111111", CvkError::Prefix),
        ] {
            assert_eq!(key.key(prefix, order).err(), Some(why), "{prefix}");
        }
        assert!(open(order).cvv2(&[b'4'; 26], b"01", b"12").is_err());
        assert!(open(order).cvv2(b"41x1", b"01", b"12").is_err());
    }
}
