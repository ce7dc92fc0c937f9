//! Digital wallet tokens.

use std::time::Duration;

use futures_util::future::join_all;

use super::{after, log_len, log_of, with_merchant};
use crate::sample::{self, START};
use cardveil_core::audit::{Actor, Kind, Topic};
use cardveil_core::card::{self, Card, PanIndexes, State as CardState};
use cardveil_core::id::{AccountId, DeviceId, PersonId, WalletTokenId};
use cardveil_core::merchant::Merchant;
use cardveil_core::port::{Change, Error, Set, Store, WalletFilter, WalletPage};
use cardveil_core::verb::{Changes, Commit};
use cardveil_core::wallet::{
    Bin, Census, Decision, DeviceType, Fulfilment, Refused, State, Step, TOKENS_PER_PAN_MAX,
    Wallet, WalletRules,
};

const WHOLE: WalletPage = WalletPage {
    after: None,
    offset: 0,
    limit: 1_000,
};

async fn listed(store: &dyn Store, filter: &WalletFilter, page: WalletPage) -> Vec<u8> {
    let found = store.wallet_tokens(filter, page).await.unwrap();
    found.iter().map(|f| f.token.id.as_bytes()[0]).collect()
}

/// What goes in comes out, and another merchant does not see it.
pub(super) async fn a_wallet_token_is_found_within_its_merchant_only(store: &dyn Store) {
    with_merchant(store).await;
    let asked = sample::wallet_asked(1, START);
    let added = store.commit(asked.clone()).await.unwrap().unwrap();
    assert_eq!(added.state, State::Active);
    assert_eq!(added.fulfilment, Fulfilment::Provisioned);
    assert_eq!(added.pan_index, sample::card(1).sealed.pan_index);
    let found = store
        .wallet_token(&asked.merchant, &asked.id)
        .await
        .unwrap();
    let found = found.unwrap();
    assert_eq!(found.token, added);
    assert_eq!(found.label, sample::card(1).label);
    assert_eq!(found.last_four, sample::card(1).last_four);
    let other = sample::merchant(2).id;
    assert_eq!(store.wallet_token(&other, &asked.id).await.unwrap(), None);
    let unknown = WalletTokenId::from_bytes([9; 16]);
    assert_eq!(
        store.wallet_token(&asked.merchant, &unknown).await.unwrap(),
        None
    );

    let log = log_of(store, Kind::WalletTokenAdded).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].target.card, Some(asked.card));
    assert_eq!(log[0].target.wallet_token, Some(asked.id));
    assert_eq!(log[0].detail.from, None);
    assert_eq!(log[0].detail.to.as_deref(), Some("ACTIVE"));
    assert_eq!(log[0].merchant, Some(asked.merchant.clone()));
    assert_eq!(log[0].topic(), Some(Topic::WalletToken));

    let before = log_len(store).await;
    let mut foreign = sample::wallet_asked(2, START);
    foreign.merchant = other;
    let refused = store.commit(foreign).await.unwrap();
    assert_eq!(refused, Err(Refused::Unknown));
    assert_eq!(log_len(store).await, before);
}

/// Each change with its event, and what is final stays.
pub(super) async fn a_wallet_token_moves_with_its_event(store: &dyn Store) {
    with_merchant(store).await;
    let mut asked = sample::wallet_asked(1, START);
    asked.decision = Decision::Yellow;
    let added = store.commit(asked.clone()).await.unwrap().unwrap();
    assert_eq!(added.fulfilment, Fulfilment::DecisionYellow);
    let mut from = added;
    for (step, state, fulfilment) in [
        (Step::Verified, State::Active, Fulfilment::Provisioned),
        (Step::Suspend, State::Suspended, Fulfilment::Provisioned),
        (Step::Activate, State::Active, Fulfilment::Provisioned),
        (Step::Terminate, State::Terminated, Fulfilment::Provisioned),
    ] {
        let mut change =
            sample::wallet_change(1, step, from.updated_at.plus(Duration::from_secs(1)));
        change.reason = Some(card::Reason::parse("asked for").unwrap());
        let next = store.commit(change.clone()).await.unwrap().unwrap();
        assert_eq!((next.state, next.fulfilment), (state, fulfilment));
        assert_eq!(next.updated_at, change.at);
        assert_eq!(next.created_at, START);
        let kept = store
            .wallet_token(&asked.merchant, &asked.id)
            .await
            .unwrap();
        assert_eq!(kept.unwrap().token, next);
        let event = log_of(store, Kind::WalletTokenChanged).await.pop().unwrap();
        assert_eq!(event.detail.from.as_deref(), Some(from.state.as_str()));
        assert_eq!(event.detail.to.as_deref(), Some(state.as_str()));
        assert_eq!(event.detail.reason.as_deref(), Some("asked for"));
        assert_eq!(event.target.wallet_token, Some(asked.id));
        assert_eq!(event.topic(), Some(Topic::WalletToken));
        from = next;
    }
    let before = log_len(store).await;
    let again = sample::wallet_change(1, Step::Activate, after(60));
    let refused = store.commit(again.clone()).await.unwrap();
    assert_eq!(refused, Err(Refused::Final(State::Terminated)));
    let mut foreign = again;
    foreign.merchant = sample::merchant(2).id;
    let refused = store.commit(foreign).await.unwrap();
    assert_eq!(refused, Err(Refused::Unknown));
    let unknown = sample::wallet_change(7, Step::Activate, after(60));
    let refused = store.commit(unknown).await.unwrap();
    assert_eq!(refused, Err(Refused::Unknown));
    assert_eq!(log_len(store).await, before);
}

