//! The contract suite: what every store must do. A backend supplies a constructor and nothing else:
//!
//! ```ignore
//! cardveil_core::contract_suite!(async { (Memory::default(), ()) });
//! ```
//!
//! The constructor's future gives an empty store and whatever must live as long as the test.
//! Durability over restarts is each adapter's own test; these cases are about what a verb does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests; they live outside cfg(test) so that adapters can run them"
)]

mod allowlists;
mod audit;
mod budget;
mod cards;
mod handovers;
mod keys;
mod mfa;
mod outbox;
mod pins;

pub use allowlists::*;
pub use audit::*;
pub use budget::*;
pub use cards::*;
pub use handovers::*;
pub use keys::*;
pub use mfa::*;
pub use outbox::*;
pub use pins::*;
mod wallet;

use std::time::Duration;

use futures_util::future::join_all;

use super::sample::{self, START};
use crate::audit::{Event, Kind, Outcome};
use crate::card::{Field, Fields};
use crate::clock::Time;
use crate::id::{CardNo, ClaimId};
use crate::merchant::{CredentialState, MerchantState};
use crate::port::{
    CardFilter, CardRef, Change, Idempotency, Issued, Paging, Selection, Store, Swept, Taken,
};
use crate::token::{
    self, Attempt, Cause, Epoch, Observation, RETENTION, Record, Thumbprint, Verdict,
};

pub use wallet::*;

/// Makes a test of each case of the suite.
#[macro_export]
macro_rules! contract_suite {
    ($open:expr) => {
        $crate::contract_suite!(@cases $open,
            a_token_is_found_as_it_was_issued,
            an_issue_in_an_old_epoch_is_told_the_new_one,
            a_named_request_is_answered_once,
            the_first_key_gets_it_and_no_other,
            of_64_concurrent_keys_one_gets_it,
            a_token_bound_to_a_key_goes_to_no_other,
            the_same_key_may_ask_again_within_its_windows,
            a_claim_sealed_for_another_redemption_is_superseded,
            every_refusal_is_recorded_with_its_cause,
            a_raised_epoch_ends_all_older_tokens,
            an_attempt_can_be_looked_up,
            what_the_browser_says_is_recorded_as_a_claim,
            a_browser_cannot_fill_the_log,
            revoked_tokens_are_refused,
            an_unconfirmed_release_is_recorded_once,
            old_rows_are_deleted_in_bounded_rounds,
            an_admission_has_all_it_needs,
            a_budget_grants_as_many_as_it_holds,
            a_persons_budget_is_of_all_their_cards,
            an_overdrawn_budget_spends_no_assertion,
            whole_budgets_are_forgotten,
            an_export_is_charged_too,
            cards_are_found_within_their_merchant_only,
            a_refused_change_writes_nothing,
            changes_are_seen_at_once,
            the_registry_is_listed,
            cards_are_listed_in_pages_that_make_the_whole,
            cards_are_listed_by_every_filter,
            a_card_goes_from_state_to_state_with_its_event,
            a_card_of_another_merchant_is_not_changed,
            of_many_who_ask_for_one_state_one_changes_it,
            a_card_is_called_otherwise,
            only_a_card_at_its_end_is_removed,
            a_removed_cards_place_is_given_to_no_other,
            details_shown_bring_a_card_into_use_in_their_commit,
            a_claim_is_of_the_card_as_it_is_in_its_commit,
            the_log_is_read_in_order_and_in_pages,
            every_entry_is_chained_to_the_one_before,
            entries_written_at_once_are_one_chain,
            class_keys_are_created_once,
            a_class_key_goes_from_state_to_state,
            of_many_rotations_at_once_one_is_made,
            all_class_keys_change_their_root_at_once,
            a_key_with_records_under_it_is_not_retired,
            records_are_moved_from_key_to_key,
            what_is_sealed_anew_is_written_with_its_key,
            a_record_that_changed_meanwhile_is_not_moved,
            records_that_cannot_be_moved_are_passed_over,
            nothing_is_written_under_a_retired_key,
            an_event_is_queued_in_the_commit_that_writes_it,
            an_event_goes_to_whom_it_concerns,
            only_the_first_of_a_card_is_taken,
            of_couriers_at_once_one_takes_it,
            a_lease_that_ends_makes_it_due_again,
            a_slow_receiver_does_not_hold_the_others_up,
            what_is_refused_is_tried_again_and_at_last_given_up,
            a_subscription_out_of_use_is_not_told,
            subscriptions_are_kept_as_they_were_written,
            a_patch_changes_what_it_names_alone,
            no_merchant_has_more_subscriptions_than_it_may,
            deliveries_are_listed_and_replayed,
            deliveries_that_arrived_are_forgotten,
            a_wallet_token_is_found_within_its_merchant_only,
            a_wallet_token_moves_with_its_event,
            a_wallet_token_that_stays_writes_nothing,
            of_30_concurrent_wallet_tokens_25_are_granted,
            a_terminated_card_ends_its_wallet_tokens,
            wallet_tokens_are_listed_by_what_narrows_them,
            wallet_tokens_are_listed_in_pages,
            a_merchants_wallet_rules_are_kept,
            a_session_is_found_as_it_was_opened,
            one_assertion_gives_one_token,
            of_64_concurrent_assertions_one_gets_a_token,
            the_fifth_wrong_code_ends_the_session_and_pauses_the_person,
            a_session_passes_for_nothing_else,
            a_raised_epoch_ends_all_older_sessions,
            a_step_is_used_once_and_none_before_it,
            an_app_is_enrolled_confirmed_replaced_and_removed,
            a_hundred_wrong_codes_in_a_row_lock_until_a_reset,
            sessions_are_counted_by_the_hour,
            a_named_request_spends_its_session_once,
            old_sessions_are_deleted_in_bounded_rounds,
            a_network_is_added_and_taken_away,
            a_refused_change_of_a_list_writes_nothing,
            a_list_of_networks_has_its_end,
            an_export_is_recorded_or_refused,
            an_export_brings_a_virtual_card_into_use,
            a_right_proof_activates_a_card,
            wrong_proofs_block_the_way,
            a_pin_is_found_as_it_was_set,
            a_pin_of_a_card_not_in_use_is_neither_set_nor_told,
            the_pin_that_is_told_is_the_one_that_the_card_has,
            one_session_passes_for_one_use_of_a_pin,
            a_pin_that_is_told_is_charged_to_the_budgets,
        );
    };
    (@cases $open:expr, $($case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = $open.await;
                $crate::testing::contract::$case(&store).await;
            }
        )+
    };
}

