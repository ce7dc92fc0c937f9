//! The texts that callers write about a card. They are shown, logged in the audit record and sent to
//! webhooks, so none may hold a card number, whatever a partner's program puts there by mistake
//! (P3).

use super::value::luhn;

/// Why a text is refused. It repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Too long, or with characters that cannot be printed.
    #[error("must be at most {0} printable characters")]
    Form(usize),
    /// It must not be empty.
    #[error("must not be empty")]
    Empty,
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
        if text.is_empty() {
            return Err(InvalidText::Empty);
        }
        check(text, Self::CHARS_MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// Why a virtual card comes into use (Equals, "About card states").
    pub fn details_shown() -> Self {
        Self("details shown".to_owned())
    }

    /// The text.
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

    /// Up to 64 printable characters that hold no card number. Empty when there is none.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check(text, Self::CHARS_MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
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

fn check(text: &str, chars_max: usize) -> Result<(), InvalidText> {
    if text.chars().count() > chars_max || text.chars().any(unprintable) {
        return Err(InvalidText::Form(chars_max));
    }
    if holds_card_number(text) {
        return Err(InvalidText::CardNumber);
    }
    Ok(())
}

/// Control characters, and those that turn the direction of what stands beside them.
fn unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many separators between two digits still join them.
const SEPARATORS_MAX: usize = 3;

/// Whether groups of digits, alone or one after the other, make 12 to 19 digits whose check digit is
/// right. The groups are joined over spaces, hyphens and dots, as people write card numbers; a group
/// is never cut, or every second order number would be one.
fn holds_card_number(text: &str) -> bool {
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
        let digit = u8::try_from(char).ok().filter(u8::is_ascii_digit);
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

fn is_separator(char: char) -> bool {
    matches!(
        char,
        ' ' | '-' | '.' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{2010}'..='\u{2013}'
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
        assert_eq!(Reason::parse(""), Err(InvalidText::Empty));
        assert!(Reason::parse(&"é".repeat(255)).is_ok());
        let long = Reason::parse(&"é".repeat(256));
        assert_eq!(long, Err(InvalidText::Form(255)));
        for wrong in ["a\nb", "a\u{0}", "a\u{202e}b", "\u{7f}"] {
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