/// What is so already is not written again.
pub(super) async fn a_wallet_token_that_stays_writes_nothing(store: &dyn Store) {
    with_merchant(store).await;
    let asked = sample::wallet_asked(1, START);
    let added = store.commit(asked).await.unwrap().unwrap();
    let before = log_len(store).await;
    let same = sample::wallet_change(1, Step::Activate, after(60));
    assert_eq!(store.commit(same).await.unwrap(), Ok(added));
    assert_eq!(log_len(store).await, before);
}

/// "At most 25 active and suspended tokens for a PAN", under a race too.
pub(super) async fn of_30_concurrent_wallet_tokens_25_are_granted(store: &dyn Store) {
    with_merchant(store).await;
    let twin = Card {
        sealed: sample::card(1).sealed,
        ..sample::card(2)
    };
    let added = sample::event(Kind::CardAdded, START);
    let results = store
        .commit(Changes(vec![(Change::AddCard(Box::new(twin)), added)]))
        .await;
    assert!(results.unwrap().iter().all(Result::is_ok));
    let asked = (1..=30).map(|n| {
        let mut asked = sample::wallet_asked(n, START);
        asked.card = sample::card(1 + n % 2).id;
        store.commit(asked)
    });
    let tokens: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(|added| added.unwrap().unwrap())
        .collect();
    let active: Vec<_> = tokens.iter().filter(|t| t.state == State::Active).collect();
    assert_eq!(active.len(), TOKENS_PER_PAN_MAX);
    for declined in tokens.iter().filter(|t| t.state != State::Active) {
        assert_eq!(declined.state, State::RequestDeclined);
        assert_eq!(declined.fulfilment, Fulfilment::Rejected);
    }
    let indexes = sample::pan_indexes(1);
    let census = |n: u8| async move {
        let device = sample::device(n);
        store.wallet_census(&indexes, &device).await.unwrap()
    };
    let first = active[0].id.as_bytes()[0];
    assert_eq!(
        census(first).await,
        Census {
            counted: 25,
            on_device: true
        }
    );
    assert_eq!(
        census(99).await,
        Census {
            counted: 25,
            on_device: false
        }
    );
    let suspend = sample::wallet_change(first, Step::Suspend, after(1));
    store.commit(suspend).await.unwrap().unwrap();
    assert_eq!(census(first).await.counted, 25, "a suspended one counts");
    let end = sample::wallet_change(first, Step::Terminate, after(2));
    store.commit(end).await.unwrap().unwrap();
    let left = Census {
        counted: 24,
        on_device: false,
    };
    assert_eq!(census(first).await, left, "one that has ended does not");
    assert_eq!(
        store
            .wallet_census(&sample::pan_indexes(9), &sample::device(1))
            .await
            .unwrap(),
        Census::default()
    );
}

