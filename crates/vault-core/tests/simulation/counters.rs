//! What happened in all histories together: a simulation in which nothing went wrong proves nothing.

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
    /// Store calls refused without an effect.
    calls_refused
    /// Store calls that took effect and whose reply was lost.
    replies_lost
    /// Batches reported as of unknown fate that went in later.
    late_batches
    /// Replacements of a rekeyer that found another envelope than expected.
    conflicts
    /// Updates of a writer that found another envelope than expected.
    writers_conflicts
    /// Updates, inserts and deletes that were acknowledged.
    writes_acknowledged
    /// Rekeys dropped at some poll.
    crashes
    /// Rekeys that their caller stopped.
    stops
    /// Rekeys that an error ended.
    failures
    /// Rekeys that were refused because the new password was in use.
    refusals
    /// Rekeys that went on from the state of another.
    resumes
    /// Rekeys that came to their end.
    completions
    /// Completed rekeys that moved a record, while somebody wrote, failed or rekeyed beside them.
    eventful_completions
    /// Completed rekeys that went on from the state of another.
    resumed_completions
    /// Completed rekeys that found something after their first pass.
    catch_ups
    /// Records moved by a plan that could have moved them twice.
    moved_once
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
