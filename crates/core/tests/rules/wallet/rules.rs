use cardveil_core::card::{Attributes, Card, State};
use cardveil_core::wallet::*;
use cardveil_testkit::sample;
use proptest::prelude::*;

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
        attributes: Attributes {
            product: Some(product.to_owned()),
            ..Attributes::default()
        },
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
        assert_eq!(reasons_of(&[reason]), [reason]);
    }
    assert_eq!(reasons_of(&[]), []);
    assert_eq!(reasons_of(&Reason::ALL), Reason::ALL);
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