/// While the key of the index is rotated, cards of one number are told by two indexes: what a
/// number may have is what both have together, and by one of them nothing is decided.
pub(super) async fn tokens_are_counted_by_both_indexes_of_a_number(store: &dyn Store) {
    with_merchant(store).await;
    let mut moved = sample::card(2);
    moved.sealed.index_key += 1;
    let added = Change::AddCard(Box::new(moved.clone()));
    let added = vec![(added, sample::event(Kind::CardAdded, START))];
    store.commit(Changes(added)).await.unwrap()[0].unwrap();
    let both = PanIndexes([moved.sealed.pan_index, sample::card(1).sealed.pan_index]);
    let ask = |n: u8, card: u8, decision: Decision| {
        let mut asked = sample::wallet_asked(n, START);
        asked.card = sample::card(card).id;
        asked.indexes = both;
        asked.decision = decision;
        store.commit(asked)
    };
    let waiting = ask(99, 1, Decision::Yellow).await.unwrap().unwrap();
    assert_eq!(waiting.state, State::Requested);
    for n in 1..=25 {
        let token = ask(n, 1 + n % 2, Decision::Green).await.unwrap().unwrap();
        assert_eq!(token.state, State::Active, "{n}");
        let is_moved = token.card == moved.id;
        assert_eq!(token.index_key == moved.sealed.index_key, is_moved);
        assert_eq!(token.pan_index == moved.sealed.pan_index, is_moved);
    }
    for card in [1, 2] {
        let token = ask(100 + card, card, Decision::Green).await;
        assert_eq!(token.unwrap().unwrap().state, State::RequestDeclined);
    }
    let mut activate = sample::wallet_change(99, Step::Activate, after(1));
    activate.indexes = both;
    let refused = store.commit(activate.clone()).await.unwrap();
    assert_eq!(refused, Err(Refused::LimitReached));
    let census = store.wallet_census(&both, &sample::device(1)).await;
    let all = Census {
        counted: 25,
        on_device: true,
    };
    assert_eq!(census.unwrap(), all);
    activate.indexes = sample::pan_indexes(2);
    let unseen = store.commit(activate).await;
    assert!(matches!(unseen, Err(Error::Unavailable(_))), "{unseen:?}");
    let mut asked = sample::wallet_asked(98, START);
    asked.indexes = sample::pan_indexes(2);
    let unseen = store.commit(asked).await;
    assert!(matches!(unseen, Err(Error::Unavailable(_))), "{unseen:?}");
}

/// "A terminated card terminates its tokens": in its own commit, each with its event.
pub(super) async fn a_terminated_card_ends_its_wallet_tokens(store: &dyn Store) {
    with_merchant(store).await;
    let second = Change::AddCard(Box::new(sample::card(2)));
    let results = store
        .commit(Changes(vec![(
            second,
            sample::event(Kind::CardAdded, START),
        )]))
        .await;
    assert!(results.unwrap().iter().all(Result::is_ok));
    let decisions = [
        Decision::Green,
        Decision::Yellow,
        Decision::Red,
        Decision::Green,
    ];
    for (n, decision) in (1..).zip(decisions) {
        let mut asked = sample::wallet_asked(n, START);
        asked.decision = decision;
        let card = if n == 4 { 2 } else { 1 };
        asked.card = sample::card(card).id;
        asked.indexes = sample::pan_indexes(card);
        store.commit(asked).await.unwrap().unwrap();
    }
    let at = after(10);
    for (state, ended) in [(CardState::Suspended, 0), (CardState::Terminated, 2)] {
        let transition = sample::transition(1, state, at);
        let changed = store.commit(transition).await.unwrap();
        assert!(matches!(changed, card::Changed::Done(_)), "{changed:?}");
        let log = log_of(store, Kind::WalletTokenChanged).await;
        assert_eq!(log.len(), ended, "{state:?}");
    }
    let log = log_of(store, Kind::WalletTokenChanged).await;
    for (event, from) in log.iter().zip(["ACTIVE", "REQUESTED"]) {
        assert_eq!(event.detail.from.as_deref(), Some(from));
        assert_eq!(event.detail.to.as_deref(), Some("TERMINATED"));
        assert_eq!((event.at, &event.actor), (at, &Actor::System));
        assert_eq!(event.topic(), Some(Topic::WalletToken));
    }
    let states: Vec<_> = store
        .wallet_tokens(&WalletFilter::default(), WHOLE)
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.token.state)
        .collect();
    let [ended, declined] = [State::Terminated, State::RequestDeclined];
    assert_eq!(states, [ended, ended, declined, State::Active]);
    let late = sample::wallet_asked(9, at);
    let token = store.commit(late).await.unwrap().unwrap();
    assert_eq!(
        token.state,
        State::RequestDeclined,
        "and it gets no new one"
    );
}

/// Cards 1 and 2 of merchant 1, and 3 of merchant 2; six tokens: of card 1 the first three, of card
/// 3 the last, and in between two of card 2, of which the second was declined.
async fn with_six_tokens(store: &dyn Store) {
    with_merchant(store).await;
    let adds = [second(), third()].map(|card| {
        let event = sample::event(Kind::CardAdded, START);
        (Change::AddCard(Box::new(card)), event)
    });
    let added = store.commit(Changes(adds.into())).await.unwrap();
    assert!(added.iter().all(Result::is_ok));
    for n in 1..=6_u8 {
        let mut asked = sample::wallet_asked(n, START);
        asked.device.wallet = Wallet::ALL[usize::from(n % 3)];
        asked.device.device_type = DeviceType::ALL[usize::from(n % 3)];
        asked.decision = if n == 5 {
            Decision::Red
        } else {
            Decision::Green
        };
        let card = match n {
            1..=3 => sample::card(1),
            4 | 5 => second(),
            _ => third(),
        };
        asked.indexes = PanIndexes([card.sealed.pan_index; 2]);
        (asked.card, asked.merchant) = (card.id, card.merchant);
        store.commit(asked).await.unwrap().unwrap();
    }
}

