//! What happened in all histories together: a simulation in which nothing went wrong proves
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// Each by name.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    histories
    /// Histories with two or three rekeyers of the whole vault to one password.
    histories_to_one_target
    /// The same to different passwords.
    histories_to_several_targets
    /// Histories of plans with several pairs.
    histories_of_several_pairs
    /// Histories in which each rekeyer has a part of the vault.
    histories_of_shards
    /// Histories whose rekeyers write each record in the form that it had.
    histories_written_as_they_were
    /// Records moved in another form than that of the vault's settings.
    moved_in_another_form
    /// Histories of pairs that chain.
    histories_of_chains
    /// Store calls refused without an effect, by what the store said.
    refused_as_retryable
    refused_as_full
    refused_as_stopped
    refused_as_unsupported
    refused_as_unknown
    refused_as_other
    /// Store calls after the store was gone for good.
    calls_to_a_store_that_is_gone
    /// Store calls that took effect and whose reply was lost.
    replies_lost
    /// Store calls that took effect and then failed, as if they had not.
    errors_after_the_effect
    /// Batches of which the store took a part, against its contract, and then failed.
    torn_batches
    /// Batches reported as of unknown fate that went in later.
    late_batches
    /// Store calls dropped on the way, before their effect and after it.
    calls_dropped_before_the_effect
    calls_dropped_after_the_effect
    /// Batches of which one replacement was applied and another one conflicted or was missing.
    mixed_batches
    /// Replacements of a rekeyer that found another envelope than expected.
    conflicts
    /// Updates of a writer that found another envelope than expected.
    writers_conflicts
    /// What writers had acknowledged: updates by the password, …
    updates_under_an_old_password
    updates_under_a_new_password
    updates_under_a_foreign_password
    /// … inserts, most of them before or behind the page that a rekeyer read last, …
    inserts
    inserts_ahead_of_a_cursor
    inserts_behind_a_cursor
    /// … and the rest.
    deletes
    soft_deletes
    renewals
    /// Rekeys dropped at some poll.
    crashes
    /// Rekeys that their caller stopped.
    stops
    /// Rekeys that an error ended.
    failures
    /// Rekeys that were refused because the new password was in use.
    refusals
    /// Rekeys that only counted.
    dry_runs
    /// Rekeys that went on from the state of another.
    resumes
    /// Rekeys that came to their end.
    completions
    /// Completed rekeys that moved a record, concurrent with writers, failures or other rekeys.
    eventful_completions
    /// Completed rekeys that went on from the state of another.
    resumed_completions
    /// Completed rekeys that needed no other pass after one that moved something, because nobody
    /// else had written.
    vouched_completions
    /// Completed rekeys that found something after their first pass.
    catch_ups
    /// Heads that were read, and records that were read after theirs and had changed in between.
    heads_read
    records_of_another_version_than_their_heads
    /// Completed rekeys that read every record whole, and those that left what heads decide.
    completions_with_every_body
    completions_by_heads
    /// Records that were moved, by the format that they were in.
    moved_from_v1
    moved_from_v2
    moved_from_v3
    /// Records moved by a plan that could have moved them twice.
    moved_once
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
