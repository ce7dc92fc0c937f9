//! The contract suite: what every store must do. A backend supplies a constructor and nothing else:
//!
//! ```ignore
//! cardveil_testkit::contract_suite!(async { (Memory::default(), ()) });
//! ```
//!
//! The constructor's future gives an empty store and whatever must live as long as the test.
//! Durability over restarts is each adapter's own test; these cases are about what a verb does.

#![deny(dead_code, reason = "a case that nothing runs proves nothing")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests; they live outside cfg(test) so that adapters can run them"
)]

mod allowlists;
mod altered;
mod audit;
mod budget;
mod cards;
mod challenges;
mod clocks;
mod counters;
mod hand;
mod handovers;
mod keys;
mod lives;
mod mfa;
mod outbox;
mod pins;
mod registry;
mod sinks;
mod tokens;
mod wallet;

pub use altered::{ALTERED, an_altered_row_hides_no_other, with_three_of_each};
pub use hand::{
    Hand, no_account_hears_of_a_card_that_a_hand_gave_it,
    no_altered_row_is_taken_for_what_was_written, no_change_on_record_stops_the_comparison,
    no_epoch_is_set_back, no_event_is_delivered_to_another_merchant,
    no_row_that_was_put_back_goes_on, no_version_counts_that_the_log_does_not_tell,
    what_is_kept_goes_with_a_change,
};

use std::time::Duration;

use super::sample::{self, START};
use cardveil_core::audit::{Event, Kind};
use cardveil_core::clock::Time;
use cardveil_core::port::{Change, Selection, Store};
use cardveil_core::token::{Epoch, Issued, Record};
use cardveil_core::verb::{Changes, Commit, Revoke};

/// Makes a test of each case of the suite.
#[macro_export]
macro_rules! contract_suite {
    ($open:expr) => {
        $crate::contract_cases!(contract_tests($open));
    };
}

/// The cases, by file, each once. A case that is not named here does not compile: nothing else
/// reaches it.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_cases {
    ($make:ident($($open:expr)?)) => {
        $crate::$make! {
            $($open,)?
            sinks {
                a_sink_is_fed_by_one_at_a_time,
                a_sinks_place_never_goes_back,
                a_sink_that_a_clock_ahead_holds_is_given_to_another,
                a_required_sink_of_a_long_log_gets_its_history_beside,
            }
            tokens {
                a_token_is_found_as_it_was_issued,
                an_issue_in_an_old_epoch_is_told_the_new_one,
                a_named_request_is_answered_once,
                a_named_request_of_an_older_epoch_is_answered_anew,
                the_first_key_gets_it_and_no_other,
                of_64_concurrent_keys_one_gets_it,
                a_token_bound_to_a_key_goes_to_no_other,
                the_same_key_may_ask_again_within_its_windows,
                a_lost_attempt_may_be_made_again_until_the_token_expires,
                a_claim_sealed_for_another_redemption_is_superseded,
                every_refusal_is_recorded_with_its_cause,
                a_raised_epoch_ends_all_older_tokens,
                an_attempt_can_be_looked_up,
                what_the_browser_says_is_recorded_as_a_claim,
                a_browser_cannot_fill_the_log,
                revoked_tokens_are_refused,
                tokens_are_revoked_in_pieces,
                what_gives_nothing_any_more_is_not_revoked,
                an_unconfirmed_release_is_recorded_once,
                old_rows_are_deleted_in_bounded_rounds,
            }
            lives {
                a_token_dies_with_what_it_lives_by,
                what_a_token_lives_by_is_found_whole_or_in_part,
                no_release_comes_after_its_credential_has_ended,
                a_token_bound_to_an_embed_is_redeemed_in_no_other,
                a_web_embeds_claim_carries_an_origin_and_an_apps_need_not,
                of_one_token_16_refusals_are_records_and_all_are_counted,
                a_token_with_few_refusals_goes_without_a_record,
            }
            registry {
                an_admission_has_all_it_needs,
                a_store_that_rests_is_not_busy,
                cards_are_found_within_their_merchant_only,
                a_refused_change_writes_nothing,
                changes_are_seen_at_once,
                a_change_is_on_record_from_what_to_what,
                a_change_by_a_contracts_call_is_on_record_from_what_to_what,
                what_was_written_leaves_writes_fine,
                a_change_of_what_was_changed_meanwhile_is_refused,
                of_many_who_change_one_credential_one_does,
                what_a_pair_may_do_is_kept,
                the_last_use_of_a_credential_is_kept,
                the_registry_is_listed,
            }
            budget {
                a_budget_grants_as_many_as_it_holds,
                a_persons_budget_is_of_all_their_cards,
                an_overdrawn_budget_spends_no_assertion,
                whole_budgets_are_forgotten,
                an_export_is_charged_too,
                a_budget_is_shown_and_reset,
            }
            clocks {
                a_clock_that_was_ahead_locks_no_budget,
                a_budget_used_up_under_a_clock_ahead_is_whole_a_window_later,
                a_clock_that_was_ahead_locks_no_second_factor,
                a_session_of_a_clock_ahead_has_expired,
                a_step_of_a_clock_ahead_is_forgotten,
                a_token_of_a_clock_ahead_is_good_for_nothing,
                a_release_under_a_clock_ahead_is_recorded_as_unconfirmed,
                wrong_proofs_under_a_clock_ahead_block_no_longer,
            }
            cards {
                cards_are_listed_in_pages_that_make_the_whole,
                pages_that_look_at_few_cards_make_the_whole,
                cards_are_listed_by_the_time_at_which_they_were_added,
                cards_are_listed_by_every_filter,
                a_card_goes_from_state_to_state_with_its_event,
                a_card_of_another_merchant_is_not_changed,
                of_many_who_ask_for_one_state_one_changes_it,
                a_card_is_called_otherwise,
                only_a_card_at_its_end_is_removed,
                a_removed_cards_place_is_given_to_no_other,
                details_shown_bring_a_card_into_use_in_their_commit,
                a_claim_is_of_the_card_as_it_is_in_its_commit,
            }
            audit {
                the_log_is_read_in_order_and_in_pages,
                every_entry_is_chained_to_the_one_before,
                a_checkpoint_is_of_what_the_log_holds,
                entries_written_at_once_are_one_chain,
                personal_values_stand_beside_the_chain,
            }
            keys {
                class_keys_are_created_once,
                a_class_key_goes_from_state_to_state,
                of_many_rotations_at_once_one_is_made,
                all_class_keys_change_their_root_at_once,
                a_key_with_records_under_it_is_not_retired,
                records_are_moved_from_key_to_key,
                what_is_sealed_anew_is_written_with_its_key,
                a_record_that_changed_meanwhile_is_not_moved,
                records_under_a_version_are_found_in_batches,
                nothing_is_written_under_a_retired_key,
                a_card_gets_another_index_with_its_wallet_tokens,
                cards_under_an_index_are_found_in_pages,
            }
            outbox {
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
                a_delivery_of_a_clock_ahead_is_due_again,
                a_subscription_is_emptied_in_pieces,
            }
            wallet {
                a_wallet_token_is_found_within_its_merchant_only,
                a_wallet_token_moves_with_its_event,
                a_wallet_token_that_stays_writes_nothing,
                of_30_concurrent_wallet_tokens_25_are_granted,
                tokens_are_counted_by_both_indexes_of_a_number,
                a_terminated_card_ends_its_wallet_tokens,
                wallet_tokens_are_listed_by_what_narrows_them,
                wallet_tokens_are_listed_in_pages,
                a_merchants_wallet_rules_are_kept,
            }
            mfa {
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
                a_weaker_factor_counts_as_a_fallback_alone_and_on_record,
            }
            challenges {
                a_token_that_waits_opens_nothing_without_a_factor,
                factors_that_nobody_asked_for_are_counted_and_16_are_on_record,
                the_factor_that_was_asked_for_opens_it_once,
                a_factor_passes_for_its_token_and_its_key_alone,
                a_challenge_that_is_sent_again_gives_no_try_back,
                a_challenge_is_refused_as_a_redemption_is,
                of_16_concurrent_keys_with_factors_one_gets_it,
            }
            counters {
                what_a_node_tells_is_heard_once,
                only_the_last_rounds_of_a_node_are_kept,
            }
            allowlists {
                a_network_is_added_and_taken_away,
                a_refused_change_of_a_list_writes_nothing,
                a_list_of_networks_has_its_end,
            }
            handovers {
                an_export_is_recorded_or_refused,
                an_export_brings_a_virtual_card_into_use,
                a_right_proof_activates_a_card,
                wrong_proofs_block_the_way,
            }
            pins {
                a_pin_is_found_as_it_was_set,
                a_pin_of_a_card_not_in_use_is_neither_set_nor_told,
                the_pin_that_is_told_is_the_one_that_the_card_has,
                one_session_passes_for_one_use_of_a_pin,
                setting_a_pin_is_charged,
                a_pin_that_is_told_is_charged_to_the_budgets,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($open:expr, $($file:ident { $($case:ident,)+ })+) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = $open.await;
                $crate::contract::cases::$case(&store).await;
            }
        )+)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_functions {
    ($($file:ident { $($case:ident,)+ })+) => {
        $($(
            pub async fn $case(store: &dyn Store) {
                super::$file::$case(store).await;
            }
        )+)+
    };
}

