//! Tokens: to at most one key, and each step on record.

use std::time::Duration;

use futures_util::future::join_all;

use super::{START, after, log_len, log_of, with_merchant, with_token};
use crate::sample;
use cardveil_core::audit::{Kind, Outcome, Visibility};
use cardveil_core::card::{Field, Fields};
use cardveil_core::clock::Time;
use cardveil_core::id::{AttemptId, ClaimId};
use cardveil_core::port::{Change, Selection, Store};
use cardveil_core::token::{
    self, Attempt, Cause, Claim, Idempotency, Issued, Observation, RETENTION, Record, Thumbprint,
    Verdict,
};
use cardveil_core::verb::{Changes, Commit, RaiseEpoch, Revoke, Sweep, Swept};

/// What goes in comes out.
pub(super) async fn a_token_is_found_as_it_was_issued(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    assert_eq!(
        store.token(&record.key).await.unwrap(),
        Some(record.clone())
    );
    let mut other = record.key;
    other.issued_secs += 1;
    assert_eq!(store.token(&other).await.unwrap(), None);
    assert_eq!(log_of(store, Kind::TokenIssued).await.len(), 1);

    let mut bound = sample::issue(2, START, record.epoch);
    bound.record.bound_to = Some(Thumbprint([5; 32]));
    bound.record.operation = token::Operation::AddCardToWallet;
    bound.record.allowed = Fields::from_iter([Field::Pan]);
    store.commit(bound.clone()).await.unwrap();
    assert_eq!(
        store.token(&bound.record.key).await.unwrap(),
        Some(bound.record)
    );
}

/// A token of an epoch that is over is never written.
pub(super) async fn an_issue_in_an_old_epoch_is_told_the_new_one(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let raised = store
        .commit(RaiseEpoch(sample::event(Kind::EpochRaised, START)))
        .await
        .unwrap();
    assert!(raised > epoch);
    assert_eq!(store.epoch().await.unwrap(), raised);
    let issue = sample::issue(1, START, epoch);
    let key = issue.record.key;
    assert_eq!(store.commit(issue).await.unwrap(), Issued::OldEpoch(raised));
    assert_eq!(store.token(&key).await.unwrap(), None);
    assert!(log_of(store, Kind::TokenIssued).await.is_empty());
}

/// `Idempotency-Key`: the name is looked up and written in the commit of the token.
pub(super) async fn a_named_request_is_answered_once(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let named = |n: u8, at: Time| {
        let mut issue = sample::issue(n, at, epoch);
        issue.idempotency = Some(Idempotency {
            key: [7; 32],
            fingerprint: [n; 32],
            seed: [n; 32],
            expires_at: at.plus(token::TTL),
        });
        issue
    };
    let first = named(1, START);
    assert_eq!(store.commit(first.clone()).await.unwrap(), Issued::New);
    let second = store.commit(named(2, after(1))).await.unwrap();
    let before = first.idempotency.clone().unwrap();
    assert_eq!(
        second,
        Issued::Before(before.clone(), Box::new(first.record.clone()))
    );
    assert_eq!(
        store.token(&named(2, after(1)).record.key).await.unwrap(),
        None
    );
    assert_eq!(log_of(store, Kind::TokenIssued).await.len(), 1);
    let late = store.commit(named(3, after(299))).await.unwrap();
    assert_eq!(late, Issued::Before(before, Box::new(first.record)));
    assert_eq!(
        store.commit(named(4, after(300))).await.unwrap(),
        Issued::New
    );

    let concurrent = (10..30).map(|n| {
        let mut issue = sample::issue(n, START, epoch);
        issue.idempotency = Some(Idempotency {
            key: [8; 32],
            fingerprint: [0; 32],
            seed: [n; 32],
            expires_at: START.plus(token::TTL),
        });
        store.commit(issue)
    });
    let results = join_all(concurrent).await;
    let new = results
        .iter()
        .filter(|r| matches!(r, Ok(Issued::New)))
        .count();
    let before = results
        .iter()
        .filter(|r| matches!(r, Ok(Issued::Before(..))))
        .count();
    assert_eq!((new, before), (1, 19));
}

