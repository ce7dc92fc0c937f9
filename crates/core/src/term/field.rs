//! The values of a card that can be released, and sets of them.

use std::fmt;

use crate::named;
use serde::{Deserialize, Serialize};

named! {
    /// One value of a card that can be released.
    pub enum Field {
        /// The card number (PAN).
        Pan = "pan",
        /// The expiry month and year.
        Expiry = "expiry",
        /// The CVV2.
        Cvv = "cvv",
        /// The cardholder's name.
        Name = "name",
    }
}

impl Field {
    const fn bit(self) -> u8 {
        match self {
            Self::Pan => 1,
            Self::Expiry => 2,
            Self::Cvv => 4,
            Self::Name => 8,
        }
    }
}

/// A set of fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Field>", into = "Vec<Field>")]
pub struct Fields(u8);

impl Fields {
    /// No field.
    pub const NONE: Self = Self(0);
    pub const ALL: Self = {
        let mut all = Self::NONE;
        let mut rest: &[Field] = &Field::ALL;
        while let Some((field, others)) = rest.split_first() {
            all.insert(*field);
            rest = others;
        }
        all
    };

    /// Adds one; tells whether it was new.
    pub const fn insert(&mut self, field: Field) -> bool {
        let new = self.0 & field.bit() == 0;
        self.0 |= field.bit();
        new
    }

    /// Whether it holds `field`.
    pub const fn contains(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of these are in `other`.
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those of these that are in `other` too.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These, unless there are none.
    pub fn some(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// The fields in order.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL
            .into_iter()
            .filter(move |field| self.contains(*field))
    }

    /// The names in order.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Field::as_str).collect()
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let mut set = Self::NONE;
        for field in fields {
            set.insert(field);
        }
        set
    }
}

impl From<Vec<Field>> for Fields {
    fn from(fields: Vec<Field>) -> Self {
        fields.into_iter().collect()
    }
}

impl From<Fields> for Vec<Field> {
    fn from(fields: Fields) -> Self {
        fields.iter().collect()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_sets_behave_as_sets() {
        assert!(Field::ALL.into_iter().eq(Fields::ALL.iter()));
        let mut set = Fields::NONE;
        assert!(set.insert(Field::Cvv));
        assert!(!set.insert(Field::Cvv));
        assert!(set.within(Fields::ALL));
        assert!(!Fields::ALL.within(set));
        assert_eq!(Fields::ALL.without(set).names(), ["pan", "expiry", "name"]);
        assert_eq!(Fields::ALL.and(set), set);
        assert_eq!(Fields::ALL.without(set).and(set), Fields::NONE);
    }
}
