//! The attributes of a card: texts in clear that a card can be without.
//!
//! To add one, follow the compiler and the recipe in ARCHITECTURE.md. A value that must not stand
//! in clear is a field of the card instead ([`crate::term::Field`]).

use crate::text::{CardNumberIn, NumberedField, Numbering};

/// What the card programme and the merchant call things that belong to a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The name of what the card programme sells it as, in words of [`super::is_word`] (Equals
    /// `cardProductId`).
    pub product: Option<String>,
    /// What the merchant named it when it was ordered; [`super::is_unique_no`] (KeySecure
    /// `card_unique_no`).
    pub unique_no: Option<String>,
    /// What the card programme numbers its holder, in words of [`super::is_word`] (KeySecure
    /// `cardholder_no`).
    pub holder_no: Option<String>,
}

impl Attributes {
    /// All of them, each with its name where cards come in.
    pub fn all(&self) -> impl Iterator<Item = (NumberedField, Option<&str>)> {
        // Taken apart, so that a new attribute is not forgotten here.
        let Self {
            product,
            unique_no,
            holder_no,
        } = self;
        [
            (NumberedField::Product, product),
            (NumberedField::CardUniqueNo, unique_no),
            (NumberedField::CardholderNo, holder_no),
        ]
        .into_iter()
        .map(|(field, text)| (field, text.as_deref()))
    }

    /// Refuses an attribute that could be a card number, where it may not be one.
    pub(crate) fn check_numbers(&self, numbering: &Numbering) -> Result<(), CardNumberIn> {
        let mut all = self.all();
        all.try_for_each(|(field, text)| numbering.check(field, text.unwrap_or_default()))
    }
}
