//! The cases: one async function per sentence of the contract, named after it.
//!
//! Each creates its own fresh store, and panics if the sentence does not hold.

mod batches;
mod heads;
mod pages;
mod purges;
mod queries;
mod records;
mod scrubs;
mod settings;
mod texts;
mod unreadable;
mod write_counts;

pub use batches::*;
pub use heads::*;
pub use pages::*;
pub use purges::*;
pub use queries::*;
pub use records::*;
pub use scrubs::*;
pub use settings::*;
pub use texts::*;
pub use unreadable::*;
pub use write_counts::*;

/// An operation that is not ready after this many polls counts as stuck.
const MOST_POLLS: usize = 10_000;

pub use crate::rekey::{
    a_dropped_rekey_loses_nothing, a_failing_store_never_loses_a_record, a_rekey_is_idempotent,
    a_rekey_moves_exactly_the_records_under_the_old_password, a_second_rekey_finds_nothing,
    a_stopped_rekey_counts_exactly_what_was_committed,
    no_concurrent_write_is_lost_or_reverted_by_a_rekey,
    no_write_between_two_polls_of_a_rekey_is_lost_or_reverted,
};
pub use crate::vault::{
    a_renewal_against_a_purge_is_told, an_update_against_a_delete_is_told,
    create_many_returns_one_token_per_value_in_order,
    dropping_create_many_leaves_all_records_or_none, of_two_creates_of_one_token_exactly_one_wins,
    of_two_upserts_exactly_one_creates,
};