/// P1.
pub(super) async fn the_first_key_gets_it_and_no_other(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let fields = [Field::Pan, Field::Expiry];
    let verdict = store
        .commit(sample::claim(&record, 1, &fields, after(299)))
        .await
        .unwrap();
    let Verdict::Granted(grant) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(grant.redemption, sample::redemption(1));
    assert_eq!(grant.window_ends_at, after(359));
    assert_eq!(grant.fields_left.names(), ["cvv", "name"]);

    for key in [2, 3] {
        let verdict = store
            .commit(sample::claim(&record, key, &fields, after(300)))
            .await
            .unwrap();
        assert_eq!(verdict, Verdict::Refused(Cause::OtherKey));
    }
    let released = log_of(store, Kind::RevealReleased).await;
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].target.redemption, Some(sample::redemption(1)));
    assert_eq!(released[0].target.token, Some(record.key.hash));
    assert_eq!(released[0].target.card, Some(record.card));
    assert_eq!(
        released[0].detail.fields,
        Some(fields.into_iter().collect())
    );
    assert_eq!(
        log_of(store, Kind::RevealConflict).await.len(),
        1,
        "the alarm rings once"
    );
    assert_eq!(
        log_of(store, Kind::RevealRefused).await.len(),
        1,
        "and the next is on record too"
    );
}

/// What was answered before the epoch was raised is refused everywhere, so a retry gets what is
/// good.
pub(super) async fn a_named_request_of_an_older_epoch_is_answered_anew(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let named = |n: u8, epoch| {
        let mut issue = sample::issue(n, START, epoch);
        issue.idempotency = Some(Idempotency {
            key: [7; 32],
            fingerprint: [0; 32],
            seed: [n; 32],
            expires_at: START.plus(token::TTL),
        });
        issue
    };
    assert_eq!(store.commit(named(1, epoch)).await.unwrap(), Issued::New);
    let event = sample::event(Kind::EpochRaised, START);
    let raised = store.commit(RaiseEpoch(event)).await.unwrap();
    let again = named(2, raised);
    assert_eq!(store.commit(again.clone()).await.unwrap(), Issued::New);
    let claim = sample::claim(&again.record, 1, &[Field::Pan], START);
    let verdict = store.commit(claim).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
    let third = store.commit(named(3, raised)).await.unwrap();
    let Issued::Before(before, record) = third else {
        panic!("{third:?}")
    };
    assert_eq!(Some(before), again.idempotency);
    assert_eq!(record.key, again.record.key);
}

/// P1 under a race.
pub(super) async fn of_64_concurrent_keys_one_gets_it(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let claims =
        (1..=64).map(|key| store.commit(sample::claim(&record, key, &[Field::Pan], START)));
    let verdicts: Vec<_> = join_all(claims)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let granted = verdicts
        .iter()
        .filter(|v| matches!(v, Verdict::Granted(_)))
        .count();
    let refused = verdicts
        .iter()
        .filter(|v| **v == Verdict::Refused(Cause::OtherKey))
        .count();
    assert_eq!((granted, refused), (1, 63));
    assert_eq!(log_of(store, Kind::RevealReleased).await.len(), 1);
    assert_eq!(log_of(store, Kind::RevealConflict).await.len(), 1);
}

