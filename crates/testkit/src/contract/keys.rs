//! The cases of class keys and of the records under them.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::sample::{self, START};
use super::hand::altered;
use super::{after, log_len, log_of, with_merchant};
use cardveil_core::audit::Kind;
use cardveil_core::card::{self, Card, CardRef, SealedCvv};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, FactorId};
use cardveil_core::keys::{
    ClassKey, Envelope, IndexPage, Move, Moved, NOTICE, Reindex, Reindexed, Retired, Retirement,
    RootChange, Rotation, Slot, Sought, State, Use,
};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::mfa::{FactorChange, FactorRequest, Totp};
use cardveil_core::port::{Change, Class, Error, Set, Store, WrappedKey};
use cardveil_core::token::ACCESS_TTL;
use cardveil_core::verb::{Changes, Commit, CreateKeys};

fn key(class: Class, version: u32, byte: u8) -> WrappedKey {
    WrappedKey {
        class,
        version,
        wrapped: vec![byte; 61],
    }
}

/// A DEK that says it is under a version. No store can look further into it.
fn dek(version: u32, n: u8) -> Vec<u8> {
    let mut dek = vec![1];
    dek.extend(version.to_be_bytes());
    dek.extend([n; 60]);
    dek
}

fn secret(version: u32, n: u8) -> SealedSecret {
    SealedSecret {
        dek: dek(version, n),
        sealed: vec![n; 40],
    }
}

fn card_under(n: u8, version: u32) -> Card {
    let mut card = sample::card(n);
    card.sealed.dek = dek(version, n);
    card.sealed.cvv = Some(SealedCvv {
        dek: dek(version, n),
        cvv: vec![n; 32],
    });
    card.sealed.pin = Some(sample::pin(n));
    card.sealed.pin.as_mut().unwrap().dek = dek(version, n);
    card.sealed.index_key = version;
    card
}

pub(super) async fn with_keys(store: &dyn Store) {
    let keys = Class::ALL.map(|class| key(class, 1, 1)).to_vec();
    assert!(create(store, &[], keys).await);
}

/// The first keys of classes, by whoever has read these.
async fn create(store: &dyn Store, from: &[WrappedKey], keys: Vec<WrappedKey>) -> bool {
    let (from, event) = (from.to_vec(), sample::event(Kind::KeysCreated, START));
    store
        .commit(CreateKeys { from, keys, event })
        .await
        .unwrap()
}

pub(super) async fn rotate(store: &dyn Store, class: Class, version: u32, at: Time) -> bool {
    let from = store.wrapped_keys().await.unwrap();
    let next = key(class, version, 2);
    let rotation = Rotation::new(from, next, at, &sample::operator());
    store.commit(rotation).await.unwrap()
}

async fn retire(store: &dyn Store, class: Class, version: u32, at: Time) -> Retired {
    let retirement = Retirement {
        class,
        version,
        at,
        source: sample::operator(),
    };
    store.commit(retirement).await.unwrap()
}

async fn add_card(store: &dyn Store, card: Card) -> Result<(), Error> {
    let change = sample::recorded(Change::AddCard(Box::new(card)));
    let added = store.commit(Changes(vec![change])).await?;
    added[0].unwrap();
    Ok(())
}

async fn found(store: &dyn Store, n: u8) -> Card {
    let card = CardRef::Id(CardId::from_bytes([n; 16]));
    let found = store.card(&sample::merchant(1).id, &card).await.unwrap();
    found.unwrap()
}

async fn row(store: &dyn Store, class: Class, version: u32) -> ClassKey {
    let keys = store.class_keys().await.unwrap();
    let is_it = |row: &ClassKey| (row.key.class, row.key.version) == (class, version);
    keys.into_iter().find(is_it).unwrap()
}

fn sought(class: Class, version: u32) -> Sought {
    Sought {
        class,
        version,
        limit: 100,
    }
}

fn at<'a>(all: &'a [Envelope], slot: &Slot) -> &'a Envelope {
    all.iter().find(|envelope| envelope.slot == *slot).unwrap()
}

