//! Parameters and what can be wrong with them, told as the source does: `field_name message`.
//!
//! **Invariant:** an answer names a field of the API and never repeats what was sent.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use cardveil_core::id::CardNo;

use super::{Language, Refusal};
use crate::extract;

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Not the form of a card's order number.
    Word,
}

impl Wrong {
    pub(super) const fn words(self, language: Language) -> &'static str {
        let (english, chinese) = match self {
            Self::Word => (
                "must be 1 to 64 letters, digits, _ or -",
                "须为 1 至 64 位字母、数字、_ 或 -",
            ),
        };
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

/// The card that a path names.
pub(super) fn card_no(
    parameter: Result<Path<String>, PathRejection>,
    language: Language,
) -> Result<CardNo, Refusal> {
    extract::path(parameter)
        .and_then(|text| CardNo::parse(&text).ok())
        .ok_or_else(|| Refusal::invalid("card_no", Wrong::Word, language))
}
