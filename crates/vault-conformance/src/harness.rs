//! What a backend author provides, and how to run the suite.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use vault_store::{MAX_KEY_LEN, Record, RecordId, StoreErrorKind, VaultStore};

/// A backend under test: how to create a store, and how to close and reopen it.
///
/// A case reports by panicking with a plain `assert!`; the methods here may panic on failure as
/// well. Nothing may be skipped: an unreachable server is a failure.
pub trait StoreUnderTest: Sync {
    /// The type of the store; a rekey shares it with its futures.
    type Store: VaultStore + 'static;

    /// Creates an empty store that shares nothing with any other one, such as a new file or a new
    /// table.
    fn fresh(&self) -> impl Future<Output = Self::Store>;

    /// Closes and reopens the store, so that only what is durable remains.
    ///
    /// There is deliberately no default: a backend that returns the open store proves nothing about
    /// durability. This waits for work that a dropped future left behind.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Self::Store>;

    /// Puts a record into the database whose envelope has `len` bytes, more than
    /// [`MAX_ENVELOPE_LEN`](vault_store::MAX_ENVELOPE_LEN), and returns the store, reopened if need
    /// be.
    ///
    /// There is deliberately no default: the contract allows a store to refuse to write such an
    /// envelope, and requires it to read one that another program has written. Write the row past
    /// the store, with the driver of the database, on the closed database if the store locks it.
    /// Any bytes will do as the envelope; everything else is as in `record`. A store that accepts
    /// anything inserts `record` with
    /// [`EnvelopeText::too_long(len)`](vault_store::EnvelopeText::too_long) as its envelope.
    fn plant_too_long(
        &self,
        store: Self::Store,
        record: Record,
        len: u64,
    ) -> impl Future<Output = Self::Store>;

    /// Stores an unreadable row at the position of this id: directly after it, and before any other
    /// id of a sample. A store that cannot hold any stores none.
    ///
    /// Default: checks that the store refuses a record whose id is longer than
    /// [`MAX_KEY_LEN`], and stores nothing. A backend on a database that
    /// others can also write to stores such a row, or one whose id is not text, past the store.
    fn plant_unreadable(
        &self,
        store: Self::Store,
        behind: Record,
    ) -> impl Future<Output = (Self::Store, Planted)> {
        async move {
            let id = behind.id.as_str().to_owned() + &"x".repeat(MAX_KEY_LEN);
            let refused =
                store.insert(vec![Record { id: RecordId::from_stored(id), ..behind }]).await;
            assert_eq!(refused.map_err(|error| error.kind()), Err(StoreErrorKind::Unsupported));
            (store, Planted::No)
        }
    }

    /// Returns the time resolution of the store, in microseconds.
    ///
    /// Default: 1, the resolution of a [`Timestamp`](vault_store::Timestamp). A schema of whole
    /// seconds returns 1,000,000.
    fn time_step(&self) -> i64 {
        1
    }

    /// Returns how many random histories [`properties`](crate::properties) replays.
    ///
    /// Default: 64, which takes less than a second with an in-memory store. A store behind a
    /// network may want fewer for a quick run and many more for a nightly one.
    fn histories(&self) -> u32 {
        64
    }

    /// Runs a future to completion; several threads call this at the same time.
    ///
    /// Default: the `futures` executor. A backend that needs a runtime blocks on that one here; the
    /// runtime must make progress while a caller's thread waits, as tokio's multi-thread runtime
    /// does.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}

/// Whether a store contains an unreadable row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It contains one more.
    Yes,
    /// It cannot hold any.
    No,
}

/// Creates one `#[test]` per case, so that a failure has a name.
///
/// The expression is the [`StoreUnderTest`] and is evaluated once per test.
#[macro_export]
macro_rules! suite {
    ($subject:expr) => {
        $crate::for_each_case! { name_tests [$subject] }
    };
}

/// Runs the whole suite, as a function instead of [`suite!`](crate::suite).
///
/// # Panics
/// If a case fails; the message names all that did.
pub fn run_all<S: StoreUnderTest>(subject: &S) {
    let failing = failing_cases(subject);
    assert!(failing.is_empty(), "the store breaks its contract: {failing:?}");
}

/// Runs every case and returns the names of those that fail; their messages go to the panic hook.
pub fn failing_cases<S: StoreUnderTest>(subject: &S) -> Vec<&'static str> {
    all_cases(subject).into_iter().filter(|(_, run)| panics(run)).map(|(name, _)| name).collect()
}

/// Runs the case of this name and returns whether it fails.
///
/// # Panics
/// If there is no such case.
pub fn case_fails<S: StoreUnderTest>(subject: &S, case: &str) -> bool {
    let mut cases = all_cases(subject).into_iter();
    let (_, run) = cases.find(|(name, _)| *name == case).unwrap();
    panics(&run)
}

/// A case, ready to run.
type Run<'a> = Box<dyn Fn() + 'a>;

fn all_cases<S: StoreUnderTest>(subject: &S) -> Vec<(&'static str, Run<'_>)> {
    macro_rules! list {
        ([$subject:expr] { $($case:ident)* } { $($property:ident)* }) => {
            vec![
                $((
                    stringify!($case),
                    Box::new(|| $subject.block_on(crate::cases::$case($subject))) as Run<'_>,
                ),)*
                $((
                    stringify!($property),
                    Box::new(|| crate::properties::$property($subject)) as Run<'_>,
                ),)*
            ]
        };
    }
    crate::for_each_case! { (list) [subject] }
}

