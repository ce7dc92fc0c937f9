//! Which cards may go into which wallet: a merchant's rules, and the reasons against a card.

use serde::{Deserialize, Serialize};

use super::{Census, Wallet};
use crate::card::{Card, State};
use crate::named;

/// Why a text is not the beginning of card numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a BIN is 6 to 8 digits")]
pub struct InvalidBin;

/// The first 6 to 8 digits of card numbers (ISO/IEC 7812-1), which anyone may see (PCI DSS 3.4.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bin(String);

impl Bin {
    /// Checks the form and takes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidBin> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && (6..=8).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBin)
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Bin {
    type Error = InvalidBin;
    fn try_from(text: String) -> Result<Self, InvalidBin> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for Bin {
    type Err = InvalidBin;
    fn from_str(text: &str) -> Result<Self, InvalidBin> {
        Self::parse(text)
    }
}

impl From<Bin> for String {
    fn from(bin: Bin) -> Self {
        bin.0
    }
}

/// Which of a merchant's cards may go into a wallet. By default none may: tokenisation has to be
/// arranged with the network first (Equals, "Create digital wallet tokens").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletRules {
    /// Into which wallets.
    pub wallets: Vec<Wallet>,
    /// Card numbers that begin so; `None` for all.
    pub bins: Option<Vec<Bin>>,
    /// Cards of these products; `None` for all.
    pub products: Option<Vec<String>>,
}

impl WalletRules {
    /// Every card into every wallet.
    pub fn all() -> Self {
        Self {
            wallets: Wallet::ALL.to_vec(),
            bins: None,
            products: None,
        }
    }

    /// Whether cards of this product may. A card without one is of none that a list names.
    pub fn admits_product(&self, product: Option<&str>) -> bool {
        match (&self.products, product) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(products), Some(product)) => products.iter().any(|known| known == product),
        }
    }
}

named! {
    /// Why a card cannot go into a wallet. The names are stable.
    pub enum Reason {
        /// The card is not in use.
        CardNotActive = "card_not_active",
        /// The merchant's cards do not go into this wallet.
        WalletNotEnabled = "wallet_not_enabled",
        /// Card numbers that begin so are not enabled.
        BinNotEnabled = "bin_not_enabled",
        /// Cards of this product are not enabled.
        ProductNotEnabled = "product_not_enabled",
        /// The card has as many active and suspended tokens as it may have.
        TokenLimitReached = "token_limit_reached",
        /// The card is in this wallet on this device already.
        AlreadyOnDevice = "already_on_device",
    }
}

/// What an answer about a card and a wallet rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub card: &'a Card,
    /// Its merchant's rules.
    pub rules: &'a WalletRules,
    pub wallet: Wallet,
    /// Whether the rules name the beginning of its number, which the vault alone can tell.
    pub bin_enabled: bool,
    /// The tokens that its number has.
    pub census: Census,
}

impl Facts<'_> {
    /// Everything that speaks against it, in the order of [`Reason::ALL`]. With none, it can go in.
    pub fn reasons(&self) -> Vec<Reason> {
        let holds = |reason: Reason| match reason {
            Reason::CardNotActive => self.card.state != State::Active,
            Reason::WalletNotEnabled => !self.rules.wallets.contains(&self.wallet),
            Reason::BinNotEnabled => !self.bin_enabled,
            Reason::ProductNotEnabled => !self
                .rules
                .admits_product(self.card.attributes.product.as_deref()),
            Reason::TokenLimitReached => !self.census.has_room(),
            Reason::AlreadyOnDevice => self.census.on_device,
        };
        Reason::ALL
            .iter()
            .copied()
            .filter(|reason| holds(*reason))
            .collect()
    }
}