#[doc(hidden)]
pub mod cases {
    use cardveil_core::port::Store;

    contract_cases!(contract_functions());
}

async fn with_merchant(store: &dyn Store) -> Epoch {
    let changes = [
        Change::AddMerchant(sample::merchant(1)),
        Change::AddMerchant(sample::merchant(2)),
        Change::AddCredential(sample::credential(1)),
        Change::AddEmbed(sample::embed(1)),
        Change::AddCard(Box::new(sample::card(1))),
    ];
    let changes = changes.map(sample::recorded).to_vec();
    let results = store.commit(Changes(changes)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    store.epoch().await.unwrap()
}

async fn with_token(store: &dyn Store) -> (Record, Epoch) {
    let epoch = with_merchant(store).await;
    let issue = sample::issue(1, START, epoch);
    let record = issue.record.clone();
    assert_eq!(store.commit(issue).await.unwrap(), Issued::New);
    (record, epoch)
}

/// Revokes all tokens of a selection that may be; tells how many.
async fn revoke(store: &dyn Store, selection: Selection, at: Time) -> usize {
    let tokens = store.revocable(&selection, at, None, 100).await.unwrap();
    let by = sample::operator();
    store
        .commit(Revoke {
            tokens,
            at,
            source: by,
        })
        .await
        .unwrap()
}

/// Its events without the versions of rows, which a store in memory does not count.
async fn log_of(store: &dyn Store, kind: Kind) -> Vec<Event> {
    let entries = store.entries(0, 10_000).await.unwrap();
    entries
        .into_iter()
        .map(|entry| unversioned(entry.event))
        .filter(|event| event.kind == kind)
        .collect()
}

fn unversioned(mut event: Event) -> Event {
    event.target.version = None;
    event
}

async fn log_len(store: &dyn Store) -> usize {
    store.entries(0, 10_000).await.unwrap().len()
}

fn after(secs: u64) -> Time {
    START.plus(Duration::from_secs(secs))
}