/// All that is under version 1 of a class, on its way to version 2.
async fn to_two(store: &dyn Store, class: Class) -> Move {
    let all = store.envelopes(sought(class, 1)).await.unwrap();
    let moved = all.into_iter().map(|envelope| {
        let mut moved = dek(2, 0);
        moved.truncate(5);
        moved.extend(&envelope.dek[5..]);
        Moved {
            slot: envelope.slot,
            was: envelope.dek,
            dek: moved,
            sealed: None,
        }
    });
    Move {
        class,
        from: 1,
        to: 2,
        envelopes: moved.collect(),
        at: after(9),
        source: sample::operator(),
    }
}

/// Two servers that start at once on an empty store must not make two sets, nor two keys of a class
/// that is younger than the store.
pub(super) async fn class_keys_are_created_once(store: &dyn Store) {
    assert!(store.wrapped_keys().await.unwrap().is_empty());
    let keys = |byte: u8| vec![key(Class::Pan, 1, byte)];
    assert!(create(store, &[], keys(1)).await);
    assert!(!create(store, &[], keys(2)).await);
    // Whoever has read none makes no others either.
    assert!(!create(store, &[], vec![key(Class::Manifest, 1, 2)]).await);
    let kept = store.class_keys().await.unwrap();
    assert_eq!(kept, [ClassKey::new(key(Class::Pan, 1, 1), START)]);
    assert_eq!(log_of(store, Kind::KeysCreated).await.len(), 1);
    let there = keys(1);
    let mixed = vec![key(Class::Manifest, 1, 3), key(Class::Pan, 1, 3)];
    assert!(!create(store, &there, mixed).await);
    assert_eq!(store.wrapped_keys().await.unwrap().len(), 1);
    let younger = |byte: u8| vec![key(Class::Manifest, 1, byte)];
    assert!(!create(store, &keys(2), younger(3)).await);
    assert!(create(store, &there, younger(4)).await);
    assert!(!create(store, &there, younger(5)).await);
    let kept = store.wrapped_keys().await.unwrap();
    assert_eq!(kept, [key(Class::Pan, 1, 1), key(Class::Manifest, 1, 4)]);
    assert_eq!(log_of(store, Kind::KeysCreated).await.len(), 2);
}

/// Active, retiring, retired; with its dates, its events, and nothing left of its bytes.
pub(super) async fn a_class_key_goes_from_state_to_state(store: &dyn Store) {
    with_keys(store).await;
    assert_eq!(row(store, Class::Pan, 1).await.state, State::Active);
    let length = log_len(store).await;
    assert_eq!(
        retire(store, Class::Pan, 1, after(999)).await,
        Retired::Active
    );
    assert_eq!(
        retire(store, Class::Pan, 2, after(999)).await,
        Retired::Unknown
    );
    assert!(!rotate(store, Class::Pan, 1, after(5)).await);
    assert!(!rotate(store, Class::Pan, 3, after(5)).await);
    let (from, next) = (vec![key(Class::Pan, 1, 9)], key(Class::Pan, 2, 2));
    let of_others = Rotation::new(from, next, after(5), &sample::operator());
    assert!(!store.commit(of_others).await.unwrap());
    assert_eq!(log_len(store).await, length);
    assert!(rotate(store, Class::Pan, 2, after(5)).await);
    let since = after(5);
    let first = row(store, Class::Pan, 1).await;
    assert_eq!(first.state, State::Retiring { since });
    assert_eq!(first.created_at, Some(START));
    let second = row(store, Class::Pan, 2).await;
    assert_eq!(second, ClassKey::new(key(Class::Pan, 2, 2), since));
    assert_eq!(row(store, Class::Cvv, 1).await.state, State::Active);
    let ready = since.plus(NOTICE);
    let just_before = ready.minus(Duration::from_millis(1));
    let early = retire(store, Class::Pan, 1, just_before).await;
    assert_eq!(early, Retired::NotBefore(ready));
    assert_eq!(retire(store, Class::Pan, 1, ready).await, Retired::Done);
    let first = row(store, Class::Pan, 1).await;
    assert_eq!(first.state, State::Retired { since, at: ready });
    assert!(first.key.wrapped.is_empty());
    assert_eq!(
        retire(store, Class::Pan, 1, after(99)).await,
        Retired::Unknown
    );
    let open = store.wrapped_keys().await.unwrap();
    assert!(!open.iter().any(|k| k.class == Class::Pan && k.version == 1));
    assert_eq!(open.len(), Class::ALL.len());
    let retired = log_of(store, Kind::KeysRetired).await;
    let detail = &retired[0].detail;
    assert_eq!(detail.from.as_deref(), Some("retiring"));
    assert_eq!(detail.to.as_deref(), Some("retired"));
    assert_eq!(retired.len(), 1);
    assert_eq!(log_of(store, Kind::KeysRotated).await.len(), 1);
    // What was authenticated under it is good for longer than any server needs to notice.
    assert!(rotate(store, Class::Access, 2, START).await);
    let ready = START.plus(NOTICE).plus(ACCESS_TTL);
    let early = retire(store, Class::Access, 1, after(60)).await;
    assert_eq!(early, Retired::NotBefore(ready));
    assert_eq!(retire(store, Class::Access, 1, ready).await, Retired::Done);
    // The log holds what it has signed, and is never pruned.
    assert!(rotate(store, Class::Audit, 2, START).await);
    let years = after(10 * 366 * 86_400);
    assert_eq!(retire(store, Class::Audit, 1, years).await, Retired::InUse);
}

