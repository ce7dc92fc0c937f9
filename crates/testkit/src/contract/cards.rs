//! The cases of [`cardveil_core::port::Cards`].

use futures_util::future::join_all;

use super::{after, log_len, log_of, sample, with_merchant};
use cardveil_core::audit::{Event, Kind};
use cardveil_core::card::{
    Card, CardRef, Changed, Field, Label, Reason, Relabel, Removal, Removed, State, Transition,
};
use cardveil_core::id::{AccountId, CardNo, MerchantId, PersonId};
use cardveil_core::port::{CardFilter, CardPage, Change, Order, Paging, Store};
use cardveil_core::token::{Cause, Claim, Verdict};
use cardveil_core::verb::{Changes, Commit};

async fn with_cards(store: &dyn Store, cards: impl IntoIterator<Item = Card>) {
    let event = || sample::event(Kind::CardAdded, sample::START);
    let changes = cards
        .into_iter()
        .map(|card| (Change::AddCard(Box::new(card)), event()))
        .collect();
    let added = store.commit(Changes(changes)).await.unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
}

fn numbers(page: &CardPage) -> Vec<String> {
    page.cards.iter().map(|card| card.no.to_string()).collect()
}

/// Whatever the limit, the offset and the order: pages one after the other make the whole, and each
/// tells its length if it is asked.
pub(super) async fn cards_are_listed_in_pages_that_make_the_whole(store: &dyn Store) {
    with_merchant(store).await;
    with_cards(store, (2..=9).map(sample::card)).await;
    let filter = CardFilter::default();
    let oldest: Vec<_> = (1..=9).map(|n| format!("C{n}")).collect();
    let newest: Vec<_> = oldest.iter().rev().cloned().collect();
    for (order, whole) in [(Order::OldestFirst, oldest), (Order::NewestFirst, newest)] {
        for limit in 1..=10 {
            let (mut by_offset, mut by_place, mut after) = (Vec::new(), Vec::new(), None);
            for offset in (0..12).step_by(limit) {
                let paging = Paging {
                    order,
                    offset,
                    limit,
                    count: true,
                    ..Paging::default()
                };
                let page = store.list_cards(&filter, paging).await.unwrap();
                assert_eq!(page.count, Some(9), "{paging:?}");
                assert_eq!(page.next.is_some(), offset + limit < 9, "{paging:?}");
                by_offset.extend(numbers(&page));
            }
            loop {
                let paging = Paging {
                    order,
                    after,
                    limit,
                    ..Paging::default()
                };
                let page = store.list_cards(&filter, paging).await.unwrap();
                assert_eq!(page.count, None, "nobody asked: {paging:?}");
                by_place.extend(numbers(&page));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(by_offset, whole, "limit {limit}");
            assert_eq!(by_place, whole, "limit {limit}");
        }
        let none = Paging {
            order,
            count: true,
            ..Paging::default()
        };
        let page = store.list_cards(&filter, none).await.unwrap();
        let (cards, count) = (page.cards.len(), page.count);
        assert_eq!((cards, count), (0, Some(9)), "no limit, no cards");
    }
}

/// Each alone, and together; what is listed is what [`CardFilter::admits`].
pub(super) async fn cards_are_listed_by_every_filter(store: &dyn Store) {
    with_merchant(store).await;
    let cards = with_various(store).await;
    for (filter, expected) in filters().into_iter().chain(searches()) {
        let paging = Paging {
            limit: 100,
            count: true,
            ..Paging::default()
        };
        let page = store.list_cards(&filter, paging).await.unwrap();
        assert_eq!(numbers(&page), expected, "{filter:?}");
        assert_eq!(page.count, Some(expected.len() as u64), "{filter:?}");
        let admitted: Vec<_> = cards.iter().filter(|card| filter.admits(card)).collect();
        assert_eq!(
            page.cards.iter().collect::<Vec<_>>(),
            admitted,
            "{filter:?}"
        );
    }
}

/// However few cards a page looks at, and however few of them it is to show: the pages make the
/// whole, and no more pages than there are cards to look at and to show.
pub(super) async fn pages_that_look_at_few_cards_make_the_whole(store: &dyn Store) {
    with_merchant(store).await;
    let cards = with_various(store).await;
    for (filter, _) in filters().into_iter().chain(searches()) {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let admitted = cards.iter().filter(|card| filter.admits(card));
            let mut expected: Vec<_> = admitted.map(|card| card.no.to_string()).collect();
            if order == Order::NewestFirst {
                expected.reverse();
            }
            for (look_at, limit) in (1..=8).flat_map(|at| (1..=3).map(move |limit| (at, limit))) {
                let mut paging = Paging {
                    order,
                    limit,
                    look_at: Some(look_at),
                    ..Paging::default()
                };
                let (mut found, mut pages) = (Vec::new(), 0);
                loop {
                    let page = store.list_cards(&filter, paging).await.unwrap();
                    assert!(page.cards.len() <= limit, "{filter:?} {paging:?}");
                    found.extend(numbers(&page));
                    pages += 1;
                    assert!(pages <= 20, "{filter:?} {paging:?}");
                    paging.after = page.next;
                    if page.next.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{filter:?} {paging:?}");
            }
        }
    }
}

/// A clock that was set back puts cards with later places at earlier times.
pub(super) async fn cards_are_listed_by_the_time_at_which_they_were_added(store: &dyn Store) {
    with_merchant(store).await;
    let added = |n: u8, secs: u64| Card {
        created_at: after(secs),
        attributes: sample::card(2).attributes,
        ..sample::card(n)
    };
    with_cards(
        store,
        [added(2, 50), added(3, 10), added(4, 50), added(5, 30)],
    )
    .await;
    let filter = CardFilter {
        merchant: Some(sample::merchant(1).id),
        created_from: Some(after(10)),
        created_to: Some(after(50)),
        ..CardFilter::default()
    };
    let of_one_holder = CardFilter {
        holder_no: sample::card(2).attributes.holder_no,
        person: Some(sample::card(2).person),
        ..filter.clone()
    };
    let (oldest, newest) = (["C3", "C5", "C2", "C4"], ["C4", "C2", "C5", "C3"]);
    for filter in [filter, of_one_holder] {
        for (order, whole) in [(Order::OldestFirst, oldest), (Order::NewestFirst, newest)] {
            for offset in 0..5 {
                let paging = Paging {
                    order,
                    by_time: true,
                    offset,
                    limit: 3,
                    ..Paging::default()
                };
                let page = store.list_cards(&filter, paging).await.unwrap();
                let expected: Vec<_> = whole.iter().skip(offset).take(3).copied().collect();
                assert_eq!(numbers(&page), expected, "{paging:?}");
            }
        }
    }
}

/// Cards that differ in what can be asked for.
async fn with_various(store: &dyn Store) -> Vec<Card> {
    let mut cards: Vec<_> = (1..=6).map(sample::card).collect();
    cards[1].state = State::Suspended;
    cards[1].label = String::from("Petrol 100% OFF");
    cards[2].state = State::Terminated;
    cards[2].person = PersonId::from_bytes([2; 16]);
    cards[3].account = AccountId::parse("F2").unwrap();
    cards[3].attributes.holder_no = Some("H4".to_owned());
    cards[3].attributes.product = Some("gold".to_owned());
    cards[4].merchant = sample::merchant(2).id;
    cards[4].no = CardNo::parse("C4").unwrap();
    cards[5].created_at = after(60);
    cards[5].updated_at = after(61);
    cards[5].attributes.unique_no = None;
    with_cards(store, cards.iter().skip(1).cloned()).await;
    cards
}

fn filters() -> Vec<(CardFilter, Vec<&'static str>)> {
    let all = CardFilter::default;
    let merchant = |n: u8| CardFilter {
        merchant: Some(sample::merchant(n).id),
        ..all()
    };
    let states = |states: &[State]| CardFilter {
        states: states.to_vec(),
        ..merchant(1)
    };
    let (one, two) = (
        Some(PersonId::from_bytes([1; 16])),
        Some(PersonId::from_bytes([2; 16])),
    );
    let between = |from: Option<u64>, to: Option<u64>| CardFilter {
        created_from: from.map(after),
        created_to: to.map(after),
        ..merchant(1)
    };
    vec![
        (all(), vec!["C1", "C2", "C3", "C4", "C4", "C6"]),
        (merchant(1), vec!["C1", "C2", "C3", "C4", "C6"]),
        (merchant(2), vec!["C4"]),
        (merchant(9), vec![]),
        (states(&[State::Suspended]), vec!["C2"]),
        (
            states(&[State::Terminated, State::Suspended]),
            vec!["C2", "C3"],
        ),
        (states(&[State::Failed]), vec![]),
        (
            CardFilter {
                person: two,
                ..merchant(1)
            },
            vec!["C3"],
        ),
        (
            CardFilter {
                sight: two,
                ..merchant(1)
            },
            vec!["C3"],
        ),
        (
            CardFilter {
                sight: two,
                person: one,
                ..merchant(1)
            },
            vec![],
        ),
        (
            CardFilter {
                account: Some(AccountId::parse("F2").unwrap()),
                ..merchant(1)
            },
            vec!["C4"],
        ),
        (between(Some(0), Some(59)), vec!["C1", "C2", "C3", "C4"]),
        (between(Some(60), None), vec!["C6"]),
        (between(Some(1), Some(60)), vec!["C6"]),
        (between(Some(61), None), vec![]),
        (
            CardFilter {
                holder_no: Some("H4".into()),
                ..merchant(1)
            },
            vec!["C4"],
        ),
        (
            CardFilter {
                unique_no: Some("unique-3".into()),
                ..merchant(1)
            },
            vec!["C3"],
        ),
        (
            CardFilter {
                no: Some(CardNo::parse("C4").unwrap()),
                ..merchant(1)
            },
            vec!["C4"],
        ),
    ]
}

/// A label's text, whatever the case of ASCII letters and with no letter of special meaning, or
/// four digits.
fn searches() -> Vec<(CardFilter, Vec<&'static str>)> {
    let search = |text: &str| CardFilter {
        merchant: Some(sample::merchant(1).id),
        search: Some(text.to_owned()),
        ..CardFilter::default()
    };
    let begins = |text: &str| CardFilter {
        search: None,
        begins: Some(text.to_owned()),
        ..search("")
    };
    vec![
        (begins("petROL"), vec!["C2"]),
        (begins("etrol"), vec![]),
        (begins("petrol 100%"), vec!["C2"]),
        (begins("%"), vec![]),
        (begins("_"), vec![]),
        (begins("0003"), vec!["C3"]),
        (begins("003"), vec![]),
        (begins("\u{10ffff}"), vec![]),
        (begins("CARD"), vec!["C1", "C3", "C4", "C6"]),
        (
            CardFilter {
                states: vec![State::Active],
                ..begins("card")
            },
            vec!["C1", "C4", "C6"],
        ),
        (search("petROL"), vec!["C2"]),
        (search("100% o"), vec!["C2"]),
        (search("%"), vec!["C2"]),
        (search("_"), vec![]),
        (search("0003"), vec!["C3"]),
        (search("003"), vec![]),
        (search("Card"), vec!["C1", "C3", "C4", "C6"]),
        (
            CardFilter {
                states: vec![State::Active],
                ..search("Card")
            },
            vec!["C1", "C4", "C6"],
        ),
    ]
}

pub(super) fn transition(card: &Card, to: State, secs: u64) -> Transition {
    Transition {
        merchant: card.merchant.clone(),
        card: CardRef::Id(card.id),
        to,
        from: None,
        reason: None,
        at: after(secs),
        source: sample::operator(),
    }
}

async fn find(store: &dyn Store, merchant: &MerchantId, card: &Card) -> Option<Card> {
    store.card(merchant, &CardRef::Id(card.id)).await.unwrap()
}

/// The machine over the row; the event in the same commit; nothing at all when it does not move.
pub(super) async fn a_card_goes_from_state_to_state_with_its_event(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let mut suspend = transition(&card, State::Suspended, 5);
    suspend.reason = Some(Reason::parse("lost").unwrap());
    let moved = Card {
        state: State::Suspended,
        updated_at: after(5),
        ..card.clone()
    };
    let changed = store.commit(suspend.clone()).await.unwrap();
    assert_eq!(changed, Changed::Done(Box::new(moved.clone())));
    assert_eq!(
        find(store, &card.merchant, &card).await,
        Some(moved.clone())
    );

    let events = log_of(store, Kind::CardChanged).await;
    let expected = suspend.decide(Some(&card)).write.map(|(_, event)| event);
    assert_eq!(events, expected.into_iter().collect::<Vec<Event>>());

    let before = log_len(store).await;
    let again = store.commit(suspend).await.unwrap();
    assert_eq!(again, Changed::Already(Box::new(moved.clone())));
    let mut by_no = transition(&card, State::Pending, 6);
    by_no.card = CardRef::No(card.no.clone());
    assert_eq!(
        store.commit(by_no.clone()).await.unwrap(),
        Changed::Refused(State::Suspended)
    );
    by_no.to = State::Active;
    by_no.from = Some(&[State::Unactivated]);
    assert_eq!(
        store.commit(by_no.clone()).await.unwrap(),
        Changed::Refused(State::Suspended),
        "a dialect's narrower rule holds in the commit"
    );
    assert_eq!(log_len(store).await, before);
    assert_eq!(find(store, &card.merchant, &card).await, Some(moved));
    by_no.from = Some(&[State::Suspended]);
    let thawed = store.commit(by_no).await.unwrap();
    assert!(matches!(thawed, Changed::Done(_)), "{thawed:?}");
}

/// It is as unknown as one that is not there.
pub(super) async fn a_card_of_another_merchant_is_not_changed(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let before = log_len(store).await;
    let mut foreign = transition(&card, State::Suspended, 1);
    foreign.merchant = sample::merchant(2).id;
    assert_eq!(store.commit(foreign).await.unwrap(), Changed::Unknown);
    let nowhere = transition(&sample::card(9), State::Suspended, 1);
    assert_eq!(store.commit(nowhere).await.unwrap(), Changed::Unknown);
    let relabel = Relabel {
        merchant: sample::merchant(2).id,
        card: CardRef::No(card.no.clone()),
        label: Label::parse("mine").unwrap(),
        at: after(1),
        source: sample::operator(),
    };
    assert_eq!(store.commit(relabel).await.unwrap(), Changed::Unknown);
    assert_eq!(log_len(store).await, before);
    assert_eq!(find(store, &card.merchant, &card).await, Some(card));
}

/// Under a race too.
pub(super) async fn of_many_who_ask_for_one_state_one_changes_it(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let asked = (0..32).map(|secs| store.commit(transition(&card, State::Suspended, secs)));
    let changed: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let done = changed
        .iter()
        .filter(|changed| matches!(changed, Changed::Done(_)))
        .count();
    let already = changed
        .iter()
        .filter(|changed| matches!(changed, Changed::Already(_)))
        .count();
    assert_eq!((done, already), (1, 31));
    assert_eq!(log_of(store, Kind::CardChanged).await.len(), 1);
}

/// In any state; the text is in the row and not in the log.
pub(super) async fn a_card_is_called_otherwise(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let relabel = Relabel {
        merchant: card.merchant.clone(),
        card: CardRef::Id(card.id),
        label: Label::parse("Büro").unwrap(),
        at: after(7),
        source: sample::operator(),
    };
    let renamed = Card {
        label: "Büro".to_owned(),
        updated_at: after(7),
        ..card.clone()
    };
    let changed = store.commit(relabel.clone()).await.unwrap();
    assert_eq!(changed, Changed::Done(Box::new(renamed.clone())));
    assert_eq!(
        find(store, &card.merchant, &card).await,
        Some(renamed.clone())
    );
    let again = store.commit(relabel.clone()).await.unwrap();
    assert_eq!(again, Changed::Already(Box::new(renamed)));
    let events = log_of(store, Kind::CardChanged).await;
    let expected = relabel.decide(Some(&card)).write.map(|(_, event)| event);
    assert_eq!(events, expected.into_iter().collect::<Vec<Event>>());
}

/// Equals, "About card states": a virtual card is active once its details have been viewed. One
/// commit holds the release and the step; a claim that is refused moves nothing, and neither does
/// one that comes when the card has moved on.
pub(super) async fn details_shown_bring_a_card_into_use_in_their_commit(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let cards = [2, 3].map(|n| Card {
        state: State::Unactivated,
        ..sample::card(n)
    });
    with_cards(store, cards.clone()).await;
    let claim_of = async |token: u8, card: u8, key: u8| {
        let mut issue = sample::issue(token, sample::START, epoch);
        issue.record.card = sample::card(card).id;
        store.commit(issue.clone()).await.unwrap();
        let mut claim = sample::claim(&issue.record, key, &[Field::Pan], after(1));
        let mut step = sample::transition(card, State::Active, after(1));
        step.from = Some(&[State::Unactivated]);
        step.reason = Some(Reason::details_shown());
        claim.step = Some(step);
        claim.seen = Some(State::Unactivated);
        claim
    };
    let mut barred = claim_of(1, 2, 1).await;
    barred.barred = Some(Cause::CardState);
    assert_eq!(
        store.commit(barred).await.unwrap(),
        Verdict::Refused(Cause::CardState)
    );
    assert_eq!(
        find(store, &cards[0].merchant, &cards[0]).await.as_ref(),
        Some(&cards[0])
    );

    let mut claim = claim_of(2, 2, 1).await;
    for repeat in 0..2 {
        let verdict = store.commit(claim.clone()).await.unwrap();
        assert!(
            matches!(verdict, Verdict::Granted(_)),
            "{repeat}: {verdict:?}"
        );
        let card = find(store, &cards[0].merchant, &cards[0]).await.unwrap();
        assert_eq!((card.state, card.updated_at), (State::Active, after(1)));
        let moved = log_of(store, Kind::CardChanged).await;
        assert_eq!(moved.len(), 1, "once");
        assert_eq!(moved[0].target.card, Some(card.id));
        assert_eq!(moved[0].detail.from.as_deref(), Some("unactivated"));
        assert_eq!(moved[0].detail.to.as_deref(), Some("active"));
        assert_eq!(moved[0].detail.reason.as_deref(), Some("details shown"));
        claim.seen = Some(State::Active);
    }
    let mut thief = claim.clone();
    thief.by = cardveil_core::token::Thumbprint([9; 32]);
    let refused = store.commit(thief).await.unwrap();
    assert_eq!(refused, Verdict::Refused(Cause::OtherKey));

    let late = claim_of(3, 3, 1).await;
    let ended = sample::transition(3, State::Terminated, after(1));
    store.commit(ended).await.unwrap();
    let verdict = store.commit(late).await.unwrap();
    assert_eq!(verdict, Verdict::Superseded);
    let card = find(store, &cards[1].merchant, &cards[1]).await.unwrap();
    assert_eq!(card.state, State::Terminated, "it stays what it has become");
}

/// A card that changes its state between the look and the claim is not shown by what was seen
/// before: nothing is written, and the token is as it was. Neither is one that was not looked at.
pub(super) async fn a_claim_is_of_the_card_as_it_is_in_its_commit(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let issue = sample::issue(1, sample::START, epoch);
    store.commit(issue.clone()).await.unwrap();
    let claim = sample::claim(&issue.record, 1, &[Field::Pan], after(2));
    let moves = async |to: State| {
        let moved = sample::transition(1, to, after(1));
        store.commit(moved).await.unwrap();
    };
    moves(State::Suspended).await;
    let before = log_len(store).await;
    let unseen = Claim {
        seen: None,
        ..claim.clone()
    };
    for claim in [claim.clone(), unseen.clone()] {
        assert_eq!(store.commit(claim).await.unwrap(), Verdict::Superseded);
    }
    assert_eq!(log_len(store).await, before);
    let kept = store.token(&issue.record.key).await.unwrap();
    assert_eq!(kept, Some(issue.record.clone()));
    // What bars it is decided first, and is on record.
    let barred = Claim {
        barred: Some(Cause::CardState),
        ..unseen.clone()
    };
    let refused = Verdict::Refused(Cause::CardState);
    assert_eq!(store.commit(barred).await.unwrap(), refused);
    moves(State::Active).await;
    assert_eq!(store.commit(unseen).await.unwrap(), Verdict::Superseded);
    let verdict = store.commit(claim.clone()).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
    // Nor again, while its window lasts.
    moves(State::Terminated).await;
    let again = store.commit(claim).await.unwrap();
    assert_eq!(again, Verdict::Superseded);
}

fn removal(card: &Card) -> Removal {
    Removal {
        merchant: card.merchant.clone(),
        card: CardRef::No(card.no.clone()),
        why: "a test",
        at: after(9),
        source: sample::operator(),
    }
}

/// With all that hangs on it; and then its name is free again.
pub(super) async fn only_a_card_at_its_end_is_removed(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let asked = sample::wallet_asked(1, after(1));
    store.commit(asked.clone()).await.unwrap().unwrap();
    let before = log_len(store).await;
    let removed = store.commit(removal(&card)).await.unwrap();
    assert_eq!(removed, Removed::Refused(State::Active));
    let foreign = Removal {
        merchant: sample::merchant(2).id,
        ..removal(&card)
    };
    assert_eq!(store.commit(foreign).await.unwrap(), Removed::Unknown);
    assert_eq!(log_len(store).await, before, "a refusal writes nothing");
    assert!(find(store, &card.merchant, &card).await.is_some());

    let ended = store.commit(transition(&card, State::Terminated, 5));
    assert!(matches!(ended.await.unwrap(), Changed::Done(_)));
    let removed = store.commit(removal(&card)).await.unwrap();
    assert_eq!(removed, Removed::Done);
    assert_eq!(find(store, &card.merchant, &card).await, None);
    let token = store.wallet_token(&asked.merchant, &asked.id).await;
    assert_eq!(token.unwrap(), None);
    let log = log_of(store, Kind::CardRemoved).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].target.card, Some(card.id));
    assert_eq!(log[0].detail.from.as_deref(), Some("terminated"));
    let again = store.commit(removal(&card)).await.unwrap();
    assert_eq!(again, Removed::Unknown);
    assert_eq!(log_of(store, Kind::CardRemoved).await.len(), 1);
    with_cards(store, [card.clone()]).await;
    assert_eq!(find(store, &card.merchant, &card).await, Some(card));
}

/// Whoever is in the middle of a list misses no card that comes after.
pub(super) async fn a_removed_cards_place_is_given_to_no_other(store: &dyn Store) {
    with_merchant(store).await;
    with_cards(store, [2, 3].map(sample::card)).await;
    let filter = CardFilter::default();
    let paging = Paging {
        limit: 2,
        ..Paging::default()
    };
    let first = store.list_cards(&filter, paging).await.unwrap();
    for n in [2, 3] {
        let card = sample::card(n);
        let ended = store.commit(transition(&card, State::Terminated, 5));
        assert!(matches!(ended.await.unwrap(), Changed::Done(_)));
        let removed = store.commit(removal(&card)).await.unwrap();
        assert_eq!(removed, Removed::Done);
    }
    with_cards(store, [4, 5].map(sample::card)).await;
    let rest = Paging {
        after: first.next,
        limit: 10,
        count: true,
        ..Paging::default()
    };
    assert!(rest.after.is_some());
    let rest = store.list_cards(&filter, rest).await.unwrap();
    assert_eq!(numbers(&rest), ["C4", "C5"]);
    assert_eq!(rest.count, Some(3));
}
