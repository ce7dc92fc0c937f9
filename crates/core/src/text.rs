//! The texts that come in about a card, a person or a merchant: from files, commands and calls.
//! They are stored in clear, shown, logged in the audit record and sent to webhooks, so none may
//! hold a card number, whatever a partner's program or a spreadsheet puts there by mistake (P3).
//!
//! **Invariant:** `holds_card_number` is the one place that says what could be a card number. To
//! add a text: a type here, or a [`NumberedField`] where an issuer's own numbering decides its
//! form.

use crate::named;

/// Why a text is refused. It repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Too long, or with characters that cannot be printed or that turn the direction of writing.
    #[error("must be at most {0} printable characters")]
    Form(usize),
    /// It must have something that can be seen.
    #[error("must not be blank")]
    Blank,
    /// Some of its digits could be a card number.
    #[error("must not hold what could be a card number")]
    CardNumber,
}

/// Why a card was changed, in the caller's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// How many characters it may have (Equals' texts of this kind have 255).
    pub const CHARS_MAX: usize = 255;

    /// 1 to 255 printable characters that hold no card number.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check_seen(text, Self::CHARS_MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// Why a virtual card comes into use (Equals, "About card states").
    pub fn details_shown() -> Self {
        Self("details shown".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// What people call a card.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Label(String);

impl Label {
    /// How many characters it may have; a dialect may allow fewer.
    pub const CHARS_MAX: usize = 64;

    /// 1 to 64 printable characters that hold no card number, some of them to be seen. Empty when
    /// there is none.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if !text.is_empty() {
            check_seen(text, Self::CHARS_MAX)?;
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

/// What people call a merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerchantName(String);

impl MerchantName {
    /// How many characters it may have.
    pub const CHARS_MAX: usize = 128;

    /// 1 to 128 printable characters that hold no card number.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check_seen(text, Self::CHARS_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl std::str::FromStr for MerchantName {
    type Err = InvalidText;
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::parse(text)
    }
}

impl From<MerchantName> for String {
    fn from(name: MerchantName) -> Self {
        name.0
    }
}

/// What people call a network from which a credential may call.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Description(String);

impl Description {
    /// How many characters it may have.
    pub const CHARS_MAX: usize = 255;

    /// Up to 255 printable characters that hold no card number. Empty when there is none.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check(text, Self::CHARS_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl From<Description> for String {
    fn from(description: Description) -> Self {
        description.0
    }
}

named! {
    /// The fields of a card that hold somebody's own numbering. An issuer whose numbers look like card
    /// numbers names them in its configuration ([`Numbering`]).
    pub enum NumberedField {
        /// KeySecure's order number.
        CardNo = "card_no",
        /// Equals' account.
        AccountId = "account_id",
        /// What a card is sold as.
        Product = "product",
        /// What the merchant named a card.
        CardUniqueNo = "card_unique_no",
        /// The number of a card's holder.
        CardholderNo = "cardholder_no",
    }
}

/// A field of a card whose text could be a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.as_str(), InvalidText::CardNumber)]
pub struct CardNumberIn(pub NumberedField);

/// Which fields may hold what looks like a card number, because the issuer's own numbers do. By
/// default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering(Vec<NumberedField>);

impl Numbering {
    /// These fields hold the issuer's own numbers, whatever they look like.
    pub const fn with_own(fields: Vec<NumberedField>) -> Self {
        Self(fields)
    }

    /// Refuses a text that could be a card number, where the field may not hold one.
    pub fn check(&self, field: NumberedField, text: &str) -> Result<(), CardNumberIn> {
        let own = self.0.contains(&field)
            || field == NumberedField::CardNo && is_published_order_number(text);
        if !own && holds_card_number(text) {
            return Err(CardNumberIn(field));
        }
        Ok(())
    }
}

/// KeySecure's own order numbers are `C`, a day and four digits (seed 000: C202605220001). One in
/// ten has a right check digit by chance, and no scheme issues numbers of 12 digits that begin with
/// 20.
fn is_published_order_number(text: &str) -> bool {
    let Some(digits) = text.strip_prefix("C20") else {
        return false;
    };
    let two = |from: usize| {
        let pair = digits.get(from..from + 2)?;
        pair.parse::<u8>().ok()
    };
    digits.len() == 10
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && two(2).is_some_and(|month| (1..=12).contains(&month))
        && two(4).is_some_and(|day| (1..=31).contains(&day))
}

/// Whether it is 1 to 64 ASCII letters, digits, `_` or `-`: a card's product, a holder's number.
pub fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether it is 1 to 64 printable ASCII characters without a space (KeySecure: card/apply,
/// `card_unique_no`, at most 64).
pub fn is_unique_no(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As [`check`], of a text that must be there: one of blanks alone is none.
pub(crate) fn check_seen(text: &str, chars_max: usize) -> Result<(), InvalidText> {
    if text.chars().all(unseen) {
        return Err(InvalidText::Blank);
    }
    check(text, chars_max)
}

fn check(text: &str, chars_max: usize) -> Result<(), InvalidText> {
    if text.chars().count() > chars_max || text.chars().any(unprintable) {
        return Err(InvalidText::Form(chars_max));
    }
    if holds_card_number(text) {
        return Err(InvalidText::CardNumber);
    }
    Ok(())
}

/// Control characters, line and paragraph separators, those that turn the direction of what stands
/// beside them (Unicode UAX #9, table of explicit directional formatting characters), and those
/// that Unicode keeps for programs: deprecated format characters, marks of annotations, tags.
fn unprintable(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Blanks, what takes no room, and letters that are drawn as blanks: fillers of Hangul, the empty
/// pattern of Braille.
fn unseen(char: char) -> bool {
    char.is_whitespace()
        || takes_no_room(char)
        || matches!(
            char,
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
        )
}

/// What stands between two characters and cannot be seen: soft hyphens, joiners, selectors of
/// variants, byte-order marks.
fn takes_no_room(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

/// How many separators between two digits still join them.
const SEPARATORS_MAX: usize = 3;

/// Whether groups of digits, alone or one after the other, make 12 to 19 digits whose check digit
/// is right. The groups are joined over spaces, hyphens, dots, slashes and what else people and
/// programs write between them; a group is never cut, or every second order number would be one.
pub fn holds_card_number(text: &str) -> bool {
    let groups = digit_groups(text);
    (0..groups.len()).any(|start| {
        let mut digits = Vec::new();
        for (place, group) in groups.iter().skip(start).enumerate() {
            if place > 0 && !group.joined {
                break;
            }
            digits.extend_from_slice(&group.digits);
            if digits.len() > 19 {
                break;
            }
            if digits.len() >= 12 && luhn(&digits) {
                return true;
            }
        }
        false
    })
}

/// Whether the check digit is right (ISO/IEC 7812-1 annex B).
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

struct Group {
    digits: Vec<u8>,
    /// Whether only separators lie between it and the one before.
    joined: bool,
}

fn digit_groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // How many separators since the last digit; `None` when something else came between.
    let mut apart: Option<usize> = None;
    for char in text.chars() {
        if takes_no_room(char) {
            continue;
        }
        let digit = digit(char);
        match (digit, apart, groups.last_mut()) {
            (Some(digit), Some(0), Some(group)) => group.digits.push(digit),
            (Some(digit), _, _) => {
                groups.push(Group {
                    digits: vec![digit],
                    joined: apart.is_some_and(|count| count <= SEPARATORS_MAX),
                });
                apart = Some(0);
            }
            (None, _, _) if is_separator(char) => apart = apart.map(|count| count + 1),
            (None, _, _) => apart = None,
        }
    }
    groups
}

/// The ASCII digit that a digit of any common script stands for: a phone's keyboard may write them.
fn digit(char: char) -> Option<u8> {
    const ZEROS: [char; 6] = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{ff10}'];
    let value = |zero: char| {
        u32::from(char)
            .checked_sub(u32::from(zero))
            .filter(|v| *v < 10)
    };
    let value = ZEROS.into_iter().find_map(value)?;
    u8::try_from(value).ok().map(|value| b'0' + value)
}

fn is_separator(char: char) -> bool {
    matches!(
        char,
        ' ' | '-'
            | '.'
            | '_'
            | '/'
            | '\\'
            | '|'
            | '+'
            | '\u{b7}'
            | '\u{a0}'
            | '\u{2009}'
            | '\u{202f}'
            | '\u{2010}'..='\u{2013}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::card::TEST_NUMBERS;

    #[test]
    fn a_reason_has_1_to_255_printable_characters() {
        for blank in [
            " ",
            "\u{a0}\u{3000}",
            "\u{200b}\u{feff}",
            "\u{3164}",
            "\u{2800}\u{fe0f}",
        ] {
            assert_eq!(Reason::parse(blank), Err(InvalidText::Blank), "{blank:?}");
            assert_eq!(Label::parse(blank), Err(InvalidText::Blank), "{blank:?}");
        }
        assert_eq!(Reason::parse(""), Err(InvalidText::Blank));
        assert!(Reason::parse(&"é".repeat(255)).is_ok());
        let long = Reason::parse(&"é".repeat(256));
        assert_eq!(long, Err(InvalidText::Form(255)));
        for wrong in [
            "a\nb",
            "a\u{0}",
            "a\u{202e}b",
            "a\u{7f}",
            "a\u{61c}b",
            "a\u{2028}b",
            "a\u{2067}b",
            "a\u{206a}b",
            "a\u{e0041}b",
        ] {
            assert_eq!(
                Reason::parse(wrong),
                Err(InvalidText::Form(255)),
                "{wrong:?}"
            );
        }
        assert!(Label::parse("").is_ok());
        assert!(Label::parse(&"x".repeat(64)).is_ok());
        assert_eq!(Label::parse(&"x".repeat(65)), Err(InvalidText::Form(64)));
    }

    #[test]
    fn no_text_holds_a_card_number() {
        for wrong in [
            "lost 4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111 stolen",
            "card4111.1111.1111.1111!",
            "4111 - 1111 - 1111 - 1111",
            "ticket 12 4111111111111111",
            "4111111111111111=2512",
            "4111111111111111 12/25",
            "1 2 378282246310005",
            "4917610000000000003",
            "4111_1111_1111_1111",
            "4111/1111/1111/1111",
            "4111+1111+1111+1111",
            "4111 | 1111 | 1111 | 1111",
            "4111\\1111\\1111\\1111",
            "4111\u{b7}1111\u{b7}1111\u{b7}1111",
            "4111\u{200b}1111\u{ad}1111\u{feff}1111",
            "4111\u{fe0f}1111\u{fe0f}1111\u{fe0f}1111",
            "\u{ff14}\u{ff11}\u{ff11}\u{ff11} 1111 1111 1111",
            "\u{664}\u{661}\u{661}\u{661}1111111\u{661}1111",
        ] {
            assert_eq!(
                Reason::parse(wrong),
                Err(InvalidText::CardNumber),
                "{wrong}"
            );
            assert_eq!(Label::parse(wrong), Err(InvalidText::CardNumber), "{wrong}");
        }
    }

    #[test]
    fn other_numbers_are_no_card_numbers() {
        for fine in [
            "lost 1111",
            "order 4111111111111112",
            "4111111111111111000000",
            "2026-11-22T10:00:00Z",
            "4111x1111x1111x1111",
            "41111111 and 11111111",
            "0000",
            "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
        ] {
            assert!(Reason::parse(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn no_field_of_a_card_holds_a_card_number_but_by_the_issuers_word() {
        use NumberedField::{AccountId, CardNo};
        let pan = "4111111111111111";
        for field in NumberedField::ALL {
            let refused = Numbering::default().check(field, pan);
            assert_eq!(refused, Err(CardNumberIn(field)));
            assert_eq!(Numbering::with_own(vec![field]).check(field, pan), Ok(()));
        }
        let own = Numbering::with_own(vec![AccountId]);
        assert_eq!(own.check(CardNo, pan), Err(CardNumberIn(CardNo)));
    }

    #[test]
    fn the_order_numbers_of_the_published_form_are_taken_whatever_their_check_digit() {
        let check = |text: &str| Numbering::default().check(NumberedField::CardNo, text);
        let mut lucky = 0;
        for number in 1..1_000 {
            let text = format!("C20260522{number:04}");
            lucky += usize::from(holds_card_number(&text));
            assert_eq!(check(&text), Ok(()), "{text}");
        }
        assert!(lucky > 90, "{lucky}");
        for wrong in [
            "C504837001234561",
            "202605220002",
            "C202699220005",
            "X202605220009",
        ] {
            let lucky = holds_card_number(wrong);
            assert_eq!(check(wrong).is_err(), lucky, "{wrong}");
        }
        let account = Numbering::default().check(NumberedField::AccountId, "C202605220009");
        assert!(!holds_card_number("C202605220009") || account.is_err());
    }

    #[test]
    fn words_and_merchants_numbers_have_1_to_64_characters() {
        assert!(is_word("GOLD_debit-2") && is_word(&"a".repeat(64)));
        assert!(!is_word("") && !is_word("a b") && !is_word(&"a".repeat(65)) && !is_word("é"));
        assert!(is_unique_no("order/17#a") && is_unique_no(&"a".repeat(64)));
        assert!(!is_unique_no("") && !is_unique_no("a b") && !is_unique_no(&"a".repeat(65)));
    }

    proptest! {
        /// However it is written, and whatever words stand around it.
        #[test]
        fn a_card_number_is_found_however_it_is_grouped(
            number in select(TEST_NUMBERS.to_vec()),
            cuts in prop::collection::vec(any::<bool>(), 19),
            separator in select(vec!["", " ", "-", ".", " - ", "\u{a0}"]),
            before in "[a-z ,:]{0,20}[a-z,:]",
            after in "[a-z,:][a-z ,:]{0,20}",
        ) {
            let mut text = before;
            for (digit, cut) in number.chars().zip(cuts) {
                text.push(digit);
                if cut {
                    text.push_str(separator);
                }
            }
            text.push_str(&after);
            prop_assert_eq!(Reason::parse(&text), Err(InvalidText::CardNumber));
        }
    }
}