/// Two operators who rotate at once make one key.
pub(super) async fn of_many_rotations_at_once_one_is_made(store: &dyn Store) {
    with_keys(store).await;
    let made = join_all((0..16).map(|_| rotate(store, Class::Pan, 2, after(1)))).await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    assert_eq!(log_of(store, Kind::KeysRotated).await.len(), 1);
}

/// One commit, or none; and none over keys that are not the ones that were read.
pub(super) async fn all_class_keys_change_their_root_at_once(store: &dyn Store) {
    with_keys(store).await;
    let change = |from: &[WrappedKey]| {
        let other = |key: &WrappedKey| WrappedKey {
            wrapped: vec![9; 61],
            ..key.clone()
        };
        RootChange {
            from: from.to_vec(),
            to: from.iter().map(other).collect(),
            event: sample::event(Kind::KeysRootChanged, after(1)),
        }
    };
    let before = store.wrapped_keys().await.unwrap();
    assert!(rotate(store, Class::Cvv, 2, after(1)).await);
    assert!(!store.commit(change(&before)).await.unwrap());
    let kept = store.wrapped_keys().await.unwrap();
    assert!(before.iter().all(|key| kept.contains(key)));
    assert_eq!(log_of(store, Kind::KeysRootChanged).await.len(), 0);
    assert!(store.commit(change(&kept)).await.unwrap());
    let after = store.class_keys().await.unwrap();
    assert_eq!(after.len(), kept.len());
    assert!(after.iter().all(|row| row.key.wrapped == [9; 61]));
    let retiring = row(store, Class::Cvv, 1).await;
    assert!(matches!(retiring.state, State::Retiring { .. }));
    assert!(!store.commit(change(&kept)).await.unwrap());
    assert_eq!(log_of(store, Kind::KeysRootChanged).await.len(), 1);
}

/// Every kind of record counts, and each holds the key of its own class alone.
pub(super) async fn a_key_with_records_under_it_is_not_retired(store: &dyn Store) {
    with_all(store).await;
    let use_of = |class, records| Use {
        class,
        version: 1,
        records,
    };
    let uses = store.key_uses().await.unwrap();
    let of_one: Vec<_> = uses.into_iter().filter(|u| u.version == 1).collect();
    let expected = [
        use_of(Class::Pan, 1),
        use_of(Class::Cvv, 1),
        use_of(Class::Pin, 1),
        use_of(Class::Credential, 4),
        use_of(Class::Index, 1),
    ];
    assert_eq!(of_one, expected);
    for class in [Class::Pan, Class::Cvv, Class::Pin, Class::Credential] {
        assert!(rotate(store, class, 2, START).await);
        let length = log_len(store).await;
        assert_eq!(retire(store, class, 1, after(99)).await, Retired::InUse);
        assert_eq!(log_len(store).await, length);
        // One after the other: the last one alone holds it still.
        let all = to_two(store, class).await;
        let count = all.envelopes.len();
        for one in all.envelopes.clone() {
            assert_eq!(retire(store, class, 1, after(99)).await, Retired::InUse);
            let envelopes = vec![one];
            let step = Move {
                envelopes,
                ..all.clone()
            };
            assert_eq!(store.commit(step).await.unwrap(), 1);
        }
        assert_eq!(count, if class == Class::Credential { 4 } else { 1 });
        assert_eq!(retire(store, class, 1, after(99)).await, Retired::Done);
    }
}