fn second() -> Card {
    Card {
        account: AccountId::parse("F2").unwrap(),
        person: PersonId::from_bytes([2; 16]),
        ..sample::card(2)
    }
}

fn third() -> Card {
    Card {
        merchant: sample::merchant(2).id,
        ..sample::card(3)
    }
}

fn by(narrow: impl FnOnce(&mut WalletFilter)) -> WalletFilter {
    let mut filter = WalletFilter::default();
    narrow(&mut filter);
    filter
}

/// Each filter narrows.
pub(super) async fn wallet_tokens_are_listed_by_what_narrows_them(store: &dyn Store) {
    with_six_tokens(store).await;
    let of_one = sample::merchant(1).id;
    for (filter, expected) in [
        (by(|_| {}), &[1, 2, 3, 4, 5, 6][..]),
        (by(|f| f.merchant = Some(of_one.clone())), &[1, 2, 3, 4, 5]),
        (by(|f| f.person = Some(second().person)), &[4, 5]),
        (by(|f| f.account = Some(second().account)), &[4, 5]),
        (by(|f| f.card = Some(third().id)), &[6]),
        (
            by(|f| (f.merchant, f.card) = (Some(of_one.clone()), Some(third().id))),
            &[],
        ),
        (
            by(|f| f.last_fours = Some(vec![second().last_four, third().last_four])),
            &[4, 5, 6],
        ),
        (
            by(|f| f.states = Some(vec![State::RequestDeclined, State::Suspended])),
            &[5],
        ),
        (by(|f| f.states = Some(vec![])), &[]),
        (by(|f| f.wallets = Some(vec![Wallet::ApplePay])), &[3, 6]),
        (
            by(|f| f.device_types = Some(vec![DeviceType::Tablet, DeviceType::Watch])),
            &[1, 2, 4, 5],
        ),
        (
            by(|f| f.device_id = Some(DeviceId::parse("device-4").unwrap())),
            &[4],
        ),
    ] {
        assert_eq!(listed(store, &filter, WHOLE).await, expected, "{filter:?}");
        let counted = store.wallet_tokens_count(&filter).await.unwrap();
        assert_eq!(counted, expected.len(), "{filter:?}");
    }
}

/// Pages are parts of one order, whatever narrows it.
pub(super) async fn wallet_tokens_are_listed_in_pages(store: &dyn Store) {
    with_six_tokens(store).await;
    let of_one = by(|f| f.merchant = Some(sample::merchant(1).id));
    let of_second = by(|f| f.person = Some(second().person));
    let page = |after: Option<u8>, offset, limit| WalletPage {
        after: after.map(|n| WalletTokenId::from_bytes([n; 16])),
        offset,
        limit,
    };
    for (filter, page, expected) in [
        (&of_one, page(None, 1, 2), &[2, 3][..]),
        (&of_one, page(None, 0, 0), &[]),
        (&of_one, page(Some(2), 0, 2), &[3, 4]),
        (&of_one, page(Some(2), 1, 9), &[4, 5]),
        (&of_second, page(Some(1), 0, 9), &[4, 5]),
        (&of_one, page(Some(5), 0, 9), &[]),
        (&of_one, page(Some(99), 0, 9), &[]),
    ] {
        let about = format!("{filter:?} {page:?}");
        assert_eq!(listed(store, filter, page).await, expected, "{about}");
    }
}

/// A merchant's rules come out as they went in; without any, no card goes into a wallet.
pub(super) async fn a_merchants_wallet_rules_are_kept(store: &dyn Store) {
    with_merchant(store).await;
    let kept = async || {
        let merchant = store.merchant(&sample::merchant(1).id).await.unwrap();
        merchant.unwrap().wallets
    };
    assert_eq!(kept().await, WalletRules::default());
    let rules = WalletRules {
        wallets: vec![Wallet::SamsungPay, Wallet::ApplePay],
        bins: Some(vec![
            Bin::parse("411111").unwrap(),
            Bin::parse("42424242").unwrap(),
        ]),
        products: Some(vec!["gold".to_owned()]),
    };
    for rules in [rules, WalletRules::all()] {
        let was = store.merchant(&sample::merchant(1).id).await.unwrap();
        let was = was.unwrap();
        let merchant = Merchant {
            wallets: rules.clone(),
            ..was.clone()
        };
        let change = Change::SetMerchant(Set::boxed(was, merchant));
        let event = sample::event(Kind::MerchantChanged, START);
        let set = store.commit(Changes(vec![(change, event)])).await;
        assert_eq!(set.unwrap(), [Ok(())]);
        assert_eq!(kept().await, rules);
        let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
        assert_eq!(admission.merchant.unwrap().wallets, rules);
    }
}