async fn with_merchant(store: &dyn Store) -> Epoch {
    let add = |change, kind| (change, sample::event(kind, START));
    let changes = vec![
        add(
            Change::AddMerchant(sample::merchant(1)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddMerchant(sample::merchant(2)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddCredential(sample::credential(1)),
            Kind::CredentialAdded,
        ),
        add(Change::AddEmbed(sample::embed(1)), Kind::EmbedAdded),
        add(Change::AddCard(Box::new(sample::card(1))), Kind::CardAdded),
    ];
    let results = store.change(changes).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    store.epoch().await.unwrap()
}

async fn with_token(store: &dyn Store) -> (Record, Epoch) {
    let epoch = with_merchant(store).await;
    let issue = sample::issue(1, START, epoch);
    let record = issue.record.clone();
    assert_eq!(store.issue(issue).await.unwrap(), Issued::New);
    (record, epoch)
}

async fn log_of(store: &dyn Store, kind: Kind) -> Vec<Event> {
    let entries = store.entries(0, 10_000).await.unwrap();
    entries
        .into_iter()
        .map(|entry| entry.event)
        .filter(|event| event.kind == kind)
        .collect()
}

async fn log_len(store: &dyn Store) -> usize {
    store.entries(0, 10_000).await.unwrap().len()
}

fn after(secs: u64) -> Time {
    START.plus(Duration::from_secs(secs))
}

/// What goes in comes out.
pub async fn a_token_is_found_as_it_was_issued(store: &dyn Store) {
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
    store.issue(bound.clone()).await.unwrap();
    assert_eq!(
        store.token(&bound.record.key).await.unwrap(),
        Some(bound.record)
    );
}

/// A token of an epoch that is over is never written.
pub async fn an_issue_in_an_old_epoch_is_told_the_new_one(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let raised = store
        .raise_epoch(sample::event(Kind::EpochRaised, START))
        .await
        .unwrap();
    assert!(raised > epoch);
    assert_eq!(store.epoch().await.unwrap(), raised);
    let issue = sample::issue(1, START, epoch);
    let key = issue.record.key;
    assert_eq!(store.issue(issue).await.unwrap(), Issued::OldEpoch(raised));
    assert_eq!(store.token(&key).await.unwrap(), None);
    assert!(log_of(store, Kind::TokenIssued).await.is_empty());
}

/// `Idempotency-Key`: the name is looked up and written in the commit of the token.
pub async fn a_named_request_is_answered_once(store: &dyn Store) {
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
    assert_eq!(store.issue(first.clone()).await.unwrap(), Issued::New);
    let second = store.issue(named(2, after(1))).await.unwrap();
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
    let late = store.issue(named(3, after(299))).await.unwrap();
    assert_eq!(late, Issued::Before(before, Box::new(first.record)));
    assert_eq!(
        store.issue(named(4, after(300))).await.unwrap(),
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
        store.issue(issue)
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
pub async fn the_first_key_gets_it_and_no_other(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let fields = [Field::Pan, Field::Expiry];
    let verdict = store
        .redeem(sample::claim(&record, 1, &fields, after(299)))
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
            .redeem(sample::claim(&record, key, &fields, after(300)))
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

/// P1 under a race.
pub async fn of_64_concurrent_keys_one_gets_it(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let claims =
        (1..=64).map(|key| store.redeem(sample::claim(&record, key, &[Field::Pan], START)));
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
pub async fn a_token_bound_to_a_key_goes_to_no_other(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let mut issue = sample::issue(1, START, epoch);
    issue.record.bound_to = Some(Thumbprint([9; 32]));
    let record = issue.record.clone();
    store.issue(issue).await.unwrap();
    let thief = store
        .redeem(sample::claim(&record, 8, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(thief, Verdict::Refused(Cause::OtherKey));
    assert_eq!(log_of(store, Kind::RevealConflict).await.len(), 1);
    let owner = store
        .redeem(sample::claim(&record, 9, &[Field::Pan], START))
        .await
        .unwrap();
    assert!(
        matches!(owner, Verdict::Granted(_)),
        "the thief has not burned it: {owner:?}"
    );
}

/// DESIGN section 4, "Again".
pub async fn the_same_key_may_ask_again_within_its_windows(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let ask = async |field: Field, secs: u64| {
        store
            .redeem(sample::claim(&record, 1, &[field], after(secs)))
            .await
            .unwrap()
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
        .redeem(sample::claim(
            &record,
            1,
            &[Field::Name],
            Time::from_millis(after(70).millis() + 1),
        ))
        .await
        .unwrap();
    assert_eq!(late, Verdict::Refused(Cause::WindowClosed));
    let stale = store
        .redeem(sample::claim(
            &record,
            1,
            &[Field::Cvv],
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

/// Two mounts of one frame: the second must seal for the redemption that stands.
pub async fn a_claim_sealed_for_another_redemption_is_superseded(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let before = log_len(store).await;
    let mut claim = sample::claim(&record, 1, &[Field::Pan], START);
    claim.redemption = sample::redemption(99);
    assert_eq!(store.redeem(claim).await.unwrap(), Verdict::Superseded);
    assert_eq!(
        log_len(store).await,
        before,
        "nothing was released, nothing is written"
    );
}

/// P6's other half: the browser is told nothing, the record everything.
pub async fn every_refusal_is_recorded_with_its_cause(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    let claim = || sample::claim(&record, 1, &[Field::Pan], START);
    let unknown = sample::record(42, START, epoch);
    let mut foreign = claim();
    foreign.merchant = Some(sample::merchant(2).id);
    let mut nowhere = claim();
    nowhere.merchant = None;
    let mut wallet = claim();
    wallet.operation = token::Operation::AddCardToWallet;
    let mut barred = claim();
    barred.barred = Some(Cause::CardState);
    let mut nothing = claim();
    nothing.fields = Fields::NONE;
    let cases = [
        (
            sample::claim(&unknown, 1, &[Field::Pan], START),
            Cause::Unknown,
        ),
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
        assert_eq!(store.redeem(claim).await.unwrap(), Verdict::Refused(cause));
        let last = log_of(store, Kind::RevealRefused).await.pop().unwrap();
        assert_eq!(last.detail.cause, Some(cause));
        assert_eq!(last.outcome, Outcome::Failure);
    }
    assert_eq!(
        store.token(&record.key).await.unwrap(),
        Some(record),
        "and nothing has changed"
    );
}

/// DESIGN section 4, "Epoch".
pub async fn a_raised_epoch_ends_all_older_tokens(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    store
        .raise_epoch(sample::event(Kind::EpochRaised, START))
        .await
        .unwrap();
    let again = store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(again, Verdict::Refused(Cause::OldEpoch));
}

/// DESIGN section 4, "Unknown outcome".
pub async fn an_attempt_can_be_looked_up(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let attempt = |n: u8, key: u8| Attempt {
        token: record.key,
        by: Thumbprint([key; 32]),
        claim: ClaimId::from_bytes([n; 16]),
        at: START,
        origin: sample::origin(),
    };
    assert_eq!(store.settle(attempt(1, 1)).await.unwrap(), None);
    let verdict = store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let Verdict::Granted(grant) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(store.settle(attempt(1, 1)).await.unwrap(), Some(grant));
    assert_eq!(
        store.settle(attempt(2, 1)).await.unwrap(),
        None,
        "another claim"
    );
    assert_eq!(
        store.settle(attempt(1, 2)).await.unwrap(),
        None,
        "another key"
    );
    assert_eq!(log_of(store, Kind::RevealSettled).await.len(), 4);
}

/// DESIGN section 4, "Confirm".
pub async fn what_the_browser_says_is_recorded_as_a_claim(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let say = |kind: Kind, redemption: u8, field: Option<Field>| Observation {
        token: record.key,
        redemption: sample::redemption(redemption),
        kind,
        field,
        at: START,
        origin: sample::origin(),
    };
    let early = store
        .observe(say(Kind::RevealDisplayed, 1, None))
        .await
        .unwrap();
    assert_eq!(early, Err(Cause::WrongRedemption), "nobody holds it yet");
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan, Field::Name], START))
        .await
        .unwrap();
    assert_eq!(
        store
            .observe(say(Kind::RevealDisplayed, 1, None))
            .await
            .unwrap(),
        Ok(())
    );
    assert_eq!(
        store
            .observe(say(Kind::RevealCopied, 1, Some(Field::Pan)))
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
        assert_eq!(store.observe(observation).await.unwrap(), Err(cause));
    }
    let displayed = log_of(store, Kind::RevealDisplayed).await;
    assert_eq!(displayed.len(), 1);
    assert!(displayed[0].detail.claim);
    assert_eq!(displayed[0].detail.fields.unwrap().names(), ["pan", "name"]);
    let copied = log_of(store, Kind::RevealCopied).await;
    assert_eq!(copied[0].detail.fields.unwrap().names(), ["pan"]);
}

/// P8.
pub async fn a_browser_cannot_fill_the_log(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let observation = Observation {
        token: record.key,
        redemption: sample::redemption(1),
        kind: Kind::RevealHidden,
        field: None,
        at: START,
        origin: sample::origin(),
    };
    for _ in 0..token::EVENTS_MAX {
        assert_eq!(store.observe(observation.clone()).await.unwrap(), Ok(()));
    }
    assert_eq!(
        store.observe(observation).await.unwrap(),
        Err(Cause::TooManyEvents)
    );
    assert_eq!(
        log_of(store, Kind::RevealHidden).await.len(),
        usize::from(token::EVENTS_MAX)
    );
}

/// By hash, by card, by merchant; issued or held.
pub async fn revoked_tokens_are_refused(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    let revoke = async |selection| {
        store
            .revoke(selection, START, sample::operator())
            .await
            .unwrap()
    };
    assert_eq!(
        revoke(Selection::Hash(sample::record(9, START, epoch).key.hash)).await,
        0
    );
    assert_eq!(revoke(Selection::Hash(record.key.hash)).await, 1);
    assert_eq!(revoke(Selection::Hash(record.key.hash)).await, 0, "once");
    let verdict = store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(verdict, Verdict::Refused(Cause::Revoked));

    let held = sample::issue(2, START, epoch);
    store.issue(held.clone()).await.unwrap();
    store
        .redeem(sample::claim(&held.record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(revoke(Selection::Card(record.card)).await, 1);
    let again = store
        .redeem(sample::claim(&held.record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert_eq!(
        again,
        Verdict::Refused(Cause::Revoked),
        "its holder gets no more either"
    );

    store.issue(sample::issue(3, START, epoch)).await.unwrap();
    assert_eq!(revoke(Selection::Merchant(sample::merchant(2).id)).await, 0);
    assert_eq!(
        revoke(Selection::Merchant(record.merchant.clone())).await,
        1
    );
    assert_eq!(log_of(store, Kind::TokenRevoked).await.len(), 3);
}

/// P7.
pub async fn an_unconfirmed_release_is_recorded_once(store: &dyn Store) {
    let (record, epoch) = with_token(store).await;
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan, Field::Name], START))
        .await
        .unwrap();
    let confirmed = sample::issue(2, START, epoch);
    store.issue(confirmed.clone()).await.unwrap();
    store
        .redeem(sample::claim(&confirmed.record, 2, &[Field::Pan], START))
        .await
        .unwrap();
    let displayed = |token: &Record, redemption: u8, field: Field| Observation {
        token: token.key,
        redemption: sample::redemption(redemption),
        kind: Kind::RevealDisplayed,
        field: Some(field),
        at: START,
        origin: sample::origin(),
    };
    store
        .observe(displayed(&record, 1, Field::Name))
        .await
        .unwrap()
        .unwrap();
    store
        .observe(displayed(&confirmed.record, 2, Field::Pan))
        .await
        .unwrap()
        .unwrap();

    let early = store
        .sweep(Time::from_millis(after(60).millis() - 1), 100)
        .await
        .unwrap();
    assert_eq!(early, Swept::default());
    let swept = store.sweep(after(60), 100).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            unconfirmed: 1,
            deleted: 0,
            more: false
        }
    );
    assert_eq!(
        store.sweep(after(61), 100).await.unwrap(),
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
pub async fn old_rows_are_deleted_in_bounded_rounds(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    for n in 1..=5 {
        store.issue(sample::issue(n, START, epoch)).await.unwrap();
    }
    let record = sample::record(1, START, epoch);
    store
        .redeem(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let kept = store.sweep(START.plus(RETENTION), 100).await.unwrap();
    assert_eq!(
        (kept.unconfirmed, kept.deleted),
        (1, 0),
        "the last moment of its retention"
    );
    // A second later, because the adapters may keep time in the key by whole seconds.
    let late = START.plus(RETENTION).plus(Duration::from_secs(1));
    let first = store.sweep(late, 3).await.unwrap();
    assert_eq!((first.deleted, first.more), (3, true));
    let second = store.sweep(late, 3).await.unwrap();
    assert_eq!((second.deleted, second.more), (2, false));
    assert_eq!(store.token(&record.key).await.unwrap(), None);
}

/// One lookup admits or refuses a call.
pub async fn an_admission_has_all_it_needs(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, sample::credential(1));
    assert_eq!(admission.merchant, Some(sample::merchant(1)));
    assert_eq!(admission.epoch, epoch);
    assert_eq!(store.admission(&[2; 32]).await.unwrap(), None);
    assert_eq!(
        store.embed(&sample::embed(1).id).await.unwrap(),
        Some(sample::embed(1))
    );
    assert_eq!(store.embed(&sample::embed(2).id).await.unwrap(), None);
    let merchant = sample::merchant(1);
    assert_eq!(store.merchant(&merchant.id).await.unwrap(), Some(merchant));
    assert_eq!(store.merchant(&sample::merchant(9).id).await.unwrap(), None);
}

/// Existence is not told.
pub async fn cards_are_found_within_their_merchant_only(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let (own, other) = (sample::merchant(1).id, sample::merchant(2).id);
    for name in [CardRef::No(card.no.clone()), CardRef::Id(card.id)] {
        assert_eq!(store.card(&own, &name).await.unwrap(), Some(card.clone()));
        assert_eq!(store.card(&other, &name).await.unwrap(), None);
    }
    let unknown = CardRef::No(CardNo::parse("C999").unwrap());
    assert_eq!(store.card(&own, &unknown).await.unwrap(), None);
}

/// Nor its event; and it does not stop the others.
pub async fn a_refused_change_writes_nothing(store: &dyn Store) {
    with_merchant(store).await;
    let before = log_len(store).await;
    let event = || sample::event(Kind::CardAdded, START);
    let mut same_no = sample::card(2);
    same_no.no = sample::card(1).no;
    let mut same_id = sample::card(3);
    same_id.id = sample::card(1).id;
    let mut orphan = sample::card(4);
    orphan.merchant = sample::merchant(9).id;
    let mut same_key = sample::credential(2);
    same_key.key_hash = sample::credential(1).key_hash;
    let mut same_no_elsewhere = sample::card(5);
    same_no_elsewhere.no = sample::card(1).no;
    same_no_elsewhere.merchant = sample::merchant(2).id;
    let results = store
        .change(vec![
            (Change::AddCard(Box::new(same_no)), event()),
            (Change::AddCard(Box::new(same_id)), event()),
            (Change::AddCard(Box::new(orphan)), event()),
            (Change::AddCredential(same_key), event()),
            (Change::AddMerchant(sample::merchant(1)), event()),
            (Change::AddEmbed(sample::embed(1)), event()),
            (Change::AddEmbed(sample::embed(9)), event()),
            (Change::SetMerchant(sample::merchant(9)), event()),
            (Change::SetCredential(sample::credential(9)), event()),
            (Change::AddCard(Box::new(sample::card(2))), event()),
            (Change::AddCard(Box::new(same_no_elsewhere)), event()),
        ])
        .await
        .unwrap();
    let (exists, missing) = (Err(Taken::Exists), Err(Taken::NoMerchant));
    assert_eq!(
        results,
        [
            exists,
            exists,
            missing,
            exists,
            exists,
            exists,
            missing,
            missing,
            missing,
            Ok(()),
            Ok(())
        ]
    );
    assert_eq!(log_len(store).await, before + 2);
    let listed = store
        .list_cards(&CardFilter::default(), Paging::default())
        .await;
    assert_eq!(listed.unwrap().count, 3);
}

/// No stale answer.
pub async fn changes_are_seen_at_once(store: &dyn Store) {
    with_merchant(store).await;
    let mut credential = sample::credential(1);
    credential.state = CredentialState::Disabled;
    let mut merchant = sample::merchant(1);
    merchant.state = MerchantState::Suspended;
    let mut embed = sample::embed(1);
    embed.enabled = false;
    let event = |kind| sample::event(kind, START);
    let results = store
        .change(vec![
            (
                Change::SetCredential(credential.clone()),
                event(Kind::CredentialChanged),
            ),
            (
                Change::SetMerchant(merchant.clone()),
                event(Kind::MerchantChanged),
            ),
            (Change::SetEmbed(embed.clone()), event(Kind::EmbedChanged)),
        ])
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok));
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, credential);
    assert_eq!(admission.merchant, Some(merchant));
    assert_eq!(store.embed(&embed.id).await.unwrap(), Some(embed));
}

/// By id.
pub async fn the_registry_is_listed(store: &dyn Store) {
    with_merchant(store).await;
    assert_eq!(store.merchants().await.unwrap().len(), 2);
    assert_eq!(store.credentials().await.unwrap(), [sample::credential(1)]);
    assert_eq!(store.embeds().await.unwrap(), [sample::embed(1)]);
}

/// Append, and read in order.
pub async fn the_log_is_read_in_order_and_in_pages(store: &dyn Store) {
    let start = store.last_entry().await.unwrap();
    for secs in 0..5 {
        store
            .record(sample::event(Kind::AuditRead, after(secs)))
            .await
            .unwrap();
    }
    let first = store.entries(start, 3).await.unwrap();
    assert_eq!(first.len(), 3);
    let last = first.last().unwrap().seq;
    let rest = store.entries(last, 100).await.unwrap();
    let times: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|entry| entry.event.at)
        .collect();
    assert_eq!(times, (0..5).map(after).collect::<Vec<_>>());
    assert!(
        first
            .iter()
            .chain(&rest)
            .map(|entry| entry.seq)
            .is_sorted_by(|a, b| a < b)
    );
    assert_eq!(store.last_entry().await.unwrap(), rest.last().unwrap().seq);
    assert_eq!(
        first[0].event,
        sample::event(Kind::AuditRead, after(0)),
        "as it was written"
    );
}
