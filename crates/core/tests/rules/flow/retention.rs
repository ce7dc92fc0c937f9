use std::sync::Arc;
use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::{Environment, Expiry};
use cardveil_core::clock::Time;
use cardveil_core::flow::*;
use cardveil_core::port::{Audit as _, CardFilter, Cards as _, Change, Paging};
use cardveil_core::vault::{ClearCard, Vault};
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::{FileRoot, Keyring, SeededEntropy};
use cardveil_testkit::{ManualClock, Memory, sample};

const DAY: Duration = Duration::from_secs(86_400);

struct Setup {
    service: Service,
    store: Arc<Memory>,
    clock: Arc<ManualClock>,
}

impl Setup {
    /// Cards that expire in the given months, each `MM/YYYY`.
    async fn with_cards(expiries: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(1);
        let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
        let keys = Keyring::generate(&root, "sandbox", &entropy).unwrap();
        let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
        let entropy = Arc::new(entropy);
        let vault = Arc::new(Vault::new(keyring, Environment::Sandbox, entropy.clone()));
        let store = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::at(at("2030-01-01T00:00:00Z")));
        let merchant = sample::merchant(1);
        let event = || sample::event(Kind::MerchantAdded, sample::START);
        let mut changes = vec![(Change::AddMerchant(merchant.clone()), event())];
        for (n, expiry) in (1..).zip(expiries) {
            let mut card = sample::card(n);
            let clear = ClearCard {
                expiry: Expiry::parse(expiry).unwrap(),
                cvv: None,
                ..sample::clear_card()
            };
            card.sealed = vault.seal_card(card.id, &merchant.id, &clear, 1).unwrap();
            changes.push((Change::AddCard(Box::new(card)), event()));
        }
        assert!(
            store
                .commit(Changes(changes))
                .await
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
        Self {
            service: Service::new(store.clone(), vault, clock.clone(), entropy),
            store,
            clock,
        }
    }

    async fn purge(&self) -> Purged {
        self.service
            .purge_expired(DAY * 30, None, 100)
            .await
            .unwrap()
    }

    async fn cards(&self) -> Vec<String> {
        let all = Paging {
            limit: 100,
            ..Paging::default()
        };
        let page = self.store.list_cards(&CardFilter::default(), all).await;
        let cards = page.unwrap().cards;
        cards.iter().map(|card| card.no.to_string()).collect()
    }
}

fn at(text: &str) -> Time {
    Time::parse_rfc3339(text).unwrap()
}

#[test]
fn a_card_expires_with_the_last_moment_of_its_month() {
    let ends = |text| Expiry::parse(text).unwrap().ends_at().to_string();
    assert_eq!(ends("01/2030"), "2030-02-01T00:00:00.000Z");
    assert_eq!(ends("12/2030"), "2031-01-01T00:00:00.000Z");
    assert_eq!(ends("12/2099"), "2100-01-01T00:00:00.000Z");
}

/// At the edge: to the millisecond the days after the month, and those after the end.
#[tokio::test]
async fn an_expired_card_is_ended_and_later_removed() {
    let setup = Setup::with_cards(&["01/2030", "02/2030"]).await;
    let due = at("2030-02-01T00:00:00Z").plus(DAY * 30);
    setup.clock.set(due.minus(Duration::from_millis(1)));
    assert_eq!(setup.purge().await, Purged::default());
    setup.clock.set(due);
    let purged = setup.purge().await;
    assert_eq!((purged.ended, purged.removed), (1, 0));
    assert_eq!(
        setup.cards().await,
        ["C1", "C2"],
        "its merchant is told first"
    );
    setup
        .clock
        .set(due.plus(HOLD).minus(Duration::from_millis(1)));
    assert_eq!(setup.purge().await, Purged::default());
    setup.clock.set(due.plus(HOLD));
    let purged = setup.purge().await;
    assert_eq!((purged.ended, purged.removed), (0, 1));
    assert_eq!(setup.cards().await, ["C2"]);
    let log = setup.store.entries(0, 100).await.unwrap();
    let kinds: Vec<_> = log.iter().rev().take(2).map(|e| e.event.kind).collect();
    assert_eq!(kinds, [Kind::CardRemoved, Kind::CardChanged]);
    assert_eq!(setup.purge().await, Purged::default(), "once");
}

#[tokio::test]
async fn it_goes_through_all_cards_in_pieces() {
    let setup = Setup::with_cards(&["01/2030"; 7]).await;
    setup.clock.set(at("2031-01-01T00:00:00Z"));
    let (mut ended, mut place, mut rounds) = (0, None, 0);
    loop {
        let purged = setup.service.purge_expired(DAY, place, 3).await.unwrap();
        (ended, place, rounds) = (ended + purged.ended, purged.next, rounds + 1);
        if place.is_none() {
            break;
        }
    }
    assert_eq!((ended, rounds), (7, 3));
}

/// One that does not open stands in no other's way.
#[tokio::test]
async fn a_card_whose_expiry_does_not_open_is_kept_and_told() {
    let setup = Setup::with_cards(&["01/2030"]).await;
    let card = sample::card(9);
    let event = sample::event(Kind::CardAdded, sample::START);
    let change = (Change::AddCard(Box::new(card)), event);
    setup.store.commit(Changes(vec![change])).await.unwrap()[0].unwrap();
    setup.clock.set(at("2031-01-01T00:00:00Z"));
    let purged = setup.purge().await;
    assert_eq!((purged.ended, purged.unreadable), (1, 1));
    assert_eq!(setup.cards().await, ["C1", "C9"]);
}
