//! Scopes that take effect only where their merchant may.

use cardveil_core::merchant::{Need, Scope};

/// The scopes that need the merchant's permission, and how that is given.
pub(crate) const PERMITTED: [(Scope, Need, &str); 3] = [
    (Scope::CardsExport, Need::ExportCards, "--export"),
    (Scope::PinsRead, Need::ReadPins, "--read-pins"),
    (Scope::PinsSet, Need::SetPins, "--set-pins"),
];