fn panics(run: &Run<'_>) -> bool {
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

/// Polls a future up to this many times and then drops it; `None` if it was not ready by then.
///
/// With the counts 0, 1, 2, …, a test drops a future at each point where it waits.
pub async fn poll_at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[doc(hidden)]
#[macro_export]
macro_rules! name_tests {
    ([$subject:expr] { $($case:ident)* } { $($property:ident)* }) => {
        $(
            #[test]
            fn $case() {
                let subject = $subject;
                $crate::StoreUnderTest::block_on(&subject, $crate::cases::$case(&subject));
            }
        )*
        $(
            #[test]
            fn $property() {
                $crate::properties::$property(&$subject);
            }
        )*
    };
}

/// The one list of all cases: passes the names of cases and of properties to a macro of this crate,
/// or to a local one that is named in parentheses.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_case {
    (name_tests $arguments:tt) => { $crate::for_each_case! { @list [$crate::name_tests] $arguments } };
    (($local:ident) $arguments:tt) => { $crate::for_each_case! { @list [$local] $arguments } };
    (@list [$($callback:tt)*] $arguments:tt) => {
        $($callback)*! { $arguments {
            pages_ascend_strictly_by_id_compared_as_bytes
            after_is_exclusive
            a_record_present_during_the_whole_scan_comes_exactly_once
            limit_is_a_maximum_in_records_and_in_bytes
            a_single_record_beyond_the_bytes_comes_alone
            an_empty_page_means_that_nothing_follows
            soft_deleted_and_expired_records_are_part_of_the_scan
            each_record_comes_with_its_token
            an_envelope_longer_than_the_maximum_comes_as_too_long
            ids_and_tokens_count_as_bytes_of_a_page
            a_row_that_nobody_can_read_is_named_at_its_place_and_hides_none
            a_query_names_the_rows_that_nobody_can_read
            each_page_is_a_read_of_its_own
            many_records_come_under_any_limit
            heads_are_the_beginnings_of_the_envelopes
            a_page_of_heads_keeps_the_rules_of_a_page
            a_page_of_heads_names_the_rows_that_nobody_can_read
            a_page_of_heads_is_bounded_in_records_and_in_bytes
            the_head_of_an_envelope_that_is_too_long_is_empty
            a_head_is_of_the_current_version

            a_batch_is_all_or_nothing_on_error
            one_outcome_per_replacement_in_order
            applied_is_durable
            conflict_leaves_the_record_untouched
            only_the_envelope_changes
            dropping_the_future_commits_the_whole_batch_or_nothing
            of_many_futures_that_replace_one_envelope_exactly_one_is_applied
            of_many_threads_that_replace_one_envelope_exactly_one_is_applied
            a_batch_may_be_large

            a_record_comes_back_as_it_was_inserted
            one_answer_per_id_or_token_in_order
            a_token_belongs_to_one_record_at_a_time
            insert_leaves_out_what_is_taken_and_takes_the_others
            insert_is_all_or_nothing_on_error
            update_changes_only_what_it_names
            update_changes_nothing_unless_the_envelope_is_the_expected_one
            update_changes_nothing_unless_the_times_are_the_expected_ones
            delete_removes_for_good_and_frees_the_token
            count_includes_soft_deleted_and_expired_records
            every_operation_is_durable
            dropping_an_insert_leaves_it_done_or_not_done
            dropping_an_update_leaves_it_done_or_not_done
            dropping_a_delete_leaves_it_done_or_not_done

            a_query_lets_through_exactly_what_its_filters_match
            a_query_comes_in_its_order_and_the_id_decides_among_equals
            a_query_goes_on_after_a_position_and_an_offset
            the_limit_of_a_query_is_a_maximum_in_records_and_in_bytes
            a_query_without_envelopes_tells_their_lengths
            count_matching_counts_what_the_filters_let_through

            purging_takes_exactly_what_is_expired
            an_end_before_1970_never_comes
            purging_for_good_frees_the_tokens
            purging_goes_in_bounded_steps
            purging_is_durable
            dropping_a_purge_leaves_it_done_or_not_done

            a_write_count_tells_batches_from_all_other_writes
            a_dropped_batch_that_comes_to_pass_is_counted

            a_scrub_changes_nothing_that_can_be_read
            no_concurrent_write_is_lost_by_a_scrub
            dropping_a_scrub_loses_nothing

            a_setting_holds_what_was_put_last
            if_absent_keeps_what_is_stored
            two_callers_of_if_absent_agree
            settings_come_in_the_order_of_their_names
            settings_are_bounded_in_number_and_length
            settings_of_a_new_vault_are_written_all_or_none

            the_store_never_looks_into_an_envelope
            a_large_envelope_comes_back_unchanged
            hostile_texts_come_back_unchanged
            ids_and_tokens_that_would_not_be_read_are_refused

            a_rekey_moves_exactly_the_records_under_the_old_password
            a_second_rekey_finds_nothing
            a_rekey_is_idempotent
            a_failing_store_never_loses_a_record
            a_dropped_rekey_loses_nothing
            a_stopped_rekey_counts_exactly_what_was_committed
            no_concurrent_write_is_lost_or_reverted_by_a_rekey
            no_write_between_two_polls_of_a_rekey_is_lost_or_reverted

            create_many_returns_one_token_per_value_in_order
            dropping_create_many_leaves_all_records_or_none
            of_two_creates_of_one_token_exactly_one_wins
            of_two_upserts_exactly_one_creates
            an_update_against_a_delete_is_told
            a_renewal_against_a_purge_is_told
        } {
            random_histories_answer_like_the_store_in_memory
            random_histories_of_a_vault_agree_with_a_model
            random_rekeys_end_as_a_model_does
        } }
    };
}