/// A record of each kind under version 1 of its class.
async fn with_all(store: &dyn Store) {
    with_merchant(store).await;
    with_keys(store).await;
    add_card(store, card_under(61, 1)).await.unwrap();
    let mut credential = sample::credential(61);
    credential.merchant = sample::merchant(1).id;
    credential.sealed_secret = secret(1, 1);
    let mut subscription = sample::subscription(61);
    subscription.secret = Some(secret(1, 2));
    subscription.authorization = Some(secret(1, 3));
    let event = |kind| sample::event(kind, START);
    let changes = vec![
        (
            Change::AddCredential(credential),
            event(Kind::CredentialAdded),
        ),
        (
            Change::AddSubscription(Box::new(subscription)),
            event(Kind::WebhookAdded),
        ),
    ];
    let made = store.commit(Changes(changes)).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    enrol(store, 1).await.unwrap();
}

async fn enrol(store: &dyn Store, version: u32) -> Result<(), Error> {
    let totp = Totp {
        id: FactorId::from_bytes([7; 16]),
        sealed: secret(version, 4),
        enrolled_at: START,
        confirmed_at: None,
        last_step: None,
    };
    let request = FactorRequest {
        merchant: sample::merchant(1).id,
        person: sample::card(1).person,
        change: FactorChange::Enrol(Box::new(totp)),
        at: START,
        source: sample::operator(),
    };
    store.commit(request).await.map(|made| made.unwrap())
}

/// Nothing but the wrapped DEK changes, there is one event for each batch, and none for nothing.
pub(super) async fn records_are_moved_from_key_to_key(store: &dyn Store) {
    with_all(store).await;
    for class in [Class::Pan, Class::Cvv, Class::Pin, Class::Credential] {
        let before = store.envelopes(sought(class, 1)).await.unwrap();
        assert!(before.iter().all(|envelope| envelope.slot.class() == class));
        let moves = to_two(store, class).await;
        let count = store.commit(moves.clone()).await.unwrap();
        assert_eq!(count, before.len());
        assert_eq!(store.envelopes(sought(class, 1)).await.unwrap(), []);
        let after = store.envelopes(sought(class, 2)).await.unwrap();
        assert_eq!(after.len(), before.len());
        for before in &before {
            let after = at(&after, &before.slot);
            assert_eq!(after.sealed, before.sealed);
            assert_eq!(after.dek[5..], before.dek[5..]);
            assert_eq!(after.version(), Some(2));
        }
        let length = log_len(store).await;
        assert_eq!(store.commit(moves).await.unwrap(), 0, "once");
        assert_eq!(log_len(store).await, length);
    }
    let events = log_of(store, Kind::KeysRewrapped).await;
    assert_eq!(events.len(), 4);
    let note = events[0].detail.note.as_deref();
    assert_eq!(note, Some("1 records moved to version 2 from 1"));
    let mut expected = card_under(61, 1);
    expected.sealed.dek = dek(2, 61);
    expected.sealed.cvv.as_mut().unwrap().dek = dek(2, 61);
    expected.sealed.pin.as_mut().unwrap().dek = dek(2, 61);
    assert_eq!(found(store, 61).await, expected);
}

/// A new DEK and what is sealed under it are one write.
pub(super) async fn what_is_sealed_anew_is_written_with_its_key(store: &dyn Store) {
    with_all(store).await;
    for class in [Class::Pan, Class::Cvv, Class::Pin, Class::Credential] {
        let mut moves = to_two(store, class).await;
        for one in &mut moves.envelopes {
            let fields = if class == Class::Pan { 3 } else { 1 };
            one.sealed = Some((0..fields).map(|n| vec![100 + n; 33]).collect());
        }
        let count = moves.envelopes.len();
        let expected = moves.envelopes.clone();
        assert_eq!(store.commit(moves).await.unwrap(), count);
        let after = store.envelopes(sought(class, 2)).await.unwrap();
        for expected in expected {
            let after = at(&after, &expected.slot);
            assert_eq!(after.dek, expected.dek);
            assert_eq!(Some(after.sealed.clone()), expected.sealed);
        }
    }
    let sealed = found(store, 61).await.sealed;
    assert_eq!(sealed.pan, [100; 33]);
    assert_eq!(sealed.expiry, [101; 33]);
    assert_eq!(sealed.name, [102; 33]);
    let note = log_of(store, Kind::KeysRewrapped).await[0]
        .detail
        .note
        .clone();
    let expected = "1 records sealed anew under version 2 from 1";
    assert_eq!(note.as_deref(), Some(expected));
}