/// The merchant named the key when it asked.
pub(super) async fn a_token_bound_to_a_key_goes_to_no_other(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let mut issue = sample::issue(1, START, epoch);
    issue.record.bound_to = Some(Thumbprint([9; 32]));
    let record = issue.record.clone();
    store.commit(issue).await.unwrap();
    let thief = store
        .commit(sample::claim(&record, 8, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(thief, Verdict::Refused(Cause::OtherKey));
    assert_eq!(log_of(store, Kind::RevealConflict).await.len(), 1);
    let owner = store
        .commit(sample::claim(&record, 9, &[Field::Pan], START))
        .await
        .unwrap();
    assert!(
        matches!(owner, Verdict::Granted(_)),
        "the thief has not burned it: {owner:?}"
    );
}

/// docs/reference/protocol.md, "Windows".
pub(super) async fn the_same_key_may_ask_again_within_its_windows(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let attempts = std::sync::atomic::AtomicU8::new(0);
    let claim = |field: Field, at: Time| {
        let attempt = attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Claim {
            attempt: AttemptId::from_bytes([attempt; 16]),
            ..sample::claim(&record, 1, &[field], at)
        }
    };
    let ask = async |field: Field, secs: u64| {
        let claim = claim(field, after(secs));
        store.commit(claim).await.unwrap()
    };
    assert!(matches!(ask(Field::Pan, 10).await, Verdict::Granted(_)));
    for _ in 0..3 {
        assert!(
            matches!(ask(Field::Pan, 40).await, Verdict::Granted(_)),
            "30 s, three times"
        );
    }
    assert_eq!(
        ask(Field::Pan, 40).await,
        Verdict::Refused(Cause::RepeatsExhausted),
        "a fourth"
    );
    assert!(
        matches!(ask(Field::Cvv, 70).await, Verdict::Granted(_)),
        "60 s after the claim"
    );
    let late = store
        .commit(claim(
            Field::Name,
            Time::from_millis(after(70).millis() + 1),
        ))
        .await
        .unwrap();
    assert_eq!(late, Verdict::Refused(Cause::WindowClosed));
    let stale = store
        .commit(claim(
            Field::Cvv,
            Time::from_millis(after(100).millis() + 1),
        ))
        .await
        .unwrap();
    assert_eq!(
        stale,
        Verdict::Refused(Cause::RepeatsExhausted),
        "30 s after its release"
    );
    assert_eq!(
        log_of(store, Kind::RevealReleased).await.len(),
        2,
        "pan and cvv, a record each"
    );
    assert_eq!(log_of(store, Kind::RevealRepeated).await.len(), 3);
    assert!(log_of(store, Kind::RevealConflict).await.is_empty());
}

/// A stall may outlast the window in which fields are repeated: the attempt whose answer got lost
/// in it is made again, by its key and no other, for its fields and no others, and counts.
pub(super) async fn a_lost_attempt_may_be_made_again_until_the_token_expires(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let claim = |key: u8, attempt: u8, fields: &[Field], at: Time| Claim {
        attempt: AttemptId::from_bytes([attempt; 16]),
        ..sample::claim(&record, key, fields, at)
    };
    let ask = async |key: u8, attempt: u8, field: Field, secs: u64| {
        let claim = claim(key, attempt, &[field], after(secs));
        store.commit(claim).await.unwrap()
    };
    let granted = |verdict: &Verdict| matches!(verdict, Verdict::Granted(_));
    let exhausted = Verdict::Refused(Cause::RepeatsExhausted);
    let life = token::TTL.as_secs();
    assert!(granted(&ask(1, 1, Field::Pan, 0).await));
    assert_eq!(
        ask(1, 2, Field::Pan, 31).await,
        exhausted,
        "another attempt"
    );
    let thief = ask(2, 1, Field::Pan, 31).await;
    assert_eq!(thief, Verdict::Refused(Cause::OtherKey), "another key");
    let more = claim(1, 1, &[Field::Pan, Field::Cvv], after(61));
    let more = store.commit(more).await.unwrap();
    assert_eq!(more, Verdict::Refused(Cause::WindowClosed), "another field");
    assert!(granted(&ask(1, 1, Field::Pan, 61).await));
    let last = Time::from_millis(record.expires_at.millis() - 1);
    let last = claim(1, 1, &[Field::Pan], last);
    assert!(granted(&store.commit(last).await.unwrap()));
    assert_eq!(
        ask(1, 1, Field::Pan, life).await,
        exhausted,
        "past its life"
    );
    assert!(granted(&ask(1, 1, Field::Pan, life - 1).await));
    assert_eq!(ask(1, 1, Field::Pan, life - 1).await, exhausted, "a fourth");
    assert_eq!(log_of(store, Kind::RevealReleased).await.len(), 1);
    assert_eq!(log_of(store, Kind::RevealRepeated).await.len(), 3);
}

/// Two mounts of one frame: the second must seal for the redemption that stands.
pub(super) async fn a_claim_sealed_for_another_redemption_is_superseded(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let before = log_len(store).await;
    let mut claim = sample::claim(&record, 1, &[Field::Pan], START);
    claim.redemption = sample::redemption(99);
    assert_eq!(store.commit(claim).await.unwrap(), Verdict::Superseded);
    assert_eq!(
        log_len(store).await,
        before,
        "nothing was released, nothing is written"
    );
}

/// P6's other half: the browser is told nothing, the record everything.
pub(super) async fn every_refusal_is_recorded_with_its_cause(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    let claim = || sample::claim(&record, 1, &[Field::Pan], START);
    let unknown = sample::record(42, START, epoch);
    let theirs = Change::AddEmbed(sample::embed(2));
    let event = sample::event(Kind::EmbedAdded, START);
    store.commit(Changes(vec![(theirs, event)])).await.unwrap()[0].unwrap();
    let mut foreign = claim();
    foreign.embed = sample::embed(2).id;
    let mut nowhere = claim();
    nowhere.embed = sample::embed(9).id;
    let mut wallet = claim();
    wallet.operation = token::Operation::AddCardToWallet;
    let mut barred = claim();
    barred.barred = Some(Cause::CardState);
    let mut nothing = claim();
    nothing.fields = Fields::NONE;
    let cases = [
        (foreign, Cause::Foreign),
        (nowhere, Cause::Foreign),
        (wallet, Cause::WrongOperation),
        (barred, Cause::CardState),
        (nothing, Cause::FieldNotAllowed),
        (
            sample::claim(&record, 1, &[Field::Pan], after(300)),
            Cause::Expired,
        ),
    ];
    for (claim, cause) in cases {
        assert_eq!(store.commit(claim).await.unwrap(), Verdict::Refused(cause));
        let last = log_of(store, Kind::RevealRefused).await.pop().unwrap();
        assert_eq!(last.detail.cause, Some(cause));
        assert_eq!(last.outcome, Outcome::Failure);
    }
    // What has no row has nothing that could be counted.
    let before = log_len(store).await;
    let unknown = sample::claim(&unknown, 1, &[Field::Pan], START);
    let refused = Verdict::Refused(Cause::Unknown);
    assert_eq!(store.commit(unknown).await.unwrap(), refused);
    assert_eq!(log_len(store).await, before);
    let counted = Record {
        refusals: 6,
        ..record.clone()
    };
    assert_eq!(
        store.token(&record.key).await.unwrap(),
        Some(counted),
        "and nothing else has changed"
    );
}

/// P1: a restore or a promotion raises it.
pub(super) async fn a_raised_epoch_ends_all_older_tokens(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    store
        .commit(RaiseEpoch(sample::event(Kind::EpochRaised, START)))
        .await
        .unwrap();
    let again = store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(again, Verdict::Refused(Cause::OldEpoch));
}

/// When a commit did not say how it ended.
pub(super) async fn an_attempt_can_be_looked_up(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let attempt = |n: u8, key: u8| Attempt {
        token: record.key,
        by: Thumbprint([key; 32]),
        claim: ClaimId::from_bytes([n; 16]),
        at: START,
        origin: sample::origin(),
    };
    assert_eq!(store.commit(attempt(1, 1)).await.unwrap(), None);
    let verdict = store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let Verdict::Granted(grant) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(store.commit(attempt(1, 1)).await.unwrap(), Some(grant));
    assert_eq!(
        store.commit(attempt(2, 1)).await.unwrap(),
        None,
        "another claim"
    );
    assert_eq!(
        store.commit(attempt(1, 2)).await.unwrap(),
        None,
        "another key"
    );
    assert_eq!(log_of(store, Kind::RevealSettled).await.len(), 4);
}

/// docs/reference/protocol.md, "Events".
pub(super) async fn what_the_browser_says_is_recorded_as_a_claim(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let say = |kind: Kind, redemption: u8, field: Option<Field>| Observation {
        token: record.key,
        redemption: sample::redemption(redemption),
        kind,
        field,
        seen: kind == Kind::RevealCopied,
        at: START,
        origin: sample::origin(),
    };
    let early = store
        .commit(say(Kind::RevealDisplayed, 1, None))
        .await
        .unwrap();
    assert_eq!(early, Err(Cause::WrongRedemption), "nobody holds it yet");
    store
        .commit(sample::claim(&record, 1, &[Field::Pan, Field::Name], START))
        .await
        .unwrap();
    assert_eq!(
        store
            .commit(say(Kind::RevealDisplayed, 1, None))
            .await
            .unwrap(),
        Ok(())
    );
    assert_eq!(
        store
            .commit(say(Kind::RevealCopied, 1, Some(Field::Pan)))
            .await
            .unwrap(),
        Ok(())
    );
    let refused = [
        (say(Kind::RevealDisplayed, 2, None), Cause::WrongRedemption),
        (
            say(Kind::RevealDisplayed, 1, Some(Field::Cvv)),
            Cause::FieldNotAllowed,
        ),
    ];
    for (observation, cause) in refused {
        assert_eq!(store.commit(observation).await.unwrap(), Err(cause));
    }
    let displayed = log_of(store, Kind::RevealDisplayed).await;
    assert_eq!(displayed.len(), 1);
    assert!(displayed[0].detail.claim);
    assert_eq!(displayed[0].detail.fields.unwrap().names(), ["pan", "name"]);
    let copied = log_of(store, Kind::RevealCopied).await;
    assert_eq!(copied[0].detail.fields.unwrap().names(), ["pan"]);
    // A browser that cannot look, and one that did.
    assert_eq!(
        displayed[0].detail.visibility,
        Some(Visibility::NotLookedAt)
    );
    assert_eq!(copied[0].detail.visibility, Some(Visibility::Seen));
}

/// P8.
pub(super) async fn a_browser_cannot_fill_the_log(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let observation = Observation {
        token: record.key,
        redemption: sample::redemption(1),
        kind: Kind::RevealHidden,
        field: None,
        seen: false,
        at: START,
        origin: sample::origin(),
    };
    for _ in 0..token::EVENTS_MAX {
        assert_eq!(store.commit(observation.clone()).await.unwrap(), Ok(()));
    }
    assert_eq!(
        store.commit(observation).await.unwrap(),
        Err(Cause::TooManyEvents)
    );
    assert_eq!(
        log_of(store, Kind::RevealHidden).await.len(),
        usize::from(token::EVENTS_MAX)
    );
}

/// By hash, by card, by merchant; issued or held.
pub(super) async fn revoked_tokens_are_refused(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    let revoke = async |selection| super::revoke(store, selection, START).await;
    assert_eq!(
        revoke(Selection::Hash(sample::record(9, START, epoch).key.hash)).await,
        0
    );
    assert_eq!(revoke(Selection::Hash(record.key.hash)).await, 1);
    assert_eq!(revoke(Selection::Hash(record.key.hash)).await, 0, "once");
    let verdict = store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(verdict, Verdict::Refused(Cause::Revoked));

    let held = sample::issue(2, START, epoch);
    store.commit(held.clone()).await.unwrap();
    store
        .commit(sample::claim(&held.record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(revoke(Selection::Card(record.card)).await, 1);
    let again = store
        .commit(sample::claim(&held.record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(
        again,
        Verdict::Refused(Cause::Revoked),
        "its holder gets no more either"
    );

    store.commit(sample::issue(3, START, epoch)).await.unwrap();
    assert_eq!(revoke(Selection::Merchant(sample::merchant(2).id)).await, 0);
    assert_eq!(
        revoke(Selection::Merchant(record.merchant.clone())).await,
        1
    );
    assert_eq!(log_of(store, Kind::TokenRevoked).await.len(), 3);
}

/// P8: a piece holds no more tokens than it names, and each is on record in the commit that revokes
/// it.
pub(super) async fn tokens_are_revoked_in_pieces(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    for n in 1..=5 {
        // The later the number, the earlier: their place is their time first.
        let at = after(u64::from(9 - n));
        store.commit(sample::issue(n, at, epoch)).await.unwrap();
    }
    let key = |n| sample::record(n, after(u64::from(9 - n)), epoch).key;
    let all = Selection::Merchant(sample::merchant(1).id);
    let find = async |behind, limit| {
        store
            .revocable(&all, after(9), behind, limit)
            .await
            .unwrap()
    };
    let first = find(None, 2).await;
    assert_eq!(first, [key(5), key(4)]);
    let second = find(Some(key(4)), 2).await;
    assert_eq!(second, [key(3), key(2)]);
    assert_eq!(find(Some(key(2)), 2).await, [key(1)]);
    assert_eq!(find(Some(key(1)), 2).await, []);

    let unknown = sample::record(42, START, epoch).key;
    let twice = vec![key(4), key(5), unknown, key(4)];
    let by = sample::operator();
    assert_eq!(
        store
            .commit(Revoke {
                tokens: twice,
                at: after(9),
                source: by
            })
            .await
            .unwrap(),
        2
    );
    let events = log_of(store, Kind::TokenRevoked).await;
    let mut hashes: Vec<_> = events
        .iter()
        .filter_map(|event| event.target.token)
        .collect();
    hashes.sort_unstable();
    assert_eq!(hashes, [key(4).hash, key(5).hash]);
    assert_eq!(
        find(None, 9).await,
        [key(3), key(2), key(1)],
        "what is left"
    );
    let by = sample::operator();
    assert_eq!(
        store
            .commit(Revoke {
                tokens: first,
                at: after(9),
                source: by
            })
            .await
            .unwrap(),
        0,
        "once"
    );
    assert_eq!(log_of(store, Kind::TokenRevoked).await.len(), 2);
}

/// Of an hour of tokens that are kept, those of the last minutes.
pub(super) async fn what_gives_nothing_any_more_is_not_revoked(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    store.commit(sample::issue(1, START, epoch)).await.unwrap();
    let held = sample::issue(2, START, epoch);
    store.commit(held.clone()).await.unwrap();
    let claim = sample::claim(&held.record, 1, &[Field::Pan], START);
    store.commit(claim).await.unwrap();
    let all = Selection::Card(held.record.card);
    let count = async |at| store.revocable(&all, at, None, 9).await.unwrap().len();
    let by_any_clock = after(300).plus(token::CLOCKS_APART);
    let before = Time::from_millis(by_any_clock.millis() - 1);
    assert_eq!(count(before).await, 2, "a node's clock may be behind");
    assert_eq!(count(by_any_clock).await, 1, "its holder may ask again");
    assert_eq!(super::revoke(store, all.clone(), by_any_clock).await, 1);
    assert_eq!(count(START).await, 1);
    let events = log_of(store, Kind::TokenRevoked).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].target.token, Some(held.record.key.hash));
}

/// P7.
pub(super) async fn an_unconfirmed_release_is_recorded_once(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    store
        .commit(sample::claim(&record, 1, &[Field::Pan, Field::Name], START))
        .await
        .unwrap();
    let confirmed = sample::issue(2, START, epoch);
    store.commit(confirmed.clone()).await.unwrap();
    store
        .commit(sample::claim(&confirmed.record, 2, &[Field::Pan], START))
        .await
        .unwrap();
    let displayed = |token: &Record, redemption: u8, field: Field| Observation {
        token: token.key,
        redemption: sample::redemption(redemption),
        kind: Kind::RevealDisplayed,
        field: Some(field),
        seen: true,
        at: START,
        origin: sample::origin(),
    };
    store
        .commit(displayed(&record, 1, Field::Name))
        .await
        .unwrap()
        .unwrap();
    store
        .commit(displayed(&confirmed.record, 2, Field::Pan))
        .await
        .unwrap()
        .unwrap();

    let early = store
        .commit(Sweep {
            now: Time::from_millis(after(60).millis() - 1),
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!(early, Swept::default());
    let swept = store
        .commit(Sweep {
            now: after(60),
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!(
        swept,
        Swept {
            unconfirmed: 1,
            deleted: 0,
            more: false
        }
    );
    assert_eq!(
        store
            .commit(Sweep {
                now: after(61),
                limit: 100
            })
            .await
            .unwrap(),
        Swept::default(),
        "once"
    );
    let unconfirmed = log_of(store, Kind::RevealUnconfirmed).await;
    assert_eq!(unconfirmed.len(), 1);
    assert_eq!(unconfirmed[0].detail.fields.unwrap().names(), ["pan"]);
    assert_eq!(
        unconfirmed[0].target.redemption,
        Some(sample::redemption(1))
    );
}

/// P8: a sweep is bounded, and deletes no row that it has not looked at.
pub(super) async fn old_rows_are_deleted_in_bounded_rounds(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    for n in 1..=5 {
        store.commit(sample::issue(n, START, epoch)).await.unwrap();
    }
    let record = sample::record(1, START, epoch);
    store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let kept = store
        .commit(Sweep {
            now: START.plus(RETENTION),
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!(
        (kept.unconfirmed, kept.deleted),
        (1, 0),
        "the last moment of its retention"
    );
    // A second later, because the adapters may keep time in the key by whole seconds.
    let late = START.plus(RETENTION).plus(Duration::from_secs(1));
    let first = store
        .commit(Sweep {
            now: late,
            limit: 3,
        })
        .await
        .unwrap();
    assert_eq!((first.deleted, first.more), (3, true));
    let second = store
        .commit(Sweep {
            now: late,
            limit: 3,
        })
        .await
        .unwrap();
    assert_eq!((second.deleted, second.more), (2, false));
    assert_eq!(store.token(&record.key).await.unwrap(), None);
}
