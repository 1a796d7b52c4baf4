//! What every engine does, told as tests: [`run`] them all on a new engine.

mod raw;
mod typed;

use std::sync::Arc;

use super::engine::{Cell, Check, Engine, Pair, Span, StoreError, Write, WriteSet};

/// Somewhere that one store is kept, and can be opened again after it was closed.
pub(crate) trait Place: Send + Sync {
    /// Opens the store; before the second time, the engine of the first was dropped.
    fn open(&self) -> impl Future<Output = Arc<dyn Engine>> + Send;
}

/// Runs the whole suite, each test in a fresh place. Needs a runtime with several threads.
pub(crate) async fn run<P: Place>(fresh: impl Fn() -> P) {
    macro_rules! each {
        ($($part:ident::$test:ident,)*) => {$(
            let place = fresh();
            println!("{}", stringify!($test));
            $part::$test(place.open().await).await;
        )*};
    }
    each! {
        raw::entries_come_in_order_from_both_ends,
        raw::spans_find_what_a_sorted_map_finds,
        raw::a_scan_goes_on_after_any_key,
        raw::values_are_replaced_and_removed,
        raw::writes_of_a_commit_happen_in_order,
        raw::lists_number_their_entries_without_gaps,
        raw::many_writers_leave_no_gap_and_see_no_gap,
        raw::a_number_is_never_given_twice,
        raw::a_list_that_was_copied_goes_on_where_it_was,
        raw::lists_do_not_mix,
        raw::a_commit_happens_only_if_its_checks_hold,
        raw::of_many_who_claim_a_key_one_gets_it,
        raw::numbers_go_into_keys_and_values,
        raw::a_number_that_is_not_given_yet_is_refused,
        raw::a_batch_is_read_from_one_moment,
        raw::large_values_are_kept,
        raw::a_waiting_reader_misses_nothing,
        raw::only_growth_wakes_a_reader,
        raw::a_commit_that_nobody_waits_for_happens_or_not_as_a_whole,
        raw::a_snapshot_stays_as_it_was,
        typed::a_value_is_found_by_its_key,
        typed::tables_are_read_in_the_order_of_their_keys,
        typed::a_list_is_read_from_any_position,
        typed::a_transaction_runs_again_until_nothing_has_changed,
        typed::an_error_in_a_transaction_writes_nothing,
        typed::values_and_keys_carry_the_numbers_of_appends,
        typed::a_subscriber_sees_the_list_grow,
    }
    raw::what_was_committed_is_there_after_reopening(fresh()).await;
}