/// No update is lost: what was written between reading and moving stays.
pub(super) async fn a_record_that_changed_meanwhile_is_not_moved(store: &dyn Store) {
    with_all(store).await;
    add_card(store, card_under(62, 1)).await.unwrap();
    let mut moves = to_two(store, Class::Pin).await;
    assert_eq!(moves.envelopes.len(), 2);
    let mut setting = sample::pin_setting(61, 8);
    setting.pin.dek = dek(1, 88);
    store.commit(setting.clone()).await.unwrap();
    for one in &mut moves.envelopes {
        one.sealed = Some(vec![vec![0; 5]]);
    }
    assert_eq!(store.commit(moves).await.unwrap(), 1);
    assert_eq!(found(store, 61).await.sealed.pin, Some(setting.pin));
    let other = found(store, 62).await.sealed.pin.unwrap();
    assert_eq!(other.dek, dek(2, 62));
    let events = log_of(store, Kind::KeysRewrapped).await;
    let note = events[0].detail.note.as_deref();
    assert_eq!(note, Some("1 records sealed anew under version 2 from 1"));
}

/// Each once, as many as are asked for, and none of another version: so a move that was killed goes
/// on with what is left.
pub(super) async fn records_under_a_version_are_found_in_batches(store: &dyn Store) {
    with_all(store).await;
    for n in 62..=65 {
        add_card(store, card_under(n, 1)).await.unwrap();
    }
    for class in [Class::Pan, Class::Cvv, Class::Pin, Class::Credential] {
        let all = to_two(store, class).await;
        let mut left = all.envelopes.len();
        assert!(left > 1, "{class}");
        while left > 0 {
            let batch = Sought {
                limit: 2,
                ..sought(class, 1)
            };
            let found = store.envelopes(batch).await.unwrap();
            assert_eq!(found.len(), left.min(2), "{class}");
            left -= found.len();
            let is_found = |moved: &Moved| found.iter().any(|one| one.slot == moved.slot);
            let envelopes = all.envelopes.iter().filter(|moved| is_found(moved));
            let batch = Move {
                envelopes: envelopes.cloned().collect(),
                ..all.clone()
            };
            assert_eq!(store.commit(batch).await.unwrap(), found.len());
        }
        assert_eq!(store.envelopes(sought(class, 1)).await.unwrap(), []);
    }
}

/// A server that has not noticed a retirement cannot write what nobody could ever open.
pub(super) async fn nothing_is_written_under_a_retired_key(store: &dyn Store) {
    with_merchant(store).await;
    with_keys(store).await;
    for class in [
        Class::Pan,
        Class::Cvv,
        Class::Pin,
        Class::Credential,
        Class::Index,
    ] {
        assert!(rotate(store, class, 2, START).await);
        assert_eq!(retire(store, class, 1, after(99)).await, Retired::Done);
    }
    let length = log_len(store).await;
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    };
    for late in 0..4 {
        let mut card = card_under(66, 2);
        match late {
            0 => card.sealed.dek = dek(1, 1),
            1 => card.sealed.cvv.as_mut().unwrap().dek = dek(1, 1),
            2 => card.sealed.index_key = 1,
            _ => card.sealed.pin.as_mut().unwrap().dek = dek(1, 1),
        }
        refused(add_card(store, card).await);
    }
    let mut setting = sample::pin_setting(1, 8);
    setting.pin.dek = dek(1, 8);
    refused(store.commit(setting).await.map(drop));
    refused(enrol(store, 1).await);
    let was = sample::credential(1);
    let mut credential = was.clone();
    credential.sealed_secret = secret(1, 1);
    let event = sample::event(Kind::CredentialChanged, START);
    let change = Change::SetCredential(Set::boxed(was, credential));
    let change = vec![(change, event)];
    refused(store.commit(Changes(change)).await.map(drop));
    assert_eq!(log_len(store).await, length);
    add_card(store, card_under(66, 2)).await.unwrap();
    enrol(store, 2).await.unwrap();
}

