//! Which cards may go into which wallet: a merchant's rules, and the reasons against a card.

use serde::{Deserialize, Serialize};

use super::{Census, Wallet, named};
use crate::card::{Card, State};

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
    Reason {
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
    /// The card.
    pub card: &'a Card,
    /// Its merchant's rules.
    pub rules: &'a WalletRules,
    /// The wallet.
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
            Reason::ProductNotEnabled => !self.rules.admits_product(self.card.product.as_deref()),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::sample;
    use crate::wallet::TOKENS_PER_PAN_MAX;

    /// Facts in which exactly these reasons hold.
    fn reasons_of(wanted: &[Reason]) -> Vec<Reason> {
        let has = |reason| wanted.contains(&reason);
        let product = if has(Reason::ProductNotEnabled) {
            "lead"
        } else {
            "gold"
        };
        let card = Card {
            state: if has(Reason::CardNotActive) {
                State::Suspended
            } else {
                State::Active
            },
            product: Some(product.to_owned()),
            ..sample::card(1)
        };
        let wallets = if has(Reason::WalletNotEnabled) {
            vec![Wallet::SamsungPay]
        } else {
            Wallet::ALL.to_vec()
        };
        let rules = WalletRules {
            wallets,
            bins: None,
            products: Some(vec!["gold".to_owned()]),
        };
        let facts = Facts {
            card: &card,
            rules: &rules,
            wallet: Wallet::ApplePay,
            bin_enabled: !has(Reason::BinNotEnabled),
            census: Census {
                counted: TOKENS_PER_PAN_MAX - usize::from(!has(Reason::TokenLimitReached)),
                on_device: has(Reason::AlreadyOnDevice),
            },
        };
        facts.reasons()
    }

    proptest! {
        /// Each reason alone and all of them together: what holds is told, in the one order.
        #[test]
        fn every_reason_that_holds_is_told(
            wanted in prop::sample::subsequence(Reason::ALL.to_vec(), 0..=Reason::ALL.len()),
        ) {
            prop_assert_eq!(reasons_of(&wanted), wanted);
        }
    }

    #[test]
    fn each_reason_stands_alone() {
        for reason in Reason::ALL {
            assert_eq!(reasons_of(&[*reason]), [*reason]);
        }
        assert_eq!(reasons_of(&[]), []);
        assert_eq!(reasons_of(Reason::ALL), Reason::ALL);
    }

    #[test]
    fn only_an_active_card_goes_into_a_wallet() {
        let rules = WalletRules::all();
        for state in State::ALL {
            let card = Card {
                state,
                ..sample::card(1)
            };
            let facts = Facts {
                card: &card,
                rules: &rules,
                wallet: Wallet::AndroidPay,
                bin_enabled: true,
                census: Census::default(),
            };
            let can = facts.reasons().is_empty();
            assert_eq!(can, state == State::Active, "{state:?}");
        }
    }

    #[test]
    fn by_default_nothing_is_enabled() {
        let rules: WalletRules = serde_json::from_str("{}").unwrap();
        assert_eq!(rules, WalletRules::default());
        assert!(rules.wallets.is_empty());
        assert!(rules.admits_product(None), "the wallets alone bar it");
    }

    #[test]
    fn a_list_of_products_bars_a_card_without_one() {
        let rules = WalletRules {
            products: Some(vec!["gold".to_owned()]),
            ..WalletRules::all()
        };
        assert!(rules.admits_product(Some("gold")));
        assert!(!rules.admits_product(Some("gol")));
        assert!(!rules.admits_product(None));
    }

    #[test]
    fn a_bin_is_6_to_8_digits() {
        for good in ["411111", "4111111", "41111111"] {
            assert_eq!(Bin::parse(good).unwrap().as_str(), good);
        }
        for wrong in ["", "41111", "411111111", "41111a", "41111１", " 411111"] {
            assert_eq!(Bin::parse(wrong), Err(InvalidBin), "{wrong:?}");
        }
    }
}