/// Index and version of the key change, of the card and of its tokens and of no other, in one
/// commit with one event. What else was written meanwhile stays, and each row is what was written last.
pub(super) async fn a_card_gets_another_index_with_its_wallet_tokens(store: &dyn Store) {
    with_merchant(store).await;
    with_keys(store).await;
    add_card(store, card_under(61, 1)).await.unwrap();
    add_card(store, card_under(62, 1)).await.unwrap();
    for n in [61, 62] {
        let mut asked = sample::wallet_asked(n, START);
        asked.card = sample::card(n).id;
        asked.indexes = sample::pan_indexes(n);
        store.commit(asked).await.unwrap().unwrap();
    }
    assert!(rotate(store, Class::Index, 2, START).await);
    let index_of = |n: u8, was: [u8; 32]| Reindexed {
        card: sample::card(n).id,
        was,
        index: [100 + n; 32],
    };
    let reindex = |cards| Reindex {
        from: 1,
        to: 2,
        cards,
        at: after(9),
        source: sample::operator(),
    };
    let both = vec![index_of(61, [61; 32]), index_of(62, [9; 32])];
    store
        .commit(sample::transition(61, card::State::Suspended, after(8)))
        .await
        .unwrap();
    let before = (found(store, 61).await, found(store, 62).await);
    assert_eq!(store.commit(reindex(both.clone())).await.unwrap(), 1);
    let mut expected = before.0;
    expected.sealed.pan_index = [161; 32];
    expected.sealed.index_key = 2;
    assert_eq!(found(store, 61).await, expected);
    assert_eq!(found(store, 62).await, before.1, "its index was another");
    assert_eq!(wallet_index(store, 61).await, ([161; 32], 2));
    assert_eq!(wallet_index(store, 62).await, ([62; 32], 1));
    assert_eq!(altered(store).await, 0);
    let length = log_len(store).await;
    assert_eq!(store.commit(reindex(both)).await.unwrap(), 0, "once");
    assert_eq!(log_len(store).await, length);
    let early = retire(store, Class::Index, 1, after(99)).await;
    assert_eq!(early, Retired::InUse);
    let other = vec![index_of(62, [62; 32])];
    assert_eq!(store.commit(reindex(other)).await.unwrap(), 1);
    let done = retire(store, Class::Index, 1, after(99)).await;
    assert_eq!(done, Retired::Done);
    let events = log_of(store, Kind::KeysRewrapped).await;
    let notes = events.iter().map(|event| event.detail.note.as_deref());
    let note = Some("1 cards indexed under version 2 from 1");
    assert_eq!(notes.collect::<Vec<_>>(), [note, note]);
    // The row goes on from there.
    let back = sample::transition(61, card::State::Active, after(10));
    store.commit(back).await.unwrap();
    let card = found(store, 61).await;
    assert_eq!(card.state, card::State::Active);
    assert_eq!(card.sealed, expected.sealed);
    assert_eq!(altered(store).await, 0);
}

async fn wallet_index(store: &dyn Store, n: u8) -> ([u8; 32], u32) {
    let (merchant, id) = (sample::merchant(1).id, sample::wallet_asked(n, START).id);
    let listed = store.wallet_token(&merchant, &id).await.unwrap().unwrap();
    (listed.token.pan_index, listed.token.index_key)
}

/// Each once, in the order of the ids, past those that are under another version.
pub(super) async fn cards_under_an_index_are_found_in_pages(store: &dyn Store) {
    with_merchant(store).await;
    for n in 61..=66 {
        add_card(store, card_under(n, 1 + u32::from(n % 2)))
            .await
            .unwrap();
    }
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = IndexPage { after, limit: 2 };
        let page = store.indexed_cards(1, page).await.unwrap();
        assert_eq!(page.altered, 0);
        found.extend(page.cards.iter().map(|card| card.id.as_bytes()[0]));
        pages += 1;
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [62, 64, 66]);
    assert_eq!(pages, 4, "of seven cards");
}
